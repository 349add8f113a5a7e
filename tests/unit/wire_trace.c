/*
 * wire_trace.c - traceparent, as the W3C's Trace Context has it. The cases after theirs
 * (test/test.py of w3c/trace-context) are named after what they show.
 */
#include "wired.h"

#include <sys/wait.h>
#include <unistd.h>

#define TRACE "12345678901234567890123456789012"
#define SPAN  "1234567890123456"

static bool is_read(const char *value, canopy_traceparent *trace)
{
    canopy_traceparent before;
    memset(&before, 0xab, sizeof before);
    *trace = before;
    char *alone = wired_alone(value, strlen(value));
    int err = canopy_traceparent_parse(alone, strlen(value), trace);
    free(alone);
    if (err) {
        assert_int_equal(err, -EINVAL);
        assert_memory_equal(trace, &before, sizeof before);
    }
    return err == 0;
}

static void assert_kept(const char *value, const char *written)
{
    canopy_traceparent trace;
    char out[CANOPY_TRACEPARENT_BYTES];
    assert_true(is_read(value, &trace));
    canopy_traceparent_format(&trace, out);
    assert_memory_equal(out, written, sizeof out);
}

static void assert_refused(const char *value)
{
    canopy_traceparent trace;
    if (is_read(value, &trace))
        fail_msg("taken: %s", value);
}

TEST(wire_a_trace_is_read_and_written_as_it_was)
{
    assert_kept("00-" TRACE "-" SPAN "-00", "00-" TRACE "-" SPAN "-00");
    assert_kept("00-" TRACE "-" SPAN "-01", "00-" TRACE "-" SPAN "-01");
    canopy_traceparent trace;
    assert_true(is_read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", &trace));
    assert_int_equal(trace.trace_id[0], 0x0a);
    assert_int_equal(trace.trace_id[15], 0x9c);
    assert_int_equal(trace.span_id[0], 0xb7);
    assert_int_equal(trace.flags, CANOPY_TRACE_SAMPLED);
}

TEST(wire_a_trace_keeps_the_flags_that_are_known)
{
    assert_kept("00-" TRACE "-" SPAN "-02", "00-" TRACE "-" SPAN "-02");
    assert_kept("00-" TRACE "-" SPAN "-ff", "00-" TRACE "-" SPAN "-03");
    assert_kept("00-" TRACE "-" SPAN "-fc", "00-" TRACE "-" SPAN "-00");
    canopy_traceparent trace;
    assert_true(is_read("00-" TRACE "-" SPAN "-ff", &trace));
    assert_int_equal(trace.flags, CANOPY_TRACE_SAMPLED | CANOPY_TRACE_RANDOM);
}

TEST(wire_a_trace_of_version_00_has_nothing_behind_it)
{
    assert_refused("00-" TRACE "-" SPAN "-01.");
    assert_refused("00-" TRACE "-" SPAN "-01-");
    assert_refused("00-" TRACE "-" SPAN "-01-what-the-future-will-be-like");
    assert_refused("00-" TRACE "-" SPAN "-01-x");
}

TEST(wire_a_trace_of_a_later_version_is_read_as_far_as_it_is_known)
{
    assert_kept("cc-" TRACE "-" SPAN "-01", "00-" TRACE "-" SPAN "-01");
    assert_kept("cc-" TRACE "-" SPAN "-01-what-the-future-will-be-like",
                "00-" TRACE "-" SPAN "-01");
    assert_kept("01-" TRACE "-" SPAN "-01-", "00-" TRACE "-" SPAN "-01");
    assert_refused("cc-" TRACE "-" SPAN "-01.what-the-future-will-be-like");
    assert_refused("cc-" TRACE "-" SPAN "-011");
    assert_refused("ff-" TRACE "-" SPAN "-01");
    assert_refused("ff-" TRACE "-" SPAN "-01-x");
}

TEST(wire_a_trace_with_a_version_of_another_shape_is_refused)
{
    assert_refused(".0-" TRACE "-" SPAN "-01");
    assert_refused("0.-" TRACE "-" SPAN "-01");
    assert_refused("000-" TRACE "-" SPAN "-01");
    assert_refused("0000-" TRACE "-" SPAN "-01");
    assert_refused("0-" TRACE "-" SPAN "-01");
    assert_refused("CC-" TRACE "-" SPAN "-01");
}

TEST(wire_a_trace_with_an_id_of_another_shape_is_refused)
{
    assert_refused("00-00000000000000000000000000000000-" SPAN "-01");
    assert_refused("00-.2345678901234567890123456789012-" SPAN "-01");
    assert_refused("00-1234567890123456789012345678901.-" SPAN "-01");
    assert_refused("00-" TRACE "3-" SPAN "-01");
    assert_refused("00-1234567890123456789012345678901-" SPAN "-01");
    assert_refused("00-" TRACE "-0000000000000000-01");
    assert_refused("00-" TRACE "-.234567890123456-01");
    assert_refused("00-" TRACE "-123456789012345.-01");
    assert_refused("00-" TRACE "-" SPAN "7-01");
    assert_refused("00-" TRACE "-123456789012345-01");
    assert_refused("00-ABCDEFABCDEFABCDEFABCDEFABCDEFAB-" SPAN "-01");
    assert_refused("00-" TRACE "-ABCDEFABCDEFABCD-01");
}

TEST(wire_a_trace_with_flags_of_another_shape_is_refused)
{
    assert_refused("00-" TRACE "-" SPAN "-.0");
    assert_refused("00-" TRACE "-" SPAN "-0.");
    assert_refused("00-" TRACE "-" SPAN "-001");
    assert_refused("00-" TRACE "-" SPAN "-1");
    assert_refused("00-" TRACE "-" SPAN "-0A");
    assert_refused("00-" TRACE "-" SPAN "-");
    assert_refused("00-" TRACE "-" SPAN);
    assert_refused("00_" TRACE "-" SPAN "-01");
    assert_refused("00-" TRACE "_" SPAN "-01");
    assert_refused("00-" TRACE "-" SPAN "_01");
    assert_refused("");
}

TEST(wire_a_trace_may_have_space_around_it_and_none_within)
{
    assert_kept(" 00-" TRACE "-" SPAN "-01", "00-" TRACE "-" SPAN "-01");
    assert_kept("\t00-" TRACE "-" SPAN "-01", "00-" TRACE "-" SPAN "-01");
    assert_kept("00-" TRACE "-" SPAN "-01 ", "00-" TRACE "-" SPAN "-01");
    assert_kept("00-" TRACE "-" SPAN "-01\t", "00-" TRACE "-" SPAN "-01");
    assert_kept("\t 00-" TRACE "-" SPAN "-01 \t", "00-" TRACE "-" SPAN "-01");
    assert_refused("00 -" TRACE "-" SPAN "-01");
    assert_refused("00-" TRACE "-" SPAN "-01\r\n");
}

/* --------------------------------------------------------------------- the next span */

TEST(wire_the_next_span_is_of_the_same_trace)
{
    canopy_traceparent trace, next;
    assert_true(is_read("00-" TRACE "-" SPAN "-03", &trace));
    assert_int_equal(canopy_traceparent_next(&trace, 0, NULL, &next), 0);
    assert_memory_equal(next.trace_id, trace.trace_id, sizeof next.trace_id);
    assert_memory_not_equal(next.span_id, trace.span_id, sizeof next.span_id);
    assert_int_equal(next.flags, 3);
    static const uint8_t own[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_int_equal(canopy_traceparent_next(&trace, 0, own, &trace), 0);
    assert_memory_equal(trace.span_id, own, sizeof own);
    assert_memory_equal(next.trace_id, trace.trace_id, sizeof next.trace_id);
}

TEST(wire_a_new_trace_has_random_ids_and_says_so)
{
    canopy_traceparent one, two;
    assert_int_equal(canopy_traceparent_next(NULL, 0xff, NULL, &one), 0);
    assert_int_equal(canopy_traceparent_next(NULL, 0, NULL, &two), 0);
    assert_int_equal(one.flags, 3);
    assert_int_equal(two.flags, 2);
    assert_memory_not_equal(one.trace_id, two.trace_id, sizeof one.trace_id);
    assert_memory_not_equal(one.span_id, two.span_id, sizeof one.span_id);
    uint8_t own[24];
    for (uint8_t i = 0; i < 24; i++)
        own[i] = i;
    assert_int_equal(canopy_traceparent_next(NULL, 1, own, &one), 0);
    assert_memory_equal(one.span_id, own, 8);
    assert_memory_equal(one.trace_id, own + 8, 16);
}

TEST(wire_ids_of_nothing_are_refused)
{
    static const uint8_t none[24], some_span[24] = {1}, some_trace[24] = {[23] = 1};
    canopy_traceparent trace, before, nobody = {.flags = 1};
    assert_true(is_read("00-" TRACE "-" SPAN "-01", &trace));
    before = trace;
    assert_int_equal(canopy_traceparent_next(NULL, 0, none, &trace), -EINVAL);
    assert_int_equal(canopy_traceparent_next(NULL, 0, some_span, &trace), -EINVAL);
    assert_int_equal(canopy_traceparent_next(NULL, 0, some_trace, &trace), -EINVAL);
    assert_int_equal(canopy_traceparent_next(&before, 0, none, &trace), -EINVAL);
    assert_int_equal(canopy_traceparent_next(&nobody, 0, NULL, &trace), -EINVAL);
    assert_memory_equal(&trace, &before, sizeof trace);
}

static void round_trip(void)
{
    canopy_traceparent trace, again;
    char out[CANOPY_TRACEPARENT_BYTES];
    uint8_t own[24];
    for (size_t i = 0; i < sizeof own; i++)
        own[i] = (uint8_t)(wired_random() | 1);
    assert_int_equal(canopy_traceparent_next(NULL, (uint8_t)wired_random(), own, &trace), 0);
    canopy_traceparent_format(&trace, out);
    assert_int_equal(canopy_traceparent_parse(out, sizeof out, &again), 0);
    assert_memory_equal(&again, &trace, sizeof trace);
    out[wired_below(sizeof out)] = (char)(' ' + wired_below(16)); /* which has no digit */
    bool is_same = canopy_traceparent_parse(out, sizeof out, &again) == 0;
    assert_false(is_same && memcmp(&again, &trace, sizeof trace) != 0);
}

TEST(wire_any_trace_comes_back_and_a_changed_one_does_not)
{
    wired_both_seeds(round_trip, SCALED(200000, 20000));
}

/* ---------------------------------------------------------------------- random bytes */

TEST(wire_random_bytes_are_given_out_once)
{
    enum { TAKEN = 1000 };
    static uint64_t taken[TAKEN];
    for (size_t i = 0; i < TAKEN; i++) {
        assert_int_equal(canopy_random(&taken[i], sizeof taken[i]), 0);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(taken[i], taken[j]);
    }
    char all[CANOPY_RANDOM_BYTES + 1];
    assert_int_equal(canopy_random(all, CANOPY_RANDOM_BYTES), 0);
    assert_int_equal(canopy_random(all, 0), 0);
    assert_int_equal(canopy_random(all, sizeof all), -EINVAL);
    assert_int_equal(canopy_random(NULL, 8), -EINVAL);
}

TEST(wire_random_bytes_are_not_shared_with_a_child)
{
    uint64_t here, there;
    int ends[2];
    assert_int_equal(canopy_random(&here, sizeof here), 0);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    int err = canopy_random(&here, sizeof here);
    if (child == 0)
        _exit(err == 0 && write(ends[1], &here, sizeof here) == (ssize_t)sizeof here ? 0 : 1);
    assert_int_equal(err, 0);
    assert_int_equal(read(ends[0], &there, sizeof there), sizeof there);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_not_equal(here, there);
    close(ends[0]);
    close(ends[1]);
}
