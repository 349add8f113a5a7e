/*
 * remote.h - the memory of another process, which is neither stopped nor asked, or of one that
 * has left a core. What is read there may change meanwhile, be gone, or make no sense: so each
 * read says whether all of it was there, and nothing that is read is believed for its own sake.
 */
#ifndef CANOPY_REMOTE_H
#define CANOPY_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Longer texts of the process are cut off. */
#define REMOTE_TEXT_BYTES 256

/* A range of addresses, as /proc/N/maps or a core tells it. */
struct mapping {
    uint64_t start, end;
    uint64_t offset;    /* in the file */
    char *path;         /* of the file, as the process has it; NULL: none */
    bool is_executable; /* in a core nothing is known to be */
};

struct core;

struct remote {
    pid_t pid;
    int directory;     /* /proc/N, which stays this process's; -1: a core */
    struct core *core; /* or NULL */
    struct mapping *mappings;
    size_t mapping_count;
    char why[256]; /* the last thing that went wrong, for people */
};

/* 0, or a negative errno with `why` set. remote_close in any case. */
int remote_open_process(struct remote *remote, pid_t pid);
int remote_open_core(struct remote *remote, const char *path);
void remote_close(struct remote *remote);

/* Sets `why`; returns err. */
__attribute__((format(printf, 3, 4))) int remote_fails(struct remote *remote, int err,
                                                       const char *format, ...);

/* All `n` bytes, or false. */
bool remote_read(const struct remote *remote, uint64_t address, void *to, size_t n);

/* The text at an address, cut off at REMOTE_TEXT_BYTES; false: there is none. */
bool remote_text(const struct remote *remote, uint64_t address, char to[REMOTE_TEXT_BYTES + 1]);

/* It still is the process that was opened, and lives. 0, or a negative errno with `why` set. */
int remote_is_there(struct remote *remote);

/* The mapping around an address; NULL: none of those that there were as it was opened. */
const struct mapping *remote_mapping(const struct remote *remote, uint64_t address);

/* The file of a mapping, also where it was replaced or lies in another container; -1: none. */
int remote_open_file(const struct remote *remote, const struct mapping *mapping);

/* For who makes a list of them: false, no memory. Takes `path` over. */
bool remote_add_mapping(struct remote *remote, const struct mapping *mapping);

/*
 * A list of another process's, from one to the next, which may have been made a ring
 * meanwhile: true as long as it is no ring (Brent's algorithm), and no longer than can be.
 */
struct chain {
    uint64_t mark, steps, turn;
};
bool chain_goes_on(struct chain *chain, uint64_t address);

#endif
