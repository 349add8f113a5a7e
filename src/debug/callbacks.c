/*
 * callbacks.c - callbacks, loops and groups in a debug build: calls in which the library
 * calls the program, with what the program gave and not with what the library was given.
 *
 * A record of which the library has an armed or running callback has a note, found by
 * the record's address. One that was ever added is told from garbage by its function,
 * which is ours, or the library's mark of a record whose callback has run.
 */
#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include <canopy/loop.h>

#include "callbacks/callback.h"
#include "debug/shadow.h"
#include "host/group.h"

CORE(after_func);
CORE(after_func_async);
CORE(callback_drop);
CORE(callback_join);
CORE(callback_stop);
CORE(done);
CORE(group_ctx);
CORE(group_fail);
CORE(group_go);
CORE(group_go_unless_done);
CORE(group_init);
CORE(group_try_go);
CORE(loop_after_func);
CORE(loop_abandon);
CORE(loop_awake);
CORE(loop_callback_drop);
CORE(loop_callback_join);
CORE(loop_callback_stop);
CORE(loop_close);
CORE(loop_fd);
CORE(loop_init);
CORE(loop_run);
CORE(loop_run_for);
CORE(loop_tell_time);
CORE(loop_timeout_ns);

struct note {
    const void *record; /* of either kind; NULL once it is dropped by its own callback */
    void (*fn)(void *arg);
    void *arg;
    struct shadow *shadow;
    bool holds; /* keeps the context in memory, unlike one that runs as it is added */
    canopy_debug_place added;
    struct note *outer; /* of a running one: what the same thread was running */
    /* Of one whose own callback has stopped it in vain: where, and the record as it was then. */
    canopy_debug_place stopped;
    canopy_callback record_then;
};

/* Under shadow_lock: a search tree (tsearch) of notes by their record's address. */
static void *notes;

static __thread struct note *innermost;

static int compare(const void *a, const void *b)
{
    const struct note *left = a, *right = b;
    uintptr_t x = (uintptr_t)left->record, y = (uintptr_t)right->record;
    return (x > y) - (x < y);
}

/* Files a note, unless there is one of that record already, or no memory: says where that was. */
static bool note_file(struct note *note, canopy_debug_place *other)
{
    pthread_mutex_lock(&shadow_lock);
    struct note *const *filed = tsearch(note, &notes, compare);
    bool is_filed = filed && *filed == note;
    if (filed && !is_filed)
        *other = (*filed)->added;
    pthread_mutex_unlock(&shadow_lock);
    return is_filed;
}

/* The note of a record, or NULL. */
static struct note *note_of(const void *record)
{
    const struct note wanted = {.record = record};
    pthread_mutex_lock(&shadow_lock);
    struct note *const *filed = tfind(&wanted, &notes, compare);
    struct note *note = filed ? *filed : NULL;
    pthread_mutex_unlock(&shadow_lock);
    return note;
}

/* Lets go of the record, and of the context. */
static void note_give_up(struct note *note)
{
    pthread_mutex_lock(&shadow_lock);
    if (note->record)
        tdelete(note, &notes, compare);
    note->record = NULL;
    pthread_mutex_unlock(&shadow_lock);
    if (note->holds)
        shadow_disarm(note->shadow);
    note->holds = false;
}

static void note_end(struct note *note)
{
    note_give_up(note);
    free(note);
}

/* The callback that runs here stops its own record, which does nothing. */
static void stop_own(canopy_callback *record, canopy_debug_place here)
{
    struct note *note = innermost;
    while (note && note->record != record)
        note = note->outer;
    if (!note)
        return;
    note->stopped = here;
    note->record_then = (canopy_callback){.canopy_fn = record->canopy_fn,
                                          .canopy_arg = record->canopy_arg,
                                          .canopy_ctx_ = record->canopy_ctx_,
                                          .canopy_slot = record->canopy_slot,
                                          .canopy_settled = 1};
}

/*
 * As such a callback returns: if its record is not as it was, its memory is not the
 * record's any more. The library then goes on with a copy.
 */
static void look_at_own(struct note *note)
{
    const canopy_callback *now = note->record;
    canopy_callback *then = &note->record_then;
    if (!now || !note->stopped.call ||
        (now->canopy_fn == then->canopy_fn && now->canopy_arg == then->canopy_arg &&
         now->canopy_ctx_ == then->canopy_ctx_ && now->canopy_slot == then->canopy_slot))
        return;
    tell((canopy_debug_report){CANOPY_DEBUG_CALLBACK_FREED, .ctx = shadow_handle(note->shadow),
                               .here = note->stopped, .made = note->added},
         "has a callback that stopped itself, which does nothing, and whose record is gone before "
         "it has returned: drop it instead");
    record_give_up(then);
}

static void leave(void *unused)
{
    (void)unused;
    struct note *note = innermost;
    look_at_own(note);
    innermost = note->outer;
    note_end(note);
}

/* What the library runs. A callback may end its thread. */
static void run(void *arg)
{
    struct note *note = arg;
    note->outer = innermost;
    innermost = note;
    pthread_cleanup_push(leave, NULL);
    note->fn(note->arg);
    pthread_cleanup_pop(1);
}

bool callback_is_running(void)
{
    return innermost != NULL;
}

bool callback_keeps_busy(const struct shadow *shadow)
{
    for (const struct note *note = innermost; note; note = note->outer)
        if (note->holds && shadow_keeps(note->shadow, shadow))
            return true;
    return false;
}

/* A record that was refused counts as added, and stop and join know how to deal with it. */
static int refuse(canopy_callback *record)
{
    int err = core_after_func(NULL, record, run, NULL);
    if (record)
        record->canopy_fn = run;
    return err;
}

/* A note of what is about to be added; NULL: no memory, or `other`, where that record is. */
static struct note *note_new(const void *record, const canopy_ctx *ctx, void (*fn)(void *arg),
                             void *arg, bool holds, canopy_debug_place *other,
                             canopy_debug_place here)
{
    struct note *note = malloc(sizeof *note);
    if (!note)
        return NULL;
    *note = (struct note){.record = record,
                          .fn = fn,
                          .arg = arg,
                          .shadow = shadow_of(ctx),
                          .holds = holds,
                          .added = here};
    if (note_file(note, other)) {
        if (holds)
            shadow_arm(note->shadow, here);
        return note;
    }
    free(note);
    return NULL;
}

/* Adds a callback, whose note is in `*note`, or NULL where the result is an error. */
static int note_add(const canopy_ctx *ctx, canopy_callback *record, struct note like,
                    struct note **note)
{
    canopy_debug_place other = {0};
    *note = note_new(record, ctx, like.fn, like.arg, like.holds, &other, like.added);
    if (*note)
        return 0;
    if (!other.call) {
        refuse(record);
        return -ENOMEM;
    }
    tell((canopy_debug_report){CANOPY_DEBUG_CALLBACK_BUSY, .ctx = ctx, .here = like.added,
                               .made = other},
         "gets a callback whose record is in use");
    return -EINVAL;
}

int canopy_after_func(const canopy_ctx *ctx, canopy_callback *record, void (*fn)(void *arg),
                      void *arg)
{
    canopy_ctx *core = record && fn ? shadow_core(ctx, HERE) : NULL;
    if (!core)
        return refuse(record);
    struct note *note;
    int err = note_add(
        ctx, record, (struct note){.fn = fn, .arg = arg, .holds = !core_done(core), .added = HERE},
        &note);
    if (err)
        return err;
    err = core_after_func(core, record, run, note);
    if (err)
        note_end(note);
    return err;
}

int canopy_after_func_async(const canopy_ctx *ctx, canopy_callback *record, void (*fn)(void *arg),
                            void *arg)
{
    canopy_ctx *core = record && fn ? shadow_core(ctx, HERE) : NULL;
    if (!core)
        return refuse(record);
    struct note *note;
    int err = note_add(ctx, record,
                       (struct note){.fn = fn, .arg = arg, .holds = true, .added = HERE}, &note);
    if (err)
        return err;
    err = core_after_func_async(core, record, run, note);
    if (err) {
        note_end(note);
        refuse(record);
    }
    return err;
}

/*
 * Whether it was ever added; tells if not. As long as there is a note the library may
 * be writing to the record; it has done so before the note goes.
 */
static bool was_added(const canopy_callback *record, struct note **note, canopy_debug_place here)
{
    *note = note_of(record);
    if (*note || record->canopy_fn == run || record->canopy_fn == record_mark_running)
        return true;
    tell((canopy_debug_report){CANOPY_DEBUG_CALLBACK_NOT_ADDED, .here = here},
         "a callback was never added");
    return false;
}

/* What is stopped gives its context back, whose destructors may end the thread. */
static void stopped(void *note)
{
    if (note) /* there is none of a record that is not armed */
        note_end(note);
}

/* The rest of a function that stops a record, if it still can. */
#define END_IF_STOPPED(note, stop)                                                                 \
    bool is_stopped;                                                                               \
    pthread_cleanup_push(stopped, (note));                                                         \
    is_stopped = (stop);                                                                           \
    pthread_cleanup_pop(is_stopped)

bool canopy_callback_stop(canopy_callback *record)
{
    struct note *note;
    if (!record || !was_added(record, &note, HERE))
        return false;
    END_IF_STOPPED(note, core_callback_stop(record));
    if (!is_stopped)
        stop_own(record, HERE);
    return is_stopped;
}

/* The callback that runs here and drops its own record goes on without it. */
static void drop_own(const void *record)
{
    for (struct note *note = innermost; note; note = note->outer)
        if (note->record == record)
            note_give_up(note);
}

bool canopy_callback_drop(canopy_callback *record)
{
    struct note *note;
    if (!record || !was_added(record, &note, HERE))
        return false;
    drop_own(record);
    END_IF_STOPPED(note, core_callback_drop(record));
    return is_stopped;
}

int canopy_callback_join(canopy_callback *record)
{
    struct note *note;
    if (record && !was_added(record, &note, HERE))
        return 0;
    return core_callback_join(record);
}

/* -------------------------------------------------------------------------- loops */

int canopy_loop_init(canopy_loop *loop, canopy_ctx *root)
{
    canopy_ctx *core = shadow_core(root, HERE);
    return root && !core ? -EINVAL : core_loop_init(loop, core);
}

int canopy_loop_close(canopy_loop *loop)
{
    return core_loop_close(loop);
}

int canopy_loop_abandon(canopy_loop *loop)
{
    return core_loop_abandon(loop);
}

int canopy_loop_fd(const canopy_loop *loop)
{
    return core_loop_fd(loop);
}

int64_t canopy_loop_timeout_ns(canopy_loop *loop, int64_t now_ns)
{
    return core_loop_timeout_ns(loop, now_ns);
}

int canopy_loop_run(canopy_loop *loop, int64_t now_ns)
{
    return core_loop_run(loop, now_ns);
}

int canopy_loop_run_for(canopy_loop *loop, int64_t now_ns, int64_t most_ns)
{
    return core_loop_run_for(loop, now_ns, most_ns);
}

int canopy_loop_awake(canopy_loop *loop)
{
    return core_loop_awake(loop);
}

int canopy_loop_tell_time(canopy_loop *loop, int64_t now_ns)
{
    return core_loop_tell_time(loop, now_ns);
}

/* A callback that has run has no note: its loop was abandoned, and let go of it without a call. */
static void end_if_left(canopy_loop_callback *record)
{
    uint32_t state = u32_load_acquire(record_state(&record->canopy_record)); /* R0: pairs with R2 */
    struct note *note = (state & RECORD_PHASE) == RECORD_DONE ? note_of(record) : NULL;
    if (note)
        note_end(note);
}

int canopy_loop_after_func(const canopy_ctx *ctx, canopy_loop *loop, canopy_loop_callback *record,
                           void (*fn)(void *arg), void *arg)
{
    canopy_ctx *core = record && fn ? shadow_core(ctx, HERE) : NULL;
    if (!core)
        return -EINVAL;
    canopy_debug_place other = {0};
    end_if_left(record);
    struct note *note = note_new(record, ctx, fn, arg, true, &other, HERE);
    if (!note)
        return other.call ? -EBUSY : -ENOMEM;
    int err = core_loop_after_func(core, loop, record, run, note);
    if (err)
        note_end(note);
    return err;
}

/* A loop's record that was never added is zeroed; tells of one that is neither. */
static bool is_loops(const canopy_loop_callback *record, canopy_debug_place here)
{
    if (!record->canopy_fn || record->canopy_fn == run)
        return true;
    tell((canopy_debug_report){CANOPY_DEBUG_CALLBACK_NOT_ADDED, .here = here},
         "a loop's callback was never added, nor is its record zeroed");
    return false;
}

bool canopy_loop_callback_stop(canopy_loop_callback *record)
{
    if (!record || !is_loops(record, HERE))
        return false;
    END_IF_STOPPED(record->canopy_arg, core_loop_callback_stop(record));
    if (!is_stopped) {
        end_if_left(record);
        stop_own(&record->canopy_record, HERE);
    }
    return is_stopped;
}

bool canopy_loop_callback_drop(canopy_loop_callback *record)
{
    if (!record || !is_loops(record, HERE))
        return false;
    drop_own(record);
    END_IF_STOPPED(record->canopy_arg, core_loop_callback_drop(record));
    if (!is_stopped)
        end_if_left(record);
    return is_stopped;
}

int canopy_loop_callback_join(canopy_loop_callback *record)
{
    if (record && !is_loops(record, HERE))
        return 0;
    int err = core_loop_callback_join(record);
    if (!err)
        end_if_left(record);
    return err;
}

/* ------------------------------------------------------------------------- groups */

int canopy_group_init(canopy_group *group, const canopy_ctx *parent, unsigned limit)
{
    struct shadow *shadow = group ? shadow_new(parent, HERE) : NULL;
    if (!shadow)
        return group && errno == ENOMEM ? -ENOMEM : -EINVAL;
    int err = core_group_init(group, shadow->parent->core, limit);
    canopy_ctx *ctx = shadow_born(shadow, err ? NULL : group->canopy_ctx_);
    if (!err)
        group->canopy_ctx_ = ctx;
    return err;
}

const canopy_ctx *canopy_group_ctx(const canopy_group *group)
{
    return core_group_ctx(group);
}

struct member {
    int (*fn)(const canopy_ctx *ctx, void *arg);
    void *arg;
    const canopy_ctx *ctx;
};

static int member_run(const canopy_ctx *core, void *arg)
{
    (void)core;
    struct member member = *(struct member *)arg;
    free(arg);
    return member.fn(member.ctx, member.arg);
}

typedef int (*member_fn)(const canopy_ctx *ctx, void *arg);
typedef int (*group_go)(canopy_group *group, member_fn fn, void *arg);

static int go(group_go core_go, canopy_group *group, member_fn fn, void *arg)
{
    struct member *member = group && fn ? malloc(sizeof *member) : NULL;
    if (!member)
        return group && fn ? -ENOMEM : -EINVAL;
    *member = (struct member){fn, arg, core_group_ctx(group)};
    int err = core_go(group, member_run, member);
    if (err)
        free(member);
    return err;
}

int canopy_group_go(canopy_group *group, member_fn fn, void *arg)
{
    return go(core_group_go, group, fn, arg);
}

int canopy_group_go_unless_done(canopy_group *group, member_fn fn, void *arg)
{
    return go(core_group_go_unless_done, group, fn, arg);
}

int canopy_group_try_go(canopy_group *group, member_fn fn, void *arg)
{
    return go(core_group_try_go, group, fn, arg);
}

int canopy_group_fail(const canopy_cause *cause)
{
    return core_group_fail(cause);
}

/* The group's own handle; also where a callback ends the thread that waits. */
static void group_ended(void *ctx)
{
    shadow_release(ctx, (canopy_debug_place){.call = "canopy_group_wait"});
}

int canopy_group_wait(canopy_group *group)
{
    canopy_ctx *ctx = (canopy_ctx *)(uintptr_t)core_group_ctx(group);
    bool has_ended;
    int result;
    pthread_cleanup_push(group_ended, ctx);
    result = group_wait(group, &has_ended);
    pthread_cleanup_pop(0);
    if (has_ended)
        shadow_release(ctx, HERE);
    return result;
}
