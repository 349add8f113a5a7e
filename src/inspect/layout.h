/*
 * layout.h - a table by which a debugger, or another process, reads contexts out of this
 * one's memory: where everything begins, what lies where, what the bits mean. It needs
 * neither symbols nor debug information, and is the same in each build, so a core file of a
 * stripped program can be read.
 *
 * It is found by the name of its section, LAYOUT_SECTION, in the file that canopy is in, and
 * lies as far from where that was loaded as the section header says; or, where there is
 * no such file, by its magic in writable memory, at a multiple of a cache line. `self` is
 * then its own address, and nowhere else.
 *
 * Entries are found by their names, which are those of the sources: "canopy_ctx.state" is
 * an offset, "canopy_ctx" a size, "STATE_SWEPT" a number, "default_domain" an address.
 * Those that a reader does not know it passes by, and where one is missing that it needs the
 * library is of another time. `version` changes when a name comes to mean something else.
 *
 * From the domains (default_domain, then by `next`) over their shelves to the places of
 * slabs: there each line of a slab of CLASS_CTX, from SLAB_HEADER_BYTES up to `fresh_bytes`,
 * is a context, or free. It is one if it is the root of its domain, or if its slot (less
 * SLOT_STRIPED) holds its address, tags apart; with a note, if `life` is odd. What
 * hangs from it, the rows of slots, is described in tree/node.h and tree/children.h.
 */
#ifndef CANOPY_LAYOUT_H
#define CANOPY_LAYOUT_H

#include <stdint.h>

#define LAYOUT_SECTION    ".canopy_layout"
#define LAYOUT_MAGIC      "canopyL" /* and its 0: 8 bytes */
#define LAYOUT_VERSION    1
#define LAYOUT_NAME_BYTES 40

struct canopy_layout_entry {
    char name[LAYOUT_NAME_BYTES]; /* zeros behind it, one at least */
    uint64_t value;
};

struct canopy_layout {
    char magic[8];
    uint32_t version;
    uint32_t entry_bytes;
    const struct canopy_layout *self;
    const struct canopy_layout_entry *entries;
    uint64_t entry_count;
};

extern const struct canopy_layout canopy_layout;

#endif
