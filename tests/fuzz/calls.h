/*
 * calls.h - the calls of a program, and what they share: how the bytes of a call
 * become arguments. Each call takes the run and its argument bytes.
 */
#ifndef FUZZ_CALLS_H
#define FUZZ_CALLS_H

#include "run.h"

/* Makes the call that `call` names; in calls.c. */
void call_make(struct run *run, const struct call *call);

/* The index of a handle. */
int call_pick(const struct run *run, uint8_t arg);

/* One of the causes, or NULL. */
const canopy_cause *call_cause(uint8_t arg);

int64_t call_near_ns(uint8_t arg);
int64_t call_time(const struct run *run, uint8_t arg, int node);

/* Real time by which everything has happened that is going to. */
int64_t call_soon_ns(void);

/* The number of one of the signals that programs use. */
int call_signal(int n);

void call_add_handle(struct run *run, canopy_ctx *ctx, int node);

/* derive.c */
void call_with_cancel(struct run *run, const uint8_t *arg);
void call_without_cancel(struct run *run, const uint8_t *arg);
void call_with_deadline(struct run *run, const uint8_t *arg);
void call_with_timeout(struct run *run, const uint8_t *arg);
void call_with_value(struct run *run, const uint8_t *arg);
void call_with_any(struct run *run, const uint8_t *arg);
void call_with_signals(struct run *run, const uint8_t *arg);

/* crowd.c */
void call_crowd(struct run *run, const uint8_t *arg);
void call_crowd_thin(struct run *run, const uint8_t *arg);
void call_crowd_cancel(struct run *run, const uint8_t *arg);
void call_crowd_pick(struct run *run, const uint8_t *arg);
void call_chain(struct run *run, const uint8_t *arg);
void crowd_end(struct run *run, struct crowd *crowd);

/* waits.c */
void call_err_at(struct run *run, const uint8_t *arg);
void call_wait(struct run *run, const uint8_t *arg);
void call_wait_any(struct run *run, const uint8_t *arg);
void call_done_fd(struct run *run, const uint8_t *arg);
void call_wait_idle(struct run *run, const uint8_t *arg);
void call_root_free(struct run *run, const uint8_t *arg);

/* refuse.c */
void call_bad_input(struct run *run, const uint8_t *arg);

/* threads.c */
void call_switch_thread(struct run *run, const uint8_t *arg);
void call_end_thread(struct run *run, const uint8_t *arg);
void call_group(struct run *run, const uint8_t *arg);
void call_wake(struct run *run, const uint8_t *arg);
void call_raise(struct run *run, const uint8_t *arg);
void call_real_timeout(struct run *run, const uint8_t *arg);

#endif
