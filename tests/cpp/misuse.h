/*
 * misuse.h - what the statements of misuse.cc are made of; compiled once for all of them.
 */
#ifndef CANOPY_TESTS_MISUSE_H
#define CANOPY_TESTS_MISUSE_H

#include <canopy/canopy.hpp>

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

inline constexpr canopy::cause why{1, "why"};
inline constexpr canopy::key<int> number_key{"number"};
inline constexpr canopy::key<std::unique_ptr<int>> owned_key{"owned number"};

void take(canopy::context_ref ctx);
void callee(canopy::context_ref borrowed, canopy::context &owned, const canopy::context &constant,
            int *number, double *real);

#endif
