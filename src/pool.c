/*
 * pool.c - domains, heaps and slabs; pool.h says how they hang together.
 *
 * Who touches what: a slab's free list and counts are its heap's, a heap is its
 * thread's; the stack `remote` is everybody's. A heap changes hands only under
 * library_lock, which is what orders one owner's plain stores before the next
 * owner's loads. Allocator hooks are called without the lock.
 */
#include "pool.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t class_bytes[CLASS_COUNT] = {CACHE_LINE, CACHE_LINE, BLOCK_BYTES};

/* A few empty slabs stay, so that an ebb that a flood follows does not give and take. */
#define EMPTY_SLABS_KEPT 4

static void *default_allocate(void *user, size_t align_bytes, size_t size_bytes)
{
    (void)user;
    void *memory = NULL;
    return posix_memalign(&memory, align_bytes, size_bytes) == 0 ? memory : NULL;
}

static void default_release(void *user, void *memory, size_t align_bytes, size_t size_bytes)
{
    (void)user;
    (void)align_bytes;
    (void)size_bytes;
    free(memory);
}

struct domain default_domain = {
    .allocate = default_allocate,
    .release = default_release,
    .id = 1,
    .due_ns = {CANOPY_NEVER},
};

__thread struct heap *tls_heap __attribute__((tls_model("initial-exec")));
void (*pool_construct_ctx)(void *object);
void (*pool_forget_ctx)(void *object);

/* Heaps in other domains than the default one, a few remembered by the domain's id. */
#define TLS_ENTRIES 4
static __thread struct heap_entry tls_entries[TLS_ENTRIES]
    __attribute__((tls_model("initial-exec")));
__thread struct heap_entry tls_recent __attribute__((tls_model("initial-exec")));

static pthread_key_t exit_key;
static bool exit_key_made;

void *domain_allocate(struct domain *domain, size_t align_bytes, size_t size_bytes)
{
    void *memory = domain->allocate(domain->user, align_bytes, size_bytes);
    if (memory)
        u64_fetch_add_relaxed(&domain->bytes, size_bytes);
    return memory;
}

void domain_release(struct domain *domain, void *memory, size_t align_bytes, size_t size_bytes)
{
    u64_fetch_add_relaxed(&domain->bytes, -(uint64_t)size_bytes);
    domain->release(domain->user, memory, align_bytes, size_bytes);
}

/* The heap's thread has `count` contexts more, or less, out of slabs. */
static void count_taken(struct heap *heap, enum object_class class, uint64_t count)
{
    if (class == CLASS_CTX) /* no other writer */
        u64_store_relaxed(&heap->taken, u64_load_relaxed(&heap->taken) + count);
}

/* ---------------------------------------------------------- slabs to the system */

static void slab_reclaim(struct handoff_node *node)
{
    struct slab *slab = (struct slab *)((char *)node - offsetof(struct slab, retired));
    struct domain *domain = slab->domain;
    domain_release(domain, slab, SLAB_BYTES, SLAB_ALLOCATED_BYTES);
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

static struct slab *slab_new(struct heap *heap, enum object_class class)
{
    struct domain *domain = heap->domain;
    struct slab *slab = domain_allocate(domain, SLAB_BYTES, SLAB_ALLOCATED_BYTES);
    if (!slab)
        return NULL;
    memset(slab, 0, SLAB_HEADER_BYTES);
    slab->domain = domain;
    slab->heap = heap;
    slab->class = class;
    slab->fork_generation = u32_load_relaxed(&fork_generation);
    uint32_t align_bytes = class_bytes[class];
    u32_store_relaxed(&slab->fresh_bytes, (uint32_t)((SLAB_HEADER_BYTES + align_bytes - 1) /
                                                     align_bytes * align_bytes));
    for (unsigned i = 0; i < SLAB_GROUPS; i++)
        i64_store_relaxed(&slab->group_due_ns[i], CANOPY_NEVER);
    if (!shelf_put(domain, slab)) {
        domain_release(domain, slab, SLAB_BYTES, SLAB_ALLOCATED_BYTES);
        return NULL;
    }
    avail_add(&heap->pools[class], slab);
    heap->pools[class].empty_slabs++;
    return slab;
}

static void slab_retire(struct slab *slab)
{
    struct domain *domain = slab->domain;
    avail_remove(&slab->heap->pools[slab->class], slab);
    shelf_take(slab);
    domain_hold(domain);
    rcu_retire(&slab_queue, &slab->retired);
}

/* ------------------------------------------------------------------- objects */

static void slab_put(struct pool *pool, struct slab *slab, struct handoff_node *object)
{
    handoff_link(object, slab->free);
    slab->free = object;
    slab->used--;
    if (!slab->is_avail)
        avail_add(pool, slab);
    if (slab->used > 0)
        return;
    if (pool->empty_slabs < EMPTY_SLABS_KEPT)
        pool->empty_slabs++;
    else
        slab_retire(slab);
}

/* What others freed goes back to its slabs. */
static void take_remote(struct pool *pool)
{
    for (struct handoff_node *node = handoff_take_all(&pool->remote); node;) {
        struct handoff_node *next = handoff_next(node);
        slab_put(pool, slab_of(node), node);
        node = next;
    }
}

bool pool_refill(struct heap *heap, enum object_class class)
{
    struct pool *pool = &heap->pools[class];
    heap->refills += class == CLASS_CTX;
    if (pool->spare.top) {
        struct magazine empty = pool->loaded;
        pool->loaded = pool->spare;
        pool->spare = empty;
        return true;
    }
    take_remote(pool);
    if (!pool->avail && rcu_pace()) {
        if (pool->loaded.top)
            return true;
        take_remote(pool);
    }
    struct slab *slab = pool->avail;
    if (!slab)
        slab = slab_new(heap, class);
    if (!slab)
        return false;
    if (slab->used == 0)
        pool->empty_slabs--;
    uint32_t size = class_bytes[class];
    uint32_t fresh = u32_load_relaxed(&slab->fresh_bytes);
    while (pool->loaded.count < MAGAZINE_LIMIT / 2 && slab->free) {
        struct handoff_node *object = slab->free;
        slab->free = handoff_next(object);
        magazine_push(&pool->loaded, object);
        slab->used++;
    }
    /* The last goes in first: what is made in turn then lies in turn, as prefetchers like it. */
    uint32_t fits = (SLAB_ALLOCATED_BYTES - fresh) / size;
    uint32_t wanted = MAGAZINE_LIMIT / 2 - pool->loaded.count;
    uint32_t taken = wanted < fits ? wanted : fits;
    char *first = (char *)slab + fresh;
    for (char *object = first + (size_t)taken * size; object > first;) {
        object -= size;
        memset(object, 0, size);
        if (class == CLASS_CTX)
            pool_construct_ctx(object);
        magazine_push(&pool->loaded, object);
    }
    slab->used += taken;
    count_taken(heap, class, pool->loaded.count);
    fresh += taken * size;
    u32_store_release(&slab->fresh_bytes, fresh); /* P2: pairs with the clock's look into a slab */
    if (!slab->free && fresh + size > SLAB_ALLOCATED_BYTES)
        avail_remove(pool, slab);
    return true;
}

static void object_return(struct heap *heap, struct handoff_node *object)
{
    struct slab *slab = slab_of(object);
    if (slab_is_inherited(slab))
        return;
    struct pool *pool = &slab->heap->pools[slab->class];
    if (heap && slab->heap == heap) {
        slab_put(pool, slab, object);
        return;
    }
    if (slab->class == CLASS_CTX)
        pool_forget_ctx(object);
    handoff_push(&pool->remote, object);
}

void pool_overflow(struct heap *heap, enum object_class class)
{
    struct pool *pool = &heap->pools[class];
    struct handoff_node *object = pool->spare.top;
    count_taken(heap, class, -(uint64_t)pool->spare.count);
    pool->spare = pool->loaded;
    pool->loaded = (struct magazine){0};
    while (object) {
        struct handoff_node *next = handoff_next(object);
        object_return(heap, object);
        object = next;
    }
}

void pool_free_remote(void *memory)
{
    if (slab_of(memory)->class == CLASS_CTX)
        u64_fetch_add_relaxed(&slab_of(memory)->domain->given_back, 1);
    object_return(NULL, memory);
}

void pool_free_any(void *memory)
{
    struct slab *slab = slab_of(memory);
    /* A library thread makes nothing: a heap that it adopted would keep what it is given. */
    struct heap *heap = thread_is_library ? NULL : heap_peek(slab->domain);
    if (heap)
        pool_free(heap, slab->class, memory);
    else
        pool_free_remote(memory);
}

/* --------------------------------------------------------------------- heaps */

/*
 * A thread whose last destructors ran after ours leaves its heap owned. Nobody
 * is told, but the kernel knows: the thread id is gone.
 */
static bool owner_is_gone(const struct heap *heap)
{
    pid_t tid = (pid_t)u32_load_relaxed(&heap->owner_tid);
    return syscall(SYS_tgkill, getpid(), tid, 0) != 0 && errno == ESRCH;
}

static struct heap *heap_find(struct domain *domain, bool dead_owners)
{
    for (struct heap *heap = domain->heaps; heap; heap = heap->next) {
        uint64_t owner = u64_load_relaxed(&heap->owner);
        if (owner == 0 || (dead_owners && owner_is_gone(heap)))
            return heap;
    }
    return NULL;
}

static struct heap *heap_owned(struct domain *domain)
{
    for (struct heap *heap = domain->heaps; heap; heap = heap->next)
        if (u64_load_relaxed(&heap->owner) == thread_self() &&
            u32_load_relaxed(&heap->owner_tid) == (uint32_t)gettid())
            return heap;
    return NULL;
}

static void heap_own(struct heap *heap)
{
    u32_store_relaxed(&heap->owner_tid, (uint32_t)gettid());
    u64_store_relaxed(&heap->owner, thread_self());
}

static void heap_remember(struct domain *domain, struct heap *heap)
{
    if (domain == &default_domain) {
        tls_heap = heap;
    } else {
        tls_recent = (struct heap_entry){domain->id, heap};
        tls_entries[domain->id % TLS_ENTRIES] = tls_recent;
    }
    if (exit_key_made)
        pthread_setspecific(exit_key, &thread_marker);
}

static struct heap *heap_remembered(const struct domain *domain)
{
    if (domain == &default_domain)
        return tls_heap;
    const struct heap_entry *entry = &tls_entries[domain->id % TLS_ENTRIES];
    if (entry->domain_id != domain->id)
        return NULL;
    tls_recent = *entry;
    return entry->heap;
}

struct heap *heap_peek_slow(struct domain *domain)
{
    struct heap *heap = heap_remembered(domain);
    if (heap)
        return heap;
    pthread_mutex_lock(&library_lock);
    heap = heap_owned(domain);
    if (!heap && (heap = heap_find(domain, false)))
        heap_own(heap);
    pthread_mutex_unlock(&library_lock);
    if (heap)
        heap_remember(domain, heap);
    return heap;
}

struct heap *heap_get_slow(struct domain *domain)
{
    struct heap *heap = heap_remembered(domain);
    if (heap)
        return heap;
    if (!rcu_thread_ready())
        return NULL;
    heap = heap_peek_slow(domain);
    if (heap)
        return heap;
    if (library_init() != 0)
        return NULL;
    pthread_mutex_lock(&library_lock);
    heap = heap_find(domain, true);
    if (heap)
        heap_own(heap);
    pthread_mutex_unlock(&library_lock);
    if (!heap) {
        heap = domain_allocate(domain, CACHE_LINE, sizeof *heap);
        if (!heap)
            return NULL;
        memset(heap, 0, sizeof *heap);
        heap->domain = domain;
        heap->domain_id = domain->id;
        heap_own(heap);
        pthread_mutex_lock(&library_lock);
        heap->next = domain->heaps;
        domain->heaps = heap;
        pthread_mutex_unlock(&library_lock);
    }
    heap_remember(domain, heap);
    return heap;
}

static void thread_exit(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&library_lock);
    for (struct domain *d = &default_domain; d; d = (struct domain *)word_load_relaxed(&d->next)) {
        struct heap *heap = heap_owned(d);
        if (heap)
            u64_store_relaxed(&heap->owner, 0);
    }
    pthread_mutex_unlock(&library_lock);
    tls_heap = NULL;
    tls_recent = (struct heap_entry){0};
    memset(tls_entries, 0, sizeof tls_entries);
}

/* ------------------------------------------------------------------- domains */

void domain_add(struct domain *domain)
{
    static uint64_t last_id = 1;
    pthread_mutex_lock(&library_lock);
    domain->id = ++last_id;
    word_store_relaxed(&domain->next, word_load_relaxed(&default_domain.next));
    word_store_seq_cst(&default_domain.next, (uintptr_t)domain); /* P1: with the clock's walk */
    pthread_mutex_unlock(&library_lock);
}

void domain_remove(struct domain *domain)
{
    pthread_mutex_lock(&library_lock);
    struct domain *d = &default_domain;
    while ((struct domain *)word_load_relaxed(&d->next) != domain)
        d = (struct domain *)word_load_relaxed(&d->next);
    word_store_relaxed(&d->next, word_load_relaxed(&domain->next));
    pthread_mutex_unlock(&library_lock);
}

void domain_await_leaving(struct domain *domain)
{
    for (struct heap *heap = domain->heaps; heap; heap = heap->next)
        while (word_load_acquire(&heap->leaving)) /* pairs with L4 in children.h */
            pause_ns(1000);
}

static void heaps_append(struct heap **list, struct heap *tail)
{
    while (*list)
        list = &(*list)->next;
    *list = tail;
}

void domain_free_memory(struct domain *domain)
{
    shelf_free_all(domain);
    heaps_append(&domain->heaps, domain->inherited_heaps);
    for (struct heap *heap = domain->heaps, *next; heap; heap = next) {
        next = heap->next;
        domain_release(domain, heap, CACHE_LINE, sizeof *heap);
    }
}

void pool_fork_child(void)
{
    /*
     * Heaps of threads that are gone may be in the middle of anything, and what
     * was inherited must never be armed or written again: start from nothing.
     */
    for (struct domain *d = &default_domain; d; d = (struct domain *)word_load_relaxed(&d->next)) {
        for (struct heap *heap = d->heaps; heap; heap = heap->next)
            word_store_relaxed(&heap->leaving, 0); /* its thread is gone, wherever it was */
        heaps_append(&d->inherited_heaps, d->heaps);
        d->heaps = NULL;
        shelf_reset(d);
        u64_store_relaxed(&d->retired, 0); /* rcu_fork_child forgets what was under way */
    }
    tls_heap = NULL;
    tls_recent = (struct heap_entry){0};
    memset(tls_entries, 0, sizeof tls_entries);
}

void pool_init(void)
{
    rcu_queue_register(&slab_queue);
    /* Without a key a heap is found orphaned later, when its thread is gone. */
    exit_key_made = pthread_key_create(&exit_key, thread_exit) == 0;
}
