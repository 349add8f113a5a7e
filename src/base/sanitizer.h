/*
 * sanitizer.h - what sanitizers have to be told: ThreadSanitizer in its own builds, the
 * one that looks for leaks wherever it is in the process.
 */
#ifndef CANOPY_SANITIZER_H
#define CANOPY_SANITIZER_H

#if defined(__SANITIZE_THREAD__)
#define CANOPY_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CANOPY_TSAN 1
#endif
#endif

#ifdef CANOPY_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define tsan_acquire(address) __tsan_acquire((void *)(address))
#define tsan_release(address) __tsan_release((void *)(address))
#else
#define tsan_acquire(address) ((void)(address))
#define tsan_release(address) ((void)(address))
#endif

/* What malloc does not know of would not be searched for what it points to. */
void __lsan_register_root_region(const void *memory, unsigned long bytes) __attribute__((weak));
void __lsan_unregister_root_region(const void *memory, unsigned long bytes) __attribute__((weak));

static inline void lsan_register(const void *memory, unsigned long bytes)
{
    if (__lsan_register_root_region)
        __lsan_register_root_region(memory, bytes);
}

static inline void lsan_unregister(const void *memory, unsigned long bytes)
{
    if (__lsan_unregister_root_region)
        __lsan_unregister_root_region(memory, bytes);
}

#endif
