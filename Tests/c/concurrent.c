/*
 * Many threads at once: one plan executed by all, plain calls, failing calls whose texts must not mix, and calls in the children of
 * processes that were in the middle of other calls. Results are compared bit by bit with those of one thread.
 *
 * usage: concurrent [rounds [forks]]
 *
 * User-mode emulators lose their own locks when a process with several threads forks: there, 0 forks.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "convolution.h"

#define THREADS 8

static int passed, failed, rounds = 25, fork_count = 10;

static void check(const char *what, int condition) {
    if (condition) {
        passed++;
    } else {
        failed++;
        fprintf(stderr, "%s\n", what);
    }
}

/* Not whole numbers: another order of summation would show. Some millions of products: worth more than one thread. */
static float input[2 * 20 * 22 * 12], kernel[5 * 3 * 12 * 24], bias[24];
static float *reference[3], *outputs[THREADS];

static const conv2d_params conv = { .struct_size = sizeof conv, .batch = 2, .height = 20, .width = 22, .in_channels = 12,
                                    .out_channels = 24, .kernel_height = 5, .kernel_width = 3,
                                    .padding = CONVOLUTION_PADDING_SAME, .activation = CONVOLUTION_ACTIVATION_TANH };
static const conv2d_transpose_params transposed = { .struct_size = sizeof transposed, .batch = 2, .height = 20, .width = 22,
                                                    .in_channels = 12, .out_channels = 24, .kernel_height = 5, .kernel_width = 3,
                                                    .stride_height = 2, .stride_width = 2, .padding = CONVOLUTION_PADDING_SAME };
static const upsample2d_params upsampled = { .struct_size = sizeof upsampled, .batch = 2, .height = 20, .width = 22, .channels = 12,
                                             .output_height = 211, .output_width = 230, .interpolation = UPSAMPLE2D_BILINEAR };
static const size_t elements[3] = { 2 * 20 * 22 * 24, 2 * 40 * 44 * 24, 2 * 211 * 230 * 12 };
#define MOST_ELEMENTS ((size_t)(2 * 211 * 230 * 12))

static conv2d_plan *conv_plan;
static conv2d_transpose_plan *transposed_plan;
static upsample2d_plan *upsampled_plan;

static int32_t plain(int verb, int32_t threads, float *output) {
    conv2d_params c = conv;
    conv2d_transpose_params t = transposed;
    upsample2d_params u = upsampled;
    c.threads = t.threads = u.threads = threads;
    return verb == 0 ? conv2d(&c, input, kernel, bias, output)
         : verb == 1 ? conv2d_transpose(&t, input, kernel, bias, output)
         : upsample2d(&u, input, output);
}

static int32_t planned(int verb, float *output) {
    return verb == 0 ? conv2d_plan_execute(conv_plan, input, output)
         : verb == 1 ? conv2d_transpose_plan_execute(transposed_plan, input, output)
         : upsample2d_plan_execute(upsampled_plan, input, output);
}

/* -------------------------------------------------------------------------------------------- what each thread counts */

struct work {
    pthread_t thread;
    int number, wrong;
};

static pthread_barrier_t all_ready;

static void *execute_one_plan(void *argument) {
    struct work *work = argument;
    pthread_barrier_wait(&all_ready);
    for (int round = 0; round < rounds; round++) {
        int verb = (work->number + round) % 3;
        memset(outputs[work->number], 0xFF, elements[verb] * sizeof(float));
        if (planned(verb, outputs[work->number]) != CONVOLUTION_OK ||
            memcmp(outputs[work->number], reference[verb], elements[verb] * sizeof(float)) != 0)
            work->wrong++;
    }
    return NULL;
}

static void *call_plainly(void *argument) {
    struct work *work = argument;
    pthread_barrier_wait(&all_ready);
    for (int round = 0; round < rounds; round++) {
        int verb = (work->number + round) % 3;
        memset(outputs[work->number], 0xFF, elements[verb] * sizeof(float));
        if (plain(verb, 1 + round % 3, outputs[work->number]) != CONVOLUTION_OK ||
            memcmp(outputs[work->number], reference[verb], elements[verb] * sizeof(float)) != 0)
            work->wrong++;
    }
    return NULL;
}

/* Each thread fails in its own way, waits for all others to fail, and finds its own text. */
static void *fail_differently(void *argument) {
    struct work *work = argument;
    char expected[40];
    if (convolution_error_message()[0] != 0) work->wrong++; /* none has failed in this thread yet */
    for (int round = 0; round < rounds; round++) {
        conv2d_params p = conv;
        p.stride_height = -1000 * (work->number + 1) - round;
        snprintf(expected, sizeof expected, "%d", (int)p.stride_height);
        if (conv2d(&p, input, kernel, bias, outputs[work->number]) != CONVOLUTION_ERROR_STRIDE) work->wrong++;
        pthread_barrier_wait(&all_ready);
        if (!strstr(convolution_error_message(), expected)) work->wrong++;
        pthread_barrier_wait(&all_ready);
    }
    return NULL;
}

static void in_threads(const char *what, void *(*body)(void *)) {
    struct work work[THREADS];
    int wrong = 0;
    for (int i = 0; i < THREADS; i++) {
        work[i].number = i, work[i].wrong = 0;
        if (pthread_create(&work[i].thread, NULL, body, &work[i]) != 0) exit(1);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(work[i].thread, NULL);
        check(what, work[i].wrong == 0);
        wrong += work[i].wrong;
    }
    if (wrong) fprintf(stderr, "%s: %d of %d rounds are wrong\n", what, wrong, THREADS * rounds);
}

/* --------------------------------------------------------------------------------------------------------------- fork */

static int stop;

static void *keep_calling(void *argument) {
    struct work *work = argument;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        if (plain(0, 2, outputs[work->number]) != CONVOLUTION_OK) work->wrong++;
    return NULL;
}

static int child_succeeds(void) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        alarm(60); /* a lock that another thread held at the time of the fork would hang this child */
        for (int verb = 0; verb < 3; verb++) {
            if (plain(verb, 2, outputs[0]) != CONVOLUTION_OK) _exit(1);
            if (memcmp(outputs[0], reference[verb], elements[verb] * sizeof(float)) != 0) _exit(2);
            if (planned(verb, outputs[0]) != CONVOLUTION_OK) _exit(3);
            if (memcmp(outputs[0], reference[verb], elements[verb] * sizeof(float)) != 0) _exit(4);
        }
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void forks(void) {
    struct work work[2];
    check("a child of fork computes", child_succeeds());
    for (int i = 0; i < 2; i++) {
        work[i].number = i + 1, work[i].wrong = 0;
        if (pthread_create(&work[i].thread, NULL, keep_calling, &work[i]) != 0) exit(1);
    }
    for (int i = 1; i < fork_count; i++) check("a child computes whose parent was in the middle of calls", child_succeeds());
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++) {
        pthread_join(work[i].thread, NULL);
        check("the parent goes on computing", work[i].wrong == 0);
    }
}

int main(int argc, char **argv) {
    if (argc > 1) rounds = atoi(argv[1]);
    if (argc > 2) fork_count = atoi(argv[2]);
    for (size_t i = 0; i < sizeof input / sizeof *input; i++) input[i] = (float)((double)(i * 37 % 4093) / 4093 - 0.5);
    for (size_t i = 0; i < sizeof kernel / sizeof *kernel; i++) kernel[i] = (float)((double)(i * 91 % 2039) / 2039 - 0.5);
    for (size_t i = 0; i < sizeof bias / sizeof *bias; i++) bias[i] = (float)i / 7;
    for (int i = 0; i < THREADS; i++) outputs[i] = malloc(MOST_ELEMENTS * sizeof(float));
    for (int verb = 0; verb < 3; verb++) {
        reference[verb] = malloc(MOST_ELEMENTS * sizeof(float));
        if (plain(verb, 1, reference[verb]) != CONVOLUTION_OK) {
            fprintf(stderr, "%s\n", convolution_error_message());
            return 1;
        }
    }
    pthread_barrier_init(&all_ready, NULL, THREADS);
    if (conv2d_plan_create(&conv, kernel, bias, &conv_plan) != CONVOLUTION_OK ||
        conv2d_transpose_plan_create(&transposed, kernel, bias, &transposed_plan) != CONVOLUTION_OK ||
        upsample2d_plan_create(&upsampled, &upsampled_plan) != CONVOLUTION_OK) {
        fprintf(stderr, "%s\n", convolution_error_message());
        return 1;
    }
    in_threads("eight threads execute one plan", execute_one_plan);
    in_threads("eight threads make plain calls", call_plainly);
    in_threads("each thread has its own error text", fail_differently);
    if (fork_count > 0) forks();
    conv2d_plan_destroy(conv_plan);
    conv2d_transpose_plan_destroy(transposed_plan);
    upsample2d_plan_destroy(upsampled_plan);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
