/* outcome.c - the causes that requests end with. */
#include "outcome.h"

#define CAUSE(code_, text_)                                                                        \
    {                                                                                              \
        .code = (code_), .text = (text_), .file = __FILE__, .line = __LINE__                       \
    }

const canopy_cause outcomes[OUTCOME_COUNT] = {
    [OUTCOME_COMPLETED] = CAUSE(200, "completed"),
    [OUTCOME_CLIENT_GONE] = CAUSE(499, "client gone"),
    [OUTCOME_DEADLINE] = CAUSE(504, "deadline passed"),
    [OUTCOME_OVERLOAD] = CAUSE(503, "overload"),
    [OUTCOME_SHUTDOWN] = CAUSE(503, "shutdown"),
    [OUTCOME_CANCELLED] = CAUSE(503, "cancelled"),
    [OUTCOME_IDLE] = CAUSE(408, "connection idle"),
    [OUTCOME_UPSTREAM_FAILED] = CAUSE(502, "upstream failed"),
    [OUTCOME_BAD_REQUEST] = CAUSE(400, "bad request"),
    [OUTCOME_HEAD_TOO_LARGE] = CAUSE(431, "head too large"),
    [OUTCOME_UNSUPPORTED] = CAUSE(501, "not supported"),
};

enum outcome outcome_of(const canopy_cause *cause)
{
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        if (cause == &outcomes[i])
            return (enum outcome)i;
    }
    return OUTCOME_CANCELLED; /* from outside, by whoever asked for it */
}
