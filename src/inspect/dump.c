/*
 * dump.c - contexts as JSON and as a graph, each written as it is met: flat, with the ids of
 * the parents. Ids are strings there, as numbers of JSON are exact up to 2^53.
 */
#include "inspect/dump.h"

#include <errno.h>

#include "inspect/look.h"

/* ------------------------------------------------------------------------ JSON */

static void json_id(struct sink *sink, const char *name, uint64_t id)
{
    sink_text(sink, name);
    sink_id(sink, id);
    sink_char(sink, '"');
}

static void json_number(struct sink *sink, const char *name, int64_t number)
{
    sink_text(sink, name);
    sink_number(sink, number);
}

/* To find the name of a place is dear: it is told once, or now and then if there are many. */
static bool is_to_be_named(struct sink *sink, const void *place)
{
    if (!sink->named)
        return false;
    const void **had = &sink->named[((uintptr_t)place * UINT64_C(0x9E3779B97F4A7C15)) >> 58];
    bool is_new = *had != place;
    *had = place;
    return is_new;
}

static void json_place(struct sink *sink, const char *at, const char *in, const void *place)
{
    sink_text(sink, at);
    sink_hex(sink, (uintptr_t)place);
    sink_char(sink, '"');
    if (is_to_be_named(sink, place)) {
        sink_text(sink, in);
        sink_place_quoted(sink, place);
    }
}

static void json_text(struct sink *sink, const char *name, const char *text)
{
    sink_text(sink, name);
    sink_quoted(sink, text);
}

static void json_end(struct sink *sink, const canopy_info *info)
{
    json_number(sink, ",\"err\":", info->err);
    if (info->cause.text)
        json_text(sink, ",\"cause\":", info->cause.text);
    json_number(sink, ",\"code\":", info->cause.code);
    if (info->ended_by)
        json_id(sink, ",\"ended_by\":\"", info->ended_by);
    if (info->ended_tid) {
        json_number(sink, ",\"ended_ns\":", info->ended_ns);
        json_number(sink, ",\"ended_tid\":", info->ended_tid);
    }
    if (info->ended_at)
        json_place(sink, ",\"ended_at\":\"", ",\"ended_in\":", info->ended_at);
}

void dump_json_context(struct sink *sink, const canopy_info *info)
{
    json_id(sink, "{\"id\":\"", info->id);
    if (info->parent_id)
        json_id(sink, ",\"parent\":\"", info->parent_id);
    json_text(sink, ",\"kind\":", sink_kind_name(info->kind));
    if (info->name)
        json_text(sink, ",\"name\":", info->name);
    json_number(sink, ",\"made_ns\":", info->made_ns);
    json_number(sink, ",\"made_tid\":", info->made_tid);
    json_place(sink, ",\"made_at\":\"", ",\"made_in\":", info->made_at);
    if (info->deadline_ns != CANOPY_NEVER)
        json_number(sink, ",\"deadline_ns\":", info->deadline_ns);
    json_number(sink, ",\"handles\":", info->handles);
    json_number(sink, ",\"children\":", info->children);
    json_number(sink, ",\"callbacks\":", info->callbacks);
    if (info->is_waited)
        sink_text(sink, ",\"is_waited\":true");
    if (info->has_fd)
        sink_text(sink, ",\"has_fd\":true");
    if (info->err)
        json_end(sink, info);
    sink_char(sink, '}');
}

/* ------------------------------------------------------------------------- DOT */

static void dot_context(struct sink *sink, const canopy_info *info)
{
    json_id(sink, "\"", info->id);
    sink_text(sink, " [label=");
    sink_quoted(sink, info->name ? info->name : sink_kind_name(info->kind));
    if (info->err) {
        sink_text(sink, ",style=dashed");
        if (info->cause.text)
            json_text(sink, ",tooltip=", info->cause.text);
    }
    sink_text(sink, "];\n");
    if (info->parent_id) {
        json_id(sink, "\"", info->parent_id);
        json_id(sink, " -> \"", info->id);
        sink_text(sink, ";\n");
    }
}

/* ------------------------------------------------------------------------- all */

struct format {
    void (*context)(struct sink *sink, const canopy_info *info);
    const char *between;
    const char *end;
};

static int dump_flat(canopy_walk *walk, const struct format *format, struct sink *sink)
{
    canopy_info infos[DUMP_INFOS];
    const char *before = "";
    int count;
    while (!sink->err && (count = canopy_walk_next(walk, infos, DUMP_INFOS)) > 0)
        for (int i = 0; i < count; i++, before = format->between) {
            sink_text(sink, before);
            format->context(sink, &infos[i]);
        }
    sink_text(sink, format->end);
    return sink_flush(sink);
}

int dump_json(canopy_walk *walk, struct sink *sink, int64_t now_ns)
{
    static const struct format json = {dump_json_context, ",\n", "\n]}\n"};
    json_number(sink, "{\"canopy\":1,\"now_ns\":", now_ns);
    sink_text(sink, ",\"contexts\":[\n");
    return dump_flat(walk, &json, sink);
}

static int dump_dot(canopy_walk *walk, struct sink *sink, int64_t now_ns)
{
    static const struct format dot = {dot_context, "", "}\n"};
    (void)now_ns;
    sink_text(sink, "digraph canopy {\n");
    return dump_flat(walk, &dot, sink);
}

int canopy_dump(const canopy_walk *what, canopy_format format, canopy_sink_fn write, void *user)
{
    static int (*const formats[])(canopy_walk *, struct sink *, int64_t) = {
        [CANOPY_FORMAT_TEXT] = dump_text,
        [CANOPY_FORMAT_JSON] = dump_json,
        [CANOPY_FORMAT_DOT] = dump_dot,
        [CANOPY_FORMAT_HTML] = dump_page,
    };
    canopy_walk walk = {.info_bytes = sizeof(canopy_info)};
    struct sink sink;
    if (!write || format < CANOPY_FORMAT_TEXT || format > CANOPY_FORMAT_HTML)
        return -EINVAL;
    if (what) {
        walk.top = what->top;
        walk.older_than_ns = what->older_than_ns;
        walk.live_only = what->live_only;
    }
    sink_open(&sink, write, user);
    return formats[format](&walk, &sink,
                           walk.top ? look_now_ns(ctx_domain(walk.top)) : clock_now_ns());
}
