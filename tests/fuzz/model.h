/*
 * model.h - what a tree of contexts should look like, in the plainest form: an
 * array of nodes in the order of their birth, so that every parent stands before
 * its children, and loops over it. No pointers into the library are followed, and
 * nothing is fast; it should be possible to check it by reading it once.
 */
#ifndef FUZZ_MODEL_H
#define FUZZ_MODEL_H

#include <canopy/canopy.h>

#define MODEL_NODES   64
#define MODEL_PARENTS 4

enum node_kind {
    NODE_STATIC,   /* background, todo */
    NODE_ROOT,     /* a root with a clock of the host's */
    NODE_CANCEL,   /* with_cancel, with_deadline, with_timeout */
    NODE_VALUE,    /* with_value */
    NODE_DETACHED, /* without_cancel */
    NODE_ANY       /* with_any, with_signals */
};

struct node {
    enum node_kind kind;
    int parents[MODEL_PARENTS]; /* the first one is where values come from */
    int parents_count;
    int handles;         /* references that the program holds */
    int armed;           /* callbacks that keep it */
    bool in_root;        /* under the root, not under background */
    bool has_fd;         /* somebody asked for its done fd */
    int err;             /* 0 while live */
    int64_t deadline_ns; /* its own */
    const canopy_cause *cause;
    const canopy_cause *deadline_cause;
    const canopy_key *key;
    void *value;
    unsigned signals; /* those that end it, a bit each */
};

struct model {
    struct node nodes[MODEL_NODES];
    int count;
    int64_t now_ns;  /* of the root's clock */
    size_t max_live; /* of the root; 0: no limit */
};

/* How the model asks, where the interface leaves a choice, which one was taken. */
typedef const canopy_cause *(*model_observe)(void *arg, int node);

void model_init(struct model *model, int64_t now_ns, size_t max_live);

/* Each returns the new node, born done if need be; the caller made sure of room. */
int model_static(struct model *model);
int model_root(struct model *model);
int model_derive(struct model *model, enum node_kind kind, const int parents[], int count);
int model_with_deadline(struct model *model, int parent, int64_t deadline_ns, bool passed,
                        const canopy_cause *cause);
int model_with_value(struct model *model, int parent, const canopy_key *key, void *value);
/* One more that stands exactly as `node` does. */
int model_copy(struct model *model, int node);

/* True when a constructor under `parent` has to fail with EAGAIN. */
bool model_is_full(const struct model *model, enum node_kind kind, const int parents[], int count);

bool model_cancel(struct model *model, int node, const canopy_cause *cause);
bool model_set_deadline(struct model *model, int node, int64_t deadline_ns);
bool model_try_reset(struct model *model, int node);
/* Signals arrive, and end with `cause` what is held and watches them. */
void model_raise(struct model *model, unsigned signals, const canopy_cause *cause);
bool model_watches(const struct model *model, unsigned signals);

/* Lets time pass. False: what was observed is none of the outcomes allowed. */
bool model_advance(struct model *model, int64_t now_ns, model_observe observe, void *arg);

/* The context whose state a node shares: itself, but for value layers. */
int model_scope(const struct model *model, int node);
bool model_can_end(const struct model *model, int node);
int model_err(const struct model *model, int node);
const canopy_cause *model_cause(const struct model *model, int node);
/* The effective deadline of each node. */
void model_deadlines(const struct model *model, int64_t deadlines_ns[MODEL_NODES]);
int model_err_at(const struct model *model, int node, int64_t now_ns);
bool model_lookup(const struct model *model, int node, const canopy_key *key, void **value);

/* Which nodes have memory: a handle, a callback, or something derived that has. */
void model_held(const struct model *model, bool held[MODEL_NODES]);
/* Whether anything derived from `node` has memory; whether a callback is armed on it. */
bool model_has_derived(const struct model *model, int node);
bool model_has_armed(const struct model *model, int node);

/* The time by which the root's clock has to be called again. */
int64_t model_next(const struct model *model);

#endif
