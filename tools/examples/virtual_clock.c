/*
 * virtual_clock.c - the time-outs of a day, tested in an instant: the host's clock is
 * whatever the host says. A session ends after half an hour without a request, and
 * after eight hours in any case.
 *
 * Prints:
 *     09:00 signed in
 *     12:29 live
 *     12:30 ended, "idle for half an hour"
 *     13:00 signed in
 *     21:00 ended, "signed in for eight hours"
 */
#include <canopy/loop.h>
#include <stdio.h>

static const int64_t minute_ns = INT64_C(60) * 1000000000;
static const int64_t hour_ns = INT64_C(3600) * 1000000000;
static int64_t now_ns; /* since midnight */
static canopy_ctx *root;
static canopy_loop loop;

struct session {
    canopy_ctx *whole, *idle; /* the second below the first */
    canopy_loop_callback ended;
    bool open;
};

static void say(const char *what)
{
    int minutes = (int)(now_ns / minute_ns);
    printf("%02d:%02d %s\n", minutes / 60, minutes % 60, what);
}

static void session_ended(void *arg)
{
    struct session *s = arg;
    char text[64];
    snprintf(text, sizeof text, "ended, \"%s\"", canopy_cause_of(s->idle)->text);
    say(text);
    canopy_end(s->idle);
    canopy_end(s->whole);
    s->open = false;
}

static bool session_open(struct session *s)
{
    *s = (struct session){.open = true};
    s->whole =
        canopy_with_timeout_cause(root, 8 * hour_ns, CANOPY_CAUSE(0, "signed in for eight hours"));
    if (s->whole)
        s->idle = canopy_with_timeout_cause(s->whole, 30 * minute_ns,
                                            CANOPY_CAUSE(0, "idle for half an hour"));
    say("signed in");
    return s->idle && canopy_loop_after_func(s->idle, &loop, &s->ended, session_ended, s) == 0;
}

static void session_used(struct session *s)
{
    canopy_set_deadline(s->idle, now_ns + 30 * minute_ns);
}

/* Sleeps as a loop would, but without sleeping: never beyond what the loop allows. */
static void pass_until(int64_t until_ns)
{
    while (now_ns < until_ns) {
        int64_t sleep_ns = canopy_loop_timeout_ns(&loop, now_ns);
        now_ns = sleep_ns < until_ns - now_ns ? now_ns + sleep_ns : until_ns;
        canopy_loop_run(&loop, now_ns);
    }
}

static int64_t clock_at(int hour, int minute)
{
    return hour * hour_ns + minute * minute_ns;
}

int main(void)
{
    canopy_config config = {
        .size = sizeof config, .clock = CANOPY_CLOCK_HOST, .now_ns = clock_at(9, 0)};
    struct session s;
    root = canopy_root_new(&config);
    if (!root || canopy_loop_init(&loop, root) != 0)
        return 1;

    now_ns = config.now_ns;
    if (!session_open(&s))
        return 1;
    for (; now_ns < clock_at(12, 0); pass_until(now_ns + 20 * minute_ns))
        session_used(&s);
    session_used(&s); /* for the last time, at 12:00 */
    pass_until(clock_at(12, 29));
    say(s.open ? "live" : "gone");
    pass_until(clock_at(13, 0));

    if (s.open || !session_open(&s))
        return 1;
    for (; s.open; pass_until(now_ns + 20 * minute_ns))
        session_used(&s);

    if (canopy_loop_close(&loop) != 0)
        return 1;
    while (canopy_root_free(root) != 0)
        canopy_sleep(canopy_background(), 1000000);
    return 0;
}
