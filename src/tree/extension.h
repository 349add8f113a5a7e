/*
 * extension.h - what few contexts need: an fd, a cause of their own, signals. It
 * hangs from `aux`, made on demand.
 */
#ifndef CANOPY_EXTENSION_H
#define CANOPY_EXTENSION_H

#include "tree/node.h"

struct extension {
    void *pool_link;
    const canopy_cause *deadline_cause; /* what aux held before */
    atomic_u64 fd;                      /* see extension.c */
    atomic_u64 signals;                 /* the signals it watches, a bit each: see signals.c */
    union {
        canopy_cause cause; /* of a group: made by the library, lives as long as the context */
        struct {            /* of a merged context, see merge.c */
            uint64_t visit;
            struct canopy_ctx *visit_next;
            uint64_t watches_since; /* of one on signals, see signals.c */
            atomic_word end;        /* the same */
        };
    };
};

_Static_assert(sizeof(struct extension) <= CACHE_LINE, "an extension is a line");

/* In ctx.aux of all but value layers and INPUTs: an extension, else the deadline's cause or NULL.
 */
#define AUX_EXTENSION ((uintptr_t)1)

static inline struct extension *aux_extension(uintptr_t aux)
{
    return (struct extension *)(aux & ~AUX_EXTENSION);
}

/* The cause to report when the deadline of `ctx` passes. */
const canopy_cause *extension_deadline_cause(const struct canopy_ctx *ctx);

/* The context's extension, made if it has none; NULL: no memory. */
struct extension *extension_get(struct canopy_ctx *ctx);

/* Makes the fd readable, once; the winner's, or that of who made the fd too late for the winner. */
void extension_fire(struct extension *extension);

/* Closes the fd, at the context's last reference. */
void extension_close(struct extension *extension);

#endif
