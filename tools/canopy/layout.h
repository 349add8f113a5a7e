/*
 * layout.h - where things lie in the memory of a process with canopy, as the table there says
 * (inspect/layout.h): whichever build it is, linked in or shared, stripped, replaced on disk.
 */
#ifndef CANOPY_TOOL_LAYOUT_H
#define CANOPY_TOOL_LAYOUT_H

#include "remote.h"

/* What is needed of the table: the name here, and there. */
#define LAYOUT_NAMES(X)                                                                            \
    X(default_domain, "default_domain")                                                            \
    X(cause_of_groups, "cause_of_groups")                                                          \
    X(domain_bytes, "domain")                                                                      \
    X(domain_id, "domain.id")                                                                      \
    X(domain_is_removed, "domain.is_removed")                                                      \
    X(domain_max_live, "domain.max_live")                                                          \
    X(domain_host_clock, "domain.host_clock")                                                      \
    X(domain_counts, "domain.counts")                                                              \
    X(domain_root, "domain.root")                                                                  \
    X(domain_heaps, "domain.heaps")                                                                \
    X(domain_inherited_heaps, "domain.inherited_heaps")                                            \
    X(domain_slabs, "domain.slabs")                                                                \
    X(domain_next, "domain.next")                                                                  \
    X(domain_allocated, "domain.bytes")                                                            \
    X(domain_now_ns, "domain.now_ns")                                                              \
    X(shelves_first, "shelves.first")                                                              \
    X(shelf_bytes, "shelf")                                                                        \
    X(shelf_next, "shelf.next")                                                                    \
    X(shelf_places, "shelf.places")                                                                \
    X(shelf_place_bytes, "shelf_place")                                                            \
    X(shelf_place_item, "shelf_place.item")                                                        \
    X(places, "SHELF_PLACES")                                                                      \
    X(place_vacant, "PLACE_VACANT")                                                                \
    X(slab_domain, "slab.domain")                                                                  \
    X(slab_domain_id, "slab.domain_id")                                                            \
    X(slab_class, "slab.class")                                                                    \
    X(slab_notes, "slab.notes")                                                                    \
    X(slab_number, "slab.number")                                                                  \
    X(slab_fresh_bytes, "slab.fresh_bytes")                                                        \
    X(class_ctx, "CLASS_CTX")                                                                      \
    X(class_block, "CLASS_BLOCK")                                                                  \
    X(slab_bytes, "SLAB_BYTES")                                                                    \
    X(slab_header_bytes, "SLAB_HEADER_BYTES")                                                      \
    X(slab_allocated_bytes, "SLAB_ALLOCATED_BYTES")                                                \
    X(line_bytes, "CACHE_LINE")                                                                    \
    X(heap_bytes, "heap")                                                                          \
    X(heap_domain, "heap.domain")                                                                  \
    X(heap_next, "heap.next")                                                                      \
    X(ctx_bytes, "canopy_ctx")                                                                     \
    X(ctx_state, "canopy_ctx.state")                                                               \
    X(ctx_refs, "canopy_ctx.refs")                                                                 \
    X(ctx_parent, "canopy_ctx.parent")                                                             \
    X(ctx_slot, "canopy_ctx.slot")                                                                 \
    X(ctx_deadline, "canopy_ctx.deadline")                                                         \
    X(ctx_aux, "canopy_ctx.aux")                                                                   \
    X(ctx_slot0, "canopy_ctx.slot0")                                                               \
    X(ctx_link, "canopy_ctx.link")                                                                 \
    X(state_waited, "STATE_WAITED")                                                                \
    X(state_swept, "STATE_SWEPT")                                                                  \
    X(state_timedout, "STATE_TIMEDOUT")                                                            \
    X(state_forward, "STATE_FORWARD")                                                              \
    X(state_kind_mask, "STATE_KIND_MASK")                                                          \
    X(state_bits, "STATE_BITS")                                                                    \
    X(kind_root, "KIND_ROOT")                                                                      \
    X(kind_merged, "KIND_MERGED")                                                                  \
    X(kind_value, "KIND_VALUE")                                                                    \
    X(kind_detached, "KIND_DETACHED")                                                              \
    X(kind_input, "KIND_INPUT")                                                                    \
    X(parent_kind_mask, "PARENT_KIND_MASK")                                                        \
    X(parent_flags, "PARENT_FLAGS")                                                                \
    X(refs_handle, "REFS_HANDLE")                                                                  \
    X(aux_extension, "AUX_EXTENSION")                                                              \
    X(extension_fd, "extension.fd")                                                                \
    X(cause_bytes, "canopy_cause")                                                                 \
    X(cause_code, "canopy_cause.code")                                                             \
    X(cause_text, "canopy_cause.text")                                                             \
    X(slot_callback, "SLOT_CALLBACK")                                                              \
    X(slot_flags, "SLOT_FLAGS")                                                                    \
    X(slot_end, "SLOT_END")                                                                        \
    X(slot_striped, "SLOT_STRIPED")                                                                \
    X(block_slots, "BLOCK_SLOTS")                                                                  \
    X(line_slots, "LINE_SLOTS")                                                                    \
    X(note_bytes, "ctx_note")                                                                      \
    X(note_life, "ctx_note.life")                                                                  \
    X(note_parent, "ctx_note.parent")                                                              \
    X(note_made_ns, "ctx_note.made_ns")                                                            \
    X(note_made_at, "ctx_note.made_at")                                                            \
    X(note_name, "ctx_note.name")                                                                  \
    X(note_ended_ns, "ctx_note.ended_ns")                                                          \
    X(note_ended_at, "ctx_note.ended_at")                                                          \
    X(note_made_tid, "ctx_note.made_tid")                                                          \
    X(note_ended_tid, "ctx_note.ended_tid")                                                        \
    X(id_line_bits, "ID_LINE_BITS")                                                                \
    X(id_number_bits, "ID_NUMBER_BITS")                                                            \
    X(id_life_shift, "ID_LIFE_SHIFT")                                                              \
    X(counts_bytes, "counts")                                                                      \
    X(counts_made, "counts.made")                                                                  \
    X(counts_gone, "counts.gone")                                                                  \
    X(counts_born_done, "counts.born_done")                                                        \
    X(counts_cancels, "counts.cancels")                                                            \
    X(counts_ended, "counts.ended")                                                                \
    X(counts_callbacks, "counts.callbacks")                                                        \
    X(counts_expired, "counts.expired")                                                            \
    X(counts_late_max_ns, "counts.late_max_ns")                                                    \
    X(counts_late, "counts.late")                                                                  \
    X(counts_causes, "counts.causes")                                                              \
    X(late_buckets, "LATE_BUCKETS")                                                                \
    X(causes_told, "CAUSES_TOLD")                                                                  \
    X(cause_counts_bytes, "cause_counts")                                                          \
    X(cause_counts_cause, "cause_counts.cause")                                                    \
    X(cause_counts_cancels, "cause_counts.cancels")                                                \
    X(cause_counts_ended, "cause_counts.ended")

/*
 * No type is larger, and no field that is read begins beyond its end: so memory for one has
 * so much, and what a word is longer.
 */
#define LAYOUT_TYPE_BYTES 4096
#define LAYOUT_READ_BYTES (LAYOUT_TYPE_BYTES + 8)

struct layout {
    uint64_t at; /* where the table is */
#define LAYOUT_FIELD(field, name) uint64_t field;
    LAYOUT_NAMES(LAYOUT_FIELD)
#undef LAYOUT_FIELD
};

/* 0, or a negative errno with `why` set. */
int layout_find(struct remote *remote, struct layout *layout);

/* Whether the table is still where it was: else the process runs another program by now. */
bool layout_holds(const struct remote *remote, const struct layout *layout);

#endif
