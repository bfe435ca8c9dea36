/*
 * Memory runs out, and threads cannot be started: every call answers OUT_OF_MEMORY and has written nothing, or gets by without
 * and gives the right result. Never a crash, never a leak.
 *
 * The functions of malloc's family defined here take the place of libc's for the library as well. Each attempt runs in a child
 * process of its own, so that what the library sets up on its first call is met by the shortage too.
 */
#define OUTPUT_BYTES ((size_t)1 << 19)

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "convolution.h"

/* ---------------------------------------------------------------------------------------------------------- shortage */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

enum { PLENTY, FROM_THEN_ON, ONCE };
static int shortage = PLENTY;
static int64_t requests_before_shortage, denials, live_blocks, live_bytes, most_bytes, requested_bytes;
static int threads_too;
static int (*real_pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static int denied(void) {
    if (shortage == PLENTY) return 0;
    int64_t before = __atomic_fetch_sub(&requests_before_shortage, 1, __ATOMIC_RELAXED);
    if (before > 0 || (shortage == ONCE && before < 0)) return 0;
    __atomic_fetch_add(&denials, 1, __ATOMIC_RELAXED);
    errno = ENOMEM;
    return 1;
}

static void *counted(void *block) {
    if (block) {
        __atomic_fetch_add(&live_blocks, 1, __ATOMIC_RELAXED);
        int64_t live = __atomic_add_fetch(&live_bytes, (int64_t)malloc_usable_size(block), __ATOMIC_RELAXED);
        int64_t most = __atomic_load_n(&most_bytes, __ATOMIC_RELAXED);
        while (live > most && !__atomic_compare_exchange_n(&most_bytes, &most, live, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    }
    return block;
}

void *malloc(size_t size) { return denied() ? NULL : counted(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { return denied() ? NULL : counted(__libc_calloc(count, size)); }
void *memalign(size_t alignment, size_t size) {
    __atomic_fetch_add(&requested_bytes, (int64_t)size, __ATOMIC_RELAXED);
    return denied() ? NULL : counted(__libc_memalign(alignment, size));
}
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void **block, size_t alignment, size_t size) {
    void *made = memalign(alignment, size);
    if (!made) return ENOMEM;
    *block = made;
    return 0;
}
void *realloc(void *block, size_t size) {
    if (!block) return malloc(size);
    return denied() ? NULL : __libc_realloc(block, size);
}
void free(void *block) {
    if (block) {
        __atomic_fetch_sub(&live_blocks, 1, __ATOMIC_RELAXED);
        __atomic_fetch_sub(&live_bytes, (int64_t)malloc_usable_size(block), __ATOMIC_RELAXED);
    }
    __libc_free(block);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument) {
    if (threads_too && denied()) return EAGAIN;
    return real_pthread_create(thread, attributes, body, argument);
}

/* ---------------------------------------------------------------------------------------------------------- the calls */

static double input[1 << 15], kernel[1 << 15], bias[256];
static unsigned char *output, *reference; /* shared with the children */
#define PATTERN 0xA5

#define LAYER .batch = 2, .height = 20, .width = 22, .kernel_height = 3, .kernel_width = 3
static const conv2d_params tiny = { .struct_size = sizeof tiny, .batch = 1, .height = 5, .width = 5, .in_channels = 1,
                                    .out_channels = 2, .kernel_height = 3, .kernel_width = 3, .threads = 1 };
static const conv2d_params wide = { .struct_size = sizeof wide, LAYER, .in_channels = 19, .out_channels = 35,
                                    .padding = CONVOLUTION_PADDING_SAME };
/* Of few pixels and many weights: the plain call packs the pixels, or the kernel where that takes less memory. By one thread: a
   worker might allocate what is its own only after these short calls. */
static const conv2d_params dense = { .struct_size = sizeof dense, .batch = 1, .height = 2, .width = 2, .in_channels = 100,
                                     .out_channels = 200, .kernel_height = 1, .kernel_width = 1, .threads = 1,
                                     .data_format = CONVOLUTION_NCHW };
static const conv2d_params dense_torch = { .struct_size = sizeof dense_torch, .batch = 7, .height = 1, .width = 1,
                                           .in_channels = 100, .out_channels = 200, .kernel_height = 1, .kernel_width = 1,
                                           .threads = 1, .kernel_format = CONVOLUTION_KERNEL_TORCH };
static const conv2d_params grouped = { .struct_size = sizeof grouped, LAYER, .in_channels = 12, .out_channels = 24, .groups = 3,
                                       .data_format = CONVOLUTION_NCHW, .kernel_format = CONVOLUTION_KERNEL_TORCH,
                                       .dtype = CONVOLUTION_FLOAT64, .activation = CONVOLUTION_ACTIVATION_TANH };
static const conv2d_params grouped_linear = { .struct_size = sizeof grouped_linear, LAYER, .in_channels = 12, .out_channels = 24,
                                              .groups = 3, .data_format = CONVOLUTION_NCHW };
static const conv2d_params reflecting = { .struct_size = sizeof reflecting, .batch = 2, .height = 9, .width = 8, .in_channels = 2,
                                          .out_channels = 1, .kernel_height = 3, .kernel_width = 3, .dtype = CONVOLUTION_FLOAT64,
                                          .padding = CONVOLUTION_PADDING_SAME,
                                          .padding_mode = CONVOLUTION_PADDING_MODE_REFLECT };
static const conv2d_params depthwise = { .struct_size = sizeof depthwise, LAYER, .in_channels = 17, .depth_multiplier = 2,
                                         .padding = CONVOLUTION_PADDING_SAME, .padding_mode = CONVOLUTION_PADDING_MODE_REFLECT };
static const conv2d_transpose_params transposed = { .struct_size = sizeof transposed, LAYER, .in_channels = 19, .out_channels = 9,
                                                    .stride_height = 2, .stride_width = 2 };
static const conv2d_transpose_params transposed_nchw = { .struct_size = sizeof transposed_nchw, LAYER, .in_channels = 8,
                                                         .out_channels = 3, .stride_height = 3,
                                                         .rule = CONV2D_TRANSPOSE_RULE_TORCH, .data_format = CONVOLUTION_NCHW };
static const upsample2d_params nearest = { .struct_size = sizeof nearest, .batch = 2, .height = 20, .width = 22, .channels = 9,
                                           .factor_height = 2, .factor_width = 3 };
static const upsample2d_params bilinear = { .struct_size = sizeof bilinear, .batch = 1, .height = 20, .width = 22, .channels = 7,
                                            .output_height = 43, .output_width = 57, .interpolation = UPSAMPLE2D_BILINEAR,
                                            .data_format = CONVOLUTION_NCHW };

static const conv2d_transpose_params small_transposed = { .struct_size = sizeof small_transposed, .batch = 1, .height = 3,
                                                          .width = 3, .in_channels = 1, .out_channels = 2, .kernel_height = 3,
                                                          .kernel_width = 3 };
static const upsample2d_params small_bilinear = { .struct_size = sizeof small_bilinear, .batch = 1, .height = 3, .width = 4,
                                                  .channels = 2, .factor_height = 2, .factor_width = 2,
                                                  .interpolation = UPSAMPLE2D_BILINEAR };

/* upsample2d_conv2d in phases, and in bands. */
static const upsample2d_params repeated = { .struct_size = sizeof repeated, .batch = 2, .height = 20, .width = 22, .channels = 9,
                                            .factor_height = 2, .factor_width = 3 };
static const conv2d_params after = { .struct_size = sizeof after, .out_channels = 8, .kernel_height = 3, .kernel_width = 3 };

enum kind { CONV, CONV_PLAN, CONV_EXECUTE, TRANSPOSE, TRANSPOSE_PLAN, TRANSPOSE_EXECUTE, UPSAMPLE, UPSAMPLE_PLAN,
            UPSAMPLE_EXECUTE, BOTH, BOTH_PLAN, BOTH_EXECUTE, BACK_INPUT, BACK_INPUT_PLAN, BACK_KERNEL, BACK_KERNEL_PLAN,
            BACK_BIAS, TRANSPOSE_BACK_INPUT, TRANSPOSE_BACK_KERNEL, UPSAMPLE_BACK, UPSAMPLE_BACK_PLAN, GRAM, ADJOINT, OVERLAP,
            MATRIX, MATRIX_CSR, TRANSPOSE_MATRIX, UPSAMPLE_MATRIX, SOLVE, RANK };
static const struct scenario {
    const char *name;
    enum kind kind;
    const void *params;
} scenarios[] = {
    { "conv2d, tiny", CONV, &tiny },
    { "conv2d, wide", CONV, &wide },
    { "conv2d, grouped", CONV, &grouped },
    { "conv2d, depthwise", CONV, &depthwise },
    { "conv2d, dense", CONV, &dense },
    { "conv2d, dense, PyTorch's order", CONV, &dense_torch },
    { "conv2d_plan_create, wide", CONV_PLAN, &wide },
    { "conv2d_plan_create, depthwise", CONV_PLAN, &depthwise },
    { "conv2d_plan_execute, wide", CONV_EXECUTE, &wide },
    { "conv2d_plan_execute, grouped", CONV_EXECUTE, &grouped },
    { "conv2d_plan_execute, depthwise", CONV_EXECUTE, &depthwise },
    { "conv2d_transpose", TRANSPOSE, &transposed },
    { "conv2d_transpose, NCHW", TRANSPOSE, &transposed_nchw },
    { "conv2d_transpose_plan_create", TRANSPOSE_PLAN, &transposed },
    { "conv2d_transpose_plan_execute", TRANSPOSE_EXECUTE, &transposed },
    { "conv2d_transpose_plan_execute, NCHW", TRANSPOSE_EXECUTE, &transposed_nchw },
    { "upsample2d, nearest", UPSAMPLE, &nearest },
    { "upsample2d, bilinear", UPSAMPLE, &bilinear },
    { "upsample2d_plan_create", UPSAMPLE_PLAN, &bilinear },
    { "upsample2d_plan_execute", UPSAMPLE_EXECUTE, &bilinear },
    { "upsample2d_conv2d, phases", BOTH, &repeated },
    { "upsample2d_conv2d, bands", BOTH, &bilinear },
    { "upsample2d_conv2d_plan_create, phases", BOTH_PLAN, &repeated },
    { "upsample2d_conv2d_plan_create, bands", BOTH_PLAN, &bilinear },
    { "upsample2d_conv2d_plan_execute, phases", BOTH_EXECUTE, &repeated },
    { "upsample2d_conv2d_plan_execute, bands", BOTH_EXECUTE, &bilinear },
    { "conv2d_backward_input", BACK_INPUT, &wide },
    { "conv2d_backward_input, padded", BACK_INPUT, &depthwise },
    { "conv2d_backward_input_plan", BACK_INPUT_PLAN, &depthwise },
    { "conv2d_backward_kernel", BACK_KERNEL, &wide },
    { "conv2d_backward_kernel, grouped", BACK_KERNEL, &grouped },
    { "conv2d_backward_kernel, depthwise", BACK_KERNEL, &depthwise },
    { "conv2d_backward_kernel_plan", BACK_KERNEL_PLAN, &wide },
    { "conv2d_backward_bias", BACK_BIAS, &wide },
    { "conv2d_transpose_backward_input", TRANSPOSE_BACK_INPUT, &transposed },
    { "conv2d_transpose_backward_kernel", TRANSPOSE_BACK_KERNEL, &transposed },
    { "upsample2d_backward", UPSAMPLE_BACK, &bilinear },
    { "upsample2d_backward_plan", UPSAMPLE_BACK_PLAN, &nearest },
    { "conv2d_gram", GRAM, &reflecting },
    { "conv2d_adjoint_test", ADJOINT, &grouped_linear },
    { "conv2d_transpose_overlap", OVERLAP, &transposed },
    { "conv2d_transpose_matrix_csr", TRANSPOSE_MATRIX, &small_transposed },
    { "upsample2d_matrix", UPSAMPLE_MATRIX, &small_bilinear },
    { "conv2d_matrix", MATRIX, &tiny },
    { "conv2d_matrix_csr", MATRIX_CSR, &tiny },
    { "conv2d_solve", SOLVE, &grouped_linear },
    { "conv2d_solve, reflect", SOLVE, &reflecting },
    { "conv2d_rank_report", RANK, &tiny },
};

static conv2d_plan *conv_plan;
static conv2d_transpose_plan *transpose_plan;
static upsample2d_plan *upsample_plan;
static upsample2d_conv2d_plan *both_plan;
static conv2d_backward_input_plan *back_plan;
static conv2d_backward_kernel_plan *back_kernel_plan;
static upsample2d_backward_plan *upsample_back_plan;

static conv2d_params after_of(const upsample2d_params *upsampling) {
    conv2d_params p = after;
    p.data_format = upsampling->data_format;
    return p;
}

/* What happens before the shortage. */
static int32_t prepare(const struct scenario *s) {
    conv2d_params c;
    switch (s->kind) {
    case CONV_EXECUTE: return conv2d_plan_create(s->params, kernel, bias, &conv_plan);
    case TRANSPOSE_EXECUTE: return conv2d_transpose_plan_create(s->params, kernel, bias, &transpose_plan);
    case UPSAMPLE_EXECUTE: return upsample2d_plan_create(s->params, &upsample_plan);
    case BOTH_EXECUTE: c = after_of(s->params); return upsample2d_conv2d_plan_create(s->params, &c, kernel, bias, &both_plan);
    default: return CONVOLUTION_OK;
    }
}

/* What happens in it. */
static int32_t act(const struct scenario *s) {
    int64_t *indices = (int64_t *)(void *)output;
    conv2d_params c;
    switch (s->kind) {
    case CONV: return conv2d(s->params, input, kernel, bias, output);
    case CONV_PLAN: return conv2d_plan_create(s->params, kernel, bias, &conv_plan);
    case CONV_EXECUTE: return conv2d_plan_execute(conv_plan, input, output);
    case TRANSPOSE: return conv2d_transpose(s->params, input, kernel, bias, output);
    case TRANSPOSE_PLAN: return conv2d_transpose_plan_create(s->params, kernel, bias, &transpose_plan);
    case TRANSPOSE_EXECUTE: return conv2d_transpose_plan_execute(transpose_plan, input, output);
    case UPSAMPLE: return upsample2d(s->params, input, output);
    case UPSAMPLE_PLAN: return upsample2d_plan_create(s->params, &upsample_plan);
    case UPSAMPLE_EXECUTE: return upsample2d_plan_execute(upsample_plan, input, output);
    case BOTH: c = after_of(s->params); return upsample2d_conv2d(s->params, &c, input, kernel, bias, output);
    case BOTH_PLAN: c = after_of(s->params); return upsample2d_conv2d_plan_create(s->params, &c, kernel, bias, &both_plan);
    case BOTH_EXECUTE: return upsample2d_conv2d_plan_execute(both_plan, input, output);
    case BACK_INPUT: return conv2d_backward_input(s->params, input, kernel, output);
    case BACK_INPUT_PLAN: return conv2d_backward_input_plan_create(s->params, kernel, &back_plan);
    case BACK_KERNEL: return conv2d_backward_kernel(s->params, input, kernel, output);
    case BACK_KERNEL_PLAN: return conv2d_backward_kernel_plan_create(s->params, &back_kernel_plan);
    case BACK_BIAS: return conv2d_backward_bias(s->params, input, output);
    case TRANSPOSE_BACK_INPUT: return conv2d_transpose_backward_input(s->params, input, kernel, output);
    case TRANSPOSE_BACK_KERNEL: return conv2d_transpose_backward_kernel(s->params, input, kernel, output);
    case UPSAMPLE_BACK: return upsample2d_backward(s->params, input, output);
    case UPSAMPLE_BACK_PLAN: return upsample2d_backward_plan_create(s->params, &upsample_back_plan);
    case GRAM: return conv2d_gram(s->params, kernel, input, output);
    case ADJOINT: return conv2d_adjoint_test(s->params, kernel, 7, (double *)(void *)output);
    case OVERLAP: return conv2d_transpose_overlap(s->params, indices, 41 * 45);
    case TRANSPOSE_MATRIX: return conv2d_transpose_matrix_csr(s->params, kernel, indices, indices + 1000, indices + 2000, 162);
    case UPSAMPLE_MATRIX: return upsample2d_matrix(s->params, output, 96 * 24);
    case SOLVE: {
        conv2d_solve_params few = { .struct_size = sizeof few, .max_iterations = 3, .lambda = 0.5, .nonnegative = 1 };
        return conv2d_solve(s->params, &few, kernel, bias, input, output, NULL);
    }
    case RANK: {
        conv2d_rank report = { .struct_size = sizeof report };
        int32_t status = conv2d_rank_report(s->params, kernel, &report);
        if (status == CONVOLUTION_OK) memcpy(output, &report, sizeof report);
        else if (report.equations || report.exact) output[0] = 0;
        return status;
    }
    case MATRIX: return conv2d_matrix(s->params, kernel, output, 18 * 25);
    case MATRIX_CSR: return conv2d_matrix_csr(s->params, kernel, indices, indices + 1000, indices + 2000, 18 * 9);
    }
    return -1;
}

/* What happens when there is memory again: a plan that was made must work. */
static int32_t settle(const struct scenario *s, int32_t status) {
    int32_t later = CONVOLUTION_OK;
    if (status == CONVOLUTION_OK) {
        if (s->kind == CONV_PLAN) later = conv2d_plan_execute(conv_plan, input, output);
        if (s->kind == TRANSPOSE_PLAN) later = conv2d_transpose_plan_execute(transpose_plan, input, output);
        if (s->kind == UPSAMPLE_PLAN) later = upsample2d_plan_execute(upsample_plan, input, output);
        if (s->kind == BOTH_PLAN) later = upsample2d_conv2d_plan_execute(both_plan, input, output);
        if (s->kind == BACK_INPUT_PLAN) later = conv2d_backward_input_plan_execute(back_plan, input, output);
        if (s->kind == BACK_KERNEL_PLAN) later = conv2d_backward_kernel_plan_execute(back_kernel_plan, input, kernel, output);
        if (s->kind == UPSAMPLE_BACK_PLAN) later = upsample2d_backward_plan_execute(upsample_back_plan, input, output);
    } else {
        int creates = s->kind == CONV_PLAN || s->kind == TRANSPOSE_PLAN || s->kind == UPSAMPLE_PLAN || s->kind == BOTH_PLAN ||
                      s->kind == BACK_INPUT_PLAN || s->kind == BACK_KERNEL_PLAN || s->kind == UPSAMPLE_BACK_PLAN;
        int made = conv_plan || transpose_plan || upsample_plan || both_plan || back_plan || back_kernel_plan ||
                   upsample_back_plan;
        if (creates && made) later = -1;
    }
    conv2d_plan_destroy(conv_plan);
    conv2d_transpose_plan_destroy(transpose_plan);
    upsample2d_plan_destroy(upsample_plan);
    upsample2d_conv2d_plan_destroy(both_plan);
    conv2d_backward_input_plan_destroy(back_plan);
    conv2d_backward_kernel_plan_destroy(back_kernel_plan);
    upsample2d_backward_plan_destroy(upsample_back_plan);
    conv_plan = NULL, transpose_plan = NULL, upsample_plan = NULL, both_plan = NULL, back_plan = NULL, back_kernel_plan = NULL;
    upsample_back_plan = NULL;
    return later;
}

/* ------------------------------------------------------------------------------------------------------ the children */

enum outcome { UNTOUCHED_BY_SHORTAGE, FINE, WRONG };

static enum outcome complain(const struct scenario *s, int mode, int64_t k, const char *what) {
    fprintf(stderr, "%s, %s request %d on: %s\n", s->name, mode == ONCE ? "only" : "from", (int)k, what);
    return WRONG;
}

static enum outcome attempt(const struct scenario *s, int mode, int64_t k) {
    if (prepare(s) != CONVOLUTION_OK) return complain(s, mode, k, "no plan even with plenty of memory");
    memset(output, PATTERN, OUTPUT_BYTES);
    requests_before_shortage = k;
    shortage = mode;
    int32_t status = act(s);
    shortage = PLENTY;
    if (status != CONVOLUTION_OK && status != CONVOLUTION_ERROR_OUT_OF_MEMORY) return complain(s, mode, k, "another status");
    if (status != CONVOLUTION_OK && !denials) return complain(s, mode, k, "failed though nothing was denied");
    if (status != CONVOLUTION_OK && !strstr(convolution_error_message(), "memory")) return complain(s, mode, k, "no sentence");
    if (settle(s, status) != CONVOLUTION_OK)
        return complain(s, mode, k, "a plan that was made fails, or one that was not made exists");
    if (status == CONVOLUTION_OK && memcmp(output, reference, OUTPUT_BYTES) != 0) return complain(s, mode, k, "another result");
    if (status != CONVOLUTION_OK)
        for (size_t i = 0; i < OUTPUT_BYTES; i++)
            if (output[i] != PATTERN) return complain(s, mode, k, "failed and wrote");
    return denials ? FINE : UNTOUCHED_BY_SHORTAGE;
}

/* How many of a call's requests are denied in turn, and how often a call is repeated in search of a leak. An argument means less
   of both, for emulators: there a child is slow to start, and a multiply-add takes fifty times as long. */
static int64_t most_requests = 1000;
static int rounds = 12;

/* With memory, and again without: what one call allocates and keeps, every further call would. A worker thread that comes late
   keeps what is its own, but not once more in the next search, nor in the one after. */
static enum outcome leak(const struct scenario *s, int mode, int64_t k) {
    for (int search = 0; search < 3; search++) {
        int64_t before = 0;
        for (int round = 0; round < rounds; round++) {
            if (round == rounds / 3) before = live_blocks;
            if (prepare(s) != CONVOLUTION_OK) return complain(s, mode, k, "no plan even with plenty of memory");
            requests_before_shortage = k;
            shortage = mode;
            int32_t status = act(s);
            shortage = PLENTY;
            if (settle(s, status) != CONVOLUTION_OK) return complain(s, mode, k, "no plan");
        }
        if (live_blocks <= before) return FINE;
    }
    return complain(s, mode, k, "leaks");
}

static int passed, failed;

static enum outcome in_child(enum outcome (*body)(const struct scenario *, int, int64_t), const struct scenario *s, int mode,
                             int64_t k) {
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(60); /* a deadlock is a failure, not a wait */
        _exit((int)body(s, mode, k));
    }
    int exited = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status);
    enum outcome outcome = exited ? (enum outcome)WEXITSTATUS(status) : complain(s, mode, k, "crashed");
    if (outcome == WRONG) failed++; else passed++;
    return outcome;
}

/* ..._workspace_size tells what plan and execution ask for; and a limit of the least it names is kept. */
static enum outcome account(const struct scenario *s, int mode, int64_t limited) {
    conv2d_params c = s->kind == BOTH ? after_of(s->params) : s->kind == CONV ? *(const conv2d_params *)s->params : wide;
    conv2d_transpose_params t = s->kind == TRANSPOSE ? *(const conv2d_transpose_params *)s->params : transposed;
    int64_t plan = 0, execution = 0, least = 0;
    for (int round = 0; round <= limited; round++) {
        if (round == 1) c.workspace_limit = t.workspace_limit = least;
        int32_t status = s->kind == CONV   ? conv2d_workspace_size(&c, &plan, &execution, &least)
                         : s->kind == BOTH ? upsample2d_conv2d_workspace_size(s->params, &c, &plan, &execution, &least)
                                           : conv2d_transpose_workspace_size(&t, &plan, &execution, &least);
        if (status != CONVOLUTION_OK) return complain(s, mode, limited, convolution_error_message());
    }
    if (least < 1 || least > execution || (limited && execution != least))
        return complain(s, mode, limited, "sizes that make no sense");
    int64_t before = live_bytes;
    int32_t status = s->kind == CONV   ? conv2d_plan_create(&c, kernel, bias, &conv_plan)
                     : s->kind == BOTH ? upsample2d_conv2d_plan_create(s->params, &c, kernel, bias, &both_plan)
                                       : conv2d_transpose_plan_create(&t, kernel, bias, &transpose_plan);
    if (status != CONVOLUTION_OK) return complain(s, mode, limited, convolution_error_message());
    /* Of up to five blocks, each rounded up. */
    int64_t more = live_bytes - before - plan;
    if (more < 0 || more > 5 * 64) return complain(s, mode, limited, "a plan of another size than was told");
    before = requested_bytes;
    status = s->kind == CONV   ? conv2d_plan_execute(conv_plan, input, output)
             : s->kind == BOTH ? upsample2d_conv2d_plan_execute(both_plan, input, output)
                               : conv2d_transpose_plan_execute(transpose_plan, input, output);
    if (status != CONVOLUTION_OK) return complain(s, mode, limited, convolution_error_message());
    /* Beside it a worker thread or two may be made. Up to 32 KiB may lie on the stack. */
    more = requested_bytes - before;
    if (execution > 32 << 10 || more > 1024) more -= execution;
    if (more < 0 || more > 1024) return complain(s, mode, limited, "another size than was told");
    if (memcmp(output, reference, OUTPUT_BYTES) != 0) return complain(s, mode, limited, "another result");
    /* Without a plan at most both together are held. */
    memset(output, PATTERN, OUTPUT_BYTES);
    before = most_bytes = live_bytes;
    status = s->kind == CONV   ? conv2d(&c, input, kernel, bias, output)
             : s->kind == BOTH ? upsample2d_conv2d(s->params, &c, input, kernel, bias, output)
                               : conv2d_transpose(&t, input, kernel, bias, output);
    if (status != CONVOLUTION_OK) return complain(s, mode, limited, convolution_error_message());
    if (most_bytes - before > plan + execution + 1024) return complain(s, mode, limited, "a call that holds more than was told");
    return memcmp(output, reference, OUTPUT_BYTES) == 0 ? FINE : complain(s, mode, limited, "another result of the plain call");
}

/* An infinite weight in an accumulating transposed convolution: the border is copied, within the limit too. */
static enum outcome account_border(const struct scenario *s, int mode, int64_t number) {
    conv2d_transpose_params t = *(const conv2d_transpose_params *)s->params;
    int64_t least = 0;
    t.accumulate = 1, t.threads = 3;
    kernel[0] = INFINITY;
    if (conv2d_transpose_workspace_size(&t, NULL, NULL, &least)) return complain(s, mode, number, convolution_error_message());
    t.workspace_limit = least;
    int32_t status = conv2d_transpose_plan_create(&t, kernel, bias, &transpose_plan);
    if (status == CONVOLUTION_ERROR_WORKSPACE) {
        const char *needed = strstr(convolution_error_message(), "at least ");
        t.workspace_limit = needed ? strtoll(needed + 9, NULL, 10) : 0;
        if (t.workspace_limit <= least) return complain(s, mode, number, convolution_error_message());
        status = conv2d_transpose_plan_create(&t, kernel, bias, &transpose_plan);
    } else if (s->params == &transposed) { /* others may have a way without a copy */
        return complain(s, mode, number, "no room for the border, and no refusal");
    }
    if (status != CONVOLUTION_OK) return complain(s, mode, number, convolution_error_message());
    int64_t before = requested_bytes;
    memset(output, 0, OUTPUT_BYTES);
    if (conv2d_transpose_plan_execute(transpose_plan, input, output))
        return complain(s, mode, number, convolution_error_message());
    if (requested_bytes - before > t.workspace_limit + 1024) return complain(s, mode, number, "more than the limit");
    conv2d_transpose_plan_destroy(transpose_plan), transpose_plan = NULL;
    t.workspace_limit = 0;
    memset(reference, 0, OUTPUT_BYTES);
    if (conv2d_transpose(&t, input, kernel, bias, reference)) return complain(s, mode, number, convolution_error_message());
    return memcmp(output, reference, OUTPUT_BYTES) == 0 ? FINE : complain(s, mode, number, "another result");
}

static enum outcome make_reference(const struct scenario *s, int mode, int64_t k) {
    memset(output, PATTERN, OUTPUT_BYTES);
    if (prepare(s) != CONVOLUTION_OK || settle(s, act(s)) != CONVOLUTION_OK)
        return complain(s, mode, k, convolution_error_message());
    memcpy(reference, output, OUTPUT_BYTES);
    return FINE;
}

static void all_attempts(const struct scenario *s) {
    if (in_child(make_reference, s, PLENTY, 0) != FINE) return;
    for (int mode = FROM_THEN_ON; mode <= ONCE; mode++)
        for (int64_t k = 0; k < most_requests; k++) {
            enum outcome outcome = in_child(attempt, s, mode, k);
            if (outcome != FINE) break;
            in_child(leak, s, mode, k);
        }
    in_child(leak, s, PLENTY, 0);
    if (s->kind == CONV || s->kind == TRANSPOSE || s->kind == BOTH) {
        in_child(account, s, PLENTY, 0);
        in_child(account, s, PLENTY, 1);
    }
    if (s->kind == TRANSPOSE) in_child(account_border, s, PLENTY, 0);
}

/* Floats from 1 to 2, two of which make a small double: data for both types. */
static void fill(void *array, size_t bytes, size_t factor) {
    float *floats = array;
    for (size_t i = 0; i < bytes / sizeof *floats; i++) floats[i] = (float)(1 + (double)(i * factor % 4096) / 4096);
}

int main(int count, char **arguments) {
    if (count > 1) most_requests = atoi(arguments[1]), rounds = 3;
    *(void **)&real_pthread_create = dlsym(RTLD_NEXT, "pthread_create");
    output = mmap(NULL, 2 * OUTPUT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (output == MAP_FAILED || !real_pthread_create) return 1;
    reference = output + OUTPUT_BYTES;
    fill(input, sizeof input, 37);
    fill(kernel, sizeof kernel, 91);
    fill(bias, sizeof bias, 11);
    for (threads_too = 0; threads_too <= 1; threads_too++)
        for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) all_attempts(&scenarios[i]);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
