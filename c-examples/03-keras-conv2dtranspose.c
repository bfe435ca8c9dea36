/*
 * 03 - Keras Conv2DTranspose of a 3x3 identity: stride 1 (same, valid), stride 2, and which slice is whose.
 *
 * Every framework's transposed convolution is a window of one natural result, here written natural[rows, columns].
 */
#include <convolution.h>

#include "check.h"

static const float identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};

/* Keras layer with one 3x3 filter, all else by default. */
static conv2d_transpose_params keras_layer(int64_t stride, int32_t padding)
{
    return (conv2d_transpose_params){
        .struct_size = sizeof(conv2d_transpose_params), .batch = 1, .height = 3, .width = 3, .in_channels = 1, .out_channels = 1,
        .kernel_height = 3, .kernel_width = 3, .stride_height = stride, .stride_width = stride, .padding = padding,
    };
}

/* array[start : start+size, start : start+size] of a square array with `columns` columns. */
static void slice(const float *array, int columns, int start, int size, double *result)
{
    for (int i = 0; i < size * size; i++)
        result[i] = (double)array[(start + i / size) * columns + start + i % size];
}

int main(void)
{
    check_begin("03-keras-conv2dtranspose", "stride 1, stride 2, and the window of each framework");
    float output[49], natural[49];
    double window[36];
    static const float same_kernel[] = {0.23676872f, 0.23019093f, -0.04622787f, -0.4418265f, 0.11311585f, -0.38515693f,
                                        0.36979067f, 0.2140702f, -0.41140068f};
    static const double same_document[] = {0.34988457, -0.154966, -0.04622787, -0.22775626, -0.06151611, -0.154966,
                                           0.36979067, -0.22775626, -0.29828483};
    conv2d_transpose_params layer = keras_layer(1, CONVOLUTION_PADDING_SAME);
    check_status(conv2d_transpose(&layer, identity, same_kernel, NULL, output));
    check("Conv2DTranspose stride 1 same", RELATIVE, 3, 3, output, same_document);

    static const float valid_kernel[] = {0.00166929f, -0.4668319f, -0.45973036f, 0.38341302f, 0.49846447f, -0.33313805f,
                                         0.39259535f, 0.44750214f, -0.43990558f};
    static const double valid_document[] = {
        0.00166929, -0.46683192, -0.4597304, 0, 0, 0.38341302, 0.50013375, -0.79997, -0.45973036, 0,
        0.39259535, 0.83091515, 0.06022817, -0.79997, -0.4597304, 0, 0.39259535, 0.83091515, 0.05855885, -0.33313805,
        0, 0, 0.39259535, 0.44750214, -0.43990558};
    layer = keras_layer(1, CONVOLUTION_PADDING_VALID);
    check_status(conv2d_transpose(&layer, identity, valid_kernel, NULL, natural));
    check("Conv2DTranspose stride 1 valid", RELATIVE, 5, 5, natural, valid_document);

    /* The document finds the middle of that by a convolution with padding 1 and the kernel turned by 180 degrees. Its earlier
     * attempt, the transposed kernel, is not the same: it comes out with the first and the last element exchanged. */
    static const double turned_document[] = {0.50013375, -0.79996994, -0.45973036, 0.83091515, 0.06022817, -0.79996994,
                                             0.39259535, 0.83091515, 0.05855888};
    conv2d_params turned = {.struct_size = sizeof turned, .batch = 1, .height = 3, .width = 3, .in_channels = 1,
                            .out_channels = 1, .kernel_height = 3, .kernel_width = 3, .padding = CONVOLUTION_PADDING_SAME,
                            .flip_kernel = 1};
    check_status(conv2d(&turned, identity, valid_kernel, NULL, output));
    check("Conv2D same with the kernel turned", RELATIVE, 3, 3, output, turned_document);
    layer.padding = CONVOLUTION_PADDING_SAME;
    check_status(conv2d_transpose(&layer, identity, valid_kernel, NULL, output));
    slice(natural, 5, 1, 3, window);
    check_against("slice", "stride 1: Keras same = valid[1:4,1:4]", RELATIVE, 3, 3, output, window);

    static const float stride_kernel[] = {-0.42253345f, 0.34132046f, -0.32057053f, -0.3672353f, -0.2650267f, 0.30951786f,
                                          0.26088667f, -0.5487001f, 0.49119878f};
    static const double stride_document[] = {
        -0.42253345, 0.34132046, -0.32057053, 0, 0, 0, 0, -0.3672353, -0.2650267, 0.30951786, 0, 0, 0, 0,
        0.26088667, -0.5487001, 0.06866533, 0.34132046, -0.32057053, 0, 0, 0, 0, -0.3672353, -0.2650267, 0.30951786, 0, 0,
        0, 0, 0.26088667, -0.5487001, 0.06866533, 0.34132046, -0.32057053, 0, 0, 0, 0, -0.3672353, -0.2650267, 0.30951786,
        0, 0, 0, 0, 0.26088667, -0.5487001, 0.49119878};
    layer = keras_layer(2, CONVOLUTION_PADDING_VALID);
    check_status(conv2d_transpose(&layer, identity, stride_kernel, NULL, natural));
    check("Conv2DTranspose stride 2 valid", RELATIVE, 7, 7, natural, stride_document);

    /* The document's equivalence: zeros between the inputs (and a line of them after), turned kernel, padding 1. This is
     * natural[1:7,1:7], as in PyTorch with padding=1, output_padding=1. Keras's own same is natural[0:6,0:6]. */
    float stuffed[6][6] = {{0}};
    for (int i = 0; i < 3; i++)
        stuffed[2 * i][2 * i] = 1;
    turned.height = turned.width = 6;
    check_status(conv2d(&turned, stuffed, stride_kernel, NULL, output));
    slice(natural, 7, 1, 6, window);
    check_against("slice", "stride 2: zero insertion, turned kernel = natural[1:7,1:7]", RELATIVE, 6, 6, output, window);
    for (int i = 0; i < 36; i++)
        output[i] = (float)lround((double)output[i] * 1000);
    static const double rounded_document[] = { /* the document prints this one in thousandths */
        -265, 310, 0, 0, 0, 0, -549, 69, 341, -321, 0, 0, 0, -367, -265, 310, 0, 0,
        0, 261, -549, 69, 341, -321, 0, 0, 0, -367, -265, 310, 0, 0, 0, 261, -549, 491};
    check("stride 2: the same in thousandths", EXACT, 6, 6, output, rounded_document);
    conv2d_transpose_params torch_layer = keras_layer(2, CONVOLUTION_PADDING_EXPLICIT);
    torch_layer.rule = CONV2D_TRANSPOSE_RULE_TORCH;
    torch_layer.pad_top = torch_layer.pad_bottom = torch_layer.pad_left = torch_layer.pad_right = 1;
    torch_layer.output_padding_given = 1;
    torch_layer.output_padding_height = torch_layer.output_padding_width = 1;
    check_status(conv2d_transpose(&torch_layer, identity, stride_kernel, NULL, output));
    check_against("slice", "stride 2: PyTorch padding=1, output_padding=1 = natural[1:7,1:7]", RELATIVE, 6, 6, output, window);
    layer.padding = CONVOLUTION_PADDING_SAME;
    check_status(conv2d_transpose(&layer, identity, stride_kernel, NULL, output));
    slice(natural, 7, 0, 6, window);
    check_against("slice", "stride 2: Keras same = natural[0:6,0:6]", RELATIVE, 6, 6, output, window);
    return check_end();
}
