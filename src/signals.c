/*
 * signals.c - contexts that a signal ends.
 *
 * Each watched signal has a source, a context under background; with_signals is
 * with_any over the parent and the sources. The handler notes the signal and
 * kicks the clock's thread, which cancels the source; the next context on that
 * signal gets a new one. How many contexts watch a signal is counted, so that the
 * last one can put back what was there before.
 *
 * Y1: the handler sets the bit, then kicks; the clock has read its word before it
 * takes the bits (clock.c), so it does not sleep over one.
 */
#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "extension.h"
#include "worker.h"

#define SIGNALS 64 /* 1 to 64, a bit each */

struct source {
    canopy_ctx *ctx;
    unsigned watchers;
    struct sigaction before;
    canopy_cause cause;
    char text[32];
};

pthread_mutex_t signals_lock = PTHREAD_MUTEX_INITIALIZER;
static struct source sources[SIGNALS + 1]; /* under signals_lock */
static atomic_u64 arrived;

static uint64_t signal_bit(int number)
{
    return UINT64_C(1) << (number - 1);
}

/* What arrived before is no business of a context that comes after. */
static void forget_arrived(int number)
{
    uint64_t bits = u64_load_relaxed(&arrived);
    while (!u64_cas_acq_rel(&arrived, &bits, bits & ~signal_bit(number)))
        ;
}

static void handler(int number)
{
    int saved_errno = errno;
    uint64_t bits = u64_load_relaxed(&arrived);
    while (!u64_cas_acq_rel(&arrived, &bits, bits | signal_bit(number))) /* Y1 */
        ;
    clock_kick();
    errno = saved_errno;
}

static bool can_watch(int number)
{
    /* The two below SIGRTMIN are the C library's own. */
    return number >= 1 && number <= SIGNALS && number != SIGKILL && number != SIGSTOP &&
           !(number > 31 && number < SIGRTMIN);
}

static void cause_make(struct source *source, int number)
{
    if (source->cause.text)
        return;
    const char *name = sigabbrev_np(number);
    if (name)
        snprintf(source->text, sizeof source->text, "signal SIG%s", name);
    else
        snprintf(source->text, sizeof source->text, "signal SIGRTMIN+%d", number - SIGRTMIN);
    source->cause = (canopy_cause){.code = number, .text = source->text};
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
    if (source->watchers == 0) {
        forget_arrived(number);
        struct sigaction ours = {.sa_handler = handler, .sa_flags = SA_RESTART};
        sigfillset(&ours.sa_mask);
        if (sigaction(number, &ours, &source->before) != 0)
            return errno;
    }
    source->watchers++;
    return 0;
}

static void source_unwatch(int number)
{
    struct source *source = &sources[number];
    struct sigaction now;
    if (--source->watchers > 0)
        return;
    if (sigaction(number, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
        now.sa_handler == handler)
        sigaction(number, &source->before, NULL);
    canopy_release(source->ctx);
    source->ctx = NULL;
}

static void unwatch_all(uint64_t signals)
{
    rcu_thread_ready(); /* see canopy_with_signals */
    pthread_mutex_lock(&signals_lock);
    for (int number = 1; number <= SIGNALS; number++)
        if (signals & signal_bit(number))
            source_unwatch(number);
    pthread_mutex_unlock(&signals_lock);
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
    uint64_t watched = 0;
    pthread_mutex_lock(&signals_lock);
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
    canopy_ctx *ctx = err ? NULL : canopy_with_any(inputs, count);
    if (!ctx && !err)
        err = errno;
    for (size_t i = 1; i < count; i++)
        canopy_release(inputs[i]);
    if (ctx) {
        extension_get(ctx)->signals = wanted;
        return ctx;
    }
    unwatch_all(watched);
    errno = err;
    return NULL;
}

/* On the clock's thread: what arrived and is to be ended; let go of afterwards. */
static canopy_ctx *ended[SIGNALS + 1];
static unsigned ended_count;

static void poll(struct pass *pass)
{
    const canopy_cause *causes[SIGNALS + 1];
    if (u64_load_relaxed(&arrived) == 0)
        return;
    /* Bits and sources in one step, or a bit could end a source that came after it. */
    rcu_thread_ready(); /* see canopy_with_signals */
    pthread_mutex_lock(&signals_lock);
    uint64_t bits = u64_exchange_acq_rel(&arrived, 0); /* Y1 */
    for (int number = 1; number <= SIGNALS; number++) {
        struct source *source = &sources[number];
        if (!(bits & signal_bit(number)) || !source->ctx)
            continue;
        causes[ended_count] = &source->cause;
        ended[ended_count++] = source->ctx;
        source->ctx = NULL;
    }
    pthread_mutex_unlock(&signals_lock);
    for (unsigned i = 0; i < ended_count; i++)
        cancel_tree(ended[i], state_word(causes[i], STATE_CANCELED), pass);
}

static void done(void)
{
    while (ended_count > 0)
        canopy_release(ended[--ended_count]);
}

void signals_init(void)
{
    ctx_hooks.signals_end = unwatch_all;
    clock_poll_signals = poll;
    clock_signals_done = done;
}

void signals_fork_child(void)
{
    u64_store_relaxed(&arrived, 0);
}
