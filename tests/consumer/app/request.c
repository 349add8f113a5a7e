/*
 * request.c - a small program as a user of the installed library would write
 * it in C: a request with a timeout, a value and a call below it. Exits with 0
 * if everything behaved.
 */
#include <canopy/canopy.h>

#include <errno.h>
#include <stdio.h>

static const canopy_key user_key = {"user", NULL};

/* Takes a borrowed view, so it cannot cancel its caller. */
static int call_upstream(const canopy_ctx *ctx)
{
    CANOPY_AUTO canopy_ctx *call = canopy_with_cancel(ctx);
    if (!call || !canopy_value(call, &user_key))
        return -EINVAL;
    return canopy_sleep(call, 60 * INT64_C(1000000000));
}

int main(void)
{
    char user[] = "somebody";
    canopy_ctx *timed = canopy_with_timeout(canopy_background(), 10 * INT64_C(1000000));
    canopy_ctx *request = canopy_with_value(timed, &user_key, user);
    int result = call_upstream(request);
    printf("the call ended with %d: %s\n", result, canopy_cause_of(request)->text);
    int ok = result == -ETIMEDOUT && canopy_cause_of(request) == CANOPY_DEADLINE_EXCEEDED;
    canopy_end(request);
    canopy_end(timed);
    return ok ? 0 : 1;
}
