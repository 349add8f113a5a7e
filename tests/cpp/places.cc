/*
 * places.cc - a debug build of the library knows where in C++ a context was made, in
 * sources that are compiled with CANOPY_DEBUG, as this one, and says nothing wrong of
 * what others (places_unknown.cc) have made.
 */
#include <canopy/debug.h>

#include <canopy/canopy.hpp>

#include <csignal>
#include <string>
#include <vector>

#include "../unit/harness.h"
#include "places_unknown.h"

namespace
{

using namespace std::chrono_literals;
using canopy::background;
using canopy::context;

inline constexpr canopy::cause why{1, "why"};
inline constexpr canopy::key<const int> key{"key"};
inline constexpr canopy::key<std::unique_ptr<int>> owning_key{"owning key"};
inline constexpr canopy::key<std::shared_ptr<int>> sharing_key{"sharing key"};

struct told {
    std::string file;
    int line = 0, count = 0;
};

void tell(const canopy_debug_report *report, void *user)
{
    auto *told_of = static_cast<told *>(user);
    told_of->file = report->made.file ? report->made.file : "";
    told_of->line = report->made.line;
    told_of->count++;
}

/* What is told of a context that is used after its last release. */
told misuse(canopy_ctx *released)
{
    told told_of;
    assert_int_equal(canopy_debug_set_hook(tell, &told_of), 0);
    static_cast<void>(canopy_done(released));
    assert_int_equal(canopy_debug_set_hook(nullptr, nullptr), 0);
    assert_int_equal(told_of.count, 1);
    return told_of;
}

void assert_made(context ctx, int line)
{
    canopy_ctx *const raw = ctx.release();
    assert_non_null(raw);
    canopy_end(raw);
    const told told_of = misuse(raw);
    assert_string_equal(told_of.file.c_str(), __FILE__);
    assert_int_equal(told_of.line, line);
}

} // namespace

TEST(cpp_places_are_those_of_the_caller)
{
    const int number = 1;
    context ctx = canopy::with_cancel(background());
    std::vector<context> list;
    list.push_back(canopy::with_cancel(ctx));
    const std::vector<int> signals{SIGUSR1};
    assert_made(canopy::with_cancel(ctx), __LINE__);
    assert_made(canopy::with_timeout(ctx, 1h), __LINE__);
    assert_made(canopy::with_timeout(ctx, 1h, why), __LINE__);
    assert_made(canopy::with_deadline(ctx, canopy::never), __LINE__);
    assert_made(canopy::with_deadline(ctx, canopy::never, why), __LINE__);
    assert_made(canopy::with_value(ctx, key, &number), __LINE__);
    assert_made(canopy::with_value(ctx, owning_key, std::make_unique<int>(2)), __LINE__);
    assert_made(canopy::with_value(ctx, sharing_key, std::make_shared<int>(3)), __LINE__);
    assert_made(canopy::without_cancel(ctx), __LINE__);
    assert_made(canopy::with_any(ctx, background()), __LINE__);
    assert_made(canopy::with_any(list), __LINE__);
    assert_made(canopy::with_any({ctx, background()}), __LINE__);
    assert_made(canopy::with_any(list.begin(), list.end()), __LINE__);
    assert_made(canopy::with_signals(ctx, SIGUSR1), __LINE__);
    assert_made(canopy::with_signals(ctx, {SIGUSR1}), __LINE__);
    assert_made(canopy::with_signals(ctx, signals), __LINE__);
    assert_made(canopy::with_signals(ctx, signals.begin(), signals.end()), __LINE__);
}

TEST(cpp_places_of_roots_and_of_contexts_of_tokens)
{
    canopy::root root;
    const int root_line = __LINE__ - 1;
    context left = canopy::with_cancel(root);
    told told_of;
    assert_int_equal(canopy_debug_set_hook(tell, &told_of), 0);
    assert_int_equal(root.close(canopy::moment::now()), -EBUSY); /* what is left is told of */
    assert_int_equal(canopy_debug_set_hook(nullptr, nullptr), 0);
    assert_int_equal(told_of.line, root_line + 2);
    left = context{};
    canopy_ctx *raw = root.get();
    assert_int_equal(root.close(canopy::never), 0);
    told_of = misuse(raw);
    assert_string_equal(told_of.file.c_str(), __FILE__);
    assert_int_equal(told_of.line, root_line);
    {
        auto ctx = canopy::with_stop_token(background(), {});
        told_of.line = __LINE__ - 1;
        raw = ctx.get();
    }
    const told again = misuse(raw);
    assert_string_equal(again.file.c_str(), __FILE__);
    assert_int_equal(again.line, told_of.line);
}

TEST(cpp_places_are_not_known_of_sources_without_them)
{
    context ctx = canopy::with_cancel(background());
    canopy_ctx *const raw = make_where_places_are_not_known(ctx).release();
    canopy_end(raw);
    assert_string_equal(misuse(raw).file.c_str(), "");
    assert_made(canopy::with_cancel(ctx), __LINE__);
}
