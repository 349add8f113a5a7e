/*
 * inspect_walk.c - the walk over all contexts with notes, beside threads at work, and the
 * places of leaks.
 */
#include "inspected.h"

#include <stdlib.h>

static const canopy_key key = {.name = "key"};

static int compare_ids(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* The ids that a walk tells, sorted, in a list of `room`. */
static size_t walk_ids(canopy_walk walk, size_t batch, uint64_t ids[], size_t room)
{
    canopy_info infos[256];
    size_t count = 0;
    walk.info_bytes = sizeof *infos;
    for (int n; (n = canopy_walk_next(&walk, infos, batch)) != 0;) {
        assert_true(n > 0 && (size_t)n <= batch);
        for (int i = 0; i < n && count < room; i++)
            ids[count++] = infos[i].id;
    }
    qsort(ids, count, sizeof *ids, compare_ids);
    return count;
}

TEST(inspect_walk_tells_each_context_once)
{
    enum { CONTEXTS = 2000 };
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx **all = calloc(CONTEXTS, sizeof *all);
    uint64_t *ids = calloc((size_t)2 * CONTEXTS, sizeof *ids),
             *kept = calloc(CONTEXTS, sizeof *kept);
    for (size_t i = 0; i < CONTEXTS; i++) {
        all[i] = i % 3 ? canopy_with_cancel(all[i - 1]) : canopy_with_value(f.root, &key, NULL);
        kept[i] = canopy_id(all[i]);
    }
    qsort(kept, CONTEXTS, sizeof *kept, compare_ids);
    static const size_t batches[] = {1, 7, 256};
    for (size_t b = 0; b < 3; b++) {
        size_t count = walk_ids((canopy_walk){0}, batches[b], ids, (size_t)2 * CONTEXTS), found = 0;
        assert_int_equal(count, CONTEXTS + 1); /* and the root */
        for (size_t i = 0; i < count; i++) {
            assert_true(i == 0 || ids[i] != ids[i - 1]);
            found += bsearch(&ids[i], kept, CONTEXTS, sizeof *kept, compare_ids) != NULL;
        }
        assert_int_equal(found, CONTEXTS);
    }
    for (size_t i = CONTEXTS; i-- > 0;)
        canopy_release(all[i]);
    assert_int_equal(walk_ids((canopy_walk){0}, 256, ids, (size_t)2 * CONTEXTS), 1);
    free(all);
    free(ids);
    free(kept);
    fixture_close(&f);
}

TEST(inspect_walk_leaves_out_what_is_not_wanted)
{
    struct fixture f, other;
    uint64_t ids[32];
    noted_open(&f, CANOPY_CLOCK_HOST);
    noted_open(&other, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *a = canopy_with_cancel(f.root), *b = canopy_with_cancel(a);
    canopy_ctx *beside = canopy_with_cancel(f.root);
    assert_int_equal(walk_ids((canopy_walk){0}, 32, ids, 32), 5);
    assert_int_equal(walk_ids((canopy_walk){.top = f.root}, 32, ids, 32), 4);
    assert_int_equal(walk_ids((canopy_walk){.top = a}, 32, ids, 32), 2);
    assert_int_equal(walk_ids((canopy_walk){.top = b}, 32, ids, 32), 1);
    assert_int_equal(ids[0], canopy_id(b));
    assert_int_equal(canopy_root_advance(f.root, 1000, NULL), 0);
    canopy_ctx *young = canopy_with_cancel(a);
    assert_int_equal(walk_ids((canopy_walk){.top = a, .older_than_ns = 500}, 32, ids, 32), 2);
    assert_true(canopy_cancel(b));
    assert_int_equal(walk_ids((canopy_walk){.top = a, .live_only = true}, 32, ids, 32), 2);
    canopy_end(young);
    canopy_end(beside);
    canopy_end(b);
    canopy_end(a);
    fixture_close(&other);
    fixture_close(&f);
}

TEST(inspect_walk_below_a_deep_context_is_no_matter_of_depth)
{
    enum { DEPTH = SCALED(200000, 20000) };
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *top = canopy_with_cancel(f.root), *ctx = top;
    for (size_t i = 1; i < DEPTH; i++) {
        canopy_ctx *child = canopy_with_cancel(ctx);
        canopy_release(ctx == top ? NULL : ctx);
        ctx = child;
    }
    uint64_t *ids = calloc(DEPTH + 2, sizeof *ids);
    assert_int_equal(walk_ids((canopy_walk){.top = top}, 256, ids, DEPTH + 2), DEPTH);
    free(ids);
    canopy_end(ctx);
    canopy_end(top);
    fixture_close(&f);
}

TEST(inspect_walk_refuses_bad_input)
{
    canopy_walk walk = {.info_bytes = sizeof(canopy_info)};
    canopy_info info;
    assert_int_equal(canopy_walk_next(NULL, &info, 1), -EINVAL);
    assert_int_equal(canopy_walk_next(&walk, NULL, 1), -EINVAL);
    assert_int_equal(canopy_walk_next(&walk, &info, 0), -EINVAL);
    walk.info_bytes--;
    assert_int_equal(canopy_walk_next(&walk, &info, 1), -EINVAL);
    canopy_walk forged = {.info_bytes = sizeof info, .canopy_place = {UINT64_MAX, 7, 9, 11}};
    assert_int_equal(canopy_walk_next(&forged, &info, 1), 0);
    canopy_leak leak;
    assert_int_equal(canopy_leaks(NULL, 0, NULL, 1), -EINVAL);
    assert_int_equal(canopy_leaks(NULL, 0, &leak, 0), -EINVAL);
    assert_int_equal(canopy_leaks(NULL, 0, &leak, 1), 0);
}

/* -------------------------------------------------------------------- beside work */

struct worker {
    struct thread thread;
    const canopy_ctx *root;
    atomic_uint *stop;
    uint64_t seed;
};

/* Contexts of all kinds that come and go. */
static void work(void *arg)
{
    struct worker *worker = arg;
    canopy_ctx *some[64] = {0};
    while (!atomic_load(worker->stop)) {
        uint64_t number = random_next(&worker->seed);
        canopy_ctx **place = &some[number % 64];
        canopy_end(*place);
        *place = NULL;
        const canopy_ctx *parent = number & 64 ? worker->root : some[(number >> 8) % 64];
        parent = parent ? parent : worker->root;
        switch ((number >> 16) % 4) {
        case 0:
            *place = canopy_with_cancel(parent);
            break;
        case 1:
            *place = canopy_with_timeout(parent, MICROSECONDS(number >> 20 & 1023));
            break;
        case 2:
            *place = canopy_with_value(parent, &key, NULL);
            break;
        default:
            *place = canopy_with_any((const canopy_ctx *[]){parent, worker->root}, 2);
        }
        if (number & 128)
            canopy_cancel(*place);
    }
    for (size_t i = 0; i < 64; i++)
        canopy_end(some[i]);
}

/* Whatever stands in a place, a walk from there tells of what there is, and ends. */
TEST(inspect_walk_from_forged_places)
{
    static const uint64_t lines[] = {
        0, 1, 7, 510, 511, 512, UINT32_MAX, (UINT64_C(1) << 32) + 1, UINT64_C(1) << 63, UINT64_MAX};
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *a = canopy_with_cancel(f.root);
    const canopy_ctx *tops[] = {NULL, f.root, a};
    for (size_t i = 0; i < sizeof lines / sizeof *lines * 3; i++) {
        uint64_t inside[] = {0, (uint64_t)(uintptr_t)f.root, (uint64_t)(uintptr_t)a, 64,
                             UINT64_MAX};
        for (size_t j = 0; j < 5; j++) {
            canopy_info infos[4];
            canopy_walk walk = {.info_bytes = sizeof *infos,
                                .top = tops[i % 3],
                                .canopy_place = {0, lines[i / 3], inside[j], canopy_id(a)}};
            int n = canopy_walk_next(&walk, infos, 4);
            assert_in_range(n, 0, 2);
            for (int k = 0; k < n; k++)
                assert_true(infos[k].id == canopy_id(a) || infos[k].id == canopy_id(f.root));
            assert_int_equal(canopy_walk_next(&walk, infos, 4), 0);
        }
    }
    canopy_end(a);
    fixture_close(&f);
}

TEST(inspect_walk_tells_what_is_kept_once_beside_eight_threads)
{
    enum { KEPT = SCALED(100000, 5000), WORKERS = 8, ROUNDS = SCALED(20, 5) };
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx **all = calloc(KEPT, sizeof *all);
    uint64_t *kept = calloc(KEPT, sizeof *kept);
    unsigned char *told = calloc(KEPT, 1);
    struct worker workers[WORKERS];
    atomic_uint stop = 0;
    for (size_t i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.root = f.root, .stop = &stop, .seed = i};
        thread_start(&workers[i].thread, work, &workers[i]);
    }
    for (size_t i = 0; i < KEPT; i++) {
        all[i] = canopy_with_cancel(f.root);
        kept[i] = canopy_id(all[i]);
    }
    qsort(kept, KEPT, sizeof *kept, compare_ids);
    canopy_info infos[256];
    for (int round = 0; round < ROUNDS; round++) {
        canopy_walk walk = {.info_bytes = sizeof *infos};
        memset(told, 0, KEPT);
        for (int n; (n = canopy_walk_next(&walk, infos, 256)) != 0;)
            for (int i = 0; i < n; i++) {
                uint64_t *at = bsearch(&infos[i].id, kept, KEPT, sizeof *kept, compare_ids);
                if (!at)
                    continue;
                assert_int_equal(infos[i].parent_id, canopy_id(f.root));
                assert_int_equal(infos[i].err, 0);
                told[at - kept]++;
            }
        for (size_t i = 0; i < KEPT; i++)
            assert_int_equal(told[i], 1);
    }
    atomic_store(&stop, 1);
    for (size_t i = 0; i < WORKERS; i++)
        thread_join(&workers[i].thread);
    for (size_t i = 0; i < KEPT; i++)
        canopy_end(all[i]);
    canopy_stats stats = {.size = sizeof stats};
    assert_int_equal(canopy_wait_idle(f.root, now_ns() + SOON), 0);
    assert_int_equal(canopy_stats_read(f.root, &stats), 0);
    assert_int_equal(stats.made - stats.gone, 1);
    assert_int_equal(stats.live, 1);
    assert_true(stats.made > KEPT);
    free(all);
    free(kept);
    free(told);
    fixture_close(&f);
}

static void end_by_id(void *arg)
{
    struct worker *worker = arg;
    canopy_info infos[64];
    while (!atomic_load(worker->stop)) {
        canopy_walk walk = {.info_bytes = sizeof *infos};
        for (int n; (n = canopy_walk_next(&walk, infos, 64)) > 0;)
            for (int i = 0; i < n; i++)
                if (infos[i].kind != CANOPY_KIND_ROOT)
                    (void)canopy_cancel_id(infos[i].id, NULL);
    }
}

TEST(inspect_walks_and_ends_by_id_beside_threads_that_make_and_end)
{
    enum { WORKERS = 4 };
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    struct worker workers[WORKERS];
    atomic_uint stop = 0;
    for (size_t i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.root = f.root, .stop = &stop, .seed = i};
        thread_start(&workers[i].thread, i < 2 ? work : end_by_id, &workers[i]);
    }
    pause_ns(MILLISECONDS(500));
    atomic_store(&stop, 1);
    for (size_t i = 0; i < WORKERS; i++)
        thread_join(&workers[i].thread);
    assert_live(f.root);
    fixture_close(&f);
}

static void roots_come_and_go(void *arg)
{
    struct worker *worker = arg;
    while (!atomic_load(worker->stop)) {
        struct fixture f;
        noted_open(&f, CANOPY_CLOCK_LIBRARY);
        canopy_ctx *ctx = canopy_with_cancel(f.root);
        canopy_end(ctx);
        fixture_close(&f);
    }
}

struct reuser {
    struct thread thread;
    canopy_ctx *root;
    _Atomic uint64_t *id;
    atomic_uint *stop;
};

/* Lines of slots become extensions at once, with what looks like a link in them. */
static void reuse_lines(void *arg)
{
    struct reuser *self = arg;
    while (!atomic_load(self->stop)) {
        canopy_ctx *parent = canopy_with_cancel(self->root),
                   *other = canopy_with_cancel(self->root);
        canopy_ctx *children[5];
        atomic_store(self->id, canopy_id(parent));
        for (size_t i = 0; i < 5; i++)
            children[i] = canopy_with_cancel(parent);
        for (size_t i = 0; i < 5; i++)
            canopy_release(children[i]);
        canopy_release(parent);
        canopy_done_fd(other);
        canopy_end(other);
    }
}

TEST(inspect_beside_lines_that_become_others)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    _Atomic uint64_t id = 0;
    atomic_uint stop = 0;
    int fds[16], count = 0; /* after which the next one is 7 of 16, or as far on */
    do
        fds[count] = dup(STDERR_FILENO);
    while (((fds[count++] + 2) & 12) != 8 && count < 16);
    struct reuser reuser = {.root = f.root, .id = &id, .stop = &stop};
    thread_start(&reuser.thread, reuse_lines, &reuser);
    int64_t until_ns = now_ns() + SECONDS(1);
    while (now_ns() < until_ns)
        for (int i = 0; i < 100; i++) {
            canopy_info info;
            if (canopy_inspect(atomic_load(&id), &info, sizeof info) == 0)
                assert_true(info.children <= 8 && info.callbacks == 0);
        }
    atomic_store(&stop, 1);
    thread_join(&reuser.thread);
    while (count > 0)
        close(fds[--count]);
    fixture_close(&f);
}

TEST(inspect_walk_beside_roots_that_go)
{
    atomic_uint stop = 0;
    struct worker worker = {.stop = &stop};
    canopy_info infos[64];
    thread_start(&worker.thread, roots_come_and_go, &worker);
    int64_t until_ns = now_ns() + MILLISECONDS(500);
    while (now_ns() < until_ns) {
        canopy_walk walk = {.info_bytes = sizeof *infos};
        while (canopy_walk_next(&walk, infos, 64) > 0)
            continue;
    }
    atomic_store(worker.stop, 1);
    thread_join(&worker.thread);
}

/* ------------------------------------------------------------------------- leaks */

TEST(inspect_leaks_are_told_by_name_and_place)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *all[30];
    for (size_t i = 0; i < 30; i++) {
        all[i] = i < 20 ? canopy_with_cancel(f.root) : canopy_with_timeout(f.root, 1);
        canopy_name(all[i], i < 20 ? NULL : "late");
    }
    assert_int_equal(canopy_root_advance(f.root, 1000, NULL), 0);
    canopy_ctx *young = canopy_with_cancel(f.root);
    canopy_leak leaks[8];
    assert_int_equal(canopy_leaks(f.root, 500, leaks, 8), 3); /* and the root's */
    assert_int_equal(leaks[0].count, 20);
    assert_int_equal(leaks[0].done, 0);
    assert_int_equal(leaks[1].count, 10);
    assert_int_equal(leaks[1].done, 10);
    assert_string_equal(leaks[1].name, "late");
    assert_true(leaks[1].oldest_ns == 0);
    canopy_info info;
    assert_int_equal(canopy_inspect(leaks[1].oldest_id, &info, sizeof info), 0);
    assert_int_equal(canopy_leaks(f.root, 0, leaks, 1), 1);
    assert_int_equal(leaks[0].count, 32);
    assert_null(leaks[0].made_at);
    canopy_end(young);
    for (size_t i = 0; i < 30; i++)
        canopy_end(all[i]);
    fixture_close(&f);
}
