/*
 * signals.c - contexts that a signal ends.
 *
 * Each watched signal has a source, a context under background; with_signals is
 * with_any over the parent and the sources. The handler notes the signal and
 * kicks the clock's thread, which cancels the source; the next context on that
 * signal gets a new one.
 *
 * A context watches its signals from its constructor until its owner cancels or ends
 * it, or its last reference goes. How many watch a signal is counted, so that the last
 * one can put back what was there before. What arrives meanwhile is taken, and all
 * else goes where it went before: nothing is lost between the two. Where it is decided:
 *   handler   nobody watches: passed on to what was there before, at once (somebody has
 *             put our handler back). Else the bit, and the clock
 *   clock     a bit, and nobody watches any more: sent again, the handler is not ours now
 *   end       a bit, or a source that the clock has taken and perhaps not yet cancelled,
 *             since this context began: the signal came first, so it is the end; who
 *             cancels the context does so with the signal's cause
 * `moment` counts watches and takes, so that a context can tell which came first.
 *
 * Who reads what was there before while it changes does not wait (he may have interrupted
 * the writer): a context that begins to watch makes that change, so the signal is noted for
 * it.
 *
 * Ordering pairs:
 *   Y1/Y1  the handler sets the bit, then kicks (Z1); the clock has read its word before it
 *         takes the bits (Z2). Without it the clock sleeps over a signal.
 *   Y2/Y2  what was there before is written under the lock and read by a handler at any
 *         time, on whatever thread: `version` is odd while it changes, and another one
 *         afterwards; all seq_cst. Without it a signal goes to half of one handler and half
 *         of another.
 *   Y3/Y3  the end that a signal makes is stored before `signals` is cleared, a release; so
 *         who cancels beside another and has nothing left to give back ends the context in
 *         the same way. Without it that one's cause is another.
 *   Y4/Y4  a watcher is counted before our handler is installed, which the handler loads.
 *         Without it the handler passes on what a context watches.
 */
#include "host/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include "base/probe.h"
#include "callbacks/worker.h"
#include "time/clock.h"
#include "tree/extension.h"
#include "tree/merge.h"

#define SIGNALS 64 /* 1 to 64, a bit each */

/* What was there before, for the handler: see Y2. */
struct previous {
    atomic_u32 version;
    atomic_u32 flags;
    atomic_u64 mask; /* a bit each */
    atomic_word handler;
};

struct source {
    canopy_ctx *ctx;
    atomic_u32 watchers; /* changed under signals_lock */
    uint64_t taken;      /* the moment when the clock last took it */
    struct sigaction before;
    struct previous previous;
    canopy_cause cause;
    char text[32];
};

pthread_mutex_t signals_lock = PTHREAD_MUTEX_INITIALIZER;
static struct source sources[SIGNALS + 1]; /* under signals_lock, but for what is atomic */
static uint64_t moment, forked;            /* the last; that of the fork, in its child */
static atomic_u64 arrived;

static uint64_t signal_bit(int number)
{
    return UINT64_C(1) << (number - 1);
}

static bool arrived_has(int number)
{
    return u64_load_acquire(&arrived) & signal_bit(number); /* Y1 */
}

/* Takes the bit back: whether it was set. */
static bool arrived_take(int number)
{
    uint64_t bits = u64_load_relaxed(&arrived);
    while ((bits & signal_bit(number)) &&
           !u64_cas_acq_rel(&arrived, &bits, bits & ~signal_bit(number))) /* Y1 */
        ;
    return bits & signal_bit(number);
}

/* To the process, as what is there now has it. Without locks. */
static void send_again(uint64_t signals)
{
    for (int number = 1; signals; number++) {
        if (signals & signal_bit(number))
            kill(getpid(), number);
        signals &= ~signal_bit(number);
    }
}

/* -------------------------------------------------------------------- handler */

/* For the contexts that watch, by the clock. */
static void note(int number)
{
    uint64_t bits = u64_load_relaxed(&arrived);
    while (!u64_cas_acq_rel(&arrived, &bits, bits | signal_bit(number))) /* Y1 */
        ;
    clock_kick();
}

/* As the kernel would have called it, had it been there. */
static void call(const struct sigaction *action, int number, siginfo_t *info, void *machine)
{
    if (machine) {
        const ucontext_t *interrupted = machine;
        sigset_t mask = action->sa_mask;
        for (int i = 1; i <= SIGNALS; i++)
            if (sigismember(&interrupted->uc_sigmask, i) == 1)
                sigaddset(&mask, i);
        if (!(action->sa_flags & SA_NODEFER))
            sigaddset(&mask, number);
        pthread_sigmask(SIG_SETMASK, &mask, NULL); /* until our handler returns */
    }
    if (action->sa_flags & SA_SIGINFO)
        action->sa_sigaction(number, info, machine);
    else
        action->sa_handler(number);
}

static bool previous_read(const struct previous *previous, struct sigaction *action)
{
    uint32_t version = u32_load_seq_cst(&previous->version); /* Y2 */
    uint64_t mask = u64_load_seq_cst(&previous->mask);       /* Y2 */
    memset(action, 0, sizeof *action);
    action->sa_flags = (int)u32_load_seq_cst(&previous->flags);                /* Y2 */
    action->sa_handler = (void (*)(int))word_load_seq_cst(&previous->handler); /* Y2 */
    sigemptyset(&action->sa_mask);
    for (int i = 1; i <= SIGNALS; i++)
        if (mask & signal_bit(i))
            sigaddset(&action->sa_mask, i);
    return !(version & 1) && u32_load_seq_cst(&previous->version) == version; /* Y2 */
}

static void previous_write(struct previous *previous, const struct sigaction *action)
{
    uint64_t mask = 0;
    for (int i = 1; i <= SIGNALS; i++)
        if (sigismember(&action->sa_mask, i) == 1)
            mask |= signal_bit(i);
    u32_fetch_add_seq_cst(&previous->version, 1);                          /* Y2 */
    u64_store_seq_cst(&previous->mask, mask);                              /* Y2 */
    u32_store_seq_cst(&previous->flags, (uint32_t)action->sa_flags);       /* Y2 */
    word_store_seq_cst(&previous->handler, (uintptr_t)action->sa_handler); /* Y2 */
    u32_fetch_add_seq_cst(&previous->version, 1);                          /* Y2 */
}

static void pass_on(int number, siginfo_t *info, void *machine)
{
    struct previous *previous = &sources[number].previous;
    struct sigaction action;
    if (!previous_read(previous, &action)) {
        note(number);
        return;
    }
    if (action.sa_handler == SIG_IGN)
        return;
    if (action.sa_handler == SIG_DFL) {
        struct sigaction none = {.sa_handler = SIG_DFL};
        sigaction(number, &none, NULL);
        raise(number); /* when we return: until then it is blocked */
        return;
    }
    uintptr_t handler = (uintptr_t)action.sa_handler;
    if (action.sa_flags & (int)SA_RESETHAND)
        word_cas_seq_cst(&previous->handler, &handler, (uintptr_t)SIG_DFL); /* Y2 */
    call(&action, number, info, machine);
}

static void handler(int number, siginfo_t *info, void *machine)
{
    int saved_errno = errno;
    if (u32_load_acquire(&sources[number].watchers) > 0) /* Y4 */
        note(number);
    else
        pass_on(number, info, machine);
    errno = saved_errno;
}

static bool is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == handler;
}

/* ---------------------------------------------------------------------- watch */

static bool can_watch(int number)
{
    /*
     * What an instruction raises would be raised again as soon as the handler returns.
     * The two below SIGRTMIN are the C library's own.
     */
    static const int refused[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS,
                                  SIGFPE,  SIGILL,  SIGTRAP, SIGSYS};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (number == refused[i])
            return false;
    return number >= 1 && number <= SIGNALS && !(number > 31 && number < SIGRTMIN);
}

/* What glibc's sigabbrev_np says, which other C libraries do not have. */
static const char *const names[SIGNALS + 1] = {
    [SIGHUP] = "HUP",       [SIGINT] = "INT",       [SIGQUIT] = "QUIT", [SIGABRT] = "ABRT",
    [SIGUSR1] = "USR1",     [SIGUSR2] = "USR2",     [SIGPIPE] = "PIPE", [SIGALRM] = "ALRM",
    [SIGTERM] = "TERM",     [SIGCHLD] = "CHLD",     [SIGCONT] = "CONT", [SIGTSTP] = "TSTP",
    [SIGTTIN] = "TTIN",     [SIGTTOU] = "TTOU",     [SIGURG] = "URG",   [SIGXCPU] = "XCPU",
    [SIGXFSZ] = "XFSZ",     [SIGVTALRM] = "VTALRM", [SIGPROF] = "PROF", [SIGWINCH] = "WINCH",
    [SIGPOLL] = "POLL",     [SIGPWR] = "PWR",
#ifdef SIGSTKFLT
    [SIGSTKFLT] = "STKFLT",
#endif
};

static void cause_make(struct source *source, int number)
{
    if (source->cause.text)
        return;
    const char *name = names[number];
    if (name)
        snprintf(source->text, sizeof source->text, "signal SIG%s", name);
    else
        snprintf(source->text, sizeof source->text, "signal SIGRTMIN+%d", number - SIGRTMIN);
    source->cause = (canopy_cause){.code = number, .text = source->text};
}

int canopy_cause_signal(const canopy_cause *cause)
{
    int number = cause ? cause->code : 0;
    bool is_signal = number >= 1 && number <= SIGNALS && cause == &sources[number].cause;
    return is_signal ? number : 0;
}

/* One more watcher; the first installs our handler. 0 or an errno. */
static int source_watch(int number)
{
    struct source *source = &sources[number];
    cause_make(source, number);
    if (!source->ctx)
        source->ctx = canopy_with_cancel(canopy_background());
    if (!source->ctx)
        return errno;
    /* Y4: first, as from the installation on the handler must not look for what was before. */
    if (u32_fetch_add_acq_rel(&source->watchers, 1) > 0)
        return 0;
    struct sigaction before;
    struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    ours.sa_sigaction = handler;
    sigfillset(&ours.sa_mask);
    if (sigaction(number, &ours, &before) != 0) {
        u32_fetch_add_acq_rel(&source->watchers, (uint32_t)-1); /* Y4 */
        return errno;
    }
    if (!is_ours(&before)) { /* else somebody has put it back: what was before that still counts */
        source->before = before;
        previous_write(&source->previous, &before);
    }
    return 0;
}

/* What was there before is there again, unless somebody replaced ours. */
static void restore(int number)
{
    struct sigaction now;
    if (sigaction(number, NULL, &now) == 0 && is_ours(&now))
        sigaction(number, &sources[number].before, NULL);
}

/* One watcher less: true if it was the last. */
static bool source_unwatch(int number)
{
    struct source *source = &sources[number];
    if (u32_fetch_add_acq_rel(&source->watchers, (uint32_t)-1) > 1) /* Y4 */
        return false;
    restore(number);
    canopy_release(source->ctx);
    source->ctx = NULL;
    return true;
}

/* A context stops watching. What came for it before is its end, unless `end` says another. */
static uintptr_t watch_end(struct extension *extension, uintptr_t end)
{
    uint64_t signals = u64_load_relaxed(&extension->signals);
    if (extension->watches_since <= forked)
        signals = 0; /* see signals_fork_child */
    for (int number = 1; number <= SIGNALS; number++) {
        if (!(signals & signal_bit(number)))
            continue;
        struct source *source = &sources[number];
        /* Where others go on watching the bit stays, for the clock to tell them. */
        bool has_come = source_unwatch(number) ? arrived_take(number) : arrived_has(number);
        if (!end && (has_come || source->taken > extension->watches_since))
            end = state_word(&source->cause, STATE_CANCELED);
    }
    return end;
}

uintptr_t signals_give_back(const struct canopy_ctx *ctx)
{
    struct extension *extension = aux_extension(word_load_acquire(&ctx->aux)); /* Q2 */
    if (u64_load_acquire(&extension->signals) == 0)                            /* Y3 */
        return word_load_relaxed(&extension->end);
    rcu_thread_ready(); /* see canopy_with_signals */
    pthread_mutex_lock(&signals_lock);
    uintptr_t end = watch_end(extension, word_load_relaxed(&extension->end));
    word_store_relaxed(&extension->end, end);
    u64_store_release(&extension->signals, 0); /* Y3 */
    pthread_mutex_unlock(&signals_lock);
    return end;
}

void signals_end(const struct canopy_ctx *ctx)
{
    signals_give_back(ctx);
}

/* Of a constructor that fails: no context has what came meanwhile. */
static void unwatch_all(uint64_t signals)
{
    uint64_t unheard = 0;
    pthread_mutex_lock(&signals_lock);
    for (int number = 1; number <= SIGNALS; number++)
        if ((signals & signal_bit(number)) && source_unwatch(number) && arrived_take(number))
            unheard |= signal_bit(number);
    pthread_mutex_unlock(&signals_lock);
    send_again(unheard);
}

canopy_ctx *canopy_with_signals(const canopy_ctx *parent, const int signals[], size_t n)
{
    uint64_t wanted = 0;
    bool valid = parent && signals && n > 0;
    for (size_t i = 0; valid && i < n; i++) {
        valid = can_watch(signals[i]);
        if (valid)
            wanted |= signal_bit(signals[i]);
    }
    int err = valid ? clock_ready() : EINVAL;
    if (!err && !rcu_thread_ready()) /* which takes locks that fork takes before ours */
        err = ENOMEM;
    if (err) {
        errno = err;
        return NULL;
    }
    const canopy_ctx *inputs[SIGNALS + 1] = {parent};
    size_t count = 1;
    uint64_t watched = 0, watches_since;
    pthread_mutex_lock(&signals_lock);
    watches_since = ++moment;
    for (int number = 1; number <= SIGNALS && !err; number++) {
        if (!(wanted & signal_bit(number)))
            continue;
        err = source_watch(number);
        if (err)
            break;
        watched |= signal_bit(number);
        /* A handle of our own: the clock may replace the source as soon as we unlock. */
        inputs[count++] = canopy_retain(sources[number].ctx);
    }
    pthread_mutex_unlock(&signals_lock);
    canopy_ctx *ctx = err ? NULL : merged_new(inputs, count, PLACE_OF_CALL);
    if (!ctx && !err)
        err = errno;
    for (size_t i = 1; i < count; i++)
        canopy_release(inputs[i]);
    if (ctx) {
        struct extension *extension = extension_get(ctx); /* every merged context has one */
        extension->watches_since = watches_since;
        u64_store_relaxed(&extension->signals, wanted);
        return ctx;
    }
    unwatch_all(watched);
    errno = err;
    return NULL;
}

/* On the clock's thread: what arrived and is to be ended; let go of afterwards. */
static canopy_ctx *ended[SIGNALS + 1];
static unsigned ended_count;

void signals_poll(struct pass *pass)
{
    const canopy_cause *causes[SIGNALS + 1];
    uint64_t unheard = 0;
    if (u64_load_relaxed(&arrived) == 0)
        return;
    /* Bits and sources in one step, or a bit could end a source that came after it. */
    rcu_thread_ready(); /* see canopy_with_signals */
    pthread_mutex_lock(&signals_lock);
    uint64_t bits = u64_exchange_acq_rel(&arrived, 0); /* Y1 */
    for (int number = 1; number <= SIGNALS; number++) {
        struct source *source = &sources[number];
        if (!(bits & signal_bit(number)))
            continue;
        if (u32_load_relaxed(&source->watchers) == 0)
            unheard |= signal_bit(number); /* the handler was late */
        if (!source->ctx)
            continue; /* else all who watch have ended by one that came earlier */
        source->taken = ++moment;
        PROBE2(signal, number, &source->cause);
        causes[ended_count] = &source->cause;
        ended[ended_count++] = source->ctx;
        source->ctx = NULL;
    }
    pthread_mutex_unlock(&signals_lock);
    send_again(unheard);
    for (unsigned i = 0; i < ended_count; i++)
        cancel_tree(ended[i], state_word(causes[i], STATE_CANCELED), pass);
}

void signals_told(void)
{
    while (ended_count > 0)
        canopy_release(ended[--ended_count]);
}

void signals_fork_child(void)
{
    u64_store_relaxed(&arrived, 0);
    ended_count = 0;
    for (int number = 1; number <= SIGNALS; number++) {
        struct source *source = &sources[number];
        if (u32_load_relaxed(&source->watchers) == 0)
            continue;
        restore(number);
        u32_store_relaxed(&source->watchers, 0);
        source->ctx = NULL; /* inherited memory is left as it is */
    }
    forked = moment;
}
