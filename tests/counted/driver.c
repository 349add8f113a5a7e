/*
 * driver.c - runs a case: its threads in turn, first to warm up, then counted.
 *
 * Usage: PROGRAM [--threads=N] [--live=N] [--rounds=N] CASE
 */
#include "counted.h"

#include <getopt.h>
#include <pthread.h>
#include <string.h>

/* What the threads are told, one at a time. */
enum step { STEP_ENTER, STEP_WARM_UP, STEP_COUNT, STEP_LEAVE };

struct worker {
    pthread_t thread;
    sem_t turn;
    struct run *run;
    unsigned number;
};

struct run {
    const struct counted_case *of;
    struct scene *scene;
    struct worker *workers;
    enum step step;
    sem_t done;
};

static void call(void (*step)(struct scene *, struct part *), struct scene *scene,
                 struct part *part)
{
    if (step)
        step(scene, part);
}

static void take_step(const struct run *run, unsigned thread)
{
    const struct counted_case *of = run->of;
    struct scene *scene = run->scene;
    struct part *part = &scene->parts[thread];

    switch (run->step) {
    case STEP_ENTER:
        scene_enter(scene, part);
        call(of->enter, scene, part);
        break;
    case STEP_WARM_UP:
        call(of->before, scene, part);
        of->work(scene, part);
        call(of->after, scene, part);
        break;
    case STEP_COUNT:
        call(of->before, scene, part);
        await_quiet();
        count_begin(thread);
        of->work(scene, part);
        count_end();
        call(of->after, scene, part);
        break;
    case STEP_LEAVE:
        call(of->leave, scene, part);
        scene_leave(scene, part);
        break;
    }
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct run *run = worker->run;
    enum step taken;

    do {
        await(&worker->turn);
        take_step(run, worker->number);
        taken = run->step;
        sem_post(&run->done);
    } while (taken != STEP_LEAVE);
    return NULL;
}

/* Each thread in turn, `rounds` times. */
static void all_take(struct run *run, enum step step, unsigned rounds)
{
    run->step = step;
    for (; rounds > 0; rounds--) {
        for (unsigned i = 0; i < run->scene->threads; i++) {
            sem_post(&run->workers[i].turn);
            await(&run->done);
        }
    }
}

static int count(const struct counted_case *of, unsigned threads, size_t live, unsigned rounds)
{
    struct run run = {.of = of, .scene = scene_open(of, threads, live)};
    run.workers = must(calloc(threads, sizeof *run.workers));
    sem_init(&run.done, 0, 0);
    for (unsigned i = 0; i < threads; i++) {
        struct worker *worker = &run.workers[i];
        *worker = (struct worker){.run = &run, .number = i};
        sem_init(&worker->turn, 0, 0);
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
            must(NULL);
    }
    all_take(&run, STEP_ENTER, 1);
    all_take(&run, STEP_WARM_UP, rounds);
    all_take(&run, STEP_COUNT, rounds);
    int status =
        count_report(of, (uint64_t)rounds * threads * of->operations, (uint64_t)rounds * threads);
    all_take(&run, STEP_LEAVE, 1);
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(run.workers[i].thread, NULL);
        sem_destroy(&run.workers[i].turn);
    }
    sem_destroy(&run.done);
    free(run.workers);
    scene_close(run.scene);
    return status;
}

static const struct counted_case *find(const char *name)
{
    for (const struct counted_case *of = counted_cases; name && of->name; of++)
        if (strcmp(of->name, name) == 0)
            return of;
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"threads", required_argument, NULL, 't'},
                                            {"live", required_argument, NULL, 'l'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {NULL, 0, NULL, 0}};
    unsigned threads = 0;
    unsigned rounds = 16;
    size_t live = 0;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        unsigned long number = optarg ? strtoul(optarg, NULL, 10) : 0;
        if (option == 't')
            threads = (unsigned)number;
        else if (option == 'l')
            live = number;
        else if (option == 'r')
            rounds = (unsigned)number;
        else
            return EXIT_FAILURE;
    }
    const struct counted_case *of = find(argv[optind]);
    if (!of || rounds == 0) {
        fprintf(stderr, "usage: %s [--threads=N] [--live=N] [--rounds=N] CASE, a case of cases.c\n",
                argv[0]);
        return EXIT_FAILURE;
    }
    if (threads == 0)
        threads = of->threads ? of->threads : 1;
    return count(of, threads, live ? live : of->live, rounds);
}
