/*
 * socket.h - one command for a process that listens (canopy_listen), and its answer: bytes,
 * a NUL, the status as decimal, a newline. What does not end so was cut off.
 */
#ifndef CANOPY_TOOL_SOCKET_H
#define CANOPY_TOOL_SOCKET_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#define COMMAND_BYTES 4096 /* the longest that a process takes, its newline included */
#define TRAILER_BYTES 16   /* more than any status takes */

/* Receives the answer piece by piece; what it returns but 0 (a negative errno) ends it. */
typedef int (*answer_fn)(void *user, const char *bytes, size_t n);

enum asked {
    ASKED_GOES_ON,
    ASKED_IS_ANSWERED, /* status: what the process says */
    ASKED_HAS_FAILED   /* problem: why there is no answer */
};

struct question {
    struct sockaddr_un address;
    int fd; /* -1: not connected yet */
    const char *command;
    size_t command_bytes, sent;
    answer_fn answer;
    void *user;
    int64_t timeout_ns, heard_ns; /* when the process last did anything */
    bool is_refused;              /* it let go of the question before all of that was sent */
    bool is_ending;               /* the NUL has come */
    char trailer[TRAILER_BYTES];
    size_t trailer_bytes;
    int status;
    char problem[192];
};

/*
 * Begins to ask `command`, a line with its newline that is kept until the end. True, or false
 * with `problem`, as for a path that is too long.
 */
bool question_open(struct question *question, const char *path, const char *command,
                   int64_t timeout_ns, answer_fn answer, void *user);

/* What to wait for, and for how long at most, before the next step. */
int question_wants(const struct question *question, struct pollfd *wanted);

/* Does what can be done without waiting. */
enum asked question_step(struct question *question);

void question_close(struct question *question);

/* All of that: true once it is answered, with the process's status. */
bool question_ask(struct question *question, const char *path, const char *command,
                  int64_t timeout_ns, answer_fn answer, void *user);

int64_t now_ns(void);

/* For poll, of a time that may be longer than that can wait: then it is to be asked again. */
int ms_until(int64_t left_ns);

#endif
