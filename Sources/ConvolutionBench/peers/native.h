/*
 * What a library that is called from C looks like to adapters.py: ours.c and onednn.c each make one shared object of it. The
 * calls are timed here, in C, so that a tiny layer does not show what Python costs.
 */
#ifndef NATIVE_H
#define NATIVE_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

/* The fields in the order of NATIVE_FIELDS in adapters.py. */
typedef struct native_layer {
    int64_t operation;   /* 0: conv2d, 1: conv2d_transpose, 2: upsample2d */
    int64_t pass;        /* 0: the operation, 1: its gradient with respect to the input, 2: to the kernel */
    int64_t batch, input_channels, input_height, input_width, output_channels, output_height, output_width;
    int64_t kernel, stride, dilation, groups;
    int64_t padding, trailing_padding; /* top and left; bottom and right */
    int64_t interpolation; /* 0: nearest, 1: bilinear, 2: bicubic */
    int64_t layout;        /* 0: NHWC, 1: NCHW, 2: what the library likes best */
    int64_t threads;
    int64_t algorithm;     /* ours alone: the field of that name */
} native_layer;

/* The layer made ready, its kernel packed, or NULL. The result is the output, or the gradient that stands in the place of input
 * or kernel; then `output` is the output's gradient. What ours.c gets is in the layout, what onednn.c gets is NCHW with kernels
 * in OIHW (IOHW for conv2d_transpose). All three arrays stay valid. */
void *native_prepare(const native_layer *layer, float *input, float *kernel, float *output);
/* 0: done. */
int native_run(void *prepared);
/* After a run: brings the result to its array, if it is not there yet. */
int native_result(void *prepared);
void native_destroy(void *prepared);
/* A word about the implementation. */
const char *native_note(void *prepared);

static double native_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The least time of a call within `budget` seconds; a call longer than `limit` is not repeated. Below 0: a call failed. */
double native_time(void *prepared, double budget, double limit);
double native_time(void *prepared, double budget, double limit) {
    double start = native_seconds(), least, now;
    int64_t calls = 0, batch = 1;
    if (native_run(prepared)) return -1;
    least = native_seconds() - start;
    if (least > limit) { /* or something came between */
        start = native_seconds();
        if (native_run(prepared)) return -1;
        now = native_seconds();
        if (now - start < least) least = now - start;
    }
    if (least > limit) return least;
    /* Reading the clock takes time too. */
    if (least < 20e-6) batch = (int64_t)(20e-6 / (least > 1e-7 ? least : 1e-7));
    start = now = native_seconds();
    do {
        double before = now;
        for (int64_t i = 0; i < batch; i++)
            if (native_run(prepared)) return -1;
        now = native_seconds();
        if ((now - before) / (double)batch < least) least = (now - before) / (double)batch;
        calls++;
    } while (now - start < budget || calls < 3);
    return least;
}

#endif
