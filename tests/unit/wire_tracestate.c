/*
 * wire_tracestate.c - a trace that a request brings and passes on, after the cases of the
 * W3C's own tests (test/test.py of w3c/trace-context), against what would be a server.
 */
#include "wire_sink.h"

#define TRACE "12345678901234567890123456789012"
#define GIVEN "00-" TRACE "-1234567890123456-00"

static const canopy_wire_policy policy = {.size = sizeof policy, .fields = CANOPY_WIRE_TRACE};

static struct sink out;

/* A request of those lines, "name:value"; a trace begins with it where none came. */
static canopy_ctx *request_with(const char *lines)
{
    canopy_wire wire;
    char *headers = strdup(lines), *rest = headers;
    assert_int_equal(canopy_wire_begin(&wire, &policy, 0), 0);
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *value = strchr(line, ':');
        if (value)
            (void)canopy_wire_take(&wire, line, (size_t)(value - line), value + 1,
                                   strlen(value + 1));
    }
    if (!(wire.taken & CANOPY_WIRE_TRACE)) {
        assert_int_equal(canopy_traceparent_next(NULL, CANOPY_TRACE_SAMPLED, NULL, &wire.trace), 0);
        wire.taken |= CANOPY_WIRE_TRACE;
    }
    canopy_ctx *request = canopy_with_wire(canopy_background(), &wire);
    free(headers);
    return request;
}

/* What one call of the request takes along. */
static void call(const canopy_ctx *request)
{
    canopy_traceparent trace;
    out = (struct sink){.bytes = 0};
    assert_int_equal(canopy_wire_write(request, &policy, NULL, 0, sink_add, &out), 0);
    const char *sent_trace = sent(&out, "traceparent");
    assert_int_equal(canopy_traceparent_parse(sent_trace, strlen(sent_trace), &trace), 0);
}

static void serve(const char *lines)
{
    canopy_ctx *request = request_with(lines);
    call(request);
    canopy_end(request);
}

static bool is_same_trace(void)
{
    const char *trace = sent(&out, "traceparent");
    return strncmp(trace, "00-" TRACE "-", 36) == 0 &&
           strncmp(trace + 36, "1234567890123456", 16) != 0;
}

/* With this trace and these lines of tracestate. */
static void assert_state(const char *lines, const char *expected)
{
    char headers[4096];
    snprintf(headers, sizeof headers, "traceparent: " GIVEN "\n%s", lines);
    serve(headers);
    assert_true(is_same_trace());
    assert_string_equal(sent(&out, "tracestate"), expected);
}

static void assert_a_new_trace(const char *lines)
{
    serve(lines);
    assert_false(is_same_trace());
    assert_string_equal(sent(&out, "tracestate"), "");
}

TEST(wire_a_request_without_a_trace_begins_one)
{
    assert_a_new_trace("");
    assert_a_new_trace("trace-parent: " GIVEN);
    assert_a_new_trace("trace.parent: " GIVEN);
    assert_a_new_trace("tracestate: foo=1");
    assert_a_new_trace("tracestate: foo=1,bar=2");
}

TEST(wire_a_request_goes_on_with_its_trace_as_another_span)
{
    serve("traceparent: 00-" TRACE "-1234567890123456-01");
    assert_true(is_same_trace());
    char first[64];
    snprintf(first, sizeof first, "%.55s", sent(&out, "traceparent"));
    serve("TrAcEpArEnT: 00-" TRACE "-1234567890123456-01");
    assert_true(is_same_trace());
    assert_string_not_equal(first, sent(&out, "traceparent"));
    serve("TraceParent: 00-" TRACE "-1234567890123456-01");
    assert_true(is_same_trace());
    serve("TRACEPARENT:\t 00-" TRACE "-1234567890123456-02 \t");
    assert_true(is_same_trace());
    assert_string_equal(sent(&out, "traceparent") + 53, "02");
}

TEST(wire_two_traces_are_none)
{
    assert_a_new_trace("traceparent: 00-12345678901234567890123456789011-1234567890123456-01\n"
                       "traceparent: " GIVEN "\ntracestate: foo=1");
    assert_a_new_trace("traceparent: " GIVEN "\ntracestate: foo=1\ntraceparent: " GIVEN);
    assert_a_new_trace("traceparent: x\ntraceparent: " GIVEN "\ntracestate: foo=1");
    assert_a_new_trace("traceparent: " GIVEN "\ntraceparent: ");
}

TEST(wire_a_malformed_trace_takes_its_state_along)
{
    assert_a_new_trace("traceparent: " GIVEN "-x\ntracestate: foo=1");
    assert_a_new_trace("tracestate: foo=1\ntraceparent: ff-" TRACE "-1234567890123456-00");
}

TEST(wire_a_state_goes_on_in_its_order)
{
    assert_state("tracestate: foo=1,bar=2", "foo=1,bar=2");
    assert_state("TraceState: foo=1", "foo=1");
    assert_state("TrAcEsTaTe: foo=1", "foo=1");
    assert_state("TRACESTATE: foo=1", "foo=1");
    assert_state("tracestate: foo=1,bar=2\ntracestate: rojo=1,congo=2\ntracestate: baz=3",
                 "foo=1,bar=2,rojo=1,congo=2,baz=3");
    assert_state("trace-state: foo=1", "");
    assert_state("trace.state: foo=1", "");
}

TEST(wire_a_state_may_be_empty)
{
    assert_state("tracestate: ", "");
    assert_state("tracestate: foo=1\ntracestate: ", "foo=1");
    assert_state("tracestate: \ntracestate: foo=1", "foo=1");
    assert_state("tracestate: , \t,foo=1,,", "foo=1");
}

TEST(wire_a_state_keeps_keys_that_come_twice)
{
    assert_state("tracestate: foo=1,foo=1", "foo=1,foo=1");
    assert_state("tracestate: foo=1,foo=2", "foo=1,foo=2");
    assert_state("tracestate: foo=1\ntracestate: foo=1", "foo=1,foo=1");
    assert_state("tracestate: foo=1\ntracestate: foo=2", "foo=1,foo=2");
}

#define KEY "abcdefghijklmnopqrstuvwxyz0123456789_-*/"

TEST(wire_a_state_may_have_what_the_grammar_has)
{
    assert_state("tracestate: " KEY "= !\"#$%&'()*+-./0;<>?@AZ[\\]^_`az{|}~",
                 KEY "= !\"#$%&'()*+-./0;<>?@AZ[\\]^_`az{|}~");
    assert_state("tracestate: " KEY "@a-z0-9_-*/=v", KEY "@a-z0-9_-*/=v");
    assert_state("tracestate: foo@=1,bar=2", "foo@=1,bar=2");
    assert_state("tracestate: foo@@bar=1,bar=2", "foo@@bar=1,bar=2");
    assert_state("tracestate: foo@bar@baz=1,bar=2", "foo@bar@baz=1,bar=2");
    assert_state("tracestate: 0foo=1", "0foo=1");
    assert_state("tracestate: foo=1 \t , \t bar=2, \t baz=3", "foo=1,bar=2,baz=3");
    assert_state("tracestate: foo=1\t \t,\t \tbar=2,\t \tbaz=3", "foo=1,bar=2,baz=3");
    assert_state("tracestate:\t foo=1 \t", "foo=1");
    assert_state("tracestate: foo=  1", "foo=  1");
}

TEST(wire_a_state_that_is_malformed_goes_whole)
{
    static const char *const malformed[] = {
        "foo =1",     "FOO=1",       "foo.bar=1",    "@foo=1,bar=2", "foo=bar=baz",
        "foo=,bar=3", "bar=3,foo= ", "foo",          "=1",           "_foo=1",
        "foo=1\t2",   "foo=1\x7f",   "foo=\xc3\xa9", "foo=1;\r",     "fo\xc3\xb6=1"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        char lines[256];
        snprintf(lines, sizeof lines, "tracestate: a=1\ntracestate: %s\ntracestate: b=2",
                 malformed[i]);
        assert_state(lines, "");
    }
}

TEST(wire_a_state_has_at_most_32_members)
{
    char lines[1024] = "tracestate: bar00=00", expected[1024] = "bar00=00", member[16];
    for (unsigned i = 1; i < CANOPY_TRACESTATE_MEMBERS; i++) {
        snprintf(member, sizeof member, "bar%02u=%02u", i, i);
        append(lines, sizeof lines, i % 10 ? "," : "\ntracestate: ");
        append(lines, sizeof lines, member);
        append(expected, sizeof expected, ",");
        append(expected, sizeof expected, member);
    }
    assert_state(lines, expected);
    append(lines, sizeof lines, ",bar32=32");
    assert_state(lines, "");
}

TEST(wire_a_state_has_keys_and_values_of_at_most_256_bytes)
{
    char lines[1024], key[258] = {0}, expected[1024];
    memset(key, 'z', 256);
    snprintf(lines, sizeof lines, "tracestate: foo=1\ntracestate: %s=1", key);
    snprintf(expected, sizeof expected, "foo=1,%s=1", key);
    assert_state(lines, expected);
    snprintf(lines, sizeof lines, "tracestate: foo=%s", key);
    assert_state(lines, lines + strlen("tracestate: "));
    key[256] = 'z';
    snprintf(lines, sizeof lines, "tracestate: foo=1\ntracestate: %s=1", key);
    assert_state(lines, "");
    snprintf(lines, sizeof lines, "tracestate: foo=%s", key);
    assert_state(lines, "");
    static const size_t ats[] = {1, 241, 242, 255};
    for (size_t i = 0; i < sizeof ats / sizeof *ats; i++) {
        memset(key, 'z', 256);
        key[ats[i]] = '@';
        key[256] = 0;
        snprintf(lines, sizeof lines, "tracestate: foo=1\ntracestate: %s=1", key);
        snprintf(expected, sizeof expected, "foo=1,%s=1", key);
        assert_state(lines, expected);
    }
    assert_state("tracestate: foo=1\ntracestate: t@vvvvvvvvvvvvvvv=1", "foo=1,t@vvvvvvvvvvvvvvv=1");
}

/* Three calls of one request are spans of one trace, and no two the same. */
static void assert_spans(const char *lines, bool is_given)
{
    canopy_ctx *request = request_with(lines);
    char traces[3][64];
    for (size_t i = 0; i < 3; i++) {
        call(request);
        assert_int_equal(is_same_trace(), is_given);
        snprintf(traces[i], sizeof traces[i], "%.55s", sent(&out, "traceparent"));
        assert_memory_equal(traces[i], traces[0], 36);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(traces[i], traces[j]);
    }
    canopy_end(request);
}

TEST(wire_many_calls_are_spans_of_one_trace)
{
    assert_spans("traceparent: " GIVEN, true);
    assert_spans("", false);
    assert_spans("traceparent: 00-00000000000000000000000000000000-1234567890123456-01", false);
}

TEST(wire_a_state_goes_with_its_own_trace_alone)
{
    canopy_wire wire;
    assert_int_equal(canopy_wire_begin(&wire, &policy, 0), 0);
    assert_int_equal(take(&wire, "traceparent", GIVEN), 1);
    assert_int_equal(take(&wire, "tracestate", "foo=1"), 1);
    canopy_ctx *request = canopy_with_wire(canopy_background(), &wire);
    canopy_traceparent own;
    assert_int_equal(canopy_traceparent_next(canopy_traceparent_of(request), 0, NULL, &own), 0);
    out = (struct sink){.bytes = 0};
    assert_int_equal(canopy_wire_write(request, &policy, &own, 0, sink_add, &out), 0);
    assert_string_equal(sent(&out, "tracestate"), "foo=1");
    assert_int_equal(canopy_traceparent_next(NULL, 0, NULL, &own), 0);
    out = (struct sink){.bytes = 0};
    assert_int_equal(canopy_wire_write(request, &policy, &own, 0, sink_add, &out), 0);
    assert_string_equal(sent(&out, "tracestate"), ""); /* of another trace */
    memset(&own, 0, sizeof own);
    assert_int_equal(canopy_wire_write(request, &policy, &own, 0, sink_add, &out), -EINVAL);
    canopy_end(request);
    wire.trace = own;
    errno = 0;
    assert_null(canopy_with_wire(canopy_background(), &wire));
    assert_int_equal(errno, EINVAL);
}
