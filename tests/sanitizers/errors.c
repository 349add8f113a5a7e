/*
 * errors.c - what AddressSanitizer, LeakSanitizer, UBSan and valgrind must report in
 * a program that uses canopy: without a report here, their silence elsewhere says
 * nothing.
 */
#include "../unit/harness.h"

#include <stdlib.h>

/* Behind the compiler's back, so that it keeps what it could see to be of no use. */
static void *volatile lost;

TEST(planted_leak)
{
    lost = malloc(100);
    lost = NULL;
}

static void nothing(void *arg)
{
    (void)arg;
}

/* The library itself touches the record: its code is watched, too. */
TEST(planted_record_freed_while_armed)
{
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    canopy_callback *record = malloc(sizeof *record);
    assert_int_equal(canopy_after_func(ctx, record, nothing, NULL), 0);
    free(record);
    canopy_end(ctx);
}

TEST(planted_shift_too_far)
{
    volatile unsigned places = 40;
    /* cppcheck-suppress [shiftTooManyBits,integerOverflow] ; planted */
    volatile int shifted = 1 << places; /* NOLINT(clang-analyzer-core.*): planted */
    (void)shifted;
}
