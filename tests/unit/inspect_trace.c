/*
 * inspect_trace.c - a trace of contexts with notes: what is in it, of threads that are gone,
 * that overwrite, that have no memory; beside a fork, and beside who writes it. That it is what
 * its format says is looked at in tests/trace.
 *
 * The linker puts the function below between the library and the C library.
 */
#include "inspected.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

/* ThreadSanitizer otherwise ends a child that starts a thread. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

#define RING_BYTES ((size_t)65536)

static const canopy_cause gone = {.code = -ECONNRESET,
                                  .text = "the client \"went\" away\n\x01\xff"};

void *__real_calloc(size_t count, size_t size_bytes);
void *__wrap_calloc(size_t count, size_t size_bytes);

static __thread bool is_refused; /* its next calloc that is not small, as a debug build's are */

void *__wrap_calloc(size_t count, size_t size_bytes)
{
    if (!is_refused || count * size_bytes < 8192)
        return __real_calloc(count, size_bytes);
    is_refused = false;
    return NULL;
}

/* The caller frees it. */
static char *traced(void)
{
    struct text text = {0};
    assert_int_equal(canopy_trace_write(add_text, &text), 0);
    assert_non_null(text.bytes);
    return text.bytes;
}

static void assert_count(const char *text, const char *part, size_t count)
{
    if (count_of(text, part) != count) {
        print_error("%s: %zu times, not %zu, in:\n%s\n", part, count_of(text, part), count, text);
        fail();
    }
}

/* The line that has both; the caller frees it. */
static char *line_with(const char *text, const char *part, const char *other)
{
    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        char *line = strndup(text, (size_t)(end - text));
        if (strstr(line, part) && strstr(line, other))
            return line;
        free(line);
    }
    print_error("no line with %s and %s\n", part, other);
    fail();
    return NULL;
}

static void assert_line(const char *text, const char *part, const char *other, const char *third)
{
    char *line = line_with(text, part, other);
    if (!strstr(line, third)) {
        print_error("no %s in %s\n", third, line);
        fail();
    }
    free(line);
}

static const char *id_text(char text[40], const char *name, uint64_t id)
{
    snprintf(text, 40, "\"%s\":\"%llu\"", name, (unsigned long long)id);
    return text;
}

static void trace_open(struct fixture *f)
{
    noted_open(f, CANOPY_CLOCK_LIBRARY);
    assert_int_equal(canopy_trace_start(RING_BYTES), 0);
}

static void trace_close(struct fixture *f)
{
    assert_int_equal(canopy_trace_stop(), 0);
    fixture_close(f);
}

static void nothing(void *unused)
{
    (void)unused;
}

TEST(inspect_trace_tells_a_request_from_birth_to_release)
{
    struct fixture f;
    char by[40], id[40];
    canopy_callback callback;
    trace_open(&f);
    canopy_ctx *request = canopy_with_cancel(f.root), *call = canopy_with_cancel(request);
    canopy_name(request, "GET /\"index\"");
    assert_int_equal(canopy_after_func(call, &callback, nothing, NULL), 0);
    id_text(id, "context", canopy_id(call));
    assert_true(canopy_cancel_cause(request, &gone));
    id_text(by, "by", canopy_id(request));
    canopy_end(call);
    char *text = traced();
    assert_line(text, "\"ph\":\"b\"", "\"name\":\"GET /\\\"index\\\"\"", "\"kind\":\"cancel\"");
    assert_line(text, "\"ph\":\"e\"", "\"name\":\"GET /\\\"index\\\"\"", "\"gone\":\"later\"");
    assert_line(text, "\"name\":\"cancel\"", "\"ph\":\"X\"",
                "\"cause\":\"the client \\\"went\\\" away\\u000a\\u0001\xEF\xBF\xBD\"");
    assert_line(text, "\"name\":\"cancel\"", "\"ph\":\"X\"", "\"at\":");
    assert_line(text, "\"name\":\"end\"", "\"ph\":\"X\"", id);
    assert_line(text, "\"name\":\"ended\"", id, by);
    assert_line(text, "\"name\":\"callback\"", id, "\"function\":");
    assert_count(text, "\"ph\":\"b\"", 2);
    assert_count(text, "\"ph\":\"n\"", 2);
    assert_count(text, "\"ph\":\"e\"", 2);
    assert_count(text, "\"ph\":\"s\"", 2); /* to the end below, and the callback */
    assert_count(text, "\"ph\":\"f\"", 2);
    free(text);
    canopy_end(request);
    trace_close(&f);
    text = traced();
    assert_count(text, "\"gone\":\"later\"", 0);
    free(text);
}

static bool is_traced(const char *part)
{
    char *text = traced();
    bool is = count_of(text, part) > 0;
    free(text);
    return is;
}

TEST(inspect_trace_tells_that_a_deadline_ended_it)
{
    struct fixture f;
    char id[40], by[40];
    trace_open(&f);
    canopy_ctx *ctx = canopy_with_timeout(f.root, 1000);
    canopy_wait(ctx, CANOPY_NEVER);
    canopy_ctx *born = canopy_with_cancel(ctx);
    id_text(id, "context", canopy_id(born));
    id_text(by, "by", canopy_id(ctx));
    /* Written down a moment after who waits for it was woken. */
    assert_true(eventually(is_traced("\"name\":\"deadline\""), SOON));
    char *text = traced();
    assert_line(text, "\"name\":\"deadline\"", "\"ph\":\"X\"", "deadline exceeded");
    assert_line(text, "\"name\":\"ended\"", id, by);
    free(text);
    canopy_end(born);
    canopy_end(ctx);
    trace_close(&f);
}

/* From a root without notes, and while none is on: nothing. */
TEST(inspect_trace_tells_nothing_of_others)
{
    struct fixture f;
    canopy_ctx *root = canopy_root_new(NULL), *ctx = canopy_with_cancel(root);
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *before = canopy_with_cancel(f.root);
    canopy_name(before, "before");
    assert_int_equal(canopy_trace_start(RING_BYTES), 0);
    canopy_name(ctx, "plain");
    canopy_end(ctx);
    assert_int_equal(canopy_trace_stop(), 0);
    canopy_ctx *after = canopy_with_cancel(f.root);
    char *text = traced();
    assert_count(text, "\"ph\":\"X\"", 0);
    assert_count(text, "\"cat\"", 0);
    assert_count(text, "\"traceEvents\":[", 1);
    free(text);
    canopy_end(before);
    canopy_end(after);
    assert_int_equal(canopy_root_free(root), 0);
    fixture_close(&f);
}

TEST(inspect_trace_tells_of_what_began_before_it)
{
    struct fixture f;
    char id[40];
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *ctx = canopy_with_cancel(f.root);
    canopy_name(ctx, "early");
    id_text(id, "context", canopy_id(ctx));
    assert_int_equal(canopy_trace_start(RING_BYTES), 0);
    canopy_end(ctx);
    char *text = traced();
    assert_line(text, "\"ph\":\"b\"", id, "\"made\":\"before\"");
    assert_line(text, "\"ph\":\"b\"", id, "\"name\":\"early\""); /* which its end tells */
    assert_count(text, "\"ph\":\"e\"", 1);
    free(text);
    trace_close(&f);
}

/* A callback that was under way when it was asked, and one whose begin was before. */
static void trace_from_within(void *text)
{
    *(char **)text = traced();
}

static void start_from_within(void *unused)
{
    assert_int_equal(canopy_trace_stop(), 0);
    assert_int_equal(canopy_trace_start(RING_BYTES), 0);
    (void)unused;
}

TEST(inspect_trace_may_be_written_and_started_by_a_callback)
{
    struct fixture f;
    canopy_callback callback;
    char *text = NULL;
    trace_open(&f);
    canopy_ctx *a = canopy_with_cancel(f.root), *b = canopy_with_cancel(f.root);
    assert_int_equal(canopy_after_func(a, &callback, trace_from_within, &text), 0);
    assert_true(canopy_cancel(a));
    assert_non_null(text);
    assert_count(text, "\"name\":\"callback\"", 1);
    free(text);
    assert_int_equal(canopy_after_func(b, &callback, start_from_within, NULL), 0);
    assert_true(canopy_cancel(b));
    text = traced();
    assert_line(text, "\"name\":\"callback\"", "\"ph\":\"X\"", "\"begun\":\"before\"");
    free(text);
    canopy_end(a);
    canopy_end(b);
    trace_close(&f);
}

TEST(inspect_trace_answers_bad_input)
{
    struct text text = {0};
    static const size_t sizes[] = {0, 1, 2048, 4097, 12288, SIZE_MAX, (size_t)1 << 31};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_int_equal(canopy_trace_start(sizes[i]), -EINVAL);
    assert_int_equal(canopy_trace_stop(), -EALREADY);
    assert_int_equal(canopy_trace_write(NULL, NULL), -EINVAL);
    assert_int_equal(canopy_trace_write(add_text, &text), 0); /* of no trace */
    assert_int_equal(canopy_trace_start(4096), 0);
    assert_int_equal(canopy_trace_start(4096), -EBUSY);
    assert_int_equal(canopy_trace_stop(), 0);
    assert_int_equal(canopy_trace_start((size_t)1 << 30), 0);
    assert_int_equal(canopy_trace_stop(), 0);
    free(text.bytes);
}

TEST(inspect_trace_ends_when_the_sink_fails)
{
    struct fixture f;
    trace_open(&f);
    for (unsigned i = 0; i < 200; i++)
        canopy_end(canopy_with_cancel(f.root));
    struct text whole = {0};
    assert_int_equal(canopy_trace_write(add_text, &whole), 0);
    assert_true(whole.calls > 2);
    for (size_t fail_at = 1; fail_at <= whole.calls; fail_at++) {
        struct text text = {.fail_at = fail_at};
        assert_int_equal(canopy_trace_write(add_text, &text), -EPIPE);
        assert_int_equal(text.calls, fail_at);
        free(text.bytes);
    }
    free(whole.bytes);
    trace_close(&f);
}

TEST(inspect_trace_keeps_the_latest)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    assert_int_equal(canopy_trace_start(4096), 0);
    for (unsigned i = 0; i < 1000; i++) {
        char name[32];
        snprintf(name, sizeof name, "number %u", i);
        canopy_ctx *ctx = canopy_with_cancel(f.root);
        canopy_name(ctx, name);
        canopy_cancel_cause(ctx, &gone);
        canopy_name(ctx, NULL); /* which its end would be told with, but it is ours */
        canopy_end(ctx);
    }
    char *text = traced();
    assert_count(text, "\"overwritten\":\"0\"", 0);
    assert_count(text, "\"name\":\"number 999\"", 2);
    assert_count(text, "\"name\":\"number 0\"", 0);
    assert_int_equal(count_of(text, "\"ph\":\"b\""), count_of(text, "\"ph\":\"e\""));
    assert_true(count_of(text, "\"ph\":\"b\"") >= 10);
    free(text);
    trace_close(&f);
}

/* ---------------------------------------------------------------------- threads */

static void one_request(void *root)
{
    canopy_ctx *ctx = canopy_with_cancel(root);
    pthread_setname_np(pthread_self(), "some \"thread\"");
    canopy_name(ctx, "of a thread");
    canopy_end(ctx);
}

TEST(inspect_trace_outlives_its_threads)
{
    struct fixture f;
    trace_open(&f);
    for (unsigned i = 0; i < 20; i++) {
        struct thread thread;
        thread_start(&thread, one_request, f.root);
        thread_join(&thread);
    }
    char *text = traced();
    assert_count(text, "\"ph\":\"b\"", 20);
    assert_count(text, "\"name\":\"thread_name\"", 20);
    free(text);
    trace_close(&f);
    text = traced(); /* the root is told as well when it goes */
    assert_count(text, "\"ph\":\"b\"", 20);
    free(text);
    assert_int_equal(canopy_trace_start(RING_BYTES), 0);
    text = traced();
    assert_count(text, "\"ph\":\"b\"", 0);
    free(text);
    assert_int_equal(canopy_trace_stop(), 0);
}

static void refused_request(void *root)
{
    canopy_end(canopy_with_cancel(root)); /* so that the thread has its heap */
    assert_int_equal(canopy_trace_start(RING_BYTES), 0);
    is_refused = true;
    canopy_ctx *ctx = canopy_with_cancel(root);
    assert_non_null(ctx);
    assert_false(is_refused);
    assert_true(canopy_cancel(ctx));
    canopy_end(ctx);
}

TEST(inspect_trace_counts_what_it_has_no_memory_for)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    refused_request(f.root); /* made, ended, through, gone */
    char *text = traced();
    assert_count(text, "\"lost\":\"4\"", 1);
    assert_count(text, "\"ph\":\"b\"", 0);
    free(text);
    is_refused = true;
    assert_int_equal(canopy_trace_write(add_text, NULL), -ENOMEM);
    trace_close(&f);
}

TEST(inspect_trace_is_bounded)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    assert_int_equal(canopy_trace_start(4096), 0);
    for (unsigned i = 0; i < 1030; i++) {
        struct thread thread;
        thread_start(&thread, one_request, f.root);
        thread_join(&thread);
    }
    char *text = traced();
    assert_count(text, "\"name\":\"thread_name\"", 1024);
    assert_count(text, "\"lost\":\"18\"", 1); /* made, named, gone, of six */
    free(text);
    trace_close(&f);
}

TEST(inspect_trace_is_not_the_childs_of_a_fork)
{
    struct fixture f;
    trace_open(&f);
    canopy_ctx *ctx = canopy_with_cancel(f.root);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct text text = {0};
        alarm(CHILD_TIMEOUT_S);
        if (canopy_trace_stop() != -EALREADY || canopy_trace_write(add_text, &text) != 0 ||
            strstr(text.bytes, "\"ph\":\"b\""))
            _exit(1);
        free(text.bytes);
        text = (struct text){0};
        canopy_config config = {.size = sizeof config, .inspect = CANOPY_INSPECT_NOTES};
        canopy_ctx *root = canopy_root_new(&config);
        if (canopy_trace_start(RING_BYTES) != 0)
            _exit(2);
        canopy_end(canopy_with_cancel(root));
        if (canopy_trace_write(add_text, &text) != 0 || count_of(text.bytes, "\"ph\":\"b\"") != 1)
            _exit(3);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    char *text = traced();
    assert_count(text, "\"ph\":\"b\"", 1);
    free(text);
    canopy_end(ctx);
    trace_close(&f);
}

/* Each makes contexts below one of its own, of one name: no line may mix two of them. */
#define WRITERS 3

struct writer {
    struct thread thread;
    canopy_ctx *parent;
    char name[16], begun[64];
    atomic_bool *is_over;
};

static void make_and_end(void *arg)
{
    struct writer *writer = arg;
    while (!atomic_load(writer->is_over))
        for (unsigned i = 0; i < 64; i++) {
            canopy_ctx *ctx = canopy_with_cancel(writer->parent);
            canopy_name(ctx, writer->name);
            canopy_cancel(ctx);
            canopy_end(ctx);
        }
}

static void assert_of_one(const char *line, struct writer writers[WRITERS])
{
    if (!strstr(line, "\"ph\":\"b\"") || !strstr(line, "\"parent\""))
        return;
    for (unsigned i = 0; i < WRITERS; i++)
        if (strstr(line, writers[i].begun)) /* not named yet, or by this one */
            for (unsigned k = 0; k < WRITERS; k++)
                assert_true(k == i || !strstr(line, writers[k].name));
}

static void assert_well_formed(char *text, struct writer writers[WRITERS])
{
    double before = 0;
    assert_int_equal(count_of(text, "\"ph\":\"b\""), count_of(text, "\"ph\":\"e\""));
    assert_int_equal(count_of(text, "\"ph\":\"s\""), count_of(text, "\"ph\":\"f\""));
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const char *ts = strstr(line, "\"ts\":");
        if (!ts)
            continue;
        assert_true(strtod(ts + 5, NULL) >= before);
        before = strtod(ts + 5, NULL);
        assert_of_one(line, writers);
    }
}

TEST(inspect_trace_is_written_beside_threads_at_work)
{
    struct fixture f;
    struct writer writers[WRITERS];
    atomic_bool is_over = false;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    assert_int_equal(canopy_trace_start(4096), 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i].is_over = &is_over;
        writers[i].parent = canopy_with_cancel(f.root);
        snprintf(writers[i].name, sizeof writers[i].name, "writer %c%c", 'A' + (int)i,
                 'A' + (int)i);
        id_text(writers[i].begun, "parent", canopy_id(writers[i].parent));
        thread_start(&writers[i].thread, make_and_end, &writers[i]);
    }
    int64_t until_ns = now_ns() + SECONDS(60);
    for (unsigned i = 0; i < 60 && now_ns() < until_ns; i++) {
        char *text = traced();
        assert_well_formed(text, writers);
        free(text);
        if (i % 20 == 19) { /* and the rings go under them */
            assert_int_equal(canopy_trace_stop(), 0);
            assert_int_equal(canopy_trace_start(i % 40 == 19 ? 8192 : 4096), 0);
        }
    }
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < WRITERS; i++) {
        thread_join(&writers[i].thread);
        canopy_end(writers[i].parent);
    }
    trace_close(&f);
}
