/*
 * owner.cc - a small program as a user of the installed library would write it in C++:
 * a request that owns its context, a value, a callback and a loop. Exits with 0 if
 * everything behaved.
 */
#include <canopy/canopy.hpp>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string>

namespace
{
using namespace std::chrono_literals;

constexpr canopy::cause closed{-EPIPE, "the client went away"};
constexpr canopy::key<const std::string> user_key{"user"};

/* Takes a borrowed context, so it cannot cancel its caller. */
int call_upstream(canopy::context_ref ctx)
{
    canopy::context call = canopy::with_timeout(ctx, 10ms);
    if (!call || !ctx.value(user_key))
        return -EINVAL;
    return call.sleep(1min);
}
} // namespace

int main()
{
    const std::string user{"somebody"};
    int runs = 0;
    canopy::loop loop;
    canopy::context connection = canopy::with_cancel(canopy::background());
    canopy::context request = canopy::with_value(connection, user_key, &user);
    canopy::callback at_once{request, [&] { runs++; }};
    canopy::loop_callback on_loop{request, loop, [&] { runs += 10; }};
    if (!loop || !request || !at_once || !on_loop || call_upstream(request) != -ETIMEDOUT)
        return 1;
    if (!connection.cancel(closed) || request.cause_of() != &closed || runs != 1)
        return 2;
    std::printf("the request ended: %s\n", request.cause_of()->text);
    return loop.run() == 1 && runs == 11 ? 0 : 3;
}
