/*
 * wire_timeout.c - time-outs in headers: what gRPC's description of its protocol asks for,
 * and that what is read back is never more than what was written.
 */
#include "wired.h"

static const int64_t untouched = -77;

/* What a parser makes of a value that lies alone in memory; `untouched` where it refuses. */
static int64_t read_by(int (*parse)(const char *value, size_t bytes, int64_t *timeout_ns),
                       const char *value, size_t bytes)
{
    int64_t timeout_ns = untouched;
    char *alone = wired_alone(value, bytes);
    int err = parse(alone, bytes, &timeout_ns);
    free(alone);
    assert_int_equal(err, timeout_ns == untouched ? -EINVAL : 0);
    return timeout_ns;
}

static int64_t grpc_read(const char *value, size_t bytes)
{
    return read_by(canopy_grpc_timeout_parse, value, bytes);
}

static int64_t ms_read(const char *value, size_t bytes)
{
    return read_by(canopy_ms_timeout_parse, value, bytes);
}

TEST(wire_grpc_timeouts_are_read_in_each_unit)
{
    assert_int_equal(grpc_read(VALUE("1S")), SECONDS(1));
    assert_int_equal(grpc_read(VALUE("3H")), HOURS(3));
    assert_int_equal(grpc_read(VALUE("2M")), SECONDS(120));
    assert_int_equal(grpc_read(VALUE("99999999m")), MILLISECONDS(99999999));
    assert_int_equal(grpc_read(VALUE("5u")), MICROSECONDS(5));
    assert_int_equal(grpc_read(VALUE("7n")), 7);
    assert_int_equal(grpc_read(VALUE("00000001S")), SECONDS(1));
    assert_int_equal(grpc_read(VALUE(" \t1S\t ")), SECONDS(1));
}

TEST(wire_grpc_timeouts_beyond_all_clocks_are_never)
{
    assert_int_equal(grpc_read(VALUE("2562047H")), INT64_C(9223369200000000000));
    assert_int_equal(grpc_read(VALUE("2562048H")), CANOPY_NEVER);
    assert_int_equal(grpc_read(VALUE("99999999H")), CANOPY_NEVER);
    assert_int_equal(grpc_read(VALUE("99999999M")), SECONDS(60) * 99999999);
}

TEST(wire_a_grpc_timeout_of_nothing_is_time_that_is_up)
{
    assert_int_equal(grpc_read(VALUE("0m")), 0);
    assert_int_equal(grpc_read(VALUE("0S")), 0);
    assert_int_equal(grpc_read(VALUE("00000000H")), 0);
}

TEST(wire_grpc_timeouts_are_refused_that_the_grammar_does_not_have)
{
    static const char *const malformed[] = {
        "100000000n", "000000001S", "S",   "",    " ",    "1",    "1s", "1h",  "1N", "1.5S", "1 S",
        "1S,2S",      "-1S",        "+1S", "1SS", "0x1S", "1e3m", "S1", "1S;", "٣S", "1\xb5"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        assert_int_equal(grpc_read(malformed[i], strlen(malformed[i])), untouched);
    assert_int_equal(grpc_read(VALUE("1S\0")), untouched);
    assert_int_equal(grpc_read(VALUE("1S\r\n")), untouched);
    assert_int_equal(grpc_read(NULL, 0), untouched);
}

static void assert_grpc_written(int64_t timeout_ns, const char *value)
{
    char out[CANOPY_TIMEOUT_BYTES];
    int bytes = canopy_grpc_timeout_format(timeout_ns, out);
    assert_int_equal(bytes, strlen(value));
    assert_memory_equal(out, value, strlen(value));
}

TEST(wire_grpc_timeouts_are_written_in_the_finest_unit_that_holds_them)
{
    assert_grpc_written(1, "1n");
    assert_grpc_written(99999999, "99999999n");
    assert_grpc_written(100000000, "100000u");
    assert_grpc_written(100000001, "100000u");
    assert_grpc_written(SECONDS(100), "100000m");
    assert_grpc_written(SECONDS(100) - 1, "99999999u");
    assert_grpc_written(HOURS(28), "100800S");
    assert_grpc_written(INT64_MAX - 1, "2562047H");
    assert_grpc_written(MILLISECONDS(680), "680000u");
    assert_grpc_written(MILLISECONDS(80), "80000000n");
}

TEST(wire_what_is_no_time_is_not_written)
{
    char out[CANOPY_TIMEOUT_BYTES];
    assert_int_equal(canopy_grpc_timeout_format(0, out), -ETIMEDOUT);
    assert_int_equal(canopy_grpc_timeout_format(INT64_MIN, out), -ETIMEDOUT);
    assert_int_equal(canopy_grpc_timeout_format(CANOPY_NEVER, out), -ENOENT);
    assert_int_equal(canopy_ms_timeout_format(0, out), -ETIMEDOUT);
    assert_int_equal(canopy_ms_timeout_format(-1, out), -ETIMEDOUT);
    assert_int_equal(canopy_ms_timeout_format(MILLISECONDS(1) - 1, out), -ETIMEDOUT);
    assert_int_equal(canopy_ms_timeout_format(CANOPY_NEVER, out), -ENOENT);
}

TEST(wire_milliseconds_are_one_to_ten_digits)
{
    assert_int_equal(ms_read(VALUE("0")), 0);
    assert_int_equal(ms_read(VALUE("250")), MILLISECONDS(250));
    assert_int_equal(ms_read(VALUE(" 0000000015 ")), MILLISECONDS(15));
    assert_int_equal(ms_read(VALUE("9999999999")), MILLISECONDS(INT64_C(9999999999)));
    static const char *const malformed[] = {"",    " ",   "10000000000", "1.5",  "-1", "+1",
                                            "1ms", "1 2", "1,2",         "0x10", "1e3"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        assert_int_equal(ms_read(malformed[i], strlen(malformed[i])), untouched);
    assert_int_equal(ms_read(VALUE("1\0")), untouched);
}

TEST(wire_milliseconds_are_rounded_down)
{
    char out[CANOPY_TIMEOUT_BYTES];
    assert_int_equal(canopy_ms_timeout_format(MILLISECONDS(2) - 1, out), 1);
    assert_memory_equal(out, "1", 1);
    assert_int_equal(canopy_ms_timeout_format(INT64_MAX - 1, out), 10);
    assert_memory_equal(out, "9999999999", 10);
}

/* ----------------------------------------------------------------- random values */

static void grpc_round_trip(void)
{
    int64_t left_ns = (int64_t)(wired_of_any_length() >> 1), read_ns = untouched;
    char out[CANOPY_TIMEOUT_BYTES];
    int bytes = canopy_grpc_timeout_format(left_ns, out);
    if (left_ns == 0 || left_ns == CANOPY_NEVER) {
        assert_true(bytes < 0);
        return;
    }
    assert_in_range(bytes, 2, 9);
    assert_int_equal(canopy_grpc_timeout_parse(out, (size_t)bytes, &read_ns), 0);
    assert_true(read_ns <= left_ns && read_ns > 0);
    assert_true(left_ns - read_ns <= left_ns / 100000);
    if (left_ns < MILLISECONDS(100))
        assert_int_equal(read_ns, left_ns);
}

static void ms_round_trip(void)
{
    int64_t left_ns = (int64_t)(wired_of_any_length() >> 1), read_ns = untouched;
    char out[CANOPY_TIMEOUT_BYTES];
    int bytes = canopy_ms_timeout_format(left_ns, out);
    if (left_ns < MILLISECONDS(1) || left_ns == CANOPY_NEVER) {
        assert_true(bytes < 0);
        return;
    }
    assert_in_range(bytes, 1, 10);
    assert_int_equal(canopy_ms_timeout_parse(out, (size_t)bytes, &read_ns), 0);
    assert_true(read_ns <= left_ns);
    if (left_ns < MILLISECONDS(INT64_C(9999999999)))
        assert_true(left_ns - read_ns < MILLISECONDS(1));
}

/* Whatever is read is written as something that reads the same, or less by a little. */
static void any_grpc_timeout(void)
{
    static const char often[] = "0123456789HMSmun \t";
    char value[12];
    size_t bytes = wired_below(sizeof value + 1);
    for (size_t i = 0; i < bytes; i++)
        value[i] = wired_octet(often, 16);
    int64_t timeout_ns = grpc_read(value, bytes);
    assert_true(timeout_ns == untouched || timeout_ns >= 0);
}

TEST(wire_timeouts_come_back_as_less_never_as_more)
{
    wired_both_seeds(grpc_round_trip, SCALED(1000000, 100000));
    wired_both_seeds(ms_round_trip, SCALED(1000000, 100000));
    wired_both_seeds(any_grpc_timeout, SCALED(100000, 20000));
}
