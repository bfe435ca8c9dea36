/*
 * Layers for which the library chooses by the maker of the processor and the size of its caches, and as many random ones as the
 * argument says: a line for each with a hash of the output's bits, which all processors must print alike on the same tier, and the
 * size of the plan and of its workspace, which may differ.
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

static int print(const char *what, int32_t status, const int64_t shape[4], int64_t plan, int64_t workspace) {
    if (status != CONVOLUTION_OK) {
        fprintf(stderr, "%s: %s\n", what, convolution_error_message());
        return 1;
    }
    uint64_t hash = 14695981039346656037u;
    const unsigned char *bytes = (const unsigned char *)output;
    size_t size = (size_t)(shape[0] * shape[1] * shape[2] * shape[3]) * sizeof *output;
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    printf("%s: %016llx %lld %lld\n", what, (unsigned long long)hash, (long long)plan, (long long)workspace);
    return 0;
}

static int print_conv2d(const char *what, conv2d_params p) {
    int64_t shape[4] = { 0 }, plan = 0, workspace = 0, least;
    p.struct_size = sizeof p, p.batch = 1, p.padding = CONVOLUTION_PADDING_SAME;
    int32_t status = conv2d_output_shape(&p, shape);
    if (status == CONVOLUTION_OK) status = conv2d_workspace_size(&p, &plan, &workspace, &least);
    if (status == CONVOLUTION_OK) status = conv2d(&p, input, kernel, bias, output);
    return print(what, status, shape, plan, workspace);
}

static int print_transpose(const char *what, conv2d_transpose_params p) {
    int64_t shape[4] = { 0 }, plan = 0, workspace = 0, least;
    p.struct_size = sizeof p, p.batch = 1;
    int32_t status = conv2d_transpose_output_shape(&p, shape);
    if (status == CONVOLUTION_OK) status = conv2d_transpose_workspace_size(&p, &plan, &workspace, &least);
    if (status == CONVOLUTION_OK) status = conv2d_transpose(&p, input, kernel, bias, output);
    return print(what, status, shape, plan, workspace);
}

static uint32_t state = 5;

/* From 1 to `most`. */
static int64_t random_size(uint32_t most) { return 1 + (state = state * 1664525u + 1013904223u) / 65536 % most; }

/* Of all kinds, up to 40 channels for each of up to 4 groups. */
static int print_random(int number) {
    char what[32];
    snprintf(what, sizeof what, "random %d", number);
    const int64_t height = random_size(24), width = random_size(24), side = 2 * random_size(3) - 1, stride = random_size(2);
    const int64_t groups = random_size(2) > 1 ? 1 : random_size(4);
    const int64_t in_channels = groups * random_size(40), out_channels = groups * random_size(40);
    const int32_t format = random_size(3) > 1 ? CONVOLUTION_NHWC : CONVOLUTION_NCHW;
    if (random_size(4) == 1)
        return print_transpose(what, (conv2d_transpose_params){
            .height = height, .width = width, .in_channels = in_channels, .out_channels = out_channels, .groups = groups,
            .kernel_height = side, .kernel_width = side, .stride_height = stride, .stride_width = stride, .data_format = format });
    return print_conv2d(what, (conv2d_params){
        .height = height, .width = width, .in_channels = in_channels, .out_channels = out_channels, .groups = groups,
        .kernel_height = side, .kernel_width = side, .stride_height = stride, .stride_width = stride, .data_format = format });
}

static const struct {
    const char *what;
    conv2d_params params;
} layers[] = {
    { "planes 4 KiB apart", { .height = 32, .width = 32, .in_channels = 384, .out_channels = 32, .kernel_height = 1,
                              .kernel_width = 1, .data_format = CONVOLUTION_NCHW } },
    { "groups of a large image", { .height = 130, .width = 130, .in_channels = 64, .out_channels = 144, .groups = 16,
                                   .kernel_height = 3, .kernel_width = 3, .stride_height = 2, .stride_width = 2 } },
    { "groups of one vector", { .height = 14, .width = 14, .in_channels = 64, .out_channels = 64, .groups = 4,
                                .kernel_height = 3, .kernel_width = 3 } },
    { "one vector", { .height = 28, .width = 28, .in_channels = 96, .out_channels = 16, .kernel_height = 1,
                      .kernel_width = 1 } },
    { "a large image, depthwise", { .height = 160, .width = 160, .in_channels = 128, .depth_multiplier = 1,
                                    .kernel_height = 3, .kernel_width = 3, .stride_height = 2, .stride_width = 2 } },
    { "a large image of one channel", { .height = 1100, .width = 1100, .in_channels = 1, .out_channels = 1,
                                        .kernel_height = 3, .kernel_width = 3 } },
};

static const struct {
    const char *what;
    upsample2d_params params;
} doubled[] = {
    { "doubled, NHWC", { .height = 64, .width = 64, .channels = 3, .interpolation = UPSAMPLE2D_BILINEAR } },
    { "doubled, NCHW", { .height = 65, .width = 65, .channels = 3, .interpolation = UPSAMPLE2D_BILINEAR,
                         .data_format = CONVOLUTION_NCHW } },
    { "doubled, large", { .height = 500, .width = 500, .channels = 3, .interpolation = UPSAMPLE2D_BILINEAR } },
    { "repeated", { .height = 64, .width = 64, .channels = 5, .interpolation = UPSAMPLE2D_NEAREST } },
};

int main(int argc, char **argv) {
    int failed = 0;
    input = array(ELEMENTS, 1), kernel = array(1 << 18, 2), bias = array(1 << 12, 3), output = array(ELEMENTS, 4);
    if (!input || !kernel || !bias || !output) return 1;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) failed += print_conv2d(layers[i].what, layers[i].params);
    for (size_t i = 0; i < sizeof doubled / sizeof *doubled; i++) {
        upsample2d_params p = doubled[i].params;
        int64_t shape[4] = { 0 };
        p.struct_size = sizeof p, p.batch = 1, p.factor_height = p.factor_width = 2;
        int32_t status = upsample2d_output_shape(&p, shape);
        if (status == CONVOLUTION_OK) status = upsample2d(&p, input, output);
        failed += print(doubled[i].what, status, shape, 0, 0);
    }
    for (int i = 0; i < (argc > 1 ? atoi(argv[1]) : 0); i++) failed += print_random(i);
    return failed;
}
