# Links SOURCE, built with -fexceptions, which gives it clean-ups of its own, with the
# static library, by each linker there is, before and behind it, as each kind of program.
# Called with -DCOMPILER=, -DSOURCE=, -DDIRECTORY=, -DINCLUDE= and -DLIBRARY=.
file(REMOVE_RECURSE ${DIRECTORY})
file(MAKE_DIRECTORY ${DIRECTORY})
set(flags -O2 -fexceptions -I${INCLUDE})
execute_process(COMMAND ${COMPILER} ${flags} -fPIE -c ${SOURCE} -o ${DIRECTORY}/program.o
  COMMAND_ERROR_IS_FATAL ANY)
set(urcu -lurcu-bp -lurcu-common -pthread)
set(behind program.o ${LIBRARY} ${urcu})
set(before -Wl,--whole-archive ${LIBRARY} -Wl,--no-whole-archive program.o ${urcu})
foreach(linker bfd lld)
  find_program(ld_${linker} ld.${linker})
  if(NOT ld_${linker})
    continue()
  endif()
  foreach(kind -pie -no-pie -static -static-pie)
    foreach(order behind before)
      set(program ${linker}${kind}-${order})
      execute_process(COMMAND ${COMPILER} -fuse-ld=${linker} -Wl,--fatal-warnings ${kind} ${${order}}
        -o ${program} WORKING_DIRECTORY ${DIRECTORY} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
      execute_process(COMMAND ${DIRECTORY}/${program} COMMAND_ERROR_IS_FATAL ANY)
    endforeach()
  endforeach()
endforeach()
