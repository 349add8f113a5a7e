/*
 * table.h - a hash table from numbers to addresses, by open addressing: the heaps of a
 * thread by the domain's id, the stripes of a heap by the parent.
 *
 * One thread puts things in and moves the whole to larger memory. A key stays where it
 * is until then, also when its value is erased. So a look for a key needs no order with
 * who erases another one at the same time: the two touch no word in common.
 */
#ifndef CANOPY_TABLE_H
#define CANOPY_TABLE_H

#include "base/base.h"

struct table_entry {
    uint64_t key; /* 0: free */
    void *value;  /* NULL: erased */
};

struct table {
    uint32_t mask;  /* entries, a power of two, less one */
    uint32_t shift; /* takes as many bits of a hash */
    uint32_t keys;
    uint32_t values;
    struct table_entry entries[];
};

/* The entry of `key`, or the free one that it would take. */
static inline struct table_entry *table_at(struct table *table, uint64_t key)
{
    /* By the golden ratio: what lies or counts at any steady distance is spread. */
    uint64_t at = key * UINT64_C(0x9e3779b97f4a7c15) >> table->shift;
    struct table_entry *entry = &table->entries[at];
    while (entry->key != key && entry->key != 0)
        entry = &table->entries[++at & table->mask];
    return entry;
}

/* What is there under `key`, or NULL; so in a table that was not made yet. */
static inline void *table_find(struct table *table, uint64_t key)
{
    return table ? table_at(table, key)->value : NULL;
}

/* Whether one more key fits; not in a table that was not made yet. */
static inline bool table_has_room(const struct table *table)
{
    return table && table->keys < table->mask - table->mask / 4;
}

/* Under a key that has an entry, or where there is room for one. */
void table_put(struct table *table, uint64_t key, void *value);

/* Under a key that has a value. */
void table_erase(struct table *table, uint64_t key);

/* The bytes of a table for `values` things and as many more; and the making, in such memory. */
size_t table_bytes(uint32_t values);
void table_init(struct table *table, size_t bytes);

/* Puts into a new table what is in another, if there is one. */
void table_copy(struct table *to, const struct table *from);

/* The bytes that a table takes. */
static inline size_t table_size_bytes(const struct table *table)
{
    return sizeof *table + (table->mask + (size_t)1) * sizeof table->entries[0];
}

#endif
