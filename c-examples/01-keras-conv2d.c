/*
 * 01 - Keras Conv2D: valid padding, stride 2, two filters, two images.
 *
 * The document convolves two images, 5 * identity and identity (5x5), with random 3x3 kernels, and prints some of the kernels
 * and some of the outputs. Of a diagonal image an output element sees one diagonal of the kernel only:
 *
 *     output[y][x] = 5 * sum of kernel[a][b] with b - a = stride * (y - x)
 *
 * so a kernel that was not printed cannot be found again, but any kernel with the same sums along its diagonals gives the same
 * output. Such kernels are built here from the printed outputs; the elements that are free get numbers of our choice.
 */
#include <convolution.h>

#include "check.h"

#define ROWS 5

/* Keras arrays: images [batch][height][width][channel], kernels [height][width][in][out]. No option is set: all are Keras's. */
static const conv2d_params layer = {
    .struct_size = sizeof(conv2d_params), .batch = 2, .height = ROWS, .width = ROWS, .in_channels = 1,
    .out_channels = 2, .kernel_height = 3, .kernel_width = 3,
};

/* One image and one filter of an output [2][size][size][2]. */
static void pick(const float *output, int size, int image, int filter, float *plane)
{
    for (int i = 0; i < size * size; i++)
        plane[i] = output[(image * size * size + i) * 2 + filter];
}

int main(void)
{
    check_begin("01-keras-conv2d", "two diagonal images through two filters");
    float images[2][ROWS][ROWS] = {{{0}}}, kernel[3][3][2], output[2 * 3 * 3 * 2], plane[9];
    for (int i = 0; i < ROWS; i++) {
        images[0][i][i] = 5;
        images[1][i][i] = 1;
    }

    /* Basic convolution. Printed: the output of image 0, filter 0 (one diagonal of it is the same number in exact arithmetic;
     * the document's own float32 sums differ there in the last digits). Its kernel is not printed: recovered as said above. */
    static const double basic[] = {
        -0.15143076, 2.094208, 1.0140396, -2.0393534, -0.15143037, 2.094208, 0.16954947, -2.0393534, -0.15143076,
    };
    static const double basic_image_1[] = { /* the second image is a fifth of the first, so its output is, too */
        -0.15143076 / 5, 2.094208 / 5, 1.0140396 / 5, -2.0393534 / 5, -0.15143037 / 5, 2.094208 / 5, 0.16954947 / 5,
        -2.0393534 / 5, -0.15143076 / 5,
    };
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++) { /* output[0][x] shows diagonal b - a = -x, output[y][0] shows b - a = y */
            double sum = (b < a ? basic[a - b] : basic[3 * (b - a)]) / 5;
            int elements = 3 - abs(a - b), number = a < b ? a : b;
            kernel[a][b][0] = (float)(elements == 1 ? sum : number < elements - 1 ? 0.25 : sum - 0.25 * (elements - 1));
            kernel[a][b][1] = -2 * kernel[a][b][0]; /* the second filter's results are not printed: a multiple shows mix-ups */
        }
    int64_t shape[4];
    check_status(conv2d_output_shape(&layer, shape));
    check_shape("Conv2D valid: output shape", shape, (double[]){2, 3, 3, 2});
    check_status(conv2d(&layer, images, kernel, NULL, output));
    pick(output, 3, 0, 0, plane);
    check("Conv2D valid: image 0, filter 0", RELATIVE, 3, 3, plane, basic);
    pick(output, 3, 1, 0, plane);
    check_against("a fifth", "Conv2D valid: image 1 is a fifth of it", RELATIVE, 3, 3, plane, basic_image_1);
    pick(output, 3, 0, 1, plane);
    for (int i = 0; i < 9; i++)
        plane[i] /= -2;
    check("Conv2D valid: filter 1, made as filter 0 times -2", RELATIVE, 3, 3, plane, basic);

    /* Stride 2. Kernel 0 is printed; of kernel 1 the corners and the main diagonal are recovered, the four elements beside the
     * main diagonal meet only zeros with this stride, hence the absurd 77. */
    static const float stride_kernel_0[9] = {
        0.37873605f, -0.21734086f, 0.10111681f, 0.39398727f, 0.38138524f, -0.14542866f, -0.13162675f, 0.29388335f, -0.23697285f,
    };
    static const double stride_filter_0[] = {2.6157422, -0.65813375, 0.505584, 2.6157422};
    static const double stride_filter_1[] = {-2.3453603, 1.3147254, 1.076426, -2.3453603};
    for (int i = 0; i < 9; i++) {
        kernel[i / 3][i % 3][0] = stride_kernel_0[i];
        kernel[i / 3][i % 3][1] = i % 2 == 1 ? 77 : 0.25f;
    }
    kernel[0][2][1] = (float)(stride_filter_1[2] / 5);
    kernel[2][0][1] = (float)(stride_filter_1[1] / 5);
    kernel[2][2][1] = (float)(stride_filter_1[0] / 5 - 0.5);
    conv2d_params strided = layer;
    strided.stride_height = strided.stride_width = 2;
    check_status(conv2d(&strided, images, kernel, NULL, output));
    pick(output, 2, 0, 0, plane);
    check("Conv2D stride 2: image 0, filter 0", RELATIVE, 2, 2, plane, stride_filter_0);
    printf("    (an earlier cell of the document shows 0 off this diagonal: a mistake that the document itself puts right)\n");
    pick(output, 2, 0, 1, plane);
    check("Conv2D stride 2: image 0, filter 1", RELATIVE, 2, 2, plane, stride_filter_1);
    return check_end();
}
