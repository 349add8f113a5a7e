/*
 * shutdown.c - a server goes down in order: it takes no more connections, what it has
 * begun gets a time of grace, and what is left then is cancelled.
 *
 *     process              its deadline is the end of the grace period
 *      +- accepting        cancelled as soon as the server drains
 *      +- server (group)   a thread for each connection
 *          +- request      30 seconds each
 *
 * Prints:
 *     idle connection: closed, "draining"
 *     request of 1000 ms: done
 *     request of 20000 ms: ended, "the grace period is over"
 *     all have gone
 */
#include <canopy/canopy.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define MILLISECONDS(n) ((n)*INT64_C(1000000))

/* A number that comes in is a client who asks for so many ms of work. */
static int listener[2];
#define STOP (-1) /* or somebody who stops the server */
static canopy_ctx *process, *accepting;
static canopy_group server;

struct connection {
    canopy_ctx *request;
    int ms; /* 0: kept alive, and idle */
};

static int serve(const canopy_ctx *ctx, void *arg)
{
    struct connection *c = arg;
    (void)ctx;
    if (c->ms == 0 && canopy_wait(accepting, CANOPY_NEVER))
        printf("idle connection: closed, \"%s\"\n", canopy_cause_of(accepting)->text);
    else if (canopy_sleep(c->request, MILLISECONDS(c->ms)) == 0)
        printf("request of %d ms: done\n", c->ms);
    else
        printf("request of %d ms: ended, \"%s\"\n", c->ms, canopy_cause_of(c->request)->text);
    canopy_end(c->request);
    free(c);
    return 0; /* anything else would end the others, too */
}

static bool connection_open(int ms)
{
    struct connection *c = malloc(sizeof *c);
    if (!c)
        return false;
    c->ms = ms;
    c->request = canopy_with_timeout(canopy_group_ctx(&server), MILLISECONDS(30000));
    if (c->request && canopy_group_go(&server, serve, c) == 0)
        return true;
    canopy_end(c->request);
    free(c);
    return false;
}

/* Until a signal comes; false when it cannot be waited for. */
static bool accept_connections(const canopy_ctx *signalled)
{
    struct pollfd fds[] = {{.fd = listener[0], .events = POLLIN},
                           {.fd = canopy_done_fd(signalled), .events = POLLIN}};
    int ms;
    while (fds[1].fd >= 0 && !canopy_done(signalled)) { /* a poll that fails (EINTR) is no end */
        if (poll(fds, 2, -1) <= 0 || fds[0].revents == 0 ||
            recv(listener[0], &ms, sizeof ms, 0) != sizeof ms)
            continue;
        if (ms == STOP)
            kill(getpid(), SIGTERM);
        else if (!connection_open(ms))
            printf("one client turned away\n");
    }
    return fds[1].fd >= 0;
}

static void hurry(void *arg)
{
    canopy_cancel_cause(arg, CANOPY_CAUSE(0, "cancelled by a second signal"));
}

/* True when everything has gone by `patience_ns` after the hard cancel. */
static bool drain(const canopy_ctx *again, int64_t grace_ns, int64_t patience_ns)
{
    const int64_t hard_ns = canopy_now_ns() + grace_ns;
    canopy_callback second;
    canopy_cancel_cause(accepting, CANOPY_CAUSE(0, "draining")); /* soft: no new work */
    canopy_set_deadline(process, hard_ns);                       /* hard: in time, by itself */
    if (canopy_after_func(again, &second, hurry, process) != 0)
        return false;
    int left = canopy_wait_idle(canopy_group_ctx(&server), hard_ns + patience_ns);
    if (!canopy_callback_stop(&second))
        canopy_callback_join(&second);
    return left == 0;
}

int main(void)
{
    const int signals[] = {SIGTERM, SIGINT}, clients[] = {0, 1000, 20000, STOP};
    process = canopy_with_deadline_cause(canopy_background(), CANOPY_NEVER,
                                         CANOPY_CAUSE(0, "the grace period is over"));
    accepting = process ? canopy_with_cancel(process) : NULL;
    canopy_ctx *signalled = canopy_with_signals(canopy_background(), signals, 2);
    if (!accepting || !signalled || canopy_group_init(&server, process, 0) != 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET, 0, listener) != 0)
        return 1;
    for (int i = 0; i < 4; i++)
        if (send(listener[1], &clients[i], sizeof clients[i], 0) < 0)
            return 1;

    if (!accept_connections(signalled))
        return 1;
    canopy_ctx *again = canopy_with_signals(canopy_background(), signals, 2);
    if (!again || !drain(again, MILLISECONDS(4000), MILLISECONDS(20000)))
        _exit(1); /* something does not heed its context: no use in waiting for its thread */
    canopy_group_wait(&server);
    canopy_end(again);
    canopy_end(signalled);
    canopy_end(accepting);
    canopy_end(process);
    printf("all have gone\n");
    return 0;
}
