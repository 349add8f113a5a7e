// all.h - every workload that a peer can do, in the order in which tables show
// them.
#ifndef CANOPY_BENCH_WORKLOADS_ALL_H
#define CANOPY_BENCH_WORKLOADS_ALL_H

#include "cancel.h"
#include "churn.h"
#include "clock.h"
#include "create.h"
#include "memory.h"
#include "observe.h"
#include "request.h"
#include "wake.h"

namespace bench
{

template <class P> void add_all()
{
    add_create<P>();
    add_create_middle<P>();
    add_create_timeout<P>();
    add_request<P>();
    add_churn<P>();
    add_err<P>();
    add_callback<P>();
    add_value<P>();
    add_cancel_wide<P>();
    add_cancel_deep<P>();
    add_wake<P>();
    add_clock<P>();
    add_memory<P>();
}

} // namespace bench

#endif
