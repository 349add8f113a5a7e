/*
 * debug.h - what a debug build of canopy finds of the mistakes that callers make.
 *
 * A library built with -DCANOPY_DEBUG=ON looks at every call, and tells a hook of
 * the host's what was wrong, with the places at which the context was made and last
 * released:
 *
 *     canopy_debug_set_hook(canopy_debug_abort, NULL);
 *
 * Without a hook nothing is said. Either way the call that was wrong does no harm:
 * it touches nothing, and answers as its comment here says. A release build looks at
 * nothing and has the same calls, so that a program links with both.
 *
 * What a call answers with an error of its own (canopy.h says which) is not told
 * again. Contexts of a debug build cost a few hundred bytes and a lock more each; one
 * that is gone is known for as long as the next 65,536 that go. canopy_wait_any of more
 * than 64 contexts allocates, and may answer -ENOMEM.
 *
 * Places are return addresses. In sources that include this header and are compiled
 * with -DCANOPY_DEBUG, a context also knows the file and line that it was made at;
 * there the constructors are macros, of no cost to speak of with either library. In C++
 * they are not: what the C++ headers make knows the caller's place where the source is
 * compiled with -DCANOPY_DEBUG, whether it includes this header or not, and sources
 * with and without it may be linked together.
 */
#ifndef CANOPY_DEBUG_H
#define CANOPY_DEBUG_H

#include <canopy/canopy.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is a mistake, and how the call answers. */
typedef enum canopy_debug_kind {
    /*
     * A NULL where a call has no error for it, or what was never a context. Err, done,
     * cause_of, err_at, wait and sleep answer as for a context that was cancelled,
     * deadline, value and lookup as for one that has none, done_fd with -EINVAL; others
     * as for NULL.
     */
    CANOPY_DEBUG_NOT_A_CONTEXT = 1,
    /* A context after its last release, when nothing keeps it in memory. Answered likewise. */
    CANOPY_DEBUG_USE_AFTER_RELEASE = 2,
    /* A release, or end, of which there are more than handles. Nothing happens. */
    CANOPY_DEBUG_DOUBLE_RELEASE = 3,
    /*
     * canopy_root_free said -EBUSY: a context under the root that has a handle still, or
     * a callback that neither ran nor was stopped. Each context is told of once. Where
     * others may still be at work, wait first (canopy_wait_idle).
     */
    CANOPY_DEBUG_LEAK = 4,
    /* Stop, drop and join of a callback that was never added. False, false and 0. */
    CANOPY_DEBUG_CALLBACK_NOT_ADDED = 5,
    /* A callback added that is armed, or runs. -EINVAL. */
    CANOPY_DEBUG_CALLBACK_BUSY = 6,
    /*
     * In a callback: canopy_wait_idle on a context that is not idle before this
     * callback returns (-EDEADLK), or a wait without end on what is never done (at
     * once false, or -EDEADLK).
     */
    CANOPY_DEBUG_ENDLESS_WAIT = 7,
    /*
     * A callback returned that had stopped itself, and its record was overwritten by then:
     * freed, most likely. Stop does nothing there (false), the record stays the library's
     * until fn has returned; canopy_callback_drop frees it at once. `here` is the stop,
     * `made` where the callback was added. The library leaves the record alone. A record
     * that was freed and still looks as before is not told.
     */
    CANOPY_DEBUG_CALLBACK_FREED = 8,
    /*
     * Something that must hold in the library does not, and the text is what: memory of
     * the library's was written to by somebody else, or it has a fault. No context and no
     * place is named, and the call goes on as if it held. Since 1.1.
     */
    CANOPY_DEBUG_BROKEN = 9
} canopy_debug_kind;

/* Where in the program. */
typedef struct canopy_debug_place {
    const char *call;    /* of canopy's, that was made there; NULL: nowhere */
    const void *address; /* to which it returned */
    const char *file;    /* or NULL where that is not known */
    int line;            /* in `file`, or 0 */
} canopy_debug_place;

/* One mistake. It, and its text, live until the hook returns. */
typedef struct canopy_debug_report {
    canopy_debug_kind kind;      /* what it is */
    const char *text;            /* all of it in one line, for people */
    const canopy_ctx *ctx;       /* the context, not to be used where it is gone; or NULL */
    canopy_debug_place here;     /* the call that was wrong */
    canopy_debug_place made;     /* where `ctx` was made, or the callback was added */
    canopy_debug_place released; /* its latest release, where there was one */
} canopy_debug_report;

/*
 * Runs on the thread that made the mistake, which may be in a signal handler where the
 * call was allowed there; no lock is held. It may use canopy (what it does wrong itself
 * is not told), and may end the process.
 */
typedef void (*canopy_debug_fn)(const canopy_debug_report *report, void *user);

/*
 * Sets the process's hook; NULL: none, as at the start. 0, or -ENOTSUP from a
 * release build. Not while other threads use canopy.
 */
CANOPY_API int canopy_debug_set_hook(canopy_debug_fn fn, void *user);

/* A hook: writes the text to stderr and aborts. Takes no `user`. */
CANOPY_API void canopy_debug_abort(const canopy_debug_report *report, void *user);

/*
 * Notes that `ctx` was made at this place; returns it. `file` is not copied. For what
 * makes contexts on behalf of others, as the macros below do. NULL gives NULL.
 */
CANOPY_API CANOPY_MUST_USE canopy_ctx *canopy_debug_made(canopy_ctx *ctx, const char *file,
                                                         int line);

#ifdef __cplusplus
}
#endif

#if defined(CANOPY_DEBUG) && !defined(__cplusplus)
#define CANOPY_DEBUG_HERE(ctx)          canopy_debug_made((ctx), __FILE__, __LINE__)
#define canopy_root_new(...)            CANOPY_DEBUG_HERE((canopy_root_new)(__VA_ARGS__))
#define canopy_with_any(...)            CANOPY_DEBUG_HERE((canopy_with_any)(__VA_ARGS__))
#define canopy_with_cancel(...)         CANOPY_DEBUG_HERE((canopy_with_cancel)(__VA_ARGS__))
#define canopy_with_deadline(...)       CANOPY_DEBUG_HERE((canopy_with_deadline)(__VA_ARGS__))
#define canopy_with_deadline_cause(...) CANOPY_DEBUG_HERE((canopy_with_deadline_cause)(__VA_ARGS__))
#define canopy_with_signals(...)        CANOPY_DEBUG_HERE((canopy_with_signals)(__VA_ARGS__))
#define canopy_with_timeout(...)        CANOPY_DEBUG_HERE((canopy_with_timeout)(__VA_ARGS__))
#define canopy_with_timeout_cause(...)  CANOPY_DEBUG_HERE((canopy_with_timeout_cause)(__VA_ARGS__))
#define canopy_with_value(...)          CANOPY_DEBUG_HERE((canopy_with_value)(__VA_ARGS__))
#define canopy_without_cancel(...)      CANOPY_DEBUG_HERE((canopy_without_cancel)(__VA_ARGS__))
#endif

#endif
