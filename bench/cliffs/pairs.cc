// pairs.cc - the two ways to end a context, by their names, over the memory and the one
// compare-and-swap that they cannot do without.
#include <atomic>
#include <cstdlib>

#include "cliffs/cliffs.h"

namespace bench
{
namespace
{

struct Ends {
    static void operation(const canopy_ctx *root)
    {
        create_and_end(root);
    }
};

struct CancelsAndReleases {
    static void operation(const canopy_ctx *root)
    {
        create_cancel_and_release(root);
    }
};

struct MallocAndSwap {
    static void operation(const canopy_ctx *)
    {
        auto *const block = static_cast<uint64_t *>(must(std::malloc(128)));
        uint64_t live = 0;

        *block = live;
        keep(block);
        keep(std::atomic_ref(*block).compare_exchange_strong(live, 1));
        std::free(block);
    }
};

template <class Pair> class Life : public Work
{
  public:
    Life(int64_t, int)
    {
    }

    void loop(int, uint64_t operations) override
    {
        for (; operations > 0; operations--)
            Pair::operation(root_.get());
    }

  private:
    const Owned root_ = child_of(canopy_background());
};

} // namespace

void add_pairs()
{
    add({.workload = "end", .side = "canopy", .make = make<Life<Ends>>});
    add({.workload = "end", .side = "malloc_cas", .make = make<Life<MallocAndSwap>>});
    add({.workload = "cancel_release", .side = "canopy", .make = make<Life<CancelsAndReleases>>});
    add({.workload = "cancel_release", .side = "malloc_cas", .make = make<Life<MallocAndSwap>>});
}

} // namespace bench
