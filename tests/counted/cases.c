/*
 * cases.c - the operations that are counted.
 */
#include "counted.h"

#include <canopy/inspect.h>
#include <canopy/wire.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define REPEAT for (unsigned i = 0; i < BATCH; i++)

/* Keeps the compiler from leaving out what gave `value`. */
static inline void keep(uintptr_t value)
{
    __asm__ volatile("" : : "r"(value) : "memory");
}

/* A context of the thread's own, under the one that all share. */
static void enter_ctx(struct scene *scene, struct part *part)
{
    part->ctx = must(canopy_with_cancel(scene->parent));
}

static void leave_ctx(struct scene *scene, struct part *part)
{
    (void)scene;
    canopy_end(part->ctx);
}

/* --------------------------------------------------------------- short lives */

static void work_create(struct scene *scene, struct part *part)
{
    (void)part;
    REPEAT canopy_end(must(canopy_with_cancel(scene->parent)));
}

static void work_cancel_release(struct scene *scene, struct part *part)
{
    (void)part;
    REPEAT
    {
        canopy_ctx *ctx = must(canopy_with_cancel(scene->parent));

        canopy_cancel(ctx);
        canopy_release(ctx);
    }
}

static void work_timeout(struct scene *scene, struct part *part)
{
    (void)part;
    REPEAT canopy_end(must(canopy_with_timeout(scene->parent, TIMEOUT_NS)));
}

static const canopy_key user_key = {.name = "user"};
static const canopy_key trace_key = {.name = "trace"};

/* A connection, a request with its timeout, two values, two calls upstream. */
static void work_request(struct scene *scene, struct part *part)
{
    REPEAT
    {
        canopy_ctx *connection = must(canopy_with_cancel(scene->parent));
        canopy_ctx *request = must(canopy_with_timeout(connection, TIMEOUT_NS));
        canopy_ctx *user = must(canopy_with_value(request, &user_key, part));
        canopy_ctx *trace = must(canopy_with_value(user, &trace_key, part));
        canopy_ctx *first = must(canopy_with_cancel(trace));
        canopy_ctx *second = must(canopy_with_cancel(trace));

        canopy_end(first);
        canopy_end(second);
        canopy_release(trace);
        canopy_release(user);
        canopy_end(request);
        canopy_end(connection);
    }
}

/* Under a parent that somebody has waited for, in vain. */
static void enter_after_idle(struct scene *scene, struct part *part)
{
    const canopy_ctx *parent = scene->parent;
    work_create(scene, part);
    canopy_ctx *child = must(canopy_with_cancel(parent));
    if (canopy_wait_idle(parent, 0) == 0)
        must(NULL);
    canopy_end(child);
}

/* Beside somebody who waits until what stays there has gone. */
static void enter_beside_idle(struct scene *scene, struct part *part)
{
    part->ctx = must(canopy_with_cancel(scene->parent));
    part->sleeper = sleeper_new();
    sleeper_sleep_until_idle(part->sleeper, scene->parent);
}

static void leave_beside_idle(struct scene *scene, struct part *part)
{
    (void)scene;
    canopy_end(part->ctx);
    sleeper_await(part->sleeper);
    sleeper_free(part->sleeper);
}

/* Under a root that could not be freed. */
static void enter_after_refusal(struct scene *scene, struct part *part)
{
    work_create(scene, part);
    canopy_ctx *child = must(canopy_with_cancel(scene->parent));
    if (canopy_root_free(scene->top) == 0)
        must(NULL);
    canopy_end(child);
}

/* Under two parents in turn: what is left free by one child was the other's. */
static void work_two(struct scene *scene, struct part *part)
{
    const canopy_ctx *parents[] = {scene->parent, scene->second};

    (void)part;
    REPEAT canopy_end(must(canopy_with_cancel(parents[i % 2])));
}

/* All of them busy. */
static void enter_roots(struct scene *scene, struct part *part)
{
    (void)scene;
    for (unsigned i = 0; i < ROOTS; i++) {
        part->roots[i] = must(canopy_root_new(NULL));
        for (unsigned j = 0; j < BATCH; j++)
            canopy_end(must(canopy_with_cancel(part->roots[i])));
    }
}

static void leave_roots(struct scene *scene, struct part *part)
{
    (void)scene;
    for (unsigned i = 0; i < ROOTS; i++)
        if (canopy_root_free(part->roots[i]) != 0)
            must(NULL);
}

static void work_roots(struct scene *scene, struct part *part)
{
    (void)scene;
    REPEAT canopy_end(must(canopy_with_cancel(part->roots[i % ROOTS])));
}

/* Made elsewhere, released by a thread that never makes anything under that root. */
struct maker {
    pthread_t thread;
    sem_t told, made;
    struct part *for_whom; /* NULL: no more */
};

static void *maker_main(void *arg)
{
    struct maker *maker = arg;

    for (;;) {
        await(&maker->told);
        struct part *part = maker->for_whom;
        if (!part)
            return NULL;
        REPEAT part->nodes[i] = must(canopy_with_cancel(part->roots[0]));
        sem_post(&maker->made);
    }
}

static void enter_elsewhere(struct scene *scene, struct part *part)
{
    struct maker *maker = part->maker = must(calloc(1, sizeof *maker));

    (void)scene;
    part->roots[0] = must(canopy_root_new(NULL));
    maker->for_whom = part;
    sem_init(&maker->told, 0, 0);
    sem_init(&maker->made, 0, 0);
    if (pthread_create(&maker->thread, NULL, maker_main, maker) != 0)
        must(NULL);
}

static void before_elsewhere(struct scene *scene, struct part *part)
{
    (void)scene;
    sem_post(&part->maker->told);
    await(&part->maker->made);
}

static void leave_elsewhere(struct scene *scene, struct part *part)
{
    struct maker *maker = part->maker;

    (void)scene;
    maker->for_whom = NULL;
    sem_post(&maker->told);
    pthread_join(maker->thread, NULL);
    sem_destroy(&maker->told);
    sem_destroy(&maker->made);
    free(maker);
    if (canopy_root_free(part->roots[0]) != 0)
        must(NULL);
}

static void work_elsewhere(struct scene *scene, struct part *part)
{
    (void)scene;
    REPEAT canopy_release(part->nodes[i]);
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void work_churn(struct scene *scene, struct part *part)
{
    REPEAT
    {
        canopy_ctx **place = &part->standing[random_next(&part->random) % scene->live];

        canopy_end(*place);
        *place = must(canopy_with_cancel(scene->parent));
    }
}

/* Made by one thread, ended by its neighbour. */
static void work_handover(struct scene *scene, struct part *part)
{
    canopy_ctx **nodes = scene->parts[(part - scene->parts) & ~1].nodes;

    if ((part - scene->parts) & 1)
        REPEAT canopy_end(nodes[i]);
    else
        REPEAT nodes[i] = must(canopy_with_cancel(scene->parent));
}

/* -------------------------------------------------------------------- cancel */

static void before_wide(struct scene *scene, struct part *part)
{
    part->ctx = must(canopy_with_cancel(scene->parent));
    for (unsigned i = 0; i < CROWD; i++)
        part->nodes[i] = must(canopy_with_cancel(part->ctx));
}

static void before_deep(struct scene *scene, struct part *part)
{
    part->ctx = must(canopy_with_cancel(scene->parent));
    for (unsigned i = 0; i < CROWD; i++)
        part->nodes[i] = must(canopy_with_cancel(i ? part->nodes[i - 1] : part->ctx));
}

static void work_cancel(struct scene *scene, struct part *part)
{
    (void)scene;
    canopy_cancel(part->ctx);
}

static void after_crowd(struct scene *scene, struct part *part)
{
    (void)scene;
    for (unsigned i = CROWD; i-- > 0;) {
        must(canopy_done(part->nodes[i]) ? part : NULL);
        canopy_end(part->nodes[i]);
    }
    canopy_end(part->ctx);
}

/* A parent of FEW children, or callbacks, that once had a crowd of them. */
#define FEW 10

static void before_once_wide(struct scene *scene, struct part *part)
{
    before_wide(scene, part);
    for (unsigned i = 0; i < CROWD; i++)
        canopy_end(part->nodes[i]);
    for (unsigned i = 0; i < FEW; i++)
        part->nodes[i] = must(canopy_with_cancel(part->ctx));
}

static void after_once_wide(struct scene *scene, struct part *part)
{
    (void)scene;
    for (unsigned i = 0; i < FEW; i++)
        canopy_end(part->nodes[i]);
    canopy_end(part->ctx);
}

static canopy_callback once[CROWD];

static void notice(void *arg)
{
    (void)arg;
}

static void before_once_callbacks(struct scene *scene, struct part *part)
{
    part->ctx = must(canopy_with_cancel(scene->parent));
    for (unsigned i = 0; i < CROWD; i++)
        must(canopy_after_func(part->ctx, &once[i], notice, NULL) == 0 ? part : NULL);
    for (unsigned i = FEW; i < CROWD; i++)
        must(canopy_callback_stop(&once[i]) ? part : NULL);
}

/*
 * A cancel that loses to one which has come to a stop in the middle: at a context whose fd
 * it cannot write. On `n` merged contexts with a child each.
 */
static struct losing {
    pthread_t winner;
    sem_t told, through;
    canopy_ctx *ctx; /* for the winner to cancel; NULL: no more */
    int fd;          /* of the context at which it stops */
    unsigned n;
    canopy_ctx *other;
    canopy_ctx **merged;
    canopy_ctx **below;
} losing;

static void *winner_main(void *arg)
{
    (void)arg;
    for (;;) {
        await(&losing.told);
        if (!losing.ctx)
            return NULL;
        canopy_cancel(losing.ctx);
        sem_post(&losing.through);
    }
}

static void enter_losing(struct scene *scene, struct part *part)
{
    (void)scene;
    (void)part;
    sem_init(&losing.told, 0, 0);
    sem_init(&losing.through, 0, 0);
    if (pthread_create(&losing.winner, NULL, winner_main, NULL) != 0)
        must(NULL);
}

static void leave_losing(struct scene *scene, struct part *part)
{
    (void)scene;
    (void)part;
    losing.ctx = NULL;
    sem_post(&losing.told);
    pthread_join(losing.winner, NULL);
    sem_destroy(&losing.told);
    sem_destroy(&losing.through);
}

static void before_losing(struct part *part, unsigned n)
{
    const uint64_t full = UINT64_MAX - 1;

    losing.n = n;
    losing.merged = must(calloc(n, sizeof *losing.merged));
    losing.below = must(calloc(n, sizeof *losing.below));
    losing.ctx = part->ctx = must(canopy_with_cancel(canopy_background()));
    losing.other = must(canopy_with_cancel(canopy_background()));
    for (unsigned i = 0; i < n; i++) {
        const canopy_ctx *inputs[] = {losing.other, losing.ctx};
        losing.merged[i] = must(canopy_with_any(inputs, 2));
        losing.below[i] = must(canopy_with_cancel(losing.merged[i]));
    }
    losing.fd = canopy_done_fd(losing.below[0]);
    if (fcntl(losing.fd, F_SETFL, 0) != 0 || write(losing.fd, &full, sizeof full) < 0)
        must(NULL);
    sem_post(&losing.told);
    while (!canopy_done(losing.below[0]))
        usleep(100);
}

static void before_losing_crowd(struct scene *scene, struct part *part)
{
    (void)scene;
    before_losing(part, CROWD);
}

static void before_losing_crowds(struct scene *scene, struct part *part)
{
    (void)scene;
    before_losing(part, CROWDS * CROWD);
}

static void after_losing(struct scene *scene, struct part *part)
{
    uint64_t full;

    (void)scene;
    if (read(losing.fd, &full, sizeof full) < 0)
        must(NULL);
    await(&losing.through);
    for (unsigned i = losing.n; i-- > 0;) {
        must(canopy_done(losing.below[i]) ? part : NULL);
        canopy_end(losing.below[i]);
        canopy_end(losing.merged[i]);
    }
    canopy_end(losing.other);
    canopy_end(part->ctx);
    free(losing.below);
    free(losing.merged);
}

static void enter_wake(struct scene *scene, struct part *part)
{
    (void)scene;
    part->sleeper = sleeper_new();
}

static void before_wake(struct scene *scene, struct part *part)
{
    enter_ctx(scene, part);
    sleeper_sleep(part->sleeper, part->ctx);
}

static void after_wake(struct scene *scene, struct part *part)
{
    sleeper_await(part->sleeper);
    leave_ctx(scene, part);
}

static void leave_wake(struct scene *scene, struct part *part)
{
    (void)scene;
    sleeper_free(part->sleeper);
}

/* ------------------------------------------------------------------- observe */

static void work_err(struct scene *scene, struct part *part)
{
    (void)scene;
    REPEAT keep((uintptr_t)canopy_err(part->ctx));
}

#define LAYERS 32
static canopy_key keys[LAYERS];

static void enter_value(struct scene *scene, struct part *part)
{
    for (unsigned i = 0; i < LAYERS; i++)
        part->nodes[i] =
            must(canopy_with_value(i ? part->nodes[i - 1] : scene->parent, &keys[i], part));
}

static void work_value(struct scene *scene, struct part *part)
{
    (void)scene;
    REPEAT keep((uintptr_t)canopy_value(part->nodes[LAYERS - 1], &keys[0]));
}

static void leave_value(struct scene *scene, struct part *part)
{
    (void)scene;
    for (unsigned i = LAYERS; i-- > 0;)
        canopy_release(part->nodes[i]);
}

/* ------------------------------------------------------------------- inspect */

/* All that there are, some at a time. */
static void work_walk(struct scene *scene, struct part *part)
{
    canopy_info infos[256];
    canopy_walk walk = {.info_bytes = sizeof *infos};

    (void)scene;
    (void)part;
    while (canopy_walk_next(&walk, infos, 256) > 0)
        keep((uintptr_t)infos);
}

static int drop(void *user, const char *bytes, size_t n)
{
    (void)user;
    keep((uintptr_t)bytes + n);
    return 0;
}

static void work_json(struct scene *scene, struct part *part)
{
    (void)scene;
    (void)part;
    if (canopy_dump(NULL, CANOPY_FORMAT_JSON, drop, NULL) != 0)
        must(NULL);
}

/* ----------------------------------------------------------------- callbacks */

static void nothing(void *arg)
{
    (void)arg;
}

static void work_callback(struct scene *scene, struct part *part)
{
    REPEAT
    {
        keep((uintptr_t)canopy_after_func(scene->parent, &part->callback, nothing, part));
        keep(canopy_callback_stop(&part->callback));
    }
}

/* From one turn to the next, as a server's turns are. */
#define TURN_NS (SECOND_NS / 1000)

/* A loop of the thread's own, without a clock to drive. */
static void enter_loop(struct scene *scene, struct part *part)
{
    (void)scene;
    if (canopy_loop_init(&part->loop, NULL) != 0)
        must(NULL);
}

static void leave_loop(struct scene *scene, struct part *part)
{
    (void)scene;
    if (canopy_loop_close(&part->loop) != 0)
        must(NULL);
}

/* A context whose end the loop hears of, in a turn of its own. */
static void work_loop(struct scene *scene, struct part *part)
{
    REPEAT
    {
        canopy_ctx *ctx = must(canopy_with_cancel(scene->parent));

        keep((uintptr_t)canopy_loop_after_func(ctx, &part->loop, &part->loop_callback, nothing,
                                               part));
        canopy_cancel(ctx);
        keep((uintptr_t)canopy_loop_timeout_ns(&part->loop, 0));
        keep((uintptr_t)canopy_loop_run(&part->loop, 0));
        canopy_release(ctx);
    }
}

/* A loop of the thread's own that drives a root of its own, and what comes due there in turn. */
static void enter_turn(struct scene *scene, struct part *part)
{
    canopy_config config = {
        .size = sizeof config, .clock = CANOPY_CLOCK_HOST, .now_ns = scene->now_ns};
    part->ctx = must(canopy_root_new(&config));
    part->now_ns = scene->now_ns;
    if (canopy_loop_init(&part->loop, part->ctx) != 0)
        must(NULL);
}

static void before_turn(struct scene *scene, struct part *part)
{
    (void)scene;
    REPEAT part->nodes[i] = must(canopy_with_timeout(part->ctx, (i + 1) * TURN_NS));
}

static void work_turn(struct scene *scene, struct part *part)
{
    (void)scene;
    REPEAT keep((uintptr_t)canopy_loop_run(&part->loop, part->now_ns += TURN_NS));
}

/* One that is made, comes due, and ends, with nothing else below that root. */
static void work_turn_alone(struct scene *scene, struct part *part)
{
    (void)scene;
    REPEAT
    {
        canopy_ctx *ctx = must(canopy_with_timeout(part->ctx, TURN_NS));

        keep((uintptr_t)canopy_loop_timeout_ns(&part->loop, part->now_ns));
        keep((uintptr_t)canopy_loop_run(&part->loop, part->now_ns += TURN_NS));
        canopy_end(ctx);
    }
}

static void after_turn(struct scene *scene, struct part *part)
{
    (void)scene;
    REPEAT
    {
        must(canopy_done(part->nodes[i]) ? part : NULL);
        canopy_end(part->nodes[i]);
    }
}

static void leave_turn(struct scene *scene, struct part *part)
{
    leave_loop(scene, part);
    if (canopy_wait_idle(part->ctx, CANOPY_NEVER) != 0 || canopy_root_free(part->ctx) != 0)
        must(NULL);
}

/* And one that ends before it has to. */
static void work_loop_stop(struct scene *scene, struct part *part)
{
    REPEAT
    {
        keep((uintptr_t)canopy_loop_after_func(scene->parent, &part->loop, &part->loop_callback,
                                               nothing, part));
        keep(canopy_loop_callback_stop(&part->loop_callback));
    }
}

/* ----------------------------------------------------------------- deadlines */

/* By any clock: one that is past would end the context. */
#define FAR_AWAY_NS (CANOPY_NEVER - TIMEOUT_NS)

static void work_arm(struct scene *scene, struct part *part)
{
    (void)scene;
    must(canopy_done(part->ctx) ? NULL : part);
    REPEAT
    {
        keep(canopy_set_deadline(part->ctx, FAR_AWAY_NS));
        keep(canopy_set_deadline(part->ctx, CANOPY_NEVER));
    }
}

/* Rounds are so short that those which stand in the scene do not come due. */
#define EXPIRE_NS (SECOND_NS / 100)

static void before_expire(struct scene *scene, struct part *part)
{
    for (unsigned i = 0; i < CROWD; i++)
        part->nodes[i] = must(canopy_with_timeout(scene->parent, EXPIRE_NS));
    scene->now_ns += EXPIRE_NS;
    part->ctx = must(canopy_with_cancel(scene->parent));
}

static void work_expire(struct scene *scene, struct part *part)
{
    (void)part;
    canopy_root_advance(scene->top, scene->now_ns, NULL);
}

/* ---------------------------------------------------------- to other machines */

static void work_timeout_parse(struct scene *scene, struct part *part)
{
    (void)scene;
    REPEAT
    {
        if (canopy_grpc_timeout_parse("29999950u", 9, &part->now_ns) != 0)
            must(NULL);
    }
}

static void work_timeout_format(struct scene *scene, struct part *part)
{
    (void)scene;
    (void)part;
    REPEAT
    {
        char out[CANOPY_TIMEOUT_BYTES];
        keep((uintptr_t)canopy_grpc_timeout_format(TIMEOUT_NS, out));
    }
}

static void work_trace_parse(struct scene *scene, struct part *part)
{
    (void)scene;
    (void)part;
    REPEAT
    {
        canopy_traceparent trace;
        if (canopy_traceparent_parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                     CANOPY_TRACEPARENT_BYTES, &trace) != 0)
            must(NULL);
    }
}

static const canopy_wire_policy wire_policy = {.size = sizeof wire_policy,
                                               .fields = CANOPY_WIRE_GRPC_TIMEOUT |
                                                         CANOPY_WIRE_TRACE | CANOPY_WIRE_BAGGAGE,
                                               .reserve_ns = SECOND_NS / 50};

static void wire_take(canopy_wire *wire, const char *name, const char *value)
{
    if (canopy_wire_take(wire, name, strlen(name), value, strlen(value)) < 0)
        must(NULL);
}

static int wire_drop(void *user, const char *name, size_t name_bytes, const char *value,
                     size_t value_bytes)
{
    (void)user;
    keep((uintptr_t)name + name_bytes + (uintptr_t)value + value_bytes);
    return 0;
}

/* A request that brought its time-out and what is no concern of ours, and one call below it. */
static void wire_serve(struct scene *scene, bool is_traced)
{
    canopy_wire wire;
    if (canopy_wire_begin(&wire, &wire_policy, scene->now_ns) != 0)
        must(NULL);
    wire_take(&wire, "content-type", "application/grpc");
    wire_take(&wire, "user-agent", "grpc-c/44.2.0");
    wire_take(&wire, "grpc-timeout", "29999950u");
    if (is_traced) {
        wire_take(&wire, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        wire_take(&wire, "tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
        wire_take(&wire, "baggage", "userId=alice,serverNode=DF%2028,isProduction=false");
    }
    canopy_ctx *request = must(canopy_with_wire(scene->parent, &wire));
    canopy_ctx *call = must(canopy_with_cancel(request));
    if (canopy_wire_write(call, &wire_policy, NULL, scene->now_ns, wire_drop, NULL) != 0)
        must(NULL);
    canopy_end(call);
    canopy_end(request);
}

static void work_wire_timed(struct scene *scene, struct part *part)
{
    (void)part;
    REPEAT wire_serve(scene, false);
}

static void work_wire_traced(struct scene *scene, struct part *part)
{
    (void)part;
    REPEAT wire_serve(scene, true);
}

/* ------------------------------------------------------------------- planted */

/*
 * All that is not to be, and must be found: memory and a grace period of the
 * library's, a system call, a line that all write, work that grows.
 */
static void work_planted(struct scene *scene, struct part *part)
{
    (void)part;
    if (canopy_root_free(must(canopy_root_new(NULL))) != 0)
        must(NULL);
    keep((uintptr_t)getppid());
    canopy_release(canopy_retain(scene->parent));
    for (size_t i = 0; i < scene->live / 100; i++)
        keep(i);
}

/* --------------------------------------------------------------------- table */

/* clang-format off */
/* ------------------------------------------------------------------------ traces */

static void enter_trace(struct scene *scene, struct part *part)
{
    (void)scene;
    (void)part;
    if (canopy_trace_start(65536) != 0)
        abort();
}

static void leave_trace(struct scene *scene, struct part *part)
{
    (void)scene;
    (void)part;
    canopy_trace_stop();
}

const struct counted_case counted_cases[] = {
    {.name = "create", .parent = UNDER_SHARED, .operations = BATCH, .work = work_create},
    {.name = "create_under_background", .parent = UNDER_BACKGROUND, .operations = BATCH,
     .work = work_create},
    {.name = "create_in_middle", .parent = UNDER_MIDDLE, .operations = BATCH, .work = work_create},
    {.name = "create_among_many", .parent = UNDER_SHARED, .operations = BATCH, .live = CROWD,
     .work = work_create},
    {.name = "create_under_root", .parent = UNDER_ROOT, .operations = BATCH, .work = work_create},
    {.name = "create_after_idle", .parent = UNDER_SHARED, .operations = BATCH,
     .enter = enter_after_idle, .work = work_create},
    {.name = "create_beside_idle", .parent = UNDER_SHARED, .operations = BATCH,
     .enter = enter_beside_idle, .work = work_create, .leave = leave_beside_idle},
    {.name = "create_after_refusal", .parent = UNDER_ROOT, .operations = BATCH,
     .enter = enter_after_refusal, .work = work_create},
    {.name = "create_under_two", .parent = UNDER_TWO, .operations = BATCH, .work = work_two},
    {.name = "create_under_roots", .parent = UNDER_SHARED, .operations = BATCH,
     .enter = enter_roots, .work = work_roots, .leave = leave_roots},
    {.name = "release_elsewhere", .parent = UNDER_SHARED, .operations = BATCH,
     .enter = enter_elsewhere, .before = before_elsewhere, .work = work_elsewhere,
     .leave = leave_elsewhere},
    {.name = "cancel_release", .parent = UNDER_SHARED, .operations = BATCH,
     .work = work_cancel_release},
    {.name = "timeout", .parent = UNDER_SHARED, .operations = BATCH, .work = work_timeout},
    {.name = "timeout_host_clock", .parent = UNDER_HOST_ROOT, .operations = BATCH,
     .work = work_timeout},
    {.name = "request", .parent = UNDER_SHARED, .operations = BATCH, .work = work_request},
    {.name = "churn", .parent = UNDER_SHARED, .operations = BATCH, .live = 100000,
     .work = work_churn},
    {.name = "handover", .parent = UNDER_SHARED, .operations = BATCH / 2, .threads = 2,
     .work = work_handover},
    {.name = "cancel_wide", .parent = UNDER_SHARED, .operations = CROWD, .before = before_wide,
     .work = work_cancel, .after = after_crowd},
    {.name = "cancel_deep", .parent = UNDER_SHARED, .operations = CROWD, .before = before_deep,
     .work = work_cancel, .after = after_crowd},
    {.name = "cancel_once_wide", .parent = UNDER_SHARED, .operations = FEW,
     .before = before_once_wide, .work = work_cancel, .after = after_once_wide},
    {.name = "cancel_once_callbacks", .parent = UNDER_SHARED, .operations = FEW,
     .before = before_once_callbacks, .work = work_cancel, .after = leave_ctx},
    {.name = "cancel_losing", .parent = UNDER_BACKGROUND, .operations = CROWD,
     .enter = enter_losing, .before = before_losing_crowd, .work = work_cancel,
     .after = after_losing, .leave = leave_losing},
    {.name = "cancel_losing_more", .parent = UNDER_BACKGROUND, .operations = CROWDS * CROWD,
     .enter = enter_losing, .before = before_losing_crowds, .work = work_cancel,
     .after = after_losing, .leave = leave_losing},
    {.name = "wake", .parent = UNDER_SHARED, .operations = 1, .wakes = 1, .enter = enter_wake,
     .before = before_wake, .work = work_cancel, .after = after_wake, .leave = leave_wake},
    {.name = "err", .parent = UNDER_SHARED, .operations = BATCH, .enter = enter_ctx,
     .work = work_err, .leave = leave_ctx},
    {.name = "value", .parent = UNDER_SHARED, .operations = BATCH, .enter = enter_value,
     .work = work_value, .leave = leave_value},
    {.name = "callback", .parent = UNDER_SHARED, .operations = BATCH, .work = work_callback},
    {.name = "loop", .parent = UNDER_SHARED, .operations = BATCH, .enter = enter_loop,
     .work = work_loop, .leave = leave_loop},
    {.name = "loop_stop", .parent = UNDER_SHARED, .operations = BATCH, .enter = enter_loop,
     .work = work_loop_stop, .leave = leave_loop},
    {.name = "turn", .parent = UNDER_BACKGROUND, .operations = BATCH, .enter = enter_turn,
     .before = before_turn, .work = work_turn, .after = after_turn, .leave = leave_turn},
    {.name = "turn_alone", .parent = UNDER_BACKGROUND, .operations = BATCH, .enter = enter_turn,
     .work = work_turn_alone, .leave = leave_turn},
    {.name = "turns", .parent = UNDER_BACKGROUND, .operations = BATCH, .threads = 2,
     .enter = enter_turn, .before = before_turn, .work = work_turn, .after = after_turn,
     .leave = leave_turn},
    {.name = "arm", .parent = UNDER_SHARED, .operations = BATCH, .enter = enter_ctx,
     .work = work_arm, .leave = leave_ctx},
    {.name = "arm_host_clock", .parent = UNDER_HOST_ROOT, .operations = BATCH, .enter = enter_ctx,
     .work = work_arm, .leave = leave_ctx},
    {.name = "expire", .parent = UNDER_HOST_ROOT, .operations = CROWD, .before = before_expire,
     .work = work_expire, .after = after_crowd},
    {.name = "noted_create", .parent = UNDER_NOTED_ROOT, .operations = BATCH, .work = work_create},
    {.name = "noted_cancel_release", .parent = UNDER_NOTED_ROOT, .operations = BATCH,
     .work = work_cancel_release},
    {.name = "noted_timeout", .parent = UNDER_NOTED_ROOT, .operations = BATCH,
     .work = work_timeout},
    {.name = "noted_request", .parent = UNDER_NOTED_ROOT, .operations = BATCH,
     .work = work_request},
    {.name = "traced_create", .parent = UNDER_NOTED_ROOT, .operations = BATCH,
     .enter = enter_trace, .work = work_create, .leave = leave_trace},
    {.name = "noted_walk", .parent = UNDER_NOTED_ROOT, .operations = CROWD, .live = CROWD,
     .work = work_walk},
    {.name = "noted_json", .parent = UNDER_NOTED_ROOT, .operations = CROWD, .live = CROWD,
     .work = work_json},
    {.name = "wire_timeout_parse", .parent = UNDER_BACKGROUND, .operations = BATCH,
     .work = work_timeout_parse},
    {.name = "wire_timeout_format", .parent = UNDER_BACKGROUND, .operations = BATCH,
     .work = work_timeout_format},
    {.name = "wire_trace_parse", .parent = UNDER_BACKGROUND, .operations = BATCH,
     .work = work_trace_parse},
    {.name = "wire_timed", .parent = UNDER_HOST_ROOT, .operations = BATCH,
     .work = work_wire_timed},
    {.name = "wire_traced", .parent = UNDER_HOST_ROOT, .operations = BATCH,
     .work = work_wire_traced},
    {.name = "planted", .parent = UNDER_SHARED, .operations = 1, .work = work_planted},
    {.name = NULL},
};
/* clang-format on */
