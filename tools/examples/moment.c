/*
 * moment.c - what a server is doing at this moment, as a page for a browser: the requests
 * that wait, those that ended, why, and by whom.
 *
 * Prints:
 *     a page of 4 contexts
 */
#include <canopy/inspect.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const canopy_cause client_gone = {.code = -ECONNRESET, .text = "the client went away"};

static int put(void *user, const char *bytes, size_t n)
{
    return fwrite(bytes, 1, n, user) == n ? 0 : -EIO;
}

/* All contexts of this moment, as a page in `path`: 0, or a negative errno. */
static int write_page(const char *path, const char *path_meanwhile)
{
    FILE *file = fopen(path_meanwhile, "w");
    if (!file)
        return -errno;
    int err = canopy_dump(NULL, CANOPY_FORMAT_HTML, put, file);
    if (fclose(file) != 0 && err == 0)
        err = -EIO;
    return err == 0 && rename(path_meanwhile, path) != 0 ? -errno : err;
}

/* How many contexts are in a page; -1: it cannot be read. */
static int contexts_in(const char *path)
{
    char line[4096];
    int count = 0;
    FILE *file = fopen(path, "r");
    if (!file)
        return -1;
    while (fgets(line, sizeof line, file))
        count += strncmp(line, "{\"id\":\"", 7) == 0;
    fclose(file);
    return count;
}

static canopy_ctx *named(canopy_ctx *ctx, const char *name)
{
    if (!ctx)
        abort();
    canopy_name(ctx, name);
    return ctx;
}

int main(void)
{
    canopy_config config = {.size = sizeof config, .inspect = CANOPY_INSPECT_NOTES};
    canopy_ctx *root = named(canopy_root_new(&config), "server");
    canopy_ctx *connection = named(canopy_with_cancel(root), "connection");
    canopy_ctx *stuck = named(canopy_with_timeout(connection, INT64_C(60000000000)), "GET /slow");
    canopy_ctx *gone = named(canopy_with_cancel(connection), "GET /basket");
    canopy_cancel_cause(gone, &client_gone);

    char directory[] = "/tmp/momentXXXXXX", path[64], path_meanwhile[64];
    if (!mkdtemp(directory))
        return 1;
    snprintf(path, sizeof path, "%s/page.html", directory);
    snprintf(path_meanwhile, sizeof path_meanwhile, "%s/page.new", directory);
    int err = write_page(path, path_meanwhile);
    printf("a page of %d contexts\n", contexts_in(path));

    unlink(path);
    rmdir(directory);
    canopy_end(gone);
    canopy_end(stuck);
    canopy_end(connection);
    return err != 0 || canopy_root_free(root) != 0;
}
