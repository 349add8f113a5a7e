// support.cc - what several workloads share; see support.h.
#include "support.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <pthread.h>
#include <sched.h>

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
