/*
 * request.h - one request, from its head to the last byte of the response. Its
 * context has the request's deadline; whatever ends that context ends the
 * request, with the context's cause as the answer.
 */
#ifndef PROXY_REQUEST_H
#define PROXY_REQUEST_H

#include "worker.h"

struct conn;
struct call;

struct request {
    struct record record;
    struct conn *conn;
    struct call *call;
    struct scope scope;
    canopy_loop_callback on_done;
    uint64_t id;
    int64_t started_ns;
    int status;             /* sent to the client; 0: none yet */
    bool admitted;          /* counts as a live request */
    bool replayable;        /* may be sent to the upstream once more */
    bool response_complete; /* all of it is in the connection's buffer */
};

/* The head of a request is there: starts it, or answers it at once. */
void request_begin(struct conn *conn);

/* What arrived is no request that we take: answers so. */
void request_refuse(struct conn *conn, enum outcome outcome);

/*
 * Ends it. Unless it is completed, the client gets the outcome's status, or, if
 * a response had begun, a closed connection.
 */
void request_end(struct request *request, enum outcome outcome);

#endif
