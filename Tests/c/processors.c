/*
 * Layers for which the library chooses by the maker of the processor and the size of its caches: a line for each with a hash of
 * the output's bits. On the same tier all processors must print the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "convolution.h"

#define ELEMENTS ((size_t)4 << 20)

static float *input, *kernel, *bias, *output;

/* Not whole numbers: another order of summation would show. */
static float *array(size_t elements, uint32_t seed) {
    float *a = malloc(elements * sizeof *a);
    for (size_t i = 0; a && i < elements; i++) a[i] = (float)((seed = seed * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1;
    return a;
}

static int print(const char *what, int32_t status, int64_t elements) {
    if (status != CONVOLUTION_OK) {
        fprintf(stderr, "%s: %s\n", what, convolution_error_message());
        return 1;
    }
    uint64_t hash = 14695981039346656037u;
    const unsigned char *bytes = (const unsigned char *)output;
    for (size_t i = 0; i < (size_t)elements * sizeof *output; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    printf("%s: %016llx\n", what, (unsigned long long)hash);
    return 0;
}

static int convolve(const char *what, conv2d_params p) {
    int64_t shape[4] = { 0 };
    p.struct_size = sizeof p;
    p.batch = 1;
    p.padding = CONVOLUTION_PADDING_SAME;
    int32_t status = conv2d_output_shape(&p, shape);
    if (status == CONVOLUTION_OK) status = conv2d(&p, input, kernel, bias, output);
    return print(what, status, shape[1] * shape[2] * shape[3]);
}

static int upsample(const char *what, upsample2d_params p) {
    p.struct_size = sizeof p;
    p.batch = 1;
    p.factor_height = p.factor_width = 2;
    return print(what, upsample2d(&p, input, output), (int64_t)4 * p.height * p.width * p.channels);
}

int main(void) {
    input = array(ELEMENTS, 1), kernel = array(1 << 16, 2), bias = array(1 << 12, 3), output = array(ELEMENTS, 4);
    if (!input || !kernel || !bias || !output) return 1;
    int failed = convolve("planes 4 KiB apart", (conv2d_params){ .height = 32, .width = 32, .in_channels = 384,
                                                                 .out_channels = 32, .kernel_height = 1, .kernel_width = 1,
                                                                 .data_format = CONVOLUTION_NCHW });
    failed += convolve("groups of a large image", (conv2d_params){ .height = 130, .width = 130, .in_channels = 64,
                                                                   .out_channels = 144, .groups = 16, .kernel_height = 3,
                                                                   .kernel_width = 3, .stride_height = 2, .stride_width = 2 });
    failed += convolve("groups of one vector", (conv2d_params){ .height = 14, .width = 14, .in_channels = 64, .out_channels = 64,
                                                                .groups = 4, .kernel_height = 3, .kernel_width = 3 });
    failed += convolve("one vector", (conv2d_params){ .height = 28, .width = 28, .in_channels = 96, .out_channels = 16,
                                                      .kernel_height = 1, .kernel_width = 1 });
    failed += convolve("a large image, depthwise", (conv2d_params){ .height = 160, .width = 160, .in_channels = 128,
                                                                    .depth_multiplier = 1, .kernel_height = 3,
                                                                    .kernel_width = 3, .stride_height = 2, .stride_width = 2 });
    failed += convolve("a large image of one channel", (conv2d_params){ .height = 1100, .width = 1100, .in_channels = 1,
                                                                        .out_channels = 1, .kernel_height = 3,
                                                                        .kernel_width = 3 });
    static const struct {
        const char *what;
        int64_t side, channels;
        int32_t format, interpolation;
    } doubled[] = {
        { "doubled, NHWC", 64, 3, CONVOLUTION_NHWC, UPSAMPLE2D_BILINEAR },
        { "doubled, NCHW", 65, 3, CONVOLUTION_NCHW, UPSAMPLE2D_BILINEAR },
        { "doubled, large", 500, 3, CONVOLUTION_NHWC, UPSAMPLE2D_BILINEAR },
        { "repeated", 64, 5, CONVOLUTION_NHWC, UPSAMPLE2D_NEAREST },
    };
    for (size_t i = 0; i < sizeof doubled / sizeof *doubled; i++)
        failed += upsample(doubled[i].what, (upsample2d_params){ .height = doubled[i].side, .width = doubled[i].side,
                                                                 .channels = doubled[i].channels,
                                                                 .data_format = doubled[i].format,
                                                                 .interpolation = doubled[i].interpolation });
    return failed;
}
