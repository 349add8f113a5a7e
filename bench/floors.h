// floors.h - the least that any library would have to do, as further sides of
// the workloads.
#ifndef CANOPY_BENCH_FLOORS_H
#define CANOPY_BENCH_FLOORS_H

namespace bench
{

void add_floors();

} // namespace bench

#endif
