/*
 * inbox.c - the inbox of a loop. Its states and their order are described in inbox.h.
 */
#include "base/inbox.h"

#include <errno.h>
#include <sys/eventfd.h>

int inbox_init(struct inbox *inbox)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    *inbox = (struct inbox){
        .fd = fd, .owner = thread_self(), .fork_generation = u32_load_relaxed(&fork_generation)};
    return 0;
}

void inbox_close(struct inbox *inbox)
{
    fd_close(inbox->fd);
}

bool inbox_post(struct inbox *inbox)
{
    uint32_t seen = u32_load_relaxed(&inbox->state); /* a guess: the swap decides */
    /*
     * The owner need not be told, unless it has asked how long it may sleep, and does not
     * yet. After a fork an inherited eventfd is the parent process's to write.
     */
    if (!(seen & INBOX_ABANDONED) &&
        ((inbox_is_own(inbox) && seen != INBOX_ASLEEP) || inbox_is_inherited(inbox)))
        return true;
    while (
        !u32_cas_acq_rel(&inbox->state, &seen, seen | INBOX_POSTED)) /* N1: with N2, N3, N4, N5 */
        continue;
    if (seen == INBOX_ASLEEP)
        eventfd_raise(inbox->fd);
    else if (seen == INBOX_AWAITED)
        futex_wake_all(&inbox->state);
    return !(seen & INBOX_ABANDONED);
}

void inbox_sleep_on(struct inbox *inbox)
{
    u32_exchange_acq_rel(&inbox->state, INBOX_ASLEEP | INBOX_POSTED); /* N2, then N1 */
    eventfd_raise(inbox->fd);
}

void inbox_gather(struct inbox *inbox)
{
    struct handoff_node *list = handoff_take_all(&inbox->pushed), *last = list;
    if (inbox->own && list) {
        while (handoff_next(last))
            last = handoff_next(last);
        handoff_link(last, inbox->own);
    }
    if (list)
        inbox->own = list;
}

/* Takes what is in `own`, oldest first. */
static struct handoff_node *own_in_order(struct inbox *inbox)
{
    struct handoff_node *list = handoff_reverse(inbox->own);
    inbox->own = NULL;
    return list;
}

struct handoff_node *inbox_open(struct inbox *inbox)
{
    if (u32_load_acquire(&inbox->state) != 0) { /* N3: in advance */
        u32_exchange_acq_rel(&inbox->state, 0); /* N3: with N1 */
        inbox_gather(inbox);
    }
    if (inbox->unread)
        inbox->unread -= eventfd_clear(inbox->fd);
    return own_in_order(inbox);
}

struct handoff_node *inbox_abandon(struct inbox *inbox)
{
    u32_exchange_acq_rel(&inbox->state, INBOX_ABANDONED); /* N5: with N1 */
    inbox_gather(inbox);
    return own_in_order(inbox);
}

void inbox_await(struct inbox *inbox)
{
    uint32_t seen = u32_load_acquire(&inbox->state); /* N3: in advance */
    while (!(seen & INBOX_POSTED)) {
        if (seen != INBOX_AWAITED &&
            !u32_cas_acq_rel(&inbox->state, &seen, INBOX_AWAITED)) /* N2: with N1 */
            continue;
        futex_wait(&inbox->state.value, INBOX_AWAITED, CANOPY_NEVER);
        seen = u32_load_acquire(&inbox->state); /* N3: in advance */
    }
}
