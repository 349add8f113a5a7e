/*
 * target.c - what libFuzzer calls: its bytes are a program. Built with clang only,
 * and only when asked for:
 *
 *     cmake --build build/clang --target fuzz_target
 *     build/clang/tests/fuzz/fuzz_target -max_len=512 NEW_CORPUS tests/fuzz/corpus
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
