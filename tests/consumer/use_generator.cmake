# Builds the library with GENERATOR, every way that a build system could be wrong about
# what depends on what, installs it, and builds the project in APP against it.
# Called with -DGENERATOR=, -DSOURCE=, -DAPP=, -DDIRECTORY= and -DTOOLCHAIN= (options).
file(REMOVE_RECURSE ${DIRECTORY})
set(ENV{CMAKE_BUILD_PARALLEL_LEVEL} 4)

macro(run)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endmacro()
macro(configure name source)
  run(${CMAKE_COMMAND} -G ${GENERATOR} -S ${source} -B ${DIRECTORY}/${name} ${TOOLCHAIN} ${ARGN})
endmacro()
macro(build name)
  run(${CMAKE_COMMAND} --build ${DIRECTORY}/${name} ${ARGN})
endmacro()

# The archive before anything else, or alone; with a debug layer.
configure(library ${SOURCE} -DBUILD_TESTING=OFF -DCMAKE_INSTALL_INCLUDEDIR=include/elsewhere)
build(library --config Release --target canopy_static)
build(library --config Release)
set(prefix ${DIRECTORY}/prefix)
run(${CMAKE_COMMAND} --install ${DIRECTORY}/library --config Release --prefix ${prefix})
configure(debug_layer ${SOURCE} -DBUILD_TESTING=OFF -DBUILD_SHARED_LIBS=OFF -DCANOPY_DEBUG=ON)
build(debug_layer --config Release)

# Each configuration has an archive of its own, though all are made at once.
if(GENERATOR MATCHES Multi)
  file(WRITE ${DIRECTORY}/two.cmake # a list, which as an argument would be two
    "set(CMAKE_CONFIGURATION_TYPES Release Debug CACHE STRING \"\")\n")
  configure(crossed ${SOURCE} -C ${DIRECTORY}/two.cmake -DBUILD_TESTING=OFF
    -DCMAKE_CROSS_CONFIGS=all)
  build(crossed --config Release --target canopy_static:all)
  foreach(config Release Debug)
    file(STRINGS ${DIRECTORY}/crossed/src/${config}/libcanopy.a info REGEX "\\.debug_info")
    string(COMPARE NOTEQUAL "${info}" "" has_debug_info)
    string(COMPARE EQUAL ${config} Debug is_debug)
    if(NOT has_debug_info EQUAL is_debug)
      message(FATAL_ERROR "the archive of ${config} is another configuration's")
    endif()
  endforeach()
endif()

configure(installed ${APP} -DCMAKE_PREFIX_PATH=${prefix})
configure(embedded ${APP} -DCANOPY_SOURCE_DIR=${SOURCE})
foreach(name installed embedded)
  build(${name} --config Release)
  run(${CMAKE_CTEST_COMMAND} --test-dir ${DIRECTORY}/${name} -C Release
    --output-on-failure --no-tests=error)
endforeach()
