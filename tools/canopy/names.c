/*
 * names.c - names of places, by libdw; each file is opened when something in it is asked for.
 */
#include "names.h"

#include <elfutils/libdwfl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What was asked lately: to find a name is dear, and few are asked for again and again. */
#define KNOWN 256

struct known {
    uint64_t address;
    char name[NAME_BYTES];
};

struct names {
    const struct remote *remote;
    Dwfl *dwfl;
    bool *is_reported; /* of each mapping */
    struct known known[KNOWN];
};

/* Files are reported here, never searched for. */
static int find_nothing(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base,
                        char **path, Elf **elf)
{
    (void)module, (void)data, (void)name, (void)base, (void)path, (void)elf;
    return -1;
}

static int find_no_debug(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base,
                         const char *path, const char *link, GElf_Word crc, char **found)
{
    (void)module, (void)data, (void)name, (void)base, (void)path, (void)link, (void)crc;
    (void)found;
    return -1;
}

static const Dwfl_Callbacks callbacks = {.find_elf = find_nothing,
                                         .find_debuginfo = find_no_debug,
                                         .section_address = dwfl_offline_section_address};

struct names *names_open(const struct remote *remote)
{
    struct names *names = calloc(1, sizeof *names);
    if (!names)
        return NULL;
    names->remote = remote;
    names->is_reported = calloc(remote->mapping_count + 1, sizeof *names->is_reported);
    names->dwfl = dwfl_begin(&callbacks);
    if (names->is_reported && names->dwfl)
        return names;
    names_close(names);
    return NULL;
}

void names_close(struct names *names)
{
    if (!names)
        return;
    if (names->dwfl)
        dwfl_end(names->dwfl);
    free(names->is_reported);
    free(names);
}

/* ----------------------------------------------------------------------- files */

/* The first mapping of the file that one is of: there it begins. */
static size_t first_of_file(const struct names *names, size_t i)
{
    const struct mapping *mappings = names->remote->mappings;
    size_t first = i;
    while (first > 0 && mappings[first - 1].path &&
           strcmp(mappings[first - 1].path, mappings[i].path) == 0)
        first--;
    return first;
}

/* The file around an address is made known, once. */
static void report(struct names *names, size_t first)
{
    const struct mapping *mapping = &names->remote->mappings[first];
    if (names->is_reported[first])
        return;
    names->is_reported[first] = true;
    int fd = remote_open_file(names->remote, mapping);
    if (fd < 0)
        return;
    dwfl_report_begin_add(names->dwfl);
    if (!dwfl_report_elf(names->dwfl, mapping->path, mapping->path, fd, mapping->start, false))
        close(fd);
    dwfl_report_end(names->dwfl, NULL, NULL);
}

/* ----------------------------------------------------------------------- names */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void find(struct names *names, uint64_t address, char to[NAME_BYTES])
{
    const struct mapping *mapping = remote_mapping(names->remote, address);
    GElf_Off offset = 0;
    GElf_Sym symbol;
    if (!mapping || !mapping->path) {
        snprintf(to, NAME_BYTES, "0x%" PRIx64, address);
        return;
    }
    size_t first = first_of_file(names, (size_t)(mapping - names->remote->mappings));
    report(names, first);
    Dwfl_Module *module = dwfl_addrmodule(names->dwfl, address);
    const char *name =
        module ? dwfl_module_addrinfo(module, address, &offset, &symbol, NULL, NULL, NULL) : NULL;
    if (name)
        snprintf(to, NAME_BYTES, "%.400s+0x%" PRIx64, name, (uint64_t)offset);
    else
        snprintf(to, NAME_BYTES, "%.400s+0x%" PRIx64, base_name(mapping->path),
                 address - names->remote->mappings[first].start);
}

/* A terminal is to be told nothing by the names in a file. */
static void make_printable(char *name)
{
    for (; *name; name++)
        if (*name < 0x20 || *name > 0x7E)
            *name = '?';
}

void names_of(struct names *names, uint64_t address, char to[NAME_BYTES])
{
    struct known *known = &names->known[address * UINT64_C(0x9E3779B97F4A7C15) >> 56];
    if (known->address != address || !address) {
        find(names, address, known->name);
        make_printable(known->name);
        known->address = address;
    }
    memcpy(to, known->name, NAME_BYTES);
}
