/*
 * wire_request.c - a request in, and requests out below it: time, baggage and limits.
 */
#include "wire_sink.h"

#include <limits.h>

static const canopy_wire_policy all = {.size = sizeof(canopy_wire_policy),
                                       .fields = CANOPY_WIRE_GRPC_TIMEOUT | CANOPY_WIRE_MS_TIMEOUT |
                                                 CANOPY_WIRE_TRACE | CANOPY_WIRE_BAGGAGE,
                                       .ms_name = "x-timeout-ms"};

static canopy_wire begun(const canopy_wire_policy *policy, int64_t received_ns)
{
    canopy_wire wire;
    assert_int_equal(canopy_wire_begin(&wire, policy, received_ns), 0);
    return wire;
}

static int64_t deadline_of(const canopy_ctx *ctx)
{
    int64_t deadline_ns;
    canopy_deadline(ctx, &deadline_ns);
    return deadline_ns;
}

/* ------------------------------------------------------------------------ time in */

TEST(wire_a_timeout_counts_from_when_the_request_arrived)
{
    int64_t received_ns = now_ns() - MILLISECONDS(600);
    canopy_wire wire = begun(&all, received_ns);
    assert_int_equal(take(&wire, "grpc-timeout", "1S"), 1);
    canopy_ctx *request = canopy_with_wire(canopy_background(), &wire);
    assert_int_equal(deadline_of(request), received_ns + SECONDS(1));
    canopy_end(request);
    wire = begun(&all, now_ns() - MILLISECONDS(1600));
    assert_int_equal(take(&wire, "grpc-timeout", "1S"), 1);
    request = canopy_with_wire(canopy_background(), &wire);
    assert_int_equal(canopy_err(request), -ETIMEDOUT);
    canopy_end(request);
}

TEST(wire_a_request_without_time_is_born_done)
{
    canopy_wire wire = begun(&all, now_ns() + HOURS(1)); /* whatever the clocks say */
    assert_int_equal(take(&wire, "Grpc-Timeout", "0S"), 1);
    assert_int_equal(take(&wire, "baggage", "a=1"), 1);
    canopy_ctx *request = canopy_with_wire(canopy_background(), &wire);
    assert_int_equal(canopy_err(request), -ETIMEDOUT);
    assert_int_equal(canopy_wire_status(request).grpc_status, 4);
    assert_int_equal(canopy_wire_status(request).http_status, 504);
    canopy_end(request);
}

TEST(wire_a_deadline_beyond_all_clocks_is_none)
{
    canopy_wire wire = begun(&all, INT64_MAX - SECONDS(1));
    assert_int_equal(take(&wire, "grpc-timeout", "2S"), 1);
    canopy_ctx *request = canopy_with_wire(canopy_background(), &wire);
    assert_int_equal(deadline_of(request), CANOPY_NEVER);
    assert_int_equal(canopy_err(request), 0);
    canopy_end(request);
}

TEST(wire_of_several_timeouts_the_least_counts)
{
    canopy_wire wire = begun(&all, 0);
    assert_int_equal(take(&wire, "grpc-timeout", "2S"), 1);
    assert_int_equal(take(&wire, "X-Timeout-Ms", "1500"), 1);
    assert_int_equal(take(&wire, "grpc-timeout", "3S"), 1);
    assert_int_equal(take(&wire, "grpc-timeout", "1s"), -EINVAL);
    assert_int_equal(wire.timeout_ns, MILLISECONDS(1500));
    assert_int_equal(wire.taken, CANOPY_WIRE_GRPC_TIMEOUT | CANOPY_WIRE_MS_TIMEOUT);
    assert_int_equal(wire.malformed, CANOPY_WIRE_GRPC_TIMEOUT);
}

TEST(wire_zero_milliseconds_are_no_time_or_no_limit)
{
    canopy_wire wire = begun(&all, 0);
    assert_int_equal(take(&wire, "x-timeout-ms", "0"), 1);
    assert_int_equal(wire.timeout_ns, 0);
    canopy_wire_policy envoy = all;
    envoy.ms_zero_is_none = true;
    wire = begun(&envoy, 0);
    assert_int_equal(take(&wire, "x-timeout-ms", "0"), 1);
    assert_int_equal(wire.timeout_ns, CANOPY_NEVER);
    assert_int_equal(take(&wire, "x-timeout-ms", "x"), -EINVAL);
    assert_int_equal(wire.timeout_ns, CANOPY_NEVER);
}

TEST(wire_a_cap_holds_for_what_came_and_for_nothing)
{
    canopy_wire_policy capped = all;
    capped.max_timeout_ns = SECONDS(5);
    static const struct {
        const char *came;
        int64_t seconds;
    } cases[] = {{"1H", 5}, {NULL, 5}, {"99999999H", 5}, {"4S", 4}, {"bad", 5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t received_ns = now_ns();
        canopy_wire wire = begun(&capped, received_ns);
        if (cases[i].came)
            (void)take(&wire, "grpc-timeout", cases[i].came);
        canopy_ctx *request = canopy_with_wire(canopy_background(), &wire);
        assert_int_equal(deadline_of(request), received_ns + SECONDS(cases[i].seconds));
        canopy_end(request);
    }
}

TEST(wire_a_request_without_a_timeout_has_none)
{
    canopy_wire wire = begun(&all, now_ns());
    assert_int_equal(take(&wire, "grpc-timeout", "2562048H"), 1);
    canopy_ctx *request = canopy_with_wire(canopy_background(), &wire);
    assert_int_equal(deadline_of(request), CANOPY_NEVER);
    assert_null(canopy_traceparent_of(request));
    assert_true(canopy_cancel(request));
    canopy_end(request);
}

TEST(wire_only_headers_of_the_policy_are_read)
{
    canopy_wire_policy few = {.size = sizeof few, .fields = CANOPY_WIRE_GRPC_TIMEOUT};
    canopy_wire wire = begun(&few, 0);
    assert_int_equal(take(&wire, "baggage", "a=1"), 0);
    assert_int_equal(take(&wire, "traceparent", "x"), 0);
    assert_int_equal(take(&wire, "tracestate", "x"), 0);
    assert_int_equal(take(&wire, "x-timeout-ms", "1"), 0);
    assert_int_equal(take(&wire, "grpc-timeout2", "1S"), 0);
    assert_int_equal(take(&wire, "grpc-timeou", "1S"), 0);
    assert_int_equal(take(&wire, "", ""), 0);
    assert_int_equal(canopy_wire_take(&wire, NULL, 3, NULL, 3), 0);
    assert_int_equal(canopy_wire_take(&wire, "grpc-timeout", 12, NULL, 3), -EINVAL);
    assert_int_equal(take(&wire, "GRPC-TIMEOUT", "1S"), 1);
    assert_int_equal(wire.taken, CANOPY_WIRE_GRPC_TIMEOUT);
}

TEST(wire_a_policy_that_is_not_known_takes_and_writes_nothing)
{
    struct {
        canopy_wire_policy policy;
        char tail[8];
    } longer = {.policy = all};
    canopy_wire_policy wrong[6] = {all, all, all, all, all, all};
    wrong[0].size = sizeof all - 1;
    wrong[1].fields |= 256;
    wrong[2].ms_name = NULL;
    wrong[3].max_timeout_ns = -1;
    wrong[4].try_timeout_ns = -1;
    wrong[5].reserve_ns = -1;
    struct sink sink = {.bytes = 0};
    canopy_wire wire;
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(canopy_wire_begin(&wire, &wrong[i], 0), -EINVAL);
        assert_int_equal(take(&wire, "grpc-timeout", "1S"), 0);
        assert_int_equal(
            canopy_wire_write(canopy_background(), &wrong[i], NULL, 0, sink_add, &sink), -EINVAL);
    }
    assert_int_equal(canopy_wire_begin(&wire, NULL, 0), -EINVAL);
    assert_int_equal(canopy_wire_write(canopy_background(), NULL, NULL, 0, sink_add, &sink),
                     -EINVAL);
    assert_int_equal(canopy_wire_write(canopy_background(), &all, NULL, 0, NULL, NULL), -EINVAL);
    longer.policy.size = sizeof longer;
    assert_int_equal(canopy_wire_begin(&wire, &longer.policy, 0), 0);
    longer.tail[7] = 1;
    assert_int_equal(canopy_wire_begin(&wire, &longer.policy, 0), -EINVAL);
    assert_int_equal(sink.bytes, 0);
    errno = 0;
    assert_null(canopy_with_wire(NULL, &wire));
    assert_int_equal(errno, EINVAL);
    assert_null(canopy_with_wire(canopy_background(), NULL));
}

/* ------------------------------------------------------------------------ baggage in */

static void assert_baggage(canopy_wire *wire, const char *expected)
{
    size_t bytes;
    canopy_ctx *request = canopy_with_wire(canopy_background(), wire);
    const char *baggage = canopy_baggage_of(request, &bytes);
    assert_int_equal(bytes, strlen(expected));
    if (bytes)
        assert_memory_equal(baggage, expected, bytes);
    canopy_end(request);
}

TEST(wire_baggage_lines_add_up_without_what_is_malformed)
{
    canopy_wire wire = begun(&all, 0);
    assert_int_equal(take(&wire, "baggage", " a=1 , ,b = 2;p"), 1);
    assert_int_equal(take(&wire, "Baggage", "c,d=%zz,=e"), -EINVAL);
    assert_int_equal(take(&wire, "BAGGAGE", ""), 1);
    assert_int_equal(take(&wire, "baggage", "f=b=c=="), 1);
    assert_int_equal(wire.taken, CANOPY_WIRE_BAGGAGE);
    assert_int_equal(wire.malformed, CANOPY_WIRE_BAGGAGE);
    assert_baggage(&wire, "a=1,b = 2;p,d=%zz,f=b=c==");
}

TEST(wire_baggage_beyond_64_members_is_left_out)
{
    char list[1024] = "", line[8];
    canopy_wire wire = begun(&all, 0);
    for (unsigned i = 0; i < CANOPY_BAGGAGE_MEMBERS; i++) {
        snprintf(line, sizeof line, "k%u=%u", i, i);
        append(list, sizeof list, i ? "," : "");
        append(list, sizeof list, line);
    }
    assert_int_equal(take(&wire, "baggage", list), 1);
    assert_int_equal(wire.malformed, 0);
    assert_int_equal(take(&wire, "baggage", "one=more"), -EINVAL);
    assert_int_equal(take(&wire, "baggage", " , "), 1); /* which is nothing */
    assert_baggage(&wire, list);
    append(list, sizeof list, ",one=more");
    wire = begun(&all, 0);
    assert_int_equal(take(&wire, "baggage", list), -EINVAL);
    list[strlen(list) - strlen(",one=more")] = 0;
    assert_baggage(&wire, list);
}

TEST(wire_malformed_members_count_too)
{
    canopy_wire wire = begun(&all, 0);
    for (unsigned i = 0; i < CANOPY_BAGGAGE_MEMBERS; i++)
        assert_int_equal(take(&wire, "baggage", "malformed"), -EINVAL);
    assert_int_equal(take(&wire, "baggage", "a=1"), -EINVAL);
    assert_int_equal(wire.taken, 0);
}

static char *line_of(size_t bytes)
{
    char *line = malloc(bytes + 1);
    assert_non_null(line);
    memset(line, 'x', bytes);
    line[0] = 'k';
    line[1] = '=';
    line[bytes] = 0;
    return line;
}

TEST(wire_baggage_beyond_8192_bytes_is_left_out)
{
    char *full = line_of(8192), *half = line_of(4096), *rest = line_of(4095);
    canopy_wire wire = begun(&all, 0);
    assert_int_equal(take(&wire, "baggage", full), 1);
    assert_int_equal(take(&wire, "baggage", "a=1"), -EINVAL);
    assert_baggage(&wire, full);
    wire = begun(&all, 0);
    assert_int_equal(take(&wire, "baggage", half), 1);
    assert_int_equal(take(&wire, "baggage", half), -EINVAL); /* with the comma one too much */
    assert_baggage(&wire, half);
    wire = begun(&all, 0);
    assert_int_equal(take(&wire, "baggage", half), 1);
    assert_int_equal(take(&wire, "baggage", rest), 1);
    assert_int_equal(wire.malformed, 0);
    assert_int_equal(take(&wire, "baggage", ""), -EINVAL);
    free(full);
    free(half);
    free(rest);
}

TEST(wire_a_member_that_ends_beyond_the_limit_is_not_cut)
{
    char *line = line_of(8200);
    static const char begin[] = {'a', '=', '1', ',', 'k', '='};
    memcpy(line, begin, sizeof begin);
    canopy_wire wire = begun(&all, 0);
    assert_int_equal(take(&wire, "baggage", line), -EINVAL);
    assert_baggage(&wire, "a=1");
    free(line);
}

TEST(wire_space_and_empty_lines_count_too)
{
    canopy_wire wire = begun(&all, 0);
    for (unsigned i = 0; i < 8193; i++) /* the first is begun by no comma */
        assert_int_equal(take(&wire, "baggage", ""), 1);
    assert_int_equal(take(&wire, "baggage", ""), -EINVAL);
    assert_int_equal(take(&wire, "baggage", "a=1"), -EINVAL);
    assert_int_equal(wire.taken, CANOPY_WIRE_BAGGAGE);
    assert_baggage(&wire, "");
}

/* ----------------------------------------------------------------------------- out */

TEST(wire_what_is_left_is_told_less_the_reserve)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_wire_policy policy = {.size = sizeof policy,
                                 .fields = CANOPY_WIRE_GRPC_TIMEOUT | CANOPY_WIRE_MS_TIMEOUT,
                                 .ms_name = "x-timeout-ms",
                                 .reserve_ns = MILLISECONDS(20)};
    canopy_ctx *call = canopy_with_deadline(f.root, SECONDS(1));
    static const struct {
        int64_t now_ms, try_ms;
        const char *grpc, *ms;
    } cases[] = {{300, 0, "680000u", "680"},
                 {300, 100, "80000000n", "80"},
                 {700, 0, "280000u", "280"},
                 {700, 500, "280000u", "280"},
                 {979, 0, "1000000n", "1"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sink sink = {.bytes = 0};
        policy.try_timeout_ns = MILLISECONDS(cases[i].try_ms);
        assert_int_equal(
            canopy_wire_write(call, &policy, NULL, MILLISECONDS(cases[i].now_ms), sink_add, &sink),
            0);
        assert_string_equal(sent(&sink, "grpc-timeout"), cases[i].grpc);
        assert_string_equal(sent(&sink, "x-timeout-ms"), cases[i].ms);
    }
    canopy_end(call);
    fixture_close(&f);
}

static void assert_nothing_written(const canopy_ctx *ctx, const canopy_wire_policy *policy,
                                   int64_t now, int err)
{
    struct sink sink = {.bytes = 0};
    assert_int_equal(canopy_wire_write(ctx, policy, NULL, now, sink_add, &sink), err);
    assert_int_equal(sink.bytes, 0);
}

TEST(wire_what_cannot_be_answered_in_time_is_not_sent)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_wire_policy policy = all;
    policy.reserve_ns = MILLISECONDS(20);
    canopy_ctx *call = canopy_with_deadline(f.root, SECONDS(1));
    assert_nothing_written(call, &policy, MILLISECONDS(980), -ETIMEDOUT);
    assert_nothing_written(call, &policy, MILLISECONDS(979) + 1, -ETIMEDOUT); /* no millisecond */
    assert_nothing_written(call, &policy, INT64_MAX, -ETIMEDOUT);
    policy.try_timeout_ns = MILLISECONDS(20);
    assert_nothing_written(call, &policy, 0, -ETIMEDOUT);
    assert_nothing_written(f.root, &policy, 0, -ETIMEDOUT);
    assert_true(canopy_cancel(call));
    policy.try_timeout_ns = 0;
    assert_nothing_written(call, &policy, 0, -ECANCELED);
    canopy_end(call);
    fixture_close(&f);
}

TEST(wire_what_has_no_limit_is_sent_without_one)
{
    struct sink sink = {.bytes = 0};
    canopy_wire_policy policy = all;
    policy.reserve_ns = SECONDS(1);
    assert_int_equal(canopy_wire_write(canopy_background(), &policy, NULL, 0, sink_add, &sink), 0);
    assert_int_equal(sink.bytes, 0);
    policy.try_timeout_ns = SECONDS(3);
    assert_int_equal(canopy_wire_write(canopy_background(), &policy, NULL, 0, sink_add, &sink), 0);
    assert_string_equal(sent(&sink, "grpc-timeout"), "2000000u");
    canopy_ctx *far = canopy_with_deadline(canopy_background(), INT64_MAX - 1);
    policy.try_timeout_ns = 0;
    sink = (struct sink){.bytes = 0};
    assert_int_equal(canopy_wire_write(far, &policy, NULL, INT64_MIN, sink_add, &sink), 0);
    assert_string_equal(sent(&sink, "grpc-timeout"), "2562047H");
    assert_string_equal(sent(&sink, "x-timeout-ms"), "9999999999");
    canopy_end(far);
}

TEST(wire_a_sink_that_refuses_ends_the_writing)
{
    struct sink sink = {.refuse = -ENOSPC};
    canopy_wire_policy policy = all;
    policy.try_timeout_ns = SECONDS(3);
    assert_int_equal(canopy_wire_write(canopy_background(), &policy, NULL, 0, sink_add, &sink),
                     -ENOSPC);
    assert_string_equal(sink.text, "grpc-timeout: 3000000u\n");
}

TEST(wire_a_request_passes_on_what_it_brought)
{
    struct sink sink = {.bytes = 0};
    canopy_wire wire = begun(&all, 0);
    assert_int_equal(take(&wire, "baggage", "a=1, b=2"), 1);
    canopy_ctx *request = canopy_with_wire(canopy_background(), &wire);
    canopy_ctx *layer = canopy_with_baggage(request, "c", 1, "3", 1, NULL, 0);
    canopy_ctx *call = canopy_with_cancel(layer);
    assert_int_equal(canopy_wire_write(call, &all, NULL, 0, sink_add, &sink), 0);
    assert_string_equal(sink.text, "baggage: a=1,b=2,c=3\n");
    canopy_end(call);
    canopy_release(layer);
    canopy_end(request);
}

TEST(wire_what_a_request_did_not_bring_is_that_above)
{
    canopy_wire wire = begun(&all, 0);
    assert_int_equal(
        take(&wire, "traceparent", "00-12345678901234567890123456789012-1234567890123456-01"), 1);
    canopy_ctx *above = canopy_with_baggage(canopy_background(), "a", 1, "1", 1, NULL, 0);
    canopy_ctx *request = canopy_with_wire(above, &wire);
    size_t bytes;
    assert_memory_equal(canopy_baggage_of(request, &bytes), "a=1", 3);
    canopy_release(above); /* which the request keeps */
    canopy_ctx *below = canopy_with_baggage(request, "b", 1, "2", 1, NULL, 0);
    assert_int_equal(canopy_traceparent_of(below)->trace_id[0], 0x12);
    canopy_end(request);
    assert_memory_equal(canopy_baggage_of(below, &bytes), "a=1,b=2", 7);
    assert_ptr_equal(canopy_traceparent_of(below), canopy_traceparent_of(below));
    canopy_release(below);
}

TEST(wire_a_request_that_finds_no_room_leaves_nothing)
{
    canopy_config config = {.size = sizeof config};
    for (config.max_live = 1; config.max_live <= 2; config.max_live++) {
        canopy_ctx *root = canopy_root_new(&config);
        canopy_ctx *only = canopy_with_cancel(root);
        canopy_wire wire = begun(&all, 0);
        assert_int_equal(take(&wire, "baggage", "a=1"), 1);
        errno = 0;
        assert_null(canopy_with_wire(only, &wire));
        assert_int_equal(errno, EAGAIN);
        canopy_end(only);
        assert_int_equal(canopy_wait_idle(root, now_ns() + SOON), 0);
        assert_true(eventually(canopy_root_free(root) == 0, SOON));
    }
}

/* ------------------------------------------------------------------- random values */

/* Any headers in: what goes out again is what comes in again, unchanged. */
static void any_request(void)
{
    static const char *const names[] = {"grpc-timeout", "x-timeout-ms", "traceparent", "tracestate",
                                        "baggage",      "baggage",      "tracestate",  "other"};
    static struct sink first, second;
    canopy_wire wire = begun(&all, 0), again = begun(&all, 0);
    char *values[12];
    size_t count = wired_below(12);
    for (size_t i = 0; i < count; i++) {
        size_t bytes = wired_below(60);
        values[i] = malloc(bytes + 1);
        for (size_t k = 0; k < bytes; k++)
            values[i][k] = wired_octet("abc019=,=,;% \t@-/", 200);
        const char *name = names[wired_below(sizeof names / sizeof *names)];
        int result = canopy_wire_take(&wire, name, strlen(name), values[i], bytes);
        assert_true(result == 1 || result == -EINVAL ||
                    (result == 0 && strcmp(name, "other") == 0));
    }
    if (wired_below(2)) {
        assert_int_equal(canopy_traceparent_next(NULL, 1, NULL, &wire.trace), 0);
        wire.taken |= CANOPY_WIRE_TRACE;
    }
    wire.timeout_ns = CANOPY_NEVER;
    canopy_ctx *request = canopy_with_wire(canopy_background(), &wire);
    for (size_t i = 0; i < count; i++)
        free(values[i]);
    const canopy_traceparent *trace = canopy_traceparent_of(request);
    first.bytes = second.bytes = 0;
    first.text[0] = second.text[0] = 0;
    assert_int_equal(canopy_wire_write(request, &all, trace, 0, sink_add, &first), 0);
    char *copies[3] = {strdup(sent(&first, "traceparent")), strdup(sent(&first, "tracestate")),
                       strdup(sent(&first, "baggage"))};
    for (size_t i = 0; i < 3; i++)
        if (*copies[i])
            assert_int_equal(take(&again, names[i + 2], copies[i]), 1);
    canopy_ctx *other = canopy_with_wire(canopy_background(), &again);
    assert_int_equal(
        canopy_wire_write(other, &all, canopy_traceparent_of(other), 0, sink_add, &second), 0);
    assert_string_equal(first.text, second.text);
    for (size_t i = 0; i < 3; i++)
        free(copies[i]);
    canopy_end(other);
    canopy_end(request);
}

TEST(wire_what_is_passed_on_is_taken_as_it_is)
{
    wired_both_seeds(any_request, SCALED(30000, 3000));
}
