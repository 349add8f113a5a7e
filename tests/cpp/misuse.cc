/*
 * misuse.cc - one statement, STATEMENT, which must not compile; its twin must.
 */
#include <canopy/canopy.hpp>

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

inline constexpr canopy::cause why{1, "why"};
inline constexpr canopy::key<int> number_key{"number"};
inline constexpr canopy::key<std::unique_ptr<int>> owned_key{"owned number"};

void take(canopy::context_ref ctx);
void callee(canopy::context_ref borrowed, canopy::context &owned, const canopy::context &constant,
            int *number, double *real);

void callee(canopy::context_ref borrowed, canopy::context &owned, const canopy::context &constant,
            int *number, double *real)
{
    using namespace std::chrono;
    static_cast<void>(borrowed), static_cast<void>(owned), static_cast<void>(constant);
    static_cast<void>(number), static_cast<void>(real);
    STATEMENT;
}
