/*
 * misuse.cc - one statement, STATEMENT, which must not compile; its twin must.
 */
#include "misuse.h"

void callee(canopy::context_ref borrowed, canopy::context &owned, const canopy::context &constant,
            int *number, double *real)
{
    using namespace std::chrono;
    static_cast<void>(borrowed), static_cast<void>(owned), static_cast<void>(constant);
    static_cast<void>(number), static_cast<void>(real);
    STATEMENT;
}
