# Builds the project in APP with MESON against what is installed below PREFIX in STAGE,
# and runs its tests. Called with -DMESON=, -DAPP=, -DDIRECTORY=, -DSTAGE=, -DPREFIX=
# and -DLIBDIR=.
file(REMOVE_RECURSE ${DIRECTORY})
set(ENV{PKG_CONFIG_PATH} ${LIBDIR}/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${STAGE})
set(ENV{LD_LIBRARY_PATH} ${LIBDIR})
execute_process(COMMAND ${MESON} setup ${DIRECTORY} ${APP} -Dcmake_prefix_path=${PREFIX}
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${MESON} test -C ${DIRECTORY} --print-errorlogs
  COMMAND_ERROR_IS_FATAL ANY)
