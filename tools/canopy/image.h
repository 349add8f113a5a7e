/*
 * image.h - what was read of another process's contexts: its domains, and their slabs with the
 * notes beside them, copied whole, so that all that follows looks at memory of one's own.
 *
 * The process goes on meanwhile. Of a slab with notes are read
 *
 *     1 the lives     2 the contexts     3 the notes, lives among them     ...    4 the lives again
 *
 * and what has the same, odd, life in 1 and 3 held still: what 2 and 3 tell is of that one
 * life (the protocol of tree/note.h). 4 comes when all slabs have been read. It is for who
 * stands above a context: parents outlive what is below, so of two lives that a parent's
 * line was seen in the one is the parent's that was read while the context lived; see
 * told.c. Of contexts without notes are read once and again their slots and parents.
 */
#ifndef CANOPY_TOOL_IMAGE_H
#define CANOPY_TOOL_IMAGE_H

#include <string.h>

#include "layout.h"

/* Lines of a slab: in its arrays the line's number is the index. */
#define SLAB_LINES 512

struct domain_image {
    uint64_t address, id, root, counts, allocated_bytes;
    int64_t now_ns; /* its clock's, where the host tells it */
    uint64_t heaps, inherited_heaps;
    uint64_t first_shelf;
    bool host_clock;
};

struct slab_image {
    uint64_t address;
    uint32_t domain; /* index */
    uint32_t number;
    uint32_t first_line, end_line;
    bool is_ctx;
    unsigned char *objects; /* end_line lines, the slab's header among them */
    unsigned char *notes;   /* the same, a note beside each; NULL: it has none */
    uint64_t *before;       /* lives, read before the contexts */
    uint64_t *after;        /* and when all had been read */
    uint32_t *told;         /* of each line the index of what is told of it, and 1; see told.h */
};

struct image {
    struct remote *remote;
    struct layout layout;
    struct domain_image *domains;
    size_t domain_count, domain_room;
    struct slab_image *slabs;
    size_t slab_count, slab_room;
    uint32_t *found; /* slabs by address: index and 1, in a table of a power of two */
    size_t found_mask;
    int64_t now_ns;
};

/* Reads it all. 0, or a negative errno with the remote's `why` set. image_free in any case. */
int image_read(struct image *image, struct remote *remote);
void image_free(struct image *image);

/* The domains alone, for what is counted. */
int image_read_domains(struct image *image, struct remote *remote);

/* The slab around an address; NULL: none. */
struct slab_image *image_slab(const struct image *image, uint64_t address);

/* Eight bytes at an address in a slab that was read; false: it was not. */
bool image_word(const struct image *image, uint64_t address, uint64_t *word);

/* Reads one line of a slab and its note once more: false where its life is another by now. */
bool image_refresh(const struct image *image, struct slab_image *slab, uint32_t line);

static inline uint64_t word_at(const void *bytes, uint64_t offset)
{
    uint64_t word;
    memcpy(&word, (const unsigned char *)bytes + offset, sizeof word);
    return word;
}

static inline uint32_t half_at(const void *bytes, uint64_t offset)
{
    uint32_t half;
    memcpy(&half, (const unsigned char *)bytes + offset, sizeof half);
    return half;
}

static inline const unsigned char *line_of(const struct image *image, const struct slab_image *slab,
                                           uint32_t line)
{
    return slab->objects + line * image->layout.line_bytes;
}

static inline const unsigned char *note_of(const struct image *image, const struct slab_image *slab,
                                           uint32_t line)
{
    return slab->notes + line * image->layout.line_bytes;
}

#endif
