/*
 * inspect.cc - seeing inside, in C++: the calls of inspect.h, whose own tests are in
 * tests/unit.
 */
#include <canopy/canopy.hpp>
#include <canopy/inspect.hpp>

#include <string>
#include <unistd.h>

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

TEST(cpp_inspect_answers_commands)
{
    canopy::root root = noted_root();
    canopy::context ctx = canopy::with_cancel(root);
    std::string text;
    const auto add = [&](std::string_view piece) { text += piece; };
    assert_int_equal(canopy::answer("tree", add), 0);
    assert_true(text.find("\n  cancel ") != std::string::npos);
    const std::string command = "cancel " + std::to_string(canopy::id(ctx));
    assert_int_equal(canopy::answer(command.c_str(), add), -EPERM);
    assert_int_equal(canopy::answer(command.c_str(), add, CANOPY_ANSWER_CANCEL), 0);
    assert_int_equal(ctx.err(), -ECANCELED);
    assert_int_equal(canopy::answer("help", [](std::string_view) { return -EPIPE; }), -EPIPE);
}

TEST(cpp_inspect_listener_owns_its_socket)
{
    const std::string path = "/tmp/canopy-cpp-" + std::to_string(getpid());
    {
        canopy::listener first{path.c_str()};
        assert_true(static_cast<bool>(first));
        assert_int_equal(first.open(path.c_str()), -EBUSY);
        canopy::listener second{path.c_str()};
        assert_false(static_cast<bool>(second));
        assert_int_equal(errno, EADDRINUSE);
        assert_int_equal(second.close(), 0);
        second = std::move(first);
        assert_false(static_cast<bool>(first));
        assert_int_equal(access(path.c_str(), F_OK), 0);
        canopy::listener third{std::move(second)};
        assert_int_equal(third.close(), 0);
        assert_int_equal(access(path.c_str(), F_OK), -1);
        assert_int_equal(third.open(path.c_str(), CANOPY_ANSWER_CANCEL), 0);
    }
    assert_int_equal(access(path.c_str(), F_OK), -1);
}

TEST(cpp_inspect_a_trace_to_a_callable)
{
    assert_int_equal(canopy::trace_start(65536), 0);
    {
        canopy::root root = noted_root();
        canopy::context ctx = canopy::with_cancel(root);
        assert_int_equal(canopy::trace_start(65536), -EBUSY);
    }
    assert_int_equal(canopy::trace_stop(), 0);
    std::string text;
    assert_int_equal(canopy::trace_write([&](std::string_view piece) { text += piece; }), 0);
    assert_true(text.find("\"ph\":\"b\"") != std::string::npos);
    const auto refuse = [](std::string_view) { return -EPIPE; };
    assert_int_equal(canopy::trace_write(refuse), -EPIPE);
}
