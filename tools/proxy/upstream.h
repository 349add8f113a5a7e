/*
 * upstream.h - the other side: connections to the upstream, which are kept for
 * reuse, and calls, each one request sent over one of them. Where connections
 * are limited, calls wait for one. A call has a context of its own below its
 * request's, whose callback detaches it: its connection is closed at once.
 */
#ifndef PROXY_UPSTREAM_H
#define PROXY_UPSTREAM_H

#include "http.h"
#include "worker.h"

struct request;
struct call;

struct upstream {
    struct endpoint endpoint;
    LIST_ENTRY(upstream) siblings; /* among the idle ones */
    struct worker *worker;
    struct call *call; /* NULL: idle */
    struct http_message response;
    bool connected;
    bool reused;
    bool send_failed; /* it takes no more, but may still have an answer for us */
};

struct call {
    struct record record;
    TAILQ_ENTRY(call) siblings; /* among the waiting ones */
    struct worker *worker;
    struct request *request;
    struct upstream *upstream; /* NULL: it waits for one, or is over */
    bool waiting;
    canopy_ctx *ctx;
    int64_t abandoned_ns; /* when its client hung up */
};

/* Sends the request's buffer to an upstream. How it ends is told to the request. */
void call_start(struct request *request);

/* More of the request is in the buffer. */
void call_send(struct call *call);

/* Says what the call waits for next. */
void call_watch(struct call *call);

/* The request goes on without the call, which ends. */
void call_detach(struct call *call);

/* The client hung up, and the call's context is about to be cancelled for that. */
void call_abandon(struct call *call);

/* Starts the waiting calls for which there is a connection now. */
void calls_serve_waiting(struct worker *worker);

void upstreams_close_idle(struct worker *worker);

#endif
