/*
 * trace.h - what the rest of src/wire asks of a trace.
 */
#ifndef CANOPY_WIRE_TRACE_H
#define CANOPY_WIRE_TRACE_H

#include <canopy/wire.h>

/* Neither id is all zero. */
bool trace_is_valid(const canopy_traceparent *trace);

#endif
