/*
 * explore.h - the explorer's interface: to scenarios, to the library that is
 * compiled for it, and between its own parts.
 *
 * A scenario runs over and over on fibers in one thread, from the same state each
 * time. Between its steps the explorer decides which fiber goes on; it tries the
 * decisions depth first, all those with at most so many preemptions.
 */
#ifndef CANOPY_EXPLORE_H
#define CANOPY_EXPLORE_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <canopy/canopy.h>

/* ------------------------------------------------------------------ scenarios */

enum scenario_clock {
    CLOCK_NONE,
    CLOCK_HOST,   /* only under a root of its own */
    CLOCK_LIBRARY /* the library's thread, whose time passes whenever the search wants it to */
};

struct scenario {
    const char *name;
    void (*run)(void);
    enum scenario_clock clock;
    struct scenario *next;
};
void scenario_register(struct scenario *scenario);

#define SCENARIO_ON(name_, clock_)                                                                 \
    static void name_(void);                                                                       \
    __attribute__((constructor)) static void register_##name_(void)                                \
    {                                                                                              \
        static struct scenario scenario = {#name_, name_, clock_, NULL};                           \
        scenario_register(&scenario);                                                              \
    }                                                                                              \
    static void name_(void)

/* Defines a scenario, explored under background and under a root of its own. */
#define SCENARIO(name) SCENARIO_ON(name, CLOCK_NONE)
/* The same, under a root with a host clock alone. */
#define HOST_SCENARIO(name) SCENARIO_ON(name, CLOCK_HOST)
/* The same, where the library's clock serves both. */
#define CLOCK_SCENARIO(name) SCENARIO_ON(name, CLOCK_LIBRARY)

#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : explore_fail("%s:%d: not true: %s", __FILE__, __LINE__, #condition))

/* Background, or the root of this execution. */
const canopy_ctx *scenario_base(void);
canopy_ctx *scenario_root(void);

/* What the explored fibers do, side by side; returns when all have. Ends with NULL. */
void beside(void (*first)(void), ...) __attribute__((sentinel));

/* Before that, unexplored, the fiber of the first of them does this. */
void before(void (*prepare)(void));

/* As beside, where the beginning and the end of each thread are explored as well. */
void beside_to_the_end(void (*first)(void), ...) __attribute__((sentinel));

/* Everything a scenario made must be gone: checks that it is. */
void scenario_close(void);

/* A signal arrives, and is handled on the calling fiber. */
void scenario_raise(int number);

/* What poll would say of a done fd; and poll itself. */
bool scenario_fd_is_readable(int fd);
void scenario_await_fd(int fd);

void explore_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* ------------------------------------------------------ what the library calls */

#define ACCESS_READ    0U
#define ACCESS_WRITE   1U
#define ACCESS_PLAIN   2U /* no atomic: ordered by what is around it, unless memory is freed */
#define ACCESS_LENIENT 4U /* may meet an object that is free */
#define ACCESS_ADDRESS 8U /* the memory itself is not touched */

/* The atomic operations on words of 4 or 8 bytes; another fiber may run before each. */
enum update { UPDATE_EXCHANGE, UPDATE_ADD };
enum store { STORE_BUFFERED, STORE_FENCED };
uint64_t explore_load(unsigned access, const void *address, size_t bytes);
void explore_store(unsigned access, void *address, size_t bytes, uint64_t value, enum store kind);
uint64_t explore_update(unsigned access, void *address, size_t bytes, enum update update,
                        uint64_t value);
bool explore_cas(unsigned access, void *address, size_t bytes, void *expected, uint64_t value);
void explore_fence(void);

uint64_t explore_thread_self(void);
long explore_syscall(long number, ...);
int explore_nanosleep(const struct timespec *duration, struct timespec *rest);
int explore_clock_gettime(clockid_t clock, struct timespec *now);
int explore_gettid(void);
int explore_getcpu(void);
int explore_eventfd(void);
int explore_sigaction(int number, const struct sigaction *action, struct sigaction *before);
int explore_mutex_lock(pthread_mutex_t *mutex);
int explore_mutex_unlock(pthread_mutex_t *mutex);
int explore_thread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);
pthread_t explore_pthread_self(void);
int explore_thread_join(pthread_t thread, bool waits);
int explore_key_create(pthread_key_t *key, void (*end)(void *));
int explore_setspecific(pthread_key_t key, const void *value);
void *explore_getspecific(pthread_key_t key);
int explore_memalign(void **out, size_t align_bytes, size_t size_bytes);
void *explore_calloc(size_t count, size_t size_bytes);
void explore_release(void *memory);
void *explore_object_taken(void *memory, size_t bytes, bool is_context);
void explore_pool_begin(void);
void *explore_pool_end(void *object);
/* Between the two a fiber's own view of memory is looked at, without a step. */
void explore_look_begin(void);
bool explore_look_end(bool holds);
void *explore_object_given(void *memory, size_t bytes, bool is_context);

#endif
