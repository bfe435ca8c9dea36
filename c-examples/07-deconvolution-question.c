/*
 * 07 - "I convolved a 7x7x3 image with a 3x3x3 filter and got 3x3. How do I get the image back: inverse or transpose?"
 *
 * The asker's loop transposes each kernel plane, adds the bias once per window and applies ReLU. Put right, with the plane as it
 * is and the bias subtracted once before, it is the adjoint A' of the convolution A: a transposed convolution. That carries each
 * output back to the pixels it came from; it is not an inverse, and main ends by showing that there is none. The question has no
 * numbers, so these are whole numbers of our own: every result is exact, and compared exactly.
 */
#include <convolution.h>

#include "check.h"

enum { SIZE = 7, DEPTH = 3, KERNEL = 3, STRIDE = 2, OUT = 3, PIXELS = SIZE * SIZE * DEPTH, WEIGHTS = KERNEL * KERNEL * DEPTH };

/* y = A x + bias in plain loops. */
static void forward_loops(const float *x, const float *kernel, double bias, double *y)
{
    for (int h = 0; h < OUT; h++)
        for (int w = 0; w < OUT; w++) {
            y[OUT * h + w] = bias;
            for (int i = 0; i < WEIGHTS; i++) {
                int row = h * STRIDE + i / (KERNEL * DEPTH), column = w * STRIDE + i / DEPTH % KERNEL;
                y[OUT * h + w] += (double)x[(row * SIZE + column) * DEPTH + i % DEPTH] * (double)kernel[i];
            }
        }
}

/* x = A' (y - bias): the asker's loop put right. */
static void adjoint_loops(const float *y, const float *kernel, double bias, double *x)
{
    memset(x, 0, PIXELS * sizeof *x);
    for (int h = 0; h < OUT; h++)
        for (int w = 0; w < OUT; w++)
            for (int i = 0; i < WEIGHTS; i++) {
                int row = h * STRIDE + i / (KERNEL * DEPTH), column = w * STRIDE + i / DEPTH % KERNEL;
                x[(row * SIZE + column) * DEPTH + i % DEPTH] += ((double)y[OUT * h + w] - bias) * (double)kernel[i];
            }
}

static double dot(int n, const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

int main(void)
{
    check_begin("07-deconvolution-question", "7x7x3 -> 3x3 -> 7x7x3: the adjoint, and why it is not the inverse");
    float image[PIXELS], kernel[WEIGHTS], bias = 5, y[OUT * OUT], centred[OUT * OUT], back[PIXELS], probe[OUT * OUT];
    double expected[PIXELS];
    for (int i = 0; i < PIXELS; i++)
        image[i] = (float)(i * i % 17 - 8);
    for (int i = 0; i < WEIGHTS; i++)
        kernel[i] = (float)(i * i * i % 11 - 4);
    for (int i = 0; i < OUT * OUT; i++)
        probe[i] = (float)(i * 7 % 9 - 3);

    conv2d_params forward = {
        .struct_size = sizeof forward, .batch = 1, .height = SIZE, .width = SIZE, .in_channels = DEPTH, .out_channels = 1,
        .kernel_height = KERNEL, .kernel_width = KERNEL, .stride_height = STRIDE, .stride_width = STRIDE,
    };
    check_status(conv2d(&forward, image, kernel, &bias, y));
    forward_loops(image, kernel, (double)bias, expected);
    check_against("loops", "y = A x + bias, 7x7x3 -> 3x3", EXACT, OUT, OUT, y, expected);

    /* The same kernel bytes: HWIO with 3 inputs and 1 output is HWOI of the way back, with 3 outputs and 1 input. */
    conv2d_transpose_params backward = {
        .struct_size = sizeof backward, .batch = 1, .height = OUT, .width = OUT, .in_channels = 1, .out_channels = DEPTH,
        .kernel_height = KERNEL, .kernel_width = KERNEL, .stride_height = STRIDE, .stride_width = STRIDE,
    };
    int64_t shape[4];
    check_status(conv2d_transpose_output_shape(&backward, shape));
    check_shape("shape of A' (y - bias)", shape, (double[]){1, SIZE, SIZE, DEPTH});
    for (int i = 0; i < OUT * OUT; i++)
        centred[i] = y[i] - bias;
    check_status(conv2d_transpose(&backward, centred, kernel, NULL, back));
    adjoint_loops(y, kernel, (double)bias, expected);
    check_against("loops", "A' (y - bias), rows of 7 pixels of 3 channels", EXACT, SIZE, SIZE * DEPTH, back, expected);

    /* What makes it the adjoint: <A x, p> = <x, A' p> for every x and p. */
    check_status(conv2d_transpose(&backward, probe, kernel, NULL, back));
    float left = (float)dot(OUT * OUT, centred, probe);
    check_against("right side", "<A x, p> = <x, A' p>", EXACT, 1, 1, &left, (double[]){dot(PIXELS, image, back)});

    /* Two different images with one output: along (k1, -k0) of the first two channels of a corner pixel A sees nothing. */
    int64_t rows, columns;
    check_status(conv2d_matrix_size(&forward, &rows, &columns, NULL));
    image[0] += kernel[1];
    image[1] -= kernel[0];
    for (int i = 0; i < OUT * OUT; i++)
        expected[i] = (double)y[i];
    check_status(conv2d(&forward, image, kernel, &bias, y));
    check_against("before", "another image, the same output", EXACT, OUT, OUT, y, expected);
    printf("    No function can give the image back: A is %dx%d, so its rank is at most %d of %d, and at least %d independent\n"
           "    directions of the image leave no trace in the output. A' gives the right shape, not the image.\n",
           (int)rows, (int)columns, (int)rows, (int)columns, (int)(columns - rows));
    return check_end();
}
