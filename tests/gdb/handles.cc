/*
 * handles.cc - the frame in which a scene stands still: handles of C++, and what the C
 * interface tells of a context.
 */
#include <canopy/canopy.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "scene.h"

static const void *volatile kept;

static int add(void *file, const char *bytes, size_t n)
{
    return std::fwrite(bytes, 1, n, static_cast<std::FILE *>(file)) == n ? 0 : -1;
}

static void write_dump(const char *path)
{
    std::FILE *file = std::fopen(path, "w");
    if (!file || canopy_dump(nullptr, CANOPY_FORMAT_TEXT, add, file) != 0 || std::fclose(file) != 0)
        std::abort();
}

extern "C" void stand_still(canopy_ctx *request, const char *dump)
{
    canopy::context_ref ref{request};
    canopy::context owner = canopy::with_cancel(ref);
    const canopy_cause *cause = CANOPY_CANCELED;
    const canopy_ctx *background = canopy_background();
    canopy_ctx *forged = reinterpret_cast<canopy_ctx *>(0x123456789abcd0);
    canopy_ctx *none = nullptr;
    canopy_ctx *gone = canopy_with_cancel(request);
    canopy_release(gone);
    canopy_info info{};
    (void)canopy_inspect(canopy_id(request), &info, sizeof info);
    kept = &ref, kept = &owner, kept = &cause, kept = &background;
    kept = &forged, kept = &none, kept = &gone, kept = &info;
    if (dump)
        write_dump(dump);
    std::raise(SIGTRAP);
}
