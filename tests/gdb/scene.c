/*
 * scene.c - contexts of all kinds, then a standstill for gdb. Usage: scene notes|plain [N [DUMP]]
 * N more contexts are under the second root; DUMP is a file for the library's own account.
 *
 *     background
 *       service             a timeout of an hour; a callback
 *     root                  of the library's clock: "server"
 *       request             named, due in an hour; waited for by a thread; two callbacks, an fd
 *         value             of a key
 *           call            below a value layer
 *       refused             canceled by a cause with a code; and below it
 *         below
 *       late                timed out
 *       detached            without_cancel, below "request"
 *       any                 of "request" and "service"
 *       crowd...            N of them
 *     root                  of the host's clock, at 5 s: "simulation"
 *       step                due in an hour; a callback on a loop
 */
#include "scene.h"

#include <canopy/loop.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOUR_NS  INT64_C(3600000000000)
#define CHECK(x) ((x) ? (void)0 : abort())

static const canopy_key user_key = {.name = "user"};

static void on_end(void *arg)
{
    (void)arg;
}

static void *sleeper(void *request)
{
    (void)canopy_wait(request, CANOPY_NEVER);
    return NULL;
}

static canopy_ctx *new_root(const char *mode, bool is_hosts)
{
    canopy_config config = {.size = sizeof config};
    if (strcmp(mode, "notes") == 0)
        config.inspect = CANOPY_INSPECT_NOTES;
    if (is_hosts) {
        config.clock = CANOPY_CLOCK_HOST;
        config.now_ns = INT64_C(5000000000);
    }
    canopy_ctx *root = canopy_root_new(&config);
    CHECK(root);
    return root;
}

static canopy_ctx *named(canopy_ctx *ctx, const char *name)
{
    CHECK(ctx);
    canopy_name(ctx, name);
    return ctx;
}

static void crowd(canopy_ctx *root, size_t n)
{
    for (size_t i = 0; i < n; i++)
        named(canopy_with_cancel(root), "crowd");
}

/* Until the thread sleeps on it. */
static void await_waiter(const canopy_ctx *request)
{
    while (*(const volatile uintptr_t *)(const void *)request == 0)
        usleep(1000);
}

int main(int argc, char **argv)
{
    static canopy_callback callbacks[3];
    static canopy_loop loop;
    static canopy_loop_callback on_loop;
    const char *mode = argc > 1 ? argv[1] : "notes";
    if (strcmp(mode, "notes") == 0)
        CHECK(canopy_inspect_background() == 0);

    canopy_ctx *service = named(canopy_with_timeout(canopy_background(), HOUR_NS), "service");
    CHECK(canopy_after_func(service, &callbacks[0], on_end, NULL) == 0);

    canopy_ctx *server = named(new_root(mode, false), "server");
    canopy_ctx *request = named(canopy_with_timeout(server, HOUR_NS), "request");
    CHECK(canopy_after_func(request, &callbacks[1], on_end, request) == 0);
    CHECK(canopy_after_func(request, &callbacks[2], on_end, NULL) == 0);
    CHECK(canopy_done_fd(request) >= 0);
    canopy_ctx *value = canopy_with_value(request, &user_key, "somebody");
    canopy_ctx *call = named(canopy_with_cancel(value), "call");
    canopy_ctx *detached = named(canopy_without_cancel(request), "detached");

    canopy_ctx *refused = named(canopy_with_cancel(server), "refused");
    canopy_ctx *below = named(canopy_with_cancel(refused), "below");
    canopy_cancel_cause(refused, CANOPY_CAUSE(-EBUSY, "over the limit"));

    canopy_ctx *late = named(canopy_with_timeout(server, 1), "late");
    CHECK(canopy_wait(late, CANOPY_NEVER) && canopy_err(late) == -ETIMEDOUT);

    const canopy_ctx *inputs[] = {request, service};
    canopy_ctx *any = named(canopy_with_any(inputs, 2), "either");

    canopy_ctx *host = named(new_root(mode, true), "simulation");
    canopy_ctx *step = named(canopy_with_timeout(host, HOUR_NS), "step");
    CHECK(canopy_loop_init(&loop, host) == 0);
    CHECK(canopy_loop_after_func(step, &loop, &on_loop, on_end, NULL) == 0);

    crowd(server, argc > 2 ? strtoul(argv[2], NULL, 0) : 0);

    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, sleeper, request) == 0);
    await_waiter(request);
    (void)call, (void)detached, (void)below, (void)any;
    stand_still(request, argc > 3 ? argv[3] : NULL);
    return 0;
}
