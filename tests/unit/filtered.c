/*
 * filtered.c - a process in which a seccomp filter forbids membarrier, from before the
 * program was loaded, as the README asks: both liburcu and canopy find that out, and do
 * without.
 */
#include "harness.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Set in the environment of the program that is loaded under the filter. */
#define FILTERED "CANOPY_TESTS_FILTERED"

static bool forbid_membarrier(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* What would call membarrier: deadlines, a busy parent that ends, memory that is given back. */
static void use_canopy(void)
{
    assert_int_equal(syscall(SYS_membarrier, 0, 0, 0), -1);
    assert_int_equal(errno, EPERM);
    struct fixture fixture;
    fixture_open(&fixture, CANOPY_CLOCK_LIBRARY);
    canopy_ctx *timed = canopy_with_timeout(fixture.root, MILLISECONDS(1));
    assert_true(canopy_wait(timed, now_ns() + SOON));
    canopy_end(timed);
    for (size_t round = 0; round < 100; round++) {
        canopy_ctx *parent = canopy_with_cancel(fixture.root), *children[100];
        for (size_t i = 0; i < 100; i++)
            children[i] = canopy_with_cancel(parent);
        canopy_end(parent);
        for (size_t i = 0; i < 100; i++) {
            assert_ended(children[i], -ECANCELED, CANOPY_CANCELED);
            canopy_release(children[i]);
        }
    }
    fixture_close(&fixture);
}

TEST(core_a_program_that_is_loaded_without_membarrier_does_without)
{
    if (getenv(FILTERED)) {
        use_canopy();
        return;
    }
    char path[4096] = "";
    assert_in_range(readlink("/proc/self/exe", path, sizeof path - 1), 1, sizeof path - 1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv(FILTERED, "1", 1);
        if (!forbid_membarrier())
            _exit(2);
        execl(path, path, "core_a_program_that_is_loaded_without_membarrier_does_without",
              (char *)NULL);
        _exit(3);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
        skip(); /* no filters here: an emulator, a container */
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}
