/*
 * explore.c - the command: explores scenarios, each until its search is complete
 * or a limit is reached, and prints how many executions that took.
 *
 *   explore [--preemptions=N] [--executions=N] [--memory=background|root]
 *           [--replay=SCHEDULE] [--list] [SCENARIO ...]
 *
 * A clean run says that no order of the steps, each seen by all at once, breaks a
 * promise within that many preemptions. What weaker memory orders could do it does
 * not say.
 */
#include "fiber.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* The program's own variables, as the linker lays them out. */
extern char __data_start[], _end[];

static struct scenario *scenarios;
static char *variables_before;
static uint64_t execution_limit;
static canopy_ctx *root;

void scenario_register(struct scenario *scenario)
{
    struct scenario **at = &scenarios;
    while (*at && strcmp((*at)->name, scenario->name) < 0)
        at = &(*at)->next;
    scenario->next = *at;
    *at = scenario;
}

/* ---------------------------------------------------------- for use in scenarios */

const canopy_ctx *scenario_base(void)
{
    return root ? root : canopy_background();
}

canopy_ctx *scenario_root(void)
{
    return root;
}

void scenario_close(void)
{
    fiber_wait(WAIT_SETTLED);
    if (root) {
        CHECK(memory_live_contexts() == 1);
        CHECK(canopy_root_free(root) == 0);
    } else {
        CHECK(memory_live_contexts() == 0);
    }
}

/* --------------------------------------------------------------------- executions */

static void execute(const struct scenario *scenario)
{
    memcpy(__data_start, variables_before, (size_t)(_end - __data_start));
    memory_reset();
    schedule_reset();
    explorer->reclaimer = fiber_spawn(reclaimer_body, true);
    if (explorer->own_root) {
        canopy_config config = {.size = sizeof config, .clock = CANOPY_CLOCK_HOST, .now_ns = 1};
        root = canopy_root_new(&config);
        CHECK(root);
    }
    scenario->run();
}

static void explore(const struct scenario *scenario, bool own_root)
{
    explorer->scenario = scenario;
    explorer->own_root = own_root;
    explorer->executions = 0;
    memset(explorer->places, 0, sizeof explorer->places);
    explorer->place_count = 0;
    explorer->found_sharing = false;
    schedule_forget();
    bool more = true;
    while (more && (!execution_limit || explorer->executions < execution_limit)) {
        execute(scenario);
        explorer->executions++;
        if (explorer->replay)
            break;
        if (explorer->found_sharing)
            schedule_forget();
        else
            more = schedule_next();
        explorer->found_sharing = false;
    }
    printf("%-44s %-10s %10" PRIu64 " executions, %u preemptions, %s\n", scenario->name,
           own_root ? "own root" : "background", explorer->executions, explorer->preemption_bound,
           more ? "not complete" : "complete");
    fflush(stdout);
}

/* ------------------------------------------------------------------- command line */

static void usage(void)
{
    fputs("usage: explore [--preemptions=N] [--executions=N] [--memory=background|root]\n"
          "               [--replay=SCHEDULE] [--list] [SCENARIO ...]\n",
          stderr);
    exit(2);
}

static void replay_read(const char *text)
{
    struct switch_point *points = calloc(CHOICES, sizeof *points);
    unsigned count = 0;
    for (char *end; points && *text && count < CHOICES; text = end + (*end == ',')) {
        points[count].step = (uint32_t)strtoul(text, &end, 10);
        if (*end != ':')
            usage();
        points[count++].to = (uint8_t)strtoul(end + 1, &end, 10);
    }
    explorer->replay = points;
    explorer->replay_count = count;
}

static bool is_asked_for(const struct scenario *scenario, char **names, int count)
{
    bool asked = count == 0;
    for (int i = 0; i < count; i++)
        asked |= strcmp(names[i], scenario->name) == 0;
    return asked;
}

static bool is_known(const char *name)
{
    for (const struct scenario *s = scenarios; s; s = s->next)
        if (strcmp(s->name, name) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"preemptions", required_argument, NULL, 'p'},
                                            {"executions", required_argument, NULL, 'e'},
                                            {"memory", required_argument, NULL, 'm'},
                                            {"replay", required_argument, NULL, 'r'},
                                            {"list", no_argument, NULL, 'l'},
                                            {NULL, 0, NULL, 0}};
    bool with_background = true, with_root = true;
    explorer =
        mmap(NULL, sizeof *explorer, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (explorer == MAP_FAILED)
        return 1;
    memory_setup();
    explorer->preemption_bound = 2;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'p':
            explorer->preemption_bound = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'e':
            execution_limit = strtoull(optarg, NULL, 10);
            break;
        case 'm':
            with_background = strcmp(optarg, "background") == 0;
            with_root = strcmp(optarg, "root") == 0;
            if (!with_background && !with_root)
                usage();
            break;
        case 'r':
            replay_read(optarg);
            break;
        case 'l':
            for (const struct scenario *s = scenarios; s; s = s->next)
                puts(s->name);
            return 0;
        default:
            usage();
        }
    }
    for (int i = optind; i < argc; i++)
        if (!is_known(argv[i]))
            usage();
    size_t bytes = (size_t)(_end - __data_start);
    char *before = malloc(bytes);
    if (!before)
        return 1;
    variables_before = before;
    memcpy(before, __data_start, bytes);
    uint64_t total = 0;
    for (const struct scenario *s = scenarios; s; s = s->next) {
        if (!is_asked_for(s, argv + optind, argc - optind))
            continue;
        if (with_background && !s->needs_host_clock) {
            explore(s, false);
            total += explorer->executions;
        }
        if (with_root) {
            explore(s, true);
            total += explorer->executions;
        }
    }
    printf("%" PRIu64 " executions\n", total);
    return 0;
}
