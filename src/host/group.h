/*
 * group.h - what a debug build needs to know of a group's end.
 */
#ifndef CANOPY_GROUP_H
#define CANOPY_GROUP_H

#include "base/base.h"

/* canopy_group_wait; `*has_ended`: this call is the one that ended the group. */
int group_wait(canopy_group *group, bool *has_ended);

#endif
