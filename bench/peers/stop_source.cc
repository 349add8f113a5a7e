// stop_source.cc - the peer std::stop_source: a child's source is linked to its
// parent's token by a std::stop_callback.
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>

#include "workloads/all.h"

namespace
{

struct StopSource {
    static constexpr const char *name = "stop_source";
    static constexpr int64_t deepest = 100000; // recursion; 131,000 fit into 8 MiB of stack

    struct Link {
        std::stop_source *source;
        void operator()() const
        {
            source->request_stop();
        }
    };
    struct node {
        std::stop_source source{std::nostopstate};
        std::optional<std::stop_callback<Link>> link;
    };
    struct Call {
        bench::Fn fn;
        void *arg;
        void operator()() const
        {
            fn(arg);
        }
    };
    using callback = std::optional<std::stop_callback<Call>>;

    static void root(node &made)
    {
        made.source = std::stop_source();
    }
    static void child(node &made, node &parent)
    {
        made.source = std::stop_source();
        made.link.emplace(parent.source.get_token(), Link{&made.source});
    }
    static void cancel(node &ctx)
    {
        ctx.source.request_stop();
    }
    static void end(node &ctx)
    {
        ctx.source.request_stop();
        ctx.link.reset();
        ctx.source = std::stop_source(std::nostopstate);
    }
    static bool done(const node &ctx)
    {
        return ctx.source.stop_requested();
    }
    static void wait(node &ctx)
    {
        std::mutex mutex;
        // cppcheck-suppress localMutex ; the wait below wants one, nobody else
        std::unique_lock lock(mutex);
        std::condition_variable_any stopped;

        stopped.wait(lock, ctx.source.get_token(), [] { return false; });
    }
    static void callback_add(node &ctx, callback &record, bench::Fn fn, void *arg)
    {
        record.emplace(ctx.source.get_token(), Call{fn, arg});
    }
    static void callback_stop(callback &record)
    {
        record.reset();
    }
};

} // namespace

int main(int argc, char **argv)
{
    bench::add_all<StopSource>();
    return bench::main(argc, argv);
}
