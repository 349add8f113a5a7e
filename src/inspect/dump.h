/*
 * dump.h - what is written of all contexts of a walk.
 */
#ifndef CANOPY_DUMP_H
#define CANOPY_DUMP_H

#include "inspect/sink.h"

/* So many contexts are looked at in one go. */
#define DUMP_INFOS 64

/* The contexts of `walk` as a tree, one a line. 0, or -ENOMEM; or the sink's. */
int dump_text(canopy_walk *walk, struct sink *sink, int64_t now_ns);

/* The contexts as JSON, and that in a page of HTML. 0, or the sink's. */
int dump_json(canopy_walk *walk, struct sink *sink, int64_t now_ns);
int dump_page(canopy_walk *walk, struct sink *sink, int64_t now_ns);

/* One context as JSON: an object. */
void dump_json_context(struct sink *sink, const canopy_info *info);

#endif
