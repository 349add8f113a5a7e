/*
 * pairs_in_cpp.cc - what is counted in both languages, in C++: the ends of objects do
 * what pairs_in_c.c does by hand.
 */
#include "pairs.h"

#include <canopy/canopy.hpp>

#include <chrono>
#include <optional>
#include <utility>

#define REPEAT for (unsigned i = 0; i < BATCH; i++)

namespace
{

constexpr std::chrono::seconds timeout{TIMEOUT_NS / SECOND_NS};
constexpr auto far_away = std::chrono::steady_clock::time_point::max() - timeout;
constexpr canopy::key<struct part> key{"key"};
constexpr canopy::cause closed{-EPIPE, "closed"};
std::optional<canopy::loop> loop;

uintptr_t word(const void *pointer)
{
    return reinterpret_cast<uintptr_t>(pointer);
}

} // namespace

void pair_enter(struct scene *, struct part *)
{
    loop.emplace();
    if (!*loop)
        pair_fail();
}

void pair_leave(struct scene *, struct part *)
{
    loop.reset();
}

void pair_create(struct scene *scene, struct part *)
{
    REPEAT
    {
        canopy::context ctx = canopy::with_cancel(scene->parent);
        if (!ctx)
            pair_fail();
    }
}

void pair_cancel(struct scene *scene, struct part *)
{
    REPEAT
    {
        canopy::context ctx = canopy::with_cancel(scene->parent);
        if (!ctx || !ctx.cancel(closed))
            pair_fail();
    }
}

void pair_timeout(struct scene *scene, struct part *)
{
    REPEAT
    {
        canopy::context ctx = canopy::with_timeout(scene->parent, timeout);
        if (!ctx)
            pair_fail();
    }
}

void pair_deadline(struct scene *scene, struct part *)
{
    canopy::context ctx = canopy::with_cancel(scene->parent);
    if (!ctx)
        pair_fail();
    REPEAT
    {
        if (!ctx.set_deadline(far_away))
            pair_fail();
        auto deadline = ctx.deadline();
        if (!deadline)
            pair_fail();
        pair_keep(static_cast<uintptr_t>(deadline->time_since_epoch().count()));
        if (!ctx.set_deadline(canopy::never))
            pair_fail();
    }
}

void pair_moved(struct scene *scene, struct part *)
{
    REPEAT
    {
        canopy::context made = canopy::with_cancel(scene->parent);
        if (!made)
            pair_fail();
        canopy::context next = std::move(made);
        canopy::context child = canopy::with_cancel(next);
        if (!child)
            pair_fail();
    }
}

static __attribute__((noinline)) canopy::context make(canopy::context_ref parent)
{
    return canopy::with_cancel(parent);
}

void pair_returned(struct scene *scene, struct part *)
{
    REPEAT
    {
        canopy::context ctx = make(scene->parent);
        if (!ctx)
            pair_fail();
    }
}

void pair_value(struct scene *scene, struct part *part)
{
    REPEAT
    {
        canopy::context ctx = canopy::with_value(scene->parent, key, part);
        if (!ctx)
            pair_fail();
        pair_keep(word(ctx.value(key)));
    }
}

static __attribute__((noinline)) int look(canopy::context_ref ctx)
{
    if (ctx.done())
        return ctx.cause_of()->code;
    return ctx.err();
}

void pair_observe(struct scene *scene, struct part *)
{
    REPEAT pair_keep(static_cast<uintptr_t>(look(scene->parent)));
}

void pair_callback(struct scene *scene, struct part *part)
{
    REPEAT
    {
        canopy::callback callback{canopy::context_ref{scene->parent}, [part] { part->random++; }};
        if (!callback)
            pair_fail();
    }
}

void pair_callback_run(struct scene *scene, struct part *part)
{
    REPEAT
    {
        canopy::context ctx = canopy::with_cancel(scene->parent);
        if (!ctx)
            pair_fail();
        canopy::callback callback{ctx, [part] { part->random++; }};
        if (!callback)
            pair_fail();
        ctx.cancel();
    }
}

void pair_loop_callback(struct scene *scene, struct part *part)
{
    REPEAT
    {
        canopy::loop_callback callback{canopy::context_ref{scene->parent}, *loop,
                                       [part] { part->random++; }};
        if (!callback)
            pair_fail();
    }
}

void pair_planted(struct scene *scene, struct part *part)
{
    for (unsigned more = 0; more < 2; more++)
        pair_create(scene, part);
}
