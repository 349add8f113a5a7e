/*
 * refuse.c - the call of a program that does everything wrong at once: each error
 * has to be told, and nothing may change.
 */
#include "calls.h"

#include <errno.h>
#include <signal.h>

static void expect_refused(const struct run *run, const canopy_ctx *ctx)
{
    if (ctx || errno != EINVAL)
        run_fail(run, "bad input was not refused: errno %d", errno);
    errno = 0;
}

static void *allocate_nothing(void *user, size_t align_bytes, size_t size_bytes)
{
    (void)user;
    (void)align_bytes;
    (void)size_bytes;
    return NULL;
}

static void refuse_configs(const struct run *run)
{
    struct {
        canopy_config config;
        char tail[8];
    } longer = {.config.size = sizeof longer, .tail = {1}};
    const canopy_config configs[] = {
        {.size = sizeof(size_t) - 1},
        {.size = SIZE_MAX},
        {.size = sizeof(canopy_config), .allocate = allocate_nothing},
        {.size = sizeof(canopy_config), .clock = CANOPY_CLOCK_HOST, .now_ns = -1},
        {.size = sizeof(canopy_config), .clock = (canopy_clock)7},
    };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++)
        expect_refused(run, canopy_root_new(&configs[i]));
    expect_refused(run, canopy_root_new(&longer.config));
}

void call_bad_input(struct run *run, const uint8_t *arg)
{
    struct handle handle = run->handles[call_pick(run, arg[0])];
    struct callback *callback = &run->callbacks[arg[1] % RUN_CALLBACKS];
    const canopy_ctx *with_null[] = {handle.ctx, NULL};
    const int signals[] = {SIGUSR1, arg[1] % 2 ? SIGKILL : 65 + arg[1]};
    expect_refused(run, canopy_with_cancel(NULL));
    expect_refused(run, canopy_with_deadline(NULL, 1));
    expect_refused(run, canopy_with_timeout(NULL, 1));
    expect_refused(run, canopy_with_value(handle.ctx, NULL, NULL));
    expect_refused(run, canopy_with_value(NULL, &run_keys[0], NULL));
    expect_refused(run, canopy_without_cancel(NULL));
    expect_refused(run, canopy_with_any(NULL, 1));
    expect_refused(run, canopy_with_any(with_null, 0));
    expect_refused(run, canopy_with_any(with_null, 2));
    expect_refused(run, canopy_with_signals(NULL, signals, 1));
    expect_refused(run, canopy_with_signals(handle.ctx, signals, 0));
    expect_refused(run, canopy_with_signals(handle.ctx, signals, 2));
    canopy_group refused = {0};
    int handle_kind = run->model.nodes[handle.node].kind;
    bool good =
        !canopy_cancel(NULL) && !canopy_set_deadline(NULL, 1) && !canopy_set_timeout(NULL, 1) &&
        !canopy_try_reset(NULL) && !canopy_retain(NULL) && canopy_wait_any(NULL, 1, 0) == -EINVAL &&
        canopy_wait_any(with_null, 0, 0) == -EINVAL &&
        canopy_wait_any(with_null, 2, 0) == -EINVAL && canopy_wait_idle(NULL, 0) == -EINVAL &&
        canopy_root_free(NULL) == -EINVAL && canopy_root_advance(NULL, 1, NULL) == -EINVAL &&
        !canopy_callback_stop(NULL) && canopy_callback_join(NULL) == -EINVAL &&
        canopy_group_init(&refused, NULL, 0) == -EINVAL &&
        canopy_group_init(NULL, handle.ctx, 0) == -EINVAL && !canopy_group_ctx(NULL) &&
        canopy_group_go(&refused, NULL, NULL) == -EINVAL && canopy_group_wait(NULL) == -EINVAL &&
        canopy_after_func(handle.ctx, NULL, run_callback, NULL) == -EINVAL;
    if (good && handle_kind != NODE_ROOT)
        good = canopy_root_free(handle.ctx) == -EINVAL &&
               canopy_root_advance(handle.ctx, CANOPY_NEVER, NULL) == -EINVAL;
    if (good && (callback->state == CALLBACK_IDLE || callback->state == CALLBACK_RAN))
        good = canopy_after_func(handle.ctx, &callback->record, NULL, NULL) == -EINVAL &&
               canopy_after_func(NULL, &callback->record, run_callback, NULL) == -EINVAL;
    if (!good)
        run_fail(run, "bad input was not refused");
    refuse_configs(run);
    canopy_release(NULL);
    canopy_end(NULL);
}
