# Types the README's line for who wants to build and install the library, as it stands,
# in a copy of the sources. Called with -DSOURCE=, -DLINE= and -DDIRECTORY=.
file(REMOVE_RECURSE ${DIRECTORY})
file(COPY ${SOURCE}/ DESTINATION ${DIRECTORY}/canopy
  REGEX "^${SOURCE}/(build|\\.git)$" EXCLUDE)
file(STRINGS ${SOURCE}/README.md line REGEX "^cmake -B build ")
if(NOT line STREQUAL LINE)
  message(FATAL_ERROR "the README's line is: ${line}")
endif()
unset(ENV{CMAKE_GENERATOR})
set(ENV{DESTDIR} ${DIRECTORY}/stage)
execute_process(COMMAND sh -c "${LINE}" WORKING_DIRECTORY ${DIRECTORY}/canopy
  COMMAND_ERROR_IS_FATAL ANY)
foreach(file include/canopy/canopy.h lib/libcanopy.so lib/libcanopy.a lib/pkgconfig/canopy.pc)
  cmake_path(GET file FILENAME name)
  file(GLOB_RECURSE found ${DIRECTORY}/stage/usr/local/*/${name})
  if(NOT found)
    message(FATAL_ERROR "the README's line installs no ${name}")
  endif()
endforeach()
