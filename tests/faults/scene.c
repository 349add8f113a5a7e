/*
 * scene.c - the scene of scene.h, and the child processes that play it.
 */
#include "scene.h"

#include <canopy/inspect.h>
#include <canopy/wire.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * ThreadSanitizer otherwise ends a child that starts a thread, and each process a
 * second late.
 */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0:atexit_sleep_ms=0";
}

/* Enough siblings to need more than a slab of contexts and several blocks of slots. */
enum { crowd_size = 1100, made_most = crowd_size + 20, wide = 65 };

struct scene {
    const int *allowed;
    unsigned refused;
    canopy_ctx *root; /* NULL: all is below background */
    const canopy_ctx *top;
    struct {
        canopy_ctx *ctx;
        int64_t deadline_ns;
    } made[made_most]; /* live, with this effective deadline */
    size_t made_count;
    canopy_callback callback, stopped;
    atomic_uint runs, destroyed;
};

static const canopy_key counted = {"counted", count_call};
static const canopy_cause late = {-ETIMEDOUT, "the deadline of the scene", __FILE__, __LINE__};

static void assert_as_it_was(const struct scene *scene)
{
    for (size_t i = 0; i < scene->made_count; i++) {
        assert_live(scene->made[i].ctx);
        assert_deadline(scene->made[i].ctx, scene->made[i].deadline_ns);
    }
    if (scene->top)
        assert_live(scene->top);
    assert_int_equal(atomic_load(&scene->runs), 0);
    assert_int_equal(atomic_load(&scene->destroyed), 0);
}

/* A call was refused. */
static void refused(struct scene *scene, int err)
{
    bool known = false;
    for (const int *allowed = scene->allowed; *allowed; allowed++)
        known = known || *allowed == err;
    if (!known)
        print_error("refused with %d\n", err);
    assert_true(known);
    fault_lift_all();
    scene->refused++;
    assert_as_it_was(scene);
}

/* The handle that `call` gives, at the second try if need be. */
#define obtain(scene, call)                                                                        \
    (__extension__({                                                                               \
        errno = 0;                                                                                 \
        canopy_ctx *obtained = (call);                                                             \
        if (!obtained) {                                                                           \
            refused((scene), errno);                                                               \
            obtained = (call);                                                                     \
        }                                                                                          \
        assert_non_null(obtained);                                                                 \
        obtained;                                                                                  \
    }))

/* The same for calls that give a negative errno. */
#define succeed(scene, call)                                                                       \
    (__extension__({                                                                               \
        int succeeded = (call);                                                                    \
        if (succeeded < 0) {                                                                       \
            refused((scene), -succeeded);                                                          \
            succeeded = (call);                                                                    \
        }                                                                                          \
        assert_true(succeeded >= 0);                                                               \
        succeeded;                                                                                 \
    }))

static canopy_ctx *keep(struct scene *scene, canopy_ctx *ctx, int64_t deadline_ns)
{
    assert_true(scene->made_count < made_most);
    scene->made[scene->made_count].ctx = ctx;
    scene->made[scene->made_count++].deadline_ns = deadline_ns;
    return ctx;
}

static int fail_member(const canopy_ctx *ctx, void *arg)
{
    (void)ctx;
    count_call(arg);
    return -5;
}

static void play_group(struct scene *scene, const canopy_ctx *parent)
{
    enum { members = 3 };
    atomic_uint runs = 0;
    canopy_group group;
    succeed(scene, canopy_group_init(&group, parent, 2));
    for (unsigned i = 0; i < members; i++)
        succeed(scene, canopy_group_go(&group, fail_member, &runs));
    assert_int_equal(canopy_group_wait(&group), -5);
    assert_int_equal(atomic_load(&runs), members);
}

static void play_waits(struct scene *scene, const canopy_ctx *one, const canopy_ctx *two)
{
    const canopy_ctx *all[wide];
    for (size_t i = 0; i < wide; i++)
        all[i] = scene->made[scene->made_count - 1 - i].ctx;
    assert_int_equal(
        canopy_wait_any((const canopy_ctx *[]){one, two}, 2, now_ns() + MILLISECONDS(1)), -ETIME);
    assert_int_equal(canopy_wait_any(all, wide, now_ns() + MILLISECONDS(1)), -ETIME);
    assert_int_equal(canopy_sleep(one, MILLISECONDS(1)), 0);
}

static void play_expiry(struct scene *scene)
{
    int64_t deadline_ns = now_ns() + MILLISECONDS(3);
    canopy_ctx *ctx = obtain(scene, canopy_with_deadline_cause(scene->top, deadline_ns, &late));
    assert_true(canopy_wait(ctx, now_ns() + SOON));
    assert_true(now_ns() >= deadline_ns);
    assert_ended(ctx, -ETIMEDOUT, &late);
    canopy_end(ctx);
}

static void play_signal(struct scene *scene, const canopy_ctx *parent)
{
    static const int number = SIGUSR2;
    signal(number, SIG_IGN); /* what is to be there again afterwards */
    canopy_ctx *ctx = obtain(scene, canopy_with_signals(parent, &number, 1));
    assert_int_equal(kill(getpid(), number), 0);
    assert_true(canopy_wait(ctx, now_ns() + SOON));
    assert_int_equal(canopy_cause_of(ctx)->code, number);
    canopy_end(ctx);
    assert_true(signal(number, SIG_DFL) == SIG_IGN);
}

static canopy_ctx *make_request(const canopy_ctx *parent)
{
    static const canopy_wire_policy policy = {.size = sizeof policy, .fields = CANOPY_WIRE_BAGGAGE};
    canopy_wire wire;
    assert_int_equal(canopy_wire_begin(&wire, &policy, 0), 0);
    assert_int_equal(canopy_wire_take(&wire, "baggage", 7, "a=1,b=2", 7), 1);
    return canopy_with_wire(parent, &wire);
}

static void assert_baggage(const canopy_ctx *ctx, const char *expected)
{
    size_t bytes;
    const char *baggage = canopy_baggage_of(ctx, &bytes);
    assert_int_equal(bytes, strlen(expected));
    assert_memory_equal(baggage, expected, bytes);
}

static void play_wire(struct scene *scene, const canopy_ctx *parent)
{
    canopy_ctx *request = keep(scene, obtain(scene, make_request(parent)), CANOPY_NEVER);
    canopy_ctx *set = keep(
        scene, obtain(scene, canopy_with_baggage(request, "c", 1, "3", 1, NULL, 0)), CANOPY_NEVER);
    canopy_ctx *removed = keep(
        scene, obtain(scene, canopy_with_baggage(set, "a", 1, NULL, 0, NULL, 0)), CANOPY_NEVER);
    assert_baggage(request, "a=1,b=2");
    assert_baggage(set, "a=1,b=2,c=3");
    assert_baggage(removed, "b=2,c=3");
}

static int drop_text(void *user, const char *bytes, size_t n)
{
    (void)user;
    (void)bytes;
    (void)n;
    return 0;
}

/* What is made, told by a walk, sums and dumps: all of it, as it is. */
static void play_inspection(struct scene *scene, canopy_ctx *ctx)
{
    canopy_walk walk = {.info_bytes = sizeof(canopy_info), .top = scene->top};
    canopy_info info;
    canopy_stats stats = {.size = sizeof stats};
    canopy_leak leaks[4];
    size_t told = 0;
    if (canopy_id(ctx) == 0)
        return;
    canopy_name(ctx, "looked at");
    assert_int_equal(canopy_inspect(canopy_id(ctx), &info, sizeof info), 0);
    assert_string_equal(info.name, "looked at");
    while (canopy_walk_next(&walk, &info, 1) == 1)
        told++;
    assert_true(told > scene->made_count);
    assert_true(canopy_leaks(scene->top, 0, leaks, 4) > 0);
    assert_int_equal(canopy_stats_read(scene->top, &stats), 0);
    assert_true(stats.made > scene->made_count);
    for (canopy_format format = CANOPY_FORMAT_TEXT; format <= CANOPY_FORMAT_HTML; format++)
        succeed(scene, canopy_dump(&(canopy_walk){.top = scene->top}, format, drop_text, NULL));
    succeed(scene, canopy_stats_causes(scene->top, NULL, 0));
    canopy_ctx *ended = obtain(scene, canopy_with_cancel(scene->top));
    uint64_t id = canopy_id(ended);
    assert_int_equal(canopy_cancel_id(id, &late), 0);
    assert_int_equal(canopy_cancel_id(id, &late), -EALREADY);
    assert_ended(ended, -ECANCELED, &late);
    canopy_end(ended);
    assert_int_equal(canopy_cancel_id(id, &late), -ESRCH);
}

static void play(struct scene *scene)
{
    const int64_t deadline_ns = now_ns() + HOURS(1);
    const canopy_ctx *top = scene->top;
    canopy_ctx *other = keep(scene, obtain(scene, canopy_with_cancel(top)), CANOPY_NEVER);
    canopy_ctx *branch = keep(scene, obtain(scene, canopy_with_cancel(top)), CANOPY_NEVER);
    canopy_ctx *value = keep(
        scene, obtain(scene, canopy_with_value(branch, &counted, &scene->destroyed)), CANOPY_NEVER);
    canopy_ctx *timed = keep(
        scene, obtain(scene, canopy_with_deadline_cause(value, deadline_ns, &late)), deadline_ns);
    canopy_ctx *detached = keep(scene, obtain(scene, canopy_without_cancel(timed)), CANOPY_NEVER);
    canopy_ctx *apart = keep(scene, obtain(scene, canopy_with_cancel(detached)), CANOPY_NEVER);
    canopy_ctx *merged =
        keep(scene, obtain(scene, canopy_with_any((const canopy_ctx *[]){other, timed}, 2)),
             deadline_ns);
    succeed(scene, canopy_after_func(timed, &scene->callback, count_call, &scene->runs));
    succeed(scene, canopy_after_func(value, &scene->stopped, count_call, &scene->runs));
    int fd = succeed(scene, canopy_done_fd(merged));
    for (size_t i = 0; i < crowd_size; i++)
        keep(scene, obtain(scene, canopy_with_cancel(branch)), CANOPY_NEVER);
    play_inspection(scene, branch);
    play_wire(scene, branch);
    play_waits(scene, timed, merged);
    play_group(scene, branch);
    play_expiry(scene);
    play_signal(scene, other);
    canopy_ctx *reused = obtain(scene, canopy_with_timeout(top, HOURS(1)));
    assert_true(canopy_try_reset(reused));
    assert_deadline(reused, CANOPY_NEVER);
    canopy_end(reused);
    assert_true(canopy_set_deadline(apart, deadline_ns));
    assert_true(canopy_set_deadline(apart, CANOPY_NEVER));
    assert_as_it_was(scene);

    assert_true(canopy_callback_stop(&scene->stopped));
    assert_false(fd_readable(fd, 0));
    assert_true(canopy_cancel(branch));
    for (size_t i = 0; i < scene->made_count; i++) {
        canopy_ctx *ctx = scene->made[i].ctx;
        if (ctx == other || ctx == detached || ctx == apart)
            assert_live(ctx);
        else
            assert_ended(ctx, -ECANCELED, CANOPY_CANCELED);
    }
    assert_true(fd_readable(fd, 0));
    assert_int_equal(atomic_load(&scene->runs), 1);
    for (size_t i = scene->made_count; i-- > 0;)
        canopy_end(scene->made[i].ctx);
    assert_true(eventually(atomic_load(&scene->destroyed) == 1, SOON));
}

void root_close(canopy_ctx *root)
{
    assert_int_equal(canopy_wait_idle(root, now_ns() + SOON), 0);
    assert_true(eventually(canopy_root_free(root) == 0, SOON));
}

unsigned scene_play(enum scene_memory memory, struct memory *hooked, const int allowed[])
{
    /* Before any fault: a malloc of the test's own is not what is to fail. */
    static struct scene scene;
    memset(&scene, 0, sizeof scene);
    scene.allowed = allowed;
    if (memory == SCENE_BACKGROUND) {
        scene.top = canopy_background();
    } else {
        canopy_config config = {.size = sizeof config};
        if (memory == SCENE_HOOKED_ROOT)
            config = memory_config(hooked);
        config.inspect = memory == SCENE_NOTED_ROOT ? CANOPY_INSPECT_NOTES : 0;
        scene.root = obtain(&scene, canopy_root_new(&config));
        scene.top = scene.root;
    }
    play(&scene);
    if (scene.root)
        root_close(scene.root);
    if (memory == SCENE_HOOKED_ROOT)
        assert_int_equal(atomic_load(&hooked->live_blocks), 0);
    return scene.refused;
}

void scene_play_unrefused(void)
{
    static const int none[] = {0};
    struct memory hooked = {0};
    for (enum scene_memory memory = 0; memory < SCENE_MEMORIES; memory++)
        assert_int_equal(scene_play(memory, &hooked, none), 0);
}

int in_child(int (*body)(void *arg), void *arg)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(CHILD_TIMEOUT_S); /* alarms are not inherited */
        _exit(body(arg));
    }
    int status;
    pid_t seen;
    do
        seen = waitpid(child, &status, 0);
    while (seen < 0 && errno == EINTR);
    assert_int_equal(seen, child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
