/*
 * Random parameter structs, sane ones with up to three fields spoiled and some of mere noise, through all verbs: first the shape
 * function and, where the sizes are small, the call itself on arrays against unreadable pages; then gradients and their plans,
 * matrices, products and the solver with the same struct. Nothing may crash, every status is explained, the shape function and
 * the calls agree, and a failing call writes nothing.
 *
 * usage: fuzz [rounds [seed]]
 */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "convolution.h"
#include "guarded.h"

static int passed, failed;
static uint64_t round_now;

static void crashed(int number) {
    char text[80];
    int length = snprintf(text, sizeof text, "fuzz round %" PRIu64 ": signal %d\n", round_now, number);
    if (write(2, text, (size_t)length)) {}
    _exit(1);
}

/* ------------------------------------------------------------------------------------------------------------- random */

static uint64_t random_state;

static uint64_t random_bits(void) { /* splitmix64: any seed will do, and any machine gives the same sequence */
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
static int64_t below(int64_t n) { return (int64_t)(random_bits() % (uint64_t)n); }
static int one_in(int64_t n) { return below(n) == 0; }

static int64_t extreme_value(void) {
    static const int64_t list[] = { INT64_MAX, INT64_MIN, INT64_MAX - 1, INT64_MIN + 1, INT32_MAX, INT32_MIN, UINT32_MAX,
                                    INT64_C(1) << 31, INT64_C(1) << 40, INT64_C(1) << 62, -(INT64_C(1) << 40), -1, 0, 1,
                                    1000, -1000 };
    switch (below(4)) {
    case 0: return (int64_t)random_bits();
    case 1: return (int64_t)(random_bits() >> below(63));
    default: return list[below((int64_t)(sizeof list / sizeof *list))];
    }
}

/* Overwrites up to three fields, of either width, anywhere but in struct_size and in the pointer isa. */
static void spoil(void *params, size_t size, size_t isa) {
    for (int64_t count = below(4); count > 0; count--) {
        size_t width = one_in(2) ? 8 : 4, offset = 8 + (size_t)below((int64_t)((size - 8) / width)) * width;
        if (offset < isa + sizeof(char *) && offset + width > isa) continue;
        int64_t value = extreme_value();
        int32_t narrow = (int32_t)value;
        double number = one_in(2)   ? (double)value
                        : one_in(2) ? ldexp(one_in(2) ? 1 : -1, (int)below(2098) - 1074)
                        : one_in(2) ? NAN
                                    : INFINITY;
        if (width == 4)
            memcpy((char *)params + offset, &narrow, 4);
        else
            memcpy((char *)params + offset, one_in(6) ? (void *)&number : (void *)&value, 8);
    }
}

static void noise(void *params, size_t size) {
    for (size_t i = 0; i < size; i += 4) {
        uint32_t word = one_in(2) ? 0 : (uint32_t)random_bits();
        memcpy((char *)params + i, &word, 4);
    }
}

static const char *random_isa(void) {
    static const char *const names[] = { "baseline", "avx2", "avx512", "none" };
    return one_in(2) ? NULL : names[below(4)];
}

/* ---------------------------------------------------------------------------------------------------------- one round */

#define PATTERN 0xA5
#define SMALL 30000.0 /* arrays and numbers of products up to here are really computed */

static unsigned char *blocks[6]; /* input, kernel, bias, output, other results, a copy of one */

static int untouched(struct place place) {
    for (size_t i = 0; i < place.bytes; i++)
        if (place.first[i] != PATTERN) return 0;
    return 1;
}

static double product(const int64_t *sizes, int count) {
    double result = 1;
    for (int i = 0; i < count; i++) result *= (double)sizes[i];
    return result;
}

/* What a call may refuse that the shape function does not look at, as bits. */
#define MAY(code) (UINT64_C(1) << CONVOLUTION_ERROR_##code)
#define MAY_NOT_FIT (MAY(WORKSPACE) | MAY(OVERFLOW) | MAY(OUT_OF_MEMORY))

static void judge(const char *verb, int32_t shape_status, int32_t status, struct place y, uint64_t may) {
    char problem[900];
    const char *text = convolution_error_message();
    if (status < 0 || strcmp(convolution_status_name(status), "CONVOLUTION_ERROR_UNKNOWN") == 0)
        snprintf(problem, sizeof problem, "status %d", (int)status);
    else if (status && strlen(text) < 12)
        snprintf(problem, sizeof problem, "no sentence: \"%s\"", text);
    else if (status != shape_status && !(shape_status == CONVOLUTION_OK && (may >> status & 1)))
        snprintf(problem, sizeof problem, "shape says %s, call %s (%s)", convolution_status_name(shape_status),
                 convolution_status_name(status), text);
    else if (status && !untouched(y))
        snprintf(problem, sizeof problem, "failed and wrote: %s", text);
    else {
        passed++;
        return;
    }
    failed++;
    fprintf(stderr, "fuzz round %" PRIu64 ", %s: %s\n", round_now, verb, problem);
}

static void expect(const char *what, int holds) {
    if (holds) {
        passed++;
        return;
    }
    failed++;
    fprintf(stderr, "fuzz round %" PRIu64 ": not so: %s\n", round_now, what);
}

/* Where input and output go. After a failure of the shape function any place will do: the call must not look at them. */
static int place_both(int32_t shape_status, int32_t dtype, const int64_t in[4], const int64_t in_strides[4], const int64_t out[4],
                      const int64_t out_strides[4], struct place *x, struct place *y) {
    static const int64_t some[4] = { 1, 1, 1, 16 }, none[4] = { 0, 0, 0, 0 };
    size_t element = dtype == CONVOLUTION_FLOAT64 ? sizeof(double) : sizeof(float);
    int failed_already = shape_status != CONVOLUTION_OK;
    *x = failed_already ? place_array(blocks[0], 1, some, none, 4) : place_array(blocks[0], one_in(2), in, in_strides, element);
    *y = failed_already ? place_array(blocks[3], 1, some, none, 4) : place_array(blocks[3], one_in(2), out, out_strides, element);
    if (!x->fits || !y->fits) return 0;
    memset(y->first, PATTERN, y->bytes);
    return failed_already || (product(in, 4) <= SMALL && product(out, 4) <= SMALL);
}

static void in_order(int32_t format, int64_t n, int64_t h, int64_t w, int64_t c, int64_t sizes[4]) {
    const int64_t nhwc[4] = { n, h, w, c }, nchw[4] = { n, c, h, w };
    memcpy(sizes, format == CONVOLUTION_NCHW ? nchw : nhwc, sizeof nhwc);
}

/* ----------------------------------------------------------------------------- the operator: gradients, products, matrices */

/* A place for a result, marked. */
static struct place marked(const int64_t sizes[4], const int64_t strides[4], size_t element) {
    struct place place = place_array(blocks[4], one_in(2), sizes, strides, element);
    memset(place.first, PATTERN, place.bytes);
    return place;
}

static struct place marked_line(int64_t count, size_t element) {
    const int64_t sizes[4] = { 1, 1, 1, count }, packed[4] = { 0, 0, 0, 0 };
    return marked(sizes, packed, element);
}

/* One image too, and each axis beside an axis of length 0. */
static int is_small(const int64_t sizes[4]) {
    for (int i = 0; i < 4; i++)
        if ((double)sizes[i] > SMALL) return 0;
    return product(sizes, 3) <= SMALL && product(sizes + 1, 3) <= SMALL;
}

/* Dense and sparse, some with a place too short. arguments: what stands between params and the results. */
#define MATRICES(verb, ...)                                                                                                      \
    do {                                                                                                                         \
        int64_t rows = 1, columns = 1, nonzeros = 1;                                                                             \
        int32_t status = verb##_matrix_size(&p, &rows, &columns, &nonzeros);                                                     \
        judge(#verb "_matrix_size", shape_status, status, marked_line(0, 1),                                                     \
              MAY(UNSUPPORTED) | MAY(OVERFLOW) | MAY(OUT_OF_MEMORY));                                                            \
        double most = fmax(fmax((double)rows, (double)nonzeros), (double)rows * (double)columns);                                \
        if (status == CONVOLUTION_OK && most > SMALL) break;                                                                     \
        int64_t less = one_in(4);                                                                                                \
        struct place m = marked_line(rows * columns, element);                                                                   \
        judge(#verb "_matrix", shape_status, verb##_matrix(&p, __VA_ARGS__ m.origin, rows * columns - less), m,                  \
              MAY(UNSUPPORTED) | MAY(OVERFLOW) | MAY(OUT_OF_MEMORY) | (less ? MAY(CAPACITY) : 0));                               \
        m = marked_line(rows + 1 + 2 * nonzeros, sizeof(int64_t));                                                               \
        int64_t *offsets = (int64_t *)(void *)m.origin;                                                                          \
        judge(#verb "_matrix_csr", shape_status,                                                                                 \
              verb##_matrix_csr(&p, __VA_ARGS__ offsets, offsets + rows + 1, offsets + rows + 1 + nonzeros, nonzeros - less), m, \
              MAY(UNSUPPORTED) | MAY(OVERFLOW) | MAY(OUT_OF_MEMORY) | (less ? MAY(CAPACITY) : 0));                               \
    } while (0)

static int is_gapless(const int64_t strides[4]) { return !strides[0] && !strides[1] && !strides[2] && !strides[3]; }

/* The plan of the gradient that `result` has just been given, with this status, by a plain call: it is made where that succeeded,
 * gives the same bits, and refuses what is missing or overlaps. The last arguments stand before output gradient and result. */
#define GRADIENT_PLAN(gradient, status, create, ...)                                                                             \
    do {                                                                                                                         \
        gradient##_plan *plan = (gradient##_plan *)(void *)blocks[0];                                                            \
        memcpy(blocks[5], result.first, result.bytes);                                                                           \
        memset(result.first, PATTERN, result.bytes);                                                                             \
        int32_t made = gradient##_plan_create create;                                                                            \
        judge(#gradient "_plan_create", status, made, result, 0);                                                                \
        expect(#gradient "_plan_create makes a plan or fails", (made == CONVOLUTION_OK) == (plan != NULL));                      \
        if (made == CONVOLUTION_OK) {                                                                                            \
            if (y.bytes && result.bytes && product(in, 4) > 0) {                                                                 \
                judge(#gradient " to NULL", CONVOLUTION_ERROR_NULL_POINTER,                                                      \
                      gradient##_plan_execute(plan, __VA_ARGS__ y.origin, NULL), result, 0);                                     \
                judge(#gradient " of NULL", CONVOLUTION_ERROR_NULL_POINTER,                                                      \
                      gradient##_plan_execute(plan, __VA_ARGS__ NULL, result.origin), result, 0);                                \
                if (is_gapless(p.input_strides) && is_gapless(p.output_strides))                                                 \
                    judge(#gradient " in place", CONVOLUTION_ERROR_OVERLAP,                                                      \
                          gradient##_plan_execute(plan, __VA_ARGS__ result.origin, result.origin), result, 0);                   \
            }                                                                                                                    \
            judge(#gradient "_plan_execute", CONVOLUTION_OK, gradient##_plan_execute(plan, __VA_ARGS__ y.origin, result.origin), \
                  result, 0);                                                                                                    \
            expect(#gradient "_plan_execute has the bits of " #gradient, memcmp(blocks[5], result.first, result.bytes) == 0);    \
        }                                                                                                                        \
        gradient##_plan_destroy(plan);                                                                                           \
    } while (0)

/* x and y hold numbers of some kind; x is as small as the input. */
#define LAYER_OPERATOR(verb, weights, channels)                                                                                  \
    do {                                                                                                                         \
        int valid = shape_status == CONVOLUTION_OK;                                                                              \
        struct place result = marked_line(valid ? weights : 4, element);                                                         \
        int32_t status = verb##_backward_kernel(&p, x.origin, y.origin, result.origin);                                          \
        judge(#verb "_backward_kernel", shape_status, status, result, MAY_NOT_FIT);                                              \
        GRADIENT_PLAN(verb##_backward_kernel, status, (&p, &plan), x.origin, );                                                  \
        result = marked_line(valid ? channels : 4, element);                                                                     \
        judge(#verb "_backward_bias", shape_status, verb##_backward_bias(&p, y.origin, result.origin), result, 0);               \
        result = valid ? marked(in, p.input_strides, element) : marked_line(4, element);                                         \
        status = verb##_backward_input(&p, y.origin, blocks[1], result.origin);                                                  \
        judge(#verb "_backward_input", shape_status, status, result, MAY(ELEMENT_STRIDES) | MAY_NOT_FIT);                        \
        GRADIENT_PLAN(verb##_backward_input, status, (&p, blocks[1], &plan), );                                                  \
        memset(result.first, PATTERN, result.bytes);                                                                             \
        judge(#verb "_gram", shape_status, verb##_gram(&p, blocks[1], x.origin, result.origin), result,                          \
              MAY(ELEMENT_STRIDES) | MAY(UNSUPPORTED) | MAY_NOT_FIT);                                                            \
        result = marked_line(1, sizeof(double));                                                                                 \
        judge(#verb "_adjoint_test", shape_status,                                                                               \
              verb##_adjoint_test(&p, blocks[1], random_bits(), (double *)(void *)result.origin), result,                        \
              MAY(UNSUPPORTED) | MAY_NOT_FIT);                                                                                   \
        MATRICES(verb, blocks[1], );                                                                                             \
    } while (0)

static int32_t stop_after_three(void *context, const conv2d_solve_progress *state) {
    (void)context;
    return state->iteration >= 3;
}

static void fuzz_solve(const conv2d_params *p, int32_t shape_status, struct place x, struct place y, int64_t unknowns,
                       int64_t equations) {
    conv2d_solve_params solve = { .struct_size = sizeof solve, .progress = stop_after_three, .nonnegative = (int32_t)below(2),
                                  .lambda = one_in(2) ? 0.5 : 0 };
    conv2d_solve_result result = { .struct_size = sizeof result };
    switch (below(8)) {
    case 0: solve.lambda = (double)extreme_value(); break;
    case 1: solve.tolerance = one_in(2) ? NAN : (double)extreme_value(); break;
    case 2: solve.max_iterations = extreme_value(); break;
    case 3: solve.nonnegative = (int32_t)extreme_value(); break;
    case 4: solve.mask_size = extreme_value(); break;
    case 5: solve.struct_size = (size_t)extreme_value(); break;
    case 6: result.struct_size = (size_t)extreme_value(); break;
    }
    memset(x.first, PATTERN, x.bytes);
    judge("conv2d_solve", shape_status, conv2d_solve(p, &solve, blocks[1], NULL, y.origin, x.origin, &result), x,
          MAY(STRUCT_SIZE) | MAY(LAMBDA) | MAY(TOLERANCE) | MAY(ITERATIONS) | MAY(FLAG) | MAY(MASK) | MAY(ACTIVATION) |
              MAY(ELEMENT_STRIDES) | MAY_NOT_FIT);
    conv2d_rank rank = { .struct_size = one_in(8) ? (size_t)extreme_value() : sizeof rank };
    const void *kernel = (double)unknowns * (double)equations <= 2000 ? blocks[1] : NULL;
    struct place none = marked_line(0, 1);
    judge("conv2d_rank_report", shape_status, conv2d_rank_report(p, kernel, &rank), none,
          MAY(STRUCT_SIZE) | MAY(UNSUPPORTED) | MAY(OVERFLOW) | MAY(OUT_OF_MEMORY));
}

static void random_conv2d(conv2d_params *p) {
    p->batch = below(3), p->height = below(8), p->width = below(8);
    p->kernel_height = 1 + below(4), p->kernel_width = 1 + below(4);
    p->groups = below(4);
    p->in_channels = (p->groups ? p->groups : 1) * below(5), p->out_channels = (p->groups ? p->groups : 1) * below(5);
    p->stride_height = below(4), p->stride_width = below(4), p->dilation_height = below(3), p->dilation_width = below(3);
    if (one_in(6)) p->depth_multiplier = 1 + below(3), p->groups = 0, p->out_channels = 0;
    p->padding = (int32_t)below(6), p->padding_mode = (int32_t)below(6);
    if (p->padding == CONVOLUTION_PADDING_EXPLICIT)
        p->pad_top = below(7) - 2, p->pad_bottom = below(7) - 2, p->pad_left = below(7) - 2, p->pad_right = below(7) - 2;
    if (p->padding_mode == CONVOLUTION_PADDING_MODE_CONSTANT) p->padding_value = 1.5;
    p->dtype = (int32_t)below(2), p->data_format = (int32_t)below(2), p->kernel_format = (int32_t)below(2);
    p->flip_kernel = (int32_t)below(2), p->activation = (int32_t)below(7), p->threads = (int32_t)below(4);
    p->allow_empty_output = (int32_t)below(2);
    if (p->activation == CONVOLUTION_ACTIVATION_CLAMP) p->activation_max = 3;
    if (one_in(8)) p->input_strides[below(4)] = below(400) - 200;
    if (one_in(8)) p->output_strides[below(4)] = below(400) - 200;
}

static void fuzz_conv2d(void) {
    conv2d_params p;
    memset(&p, 0, sizeof p);
    if (one_in(16))
        noise(&p, sizeof p);
    else
        random_conv2d(&p), spoil(&p, sizeof p, offsetof(conv2d_params, isa));
    p.struct_size = sizeof p;
    p.isa = random_isa();

    int64_t in[4], out[4] = { 0, 0, 0, 0 };
    int32_t shape_status = conv2d_output_shape(&p, out);
    struct place x, y;
    in_order(p.data_format, p.batch, p.height, p.width, p.in_channels, in);
    int small = place_both(shape_status, p.dtype, in, p.input_strides, out, p.output_strides, &x, &y);
    if (shape_status == CONVOLUTION_OK) {
        double groups = p.depth_multiplier ? (double)p.in_channels : p.groups ? (double)p.groups : 1;
        double channels = (double)out[p.data_format == CONVOLUTION_NCHW ? 1 : 3];
        double window = (double)p.kernel_height * (double)p.kernel_width * (groups > 0 ? (double)p.in_channels / groups : 0);
        small = small && channels <= SMALL && window * channels <= SMALL && window * product(out, 4) <= SMALL;
    }
    const void *bias = one_in(2) ? blocks[2] : NULL;
    if (!small)
        passed++;
    else
        judge("conv2d", shape_status, conv2d(&p, x.origin, blocks[1], bias, y.origin), y, MAY(WORKSPACE));

    /* A border that repeats input is as large in its gradient, however few of its places are read. */
    double reach = 0;
    if (shape_status == CONVOLUTION_OK && p.padding_mode > CONVOLUTION_PADDING_MODE_CONSTANT) {
        double d = fmax((double)p.dilation_height, 1), e = fmax((double)p.dilation_width, 1);
        reach = fmax(fmax((double)p.kernel_height * d + (double)p.pad_top, (double)p.pad_bottom + d * (double)p.kernel_height),
                     fmax((double)p.kernel_width * e + (double)p.pad_left, (double)p.pad_right + e * (double)p.kernel_width));
    }
    if (!small || reach > 100 || (shape_status == CONVOLUTION_OK && !(is_small(in) && is_small(out))) || !one_in(4)) return;
    size_t element = p.dtype == CONVOLUTION_FLOAT64 ? sizeof(double) : sizeof(float);
    int64_t groups = p.depth_multiplier ? p.in_channels : p.groups ? p.groups : 1;
    int64_t channels = out[p.data_format == CONVOLUTION_NCHW ? 1 : 3];
    int64_t weights = shape_status || !groups ? 0 : p.kernel_height * p.kernel_width * (p.in_channels / groups) * channels;
    LAYER_OPERATOR(conv2d, weights, channels);
    fuzz_solve(&p, shape_status, x, y, shape_status ? 1 : in[1] * in[2] * in[3], shape_status ? 1 : out[1] * out[2] * out[3]);
}

static void random_transpose(conv2d_transpose_params *p) {
    p->batch = below(3), p->height = below(7), p->width = below(7);
    p->kernel_height = 1 + below(4), p->kernel_width = 1 + below(4);
    p->groups = below(4);
    p->in_channels = (p->groups ? p->groups : 1) * below(5), p->out_channels = (p->groups ? p->groups : 1) * below(5);
    p->stride_height = below(4), p->stride_width = below(4), p->dilation_height = below(3), p->dilation_width = below(3);
    if (one_in(6)) p->depth_multiplier = 1 + below(3), p->groups = 0, p->out_channels = 0;
    p->rule = (int32_t)below(5);
    p->padding = p->rule == CONV2D_TRANSPOSE_RULE_WINDOW || p->rule == CONV2D_TRANSPOSE_RULE_TORCH ? CONVOLUTION_PADDING_EXPLICIT
                                                                                                   : (int32_t)below(2);
    if (p->padding == CONVOLUTION_PADDING_EXPLICIT)
        p->pad_top = below(4) - one_in(3), p->pad_bottom = below(4) - one_in(3), p->pad_left = below(4), p->pad_right = below(4);
    if (one_in(4)) p->output_padding_given = 1, p->output_padding_height = below(3), p->output_padding_width = below(3);
    if (one_in(6)) p->output_height = 1 + below(20), p->output_width = 1 + below(20);
    p->dtype = (int32_t)below(2), p->data_format = (int32_t)below(2), p->kernel_format = (int32_t)below(2);
    p->flip_kernel = (int32_t)below(2), p->activation = (int32_t)below(7), p->threads = (int32_t)below(4);
    p->allow_empty_output = (int32_t)below(2);
    if (p->activation == CONVOLUTION_ACTIVATION_CLAMP) p->activation_max = 3;
    if (one_in(8)) p->input_strides[below(4)] = below(400) - 200;
    if (one_in(8)) p->output_strides[below(4)] = below(400) - 200;
}

static void fuzz_transpose(void) {
    conv2d_transpose_params p;
    memset(&p, 0, sizeof p);
    if (one_in(16))
        noise(&p, sizeof p);
    else
        random_transpose(&p), spoil(&p, sizeof p, offsetof(conv2d_transpose_params, isa));
    p.struct_size = sizeof p;
    p.isa = random_isa();

    int64_t in[4], out[4] = { 0, 0, 0, 0 };
    int32_t shape_status = conv2d_transpose_output_shape(&p, out);
    struct place x, y;
    in_order(p.data_format, p.batch, p.height, p.width, p.in_channels, in);
    int small = place_both(shape_status, p.dtype, in, p.input_strides, out, p.output_strides, &x, &y);
    if (shape_status == CONVOLUTION_OK) {
        double groups = p.depth_multiplier ? (double)p.in_channels : p.groups ? (double)p.groups : 1;
        double channels = (double)out[p.data_format == CONVOLUTION_NCHW ? 1 : 3];
        double window = (double)p.kernel_height * (double)p.kernel_width * (groups > 0 ? channels / groups : 0);
        small = small && channels <= SMALL && window * (double)p.in_channels <= SMALL && window * product(in, 4) <= SMALL;
    }
    const void *bias = one_in(2) ? blocks[2] : NULL;
    if (!small)
        passed++;
    else
        judge("conv2d_transpose", shape_status, conv2d_transpose(&p, x.origin, blocks[1], bias, y.origin), y, MAY(WORKSPACE));

    if (!small || (shape_status == CONVOLUTION_OK && !(is_small(in) && is_small(out))) || !one_in(4)) return;
    size_t element = p.dtype == CONVOLUTION_FLOAT64 ? sizeof(double) : sizeof(float);
    int64_t groups = p.depth_multiplier ? p.in_channels : p.groups ? p.groups : 1;
    int64_t channels = out[p.data_format == CONVOLUTION_NCHW ? 1 : 3];
    int64_t weights = shape_status || !groups ? 0 : p.kernel_height * p.kernel_width * p.in_channels * (channels / groups);
    LAYER_OPERATOR(conv2d_transpose, weights, channels);
    const int64_t *image = out + (p.data_format == CONVOLUTION_NCHW ? 2 : 1);
    if (product(image, 2) > SMALL) return; /* beside no images or channels */
    int64_t pixels = shape_status ? 4 : image[0] * image[1], less = one_in(4);
    struct place counts = marked_line(pixels, sizeof(int64_t));
    judge("conv2d_transpose_overlap", shape_status,
          conv2d_transpose_overlap(&p, (int64_t *)(void *)counts.origin, pixels - less), counts,
          MAY(OVERFLOW) | MAY(OUT_OF_MEMORY) | (less ? MAY(CAPACITY) : 0));
}

static void random_upsample(upsample2d_params *p) {
    p->batch = below(3), p->height = below(9), p->width = below(9), p->channels = below(9);
    int64_t how = below(4);
    if (how == 0) p->factor_height = below(5), p->factor_width = below(5);
    if (how == 1 || how == 3) p->output_height = below(20), p->output_width = below(20);
    if (how >= 2) p->scale_height = (double)below(40) / 8, p->scale_width = (double)below(40) / 8;
    if (how == 3 && one_in(4)) p->scale_width = ldexp(1, (int)below(100) - 50);
    p->dtype = (int32_t)below(2), p->data_format = (int32_t)below(2), p->interpolation = (int32_t)below(6);
    p->coordinates = (int32_t)below(6), p->threads = (int32_t)below(4);
    if (one_in(8)) p->coordinates = UPSAMPLE2D_COORDINATES_TF_HALF_PIXEL_FOR_NN;
    if (one_in(4)) {
        p->coordinates = UPSAMPLE2D_COORDINATES_TF_CROP_AND_RESIZE;
        for (int i = 0; i < 4; i++) p->roi[i] = one_in(16) ? ldexp(1, (int)below(50)) : (double)below(33) / 8 - 1;
        if (one_in(2)) p->extrapolation_value = 3;
    }
    if (one_in(2)) p->preset = (int32_t)below(7);
    if (one_in(4)) p->rounding = (int32_t)below(6);
    if (one_in(4)) p->edge = (int32_t)below(3);
    if (one_in(4)) p->antialias = 1;
    if (one_in(8)) p->cubic_coefficient = (double)below(9) / 4 - 1;
    if (one_in(8)) p->input_strides[below(4)] = below(400) - 200;
    if (one_in(8)) p->output_strides[below(4)] = below(400) - 200;
}

static void fuzz_upsample(void) {
    upsample2d_params p;
    memset(&p, 0, sizeof p);
    if (one_in(16))
        noise(&p, sizeof p);
    else
        random_upsample(&p), spoil(&p, sizeof p, offsetof(upsample2d_params, isa));
    p.struct_size = sizeof p;
    p.isa = random_isa();

    int64_t in[4], out[4] = { 0, 0, 0, 0 };
    int32_t shape_status = upsample2d_output_shape(&p, out);
    struct place x, y;
    in_order(p.data_format, p.batch, p.height, p.width, p.channels, in);
    int small = place_both(shape_status, p.dtype, in, p.input_strides, out, p.output_strides, &x, &y);
    /* An empty batch or no channels can stand beside huge sizes; their coordinates need not be computed here. */
    if (shape_status == CONVOLUTION_OK && (product(out, 3) > SMALL || product(out + 1, 3) > SMALL)) small = 0;
    if (!small)
        passed++;
    else
        judge("upsample2d", shape_status, upsample2d(&p, x.origin, y.origin), y, 0);

    if (!small || (shape_status == CONVOLUTION_OK && !(is_small(in) && is_small(out))) || !one_in(4)) return;
    size_t element = p.dtype == CONVOLUTION_FLOAT64 ? sizeof(double) : sizeof(float);
    struct place result = shape_status ? marked_line(4, element) : marked(in, p.input_strides, element);
    int32_t status = upsample2d_backward(&p, y.origin, result.origin);
    judge("upsample2d_backward", shape_status, status, result, MAY(ELEMENT_STRIDES));
    GRADIENT_PLAN(upsample2d_backward, status, (&p, &plan), );
    memset(result.first, PATTERN, result.bytes);
    judge("upsample2d_gram", shape_status, upsample2d_gram(&p, x.origin, result.origin), result,
          MAY(ELEMENT_STRIDES) | MAY(UNSUPPORTED) | MAY_NOT_FIT);
    result = marked_line(1, sizeof(double));
    judge("upsample2d_adjoint_test", shape_status, upsample2d_adjoint_test(&p, random_bits(), (double *)(void *)result.origin),
          result, MAY(UNSUPPORTED) | MAY_NOT_FIT);
    MATRICES(upsample2d, );
}

/* Both in one, which have to agree: most of what must is left 0. */
static void fuzz_both(void) {
    upsample2d_params u;
    conv2d_params c;
    memset(&u, 0, sizeof u);
    memset(&c, 0, sizeof c);
    random_upsample(&u);
    random_conv2d(&c);
    c.dtype = u.dtype, c.data_format = u.data_format, c.threads = 0;
    c.batch = c.height = c.width = c.in_channels = c.groups = c.depth_multiplier = 0;
    memset(u.output_strides, 0, sizeof u.output_strides);
    memset(c.input_strides, 0, sizeof c.input_strides);
    if (one_in(4)) spoil(&u, sizeof u, offsetof(upsample2d_params, isa));
    if (one_in(4)) spoil(&c, sizeof c, offsetof(conv2d_params, isa));
    u.struct_size = sizeof u, c.struct_size = sizeof c;
    u.isa = random_isa(), c.isa = one_in(2) ? NULL : u.isa;

    int64_t in[4], out[4] = { 0, 0, 0, 0 }, between[4] = { 0, 0, 0, 0 };
    int32_t shape_status = upsample2d_conv2d_output_shape(&u, &c, out);
    struct place x, y;
    in_order(u.data_format, u.batch, u.height, u.width, u.channels, in);
    int small = place_both(shape_status, u.dtype, in, u.input_strides, out, c.output_strides, &x, &y);
    if (shape_status == CONVOLUTION_OK) {
        upsample2d_output_shape(&u, between);
        double channels = (double)out[u.data_format == CONVOLUTION_NCHW ? 1 : 3];
        double window = (double)c.kernel_height * (double)c.kernel_width * (double)u.channels;
        small = small && is_small(between) && is_small(out) && window * channels <= SMALL
            && window * product(out, 4) <= 10 * SMALL;
    }
    if (!small) {
        passed++;
        return;
    }
    judge("upsample2d_conv2d", shape_status, upsample2d_conv2d(&u, &c, x.origin, blocks[1], blocks[2], y.origin), y,
          MAY_NOT_FIT);
    int64_t plan = -1, execution = -1, least = -1;
    int32_t status = upsample2d_conv2d_workspace_size(&u, &c, &plan, &execution, &least);
    judge("upsample2d_conv2d_workspace_size", shape_status, status, marked_line(0, 1), MAY_NOT_FIT);
    if ((status == CONVOLUTION_OK) != (plan >= 0 && least >= 0 && least <= execution)) {
        failed++;
        fprintf(stderr, "fuzz round %" PRIu64 ", upsample2d_conv2d_workspace_size: %d %d %d\n", round_now, (int)plan,
                (int)execution, (int)least);
    }
}

int main(int argc, char **argv) {
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
    random_state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    signal(SIGSEGV, crashed);
    signal(SIGBUS, crashed);
    signal(SIGILL, crashed);
    signal(SIGTRAP, crashed);
    signal(SIGABRT, crashed);
    signal(SIGFPE, crashed);
    for (int i = 0; i < 6; i++) {
        blocks[i] = guarded_block();
        for (size_t j = 0; j < GUARDED_BYTES / sizeof(float); j++) ((float *)(void *)blocks[i])[j] = 1;
    }
    for (round_now = 1; round_now <= rounds; round_now++)
        switch (round_now % 4) {
        case 0: fuzz_conv2d(); break;
        case 1: fuzz_transpose(); break;
        case 2: fuzz_upsample(); break;
        default: fuzz_both();
        }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
