/*
 * 04 - PyTorch ConvTranspose2d: kernels 2x2 and 2x3, strides 1 and 2, and the convolution matrix W with its transpose.
 *
 * The document has code and no printed results, so its numbers here are those that PyTorch gives when the code is run with the
 * document's seed, torch.manual_seed(1000). The layers there keep PyTorch's random bias (only the weights are replaced), which
 * the document then hides by rounding; here the biases are passed, and the result is compared before and after rounding.
 */
#include <convolution.h>

#include "check.h"

/* torch.nn.ConvTranspose2d(1, 1, (kernel_height, kernel_width), stride) for one image of size x size. */
static conv2d_transpose_params torch_layer(int64_t size, int64_t kernel_height, int64_t kernel_width, int64_t stride)
{
    return (conv2d_transpose_params){
        .struct_size = sizeof(conv2d_transpose_params), .batch = 1, .height = size, .width = size, .in_channels = 1,
        .out_channels = 1, .kernel_height = kernel_height, .kernel_width = kernel_width, .stride_height = stride,
        .stride_width = stride, .data_format = CONVOLUTION_NCHW, .kernel_format = CONVOLUTION_KERNEL_TORCH,
        .rule = CONV2D_TRANSPOSE_RULE_TORCH,
    };
}

/* Runs a layer and checks its square output with the bias, and rounded: whole[] is what remains of it then. */
static void transpose_and_check(const char *name, const char *rounded_name, const conv2d_transpose_params *layer,
                                const float *input, const float *kernel, float bias, int size, const double *whole)
{
    float output[16];
    double with_bias[16];
    check_status(conv2d_transpose(layer, input, kernel, &bias, output));
    for (int i = 0; i < size * size; i++)
        with_bias[i] = whole[i] + (double)bias;
    check_against("with bias", name, RELATIVE, size, size, output, with_bias);
    for (int i = 0; i < size * size; i++)
        output[i] = rintf(output[i]);
    check_against("PyTorch", rounded_name, EXACT, size, size, output, whole);
}

int main(void)
{
    check_begin("04-pytorch-convtranspose2d", "ConvTranspose2d, and convolution as a matrix");

    static const float counting[] = {0, 1, 2, 3}; /* input and kernel */
    static const double stride_1[] = {0, 0, 1, 0, 4, 6, 4, 12, 9};
    static const double stride_2[] = {0, 0, 0, 1, 0, 0, 2, 3, 0, 2, 0, 3, 4, 6, 6, 9};
    conv2d_transpose_params layer = torch_layer(2, 2, 2, 1);
    transpose_and_check("2x2 kernel, stride 1, with bias", "2x2 kernel, stride 1, rounded", &layer, counting, counting,
                        -0.22758514f, 3, stride_1);
    layer = torch_layer(2, 2, 2, 2);
    transpose_and_check("2x2 kernel, stride 2, with bias", "2x2 kernel, stride 2, rounded", &layer, counting, counting,
                        0.09714508f, 4, stride_2);

    /* Two layers of which the document shows the shape only (the second never gets its kernel, by a slip of the pen). */
    int64_t shape[4];
    layer = torch_layer(4, 2, 2, 2);
    check_status(conv2d_transpose_output_shape(&layer, shape));
    check_shape("4x4 input, 2x2 kernel, stride 2: output shape", shape, (double[]){1, 1, 8, 8});
    layer = torch_layer(4, 2, 3, 2);
    check_status(conv2d_transpose_output_shape(&layer, shape));
    check_shape("4x4 input, 2x3 kernel, stride 2: output shape", shape, (double[]){1, 1, 8, 9});

    /* Convolution 4x4 by 3x3, then the same as a matrix W times the flattened image. */
    static const float image[] = {4, 3, 2, 1, 1, 4, 3, 2, 2, 1, 4, 3, 3, 2, 1, 4};
    static const float kernel[] = {0, 1, 0, -1, 2, 2, 0, 1, 0};
    static const double document_y[] = {17, 12, 14, 17};
    static const double document_w[4 * 16] = {
        0, 1, 0, 0, -1, 2, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0,
        0, 0, 1, 0, 0, -1, 2, 2, 0, 0, 1, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 1, 0, 0, -1, 2, 2, 0, 0, 1, 0, 0,
        0, 0, 0, 0, 0, 0, 1, 0, 0, -1, 2, 2, 0, 0, 1, 0,
    };
    conv2d_params forward = {
        .struct_size = sizeof forward, .batch = 1, .height = 4, .width = 4, .in_channels = 1, .out_channels = 1,
        .kernel_height = 3, .kernel_width = 3, .data_format = CONVOLUTION_NCHW, .kernel_format = CONVOLUTION_KERNEL_TORCH,
    };
    float y[4], w[4 * 16], wx[4] = {0}, wty[16] = {0}, z[16];
    check_status(conv2d(&forward, image, kernel, NULL, y));
    check_against("PyTorch", "Conv2d 4x4 by 3x3", EXACT, 2, 2, y, document_y);
    check_status(conv2d_matrix(&forward, kernel, w, 4 * 16));
    check_against("PyTorch", "the matrix W", EXACT, 4, 16, w, document_w);
    for (int r = 0; r < 4; r++)
        for (int c = 0; c < 16; c++) {
            wx[r] += w[16 * r + c] * image[c];
            wty[c] += w[16 * r + c] * y[r];
        }
    check_against("PyTorch", "W vec(I)", EXACT, 2, 2, wx, document_y);

    static const double document_z[] = {0, 17, 12, 0, -17, 36, 75, 24, -14, 28, 74, 34, 0, 14, 17, 0};
    layer = torch_layer(2, 3, 3, 1);
    check_status(conv2d_transpose(&layer, y, kernel, NULL, z));
    check_against("PyTorch", "ConvTranspose2d of its result", EXACT, 4, 4, z, document_z);
    check_against("PyTorch", "W' vec(Y)", EXACT, 4, 4, wty, document_z);
    transpose_and_check("ConvTranspose2d of its result, with bias", "ConvTranspose2d of its result, rounded", &layer, y, kernel,
                        -0.33107448f, 4, document_z);
    return check_end();
}
