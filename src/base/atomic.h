/*
 * atomic.h - every atomic operation of the library, by type and order.
 *
 * Nothing else uses the compiler's atomics, so this header can be replaced by
 * one that hands each operation to a scheduler. The types are structs, so that
 * a plain access by mistake does not compile; their layout is that of the plain
 * integer, so that records placed by C and C++ callers can hold them.
 *
 * Names carry the order: load_acquire, store_release, cas_seq_cst ... A failed
 * compare-and-swap stores what it saw in `*expected`, ordered like a load of
 * the same strength. load_stale is a seq_cst load from an object that may be free
 * by now: for who knows what the memory is at all times (pool.h).
 */
#ifndef CANOPY_ATOMIC_H
#define CANOPY_ATOMIC_H

#ifdef CANOPY_ATOMIC_INTERPOSER
#include CANOPY_ATOMIC_INTERPOSER
#else

#include <stdbool.h>
#include <stdint.h>

#define CANOPY_DEFINE_ATOMIC(name, type)                                                           \
    typedef struct {                                                                               \
        type value;                                                                                \
    } atomic_##name;                                                                               \
    static inline type name##_load_relaxed(const atomic_##name *a)                                 \
    {                                                                                              \
        return __atomic_load_n(&a->value, __ATOMIC_RELAXED);                                       \
    }                                                                                              \
    static inline type name##_load_acquire(const atomic_##name *a)                                 \
    {                                                                                              \
        return __atomic_load_n(&a->value, __ATOMIC_ACQUIRE);                                       \
    }                                                                                              \
    static inline type name##_load_seq_cst(const atomic_##name *a)                                 \
    {                                                                                              \
        return __atomic_load_n(&a->value, __ATOMIC_SEQ_CST);                                       \
    }                                                                                              \
    static inline type name##_load_stale(const atomic_##name *a)                                   \
    {                                                                                              \
        return __atomic_load_n(&a->value, __ATOMIC_SEQ_CST);                                       \
    }                                                                                              \
    static inline void name##_store_relaxed(atomic_##name *a, type value)                          \
    {                                                                                              \
        __atomic_store_n(&a->value, value, __ATOMIC_RELAXED);                                      \
    }                                                                                              \
    static inline void name##_store_release(atomic_##name *a, type value)                          \
    {                                                                                              \
        __atomic_store_n(&a->value, value, __ATOMIC_RELEASE);                                      \
    }                                                                                              \
    static inline void name##_store_seq_cst(atomic_##name *a, type value)                          \
    {                                                                                              \
        __atomic_store_n(&a->value, value, __ATOMIC_SEQ_CST);                                      \
    }                                                                                              \
    static inline type name##_exchange_acq_rel(atomic_##name *a, type value)                       \
    {                                                                                              \
        return __atomic_exchange_n(&a->value, value, __ATOMIC_ACQ_REL);                            \
    }                                                                                              \
    static inline type name##_exchange_seq_cst(atomic_##name *a, type value)                       \
    {                                                                                              \
        return __atomic_exchange_n(&a->value, value, __ATOMIC_SEQ_CST);                            \
    }                                                                                              \
    static inline bool name##_cas_acq_rel(atomic_##name *a, type *expected, type value)            \
    {                                                                                              \
        return __atomic_compare_exchange_n(&a->value, expected, value, false, __ATOMIC_ACQ_REL,    \
                                           __ATOMIC_ACQUIRE);                                      \
    }                                                                                              \
    static inline bool name##_cas_seq_cst(atomic_##name *a, type *expected, type value)            \
    {                                                                                              \
        return __atomic_compare_exchange_n(&a->value, expected, value, false, __ATOMIC_SEQ_CST,    \
                                           __ATOMIC_SEQ_CST);                                      \
    }                                                                                              \
    static inline type name##_fetch_add_relaxed(atomic_##name *a, type value)                      \
    {                                                                                              \
        return __atomic_fetch_add(&a->value, value, __ATOMIC_RELAXED);                             \
    }                                                                                              \
    static inline type name##_fetch_add_acq_rel(atomic_##name *a, type value)                      \
    {                                                                                              \
        return __atomic_fetch_add(&a->value, value, __ATOMIC_ACQ_REL);                             \
    }                                                                                              \
    static inline type name##_fetch_add_seq_cst(atomic_##name *a, type value)                      \
    {                                                                                              \
        return __atomic_fetch_add(&a->value, value, __ATOMIC_SEQ_CST);                             \
    }

CANOPY_DEFINE_ATOMIC(u32, uint32_t)
CANOPY_DEFINE_ATOMIC(u64, uint64_t)
CANOPY_DEFINE_ATOMIC(i64, int64_t)
CANOPY_DEFINE_ATOMIC(word, uintptr_t)

#undef CANOPY_DEFINE_ATOMIC

/*
 * The cheap side of an asymmetric pair: keeps the compiler from moving accesses
 * across. What the CPU moves, fence_heavy (base.h) in another thread brings to order.
 */
static inline void fence_light(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/*
 * What was loaded before comes before what is loaded or stored afterwards (acquire), and what
 * was loaded or stored before comes before what is stored afterwards (release). To the
 * compiler alone on x86, and for ThreadSanitizer, which knows no fences and is built there.
 */
#if defined(__x86_64__) || defined(__SANITIZE_THREAD__)
#define CANOPY_FENCE(order) __atomic_signal_fence(order)
#else
#define CANOPY_FENCE(order) __atomic_thread_fence(order)
#endif

static inline void fence_acquire(void)
{
    CANOPY_FENCE(__ATOMIC_ACQUIRE);
}

static inline void fence_release(void)
{
    CANOPY_FENCE(__ATOMIC_RELEASE);
}

#undef CANOPY_FENCE

#endif
#endif
