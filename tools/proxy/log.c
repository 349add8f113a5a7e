/* log.c - the access log. */
#include "log.h"

#include <arpa/inet.h>
#include <inttypes.h>

#ifndef PROXY_WITHOUT_CONTEXTS
const canopy_key client_key = {.name = "client"};
const canopy_key request_id_key = {.name = "request id"};
#endif

bool log_open(struct log *log, const char *path)
{
    log->file = path ? fopen(path, "ae") : NULL;
    return log->file || !path;
}

void log_request(struct log *log, const canopy_ctx *ctx, const struct log_entry *entry)
{
    if (!log->file)
        return;
    const struct sockaddr_in *client = context_client(ctx);
    char address[INET_ADDRSTRLEN] = "-";
    if (client)
        inet_ntop(AF_INET, &client->sin_addr, address, sizeof address);
    fprintf(log->file, "%" PRIu64 " %s %s %.*s %d %.3f ms: %s\n", context_request_id(ctx), address,
            entry->method, (int)entry->target_length, entry->target, entry->status,
            (double)entry->duration_ns / (double)NS_PER_MS, outcomes[entry->outcome].text);
}

void log_flush(struct log *log)
{
    if (log->file)
        fflush(log->file);
}

void log_close(struct log *log)
{
    if (log->file)
        fclose(log->file);
}
