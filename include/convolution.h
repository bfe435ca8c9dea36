/*
 * convolution.h - 2-D convolution, transposed convolution and upsampling in one small library.
 *
 * Three verbs:
 *
 *     conv2d             output = activation(input (*) kernel + bias)            Keras Conv2D, torch.nn.Conv2d
 *     conv2d_transpose   its adjoint, cut to the window of a named framework     Keras Conv2DTranspose, torch.nn.ConvTranspose2d
 *     upsample2d         resizing: nearest, linear, cubic, Lanczos, area         Keras UpSampling2D, torch.nn.Upsample
 *
 * Each verb takes one parameter struct. Set struct_size, set what you need, leave the rest zero: ZERO IS THE DEFAULT OF
 * EVERY OPTION (stride 0 means 1, dilation 0 means 1, groups 0 means 1, format 0 means channels last, ...). Sizes (batch,
 * height, width, channels, kernel) have no default: a batch of zero images is an empty batch, and allowed.
 *
 *     conv2d_params p = { .struct_size = sizeof p, .batch = 1, .height = 5, .width = 5, .in_channels = 1,
 *                         .out_channels = 2, .kernel_height = 3, .kernel_width = 3 };
 *     if (conv2d(&p, input, kernel, NULL, output) != CONVOLUTION_OK)
 *         puts(convolution_error_message());
 *
 * EVERY FUNCTION THAT CAN FAIL returns an int32_t status: CONVOLUTION_OK (0), or one of the codes below. Then
 * convolution_error_message() gives a sentence that names the parameter, its value and what is permitted. A call that fails
 * has written nothing to the output. No function prints, aborts or exits.
 *
 * ARRAYS hold float (dtype 0) or double (dtype 1). Only their own elements are touched: no spare bytes are read around them.
 * Alignment beyond the element's own is not needed. An array without elements may be NULL.
 *
 * THREADS: every function may be called from any thread at any time. A plan is read-only after creation, so many threads may
 * execute one plan at once. The library starts worker threads when it first needs them. After a call they watch for the next one
 * for 150 microseconds (up to two milliseconds where calls come with pauses of up to one), then sleep. They end with the process
 * or when the library is unloaded; a forked child starts its own. threads = 1, and layers too small to gain, use none.
 *
 * NUMBERS: let M = 2^-24 * (sum |x*w| + |bias|) for float, 2^-53 for double. An output element, before the activation, lies
 * within 8 M of the exact result wherever rounding errors are independent of each other, as they are in data that varies. Nearly
 * constant data under a nearly constant kernel can make them add up, at the very worst to (c + 2n/c + 2) M, where the n products
 * are added in chunks of c: c = 32 for n = 64, 128 for 576, 288 for 4608. (A plain sum: (n + 1) M.)
 * The bits of an output element depend on the layer's parameters and its data alone, on one instruction-set tier (see
 * convolution_isa): not on threads, batch size, data format, element strides, nor on plan or plain call. Bits may differ between
 * tiers and between releases of this library.
 *
 * NUMBERS IN A STRUCT beyond 2^48 (sizes, strides, dilations, pads) give OVERFLOW, and so do products of sizes that memory cannot
 * hold.
 *
 * ALL SIZES ARE int64_t, all options int32_t; there are no bit-fields and one callback, which may stay NULL
 * (conv2d_solve_params), so any foreign-function interface will do.
 * What is a macro or a constant here is a function too (convolution_constant, conv2d_params_size, ...).
 */
#ifndef CONVOLUTION_H
#define CONVOLUTION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------------------ version */

#define CONVOLUTION_VERSION_MAJOR 0
#define CONVOLUTION_VERSION_MINOR 7
#define CONVOLUTION_VERSION_PATCH 10

/* major * 10000 + minor * 100 + patch of the header you compile with. */
#define CONVOLUTION_VERSION \
    (CONVOLUTION_VERSION_MAJOR * 10000 + CONVOLUTION_VERSION_MINOR * 100 + CONVOLUTION_VERSION_PATCH)

/* The same number, of the library that is loaded. */
int32_t convolution_version(void);

/* ------------------------------------------------------------------------------------------------------------- status */

/* "Invalid" codes say that no version of this library will ever accept the call; UNSUPPORTED that this one does not yet. */
enum {
    CONVOLUTION_OK = 0,
    CONVOLUTION_ERROR_NULL_POINTER,    /* params, plan, a result pointer or an array that has elements is NULL              */
    CONVOLUTION_ERROR_STRUCT_SIZE,     /* struct_size is not a size this struct ever had, or its unknown tail is not zero   */
    CONVOLUTION_ERROR_DTYPE,           /* dtype                                                                             */
    CONVOLUTION_ERROR_DATA_FORMAT,     /* data_format                                                                       */
    CONVOLUTION_ERROR_KERNEL_FORMAT,   /* kernel_format                                                                     */
    CONVOLUTION_ERROR_FLAG,            /* a yes/no field is neither 0 nor 1                                                 */
    CONVOLUTION_ERROR_THREADS,         /* threads is negative or above 1024                                                 */
    CONVOLUTION_ERROR_ISA,             /* no tier of that name, or this processor lacks it                                  */
    CONVOLUTION_ERROR_IMAGE_SIZE,      /* batch, height or width                                                            */
    CONVOLUTION_ERROR_CHANNELS,        /* channels, in_channels, out_channels                                               */
    CONVOLUTION_ERROR_KERNEL_SIZE,     /* kernel_height, kernel_width                                                       */
    CONVOLUTION_ERROR_STRIDE,          /* stride_height, stride_width                                                       */
    CONVOLUTION_ERROR_DILATION,        /* dilation_height, dilation_width                                                   */
    CONVOLUTION_ERROR_GROUPS,          /* groups or depth_multiplier does not fit the channels                              */
    CONVOLUTION_ERROR_PADDING,         /* padding, or pad_* that this padding or mode cannot take                           */
    CONVOLUTION_ERROR_PADDING_MODE,    /* padding_mode, or a padding_value without its mode                                 */
    CONVOLUTION_ERROR_RULE,            /* rule, preset                                                                      */
    CONVOLUTION_ERROR_OUTPUT_PADDING,  /* output_padding_* outside the rule's range, or where the rule has none             */
    CONVOLUTION_ERROR_OUTPUT_SIZE,     /* output_* outside the rule's range                                                 */
    CONVOLUTION_ERROR_EMPTY_OUTPUT,    /* the output would have no rows or columns, and allow_empty_output is 0             */
    CONVOLUTION_ERROR_INTERPOLATION,   /* interpolation, or one that the preset, antialias or cubic_coefficient cannot take */
    CONVOLUTION_ERROR_COORDINATES,     /* coordinates, rounding, edge or roi, or one that this interpolation cannot take    */
    CONVOLUTION_ERROR_FACTOR,          /* factor_*, scale_*                                                                 */
    CONVOLUTION_ERROR_ACTIVATION,      /* activation, its numbers, or numbers that it does not read                         */
    CONVOLUTION_ERROR_ELEMENT_STRIDES, /* two elements of a result would share one place, or a stride is beyond +-2^48      */
    CONVOLUTION_ERROR_OVERLAP,         /* a gapless output overlaps a gapless argument (strided views are the caller's care)  */
    CONVOLUTION_ERROR_CAPACITY,        /* a caller's array is too short for the result                                      */
    CONVOLUTION_ERROR_NAME,            /* convolution_constant does not know the name                                       */
    CONVOLUTION_ERROR_OVERFLOW,        /* a product of sizes or element strides exceeds what memory can hold                */
    CONVOLUTION_ERROR_OUT_OF_MEMORY,   /* malloc said no                                                                    */
    CONVOLUTION_ERROR_UNSUPPORTED,     /* legal, but not built into this version                                            */
    CONVOLUTION_ERROR_ALGORITHM,       /* algorithm                                                                         */
    CONVOLUTION_ERROR_WORKSPACE,       /* workspace_limit is negative, or less than any way of computing the layer needs    */
    CONVOLUTION_ERROR_LAMBDA,          /* lambda is negative or not a number                                                */
    CONVOLUTION_ERROR_TOLERANCE,       /* tolerance is negative or not a number                                             */
    CONVOLUTION_ERROR_ITERATIONS,      /* max_iterations is negative                                                        */
    CONVOLUTION_ERROR_MASK             /* mask has another size than the output, or a byte of it is neither 0 nor 1         */
};

/* The name of a status code, such as "CONVOLUTION_ERROR_STRIDE"; for an unknown code "CONVOLUTION_ERROR_UNKNOWN". Never NULL. */
const char *convolution_status_name(int32_t status);

/* What went wrong in the last failing call of this thread, as one sentence; "" if none failed. Valid until the next failing
 * call of this thread. A call that succeeds leaves it as it is. Never NULL. */
const char *convolution_error_message(void);

/* --------------------------------------------------------------------------------------------------- option constants */

/* dtype: the type of every array of the call. */
enum { CONVOLUTION_FLOAT32 = 0, CONVOLUTION_FLOAT64 = 1 };

/* data_format: the order of the axes of input and output in memory, slowest first. */
enum {
    CONVOLUTION_NHWC = 0, /* Keras channels_last, TensorFlow */
    CONVOLUTION_NCHW = 1  /* Keras channels_first, PyTorch, ONNX */
};

/* kernel_format. I and O are the channels that the kernel itself counts: with G groups, conv2d has I = in_channels / G and O =
 * out_channels; conv2d_transpose has I = in_channels and O = out_channels / G. Both _KERAS formats and both _TORCH formats have
 * one number each, so a caller needs to know only where the kernel comes from.
 * A Keras depthwise kernel [height, width, channels, multiplier] is, byte for byte, HWIO with I = 1. */
enum {
    CONVOLUTION_KERNEL_KERAS = 0, /* conv2d: HWIO    conv2d_transpose: HWOI */
    CONVOLUTION_KERNEL_TORCH = 1, /* conv2d: OIHW    conv2d_transpose: IOHW */
    CONVOLUTION_KERNEL_HWIO = 0,
    CONVOLUTION_KERNEL_OIHW = 1,
    CONVOLUTION_KERNEL_HWOI = 0,
    CONVOLUTION_KERNEL_IOHW = 1
};

/* padding. ke = (kernel - 1) * dilation + 1 is the extent of the dilated kernel. For conv2d, per axis, with i the input length
 * and s the stride (A | B: A lines before the input, B after it):
 *
 *     VALID        0 | 0
 *     SAME         T/2 | T - T/2  with o = ceil(i/s), T = max((o-1)*s + ke - i, 0)      TensorFlow, Keras, ONNX SAME_UPPER
 *     SAME_LOWER   T - T/2 | T/2                                                        ONNX SAME_LOWER
 *     FULL         ke-1 | ke-1
 *     CAUSAL       ke-1 | 0
 *     EXPLICIT     pad_top | pad_bottom, pad_left | pad_right; negative numbers crop    PyTorch, ONNX pads
 *
 * PyTorch's padding='same' (stride 1 only) is SAME. What it means for conv2d_transpose stands there. */
enum {
    CONVOLUTION_PADDING_VALID = 0,
    CONVOLUTION_PADDING_SAME = 1,
    CONVOLUTION_PADDING_SAME_LOWER = 2,
    CONVOLUTION_PADDING_FULL = 3,
    CONVOLUTION_PADDING_CAUSAL = 4,
    CONVOLUTION_PADDING_EXPLICIT = 5
};

/* padding_mode: what stands outside the input. [1,2,3,4] padded by 2 on both sides:
 *
 *     ZEROS       0 0 | 1 2 3 4 | 0 0
 *     CONSTANT    v v | 1 2 3 4 | v v      v = padding_value
 *     REFLECT     3 2 | 1 2 3 4 | 3 2      NumPy, PyTorch reflect; OpenCV REFLECT_101; ndimage mirror.   pad <= length - 1
 *     SYMMETRIC   2 1 | 1 2 3 4 | 4 3      NumPy symmetric; OpenCV REFLECT; ndimage reflect.             pad <= length
 *     REPLICATE   1 1 | 1 2 3 4 | 4 4      NumPy edge; PyTorch replicate; ndimage nearest.               length >= 1
 *     CIRCULAR    3 4 | 1 2 3 4 | 1 2      NumPy, ndimage wrap; PyTorch circular.                        pad <= length
 *
 * Border values are found by index; no padded copy of the image is made, at most of the few rows at work (CIRCULAR: at most of
 * the image, for output rows that read both its ends). */
enum {
    CONVOLUTION_PADDING_MODE_ZEROS = 0,
    CONVOLUTION_PADDING_MODE_CONSTANT = 1,
    CONVOLUTION_PADDING_MODE_REFLECT = 2,
    CONVOLUTION_PADDING_MODE_SYMMETRIC = 3,
    CONVOLUTION_PADDING_MODE_REPLICATE = 4,
    CONVOLUTION_PADDING_MODE_CIRCULAR = 5
};

/* activation, applied to each output element z = sum + bias. NaN stays NaN in each. */
enum {
    CONVOLUTION_ACTIVATION_NONE = 0,
    CONVOLUTION_ACTIVATION_RELU = 1,       /* max(z, 0)                                                          */
    CONVOLUTION_ACTIVATION_RELU6 = 2,      /* min(max(z, 0), 6)                                                  */
    CONVOLUTION_ACTIVATION_CLAMP = 3,      /* min(max(z, activation_min), activation_max)                        */
    CONVOLUTION_ACTIVATION_LEAKY_RELU = 4, /* z >= 0 ? z : activation_alpha * z; activation_alpha 0 means 0.01   */
    CONVOLUTION_ACTIVATION_SIGMOID = 5,    /* 1 / (1 + exp(-z))                                                  */
    CONVOLUTION_ACTIVATION_TANH = 6        /* tanh(z)                                                            */
};

/* The value of any constant of this header by its name ("CONVOLUTION_PADDING_SAME"), for languages that cannot see an enum.
 * Fails with NULL_POINTER or NAME. */
int32_t convolution_constant(const char *name, int32_t *value);

/* -------------------------------------------------------------------------------------------- instruction-set tiers */

/* The kernels exist once per tier: "baseline" (x86-64: SSE2; arm64: NEON), "avx2" (AVX2 and FMA), "avx512" (AVX-512 F, BW, DQ,
 * VL). The best tier that this processor and its operating system support is chosen. Another one can be named in the field isa
 * of each params struct, or for all calls that name none in the environment variable CONVOLUTION_ISA (the first such call
 * decides). */

/* The tier that calls without a name use; NULL if CONVOLUTION_ISA names no usable tier (every such call then fails with ISA). */
const char *convolution_isa(void);

/* The name of tier number index (0, 1, ...: from the oldest to the newest) of this build, or NULL past the last. */
const char *convolution_isa_name(int32_t index);

/* 1 if this processor can run the tier of that name, 0 if it cannot or there is no such tier or name is NULL. */
int32_t convolution_isa_supported(const char *name);

/*
 * algorithm: what the caller permits. DEFAULT keeps the bound on rounding errors that stands above under NUMBERS.
 *
 * WINOGRAD permits Winograd's algorithm, which has fewer multiplications and larger errors. It is used for finite kernels where
 * one of the following holds (in an input gradient: of the adjoint layer); all other calls are those of the default, and
 * upsample2d_conv2d always is. What is said of the bits under NUMBERS holds for it too.
 *
 *   3x3 kernels of stride 1: conv2d, conv2d_transpose and their input gradients, with 16 to 1024 (double: 512) input channels and
 *     at least 16 output channels per group (with avx512 and several groups, of float: at least 32 of either), and at least 4
 *     rows and columns of output, times the dilation. This is F(4x4, 3x3), with a quarter of the multiplications: a tile is 4x4
 *     outputs, which lie a dilation apart, made from 6x6 inputs. Tiles start at output element [0][0]; with dilations d and e at
 *     [i][j] for each i < d and j < e.
 *   Strides of up to 4, other than 1x1: conv2d_transpose and the input gradient of conv2d, of float, with kernels of 2 to 3
 *     strides on each axis, no dilation, 64 to 1024 input channels and at least 64 output channels per group; where the outputs
 *     of a phase (every stride-th element) fill some 12 tiles, or 24 beside large kernels, and three eighths of the
 *     multiplications are saved. A tile is made from 4x4 inputs: 3 outputs of a phase along an axis where that has 2 taps, 2
 *     where it has 3. Whole tiles of 2x2 taps have 4 of 9 multiplications.
 *
 * With either
 *   - an error is relative to its whole tile, not to its own sum. With S the sum over input channels of the tile's largest |x|
 *     times the largest |w|: at most (89 + channels / 64) * 751 * 2^-24 * S (double: 2^-53); measured, never more than 50 *
 *     2^-24 * S. For data that varies alike everywhere that means, in units of the element's own M (normal and uniform numbers,
 *     16 to 1024 channels, zero padding): at most 25, root mean square 0.3 to 2; with strides 35, and 0.1 to 3; by default: 8,
 *     and 0.1 to 1.8. An element whose inputs are small beside its neighbours' can lose all its digits;
 *   - whole numbers do not give exact results;
 *   - NaN or infinity in the input reaches all outputs of the tiles that read it, as NaN or infinity, and none beyond. Finite
 *     numbers may do the same where sums come within a factor of 1000 of the largest number.
 *
 * Kernel gradients of float go by the same tiles, for 3x3 kernels of stride 1 with at least 16 channels on either side per group
 * and 4 rows and columns of output (of conv2d_transpose: of input), times the dilation, where these save enough: from some 9
 * tiles in all images on. The products of 6x6 inputs with 4x4 output gradients are added up over all tiles before they become
 * 3x3 sums. So
 *   - with S the sum over tiles of the tile's largest |input| times its largest |g|, an error is at most (100 + tiles / 64, at
 *     most 172) * 1096 * 2^-24 * S; measured, never more than 50 * 2^-24 * S. For data that varies alike everywhere, in units of
 *     2^-24 * sum |input * g| (normal and uniform numbers, 81 to 100000 pixels): at most 20, root mean square 0.1 to 2.1, less
 *     the more tiles; by default 8, and 0.02 to 1.4;
 *   - NaN or infinity in the input, or in g, reaches all that it reaches by default, as NaN or infinity, and at most the nine
 *     elements of each pair of channels that its own channel is one of.
 */
enum {
    CONVOLUTION_ALGORITHM_DEFAULT = 0,
    CONVOLUTION_ALGORITHM_WINOGRAD = 1
};

/* ------------------------------------------------------------------------------------------------------------- conv2d */

/*
 * Cross-correlation, which deep learning calls convolution. For NHWC and HWIO, with G groups, group g = oc / (out_channels/G) and
 * I = in_channels/G:
 *
 *   output[n][y][x][oc] = activation( bias[oc] + sum over a < kernel_height, b < kernel_width, c < I of
 *       input[n][y*stride_height + a*dilation_height - pad_top][x*stride_width + b*dilation_width - pad_left][g*I + c]
 *       * kernel[a][b][c][oc] )
 *
 * where input outside the image is what padding_mode says. Zeros outside are multiplied like any number, as the frameworks do:
 * an infinite weight over the border gives NaN. The output length per axis is o = floor((i + pads - ke) / stride) + 1.
 *
 * Fields, all of which may stay 0 unless marked "size":
 */
typedef struct conv2d_params {
    size_t struct_size;                    /* sizeof(conv2d_params)                                                         */
    int64_t batch;                         /* size: images, 0 or more                                                       */
    int64_t height, width;                 /* size: of one input image, 0 or more                                           */
    int64_t in_channels, out_channels;     /* size: 0 or more. With no input channels the output is the activated bias      */
    int64_t kernel_height, kernel_width;   /* size: 1 or more                                                               */
    int64_t stride_height, stride_width;   /* 1 or more; 0 means 1                                                          */
    int64_t dilation_height, dilation_width; /* 1 (dense) or more; 0 means 1. Strides and dilation may be combined          */
    int64_t groups;                        /* divides in_channels and out_channels; 0 means 1                               */
    int64_t depth_multiplier;              /* not 0: depthwise. groups = in_channels and out_channels = in_channels *       */
                                           /* depth_multiplier; those two fields may then be 0 or must agree                */
    int64_t pad_top, pad_bottom;           /* for padding EXPLICIT only; negative crops                                     */
    int64_t pad_left, pad_right;
    int64_t input_strides[4];              /* distances between neighbours along each axis of data_format, in its order, in */
    int64_t output_strides[4];             /* elements, within +-2^48; may be negative; the pointer is that of element      */
                                           /* [0][0][0][0]. 0 means packed: the next faster axis's stride times its length  */
                                           /* (the fastest: 1)                                                              */
    double padding_value;                  /* for padding_mode CONSTANT alone, else 0                                       */
    double activation_alpha;               /* for LEAKY_RELU alone, else 0; finite; 0 means 0.01                            */
    double activation_min, activation_max; /* for CLAMP alone, else 0; may be infinite                                      */
    const char *isa;                       /* tier by name; NULL: the best, or what CONVOLUTION_ISA says                     */
    int32_t dtype;                         /* CONVOLUTION_FLOAT32 or _FLOAT64                                               */
    int32_t data_format;                   /* CONVOLUTION_NHWC or _NCHW                                                     */
    int32_t kernel_format;                 /* CONVOLUTION_KERNEL_HWIO or _OIHW                                              */
    int32_t padding;                       /* CONVOLUTION_PADDING_*                                                         */
    int32_t padding_mode;                  /* CONVOLUTION_PADDING_MODE_*                                                    */
    int32_t flip_kernel;                   /* 1: true convolution, the kernel turned by 180 degrees                         */
    int32_t activation;                    /* CONVOLUTION_ACTIVATION_*                                                      */
    int32_t threads;                       /* 0: one per core; 1: only the caller's; at most 1024                           */
    int32_t allow_empty_output;            /* 1: a kernel beyond the padded image gives a size of 0 (TensorFlow, JAX), no   */
                                           /* error (Keras, PyTorch)                                                        */
    int32_t algorithm;                     /* CONVOLUTION_ALGORITHM_*                                                       */
    int64_t workspace_limit;               /* most bytes that one execution may allocate, see conv2d_workspace_size; 0: any  */
    int32_t accumulate;                    /* 1: output = activation(sum + bias + output), a residual or a running sum      */
    int32_t reserved;                      /* 0                                                                             */
} conv2d_params;

/* Opaque: a checked layer with its kernel and bias packed. */
typedef struct conv2d_plan conv2d_plan;

/* sizeof(conv2d_params) of the loaded library. */
size_t conv2d_params_size(void);

/* shape[0..3] = the output's sizes in the order of data_format. */
int32_t conv2d_output_shape(const conv2d_params *params, int64_t *shape);

/* The whole operation. bias: out_channels elements, or NULL for none. The output must not share elements with input, kernel or
 * bias: refused where both are gapless; strided views may interleave, so there it is the caller's care. */
int32_t conv2d(const conv2d_params *params, const void *input, const void *kernel, const void *bias, void *output);

/* The same in two steps, for a kernel that is used more than once: the plan keeps a packed copy of kernel and bias, neither
 * params nor kernel nor bias are needed any longer. On failure *plan is NULL. */
int32_t conv2d_plan_create(const conv2d_params *params, const void *kernel, const void *bias, conv2d_plan **plan);
int32_t conv2d_plan_execute(const conv2d_plan *plan, const void *input, void *output);

/* NULL is fine. */
void conv2d_plan_destroy(conv2d_plan *plan);

/* Memory in bytes: of a plan (the packed kernel and bias); of one execution beyond it, all its threads together (the least, if
 * that is more); and the least workspace_limit that this layer can be computed with. Any result pointer may be NULL. An execution stays within workspace_limit
 * by using fewer threads, and by working on less at a time, at some cost in speed; the bits of the result stay the same. A limit
 * below the least is refused with WORKSPACE, here and wherever the layer is to be computed. Without a limit a thread takes at
 * most 2 MiB, whatever the size of the image. More is taken where a single row of windows needs it, by CIRCULAR padding of rows
 * (up to the whole image), and by WINOGRAD (up to a third of the packed kernel, 13 MiB at most). An execution of up to 32 KiB may
 * have them on the caller's stack. The plain call holds both plan and workspace, or less. */
int32_t conv2d_workspace_size(const conv2d_params *params, int64_t *plan, int64_t *execution, int64_t *least);

/*
 * conv2d of one image as a matrix C: vec(output) = C * vec(input) + bias, and conv2d_transpose is its transpose.
 * vec() flattens one packed image in the order of data_format: (height, width, channel) for NHWC, (channel, height, width) for
 * NCHW. Row r stands for output element r, column c for input element c. batch, bias, activation and element strides play no
 * part. Padding modes that repeat input elements add their weights up; CONSTANT other than 0 is not linear and thus UNSUPPORTED.
 *
 * The sizes first; any result pointer may be NULL. nonzeros counts the stored entries of the sparse form: one for each pair that
 * a kernel element joins, also when that element is 0.
 */
int32_t conv2d_matrix_size(const conv2d_params *params, int64_t *rows, int64_t *columns, int64_t *nonzeros);

/* Dense, row-major: matrix[r * columns + c], `capacity` elements of dtype long (at least rows * columns). */
int32_t conv2d_matrix(const conv2d_params *params, const void *kernel, void *matrix, int64_t capacity);

/* Compressed sparse rows: the entries of row r are values[j] in column column_indices[j] for row_offsets[r] <= j <
 * row_offsets[r+1], columns ascending. row_offsets has rows + 1 elements; the other two have `capacity` (at least nonzeros). */
int32_t conv2d_matrix_csr(const conv2d_params *params, const void *kernel, int64_t *row_offsets, int64_t *column_indices,
                          void *values, int64_t capacity);

/*
 * GRADIENTS of conv2d. With the layer written as y = C * x + b (C as above, for each image), and g = output_gradient, the
 * derivatives of some number by the elements of y:
 *
 *     conv2d_backward_input    input_gradient = C' * g              the same sizes as the input
 *     conv2d_backward_kernel   kernel_gradient[a][b][c][o] = sum over images and output pixels y, x of
 *                                  padded input[y * stride + a * dilation][x * stride + b * dilation][c] * g[y][x][o]
 *     conv2d_backward_bias     bias_gradient[o] = sum over images and pixels of g[..., o]
 *
 * kernel_gradient has the kernel's shape and format (turned, if flip_kernel is 1), c and o counted within a group as there.
 *
 * params is the FORWARD layer's, unchanged: batch, height, width, channels and input_strides are those of the input and its
 * gradient, output_strides those of the output gradient, whose shape is conv2d_output_shape's; input_strides must not let two
 * elements share one place (ELEMENT_STRIDES). All options count, padding modes included: what a border repeats gets the border's
 * share too. Two fields have a meaning of their own: the activation plays no part (multiply g by its slope first), and accumulate
 * 1 adds to what the result holds. Padding CONSTANT passes nothing on to the input, like ZEROS; the kernel's gradient counts its
 * value as input.
 *
 * The input gradient is computed as a conv2d_transpose and keeps its bound on rounding errors (the last additions, of what a
 * border repeats, add one rounding each): only real products are added, an infinite weight meets no invented zero.
 * kernel_gradient lies within 8 * 2^-24 * sum |input * g| where rounding errors are independent (save with algorithm WINOGRAD),
 * bias_gradient within 8 * 2^-24 * sum |g| (2^-53 for double), however many pixels there are. Where padding meets a g that is not
 * finite, kernel elements that multiply the two may be NaN; and so may those that an input that is not finite would multiply with
 * what lies outside g, if there are no strides. Errors and overlaps are refused as in conv2d, and a call that fails
 * has written nothing. An empty batch or output gives zeros. The bits of a gradient depend on the layer, its data (all images,
 * for kernel and bias) and the tier alone.
 */
int32_t conv2d_backward_input(const conv2d_params *params, const void *output_gradient, const void *kernel, void *input_gradient);
int32_t conv2d_backward_kernel(const conv2d_params *params, const void *input, const void *output_gradient,
                               void *kernel_gradient);
int32_t conv2d_backward_bias(const conv2d_params *params, const void *output_gradient, void *bias_gradient);

/* conv2d_backward_input in two steps, as for conv2d_plan. */
typedef struct conv2d_backward_input_plan conv2d_backward_input_plan;
int32_t conv2d_backward_input_plan_create(const conv2d_params *params, const void *kernel, conv2d_backward_input_plan **plan);
int32_t conv2d_backward_input_plan_execute(const conv2d_backward_input_plan *plan, const void *output_gradient,
                                           void *input_gradient);
void conv2d_backward_input_plan_destroy(conv2d_backward_input_plan *plan);

/* conv2d_backward_kernel in two steps, as for conv2d_plan, with the same bits. Both of its arrays are new with each execution:
 * the plan holds what the sizes decide alone, which is half of a call of some microseconds, and nothing of large layers. */
typedef struct conv2d_backward_kernel_plan conv2d_backward_kernel_plan;
int32_t conv2d_backward_kernel_plan_create(const conv2d_params *params, conv2d_backward_kernel_plan **plan);
int32_t conv2d_backward_kernel_plan_execute(const conv2d_backward_kernel_plan *plan, const void *input,
                                            const void *output_gradient, void *kernel_gradient);
void conv2d_backward_kernel_plan_destroy(conv2d_backward_kernel_plan *plan);

/* result = C' * (C * input) for each image, of the input's shape and strides (the Gram product, the normal equations' left side);
 * the activation plays no part, accumulate 1 adds to what the result holds. CONSTANT other than 0 is UNSUPPORTED
 * here and below. */
int32_t conv2d_gram(const conv2d_params *params, const void *kernel, const void *input, void *result);

/* *relative_error = |<C x, y> - <x, C' y>| / (|C x| |y|) for packed x and y of numbers from -1 to 1 made from the seed, C * x by
 * conv2d and C' * y by conv2d_backward_input: some 1e-16 for double, 1e-8 for float. 0 where there is nothing to compare. */
int32_t conv2d_adjoint_test(const conv2d_params *params, const void *kernel, uint64_t seed, double *relative_error);

/* -------------------------------------------------------------------------------------- conv2d as an equation to solve */

/*
 * The way back: input from output. Of each image by itself, with y = output, x = input and conv2d(x) = A x + b, b being bias and
 * constant padding,
 *
 *     minimise |A x + b - y|^2 + lambda^2 |x|^2         (lambda^2, so that lambda compares with the singular values of A)
 *
 * by conjugate gradients on the normal equations (CGLS), in double whatever the dtype. Without lambda, start and nonnegative the
 * result is, of all images that come nearest to y, the smallest. That is the image which y was made from only if A has full
 * column rank: conv2d_rank_report says so before. What noise in y does to x grows with the iterations and shrinks with lambda: a
 * small lambda or a small max_iterations is part of the answer wherever y is not exact.
 *
 * params are those of the conv2d that made y: height and width are the size of the image that is sought, input_strides say how it
 * is to be written. activation must be NONE and accumulate 0; workspace_limit and algorithm play no part. (Behind a RELU, mask
 * the elements of y that are 0.)
 */
enum {
    CONV2D_SOLVE_CONVERGED = 0,       /* normal_residual has fallen to tolerance times what it was at x = 0                 */
    CONV2D_SOLVE_STAGNATED = 1,       /* it will not: rounding errors, or data that are not finite, stand against it        */
    CONV2D_SOLVE_ITERATION_LIMIT = 2, /* max_iterations are done                                                            */
    CONV2D_SOLVE_STOPPED = 3          /* progress said stop                                                                 */
};

/* What the callback is shown after each iteration. The pointer is valid during the call. */
typedef struct conv2d_solve_progress {
    size_t struct_size;
    int64_t image;                    /* index in the batch; the images are solved one after another                        */
    int64_t iteration;                /* 1 or more                                                                          */
    double residual_norm;             /* as in conv2d_solve_result, of this image                                           */
    double normal_residual;
    const double *input;              /* x: one packed image in the order of data_format                                    */
} conv2d_solve_progress;

/* Fields, all of which may stay 0: */
typedef struct conv2d_solve_params {
    size_t struct_size;               /* sizeof(conv2d_solve_params)                                                        */
    double lambda;                    /* damping, 0 or more                                                                 */
    double tolerance;                 /* see CONVERGED; 0 means 1e-12                                                       */
    int64_t max_iterations;           /* for each image; 0 means 1000                                                       */
    const void *start;                /* where to begin, laid out as input, or NULL: zeros. May be input itself             */
    const uint8_t *mask;              /* one byte for each element of the packed output, in the order of data_format: 1 if  */
                                      /* it is an equation, 0 if it is unknown (it may then be NaN). NULL: all are known    */
    int64_t mask_size;                /* elements of mask, which must be all of the output's; 0 without a mask              */
    int32_t (*progress)(void *context, const conv2d_solve_progress *state); /* or NULL. 0: go on; any other number: stop    */
    void *context;                    /* for progress                                                                       */
    int32_t nonnegative;              /* 1: minimise over images without negative elements                                  */
    int32_t reserved;                 /* 0                                                                                  */
} conv2d_solve_params;

/* Of a batch: the norms over all images, the largest of the images' iterations and outcomes. */
typedef struct conv2d_solve_result {
    size_t struct_size;               /* sizeof(conv2d_solve_result), set by the caller                                     */
    int64_t iterations;
    double residual_norm;             /* |A x + b - y| over what is known                                                   */
    double normal_residual;           /* |A'(A x + b - y) + lambda^2 x|; nonnegative: without what only the bound holds up  */
    int32_t outcome;                  /* CONV2D_SOLVE_*                                                                     */
    int32_t reserved;
} conv2d_solve_result;

size_t conv2d_solve_params_size(void);
size_t conv2d_solve_result_size(void);

/* All outcomes are CONVOLUTION_OK, and input is then the last x: none before it was nearer to the minimum. solve NULL: all
 * defaults. result may be NULL. input is written when all is done and may share memory with any argument. The same bits on one
 * tier for any number of threads, batch size, data format and element strides. With nonnegative, conjugate gradients on the
 * elements above 0, which gradient projection chooses. */
int32_t conv2d_solve(const conv2d_params *params, const conv2d_solve_params *solve, const void *kernel, const void *bias,
                     const void *output, void *input, conv2d_solve_result *result);

/* What can come back, of one image: equations and unknowns are the rows and columns of conv2d_matrix. */
typedef struct conv2d_rank {
    size_t struct_size;               /* sizeof(conv2d_rank), set by the caller                                             */
    int64_t equations, unknowns;
    int64_t rank_bound;               /* no kernel of these sizes gives a higher rank                                       */
    int64_t rank;                     /* singular values above max(equations, unknowns) * 2^-52 times the largest           */
    double largest_singular_value;
    double smallest_singular_value;   /* of those that rank counts                                                          */
    double condition;                 /* largest / smallest, 0 if rank is 0                                                 */
    int32_t exact;                    /* 1: rank and the fields after it are computed; 0: they are 0                        */
    int32_t reserved;
} conv2d_rank;

size_t conv2d_rank_size(void);

/* rank and singular values are computed if there is a kernel, it is finite, and equations * unknowns * min(equations, unknowns)
 * is at most 2^26 (400 x 400; about a second). kernel NULL: sizes alone. Fails where conv2d_matrix would. */
int32_t conv2d_rank_report(const conv2d_params *params, const void *kernel, conv2d_rank *report);

/* --------------------------------------------------------------------------------------------------- conv2d_transpose */

/*
 * The adjoint of conv2d. Per axis, with i input length, k kernel, d dilation, s stride, ke = (k-1)*d + 1, the natural result has
 * F = (i-1)*s + ke elements: every input element times the kernel, added up:
 *
 *     full[t] = sum over j, a with j*s + a*d = t of input[j] * kernel[a]
 *
 * and every framework's result is a window of it, extended by zeros outside:
 *
 *     output[t] = activation( bias + full[t + c] ),  t = 0 ... o-1
 *
 * The rule says what o and c are. op = output_padding (None: output_padding_given is 0):
 *
 *   rule           padding       o                                              c
 *   KERAS          VALID         None: (i-1)*s + max(ke, s); op: F + op          0             op < s
 *   KERAS          SAME          None: i*s; op: (i-1)*s + ke mod 2 + op          max(F-o,0)/2  op < s
 *   KERAS          with output_*: o as given, ceil(o/s) = i (SAME) or ceil((o-ke+1)/s) = i (VALID): tf.nn.conv2d_transpose
 *   TORCH          EXPLICIT      F - pad_before - pad_after + op                 pad_before    op < max(s, d)
 *   TORCH          with output_*: o as given, from F - pads to F - pads + s - 1
 *   ONNX           EXPLICIT      F - pad_before - pad_after + op                 pad_before    op < max(s, d)
 *   ONNX           VALID         F + op                                         0
 *   ONNX           SAME          i*s, or output_*                               T/2           T = max(F + op - o, 0)
 *   ONNX           SAME_LOWER    i*s, or output_*                               T - T/2       (SAME is ONNX's SAME_UPPER)
 *   ONNX           EXPLICIT with output_*: o as given (pads are then ignored)   T - T/2
 *   JAX            VALID, SAME   as KERAS with None. lax.conv_transpose's default transpose_kernel=False: set flip_kernel
 *   WINDOW         EXPLICIT      F - pad_before - pad_after + op, or output_*    pad_before    any; negative pads extend
 *
 * TORCH, ONNX and WINDOW read padding VALID as EXPLICIT with what pad_* says (0: none), so their default needs no word. TORCH
 * takes equal pads on both sides of an axis; negative pads are for WINDOW alone. With no input (i = 0) the formulas hold: bias
 * alone. Only real products are added: an infinite weight meets no invented zero.
 * ONNX's SAME is the specification's. ONNX Runtime makes at most F + op elements of an axis by auto_pad, which is less where the
 * kernel is shorter than the stride: name the lesser of i*s and F + op in output_*.
 */
enum {
    CONV2D_TRANSPOSE_RULE_KERAS = 0, /* Keras, TensorFlow, TFLite */
    CONV2D_TRANSPOSE_RULE_TORCH = 1,
    CONV2D_TRANSPOSE_RULE_ONNX = 2,
    CONV2D_TRANSPOSE_RULE_JAX = 3,
    CONV2D_TRANSPOSE_RULE_WINDOW = 4
};

/* Fields as in conv2d_params unless said otherwise. */
typedef struct conv2d_transpose_params {
    size_t struct_size;                    /* sizeof(conv2d_transpose_params)                                               */
    int64_t batch;
    int64_t height, width;                 /* size: of one input image                                                      */
    int64_t in_channels, out_channels;     /* size: of this operation's own input and output                                */
    int64_t kernel_height, kernel_width;
    int64_t stride_height, stride_width;
    int64_t dilation_height, dilation_width;
    int64_t groups;
    int64_t depth_multiplier;
    int64_t pad_top, pad_bottom;           /* what is cut off the natural result (PyTorch's padding, ONNX pads); negative    */
    int64_t pad_left, pad_right;           /* numbers extend it, with rule WINDOW                                           */
    int64_t output_padding_height, output_padding_width; /* read if output_padding_given is 1                               */
    int64_t output_height, output_width;   /* the wanted output size; 0: by the rule. Both or none                           */
    int64_t input_strides[4];
    int64_t output_strides[4];
    double activation_alpha;
    double activation_min, activation_max;
    const char *isa;
    int32_t dtype;
    int32_t data_format;
    int32_t kernel_format;                 /* CONVOLUTION_KERNEL_HWOI or _IOHW                                              */
    int32_t rule;                          /* CONV2D_TRANSPOSE_RULE_*                                                       */
    int32_t padding;                       /* VALID, SAME, SAME_LOWER or EXPLICIT, as the rule permits                      */
    int32_t output_padding_given;          /* 0: None, which for Keras is not the same as output_padding 0                  */
    int32_t flip_kernel;                   /* 1: the kernel turned by 180 degrees (JAX's transpose_kernel=False)            */
    int32_t activation;
    int32_t threads;
    int32_t allow_empty_output;
    int64_t workspace_limit;
    int32_t algorithm;
    int32_t accumulate;
} conv2d_transpose_params;

typedef struct conv2d_transpose_plan conv2d_transpose_plan;

size_t conv2d_transpose_params_size(void);
int32_t conv2d_transpose_output_shape(const conv2d_transpose_params *params, int64_t *shape);
int32_t conv2d_transpose(const conv2d_transpose_params *params, const void *input, const void *kernel, const void *bias,
                         void *output);
int32_t conv2d_transpose_plan_create(const conv2d_transpose_params *params, const void *kernel, const void *bias,
                                     conv2d_transpose_plan **plan);
int32_t conv2d_transpose_plan_execute(const conv2d_transpose_plan *plan, const void *input, void *output);
void conv2d_transpose_plan_destroy(conv2d_transpose_plan *plan);

/* As for conv2d. Where accumulate is 1 and a kernel element is infinite or NaN, an execution copies the output's border besides;
 * the sizes told here do not know of it, but workspace_limit is kept, or refused with the sentence that says how much
 * is needed. */
int32_t conv2d_transpose_workspace_size(const conv2d_transpose_params *params, int64_t *plan, int64_t *execution, int64_t *least);

/* Gradients, as for conv2d: params is the forward layer's. The input gradient is computed as the conv2d that reads the output's
 * window with stride and dilation of the layer; elements of the natural result that the window does not show count as zeros. */
int32_t conv2d_transpose_backward_input(const conv2d_transpose_params *params, const void *output_gradient, const void *kernel,
                                        void *input_gradient);
int32_t conv2d_transpose_backward_kernel(const conv2d_transpose_params *params, const void *input, const void *output_gradient,
                                         void *kernel_gradient);
int32_t conv2d_transpose_backward_bias(const conv2d_transpose_params *params, const void *output_gradient, void *bias_gradient);

typedef struct conv2d_transpose_backward_input_plan conv2d_transpose_backward_input_plan;
int32_t conv2d_transpose_backward_input_plan_create(const conv2d_transpose_params *params, const void *kernel,
                                                    conv2d_transpose_backward_input_plan **plan);
int32_t conv2d_transpose_backward_input_plan_execute(const conv2d_transpose_backward_input_plan *plan,
                                                     const void *output_gradient, void *input_gradient);
void conv2d_transpose_backward_input_plan_destroy(conv2d_transpose_backward_input_plan *plan);

typedef struct conv2d_transpose_backward_kernel_plan conv2d_transpose_backward_kernel_plan;
int32_t conv2d_transpose_backward_kernel_plan_create(const conv2d_transpose_params *params,
                                                     conv2d_transpose_backward_kernel_plan **plan);
int32_t conv2d_transpose_backward_kernel_plan_execute(const conv2d_transpose_backward_kernel_plan *plan, const void *input,
                                                      const void *output_gradient, void *kernel_gradient);
void conv2d_transpose_backward_kernel_plan_destroy(conv2d_transpose_backward_kernel_plan *plan);

/* The layer as an operator, as for conv2d. The matrix is the transpose of a conv2d's. */
int32_t conv2d_transpose_matrix_size(const conv2d_transpose_params *params, int64_t *rows, int64_t *columns, int64_t *nonzeros);
int32_t conv2d_transpose_matrix(const conv2d_transpose_params *params, const void *kernel, void *matrix, int64_t capacity);
int32_t conv2d_transpose_matrix_csr(const conv2d_transpose_params *params, const void *kernel, int64_t *row_offsets,
                                    int64_t *column_indices, void *values, int64_t capacity);
int32_t conv2d_transpose_gram(const conv2d_transpose_params *params, const void *kernel, const void *input, void *result);
int32_t conv2d_transpose_adjoint_test(const conv2d_transpose_params *params, const void *kernel, uint64_t seed,
                                      double *relative_error);

/*
 * The overlap of the layer, which shows where its output will be uneven: counts[y * output width + x] says how many pairs of an
 * input element and a kernel element reach output pixel (y, x), for each pair of channels that the groups join; output_height
 * times output_width elements, which `capacity` must hold. Inside, all are equal where the stride divides the kernel; else they
 * alternate, as on a checkerboard: kernel 3, stride 2 gives 1, 2, 1, 2, ... along each axis, so 1, 2, 4 in the plane.
 * upsample2d_conv2d is even.
 */
int32_t conv2d_transpose_overlap(const conv2d_transpose_params *params, int64_t *counts, int64_t capacity);

/* --------------------------------------------------------------------------------------------------------- upsample2d */

/*
 * Enlarges (or shrinks) each image. Say how large by one of
 *   factor_height, factor_width   whole numbers:      o = i * factor                              Keras UpSampling2D(size)
 *   output_height, output_width   the size itself:    r = i / o                                   Keras resize, torch size=
 *   scale_height, scale_width     any number > 0:     o = floor(i * scale), r = 1 / scale         torch scale_factor=
 * With factor or output, r = i / o is the step in the input per output element. One axis left 0 keeps its size. (The preset
 * OPENCV rounds i * scale to the nearest whole number, half to even; ONNX computes it in float32.) Output and scale together (not
 * with AREA): o is output, r = 1 / scale, whatever the other says. So do PyTorch's operators with both, and ONNX's
 * keep_aspect_ratio_policy: scale is the least (not_larger) or the largest (not_smaller) of sizes / i, output its product with i,
 * rounded.
 *
 * Output element t (per axis) lies at this place x of the input:
 *   HALF_PIXEL             (t + 0.5) * r - 0.5
 *   PYTORCH_HALF_PIXEL     the same, but 0 if o = 1
 *   HALF_PIXEL_SYMMETRIC   HALF_PIXEL plus (i - o*r) / 2: what a scale leaves over is cut off at both ends alike (ONNX, MLX)
 *   ALIGN_CORNERS          t * (i-1) / (o-1), 0 if o = 1. ONNX's reference evaluator puts i * scale, unrounded, for o: which is
 *                          ASYMMETRIC with output, and (i * scale - 1) / (i - 1) for the scale
 *   ASYMMETRIC             t * r
 *   TF_HALF_PIXEL_FOR_NN   (t + 0.5) * r, but t where the axis keeps its size (ONNX)
 *   TF_CROP_AND_RESIZE     start * (i-1) + t * r with r = (end - start) * (i-1) / (o-1), or 0.5 * (start + end) * (i-1) if o = 1:
 *                          a region of the image, with start and end from roi. Output elements that lie outside the image, on
 *                          either axis at x < 0 or x > i-1, are extrapolation_value (ONNX)
 *
 * and is the sum of the input elements j around it, each times a weight, along rows and then along columns:
 *   NEAREST     the one element that rounding x gives, at least 0 and at most i-1. The element itself is copied
 *   BILINEAR    max(1 - |x-j|, 0)
 *   BICUBIC     d = |x-j|: (a+2) d^3 - (a+3) d^2 + 1 up to 1, a d^3 - 5a d^2 + 8a d - 4a up to 2; a = cubic_coefficient
 *   LANCZOS3    d = |x-j|: sinc(d) * sinc(d/3) up to 3, with sinc(d) = sin(pi d) / (pi d); divided by the weights' sum
 *   LANCZOS5    the same with 5
 *   AREA        the mean of the input that output element t covers, from t * r to (t+1) * r
 *
 * antialias 1 stretches the kernels of the middle four by max(r, 1), with edge CLAMP by 2i at most, so that every input element
 * counts when an image shrinks, and divides by the weights' sum. Elements outside the image: edge CLAMP puts the border element
 * in their place, RENORMALISE leaves them out and divides by the sum of the others. Where output and scale lead so far outside
 * that none is left, it gives 0 (BILINEAR without antialias: the border element).
 *
 * NEAREST's rounding: PREFER_FLOOR rounds x to the nearest, half down, PREFER_CEIL half up; FLOOR and CEIL always down or up;
 * SIMPLE up where the axis shrinks, else down (OpenVINO; ONNX Resize of version 10, with ASYMMETRIC).
 *
 * TF_CROP_AND_RESIZE: roi may reach beyond the image, and a start after its end turns the image round. roi does not change the
 * size: with scale o = floor(i * scale), as ONNX Runtime has it. antialias stretches by |r|; with the preset ONNX by i / o or
 * 1 / scale. TensorFlow's crop_and_resize is one call for each box, with the preset KERAS: roi is the box, output the size of the
 * crop, input the image that the box's index names. In its float32 arithmetic the last row or column of a
 * box that ends at 1 may be rounded to lie outside:
 *
 *     upsample2d_params p = { .struct_size = sizeof p, .batch = 1, .height = 480, .width = 640, .channels = 3,
 *                             .output_height = 14, .output_width = 14, .preset = UPSAMPLE2D_PRESET_KERAS,
 *                             .interpolation = UPSAMPLE2D_BILINEAR, .coordinates = UPSAMPLE2D_COORDINATES_TF_CROP_AND_RESIZE,
 *                             .roi = { 0.25, 0.25, 0.75, 0.5 } };
 *
 * A crop to whole elements is a pointer and input_strides.
 *
 * The preset says what the fields that are 0 mean, and whose arithmetic computes x and the weights, down to the order of
 * operations:
 *
 *   preset        nearest                       a        edge (bicubic)   antialias: a, edge     has not
 *   0             as TORCH                      -0.75    CLAMP            -0.75 RENORMALISE
 *   KERAS         HALF_PIXEL PREFER_CEIL        -0.5     RENORMALISE      -0.5 RENORMALISE
 *   KERAS_JAX     HALF_PIXEL PREFER_CEIL        -0.5     RENORMALISE      -0.5 RENORMALISE       AREA
 *   TORCH         ASYMMETRIC FLOOR              -0.75    CLAMP            -0.5 RENORMALISE       LANCZOS
 *   TORCH_EXACT   HALF_PIXEL PREFER_CEIL        -0.75    CLAMP            -0.5 RENORMALISE       LANCZOS
 *   ONNX          HALF_PIXEL PREFER_FLOOR       -0.75    CLAMP            -0.75 CLAMP            LANCZOS, AREA
 *   OPENCV        ASYMMETRIC FLOOR              -0.75    CLAMP                                   LANCZOS, antialias
 *
 * All else defaults to HALF_PIXEL coordinates, and LANCZOS to RENORMALISE. KERAS is Keras on TensorFlow, which rounds the place
 * of BICUBIC without antialias to 1/1024 of an element; KERAS_JAX is Keras on JAX, which does not. TORCH_EXACT is mode
 * "nearest-exact". The other fields may say anything else that the formulas above allow. TensorFlow's gaussian and mitchellcubic,
 * which Keras does not offer, are not here.
 * With preset 0, nearest of ASYMMETRIC and TF_HALF_PIXEL_FOR_NN rounds FLOOR, of other coordinates PREFER_CEIL: TensorFlow 1 and
 * PyTorch nearest-exact. AREA: PyTorch takes the mean of all elements that t touches (adaptive pooling); OpenCV, if either axis
 * grows, interpolates instead.
 *
 * NUMBERS: x and the weights are rounded in float32, as the frameworks do, for float64 data too; with preset 0, TORCH and
 * TORCH_EXACT in the data's type, except for NEAREST; with OPENCV weights in float64. So nearest can pick the element below the
 * one that exact arithmetic would (2 to 82 elements, t = 41: element 0). With factor_*, nearest is exact repetition (HALF_PIXEL
 * with PREFER_FLOOR or PREFER_CEIL, ASYMMETRIC with FLOOR). With preset 0 and TORCH, ASYMMETRIC nearest to the same and to twice
 * the size is exact too, and HALF_PIXEL bilinear to the same size copies, whatever the scale. But with TORCH and TORCH_EXACT, and
 * more than 128 rows and columns of output together, NEAREST goes by its formula alone, in the data's type, whose result is
 * rounded to float32 before it is rounded down. All as in PyTorch, which has two kernels.
 * A weight of 0 is multiplied like any number: beside an infinite element it gives NaN.
 * Known to differ from the framework, by the rounding of places (1e-5 of an element at small sizes, 1e-4 near a thousand):
 * KERAS_JAX where JAX's compiler does not fuse the multiply-add; OPENCV for images of one or two rows or columns; TORCH bilinear,
 * and by whole elements nearest, of channels_last tensors of more than three channels with an output of more than 128 rows and
 * columns together. Not followed: PyTorch 2.15's antialias to a single column, which repeats the first row.
 */
enum {
    UPSAMPLE2D_NEAREST = 0,
    UPSAMPLE2D_BILINEAR = 1,
    UPSAMPLE2D_BICUBIC = 2,
    UPSAMPLE2D_LANCZOS3 = 3,
    UPSAMPLE2D_LANCZOS5 = 4,
    UPSAMPLE2D_AREA = 5
};
enum {
    UPSAMPLE2D_COORDINATES_DEFAULT = 0, /* NEAREST: by the preset; others: HALF_PIXEL */
    UPSAMPLE2D_COORDINATES_HALF_PIXEL = 1,
    UPSAMPLE2D_COORDINATES_ALIGN_CORNERS = 2,
    UPSAMPLE2D_COORDINATES_ASYMMETRIC = 3,
    UPSAMPLE2D_COORDINATES_PYTORCH_HALF_PIXEL = 4,
    UPSAMPLE2D_COORDINATES_HALF_PIXEL_SYMMETRIC = 5,
    UPSAMPLE2D_COORDINATES_TF_CROP_AND_RESIZE = 6, /* needs roi */
    UPSAMPLE2D_COORDINATES_TF_HALF_PIXEL_FOR_NN = 7
};
enum {
    UPSAMPLE2D_PRESET_NONE = 0,
    UPSAMPLE2D_PRESET_KERAS = 1,
    UPSAMPLE2D_PRESET_KERAS_JAX = 2,
    UPSAMPLE2D_PRESET_TORCH = 3,
    UPSAMPLE2D_PRESET_TORCH_EXACT = 4,
    UPSAMPLE2D_PRESET_ONNX = 5,
    UPSAMPLE2D_PRESET_OPENCV = 6
};
enum {
    UPSAMPLE2D_ROUNDING_DEFAULT = 0,
    UPSAMPLE2D_ROUNDING_PREFER_FLOOR = 1, /* ONNX round_prefer_floor */
    UPSAMPLE2D_ROUNDING_PREFER_CEIL = 2,  /* ONNX round_prefer_ceil  */
    UPSAMPLE2D_ROUNDING_FLOOR = 3,
    UPSAMPLE2D_ROUNDING_CEIL = 4,
    UPSAMPLE2D_ROUNDING_SIMPLE = 5
};
enum {
    UPSAMPLE2D_EDGE_DEFAULT = 0,
    UPSAMPLE2D_EDGE_CLAMP = 1,
    UPSAMPLE2D_EDGE_RENORMALISE = 2 /* ONNX exclude_outside = 1 */
};

/* Fields as in conv2d_params unless said otherwise. */
typedef struct upsample2d_params {
    size_t struct_size;                    /* sizeof(upsample2d_params)                                                     */
    int64_t batch;
    int64_t height, width;                 /* size: 1 or more                                                               */
    int64_t channels;
    int64_t factor_height, factor_width;
    int64_t output_height, output_width;
    int64_t input_strides[4];
    int64_t output_strides[4];
    double scale_height, scale_width;
    double cubic_coefficient;              /* for BICUBIC; finite; 0: by the preset                                         */
    const char *isa;
    int32_t dtype;
    int32_t data_format;
    int32_t interpolation;                 /* UPSAMPLE2D_*                                                                  */
    int32_t coordinates;                   /* UPSAMPLE2D_COORDINATES_*                                                      */
    int32_t antialias;                     /* 1: the kernel is stretched where the image shrinks. Not with NEAREST, AREA    */
                                           /* (the KERAS presets ignore it there, as Keras does)                            */
    int32_t threads;
    int32_t preset;                        /* UPSAMPLE2D_PRESET_*. The first release's struct ended before this field,      */
                                           /* later ones' before roi, and those sizes are accepted                          */
    int32_t rounding;                      /* UPSAMPLE2D_ROUNDING_*, for NEAREST                                            */
    int32_t edge;                          /* UPSAMPLE2D_EDGE_*, for BILINEAR, BICUBIC, LANCZOS                             */
    int32_t accumulate;                    /* 1: adds to what the output holds; upsample2d_backward and _gram to their      */
                                           /* result                                                                        */
    double roi[4];                         /* TF_CROP_AND_RESIZE: start of rows and columns, then end of rows and columns;  */
                                           /* 0 is the first row or column, 1 the last. From -2^48 to 2^48. All 0 is the    */
                                           /* first element, not the image                                                  */
    double extrapolation_value;            /* for what TF_CROP_AND_RESIZE finds outside the image; any number               */
} upsample2d_params;

typedef struct upsample2d_plan upsample2d_plan;

size_t upsample2d_params_size(void);
int32_t upsample2d_output_shape(const upsample2d_params *params, int64_t *shape);
int32_t upsample2d(const upsample2d_params *params, const void *input, void *output);
int32_t upsample2d_plan_create(const upsample2d_params *params, upsample2d_plan **plan);
int32_t upsample2d_plan_execute(const upsample2d_plan *plan, const void *input, void *output);
void upsample2d_plan_destroy(upsample2d_plan *plan);

/* The adjoint, in every interpolation: input_gradient[i] = sum over the output elements t that element i contributes to of its
 * weight in t times output_gradient[t]. params is the forward call's, input_strides those of the input gradient, where no two
 * elements may share one place (ELEMENT_STRIDES); rows are added up first, then columns, in ascending order. Output elements
 * outside the image, which are extrapolation_value, contribute to nothing. A weight of 0 is multiplied like any number here too:
 * beside an infinite element of the gradient there may be NaN. */
int32_t upsample2d_backward(const upsample2d_params *params, const void *output_gradient, void *input_gradient);

/* upsample2d_backward in two steps: the plan keeps which output elements each input element contributes to, and their weights. */
typedef struct upsample2d_backward_plan upsample2d_backward_plan;
int32_t upsample2d_backward_plan_create(const upsample2d_params *params, upsample2d_backward_plan **plan);
int32_t upsample2d_backward_plan_execute(const upsample2d_backward_plan *plan, const void *output_gradient, void *input_gradient);
void upsample2d_backward_plan_destroy(upsample2d_backward_plan *plan);

/* The upsampling of one image as an operator, as for conv2d: an entry for each input element with a weight in an output
 * element. extrapolation_value must be 0, or else the matrix, whose rows are zero there, would not be all of it (UNSUPPORTED). */
int32_t upsample2d_matrix_size(const upsample2d_params *params, int64_t *rows, int64_t *columns, int64_t *nonzeros);
int32_t upsample2d_matrix(const upsample2d_params *params, void *matrix, int64_t capacity);
int32_t upsample2d_matrix_csr(const upsample2d_params *params, int64_t *row_offsets, int64_t *column_indices, void *values,
                              int64_t capacity);
int32_t upsample2d_gram(const upsample2d_params *params, const void *input, void *result);
int32_t upsample2d_adjoint_test(const upsample2d_params *params, uint64_t seed, double *relative_error);

/* -------------------------------------------------------------------------------------------- upsample2d and conv2d in one */

/*
 * conv2d of the image that upsample2d makes ("resize-convolution"), without that image: what an enlargement by conv2d_transpose
 * is best replaced with where its checkerboard shows.
 *
 *   upsampling    as for upsample2d, but output_strides and accumulate must be 0
 *   convolution   as for conv2d, but input_strides must be 0. batch, height, width and in_channels are those of the upsampled
 *                 image; each may be 0, which here means: whatever the upsampling makes
 *
 * dtype and data_format must agree, and so must threads and isa, unless one of the two is 0 or NULL and the other speaks for
 * both. kernel, bias and output are the convolution's, input is the upsampling's. Failures are those of the parts, with
 * "upsampling: " or "convolution: " before the sentence; what does not agree fails with the status of the convolution's field.
 *
 * NEAREST by whole factors f up to 8 saves products: output row y reads the input rows floor((y*stride + a*dilation - pad) / f),
 * and kernel rows a that meet in one input row need one product instead of several. So each output phase is a convolution of the
 * input by a smaller kernel, whose elements are sums of the caller's: 2 x 2 for 3 x 3 with f = 2. This is done where dilations
 * are less than f or multiples of it, padding_mode is not REFLECT, and an output element has 64 or more products. The sums are
 * computed in double and rounded once; the result lies within the bound that conv2d has, and whole numbers are exact. Only what
 * is not finite may differ: infinite input elements times weights of both signs or 0, which in two steps make NaN where their sum
 * makes an infinity, and sums of weights beyond the type's range.
 * All else (also where nothing meets) has the bits of conv2d after upsample2d, save stride 1 from 8 input channels or more to 8
 * output channels or fewer, whose products conv2d may add up in another order, within the same bound. The rows that some output
 * rows need are upsampled on the way, into scratch memory of each thread that holds no more than them: half a megabyte, or what
 * four output rows need.
 */
typedef struct upsample2d_conv2d_plan upsample2d_conv2d_plan;

int32_t upsample2d_conv2d_output_shape(const upsample2d_params *upsampling, const conv2d_params *convolution, int64_t *shape);
int32_t upsample2d_conv2d(const upsample2d_params *upsampling, const conv2d_params *convolution, const void *input,
                          const void *kernel, const void *bias, void *output);
int32_t upsample2d_conv2d_plan_create(const upsample2d_params *upsampling, const conv2d_params *convolution, const void *kernel,
                                      const void *bias, upsample2d_conv2d_plan **plan);
int32_t upsample2d_conv2d_plan_execute(const upsample2d_conv2d_plan *plan, const void *input, void *output);
void upsample2d_conv2d_plan_destroy(upsample2d_conv2d_plan *plan);

/* As conv2d_workspace_size; the convolution's workspace_limit holds for both together. */
int32_t upsample2d_conv2d_workspace_size(const upsample2d_params *upsampling, const conv2d_params *convolution, int64_t *plan,
                                         int64_t *execution, int64_t *least);

#ifdef __cplusplus
}
#endif

#endif /* CONVOLUTION_H */
