/*
 * socket.c - a question is sent and its answer taken without ever waiting in a call, so that
 * a screen stays alive before a process that is not; see socket.h.
 */
#include "socket.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS INT64_C(1000000)
#define RETRY_MS  20 /* between two tries to get into the queue of a busy process */

int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int ms_until(int64_t left_ns)
{
    const int64_t most_ms = (int64_t)60 * 60 * 1000; /* poll's is an int; who waits looks again */
    int64_t left_ms = left_ns > 0 ? left_ns / NS_PER_MS + 1 : 0;
    return (int)(left_ms < most_ms ? left_ms : most_ms);
}

__attribute__((format(printf, 2, 3))) static enum asked fail(struct question *question,
                                                             const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(question->problem, sizeof question->problem, format, arguments);
    va_end(arguments);
    return ASKED_HAS_FAILED;
}

bool question_open(struct question *question, const char *path, const char *command,
                   int64_t timeout_ns, answer_fn answer, void *user)
{
    *question = (struct question){
        .address = {.sun_family = AF_UNIX},
        .fd = -1,
        .command = command,
        .command_bytes = strlen(command),
        .answer = answer,
        .user = user,
        .timeout_ns = timeout_ns,
        .heard_ns = now_ns(),
    };
    if (strlen(path) >= sizeof question->address.sun_path) {
        fail(question, "a socket's path has at most %zu bytes",
             sizeof question->address.sun_path - 1);
        return false;
    }
    memcpy(question->address.sun_path, path, strlen(path));
    return true;
}

void question_close(struct question *question)
{
    if (question->fd >= 0)
        close(question->fd);
    question->fd = -1;
}

int question_wants(const struct question *question, struct pollfd *wanted)
{
    int64_t left_ns = question->heard_ns + question->timeout_ns - now_ns();
    int left_ms = ms_until(left_ns);
    bool is_sent = question->is_refused || question->sent == question->command_bytes;
    *wanted = (struct pollfd){.fd = question->fd, .events = is_sent ? POLLIN : POLLOUT};
    return question->fd < 0 && left_ms > RETRY_MS ? RETRY_MS : left_ms;
}

/* ---------------------------------------------------------------------- the way there */

static enum asked connect_problem(struct question *question)
{
    switch (errno) {
    case ENOENT:
        return fail(question, "there is no such socket: does the process listen there?");
    case ECONNREFUSED:
        return fail(question, "nobody listens there");
    case EACCES:
        return fail(question, "permission denied: only the process's own user and root may ask");
    default:
        return fail(question, "cannot connect: %s", strerror(errno));
    }
}

/* A full queue of a Unix socket is told at once, and nothing tells when it has room. */
static enum asked try_to_connect(struct question *question)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(question, "cannot make a socket: %s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)&question->address, sizeof question->address) == 0) {
        question->fd = fd;
        return ASKED_GOES_ON;
    }
    int err = errno;
    close(fd);
    errno = err;
    return err == EAGAIN || err == EINTR ? ASKED_GOES_ON : connect_problem(question);
}

/* Who is not to be answered is let go at once: what was said to it is still to be read. */
static enum asked send_more(struct question *question)
{
    while (question->sent < question->command_bytes) {
        ssize_t n = send(question->fd, question->command + question->sent,
                         question->command_bytes - question->sent, MSG_NOSIGNAL);
        if (n >= 0)
            question->sent += (size_t)n;
        else if (errno == EAGAIN)
            return ASKED_GOES_ON;
        else if (errno == EPIPE || errno == ECONNRESET)
            question->is_refused = true;
        else if (errno != EINTR)
            return fail(question, "cannot send: %s", strerror(errno));
        if (question->is_refused)
            return ASKED_GOES_ON;
    }
    return ASKED_GOES_ON;
}

/* ----------------------------------------------------------------------- the way back */

static enum asked take_trailer(struct question *question, const char *bytes, size_t n)
{
    if (question->trailer_bytes + n >= sizeof question->trailer)
        return fail(question, "what it says is no answer: %zu bytes behind its end", n);
    memcpy(question->trailer + question->trailer_bytes, bytes, n);
    question->trailer_bytes += n;
    return ASKED_GOES_ON;
}

static enum asked take(struct question *question, const char *bytes, size_t n)
{
    const char *end = question->is_ending ? bytes : memchr(bytes, '\0', n);
    size_t body_bytes = end ? (size_t)(end - bytes) : n;
    int err = body_bytes > 0 ? question->answer(question->user, bytes, body_bytes) : 0;
    if (err)
        return fail(question, "cannot take the answer: %s", strerror(-err));
    if (!end)
        return ASKED_GOES_ON;
    size_t nul_bytes = question->is_ending ? 0 : 1;
    question->is_ending = true;
    return take_trailer(question, end + nul_bytes, n - body_bytes - nul_bytes);
}

static enum asked finish(struct question *question)
{
    char *end;
    if (!question->is_ending)
        return fail(question, question->is_refused ? "it does not answer this user"
                                                   : "the answer was cut off");
    question->trailer[question->trailer_bytes] = '\0';
    errno = 0;
    long status = strtol(question->trailer, &end, 10);
    if (errno || end == question->trailer || strcmp(end, "\n") != 0 || status > 0 || status < -4095)
        return fail(question, "what it says is no answer: it ends without a status");
    question->status = (int)status;
    return ASKED_IS_ANSWERED;
}

static enum asked receive_more(struct question *question)
{
    char bytes[65536];
    ssize_t n = recv(question->fd, bytes, sizeof bytes, 0);
    if (n < 0 && errno == ECONNRESET)
        return finish(question);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR
                   ? ASKED_GOES_ON
                   : fail(question, "cannot receive: %s", strerror(errno));
    if (n == 0)
        return finish(question);
    question->heard_ns = now_ns();
    return take(question, bytes, (size_t)n);
}

/* -------------------------------------------------------------------------------- all */

enum asked question_step(struct question *question)
{
    enum asked asked = ASKED_GOES_ON;
    if (question->fd < 0)
        asked = try_to_connect(question);
    if (asked == ASKED_GOES_ON && question->fd >= 0 && !question->is_refused)
        asked = send_more(question);
    if (asked == ASKED_GOES_ON && question->fd >= 0)
        asked = receive_more(question);
    if (asked == ASKED_GOES_ON && now_ns() - question->heard_ns >= question->timeout_ns)
        return fail(question, "no answer for %.3g s", (double)question->timeout_ns / 1e9);
    return asked;
}

bool question_ask(struct question *question, const char *path, const char *command,
                  int64_t timeout_ns, answer_fn answer, void *user)
{
    if (!question_open(question, path, command, timeout_ns, answer, user))
        return false;
    enum asked asked;
    while ((asked = question_step(question)) == ASKED_GOES_ON) {
        struct pollfd wanted;
        int left_ms = question_wants(question, &wanted);
        poll(&wanted, 1, left_ms);
    }
    question_close(question);
    return asked == ASKED_IS_ANSWERED;
}
