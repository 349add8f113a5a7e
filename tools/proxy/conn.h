/*
 * conn.h - a client's connection. It reads one request at a time, hands the
 * body on to the request's buffer for the upstream, and sends what comes back.
 * While no request runs, its context's deadline is the idle timeout.
 */
#ifndef PROXY_CONN_H
#define PROXY_CONN_H

#include "http.h"
#include "worker.h"

struct request;

struct conn {
    struct endpoint endpoint;
    LIST_ENTRY(conn) siblings;
    struct worker *worker;
    struct scope scope;
    canopy_loop_callback on_done;
    int64_t idle_until_ns; /* the context's deadline */
    struct sockaddr_in client;
    struct http_message inbound;
    struct buffer leftover;    /* read, but belongs to requests to come */
    struct buffer out;         /* for the client */
    struct buffer to_upstream; /* of the current request */
    struct request *request;   /* NULL: none is running */
    bool closing;              /* once `out` is sent */
    bool lingering;            /* sent all; waits for the client to close */
    bool buried;
};

/* Takes over `fd`, on which `client` is. */
void conn_open(struct worker *worker, int fd, const struct sockaddr_in *client);

/* Carries the connection as far as it goes without waiting. */
void conn_advance(struct conn *conn);

/* A request runs, until `until_ns` at the latest; and it has ended. */
void conn_busy(struct conn *conn, int64_t until_ns);
void conn_idle(struct conn *conn);

/* The server stops: ends the connection now, if it is idle. */
void conn_drain(struct conn *conn);

/* Closes it without further ado. */
void conn_close(struct conn *conn);

#endif
