/*
 * inside.c - a server that an operator can look into while it works: which requests are
 * stuck, since when, below what; and end one. The operator's side is the command `canopy`,
 * or canopy_answer on a port of the server's own, as here.
 *
 * Prints:
 *     operator: canceled <number>: "stuck since midnight"
 *     GET /slow: stopped, "stuck since midnight"
 */
#include <canopy/inspect.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static int put(void *user, const char *bytes, size_t n)
{
    return fwrite(bytes, 1, n, user) == n ? 0 : -1;
}

int main(void)
{
    char path[64], command[128];
    snprintf(path, sizeof path, "/tmp/inside.%d.canopy", (int)getpid());

    canopy_config config = {.size = sizeof config, .inspect = CANOPY_INSPECT_NOTES};
    canopy_ctx *root = canopy_root_new(&config);
    canopy_listener listener;
    if (!root || canopy_listen(&listener, path, CANOPY_ANSWER_CANCEL) != 0) /* 0: no cancel */
        return 1;
    canopy_name(root, "server");

    canopy_ctx *request = canopy_with_cancel(root);
    canopy_name(request, "GET /slow");
    snprintf(command, sizeof command, "cancel %" PRIu64 " stuck since midnight",
             canopy_id(request));
    printf("operator: ");
    int err = canopy_answer(command, CANOPY_ANSWER_CANCEL, put, stdout);
    printf("GET /slow: stopped, \"%s\"\n", canopy_cause_of(request)->text);

    canopy_end(request);
    canopy_listener_close(&listener);
    return err || canopy_root_free(root) != 0;
}
