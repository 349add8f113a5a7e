/*
 * root.c - roots with memory, limits and a clock of their own. Each is a domain
 * (pool.h) with one context that has no parent.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "time/deadline.h"
#include "tree/extension.h"

/* True for a config that this version understands; `*known` is what it knows of it. */
static bool config_read(const canopy_config *config, canopy_config *known)
{
    memset(known, 0, sizeof *known);
    if (!config)
        return true;
    /* 1.0.0's, which none is shorter than; a later one's may be longer, with nothing in it. */
    if (config->size < sizeof *known || config->size > 4096)
        return false;
    memcpy(known, config, sizeof *known);
    for (const char *tail = (const char *)(config + 1), *end = (const char *)config + config->size;
         tail < end; tail++)
        if (*tail)
            return false;
    return !known->allocate == !known->release &&
           (known->clock == CANOPY_CLOCK_LIBRARY ||
            (known->clock == CANOPY_CLOCK_HOST && known->now_ns >= 0));
}

canopy_ctx *canopy_root_new(const canopy_config *config)
{
    canopy_config known;
    if (!config_read(config, &known)) {
        errno = EINVAL;
        return NULL;
    }
    if (!known.allocate) {
        known.allocate = default_domain.allocate;
        known.release = default_domain.release;
    }
    struct domain *domain = NULL;
    if (library_init() == 0)
        domain = known.allocate(known.user, CACHE_LINE, sizeof *domain);
    if (!domain) {
        errno = ENOMEM;
        return NULL;
    }
    memset(domain, 0, sizeof *domain);
    u64_store_relaxed(&domain->bytes, sizeof *domain);
    domain->allocate = known.allocate;
    domain->release = known.release;
    domain->user = known.user;
    domain->max_live = known.max_live;
    domain->host_clock = known.clock == CANOPY_CLOCK_HOST;
    i64_store_relaxed(&domain->now_ns, known.now_ns);
    if (domain_add(domain)) {
        domain->root = ctx_alloc(domain, KIND_ROOT);
        if (domain->root) {
            domain_leave(domain);
            return domain->root;
        }
        domain_remove(domain);
        domain_free_memory(domain);
    }
    known.release(known.user, domain, CACHE_LINE, sizeof *domain);
    errno = ENOMEM;
    return NULL;
}

int canopy_root_free(canopy_ctx *root)
{
    if (!root || ctx_kind(root) != KIND_ROOT)
        return -EINVAL;
    struct domain *domain = ctx_domain(root);
    if (word_load_acquire(&domain->inbox)) /* N9: nobody posts to it */
        return -EBUSY;
    uint64_t refs = u64_load_acquire(&root->refs); /* S6: pairs with S5 */
    if (refs_handles(refs) != 1 || (refs & REFS_COUNTED) || !children_empty(root))
        return -EBUSY;
    /* Nothing is left that could begin to use the domain; who still does is in a section. */
    domain_remove(domain);
    invariant(domain_is_valid(domain));
    uintptr_t aux = word_load_acquire(&root->aux); /* Q2 */
    if (aux & AUX_EXTENSION)
        extension_close(aux_extension(aux));
    domain_free_memory(domain);
    domain->release(domain->user, domain, CACHE_LINE, sizeof *domain);
    return 0;
}

bool host_advance(struct domain *domain, int64_t now_ns, int64_t until_ns)
{
    struct pass pass;
    if (i64_load_seq_cst(&domain->place->due_ns) > now_ns) /* D4, at the top */
        return false;
    struct limit limit = {until_ns == CANOPY_NEVER ? UINT_MAX : TURN_LINES, until_ns};
    pass_init(&pass);
    rcu_read_begin();
    expire_domain(domain, now_ns, &limit, &pass);
    rcu_read_end();
    deliver(&pass, false);
    return true;
}

int canopy_root_advance_for(canopy_ctx *root, int64_t now_ns, int64_t most_ns, int64_t *next_ns)
{
    if (!root || ctx_kind(root) != KIND_ROOT || !ctx_domain(root)->host_clock)
        return -EINVAL;
    struct domain *domain = ctx_domain(root);
    int64_t until_ns = limit_until_ns(most_ns);
    now_ns = host_tell_ns(domain, now_ns);
    while (host_advance(domain, now_ns, until_ns) && limit_allows_more(until_ns))
        ;
    if (next_ns)
        *next_ns = i64_load_seq_cst(&domain->place->due_ns); /* callbacks may have armed */
    return 0;
}

int canopy_root_advance(canopy_ctx *root, int64_t now_ns, int64_t *next_ns)
{
    return canopy_root_advance_for(root, now_ns, CANOPY_NEVER, next_ns);
}
