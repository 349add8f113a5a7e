/*
 * release_walk.c - contexts are released beside somebody who looks at them: LOOKED
 * of src/tree/children.c, as the clock uses it in src/time/expire.c. Promises 12, 18.
 *
 * The clock meets a leaf in its slab, tags the leaf's slot, and goes up from there,
 * reading plain fields. One thread takes the leaf out of the tree, another its
 * parent as soon as the leaf has left it; each is freed at once, which is a plain
 * write to it, or after a grace period. What the clock reads must not race with that.
 *
 * Weakened: 1 the tag does not matter to who unregisters, 2 the leaf's tag is not
 * handed on to the parent, 3 it is handed on after the slot was let go, 4 the clock
 * goes up though the leaf has left its slot, 5 nobody waits for a grace period.
 */
#include "model.h"

#define OCCUPIED 2u
#define LOOKED   1u

#define ARMED 1u
#define NEVER 2u

struct node {
    struct node *parent; /* plain: read only by who may, written again in the next life */
    _Atomic(unsigned) slot;
    _Atomic(unsigned) deadline;
    bool looked;
};

static struct node top, middle, leaf;

static bool look(struct node *node)
{
    unsigned word = load(&node->slot, ACQUIRE);
    while (word != 0 && !(word & LOOKED))
        if (cas(&node->slot, &word, word | LOOKED, ACQ_REL, ACQUIRE))
            return true;
    return word != 0;
}

static void free_node(struct node *node)
{
    node->parent = NULL;
}

static void unregister(struct node *node)
{
    struct node *parent = node->parent;
    unsigned seen = OCCUPIED;
    store(&node->deadline, NEVER, RELAXED);
    if (cas(&node->slot, &seen, 0, ACQ_REL, ACQUIRE)) {
        free_node(node);
        return;
    }
    do {
        if ((seen & LOOKED) && parent != &top && WEAKENED != 2 && WEAKENED != 3)
            look(parent);
    } while (!cas(&node->slot, &seen, 0, ACQ_REL, ACQUIRE));
    if (WEAKENED == 3 && parent != &top)
        look(parent);
    if (WEAKENED == 1)
        free_node(node);
    else
        node->looked = true;
}

/* The last reference goes. */
static void end(struct node *node)
{
    unregister(node);
    if (node->looked) {
        if (WEAKENED != 5)
            grace_period();
        free_node(node);
    }
}

static void *leaf_owner(void *arg)
{
    end(&leaf);
    return arg;
}

/* Its handle goes; the middle itself only when no child keeps it. */
static void *middle_owner(void *arg)
{
    __VERIFIER_assume(load(&leaf.slot, SEQ_CST) == 0);
    end(&middle);
    return arg;
}

static void *clock_look(void *arg)
{
    section_begin();
    if (load(&leaf.deadline, SEQ_CST) == ARMED) {
        bool there = look(&leaf);
        if (there || WEAKENED == 4)
            for (struct node *node = &leaf; node != &top; node = node->parent)
                assert(node);
    }
    section_end();
    return arg;
}

int main(void)
{
    leaf.parent = &middle;
    middle.parent = &top;
    atomic_init(&leaf.slot, OCCUPIED);
    atomic_init(&middle.slot, OCCUPIED);
    atomic_init(&leaf.deadline, ARMED);
    void *(*const threads[])(void *) = {leaf_owner, middle_owner, clock_look};
    run_threads(threads, 3);
    return 0;
}
