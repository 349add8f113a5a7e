/*
 * owner_call.c - one call that changes a context, on a handle of type HANDLE.
 * Must compile where HANDLE is an owner's handle and must not where it is a
 * borrowed view. C and C++ alike.
 */
#include <canopy/canopy.h>

void callee(HANDLE ctx);

void callee(HANDLE ctx)
{
    (void)CALL;
}
