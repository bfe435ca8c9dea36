/*
 * 05 - Cross-correlation in NumPy: edge filters, stride 2, the flipped kernel of true convolution, an image with depth.
 */
#include <convolution.h>

#include "check.h"

/* The document's loops: image [height][width][depth], kernel [3][3][depth], valid. */
static void loops(int height, int width, int depth, const float *image, const float *kernel, double *output)
{
    for (int y = 0; y + 3 <= height; y++)
        for (int x = 0; x + 3 <= width; x++) {
            double sum = 0;
            for (int a = 0; a < 3; a++)
                for (int b = 0; b < 3; b++)
                    for (int c = 0; c < depth; c++)
                        sum += (double)image[((y + a) * width + x + b) * depth + c] * (double)kernel[(3 * a + b) * depth + c];
            output[y * (width - 2) + x] = sum;
        }
}

/* Correlates a size x size image with a 3x3 kernel at this stride; flip: true convolution. */
static void correlate(const char *source, const char *name, int size, int stride, int flip, const float *image,
                      const float *kernel, const double *expected)
{
    float output[16];
    conv2d_params layer = {
        .struct_size = sizeof layer, .batch = 1, .height = size, .width = size, .in_channels = 1, .out_channels = 1,
        .kernel_height = 3, .kernel_width = 3, .stride_height = stride, .stride_width = stride, .flip_kernel = flip,
    };
    int outputs = (size - 3) / stride + 1;
    check_status(conv2d(&layer, image, kernel, NULL, output));
    check_against(source, name, EXACT, outputs, outputs, output, expected);
}

int main(void)
{
    check_begin("05-numpy-cross-correlation", "edge filters, stride, flipping, depth");
    static const float vertical[] = {1, 0, -1, 1, 0, -1, 1, 0, -1}, negated[] = {-1, 0, 1, -1, 0, 1, -1, 0, 1};
    static const float horizontal[] = {1, 1, 1, 0, 0, 0, -1, -1, -1}, sobel[] = {1, 0, -1, 2, 0, -2, 1, 0, -1};
    static const float seed_0[] = {5, 0, 3, 3, 7, 9, 3, 5, 2, 4, 7, 6, 8, 8, 1, 6, 7, 7,
                                   8, 1, 5, 9, 8, 9, 4, 3, 0, 3, 5, 0, 2, 3, 8, 1, 3, 3};
    static const double seed_0_edges[] = {10, 0, -15, -9, 11, -5, -14, -3, 14, -6, -14, 2, 1, -6, -3, 1};
    correlate("document", "random 6x6 (seed 0), vertical edges", 6, 1, 0, seed_0, vertical, seed_0_edges);
    /* The document obtains the same from SciPy's true convolution by negating the kernel. That is no general recipe: it works
     * because this kernel turned by 180 degrees happens to be its negative. */
    correlate("document", "true convolution with the negated kernel", 6, 1, 1, seed_0, negated, seed_0_edges);

    static const float example[] = {3, 0, 1, 2, 7, 4, 1, 5, 8, 9, 3, 1, 2, 7, 2, 5, 1, 3,
                                    0, 1, 3, 1, 7, 8, 4, 2, 1, 6, 2, 8, 2, 4, 5, 2, 3, 9};
    static const double example_edges[] = {-5, -4, 0, 8, -10, -2, 2, 3, 0, -2, -4, -7, -3, -2, -3, -16};
    correlate("document", "example 6x6, vertical edges", 6, 1, 0, example, vertical, example_edges);

    float step[36], checker[36]; /* light left half; light upper left and lower right quarters */
    for (int i = 0; i < 36; i++) {
        step[i] = i % 6 < 3 ? 10 : 0;
        checker[i] = (i % 6 < 3) == (i < 18) ? 10 : 0;
    }
    static const double step_edges[] = {0, 30, 30, 0, 0, 30, 30, 0, 0, 30, 30, 0, 0, 30, 30, 0};
    static const double checker_horizontal[] = {0, 0, 0, 0, 30, 10, -10, -30, 30, 10, -10, -30, 0, 0, 0, 0};
    static const double checker_vertical[] = {0, 30, 30, 0, 0, 10, 10, 0, 0, -10, -10, 0, 0, -30, -30, 0};
    correlate("document", "light left half, vertical edges", 6, 1, 0, step, vertical, step_edges);
    correlate("document", "two light quarters, horizontal edges", 6, 1, 0, checker, horizontal, checker_horizontal);
    correlate("document", "two light quarters, vertical edges", 6, 1, 0, checker, vertical, checker_vertical);
    double by_loops[16]; /* the document gives the Sobel kernel without a result: its loops speak for it */
    loops(6, 6, 1, seed_0, sobel, by_loops);
    correlate("loops", "random 6x6, Sobel, against the document's loops", 6, 1, 0, seed_0, sobel, by_loops);
    static const float strided[] = {2, 3, 7, 4, 6, 2, 9, 6, 6, 9, 8, 7, 4, 3, 3, 4, 8, 3, 8, 9, 7, 7, 8, 3, 6,
                                    6, 3, 4, 4, 2, 1, 8, 3, 4, 6, 3, 2, 4, 1, 9, 8, 3, 0, 1, 3, 9, 2, 1, 4};
    static const float strided_kernel[] = {3, 4, 4, 1, 0, 2, -1, 0, 3};
    correlate("document", "7x7, stride 2", 7, 2, 0, strided, strided_kernel, (double[]){91, 100, 88, 69, 91, 117, 44, 72, 74});

    /* Flipping. A single 1 under full padding shows the kernel as it is under true convolution, and turned by 180 degrees under
     * correlation. The document's mirror() transposes as well and prints [[7,2,5],[9,0,4],[-1,1,3]], which is not the turn. */
    static const float one = 1, kernel[] = {3, 4, 5, 1, 0, 2, -1, 9, 7};
    float shown[9];
    conv2d_params impulse = {.struct_size = sizeof impulse, .batch = 1, .height = 1, .width = 1, .in_channels = 1,
                             .out_channels = 1, .kernel_height = 3, .kernel_width = 3, .padding = CONVOLUTION_PADDING_FULL};
    check_status(conv2d(&impulse, &one, kernel, NULL, shown));
    check_against("by hand", "the kernel flipped both ways", EXACT, 3, 3, shown, (double[]){7, 9, -1, 2, 0, 1, 5, 4, 3});
    impulse.flip_kernel = 1;
    check_status(conv2d(&impulse, &one, kernel, NULL, shown));
    check_against("by hand", "true convolution of an impulse: the kernel itself", EXACT, 3, 3, shown,
                  (double[]){3, 4, 5, 1, 0, 2, -1, 9, 7});

    /* Depth. The document's last image and kernel are random draws of unrecorded state, so its numbers cannot be had again:
     * the operation is checked on other data, against the document's loops. */
    float volume[5 * 6 * 3], filter[3 * 3 * 3], output[3 * 4];
    for (int i = 0; i < 5 * 6 * 3; i++)
        volume[i] = (float)(1 + i * i % 11);
    for (int i = 0; i < 3 * 3 * 3; i++)
        filter[i] = (float)(1 + i * 5 % 7);
    conv2d_params deep = {.struct_size = sizeof deep, .batch = 1, .height = 5, .width = 6, .in_channels = 3, .out_channels = 1,
                          .kernel_height = 3, .kernel_width = 3};
    loops(5, 6, 3, volume, filter, by_loops);
    check_status(conv2d(&deep, volume, filter, NULL, output));
    check_against("loops", "5x6x3 volume, summed over its depth", EXACT, 3, 4, output, by_loops);
    return check_end();
}
