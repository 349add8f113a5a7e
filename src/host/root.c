/*
 * root.c - roots with memory, limits and a clock of their own. Each is a domain
 * (pool.h) with one context that has no parent.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/probe.h"
#include "time/deadline.h"
#include "tree/extension.h"
#include "tree/note.h"
#include <canopy/inspect.h>

/* 1.0.0's config, which none is shorter than, had what comes before this field. */
#define CONFIG_LEAST_BYTES offsetof(canopy_config, inspect)
_Static_assert(offsetof(canopy_config, allocate) == 8 && offsetof(canopy_config, release) == 16 &&
                   offsetof(canopy_config, user) == 24 && offsetof(canopy_config, max_live) == 32 &&
                   offsetof(canopy_config, clock) == 40 && offsetof(canopy_config, now_ns) == 48 &&
                   CONFIG_LEAST_BYTES == 56 && CANOPY_CLOCK_LIBRARY == 0 && CANOPY_CLOCK_HOST == 1,
               "programs of 1.0.0 give this");

/* True for a config that this version understands; `*known` is what it knows of it. */
static bool config_read(const canopy_config *config, canopy_config *known)
{
    memset(known, 0, sizeof *known);
    if (!config)
        return true;
    /* A later version's may be longer, with nothing in it. */
    bool has_size = config->size == CONFIG_LEAST_BYTES ||
                    (config->size >= sizeof *known && config->size <= 4096);
    if (!has_size)
        return false;
    memcpy(known, config, config->size < sizeof *known ? config->size : sizeof *known);
    for (const char *tail = (const char *)(config + 1), *end = (const char *)config + config->size;
         tail < end; tail++)
        if (*tail)
            return false;
    return !known->allocate == !known->release && !(known->inspect & ~CANOPY_INSPECT_NOTES) &&
           (known->clock == CANOPY_CLOCK_LIBRARY ||
            (known->clock == CANOPY_CLOCK_HOST && known->now_ns >= 0));
}

/* What threads without a heap count in a root with notes lies behind the domain. */
struct noted_domain {
    struct domain domain;
    struct counts counts;
};

static size_t domain_bytes(bool is_noted)
{
    return is_noted ? sizeof(struct noted_domain) : sizeof(struct domain);
}

static void domain_give_back(struct domain *domain)
{
    domain->release(domain->user, domain, CACHE_LINE, domain_bytes(domain->counts != NULL));
}

/* NULL: no memory. */
static struct domain *domain_new(const canopy_config *known)
{
    size_t bytes = domain_bytes(known->inspect);
    struct domain *domain = known->allocate(known->user, CACHE_LINE, bytes);
    if (!domain)
        return NULL;
    memset(domain, 0, bytes);
    u64_store_relaxed(&domain->bytes, bytes);
    domain->allocate = known->allocate;
    domain->release = known->release;
    domain->user = known->user;
    domain->max_live = known->max_live;
    domain->host_clock = known->clock == CANOPY_CLOCK_HOST;
    domain->is_told = known->max_live || known->inspect;
    i64_store_relaxed(&domain->now_ns, known->now_ns);
    if (known->inspect) {
        domain->counts = &((struct noted_domain *)domain)->counts;
        u32_store_relaxed(&odd_contexts, 1);
    }
    return domain;
}

/* The root itself, in a domain that others may come by. False: no memory. */
static bool root_add(struct domain *domain)
{
    struct canopy_ctx *root = ctx_alloc(domain, KIND_ROOT);
    pthread_mutex_lock(&library_lock);
    domain->root = root;
    pthread_mutex_unlock(&library_lock);
    return root != NULL;
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
    struct domain *domain = library_init() == 0 ? domain_new(&known) : NULL;
    if (!domain) {
        errno = ENOMEM;
        return NULL;
    }
    if (domain_add(domain)) {
        if (root_add(domain)) {
            if (domain->counts)
                note_born(domain->root, NULL, heap_get(domain), PLACE_OF_CALL);
            domain_leave(domain);
            PROBE3(root_new, domain->root, domain->max_live, known.inspect);
            return domain->root;
        }
        domain_remove(domain);
        domain_free_memory(domain);
    }
    domain_give_back(domain);
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
    domain_give_back(domain);
    PROBE1(root_free, root);
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
