/*
 * canopy.h - the core interface of canopy: a tree of contexts that carries
 * cancellation, deadlines, causes and values through a program, as Go's
 * context package does.
 *
 * Conventions of every call below:
 *
 *  - A `const canopy_ctx *` is a borrowed view: it can observe, wait, look up
 *    and derive. A `canopy_ctx *` is the owner's handle: it can also cancel
 *    and move the deadline. A function that receives a context takes the const
 *    form as its first parameter and so cannot cancel its caller.
 *  - Constructors return a handle that holds one reference, or NULL with
 *    errno. A context stays in memory as long as anything derived from it does.
 *  - Other errors are 0 or a negative errno.
 *  - Time is int64_t nanoseconds of CLOCK_MONOTONIC. Deadlines are absolute,
 *    timeouts and durations relative; sums saturate to CANOPY_NEVER.
 *  - Any call may be made from any thread, on a context that the caller keeps
 *    alive. Threads need no registration. Unless said otherwise a call is
 *    lock-free, apart from the memory allocator and from a lock of the library's: for a
 *    moment a thread takes that which makes its first context under this root, and so
 *    does who takes memory from the allocator, gives it back, or starts a library thread.
 *  - Calls may be made from destructors of thread-local values. From the last round of
 *    those (PTHREAD_DESTRUCTOR_ITERATIONS, with glibc the fourth) nothing tells the
 *    library that the thread is gone: a later thread finds its memory and takes it over,
 *    and liburcu keeps its record of the thread, 128 bytes.
 *  - What "never allocates" takes nothing from malloc or a root's hooks. Of each thread
 *    liburcu keeps a record, which the first call that needs one makes; where there is
 *    no memory for it a constructor says ENOMEM, and all else goes without.
 *  - No call aborts, prints, or holds a lock while code of the caller runs.
 *  - The library has up to three threads. canopy-reclaim, which gives memory back that
 *    others may have been looking at, and what resting and dead threads left of a burst,
 *    starts with the first child of a context that is not background, or with some
 *    hundreds that end on another thread than they were made on; canopy-clock, which ends
 *    what is due and what signals end, with the first deadline of the library's clock or
 *    the first canopy_with_signals; with it canopy-worker, which runs what is the user's:
 *    callbacks at expiry and of signals, destructors of what the other two let go. Once
 *    started they stay, asleep while there is nothing to do. Nobody waits for one to
 *    start. They block all signals, and whoever starts them, they have the policy
 *    SCHED_OTHER (from a thread of SCHED_IDLE where the kernel lets them) and all CPUs
 *    that the process had when the library was loaded.
 *  - A child that such code forks on one of them has the signal mask that the process had
 *    when the library was loaded. posix_spawn, vfork, system and popen run no handler of
 *    a fork, so what is launched by them there blocks all signals, SIGTERM too, unless
 *    told otherwise: with `sigset_t none; sigemptyset(&none);` in an attribute of
 *    posix_spawn, posix_spawnattr_setsigmask(&attr, &none) and the flag
 *    POSIX_SPAWN_SETSIGMASK; else pthread_sigmask(SIG_SETMASK, &none, &before) ahead of
 *    it, and `before` put back after it.
 *  - No call is a point at which a thread is cancelled, but for what code of the caller
 *    does in it.
 *  - Handlers of a fork (pthread_atfork) may use canopy, unless they were registered
 *    before the library was loaded.
 *  - The compiler warns where a result is dropped that is a handle, or whose error
 *    leaves something undone (CANOPY_MUST_USE), and of a NULL where a call has no
 *    error to answer it with (CANOPY_NONNULL). A library built with
 *    -DCANOPY_DEBUG=ON finds more while the program runs: see debug.h.
 */
#ifndef CANOPY_CANOPY_H
#define CANOPY_CANOPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The version of this header. The library's soname has the major number, and each
 * name that the library exports, as its symbol version, the release that brought it.
 */
#define CANOPY_VERSION_MAJOR 1
#define CANOPY_VERSION_MINOR 1
#define CANOPY_VERSION_PATCH 0

/*
 * Marks what the library exports, results that are not to be dropped, and calls of which
 * the first argument is not NULL.
 */
#if defined(__GNUC__)
#define CANOPY_API      __attribute__((visibility("default")))
#define CANOPY_MUST_USE __attribute__((warn_unused_result))
#define CANOPY_NONNULL  __attribute__((nonnull(1)))
#else
#define CANOPY_API
#define CANOPY_MUST_USE
#define CANOPY_NONNULL
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ types */

/* A node of the tree. Opaque; made by the constructors below. */
typedef struct canopy_ctx canopy_ctx;

/*
 * Why a context ended. Identity is the address, as with Go's sentinel errors:
 * compare pointers. A cause handed to canopy is not copied; it must outlive
 * every context that may report it (one defined in a source file is the normal case;
 * in a header it is declared extern, since static would make one for each source).
 */
typedef struct canopy_cause {
    int code;         /* the reason as a number; the defaults use -ECANCELED, -ETIMEDOUT */
    const char *text; /* the reason for people */
    const char *file; /* where the cause is defined, or NULL */
    int line;         /* the line in `file`, or 0 */
} canopy_cause;

/*
 * What a value is bound to. Identity is the address: a key is defined in one source
 * file, static where that alone uses it, else declared extern in a header. Static in a
 * header it is another key in each source, and a look with another one finds nothing.
 */
typedef struct canopy_key {
    const char *name; /* for people */
    void (*destroy)(
        void *value); /* runs once for each binding, after its last reference; or NULL */
} canopy_key;

/* The deadline of a context that has none; also "wait without end". */
#define CANOPY_NEVER INT64_MAX

/* The default causes: codes -ECANCELED and -ETIMEDOUT. */
extern CANOPY_API const canopy_cause canopy_cause_canceled;
extern CANOPY_API const canopy_cause canopy_cause_deadline_exceeded;
#define CANOPY_CANCELED          (&canopy_cause_canceled)
#define CANOPY_DEADLINE_EXCEEDED (&canopy_cause_deadline_exceeded)

/*
 * CANOPY_CAUSE(code, text): a pointer to a static cause that remembers its
 * place. For use inside a function; `code` and `text` are constants. The same
 * expression gives the same address each time it is evaluated.
 */
#if defined(__cplusplus)
#define CANOPY_CAUSE(code_, text_)                                                                 \
    ([]() -> const canopy_cause * {                                                                \
        static const canopy_cause canopy_cause_here = {(code_), (text_), __FILE__, __LINE__};      \
        return &canopy_cause_here;                                                                 \
    }())
#elif defined(__GNUC__)
#define CANOPY_CAUSE(code_, text_)                                                                 \
    (__extension__({                                                                               \
        static const canopy_cause canopy_cause_here = {(code_), (text_), __FILE__, __LINE__};      \
        &canopy_cause_here;                                                                        \
    }))
#endif

/* ------------------------------------------------------------------ roots */

/*
 * The context that is never done, has no deadline and no values; the parent of
 * everything that has no better one. Never NULL, never freed; release does
 * nothing. Wait-free.
 */
CANOPY_API const canopy_ctx *canopy_background(void);

/* canopy_background for a place that has not decided yet which context to take. */
CANOPY_API const canopy_ctx *canopy_todo(void);

/* Who drives the deadlines of a root. */
typedef enum canopy_clock {
    CANOPY_CLOCK_LIBRARY = 0, /* a library thread, started with the first deadline */
    CANOPY_CLOCK_HOST = 1     /* the host, through canopy_root_advance */
} canopy_clock;

/*
 * What a root is made of. Set `size` to sizeof(canopy_config) and leave what
 * you do not need zero: so the struct can grow. Bytes beyond what this version
 * knows must be zero.
 */
typedef struct canopy_config {
    size_t size; /* sizeof(canopy_config) */
    /*
     * Memory for everything under this root: `allocate` returns `size_bytes`
     * aligned to `align_bytes` (a power of two) or NULL, `release` gives it
     * back with the same numbers. Both or neither; called from any thread,
     * never under a library lock of this root's hot paths, and not allowed to
     * call canopy. Code and `user` must stay until canopy_root_free has said 0,
     * also while the process ends: not in a plugin that is unloaded before.
     */
    void *(*allocate)(void *user, size_t align_bytes, size_t size_bytes);
    void (*release)(void *user, void *memory, size_t align_bytes, size_t size_bytes);
    void *user; /* handed to both */
    /*
     * Contexts alive under this root at once; 0: no limit. Exact: at no moment are there
     * more, and EAGAIN means that at one moment of the call there were as many. Each
     * counts from the beginning of its constructor to the end of its last release, or to
     * that of the last thing derived from it; a canopy_with_any as one, and one for each
     * input under the root of that input; a canopy_with_signals as two.
     */
    size_t max_live;
    canopy_clock clock; /* who drives its deadlines */
    int64_t now_ns;     /* CANOPY_CLOCK_HOST: the time at which it starts */
    uint64_t inspect;   /* 0, or CANOPY_INSPECT_NOTES: what can be seen inside (inspect.h) */
} canopy_config;

/*
 * A root of one's own: its own memory, limits and clock. NULL config: all
 * defaults. It can be cancelled, like any context that is not background.
 * Errors: EINVAL (a size that no version has had, one hook without the other, unknown clock or
 * `inspect`, a negative now_ns, a non-zero tail), ENOMEM. Ownership: canopy_root_free; release
 * and end on the handle never take the root's own reference. May block.
 */
CANOPY_API CANOPY_MUST_USE canopy_ctx *canopy_root_new(const canopy_config *config);

/*
 * Frees a root and all its memory. 0; -EBUSY while anything derived from it, or
 * a callback armed on it, has memory (also for a moment after the last end), and
 * while a loop drives it; -EINVAL on NULL and on what is no root. May block for a
 * grace period.
 */
CANOPY_API CANOPY_MUST_USE int canopy_root_free(canopy_ctx *root);

/*
 * Tells a root with CANOPY_CLOCK_HOST what time it is: contexts under it whose
 * deadline is at or before `now_ns` are done when it returns, their callbacks
 * run on the caller, in the order of the deadlines that ended their contexts (as on the
 * library's clock). Up to 256 contexts also end in that order; more do in portions of
 * so many, each in order. Time that goes backwards is taken as standing still.
 * `next_ns`, unless NULL, receives a time by which to call again (CANOPY_NEVER:
 * nothing is pending; it may be earlier than the next deadline, never later).
 * 0, or -EINVAL when `root` is no such root. One caller at a time for each root.
 */
CANOPY_API int canopy_root_advance(canopy_ctx *root, int64_t now_ns, int64_t *next_ns);

/*
 * The same for about `most_ns`, as canopy_loop_run_for (loop.h): portion by portion, each
 * with its callbacks. What there was no time for stays due, and `next_ns` then receives a
 * time that is not later than `now_ns`.
 */
CANOPY_API int canopy_root_advance_for(canopy_ctx *root, int64_t now_ns, int64_t most_ns,
                                       int64_t *next_ns);

/* What a root takes. Set `size` to sizeof(canopy_usage): so the struct can grow. */
typedef struct canopy_usage {
    size_t size;     /* sizeof(canopy_usage) */
    size_t contexts; /* alive under the root, without the root itself */
    size_t bytes;    /* taken from its allocator: contexts, callbacks' slots, room for more */
} canopy_usage;

/*
 * Tells what there is under a root, at some moment of the call. `bytes` is exact. So is
 * `contexts` where max_live is set; else it is never too low by what lives throughout the
 * call, and too high by at most 128 for each other thread that ever made contexts there
 * (free ones that they keep at hand), by one for each input of a with_any, and by
 * contexts that were released in the last moments while somebody looked at them. For
 * graphs and for what is left at the end, then, not to decide by. 0; -EINVAL on NULL, on
 * what is no root, and where `size` is less than this version's or above 4096 (nothing
 * has changed). Costs O(threads); may block briefly.
 */
CANOPY_API int canopy_root_usage(const canopy_ctx *root, canopy_usage *usage);

/* ----------------------------------------------------------------- derive */

/*
 * Each derives a child of `parent`. A child of a done parent is born done,
 * with the parent's err and cause. All return a handle with one reference
 * (canopy_release, canopy_end), or NULL with errno: EINVAL (NULL parent, key or
 * list, n == 0, a signal out of range), ENOMEM, EAGAIN (max_live is reached;
 * the clock's thread cannot be started). On failure nothing has changed.
 */

/* A child that can be cancelled. */
CANOPY_API CANOPY_MUST_USE canopy_ctx *canopy_with_cancel(const canopy_ctx *parent);

/*
 * A child that ends with -ETIMEDOUT at `deadline_ns`; at once if that is past. A
 * negative one counts, and is told, as 0. Of all that is due when somebody looks, the
 * topmost ends, with all below it: so a child that is due a moment before its parent (20
 * microseconds, say) may report the parent's cause.
 */
CANOPY_API CANOPY_MUST_USE canopy_ctx *canopy_with_deadline(const canopy_ctx *parent,
                                                            int64_t deadline_ns);

/*
 * A child that ends with -ETIMEDOUT after `timeout_ns`, counted from now (or from the
 * host's clock of its root). Zero and negative: born done. Never early; the deadline may
 * be late by half a millisecond, since the time is read in a cheap way (see the guide).
 */
CANOPY_API CANOPY_MUST_USE canopy_ctx *canopy_with_timeout(const canopy_ctx *parent,
                                                           int64_t timeout_ns);

/*
 * canopy_with_deadline and canopy_with_timeout with a cause to report on expiry;
 * NULL: CANOPY_DEADLINE_EXCEEDED.
 */
CANOPY_API CANOPY_MUST_USE canopy_ctx *canopy_with_deadline_cause(const canopy_ctx *parent,
                                                                  int64_t deadline_ns,
                                                                  const canopy_cause *cause);
CANOPY_API CANOPY_MUST_USE canopy_ctx *
canopy_with_timeout_cause(const canopy_ctx *parent, int64_t timeout_ns, const canopy_cause *cause);

/*
 * A layer that binds `key` to `value` and shares everything else with its
 * parent. Cancel and set_deadline on it return false and do nothing; end is a
 * release. `key->destroy` runs once after the last reference, on whichever
 * thread drops it or on a library thread; not when this call fails.
 */
CANOPY_API CANOPY_MUST_USE canopy_ctx *canopy_with_value(const canopy_ctx *parent,
                                                         const canopy_key *key, void *value);

/*
 * A layer that keeps the values of its parent and nothing else: no cancel,
 * deadline or cause reaches it from above. It cannot be cancelled itself;
 * contexts derived from it can.
 */
CANOPY_API CANOPY_MUST_USE canopy_ctx *canopy_without_cancel(const canopy_ctx *parent);

/*
 * Done when any of the `n` inputs is, with that input's err and cause; born
 * done, with the lowest one's, if one is. Values come from parents[0], the
 * deadline is the earliest. Cancelling it leaves the inputs alone. It keeps the
 * inputs' memory until it is released. EINVAL also for a NULL in the list.
 */
CANOPY_API CANOPY_MUST_USE canopy_ctx *canopy_with_any(const canopy_ctx *const parents[], size_t n);

/*
 * A child that is done when one of `signals` arrives at the process. The cause's code is
 * the signal's number (see canopy_cause_signal) and its text names it. What canopy takes,
 * and when: from this call until the context is cancelled or ended by its owner
 * (canopy_cancel, canopy_end; as stop of Go's NotifyContext), whatever still lives below
 * it, or until its last reference goes, each such signal goes to the contexts that watch
 * it, also once they are done, and nowhere else. Everything else goes where it went
 * before the first of them: when the last one stops, the handler of before is restored,
 * unless somebody replaced ours. A signal that arrives before the end of a live context
 * is what ends it (canopy_cancel then returns false); one that arrives after it goes to
 * the handler of before, also where that was not to be seen in time or somebody has put
 * our handler back: it is sent to the process again, or handed on. In the child of a
 * fork all that was inherited is given back before fork returns.
 * EINVAL also for an empty list, SIGKILL, SIGSTOP, and the signals that the processor
 * raises, which would be raised again at once: SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP,
 * SIGSYS. SIGABRT may be watched; abort ends the process all the same. May block, as
 * may the end of such a context.
 */
CANOPY_API CANOPY_MUST_USE canopy_ctx *canopy_with_signals(const canopy_ctx *parent,
                                                           const int signals[], size_t n);

/* -------------------------------------------------------------------- own */

/*
 * Ends `ctx` and everything derived from it with -ECANCELED. When it returns,
 * won or lost, all of them are done. The winner also runs their callbacks
 * before it returns. True: this call is the one that ended `ctx`. NULL, value
 * and without_cancel layers: false, nothing happens. Never allocates; lock-free
 * apart from the callbacks, and from a lock that a canopy_wait_any on what it ends
 * holds for some instructions as it begins and ends; one atomic compare-and-swap
 * plus the walk below.
 */
CANOPY_API bool canopy_cancel(canopy_ctx *ctx);

/* canopy_cancel with a cause of the caller's; NULL: CANOPY_CANCELED. */
CANOPY_API bool canopy_cancel_cause(canopy_ctx *ctx, const canopy_cause *cause);

/*
 * Moves the deadline, either way; CANOPY_NEVER takes it away. One in the past
 * ends the context before the call returns, callbacks run on the caller. False
 * once done (never revives), for layers that have no deadline of their own, and on
 * NULL; and false with errno EAGAIN, which nothing else sets, where the clock's thread
 * cannot be started to keep it: nothing has changed then.
 */
CANOPY_API bool canopy_set_deadline(canopy_ctx *ctx, int64_t deadline_ns);

/*
 * canopy_set_deadline to `timeout_ns` from now, or from the host's clock of its root, as
 * canopy_with_timeout counts: sums saturate; zero and negative end it before the call
 * returns. False as there.
 */
CANOPY_API bool canopy_set_timeout(canopy_ctx *ctx, int64_t timeout_ns);

/*
 * Makes `ctx` what canopy_with_cancel made it (no deadline, no cause), so that
 * it serves again. Only for a live plain, deadline or timeout context that has
 * no children, callbacks or fd, and one reference; false otherwise, and nothing
 * has changed. Requires that nobody else uses it meanwhile.
 */
CANOPY_API CANOPY_MUST_USE bool canopy_try_reset(canopy_ctx *ctx);

/* One more reference; returns its argument. NULL gives NULL. Wait-free. */
CANOPY_API const canopy_ctx *canopy_retain(const canopy_ctx *ctx);

/*
 * One reference less. The last one detaches the context from its parent and
 * frees it. Release is not cancel: children stay live and attached. NULL does
 * nothing. Never allocates, never fails. Lock-free, but for the last handle of a
 * parent that has many children still: threads that are just ending one of them
 * are waited for, some instructions each; and on a thread that has made nothing under
 * this root, which takes the library's lock.
 */
CANOPY_API void canopy_release(const canopy_ctx *ctx);

/* Cancel, then release: C's `defer cancel()`. NULL does nothing. */
CANOPY_API void canopy_end(canopy_ctx *ctx);

#if defined(__GNUC__)
/* What CANOPY_AUTO calls. */
static inline void canopy_auto_end(canopy_ctx **ctx)
{
    canopy_end(*ctx);
}
/* CANOPY_AUTO canopy_ctx *ctx = ...; ends the context at the end of the scope. */
#define CANOPY_AUTO __attribute__((cleanup(canopy_auto_end)))
#endif

/* ---------------------------------------------------------------- observe */

/*
 * The observers take a context, not NULL. They are wait-free and never allocate;
 * only canopy_deadline and canopy_err_at below a canopy_with_any take a lock, which
 * the process has one of. Whoever sees done also sees everything that the canceller wrote
 * before it cancelled. err, done, cause_of and value may be called from a
 * signal handler.
 */

/* 0 while live, else -ECANCELED or -ETIMEDOUT; never changes once set. */
CANOPY_API CANOPY_NONNULL int canopy_err(const canopy_ctx *ctx);

/* True once the context has ended. */
CANOPY_API CANOPY_NONNULL bool canopy_done(const canopy_ctx *ctx);

/* NULL while live, else why it ended; valid as long as `ctx` is. */
CANOPY_API CANOPY_NONNULL const canopy_cause *canopy_cause_of(const canopy_ctx *ctx);

/*
 * The number of the signal that `cause` stands for, or 0 where it is none that
 * canopy_with_signals made, whatever its code, and on NULL. Wait-free; may be called from
 * a signal handler.
 */
CANOPY_API int canopy_cause_signal(const canopy_cause *cause);

/*
 * The effective deadline: the earliest of the context's own and its
 * ancestors'. True if there is one; `*deadline_ns` (which may be NULL) receives
 * it, or CANOPY_NEVER. Costs O(depth); below a with_any it takes a lock meanwhile.
 */
CANOPY_API CANOPY_NONNULL bool canopy_deadline(const canopy_ctx *ctx, int64_t *deadline_ns);

/*
 * canopy_err as it would be at `now_ns`: also -ETIMEDOUT when the effective
 * deadline is not after it. A question only: nothing is marked, no callback
 * runs. Costs as canopy_deadline.
 */
CANOPY_API CANOPY_NONNULL int canopy_err_at(const canopy_ctx *ctx, int64_t now_ns);

/* The value bound to `key` by the nearest layer, or NULL. Iterative, O(depth). */
CANOPY_API CANOPY_NONNULL void *canopy_value(const canopy_ctx *ctx, const canopy_key *key);

/* canopy_value that tells absent (false, `*value` untouched) from bound to NULL (true). */
CANOPY_API CANOPY_NONNULL bool canopy_lookup(const canopy_ctx *ctx, const canopy_key *key,
                                             void **value);

/* ------------------------------------------------------------------- time */

/*
 * What time it is for deadlines and for waits: nanoseconds of CLOCK_MONOTONIC, read
 * anew. Roots with a host's clock go by that host's time instead. Wait-free; may be
 * called from a signal handler.
 */
CANOPY_API CANOPY_MUST_USE int64_t canopy_now_ns(void);

/* ------------------------------------------------------------------- wait */

/*
 * Who waits needs no clock: canopy_wait, canopy_sleep and canopy_wait_any end what is due
 * under the library's clock themselves, also where its thread is late, and in the child of
 * a fork, where nothing else ends what was inherited. Callbacks then run where they run at
 * expiry; where no thread of the library's does that (in such a child), on the waiter.
 * Each look costs as canopy_deadline does. What a host's clock drives is left to the host.
 */

/*
 * Waits until `ctx` is done (true) or CLOCK_MONOTONIC reaches `until_ns`, which is a
 * point in time (canopy_now_ns) and not a duration (false). Blocks on a futex; signal
 * handlers do not end it. Never allocates. A poll (0 and less) looks at the state alone.
 */
CANOPY_API CANOPY_NONNULL bool canopy_wait(const canopy_ctx *ctx, int64_t until_ns);

/*
 * Waits until one of `n` contexts is done and returns the lowest index that is,
 * or -ETIME at `until_ns`. -EINVAL: no list, n == 0, n > INT_MAX, a NULL inside.
 * Up to 64 contexts it wakes for these alone; with more also when something ends
 * that another thread waits for. Never allocates.
 */
CANOPY_API int canopy_wait_any(const canopy_ctx *const ctxs[], size_t n, int64_t until_ns);

/* Sleeps `duration_ns`: 0 when it slept it all, else canopy_err of `ctx`. */
CANOPY_API CANOPY_NONNULL int canopy_sleep(const canopy_ctx *ctx, int64_t duration_ns);

/*
 * An eventfd that is readable once `ctx` is done: poll it, never read it. It is so when
 * the cancel that ended `ctx` has returned, in each callback that this cancel runs, and
 * when this call returns on a context that is done; a thread that has seen done in
 * another way may find it unreadable for a moment.
 * Non-blocking, close-on-exec, the same on each call; owned by the context and
 * closed with its last reference. Value layers share their ancestor's; what can
 * never be done shares one that never becomes readable. -EMFILE, -ENFILE,
 * -ENOMEM as eventfd gives them.
 */
CANOPY_API CANOPY_NONNULL int canopy_done_fd(const canopy_ctx *ctx);

/*
 * Waits until nothing derived from `ctx` has memory any more: 0, or -ETIME at
 * `until_ns`. -EINVAL on NULL, background and todo. While it waits, children of
 * `ctx` come and go by atomic operations, two more each than they need otherwise;
 * once nobody waits they cost what they did before. Blocks.
 */
CANOPY_API int canopy_wait_idle(const canopy_ctx *ctx, int64_t until_ns);

/* -------------------------------------------------------------- callbacks */

/*
 * A callback returns, or ends its thread: by pthread_exit, or as the thread is cancelled.
 * Then its record is done, and what was to run behind it runs on the way out; the library's
 * own thread does not end, but goes on, a frame of stack deeper each time. To leave a
 * callback by longjmp or by an exception is undefined.
 */

/*
 * A callback's record, placed by the caller, who keeps it in place until stop
 * returned true, join returned 0, or drop returned. Its fields are canopy's. It
 * need not be initialised; adding one that is armed is undefined.
 */
typedef struct canopy_callback {
    void (*canopy_fn)(void *arg);
    void *canopy_arg;
    const canopy_ctx *canopy_ctx_;
    uintptr_t *canopy_slot;
    struct canopy_callback *canopy_next;
    struct canopy_callback **canopy_at;
    uint64_t canopy_runner;
    uint32_t canopy_state;
    uint32_t canopy_settled;
} canopy_callback;

/*
 * Runs fn(arg) once when `ctx` is done: on the winning canceller before its
 * cancel returns, at expiry and for signals on a library thread that blocks all
 * signals, on the caller before this returns if `ctx` is done already. Everything
 * derived is marked first. fn may cancel, register, stop, derive and drop the last
 * reference; it may free its own record only after canopy_callback_drop. An armed
 * callback keeps its context alive until it ran or was stopped. 0, -EINVAL (a NULL;
 * stop and join are then harmless) or -ENOMEM (nothing has changed).
 */
CANOPY_API CANOPY_MUST_USE int canopy_after_func(const canopy_ctx *ctx, canopy_callback *cb,
                                                 void (*fn)(void *arg), void *arg);

/*
 * The same where fn must not run on the caller, nor on who cancels: always on the
 * library's worker thread, one callback after the other, also when `ctx` is done already.
 * So fn may take what the caller holds (Go's AfterFunc with a mutex held), and a cancel
 * returns without it. It should be short, as what runs at expiry waits behind it. 0;
 * -EINVAL (a NULL, or a context that was inherited over a fork), -EAGAIN (that thread
 * cannot be had) or -ENOMEM: nothing has changed, and stop and join are then harmless.
 */
CANOPY_API CANOPY_MUST_USE int canopy_after_func_async(const canopy_ctx *ctx, canopy_callback *cb,
                                                       void (*fn)(void *arg), void *arg);

/*
 * True: fn has not run and never will, and the record is free. False: it ran or is
 * running, or was stopped before; on NULL. What has not begun to run is stopped, by any
 * thread, also while the callbacks before it run. Where a canceller is just gathering
 * what it will run, stop waits for that: none of your code runs in it, but a walk below
 * the context that was cancelled may. It blocks on nothing else.
 */
CANOPY_API bool canopy_callback_stop(canopy_callback *cb);

/*
 * Returns 0 when fn is not running and not bound to run: so after a stop that
 * returned false it waits for the end of fn, and so it does from the moment when the
 * context is done. On a callback whose context is live 0 at once. -EDEADLK when the
 * calling thread itself runs fn or still has to; -EINVAL on NULL. May block.
 */
CANOPY_API int canopy_callback_join(canopy_callback *cb);

/*
 * Stop, then join, also where join would be a hang: when it returns the record is
 * free in any case. fn itself may drop its record, and goes on without it. True: fn has
 * not run and never will. Otherwise it waits for fn alone, where that runs on another
 * thread: so two callbacks that run at once must not drop each other. On NULL false.
 */
CANOPY_API bool canopy_callback_drop(canopy_callback *cb);

/* ------------------------------------------------------------------ group */

/* Threads that succeed or fail together, as Go's errgroup. Fields are canopy's. */
typedef struct canopy_group {
    canopy_ctx *canopy_ctx_;
    void *canopy_state;
} canopy_group;

/*
 * Makes `group` ready, with a context under `parent`; it has at most `limit` threads
 * at once (0: no limit). 0, -EINVAL on a NULL, -ENOMEM, -EAGAIN. Each group
 * that was made ready is ended by canopy_group_wait.
 */
CANOPY_API CANOPY_MUST_USE int canopy_group_init(canopy_group *group, const canopy_ctx *parent,
                                                 unsigned limit);

/* The group's context, borrowed; valid until canopy_group_wait returns. NULL gives NULL. */
CANOPY_API const canopy_ctx *canopy_group_ctx(const canopy_group *group);

/*
 * Runs fn(ctx, arg) on a thread of its own, with the policy, the CPUs and the signal mask
 * of the caller's. Blocks while there are `limit` threads: a member makes room for the
 * next when its thread is gone. The first result that is not 0 cancels the group, with a
 * cause whose code is that result. fn runs also when the group is done already. 0,
 * -EINVAL on a NULL and on what is no group, -ENOMEM, -EAGAIN when no thread can be made
 * (the group is as it was), -EDEADLK from what runs as a member's thread ends (destructors
 * of thread-specific data). While another thread is in canopy_group_wait only members may
 * call it or its like below.
 */
CANOPY_API CANOPY_MUST_USE int
canopy_group_go(canopy_group *group, int (*fn)(const canopy_ctx *ctx, void *arg), void *arg);

/* canopy_group_go that never blocks: -EBUSY where there are `limit` threads. */
CANOPY_API CANOPY_MUST_USE int
canopy_group_try_go(canopy_group *group, int (*fn)(const canopy_ctx *ctx, void *arg), void *arg);

/*
 * canopy_group_go that gives up when the group is done, before it or while it blocks:
 * -ECANCELED or -ETIMEDOUT, as canopy_err says, and fn does not run. It learns of the end
 * as a callback would, on the same threads.
 */
CANOPY_API CANOPY_MUST_USE int
canopy_group_go_unless_done(canopy_group *group, int (*fn)(const canopy_ctx *ctx, void *arg),
                            void *arg);

/*
 * From a member: if its failure is the first, the group ends with `cause`, and not with
 * one that the library makes of the result. Returns the cause's code, for fn to return:
 *
 *     return canopy_group_fail(CANOPY_CAUSE(-EPROTO, "two heads"));
 *
 * It cancels nothing yet. A second one takes the first one's place; a member that then
 * returns 0 has not failed. -EINVAL on NULL, on a code of 0, and from who is no member.
 */
CANOPY_API CANOPY_MUST_USE int canopy_group_fail(const canopy_cause *cause);

/*
 * Waits for all members, joins their threads (they are gone when it returns, and what runs
 * as they end has run), ends the group's context, and gives the group's memory back. The
 * first result that was not 0, or 0. -EDEADLK from a member and -EBUSY while another
 * thread waits (the group is as it was), -EINVAL on NULL or after an earlier wait. Blocks.
 */
CANOPY_API int canopy_group_wait(canopy_group *group);

#ifdef __cplusplus
}
#endif

#endif
