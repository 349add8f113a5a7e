/*
 * heap.c - which memory a thread works on: its own under hundreds of roots, that of one
 * which is gone, and none where all it does is release.
 */
#include "harness.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ------------------------------------------------------------- many roots, one thread */

enum { ROOTS = SCALED(400, 60) };

static void open_all(struct fixture roots[], size_t step)
{
    for (size_t i = 0; i < ROOTS; i += step)
        fixture_open(&roots[i], CANOPY_CLOCK_HOST);
}

static void close_all(struct fixture roots[], size_t step)
{
    for (size_t i = 0; i < ROOTS; i += step)
        fixture_close(&roots[i]);
}

/* Under each in turn, so that no root is the last one used. */
static void work_under_all(struct fixture roots[])
{
    static canopy_ctx *made[ROOTS];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ROOTS; i++) {
            canopy_end(canopy_with_cancel(roots[i].root));
            made[i] = canopy_with_timeout(roots[i].root, HOURS(1));
            assert_non_null(made[i]);
        }
        for (size_t i = 0; i < ROOTS; i++) {
            assert_live(made[i]);
            canopy_end(made[i]);
        }
    }
}

TEST(core_a_thread_works_under_hundreds_of_roots_on_one_memory_each)
{
    static struct fixture roots[ROOTS];
    open_all(roots, 1);
    work_under_all(roots);
    static size_t bytes[ROOTS];
    for (size_t i = 0; i < ROOTS; i++)
        bytes[i] = atomic_load(&roots[i].memory.live_bytes);
    work_under_all(roots);
    for (size_t i = 0; i < ROOTS; i++)
        assert_int_equal(bytes[i], atomic_load(&roots[i].memory.live_bytes));
    close_all(roots, 1);
}

TEST(core_roots_come_and_go_among_others)
{
    static struct fixture roots[ROOTS];
    open_all(roots, 1);
    for (size_t round = 1; round < 6; round++) {
        work_under_all(roots);
        close_all(roots, round);
        open_all(roots, round);
    }
    close_all(roots, 1);
}

/* -------------------------------------------------- roots freed by others than who use them */

struct user {
    struct fixture *roots;
    struct meeting *turn;
    unsigned rounds;
};

static void use_what_is_there(void *arg)
{
    struct user *user = arg;
    for (unsigned round = 0; round < user->rounds; round++) {
        meet(user->turn); /* there are roots */
        for (size_t i = 0; i < ROOTS; i++)
            canopy_end(canopy_with_cancel(user->roots[i].root));
        meet(user->turn); /* they may go */
    }
}

TEST(core_threads_outlive_roots_that_another_one_frees)
{
    enum { USERS = 3, ROUNDS = 4 };
    static struct fixture roots[ROOTS];
    struct meeting turn = {.parties = USERS + 1};
    struct user user = {.roots = roots, .turn = &turn, .rounds = ROUNDS};
    struct thread threads[USERS];
    for (int i = 0; i < USERS; i++)
        thread_start(&threads[i], use_what_is_there, &user);
    open_all(roots, 1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        meet(&turn);
        meet(&turn);
        /* Some stay, so that those of a table go one by one; the last round's go beside the exit.
         */
        close_all(roots, round + 1);
        open_all(roots, round + 1);
    }
    for (int i = 0; i < USERS; i++)
        thread_join(&threads[i]);
    close_all(roots, 1);
}

/* In a child of a fork; a root is busy there at most where another thread was at work. */
static int work_under_all_and_free_them(struct fixture roots[], bool may_be_busy)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_TIMEOUT_S);
        work_under_all(roots);
        for (size_t i = 0; i < ROOTS; i++)
            if (canopy_root_free(roots[i].root) != 0 && !may_be_busy)
                _exit(1);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

TEST(p40_a_child_goes_on_under_many_roots_and_frees_them)
{
    if (UNDER_SANITIZER) /* ThreadSanitizer lets no thread start in such a child */
        skip();
    static struct fixture roots[ROOTS];
    open_all(roots, 1);
    work_under_all(roots);
    assert_int_equal(work_under_all_and_free_them(roots, false), 0);
    work_under_all(roots);
    close_all(roots, 1);
}

TEST(p40_a_child_goes_on_under_roots_that_another_thread_works_under)
{
    if (UNDER_SANITIZER) /* the locks of its allocator may stay locked in the child */
        skip();
    static struct fixture roots[ROOTS];
    struct meeting turn = {.parties = 2};
    struct user user = {.roots = roots, .turn = &turn, .rounds = 20};
    struct thread other;
    open_all(roots, 1);
    work_under_all(roots);
    thread_start(&other, use_what_is_there, &user);
    for (unsigned round = 0; round < user.rounds; round++) {
        meet(&turn);
        assert_int_equal(work_under_all_and_free_them(roots, true), 0);
        meet(&turn);
    }
    thread_join(&other);
    close_all(roots, 1);
}

/* -------------------------------------------------------------------- a mere release */

struct hand {
    struct fixture fixture;
    canopy_ctx *made[200];
    atomic_uint released;
    struct meeting *stay;
};

static void make_some(void *arg)
{
    struct hand *hand = arg;
    for (size_t i = 0; i < 200; i++)
        hand->made[i] = canopy_with_cancel(hand->fixture.root);
}

static void only_release(void *arg)
{
    struct hand *hand = arg;
    for (size_t i; (i = atomic_fetch_add(&hand->released, 1)) < 200;)
        canopy_end(hand->made[i]);
    meet(hand->stay);
    meet(hand->stay);
}

/* What a thread left that is gone waits for one that makes something. */
TEST(core_a_mere_release_takes_over_no_memory)
{
    enum { RELEASERS = 4 };
    struct meeting stay = {.parties = RELEASERS + 1};
    struct hand hand = {.stay = &stay};
    struct thread threads[RELEASERS], maker;
    fixture_open(&hand.fixture, CANOPY_CLOCK_HOST);
    thread_start(&maker, make_some, &hand);
    thread_join(&maker);
    size_t bytes = atomic_load(&hand.fixture.memory.live_bytes);
    for (int i = 0; i < RELEASERS; i++)
        thread_start(&threads[i], only_release, &hand);
    meet(&stay);
    size_t allocations = atomic_load(&hand.fixture.memory.allocations);
    thread_start(&maker, make_some, &hand);
    thread_join(&maker);
    assert_int_equal(atomic_load(&hand.fixture.memory.allocations), allocations);
    assert_int_equal(atomic_load(&hand.fixture.memory.live_bytes), bytes);
    meet(&stay);
    for (int i = 0; i < RELEASERS; i++)
        thread_join(&threads[i]);
    for (size_t i = 0; i < 200; i++)
        canopy_end(hand.made[i]);
    fixture_close(&hand.fixture);
}

/* --------------------------------------------------------------- what is left behind */

/* With glibc. ThreadSanitizer gives a thread up in the last, where nothing of ours may run. */
enum { ROUNDS_OF_DESTRUCTORS = SCALED(4, 2) };

/* A thread whose destructor makes a context in the last round, of which nobody is told. */
struct leaver {
    struct fixture *roots;
    unsigned rounds;
    bool works; /* also before it ends */
};

static pthread_key_t leaver_key;

static void use_two(struct fixture roots[])
{
    canopy_end(canopy_with_cancel(roots[0].root));
    canopy_end(canopy_with_cancel(roots[1].root));
}

static void leave_late(void *arg)
{
    struct leaver *leaver = arg;
    if (++leaver->rounds < ROUNDS_OF_DESTRUCTORS)
        pthread_setspecific(leaver_key, leaver);
    else
        use_two(leaver->roots);
}

static void leave(void *arg)
{
    struct leaver *leaver = arg;
    if (leaver->works)
        use_two(leaver->roots);
    pthread_setspecific(leaver_key, leaver);
}

/* Many such threads, one after the other, take no more memory than a few. */
static void check_leavers(void (*body)(void *arg), struct leaver *leaver)
{
    struct fixture roots[2];
    fixture_open(&roots[0], CANOPY_CLOCK_HOST);
    fixture_open(&roots[1], CANOPY_CLOCK_HOST);
    leaver->roots = roots;
    size_t most_bytes = 0;
    for (int i = 0; i < 60; i++) {
        struct thread thread;
        leaver->rounds = 0;
        thread_start(&thread, body, leaver);
        thread_join(&thread);
        if (i == 0) /* the kernel may know of an end a moment later than who joined */
            most_bytes = 8 * atomic_load(&roots[0].memory.live_bytes);
    }
    print_message("%zu bytes, %zu at most\n", atomic_load(&roots[0].memory.live_bytes), most_bytes);
    assert_true(atomic_load(&roots[0].memory.live_bytes) < most_bytes);
    fixture_close(&roots[0]);
    fixture_close(&roots[1]);
}

static void check_late_leavers(bool works)
{
    struct leaver leaver = {.works = works};
    canopy_end(canopy_with_cancel(canopy_background())); /* so that the library's key comes first */
    assert_int_equal(pthread_key_create(&leaver_key, leave_late), 0);
    check_leavers(leave, &leaver);
    assert_int_equal(leaver.rounds, ROUNDS_OF_DESTRUCTORS);
}

TEST(core_memory_left_in_the_last_round_of_destructors_is_taken_over)
{
    check_late_leavers(true);
}

TEST(core_memory_first_used_in_the_last_round_of_destructors_is_taken_over)
{
    check_late_leavers(false);
}

static void use_and_end(void *arg)
{
    const struct leaver *leaver = arg;
    use_two(leaver->roots);
}

TEST(core_memory_of_threads_is_taken_over_where_no_key_can_be_made)
{
    struct leaver leaver = {.works = true};
    pthread_key_t key;
    while (pthread_key_create(&key, NULL) == 0)
        ;
    check_leavers(use_and_end, &leaver);
}

/* ------------------------------------------------------- busy parents, many threads */

enum { THREADS = SCALED(1000, 100), BUSY = 150 };

struct deriver {
    const canopy_ctx *parents[2];
    canopy_ctx *kept[2];
    struct meeting *made, *seen;
};

static void derive_from_both(void *arg)
{
    struct deriver *deriver = arg;
    for (size_t i = 0; i < BUSY; i++)
        for (size_t j = 0; j < 2; j++)
            canopy_end(canopy_with_cancel(deriver->parents[j]));
    for (size_t j = 0; j < 2; j++)
        deriver->kept[j] = canopy_with_cancel(deriver->parents[j]);
    meet(deriver->made);
    meet(deriver->seen);
}

static void check_kept(const struct deriver derivers[], const canopy_ctx *ended)
{
    for (size_t i = 0; i < THREADS; i++)
        for (size_t j = 0; j < 2; j++)
            assert_true(canopy_done(derivers[i].kept[j]) == (derivers[i].parents[j] == ended));
}

TEST(core_a_thousand_threads_derive_from_two_parents_in_turn)
{
    static struct thread threads[THREADS];
    static struct deriver derivers[THREADS];
    struct meeting made = {.parties = THREADS + 1}, seen = {.parties = THREADS + 1};
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *parents[2] = {canopy_with_cancel(f.root), canopy_with_cancel(f.root)};
    for (size_t i = 0; i < THREADS; i++) {
        derivers[i] = (struct deriver){{parents[0], parents[1]}, {NULL}, &made, &seen};
        threads[i].body = derive_from_both;
        threads[i].arg = &derivers[i];
        thread_launch(&threads[i], (size_t)256 * 1024);
    }
    meet(&made);
    canopy_cancel(parents[0]);
    check_kept(derivers, parents[0]);
    meet(&seen);
    for (size_t i = 0; i < THREADS; i++)
        thread_join(&threads[i]);
    /* Nobody works any more on the memory that the other one's children lie in. */
    canopy_ctx *next = canopy_with_cancel(parents[1]);
    check_kept(derivers, parents[0]);
    canopy_cancel(parents[1]);
    assert_true(canopy_done(next));
    canopy_end(next);
    for (size_t i = 0; i < THREADS; i++) {
        assert_true(canopy_done(derivers[i].kept[1]));
        canopy_end(derivers[i].kept[0]);
        canopy_end(derivers[i].kept[1]);
    }
    canopy_end(parents[0]);
    canopy_end(parents[1]);
    fixture_close(&f);
}

struct season {
    canopy_ctx *root;
    canopy_ctx *parents[8];
    struct meeting turn;
    unsigned rounds;
};

static void work_a_season(void *arg)
{
    struct season *season = arg;
    for (unsigned round = 0; round < season->rounds; round++) {
        meet(&season->turn);
        for (size_t i = 0; i < 8 * (size_t)BUSY; i++)
            canopy_end(canopy_with_cancel(season->parents[i % 8]));
        meet(&season->turn);
    }
}

/* What a thread has under a parent goes with it, whoever ends that. */
TEST(core_busy_parents_that_another_thread_ends_leave_memory_flat)
{
    enum { WORKERS = 3, ROUNDS = SCALED(400, 60) };
    struct fixture f;
    struct thread threads[WORKERS];
    struct season season = {.turn = {.parties = WORKERS + 1}, .rounds = ROUNDS};
    size_t early_bytes = 0;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    for (int i = 0; i < WORKERS; i++)
        thread_start(&threads[i], work_a_season, &season);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < 8; i++)
            season.parents[i] = canopy_with_cancel(f.root);
        meet(&season.turn);
        meet(&season.turn);
        for (size_t i = 0; i < 8; i++)
            canopy_end(season.parents[i]);
        if (round == ROUNDS / 2)
            early_bytes = atomic_load(&f.memory.live_bytes);
    }
    for (int i = 0; i < WORKERS; i++)
        thread_join(&threads[i]);
    print_message("%zu and %zu bytes\n", early_bytes, atomic_load(&f.memory.live_bytes));
    assert_true(atomic_load(&f.memory.live_bytes) <= early_bytes + (size_t)WORKERS * 64 * 1024);
    fixture_close(&f);
}
