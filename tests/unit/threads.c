/*
 * threads.c - the library and the threads of its host: the clock's own thread,
 * threads that come and go, contexts that change hands between threads.
 */
#include "harness.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <canopy/loop.h>

static const canopy_key key = {.name = "key"};

#define LIBRARY_THREADS "canopy-"
#define CLOCK_THREAD    "canopy-clock"

/* ---------------------------------------------------------- the clock's thread */

static void use_without_deadlines(void)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    canopy_ctx *value = canopy_with_value(ctx, &key, NULL);
    canopy_ctx *never = canopy_with_deadline(value, CANOPY_NEVER);
    assert_false(canopy_wait(never, now_ns() + MILLISECONDS(2)));
    assert_true(canopy_cancel(ctx));
    canopy_release(never);
    canopy_release(value);
    canopy_release(ctx);
}

TEST(core_clock_thread_starts_with_the_first_deadline)
{
    use_without_deadlines();
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST); /* a clock that needs no thread */
    canopy_end(canopy_with_timeout(f.root, HOURS(1)));
    fixture_close(&f);
    assert_int_equal(count_threads(CLOCK_THREAD, NULL), 0);
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), HOURS(1));
    assert_true(eventually(count_threads(CLOCK_THREAD, NULL) > 0, SOON));
    canopy_end(ctx);
}

TEST(core_clock_thread_starts_with_the_first_set_deadline)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    assert_true(canopy_set_deadline(ctx, now_ns() + HOURS(1)));
    assert_true(eventually(count_threads(CLOCK_THREAD, NULL) > 0, SOON));
    assert_true(canopy_set_deadline(ctx, now_ns() + MILLISECONDS(20)));
    assert_true(canopy_wait(ctx, now_ns() + SOON));
    canopy_release(ctx);
}

/* A line of /proc/self/task/<tid>/status. */
static unsigned long long status_of(long tid, const char *field, int base)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/task/%ld/status", tid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    unsigned long long value = 0;
    bool found = false;
    while (!found && fgets(line, sizeof line, file)) {
        found = strncmp(line, field, strlen(field)) == 0;
        if (found)
            value = strtoull(line + strlen(field), NULL, base);
    }
    fclose(file);
    assert_true(found);
    return value;
}

static void set_flag(void *arg)
{
    atomic_store((atomic_bool *)arg, true);
}

static void check_blocks_all_signals(long tid)
{
    unsigned long long blocked = status_of(tid, "SigBlk:", 16);
    for (int number = 1; number <= SIGRTMAX; number++) {
        /* Those between are the C library's own. */
        if (number == SIGKILL || number == SIGSTOP || (number > SIGSYS && number < SIGRTMIN))
            continue;
        if (!(blocked & (1ull << (number - 1))))
            fail_msg("signal %d is not blocked", number);
    }
}

TEST(core_library_threads_block_all_signals)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), MILLISECONDS(10));
    canopy_callback callback; /* brings up the thread that runs it */
    atomic_bool ran = false;
    assert_int_equal(canopy_after_func(ctx, &callback, set_flag, &ran), 0);
    assert_true(eventually(atomic_load(&ran), SOON));
    long tids[THREADS_LISTED];
    size_t count = count_threads(LIBRARY_THREADS, tids);
    assert_in_range(count, 1, THREADS_LISTED);
    for (size_t i = 0; i < count; i++)
        check_blocks_all_signals(tids[i]);
    assert_int_equal(canopy_callback_join(&callback), 0);
    canopy_release(ctx);
}

static bool sleeps_for_half_a_second(long tid)
{
    unsigned long long before = status_of(tid, "voluntary_ctxt_switches:", 10);
    pause_ns(MILLISECONDS(500));
    return status_of(tid, "voluntary_ctxt_switches:", 10) - before <= 2;
}

TEST(core_clock_thread_sleeps_while_no_deadline_is_near)
{
    if (UNDER_SANITIZER) /* with ThreadSanitizer no sleep is long, see src/base/base.h */
        skip();
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), HOURS(1));
    long tids[THREADS_LISTED];
    assert_true(eventually(count_threads(CLOCK_THREAD, tids) > 0, SOON));
    /* Once it has come so far: half a second in which it is hardly woken. */
    assert_true(eventually(sleeps_for_half_a_second(tids[0]), SOON));
    canopy_release(ctx);
}

TEST(core_a_deadline_is_refused_when_the_clock_cannot_start)
{
    if (UNDER_SANITIZER) /* sanitizers need address space of their own */
        skip();
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *before = canopy_with_cancel(f.root);
    canopy_ctx *other = canopy_with_cancel(f.root);
    canopy_release(other); /* leaves room, so that no memory has to be found */
    struct rlimit old, none = {0};
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    none.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    errno = 0;
    canopy_ctx *refused = canopy_with_timeout(before, HOURS(1));
    int error = errno;
    canopy_ctx *plain = canopy_with_cancel(before);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_null(refused);
    assert_int_equal(error, EAGAIN);
    assert_live(before);
    assert_live(plain);
    assert_int_equal(count_threads(CLOCK_THREAD, NULL), 0);

    canopy_ctx *accepted = canopy_with_timeout(before, MILLISECONDS(5));
    assert_true(canopy_wait(accepted, now_ns() + SOON));
    canopy_end(accepted);
    canopy_end(plain);
    canopy_end(before);
    fixture_close(&f);
}

TEST(core_a_deadline_is_not_set_when_the_clock_cannot_start)
{
    if (UNDER_SANITIZER) /* as above */
        skip();
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    struct rlimit old, none = {0};
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    none.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    errno = 0;
    bool soon = canopy_set_deadline(ctx, now_ns() + HOURS(1));
    int error = errno;
    bool never = canopy_set_deadline(ctx, CANOPY_NEVER);
    canopy_ctx *past = canopy_with_deadline(ctx, 1);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_false(soon);
    assert_int_equal(error, EAGAIN);
    assert_live(ctx);
    assert_deadline(ctx, CANOPY_NEVER);
    assert_true(never);
    assert_non_null(past);
    assert_ended(past, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_end(past);

    assert_true(canopy_set_deadline(ctx, now_ns() + MILLISECONDS(5)));
    assert_true(eventually(canopy_done(ctx), SOON));
    errno = 0;
    assert_false(canopy_set_deadline(ctx, now_ns() + HOURS(1)));
    assert_int_equal(errno, 0);
    canopy_end(ctx);
}

/* ------------------------------------------------------- whoever starts them */

/* How the thread is treated on which the library's threads are started. */
struct starter {
    int policy, priority;
    canopy_ctx *ctx, *child;
    canopy_callback callback;
    atomic_bool ran;
    bool is_refused;
};

/* From SCHED_IDLE, only where one may leave it again: else no thread of ours may either. */
static bool may_leave(int policy, const struct sched_param *param)
{
    const struct sched_param none = {0};
    bool may = sched_setscheduler(0, policy, param) == 0;
    if (may && policy == SCHED_IDLE)
        may = sched_setscheduler(0, SCHED_OTHER, &none) == 0 &&
              sched_setscheduler(0, policy, param) == 0;
    return may;
}

static void start_from(void *arg)
{
    struct starter *starter = arg;
    const struct sched_param param = {.sched_priority = starter->priority};
    cpu_set_t first;
    CPU_ZERO(&first);
    for (size_t cpu = 0; CPU_COUNT(&first) == 0; cpu++) {
        CPU_SET(cpu, &first);
        if (sched_setaffinity(0, sizeof first, &first) != 0)
            CPU_ZERO(&first);
    }
    starter->is_refused = !may_leave(starter->policy, &param);
    if (starter->is_refused)
        return;
    starter->ctx = canopy_with_timeout(canopy_background(), MILLISECONDS(1));
    starter->child = canopy_with_cancel(starter->ctx); /* brings up the reclaimer */
    assert_int_equal(canopy_after_func(starter->child, &starter->callback, set_flag, &starter->ran),
                     0);
}

static void check_is_ordinary(long tid, const cpu_set_t *cpus)
{
    cpu_set_t has;
    assert_int_equal(sched_getscheduler((pid_t)tid), SCHED_OTHER);
    assert_int_equal(sched_getaffinity((pid_t)tid, sizeof has, &has), 0);
    assert_true(CPU_EQUAL(&has, cpus));
}

static void check_started_from(int policy, int priority)
{
    cpu_set_t cpus;
    long tids[THREADS_LISTED];
    struct starter starter = {.policy = policy, .priority = priority};
    struct thread thread;
    assert_int_equal(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    thread_start(&thread, start_from, &starter);
    thread_join(&thread);
    if (starter.is_refused)
        skip();
    assert_true(eventually(atomic_load(&starter.ran), SOON));
    assert_int_equal(canopy_callback_join(&starter.callback), 0);
    assert_true(eventually(count_threads(LIBRARY_THREADS, tids) == 3, SOON));
    for (size_t i = 0; i < 3; i++)
        check_is_ordinary(tids[i], &cpus);
    canopy_end(starter.child);
    canopy_end(starter.ctx);
}

TEST(core_library_threads_are_ordinary_where_a_pinned_thread_starts_them)
{
    check_started_from(SCHED_OTHER, 0);
}

TEST(core_library_threads_are_ordinary_where_an_idle_thread_starts_them)
{
    check_started_from(SCHED_IDLE, 0);
}

TEST(core_library_threads_are_ordinary_where_a_realtime_thread_starts_them)
{
    check_started_from(SCHED_FIFO, 1);
}

/* They are few, each of its name, and come with what needs them. */
TEST(core_library_threads_come_with_what_needs_them)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    canopy_callback callback;
    atomic_bool ran = false;
    assert_int_equal(canopy_after_func(ctx, &callback, set_flag, &ran), 0);
    assert_true(canopy_cancel(ctx) && atomic_load(&ran));
    assert_false(canopy_wait(canopy_background(), now_ns() + MILLISECONDS(2)));
    assert_int_equal(count_threads(LIBRARY_THREADS, NULL), 0);

    canopy_ctx *child = canopy_with_cancel(ctx);
    assert_true(eventually(count_threads("canopy-reclaim", NULL) == 1, SOON));
    assert_int_equal(count_threads(LIBRARY_THREADS, NULL), 1);

    canopy_ctx *timed = canopy_with_timeout(ctx, HOURS(1));
    assert_true(eventually(count_threads(CLOCK_THREAD, NULL) == 1, SOON));
    assert_true(eventually(count_threads("canopy-worker", NULL) == 1, SOON));
    assert_int_equal(count_threads(LIBRARY_THREADS, NULL), 3);
    canopy_end(timed);
    canopy_end(child);
    canopy_end(ctx);
}

/* --------------------------------------------------- cancelled before first use */

static int succeed(const canopy_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    return 0;
}

static void first_cancel(void)
{
    canopy_end(canopy_with_cancel(canopy_background()));
}

static void first_child(void)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    canopy_end(canopy_with_cancel(ctx));
    canopy_end(ctx);
}

static void first_timeout(void)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), 1000);
    canopy_wait(ctx, CANOPY_NEVER);
    canopy_end(ctx);
}

static void first_signals(void)
{
    const int number = SIGUSR1;
    canopy_end(canopy_with_signals(canopy_background(), &number, 1));
}

static void first_any(void)
{
    const canopy_ctx *const both[] = {canopy_background(), canopy_todo()};
    canopy_end(canopy_with_any(both, 2));
}

static void first_root(void)
{
    canopy_ctx *root = canopy_root_new(NULL);
    canopy_end(canopy_with_cancel(root));
    while (canopy_root_free(root) != 0)
        sched_yield();
}

static void first_fd(void)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    canopy_done_fd(canopy_background());
    canopy_done_fd(ctx);
    canopy_end(ctx);
}

static void first_group(void)
{
    canopy_group group;
    if (canopy_group_init(&group, canopy_background(), 1) == 0) {
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(canopy_group_go(&group, succeed, NULL), 0);
        canopy_group_wait(&group);
    }
}

static void first_loop(void)
{
    canopy_loop loop;
    if (canopy_loop_init(&loop, NULL) == 0)
        assert_int_equal(canopy_loop_close(&loop), 0);
}

static void first_wait_any(void)
{
    const canopy_ctx *const both[] = {canopy_background(), canopy_todo()};
    canopy_wait_any(both, 2, 1);
    canopy_sleep(canopy_background(), 1000);
}

static void (*const first_uses[])(void) = {
    first_cancel, first_child, first_timeout, first_signals, first_any,
    first_root,   first_fd,    first_group,   first_loop,    first_wait_any};

static void use_while_condemned(void *use)
{
    pthread_cancel(pthread_self());
    (*(void (*const *)(void))use)();
    pthread_testcancel();
}

/* Of whatever kind a thread's first call is: if it may die in it, then with no lock held. */
TEST(core_a_thread_with_a_pending_cancel_leaves_no_lock_behind)
{
    for (size_t i = 0; i < sizeof first_uses / sizeof *first_uses; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct thread condemned;
            alarm(CHILD_TIMEOUT_S);
            thread_start(&condemned, use_while_condemned, (void *)(uintptr_t)&first_uses[i]);
            thread_join(&condemned);
            for (size_t j = 0; j < sizeof first_uses / sizeof *first_uses; j++)
                first_uses[j]();
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (status != 0)
            print_error("first use %zu\n", i);
        assert_int_equal(status, 0);
    }
}

/* ------------------------------------------------- threads that come and go */

static void short_life(void *arg)
{
    const canopy_ctx *root = arg;
    canopy_ctx *ctx = canopy_with_timeout(root, HOURS(1));
    canopy_ctx *child = canopy_with_cancel(ctx);
    canopy_ctx *value = canopy_with_value(child, &key, NULL);
    assert_true(canopy_cancel(ctx));
    assert_ended(value, -ECANCELED, CANOPY_CANCELED);
    canopy_release(value);
    canopy_release(child);
    canopy_release(ctx);
}

#define AT_ONCE 8

static void run_short_lives(const canopy_ctx *root, int count)
{
    struct thread threads[AT_ONCE];
    for (int i = 0; i < count; i += AT_ONCE) {
        for (int j = 0; j < AT_ONCE; j++)
            thread_start(&threads[j], short_life, (void *)(uintptr_t)root);
        for (int j = 0; j < AT_ONCE; j++)
            thread_join(&threads[j]);
    }
}

TEST(core_threads_come_and_go_by_the_thousand)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    run_short_lives(f.root, SCALED(1000, 200));
    size_t early_bytes = atomic_load(&f.memory.live_bytes);
    size_t early_resident_bytes = resident_bytes();
    run_short_lives(f.root, SCALED(8000, 400));
    size_t late_bytes = atomic_load(&f.memory.live_bytes);
    size_t late_resident_bytes = resident_bytes();
    print_message("%zu and %zu bytes in use, %zu and %zu resident\n", early_bytes, late_bytes,
                  early_resident_bytes, late_resident_bytes);
    /* What those need that are there at the same time, whatever the number of all. */
    assert_true(late_bytes <= (size_t)AT_ONCE * 512 * 1024);
    /* Beside that, a hundred bytes a thread would show. */
    size_t grown_bytes = late_bytes > early_bytes ? late_bytes - early_bytes : 0;
    if (!UNDER_SANITIZER)
        assert_true(late_resident_bytes <= early_resident_bytes + grown_bytes + (size_t)800 * 1024);
    fixture_close(&f);
}

struct left_behind {
    const canopy_ctx *parent;
    canopy_ctx *contexts[100];
};

static void leave_behind(void *arg)
{
    struct left_behind *left = arg;
    for (size_t i = 0; i < 100; i++)
        left->contexts[i] = i % 2 ? canopy_with_cancel(left->parent)
                                  : canopy_with_timeout(left->parent, MILLISECONDS(30));
}

TEST(core_contexts_outlive_the_thread_that_made_them)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    for (int round = 0; round < 20; round++) {
        struct left_behind left = {.parent = canopy_with_cancel(f.root)};
        struct thread maker;
        thread_start(&maker, leave_behind, &left);
        thread_join(&maker);
        assert_live(left.contexts[1]);
        assert_true(canopy_wait(left.contexts[0], now_ns() + SOON));
        assert_ended(left.contexts[0], -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
        assert_true(canopy_cancel(left.contexts[1]));
        assert_true(canopy_cancel((canopy_ctx *)(uintptr_t)left.parent));
        for (size_t i = 0; i < 100; i++) {
            assert_true(canopy_done(left.contexts[i]));
            canopy_release(left.contexts[i]);
        }
        canopy_release(left.parent);
    }
    fixture_close(&f);
}

/* ------------------------------------------------- contexts that change hands */

/* A ring between one maker and one ender. */
#define RING 1024

struct ring {
    const canopy_ctx *root;
    _Atomic(canopy_ctx *) places[RING];
    size_t count;
};

static void make_for_others(void *arg)
{
    struct ring *ring = arg;
    for (size_t i = 0; i < ring->count; i++) {
        canopy_ctx *ctx =
            i % 2 ? canopy_with_cancel(ring->root) : canopy_with_timeout(ring->root, HOURS(1));
        assert_non_null(ctx);
        while (atomic_load(&ring->places[i % RING]))
            sched_yield();
        atomic_store(&ring->places[i % RING], ctx);
    }
}

static void end_for_others(void *arg)
{
    struct ring *ring = arg;
    for (size_t i = 0; i < ring->count; i++) {
        canopy_ctx *ctx;
        while (!(ctx = atomic_exchange(&ring->places[i % RING], NULL)))
            sched_yield();
        if (i % 3)
            canopy_end(ctx);
        else
            canopy_release(ctx);
    }
}

static void hand_over(struct fixture *f, size_t count)
{
    static struct ring there, back;
    there = (struct ring){.root = f->root, .count = count};
    back = (struct ring){.root = f->root, .count = count};
    struct thread threads[4];
    thread_start(&threads[0], make_for_others, &there);
    thread_start(&threads[1], end_for_others, &there);
    thread_start(&threads[2], make_for_others, &back);
    thread_start(&threads[3], end_for_others, &back);
    for (size_t i = 0; i < 4; i++)
        thread_join(&threads[i]);
}

TEST(core_contexts_handed_to_other_threads_leave_memory_flat)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_LIBRARY);
    size_t count = SCALED(1000000, 50000);
    for (int round = 0; round < 2; round++) {
        hand_over(&f, count);
        size_t bytes = atomic_load(&f.memory.live_bytes);
        print_message("%zu bytes in use\n", bytes);
        /* What is on its way back varies; contexts that stayed away would be 128 MB a round. */
        assert_true(bytes <= (size_t)16 * 1024 * 1024);
    }
    fixture_close(&f);
}
