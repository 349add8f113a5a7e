# What reads other processes: for the canopy command, and for its tests.
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBDW REQUIRED IMPORTED_TARGET libdw)
set(CANOPY_PROCESS_SOURCES core.c image.c layout.c names.c process.c remote.c report_json.c
  report_sums.c report_tree.c sums.c texts.c told.c)
list(TRANSFORM CANOPY_PROCESS_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
list(APPEND CANOPY_PROCESS_SOURCES ${PROJECT_SOURCE_DIR}/src/inspect/sink.c)

function(canopy_use_process name)
  target_sources(${name} PRIVATE ${CANOPY_PROCESS_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tools/canopy
    ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  target_link_libraries(${name} PRIVATE canopy_flags PkgConfig::LIBDW)
endfunction()
