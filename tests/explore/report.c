/*
 * report.c - what is printed when an execution goes wrong: what, the schedule with
 * which it can be repeated, and the steps at which another fiber could have run.
 */
#include "fiber.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPORTED_STEPS 400
#define PLACE_BYTES    160

/* Asks binutils for the source lines; without it the addresses have to do. */
static void sites_look_up(const struct trace *const steps[], unsigned count,
                          char (*places)[PLACE_BYTES])
{
    size_t room = 64 + (size_t)count * 20;
    char *command = malloc(room), line[512];
    if (!command)
        return;
    size_t used =
        (size_t)snprintf(command, room, "addr2line -e /proc/%d/exe -a -f -i -p -s", (int)getpid());
    for (unsigned i = 0; i < count; i++)
        used += (size_t)snprintf(command + used, room - used, " %" PRIxPTR,
                                 (uintptr_t)steps[i]->site - 1);
    FILE *answer = popen(command, "r");
    free(command);
    if (!answer)
        return;
    for (int i = -1; fgets(line, sizeof line, answer) && i < (int)count;) {
        bool begins = strncmp(line, "0x", 2) == 0;
        const char *text = begins ? strstr(line, ": ") : strstr(line, "by) ");
        i += begins;
        if (i < 0 || !text || places[i][0] || strstr(line, "atomic_explore.h"))
            continue;
        text += begins ? 2 : 4;
        snprintf(places[i], PLACE_BYTES, "%.*s", (int)strcspn(text, "\n"), text);
    }
    pclose(answer);
}

/* Worth a line: where another fiber could have run, and the last step of all. */
static bool is_reported(uint64_t step)
{
    return explorer->trace[step].decided || step == explorer->step;
}

static void report_steps(void)
{
    /* Not static: what is static is put back before each execution. */
    struct {
        const struct trace *steps[REPORTED_STEPS];
        char places[REPORTED_STEPS][PLACE_BYTES];
    } *report = calloc(1, sizeof *report);
    unsigned count = 0, first = 0;
    if (!report)
        return;
    for (uint64_t i = 1; i <= explorer->step; i++)
        if (is_reported(i))
            count++;
    if (count > REPORTED_STEPS)
        first = count - REPORTED_STEPS;
    count = 0;
    for (uint64_t i = 1; i <= explorer->step; i++)
        if (is_reported(i) && count++ >= first)
            report->steps[count - first - 1] = &explorer->trace[i];
    count -= first;
    sites_look_up(report->steps, count, report->places);
    for (unsigned i = 0; i < count; i++) {
        const struct trace *step = report->steps[i];
        printf("  %6u  fiber %u  %-5s %14p  %s\n", (unsigned)(step - explorer->trace), step->fiber,
               step->access & ACCESS_WRITE ? "write" : "read", step->address, report->places[i]);
    }
    free(report);
}

/*
 * STEP:FIBER: that fiber goes on there; with -STORE, and what the other one has stored
 * since that step stays behind. STEP:FIBER+STORE: its stores up to that one appear.
 */
static void report_schedule(void)
{
    printf("schedule: --memory=%s --replay=", explorer->own_root ? "root" : "background");
    for (unsigned i = 0; i < explorer->switch_count; i++) {
        const struct switch_point *point = &explorer->switches[i];
        printf("%s%" PRIu32 ":%u", i ? "," : "", point->step, point->fiber);
        if (point->store)
            printf("%c%" PRIu32, point->is_write ? '+' : '-', point->store);
    }
    if (explorer->delay_bound)
        printf(" --delays=%u", explorer->delay_bound);
    printf(" %s\n", explorer->scenario->name);
}

void report_failure(const char *text)
{
    printf("%s, %s, execution %" PRIu64 ", step %" PRIu64 ", fiber %u: %s\n",
           explorer->scenario ? explorer->scenario->name : "set-up",
           explorer->own_root ? "own root" : "background", explorer->executions + 1, explorer->step,
           explorer->current, text);
    if (explorer->scenario) {
        report_steps();
        report_schedule();
    }
    fflush(stdout);
    _exit(1);
}

void explore_fail(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    report_failure(text);
}
