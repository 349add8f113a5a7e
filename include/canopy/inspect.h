/*
 * inspect.h - seeing inside a live process: which contexts there are, how old, why and
 * by whom they ended, how many and how late; and ending one of them from outside.
 *
 *     canopy_config config = {.size = sizeof config, .inspect = CANOPY_INSPECT_NOTES};
 *     canopy_ctx *root = canopy_root_new(&config);
 *     ...
 *     canopy_dump(NULL, CANOPY_FORMAT_TEXT, write_it, file);      a tree of all that is there
 *
 * Such a root keeps a note of each of its contexts: 64 bytes beside the context's 64.
 * Other roots keep none and pay nothing; of them only what is marked "any root" below is
 * told.
 *
 * The conventions are those of canopy.h. All calls may be made from any thread; none
 * stops another thread, and the caller's functions run outside of read sections and locks.
 * Times are of the root's clock: of a moment ago, or half a millisecond ahead. On a root
 * with notes causes and names must outlive the root, and each call of this header on whatever
 * thread that began while it was there: so static ones do.
 */
#ifndef CANOPY_INSPECT_H
#define CANOPY_INSPECT_H

#include <canopy/canopy.h>

#ifdef __cplusplus
extern "C" {
#endif

/* For canopy_config.inspect (a uint64_t, the struct's new last field). */
#define CANOPY_INSPECT_NOTES UINT64_C(1)

/*
 * The same for what is derived from background and todo, to be called before any thread
 * derives from them. 0; -EBUSY once something was; -ENOMEM. Never ends; a second call is 0.
 * May block briefly.
 */
CANOPY_API CANOPY_MUST_USE int canopy_inspect_background(void);

/* ------------------------------------------------------------------- one context */

/*
 * A number for the context that no other has, nor will have (see canopy_cancel_id); 0
 * where no note of it is kept. Stays while the context does. Async-signal-safe; wait-free.
 */
CANOPY_API CANOPY_NONNULL uint64_t canopy_id(const canopy_ctx *ctx);

/*
 * canopy_cancel_cause of the context with that id, which the caller need not keep. 0: this
 * call ended it; -EALREADY: it had ended, or somebody else's call came first, and all below
 * is done as well; -ESRCH: it is gone, its last handle is just being given back, or there
 * never was one; -EPERM: a value or without_cancel layer. An id whose context is gone stays
 * unknown until its place in memory has had 2^37 lives: ten minutes at least. NULL cause:
 * CANOPY_CANCELED. As where a parent ends, signals that it watches stay so until its owner
 * ends it. Callbacks run on the caller. Lock-free.
 */
CANOPY_API int canopy_cancel_id(uint64_t id, const canopy_cause *cause);

/*
 * Gives the context a name for people; not copied. NULL name: none. Does nothing where no
 * note is kept, and on NULL. Wait-free.
 */
CANOPY_API void canopy_name(canopy_ctx *ctx, const char *name);

/* What a context is. */
typedef enum canopy_kind {
    CANOPY_KIND_CANCEL = 0,        /* with_cancel, with_deadline, with_timeout, a group */
    CANOPY_KIND_ROOT = 1,          /* canopy_root_new */
    CANOPY_KIND_ANY = 2,           /* with_any, with_signals */
    CANOPY_KIND_VALUE = 3,         /* with_value */
    CANOPY_KIND_WITHOUT_CANCEL = 4 /* without_cancel */
} canopy_kind;

/*
 * What is known of a context: all of one life, not all of one moment. Where a call of canopy
 * makes or ends a context for another (a group's, a request's of wire.h) the place is in
 * canopy; so it is for canopy_end in a canopy built without optimisation, or with its debug
 * layer. Who ended a context, and its deadline, are looked for on 1,000 levels above it.
 */
typedef struct canopy_info {
    uint64_t id;          /* as canopy_id tells it */
    uint64_t parent_id;   /* 0: a root, or derived from background or todo */
    uint64_t ended_by;    /* whose cancel or deadline ended it (perhaps its own); 0: live */
    canopy_cause cause;   /* a copy; .text NULL while live */
    const char *name;     /* or NULL */
    const void *made_at;  /* where its constructor returned to */
    const void *ended_at; /* where the cancel returned to; NULL: a deadline or a signal */
    int64_t made_ns;      /* when */
    int64_t ended_ns;     /* 0: live, or not written down yet, as ended_at and ended_tid */
    int64_t deadline_ns;  /* effective; CANOPY_NEVER: none. Of a with_any's inputs only the first */
    int32_t made_tid;     /* threads, as gettid tells them */
    int32_t ended_tid;    /* 0: live */
    canopy_kind kind;     /* which constructor made it */
    int err;              /* as canopy_err: one moment with `cause` */
    uint32_t handles;     /* 0: only what is derived from it keeps it */
    uint32_t children;    /* contexts, a with_any of which it is an input among them */
    uint32_t callbacks;   /* armed ones */
    bool is_waited;       /* a thread sleeps in canopy_wait */
    bool has_fd;          /* canopy_done_fd was asked */
} canopy_info;

/*
 * Fills `info` (of `info_bytes`, so that it can grow). 0; -ESRCH, as canopy_cancel_id; -EINVAL
 * (NULL, a size that no version has had). Lock-free, but not against what changes just there.
 */
CANOPY_API int canopy_inspect(uint64_t id, canopy_info *info, size_t info_bytes);

/* ----------------------------------------------------------------- all contexts */

/* A walk over contexts with notes. Zero what is not needed. The last field is canopy's. */
typedef struct canopy_walk {
    size_t info_bytes;        /* sizeof(canopy_info), and how far apart the infos are */
    const canopy_ctx *top;    /* it and what is below it; NULL: the whole process */
    int64_t older_than_ns;    /* only what was made longer ago */
    bool live_only;           /* only what has not ended */
    uint64_t canopy_place[4]; /* where the walk is */
} canopy_walk;

/*
 * The next contexts, at most `n` (and INT_MAX): how many, 0 at the end, -EINVAL (NULL, a size
 * that no version has had, n == 0). What lives from the first call to the last is told
 * exactly once; what is made or goes meanwhile once or never. Writes to no context, takes no
 * lock. What others free meanwhile is kept for as long as it takes to look at 500 contexts.
 * In the order of memory, parents not before children. `top`, unless NULL, is kept by the caller.
 */
CANOPY_API CANOPY_MUST_USE int canopy_walk_next(canopy_walk *walk, canopy_info infos[], size_t n);

/* One place at which contexts are made that are still there. */
typedef struct canopy_leak {
    const char *name;    /* as canopy_name gave it, or NULL */
    const void *made_at; /* where the constructor returned to */
    uint64_t count;      /* how many there are */
    uint64_t done;       /* of these, ended and not released */
    int64_t oldest_ns;   /* when the oldest was made */
    uint64_t oldest_id;  /* and its id */
} canopy_leak;

/*
 * Contexts older than so much, by name and place, most first: how many places, at most n.
 * What finds no room in `leaks` is added to the last, which then has neither name nor
 * place. Age is a hint, no proof. -EINVAL (NULL leaks, n == 0).
 */
CANOPY_API int canopy_leaks(const canopy_ctx *top, int64_t older_than_ns, canopy_leak leaks[],
                            size_t n);

/* Receives output piece by piece; what it returns but 0 (a negative errno) ends it. */
typedef int (*canopy_sink_fn)(void *user, const char *bytes, size_t n);

/* How contexts are written. */
typedef enum canopy_format {
    CANOPY_FORMAT_TEXT = 1, /* a tree; takes 24 to 48 bytes of malloc's a context */
    CANOPY_FORMAT_JSON = 2, /* {"canopy":1,"now_ns":…,"contexts":[…]}, ids as strings */
    CANOPY_FORMAT_DOT = 3,  /* for graphviz: an edge from each parent */
    CANOPY_FORMAT_HTML = 4  /* a page that loads nothing: a tree, filters, a time line of ends */
} canopy_format;

/*
 * Writes what a fresh walk (NULL: everything) would tell; of `what` info_bytes and place do
 * not count. 0; -EINVAL (no such format, NULL sink); -ENOMEM (a tree); or what the sink
 * returned, after which it is not called again. It is called outside of read sections and
 * locks, some kilobytes at a time.
 */
CANOPY_API int canopy_dump(const canopy_walk *what, canopy_format format, canopy_sink_fn sink,
                           void *user);

/* --------------------------------------------------------------------- counters */

/* So many buckets tell how late deadlines fired. */
#define CANOPY_LATE_BUCKETS 24

/* What was counted under a root. Set `size` to sizeof(canopy_stats): so the struct can grow. */
typedef struct canopy_stats {
    size_t size; /* sizeof(canopy_stats) */
    /* Any root. */
    uint64_t live;         /* contexts that have memory, the root among them; without notes about */
    uint64_t memory_bytes; /* taken from the allocator */
    /* A root with notes; 0 elsewhere. made - gone == live. */
    uint64_t expired;    /* deadlines that fired */
    int64_t late_max_ns; /* the latest of them */
    /* Of these, [0] up to 1 us late, [i] up to 2^i us, the last any more. */
    uint64_t late[CANOPY_LATE_BUCKETS];
    uint64_t made;      /* contexts, the root among them */
    uint64_t gone;      /* of these */
    uint64_t born_done; /* of these, under what had ended; just then: or in `ended`, or in both */
    uint64_t cancels;   /* that ended something */
    uint64_t ended;     /* contexts that these and deadlines ended, those below included */
    uint64_t callbacks; /* that these were to run */
} canopy_stats;

/*
 * Of a root, background, or any context's root. Sums over threads that go on meanwhile, read
 * under a lock that they take seldom (canopy.h). 0; -EINVAL (NULL, `size` less than this
 * version's or above 4096).
 */
CANOPY_API int canopy_stats_read(const canopy_ctx *root, canopy_stats *stats);

/* One cause, and what ended by it. */
typedef struct canopy_cause_count {
    const canopy_cause *cause; /* NULL: all for which there was no room (31 a thread) */
    uint64_t cancels;          /* that ended something by it */
    uint64_t ended;            /* contexts that these ended */
} canopy_cause_count;

/*
 * The causes of a root with notes, those that ended most first: how many there are (perhaps
 * more than n, which may be 0). Those that groups make, which go with them, are one, of code 0.
 * -EINVAL (NULL); -ENOMEM. Takes the lock of canopy_stats_read.
 */
CANOPY_API int canopy_stats_causes(const canopy_ctx *root, canopy_cause_count counts[], size_t n);

/* ------------------------------------------------------------------------ trace */

/*
 * From now on each thread keeps its latest events of contexts with notes in a ring of so many
 * bytes: made, named, ended, gone, and callbacks that an end runs, begun and returned (not
 * those that run at once, as their context has ended already). An event is 32 bytes, of a
 * name or a cause as many again for each 24 of its text's first 96; the newest overwrite the
 * oldest. A ring is malloc's, from its thread's first event to the next start, which gives
 * those of the last trace back; of more than 1,024 threads, or where there is no memory, events
 * are counted as lost. A fork's child has no trace. 0; -EBUSY (one is on); -EINVAL (no power
 * of two from 4,096 to 2^30); -ENOMEM. May block briefly. Not in a callback of an allocator.
 */
CANOPY_API int canopy_trace_start(size_t bytes_a_thread);

/* Ends it; what the rings hold stays. 0; -EALREADY (none is on). May block briefly. */
CANOPY_API int canopy_trace_stop(void);

/*
 * Writes what the rings hold as Chrome trace JSON, which ui.perfetto.dev and
 * chrome://tracing open: each context from its birth to its release, on their threads
 * cancels, deadlines, ends and callbacks, and arrows from who ended something to that.
 * Times are CLOCK_MONOTONIC's, whatever clock the root has. Of what began before the rings do
 * the begin is theirs; what has no end yet ends with them. "otherData" says how many events
 * were lost, and how many units of 32 bytes overwritten. May be called while a trace is on, of
 * which it stops nobody; takes some six times the bytes of what is in the rings. 0; -EINVAL (NULL);
 * -ENOMEM; or what the sink returned, after which it is not called again.
 */
CANOPY_API int canopy_trace_write(canopy_sink_fn sink, void *user);
/* ------------------------------------------------------------------ from outside */

/* Allows `cancel`. */
#define CANOPY_ANSWER_CANCEL 1U

/*
 * Answers a command of the `canopy` tool, for hosts that have a port of their own: one line
 * that ends at NUL or at the line's end, of 4,096 bytes at most, its words apart by spaces.
 *
 *     help                             these, a line each
 *     top                              what a screen needs: JSON, 50 of each thing at most
 *     tree, dump text|json|dot|html    canopy_dump of everything
 *     leaks AGE [json]                 canopy_leaks; AGE: 30, 500ms, 2m (ns us ms s m h)
 *     causes [json], stats [json]      as canopy_stats_causes and _read, over all roots
 *     context ID [json]                canopy_inspect; ID: decimal, or 0x and hexadecimal
 *     cancel ID [TEXT]                 canopy_cancel_id, with a cause of that text
 *     trace start [BYTES]|stop|write   canopy_trace_*; BYTES: 262,144 unless said
 *
 * JSON is one object, with ids as strings and "canopy":1 first. TEXT, of 111 bytes at most, is
 * kept for ever; 64 different ones are, any other is "cancelled by an operator". What is
 * written when the answer is not 0 is a line that says why, for people. Any thread. As the
 * calls that the commands name: callbacks of what `cancel` ends run on the caller, the sink
 * outside of read sections and locks. 0; -EINVAL (NULL, unknown flags: nothing is written; no
 * such command); -EPERM (`cancel` without CANOPY_ANSWER_CANCEL, or of a value or without_cancel
 * layer); -ESRCH (no such context); -EALREADY (`cancel` of what has ended, `trace stop` of none);
 * -EBUSY (`trace start` beside one); -ENOMEM; or what the sink returned, after which it is not
 * called again.
 */
CANOPY_API int canopy_answer(const char *command, unsigned flags, canopy_sink_fn sink, void *user);

/* A thread that answers. Its field is canopy's. */
typedef struct canopy_listener {
    struct canopy_listener_state *canopy_state;
} canopy_listener;

/*
 * Starts a thread of the library's that answers on a Unix socket at `path` what canopy_answer
 * does with `flags`: a client sends one command and '\n', and receives the answer, then NUL, the
 * result as a decimal number, and '\n'; without these it was cut off. Only the process's own
 * user and root are answered, one at a time; who makes no progress for two seconds is let go.
 *
 * The file has mode 0600 from the first. A socket on which nobody answers any more is replaced.
 * After a fork the child has no listener; its closing one leaves the parent's alone. May be
 * called anywhere, also in callbacks; may block briefly. Callbacks of what `cancel` ends run on the
 * thread, which blocks all signals. `listener` is the caller's until it is closed, and must not be
 * open. 0; -EINVAL (NULL, empty path, unknown flags); -ENAMETOOLONG (more than 107 bytes);
 * -EADDRINUSE (somebody answers there); -EEXIST (something else is there); -ENOMEM; -EAGAIN
 * (no thread); or what socket, bind or listen say. Then nothing has changed.
 */
CANOPY_API CANOPY_MUST_USE int canopy_listen(canopy_listener *listener, const char *path,
                                             unsigned flags);

/*
 * Ends it: waits for the thread, and for a callback that a `cancel` has it run; a client that is
 * being answered is cut off. Removes the socket, unless the file is another by now. 0; -EINVAL
 * (NULL, or not open); -EDEADLK (on the listener's own thread: nothing has changed).
 */
CANOPY_API int canopy_listener_close(canopy_listener *listener);

#ifdef __cplusplus
}
#endif

#endif
