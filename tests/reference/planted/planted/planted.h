/*
 * planted.h - what the check of the headers' comments must find: each name with
 * "bare" in it has none. Nothing is built from it.
 */
#ifndef CANOPY_PLANTED_H
#define CANOPY_PLANTED_H

#define CANOPY_PLANTED_BARE 1

/* A macro with a comment above its condition. */
#if defined(__cplusplus)
#define CANOPY_PLANTED 1
#else
#define CANOPY_PLANTED 2
#endif

/* The comment of two. */
int canopy_planted(void);
int canopy_planted_too(void);

int canopy_planted_bare(void);

extern const int canopy_planted_bare_variable;

typedef int canopy_planted_bare_type;

/* Names canopy_planted_elsewhere, which is not there; canopy_planted_* is no name. */
typedef struct canopy_planted_record {
    int told; /* trailing */
    int bare;
    /* Above two. */
    int first;
    int second;
    int canopy_own;
} canopy_planted_record;

/* A choice. */
typedef enum canopy_planted_choice {
    CANOPY_PLANTED_TOLD, /* told */
    CANOPY_PLANTED_UNTOLD
} canopy_planted_choice;

#endif
