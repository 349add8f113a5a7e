/*
 * deadly.h - what kills the thread that calls it, for callbacks, destructors and
 * members of groups.
 */
#ifndef CANOPY_TESTS_DEADLY_H
#define CANOPY_TESTS_DEADLY_H

#include "scene.h"

/* Of the callbacks or layers that a test hangs up at once. */
enum { hands = 5 };

/* How a thread meets its end. */
enum death { BY_EXIT, BY_CANCEL, BY_ASYNCHRONOUS_CANCEL, DEATHS };

static inline void die(enum death death)
{
    int before;
    if (death == BY_EXIT)
        pthread_exit(NULL);
    if (death == BY_ASYNCHRONOUS_CANCEL)
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
    pthread_cancel(pthread_self());
    pthread_testcancel();
}

struct deadly {
    enum death death;
    atomic_uint runs;
};

static inline void run_and_die(void *arg)
{
    struct deadly *deadly = arg;
    count_call(&deadly->runs);
    die(deadly->death);
}

static inline void end_context(void *ctx)
{
    canopy_end(ctx);
}

#endif
