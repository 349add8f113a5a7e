/*
 * places_unknown.h - what places.cc has others make.
 */
#ifndef CANOPY_TESTS_PLACES_UNKNOWN_H
#define CANOPY_TESTS_PLACES_UNKNOWN_H

#include <canopy/canopy.hpp>

canopy::context make_where_places_are_not_known(canopy::context_ref parent);

#endif
