/*
 * names.h - places in another process's code as people know them, from the symbols of its files.
 */
#ifndef CANOPY_TOOL_NAMES_H
#define CANOPY_TOOL_NAMES_H

#include "remote.h"

#define NAME_BYTES 512

struct names;

/* NULL: no memory. */
struct names *names_open(const struct remote *remote);
void names_close(struct names *names);

/* "function+0x12", or "file+0x1234", or the number; printable. */
void names_of(struct names *names, uint64_t address, char to[NAME_BYTES]);

#endif
