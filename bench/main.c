/*
 * main.c - canopy_bench: all cases, in the order in which a table shows them.
 */
#include "cases.h"
#include "harness.h"

int main(int argc, char **argv)
{
    bench_add_create();
    bench_add_request();
    bench_add_churn();
    bench_add_observe();
    bench_add_cancel();
    bench_add_wake();
    bench_add_clock();
    bench_add_memory();
    return bench_main(argc, argv);
}
