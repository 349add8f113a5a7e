/*
 * leaks.c - contexts that have been there for long, by the places where they were made.
 */
#include <errno.h>
#include <stdlib.h>

#include "inspect/look.h"

#define INFOS 32

/* The place of a context, of which `used` are known; beyond those that there is room for, the last.
 */
static canopy_leak *leak_of(canopy_leak leaks[], size_t n, size_t *used, const canopy_info *info)
{
    for (size_t i = 0; i < *used; i++)
        if (leaks[i].made_at == info->made_at && leaks[i].name == info->name)
            return &leaks[i];
    if (*used < n) {
        leaks[*used] = (canopy_leak){.name = info->name, .made_at = info->made_at};
        return &leaks[(*used)++];
    }
    leaks[n - 1].name = NULL;
    leaks[n - 1].made_at = NULL;
    return &leaks[n - 1];
}

static void leak_add(canopy_leak *leak, const canopy_info *info)
{
    if (leak->count++ == 0 || info->made_ns < leak->oldest_ns) {
        leak->oldest_ns = info->made_ns;
        leak->oldest_id = info->id;
    }
    leak->done += info->err != 0;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = ((const canopy_leak *)a)->count, right = ((const canopy_leak *)b)->count;
    return (left < right) - (left > right);
}

int canopy_leaks(const canopy_ctx *top, int64_t older_than_ns, canopy_leak leaks[], size_t n)
{
    canopy_walk walk = {
        .info_bytes = sizeof(canopy_info), .top = top, .older_than_ns = older_than_ns};
    canopy_info infos[INFOS];
    size_t used = 0;
    if (!leaks || n == 0)
        return -EINVAL;
    if (n > INT_MAX)
        n = INT_MAX;
    for (int count; (count = canopy_walk_next(&walk, infos, INFOS)) > 0;)
        for (int i = 0; i < count; i++)
            leak_add(leak_of(leaks, n, &used, &infos[i]), &infos[i]);
    qsort(leaks, used, sizeof *leaks, compare);
    return (int)used;
}
