/*
 * notes.c - numbers of slabs, and their notes; see notes.h.
 */
#include "memory/notes.h"

#include <string.h>

#include "memory/pool.h"
#include "memory/rings.h"

/* Numbers lie in pages, which stay: so who looks one up needs no lock. */
#define PAGE_NUMBERS 512
#define PAGES        (NOTED_SLABS / PAGE_NUMBERS)

struct number {
    atomic_word slab;
    struct ctx_note *notes; /* whose address a slab of ours has where no leak checker looks */
    uint64_t lives; /* that its next slab's lines have had; written when that is named no more */
    uint32_t next;  /* number that is free, and 1; 0: the last; or TAKEN; under library_lock */
};

#define TAKEN UINT32_MAX

struct page {
    struct number numbers[PAGE_NUMBERS];
};

static atomic_word pages[PAGES];
static atomic_u32 opened; /* numbers below have been in use; under library_lock */
static uint32_t vacant;   /* the first that is free, and 1; under library_lock */

#define NOTES_BYTES (SLAB_ALLOCATED_BYTES - SLAB_HEADER_BYTES)

static struct page *page_of(uint32_t number)
{
    return (struct page *)word_load_acquire(&pages[number / PAGE_NUMBERS]); /* NS2 */
}

/* Of a number whose page there is. */
static struct number *number_of(uint32_t number)
{
    return &page_of(number)->numbers[number % PAGE_NUMBERS];
}

/* The first that is free, or NOTED_SLABS. Under the lock. */
static uint32_t vacant_take(void)
{
    while (vacant) {
        uint32_t number = vacant - 1;
        struct number *entry = number_of(number);
        vacant = entry->next;
        entry->next = TAKEN;
        /* In the child of a fork by a hook the slab that this was taken for may be named by now. */
        if (!word_load_relaxed(&entry->slab))
            return number;
    }
    return NOTED_SLABS;
}

/* A free number; NOTED_SLABS: there is none without another page, or at all. Under the lock. */
static uint32_t number_find(void)
{
    uint32_t free_again = vacant_take();
    if (free_again != NOTED_SLABS)
        return free_again;
    uint32_t number = u32_load_relaxed(&opened);
    if (number == NOTED_SLABS || !page_of(number))
        return NOTED_SLABS;
    number_of(number)->next = TAKEN;
    u32_store_release(&opened, number + 1); /* NS1 */
    return number;
}

/* The same, with `*spare` for a page, which is then used up. Under the lock. */
static uint32_t number_get(struct page **spare)
{
    uint32_t number = number_find();
    uint32_t next = u32_load_relaxed(&opened);
    if (number != NOTED_SLABS || !*spare || next == NOTED_SLABS)
        return number;
    word_store_release(&pages[next / PAGE_NUMBERS], (uintptr_t)*spare); /* NS1 */
    *spare = NULL;
    return number_find();
}

static struct page *page_new(void)
{
    struct page *page = domain_allocate(&default_domain, CACHE_LINE, sizeof *page);
    if (page)
        memset(page, 0, sizeof *page);
    return page;
}

static uint32_t number_take(uint64_t *lives)
{
    struct page *spare = NULL;
    uint32_t number;
    for (;;) {
        pthread_mutex_lock(&library_lock);
        number = number_get(&spare);
        if (number != NOTED_SLABS)
            *lives = number_of(number)->lives;
        bool is_last = u32_load_relaxed(&opened) == NOTED_SLABS;
        pthread_mutex_unlock(&library_lock);
        if (number != NOTED_SLABS || is_last)
            break;
        spare = page_new(); /* without the lock: it may call the host */
        if (!spare)
            break;
    }
    if (spare) /* another thread's came first */
        domain_release(&default_domain, spare, CACHE_LINE, sizeof *spare);
    return number;
}

/* Under the lock. */
static void vacant_add(uint32_t number)
{
    number_of(number)->next = vacant;
    vacant = number + 1;
}

static void number_give(uint32_t number)
{
    pthread_mutex_lock(&library_lock);
    if (number_of(number)->next == TAKEN) /* not by notes_fork_child, in the hook before this */
        vacant_add(number);
    pthread_mutex_unlock(&library_lock);
}

void notes_fork_child(void)
{
    vacant = 0;
    for (uint32_t number = u32_load_relaxed(&opened); number-- > 0;)
        if (!word_load_relaxed(&number_of(number)->slab))
            vacant_add(number);
}

/* The first of a slab's notes, of NOTES_BYTES. */
static struct ctx_note *notes_of(const struct slab *slab)
{
    return (struct ctx_note *)(void *)(slab->notes + SLAB_HEADER_BYTES);
}

bool notes_open(struct slab *slab)
{
    struct ctx_note *notes = domain_allocate(slab->domain, CACHE_LINE, NOTES_BYTES);
    if (!notes)
        return false;
    uint64_t lives = 0;
    uint32_t number = number_take(&lives);
    if (number == NOTED_SLABS) {
        domain_release(slab->domain, notes, CACHE_LINE, NOTES_BYTES);
        return false;
    }
    memset(notes, 0, NOTES_BYTES);
    for (unsigned i = 0; i < NOTES_BYTES / sizeof *notes; i++)
        u64_store_relaxed(&notes[i].life, lives);
    slab->notes = (char *)notes - SLAB_HEADER_BYTES;
    slab->number = number;
    number_of(number)->notes = notes;
    return true;
}

void notes_publish(struct slab *slab)
{
    word_store_release(&number_of(slab->number)->slab, (uintptr_t)slab); /* NS1: pairs with NS2 */
}

/* The most that a line has had when none lives: who is just leaving, or a root's own, has not
 * ended.
 */
static uint64_t lives_of(const struct slab *slab)
{
    const struct ctx_note *notes = notes_of(slab);
    uint64_t lives = 0;
    for (unsigned i = 0; i < NOTES_BYTES / sizeof *notes; i++) {
        uint64_t life = u64_load_relaxed(&notes[i].life);
        lives = life > lives ? life : lives;
    }
    return lives + (lives & 1);
}

void notes_close(struct slab *slab)
{
    struct number *entry = number_of(slab->number);
    entry->lives = lives_of(slab);
    word_store_relaxed(&entry->slab, 0);
}

void notes_free(struct slab *slab)
{
    number_give(slab->number);
    domain_release(slab->domain, notes_of(slab), CACHE_LINE, NOTES_BYTES);
}

/* The root, which has no other end, is told to a trace here: no other domain comes this way. */
static void slab_close(const struct domain *domain, struct slab *slab)
{
    const void *root = domain->root;
    notes_close(slab);
    if (!trace_is_on() || slab_of(root) != slab)
        return;
    const struct ctx_note *note = note_beside(root);
    ring_add(ring_what(RING_GONE, 0, 0), note_id(root, u64_load_relaxed(&note->life)), 0,
             (const char *)word_load_acquire(&note->name)); /* NT2 */
}

void notes_close_all(struct domain *domain)
{
    for (struct shelf *shelf = shelf_first(&domain->slabs); shelf; shelf = shelf_next(shelf))
        for (unsigned i = 0; i < SHELF_PLACES; i++) {
            struct slab *slab = shelf_item(&shelf->places[i]);
            if (slab && slab->notes)
                slab_close(domain, slab);
        }
}

struct slab *notes_slab(uint32_t number)
{
    if (!page_of(number))
        return NULL;
    return (struct slab *)word_load_acquire(&number_of(number)->slab); /* NS2: pairs with NS1 */
}

uint32_t notes_numbers(void)
{
    return u32_load_acquire(&opened); /* NS2 */
}
