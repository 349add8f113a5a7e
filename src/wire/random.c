/*
 * random.c - random bytes for ids: the kernel's, a batch at a time for each thread. Ids
 * go to strangers, so there is no generator here whose state they could give away.
 *
 * No byte is given out twice, also where a fork copies what is left of a batch: the
 * child's one thread drops it before anybody else's handler could ask for some.
 */
#include <canopy/wire.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static __thread struct {
    size_t left; /* the first ones of `bytes` */
    unsigned char bytes[CANOPY_RANDOM_BYTES];
} batch __attribute__((tls_model("initial-exec"))); /* so that no call needs memory for it */

static bool forks_are_watched;

static void fork_child(void)
{
    batch.left = 0;
}

/* As early as the library's own: see host/init.c. */
__attribute__((constructor(101))) static void load(void)
{
    forks_are_watched = pthread_atfork(NULL, NULL, fork_child) == 0;
}

/*
 * Not by the C library's getrandom, where a thread may be cancelled. The kernel gives as
 * few bytes as this whole, and is interrupted only before it has any to give, at boot.
 */
static int refill(void)
{
    int saved = errno, err = 0;
    batch.left = 0;
    while (syscall(SYS_getrandom, batch.bytes, sizeof batch.bytes, 0) < 0 && err == 0)
        err = errno == EINTR ? 0 : -errno;
    if (err == 0)
        batch.left = sizeof batch.bytes;
    errno = saved;
    return err;
}

int canopy_random(void *out, size_t bytes)
{
    if (!out || bytes > sizeof batch.bytes)
        return -EINVAL;
    if (bytes > batch.left || !forks_are_watched) {
        int err = refill();
        if (err)
            return err;
    }
    batch.left -= bytes;
    memcpy(out, batch.bytes + batch.left, bytes);
    return 0;
}
