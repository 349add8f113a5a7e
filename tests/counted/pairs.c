/*
 * pairs.c - the table of what is written in both languages.
 */
#include "pairs.h"

#define PAIR_CASE(name_)                                                                           \
    {.name = #name_,                                                                               \
     .parent = UNDER_SHARED,                                                                       \
     .operations = BATCH,                                                                          \
     .enter = pair_enter,                                                                          \
     .work = pair_##name_,                                                                         \
     .leave = pair_leave},

const struct counted_case counted_cases[] = {PAIRS(PAIR_CASE){.name = NULL}};

void pair_fail(void)
{
    must(NULL);
    abort();
}
