/*
 * group.c - threads that succeed or fail together.
 *
 * A member's thread is joined before it is counted out, by whoever is first to come
 * across it once it has left: a go that wants room, or the wait. So the limit is one of
 * threads, and when wait returns they are gone, what they run as they end included.
 *
 * The cause that a failure makes lives in the extension of the group's context, so for as
 * long as anything that reports it. The join comes after all that a member does, so it may
 * touch the group to its end.
 *
 * Ordering pairs:
 *   M1/M1  the first failure wins a compare-and-swap of `failed`, then fills the cause, which
 *         its cancel publishes; its result is the wait's, by way of the join. Without it two
 *         failures write one cause.
 *   M2/M2a  a member puts itself on `left`, then advances `news`; who has joined one counts it
 *         out, then advances `news` as well; who wants to sleep has read `news` (M2a) before
 *         he looked at both. Without it he sleeps over the last one.
 *   M3/M3  of those who wait the first tags the pointer to the group's state; nobody else
 *         goes by that pointer again, but for members. Without it two free one state.
 *   M4/M4  who counts a thread out has joined it, a release, and who finds none left loads
 *         that by an acquire. Without it the state is freed under who has joined the last.
 */
#include "host/group.h"

#include <errno.h>
#include <stdlib.h>

#include "callbacks/callback.h"
#include "tree/extension.h"
#include "tree/note.h"

struct group_state {
    struct handoff left; /* members that have nothing left to do, to be joined */
    canopy_ctx *ctx;
    canopy_cause *cause;
    unsigned limit;
    atomic_u32 threads; /* not joined yet */
    atomic_u32 news;
    atomic_u32 failed;
    int result;
};

struct member {
    struct handoff_node node;
    struct group_state *group;
    int (*fn)(const canopy_ctx *ctx, void *arg);
    void *arg;
    pthread_t thread;
    const canopy_cause *cause; /* what it wants its failure to be, or NULL */
    int result;
    bool has_left;
};

/* In canopy_state, beside the state's address: somebody waits for the group. */
#define STATE_AWAITED ((uintptr_t)1)

/* What the calling thread is as a member, to its end. */
static __thread struct member *self;

static atomic_word *state_field(const canopy_group *group)
{
    return (atomic_word *)(uintptr_t)&group->canopy_state;
}

static atomic_word *ctx_field(const canopy_group *group)
{
    return (atomic_word *)(uintptr_t)&group->canopy_ctx_;
}

int canopy_group_init(canopy_group *group, const canopy_ctx *parent, unsigned limit)
{
    if (!group || !parent)
        return -EINVAL;
    struct group_state *state = calloc(1, sizeof *state);
    if (!state)
        return -ENOMEM;
    state->ctx = ctx_derive(parent, KIND_CANCEL);
    struct extension *extension = state->ctx ? extension_get(state->ctx) : NULL;
    if (!extension) {
        int err = state->ctx ? ENOMEM : errno;
        canopy_end(state->ctx);
        free(state);
        return -err;
    }
    state->cause = &extension->cause;
    state->limit = limit;
    group->canopy_ctx_ = state->ctx;
    group->canopy_state = state;
    return 0;
}

const canopy_ctx *canopy_group_ctx(const canopy_group *group)
{
    return group ? (const canopy_ctx *)word_load_relaxed(ctx_field(group)) : NULL;
}

/* ------------------------------------------------------------------- members */

static void tell_news(struct group_state *state)
{
    u32_fetch_add_acq_rel(&state->news, 1); /* M2 */
    futex_wake_all(&state->news);
}

static void member_leave(void *arg)
{
    struct member *member = arg;
    struct group_state *group = member->group;
    member->has_left = true;
    handoff_push(&group->left, &member->node); /* M2 */
    tell_news(group);
}

static void member_end(void *arg)
{
    struct member *member = arg;
    struct group_state *group = member->group;
    uint32_t none = 0;
    /* It leaves also when a callback of the cancel ends this thread. */
    pthread_cleanup_push(member_leave, member);
    if (member->result != 0 && u32_cas_acq_rel(&group->failed, &none, 1)) { /* M1 */
        group->result = member->result;
        *group->cause = (canopy_cause){.code = member->result, .text = cause_of_groups.text};
        canopy_cancel_cause(group->ctx, member->cause ? member->cause : group->cause);
    }
    pthread_cleanup_pop(1);
}

static void *member_main(void *arg)
{
    struct member *member = arg;
    self = member;
    member->thread = pthread_self();
    /* A member that leaves by pthread_exit or is cancelled has failed, and is counted out. */
    member->result = -ECANCELED;
    pthread_cleanup_push(member_end, member);
    member->result = member->fn(member->group->ctx, member->arg);
    pthread_cleanup_pop(1);
    return NULL;
}

int canopy_group_fail(const canopy_cause *cause)
{
    if (!self || self->has_left || !cause || cause->code == 0)
        return -EINVAL;
    self->cause = cause;
    return cause->code;
}

/*
 * Joins who has left: all, or (unless `waits`) those whose threads have ended already.
 * True: there was one.
 */
static bool join_those_who_left(struct group_state *state, bool waits)
{
    struct handoff_node *node = handoff_take_all(&state->left); /* M2a: after the caller's */
    bool any = false;
    int cancelable = cancellation_hold();
    while (node) {
        struct member *member = (struct member *)node;
        node = handoff_next(node);
        if (!waits && pthread_tryjoin_np(member->thread, NULL) != 0) {
            handoff_push(&state->left, &member->node);
            continue;
        }
        if (waits)
            pthread_join(member->thread, NULL);
        free(member);
        u32_fetch_add_acq_rel(&state->threads, (uint32_t)-1); /* M4, M2 */
        tell_news(state);
        any = true;
    }
    cancellation_restore(cancelable);
    return any;
}

/* ------------------------------------------------------------------------ go */

/* What a go does where `limit` members run. */
enum when_full { WAIT, WAIT_WHILE_LIVE, REFUSE };

/* Counts a thread in: 0, or a negative errno. */
static int take_room(struct group_state *state, enum when_full when_full)
{
    /* Without a limit nobody else would before the wait. */
    join_those_who_left(state, false);
    for (;;) {
        uint32_t news = u32_load_acquire(&state->news);       /* M2a */
        uint32_t threads = u32_load_acquire(&state->threads); /* M2a */
        if (when_full == WAIT_WHILE_LIVE && canopy_done(state->ctx))
            return canopy_err(state->ctx);
        if (!state->limit || threads < state->limit) {
            if (u32_cas_acq_rel(&state->threads, &threads, threads + 1)) /* a count */
                return 0;
        } else if (when_full == REFUSE) {
            return -EBUSY;
        } else if (!join_those_who_left(state, true)) {
            futex_wait(&state->news.value, news, CANOPY_NEVER);
        }
    }
}

static void tell_done(void *state)
{
    tell_news(state);
}

/* The same, where the end of the group is news as well. */
static int take_room_while_live(struct group_state *state)
{
    canopy_callback callback;
    int err = canopy_after_func(state->ctx, &callback, tell_done, state);
    if (err)
        return err;
    err = take_room(state, WAIT_WHILE_LIVE);
    canopy_callback_drop(&callback);
    return err;
}

static int go(canopy_group *group, int (*fn)(const canopy_ctx *ctx, void *arg), void *arg,
              enum when_full when_full)
{
    uintptr_t word = group ? word_load_acquire(state_field(group)) : 0; /* M3 */
    if (!word || !fn)
        return -EINVAL;
    struct group_state *state = (struct group_state *)(word & ~STATE_AWAITED);
    if (self && self->group == state && self->has_left)
        return -EDEADLK;
    struct member *member = malloc(sizeof *member);
    if (!member)
        return -ENOMEM;
    *member = (struct member){.group = state, .fn = fn, .arg = arg};
    int err =
        when_full == WAIT_WHILE_LIVE ? take_room_while_live(state) : take_room(state, when_full);
    if (err) {
        free(member);
        return err;
    }
    /* As the caller's own threads are, in policy, CPUs and mask: it runs the caller's code. */
    pthread_t thread;
    if (pthread_create(&thread, NULL, member_main, member) == 0)
        return 0; /* by now it may have ended, and the group with it */
    free(member);
    u32_fetch_add_acq_rel(&state->threads, (uint32_t)-1); /* M4, M2 */
    tell_news(state);
    return -EAGAIN;
}

int canopy_group_go(canopy_group *group, int (*fn)(const canopy_ctx *ctx, void *arg), void *arg)
{
    return go(group, fn, arg, WAIT);
}

int canopy_group_go_unless_done(canopy_group *group, int (*fn)(const canopy_ctx *ctx, void *arg),
                                void *arg)
{
    return go(group, fn, arg, WAIT_WHILE_LIVE);
}

int canopy_group_try_go(canopy_group *group, int (*fn)(const canopy_ctx *ctx, void *arg), void *arg)
{
    return go(group, fn, arg, REFUSE);
}

/* ---------------------------------------------------------------------- wait */

int group_wait(canopy_group *group, bool *has_ended)
{
    *has_ended = false;
    if (!group)
        return -EINVAL;
    uintptr_t word = word_load_acquire(state_field(group)); /* M3 */
    do {
        if (!word)
            return -EINVAL;
        if (self && (uintptr_t)self->group == (word & ~STATE_AWAITED))
            return -EDEADLK;
        if (word & STATE_AWAITED)
            return -EBUSY;
    } while (!word_cas_acq_rel(state_field(group), &word, word | STATE_AWAITED)); /* M3 */
    struct group_state *state = (struct group_state *)word;
    for (;;) {
        uint32_t news = u32_load_acquire(&state->news); /* M2a */
        if (u32_load_acquire(&state->threads) == 0)     /* M4, M2a */
            break;
        if (!join_those_who_left(state, true))
            futex_wait(&state->news.value, news, CANOPY_NEVER);
    }
    int result = u32_load_acquire(&state->failed) ? state->result : 0; /* M1 */
    canopy_ctx *ctx = state->ctx;
    *has_ended = true;
    word_store_relaxed(ctx_field(group), 0);
    word_store_release(state_field(group), 0); /* M3 */
    free(state);                               /* first, since a callback may end this thread */
    canopy_end(ctx);
    return result;
}

int canopy_group_wait(canopy_group *group)
{
    bool has_ended;
    return group_wait(group, &has_ended);
}
