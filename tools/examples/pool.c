/*
 * pool.c - a server that takes its requests from a pool, in a loop. A request is given
 * back wherever it ends, also inside its own callback, and serves again at once: so its
 * record is dropped, which is right everywhere, and not stopped.
 *
 * Prints:
 *     request 1 in place 0
 *     request 1: answered
 *     request 2 in place 0
 *     request 2: ended, "the upstream took too long"
 *     request 3 in place 0
 *     request 3: answered
 */
#include <canopy/loop.h>
#include <stdio.h>

#define MILLISECONDS(n) ((n)*INT64_C(1000000))

struct request {
    int number;
    canopy_ctx *ctx;
    canopy_loop_callback ended;
    struct request *next_free;
};

static canopy_ctx *root;
static canopy_loop loop;
static struct request places[4], *free_places;

/* From anywhere on the loop's thread, its own callback included. */
static void request_give_back(struct request *r)
{
    canopy_loop_callback_drop(&r->ended); /* canopy looks at the record no more */
    canopy_end(r->ctx);
    r->next_free = free_places;
    free_places = r;
}

static struct request *request_start(int number, void (*ended)(void *request))
{
    struct request *r = free_places;
    free_places = r->next_free;
    r->number = number;
    r->ctx = canopy_with_timeout_cause(root, MILLISECONDS(300),
                                       CANOPY_CAUSE(0, "the upstream took too long"));
    if (!r->ctx || canopy_loop_after_func(r->ctx, &loop, &r->ended, ended, r) != 0)
        return NULL;
    printf("request %d in place %d\n", number, (int)(r - places));
    return r;
}

static void request_answered(struct request *r)
{
    printf("request %d: answered\n", r->number);
    request_give_back(r);
}

/* The next request comes before this one has returned, and gets its place. */
static void request_ended(void *arg)
{
    struct request *r = arg;
    printf("request %d: ended, \"%s\"\n", r->number, canopy_cause_of(r->ctx)->text);
    const int next = r->number + 1;
    request_give_back(r);
    r = request_start(next, request_ended);
    if (r)
        request_answered(r);
}

int main(void)
{
    canopy_config config = {.size = sizeof config, .clock = CANOPY_CLOCK_HOST};
    root = canopy_root_new(&config);
    if (!root || canopy_loop_init(&loop, root) != 0)
        return 1;
    for (int i = 3; i >= 0; i--) {
        places[i].next_free = free_places;
        free_places = &places[i];
    }
    struct request *first = request_start(1, request_ended);
    if (!first)
        return 1;
    request_answered(first);
    if (!request_start(2, request_ended))
        return 1;
    canopy_loop_run(&loop, MILLISECONDS(300)); /* a clock of its own: no time passes */
    if (canopy_loop_close(&loop) != 0)
        return 1;
    while (canopy_root_free(root) != 0)
        canopy_sleep(canopy_background(), MILLISECONDS(1));
    return 0;
}
