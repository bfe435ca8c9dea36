/*
 * Gradients and operators at the C interface: every array against an unreadable page, once with its last byte and once with its
 * first; what is misused is refused with a status and a text, and nothing is written. Whole numbers make all sums exact, so the
 * gradients are checked by <layer(x; w), g> = <x, input_gradient> = <w, kernel_gradient>, for equality.
 *
 * usage: gradients [shapes per verb [seed]]
 */
#include <inttypes.h>
#include <malloc.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "convolution.h"
#include "guarded.h"

static int passed, failed;
static char now[400]; /* the case at hand, for the report of a crash */

static void crashed(int number) {
    char text[500];
    int length = snprintf(text, sizeof text, "%s: signal %d\n", now, number);
    if (write(2, text, (size_t)length)) {}
    _exit(1);
}

static void check(const char *what, int condition) {
    if (condition) {
        passed++;
        return;
    }
    failed++;
    fprintf(stderr, "%s: %s (%s)\n", now, what, convolution_error_message());
}

static uint64_t random_state;
static int64_t below(int64_t n) { /* splitmix64 */
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (int64_t)((z ^ (z >> 31)) % (uint64_t)n);
}
static int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }

/* ---------------------------------------------------------------------------------------------------- guarded arrays */

/* input, output, their gradients, kernel, its gradient, gradient of the bias */
enum { X, Y, DX, DY, W, DW, DB, ARRAYS };
static unsigned char *blocks[ARRAYS];
static void *arrays[ARRAYS];
static int64_t counts[ARRAYS];

/* Data in those that are read, and a mark in those to be written. */
static int lay_out(const int64_t sizes[ARRAYS], size_t element, int at_end) {
    for (int i = 0; i < ARRAYS; i++) {
        size_t bytes = (size_t)sizes[i] * element;
        if (bytes > GUARDED_BYTES) return 0;
        counts[i] = sizes[i];
        arrays[i] = at_end ? blocks[i] + GUARDED_BYTES - bytes : blocks[i];
        guarded_protect(blocks[i], PROT_READ | PROT_WRITE);
        int read = i == X || i == DY || i == W;
        for (int64_t j = 0; j < sizes[i]; j++) {
            double value = read ? (double)between(-4, 4) : NAN;
            if (element == sizeof(float)) ((float *)arrays[i])[j] = (float)value;
            else ((double *)arrays[i])[j] = value;
        }
        if (read) guarded_protect(blocks[i], PROT_READ);
    }
    return 1;
}

static double dot(int a, int b, size_t element) {
    double sum = 0;
    for (int64_t j = 0; j < counts[a]; j++)
        sum += element == sizeof(float) ? (double)((float *)arrays[a])[j] * (double)((float *)arrays[b])[j]
                                        : ((double *)arrays[a])[j] * ((double *)arrays[b])[j];
    return sum;
}

static int64_t product(const int64_t shape[4]) { return shape[0] * shape[1] * shape[2] * shape[3]; }

/* ------------------------------------------------------------------------------------------------------------- cases */

#define COMMON(p)                                                                                                                \
    (p).struct_size = sizeof (p), (p).batch = between(1, 3), (p).height = between(1, 9),                                         \
    (p).width = below(4) ? between(1, 20) : between(70, 90),                                                                     \
    (p).kernel_height = between(1, 4), (p).kernel_width = between(1, 4), (p).stride_height = between(1, 3),                      \
    (p).stride_width = between(1, 3), (p).dilation_height = between(1, 2), (p).dilation_width = between(1, 2),                   \
    (p).groups = below(3) ? 1 : between(2, 9), (p).in_channels = (p).groups * between(1, (p).groups > 3 ? 3 : 20),               \
    (p).out_channels = (p).groups * between(1, (p).groups > 3 ? 3 : 40), (p).dtype = (int32_t)below(2),                          \
    (p).data_format = (int32_t)below(2), (p).kernel_format = (int32_t)below(2), (p).flip_kernel = (int32_t)below(2)

/* Layers of more products by Winograd's algorithm, which rounds even whole numbers; a missing or misplaced product is more. */
#define SOME_BY_WINOGRAD(p)                                                                                                      \
    if (below(10) == 0)                                                                                                          \
    (p).algorithm = CONVOLUTION_ALGORITHM_WINOGRAD, (p).height = between(10, 14), (p).width = between(10, 14),                   \
    (p).kernel_height = (p).kernel_width = 3, (p).stride_height = (p).stride_width = 1, (p).groups = between(1, 2),              \
    (p).in_channels = (p).groups * between(16, 40), (p).out_channels = (p).groups * between(16, 40)

#define DESCRIBE(verb, p)                                                                                                        \
    snprintf(now, sizeof now,                                                                                                    \
             verb " %dx%dx%d channels %d to %d kernel %dx%d strides %dx%d dilation %dx%d groups %d dtype %d format %d "          \
                  "kernel %d flip %d padding %d isa %s at_end %d",                                                               \
             (int)p.batch, (int)p.height, (int)p.width, (int)p.in_channels, (int)p.out_channels, (int)p.kernel_height,           \
             (int)p.kernel_width, (int)p.stride_height, (int)p.stride_width, (int)p.dilation_height, (int)p.dilation_width,      \
             (int)p.groups, (int)p.dtype, (int)p.data_format, (int)p.kernel_format, (int)p.flip_kernel, (int)p.padding, p.isa,   \
             at_end)

static double element_of(const void *array, int64_t i, size_t element) {
    return element == sizeof(float) ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

/* Whether the sums are those of the type: `alone` plus `held`, rounded once. */
static int is_sum(const void *sums, const void *alone, const void *held, int64_t count, size_t element) {
    for (int64_t i = 0; i < count; i++) {
        double sum = element_of(alone, i, element) + element_of(held, i, element);
        if (element_of(sums, i, element) != (element == sizeof(float) ? (double)(float)sum : sum)) return 0;
    }
    return 1;
}

/* The three gradients of one layer on every tier, each array at both ends of its block. */
#define GRADIENTS(verb, p)                                                                                                       \
    int64_t shape[4];                                                                                                            \
    if (verb##_output_shape(&p, shape) != CONVOLUTION_OK) return 0;                                                              \
    size_t element = p.dtype == CONVOLUTION_FLOAT64 ? sizeof(double) : sizeof(float);                                            \
    int64_t in = p.batch * p.height * p.width * p.in_channels, out = product(shape);                                             \
    int64_t weights = p.kernel_height * p.kernel_width * p.in_channels * p.out_channels / p.groups;                              \
    const int64_t sizes[ARRAYS] = { in, out, in, out, weights, weights, p.out_channels };                                        \
    for (int32_t tier = 0; (p.isa = convolution_isa_name(tier)); tier++)                                                         \
        for (int at_end = 0; at_end < 2 && convolution_isa_supported(p.isa); at_end++) {                                         \
            DESCRIBE(#verb, p);                                                                                                  \
            if (!lay_out(sizes, element, at_end)) return 0;                                                                      \
            check("forward", verb(&p, arrays[X], arrays[W], NULL, arrays[Y]) == CONVOLUTION_OK);                                 \
            check("input", verb##_backward_input(&p, arrays[DY], arrays[W], arrays[DX]) == CONVOLUTION_OK);                      \
            check("kernel", verb##_backward_kernel(&p, arrays[X], arrays[DY], arrays[DW]) == CONVOLUTION_OK);                    \
            static unsigned char alone[GUARDED_BYTES];                                                                           \
            size_t bytes = (size_t)weights * element;                                                                            \
            memcpy(alone, arrays[DW], bytes);                                                                                    \
            verb##_backward_kernel_plan *plan = NULL;                                                                            \
            check("kernel plan", verb##_backward_kernel_plan_create(&p, &plan) == CONVOLUTION_OK);                               \
            for (int turn = 0; turn < 2; turn++) {                                                                               \
                memset(arrays[DW], 0xFF, bytes);                                                                                 \
                check("executed",                                                                                                \
                      verb##_backward_kernel_plan_execute(plan, arrays[X], arrays[DY], arrays[DW]) == CONVOLUTION_OK);           \
                check("same bits by plan", memcmp(alone, arrays[DW], bytes) == 0);                                               \
            }                                                                                                                    \
            verb##_backward_kernel_plan_destroy(plan);                                                                           \
            check("bias", verb##_backward_bias(&p, arrays[DY], arrays[DB]) == CONVOLUTION_OK);                                   \
            double scalar = dot(Y, DY, element);                                                                                 \
            double rounds = p.algorithm ? 1e-6 * sqrt(dot(Y, Y, element) * dot(DY, DY, element)) : 0;                            \
            check("<y, g> = <x, dx>", fabs(scalar - dot(X, DX, element)) <= rounds);                                             \
            check("<y, g> = <w, dw>", fabs(scalar - dot(W, DW, element)) <= rounds);                                             \
            if (p.algorithm) continue;                                                                                           \
            check("gram", verb##_gram(&p, arrays[W], arrays[X], arrays[DX]) == CONVOLUTION_OK);                                  \
            memcpy(alone, arrays[DX], (size_t)in * element);                                                                     \
            memcpy(arrays[DX], arrays[X], (size_t)in * element);                                                                 \
            p.accumulate = 1;                                                                                                    \
            check("gram, accumulated", verb##_gram(&p, arrays[W], arrays[X], arrays[DX]) == CONVOLUTION_OK);                     \
            p.accumulate = 0;                                                                                                    \
            check("and added", is_sum(arrays[DX], alone, arrays[X], in, element));                                               \
        }                                                                                                                        \
    return 1

static int conv2d_case(void) {
    conv2d_params p = { 0 };
    COMMON(p);
    SOME_BY_WINOGRAD(p);
    p.padding = (int32_t)below(6);
    p.padding_mode = (int32_t)below(6);
    if (p.padding == CONVOLUTION_PADDING_EXPLICIT) {
        p.pad_top = between(-1, 3), p.pad_bottom = between(-1, 3), p.pad_left = between(-1, 3), p.pad_right = between(-1, 3);
    }
    GRADIENTS(conv2d, p);
}

static int transpose_case(void) {
    conv2d_transpose_params p = { 0 };
    COMMON(p);
    SOME_BY_WINOGRAD(p);
    p.rule = CONV2D_TRANSPOSE_RULE_WINDOW;
    p.padding = CONVOLUTION_PADDING_EXPLICIT;
    p.pad_top = between(-1, 2), p.pad_bottom = between(-1, 2), p.pad_left = between(-1, 2), p.pad_right = between(-1, 2);
    GRADIENTS(conv2d_transpose, p);
}

static int upsample_case(void) {
    upsample2d_params p = { .struct_size = sizeof p, .batch = between(1, 2), .height = between(1, 9), .width = between(1, 20),
                            .channels = between(1, 20), .output_height = between(1, 20), .output_width = between(1, 20),
                            .dtype = (int32_t)below(2), .data_format = (int32_t)below(2), .interpolation = (int32_t)below(6),
                            .preset = (int32_t)below(7), .coordinates = (int32_t)below(6), .antialias = below(4) == 0,
                            .rounding = (int32_t)(below(3) ? 0 : below(5)), .edge = (int32_t)(below(3) ? 0 : below(3)) };
    int64_t shape[4];
    if (upsample2d_output_shape(&p, shape) != CONVOLUTION_OK) return 0;
    size_t element = p.dtype == CONVOLUTION_FLOAT64 ? sizeof(double) : sizeof(float);
    int64_t in = p.batch * p.height * p.width * p.channels, out = product(shape);
    const int64_t sizes[ARRAYS] = { in, out, in, out, 0, 0, 0 };
    for (int at_end = 0; at_end < 2; at_end++) {
        snprintf(now, sizeof now,
                 "upsample2d %dx%dx%dx%d to %dx%d interpolation %d preset %d coordinates %d antialias %d format %d dtype %d",
                 (int)p.batch, (int)p.height, (int)p.width, (int)p.channels, (int)p.output_height, (int)p.output_width,
                 (int)p.interpolation, (int)p.preset, (int)p.coordinates, (int)p.antialias, (int)p.data_format, (int)p.dtype);
        if (!lay_out(sizes, element, at_end)) return 0;
        check("forward", upsample2d(&p, arrays[X], arrays[Y]) == CONVOLUTION_OK);
        check("backward", upsample2d_backward(&p, arrays[DY], arrays[DX]) == CONVOLUTION_OK);
        double scalar = dot(Y, DY, element), size = sqrt(dot(Y, Y, element) * dot(DY, DY, element));
        check("<y, g> = <x, dx>", fabs(scalar - dot(X, DX, element)) <= (element == sizeof(float) ? 1e-5 : 1e-12) * (size + 1));

        static double alone[GUARDED_BYTES / sizeof(double)];
        memcpy(alone, arrays[DX], (size_t)in * element);
        upsample2d_backward_plan *plan = NULL;
        check("plan", upsample2d_backward_plan_create(&p, &plan) == CONVOLUTION_OK);
        memset(arrays[DX], 0xFF, (size_t)in * element);
        check("executed", upsample2d_backward_plan_execute(plan, arrays[DY], arrays[DX]) == CONVOLUTION_OK);
        check("same bits by plan", memcmp(alone, arrays[DX], (size_t)in * element) == 0);
        upsample2d_backward_plan_destroy(plan);

        upsample2d_params sum = p;
        sum.accumulate = 1;
        memcpy(arrays[DX], arrays[X], (size_t)in * element);
        check("accumulated", upsample2d_backward(&sum, arrays[DY], arrays[DX]) == CONVOLUTION_OK);
        check("its gradient added", is_sum(arrays[DX], alone, arrays[X], in, element));
        check("gram", upsample2d_gram(&p, arrays[X], arrays[DX]) == CONVOLUTION_OK);
        memcpy(alone, arrays[DX], (size_t)in * element);
        memcpy(arrays[DX], arrays[X], (size_t)in * element);
        check("gram, accumulated", upsample2d_gram(&sum, arrays[X], arrays[DX]) == CONVOLUTION_OK);
        check("and added", is_sum(arrays[DX], alone, arrays[X], in, element));
        memcpy(alone, arrays[Y], (size_t)out * element);
        memcpy(arrays[Y], arrays[DY], (size_t)out * element);
        check("forward, accumulated", upsample2d(&sum, arrays[X], arrays[Y]) == CONVOLUTION_OK);
        check("its result added", is_sum(arrays[Y], alone, arrays[DY], out, element));
    }
    return 1;
}

/* ------------------------------------------------------------------------------------------------------------ misuse */

#define EXPECT(code, piece, call)                                                                                                \
    do {                                                                                                                         \
        snprintf(now, sizeof now, "line %d", __LINE__);                                                                          \
        memset(result, 0xA5, sizeof result);                                                                                     \
        check(#code, (call) == CONVOLUTION_ERROR_##code && strstr(convolution_error_message(), piece));                          \
        int touched = 0;                                                                                                         \
        for (size_t i = 0; i < sizeof result; i++) touched |= ((unsigned char *)result)[i] != 0xA5;                              \
        check("nothing is written", !touched);                                                                                   \
    } while (0)

#define MISUSE(verb, p, plan_type)                                                                                               \
    EXPECT(NULL_POINTER, "params", verb##_backward_input(NULL, data, data, result));                                             \
    EXPECT(NULL_POINTER, "output_gradient", verb##_backward_input(&p, NULL, data, result));                                      \
    EXPECT(NULL_POINTER, "kernel", verb##_backward_input(&p, data, NULL, result));                                               \
    EXPECT(NULL_POINTER, "input_gradient", verb##_backward_input(&p, data, data, NULL));                                         \
    EXPECT(NULL_POINTER, "input", verb##_backward_kernel(&p, NULL, data, result));                                               \
    EXPECT(NULL_POINTER, "output_gradient", verb##_backward_kernel(&p, data, NULL, result));                                     \
    EXPECT(NULL_POINTER, "kernel_gradient", verb##_backward_kernel(&p, data, data, NULL));                                       \
    EXPECT(NULL_POINTER, "output_gradient", verb##_backward_bias(&p, NULL, result));                                             \
    EXPECT(NULL_POINTER, "bias_gradient", verb##_backward_bias(&p, data, NULL));                                                 \
    EXPECT(NULL_POINTER, "relative_error", verb##_adjoint_test(&p, data, 1, NULL));                                              \
    EXPECT(NULL_POINTER, "kernel", verb##_adjoint_test(&p, NULL, 1, result));                                                    \
    EXPECT(NULL_POINTER, "kernel", verb##_gram(&p, NULL, data, result));                                                         \
    EXPECT(NULL_POINTER, "input", verb##_gram(&p, data, NULL, result));                                                          \
    EXPECT(NULL_POINTER, "result", verb##_gram(&p, data, data, NULL));                                                           \
    EXPECT(OVERLAP, "input_gradient overlaps output_gradient", verb##_backward_input(&p, result + 1, data, result));             \
    EXPECT(OVERLAP, "input_gradient overlaps kernel", verb##_backward_input(&p, data, result + 1, result));                      \
    EXPECT(OVERLAP, "kernel_gradient overlaps input", verb##_backward_kernel(&p, result + 1, data, result));                     \
    EXPECT(OVERLAP, "kernel_gradient overlaps output_gradient", verb##_backward_kernel(&p, data, result + 1, result));           \
    EXPECT(OVERLAP, "bias_gradient overlaps output_gradient", verb##_backward_bias(&p, result, result));                         \
    EXPECT(OVERLAP, "result overlaps input", verb##_gram(&p, data, result, result));                                             \
    do {                                                                                                                         \
        verb##_backward_kernel_plan *plan = (verb##_backward_kernel_plan *)(void *)result;                                       \
        EXPECT(NULL_POINTER, "plan", verb##_backward_kernel_plan_create(&p, NULL));                                              \
        EXPECT(NULL_POINTER, "params", verb##_backward_kernel_plan_create(NULL, &plan));                                         \
        check("no plan", plan == NULL);                                                                                          \
        EXPECT(NULL_POINTER, "plan", verb##_backward_kernel_plan_execute(NULL, data, data, result));                             \
        check("a plan", verb##_backward_kernel_plan_create(&p, &plan) == CONVOLUTION_OK);                                        \
        EXPECT(NULL_POINTER, "input", verb##_backward_kernel_plan_execute(plan, NULL, data, result));                            \
        EXPECT(NULL_POINTER, "output_gradient", verb##_backward_kernel_plan_execute(plan, data, NULL, result));                  \
        EXPECT(NULL_POINTER, "kernel_gradient", verb##_backward_kernel_plan_execute(plan, data, data, NULL));                    \
        EXPECT(OVERLAP, "kernel_gradient overlaps input", verb##_backward_kernel_plan_execute(plan, result, data, result));      \
        EXPECT(OVERLAP, "output_gradient", verb##_backward_kernel_plan_execute(plan, data, result, result));                     \
        verb##_backward_kernel_plan_destroy(plan);                                                                               \
        verb##_backward_kernel_plan_destroy(NULL);                                                                               \
    } while (0);                                                                                                                 \
    do {                                                                                                                         \
        plan_type *plan = (plan_type *)(void *)result;                                                                           \
        EXPECT(NULL_POINTER, "plan", verb##_backward_input_plan_create(&p, data, NULL));                                         \
        EXPECT(NULL_POINTER, "kernel", verb##_backward_input_plan_create(&p, NULL, &plan));                                      \
        check("no plan", plan == NULL);                                                                                          \
        EXPECT(NULL_POINTER, "plan", verb##_backward_input_plan_execute(NULL, data, result));                                    \
        check("a plan", verb##_backward_input_plan_create(&p, data, &plan) == CONVOLUTION_OK);                                   \
        EXPECT(NULL_POINTER, "output_gradient", verb##_backward_input_plan_execute(plan, NULL, result));                         \
        EXPECT(OVERLAP, "input_gradient", verb##_backward_input_plan_execute(plan, result, result));                             \
        static double twice[8][256];                                                                                             \
        check("executed", verb##_backward_input_plan_execute(plan, data, twice[0]) == CONVOLUTION_OK);                           \
        check("at once", verb##_backward_input(&p, data, data, twice[1]) == CONVOLUTION_OK);                                     \
        check("same bits", memcmp(twice[0], twice[1], sizeof twice[0]) == 0);                                                    \
        verb##_backward_input_plan_destroy(plan);                                                                                \
        verb##_backward_input_plan_destroy(NULL);                                                                                \
    } while (0)

static void misuse(void) {
    static double data[256], result[256];
    for (int i = 0; i < 256; i++) data[i] = i % 7;
    conv2d_params c = { .struct_size = sizeof c, .batch = 1, .height = 5, .width = 6, .in_channels = 2, .out_channels = 3,
                        .kernel_height = 2, .kernel_width = 2, .dtype = CONVOLUTION_FLOAT64 };
    conv2d_transpose_params t = { .struct_size = sizeof t, .batch = 1, .height = 4, .width = 5, .in_channels = 2,
                                  .out_channels = 3, .kernel_height = 2, .kernel_width = 2, .dtype = CONVOLUTION_FLOAT64 };
    upsample2d_params u = { .struct_size = sizeof u, .batch = 1, .height = 3, .width = 3, .channels = 2, .factor_height = 2,
                            .factor_width = 2, .dtype = CONVOLUTION_FLOAT64 };
    MISUSE(conv2d, c, conv2d_backward_input_plan);
    MISUSE(conv2d_transpose, t, conv2d_transpose_backward_input_plan);

    EXPECT(NULL_POINTER, "output_gradient", upsample2d_backward(&u, NULL, result));
    EXPECT(NULL_POINTER, "input_gradient", upsample2d_backward(&u, data, NULL));
    EXPECT(OVERLAP, "input_gradient overlaps output_gradient", upsample2d_backward(&u, result + 1, result));
    EXPECT(OVERLAP, "result overlaps input", upsample2d_gram(&u, result, result));
    upsample2d_backward_plan *plan = (upsample2d_backward_plan *)(void *)result;
    EXPECT(NULL_POINTER, "plan", upsample2d_backward_plan_create(&u, NULL));
    EXPECT(NULL_POINTER, "params", upsample2d_backward_plan_create(NULL, &plan));
    check("no plan", plan == NULL);
    EXPECT(NULL_POINTER, "plan", upsample2d_backward_plan_execute(NULL, data, result));
    check("a plan", upsample2d_backward_plan_create(&u, &plan) == CONVOLUTION_OK);
    EXPECT(NULL_POINTER, "output_gradient", upsample2d_backward_plan_execute(plan, NULL, result));
    EXPECT(NULL_POINTER, "input_gradient", upsample2d_backward_plan_execute(plan, data, NULL));
    EXPECT(OVERLAP, "input_gradient overlaps output_gradient", upsample2d_backward_plan_execute(plan, result, result));
    upsample2d_backward_plan_destroy(plan);
    upsample2d_backward_plan_destroy(NULL);
    EXPECT(NULL_POINTER, "relative_error", upsample2d_adjoint_test(&u, 1, NULL));
    EXPECT(CAPACITY, "capacity", upsample2d_matrix(&u, result, 10));
    EXPECT(CAPACITY, "capacity", conv2d_transpose_matrix(&t, data, result, 10));
    EXPECT(NULL_POINTER, "kernel", conv2d_transpose_matrix(&t, NULL, result, 1 << 20));
    EXPECT(NULL_POINTER, "row_offsets", upsample2d_matrix_csr(&u, NULL, (int64_t *)result, result, 1 << 20));

    /* The input's strides may repeat elements when it is read, and not when its gradient is written. */
    conv2d_params repeated = c;
    repeated.input_strides[1] = 1;
    repeated.input_strides[2] = 1;
    EXPECT(ELEMENT_STRIDES, "input_strides", conv2d_backward_input(&repeated, data, data, result));
    check("read", conv2d_backward_kernel(&repeated, data, data, result) == CONVOLUTION_OK);
    upsample2d_params repeated_rows = u;
    repeated_rows.input_strides[1] = 1;
    EXPECT(ELEMENT_STRIDES, "input_strides", upsample2d_backward(&repeated_rows, data, result));
    EXPECT(ELEMENT_STRIDES, "input_strides", upsample2d_backward_plan_create(&repeated_rows, &plan));

    conv2d_params limited = c;
    limited.workspace_limit = 64;
    EXPECT(WORKSPACE, "workspace_limit", conv2d_backward_kernel(&limited, data, data, result));
    limited.padding = CONVOLUTION_PADDING_SAME;
    limited.padding_mode = CONVOLUTION_PADDING_MODE_REPLICATE;
    EXPECT(WORKSPACE, "workspace_limit", conv2d_backward_input(&limited, data, data, result));

    conv2d_params constant = c;
    constant.padding = CONVOLUTION_PADDING_SAME;
    constant.padding_mode = CONVOLUTION_PADDING_MODE_CONSTANT;
    constant.padding_value = 1;
    EXPECT(UNSUPPORTED, "padding_value", conv2d_gram(&constant, data, data, result));
    EXPECT(UNSUPPORTED, "padding_value", conv2d_adjoint_test(&constant, data, 1, result));

    /* What the adjoint test computes goes to memory of its own, where there is nothing to add to. */
    conv2d_params adding = c;
    upsample2d_params adding_up = u;
    adding.accumulate = adding_up.accumulate = 1;
    double plain = -1, added = -2;
    snprintf(now, sizeof now, "accumulate");
    check("conv2d_adjoint_test", conv2d_adjoint_test(&c, data, 1, &plain) == CONVOLUTION_OK);
    check("conv2d_adjoint_test", conv2d_adjoint_test(&adding, data, 1, &added) == CONVOLUTION_OK && added == plain);
    check("upsample2d_adjoint_test", upsample2d_adjoint_test(&u, 1, &plain) == CONVOLUTION_OK);
    check("upsample2d_adjoint_test", upsample2d_adjoint_test(&adding_up, 1, &added) == CONVOLUTION_OK && added == plain);

    /* Sizes beside a 0 are multiplied by nobody. */
    conv2d_params huge = { .struct_size = sizeof huge, .batch = 0, .height = (int64_t)1 << 22, .width = (int64_t)1 << 22,
                           .in_channels = 1, .out_channels = 1, .kernel_height = 1, .kernel_width = 1 };
    snprintf(now, sizeof now, "huge");
    memset(result, 0, sizeof result);
    check("no input", conv2d_backward_input(&huge, NULL, data, NULL) == CONVOLUTION_OK);
    check("no pixels", conv2d_backward_kernel(&huge, NULL, NULL, result) == CONVOLUTION_OK);
    check("no bias", conv2d_backward_bias(&huge, NULL, result) == CONVOLUTION_OK);
    check("nothing to test", conv2d_adjoint_test(&huge, data, 1, result) == CONVOLUTION_OK && result[0] == 0);
    check("no product", conv2d_gram(&huge, data, NULL, NULL) == CONVOLUTION_OK);
    huge.batch = 1, huge.in_channels = 0;
    check("no channels", conv2d_adjoint_test(&huge, NULL, 1, result) == CONVOLUTION_OK);
    check("no kernel", conv2d_backward_kernel(&huge, NULL, data, NULL) == CONVOLUTION_OK);
    upsample2d_params none = { .struct_size = sizeof none, .batch = 0, .height = (int64_t)1 << 22, .width = (int64_t)1 << 22,
                               .channels = 1, .factor_height = 2, .factor_width = 2, .interpolation = UPSAMPLE2D_BILINEAR };
    check("no images", upsample2d_backward(&none, NULL, NULL) == CONVOLUTION_OK);
    none.batch = 1, none.channels = 0;
    check("no planes", upsample2d_backward_plan_create(&none, &plan) == CONVOLUTION_OK);
    check("nothing to do", upsample2d_backward_plan_execute(plan, NULL, NULL) == CONVOLUTION_OK);
    upsample2d_backward_plan_destroy(plan);
    upsample2d_plan *forward = NULL;
    check("no planes, forward", upsample2d_plan_create(&none, &forward) == CONVOLUTION_OK);
    check("nothing to do", upsample2d_plan_execute(forward, NULL, NULL) == CONVOLUTION_OK);
    upsample2d_plan_destroy(forward);
    /* Rows, columns and elements that fit in 64 bits, but not rows of the output times columns of the input. */
    upsample2d_params tall = { .struct_size = sizeof tall, .batch = 4, .height = 2, .width = (int64_t)1 << 42, .channels = 1,
                               .output_height = 1 << 20, .output_width = 1, .threads = 1 };
    check("tall", upsample2d_plan_create(&tall, &forward) == CONVOLUTION_OK);
    upsample2d_plan_destroy(forward);

    /* Taps so far apart that the places between them are beyond memory. */
    conv2d_params sparse = { .struct_size = sizeof sparse, .batch = 1, .height = 3, .width = 3, .in_channels = 1,
                             .out_channels = 1, .kernel_height = 3, .kernel_width = 3, .dilation_height = (int64_t)1 << 44,
                             .dilation_width = (int64_t)1 << 44, .padding = CONVOLUTION_PADDING_SAME,
                             .dtype = CONVOLUTION_FLOAT64 };
    check("far taps", conv2d_backward_kernel(&sparse, data, data, result) == CONVOLUTION_OK);
    double sum = 0;
    for (int i = 0; i < 9; i++) sum += data[i] * data[i];
    for (int i = 0; i < 9; i++) check("the middle one alone", result[i] == (i == 4 ? sum : 0));
    check("far taps back", conv2d_backward_input(&sparse, data, data, result) == CONVOLUTION_OK);
}

int main(int argc, char **argv) {
    int shapes = argc > 1 ? atoi(argv[1]) : 150;
    random_state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    signal(SIGSEGV, crashed);
    signal(SIGBUS, crashed);
    signal(SIGILL, crashed);
    signal(SIGTRAP, crashed);
    for (int i = 0; i < ARRAYS; i++) blocks[i] = guarded_block();
#ifdef __GLIBC__
    mallopt(M_PERTURB, 0xBF); /* Memory that the library is given holds 32.5, lest zeros hide that it was not written. */
#endif
    misuse();
    /* A random shape that is not legal is drawn again. */
    for (int i = 0; i < shapes; i++) {
        while (!conv2d_case()) {}
        while (!transpose_case()) {}
        while (!upsample_case()) {}
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
