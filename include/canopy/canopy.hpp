/*
 * canopy.hpp - canopy for C++17 and later, on a page for each concept:
 *
 *     time.hpp        std::chrono
 *     context.hpp     causes, keys, owned and borrowed contexts
 *     root.hpp        roots: memory, limits and a clock of one's own
 *     callback.hpp    callbacks from any callable
 *     group.hpp       threads that succeed or fail together
 *     stop_token.hpp  a token for senders; to and from std::stop_token (C++20)
 *     loop.hpp        loops, their callbacks, and co_await done(ctx, loop) (C++20)
 *
 * Conventions, beside those of canopy.h, which hold throughout:
 *
 *  - A `context` owns: its end ends the context. A `context_ref` borrows: it can
 *    observe, wait, look up and derive, and cannot cancel. Functions take it by value,
 *    as their first parameter. A `shared_context` keeps what is borrowed in memory; a
 *    `shared_owner` can cancel as well.
 *  - Keys and causes are told apart by address. In headers they are `inline constexpr`.
 *  - Nothing of canopy's throws. Who makes a handle gives an empty one, with errno; an
 *    object that cannot be moved tells a negative errno by error(). Neither exceptions
 *    nor RTTI are needed.
 *  - Callables that canopy runs must not throw (that is std::terminate), nor end their
 *    thread.
 *  - It is the same calls as in C: a test compares the instructions.
 */
#ifndef CANOPY_CANOPY_HPP
#define CANOPY_CANOPY_HPP

#include <canopy/callback.hpp>
#include <canopy/context.hpp>
#include <canopy/group.hpp>
#include <canopy/loop.hpp>
#include <canopy/root.hpp>
#include <canopy/stop_token.hpp>
#include <canopy/time.hpp>

#endif
