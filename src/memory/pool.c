/*
 * pool.c - domains, heaps and slabs; pool.h says how they hang together.
 *
 * Who touches what: magazines, and the slab whose objects were never used, are the
 * heap's thread's; the stack `remote` is everybody's. A heap changes hands only under
 * library_lock, which is what orders one owner's plain stores before the next
 * owner's loads. Allocator hooks are called without the lock.
 *
 * Slabs, that is their lists, free objects and counts, are whoever's who has set
 * `slabs_held`: the heap's thread once for half a magazine, the scavenger for a portion.
 * Nobody waits for it. A thread that does not get its slabs takes from a new one, which
 * is not in their lists, and frees as if it were another; the scavenger comes again.
 *
 * The newest slab is the thread's alone (pool->fresh): what of it was never used counts
 * as in use, and is taken without `slabs_held`. Up to `fresh_bytes` a slab is objects, which
 * the clock and the scavenger look at, by their words alone.
 *
 * Ordering pairs:
 *   H1/H2  `slabs_held` is set by an exchange, an acquire, and cleared by a release: what the
 *         last one did comes before. Without it two work on a list in different states.
 *   V1/V2  `fresh_bytes` is advanced by a release, after objects were made of what is below
 *         it: who looks into a slab sees objects. Without it the clock takes what was in the
 *         memory before for a context with a deadline.
 *   X1/X2  what holds a domain lets go of it by a release, and who removes it loads that by
 *         an acquire. Without it the domain is freed under who gives the last of it back.
 */
#include "memory/pool.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/probe.h"
#include "memory/region.h"

/* A few empty slabs stay, so that an ebb that a flood follows does not give and take. */
#define EMPTY_SLABS_KEPT 4

/* So many objects that others freed go to their slabs at a time: some microseconds. */
#define PORTION MAGAZINE_LIMIT

/* A magazine that ran empty is filled so far; with what was never used, a page at a time. */
#define REFILL      (MAGAZINE_LIMIT / 2)
#define FRESH_BYTES 4096

/* So many that a thread has freed for others are worth a look. */
#define FREED_FOR_OTHERS 256

static void *default_allocate(void *user, size_t align_bytes, size_t size_bytes)
{
    (void)user;
    void *memory = NULL;
    if (align_bytes == SLAB_BYTES)
        return region_take();
    return posix_memalign(&memory, align_bytes, size_bytes) == 0 ? memory : NULL;
}

static void default_release(void *user, void *memory, size_t align_bytes, size_t size_bytes)
{
    (void)user;
    (void)size_bytes;
    if (align_bytes == SLAB_BYTES)
        region_give(memory);
    else
        free(memory);
}

struct domain default_domain = {
    .allocate = default_allocate,
    .release = default_release,
    .id = 1,
};

struct shelves clocked_domains;
static struct shelf first_domains __attribute__((aligned(SHELF_BYTES)));

__thread struct heap *tls_heap __attribute__((tls_model("initial-exec")));

/* The thread's heaps in other domains than the default one, by the domain's id. */
static __thread struct table *tls_heaps __attribute__((tls_model("initial-exec")));
__thread struct heap_entry tls_recent __attribute__((tls_model("initial-exec")));

static pthread_key_t exit_key;
static bool exit_key_made;

void *domain_allocate(struct domain *domain, size_t align_bytes, size_t size_bytes)
{
    void *memory = domain->allocate(domain->user, align_bytes, size_bytes);
    if (memory)
        u64_fetch_add_relaxed(&domain->bytes, size_bytes);
    else
        PROBE3(refused, domain->root, ENOMEM, size_bytes);
    return memory;
}

void domain_release(struct domain *domain, void *memory, size_t align_bytes, size_t size_bytes)
{
    u64_fetch_add_relaxed(&domain->bytes, -(uint64_t)size_bytes);
    domain->release(domain->user, memory, align_bytes, size_bytes);
}

struct table *domain_table_new(struct domain *domain, uint32_t values)
{
    size_t bytes = table_bytes(values);
    struct table *table = domain_allocate(domain, CACHE_LINE, bytes);
    if (table)
        table_init(table, bytes);
    return table;
}

void domain_table_free(struct domain *domain, struct table *table)
{
    if (table)
        domain_release(domain, table, CACHE_LINE, table_size_bytes(table));
}

/* The heap's thread has `count` contexts more, or less, out of slabs. */
static void count_taken(struct heap *heap, enum object_class class, uint64_t count)
{
    if (class == CLASS_CTX) /* no other writer */
        u64_store_relaxed(&heap->taken, u64_load_relaxed(&heap->taken) + count);
}

/* ---------------------------------------------------------- slabs to the system */

void slab_free(struct slab *slab)
{
    if (slab->notes)
        notes_free(slab);
    PROBE4(slab, slab, slab->domain->root, slab->class, 0);
    domain_release(slab->domain, slab, SLAB_BYTES, SLAB_ALLOCATED_BYTES);
}

static void slab_reclaim(struct handoff_node *node)
{
    struct slab *slab = (struct slab *)((char *)node - offsetof(struct slab, retired));
    struct domain *domain = slab->domain;
    slab_free(slab);
    domain_let_go(domain);
}

static struct retire_queue slab_queue = {.reclaim = slab_reclaim};

static void avail_add(struct pool *pool, struct slab *slab)
{
    slab->avail_previous = NULL;
    slab->avail_next = pool->avail;
    if (pool->avail)
        pool->avail->avail_previous = slab;
    pool->avail = slab;
    slab->is_avail = true;
}

static void avail_remove(struct pool *pool, struct slab *slab)
{
    if (slab->avail_previous)
        slab->avail_previous->avail_next = slab->avail_next;
    else
        pool->avail = slab->avail_next;
    if (slab->avail_next)
        slab->avail_next->avail_previous = slab->avail_previous;
    slab->is_avail = false;
}

static void empty_add(struct pool *pool, struct slab *slab)
{
    slab->avail_next = pool->empty;
    pool->empty = slab;
    pool->empty_slabs++;
}

static struct slab *empty_take(struct pool *pool)
{
    struct slab *slab = pool->empty;
    pool->empty = slab->avail_next;
    pool->empty_slabs--;
    return slab;
}

static struct slab *slab_new(struct heap *heap, enum object_class class)
{
    struct domain *domain = heap->domain;
    struct slab *slab = domain_allocate(domain, SLAB_BYTES, SLAB_ALLOCATED_BYTES);
    if (!slab)
        return NULL;
    memset(slab, 0, SLAB_HEADER_BYTES);
    slab->domain = domain;
    slab->domain_id = domain->id;
    slab->heap = heap;
    slab->class = class;
    slab->fork_generation = u32_load_relaxed(&fork_generation);
    uint32_t align_bytes = object_bytes(class);
    u32_store_relaxed(&slab->fresh_bytes, (uint32_t)((SLAB_HEADER_BYTES + align_bytes - 1) /
                                                     align_bytes * align_bytes));
    slab->used = slab_never_used(slab);
    slab->due_ns = INT64_MIN;
    for (unsigned i = 0; i < SLAB_SECTORS; i++)
        i64_store_relaxed(&slab->sector_due_ns[i], CANOPY_NEVER);
    bool has_notes = class == CLASS_CTX && domain->counts;
    if ((has_notes && !notes_open(slab)) ||
        !shelf_put(&domain->slabs, domain, slab, &slab->place)) {
        slab_free(slab);
        return NULL;
    }
    if (has_notes)
        notes_publish(slab);
    PROBE4(slab, slab, domain->root, class, 1);
    return slab;
}

static void slab_retire(struct slab *slab)
{
    if (slab->notes)
        notes_close(slab);
    shelf_take(&slab->domain->slabs, slab->place);
    domain_hold(slab->domain);
    rcu_retire(&slab_queue, &slab->retired);
}

/* False, and nothing to be done about it: somebody else is at the heap's slabs. */
static bool slabs_hold(struct heap *heap)
{
    return u32_exchange_acq_rel(&heap->slabs_held, 1) == 0; /* H1 */
}

/* Empty slabs go, but for `keep`: once nobody has to do without the others any more. */
static void slabs_let_go(struct heap *heap, struct pool *pool, unsigned keep)
{
    struct slab *surplus = NULL;
    while (pool->empty_slabs > keep) {
        struct slab *slab = empty_take(pool);
        slab->avail_next = surplus;
        surplus = slab;
    }
    bool has_many = pool->empty_slabs > 1;
    u32_store_release(&heap->slabs_held, 0); /* H2 */
    while (surplus) {
        struct slab *next = surplus->avail_next;
        slab_retire(surplus);
        surplus = next;
    }
    if (has_many)
        rcu_ask(); /* too much for a thread that rests */
}

/* ------------------------------------------------------------------- objects */

/* A slab of which less is in use than before. */
static void slab_give(struct pool *pool, struct slab *slab)
{
    if (!slab->is_avail)
        avail_add(pool, slab);
    if (slab->used > 0)
        return;
    avail_remove(pool, slab);
    empty_add(pool, slab);
}

static void slab_put(struct pool *pool, struct slab *slab, struct handoff_node *object)
{
    handoff_link(object, slab->free);
    slab->free = object;
    slab->used--;
    slab_give(pool, slab);
}

/* What others freed goes back to its slabs. */
static void take_remote(struct pool *pool)
{
    if (!pool->pending)
        pool->pending = handoff_take_all(&pool->remote);
    for (unsigned i = 0; i < PORTION && pool->pending; i++) {
        struct handoff_node *object = pool->pending;
        pool->pending = handoff_next(object);
        slab_put(pool, slab_of(object), object);
    }
}

/* Up to half a magazine of a slab's objects that were never used: so many. */
static uint32_t take_fresh(struct magazine *loaded, struct slab *slab)
{
    uint32_t size = object_bytes(slab->class);
    uint32_t fresh = u32_load_relaxed(&slab->fresh_bytes);
    uint32_t fits = slab_never_used(slab);
    uint32_t wanted = REFILL - loaded->count;
    if (wanted > FRESH_BYTES / size)
        wanted = FRESH_BYTES / size;
    uint32_t taken = wanted < fits ? wanted : fits;
    char *first = (char *)slab + fresh;
    /* The last goes in first: what is made in turn then lies in turn, as prefetchers like it. */
    for (char *object = first + (size_t)taken * size; object > first;) {
        object -= size;
        memset(object, 0, size);
        if (slab->class == CLASS_CTX)
            ctx_construct(object);
        magazine_push(loaded, object);
    }
    /* V1: pairs with V2, the clock's look into a slab */
    u32_store_release(&slab->fresh_bytes, fresh + taken * size);
    return taken;
}

/* Up to half a magazine of what slabs have free. */
static void take_free(struct pool *pool, struct magazine *loaded)
{
    while (loaded->count < REFILL) {
        if (!pool->avail && pool->empty)
            avail_add(pool, empty_take(pool));
        struct slab *slab = pool->avail;
        if (!slab)
            return;
        while (loaded->count < REFILL && slab->free) {
            struct handoff_node *object = slab->free;
            slab->free = handoff_next(object);
            magazine_push(loaded, object);
            slab->used++;
        }
        bool has_fresh = slab != pool->fresh && slab_never_used(slab);
        if (has_fresh)
            slab->used += take_fresh(loaded, slab);
        if (!slab->free && (!has_fresh || !slab_never_used(slab)))
            avail_remove(pool, slab);
    }
}

/* What there is without more memory; true if there is any. */
static bool refill(struct heap *heap, enum object_class class)
{
    struct pool *pool = &heap->pools[class];
    struct magazine *loaded = &heap->loaded[class];
    unsigned before = loaded->count;
    if (slabs_hold(heap)) {
        take_remote(pool);
        take_free(pool, loaded);
        slabs_let_go(heap, pool, EMPTY_SLABS_KEPT);
    }
    if (!magazine_top(loaded) && pool->fresh) {
        take_fresh(loaded, pool->fresh);
        if (!slab_never_used(pool->fresh))
            pool->fresh = NULL;
    }
    count_taken(heap, class, loaded->count - before);
    return magazine_top(loaded) != NULL;
}

static void magazine_move(struct magazine *to, struct magazine *from)
{
    magazine_set_top(to, magazine_top(from));
    to->count = from->count;
    magazine_set_top(from, NULL);
    from->count = 0;
}

bool pool_refill(struct heap *heap, enum object_class class)
{
    struct pool *pool = &heap->pools[class];
    if (magazine_top(&pool->spare)) {
        magazine_move(&heap->loaded[class], &pool->spare);
        return true;
    }
    if (refill(heap, class))
        return true;
    if (rcu_pace() && (magazine_top(&heap->loaded[class]) || refill(heap, class)))
        return true;
    pool->fresh = slab_new(heap, class);
    return pool->fresh && refill(heap, class);
}

/* Objects that this thread has freed for others. */
static __thread unsigned freed __attribute__((tls_model("initial-exec")));

/* To the heap that owns it, which may be the caller's. */
static void object_push(struct handoff_node *object)
{
    struct slab *slab = slab_of(object);
    if (slab_is_inherited(slab))
        return;
    if (slab->class == CLASS_CTX)
        ctx_forget(object);
    handoff_push(&slab->heap->pools[slab->class].remote, object);
    if (++freed % FREED_FOR_OTHERS == 0)
        rcu_ask();
}

/* Objects of one class go to their slabs, or to who has them. */
static void objects_return(struct heap *heap, struct pool *pool, struct handoff_node *object)
{
    bool holds = slabs_hold(heap);
    while (object) {
        struct handoff_node *next = handoff_next(object);
        struct slab *slab = slab_of(object);
        if (holds && slab->heap == heap && !slab_is_inherited(slab))
            slab_put(pool, slab, object);
        else
            object_push(object);
        object = next;
    }
    if (holds)
        slabs_let_go(heap, pool, EMPTY_SLABS_KEPT);
}

/* What is in the spare magazine, which the loaded one becomes. */
static struct handoff_node *spare_out(struct heap *heap, enum object_class class)
{
    struct pool *pool = &heap->pools[class];
    struct handoff_node *objects = magazine_top(&pool->spare);
    count_taken(heap, class, -(uint64_t)pool->spare.count);
    magazine_move(&pool->spare, &heap->loaded[class]);
    return objects;
}

void pool_overflow(struct heap *heap, enum object_class class)
{
    struct handoff_node *full = spare_out(heap, class);
    if (!full)
        return;
    if (class == CLASS_CTX)
        children_shed(heap, full);
    objects_return(heap, &heap->pools[class], full);
}

void pool_free_remote(void *memory)
{
    if (slab_of(memory)->class == CLASS_CTX)
        u64_fetch_add_relaxed(&slab_of(memory)->domain->given_back, 1);
    object_push(memory);
}

void pool_free_any(void *memory)
{
    struct slab *slab = slab_of(memory);
    struct heap *heap = heap_peek(slab->domain);
    if (heap)
        pool_free(heap, slab->class, memory);
    else
        pool_free_remote(memory);
}

/* ----------------------------------------------------------------- scavenging */

void pool_empty(struct heap *heap, enum object_class class)
{
    struct pool *pool = &heap->pools[class];
    objects_return(heap, pool, spare_out(heap, class));
    objects_return(heap, pool, spare_out(heap, class));
    struct slab *slab = pool->fresh;
    if (!slab || !slabs_hold(heap))
        return;
    pool->fresh = NULL;
    slab->used -= slab_never_used(slab);
    slab_give(pool, slab);
    slabs_let_go(heap, pool, 0);
}

bool pool_tidy(struct heap *heap, enum object_class class, bool *again)
{
    struct pool *pool = &heap->pools[class];
    if (!slabs_hold(heap)) {
        *again = true;
        return false;
    }
    take_remote(pool);
    bool more = pool->pending != NULL;
    slabs_let_go(heap, pool, 0);
    return more;
}

/* --------------------------------------------------------------------- heaps */

/*
 * A thread has the heaps that it finds: the default domain's in tls_heap, others in a
 * table of its own. It looks without a lock, and what it does not find it has not. What
 * changes there and in a domain's lists is changed under library_lock:
 *
 *     (new) ──heap_own──► owned ──its thread ends──► orphan ──heap_own──► owned ...
 *                           └──(left behind)───────────────────heap_own──► owned ...
 *
 *   A thread puts its own heaps in, and as it ends makes orphans of those that are in its
 *   table, whatever other domains there are. Who frees a domain erases its heaps from the
 *   tables of all threads: that of an entry for whose domain none of them can ask, which
 *   is why a look needs no order with it (table.h).
 *
 *   Left behind is a heap that was got when our destructor had run for the last time, or
 *   where there is no key for one. Nobody is told, but the kernel knows: the thread id is
 *   gone. Every new heap asks for a few others, in turn, so that each is asked for in the
 *   end, and a thread's first context costs the same among any number of them.
 *
 *   The scavenger borrows an orphan, one at a time, and gives back what its thread had at
 *   hand; then it joins those that are tidied.
 */
#define HEAPS_ASKED 4

/* Sees that the calling thread's table has room for one more. False: no memory. */
static bool heaps_reserve(void)
{
    if (table_has_room(tls_heaps))
        return true;
    pthread_mutex_lock(&library_lock);
    uint32_t values = tls_heaps ? tls_heaps->values : 0;
    pthread_mutex_unlock(&library_lock);
    struct table *heaps = domain_table_new(&default_domain, values);
    if (!heaps)
        return false;
    struct table *before = tls_heaps;
    pthread_mutex_lock(&library_lock);
    table_copy(heaps, before);
    for (uint32_t i = 0; i <= heaps->mask; i++)
        if (heaps->entries[i].value)
            ((struct heap *)heaps->entries[i].value)->holder = heaps;
    pthread_mutex_unlock(&library_lock);
    tls_heaps = heaps;
    domain_table_free(&default_domain, before);
    return true;
}

/* Under library_lock, before the new owner uses it and after the old one did. 0: nobody's. */
static void heap_set_owner(struct heap *heap, uint64_t owner)
{
    struct domain *domain = heap->domain;
    domain->owned_heaps += (uint64_t)(owner != 0) - (uint64_t)(heap->owner != 0);
    domain->owners ^= owner ^ heap->owner;
    heap->owner = owner;
    uint64_t sole = domain->owned_heaps > 1 ? SOLE_SEVERAL : domain->owners;
    u64_exchange_seq_cst(&domain->sole, sole); /* F2: pairs with F1 */
}

/* The calling thread has it from now on. Under library_lock. */
static void heap_own(struct heap *heap)
{
    heap_set_owner(heap, thread_self());
    heap->owner_tid = gettid();
    if (heap->domain == &default_domain) {
        tls_heap = heap;
        return;
    }
    heap->holder = tls_heaps;
    table_put(tls_heaps, heap->domain_id, heap);
    tls_recent = (struct heap_entry){heap->domain_id, heap};
}

/* Its thread is to find it no more: the table, if that was the last in it. Under library_lock. */
static struct table *heap_disown(struct heap *heap)
{
    struct table *holder = heap->holder;
    heap->holder = NULL;
    if (!holder)
        return NULL;
    table_erase(holder, heap->domain_id);
    return holder->values == 0 ? holder : NULL;
}

/* Under library_lock. */
static void heap_orphan(struct heap *heap)
{
    heap_set_owner(heap, 0);
    heap->holder = NULL;
    heap->next_orphan = heap->domain->orphans;
    heap->domain->orphans = heap;
}

/* The calling thread has no heap here: one with its id was another's, who had it before. */
static bool is_left_behind(const struct heap *heap)
{
    return heap->owner_tid == gettid() ||
           (syscall(SYS_tgkill, getpid(), heap->owner_tid, 0) != 0 && errno == ESRCH);
}

/* One that was left behind, of a few. Under library_lock. */
static struct heap *heap_ask(struct domain *domain)
{
    struct heap *heap = domain->asked ? domain->asked : domain->heaps;
    struct heap *found = NULL;
    for (unsigned i = 0; heap && !found && i < HEAPS_ASKED; i++, heap = heap->next)
        found = is_left_behind(heap) ? heap : NULL;
    domain->asked = heap;
    return found;
}

/* A heap of a thread that is gone becomes the caller's; NULL: there is none. */
static struct heap *heap_adopt(struct domain *domain)
{
    struct table *left = NULL;
    pthread_mutex_lock(&library_lock);
    struct heap *heap = domain->orphans;
    if (heap)
        domain->orphans = heap->next_orphan;
    else if ((heap = domain->tidied))
        domain->tidied = heap->next_orphan;
    else if ((heap = heap_ask(domain)))
        left = heap_disown(heap);
    if (heap)
        heap_own(heap);
    pthread_mutex_unlock(&library_lock);
    domain_table_free(&default_domain, left);
    return heap;
}

struct heap *orphan_borrow(struct domain *domain)
{
    pthread_mutex_lock(&library_lock);
    struct heap *heap = domain->orphans;
    if (heap) {
        domain->orphans = heap->next_orphan;
        heap->owner_tid = gettid(); /* so that it is not taken for left behind */
    }
    pthread_mutex_unlock(&library_lock);
    return heap;
}

void orphan_return(struct heap *heap)
{
    pthread_mutex_lock(&library_lock);
    heap->next_orphan = heap->domain->tidied;
    heap->domain->tidied = heap;
    pthread_mutex_unlock(&library_lock);
}

static struct heap *heap_new(struct domain *domain)
{
    struct heap *heap = domain_allocate(domain, CACHE_LINE, heap_bytes(domain));
    if (!heap)
        return NULL;
    memset(heap, 0, heap_bytes(domain));
    heap->domain = domain;
    heap->domain_id = domain->id;
    pthread_mutex_lock(&library_lock);
    heap->next = domain->heaps;
    domain->heaps = heap;
    heap_own(heap);
    pthread_mutex_unlock(&library_lock);
    return heap;
}

struct heap *heap_peek_slow(uint64_t domain_id)
{
    struct heap *heap = table_find(tls_heaps, domain_id);
    if (heap)
        tls_recent = (struct heap_entry){domain_id, heap};
    return heap;
}

struct heap *heap_get_slow(struct domain *domain)
{
    struct heap *heap = heap_peek_slow(domain->id);
    if (likely(heap != NULL))
        return heap;
    if (!rcu_thread_ready() || library_init() != 0)
        return NULL;
    if (domain != &default_domain && !heaps_reserve())
        return NULL;
    heap = heap_adopt(domain);
    if (!heap)
        heap = heap_new(domain);
    if (heap && exit_key_made)
        pthread_setspecific(exit_key, &thread_marker);
    return heap;
}

static void thread_exit(void *unused)
{
    struct table *heaps = tls_heaps;
    (void)unused;
    pthread_mutex_lock(&library_lock);
    if (tls_heap)
        heap_orphan(tls_heap);
    for (uint32_t i = 0; heaps && i <= heaps->mask; i++)
        if (heaps->entries[i].value)
            heap_orphan(heaps->entries[i].value);
    pthread_mutex_unlock(&library_lock);
    tls_heap = NULL;
    tls_recent = (struct heap_entry){0};
    tls_heaps = NULL;
    domain_table_free(&default_domain, heaps);
    if (rcu_is_at_work())
        rcu_ask(); /* for what the heaps have at hand; alone that is worth no thread */
}

void domain_leave(struct domain *domain)
{
    struct heap *heap = heap_peek(domain);
    if (!heap)
        return;
    pthread_mutex_lock(&library_lock);
    heap_disown(heap); /* the table stays the calling thread's */
    heap_orphan(heap);
    pthread_mutex_unlock(&library_lock);
    tls_recent = (struct heap_entry){0};
}

/* ------------------------------------------------------------------- domains */

bool domain_add(struct domain *domain)
{
    static uint64_t last_id = 1;
    domain->place = &domain->own_place;
    i64_store_relaxed(&domain->own_place.due_ns, CANOPY_NEVER);
    if (!domain->host_clock &&
        !shelf_put(&clocked_domains, &default_domain, domain, &domain->place))
        return false;
    pthread_mutex_lock(&library_lock);
    domain->id = ++last_id;
    word_store_relaxed(&domain->next, word_load_relaxed(&default_domain.next));
    word_store_relaxed(&default_domain.next, (uintptr_t)domain);
    pthread_mutex_unlock(&library_lock);
    return true;
}

static void domain_take_off(struct domain *domain)
{
    if (!domain->host_clock)
        shelf_take(&clocked_domains, domain->place);
    pthread_mutex_lock(&library_lock);
    struct domain *d = &default_domain;
    while ((struct domain *)word_load_relaxed(&d->next) != domain)
        d = (struct domain *)word_load_relaxed(&d->next);
    word_store_relaxed(&d->next, word_load_relaxed(&domain->next));
    u32_store_relaxed(&domain->is_removed, 1);
    invariant(heaps_are_valid(domain));
    pthread_mutex_unlock(&library_lock);
}

static void await_leaving(struct domain *domain)
{
    for (struct heap *heap = domain->heaps; heap; heap = heap->next)
        while (word_load_acquire(&heap->leaving)) /* L6: pairs with L4 */
            pause_ns(1000);
}

void domain_remove(struct domain *domain)
{
    domain_take_off(domain);
    notes_close_all(domain);
    await_leaving(domain);
    rcu_wait();
    while (u64_load_acquire(&domain->retired)) { /* X2: pairs with X1 */
        rcu_help();
        pause_ns(NS_PER_SECOND / 1000);
    }
}

/* The next one, in the order of ids from the latest on; under library_lock. */
static struct domain *domain_next(const struct domain *domain)
{
    /* One that was taken off may have a next one that is gone. */
    bool is_removed = u32_load_relaxed(&domain->is_removed);
    struct domain *next =
        (struct domain *)word_load_relaxed(is_removed ? &default_domain.next : &domain->next);
    while (is_removed && next && next->id >= domain->id)
        next = (struct domain *)word_load_relaxed(&next->next);
    return next;
}

struct domain *domain_hold_next(struct domain *domain)
{
    pthread_mutex_lock(&library_lock);
    struct domain *next = domain_next(domain);
    if (next)
        domain_hold(next);
    pthread_mutex_unlock(&library_lock);
    domain_let_go(domain);
    return next;
}

struct heap *domain_heaps(struct domain *domain)
{
    pthread_mutex_lock(&library_lock);
    struct heap *heap = domain->heaps;
    pthread_mutex_unlock(&library_lock);
    return heap;
}

static void heaps_append(struct heap **list, struct heap *tail)
{
    while (*list)
        list = &(*list)->next;
    *list = tail;
}

/* Out of its thread's table; that, too, if nobody is left who would free it. */
static void heap_erase(struct heap *heap)
{
    pthread_mutex_lock(&library_lock);
    struct table *heaps = heap_disown(heap);
    bool is_left = heaps && heaps != tls_heaps && is_left_behind(heap);
    pthread_mutex_unlock(&library_lock);
    if (is_left)
        domain_table_free(&default_domain, heaps);
}

void domain_free_memory(struct domain *domain)
{
    shelf_free_all(domain);
    heaps_append(&domain->heaps, domain->inherited_heaps);
    for (struct heap *heap = domain->heaps, *next; heap; heap = next) {
        next = heap->next;
        heap_erase(heap);
        domain_table_free(domain, heap->stripes);
        domain_release(domain, heap, CACHE_LINE, heap_bytes(domain));
    }
}

void pool_fork_child(void)
{
    /*
     * Heaps of threads that are gone may be in the middle of anything, and what
     * was inherited must never be armed or written again: start from nothing.
     */
    for (struct domain *d = &default_domain; d; d = (struct domain *)word_load_relaxed(&d->next)) {
        for (struct heap *heap = d->heaps; heap; heap = heap->next) {
            word_store_relaxed(&heap->leaving, 0); /* its thread is gone, wherever it was */
            word_store_relaxed(&heap->claiming, 0);
            struct table *heaps = heap_disown(heap);
            if (heaps != tls_heaps)
                domain_table_free(&default_domain, heaps);
        }
        d->orphans = d->tidied = d->asked = NULL;
        heaps_append(&d->inherited_heaps, d->heaps);
        d->heaps = NULL;
        d->owned_heaps = d->owners = 0;
        u64_store_relaxed(&d->sole, SOLE_NONE);
        shelf_reset(&d->slabs);
        i64_store_relaxed(&d->place->due_ns, CANOPY_NEVER);
        d->owed = 0;
        u64_store_relaxed(&d->retired, 0); /* rcu_fork_child forgets what was under way */
    }
    shelf_reset(&clocked_domains);
    notes_fork_child();
    tls_heap = NULL;
    tls_recent = (struct heap_entry){0};
}

void pool_init(void)
{
    rcu_queue_register(&slab_queue);
    shelf_open(&clocked_domains, &first_domains);
    default_domain.place = &first_domains.places[0];
    word_store_relaxed(&default_domain.place->item, (uintptr_t)&default_domain);
    u32_store_relaxed(&first_domains.opened, 1);
    /* Without a key a heap is left behind. */
    exit_key_made = pthread_key_create(&exit_key, thread_exit) == 0;
}
