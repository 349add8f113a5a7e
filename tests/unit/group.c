/*
 * group.c - promise 36: threads that succeed or fail together.
 */
#include "probes.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static int succeed(const canopy_ctx *ctx, void *arg)
{
    (void)ctx;
    count_call(arg);
    return 0;
}

static int wait_for_cancel(const canopy_ctx *ctx, void *arg)
{
    count_call(arg);
    return canopy_wait(ctx, now_ns() + SOON) ? 0 : -1;
}

TEST(p36_success_ends_it_cancelled_at_wait)
{
    canopy_group group;
    atomic_uint runs = 0;
    assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
    const canopy_ctx *ctx = canopy_retain(canopy_group_ctx(&group));
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(canopy_group_go(&group, succeed, &runs), 0);
    assert_true(eventually(atomic_load(&runs) == 10, SOON));
    assert_live(ctx);
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_int_equal(atomic_load(&runs), 10);
    assert_ended(ctx, -ECANCELED, CANOPY_CANCELED);
    canopy_release(ctx);
}

TEST(p36_a_group_without_members_is_fine)
{
    canopy_group group;
    assert_int_equal(canopy_group_init(&group, canopy_background(), 3), 0);
    assert_live(canopy_group_ctx(&group));
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_int_equal(canopy_group_wait(&group), -EINVAL);
}

struct failing {
    atomic_bool go;
    int result;
};

static int fail_when_told(const canopy_ctx *ctx, void *arg)
{
    struct failing *failing = arg;
    (void)ctx;
    while (!atomic_load(&failing->go))
        pause_ns(MICROSECONDS(100));
    return failing->result;
}

TEST(p36_the_first_failure_is_the_cause_for_all)
{
    canopy_group group;
    atomic_uint waiting = 0;
    struct failing first = {.result = -71}, late = {.result = 72};
    assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
    const canopy_ctx *ctx = canopy_group_ctx(&group);
    canopy_ctx *child = canopy_with_cancel(ctx);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(canopy_group_go(&group, wait_for_cancel, &waiting), 0);
    assert_int_equal(canopy_group_go(&group, fail_when_told, &first), 0);
    assert_int_equal(canopy_group_go(&group, fail_when_told, &late), 0);

    assert_live(ctx);
    atomic_store(&first.go, true);
    assert_true(canopy_wait(child, now_ns() + SOON));
    atomic_store(&late.go, true);
    const canopy_cause *cause = canopy_cause_of(ctx);
    assert_int_equal(canopy_err(ctx), -ECANCELED);
    assert_int_equal(cause->code, -71);
    assert_non_null(cause->text);
    assert_ended(child, -ECANCELED, cause);
    assert_int_equal(canopy_group_wait(&group), -71);
    assert_int_equal(atomic_load(&waiting), 4);

    /* The cause is the group's own: readable as long as somebody reports it. */
    assert_ended(child, -ECANCELED, cause);
    assert_int_equal(canopy_cause_of(child)->code, -71);
    assert_true(strlen(canopy_cause_of(child)->text) > 0);
    canopy_end(child);
}

TEST(p36_positive_results_are_failures_too)
{
    canopy_group group;
    struct failing failing = {.go = true, .result = 5};
    assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
    const canopy_ctx *ctx = canopy_retain(canopy_group_ctx(&group));
    assert_int_equal(canopy_group_go(&group, fail_when_told, &failing), 0);
    assert_int_equal(canopy_group_wait(&group), 5);
    assert_int_equal(canopy_err(ctx), -ECANCELED);
    assert_int_equal(canopy_cause_of(ctx)->code, 5);
    canopy_release(ctx);
}

TEST(p36_the_cause_outlives_the_group_through_a_merge)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    canopy_group group;
    struct failing failing = {.go = true, .result = -8};
    assert_int_equal(canopy_group_init(&group, fixture.root, 0), 0);
    canopy_ctx *merged = any2(canopy_background(), canopy_group_ctx(&group));
    canopy_ctx *below = canopy_with_cancel(merged);
    assert_int_equal(canopy_group_go(&group, fail_when_told, &failing), 0);
    assert_int_equal(canopy_group_wait(&group), -8);
    canopy_end(merged);
    assert_int_equal(canopy_err(below), -ECANCELED);
    assert_int_equal(canopy_cause_of(below)->code, -8);
    assert_true(strlen(canopy_cause_of(below)->text) > 0);
    canopy_end(below);
    fixture_close(&fixture);
}

TEST(p36_of_many_failures_at_once_one_is_result_and_cause)
{
    enum { members = 8 };
    for (unsigned round = 0; round < SCALED(200, 50); round++) {
        canopy_group group;
        struct failing failing[members] = {0};
        assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
        const canopy_ctx *ctx = canopy_retain(canopy_group_ctx(&group));
        for (int i = 0; i < members; i++) {
            failing[i].go = true;
            failing[i].result = i + 1;
            assert_int_equal(canopy_group_go(&group, fail_when_told, &failing[i]), 0);
        }
        int result = canopy_group_wait(&group);
        assert_in_range(result, 1, members);
        assert_int_equal(canopy_cause_of(ctx)->code, result);
        canopy_release(ctx);
    }
}

/* ------------------------------------------------------------------- limit */

struct occupancy {
    atomic_uint inside, most, total;
};

static int occupy(const canopy_ctx *ctx, void *arg)
{
    struct occupancy *occupancy = arg;
    (void)ctx;
    unsigned inside = atomic_fetch_add(&occupancy->inside, 1) + 1;
    unsigned most = atomic_load(&occupancy->most);
    while (inside > most && !atomic_compare_exchange_weak(&occupancy->most, &most, inside))
        ;
    pause_ns(MILLISECONDS(2));
    atomic_fetch_sub(&occupancy->inside, 1);
    atomic_fetch_add(&occupancy->total, 1);
    return 0;
}

TEST(p36_the_limit_holds)
{
    const unsigned limits[] = {1, 2, 5};
    for (size_t i = 0; i < 3; i++) {
        canopy_group group;
        struct occupancy occupancy = {0};
        assert_int_equal(canopy_group_init(&group, canopy_background(), limits[i]), 0);
        for (unsigned k = 0; k < 30; k++)
            assert_int_equal(canopy_group_go(&group, occupy, &occupancy), 0);
        assert_int_equal(canopy_group_wait(&group), 0);
        assert_int_equal(atomic_load(&occupancy.total), 30);
        assert_in_range(atomic_load(&occupancy.most), 1, limits[i]);
    }
}

struct blocked_go {
    canopy_group *group;
    struct failing *failing;
    atomic_bool returned;
};

static void go_once_more(void *arg)
{
    struct blocked_go *blocked = arg;
    assert_int_equal(canopy_group_go(blocked->group, fail_when_told, blocked->failing), 0);
    atomic_store(&blocked->returned, true);
}

TEST(p36_go_blocks_at_the_limit)
{
    canopy_group group;
    struct failing member = {0};
    struct blocked_go blocked = {.group = &group, .failing = &member};
    struct thread thread;
    assert_int_equal(canopy_group_init(&group, canopy_background(), 1), 0);
    assert_int_equal(canopy_group_go(&group, fail_when_told, &member), 0);
    thread_start(&thread, go_once_more, &blocked);
    pause_ns(MILLISECONDS(30));
    assert_false(atomic_load(&blocked.returned));
    atomic_store(&member.go, true);
    thread_join(&thread);
    assert_true(atomic_load(&blocked.returned));
    assert_int_equal(canopy_group_wait(&group), 0);
}

TEST(p36_a_group_takes_as_many_as_come_without_a_limit)
{
    canopy_group group;
    atomic_uint waiting = 0;
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    assert_int_equal(canopy_group_init(&group, parent, 0), 0);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(canopy_group_go(&group, wait_for_cancel, &waiting), 0);
    assert_true(eventually(atomic_load(&waiting) == 50, SOON));
    canopy_cancel(parent);
    assert_int_equal(canopy_group_wait(&group), 0);
    canopy_end(parent);
}

/* ------------------------------------------------------------ done groups */

TEST(p36_go_on_a_done_group_still_runs_fn)
{
    canopy_group group;
    struct failing failing = {.go = true, .result = -3};
    atomic_uint runs = 0;
    assert_int_equal(canopy_group_init(&group, canopy_background(), 2), 0);
    assert_int_equal(canopy_group_go(&group, fail_when_told, &failing), 0);
    assert_true(canopy_wait(canopy_group_ctx(&group), now_ns() + SOON));
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(canopy_group_go(&group, succeed, &runs), 0);
    assert_int_equal(canopy_group_wait(&group), -3);
    assert_int_equal(atomic_load(&runs), 5);
}

TEST(p36_a_cancelled_parent_reaches_the_members_and_is_no_failure)
{
    const canopy_cause *cause = CANOPY_CAUSE(-6, "parent");
    canopy_group group;
    atomic_uint waiting = 0;
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    assert_int_equal(canopy_group_init(&group, parent, 0), 0);
    const canopy_ctx *ctx = canopy_retain(canopy_group_ctx(&group));
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(canopy_group_go(&group, wait_for_cancel, &waiting), 0);
    assert_true(canopy_cancel_cause(parent, cause));
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_ended(ctx, -ECANCELED, cause);
    canopy_release(ctx);
    canopy_end(parent);
}

TEST(p36_a_failure_under_a_done_parent_is_the_result_and_not_the_cause)
{
    canopy_group group;
    struct failing failing = {.go = true, .result = -4};
    canopy_ctx *parent = canopy_with_timeout(canopy_background(), 0);
    assert_int_equal(canopy_group_init(&group, parent, 1), 0);
    const canopy_ctx *ctx = canopy_retain(canopy_group_ctx(&group));
    assert_ended(ctx, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    assert_int_equal(canopy_group_go(&group, fail_when_told, &failing), 0);
    assert_int_equal(canopy_group_wait(&group), -4);
    assert_ended(ctx, -ETIMEDOUT, CANOPY_DEADLINE_EXCEEDED);
    canopy_release(ctx);
    canopy_end(parent);
}

TEST(p36_the_group_reads_its_parents_values_and_leaves_it_live)
{
    static const canopy_key key = {"key", NULL};
    int bound = 0;
    canopy_group group;
    struct failing failing = {.go = true, .result = -2};
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    canopy_ctx *value = canopy_with_value(parent, &key, &bound);
    assert_int_equal(canopy_group_init(&group, value, 0), 0);
    assert_ptr_equal(canopy_value(canopy_group_ctx(&group), &key), &bound);
    assert_int_equal(canopy_group_go(&group, fail_when_told, &failing), 0);
    assert_int_equal(canopy_group_wait(&group), -2);
    assert_live(parent);
    canopy_end(value);
    canopy_end(parent);
}

/* -------------------------------------------------------- from a member */

struct member {
    canopy_group *group;
    atomic_uint runs;
    int wait_result;
};

static int wait_as_a_member(const canopy_ctx *ctx, void *arg)
{
    struct member *member = arg;
    member->wait_result = canopy_group_wait(member->group);
    return canopy_err(ctx);
}

TEST(p36_wait_from_a_member_is_edeadlk)
{
    canopy_group group;
    struct member member = {.group = &group};
    atomic_uint runs = 0;
    assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
    assert_int_equal(canopy_group_go(&group, wait_as_a_member, &member), 0);
    assert_int_equal(canopy_group_go(&group, succeed, &runs), 0);
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_int_equal(member.wait_result, -EDEADLK);
    assert_int_equal(atomic_load(&runs), 1);
}

static int go_as_a_member(const canopy_ctx *ctx, void *arg)
{
    struct member *member = arg;
    (void)ctx;
    if (atomic_fetch_add(&member->runs, 1) < 20)
        return canopy_group_go(member->group, go_as_a_member, member);
    return 0;
}

TEST(p36_a_member_may_start_others)
{
    canopy_group group;
    struct member member = {.group = &group};
    assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
    assert_int_equal(canopy_group_go(&group, go_as_a_member, &member), 0);
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_int_equal(atomic_load(&member.runs), 21);
}

static int run_an_inner_group(const canopy_ctx *ctx, void *arg)
{
    canopy_group inner;
    struct failing failing = {.go = true, .result = -11};
    (void)arg;
    assert_int_equal(canopy_group_init(&inner, ctx, 0), 0);
    assert_int_equal(canopy_group_go(&inner, fail_when_told, &failing), 0);
    assert_int_equal(canopy_group_wait(&inner), -11);
    return canopy_err(ctx);
}

TEST(p36_a_member_may_run_and_wait_for_a_group_of_its_own)
{
    canopy_group group;
    assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(canopy_group_go(&group, run_an_inner_group, NULL), 0);
    assert_int_equal(canopy_group_wait(&group), 0);
}

/* --------------------------------------------------------------- resources */

TEST(p36_go_without_a_thread_to_be_had_leaves_the_group_as_it_was)
{
    canopy_group group;
    atomic_uint runs = 0;
    struct rlimit limit;
    assert_int_equal(canopy_group_init(&group, canopy_background(), 1), 0);

    /* The limit on threads does not bind the super-user. */
    if (geteuid() == 0)
        assert_int_equal(setresuid(65534, 65534, 65534), 0);
    assert_int_equal(getrlimit(RLIMIT_NPROC, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NPROC, &limit), 0);
    int refused = canopy_group_go(&group, succeed, &runs);
    limit.rlim_cur = before;
    assert_int_equal(setrlimit(RLIMIT_NPROC, &limit), 0);

    assert_int_equal(refused, -EAGAIN);
    assert_live(canopy_group_ctx(&group));
    assert_int_equal(canopy_group_go(&group, succeed, &runs), 0);
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_int_equal(atomic_load(&runs), 1);
}

TEST(p36_groups_come_and_go_without_residue)
{
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    size_t threads = count_threads("", NULL);
    atomic_uint runs = 0;
    for (unsigned round = 0; round < 100; round++) {
        canopy_group group;
        assert_int_equal(canopy_group_init(&group, fixture.root, round % 3), 0);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(canopy_group_go(&group, succeed, &runs), 0);
        assert_int_equal(canopy_group_wait(&group), 0);
    }
    assert_int_equal(atomic_load(&runs), 300);
    assert_true(eventually(count_threads("", NULL) <= threads + 2, SOON));
    fixture_close(&fixture);
}

/* ------------------------------------------------------------ two who wait */

struct two_waits {
    struct meeting meeting;
    canopy_group group;
    int results[2];
};

static void wait_first(void *arg)
{
    struct two_waits *two = arg;
    meet(&two->meeting);
    two->results[1] = canopy_group_wait(&two->group);
}

TEST(p36_of_two_waits_at_once_one_has_the_result_and_the_other_an_errno)
{
    for (unsigned round = 0; round < SCALED(300, 60); round++) {
        struct two_waits two = {.meeting = {.parties = 2}};
        struct failing failing = {.go = true, .result = 7};
        struct thread thread;
        assert_int_equal(canopy_group_init(&two.group, canopy_background(), 0), 0);
        assert_int_equal(canopy_group_go(&two.group, fail_when_told, &failing), 0);
        thread_start(&thread, wait_first, &two);
        meet(&two.meeting);
        two.results[0] = canopy_group_wait(&two.group);
        thread_join(&thread);
        int other = two.results[two.results[0] == 7];
        assert_true(two.results[0] == 7 || two.results[1] == 7);
        assert_true(other == -EBUSY || other == -EINVAL);
        assert_int_equal(canopy_group_wait(&two.group), -EINVAL);
        assert_int_equal(canopy_group_go(&two.group, fail_when_told, &failing), -EINVAL);
        assert_null(canopy_group_ctx(&two.group));
    }
}

/* ----------------------------------------------- threads, and not their fns */

static pthread_key_t at_exit;

struct lives {
    canopy_group *group;
    atomic_uint alive, most, ended;
    atomic_int go_result, wait_result;
};

/* What runs as a member's thread ends, and takes its time. */
static void end_of_life(void *arg)
{
    struct lives *lives = arg;
    pause_ns(MILLISECONDS(2));
    atomic_fetch_add(&lives->ended, 1);
    atomic_fetch_sub(&lives->alive, 1);
}

static int live(const canopy_ctx *ctx, void *arg)
{
    struct lives *lives = arg;
    (void)ctx;
    unsigned alive = atomic_fetch_add(&lives->alive, 1) + 1;
    unsigned most = atomic_load(&lives->most);
    while (alive > most && !atomic_compare_exchange_weak(&lives->most, &most, alive))
        ;
    assert_int_equal(pthread_setspecific(at_exit, lives), 0);
    return 0;
}

TEST(p36_the_threads_are_gone_when_wait_returns)
{
    assert_int_equal(pthread_key_create(&at_exit, end_of_life), 0);
    for (unsigned round = 0; round < 30; round++) {
        canopy_group group;
        struct lives lives = {0};
        assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(canopy_group_go(&group, live, &lives), 0);
        assert_int_equal(canopy_group_wait(&group), 0);
        assert_int_equal(atomic_load(&lives.ended), 4);
        assert_int_equal(atomic_load(&lives.alive), 0);
    }
}

TEST(p36_the_limit_is_of_threads)
{
    assert_int_equal(pthread_key_create(&at_exit, end_of_life), 0);
    for (unsigned limit = 1; limit <= 2; limit++) {
        canopy_group group;
        struct lives lives = {0};
        assert_int_equal(canopy_group_init(&group, canopy_background(), limit), 0);
        for (unsigned i = 0; i < 20; i++)
            assert_int_equal(canopy_group_go(&group, live, &lives), 0);
        assert_int_equal(canopy_group_wait(&group), 0);
        assert_int_equal(atomic_load(&lives.ended), 20);
        assert_in_range(atomic_load(&lives.most), 1, limit);
    }
}

static void go_and_wait_at_exit(void *arg)
{
    struct lives *lives = arg;
    atomic_store(&lives->go_result, canopy_group_go(lives->group, live, lives));
    atomic_store(&lives->wait_result, canopy_group_wait(lives->group));
}

TEST(p36_the_end_of_a_members_thread_cannot_go_or_wait)
{
    canopy_group group;
    struct lives lives = {.group = &group};
    assert_int_equal(pthread_key_create(&at_exit, go_and_wait_at_exit), 0);
    assert_int_equal(canopy_group_init(&group, canopy_background(), 1), 0);
    assert_int_equal(canopy_group_go(&group, live, &lives), 0);
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_int_equal(atomic_load(&lives.go_result), -EDEADLK);
    assert_int_equal(atomic_load(&lives.wait_result), -EDEADLK);
}

static size_t address_space_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Those who have ended give their stacks back while the group goes on. */
TEST(p36_a_group_that_lasts_keeps_no_thread_that_has_ended)
{
    enum { members = 2000 };
    if (UNDER_SANITIZER) /* they have address space of their own */
        skip();
    canopy_group group;
    atomic_uint runs = 0;
    assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
    size_t before = address_space_bytes();
    for (unsigned i = 0; i < members; i++) {
        assert_int_equal(canopy_group_go(&group, succeed, &runs), 0);
        assert_true(eventually(atomic_load(&runs) == i + 1, SOON));
    }
    /* A stack is a megabyte or more. */
    assert_true(address_space_bytes() <= before + (size_t)members * 500 * 1024);
    assert_int_equal(canopy_group_wait(&group), 0);
}

/* --------------------------------------------------------- other ways to go */

TEST(p36_try_go_does_not_wait_for_room)
{
    canopy_group group;
    struct failing member = {0};
    atomic_uint runs = 0;
    assert_int_equal(canopy_group_init(&group, canopy_background(), 1), 0);
    assert_int_equal(canopy_group_try_go(&group, fail_when_told, &member), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(canopy_group_try_go(&group, succeed, &runs), -EBUSY);
    atomic_store(&member.go, true);
    int result;
    assert_true(eventually((result = canopy_group_try_go(&group, succeed, &runs)) != -EBUSY, SOON));
    assert_int_equal(result, 0);
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_int_equal(atomic_load(&runs), 1);
}

TEST(p36_go_unless_done_does_not_run_fn_on_a_done_group)
{
    canopy_group group;
    atomic_uint runs = 0;
    canopy_ctx *parent = canopy_with_cancel(canopy_background());
    assert_int_equal(canopy_group_init(&group, parent, 2), 0);
    assert_int_equal(canopy_group_go_unless_done(&group, succeed, &runs), 0);
    assert_true(canopy_cancel(parent));
    assert_int_equal(canopy_group_go_unless_done(&group, succeed, &runs), -ECANCELED);
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_int_equal(atomic_load(&runs), 1);
    canopy_end(parent);
}

struct giving_up {
    canopy_group *group;
    atomic_uint *runs;
    atomic_int result;
};

static void go_unless_done(void *arg)
{
    struct giving_up *giving_up = arg;
    atomic_store(&giving_up->result,
                 canopy_group_go_unless_done(giving_up->group, succeed, giving_up->runs));
}

/* By a cancel, at a deadline, and when there is room after all. */
TEST(p36_go_unless_done_gives_up_while_it_waits_for_room)
{
    const int expected[] = {-ECANCELED, -ETIMEDOUT, 0};
    for (unsigned i = 0; i < 3; i++) {
        canopy_group group;
        struct failing member = {0};
        atomic_uint runs = 0;
        struct giving_up giving_up = {.group = &group, .runs = &runs, .result = 1};
        struct thread thread;
        canopy_ctx *parent = canopy_with_cancel(canopy_background());
        assert_int_equal(canopy_group_init(&group, parent, 1), 0);
        assert_int_equal(canopy_group_go(&group, fail_when_told, &member), 0);
        thread_start(&thread, go_unless_done, &giving_up);
        pause_ns(MILLISECONDS(5));
        assert_int_equal(atomic_load(&giving_up.result), 1);
        if (i == 0)
            assert_true(canopy_cancel(parent));
        else if (i == 1)
            assert_true(canopy_set_deadline(parent, now_ns() + MILLISECONDS(5)));
        else
            atomic_store(&member.go, true);
        thread_join(&thread); /* the member runs on, but in the last round */
        assert_int_equal(atomic_load(&giving_up.result), expected[i]);
        atomic_store(&member.go, true);
        assert_int_equal(canopy_group_wait(&group), 0);
        assert_int_equal(atomic_load(&runs), i == 2);
        canopy_end(parent);
    }
}

/* ------------------------------------------------------- a cause of one's own */

static const canopy_cause first_choice = {-EPROTO, "two heads", __FILE__, __LINE__};
static const canopy_cause second_choice = {-EBADMSG, "no tail", __FILE__, __LINE__};
static const canopy_cause no_failure = {0, "all is well", __FILE__, __LINE__};

static int fail_with_cause(const canopy_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    assert_int_equal(canopy_group_fail(NULL), -EINVAL);
    assert_int_equal(canopy_group_fail(&second_choice), -EBADMSG);
    assert_int_equal(canopy_group_fail(&no_failure), -EINVAL);
    return canopy_group_fail(&first_choice);
}

static int succeed_after_all(const canopy_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    assert_int_equal(canopy_group_fail(&first_choice), -EPROTO);
    return 0;
}

TEST(p36_a_member_may_name_the_cause_of_its_failure)
{
    canopy_group group;
    struct failing late = {.result = 72};
    assert_int_equal(canopy_group_fail(&first_choice), -EINVAL);
    assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
    const canopy_ctx *ctx = canopy_retain(canopy_group_ctx(&group));
    assert_int_equal(canopy_group_go(&group, fail_when_told, &late), 0);
    assert_int_equal(canopy_group_go(&group, succeed_after_all, NULL), 0);
    assert_int_equal(canopy_group_go(&group, fail_with_cause, NULL), 0);
    assert_true(canopy_wait(ctx, now_ns() + SOON));
    assert_ended(ctx, -ECANCELED, &first_choice);
    atomic_store(&late.go, true);
    assert_int_equal(canopy_group_wait(&group), -EPROTO);
    assert_ended(ctx, -ECANCELED, &first_choice);
    canopy_release(ctx);
}

TEST(p36_a_member_that_succeeds_has_no_cause)
{
    canopy_group group;
    assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
    const canopy_ctx *ctx = canopy_retain(canopy_group_ctx(&group));
    assert_int_equal(canopy_group_go(&group, succeed_after_all, NULL), 0);
    assert_int_equal(canopy_group_wait(&group), 0);
    assert_ended(ctx, -ECANCELED, CANOPY_CANCELED);
    canopy_release(ctx);
}

TEST(p38_the_other_ways_to_go_refuse_what_go_refuses)
{
    canopy_group group, none = {0};
    assert_int_equal(canopy_group_init(&group, canopy_background(), 0), 0);
    assert_int_equal(canopy_group_try_go(NULL, succeed, NULL), -EINVAL);
    assert_int_equal(canopy_group_try_go(&none, succeed, NULL), -EINVAL);
    assert_int_equal(canopy_group_try_go(&group, NULL, NULL), -EINVAL);
    assert_int_equal(canopy_group_go_unless_done(NULL, succeed, NULL), -EINVAL);
    assert_int_equal(canopy_group_go_unless_done(&none, succeed, NULL), -EINVAL);
    assert_int_equal(canopy_group_go_unless_done(&group, NULL, NULL), -EINVAL);
    assert_int_equal(canopy_group_wait(&group), 0);
}
