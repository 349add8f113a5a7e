/*
 * memory.c - the memory of the library in one execution, and the state of each
 * line of it. Nothing is given out twice, so an access to what was given back is
 * always found; objects that the library's pools reuse are told by their state.
 */
#include "fiber.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_BYTES ((size_t)64 << 20)
#define LINE_BYTES  64
#define ARENA_LINES (ARENA_BYTES / LINE_BYTES)

enum line_state {
    LINE_OURS,    /* not given out */
    LINE_RAW,     /* given out, not known as an object */
    LINE_TAKEN,   /* an object in use */
    LINE_CONTEXT, /* the same, a context */
    LINE_GIVEN,   /* an object in a pool */
    LINE_DEAD,    /* retired, and every read section that could reach it has ended */
    LINE_GONE,    /* the same of memory that goes back to the allocator */
    LINE_RELEASED /* given back to the allocator */
};

static struct arena {
    char *memory;
    size_t used_bytes;
    unsigned live_contexts;
    uint8_t *lines;
    size_t *sizes; /* by the first line of an allocation */
} * arena;

static void *map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        explore_fail("no memory for the explorer");
    return memory;
}

void memory_setup(void)
{
    arena = map(sizeof *arena);
    uintptr_t address = (uintptr_t)map(2 * ARENA_BYTES);
    arena->memory = (char *)((address + ARENA_BYTES - 1) & ~(ARENA_BYTES - 1));
    arena->lines = map(ARENA_LINES);
    arena->sizes = map(ARENA_LINES * sizeof *arena->sizes);
}

void memory_reset(void)
{
    memset(arena->lines, LINE_OURS, arena->used_bytes / LINE_BYTES);
    arena->used_bytes = 0;
    arena->live_contexts = 0;
}

bool memory_is_ours(const void *address)
{
    return (uintptr_t)address - (uintptr_t)arena->memory < ARENA_BYTES;
}

static size_t line_of(const void *address)
{
    return ((uintptr_t)address - (uintptr_t)arena->memory) / LINE_BYTES;
}

static void lines_set(const void *memory, size_t bytes, enum line_state state)
{
    memset(arena->lines + line_of(memory), state, (bytes + LINE_BYTES - 1) / LINE_BYTES);
}

int explore_memalign(void **out, size_t align_bytes, size_t size_bytes)
{
    size_t align = align_bytes < LINE_BYTES ? LINE_BYTES : align_bytes;
    size_t from = (arena->used_bytes + align - 1) / align * align;
    size_t bytes = (size_bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    if (from + bytes > ARENA_BYTES)
        return ENOMEM;
    arena->used_bytes = from + bytes;
    *out = arena->memory + from;
    arena->sizes[from / LINE_BYTES] = bytes;
    lines_set(*out, bytes, LINE_RAW);
    return 0;
}

void explore_release(void *memory)
{
    size_t line = line_of(memory);
    if (!memory)
        return;
    if (!memory_is_ours(memory) || arena->lines[line] == LINE_OURS ||
        arena->lines[line] == LINE_RELEASED)
        explore_fail("%p was given back, but is not in use", memory);
    for (size_t i = 0; i < arena->sizes[line] / LINE_BYTES; i++)
        arena->live_contexts -= arena->lines[line + i] == LINE_CONTEXT; /* a root's own */
    place_freed(memory, arena->sizes[line]);
    lines_set(memory, arena->sizes[line], LINE_RELEASED);
}

void *explore_calloc(size_t count, size_t size_bytes)
{
    void *memory = NULL;
    if (explore_memalign(&memory, LINE_BYTES, count * size_bytes) == 0)
        memset(memory, 0, count * size_bytes);
    return memory;
}

bool memory_is_taken(const void *object)
{
    uint8_t state = arena->lines[line_of(object)];
    return state == LINE_TAKEN || state == LINE_CONTEXT || state == LINE_DEAD;
}

void *explore_object_taken(void *memory, size_t bytes, bool is_context)
{
    if (!memory)
        return NULL;
    uint8_t state = arena->lines[line_of(memory)];
    if (state != LINE_RAW && state != LINE_GIVEN)
        explore_fail("%p was taken from a pool, but is in use", memory);
    lines_set(memory, bytes, is_context ? LINE_CONTEXT : LINE_TAKEN);
    arena->live_contexts += is_context;
    return memory;
}

void *explore_object_given(void *memory, size_t bytes, bool is_context)
{
    if (!memory_is_taken(memory))
        explore_fail("%p was given to a pool, but is not in use", memory);
    place_freed(memory, bytes);
    lines_set(memory, bytes, LINE_GIVEN);
    arena->live_contexts -= is_context;
    return memory;
}

void explore_pool_begin(void)
{
    fiber_current()->in_pool_call = true;
}

void *explore_pool_end(void *object)
{
    fiber_current()->in_pool_call = false;
    return object;
}

void explore_look_begin(void)
{
    fiber_current()->is_looking = true;
}

bool explore_look_end(bool holds)
{
    fiber_current()->is_looking = false;
    return holds;
}

void memory_dead(const void *memory, size_t bytes)
{
    place_freed(memory, bytes);
    lines_set(memory, bytes, LINE_DEAD);
}

void memory_gone(const void *memory, size_t bytes)
{
    place_freed(memory, bytes);
    lines_set(memory, bytes, LINE_GONE);
}

unsigned memory_live_contexts(void)
{
    return arena->live_contexts;
}

void memory_check(unsigned access, const void *address)
{
    if (!memory_is_ours(address) || (access & ACCESS_ADDRESS))
        return;
    switch ((enum line_state)arena->lines[line_of(address)]) {
    case LINE_RAW:
    case LINE_TAKEN:
    case LINE_CONTEXT:
        return;
    case LINE_GIVEN:
        /* The first word of a free object is the pool's link, also in the hand-over stack. */
        if ((access & ACCESS_LENIENT) || fiber_current()->in_pool_call ||
            ((access & ACCESS_PLAIN) && (uintptr_t)address % LINE_BYTES == 0))
            return;
        explore_fail("touch of %p, an object that is free", address);
    case LINE_DEAD:
        if ((access & ACCESS_LENIENT) || explorer->current == explorer->reclaimer)
            return;
        explore_fail("touch of %p after its grace period", address);
    case LINE_GONE:
        if (explorer->current == explorer->reclaimer)
            return;
        explore_fail("touch of %p, memory whose grace period is over", address);
    case LINE_OURS:
    case LINE_RELEASED:
        explore_fail("touch of %p, memory that was given back", address);
    }
}

/* ------------------------------------------------------ accesses that are no atomics */

/*
 * What the compiler's thread sanitizer pass calls before each of them. There is no
 * decision to make there unless another fiber gives the memory back.
 */
static void plain(const void *address, unsigned access, const void *site)
{
    if (!explorer) /* the library is just being loaded */
        return;
    if (fiber_current()->pending_count > 0)
        stores_before_plain(address, 8);
    if (memory_is_ours(address))
        explore_point(access | ACCESS_PLAIN, address, site);
}

#define PLAIN(name, access)                                                                        \
    void __tsan_##name(const void *address);                                                       \
    void __tsan_##name(const void *address)                                                        \
    {                                                                                              \
        plain(address, access, __builtin_return_address(0));                                       \
    }
#define PLAIN_BOTH(size)                                                                           \
    PLAIN(read##size, ACCESS_READ)                                                                 \
    PLAIN(write##size, ACCESS_WRITE)                                                               \
    PLAIN(unaligned_read##size, ACCESS_READ)                                                       \
    PLAIN(unaligned_write##size, ACCESS_WRITE)
PLAIN_BOTH(1)
PLAIN_BOTH(2)
PLAIN_BOTH(4)
PLAIN_BOTH(8)
PLAIN_BOTH(16)

static void plain_range(const void *address, size_t bytes, unsigned access, const void *site)
{
    for (size_t i = 0; i < bytes; i += 8)
        plain((const char *)address + i, access, site);
}

void __tsan_read_range(const void *address, size_t bytes);
void __tsan_read_range(const void *address, size_t bytes)
{
    plain_range(address, bytes, ACCESS_READ, __builtin_return_address(0));
}

void __tsan_write_range(const void *address, size_t bytes);
void __tsan_write_range(const void *address, size_t bytes)
{
    plain_range(address, bytes, ACCESS_WRITE, __builtin_return_address(0));
}

void *__tsan_memset(void *to, int byte, size_t bytes);
void *__tsan_memset(void *to, int byte, size_t bytes)
{
    stores_before_plain(to, bytes);
    return memset(to, byte, bytes);
}

void *__tsan_memcpy(void *to, const void *from, size_t bytes);
void *__tsan_memcpy(void *to, const void *from, size_t bytes)
{
    stores_before_plain(to, bytes);
    stores_before_plain(from, bytes);
    return memcpy(to, from, bytes);
}

void __tsan_init(void);
void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller);
void __tsan_func_entry(void *caller)
{
    (void)caller;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}
