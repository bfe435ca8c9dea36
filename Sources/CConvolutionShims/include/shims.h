/*
 * What the Swift core needs from the platform, as static inline functions: the same sources then build in Embedded Swift (which
 * cannot import Glibc) and in a normal Swift package. Nothing here knows what a convolution is.
 */
#ifndef CONVOLUTION_SHIMS_H
#define CONVOLUTION_SHIMS_H

#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHIM static inline __attribute__((always_inline))

/* Cache-line aligned memory, or NULL. */
SHIM void *shim_allocate(size_t bytes) {
    void *block = NULL;
    return posix_memalign(&block, 64, bytes ? bytes : 64) == 0 ? block : NULL;
}
SHIM void shim_free(void *block) { free(block); }

/* What the machine could hold at most: a request beyond it is refused before malloc is asked, since Linux grants (and later
 * regrets) almost any request. */
SHIM uint64_t shim_physical_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX;
}

SHIM int32_t shim_processor_count(void) {
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

/* Starts a joinable thread; 0 on success. The caller always has the option to do the work itself. */
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
    thread->body = body;
    thread->context = context;
    return pthread_create(&thread->handle, NULL, shim_thread_main, thread);
}
SHIM void shim_thread_join(shim_thread *thread) { pthread_join(thread->handle, NULL); }

SHIM int64_t shim_atomic_next(int64_t *counter) { return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }
SHIM int32_t shim_atomic_load(const int32_t *value) { return __atomic_load_n(value, __ATOMIC_ACQUIRE); }
SHIM void shim_atomic_store(int32_t *value, int32_t new_value) { __atomic_store_n(value, new_value, __ATOMIC_RELEASE); }

SHIM float shim_expf(float x) { return expf(x); }
SHIM double shim_exp(double x) { return exp(x); }
SHIM float shim_tanhf(float x) { return tanhf(x); }
SHIM double shim_tanh(double x) { return tanh(x); }

/* The compiler's own check, which also asks whether the operating system saves the wide registers. */
#if defined(__x86_64__)
SHIM int32_t shim_has_avx2_fma(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
SHIM int32_t shim_has_avx512(void) {
    return shim_has_avx2_fma() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

#undef SHIM
#endif
