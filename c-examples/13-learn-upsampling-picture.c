/*
 * 13 - Learning to upsample: a transposed convolution starts from random weights and learns by plain gradient descent, first to
 * do what bilinear interpolation does, then to do better. Writes a PNG file.
 *
 *     13-learn-upsampling-picture [input.png [output-directory]]
 *
 * The photograph is halved by taking means of 2x2. The layer, one 4x4 kernel with stride 2, is shown patches of the small
 * picture, and its output is compared with the same patches of what it shall make of them: once the small picture enlarged
 * bilinearly, once the photograph itself. Each step is output, difference, kernel gradient, and weights -= rate * gradient. The
 * gradient's sizes stay the same, so it has a plan; a plan of the output would keep a kernel that has changed.
 *
 * Bilinear interpolation by 2 is such a layer, with the kernel [1 3 3 1]/4 both ways: so the first training has to end at that.
 */
#include <convolution.h>

#include "check.h"
#include "picture.h"
#include "plot.h"

enum { PATCHES = 64, SIZE = 16, WIDE = 2 * SIZE, KERNEL = 4, STEPS = 1000, CROP = 48, GAP = 8, CELL = 48, TILE = KERNEL * CELL };

static const conv2d_transpose_params layer = { /* torch.nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1): twice the size */
    .struct_size = sizeof layer, .batch = PATCHES, .height = SIZE, .width = SIZE, .in_channels = 1, .out_channels = 1,
    .kernel_height = KERNEL, .kernel_width = KERNEL, .stride_height = 2, .stride_width = 2, .rule = CONV2D_TRANSPOSE_RULE_TORCH,
    .padding = CONVOLUTION_PADDING_EXPLICIT, .pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1};

static uint32_t random_bits(void) /* the same on every machine */
{
    static uint32_t state = 12;
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

/* Trains the kernel, and notes the mean square of the differences before each step. */
static void train(float *kernel, const float *input, const float *wanted, double *losses)
{
    static float output[PATCHES * WIDE * WIDE], gradient[KERNEL * KERNEL];
    const double count = (double)PATCHES * (WIDE - 2) * (WIDE - 2);
    conv2d_transpose_backward_kernel_plan *backward;
    check_status(conv2d_transpose_backward_kernel_plan_create(&layer, &backward));
    for (int step = 0; step < STEPS; step++) {
        check_status(conv2d_transpose(&layer, input, kernel, NULL, output));
        losses[step] = 0;
        for (int i = 0; i < PATCHES * WIDE * WIDE; i++) {
            int y = i / WIDE % WIDE, x = i % WIDE, inside = y > 0 && y < WIDE - 1 && x > 0 && x < WIDE - 1;
            output[i] = inside ? output[i] - wanted[i] : 0; /* at its edge a patch lacks its neighbours */
            losses[step] += (double)output[i] * (double)output[i] / count;
        }
        check_status(conv2d_transpose_backward_kernel_plan_execute(backward, input, output, gradient));
        for (int i = 0; i < KERNEL * KERNEL; i++)
            kernel[i] -= 8 * 2 * gradient[i] / (float)count;
    }
    conv2d_transpose_backward_kernel_plan_destroy(backward);
}

/* Copies patches whose upper left corners lie at places[], times scale, less the mean that all patches share. */
static void cut(const float *picture, int width, int (*places)[2], int scale, float mean, float *patches)
{
    int size = SIZE * scale;
    for (int i = 0; i < PATCHES * size * size; i++) {
        const int *place = places[i / (size * size)];
        patches[i] = picture[(place[0] * scale + i / size % size) * width + place[1] * scale + i % size] - mean;
    }
}

/* The kernel as a tile of coloured numbers: red above 0, blue below. */
static void draw_kernel(float *sheet, int width, int left, int top, const float *kernel, const char *title)
{
    for (int i = 0; i < KERNEL * KERNEL; i++) {
        char number[24];
        float strength = fminf(fabsf(kernel[i]) / 0.7f, 1), colour[3];
        for (int c = 0; c < 3; c++)
            colour[c] = 1 - strength * (1 - (kernel[i] > 0 ? plot_red : plot_blue)[c]);
        int x = left + i % KERNEL * CELL, y = top + i / KERNEL * CELL;
        plot_dot(sheet, width, x, y, CELL - 2, colour);
        snprintf(number, sizeof number, "%.2f", (double)kernel[i]);
        plot_text(sheet, width, x + (kernel[i] < 0 ? 3 : 8), y + CELL / 2 - 6, number, plot_black);
    }
    plot_text(sheet, width, left, top + TILE + GAP / 2, title, plot_black);
}

/* Mean square difference of two pictures, but for two pixels at the edge. */
static double difference(const float *a, const float *b, int h, int w)
{
    double squares = 0;
    for (int y = 2; y < h - 2; y++)
        for (int x = 2; x < w - 2; x++)
            squares += pow((double)a[y * w + x] - (double)b[y * w + x], 2);
    return squares / ((h - 4) * (w - 4));
}

int main(int argc, char **argv)
{
    check_begin("13-learn-upsampling-picture", "a transposed convolution learns to upsample");
    const char *directory = argc > 2 ? argv[2] : ".";
    int h, w;
    float *photo = picture_read(argc > 1 ? argv[1] : "images/astronaut.png", &h, &w);
    h -= h % 2;
    const int half_h = h / 2, half_w = w / 2;

    /* Grey, half of it, and that enlarged again. */
    static const float luma[3] = {0.299f, 0.587f, 0.114f}, quarters[4] = {0.25f, 0.25f, 0.25f, 0.25f};
    float *grey = allocate((size_t)h * w, sizeof *grey), *small = allocate((size_t)half_h * half_w, sizeof *small);
    float *bilinear = allocate((size_t)h * w, sizeof *bilinear), *result = allocate((size_t)h * w, sizeof *result);
    conv2d_params weigh = {.struct_size = sizeof weigh, .batch = 1, .height = h, .width = w, .in_channels = 3, .out_channels = 1,
                           .kernel_height = 1, .kernel_width = 1};
    conv2d_params halve = {.struct_size = sizeof halve, .batch = 1, .height = h, .width = w, .in_channels = 1, .out_channels = 1,
                           .kernel_height = 2, .kernel_width = 2, .stride_height = 2, .stride_width = 2};
    upsample2d_params enlarge = {.struct_size = sizeof enlarge, .batch = 1, .height = half_h, .width = half_w, .channels = 1,
                                 .factor_height = 2, .factor_width = 2, .interpolation = UPSAMPLE2D_BILINEAR};
    check_status(conv2d(&weigh, photo, luma, NULL, grey));
    check_status(conv2d(&halve, grey, quarters, NULL, small));
    check_status(upsample2d(&enlarge, small, bilinear));

    /* The patches. Less their mean, for else the descent spends its time on brightness. */
    static float input[PATCHES * SIZE * SIZE], wanted[2][PATCHES * WIDE * WIDE];
    int places[PATCHES][2];
    for (int i = 0; i < PATCHES; i++) {
        places[i][0] = (int)(random_bits() % (unsigned)(half_h - SIZE));
        places[i][1] = (int)(random_bits() % (unsigned)(half_w - SIZE));
    }
    float mean = 0;
    cut(small, half_w, places, 1, 0, input);
    for (int i = 0; i < PATCHES * SIZE * SIZE; i++)
        mean += input[i] / (PATCHES * SIZE * SIZE);
    cut(small, half_w, places, 1, mean, input);
    cut(bilinear, w, places, 2, mean, wanted[0]);
    cut(grey, w, places, 2, mean, wanted[1]);

    /* Both trainings start from the same random weights. */
    static double losses[2][STEPS];
    float start[16], learnt[2][16], exact[16];
    double expected[16];
    for (int i = 0; i < 16; i++) {
        static const int line[4] = {1, 3, 3, 1};
        start[i] = learnt[0][i] = learnt[1][i] = (float)(random_bits() % 2000) / 2000 - 0.5f;
        expected[i] = line[i / 4] * line[i % 4] / 16.0;
        exact[i] = (float)expected[i];
    }
    for (int t = 0; t < 2; t++)
        train(learnt[t], input, wanted[t], losses[t]);
    printf("\n  mean square difference   from bilinear   from the photograph\n");
    for (int step = 1; step <= STEPS; step *= 10)
        printf("    before step %8d   %13.2e   %19.2e\n", step, losses[0][step - 1], losses[1][step - 1]);
    check_against("bilinear", "kernel learnt from bilinear upsampling", 2e-3, 4, 4, learnt[0], expected);
    check_against("nothing", "mean square difference left", 1e-8, 1, 1, &(float){(float)losses[0][STEPS - 1]}, (double[]){0});

    /* The layer on the whole picture: trained without the mean, it gets it back as its bias. */
    for (int i = 0; i < half_h * half_w; i++)
        small[i] -= mean;
    conv2d_transpose_params whole = layer;
    whole.batch = 1;
    whole.height = half_h;
    whole.width = half_w;
    check_status(conv2d_transpose(&whole, small, learnt[1], &mean, result));
    double errors[2] = {difference(bilinear, grey, h, w), difference(result, grey, h, w)};
    printf("\n  The photograph from its half: mean square difference %.2e by bilinear interpolation, %.2e by the learnt kernel,\n"
           "  which is %.1f dB less. (No 4x4 kernel can do much better: an output pixel sees 4 of the small picture's.)\n",
           errors[0], errors[1], 10 * log10(errors[0] / errors[1]));
    check_against("yes", "learnt from the photograph: nearer to it than bilinear", EXACT, 1, 1,
                  &(float){errors[1] < 0.95 * errors[0]}, (double[]){1});

    /* The sheet: kernels, losses, and a face enlarged in four ways. */
    const int width = 4 * (TILE + GAP) + GAP, row = 3 * width;
    const int plot_top = TILE + 70, faces = plot_top + 290, height = faces + TILE + 30;
    float *sheet = allocate((size_t)height * row, sizeof *sheet);
    for (int i = 0; i < height * row; i++)
        sheet[i] = 1;
    const struct {
        const float *kernel;
        const char *title;
    } kernels[4] = {{start, "random start"}, {learnt[0], "learnt from bilinear"}, {exact, "bilinear"},
                    {learnt[1], "learnt from photograph"}};
    for (int i = 0; i < 4; i++)
        draw_kernel(sheet, width, GAP + i * (TILE + GAP), GAP, kernels[i].kernel, kernels[i].title);
    static const double steps[] = {1, 10, 100, 1000}, levels[] = {1e-9, 1e-7, 1e-5, 1e-3};
    plot p = {.picture = sheet, .width = width, .left = 70, .top = plot_top, .columns = width - 90, .rows = 210,
              .log_x = 1, .log_y = 1, .x_low = 1, .x_high = STEPS, .y_low = 3e-10, .y_high = 3e-2};
    plot_frame(&p, "mean square difference", "steps of gradient descent", 4, steps, 4, levels);
    plot_curve(&p, STEPS, 1, losses[1], plot_red, 1, "against the photograph");
    plot_curve(&p, STEPS, 1, losses[0], plot_blue, 0, "against bilinear upsampling");

    /* The colours of one picture are a batch of three to the layer: a matter of strides. Shown twice as large, pixel by pixel. */
    float *little = allocate((size_t)half_h * half_w * 3, sizeof *little), *large = allocate((size_t)h * w * 3, sizeof *large);
    float quarters_of_3[12];
    for (int i = 0; i < 12; i++)
        quarters_of_3[i] = 0.25f;
    conv2d_params shrink = halve;
    shrink.in_channels = 3;
    shrink.out_channels = 0;
    shrink.depth_multiplier = 1;
    check_status(conv2d(&shrink, photo, quarters_of_3, NULL, little));
    static const char *const titles[4] = {"nearest", "bilinear", "learnt", "original"};
    for (int i = 0; i < 4; i++) {
        enlarge.channels = 3;
        enlarge.interpolation = i == 0 ? UPSAMPLE2D_NEAREST : UPSAMPLE2D_BILINEAR;
        whole.batch = 3;
        memcpy(whole.input_strides, (int64_t[]){1, 3 * half_w, 3, 1}, sizeof whole.input_strides);
        memcpy(whole.output_strides, (int64_t[]){1, 3 * w, 3, 1}, sizeof whole.output_strides);
        if (i < 2)
            check_status(upsample2d(&enlarge, little, large));
        for (int j = 0; i == 2 && j < half_h * half_w * 3; j++)
            little[j] -= mean;
        if (i == 2)
            check_status(conv2d_transpose(&whole, little, learnt[1], &mean, large));
        const float *from = (i < 3 ? large : photo) + (h / 12 * w + w * 5 / 16) * 3;
        upsample2d_params show = {.struct_size = sizeof show, .batch = 1, .height = 2 * CROP, .width = 2 * CROP, .channels = 3,
                                  .factor_height = 2, .factor_width = 2, .input_strides = {0, 3 * w}, .output_strides = {0, row}};
        check_status(upsample2d(&show, from, sheet + faces * row + (GAP + i * (TILE + GAP)) * 3));
        plot_text(sheet, width, GAP + i * (TILE + GAP), faces + TILE + GAP / 2, titles[i], plot_black);
    }
    picture_write(directory, "learnt.png", sheet, height, width);
    free(photo);
    free(grey);
    free(small);
    free(bilinear);
    free(result);
    free(little);
    free(large);
    free(sheet);
    return check_end();
}
