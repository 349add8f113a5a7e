/*
 * signal_scenarios.c - contexts that a signal ends, beside the signal, its end and
 * its beginning. Promise 37.
 */
#include "explore.h"

#include <errno.h>

static canopy_ctx *parent, *watching, *second;
static int handled_before; /* by the handler that was there first */
static bool cancelled;

static const int signals[] = {SIGUSR1};

static void handles_before(int number)
{
    CHECK(number == SIGUSR1);
    handled_before++;
}

static void make_parent(void)
{
    struct sigaction before = {.sa_handler = handles_before};
    parent = canopy_with_cancel(scenario_base());
    explore_sigaction(SIGUSR1, &before, NULL);
}

static void make(void)
{
    make_parent();
    watching = canopy_with_signals(parent, signals, 1);
}

/* What was there before is there again. */
static void end(void)
{
    struct sigaction now;
    canopy_end(second);
    canopy_end(watching);
    canopy_end(parent);
    explore_sigaction(SIGUSR1, NULL, &now);
    CHECK(now.sa_handler == handles_before);
    scenario_close();
}

static void raises(void)
{
    scenario_raise(SIGUSR1);
}

static void waits_for_signal(void)
{
    CHECK(canopy_wait(watching, CANOPY_NEVER));
    CHECK(canopy_cause_of(watching)->code == SIGUSR1);
}

SCENARIO(wait_beside_signal)
{
    make();
    beside(waits_for_signal, raises, NULL);
    CHECK(canopy_err(watching) == -ECANCELED && !canopy_done(parent));
    end();
}

SCENARIO(wait_beside_two_signals)
{
    make();
    beside(waits_for_signal, raises, raises, NULL);
    end();
}

static void releases_watching(void)
{
    canopy_release(watching);
    watching = NULL;
}

SCENARIO(release_beside_signal)
{
    make();
    beside(releases_watching, raises, NULL);
    end();
    CHECK(handled_before <= 1);
}

static void cancels_watching(void)
{
    cancelled = canopy_cancel(watching);
    CHECK(canopy_done(watching));
}

SCENARIO(cancel_beside_signal)
{
    make();
    beside(cancels_watching, raises, NULL);
    CHECK(canopy_wait(watching, CANOPY_NEVER));
    CHECK(canopy_cause_of(watching)->code == (cancelled ? -ECANCELED : SIGUSR1));
    end();
    CHECK(handled_before == cancelled); /* heard, or handled as before */
}

static canopy_ctx *child;
static int heard;

static void ends_watching(void)
{
    canopy_end(watching);
    watching = NULL;
}

static void cancels_second(void)
{
    canopy_cancel(second);
}

static void end_of_child(void)
{
    heard = canopy_cause_of(child)->code == SIGUSR1;
    canopy_end(child);
    end();
    CHECK(handled_before + heard == 1);
}

SCENARIO(end_over_a_child_beside_signal)
{
    make();
    child = canopy_with_cancel(watching);
    beside(ends_watching, raises, NULL);
    end_of_child();
}

/* Who cancels second does not take from the first what it is to end with. */
SCENARIO(two_ends_beside_signal)
{
    make();
    child = canopy_with_cancel(watching);
    canopy_retain(watching);
    second = watching;
    beside(ends_watching, cancels_second, raises, NULL);
    end_of_child();
}

static void watches(void)
{
    watching = canopy_with_signals(parent, signals, 1);
    CHECK(watching);
}

/* Whoever takes the signal takes it whole. */
SCENARIO(watch_beside_signal)
{
    make_parent();
    beside(watches, raises, NULL);
    if (!handled_before)
        waits_for_signal();
    end();
}

/* The same where somebody has put our handler back, which hands on to the one before. */
SCENARIO(watch_beside_signal_to_a_handler_put_back)
{
    struct sigaction ours;
    make();
    explore_sigaction(SIGUSR1, NULL, &ours);
    ends_watching();
    explore_sigaction(SIGUSR1, &ours, NULL);
    beside(watches, raises, NULL);
    if (!handled_before)
        waits_for_signal();
    end();
}

static int handled_later;

static void handles_later(int number)
{
    CHECK(number == SIGUSR1);
    handled_later++;
}

static void replaces_and_watches(void)
{
    struct sigaction later = {.sa_handler = handles_later};
    explore_sigaction(SIGUSR1, &later, NULL);
    watches();
}

/* What was there before changes while our handler, put back, is about to hand on to it. */
SCENARIO(another_watch_beside_signal_to_a_handler_put_back)
{
    struct sigaction ours, before = {.sa_handler = handles_before};
    make();
    explore_sigaction(SIGUSR1, NULL, &ours);
    ends_watching();
    explore_sigaction(SIGUSR1, &ours, NULL);
    beside(raises, replaces_and_watches, NULL);
    if (handled_before + handled_later == 0)
        waits_for_signal();
    CHECK(handled_before + handled_later <= 1);
    ends_watching();
    explore_sigaction(SIGUSR1, NULL, &ours);
    CHECK(ours.sa_handler == handles_later);
    explore_sigaction(SIGUSR1, &before, NULL);
    end();
}

static void watches_second(void)
{
    second = canopy_with_signals(parent, signals, 1);
    CHECK(second);
}

SCENARIO(second_watch_beside_signal)
{
    make();
    beside(watches_second, raises, NULL);
    CHECK(handled_before == 0);
    waits_for_signal();
    end();
}

SCENARIO(release_of_one_of_two_beside_signal)
{
    make();
    watches_second();
    beside(releases_watching, raises, NULL);
    CHECK(handled_before == 0);
    CHECK(canopy_wait(second, CANOPY_NEVER));
    end();
}

static canopy_callback record;
static int runs;

static void counts(void *arg)
{
    (void)arg;
    runs++;
}

static void stops_and_joins(void)
{
    bool stopped = canopy_callback_stop(&record);
    CHECK(canopy_callback_join(&record) == 0);
    CHECK(runs + stopped == 1);
}

SCENARIO(callback_beside_signal)
{
    make();
    CHECK(canopy_after_func(watching, &record, counts, NULL) == 0);
    beside(stops_and_joins, raises, NULL);
    end();
}
