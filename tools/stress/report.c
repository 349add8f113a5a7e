/*
 * report.c - how a soak goes: samples at equal distances of its progress, the
 * progress line on stderr, and the JSON at the end.
 */
#include "soak.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_EVERY_NS (NS_PER_SECOND / 2)
#define MEGABYTE          1e6

/* What memory may go up and down by, however little there is of it. */
#define FLAT_SLACK_BYTES (16 * MEGABYTE)

struct sample {
    int64_t at_ns; /* since the start */
    uint64_t contexts;
    double rate; /* contexts per second since the sample before */
    uint64_t live;
    size_t rss_bytes;
    size_t held_bytes;
    uint64_t p50_ns, p99_ns, max_ns; /* of one create, cancel, release, with a clock read */
};

struct report {
    struct run *run;
    struct sample *samples;
    unsigned taken;
    bool on_terminal;
    int64_t told_ns;
    uint64_t told_contexts;
    int64_t sampled_ns;
    uint64_t sampled_contexts;
    uint64_t latency_before[LATENCY_BUCKETS];
};

static uint64_t sum(const struct run *run, size_t offset)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < run->options.threads; i++) {
        const char *statistics = (const char *)&run->seats[i].statistics;
        all +=
            atomic_load_explicit((const atomic_uint_fast64_t *)(const void *)(statistics + offset),
                                 memory_order_relaxed);
    }
    return all;
}

uint64_t total_of(const struct run *run, enum total total)
{
    return sum(run, offsetof(struct statistics, totals) + total * sizeof(atomic_uint_fast64_t));
}

static uint64_t live_of(const struct run *run)
{
    /* First what ended, so that what is made meanwhile cannot make it negative. */
    uint64_t ended = total_of(run, TOTAL_ENDED);
    return total_of(run, TOTAL_MADE) - ended;
}

static size_t rss_bytes(void)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm) {
        if (fscanf(statm, "%*u %lu", &pages) != 1)
            pages = 0;
        fclose(statm);
    }
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* The longest time that falls into a bucket. */
static uint64_t bucket_ns(size_t bucket)
{
    if (bucket < LATENCY_STEPS)
        return bucket;
    unsigned octave = (unsigned)(bucket / LATENCY_STEPS) + 2;
    uint64_t step = UINT64_C(1) << (octave - 3);
    return (LATENCY_STEPS + bucket % LATENCY_STEPS + 1) * step - 1;
}

static void latency_sample(struct report *report, struct sample *sample)
{
    uint64_t since[LATENCY_BUCKETS], n = 0, below = 0;
    for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
        uint64_t now = sum(report->run,
                           offsetof(struct statistics, latency) + i * sizeof(atomic_uint_fast64_t));
        since[i] = now - report->latency_before[i];
        report->latency_before[i] = now;
        n += since[i];
    }
    for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
        if (since[i] == 0)
            continue;
        if (below <= n / 2)
            sample->p50_ns = bucket_ns(i);
        if (below <= n - n / 100)
            sample->p99_ns = bucket_ns(i);
        sample->max_ns = bucket_ns(i);
        below += since[i];
    }
}

static double rate(uint64_t contexts, int64_t took_ns)
{
    return took_ns > 0 ? (double)contexts * (double)NS_PER_SECOND / (double)took_ns : 0;
}

static void take_sample(struct report *report, int64_t at_ns)
{
    struct run *run = report->run;
    uint64_t contexts = total_of(run, TOTAL_MADE);
    struct sample *sample = &report->samples[report->taken++];
    *sample = (struct sample){
        .at_ns = at_ns,
        .contexts = contexts,
        .rate = rate(contexts - report->sampled_contexts, at_ns - report->sampled_ns),
        .live = live_of(run),
        .rss_bytes = rss_bytes(),
        .held_bytes = atomic_load(&run->held_bytes),
    };
    latency_sample(report, sample);
    report->sampled_ns = at_ns;
    report->sampled_contexts = contexts;
}

/* How far the run is, 0 to 1: by its time or by its contexts, whichever ends it first. */
static double progress(const struct run *run, int64_t at_ns, uint64_t contexts)
{
    double by_time = 0, by_contexts = 0;
    if (run->options.seconds > 0)
        by_time = (double)at_ns / (double)NS_PER_SECOND / run->options.seconds;
    if (run->options.contexts)
        by_contexts = (double)contexts / (double)run->options.contexts;
    return by_time > by_contexts ? by_time : by_contexts;
}

static void tell(struct report *report, int64_t at_ns, double done)
{
    uint64_t contexts = total_of(report->run, TOTAL_MADE);
    double left_s =
        done > 0 && done < 1 ? (double)at_ns / (double)NS_PER_SECOND * (1 / done - 1) : 0;
    fprintf(stderr,
            "%s%5.1f%%  %12" PRIu64 " contexts  %6.2f M/s  live %6" PRIu64
            "  rss %7.1f MB  left %5.0f s%s",
            report->on_terminal ? "\r" : "", done < 1 ? done * 100 : 100.0, contexts,
            rate(contexts - report->told_contexts, at_ns - report->told_ns) / 1e6,
            live_of(report->run), (double)rss_bytes() / MEGABYTE, left_s,
            report->on_terminal ? "  " : "\n");
    report->told_ns = at_ns;
    report->told_contexts = contexts;
}

struct report *report_new(struct run *run)
{
    struct report *report = calloc(1, sizeof *report);
    struct sample *samples = calloc(run->options.points + 1, sizeof *samples);
    if (!report || !samples) {
        free(report);
        free(samples);
        return NULL;
    }
    report->run = run;
    report->samples = samples;
    report->on_terminal = isatty(STDERR_FILENO);
    return report;
}

void report_tick(struct report *report)
{
    const struct options *options = &report->run->options;
    int64_t at_ns = now_ns() - report->run->start_ns;
    double done = progress(report->run, at_ns, total_of(report->run, TOTAL_MADE));
    bool due = done >= (double)(report->taken + 1) / options->points;
    if (due && report->taken + 1 < options->points)
        take_sample(report, at_ns);
    /* Into a file a line for each sample, onto a terminal one that is overwritten. */
    bool tell_now = report->on_terminal ? at_ns - report->told_ns >= PROGRESS_EVERY_NS : due;
    if (!options->quiet && tell_now)
        tell(report, at_ns, done);
}

void report_finish(struct report *report)
{
    int64_t at_ns = now_ns() - report->run->start_ns;
    take_sample(report, at_ns);
    if (!report->run->options.quiet) {
        report->told_ns = 0; /* the rate of the whole run */
        report->told_contexts = 0;
        tell(report, at_ns, 1);
        if (report->on_terminal)
            fputc('\n', stderr);
    }
}

/* ------------------------------------------------------------------------ flatness */

static double mean_rss(const struct sample *samples, unsigned n)
{
    double all = 0;
    for (unsigned i = 0; i < n; i++)
        all += (double)samples[i].rss_bytes;
    return all / n;
}

static double mean_p50(const struct sample *samples, unsigned n)
{
    double all = 0;
    for (unsigned i = 0; i < n; i++)
        all += (double)samples[i].p50_ns;
    return all / n;
}

/* The last quarter of the run against its second: the first is for warming up. */
bool report_is_flat(const struct report *report)
{
    unsigned quarter = report->taken / 4;
    if (report->run->options.flat_percent <= 0 || quarter == 0)
        return true;
    double most = 1 + report->run->options.flat_percent / 100;
    const struct sample *second = &report->samples[quarter];
    const struct sample *last = &report->samples[report->taken - quarter];
    return mean_rss(last, quarter) <= mean_rss(second, quarter) * most + FLAT_SLACK_BYTES &&
           mean_p50(last, quarter) <= mean_p50(second, quarter) * most;
}

/* ---------------------------------------------------------------------------- JSON */

static void json_parameters(const struct options *options, FILE *out)
{
    fprintf(out,
            "  \"parameters\": {\n    \"threads\": %u, \"seconds\": %g, \"contexts\": %" PRIu64
            ", \"seed\": %" PRIu64 ", \"shift\": %" PRIu64 ",\n    \"background\": %s, "
            "\"flat_percent\": %g,\n    \"mix\": {",
            options->threads, options->seconds, options->contexts, options->seed, options->shift,
            options->background ? "true" : "false", options->flat_percent);
    for (unsigned op = 0; op < OP_COUNT; op++)
        fprintf(out, "%s\"%s\": %g", op ? ", " : "", operation_names[op], options->mix[op]);
    fprintf(out, "}\n  },\n");
}

static void json_totals(const struct report *report, FILE *out)
{
    static const char *const names[TOTAL_COUNT] = {
        [TOTAL_MADE] = "contexts",
        [TOTAL_ENDED] = "ended",
        [TOTAL_EXPIRED] = "expired",
        [TOTAL_RAN] = "callbacks_run",
        [TOTAL_STOPPED] = "callbacks_stopped",
        [TOTAL_HANDED_OVER] = "handed_over",
        [TOTAL_OVERTAKEN] = "overtaken",
        [TOTAL_BOUND] = "values_bound",
        [TOTAL_SHIFTS] = "threads_run",
    };
    const struct run *run = report->run;
    const struct sample *last = &report->samples[report->taken - 1];
    fprintf(out, "  \"totals\": {\n    \"seconds\": %.3f, \"contexts_per_second\": %.0f",
            (double)last->at_ns / (double)NS_PER_SECOND, rate(last->contexts, last->at_ns));
    for (unsigned total = 0; total < TOTAL_COUNT; total++)
        fprintf(out, ",\n    \"%s\": %" PRIu64, names[total], total_of(run, total));
    fprintf(out, ",\n    \"operations\": {");
    for (unsigned op = 0; op < OP_COUNT; op++)
        fprintf(
            out, "%s\"%s\": %" PRIu64, op ? ", " : "", operation_names[op],
            sum(run, offsetof(struct statistics, operations) + op * sizeof(atomic_uint_fast64_t)));
    fprintf(out, "}\n  },\n");
}

void report_json(const struct report *report, bool ok, FILE *out)
{
    fprintf(out, "{\n");
    json_parameters(&report->run->options, out);
    json_totals(report, out);
    fprintf(out, "  \"curve\": [\n");
    for (unsigned i = 0; i < report->taken; i++) {
        const struct sample *s = &report->samples[i];
        fprintf(out,
                "    {\"at_s\": %.3f, \"contexts\": %" PRIu64 ", \"rate\": %.0f, \"live\": %" PRIu64
                ", \"rss_bytes\": %zu, \"held_bytes\": %zu, \"p50_ns\": %" PRIu64
                ", \"p99_ns\": %" PRIu64 ", \"max_ns\": %" PRIu64 "}%s\n",
                (double)s->at_ns / (double)NS_PER_SECOND, s->contexts, s->rate, s->live,
                s->rss_bytes, s->held_bytes, s->p50_ns, s->p99_ns, s->max_ns,
                i + 1 < report->taken ? "," : "");
    }
    const char *flat = report_is_flat(report) ? "true" : "false";
    fprintf(out, "  ],\n  \"flat\": %s,\n  \"violations\": %" PRIu64 ",\n  \"ok\": %s\n}\n",
            report->run->options.flat_percent > 0 ? flat : "null",
            atomic_load(&report->run->violations), ok ? "true" : "false");
}

void report_free(struct report *report)
{
    free(report->samples);
    free(report);
}
