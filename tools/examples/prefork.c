/*
 * prefork.c - a master and its workers, each a process. The master hears a signal,
 * passes it on and waits for them; a worker has contexts of its own, which it makes
 * after the fork.
 *
 * Prints:
 *     master: 2 workers
 *     worker: stopped, "signal SIGTERM"
 *     worker: stopped, "signal SIGTERM"
 *     master: stopped, "signal SIGTERM"; 2 workers ended as they should
 */
#include <canopy/canopy.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 2 };

static const int stops[] = {SIGTERM, SIGINT};
static int ready[2]; /* a byte from each worker that hears signals */

/* The child's side of the fork. */
static int worker_main(canopy_ctx *of_master)
{
    canopy_release(of_master); /* inherited: its end and its signals are the master's */
    canopy_ctx *process = canopy_with_signals(canopy_background(), stops, 2);
    if (!process || write(ready[1], "r", 1) != 1)
        return 1;
    canopy_wait(process, CANOPY_NEVER); /* stands for serving, under `process` */
    printf("worker: stopped, \"%s\"\n", canopy_cause_of(process)->text);
    fflush(stdout);
    canopy_end(process);
    return 0;
}

static pid_t worker_start(canopy_ctx *process)
{
    char byte;
    pid_t pid = fork();
    if (pid == 0)
        _exit(worker_main(process));
    return pid > 0 && read(ready[0], &byte, 1) == 1 ? pid : -1;
}

int main(void)
{
    pid_t workers[WORKERS];
    canopy_ctx *process = canopy_with_signals(canopy_background(), stops, 2);
    if (!process || pipe(ready) != 0)
        return 1;
    for (int i = 0; i < WORKERS; i++)
        if ((workers[i] = worker_start(process)) < 0)
            return 1;
    printf("master: %d workers\n", WORKERS);
    fflush(stdout);

    kill(getpid(), SIGTERM); /* stands for the process manager */
    canopy_wait(process, CANOPY_NEVER);
    int status, ended = 0;
    for (int i = 0; i < WORKERS; i++)
        kill(workers[i], SIGTERM);
    for (int i = 0; i < WORKERS; i++)
        ended += waitpid(workers[i], &status, 0) == workers[i] && status == 0;
    printf("master: stopped, \"%s\"; %d workers ended as they should\n",
           canopy_cause_of(process)->text, ended);
    canopy_end(process);
    return 0;
}
