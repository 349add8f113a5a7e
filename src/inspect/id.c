/*
 * id.c - one context, by its id: what is known of it, its name, its end.
 */
#include <errno.h>
#include <string.h>

#include "base/probe.h"
#include "callbacks/callback.h"
#include "inspect/look.h"

uint64_t canopy_id(const canopy_ctx *ctx)
{
    if (!(ctx->parent & PARENT_NOTED) || ctx_kind(ctx) == KIND_STATIC)
        return 0;
    struct ctx_note *note = note_beside(ctx);
    struct seen seen = {ctx_mutable(ctx), note, u64_load_relaxed(&note->life)};
    return look_id(&seen);
}

static void name_noted(canopy_ctx *ctx, const char *name)
{
    word_store_release(&note_beside(ctx)->name, (uintptr_t)name); /* NT6 */
    if (name && unlikely(trace_is_on()))
        ring_add(ring_what(RING_NAMED, 0, 0), trace_id(ctx), 0, name);
}

void canopy_name(canopy_ctx *ctx, const char *name)
{
    if (ctx && (ctx->parent & PARENT_NOTED) && ctx_kind(ctx) != KIND_STATIC)
        name_noted(ctx, name);
}

int canopy_inspect(uint64_t id, canopy_info *info, size_t info_bytes)
{
    struct seen seen;
    if (!info || !info_bytes_are_known(info_bytes))
        return -EINVAL;
    canopy_info told;
    rcu_read_begin();
    bool is_there = look_by_id(&seen, id) && look_at(&seen, &told);
    rcu_read_end();
    if (!is_there)
        return -ESRCH;
    memset(info, 0, info_bytes);
    *info = told;
    return 0;
}

/* ------------------------------------------------------------------------ end */

/* A context stays for the rest of this read section. False: it is about to go, or has. */
static bool keep(struct canopy_ctx *ctx)
{
    if (ctx == slab_of(ctx)->domain->root)
        return true; /* which goes a grace period after it is found no more */
    if (!children_tag(ctx))
        return false;
    domain_fence(slab_of(ctx)->domain); /* between K2 and K3 */
    return children_is_kept(ctx);
}

/* Ends a context that is kept, or says why not. */
static int end_kept(struct canopy_ctx *ctx, uintptr_t word, const void *place, struct pass *pass)
{
    if (!kind_is_cancellable(ctx_kind(ctx)))
        return -EPERM;
    if (!cancel_tree(ctx, word, pass))
        return -EALREADY;
    PROBE3(cancel, ctx, state_cause(word), state_cause(word)->text);
    note_place(ctx, place);
    return 0;
}

int canopy_cancel_id(uint64_t id, const canopy_cause *cause)
{
    struct pass pass;
    struct seen seen;
    int err = -ESRCH;
    uintptr_t word = state_word(cause ? cause : CANOPY_CANCELED, STATE_CANCELED);
    pass_init(&pass);
    rcu_read_begin();
    if (look_by_id(&seen, id) && keep(seen.ctx) && look_holds(&seen))
        err = end_kept(seen.ctx, word, PLACE_OF_CALL, &pass);
    rcu_read_end();
    deliver(&pass, false);
    return err;
}

/* ----------------------------------------------------------------- background */

int canopy_inspect_background(void)
{
    return library_init() == 0 ? statics_keep_notes() : -ENOMEM;
}
