/*
 * contexts.h - every call to canopy that the proxy makes, in one place, so that
 * PROXY_WITHOUT_CONTEXTS can compile them out and what they cost can be
 * measured. The tree that is built here:
 *
 *   root                     the limit on contexts; empty at the end, or we leak
 *    +- signals              done when SIGTERM or SIGINT arrives: start to drain
 *    +- server               its deadline is the end of the grace period
 *        +- connection       its deadline is the idle timeout; the client hanging up ends it
 *            +- request      its deadline is the request's
 *                +- (value)  binds the request's id
 *                    +- call one exchange with the upstream
 *
 * Without contexts every constructor succeeds with NULL, nothing is ever done,
 * and only the signal is still waited for.
 */
#ifndef PROXY_CONTEXTS_H
#define PROXY_CONTEXTS_H

#include <canopy/canopy.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "outcome.h"

#define NS_PER_MS INT64_C(1000000)

struct context_counts {
    uint64_t made, ended;
};

struct server_contexts {
    canopy_ctx *root, *signals, *server;
};

struct request_contexts {
    canopy_ctx *timed;
    canopy_ctx *ctx; /* the layer with the id: what calls derive from */
};

static const int stop_signals[] = {SIGTERM, SIGINT};
enum { STOP_SIGNAL_COUNT = sizeof stop_signals / sizeof stop_signals[0] };

static inline int64_t monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

#ifndef PROXY_WITHOUT_CONTEXTS

extern const canopy_key request_id_key;

static inline canopy_ctx *context_counted(struct context_counts *counts, canopy_ctx *ctx)
{
    counts->made += ctx != NULL;
    return ctx;
}

/* Cancels what is live, and gives the handle back. */
static inline void context_end(struct context_counts *counts, canopy_ctx *ctx)
{
    counts->ended += ctx != NULL;
    canopy_end(ctx);
}

/* ----------------------------------------------------------------- server */

static inline void server_contexts_close_parts(struct server_contexts *s)
{
    canopy_end(s->server);
    canopy_end(s->signals);
}

/* `max_live`: the limit on contexts, 0 for none. */
static inline bool server_contexts_open(struct server_contexts *s, size_t max_live)
{
    canopy_config config = {.size = sizeof config, .max_live = max_live};
    *s = (struct server_contexts){.root = canopy_root_new(&config)};
    if (!s->root)
        return false;
    s->signals = canopy_with_signals(s->root, stop_signals, STOP_SIGNAL_COUNT);
    s->server = canopy_with_deadline_cause(s->root, CANOPY_NEVER, &outcomes[OUTCOME_SHUTDOWN]);
    if (s->signals && s->server)
        return true;
    server_contexts_close_parts(s);
    if (canopy_root_free(s->root) == 0)
        s->root = NULL;
    return false;
}

static inline void server_contexts_wait_for_signal(const struct server_contexts *s)
{
    canopy_wait(s->signals, CANOPY_NEVER);
}

/* From now on the server, and so all of its requests, have `grace_ns` left. */
static inline void server_contexts_limit(struct server_contexts *s, int64_t grace_ns)
{
    canopy_set_deadline(s->server, monotonic_ns() + grace_ns);
}

/* True when nothing was left below the root. */
static inline bool server_contexts_close(struct server_contexts *s, int64_t patience_ns)
{
    const int64_t until_ns = monotonic_ns() + patience_ns;
    server_contexts_close_parts(s);
    if (canopy_wait_idle(s->root, until_ns) != 0)
        return false;
    /* Idle is not yet free: what was last released may be in its grace period. */
    while (canopy_root_free(s->root) != 0) {
        if (canopy_sleep(canopy_background(), NS_PER_MS) != 0 || monotonic_ns() > until_ns)
            return false;
    }
    return true;
}

/* --------------------------------------------------- connections and below */

static inline bool context_connection(struct context_counts *counts, const canopy_ctx *server,
                                      int64_t idle_until_ns, canopy_ctx **ctx)
{
    *ctx = context_counted(
        counts, canopy_with_deadline_cause(server, idle_until_ns, &outcomes[OUTCOME_IDLE]));
    return *ctx != NULL;
}

static inline void request_contexts_close(struct context_counts *counts, struct request_contexts *r)
{
    context_end(counts, r->ctx);
    context_end(counts, r->timed);
}

/* `id` stays where it is until the contexts are closed. */
static inline bool request_contexts_open(struct context_counts *counts,
                                         const canopy_ctx *connection, int64_t deadline_ns,
                                         uint64_t *id, struct request_contexts *r)
{
    *r = (struct request_contexts){0};
    r->timed = context_counted(
        counts, canopy_with_deadline_cause(connection, deadline_ns, &outcomes[OUTCOME_DEADLINE]));
    if (!r->timed)
        return false;
    r->ctx = context_counted(counts, canopy_with_value(r->timed, &request_id_key, id));
    if (r->ctx)
        return true;
    request_contexts_close(counts, r);
    *r = (struct request_contexts){0};
    return false;
}

static inline bool context_call(struct context_counts *counts, const canopy_ctx *request,
                                canopy_ctx **ctx)
{
    *ctx = context_counted(counts, canopy_with_cancel(request));
    return *ctx != NULL;
}

static inline void context_cancel(canopy_ctx *ctx, enum outcome outcome)
{
    canopy_cancel_cause(ctx, &outcomes[outcome]);
}

static inline void context_set_deadline(canopy_ctx *ctx, int64_t deadline_ns)
{
    canopy_set_deadline(ctx, deadline_ns);
}

static inline bool context_done(const canopy_ctx *ctx)
{
    return canopy_done(ctx);
}

static inline enum outcome context_outcome(const canopy_ctx *ctx)
{
    return outcome_of(canopy_cause_of(ctx));
}

/* When the context's time is up; CANOPY_NEVER if it is not limited. */
static inline int64_t context_deadline(const canopy_ctx *ctx)
{
    int64_t deadline_ns;
    canopy_deadline(ctx, &deadline_ns);
    return deadline_ns;
}

static inline bool context_timed_out(const canopy_ctx *ctx)
{
    return canopy_err(ctx) == -ETIMEDOUT;
}

/* 0 where there is none. */
static inline uint64_t context_request_id(const canopy_ctx *ctx)
{
    const uint64_t *id = ctx ? canopy_value(ctx, &request_id_key) : NULL;
    return id ? *id : 0;
}

static inline bool context_watch(const canopy_ctx *ctx, canopy_callback *callback,
                                 void (*fn)(void *arg), void *arg)
{
    return canopy_after_func(ctx, callback, fn, arg) == 0;
}

/* True: fn never runs. False: it ran, runs, or is bound to run. */
static inline bool context_unwatch(canopy_callback *callback)
{
    return canopy_callback_stop(callback);
}

/* Waits until fn is off the record, so that the record may be freed. */
static inline void context_settle(canopy_callback *callback)
{
    canopy_callback_join(callback);
}

static const bool contexts_compiled_in = true;

#else

static inline void context_end(struct context_counts *counts, canopy_ctx *ctx)
{
    (void)counts, (void)ctx;
}

static inline sigset_t stop_signal_set(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < STOP_SIGNAL_COUNT; i++)
        sigaddset(&set, stop_signals[i]);
    return set;
}

/* Called before any thread starts, so that all of them leave the signals to the wait. */
static inline bool server_contexts_open(struct server_contexts *s, size_t max_live)
{
    (void)max_live;
    *s = (struct server_contexts){0};
    sigset_t set = stop_signal_set();
    return pthread_sigmask(SIG_BLOCK, &set, NULL) == 0;
}

static inline void server_contexts_wait_for_signal(const struct server_contexts *s)
{
    (void)s;
    sigset_t set = stop_signal_set();
    int signal_number;
    sigwait(&set, &signal_number);
}

static inline void server_contexts_limit(struct server_contexts *s, int64_t grace_ns)
{
    (void)s, (void)grace_ns;
}

static inline bool server_contexts_close(struct server_contexts *s, int64_t patience_ns)
{
    (void)s, (void)patience_ns;
    return true;
}

static inline bool context_connection(struct context_counts *counts, const canopy_ctx *server,
                                      int64_t idle_until_ns, canopy_ctx **ctx)
{
    (void)counts, (void)server, (void)idle_until_ns;
    *ctx = NULL;
    return true;
}

static inline void request_contexts_close(struct context_counts *counts, struct request_contexts *r)
{
    (void)counts, (void)r;
}

static inline bool request_contexts_open(struct context_counts *counts,
                                         const canopy_ctx *connection, int64_t deadline_ns,
                                         uint64_t *id, struct request_contexts *r)
{
    (void)counts, (void)connection, (void)deadline_ns, (void)id;
    *r = (struct request_contexts){0};
    return true;
}

static inline bool context_call(struct context_counts *counts, const canopy_ctx *request,
                                canopy_ctx **ctx)
{
    (void)counts, (void)request;
    *ctx = NULL;
    return true;
}

static inline void context_cancel(canopy_ctx *ctx, enum outcome outcome)
{
    (void)ctx, (void)outcome;
}

static inline void context_set_deadline(canopy_ctx *ctx, int64_t deadline_ns)
{
    (void)ctx, (void)deadline_ns;
}

static inline bool context_done(const canopy_ctx *ctx)
{
    (void)ctx;
    return false;
}

static inline enum outcome context_outcome(const canopy_ctx *ctx)
{
    (void)ctx;
    return OUTCOME_SHUTDOWN;
}

static inline int64_t context_deadline(const canopy_ctx *ctx)
{
    (void)ctx;
    return CANOPY_NEVER;
}

static inline bool context_timed_out(const canopy_ctx *ctx)
{
    (void)ctx;
    return false;
}

static inline uint64_t context_request_id(const canopy_ctx *ctx)
{
    (void)ctx;
    return 0;
}

static inline bool context_watch(const canopy_ctx *ctx, canopy_callback *callback,
                                 void (*fn)(void *arg), void *arg)
{
    (void)ctx, (void)callback, (void)fn, (void)arg;
    return true;
}

static inline bool context_unwatch(canopy_callback *callback)
{
    (void)callback;
    return true;
}

static inline void context_settle(canopy_callback *callback)
{
    (void)callback;
}

static const bool contexts_compiled_in = false;

#endif

#endif
