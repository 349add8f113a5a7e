/*
 * search.c - runs searches, each in a process of its own: so many at once as there
 * are to be, and one that goes wrong ends no other. Prints a line for each, in the
 * order in which they end, and the sum.
 */
#include "fiber.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* In memory that parent and child share. */
struct run {
    pid_t pid;
    int output;
    uint64_t executions;
    bool complete;
};

static void search_main(const struct search *search, struct run *run)
{
    dup2(run->output, STDOUT_FILENO);
    run->complete = explore(search);
    run->executions = explorer->executions;
    fflush(stdout);
    _exit(0);
}

static bool search_begin(const struct search *search, struct run *run)
{
    run->output = memfd_create("search", 0);
    pid_t pid = run->output < 0 ? -1 : fork();
    if (pid == 0)
        search_main(search, run);
    run->pid = pid;
    return pid > 0;
}

static void output_copy(int from)
{
    char buffer[4096];
    ssize_t bytes;
    lseek(from, 0, SEEK_SET);
    while ((bytes = read(from, buffer, sizeof buffer)) > 0)
        fwrite(buffer, 1, (size_t)bytes, stdout);
    close(from);
}

/* Waits for one of them. False: it failed. */
static bool search_end(const struct search *searches, const struct run *runs, unsigned count)
{
    int status;
    /* cppcheck-suppress uninitvar ; wait sets it */
    pid_t pid = wait(&status);
    unsigned i = 0;
    while (i < count && runs[i].pid != pid)
        i++;
    if (i == count)
        return false;
    output_copy(runs[i].output);
    const char *memory = searches[i].own_root ? "own root" : "background";
    if (WIFSIGNALED(status))
        printf("%s, %s: ended by signal %d\n", searches[i].scenario->name, memory,
               WTERMSIG(status));
    else if (WEXITSTATUS(status) == 0)
        printf("%-52s %-10s %10" PRIu64 " executions, %u preemptions, %u delays, %s\n",
               searches[i].scenario->name, memory, runs[i].executions, explorer->preemption_bound,
               explorer->delay_bound, runs[i].complete ? "complete" : "not complete");
    fflush(stdout);
    return status == 0;
}

bool searches_run(const struct search *searches, unsigned count, unsigned jobs)
{
    size_t bytes = (count + 1) * sizeof(struct run);
    struct run *runs = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (runs == MAP_FAILED)
        return false;
    unsigned begun = 0, under_way = 0, failed = 0, complete = 0;
    uint64_t executions = 0;
    while (begun < count || under_way > 0) {
        if (begun == count || under_way == jobs) {
            failed += !search_end(searches, runs, begun);
            under_way--;
        } else if (search_begin(&searches[begun], &runs[begun])) {
            begun++;
            under_way++;
        } else {
            fputs("no process for a search\n", stderr);
            failed += count - begun;
            count = begun;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        executions += runs[i].executions;
        complete += runs[i].complete;
    }
    printf("%" PRIu64 " executions; of %u searches %u complete, %u failed\n", executions, count,
           complete, failed);
    munmap(runs, bytes);
    return failed == 0;
}
