/*
 * valid.h - what holds of contexts, stripes and domains; see base/invariant.h.
 */
#ifndef CANOPY_VALID_H
#define CANOPY_VALID_H

#include "tree/children.h"

/* A free context, in the calling thread's hands: what node.h says of one. */
bool ctx_is_blank(const struct canopy_ctx *ctx);

/* A context of which the caller has a handle: it is where its slot says. */
bool ctx_is_valid(const struct canopy_ctx *ctx);

/* A stripe that its thread is at, or whose parent is dead: a ring of as many blocks. */
bool stripe_is_valid(const struct stripe *stripe);

/*
 * A domain that is about to be freed: of each class used = live + free + handed over, with
 * what is live being the root alone.
 */
bool domain_is_valid(const struct domain *domain);

#endif
