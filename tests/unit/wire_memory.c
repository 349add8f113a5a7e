/*
 * wire_memory.c - a request in and baggage that is set, where memory runs out: at the copy
 * of what they carry, which is malloc's, and at the contexts that they make, which are
 * their root's. The answer is ENOMEM, nothing is left, and what was there is as it was.
 *
 * The linker puts the two functions below between the library and the C library.
 */
#include "wire_sink.h"

void *__real_malloc(size_t size_bytes);
void *__wrap_malloc(size_t size_bytes);
void __real_free(void *memory);
void __wrap_free(void *memory);

static __thread bool is_watched;    /* what this thread allocates */
static __thread bool is_refused;    /* its next malloc */
static __thread size_t allocations; /* so far, the refused ones included */
static _Atomic(void *) copy;        /* the last one, until it is freed */

void *__wrap_malloc(size_t size_bytes)
{
    if (!is_watched)
        return __real_malloc(size_bytes);
    allocations++;
    void *memory = is_refused ? NULL : __real_malloc(size_bytes);
    is_refused = false;
    atomic_store(&copy, memory);
    errno = memory ? errno : 0; /* which the C library need not set */
    return memory;
}

void __wrap_free(void *memory)
{
    void *freed = memory;
    if (memory)
        atomic_compare_exchange_strong(&copy, &freed, NULL);
    __real_free(memory);
}

/* ------------------------------------------------------------------- what is made */

static const canopy_wire_policy policy = {.size = sizeof policy,
                                          .fields = CANOPY_WIRE_GRPC_TIMEOUT | CANOPY_WIRE_TRACE |
                                                    CANOPY_WIRE_BAGGAGE};

static canopy_ctx *make_request(const canopy_ctx *parent)
{
    canopy_wire wire;
    assert_int_equal(canopy_wire_begin(&wire, &policy, 0), 0);
    assert_int_equal(
        take(&wire, "traceparent", "00-12345678901234567890123456789012-1234567890123456-01"), 1);
    assert_int_equal(take(&wire, "tracestate", "foo=1"), 1);
    assert_int_equal(take(&wire, "baggage", "b=2"), 1);
    return canopy_with_wire(parent, &wire);
}

static canopy_ctx *make_setting(const canopy_ctx *parent)
{
    return canopy_with_baggage(parent, "b", 1, "2", 1, "p", 1);
}

static canopy_ctx *make_removal(const canopy_ctx *parent)
{
    return canopy_with_baggage(parent, "a", 1, NULL, 0, NULL, 0);
}

static const struct maker {
    canopy_ctx *(*make)(const canopy_ctx *parent);
    size_t contexts;
    const char *baggage;
} makers[] = {{make_request, 2, "b=2"}, {make_setting, 1, "a=1,b=2;p"}, {make_removal, 1, ""}};
enum { MAKERS = sizeof makers / sizeof *makers };

static void assert_baggage(const canopy_ctx *ctx, const char *expected)
{
    size_t bytes;
    const char *baggage = canopy_baggage_of(ctx, &bytes);
    assert_int_equal(bytes, strlen(expected));
    if (bytes)
        assert_memory_equal(baggage, expected, bytes);
}

/* Makes one below `parent`, by one malloc; or finds no memory, and leaves nothing. */
static bool is_made(const struct maker *maker, const canopy_ctx *parent)
{
    allocations = 0;
    is_watched = true;
    errno = 0;
    canopy_ctx *made = maker->make(parent);
    int err = errno;
    is_watched = false;
    assert_int_equal(allocations, 1);
    assert_live(parent);
    assert_baggage(parent, "a=1");
    if (!made) {
        assert_int_equal(err, ENOMEM);
        assert_null(atomic_load(&copy));
        return false;
    }
    assert_live(made);
    assert_baggage(made, maker->baggage);
    assert_non_null(atomic_load(&copy));
    canopy_end(made);
    return true;
}

/* ------------------------------------------------------------------------- without */

TEST(wire_what_is_carried_may_find_no_memory)
{
    for (size_t i = 0; i < MAKERS; i++) {
        struct fixture fixture;
        fixture_open(&fixture, CANOPY_CLOCK_HOST);
        canopy_ctx *parent = canopy_with_baggage(fixture.root, "a", 1, "1", 1, NULL, 0);
        is_refused = true;
        assert_false(is_made(&makers[i], parent));
        assert_true(is_made(&makers[i], parent));
        canopy_end(parent);
        fixture_close(&fixture);
        assert_null(atomic_load(&copy));
    }
}

/* With so many contexts there before; whether the root's memory ran out. */
static bool is_refused_after(const struct maker *maker, size_t before)
{
    static canopy_ctx *others[1024];
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_HOST);
    canopy_ctx *parent = canopy_with_baggage(fixture.root, "a", 1, "1", 1, NULL, 0);
    for (size_t i = 0; i < before; i++)
        others[i] = canopy_with_cancel(fixture.root);
    atomic_store(&fixture.memory.fail_from, atomic_load(&fixture.memory.allocations) + 1);
    bool is_whole = is_made(maker, parent);
    atomic_store(&fixture.memory.fail_from, 0);
    assert_true(is_made(maker, parent));
    for (size_t i = 0; i < before; i++)
        canopy_end(others[i]);
    canopy_end(parent);
    fixture_close(&fixture);
    assert_null(atomic_load(&copy));
    return !is_whole;
}

/* A root's memory is asked for by the slab, whose end each context comes to once. */
TEST(wire_contexts_that_carry_may_find_no_memory)
{
    for (size_t i = 0; i < MAKERS; i++) {
        size_t refused = 0;
        for (size_t before = 480; before < 540; before++)
            refused += is_refused_after(&makers[i], before) ? 1 : 0;
        assert_in_range(refused, makers[i].contexts, 59);
    }
}
