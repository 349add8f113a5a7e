/*
 * shadow.c - the shadows that a debug build hands out in the place of contexts: their
 * births and deaths, and what a look at one finds.
 */
#include "debug/shadow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* So many that died later does a dead shadow outlast. */
#define DEAD_KEPT 65536

CORE(background);
CORE(todo);

pthread_mutex_t shadow_lock = PTHREAD_MUTEX_INITIALIZER;

/* Under shadow_lock: the living, latest first; the dead, earliest first. */
static struct shadow *living;
static struct shadow *dead, **dead_end = &dead;
static size_t dead_count;

/* ------------------------------------------------------------------- statics */

#define STATIC_SHADOW(name)                                                                        \
    {                                                                                              \
        .state = {SHADOW_LIVE}, .root = &background, .is_endless = true, .handles = 1, .made = {   \
            .call = #name                                                                          \
        }                                                                                          \
    }

static struct shadow background = STATIC_SHADOW(canopy_background);
static struct shadow todo = STATIC_SHADOW(canopy_todo);

const canopy_ctx *canopy_background(void)
{
    return shadow_handle(&background);
}

const canopy_ctx *canopy_todo(void)
{
    return shadow_handle(&todo);
}

static void before_fork(void)
{
    pthread_mutex_lock(&shadow_lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&shadow_lock);
}

/* After the library's own (init.c), so that a fork takes this lock before those below it. */
__attribute__((constructor(102))) static void statics_init(void)
{
    background.core = (canopy_ctx *)(uintptr_t)core_background();
    todo.core = (canopy_ctx *)(uintptr_t)core_todo();
    /* Without it a child of a fork may find the lock taken; there is nobody to tell. */
    (void)pthread_atfork(before_fork, after_fork, after_fork);
}

/* ---------------------------------------------------------------- look at one */

static bool is_shadow(const struct shadow *shadow)
{
    if (!shadow || (uintptr_t)shadow % _Alignof(struct shadow) != 0)
        return false;
    uint32_t state = u32_load_acquire(&shadow->state); /* DS1 */
    return state == SHADOW_LIVE || state == SHADOW_DEAD;
}

static void tell_of(canopy_debug_kind kind, const struct shadow *shadow, canopy_debug_place here,
                    const char *what)
{
    tell((canopy_debug_report){.kind = kind,
                               .ctx = shadow_handle((struct shadow *)(uintptr_t)shadow),
                               .here = here,
                               .made = shadow->made,
                               .released = shadow->released},
         what);
}

static void tell_of_stranger(const canopy_ctx *ctx, canopy_debug_place here)
{
    tell((canopy_debug_report){CANOPY_DEBUG_NOT_A_CONTEXT, .ctx = ctx, .here = here},
         ctx ? "was never a context" : "NULL is no context");
}

canopy_ctx *shadow_observed(const canopy_ctx *ctx, canopy_debug_place here)
{
    const struct shadow *shadow = shadow_of(ctx);
    if (!is_shadow(shadow)) {
        tell_of_stranger(ctx, here);
        return NULL;
    }
    if (u32_load_acquire(&shadow->state) == SHADOW_LIVE) /* DS1 */
        return shadow->core;
    tell_of(CANOPY_DEBUG_USE_AFTER_RELEASE, shadow, here, "was released and is gone");
    return NULL;
}

canopy_ctx *shadow_core(const canopy_ctx *ctx, canopy_debug_place here)
{
    return ctx ? shadow_observed(ctx, here) : NULL;
}

/* --------------------------------------------------------------------- death */

static void bury(struct shadow *shadow)
{
    shadow->next = NULL;
    *dead_end = shadow;
    dead_end = &shadow->next;
    dead_count++;
}

static void is_dead(struct shadow *shadow, canopy_debug_place released)
{
    u32_store_release(&shadow->state, SHADOW_DEAD); /* DS1 */
    shadow->released = released;
    if (shadow->previous)
        shadow->previous->next = shadow->next;
    else
        living = shadow->next;
    if (shadow->next)
        shadow->next->previous = shadow->previous;
    bury(shadow);
}

/* One hold less; those that die of it join `dying`. */
static void let_go(struct shadow *shadow, struct shadow **dying)
{
    shadow->holds--;
    if (shadow->holds || shadow->handles || u32_load_relaxed(&shadow->state) != SHADOW_LIVE)
        return;
    shadow->visit_next = *dying;
    *dying = shadow;
}

static void let_go_of_parents(struct shadow *shadow, struct shadow **dying)
{
    if (shadow->parent)
        let_go(shadow->parent, dying);
    for (size_t i = 0; i < shadow->input_count; i++)
        let_go(shadow->inputs[i], dying);
}

/* Ends `dying`, and all that dies of that. */
static void die(struct shadow *dying, canopy_debug_place released)
{
    while (dying) {
        struct shadow *shadow = dying;
        dying = shadow->visit_next;
        let_go_of_parents(shadow, &dying);
        is_dead(shadow, shadow->released.call ? shadow->released : released);
    }
}

/* --------------------------------------------------------------------- birth */

/* A shadow that nobody knows, zeroed. */
static struct shadow *take(void)
{
    struct shadow *shadow = NULL;
    pthread_mutex_lock(&shadow_lock);
    if (dead_count > DEAD_KEPT) {
        shadow = dead;
        dead = shadow->next;
        dead_count--;
    }
    pthread_mutex_unlock(&shadow_lock);
    if (!shadow)
        return calloc(1, sizeof *shadow);
    free(shadow->inputs);
    memset(shadow, 0, sizeof *shadow);
    return shadow;
}

static void hold(struct shadow *shadow)
{
    pthread_mutex_lock(&shadow_lock);
    shadow->holds++;
    pthread_mutex_unlock(&shadow_lock);
}

struct shadow *shadow_new_root(canopy_debug_place here)
{
    struct shadow *shadow = take();
    if (!shadow) {
        errno = ENOMEM;
        return NULL;
    }
    shadow->root = shadow;
    shadow->made = here;
    return shadow;
}

struct shadow *shadow_new(const canopy_ctx *parent, canopy_debug_place here)
{
    if (!shadow_core(parent, here)) {
        errno = EINVAL;
        return NULL;
    }
    struct shadow *shadow = shadow_new_root(here);
    if (!shadow)
        return NULL;
    shadow->parent = shadow_of(parent);
    shadow->root = shadow->parent->root;
    shadow->is_across = shadow->parent->is_across;
    hold(shadow->parent);
    return shadow;
}

bool shadow_add_inputs(struct shadow *shadow, const canopy_ctx *const inputs[], size_t n)
{
    shadow->is_endless = shadow->parent->is_endless;
    shadow->inputs = calloc(n, sizeof shadow->inputs[0]);
    if (!shadow->inputs)
        return n == 0;
    for (size_t i = 0; i < n; i++) {
        struct shadow *input = shadow_of(inputs[i]);
        shadow->inputs[shadow->input_count++] = input;
        shadow->is_endless &= input->is_endless;
        shadow->is_across |= input->is_across || input->root != shadow->root;
        hold(input);
    }
    return true;
}

canopy_ctx *shadow_born(struct shadow *shadow, canopy_ctx *core)
{
    int saved_errno = errno;
    pthread_mutex_lock(&shadow_lock);
    if (core) {
        shadow->core = core;
        shadow->handles = 1;
        shadow->next = living;
        if (living)
            living->previous = shadow;
        living = shadow;
        u32_store_release(&shadow->state, SHADOW_LIVE); /* DS1 */
    } else {
        struct shadow *dying = NULL;
        let_go_of_parents(shadow, &dying);
        die(dying, shadow->made);
        u32_store_release(&shadow->state, SHADOW_DEAD); /* DS1 */
        bury(shadow);
    }
    pthread_mutex_unlock(&shadow_lock);
    errno = saved_errno;
    return core ? shadow_handle(shadow) : NULL;
}

/* ------------------------------------------------------------------- handles */

void shadow_retain(struct shadow *shadow)
{
    pthread_mutex_lock(&shadow_lock);
    shadow->handles++;
    pthread_mutex_unlock(&shadow_lock);
}

canopy_ctx *shadow_release(const canopy_ctx *ctx, canopy_debug_place here)
{
    struct shadow *shadow = shadow_of(ctx);
    if (!ctx)
        return NULL;
    if (!is_shadow(shadow)) {
        tell_of_stranger(ctx, here);
        return NULL;
    }
    pthread_mutex_lock(&shadow_lock);
    /* DS1, in its order with others who release by the lock. */
    bool is_held = u32_load_acquire(&shadow->state) == SHADOW_LIVE && shadow->handles > 0;
    canopy_ctx *core = is_held ? shadow->core : NULL;
    /* A root's own handle is canopy_root_free's; background and todo have one that stays. */
    if (is_held && !(shadow->handles == 1 && !shadow->parent)) {
        shadow->handles--;
        shadow->released = here;
        shadow->visit_next = NULL;
        if (!shadow->handles && !shadow->holds)
            die(shadow, here);
    }
    pthread_mutex_unlock(&shadow_lock);
    if (!is_held)
        tell_of(CANOPY_DEBUG_DOUBLE_RELEASE, shadow, here, "has no handle left");
    return core;
}

void shadow_arm(struct shadow *shadow, canopy_debug_place here)
{
    pthread_mutex_lock(&shadow_lock);
    shadow->holds++;
    shadow->armed++;
    shadow->added = here;
    pthread_mutex_unlock(&shadow_lock);
}

void shadow_disarm(struct shadow *shadow)
{
    struct shadow *dying = NULL;
    pthread_mutex_lock(&shadow_lock);
    shadow->armed--;
    let_go(shadow, &dying);
    die(dying, shadow->released);
    pthread_mutex_unlock(&shadow_lock);
}

/* --------------------------------------------------------------- roots, leaks */

/* Under shadow_lock. The way up is a graph, in which each is visited once. */
static bool reaches(struct shadow *shadow, const struct shadow *above)
{
    static uint64_t last_visit;
    uint64_t visit = ++last_visit;
    shadow->visit_next = NULL;
    for (struct shadow *ahead = shadow; ahead;) {
        shadow = ahead;
        ahead = shadow->visit_next;
        if (shadow == above)
            return true;
        for (size_t i = 0; i <= shadow->input_count; i++) {
            struct shadow *next = i < shadow->input_count ? shadow->inputs[i] : shadow->parent;
            if (!next || next->visited == visit)
                continue;
            next->visited = visit;
            next->visit_next = ahead;
            ahead = next;
        }
    }
    return false;
}

bool shadow_keeps(struct shadow *shadow, const struct shadow *above)
{
    pthread_mutex_lock(&shadow_lock);
    /* Its own callbacks keep a context busy only when no handle does. */
    bool does = shadow == above ? !shadow->handles : reaches(shadow, above);
    pthread_mutex_unlock(&shadow_lock);
    return does;
}

/* A context under the root that something keeps of its own accord, and not told yet. */
static bool is_leak(struct shadow *shadow, const struct shadow *root)
{
    uint32_t handles = shadow->handles - (shadow == root); /* its own goes now */
    return !shadow->is_told && (handles || shadow->armed) &&
           (shadow->root == root || (shadow->is_across && reaches(shadow, root)));
}

static struct shadow *next_leak(struct shadow *from, const struct shadow *root)
{
    while (from && !is_leak(from, root))
        from = from->next;
    return from;
}

void shadow_tell_leaks(const struct shadow *root, canopy_debug_place here)
{
    /* All are told as they are now: a hook may release some. */
    struct shadow *leaks = NULL, *leak;
    size_t count = 0, room = 0;
    pthread_mutex_lock(&shadow_lock);
    for (leak = next_leak(living, root); leak; leak = next_leak(leak->next, root)) {
        if (count == room) {
            room = 2 * room + 16;
            struct shadow *more = realloc(leaks, room * sizeof leaks[0]);
            if (!more)
                break;
            leaks = more;
        }
        leak->is_told = true;
        leaks[count] = *leak;
        leaks[count++].visit_next = leak;
    }
    pthread_mutex_unlock(&shadow_lock);
    for (size_t i = 0; i < count; i++) {
        leak = &leaks[i];
        bool has_handle = leak->handles > (leak->visit_next == root);
        tell((canopy_debug_report){.kind = CANOPY_DEBUG_LEAK,
                                   .ctx = shadow_handle(leak->visit_next),
                                   .here = here,
                                   .made = has_handle ? leak->made : leak->added,
                                   .released = leak->released},
             has_handle ? "was not released" : "has a callback that neither ran nor was stopped");
    }
    free(leaks);
}

void shadow_root_freed(struct shadow *root, canopy_debug_place here)
{
    pthread_mutex_lock(&shadow_lock);
    is_dead(root, here);
    pthread_mutex_unlock(&shadow_lock);
}
