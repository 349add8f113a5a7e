/*
 * socket.c - a Unix socket gets a place in the file system. It is made with the mode of the
 * socket itself, so that it has no other for a moment, whatever the process's umask is,
 * which is not touched.
 */
#include "inspect/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/base.h"

#define WAITING 16 /* clients that are not served yet; others wait in connect */

/* So long others who make a socket in the same directory are waited for. */
#define LOCK_NS NS_PER_SECOND

/* 0 if a socket is there on which nobody answers, or nothing by now. */
static int is_left_behind(const struct sockaddr_un *address)
{
    struct stat there;
    if (lstat(address->sun_path, &there) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(there.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int err = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
    fd_close(fd);
    return err == ECONNREFUSED || err == ENOENT ? 0 : -EADDRINUSE;
}

static int bind_at(int fd, const struct sockaddr_un *address)
{
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return -errno;
    int err = is_left_behind(address);
    if (err)
        return err;
    if (unlink(address->sun_path) != 0 && errno != ENOENT)
        return -errno;
    return bind(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : -errno;
}

/*
 * Two processes that find the same socket left behind would each remove the other's: so they do
 * it one after the other, by a lock on the directory. Where that cannot be had, or is somebody
 * else's for long, it goes without. What is returned is for directory_unlock.
 */
static int directory_lock(const char *path, size_t bytes)
{
    char directory[sizeof((struct sockaddr_un *)0)->sun_path] = ".";
    while (bytes > 0 && path[bytes - 1] != '/')
        bytes--;
    memcpy(directory, path, bytes);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int64_t until_ns = clock_now_ns() + LOCK_NS;
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
           !time_is_up(until_ns))
        pause_ns(LOCK_NS / 1000);
    return fd;
}

/* Not by its end alone: a fork may have made a copy of the fd. */
static void directory_unlock(int fd)
{
    if (fd < 0)
        return;
    flock(fd, LOCK_UN);
    fd_close(fd);
}

/* Of what has just been made there: what it is, and that its mode is no narrower either. */
static int know(struct socket_file *file, const char *path)
{
    struct stat there;
    if (lstat(path, &there) != 0)
        return -errno;
    file->device = there.st_dev;
    file->inode = there.st_ino;
    if ((there.st_mode & 07777) != 0600 && chmod(path, 0600) != 0)
        return -errno;
    file->path = realpath(path, NULL);
    return file->path ? 0 : -errno;
}

static void unlink_own(const struct socket_file *file, const char *path)
{
    struct stat there;
    if (lstat(path, &there) == 0 && there.st_dev == file->device && there.st_ino == file->inode)
        unlink(path);
}

static int begin(struct socket_file *file, int fd, const char *path)
{
    int err = know(file, path);
    return err || listen(fd, WAITING) == 0 ? err : -errno;
}

int socket_file_make(struct socket_file *file, int fd, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t bytes = strlen(path);
    if (bytes >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, bytes);
    if (fchmod(fd, 0600) != 0)
        return -errno;
    int directory = directory_lock(path, bytes);
    int err = bind_at(fd, &address);
    if (!err) {
        err = begin(file, fd, path);
        if (err) {
            unlink_own(file, path);
            free(file->path);
        }
    }
    directory_unlock(directory);
    return err;
}

void socket_file_end(struct socket_file *file, bool is_own)
{
    if (is_own)
        unlink_own(file, file->path);
    free(file->path);
}
