/*
 * inspect.c - what a root that keeps notes tells of one context, and its end by its id.
 */
#include "inspected.h"

#include <sys/wait.h>

static void count_run(void *arg)
{
    ++*(unsigned *)arg;
}

static const canopy_cause stopped = {.code = -EINTR, .text = "stopped"};
static const canopy_key key = {.name = "key"};

TEST(inspect_tells_what_a_context_is)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *a = canopy_with_timeout(f.root, 1000);
    canopy_ctx *b = canopy_with_value(a, &key, NULL);
    canopy_ctx *c = canopy_without_cancel(b);
    canopy_info root = info_of(f.root), of_a = info_of(a), of_b = info_of(b), of_c = info_of(c);
    assert_int_equal(root.kind, CANOPY_KIND_ROOT);
    assert_int_equal(of_a.kind, CANOPY_KIND_CANCEL);
    assert_int_equal(of_b.kind, CANOPY_KIND_VALUE);
    assert_int_equal(of_c.kind, CANOPY_KIND_WITHOUT_CANCEL);
    assert_int_equal(root.parent_id, 0);
    assert_int_equal(of_a.parent_id, canopy_id(f.root));
    assert_int_equal(of_b.parent_id, canopy_id(a));
    assert_int_equal(of_c.parent_id, canopy_id(b));
    assert_int_equal(of_a.made_tid, gettid());
    assert_int_equal(root.children, 1);
    assert_int_equal(of_c.children, 0);
    assert_int_equal(of_a.handles, 1);
    assert_true(of_a.deadline_ns == 1000 && of_b.deadline_ns == 1000);
    assert_true(of_c.deadline_ns == CANOPY_NEVER && root.deadline_ns == CANOPY_NEVER);
    assert_int_equal(of_a.err, 0);
    assert_null(of_a.cause.text);
    assert_int_equal(of_a.ended_by, 0);
    canopy_release(a);
    assert_int_equal(info_of(b).parent_id, of_a.id);
    assert_int_equal(canopy_inspect(of_a.id, &of_a, sizeof of_a), 0);
    assert_int_equal(of_a.handles, 0);
    canopy_end(c);
    canopy_end(b);
    assert_int_equal(canopy_inspect(of_a.id, &of_a, sizeof of_a), -ESRCH);
    fixture_close(&f);
}

TEST(inspect_tells_callbacks_fds_waiters_and_names)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_cancel(f.root);
    canopy_callback callback = {0};
    unsigned runs = 0;
    assert_int_equal(canopy_after_func(ctx, &callback, count_run, &runs), 0);
    canopy_name(ctx, "a request");
    canopy_info info = info_of(ctx);
    assert_int_equal(info.callbacks, 1);
    assert_int_equal(info.children, 0);
    assert_false(info.has_fd || info.is_waited);
    assert_string_equal(info.name, "a request");
    assert_true(canopy_done_fd(ctx) >= 0);
    assert_true(info_of(ctx).has_fd);
    canopy_name(ctx, NULL);
    assert_null(info_of(ctx).name);
    assert_true(canopy_cancel(ctx));
    assert_int_equal(runs, 1);
    assert_int_equal(info_of(ctx).callbacks, 0);
    canopy_release(ctx);
    fixture_close(&f);
}

/* ------------------------------------------------------------------------ who */

TEST(inspect_tells_who_ended_what_is_below)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *a = canopy_with_cancel(f.root);
    canopy_ctx *b = canopy_with_value(canopy_retain(a), &key, NULL);
    canopy_ctx *c = canopy_with_timeout(b, HOURS(1));
    assert_true(canopy_cancel_cause(a, &stopped));
    canopy_ctx *born = canopy_with_cancel(c);
    canopy_ctx *all[] = {a, b, c, born};
    canopy_info first = info_of(a);
    assert_int_equal(first.ended_tid, gettid());
    assert_true(first.ended_ns >= first.made_ns);
    for (size_t i = 0; i < 4; i++) {
        canopy_info info = info_of(all[i]);
        assert_int_equal(info.err, -ECANCELED);
        assert_string_equal(info.cause.text, "stopped");
        assert_int_equal(info.ended_by, canopy_id(a));
        assert_int_equal(info.ended_tid, gettid());
        assert_true(info.ended_ns == first.ended_ns);
        assert_ptr_equal(info.ended_at, first.ended_at);
        assert_int_equal(info.is_waited, false);
    }
    assert_int_equal(info_of(f.root).ended_by, 0);
    for (size_t i = 4; i-- > 0;)
        canopy_release(all[i]);
    canopy_release(a);
    fixture_close(&f);
}

static canopy_ctx *__attribute__((noinline)) made_here(const canopy_ctx *parent)
{
    canopy_ctx *ctx = canopy_with_cancel(parent);
    assert_non_null(ctx); /* so that this returns to here */
    return ctx;
}

static void __attribute__((noinline)) ended_here(canopy_ctx *ctx)
{
    assert_true(canopy_cancel(ctx));
}

static bool is_near(const void *place, const void *function)
{
    return (uintptr_t)place - (uintptr_t)function < 256;
}

TEST(inspect_tells_the_places_of_calls)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *volatile ctx = made_here(f.root);
    canopy_ctx *other = canopy_with_cancel(f.root);
    ended_here(ctx);
    canopy_info info = info_of(ctx);
    assert_ptr_not_equal(info.made_at, info_of(other).made_at);
    assert_true(is_near(info.made_at, (const void *)(uintptr_t)made_here));
    assert_true(is_near(info.ended_at, (const void *)(uintptr_t)ended_here));
    canopy_end(other);
    canopy_end(ctx);
    fixture_close(&f);
}

TEST(inspect_of_a_deadline_tells_its_owner_and_no_place)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *a = canopy_with_timeout_cause(f.root, 1000, &stopped);
    canopy_ctx *b = canopy_with_timeout(a, 2000);
    assert_int_equal(canopy_root_advance(f.root, 5000, NULL), 0);
    canopy_info info = info_of(b);
    assert_int_equal(info.err, -ETIMEDOUT);
    assert_int_equal(info.ended_by, canopy_id(a));
    assert_null(info.ended_at);
    assert_true(info.ended_ns == 5000);
    assert_true(info.deadline_ns == 1000);
    assert_string_equal(info.cause.text, "stopped");
    canopy_end(b);
    canopy_end(a);
    fixture_close(&f);
}

TEST(inspect_of_a_with_any_tells_the_input_that_ended_it)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *a = canopy_with_cancel(f.root), *b = canopy_with_cancel(f.root);
    canopy_ctx *below = canopy_with_value(b, &key, NULL);
    canopy_ctx *any = canopy_with_any((const canopy_ctx *[]){a, below}, 2);
    canopy_ctx *child = canopy_with_cancel(any);
    assert_int_equal(info_of(any).kind, CANOPY_KIND_ANY);
    assert_int_equal(info_of(any).parent_id, canopy_id(a));
    assert_true(canopy_cancel_cause(b, &stopped));
    assert_int_equal(info_of(any).ended_by, canopy_id(b));
    assert_int_equal(info_of(child).ended_by, canopy_id(b));
    canopy_ctx *born = canopy_with_any((const canopy_ctx *[]){a, b}, 2);
    assert_int_equal(info_of(born).ended_by, canopy_id(b));
    canopy_end(born);
    canopy_end(child);
    canopy_end(any);
    any = canopy_with_any((const canopy_ctx *[]){a, a}, 2);
    assert_true(canopy_cancel(any));
    assert_int_equal(info_of(any).ended_by, canopy_id(any));
    canopy_end(any);
    canopy_end(below);
    canopy_end(a);
    canopy_end(b);
    fixture_close(&f);
}

/* ----------------------------------------------------------------------- by id */

TEST(inspect_cancel_id_ends_a_context_once)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_cancel(f.root), *child = canopy_with_cancel(ctx);
    canopy_callback callback = {0};
    unsigned runs = 0;
    assert_int_equal(canopy_after_func(child, &callback, count_run, &runs), 0);
    uint64_t id = canopy_id(ctx);
    assert_int_equal(canopy_cancel_id(id, &stopped), 0);
    assert_int_equal(runs, 1);
    assert_ended(ctx, -ECANCELED, &stopped);
    assert_ended(child, -ECANCELED, &stopped);
    assert_int_equal(info_of(child).ended_by, id);
    assert_non_null(info_of(child).ended_at);
    assert_int_equal(canopy_cancel_id(id, NULL), -EALREADY);
    assert_int_equal(canopy_cancel_id(canopy_id(child), NULL), -EALREADY);
    canopy_release(child);
    canopy_release(ctx);
    assert_int_equal(canopy_cancel_id(id, NULL), -ESRCH);
    fixture_close(&f);
}

TEST(inspect_cancel_id_of_layers_is_refused)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *value = canopy_with_value(f.root, &key, NULL);
    canopy_ctx *detached = canopy_without_cancel(f.root);
    assert_int_equal(canopy_cancel_id(canopy_id(value), NULL), -EPERM);
    assert_int_equal(canopy_cancel_id(canopy_id(detached), NULL), -EPERM);
    assert_live(value);
    canopy_end(value);
    canopy_end(detached);
    assert_int_equal(canopy_cancel_id(canopy_id(f.root), &stopped), 0);
    assert_ended(f.root, -ECANCELED, &stopped);
    fixture_close(&f);
}

TEST(inspect_cancel_id_of_all_shapes)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *all[300];
    for (size_t i = 0; i < 300; i++) /* in slot0, a line, blocks, and these owned */
        all[i] = canopy_with_cancel(f.root);
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(canopy_cancel_id(canopy_id(all[i]), &stopped), 0);
    for (size_t i = 0; i < 300; i++) {
        assert_ended(all[i], -ECANCELED, &stopped);
        canopy_end(all[i]);
    }
    canopy_ctx *any = canopy_with_any((const canopy_ctx *[]){f.root}, 1);
    assert_int_equal(canopy_cancel_id(canopy_id(any), NULL), 0);
    assert_ended(any, -ECANCELED, CANOPY_CANCELED);
    canopy_end(any);
    fixture_close(&f);
}

TEST(inspect_ids_that_are_none_are_answered)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_cancel(f.root);
    uint64_t id = canopy_id(ctx);
    canopy_info info;
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t forged = id ^ (UINT64_C(1) << bit);
        if (forged == canopy_id(f.root))
            continue;
        assert_int_equal(canopy_inspect(forged, &info, sizeof info), -ESRCH);
        assert_int_equal(canopy_cancel_id(forged, NULL), -ESRCH);
    }
    assert_int_equal(canopy_cancel_id(0, NULL), -ESRCH);
    assert_int_equal(canopy_cancel_id(UINT64_MAX, NULL), -ESRCH);
    assert_int_equal(canopy_inspect(id, NULL, sizeof info), -EINVAL);
    assert_int_equal(canopy_inspect(id, &info, sizeof info - 1), -EINVAL);
    assert_int_equal(canopy_inspect(id, &info, 4097), -EINVAL);
    assert_live(ctx);
    canopy_end(ctx);
    fixture_close(&f);
}

TEST(inspect_an_id_does_not_come_back)
{
    const unsigned lives = UNDER_SANITIZER ? 100000 : 10000000;
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_cancel(f.root);
    uint64_t id = canopy_id(ctx);
    assert_int_equal(canopy_cancel_id(id, NULL), 0);
    canopy_release(ctx);
    for (unsigned i = 0; i < lives; i++) {
        ctx = canopy_with_cancel(f.root);
        if (canopy_id(ctx) == id)
            fail();
        canopy_end(ctx);
    }
    assert_int_equal(canopy_cancel_id(id, NULL), -ESRCH);
    fixture_close(&f);
    /* Nor with the number of its slab, for the next root. */
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    for (unsigned i = 0; i < 1000; i++) {
        ctx = canopy_with_cancel(f.root);
        assert_int_not_equal(canopy_id(ctx), id);
        canopy_end(ctx);
    }
    assert_int_equal(canopy_cancel_id(id, NULL), -ESRCH);
    fixture_close(&f);
}

/* --------------------------------------------------------------------- without */

/* What a child ends that it has inherited has no note of that: so no place either. */
TEST(inspect_in_a_child_tells_of_what_it_inherited)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *a = canopy_with_cancel(f.root), *b = canopy_with_cancel(f.root);
    const canopy_ctx *inputs[] = {a, b};
    canopy_ctx *any = canopy_with_any(inputs, 2), *below = canopy_with_cancel(any);
    int status;
    pid_t child = fork();
    if (child == 0) {
        canopy_info info;
        bool won = canopy_cancel_cause(any, &stopped);
        bool is_told = canopy_inspect(canopy_id(below), &info, sizeof info) == 0;
        _exit(won && is_told && info.cause.text == stopped.text && info.ended_by && !info.ended_at
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    canopy_end(below);
    canopy_end(any);
    canopy_end(b);
    canopy_end(a);
    fixture_close(&f);
}

TEST(inspect_a_root_without_notes_has_no_ids)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_cancel(f.root);
    assert_int_equal(canopy_id(ctx), 0);
    assert_int_equal(canopy_id(f.root), 0);
    assert_int_equal(canopy_id(canopy_background()), 0);
    canopy_name(ctx, "nobody");
    canopy_name(NULL, "nobody");
    canopy_end(ctx);
    fixture_close(&f);
}

TEST(inspect_background_keeps_notes_if_it_is_asked_early)
{
    canopy_info info;
    assert_int_equal(canopy_inspect_background(), 0);
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    assert_int_equal(canopy_inspect(canopy_id(ctx), &info, sizeof info), 0);
    assert_int_equal(info.parent_id, 0);
    assert_int_equal(canopy_cancel_id(info.id, &stopped), 0);
    assert_ended(ctx, -ECANCELED, &stopped);
    assert_int_equal(canopy_inspect_background(), 0);
    canopy_end(ctx);
    assert_int_equal(canopy_inspect(info.id, &info, sizeof info), -ESRCH);
    assert_int_equal(canopy_id(canopy_background()), 0);
}

TEST(inspect_background_that_is_in_use_keeps_no_notes)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    assert_int_equal(canopy_inspect_background(), -EBUSY);
    assert_int_equal(canopy_id(ctx), 0);
    canopy_end(ctx);
}

/* What was inherited has none, nor counters behind its heaps. */
TEST(inspect_background_that_was_in_use_before_a_fork_keeps_no_notes)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(canopy_inspect_background() == -EBUSY ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    canopy_end(ctx);
}

TEST(inspect_a_root_with_notes_where_there_is_no_memory)
{
    for (size_t allowed = 0; allowed < 12; allowed++) {
        struct memory memory = {0};
        canopy_config config = memory_config(&memory);
        config.inspect = CANOPY_INSPECT_NOTES;
        atomic_store(&memory.fail_from, allowed + 1);
        canopy_ctx *root = canopy_root_new(&config);
        canopy_ctx *ctx = root ? canopy_with_cancel(root) : NULL;
        if (!ctx)
            assert_int_equal(errno, ENOMEM);
        atomic_store(&memory.fail_from, 0);
        if (root && !ctx)
            ctx = canopy_with_cancel(root);
        if (root) {
            assert_int_not_equal(canopy_id(ctx), 0);
            canopy_end(ctx);
            assert_true(eventually(canopy_root_free(root) == 0, SOON));
        }
        assert_int_equal(atomic_load(&memory.live_bytes), 0);
    }
}
