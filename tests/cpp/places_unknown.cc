/*
 * places_unknown.cc - a source that is compiled without CANOPY_DEBUG and linked with one
 * that is compiled with it: neither may get the other's functions.
 */
#include "places_unknown.h"

canopy::context make_where_places_are_not_known(canopy::context_ref parent)
{
    const canopy::context among[] = {canopy::with_cancel(parent), canopy::with_cancel(parent)};
    canopy::context any = canopy::with_any(among);
    return canopy::with_timeout(canopy::shared_context{any}.get(), std::chrono::hours{1});
}
