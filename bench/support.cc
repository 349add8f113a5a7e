// support.cc - what several workloads share; see support.h.
#include "support.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

namespace bench
{
namespace
{

// Where the process may run, as it was before anything was pinned.
cpu_set_t find_allowed()
{
    cpu_set_t set;

    sched_getaffinity(0, sizeof set, &set);
    return set;
}

const cpu_set_t allowed = find_allowed();

[[noreturn]] void end_with(int error)
{
    std::fprintf(stderr, "%s\n", std::strerror(error));
    std::exit(1);
}

} // namespace

int64_t now_ns()
{
    timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * second_ns + now.tv_nsec;
}

void check(int result)
{
    if (result != 0)
        end_with(result);
}

void refused()
{
    end_with(errno ? errno : ENOMEM);
}

double resident_bytes()
{
    FILE *file = must(std::fopen("/proc/self/statm", "r"));
    long pages = 0;

    if (std::fscanf(file, "%*s %ld", &pages) != 1)
        check(EIO);
    std::fclose(file);
    return static_cast<double>(pages) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

bool in_child(const std::function<double()> &measure, double &result)
{
    int ends[2];

    check(pipe(ends) == 0 ? 0 : errno);
    const pid_t child = fork();
    if (child == 0) {
        result = measure();
        _exit(write(ends[1], &result, sizeof result) == sizeof result ? 0 : 1);
    }
    close(ends[1]);
    const bool told = child > 0 && read(ends[0], &result, sizeof result) == sizeof result;
    close(ends[0]);
    if (child > 0)
        waitpid(child, nullptr, 0);
    return told;
}

int cpus()
{
    return CPU_COUNT(&allowed);
}

Pinned::Pinned(int index)
{
    int skip = index % cpus();
    cpu_set_t one;

    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && skip-- == 0) {
            CPU_SET(cpu, &one);
            break;
        }
    }
    check(pthread_setaffinity_np(pthread_self(), sizeof one, &one));
}

Pinned::~Pinned()
{
    check(pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed));
}

} // namespace bench
