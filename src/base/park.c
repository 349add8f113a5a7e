/*
 * park.c - see park.h.
 */
#include "base/park.h"

#include <string.h>

#define BUCKETS_LOG2 8
/* So many are woken for each time that the lock is taken. */
#define WAKES 64

struct bucket {
    pthread_mutex_t lock;
    atomic_word first;
} __attribute__((aligned(CACHE_LINE)));

/* Zeroed, as PTHREAD_MUTEX_INITIALIZER is. */
static struct bucket buckets[1U << BUCKETS_LOG2];
static struct bucket any; /* of PARK_ANY */

static inline struct bucket *bucket_of(uintptr_t key)
{
    if (key == PARK_ANY)
        return &any;
    uint64_t mixed = (uint64_t)key / CACHE_LINE * UINT64_C(0x9e3779b97f4a7c15);
    return &buckets[mixed >> (64 - BUCKETS_LOG2)];
}

/* Under the lock. */
static struct parked *bucket_first(const struct bucket *bucket)
{
    return (struct parked *)word_load_relaxed(&bucket->first);
}

/* Locks the bucket of a key that is the record's. */
static struct bucket *enter(struct parked *record, uintptr_t key, atomic_u32 *word)
{
    struct bucket *bucket = bucket_of(key);
    record->key = key;
    record->word = word;
    record->previous = NULL;
    record->fork_generation = u32_load_relaxed(&fork_generation);
    pthread_mutex_lock(&bucket->lock);
    record->next = bucket_first(bucket);
    if (record->next)
        record->next->previous = record;
    word_exchange_seq_cst(&bucket->first, (uintptr_t)record); /* C6a: pairs with C6c */
    return bucket;
}

static struct bucket *leave(struct parked *record)
{
    struct bucket *bucket = bucket_of(record->key);
    pthread_mutex_lock(&bucket->lock);
    if (unlikely(record->fork_generation != u32_load_relaxed(&fork_generation)))
        return bucket;
    if (record->next)
        record->next->previous = record->previous;
    if (record->previous)
        record->previous->next = record->next;
    else
        word_store_relaxed(&bucket->first, (uintptr_t)record->next);
    return bucket;
}

void park(struct parked *record, uintptr_t key, atomic_u32 *word)
{
    pthread_mutex_unlock(&enter(record, key, word)->lock);
}

void unpark(struct parked *record)
{
    pthread_mutex_unlock(&leave(record)->lock);
}

static void flag_set(atomic_u64 *flags, uint64_t flag, bool set)
{
    uint64_t word = u64_load_relaxed(flags);
    while (!u64_cas_seq_cst(flags, &word, set ? word | flag : word & ~flag)) /* S1: of WATCHED */
        continue;
}

void park_flag(struct parked *record, atomic_u64 *flags, uint64_t flag)
{
    struct bucket *bucket = enter(record, (uintptr_t)flags, NULL);
    flag_set(flags, flag, true);
    pthread_mutex_unlock(&bucket->lock);
}

void unpark_flag(struct parked *record, atomic_u64 *flags, uint64_t flag)
{
    struct bucket *bucket = leave(record);
    const struct parked *other = bucket_first(bucket);
    while (other && other->key != record->key)
        other = other->next;
    if (!other)
        flag_set(flags, flag, false);
    pthread_mutex_unlock(&bucket->lock);
}

/* Tells those that `key` names, and have not been told yet: how many, and where they sleep. */
static unsigned tell(struct bucket *bucket, uintptr_t key, const void *asleep[WAKES])
{
    unsigned n = 0;
    pthread_mutex_lock(&bucket->lock);
    for (const struct parked *record = bucket_first(bucket); record && n < WAKES;
         record = record->next)
        if (record->key == key && u32_exchange_acq_rel(record->word, 1) == 0) /* PK1 */
            asleep[n++] = record->word;
    pthread_mutex_unlock(&bucket->lock);
    return n;
}

static __attribute__((noinline)) void wake_all(struct bucket *bucket, uintptr_t key)
{
    const void *asleep[WAKES];
    unsigned n;
    do {
        n = tell(bucket, key, asleep);
        for (unsigned i = 0; i < n; i++)
            futex_wake_all(asleep[i]);
    } while (n == WAKES);
}

static inline void wake(struct bucket *bucket, uintptr_t key)
{
    if (unlikely(word_load_seq_cst(&bucket->first) != 0)) /* C6c */
        wake_all(bucket, key);
}

void park_wake(uintptr_t key)
{
    wake(bucket_of(key), key);
    wake(&any, PARK_ANY);
}

void park_sleep(atomic_u32 *word, int64_t until_ns)
{
    futex_wait(&word->value, 0, until_ns);
    u32_exchange_acq_rel(word, 0); /* PK1 */
}

void park_fork_child(void)
{
    memset(buckets, 0, sizeof buckets);
    memset(&any, 0, sizeof any);
}
