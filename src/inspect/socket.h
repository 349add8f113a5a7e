/*
 * socket.h - the file at which a listener is found.
 */
#ifndef CANOPY_SOCKET_H
#define CANOPY_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

/* A socket in the file system: which one it is, and where, wherever the process goes. */
struct socket_file {
    char *path;
    dev_t device;
    ino_t inode;
};

/*
 * Gives the socket `fd` a place at `path`, where it then listens; a socket on which nobody
 * answers is replaced. 0, or a negative errno, and nothing is there that was not.
 */
int socket_file_make(struct socket_file *file, int fd, const char *path);

/* Forgets it; if `is_own`, removes it where it is still the same. */
void socket_file_end(struct socket_file *file, bool is_own);

#endif
