/*
 * atomics.c - the atomic operations of the library, and what becomes of its stores.
 *
 * Without delays every store is seen by all at once. With them each fiber has a
 * store buffer, as x86 has (x86-TSO): a store that is no read-modify-write and not
 * seq_cst goes in at its end, the fiber's own loads look there first, and the oldest
 * is written to memory some time later. Whatever locks the bus, fences, or enters
 * the kernel writes them all; a membarrier those of every fiber. While nobody else
 * runs nobody can tell when that happens, so the search decides it where it lets
 * another fiber go on: by default all is written by then, and so many times in an
 * execution (the delays) some of it stays behind, or becomes visible on its own.
 *
 * Weaker machines reorder more; that is for the memory model's own checker.
 */
#include "fiber.h"

#include <string.h>

/* The words that atomics are: their width is known only here. */
static uint64_t word_read(const void *address, size_t bytes)
{
    return bytes == 4 ? *(const uint32_t *)address : *(const uint64_t *)address;
}

static void word_write(void *address, size_t bytes, uint64_t value)
{
    if (bytes == 4)
        *(uint32_t *)address = (uint32_t)value;
    else
        *(uint64_t *)address = value;
}

void stores_write(struct fiber *fiber, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        word_write(fiber->pending[i].address, fiber->pending[i].bytes, fiber->pending[i].value);
    fiber->pending_count -= count;
    memmove(fiber->pending, fiber->pending + count, fiber->pending_count * sizeof *fiber->pending);
}

void stores_write_all(void)
{
    for (unsigned i = 0; i < explorer->fiber_count; i++)
        stores_write(&explorer->fibers[i], explorer->fibers[i].pending_count);
}

/* The youngest pending store of the fiber that overlaps, counted from 1; 0: none. */
static unsigned overlapping(const struct fiber *fiber, const void *address, size_t bytes)
{
    unsigned i = fiber->pending_count;
    for (uintptr_t from = (uintptr_t)address; i > 0; i--) {
        const struct pending *store = &fiber->pending[i - 1];
        uintptr_t at = (uintptr_t)store->address;
        if (at < from + bytes && from < at + store->bytes)
            break;
    }
    return i;
}

/* Plain accesses of the same fiber know the order of its stores. */
void stores_before_plain(const void *address, size_t bytes)
{
    stores_write(fiber_current(), overlapping(fiber_current(), address, bytes));
}

/*
 * A stack is reused by accesses that nobody reports, and thread-locals change their
 * place with the fiber: what lies there is written at once.
 */
static bool is_of_the_fiber_alone(const void *address)
{
    uintptr_t at = (uintptr_t)address;
    return at - (uintptr_t)explorer->stacks[explorer->current] < STACK_BYTES ||
           at - (uintptr_t)__start_explore_tls < tls_bytes();
}

uint64_t explore_load(unsigned access, const void *address, size_t bytes)
{
    explore_point(access | ACCESS_READ, address, __builtin_return_address(0));
    struct fiber *fiber = fiber_current();
    unsigned i = overlapping(fiber, address, bytes);
    if (i == 0)
        return word_read(address, bytes);
    const struct pending *store = &fiber->pending[i - 1];
    if (store->address == address && store->bytes == bytes)
        return store->value;
    stores_write(fiber, i);
    return word_read(address, bytes);
}

void explore_store(unsigned access, void *address, size_t bytes, uint64_t value, enum store kind)
{
    bool shared = explore_point(access | ACCESS_WRITE, address, __builtin_return_address(0));
    struct fiber *fiber = fiber_current();
    if (kind == STORE_FENCED)
        stores_drain();
    if (kind == STORE_FENCED || !shared || !explorer->exploring || !explorer->delay_bound ||
        is_of_the_fiber_alone(address)) {
        word_write(address, bytes, value);
        return;
    }
    if (fiber->pending_count == STORES)
        stores_write(fiber, 1);
    fiber->pending[fiber->pending_count++] =
        (struct pending){address, value, (uint32_t)explorer->step, (uint8_t)bytes};
}

uint64_t explore_update(unsigned access, void *address, size_t bytes, enum update update,
                        uint64_t value)
{
    explore_point(access | ACCESS_WRITE, address, __builtin_return_address(0));
    stores_drain();
    uint64_t before = word_read(address, bytes);
    word_write(address, bytes, update == UPDATE_ADD ? before + value : value);
    return before;
}

bool explore_cas(unsigned access, void *address, size_t bytes, void *expected, uint64_t value)
{
    explore_point(access | ACCESS_WRITE, address, __builtin_return_address(0));
    stores_drain();
    uint64_t before = word_read(address, bytes);
    bool equal = before == word_read(expected, bytes);
    if (equal)
        word_write(address, bytes, value);
    else
        word_write(expected, bytes, before);
    return equal;
}

void explore_fence(void)
{
    explore_fence_point(__builtin_return_address(0));
    stores_drain();
}
