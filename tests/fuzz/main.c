/*
 * main.c - runs programs without a fuzzer: random ones from a seed, or those in
 * files. Each random program is a function of the seed and its number, so that the
 * one that a report names can be run again alone:
 *
 *     fuzz_programs --seed 7 --first 1234 --count 1 --verbose
 *
 * or, since some share a root, behind those that came before it: --first 1216.
 */
#include "program.h"
#include "random.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options {
    uint64_t seed;
    uint64_t first;
    uint64_t count; /* 0: as many as there is time for */
    double seconds;
    bool verbose;
    bool script;
    char **files;
    int files_count;
};

enum option_key { OPTION_FIRST = 256 };

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run_random(const struct options *options, uint64_t number)
{
    uint8_t bytes[PROGRAM_MAX_BYTES];
    char name[64];
    uint64_t state = options->seed;
    state = random_next(&state) + number;
    size_t size_bytes =
        (1 + random_next(&state) % (PROGRAM_MAX_BYTES / PROGRAM_CALL_BYTES)) * PROGRAM_CALL_BYTES;
    if (random_next(&state) % 16 == 0)
        size_bytes--;
    for (size_t i = 0; i < size_bytes; i++)
        bytes[i] = (uint8_t)random_next(&state);
    snprintf(name, sizeof name, "%llu of seed %llu", (unsigned long long)number,
             (unsigned long long)options->seed);
    bool last_a_root = (number + 1) % PROGRAMS_A_ROOT == 0;
    program_run(bytes, size_bytes,
                &(struct program_options){.name = name,
                                          .verbose = options->verbose,
                                          .keep_root = !last_a_root,
                                          .script = options->script ? stdout : NULL});
}

static int run_file(const struct options *options, const char *path)
{
    uint8_t bytes[PROGRAM_MAX_BYTES];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return EXIT_FAILURE;
    }
    size_t size_bytes = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    program_run(bytes, size_bytes,
                &(struct program_options){.name = path,
                                          .verbose = options->verbose,
                                          .script = options->script ? stdout : NULL});
    return EXIT_SUCCESS;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case 's':
        options->seed = strtoull(arg, NULL, 0);
        return 0;
    case OPTION_FIRST:
        options->first = strtoull(arg, NULL, 0);
        return 0;
    case 'n':
        options->count = strtoull(arg, NULL, 0);
        return 0;
    case 't':
        options->seconds = strtod(arg, NULL);
        return 0;
    case 'v':
        options->verbose = true;
        return 0;
    case 'g':
        options->script = true;
        return 0;
    case ARGP_KEY_ARGS:
        options->files = state->argv + state->next;
        options->files_count = state->argc - state->next;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option known[] = {
        {"seed", 's', "NUMBER", 0, "what random programs are made from (1)", 0},
        {"first", OPTION_FIRST, "NUMBER", 0, "the first program's number (0)", 0},
        {"count", 'n', "NUMBER", 0, "how many programs (as many as there is time for)", 0},
        {"seconds", 't', "SECONDS", 0, "for how long, without a count (5)", 0},
        {"verbose", 'v', NULL, 0, "each call on standard error", 0},
        {"script", 'g', NULL, 0, "write a script for oracle.go on standard output", 0},
        {0}};
    static const struct argp parser = {
        known,
        parse,
        "[FILE ...]",
        "Runs programs of canopy calls against a plain model: random ones, or those in files.",
        NULL,
        NULL,
        NULL};
    struct options options = {.seed = 1, .seconds = 5};
    argp_parse(&parser, argc, argv, 0, NULL, &options);
    int failed = EXIT_SUCCESS;
    for (int i = 0; i < options.files_count; i++)
        failed |= run_file(&options, options.files[i]);
    uint64_t run = 0;
    double end_seconds = now_seconds() + options.seconds;
    while (!options.files_count &&
           (options.count ? run < options.count : now_seconds() < end_seconds))
        run_random(&options, options.first + run++);
    if (options.script)
        printf("end\n");
    fprintf(stderr, "%llu programs, %d files: as the model says\n", (unsigned long long)run,
            options.files_count);
    return failed;
}
