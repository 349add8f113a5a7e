// floors.cc - the least that any library would have to do, written as peers: a
// block of memory, an exchange of a word, a reading of the clock, a walk over
// lines, a bare futex.
#include "floors.h"

#include <atomic>
#include <cstdlib>
#include <ctime>
#include <vector>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "workloads/all.h"

namespace bench
{
namespace
{

// What any cancel has to do to a context at the least.
inline void mark(std::atomic<uintptr_t> &word)
{
    keep(word.exchange(1));
}

inline void read_coarse_clock()
{
    timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    keep(&now);
}

// A context is a block of 128 bytes; a timeout also reads the coarse clock.
struct Malloc {
    static constexpr const char *name = "malloc_128";
    using node = int64_t *;
    struct key {
    };

    static void root(node &made)
    {
        made = nullptr;
    }
    static void child(node &made, node)
    {
        made = static_cast<node>(must(std::malloc(128)));
        keep(made);
        *made = 1;
    }
    static void timeout(node &made, node parent)
    {
        read_coarse_clock();
        child(made, parent);
    }
    static void deadline(node &made, node parent, int64_t)
    {
        child(made, parent);
    }
    static void value(node &made, node parent, const key &, void *)
    {
        child(made, parent);
    }
    static void *lookup(node in, const key &)
    {
        return in;
    }
    static void end(node block)
    {
        std::free(block);
    }
};

// Nothing but the memory.
struct MallocOnly : Malloc {
    // cppcheck-suppress duplInheritedMember ; it takes the other's place
    static constexpr const char *name = "malloc_only";

    // cppcheck-suppress duplInheritedMember
    static void timeout(node &made, node parent)
    {
        child(made, parent);
    }
};

// A word of the thread's own: registered, ended and taken out again without
// locks; a callback is registered and taken out.
struct Exchanges {
    static constexpr const char *name = "exchanges";
    using node = std::atomic<uintptr_t>;
    using callback = std::atomic<uintptr_t>;

    static void root(node &)
    {
    }
    static void child(node &made, node &)
    {
        mark(made);
    }
    static void end(node &word)
    {
        mark(word);
        mark(word);
    }
    static bool done(const node &word)
    {
        return word.load(std::memory_order_acquire) != 0;
    }
    static void callback_add(node &, callback &record, Fn, void *)
    {
        mark(record);
    }
    static void callback_stop(callback &record)
    {
        mark(record);
    }
};

struct CoarseClock {
    static constexpr const char *name = "clock_coarse";
    using node = int;

    static void root(node &)
    {
    }
    static void timeout(node &, node)
    {
        read_coarse_clock();
    }
    static void end(node)
    {
    }
};

// A cache line, allocated as a context is, that leads to the next.
struct alignas(64) Line {
    std::atomic<uintptr_t> word = 0;
    Line *next = nullptr;
    uintptr_t value = 0;
};

// A parent has the addresses of its lines.
struct WalkWide {
    static constexpr const char *name = "walk_64";
    struct node {
        Line *line = nullptr;
        std::vector<Line *> below;
    };

    static void root(node &)
    {
    }
    static void child(node &made, node &parent)
    {
        made.line = new Line;
        if (parent.line)
            parent.below.push_back(made.line);
    }
    static void cancel(node &top)
    {
        mark(top.line->word);
        for (Line *line : top.below)
            mark(line->word);
    }
    static bool done(const node &ctx)
    {
        return ctx.line->word != 0;
    }
    static void end(node &ctx)
    {
        delete ctx.line;
        ctx = {};
    }
};

// Each line leads to the next; a value is looked up along them.
struct WalkDeep {
    static constexpr const char *name = "walk_64";
    static constexpr int64_t deepest = INT64_MAX;
    using node = Line *;
    using key = uintptr_t;

    static void root(node &made)
    {
        made = new Line;
    }
    static void child(node &made, node parent)
    {
        made = new Line;
        parent->next = made;
    }
    static void cancel(node top)
    {
        for (Line *line = top; line; line = line->next)
            mark(line->word);
    }
    static bool done(node line)
    {
        return line->word != 0;
    }
    static void end(node line)
    {
        delete line;
    }

    // From the innermost outwards, as contexts lead to their parents.
    static void value(node &made, node parent, key &bound, void *)
    {
        made = new Line;
        made->next = parent;
        bound = reinterpret_cast<uintptr_t>(&bound);
        made->value = bound;
    }
    static void *lookup(node line, key bound)
    {
        while (line->value != bound)
            line = line->next;
        return line;
    }
};

struct Futex {
    static constexpr const char *name = "futex";
    using node = std::atomic<uint32_t>;

    static void root(node &)
    {
    }
    static void child(node &made, node &)
    {
        made = 0;
    }
    static void cancel(node &word)
    {
        word = 1;
        syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
    }
    static void wait(node &word)
    {
        while (word == 0)
            syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
    }
    static void end(node &)
    {
    }
};

} // namespace

void add_floors()
{
    add_create<Malloc>();
    add_create<Exchanges>();
    add_create_middle<Malloc>();
    add_create_timeout<Malloc>();
    add_create_timeout<CoarseClock>();
    add_request<Malloc>();
    add_request_whole<MallocOnly>();
    add_churn<Malloc>();
    add_err<Exchanges>();
    add_callback<Exchanges>();
    add_value<WalkDeep>();
    add_cancel_wide<WalkWide>();
    add_cancel_deep<WalkDeep>();
    add_wake<Futex>();
    add_memory<Malloc>();
}

} // namespace bench
