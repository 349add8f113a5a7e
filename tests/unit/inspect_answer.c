/*
 * inspect_answer.c - the commands that canopy_answer takes.
 */
#include "inspected.h"

#include <stdio.h>
#include <stdlib.h>

/* What is answered to `command` with `err`; the caller frees it. */
static char *asked(const char *command, unsigned flags, int err)
{
    struct text text = {0};
    int result = canopy_answer(command, flags, add_text, &text);
    if (result != err)
        print_error("%s: %d, %s\n", command, result, text.bytes ? text.bytes : "nothing");
    assert_int_equal(result, err);
    if (!text.bytes)
        add_text(&text, "", 0);
    return text.bytes;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        print_error("no %s in:\n%s\n", part, text);
        fail();
    }
}

static void assert_answer_has(const char *command, const char *part)
{
    char *text = asked(command, 0, 0);
    assert_has(text, part);
    free(text);
}

/* With one line that says why. */
static void assert_refused(const char *command, unsigned flags, int err, const char *part)
{
    char *text = asked(command, flags, err);
    assert_has(text, part);
    assert_int_equal(count_of(text, "\n"), 1);
    free(text);
}

/* A command about one context. */
static const char *about(const char *name, uint64_t id, const char *rest)
{
    static char command[256];
    snprintf(command, sizeof command, "%s %llu%s", name, (unsigned long long)id, rest);
    return command;
}

static const canopy_cause stopped = {.code = -EINTR, .text = "it said \"stop\""};

struct family {
    struct fixture f;
    canopy_ctx *a, *b;
};

static void family_open(struct family *family)
{
    noted_open(&family->f, CANOPY_CLOCK_LIBRARY);
    family->a = canopy_with_timeout(family->f.root, HOURS(1));
    family->b = canopy_with_cancel(family->a);
    canopy_name(family->a, "connection");
    assert_true(canopy_cancel_cause(family->b, &stopped));
}

static void family_close(struct family *family)
{
    canopy_end(family->b);
    canopy_end(family->a);
    fixture_close(&family->f);
}

/* All at one place. */
static __attribute__((noinline)) void make_one(canopy_ctx **ctx, canopy_ctx *parent)
{
    *ctx = canopy_with_cancel(parent);
}

TEST(inspect_answer_lists_its_commands)
{
    char *text = asked("help", 0, 0);
    static const char *const lines[] = {"help\n",
                                        "top\n",
                                        "tree\n",
                                        "dump text|json|dot|html\n",
                                        "leaks AGE [json]",
                                        "causes [json]\n",
                                        "stats [json]\n",
                                        "context ID [json]\n",
                                        "cancel ID [TEXT]\n",
                                        "trace start [BYTES]|stop|write\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_has(text, lines[i]);
    assert_int_equal(count_of(text, "\n"), sizeof lines / sizeof *lines);
    free(text);
}

TEST(inspect_answer_dumps_in_each_format)
{
    struct family family;
    family_open(&family);
    assert_answer_has("tree", "\n  \"connection\" ");
    assert_answer_has("dump text", "\n  \"connection\" ");
    assert_answer_has("dump json", "\"name\":\"connection\"");
    assert_answer_has("dump dot", "digraph canopy {\n");
    assert_answer_has("dump html", "<!doctype html>\n");
    family_close(&family);
}

TEST(inspect_answer_ends_at_the_line_and_takes_spaces_as_one)
{
    struct family family;
    family_open(&family);
    assert_answer_has("  dump   json  \nhelp", "\"name\":\"connection\"");
    assert_answer_has("tree\n", "\n  \"connection\" ");
    assert_refused("\nhelp", 0, -EINVAL, "no such command");
    family_close(&family);
}

TEST(inspect_answer_sums_up_all_roots)
{
    struct family family, other;
    family_open(&family);
    family_open(&other);
    canopy_ctx *ctx = canopy_with_cancel(other.f.root);
    canopy_cancel(ctx);
    char *text = asked("stats json", 0, 0);
    assert_int_equal(strncmp(text, "{\"canopy\":1,\"now_ns\":", 21), 0);
    assert_has(text, ",\"stats\":{\"live\":7,\"memory_bytes\":");
    assert_has(text, "\"made\":7,\"gone\":0,");
    assert_has(text, "\"cancels\":3,\"ended\":3,");
    assert_has(text, "\"late_max_ns\":0,\"late\":[0,");
    free(text);
    assert_answer_has("stats", "made 7\n");
    assert_answer_has("stats", "late_max 0 us\n");
    text = asked("causes json", 0, 0);
    assert_has(text, ",\"causes\":[{\"cancels\":2,\"ended\":2,\"code\":-4,"
                     "\"cause\":\"it said \\\"stop\\\"\"},{\"cancels\":1,\"ended\":1,");
    free(text);
    text = asked("causes", 0, 0);
    assert_has(text, "2 ended by 2: \"it said \\\"stop\\\"\" (-4)\n1 ended by 1: ");
    free(text);
    canopy_end(ctx);
    family_close(&other);
    family_close(&family);
}

TEST(inspect_answer_tells_how_late_deadlines_were)
{
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_HOST);
    canopy_ctx *ctx = canopy_with_timeout(f.root, 1000);
    assert_int_equal(canopy_root_advance(f.root, 9001, NULL), 0);
    assert_answer_has("stats", "expired 1\nlate_max 8 us\nlate up to 16 us: 1\n");
    canopy_end(ctx);
    fixture_close(&f);
}

TEST(inspect_answer_tells_all_of_one_context)
{
    struct family family;
    char part[64];
    family_open(&family);
    char *text = asked(about("context", canopy_id(family.b), ""), 0, 0);
    assert_int_equal(strncmp(text, "cancel ", 7), 0);
    snprintf(part, sizeof part, "\nparent %llu\n", (unsigned long long)canopy_id(family.a));
    assert_has(text, part);
    assert_has(text, "canceled: \"it said \\\"stop\\\"\" (-4)\n");
    assert_has(text, "\nhandles 1\nchildren 0\ncallbacks 0\n");
    free(text);
    assert_answer_has(about("context", canopy_id(family.a), ""), "due in ");
    assert_answer_has(about("context", canopy_id(family.a), ""), "\"connection\"");
    text = asked(about("context", canopy_id(family.b), " json"), 0, 0);
    assert_has(text, ",\"context\":{\"id\":\"");
    assert_has(text, "\"made_in\":\"");
    assert_has(text, "\"code\":-4");
    free(text);
    snprintf(part, sizeof part, "context 0x%llx", (unsigned long long)canopy_id(family.a));
    assert_answer_has(part, "\"connection\"");
    family_close(&family);
}

TEST(inspect_answer_tells_leaks_by_place)
{
    struct family family;
    family_open(&family);
    canopy_ctx *more[3];
    for (size_t i = 0; i < 3; i++)
        make_one(&more[i], family.f.root);
    char *text = asked("leaks 0", 0, 0);
    assert_int_equal(strncmp(text, "3 (0 done) made at ", 19), 0);
    assert_has(text, "1 (0 done) \"connection\" made at ");
    assert_has(text, ", oldest ");
    assert_int_equal(count_of(text, "\n"), 4);
    free(text);
    text = asked("leaks 0ns json", 0, 0);
    assert_has(text, ",\"older_than_ns\":0,\"leaks\":[{\"count\":3,\"done\":0,\"oldest_ns\":");
    assert_has(text, "\"name\":\"connection\",\"made_at\":\"0x");
    free(text);
    text = asked("leaks 2h", 0, 0);
    assert_string_equal(text, "");
    free(text);
    for (size_t i = 0; i < 3; i++)
        canopy_end(more[i]);
    family_close(&family);
}

TEST(inspect_answer_takes_ages_in_their_units)
{
    static const struct {
        const char *command, *told;
    } ages[] = {{"leaks 7 json", ":7000000000,"},
                {"leaks 7s json", ":7000000000,"},
                {"leaks 7ns json", ":7,"},
                {"leaks 7us json", ":7000,"},
                {"leaks 7ms json", ":7000000,"},
                {"leaks 7m json", ":420000000000,"},
                {"leaks 7h json", ":25200000000000,"},
                {"leaks 2562047h json", ":9223369200000000000,"}};
    for (size_t i = 0; i < sizeof ages / sizeof *ages; i++)
        assert_answer_has(ages[i].command, ages[i].told);
    static const char *const bad[] = {"leaks",
                                      "leaks json",
                                      "leaks -1",
                                      "leaks 1d",
                                      "leaks s",
                                      "leaks 1.5s",
                                      "leaks 1s s",
                                      "leaks 1 text",
                                      "leaks 1 json json",
                                      "leaks 2562048h",
                                      "leaks 9223372036854775808ns",
                                      "leaks 18446744073709551616ns"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(bad[i], 0, -EINVAL, "usage: leaks AGE [json]");
}

TEST(inspect_answer_has_for_top_all_that_a_screen_needs_and_no_more)
{
    enum { CONTEXTS = 200 };
    struct family family;
    canopy_ctx *more[CONTEXTS];
    family_open(&family);
    char part[64];
    for (size_t i = 0; i < CONTEXTS; i++)
        make_one(&more[i], family.a);
    char *text = asked("top", 0, 0);
    assert_int_equal(strncmp(text, "{\"canopy\":1,\"now_ns\":", 21), 0);
    snprintf(part, sizeof part, ",\"pid\":%d,\"program\":\"%s\",\"stats\":{", (int)getpid(),
             program_invocation_short_name);
    assert_has(text, part);
    assert_has(text, "},\"causes\":[{");
    assert_has(text, "],\"oldest\":[{\"id\":\"");
    assert_has(text, "\"older_than_ns\":0,\"leaks\":[{\"count\":");
    assert_int_equal(count_of(text, "{\"id\":\""), 50);
    /* The oldest that live and have nothing below them, in their order. */
    char *at = strstr(text, "\"oldest\":[");
    for (size_t i = 0; i < 50; i++) {
        snprintf(part, sizeof part, "{\"id\":\"%llu\"", (unsigned long long)canopy_id(more[i]));
        at = strstr(at, part);
        assert_non_null(at);
        assert_has(at, "\"made_in\":\"");
    }
    assert_null(strstr(text, "\"err\""));
    free(text);
    for (size_t i = 0; i < CONTEXTS; i++)
        canopy_end(more[i]);
    family_close(&family);
}

TEST(inspect_answer_cancels_where_it_may)
{
    struct family family;
    family_open(&family);
    uint64_t a = canopy_id(family.a), b = canopy_id(family.b);
    assert_refused(about("cancel", a, " now"), 0, -EPERM, "does not allow cancel");
    assert_int_equal(canopy_err(family.a), 0);
    assert_refused(about("cancel", b, ""), CANOPY_ANSWER_CANCEL, -EALREADY, "ended already");
    char *text = asked(about("cancel", a, "  by ann, ticket 7 \n"), CANOPY_ANSWER_CANCEL, 0);
    assert_has(text, ": \"by ann, ticket 7\"\n");
    free(text);
    assert_int_equal(canopy_err(family.a), -ECANCELED);
    assert_string_equal(canopy_cause_of(family.a)->text, "by ann, ticket 7");
    canopy_ctx *other = canopy_with_cancel(family.f.root);
    free(asked(about("cancel", canopy_id(other), ""), CANOPY_ANSWER_CANCEL, 0));
    assert_string_equal(canopy_cause_of(other)->text, "cancelled by an operator");
    canopy_ctx *layer = canopy_without_cancel(family.f.root);
    assert_refused(about("cancel", canopy_id(layer), ""), CANOPY_ANSWER_CANCEL, -EPERM,
                   "has no end of its own");
    canopy_end(layer);
    canopy_end(other);
    family_close(&family);
    assert_refused(about("cancel", a, ""), CANOPY_ANSWER_CANCEL, -ESRCH, "no such context");
}

TEST(inspect_answer_keeps_so_many_texts_of_operators)
{
    enum { TEXTS = 70 };
    struct fixture f;
    char rest[160] = " text ", longest[130];
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *done = canopy_with_cancel(f.root);
    canopy_cancel(done);
    for (int i = 0; i < TEXTS; i++) { /* of which none has an effect */
        snprintf(rest, sizeof rest, " other %d", i);
        assert_refused(about("cancel", canopy_id(done), rest), CANOPY_ANSWER_CANCEL, -EALREADY,
                       "already");
    }
    canopy_end(done);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < TEXTS; i++) {
            canopy_ctx *ctx = canopy_with_cancel(f.root);
            snprintf(rest, sizeof rest, " text %d", i);
            free(asked(about("cancel", canopy_id(ctx), rest), CANOPY_ANSWER_CANCEL, 0));
            const canopy_cause *cause = canopy_cause_of(ctx);
            assert_string_equal(cause->text, i < 64 ? rest + 1 : "cancelled by an operator");
            assert_int_equal(cause->code, -ECANCELED);
            canopy_end(ctx);
        }
    canopy_ctx *ctx = canopy_with_cancel(f.root);
    memset(longest, 'x', sizeof longest);
    longest[0] = ' ';
    longest[113] = '\0';
    assert_refused(about("cancel", canopy_id(ctx), longest), CANOPY_ANSWER_CANCEL, -EINVAL, "111");
    longest[112] = '\0';
    free(asked(about("cancel", canopy_id(ctx), longest), CANOPY_ANSWER_CANCEL, 0));
    canopy_end(ctx);
    fixture_close(&f);
}

TEST(inspect_answer_starts_stops_and_writes_a_trace)
{
    struct family family;
    assert_refused("trace start 4095", 0, -EINVAL, "a power of two");
    assert_refused("trace start 18446744073709551615", 0, -EINVAL, "a power of two");
    assert_refused("trace stop", 0, -EALREADY, "no trace is on");
    char *text = asked("trace start 65536", 0, 0);
    assert_string_equal(text, "");
    free(text);
    assert_refused("trace start", 0, -EBUSY, "a trace is on");
    family_open(&family);
    free(asked("trace stop", 0, 0));
    assert_answer_has("trace write", "connection");
    assert_answer_has("trace write", "traceEvents");
    struct text failing = {.fail_at = 1};
    assert_int_equal(canopy_answer("trace write", 0, add_text, &failing), -EPIPE);
    assert_int_equal(failing.calls, 1);
    free(failing.bytes);
    free(asked("trace start", 0, 0));
    free(asked("trace stop", 0, 0));
    family_close(&family);
}

TEST(inspect_answer_says_why_not)
{
    static const struct {
        const char *command;
        const char *told;
    } bad[] = {{"", "no such command"},
               {"   ", "no such command"},
               {"halp", "no such command"},
               {"help me", "usage: help"},
               {"HELP", "no such command"},
               {"tree json", "usage: tree"},
               {"top 1", "usage: top"},
               {"dump", "usage: dump text|json|dot|html"},
               {"dump xml", "usage: dump"},
               {"dump json json", "usage: dump"},
               {"stats text", "usage: stats [json]"},
               {"causes json x", "usage: causes [json]"},
               {"context", "usage: context ID [json]"},
               {"context x", "usage: context"},
               {"context 0x", "usage: context"},
               {"context -1", "usage: context"},
               {"context 12a", "usage: context"},
               {"context 0x12g", "usage: context"},
               {"context 18446744073709551616", "usage: context"},
               {"context 0x10000000000000000", "usage: context"},
               {"context 1 text", "usage: context"},
               {"cancel", "usage: cancel ID [TEXT]"},
               {"cancel now 1", "usage: cancel"},
               {"trace", "usage: trace start [BYTES]|stop|write"},
               {"trace on", "usage: trace"},
               {"trace start x", "usage: trace"},
               {"trace start 4096 4096", "usage: trace"},
               {"trace stop now", "usage: trace"},
               {"\t", "no such command"},
               {"h\xff\xc0\x80lp", "no such command"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(bad[i].command, CANOPY_ANSWER_CANCEL, -EINVAL, bad[i].told);
    static const char *const ids[] = {
        "context 0", "context 1", "context 18446744073709551615", "context 0xFFFFffffFFFFffff json",
        "cancel 0",  "cancel 7 x"};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        assert_refused(ids[i], CANOPY_ANSWER_CANCEL, -ESRCH, "no such context");
}

TEST(inspect_answer_takes_a_line_of_so_many_bytes)
{
    enum { MOST = 4096 };
    char *command = malloc(MOST + 2);
    memset(command, ' ', MOST + 1);
    memcpy(command, "help", 4);
    command[MOST] = '\n';
    command[MOST + 1] = '\0';
    free(asked(command, 0, 0));
    command[MOST] = ' ';
    assert_refused(command, 0, -EINVAL, "at most 4096 bytes");
    /* What lies behind the end is not read. */
    char *end = malloc(MOST + 1);
    memset(end, ' ', MOST + 1);
    assert_refused(end, 0, -EINVAL, "at most 4096 bytes");
    free(end);
    free(command);
}

TEST(inspect_answer_ends_with_a_sink_that_fails)
{
    struct family family;
    family_open(&family);
    static const char *const commands[] = {"help",        "tree",        "dump json", "dump html",
                                           "leaks 0",     "causes json", "stats",     "top",
                                           "stats extra", "context 1",   "halp"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        struct text failing = {.fail_at = 1};
        assert_int_equal(canopy_answer(commands[i], 0, add_text, &failing), -EPIPE);
        assert_int_equal(failing.calls, 1);
        free(failing.bytes);
    }
    family_close(&family);
}

static int refuse_for_want_of_memory(void *calls, const char *bytes, size_t n)
{
    (void)bytes, (void)n;
    ++*(int *)calls;
    return -ENOMEM;
}

/* What the caller's sink says is not taken for canopy's own want of memory. */
TEST(inspect_answer_calls_a_sink_without_memory_once)
{
    struct family family;
    family_open(&family);
    static const char *const commands[] = {"tree", "dump json", "dump dot", "trace write"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        int calls = 0;
        assert_int_equal(canopy_answer(commands[i], 0, refuse_for_want_of_memory, &calls), -ENOMEM);
        assert_int_equal(calls, 1);
    }
    family_close(&family);
}

TEST(inspect_answer_refuses_bad_input)
{
    struct text unused = {0};
    assert_int_equal(canopy_answer(NULL, 0, add_text, &unused), -EINVAL);
    assert_int_equal(canopy_answer("help", 0, NULL, &unused), -EINVAL);
    assert_int_equal(canopy_answer("help", 2, add_text, &unused), -EINVAL);
    assert_int_equal(canopy_answer("help", ~0U, add_text, &unused), -EINVAL);
    assert_int_equal(unused.calls, 0);
}
