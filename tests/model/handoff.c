/*
 * handoff.c - freed objects on their way back to the heap that owns them: the
 * stack of src/base/handoff.h, which many push to and whoever comes takes whole.
 *
 * Two threads push, two take. Every object is taken once, and comes with what was
 * written to it before. No object comes back to the stack while somebody may still
 * look at it as its head: the push compares addresses, and needs no generation.
 *
 * Weakened: 1 the push is relaxed, 2 the take is relaxed, 3 the take is a load and
 * a store, 4 the push is a store.
 */
#include "model.h"

struct object {
    struct object *next;
    unsigned written_before;
    _Atomic(unsigned) taken;
};

static struct object objects[2];
static _Atomic(struct object *) head;

static void push(struct object *object)
{
    object->written_before = 42;
    struct object *top = load(&head, RELAXED);
    do {
        object->next = top;
        if (WEAKENED == 4) {
            store(&head, object, RELEASE);
            return;
        }
    } while (!cas(&head, &top, object, ORDER(1, RELEASE, RELAXED), RELAXED));
}

static void take_all(void)
{
    struct object *object;
    if (WEAKENED == 3) {
        object = load(&head, ACQUIRE);
        store(&head, NULL, RELEASE);
    } else {
        object = swap(&head, NULL, ORDER(2, ACQUIRE, RELAXED));
    }
    while (object) {
        struct object *next = object->next; /* before it is somebody else's */
        assert(object->written_before == 42);
        object->written_before = 0; /* its next life */
        add(&object->taken, 1, RELAXED);
        object = next;
    }
}

static void *first_pusher(void *arg)
{
    push(&objects[0]);
    return arg;
}

static void *second_pusher(void *arg)
{
    push(&objects[1]);
    return arg;
}

static void *taker(void *arg)
{
    take_all();
    return arg;
}

int main(void)
{
    void *(*const threads[])(void *) = {first_pusher, second_pusher, taker, taker};
    run_threads(threads, 4);
    take_all();
    for (unsigned i = 0; i < 2; i++)
        assert(load(&objects[i].taken, RELAXED) == 1);
    return 0;
}
