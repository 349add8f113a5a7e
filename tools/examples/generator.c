/*
 * generator.c - the first example: a generator starts a child for every number,
 * without end; the consumer takes five and stops, and one cancel ends them all.
 *
 * Prints:
 *     consumer: <number>
 *     consumer: <number>
 *     consumer: <number>
 *     consumer: <number>
 *     consumer: <number>
 *     generator: stopped, "five are enough"
 *     all have ended
 */
#include <canopy/canopy.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

static int numbers[2]; /* a pipe from the children to the consumer */

/* Delivers its number, then lives as long as its context. */
static int child(const canopy_ctx *ctx, void *number)
{
    const intptr_t n = (intptr_t)number;
    if (write(numbers[1], &n, sizeof n) != sizeof n)
        return -1;
    canopy_wait(ctx, CANOPY_NEVER);
    return 0;
}

/* Starts a child each millisecond until it is told to stop. */
static int generate(const canopy_ctx *ctx, void *group)
{
    for (intptr_t n = 1; canopy_sleep(ctx, 1000000) == 0; n++)
        if (canopy_group_go(group, child, (void *)n) != 0)
            return -1;
    printf("generator: stopped, \"%s\"\n", canopy_cause_of(ctx)->text);
    return 0;
}

int main(void)
{
    CANOPY_AUTO canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    canopy_group group;
    if (!ctx || pipe(numbers) != 0 || canopy_group_init(&group, ctx, 0) != 0)
        return 1;
    bool started = canopy_group_go(&group, generate, &group) == 0;

    intptr_t n;
    for (int taken = 0; started && taken < 5 && read(numbers[0], &n, sizeof n) == sizeof n; taken++)
        printf("consumer: %d\n", (int)n);

    canopy_cancel_cause(ctx, CANOPY_CAUSE(0, "five are enough"));
    int result = canopy_group_wait(&group); /* the generator and every child */
    printf("all have ended\n");
    return result;
}
