// canopy.cc - canopy_bench: the library, and beside it in one process the floors.
#include <cstdint>

#include <canopy/canopy.h>

#include "cliffs/cliffs.h"
#include "floors.h"
#include "workloads/all.h"

namespace
{

struct Canopy {
    static constexpr const char *name = "canopy", *without = "without";
    static constexpr int64_t deepest = INT64_MAX;
    static constexpr bool fires = true;

    using node = canopy_ctx *;
    using key = canopy_key;
    using callback = canopy_callback;

    static void root(node &made)
    {
        made = bench::must(canopy_with_cancel(canopy_background()));
        canopy_end(bench::must(canopy_with_timeout(made, bench::timeout_ns)));
    }
    static void child(node &made, node parent)
    {
        made = bench::must(canopy_with_cancel(parent));
    }
    static void timeout(node &made, node parent)
    {
        made = bench::must(canopy_with_timeout(parent, bench::timeout_ns));
    }
    static void deadline(node &made, node parent, int64_t deadline_ns)
    {
        made = bench::must(canopy_with_deadline(parent, deadline_ns));
    }
    static void value(node &made, node parent, const key &bound, void *to)
    {
        made = bench::must(canopy_with_value(parent, &bound, to));
    }
    static void *lookup(node in, const key &bound)
    {
        return canopy_value(in, &bound);
    }
    static void cancel(node ctx)
    {
        canopy_cancel(ctx);
    }
    static void end(node ctx)
    {
        canopy_end(ctx);
    }
    static bool done(node ctx)
    {
        return canopy_err(ctx) != 0;
    }
    static void wait(node ctx)
    {
        canopy_wait(ctx, CANOPY_NEVER);
    }
    static void callback_add(node ctx, callback &record, bench::Fn fn, void *arg)
    {
        bench::check(-canopy_after_func(ctx, &record, fn, arg));
    }
    static void callback_stop(callback &record)
    {
        if (!canopy_callback_stop(&record))
            canopy_callback_join(&record);
    }
};

// The same under a root whose time the host hands in.
struct HostClock : Canopy {
    // cppcheck-suppress duplInheritedMember ; it takes the other's place
    static constexpr const char *name = "host_clock", *without = "host_clock_without";

    static void root(node &made)
    {
        canopy_config config = {};

        config.size = sizeof config;
        config.clock = CANOPY_CLOCK_HOST;
        config.now_ns = bench::now_ns();
        made = bench::must(canopy_root_new(&config));
    }
};

// The same as `Side` without a timeout, for what the timeout alone costs.
template <class Side> struct Without : Side {
    // cppcheck-suppress duplInheritedMember ; it takes the other's place
    static constexpr const char *name = Side::without;

    static void timeout(typename Side::node &made, typename Side::node parent)
    {
        Side::child(made, parent);
    }
};

} // namespace

int main(int argc, char **argv)
{
    bench::add_all<Canopy>();
    bench::add_create_timeout<Without<Canopy>>();
    bench::add_create_timeout<HostClock>();
    bench::add_create_timeout<Without<HostClock>>();
    bench::add_floors();
    bench::add_cliffs();
    return bench::main(argc, argv);
}
