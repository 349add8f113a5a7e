/*
 * uring.c - the loop over io_uring: requests under a context are cancelled in the
 * kernel, are completed once, and lose nothing that they did not hand over.
 */
#include "driver.h"

#include <canopy/adapters/loop_uring.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop_uring adapter;

void driver_open(canopy_ctx *root)
{
    int err = loop_uring_open(&adapter, 8, root);
    if (err == -EPERM || err == -ENOSYS) {
        printf("io_uring is not to be had here: %s\n", strerror(-err));
        skip();
    }
    assert_int_equal(err, 0);
}

canopy_loop *driver_loop(void)
{
    return &adapter.loop;
}

void driver_turn(void)
{
    assert_true(loop_uring_turn(&adapter) >= 0);
}

int driver_close(void)
{
    return loop_uring_close(&adapter);
}

/* ---------------------------------------------------------------- requests */

/* A receive of one byte, and what became of it. */
struct receive {
    struct loop_uring_request request; /* first */
    char byte;
    int result;
    unsigned completions;
    pthread_t thread;
};

static void received(struct loop_uring_request *request, int result)
{
    struct receive *receive = (struct receive *)request;
    receive->result = result;
    receive->thread = pthread_self();
    receive->completions++;
}

static int receive_start(struct receive *receive, const canopy_ctx *ctx, int fd)
{
    struct io_uring_sqe *sqe = loop_uring_sqe(&adapter);
    assert_non_null(sqe);
    io_uring_prep_recv(sqe, fd, &receive->byte, 1, 0);
    return loop_uring_start(&adapter, ctx, &receive->request, sqe, received);
}

static void sockets_open(int sockets[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
}

static void sockets_close(const int sockets[2])
{
    close(sockets[0]);
    close(sockets[1]);
}

static void send_byte(int fd)
{
    assert_int_equal(send(fd, "x", 1, 0), 1);
}

/* How many bytes are left in a socket; takes them out. */
static ssize_t bytes_left(int fd)
{
    char bytes[64];
    ssize_t count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    assert_true(count >= 0 || errno == EAGAIN);
    return count > 0 ? count : 0;
}

TEST(a_request_is_cancelled_in_the_kernel_with_its_context)
{
    struct fixture fixture;
    struct thread canceller;
    struct receive receive = {.completions = 0};
    int sockets[2];
    driven_open(&fixture);
    sockets_open(sockets);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    assert_int_equal(receive_start(&receive, ctx, sockets[0]), 0);
    assert_int_equal(adapter.in_flight, 1);
    thread_start(&canceller, cancel_after_pause, ctx);
    assert_in_range(turns_until(receive.completions > 0), 1, 6);
    thread_join(&canceller);
    assert_int_equal(receive.result, -ECANCELED);
    assert_true(pthread_equal(receive.thread, pthread_self()));
    assert_int_equal(adapter.in_flight, 0);
    /* The kernel has let go of it: what comes now stays where it is. */
    send_byte(sockets[1]);
    assert_int_equal(bytes_left(sockets[0]), 1);
    assert_int_equal(receive.byte, 0);
    canopy_end(ctx);
    sockets_close(sockets);
    driven_close(&fixture);
    assert_int_equal(receive.completions, 1);
}

TEST(a_request_ends_at_the_deadline_of_its_context_and_not_before)
{
    struct fixture fixture;
    struct receive receive = {.completions = 0};
    int sockets[2];
    driven_open(&fixture);
    sockets_open(sockets);
    int64_t deadline_ns = now_ns() + MILLISECONDS(30);
    canopy_ctx *ctx = canopy_with_deadline(fixture.root, deadline_ns);
    assert_int_equal(receive_start(&receive, ctx, sockets[0]), 0);
    turns_until(receive.completions > 0);
    assert_true(now_ns() >= deadline_ns);
    assert_int_equal(receive.result, -ECANCELED);
    assert_int_equal(canopy_err(ctx), -ETIMEDOUT);
    canopy_end(ctx);
    sockets_close(sockets);
    driven_close(&fixture);
}

TEST(a_result_that_came_first_stands)
{
    struct fixture fixture;
    struct receive receive = {.completions = 0};
    int sockets[2];
    driven_open(&fixture);
    sockets_open(sockets);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    assert_int_equal(receive_start(&receive, ctx, sockets[0]), 0);
    send_byte(sockets[1]);
    turns_until(receive.completions > 0);
    assert_int_equal(receive.result, 1);
    /* And the context is no longer its own: it may end, and the record serves again. */
    canopy_end(ctx);
    ctx = canopy_with_cancel(fixture.root);
    assert_int_equal(receive_start(&receive, ctx, sockets[0]), 0);
    canopy_cancel(ctx);
    turns_until(receive.completions > 1);
    assert_int_equal(receive.result, -ECANCELED);
    canopy_end(ctx);
    sockets_close(sockets);
    driven_close(&fixture);
}

TEST(a_request_is_cancelled_before_it_was_submitted)
{
    struct fixture fixture;
    struct receive receive = {.completions = 0};
    int sockets[2];
    driven_open(&fixture);
    sockets_open(sockets);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    assert_int_equal(receive_start(&receive, ctx, sockets[0]), 0);
    canopy_end(ctx);
    assert_in_range(turns_until(receive.completions > 0), 1, 6);
    assert_int_equal(receive.result, -ECANCELED);
    sockets_close(sockets);
    driven_close(&fixture);
}

TEST(nothing_is_started_under_a_done_context)
{
    struct fixture fixture;
    struct receive receive = {.completions = 0}, other = {.completions = 0};
    int sockets[2];
    driven_open(&fixture);
    sockets_open(sockets);
    canopy_ctx *done = canopy_with_timeout(fixture.root, 0);
    send_byte(sockets[1]);
    assert_int_equal(receive_start(&receive, done, sockets[0]), -ETIMEDOUT);
    assert_int_equal(receive_start(&receive, NULL, sockets[0]), -EINVAL);
    assert_int_equal(adapter.in_flight, 0);
    driver_turn();
    assert_int_equal(bytes_left(sockets[0]), 1);

    /* A record that is in use serves nobody else. */
    assert_int_equal(receive_start(&other, fixture.root, sockets[0]), 0);
    assert_int_equal(receive_start(&other, fixture.root, sockets[0]), -EBUSY);
    assert_int_equal(adapter.in_flight, 1);
    send_byte(sockets[1]);
    turns_until(other.completions > 0);
    assert_int_equal(other.result, 1);
    assert_int_equal(receive.completions, 0);
    canopy_end(done);
    sockets_close(sockets);
    driven_close(&fixture);
}

/* More at once than the ring has entries, for the requests and for their cancels. */
TEST(many_requests_end_with_one_context)
{
    enum { REQUESTS = 100 };
    struct fixture fixture;
    struct thread canceller;
    struct receive *receives = calloc(REQUESTS, sizeof *receives);
    int sockets[2];
    assert_non_null(receives);
    driven_open(&fixture);
    sockets_open(sockets);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    for (int i = 0; i < REQUESTS; i++)
        assert_int_equal(receive_start(&receives[i], ctx, sockets[0]), 0);
    assert_int_equal(driver_close(), -EBUSY);
    thread_start(&canceller, cancel_after_pause, ctx);
    turns_until(adapter.in_flight == 0);
    thread_join(&canceller);
    for (int i = 0; i < REQUESTS; i++) {
        assert_int_equal(receives[i].completions, 1);
        assert_int_equal(receives[i].result, -ECANCELED);
    }
    canopy_end(ctx);
    sockets_close(sockets);
    driven_close(&fixture);
    free(receives);
}

/* ------------------------------------------------------------- a full ring */

static bool submit_refused;

/* The linker's names: what the adapter calls, and the library's. */
int __wrap_io_uring_submit(struct io_uring *ring);
int __real_io_uring_submit(struct io_uring *ring);

int __wrap_io_uring_submit(struct io_uring *ring)
{
    return submit_refused ? -EBUSY : __real_io_uring_submit(ring);
}

/* Leaves no entry for the cancel, nor anything that would end the next sleep. */
static void fill_ring(void *fd)
{
    static char bytes[64];
    struct io_uring_sqe *sqe;
    while ((sqe = io_uring_get_sqe(&adapter.ring)) != NULL) {
        io_uring_prep_recv(sqe, *(int *)fd, bytes, sizeof bytes, 0);
        io_uring_sqe_set_data64(sqe, 0);
    }
    submit_refused = true;
}

TEST(a_cancel_that_the_kernel_does_not_take_yet_is_tried_again)
{
    struct fixture fixture;
    struct receive receive = {.completions = 0};
    canopy_loop_callback filler = {.canopy_next = NULL};
    int sockets[2], idle[2];
    driven_open(&fixture);
    sockets_open(sockets);
    sockets_open(idle);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    assert_int_equal(receive_start(&receive, ctx, sockets[0]), 0);
    assert_int_equal(canopy_loop_after_func(ctx, &adapter.loop, &filler, fill_ring, &idle[0]), 0);
    canopy_end(ctx);
    driver_turn();
    assert_true(submit_refused);
    assert_non_null(adapter.to_cancel);
    assert_in_range(turns_until(receive.completions > 0), 1, 6);
    assert_int_equal(receive.result, -ECANCELED);
    submit_refused = false;
    driven_close(&fixture);
    sockets_close(idle);
    sockets_close(sockets);
}

/* -------------------------------------------------------------------- races */

/* Receives on the loop, one after the other in the same memory, each under a context that
 * another thread cancels, while a third sends: no byte is lost, none comes twice. */
struct rounds {
    struct receive receive; /* first */
    const canopy_ctx *root;
    _Atomic(canopy_ctx *) ctx; /* of the round, for the canceller */
    int sockets[2];
    unsigned left, taken, cancelled;
    atomic_uint sent;
    atomic_bool over;
};

static void next_round(struct rounds *rounds);

static void round_over(struct loop_uring_request *request, int result)
{
    struct rounds *rounds = (struct rounds *)request;
    assert_true(result == 1 || result == -ECANCELED);
    rounds->taken += result == 1;
    rounds->cancelled += result != 1;
    /* Where the canceller has not come to it yet. */
    canopy_end(atomic_exchange(&rounds->ctx, NULL));
    if (--rounds->left > 0)
        next_round(rounds);
}

static void next_round(struct rounds *rounds)
{
    canopy_ctx *ctx = canopy_with_cancel(rounds->root);
    struct io_uring_sqe *sqe = loop_uring_sqe(&adapter);
    assert_non_null(ctx);
    assert_non_null(sqe);
    io_uring_prep_recv(sqe, rounds->sockets[0], &rounds->receive.byte, 1, 0);
    assert_int_equal(loop_uring_start(&adapter, ctx, &rounds->receive.request, sqe, round_over), 0);
    atomic_store(&rounds->ctx, ctx);
}

static void cancel_rounds(void *arg)
{
    struct rounds *rounds = arg;
    uint64_t seed = 11;
    while (!atomic_load(&rounds->over)) {
        canopy_end(atomic_exchange(&rounds->ctx, NULL));
        pause_ns(MICROSECONDS(random_next(&seed) % 60));
    }
}

static void send_rounds(void *arg)
{
    struct rounds *rounds = arg;
    uint64_t seed = 12;
    while (!atomic_load(&rounds->over)) {
        if (send(rounds->sockets[1], "x", 1, MSG_DONTWAIT) == 1)
            atomic_fetch_add(&rounds->sent, 1);
        pause_ns(MICROSECONDS(random_next(&seed) % 60));
    }
}

TEST(a_cancel_beside_a_result_is_one_or_the_other)
{
    struct fixture fixture;
    struct thread canceller, sender;
    const unsigned total = SCALED(5000, 1500);
    struct rounds rounds = {.left = total};
    driven_open(&fixture);
    sockets_open(rounds.sockets);
    rounds.root = fixture.root;
    next_round(&rounds);
    thread_start(&canceller, cancel_rounds, &rounds);
    thread_start(&sender, send_rounds, &rounds);
    turns_until(rounds.left == 0);
    atomic_store(&rounds.over, true);
    thread_join(&canceller);
    thread_join(&sender);
    assert_int_equal(rounds.taken + rounds.cancelled, total);
    unsigned left = 0;
    for (ssize_t more; (more = bytes_left(rounds.sockets[0])) > 0;)
        left += (unsigned)more;
    assert_int_equal(rounds.taken + left, atomic_load(&rounds.sent));
    assert_true(rounds.taken > 0 && rounds.cancelled > 0);
    sockets_close(rounds.sockets);
    driven_close(&fixture);
}
