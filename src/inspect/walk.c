/*
 * walk.c - all contexts with notes, some at a time. A walk goes by the numbers of slabs
 * (memory/notes.h) and in each line by line: where a context lies does not change while it
 * lives, so what lives throughout is met once. It holds a read section for one slab at
 * most, and keeps no pointer between calls that is followed.
 */
#include <errno.h>
#include <string.h>

#include "inspect/look.h"

/* What canopy_place has. */
enum { PLACE_NUMBER, PLACE_LINE, PLACE_INSIDE, PLACE_INSIDE_ID };

#define FIRST_LINE (SLAB_HEADER_BYTES / CACHE_LINE)
#define END_LINE   (SLAB_ALLOCATED_BYTES / CACHE_LINE)

/* What is filled, and how far it is from one to the next. */
struct room {
    char *next;
    size_t bytes;
    size_t left;
};

static void room_fill(struct room *room, const canopy_info *info)
{
    memset(room->next, 0, room->bytes);
    memcpy(room->next, info, sizeof *info);
    room->next += room->bytes;
    room->left--;
}

/* On through one slab while there is room: the line to go on at. In a read section. */
static unsigned walk_slab(const struct slab *slab, unsigned line, struct wanted *wanted,
                          struct room *room)
{
    int64_t now_ns = wanted->older_than_ns > 0 ? look_now_ns(slab->domain) : 0;
    for (; line < END_LINE && room->left > 0; line++) {
        struct seen seen;
        canopy_info info;
        if (look_begin(&seen, slab, line) && look_is_wanted(&seen, wanted, now_ns) &&
            look_at(&seen, &info))
            room_fill(room, &info);
    }
    return line;
}

/* A place is in the caller's hands: whatever is there is a line, or the end. */
static unsigned line_at(uint64_t place)
{
    if (place >= END_LINE)
        return END_LINE;
    return place < FIRST_LINE ? FIRST_LINE : (unsigned)place;
}

/* One slab, or what is left of it: false where there is no next one. */
static bool walk_on(canopy_walk *walk, struct wanted *wanted, struct room *room)
{
    uint64_t *place = walk->canopy_place;
    if (place[PLACE_NUMBER] >= notes_numbers())
        return false;
    unsigned line = line_at(place[PLACE_LINE]);
    rcu_read_begin();
    const struct slab *slab = notes_slab((uint32_t)place[PLACE_NUMBER]);
    line = slab ? walk_slab(slab, line, wanted, room) : END_LINE;
    rcu_read_end();
    place[PLACE_LINE] = line;
    if (line >= END_LINE) {
        place[PLACE_NUMBER]++;
        place[PLACE_LINE] = 0;
    }
    return true;
}

int canopy_walk_next(canopy_walk *walk, canopy_info infos[], size_t n)
{
    if (!walk || !infos || n == 0 || !info_bytes_are_known(walk->info_bytes))
        return -EINVAL;
    uint64_t *place = walk->canopy_place;
    struct wanted wanted = {.top = walk->top,
                            .inside = (const struct canopy_ctx *)place[PLACE_INSIDE],
                            .inside_id = place[PLACE_INSIDE_ID],
                            .older_than_ns = walk->older_than_ns,
                            .live_only = walk->live_only};
    if (n > INT_MAX)
        n = INT_MAX;
    struct room room = {(char *)infos, walk->info_bytes, n};
    while (room.left > 0 && walk_on(walk, &wanted, &room))
        continue;
    place[PLACE_INSIDE] = (uint64_t)(uintptr_t)wanted.inside;
    place[PLACE_INSIDE_ID] = wanted.inside_id;
    return (int)(n - room.left);
}
