/*
 * scene.c - the tree that a case works in, and threads that sleep on contexts.
 */
#include "counted.h"

#include <canopy/inspect.h>
#include <dirent.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct scene *scene_open(const struct counted_case *of, unsigned threads, size_t live)
{
    struct scene *scene = must(calloc(1, sizeof *scene));
    canopy_config config = {.size = sizeof config, .now_ns = SECOND_NS};

    scene->threads = threads;
    scene->live = live / threads;
    scene->has_host_clock = of->parent == UNDER_HOST_ROOT;
    scene->has_root = of->parent >= UNDER_ROOT;
    scene->now_ns = config.now_ns;
    scene->parts = must(aligned_alloc(_Alignof(struct part), threads * sizeof *scene->parts));
    memset(scene->parts, 0, threads * sizeof *scene->parts);
    config.inspect = of->parent == UNDER_NOTED_ROOT ? CANOPY_INSPECT_NOTES : 0;
    config.clock = scene->has_host_clock ? CANOPY_CLOCK_HOST : CANOPY_CLOCK_LIBRARY;
    scene->parent = canopy_background();
    if (of->parent != UNDER_BACKGROUND)
        scene->parent = scene->top =
            must(scene->has_root ? canopy_root_new(&config) : canopy_with_cancel(scene->parent));
    if (of->parent == UNDER_MIDDLE)
        scene->parent = scene->middle = must(canopy_with_cancel(scene->top));
    if (of->parent == UNDER_TWO)
        scene->second = must(canopy_with_cancel(canopy_background()));
    return scene;
}

void scene_enter(struct scene *scene, struct part *part)
{
    part->random = (uint64_t)(part - scene->parts) + 1;
    if (scene->live == 0)
        return;
    part->standing = must(calloc(scene->live, sizeof *part->standing));
    for (size_t i = 0; i < scene->live; i++)
        part->standing[i] =
            must(scene->has_host_clock ? canopy_with_timeout(scene->parent, TIMEOUT_NS)
                                       : canopy_with_cancel(scene->parent));
}

void scene_leave(struct scene *scene, struct part *part)
{
    for (size_t i = 0; i < scene->live; i++)
        canopy_end(part->standing[i]);
    free(part->standing);
}

void scene_close(struct scene *scene)
{
    canopy_end(scene->second);
    canopy_end(scene->middle);
    if (!scene->has_root)
        canopy_end(scene->top);
    else if (canopy_wait_idle(scene->top, CANOPY_NEVER) != 0 || canopy_root_free(scene->top) != 0)
        fprintf(stderr, "counted: something of the root's is left\n"), exit(EXIT_FAILURE);
    free(scene->parts);
    free(scene);
}

/* --------------------------------------------------------------------- threads */

/*
 * The address of the futex that a thread sleeps on, as the kernel tells it; 0 if on none. What
 * cannot write to an fd sleeps as well, and what waits for a grace period meanwhile.
 */
static uintptr_t sleeps_on(const char *thread)
{
    char path[sizeof(struct dirent) + 64];
    long number = -1;
    unsigned long word = 0;

    snprintf(path, sizeof path, "/proc/self/task/%s/syscall", thread);
    FILE *file = must(fopen(path, "r"));
    int read = fscanf(file, "%ld %lx", &number, &word);
    fclose(file);
    if (read == 2 && (number == SYS_write || number == SYS_poll))
        return 1;
    return read == 2 && number == SYS_futex ? word : 0;
}

static void pause_briefly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

static bool is_quiet(void)
{
    DIR *threads = must(opendir("/proc/self/task"));
    bool quiet = true;

    /* cppcheck-suppress readdirCalled ; on a stream of our own */
    for (struct dirent *thread; quiet && (thread = readdir(threads));)
        quiet = thread->d_name[0] == '.' || atol(thread->d_name) == gettid() ||
                sleeps_on(thread->d_name);
    closedir(threads);
    return quiet;
}

void await_quiet(void)
{
    while (!is_quiet())
        pause_briefly();
}

struct sleeper {
    pthread_t thread;
    char tid[16];
    sem_t told, woken;
    const canopy_ctx *ctx; /* NULL: no more */
    bool until_idle;
};

static void *sleeper_main(void *arg)
{
    struct sleeper *sleeper = arg;

    snprintf(sleeper->tid, sizeof sleeper->tid, "%d", (int)gettid());
    for (;;) {
        sem_post(&sleeper->woken);
        await(&sleeper->told);
        if (!sleeper->ctx)
            return NULL;
        if (sleeper->until_idle)
            canopy_wait_idle(sleeper->ctx, CANOPY_NEVER);
        else
            canopy_wait(sleeper->ctx, CANOPY_NEVER);
    }
}

struct sleeper *sleeper_new(void)
{
    struct sleeper *sleeper = must(calloc(1, sizeof *sleeper));

    sem_init(&sleeper->told, 0, 0);
    sem_init(&sleeper->woken, 0, 0);
    if (pthread_create(&sleeper->thread, NULL, sleeper_main, sleeper) != 0)
        must(NULL);
    sleeper_await(sleeper);
    return sleeper;
}

/* Whether it sleeps on something that is not the semaphore above. */
static bool is_asleep(const struct sleeper *sleeper)
{
    uintptr_t word = sleeps_on(sleeper->tid);
    return word && word - (uintptr_t)sleeper >= sizeof *sleeper;
}

void sleeper_sleep(struct sleeper *sleeper, const canopy_ctx *ctx)
{
    sleeper->ctx = ctx;
    sem_post(&sleeper->told);
    while (!is_asleep(sleeper))
        pause_briefly();
}

void sleeper_sleep_until_idle(struct sleeper *sleeper, const canopy_ctx *ctx)
{
    sleeper->until_idle = true;
    sleeper_sleep(sleeper, ctx);
}

void sleeper_await(struct sleeper *sleeper)
{
    await(&sleeper->woken);
}

void sleeper_free(struct sleeper *sleeper)
{
    sleeper->ctx = NULL;
    sem_post(&sleeper->told);
    pthread_join(sleeper->thread, NULL);
    sem_destroy(&sleeper->told);
    sem_destroy(&sleeper->woken);
    free(sleeper);
}
