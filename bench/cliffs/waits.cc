// waits.cc - what somebody who waits, or has waited, costs those who have nothing to do
// with it.
#include <atomic>
#include <cerrno>

#include "cliffs/cliffs.h"

namespace bench
{
namespace
{

// Contexts come and go while another thread waits for any of so many others, among them
// background, and some with a child and a second waiter.
class WaitAny : public Work
{
  public:
    WaitAny(int64_t size, int)
    {
        for (int64_t i = 0; i < size; i++)
            owned_.push_back(child_of(canopy_background()));
        for (size_t i = 0; i < owned_.size(); i++)
            ctxs_.push_back(i == 1 ? canopy_background() : owned_[i].get());
        child_ = child_of(ctxs_.front());
        second_ = std::thread([this] { canopy_wait(ctxs_.front(), CANOPY_NEVER); });
        let_sleep();
        waiter_ =
            std::thread([this] { canopy_wait_any(ctxs_.data(), ctxs_.size(), CANOPY_NEVER); });
        let_sleep();
    }

    ~WaitAny() override
    {
        canopy_cancel(owned_.front().get());
        waiter_.join();
        second_.join();
    }

    void sample(Run &run) override
    {
        run.record(ns_each([this] { create_cancel_and_release(unrelated_.get()); }));
    }

  private:
    const Owned unrelated_ = child_of(canopy_background());
    std::vector<Owned> owned_;
    std::vector<const canopy_ctx *> ctxs_;
    Owned child_;
    std::thread second_, waiter_;
};

// What each of those below does to the parent before it is measured.
enum class Before { nothing, wait, refusal };

// Contexts come and go under a root after somebody has waited for it to be idle, or has
// been told that it cannot be freed yet.
template <Before before> class After : public Work
{
  public:
    After(int64_t, int)
    {
        const Owned child = child_of(root_.ctx);
        const int result = before == Before::wait      ? canopy_wait_idle(root_.ctx, now_ns() + 1)
                           : before == Before::refusal ? canopy_root_free(root_.ctx)
                                                       : 0;
        const int expected = before == Before::wait      ? -ETIME
                             : before == Before::refusal ? -EBUSY
                                                         : 0;
        check(result == expected ? 0 : EPROTO);
    }

    void sample(Run &run) override
    {
        run.record(ns_each([this] { create_and_end(root_.ctx); }));
    }

  private:
    const OwnRoot root_;
};

// The same while somebody waits, for a child of the root that stays.
class Beside : public Work
{
  public:
    Beside(int64_t, int)
    {
        let_sleep();
    }

    ~Beside() override
    {
        stays_.reset();
        waiter_.join();
    }

    void sample(Run &run) override
    {
        run.record(ns_each([this] { create_and_end(root_.ctx); }));
    }

  private:
    const OwnRoot root_;
    Owned stays_ = child_of(root_.ctx);
    std::thread waiter_{[this] { canopy_wait_idle(root_.ctx, CANOPY_NEVER); }};
};

class TwoExchanges : public Work
{
  public:
    TwoExchanges(int64_t, int)
    {
    }

    void sample(Run &run) override
    {
        run.record(ns_each([this] {
            keep(word_.exchange(1));
            keep(word_.exchange(0));
        }));
    }

  private:
    std::atomic<uintptr_t> word_ = 0;
};

class Alone : public Work
{
  public:
    Alone(int64_t, int)
    {
    }

    void sample(Run &run) override
    {
        run.record(ns_each([this] { create_cancel_and_release(parent_.get()); }));
    }

  private:
    const Owned parent_ = child_of(canopy_background());
};

void add_after(const char *workload, std::unique_ptr<Work> (*make_ours)(int64_t, int))
{
    const std::vector<Size> sizes = {{0, 8}};

    add({.workload = workload, .side = "canopy", .make = make_ours, .sizes = sizes});
    add({.workload = workload,
         .side = "never_waited",
         .make = make<After<Before::nothing>>,
         .sizes = sizes});
}

} // namespace

void add_waits()
{
    const std::vector<Size> waited_for = {{2, 8}, {8, 8}, {64, 8}};

    add({.workload = "wait_any", .side = "canopy", .make = make<WaitAny>, .sizes = waited_for});
    add({.workload = "wait_any", .side = "never_waited", .make = make<Alone>, .sizes = waited_for});
    add_after("after_wait_idle", make<After<Before::wait>>);
    add_after("after_refusal", make<After<Before::refusal>>);
    add_after("beside_wait_idle", make<Beside>);
    add({.workload = "beside_wait_idle",
         .side = "two_exchanges",
         .make = make<TwoExchanges>,
         .sizes = {{0, 8}}});
}

} // namespace bench
