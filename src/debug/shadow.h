/*
 * shadow.h - the layer between a program and the library in a debug build.
 *
 * The library is compiled as it is, but with its public functions called core_*;
 * the functions by the public names are here, look at what they are given, and call
 * those. What a program holds is not a context but its shadow, which this layer makes
 * and which names the context. So a stale handle leads to a shadow that says so,
 * whatever has become of the context's own memory.
 *
 * A shadow counts what the rules of canopy.h let a caller rely on: the handles, and
 * what else keeps the context in memory (children, inputs' merges, callbacks). It is
 * dead when nothing does. Dead ones stay as they are until very many more have died,
 * and are then used again; their memory never goes back.
 *
 * All that changes but `state` is under shadow_lock, which is never held around a call of
 * the library's or of the program's.
 *
 * Ordering pairs:
 *   DS1/DS1  `state` is stored last at the birth and first at the death, as a release, and
 *         loaded as an acquire by all that look at a shadow: who is handed one sees all of
 *         it. Without it the library is called with a context that is no more, or not yet.
 */
#ifndef CANOPY_SHADOW_H
#define CANOPY_SHADOW_H

#include <canopy/debug.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"

/* The library's function behind a public one. */
#define CORE(name) extern __typeof__(canopy_##name) core_##name

/* The call that is being made, for the function by its public name. */
#define HERE ((canopy_debug_place){.call = __func__, .address = __builtin_return_address(0)})

#define SHADOW_LIVE UINT32_C(0x6c697665)
#define SHADOW_DEAD UINT32_C(0x64656164)

struct shadow {
    atomic_u32 state;
    /* Written before it is live. */
    canopy_ctx *core;
    struct shadow *root;    /* a root, or background */
    struct shadow *parent;  /* NULL for a root */
    struct shadow **inputs; /* of with_any: those beside `parent` */
    size_t input_count;
    bool is_endless; /* never done */
    bool is_across;  /* something above is under another root, too */
    /* Under shadow_lock. */
    bool is_told; /* as a leak */
    uint32_t handles;
    uint32_t holds;   /* by whatever else keeps it in memory */
    uint32_t armed;   /* of these, callbacks */
    uint64_t visited; /* the last walk upwards that came by */
    struct shadow *visit_next;
    struct shadow *next, *previous; /* of the living; of the dead, `next` alone */
    canopy_debug_place made, released, added;
};

extern pthread_mutex_t shadow_lock;

static inline struct shadow *shadow_of(const canopy_ctx *ctx)
{
    return (struct shadow *)(uintptr_t)ctx;
}

static inline canopy_ctx *shadow_handle(struct shadow *shadow)
{
    return (canopy_ctx *)(void *)shadow;
}

/*
 * The context to call the library with, or NULL where that must not be: then it was
 * told. A NULL passes silently where the library answers it (shadow_core), and is told
 * of where it does not (shadow_observed).
 */
canopy_ctx *shadow_core(const canopy_ctx *ctx, canopy_debug_place here);
canopy_ctx *shadow_observed(const canopy_ctx *ctx, canopy_debug_place here);

/*
 * A shadow for what is about to be made under `parent`, which it holds; NULL with
 * errno. It is born with the context, or forgotten where that is NULL: returns the
 * handle, or NULL with errno as it was.
 */
struct shadow *shadow_new(const canopy_ctx *parent, canopy_debug_place here);
struct shadow *shadow_new_root(canopy_debug_place here);
bool shadow_add_inputs(struct shadow *shadow, const canopy_ctx *const inputs[], size_t n);
canopy_ctx *shadow_born(struct shadow *shadow, canopy_ctx *core);

/* One handle more; one less, and the context to do so with as well, or NULL: see shadow_core. */
void shadow_retain(struct shadow *shadow);
canopy_ctx *shadow_release(const canopy_ctx *ctx, canopy_debug_place here);

/* A callback that keeps the context, added `here`; and its end. */
void shadow_arm(struct shadow *shadow, canopy_debug_place here);
void shadow_disarm(struct shadow *shadow);

/* Whether `above` is not idle while something other than a handle keeps `shadow`. */
bool shadow_keeps(struct shadow *shadow, const struct shadow *above);

/* A root that could not be freed: tells what keeps it. One that was. */
void shadow_tell_leaks(const struct shadow *root, canopy_debug_place here);
void shadow_root_freed(struct shadow *root, canopy_debug_place here);

/* Whether this is in a callback, and in one before whose end the context is not idle. */
bool callback_is_running(void);
bool callback_keeps_busy(const struct shadow *shadow);

/* Tells the hook. The text is the context, unless NULL, `what`, and all places that there are. */
void tell(canopy_debug_report report, const char *what);

#endif
