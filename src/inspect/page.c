/*
 * page.c - contexts as one page of HTML, which loads nothing from elsewhere: their JSON
 * between the two halves of what page/ holds. Nobody's text can end the element that it
 * stands in, as no '<' is left there; the script shows all of it as text.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "inspect/dump.h"
#include "inspect/page_bytes.h" /* page_head, page_tail: made of page/ by CMakeLists.txt */

/* A canopy_sink_fn. JSON has '<' only in strings, where it may as well be this. */
static int put_into_page(void *user, const char *bytes, size_t n)
{
    struct sink *page = user;
    for (size_t plain = 0; n > 0; bytes += plain, n -= plain) {
        if (*bytes == '<') {
            sink_text(page, "\\u003c");
            plain = 1;
            continue;
        }
        const char *next = memchr(bytes, '<', n);
        plain = next ? (size_t)(next - bytes) : n;
        sink_put(page, bytes, plain);
    }
    return page->err;
}

/* Whose contexts they are, and when it was by the calendar. */
static void put_about(struct sink *json)
{
    struct timespec now;
    char host[256] = "";
    clock_gettime(CLOCK_REALTIME, &now);
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    sink_text(json, "{\"program\":");
    sink_quoted(json, program_invocation_short_name);
    sink_text(json, ",\"host\":");
    sink_quoted(json, host);
    sink_text(json, ",\"pid\":");
    sink_number(json, getpid());
    sink_text(json, ",\"unix_ms\":");
    sink_number(json, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    sink_text(json, ",\"dump\":");
}

int dump_page(canopy_walk *walk, struct sink *sink, int64_t now_ns)
{
    const void *named[SINK_NAMED] = {NULL};
    struct sink json;
    sink_put(sink, (const char *)page_head, sizeof page_head);
    sink_open(&json, put_into_page, sink);
    json.named = named;
    put_about(&json);
    dump_json(walk, &json, now_ns);
    sink_char(&json, '}');
    sink_flush(&json);
    sink_put(sink, (const char *)page_tail, sizeof page_tail);
    return sink_flush(sink);
}
