# Fails unless DIRECTORY has a page for each name that LIBRARY exports, the name stands
# in it and on the web page, and mandoc finds nothing to say of any page.
execute_process(COMMAND ${NM} -D --defined-only --format=posix ${LIBRARY}
  OUTPUT_VARIABLE listing COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "canopy_[a-z_]+" names "${listing}")
list(LENGTH names count)
if(count LESS 40)
  message(FATAL_ERROR "only ${count} names are exported: ${names}")
endif()
file(READ ${DIRECTORY}/canopy.html web)
string(ASCII 8 backspace)
foreach(name ${names})
  execute_process(COMMAND ${MANDOC} -T ascii ${DIRECTORY}/man3/${name}.3.gz
    OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX REPLACE ".${backspace}" "" text "${text}") # what is typed twice is bold
  if(NOT text MATCHES "SYNOPSIS.*[ *]${name}[(;].*DESCRIPTION\n *[^ \n]")
    message(FATAL_ERROR "the page of ${name} does not show it:\n${text}")
  endif()
  if(NOT web MATCHES "id=\"${name}\"")
    message(FATAL_ERROR "${name} is not on the web page")
  endif()
endforeach()
file(GLOB pages ${DIRECTORY}/man*/*)
foreach(page ${pages})
  execute_process(COMMAND ${MANDOC} -T lint -W warning ${page}
    OUTPUT_VARIABLE warnings RESULT_VARIABLE result)
  if(result OR warnings)
    message(FATAL_ERROR "mandoc: ${warnings}")
  endif()
endforeach()
