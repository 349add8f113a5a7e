/*
 * stress.c - runs stress scenarios: reads the arguments, leads the team of
 * threads through rounds and chapters, watches that it moves, and reports.
 */
#include "stress.h"
#include "team.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static stress_scenario *scenarios;

void stress_register(stress_scenario *scenario)
{
    stress_scenario **at = &scenarios;
    while (*at && strcmp((*at)->name, scenario->name) < 0)
        at = &(*at)->next;
    scenario->next = *at;
    *at = scenario;
}

typedef struct stress_options {
    double seconds;
    uint64_t seed;
    unsigned threads; /* 0: what the scenario likes best */
    char **names;     /* the scenarios to run; none: all */
    int names_count;
} stress_options;

/* Runs chapters until the time is over and every race that has to be seen was
 * seen; a machine too busy to show them gets some more time, within reason. */
static void run_scenario(const stress_scenario *scenario, const stress_options *options)
{
    uint64_t counts[STRESS_MAX_COUNTS] = {0};
    uint64_t rounds = 0;
    int64_t begin_ns = stress_now_ns();
    int64_t planned_ns = begin_ns + (int64_t)(options->seconds * 1e9);
    int64_t latest_ns = planned_ns + STRESS_PATIENCE_NS;

    stress = (stress_run){.scenario = scenario, .seed = options->seed};
    stress.threads = options->threads ? options->threads : scenario->threads;
    if (stress.threads < scenario->threads_min)
        stress.threads = scenario->threads_min;
    printf("%s: seed %llu, %u threads\n", scenario->name, (unsigned long long)stress.seed,
           stress.threads);
    fflush(stdout);

    if (scenario->open)
        scenario->open();
    const char *missing = NULL;
    for (uint64_t chapter = 0; stress_now_ns() < (missing ? latest_ns : planned_ns); chapter++) {
        int64_t until_ns = stress_now_ns() + TEAM_CHAPTER_NS;
        if (!missing && until_ns > planned_ns)
            until_ns = planned_ns;
        rounds += team_chapter(chapter, until_ns, counts);
        missing = NULL;
        for (unsigned i = 0; i < STRESS_MAX_COUNTS; i++)
            if (scenario->counters[i].required && counts[i] == 0)
                missing = scenario->counters[i].label;
    }
    CHECK(!missing, "the race was not run: no \"%s\" in %llu rounds", missing,
          (unsigned long long)rounds);

    printf("%s: kept in %llu rounds", scenario->name, (unsigned long long)rounds);
    for (unsigned i = 0; i < STRESS_MAX_COUNTS && scenario->counters[i].label; i++)
        printf(", %llu %s", (unsigned long long)counts[i], scenario->counters[i].label);
    printf("; %.1f s\n", (double)(stress_now_ns() - begin_ns) / 1e9);
    fflush(stdout);
}

/* Runs each scenario whose name starts with `prefix`; false if there is none. */
static bool run_matching(const char *prefix, const stress_options *options)
{
    bool found = false;
    for (const stress_scenario *s = scenarios; s; s = s->next) {
        if (strncmp(s->name, prefix, strlen(prefix)) == 0) {
            found = true;
            run_scenario(s, options);
        }
    }
    return found;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    stress_options *options = state->input;
    char *rest = NULL;
    switch (key) {
    case 's':
        options->seconds = strtod(argument, &rest);
        if (*rest || !(options->seconds > 0 && options->seconds < 1e6))
            argp_error(state, "not a number of seconds: %s", argument);
        return 0;
    case 'r':
        options->seed = strtoull(argument, &rest, 0);
        if (*rest)
            argp_error(state, "not a seed: %s", argument);
        return 0;
    case 't':
        options->threads = (unsigned)strtoul(argument, &rest, 10);
        if (*rest || options->threads < 2 || options->threads > STRESS_MAX_THREADS)
            argp_error(state, "threads are 2 to %d, not %s", STRESS_MAX_THREADS, argument);
        return 0;
    case 'l':
        for (const stress_scenario *s = scenarios; s; s = s->next)
            puts(s->name);
        exit(0);
    case ARGP_KEY_ARGS:
        options->names = state->argv + state->next;
        options->names_count = state->argc - state->next;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option known[] = {
        {"seconds", 's', "N", 0, "how long each scenario runs (2)", 0},
        {"seed", 'r', "N", 0, "of all randomness (a new one each time)", 0},
        {"threads", 't', "N", 0, "that race (what the scenario likes best)", 0},
        {"list", 'l', NULL, 0, "print the names of the scenarios", 0},
        {0}};
    static const struct argp parser = {
        known,
        parse_option,
        "[SCENARIO...]",
        "Races canopy's promises. SCENARIO is the beginning of a name; none: all of them.",
        NULL,
        NULL,
        NULL};
    stress_options options = {.seconds = 2};

    if (getrandom(&options.seed, sizeof options.seed, GRND_NONBLOCK) < 0)
        options.seed = (uint64_t)stress_now_ns();
    /* Seeds are typed in again by people: ten digits are enough. */
    options.seed &= UINT32_MAX;
    argp_parse(&parser, argc, argv, 0, NULL, &options);

    if (options.names_count == 0)
        run_matching("", &options);
    for (int i = 0; i < options.names_count; i++) {
        if (!run_matching(options.names[i], &options)) {
            fprintf(stderr, "stress: no scenario is called %s\n", options.names[i]);
            return 2;
        }
    }
    return 0;
}
