// memory.cc - what a burst leaves resident, of how many contexts it was, who ended them,
// and under which root; what threads leave that are dead; and how long giving it back
// keeps those who go on.
#include <algorithm>
#include <chrono>

#include "cliffs/cliffs.h"

namespace bench
{
namespace
{

constexpr std::chrono::seconds settle(5);

// The growth of resident memory from `begin`; each in a process of its own.
void record_megabytes(Run &run, const std::function<double()> &measure)
{
    double grown_bytes = 0;

    if (in_child(measure, grown_bytes))
        run.record(grown_bytes / 1e6);
    else
        run.fail("the child process gave no result");
}

// ------------------------------------------------------------ after a burst

enum class Ender { maker, other, cancel };
enum class Where { background, root };
enum class Kept { none, one_in_64 };

constexpr size_t kept_of = 64;

template <Ender ender, Where where, Kept kept> class Resident : public Work
{
  public:
    Resident(int64_t size, int) : n_(static_cast<size_t>(size))
    {
    }

    void sample(Run &run) override
    {
        record_megabytes(run, [this] { return measure(); });
    }

  private:
    double measure() const
    {
        std::vector<canopy_ctx *> all(n_);
        canopy_ctx *const above =
            must(where == Where::root ? canopy_root_new(nullptr)
                                      : canopy_with_cancel(canopy_background()));
        create_and_end(above);
        const double before_bytes = resident_bytes();

        for (canopy_ctx *&ctx : all)
            ctx = must(canopy_with_cancel(above));
        if (ender == Ender::cancel)
            canopy_cancel(above);
        if (ender == Ender::other)
            std::thread([&all] { end(all); }).join();
        else
            end(all);
        std::this_thread::sleep_for(settle);
        return resident_bytes() - before_bytes;
    }

    static void end(const std::vector<canopy_ctx *> &all)
    {
        for (size_t i = 0; i < all.size(); i++) {
            if (kept == Kept::none || i % kept_of != 0)
                canopy_end(all[i]);
        }
    }

    const size_t n_;
};

// ------------------------------------------------------------- dead threads

enum class Makers { in_turn, at_once };

// So many threads have each made 4,000 contexts; when they are dead those are ended, and
// a living thread makes as many as one of them.
template <Makers makers> class DeadMakers : public Work
{
  public:
    DeadMakers(int64_t size, int) : n_(static_cast<size_t>(size))
    {
    }

    void sample(Run &run) override
    {
        record_megabytes(run, [this] { return measure(); });
    }

  private:
    using Many = std::vector<canopy_ctx *>;
    static constexpr size_t each = 4000;

    double measure() const
    {
        const Owned above = child_of(canopy_background());
        std::vector<Many> made(n_, Many(each));
        std::vector<std::thread> threads;

        have_children(above.get(), 1);
        const double before_bytes = resident_bytes();
        for (Many &of_one : made) {
            threads.emplace_back([&above, &of_one] {
                for (canopy_ctx *&ctx : of_one)
                    ctx = must(canopy_with_cancel(above.get()));
            });
            if (makers == Makers::in_turn) {
                threads.back().join();
                end(of_one);
            }
        }
        for (size_t i = 0; makers == Makers::at_once && i < n_; i++)
            threads[i].join();
        for (const Many &of_one : made)
            end(makers == Makers::at_once ? of_one : Many());
        have_children(above.get(), each);
        std::this_thread::sleep_for(settle);
        return resident_bytes() - before_bytes;
    }

    static void end(const Many &all)
    {
        for (canopy_ctx *ctx : all)
            canopy_end(ctx);
    }

    const size_t n_;
};

// -------------------------------------------------------------------- stall

enum class Burst { yes, no, no_calls };

// The longest call of who releases a burst on another thread than its maker's, and then
// of the maker, which goes on making and ending contexts, many at once, for some seconds.
// Without calls: how long the machine halts who does nothing else than ask for the time.
template <Burst burst> class GivingBack : public Work
{
  public:
    GivingBack(int64_t size, int) : n_(static_cast<size_t>(size))
    {
    }

    void sample(Run &run) override
    {
        std::vector<canopy_ctx *> all(burst == Burst::yes ? n_ : 1);
        Longest making, releasing;

        for (canopy_ctx *&ctx : all)
            ctx = must(canopy_with_cancel(parent_.get()));
        std::thread([&all, &releasing] {
            releasing.begin();
            for (canopy_ctx *ctx : all) {
                canopy_end(ctx);
                releasing.look();
            }
        }).join();
        go_on(making);
        run.record(std::max(making.ns(), releasing.ns()));
    }

  private:
    void go_on(Longest &making)
    {
        std::vector<canopy_ctx *> live(10000);

        making.begin();
        for (const int64_t until_ns = now_ns() + 3 * second_ns; now_ns() < until_ns;) {
            for (canopy_ctx *&ctx : live) {
                if (burst != Burst::no_calls)
                    ctx = must(canopy_with_cancel(parent_.get()));
                making.look();
            }
            for (canopy_ctx *ctx : live) {
                if (burst != Burst::no_calls)
                    canopy_end(ctx);
                making.look();
            }
        }
    }

    const size_t n_;
    const Owned parent_ = child_of(canopy_background());
};

template <Ender ender, Where where, Kept kept> void add_resident(const char *workload)
{
    add({.workload = workload,
         .side = "canopy",
         .make = make<Resident<ender, where, kept>>,
         .sizes = {{1000000, 1}, {5000000, 1}},
         .unit = "MB",
         .once = true});
}

template <Makers makers> void add_dead(const char *workload)
{
    add({.workload = workload,
         .side = "canopy",
         .make = make<DeadMakers<makers>>,
         .sizes = {{50, 1}, {500, 1}},
         .unit = "MB",
         .once = true});
}

} // namespace

void add_memories()
{
    add_resident<Ender::maker, Where::background, Kept::none>("resident_maker");
    add_resident<Ender::other, Where::background, Kept::none>("resident_other");
    add_resident<Ender::cancel, Where::background, Kept::none>("resident_cancel");
    add_resident<Ender::maker, Where::root, Kept::none>("resident_maker_root");
    add_resident<Ender::other, Where::root, Kept::none>("resident_other_root");
    add_resident<Ender::cancel, Where::root, Kept::none>("resident_cancel_root");
    add_resident<Ender::maker, Where::background, Kept::one_in_64>("resident_kept");
    add_resident<Ender::other, Where::root, Kept::one_in_64>("resident_kept_root");
    add_dead<Makers::in_turn>("dead_in_turn");
    add_dead<Makers::at_once>("dead_at_once");
    add({.workload = "giving_back",
         .side = "canopy",
         .make = make<GivingBack<Burst::yes>>,
         .sizes = {{1000000, 1}, {5000000, 1}},
         .once = true});
    add({.workload = "giving_back",
         .side = "no_burst",
         .make = make<GivingBack<Burst::no>>,
         .sizes = {{1000000, 1}, {5000000, 1}},
         .once = true});
    add({.workload = "giving_back",
         .side = "no_calls",
         .make = make<GivingBack<Burst::no_calls>>,
         .sizes = {{1000000, 1}, {5000000, 1}},
         .once = true});
}

} // namespace bench
