/*
 * shelf.c - slabs, domains and their bounds; see shelf.h.
 */
#include "memory/shelf.h"

#include <string.h>

#include "memory/pool.h"

static void shelf_clear(struct shelf *shelf)
{
    memset(shelf, 0, SHELF_BYTES);
    i64_store_relaxed(&shelf->due_ns, CANOPY_NEVER);
    for (unsigned i = 0; i < SHELF_PLACES; i++) {
        i64_store_relaxed(&shelf->places[i].due_ns, CANOPY_NEVER);
        word_store_relaxed(&shelf->places[i].item, PLACE_VACANT);
    }
}

static struct shelf *shelf_new(struct domain *domain)
{
    struct shelf *shelf = domain_allocate(domain, SHELF_BYTES, SHELF_BYTES);
    if (shelf)
        shelf_clear(shelf);
    return shelf;
}

/* Under library_lock, or before anybody else knows the shelves. */
static void shelf_add(struct shelves *shelves, struct shelf *shelf)
{
    word_store_relaxed(&shelf->next, word_load_relaxed(&shelves->first));
    word_store_seq_cst(&shelves->first, (uintptr_t)shelf); /* P3, P4 */
}

void shelf_open(struct shelves *shelves, struct shelf *first)
{
    shelf_clear(first);
    shelf_add(shelves, first);
}

/* A vacant place, or NULL. Under library_lock. */
static struct shelf_place *place_find(struct shelves *shelves)
{
    struct shelf_place *place = shelves->vacant;
    if (place) {
        shelves->vacant = (struct shelf_place *)(word_load_relaxed(&place->item) & ~PLACE_VACANT);
        return place;
    }
    struct shelf *shelf = shelf_first(shelves);
    uint32_t opened = shelf ? u32_load_relaxed(&shelf->opened) : SHELF_PLACES;
    return opened < SHELF_PLACES ? &shelf->places[opened] : NULL;
}

/* The same, on `*spare` if there is no other; that is then used up. */
static struct shelf_place *place_get(struct shelves *shelves, struct shelf **spare)
{
    struct shelf_place *place = place_find(shelves);
    if (place || !*spare)
        return place;
    shelf_add(shelves, *spare);
    *spare = NULL;
    return place_find(shelves);
}

static bool put(struct shelves *shelves, void *item, struct shelf_place **at, struct shelf **spare)
{
    struct shelf_place *place = place_get(shelves, spare);
    if (!place)
        return false;
    *at = place;
    word_store_seq_cst(&place->item, (uintptr_t)item); /* P3 */
    struct shelf *shelf = shelf_of(place);
    if (place == &shelf->places[u32_load_relaxed(&shelf->opened)])
        u32_fetch_add_seq_cst(&shelf->opened, 1); /* P3: the clock looks so far */
    return true;
}

bool shelf_put(struct shelves *shelves, struct domain *domain, void *item, struct shelf_place **at)
{
    struct shelf *spare = NULL;
    for (;;) {
        pthread_mutex_lock(&library_lock);
        bool done = put(shelves, item, at, &spare);
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

void shelf_take(struct shelves *shelves, struct shelf_place *place)
{
    pthread_mutex_lock(&library_lock);
    word_store_relaxed(&place->item, (uintptr_t)shelves->vacant | PLACE_VACANT);
    shelves->vacant = place;
    pthread_mutex_unlock(&library_lock);
}

void shelf_reset(struct shelves *shelves)
{
    for (struct shelf *shelf = shelf_first(shelves); shelf; shelf = shelf_next(shelf)) {
        i64_store_relaxed(&shelf->due_ns, CANOPY_NEVER);
        shelf->owed = 0;
        memset(shelf->owed_sectors, 0, sizeof shelf->owed_sectors);
        for (unsigned i = 0; i < SHELF_PLACES; i++)
            i64_store_relaxed(&shelf->places[i].due_ns, CANOPY_NEVER);
    }
}

void shelf_free_all(struct domain *domain)
{
    for (struct shelf *shelf = shelf_first(&domain->slabs), *next; shelf; shelf = next) {
        next = shelf_next(shelf);
        for (unsigned i = 0; i < SHELF_PLACES; i++) {
            struct slab *slab = shelf_item(&shelf->places[i]);
            if (slab)
                slab_free(slab);
        }
        domain_release(domain, shelf, SHELF_BYTES, SHELF_BYTES);
    }
}
