/*
 * Every array against an unreadable page, once with its last byte and once with its first: a read or write outside is a crash.
 * Input, kernel and bias are read-only, the kernel of a plan is gone when the plan is executed, gaps between the elements hold
 * NaN in the input and a mark in the output that must survive. Whole numbers as data make every correct result exact, so results
 * are compared for equality with textbook loops over the formulas of the header; what upsample2d has beside nearest and bilinear,
 * whose places and weights are the frameworks' (see Tests/python/fixtures), within the rounding errors with its own matrix.
 *
 * usage: guard-pages [shapes per verb [seed]]
 */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "convolution.h"
#include "guarded.h"

static int passed, failed;
static char now[900]; /* the case at hand, for the report of a crash */

static void crashed(int number) {
    char text[1000];
    int length = snprintf(text, sizeof text, "%s: signal %d\n", now, number);
    if (write(2, text, (size_t)length)) {}
    _exit(1);
}

static uint64_t random_state;
static uint64_t mixed(uint64_t z) { /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
static int64_t below(int64_t n) { return (int64_t)(mixed(random_state += 0x9E3779B97F4A7C15u) % (uint64_t)n); }
static int one_in(int64_t n) { return below(n) == 0; }
static int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }

/* Element `index` of an array is a whole number from -range to range. */
static double whole(uint64_t salt, int64_t index, int range) {
    return (double)((int64_t)(mixed(salt * 0x9E3779B97F4A7C15u + (uint64_t)index) % (uint64_t)(2 * range + 1)) - range);
}

/* ------------------------------------------------------------------------------------------------------------- arrays */

/* Logical order is always n, y, x, c; a view says where such an element stands. */
struct view {
    unsigned char *block;
    struct place place;
    int64_t sizes[4];   /* n, y, x, c */
    int64_t steps[4];   /* in elements, of n, y, x, c */
    int64_t strides[4]; /* what the params say, in the order of data_format */
    size_t element;
};

static unsigned char *blocks[4]; /* input, kernel, bias, output */

enum layout { PACKED, PADDED, MIRRORED, LAYOUTS };
static enum layout random_layout(void) { return one_in(2) ? PACKED : (enum layout)below(LAYOUTS); }

static void make_view(struct view *view, unsigned char *block, int32_t format, size_t element, int64_t n, int64_t h, int64_t w,
                      int64_t c, enum layout layout, int at_end) {
    /* position[i] = which logical axis is axis i of the format */
    static const int nhwc[4] = { 0, 1, 2, 3 }, nchw[4] = { 0, 3, 1, 2 };
    const int *axis = format == CONVOLUTION_NCHW ? nchw : nhwc;
    const int64_t sizes[4] = { n, h, w, c };
    int64_t step = 1, in_order[4];
    memcpy(view->sizes, sizes, sizeof sizes);
    view->block = block;
    view->element = element;
    for (int i = 3; i >= 0; i--) {
        if (layout != PACKED) step += i == 3 ? 1 : 3; /* gaps between channels or columns, and between rows */
        int flipped = layout == MIRRORED && (axis[i] == 1 || axis[i] == 2);
        view->strides[i] = layout == PACKED ? 0 : flipped ? -step : step;
        view->steps[axis[i]] = flipped ? -step : step;
        in_order[i] = sizes[axis[i]];
        step *= sizes[axis[i]];
    }
    view->place = place_array(block, at_end, in_order, view->strides, element);
    if (!view->place.fits) {
        fprintf(stderr, "%s: array too large for this test\n", now);
        exit(1);
    }
}

static unsigned char *at(const struct view *v, int64_t n, int64_t y, int64_t x, int64_t c) {
    return v->place.origin + (n * v->steps[0] + y * v->steps[1] + x * v->steps[2] + c * v->steps[3]) * (int64_t)v->element;
}

static void put(unsigned char *place, size_t element, double value) {
    float single = (float)value;
    memcpy(place, element == sizeof single ? (void *)&single : (void *)&value, element);
}

static double get(const unsigned char *place, size_t element) {
    float single;
    double value;
    memcpy(element == sizeof single ? (void *)&single : (void *)&value, place, element);
    return element == sizeof single ? (double)single : value;
}

/* Bytes of 0xFF are a NaN in either type, one that arithmetic does not make. */
#define MARK 0xFF

static void fill_input(struct view *v, uint64_t salt) {
    guarded_protect(v->block, PROT_READ | PROT_WRITE);
    memset(v->place.first, MARK, v->place.bytes);
    int64_t index = 0;
    for (int64_t n = 0; n < v->sizes[0]; n++)
        for (int64_t y = 0; y < v->sizes[1]; y++)
            for (int64_t x = 0; x < v->sizes[2]; x++)
                for (int64_t c = 0; c < v->sizes[3]; c++) put(at(v, n, y, x, c), v->element, whole(salt, index++, 4));
    guarded_protect(v->block, PROT_READ);
}

/* Whether the output holds the expected numbers, and its gaps still their mark. */
static const char *compare(struct view *v, const double *expected, double tolerance, char *text, size_t capacity) {
    int64_t index = 0;
    for (int64_t n = 0; n < v->sizes[0]; n++)
        for (int64_t y = 0; y < v->sizes[1]; y++)
            for (int64_t x = 0; x < v->sizes[2]; x++)
                for (int64_t c = 0; c < v->sizes[3]; c++, index++) {
                    unsigned char *place = at(v, n, y, x, c);
                    double value = get(place, v->element);
                    if (!(fabs(value - expected[index]) <= tolerance)) {
                        snprintf(text, capacity, "output[%d][%d][%d][%d] is %g instead of %g", (int)n, (int)y, (int)x, (int)c,
                                 value, expected[index]);
                        return text;
                    }
                    memset(place, MARK, v->element);
                }
    for (size_t i = 0; i < v->place.bytes; i++)
        if (v->place.first[i] != MARK) return "a gap of the output was written";
    return NULL;
}

static void report(const char *problem) {
    if (!problem) {
        passed++;
        return;
    }
    failed++;
    if (failed <= 40) fprintf(stderr, "%s: %s\n", now, problem);
}

/* Packed weights or bias, at one end of their block. */
static void *fill_packed(unsigned char *block, int at_end, uint64_t salt, int64_t count, size_t element, int range) {
    unsigned char *place = at_end ? block + GUARDED_BYTES - (size_t)count * element : block;
    guarded_protect(block, PROT_READ | PROT_WRITE);
    for (int64_t i = 0; i < count; i++) put(place + (size_t)i * element, element, whole(salt, i, range));
    guarded_protect(block, PROT_READ);
    return place;
}

/* --------------------------------------------------------------------------------------------------- textbook results */

static double *expected; /* in logical order */
static const int64_t most_outputs = 60000;

static double activated(double z, int32_t activation) {
    switch (activation) {
    case CONVOLUTION_ACTIVATION_RELU: return z > 0 ? z : 0;
    case CONVOLUTION_ACTIVATION_RELU6: return z < 0 ? 0 : z > 6 ? 6 : z;
    case CONVOLUTION_ACTIVATION_CLAMP: return z < -5 ? -5 : z > 9 ? 9 : z;
    case CONVOLUTION_ACTIVATION_LEAKY_RELU: return z >= 0 ? z : 0.5 * z;
    default: return z;
    }
}

/* Where element i of a padded axis is found: an index, or -1 for the padding value. */
static int64_t border(int64_t i, int64_t length, int32_t mode) {
    if (i >= 0 && i < length) return i;
    switch (mode) {
    case CONVOLUTION_PADDING_MODE_REFLECT: return i < 0 ? -i : 2 * (length - 1) - i;
    case CONVOLUTION_PADDING_MODE_SYMMETRIC: return i < 0 ? -i - 1 : 2 * length - 1 - i;
    case CONVOLUTION_PADDING_MODE_REPLICATE: return i < 0 ? 0 : length - 1;
    case CONVOLUTION_PADDING_MODE_CIRCULAR: return i < 0 ? i + length : i - length;
    default: return -1;
    }
}

struct geometry { /* of all verbs; with the defaults written out */
    int64_t n, h, w, ci, co, kh, kw, sh, sw, dh, dw, groups, oh, ow, top, left;
    int32_t algorithm, activation, format;
    size_t element;
    enum layout layout_in, layout_out;
    int with_bias;
};

static void take_shape(struct geometry *g, const int64_t shape[4], int32_t data_format, int32_t dtype) {
    g->format = data_format;
    g->element = dtype == CONVOLUTION_FLOAT64 ? sizeof(double) : sizeof(float);
    g->oh = shape[data_format == CONVOLUTION_NCHW ? 2 : 1], g->ow = shape[data_format == CONVOLUTION_NCHW ? 3 : 2];
}

/* kernel[a][b][i][o] of the Keras or PyTorch order; conv2d: i within the group. conv2d_transpose: o within the group. */
static double weight(const void *kernel, size_t element, int32_t format, int transposed, int32_t flip, const struct geometry *g,
                     int64_t a, int64_t b, int64_t i, int64_t o) {
    int64_t ins = transposed ? g->ci : g->ci / g->groups, outs = transposed ? g->co / g->groups : g->co;
    if (flip) a = g->kh - 1 - a, b = g->kw - 1 - b;
    int64_t keras = transposed ? ((a * g->kw + b) * outs + o) * ins + i : ((a * g->kw + b) * ins + i) * outs + o;
    int64_t torch = transposed ? ((i * outs + o) * g->kh + a) * g->kw + b : ((o * ins + i) * g->kh + a) * g->kw + b;
    return get((const unsigned char *)kernel + (size_t)(format == CONVOLUTION_KERNEL_TORCH ? torch : keras) * element, element);
}

static void textbook_conv2d(const conv2d_params *p, const struct geometry *g, const struct view *in, const void *kernel,
                            const void *bias) {
    size_t element = p->dtype == CONVOLUTION_FLOAT64 ? sizeof(double) : sizeof(float); /* of kernel and bias */
    int64_t ins = g->ci / g->groups, outs = g->co / g->groups, index = 0;
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t y = 0; y < g->oh; y++)
            for (int64_t x = 0; x < g->ow; x++)
                for (int64_t o = 0; o < g->co; o++) {
                    double sum = bias ? get((const unsigned char *)bias + (size_t)o * element, element) : 0;
                    for (int64_t a = 0; a < g->kh; a++)
                        for (int64_t b = 0; b < g->kw; b++) {
                            int64_t row = border(y * g->sh + a * g->dh - g->top, g->h, p->padding_mode);
                            int64_t column = border(x * g->sw + b * g->dw - g->left, g->w, p->padding_mode);
                            for (int64_t i = 0; i < ins; i++) {
                                int64_t c = o / outs * ins + i;
                                double value = row < 0 || column < 0
                                    ? p->padding_value : get(at(in, n, row, column, c), in->element);
                                sum += value * weight(kernel, element, p->kernel_format, 0, p->flip_kernel, g, a, b, i, o);
                            }
                        }
                    expected[index++] = activated(sum, p->activation);
                }
}

/* Scatters, as the definition of full[] in the header does. */
static void textbook_transpose(const conv2d_transpose_params *p, const struct geometry *g, const struct view *in,
                               const void *kernel, const void *bias) {
    int64_t ins = g->ci / g->groups, outs = g->co / g->groups, count = g->n * g->oh * g->ow * g->co;
    for (int64_t i = 0; i < count; i++)
        expected[i] = bias ? get((const unsigned char *)bias + (size_t)(i % g->co) * in->element, in->element) : 0;
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t j = 0; j < g->h; j++)
            for (int64_t k = 0; k < g->w; k++)
                for (int64_t a = 0; a < g->kh; a++)
                    for (int64_t b = 0; b < g->kw; b++) {
                        int64_t y = j * g->sh + a * g->dh - g->top, x = k * g->sw + b * g->dw - g->left;
                        if (y < 0 || y >= g->oh || x < 0 || x >= g->ow) continue;
                        for (int64_t i = 0; i < g->ci; i++)
                            for (int64_t o = 0; o < outs; o++)
                                expected[((n * g->oh + y) * g->ow + x) * g->co + i / ins * outs + o] +=
                                    get(at(in, n, j, k, i), in->element) *
                                    weight(kernel, in->element, p->kernel_format, 1, p->flip_kernel, g, a, b, i, o);
                    }
    for (int64_t i = 0; i < count; i++) expected[i] = activated(expected[i], p->activation);
}

/* ---------------------------------------------------------------------------------------------------- the ways to call */

/* Every usable tier, one thread and two, either end of the memory, plain call and plan. */
struct way {
    const char *isa;
    int32_t threads;
    int at_end, with_plan;
};

static int next_way(struct way *way, int *number) {
    for (;; ++*number) {
        way->isa = convolution_isa_name(*number / 8);
        if (!way->isa) return 0;
        if (convolution_isa_supported(way->isa)) break;
    }
    way->threads = 1 + *number % 2;
    way->at_end = *number / 2 % 2;
    way->with_plan = *number / 4 % 2;
    ++*number;
    return 1;
}

/* Small mostly, around the widths of vectors and tiles often. */
static int64_t some_channels(void) {
    static const int64_t list[] = { 1, 1, 2, 3, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 23, 24, 25, 31, 32, 33, 40 };
    return list[below((int64_t)(sizeof list / sizeof *list))];
}

/* One layer in ten has work for two threads: two to three and a half million products. */
static int64_t least_products, most_products;

static void random_geometry(struct geometry *g, int64_t longest_side) {
    memset(g, 0, sizeof *g);
    g->n = one_in(3) ? 2 : 1;
    g->h = between(1, longest_side), g->w = between(1, longest_side);
    g->kh = between(1, one_in(5) ? 7 : 3), g->kw = between(1, one_in(5) ? 7 : 3);
    g->sh = between(1, 3), g->sw = between(1, 3);
    g->dh = one_in(4) ? between(2, 3) : 1, g->dw = one_in(4) ? between(2, 3) : 1;
    if (one_in(3)) g->activation = (int32_t)between(1, 4);
    switch (below(5)) {
    case 0: /* groups */
        g->groups = between(2, 4);
        g->ci = g->groups * between(1, 9), g->co = g->groups * between(1, 9);
        break;
    case 1: /* depthwise, with or without a multiplier */
        g->groups = g->ci = some_channels();
        g->co = g->ci * (one_in(2) ? 1 : between(2, 3));
        break;
    default:
        g->groups = 1, g->ci = some_channels(), g->co = some_channels();
    }
    least_products = 0, most_products = 400000;
    if (one_in(10)) {
        least_products = 2000000, most_products = 3500000;
        g->groups = 1, g->ci = between(25, 40), g->co = between(25, 40);
        g->h = between(14, 18), g->w = between(14, 18), g->kh = g->kw = 3;
    }
    /* One tap of one channel: read in place, also where the image is one row of fewer columns than whole tiles. */
    if (one_in(10)) g->groups = g->ci = 1, g->co = between(1, 4), g->kh = g->kw = g->sh = g->sw = 1;
    /* A few pixels and many outputs: a plain call reads the kernel in place. */
    if (one_in(10)) {
        g->groups = 1, g->ci = between(40, 70), g->co = between(100, 140), g->kh = g->kw = 1;
        g->h = between(1, 2), g->w = between(1, 3);
    }
    if (one_in(6)) {
        g->algorithm = CONVOLUTION_ALGORITHM_WINOGRAD;
        g->groups = one_in(4) ? 2 : 1, g->ci = g->groups * between(16, 34), g->co = g->groups * between(16, 34);
        g->h = between(4, 12), g->w = between(4, 12), g->kh = g->kw = 3, g->sh = g->sw = g->dh = g->dw = 1;
        least_products = 0, most_products = 3500000;
        if (one_in(4)) { /* with strides, for transposed ones */
            g->groups = 1, g->ci = between(64, 66), g->co = between(64, 66), g->h = g->w = between(13, 14);
            g->kh = between(4, 5), g->kw = between(4, 5), g->sh = g->sw = 2;
            most_products = 30000000;
        }
    }
}

/* What of a case stays the same in all ways to call it. */
static char options[400];

static void describe(const struct way *way) {
    snprintf(now, sizeof now, "%s, tier %s, %d threads, %s, at the %s of its memory", options, way->isa, (int)way->threads,
             way->with_plan ? "plan" : "plain call", way->at_end ? "end" : "start");
}

#define COMMON_OPTIONS(p)                                                                                                        \
    (int)p.batch, (int)p.height, (int)p.width, (int)p.in_channels, (int)p.out_channels, (int)p.kernel_height,                    \
        (int)p.kernel_width, (int)p.stride_height, (int)p.stride_width, (int)p.dilation_height, (int)p.dilation_width,           \
        (int)p.groups, (int)p.dtype, (int)p.data_format, (int)p.kernel_format, (int)p.algorithm, (int)p.flip_kernel,             \
        (int)p.activation, (int)p.padding, (int)p.pad_top, (int)p.pad_bottom, (int)p.pad_left, (int)p.pad_right
#define COMMON_TEXT                                                                                                            \
    "%d images of %dx%d, channels %d to %d, kernel %dx%d, stride %dx%d, dilation %dx%d, groups %d, dtype %d, data_format %d, " \
    "kernel_format %d, algorithm %d, flip %d, activation %d, padding %d (%d %d %d %d)"

/* The fields that both layers have. */
#define LAYER_FIELDS(g)                                                                                                 \
    .batch = g.n, .height = g.h, .width = g.w, .in_channels = g.ci, .out_channels = g.co, .kernel_height = g.kh,        \
    .kernel_width = g.kw, .stride_height = g.sh, .stride_width = g.sw, .dilation_height = g.dh, .dilation_width = g.dw, \
    .groups = g.groups, .dtype = (int32_t)below(2), .data_format = (int32_t)below(2), .algorithm = g.algorithm,         \
    .kernel_format = (int32_t)below(2), .flip_kernel = one_in(4), .activation = g.activation,                           \
    .activation_alpha = g.activation == CONVOLUTION_ACTIVATION_LEAKY_RELU ? 0.5 : 0,                                    \
    .activation_min = g.activation == CONVOLUTION_ACTIVATION_CLAMP ? -5 : 0,                                            \
    .activation_max = g.activation == CONVOLUTION_ACTIVATION_CLAMP ? 9 : 0

static int64_t padding_before(int32_t padding, int64_t i, int64_t ke, int64_t s, int64_t o) {
    int64_t total = (o - 1) * s + ke - i;
    if (total < 0) total = 0;
    switch (padding) {
    case CONVOLUTION_PADDING_SAME: return total / 2;
    case CONVOLUTION_PADDING_SAME_LOWER: return total - total / 2;
    case CONVOLUTION_PADDING_FULL:
    case CONVOLUTION_PADDING_CAUSAL: return ke - 1;
    default: return 0;
    }
}

/* Of one way to call. */
struct arrays {
    struct view in, out;
    void *kernel, *bias;
};

/* The arrays with their numbers, the output marked; the strides go to the params. */
static struct arrays prepared(const struct geometry *g, const struct way *way, uint64_t salt, int64_t input_strides[4],
                              int64_t output_strides[4]) {
    struct arrays a;
    describe(way);
    make_view(&a.in, blocks[0], g->format, g->element, g->n, g->h, g->w, g->ci, g->layout_in, way->at_end);
    make_view(&a.out, blocks[3], g->format, g->element, g->n, g->oh, g->ow, g->co, g->layout_out, way->at_end);
    memcpy(input_strides, a.in.strides, sizeof a.in.strides);
    memcpy(output_strides, a.out.strides, sizeof a.out.strides);
    fill_input(&a.in, salt);
    memset(a.out.place.first, MARK, a.out.place.bytes);
    int64_t weights = g->groups ? g->kh * g->kw * (g->ci / g->groups) * g->co : 0;
    a.kernel = fill_packed(blocks[1], way->at_end, salt + 1, weights, g->element, 3);
    a.bias = g->with_bias ? fill_packed(blocks[2], way->at_end, salt + 2, g->co, g->element, 9) : NULL;
    return a;
}

/* Ends a function with the status of a plan whose params, kernel and bias are gone when it is executed. The arguments after
 * `forget`, which overwrites the params, are those it is made of. */
#define RETURN_RUN_OF_PLAN(verb, forget, ...)                                         \
    do {                                                                              \
        verb##_plan *plan = NULL;                                                     \
        int32_t status = verb##_plan_create(__VA_ARGS__, &plan);                      \
        if (status != CONVOLUTION_OK) return status;                                  \
        forget;                                                                       \
        guarded_protect(blocks[1], PROT_NONE);                                        \
        guarded_protect(blocks[2], PROT_NONE);                                        \
        status = verb##_plan_execute(plan, a->in.place.origin, a->out.place.origin);  \
        verb##_plan_destroy(plan);                                                    \
        guarded_protect(blocks[1], PROT_READ);                                        \
        guarded_protect(blocks[2], PROT_READ);                                        \
        return status;                                                                \
    } while (0)

static int32_t run_conv2d(conv2d_params p, const struct way *way, const struct arrays *a) {
    if (!way->with_plan) return conv2d(&p, a->in.place.origin, a->kernel, a->bias, a->out.place.origin);
    RETURN_RUN_OF_PLAN(conv2d, memset(&p, MARK, sizeof p), &p, a->kernel, a->bias);
}

static int32_t run_transpose(conv2d_transpose_params p, const struct way *way, const struct arrays *a) {
    if (!way->with_plan) return conv2d_transpose(&p, a->in.place.origin, a->kernel, a->bias, a->out.place.origin);
    RETURN_RUN_OF_PLAN(conv2d_transpose, memset(&p, MARK, sizeof p), &p, a->kernel, a->bias);
}

static int32_t run_upsample(upsample2d_params p, const struct way *way, const struct arrays *a) {
    if (!way->with_plan) return upsample2d(&p, a->in.place.origin, a->out.place.origin);
    RETURN_RUN_OF_PLAN(upsample2d, memset(&p, MARK, sizeof p), &p);
}

static int32_t run_both(upsample2d_params u, conv2d_params c, const struct way *way, const struct arrays *a) {
    if (!way->with_plan) return upsample2d_conv2d(&u, &c, a->in.place.origin, a->kernel, a->bias, a->out.place.origin);
    RETURN_RUN_OF_PLAN(upsample2d_conv2d, (memset(&u, MARK, sizeof u), memset(&c, MARK, sizeof c)), &u, &c, a->kernel, a->bias);
}

/* Winograd's algorithm rounds even whole numbers; a missing or misplaced product is 1 at least. */
static double tolerance(const struct geometry *g) { return g->algorithm == CONVOLUTION_ALGORITHM_WINOGRAD ? 0.1 : 0; }

static void judge(int32_t status, struct view *out, double tolerance) {
    char text[300];
    report(status == CONVOLUTION_OK ? compare(out, expected, tolerance, text, sizeof text) : convolution_error_message());
}

/* ------------------------------------------------------------------------------------------------------------- conv2d */

static int conv2d_case(uint64_t salt) {
    struct geometry g;
    int64_t shape[4];
    random_geometry(&g, 20);
    conv2d_params p = { .struct_size = sizeof p, LAYER_FIELDS(g), .padding = (int32_t)below(6),
                        .padding_mode = (int32_t)below(6) };
    if (one_in(3)) p.padding_mode = CONVOLUTION_PADDING_MODE_ZEROS;
    if (p.padding == CONVOLUTION_PADDING_EXPLICIT)
        p.pad_top = between(-1, 3), p.pad_bottom = between(-1, 3), p.pad_left = between(-1, 3), p.pad_right = between(-1, 3);
    if (g.algorithm == CONVOLUTION_ALGORITHM_WINOGRAD && one_in(3)) { /* tiles end further outside than a border may reach */
        p.height = g.h = between(4, 6), p.width = g.w = between(4, 6);
        p.padding = CONVOLUTION_PADDING_EXPLICIT, p.padding_mode = (int32_t)between(2, 5);
        p.pad_top = between(0, 3), p.pad_bottom = g.h - 1, p.pad_left = between(0, 3), p.pad_right = g.w - 1;
    }
    if (p.padding_mode == CONVOLUTION_PADDING_MODE_CONSTANT) p.padding_value = 3;
    if (g.groups == g.ci && g.ci > 1 && one_in(2)) p.depth_multiplier = g.co / g.ci, p.groups = p.out_channels = 0;
    /* Kernel beyond the image, or padding beyond the mode's limit */
    if (conv2d_output_shape(&p, shape) != CONVOLUTION_OK) return 0;

    take_shape(&g, shape, p.data_format, p.dtype);
    int64_t products = g.n * g.oh * g.ow * g.co * g.kh * g.kw * (g.ci / g.groups), outputs = g.n * g.oh * g.ow * g.co;
    if (products < least_products || products > most_products || outputs > most_outputs) return 0;
    int is_explicit = p.padding == CONVOLUTION_PADDING_EXPLICIT;
    g.top = is_explicit ? p.pad_top : padding_before(p.padding, g.h, (g.kh - 1) * g.dh + 1, g.sh, g.oh);
    g.left = is_explicit ? p.pad_left : padding_before(p.padding, g.w, (g.kw - 1) * g.dw + 1, g.sw, g.ow);

    g.with_bias = one_in(2);
    g.layout_in = random_layout(), g.layout_out = random_layout();
    snprintf(options, sizeof options, "conv2d, " COMMON_TEXT ", mode %d, layouts %d %d, bias %d", COMMON_OPTIONS(p),
             (int)p.padding_mode, g.layout_in, g.layout_out, g.with_bias);
    struct way way;
    for (int number = 0, first = 1; next_way(&way, &number); first = 0) {
        p.isa = way.isa, p.threads = way.threads;
        struct arrays a = prepared(&g, &way, salt, p.input_strides, p.output_strides);
        if (first) textbook_conv2d(&p, &g, &a.in, a.kernel, a.bias);
        judge(run_conv2d(p, &way, &a), &a.out, tolerance(&g));
    }
    return 1;
}

/* --------------------------------------------------------------------------------------------------- conv2d_transpose */

/* The start crop c of the header's table. */
static int64_t crop(const conv2d_transpose_params *p, int64_t pad, int64_t given_output, int64_t op, int64_t full, int64_t o) {
    int64_t total = full + op - o > 0 ? full + op - o : 0;
    switch (p->rule) {
    case CONV2D_TRANSPOSE_RULE_KERAS:
    case CONV2D_TRANSPOSE_RULE_JAX:
        total = full - o > 0 ? full - o : 0;
        return p->padding == CONVOLUTION_PADDING_SAME ? total / 2 : 0;
    case CONV2D_TRANSPOSE_RULE_ONNX:
        if (p->padding == CONVOLUTION_PADDING_SAME) return total / 2;
        if (p->padding == CONVOLUTION_PADDING_SAME_LOWER || given_output) return total - total / 2;
        return pad;
    default: return pad;
    }
}

static void random_window(conv2d_transpose_params *p) {
    p->rule = (int32_t)below(5);
    switch (p->rule) {
    case CONV2D_TRANSPOSE_RULE_KERAS:
    case CONV2D_TRANSPOSE_RULE_JAX: p->padding = (int32_t)below(2); break;
    case CONV2D_TRANSPOSE_RULE_ONNX: p->padding = one_in(2) ? (int32_t)below(3) : CONVOLUTION_PADDING_EXPLICIT; break;
    default: p->padding = CONVOLUTION_PADDING_EXPLICIT;
    }
    if (p->padding == CONVOLUTION_PADDING_EXPLICIT) {
        p->pad_top = between(0, 2), p->pad_left = between(0, 2), p->pad_bottom = between(0, 2), p->pad_right = between(0, 2);
        if (p->rule == CONV2D_TRANSPOSE_RULE_TORCH) p->pad_bottom = p->pad_top, p->pad_right = p->pad_left;
        if (p->rule == CONV2D_TRANSPOSE_RULE_WINDOW) p->pad_top -= 2, p->pad_right -= 2;
    }
    if (p->rule != CONV2D_TRANSPOSE_RULE_JAX && one_in(3)) {
        p->output_padding_given = 1;
        p->output_padding_height = below(p->stride_height), p->output_padding_width = below(p->stride_width);
    } else if (p->rule == CONV2D_TRANSPOSE_RULE_WINDOW && one_in(2)) {
        p->output_height = between(1, 24), p->output_width = between(1, 24);
    } else if (p->rule == CONV2D_TRANSPOSE_RULE_ONNX && p->padding != CONVOLUTION_PADDING_VALID && one_in(2)) {
        p->output_height = p->height * p->stride_height, p->output_width = p->width * p->stride_width;
        p->pad_top = p->pad_bottom = p->pad_left = p->pad_right = 0;
    }
}

static int transpose_case(uint64_t salt) {
    struct geometry g;
    int64_t shape[4];
    random_geometry(&g, 12);
    conv2d_transpose_params p = { .struct_size = sizeof p, LAYER_FIELDS(g) };
    random_window(&p);
    if (conv2d_transpose_output_shape(&p, shape) != CONVOLUTION_OK) return 0;

    take_shape(&g, shape, p.data_format, p.dtype);
    int64_t products = g.n * g.h * g.w * g.ci * g.kh * g.kw * (g.co / g.groups), outputs = g.n * g.oh * g.ow * g.co;
    if (products < least_products || products > most_products || outputs > most_outputs) return 0;
    g.top = crop(&p, p.pad_top, p.output_height, p.output_padding_height, (g.h - 1) * g.sh + (g.kh - 1) * g.dh + 1, g.oh);
    g.left = crop(&p, p.pad_left, p.output_width, p.output_padding_width, (g.w - 1) * g.sw + (g.kw - 1) * g.dw + 1, g.ow);

    g.with_bias = one_in(2);
    g.layout_in = random_layout(), g.layout_out = random_layout();
    snprintf(options, sizeof options, "conv2d_transpose, " COMMON_TEXT ", rule %d, output padding %d (%d %d), output %dx%d, "
             "layouts %d %d, bias %d", COMMON_OPTIONS(p), (int)p.rule, (int)p.output_padding_given, (int)p.output_padding_height,
             (int)p.output_padding_width, (int)p.output_height, (int)p.output_width, g.layout_in, g.layout_out, g.with_bias);
    struct way way;
    for (int number = 0, first = 1; next_way(&way, &number); first = 0) {
        p.isa = way.isa, p.threads = way.threads;
        struct arrays a = prepared(&g, &way, salt, p.input_strides, p.output_strides);
        if (first) textbook_transpose(&p, &g, &a.in, a.kernel, a.bias);
        judge(run_transpose(p, &way, &a), &a.out, tolerance(&g));
    }
    return 1;
}

/* --------------------------------------------------------------------------------------------------------- upsample2d */

/* One axis of a resize: the two input elements of output t, and how far it lies from the first towards the second. */
struct tap {
    int64_t first, second;
    double part;
};

static struct tap tap_of(const upsample2d_params *p, int64_t t, int64_t i, int64_t o, int64_t factor) {
    int32_t rule = p->coordinates;
    if (rule == UPSAMPLE2D_COORDINATES_DEFAULT)
        rule = p->interpolation == UPSAMPLE2D_NEAREST ? UPSAMPLE2D_COORDINATES_ASYMMETRIC : UPSAMPLE2D_COORDINATES_HALF_PIXEL;
    struct tap tap = { 0, 0, 0 };
    if (p->interpolation == UPSAMPLE2D_NEAREST) {
        /* In float32, step by step, as the header promises. */
        float r = rule == UPSAMPLE2D_COORDINATES_ALIGN_CORNERS
            ? (o > 1 ? (float)(i - 1) / (float)(o - 1) : 0) : (float)i / (float)o;
        float place = rule == UPSAMPLE2D_COORDINATES_HALF_PIXEL ? ((float)t + 0.5f) * r : (float)t * r;
        if (rule == UPSAMPLE2D_COORDINATES_ALIGN_CORNERS) place = place + 0.5f;
        tap.first = factor && rule != UPSAMPLE2D_COORDINATES_ALIGN_CORNERS ? t / factor : (int64_t)floorf(place);
        if (tap.first > i - 1) tap.first = i - 1;
        tap.second = tap.first;
        return tap;
    }
    double r = (double)i / (double)o, place = rule == UPSAMPLE2D_COORDINATES_HALF_PIXEL
        ? ((double)t + 0.5) * r - 0.5 : (double)t * r;
    if (rule == UPSAMPLE2D_COORDINATES_ALIGN_CORNERS) place = o > 1 ? (double)t * (double)(i - 1) / (double)(o - 1) : 0;
    if (place < 0) place = 0;
    tap.first = (int64_t)place < i - 1 ? (int64_t)place : i - 1;
    tap.second = tap.first + 1 < i ? tap.first + 1 : tap.first;
    tap.part = place - (double)tap.first;
    return tap;
}

static void textbook_upsample(const upsample2d_params *p, const struct view *in, int64_t oh, int64_t ow) {
    int64_t index = 0;
    for (int64_t n = 0; n < p->batch; n++)
        for (int64_t y = 0; y < oh; y++)
            for (int64_t x = 0; x < ow; x++)
                for (int64_t c = 0; c < p->channels; c++) {
                    struct tap v = tap_of(p, y, p->height, oh, p->factor_height), h = tap_of(p, x, p->width, ow, p->factor_width);
                    double above = (1 - h.part) * get(at(in, n, v.first, h.first, c), in->element) +
                                   h.part * get(at(in, n, v.first, h.second, c), in->element);
                    double below_it = (1 - h.part) * get(at(in, n, v.second, h.first, c), in->element) +
                                      h.part * get(at(in, n, v.second, h.second, c), in->element);
                    expected[index++] = (1 - v.part) * above + v.part * below_it;
                }
}

/* Of one channel; channels do not mix. */
static int multiplied_upsample(const upsample2d_params *p, const struct view *in, int64_t oh, int64_t ow) {
    static int64_t offsets[30 * 30 + 1], columns[30 * 30 * 14 * 14];
    static double values[30 * 30 * 14 * 14];
    upsample2d_params one = *p;
    one.batch = one.channels = 1, one.isa = NULL, one.extrapolation_value = 0;
    memset(one.input_strides, 0, sizeof one.input_strides);
    memset(one.output_strides, 0, sizeof one.output_strides);
    int64_t rows;
    if (upsample2d_matrix_size(&one, &rows, NULL, NULL) != CONVOLUTION_OK || rows > 30 * 30) return 0;
    if (upsample2d_matrix_csr(&one, offsets, columns, values, 30 * 30 * 14 * 14) != CONVOLUTION_OK) return 0;
    int64_t index = 0;
    for (int64_t n = 0; n < p->batch; n++)
        for (int64_t pixel = 0; pixel < oh * ow; pixel++)
            for (int64_t c = 0; c < p->channels; c++) {
                double sum = 0;
                for (int64_t j = offsets[pixel]; j < offsets[pixel + 1]; j++)
                    sum += get((unsigned char *)values + (size_t)j * in->element, in->element) *
                           get(at(in, n, columns[j] / p->width, columns[j] % p->width, c), in->element);
                /* Nothing else has no entries. */
                expected[index++] = offsets[pixel] < offsets[pixel + 1] ? sum : p->extrapolation_value;
            }
    return 1;
}

/* Interpolations and arithmetics that textbook_upsample does not know, in half of the cases. */
static int draw_other(upsample2d_params *p) {
    if (one_in(2)) return 0;
    p->interpolation = (int32_t)below(6), p->preset = (int32_t)below(7), p->coordinates = (int32_t)below(6);
    p->antialias = one_in(4);
    if (one_in(4)) p->edge = (int32_t)below(3);
    if (one_in(4)) p->rounding = (int32_t)below(5);
    if (one_in(4)) {
        p->coordinates = UPSAMPLE2D_COORDINATES_TF_CROP_AND_RESIZE, p->extrapolation_value = (double)between(-3, 3);
        for (int i = 0; i < 4; i++) p->roi[i] = (double)between(-4, 12) / 8;
    }
    return 1;
}

static int is_power_of_two(int64_t n) { return n > 0 && (n & (n - 1)) == 0; }

static int upsample_case(uint64_t salt) {
    int64_t shape[4];
    upsample2d_params p = { .struct_size = sizeof p, .batch = one_in(3) ? 2 : 1, .height = between(1, 14),
                            .width = between(1, 14), .channels = some_channels(), .dtype = (int32_t)below(2),
                            .data_format = (int32_t)below(2), .interpolation = (int32_t)below(2),
                            .coordinates = (int32_t)below(4) };
    if (one_in(2))
        p.factor_height = between(1, 4), p.factor_width = between(1, 4);
    else
        p.output_height = between(1, 30), p.output_width = between(1, 30);
    int other = draw_other(&p);
    if (other && one_in(3)) {
        p.factor_height = p.factor_width = 0;
        if (one_in(2)) p.output_height = p.output_width = 0;
        p.scale_height = (double)between(2, 16) / 8, p.scale_width = (double)between(2, 16) / 8;
    }
    if (upsample2d_output_shape(&p, shape) != CONVOLUTION_OK) return 0;
    struct geometry g = { .n = p.batch, .h = p.height, .w = p.width, .ci = p.channels, .co = p.channels };
    take_shape(&g, shape, p.data_format, p.dtype);
    if (g.n * g.oh * g.ow * g.co > most_outputs || (other && g.oh * g.ow > 30 * 30)) return 0;

    /* Nearest copies. Factors 1, 2 and 4 give weights that are multiples of 1/64. All else is rounded, coordinates and sums. */
    int is_exact = p.interpolation == UPSAMPLE2D_NEAREST ||
                   (!other && is_power_of_two(p.factor_height) && is_power_of_two(p.factor_width) &&
                    p.coordinates != UPSAMPLE2D_COORDINATES_ALIGN_CORNERS);
    double tolerance = is_exact ? 0 : p.dtype == CONVOLUTION_FLOAT64 ? 1e-12 : 1e-4;
    g.layout_in = random_layout(), g.layout_out = random_layout();
    snprintf(options, sizeof options,
             "upsample2d, %d images of %dx%d, channels %d, factor %dx%d, output %dx%d, scale %gx%g, dtype %d, "
             "data_format %d, interpolation %d, coordinates %d, preset %d, antialias %d, edge %d, rounding %d, layouts %d %d",
             (int)p.batch, (int)p.height, (int)p.width, (int)p.channels, (int)p.factor_height, (int)p.factor_width,
             (int)p.output_height, (int)p.output_width, p.scale_height, p.scale_width, (int)p.dtype,
             (int)p.data_format, (int)p.interpolation, (int)p.coordinates, (int)p.preset, (int)p.antialias,
             (int)p.edge, (int)p.rounding, g.layout_in, g.layout_out);
    struct way way;
    for (int number = 0, first = 1; next_way(&way, &number); first = 0) {
        p.isa = way.isa, p.threads = way.threads;
        struct arrays a = prepared(&g, &way, salt, p.input_strides, p.output_strides);
        if (first && !other) textbook_upsample(&p, &a.in, g.oh, g.ow);
        if (first && other && !multiplied_upsample(&p, &a.in, g.oh, g.ow)) report("no matrix");
        judge(run_upsample(p, &way, &a), &a.out, tolerance);
    }
    return 1;
}

/* -------------------------------------------------------------------------------------------------- upsample2d_conv2d */

static double *enlarged; /* the upsampled image, in logical order */

static int upsampled_case(uint64_t salt) {
    struct geometry g;
    int64_t shape[4];
    random_geometry(&g, 8);
    conv2d_params p = { .struct_size = sizeof p, LAYER_FIELDS(g), .padding = (int32_t)below(5),
                        .padding_mode = (int32_t)below(6) };
    p.dilation_height = g.dh = one_in(4) ? between(2, 5) : 1, p.dilation_width = g.dw = one_in(4) ? between(2, 5) : 1;
    if (one_in(2)) p.padding_mode = CONVOLUTION_PADDING_MODE_ZEROS;
    if (p.padding_mode == CONVOLUTION_PADDING_MODE_CONSTANT) p.padding_value = 3;
    upsample2d_params u = { .struct_size = sizeof u, .batch = g.n, .height = g.h, .width = g.w, .channels = g.ci,
                            .dtype = p.dtype, .data_format = p.data_format, .factor_height = between(1, 4),
                            .factor_width = between(1, 4) };
    if (is_power_of_two(u.factor_height) && is_power_of_two(u.factor_width)) u.interpolation = (int32_t)below(2);
    int other = draw_other(&u);
    int64_t h = g.h * u.factor_height, w = g.w * u.factor_width;
    if (other && h * w > 30 * 30) return 0;
    p.batch = p.height = p.width = p.in_channels = 0;
    if (upsample2d_conv2d_output_shape(&u, &p, shape) != CONVOLUTION_OK) return 0;
    take_shape(&g, shape, p.data_format, p.dtype);
    int64_t products = g.n * g.oh * g.ow * g.co * g.kh * g.kw * (g.ci / g.groups), outputs = g.n * g.oh * g.ow * g.co;
    if (products > 2 * most_products || outputs > most_outputs || g.n * h * w * g.ci > most_outputs) return 0;
    g.top = padding_before(p.padding, h, (g.kh - 1) * g.dh + 1, g.sh, g.oh);
    g.left = padding_before(p.padding, w, (g.kw - 1) * g.dw + 1, g.sw, g.ow);

    g.with_bias = one_in(2);
    g.layout_in = random_layout(), g.layout_out = random_layout();
    /* Whole numbers of at most 3 times values of at most 6: none where all is exact. */
    double limit = !other ? 0 : (double)(g.kh * g.kw * (g.ci / g.groups)) * (p.dtype == CONVOLUTION_FLOAT64 ? 1e-12 : 1e-4);
    snprintf(options, sizeof options,
             "upsample2d_conv2d by %dx%d, interpolation %d, preset %d, " COMMON_TEXT ", mode %d, layouts %d %d, bias %d",
             (int)u.factor_height, (int)u.factor_width, (int)u.interpolation, (int)u.preset, COMMON_OPTIONS(p),
             (int)p.padding_mode, g.layout_in, g.layout_out, g.with_bias);
    struct way way;
    for (int number = 0, first = 1; next_way(&way, &number); first = 0) {
        p.isa = way.isa, p.threads = way.threads;
        struct arrays a = prepared(&g, &way, salt, u.input_strides, p.output_strides);
        if (first) {
            struct geometry larger = g;
            larger.h = h, larger.w = w;
            if (!other) textbook_upsample(&u, &a.in, h, w);
            else if (!multiplied_upsample(&u, &a.in, h, w)) report("no matrix");
            memcpy(enlarged, expected, (size_t)(g.n * h * w * g.ci) * sizeof *enlarged);
            struct view image = { .place = { .origin = (unsigned char *)enlarged }, .sizes = { g.n, h, w, g.ci },
                                  .steps = { h * w * g.ci, w * g.ci, g.ci, 1 }, .element = sizeof *enlarged };
            textbook_conv2d(&p, &larger, &image, a.kernel, a.bias);
        }
        judge(run_both(u, p, &way, &a), &a.out, limit);
    }
    return 1;
}

/* ---------------------------------------------------------------------------------------------------------- conv2d_solve */

/* Few steps for strided arrays against the pages, and for packed ones on the heap: the same bits, and only those. */
static int solve_case(uint64_t salt) {
    static unsigned char *mask_block;
    static double packed_y[2 * 9 * 9 * 4], packed_x[2 * 8 * 8 * 3];
    if (!mask_block) mask_block = guarded_block();
    conv2d_params p = { .struct_size = sizeof p, .batch = between(0, 2), .height = between(3, 8), .width = between(3, 8),
                        .in_channels = between(1, 3), .out_channels = between(1, 4), .kernel_height = between(1, 3),
                        .kernel_width = between(1, 3), .stride_height = between(1, 2), .padding = CONVOLUTION_PADDING_SAME,
                        .padding_mode = one_in(2) ? 0 : (int32_t)between(2, 5), .dtype = (int32_t)below(2),
                        .data_format = (int32_t)below(2) };
    int64_t shape[4], index = 0, outputs = 1, inputs = p.batch * p.height * p.width * p.in_channels;
    if (conv2d_output_shape(&p, shape) != CONVOLUTION_OK) return 0;
    for (int i = 0; i < 4; i++) outputs *= shape[i];
    const int nchw = p.data_format == CONVOLUTION_NCHW;
    const int64_t rows = shape[nchw ? 2 : 1], columns = shape[nchw ? 3 : 2];
    const size_t element = p.dtype == CONVOLUTION_FLOAT64 ? 8 : 4;
    const int with_mask = one_in(2), with_start = one_in(2);
    conv2d_solve_params solve = { .struct_size = sizeof solve, .max_iterations = 3, .nonnegative = one_in(2), .lambda = 0.5 };
    snprintf(now, sizeof now, "conv2d_solve %d x %d x %d x %d, case %d", (int)p.batch, (int)p.height, (int)p.width,
             (int)p.in_channels, (int)salt);

    for (int at_end = 0; at_end < 2; at_end++) {
        struct view y, x;
        make_view(&y, blocks[0], p.data_format, element, p.batch, rows, columns, p.out_channels, random_layout(), at_end);
        make_view(&x, blocks[3], p.data_format, element, p.batch, p.height, p.width, p.in_channels, random_layout(), at_end);
        fill_input(&y, salt);
        const int64_t weights = p.kernel_height * p.kernel_width * p.in_channels * p.out_channels;
        void *kernel = fill_packed(blocks[1], at_end, salt + 1, weights, element, 3);
        void *bias = fill_packed(blocks[2], at_end, salt + 2, p.out_channels, element, 9);
        guarded_protect(mask_block, PROT_READ | PROT_WRITE);
        unsigned char *mask = mask_block + (at_end ? GUARDED_BYTES - (size_t)outputs : 0);
        for (int64_t i = 0; i < outputs; i++) mask[i] = whole(salt + 3, i, 4) > -3;
        guarded_protect(mask_block, PROT_READ);
        solve.mask = with_mask ? mask : NULL;
        solve.mask_size = with_mask ? outputs : 0;

        /* On the heap, packed: axis 1 to 3 of the format are y, x, c or c, y, x. */
        index = 0;
        for (int64_t n = 0; n < shape[0]; n++)
            for (int64_t i = 0; i < shape[1]; i++)
                for (int64_t j = 0; j < shape[2]; j++)
                    for (int64_t k = 0; k < shape[3]; k++, index++)
                        memcpy((char *)packed_y + index * (int64_t)element, nchw ? at(&y, n, j, k, i) : at(&y, n, i, j, k),
                               element);
        memset(packed_x, 0, sizeof packed_x);
        solve.start = with_start ? packed_x : NULL;
        char text[300];
        const char *problem = NULL;
        if (conv2d_solve(&p, &solve, kernel, bias, packed_y, packed_x, NULL) != CONVOLUTION_OK)
            problem = convolution_error_message();
        for (index = 0; index < inputs; index++) expected[index] = 0;
        index = 0;
        for (int64_t n = 0; n < p.batch; n++)
            for (int64_t i = 0; i < p.height; i++)
                for (int64_t j = 0; j < p.width; j++)
                    for (int64_t c = 0; c < p.in_channels; c++, index++) {
                        int64_t place = nchw ? ((n * p.in_channels + c) * p.height + i) * p.width + j : index;
                        expected[index] = get((unsigned char *)packed_x + place * (int64_t)element, element);
                    }

        conv2d_params strided = p;
        memcpy(strided.input_strides, x.strides, sizeof x.strides);
        memcpy(strided.output_strides, y.strides, sizeof y.strides);
        memset(x.place.first, MARK, x.place.bytes);
        for (int64_t n = 0; n < p.batch; n++)
            for (int64_t i = 0; i < p.height; i++)
                for (int64_t j = 0; j < p.width; j++)
                    for (int64_t c = 0; with_start && c < p.in_channels; c++) put(at(&x, n, i, j, c), element, 0);
        solve.start = with_start ? x.place.origin : NULL;
        if (!problem && conv2d_solve(&strided, &solve, kernel, bias, y.place.origin, x.place.origin, NULL) != CONVOLUTION_OK)
            problem = convolution_error_message();
        report(problem ? problem : compare(&x, expected, 0, text, sizeof text));
    }
    return 1;
}

int main(int argc, char **argv) {
    int shapes = argc > 1 ? atoi(argv[1]) : 300;
    random_state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    signal(SIGSEGV, crashed);
    signal(SIGBUS, crashed);
    signal(SIGILL, crashed);
    signal(SIGTRAP, crashed);
    for (int i = 0; i < 4; i++) blocks[i] = guarded_block();
    expected = malloc((size_t)most_outputs * sizeof *expected);
    enlarged = malloc((size_t)most_outputs * sizeof *enlarged);
    if (!expected || !enlarged) return 1;
    /* A random shape that is not legal, or too much work, is drawn again. */
    for (int i = 0; i < shapes; i++) {
        while (!conv2d_case((uint64_t)i * 8 + 1)) {}
        while (!transpose_case((uint64_t)i * 8 + 4)) {}
        while (!upsample_case((uint64_t)i * 8 + 7)) {}
        while (!upsampled_case((uint64_t)i * 8 + 10)) {}
        while (!solve_case((uint64_t)i * 8 + 13)) {}
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
