/*
 * system_calls.c - counts the system calls of the working thread between
 * count_begin and count_end. There are to be none, but those that wake others. None is
 * there to interrupt others: who has its root or its stripe to itself has nobody to fence.
 *
 * A seccomp filter turns each into a SIGSYS, whose handler notes its number and
 * then makes it on the thread's behalf, with the one instruction that the
 * filter lets through.
 */
#include "counted.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

static const char *const names[] = {
#include "system_call_names.h"
};
#define NUMBERS (sizeof names / sizeof names[0])

static atomic_ullong counts[NUMBERS];
static atomic_ullong wakes;
static __thread bool counting;

/* What lies behind the instruction, which is what a filter gets to see. */
extern const char counted_let_through[];

__attribute__((noinline)) static long let_through(const greg_t *r)
{
    register long r10 __asm__("r10") = r[REG_R10];
    register long r8 __asm__("r8") = r[REG_R8];
    register long r9 __asm__("r9") = r[REG_R9];
    long result = r[REG_RAX];

    __asm__ volatile("syscall\ncounted_let_through:"
                     : "+a"(result)
                     : "D"(r[REG_RDI]), "S"(r[REG_RSI]), "d"(r[REG_RDX]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static void on_system_call(int signal, siginfo_t *info, void *context)
{
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

    (void)signal;
    r[REG_RAX] = info->si_syscall;
    if (counting) {
        counting = false;
        if (info->si_syscall == SYS_futex && (r[REG_RSI] & FUTEX_CMD_MASK) == FUTEX_WAKE)
            atomic_fetch_add(&wakes, 1);
        else
            atomic_fetch_add(&counts[(size_t)info->si_syscall % NUMBERS], 1);
        r[REG_RAX] = let_through(r);
        counting = true;
    } else {
        r[REG_RAX] = let_through(r);
    }
}

static void filter_install(void)
{
    const uint64_t at = (uintptr_t)counted_let_through;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 4, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)at, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(at >> 32), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    const struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    struct sigaction action = {.sa_sigaction = on_system_call, .sa_flags = SA_SIGINFO | SA_NODEFER};

    if (sigaction(SIGSYS, &action, NULL) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        must(NULL);
}

void count_begin(unsigned thread)
{
    static __thread bool ready;

    (void)thread;
    if (!ready)
        filter_install();
    ready = true;
    counting = true;
}

void count_end(void)
{
    counting = false;
}

int count_report(const struct counted_case *of, uint64_t operations, uint64_t calls)
{
    int status = EXIT_SUCCESS;

    for (size_t i = 0; i < NUMBERS; i++) {
        unsigned long long n = atomic_load(&counts[i]);
        if (n == 0)
            continue;
        fprintf(stderr, "%s: %llu calls of %s in %llu operations\n", of->name, n,
                names[i] ? names[i] : "a system call without a name",
                (unsigned long long)operations);
        status = EXIT_FAILURE;
    }
    unsigned long long woken = atomic_load(&wakes);
    unsigned long long to_wake = calls * of->wakes;
    if (woken != to_wake) {
        fprintf(stderr, "%s: %llu calls of futex to wake others where there are to be %llu\n",
                of->name, woken, to_wake);
        status = EXIT_FAILURE;
    }
    return status;
}
