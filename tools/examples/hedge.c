/*
 * hedge.c - calls to an upstream within one budget. A call that is slow gets a second
 * one beside it; the first answer wins and cancels the other. When both fail they are
 * tried again, later each time. Whatever is done, the request's deadline ends it.
 *
 *     request           the budget: one deadline for all below
 *      +- race          over as soon as there is an answer
 *          +- hedge     ends when it is time for the second call
 *          +- (group)   a thread for each call
 *
 * Prints:
 *     request 1
 *     call given up, "another call has answered"
 *     answered by upstream 2
 *     request 2
 *     upstream 1 failed
 *     upstream 2 failed
 *     answered by upstream 1
 *     request 3
 *     call given up, "the budget is spent"
 *     call given up, "the budget is spent"
 *     failed: Connection timed out
 */
#include <canopy/canopy.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MILLISECONDS(n) ((n)*INT64_C(1000000))

static const int64_t p95_ns = MILLISECONDS(1000); /* one call in twenty takes longer */
static const int64_t first_backoff_ns = MILLISECONDS(10);

struct race {
    canopy_ctx *ctx, *hedge;
    int winner;
};

/* What each upstream does in a round: it answers after so many ms, or fails (FAILS). */
#define FAILS (-1)
struct call {
    struct race *race;
    int upstream, ms;
};

/* A thread; canopy_sleep stands for the exchange with the upstream. */
static int call_upstream(const canopy_ctx *ctx, void *arg)
{
    struct call *call = arg;
    if (call->ms == FAILS) {
        printf("upstream %d failed\n", call->upstream);
        canopy_cancel(call->race->hedge); /* the other's turn, now */
    } else if (canopy_sleep(ctx, MILLISECONDS(call->ms)) != 0) {
        printf("call given up, \"%s\"\n", canopy_cause_of(ctx)->text);
    } else if (canopy_cancel_cause(call->race->ctx, CANOPY_CAUSE(0, "another call has answered"))) {
        call->race->winner = call->upstream; /* of all cancels one returns true */
    }
    return 0; /* a failure is not to end the other call */
}

/* The upstream that answered first, 0 when none did, or a negative errno. */
static int call_hedged(const canopy_ctx *request, const int ms[2])
{
    CANOPY_AUTO canopy_ctx *ctx = canopy_with_cancel(request);
    CANOPY_AUTO canopy_ctx *hedge = ctx ? canopy_with_timeout(ctx, p95_ns) : NULL;
    struct race race = {.ctx = ctx, .hedge = hedge};
    struct call calls[] = {{&race, 1, ms[0]}, {&race, 2, ms[1]}};
    canopy_group group;
    if (!hedge || canopy_group_init(&group, ctx, 0) != 0)
        return -ENOMEM;
    int err = canopy_group_go(&group, call_upstream, &calls[0]);
    if (err == 0) {
        canopy_wait(hedge, CANOPY_NEVER); /* slow, failed, answered, or out of time */
        if (!canopy_done(ctx))
            err = canopy_group_go(&group, call_upstream, &calls[1]);
    }
    canopy_group_wait(&group);
    return race.winner ? race.winner : err;
}

/* Is there time for a pause and for what a call mostly takes? */
static bool budget_allows(const canopy_ctx *request, int64_t pause_ns)
{
    int64_t deadline_ns;
    canopy_deadline(request, &deadline_ns);
    return deadline_ns - canopy_now_ns() > pause_ns + p95_ns;
}

/* As call_hedged; when no upstream answers it tries again as long as that can be of use. */
static int call_retried(const canopy_ctx *request, const int rounds[][2], int round_count)
{
    int64_t backoff_ns = first_backoff_ns;
    int result = 0;
    for (int round = 0; round < round_count && result == 0; round++, backoff_ns *= 2) {
        if (round > 0 &&
            (!budget_allows(request, backoff_ns) || canopy_sleep(request, backoff_ns) != 0))
            break;
        result = call_hedged(request, rounds[round]);
    }
    if (result == 0)
        result = canopy_done(request) ? canopy_err(request) : -EHOSTUNREACH;
    return result;
}

int main(void)
{
    static const int requests[][2][2] = {{{60000, 0}},              /* the first hangs */
                                         {{FAILS, FAILS}, {0, 0}},  /* both are down for a moment */
                                         {{60000, 60000}, {0, 0}}}; /* both hang */
    for (int i = 0; i < 3; i++) {
        printf("request %d\n", i + 1);
        CANOPY_AUTO canopy_ctx *request = canopy_with_timeout_cause(
            canopy_background(), MILLISECONDS(4000), CANOPY_CAUSE(0, "the budget is spent"));
        if (!request)
            return 1;
        int result = call_retried(request, requests[i], 2);
        if (result > 0)
            printf("answered by upstream %d\n", result);
        else
            printf("failed: %s\n", strerror(-result));
    }
    return 0;
}
