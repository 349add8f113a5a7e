/*
 * host.c - canopy in a host's loop that calls nobody before it sleeps, as those of nginx
 * and HAProxy. All that such a host has is a watch on a file descriptor, a timer, and
 * handlers: so a handler says as it begins that the loop is awake, and asks as it ends
 * when canopy wants to run.
 *
 * Prints:
 *     a client asks for 60000 ms
 *     a client asks for 5 ms
 *     5 ms: ended, "the time is over"
 *     60000 ms: ended, "the server goes down"
 *     the loop's fd was written 0 times
 */
#include <canopy/loop.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define MILLISECONDS(n) ((n)*INT64_C(1000000))

/* ----------------------------------------------------------------- the host */

static struct pollfd watched[2];
static void (*on_ready[2])(void);
static int64_t timer_ns = CANOPY_NEVER;
static void (*on_timer)(void);

static void host_turn(void)
{
    int64_t left_ns = timer_ns == CANOPY_NEVER ? CANOPY_NEVER : timer_ns - canopy_now_ns();
    poll(watched, 2, canopy_loop_timeout_ms(left_ns));
    for (int i = 0; i < 2; i++)
        if (watched[i].revents != 0)
            on_ready[i]();
    if (timer_ns <= canopy_now_ns())
        on_timer();
}

/* ----------------------------------------------------- what is built into it */

static canopy_ctx *root;
static canopy_loop loop;
static int live, written;

static struct request {
    int ms;
    canopy_ctx *ctx;
    canopy_loop_callback ended;
} requests[2];

/* Around all that a handler does with canopy: no write wakes the thread that is awake. */
static void handler_begins(void)
{
    canopy_loop_awake(&loop);
    canopy_loop_tell_time(&loop, canopy_now_ns());
}

/* The host's timer is where canopy wants to run next. */
static void handler_ends(void)
{
    const int64_t now_ns = canopy_now_ns(), sleep_ns = canopy_loop_timeout_ns(&loop, now_ns);
    timer_ns = sleep_ns < CANOPY_NEVER - now_ns ? now_ns + sleep_ns : CANOPY_NEVER;
}

/* On the timer, and on the loop's fd, which other threads may have written. */
static void canopy_is_due(void)
{
    canopy_loop_run(&loop, canopy_now_ns());
    handler_ends();
}

static void request_ended(void *arg)
{
    struct request *r = arg;
    printf("%d ms: ended, \"%s\"\n", r->ms, canopy_cause_of(r->ctx)->text);
    canopy_end(r->ctx);
    if (--live > 0)
        canopy_cancel_cause(root, CANOPY_CAUSE(0, "the server goes down"));
}

static void client_is_ready(void)
{
    struct request *r = &requests[live];
    handler_begins();
    if (read(watched[0].fd, &r->ms, sizeof r->ms) == sizeof r->ms) {
        printf("a client asks for %d ms\n", r->ms);
        r->ctx = canopy_with_timeout_cause(root, MILLISECONDS(r->ms),
                                           CANOPY_CAUSE(0, "the time is over"));
        if (r->ctx && canopy_loop_after_func(r->ctx, &loop, &r->ended, request_ended, r) == 0)
            live++;
    }
    written += poll(&watched[1], 1, 0); /* for this example: is the nearer deadline a write? */
    handler_ends();
}

int main(void)
{
    const int clients[] = {60000, 5};
    int ends[2];
    canopy_config config = {
        .size = sizeof config, .clock = CANOPY_CLOCK_HOST, .now_ns = canopy_now_ns()};
    root = canopy_root_new(&config);
    if (!root || canopy_loop_init(&loop, root) != 0 || pipe(ends) != 0 ||
        write(ends[1], clients, sizeof clients) != sizeof clients)
        return 1;
    watched[0] = (struct pollfd){.fd = ends[0], .events = POLLIN};
    watched[1] = (struct pollfd){.fd = canopy_loop_fd(&loop), .events = POLLIN};
    on_ready[0] = client_is_ready;
    on_ready[1] = on_timer = canopy_is_due;

    client_is_ready();
    while (live > 0)
        host_turn();
    printf("the loop's fd was written %d times\n", written);
    if (canopy_loop_close(&loop) != 0)
        return 1;
    while (canopy_root_free(root) != 0)
        canopy_sleep(canopy_background(), MILLISECONDS(1));
    return 0;
}
