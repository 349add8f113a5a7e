/*
 * region.c - slabs from the system and back.
 *
 * A region is REGION_BYTES at a multiple of that: slabs side by side, and in what the
 * last one does not use (SLAB_ALLOCATED_BYTES) the words that say which of them are free.
 *
 *     in use ──give──► DIRTY ──trim──► AGED ──trim──► free, without pages ──► in use
 *       ▲                │ take          │ take          all of a region: unmapped
 *       └────────────────┴───────────────┘
 *
 * So what is given and taken again between two trims costs no page fault. While trim
 * lets go of pages it does so without the lock, and the slabs are nobody's to take.
 *
 * Huge pages are declined: the kernel would fill what has been given back in again, and
 * count 2 MB for who needs one slab.
 *
 * All under library_lock, which fork holds: in the child it is as it was.
 */
#include "memory/region.h"

#include <errno.h>
#include <sys/mman.h>

#include "memory/pool.h"

#define REGION_BYTES ((size_t)1 << 20)
#define REGION_SLABS (REGION_BYTES / SLAB_BYTES)
#define ALL_SLABS    UINT32_MAX

struct region {
    struct region *next, *previous; /* of those in which something is free, around */
    uint32_t free;                  /* a bit for each slab */
    uint32_t dirty;                 /* of the free ones: those whose pages are there still */
    uint32_t aged;                  /* of these: those that were so at the last trim */
    uint32_t trim;                  /* the last one that looked here */
};

_Static_assert(sizeof(struct region) <= SLAB_BYTES - SLAB_ALLOCATED_BYTES, "behind the last slab");
_Static_assert(REGION_SLABS == 32, "a bit for each slab");

static struct region *regions; /* under library_lock */

static char *region_memory(const struct region *region)
{
    return (char *)((uintptr_t)region & ~(REGION_BYTES - 1));
}

static struct region *region_of(const char *memory)
{
    uintptr_t begin = (uintptr_t)memory & ~(REGION_BYTES - 1);
    return (struct region *)(begin + REGION_BYTES - (SLAB_BYTES - SLAB_ALLOCATED_BYTES));
}

/* ------------------------------------------------------------------- the list */

/* At its end: what was there before is taken first. */
static void list_add(struct region *region)
{
    if (!regions) {
        regions = region->next = region->previous = region;
        return;
    }
    region->next = regions;
    region->previous = regions->previous;
    region->previous->next = region->next->previous = region;
}

static void list_remove(struct region *region)
{
    region->previous->next = region->next;
    region->next->previous = region->previous;
    if (regions == region)
        regions = region->next == region ? NULL : region->next;
}

static void put(struct region *region, uint32_t slabs, uint32_t dirty)
{
    if (!region->free)
        list_add(region);
    region->free |= slabs;
    region->dirty |= dirty;
}

static void take(struct region *region, uint32_t slabs)
{
    region->free &= ~slabs;
    region->dirty &= ~slabs;
    region->aged &= ~slabs;
    if (!region->free)
        list_remove(region);
}

/* A slab of the first region that has one, best with pages; or NULL. */
static void *take_one(void)
{
    struct region *region = regions;
    if (!region)
        return NULL;
    int slab = __builtin_ctz(region->dirty ? region->dirty : region->free);
    take(region, UINT32_C(1) << slab);
    return region_memory(region) + (size_t)slab * SLAB_BYTES;
}

/* ----------------------------------------------------------------- the system */

static void *map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    return memory;
}

/* Where the first try is not aligned: out of twice as much. */
static char *map_aligned(void)
{
    char *memory = map(REGION_BYTES);
    size_t beyond = (uintptr_t)memory & (REGION_BYTES - 1);
    if (!beyond)
        return memory;
    munmap(memory, REGION_BYTES);
    memory = map(2 * REGION_BYTES);
    if (!memory)
        return NULL;
    size_t before = -(uintptr_t)memory & (REGION_BYTES - 1);
    char *aligned = memory + before;
    munmap(aligned + REGION_BYTES, REGION_BYTES - before);
    if (before)
        munmap(memory, before);
    return aligned;
}

static struct region *region_new(void)
{
    int saved_errno = errno;
    char *memory = map_aligned();
    if (!memory)
        return NULL;
    madvise(memory, REGION_BYTES, MADV_NOHUGEPAGE);
    errno = saved_errno;
    lsan_register(memory, REGION_BYTES);
    return region_of(memory);
}

static void region_free(struct region *region)
{
    char *memory = region_memory(region);
    lsan_unregister(memory, REGION_BYTES);
    munmap(memory, REGION_BYTES);
}

void *region_take(void)
{
    pthread_mutex_lock(&library_lock);
    void *slab = take_one();
    pthread_mutex_unlock(&library_lock);
    if (slab)
        return slab;
    struct region *region = region_new();
    if (!region)
        return NULL;
    pthread_mutex_lock(&library_lock);
    put(region, ALL_SLABS, 0);
    slab = take_one();
    pthread_mutex_unlock(&library_lock);
    return slab;
}

void region_give(void *slab)
{
    struct region *region = region_of(slab);
    uint32_t bit = UINT32_C(1) << (((char *)slab - region_memory(region)) / SLAB_BYTES);
    pthread_mutex_lock(&library_lock);
    put(region, bit, bit);
    pthread_mutex_unlock(&library_lock);
    rcu_ask();
}

/*
 * The system keeps whoever takes or gives memory waiting while it lets go of pages: so many
 * slabs at a time, some microseconds.
 */
#define PORTION_SLABS 4

/* Lets go of the pages of slabs, but for the one that the region's own words are in. */
static void pages_free(struct region *region, uint32_t slabs)
{
    const long page_bytes = sysconf(_SC_PAGESIZE);
    if (page_bytes > SLAB_BYTES)
        return;
    while (slabs) {
        unsigned from = (unsigned)__builtin_ctz(slabs);
        uint32_t rest = ~(slabs >> from);
        unsigned count = rest ? (unsigned)__builtin_ctz(rest) : REGION_SLABS;
        if (count > PORTION_SLABS)
            count = PORTION_SLABS;
        size_t bytes = (size_t)count * SLAB_BYTES;
        slabs &= from + count == REGION_SLABS ? 0 : ALL_SLABS << (from + count);
        if (from + count == REGION_SLABS)
            bytes -= (size_t)page_bytes;
        madvise(region_memory(region) + (size_t)from * SLAB_BYTES, bytes, MADV_DONTNEED);
    }
}

/* The first region at which this trim has not looked, or NULL; the list begins behind it then. */
static struct region *next_to_trim(uint32_t trim)
{
    struct region *region = regions;
    if (!region || region->trim == trim)
        return NULL;
    region->trim = trim;
    regions = region->next;
    return region;
}

/* What is to go of a region, which nobody can take meanwhile: 0, or ALL_SLABS if it goes whole. */
static uint32_t begin_trim(struct region *region, bool *more)
{
    uint32_t slabs = region->aged;
    if (region->free == ALL_SLABS && region->dirty == slabs)
        slabs = ALL_SLABS;
    region->aged = region->dirty & ~slabs;
    *more |= region->aged != 0;
    if (slabs)
        take(region, slabs);
    return slabs;
}

static void end_trim(struct region *region, uint32_t slabs)
{
    if (slabs == ALL_SLABS) {
        pages_free(region, slabs); /* not all in one, by munmap */
        region_free(region);
    } else if (slabs) {
        pages_free(region, slabs);
        pthread_mutex_lock(&library_lock);
        put(region, slabs, 0);
        pthread_mutex_unlock(&library_lock);
    }
}

bool region_trim(void)
{
    static uint32_t trim;
    bool more = false;
    trim++;
    for (;;) {
        pthread_mutex_lock(&library_lock);
        struct region *region = next_to_trim(trim);
        uint32_t slabs = region ? begin_trim(region, &more) : 0;
        pthread_mutex_unlock(&library_lock);
        if (!region)
            return more;
        end_trim(region, slabs);
    }
}
