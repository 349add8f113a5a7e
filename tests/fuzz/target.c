/*
 * target.c - what libFuzzer calls: its bytes are a program. Built with clang only,
 * and only when asked for: fuzz_target with sanitizers, fuzz_target_fast without
 * for the bulk of the executions. Leaks are seen by the programs' own accounts.
 *
 *     cmake --build build/clang --target fuzz_target_fast
 *     build/clang/tests/fuzz/fuzz_target_fast -max_len=512 -detect_leaks=0 NEW tests/fuzz/corpus
 *
 * The committed corpus is the least that reaches what NEW does:
 *
 *     build/clang/tests/fuzz/fuzz_target_fast -merge=1 -use_counters=0 LEAST NEW
 */
#include "program.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    static unsigned runs;
    program_run(bytes, size_bytes,
                &(struct program_options){.name = "from the fuzzer",
                                          .keep_root = ++runs % PROGRAMS_A_ROOT != 0});
    return 0;
}
