/*
 * told.c - what an image tells of contexts; see told.h. It follows inspect/look.c, from
 * outside: each address is looked up among the slabs that were read, or leads nowhere.
 */
#include "told.h"

#include <errno.h>
#include <stdlib.h>

#define LEVELS 1000

/* More slots than that are a list of nobody's. */
#define SLOTS_MOST (UINT64_C(1) << 26)

/* Where a context is. */
struct seat {
    struct slab_image *slab; /* NULL: nowhere */
    uint32_t line;
};

static const struct seat nowhere = {NULL, 0};

static const struct layout *layout_of(const struct all_told *all)
{
    return &all->image->layout;
}

static struct seat seat_of(const struct all_told *all, const struct told *told)
{
    return (struct seat){&all->image->slabs[told->slab], told->line};
}

/* The line at an address, if contexts are there. */
static struct seat seat_at(const struct all_told *all, uint64_t address)
{
    const struct layout *l = layout_of(all);
    struct slab_image *slab = image_slab(all->image, address);
    uint64_t offset = slab ? address - slab->address : 0;
    if (!slab || !slab->is_ctx || offset % l->line_bytes != 0)
        return nowhere;
    uint32_t line = (uint32_t)(offset / l->line_bytes);
    return line >= slab->first_line && line < slab->end_line ? (struct seat){slab, line} : nowhere;
}

static uint64_t address_of(const struct all_told *all, struct seat seat)
{
    return seat.slab->address + seat.line * layout_of(all)->line_bytes;
}

static uint64_t ctx_word(const struct all_told *all, struct seat seat, uint64_t offset)
{
    return word_at(line_of(all->image, seat.slab, seat.line), offset);
}

static uint64_t note_word(const struct all_told *all, struct seat seat, uint64_t offset)
{
    return word_at(note_of(all->image, seat.slab, seat.line), offset);
}

static uint32_t note_half(const struct all_told *all, struct seat seat, uint64_t offset)
{
    return half_at(note_of(all->image, seat.slab, seat.line), offset);
}

/* -------------------------------------------------------------------- who is there */

static uint64_t parent_word(const struct all_told *all, struct seat seat)
{
    const struct layout *l = layout_of(all);
    return seat.slab->notes ? note_word(all, seat, l->note_parent)
                            : ctx_word(all, seat, l->ctx_parent);
}

static uint64_t kind_in(const struct all_told *all, uint64_t parent)
{
    return parent & layout_of(all)->parent_kind_mask;
}

/* With a note: it was the same life before and after its words were read. */
static bool held_still(const struct all_told *all, struct seat seat)
{
    uint64_t life = note_word(all, seat, layout_of(all)->note_life);
    return (life & 1) && seat.slab->before[seat.line] == life;
}

/* Without: its slot, or its domain, has it, and did when all had been read. */
static bool is_vouched_for(const struct all_told *all, struct seat seat)
{
    const struct layout *l = layout_of(all);
    uint64_t address = address_of(all, seat), word;
    if (!seat.slab->after[seat.line])
        return false;
    if (address == all->image->domains[seat.slab->domain].root)
        return true;
    return image_word(all->image, ctx_word(all, seat, l->ctx_slot) & ~l->slot_striped, &word) &&
           !(word & l->slot_callback) && (word & ~l->slot_flags) == address;
}

static bool is_there(const struct all_told *all, struct seat seat)
{
    const struct layout *l = layout_of(all);
    if (seat.slab->notes)
        return held_still(all, seat);
    return kind_in(all, parent_word(all, seat)) <= l->kind_detached && is_vouched_for(all, seat);
}

static uint64_t id_with(const struct all_told *all, struct seat seat, uint64_t life)
{
    const struct layout *l = layout_of(all);
    return (life >> 1) << l->id_life_shift | (uint64_t)seat.slab->number << l->id_line_bits |
           seat.line;
}

static uint64_t id_of(const struct all_told *all, struct seat seat)
{
    return seat.slab->notes ? id_with(all, seat, note_word(all, seat, layout_of(all)->note_life))
                            : address_of(all, seat);
}

/* ----------------------------------------------------------------------- above */

static bool comes_before(struct seat a, struct seat b)
{
    return a.slab != b.slab ? a.slab < b.slab : a.line < b.line;
}

static bool lived_on(const struct all_told *all, struct seat seat)
{
    return seat.slab->after[seat.line] == note_word(all, seat, layout_of(all)->note_life);
}

/*
 * The life that a line above a context had while that one lived; 0: there is no telling. What
 * is above lives at least as long, so where the context lived from its own look to the
 * second look at all (lived_on), so did the other one, and any look at that in between was at
 * that life: the first look, if it came later, or the second. Where the context has gone
 * since, the one above it must have been seen twice, or have been made before.
 */
static uint64_t life_above(const struct all_told *all, struct seat ctx, struct seat above)
{
    const struct layout *l = layout_of(all);
    uint64_t first = above.slab->before[above.line], second = above.slab->after[above.line];
    if (first == second)
        return first;
    bool was_read_before = comes_before(above, ctx);
    if (lived_on(all, ctx))
        return was_read_before ? second : first;
    bool is_older = held_still(all, above) && (int64_t)note_word(all, above, l->note_made_ns) <=
                                                  (int64_t)note_word(all, ctx, l->note_made_ns);
    return !was_read_before && is_older ? first : 0;
}

/* Whether what was read of a line above is of that life. */
static bool is_known_above(const struct all_told *all, struct seat ctx, struct seat above)
{
    if (!above.slab->notes)
        return true;
    uint64_t life = life_above(all, ctx, above);
    return (life & 1) && life == note_word(all, above, layout_of(all)->note_life) &&
           held_still(all, above);
}

/* What an address says to be above, where one was read there. Notes go by notes. */
static struct seat seat_above(const struct all_told *all, struct seat seat, uint64_t word)
{
    const struct layout *l = layout_of(all);
    struct seat above = seat_at(all, word & ~l->parent_flags);
    if (above.slab && !seat.slab->notes &&
        kind_in(all, ctx_word(all, above, l->ctx_parent)) == l->kind_input)
        above = seat_at(all, ctx_word(all, above, l->ctx_parent) & ~l->parent_flags);
    return above.slab && !above.slab->notes == !seat.slab->notes ? above : nowhere;
}

static struct seat parent_of(const struct all_told *all, struct seat seat)
{
    return seat_above(all, seat, parent_word(all, seat));
}

/* ----------------------------------------------------------------------- state */

static bool is_live(const struct all_told *all, uint64_t state)
{
    return state <= layout_of(all)->state_waited;
}

static uint64_t state_of(const struct all_told *all, struct seat seat)
{
    const struct layout *l = layout_of(all);
    uint64_t state = ctx_word(all, seat, l->ctx_state);
    if ((state & l->state_kind_mask) != l->state_forward)
        return state;
    struct seat scope = seat_at(all, state & ~l->state_bits);
    state = scope.slab ? ctx_word(all, scope, l->ctx_state) : 0;
    return (state & l->state_kind_mask) == l->state_forward ? 0 : state;
}

/* Without its bit that the walk below it is through. */
static uint64_t end_of(const struct all_told *all, struct seat seat)
{
    uint64_t state = state_of(all, seat);
    return is_live(all, state) ? 0 : state & ~layout_of(all)->state_swept;
}

static bool has_ended_itself(const struct all_told *all, struct seat seat)
{
    return seat.slab->notes && note_half(all, seat, layout_of(all)->note_ended_tid) != 0;
}

/* The next one up that has a state of its own, from which an end could have come. */
static struct seat scope_above(const struct all_told *all, struct seat ctx, struct seat seat)
{
    const struct layout *l = layout_of(all);
    uint64_t word = parent_word(all, seat);
    if (seat.slab->notes && kind_in(all, word) == l->kind_merged && !has_ended_itself(all, seat) &&
        note_word(all, seat, l->note_ended_at))
        word = note_word(all, seat, l->note_ended_at); /* the input that ended it */
    struct seat above = seat_above(all, seat, word);
    for (unsigned level = 0; above.slab && level < LEVELS; level++) {
        if (!is_known_above(all, ctx, above))
            return nowhere;
        if (kind_in(all, parent_word(all, above)) != l->kind_value)
            return above;
        above = parent_of(all, above);
    }
    return nowhere;
}

/* Whether one above ended in that way; it may have been read before it did. */
static bool ended_so(const struct all_told *all, struct seat above, uint64_t end)
{
    uint64_t seen = end_of(all, above);
    if (seen == 0 && above.slab->notes && image_refresh(all->image, above.slab, above.line))
        seen = end_of(all, above);
    return seen == end;
}

/* Who ended it: the nearest one up with an end of its own, or the topmost that ended so. */
static struct seat ender(const struct all_told *all, struct seat ctx, uint64_t end)
{
    bool is_value = kind_in(all, parent_word(all, ctx)) == layout_of(all)->kind_value;
    struct seat seat = is_value ? scope_above(all, ctx, ctx) : ctx;
    for (unsigned level = 0; seat.slab && level < LEVELS && !has_ended_itself(all, seat); level++) {
        struct seat above = scope_above(all, ctx, seat);
        if (!above.slab || !ended_so(all, above, end))
            break;
        seat = above;
    }
    return seat;
}

static int64_t deadline_of(const struct all_told *all, struct seat ctx)
{
    const struct layout *l = layout_of(all);
    int64_t least_ns = CANOPY_NEVER;
    struct seat seat = ctx;
    for (unsigned level = 0; seat.slab && level < LEVELS; level++) {
        uint64_t word = parent_word(all, seat);
        if (kind_in(all, word) == l->kind_detached || !is_known_above(all, ctx, seat))
            break;
        int64_t own_ns = (int64_t)ctx_word(all, seat, l->ctx_deadline);
        own_ns = own_ns < 0 ? ~own_ns : own_ns;
        if (kind_in(all, word) != l->kind_value && own_ns < least_ns)
            least_ns = own_ns;
        seat = seat_above(all, seat, word);
    }
    return least_ns;
}

/* ------------------------------------------------------------------ what hangs */

/* A row's slots, and behind them the link: false where that was not read. */
static bool count_row(const struct all_told *all, uint64_t row, uint64_t slots, canopy_info *info,
                      uint64_t *link)
{
    uint64_t word;
    for (uint64_t i = 0; i < slots; i++) {
        if (!image_word(all->image, row + 8 * i, &word))
            return false;
        if (word & layout_of(all)->slot_callback)
            info->callbacks++;
        else
            info->children += word != 0;
    }
    return image_word(all->image, row + 8 * slots, link);
}

static void count_list(const struct all_told *all, struct seat seat, canopy_info *info)
{
    const struct layout *l = layout_of(all);
    struct chain chain = {0};
    uint64_t link;
    bool goes_on = count_row(all, address_of(all, seat) + l->ctx_slot0, 1, info, &link);
    while (goes_on) {
        uint64_t row = link & ~l->slot_flags;
        uint64_t slots = row % l->line_bytes == l->line_bytes / 2 ? l->block_slots : l->line_slots;
        goes_on = (link & l->slot_end) && chain_goes_on(&chain, row) &&
                  info->children < SLOTS_MOST && count_row(all, row, slots, info, &link);
    }
}

static void fill_hangers(const struct all_told *all, struct seat seat, canopy_info *info)
{
    const struct layout *l = layout_of(all);
    uint64_t aux = ctx_word(all, seat, l->ctx_aux), fd;
    if (ctx_word(all, seat, l->ctx_slot0) || ctx_word(all, seat, l->ctx_link) != l->slot_end)
        count_list(all, seat, info);
    if (info->kind != CANOPY_KIND_VALUE && (aux & l->aux_extension))
        info->has_fd =
            image_word(all->image, (aux & ~l->aux_extension) + l->extension_fd, &fd) && fd != 0;
}

/* ------------------------------------------------------------------------ info */

static canopy_kind kind_told(const struct all_told *all, uint64_t kind)
{
    const struct layout *l = layout_of(all);
    return kind == l->kind_root       ? CANOPY_KIND_ROOT
           : kind == l->kind_merged   ? CANOPY_KIND_ANY
           : kind == l->kind_value    ? CANOPY_KIND_VALUE
           : kind == l->kind_detached ? CANOPY_KIND_WITHOUT_CANCEL
                                      : CANOPY_KIND_CANCEL;
}

/* A group's lies beside its context, and goes with it: read anew, while that is there. */
static canopy_cause cause_of(struct all_told *all, struct seat seat, uint64_t address)
{
    if (!image_slab(all->image, address))
        return texts_cause(&all->texts, address);
    canopy_cause cause = texts_cause_anew(&all->texts, address);
    if (seat.slab->notes && !image_refresh(all->image, seat.slab, seat.line))
        cause = (canopy_cause){0};
    return cause;
}

static void fill_end(struct all_told *all, struct seat seat, uint64_t end, canopy_info *info)
{
    const struct layout *l = layout_of(all);
    info->err = (end & l->state_kind_mask) == l->state_timedout ? -ETIMEDOUT : -ECANCELED;
    info->cause = cause_of(all, seat, end & ~l->state_bits);
    struct seat by = ender(all, seat, end);
    if (!by.slab)
        return;
    info->ended_by = id_of(all, by);
    if (!has_ended_itself(all, by))
        return;
    info->ended_tid = (int32_t)note_half(all, by, l->note_ended_tid);
    info->ended_ns = (int64_t)note_word(all, by, l->note_ended_ns);
    info->ended_at = (const void *)(uintptr_t)note_word(all, by, l->note_ended_at);
}

static void fill_note(struct all_told *all, struct seat seat, canopy_info *info)
{
    const struct layout *l = layout_of(all);
    info->name = texts_name(&all->texts, note_word(all, seat, l->note_name));
    info->made_at = (const void *)(uintptr_t)note_word(all, seat, l->note_made_at);
    info->made_ns = (int64_t)note_word(all, seat, l->note_made_ns);
    info->made_tid = (int32_t)note_half(all, seat, l->note_made_tid);
}

void told_fill(struct all_told *all, const struct told *told, canopy_info *info)
{
    const struct layout *l = layout_of(all);
    struct seat seat = seat_of(all, told);
    struct seat parent = parent_of(all, seat);
    uint64_t end = end_of(all, seat);
    *info = (canopy_info){.id = told->id};
    if (parent.slab)
        info->parent_id = parent.slab->notes ? id_with(all, parent, life_above(all, seat, parent))
                                             : address_of(all, parent);
    info->kind = kind_told(all, kind_in(all, parent_word(all, seat)));
    info->handles = (uint32_t)(ctx_word(all, seat, l->ctx_refs) / l->refs_handle);
    info->deadline_ns = deadline_of(all, seat);
    info->is_waited = state_of(all, seat) == l->state_waited;
    if (seat.slab->notes)
        fill_note(all, seat, info);
    fill_hangers(all, seat, info);
    if (end)
        fill_end(all, seat, end, info);
}

bool told_has_note(const struct all_told *all, const struct told *told)
{
    return all->image->slabs[told->slab].notes != NULL;
}

int64_t told_now_ns(const struct all_told *all, const struct told *told)
{
    const struct domain_image *domain = &all->image->domains[all->image->slabs[told->slab].domain];
    return domain->host_clock ? domain->now_ns : all->image->now_ns;
}

/* ---------------------------------------------------------------------- gather */

/* Whose parent cannot be told for certain has come and gone while all was read. */
static bool has_certain_parent(const struct all_told *all, struct seat seat)
{
    struct seat parent = parent_of(all, seat);
    return !parent.slab || !parent.slab->notes || life_above(all, seat, parent) != 0;
}

static bool tell(struct all_told *all, uint32_t slab, uint32_t line)
{
    if (all->count == all->room) {
        size_t room = all->room ? 2 * all->room : 1024;
        struct told *list = realloc(all->list, room * sizeof *list);
        if (!list)
            return false;
        all->list = list;
        all->room = room;
    }
    struct told *told = &all->list[all->count++];
    *told = (struct told){.slab = slab, .line = line};
    told->id = id_of(all, seat_of(all, told));
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    const struct told *left = a, *right = b;
    if (left->id != right->id)
        return left->id < right->id ? -1 : 1;
    return left->slab != right->slab ? (left->slab > right->slab) - (left->slab < right->slab)
                                     : (left->line > right->line) - (left->line < right->line);
}

/* A core does not say when it was left: not before the last thing that is written down in it. */
static int64_t newest_ns(const struct all_told *all)
{
    const struct layout *l = layout_of(all);
    int64_t newest_ns = 0;
    for (size_t i = 0; i < all->count; i++) {
        struct seat seat = seat_of(all, &all->list[i]);
        if (!seat.slab->notes)
            continue;
        int64_t made_ns = (int64_t)note_word(all, seat, l->note_made_ns);
        int64_t ended_ns =
            has_ended_itself(all, seat) ? (int64_t)note_word(all, seat, l->note_ended_ns) : 0;
        made_ns = made_ns > ended_ns ? made_ns : ended_ns;
        newest_ns = made_ns > newest_ns ? made_ns : newest_ns;
    }
    return newest_ns;
}

int told_gather(struct all_told *all, struct image *image)
{
    *all = (struct all_told){.image = image, .texts = {image->remote, &image->layout, NULL, NULL}};
    for (uint32_t i = 0; i < image->slab_count; i++) {
        struct slab_image *slab = &image->slabs[i];
        for (uint32_t line = slab->first_line; slab->is_ctx && line < slab->end_line; line++) {
            struct seat seat = {slab, line};
            if (is_there(all, seat) && has_certain_parent(all, seat) && !tell(all, i, line))
                return remote_fails(image->remote, -ENOMEM, "no memory");
        }
    }
    if (image->remote->core)
        image->now_ns = newest_ns(all);
    if (all->count > 0)
        qsort(all->list, all->count, sizeof *all->list, compare_ids);
    for (size_t i = 0; i < all->count; i++)
        image->slabs[all->list[i].slab].told[all->list[i].line] = (uint32_t)i + 1;
    return 0;
}

void told_free(struct all_told *all)
{
    texts_free(&all->texts);
    free(all->list);
}

/* The one above, if it is told, in the life that it was the parent in. */
static uint32_t parent_told(const struct all_told *all, const struct told *told)
{
    struct seat seat = seat_of(all, told);
    struct seat parent = parent_of(all, seat);
    if (!parent.slab || !is_known_above(all, seat, parent))
        return 0;
    uint32_t index = parent.slab->told[parent.line];
    return index && &all->list[index - 1] != told ? index : 0;
}

/* Where memory is broken a way up may come back to where it was: there it ends. */
static void cut_rings(struct all_told *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        struct told *told = &all->list[i];
        while (!told->mark) {
            told->mark = i + 1;
            if (!told->parent)
                break;
            struct told *parent = &all->list[told->parent - 1];
            if (parent->mark == i + 1)
                told->parent = 0;
            told = parent;
        }
    }
}

void told_link(struct all_told *all)
{
    for (size_t i = 0; i < all->count; i++)
        all->list[i].parent = parent_told(all, &all->list[i]);
    cut_rings(all);
    for (size_t i = all->count; i-- > 0;) {
        struct told *told = &all->list[i];
        if (!told->parent)
            continue;
        struct told *parent = &all->list[told->parent - 1];
        told->next_sibling = parent->first_child;
        parent->first_child = (uint32_t)i + 1;
    }
}

const struct told *told_find(const struct all_told *all, uint64_t id)
{
    size_t low = 0, high = all->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (all->list[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < all->count && all->list[low].id == id ? &all->list[low] : NULL;
}
