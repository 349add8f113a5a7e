/* worker.c - the epoll loop of a worker, its records, endpoints and listener. */
#include "worker.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"
#include "upstream.h"

enum {
    EVENTS_AT_ONCE = 128,
    ACCEPTS_AT_ONCE = 64,
    LISTEN_BACKLOG = 1024,
};

/* How long the contexts of a worker may take to go once it has ended. */
#define CLOSE_PATIENCE_NS (2000 * NS_PER_MS)

/* ---------------------------------------------------------------- records */

void *worker_allocate(struct worker *worker, size_t size_bytes)
{
    void *record = malloc(size_bytes);
    worker->record_count += record != NULL;
    return record;
}

void worker_bury(struct worker *worker, struct record *record)
{
    SLIST_INSERT_HEAD(&worker->buried, record, next);
}

static void free_buried(struct worker *worker)
{
    while (!SLIST_EMPTY(&worker->buried)) {
        struct record *record = SLIST_FIRST(&worker->buried);
        SLIST_REMOVE_HEAD(&worker->buried, next);
        free(record);
        worker->record_count--;
    }
}

/* -------------------------------------------------------------- endpoints */

static bool endpoint_control(struct worker *worker, struct endpoint *endpoint, int operation)
{
    struct epoll_event event = {.events = endpoint->interest, .data.ptr = endpoint};
    return epoll_ctl(worker->epoll_fd, operation, endpoint->fd, &event) == 0;
}

bool endpoint_open(struct worker *worker, struct endpoint *endpoint, uint32_t interest)
{
    endpoint->interest = interest;
    return endpoint->fd >= 0 && endpoint_control(worker, endpoint, EPOLL_CTL_ADD);
}

void endpoint_watch(struct worker *worker, struct endpoint *endpoint, uint32_t interest)
{
    if (endpoint->fd < 0 || endpoint->interest == interest)
        return;
    endpoint->interest = interest;
    endpoint_control(worker, endpoint, EPOLL_CTL_MOD);
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void endpoint_close(struct endpoint *endpoint)
{
    close_fd(endpoint->fd);
    endpoint->fd = -1;
}

/* --------------------------------------------------------------- listener */

/* No descriptor is left: use the spare one to tell one client so, at once. */
static void turn_away(struct worker *worker)
{
    close_fd(worker->spare_fd);
    /* cppcheck-suppress nullPointer ; accept4 need not tell the address */
    close_fd(accept4(worker->listener.fd, NULL, NULL, SOCK_CLOEXEC));
    worker->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void listener_ready(struct endpoint *endpoint, uint32_t events)
{
    struct worker *worker = CONTAINER_OF(endpoint, struct worker, listener);
    (void)events;
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        struct sockaddr_in client;
        socklen_t length = sizeof client;
        int fd = accept4(endpoint->fd, (struct sockaddr *)&client, &length,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            conn_open(worker, fd, &client);
        } else if (errno == EMFILE || errno == ENFILE) {
            turn_away(worker);
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

static int listen_on(uint16_t *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, (struct sockaddr *)&address, length) == 0 && listen(fd, LISTEN_BACKLOG) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &length) == 0) {
        *port = ntohs(address.sin_port);
        return fd;
    }
    close_fd(fd);
    return -1;
}

/* ------------------------------------------------------------------- loop */

/* The alarm has done its work by ending the sleep: each turn sees to the contexts. */
static void alarm_ready(struct endpoint *endpoint, uint32_t events)
{
    (void)endpoint, (void)events;
}

static void worker_drain(void *argument)
{
    struct worker *worker = argument;
    worker_contexts_limit(&worker->contexts, worker->now_ns + worker->server->options.grace_ns);
    /* Whoever is in the queue already was promised a connection. */
    listener_ready(&worker->listener, 0);
    endpoint_close(&worker->listener);
    worker->draining = true;
    worker->stats.contexts_at_drain = worker->contexts.counts.made - worker->contexts.counts.ended;
    worker->stats.context_bytes_at_drain = worker->contexts.bytes;
    upstreams_close_idle(worker);
    for (struct conn *conn = LIST_FIRST(&worker->conns), *next; conn; conn = next) {
        next = LIST_NEXT(conn, siblings);
        conn_drain(conn);
        worker->stats.requests_at_drain += conn->request != NULL;
    }
}

size_t worker_share(const struct worker *worker, size_t limit)
{
    const size_t workers = worker->server->options.workers;
    return (limit + workers - 1) / workers;
}

bool worker_open(struct worker *worker, struct server *server, unsigned index, uint16_t *port)
{
    *worker = (struct worker){
        .server = server,
        .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
        .spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC),
        .listener = {.fd = listen_on(port), .ready = listener_ready},
        .alarm = {.fd = -1, .ready = alarm_ready},
        .scratch = malloc(SCRATCH_BYTES),
        .next_request_id = index + 1,
    };
    TAILQ_INIT(&worker->waiting_calls);
    const size_t max_contexts = worker_share(worker, server->options.max_contexts);
    return worker->epoll_fd >= 0 && worker->spare_fd >= 0 && worker->scratch &&
           worker_contexts_open(&worker->contexts, max_contexts, server->options.inspect != NULL) &&
           endpoint_open(worker, &worker->listener, EPOLLIN);
}

/* What must be done on the worker's own thread, whose loop this makes. */
static bool worker_start(struct worker *worker)
{
    worker->now_ns = monotonic_ns();
    if (!worker_contexts_start(&worker->contexts, &worker->server->contexts, worker_drain, worker))
        return false;
    worker->alarm.fd = worker_contexts_fd(&worker->contexts);
    return endpoint_open(worker, &worker->alarm, EPOLLIN | EPOLLET);
}

void *worker_run(void *argument)
{
    struct worker *worker = argument;
    struct epoll_event events[EVENTS_AT_ONCE];
    if (!worker_start(worker))
        errx(EXIT_FAILURE, "cannot start a worker");
    while (!worker->draining || worker->record_count > 0) {
        int count = epoll_wait(worker->epoll_fd, events, EVENTS_AT_ONCE,
                               worker_contexts_timeout_ms(&worker->contexts, worker->now_ns));
        worker->now_ns = monotonic_ns();
        worker_contexts_run(&worker->contexts, worker->now_ns);
        for (int i = 0; i < count; i++) {
            struct endpoint *endpoint = events[i].data.ptr;
            if (endpoint->fd >= 0)
                endpoint->ready(endpoint, events[i].events);
        }
        calls_serve_waiting(worker);
        free_buried(worker);
        log_flush(&worker->server->log);
    }
    worker->clean = worker_contexts_finish(&worker->contexts);
    return NULL;
}

void worker_close(struct worker *worker)
{
    worker->clean = worker_contexts_close(&worker->contexts, CLOSE_PATIENCE_NS) && worker->clean;
    worker->stats.contexts = worker->contexts.counts;
    endpoint_close(&worker->listener);
    close_fd(worker->spare_fd);
    close_fd(worker->epoll_fd);
    free(worker->scratch);
}
