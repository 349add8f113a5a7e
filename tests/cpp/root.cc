/*
 * root.cc - roots as objects: what they are made of, a clock that the test drives, and
 * how they end.
 */
#include <canopy/canopy.hpp>

#include <vector>

#include "../unit/harness.h"

namespace
{

using namespace std::chrono_literals;
using canopy::config;
using canopy::context;
using canopy::moment;
using canopy::root;

moment at(canopy::timespan since_start)
{
    return moment::from_ns(0) + since_start;
}

/* What of the memory that a root is given has not come back. */
struct tally {
    std::atomic_int blocks{0};

    static void *take(void *user, std::size_t align_bytes, std::size_t size_bytes)
    {
        static_cast<tally *>(user)->blocks++;
        void *memory = nullptr;
        return posix_memalign(&memory, align_bytes, size_bytes) == 0 ? memory : nullptr;
    }
    static void give(void *user, void *memory, std::size_t, std::size_t)
    {
        static_cast<tally *>(user)->blocks--;
        free(memory);
    }
};

} // namespace

TEST(cpp_a_root_ends_what_is_under_it_and_gives_its_memory_back)
{
    tally memory;
    canopy::shared_context seen;
    {
        config hooks;
        hooks.allocate = tally::take;
        hooks.release = tally::give;
        hooks.user = &memory;
        root own{hooks};
        assert_true(static_cast<bool>(own));
        assert_true(memory.blocks > 0);
        context ctx = canopy::with_timeout(own, 1h);
        assert_live(ctx.get());
        assert_true(own.cancel(CANOPY_CAUSE(7, "over")));
        assert_int_equal(ctx.cause_of()->code, 7);
    }
    assert_int_equal(memory.blocks, 0);
}

TEST(cpp_a_root_has_its_limits)
{
    config two;
    two.max_live = 2;
    root own{two};
    context first = canopy::with_cancel(own), second = canopy::with_cancel(first);
    errno = 0;
    assert_false(static_cast<bool>(canopy::with_cancel(own)));
    assert_int_equal(errno, EAGAIN);
    config wrong;
    wrong.size = 1;
    errno = 0;
    assert_false(static_cast<bool>(root{wrong}));
    assert_int_equal(errno, EINVAL);
}

TEST(cpp_a_root_tells_what_it_has)
{
    config ten;
    ten.max_live = 10; /* counted exactly then */
    root own{ten}, none{std::move(own)};
    own = std::move(none);
    context first = canopy::with_cancel(own), second = canopy::with_cancel(first);
    assert_int_equal(own.usage().contexts, 2);
    assert_true(own.usage().bytes > 0);
    /* NOLINTBEGIN(bugprone-use-after-move,clang-analyzer-cplusplus.Move): it is empty */
    assert_int_equal(none.usage().contexts, 0);
    assert_int_equal(none.usage().bytes, 0);
    /* NOLINTEND(bugprone-use-after-move,clang-analyzer-cplusplus.Move) */
}

TEST(cpp_a_root_goes_by_the_clock_that_it_is_told)
{
    root own{config::host_clock(at(1h))};
    context ctx = canopy::with_timeout(own, 10s);
    moment next = canopy::never;
    assert_int_equal(own.advance(at(1h + 9s), &next), 0);
    assert_live(ctx.get());
    assert_true(next > at(1h) && next <= at(1h + 10s));
    assert_int_equal(own.advance_for(1ms, at(1h + 9s), &next), 0);
    assert_true(next.ns() > at(1h + 9s).ns());
    assert_int_equal(own.advance(at(1h + 10s)), 0);
    assert_int_equal(ctx.err(), -ETIMEDOUT);
    root other;
    assert_int_equal(other.advance(at(1h), &next), -EINVAL);
}

TEST(cpp_a_root_that_is_busy_is_not_freed)
{
    root own;
    context ctx = canopy::with_cancel(own);
    assert_int_equal(own.close(moment::now()), -EBUSY);
    assert_true(static_cast<bool>(own));
    assert_int_equal(ctx.err(), -ECANCELED);
    ctx = context{};
    assert_int_equal(own.close(canopy::never), 0);
    assert_false(static_cast<bool>(own));
    assert_int_equal(own.close(canopy::never), 0);
}

/* It waits as long as it says it does, and no longer. */
TEST(cpp_the_end_of_a_root_that_is_busy_leaves_it)
{
    context ctx;
    {
        root own;
        ctx = canopy::with_cancel(own);
    }
    assert_int_equal(ctx.err(), -ECANCELED);
    canopy::shared_context child{canopy::with_cancel(ctx)};
    assert_int_equal(child.err(), -ECANCELED);
}

TEST(cpp_a_root_moves_and_drives_a_loop)
{
    root first{config::host_clock(at(0s))};
    root own = std::move(first);
    assert_false(static_cast<bool>(first)); /* NOLINT(bugprone-use-after-move): it is empty */
    {
        canopy::loop loop{own};
        assert_int_equal(loop.error(), 0);
        context ctx = canopy::with_timeout(own, 5s);
        int runs = 0;
        canopy::loop_callback callback{ctx, loop, [&] { runs++; }};
        assert_int_equal(loop.run_for(1ms, at(4s)), 0);
        assert_int_equal(own.close(canopy::moment::now()), -EBUSY);
        loop.run(at(5s));
        assert_int_equal(runs, 1);
    }
    first = root{};
    canopy_ctx *raw = first.get();
    own = std::move(first);
    assert_ptr_equal(own.get(), raw);
    assert_int_equal(canopy_root_free(own.release()), 0);
}
