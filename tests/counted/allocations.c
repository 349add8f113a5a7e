/*
 * allocations.c - counts calls of the allocator by all threads, between
 * count_begin and count_end. There are to be none: what the library needs it
 * has after warm-up.
 *
 * The C library's functions are interposed, and served by its own under the
 * names that it has for them.
 */
#include "counted.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *memory);

enum function { MALLOC, CALLOC, REALLOC, ALIGNED, FREE, MMAP, FUNCTIONS };

static const char *const names[FUNCTIONS] = {"malloc",         "calloc", "realloc",
                                             "posix_memalign", "free",   "mmap"};
static atomic_ullong counts[FUNCTIONS];
static atomic_bool counting;

static void note(enum function function)
{
    if (atomic_load(&counting))
        atomic_fetch_add(&counts[function], 1);
}

void *malloc(size_t size)
{
    note(MALLOC);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    note(CALLOC);
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    note(REALLOC);
    return __libc_realloc(old, size);
}

void *memalign(size_t align, size_t size)
{
    note(ALIGNED);
    return __libc_memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int posix_memalign(void **memory, size_t align, size_t size)
{
    *memory = memalign(align, size);
    return *memory ? 0 : ENOMEM;
}

void free(void *memory)
{
    if (memory)
        note(FREE);
    __libc_free(memory);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    note(MMAP);
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

void count_begin(unsigned thread)
{
    (void)thread;
    atomic_store(&counting, true);
}

void count_end(void)
{
    atomic_store(&counting, false);
}

int count_report(const struct counted_case *of, uint64_t operations, uint64_t calls)
{
    int status = EXIT_SUCCESS;

    (void)calls;
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        unsigned long long n = atomic_load(&counts[i]);
        if (n == 0)
            continue;
        fprintf(stderr, "%s: %llu calls of %s in %llu operations after warm-up\n", of->name, n,
                names[i], (unsigned long long)operations);
        status = EXIT_FAILURE;
    }
    return status;
}
