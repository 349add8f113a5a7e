/*
 * litmus_scenarios.c - a few stores and loads of which every outcome is known, to
 * show that the explorer's store buffers are x86's.
 */
#include "base/base.h"

#include "explore.h"

#include <linux/membarrier.h>

static atomic_u32 x, y;
static uint32_t seen_of_x, seen_of_y;

/* --------------------------------------------------------------- store buffering */

static void check_one_saw_the_other(void)
{
    CHECK(seen_of_x == 1 || seen_of_y == 1);
    scenario_close();
}

static void stores_x_release(void)
{
    u32_store_release(&x, 1);
    seen_of_y = u32_load_acquire(&y);
}

static void stores_y_release(void)
{
    u32_store_release(&y, 1);
    seen_of_x = u32_load_acquire(&x);
}

/* Must fail with store buffers, and only with them. */
SCENARIO(store_buffering_release)
{
    beside(stores_x_release, stores_y_release, NULL);
    check_one_saw_the_other();
}

static void stores_x_seq_cst(void)
{
    u32_store_seq_cst(&x, 1);
    seen_of_y = u32_load_seq_cst(&y);
}

static void stores_y_seq_cst(void)
{
    u32_store_seq_cst(&y, 1);
    seen_of_x = u32_load_seq_cst(&x);
}

SCENARIO(store_buffering_seq_cst)
{
    beside(stores_x_seq_cst, stores_y_seq_cst, NULL);
    check_one_saw_the_other();
}

static void stores_x_fenced(void)
{
    u32_store_relaxed(&x, 1);
    fence_seq_cst();
    seen_of_y = u32_load_relaxed(&y);
}

static void stores_y_fenced(void)
{
    u32_store_relaxed(&y, 1);
    fence_seq_cst();
    seen_of_x = u32_load_relaxed(&x);
}

SCENARIO(store_buffering_fenced)
{
    beside(stores_x_fenced, stores_y_fenced, NULL);
    check_one_saw_the_other();
}

static void exchanges_y(void)
{
    u32_exchange_acq_rel(&y, 1);
    seen_of_x = u32_load_acquire(&x);
}

static void exchanges_x(void)
{
    u32_exchange_acq_rel(&x, 1);
    seen_of_y = u32_load_acquire(&y);
}

SCENARIO(store_buffering_exchange)
{
    beside(exchanges_x, exchanges_y, NULL);
    check_one_saw_the_other();
}

/* One side without a fence, the other with one for both. */
static void stores_y_for_all(void)
{
    u32_store_relaxed(&y, 1);
    syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    seen_of_x = u32_load_relaxed(&x);
}

SCENARIO(store_buffering_with_membarrier)
{
    beside(stores_x_release, stores_y_for_all, NULL);
    check_one_saw_the_other();
}

/* Must fail with store buffers: a fence on one side alone is none. */
SCENARIO(store_buffering_without_membarrier)
{
    beside(stores_x_release, stores_y_seq_cst, NULL);
    check_one_saw_the_other();
}

/* ------------------------------------------------------------------- what is kept */

static void publishes(void)
{
    u32_store_relaxed(&x, 1);
    u32_store_release(&y, 1);
}

static void reads_published(void)
{
    seen_of_y = u32_load_acquire(&y);
    seen_of_x = u32_load_relaxed(&x);
    CHECK(!seen_of_y || seen_of_x);
}

/* Stores appear in their order. */
SCENARIO(message_passing)
{
    beside(publishes, reads_published, NULL);
    scenario_close();
}

static void reads_own(void)
{
    u32_store_relaxed(&x, 1);
    CHECK(u32_load_relaxed(&x) == 1);
    u32_store_relaxed(&x, 2);
    CHECK(u32_load_relaxed(&x) == 2);
}

static void reads_in_order(void)
{
    uint32_t first = u32_load_relaxed(&x);
    uint32_t second = u32_load_relaxed(&x);
    CHECK(first <= second);
}

/* A fiber sees its own stores at once, and nobody sees one taken back. */
SCENARIO(reading_own_stores)
{
    beside(reads_own, reads_in_order, NULL);
    scenario_close();
}
