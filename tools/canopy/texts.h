/*
 * texts.h - names and causes of another process, each read once: many contexts share few.
 */
#ifndef CANOPY_TOOL_TEXTS_H
#define CANOPY_TOOL_TEXTS_H

#include <canopy/canopy.h>

#include "layout.h"

struct texts {
    const struct remote *remote;
    const struct layout *layout;
    void *names, *causes; /* trees, by address */
};

void texts_free(struct texts *texts);

/* NULL where there is none at that address, or no memory. */
const char *texts_name(struct texts *texts, uint64_t address);

/* All of it zero where there is none. */
canopy_cause texts_cause(struct texts *texts, uint64_t address);

/* The same where it may be another one by now. */
canopy_cause texts_cause_anew(struct texts *texts, uint64_t address);

#endif
