/*
 * lines.c - marks in a trace of all stores (lackey's) whose they are: a store to
 * a known place says which thread works from here on, another that none does.
 * Prints those places and the map of the process, which tests/counted/run needs
 * to read the trace.
 */
#include "counted.h"

#define THREADS 2

struct mark {
    volatile uint32_t here;
} __attribute__((aligned(128)));

static struct mark begins[THREADS];
static struct mark end;

void count_begin(unsigned thread)
{
    begins[thread % THREADS].here = 1;
}

void count_end(void)
{
    end.here = 1;
}

int count_report(const struct counted_case *of, uint64_t operations, uint64_t calls)
{
    char line[512];
    FILE *maps = must(fopen("/proc/self/maps", "r"));

    (void)of;
    (void)calls;
    printf("%llu\n", (unsigned long long)operations);
    for (unsigned i = 0; i < THREADS; i++)
        printf("begin %p\n", (void *)&begins[i]);
    printf("end %p\n", (void *)&end);
    while (fgets(line, sizeof line, maps))
        fputs(line, stdout);
    fclose(maps);
    return EXIT_SUCCESS;
}
