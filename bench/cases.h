/*
 * cases.h - the lists of cases; each file bench_<name>.c hands its own to the
 * harness.
 */
#ifndef CANOPY_BENCH_CASES_H
#define CANOPY_BENCH_CASES_H

void bench_add_create(void);
void bench_add_request(void);
void bench_add_cancel(void);
void bench_add_observe(void);
void bench_add_churn(void);
void bench_add_wake(void);
void bench_add_clock(void);
void bench_add_memory(void);

#endif
