/*
 * 10 - Where the checkerboard in enlarged images comes from, and two ways out. Writes checkerboard.png.
 *
 *     10-checkerboard-picture [input.png [output-directory]]
 *
 * After Odena, Dumoulin, Olah: Deconvolution and Checkerboard Artifacts (Distill, 2016): a transposed convolution whose
 * stride does not divide its kernel reaches some output pixels more often than others. Three layers enlarge a grey image and a
 * photograph by 2, all with equal weights, so that nothing but the overlap shows:
 *
 *     conv2d_transpose 3x3, stride 2     conv2d_transpose 4x4, stride 2     upsample2d_conv2d: nearest by 2, then 3x3
 *
 * The article prints no numbers. Checked against plain loops, and against each other.
 */
#include <convolution.h>

#include "check.h"
#include "picture.h"

enum { SHOWN = 16, SIDE = 128, GAP = 8, LAYERS = 3 };
static const char *const names[LAYERS] = {"3x3, stride 2", "4x4, stride 2", "nearest by 2, then 3x3"};

static conv2d_transpose_params transposed(int kernel, int side)
{
    conv2d_transpose_params p = {
        .struct_size = sizeof p, .batch = 1, .height = side, .width = side, .in_channels = 3, .out_channels = 3, .groups = 3,
        .kernel_height = kernel, .kernel_width = kernel, .stride_height = 2, .stride_width = 2,
        .padding = CONVOLUTION_PADDING_SAME};
    return p;
}

static upsample2d_params doubled(int side)
{
    upsample2d_params p = {.struct_size = sizeof p, .batch = 1, .height = side, .width = side, .channels = 3, .factor_height = 2,
                           .factor_width = 2};
    return p;
}

/* Its sizes are 0: those of the image that the upsampling makes. */
static const conv2d_params mean = {
    .struct_size = sizeof mean, .depth_multiplier = 1, .kernel_height = 3, .kernel_width = 3, .padding = CONVOLUTION_PADDING_SAME,
    .padding_mode = CONVOLUTION_PADDING_MODE_REPLICATE};

/* One of the three layers, on an image of side x side pixels. The weights for one output pixel add up to 1 on the average. */
static void enlarge(int layer, const float *image, int side, float *output)
{
    float kernel[4 * 4 * 3];
    int k = layer == 1 ? 4 : 3;
    for (int i = 0; i < k * k * 3; i++)
        kernel[i] = layer == 2 ? 1.0f / 9 : 4.0f / (float)(k * k);
    if (layer == 2) {
        upsample2d_params twice = doubled(side);
        check_status(upsample2d_conv2d(&twice, &mean, image, kernel, NULL, output));
        /* The same in two calls, with the enlarged image between them. */
        size_t count = (size_t)side * side * 12;
        float *between = allocate(count, sizeof *between), *composed = allocate(count, sizeof *composed);
        double *expected = allocate(count, sizeof *expected);
        conv2d_params second = mean;
        second.batch = 1;
        second.height = second.width = 2 * side;
        second.in_channels = 3;
        check_status(upsample2d(&twice, image, between));
        check_status(conv2d(&second, between, kernel, NULL, composed));
        for (size_t i = 0; i < count; i++)
            expected[i] = (double)composed[i];
        check_against("two calls", side == SHOWN ? "fused, grey image" : "fused, photograph", RELATIVE, 2 * side, 6 * side,
                      output, expected);
        free(between);
        free(composed);
        free(expected);
    } else {
        conv2d_transpose_params p = transposed(k, side);
        check_status(conv2d_transpose(&p, image, kernel, NULL, output));
    }
}

/* The counts of the library beside those of a loop over all pairs of an input element and a kernel element. */
static void check_overlap(int kernel, double *counts)
{
    enum { OUT = 2 * SHOWN };
    conv2d_transpose_params p = transposed(kernel, SHOWN);
    int64_t ours[OUT * OUT];
    float found[OUT * OUT], inside[2] = {INFINITY, 0};
    check_status(conv2d_transpose_overlap(&p, ours, OUT * OUT));
    const int cut = (kernel - 2) / 2; /* Keras cuts the natural result of 2 * (SHOWN - 1) + kernel lines down to OUT */
    for (int i = 0; i < OUT * OUT; i++)
        counts[i] = 0;
    for (int i = 0; i < SHOWN * SHOWN * kernel * kernel; i++) {
        int tap = i / (SHOWN * SHOWN), y = i / SHOWN % SHOWN * 2 + tap / kernel - cut, x = i % SHOWN * 2 + tap % kernel - cut;
        if (y >= 0 && y < OUT && x >= 0 && x < OUT)
            counts[y * OUT + x] += 1;
    }
    for (int i = 0; i < OUT * OUT; i++) {
        int y = i / OUT, x = i % OUT;
        found[i] = (float)ours[i];
        if (y >= 2 && y < OUT - 2 && x >= 2 && x < OUT - 2) {
            inside[0] = fminf(inside[0], found[i]);
            inside[1] = fmaxf(inside[1], found[i]);
        }
    }
    check_against("loops", kernel == 3 ? "overlap of 3x3, stride 2" : "overlap of 4x4, stride 2", EXACT, OUT, OUT, found, counts);
    check(kernel == 3 ? "3x3: fewest and most products inside" : "4x4: fewest and most products inside", EXACT, 1, 2, inside,
          kernel == 3 ? (double[]){1, 4} : (double[]){4, 4});
}

int main(int argc, char **argv)
{
    check_begin("10-checkerboard-picture", "where a checkerboard comes from, and two ways out");
    const char *directory = argc > 2 ? argv[2] : ".";
    int height, width;
    float *photo = picture_read(argc > 1 ? argv[1] : "images/astronaut.png", &height, &width);
    if (height < SIDE || width < SIDE)
        check_stop("the picture is too small");

    /* The sheet: two lines of three pictures on white. */
    const int place = 2 * SIDE, row = (LAYERS * (place + GAP) + GAP) * 3, rows = 2 * (place + GAP) + GAP;
    float *sheet = allocate((size_t)rows * row, sizeof *sheet), *result = allocate((size_t)place * place * 3, sizeof *result);
    for (int i = 0; i < rows * row; i++)
        sheet[i] = 1;

    double counts[2][4 * SHOWN * SHOWN];
    check_overlap(3, counts[0]);
    check_overlap(4, counts[1]);

    /* Line 1: evenly grey in, and what comes out, each pixel as a square. Line 2: the upper middle of the photograph. */
    float grey[SHOWN * SHOWN * 3], *part = allocate(SIDE * SIDE * 3, sizeof *part);
    for (int i = 0; i < SHOWN * SHOWN * 3; i++)
        grey[i] = 0.5f;
    for (int y = 0; y < SIDE; y++)
        memcpy(part + y * SIDE * 3, photo + (y * width + (width - SIDE) / 2) * 3, SIDE * 3 * sizeof *part);
    for (int layer = 0; layer < LAYERS; layer++) {
        float *line_1 = sheet + GAP * (row + 3) + layer * (place + GAP) * 3, *line_2 = line_1 + (place + GAP) * row;
        enlarge(layer, grey, SHOWN, result);
        double expected[4 * SHOWN * SHOWN * 3];
        for (int i = 0; i < 4 * SHOWN * SHOWN * 3; i++)
            expected[i] = layer == 2 ? 0.5 : counts[layer][i / 3] * 0.5 * 4 / (layer == 0 ? 9 : 16);
        char text[80];
        snprintf(text, sizeof text, "grey through %s", names[layer]);
        check_against("overlap", text, RELATIVE, 2 * SHOWN, 6 * SHOWN, result, expected);
        upsample2d_params magnify = doubled(2 * SHOWN);
        magnify.factor_height = magnify.factor_width = place / (2 * SHOWN);
        magnify.output_strides[1] = row;
        check_status(upsample2d(&magnify, result, line_1));

        enlarge(layer, part, SIDE, result);
        for (int y = 0; y < place; y++)
            memcpy(line_2 + y * row, result + y * place * 3, (size_t)place * 3 * sizeof *result);
    }
    picture_write(directory, "checkerboard.png", sheet, rows, row / 3);
    free(photo);
    free(part);
    free(sheet);
    free(result);
    return check_end();
}
