/*
 * http.h - one HTTP message on its way through the proxy: it is parsed as it
 * arrives on one side, and written, with the headers that belong to that hop
 * alone replaced, to the buffer of the other side. Requests and responses
 * differ in their first line and little else.
 */
#ifndef PROXY_HTTP_H
#define PROXY_HTTP_H

#include <http_parser.h>
#include <stdint.h>

#include "buffer.h"
#include "outcome.h"

enum {
    HTTP_MAX_HEAD_BYTES = 16 * 1024,
    HTTP_MAX_FIELDS = 64,
};

enum message_state {
    MESSAGE_WAITING,    /* nothing of it was seen yet */
    MESSAGE_HEAD,       /* in the middle of the head */
    MESSAGE_HEAD_READY, /* the head is complete: look at it, then feed on */
    MESSAGE_BODY,
    MESSAGE_DONE,
    MESSAGE_FAILED, /* `failure` says how */
};

/* Places in `text`. */
struct http_field {
    uint16_t name, name_length, value, value_length;
};

struct http_message {
    http_parser parser;
    enum message_state state;
    enum outcome failure;
    bool answers_head;       /* a response to HEAD: it has no body, whatever it says */
    bool keep_alive;         /* the connection it came on may carry another message */
    bool writes_chunks;      /* the body leaves in chunks */
    bool after_value;        /* the last piece of the head was (part of) a value */
    struct buffer *body_out; /* where the body goes; NULL: it is dropped */
    struct buffer text;      /* target or reason, then names and values, end to end */
    unsigned start_length;   /* of the target or reason */
    unsigned field_count;
    struct http_field fields[HTTP_MAX_FIELDS];
};

/* Makes `m` ready for the next message of its connection. */
void http_start(struct http_message *m, enum http_parser_type type);
void http_free(struct http_message *m);

/*
 * Parses up to the next change of state that its owner must act on, and
 * returns the number of bytes used. NULL and 0 tell it that the connection ended.
 */
size_t http_feed(struct http_message *m, const char *data, size_t length);

/* The value of a header, or NULL. Not terminated. */
const char *http_value(const struct http_message *m, const char *name, size_t *length);

/* The milliseconds that the client gives the request, or -1. */
int64_t http_timeout_ms(const struct http_message *m);

/* Whether the request is one that may be sent twice: safe, and without a body. */
bool http_is_replayable(const struct http_message *m);

/* What keeps a message with this head from being passed on, or OUTCOME_COMPLETED. */
enum outcome http_unsupported(const struct http_message *m);

/* Writes the head of a request for the upstream; `timeout_ms` < 0: without one. */
void http_write_request(struct http_message *m, struct buffer *out, int64_t timeout_ms);

/*
 * Writes the head of a response to `request`. Returns whether the client's
 * connection can go on after it; `close`: it shall not.
 */
bool http_write_response(struct http_message *m, const struct http_message *request,
                         struct buffer *out, bool close);

/* Writes a response of our own. */
void http_write_answer(const struct http_message *request, struct buffer *out,
                       const canopy_cause *cause, bool close);

#endif
