// threads.cc - what other threads cost that only live, or have lived: under two busy
// parents in turn, in a thread's first constructor, and in a release on a thread that
// never made anything.
#include <optional>

#include "cliffs/cliffs.h"

namespace bench
{
namespace
{

enum class Others { alive, ended };

// A thread makes and ends children of two parents in turn, under which it has had many
// and then all others that there are have had some.
template <Others others> class TwoParents : public Work
{
  public:
    TwoParents(int64_t size, int)
    {
        begin(many);
        crowd_.emplace(size - 1, [this] { begin(few); });
        if (others == Others::ended)
            crowd_.reset();
    }

    void sample(Run &run) override
    {
        const double pair_ns = ns_each([this] {
            create_and_end(first_.get());
            create_and_end(second_.get());
        });
        run.record(pair_ns / 2);
    }

  private:
    static constexpr size_t few = 16, many = 1000;

    void begin(size_t children)
    {
        have_children(first_.get(), children);
        have_children(second_.get(), children);
    }

    const Owned first_ = child_of(canopy_background()), second_ = child_of(canopy_background());
    std::optional<Crowd> crowd_;
};

class OneParent : public Work
{
  public:
    OneParent(int64_t, int)
    {
        have_children(parent_.get(), 1000);
    }

    void sample(Run &run) override
    {
        run.record(ns_each([this] { create_and_end(parent_.get()); }));
    }

  private:
    const Owned parent_ = child_of(canopy_background());
};

// The first constructor on a thread that the allocator has served before. It lives on, or
// the next one would take over what it leaves.
class FirstContext : public Work
{
  public:
    FirstContext(int64_t size, int) : crowd_(size, [this] { create_and_end(root_.ctx); })
    {
    }

    void sample(Run &run) override
    {
        newcomers_.push_back(std::make_unique<Crowd>(1, [this, &run] {
            keep(std::make_unique<char[]>(4096).get());
            const int64_t start_ns = now_ns();
            canopy_ctx *const first = must(canopy_with_cancel(root_.ctx));
            run.record(static_cast<double>(now_ns() - start_ns));
            canopy_end(first);
        }));
    }

  private:
    const OwnRoot root_;
    Crowd crowd_;
    std::vector<std::unique_ptr<Crowd>> newcomers_;
};

enum class Releaser { guest, maker };

// A thread releases what another one has made, under a root of which no thread has ended
// that had made something: or a guest would take over what that left.
template <Releaser releaser> class Release : public Work
{
  public:
    Release(int64_t size, int) : crowd_(size - 1, [this] { create_and_end(root_.ctx); })
    {
    }

    void sample(Run &run) override
    {
        std::vector<canopy_ctx *> made(256);
        int64_t took_ns = 0;

        for (canopy_ctx *&ctx : made)
            ctx = must(canopy_with_cancel(root_.ctx));
        std::thread([this, &made, &took_ns] {
            if (releaser == Releaser::maker)
                create_and_end(root_.ctx);
            const int64_t start_ns = now_ns();
            for (const canopy_ctx *ctx : made)
                canopy_release(ctx);
            took_ns = now_ns() - start_ns;
        }).join();
        run.record(static_cast<double>(took_ns) / static_cast<double>(made.size()));
    }

  private:
    const OwnRoot root_;
    Crowd crowd_;
};

} // namespace

void add_threads()
{
    const std::vector<Size> alive = {{1, 8}, {64, 8}, {2000, 8}}, ended = {{64, 8}, {2000, 8}};
    const std::vector<Size> releasing = {{1, 20}, {64, 20}, {1000, 20}};

    add({.workload = "two_parents",
         .side = "canopy",
         .make = make<TwoParents<Others::alive>>,
         .sizes = alive,
         .once = true});
    add({.workload = "two_parents", .side = "one_parent", .make = make<OneParent>, .sizes = alive});
    add({.workload = "two_parents_ended",
         .side = "canopy",
         .make = make<TwoParents<Others::ended>>,
         .sizes = ended,
         .once = true});
    add({.workload = "two_parents_ended",
         .side = "one_parent",
         .make = make<OneParent>,
         .sizes = ended});
    add({.workload = "first_context",
         .side = "canopy",
         .make = make<FirstContext>,
         .sizes = {{10, 20}, {200, 20}, {2000, 20}},
         .once = true});
    add({.workload = "release_guest",
         .side = "canopy",
         .make = make<Release<Releaser::guest>>,
         .sizes = releasing,
         .once = true});
    add({.workload = "release_guest",
         .side = "release_maker",
         .make = make<Release<Releaser::maker>>,
         .sizes = releasing,
         .once = true});
}

} // namespace bench
