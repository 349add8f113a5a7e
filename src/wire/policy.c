/*
 * policy.c - what is agreed with the other side, and the headers that it is about.
 */
#include "wire/policy.h"

#include <string.h>

#define FIELDS                                                                                     \
    (CANOPY_WIRE_GRPC_TIMEOUT | CANOPY_WIRE_MS_TIMEOUT | CANOPY_WIRE_TRACE | CANOPY_WIRE_BAGGAGE)

static const struct {
    struct text name; /* empty: the policy's */
    uint32_t field;   /* in the masks of what came */
    uint32_t agreed;  /* in those of a policy */
} headers[HEADERS] = {
    [GRPC_TIMEOUT] = {{"grpc-timeout", 12}, CANOPY_WIRE_GRPC_TIMEOUT, CANOPY_WIRE_GRPC_TIMEOUT},
    [MS_TIMEOUT] = {{NULL, 0}, CANOPY_WIRE_MS_TIMEOUT, CANOPY_WIRE_MS_TIMEOUT},
    [TRACEPARENT] = {{"traceparent", 11}, CANOPY_WIRE_TRACE, CANOPY_WIRE_TRACE},
    [TRACESTATE] = {{"tracestate", 10}, CANOPY_WIRE_TRACESTATE, CANOPY_WIRE_TRACE},
    [BAGGAGE] = {{"baggage", 7}, CANOPY_WIRE_BAGGAGE, CANOPY_WIRE_BAGGAGE},
};

/* What a later version has behind the fields of this one must be unused, as canopy_config's. */
static bool is_of_known_size(const canopy_wire_policy *policy)
{
    const char *bytes = (const char *)policy;
    if (policy->size < sizeof *policy || policy->size > 4096)
        return false;
    for (size_t i = sizeof *policy; i < policy->size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

bool policy_is_valid(const canopy_wire_policy *policy)
{
    if (!policy || !is_of_known_size(policy) || (policy->fields & ~FIELDS) != 0)
        return false;
    bool needs_name = (policy->fields & CANOPY_WIRE_MS_TIMEOUT) != 0;
    return policy->max_timeout_ns >= 0 && policy->try_timeout_ns >= 0 && policy->reserve_ns >= 0 &&
           (!needs_name || (policy->ms_name && *policy->ms_name));
}

uint32_t header_field(enum header header)
{
    return headers[header].field;
}

struct text header_name(enum header header, const canopy_wire_policy *policy)
{
    if (header == MS_TIMEOUT)
        return (struct text){policy->ms_name, strlen(policy->ms_name)};
    return headers[header].name;
}

bool header_is_agreed(enum header header, const canopy_wire_policy *policy)
{
    return (policy->fields & headers[header].agreed) != 0;
}
