/* worker.c - the epoll loop of a worker, its records, endpoints and mailbox. */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"
#include "upstream.h"

enum {
    EVENTS_AT_ONCE = 128,
    ACCEPTS_AT_ONCE = 64,
    LISTEN_BACKLOG = 1024,
};

/* The worker that the thread runs, so that it need not wake itself. */
static _Thread_local const struct worker *current_worker;

/* ---------------------------------------------------------------- records */

void *worker_allocate(struct worker *worker, size_t size_bytes)
{
    void *record = calloc(1, size_bytes);
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

/* ---------------------------------------------------------------- notices */

void notice_post(struct notice *notice)
{
    struct worker *worker = notice->worker;
    notice->posted_ns = monotonic_ns();
    cds_wfcq_node_init(&notice->node);
    bool was_waiting =
        cds_wfcq_enqueue(&worker->mailbox_head, &worker->mailbox_tail, &notice->node);
    /*
     * A mailbox that was not empty is being emptied, or its first notice did
     * the waking; and the worker looks into it before it sleeps.
     */
    if (!was_waiting && current_worker != worker)
        eventfd_write(worker->alarm.fd, 1);
}

static void notice_fire(void *notice)
{
    notice_post(notice);
}

bool notice_arm(struct notice *notice, struct worker *worker, const canopy_ctx *ctx,
                void (*handle)(struct notice *notice))
{
    notice->worker = worker;
    notice->handle = handle;
    notice->armed = contexts_compiled_in;
    if (context_watch(ctx, &notice->callback, notice_fire, notice))
        return true;
    notice->armed = false;
    return false;
}

bool notice_disarm(struct notice *notice)
{
    if (notice->armed && context_unwatch(&notice->callback))
        notice->armed = false;
    return !notice->armed;
}

static void empty_mailbox(struct worker *worker)
{
    struct cds_wfcq_node *node;
    while ((node = __cds_wfcq_dequeue_blocking(&worker->mailbox_head, &worker->mailbox_tail))) {
        struct notice *notice = CONTAINER_OF(node, struct notice, node);
        if (notice->armed)
            context_settle(&notice->callback);
        notice->armed = false;
        notice->handle(notice);
    }
}

/* The alarm is edge-triggered: each write wakes the loop, and nobody need read it. */
static void alarm_ready(struct endpoint *endpoint, uint32_t events)
{
    (void)endpoint, (void)events;
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
        /* cppcheck-suppress nullPointer ; the same */
        int fd = accept4(endpoint->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            conn_open(worker, fd);
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

static void worker_drain(struct notice *notice)
{
    struct worker *worker = notice->worker;
    /* Whoever is in the queue already was promised a connection. */
    listener_ready(&worker->listener, 0);
    endpoint_close(&worker->listener);
    worker->draining = true;
    worker->stats.contexts_at_drain = worker->stats.contexts.made - worker->stats.contexts.ended;
    upstreams_close_idle(worker);
    for (struct conn *conn = LIST_FIRST(&worker->conns), *next; conn; conn = next) {
        next = LIST_NEXT(conn, siblings);
        conn_drain(conn);
        worker->stats.requests_at_drain += conn->request != NULL;
    }
}

bool worker_open(struct worker *worker, struct server *server, unsigned index, uint16_t *port)
{
    *worker = (struct worker){
        .server = server,
        .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
        .spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC),
        .listener = {.fd = listen_on(port), .ready = listener_ready},
        .alarm = {.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .ready = alarm_ready},
        .drain = {.worker = worker, .handle = worker_drain},
        .scratch = malloc(SCRATCH_BYTES),
        .next_request_id = index + 1,
    };
    cds_wfcq_init(&worker->mailbox_head, &worker->mailbox_tail);
    return worker->epoll_fd >= 0 && worker->spare_fd >= 0 && worker->scratch &&
           endpoint_open(worker, &worker->listener, EPOLLIN) &&
           endpoint_open(worker, &worker->alarm, EPOLLIN | EPOLLET);
}

void *worker_run(void *argument)
{
    struct worker *worker = argument;
    struct epoll_event events[EVENTS_AT_ONCE];
    current_worker = worker;
    while (!worker->draining || worker->record_count > 0) {
        int count = epoll_wait(worker->epoll_fd, events, EVENTS_AT_ONCE, -1);
        worker->now_ns = monotonic_ns();
        for (int i = 0; i < count; i++) {
            struct endpoint *endpoint = events[i].data.ptr;
            if (endpoint->fd >= 0)
                endpoint->ready(endpoint, events[i].events);
        }
        empty_mailbox(worker);
        free_buried(worker);
        log_flush(&worker->server->log);
    }
    return NULL;
}

void worker_close(struct worker *worker)
{
    endpoint_close(&worker->listener);
    endpoint_close(&worker->alarm);
    close_fd(worker->spare_fd);
    close_fd(worker->epoll_fd);
    cds_wfcq_destroy(&worker->mailbox_head, &worker->mailbox_tail);
    free(worker->scratch);
    stats_free(&worker->stats);
}
