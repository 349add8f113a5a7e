/*
 * shelf.c - a domain's slabs and their bounds; see shelf.h.
 */
#include "shelf.h"

#include <string.h>

#include "pool.h"

struct shelf *shelf_first(const struct domain *domain)
{
    return (struct shelf *)word_load_seq_cst(&domain->shelves); /* P3: pairs with shelf_put */
}

static struct shelf *shelf_new(struct domain *domain)
{
    struct shelf *shelf = domain_allocate(domain, SHELF_BYTES, SHELF_BYTES);
    if (!shelf)
        return NULL;
    memset(shelf, 0, SHELF_BYTES);
    i64_store_relaxed(&shelf->due_ns, CANOPY_NEVER);
    for (unsigned i = 0; i < SHELF_PLACES; i++) {
        i64_store_relaxed(&shelf->places[i].due_ns, CANOPY_NEVER);
        word_store_relaxed(&shelf->places[i].slab, PLACE_VACANT);
    }
    return shelf;
}

/* A place without a slab, or NULL. Under library_lock. */
static struct shelf_place *place_find(struct domain *domain)
{
    struct shelf_place *place = domain->vacant;
    if (place) {
        domain->vacant = (struct shelf_place *)(word_load_relaxed(&place->slab) & ~PLACE_VACANT);
        return place;
    }
    struct shelf *shelf = shelf_first(domain);
    uint32_t opened = shelf ? u32_load_relaxed(&shelf->opened) : SHELF_PLACES;
    return opened < SHELF_PLACES ? &shelf->places[opened] : NULL;
}

/* The same, on `*spare` if there is no other; that is then used up. */
static struct shelf_place *place_get(struct domain *domain, struct shelf **spare)
{
    struct shelf_place *place = place_find(domain);
    if (place || !*spare)
        return place;
    word_store_relaxed(&(*spare)->next, word_load_relaxed(&domain->shelves));
    word_store_seq_cst(&domain->shelves, (uintptr_t)*spare); /* P3: pairs with shelf_first */
    *spare = NULL;
    return place_find(domain);
}

static bool put(struct domain *domain, struct slab *slab, struct shelf **spare)
{
    struct shelf_place *place = place_get(domain, spare);
    if (!place)
        return false;
    slab->place = place;
    word_store_seq_cst(&place->slab, (uintptr_t)slab); /* P3: pairs with shelf_slab */
    struct shelf *shelf = shelf_of(place);
    if (place == &shelf->places[u32_load_relaxed(&shelf->opened)])
        u32_fetch_add_seq_cst(&shelf->opened, 1); /* P3: pairs with the clock's look at a shelf */
    return true;
}

bool shelf_put(struct domain *domain, struct slab *slab)
{
    struct shelf *spare = NULL;
    for (;;) {
        pthread_mutex_lock(&library_lock);
        bool done = put(domain, slab, &spare);
        pthread_mutex_unlock(&library_lock);
        if (done)
            break;
        spare = shelf_new(domain); /* without the lock: it calls a hook */
        if (!spare)
            return false;
    }
    if (spare) /* another thread's came first */
        domain_release(domain, spare, SHELF_BYTES, SHELF_BYTES);
    return true;
}

void shelf_take(struct slab *slab)
{
    struct domain *domain = slab->domain;
    pthread_mutex_lock(&library_lock);
    word_store_relaxed(&slab->place->slab, (uintptr_t)domain->vacant | PLACE_VACANT);
    domain->vacant = slab->place;
    pthread_mutex_unlock(&library_lock);
}

void shelf_reset(struct domain *domain)
{
    for (struct shelf *shelf = shelf_first(domain); shelf; shelf = shelf_next(shelf)) {
        i64_store_relaxed(&shelf->due_ns, CANOPY_NEVER);
        for (unsigned i = 0; i < SHELF_PLACES; i++)
            i64_store_relaxed(&shelf->places[i].due_ns, CANOPY_NEVER);
    }
    i64_store_relaxed(&domain->due_ns, CANOPY_NEVER);
}

void shelf_free_all(struct domain *domain)
{
    for (struct shelf *shelf = shelf_first(domain), *next; shelf; shelf = next) {
        next = shelf_next(shelf);
        for (unsigned i = 0; i < SHELF_PLACES; i++) {
            struct slab *slab = shelf_slab(&shelf->places[i]);
            if (slab)
                domain_release(domain, slab, SLAB_BYTES, SLAB_ALLOCATED_BYTES);
        }
        domain_release(domain, shelf, SHELF_BYTES, SHELF_BYTES);
    }
}
