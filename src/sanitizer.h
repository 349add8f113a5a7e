/*
 * sanitizer.h - what ThreadSanitizer has to be told, nothing in other builds.
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

#endif
