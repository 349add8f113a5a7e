/* epoll.c - the loop over epoll. */
#include "driver.h"

#include <canopy/adapters/loop_epoll.h>

#include <sys/eventfd.h>

static struct loop_epoll adapter;

void driver_open(canopy_ctx *root)
{
    assert_int_equal(loop_epoll_open(&adapter, root), 0);
}

canopy_loop *driver_loop(void)
{
    return &adapter.loop;
}

void driver_turn(void)
{
    struct epoll_event events[4];
    assert_int_equal(loop_epoll_turn(&adapter, events, 4), 0);
}

int driver_close(void)
{
    return loop_epoll_close(&adapter);
}

static void watch_fd(int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    assert_int_equal(epoll_ctl(adapter.epoll_fd, EPOLL_CTL_ADD, fd, &event), 0);
}

TEST(a_turn_gives_the_callers_events_and_not_the_loops_own)
{
    struct fixture fixture;
    struct thread canceller;
    struct seen seen = {.runs = 0};
    struct epoll_event events[4];
    struct race race = {.meeting = {.parties = 2}};
    driven_open(&fixture);
    int fds[] = {eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC)};
    watch_fd(fds[0], EPOLLIN | EPOLLET);
    watch_fd(fds[1], EPOLLIN | EPOLLET);
    race.ctx = canopy_with_cancel(fixture.root);
    watch(&seen, race.ctx);

    /* Only a loop that counts as asleep has its fd written. */
    assert_true(canopy_loop_timeout_ns(&adapter.loop, now_ns()) > 0);
    thread_start(&canceller, race_cancel, &race);
    meet(&race.meeting);
    thread_join(&canceller);
    assert_true(fd_readable(canopy_loop_fd(&adapter.loop), 0));
    const uint64_t one = 1;
    assert_int_equal(write(fds[0], &one, sizeof one), sizeof one);
    assert_int_equal(write(fds[1], &one, sizeof one), sizeof one);
    assert_int_equal(loop_epoll_turn(&adapter, events, 4), 2);
    assert_int_equal(events[0].data.fd + events[1].data.fd, fds[0] + fds[1]);
    assert_int_equal(seen.runs, 1);

    close(fds[0]);
    close(fds[1]);
    canopy_end(race.ctx);
    driven_close(&fixture);
}

static void turn_abroad(void *arg)
{
    struct epoll_event event;
    (void)arg;
    assert_int_equal(loop_epoll_turn(&adapter, &event, 1), -EPERM);
}

TEST(bad_turns_are_answered)
{
    struct fixture fixture;
    struct thread stranger;
    struct epoll_event event;
    driven_open(&fixture);
    assert_int_equal(loop_epoll_turn(&adapter, &event, 0), -EINVAL);
    thread_start(&stranger, turn_abroad, NULL);
    thread_join(&stranger);
    driven_close(&fixture);
    assert_int_equal(loop_epoll_turn(&adapter, &event, 1), -EINVAL);
}
