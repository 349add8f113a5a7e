# Builds peer_tokio offline, from Debian's crates only. Cargo writes a lock file
# beside the manifest, so it works on a copy: cmake -DCARGO= -DRUSTC= -DCRATES=
# -DSOURCE= -DBINARY= -P build.cmake
set(work ${BINARY}/tokio)
file(COPY ${SOURCE}/Cargo.toml ${SOURCE}/main.rs DESTINATION ${work})
execute_process(
  COMMAND ${CMAKE_COMMAND} -E env RUSTC=${RUSTC}
    ${CARGO} build --release --offline --quiet --target-dir ${work}/target
    --config "source.crates-io.replace-with=\"debian\""
    --config "source.debian.directory=\"${CRATES}\""
  WORKING_DIRECTORY ${work}
  COMMAND_ERROR_IS_FATAL ANY)
file(COPY ${work}/target/release/peer_tokio DESTINATION ${BINARY})
