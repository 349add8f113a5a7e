# Installs the library in three places and asks pkg-config for what is needed to use it:
# below a prefix of --prefix, which is then moved; as a system would have it; and with
# directories that are absolute. Called with -DPKG_CONFIG=, -DBUILD= (a build of the
# library), -DSOURCE=, -DDIRECTORY=, -DGENERATOR=, -DCONFIG= and -DTOOLCHAIN= (options).
file(REMOVE_RECURSE ${DIRECTORY})

function(install_to prefix)
  execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --config ${CONFIG} --prefix ${prefix}
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# Fails unless pkg-config, asked for the package below `where`, gives just that.
function(expect where expected)
  file(GLOB_RECURSE file ${where}/*/canopy.pc)
  cmake_path(GET file PARENT_PATH path)
  set(ENV{PKG_CONFIG_PATH} ${path})
  execute_process(COMMAND ${PKG_CONFIG} ${ARGN} canopy OUTPUT_VARIABLE flags
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  # Directories by their shortest names.
  separate_arguments(flags UNIX_COMMAND "${flags}")
  set(given "")
  foreach(flag IN LISTS flags)
    string(REGEX MATCH "^(-[IL]?)(.*)" all "${flag}")
    set(rest "${CMAKE_MATCH_2}")
    set(option "${CMAKE_MATCH_1}")
    if(rest MATCHES "^/")
      cmake_path(NORMAL_PATH rest)
    endif()
    string(APPEND given " ${option}${rest}")
  endforeach()
  string(STRIP "${given}" given)
  if(NOT given STREQUAL expected)
    message(SEND_ERROR "pkg-config ${ARGN} below ${where} gives\n ${given}\nand should give\n ${expected}")
  endif()
endfunction()

set(static "-lcanopy -lurcu-bp -lurcu-common -pthread")
install_to(${DIRECTORY}/prefix)
foreach(place prefix moved)
  if(place STREQUAL moved)
    file(RENAME ${DIRECTORY}/prefix ${DIRECTORY}/moved)
  endif()
  set(root ${DIRECTORY}/${place})
  expect(${root} "-I${root}/include" --cflags)
  expect(${root} "-I${root}/include" --cflags --static)
  expect(${root} "-L${root}/${LIBDIR} -lcanopy" --libs)
  expect(${root} "-L${root}/${LIBDIR} ${static}" --libs --static)
endforeach()

# What the compiler looks through anyway is left out.
set(ENV{DESTDIR} ${DIRECTORY}/system)
install_to(/usr)
unset(ENV{DESTDIR})
set(ENV{PKG_CONFIG_SYSTEM_LIBRARY_PATH} /usr/${LIBDIR})
expect(${DIRECTORY}/system "" --cflags)
expect(${DIRECTORY}/system "" --cflags --static)
expect(${DIRECTORY}/system "-lcanopy" --libs)
expect(${DIRECTORY}/system "${static}" --libs --static)

set(root ${DIRECTORY}/absolute)
set(BUILD ${DIRECTORY}/build)
execute_process(COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -S ${SOURCE} -B ${BUILD} ${TOOLCHAIN}
  -DBUILD_TESTING=OFF -DCMAKE_INSTALL_PREFIX=${root} # else CMake minds what lies in our tree
  -DCMAKE_INSTALL_LIBDIR=${root}/libraries
  -DCMAKE_INSTALL_INCLUDEDIR=${root}/headers OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${BUILD} --config ${CONFIG}
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
install_to(${root}/prefix)
expect(${root} "-I${root}/headers" --cflags)
expect(${root} "-L${root}/libraries -lcanopy" --libs)
