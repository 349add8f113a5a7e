/*
 * inspect.cc - seeing inside, in C++: the calls of inspect.h, whose own tests are in
 * tests/unit.
 */
#include <canopy/canopy.hpp>
#include <canopy/inspect.hpp>

#include <string>

#include "../unit/harness.h"

namespace
{

canopy::root noted_root()
{
    canopy_config config{};
    config.size = sizeof config;
    config.inspect = CANOPY_INSPECT_NOTES;
    return canopy::root{config};
}

inline constexpr canopy::cause stopped{-EINTR, "stopped"};

} // namespace

TEST(cpp_inspect_one_context_by_its_id)
{
    canopy::root root = noted_root();
    canopy::context ctx = canopy::with_cancel(root);
    const std::uint64_t id = canopy::id(ctx);
    assert_true(canopy::inspect(id)->parent_id == canopy::id(root));
    assert_int_equal(canopy::cancel_id(id, stopped), 0);
    assert_true(canopy_cause_of(ctx.get()) == &stopped);
    assert_int_equal(canopy::cancel_id(id), -EALREADY);
    ctx = canopy::context{};
    assert_false(canopy::inspect(id).has_value());
    assert_int_equal(canopy::cancel_id(id), -ESRCH);
}

TEST(cpp_inspect_all_contexts)
{
    canopy::root root = noted_root();
    canopy::context a = canopy::with_cancel(root), b = canopy::with_cancel(a);
    std::size_t count = 0;
    canopy::for_each_context([&](const canopy_info &info) { count += info.err == 0; });
    assert_int_equal(count, 3);
    canopy::walk_filter below;
    below.top = a;
    count = 0;
    canopy::for_each_context([&](const canopy_info &) { count++; }, below);
    assert_int_equal(count, 2);
    assert_int_equal(canopy::stats(root).live, 3);
}

TEST(cpp_inspect_writes_to_what_can_be_called)
{
    canopy::root root = noted_root();
    std::string text;
    assert_int_equal(
        canopy::dump(CANOPY_FORMAT_JSON, [&](std::string_view piece) { text += piece; }), 0);
    assert_true(text.find("\"kind\":\"root\"") != std::string::npos);
    assert_int_equal(canopy::dump(CANOPY_FORMAT_TEXT, [](std::string_view) { return -EPIPE; }),
                     -EPIPE);
}
