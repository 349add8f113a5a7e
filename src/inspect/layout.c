/*
 * layout.c - the table of layout.h, by the compiler's own word.
 */
#include "inspect/layout.h"

#include "callbacks/callback.h"
#include "tree/ctx.h"
#include "tree/extension.h"
#include "tree/note.h"
#include <canopy/loop.h>

/* clang-format off */
#define OFFSET(type, field)      {#type "." #field, offsetof(struct type, field)}
#define TYPE_OFFSET(type, field) {#type "." #field, offsetof(type, field)}
#define SIZE(type)               {#type, sizeof(struct type)}
#define VALUE(name)              {#name, name}
#define ADDRESS(name)            {#name, (uintptr_t)&(name)}

static const struct canopy_layout_entry entries[] = {
    /* Where everything begins. */
    ADDRESS(default_domain), ADDRESS(ctx_background), ADDRESS(ctx_todo), ADDRESS(fork_generation),
    ADDRESS(cause_of_groups), ADDRESS(record_mark_loop), ADDRESS(record_mark_running),
    ADDRESS(record_mark_left), VALUE(CANOPY_VERSION_MAJOR), VALUE(CANOPY_VERSION_MINOR),
    VALUE(CANOPY_VERSION_PATCH),
    /* Memory. */
    SIZE(domain), OFFSET(domain, id), OFFSET(domain, max_live), OFFSET(domain, host_clock),
    OFFSET(domain, counts), OFFSET(domain, root), OFFSET(domain, heaps), OFFSET(domain, orphans),
    OFFSET(domain, tidied), OFFSET(domain, inherited_heaps), OFFSET(domain, slabs),
    OFFSET(domain, next), OFFSET(domain, live), OFFSET(domain, bytes), OFFSET(domain, given_back),
    OFFSET(domain, now_ns), OFFSET(domain, served_ns), OFFSET(domain, is_removed),
    OFFSET(shelves, first), SIZE(shelf),
    OFFSET(shelf, next), OFFSET(shelf, opened), OFFSET(shelf, places), SIZE(shelf_place),
    OFFSET(shelf_place, item), VALUE(SHELF_PLACES), VALUE(PLACE_VACANT), OFFSET(slab, domain),
    OFFSET(slab, domain_id), OFFSET(slab, heap), OFFSET(slab, class), OFFSET(slab, fork_generation),
    OFFSET(slab, notes), OFFSET(slab, number), OFFSET(slab, fresh_bytes), VALUE(CLASS_CTX),
    VALUE(CLASS_LINE), VALUE(CLASS_BLOCK), VALUE(SLAB_BYTES), VALUE(SLAB_HEADER_BYTES),
    VALUE(SLAB_ALLOCATED_BYTES), VALUE(CACHE_LINE), VALUE(BLOCK_BYTES), SIZE(heap),
    OFFSET(heap, domain), OFFSET(heap, next), OFFSET(heap, next_orphan), OFFSET(heap, owner),
    OFFSET(heap, owner_tid), OFFSET(heap, taken), OFFSET(heap, loaded), OFFSET(heap, pools),
    OFFSET(heap, leaving), SIZE(magazine), OFFSET(magazine, count), SIZE(pool), OFFSET(pool, spare),
    /* Contexts. */
    SIZE(canopy_ctx), OFFSET(canopy_ctx, state), OFFSET(canopy_ctx, refs),
    OFFSET(canopy_ctx, parent), OFFSET(canopy_ctx, slot), OFFSET(canopy_ctx, deadline),
    OFFSET(canopy_ctx, aux), OFFSET(canopy_ctx, slot0), OFFSET(canopy_ctx, link), VALUE(STATE_LIVE),
    VALUE(STATE_WAITED), VALUE(STATE_SWEPT), VALUE(STATE_CANCELED), VALUE(STATE_TIMEDOUT),
    VALUE(STATE_FORWARD), VALUE(STATE_KIND_MASK), VALUE(STATE_BITS), VALUE(KIND_CANCEL),
    VALUE(KIND_ROOT), VALUE(KIND_MERGED), VALUE(KIND_VALUE), VALUE(KIND_DETACHED),
    VALUE(KIND_STATIC), VALUE(KIND_INPUT), VALUE(PARENT_KIND_MASK), VALUE(PARENT_DOMAIN),
    VALUE(PARENT_LIMITED), VALUE(PARENT_NOTED), VALUE(PARENT_FLAGS), VALUE(REFS_HANDLE),
    VALUE(REFS_WATCHED), VALUE(REFS_RECORDS), VALUE(REFS_COUNTING), VALUE(REFS_COUNTED),
    VALUE(AUX_EXTENSION), SIZE(extension), OFFSET(extension, deadline_cause), OFFSET(extension, fd),
    OFFSET(extension, signals), SIZE(canopy_cause), OFFSET(canopy_cause, code),
    OFFSET(canopy_cause, text), OFFSET(canopy_cause, file), OFFSET(canopy_cause, line),
    /* What hangs from them. */
    VALUE(SLOT_LOOKED), VALUE(SLOT_CLAIMED), VALUE(SLOT_COUNTED), VALUE(SLOT_CALLBACK),
    VALUE(SLOT_LINK), VALUE(SLOT_HOT), VALUE(SLOT_FLAGS), VALUE(SLOT_END), VALUE(SLOT_STRIPED),
    VALUE(BLOCK_SLOTS), VALUE(LINE_SLOTS), OFFSET(block, owner), OFFSET(block, stripe),
    OFFSET(block, slots), OFFSET(block, link), VALUE(BLOCK_MODE), OFFSET(slot_line, slots),
    OFFSET(slot_line, link), SIZE(canopy_callback), OFFSET(canopy_callback, canopy_fn),
    OFFSET(canopy_callback, canopy_arg), OFFSET(canopy_callback, canopy_ctx_),
    OFFSET(canopy_callback, canopy_slot), OFFSET(canopy_callback, canopy_runner),
    OFFSET(canopy_callback, canopy_state), TYPE_OFFSET(canopy_loop_callback, canopy_record),
    TYPE_OFFSET(canopy_loop_callback, canopy_fn), TYPE_OFFSET(canopy_loop_callback, canopy_arg),
    VALUE(RECORD_IDLE), VALUE(RECORD_ARMED), VALUE(RECORD_CLAIMED), VALUE(RECORD_DONE),
    VALUE(RECORD_PHASE),
    /* Notes, and what is counted with them. */
    SIZE(ctx_note), OFFSET(ctx_note, life), OFFSET(ctx_note, parent), OFFSET(ctx_note, made_ns),
    OFFSET(ctx_note, made_at), OFFSET(ctx_note, name), OFFSET(ctx_note, ended_ns),
    OFFSET(ctx_note, ended_at), OFFSET(ctx_note, made_tid), OFFSET(ctx_note, ended_tid),
    VALUE(ID_LINE_BITS), VALUE(ID_NUMBER_BITS), VALUE(ID_LIFE_SHIFT), SIZE(counts),
    OFFSET(counts, made), OFFSET(counts, gone), OFFSET(counts, born_done), OFFSET(counts, cancels),
    OFFSET(counts, ended), OFFSET(counts, callbacks), OFFSET(counts, expired),
    OFFSET(counts, late_max_ns), OFFSET(counts, late), OFFSET(counts, causes), VALUE(LATE_BUCKETS),
    VALUE(CAUSES_TOLD), SIZE(cause_counts), OFFSET(cause_counts, cause),
    OFFSET(cause_counts, cancels), OFFSET(cause_counts, ended),
};
/* clang-format on */

/* Nothing refers to it: so linkers that leave out what is not used are told to keep it. */
#if defined(__has_attribute) && __has_attribute(retain)
#define KEPT __attribute__((used, retain, section(LAYOUT_SECTION), aligned(CACHE_LINE)))
#else
#define KEPT __attribute__((used, section(LAYOUT_SECTION), aligned(CACHE_LINE)))
#endif

const struct canopy_layout canopy_layout KEPT = {
    .magic = LAYOUT_MAGIC,
    .version = LAYOUT_VERSION,
    .entry_bytes = sizeof entries[0],
    .self = &canopy_layout,
    .entries = entries,
    .entry_count = sizeof entries / sizeof entries[0],
};
