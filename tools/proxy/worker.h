/*
 * worker.h - a worker: one thread, one epoll loop, one listener, a tree of
 * contexts, and everything that its connections need. Workers share nothing but
 * the server's options, the order to stop and the count of live requests.
 *
 * What ends with a context carries a record of canopy's, whose callback runs on
 * the worker, between two batches of events. Since it can always be unwatched
 * there, whatever carries the record can go at any time.
 */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include <pthread.h>
#include <stddef.h>
#include <sys/queue.h>

#include "contexts.h"
#include "log.h"
#include "stats.h"

#define CONTAINER_OF(pointer_, type_, member_)                                                     \
    ((type_ *)(void *)((char *)(pointer_)-offsetof(type_, member_)))

struct worker;
struct conn;
struct upstream;
struct call;

/* ---------------------------------------------------------------- records */

/*
 * The first member of everything that a worker allocates. What is buried is
 * freed only when the current batch of events is done, since a later event of
 * the batch, or a caller further up, may still look at it; its own callback, too,
 * may be among those.
 */
struct record {
    SLIST_ENTRY(record) next;
};

/* Not initialised: calloc would not get it from the heap's cache. */
void *worker_allocate(struct worker *worker, size_t size_bytes);
void worker_bury(struct worker *worker, struct record *record);

/* -------------------------------------------------------------- endpoints */

/* A socket in the worker's epoll set; fd is -1 once it is closed. */
struct endpoint {
    struct record record;
    int fd;
    uint32_t interest;
    void (*ready)(struct endpoint *endpoint, uint32_t events);
};

bool endpoint_open(struct worker *worker, struct endpoint *endpoint, uint32_t interest);
void endpoint_watch(struct worker *worker, struct endpoint *endpoint, uint32_t interest);
void endpoint_close(struct endpoint *endpoint);

/* ---------------------------------------------------------------- workers */

struct options {
    struct sockaddr_in upstream;
    uint16_t port;
    unsigned workers;
    int64_t timeout_ns, idle_ns, grace_ns;
    unsigned max_requests;  /* live at once; 0: no limit */
    unsigned max_upstreams; /* open at once; likewise */
    size_t max_contexts;    /* live at once; likewise */
    const char *access_log;
    const char *inspect; /* the path of a socket, or NULL */
    bool inspect_cancel;
};

/* What all workers share. */
struct server {
    struct options options;
    struct server_contexts contexts;
    struct log log;
    atomic_uint live_requests;
};

struct worker {
    struct server *server;
    pthread_t thread;
    int epoll_fd;
    int spare_fd;                    /* given up to turn a client away when no other is left */
    struct endpoint listener, alarm; /* the alarm is rung for `contexts` */
    struct worker_contexts contexts;
    bool draining;
    int64_t now_ns; /* when this batch of events arrived */
    char *scratch;  /* what was read last, SCRATCH_BYTES long */
    size_t record_count;
    uint64_t next_request_id;
    SLIST_HEAD(records, record) buried;
    LIST_HEAD(conns, conn) conns;
    LIST_HEAD(upstreams, upstream) idle_upstreams;
    unsigned idle_upstream_count, upstream_count;
    TAILQ_HEAD(calls, call) waiting_calls; /* for an upstream to come free */
    struct stats stats;
    bool clean; /* in the end nothing was left of its contexts */
};

enum { SCRATCH_BYTES = 64 * 1024 };

/* The worker's part of a limit for all of them, rounded up; 0 stays 0: no limit. */
size_t worker_share(const struct worker *worker, size_t limit);

/* Opens a listener on `*port`; 0 takes a free one and says which. */
bool worker_open(struct worker *worker, struct server *server, unsigned index, uint16_t *port);

/* Runs until it was drained and nothing is left; the start of its thread. Exits if it cannot. */
void *worker_run(void *worker);

/* After its thread has ended. */
void worker_close(struct worker *worker);

#endif
