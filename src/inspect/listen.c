/*
 * listen.c - a thread that answers on a Unix socket, one client after the other. What it
 * waits for it does so in poll, with an eventfd beside it that says that the listener is
 * being closed.
 *
 * A child of a fork has none of it: its copies of the fds are closed, as a client would
 * wait for ever for a child that does not answer. So each fd of a listener is made and closed
 * under library_lock, which a fork holds.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/base.h"
#include "inspect/answer.h"
#include "inspect/socket.h"

/* So long a client may do nothing. */
#define IDLE_NS (2 * NS_PER_SECOND)

/* Until another look where a client cannot be taken: for want of fds, for example. */
#define PAUSE_NS (NS_PER_SECOND / 10)

struct canopy_listener_state {
    struct thread_role role; /* first, since the thread is given that */
    struct canopy_listener_state *next;
    pthread_t thread;
    unsigned flags;
    int fd, closing, client; /* -1: none; in the child of a fork there is none */
    bool is_gone;            /* the thread, which was the parent's */
    atomic_u32 is_closing;   /* as `closing` tells, for when poll fails */
    struct socket_file file;
};

static struct canopy_listener_state *all; /* under library_lock */

/* ---------------------------------------------------------------------- waiting */

enum woken { WOKEN_CLOSING, WOKEN_TIMEOUT, WOKEN_READY };

/* Waits for one of its fds, or until `until_ns`. */
static enum woken await(const struct canopy_listener_state *self, int fd, short events,
                        int64_t until_ns)
{
    struct pollfd fds[] = {{.fd = self->closing, .events = POLLIN}, {.fd = fd, .events = events}};
    while (self->closing >= 0) {
        int64_t left_ns = until_ns == CANOPY_NEVER ? -1 : until_ns - clock_now_ns();
        if (until_ns != CANOPY_NEVER && left_ns < 0)
            left_ns = 0;
        int count = poll(fds, 2, left_ns < 0 ? -1 : (int)((left_ns + 999999) / 1000000));
        if (count > 0)
            return fds[0].revents ? WOKEN_CLOSING : WOKEN_READY;
        if (count == 0)
            return WOKEN_TIMEOUT;
        /* Without memory, or where the process may have no fds any more: then by turns. */
        if (errno == EINTR)
            continue;
        if (u32_load_relaxed(&self->is_closing))
            return WOKEN_CLOSING;
        if (time_is_up(until_ns))
            return WOKEN_TIMEOUT;
        pause_ns(PAUSE_NS);
    }
    return WOKEN_CLOSING;
}

/* ------------------------------------------------------------------- one client */

/* A canopy_sink_fn. */
static int send_piece(void *user, const char *bytes, size_t n)
{
    const struct canopy_listener_state *self = user;
    while (n > 0) {
        if (await(self, self->client, POLLOUT, clock_now_ns() + IDLE_NS) != WOKEN_READY)
            return -ETIMEDOUT;
        ssize_t sent = send(self->client, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (sent > 0) {
            bytes += sent;
            n -= (size_t)sent;
        }
    }
    return 0;
}

/* A line, or more than a command may have. False: it did not come. */
static bool receive(const struct canopy_listener_state *self, char line[COMMAND_BYTES + 2])
{
    int64_t until_ns = clock_now_ns() + IDLE_NS;
    for (size_t used = 0; used <= COMMAND_BYTES;) {
        if (await(self, self->client, POLLIN, until_ns) != WOKEN_READY)
            return false;
        ssize_t got = recv(self->client, line + used, COMMAND_BYTES + 1 - used, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (got > 0) {
            const char *end = memchr(line + used, '\n', (size_t)got);
            used += (size_t)got;
            line[used] = '\0';
            if (end)
                return true;
        }
    }
    return true;
}

/* Whether whoever is at the other end may be answered. */
static bool is_allowed(int client)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;
    return getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

/* The end of an answer, without which it was cut off. */
static void send_result(struct canopy_listener_state *self, int result)
{
    char end[16] = {'\0'};
    int bytes = 1 + snprintf(end + 1, sizeof end - 1, "%d\n", result);
    send_piece(self, end, (size_t)bytes);
}

static void serve(struct canopy_listener_state *self)
{
    char line[COMMAND_BYTES + 2];
    if (!is_allowed(self->client))
        send_result(self, -EPERM);
    else if (receive(self, line))
        send_result(self, canopy_answer(line, self->flags, send_piece, self));
}

/* The next client, if there still is one. False: it cannot be taken just now. */
static bool take_client(struct canopy_listener_state *self)
{
    int cancelable = cancellation_hold();
    pthread_mutex_lock(&library_lock);
    /* cppcheck-suppress nullPointer ; who it is the socket says, SO_PEERCRED */
    self->client = accept4(self->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int err = self->client < 0 ? errno : 0;
    pthread_mutex_unlock(&library_lock);
    cancellation_restore(cancelable);
    return err == 0 || err == EAGAIN;
}

static void drop_client(struct canopy_listener_state *self)
{
    pthread_mutex_lock(&library_lock);
    if (self->client >= 0)
        fd_close(self->client);
    self->client = -1;
    pthread_mutex_unlock(&library_lock);
}

/* ---------------------------------------------------------------------- the thread */

/*
 * A callback that ends its thread must not end this one: it goes on from the clean-up, as
 * the worker does (callbacks/worker.c).
 */
static void serve_all(void *state)
{
    struct canopy_listener_state *self = state;
    pthread_cleanup_push(serve_all, self);
    drop_client(self);
    while (await(self, self->fd, POLLIN, CANOPY_NEVER) == WOKEN_READY) {
        if (!take_client(self))
            await(self, -1, 0, clock_now_ns() + PAUSE_NS);
        if (self->client >= 0)
            serve(self);
        drop_client(self);
    }
    pthread_cleanup_pop(0);
}

static void listener_main(const struct thread_role *role)
{
    serve_all((void *)(uintptr_t)role);
}

/* ------------------------------------------------------------------- open and close */

static int fds_open(struct canopy_listener_state *self)
{
    int err = 0;
    pthread_mutex_lock(&library_lock);
    self->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    self->closing = self->fd < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->closing < 0) {
        err = -errno;
        if (self->fd >= 0)
            fd_close(self->fd);
    } else {
        self->next = all;
        all = self;
    }
    pthread_mutex_unlock(&library_lock);
    return err;
}

static void fds_close(struct canopy_listener_state *self)
{
    pthread_mutex_lock(&library_lock);
    struct canopy_listener_state **link = &all;
    while (*link != self)
        link = &(*link)->next;
    *link = self->next;
    fd_close(self->fd);
    fd_close(self->closing);
    pthread_mutex_unlock(&library_lock);
}

/* 0, or a negative errno, and nothing is left of it. */
static int open_at(struct canopy_listener_state *self, const char *path)
{
    int err = fds_open(self);
    if (err)
        return err;
    err = socket_file_make(&self->file, self->fd, path);
    if (!err) {
        pthread_mutex_lock(&library_lock);
        err = -thread_start_joinable(&self->role, &self->thread);
        pthread_mutex_unlock(&library_lock);
        if (err)
            socket_file_end(&self->file, true);
    }
    if (err)
        fds_close(self);
    return err;
}

int canopy_listen(canopy_listener *listener, const char *path, unsigned flags)
{
    if (!listener || !path || !*path || (flags & ~CANOPY_ANSWER_CANCEL))
        return -EINVAL;
    struct canopy_listener_state *self = library_init() == 0 ? calloc(1, sizeof *self) : NULL;
    if (!self)
        return -ENOMEM;
    self->role =
        (struct thread_role){.name = "canopy-listen", .run = listener_main, .runs_user_code = true};
    self->flags = flags;
    self->client = -1;
    canopy_listener before = *listener;
    listener->canopy_state = self; /* for callbacks on the thread */
    int cancelable = cancellation_hold();
    int err = open_at(self, path);
    cancellation_restore(cancelable);
    if (err) {
        *listener = before;
        free(self);
    }
    return err;
}

int canopy_listener_close(canopy_listener *listener)
{
    struct canopy_listener_state *self = listener ? listener->canopy_state : NULL;
    if (!self)
        return -EINVAL;
    if (!self->is_gone && pthread_equal(self->thread, pthread_self()))
        return -EDEADLK;
    int cancelable = cancellation_hold();
    bool is_own = self->fd >= 0;
    if (is_own) {
        u32_store_relaxed(&self->is_closing, 1);
        eventfd_raise(self->closing);
        pthread_join(self->thread, NULL);
    }
    socket_file_end(&self->file, is_own);
    if (is_own)
        fds_close(self);
    cancellation_restore(cancelable);
    free(self);
    listener->canopy_state = NULL;
    return 0;
}

void listeners_fork_child(void)
{
    for (struct canopy_listener_state *self = all; self; self = self->next) {
        if (self->client >= 0)
            fd_close(self->client);
        fd_close(self->fd);
        fd_close(self->closing);
        self->client = self->fd = self->closing = -1;
        self->is_gone = !pthread_equal(self->thread, pthread_self());
    }
    all = NULL;
}
