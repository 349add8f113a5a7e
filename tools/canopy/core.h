/*
 * core.h - the memory of a process that has left a core file.
 */
#ifndef CANOPY_CORE_H
#define CANOPY_CORE_H

#include "remote.h"

/* Its segments, and the files that were mapped, as mappings. 0, or a negative errno, with `why`. */
int core_open(struct remote *remote, const char *path);
void core_close(struct remote *remote);

/*
 * Whether a file is the one that was mapped there, and none that has taken its place: it has to
 * begin as the core remembers it.
 */
bool core_is_of_file(const struct remote *remote, const struct mapping *mapping, int fd);

/* 0, unless the core was cut off: so what was read of it may not be all. Then `why` is set. */
int core_is_whole(struct remote *remote);

bool core_read(const struct remote *remote, uint64_t address, void *to, size_t n);

#endif
