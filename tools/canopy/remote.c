/*
 * remote.c - the memory of another process; see remote.h.
 */
#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core.h"

#define PAGE_BYTES UINT64_C(4096) /* or a part of one */

int remote_fails(struct remote *remote, int err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(remote->why, sizeof remote->why, format, arguments);
    va_end(arguments);
    return err;
}

/* --------------------------------------------------------------------- mappings */

bool remote_add_mapping(struct remote *remote, const struct mapping *mapping)
{
    size_t n = remote->mapping_count;
    if ((n & (n - 1)) == 0) { /* full at each power of two */
        struct mapping *more = realloc(remote->mappings, (n ? 2 * n : 1) * sizeof *more);
        if (!more) {
            free(mapping->path);
            return false;
        }
        remote->mappings = more;
    }
    remote->mappings[remote->mapping_count++] = *mapping;
    return true;
}

/* One line of /proc/N/maps. False: no memory. */
static bool add_line(struct remote *remote, const char *line)
{
    struct mapping mapping = {0};
    char mode[5] = "";
    int path_at = 0;
    int fields = sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %*s %n", &mapping.start,
                        &mapping.end, mode, &mapping.offset, &path_at);
    if (fields < 4 || path_at == 0)
        return true;
    mapping.is_executable = mode[2] == 'x';
    if (line[path_at] == '/') {
        mapping.path = strndup(line + path_at, strcspn(line + path_at, "\n"));
        if (!mapping.path)
            return false;
    }
    return remote_add_mapping(remote, &mapping);
}

static int read_maps(struct remote *remote)
{
    int fd = openat(remote->directory, "maps", O_RDONLY | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    if (!file) {
        int err = -errno;
        if (fd >= 0)
            close(fd);
        return err;
    }
    char *line = NULL;
    size_t bytes = 0;
    int err = 0;
    while (!err && getline(&line, &bytes, file) > 0)
        err = add_line(remote, line) ? 0 : -ENOMEM;
    if (!err && ferror(file))
        err = -EIO;
    free(line);
    fclose(file);
    return err;
}

const struct mapping *remote_mapping(const struct remote *remote, uint64_t address)
{
    size_t low = 0, high = remote->mapping_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (remote->mappings[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < remote->mapping_count && remote->mappings[low].start <= address
               ? &remote->mappings[low]
               : NULL;
}

/* A file, and no pipe that somebody else holds the other end of. */
static int open_regular(int directory, const char *path)
{
    struct stat status;
    int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* As the process has it mapped; where that takes more rights than we have, by its name there. */
int remote_open_file(const struct remote *remote, const struct mapping *mapping)
{
    char path[PATH_MAX + 8];
    int fd;
    if (!mapping->path)
        return -1;
    if (remote->core) {
        fd = open_regular(AT_FDCWD, mapping->path);
        if (fd >= 0 && core_is_of_file(remote, mapping, fd))
            return fd;
        if (fd >= 0)
            close(fd);
        return -1;
    }
    snprintf(path, sizeof path, "map_files/%" PRIx64 "-%" PRIx64, mapping->start, mapping->end);
    fd = open_regular(remote->directory, path);
    if (fd >= 0)
        return fd;
    snprintf(path, sizeof path, "root%s", mapping->path);
    return open_regular(remote->directory, path);
}

/* ------------------------------------------------------------------------- open */

/* What stands in /proc/N/stat for its state, 0: nothing. */
static char state_of(const struct remote *remote)
{
    char text[512];
    int fd = openat(remote->directory, "stat", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    const char *name_end = strrchr(text, ')'); /* its name may hold anything */
    if (!name_end || name_end[1] != ' ')
        return 0;
    return name_end[2];
}

int remote_is_there(struct remote *remote)
{
    if (remote->core)
        return 0;
    char state = state_of(remote);
    if (state && state != 'Z' && state != 'X')
        return 0;
    return remote_fails(remote, -ESRCH, "process %d has ended", (int)remote->pid);
}

static int why_not(struct remote *remote, int err)
{
    int pid = (int)remote->pid;
    if (err == -EACCES || err == -EPERM)
        return remote_fails(remote, -EPERM,
                            "no permission to read process %d: it takes its user, and "
                            "kernel.yama.ptrace_scope 0; or CAP_SYS_PTRACE, as root has it",
                            pid);
    if (err == -ESRCH || err == -ENOENT)
        return remote_fails(remote, -ESRCH, "there is no process %d", pid);
    return remote_fails(remote, err, "process %d: %s", pid, strerror(-err));
}

/* Whether its memory may be read, by the first of it. */
static int try_to_read(struct remote *remote)
{
    char byte;
    struct iovec to = {&byte, 1};
    struct iovec from = {(void *)(uintptr_t)remote->mappings[0].start, 1};
    if (process_vm_readv(remote->pid, &to, 1, &from, 1, 0) >= 0 || errno == EFAULT)
        return 0;
    return why_not(remote, -errno);
}

int remote_open_process(struct remote *remote, pid_t pid)
{
    char path[32];
    *remote = (struct remote){.pid = pid, .directory = -1};
    if (pid <= 0)
        return remote_fails(remote, -EINVAL, "%d is no process", (int)pid);
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    remote->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (remote->directory < 0)
        return why_not(remote, -errno);
    int err = remote_is_there(remote);
    if (err)
        return err;
    err = read_maps(remote);
    if (err)
        return why_not(remote, err);
    if (remote->mapping_count == 0)
        return remote_fails(remote, -ESRCH, "process %d has no memory: it is the kernel's, or ends",
                            (int)pid);
    return try_to_read(remote);
}

int remote_open_core(struct remote *remote, const char *path)
{
    *remote = (struct remote){.directory = -1};
    return core_open(remote, path);
}

void remote_close(struct remote *remote)
{
    core_close(remote);
    for (size_t i = 0; i < remote->mapping_count; i++)
        free(remote->mappings[i].path);
    free(remote->mappings);
    if (remote->directory >= 0)
        close(remote->directory);
}

/* ------------------------------------------------------------------------- read */

bool remote_read(const struct remote *remote, uint64_t address, void *to, size_t n)
{
    if (remote->core)
        return core_read(remote, address, to, n);
    struct iovec local = {to, n};
    struct iovec there = {(void *)(uintptr_t)address, n};
    return process_vm_readv(remote->pid, &local, 1, &there, 1, 0) == (ssize_t)n;
}

bool remote_text(const struct remote *remote, uint64_t address, char to[REMOTE_TEXT_BYTES + 1])
{
    size_t had = 0;
    while (address && had < REMOTE_TEXT_BYTES) {
        size_t part = (size_t)(PAGE_BYTES - (address + had) % PAGE_BYTES);
        part = part < REMOTE_TEXT_BYTES - had ? part : REMOTE_TEXT_BYTES - had;
        if (!remote_read(remote, address + had, to + had, part))
            break;
        if (memchr(to + had, '\0', part))
            return true;
        had += part;
    }
    to[had] = '\0';
    return had > 0;
}

#define CHAIN_MOST (UINT64_C(1) << 24)

bool chain_goes_on(struct chain *chain, uint64_t address)
{
    if (address == 0 || (chain->steps > 0 && address == chain->mark) || chain->steps == CHAIN_MOST)
        return false;
    if (chain->steps++ == chain->turn) {
        chain->mark = address;
        chain->turn = 2 * chain->turn + 1;
    }
    return true;
}
