/*
 * release_count.c - the last handle of a parent goes beside a child that comes
 * and goes: S1 to S4 and COUNTED of src/tree/children.c. Promises 10, 11, 12.
 *
 * One thread gives up the parent's only handle. Another holds a child, which keeps
 * the parent, derives a second one, and ends both. The parent is freed exactly
 * once, and not before: the checker reports a touch of freed memory.
 *
 * Weakened: 1 S3 is a release, 2 S1 acquire and release only, 3 the tag is set
 * before the count is raised, 4 a child counts nothing when the handles are gone,
 * 5 a count is not lowered again when the tag could not be set, 6 a child
 * leaves its slot without a release.
 */
#include "model.h"

#define SLOTS   2
#define HANDLE  0x100u
#define CHILD   4u
#define COUNTED 2u

struct parent {
    _Atomic(unsigned) refs;
    _Atomic(unsigned) slots[SLOTS];
};

static struct parent *parent;
static _Atomic(unsigned) times_freed;

static void drop(struct parent *p)
{
    if (add(&p->refs, -1u, ACQ_REL) == 1) {
        add(&times_freed, 1, RELAXED);
        free(p);
    }
}

static void count_slot(struct parent *p, unsigned i)
{
    unsigned word = load(&p->slots[i], SEQ_CST); /* S2 */
    while (word != 0 && !(word & COUNTED)) {
        if (WEAKENED != 3)
            add(&p->refs, 1, RELAXED);
        if (cas(&p->slots[i], &word, word | COUNTED, ACQ_REL, ACQUIRE)) {
            if (WEAKENED == 3)
                add(&p->refs, 1, RELAXED);
            return;
        }
        if (WEAKENED != 3 && WEAKENED != 5)
            add(&p->refs, -1u, ACQ_REL);
    }
}

static void register_child(struct parent *p, unsigned i)
{
    unsigned empty = 0;
    cas(&p->slots[i], &empty, CHILD, ORDER(1, SEQ_CST, RELEASE),
        ORDER(1, SEQ_CST, RELAXED));                       /* S3 */
    if (load(&p->refs, SEQ_CST) < HANDLE && WEAKENED != 4) /* S4 */
        count_slot(p, i);
}

static void unregister_child(struct parent *p, unsigned i)
{
    unsigned word = CHILD;
    while (!cas(&p->slots[i], &word, 0, ORDER(6, ACQ_REL, RELAXED), ORDER(6, ACQUIRE, RELAXED)))
        ;
    if (word & COUNTED)
        drop(p);
}

static void *releaser(void *arg)
{
    struct parent *p = parent;
    unsigned refs = load(&p->refs, RELAXED);
    while (!cas(&p->refs, &refs, refs - HANDLE + 1, ORDER(2, SEQ_CST, ACQ_REL),
                ORDER(2, SEQ_CST, ACQUIRE))) /* S1 */
        ;
    for (unsigned i = 0; i < SLOTS; i++)
        count_slot(p, i);
    drop(p);
    return arg;
}

static void *deriver(void *arg)
{
    struct parent *p = parent;
    register_child(p, 1);
    unregister_child(p, 0);
    unregister_child(p, 1);
    return arg;
}

int main(void)
{
    parent = malloc(sizeof *parent);
    atomic_init(&parent->refs, HANDLE);
    atomic_init(&parent->slots[0], CHILD);
    atomic_init(&parent->slots[1], 0);
    void *(*const threads[])(void *) = {releaser, deriver};
    run_threads(threads, 2);
    assert(load(&times_freed, RELAXED) == 1);
    return 0;
}
