/*
 * wire_status.c - the end of a context as a status of gRPC's and of HTTP's.
 */
#include "wired.h"

#include <signal.h>

static void assert_status(const canopy_ctx *ctx, int grpc, int http)
{
    canopy_wire_end end = canopy_wire_status(ctx);
    assert_int_equal(end.grpc_status, grpc);
    assert_int_equal(end.http_status, http);
}

static void assert_status_of(const canopy_cause *cause, int grpc, int http)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    assert_true(canopy_cancel_cause(ctx, cause));
    assert_status(ctx, grpc, http);
    canopy_end(ctx);
}

static void assert_status_of_code(int code, int grpc, int http)
{
    assert_status_of(&(canopy_cause){.code = code, .text = "a cause"}, grpc, http);
}

TEST(wire_what_lives_has_the_status_of_success)
{
    canopy_ctx *ctx = canopy_with_timeout(canopy_background(), HOURS(1));
    assert_status(ctx, 0, 200);
    assert_status(canopy_background(), 0, 200);
    canopy_end(ctx);
}

TEST(wire_an_end_has_the_status_of_its_cause)
{
    assert_status_of(NULL, 1, 499);
    static const int cancelled[] = {-ECANCELED, -EPIPE, -ECONNRESET, 0};
    static const int unavailable[] = {-EAGAIN, -EBUSY, -ECONNREFUSED, -EHOSTUNREACH, -ESHUTDOWN};
    static const int exhausted[] = {-EDQUOT, -ENOBUFS};
    static const int unknown[] = {-EIO, -ENOENT, 7, 14, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof cancelled / sizeof *cancelled; i++)
        assert_status_of_code(cancelled[i], 1, 499);
    for (size_t i = 0; i < sizeof unavailable / sizeof *unavailable; i++)
        assert_status_of_code(unavailable[i], 14, 503);
    for (size_t i = 0; i < sizeof exhausted / sizeof *exhausted; i++)
        assert_status_of_code(exhausted[i], 8, 429);
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_status_of_code(unknown[i], 2, 500);
    assert_status_of_code(-ETIMEDOUT, 4, 504);
}

TEST(wire_an_expiry_is_deadline_exceeded_whatever_its_cause)
{
    canopy_ctx *plain = canopy_with_deadline(canopy_background(), 0);
    canopy_ctx *named = canopy_with_deadline_cause(canopy_background(), 0,
                                                   CANOPY_CAUSE(-EBUSY, "the queue was long"));
    canopy_ctx *below = canopy_with_cancel(named);
    assert_status(plain, 4, 504);
    assert_status(named, 4, 504);
    assert_status(below, 4, 504);
    canopy_end(below);
    canopy_end(named);
    canopy_end(plain);
}

TEST(wire_a_signal_makes_a_server_unavailable)
{
    canopy_ctx *ctx = canopy_with_signals(canopy_background(), (int[]){SIGUSR1}, 1);
    raise(SIGUSR1);
    assert_true(canopy_wait(ctx, now_ns() + SOON));
    assert_status(ctx, 14, 503);
    canopy_end(ctx);
}

TEST(wire_a_status_that_came_is_told_again)
{
    static const int http[] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                               400, 409, 400, 501, 500, 503, 500, 401};
    assert_null(canopy_wire_cause(0));
    for (int status = 1; status <= 16; status++) {
        const canopy_cause *cause = canopy_wire_cause(status);
        assert_ptr_equal(cause, canopy_wire_cause(status));
        assert_true(cause->code < 0);
        assert_null(cause->file);
        assert_status_of(cause, status, http[status]);
        canopy_ctx *late = canopy_with_deadline_cause(canopy_background(), 0, cause);
        assert_status(late, status, http[status]);
        canopy_end(late);
    }
    assert_string_equal(canopy_wire_cause(16)->text, "UNAUTHENTICATED");
    assert_string_equal(canopy_wire_cause(10)->text, "ABORTED");
    assert_ptr_equal(canopy_wire_cause(17), canopy_wire_cause(2));
    assert_ptr_equal(canopy_wire_cause(INT32_MAX), canopy_wire_cause(2));
    assert_ptr_equal(canopy_wire_cause(-1), canopy_wire_cause(2));
}

TEST(wire_an_equal_cause_that_is_not_the_same_goes_by_its_code)
{
    canopy_cause copy = *canopy_wire_cause(16);
    assert_status_of(&copy, 2, 500);
}

TEST(wire_a_cancel_that_came_too_late_is_an_expiry)
{
    struct fixture f;
    fixture_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *call = canopy_with_deadline(f.root, 100);
    assert_int_equal(canopy_wire_answered(call, 1, 99), 1);
    assert_int_equal(canopy_wire_answered(call, 1, 100), 4);
    assert_int_equal(canopy_wire_answered(call, 14, 100), 14);
    assert_int_equal(canopy_wire_answered(call, 0, 100), 0);
    canopy_cancel(call); /* by us: and so it stays */
    assert_int_equal(canopy_wire_answered(call, 1, 100), 1);
    canopy_end(call);
    fixture_close(&f);
}

static void assert_message(const char *text, const char *encoded)
{
    char out[64];
    int bytes = canopy_grpc_message_encode(text, strlen(text), out, sizeof out);
    assert_int_equal(bytes, strlen(encoded));
    assert_memory_equal(out, encoded, strlen(encoded));
}

TEST(wire_a_message_is_what_a_header_may_have)
{
    assert_message("", "");
    assert_message("no time ~ left", "no time ~ left");
    assert_message("100 %", "100 %25");
    assert_message("two\r\nlines", "two%0D%0Alines");
    assert_message("caf\xc3\xa9\x7f", "caf%C3%A9%7F");
    assert_int_equal(canopy_grpc_message_encode(NULL, 0, NULL, 0), 0);
    assert_int_equal(canopy_grpc_message_encode("", (size_t)INT32_MAX, NULL, 0), -E2BIG);
}

TEST(wire_a_message_that_has_no_room_is_cut_before_an_escape)
{
    char out[8] = "########";
    assert_int_equal(canopy_grpc_message_encode(VALUE("ab\ncd"), out, 4), 7);
    assert_memory_equal(out, "ab######", 8);
    assert_int_equal(canopy_grpc_message_encode(VALUE("ab\ncd"), out, 6), 7);
    assert_memory_equal(out, "ab%0Ac##", 8);
    assert_int_equal(canopy_grpc_message_encode(VALUE("ab\ncd"), NULL, 0), 7);
}
