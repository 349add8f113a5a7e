/*
 * invariant.h - what must hold whenever somebody could look, written as functions.
 *
 * Debug builds call them and tell the host's hook (debug.h), the explorer calls them and
 * gives the schedule; a release build has neither calls nor functions. They look at what
 * the calling thread may: its own, or what nobody else is at any more.
 */
#ifndef CANOPY_INVARIANT_H
#define CANOPY_INVARIANT_H

#include "base/atomic.h"
#include "base/upward.h"

#ifndef CANOPY_INVARIANTS
#define invariant(holds) ((void)sizeof(holds))
#elif !defined(invariant)
#define invariant(holds) ((holds) ? (void)0 : invariant_broken("does not hold: " #holds))
#endif

#endif
