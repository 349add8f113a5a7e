/*
 * program.h - a program is a row of bytes, four to a call of the interface: which
 * call, and three arguments. Any bytes are a program. It runs under a root with a
 * clock of the host's, against the library and the model side by side; all contexts
 * are compared after every call and inside every callback.
 *
 * A program may go on on another thread, of up to four, and end threads and start
 * new ones: one of them at a time makes calls, in the order of the program, so that
 * it runs the same each time. Where calls run at once is in interleave.c.
 */
#ifndef FUZZ_PROGRAM_H
#define FUZZ_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PROGRAM_CALL_BYTES 4
#define PROGRAM_MAX_BYTES  ((size_t)128 * PROGRAM_CALL_BYTES)

/* How many programs share a root that is kept. */
#define PROGRAMS_A_ROOT 128

struct program_options {
    const char *name; /* what to call it in a report */
    bool verbose;     /* each call on standard error */
    FILE *script;     /* unless NULL: only what Go's context has, written out for it */
    bool keep_root;   /* let the next program have the same root: freeing one takes milliseconds */
};

/* Runs a program; what differs from the model is reported, and then it aborts. */
void program_run(const uint8_t *bytes, size_t size_bytes, const struct program_options *options);

#endif
