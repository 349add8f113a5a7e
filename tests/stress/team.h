/*
 * team.h - the threads that run a scenario, for the main program alone.
 */
#ifndef CANOPY_TESTS_TEAM_H
#define CANOPY_TESTS_TEAM_H

#include <stdint.h>

/* How long one root and one set of threads serve. */
#define TEAM_CHAPTER_NS INT64_C(200000000)

/*
 * Runs rounds of the current scenario until `until_ns`, with new threads under
 * a new root, and sees to it that nothing is left. Adds what was counted to
 * `counts`; returns the number of rounds.
 */
uint64_t team_chapter(uint64_t chapter, int64_t until_ns, uint64_t counts[]);

#endif
