/*
 * Many threads at once, in all verbs: one plan executed by all, plain calls, failing calls whose texts must not mix, and calls in
 * the children of processes that were in the middle of other calls. Results are compared bit by bit with those of one thread.
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
static float input[2 * 20 * 22 * 12], kernel[5 * 3 * 12 * 24], bias[24], gradient[2 * 40 * 44 * 24];

static const conv2d_params conv = { .struct_size = sizeof conv, .batch = 2, .height = 20, .width = 22, .in_channels = 12,
                                    .out_channels = 24, .kernel_height = 5, .kernel_width = 3,
                                    .padding = CONVOLUTION_PADDING_SAME, .activation = CONVOLUTION_ACTIVATION_TANH };
static const conv2d_transpose_params transposed = { .struct_size = sizeof transposed, .batch = 2, .height = 20, .width = 22,
                                                    .in_channels = 12, .out_channels = 24, .kernel_height = 5, .kernel_width = 3,
                                                    .stride_height = 2, .stride_width = 2, .padding = CONVOLUTION_PADDING_SAME };
static const upsample2d_params upsampled = { .struct_size = sizeof upsampled, .batch = 2, .height = 20, .width = 22,
                                             .channels = 12, .output_height = 211, .output_width = 230,
                                             .interpolation = UPSAMPLE2D_BILINEAR };
/* Whose gradient is as large as the others' results. */
static const upsample2d_params enlarged = { .struct_size = sizeof enlarged, .batch = 2, .height = 20, .width = 22, .channels = 12,
                                            .factor_height = 2, .factor_width = 2, .interpolation = UPSAMPLE2D_BICUBIC };
/* A border that repeats its input is folded back. */
static const conv2d_params reflected = { .struct_size = sizeof reflected, .batch = 2, .height = 20, .width = 22,
                                         .in_channels = 12, .out_channels = 24, .kernel_height = 5, .kernel_width = 3,
                                         .padding = CONVOLUTION_PADDING_SAME, .padding_mode = CONVOLUTION_PADDING_MODE_REFLECT };
static const conv2d_params after = { .struct_size = sizeof after, .out_channels = 24, .kernel_height = 5, .kernel_width = 3,
                                     .padding = CONVOLUTION_PADDING_SAME };
static const conv2d_params small = { .struct_size = sizeof small, .batch = 2, .height = 6, .width = 6, .in_channels = 2,
                                     .out_channels = 3, .kernel_height = 3, .kernel_width = 3 };

enum { CONV, TRANSPOSE, UPSAMPLE, BOTH, BANDS, INPUT_GRADIENT, KERNEL_GRADIENT, BIAS_GRADIENT, TRANSPOSE_GRADIENT,
       UPSAMPLE_GRADIENT, GRAM, SOLVE, MATRIX, VERBS };
static float *reference[VERBS], *outputs[THREADS];
static const size_t elements[VERBS] = { 2 * 20 * 22 * 24, 2 * 40 * 44 * 24, 2 * 211 * 230 * 12, 2 * 40 * 44 * 24,
                                        2 * 40 * 44 * 24, 2 * 20 * 22 * 12, 5 * 3 * 12 * 24, 24, 2 * 20 * 22 * 12,
                                        2 * 20 * 22 * 12, 2 * 20 * 22 * 12, 2 * 6 * 6 * 2, 4 * 4 * 3 * 6 * 6 * 2 };
#define MOST_ELEMENTS ((size_t)(2 * 211 * 230 * 12))

static conv2d_plan *conv_plan;
static conv2d_transpose_plan *transposed_plan;
static upsample2d_plan *upsampled_plan;
static upsample2d_conv2d_plan *both_plan, *bands_plan;
static conv2d_backward_input_plan *gradient_plan;
static conv2d_transpose_backward_input_plan *transposed_gradient_plan;
static conv2d_backward_kernel_plan *kernel_gradient_plan;
static upsample2d_backward_plan *upsampled_gradient_plan;

/* upsample2d_conv2d by phases (nearest), and by bands of rows. */
static upsample2d_params fused(int verb) {
    upsample2d_params p = enlarged;
    p.interpolation = verb == BOTH ? UPSAMPLE2D_NEAREST : UPSAMPLE2D_BICUBIC;
    return p;
}

static int32_t plain(int verb, int32_t threads, float *output) {
    conv2d_params c = conv, r = reflected, a = after, s = small;
    conv2d_transpose_params t = transposed;
    upsample2d_params u = upsampled, e = enlarged, f = fused(verb);
    conv2d_solve_params few = { .struct_size = sizeof few, .max_iterations = 4 };
    c.threads = r.threads = a.threads = s.threads = t.threads = u.threads = e.threads = f.threads = threads;
    switch (verb) {
    case CONV: return conv2d(&c, input, kernel, bias, output);
    case TRANSPOSE: return conv2d_transpose(&t, input, kernel, bias, output);
    case UPSAMPLE: return upsample2d(&u, input, output);
    case BOTH:
    case BANDS: return upsample2d_conv2d(&f, &a, input, kernel, bias, output);
    case INPUT_GRADIENT: return conv2d_backward_input(&r, gradient, kernel, output);
    case KERNEL_GRADIENT: return conv2d_backward_kernel(&c, input, gradient, output);
    case BIAS_GRADIENT: return conv2d_backward_bias(&c, gradient, output);
    case TRANSPOSE_GRADIENT: return conv2d_transpose_backward_input(&t, gradient, kernel, output);
    case UPSAMPLE_GRADIENT: return upsample2d_backward(&e, gradient, output);
    case GRAM: return conv2d_gram(&c, kernel, input, output);
    case SOLVE: return conv2d_solve(&s, &few, kernel, bias, gradient, output, NULL);
    default: return conv2d_matrix(&s, kernel, output, (int64_t)elements[MATRIX]);
    }
}

static int32_t planned(int verb, float *output) {
    switch (verb) {
    case CONV: return conv2d_plan_execute(conv_plan, input, output);
    case TRANSPOSE: return conv2d_transpose_plan_execute(transposed_plan, input, output);
    case UPSAMPLE: return upsample2d_plan_execute(upsampled_plan, input, output);
    case BOTH: return upsample2d_conv2d_plan_execute(both_plan, input, output);
    case BANDS: return upsample2d_conv2d_plan_execute(bands_plan, input, output);
    case INPUT_GRADIENT: return conv2d_backward_input_plan_execute(gradient_plan, gradient, output);
    case KERNEL_GRADIENT: return conv2d_backward_kernel_plan_execute(kernel_gradient_plan, input, gradient, output);
    case TRANSPOSE_GRADIENT: return conv2d_transpose_backward_input_plan_execute(transposed_gradient_plan, gradient, output);
    case UPSAMPLE_GRADIENT: return upsample2d_backward_plan_execute(upsampled_gradient_plan, gradient, output);
    default: return plain(verb, 2, output);
    }
}

static int32_t make_plans(void) {
    upsample2d_params nearest = fused(BOTH), bicubic = fused(BANDS);
    int32_t statuses[] = { conv2d_plan_create(&conv, kernel, bias, &conv_plan),
                           conv2d_transpose_plan_create(&transposed, kernel, bias, &transposed_plan),
                           upsample2d_plan_create(&upsampled, &upsampled_plan),
                           upsample2d_conv2d_plan_create(&nearest, &after, kernel, bias, &both_plan),
                           upsample2d_conv2d_plan_create(&bicubic, &after, kernel, bias, &bands_plan),
                           conv2d_backward_input_plan_create(&reflected, kernel, &gradient_plan),
                           conv2d_transpose_backward_input_plan_create(&transposed, kernel, &transposed_gradient_plan),
                           conv2d_backward_kernel_plan_create(&conv, &kernel_gradient_plan),
                           upsample2d_backward_plan_create(&enlarged, &upsampled_gradient_plan) };
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i] != CONVOLUTION_OK) return statuses[i];
    return CONVOLUTION_OK;
}

static void destroy_plans(void) {
    conv2d_plan_destroy(conv_plan);
    conv2d_transpose_plan_destroy(transposed_plan);
    upsample2d_plan_destroy(upsampled_plan);
    upsample2d_conv2d_plan_destroy(both_plan);
    upsample2d_conv2d_plan_destroy(bands_plan);
    conv2d_backward_input_plan_destroy(gradient_plan);
    conv2d_transpose_backward_input_plan_destroy(transposed_gradient_plan);
    conv2d_backward_kernel_plan_destroy(kernel_gradient_plan);
    upsample2d_backward_plan_destroy(upsampled_gradient_plan);
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
        int verb = (work->number + round) % VERBS;
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
        int verb = (work->number + round) % VERBS;
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
        for (int verb = 0; verb < VERBS; verb++) {
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
    for (size_t i = 0; i < sizeof gradient / sizeof *gradient; i++) gradient[i] = (float)((double)(i * 53 % 3001) / 3001 - 0.5);
    for (size_t i = 0; i < sizeof bias / sizeof *bias; i++) bias[i] = (float)i / 7;
    for (int i = 0; i < THREADS; i++) outputs[i] = malloc(MOST_ELEMENTS * sizeof(float));
    for (int verb = 0; verb < VERBS; verb++) {
        reference[verb] = malloc(elements[verb] * sizeof(float));
        if (plain(verb, 1, reference[verb]) != CONVOLUTION_OK) {
            fprintf(stderr, "%s\n", convolution_error_message());
            return 1;
        }
    }
    pthread_barrier_init(&all_ready, NULL, THREADS);
    if (make_plans() != CONVOLUTION_OK) {
        fprintf(stderr, "%s\n", convolution_error_message());
        return 1;
    }
    in_threads("eight threads execute one plan", execute_one_plan);
    in_threads("eight threads make plain calls", call_plainly);
    in_threads("each thread has its own error text", fail_differently);
    if (fork_count > 0) forks();
    destroy_plans();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
