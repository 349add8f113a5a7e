/*
 * fork.c - promise 40: after fork the child uses contexts of its own, forgets
 * what the inherited ones were about to do, and leaves its parent undisturbed.
 */
#include "probes.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ThreadSanitizer otherwise ends a child that starts a thread. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

/* In the child a failed check must end the child, not go on with the parent's tests. */
#define require(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            dprintf(STDERR_FILENO, "%s:%d: in the child: %s\n", __FILE__, __LINE__, #condition);   \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static pid_t child_start(void (*body)(void *arg), void *arg)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(30); /* alarms are not inherited */
        body(arg);
        _exit(0);
    }
    return child;
}

static void child_end(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void in_child(void (*body)(void *arg), void *arg)
{
    child_end(child_start(body, arg));
}

/* Counters that parent and child both see. */
static atomic_uint *shared_counters(size_t n)
{
    void *memory = mmap(NULL, n * sizeof(atomic_uint), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    return memory;
}

/* --------------------------------------------------- contexts of one's own */

static const canopy_key counted = {"counted", count_call};

static int fail_at_once(const canopy_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    return -12;
}

static void use_a_tree(void)
{
    atomic_uint runs = 0, destroyed = 0;
    canopy_callback callback, stopped;
    canopy_ctx *root = canopy_root_new(NULL);
    require(root);
    canopy_ctx *value = canopy_with_value(root, &counted, &destroyed);
    canopy_ctx *child = canopy_with_cancel(value);
    canopy_ctx *other = canopy_with_cancel(canopy_background());
    canopy_ctx *merged = canopy_with_any((const canopy_ctx *[]){other, child}, 2);
    require(value && child && other && merged);
    require(canopy_after_func(merged, &callback, count_call, &runs) == 0);
    require(canopy_after_func(child, &stopped, count_call, &runs) == 0);
    require(canopy_callback_stop(&stopped));
    int fd = canopy_done_fd(merged);
    require(fd >= 0 && !fd_readable(fd, 0));
    require(canopy_cancel(child));
    require(canopy_err(merged) == -ECANCELED && atomic_load(&runs) == 1);
    require(fd_readable(fd, 0));
    canopy_end(merged);
    canopy_end(other);
    canopy_end(child);
    canopy_end(value);
    require(canopy_wait_idle(root, now_ns() + SOON) == 0);
    require(atomic_load(&destroyed) == 1);
    require(eventually(canopy_root_free(root) == 0, SOON));
}

static void use_deadlines(void)
{
    atomic_uint runs = 0;
    canopy_callback callback;
    int64_t deadline_ns = now_ns() + MILLISECONDS(15);
    canopy_ctx *ctx = canopy_with_deadline(canopy_background(), deadline_ns);
    canopy_ctx *child = canopy_with_cancel(ctx);
    require(ctx && child);
    require(canopy_after_func(child, &callback, count_call, &runs) == 0);
    require(canopy_wait(child, now_ns() + SOON));
    require(now_ns() >= deadline_ns);
    require(canopy_err(child) == -ETIMEDOUT);
    require(eventually(atomic_load(&runs) == 1, SOON));
    require(canopy_callback_join(&callback) == 0);
    canopy_end(child);
    canopy_end(ctx);
}

static void use_a_group_and_a_signal(void)
{
    const int number = SIGUSR2;
    canopy_group group;
    require(canopy_group_init(&group, canopy_background(), 0) == 0);
    require(canopy_group_go(&group, fail_at_once, NULL) == 0);
    require(canopy_group_wait(&group) == -12);

    canopy_ctx *ctx = canopy_with_signals(canopy_background(), &number, 1);
    require(ctx);
    require(kill(getpid(), number) == 0);
    require(canopy_wait(ctx, now_ns() + SOON));
    require(canopy_cause_of(ctx)->code == number);
    canopy_end(ctx);
}

static void use_everything(void *arg)
{
    (void)arg;
    use_a_tree();
    use_deadlines();
    use_a_group_and_a_signal();
}

TEST(p40_a_child_of_a_process_that_never_used_contexts_may_use_them)
{
    in_child(use_everything, NULL);
    use_everything(NULL);
}

TEST(p40_a_child_of_a_process_that_used_everything_may_use_them)
{
    if (UNDER_SANITIZER) /* a thread of a group may be ending when we fork, see below */
        skip();
    use_everything(NULL);
    for (unsigned i = 0; i < 5; i++)
        in_child(use_everything, NULL);
    use_everything(NULL);
}

static void fork_again(void *arg)
{
    use_everything(arg);
    pid_t grandchild = fork();
    require(grandchild >= 0);
    if (grandchild == 0) {
        use_everything(arg);
        _exit(0);
    }
    int status;
    require(waitpid(grandchild, &status, 0) == grandchild);
    require(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    use_everything(arg);
}

TEST(p40_so_may_its_child)
{
    if (UNDER_SANITIZER) /* a thread of a group may be ending when we fork, see below */
        skip();
    use_deadlines();
    in_child(fork_again, NULL);
    use_everything(NULL);
}

/* -------------------------------------------------------- inherited contexts */

static const canopy_key color = {"color", NULL};
static int red;

struct inherited {
    struct fixture fixture;
    canopy_ctx *live, *value, *timed, *cancelled, *merged;
    canopy_callback callback;
    int fd;
    atomic_uint *runs; /* shared: [0] in the parent, [1] in the child */
    pid_t parent_pid;
};

static void count_by_process(void *arg)
{
    struct inherited *tree = arg;
    count_call(&tree->runs[getpid() != tree->parent_pid]);
}

static void inherited_make(struct inherited *tree)
{
    fixture_open(&tree->fixture, CANOPY_CLOCK_LIBRARY);
    tree->parent_pid = getpid();
    tree->runs = shared_counters(2);
    tree->live = canopy_with_cancel(tree->fixture.root);
    tree->value = canopy_with_value(tree->live, &color, &red);
    tree->timed = canopy_with_timeout(tree->value, HOURS(1));
    tree->cancelled = canopy_with_cancel(tree->value);
    tree->merged = any2(tree->timed, canopy_background());
    assert_true(canopy_cancel(tree->cancelled));
    tree->fd = canopy_done_fd(tree->timed);
    assert_true(tree->fd >= 0);
    assert_int_equal(canopy_after_func(tree->timed, &tree->callback, count_by_process, tree), 0);
}

/* In the parent everything goes on as if there had been no fork, and its deadline comes. */
static void inherited_end(struct inherited *tree)
{
    assert_live(tree->live);
    canopy_set_deadline(tree->timed, now_ns() + MILLISECONDS(20));
    assert_true(canopy_wait(tree->merged, now_ns() + SOON));
    assert_ended(tree->timed, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_ended(tree->merged, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_true(fd_readable(tree->fd, 20000));
    assert_true(eventually(atomic_load(&tree->runs[0]) == 1, SOON));
    assert_int_equal(canopy_callback_join(&tree->callback), 0);
    assert_int_equal(atomic_load(&tree->runs[1]), 0);
    assert_ptr_equal(canopy_value(tree->timed, &color), &red);
    canopy_ctx *const all[] = {tree->merged, tree->timed, tree->cancelled, tree->value, tree->live};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        canopy_end(all[i]);
    fixture_close(&tree->fixture);
}

static void observe_inherited(void *arg)
{
    struct inherited *tree = arg;
    int64_t deadline_ns;
    require(canopy_err(tree->live) == 0 && !canopy_done(tree->live));
    require(canopy_cause_of(tree->live) == NULL);
    require(canopy_err(tree->cancelled) == -ECANCELED);
    require(canopy_cause_of(tree->cancelled) == CANOPY_CANCELED);
    require(canopy_value(tree->cancelled, &color) == &red);
    require(canopy_value(tree->merged, &color) == &red);
    require(canopy_deadline(tree->timed, &deadline_ns) && deadline_ns < CANOPY_NEVER);
    require(!canopy_wait(tree->live, now_ns() + MILLISECONDS(2)));
    require(canopy_wait(tree->cancelled, CANOPY_NEVER));
}

/* ------------------------------------------------------------------ threads that begin */

static void allocate_some(void *unused)
{
    (void)unused;
    for (size_t bytes = 8; bytes < 65536; bytes *= 2) {
        void *memory = malloc(bytes);
        require(memory);
        free(memory);
    }
}

/* Forks in the moment in which the library starts a thread, and another. */
static void fork_as_threads_begin(void *unused)
{
    (void)unused;
    canopy_ctx *root = canopy_with_timeout(canopy_background(), SECONDS(3600));
    require(root);
    in_child(allocate_some, NULL);
    canopy_end(root);
}

TEST(p40_a_child_of_a_fork_as_the_librarys_threads_begin_may_allocate)
{
    for (int i = 0; i < 40; i++)
        in_child(fork_as_threads_begin, NULL);
}

TEST(p40_inherited_contexts_may_be_observed)
{
    struct inherited tree;
    inherited_make(&tree);
    in_child(observe_inherited, &tree);
    inherited_end(&tree);
}

static void release_inherited(void *arg)
{
    struct inherited *tree = arg;
    canopy_release(tree->merged);
    canopy_release(tree->timed);
    canopy_release(tree->cancelled);
    canopy_release(tree->value);
    canopy_release(tree->live);
    use_everything(NULL);
}

TEST(p40_inherited_contexts_may_be_released)
{
    struct inherited tree;
    inherited_make(&tree);
    in_child(release_inherited, &tree);
    inherited_end(&tree);
}

/* A child that unwinds with CANOPY_AUTO ends what it inherited. */
static void end_inherited(void *arg)
{
    struct inherited *tree = arg;
    canopy_end(tree->timed);
    canopy_end(tree->merged);
    canopy_end(tree->live);
    require(atomic_load(&tree->runs[1]) == 0);
    use_everything(NULL);
}

static void join_inherited(void *arg)
{
    struct inherited *tree = arg;
    require(canopy_callback_join(&tree->callback) == 0);
    canopy_cancel(tree->timed);
    require(canopy_done(tree->timed));
    /* It is the parent's to run: armed for ever here. */
    require(canopy_callback_join(&tree->callback) == 0);
}

TEST(p40_inherited_callbacks_may_be_joined)
{
    struct inherited tree;
    inherited_make(&tree);
    in_child(join_inherited, &tree);
    inherited_end(&tree);
}

struct forks_in_callback {
    canopy_ctx *ctx;
    canopy_callback callbacks[2];
    atomic_uint *runs; /* shared: [0] in the parent, [1] in the child */
    pid_t parent_pid, child_pid;
};

static void look_at_pending(void *arg)
{
    struct forks_in_callback *forks = arg;
    for (size_t i = 0; i < 2; i++)
        require(!canopy_callback_stop(&forks->callbacks[i]));
    unsigned running = 0;
    for (size_t i = 0; i < 2; i++)
        running += canopy_callback_join(&forks->callbacks[i]) == -EDEADLK;
    require(running == 1); /* and the other one is bound to nothing here */
}

static void fork_in_callback(void *arg)
{
    struct forks_in_callback *forks = arg;
    atomic_fetch_add(&forks->runs[getpid() != forks->parent_pid], 1);
    if (atomic_load(&forks->runs[0]) != 1)
        return;
    forks->child_pid = fork();
    if (forks->child_pid == 0)
        look_at_pending(forks); /* and goes on, back into the library */
}

TEST(p40_callbacks_that_wait_to_run_are_the_parents)
{
    struct forks_in_callback forks = {.runs = shared_counters(2), .parent_pid = getpid()};
    forks.ctx = canopy_with_cancel(canopy_background());
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(
            canopy_after_func(forks.ctx, &forks.callbacks[i], fork_in_callback, &forks), 0);
    bool won = canopy_cancel(forks.ctx);
    if (getpid() != forks.parent_pid)
        _exit(0);
    assert_true(won);
    assert_true(forks.child_pid > 0);
    int status;
    assert_int_equal(waitpid(forks.child_pid, &status, 0), forks.child_pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(atomic_load(&forks.runs[0]), 2);
    assert_int_equal(atomic_load(&forks.runs[1]), 0);
    canopy_end(forks.ctx);
}

TEST(p40_ending_inherited_contexts_does_not_reach_the_parent)
{
    struct inherited tree;
    inherited_make(&tree);
    assert_true(canopy_set_deadline(tree.timed, CANOPY_NEVER));
    in_child(end_inherited, &tree);
    assert_live(tree.timed);
    assert_false(fd_readable(tree.fd, 5));
    inherited_end(&tree);
}

static void outlive_the_deadline(void *arg)
{
    const struct inherited *tree = arg;
    int64_t deadline_ns;
    require(canopy_deadline(tree->timed, &deadline_ns));
    use_deadlines(); /* its own clock runs */
    while (now_ns() < deadline_ns + MILLISECONDS(150))
        pause_ns(MILLISECONDS(5));
    require(atomic_load(&tree->runs[1]) == 0);
}

TEST(p40_inherited_deadlines_fire_nothing_in_the_child)
{
    struct inherited tree;
    inherited_make(&tree);
    assert_true(canopy_set_deadline(tree.timed, now_ns() + MILLISECONDS(SCALED(150, 1000))));
    pid_t child = child_start(outlive_the_deadline, &tree);
    /* False where the parent was slow, and has fired it itself. */
    bool is_moved = canopy_set_deadline(tree.timed, CANOPY_NEVER);
    child_end(child);
    if (is_moved) {
        assert_live(tree.timed);
        assert_false(fd_readable(tree.fd, 0));
        assert_int_equal(atomic_load(&tree.runs[0]), 0);
    }
    inherited_end(&tree);
}

static void outlast_an_inherited_deadline(void *arg)
{
    (void)arg;
    canopy_ctx *later = canopy_with_timeout(canopy_background(), MILLISECONDS(150));
    require(later && eventually(canopy_done(later), SOON)); /* by the clock: a wait would end it */
    canopy_release(later);
}

/* The clock leaves inherited deadlines to the parent process; who waits does not. */
static void wait_for_inherited(void *arg)
{
    struct inherited *tree = arg;
    int64_t deadline_ns;
    require(canopy_deadline(tree->merged, &deadline_ns));
    canopy_ctx *own = canopy_with_cancel(tree->timed);
    require(own);
    const canopy_ctx *both[] = {tree->live, own};
    require(canopy_wait_any(both, 2, now_ns() + SOON) == 1);
    require(now_ns() >= deadline_ns);
    require(canopy_err(own) == -ETIMEDOUT);
    require(canopy_wait(tree->merged, CANOPY_NEVER));
    require(canopy_sleep(tree->timed, SECONDS(30)) == -ETIMEDOUT);
    require(canopy_cause_of(own) == CANOPY_DEADLINE_EXCEEDED);
    require(!canopy_done(tree->live));
    require(atomic_load(&tree->runs[1]) == 0);
}

TEST(p40_a_wait_in_the_child_ends_with_an_inherited_deadline)
{
    struct inherited tree;
    inherited_make(&tree);
    assert_true(canopy_set_deadline(tree.timed, now_ns() + MILLISECONDS(200)));
    in_child(wait_for_inherited, &tree);
    inherited_end(&tree);
}

TEST(p40_a_deadline_later_than_an_inherited_one_fires_in_the_child)
{
    canopy_ctx *earlier = canopy_with_timeout(canopy_background(), MILLISECONDS(100));
    in_child(outlast_an_inherited_deadline, NULL);
    canopy_end(earlier);
}

static void raise_the_parents_signal(void *arg)
{
    (void)arg;
    (void)raise(SIGUSR1);
    pause_ns(MILLISECONDS(20));
}

TEST(p40_a_signal_in_the_child_does_not_end_the_parents_context)
{
    const int number = SIGUSR1;
    canopy_ctx *ctx = canopy_with_signals(canopy_background(), &number, 1);
    assert_non_null(ctx);
    pid_t child = child_start(raise_the_parents_signal, NULL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(canopy_wait(ctx, now_ns() + MILLISECONDS(30)));
    assert_int_equal(raise(number), 0);
    assert_true(canopy_wait(ctx, now_ns() + SOON));
    assert_int_equal(canopy_cause_of(ctx)->code, number);
    canopy_end(ctx);
}

static void wait_for_the_end(void *arg)
{
    atomic_uint *ready = arg;
    atomic_store(ready, 1);
    for (;;)
        pause();
}

/* A worker of a prefork server that makes no call of ours ends as it did before. */
TEST(p40_what_a_signal_did_before_is_what_it_does_in_a_child)
{
    const int numbers[] = {SIGTERM, SIGUSR2};
    atomic_uint *ready = shared_counters(1);
    canopy_ctx *ctx = canopy_with_signals(canopy_background(), numbers, 2);
    assert_non_null(ctx);
    pid_t child = child_start(wait_for_the_end, ready);
    assert_true(eventually(atomic_load(ready) == 1, SOON));
    assert_int_equal(kill(child, SIGTERM), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : -1, SIGTERM);
    assert_live(ctx);
    canopy_end(ctx);
}

static void watch_anew(void *inherited)
{
    struct sigaction now;
    require(sigaction(SIGUSR2, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
    canopy_ctx *ctx = canopy_with_signals(canopy_background(), (const int[]){SIGUSR2}, 1);
    require(ctx);
    canopy_end(inherited); /* and what is the child's own stays */
    require(sigaction(SIGUSR2, NULL, &now) == 0 && now.sa_handler != SIG_DFL);
    require(raise(SIGUSR2) == 0);
    require(canopy_wait(ctx, now_ns() + SOON));
    canopy_end(ctx);
    require(sigaction(SIGUSR2, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
}

TEST(p40_a_child_may_watch_the_signals_that_its_parent_watches)
{
    canopy_ctx *ctx = canopy_with_signals(canopy_background(), (const int[]){SIGUSR2}, 1);
    assert_non_null(ctx);
    in_child(watch_anew, ctx);
    assert_live(ctx);
    assert_int_equal(raise(SIGUSR2), 0);
    assert_true(canopy_wait(ctx, now_ns() + SOON));
    canopy_end(ctx);
}

static void use_a_hosts_clock(void *arg)
{
    struct memory memory = {0};
    canopy_config config = memory_config(&memory);
    (void)arg;
    config.clock = CANOPY_CLOCK_HOST;
    canopy_ctx *root = canopy_root_new(&config);
    canopy_ctx *ctx = canopy_with_deadline(root, 10);
    require(root && ctx && canopy_root_advance(root, 10, NULL) == 0);
    require(canopy_err(ctx) == -ETIMEDOUT);
    canopy_end(ctx);
    require(eventually(canopy_root_free(root) == 0, SOON));
    require(atomic_load(&memory.live_blocks) == 0);
}

TEST(p40_a_child_may_drive_a_root_of_its_own)
{
    struct inherited tree;
    inherited_make(&tree);
    in_child(use_a_hosts_clock, NULL);
    inherited_end(&tree);
}

/* ------------------------------------------------------------ busy threads */

struct busy {
    struct fixture fixture;
    canopy_ctx *shared; /* a parent for all of them */
    atomic_bool over;
    atomic_uint rounds, destroyed;
};

static void keep_busy(void *arg)
{
    struct busy *busy = arg;
    while (!atomic_load(&busy->over)) {
        atomic_uint runs = 0;
        canopy_callback callback;
        canopy_ctx *parent = canopy_with_timeout(busy->shared, MICROSECONDS(200));
        canopy_ctx *value = canopy_with_value(parent, &counted, &busy->destroyed);
        canopy_ctx *child = canopy_with_cancel(value);
        canopy_ctx *merged = any2(child, busy->shared);
        assert_int_equal(canopy_after_func(merged, &callback, count_call, &runs), 0);
        if (atomic_fetch_add(&busy->rounds, 1) % 4 == 0)
            assert_true(canopy_wait(child, now_ns() + SOON));
        canopy_cancel(child);
        bool stopped = canopy_callback_stop(&callback); /* if the clock was faster than we */
        assert_int_equal(stopped ? 0 : canopy_callback_join(&callback), 0);
        assert_int_equal(atomic_load(&runs), stopped ? 0 : 1);
        canopy_ctx *const all[] = {parent, child, merged, value};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            canopy_end(all[i]);
    }
}

TEST(p40_a_child_of_a_process_with_busy_threads_may_use_contexts)
{
    enum { threads_n = 3 };
    if (UNDER_SANITIZER) /* the locks of its allocator may stay locked in the child */
        skip();
    struct busy busy = {0};
    struct thread threads[threads_n];
    fixture_open(&busy.fixture, CANOPY_CLOCK_LIBRARY);
    busy.shared = canopy_with_cancel(busy.fixture.root);
    for (size_t i = 0; i < threads_n; i++)
        thread_start(&threads[i], keep_busy, &busy);
    for (unsigned i = 0; i < SCALED(40, 10); i++) {
        unsigned before = atomic_load(&busy.rounds);
        in_child(use_everything, NULL);
        assert_true(eventually(atomic_load(&busy.rounds) > before + threads_n, SOON));
    }
    atomic_store(&busy.over, true);
    for (size_t i = 0; i < threads_n; i++)
        thread_join(&threads[i]);
    assert_live(busy.shared);
    canopy_end(busy.shared);
    fixture_close(&busy.fixture);
    assert_int_equal(atomic_load(&busy.destroyed), atomic_load(&busy.rounds));
}

static void free_an_inherited_root(void *root)
{
    require(canopy_root_free(root) == 0);
}

TEST(p40_a_child_may_free_an_inherited_root)
{
    canopy_ctx *root = canopy_root_new(NULL);
    for (int i = 0; i < 10; i++) {
        /* Cancelled children are on their way through a grace period when we fork. */
        canopy_ctx *parent = canopy_with_cancel(root);
        canopy_ctx *child = canopy_with_cancel(parent);
        canopy_cancel(parent);
        canopy_release(child);
        canopy_release(parent);
        in_child(free_an_inherited_root, root);
    }
    assert_true(eventually(canopy_root_free(root) == 0, SOON));
}

static void nothing(void *unused)
{
    (void)unused;
}

static void make_and_release_in_roots(void *over)
{
    canopy_ctx *roots[8];
    for (size_t i = 0; i < 8; i++)
        roots[i] = canopy_root_new(NULL);
    while (!atomic_load((atomic_bool *)over))
        for (size_t i = 0; i < 8; i++)
            canopy_release(canopy_with_cancel(roots[i]));
    for (size_t i = 0; i < 8; i++)
        assert_true(eventually(canopy_root_free(roots[i]) == 0, SOON));
}

static void cancel_families(void *over)
{
    while (!atomic_load((atomic_bool *)over)) {
        canopy_ctx *parent = canopy_with_cancel(canopy_background());
        canopy_ctx *child = canopy_with_cancel(parent);
        canopy_cancel(parent);
        canopy_release(child);
        canopy_release(parent);
        pause_ns(MICROSECONDS(200));
    }
}

/* Grace periods, read sections that want memory, and forks: each may wait for the next. */
TEST(p40_fork_beside_grace_periods_does_not_deadlock)
{
    if (UNDER_SANITIZER) /* the locks of its allocator may stay locked in the child */
        skip();
    atomic_bool over = false;
    struct thread threads[2];
    thread_start(&threads[0], make_and_release_in_roots, &over);
    thread_start(&threads[1], cancel_families, &over);
    for (int64_t end_ns = now_ns() + SECONDS(2); now_ns() < end_ns;)
        in_child(nothing, NULL);
    atomic_store(&over, true);
    thread_join(&threads[0]);
    thread_join(&threads[1]);
}

/* ----------------------------------------------------------- handlers of others */

static canopy_ctx *of_the_host;
static atomic_uint handled;

static void host_handles(void)
{
    canopy_ctx *ctx = canopy_with_cancel(of_the_host);
    require(ctx && canopy_cancel(ctx));
    canopy_release(ctx);
    canopy_ctx *root = canopy_root_new(NULL); /* which goes on the list of all */
    require(root && eventually(canopy_root_free(root) == 0, SOON));
    count_call(&handled);
}

/* A host that registers its own before it uses contexts: those are around ours. */
TEST(p40_fork_handlers_registered_before_the_first_use_may_use_contexts)
{
    assert_int_equal(pthread_atfork(host_handles, host_handles, host_handles), 0);
    of_the_host = canopy_with_cancel(canopy_background());
    canopy_end(canopy_with_timeout(of_the_host, HOURS(1)));
    in_child(use_everything, NULL);
    assert_int_equal(atomic_load(&handled), 2);
    use_everything(NULL);
    canopy_end(of_the_host);
}

/* ------------------------------------------------------- from a thread of ours */

struct launch {
    pid_t child;
    bool changes_mask;
    atomic_bool launched;
};

static void launch_one(void *arg)
{
    struct launch *launch = arg;
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGHUP);
    if (launch->changes_mask)
        pthread_sigmask(SIG_SETMASK, &mask, NULL);
    launch->child = fork();
    if (launch->child == 0) {
        pthread_sigmask(SIG_SETMASK, NULL, &mask);
        require(!sigismember(&mask, SIGTERM));
        require(sigismember(&mask, SIGHUP) == launch->changes_mask);
        use_everything(NULL);
        _exit(0);
    }
    atomic_store(&launch->launched, true);
}

static const canopy_key launching = {"launching", launch_one};

static void assert_launched(struct launch *launch)
{
    assert_true(eventually(atomic_load(&launch->launched), SOON));
    child_end(launch->child);
}

/* A child of a library thread, which blocks all signals, can be told to end all the same. */
TEST(p40_a_child_launched_at_expiry_does_not_block_signals)
{
    struct launch launches[2] = {{0}, {.changes_mask = true}};
    for (unsigned i = 0; i < 2; i++) {
        canopy_callback callback;
        canopy_ctx *ctx = canopy_with_timeout(canopy_background(), MILLISECONDS(5));
        assert_int_equal(canopy_after_func(ctx, &callback, launch_one, &launches[i]), 0);
        assert_launched(&launches[i]);
        assert_int_equal(canopy_callback_join(&callback), 0);
        canopy_end(ctx);
    }
}

TEST(p40_a_child_launched_in_a_destructor_on_a_library_thread_does_not_block_signals)
{
    struct launch launch = {0};
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *parent = canopy_with_cancel(fixture.root);
    canopy_ctx *value = canopy_with_value(parent, &launching, &launch);
    canopy_ctx *ctx = canopy_with_timeout(value, MILLISECONDS(5));
    canopy_callback callback;
    atomic_uint runs = 0;
    assert_int_equal(canopy_after_func(ctx, &callback, count_call, &runs), 0);
    /* The armed callback is what keeps the value. */
    canopy_release(ctx);
    canopy_release(value);
    assert_launched(&launch);
    assert_int_equal(canopy_callback_join(&callback), 0);
    canopy_end(parent);
    fixture_close(&fixture);
}
