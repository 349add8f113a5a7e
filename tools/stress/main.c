/*
 * main.c - the soak runner's options, its run, and its verdict.
 *
 * Exit status: 0 when every check held, 1 when one did not, 2 when the threads
 * stopped making progress, 64 for bad usage.
 */
#include "soak.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS         (NS_PER_SECOND / 50)
#define VIOLATIONS_TOLD 10

/* -------------------------------------------------------------------------- options */

enum { KEY_BACKGROUND = 256, KEY_FLAT, KEY_POINTS, KEY_SHIFT };

static const struct argp_option option_list[] = {
    {"mix", 'm', "NAME=WEIGHT,...", 0,
     "How often each operation comes: create, tree, timeout, value, callback, any, handover, "
     "guest, reset, wait. What is left out does not come at all",
     0},
    {"threads", 't', "N", 0, "Threads at work (default: the CPUs)", 0},
    {"seconds", 's', "S", 0, "End after so many seconds (default: 10)", 0},
    {"contexts", 'n', "N", 0, "End after so many contexts; 1e9 is fine", 0},
    {"seed", 'S', "N", 0, "What the random choices begin with (default: 1)", 0},
    {"shift", KEY_SHIFT, "N", 0,
     "Operations after which a thread ends and another takes its place (default: 5e6; 0: never)",
     0},
    {"points", KEY_POINTS, "N", 0, "Samples of the curve (default: 40)", 0},
    {"flat", KEY_FLAT, "PERCENT", 0,
     "Fail when resident memory (beyond 16 MB) or median latency grew by more from the second "
     "quarter of the run to the last",
     0},
    {"background", KEY_BACKGROUND, NULL, 0,
     "Work below background instead of a root whose memory is counted", 0},
    {"quiet", 'q', NULL, 0, "No progress on stderr", 0},
    {0}};

static double number(struct argp_state *state, const char *text)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end || errno || !(value >= 0 && value <= 1e15))
        argp_error(state, "not a number in range: %s", text);
    return value;
}

/* Where argp_error comes back, which argp lets a caller ask for, nothing more is read. */
static void parse_mix(struct argp_state *state, double mix[OP_COUNT], char *text)
{
    char *rest = NULL;
    memset(mix, 0, OP_COUNT * sizeof *mix);
    for (char *item = strtok_r(text, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
        char *weight = strchr(item, '=');
        unsigned op = 0;
        if (!weight) {
            argp_error(state, "no weight: %s", item);
            return;
        }
        *weight++ = '\0';
        while (op < OP_COUNT && strcmp(item, operation_names[op]) != 0)
            op++;
        if (op == OP_COUNT) {
            argp_error(state, "no such operation: %s", item);
            return;
        }
        mix[op] = number(state, weight);
    }
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    double all = 0;
    switch (key) {
    case 'm':
        parse_mix(state, options->mix, arg);
        return 0;
    case 't':
        options->threads = (unsigned)number(state, arg);
        return 0;
    case 's':
        options->seconds = number(state, arg);
        return 0;
    case 'n':
        options->contexts = (uint64_t)number(state, arg);
        return 0;
    case 'S':
        options->seed = (uint64_t)number(state, arg);
        return 0;
    case KEY_SHIFT:
        options->shift = (uint64_t)number(state, arg);
        return 0;
    case KEY_POINTS:
        options->points = (unsigned)number(state, arg);
        return 0;
    case KEY_FLAT:
        options->flat_percent = number(state, arg);
        return 0;
    case KEY_BACKGROUND:
        options->background = true;
        return 0;
    case 'q':
        options->quiet = true;
        return 0;
    case ARGP_KEY_END:
        if (options->seconds == 0 && options->contexts == 0)
            options->seconds = 10;
        for (unsigned op = 0; op < OP_COUNT; op++)
            all += options->mix[op];
        if (options->threads == 0 || options->threads > 1024 || options->points == 0 ||
            options->points > 100000 || all <= 0)
            argp_error(state, "threads, points and the mix must not be empty, or beyond reason");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    .options = option_list,
    .parser = parse_option,
    .doc =
        "Makes and ends contexts for as long as it is told to and checks each of them. Progress "
        "goes to stderr, JSON to stdout at the end.\v"
        "Left alone, the mix is create=50,timeout=20,value=10,callback=10,tree=5,any=5,"
        "handover=5,guest=5,reset=2,wait=0.02. A seed fixes what each thread draws, not how the "
        "threads meet.\n\n"
        "Exit status: 0 when every check held, 1 when one did not (nothing left behind and, with "
        "--flat, memory and latency flat are among them), 2 when nothing moved for two minutes, "
        "64 for bad usage.\n\n"
        "A thousand million contexts, and their curve:\n"
        "  canopy-stress --contexts 1e9 --flat 25 | curve",
};

/* ------------------------------------------------------------------------ the root */

static void *counted_allocate(void *user, size_t align_bytes, size_t size_bytes)
{
    struct run *run = user;
    void *memory = NULL;
    if (posix_memalign(&memory, align_bytes < sizeof(void *) ? sizeof(void *) : align_bytes,
                       size_bytes) != 0)
        return NULL;
    atomic_fetch_add(&run->held_bytes, size_bytes);
    return memory;
}

static void counted_release(void *user, void *memory, size_t align_bytes, size_t size_bytes)
{
    struct run *run = user;
    (void)align_bytes;
    atomic_fetch_sub(&run->held_bytes, size_bytes);
    free(memory);
}

static bool plant(struct run *run)
{
    const canopy_ctx *parent = canopy_background();
    if (!run->options.background) {
        canopy_config config = {.size = sizeof config,
                                .allocate = counted_allocate,
                                .release = counted_release,
                                .user = run};
        run->root = canopy_root_new(&config);
        if (!run->root)
            return false;
        parent = run->root;
    }
    run->session = canopy_with_cancel(parent);
    return run->session != NULL;
}

/* Everything is through: nothing may be left of what hung below the session. */
static void uproot(struct run *run)
{
    struct seat *seat = &run->seats[0];
    int64_t until_ns = now_ns() + PATIENCE_NS;
    uint64_t destroyed = 0;
    EXPECT(seat, canopy_wait_idle(run->session, until_ns) == 0, "contexts left behind");
    EXPECT(seat, canopy_err(run->session) == 0, "the session ended by itself");
    canopy_end(run->session);
    for (unsigned i = 0; i < run->options.threads; i++)
        destroyed += atomic_load(&run->seats[i].destroyed);
    EXPECT(seat, destroyed == total_of(run, TOTAL_BOUND), "values not destroyed once each");
    EXPECT(seat, total_of(run, TOTAL_MADE) == total_of(run, TOTAL_ENDED), "miscounted");
    if (!run->root)
        return;
    struct timespec tick = {0, TICK_NS};
    int err;
    while ((err = canopy_root_free(run->root)) == -EBUSY && now_ns() < until_ns)
        nanosleep(&tick, NULL);
    EXPECT(seat, err == 0, "the root stays busy");
    EXPECT(seat, atomic_load(&run->held_bytes) == 0, "memory left behind");
}

/* -------------------------------------------------------------------------- the run */

void violation(struct run *run, const struct seat *seat, const char *file, int line,
               const char *what)
{
    if (atomic_fetch_add(&run->violations, 1) < VIOLATIONS_TOLD)
        fprintf(stderr, "\n%s:%d: %s (thread %u, seed %" PRIu64 ")\n", file, line, what,
                seat->index, run->options.seed);
    atomic_store(&run->stop, true);
}

static void *shift_main(void *arg)
{
    work(arg);
    return NULL;
}

/* Keeps a seat taken: a new thread after each shift, so that heaps change hands. */
static void *seat_main(void *arg)
{
    struct seat *seat = arg;
    while (!atomic_load(&seat->run->stop)) {
        pthread_t shift;
        int err = pthread_create(&shift, NULL, shift_main, seat);
        EXPECT(seat, err == 0, "no thread for a shift");
        if (err == 0)
            pthread_join(shift, NULL);
    }
    return NULL;
}

/* Ends the process when nothing has moved for long: its threads cannot be joined. */
static void watch_progress(const struct run *run, uint64_t *ended_before, int64_t *moved_ns)
{
    uint64_t ended = total_of(run, TOTAL_ENDED);
    if (ended != *ended_before) {
        *ended_before = ended;
        *moved_ns = now_ns();
    } else if (now_ns() - *moved_ns > 2 * PATIENCE_NS) {
        fprintf(stderr, "\nno progress for %lld s (seed %" PRIu64 ")\n",
                (long long)(2 * PATIENCE_NS / NS_PER_SECOND), run->options.seed);
        _exit(EXIT_NO_PROGRESS);
    }
}

/* False: a thread could not be had. */
static bool soak(struct run *run, struct report *report)
{
    const struct options *options = &run->options;
    pthread_t *threads = calloc(options->threads, sizeof *threads);
    unsigned started = 0;
    while (threads && started < options->threads &&
           pthread_create(&threads[started], NULL, seat_main, &run->seats[started]) == 0)
        started++;
    bool complete = started == options->threads;
    struct timespec tick = {0, TICK_NS};
    uint64_t ended = 0;
    int64_t moved_ns = now_ns();
    while (complete && !atomic_load(&run->stop)) {
        nanosleep(&tick, NULL);
        report_tick(report);
        watch_progress(run, &ended, &moved_ns);
        if (options->seconds > 0 &&
            (double)(now_ns() - run->start_ns) >= options->seconds * (double)NS_PER_SECOND)
            atomic_store(&run->stop, true);
    }
    atomic_store(&run->stop, true);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    return complete;
}

static void choose(struct run *run)
{
    double all = 0, so_far = 0;
    for (unsigned op = 0; op < OP_COUNT; op++)
        all += run->options.mix[op];
    for (unsigned op = 0; op < OP_COUNT; op++) {
        so_far += run->options.mix[op];
        run->choice[op] = so_far >= all ? UINT32_MAX : (uint32_t)(so_far / all * UINT32_MAX);
    }
}

static struct seat *seats_new(struct run *run)
{
    size_t bytes = run->options.threads * sizeof(struct seat);
    struct seat *seats = aligned_alloc(_Alignof(struct seat), bytes);
    if (!seats)
        return NULL;
    memset(seats, 0, bytes);
    for (unsigned i = 0; i < run->options.threads; i++) {
        seats[i].index = i;
        seats[i].run = run;
        /* Far from each other, and never zero, which xorshift would not leave. */
        seats[i].random = (run->options.seed * UINT64_C(0x9E3779B97F4A7C15) +
                           (i + 1) * UINT64_C(0xD1B54A32D192ED03)) |
                          1;
    }
    return seats;
}

int main(int argc, char **argv)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    static struct run run = {.options = {.seed = 1,
                                         .shift = 5000000,
                                         .points = 40,
                                         .mix = {[OP_CREATE] = 50,
                                                 [OP_TREE] = 5,
                                                 [OP_TIMEOUT] = 20,
                                                 [OP_VALUE] = 10,
                                                 [OP_CALLBACK] = 10,
                                                 [OP_ANY] = 5,
                                                 [OP_HANDOVER] = 5,
                                                 [OP_GUEST] = 5,
                                                 [OP_RESET] = 2,
                                                 [OP_WAIT] = 0.02}}};
    run.options.threads = cpus > 0 ? (unsigned)cpus : 1;
    argp_parse(&parser, argc, argv, 0, NULL, &run.options);
    choose(&run);

    run.seats = seats_new(&run);
    run.shelf = shelf_new();
    struct report *report = report_new(&run);
    if (!run.seats || !run.shelf || !report || !plant(&run)) {
        fprintf(stderr, "no memory\n");
        return EXIT_VIOLATION;
    }
    run.start_ns = now_ns();
    bool complete = soak(&run, report);
    report_finish(report);
    shelf_clear(&run.seats[0], run.shelf);
    uproot(&run);

    bool ok = complete && atomic_load(&run.violations) == 0 && report_is_flat(report);
    report_json(report, ok, stdout);
    report_free(report);
    free(run.seats);
    return ok ? 0 : EXIT_VIOLATION;
}
