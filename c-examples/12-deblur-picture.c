/*
 * 12 - A photograph out of focus, put right: with exact data, with noise, and what helps against noise. Writes PNG files.
 *
 *     12-deblur-picture [input.png [output-directory]]
 *
 * The lens spreads each point over a disc 9 pixels wide: a depthwise conv2d A, without padding, so that at the edges it mixes in
 * what the blurred picture does not show. conv2d_solve undoes it by least squares. Exact data bring the picture back. With noise
 * of 1% in the data the same 200 steps end in noise blown up, for A damps fine detail a hundredfold and its inverse amplifies
 * what the noise has of it as much; fewer steps, or lambda, stop at what the data can tell. The callback compares each step with
 * the original.
 */
#include <convolution.h>

#include "check.h"
#include "picture.h"
#include "plot.h"

enum { DISC = 9, BORDER = DISC / 2, STEPS = 200, GAP = 8 };

typedef struct watch {
    const float *original;
    int height, width, steps, best;
    double errors[STEPS];
} watch;

/* Relative distance from the original, over the pixels that the blurred picture shows; x has `margin` more around them. */
static double distance(const watch *w, const double *x, int margin)
{
    double squares = 0, all = 0;
    for (int y = BORDER; y < w->height - BORDER; y++)
        for (int i = BORDER * 3; i < (w->width - BORDER) * 3; i++) {
            int shift = BORDER - margin;
            double wanted = (double)w->original[y * w->width * 3 + i];
            double difference = x[(y - shift) * (w->width - 2 * shift) * 3 + i - shift * 3] - wanted;
            squares += difference * difference;
            all += wanted * wanted;
        }
    return sqrt(squares / all);
}

static int32_t look(void *context, const conv2d_solve_progress *state)
{
    watch *w = context;
    w->errors[w->steps] = distance(w, state->input, BORDER);
    if (w->errors[w->steps] < w->errors[w->best])
        w->best = w->steps;
    w->steps++;
    return 0;
}

static void check_that(const char *what, int holds)
{
    check_against("yes", what, EXACT, 1, 1, &(float){(float)holds}, (double[]){1});
}

static double gaussian(void) /* a sum of 12 random numbers, the same on every machine */
{
    static uint64_t state = 11;
    double sum = -6;
    for (int i = 0; i < 12; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(state >> 40) / (1 << 24);
    }
    return sum;
}

int main(int argc, char **argv)
{
    check_begin("12-deblur-picture", "a photograph out of focus, and what can be had back");
    const char *directory = argc > 2 ? argv[2] : ".";
    int h, w;
    float *photo = picture_read(argc > 1 ? argv[1] : "images/astronaut.png", &h, &w);
    const int bh = h - 2 * BORDER, bw = w - 2 * BORDER, n = h * w * 3, blurred_n = bh * bw * 3;

    float disc[DISC * DISC * 3];
    double total = 0;
    for (int i = 0; i < DISC * DISC * 3; i++) { /* how much of each pixel lies within the circle, roughly */
        double r = hypot(i / 3 / DISC - BORDER, i / 3 % DISC - BORDER);
        disc[i] = (float)fmin(fmax(BORDER + 0.5 - r, 0), 1);
        total += (double)disc[i] / 3;
    }
    for (int i = 0; i < DISC * DISC * 3; i++)
        disc[i] /= (float)total;

    conv2d_params lens = {.struct_size = sizeof lens, .batch = 1, .height = h, .width = w, .in_channels = 3,
                          .depth_multiplier = 1, .kernel_height = DISC, .kernel_width = DISC};
    float *blurred = allocate((size_t)blurred_n, sizeof *blurred), *noisy = allocate((size_t)blurred_n, sizeof *noisy);
    check_status(conv2d(&lens, photo, disc, NULL, blurred));
    for (int i = 0; i < blurred_n; i++)
        noisy[i] = blurred[i] + 0.01f * (float)gaussian();

    enum { EXACT_DATA, NOISE, EARLY, DAMPED, RUNS };
    static watch watches[RUNS];
    float *found[RUNS];
    for (int run = 0; run < RUNS; run++) {
        watches[run].original = photo;
        watches[run].height = h;
        watches[run].width = w;
        found[run] = allocate((size_t)n, sizeof(float));
        conv2d_solve_params solve = {.struct_size = sizeof solve, .max_iterations = STEPS, .progress = look,
                                     .context = &watches[run]};
        if (run == EARLY)
            solve.max_iterations = watches[NOISE].best + 1;
        if (run == DAMPED)
            solve.lambda = 0.08;
        conv2d_solve_result result = {.struct_size = sizeof result};
        check_status(conv2d_solve(&lens, &solve, disc, NULL, run == EXACT_DATA ? blurred : noisy, found[run], &result));
    }

    /* The sheet: two lines of four pictures, and below them the errors of all steps. */
    const int width = 4 * w + 5 * GAP, line = h + 3 * GAP, top = 2 * line + GAP, height = top + 330, row = 3 * width;
    float *sheet = allocate((size_t)height * row, sizeof *sheet);
    for (int i = 0; i < height * row; i++)
        sheet[i] = 1;
    float point[DISC * DISC * 3];
    for (int i = 0; i < DISC * DISC * 3; i++)
        point[i] = disc[i] / disc[DISC * DISC / 2 * 3];
    char early[40];
    snprintf(early, sizeof early, "with noise: %d steps", watches[EARLY].steps);
    const struct {
        const float *pixels;
        int height, width, factor;
        const char *title;
    } pictures[8] = {
        {photo, h, w, 1, "original"}, {point, DISC, DISC, h / 2 / DISC, "a point through the lens"},
        {blurred, bh, bw, 1, "the original through it"}, {found[EXACT_DATA], h, w, 1, "solved: 200 steps"},
        {noisy, bh, bw, 1, "the same with 1% noise"}, {found[NOISE], h, w, 1, "with noise: 200 steps"},
        {found[EARLY], h, w, 1, early}, {found[DAMPED], h, w, 1, "with noise: lambda = 0.08"}};
    for (int i = 0; i < 8; i++) {
        int f = pictures[i].factor, x = GAP + i % 4 * (w + GAP), y = GAP + i / 4 * line;
        upsample2d_params copy = {.struct_size = sizeof copy, .batch = 1, .height = pictures[i].height,
                                  .width = pictures[i].width, .channels = 3, .factor_height = f, .factor_width = f,
                                  .output_strides = {0, row}};
        float *corner = sheet + (y + (h - f * pictures[i].height) / 2) * row + (x + (w - f * pictures[i].width) / 2) * 3;
        check_status(upsample2d(&copy, pictures[i].pixels, corner));
        plot_text(sheet, width, x, y + h + GAP / 2, pictures[i].title, plot_black);
    }
    static const double tens[] = {1, 10, 100}, levels[] = {0.05, 0.1, 0.2, 0.5, 1};
    plot p = {.picture = sheet, .width = width, .left = 60, .top = top + 30, .columns = width - 80, .rows = 240,
              .log_x = 1, .log_y = 1, .x_low = 1, .x_high = STEPS, .y_low = 0.03, .y_high = 1.5};
    plot_frame(&p, "relative error of the solution", "steps", 3, tens, 5, levels);
    plot_curve(&p, STEPS, 1, watches[EXACT_DATA].errors, plot_green, 2, "exact data");
    plot_curve(&p, STEPS, 1, watches[NOISE].errors, plot_red, 1, "1% noise");
    plot_curve(&p, watches[DAMPED].steps, 1, watches[DAMPED].errors, plot_blue, 0, "1% noise, lambda = 0.08");
    picture_write(directory, "deblurred.png", sheet, height, width);

    /* What must be so. */
    double *wide = allocate((size_t)blurred_n, sizeof *wide), last[RUNS], misfit = 0;
    for (int i = 0; i < blurred_n; i++)
        wide[i] = (double)noisy[i];
    double before = distance(&watches[NOISE], wide, 0);
    for (int run = 0; run < RUNS; run++)
        last[run] = watches[run].errors[watches[run].steps - 1];
    check_status(conv2d(&lens, found[EXACT_DATA], disc, NULL, noisy));
    for (int i = 0; i < blurred_n; i++)
        misfit = fmax(misfit, fabs((double)noisy[i] - (double)blurred[i]));
    printf("\n  Relative errors: %.3f of the blurred picture with noise; after %d steps %.3f with exact data and %.3f with\n"
           "  noise; with noise after %d steps %.3f, and with lambda %.3f.\n",
           before, STEPS, last[EXACT_DATA], last[NOISE], watches[EARLY].steps, last[EARLY], last[DAMPED]);
    check_against("nothing", "exact data: the solution blurred, minus the data", 2e-3, 1, 1, &(float){(float)misfit},
                  (double[]){0});
    check_that("exact data: two thirds of the error are gone", last[EXACT_DATA] < before / 3);
    check_that("noise: 200 steps are worse than nothing", last[NOISE] > 2 * before);
    check_that("noise: few steps are better", last[EARLY] < 0.8 * before);
    check_that("noise: so is lambda", last[DAMPED] < 0.8 * before);
    free(photo);
    free(blurred);
    free(noisy);
    free(sheet);
    free(wide);
    for (int run = 0; run < RUNS; run++)
        free(found[run]);
    return check_end();
}
