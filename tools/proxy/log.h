/* log.h - the access log: a line for each request, with the cause it ended with. */
#ifndef PROXY_LOG_H
#define PROXY_LOG_H

#include <stdio.h>

#include "contexts.h"

struct log {
    FILE *file; /* NULL: no log */
};

struct log_entry {
    const char *method, *target;
    size_t target_length;
    int status; /* 0: the client was sent none */
    int64_t duration_ns;
    enum outcome outcome;
};

/* NULL path: no log. False with errno. */
bool log_open(struct log *log, const char *path);

/* `ctx` is the request's, where the line finds client and id; NULL if it never got one. */
void log_request(struct log *log, const canopy_ctx *ctx, const struct log_entry *entry);

void log_flush(struct log *log);
void log_close(struct log *log);

#endif
