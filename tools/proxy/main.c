/*
 * main.c - an HTTP/1.1 reverse proxy on the loopback interface that shows how a
 * program is built around canopy: options, the workers' start, and the way to
 * the end: a signal starts the drain, the grace period limits it, and at the
 * end the workers' roots must be empty.
 */
#include <argp.h>
#include <arpa/inet.h>
#include <err.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "worker.h"

enum { WORKERS_MAX = 64 };

/* ---------------------------------------------------------------- options */

enum option_key {
    OPTION_LISTEN = 'l',
    OPTION_UPSTREAM = 'u',
    OPTION_WORKERS = 'w',
    OPTION_TIMEOUT = 't',
    OPTION_IDLE = 'i',
    OPTION_GRACE = 'g',
    OPTION_MAX_REQUESTS = 'r',
    OPTION_MAX_UPSTREAMS = 'm',
    OPTION_MAX_CONTEXTS = 'c',
    OPTION_ACCESS_LOG = 'a',
    OPTION_INSPECT = 's',
    OPTION_INSPECT_CANCEL = 'k',
};

static const struct argp_option option_list[] = {
    {"listen", OPTION_LISTEN, "PORT", 0, "Listen on this port (default 0: a free one)", 0},
    {"upstream", OPTION_UPSTREAM, "ADDRESS:PORT", 0, "Pass requests on to this server", 0},
    {"workers", OPTION_WORKERS, "N", 0, "Worker threads (default 2)", 0},
    {"timeout-ms", OPTION_TIMEOUT, "N", 0,
     "What a request may take, unless its X-Timeout-Ms says (default 30000)", 0},
    {"idle-ms", OPTION_IDLE, "N", 0, "How long a connection may idle (default 60000)", 0},
    {"grace-ms", OPTION_GRACE, "N", 0,
     "How long requests may take to end after SIGTERM or SIGINT (default 5000)", 0},
    {"max-requests", OPTION_MAX_REQUESTS, "N", 0, "Live requests at once (default 0: any)", 0},
    {"max-upstreams", OPTION_MAX_UPSTREAMS, "N", 0,
     "Connections to the upstream, shared out over the workers (default 0: any)", 0},
    {"max-contexts", OPTION_MAX_CONTEXTS, "N", 0,
     "Live contexts at once, shared out likewise (default 0: any)", 0},
    {"access-log", OPTION_ACCESS_LOG, "FILE", 0, "Append a line for each request", 0},
    {"inspect", OPTION_INSPECT, "PATH", 0, "Tell of its contexts on this socket: see canopy(1)", 0},
    {"inspect-cancel", OPTION_INSPECT_CANCEL, NULL, 0, "Let who asks there end them", 0},
    {0},
};

static unsigned long parse_number(struct argp_state *state, const char *text, unsigned long max)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno || *text < '0' || *text > '9' || *end || number > max)
        argp_error(state, "%s is not a number up to %lu", text, max);
    return number;
}

static int64_t parse_ms(struct argp_state *state, const char *text)
{
    return (int64_t)parse_number(state, text, 1000000000) * NS_PER_MS;
}

static void parse_upstream(struct argp_state *state, char *text, struct sockaddr_in *address)
{
    char *colon = strrchr(text, ':');
    if (!colon) {
        argp_error(state, "%s is not ADDRESS:PORT", text);
        return; /* argp lets a caller ask for an argp_error that comes back */
    }
    *colon = '\0';
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)parse_number(state, colon + 1, UINT16_MAX));
    if (inet_pton(AF_INET, text, &address->sin_addr) != 1)
        argp_error(state, "%s is not an IPv4 address", text);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case OPTION_LISTEN:
        options->port = (uint16_t)parse_number(state, argument, UINT16_MAX);
        return 0;
    case OPTION_UPSTREAM:
        parse_upstream(state, argument, &options->upstream);
        return 0;
    case OPTION_WORKERS:
        options->workers = (unsigned)parse_number(state, argument, WORKERS_MAX);
        return 0;
    case OPTION_TIMEOUT:
        options->timeout_ns = parse_ms(state, argument);
        return 0;
    case OPTION_IDLE:
        options->idle_ns = parse_ms(state, argument);
        return 0;
    case OPTION_GRACE:
        options->grace_ns = parse_ms(state, argument);
        return 0;
    case OPTION_MAX_REQUESTS:
        options->max_requests = (unsigned)parse_number(state, argument, INT32_MAX);
        return 0;
    case OPTION_MAX_UPSTREAMS:
        options->max_upstreams = (unsigned)parse_number(state, argument, INT32_MAX);
        return 0;
    case OPTION_MAX_CONTEXTS:
        options->max_contexts = parse_number(state, argument, INT32_MAX);
        return 0;
    case OPTION_ACCESS_LOG:
        options->access_log = argument;
        return 0;
    case OPTION_INSPECT:
        options->inspect = argument;
        return 0;
    case OPTION_INSPECT_CANCEL:
        options->inspect_cancel = true;
        return 0;
    case ARGP_KEY_END:
        if (options->upstream.sin_port == 0)
            argp_error(state, "--upstream is missing");
        if (options->workers == 0)
            argp_error(state, "there must be a worker");
        if (options->inspect_cancel && !options->inspect)
            argp_error(state, "--inspect-cancel needs --inspect");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = option_list,
    .parser = parse_option,
    .doc = "An HTTP/1.1 reverse proxy on 127.0.0.1, built around canopy. "
           "SIGTERM drains it; a summary in JSON is its last line.",
};

/* -------------------------------------------------------------------- run */

/* A proxy needs two descriptors for each client, so it takes what it may have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void start_workers(struct worker *workers, struct server *server)
{
    uint16_t port = server->options.port;
    for (unsigned i = 0; i < server->options.workers; i++) {
        if (!worker_open(&workers[i], server, i, &port))
            err(EXIT_FAILURE, "cannot open a worker on port %u", port);
    }
    for (unsigned i = 0; i < server->options.workers; i++) {
        int error = pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]);
        if (error)
            errx(EXIT_FAILURE, "cannot start a worker: %s", strerror(error));
    }
    printf("listening on 127.0.0.1:%u\n", port);
    fflush(stdout);
}

/* True: no worker has left anything behind. */
static bool stop_workers(struct worker *workers, struct server *server, struct stats *sum)
{
    bool clean = true;
    server_contexts_stop(&server->contexts);
    for (unsigned i = 0; i < server->options.workers; i++) {
        pthread_join(workers[i].thread, NULL);
        worker_close(&workers[i]);
        clean = clean && workers[i].clean;
        stats_merge(sum, &workers[i].stats);
        stats_free(&workers[i].stats);
    }
    return clean;
}

int main(int argc, char **argv)
{
    static struct server server = {
        .options = {.workers = 2,
                    .timeout_ns = 30000 * NS_PER_MS,
                    .idle_ns = 60000 * NS_PER_MS,
                    .grace_ns = 5000 * NS_PER_MS},
    };
    static struct worker workers[WORKERS_MAX];
    struct stats sum = {0};
    sigset_t stop_signals;
    int signal_number;

    argp_parse(&argp, argc, argv, 0, NULL, &server.options);
    raise_descriptor_limit();
    if (!log_open(&server.log, server.options.access_log))
        err(EXIT_FAILURE, "%s", server.options.access_log);
    /* Before any thread starts, so that all of them leave the signals to the wait. */
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGTERM);
    sigaddset(&stop_signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop_signals, NULL);
    const char *inspect = server.options.inspect;
    if (!server_contexts_open(&server.contexts, inspect, server.options.inspect_cancel))
        err(EXIT_FAILURE, "cannot make the server's contexts%s%s", inspect ? ", or listen on " : "",
            inspect ? inspect : "");
    start_workers(workers, &server);
    sigwait(&stop_signals, &signal_number);
    const bool clean = stop_workers(workers, &server, &sum);
    server_contexts_close(&server.contexts, inspect != NULL);
    log_close(&server.log);
    stats_print(&sum, stdout, clean);
    stats_free(&sum);
    return clean ? EXIT_SUCCESS : EXIT_FAILURE;
}
