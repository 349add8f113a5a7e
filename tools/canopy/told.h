/*
 * told.h - contexts in an image: which there are, what is known of each, whose child it is.
 *
 * Where notes are kept it is what <canopy/inspect.h> tells of them; of others less: neither
 * when nor where, and for an id there is the address.
 */
#ifndef CANOPY_TOOL_TOLD_H
#define CANOPY_TOOL_TOLD_H

#include <canopy/inspect.h>

#include "image.h"
#include "texts.h"

/* One context; others by their index, and 1. */
struct told {
    uint64_t id; /* or address */
    uint32_t slab, line;
    uint32_t parent, first_child, next_sibling;
    uint32_t mark;
};

struct all_told {
    struct image *image;
    struct texts texts;
    struct told *list; /* by ids */
    size_t count, room;
};

/* Whoever is in the image. 0, or -ENOMEM with `why` set. told_free in any case. */
int told_gather(struct all_told *all, struct image *image);
void told_free(struct all_told *all);

/* As for a tree: children of each by their ids. */
void told_link(struct all_told *all);

/* The one of that id, or of that address; NULL: there is none. */
const struct told *told_find(const struct all_told *all, uint64_t id);

bool told_has_note(const struct all_told *all, const struct told *told);

/* Its root's clock. */
int64_t told_now_ns(const struct all_told *all, const struct told *told);

/* What canopy_inspect would say; texts live as long as `all`. */
void told_fill(struct all_told *all, const struct told *told, canopy_info *info);

#endif
