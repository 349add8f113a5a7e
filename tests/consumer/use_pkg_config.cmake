# Compiles SOURCE to PROGRAM with COMPILER and the flags that pkg-config gives for
# canopy as installed below STAGE, shared or static as KIND says, and runs it.
set(ENV{PKG_CONFIG_PATH} ${LIBDIR}/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${STAGE})
set(query ${PKG_CONFIG} --cflags --libs)
set(link -Wl,-rpath,${LIBDIR})
if(KIND STREQUAL static)
  list(APPEND query --static)
  set(link -static)
endif()
execute_process(COMMAND ${query} canopy OUTPUT_VARIABLE flags COMMAND_ERROR_IS_FATAL ANY
  OUTPUT_STRIP_TRAILING_WHITESPACE)
separate_arguments(flags UNIX_COMMAND "${flags}")
execute_process(COMMAND ${COMPILER} -Wall -Wextra -Werror ${SOURCE} -o ${PROGRAM} ${flags} ${link}
  COMMAND_ERROR_IS_FATAL ANY COMMAND_ECHO STDOUT)
execute_process(COMMAND ${PROGRAM} COMMAND_ERROR_IS_FATAL ANY)
