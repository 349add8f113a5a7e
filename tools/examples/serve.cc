/*
 * serve.cc - requests in C++: contexts that end with their objects, a value with a type,
 * a callback in place; a tree with a clock that the program drives; and what several
 * parts of a program may cancel.
 *
 * Prints:
 *     somebody's request
 *     upstream: given up
 *     served: Connection timed out
 *     watchdog: stops it
 *     the first of the two to end says "a part has failed"
 */
#include <canopy/canopy.hpp>

#include <cstdio>
#include <cstring>
#include <vector>

namespace
{

using namespace std::chrono_literals;

struct user {
    const char *name;
};

/* What is asked on behalf of a request. */
struct {
    void give_up()
    {
        std::puts("upstream: given up");
    }
} upstream;

inline constexpr canopy::key<const user> user_key{"user"}; /* `static` would be one a source */

/* Asks the upstream, which takes longer than the request has. */
int call_upstream(canopy::context_ref ctx, canopy::root &clock)
{
    std::printf("%s's request\n", ctx.value(user_key)->name);
    clock.advance(canopy::moment::from_ns(0) + 1min);
    return ctx.err();
}

int serve(canopy::context_ref ctx, const user &who, canopy::root &clock) /* has no ctx.cancel() */
{
    canopy::context request = canopy::with_timeout(ctx, 30s); /* owned: its end ends it */
    canopy::context named = canopy::with_value(request, user_key, &who);
    canopy::callback on_end{request, [] { upstream.give_up(); }}; /* in place, not allocated */
    return call_upstream(named, clock);
}

/* A tree of one's own: its end ends what is under it, and frees it. */
void serve_by_a_clock_of_ours()
{
    canopy::root root{canopy::config::host_clock(canopy::moment::from_ns(0))};
    std::printf("served: %s\n", std::strerror(-serve(root, user{"somebody"}, root)));
}

inline constexpr canopy::cause failed{1, "a part has failed"};

/* Several owners, and one wait for several contexts. */
void stop_together()
{
    std::vector<canopy::context> parts;
    parts.push_back(canopy::with_cancel(canopy::background()));
    parts.push_back(canopy::with_cancel(canopy::background()));
    canopy::shared_owner watchdog{parts[1]}; /* may cancel; its end does not */
    canopy::context either = canopy::with_any(parts);
    std::puts("watchdog: stops it");
    watchdog.cancel(failed);
    if (canopy::wait_any(canopy::never, parts) == 1 && either.cause_of() == &failed)
        std::printf("the first of the two to end says \"%s\"\n", either.cause_of()->text);
}

} // namespace

int main()
{
    serve_by_a_clock_of_ours();
    stop_together();
}
