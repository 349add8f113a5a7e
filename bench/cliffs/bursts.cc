// bursts.cc - what a great number leaves behind or does at once: parents that once had
// many children or callbacks, deadlines that fall on one instant, a cancel that loses
// over many merges.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <functional>

#include <pthread.h>

#include <canopy/loop.h>

#include "cliffs/cliffs.h"

// Of version 1.1; absent where an older library is measured.
extern "C" __attribute__((weak)) int canopy_loop_run_for(canopy_loop *loop, int64_t now_ns,
                                                         int64_t most_ns);

namespace bench
{
namespace
{

// ------------------------------------------------------- what there once was

struct Children {
    explicit Children(size_t n) : all(n)
    {
    }
    void add(const canopy_ctx *parent)
    {
        for (Owned &child : all)
            child = child_of(parent);
    }
    void take_back()
    {
        for (Owned &child : all)
            child.reset();
    }

    std::vector<Owned> all;
};

struct Callbacks {
    explicit Callbacks(size_t n) : all(n)
    {
    }
    void add(const canopy_ctx *parent)
    {
        for (canopy_callback &record : all)
            check(-canopy_after_func(
                parent, &record, [](void *) {}, nullptr));
    }
    void take_back()
    {
        for (canopy_callback &record : all)
            canopy_callback_drop(&record);
    }

    std::vector<canopy_callback> all;
};

enum class Past { many, few };

// The cancel of a parent of ten that once had many more, or never: then another had them, so
// that both find the machine's caches as such a number leaves them.
template <class Kind, Past past> class CancelOnce : public Work
{
  public:
    CancelOnce(int64_t size, int) : once_(static_cast<size_t>(size))
    {
    }

    void sample(Run &run) override
    {
        const Owned parent = child_of(canopy_background()), other = child_of(canopy_background());
        Kind now(now_has);

        once_.add(past == Past::many ? parent.get() : other.get());
        once_.take_back();
        now.add(parent.get());

        const int64_t start_ns = now_ns();
        canopy_cancel(parent.get());
        run.record(static_cast<double>(now_ns() - start_ns));
        now.take_back();
    }

  private:
    static constexpr size_t now_has = 10;

    Kind once_;
};

// ---------------------------------------------------------------- deadlines

// Contexts that are all due at one time.
std::vector<Owned> due_at(const canopy_ctx *parent, int64_t deadline_ns, int64_t n)
{
    std::vector<Owned> made;

    made.reserve(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; i++)
        made.emplace_back(must(canopy_with_deadline(parent, deadline_ns)));
    return made;
}

// The longest turn of a host's loop, until all of them have ended.
class BurstTurn : public Work
{
  public:
    BurstTurn(int64_t size, int) : n_(size)
    {
        check(-canopy_loop_init(&loop_, root_.ctx));
    }

    ~BurstTurn() override
    {
        check(-canopy_loop_close(&loop_));
    }

    void sample(Run &run) override
    {
        const int64_t deadline_ns = now_ns_ + second_ns;
        std::vector<Owned> due = due_at(root_.ctx, deadline_ns, n_);
        int64_t longest_ns = 0;

        now_ns_ = deadline_ns;
        do {
            const int64_t start_ns = now_ns();
            take_turn();
            longest_ns = std::max(longest_ns, now_ns() - start_ns);
        } while (canopy_loop_timeout_ns(&loop_, now_ns_) == 0);
        for (const Owned &ctx : due) {
            if (canopy_err(ctx.get()) == 0)
                run.fail("a context that is due has not ended");
        }
        run.record(static_cast<double>(longest_ns));
    }

  private:
    // Where the library has a call that takes a bound it is asked for a millisecond.
    void take_turn()
    {
        if (canopy_loop_run_for)
            canopy_loop_run_for(&loop_, now_ns_, most_ns);
        else
            canopy_loop_run(&loop_, now_ns_);
    }

    static constexpr int64_t most_ns = second_ns / 1000;

    const OwnRoot root_{CANOPY_CLOCK_HOST};
    canopy_loop loop_ = {};
    const int64_t n_;
    int64_t now_ns_ = 0;
};

enum class Burst { yes, no };

// Under the library's clock: how late those are who are due shortly before and after.
template <Burst burst> class BurstBystander : public Work
{
  public:
    BurstBystander(int64_t size, int) : n_(burst == Burst::yes ? size : 0), bystanders_(bystanders)
    {
    }

    void sample(Run &run) override
    {
        const Owned apart = child_of(canopy_background()), beside = child_of(canopy_background());
        const int64_t instant_ns = now_ns() + second_ns / 5 + n_ * 1000;

        for (Bystander &bystander : bystanders_)
            bystander.arm(beside.get(),
                          instant_ns + (&bystander - &bystanders_[before]) * apart_ns);
        std::vector<Owned> due = due_at(apart.get(), instant_ns, n_);

        for (Bystander &bystander : bystanders_) {
            bystander.wait();
            if (bystander.ended_ns < bystander.deadline_ns)
                run.fail("a deadline fired early, or not at all");
            run.record(static_cast<double>(bystander.ended_ns - bystander.deadline_ns));
        }
    }

  private:
    static constexpr size_t bystanders = 100, before = 10;
    static constexpr int64_t apart_ns = 2 * second_ns / 1000;

    struct Bystander {
        void arm(const canopy_ctx *parent, int64_t at_ns)
        {
            deadline_ns = at_ns;
            ended_ns = 0;
            ctx.reset(must(canopy_with_deadline(parent, at_ns)));
            check(-canopy_after_func(
                ctx.get(), &callback,
                [](void *self) { static_cast<Bystander *>(self)->ended_ns = now_ns(); }, this));
        }
        // Not by canopy_wait, which would end it itself.
        void wait()
        {
            const int64_t until_ns = deadline_ns + 20 * second_ns;

            while (ended_ns == 0 && now_ns() < until_ns)
                std::this_thread::sleep_for(std::chrono::milliseconds(2));
            canopy_callback_drop(&callback);
        }

        Owned ctx;
        canopy_callback callback = {};
        int64_t deadline_ns = 0;
        std::atomic<int64_t> ended_ns = 0;
    };

    const int64_t n_;
    std::vector<Bystander> bystanders_;
};

// ------------------------------------------------------------------- merges

// A thread that a signal can halt wherever it is, for ten seconds at most.
class Halted
{
  public:
    explicit Halted(const std::function<void()> &work)
    {
        struct sigaction action = {};

        action.sa_handler = on_signal;
        check(sigaction(SIGUSR1, &action, nullptr) == 0 ? 0 : errno);
        may_go_on = is_halted = false;
        thread_ = std::thread([this, work] {
            work();
            is_over_ = true;
        });
    }
    ~Halted()
    {
        may_go_on = true;
        thread_.join();
    }
    Halted(const Halted &) = delete;
    Halted &operator=(const Halted &) = delete;

    // Returns when it is halted, or over.
    void halt()
    {
        check(pthread_kill(thread_.native_handle(), SIGUSR1));
        while (!is_halted && !is_over_)
            std::this_thread::sleep_for(nap);
    }

  private:
    static constexpr std::chrono::milliseconds nap{1};
    static constexpr int64_t longest_ns = 10 * second_ns;

    static void on_signal(int)
    {
        const int64_t until_ns = now_ns() + longest_ns;

        is_halted = true;
        while (!may_go_on && now_ns() < until_ns)
            std::this_thread::sleep_for(nap);
    }

    static inline std::atomic<bool> may_go_on = false, is_halted = false;
    std::atomic<bool> is_over_ = false;
    std::thread thread_;
};

// A cancel that loses to another one of the same context, whose thread the machine halts
// in the middle, above so many merges: it returns when all of them are done. For each.
class LosingCancel : public Work
{
  public:
    LosingCancel(int64_t size, int) : n_(static_cast<size_t>(size))
    {
    }

    void sample(Run &run) override
    {
        const Owned above = child_of(canopy_background()), other = child_of(canopy_background());
        const canopy_ctx *const inputs[] = {above.get(), other.get()};
        std::vector<Owned> merges;

        merges.reserve(n_);
        for (size_t i = 0; i < n_; i++)
            merges.emplace_back(must(canopy_with_any(inputs, 2)));
        // Another one in each sample: nobody says in which order they end.
        const canopy_ctx *const first = merges[n_ - 1 - samples_++ % 8 * n_ / 8].get();
        Halted winner([&above] { canopy_cancel(above.get()); });
        while (canopy_err(first) == 0)
            continue;
        winner.halt();

        const int64_t start_ns = now_ns();
        if (canopy_cancel(above.get()))
            run.fail("the cancel has not lost");
        run.record(static_cast<double>(now_ns() - start_ns) / static_cast<double>(n_));
    }

  private:
    const size_t n_;
    size_t samples_ = 0;
};

template <class Kind> void add_cancel_once(const char *workload)
{
    const std::vector<Size> once = {{10, 200}, {1000, 50}, {100000, 5}, {1000000, 3}};

    add({.workload = workload,
         .side = "canopy",
         .make = make<CancelOnce<Kind, Past::many>>,
         .sizes = once,
         .once = true});
    add({.workload = workload,
         .side = "never_had",
         .make = make<CancelOnce<Kind, Past::few>>,
         .sizes = once,
         .once = true});
}

} // namespace

void add_bursts()
{
    const std::vector<Size> due = {{1000, 1}, {100000, 1}, {1000000, 1}};

    add_cancel_once<Children>("cancel_once_children");
    add_cancel_once<Callbacks>("cancel_once_callbacks");
    add({.workload = "burst_turn", .side = "canopy", .make = make<BurstTurn>, .sizes = due});
    add({.workload = "burst_bystander",
         .side = "canopy",
         .make = make<BurstBystander<Burst::yes>>,
         .sizes = due,
         .once = true});
    add({.workload = "burst_bystander",
         .side = "no_burst",
         .make = make<BurstBystander<Burst::no>>,
         .sizes = due,
         .once = true});
    add({.workload = "losing_cancel",
         .side = "canopy",
         .make = make<LosingCancel>,
         .sizes = {{2000, 8}, {20000, 4}, {200000, 1}},
         .once = true});
}

} // namespace bench
