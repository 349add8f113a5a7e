/*
 * signals.c - promise 37: a context that ends when a signal arrives, names it,
 * and gives back what was there before.
 */
#include "probes.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static canopy_ctx *on_one(const canopy_ctx *parent, int number)
{
    canopy_ctx *ctx = canopy_with_signals(parent, &number, 1);
    assert_non_null(ctx);
    return ctx;
}

/* Process-directed, as from another process: any thread may get it. */
static void send_signal(int number)
{
    assert_int_equal(kill(getpid(), number), 0);
}

static void assert_signalled(const canopy_ctx *ctx, int number)
{
    assert_true(canopy_wait(ctx, now_ns() + SOON));
    assert_int_equal(canopy_err(ctx), -ECANCELED);
    assert_int_equal(canopy_cause_of(ctx)->code, number);
    assert_non_null(canopy_cause_of(ctx)->text);
}

/* ------------------------------------------------------------------- cause */

TEST(p37_the_cause_names_the_signal)
{
    const struct {
        int number;
        const char *name;
    } cases[] = {{SIGUSR1, "USR1"}, {SIGUSR2, "USR2"}, {SIGTERM, "TERM"},
                 {SIGINT, "INT"},   {SIGHUP, "HUP"},   {SIGRTMIN + 3, "RT"},
                 {SIGABRT, "ABRT"}, {SIGPWR, "PWR"},   {SIGWINCH, "WINCH"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        canopy_ctx *ctx = on_one(canopy_background(), cases[i].number);
        canopy_ctx *child = canopy_with_cancel(ctx);
        assert_live(ctx);
        send_signal(cases[i].number);
        assert_signalled(child, cases[i].number);
        assert_non_null(strstr(canopy_cause_of(ctx)->text, cases[i].name));
        canopy_end(child);
        canopy_end(ctx);
    }
}

TEST(p37_the_cause_stays_readable_after_the_context)
{
    canopy_ctx *ctx = on_one(canopy_background(), SIGUSR1);
    canopy_ctx *merged = any2(canopy_background(), ctx);
    canopy_ctx *below = canopy_with_cancel(merged);
    send_signal(SIGUSR1);
    assert_signalled(below, SIGUSR1);
    canopy_end(ctx);
    canopy_end(merged);
    assert_signalled(below, SIGUSR1);
    assert_non_null(strstr(canopy_cause_of(below)->text, "USR1"));
    canopy_end(below);
}

TEST(p37_of_several_signals_each_ends_it_and_the_first_is_the_cause)
{
    const int set[] = {SIGUSR1, SIGUSR2, SIGHUP, SIGUSR1};
    for (size_t i = 0; i < 3; i++) {
        canopy_ctx *ctx = canopy_with_signals(canopy_background(), set, 4);
        assert_non_null(ctx);
        send_signal(set[i]);
        assert_signalled(ctx, set[i]);
        send_signal(set[(i + 1) % 3]);
        pause_ns(MILLISECONDS(5));
        assert_signalled(ctx, set[i]);
        canopy_end(ctx);
    }
}

TEST(p37_several_contexts_watch_one_signal_and_all_end)
{
    enum { contexts = 20 };
    canopy_ctx *watching[contexts];
    canopy_ctx *other = on_one(canopy_background(), SIGUSR2);
    for (size_t i = 0; i < contexts; i++)
        watching[i] = on_one(canopy_background(), SIGUSR1);
    send_signal(SIGUSR1);
    for (size_t i = 0; i < contexts; i++)
        assert_signalled(watching[i], SIGUSR1);
    assert_live(other);
    for (size_t i = 0; i < contexts; i++)
        canopy_end(watching[i]);
    send_signal(SIGUSR2);
    assert_signalled(other, SIGUSR2);
    canopy_end(other);
}

TEST(p37_a_context_made_later_waits_for_the_next_signal)
{
    canopy_ctx *first = on_one(canopy_background(), SIGUSR1);
    send_signal(SIGUSR1);
    assert_signalled(first, SIGUSR1);
    canopy_ctx *second = on_one(canopy_background(), SIGUSR1);
    assert_live(second);
    send_signal(SIGUSR1); /* still handled, though the first one is done */
    assert_signalled(second, SIGUSR1);
    canopy_end(second);
    canopy_end(first);
}

/* -------------------------------------------------------- as any context */

TEST(p37_it_is_cancelled_as_any_child_and_a_later_signal_changes_nothing)
{
    const canopy_cause *cause = CANOPY_CAUSE(-1, "parent");
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *ctx = on_one(parent, SIGUSR1);
    canopy_ctx *own = on_one(canopy_background(), SIGUSR1);
    canopy_ctx *witness = on_one(canopy_background(), SIGUSR1);

    assert_true(canopy_cancel_cause(parent, cause));
    assert_ended(ctx, -ECANCELED, cause);
    assert_true(canopy_cancel(own));
    send_signal(SIGUSR1);
    assert_signalled(witness, SIGUSR1);
    assert_ended(ctx, -ECANCELED, cause);
    assert_ended(own, -ECANCELED, CANOPY_CANCELED);

    canopy_ctx *late = on_one(parent, SIGUSR1);
    assert_ended(late, -ECANCELED, cause);
    canopy_ctx *const all[] = {late, witness, own, ctx, parent};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        canopy_end(all[i]);
}

TEST(p37_its_parent_is_left_alone_and_its_deadline_counts)
{
    canopy_ctx *parent = canopy_with_timeout(canopy_background(), HOURS(1));
    canopy_ctx *ctx = on_one(parent, SIGUSR1);
    int64_t deadline_ns;
    assert_true(canopy_deadline(parent, &deadline_ns));
    assert_deadline(ctx, deadline_ns);
    send_signal(SIGUSR1);
    assert_signalled(ctx, SIGUSR1);
    assert_live(parent);
    canopy_end(ctx);
    canopy_end(parent);
}

struct sighting {
    pthread_t thread;
    struct thread_name name;
    atomic_bool seen;
};

static void note_thread(void *arg)
{
    struct sighting *sighting = arg;
    sighting->thread = pthread_self();
    sighting->name = own_thread_name();
    atomic_store(&sighting->seen, true);
}

TEST(p37_callbacks_run_on_a_library_thread_and_not_in_the_handler)
{
    canopy_ctx *ctx = on_one(canopy_background(), SIGUSR1);
    struct sighting sighting = {0};
    canopy_callback callback;
    assert_int_equal(canopy_after_func(ctx, &callback, note_thread, &sighting), 0);
    int fd = canopy_done_fd(ctx);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_true(eventually(atomic_load(&sighting.seen), SOON));
    assert_int_equal(canopy_callback_join(&callback), 0);
    assert_true(fd_readable(fd, 20000));
    assert_false(pthread_equal(sighting.thread, pthread_self()));
    assert_memory_equal(sighting.name.text, "canopy-", strlen("canopy-"));
    canopy_end(ctx);
}

TEST(p37_errno_of_the_interrupted_thread_is_kept)
{
    canopy_ctx *ctx = on_one(canopy_background(), SIGUSR1);
    errno = 4321;
    (void)raise(SIGUSR1);
    assert_int_equal(errno, 4321);
    assert_signalled(ctx, SIGUSR1);
    canopy_end(ctx);
}

/* ------------------------------------------------------------- restoration */

static atomic_uint handled;

static void on_signal(int number, siginfo_t *info, void *machine)
{
    (void)number;
    (void)info;
    (void)machine;
    atomic_fetch_add(&handled, 1);
}

static void on_signal_later(int number)
{
    (void)number;
    atomic_fetch_add(&handled, 100);
}

static struct sigaction disposition(int number)
{
    struct sigaction action;
    assert_int_equal(sigaction(number, NULL, &action), 0);
    return action;
}

TEST(p37_the_last_context_that_ends_restores_the_handler)
{
    struct sigaction before = {.sa_flags = SA_SIGINFO | SA_RESTART | SA_NODEFER};
    before.sa_sigaction = on_signal;
    sigaddset(&before.sa_mask, SIGUSR2);
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);

    canopy_ctx *first = on_one(canopy_background(), SIGUSR1);
    canopy_ctx *second = on_one(canopy_background(), SIGUSR1);
    send_signal(SIGUSR1);
    assert_signalled(second, SIGUSR1);
    assert_int_equal(atomic_load(&handled), 0);
    canopy_end(first);
    send_signal(SIGUSR1);
    pause_ns(MILLISECONDS(5));
    assert_int_equal(atomic_load(&handled), 0);
    canopy_end(second);

    struct sigaction after = disposition(SIGUSR1);
    assert_ptr_equal(after.sa_sigaction, on_signal);
    assert_int_equal(after.sa_flags & (SA_SIGINFO | SA_RESTART | SA_NODEFER),
                     SA_SIGINFO | SA_RESTART | SA_NODEFER);
    assert_true(sigismember(&after.sa_mask, SIGUSR2));
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(atomic_load(&handled), 1);
}

TEST(p37_the_last_context_that_ends_restores_ignore_and_default)
{
    assert_true(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    const int set[] = {SIGUSR1, SIGUSR2, SIGCHLD};
    for (unsigned round = 0; round < 3; round++) {
        canopy_ctx *ctx = canopy_with_signals(canopy_background(), set, 3);
        assert_non_null(ctx);
        assert_true(disposition(SIGUSR1).sa_handler != SIG_IGN);
        assert_true(disposition(SIGUSR2).sa_handler != SIG_DFL);
        if (round == 1)
            canopy_cancel(ctx);
        if (round == 2) {
            send_signal(SIGUSR1);
            assert_signalled(ctx, SIGUSR1);
        }
        canopy_release(ctx);
        assert_true(disposition(SIGUSR1).sa_handler == SIG_IGN);
        assert_true(disposition(SIGUSR2).sa_handler == SIG_DFL);
        assert_true(disposition(SIGCHLD).sa_handler == SIG_DFL);
    }
}

TEST(p37_the_end_restores_at_once_also_after_children_were_cancelled)
{
    for (unsigned round = 0; round < 20; round++) {
        canopy_ctx *ctx = on_one(canopy_background(), SIGUSR1);
        canopy_ctx *child = canopy_with_cancel(ctx);
        canopy_cancel(ctx);
        canopy_end(child);
        canopy_end(ctx);
        assert_true(disposition(SIGUSR1).sa_handler == SIG_DFL);
    }
}

TEST(p37_ours_stays_away_if_somebody_replaced_it)
{
    canopy_ctx *ctx = on_one(canopy_background(), SIGUSR1);
    struct sigaction theirs = {.sa_handler = on_signal_later};
    assert_int_equal(sigaction(SIGUSR1, &theirs, NULL), 0);
    canopy_end(ctx);
    assert_true(disposition(SIGUSR1).sa_handler == on_signal_later);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(atomic_load(&handled), 100);

    /* And their handler is what is there before the next one. */
    ctx = on_one(canopy_background(), SIGUSR1);
    send_signal(SIGUSR1);
    assert_signalled(ctx, SIGUSR1);
    canopy_end(ctx);
    assert_true(disposition(SIGUSR1).sa_handler == on_signal_later);
}

/* ------------------------------------------------------------- given back */

static void handle_before(int number)
{
    struct sigaction before = {.sa_handler = on_signal_later};
    assert_int_equal(sigaction(number, &before, NULL), 0);
    atomic_store(&handled, 0);
}

static bool is_given_back(int number)
{
    return disposition(number).sa_handler == on_signal_later;
}

/* As stop of Go's NotifyContext does: the second Ctrl-C is not for us to swallow. */
TEST(p37_the_end_gives_the_signal_back_whatever_lives_below)
{
    handle_before(SIGUSR1);
    canopy_ctx *ctx = on_one(canopy_background(), SIGUSR1);
    const canopy_ctx *handle = canopy_retain(ctx);
    canopy_ctx *child = canopy_with_cancel(ctx);
    canopy_ctx *value = canopy_with_value(ctx, &(canopy_key){.name = "key"}, NULL);
    canopy_ctx *merged = any2(canopy_background(), ctx);
    canopy_callback callback;
    atomic_uint runs = 0;
    assert_int_equal(canopy_after_func(child, &callback, count_call, &runs), 0);
    assert_false(is_given_back(SIGUSR1));
    canopy_end(ctx);
    assert_true(is_given_back(SIGUSR1));
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(atomic_load(&handled), 100);
    assert_ended(child, -ECANCELED, CANOPY_CANCELED);
    canopy_ctx *const all[] = {merged, value, child};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        canopy_end(all[i]);
    canopy_release(handle);
    assert_true(is_given_back(SIGUSR1));
}

TEST(p37_one_that_its_signal_has_ended_takes_more_until_its_owner_is_through)
{
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    for (unsigned round = 0; round < 3; round++) {
        handle_before(SIGUSR1);
        canopy_ctx *ctx = on_one(parent, SIGUSR1);
        if (round == 2)
            assert_true(canopy_cancel(parent));
        else
            send_signal(SIGUSR1);
        assert_true(canopy_wait(ctx, now_ns() + SOON));
        assert_int_equal(raise(SIGUSR1), 0);
        assert_false(is_given_back(SIGUSR1));
        if (round == 1)
            canopy_end(ctx);
        else
            assert_false(canopy_cancel(ctx));
        assert_true(is_given_back(SIGUSR1));
        assert_int_equal(raise(SIGUSR1), 0);
        assert_int_equal(atomic_load(&handled), 100);
        if (round != 1)
            canopy_end(ctx);
    }
    canopy_end(parent);
}

TEST(p37_a_second_cancel_gives_nothing_back_that_another_watches)
{
    handle_before(SIGUSR1);
    canopy_ctx *first = on_one(canopy_background(), SIGUSR1);
    canopy_ctx *second = on_one(canopy_background(), SIGUSR1);
    assert_true(canopy_cancel(first));
    for (unsigned i = 0; i < 3; i++)
        assert_false(canopy_cancel(first));
    canopy_end(first);
    assert_false(is_given_back(SIGUSR1));
    send_signal(SIGUSR1);
    assert_signalled(second, SIGUSR1);
    canopy_end(second);
    assert_true(is_given_back(SIGUSR1));
}

/* It came before the end, so it is the end, whether or not it has got through. */
TEST(p37_a_signal_before_the_end_is_the_end)
{
    for (unsigned i = 0; i < 200; i++) {
        canopy_ctx *ctx = on_one(canopy_background(), SIGUSR1);
        canopy_ctx *child = canopy_with_cancel(ctx);
        assert_int_equal(raise(SIGUSR1), 0);
        assert_false(canopy_cancel_cause(ctx, CANOPY_CAUSE(-1, "too late")));
        assert_int_equal(canopy_cause_of(child)->code, SIGUSR1);
        canopy_end(ctx);
        canopy_end(child);
    }
}

/* Everything that a process of its own does; the status that it ends with. */
static int in_child(void (*body)(void))
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(CHILD_TIMEOUT_S);
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

struct ending {
    struct meeting meeting;
    canopy_ctx *ctx;
};

static void kill_when_met(void *arg)
{
    struct ending *ending = arg;
    meet(&ending->meeting);
    send_signal(SIGTERM);
}

static void end_beside_a_kill(void)
{
    struct ending ending = {.meeting = {.parties = 2}};
    struct thread killer;
    ending.ctx = on_one(canopy_background(), SIGTERM);
    canopy_ctx *child = canopy_with_cancel(ending.ctx);
    thread_start(&killer, kill_when_met, &ending);
    meet(&ending.meeting);
    canopy_end(ending.ctx);
    thread_join(&killer);
    if (canopy_cause_of(child)->code == SIGTERM)
        _exit(0);
    for (;;) /* then it ends us */
        pause();
}

/* Heard or fatal: nothing between. */
TEST(p37_a_kill_beside_the_end_is_heard_or_goes_where_it_went_before)
{
    for (unsigned i = 0; i < SCALED(150, 30); i++) {
        int status = in_child(end_beside_a_kill);
        if (!(WIFEXITED(status) && WEXITSTATUS(status) == 0))
            assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : -1, SIGTERM);
    }
}

/* ---------------------------------------------- ours, put back by somebody else */

static struct sigaction ours_of(int number)
{
    canopy_ctx *ctx = on_one(canopy_background(), number);
    struct sigaction ours = disposition(number);
    canopy_end(ctx);
    return ours;
}

static siginfo_t seen_info;
static sigset_t seen_mask;

static void note_signal(int number, siginfo_t *info, void *machine)
{
    assert_non_null(machine);
    assert_int_equal(number, SIGUSR1);
    seen_info = *info;
    pthread_sigmask(SIG_SETMASK, NULL, &seen_mask);
    atomic_fetch_add(&handled, 1);
}

TEST(p37_our_handler_put_back_hands_on_to_the_one_before)
{
    struct sigaction before = {.sa_flags = SA_SIGINFO};
    before.sa_sigaction = note_signal;
    sigaddset(&before.sa_mask, SIGUSR2);
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
    struct sigaction ours = ours_of(SIGUSR1);
    assert_int_equal(sigaction(SIGUSR1, &ours, NULL), 0);
    const union sigval value = {.sival_int = 77};
    errno = 4321;
    assert_int_equal(pthread_sigqueue(pthread_self(), SIGUSR1, value), 0);
    assert_int_equal(errno, 4321);
    assert_int_equal(atomic_load(&handled), 1);
    assert_int_equal(seen_info.si_value.sival_int, 77);
    assert_true(sigismember(&seen_mask, SIGUSR1) && sigismember(&seen_mask, SIGUSR2));
    assert_false(sigismember(&seen_mask, SIGHUP));

    /* A context that watches takes it from there, and gives that back. */
    canopy_ctx *ctx = on_one(canopy_background(), SIGUSR1);
    send_signal(SIGUSR1);
    assert_signalled(ctx, SIGUSR1);
    canopy_end(ctx);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(atomic_load(&handled), 2);
}

TEST(p37_our_handler_put_back_hands_on_once_where_that_was_for_once)
{
    struct sigaction before = {.sa_handler = on_signal_later, .sa_flags = (int)SA_RESETHAND};
    assert_int_equal(sigaction(SIGCHLD, &before, NULL), 0);
    struct sigaction ours = ours_of(SIGCHLD);
    assert_int_equal(sigaction(SIGCHLD, &ours, NULL), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(raise(SIGCHLD), 0);
    assert_int_equal(atomic_load(&handled), 100);
}

static void put_back_over_default(void)
{
    struct sigaction ours = ours_of(SIGTERM);
    assert_int_equal(sigaction(SIGTERM, &ours, NULL), 0);
    assert_int_equal(raise(SIGTERM), 0);
}

static void put_back_over_ignore(void)
{
    assert_true(signal(SIGTERM, SIG_IGN) != SIG_ERR);
    put_back_over_default();
}

TEST(p37_our_handler_put_back_does_what_was_done_without_it)
{
    int status = in_child(put_back_over_default);
    assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : -1, SIGTERM);
    assert_int_equal(in_child(put_back_over_ignore), 0);
}

/* ---------------------------------------------------------- told from others */

TEST(p37_the_cause_of_a_signal_is_told_from_others)
{
    const canopy_cause likeness = {.code = SIGUSR1, .text = "signal SIGUSR1"};
    canopy_ctx *ctx = on_one(canopy_background(), SIGUSR1);
    send_signal(SIGUSR1);
    assert_signalled(ctx, SIGUSR1);
    assert_int_equal(canopy_cause_signal(canopy_cause_of(ctx)), SIGUSR1);
    assert_int_equal(canopy_cause_signal(&likeness), 0);
    assert_int_equal(canopy_cause_signal(CANOPY_CAUSE(ENOENT, "no such file")), 0);
    assert_int_equal(canopy_cause_signal(CANOPY_CAUSE(INT32_MIN, "least")), 0);
    assert_int_equal(canopy_cause_signal(CANOPY_CAUSE(0, "none")), 0);
    assert_int_equal(canopy_cause_signal(CANOPY_CANCELED), 0);
    assert_int_equal(canopy_cause_signal(CANOPY_DEADLINE_EXCEEDED), 0);
    assert_int_equal(canopy_cause_signal(NULL), 0);
    canopy_end(ctx);
}

/* --------------------------------------------------------------- bad input */

TEST(p38_signals_that_cannot_be_watched_are_einval_and_nothing_is_installed)
{
    /* Those of the processor too: a real fault would be raised again for ever. */
    const int bad[] = {0,       -1,      INT32_MIN, 65,     1000,   INT32_MAX, SIGKILL,
                       SIGSTOP, SIGSEGV, SIGBUS,    SIGFPE, SIGILL, SIGTRAP,   SIGSYS};
    const int good = SIGUSR1;
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const int set[] = {SIGUSR1, bad[i], SIGUSR2};
        errno = 0;
        assert_null(canopy_with_signals(parent, &bad[i], 1));
        assert_int_equal(errno, EINVAL);
        errno = 0;
        assert_null(canopy_with_signals(parent, set, 3));
        assert_int_equal(errno, EINVAL);
        assert_true(disposition(SIGUSR1).sa_handler == SIG_DFL);
        assert_true(disposition(SIGUSR2).sa_handler == SIG_DFL);
    }
    errno = 0;
    assert_null(canopy_with_signals(parent, &good, 0));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(canopy_with_signals(parent, NULL, 1));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(canopy_with_signals(NULL, &good, 1));
    assert_int_equal(errno, EINVAL);
    assert_true(disposition(SIGUSR1).sa_handler == SIG_DFL);
    assert_int_equal(canopy_wait_idle(parent, now_ns() + SOON), 0);
    canopy_end(parent);
}

/* ------------------------------------------------------------------- churn */

static size_t count_fds(void)
{
    size_t count = 0;
    DIR *fds = opendir("/proc/self/fd");
    assert_non_null(fds);
    /* cppcheck-suppress readdirCalled ; nobody else has this stream */
    while (readdir(fds))
        count++;
    closedir(fds);
    return count;
}

TEST(p37_contexts_come_and_go_without_residue)
{
    size_t fds = 0, threads = 0;
    for (unsigned round = 0; round < 300; round++) {
        canopy_ctx *ctx = on_one(canopy_background(), SIGUSR1);
        if (round % 3 == 0) {
            send_signal(SIGUSR1);
            assert_signalled(ctx, SIGUSR1);
        }
        canopy_end(ctx);
        if (round == 10) {
            fds = count_fds();
            threads = count_threads("", NULL);
        }
    }
    assert_int_equal(count_fds(), fds);
    assert_true(eventually(count_threads("", NULL) <= threads, SOON));
}

struct churn {
    atomic_bool over;
    atomic_uint ended;
};

static void watch_and_end(void *arg)
{
    struct churn *churn = arg;
    while (!atomic_load(&churn->over)) {
        canopy_ctx *ctx = on_one(canopy_background(), SIGUSR1);
        if (canopy_wait(ctx, now_ns() + MICROSECONDS(SCALED(200, 2000))))
            atomic_fetch_add(&churn->ended, 1);
        canopy_end(ctx);
    }
}

TEST(p37_threads_watch_and_end_while_signals_arrive)
{
    struct sigaction before = {.sa_handler = on_signal_later};
    struct churn churn = {0};
    struct thread threads[3];
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
    for (size_t i = 0; i < 3; i++)
        thread_start(&threads[i], watch_and_end, &churn);
    int64_t until_ns = now_ns() + MILLISECONDS(500);
    while (now_ns() < until_ns || (atomic_load(&churn.ended) == 0 && now_ns() < until_ns + SOON)) {
        send_signal(SIGUSR1);
        pause_ns(MICROSECONDS(100));
    }
    assert_true(atomic_load(&churn.ended) > 0);
    atomic_store(&churn.over, true);
    for (size_t i = 0; i < 3; i++)
        thread_join(&threads[i]);
    assert_true(disposition(SIGUSR1).sa_handler == on_signal_later);
}

TEST(p37_a_signal_that_ended_one_context_does_not_end_the_next)
{
    const int number = SIGUSR1;
    for (int i = 0; i < 50; i++) {
        canopy_ctx *first = canopy_with_signals(canopy_background(), &number, 1);
        assert_int_equal(raise(number), 0);
        canopy_end(first); /* whether or not the signal has got through to it */
        canopy_ctx *next = canopy_with_signals(canopy_background(), &number, 1);
        assert_false(canopy_wait(next, now_ns() + MILLISECONDS(2)));
        canopy_end(next);
    }
}
