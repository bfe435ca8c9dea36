/*
 * Every way to misuse the library: the status code, the text that names the parameter and its value, and the promise that a
 * failing call has written nothing. The tables come first, then calls that need particular pointers. Random misuse: fuzz.c.
 */
#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "convolution.h"

/* A row of a table sets the base values of its verb first and its own bad ones after them. */
#pragma GCC diagnostic ignored "-Woverride-init"

static int passed, failed;
static int line_now;          /* for the report of a crash */

static void fail(int line, const char *what) {
    failed++;
    fprintf(stderr, "bad-input.c:%d: %s\n", line, what);
}

static void crashed(int number) {
    char text[120];
    int length = snprintf(text, sizeof text, "bad-input.c:%d: signal %d\n", line_now, number);
    if (write(2, text, (size_t)length)) {}
    _exit(1);
}

/* ------------------------------------------------------------------------------------------------------ the judgement */

#define PATTERN 0xA5
static union {
    unsigned char bytes[1 << 16];
    double aligned;
} output;
static double input[4096], kernel[4096], bias[64];

static void prepare(void) { memset(output.bytes, PATTERN, sizeof output); }

static int untouched(const unsigned char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != PATTERN) return 0;
    return 1;
}

static int contains(const char *text, const char *piece, size_t length) {
    for (; *text; text++) {
        size_t i = 0;
        while (i < length && text[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)piece[i])) i++;
        if (i == length) return 1;
    }
    return length == 0;
}

/* A number must stand alone: "1" is not found in "10" or "1.5", nor "5" in "-5". */
static int contains_number(const char *text, const char *piece, size_t length) {
    for (const char *at = text; *at; at++) {
        if (strncmp(at, piece, length) != 0) continue;
        char before = at > text ? at[-1] : ' ', after = at[length];
        if (isdigit((unsigned char)before) || before == '.' || (before == '-' && piece[0] != '-')) continue;
        if (isdigit((unsigned char)after) || (after == '.' && isdigit((unsigned char)at[length + 1]))) continue;
        return 1;
    }
    return 0;
}

/* pieces: "stride_height|-1" */
static const char *missing_piece(const char *text, const char *pieces, size_t *length) {
    while (*pieces) {
        *length = strcspn(pieces, "|");
        int is_number = isdigit((unsigned char)pieces[0]) || (pieces[0] == '-' && isdigit((unsigned char)pieces[1]));
        if (!(is_number ? contains_number : contains)(text, pieces, *length)) return pieces;
        pieces += *length;
        if (*pieces == '|') pieces++;
    }
    return NULL;
}

static double product(const int64_t *sizes, int count) {
    double result = 1;
    for (int i = 0; i < count; i++) result *= (double)sizes[i];
    return result;
}

static int readable_sentence(const char *text) {
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++)
        if (text[i] < 32 || text[i] > 126) return 0;
    return length >= 12;
}

/* How a call must fail: what it returns and what its text holds. */
struct refusal {
    /* Of this file. */
    int line;
    int32_t status;
    const char *pieces;
};

static void judge(const char *function, int32_t status, struct refusal expected) {
    char problem[1200];
    const char *text = convolution_error_message(), *missing;
    size_t length = 0;
    if (status != expected.status)
        snprintf(problem, sizeof problem, "%s returned %s instead of %s (%s)", function, convolution_status_name(status),
                 convolution_status_name(expected.status), text);
    else if (!readable_sentence(text))
        snprintf(problem, sizeof problem, "%s: no sentence: \"%s\"", function, text);
    else if ((missing = missing_piece(text, expected.pieces, &length)) != NULL)
        snprintf(problem, sizeof problem, "%s: no \"%.*s\" in \"%s\"", function, (int)length, missing, text);
    else if (!untouched(output.bytes, sizeof output))
        snprintf(problem, sizeof problem, "%s failed and wrote", function);
    else {
        passed++;
        return;
    }
    fail(expected.line, problem);
    prepare();
}

static void check(int line, const char *what, int condition) {
    if (condition)
        passed++;
    else
        fail(line, what);
}
#define CHECK(condition) (line_now = __LINE__, check(__LINE__, #condition, condition))

/* For calls that need more than a row of a table. */
#define EXPECT(status, pieces, call) \
    (line_now = __LINE__, prepare(), \
     judge(#call, call, (struct refusal){ __LINE__, CONVOLUTION_ERROR_##status, pieces }))

/* A plan that was not made must not look like one. */
static char not_a_plan;

/* ------------------------------------------------------------------------------------------------------------- conv2d */

#define CONV2D                                                                                                      \
    .struct_size = sizeof(conv2d_params), .batch = 1, .height = 5, .width = 6, .in_channels = 4, .out_channels = 6, \
    .kernel_height = 3, .kernel_width = 2
#define BAD(status, pieces, ...) { { __LINE__, CONVOLUTION_ERROR_##status, pieces }, { CONV2D, __VA_ARGS__ } }
#define TWO_TO_THE(n) ((int64_t)1 << (n))

static const struct {
    struct refusal expected;
    conv2d_params params;
} conv2d_rows[] = {
    BAD(STRUCT_SIZE, "struct_size|0", .struct_size = 0),
    BAD(STRUCT_SIZE, "struct_size|1", .struct_size = 1),
    BAD(STRUCT_SIZE, "struct_size|8", .struct_size = sizeof(size_t)),
    BAD(STRUCT_SIZE, "struct_size", .struct_size = sizeof(conv2d_params) - 1),
    BAD(STRUCT_SIZE, "struct_size", .struct_size = sizeof(conv2d_params) - 8),
    BAD(STRUCT_SIZE, "struct_size", .struct_size = SIZE_MAX),

    BAD(DTYPE, "dtype|-1", .dtype = -1),
    BAD(DTYPE, "dtype|2", .dtype = 2),
    BAD(DTYPE, "dtype|2147483647", .dtype = INT32_MAX),
    BAD(DTYPE, "dtype|-2147483648", .dtype = INT32_MIN),
    BAD(DATA_FORMAT, "data_format|-1", .data_format = -1),
    BAD(DATA_FORMAT, "data_format|2", .data_format = 2),
    BAD(KERNEL_FORMAT, "kernel_format|-1", .kernel_format = -1),
    BAD(KERNEL_FORMAT, "kernel_format|2", .kernel_format = 2),
    BAD(FLAG, "flip_kernel|-1", .flip_kernel = -1),
    BAD(FLAG, "flip_kernel|2", .flip_kernel = 2),
    BAD(FLAG, "allow_empty_output|-1", .allow_empty_output = -1),
    BAD(FLAG, "allow_empty_output|2", .allow_empty_output = 2),
    BAD(FLAG, "reserved|1", .reserved = 1),
    BAD(FLAG, "reserved|-7", .reserved = -7),
    BAD(FLAG, "accumulate|2", .accumulate = 2),
    BAD(FLAG, "accumulate|-1", .accumulate = -1),
    BAD(ALGORITHM, "algorithm|-1", .algorithm = -1),
    BAD(ALGORITHM, "algorithm|2|from 0 to 1", .algorithm = 2),
    BAD(ALGORITHM, "algorithm|99", .algorithm = 99),
    BAD(WORKSPACE, "workspace_limit|-1", .workspace_limit = -1),
    BAD(THREADS, "threads|-1", .threads = -1),
    BAD(THREADS, "threads|1025", .threads = 1025),
    BAD(THREADS, "threads|-2147483648", .threads = INT32_MIN),
    BAD(ISA, "isa|sse9", .isa = "sse9"),
    BAD(ISA, "isa|AVX2x", .isa = "AVX2x"),
    BAD(ISA, "isa", .isa = ""),
    BAD(ISA, "isa|\"a?b??c%s?\"", .isa = "a\nb\xc3\xa9" "c%s\x7f"),
    BAD(ISA, "isa", .isa = "a name that is far longer than any buffer that would be kept for the text of an error, so that the "
        "sentence has to be cut: 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 "
        "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 "
        "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789"),

    BAD(IMAGE_SIZE, "batch|-1", .batch = -1),
    BAD(IMAGE_SIZE, "batch|-9223372036854775808", .batch = INT64_MIN),
    BAD(IMAGE_SIZE, "height|-1", .height = -1),
    BAD(IMAGE_SIZE, "width|-3", .width = -3),
    BAD(CHANNELS, "in_channels|-1", .in_channels = -1),
    BAD(CHANNELS, "out_channels|-1", .out_channels = -1),
    BAD(KERNEL_SIZE, "kernel_height|0", .kernel_height = 0),
    BAD(KERNEL_SIZE, "kernel_height|-3", .kernel_height = -3),
    BAD(KERNEL_SIZE, "kernel_width|0", .kernel_width = 0),
    BAD(KERNEL_SIZE, "kernel_width|-1", .kernel_width = -1),
    BAD(STRIDE, "stride_height|-1", .stride_height = -1),
    BAD(STRIDE, "stride_width|-2", .stride_width = -2),
    BAD(STRIDE, "stride_width|-9223372036854775808", .stride_width = INT64_MIN),
    BAD(DILATION, "dilation_height|-1", .dilation_height = -1),
    BAD(DILATION, "dilation_width|-2", .dilation_width = -2),

    BAD(GROUPS, "groups|-1", .groups = -1),
    BAD(GROUPS, "groups|3|in_channels|4", .groups = 3),
    BAD(GROUPS, "groups|4|out_channels|6", .groups = 4),
    BAD(GROUPS, "groups|8", .groups = 8),
    BAD(GROUPS, "depth_multiplier|-1", .depth_multiplier = -1),
    BAD(GROUPS, "depth_multiplier|2|6", .depth_multiplier = 2),
    BAD(GROUPS, "groups|2|depth_multiplier", .depth_multiplier = 2, .groups = 2, .out_channels = 8),

    BAD(PADDING, "padding|-1", .padding = -1),
    BAD(PADDING, "padding|6", .padding = 6),
    BAD(PADDING, "pad_top|1", .pad_top = 1),
    BAD(PADDING, "pad_bottom|2", .pad_bottom = 2, .padding = CONVOLUTION_PADDING_SAME),
    BAD(PADDING, "pad_left|-1", .pad_left = -1, .padding = CONVOLUTION_PADDING_FULL),
    BAD(PADDING, "pad_right|4", .pad_right = 4, .padding = CONVOLUTION_PADDING_CAUSAL),
    BAD(PADDING, "pad_top|7", .pad_top = 7, .padding = CONVOLUTION_PADDING_SAME_LOWER),

#define EXPLICIT(mode) .padding = CONVOLUTION_PADDING_EXPLICIT, .padding_mode = CONVOLUTION_PADDING_MODE_##mode
    BAD(PADDING, "pad_top|5|4", .pad_top = 5, EXPLICIT(REFLECT)),
    BAD(PADDING, "pad_bottom|5|4", .pad_bottom = 5, EXPLICIT(REFLECT)),
    BAD(PADDING, "pad_left|6|5", .pad_left = 6, EXPLICIT(REFLECT)),
    BAD(PADDING, "pad_right|9|5", .pad_right = 9, EXPLICIT(REFLECT)),
    BAD(PADDING, "pad_top|6|5", .pad_top = 6, EXPLICIT(SYMMETRIC)),
    BAD(PADDING, "pad_right|7|6", .pad_right = 7, EXPLICIT(SYMMETRIC)),
    BAD(PADDING, "pad_bottom|6|5", .pad_bottom = 6, EXPLICIT(CIRCULAR)),
    BAD(PADDING, "pad_left|7|6", .pad_left = 7, EXPLICIT(CIRCULAR)),
    BAD(PADDING, "pad_top|1", .pad_top = 1, .height = 1, .kernel_height = 1, EXPLICIT(REFLECT)),
    BAD(PADDING, "pad_top|3", .pad_top = 3, .height = 0, EXPLICIT(REPLICATE)),
    BAD(PADDING, "pad_left|1", .pad_left = 1, .width = 0, .kernel_width = 1, EXPLICIT(CIRCULAR)),
    /* Paddings by name meet the same limits. */
    BAD(PADDING, "6|4", .kernel_height = 7, .padding = CONVOLUTION_PADDING_FULL,
        .padding_mode = CONVOLUTION_PADDING_MODE_REFLECT),
    BAD(PADDING, "6|5", .dilation_height = 3, .padding = CONVOLUTION_PADDING_CAUSAL,
        .padding_mode = CONVOLUTION_PADDING_MODE_CIRCULAR),
    BAD(PADDING, "6|5", .kernel_height = 13, .padding = CONVOLUTION_PADDING_SAME,
        .padding_mode = CONVOLUTION_PADDING_MODE_SYMMETRIC),

    BAD(PADDING_MODE, "padding_mode|-1", .padding_mode = -1),
    BAD(PADDING_MODE, "padding_mode|6", .padding_mode = 6),
    BAD(PADDING_MODE, "padding_value|2.5", .padding_value = 2.5),
    BAD(PADDING_MODE, "padding_value|nan", .padding_value = NAN),
    BAD(PADDING_MODE, "padding_value|-1", .padding_value = -1, .padding_mode = CONVOLUTION_PADDING_MODE_REPLICATE),

    BAD(ACTIVATION, "activation|-1", .activation = -1),
    BAD(ACTIVATION, "activation|7", .activation = 7),
    BAD(ACTIVATION, "activation_alpha|nan", .activation = CONVOLUTION_ACTIVATION_LEAKY_RELU, .activation_alpha = NAN),
    BAD(ACTIVATION, "activation_min|nan", .activation = CONVOLUTION_ACTIVATION_CLAMP, .activation_min = NAN),
    BAD(ACTIVATION, "activation_max|nan", .activation = CONVOLUTION_ACTIVATION_CLAMP, .activation_max = NAN),
    BAD(ACTIVATION, "activation_min|1.5|activation_max|0.25", .activation = CONVOLUTION_ACTIVATION_CLAMP, .activation_min = 1.5,
        .activation_max = 0.25),
    BAD(ACTIVATION, "activation_min|inf|activation_max|-inf", .activation = CONVOLUTION_ACTIVATION_CLAMP,
        .activation_min = INFINITY, .activation_max = -INFINITY),
    /* A number that the activation does not read was meant for another one. */
    BAD(ACTIVATION, "activation_alpha|0.25|activation is 0|LEAKY_RELU", .activation_alpha = 0.25),
    BAD(ACTIVATION, "activation_alpha|nan", .activation_alpha = NAN),
    BAD(ACTIVATION, "activation_min|-1|activation is 0|CLAMP", .activation_min = -1, .activation_max = 1),
    BAD(ACTIVATION, "activation_max|6|activation is 1|CLAMP", .activation = CONVOLUTION_ACTIVATION_RELU, .activation_max = 6),
    BAD(ACTIVATION, "activation_alpha|0.5|activation is 3", .activation = CONVOLUTION_ACTIVATION_CLAMP, .activation_alpha = 0.5),
    BAD(ACTIVATION, "activation_min|-inf|activation is 4", .activation = CONVOLUTION_ACTIVATION_LEAKY_RELU,
        .activation_min = -INFINITY),

    BAD(EMPTY_OUTPUT, "height|5|6|allow_empty_output", .kernel_height = 6),
    BAD(EMPTY_OUTPUT, "width|6|9", .kernel_width = 9),
    BAD(EMPTY_OUTPUT, "height|5|kernel_height|3", .dilation_height = 3),
    BAD(EMPTY_OUTPUT, "height|0", .height = 0),
    BAD(EMPTY_OUTPUT, "width|0", .width = 0, .padding = CONVOLUTION_PADDING_SAME),
    BAD(EMPTY_OUTPUT, "height", .pad_top = -5, EXPLICIT(ZEROS)),
    BAD(EMPTY_OUTPUT, "width", .pad_left = -3, .pad_right = -2, EXPLICIT(REFLECT)),
    BAD(EMPTY_OUTPUT, "height", .pad_bottom = -100, .stride_height = 50, EXPLICIT(ZEROS)),

    /* Strides of input and output, in elements: NHWC 1x5x6x4 -> 1x3x5x6. */
    BAD(ELEMENT_STRIDES, "output_strides", .output_strides = { 0, 0, 1, 1 }),
    BAD(ELEMENT_STRIDES, "output_strides", .output_strides = { 0, 0, 5, 1 }),
    BAD(ELEMENT_STRIDES, "output_strides", .output_strides = { 0, 29, 0, 0 }),
    BAD(ELEMENT_STRIDES, "output_strides", .output_strides = { 0, -29, 6, 1 }),
    BAD(ELEMENT_STRIDES, "output_strides", .output_strides = { 1, 0, 0, 0 }, .batch = 2),
    BAD(ELEMENT_STRIDES, "output_strides", .output_strides = { 0, 0, 0, INT64_MAX }),
    BAD(ELEMENT_STRIDES, "output_strides", .output_strides = { 0, INT64_MIN, 0, 0 }),
    BAD(ELEMENT_STRIDES, "input_strides", .input_strides = { 0, INT64_MAX, 0, 0 }),
    BAD(ELEMENT_STRIDES, "input_strides", .input_strides = { INT64_MIN, 0, 0, 0 }, .batch = 2),
    BAD(ELEMENT_STRIDES, "input_strides", .input_strides = { TWO_TO_THE(62), 0, 0, 0 }, .batch = 3),
    BAD(ELEMENT_STRIDES, "input_strides", .input_strides = { 0, TWO_TO_THE(60), TWO_TO_THE(60), TWO_TO_THE(60) }),
    BAD(ELEMENT_STRIDES, "input_strides|-281474976710657", .input_strides = { 0, -TWO_TO_THE(48) - 1, 0, 0 }),
    BAD(OVERFLOW, "input_strides|281474976710656", .input_strides = { TWO_TO_THE(48), 0, 0, 0 }, .batch = 3),
    BAD(OVERFLOW, "output_strides|-281474976710656", .output_strides = { -TWO_TO_THE(48), 0, 0, 0 }, .batch = 3),

    BAD(OVERFLOW, "input|1099511627776", .height = TWO_TO_THE(40), .width = TWO_TO_THE(40), .in_channels = TWO_TO_THE(20)),
    BAD(OVERFLOW, "out_channels|9223372036854775807", .out_channels = INT64_MAX),
    BAD(OVERFLOW, "", .in_channels = TWO_TO_THE(40), .out_channels = TWO_TO_THE(40)),
    BAD(OVERFLOW, "", .batch = TWO_TO_THE(33), .height = TWO_TO_THE(31)),
    BAD(OVERFLOW, "", .height = TWO_TO_THE(31), .width = TWO_TO_THE(31)),
    BAD(OVERFLOW, "", .height = TWO_TO_THE(29), .width = TWO_TO_THE(28), .in_channels = 2, .out_channels = 2),
    BAD(OVERFLOW, "stride_height|9223372036854775807", .stride_height = INT64_MAX),
    BAD(OVERFLOW, "dilation_height|9223372036854775807", .dilation_height = INT64_MAX),
    BAD(OVERFLOW, "", .kernel_height = TWO_TO_THE(32), .dilation_height = TWO_TO_THE(32)),
    BAD(OVERFLOW, "", .kernel_height = TWO_TO_THE(40), .kernel_width = TWO_TO_THE(40), .allow_empty_output = 1),
    BAD(OVERFLOW, "", .pad_top = INT64_MAX, EXPLICIT(ZEROS)),
    BAD(OVERFLOW, "", .pad_top = INT64_MAX, .pad_bottom = INT64_MAX, EXPLICIT(CONSTANT)),
    BAD(OVERFLOW, "", .pad_left = TWO_TO_THE(60), .pad_right = TWO_TO_THE(60), EXPLICIT(REPLICATE)),
    BAD(OVERFLOW, "depth_multiplier|9223372036854775807", .depth_multiplier = INT64_MAX, .out_channels = 8),
    BAD(OVERFLOW, "", .depth_multiplier = INT64_MAX, .out_channels = 0),
};
#undef BAD

/* What a verb refuses its params for, its plans, its matrices and its gradients refuse as well. The arguments after the verb are
 * what stands between the params and the results, but for the input. */
#define JUDGE(call) judge(#call, call, expected)
#define JUDGE_PLAN(kind, ...)                                                                                         \
    do {                                                                                                              \
        kind##_plan *plan = (kind##_plan *)(void *)&not_a_plan;                                                       \
        JUDGE(kind##_plan_create(__VA_ARGS__, &plan));                                                                \
        check(expected.line, #kind "_plan_create failed and made a plan", plan == NULL);                              \
    } while (0)
#define JUDGE_VERB(verb, ...)                                                                                         \
    do {                                                                                                              \
        JUDGE(verb##_output_shape(p, counts));                                                                        \
        JUDGE(verb(p, input, __VA_ARGS__ output.bytes));                                                              \
    } while (0)
#define JUDGE_OPERATOR(verb, ...)                                                                                     \
    do {                                                                                                              \
        JUDGE(verb##_gram(p, __VA_ARGS__ input, output.bytes));                                                       \
        JUDGE(verb##_adjoint_test(p, __VA_ARGS__ 1, (double *)(void *)output.bytes));                                 \
        JUDGE(verb##_matrix_size(p, counts, counts + 1, counts + 2));                                                 \
        JUDGE(verb##_matrix(p, __VA_ARGS__ output.bytes, 1));                                                         \
        JUDGE(verb##_matrix_csr(p, __VA_ARGS__ counts, counts + 1, output.bytes, 1));                                 \
    } while (0)
#define JUDGE_LAYER(verb)                                                                                             \
    do {                                                                                                              \
        JUDGE_VERB(verb, kernel, bias, );                                                                             \
        JUDGE_PLAN(verb, p, kernel, bias);                                                                            \
        JUDGE_OPERATOR(verb, kernel, );                                                                               \
        JUDGE(verb##_workspace_size(p, counts, counts + 1, counts + 2));                                              \
        JUDGE(verb##_backward_input(p, input, kernel, output.bytes));                                                 \
        JUDGE_PLAN(verb##_backward_input, p, kernel);                                                                 \
        JUDGE(verb##_backward_kernel(p, input, input, output.bytes));                                                 \
        JUDGE_PLAN(verb##_backward_kernel, p);                                                                        \
        JUDGE(verb##_backward_bias(p, input, output.bytes));                                                          \
    } while (0)

/* body for each row: with its params `p`, what is `expected`, and `counts`, the output as whole numbers. */
#define FOR_EACH_ROW(rows, type, body)                                                                                \
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {                                                         \
        const type *p = &rows[i].params;                                                                              \
        const struct refusal expected = rows[i].expected;                                                             \
        int64_t *counts = (int64_t *)(void *)output.bytes;                                                            \
        line_now = expected.line;                                                                                     \
        prepare();                                                                                                    \
        body                                                                                                          \
    }

static void conv2d_table(void) {
    FOR_EACH_ROW(conv2d_rows, conv2d_params, {
        JUDGE_LAYER(conv2d);
        JUDGE(conv2d_solve(p, NULL, kernel, bias, input, output.bytes, NULL));
        JUDGE(conv2d_rank_report(p, kernel, (conv2d_rank *)(void *)output.bytes));
    })
}

/* --------------------------------------------------------------------------------------------------- conv2d_transpose */

#define TRANSPOSE                                                                                                             \
    .struct_size = sizeof(conv2d_transpose_params), .batch = 1, .height = 3, .width = 4, .in_channels = 4, .out_channels = 6, \
    .kernel_height = 3, .kernel_width = 2
#define BAD(status, pieces, ...) { { __LINE__, CONVOLUTION_ERROR_##status, pieces }, { TRANSPOSE, __VA_ARGS__ } }
#define RULE(name) .rule = CONV2D_TRANSPOSE_RULE_##name
#define PADDING(name) .padding = CONVOLUTION_PADDING_##name
#define STRIDES(h, w) .stride_height = h, .stride_width = w
#define OUTPUT_PADDING(h, w) .output_padding_given = 1, .output_padding_height = h, .output_padding_width = w
#define OUTPUT_SIZE(h, w) .output_height = h, .output_width = w

static const struct {
    struct refusal expected;
    conv2d_transpose_params params;
} transpose_rows[] = {
    BAD(STRUCT_SIZE, "struct_size|0", .struct_size = 0),
    BAD(STRUCT_SIZE, "struct_size|16", .struct_size = 16),
    BAD(STRUCT_SIZE, "struct_size", .struct_size = sizeof(conv2d_transpose_params) - 4),
    BAD(STRUCT_SIZE, "struct_size", .struct_size = SIZE_MAX / 2),

    BAD(DTYPE, "dtype|-1", .dtype = -1),
    BAD(DTYPE, "dtype|2", .dtype = 2),
    BAD(DATA_FORMAT, "data_format|-1", .data_format = -1),
    BAD(DATA_FORMAT, "data_format|2", .data_format = 2),
    BAD(KERNEL_FORMAT, "kernel_format|-1", .kernel_format = -1),
    BAD(KERNEL_FORMAT, "kernel_format|2", .kernel_format = 2),
    BAD(FLAG, "flip_kernel|2", .flip_kernel = 2),
    BAD(FLAG, "allow_empty_output|-1", .allow_empty_output = -1),
    BAD(FLAG, "output_padding_given|2", .output_padding_given = 2),
    BAD(FLAG, "accumulate|2", .accumulate = 2),
    BAD(FLAG, "accumulate|-1", .accumulate = -1),
    BAD(ALGORITHM, "algorithm|-1", .algorithm = -1),
    BAD(ALGORITHM, "algorithm|2|from 0 to 1", .algorithm = 2),
    BAD(ALGORITHM, "algorithm|99", .algorithm = 99),
    BAD(WORKSPACE, "workspace_limit|-1", .workspace_limit = -1),
    BAD(FLAG, "output_padding_given|-1", .output_padding_given = -1),
    BAD(THREADS, "threads|-1", .threads = -1),
    BAD(THREADS, "threads|1025", .threads = 1025),
    BAD(ISA, "isa|neon9", .isa = "neon9"),
    BAD(RULE, "rule|-1", .rule = -1),
    BAD(RULE, "rule|5", .rule = 5),
    BAD(ACTIVATION, "activation|-1", .activation = -1),
    BAD(ACTIVATION, "activation|7", .activation = 7),
    BAD(ACTIVATION, "activation_alpha|nan", .activation = CONVOLUTION_ACTIVATION_LEAKY_RELU, .activation_alpha = NAN),
    BAD(ACTIVATION, "activation_min|1|activation_max|-1", .activation = CONVOLUTION_ACTIVATION_CLAMP, .activation_min = 1,
        .activation_max = -1),
    BAD(ACTIVATION, "activation_alpha|0.25|activation is 0|LEAKY_RELU", .activation_alpha = 0.25),
    BAD(ACTIVATION, "activation_max|6|activation is 1|CLAMP", .activation = CONVOLUTION_ACTIVATION_RELU, .activation_max = 6),

    BAD(IMAGE_SIZE, "batch|-1", .batch = -1),
    BAD(IMAGE_SIZE, "height|-1", .height = -1),
    BAD(IMAGE_SIZE, "width|-9", .width = -9),
    BAD(CHANNELS, "in_channels|-4", .in_channels = -4),
    BAD(CHANNELS, "out_channels|-6", .out_channels = -6),
    BAD(KERNEL_SIZE, "kernel_height|0", .kernel_height = 0),
    BAD(KERNEL_SIZE, "kernel_width|-1", .kernel_width = -1),
    BAD(STRIDE, "stride_height|-1", .stride_height = -1),
    BAD(STRIDE, "stride_width|-2", .stride_width = -2),
    BAD(DILATION, "dilation_height|-1", .dilation_height = -1),
    BAD(DILATION, "dilation_width|-2", .dilation_width = -2),
    BAD(GROUPS, "groups|-1", .groups = -1),
    BAD(GROUPS, "groups|3|in_channels|4", .groups = 3),
    BAD(GROUPS, "groups|4|out_channels|6", .groups = 4),
    BAD(GROUPS, "depth_multiplier|-2", .depth_multiplier = -2),
    BAD(GROUPS, "depth_multiplier|3|6", .depth_multiplier = 3),
    BAD(GROUPS, "groups|1|depth_multiplier", .depth_multiplier = 3, .groups = 1, .out_channels = 12),

    BAD(PADDING, "padding|-1", .padding = -1),
    BAD(PADDING, "padding|6", .padding = 6),
    BAD(PADDING, "padding|3", PADDING(FULL)),
    BAD(PADDING, "padding|4", PADDING(CAUSAL), RULE(TORCH)),
    BAD(PADDING, "padding|2", PADDING(SAME_LOWER)),
    BAD(PADDING, "padding|5", PADDING(EXPLICIT)),
    BAD(PADDING, "padding|1", PADDING(SAME), RULE(TORCH)),
    BAD(PADDING, "padding|2", PADDING(SAME_LOWER), RULE(JAX)),
    BAD(PADDING, "padding|5", PADDING(EXPLICIT), RULE(JAX)),
    BAD(PADDING, "padding|1", PADDING(SAME), RULE(WINDOW)),
    BAD(PADDING, "padding|3", PADDING(FULL), RULE(ONNX)),
    BAD(PADDING, "pad_top|1", .pad_top = 1),
    BAD(PADDING, "pad_left|2", .pad_left = 2, PADDING(SAME)),
    BAD(PADDING, "pad_right|2", .pad_right = 2, PADDING(SAME), RULE(ONNX)),
    BAD(PADDING, "pad_bottom|1", .pad_bottom = 1, RULE(JAX)),
    BAD(PADDING, "pad_top|-1", .pad_top = -1, PADDING(EXPLICIT), RULE(TORCH)),
    BAD(PADDING, "pad_right|-2", .pad_right = -2, PADDING(EXPLICIT), RULE(ONNX)),

    /* Keras: below the stride. PyTorch and ONNX: below the larger of stride and dilation. */
    BAD(OUTPUT_PADDING, "output_padding_height|-1|0", OUTPUT_PADDING(-1, 0)),
    BAD(OUTPUT_PADDING, "output_padding_height|1|0", OUTPUT_PADDING(1, 0)),
    BAD(OUTPUT_PADDING, "output_padding_width|2|1", OUTPUT_PADDING(1, 2), STRIDES(2, 2)),
    BAD(OUTPUT_PADDING, "output_padding_width|3|2", OUTPUT_PADDING(0, 3), STRIDES(2, 3), PADDING(SAME)),
    BAD(OUTPUT_PADDING, "output_padding_height|-2|0", OUTPUT_PADDING(-2, 0), STRIDES(2, 2), RULE(TORCH)),
    BAD(OUTPUT_PADDING, "output_padding_height|2|1", OUTPUT_PADDING(2, 0), STRIDES(2, 3), RULE(TORCH)),
    BAD(OUTPUT_PADDING, "output_padding_height|3|2", OUTPUT_PADDING(3, 0), STRIDES(2, 2), .dilation_height = 3, RULE(TORCH)),
    BAD(OUTPUT_PADDING, "output_padding_width|2|1", OUTPUT_PADDING(0, 2), STRIDES(2, 2), RULE(ONNX)),
    BAD(OUTPUT_PADDING, "output_padding_width|4|3", OUTPUT_PADDING(0, 4), .dilation_width = 4, RULE(ONNX)),
    BAD(OUTPUT_PADDING, "output_padding_width|2|1", OUTPUT_PADDING(0, 2), STRIDES(2, 2), RULE(ONNX), PADDING(SAME)),
    BAD(OUTPUT_PADDING, "output_padding_height|-1", OUTPUT_PADDING(-1, 0), RULE(WINDOW), PADDING(EXPLICIT)),
    BAD(OUTPUT_PADDING, "output_padding", OUTPUT_PADDING(1, 1), STRIDES(2, 2), RULE(JAX)),
    BAD(OUTPUT_PADDING, "output_padding_height|1|output_padding_given|0", .output_padding_height = 1, STRIDES(2, 2)),
    BAD(OUTPUT_PADDING, "output_padding_width|-1|output_padding_given|0", .output_padding_width = -1, RULE(WINDOW)),
    BAD(OVERFLOW, "output_padding_height|9223372036854775807", OUTPUT_PADDING(INT64_MAX, 0), STRIDES(2, 2)),
    BAD(OVERFLOW, "output_padding_width|-9223372036854775808", OUTPUT_PADDING(0, INT64_MIN), RULE(TORCH)),

    /* Keras SAME, stride 2: 3 rows come from 5 or 6. Keras VALID: from 7 or 8. */
    BAD(OUTPUT_SIZE, "output_height|4|5|6", OUTPUT_SIZE(4, 8), STRIDES(2, 2), PADDING(SAME)),
    BAD(OUTPUT_SIZE, "output_height|7|5|6", OUTPUT_SIZE(7, 8), STRIDES(2, 2), PADDING(SAME)),
    BAD(OUTPUT_SIZE, "output_width|9|7|8", OUTPUT_SIZE(6, 9), STRIDES(2, 2), PADDING(SAME)),
    BAD(OUTPUT_SIZE, "output_height|6|7|8", OUTPUT_SIZE(6, 8), STRIDES(2, 2)),
    BAD(OUTPUT_SIZE, "output_width|10|8|9", OUTPUT_SIZE(7, 10), STRIDES(2, 2)),
    BAD(OUTPUT_SIZE, "output_height|6|7|8", OUTPUT_SIZE(6, 8), STRIDES(2, 2), RULE(TORCH)),
    BAD(OUTPUT_SIZE, "output_height|9|7|8", OUTPUT_SIZE(9, 8), STRIDES(2, 2), RULE(TORCH)),
    BAD(OUTPUT_SIZE, "output_width|5|6|7", OUTPUT_SIZE(5, 5), STRIDES(2, 2), PADDING(EXPLICIT), RULE(TORCH), .pad_top = 1,
        .pad_bottom = 1, .pad_left = 1, .pad_right = 1),
    BAD(OUTPUT_SIZE, "output_height|-1", OUTPUT_SIZE(-1, 8), STRIDES(2, 2)),
    BAD(OUTPUT_SIZE, "output_width|-2", OUTPUT_SIZE(7, -2), RULE(WINDOW), PADDING(EXPLICIT)),
    BAD(OUTPUT_SIZE, "output_width|0", OUTPUT_SIZE(7, 0), STRIDES(2, 2)),
    BAD(OUTPUT_SIZE, "output_height|0", OUTPUT_SIZE(0, 8), STRIDES(2, 2), RULE(TORCH)),
    BAD(OUTPUT_SIZE, "output_height|0", OUTPUT_SIZE(0, 8), RULE(WINDOW), PADDING(EXPLICIT)),
    BAD(OUTPUT_SIZE, "output", OUTPUT_SIZE(6, 8), STRIDES(2, 2), RULE(JAX), PADDING(SAME)),
    BAD(OVERFLOW, "output_height|9223372036854775807", OUTPUT_SIZE(INT64_MAX, 8), STRIDES(2, 2)),

    BAD(PADDING, "pad_top|3|pad_bottom|2", PADDING(EXPLICIT), RULE(TORCH), .pad_top = 3, .pad_bottom = 2),
    BAD(EMPTY_OUTPUT, "height", PADDING(EXPLICIT), RULE(TORCH), .pad_top = 3, .pad_bottom = 3),
    BAD(EMPTY_OUTPUT, "width", PADDING(EXPLICIT), RULE(ONNX), .pad_left = 9, .pad_right = 9),
    BAD(EMPTY_OUTPUT, "height", PADDING(EXPLICIT), RULE(WINDOW), .pad_top = 100),
    BAD(EMPTY_OUTPUT, "height|0", .height = 0, PADDING(SAME)),
    BAD(EMPTY_OUTPUT, "width|0", .width = 0, .kernel_width = 1, RULE(TORCH)),

    /* NHWC 1x3x4x4 -> 1x5x5x6 */
    BAD(ELEMENT_STRIDES, "output_strides", .output_strides = { 0, 0, 5, 1 }),
    BAD(ELEMENT_STRIDES, "output_strides", .output_strides = { 0, 6, 0, 0 }),
    BAD(ELEMENT_STRIDES, "output_strides", .output_strides = { INT64_MAX, 0, 0, 0 }, .batch = 3),
    BAD(ELEMENT_STRIDES, "input_strides", .input_strides = { 0, 0, INT64_MIN, 0 }),

    BAD(OVERFLOW, "input|1099511627776", .height = TWO_TO_THE(40), .width = TWO_TO_THE(40), .in_channels = TWO_TO_THE(20)),
    BAD(OVERFLOW, "", .height = TWO_TO_THE(62), STRIDES(4, 1)),
    BAD(OVERFLOW, "", .height = TWO_TO_THE(31), .width = TWO_TO_THE(31)),
    BAD(OVERFLOW, "stride_height|9223372036854775807", STRIDES(INT64_MAX, 1)),
    BAD(OVERFLOW, "dilation_width|9223372036854775807", .dilation_width = INT64_MAX, .kernel_width = 3),
    BAD(OVERFLOW, "kernel_height|9223372036854775807", .kernel_height = INT64_MAX),
    BAD(OVERFLOW, "", PADDING(EXPLICIT), RULE(WINDOW), .pad_top = INT64_MIN),
    BAD(OVERFLOW, "", PADDING(EXPLICIT), RULE(WINDOW), .pad_left = INT64_MIN, .pad_right = INT64_MIN),
    BAD(OVERFLOW, "", OUTPUT_SIZE(TWO_TO_THE(40), TWO_TO_THE(40)), PADDING(EXPLICIT), RULE(WINDOW)),
};
#undef BAD

static void transpose_table(void) {
    FOR_EACH_ROW(transpose_rows, conv2d_transpose_params, {
        JUDGE_LAYER(conv2d_transpose);
        JUDGE(conv2d_transpose_overlap(p, counts, 1));
    })
}

/* --------------------------------------------------------------------------------------------------------- upsample2d */

#define UPSAMPLE .struct_size = sizeof(upsample2d_params), .batch = 1, .height = 3, .width = 4, .channels = 2
#define BAD(status, pieces, ...) { { __LINE__, CONVOLUTION_ERROR_##status, pieces }, { UPSAMPLE, __VA_ARGS__ } }
#define FACTOR(h, w) .factor_height = h, .factor_width = w
#define SCALE(h, w) .scale_height = h, .scale_width = w
#define REGION(first, last) .coordinates = UPSAMPLE2D_COORDINATES_TF_CROP_AND_RESIZE, .roi = { first, 0, 1, last }

static const struct {
    struct refusal expected;
    upsample2d_params params;
} upsample_rows[] = {
    BAD(STRUCT_SIZE, "struct_size|0", .struct_size = 0, FACTOR(2, 2)),
    BAD(STRUCT_SIZE, "struct_size|24", .struct_size = 24, FACTOR(2, 2)),
    BAD(STRUCT_SIZE, "struct_size", .struct_size = sizeof(upsample2d_params) - 8, FACTOR(2, 2)),

    BAD(DTYPE, "dtype|-1", .dtype = -1, FACTOR(2, 2)),
    BAD(DTYPE, "dtype|2", .dtype = 2, FACTOR(2, 2)),
    BAD(DATA_FORMAT, "data_format|-1", .data_format = -1, FACTOR(2, 2)),
    BAD(DATA_FORMAT, "data_format|2", .data_format = 2, FACTOR(2, 2)),
    BAD(INTERPOLATION, "interpolation|-1", .interpolation = -1, FACTOR(2, 2)),
    BAD(INTERPOLATION, "interpolation|6", .interpolation = 6, FACTOR(2, 2)),
    BAD(COORDINATES, "coordinates|-1", .coordinates = -1, FACTOR(2, 2)),
    BAD(COORDINATES, "coordinates|8", .coordinates = 8, FACTOR(2, 2)),
    BAD(COORDINATES, "coordinates|6", REGION(0, 1), .interpolation = UPSAMPLE2D_AREA, FACTOR(2, 2)),
    BAD(COORDINATES, "roi[2]|1|coordinates|0", .roi = { 0, 0, 1, 1 }, FACTOR(2, 2)),
    BAD(COORDINATES, "roi[3]|nan|coordinates|0", .roi = { 0, 0, 0, NAN }, FACTOR(2, 2)),
    BAD(COORDINATES, "extrapolation_value|-2.5|coordinates|0", .extrapolation_value = -2.5, FACTOR(2, 2)),
    BAD(COORDINATES, "extrapolation_value|nan", .extrapolation_value = NAN, FACTOR(2, 2)),
    BAD(COORDINATES, "roi[0]|nan", REGION(NAN, 1), FACTOR(2, 2)),
    BAD(COORDINATES, "roi[0]|-inf", REGION(-INFINITY, 1), FACTOR(2, 2)),
    BAD(COORDINATES, "roi[3]|3e+14|2^48", REGION(0, 3e14), FACTOR(2, 2)),
    BAD(COORDINATES, "coordinates|3", .coordinates = UPSAMPLE2D_COORDINATES_ASYMMETRIC, .interpolation = UPSAMPLE2D_AREA,
        FACTOR(2, 2)),
    BAD(RULE, "preset|-1", .preset = -1, FACTOR(2, 2)),
    BAD(RULE, "preset|7", .preset = 7, FACTOR(2, 2)),
    BAD(COORDINATES, "rounding|-1", .rounding = -1, FACTOR(2, 2)),
    BAD(COORDINATES, "rounding|6", .rounding = 6, FACTOR(2, 2)),
    BAD(COORDINATES, "rounding|3|interpolation|1", .rounding = UPSAMPLE2D_ROUNDING_FLOOR, .interpolation = UPSAMPLE2D_BILINEAR,
        FACTOR(2, 2)),
    BAD(COORDINATES, "edge|-1", .edge = -1, FACTOR(2, 2)),
    BAD(COORDINATES, "edge|3", .edge = 3, .interpolation = UPSAMPLE2D_BICUBIC, FACTOR(2, 2)),
    BAD(COORDINATES, "edge|1|interpolation|0", .edge = UPSAMPLE2D_EDGE_CLAMP, FACTOR(2, 2)),
    BAD(COORDINATES, "edge|2|interpolation|5", .edge = UPSAMPLE2D_EDGE_RENORMALISE, .interpolation = UPSAMPLE2D_AREA,
        FACTOR(2, 2)),
    BAD(FLAG, "accumulate|2", .accumulate = 2, FACTOR(2, 2)),
    BAD(FLAG, "accumulate|-1", .accumulate = -1, FACTOR(2, 2)),
    BAD(INTERPOLATION, "interpolation|3|preset|3", .interpolation = UPSAMPLE2D_LANCZOS3, .preset = UPSAMPLE2D_PRESET_TORCH,
        FACTOR(2, 2)),
    BAD(INTERPOLATION, "interpolation|4|preset|4", .interpolation = UPSAMPLE2D_LANCZOS5, .preset = UPSAMPLE2D_PRESET_TORCH_EXACT,
        FACTOR(2, 2)),
    BAD(INTERPOLATION, "interpolation|4|preset|5", .interpolation = UPSAMPLE2D_LANCZOS5, .preset = UPSAMPLE2D_PRESET_ONNX,
        FACTOR(2, 2)),
    BAD(INTERPOLATION, "interpolation|5|preset|5", .interpolation = UPSAMPLE2D_AREA, .preset = UPSAMPLE2D_PRESET_ONNX,
        FACTOR(2, 2)),
    BAD(INTERPOLATION, "interpolation|5|preset|2", .interpolation = UPSAMPLE2D_AREA, .preset = UPSAMPLE2D_PRESET_KERAS_JAX,
        FACTOR(2, 2)),
    BAD(INTERPOLATION, "interpolation|3|preset|6", .interpolation = UPSAMPLE2D_LANCZOS3, .preset = UPSAMPLE2D_PRESET_OPENCV,
        FACTOR(2, 2)),
    BAD(INTERPOLATION, "antialias|preset|6", .antialias = 1, .interpolation = UPSAMPLE2D_BILINEAR,
        .preset = UPSAMPLE2D_PRESET_OPENCV, FACTOR(2, 2)),
    BAD(INTERPOLATION, "antialias|0", .antialias = 1, FACTOR(2, 2)),
    BAD(INTERPOLATION, "antialias|0", .antialias = 1, .preset = UPSAMPLE2D_PRESET_TORCH, FACTOR(2, 2)),
    BAD(INTERPOLATION, "antialias|5", .antialias = 1, .interpolation = UPSAMPLE2D_AREA, FACTOR(2, 2)),
    BAD(INTERPOLATION, "cubic_coefficient|-0.5|1", .cubic_coefficient = -0.5, .interpolation = UPSAMPLE2D_BILINEAR, FACTOR(2, 2)),
    BAD(INTERPOLATION, "cubic_coefficient|nan", .cubic_coefficient = NAN, .interpolation = UPSAMPLE2D_BICUBIC, FACTOR(2, 2)),
    BAD(INTERPOLATION, "cubic_coefficient|-inf", .cubic_coefficient = -INFINITY, .interpolation = UPSAMPLE2D_BICUBIC,
        FACTOR(2, 2)),
    BAD(FACTOR, "scale_height|0.1", SCALE(0.1, 1), .preset = UPSAMPLE2D_PRESET_OPENCV),
    BAD(FACTOR, "scale_height|1e-300", SCALE(1e-300, 1), .preset = UPSAMPLE2D_PRESET_ONNX),
    BAD(OVERFLOW, "scale_height|1e+300", SCALE(1e300, 1), .preset = UPSAMPLE2D_PRESET_ONNX),
    BAD(FLAG, "antialias|2", .antialias = 2, FACTOR(2, 2)),
    BAD(FLAG, "antialias|-1", .antialias = -1, FACTOR(2, 2)),
    BAD(THREADS, "threads|-1", .threads = -1, FACTOR(2, 2)),
    BAD(THREADS, "threads|1025", .threads = 1025, FACTOR(2, 2)),
    BAD(ISA, "isa|mmx", .isa = "mmx", FACTOR(2, 2)),

    BAD(IMAGE_SIZE, "batch|-1", .batch = -1, FACTOR(2, 2)),
    BAD(IMAGE_SIZE, "height|-1", .height = -1, FACTOR(2, 2)),
    BAD(IMAGE_SIZE, "width|-1", .width = -1, FACTOR(2, 2)),
    BAD(CHANNELS, "channels|-1", .channels = -1, FACTOR(2, 2)),

    BAD(FACTOR, "factor_height|-1", FACTOR(-1, 2)),
    BAD(FACTOR, "factor_width|-2", FACTOR(2, -2)),
    BAD(FACTOR, "factor|output|scale", .batch = 1),
    BAD(FACTOR, "scale_height|nan", SCALE(NAN, 2)),
    BAD(FACTOR, "scale_width|nan", SCALE(2, NAN)),
    BAD(FACTOR, "scale_height|inf", SCALE(INFINITY, 2)),
    BAD(FACTOR, "scale_width|-inf", SCALE(2, -INFINITY)),
    BAD(FACTOR, "scale_height|-1.5", SCALE(-1.5, 2)),
    BAD(FACTOR, "scale_width|-0.25", SCALE(2, -0.25)),
    BAD(FACTOR, "factor|output", FACTOR(2, 2), OUTPUT_SIZE(6, 8)),
    BAD(FACTOR, "factor_height|2|output_width|8", .factor_height = 2, .output_width = 8),
    BAD(FACTOR, "factor|scale", FACTOR(2, 2), SCALE(2, 2)),
    BAD(FACTOR, "factor|output|scale", FACTOR(2, 2), OUTPUT_SIZE(6, 8), SCALE(2, 2)),
    BAD(FACTOR, "output|scale|AREA", OUTPUT_SIZE(6, 8), SCALE(2, 2), .interpolation = UPSAMPLE2D_AREA),
    BAD(FACTOR, "scale_width|1e-300|output_width|2^48", OUTPUT_SIZE(6, 8), SCALE(2, 1e-300)),
    BAD(FACTOR, "scale_height|2e-14|output_height|2^48", OUTPUT_SIZE(6, 8), SCALE(2e-14, 1)),
    BAD(FACTOR, "scale_height|-2", OUTPUT_SIZE(6, 8), SCALE(-2, 1)),
    BAD(FACTOR, "scale_width|inf", OUTPUT_SIZE(6, 8), SCALE(1, INFINITY)),
    BAD(OUTPUT_SIZE, "output_height|-6", OUTPUT_SIZE(-6, 8)),
    BAD(OUTPUT_SIZE, "output_width|-1", OUTPUT_SIZE(6, -1)),
    BAD(FACTOR, "scale_height|0.25|3", SCALE(0.25, 1)),
    BAD(FACTOR, "scale_width|1e-300|4", SCALE(1, 1e-300)),
    BAD(IMAGE_SIZE, "height|0", .height = 0, FACTOR(2, 2)),
    BAD(IMAGE_SIZE, "width|0", .width = 0, OUTPUT_SIZE(6, 8)),

    /* NHWC 1x3x4x2 -> 1x6x8x2 */
    BAD(ELEMENT_STRIDES, "output_strides", FACTOR(2, 2), .output_strides = { 0, 0, 1, 1 }),
    BAD(ELEMENT_STRIDES, "output_strides", FACTOR(2, 2), .output_strides = { 0, 15, 2, 1 }),
    BAD(ELEMENT_STRIDES, "output_strides", FACTOR(2, 2), .output_strides = { 0, INT64_MAX, 2, 1 }),
    BAD(ELEMENT_STRIDES, "input_strides", FACTOR(2, 2), .input_strides = { 0, 0, INT64_MIN, 0 }),

    BAD(OVERFLOW, "", .height = TWO_TO_THE(40), .width = TWO_TO_THE(40), .channels = TWO_TO_THE(20), FACTOR(2, 2)),
    BAD(OVERFLOW, "", FACTOR(INT64_MAX, 2)),
    BAD(OVERFLOW, "", FACTOR(2, INT64_MAX)),
    BAD(OVERFLOW, "", OUTPUT_SIZE(INT64_MAX, 8)),
    BAD(OVERFLOW, "", OUTPUT_SIZE(TWO_TO_THE(32), TWO_TO_THE(32))),
    BAD(OVERFLOW, "", SCALE(1e300, 1)),
    BAD(OVERFLOW, "", SCALE(1, 4e18)),
    BAD(OVERFLOW, "", .batch = INT64_MAX, FACTOR(2, 2)),
    BAD(OVERFLOW, "", .channels = INT64_MAX, FACTOR(2, 2)),
};
#undef BAD

static void upsample_table(void) {
    FOR_EACH_ROW(upsample_rows, upsample2d_params, {
        JUDGE_VERB(upsample2d, );
        JUDGE_PLAN(upsample2d, p);
        JUDGE_OPERATOR(upsample2d, );
        JUDGE(upsample2d_backward(p, input, output.bytes));
        JUDGE_PLAN(upsample2d_backward, p);
    })
}

/* ---------------------------------------------------------------------------------------------- upsample2d_conv2d: both */

/* What makes an image of the sizes that CONV2D has, and a convolution of what UPSAMPLE makes. */
#define ENLARGE .struct_size = sizeof(upsample2d_params), .batch = 1, .height = 5, .width = 3, .channels = 4, FACTOR(1, 2)
#define CONVOLVE .struct_size = sizeof(conv2d_params), .out_channels = 6, .kernel_height = 3, .kernel_width = 2
#define FIELDS(...) __VA_ARGS__
#define BAD(status, pieces, enlarge, ...) \
    { { __LINE__, CONVOLUTION_ERROR_##status, pieces }, { ENLARGE, FIELDS enlarge }, { CONV2D, __VA_ARGS__ } }

static const struct {
    struct refusal expected;
    upsample2d_params upsampling;
    conv2d_params convolution;
} upsampled_rows[] = {
    BAD(IMAGE_SIZE, "convolution: batch|2|1", (.batch = 1), .batch = 2),
    BAD(IMAGE_SIZE, "convolution: height|6|5", (.batch = 1), .height = 6),
    BAD(IMAGE_SIZE, "convolution: width|3|6", (.batch = 1), .width = 3),
    BAD(IMAGE_SIZE, "convolution: width|6|9", (FACTOR(1, 3)), .width = 6),
    BAD(IMAGE_SIZE, "convolution: height|9223372036854775807|5", (.batch = 1), .height = INT64_MAX),
    BAD(CHANNELS, "convolution: in_channels|3|4", (.batch = 1), .in_channels = 3),
    BAD(CHANNELS, "convolution: in_channels|4|0", (.channels = 0), .batch = 1),
    BAD(DTYPE, "convolution: dtype|1|0", (.batch = 1), .dtype = CONVOLUTION_FLOAT64),
    BAD(DTYPE, "convolution: dtype|0|1", (.dtype = CONVOLUTION_FLOAT64), .batch = 1),
    BAD(DATA_FORMAT, "convolution: data_format|1|0", (.batch = 1), .data_format = CONVOLUTION_NCHW),
    BAD(THREADS, "convolution: threads|2|1", (.threads = 1), .threads = 2),
    BAD(THREADS, "upsampling: threads|1025", (.threads = 1025), .threads = 2),
    BAD(ISA, "convolution: isa|warp", (.isa = "baseline"), .isa = "warp"),
    BAD(ISA, "upsampling: isa|warp", (.isa = "warp"), .isa = "baseline"),
    BAD(ELEMENT_STRIDES, "convolution: input_strides|24", (.batch = 1), .input_strides = { 0, 24, 0, 0 }),
    BAD(ELEMENT_STRIDES, "convolution: input_strides|-1", (.batch = 1), .input_strides = { 0, 0, 0, -1 }),
    BAD(ELEMENT_STRIDES, "upsampling: output_strides|120", (.output_strides = { 120, 0, 0, 0 }), .batch = 1),
    BAD(FLAG, "upsampling: accumulate|1", (.accumulate = 1), .batch = 1),
    BAD(EMPTY_OUTPUT, "convolution: height|5", (.batch = 1), .kernel_height = 6),
    BAD(PADDING, "convolution: pad_left|7", (.batch = 1), .padding = CONVOLUTION_PADDING_EXPLICIT, .pad_left = 7,
        .padding_mode = CONVOLUTION_PADDING_MODE_CIRCULAR),
    BAD(OVERFLOW, "convolution", (FACTOR(TWO_TO_THE(38), 2)), .height = 0, .kernel_height = 1, .out_channels = 1024),
};
#undef BAD

static void judge_both(const upsample2d_params *u, const conv2d_params *c, struct refusal expected) {
    int64_t *counts = (int64_t *)(void *)output.bytes;
    line_now = expected.line;
    prepare();
    JUDGE(upsample2d_conv2d_output_shape(u, c, counts));
    JUDGE(upsample2d_conv2d(u, c, input, kernel, bias, output.bytes));
    JUDGE_PLAN(upsample2d_conv2d, u, c, kernel, bias);
    JUDGE(upsample2d_conv2d_workspace_size(u, c, counts, counts + 1, counts + 2));
}

static void upsampled_table(void) {
    for (size_t i = 0; i < sizeof upsampled_rows / sizeof *upsampled_rows; i++)
        judge_both(&upsampled_rows[i].upsampling, &upsampled_rows[i].convolution, upsampled_rows[i].expected);
    /* What is wrong with one of the two parts is wrong with both together, and the text says with which. */
    const upsample2d_params enlarge = { ENLARGE };
    const conv2d_params convolve = { CONVOLVE };
    for (size_t i = 0; i < sizeof upsample_rows / sizeof *upsample_rows; i++) {
        judge_both(&upsample_rows[i].params, &convolve, upsample_rows[i].expected);
        CHECK(strncmp(convolution_error_message(), "upsampling: ", 12) == 0);
    }
    for (size_t i = 0; i < sizeof conv2d_rows / sizeof *conv2d_rows; i++) {
        const conv2d_params *p = &conv2d_rows[i].params;
        if (p->batch != 1 || p->height != 5 || p->width != 6 || p->in_channels != 4) continue;
        judge_both(&enlarge, p, conv2d_rows[i].expected);
        CHECK(strncmp(convolution_error_message(), "convolution: ", 13) == 0);
    }
}

static void overlap_counts(void) {
    const conv2d_transpose_params good = { TRANSPOSE };
    const conv2d_transpose_params bad = { TRANSPOSE, .rule = 9 };
    const conv2d_transpose_params large = { TRANSPOSE, .height = TWO_TO_THE(30), .width = TWO_TO_THE(30), .in_channels = 0 };
    const conv2d_transpose_params empty = { TRANSPOSE, .height = 0, .rule = CONV2D_TRANSPOSE_RULE_TORCH, .stride_height = 3,
                                            .allow_empty_output = 1 };
    int64_t shape[4], *counts = (int64_t *)(void *)output.bytes;
    CHECK(conv2d_transpose_output_shape(&good, shape) == CONVOLUTION_OK);
    const int64_t pixels = shape[1] * shape[2];
    EXPECT(NULL_POINTER, "params|NULL", conv2d_transpose_overlap(NULL, counts, 1000));
    EXPECT(NULL_POINTER, "counts|NULL", conv2d_transpose_overlap(&good, NULL, 1000));
    EXPECT(RULE, "rule|9", conv2d_transpose_overlap(&bad, counts, 1000));
    EXPECT(CAPACITY, "capacity|0", conv2d_transpose_overlap(&good, counts, 0));
    EXPECT(CAPACITY, "capacity|-3", conv2d_transpose_overlap(&good, counts, -3));
    EXPECT(CAPACITY, "capacity", conv2d_transpose_overlap(&good, counts, pixels - 1));
    EXPECT(OVERFLOW, "", conv2d_transpose_overlap(&large, counts, INT64_MAX));
    EXPECT(NULL_POINTER, "counts|NULL", conv2d_transpose_overlap(&good, NULL, pixels));
    prepare();
    CHECK(conv2d_transpose_overlap(&good, counts, pixels) == CONVOLUTION_OK);
    CHECK(untouched(output.bytes + pixels * 8, sizeof output - (size_t)pixels * 8));
    int64_t sum = 0;
    for (int64_t i = 0; i < pixels; i++) sum += counts[i];
    CHECK(sum == good.height * good.width * good.kernel_height * good.kernel_width);
    CHECK(conv2d_transpose_overlap(&empty, NULL, 0) == CONVOLUTION_OK);
}

static void upsampled_pointers(void) {
    const upsample2d_params u = { ENLARGE };
    const conv2d_params c = { CONV2D };                         /* input 60 floats, kernel 144, bias 6, output 90 */
    int64_t shape[4];
    upsample2d_conv2d_plan *plan = (upsample2d_conv2d_plan *)(void *)&not_a_plan;
    EXPECT(NULL_POINTER, "upsampling|NULL|upsample2d_params", upsample2d_conv2d_output_shape(NULL, &c, shape));
    EXPECT(NULL_POINTER, "convolution|NULL|conv2d_params", upsample2d_conv2d_output_shape(&u, NULL, shape));
    EXPECT(NULL_POINTER, "shape|NULL", upsample2d_conv2d_output_shape(&u, &c, NULL));
    EXPECT(NULL_POINTER, "upsampling|NULL", upsample2d_conv2d(NULL, &c, input, kernel, bias, output.bytes));
    EXPECT(NULL_POINTER, "convolution|NULL", upsample2d_conv2d(&u, NULL, input, kernel, bias, output.bytes));
    EXPECT(NULL_POINTER, "input|NULL", upsample2d_conv2d(&u, &c, NULL, kernel, bias, output.bytes));
    EXPECT(NULL_POINTER, "kernel|NULL", upsample2d_conv2d(&u, &c, input, NULL, bias, output.bytes));
    EXPECT(NULL_POINTER, "output|NULL", upsample2d_conv2d(&u, &c, input, kernel, bias, NULL));
    EXPECT(NULL_POINTER, "plan|NULL", upsample2d_conv2d_plan_create(&u, &c, kernel, bias, NULL));
    EXPECT(NULL_POINTER, "kernel|NULL", upsample2d_conv2d_plan_create(&u, &c, NULL, bias, &plan));
    CHECK(plan == NULL);
    plan = (upsample2d_conv2d_plan *)(void *)&not_a_plan;
    EXPECT(NULL_POINTER, "upsampling|NULL", upsample2d_conv2d_plan_create(NULL, &c, kernel, bias, &plan));
    CHECK(plan == NULL);

    float *arena = (float *)output.bytes, *y = arena + 1000;
    for (int32_t interpolation = 0; interpolation < 2; interpolation++) {
        const upsample2d_params enlarge = { ENLARGE, .interpolation = interpolation };
        EXPECT(OVERLAP, "output|input", upsample2d_conv2d(&enlarge, &c, y + 89, kernel, bias, y));
        EXPECT(OVERLAP, "output|input", upsample2d_conv2d(&enlarge, &c, y - 59, kernel, bias, y));
        EXPECT(OVERLAP, "output|kernel", upsample2d_conv2d(&enlarge, &c, input, y - 143, bias, y));
        EXPECT(OVERLAP, "output|bias", upsample2d_conv2d(&enlarge, &c, input, kernel, y + 89, y));
        CHECK(upsample2d_conv2d(&enlarge, &c, y - 60, y + 90, y + 234, y) == CONVOLUTION_OK);
        CHECK(upsample2d_conv2d_plan_create(&enlarge, &c, kernel, NULL, &plan) == CONVOLUTION_OK && plan != NULL);
        EXPECT(NULL_POINTER, "input|NULL", upsample2d_conv2d_plan_execute(plan, NULL, output.bytes));
        EXPECT(NULL_POINTER, "output|NULL", upsample2d_conv2d_plan_execute(plan, input, NULL));
        EXPECT(OVERLAP, "output|input", upsample2d_conv2d_plan_execute(plan, y + 89, y));
        CHECK(upsample2d_conv2d_plan_execute(plan, y - 60, y) == CONVOLUTION_OK);
        upsample2d_conv2d_plan_destroy(plan);
    }
    EXPECT(NULL_POINTER, "plan|NULL", upsample2d_conv2d_plan_execute(NULL, input, output.bytes));
    upsample2d_conv2d_plan_destroy(NULL);

    /* Sizes that are 0 are taken from the upsampled image; one thread count and one tier speak for both. */
    const conv2d_params taken = { CONVOLVE, .threads = 2, .isa = "baseline" };
    CHECK(upsample2d_conv2d_output_shape(&u, &taken, shape) == CONVOLUTION_OK);
    CHECK(shape[0] == 1 && shape[1] == 3 && shape[2] == 5 && shape[3] == 6);
    const upsample2d_params agrees = { ENLARGE, .threads = 2, .isa = "baseline" };
    CHECK(upsample2d_conv2d(&agrees, &c, input, kernel, bias, output.bytes) == CONVOLUTION_OK);
    CHECK(upsample2d_conv2d(&agrees, &taken, input, kernel, bias, output.bytes) == CONVOLUTION_OK);
    /* Two threads need more memory, whichever of the two asks for them. */
    const upsample2d_params large = { ENLARGE, .height = 64, .width = 64, .channels = 32, .threads = 1 };
    upsample2d_params asks = large, silent = large;
    asks.threads = 2, silent.threads = 0;
    const conv2d_params small = { CONVOLVE, .out_channels = 32 }, asking = { CONVOLVE, .out_channels = 32, .threads = 2 };
    int64_t alone = 0, first = 0, second = 0;
    CHECK(upsample2d_conv2d_workspace_size(&large, &small, NULL, &alone, NULL) == CONVOLUTION_OK && alone > 0);
    CHECK(upsample2d_conv2d_workspace_size(&asks, &small, NULL, &first, NULL) == CONVOLUTION_OK && first > alone);
    CHECK(upsample2d_conv2d_workspace_size(&silent, &asking, NULL, &second, NULL) == CONVOLUTION_OK && second == first);
    if (convolution_isa_supported("avx2")) {
        const conv2d_params differs = { CONV2D, .isa = "avx2" };
        EXPECT(ISA, "convolution: isa|avx2|baseline", upsample2d_conv2d(&agrees, &differs, input, kernel, bias, output.bytes));
    }
    /* Nothing to read, or nothing to write. */
    const upsample2d_params none = { ENLARGE, .batch = 0 }, channelless = { ENLARGE, .channels = 0 };
    const conv2d_params empty = { CONVOLVE, .kernel_height = 9, .allow_empty_output = 1 };
    CHECK(upsample2d_conv2d(&none, &taken, NULL, kernel, bias, NULL) == CONVOLUTION_OK);
    CHECK(upsample2d_conv2d(&u, &empty, input, kernel, bias, NULL) == CONVOLUTION_OK);
    bias[0] = 0;
    ((float *)bias)[5] = 2.5f;
    CHECK(upsample2d_conv2d(&channelless, &taken, NULL, NULL, bias, output.bytes) == CONVOLUTION_OK);
    CHECK(((float *)output.bytes)[0] == 0 && ((float *)output.bytes)[89] == 2.5f);
}

/* ------------------------------------------------------------------------------------------- pointers, matrix, constants */

/* What every verb has: each of its pointers missing, and its plan. The arguments after the params are as for JUDGE_VERB. */
#define NULL_POINTERS(verb, p, ...)                                                                                   \
    do {                                                                                                              \
        int64_t shape[4];                                                                                             \
        verb##_plan *plan = (verb##_plan *)(void *)&not_a_plan;                                                       \
        EXPECT(NULL_POINTER, "params|NULL", verb##_output_shape(NULL, shape));                                        \
        EXPECT(NULL_POINTER, "shape|NULL", verb##_output_shape(p, NULL));                                             \
        EXPECT(NULL_POINTER, "params|NULL", verb(NULL, input, __VA_ARGS__ output.bytes));                             \
        EXPECT(NULL_POINTER, "input|NULL", verb(p, NULL, __VA_ARGS__ output.bytes));                                  \
        EXPECT(NULL_POINTER, "output|NULL", verb(p, input, __VA_ARGS__ NULL));                                        \
        EXPECT(NULL_POINTER, "plan|NULL", verb##_plan_create(p, __VA_ARGS__ NULL));                                   \
        EXPECT(NULL_POINTER, "params|NULL", verb##_plan_create(NULL, __VA_ARGS__ &plan));                             \
        CHECK(plan == NULL);                                                                                          \
        CHECK(verb##_plan_create(p, __VA_ARGS__ &plan) == CONVOLUTION_OK && plan != NULL);                            \
        EXPECT(NULL_POINTER, "plan|NULL", verb##_plan_execute(NULL, input, output.bytes));                            \
        EXPECT(NULL_POINTER, "input|NULL", verb##_plan_execute(plan, NULL, output.bytes));                            \
        EXPECT(NULL_POINTER, "output|NULL", verb##_plan_execute(plan, input, NULL));                                  \
        verb##_plan_destroy(plan);                                                                                    \
        verb##_plan_destroy(NULL);                                                                                    \
    } while (0)
#define NULL_KERNEL(verb, p)                                                                                          \
    do {                                                                                                              \
        verb##_plan *plan = (verb##_plan *)(void *)&not_a_plan;                                                       \
        EXPECT(NULL_POINTER, "kernel|NULL", verb(p, input, NULL, bias, output.bytes));                                \
        EXPECT(NULL_POINTER, "kernel|NULL", verb##_plan_create(p, NULL, bias, &plan));                                \
        CHECK(plan == NULL);                                                                                          \
    } while (0)

static void null_pointers(void) {
    const conv2d_params c = { CONV2D };
    const conv2d_transpose_params t = { TRANSPOSE };
    const upsample2d_params u = { UPSAMPLE, FACTOR(2, 2) };
    NULL_POINTERS(conv2d, &c, kernel, NULL, );
    NULL_KERNEL(conv2d, &c);
    NULL_POINTERS(conv2d_transpose, &t, kernel, NULL, );
    NULL_KERNEL(conv2d_transpose, &t);
    NULL_POINTERS(upsample2d, &u, );
}

/* The output lies in the middle of one arena; the other arguments are slid over its ends. */
static void overlaps(void) {
    const conv2d_params c = { CONV2D };                         /* input 120 floats, kernel 144, bias 6, output 90 */
    const conv2d_transpose_params t = { TRANSPOSE };            /* input 48, kernel 144, bias 6, output 150        */
    const upsample2d_params u = { UPSAMPLE, FACTOR(2, 2) };     /* input 24, output 96                             */
    float *arena = (float *)output.bytes, *y = arena + 1000;
    conv2d_plan *c_plan = NULL;
    conv2d_transpose_plan *t_plan = NULL;
    upsample2d_plan *u_plan = NULL;

    EXPECT(OVERLAP, "output|input", conv2d(&c, y, kernel, bias, y));
    EXPECT(OVERLAP, "output|input", conv2d(&c, y + 89, kernel, bias, y));
    EXPECT(OVERLAP, "output|input", conv2d(&c, y - 119, kernel, bias, y));
    EXPECT(OVERLAP, "output|input", conv2d(&c, (char *)(y + 90) - 1, kernel, bias, y));
    EXPECT(OVERLAP, "output|kernel", conv2d(&c, input, y + 89, bias, y));
    EXPECT(OVERLAP, "output|kernel", conv2d(&c, input, y - 143, bias, y));
    EXPECT(OVERLAP, "output|bias", conv2d(&c, input, kernel, y - 5, y));
    EXPECT(OVERLAP, "output|bias", conv2d(&c, input, kernel, y + 40, y));
    CHECK(conv2d(&c, y + 90, y - 144, bias, y) == CONVOLUTION_OK);
    CHECK(conv2d(&c, y - 120, y + 90, y + 240, y) == CONVOLUTION_OK);
    CHECK(conv2d_plan_create(&c, kernel, bias, &c_plan) == CONVOLUTION_OK);
    EXPECT(OVERLAP, "output|input", conv2d_plan_execute(c_plan, y + 89, y));
    EXPECT(OVERLAP, "output|input", conv2d_plan_execute(c_plan, y - 119, y));
    CHECK(conv2d_plan_execute(c_plan, y - 120, y) == CONVOLUTION_OK);
    conv2d_plan_destroy(c_plan);

    /* Negative strides: the pointer is that of element [0][0][0][0], the bytes lie before it. */
    conv2d_params mirrored = c;
    mirrored.output_strides[1] = -30;                           /* rows at y, y - 30, y - 60: elements y - 60 ... y + 29 */
    EXPECT(OVERLAP, "output|input", conv2d(&mirrored, y - 60 - 119, kernel, bias, y));
    EXPECT(OVERLAP, "output|input", conv2d(&mirrored, y + 29, kernel, bias, y));
    CHECK(conv2d(&mirrored, y - 60 - 120, kernel, bias, y) == CONVOLUTION_OK);
    CHECK(conv2d(&mirrored, y + 30, kernel, bias, y) == CONVOLUTION_OK);

    /* Views with gaps may interleave: the left and the right half of one picture, rows of 8 in rows of 16. */
    const conv2d_params half = { CONV2D, .height = 6, .width = 8, .in_channels = 1, .out_channels = 1,
                                 .input_strides = { 0, 16, 1, 1 }, .padding = CONVOLUTION_PADDING_SAME,
                                 .output_strides = { 0, 16, 1, 1 } };
    CHECK(conv2d(&half, y + 8, kernel, bias, y) == CONVOLUTION_OK);
    CHECK(conv2d(&half, y - 8, kernel, bias, y) == CONVOLUTION_OK);
    /* A row without gaps between the rows of the input, and an image without gaps between the rows of the output. */
    const conv2d_params row = { CONV2D, .height = 3, .width = 8, .in_channels = 1, .out_channels = 1,
                                .input_strides = { 0, 16, 1, 1 } };
    const conv2d_params column = { CONV2D, .height = 4, .width = 2, .in_channels = 1, .out_channels = 1,
                                   .output_strides = { 0, 16, 1, 1 } };
    CHECK(conv2d(&row, y, kernel, bias, y + 8) == CONVOLUTION_OK);
    CHECK(conv2d(&column, y + 1, kernel, bias, y) == CONVOLUTION_OK);

    EXPECT(OVERLAP, "output|input", conv2d_transpose(&t, y + 149, kernel, bias, y));
    EXPECT(OVERLAP, "output|input", conv2d_transpose(&t, y - 47, kernel, bias, y));
    EXPECT(OVERLAP, "output|kernel", conv2d_transpose(&t, input, y - 143, bias, y));
    EXPECT(OVERLAP, "output|bias", conv2d_transpose(&t, input, kernel, y + 149, y));
    CHECK(conv2d_transpose(&t, y - 48, y + 150, y + 294, y) == CONVOLUTION_OK);
    CHECK(conv2d_transpose_plan_create(&t, kernel, bias, &t_plan) == CONVOLUTION_OK);
    EXPECT(OVERLAP, "output|input", conv2d_transpose_plan_execute(t_plan, y, y));
    conv2d_transpose_plan_destroy(t_plan);

    EXPECT(OVERLAP, "output|input", upsample2d(&u, y, y));
    EXPECT(OVERLAP, "output|input", upsample2d(&u, y + 95, y));
    EXPECT(OVERLAP, "output|input", upsample2d(&u, y - 23, y));
    CHECK(upsample2d(&u, y + 96, y) == CONVOLUTION_OK);
    CHECK(upsample2d(&u, y - 24, y) == CONVOLUTION_OK);
    CHECK(upsample2d_plan_create(&u, &u_plan) == CONVOLUTION_OK);
    EXPECT(OVERLAP, "output|input", upsample2d_plan_execute(u_plan, y - 23, y));
    upsample2d_plan_destroy(u_plan);
}

static void matrices(void) {
    const conv2d_params good = { CONV2D };                      /* 90 rows, 120 columns */
    const conv2d_params bad_stride = { CONV2D, .stride_height = -1 };
    const conv2d_params constant = { CONV2D, .padding = CONVOLUTION_PADDING_SAME, .padding_value = 2.5,
                                     .padding_mode = CONVOLUTION_PADDING_MODE_CONSTANT };
    const conv2d_params large = { CONV2D, .height = TWO_TO_THE(20), .width = TWO_TO_THE(20), .in_channels = 2 };
    int64_t rows = -1, columns = -1, nonzeros = -1, *indices = (int64_t *)output.bytes;
    void *out = output.bytes;

    CHECK(conv2d_matrix_size(&good, &rows, &columns, &nonzeros) == CONVOLUTION_OK);
    CHECK(rows == 90 && columns == 120 && nonzeros == 90 * 3 * 2 * 4);
    CHECK(conv2d_matrix_size(&good, NULL, NULL, NULL) == CONVOLUTION_OK);
    EXPECT(NULL_POINTER, "params|NULL", conv2d_matrix_size(NULL, &rows, &columns, &nonzeros));
    EXPECT(NULL_POINTER, "params|NULL", conv2d_matrix(NULL, kernel, out, 1 << 14));
    EXPECT(NULL_POINTER, "kernel|NULL", conv2d_matrix(&good, NULL, out, 1 << 14));
    EXPECT(NULL_POINTER, "matrix|NULL", conv2d_matrix(&good, kernel, NULL, 1 << 14));
    EXPECT(NULL_POINTER, "params|NULL", conv2d_matrix_csr(NULL, kernel, indices, indices + 100, indices + 4000, 2160));
    EXPECT(NULL_POINTER, "kernel|NULL", conv2d_matrix_csr(&good, NULL, indices, indices + 100, indices + 4000, 2160));
    EXPECT(NULL_POINTER, "row_offsets|NULL", conv2d_matrix_csr(&good, kernel, NULL, indices + 100, indices + 4000, 2160));
    EXPECT(NULL_POINTER, "column_indices|NULL", conv2d_matrix_csr(&good, kernel, indices, NULL, indices + 4000, 2160));
    EXPECT(NULL_POINTER, "values|NULL", conv2d_matrix_csr(&good, kernel, indices, indices + 100, NULL, 2160));

    EXPECT(CAPACITY, "capacity|10799|10800", conv2d_matrix(&good, kernel, out, 90 * 120 - 1));
    EXPECT(CAPACITY, "capacity|0", conv2d_matrix(&good, kernel, out, 0));
    EXPECT(CAPACITY, "capacity|-1", conv2d_matrix(&good, kernel, out, -1));
    EXPECT(CAPACITY, "capacity|-9223372036854775808", conv2d_matrix(&good, kernel, out, INT64_MIN));
    EXPECT(CAPACITY, "capacity|2159|2160", conv2d_matrix_csr(&good, kernel, indices, indices + 100, indices + 4000, 2159));
    EXPECT(CAPACITY, "capacity|-5", conv2d_matrix_csr(&good, kernel, indices, indices + 100, indices + 4000, -5));

    EXPECT(STRIDE, "stride_height|-1", conv2d_matrix_size(&bad_stride, &rows, &columns, &nonzeros));
    CHECK(rows == 90 && columns == 120 && nonzeros == 2160);
    EXPECT(STRIDE, "stride_height|-1", conv2d_matrix(&bad_stride, kernel, out, 1 << 14));
    EXPECT(STRIDE, "stride_height|-1", conv2d_matrix_csr(&bad_stride, kernel, indices, indices + 100, indices + 4000, 2160));
    EXPECT(UNSUPPORTED, "padding_value|2.5", conv2d_matrix(&constant, kernel, out, 1 << 14));
    EXPECT(UNSUPPORTED, "padding_value|2.5", conv2d_matrix_csr(&constant, kernel, indices, indices + 100, indices + 4000, 2160));
    /* 6 * 2^40 rows by 2 * 2^40 columns: one image fits into 64 bits, its dense matrix does not. */
    EXPECT(OVERFLOW, "", conv2d_matrix(&large, kernel, out, INT64_MAX));
    prepare();
    CHECK(conv2d_matrix(&good, kernel, out, 90 * 120) == CONVOLUTION_OK);
    CHECK(untouched(output.bytes + 90 * 120 * sizeof(float), sizeof output.bytes - 90 * 120 * sizeof(float)));
}

static void workspaces(void) {
    const conv2d_params c = { CONV2D, .workspace_limit = 63 }, stride = { CONV2D, .stride_width = -3 };
    const conv2d_transpose_params t = { TRANSPOSE, .workspace_limit = 63 };
    conv2d_plan *c_plan = (conv2d_plan *)(void *)&not_a_plan;
    conv2d_transpose_plan *t_plan = (conv2d_transpose_plan *)(void *)&not_a_plan;
    int64_t plan = 1, execution = 2, least = 3;
    EXPECT(WORKSPACE, "workspace_limit|63", conv2d(&c, input, kernel, bias, output.bytes));
    EXPECT(WORKSPACE, "workspace_limit|63", conv2d_plan_create(&c, kernel, bias, &c_plan));
    EXPECT(WORKSPACE, "workspace_limit|63", conv2d_workspace_size(&c, &plan, &execution, &least));
    EXPECT(WORKSPACE, "workspace_limit|63", conv2d_transpose(&t, input, kernel, bias, output.bytes));
    EXPECT(WORKSPACE, "workspace_limit|63", conv2d_transpose_plan_create(&t, kernel, bias, &t_plan));
    EXPECT(WORKSPACE, "workspace_limit|63", conv2d_transpose_workspace_size(&t, &plan, &execution, &least));
    EXPECT(NULL_POINTER, "params|NULL", conv2d_workspace_size(NULL, &plan, &execution, &least));
    EXPECT(NULL_POINTER, "params|NULL", conv2d_transpose_workspace_size(NULL, &plan, &execution, &least));
    EXPECT(STRIDE, "stride_width|-3", conv2d_workspace_size(&stride, &plan, &execution, &least));
    const upsample2d_params u = { ENLARGE }, smooth = { ENLARGE, .interpolation = UPSAMPLE2D_BILINEAR };
    const conv2d_params after = { CONVOLVE, .workspace_limit = 63 }, unlimited = { CONVOLVE };
    upsample2d_conv2d_plan *b_plan = (upsample2d_conv2d_plan *)(void *)&not_a_plan;
    for (int banded = 0; banded < 2; banded++) {
        const upsample2d_params *first = banded ? &smooth : &u;
        EXPECT(WORKSPACE, "workspace_limit|63|at least", upsample2d_conv2d(first, &after, input, kernel, bias, output.bytes));
        EXPECT(WORKSPACE, "workspace_limit|63|at least", upsample2d_conv2d_plan_create(first, &after, kernel, bias, &b_plan));
        EXPECT(WORKSPACE, "workspace_limit|63|at least",
               upsample2d_conv2d_workspace_size(first, &after, &plan, &execution, &least));
        CHECK(b_plan == NULL && upsample2d_conv2d_workspace_size(first, &unlimited, NULL, NULL, NULL) == CONVOLUTION_OK);
    }
    EXPECT(NULL_POINTER, "upsampling|NULL", upsample2d_conv2d_workspace_size(NULL, &unlimited, &plan, &execution, &least));
    EXPECT(NULL_POINTER, "convolution|NULL", upsample2d_conv2d_workspace_size(&u, NULL, &plan, &execution, &least));
    CHECK(c_plan == NULL && t_plan == NULL && plan == 1 && execution == 2 && least == 3);
}

static int32_t stop_at_once(void *context, const conv2d_solve_progress *state) {
    *(int64_t *)context += state->iteration;
    return -7;
}

static void solving(void) {
    const conv2d_params good = { CONV2D };                      /* 90 equations, 120 unknowns */
    const conv2d_params relu = { CONV2D, .activation = CONVOLUTION_ACTIVATION_RELU };
    const conv2d_params adding = { CONV2D, .accumulate = 1 };
    const conv2d_params bad_stride = { CONV2D, .stride_height = -1 };
    const conv2d_params shared = { CONV2D, .input_strides = { 0, 4, 4, 1 } };
    const conv2d_params constant = { CONV2D, .padding = CONVOLUTION_PADDING_SAME, .padding_value = 2.5,
                                     .padding_mode = CONVOLUTION_PADDING_MODE_CONSTANT };
    const conv2d_params huge = { CONV2D, .height = TWO_TO_THE(20), .width = TWO_TO_THE(20) };
    static unsigned char mask[90];
    memset(mask, 1, sizeof mask);
    struct { conv2d_solve_result known; int64_t more[2]; } result = { { .struct_size = sizeof(conv2d_solve_result) },
                                                                      { -5, -6 } };
    conv2d_rank rank = { .struct_size = sizeof rank, .equations = -1 };
    void *x = output.bytes;
    static float y[90], weights[144];
    for (int i = 0; i < 90; i++) y[i] = (float)(i * 7 % 19 - 9);
    for (int i = 0; i < 144; i++) weights[i] = (float)(i * 5 % 23 - 11);

#define SOLVE(...)                                                                                                              \
    conv2d_solve(&good, &(conv2d_solve_params){ .struct_size = sizeof(conv2d_solve_params), __VA_ARGS__ }, weights, bias, y, x, \
                 &result.known)
    EXPECT(NULL_POINTER, "params|NULL", conv2d_solve(NULL, NULL, weights, bias, y, x, NULL));
    EXPECT(NULL_POINTER, "kernel|NULL", conv2d_solve(&good, NULL, NULL, bias, y, x, NULL));
    EXPECT(NULL_POINTER, "output|NULL", conv2d_solve(&good, NULL, weights, bias, NULL, x, NULL));
    EXPECT(NULL_POINTER, "input|NULL", conv2d_solve(&good, NULL, weights, bias, y, NULL, NULL));
    EXPECT(STRUCT_SIZE, "struct_size|0|conv2d_solve_params", SOLVE(.struct_size = 0));
    EXPECT(STRUCT_SIZE, "struct_size|conv2d_solve_params", SOLVE(.struct_size = sizeof(conv2d_solve_params) - 8));
    EXPECT(STRUCT_SIZE, "struct_size", SOLVE(.struct_size = SIZE_MAX));
    EXPECT(LAMBDA, "lambda|-0.5", SOLVE(.lambda = -0.5));
    EXPECT(LAMBDA, "lambda|nan", SOLVE(.lambda = NAN));
    EXPECT(LAMBDA, "lambda|inf", SOLVE(.lambda = INFINITY));
    EXPECT(TOLERANCE, "tolerance|-1e-12", SOLVE(.tolerance = -1e-12));
    EXPECT(TOLERANCE, "tolerance|nan", SOLVE(.tolerance = NAN));
    EXPECT(TOLERANCE, "tolerance|inf", SOLVE(.tolerance = INFINITY));
    EXPECT(ITERATIONS, "max_iterations|-1", SOLVE(.max_iterations = -1));
    EXPECT(ITERATIONS, "max_iterations|-9223372036854775808", SOLVE(.max_iterations = INT64_MIN));
    EXPECT(FLAG, "nonnegative|2", SOLVE(.nonnegative = 2));
    EXPECT(FLAG, "reserved|1", SOLVE(.reserved = 1));
    EXPECT(MASK, "mask_size|0|90", SOLVE(.mask = mask));
    EXPECT(MASK, "mask_size|89|90", SOLVE(.mask = mask, .mask_size = 89));
    EXPECT(MASK, "mask_size|91|90", SOLVE(.mask = mask, .mask_size = 91));
    EXPECT(MASK, "mask_size|-90|90", SOLVE(.mask = mask, .mask_size = -90));
    EXPECT(MASK, "mask|NULL|mask_size|90", SOLVE(.mask_size = 90));
    mask[89] = 2;
    EXPECT(MASK, "mask|2|89", SOLVE(.mask = mask, .mask_size = 90));
    mask[89] = 1;
    EXPECT(ACTIVATION, "activation is 1|NONE|mask", conv2d_solve(&relu, NULL, weights, bias, y, x, NULL));
    EXPECT(FLAG, "accumulate|1", conv2d_solve(&adding, NULL, weights, bias, y, x, NULL));
    EXPECT(STRIDE, "stride_height|-1", conv2d_solve(&bad_stride, NULL, weights, bias, y, x, NULL));
    EXPECT(ELEMENT_STRIDES, "input_strides", conv2d_solve(&shared, NULL, weights, bias, y, x, NULL));
    EXPECT(OUT_OF_MEMORY, "memory", conv2d_solve(&huge, NULL, weights, bias, y, x, NULL));
    result.known.struct_size = sizeof result.known - 1;
    EXPECT(STRUCT_SIZE, "struct_size|conv2d_solve_result", SOLVE(.lambda = 1));
    result.known.struct_size = 0;
    EXPECT(STRUCT_SIZE, "struct_size|0|conv2d_solve_result", SOLVE(.lambda = 1));
    result.known.struct_size = SIZE_MAX / 2;
    EXPECT(STRUCT_SIZE, "struct_size|conv2d_solve_result", SOLVE(.lambda = 1));
    CHECK(result.known.iterations == 0 && result.known.residual_norm == 0 && result.known.outcome == 0);

    /* The caller's struct may be a later one, of which the library knows the beginning. */
    result.known.struct_size = sizeof result;
    prepare();
    CHECK(SOLVE(.lambda = 1, .mask = mask, .mask_size = 90) == CONVOLUTION_OK);
    CHECK(result.known.outcome == CONV2D_SOLVE_CONVERGED && result.known.iterations > 0 && result.known.residual_norm > 0);
    CHECK(result.known.struct_size == sizeof result && result.more[0] == -5 && result.more[1] == -6);
    CHECK(untouched(output.bytes + 120 * sizeof(float), sizeof output.bytes - 120 * sizeof(float)));
    int64_t called = 0;
    CHECK(SOLVE(.progress = stop_at_once, .context = &called) == CONVOLUTION_OK);
    CHECK(called == 1 && result.known.outcome == CONV2D_SOLVE_STOPPED && result.known.iterations == 1);
    CHECK(SOLVE(.max_iterations = 2) == CONVOLUTION_OK && result.known.outcome == CONV2D_SOLVE_ITERATION_LIMIT);
    /* start may be input itself: going on from there is not going back. */
    double before = result.known.residual_norm;
    CHECK(SOLVE(.max_iterations = 1, .start = x) == CONVOLUTION_OK && result.known.residual_norm < before);
    CHECK(conv2d_solve(&good, NULL, weights, NULL, y, x, NULL) == CONVOLUTION_OK);

    EXPECT(NULL_POINTER, "params|NULL", conv2d_rank_report(NULL, weights, &rank));
    EXPECT(NULL_POINTER, "report|NULL", conv2d_rank_report(&good, weights, NULL));
    EXPECT(STRIDE, "stride_height|-1", conv2d_rank_report(&bad_stride, weights, &rank));
    EXPECT(UNSUPPORTED, "padding_value|2.5", conv2d_rank_report(&constant, weights, &rank));
    rank.struct_size--;
    EXPECT(STRUCT_SIZE, "struct_size|conv2d_rank", conv2d_rank_report(&good, weights, &rank));
    CHECK(rank.equations == -1);
    rank.struct_size++;
    CHECK(conv2d_rank_report(&good, NULL, &rank) == CONVOLUTION_OK && rank.exact == 0 && rank.rank == 0 && rank.rank_bound == 90);
    CHECK(conv2d_rank_report(&good, weights, &rank) == CONVOLUTION_OK && rank.exact == 1 && rank.rank > 0);
    CHECK(rank.equations == 90 && rank.unknowns == 120 && rank.condition >= 1);
#undef SOLVE
}

static void constants_and_names(void) {
    int32_t value = 12345;
    EXPECT(NULL_POINTER, "name|NULL", convolution_constant(NULL, &value));
    EXPECT(NULL_POINTER, "value|NULL", convolution_constant("CONVOLUTION_OK", NULL));
    EXPECT(NAME, "name|CONVOLUTION_NONSENSE", convolution_constant("CONVOLUTION_NONSENSE", &value));
    EXPECT(NAME, "name", convolution_constant("", &value));
    EXPECT(NAME, "convolution_padding_same", convolution_constant("convolution_padding_same", &value));
    EXPECT(NAME, "CONVOLUTION_PADDING_SAM", convolution_constant("CONVOLUTION_PADDING_SAM", &value));
    EXPECT(NAME, "CONVOLUTION_PADDING_SAME ", convolution_constant("CONVOLUTION_PADDING_SAME ", &value));
    CHECK(value == 12345);
    CHECK(convolution_constant("CONVOLUTION_PADDING_SAME", &value) == CONVOLUTION_OK && value == 1);
    CHECK(convolution_constant("CONVOLUTION_ERROR_NAME", &value) == CONVOLUTION_OK && value == CONVOLUTION_ERROR_NAME);

    CHECK(strcmp(convolution_status_name(CONVOLUTION_OK), "CONVOLUTION_OK") == 0);
    CHECK(strcmp(convolution_status_name(CONVOLUTION_ERROR_STRIDE), "CONVOLUTION_ERROR_STRIDE") == 0);
    const int32_t unknown[] = { -1, 900, 1000, INT32_MAX, INT32_MIN };
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        CHECK(strcmp(convolution_status_name(unknown[i]), "CONVOLUTION_ERROR_UNKNOWN") == 0);

    /* A call that succeeds leaves the text of the last failure as it is. */
    EXPECT(NAME, "earlier", convolution_constant("earlier", &value));
    CHECK(convolution_constant("CONVOLUTION_NCHW", &value) == CONVOLUTION_OK && value == 1);
    CHECK(strstr(convolution_error_message(), "earlier") != NULL);
}

static void tiers(void) {
    CHECK(convolution_isa_name(-1) == NULL);
    CHECK(convolution_isa_name(INT32_MIN) == NULL);
    CHECK(convolution_isa_name(INT32_MAX) == NULL);
    CHECK(convolution_isa_name(0) != NULL && strcmp(convolution_isa_name(0), "baseline") == 0);
    CHECK(convolution_isa_supported("baseline") == 1);
    CHECK(convolution_isa_supported(NULL) == 0);
    CHECK(convolution_isa_supported("") == 0);
    CHECK(convolution_isa_supported("Baseline") == 0);
    CHECK(convolution_isa() != NULL && convolution_isa_supported(convolution_isa()) == 1);
    for (int32_t i = 0; convolution_isa_name(i) != NULL; i++) {
        const char *name = convolution_isa_name(i);
        const conv2d_params c = { CONV2D, .isa = name };
        const conv2d_transpose_params t = { TRANSPOSE, .isa = name };
        const upsample2d_params u = { UPSAMPLE, FACTOR(2, 2), .isa = name };
        if (convolution_isa_supported(name)) {
            CHECK(conv2d(&c, input, kernel, bias, output.bytes) == CONVOLUTION_OK);
            CHECK(conv2d_transpose(&t, input, kernel, bias, output.bytes) == CONVOLUTION_OK);
            CHECK(upsample2d(&u, input, output.bytes) == CONVOLUTION_OK);
        } else {
            EXPECT(ISA, name, conv2d(&c, input, kernel, bias, output.bytes));
            EXPECT(ISA, name, conv2d_transpose(&t, input, kernel, bias, output.bytes));
            EXPECT(ISA, name, upsample2d(&u, input, output.bytes));
        }
    }
}

/* A struct from a newer header is longer: accepted as long as the fields this library does not know are zero. */
static void longer_structs(void) {
    static union {
        unsigned char bytes[4096];
        conv2d_params c;
        conv2d_transpose_params t;
        upsample2d_params u;
    } s;
    static const size_t extra[] = { 1, 4, 8, 64, 1000 };
    for (size_t i = 0; i < sizeof extra / sizeof *extra; i++) {
        memset(&s, 0, sizeof s);
        s.c = (conv2d_params){ CONV2D, .struct_size = sizeof(conv2d_params) + extra[i] };
        CHECK(conv2d(&s.c, input, kernel, bias, output.bytes) == CONVOLUTION_OK);
        s.bytes[sizeof(conv2d_params) + extra[i]] = 1;          /* just past the struct: nobody's business */
        CHECK(conv2d(&s.c, input, kernel, bias, output.bytes) == CONVOLUTION_OK);
        s.bytes[sizeof(conv2d_params) + extra[i] - 1] = 1;
        EXPECT(STRUCT_SIZE, "struct_size", conv2d(&s.c, input, kernel, bias, output.bytes));

        memset(&s, 0, sizeof s);
        s.t = (conv2d_transpose_params){ TRANSPOSE, .struct_size = sizeof(conv2d_transpose_params) + extra[i] };
        CHECK(conv2d_transpose(&s.t, input, kernel, bias, output.bytes) == CONVOLUTION_OK);
        s.bytes[sizeof(conv2d_transpose_params)] = 0x80;
        EXPECT(STRUCT_SIZE, "struct_size", conv2d_transpose(&s.t, input, kernel, bias, output.bytes));

        memset(&s, 0, sizeof s);
        s.u = (upsample2d_params){ UPSAMPLE, FACTOR(2, 2), .struct_size = sizeof(upsample2d_params) + extra[i] };
        CHECK(upsample2d(&s.u, input, output.bytes) == CONVOLUTION_OK);
        s.bytes[sizeof(upsample2d_params) + extra[i] / 2] = 1;
        EXPECT(STRUCT_SIZE, "struct_size", upsample2d(&s.u, input, output.bytes));
    }
    CHECK(conv2d_params_size() == sizeof(conv2d_params));
    CHECK(conv2d_transpose_params_size() == sizeof(conv2d_transpose_params));
    CHECK(upsample2d_params_size() == sizeof(upsample2d_params));
}

/* What a table of failures cannot show: the neighbours of these failures that are legal. */
static void legal_neighbours(void) {
#define SHAPE(n, a, b, c) (shape[0] == n && shape[1] == a && shape[2] == b && shape[3] == c)
    int64_t shape[4];
#define LEGAL(n, h, w, c, ...)                                                                     \
    do {                                                                                           \
        const conv2d_params p = { CONV2D, __VA_ARGS__ };                                           \
        prepare();                                                                                 \
        CHECK(conv2d_output_shape(&p, shape) == CONVOLUTION_OK && SHAPE(n, h, w, c));              \
        CHECK(conv2d(&p, input, kernel, bias, output.bytes) == CONVOLUTION_OK);                    \
        size_t bytes = (size_t)((n) * (h) * (w) * (c)) * sizeof(float);                            \
        CHECK(untouched(output.bytes + bytes, sizeof output.bytes - bytes));                       \
        CHECK(bytes == 0 || !untouched(output.bytes + bytes - sizeof(float), sizeof(float)));      \
    } while (0)
    LEGAL(1, 3, 5, 6, .threads = 1024);
    LEGAL(0, 3, 5, 6, .batch = 0);
    LEGAL(1, 3, 5, 6, .in_channels = 0);
    LEGAL(1, 3, 5, 0, .out_channels = 0);
    LEGAL(1, 0, 5, 6, .kernel_height = 6, .allow_empty_output = 1);
    LEGAL(1, 1, 1, 6, .stride_height = TWO_TO_THE(48), .stride_width = TWO_TO_THE(40));
    LEGAL(1, 3, 5, 6, .dilation_height = TWO_TO_THE(48), .kernel_height = 1, .height = 3);
    LEGAL(1, 1, 5, 6, .in_channels = 0, .height = TWO_TO_THE(40), .kernel_height = TWO_TO_THE(40));
    LEGAL(0, 3, 5, 6, .batch = 0, .width = TWO_TO_THE(40), .kernel_width = TWO_TO_THE(40) - 4, .in_channels = 1);
    LEGAL(1, 3, 5, 0, .in_channels = 0, .out_channels = 0, .groups = TWO_TO_THE(40));
    LEGAL(1, 11, 5, 6, .pad_top = 4, .pad_bottom = 4, EXPLICIT(REFLECT));
    LEGAL(1, 13, 5, 6, .pad_top = 5, .pad_bottom = 5, EXPLICIT(SYMMETRIC));
    LEGAL(1, 13, 5, 6, .pad_top = 5, .pad_bottom = 5, EXPLICIT(CIRCULAR));
    LEGAL(1, 18, 5, 6, .pad_top = 10, .pad_bottom = 5, EXPLICIT(REPLICATE));
    LEGAL(1, 1, 5, 6, .pad_top = -1, .pad_bottom = -1, EXPLICIT(CIRCULAR));
    LEGAL(1, 3, 5, 8, .depth_multiplier = 2, .out_channels = 0);
    LEGAL(1, 3, 5, 8, .depth_multiplier = 2, .out_channels = 8, .groups = 4);
    LEGAL(1, 3, 5, 0, .depth_multiplier = 2, .out_channels = 0, .in_channels = 0);
    LEGAL(1, 3, 5, 6, .activation = CONVOLUTION_ACTIVATION_CLAMP, .activation_min = -INFINITY, .activation_max = INFINITY);
    LEGAL(1, 3, 5, 6, .activation = CONVOLUTION_ACTIVATION_CLAMP, .activation_min = 2, .activation_max = 2);
    LEGAL(1, 5, 6, 6, .padding = CONVOLUTION_PADDING_SAME, .padding_mode = CONVOLUTION_PADDING_MODE_CONSTANT,
          .padding_value = NAN);
#undef LEGAL
}

/* Each 64-bit field alone at the ends of its range: no trap, the shape function and the call of one mind, and the text names the
 * field. Some are legal: a stride beyond the image gives one output, and the distance between images counts from two on. */
enum verb { CONV, CONV_TRANSPOSE, UPSAMPLING };
struct field {
    size_t offset;
    const char *name;
};

static int32_t verb_shape(enum verb verb, const void *params, int64_t *shape) {
    return verb == CONV ? conv2d_output_shape(params, shape)
         : verb == CONV_TRANSPOSE ? conv2d_transpose_output_shape(params, shape)
         : upsample2d_output_shape(params, shape);
}

static int32_t verb_call(enum verb verb, const void *params) {
    return verb == CONV ? conv2d(params, input, kernel, bias, output.bytes)
         : verb == CONV_TRANSPOSE ? conv2d_transpose(params, input, kernel, bias, output.bytes)
         : upsample2d(params, input, output.bytes);
}

static void extremes_of(enum verb verb, const void *base, size_t size, const struct field *fields, size_t count) {
    static const int64_t extremes[] = { INT64_MAX, INT64_MAX - 1, TWO_TO_THE(62), INT64_MIN, INT64_MIN + 1, -TWO_TO_THE(62) };
    static const char *const names[] = { "conv2d", "conv2d_transpose", "upsample2d" };
    union {
        char bytes[sizeof(conv2d_transpose_params) + sizeof(conv2d_params)];
        int64_t aligned;
    } p;
    for (size_t f = 0; f < count; f++)
        for (size_t e = 0; e < sizeof extremes / sizeof *extremes; e++) {
            char problem[900], name[40];
            int64_t shape[4];
            memcpy(&p, base, size);
            memcpy(p.bytes + fields[f].offset, &extremes[e], sizeof extremes[e]);
            prepare();
            snprintf(name, sizeof name, "%.*s", (int)strcspn(fields[f].name, "["), fields[f].name);
            snprintf(problem, sizeof problem, "%s: %s = %" PRId64 " is accepted", names[verb], fields[f].name, extremes[e]);
            int32_t shape_status = verb_shape(verb, &p, shape);
            if (shape_status == CONVOLUTION_OK && product(shape, 4) > sizeof output / sizeof(double)) {
                fail(__LINE__, problem);
                continue;
            }
            int32_t status = verb_call(verb, &p);
            const char *text = convolution_error_message();
            snprintf(problem, sizeof problem, "%s: %s = %" PRId64 ": shape says %s, call %s (%s)", names[verb], fields[f].name,
                     extremes[e], convolution_status_name(shape_status), convolution_status_name(status), text);
            int explained = strstr(text, name) != NULL && untouched(output.bytes, sizeof output);
            check(__LINE__, problem, status == shape_status && (status == CONVOLUTION_OK || explained));
        }
}

static void extreme_fields(void) {
#define STRIDE_FIELDS(F)                                                                \
    F(input_strides[0]), F(input_strides[1]), F(input_strides[2]), F(input_strides[3]), \
    F(output_strides[0]), F(output_strides[1]), F(output_strides[2]), F(output_strides[3])
#define LAYER_FIELDS(F)                                                                                                  \
    F(batch), F(height), F(width), F(in_channels), F(out_channels), F(kernel_height), F(kernel_width), F(stride_height), \
    F(stride_width), F(dilation_height), F(dilation_width), F(groups), F(depth_multiplier), F(pad_top), F(pad_bottom),   \
    F(pad_left), F(pad_right)
#define C(name) { offsetof(conv2d_params, name), #name }
#define T(name) { offsetof(conv2d_transpose_params, name), #name }
#define U(name) { offsetof(upsample2d_params, name), #name }
    static const struct field c_fields[] = { LAYER_FIELDS(C), STRIDE_FIELDS(C) };
    static const struct field t_fields[] = { LAYER_FIELDS(T), STRIDE_FIELDS(T), T(output_padding_height), T(output_padding_width),
                                             T(output_height), T(output_width) };
    static const struct field u_fields[] = { U(batch), U(height), U(width), U(channels), U(factor_height), U(factor_width),
                                             U(output_height), U(output_width), STRIDE_FIELDS(U) };
    const conv2d_params c = { CONV2D, EXPLICIT(ZEROS) };
    const conv2d_transpose_params t = { TRANSPOSE, PADDING(EXPLICIT), RULE(TORCH), .output_padding_given = 1 };
    const upsample2d_params u = { UPSAMPLE, FACTOR(2, 2) };
    line_now = __LINE__;
    extremes_of(CONV, &c, sizeof c, c_fields, sizeof c_fields / sizeof *c_fields);
    extremes_of(CONV_TRANSPOSE, &t, sizeof t, t_fields, sizeof t_fields / sizeof *t_fields);
    extremes_of(UPSAMPLING, &u, sizeof u, u_fields, sizeof u_fields / sizeof *u_fields);
}

/* struct_size may be nonsense while the struct ends right before unreadable memory: only what the size claims may be read, and
 * no claim beyond reason may be believed. */
static void sizes_before_an_unreadable_page(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (two == MAP_FAILED || mprotect(two + page, page, PROT_NONE) != 0) {
        fail(__LINE__, "no guard page");
        return;
    }
    int64_t shape[4];
    const size_t nonsense[] = { 0, 1, 8, 9, SIZE_MAX, SIZE_MAX / 2 + 1, (size_t)1 << 40, (size_t)1 << 31 };
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        memcpy(two + page - sizeof(size_t), &nonsense[i], sizeof(size_t)); /* nothing after struct_size can be read */
        void *lonely = two + page - sizeof(size_t);
        if (nonsense[i] <= sizeof(size_t)) {
            EXPECT(STRUCT_SIZE, "struct_size", conv2d_output_shape(lonely, shape));
            EXPECT(STRUCT_SIZE, "struct_size", conv2d_transpose_output_shape(lonely, shape));
            EXPECT(STRUCT_SIZE, "struct_size", upsample2d_output_shape(lonely, shape));
        }
        conv2d_params *c = (conv2d_params *)(void *)(two + page - sizeof *c);
        *c = (conv2d_params){ CONV2D, .struct_size = nonsense[i] };
        EXPECT(STRUCT_SIZE, "struct_size", conv2d_output_shape(c, shape));
        conv2d_transpose_params *t = (conv2d_transpose_params *)(void *)(two + page - sizeof *t);
        *t = (conv2d_transpose_params){ TRANSPOSE, .struct_size = nonsense[i] };
        EXPECT(STRUCT_SIZE, "struct_size", conv2d_transpose_output_shape(t, shape));
        upsample2d_params *u = (upsample2d_params *)(void *)(two + page - sizeof *u);
        *u = (upsample2d_params){ UPSAMPLE, FACTOR(2, 2), .struct_size = nonsense[i] };
        EXPECT(STRUCT_SIZE, "struct_size", upsample2d_output_shape(u, shape));
    }
    munmap(two, 2 * page);
}

int main(void) {
    signal(SIGSEGV, crashed);
    signal(SIGBUS, crashed);
    signal(SIGILL, crashed);
    signal(SIGTRAP, crashed);
    signal(SIGABRT, crashed);
    signal(SIGFPE, crashed);
    conv2d_table();
    transpose_table();
    upsample_table();
    upsampled_table();
    upsampled_pointers();
    overlap_counts();
    null_pointers();
    overlaps();
    matrices();
    solving();
    workspaces();
    constants_and_names();
    tiers();
    longer_structs();
    legal_neighbours();
    extreme_fields();
    sizes_before_an_unreadable_page();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
