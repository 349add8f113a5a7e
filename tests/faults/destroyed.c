/*
 * destroyed.c - destructors of values that end the thread that they run on: all that
 * was to end with the value ends all the same, and nobody else notices.
 */
#include "deadly.h"

static const canopy_key deadly_key = {"deadly", run_and_die};

/* Layer over layer, each kept by the next alone: all end when the last one does. */
static canopy_ctx *deadly_layers(const canopy_ctx *parent, struct deadly *deadly)
{
    canopy_ctx *layers = NULL;
    for (unsigned i = 0; i < hands; i++) {
        canopy_ctx *next = canopy_with_value(layers ? layers : parent, &deadly_key, deadly);
        assert_non_null(next);
        canopy_release(layers);
        layers = next;
    }
    return layers;
}

TEST(thread_killed_in_destructors)
{
    for (enum death death = 0; death < DEATHS; death++) {
        struct fixture fixture;
        struct deadly deadly = {.death = death};
        struct thread thread;
        fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
        canopy_ctx *top = canopy_with_cancel(fixture.root);
        canopy_ctx *layers = deadly_layers(top, &deadly);
        canopy_ctx *bottom = canopy_with_cancel(layers);
        assert_non_null(bottom);
        canopy_release(layers);
        canopy_release(top);
        thread_start(&thread, end_context, bottom);
        thread_join(&thread);
        assert_int_equal(atomic_load(&deadly.runs), hands);
        fixture_close(&fixture);
    }
}

/* Layers that nothing keeps but a callback, which lets go of them when it has run or is stopped. */
struct kept {
    struct fixture fixture;
    struct deadly deadly;
    canopy_ctx *ctx;
    canopy_callback callbacks[2];
    atomic_uint runs;
};

static void kept_open(struct kept *kept, enum death death)
{
    memset(kept, 0, sizeof *kept);
    kept->deadly.death = death;
    fixture_open(&kept->fixture, CANOPY_CLOCK_LIBRARY);
    kept->ctx = canopy_with_cancel(kept->fixture.root);
    canopy_ctx *layers = deadly_layers(kept->ctx, &kept->deadly);
    assert_int_equal(canopy_after_func(layers, &kept->callbacks[0], count_call, &kept->runs), 0);
    assert_int_equal(canopy_after_func(kept->ctx, &kept->callbacks[1], count_call, &kept->runs), 0);
    canopy_release(layers);
    assert_int_equal(atomic_load(&kept->deadly.runs), 0);
}

static void kept_close(struct kept *kept)
{
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(canopy_callback_join(&kept->callbacks[i]), 0);
    assert_true(eventually(atomic_load(&kept->deadly.runs) == hands, SOON));
    canopy_end(kept->ctx);
    fixture_close(&kept->fixture);
}

TEST(thread_killed_in_destructors_of_what_a_callback_kept)
{
    for (enum death death = 0; death < DEATHS; death++) {
        struct kept kept;
        struct thread thread;
        kept_open(&kept, death);
        thread_start(&thread, cancel_context, kept.ctx);
        thread_join(&thread);
        assert_int_equal(atomic_load(&kept.runs), 2);
        kept_close(&kept);
    }
}

static void stop_callback(void *callback)
{
    canopy_callback_stop(callback);
}

TEST(thread_killed_in_destructors_of_what_a_stopped_callback_kept)
{
    for (enum death death = 0; death < DEATHS; death++) {
        struct kept kept;
        struct thread thread;
        kept_open(&kept, death);
        thread_start(&thread, stop_callback, &kept.callbacks[0]);
        thread_join(&thread);
        assert_false(canopy_callback_stop(&kept.callbacks[0]));
        assert_true(canopy_cancel(kept.ctx));
        assert_int_equal(atomic_load(&kept.runs), 1);
        kept_close(&kept);
    }
}

/* On the library's own thread, which must be there for the next round. */
TEST(thread_killed_in_destructors_at_expiry)
{
    for (unsigned round = 0; round < 2; round++) {
        for (enum death death = 0; death < DEATHS; death++) {
            struct kept kept;
            kept_open(&kept, death);
            /* Far enough not to be past when it is set: this thread is not to die. */
            assert_true(canopy_set_deadline(kept.ctx, now_ns() + MILLISECONDS(500)));
            assert_true(canopy_wait(kept.ctx, now_ns() + SOON));
            assert_true(eventually(atomic_load(&kept.runs) == 2, SOON));
            kept_close(&kept);
        }
    }
}
