/*
 * look.c - what is read of one context; see look.h.
 */
#include "inspect/look.h"

#include <errno.h>
#include <string.h>

#include "time/deadline.h"
#include "tree/children.h"
#include "tree/extension.h"

/* So many levels up who ended a context and its deadline are looked for. */
#define LEVELS 1000

/* And so often it is asked on a longer way whether there still is a way. */
#define LEVELS_ASKED 64

/* ------------------------------------------------------------------- one line */

bool look_begin(struct seen *seen, const struct slab *slab, unsigned line)
{
    seen->ctx = (struct canopy_ctx *)(void *)((char *)(uintptr_t)slab + (size_t)line * CACHE_LINE);
    seen->note = note_beside(seen->ctx);
    seen->life = u64_load_acquire(&seen->note->life); /* NT1: pairs with NT4 */
    return seen->life & 1;
}

bool look_holds(const struct seen *seen)
{
    fence_acquire();
    return u64_load_relaxed(&seen->note->life) == seen->life; /* NT3: pairs with NT5 */
}

uint64_t look_id(const struct seen *seen)
{
    return note_id(seen->ctx, seen->life);
}

bool look_by_id(struct seen *seen, uint64_t id)
{
    unsigned line = id & ((1U << ID_LINE_BITS) - 1);
    uint32_t number = (uint32_t)(id >> ID_LINE_BITS) & (NOTED_SLABS - 1);
    const struct slab *slab = number < notes_numbers() ? notes_slab(number) : NULL;
    if (!slab || line < SLAB_HEADER_BYTES / CACHE_LINE || line >= SLAB_ALLOCATED_BYTES / CACHE_LINE)
        return false;
    return look_begin(seen, slab, line) && look_id(seen) == id;
}

/* ----------------------------------------------------------------------- above */

static enum kind kind_in(uintptr_t parent)
{
    return (enum kind)(parent & PARENT_KIND_MASK);
}

/* One above another, while that one lives: from look_begin on, as long as look_holds. */
static uintptr_t parent_word(const struct ctx_note *note)
{
    return word_load_acquire(&note->parent); /* NT2: pairs with NT6 */
}

static struct canopy_ctx *parent_in(uintptr_t word)
{
    struct canopy_ctx *parent = (struct canopy_ctx *)(word & ~PARENT_FLAGS);
    return parent && has_note(parent) ? parent : NULL;
}

static bool has_ended_itself(const struct canopy_ctx *ctx)
{
    return u32_load_acquire(&note_beside(ctx)->ended_tid) != 0; /* NT7a: pairs with NT7 */
}

/*
 * The input by which a merged context ended, or 0. The word is an address of code where the
 * context has ended itself, or another life's: so it is used once it is known to be neither.
 */
static uintptr_t input_ended_by(const struct seen *seen, const struct canopy_ctx *merged)
{
    uintptr_t input = word_load_acquire(&note_beside(merged)->ended_at); /* NT2 */
    return input && !has_ended_itself(merged) && look_holds(seen) ? input : 0;
}

/* The next one up that has a state of its own, from which an end could have come; or NULL. */
static struct canopy_ctx *scope_above(const struct seen *seen, struct canopy_ctx *ctx)
{
    uintptr_t word = parent_word(note_beside(ctx));
    uintptr_t by = kind_in(word) == KIND_MERGED ? input_ended_by(seen, ctx) : 0;
    struct canopy_ctx *above = parent_in(by ? by : word);
    while (above && kind_in(parent_word(note_beside(above))) == KIND_VALUE)
        above = parent_in(parent_word(note_beside(above)));
    return above;
}

/*
 * Who ended a context with `state`: the nearest one up with an end of its own. Where that
 * is not written down yet, the topmost of those in a row that ended in the same way.
 */
static struct canopy_ctx *ender(const struct seen *seen, enum kind kind, uintptr_t state)
{
    struct canopy_ctx *ctx = kind == KIND_VALUE ? scope_above(seen, seen->ctx) : seen->ctx;
    for (unsigned level = 0; ctx && level < LEVELS && !has_ended_itself(ctx); level++) {
        struct canopy_ctx *above = scope_above(seen, ctx);
        if (!above || has_ended_itself(ctx) || (ctx_state(above) & ~STATE_SWEPT) != state)
            break;
        ctx = above;
    }
    return ctx;
}

static int64_t effective_deadline_ns(struct canopy_ctx *ctx)
{
    int64_t least_ns = CANOPY_NEVER;
    for (unsigned level = 0; ctx && level < LEVELS; level++) {
        uintptr_t word = parent_word(note_beside(ctx));
        if (kind_in(word) == KIND_DETACHED)
            break;
        if (kind_in(word) != KIND_VALUE) {
            int64_t deadline_ns = deadline_of(ctx);
            least_ns = deadline_ns < least_ns ? deadline_ns : least_ns;
        }
        ctx = parent_in(word);
    }
    return least_ns;
}

static uint64_t id_of(struct canopy_ctx *ctx)
{
    struct seen seen = {ctx, note_beside(ctx), 0};
    seen.life = u64_load_acquire(&seen.note->life); /* NT1 */
    return look_id(&seen);
}

static bool is_below(const struct seen *seen, struct wanted *wanted)
{
    const struct canopy_ctx *ctx = seen->ctx;
    for (unsigned level = 1; ctx; level++) {
        if (ctx == wanted->top)
            return true;
        if (ctx == wanted->inside && id_of(ctx_mutable(ctx)) == wanted->inside_id)
            return true;
        if (level % LEVELS_ASKED == 0 && !look_holds(seen))
            return false;
        ctx = parent_in(parent_word(note_beside(ctx)));
    }
    return false;
}

bool look_is_wanted(const struct seen *seen, struct wanted *wanted, int64_t now_ns)
{
    int64_t made_ns = i64_load_relaxed(&seen->note->made_ns);
    if (wanted->older_than_ns > 0 && now_ns - made_ns < wanted->older_than_ns)
        return false;
    if (wanted->live_only && !state_is_live(ctx_state(seen->ctx)))
        return false;
    if (!wanted->top)
        return true;
    if (slab_of(seen->ctx)->domain != ctx_domain(wanted->top) || !is_below(seen, wanted))
        return false;
    /* What is made next is mostly near it: so the way up is short however deep it lies. */
    wanted->inside = seen->ctx;
    wanted->inside_id = look_id(seen);
    return true;
}

/* ------------------------------------------------------------------ what it is */

/*
 * Lines of slots and extensions are not all written by atomic stores when they are used anew,
 * and what is read there may be another's: then the context that they hung on has gone, which
 * NT3 finds. They are lines of the library's in any case. What is read behind an address is
 * read after it, as it depends on that.
 */
#if defined(__clang__) || defined(__SANITIZE_THREAD__)
#define UNORDERED __attribute__((no_sanitize("thread")))
#else
#define UNORDERED
#endif

static UNORDERED void cause_copy(canopy_cause *to, const volatile canopy_cause *from)
{
    to->code = from->code;
    to->text = from->text;
    to->file = from->file;
    to->line = from->line;
}

static UNORDERED uintptr_t stale_word(const void *word)
{
    return *(const volatile uintptr_t *)word;
}

/* Where the link of a row is, the context's own apart. */
static const atomic_word *row_link(const atomic_word *row)
{
    return slot_is_in_block(row) ? block_end(block_of(row)) : row + LINE_SLOTS;
}

/*
 * What hangs in its list. Who adds to that meanwhile may be counted, or not, or twice. A row
 * may be an extension by now, or another's: so it is left where its link is to be, and
 * a link is followed if the context was there still when it was read.
 */
static void count_list(const struct seen *seen, canopy_info *info)
{
    const atomic_word *slot = &seen->ctx->slot0, *link = &seen->ctx->link;
    while (slot) {
        uintptr_t word = stale_word(slot);
        if (slot == link) {
            slot = look_holds(seen) ? link_target(word) : NULL;
            link = slot ? row_link(slot) : NULL;
            continue;
        }
        if (slot_is_callback(word))
            info->callbacks++;
        else
            info->children += word != 0;
        slot++;
    }
}

canopy_kind look_kind(enum kind kind)
{
    switch (kind) {
    case KIND_ROOT:
        return CANOPY_KIND_ROOT;
    case KIND_MERGED:
        return CANOPY_KIND_ANY;
    case KIND_VALUE:
        return CANOPY_KIND_VALUE;
    case KIND_DETACHED:
        return CANOPY_KIND_WITHOUT_CANCEL;
    default:
        return CANOPY_KIND_CANCEL;
    }
}

static void tell_end(const struct seen *seen, enum kind kind, uintptr_t state, canopy_info *info)
{
    info->err = (state & STATE_KIND_MASK) == STATE_TIMEDOUT ? -ETIMEDOUT : -ECANCELED;
    cause_copy(&info->cause, state_cause(state));
    struct canopy_ctx *by = ender(seen, kind, state & ~STATE_SWEPT);
    if (!by)
        return;
    const struct ctx_note *note = note_beside(by);
    info->ended_by = id_of(by);
    if (!has_ended_itself(by))
        return;
    info->ended_tid = (int32_t)u32_load_relaxed(&note->ended_tid);
    info->ended_ns = i64_load_relaxed(&note->ended_ns);
    info->ended_at = (const void *)word_load_relaxed(&note->ended_at);
}

static void tell_hangers(const struct seen *seen, enum kind kind, canopy_info *info)
{
    struct canopy_ctx *ctx = seen->ctx;
    if (word_load_acquire(&ctx->slot0) || word_load_acquire(&ctx->link) != SLOT_END) /* S0, S8 */
        count_list(seen, info);
    uintptr_t aux = word_load_acquire(&ctx->aux); /* Q2 */
    if (kind != KIND_VALUE && (aux & AUX_EXTENSION))
        info->has_fd = stale_word(&aux_extension(aux)->fd) != 0;
}

bool look_at(const struct seen *seen, canopy_info *info)
{
    const struct ctx_note *note = seen->note;
    struct canopy_ctx *ctx = seen->ctx;
    uintptr_t word = parent_word(note);
    struct canopy_ctx *parent = parent_in(word);
    enum kind kind = kind_in(word);
    memset(info, 0, sizeof *info);
    uintptr_t state = ctx_state(ctx); /* by C2, behind it */
    info->id = look_id(seen);
    info->parent_id = parent ? id_of(parent) : 0;
    info->kind = look_kind(kind);
    info->name = (const char *)word_load_acquire(&note->name); /* NT2 */
    info->made_at = (const void *)word_load_relaxed(&note->made_at);
    info->made_ns = i64_load_relaxed(&note->made_ns);
    info->made_tid = (int32_t)u32_load_relaxed(&note->made_tid);
    info->handles = (uint32_t)refs_handles(u64_load_relaxed(&ctx->refs));
    info->deadline_ns = effective_deadline_ns(ctx);
    info->is_waited = state == STATE_WAITED;
    tell_hangers(seen, kind, info);
    if (!state_is_live(state))
        tell_end(seen, kind, state, info);
    return look_holds(seen);
}
