/*
 * look.h - a look at contexts that nobody keeps, by their notes; the protocol, NT1 to NT3,
 * is described in tree/note.h.
 */
#ifndef CANOPY_LOOK_H
#define CANOPY_LOOK_H

#include "tree/note.h"
#include <canopy/inspect.h>

/* Whether the struct of a caller is one that this version fills. */
static inline bool info_bytes_are_known(size_t bytes)
{
    return bytes >= sizeof(canopy_info) && bytes <= 4096;
}

/* What a walk is to tell of. */
struct wanted {
    const struct canopy_ctx *top;    /* with what is below, or NULL */
    const struct canopy_ctx *inside; /* known to be below it, or NULL */
    uint64_t inside_id;
    int64_t older_than_ns;
    bool live_only;
};

/* The context that a line is, and its life at NT1; NULL: none that lives. In a read section. */
struct seen {
    struct canopy_ctx *ctx;
    struct ctx_note *note;
    uint64_t life;
};
bool look_begin(struct seen *seen, const struct slab *slab, unsigned line);

/* The same by its id. */
bool look_by_id(struct seen *seen, uint64_t id);

/* NT3: all that was read since look_begin was of this one life. */
bool look_holds(const struct seen *seen);

uint64_t look_id(const struct seen *seen);

/* The kind of a context as callers know it. */
canopy_kind look_kind(enum kind kind);

/* Fills `info`. False: it is gone. */
bool look_at(const struct seen *seen, canopy_info *info);

/* Whether it is to be told, at `now_ns`; to be made sure of by look_holds. */
bool look_is_wanted(const struct seen *seen, struct wanted *wanted, int64_t now_ns);

/* Whether a context that was handed over, or found above another, has a note. */
static inline bool has_note(const struct canopy_ctx *ctx)
{
    return ctx != canopy_background() && ctx != canopy_todo() && slab_of(ctx)->notes;
}

/* What time it is in a domain, exactly. */
static inline int64_t look_now_ns(const struct domain *domain)
{
    return domain->host_clock ? i64_load_acquire(&domain->now_ns) : clock_now_ns(); /* D6 */
}

#endif
