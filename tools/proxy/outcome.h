/*
 * outcome.h - how a request can end. Each way is a cause in canopy's sense: it
 * is what a context is cancelled with, what the access log names, and its code
 * is the status that the client is answered with.
 */
#ifndef PROXY_OUTCOME_H
#define PROXY_OUTCOME_H

#include <canopy/canopy.h>

enum outcome {
    OUTCOME_COMPLETED,
    OUTCOME_CLIENT_GONE,
    OUTCOME_DEADLINE,
    OUTCOME_OVERLOAD,
    OUTCOME_SHUTDOWN,
    OUTCOME_CANCELLED,
    OUTCOME_IDLE,
    OUTCOME_UPSTREAM_FAILED,
    OUTCOME_BAD_REQUEST,
    OUTCOME_HEAD_TOO_LARGE,
    OUTCOME_UNSUPPORTED,
    OUTCOME_COUNT
};

extern const canopy_cause outcomes[OUTCOME_COUNT];

/* The outcome that `cause` stands for; one that is none of ours was given from outside. */
enum outcome outcome_of(const canopy_cause *cause);

#endif
