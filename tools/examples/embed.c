/*
 * embed.c - canopy in a program with an event loop of its own: epoll, one thread, and no
 * clock of canopy's. Of three requests the upstream answers one, one loses its client, and
 * one runs out of time.
 *
 * Prints:
 *     request 1: answered
 *     request 2: ended, "the client has gone"
 *     request 3: ended, "the upstream took too long"
 */
#include <canopy/loop.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MILLISECONDS(n) ((n)*INT64_C(1000000))

static canopy_ctx *root;
static canopy_loop loop;
static int epoll, live;

/* What epoll watches; the loop's own fd has none. */
struct watch {
    int fd, peer; /* the peer stands for the other machine */
    struct request *request;
    void (*ready)(struct request *r);
};

struct request {
    int number;
    struct watch client, upstream;
    canopy_ctx *ctx;
    canopy_loop_callback ended;
};

static void watch_close(struct watch *w)
{
    close(w->fd);
    w->fd = -1; /* an event of this turn may still name it */
}

static void request_close(struct request *r)
{
    watch_close(&r->client);
    watch_close(&r->upstream);
    canopy_end(r->ctx);
    live--;
}

/* The one way out of a request that is not answered, whoever ended it and why. */
static void request_ended(void *arg)
{
    struct request *r = arg;
    printf("request %d: ended, \"%s\"\n", r->number, canopy_cause_of(r->ctx)->text);
    request_close(r);
}

static void client_ready(struct request *r)
{
    canopy_cancel_cause(r->ctx, CANOPY_CAUSE(0, "the client has gone"));
}

static void upstream_ready(struct request *r)
{
    char answer[64];
    ssize_t size = read(r->upstream.fd, answer, sizeof answer);
    if (size > 0 && write(r->client.fd, answer, (size_t)size) == size)
        printf("request %d: answered\n", r->number);
    canopy_loop_callback_drop(&r->ended); /* on the loop's thread always in time */
    request_close(r);
}

static bool watch_open(struct watch *w, struct request *r, void (*ready)(struct request *r))
{
    int fds[2];
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = w};
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
        return false;
    *w = (struct watch){.fd = fds[0], .peer = fds[1], .request = r, .ready = ready};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, w->fd, &event) == 0;
}

static bool request_open(struct request *r, int number)
{
    *r = (struct request){.number = number};
    r->ctx = canopy_with_timeout_cause(root, MILLISECONDS(2000),
                                       CANOPY_CAUSE(0, "the upstream took too long"));
    live++;
    return r->ctx && canopy_loop_after_func(r->ctx, &loop, &r->ended, request_ended, r) == 0 &&
           watch_open(&r->client, r, client_ready) && watch_open(&r->upstream, r, upstream_ready);
}

static bool loop_open(void)
{
    canopy_config config = {
        .size = sizeof config, .clock = CANOPY_CLOCK_HOST, .now_ns = canopy_now_ns()};
    struct epoll_event event = {.events = EPOLLIN};
    root = canopy_root_new(&config);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    return root && epoll >= 0 && canopy_loop_init(&loop, root) == 0 &&
           epoll_ctl(epoll, EPOLL_CTL_ADD, canopy_loop_fd(&loop), &event) == 0;
}

static void loop_turn(void)
{
    struct epoll_event events[64];
    int64_t sleep_ns = canopy_loop_timeout_ns(&loop, canopy_now_ns());
    int n = epoll_wait(epoll, events, 64, canopy_loop_timeout_ms(sleep_ns));
    canopy_loop_run(&loop, canopy_now_ns());
    for (int i = 0; i < n; i++) {
        struct watch *w = events[i].data.ptr;
        if (w && w->fd >= 0)
            w->ready(w->request);
    }
}

/* Root and loop; what was released last may be in its grace period for a moment. */
static bool loop_close(void)
{
    close(epoll);
    if (canopy_loop_close(&loop) != 0)
        return false;
    while (canopy_root_free(root) != 0)
        canopy_sleep(canopy_background(), MILLISECONDS(1));
    return true;
}

int main(void)
{
    struct request r[3];
    if (!loop_open() || !request_open(&r[0], 1) || !request_open(&r[1], 2) ||
        !request_open(&r[2], 3) || write(r[0].upstream.peer, "yes", 3) != 3)
        return 1;
    close(r[1].client.peer);
    while (live > 0)
        loop_turn();
    return loop_close() ? 0 : 1;
}
