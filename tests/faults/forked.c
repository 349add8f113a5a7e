/*
 * forked.c - promise 40 at its worst: forks at random moments of many threads at
 * work, and wherever canopy calls code of its user. Each child uses everything
 * anew; the parent goes on as if nothing had been.
 */
#include "scene.h"

#include <canopy/inspect.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int use_everything(void *unused)
{
    sigset_t none;
    (void)unused;
    /* A child has the mask of the thread that forked, and the library's threads block everything.
     */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    scene_play_unrefused();
    return 0;
}

/* ---------------------------------------------------------------------- at work */

enum { workers = 3, forks = SCALED(60, 15), kept = 24 };

struct work {
    struct fixture fixture;
    const canopy_ctx *branch; /* everybody's parent */
    atomic_bool over;
    atomic_ullong steps;
};

static const canopy_key tally = {"tally", count_call};

/* Small trees, made and ended in every order, with all that can hang on them. */
static void work_step(struct work *work, uint64_t *seed)
{
    canopy_ctx *made[kept];
    canopy_callback callback;
    size_t order[kept], count = 0;
    atomic_uint runs = 0, destroyed = 0;
    unsigned bound = 0;
    const canopy_ctx *parent = work->branch;
    while (count < kept) {
        uint64_t random = random_next(seed);
        canopy_ctx *ctx;
        switch (random % 6) {
        case 0:
            ctx = canopy_with_timeout(parent, MICROSECONDS(random >> 40 & 511));
            break;
        case 1:
            ctx = canopy_with_value(parent, &tally, &destroyed);
            bound++;
            break;
        case 2:
            ctx = any2(work->branch, parent);
            break;
        default:
            ctx = canopy_with_cancel(parent);
        }
        assert_non_null(ctx);
        made[count++] = ctx;
        parent = random >> 20 & 1 ? ctx : work->branch;
    }
    canopy_ctx *last = made[count - 1];
    assert_int_equal(canopy_after_func(last, &callback, count_call, &runs), 0);
    if (random_next(seed) % 4 == 0)
        assert_true(canopy_done_fd(last) >= 0);
    random_order(seed, order, count);
    for (size_t i = 0; i < count; i++)
        if (order[i] != count - 1)
            canopy_end(made[order[i]]);
    bool stopped = canopy_callback_stop(&callback);
    assert_int_equal(canopy_callback_join(&callback), 0);
    assert_int_equal(atomic_load(&runs), !stopped);
    canopy_end(last);
    assert_true(eventually(atomic_load(&destroyed) == bound, SOON));
    atomic_fetch_add(&work->steps, 1);
}

static void work_on(void *arg)
{
    struct work *work = arg;
    uint64_t seed = (uint64_t)now_ns();
    while (!atomic_load(&work->over))
        work_step(work, &seed);
}

/* What is inherited may be in any state, but what was seen done stays so, and may be released. */
static int use_inherited(void *arg)
{
    struct work *work = arg;
    uint64_t seed = 40;
    int err = canopy_err(work->branch);
    assert_int_equal(err, 0);
    struct work own = {.branch = NULL};
    canopy_ctx *branch = canopy_with_cancel(canopy_background());
    assert_non_null(branch);
    own.branch = branch;
    work_step(&own, &seed);
    canopy_end(branch);
    canopy_release(work->branch);
    return use_everything(NULL);
}

TEST(fork_at_random_moments_of_threads_at_work)
{
    struct work work = {.branch = NULL};
    struct thread threads[workers];
    uint64_t seed = (uint64_t)now_ns();
    fixture_open(&work.fixture, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *branch = canopy_with_cancel(work.fixture.root);
    assert_non_null(branch);
    work.branch = branch;
    for (unsigned i = 0; i < workers; i++)
        thread_start(&threads[i], work_on, &work);
    for (unsigned i = 0; i < forks; i++) {
        pause_ns(MICROSECONDS(random_next(&seed) % 3000));
        assert_int_equal(in_child(use_inherited, &work), 0);
    }
    unsigned long long before = atomic_load(&work.steps);
    assert_true(eventually(atomic_load(&work.steps) > before + workers, SOON));
    atomic_store(&work.over, true);
    for (unsigned i = 0; i < workers; i++)
        thread_join(&threads[i]);
    canopy_end(branch);
    fixture_close(&work.fixture);
}

/* ------------------------------------------------------------- in code of the user */

struct forker {
    pid_t parent;
    atomic_int result; /* of the child: 0 when it could use everything */
    atomic_uint runs;
};

/* The child uses everything where it is, and goes no further. */
static void fork_here(void *arg)
{
    struct forker *forker = arg;
    if (getpid() == forker->parent) {
        atomic_store(&forker->result, in_child(use_everything, NULL));
        count_call(&forker->runs);
    }
}

static struct forker forker_new(void)
{
    return (struct forker){.parent = getpid(), .result = -1};
}

static void assert_forked(struct forker *forker)
{
    assert_true(eventually(atomic_load(&forker->runs) == 1, SOON));
    assert_int_equal(atomic_load(&forker->result), 0);
}

static const canopy_key forking = {"forking", fork_here};

TEST(fork_in_a_callback)
{
    struct forker in_cancel = forker_new(), at_expiry = forker_new(), at_once = forker_new();
    canopy_callback callbacks[3];
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_cancel(fixture.root);
    canopy_ctx *timed = canopy_with_timeout(fixture.root, MILLISECONDS(5));
    assert_non_null(timed);
    assert_int_equal(canopy_after_func(ctx, &callbacks[0], fork_here, &in_cancel), 0);
    assert_int_equal(canopy_after_func(timed, &callbacks[1], fork_here, &at_expiry), 0);
    assert_true(canopy_cancel(ctx));
    assert_int_equal(canopy_after_func(ctx, &callbacks[2], fork_here, &at_once), 0);
    assert_forked(&in_cancel);
    assert_forked(&at_once);
    assert_forked(&at_expiry);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(canopy_callback_join(&callbacks[i]), 0);
    canopy_end(timed);
    canopy_end(ctx);
    fixture_close(&fixture);
}

TEST(fork_in_a_destructor)
{
    struct forker forker = forker_new();
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *value = canopy_with_value(fixture.root, &forking, &forker);
    assert_non_null(value);
    canopy_end(value);
    assert_forked(&forker);
    fixture_close(&fixture);
}

static int member_forks(const canopy_ctx *ctx, void *arg)
{
    assert_int_equal(canopy_err(ctx), 0);
    fork_here(arg);
    return 0;
}

TEST(fork_in_a_group_member)
{
    struct forker forker = forker_new();
    struct fixture fixture;
    canopy_group group;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    assert_int_equal(canopy_group_init(&group, fixture.root, 1), 0);
    assert_int_equal(canopy_group_go(&group, member_forks, &forker), 0);
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_forked(&forker);
    fixture_close(&fixture);
}

/* No lock of the library's is held over a hook, so a fork there finds none. */
static void *allocate_and_fork(void *user, size_t align_bytes, size_t size_bytes)
{
    void *memory = NULL;
    fork_here(user);
    return posix_memalign(&memory, align_bytes, size_bytes) == 0 ? memory : NULL;
}

static void release_and_fork(void *user, void *memory, size_t align_bytes, size_t size_bytes)
{
    (void)align_bytes;
    (void)size_bytes;
    fork_here(user);
    free(memory);
}

TEST(fork_in_each_allocation_and_release)
{
    enum { some = 200 };
    struct forker forker = forker_new();
    canopy_config config = {.size = sizeof config,
                            .allocate = allocate_and_fork,
                            .release = release_and_fork,
                            .user = &forker};
    canopy_ctx *made[some];
    canopy_ctx *root = canopy_root_new(&config);
    assert_non_null(root);
    for (unsigned i = 0; i < some; i++) {
        made[i] = canopy_with_cancel(root);
        assert_non_null(made[i]);
    }
    for (unsigned i = 0; i < some; i++)
        canopy_end(made[i]);
    root_close(root);
    assert_true(atomic_load(&forker.runs) > 4);
    assert_int_equal(atomic_load(&forker.result), 0);
}

/* The number of the slab that a context with a note lies in, of its id. */
static uint64_t slab_number(const canopy_ctx *ctx)
{
    return canopy_id(ctx) >> 9 & ((1U << 18) - 1);
}

static canopy_ctx *noted_root(void)
{
    canopy_config config = {.size = sizeof config, .inspect = CANOPY_INSPECT_NOTES};
    canopy_ctx *root = canopy_root_new(&config);
    assert_non_null(root);
    return root;
}

/* Makes as many as need that many slabs, and ends them: the highest number that there was. */
static uint64_t fill_slabs(canopy_ctx *root)
{
    enum { many = 10000 };
    static canopy_ctx *made[many];
    uint64_t highest = 0;
    for (size_t i = 0; i < many; i++) {
        made[i] = canopy_with_cancel(root);
        assert_non_null(made[i]);
        uint64_t number = slab_number(made[i]);
        highest = number > highest ? number : highest;
    }
    for (size_t i = 0; i < many; i++)
        canopy_end(made[i]);
    return highest;
}

static int fill_in_child(void *highest)
{
    fault_let_go(FAULT_RECLAIMER); /* the child's own */
    canopy_ctx *root = noted_root();
    /* One slab or two of those are in use still by what was inherited. */
    uint64_t here = fill_slabs(root);
    assert_true(here <= *(uint64_t *)highest + 8);
    root_close(root);
    return 0;
}

/* What the parent had retired is nobody's in the child, and its numbers are free there. */
TEST(fork_while_slabs_with_notes_are_retired)
{
    canopy_ctx *root = noted_root();
    fill_slabs(root); /* and the reclaimer is there */
    fault_hold(FAULT_RECLAIMER);
    uint64_t highest = fill_slabs(root);
    int result = in_child(fill_in_child, &highest);
    fault_let_go(FAULT_RECLAIMER);
    assert_int_equal(result, 0);
    root_close(root);
}
