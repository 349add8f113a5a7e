# Fails unless GENERATE reports, of GUIDE with two of the nginx module's words changed, that
# it does not tell of these two. The headers beside it are PLANTED: of few names.
file(REMOVE_RECURSE ${DIRECTORY})
file(COPY ${PLANTED}/planted DESTINATION ${DIRECTORY})
file(READ ${GUIDE} guide)
string(REPLACE "| `canopy_reserve TIME`" "| `canopy_reserves TIME`" guide "${guide}")
string(REPLACE "| `$canopy_tries`" "| `$canopy_try`" guide "${guide}")
file(WRITE ${DIRECTORY}/planted/guide.md "${guide}")
execute_process(COMMAND ${GENERATE} ${DIRECTORY} OUTPUT_VARIABLE report RESULT_VARIABLE result)
string(REGEX MATCHALL "guide.md: no table has [a-z_]+" report "${report}")
set(expected "guide.md: no table has canopy_reserve;guide.md: no table has canopy_tries")
if(NOT result EQUAL 1 OR NOT report STREQUAL expected)
  message(FATAL_ERROR "status ${result}, reported:\n${report}\nexpected:\n${expected}")
endif()
