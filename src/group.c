/*
 * group.c - threads that succeed or fail together.
 *
 * The cause that a failure makes lives in the extension of the group's context,
 * so for as long as anything that reports it. G1: the first failure wins a
 * compare-and-swap of `failed`, then fills the cause, which its cancel publishes.
 * G2: a member's last touch of the group is the decrement of `running`; for the
 * wake after it only the address is used, so wait may free the group at once.
 */
#include <errno.h>
#include <stdlib.h>

#include "callback.h"
#include "extension.h"

struct group_state {
    canopy_ctx *ctx;
    canopy_cause *cause;
    unsigned limit;
    atomic_u32 running;
    atomic_u32 failed;
    int result;
};

struct member {
    struct group_state *group;
    int (*fn)(const canopy_ctx *ctx, void *arg);
    void *arg;
    int result;
};

/* The group that the calling thread is a member of. */
static __thread struct group_state *member_of;

int canopy_group_init(canopy_group *group, const canopy_ctx *parent, unsigned limit)
{
    if (!group || !parent)
        return -EINVAL;
    struct group_state *state = calloc(1, sizeof *state);
    if (!state)
        return -ENOMEM;
    state->ctx = canopy_with_cancel(parent);
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
    return group ? group->canopy_ctx_ : NULL;
}

static void member_leave(void *arg)
{
    struct member *member = arg;
    struct group_state *group = member->group;
    free(member);
    u32_fetch_add_acq_rel(&group->running, (uint32_t)-1); /* G2: pairs with wait and go */
    futex_wake_all(&group->running);
}

static void member_end(void *arg)
{
    struct member *member = arg;
    struct group_state *group = member->group;
    uint32_t none = 0;
    /* Counted out also when a callback of the cancel ends this thread. */
    pthread_cleanup_push(member_leave, member);
    if (member->result != 0 && u32_cas_acq_rel(&group->failed, &none, 1)) { /* G1 */
        group->result = member->result;
        *group->cause = (canopy_cause){.code = member->result, .text = "group member failed"};
        canopy_cancel_cause(group->ctx, group->cause);
    }
    pthread_cleanup_pop(1);
}

static void *member_main(void *arg)
{
    struct member *member = arg;
    member_of = member->group;
    /* A member that leaves by pthread_exit or is cancelled has failed, and is counted out. */
    member->result = -ECANCELED;
    pthread_cleanup_push(member_end, member);
    member->result = member->fn(member->group->ctx, member->arg);
    pthread_cleanup_pop(1);
    return NULL;
}

int canopy_group_go(canopy_group *group, int (*fn)(const canopy_ctx *ctx, void *arg), void *arg)
{
    if (!group || !group->canopy_state || !fn)
        return -EINVAL;
    struct group_state *state = group->canopy_state;
    struct member *member = malloc(sizeof *member);
    if (!member)
        return -ENOMEM;
    *member = (struct member){.group = state, .fn = fn, .arg = arg};
    uint32_t running = u32_load_acquire(&state->running);
    for (;;) {
        if (state->limit && running >= state->limit) {
            futex_wait(&state->running.value, running, CANOPY_NEVER);
            running = u32_load_acquire(&state->running);
        } else if (u32_cas_acq_rel(&state->running, &running, running + 1)) {
            break;
        }
    }
    pthread_t thread;
    pthread_attr_t attr;
    int err = pthread_attr_init(&attr);
    if (!err) {
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        err = pthread_create(&thread, &attr, member_main, member);
        pthread_attr_destroy(&attr);
    }
    if (!err)
        return 0;
    free(member);
    u32_fetch_add_acq_rel(&state->running, (uint32_t)-1);
    futex_wake_all(&state->running);
    return -EAGAIN;
}

int canopy_group_wait(canopy_group *group)
{
    if (!group || !group->canopy_state)
        return -EINVAL;
    struct group_state *state = group->canopy_state;
    if (member_of == state)
        return -EDEADLK;
    uint32_t running;
    while ((running = u32_load_acquire(&state->running)) != 0) /* G2 */
        futex_wait(&state->running.value, running, CANOPY_NEVER);
    int result = u32_load_acquire(&state->failed) ? state->result : 0;
    group->canopy_ctx_ = NULL;
    group->canopy_state = NULL;
    canopy_ctx *ctx = state->ctx;
    free(state); /* first, since a callback may end this thread */
    canopy_end(ctx);
    return result;
}
