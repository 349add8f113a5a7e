/*
 * image.c - domains and slabs are read; see image.h.
 */
#include "image.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* More of each there cannot be: numbers of slabs end there as well, and 2^30 contexts fit. */
#define DOMAINS_MOST (1U << 20)
#define SLABS_MOST   (1U << 21)

#define LINE_BYTES 64

/* So often the list of domains is begun anew where it changes under us. */
#define ATTEMPTS 64

static int no_memory(struct remote *remote)
{
    return remote_fails(remote, -ENOMEM, "no memory");
}

/* Room for one more; false: no memory. */
static bool reserve(void **array, size_t count, size_t *room, size_t bytes)
{
    if (count < *room)
        return true;
    size_t more = *room ? 2 * *room : 64;
    void *grown = realloc(*array, more * bytes);
    if (!grown)
        return false;
    *array = grown;
    *room = more;
    return true;
}

/* --------------------------------------------------------------------- domains */

/* What is needed of the domain at an address, and the one behind it; false: there is none. */
struct domain_read {
    struct domain_image domain;
    uint64_t next;
    bool is_removed;
};

static bool domain_read(const struct image *image, uint64_t address, struct domain_read *to)
{
    const struct layout *l = &image->layout;
    unsigned char bytes[LAYOUT_READ_BYTES];
    if (!remote_read(image->remote, address, bytes, l->domain_bytes))
        return false;
    to->domain = (struct domain_image){
        .address = address,
        .id = word_at(bytes, l->domain_id),
        .root = word_at(bytes, l->domain_root),
        .counts = word_at(bytes, l->domain_counts),
        .allocated_bytes = word_at(bytes, l->domain_allocated),
        .now_ns = (int64_t)word_at(bytes, l->domain_now_ns),
        .heaps = word_at(bytes, l->domain_heaps),
        .inherited_heaps = word_at(bytes, l->domain_inherited_heaps),
        .first_shelf = word_at(bytes, l->domain_slabs + l->shelves_first),
        .host_clock = bytes[l->domain_host_clock],
    };
    to->next = word_at(bytes, l->domain_next);
    to->is_removed = half_at(bytes, l->domain_is_removed) != 0;
    return to->domain.id != 0;
}

static bool is_known(const struct image *image, uint64_t id)
{
    for (size_t i = image->domain_count; i-- > 0;)
        if (image->domains[i].id == id)
            return true;
    return false;
}

static int domain_add(struct image *image, const struct domain_image *domain)
{
    if (image->domain_count == DOMAINS_MOST || is_known(image, domain->id))
        return 0;
    if (!reserve((void **)&image->domains, image->domain_count, &image->domain_room,
                 sizeof *domain))
        return no_memory(image->remote);
    image->domains[image->domain_count++] = *domain;
    return 0;
}

/*
 * All domains once, each looked at again when the next one has been read: what is in the list
 * still, with the same one behind it, had that one behind it. -EAGAIN: it had not.
 */
static int domains_pass(struct image *image)
{
    struct domain_read last, again;
    struct chain chain = {0};
    if (!domain_read(image, image->layout.default_domain, &last))
        return 0; /* nothing was ever made */
    int err = domain_add(image, &last.domain);
    while (!err && chain_goes_on(&chain, last.next)) {
        struct domain_read next;
        bool is_read = domain_read(image, last.next, &next);
        if (!domain_read(image, last.domain.address, &again) || again.is_removed ||
            again.domain.id != last.domain.id || again.next != last.next)
            return -EAGAIN;
        if (!is_read)
            break; /* no list that canopy made */
        err = domain_add(image, &next.domain);
        last = next;
    }
    return err;
}

static int domains_read(struct image *image)
{
    int err = -EAGAIN;
    for (unsigned i = 0; err == -EAGAIN && i < ATTEMPTS; i++)
        err = domains_pass(image);
    return err == -EAGAIN ? 0 : err; /* those that were met */
}

/* ----------------------------------------------------------------------- slabs */

static size_t place_of(const struct image *image, uint64_t address)
{
    return (size_t)((address / image->layout.slab_bytes * UINT64_C(0x9E3779B97F4A7C15)) >> 20) &
           image->found_mask;
}

struct slab_image *image_slab(const struct image *image, uint64_t address)
{
    address &= ~(image->layout.slab_bytes - 1);
    if (!image->found)
        return NULL;
    for (size_t at = place_of(image, address); image->found[at];
         at = (at + 1) & image->found_mask) {
        struct slab_image *slab = &image->slabs[image->found[at] - 1];
        if (slab->address == address)
            return slab;
    }
    return NULL;
}

static void enter(struct image *image, size_t index)
{
    size_t at = place_of(image, image->slabs[index].address);
    while (image->found[at])
        at = (at + 1) & image->found_mask;
    image->found[at] = (uint32_t)index + 1;
}

/* The table has twice as many places as slabs at least. False: no memory. */
static bool table_grow(struct image *image)
{
    if (image->found && 2 * (image->slab_count + 1) <= image->found_mask + 1)
        return true;
    size_t places = image->found ? 2 * (image->found_mask + 1) : 128;
    uint32_t *found = calloc(places, sizeof *found);
    if (!found)
        return false;
    free(image->found);
    image->found = found;
    image->found_mask = places - 1;
    for (size_t i = 0; i < image->slab_count; i++)
        enter(image, i);
    return true;
}

bool image_word(const struct image *image, uint64_t address, uint64_t *word)
{
    const struct slab_image *slab = image_slab(image, address);
    uint64_t offset = slab ? address - slab->address : 0;
    if (!slab || offset % 8 != 0 || offset + 8 > slab->end_line * image->layout.line_bytes)
        return false;
    *word = word_at(slab->objects, offset);
    return true;
}

static bool is_slab_of(const struct image *image, const unsigned char *header,
                       const struct domain_image *domain)
{
    const struct layout *l = &image->layout;
    uint64_t fresh_bytes = half_at(header, l->slab_fresh_bytes);
    return word_at(header, l->slab_domain) == domain->address &&
           word_at(header, l->slab_domain_id) == domain->id &&
           half_at(header, l->slab_class) <= l->class_block &&
           fresh_bytes >= l->slab_header_bytes && fresh_bytes <= l->slab_allocated_bytes;
}

static void slab_free(struct slab_image *slab)
{
    free(slab->objects);
    free(slab->notes);
    free(slab->before);
    free(slab->after);
    free(slab->told);
}

static void lives_of(const struct image *image, const struct slab_image *slab, uint64_t *lives)
{
    for (uint32_t line = slab->first_line; line < slab->end_line; line++)
        lives[line] = word_at(note_of(image, slab, line), image->layout.note_life);
}

static bool notes_read(const struct image *image, uint64_t notes, struct slab_image *slab)
{
    uint64_t skipped = slab->first_line * image->layout.line_bytes;
    return remote_read(image->remote, notes + skipped, slab->notes + skipped,
                       (slab->end_line - slab->first_line) * image->layout.line_bytes);
}

/* Steps 1 to 3 of image.h. False: it has gone. */
static bool slab_fill(const struct image *image, const unsigned char *header,
                      struct slab_image *slab)
{
    const struct layout *l = &image->layout;
    uint64_t notes = word_at(header, l->slab_notes);
    size_t bytes = slab->end_line * l->line_bytes;
    unsigned char after[LAYOUT_READ_BYTES];
    if (slab->notes && !notes_read(image, notes, slab))
        return false;
    if (slab->notes)
        lives_of(image, slab, slab->before);
    return remote_read(image->remote, slab->address, slab->objects, bytes) &&
           (!slab->notes || notes_read(image, notes, slab)) &&
           remote_read(image->remote, slab->address, after, l->slab_header_bytes) &&
           word_at(after, l->slab_domain_id) == word_at(header, l->slab_domain_id) &&
           word_at(after, l->slab_notes) == notes && half_at(after, l->slab_number) == slab->number;
}

static bool slab_allocate(const struct image *image, struct slab_image *slab, bool has_notes)
{
    size_t bytes = slab->end_line * image->layout.line_bytes + LAYOUT_READ_BYTES;
    slab->objects = malloc(bytes);
    if (!slab->objects)
        return false;
    if (!slab->is_ctx)
        return true;
    slab->before = calloc(SLAB_LINES, sizeof *slab->before);
    slab->after = calloc(SLAB_LINES, sizeof *slab->after);
    slab->told = calloc(SLAB_LINES, sizeof *slab->told);
    slab->notes = has_notes ? malloc(bytes) : NULL;
    return slab->before && slab->after && slab->told && (slab->notes || !has_notes);
}

/* One slab, if it is one, and was not met. -ENOMEM. */
static int slab_read(struct image *image, uint32_t domain, uint64_t address)
{
    const struct layout *l = &image->layout;
    unsigned char header[LAYOUT_READ_BYTES];
    if (address % l->slab_bytes != 0 || image->slab_count == SLABS_MOST ||
        image_slab(image, address) ||
        !remote_read(image->remote, address, header, l->slab_header_bytes) ||
        !is_slab_of(image, header, &image->domains[domain]))
        return 0;
    struct slab_image slab = {
        .address = address,
        .domain = domain,
        .number = half_at(header, l->slab_number),
        .first_line = (uint32_t)(l->slab_header_bytes / l->line_bytes),
        .end_line = (uint32_t)(half_at(header, l->slab_fresh_bytes) / l->line_bytes),
        .is_ctx = half_at(header, l->slab_class) == l->class_ctx,
    };
    bool has_room = table_grow(image) && reserve((void **)&image->slabs, image->slab_count,
                                                 &image->slab_room, sizeof slab);
    bool has_memory =
        has_room && slab_allocate(image, &slab, slab.is_ctx && word_at(header, l->slab_notes));
    if (!has_memory || !slab_fill(image, header, &slab)) {
        slab_free(&slab);
        return has_memory ? 0 : no_memory(image->remote);
    }
    image->slabs[image->slab_count] = slab;
    enter(image, image->slab_count++);
    return 0;
}

static int shelf_read(struct image *image, uint32_t domain, const unsigned char *shelf)
{
    const struct layout *l = &image->layout;
    int err = 0;
    for (uint64_t i = 0; !err && i < l->places; i++) {
        uint64_t item =
            word_at(shelf, l->shelf_places + i * l->shelf_place_bytes + l->shelf_place_item);
        if (item && !(item & l->place_vacant))
            err = slab_read(image, domain, item);
    }
    return err;
}

static int slabs_read(struct image *image, uint32_t domain)
{
    const struct layout *l = &image->layout;
    uint64_t address = image->domains[domain].first_shelf;
    struct chain chain = {0};
    int err = 0;
    unsigned char *shelf = malloc(LAYOUT_READ_BYTES);
    if (!shelf)
        return no_memory(image->remote);
    while (!err && chain_goes_on(&chain, address) &&
           remote_read(image->remote, address, shelf, l->shelf_bytes)) {
        err = shelf_read(image, domain, shelf);
        address = word_at(shelf, l->shelf_next);
    }
    free(shelf);
    return err;
}

/* --------------------------------------------------------------- and once more */

/* Step 4. What is gone by now has no life. */
static void read_lives(const struct image *image, struct slab_image *slab, unsigned char *bytes)
{
    const struct layout *l = &image->layout;
    struct slab_image again = *slab;
    unsigned char header[LAYOUT_READ_BYTES];
    if (!remote_read(image->remote, slab->address, header, l->slab_header_bytes) ||
        word_at(header, l->slab_domain_id) != word_at(slab->objects, l->slab_domain_id) ||
        half_at(header, l->slab_number) != slab->number)
        return;
    again.notes = bytes;
    if (notes_read(image, word_at(header, l->slab_notes), &again))
        lives_of(image, &again, slab->after);
}

/* Of a context without a note the two words that vouch for it: after[line] is 1 where they hold. */
static void compare_lines(const struct image *image, struct slab_image *slab, unsigned char *bytes)
{
    const struct layout *l = &image->layout;
    if (!remote_read(image->remote, slab->address, bytes, slab->end_line * l->line_bytes) ||
        word_at(bytes, l->slab_domain_id) != word_at(slab->objects, l->slab_domain_id))
        return;
    for (uint32_t line = slab->first_line; line < slab->end_line; line++) {
        const unsigned char *one = line_of(image, slab, line),
                            *other = bytes + line * l->line_bytes;
        slab->after[line] = word_at(one, l->ctx_slot) == word_at(other, l->ctx_slot) &&
                            word_at(one, l->ctx_parent) == word_at(other, l->ctx_parent);
    }
}

static int look_again(struct image *image)
{
    unsigned char *bytes = malloc(image->layout.slab_bytes + LAYOUT_READ_BYTES);
    if (!bytes)
        return no_memory(image->remote);
    for (size_t i = 0; i < image->slab_count; i++) {
        struct slab_image *slab = &image->slabs[i];
        if (slab->is_ctx && slab->notes)
            read_lives(image, slab, bytes);
        else if (slab->is_ctx)
            compare_lines(image, slab, bytes);
    }
    free(bytes);
    return 0;
}

bool image_refresh(const struct image *image, struct slab_image *slab, uint32_t line)
{
    const struct layout *l = &image->layout;
    uint64_t at = line * l->line_bytes, notes = word_at(slab->objects, l->slab_notes);
    uint64_t life = word_at(slab->notes + at, l->note_life);
    unsigned char ctx[LINE_BYTES],
        note[LINE_BYTES + 8] = {0}; /* an offset may be of its last byte */
    if (!remote_read(image->remote, slab->address + at, ctx, LINE_BYTES) ||
        !remote_read(image->remote, notes + at, note, LINE_BYTES) ||
        word_at(note, l->note_life) != life)
        return false;
    memcpy(slab->objects + at, ctx, LINE_BYTES);
    memcpy(slab->notes + at, note, LINE_BYTES);
    return true;
}

/* ------------------------------------------------------------------------- all */

static int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int image_read_domains(struct image *image, struct remote *remote)
{
    *image = (struct image){.remote = remote};
    int err = layout_find(remote, &image->layout);
    if (!err)
        err = domains_read(image);
    image->now_ns = clock_ns();
    return err;
}

/* A process that ended, or began another program, has left its last moments half told. */
static int still_holds(struct image *image)
{
    int err = remote_is_there(image->remote);
    if (err || layout_holds(image->remote, &image->layout))
        return err;
    return remote_fails(image->remote, -ESRCH, "process %d has become another program",
                        (int)image->remote->pid);
}

int image_read(struct image *image, struct remote *remote)
{
    int err = image_read_domains(image, remote);
    for (size_t i = 0; !err && i < image->domain_count; i++)
        err = slabs_read(image, (uint32_t)i);
    if (!err)
        err = look_again(image);
    image->now_ns = clock_ns();
    return err ? err : still_holds(image);
}

void image_free(struct image *image)
{
    for (size_t i = 0; i < image->slab_count; i++)
        slab_free(&image->slabs[i]);
    free(image->slabs);
    free(image->domains);
    free(image->found);
}
