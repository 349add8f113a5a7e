/*
 * policy.h - what is agreed with the other side, and the headers that it is about.
 */
#ifndef CANOPY_WIRE_POLICY_H
#define CANOPY_WIRE_POLICY_H

#include <canopy/wire.h>

#include "wire/text.h"

/* Whether it is one that this version knows. */
bool policy_is_valid(const canopy_wire_policy *policy);

/* The bit and the name of each header, in the order in which they are written. */
enum header { GRPC_TIMEOUT, MS_TIMEOUT, TRACEPARENT, TRACESTATE, BAGGAGE, HEADERS };
uint32_t header_field(enum header header);
struct text header_name(enum header header, const canopy_wire_policy *policy);

/* Whether the policy has it; by its bit, or that of what it belongs to. */
bool header_is_agreed(enum header header, const canopy_wire_policy *policy);

#endif
