/*
 * wire.cc - what crosses to another machine, in C++: the types of the standard library on
 * both sides of the calls of wire.h, whose own tests are in tests/unit.
 */
#include <canopy/canopy.hpp>
#include <canopy/wire.hpp>

#include <string>

#include "../unit/harness.h"

namespace
{

using namespace std::chrono_literals;

} // namespace

TEST(cpp_wire_timeouts_are_durations)
{
    assert_true(canopy::parse_grpc_timeout("1S") == 1s);
    assert_true(canopy::parse_grpc_timeout("2562048H") == std::chrono::nanoseconds::max());
    assert_false(canopy::parse_grpc_timeout("1s").has_value());
    assert_false(canopy::parse_grpc_timeout({}).has_value());
    assert_true(canopy::parse_ms_timeout("250") == 250ms);
    assert_false(canopy::parse_ms_timeout("250ms").has_value());
    assert_true(canopy::format_grpc_timeout(680ms).view() == "680000u");
    assert_true(canopy::format_ms_timeout(1999us).view() == "1");
    assert_true(bool{canopy::format_ms_timeout(1s)});
    assert_int_equal(canopy::format_grpc_timeout(0s).error(), -ETIMEDOUT);
    assert_int_equal(canopy::format_ms_timeout(std::chrono::hours::max()).error(), -ENOENT);
    assert_true(canopy::format_ms_timeout(0s).view().empty());
}

TEST(cpp_wire_an_end_is_a_status)
{
    canopy::context call = canopy::with_timeout(canopy::background(), 0s);
    assert_int_equal(canopy::wire_status(call).grpc_status, 4);
    assert_int_equal(canopy::wire_status(call).http_status, 504);
    canopy::context other = canopy::with_cancel(canopy::background());
    assert_int_equal(canopy::wire_answered(call, 1, canopy::moment::now()), 4);
    assert_int_equal(canopy::wire_answered(other, 1, canopy::moment::now()), 1);
    assert_true(other.cancel(canopy::wire_cause(16)));
    assert_int_equal(canopy::wire_status(other).http_status, 401);
    char text[16];
    const int bytes = canopy::grpc_message_encode("50 %", text, sizeof text);
    assert_true(std::string_view(text, static_cast<std::size_t>(bytes)) == "50 %25");
}

TEST(cpp_wire_a_trace_goes_on_from_span_to_span)
{
    constexpr std::string_view value = "00-12345678901234567890123456789012-1234567890123456-01";
    const auto trace = canopy::traceparent::parse(value);
    assert_true(trace.has_value());
    const auto text = trace->text();
    assert_true(std::string_view(text.data(), text.size()) == value);
    const auto next = trace->next();
    assert_memory_equal(next->trace_id, trace->trace_id, sizeof trace->trace_id);
    assert_memory_not_equal(next->span_id, trace->span_id, sizeof trace->span_id);
    assert_int_equal(canopy::traceparent::begin(CANOPY_TRACE_SAMPLED)->flags, 3);
    assert_false(canopy::traceparent::parse(value.substr(1)).has_value());
    assert_false(canopy::traceparent{}.next().has_value());
}

TEST(cpp_wire_baggage_is_a_layer)
{
    canopy::context one = canopy::with_baggage(canopy::background(), "user", "Am\xc3\xa9lie");
    canopy::context two = canopy::with_baggage(one, "cart", "", "ttl=1");
    canopy::context three = canopy::without_baggage(two, "user");
    assert_true(canopy::baggage_of(two) == "user=Am%C3%A9lie,cart=;ttl=1");
    assert_true(canopy::baggage_of(three) == "cart=;ttl=1");
    assert_true(canopy::baggage_of(canopy::background()).empty());
    std::string_view list = ", =,a = b ;c, d=e";
    assert_true(canopy::next_member(list)->properties == "c");
    assert_true(canopy::next_member(list)->value == "e");
    assert_false(canopy::next_member(list).has_value());
    char text[8];
    assert_int_equal(canopy::baggage_decode("%41b", text, sizeof text), 2);
    assert_int_equal(canopy::baggage_encode("a b", text, sizeof text), 5);
    assert_memory_equal(text, "a%20b", 5);
}

TEST(cpp_wire_a_request_comes_in_and_goes_out)
{
    canopy::wire_policy policy{CANOPY_WIRE_GRPC_TIMEOUT | CANOPY_WIRE_BAGGAGE};
    policy.reserve_ns = MILLISECONDS(20);
    const canopy::moment now = canopy::moment::now();
    canopy::wire_in in{policy, now};
    assert_int_equal(in.error(), 0);
    assert_int_equal(in.take("Grpc-Timeout", "1S"), 1);
    assert_int_equal(in.take("baggage", "a=1"), 1);
    assert_int_equal(in.take("accept", "*"), 0);
    canopy::context request = canopy::with_wire(canopy::background(), in);
    std::string headers;
    const auto add = [&headers](std::string_view name, std::string_view value) {
        headers.append(name).append("=").append(value).append("\n");
        return 0;
    };
    assert_int_equal(canopy::wire_write(request, policy, now + 300ms, add), 0);
    assert_true(headers == "grpc-timeout=680000u\nbaggage=a=1\n");
    assert_null(canopy::traceparent_of(request));
    const auto refuse = [](std::string_view, std::string_view) { return 7; };
    assert_int_equal(canopy::wire_write(request, policy, now, refuse), 7);
    policy.size = 1;
    assert_int_equal(canopy::wire_in(policy, now).error(), -EINVAL);
}
