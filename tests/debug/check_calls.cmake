# Fails unless the static library of a debug build defines each name that the map of
# the shared one exports. Called with -DNM=, -DLIBRARY= and -DMAP=.
execute_process(COMMAND ${NM} -g --defined-only --format=posix ${LIBRARY}
  OUTPUT_VARIABLE listing COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "canopy_[a-z_]+ " defined "${listing}")
list(TRANSFORM defined REPLACE " " "")
file(STRINGS ${MAP} missing REGEX "^ +canopy_[a-z_]+;")
list(TRANSFORM missing REPLACE "[ ;]" "")
list(LENGTH missing count)
list(REMOVE_ITEM missing ${defined})
if(count LESS 40 OR missing)
  message(FATAL_ERROR "of ${count} names these are not defined: ${missing}")
endif()
