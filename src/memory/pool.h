/*
 * pool.h - memory: domains, heaps and slabs.
 *
 * A domain is the memory of one root (one more serves background and todo): an
 * allocator and what was taken from it. Within it each thread works on a heap
 * of its own, which holds slabs of 32 KiB, each cut into objects of one class.
 * A heap outlives its thread: the next thread that needs one adopts it whole,
 * with its slabs and with the stripes of children lists that it owns.
 *
 * Objects migrate: a thread frees whatever it is handed into its own magazines,
 * without a look at whose it was, and takes the next object from there. Only a
 * magazine that overflows goes back, object by object: to the slab where the
 * slab is one's own, else through a lock-free stack to the heap that owns it. So
 * release on another thread than the creator's costs what release costs. What comes
 * back by that stack goes on to its slabs a portion at a time, as the owner takes
 * more, or by the scavenger, who also comes for what nobody else would give back
 * (scavenge.c).
 *
 * Memory is type-stable: an address within a slab of a class stays an object of
 * that class until the slab itself, wholly free, goes back to the allocator
 * after a grace period. Stale pointers may therefore be dereferenced within a
 * read section that began while the pointer was good.
 */
#ifndef CANOPY_POOL_H
#define CANOPY_POOL_H

#include "base/base.h"
#include "base/table.h"
#include "memory/counts.h"
#include "memory/notes.h"
#include "memory/rcu.h"
#include "memory/shelf.h"

enum object_class {
    CLASS_CTX,   /* struct canopy_ctx, one line; the clock scans these */
    CLASS_LINE,  /* one line of anything else: slots, stripes, extensions */
    CLASS_BLOCK, /* BLOCK_BYTES of slots */
    CLASS_COUNT
};

#define SLAB_BYTES  32768
#define BLOCK_BYTES 512

/*
 * A slab is a little short of its alignment, so that malloc's own header shares its
 * last page; and small enough that glibc does not map each on its own.
 */
#define SLAB_ALLOCATED_BYTES (SLAB_BYTES - CACHE_LINE)

/* Slots of the deadline bounds in a slab: one for each 64 lines of it. */
#define SLAB_SECTORS   (SLAB_BYTES / CACHE_LINE / 64)
#define MAGAZINE_LIMIT 64

struct domain {
    void *(*allocate)(void *user, size_t align_bytes, size_t size_bytes);
    void (*release)(void *user, void *memory, size_t align_bytes, size_t size_bytes);
    void *user;
    uint64_t id; /* never used twice, so that a stale thread-local entry can be told */
    size_t max_live;
    bool host_clock;
    bool is_told;          /* of each context that goes: it has a limit, or keeps notes */
    atomic_u32 is_removed; /* it is about to be freed */
    struct counts *counts; /* of threads without a heap, where notes are kept; else NULL */
    struct canopy_ctx *root;
    /* Under library_lock, see "heaps" in pool.c: all, those without a thread, who is asked next. */
    struct heap *heaps;
    struct heap *orphans;
    struct heap *asked;
    struct heap *tidied; /* orphans that the scavenger has been at */
    /* How many of them are some thread's, and the exclusive or of those; under library_lock. */
    uint64_t owned_heaps;
    uint64_t owners;
    atomic_u64 sole; /* of the threads that have a heap here, if it is one: see domain_fence */
    /* Heaps of before a fork: freed with the domain, no more. */
    struct heap *inherited_heaps;
    struct shelves slabs;
    /* Its bound: no context is due before; see deadline.c. The clock's thread finds it there. */
    struct shelf_place *place;
    struct shelf_place own_place; /* of a domain that a host's clock serves */
    atomic_word next;             /* all domains; under library_lock */
    atomic_u64 live;              /* contexts; counted where max_live is set */
    atomic_u64 bytes;             /* taken from the allocator; see usage.c */
    atomic_u64 given_back;        /* contexts, by threads that have no heap here; see usage.c */
    atomic_u64 retired;           /* slabs and blocks that wait for a grace period */
    atomic_i64 now_ns;            /* the host's clock */
    atomic_word inbox;            /* of the loop that drives it, or NULL; see inbox.h */
    /* The clock's: when it last looked ahead, and at what it owed a look; see expire.c. */
    int64_t looked_ahead_ns;
    int64_t served_ns;
    uint64_t owed;                  /* places of slabs */
    const struct shelf_place *hand; /* the last such place that it looked at */
    struct domain *turn_next;
};

struct slab {
    /* Written once. */
    struct domain *domain;
    uint64_t domain_id; /* here, too, so that who looks for a heap need not go there */
    struct heap *heap;
    uint32_t class;
    uint32_t fork_generation; /* slabs from before a fork are inherited */
    struct shelf_place *place;
    struct handoff_node retired;
    char *notes; /* as far before the first note as the slab's begin before its line; or NULL */
    uint32_t number;
    /* The owner's. */
    struct slab *avail_next __attribute__((aligned(CACHE_LINE)));
    struct slab *avail_previous;
    struct handoff_node *free;
    uint32_t used;
    atomic_u32 fresh_bytes; /* objects from here on were never used */
    bool is_avail;
    unsigned char due_sectors, steady_sectors; /* the clock's: in which, and again in a moment */
    struct slab *fresh_next;                   /* the clock's, for one turn */
    int64_t due_ns;                            /* likewise: when something was last due */
    atomic_u32 has_hot; /* one of its contexts may have stripes: see trim.c */
    /* Lower bounds of the deadlines within, see deadline.c. */
    atomic_i64 sector_due_ns[SLAB_SECTORS] __attribute__((aligned(CACHE_LINE)));
};

#define SLAB_HEADER_BYTES ((sizeof(struct slab) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE)

struct magazine {
    /* The links of free objects; what lies behind is kept. By atomic stores: children.c, B4a. */
    struct handoff_node *top;
    unsigned count;
};

struct pool {
    /* The owner's. */
    struct magazine spare; /* empty, or full: so a change of direction costs nothing */
    struct slab *fresh;    /* what is left of it was never used, and counts as in use */
    /* Whoever's who has the heap's slabs; see pool.c. */
    struct slab *avail; /* slabs with something to give, of which something is in use */
    struct slab *empty; /* slabs of which nothing is in use any more */
    unsigned empty_slabs;
    struct handoff remote __attribute__((aligned(CACHE_LINE))); /* freed by others */
    struct handoff_node *pending; /* what was taken from there and is to go on to its slabs */
};

/* What a thread keeps of a parent that it derives from; see children.c. Within one line. */
struct busy {
    const struct canopy_ctx *parent;
    uint64_t claims; /* how often it has registered there, while the parent was small */
    /* The slot in a stripe that it registered in last, and when. */
    atomic_word slot;
    uint64_t epoch;
} __attribute__((aligned(CACHE_LINE / 2)));
#define BUSY_PARENTS 64

struct heap {
    /* One line for whatever comes and goes in everyday life. */
    atomic_word leaving; /* the slot that its thread empties by plain stores, or 0 */
    uint64_t domain_id;
    struct magazine loaded[CLASS_COUNT]; /* what alloc and free work on */
    struct domain *domain;
    /* See children.c: of background and todo; of all other parents; those whose parents are gone.
     */
    atomic_word statics;
    struct table *stripes;
    struct handoff gone_stripes;
    atomic_word claiming; /* the stripe that its thread is at, or 0: see children.c, B1 */
    /* Under library_lock: of the domain; of its orphans; in which the thread finds it. */
    struct heap *next;
    struct heap *next_orphan;
    struct table *holder;
    uint64_t owner; /* thread_self of the thread, or 0 */
    pid_t owner_tid;
    atomic_u32 slabs_held; /* by whoever is at the slabs of this heap; see pool.c */
    /* Contexts that this heap's thread took out of slabs, less those it gave back; see usage.c. */
    atomic_u64 taken;
    struct busy busy[BUSY_PARENTS];
    /* A slot that a record of this thread's left, of which parent, and when. */
    const struct canopy_ctx *hint_parent;
    atomic_word hint_slot;
    uint64_t hint_epoch;
    struct pool pools[CLASS_COUNT];
};

extern struct domain default_domain;
extern __thread struct heap *tls_heap __attribute__((tls_model("initial-exec")));

/* The thread's heap in the domain other than the default one that it used last. */
struct heap_entry {
    uint64_t domain_id; /* so that a stale entry can be told */
    struct heap *heap;
};
extern __thread struct heap_entry tls_recent __attribute__((tls_model("initial-exec")));

static inline struct heap *heap_recent(uint64_t domain_id)
{
    return tls_recent.domain_id == domain_id ? tls_recent.heap : NULL;
}

/* The calling thread's heap where that takes no search, or NULL. */
static inline struct heap *heap_at_hand(const struct domain *domain)
{
    return likely(domain == &default_domain) ? tls_heap : heap_recent(domain->id);
}

/* Whether a heap is the calling thread's; a quick look, which may miss one. */
static inline bool heap_is_own(const struct heap *heap)
{
    return heap == tls_heap || (heap == tls_recent.heap && heap->domain_id == tls_recent.domain_id);
}

/*
 * The rare side of an asymmetric pair (base.h) in a domain. What is stored there in a hurry,
 * deadlines that are armed (D1 in deadline.c) and slots that are taken and left
 * (children.c), a thread stores by the heap that it has there. So nobody is on the other
 * side where no thread has one, or the caller alone: its own stores it sees in any case,
 * and those by heaps that it adopted, or could, came before a hold of library_lock.
 *
 *   caller       store what the hot side looks at; F1: load `sole`
 *   another one  F2: `sole` says that there are several; store in a hurry, look
 *
 * Ordering pairs:
 *   F1/F2  both seq_cst, F2 an exchange, so they are in one order with what the caller
 *         stored and what the other one loads afterwards: either F1 sees F2 and has it
 *         fence, or all that follows F2 sees what the caller stored. Without it the caller
 *         leaves out a fence that the other one's plain stores need.
 */
#define SOLE_NONE UINT64_C(0)
#define SOLE_SEVERAL                                                                               \
    UINT64_C(1) /* no thread's, as thread_self is an address in a thread's memory */

static inline bool domain_has_others(const struct domain *domain)
{
    uint64_t sole = u64_load_seq_cst(&domain->sole); /* F1 */
    return sole != SOLE_NONE && sole != thread_self();
}

static inline void domain_fence(const struct domain *domain)
{
    if (fence_is_asymmetric && domain_has_others(domain))
        fence_heavy();
}

/* The calling thread's heap in a domain. NULL: no memory for one. */
struct heap *heap_get_slow(struct domain *domain);
static inline struct heap *heap_get(struct domain *domain)
{
    struct heap *heap = heap_at_hand(domain);
    return likely(heap != NULL) ? heap : heap_get_slow(domain);
}

/* The same, without making or taking over one: NULL when the thread has none. No lock. */
struct heap *heap_peek_slow(uint64_t domain_id);
static inline struct heap *heap_peek(const struct domain *domain)
{
    struct heap *heap = heap_at_hand(domain);
    return likely(heap != NULL) ? heap : heap_peek_slow(domain->id);
}

static inline struct slab *slab_of(const void *object)
{
    return (struct slab *)((uintptr_t)object & ~(uintptr_t)(SLAB_BYTES - 1));
}

/* The note of an object in a slab that has some. */
static inline struct ctx_note *note_beside(const void *object)
{
    uintptr_t offset = (uintptr_t)object & (SLAB_BYTES - 1);
    return (struct ctx_note *)(void *)(slab_of(object)->notes + offset);
}

/* The id of such an object in that life, which is odd. */
static inline uint64_t note_id(const void *object, uint64_t life)
{
    uintptr_t line = ((uintptr_t)object & (SLAB_BYTES - 1)) / CACHE_LINE;
    return (life >> 1) << ID_LIFE_SHIFT | (uint64_t)slab_of(object)->number << ID_LINE_BITS | line;
}

/* Behind a heap in a domain that keeps notes. */
static inline struct counts *heap_counts(struct heap *heap)
{
    return (struct counts *)(void *)(heap + 1);
}

static inline size_t heap_bytes(const struct domain *domain)
{
    return sizeof(struct heap) + (domain->counts ? sizeof(struct counts) : 0);
}

static inline bool slab_is_inherited(const struct slab *slab)
{
    return slab->fork_generation != u32_load_relaxed(&fork_generation);
}

static inline uint32_t object_bytes(enum object_class class)
{
    return class == CLASS_BLOCK ? BLOCK_BYTES : CACHE_LINE;
}

/* How many objects of a slab were never used. */
static inline uint32_t slab_never_used(const struct slab *slab)
{
    return (SLAB_ALLOCATED_BYTES - u32_load_relaxed(&slab->fresh_bytes)) /
           object_bytes((enum object_class)slab->class);
}

/* Gives a slab's memory back that nobody can come to. */
void slab_free(struct slab *slab);

bool pool_refill(struct heap *heap, enum object_class class);
void pool_overflow(struct heap *heap, enum object_class class);

static inline struct handoff_node *magazine_top(const struct magazine *m)
{
    return m->top;
}

/* After what was done with the one that was there. */
static inline void magazine_set_top(struct magazine *m, struct handoff_node *top)
{
    word_store_release((atomic_word *)(void *)&m->top, (uintptr_t)top); /* B4: pairs with B4a */
}

/*
 * What pool_alloc would give, if there is one at hand that `fits`, which is told of a
 * free object; and the taking. NULL: none.
 */
static inline void *pool_peek(const struct heap *heap, enum object_class class,
                              bool (*fits)(const void *object, const void *arg), const void *arg)
{
    void *object = magazine_top(&heap->loaded[class]);
    return likely(object != NULL) && fits(object, arg) ? object : NULL;
}

/* Whether there is an object at hand, for pool_take. */
static inline bool pool_has(const struct heap *heap, enum object_class class)
{
    return heap->loaded[class].top != NULL;
}

static inline void *pool_take(struct heap *heap, enum object_class class)
{
    struct magazine *m = &heap->loaded[class];
    struct handoff_node *object = magazine_top(m);
    magazine_set_top(m, handoff_next(object));
    m->count--;
    return object;
}

/* The same in two steps, between which it is used and still on top, for others to see. */
static inline struct handoff_node *pool_take_begin(const void *object, enum object_class class)
{
    (void)class;
    return handoff_next(object);
}

static inline void pool_take_end(struct heap *heap, enum object_class class,
                                 struct handoff_node *rest)
{
    struct magazine *m = &heap->loaded[class];
    magazine_set_top(m, rest);
    m->count--;
}

/*
 * An object, its bytes as pool_free left them but for the first word (fresh
 * ones: zero, or as constructed). NULL: no memory.
 */
static inline void *pool_alloc(struct heap *heap, enum object_class class)
{
    struct magazine *m = &heap->loaded[class];
    if (unlikely(!magazine_top(m)) && !pool_refill(heap, class))
        return NULL;
    return pool_take(heap, class);
}

/* True when the next pool_free overflows a magazine: more has been freed than is made. */
static inline bool pool_is_full(const struct heap *heap, enum object_class class)
{
    return heap->loaded[class].count == MAGAZINE_LIMIT;
}

static inline void magazine_push(struct magazine *m, void *object)
{
    handoff_link(object, magazine_top(m));
    magazine_set_top(m, object);
    m->count++;
}

/* Gives an object back that this process made, where there is room. */
static inline void pool_put(struct heap *heap, enum object_class class, void *memory)
{
    magazine_push(&heap->loaded[class], memory);
}

/* Gives an object back. */
static inline void pool_free(struct heap *heap, enum object_class class, void *memory)
{
    /* What was inherited over a fork is let go of, never used again. */
    if (unlikely(u32_load_relaxed(&fork_generation)) && slab_is_inherited(slab_of(memory)))
        return;
    if (unlikely(pool_is_full(heap, class)))
        pool_overflow(heap, class);
    pool_put(heap, class, memory);
}

/* Gives an object back from a thread without a heap; lock-free. */
void pool_free_remote(void *memory);

/* pool_free or pool_free_remote, whichever the thread can. Not inlined: for rare paths. */
void pool_free_any(void *memory);

/*
 * All domains, from &default_domain on: the one behind this one, which is let go of; or
 * NULL. What is there throughout is met once, and stays while it is held: who frees that root
 * waits so long.
 */
struct domain *domain_hold_next(struct domain *domain);

/* Scavenging; see scavenge.c. */
/* A domain's latest heap. */
struct heap *domain_heaps(struct domain *domain);
/* An orphaned heap that is not tidied, the caller's until it is returned; or NULL. */
struct heap *orphan_borrow(struct domain *domain);
void orphan_return(struct heap *heap);
/* What a thread that has ended had at hand goes to its slabs, in a borrowed heap. */
void pool_empty(struct heap *heap, enum object_class class);
/*
 * A portion of what others freed goes to its slabs, and empty ones go. True: there is more
 * to be done at once. `*again` is set where there will be later.
 */
bool pool_tidy(struct heap *heap, enum object_class class, bool *again);

/* Called once by library_init, and in the child of a fork. */
void pool_init(void);
void pool_fork_child(void);

/* A domain stays while something of its memory waits for a grace period. */
static inline void domain_hold(struct domain *domain)
{
    if (domain != &default_domain)
        u64_fetch_add_relaxed(&domain->retired, 1);
}

static inline void domain_let_go(struct domain *domain)
{
    if (domain != &default_domain)
        u64_fetch_add_acq_rel(&domain->retired, (uint64_t)-1); /* X1: pairs with X2 */
}

/* Memory of a domain's, counted. NULL: none. */
void *domain_allocate(struct domain *domain, size_t align_bytes, size_t size_bytes);
void domain_release(struct domain *domain, void *memory, size_t align_bytes, size_t size_bytes);

/*
 * The calling thread's heap there becomes the next one's that asks. For who has made the
 * root: it may be another's to work with.
 */
void domain_leave(struct domain *domain);

/* A table for as many things, and as many more, in a domain's memory; NULL: none. And its end. */
struct table *domain_table_new(struct domain *domain, uint32_t values);
void domain_table_free(struct domain *domain, struct table *table);

/* The domains that the library's clock serves. */
extern struct shelves clocked_domains;

/* Makes a domain known; false: no memory. */
bool domain_add(struct domain *domain);

/*
 * Takes it off, and waits for all who may still be in it: for a grace period, for threads
 * that let go of a last context and have not said so yet (some instructions), for what
 * holds it. Then gives all its memory back.
 */
void domain_remove(struct domain *domain);

/*
 * Under library_lock, of a domain that is taken off: each heap is some thread's or an orphan,
 * but for one that the scavenger may have borrowed, and the count and the sum of the threads
 * are true. See base/invariant.h.
 */
bool heaps_are_valid(const struct domain *domain);
void domain_free_memory(struct domain *domain);

#endif
