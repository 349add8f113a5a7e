/*
 * inbox.h - where callbacks wait for the thread of the loop that they are bound to,
 * and how that thread is woken: by its eventfd, or where it waits in the library.
 *
 * One word says what the owner is doing, and whether it has been told:
 *
 *     (0) awake ──N2──► ASLEEP ──post──► ASLEEP | POSTED    here the fd is written
 *      │ └───────post──► POSTED                             any number of posts later
 *      └─inbox_await──► AWAITED ──post──► AWAITED | POSTED  here the word is woken
 *     N4 takes ASLEEP away, N3 leads from all that is then left back to (0), and
 *     N5 from any of them to ABANDONED, for good.
 *
 *   N1 post: push onto `pushed`, then set POSTED by a compare-and-swap.
 *   N2 sleep: a compare-and-swap from 0 to ASLEEP, which fails once POSTED is set.
 *   N3 open: an exchange to 0, then take all of `pushed`. Neither where a load finds 0:
 *      what is in `pushed` then is still to be posted.
 *   N4 awake: ASLEEP is taken off. What was posted stays posted.
 *
 *   N5 abandon: an exchange to ABANDONED, then as N3. A post that comes later is told
 *      that nobody will come any more, and takes what is in `pushed` itself: each
 *      push is taken by N5 or by a post behind it, its own if by no other.
 *
 *   All five are read-modify-writes of one word, so they have an order, and each
 *   sees the one before; acq_rel is enough.
 *
 *   A deadline that another thread lowers (D2 in deadline.c) is told by a post as well, to
 *   the loop that drives the domain:
 *
 *   N6 who lowers: D2, then load the domain's inbox; post to it.
 *   N7 the loop's making: a compare-and-swap of that from NULL.
 *   N8 the owner loads the bound, then N2: so one lowered after that load is posted after
 *      N2, or makes it fail.
 *   N9 the loop's end: the domain's inbox is NULL again.
 *
 * Ordering pairs:
 *   N1/N2  a post before N2 keeps the owner from sleeping, one after it finds ASLEEP and
 *         writes the fd. Without it the owner sleeps over a post.
 *   N1/N3  N3 reads what N1 wrote, or something later: so what was pushed before is there to
 *         be taken. Without it a callback waits for the next post. N3's load, an acquire,
 *         may miss a post that nothing orders before it; the next N2 does not.
 *   N1/N4  N4 reads POSTED, or a post after it does not find ASLEEP. Without it the fd is
 *         readable without anybody counting that it will be, and wakes the owner for ever.
 *   N1/N5  what was pushed before N5 is there to be taken, and a post after it is told.
 *         Without it a callback lies in an inbox into which nobody looks.
 *   N7,N8/D2,N6  store-then-load, seq_cst: either N6 finds the loop, or N8 the lowered
 *         bound. Without it the loop sleeps over a deadline.
 *   N9/N9  who frees the root finds that the loop has let go of it, an acquire, and so
 *         comes after all that the loop did there. Without it the domain is freed under the
 *         loop.
 *
 *   The fd is written by the one post that moves ASLEEP to ASLEEP | POSTED, maybe
 *   only after the owner has woken for another reason, slept again, and been written
 *   to by another post. So the owner counts what is to come, and reads for as long as
 *   less has: an fd that is left readable would wake it over and over.
 *
 *   The library cannot see the owner's sleep, only that it has asked for how long. From
 *   then on, until N4, it may be at any point between the answer and the end of the
 *   poll: what the owner posts itself may come after its last look as well, and is
 *   written to the fd like anybody else's. A host whose handlers run between the two
 *   knows better, and says so (canopy_loop_awake).
 *
 *   The owner's wait in the library goes from (0) to AWAITED as N2 goes to ASLEEP: the
 *   compare-and-swap fails once POSTED is set, and a post after it wakes the word.
 *
 * The owner's own pushes take no operation that locks a line unless somebody has
 * posted: what was posted first is gathered first, so that the order in which things
 * came about is kept wherever anybody can tell. Nor a system call, but between N2 and
 * its sleep, where it posts to itself like any other. Who pushes or posts is in a read
 * section that began while something kept the inbox open, a record that is bound to it
 * or the root that names it; who frees one has waited for a grace period since.
 */
#ifndef CANOPY_INBOX_H
#define CANOPY_INBOX_H

#include "base/base.h"
#include "base/handoff.h"

#define INBOX_POSTED    UINT32_C(1)
#define INBOX_ASLEEP    UINT32_C(2)
#define INBOX_AWAITED   UINT32_C(4)
#define INBOX_ABANDONED UINT32_C(8)

struct inbox {
    struct handoff pushed; /* from other threads */
    atomic_u32 state;
    int fd;
    /* Written once. */
    uint64_t owner; /* thread_self of the loop's thread */
    uint32_t fork_generation;
    /* The owner's. */
    uint64_t unread;          /* how often the fd was, or will be, written since it was read */
    struct handoff_node *own; /* what the owner has pushed, or gathered, newest first */
};

/* Empty, of the calling thread, which is awake: 0, or eventfd's negative errno. */
int inbox_init(struct inbox *inbox);
void inbox_close(struct inbox *inbox);

static inline bool inbox_is_own(const struct inbox *inbox)
{
    return inbox->owner == thread_self();
}

/* From before a fork: the parent process's. */
static inline bool inbox_is_inherited(const struct inbox *inbox)
{
    return inbox->fork_generation != u32_load_relaxed(&fork_generation);
}

/* The owner's: what others have pushed is in `own` afterwards. */
void inbox_gather(struct inbox *inbox);

/* Adds to it; to be followed by a post. */
static inline void inbox_push(struct inbox *inbox, struct handoff_node *node)
{
    uint32_t state = u32_load_acquire(&inbox->state); /* N3, N5: in advance, or the owner's own */
    if (!inbox_is_own(inbox) || (state & INBOX_ABANDONED)) {
        handoff_push(&inbox->pushed, node);
        return;
    }
    if (unlikely(state & INBOX_POSTED))
        inbox_gather(inbox);
    handoff_link(node, inbox->own);
    inbox->own = node;
}

/*
 * N1. Tells the owner, unless that is the caller and awake; wakes it if it sleeps. False:
 * it is abandoned, and who has pushed takes it all (inbox_take).
 */
bool inbox_post(struct inbox *inbox);

/* What others have pushed, newest first. */
static inline struct handoff_node *inbox_take(struct inbox *inbox)
{
    return handoff_take_all(&inbox->pushed);
}

static inline bool inbox_is_abandoned(const struct inbox *inbox)
{
    return u32_load_relaxed(&inbox->state) & INBOX_ABANDONED; /* for its owner, who did so */
}

/* The rest is the owner's. */

/* N2. From now on a post writes the fd; false: there is something in it. */
static inline bool inbox_sleep(struct inbox *inbox)
{
    uint32_t seen = 0;
    return !inbox->own && (u32_cas_acq_rel(&inbox->state, &seen, INBOX_ASLEEP) || /* N2: with N1 */
                           seen == INBOX_ASLEEP);
}

/* N4. From now on no post writes the fd: whether it was asleep. */
static inline bool inbox_awake(struct inbox *inbox)
{
    if (!(u32_load_relaxed(&inbox->state) & INBOX_ASLEEP)) /* which only the owner sets */
        return false;
    if (u32_fetch_add_acq_rel(&inbox->state, -INBOX_ASLEEP) & INBOX_POSTED) /* N4: with N1 */
        inbox->unread++;
    return true;
}

/* When awake: nobody has posted since it was opened, and it would be opened for nothing. */
static inline bool inbox_is_idle(const struct inbox *inbox)
{
    uint32_t state = u32_load_acquire(&inbox->state); /* N3: in advance */
    return ((uintptr_t)inbox->own | inbox->unread | state) == 0;
}

/*
 * Back to sleep, for who was woken only to look into it. The host knows nothing of that,
 * and finds the fd readable: what was posted may have been for its next run.
 */
void inbox_sleep_on(struct inbox *inbox);

/* N3, when awake. Everything in it, oldest first. */
struct handoff_node *inbox_open(struct inbox *inbox);

/* N5. Everything in it, as inbox_open. The fd stays until inbox_close. */
struct handoff_node *inbox_abandon(struct inbox *inbox);

/* Waits for a post since the last inbox_open. */
void inbox_await(struct inbox *inbox);

#endif
