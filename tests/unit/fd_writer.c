/*
 * fd_writer.c - promise 35 where it cannot be met by chance: the done fd of a
 * context that is let go of while its canceller is writing to that fd.
 *
 * The library writes by syscall(2). Ours takes the place of the C library's in
 * this program, and holds the write until the test lets it go.
 */
#include "probes.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_bool hold;
static struct gate writer;

/* Six arguments, as the C library's own passes on, whatever the call takes. */
long syscall(long number, ...)
{
    static long (*real)(long number, ...);
    long words[6];
    va_list list;
    va_start(list, number);
    for (size_t i = 0; i < 6; i++)
        words[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_write && atomic_exchange(&hold, false))
        pass_gate(&writer);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    return real(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

TEST(p35_an_fd_is_closed_neither_under_its_writer_nor_never)
{
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *child = canopy_with_cancel(parent);
    int fd = canopy_done_fd(child);
    assert_true(is_open(fd));

    struct thread canceller;
    atomic_store(&hold, true);
    thread_start(&canceller, cancel_context, parent);
    assert_true(eventually(atomic_load(&writer.entered), SOON));
    canopy_release(child); /* its last reference, but the canceller stands at the fd */
    assert_true(is_open(fd));
    atomic_store(&writer.open, true);
    thread_join(&canceller);
    assert_false(is_open(fd));
    canopy_release(parent);
}
