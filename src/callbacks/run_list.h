/*
 * run_list.h - claimed callbacks that wait for their turn on the thread that is to run
 * them, from where any thread may take one back.
 *
 * A record that waits names its list (record.h), and the list is guarded by one of a few
 * static locks, which its address chooses: so who wants a record back can take the lock
 * without knowing whether the list is still there, and looks under it whether the record
 * still names the list. While it does, the list is there: whoever runs it lets go of
 * its memory only after it has found it empty, under the same lock. The locks are held
 * for some instructions, never over code of the user's.
 *
 * After a fork a list of before is the parent process's, and gives out nothing more.
 */
#ifndef CANOPY_RUN_LIST_H
#define CANOPY_RUN_LIST_H

#include "base/base.h"

struct run_list {
    struct canopy_callback *first; /* linked through canopy_next; canopy_at leads back */
    struct canopy_callback **last;
    uint64_t runner; /* who is to run it, see base.h */
    uint32_t fork_generation;
};

/* Empty, and `runner`'s to run. */
void run_list_open(struct run_list *list, uint64_t runner);

/* Adds a chain of records at the end, in their order. From any thread. */
void run_list_add(struct run_list *list, struct canopy_callback *records);

/* The first one, which then counts as running on the list's runner; NULL: there is none. */
struct canopy_callback *run_list_pop(struct run_list *list);

/*
 * `seen` is a word that said in which list the record waits. Take: true, it has not run,
 * and is out; runner: who will run it. False or 0 if it does not wait there any more.
 */
bool run_list_take(struct canopy_callback *record, uint64_t seen);
uint64_t run_list_runner(struct canopy_callback *record, uint64_t seen);

/* In a child process nobody holds a lock. */
void run_list_fork_child(void);

#endif
