/*
 * calls.c - the public functions of a debug build that make, own, observe and await
 * contexts: each looks at what it is given and hands it on.
 */
#include <canopy/wire.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "debug/shadow.h"

/* ------------------------------------------------------------------ lists of contexts */

/* What the library is given in the place of a list of shadows. */
struct list {
    const canopy_ctx **cores;
    bool is_endless;
    const canopy_ctx *few[64];
};

/* 0, or EINVAL where there is no such list or it has what is no context in it, or ENOMEM. */
static int list_open(struct list *list, const canopy_ctx *const ctxs[], size_t n,
                     canopy_debug_place here)
{
    if (!ctxs || n == 0 || n > SIZE_MAX / sizeof *ctxs)
        return EINVAL;
    list->cores = list->few;
    list->is_endless = true;
    if (n > sizeof list->few / sizeof list->few[0]) {
        list->cores = malloc(n * sizeof *ctxs);
        if (!list->cores)
            return ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        list->cores[i] = shadow_core(ctxs[i], here);
        if (!list->cores[i])
            return EINVAL;
        list->is_endless &= shadow_of(ctxs[i])->is_endless;
    }
    return 0;
}

static void list_close(struct list *list)
{
    if (list->cores != list->few)
        free(list->cores);
}

/* ---------------------------------------------------------------------------- derive */

CORE(root_advance);
CORE(root_advance_for);
CORE(root_free);
CORE(root_new);
CORE(root_usage);
CORE(with_any);
CORE(with_cancel);
CORE(with_deadline);
CORE(with_deadline_cause);
CORE(with_signals);
CORE(with_timeout);
CORE(with_timeout_cause);
CORE(with_value);
CORE(without_cancel);

/* The rest of a function that derives from `parent`: `make` is of a core's child. */
#define DERIVE(parent, is_never_done, make)                                                        \
    struct shadow *shadow = shadow_new((parent), HERE);                                            \
    if (!shadow)                                                                                   \
        return NULL;                                                                               \
    shadow->is_endless = (is_never_done);                                                          \
    const canopy_ctx *core = shadow->parent->core;                                                 \
    return shadow_born(shadow, (make))

canopy_ctx *canopy_with_cancel(const canopy_ctx *parent)
{
    DERIVE(parent, false, core_with_cancel(core));
}

canopy_ctx *canopy_with_deadline(const canopy_ctx *parent, int64_t deadline_ns)
{
    DERIVE(parent, false, core_with_deadline(core, deadline_ns));
}

canopy_ctx *canopy_with_timeout(const canopy_ctx *parent, int64_t timeout_ns)
{
    DERIVE(parent, false, core_with_timeout(core, timeout_ns));
}

canopy_ctx *canopy_with_deadline_cause(const canopy_ctx *parent, int64_t deadline_ns,
                                       const canopy_cause *cause)
{
    DERIVE(parent, false, core_with_deadline_cause(core, deadline_ns, cause));
}

canopy_ctx *canopy_with_timeout_cause(const canopy_ctx *parent, int64_t timeout_ns,
                                      const canopy_cause *cause)
{
    DERIVE(parent, false, core_with_timeout_cause(core, timeout_ns, cause));
}

canopy_ctx *canopy_with_value(const canopy_ctx *parent, const canopy_key *key, void *value)
{
    DERIVE(parent, shadow->parent->is_endless, core_with_value(core, key, value));
}

canopy_ctx *canopy_without_cancel(const canopy_ctx *parent)
{
    DERIVE(parent, true, core_without_cancel(core));
}

canopy_ctx *canopy_with_signals(const canopy_ctx *parent, const int signals[], size_t n)
{
    DERIVE(parent, false, core_with_signals(core, signals, n));
}

/* Under cores that all are contexts. */
static canopy_ctx *derive_any(const canopy_ctx *const parents[], const canopy_ctx *const cores[],
                              size_t n, canopy_debug_place here)
{
    struct shadow *shadow = shadow_new(parents[0], here);
    if (!shadow)
        return NULL;
    if (shadow_add_inputs(shadow, parents + 1, n - 1))
        return shadow_born(shadow, core_with_any(cores, n));
    errno = ENOMEM;
    return shadow_born(shadow, NULL);
}

canopy_ctx *canopy_with_any(const canopy_ctx *const parents[], size_t n)
{
    struct list list = {0};
    int err = list_open(&list, parents, n, HERE);
    canopy_ctx *ctx = err ? NULL : derive_any(parents, list.cores, n, HERE);
    if (err)
        errno = err;
    list_close(&list);
    return ctx;
}

canopy_ctx *canopy_root_new(const canopy_config *config)
{
    struct shadow *shadow = shadow_new_root(HERE);
    return shadow ? shadow_born(shadow, core_root_new(config)) : NULL;
}

int canopy_root_free(canopy_ctx *root)
{
    int err = core_root_free(shadow_core(root, HERE));
    if (err == -EBUSY)
        shadow_tell_leaks(shadow_of(root), HERE);
    if (!err)
        shadow_root_freed(shadow_of(root), HERE);
    return err;
}

int canopy_root_usage(const canopy_ctx *root, canopy_usage *usage)
{
    return core_root_usage(shadow_core(root, HERE), usage);
}

int canopy_root_advance(canopy_ctx *root, int64_t now_ns, int64_t *next_ns)
{
    return core_root_advance(shadow_core(root, HERE), now_ns, next_ns);
}

int canopy_root_advance_for(canopy_ctx *root, int64_t now_ns, int64_t most_ns, int64_t *next_ns)
{
    return core_root_advance_for(shadow_core(root, HERE), now_ns, most_ns, next_ns);
}

/* ------------------------------------------------------------------------------- own */

CORE(cancel);
CORE(cancel_cause);
CORE(end);
CORE(release);
CORE(retain);
CORE(set_deadline);
CORE(set_timeout);
CORE(try_reset);

bool canopy_cancel(canopy_ctx *ctx)
{
    return core_cancel(shadow_core(ctx, HERE));
}

bool canopy_cancel_cause(canopy_ctx *ctx, const canopy_cause *cause)
{
    return core_cancel_cause(shadow_core(ctx, HERE), cause);
}

bool canopy_set_deadline(canopy_ctx *ctx, int64_t deadline_ns)
{
    return core_set_deadline(shadow_core(ctx, HERE), deadline_ns);
}

bool canopy_set_timeout(canopy_ctx *ctx, int64_t timeout_ns)
{
    return core_set_timeout(shadow_core(ctx, HERE), timeout_ns);
}

bool canopy_try_reset(canopy_ctx *ctx)
{
    return core_try_reset(shadow_core(ctx, HERE));
}

const canopy_ctx *canopy_retain(const canopy_ctx *ctx)
{
    if (core_retain(shadow_core(ctx, HERE)))
        shadow_retain(shadow_of(ctx));
    return ctx;
}

void canopy_release(const canopy_ctx *ctx)
{
    core_release(shadow_release(ctx, HERE));
}

void canopy_end(canopy_ctx *ctx)
{
    core_end(shadow_release(ctx, HERE));
}

/* --------------------------------------------------------------------------- observe */

CORE(cause_of);
CORE(cause_signal);
CORE(deadline);
CORE(done);
CORE(done_fd);
CORE(err);
CORE(err_at);
CORE(lookup);
CORE(value);

int canopy_err(const canopy_ctx *ctx)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    return core ? core_err(core) : -ECANCELED;
}

bool canopy_done(const canopy_ctx *ctx)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    return core ? core_done(core) : true;
}

const canopy_cause *canopy_cause_of(const canopy_ctx *ctx)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    return core ? core_cause_of(core) : CANOPY_CANCELED;
}

int canopy_cause_signal(const canopy_cause *cause)
{
    return core_cause_signal(cause);
}

bool canopy_deadline(const canopy_ctx *ctx, int64_t *deadline_ns)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    if (core)
        return core_deadline(core, deadline_ns);
    if (deadline_ns)
        *deadline_ns = CANOPY_NEVER;
    return false;
}

int canopy_err_at(const canopy_ctx *ctx, int64_t now_ns)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    return core ? core_err_at(core, now_ns) : -ECANCELED;
}

void *canopy_value(const canopy_ctx *ctx, const canopy_key *key)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    return core ? core_value(core, key) : NULL;
}

bool canopy_lookup(const canopy_ctx *ctx, const canopy_key *key, void **value)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    return core ? core_lookup(core, key, value) : false;
}

int canopy_done_fd(const canopy_ctx *ctx)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    return core ? core_done_fd(core) : -EINVAL;
}

/* ------------------------------------------------------------------------------ wait */

CORE(sleep);
CORE(now_ns);
CORE(wait);
CORE(wait_any);
CORE(wait_idle);

static void tell_endless(const canopy_ctx *ctx, canopy_debug_place here, const char *what)
{
    tell((canopy_debug_report){CANOPY_DEBUG_ENDLESS_WAIT, .ctx = ctx, .here = here,
                               .made = shadow_of(ctx)->made},
         what);
}

/* A callback that waits for what never comes keeps its canceller, or the library's thread. */
static bool is_endless(bool ctxs_are, const canopy_ctx *first, int64_t until_ns,
                       canopy_debug_place here)
{
    if (!ctxs_are || until_ns != CANOPY_NEVER || !callback_is_running())
        return false;
    tell_endless(first, here, "is never done, and a callback waits for it without end");
    return true;
}

bool canopy_wait(const canopy_ctx *ctx, int64_t until_ns)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    if (!core)
        return true;
    if (is_endless(shadow_of(ctx)->is_endless, ctx, until_ns, HERE))
        return false;
    return core_wait(core, until_ns);
}

int64_t canopy_now_ns(void)
{
    return core_now_ns();
}

int canopy_sleep(const canopy_ctx *ctx, int64_t duration_ns)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    return core ? core_sleep(core, duration_ns) : -ECANCELED;
}

int canopy_wait_any(const canopy_ctx *const ctxs[], size_t n, int64_t until_ns)
{
    struct list list = {0};
    int result = n > INT_MAX ? -EINVAL : -list_open(&list, ctxs, n, HERE);
    if (!result)
        result = is_endless(list.is_endless, ctxs[0], until_ns, HERE)
                     ? -EDEADLK
                     : core_wait_any(list.cores, n, until_ns);
    list_close(&list);
    return result;
}

int canopy_wait_idle(const canopy_ctx *ctx, int64_t until_ns)
{
    const canopy_ctx *core = shadow_core(ctx, HERE);
    if (core && callback_keeps_busy(shadow_of(ctx))) {
        tell_endless(ctx, HERE, "is not idle before the callback returns that waits for it");
        return -EDEADLK;
    }
    return core_wait_idle(core, until_ns);
}

/* ------------------------------------------------------------------ to other machines */

CORE(wire_answered);
CORE(wire_status);

canopy_wire_end canopy_wire_status(const canopy_ctx *ctx)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    return core ? core_wire_status(core) : (canopy_wire_end){1, 499};
}

int canopy_wire_answered(const canopy_ctx *call, int grpc_status, int64_t now_ns)
{
    const canopy_ctx *core = shadow_observed(call, HERE);
    return core ? core_wire_answered(core, grpc_status, now_ns) : grpc_status;
}

CORE(baggage_of);
CORE(with_baggage);

canopy_ctx *canopy_with_baggage(const canopy_ctx *parent, const char *key, size_t key_bytes,
                                const char *value, size_t value_bytes, const char *properties,
                                size_t properties_bytes)
{
    DERIVE(
        parent, shadow->parent->is_endless,
        core_with_baggage(core, key, key_bytes, value, value_bytes, properties, properties_bytes));
}

const char *canopy_baggage_of(const canopy_ctx *ctx, size_t *bytes)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    if (core)
        return core_baggage_of(core, bytes);
    *bytes = 0;
    return NULL;
}

CORE(traceparent_of);
CORE(wire_write);
CORE(with_wire);

canopy_ctx *canopy_with_wire(const canopy_ctx *parent, const canopy_wire *wire)
{
    DERIVE(parent, false, core_with_wire(core, wire));
}

const canopy_traceparent *canopy_traceparent_of(const canopy_ctx *ctx)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    return core ? core_traceparent_of(core) : NULL;
}

int canopy_wire_write(const canopy_ctx *ctx, const canopy_wire_policy *policy,
                      const canopy_traceparent *span, int64_t now_ns, canopy_header_fn sink,
                      void *user)
{
    const canopy_ctx *core = shadow_observed(ctx, HERE);
    return core ? core_wire_write(core, policy, span, now_ns, sink, user) : -ECANCELED;
}
