/* stats.c - what a worker counts, and the summary that the proxy ends with. */
#include "stats.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SAMPLES_MAX = 1 << 20 };

void samples_add(struct samples *samples, int64_t value_ns)
{
    if (samples->count == samples->capacity) {
        size_t capacity = samples->capacity ? samples->capacity * 2 : 1024;
        if (capacity > SAMPLES_MAX)
            return;
        int64_t *values_ns = realloc(samples->values_ns, capacity * sizeof *values_ns);
        if (!values_ns)
            return;
        samples->values_ns = values_ns;
        samples->capacity = capacity;
    }
    samples->values_ns[samples->count++] = value_ns;
}

static void samples_merge(struct samples *sum, const struct samples *part)
{
    for (size_t i = 0; i < part->count; i++)
        samples_add(sum, part->values_ns[i]);
}

static int compare_ns(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void samples_print(struct samples *samples, const char *name, FILE *file)
{
    fprintf(file, ", \"%s\": {\"count\": %zu", name, samples->count);
    if (samples->count > 0) {
        const size_t last = samples->count - 1, p50 = last / 2, p99 = last * 99 / 100;
        qsort(samples->values_ns, samples->count, sizeof *samples->values_ns, compare_ns);
        fprintf(file, ", \"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f",
                (double)samples->values_ns[p50] / 1e3, (double)samples->values_ns[p99] / 1e3,
                (double)samples->values_ns[last] / 1e3);
    }
    fputc('}', file);
}

void stats_merge(struct stats *sum, const struct stats *part)
{
    sum->connections += part->connections;
    sum->requests += part->requests;
    for (int i = 0; i < OUTCOME_COUNT; i++)
        sum->outcomes[i] += part->outcomes[i];
    sum->upstream_opened += part->upstream_opened;
    sum->upstream_reused += part->upstream_reused;
    sum->upstream_retried += part->upstream_retried;
    sum->requests_at_drain += part->requests_at_drain;
    sum->contexts_at_drain += part->contexts_at_drain;
    sum->context_bytes_at_drain += part->context_bytes_at_drain;
    sum->contexts.made += part->contexts.made;
    sum->contexts.ended += part->contexts.ended;
    samples_merge(&sum->cancel_to_close, &part->cancel_to_close);
    samples_merge(&sum->deadline_to_close, &part->deadline_to_close);
}

void stats_print(struct stats *stats, FILE *file, bool clean)
{
    fprintf(file, "{\"contexts_compiled_in\": %s, \"connections\": %" PRIu64,
            contexts_compiled_in ? "true" : "false", stats->connections);
    fprintf(file, ", \"requests\": %" PRIu64 ", \"outcomes\": {", stats->requests);
    for (int i = 0; i < OUTCOME_COUNT; i++)
        fprintf(file, "%s\"%s\": %" PRIu64, i ? ", " : "", outcomes[i].text, stats->outcomes[i]);
    fprintf(file,
            "}, \"upstream\": {\"opened\": %" PRIu64 ", \"reused\": %" PRIu64
            ", \"retried\": %" PRIu64 "}",
            stats->upstream_opened, stats->upstream_reused, stats->upstream_retried);
    fprintf(file, ", \"requests_at_drain\": %" PRIu64, stats->requests_at_drain);
    fprintf(file,
            ", \"contexts\": {\"made\": %" PRIu64 ", \"ended\": %" PRIu64 ", \"at_drain\": %" PRIu64
            ", \"bytes_at_drain\": %" PRIu64 ", \"record_bytes\": %zu, \"left\": %" PRIu64
            ", \"root_empty\": %s}",
            stats->contexts.made, stats->contexts.ended, stats->contexts_at_drain,
            stats->context_bytes_at_drain, sizeof(canopy_loop_callback),
            stats->contexts.made - stats->contexts.ended, clean ? "true" : "false");
    samples_print(&stats->cancel_to_close, "cancel_to_close_us", file);
    samples_print(&stats->deadline_to_close, "deadline_to_close_us", file);
    fputs("}\n", file);
}

void stats_free(struct stats *stats)
{
    free(stats->cancel_to_close.values_ns);
    free(stats->deadline_to_close.values_ns);
}
