/*
 * report.c - the hook of a debug build, and the text that it is told.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/upward.h"
#include "debug/shadow.h"

/*
 * The hook. Its two words are set one after the other, `fn` last; no hook is changed
 * while others use canopy, so they belong together.
 *
 * Ordering pairs:
 *   DH1/DH1  `fn` is stored by a release, after `user`, and loaded by an acquire, before it.
 *         Without it the hook is called with what is not its own.
 */
static atomic_word hook_fn, hook_user;

/* What a hook does wrong itself is not told. */
static __thread bool is_in_hook;

int canopy_debug_set_hook(canopy_debug_fn fn, void *user)
{
    word_store_relaxed(&hook_user, (uintptr_t)user);
    word_store_release(&hook_fn, (uintptr_t)fn); /* DH1 */
    return 0;
}

canopy_ctx *canopy_debug_made(canopy_ctx *ctx, const char *file, int line)
{
    if (!shadow_core(ctx, HERE))
        return ctx;
    struct shadow *shadow = shadow_of(ctx);
    pthread_mutex_lock(&shadow_lock);
    shadow->made.file = file;
    shadow->made.line = line;
    pthread_mutex_unlock(&shadow_lock);
    return ctx;
}

/* Text that is cut off where there is no room for more. */
struct text {
    size_t length;
    char bytes[1024];
};

__attribute__((format(printf, 2, 3))) static void append(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = sizeof text->bytes - text->length;
    int length = vsnprintf(text->bytes + text->length, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        text->length += (size_t)length < room ? (size_t)length : room - 1;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* File and line, or what addr2line takes, and the function where the linker knows it. */
static void append_place(struct text *text, const char *before, const canopy_debug_place *place)
{
    Dl_info info;
    if (!place->call)
        return;
    append(text, "%s%s", before, place->call);
    if (place->file) {
        append(text, " at %s:%d", place->file, place->line);
    } else if (place->address && dladdr(place->address, &info) && info.dli_fname) {
        append(text, " at %s+0x%zx", base_name(info.dli_fname),
               (size_t)((const char *)place->address - (const char *)info.dli_fbase));
        if (info.dli_sname)
            append(text, " in %s", info.dli_sname);
    } else if (place->address) {
        append(text, " at %p", place->address);
    }
}

void tell(canopy_debug_report report, const char *what)
{
    canopy_debug_fn fn = (canopy_debug_fn)word_load_acquire(&hook_fn); /* DH1 */
    if (!fn || is_in_hook)
        return;
    struct text text = {0};
    if (report.ctx)
        append(&text, "%p ", (const void *)report.ctx);
    append(&text, "%s", what);
    append_place(&text, ": ", &report.here);
    append_place(&text, "; made by ", &report.made);
    append_place(&text, "; released by ", &report.released);
    report.text = text.bytes;
    is_in_hook = true;
    fn(&report, (void *)word_load_relaxed(&hook_user));
    is_in_hook = false;
}

void invariant_broken(const char *what)
{
    tell((canopy_debug_report){.kind = CANOPY_DEBUG_BROKEN}, what);
}
