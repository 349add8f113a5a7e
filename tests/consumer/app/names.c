/*
 * names.c - what the program calls its own: names that the library has inside, too.
 * One that reached over from there would be defined twice.
 */
extern int children_add, futex_wait, library_init, pool_init, rcu_wait, thread_start;
int children_add, futex_wait, library_init, pool_init, rcu_wait, thread_start;
