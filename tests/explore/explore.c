/*
 * explore.c - the command: explores scenarios, each until its search is complete
 * or a limit is reached, and prints how many executions that took.
 *
 *   explore [--preemptions=N] [--delays=N] [--executions=N] [--jobs=N]
 *           [--memory=background|root] [--replay=SCHEDULE] [--list] [SCENARIO ...]
 *
 * Jobs are searches at a time: 1 by default, with 0 as many as there are processors.
 * A clean run says that no order of the steps breaks a promise within that many
 * preemptions, each step seen by all at once; with delays, also where store buffers
 * hold stores back that many times (atomics.c). What machines with weaker orders
 * than x86 could do it does not say.
 */
#include "fiber.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The program's own variables, as the linker lays them out. */
extern char __data_start[], _end[];

static size_t variables_bytes(void)
{
    return (uintptr_t)_end - (uintptr_t)__data_start;
}

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
    }
    CHECK(memory_live_contexts() == 0);
    CHECK(system_open_fds() == 0);
}

/* --------------------------------------------------------------------- executions */

static void execute(const struct scenario *scenario)
{
    memcpy(__data_start, variables_before, variables_bytes());
    memory_reset();
    schedule_reset();
    explorer->reclaimer = fiber_spawn(reclaimer_body, true);
    if (explorer->own_root) {
        canopy_config config = {.size = sizeof config, .clock = CANOPY_CLOCK_HOST, .now_ns = 1};
        if (scenario->clock == CLOCK_LIBRARY)
            config = (canopy_config){.size = sizeof config};
        root = canopy_root_new(&config);
        CHECK(root);
    }
    scenario->run();
}

bool explore(const struct search *search)
{
    explorer->scenario = search->scenario;
    explorer->own_root = search->own_root;
    explorer->executions = 0;
    bool more = true;
    while (more && (!execution_limit || explorer->executions < execution_limit)) {
        execute(search->scenario);
        explorer->executions++;
        if (explorer->replay)
            return true;
        if (explorer->found_sharing)
            schedule_forget();
        else
            more = schedule_next();
        explorer->found_sharing = false;
    }
    return !more;
}

/* ------------------------------------------------------------------- command line */

static void usage(void)
{
    fputs("usage: explore [--preemptions=N] [--delays=N] [--executions=N] [--jobs=N]\n"
          "               [--memory=background|root] [--replay=SCHEDULE] [--list] [SCENARIO ...]\n",
          stderr);
    exit(2);
}

static void replay_read(const char *text)
{
    unsigned count = 0;
    for (char *end; *text && count < CHOICES; text = end + (*end == ',')) {
        struct switch_point *point = &explorer->replayed[count++];
        point->step = (uint32_t)strtoul(text, &end, 10);
        if (*end != ':')
            usage();
        point->fiber = (uint8_t)strtoul(end + 1, &end, 10);
        point->is_write = *end == '+';
        if (*end == '+' || *end == '-')
            point->store = (uint32_t)strtoul(end + 1, &end, 10);
    }
    explorer->replay = true;
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

/* The searches that the command line asks for, in an array to be freed. */
static unsigned searches_choose(char **names, int count, const char *memory,
                                struct search **searches)
{
    bool with_background = !memory || strcmp(memory, "background") == 0;
    bool with_root = !memory || strcmp(memory, "root") == 0;
    unsigned room = 0, chosen = 0;
    if (!with_background && !with_root)
        usage();
    for (const struct scenario *s = scenarios; s; s = s->next)
        room += 2;
    *searches = calloc(room + 1, sizeof **searches);
    for (const struct scenario *s = scenarios; *searches && s; s = s->next) {
        if (!is_asked_for(s, names, count))
            continue;
        if (with_background && s->clock != CLOCK_HOST)
            (*searches)[chosen++] = (struct search){s, false};
        if (with_root)
            (*searches)[chosen++] = (struct search){s, true};
    }
    return chosen;
}

static bool set_up(void)
{
    explorer =
        mmap(NULL, sizeof *explorer, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    variables_before = malloc(variables_bytes());
    if (explorer == MAP_FAILED || !variables_before)
        return false;
    memory_setup();
    explorer->preemption_bound = 2;
    return true;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"preemptions", required_argument, NULL, 'p'},
                                            {"delays", required_argument, NULL, 'd'},
                                            {"executions", required_argument, NULL, 'e'},
                                            {"jobs", required_argument, NULL, 'j'},
                                            {"memory", required_argument, NULL, 'm'},
                                            {"replay", required_argument, NULL, 'r'},
                                            {"list", no_argument, NULL, 'l'},
                                            {NULL, 0, NULL, 0}};
    const char *memory = NULL;
    unsigned jobs = 1;
    if (!set_up())
        return 1;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'p':
            explorer->preemption_bound = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'd':
            explorer->delay_bound = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'e':
            execution_limit = strtoull(optarg, NULL, 10);
            break;
        case 'j':
            jobs = (unsigned)strtoul(optarg, NULL, 10);
            if (jobs == 0)
                jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
            break;
        case 'm':
            memory = optarg;
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
    struct search *searches;
    unsigned count = searches_choose(argv + optind, argc - optind, memory, &searches);
    memcpy(variables_before, __data_start, variables_bytes());
    bool clean = searches_run(searches, count, jobs);
    free(searches);
    return clean ? 0 : 1;
}
