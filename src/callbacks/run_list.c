/*
 * run_list.c - the lists in which claimed callbacks wait, and their locks.
 */
#include "callbacks/run_list.h"

#include "tree/record.h"

/* A lock: free, held, or held while somebody may sleep on it. */
#define FREE      UINT32_C(0)
#define HELD      UINT32_C(1)
#define CONTENDED UINT32_C(2)

/* By bits of the address that are the same in each run, for the explorer's sake. */
#define LOCKS 16
static struct lock {
    atomic_u32 word;
} __attribute__((aligned(CACHE_LINE))) locks[LOCKS];

static struct lock *lock_take(const struct run_list *list)
{
    struct lock *lock = &locks[(uintptr_t)list / CACHE_LINE % LOCKS];
    uint32_t seen = FREE;
    if (unlikely(!u32_cas_acq_rel(&lock->word, &seen, HELD)))        /* R8 */
        while (u32_exchange_acq_rel(&lock->word, CONTENDED) != FREE) /* R8 */
            futex_wait(&lock->word.value, CONTENDED, CANOPY_NEVER);
    return lock;
}

static void lock_give(struct lock *lock)
{
    if (unlikely(u32_exchange_acq_rel(&lock->word, FREE) == CONTENDED)) /* R8 */
        futex_wake_all(&lock->word);
}

void run_list_fork_child(void)
{
    for (unsigned i = 0; i < LOCKS; i++)
        u32_store_relaxed(&locks[i].word, FREE);
}

void run_list_open(struct run_list *list, uint64_t runner)
{
    *list = (struct run_list){NULL, &list->first, runner, u32_load_relaxed(&fork_generation)};
}

/* What is added at a time: the lock is held no longer than that takes. */
#define ADD_AT_ONCE 32

void run_list_add(struct run_list *list, struct canopy_callback *records)
{
    uint64_t waits = RUNNER_LISTED | (uintptr_t)list;
    while (records) {
        struct lock *lock = lock_take(list);
        for (unsigned i = 0; i < ADD_AT_ONCE && records; i++) {
            struct canopy_callback *record = records;
            records = record->canopy_next;
            record->canopy_next = NULL;
            record->canopy_at = list->last;
            *list->last = record;
            list->last = &record->canopy_next;
            u64_store_relaxed(record_runner(record), waits); /* R6 */
        }
        lock_give(lock);
    }
}

/* Under the lock. */
static void unlink_record(struct run_list *list, struct canopy_callback *record)
{
    *record->canopy_at = record->canopy_next;
    if (record->canopy_next)
        record->canopy_next->canopy_at = record->canopy_at;
    else
        list->last = record->canopy_at;
}

struct canopy_callback *run_list_pop(struct run_list *list)
{
    if (unlikely(list->fork_generation != u32_load_relaxed(&fork_generation)))
        return NULL;
    struct lock *lock = lock_take(list);
    struct canopy_callback *record = list->first;
    if (record) {
        unlink_record(list, record);
        u64_store_relaxed(record_runner(record), list->runner);
    }
    lock_give(lock);
    return record;
}

/* Under the lock: whether a record still waits in the list that it was seen to wait in. */
static bool waits_in(struct canopy_callback *record, uint64_t seen)
{
    return u64_load_relaxed(record_runner(record)) == seen;
}

static struct run_list *list_named(uint64_t seen)
{
    return (struct run_list *)(uintptr_t)(seen & ~RUNNER_LISTED);
}

bool run_list_take(struct canopy_callback *record, uint64_t seen)
{
    struct run_list *list = list_named(seen);
    struct lock *lock = lock_take(list);
    bool waits = waits_in(record, seen);
    if (waits) {
        unlink_record(list, record);
        u64_store_relaxed(record_runner(record), thread_self());
    }
    lock_give(lock);
    return waits;
}

uint64_t run_list_runner(struct canopy_callback *record, uint64_t seen)
{
    struct run_list *list = list_named(seen);
    struct lock *lock = lock_take(list);
    uint64_t runner = waits_in(record, seen) ? list->runner : 0;
    lock_give(lock);
    return runner;
}
