/*
 * answer.c - what libFuzzer calls for canopy_answer: its bytes are commands, a line each. Built
 * with clang only, and only when asked for:
 *
 *     cmake --build build/clang --target fuzz_answer
 *     export ASAN_OPTIONS=detect_leaks=0
 *     build/clang/tests/fuzz/fuzz_answer -max_len=4200 -dict=tests/fuzz/answer.dict NEW
 *
 * Each line lies where reading beyond it is seen, and is answered again by a sink that fails.
 */
#include <canopy/inspect.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

static void must(bool holds)
{
    if (!holds)
        abort();
}

struct heard {
    size_t bytes;
    char last;
    bool fails;
};

static int hear(void *user, const char *bytes, size_t n)
{
    struct heard *heard = user;
    must(n > 0);
    if (heard->fails)
        return -EPIPE;
    heard->bytes += n;
    heard->last = bytes[n - 1];
    return 0;
}

static bool is_known(int err)
{
    return err == 0 || err == -EINVAL || err == -EPERM || err == -ESRCH || err == -EALREADY ||
           err == -ENOSYS || err == -EBUSY;
}

static void try_command(const char *command, unsigned flags)
{
    struct heard heard = {0};
    int err = canopy_answer(command, flags, hear, &heard);
    must(is_known(err) && (err == 0 || heard.bytes > 0));
    must(heard.bytes == 0 || heard.last == '\n');
    struct heard none = {.fails = true};
    int again = canopy_answer(command, flags, hear, &none);
    must(again == -EPIPE || (again == 0 && heard.bytes == 0));
}

/* A tree that operators have not cut down yet: root, two below each other, a value. */
struct tree {
    canopy_ctx *root, *a, *b, *layer;
};

static struct tree grow(void)
{
    static const canopy_config config = {.size = sizeof config, .inspect = CANOPY_INSPECT_NOTES};
    struct tree tree = {.root = canopy_root_new(&config)};
    must(tree.root != NULL);
    tree.a = canopy_with_timeout(tree.root, INT64_C(3600000000000));
    tree.b = canopy_with_cancel(tree.a);
    tree.layer = canopy_without_cancel(tree.b);
    canopy_name(tree.a, "request");
    return tree;
}

static void fell(struct tree *tree)
{
    canopy_end(tree->layer);
    canopy_end(tree->b);
    canopy_end(tree->a);
    must(canopy_root_free(tree->root) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    static bool has_tree;
    static struct tree tree;
    if (!has_tree || canopy_err(tree.root)) {
        if (has_tree)
            fell(&tree);
        tree = grow();
        has_tree = true;
    }
    char *line = malloc(size_bytes + 1);
    must(line != NULL);
    if (size_bytes)
        memcpy(line, bytes, size_bytes);
    line[size_bytes] = '\0';
    for (char *at = line, *end; at; at = end ? end + 1 : NULL) {
        end = strchr(at, '\n');
        size_t length = end ? (size_t)(end - at) : strlen(at);
        char *alone = malloc(length + 1);
        must(alone != NULL);
        memcpy(alone, at, length);
        alone[length] = '\0';
        try_command(alone, size_bytes % 2 ? CANOPY_ANSWER_CANCEL : 0);
        free(alone);
    }
    free(line);
    return 0;
}
