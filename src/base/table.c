/*
 * table.c - a hash table from numbers to addresses; see table.h.
 */
#include "base/table.h"

#include <string.h>

#define ENTRIES_LEAST 8

void table_put(struct table *table, uint64_t key, void *value)
{
    struct table_entry *entry = table_at(table, key);
    table->keys += entry->key == 0;
    table->values += entry->value == NULL;
    *entry = (struct table_entry){key, value};
}

void table_erase(struct table *table, uint64_t key)
{
    table_at(table, key)->value = NULL;
    table->values--;
}

size_t table_bytes(uint32_t values)
{
    size_t entries = ENTRIES_LEAST;
    while (entries < 2 * ((size_t)values + 1))
        entries *= 2;
    return sizeof(struct table) + entries * sizeof(struct table_entry);
}

void table_init(struct table *table, size_t bytes)
{
    memset(table, 0, bytes);
    size_t entries = (bytes - sizeof *table) / sizeof table->entries[0];
    table->mask = (uint32_t)entries - 1;
    table->shift = 64 - (uint32_t)__builtin_ctzll(entries);
}

void table_copy(struct table *to, const struct table *from)
{
    for (uint32_t i = 0; from && i <= from->mask; i++)
        if (from->entries[i].value)
            table_put(to, from->entries[i].key, from->entries[i].value);
}
