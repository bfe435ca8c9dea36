/*
 * What the Swift core needs from the platform, as static inline functions: the same sources then build in Embedded Swift (which
 * cannot import Glibc) and in a normal Swift package. Nothing here knows what a convolution is.
 */
#ifndef CONVOLUTION_SHIMS_H
#define CONVOLUTION_SHIMS_H

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#include <sys/syscall.h>
#endif

#define SHIM static inline __attribute__((always_inline))

/* Cache-line aligned memory, or NULL. Much of it comes in pages of 2 MiB where the system permits: entering 8000 small ones takes
 * several times as long as packing what they hold. From 32 MiB on malloc takes new ones each time, so that the first should be
 * whole. */
static inline void *shim_allocate(size_t bytes) {
    void *block = NULL;
    const size_t page = (size_t)2 << 20;
    if (posix_memalign(&block, bytes < 16 * page ? 64 : page, bytes ? bytes : 64) != 0) return NULL;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (bytes >= 2 * page) {
        uintptr_t first = ((uintptr_t)block + page - 1) / page * page, end = ((uintptr_t)block + bytes) / page * page;
        if (first < end) madvise((void *)first, end - first, MADV_HUGEPAGE);
    }
#endif
    return block;
}
SHIM void shim_free(void *block) { free(block); }

/* `body` with memory of the stack: malloc and free take a tenth of a tiny convolution, and more where free tidies up the heap. */
#define SHIM_STACK_BYTES 32768
static __attribute__((noinline)) void shim_with_stack(void (*body)(void *context, void *memory), void *context) {
    _Alignas(64) char memory[SHIM_STACK_BYTES];
    body(context, memory);
}

/* What the machine could hold at most: a request beyond it is refused before malloc is asked, since Linux grants (and later
 * regrets) almost any request. */
SHIM uint64_t shim_physical_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX;
}

/* Processors that this thread may run on; those of the machine where the system does not say. */
SHIM int32_t shim_processor_count(void) {
#if defined(__linux__)
    unsigned long mask[64];
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    int32_t permitted = 0;
    for (long i = 0; i < bytes / (long)sizeof *mask; i++) permitted += __builtin_popcountl(mask[i]);
    if (permitted > 0) return permitted;
#endif
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (int32_t)count : 1;
}

SHIM const char *shim_environment(const char *name) { return getenv(name); }
SHIM int32_t shim_strings_equal(const char *a, const char *b) { return strcmp(a, b) == 0; }

/* The shortest of a few precisions that reads back as the same number, so that 0.1 prints as 0.1. */
typedef struct shim_number_text {
    char text[40];
} shim_number_text;
SHIM shim_number_text shim_format_double(double value) {
    shim_number_text number;
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(number.text, sizeof number.text, "%.*g", digits, value);
        if (value != value || strtod(number.text, NULL) == value) break;
    }
    return number;
}

/* One text per thread. Used from one Swift file only: a static inline function has one such buffer per object file. */
#define SHIM_ERROR_CAPACITY 512
SHIM char *shim_error_text(void) {
    static _Thread_local char text[SHIM_ERROR_CAPACITY];
    return text;
}

/* Starts a joinable thread; 0 on success. It leaves all signals to the program's own threads. */
typedef void (*shim_thread_body)(void *context);
typedef struct shim_thread {
    pthread_t handle;
    shim_thread_body body;
    void *context;
} shim_thread;
static void *shim_thread_main(void *thread) {
    shim_thread *self = (shim_thread *)thread;
    self->body(self->context);
    return NULL;
}
SHIM int32_t shim_thread_start(shim_thread *thread, shim_thread_body body, void *context) {
    sigset_t all, before;
    thread->body = body;
    thread->context = context;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int32_t failure = pthread_create(&thread->handle, NULL, shim_thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure;
}
SHIM void shim_thread_join(shim_thread *thread) { pthread_join(thread->handle, NULL); }

/* A lock with two things to wait for: work, and the end of work. */
typedef struct shim_monitor {
    pthread_mutex_t mutex;
    pthread_cond_t work, end;
} shim_monitor;
SHIM void shim_monitor_initialize(shim_monitor *m) {
    pthread_mutex_init(&m->mutex, NULL);
    pthread_cond_init(&m->work, NULL);
    pthread_cond_init(&m->end, NULL);
}
SHIM void shim_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
/* Whoever holds the lock gives it back within a fraction of a microsecond, unless interrupted: sooner than a thread goes to
   sleep. */
SHIM void shim_monitor_lock(shim_monitor *m) {
    for (int32_t i = 0; i < 100; i++) {
        if (pthread_mutex_trylock(&m->mutex) == 0) return;
        shim_pause();
    }
    pthread_mutex_lock(&m->mutex);
}
SHIM void shim_monitor_unlock(shim_monitor *m) { pthread_mutex_unlock(&m->mutex); }
SHIM void shim_monitor_sleep(shim_monitor *m) { pthread_cond_wait(&m->work, &m->mutex); }
SHIM void shim_monitor_wake_one(shim_monitor *m) { pthread_cond_signal(&m->work); }
SHIM void shim_monitor_wake_all(shim_monitor *m) { pthread_cond_broadcast(&m->work); }
SHIM void shim_monitor_await_end(shim_monitor *m) { pthread_cond_wait(&m->end, &m->mutex); }
SHIM void shim_monitor_announce_end(shim_monitor *m) { pthread_cond_broadcast(&m->end); }

/* Memory of the library, zero at first. Used from one Swift file only: a static inline function has one such buffer per object
   file. */
SHIM void *shim_pool_storage(void) {
    static _Alignas(64) char storage[1024];
    return storage;
}
SHIM int32_t shim_process_id(void) { return (int32_t)getpid(); }
/* Runs at exit; of a shared library, when it is unloaded. */
SHIM void shim_at_exit(void (*body)(void)) { atexit(body); }

/* Lets other threads that could run on this core do so. */
SHIM void shim_yield(void) { sched_yield(); }
SHIM int64_t shim_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

SHIM int64_t shim_atomic_next(int64_t *counter) { return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }
/* 1 if *value was `expected` and is now `wanted`. */
SHIM int32_t shim_atomic_exchange(int32_t *value, int32_t expected, int32_t wanted) {
    return __atomic_compare_exchange_n(value, &expected, wanted, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
SHIM int32_t shim_atomic_load(const int32_t *value) { return __atomic_load_n(value, __ATOMIC_ACQUIRE); }
SHIM void shim_atomic_store(int32_t *value, int32_t new_value) { __atomic_store_n(value, new_value, __ATOMIC_RELEASE); }

/* Where the choice of tier is kept, -1 at first. A Swift global would be: to hand out its address counts as writing it, which
   thread sanitizers report. Used from one Swift file only, as above. */
SHIM int32_t *shim_tier_storage(void) {
    static int32_t tier = -1;
    return &tier;
}

/* Stores past the caches are weakly ordered; after this, other threads see those of this thread. */
SHIM void shim_finish_streaming(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

SHIM float shim_expf(float x) { return expf(x); }
SHIM double shim_exp(double x) { return exp(x); }
SHIM float shim_tanhf(float x) { return tanhf(x); }
SHIM double shim_tanh(double x) { return tanh(x); }
SHIM double shim_sin(double x) { return sin(x); }

/* What this processor is, asked once. The compiler's own check brings 5 KB of tables and asks at each start of a process. */
enum { SHIM_IS_KNOWN = 1, SHIM_HAS_AVX2 = 2, SHIM_HAS_AVX512 = 4, SHIM_IS_INTEL = 8 };

static inline __attribute__((noinline)) int32_t shim_ask_processor(void) {
    int32_t found = SHIM_IS_KNOWN;
#if defined(__x86_64__)
    uint32_t a, b, c, d, low, high;
    if (!__get_cpuid(0, &a, &b, &c, &d)) return found;
    if (b == signature_INTEL_ebx && c == signature_INTEL_ecx && d == signature_INTEL_edx) found |= SHIM_IS_INTEL;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_FMA)) return found;
    /* Which registers the operating system saves: bits 1 and 2 for 32 bytes, 5 to 7 for all of 64. */
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2)) return found;
    found |= SHIM_HAS_AVX2;
    const uint32_t parts = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
#if defined(__APPLE__)
    low |= 0xe0; /* Darwin saves them from their first use on, and says so only then. */
#endif
    if ((low & 0xe0) == 0xe0 && (b & parts) == parts) found |= SHIM_HAS_AVX512;
#endif
    return found;
}

SHIM int32_t shim_processor(void) {
    static int32_t known = 0;
    int32_t found = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (!found) {
        found = shim_ask_processor();
        __atomic_store_n(&known, found, __ATOMIC_RELAXED);
    }
    return found;
}

SHIM int32_t shim_has_avx2_fma(void) { return (shim_processor() & SHIM_HAS_AVX2) != 0; }
SHIM int32_t shim_has_avx512(void) { return (shim_processor() & SHIM_HAS_AVX512) != 0; }
/* Intel's processors, on which some ways take longer than others, unlike on AMD's: one of the two units that multiply 64 bytes does
 * all shuffles besides, and what is stored across two cache lines takes twice the time, unless the next store goes on there. */
SHIM int32_t shim_is_intel(void) { return (shim_processor() & SHIM_IS_INTEL) != 0; }

/* The last level of cache, where all of it is any core's: 0 if nobody knows, and on AMD's processors, of whose it is a part. */
SHIM int64_t shim_last_cache_bytes(void) {
#ifdef _SC_LEVEL3_CACHE_SIZE
    long bytes = shim_is_intel() ? sysconf(_SC_LEVEL3_CACHE_SIZE) : 0;
    return bytes > 0 ? bytes : 0;
#else
    return 0;
#endif
}

#undef SHIM
#endif
