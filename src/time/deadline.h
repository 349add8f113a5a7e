/*
 * deadline.h - what the clocks (the library's thread, a host) ask of deadlines.
 * The protocol is described in deadline.c.
 */
#ifndef CANOPY_DEADLINE_H
#define CANOPY_DEADLINE_H

#include "callbacks/callback.h"

/*
 * A bound that comes due is mostly a timeout that was disarmed long ago. To look
 * so far ahead makes one look tighten all those of the next moments. Once in as long:
 * where deadlines fire, the bounds ahead are exact, and are looked at in vain.
 */
#define HORIZON_NS (NS_PER_SECOND / 50)

/* The host says what time it is; the time that it then is. One caller at a time. */
static inline int64_t host_tell_ns(struct domain *domain, int64_t now_ns)
{
    int64_t before_ns = i64_load_relaxed(&domain->now_ns); /* no other writer */
    if (now_ns <= before_ns)
        return before_ns;
    if (now_ns == CANOPY_NEVER)
        now_ns--; /* the end of time, at which what is never due is not due either */
    i64_store_release(&domain->now_ns, now_ns); /* D6 */
    return now_ns;
}

/* What a deadline's word says, also once it has fired. */
static inline int64_t deadline_in(int64_t word)
{
    return word < 0 ? ~word : word;
}

static inline int64_t deadline_of(const struct canopy_ctx *ctx)
{
    return deadline_in(i64_load_acquire(&ctx->deadline)); /* aux, stored before D1, is seen */
}

/*
 * For who waits for `ctx`: the earliest deadline of the library's clock on the way up,
 * and whose it is (`*deadline_ns`); NULL: there is none. Costs as canopy_deadline.
 */
struct canopy_ctx *deadline_awaited(const canopy_ctx *ctx, int64_t *deadline_ns);

/* Lowers a bound to `due_ns`; true when it was above. */
bool bound_lower(atomic_i64 *bound, int64_t due_ns);

/* How far a turn of a clock goes, and a little further: it always does something. */
struct limit {
    unsigned lines;   /* so many contexts */
    int64_t until_ns; /* of CLOCK_MONOTONIC */
};

/* So many contexts that are due are ended in the order of their deadlines. */
#define TURN_LINES 256

/*
 * Ends what is due at `now_ns`, in a domain or in all that the library's clock serves;
 * `pass` gathers the records. What there was no time for stays due. The bounds say when
 * to look again. One caller at a time for each domain; inside a read section.
 */
void expire_domain(struct domain *domain, int64_t now_ns, const struct limit *limit,
                   struct pass *pass);
void expire_clocked(int64_t now_ns, const struct limit *limit, struct pass *pass);

/*
 * The moment at which a host's turn of `most_ns` stops, and whether it goes on before that:
 * one without an end does all that it does at once.
 */
static inline int64_t limit_until_ns(int64_t most_ns)
{
    if (most_ns <= 0)
        return 0;
    return most_ns == CANOPY_NEVER ? CANOPY_NEVER : saturating_add(clock_now_ns(), most_ns);
}

static inline bool limit_allows_more(int64_t until_ns)
{
    return until_ns != CANOPY_NEVER && !time_is_up(until_ns);
}

/* A portion of a host's turn, and the callbacks in it. False: nothing was due. */
bool host_advance(struct domain *domain, int64_t now_ns, int64_t until_ns);

/*
 * Ends `ctx` for what is due at `now_ns` on the way up, if anything is. Repeats
 * only when somebody moved that deadline meanwhile.
 */
void expire_one(struct canopy_ctx *ctx, int64_t now_ns, struct pass *pass);

/* Lowers the bound over all domains, and wakes the clock's thread for it. In clock.c. */
bool clock_lower(int64_t due_ns);
void clock_hasten(int64_t due_ns);

/* Sees that the clock's threads run: 0, or EAGAIN. In clock.c. */
extern atomic_u32 clock_started;
int clock_start(void);
static inline int clock_ready(void)
{
    return likely(u32_load_acquire(&clock_started)) ? 0 : clock_start(); /* Z3 */
}

#endif
