/*
 * merge.c - with_any: a context that is done when any of its inputs is.
 *
 *     input 0        input 1        input 2
 *        |              |              |
 *     INPUT 0        INPUT 1        INPUT 2      each in its input's children list
 *        |              :              :         (slot: a reference to the input)
 *     merged ·························           aux of each INPUT: the merged context
 *
 * Each input's children list holds an INPUT, by which a cancel that walks there goes
 * on into the merged context (cancel.c). The merged context itself sits in the only
 * slot of INPUT 0, so it has a slot that vouches for it, and its values come down from
 * input 0 like any child's. An INPUT has neither references nor children of its own:
 * `refs` links it to the next INPUT, and INPUT 0's `state` holds the INPUT that cancels
 * go in and come out by.
 *
 * Which input's end it reports: the inputs are registered and looked at in order, each
 * before the next one is registered. So where one input's cancel has returned before
 * another's began, the merged context has ended by the first or (born done) by a lower
 * one's.
 *
 * At its last reference the merged context leaves all lists at once. If a walk
 * may be holding it through any of them, it and its INPUTs are retired in one
 * piece.
 */
#include "tree/merge.h"

#include <errno.h>

#include "tree/extension.h"
#include "tree/note.h"

pthread_mutex_t merge_lock = PTHREAD_MUTEX_INITIALIZER;

/* ------------------------------------------------------------------ the way up */

/*
 * Merged contexts make the way up a graph, in which a path may be met more often
 * than there is time for. Each is expanded once: marked with the number of this
 * visit and kept on a list, both in its extension, under a lock.
 */
void ancestors_visit_above(struct canopy_ctx *merged, visit_fn visit, void *arg)
{
    static uint64_t last_visit;
    struct canopy_ctx *todo = merged;
    pthread_mutex_lock(&merge_lock);
    uint64_t number = ++last_visit;
    struct extension *extension = aux_extension(word_load_acquire(&merged->aux)); /* Q2 */
    extension->visit = number;
    extension->visit_next = NULL;
    while (todo) {
        merged = todo;
        todo = aux_extension(word_load_acquire(&merged->aux))->visit_next; /* Q2 */
        visit(merged, arg);
        for (struct canopy_ctx *input = ctx_parent(merged); input; input = input_next(input)) {
            struct canopy_ctx *above = ancestors_visit_chain(ctx_parent(input), visit, arg);
            if (!above)
                continue;
            extension = aux_extension(word_load_acquire(&above->aux)); /* Q2 */
            if (extension->visit == number)
                continue;
            extension->visit = number;
            extension->visit_next = todo;
            todo = above;
        }
    }
    pthread_mutex_unlock(&merge_lock);
}

/* ---------------------------------------------------------------------- the end */

/* Frees it all; `retired`: after a grace period that was counted in every domain. */
static void merged_free(struct canopy_ctx *merged, bool retired)
{
    struct canopy_ctx *input = ctx_parent(merged);
    ctx_free(merged);
    while (input) {
        struct canopy_ctx *next = input_next(input);
        struct domain *domain = ctx_domain(input);
        word_store_relaxed(&input->slot0, 0);
        ctx_free(input);
        if (retired)
            domain_let_go(domain);
        input = next;
    }
}

void merged_reclaim(struct canopy_ctx *merged)
{
    merged_free(merged, true);
}

void merged_end(struct canopy_ctx *merged, struct handoff_node **dead)
{
    i64_store_relaxed(&merged->deadline, CANOPY_NEVER);
    struct canopy_ctx *first = ctx_parent(merged);
    /* The domains of the inputs may go as soon as their slots are clear. */
    rcu_read_begin();
    for (struct canopy_ctx *input = first; input; input = input_next(input))
        limit_give(ctx_domain(input), 1);
    /* Who looks at the merged context itself may go up to any input. */
    bool looked = first && (word_exchange_acq_rel(&first->slot0, 0) & SLOT_LOOKED);
    for (struct canopy_ctx *input = first; input; input = input_next(input))
        if (looked && ctx_slot(input))
            children_look(ctx_parent(input));
    for (struct canopy_ctx *input = first; input; input = input_next(input)) {
        if (!ctx_slot(input))
            continue; /* with_any failed before it came to this one */
        struct canopy_ctx *above = ctx_parent(input);
        struct removal removal =
            children_remove(above, word_load_relaxed(&input->slot), (uintptr_t)input);
        looked |= removal.looked;
        if (removal.counted)
            count_drop(above, dead);
    }
    if (looked) {
        for (struct canopy_ctx *input = first; input; input = input_next(input))
            domain_hold(ctx_domain(input));
        ctx_retire(merged);
    } else {
        merged_free(merged, false);
    }
    rcu_read_end();
}

/* -------------------------------------------------------------------- construct */

static bool input_is_needed(const canopy_ctx *const inputs[], size_t i)
{
    return i == 0 || ctx_kind(inputs[i]) != KIND_STATIC;
}

/* How many INPUTs there will be of one domain. */
static size_t inputs_of(const canopy_ctx *const inputs[], size_t n, const struct domain *domain)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += input_is_needed(inputs, i) && ctx_domain(inputs[i]) == domain;
    return count;
}

/* An INPUT in the place of `above`; `*counted` of its home domain are counted already. */
static struct canopy_ctx *input_alloc(const canopy_ctx *above, const struct domain *home,
                                      size_t *counted)
{
    struct domain *domain = ctx_domain(above);
    if (domain != home && !limit_take(domain, 1)) {
        errno = EAGAIN;
        return NULL;
    }
    struct canopy_ctx *input = ctx_alloc(domain, KIND_INPUT);
    if (domain == home)
        *counted -= input != NULL;
    else if (!input)
        limit_give(domain, 1);
    return input;
}

/* One INPUT for each input that can end, and always for the first; in order. False: errno. */
static bool inputs_alloc(struct canopy_ctx *merged, const canopy_ctx *const inputs[], size_t n,
                         size_t *counted)
{
    struct canopy_ctx *last = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!input_is_needed(inputs, i))
            continue;
        struct canopy_ctx *input = input_alloc(inputs[i], ctx_domain(merged), counted);
        if (!input)
            return false;
        u64_store_relaxed(&input->refs, 0);
        word_store_relaxed(&input->aux, (uintptr_t)merged);
        input->parent |= (uintptr_t)inputs[i];
        if (last) {
            u64_store_relaxed(&last->refs, (uintptr_t)input);
        } else {
            merged->parent |= (uintptr_t)input;
            word_store_relaxed(&merged->slot, (uintptr_t)&input->slot0);
            word_store_relaxed(&input->slot0, (uintptr_t)merged);
        }
        last = input;
    }
    return true;
}

canopy_ctx *canopy_with_any(const canopy_ctx *const inputs[], size_t n)
{
    return merged_new(inputs, n, PLACE_OF_CALL);
}

struct canopy_ctx *merged_new(const canopy_ctx *const inputs[], size_t n, const void *place)
{
    bool valid = inputs && n > 0;
    for (size_t i = 0; valid && i < n; i++)
        valid = inputs[i] != NULL;
    if (!valid) {
        errno = EINVAL;
        return NULL;
    }
    struct domain *domain = ctx_domain(inputs[0]);
    size_t counted = inputs_of(inputs, n, domain);
    if (!limit_take(domain, 1 + counted)) {
        errno = EAGAIN;
        return NULL;
    }
    struct canopy_ctx *merged = ctx_alloc(domain, KIND_MERGED);
    if (!merged) {
        limit_give(domain, 1 + counted);
        return NULL;
    }
    bool is_merge = extension_get(merged) != NULL;
    if (!is_merge)
        errno = ENOMEM;
    if (!is_merge || !inputs_alloc(merged, inputs, n, &counted)) {
        limit_give(domain, counted);
        goto undo;
    }
    /*
     * C4 for one after the other: what ended before it was registered is found here, what
     * ends later finds it, and no input's end counts before all lower ones were looked at.
     */
    for (struct canopy_ctx *input = ctx_parent(merged); input; input = input_next(input)) {
        if (!ctx_register(input, ctx_parent(input))) {
            errno = ENOMEM;
            goto undo;
        }
        uintptr_t state = ctx_state_seq_cst(ctx_parent(input)); /* C4: pairs with C1 */
        if (!state_is_live(state))
            cancel_born(merged, state);
    }
    if (merged->parent & PARENT_NOTED)
        note_born(merged, ctx_mutable(inputs[0]), heap_get(domain), place);
    return merged;

undo:;
    int err = errno;
    limit_give(domain, 1);
    ctx_end_now(merged);
    errno = err;
    return NULL;
}
