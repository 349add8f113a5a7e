# Fails unless GENERATE reports, of the headers in PLANTED, what has "bare" or "untold"
# in its name and the one name that is not there, and nothing else.
execute_process(COMMAND ${GENERATE} ${PLANTED} OUTPUT_VARIABLE report RESULT_VARIABLE result)
string(REGEX REPLACE "[^\n]*:[0-9]+: " "" report "${report}")
set(expected "CANOPY_PLANTED_BARE has no comment
canopy_planted_bare has no comment
canopy_planted_bare_variable has no comment
canopy_planted_bare_type has no comment
canopy_planted_record: bare has no comment
canopy_planted_choice: CANOPY_PLANTED_UNTOLD has no comment
canopy::planted: bare has no comment
canopy::told: bare has no comment
canopy::bare has no comment
there is no canopy_planted_elsewhere
there is no canopy_planted_nowhere
")
if(NOT result EQUAL 1 OR NOT report STREQUAL expected)
  message(FATAL_ERROR "status ${result}, reported:\n${report}expected:\n${expected}")
endif()
