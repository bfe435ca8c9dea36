/*
 * 11 - "I convolved a 7x7x3 image with a 3x3x3 filter and got 3x3. I want the image back": what can be had, in numbers.
 *
 * 07-deconvolution-question.c shows the adjoint, which is what the asker's loop computes when put right. Here are the three
 * things that are confused with each other, for this layer and for others: the adjoint, the least-squares solution, and the image
 * itself, which comes back if and only if the layer keeps all 147 numbers of it. conv2d_rank_report says so before anything is
 * solved.
 */
#include <convolution.h>

#include "check.h"

enum { SIZE = 7, DEPTH = 3, PIXELS = SIZE * SIZE * DEPTH, MOST = 27 };

static double random_number(void) /* -1 to 1, the same on every machine */
{
    static uint32_t state = 5;
    state = state * 1664525u + 1013904223u;
    return state / 2147483648.0 - 1;
}

static double length(int n, const double *a)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * a[i];
    return sqrt(sum);
}

/* How far scale * x is from the image, relative to its length, with the best scale: an adjoint has the wrong brightness. */
static double error_of(const double *x, const double *image)
{
    double product = 0, difference[PIXELS];
    for (int i = 0; i < PIXELS; i++)
        product += x[i] * image[i];
    for (int i = 0; i < PIXELS; i++)
        difference[i] = x[i] * product / (length(PIXELS, x) * length(PIXELS, x)) - image[i];
    return length(PIXELS, difference) / length(PIXELS, image);
}

/* One line of pixels, small enough to follow by hand: [1 2 3] under the filter [1 1] is [3 5]. */
static void one_line(void)
{
    static const double filter[2] = {1, 1}, y[2] = {3, 5};
    double x[3];
    float shown[3];
    conv2d_params layer = {.struct_size = sizeof layer, .batch = 1, .height = 1, .width = 3, .in_channels = 1, .out_channels = 1,
                           .kernel_height = 1, .kernel_width = 2, .dtype = CONVOLUTION_FLOAT64};
    check_status(conv2d_backward_input(&layer, y, filter, x));
    for (int i = 0; i < 3; i++)
        shown[i] = (float)x[i];
    check_against("by hand", "[1 2 3] became [3 5]; the adjoint", EXACT, 1, 3, shown, (double[]){3, 8, 5});
    check_status(conv2d_solve(&layer, NULL, filter, NULL, y, x, NULL));
    for (int i = 0; i < 3; i++)
        shown[i] = (float)x[i];
    check_against("by hand", "the smallest of all that give [3 5]", RELATIVE, 1, 3, shown, (double[]){1 / 3.0, 8 / 3.0, 7 / 3.0});
}

int main(void)
{
    static const struct {
        const char *name;
        int filters, stride, padding, rank;
    } layers[] = {
        {"1 filter, stride 2: the question", 1, 2, CONVOLUTION_PADDING_VALID, 9},
        {"1 filter", 1, 1, CONVOLUTION_PADDING_VALID, 25},
        {"3 filters", 3, 1, CONVOLUTION_PADDING_VALID, 75},
        {"12 filters, stride 2", 12, 2, CONVOLUTION_PADDING_VALID, 108},
        {"6 filters", 6, 1, CONVOLUTION_PADDING_VALID, 147},
        {"3 filters, padding same", 3, 1, CONVOLUTION_PADDING_SAME, 147},
        {"3 filters, padding full", 3, 1, CONVOLUTION_PADDING_FULL, 147},
        {"27 filters, stride 2", 27, 2, CONVOLUTION_PADDING_VALID, 147},
    };
    enum { LAYERS = sizeof layers / sizeof *layers, OUTPUTS = 9 * 9 * MOST };
    static double image[PIXELS], x[PIXELS], kernel[3 * 3 * DEPTH * MOST], bias[MOST];
    static double y[OUTPUTS], again[OUTPUTS], centred[OUTPUTS];
    char table[LAYERS][120];
    check_begin("11-image-back", "the adjoint, the least-squares solution, and when the image itself comes back");
    one_line();
    for (int i = 0; i < PIXELS; i++)
        image[i] = random_number();

    for (int l = 0; l < LAYERS; l++) {
        for (int i = 0; i < 9 * DEPTH * layers[l].filters; i++)
            kernel[i] = random_number();
        for (int i = 0; i < layers[l].filters; i++)
            bias[i] = random_number();
        conv2d_params layer = {
            .struct_size = sizeof layer, .batch = 1, .height = SIZE, .width = SIZE, .in_channels = DEPTH, .kernel_height = 3,
            .kernel_width = 3, .out_channels = layers[l].filters, .stride_height = layers[l].stride,
            .stride_width = layers[l].stride, .padding = layers[l].padding, .dtype = CONVOLUTION_FLOAT64};
        check_status(conv2d(&layer, image, kernel, bias, y));

        conv2d_rank rank = {.struct_size = sizeof rank};
        check_status(conv2d_rank_report(&layer, kernel, &rank));
        int outputs = (int)rank.equations;
        for (int i = 0; i < outputs; i++)
            centred[i] = y[i] - bias[i % layers[l].filters];
        check_status(conv2d_backward_input(&layer, centred, kernel, x));
        double adjoint = error_of(x, image);

        conv2d_solve_params solve = {.struct_size = sizeof solve, .tolerance = 1e-15};
        conv2d_solve_result result = {.struct_size = sizeof result};
        check_status(conv2d_solve(&layer, &solve, kernel, bias, y, x, &result));
        check_status(conv2d(&layer, x, kernel, bias, again));
        for (int i = 0; i < PIXELS; i++)
            x[i] -= image[i];
        for (int i = 0; i < outputs; i++)
            again[i] -= y[i];
        double solution = length(PIXELS, x) / length(PIXELS, image);
        snprintf(table[l], sizeof table[l], "%-33s %4d x %d %6d %10.1f %10.2f %12.1e %8d", layers[l].name, outputs,
                 (int)rank.unknowns, (int)rank.rank, rank.condition, adjoint, solution, (int)result.iterations);

        char what[120];
        snprintf(what, sizeof what, "%s: rank", layers[l].name);
        check_against("expected", what, EXACT, 1, 1, &(float){(float)rank.rank}, (double[]){layers[l].rank});
        snprintf(what, sizeof what, "%s: the solution gives the same output", layers[l].name);
        float misfit = (float)(length(outputs, again) / length(outputs, y));
        check_against("nothing", what, 1e-12, 1, 1, &misfit, (double[]){0});
        int full = rank.rank == rank.unknowns;
        snprintf(what, sizeof what, full ? "%s: and is the image" : "%s: and is another image", layers[l].name);
        if (full)
            check_against("nothing", what, 1e-10, 1, 1, &(float){(float)solution}, (double[]){0});
        else
            check_against("yes", what, EXACT, 1, 1, &(float){solution > 0.4}, (double[]){1});
    }
    printf("\n  A 7x7x3 image under 3x3x3 filters. Errors are relative to the image, for the adjoint with its best scale.\n\n"
           "  %-33s %8s %8s %10s %10s %12s %8s\n", "layer", "matrix", "rank", "condition", "adjoint", "solution", "steps");
    for (int l = 0; l < LAYERS; l++)
        printf("  %s\n", table[l]);
    printf("\n  The question's layer keeps 9 of 147 numbers, and no function brings the others back. Enough filters do.\n");
    return check_end();
}
