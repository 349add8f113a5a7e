/*
 * report.c - totals as a page, as JSON, and in Prometheus's text format, out of one table.
 */
#include "report.h"

#include <stdarg.h>

/* What is shown beside what is counted. */
enum {
    LIVE = NGX_HTTP_CANOPY_TOTALS,
    LOST,
    WORKERS,
    SINCE,
    FIGURES,
};

typedef struct {
    const char *name; /* in JSON */
    const char *word; /* in Prometheus the label's value */
    const char *text; /* on the page; NULL: the family's title is enough */
    ngx_uint_t at;    /* its place among the figures */
} figure;

/* A family of figures: in Prometheus a metric, on the page a heading. */
typedef struct {
    const char *title;
    const char *metric;
    const char *type;
    const char *label; /* NULL: it is of one figure */
    const char *help;
    figure figures[8]; /* up to the first without a name */
} family;

static const family families[] = {
    {"Requests",
     "requests_total",
     "counter",
     NULL,
     "Requests that were given a context.",
     {{"requests", NULL, NULL, NGX_HTTP_CANOPY_REQUESTS}}},
    {"Live",
     "requests_live",
     "gauge",
     NULL,
     "Requests with a context that are not over.",
     {{"live", NULL, NULL, LIVE}}},
    {"Ends",
     "requests_ended_total",
     "counter",
     "cause",
     "Requests with a context that are over, by what ended them.",
     {{"answered", "answered", "answered, before anything ended them", NGX_HTTP_CANOPY_ANSWERED},
      {"deadline", "deadline", "deadline", NGX_HTTP_CANOPY_DEADLINE},
      {"client_gone", "client_gone", "the client had gone", NGX_HTTP_CANOPY_CLIENT_GONE},
      {"drained", "drained", "their worker had to leave", NGX_HTTP_CANOPY_DRAINED},
      {"other", "other", "another cause", NGX_HTTP_CANOPY_OTHER},
      {"lost", "lost", "their worker died, or was stopped at once", LOST}}},
    {"Refused",
     "requests_refused_total",
     "counter",
     NULL,
     "Requests that were answered with 503 because canopy_max_live contexts were live.",
     {{"refused", NULL, NULL, NGX_HTTP_CANOPY_REFUSED}}},
    {"Tries",
     "tries_total",
     "counter",
     NULL,
     "Tries of an upstream that were begun.",
     {{"tries", NULL, NULL, NGX_HTTP_CANOPY_TRIES}}},
    {"Retries",
     "retries_total",
     "counter",
     NULL,
     "Tries that were not the first of their request.",
     {{"retries", NULL, NULL, NGX_HTTP_CANOPY_RETRIES}}},
    {"Call time-outs",
     "call_timeouts_total",
     "counter",
     NULL,
     "Tries that were ended by canopy_call_timeout.",
     {{"call_timeouts", NULL, NULL, NGX_HTTP_CANOPY_CALL_TIMEOUT}}},
    {"Not tried",
     "tries_refused_total",
     "counter",
     NULL,
     "Tries that were not begun because less than canopy_least was left.",
     {{"not_tried", NULL, NULL, NGX_HTTP_CANOPY_NOT_TRIED}}},
    {"Time-outs received",
     "timeouts_received_total",
     "counter",
     NULL,
     "Requests that brought a time-out.",
     {{"timeouts_received", NULL, NULL, NGX_HTTP_CANOPY_TIMEOUT_RECEIVED}}},
    {"Time-outs sent",
     "timeouts_sent_total",
     "counter",
     NULL,
     "Tries whose upstream was told how long is left.",
     {{"timeouts_sent", NULL, NULL, NGX_HTTP_CANOPY_TIMEOUT_SENT}}},
    {"Malformed",
     "malformed_headers_total",
     "counter",
     "header",
     "Requests that brought malformed headers, which were left out.",
     {{"malformed_grpc_timeout", "grpc-timeout", "grpc-timeout",
       NGX_HTTP_CANOPY_MALFORMED_GRPC_TIMEOUT},
      {"malformed_ms_timeout", "milliseconds", "a time-out in milliseconds",
       NGX_HTTP_CANOPY_MALFORMED_MS_TIMEOUT},
      {"malformed_traceparent", "traceparent", "traceparent",
       NGX_HTTP_CANOPY_MALFORMED_TRACEPARENT},
      {"malformed_tracestate", "tracestate", "tracestate", NGX_HTTP_CANOPY_MALFORMED_TRACESTATE},
      {"malformed_baggage", "baggage", "baggage", NGX_HTTP_CANOPY_MALFORMED_BAGGAGE}}},
    {"Workers",
     "workers",
     "gauge",
     NULL,
     "Worker processes, those that are draining too.",
     {{"workers", NULL, NULL, WORKERS}}},
    {"Since",
     "counted_since_timestamp_seconds",
     "gauge",
     NULL,
     "When counting began, in seconds since the epoch.",
     {{"since", NULL, NULL, SINCE}}},
};

#define FAMILIES (sizeof families / sizeof *families)

static const char lateness_help[] = "How much later than its deadline a request was ended.";

/* ------------------------------------------------------------------ writing */

typedef struct {
    u_char *at, *end;
    const ngx_http_canopy_sum_t *sum;
    uint64_t figures[FIGURES];
} report;

static report begin(u_char *out, const ngx_http_canopy_sum_t *sum)
{
    report r = {.at = out, .end = out + NGX_HTTP_CANOPY_REPORT_BYTES, .sum = sum};
    ngx_memcpy(r.figures, sum->counts, sizeof sum->counts);
    r.figures[LIVE] = sum->live;
    r.figures[LOST] = sum->lost;
    r.figures[WORKERS] = sum->workers;
    r.figures[SINCE] = (uint64_t)sum->since;
    return r;
}

/* As ngx_sprintf writes it, which has formats of its own. */
static void put(report *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    r->at = ngx_vslprintf(r->at, r->end, format, arguments);
    va_end(arguments);
}

static const figure *next_figure(const family *f, const figure *last)
{
    const figure *next = last ? last + 1 : f->figures;
    return next < f->figures + sizeof f->figures / sizeof *f->figures && next->name ? next : NULL;
}

/* Where a range of latenesses ends; the last has no end. */
static uint64_t lateness_end_ms(ngx_uint_t i)
{
    return UINT64_C(1) << i;
}

/* In seconds, as a decimal number. */
static void put_ns(report *r, uint64_t ns)
{
    put(r, "%uL.%09uL", ns / 1000000000, ns % 1000000000);
}

static void put_ms(report *r, uint64_t ms)
{
    put(r, "%uL.%03uL", ms / 1000, ms % 1000);
}

/* --------------------------------------------------------------------- JSON */

/* `growth`: of a character, at most. */
static void put_host(report *r, uintptr_t (*escape)(u_char *, u_char *, size_t), size_t growth)
{
    ngx_str_t host = ngx_cycle->hostname;
    if (host.len * growth < (size_t)(r->end - r->at))
        r->at = (u_char *)escape(r->at, host.data, host.len);
}

u_char *ngx_http_canopy_report_json(u_char *out, const ngx_http_canopy_sum_t *sum)
{
    report r = begin(out, sum);
    uint64_t so_far = 0;
    put(&r, "{\"canopy\":\"%d.%d.%d\",\"nginx\":\"%s\",\"host\":\"", CANOPY_VERSION_MAJOR,
        CANOPY_VERSION_MINOR, CANOPY_VERSION_PATCH, NGINX_VERSION);
    put_host(&r, ngx_escape_json, sizeof("\\u0000") - 1);
    put(&r, "\"");
    for (ngx_uint_t i = 0; i < FAMILIES; i++)
        for (const figure *f = next_figure(&families[i], NULL); f; f = next_figure(&families[i], f))
            put(&r, ",\"%s\":%uL", f->name, r.figures[f->at]);
    put(&r, ",\"lateness_seconds\":{\"sum\":");
    put_ns(&r, sum->lateness_ns);
    put(&r, ",\"at_most\":{");
    for (ngx_uint_t i = 0; i < NGX_HTTP_CANOPY_LATENESSES - 1; i++) {
        so_far += sum->latenesses[i];
        put(&r, "%s\"", i > 0 ? "," : "");
        put_ms(&r, lateness_end_ms(i));
        put(&r, "\":%uL", so_far);
    }
    put(&r, "},\"count\":%uL}}\n", so_far + sum->latenesses[NGX_HTTP_CANOPY_LATENESSES - 1]);
    return r.at;
}

/* --------------------------------------------------------------- Prometheus */

#define PREFIX "nginx_canopy_"

static void put_head(report *r, const char *metric, const char *type, const char *help)
{
    put(r, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", metric, help, metric, type);
}

static void put_lateness(report *r)
{
    static const char metric[] = "lateness_seconds";
    uint64_t so_far = 0;
    put_head(r, metric, "histogram", lateness_help);
    for (ngx_uint_t i = 0; i < NGX_HTTP_CANOPY_LATENESSES; i++) {
        so_far += r->sum->latenesses[i];
        put(r, PREFIX "%s_bucket{le=\"", metric);
        if (i < NGX_HTTP_CANOPY_LATENESSES - 1)
            put_ms(r, lateness_end_ms(i));
        else
            put(r, "+Inf");
        put(r, "\"} %uL\n", so_far);
    }
    put(r, PREFIX "%s_sum ", metric);
    put_ns(r, r->sum->lateness_ns);
    put(r, "\n" PREFIX "%s_count %uL\n", metric, so_far);
}

u_char *ngx_http_canopy_report_prometheus(u_char *out, const ngx_http_canopy_sum_t *sum)
{
    report r = begin(out, sum);
    put_head(&r, "info", "gauge", "Versions.");
    put(&r, PREFIX "info{canopy=\"%d.%d.%d\",nginx=\"%s\"} 1\n", CANOPY_VERSION_MAJOR,
        CANOPY_VERSION_MINOR, CANOPY_VERSION_PATCH, NGINX_VERSION);
    for (const family *m = families; m < families + FAMILIES; m++) {
        put_head(&r, m->metric, m->type, m->help);
        for (const figure *f = next_figure(m, NULL); f; f = next_figure(m, f)) {
            put(&r, PREFIX "%s", m->metric);
            if (m->label)
                put(&r, "{%s=\"%s\"}", m->label, f->word);
            put(&r, " %uL\n", r.figures[f->at]);
        }
    }
    put_lateness(&r);
    return r.at;
}

/* --------------------------------------------------------------------- HTML */

static const char page_head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<style>\n"
    ":root{--ink:#1d2329;--faint:#5c6670;--line:#d5dade;--bar:#3f7f5f;--paper:#fff}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e3e7ea;--faint:#9aa5af;--line:#39424a;"
    "--bar:#6fb893;--paper:#15191d}}\n"
    "body{margin:0 auto;padding:1rem;max-width:72rem;background:var(--paper);color:var(--ink);"
    "font:1rem/1.45 system-ui,sans-serif}\n"
    "h1{font-size:1.4rem;margin:0}h2{font-size:1rem;margin:0;display:flex;justify-content:space-"
    "between}p{margin:.2rem 0;"
    "color:var(--faint)}a{color:inherit}\n"
    "main{columns:22rem;column-gap:2.5rem;margin-top:1rem}\n"
    "section{break-inside:avoid;padding:.6rem 0;border-top:1px solid var(--line)}\n"
    "table{border-collapse:collapse;width:100%}th{font-weight:normal;text-align:left;"
    "padding:.1rem 1rem .1rem 0}\n"
    "td{text-align:right;font-variant-numeric:tabular-nums}td.bar{width:50%;padding-left:1rem}\n"
    "td.bar div{height:.7rem;background:var(--bar);print-color-adjust:exact;"
    "-webkit-print-color-adjust:exact}\n"
    "@media print{:root{--ink:#000;--faint:#333;--line:#999;--paper:#fff}nav{display:none}}\n"
    "</style>\n";

static void put_family(report *r, const family *m)
{
    put(r, "<section><h2>%s", m->title);
    if (m->label == NULL)
        put(r, " <span id=\"%s\">%uL</span>", m->figures[0].name, r->figures[m->figures[0].at]);
    put(r, "</h2><p>%s</p>\n<table>\n", m->help);
    for (const figure *f = m->label ? next_figure(m, NULL) : NULL; f; f = next_figure(m, f))
        put(r, "<tr><th scope=\"row\">%s</th><td id=\"%s\">%uL</td></tr>\n", f->text, f->name,
            r->figures[f->at]);
    put(r, "</table></section>\n");
}

/* Bars as long as the longest allows. */
static void put_bars(report *r)
{
    const uint64_t *counts = r->sum->latenesses;
    uint64_t most = 1;
    for (ngx_uint_t i = 0; i < NGX_HTTP_CANOPY_LATENESSES; i++)
        most = ngx_max(most, counts[i]);
    put(r, "<section><h2>Lateness</h2><p>%s</p>\n<table>\n", lateness_help);
    for (ngx_uint_t i = 0; i < NGX_HTTP_CANOPY_LATENESSES; i++) {
        ngx_flag_t is_last = i == NGX_HTTP_CANOPY_LATENESSES - 1;
        put(r, "<tr><th scope=\"row\">%s %uL ms</th><td>%uL</td>", is_last ? "more than" : "up to",
            lateness_end_ms(is_last ? i - 1 : i), counts[i]);
        put(r, "<td class=\"bar\"><div style=\"width:%.1f%%\"></div></td></tr>\n",
            100 * (double)counts[i] / (double)most);
    }
    put(r, "</table></section>\n");
}

static void put_opening(report *r, ngx_flag_t with_links)
{
    u_char since[sizeof("Mon, 28 Sep 1970 06:00:00 GMT")];
    put(r, "%s<title>canopy on ", page_head);
    put_host(r, ngx_escape_html, sizeof("&quot;") - 1);
    put(r, "</title>\n</head>\n<body>\n<h1>canopy on ");
    put_host(r, ngx_escape_html, sizeof("&quot;") - 1);
    *ngx_http_time(since, r->sum->since) = '\0';
    put(r, "</h1>\n<p>%uL workers of nginx %s, canopy %d.%d.%d, counted since %s</p>\n",
        r->sum->workers, NGINX_VERSION, CANOPY_VERSION_MAJOR, CANOPY_VERSION_MINOR,
        CANOPY_VERSION_PATCH, since);
    if (with_links)
        put(r, "<nav><p><a href=\"?format=json\">JSON</a> · "
               "<a href=\"?format=prometheus\">Prometheus</a></p></nav>\n");
}

u_char *ngx_http_canopy_report_html(u_char *out, const ngx_http_canopy_sum_t *sum,
                                    ngx_flag_t with_links)
{
    report r = begin(out, sum);
    put_opening(&r, with_links);
    put(&r, "<main>\n");
    for (const family *m = families; m < families + FAMILIES; m++)
        if (m->figures[0].at < WORKERS) /* the others are said in the opening */
            put_family(&r, m);
    put_bars(&r);
    put(&r, "</main>\n</body>\n</html>\n");
    return r.at;
}
