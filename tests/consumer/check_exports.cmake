# Fails unless the installed shared library exports what the installed headers
# declare, and nothing else. Called with -DNM=, -DLIBRARY= and -DHEADERS= (the
# directory of the headers).
execute_process(COMMAND ${NM} -D --defined-only --format=posix ${LIBRARY}
  OUTPUT_VARIABLE listing RESULT_VARIABLE result)
if(result)
  message(FATAL_ERROR "nm failed on ${LIBRARY}")
endif()
string(REGEX MATCHALL "[^\n]+" lines "${listing}")
set(exported "")
foreach(line IN LISTS lines)
  if(line MATCHES "^CANOPY_[0-9.]+[^ ]* A ") # the version's own node
    continue()
  endif()
  string(REGEX REPLACE "[@ ].*" "" symbol "${line}")
  list(APPEND exported ${symbol})
endforeach()

# A declaration's head ends at the first parenthesis or semicolon; the name is
# the last word in it.
set(declared "")
file(GLOB headers ${HEADERS}/*.h)
foreach(header IN LISTS headers)
  file(READ ${header} text)
  string(REGEX REPLACE "#define CANOPY_API[^\n]*" "" text "${text}")
  string(REPLACE ";" "(" text "${text}")
  string(REGEX MATCHALL "CANOPY_API[^(]*" heads "${text}")
  foreach(head IN LISTS heads)
    string(REGEX REPLACE ".*(canopy_[a-z_]+)$" "\\1" name "${head}")
    list(APPEND declared ${name})
  endforeach()
endforeach()

list(LENGTH declared count)
if(count LESS 40)
  message(FATAL_ERROR "only ${count} declarations found in ${HEADERS}: ${declared}")
endif()
set(missing ${declared})
list(REMOVE_ITEM missing ${exported})
set(surplus ${exported})
list(REMOVE_ITEM surplus ${declared})
if(missing OR surplus)
  message(FATAL_ERROR "declared but not exported: ${missing}\nexported but not declared: ${surplus}")
endif()
message(STATUS "${count} symbols, all of them declared")
