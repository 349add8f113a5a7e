/* stats.h - what a worker counts, and the summary that the proxy ends with. */
#ifndef PROXY_STATS_H
#define PROXY_STATS_H

#include <stdio.h>

#include "contexts.h"

/* Times, kept as they are: percentiles of a tail are not worth guessing. */
struct samples {
    int64_t *values_ns;
    size_t count, capacity;
};

struct stats {
    uint64_t connections, requests, outcomes[OUTCOME_COUNT];
    uint64_t upstream_opened, upstream_reused, upstream_retried;
    uint64_t requests_at_drain, contexts_at_drain, context_bytes_at_drain;
    struct context_counts contexts;
    struct samples cancel_to_close;   /* from the client's hanging up to its upstream's close() */
    struct samples deadline_to_close; /* from the deadline, where that was the reason */
};

void samples_add(struct samples *samples, int64_t value_ns);
void stats_merge(struct stats *sum, const struct stats *part);
void stats_print(struct stats *stats, FILE *file, bool clean);
void stats_free(struct stats *stats);

#endif
