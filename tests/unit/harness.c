/*
 * harness.c - runs the test cases of one group, one by name or all of them, and
 * holds the helpers of harness.h.
 */
#include "harness.h"

#include <dirent.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ------------------------------------------------------------------- cases */

/*
 * For what hangs, not for what is slow: a sanitizer beside eight busy processes takes its
 * time. Less than ctest's own limit, so that a hang is reported with the test's name.
 */
#define TEST_TIMEOUT_S 540

/* Rounds of which each has its chance to meet a race: no more of them after so long. */
#define ROUNDS_NS SECONDS(120)

static struct test_case *cases, **cases_end = &cases;
static size_t case_count;
static const char *running_name = "";
static int64_t running_since_ns;

void test_register(struct test_case *test)
{
    *cases_end = test;
    cases_end = &test->next;
    case_count++;
}

static void on_timeout(int signal_number)
{
    static const char text[] = ": still running after its time limit\n";
    (void)signal_number;
    if (write(STDERR_FILENO, running_name, strlen(running_name)) >= 0 &&
        write(STDERR_FILENO, text, sizeof text - 1) >= 0)
        abort();
    abort();
}

static void run_case(void **state)
{
    const struct test_case *test = *state;
    running_name = test->name;
    running_since_ns = now_ns();
    alarm(TEST_TIMEOUT_S);
    test->body(state);
    alarm(0);
}

int main(int argc, char **argv)
{
    if (case_count != tests_known) {
        fprintf(stderr, "%zu tests are defined, %u are known to ctest\n", case_count, tests_known);
        return EXIT_FAILURE;
    }
    struct CMUnitTest *tests = calloc(case_count, sizeof *tests);
    assert_non_null(tests);
    size_t count = 0;
    for (struct test_case *test = cases; test; test = test->next)
        if (argc < 2 || strcmp(argv[1], test->name) == 0)
            tests[count++] = (struct CMUnitTest){test->name, run_case, NULL, NULL, test};
    if (count == 0) {
        fprintf(stderr, "no test of the name %s\n", argc < 2 ? "" : argv[1]);
        return EXIT_FAILURE;
    }
    signal(SIGALRM, on_timeout);
    /* A failed assertion prints and aborts at once, on whatever thread; by itself cmocka
     * would leave other threads running on a stack that is gone, or exit without a word. */
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    return _cmocka_run_group_tests(argv[0], tests, count, NULL, NULL);
}

/* -------------------------------------------------------------------- time */

int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return SECONDS(now.tv_sec) + now.tv_nsec;
}

void pause_ns(int64_t duration_ns)
{
    struct timespec left = {duration_ns / SECONDS(1), duration_ns % SECONDS(1)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* ----------------------------------------------------------------- threads */

static void *thread_main(void *arg)
{
    struct thread *thread = arg;
    thread->body(thread->arg);
    return NULL;
}

void thread_launch(struct thread *thread, size_t stack_bytes)
{
    pthread_attr_t attributes;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    if (stack_bytes != 0)
        assert_int_equal(pthread_attr_setstacksize(&attributes, stack_bytes), 0);
    assert_int_equal(pthread_create(&thread->id, &attributes, thread_main, thread), 0);
    pthread_attr_destroy(&attributes);
}

void thread_join(struct thread *thread)
{
    assert_int_equal(pthread_join(thread->id, NULL), 0);
}

void run_on_small_stack(void (*body)(void *arg), void *arg)
{
    struct thread thread = {.body = body, .arg = arg};
    thread_launch(&thread, (size_t)256 * 1024);
    thread_join(&thread);
}

/* The others, who sleep, are let run by the kernel sooner than those who spin beside them. */
#define SPINS 16384

void meet(struct meeting *meeting)
{
    unsigned mine = atomic_fetch_add(&meeting->arrived, 1), now = mine + 1;
    unsigned full = (mine / meeting->parties + 1) * meeting->parties;
    if (now == full && atomic_load(&meeting->sleepers) != 0)
        syscall(SYS_futex, &meeting->arrived, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    for (unsigned spins = 1; (int)(now - full) < 0 && spins < SPINS; spins++) {
        if (spins % 1024 == 0) /* more parties than cores, or a busy machine */
            sched_yield();
        now = atomic_load(&meeting->arrived);
    }
    if ((int)(now - full) >= 0)
        return;
    atomic_fetch_add(&meeting->sleepers, 1); /* before the look; they look after they arrived */
    while ((int)((now = atomic_load(&meeting->arrived)) - full) < 0)
        syscall(SYS_futex, &meeting->arrived, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
    atomic_fetch_sub(&meeting->sleepers, 1);
}

void meet_at_end(struct meeting *meeting, int *rounds, int round)
{
    if (now_ns() - running_since_ns > ROUNDS_NS)
        *rounds = round + 1;
    meet(meeting);
}

uint64_t random_next(uint64_t *seed)
{
    uint64_t bits = *seed += 0x9e3779b97f4a7c15u;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
    return bits ^ (bits >> 31);
}

void random_order(uint64_t *seed, size_t order[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t j = random_next(seed) % (i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

/* ------------------------------------------------------- the process, seen */

/* Reads a small file of /proc whole; false when it has gone meanwhile. */
static bool read_proc(const char *path, char *text, size_t text_bytes)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    size_t length = fread(text, 1, text_bytes - 1, file);
    text[length] = '\0';
    fclose(file);
    return length > 0;
}

size_t resident_bytes(void)
{
    char text[256];
    size_t total_pages, resident_pages;
    assert_true(read_proc("/proc/self/statm", text, sizeof text));
    assert_int_equal(sscanf(text, "%zu %zu", &total_pages, &resident_pages), 2);
    return resident_pages * (size_t)sysconf(_SC_PAGESIZE);
}

size_t count_threads(const char *prefix, long tids[THREADS_LISTED])
{
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    /* cppcheck-suppress readdirCalled ; nobody else has this stream */
    for (struct dirent *task = readdir(tasks); task; task = readdir(tasks)) {
        char path[sizeof task->d_name + 32], name[64];
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        if (!read_proc(path, name, sizeof name) || strncmp(name, prefix, strlen(prefix)) != 0)
            continue;
        if (tids && count < THREADS_LISTED)
            tids[count] = strtol(task->d_name, NULL, 10);
        count++;
    }
    closedir(tasks);
    return count;
}

/* ------------------------------------------------------------------ memory */

/* Lies behind each block; found through the size that release is given. */
struct block_end {
    const void *block;
    const struct memory *memory;
    size_t align_bytes;
};

static struct block_end block_end_of(const struct memory *memory, const void *block,
                                     size_t align_bytes)
{
    return (struct block_end){block, memory, align_bytes};
}

static void *memory_allocate(void *user, size_t align_bytes, size_t size_bytes)
{
    struct memory *memory = user;
    size_t call = atomic_fetch_add(&memory->allocations, 1) + 1;
    size_t from = atomic_load(&memory->fail_from), count = atomic_load(&memory->fail_count);
    if (from != 0 && call >= from && (count == 0 || call < from + count))
        return NULL;

    void *block;
    struct block_end end;
    size_t align_real_bytes = align_bytes < sizeof(void *) ? sizeof(void *) : align_bytes;
    if (posix_memalign(&block, align_real_bytes, size_bytes + sizeof end) != 0)
        return NULL;
    end = block_end_of(memory, block, align_bytes);
    memset(block, 0xc3, size_bytes);
    memcpy((char *)block + size_bytes, &end, sizeof end);
    atomic_fetch_add(&memory->live_bytes, size_bytes);
    atomic_fetch_add(&memory->live_blocks, 1);
    return block;
}

static void memory_release(void *user, void *block, size_t align_bytes, size_t size_bytes)
{
    struct memory *memory = user;
    struct block_end end = block_end_of(memory, block, align_bytes);
    if (!block || memcmp((char *)block + size_bytes, &end, sizeof end) != 0) {
        fprintf(stderr, "%s: release of %p (%zu bytes, aligned to %zu) is not what was allocated\n",
                running_name, block, size_bytes, align_bytes);
        abort(); /* not exit: this may be a thread of the library's */
    }
    atomic_fetch_sub(&memory->live_bytes, size_bytes);
    atomic_fetch_sub(&memory->live_blocks, 1);
    memset(block, 0xa5, size_bytes + sizeof end);
    free(block);
}

canopy_config memory_config(struct memory *memory)
{
    return (canopy_config){
        .size = sizeof(canopy_config),
        .allocate = memory_allocate,
        .release = memory_release,
        .user = memory,
    };
}

/* ------------------------------------------------------------- roots and checks */

static void check(bool holds, const char *what, const char *file, int line)
{
    if (!holds) {
        print_error("%s\n", what);
        _fail(file, line);
        abort(); /* so did _fail, which compilers do not know */
    }
}

void fixture_open(struct fixture *fixture, canopy_clock clock)
{
    memset(fixture, 0, sizeof *fixture);
    canopy_config config = memory_config(&fixture->memory);
    config.clock = clock;
    fixture->root = canopy_root_new(&config);
    assert_non_null(fixture->root);
}

void fixture_close_at(struct fixture *fixture, const char *file, int line)
{
    check(canopy_wait_idle(fixture->root, now_ns() + SOON) == 0, "contexts are left", file, line);
    /* wait_idle counts contexts; root_free may stay busy for a moment after them. */
    check(eventually(canopy_root_free(fixture->root) == 0, SOON), "the root stays busy", file,
          line);
    check(atomic_load(&fixture->memory.live_blocks) == 0, "memory is left", file, line);
}

void check_live(const canopy_ctx *ctx, const char *file, int line)
{
    check(ctx != NULL, "there is no context", file, line);
    check(!canopy_done(ctx), "done although it should be live", file, line);
    check(canopy_err(ctx) == 0, "err of a live context is not 0", file, line);
    check(canopy_cause_of(ctx) == NULL, "cause of a live context is not NULL", file, line);
}

void check_ended(const canopy_ctx *ctx, int err, const canopy_cause *cause, const char *file,
                 int line)
{
    check(ctx != NULL, "there is no context", file, line);
    check(canopy_done(ctx), "live although it should be done", file, line);
    _assert_int_equal(canopy_err(ctx), err, file, line);
    const canopy_cause *seen = canopy_cause_of(ctx);
    check(seen != NULL, "done without a cause", file, line);
    if (seen != cause) {
        print_error("cause is \"%s\", not \"%s\"\n", seen->text, cause ? cause->text : "(none)");
        _fail(file, line);
    }
}

void check_deadline(const canopy_ctx *ctx, int64_t deadline_ns, const char *file, int line)
{
    int64_t seen_ns = 0;
    bool has = canopy_deadline(ctx, &seen_ns);
    check(has == (deadline_ns != CANOPY_NEVER), "has a deadline, or none, against expectation",
          file, line);
    _assert_int_equal(seen_ns, deadline_ns, file, line);
}
