/*
 * Legal calls at the edge of the permitted numbers, and queries beyond memory: strides, dilations and sizes whose products no
 * longer fit 64 bits where they do not matter. Nothing may trap or take long, and what is computed must be right.
 * Prints "N passed, N failed".
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "convolution.h"

#define TWO_TO_THE(n) ((int64_t)1 << (n))

static int passed, failed;
static float input[128 * 16], kernel[64], output[64];

#define CHECK(condition)                                                                                                \
    do {                                                                                                                \
        if (condition) {                                                                                                \
            passed++;                                                                                                   \
        } else {                                                                                                        \
            failed++;                                                                                                   \
            printf("extremes.c:%d: %s (%s)\n", __LINE__, #condition, convolution_error_message());                      \
        }                                                                                                               \
    } while (0)

static int32_t conv(conv2d_params p) {
    p.struct_size = sizeof p;
    return conv2d(&p, input, kernel, NULL, output);
}
static int32_t transpose(conv2d_transpose_params p) {
    p.struct_size = sizeof p;
    return conv2d_transpose(&p, input, kernel, NULL, output);
}

#define ONE_PIXEL .batch = 1, .height = 1, .width = 1, .in_channels = 1, .out_channels = 1, .kernel_height = 1, .kernel_width = 1

int main(void) {
    alarm(60);
    for (int i = 0; i < 128 * 16; i++) input[i] = (float)(i % 7 + 1);
    for (int i = 0; i < 64; i++) kernel[i] = (float)(i % 5 + 1);

    /* An axis of one element may have any stride, and a stride that is never taken may be anything. */
    CHECK(conv((conv2d_params){ ONE_PIXEL, .stride_width = TWO_TO_THE(16), .input_strides = { 0, 0, TWO_TO_THE(48), 0 } }) == 0);
    CHECK(output[0] == 1);
    CHECK(transpose((conv2d_transpose_params){ ONE_PIXEL, .stride_width = TWO_TO_THE(16), .rule = CONV2D_TRANSPOSE_RULE_WINDOW,
                                               .output_strides = { 0, 0, TWO_TO_THE(48), 0 } }) == 0);
    CHECK(transpose((conv2d_transpose_params){ .batch = 1, .height = 1, .width = 4, .in_channels = 2, .out_channels = 2,
                                               .kernel_height = 1, .kernel_width = 2, .stride_height = TWO_TO_THE(47),
                                               .data_format = CONVOLUTION_NCHW, .rule = CONV2D_TRANSPOSE_RULE_TORCH }) == 0);
    /* With more channels than fill one vector: of the strides of both axes, the product. */
    memset(output, 0, sizeof output);
    CHECK(transpose((conv2d_transpose_params){ .batch = 1, .height = 1, .width = 1, .in_channels = 1, .out_channels = 64,
                                               .kernel_height = 1, .kernel_width = 1, .stride_height = TWO_TO_THE(47),
                                               .stride_width = TWO_TO_THE(47), .rule = CONV2D_TRANSPOSE_RULE_TORCH }) == 0);
    CHECK(output[0] == 1 && output[63] == (float)(63 % 5 + 1));
    CHECK(conv((conv2d_params){ .batch = 1, .height = 1, .width = 2, .in_channels = 1, .out_channels = 1, .kernel_height = 1,
                                .kernel_width = 1, .stride_width = TWO_TO_THE(44), .input_strides = { 0, 0, 8, 0 } }) == 0);
    CHECK(output[0] == 1);
    CHECK(conv((conv2d_params){ ONE_PIXEL, .stride_width = TWO_TO_THE(20), .padding = CONVOLUTION_PADDING_EXPLICIT,
                                .pad_right = 20 * TWO_TO_THE(20), .input_strides = { 0, 0, TWO_TO_THE(48), 0 } }) == 0);
    CHECK(output[0] == 1 && output[1] == 0 && output[20] == 0);

    /* A kernel dilated far beyond the image meets it with one tap: here the second, 2. */
    for (int bits = 10; bits <= 47; bits++) {
        memset(output, 0, sizeof output);
        CHECK(conv((conv2d_params){ .batch = 1, .height = 1, .width = 16, .in_channels = 1, .out_channels = 1, .kernel_height = 1,
                                    .kernel_width = 2, .dilation_width = TWO_TO_THE(bits),
                                    .padding = CONVOLUTION_PADDING_EXPLICIT, .pad_left = TWO_TO_THE(bits) }) == 0);
        CHECK(output[0] == 2 && output[6] == 14 && output[15] == 4);
    }

    /* Sizes beside an empty axis may be huge, for calls and for plans. */
    CHECK(conv((conv2d_params){ .batch = 1, .height = TWO_TO_THE(40), .width = TWO_TO_THE(40), .kernel_height = 1,
                                .kernel_width = 1 }) == 0);
    CHECK(transpose((conv2d_transpose_params){ .batch = 1, .height = 1, .width = 1, .in_channels = 1,
                                               .kernel_height = TWO_TO_THE(30), .kernel_width = TWO_TO_THE(18),
                                               .stride_height = TWO_TO_THE(47), .stride_width = TWO_TO_THE(47) }) == 0);
    CHECK(transpose((conv2d_transpose_params){ .batch = 1, .height = 1, .width = 1, .out_channels = 1,
                                               .kernel_height = TWO_TO_THE(40), .kernel_width = 1,
                                               .stride_height = TWO_TO_THE(40), .rule = CONV2D_TRANSPOSE_RULE_WINDOW,
                                               .padding = CONVOLUTION_PADDING_EXPLICIT, .pad_bottom = TWO_TO_THE(40) - 1 }) == 0);
    conv2d_params many = { .struct_size = sizeof many, .height = 3100000000, .width = 3100000000, .in_channels = 1,
                           .out_channels = 1, .kernel_height = 1, .kernel_width = 1, .input_strides = { 1, 1, 1, 1 },
                           .output_strides = { 1, 1, 1, 1 } };
    conv2d_plan *plan = NULL;
    CHECK(conv2d_plan_create(&many, kernel, NULL, &plan) == 0 && conv2d_plan_execute(plan, NULL, NULL) == 0);
    conv2d_plan_destroy(plan);

    /* Kernel gradients: of one output the stride may be anything, and so may be the sizes of a plan's arrays. */
    memset(output, 0, sizeof output);
    conv2d_params wide = { .struct_size = sizeof wide, .batch = 1, .height = 4, .width = 5, .in_channels = 1, .out_channels = 2,
                           .kernel_height = 3, .kernel_width = 3, .stride_height = TWO_TO_THE(47), .stride_width = TWO_TO_THE(47) };
    CHECK(conv2d_backward_kernel(&wide, input, kernel, output) == 0);
    CHECK(output[0] == input[0] * kernel[0] && output[17] == input[12] * kernel[1]);
    conv2d_params vast = { .struct_size = sizeof vast, .batch = 1, .height = TWO_TO_THE(22), .width = TWO_TO_THE(22),
                           .in_channels = 1, .out_channels = 1, .kernel_height = TWO_TO_THE(21), .kernel_width = TWO_TO_THE(21) };
    conv2d_backward_kernel_plan *gradient = NULL;
    int32_t status = conv2d_backward_kernel_plan_create(&vast, &gradient);
    CHECK(status == 0 || status == CONVOLUTION_ERROR_OVERFLOW || status == CONVOLUTION_ERROR_WORKSPACE);
    conv2d_backward_kernel_plan_destroy(gradient);
    gradient = NULL;
    conv2d_params many_outputs = { .struct_size = sizeof many_outputs, ONE_PIXEL };
    many_outputs.out_channels = TWO_TO_THE(36);
    many_outputs.kernel_width = 3;
    many_outputs.padding = CONVOLUTION_PADDING_SAME;
    status = conv2d_backward_kernel_plan_create(&many_outputs, &gradient);
    CHECK(status == 0 || status == CONVOLUTION_ERROR_OVERFLOW || status == CONVOLUTION_ERROR_WORKSPACE);
    conv2d_backward_kernel_plan_destroy(gradient);

    /* Depthwise weights are counted once per channel. */
    int64_t shape[4], rows = -1, columns = -1, nonzeros = -1;
    conv2d_params deep = { .struct_size = sizeof deep, .batch = 1, .height = 1, .width = 1, .in_channels = TWO_TO_THE(22),
                           .depth_multiplier = 1, .kernel_height = 3, .kernel_width = 3, .padding = CONVOLUTION_PADDING_SAME };
    CHECK(conv2d_output_shape(&deep, shape) == 0 && shape[3] == TWO_TO_THE(22));

    /* A matrix beyond memory is refused at once; one of nothing needs no arrays. */
    conv2d_params tall = { .struct_size = sizeof tall, ONE_PIXEL };
    tall.height = TWO_TO_THE(44);
    CHECK(conv2d_matrix_size(&tall, &rows, &columns, &nonzeros) == CONVOLUTION_ERROR_OVERFLOW && rows == -1);
    conv2d_params none = { .struct_size = sizeof none, ONE_PIXEL };
    none.in_channels = 0;
    int64_t offsets[2] = { -1, -1 };
    CHECK(conv2d_matrix(&none, NULL, NULL, 0) == 0);
    CHECK(conv2d_matrix_csr(&none, NULL, offsets, NULL, NULL, 0) == 0 && offsets[0] == 0 && offsets[1] == 0);

    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
