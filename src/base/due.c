/*
 * due.c - a natural merge sort. Runs are merged as they are met, each with one of about
 * its own size, so that what is merged was mostly touched a moment ago.
 */
#include "base/due.h"

static struct due *due_in(void *element, size_t offset)
{
    return (struct due *)(void *)((char *)element + offset);
}

static void *next_of(void *element, size_t offset)
{
    return (void *)word_load_relaxed(&due_in(element, offset)->next);
}

static int64_t due_ns(void *element, size_t offset)
{
    return i64_load_relaxed(&due_in(element, offset)->due_ns);
}

/* Cuts the longest run that begins the list off it. */
static void *cut_run(void **list, size_t offset)
{
    void *run = *list, *last = run, *next;
    while ((next = next_of(last, offset)) != NULL && due_ns(last, offset) <= due_ns(next, offset))
        last = next;
    word_store_relaxed(&due_in(last, offset)->next, 0);
    *list = next;
    return run;
}

/* Of what is due at once the older list's comes first. */
static void *merge(void *older, void *newer, size_t offset)
{
    atomic_word first, *end = &first;
    while (older && newer) {
        void **least = due_ns(newer, offset) < due_ns(older, offset) ? &newer : &older;
        struct due *due = due_in(*least, offset);
        word_store_relaxed(end, (uintptr_t)*least);
        end = &due->next;
        *least = (void *)word_load_relaxed(end);
    }
    word_store_relaxed(end, (uintptr_t)(older ? older : newer));
    return (void *)word_load_relaxed(&first);
}

/* A level `i` holds nothing, or a list of 2^i runs. */
#define LEVELS 64

void *due_sort(void *list, size_t offset)
{
    void *levels[LEVELS] = {NULL}, *sorted = NULL;
    while (list) {
        void *run = cut_run(&list, offset);
        unsigned i = 0;
        for (; levels[i]; i++) {
            run = merge(levels[i], run, offset);
            levels[i] = NULL;
        }
        levels[i] = run;
    }
    for (unsigned i = 0; i < LEVELS; i++)
        if (levels[i])
            sorted = sorted ? merge(levels[i], sorted, offset) : levels[i];
    return sorted;
}
