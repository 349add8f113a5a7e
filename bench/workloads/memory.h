// memory.h - what a live context costs in memory, without and with a deadline:
// the growth of the process's resident memory, and what the node that the
// workload places has beyond a pointer. Each sample is taken in a child process,
// so that none finds the memory that an earlier one has left behind.
#ifndef CANOPY_BENCH_WORKLOADS_MEMORY_H
#define CANOPY_BENCH_WORKLOADS_MEMORY_H

#include "adapter.h"
#include "harness.h"
#include "support.h"

namespace bench
{

enum class Kind { plain, dated };

template <class P, Kind kind> class Memory : public Work
{
  public:
    Memory(int64_t size, int) : n_(static_cast<size_t>(size))
    {
    }

    void sample(Run &run) override
    {
        double each = 0;

        if (in_child([this] { return measure(); }, each))
            run.record(each);
        else
            run.fail("the child process gave no result");
    }

  private:
    using Node = typename P::node;

    static void make_one(Node &made, Node &root, size_t i, int64_t base_ns)
    {
        if constexpr (kind == Kind::plain)
            P::child(made, root);
        else // different, as a server's requests have them
            P::deadline(made, root, base_ns + static_cast<int64_t>(i) * 1000);
    }

    // The bytes of each of n_ contexts. What it makes is left to exit.
    double measure() const
    {
        Node root{};
        Node *nodes = new Node[n_]{};
        const int64_t base_ns = now_ns() + 3600 * second_ns;

        P::root(root);
        make_one(nodes[0], root, 0, base_ns);
        const double before = resident_bytes();
        for (size_t i = 1; i < n_; i++)
            make_one(nodes[i], root, i, base_ns);
        return (resident_bytes() - before) / static_cast<double>(n_ - 1) +
               static_cast<double>(sizeof(Node)) - static_cast<double>(sizeof(void *));
    }

    const size_t n_;
};

template <class P> void add_memory()
{
    add({.workload = "memory",
         .side = P::name,
         .make = make<Memory<P, Kind::plain>>,
         .sizes = {{1000000, 1}},
         .unit = "bytes"});
    if constexpr (Dated<P>)
        add({.workload = "memory_deadline",
             .side = P::name,
             .make = make<Memory<P, Kind::dated>>,
             .sizes = {{1000000, 1}},
             .unit = "bytes"});
}

} // namespace bench

#endif
