# Compiles SOURCE to PROGRAM with COMPILER and the flags that pkg-config gives
# for canopy in PREFIX, shared or static as KIND says, and runs it.

# The file names the prefix that was configured; PREFIX is another one, and
# pkg-config's own ways to say so would move liburcu too.
file(READ ${LIBDIR}/pkgconfig/canopy.pc package)
string(REGEX REPLACE "^prefix=[^\n]*" "prefix=${PREFIX}" package "${package}")
file(WRITE ${PROGRAM}.pkgconfig/canopy.pc "${package}")
set(ENV{PKG_CONFIG_PATH} ${PROGRAM}.pkgconfig)
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
