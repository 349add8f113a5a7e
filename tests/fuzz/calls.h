/*
 * calls.h - what the calls of a program share: how the bytes of a call become
 * arguments. Each call takes the run and its argument bytes.
 */
#ifndef FUZZ_CALLS_H
#define FUZZ_CALLS_H

#include "run.h"

/* The index of a handle. */
int call_pick(const struct run *run, uint8_t arg);

/* One of the causes, or NULL. */
const canopy_cause *call_cause(uint8_t arg);

int64_t call_near_ns(uint8_t arg);
int64_t call_time(const struct run *run, uint8_t arg, int node);

void call_add_handle(struct run *run, canopy_ctx *ctx, int node);

void call_with_cancel(struct run *run, const uint8_t *arg);
void call_without_cancel(struct run *run, const uint8_t *arg);
void call_with_deadline(struct run *run, const uint8_t *arg);
void call_with_timeout(struct run *run, const uint8_t *arg);
void call_with_value(struct run *run, const uint8_t *arg);
void call_with_any(struct run *run, const uint8_t *arg);
void call_with_signals(struct run *run, const uint8_t *arg);

#endif
