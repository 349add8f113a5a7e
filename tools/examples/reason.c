/*
 * reason.c - a cause with text of the moment. A cause is not copied, and must last as
 * long as any context that may report it; so it is bound as a value in a layer above
 * those, whose end frees it.
 *
 *     request        a value layer: the reason, freed with its last reference
 *      +- work       what is cancelled with it
 *          +- ...    whatever is derived from that, and reports the same
 *
 * Prints:
 *     ended: upstream 10.0.0.7 answered 503 after 2 tries
 *     read by who came last: upstream 10.0.0.7 answered 503 after 2 tries
 *     the reason is freed
 */
#include <canopy/canopy.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct reason {
    canopy_cause cause;
    char text[96];
};

static void reason_free(void *reason)
{
    free(reason);
    printf("the reason is freed\n");
}

static const canopy_key reason_key = {"reason", reason_free};

/* A layer that has room for a reason; NULL with errno. */
static canopy_ctx *with_reason(const canopy_ctx *parent)
{
    struct reason *reason = calloc(1, sizeof *reason);
    canopy_ctx *layer = reason ? canopy_with_value(parent, &reason_key, reason) : NULL;
    if (!layer)
        free(reason);
    return layer;
}

/*
 * Cancels `ctx`, which was derived from such a layer. One caller for each layer: the
 * text is written before the cancel, and never after it.
 */
__attribute__((format(printf, 3, 4))) static bool cancel_because(canopy_ctx *ctx, int code,
                                                                 const char *format, ...)
{
    struct reason *reason = canopy_value(ctx, &reason_key);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason->text, sizeof reason->text, format, arguments);
    va_end(arguments);
    reason->cause = (canopy_cause){.code = code, .text = reason->text};
    return canopy_cancel_cause(ctx, &reason->cause);
}

int main(void)
{
    canopy_ctx *request = with_reason(canopy_background());
    canopy_ctx *work = request ? canopy_with_cancel(request) : NULL;
    canopy_ctx *call = work ? canopy_with_cancel(work) : NULL;
    if (!call ||
        !cancel_because(work, 503, "upstream %s answered %d after %d tries", "10.0.0.7", 503, 2))
        return 1;
    printf("ended: %s\n", canopy_cause_of(work)->text);
    canopy_release(request);
    canopy_release(work);
    printf("read by who came last: %s\n", canopy_cause_of(call)->text);
    canopy_release(call);
    return 0;
}
