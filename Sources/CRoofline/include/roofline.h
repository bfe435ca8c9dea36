/*
 * What this machine can do at most: fused multiply-adds in registers, tier by tier, and copying. Measured, since neither the
 * clock rate under load nor the share of memory that a virtual machine gets is written down anywhere. And a clock.
 */
#ifndef CONVOLUTION_ROOFLINE_H
#define CONVOLUTION_ROOFLINE_H

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double roofline_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Each loop returns its number of floating-point operations. 12 independent sums hide the latency of any processor's multiply-add
 * and, with two operands, fit 16 registers; written one by one, since an array of them may stay in memory. SSE2 has no fused
 * operation: its sum is a multiplication and an addition. */
#define ROOFLINE_STEPS 200000
#define ROOFLINE_LOOP(name, lanes, attribute, step)                                                                         \
    typedef float roofline_##name##_vector __attribute__((ext_vector_type(lanes)));                                         \
    attribute static double roofline_##name(void) {                                                                         \
        volatile float source = 1e-9f;                                                                                      \
        roofline_##name##_vector b = source, a = b + 0.9999999f;                                                            \
        roofline_##name##_vector s0 = b, s1 = 2 * b, s2 = 3 * b, s3 = 4 * b, s4 = 5 * b, s5 = 6 * b, s6 = 7 * b, s7 = 8 * b;\
        roofline_##name##_vector s8 = 9 * b, s9 = 10 * b, s10 = 11 * b, s11 = 12 * b;                                       \
        for (int n = 0; n < ROOFLINE_STEPS; n++) {                                                                          \
            s0 = step(s0, a, b), s1 = step(s1, a, b), s2 = step(s2, a, b), s3 = step(s3, a, b), s4 = step(s4, a, b);        \
            s5 = step(s5, a, b), s6 = step(s6, a, b), s7 = step(s7, a, b), s8 = step(s8, a, b), s9 = step(s9, a, b);        \
            s10 = step(s10, a, b), s11 = step(s11, a, b);                                                                   \
        }                                                                                                                   \
        source = (s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11)[0];                                          \
        return 2.0 * lanes * 12 * ROOFLINE_STEPS;                                                                           \
    }
#define ROOFLINE_FUSED(a, b, c) __builtin_elementwise_fma(a, b, c)
#if defined(__x86_64__)
#define ROOFLINE_SEPARATE(a, b, c) ((a) * (b) + (c))
ROOFLINE_LOOP(baseline, 4, , ROOFLINE_SEPARATE)
ROOFLINE_LOOP(avx2, 8, __attribute__((target("avx2,fma"))), ROOFLINE_FUSED)
ROOFLINE_LOOP(avx512, 16, __attribute__((target("avx512f,fma"))), ROOFLINE_FUSED)
#else
ROOFLINE_LOOP(baseline, 4, , ROOFLINE_FUSED)
#endif

typedef struct roofline_job {
    double (*loop)(void); /* NULL: copy */
    char *from, *to;
    size_t bytes;
    double seconds, rate;
    int32_t *waiting;
} roofline_job;

static inline void *roofline_worker(void *context) {
    roofline_job *job = (roofline_job *)context;
    double work = 0, start, now;
    __atomic_fetch_sub(job->waiting, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(job->waiting, __ATOMIC_ACQUIRE) > 0) {}
    start = roofline_seconds();
    do {
        if (job->loop) {
            work += job->loop();
        } else {
            memcpy(job->to, job->from, job->bytes);
            __asm__ volatile("" : : "r"(job->to) : "memory");
            work += 2.0 * (double)job->bytes;
        }
        now = roofline_seconds();
    } while (now - start < job->seconds);
    job->rate = work / (now - start);
    return NULL;
}

/* The rates of `threads` threads (at most 64) together, in operations or bytes per second: the best of several turns, since what
 * slows a turn is another program. 0 where memory or threads are refused. */
static inline double roofline_run(double (*loop)(void), size_t bytes, int32_t threads) {
    enum { TURNS = 4 };
    roofline_job jobs[64];
    pthread_t handles[64];
    double best = 0;
    if (threads < 1 || threads > 64) return 0;
    char *memory = (char *)malloc(2 * bytes * (size_t)threads + 1);
    if (!memory) return 0;
    memset(memory, 1, 2 * bytes * (size_t)threads);
    for (int turn = 0; turn < TURNS; turn++) {
        int32_t waiting = threads, started = 0;
        double sum = 0;
        for (; started < threads; started++) {
            char *mine = memory + 2 * bytes * (size_t)started;
            jobs[started] = (roofline_job){ loop, mine, mine + bytes, bytes, 0.01, 0, &waiting };
            if (pthread_create(&handles[started], NULL, roofline_worker, &jobs[started]) != 0) break;
        }
        /* Those that run wait for those that could not be started. */
        if (started < threads) __atomic_fetch_sub(&waiting, threads - started, __ATOMIC_ACQ_REL);
        for (int32_t i = 0; i < started; i++) {
            pthread_join(handles[i], NULL);
            sum += jobs[i].rate;
        }
        if (started == threads && sum > best) best = sum;
    }
    free(memory);
    return best;
}

/* Multiply-adds of a tier (as the library names it), in operations per second; 0 for a tier that has no loop here. */
static inline double roofline_multiply_adds(const char *tier, int32_t threads) {
#if defined(__x86_64__)
    if (strcmp(tier, "avx512") == 0) return roofline_run(roofline_avx512, 0, threads);
    if (strcmp(tier, "avx2") == 0) return roofline_run(roofline_avx2, 0, threads);
#endif
    if (strcmp(tier, "baseline") == 0) return roofline_run(roofline_baseline, 0, threads);
    return 0;
}

/* memcpy of a working set of `bytes` (half read, half written, split over the threads), in bytes read and written per second. */
static inline double roofline_copy(size_t bytes, int32_t threads) {
    return roofline_run(NULL, bytes / 2 / (size_t)threads, threads);
}

#endif
