/*
 * inspect_dump.c - contexts as text, JSON, a graph and a page, by a sink.
 */
#include "inspected.h"

#include <stdio.h>
#include <stdlib.h>

static const canopy_cause stopped = {.code = -EINTR, .text = "it said \"stop\"\n\x01\xff"};

/* What is written of `top` and below; the caller frees it. */
static char *dumped(const canopy_ctx *top, canopy_format format)
{
    struct text text = {0};
    canopy_walk what = {.top = top};
    assert_int_equal(canopy_dump(top ? &what : NULL, format, add_text, &text), 0);
    assert_non_null(text.bytes);
    return text.bytes;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        print_error("no %s in:\n%s\n", part, text);
        fail();
    }
}

struct family {
    struct fixture f;
    canopy_ctx *a, *b;
    char id_a[32], id_b[32];
};

static void family_open(struct family *family)
{
    noted_open(&family->f, CANOPY_CLOCK_HOST);
    family->a = canopy_with_timeout(family->f.root, SECONDS(90));
    family->b = canopy_with_cancel(family->a);
    canopy_name(family->a, "connection");
    snprintf(family->id_a, sizeof family->id_a, "%llu", (unsigned long long)canopy_id(family->a));
    snprintf(family->id_b, sizeof family->id_b, "%llu", (unsigned long long)canopy_id(family->b));
    assert_true(canopy_cancel_cause(family->b, &stopped));
}

static void family_close(struct family *family)
{
    canopy_end(family->b);
    canopy_end(family->a);
    fixture_close(&family->f);
}

TEST(inspect_dump_as_json_is_flat_with_parents)
{
    struct family family;
    char part[128];
    family_open(&family);
    char *text = dumped(family.f.root, CANOPY_FORMAT_JSON);
    assert_int_equal(strncmp(text, "{\"canopy\":1,\"now_ns\":0,\"contexts\":[\n{", 37), 0);
    assert_int_equal(count_of(text, "{\"id\":\""), 3);
    assert_int_equal(count_of(text, ",\n{\"id\":"), 2);
    snprintf(part, sizeof part, "{\"id\":\"%s\",\"parent\":\"%s\",\"kind\":\"cancel\"", family.id_b,
             family.id_a);
    assert_has(text, part);
    assert_has(text, "\"name\":\"connection\"");
    assert_has(text, "\"deadline_ns\":90000000000");
    assert_has(text, "\"cause\":\"it said \\\"stop\\\"\\u000a\\u0001\xEF\xBF\xBD\"");
    assert_has(text, "\"code\":-4");
    snprintf(part, sizeof part, "\"ended_by\":\"%s\"", family.id_b);
    assert_has(text, part);
    assert_has(text, "}\n]}\n");
    free(text);
    family_close(&family);
}

TEST(inspect_dump_as_text_is_a_tree)
{
    struct family family;
    family_open(&family);
    canopy_ctx *second = canopy_with_cancel(family.f.root);
    canopy_ctx *below = canopy_with_cancel(second);
    char *text = dumped(family.f.root, CANOPY_FORMAT_TEXT);
    assert_int_equal(strncmp(text, "root ", 5), 0);
    assert_int_equal(count_of(text, "\n"), 5);
    assert_int_equal(count_of(text, "\n  "), 4);
    assert_int_equal(count_of(text, "\n    cancel "), 2);
    assert_has(text, "\n  \"connection\" ");
    assert_has(text, " due in 90 s\n");
    assert_has(text, " canceled: \"it said \\\"stop");
    free(text);
    canopy_end(below);
    canopy_end(second);
    family_close(&family);
}

TEST(inspect_dump_as_a_graph_has_an_edge_for_each_parent)
{
    struct family family;
    char part[128];
    family_open(&family);
    char *text = dumped(family.f.root, CANOPY_FORMAT_DOT);
    assert_int_equal(strncmp(text, "digraph canopy {\n", 17), 0);
    assert_int_equal(count_of(text, " -> "), 2);
    snprintf(part, sizeof part, "\"%s\" -> \"%s\";\n", family.id_a, family.id_b);
    assert_has(text, part);
    assert_string_equal(text + strlen(text) - 2, "}\n");
    free(text);
    family_close(&family);
}

/* What stands between the tags that hold the contexts. */
static char *page_data(const char *page)
{
    static const char open[] = "<script type=\"application/json\" id=\"data\">";
    const char *begin = strstr(page, open);
    assert_non_null(begin);
    begin += strlen(open);
    const char *end = strchr(begin, '<');
    assert_non_null(end);
    assert_int_equal(strncmp(end, "</script>", 9), 0);
    return strndup(begin, (size_t)(end - begin));
}

TEST(inspect_dump_as_a_page_holds_the_json_and_loads_nothing)
{
    struct family family;
    family_open(&family);
    char *page = dumped(family.f.root, CANOPY_FORMAT_HTML), *data = page_data(page);
    char *json = dumped(family.f.root, CANOPY_FORMAT_JSON);
    assert_int_equal(strncmp(page, "<!doctype html>\n", 16), 0);
    assert_string_equal(page + strlen(page) - 8, "</html>\n");
    assert_has(page, "content=\"default-src 'none';");
    assert_int_equal(count_of(page, " src="), 0);
    assert_int_equal(count_of(page, "@import"), 0);
    assert_int_equal(count_of(page, "url("), 0);
    assert_int_equal(count_of(page, "@contexts@") + count_of(page, "@page."), 0);
    assert_int_equal(count_of(data, "{\"id\":\""), count_of(json, "{\"id\":\""));
    assert_has(data, "\"dump\":{\"canopy\":1,\"now_ns\":0,\"contexts\":[");
    /* A place has a name once; what made both contexts, and the root, are three. */
    assert_int_equal(count_of(data, "\"made_in\":\""), 3);
    assert_int_equal(count_of(json, "\"made_in\":"), 0);
    free(json);
    free(data);
    free(page);
    family_close(&family);
}

TEST(inspect_dump_as_a_page_lets_nobody_out_of_its_data)
{
    static const char taken[] = "</script><img src=x onerror=\"taken()\"><!--<script>";
    static const canopy_cause hostile = {.code = -EINVAL, .text = taken};
    struct family family;
    family_open(&family);
    canopy_ctx *ctx = canopy_with_cancel(family.a);
    canopy_name(ctx, taken);
    assert_true(canopy_cancel_cause(ctx, &hostile));
    char *page = dumped(family.f.root, CANOPY_FORMAT_HTML), *data = page_data(page);
    assert_int_equal(count_of(page, "<img"), 0);
    assert_int_equal(count_of(page, "<!--"), 0);
    assert_int_equal(count_of(data, "\\u003c/script>\\u003cimg src=x onerror=\\\"taken()\\\">"), 2);
    free(data);
    free(page);
    canopy_end(ctx);
    family_close(&family);
}

TEST(inspect_dump_of_very_many_goes_by_in_pieces)
{
    enum { CONTEXTS = 3000 };
    struct fixture f;
    noted_open(&f, CANOPY_CLOCK_LIBRARY);
    canopy_ctx **all = calloc(CONTEXTS, sizeof *all);
    for (size_t i = 0; i < CONTEXTS; i++)
        all[i] = i % 4 ? canopy_with_cancel(all[i - 1]) : canopy_with_cancel(f.root);
    char *json = dumped(f.root, CANOPY_FORMAT_JSON), *text = dumped(NULL, CANOPY_FORMAT_TEXT);
    char *graph = dumped(f.root, CANOPY_FORMAT_DOT);
    assert_int_equal(count_of(json, "{\"id\":\""), CONTEXTS + 1);
    assert_int_equal(count_of(text, "\n"), CONTEXTS + 1);
    assert_int_equal(count_of(text, "\n        cancel "), CONTEXTS / 4);
    assert_int_equal(count_of(graph, " -> "), CONTEXTS);
    free(json);
    free(text);
    free(graph);
    /* A sink that fails, wherever it does, is not called again. */
    for (canopy_format format = CANOPY_FORMAT_TEXT; format <= CANOPY_FORMAT_HTML; format++)
        for (size_t at = 1; at < 20; at += 6) {
            struct text failing = {.fail_at = at};
            assert_int_equal(canopy_dump(NULL, format, add_text, &failing), -EPIPE);
            assert_int_equal(failing.calls, at);
            free(failing.bytes);
        }
    for (size_t i = CONTEXTS; i-- > 0;)
        canopy_end(all[i]);
    free(all);
    fixture_close(&f);
}

TEST(inspect_dump_of_nothing_and_bad_input)
{
    char *text = dumped(NULL, CANOPY_FORMAT_JSON);
    assert_has(text, "\"contexts\":[\n\n]}\n");
    free(text);
    struct text unused = {0};
    assert_int_equal(canopy_dump(NULL, CANOPY_FORMAT_TEXT, add_text, &unused), 0);
    assert_int_equal(unused.calls, 0);
    assert_int_equal(canopy_dump(NULL, CANOPY_FORMAT_JSON, NULL, &unused), -EINVAL);
    assert_int_equal(canopy_dump(NULL, (canopy_format)0, add_text, &unused), -EINVAL);
    assert_int_equal(canopy_dump(NULL, (canopy_format)9, add_text, &unused), -EINVAL);
    assert_int_equal(unused.calls, 0);
}
