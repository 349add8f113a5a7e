/*
 * layout.c - the table is found by its magic, behind which it says where it is itself: in
 * what is mapped of programs and libraries, so neither their files are needed nor symbols.
 */
#include "layout.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/layout.h"

/* More of one mapping is not searched: data of a program that has no end. */
#define SEARCHED_BYTES (UINT64_C(256) << 20)
#define PIECE_BYTES    (UINT64_C(1) << 20)
#define ENTRIES_MOST   4096

/* Of types whose size is not told, each is a line at most. */
#define LINE_BYTES 64

/* ----------------------------------------------------------------------- search */

/* Whether the file is a program or a library, as it begins: else somebody's data. */
static bool is_of_a_program(const struct remote *remote, size_t i)
{
    const struct mapping *mappings = remote->mappings;
    char magic[SELFMAG];
    if (!mappings[i].path)
        return false;
    while (i > 0 && mappings[i].offset != 0 && mappings[i - 1].path &&
           strcmp(mappings[i - 1].path, mappings[i].path) == 0)
        i--;
    return remote_read(remote, mappings[i].start, magic, sizeof magic) &&
           memcmp(magic, ELFMAG, sizeof magic) == 0;
}

static bool is_table(const struct canopy_layout *table, uint64_t address)
{
    return memcmp(table->magic, LAYOUT_MAGIC, sizeof table->magic) == 0 &&
           (uint64_t)(uintptr_t)table->self == address;
}

/* In what was read of `address`; 0: not there. */
static uint64_t search_piece(const char *piece, uint64_t bytes, uint64_t address)
{
    for (uint64_t at = 0; at + sizeof(struct canopy_layout) <= bytes; at += 8) {
        struct canopy_layout table;
        if (memcmp(piece + at, LAYOUT_MAGIC, 8) != 0)
            continue;
        memcpy(&table, piece + at, sizeof table);
        if (is_table(&table, address + at))
            return address + at;
    }
    return 0;
}

/* Piece by piece, each with what a table that begins before its end would take. */
static uint64_t search_mapping(const struct remote *remote, const struct mapping *mapping,
                               char *piece)
{
    uint64_t end = mapping->end - mapping->start < SEARCHED_BYTES ? mapping->end
                                                                  : mapping->start + SEARCHED_BYTES;
    for (uint64_t at = mapping->start; at < end; at += PIECE_BYTES) {
        uint64_t bytes = PIECE_BYTES + sizeof(struct canopy_layout);
        bytes = bytes < end - at ? bytes : end - at;
        uint64_t found = remote_read(remote, at, piece, bytes) ? search_piece(piece, bytes, at) : 0;
        if (found)
            return found;
    }
    return 0;
}

static uint64_t search(const struct remote *remote, char *piece)
{
    for (size_t i = 0; i < remote->mapping_count; i++) {
        const struct mapping *mapping = &remote->mappings[i];
        if (mapping->is_executable || !is_of_a_program(remote, i))
            continue;
        uint64_t found = search_mapping(remote, mapping, piece);
        if (found)
            return found;
    }
    return 0;
}

/* ------------------------------------------------------------------------- read */

static const struct canopy_layout_entry *entry_of(const struct canopy_layout_entry *entries,
                                                  uint64_t count, const char *name)
{
    for (uint64_t i = 0; i < count; i++)
        if (strncmp(entries[i].name, name, LAYOUT_NAME_BYTES) == 0)
            return &entries[i];
    return NULL;
}

/* What is read at an offset lies inside, in all memory that is made for a type (LAYOUT_READ_BYTES).
 */
static bool is_inside(const struct canopy_layout_entry *entries, uint64_t count,
                      const struct canopy_layout_entry *entry)
{
    char type[LAYOUT_NAME_BYTES] = "";
    const char *dot = memchr(entry->name, '.', LAYOUT_NAME_BYTES);
    if (!dot)
        return true; /* no offset */
    memcpy(type, entry->name, (size_t)(dot - entry->name));
    const struct canopy_layout_entry *size =
        entry_of(entries, count, strcmp(type, "slab") == 0 ? "SLAB_HEADER_BYTES" : type);
    uint64_t bytes = size ? size->value : LINE_BYTES;
    return entry->value < bytes && entry->value < LAYOUT_TYPE_BYTES;
}

/* Fills in what there is; the name of what is missing, or makes no sense, or NULL. */
static const char *fill(struct layout *layout, const struct canopy_layout_entry *entries,
                        uint64_t count)
{
    const struct canopy_layout_entry *entry;
#define LAYOUT_FILL(field, name)                                                                   \
    if (!(entry = entry_of(entries, count, name)) || !is_inside(entries, count, entry))            \
        return name;                                                                               \
    layout->field = entry->value;
    LAYOUT_NAMES(LAYOUT_FILL)
#undef LAYOUT_FILL
    return NULL;
}

/* What is used as a size has to be one; offsets have to lie inside. */
static bool is_sensible(const struct layout *l)
{
    return l->line_bytes == LINE_BYTES && l->ctx_bytes == LINE_BYTES &&
           l->note_bytes == LINE_BYTES && l->slab_bytes == 32768 &&
           l->slab_header_bytes >= LINE_BYTES && l->slab_header_bytes <= LAYOUT_TYPE_BYTES &&
           l->slab_header_bytes % LINE_BYTES == 0 &&
           l->slab_header_bytes < l->slab_allocated_bytes &&
           l->slab_allocated_bytes <= l->slab_bytes && l->domain_bytes <= LAYOUT_TYPE_BYTES &&
           l->shelf_bytes <= LAYOUT_TYPE_BYTES && l->counts_bytes <= LAYOUT_TYPE_BYTES &&
           l->cause_bytes <= LAYOUT_TYPE_BYTES && l->heap_bytes <= 1 << 20 &&
           l->shelf_place_bytes > 0 && l->shelf_place_bytes <= LINE_BYTES && l->places <= 4096 &&
           l->shelf_places + l->places * l->shelf_place_bytes <= l->shelf_bytes &&
           l->late_buckets <= 64 && l->counts_late + 8 * l->late_buckets <= l->counts_bytes &&
           l->causes_told <= 1024 && l->cause_counts_bytes <= LINE_BYTES &&
           l->counts_causes + (l->causes_told + 1) * l->cause_counts_bytes <= l->counts_bytes &&
           l->id_line_bits < 64 && l->id_life_shift < 64 && l->id_number_bits < 64 &&
           l->block_slots <= 4096 && l->line_slots <= 64 && l->refs_handle != 0 && l->slot_end != 0;
}

static int read_entries(struct remote *remote, struct layout *layout,
                        const struct canopy_layout *table)
{
    size_t bytes = table->entry_count * sizeof(struct canopy_layout_entry);
    struct canopy_layout_entry *entries = malloc(bytes ? bytes : 1);
    if (!entries)
        return remote_fails(remote, -ENOMEM, "no memory");
    int err = 0;
    const char *missing = NULL;
    if (!remote_read(remote, (uint64_t)(uintptr_t)table->entries, entries, bytes))
        err = remote_fails(remote, -EIO, "the table of canopy's layout cannot be read");
    else if ((missing = fill(layout, entries, table->entry_count)))
        err = remote_fails(remote, -ENOTSUP,
                           "the process has another version of canopy: its layout tells no \"%s\"",
                           missing);
    else if (!is_sensible(layout))
        err = remote_fails(remote, -ENOTSUP, "the table of canopy's layout makes no sense");
    free(entries);
    return err;
}

static int read_table(struct remote *remote, struct layout *layout)
{
    struct canopy_layout table;
    if (!remote_read(remote, layout->at, &table, sizeof table))
        return remote_fails(remote, -EIO, "the table of canopy's layout cannot be read");
    if (table.version != LAYOUT_VERSION || table.entry_bytes != sizeof *table.entries ||
        table.entry_count > ENTRIES_MOST)
        return remote_fails(
            remote, -ENOTSUP,
            "the process has another version of canopy: its layout is number %" PRIu32
            ", and this tool knows %d",
            table.version, LAYOUT_VERSION);
    return read_entries(remote, layout, &table);
}

int layout_find(struct remote *remote, struct layout *layout)
{
    char *piece = malloc(PIECE_BYTES + sizeof(struct canopy_layout));
    memset(layout, 0, sizeof *layout);
    if (!piece)
        return remote_fails(remote, -ENOMEM, "no memory");
    layout->at = search(remote, piece);
    free(piece);
    if (layout->at)
        return read_table(remote, layout);
    int err = remote_is_there(remote);
    if (err)
        return err;
    return remote_fails(remote, -ENOENT, "there is no canopy in the %s, or one before 1.1",
                        remote->core ? "core" : "process");
}

bool layout_holds(const struct remote *remote, const struct layout *layout)
{
    struct canopy_layout table;
    return remote_read(remote, layout->at, &table, sizeof table) && is_table(&table, layout->at);
}
