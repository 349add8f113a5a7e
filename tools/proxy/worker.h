/*
 * worker.h - a worker: one thread, one epoll loop, one listener, and everything
 * that its connections need. Workers share nothing but the server's options,
 * its context and the count of live requests.
 *
 * How a cancel reaches the loop: contexts may be cancelled on any thread, and
 * deadlines pass on one of canopy's. So what wants to know carries a notice,
 * whose callback does no more than put it into the worker's mailbox and wake
 * the worker; its handler then runs on the worker, between two events.
 */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/queue.h>
#include <urcu/wfcqueue.h>

#include "contexts.h"
#include "log.h"
#include "stats.h"

#define CONTAINER_OF(pointer_, type_, member_)                                                     \
    ((type_ *)(void *)((char *)(pointer_)-offsetof(type_, member_)))

struct worker;
struct conn;
struct upstream;

/* ---------------------------------------------------------------- records */

/*
 * The first member of everything that a worker allocates. What is buried is
 * freed only when the current batch of events is done, since a later event of
 * the batch, or a caller further up, may still look at it.
 */
struct record {
    SLIST_ENTRY(record) next;
};

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

/* ---------------------------------------------------------------- notices */

/*
 * Tells a worker that a context is done. Everything but `node` and `posted_ns`
 * belongs to the worker. From notice_arm on, either notice_disarm returns true,
 * or the handler runs exactly once; until then the memory stays.
 */
struct notice {
    struct cds_wfcq_node node;
    canopy_callback callback;
    struct worker *worker;
    void (*handle)(struct notice *notice);
    int64_t posted_ns; /* when the context ended */
    bool armed;
};

bool notice_arm(struct notice *notice, struct worker *worker, const canopy_ctx *ctx,
                void (*handle)(struct notice *notice));

/* True: the handler will not run (any more). */
bool notice_disarm(struct notice *notice);

/* Delivers a notice by hand, from any thread. */
void notice_post(struct notice *notice);

/* ---------------------------------------------------------------- workers */

struct options {
    struct sockaddr_in upstream;
    uint16_t port;
    unsigned workers;
    int64_t timeout_ns, idle_ns, grace_ns;
    unsigned max_requests; /* live at once; 0: no limit */
    size_t max_contexts;   /* likewise */
    const char *access_log;
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
    int spare_fd; /* given up to turn a client away when no other is left */
    struct endpoint listener, alarm;
    struct cds_wfcq_head mailbox_head;
    struct cds_wfcq_tail mailbox_tail;
    struct notice drain; /* posted by the server when it shall stop */
    bool draining;
    int64_t now_ns; /* when this batch of events arrived */
    char *scratch;  /* what was read last, SCRATCH_BYTES long */
    size_t record_count;
    uint64_t next_request_id;
    SLIST_HEAD(records, record) buried;
    LIST_HEAD(conns, conn) conns;
    LIST_HEAD(upstreams, upstream) idle_upstreams;
    unsigned idle_upstream_count;
    struct stats stats;
};

enum { SCRATCH_BYTES = 64 * 1024 };

/* Opens a listener on `*port`; 0 takes a free one and says which. */
bool worker_open(struct worker *worker, struct server *server, unsigned index, uint16_t *port);

/* Runs until it was drained and nothing is left; the start of its thread. */
void *worker_run(void *worker);

void worker_close(struct worker *worker);

#endif
