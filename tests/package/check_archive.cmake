# Fails unless ARCHIVE has the files in SOURCE that GIT does not ignore, and no others.
execute_process(COMMAND ${CMAKE_COMMAND} -E tar tf ${ARCHIVE}
  OUTPUT_VARIABLE archived COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${GIT} -C ${SOURCE} ls-files --cached --others --exclude-standard
  OUTPUT_VARIABLE wanted COMMAND_ERROR_IS_FATAL ANY)
foreach(list archived wanted)
  string(REGEX REPLACE "\n$" "" ${list} "${${list}}")
  string(REPLACE "\n" ";" ${list} "${${list}}")
endforeach()
list(FILTER archived EXCLUDE REGEX "/$")
list(TRANSFORM archived REPLACE "^canopy-[0-9.]+/" "")
set(missing ${wanted})
list(REMOVE_ITEM missing ${archived})
set(surplus ${archived})
list(REMOVE_ITEM surplus ${wanted})
if(missing OR surplus)
  message(FATAL_ERROR "not archived: ${missing}\narchived, not wanted: ${surplus}")
endif()
