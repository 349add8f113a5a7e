/*
 * contexts.h - every call to canopy that the proxy makes, in one place, so that
 * PROXY_WITHOUT_CONTEXTS can compile them out and what they cost can be
 * measured. The tree that is built here:
 *
 *   stop                        of the process: done when it shall end
 *
 *   root                        one a worker, whose loop drives its clock; the
 *    |                          limit on contexts; empty at the end, or we leak
 *    +- serving                 its deadline is the end of the grace period
 *        +- connection          its deadline is the idle timeout; the client
 *            |                  hanging up ends it
 *            +- (value)         binds the client's address
 *                +- request     its deadline is the request's
 *                    +- (value) binds the request's id
 *                        +- call  one exchange with the upstream
 *
 * `stop` is no ancestor of what the workers do. A root that a loop drives belongs
 * to that loop, so there is no common one; and to stop means first to drain, which
 * ends nothing. So each worker's loop has a callback on `stop`, drains when that
 * runs, and limits its own tree. A context on signals would need the library's
 * thread: here the main thread takes the signals, and cancels `stop`.
 *
 * Without contexts every constructor succeeds with NULL, nothing is ever done,
 * and only the drain still begins.
 */
#ifndef PROXY_CONTEXTS_H
#define PROXY_CONTEXTS_H

#include <canopy/inspect.h>
#include <canopy/loop.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "outcome.h"

#define NS_PER_MS INT64_C(1000000)

struct context_counts {
    uint64_t made, ended;
};

/* What the main thread and all workers share. */
struct server_contexts {
    canopy_ctx *stop;
    canopy_listener listener;
    /* These are used where `stop` is compiled out. */
    int stop_fd;
    atomic_bool stopped;
};

/* A worker's own; it stays in place while it is open. */
struct worker_contexts {
    canopy_ctx *root, *serving;
    canopy_loop loop;
    canopy_loop_callback stop_record;
    bool is_inspected; /* so contexts have names */
    struct context_counts counts;
    atomic_size_t bytes; /* of memory that the root has taken */
    /* These are used where `loop` is compiled out. */
    struct server_contexts *server;
    void (*on_stop)(void *arg);
    void *arg;
};

/* A context with a deadline, and below it a layer with a value. */
struct scope {
    canopy_ctx *timed;
    canopy_ctx *ctx; /* the layer: what the next level derives from */
    /* Used where these are compiled out: so that the upstream is told the same. */
    int64_t deadline_ns;
};

static inline int64_t monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

#ifndef PROXY_WITHOUT_CONTEXTS

extern const canopy_key client_key, request_id_key;

static const bool contexts_compiled_in = true;

static inline canopy_ctx *context_counted(struct worker_contexts *w, canopy_ctx *ctx,
                                          const char *name)
{
    w->counts.made += ctx != NULL;
    if (w->is_inspected)
        canopy_name(ctx, name);
    return ctx;
}

/* Cancels what is live, and gives the handle back. */
static inline void context_end(struct worker_contexts *w, canopy_ctx *ctx)
{
    w->counts.ended += ctx != NULL;
    canopy_end(ctx);
}

/* ----------------------------------------------------------------- server */

/* `inspect`: where it tells of its contexts, and may be told to end them; NULL: nowhere. */
static inline bool server_contexts_open(struct server_contexts *s, const char *inspect,
                                        bool may_cancel)
{
    const int error = inspect ? canopy_inspect_background() : 0;
    /* Without a deadline below background, its clock has nothing to run for. */
    s->stop = error ? NULL : canopy_with_cancel(canopy_background());
    if (!s->stop || !inspect)
        return s->stop != NULL;
    canopy_name(s->stop, "stop");
    errno = -canopy_listen(&s->listener, inspect, may_cancel ? CANOPY_ANSWER_CANCEL : 0);
    return errno == 0;
}

/* Has all workers drain. */
static inline void server_contexts_stop(struct server_contexts *s)
{
    canopy_cancel(s->stop);
}

static inline void server_contexts_close(struct server_contexts *s, bool is_inspected)
{
    if (is_inspected)
        canopy_listener_close(&s->listener);
    canopy_end(s->stop);
}

/* ---------------------------------------------------------------- workers */

static inline void *root_allocate(void *bytes, size_t align_bytes, size_t size_bytes)
{
    void *memory;
    if (posix_memalign(&memory, align_bytes, size_bytes) != 0)
        return NULL;
    atomic_fetch_add_explicit((atomic_size_t *)bytes, size_bytes, memory_order_relaxed);
    return memory;
}

static inline void root_release(void *bytes, void *memory, size_t align_bytes, size_t size_bytes)
{
    (void)align_bytes;
    atomic_fetch_sub_explicit((atomic_size_t *)bytes, size_bytes, memory_order_relaxed);
    free(memory);
}

/* `max_live`: the limit on contexts, 0 for none. */
static inline bool worker_contexts_open(struct worker_contexts *w, size_t max_live,
                                        bool is_inspected)
{
    const canopy_config config = {.size = sizeof config,
                                  .allocate = root_allocate,
                                  .release = root_release,
                                  .user = &w->bytes,
                                  .max_live = max_live,
                                  .clock = CANOPY_CLOCK_HOST,
                                  .now_ns = monotonic_ns(),
                                  .inspect = is_inspected ? CANOPY_INSPECT_NOTES : 0};
    w->is_inspected = is_inspected;
    w->root = canopy_root_new(&config);
    if (!w->root)
        return false;
    w->serving = canopy_with_deadline_cause(w->root, CANOPY_NEVER, &outcomes[OUTCOME_SHUTDOWN]);
    canopy_name(w->root, "worker");
    canopy_name(w->serving, "serving");
    return w->serving != NULL;
}

/* Makes the loop, on the worker's thread, where on_stop(arg) will run once. */
static inline bool worker_contexts_start(struct worker_contexts *w, struct server_contexts *s,
                                         void (*on_stop)(void *arg), void *arg)
{
    return canopy_loop_init(&w->loop, w->root) == 0 &&
           canopy_loop_after_func(s->stop, &w->loop, &w->stop_record, on_stop, arg) == 0;
}

static inline int worker_contexts_fd(const struct worker_contexts *w)
{
    return canopy_loop_fd(&w->loop);
}

/*
 * How long the worker may sleep, for epoll_wait. `now_ns`: when its last batch of events
 * arrived, so that a deadline is late by what they took, and the clock is read once a turn.
 */
static inline int worker_contexts_timeout_ms(struct worker_contexts *w, int64_t now_ns)
{
    return canopy_loop_timeout_ms(canopy_loop_timeout_ns(&w->loop, now_ns));
}

/* Ends what is due, and runs the callbacks of what is done. */
static inline void worker_contexts_run(struct worker_contexts *w, int64_t now_ns)
{
    canopy_loop_run(&w->loop, now_ns);
}

/* Whatever the worker does shall be over by `deadline_ns`. */
static inline void worker_contexts_limit(struct worker_contexts *w, int64_t deadline_ns)
{
    canopy_set_deadline(w->serving, deadline_ns);
}

/* Undoes the start, on the same thread. False: something is still watched. */
static inline bool worker_contexts_finish(struct worker_contexts *w)
{
    return canopy_loop_close(&w->loop) == 0;
}

/* True when nothing was left below the root. */
static inline bool worker_contexts_close(struct worker_contexts *w, int64_t patience_ns)
{
    const int64_t until_ns = monotonic_ns() + patience_ns;
    canopy_end(w->serving);
    if (canopy_wait_idle(w->root, until_ns) != 0)
        return false;
    /* Idle is not yet free: what was last released may be in its grace period. */
    while (canopy_root_free(w->root) != 0) {
        if (canopy_sleep(canopy_background(), NS_PER_MS) != 0 || monotonic_ns() > until_ns)
            return false;
    }
    return true;
}

/* --------------------------------------------------- connections and below */

static inline void scope_close(struct worker_contexts *w, struct scope *scope)
{
    context_end(w, scope->ctx);
    context_end(w, scope->timed);
    *scope = (struct scope){0};
}

/* `outcome`: of what the deadline ends. `value` stays where it is until the scope is closed. */
static inline bool scope_open(struct worker_contexts *w, struct scope *scope, const char *name,
                              const canopy_ctx *parent, int64_t deadline_ns, enum outcome outcome,
                              const canopy_key *key, void *value)
{
    scope->ctx = NULL;
    scope->timed = context_counted(
        w, canopy_with_deadline_cause(parent, deadline_ns, &outcomes[outcome]), name);
    if (!scope->timed)
        return false;
    scope->ctx = context_counted(w, canopy_with_value(scope->timed, key, value), key->name);
    if (scope->ctx)
        return true;
    scope_close(w, scope);
    return false;
}

static inline bool connection_contexts_open(struct worker_contexts *w, struct scope *scope,
                                            int64_t idle_until_ns, struct sockaddr_in *client)
{
    return scope_open(w, scope, "connection", w->serving, idle_until_ns, OUTCOME_IDLE, &client_key,
                      client);
}

static inline bool request_contexts_open(struct worker_contexts *w, struct scope *scope,
                                         const struct scope *connection, int64_t deadline_ns,
                                         uint64_t *id)
{
    return scope_open(w, scope, "request", connection->ctx, deadline_ns, OUTCOME_DEADLINE,
                      &request_id_key, id);
}

static inline bool context_call(struct worker_contexts *w, const canopy_ctx *request,
                                canopy_ctx **ctx)
{
    *ctx = context_counted(w, canopy_with_cancel(request), "call");
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

static inline int64_t scope_deadline(const struct scope *scope)
{
    return context_deadline(scope->timed);
}

static inline bool context_timed_out(const canopy_ctx *ctx)
{
    return canopy_err(ctx) == -ETIMEDOUT;
}

/* NULL where there is none, also for `ctx`. */
static inline const struct sockaddr_in *context_client(const canopy_ctx *ctx)
{
    return ctx ? canopy_value(ctx, &client_key) : NULL;
}

/* 0 where there is none. */
static inline uint64_t context_request_id(const canopy_ctx *ctx)
{
    const uint64_t *id = ctx ? canopy_value(ctx, &request_id_key) : NULL;
    return id ? *id : 0;
}

/* Has the worker's loop run fn(arg) once, when the context is done. */
static inline bool context_watch(struct worker_contexts *w, const canopy_ctx *ctx,
                                 canopy_loop_callback *record, void (*fn)(void *arg), void *arg)
{
    return canopy_loop_after_func(ctx, &w->loop, record, fn, arg) == 0;
}

/* On the worker's thread: what has not begun never will, and the record is free. */
static inline void context_unwatch(canopy_loop_callback *record)
{
    canopy_loop_callback_drop(record);
}

#else

static const bool contexts_compiled_in = false;

static inline void context_end(struct worker_contexts *w, canopy_ctx *ctx)
{
    (void)w, (void)ctx;
}

/* Nobody reads it: its one write is an edge for the epoll set of each worker. */
static inline bool server_contexts_open(struct server_contexts *s, const char *inspect,
                                        bool may_cancel)
{
    (void)may_cancel;
    s->stop_fd = inspect ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    errno = inspect ? ENOTSUP : errno;
    return s->stop_fd >= 0;
}

static inline void server_contexts_stop(struct server_contexts *s)
{
    atomic_store(&s->stopped, true);
    eventfd_write(s->stop_fd, 1);
}

static inline void server_contexts_close(struct server_contexts *s, bool is_inspected)
{
    (void)is_inspected;
    close(s->stop_fd);
}

static inline bool worker_contexts_open(struct worker_contexts *w, size_t max_live,
                                        bool is_inspected)
{
    (void)w, (void)max_live, (void)is_inspected;
    return true;
}

static inline bool worker_contexts_start(struct worker_contexts *w, struct server_contexts *s,
                                         void (*on_stop)(void *arg), void *arg)
{
    w->server = s;
    w->on_stop = on_stop;
    w->arg = arg;
    return true;
}

static inline int worker_contexts_fd(const struct worker_contexts *w)
{
    return w->server->stop_fd;
}

static inline int worker_contexts_timeout_ms(struct worker_contexts *w, int64_t now_ns)
{
    (void)w, (void)now_ns;
    return -1;
}

static inline void worker_contexts_run(struct worker_contexts *w, int64_t now_ns)
{
    (void)now_ns;
    void (*on_stop)(void *arg) = w->on_stop;
    if (!on_stop || !atomic_load(&w->server->stopped))
        return;
    w->on_stop = NULL;
    on_stop(w->arg);
}

static inline void worker_contexts_limit(struct worker_contexts *w, int64_t deadline_ns)
{
    (void)w, (void)deadline_ns;
}

static inline bool worker_contexts_finish(struct worker_contexts *w)
{
    (void)w;
    return true;
}

static inline bool worker_contexts_close(struct worker_contexts *w, int64_t patience_ns)
{
    (void)w, (void)patience_ns;
    return true;
}

static inline void scope_close(struct worker_contexts *w, struct scope *scope)
{
    (void)w, (void)scope;
}

static inline bool connection_contexts_open(struct worker_contexts *w, struct scope *scope,
                                            int64_t idle_until_ns, struct sockaddr_in *client)
{
    (void)w, (void)scope, (void)idle_until_ns, (void)client;
    return true;
}

static inline bool request_contexts_open(struct worker_contexts *w, struct scope *scope,
                                         const struct scope *connection, int64_t deadline_ns,
                                         uint64_t *id)
{
    (void)w, (void)connection, (void)id;
    scope->deadline_ns = deadline_ns;
    return true;
}

static inline bool context_call(struct worker_contexts *w, const canopy_ctx *request,
                                canopy_ctx **ctx)
{
    (void)w, (void)request;
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

static inline int64_t scope_deadline(const struct scope *scope)
{
    return scope->deadline_ns;
}

static inline bool context_timed_out(const canopy_ctx *ctx)
{
    (void)ctx;
    return false;
}

static inline const struct sockaddr_in *context_client(const canopy_ctx *ctx)
{
    (void)ctx;
    return NULL;
}

static inline uint64_t context_request_id(const canopy_ctx *ctx)
{
    (void)ctx;
    return 0;
}

static inline bool context_watch(struct worker_contexts *w, const canopy_ctx *ctx,
                                 canopy_loop_callback *record, void (*fn)(void *arg), void *arg)
{
    (void)w, (void)ctx, (void)record, (void)fn, (void)arg;
    return true;
}

static inline void context_unwatch(canopy_loop_callback *record)
{
    (void)record;
}

#endif

#endif
