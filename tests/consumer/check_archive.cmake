# Fails if the static library defines a global name that is not canopy's own: a
# program that is linked with it may use any other. DW.ref.* are the compiler's, for
# clean-ups, and have to be the same in all objects of a program; so has the base of
# probes. Called with -DNM= and -DLIBRARY=.
execute_process(COMMAND ${NM} -g --defined-only --format=posix ${LIBRARY}
  OUTPUT_VARIABLE listing RESULT_VARIABLE result)
if(result)
  message(FATAL_ERROR "nm failed on ${LIBRARY}")
endif()
string(REGEX MATCHALL "[^\n]+ [A-Z] [^\n]*" lines "${listing}")
list(TRANSFORM lines REPLACE " .*" "")
list(LENGTH lines count)
list(FILTER lines EXCLUDE REGEX "^(canopy_|DW\\.ref\\.|_\\.stapsdt\\.base$)")
if(count LESS 40 OR lines)
  message(FATAL_ERROR "of ${count} names these are not canopy's: ${lines}")
endif()
