/*
 * totals.h - what has happened since the master was started, counted over all its workers.
 *
 * Each process has a slot in a shared zone, and is its one writer: counting is a load, an
 * addition and a store on a line that no other process writes. Who shows totals adds them up.
 */
#ifndef NGX_HTTP_CANOPY_TOTALS_H
#define NGX_HTTP_CANOPY_TOTALS_H

#include <ngx_config.h>

#include <ngx_core.h>

#include <canopy/canopy.h>
#include <stdatomic.h>

/* What is counted. */
typedef enum {
    NGX_HTTP_CANOPY_REQUESTS,     /* that were given a context; and each, when it is over, as: */
    NGX_HTTP_CANOPY_ANSWERED,     /* its context did not end before it, */
    NGX_HTTP_CANOPY_DEADLINE,     /* time was up, */
    NGX_HTTP_CANOPY_CLIENT_GONE,  /* the client had gone, */
    NGX_HTTP_CANOPY_DRAINED,      /* the worker had to leave, */
    NGX_HTTP_CANOPY_OTHER,        /* or for another cause */
    NGX_HTTP_CANOPY_REFUSED,      /* requests beyond canopy_max_live: without a context */
    NGX_HTTP_CANOPY_TRIES,        /* tries of upstreams begun, */
    NGX_HTTP_CANOPY_RETRIES,      /* those of them that were not the first of their request, */
    NGX_HTTP_CANOPY_CALL_TIMEOUT, /* ended by canopy_call_timeout, */
    NGX_HTTP_CANOPY_NOT_TRIED,    /* and not begun: less than canopy_least was left */
    NGX_HTTP_CANOPY_TIMEOUT_RECEIVED,       /* headers with a time-out that were taken, */
    NGX_HTTP_CANOPY_TIMEOUT_SENT,           /* and sent upstream */
    NGX_HTTP_CANOPY_MALFORMED_GRPC_TIMEOUT, /* headers that were not taken */
    NGX_HTTP_CANOPY_MALFORMED_MS_TIMEOUT,
    NGX_HTTP_CANOPY_MALFORMED_TRACEPARENT,
    NGX_HTTP_CANOPY_MALFORMED_TRACESTATE,
    NGX_HTTP_CANOPY_MALFORMED_BAGGAGE,
    NGX_HTTP_CANOPY_TOTALS
} ngx_http_canopy_total_t;

/* Lateness: up to 1, 2, 4, ... 32768 ms, and what is more. */
#define NGX_HTTP_CANOPY_LATENESSES 17

/* One writer, the process whose `pid` it has; a later one goes on where it stopped. */
typedef struct {
    _Alignas(64) _Atomic uint64_t pid; /* 0: never used */
    _Atomic uint64_t lost;             /* requests that earlier ones took with them */
    _Atomic uint64_t counts[NGX_HTTP_CANOPY_TOTALS];
    _Atomic uint64_t lateness_ns; /* all of them together */
    _Atomic uint64_t latenesses[NGX_HTTP_CANOPY_LATENESSES];
} ngx_http_canopy_slot_t;

/* The shared memory: a slot for each entry of the master's table of processes. */
typedef struct {
    time_t since; /* when it was made */
    ngx_http_canopy_slot_t slots[NGX_MAX_PROCESSES];
} ngx_http_canopy_totals_t;

/* All slots together. */
typedef struct {
    time_t since;
    uint64_t workers; /* those that are there now */
    uint64_t live;    /* requests with a context that are not over */
    uint64_t lost;    /* requests whose worker was gone before they were over */
    uint64_t counts[NGX_HTTP_CANOPY_TOTALS];
    uint64_t lateness_ns;
    uint64_t latenesses[NGX_HTTP_CANOPY_LATENESSES];
} ngx_http_canopy_sum_t;

/* This process's slot; one that nobody shows where there is no zone. */
extern ngx_http_canopy_slot_t *ngx_http_canopy_slot;

static inline void ngx_http_canopy_add(_Atomic uint64_t *total, uint64_t n)
{
    uint64_t before = atomic_load_explicit(total, memory_order_relaxed);
    atomic_store_explicit(total, before + n, memory_order_relaxed);
}

static inline void ngx_http_canopy_count(ngx_http_canopy_total_t which)
{
    ngx_http_canopy_add(&ngx_http_canopy_slot->counts[which], 1);
}

/* Counts a request that is over, by what its context ended with before that; NULL: it did not. */
void ngx_http_canopy_count_end(const canopy_cause *cause);

/* Counts, where a context was ended by its deadline, how long after that it is now. */
void ngx_http_canopy_count_lateness(int64_t deadline_ns);

/* Gives a configuration its zone, which is that of the one before. */
ngx_int_t ngx_http_canopy_totals_zone(ngx_conf_t *cf, ngx_shm_zone_t **zone);

/* Takes this worker's slot; where there is no zone (NULL) nobody is shown what it counts. */
void ngx_http_canopy_totals_open(ngx_shm_zone_t *zone);

void ngx_http_canopy_totals_sum(const ngx_shm_zone_t *zone, ngx_http_canopy_sum_t *sum);

#endif
