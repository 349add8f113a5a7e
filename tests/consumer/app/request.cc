/*
 * request.cc - the same as a user would write it in C++, over the C header: a
 * cancel with a cause of its own, a callback and a group. Exits with 0 if
 * everything behaved.
 */
#include <canopy/canopy.h>

#include <cstdio>
#include <memory>

namespace
{
struct ender {
    void operator()(canopy_ctx *ctx) const
    {
        canopy_end(ctx);
    }
};
using owned = std::unique_ptr<canopy_ctx, ender>;

void count(void *runs)
{
    ++*static_cast<int *>(runs);
}

int fail(const canopy_ctx *ctx, void *)
{
    return canopy_err(ctx) == 0 ? -7 : -8;
}
} // namespace

int main()
{
    const canopy_cause *const closed = CANOPY_CAUSE(-32, "the client went away");
    int runs = 0;
    owned connection{canopy_with_cancel(canopy_background())};
    owned request{canopy_with_timeout(connection.get(), CANOPY_NEVER)};
    canopy_callback callback;
    if (canopy_after_func(request.get(), &callback, count, &runs) != 0)
        return 1;

    canopy_group group;
    if (canopy_group_init(&group, request.get(), 1) != 0)
        return 2;
    if (canopy_group_go(&group, fail, nullptr) != 0 || canopy_group_wait(&group) != -7)
        return 3;
    if (!canopy_cancel_cause(connection.get(), closed))
        return 4;
    std::printf("the request ended: %s\n", canopy_cause_of(request.get())->text);
    return runs == 1 && canopy_cause_of(request.get()) == closed ? 0 : 5;
}
