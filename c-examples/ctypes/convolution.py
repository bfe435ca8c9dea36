"""2-D convolution, transposed convolution and upsampling for NumPy arrays: libconvolution.so through ctypes.

    import numpy as np
    from convolution import conv2d, conv2d_transpose, upsample2d

    y = conv2d(x, kernel, bias, strides=2, padding="same", activation="relu")      # Keras' words and layouts
    y = conv2d(x, weight, bias, padding=1, data_format="NCHW")                     # PyTorch's
    z = conv2d_transpose(y, kernel, strides=2, padding="same")
    u = upsample2d(x, 2, interpolation="bilinear")

IMAGES are arrays of four axes: (batch, height, width, channels), or with data_format "channels_first" or "NCHW" (batch, channels,
height, width). One image is a batch of one: x[None].

TYPES: float32 is computed in float32, float64 in float64. x, kernel and bias are brought to one type by np.result_type, of which
integers and bool become float64 and float16 becomes float32. So float32 images with an int64 or a float64 kernel give float64.
Complex, long double and other types are refused.

NO COPIES: images may be any view (a crop, every second row, mirrored, transposed, one channel out of three): the library is told
their strides. Copied are only images of another type or byte order, views that repeat elements (stride 0, np.broadcast_to), and
strides or addresses that are no multiple of the element size. Kernel and bias, which are small, are packed where they are not.

PLANS: for layers that run more than once. plan = Conv2DPlan(x.shape, kernel), then plan(x): the kernel is checked and packed only
once. There is one for each verb, and for each gradient but those by the bias.

ERRORS: what the library refuses raises ValueError with the library's own sentence and its code in the attribute `status`
(constant() knows the codes by name); MemoryError if memory ran out; NotImplementedError for what is legal but not built into this
version. What the library cannot see (ranks, channel counts, the length of the bias) raises ValueError without `status`.

The library is searched in three places: the file that the environment variable CONVOLUTION_LIBRARY names; build/ of the source
tree that this file stands in; the system's libraries. This file needs nothing else and may be copied anywhere.
"""

import collections
import ctypes
import operator
import os
from ctypes import POINTER, byref, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = [
    "Conv2DBackwardInputPlan", "Conv2DBackwardKernelPlan", "Conv2DPlan", "Conv2DTransposeBackwardInputPlan",
    "Conv2DTransposeBackwardKernelPlan", "Conv2DTransposePlan", "Rank", "Solution", "Upsample2DBackwardPlan",
    "Upsample2DConv2DPlan", "Upsample2DPlan", "WorkspaceSize", "constant", "conv2d", "conv2d_adjoint_test",
    "conv2d_backward_bias", "conv2d_backward_input", "conv2d_backward_kernel", "conv2d_gram", "conv2d_matrix",
    "conv2d_output_shape", "conv2d_rank", "conv2d_solve", "conv2d_transpose", "conv2d_transpose_adjoint_test",
    "conv2d_transpose_backward_bias", "conv2d_transpose_backward_input", "conv2d_transpose_backward_kernel",
    "conv2d_transpose_gram", "conv2d_transpose_matrix", "conv2d_transpose_output_shape", "conv2d_transpose_overlap",
    "conv2d_transpose_workspace_size", "conv2d_workspace_size", "isa", "isas", "upsample2d", "upsample2d_adjoint_test",
    "upsample2d_backward", "upsample2d_conv2d", "upsample2d_conv2d_output_shape", "upsample2d_conv2d_workspace_size",
    "upsample2d_gram", "upsample2d_matrix", "upsample2d_output_shape", "version",
]


# ---------------------------------------------------------------------------------------------------------- the library


def _load():
    built = Path(__file__).resolve().parent.parent.parent / "build/libconvolution.so"
    path = os.environ.get("CONVOLUTION_LIBRARY") or (str(built) if built.exists() else "libconvolution.so.0")
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise ImportError(f"{error}: build the library with make, install it, or name its file in the environment "
                          "variable CONVOLUTION_LIBRARY") from None


_library = _load()


def _function(name, result, *arguments):
    function = _library[name]
    function.restype, function.argtypes = result, arguments
    return function


_status_name = _function("convolution_status_name", c_char_p, c_int32)
_error_message = _function("convolution_error_message", c_char_p)


def _raise_failure(status, function, arguments):
    if status == 0:
        return status
    kinds = {b"CONVOLUTION_ERROR_OUT_OF_MEMORY": MemoryError, b"CONVOLUTION_ERROR_UNSUPPORTED": NotImplementedError}
    error = kinds.get(_status_name(status), ValueError)(_error_message().decode(errors="replace"))
    error.status = status
    raise error


def _checked_function(name, *arguments):
    function = _function(name, c_int32, *arguments)
    function.errcheck = _raise_failure
    return function


_constant = _checked_function("convolution_constant", c_char_p, POINTER(c_int32))
_version = _function("convolution_version", c_int32)
_isa = _function("convolution_isa", c_char_p)
_isa_name = _function("convolution_isa_name", c_char_p, c_int32)
_isa_supported = _function("convolution_isa_supported", c_int32, c_char_p)


def version():
    """The version of the loaded library, such as "0.1.0"."""
    number = _version()
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def isa():
    """The name of the instruction-set tier that calls without isa= use; None if CONVOLUTION_ISA names no usable one."""
    name = _isa()
    return None if name is None else name.decode()


def isas():
    """The names of the tiers that this processor can run, from the oldest to the newest."""
    names = []
    while (name := _isa_name(len(names))) is not None:
        names.append(name)
    return [name.decode() for name in names if _isa_supported(name)]


def constant(name):
    """The value of a constant of convolution.h by its name, such as "CONVOLUTION_ERROR_STRIDE"; ValueError if it has none."""
    value = c_int32()
    _constant(name.encode(), byref(value))
    return value.value


# ------------------------------------------------------------------------------------- the structs, field by field as in C


def _fields(kind, names):
    return [(name, kind) for name in names.split()]


class _Params(ctypes.Structure):
    def pointers(self):
        """What the C functions of a verb take in place of params."""
        return [byref(self)]

    def copy(self):
        return type(self).from_buffer_copy(self)


class _Conv2DParams(_Params):
    _fields_ = [
        ("struct_size", c_size_t),
        *_fields(c_int64, "batch height width in_channels out_channels kernel_height kernel_width"),
        *_fields(c_int64, "stride_height stride_width dilation_height dilation_width groups depth_multiplier"),
        *_fields(c_int64, "pad_top pad_bottom pad_left pad_right"),
        *_fields(c_int64 * 4, "input_strides output_strides"),
        *_fields(c_double, "padding_value activation_alpha activation_min activation_max"),
        ("isa", c_char_p),
        *_fields(c_int32, "dtype data_format kernel_format padding padding_mode flip_kernel activation threads"),
        *_fields(c_int32, "allow_empty_output algorithm"),
        ("workspace_limit", c_int64),
        *_fields(c_int32, "accumulate reserved"),
    ]


class _SolveProgress(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t), *_fields(c_int64, "image iteration"), *_fields(c_double, "residual_norm normal_residual"),
        ("input", POINTER(c_double)),
    ]


_PROGRESS = ctypes.CFUNCTYPE(c_int32, c_void_p, POINTER(_SolveProgress))


class _SolveParams(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("lambda", c_double), ("tolerance", c_double), ("max_iterations", c_int64),
        ("start", c_void_p), ("mask", c_void_p), ("mask_size", c_int64), ("progress", _PROGRESS), ("context", c_void_p),
        *_fields(c_int32, "nonnegative reserved"),
    ]


class _SolveResult(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("iterations", c_int64), *_fields(c_double, "residual_norm normal_residual"),
        *_fields(c_int32, "outcome reserved"),
    ]


class _Rank(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t), *_fields(c_int64, "equations unknowns rank_bound rank"),
        *_fields(c_double, "largest_singular_value smallest_singular_value condition"), *_fields(c_int32, "exact reserved"),
    ]


class _Conv2DTransposeParams(_Params):
    _fields_ = [
        ("struct_size", c_size_t),
        *_fields(c_int64, "batch height width in_channels out_channels kernel_height kernel_width"),
        *_fields(c_int64, "stride_height stride_width dilation_height dilation_width groups depth_multiplier"),
        *_fields(c_int64, "pad_top pad_bottom pad_left pad_right"),
        *_fields(c_int64, "output_padding_height output_padding_width output_height output_width"),
        *_fields(c_int64 * 4, "input_strides output_strides"),
        *_fields(c_double, "activation_alpha activation_min activation_max"),
        ("isa", c_char_p),
        *_fields(c_int32, "dtype data_format kernel_format rule padding output_padding_given flip_kernel activation"),
        *_fields(c_int32, "threads allow_empty_output"),
        ("workspace_limit", c_int64),
        *_fields(c_int32, "algorithm accumulate"),
    ]


class _Upsample2DParams(_Params):
    _fields_ = [
        ("struct_size", c_size_t),
        *_fields(c_int64, "batch height width channels factor_height factor_width output_height output_width"),
        *_fields(c_int64 * 4, "input_strides output_strides"),
        *_fields(c_double, "scale_height scale_width cubic_coefficient"),
        ("isa", c_char_p),
        *_fields(c_int32, "dtype data_format interpolation coordinates antialias threads preset rounding edge accumulate"),
        ("roi", c_double * 4),
        ("extrapolation_value", c_double),
    ]


class _UpsampledParams:
    """An upsampling and a convolution of what it makes: the input's strides are those of the one, the output's of the other."""

    def __init__(self, upsampling, convolution):
        self.upsampling, self.convolution = upsampling, convolution
        self.input_strides, self.output_strides = upsampling.input_strides, convolution.output_strides

    def pointers(self):
        return [byref(self.upsampling), byref(self.convolution)]

    def copy(self):
        return _UpsampledParams(self.upsampling.copy(), self.convolution.copy())

    def _set_dtype(self, dtype):
        self.upsampling.dtype = self.convolution.dtype = dtype

    def _set_accumulate(self, accumulate):
        self.convolution.accumulate = accumulate

    dtype, accumulate = property(fset=_set_dtype), property(fset=_set_accumulate)


class _PlanFunctions:
    """The C functions of a kind of plan: made of structs of `params_types` and of `constants` arrays (kernel, bias), executed
    with `arrays` others, the result last."""

    def __init__(self, name, params_types, constants, arrays=2):
        self.plan_create = _checked_function(
            name + "_plan_create", *map(POINTER, params_types), *[c_void_p] * constants, POINTER(c_void_p))
        self.plan_execute = _checked_function(name + "_plan_execute", c_void_p, *[c_void_p] * arrays)
        self.plan_destroy = _function(name + "_plan_destroy", None, c_void_p)


class _Verb(_PlanFunctions):
    """The C functions of one verb, which take structs of `params_types`, and whose calls read `constants` arrays (kernel, bias)
    beside the input."""

    def __init__(self, name, params_types, constants):
        super().__init__(name, params_types, constants)
        params = [POINTER(kind) for kind in params_types]
        self.output_shape = _checked_function(name + "_output_shape", *params, POINTER(c_int64))
        self.call = _checked_function(name, *params, c_void_p, *[c_void_p] * constants, c_void_p)


class _Operator:
    """The C functions of one verb as a linear operator, which read `constants` arrays (a kernel) beside the input."""

    def __init__(self, name, params_type, constants):
        params, arrays = POINTER(params_type), [c_void_p] * constants
        self.matrix_size = _checked_function(name + "_matrix_size", params, *[POINTER(c_int64)] * 3)
        self.matrix_dense = _checked_function(name + "_matrix", params, *arrays, c_void_p, c_int64)
        self.matrix_csr = _checked_function(name + "_matrix_csr", params, *arrays, *[c_void_p] * 3, c_int64)
        self.gram = _checked_function(name + "_gram", params, *arrays, c_void_p, c_void_p)
        self.adjoint_test = _checked_function(name + "_adjoint_test", params, *arrays, c_uint64, POINTER(c_double))


class _KernelVerb(_Verb):
    """A verb with a kernel and a bias."""

    def __init__(self, name, params_types):
        super().__init__(name, params_types, 2)
        self.workspace_size = _checked_function(name + "_workspace_size", *map(POINTER, params_types), *[POINTER(c_int64)] * 3)


class _LayerVerb(_KernelVerb):
    """One that has gradients."""

    def __init__(self, name, params_type):
        super().__init__(name, [params_type])
        params = POINTER(params_type)
        self.backward_input = _checked_function(name + "_backward_input", params, c_void_p, c_void_p, c_void_p)
        self.operator = _Operator(name, params_type, 1)
        self.backward_kernel = _checked_function(name + "_backward_kernel", params, c_void_p, c_void_p, c_void_p)
        self.backward_bias = _checked_function(name + "_backward_bias", params, c_void_p, c_void_p)
        self.backward_input_plan = _PlanFunctions(name + "_backward_input", [params_type], 1)
        self.backward_kernel_plan = _PlanFunctions(name + "_backward_kernel", [params_type], 0, arrays=3)


def _check_size(name, struct):
    size = _function(name + "_size", c_size_t)()
    if size < ctypes.sizeof(struct):
        # A newer library, whose struct has grown, still takes this one's size; an older one would not.
        raise ImportError(f"{_library._name} is older than this file: its {name} has {size} bytes, "
                          f"here it has {ctypes.sizeof(struct)}")


_check_size("conv2d_params", _Conv2DParams)
_check_size("conv2d_transpose_params", _Conv2DTransposeParams)
_check_size("upsample2d_params", _Upsample2DParams)
_check_size("conv2d_solve_params", _SolveParams)
_check_size("conv2d_solve_result", _SolveResult)
_check_size("conv2d_rank", _Rank)
_CONV2D = _LayerVerb("conv2d", _Conv2DParams)
_CONV2D_TRANSPOSE = _LayerVerb("conv2d_transpose", _Conv2DTransposeParams)
_UPSAMPLE2D = _Verb("upsample2d", [_Upsample2DParams], 0)
_UPSAMPLE2D_OPERATOR = _Operator("upsample2d", _Upsample2DParams, 0)
_upsample2d_backward = _checked_function("upsample2d_backward", POINTER(_Upsample2DParams), c_void_p, c_void_p)
_UPSAMPLE2D_BACKWARD_PLAN = _PlanFunctions("upsample2d_backward", [_Upsample2DParams], 0)
_UPSAMPLE2D_CONV2D = _KernelVerb("upsample2d_conv2d", [_Upsample2DParams, _Conv2DParams])
_transpose_overlap = _checked_function("conv2d_transpose_overlap", POINTER(_Conv2DTransposeParams), c_void_p, c_int64)
_solve = _checked_function(
    "conv2d_solve", POINTER(_Conv2DParams), POINTER(_SolveParams), *[c_void_p] * 4, POINTER(_SolveResult))
_rank_report = _checked_function("conv2d_rank_report", POINTER(_Conv2DParams), c_void_p, POINTER(_Rank))


# ------------------------------------------------------------------------------------------------- options: words, numbers


def _words(prefix, names, **synonyms):
    """The words of an option, and other frameworks' words for some of them."""
    words = {name: constant(prefix + name.upper()) for name in names.split()}
    return words | {synonym: words[name] for synonym, name in synonyms.items()}


_DTYPES = {np.dtype(name): constant("CONVOLUTION_" + name.upper()) for name in ("float32", "float64")}
_NHWC, _NCHW = constant("CONVOLUTION_NHWC"), constant("CONVOLUTION_NCHW")
_DATA_FORMATS = {"channels_last": _NHWC, "channels_first": _NCHW, "nhwc": _NHWC, "nchw": _NCHW}
_KERAS, _TORCH = constant("CONVOLUTION_KERNEL_KERAS"), constant("CONVOLUTION_KERNEL_TORCH")
_KERNEL_FORMATS = {"hwio": _KERAS, "oihw": _TORCH, "keras": _KERAS, "torch": _TORCH}
_TRANSPOSE_KERNEL_FORMATS = {"hwoi": _KERAS, "iohw": _TORCH, "keras": _KERAS, "torch": _TORCH}
_PADDINGS = _words("CONVOLUTION_PADDING_", "valid same same_lower full causal", same_upper="same")
_EXPLICIT = constant("CONVOLUTION_PADDING_EXPLICIT")
_PADDING_MODES = _words("CONVOLUTION_PADDING_MODE_", "zeros constant reflect symmetric replicate circular", edge="replicate",
                        wrap="circular")
_ACTIVATIONS = _words("CONVOLUTION_ACTIVATION_", "none relu relu6 clamp leaky_relu sigmoid tanh", linear="none")
_ALGORITHMS = _words("CONVOLUTION_ALGORITHM_", "default winograd")
_RULES = _words("CONV2D_TRANSPOSE_RULE_", "keras torch onnx jax window", tensorflow="keras")
_INTERPOLATIONS = _words("UPSAMPLE2D_", "nearest bilinear bicubic lanczos3 lanczos5 area", linear="bilinear", cubic="bicubic")
_COORDINATES = _words(
    "UPSAMPLE2D_COORDINATES_",
    "default half_pixel align_corners asymmetric pytorch_half_pixel half_pixel_symmetric tf_crop_and_resize tf_half_pixel_for_nn")
_PRESETS = _words("UPSAMPLE2D_PRESET_", "none keras keras_jax torch torch_exact onnx opencv")
_ROUNDINGS = _words("UPSAMPLE2D_ROUNDING_", "default prefer_floor prefer_ceil floor ceil simple",
                    round_prefer_floor="prefer_floor", round_prefer_ceil="prefer_ceil")
_EDGES = _words("UPSAMPLE2D_EDGE_", "default clamp renormalise")
_OUTCOMES = {number: word for word, number in _words("CONV2D_SOLVE_", "converged stagnated iteration_limit stopped").items()}


def _word(name, value, choices):
    try:
        return choices[value.lower().replace("-", "_")]
    except (AttributeError, KeyError):
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(choices)}") from None


def _integer(name, value, bits=64):
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} is {value!r}; it must be a whole number") from None
    # ctypes would cut a number that is too long down to its low bits, and say nothing.
    if not -(1 << bits - 1) <= number < 1 << bits - 1:
        raise ValueError(f"{name} is {number}; it must fit {bits} bits")
    return number


def _real(name, value):
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}; it must be a number") from None


def _given(name, number):
    # The C side would take a 0 for "not given, use the default".
    if number == 0:
        raise ValueError(f"{name} is 0; it must be another number, or left out")
    return number


def _both(name, value):
    """value itself if it is a pair, else value for both axes."""
    pair = tuple(value) if np.iterable(value) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} is {value!r}; it must be one number or a pair, first vertical, then horizontal")
    return pair


def _sizes(name, value):
    sizes = [_integer(name, number) for number in _both(name, value)]
    if 0 in sizes:
        raise ValueError(f"{name} is 0; it must be at least 1")
    return sizes


def _set_padding(params, padding):
    if isinstance(padding, str):
        params.padding = _word("padding", padding, _PADDINGS)
        return
    try:
        sides = [side for sides in _both("padding", padding) for side in _both("padding", sides)]
    except ValueError:
        forms = "a word, a number, (height, width) or ((top, bottom), (left, right))"
        raise ValueError(f"padding is {padding!r}; it must be {forms}") from None
    sides = [_integer("padding", side) for side in sides]
    params.padding = _EXPLICIT
    params.pad_top, params.pad_bottom, params.pad_left, params.pad_right = sides


def _set_activation(params, activation, alpha, minimum, maximum):
    params.activation = _word("activation", "none" if activation is None else activation, _ACTIVATIONS)
    if alpha is not None:
        params.activation_alpha = _given("activation_alpha", _real("activation_alpha", alpha))
    if params.activation == _ACTIVATIONS["clamp"]:
        minimum, maximum = (-np.inf if minimum is None else minimum), (np.inf if maximum is None else maximum)
    params.activation_min = 0 if minimum is None else _real("activation_min", minimum)
    params.activation_max = 0 if maximum is None else _real("activation_max", maximum)


def _set_run(params, threads, isa, algorithm=None):
    params.struct_size = ctypes.sizeof(params)
    params.threads = _integer("threads", threads, 32)
    if isa is not None and "\0" in str(isa):
        raise ValueError(f"isa is {isa!r}; a tier's name has no NUL character")
    params.isa = None if isa is None else str(isa).encode()
    if algorithm is not None:
        params.algorithm = _word("algorithm", algorithm, _ALGORITHMS)


def _set_image(params, shape, data_format):
    """Batch, height, width and format; returns the channels, whose field has two names."""
    params.data_format = _word("data_format", data_format, _DATA_FORMATS)
    last = params.data_format == _NHWC
    axes = "(batch, height, width, channels)" if last else "(batch, channels, height, width)"
    if len(shape) != 4:
        raise ValueError(f"x has shape {tuple(shape)}; it must have four axes, {axes}")
    sizes = [_integer("x's shape", size) for size in shape]
    params.batch, params.height, params.width = sizes[0], *(sizes[1:3] if last else sizes[2:])
    return sizes[3 if last else 1]


def _set_window(params, strides, dilation_rate):
    params.stride_height, params.stride_width = _sizes("strides", strides)
    params.dilation_height, params.dilation_width = _sizes("dilation_rate", dilation_rate)


def _is_torch(kernel_format, choices, data_format, rule="keras"):
    """True for (O, I, height, width), false for (height, width, I, O); transposed with I and O swapped."""
    if kernel_format is not None:
        return _word("kernel_format", kernel_format, choices) == _TORCH
    return str(data_format).lower() == "nchw" or str(rule).lower() in ("torch", "onnx")


def _kernel_sizes(shape, torch, layouts):
    """The sizes of a kernel in the order of Keras; for both verbs PyTorch's is (3, 2, 0, 1) of that."""
    if len(shape) != 4:
        raise ValueError(f"kernel has shape {tuple(shape)}; it must have four axes, {layouts[torch]}")
    sizes = [_integer("kernel's shape", size) for size in shape]
    return [sizes[axis] for axis in (2, 3, 1, 0)] if torch else sizes


# -------------------------------------------------------------------------------------------------------- arrays to pointers


def _dtype(*arrays):
    given = [array.dtype for array in arrays if array is not None]
    try:
        dtype = np.result_type(*given)
    except TypeError:
        dtype = None
    if dtype is not None and dtype.kind in "biu":
        return np.dtype(np.float64)
    if dtype == np.float16:
        return np.dtype(np.float32)
    if dtype not in _DTYPES:
        raise ValueError(f"the arrays have dtype {', '.join(map(str, given))}; "
                         "it must be float32, float64, or a type that converts to these")
    return dtype


def _has_element_strides(array, dtype):
    """Whether the C side can be told where array's elements lie. A stride of 0 would mean "packed" there."""
    return array.dtype == dtype and array.flags.aligned and (array.size == 0 or all(
        length == 1 or (stride != 0 and stride % dtype.itemsize == 0)
        for length, stride in zip(array.shape, array.strides)))


def _element_strides(array):
    # NumPy puts no limits on the strides of axes that nobody steps along; the library does.
    return [stride // array.itemsize if length > 1 else 0 for length, stride in zip(array.shape, array.strides)]


def _packed(array, dtype):
    return None if array is None else np.require(array, dtype, "CA")


def _image(array, dtype):
    return array if _has_element_strides(array, dtype) else _packed(array, dtype)


def _output(out, shape, dtype):
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype:
        found = f"has shape {out.shape} and dtype {out.dtype}" if isinstance(out, np.ndarray) else f"is {type(out).__name__}"
        raise ValueError(f"out {found}; it must be an array of shape {shape} and dtype {dtype}")
    if not out.flags.writeable or not _has_element_strides(out, dtype):
        raise ValueError(f"out has strides {out.strides} and flags.writeable {out.flags.writeable}; "
                         "it must be writable, aligned, and each element must have its own place")
    return out


def _address(array):
    return None if array is None else array.ctypes.data


def _shape(verb, params):
    shape = (c_int64 * 4)()
    verb.output_shape(*params.pointers(), shape)
    return tuple(shape)


def _run(verb, params, x, constants, dtype, out, residual=None):
    x = _image(x, dtype)
    constants = [_packed(array, dtype) for array in constants]
    params.dtype = _DTYPES[dtype]
    params.input_strides[:] = _element_strides(x)
    shape = _shape(verb, params)
    out = _output(out, shape, dtype)
    params.output_strides[:] = _element_strides(out)
    if residual is not None:
        _check_residual(residual, shape)
        out[...] = residual
        params.accumulate = 1
    verb.call(*params.pointers(), _address(x), *map(_address, constants), _address(out))
    return out


def _arrays(x, kernel, bias):
    return np.asarray(x), np.asarray(kernel), None if bias is None else np.asarray(bias)


def _backward_input(verb, params, input_shape, gradient, kernel, out, accumulate):
    dtype = _dtype(gradient, kernel)
    gradient, kernel = _image(gradient, dtype), _packed(kernel, dtype)
    out = _gradient(params, gradient, _shape(verb, params), tuple(input_shape), dtype, out, accumulate)
    params.input_strides[:] = _element_strides(out)
    verb.backward_input(byref(params), *map(_address, (gradient, kernel, out)))
    return out


def _backward_kernel(verb, params, kernel_shape, x, gradient, out, accumulate):
    dtype = _dtype(x, gradient)
    x, gradient = _image(x, dtype), _image(gradient, dtype)
    out = _gradient(params, gradient, _shape(verb, params), tuple(kernel_shape), dtype, out, accumulate, packed=True)
    params.input_strides[:] = _element_strides(x)
    verb.backward_kernel(byref(params), *map(_address, (x, gradient, out)))
    return out


def _backward_bias(verb, params, gradient, out, accumulate):
    dtype = _dtype(gradient)
    gradient = _image(gradient, dtype)
    out = _gradient(params, gradient, _shape(verb, params), (params.out_channels,), dtype, out, accumulate, packed=True)
    verb.backward_bias(byref(params), *map(_address, (gradient, out)))
    return out


def _gradient(params, gradient, output_shape, shape, dtype, out, accumulate, packed=False):
    """The array for a gradient of this shape, and what params must know of the output gradient."""
    if gradient.shape != output_shape:
        raise ValueError(f"output_gradient has shape {gradient.shape}; it must be that of the layer's output, {output_shape}")
    if accumulate and out is None:
        raise ValueError("accumulate is True and out is None; there is nothing to add to")
    params.dtype, params.accumulate = _DTYPES[dtype], bool(accumulate)
    params.output_strides[:] = _element_strides(gradient)
    out = _output(out, shape, dtype)
    return _contiguous(out) if packed else out


def _contiguous(out):
    if not out.flags.c_contiguous:
        raise ValueError(f"out has strides {out.strides}; it must be contiguous")
    return out


def _matrix(operator, params, constants, dtype, sparse):
    params.dtype = _DTYPES[dtype]
    constants = [_packed(array, dtype) for array in constants]
    addresses = [*map(_address, constants)]
    rows, columns, nonzeros = c_int64(), c_int64(), c_int64()
    operator.matrix_size(byref(params), byref(rows), byref(columns), byref(nonzeros))
    if not sparse:
        matrix = np.empty((rows.value, columns.value), dtype)
        operator.matrix_dense(byref(params), *addresses, _address(matrix), matrix.size)
        return matrix
    values, column_indices = np.empty(nonzeros.value, dtype), np.empty(nonzeros.value, np.int64)
    row_offsets = np.empty(rows.value + 1, np.int64)
    operator.matrix_csr(byref(params), *addresses, *map(_address, (row_offsets, column_indices, values)), values.size)
    return values, column_indices, row_offsets


def _gram(operator, params, x, constants, dtype):
    params.dtype = _DTYPES[dtype]
    x, constants = _image(x, dtype), [_packed(array, dtype) for array in constants]
    result = np.empty_like(x)
    if _element_strides(x) != _element_strides(result):
        x = np.ascontiguousarray(x)
        result = np.empty_like(x)
    params.input_strides[:] = _element_strides(x)
    operator.gram(byref(params), *map(_address, constants), _address(x), _address(result))
    return result


def _adjoint_test(operator, params, constants, dtype, seed):
    params.dtype = _DTYPES[dtype]
    constants = [_packed(array, dtype) for array in constants]
    error = c_double()
    operator.adjoint_test(byref(params), *map(_address, constants), seed, byref(error))
    return error.value


def _check_residual(residual, shape):
    if np.shape(residual) != shape:
        raise ValueError(f"residual has shape {np.shape(residual)}; it must be that of the result, {shape}")


def _check_bias(bias, out_channels):
    if bias is not None and bias.shape != (out_channels,):
        raise ValueError(f"bias has shape {bias.shape}; it must be ({out_channels},), one number for each output channel")


# ---------------------------------------------------------------------------------------------------------------- conv2d

_LAYOUTS = ("(height, width, in_channels / groups, out_channels)", "(out_channels, in_channels / groups, height, width)")


def _conv2d_params(input_shape, kernel_shape, *, strides=1, padding="valid", data_format="channels_last", dilation_rate=1,
                   groups=1, kernel_format=None, padding_mode="zeros", padding_value=0.0, flip_kernel=False, activation=None,
                   activation_alpha=None, activation_min=None, activation_max=None, threads=0, isa=None,
                   depth_multiplier=None, allow_empty_output=False, workspace_limit=0, algorithm="default"):
    """input_shape may have None for the channels: then they are as many as the kernel takes."""
    params = _Conv2DParams()
    _set_run(params, threads, isa, algorithm)
    torch = _is_torch(kernel_format, _KERNEL_FORMATS, data_format)
    params.kernel_format = _TORCH if torch else _KERAS
    params.kernel_height, params.kernel_width, inner, outer = _kernel_sizes(kernel_shape, torch, _LAYOUTS)
    groups = _given("groups", _integer("groups", groups))
    if depth_multiplier is None:
        taken = inner * max(groups, 1)  # Fewer are refused by the library.
    else:
        if _integer("depth_multiplier", depth_multiplier) < 1:
            raise ValueError(f"depth_multiplier is {depth_multiplier}; it must be at least 1")
        taken = inner * outer // depth_multiplier
    params.in_channels = _set_image(params, [taken if size is None else size for size in input_shape], data_format)
    if depth_multiplier is None:
        if params.in_channels != taken:
            raise ValueError(f"kernel has shape {tuple(kernel_shape)}, read as {_LAYOUTS[torch]}: with groups {groups} it takes "
                             f"{taken} channels; x has shape {tuple(input_shape)}, with data_format {data_format!r} "
                             f"{params.in_channels} channels")
        params.out_channels, params.groups = outer, groups
    else:
        params.out_channels = _integer("out_channels", params.in_channels * depth_multiplier)
        accepted = [(1, params.out_channels)] + ([] if torch else [(params.in_channels, depth_multiplier)])
        if (inner, outer) not in accepted:
            wanted = "({1}, {0}, height, width)" if torch else "(height, width, {0}, {1})"
            raise ValueError(f"kernel has shape {tuple(kernel_shape)}; for {params.in_channels} channels and depth_multiplier "
                             f"{depth_multiplier} it must be {wanted.format(*accepted[-1])}")
        params.depth_multiplier = depth_multiplier
        params.groups = 0 if groups == 1 else groups
    _set_window(params, strides, dilation_rate)
    _set_padding(params, padding)
    params.padding_mode = _word("padding_mode", padding_mode, _PADDING_MODES)
    params.padding_value = _real("padding_value", padding_value)
    params.flip_kernel = bool(flip_kernel)
    _set_activation(params, activation, activation_alpha, activation_min, activation_max)
    params.allow_empty_output = bool(allow_empty_output)
    params.workspace_limit = _integer("workspace_limit", workspace_limit)
    return params


def conv2d(x, kernel, bias=None, *, strides=1, padding="valid", data_format="channels_last", dilation_rate=1, groups=1,
           kernel_format=None, padding_mode="zeros", padding_value=0.0, flip_kernel=False, activation=None, activation_alpha=None,
           activation_min=None, activation_max=None, threads=0, isa=None, depth_multiplier=None, allow_empty_output=False,
           workspace_limit=0, algorithm="default", residual=None, out=None):
    """activation(x (*) kernel + bias + residual): the cross-correlation that Keras Conv2D and torch.nn.Conv2d compute.

    x            (batch, height, width, in_channels), or (batch, in_channels, height, width) with channels_first
    kernel       (height, width, in_channels / groups, out_channels), or PyTorch's (out_channels, in_channels / groups, height,
                 width): see kernel_format
    bias         (out_channels,) or None
    returns      (batch, output height, output width, out_channels), or channels first as x; out if that is given

    strides, dilation_rate   a number or a pair (height, width), at least 1
    padding                  "valid", "same" or "same_upper" (the odd line at the end), "same_lower" (at the start), "full",
                             "causal"; or a number, a pair (vertical, horizontal), or ((top, bottom), (left, right)); negative
                             numbers crop
    data_format              "channels_last" or "NHWC"; "channels_first" or "NCHW"
    groups                   divides both channel counts
    kernel_format            "HWIO" or "keras"; "OIHW" or "torch". None: "torch" if data_format is "NCHW", PyTorch's word, and
                             "keras" otherwise, which for channels_first is what Keras does
    padding_mode             "zeros", "constant" (padding_value), "reflect", "symmetric", "replicate" or "edge", "circular" or
                             "wrap"
    flip_kernel              True: true convolution, the kernel turned by 180 degrees
    activation               None or "linear", "relu", "relu6", "clamp" (activation_min, activation_max; None is unbounded),
                             "leaky_relu" (activation_alpha, not 0; None is 0.01), "sigmoid", "tanh"
    threads                  0: one per core; 1: only the caller's
    isa                      an instruction-set tier by name, see isas(); None: the best
    depth_multiplier         a number m: depthwise, with a kernel of Keras' shape (height, width, in_channels, m), or
                             (in_channels * m, 1, height, width) in PyTorch's format; output channel c * m + j comes from
                             channel c
    allow_empty_output       True: a kernel beyond the padded image gives an empty result, no error
    workspace_limit          0, or the most bytes of scratch memory that the call may take; see conv2d_workspace_size
    algorithm                "default"; "winograd" permits Winograd's algorithm, up to three times as fast for 3x3 kernels of
                             stride 1 and some transposed ones of larger strides, with larger rounding errors: see
                             convolution.h
    residual                 an array of the result's shape, added before the activation
    out                      an array or view of the result's shape and type to write to; must not overlap what is read

    Raises ValueError, NotImplementedError, MemoryError: see the module's text."""
    options = dict(
        strides=strides, padding=padding, data_format=data_format, dilation_rate=dilation_rate, groups=groups,
        kernel_format=kernel_format, padding_mode=padding_mode, padding_value=padding_value, flip_kernel=flip_kernel,
        activation=activation, activation_alpha=activation_alpha, activation_min=activation_min, activation_max=activation_max,
        threads=threads, isa=isa, depth_multiplier=depth_multiplier, allow_empty_output=allow_empty_output,
        workspace_limit=workspace_limit, algorithm=algorithm)
    x, kernel, bias = _arrays(x, kernel, bias)
    params = _conv2d_params(x.shape, kernel.shape, **options)
    _check_bias(bias, params.out_channels)
    return _run(_CONV2D, params, x, (kernel, bias), _dtype(x, kernel, bias), out, residual)


def conv2d_output_shape(input_shape, kernel_shape, **options):
    """The shape of conv2d's result for an x and a kernel of these shapes, with conv2d's options and errors."""
    return _shape(_CONV2D, _conv2d_params(input_shape, kernel_shape, **options))


def conv2d_backward_input(output_gradient, kernel, input_shape, *, out=None, accumulate=False, **options):
    """The gradient with respect to the input: the adjoint of conv2d, applied to output_gradient.

    output_gradient  of the shape of conv2d's result
    kernel           as for conv2d
    input_shape      the shape of conv2d's x, which the result has
    out              an array or view of that shape and of the result's type to write to
    accumulate       True: the gradient is added to out

    The other options and the errors are conv2d's, for the forward layer. The activation plays no part."""
    gradient, kernel = np.asarray(output_gradient), np.asarray(kernel)
    params = _conv2d_params(input_shape, kernel.shape, **options)
    return _backward_input(_CONV2D, params, input_shape, gradient, kernel, out, accumulate)


def conv2d_backward_kernel(x, output_gradient, kernel_shape, *, out=None, accumulate=False, **options):
    """The gradient with respect to the kernel, of the shape kernel_shape. See conv2d_backward_input; out must be contiguous."""
    x, gradient = np.asarray(x), np.asarray(output_gradient)
    return _backward_kernel(_CONV2D, _conv2d_params(x.shape, kernel_shape, **options), kernel_shape, x, gradient, out, accumulate)


def conv2d_backward_bias(output_gradient, input_shape, kernel_shape, *, out=None, accumulate=False, **options):
    """The gradient with respect to the bias: the sum of output_gradient over images and pixels. See conv2d_backward_input."""
    return _backward_bias(
        _CONV2D, _conv2d_params(input_shape, kernel_shape, **options), np.asarray(output_gradient), out, accumulate)


WorkspaceSize = collections.namedtuple("WorkspaceSize", "plan execution least")


def _workspace_size(verb, params, dtype):
    params.dtype = _DTYPES[np.dtype(dtype)]
    sizes = [c_int64() for _ in WorkspaceSize._fields]
    verb.workspace_size(*params.pointers(), *map(byref, sizes))
    return WorkspaceSize(*(size.value for size in sizes))


def conv2d_workspace_size(input_shape, kernel_shape, *, dtype=np.float32, **options):
    """Bytes, as (plan, execution, least): of a plan; of one call beyond it, all threads together; and the least workspace_limit
    that the layer can be computed with. conv2d's options and errors."""
    return _workspace_size(_CONV2D, _conv2d_params(input_shape, kernel_shape, **options), dtype)


def _image_shape(batch, input_size, data_format):
    height, width = (_integer("input_size", size) for size in _both("input_size", input_size))
    last = _word("data_format", data_format, _DATA_FORMATS) == _NHWC
    return [batch, height, width, None] if last else [batch, None, height, width]


def conv2d_matrix(kernel, input_size, *, strides=1, padding="valid", data_format="channels_last", dilation_rate=1, groups=1,
                  kernel_format=None, padding_mode="zeros", padding_value=0.0, flip_kernel=False, depth_multiplier=None,
                  allow_empty_output=False, sparse=False):
    """conv2d of one image as a matrix C: conv2d(x[None], kernel).ravel() is C @ x.ravel(); conv2d_transpose multiplies with C.T.

    kernel       as for conv2d; it also says how many channels the image has
    input_size   (height, width) of the image
    returns      dense: an array (output elements, input elements), both counted in the order of data_format.
                 sparse=True: the triple (values, column_indices, row_offsets) of compressed sparse rows, columns ascending,
                 one entry per pair that a kernel element joins. It is what scipy.sparse.csr_matrix(triple, shape=...) takes;
                 without shape=, SciPy takes the last column in use for the last of all.

    The other options and the errors are conv2d's. padding_mode "constant" with a value other than 0 is not linear:
    NotImplementedError."""
    kernel = np.asarray(kernel)
    dtype = _dtype(kernel)
    params = _conv2d_params(
        _image_shape(1, input_size, data_format), kernel.shape, strides=strides, padding=padding, data_format=data_format,
        dilation_rate=dilation_rate, groups=groups, kernel_format=kernel_format, padding_mode=padding_mode,
        padding_value=padding_value,
        flip_kernel=flip_kernel, depth_multiplier=depth_multiplier, allow_empty_output=allow_empty_output)
    return _matrix(_CONV2D.operator, params, (kernel,), dtype, sparse)


def conv2d_gram(x, kernel, **options):
    """C.T @ (C @ x) for each image of x, C the matrix of conv2d_matrix, with conv2d's options."""
    x, kernel = np.asarray(x), np.asarray(kernel)
    return _gram(_CONV2D.operator, _conv2d_params(x.shape, kernel.shape, **options), x, (kernel,), _dtype(x, kernel))


def conv2d_adjoint_test(kernel, input_shape, *, seed=0, **options):
    """|<C x, y> - <x, C.T y>| / (|C x| |y|) for a pair x, y made from the seed: the error of conv2d_backward_input."""
    kernel = np.asarray(kernel)
    return _adjoint_test(_CONV2D.operator, _conv2d_params(input_shape, kernel.shape, **options), (kernel,), _dtype(kernel), seed)


class Solution(NamedTuple):
    """What conv2d_solve returns. Of a batch: the norms over all images, the largest of their iterations, the last of their
    outcomes in the order converged, stagnated, iteration_limit, stopped."""
    x: np.ndarray
    iterations: int
    residual_norm: float
    normal_residual: float
    outcome: str


def conv2d_solve(y, kernel, input_size, bias=None, *, damping=0.0, tolerance=None, max_iterations=None, start=None, mask=None,
                 nonnegative=False, progress=None, **options):
    """The way back: the images x that minimise |conv2d(x, kernel, bias) - y|^2 + damping^2 |x|^2, by conjugate gradients.

    y               (batch, output height, output width, out_channels), or channels first: what conv2d made, or nearly
    kernel, bias    as for conv2d; the kernel also says how many channels x has
    input_size      (height, width) of x
    returns         a Solution; its x is, of all that come nearest to y, the smallest

    damping         keeps noise in y from growing in x; compare it with the singular values of conv2d_rank
    tolerance       converged means that the gradient has fallen to this much of what it is at x = 0; None is 1e-12
    max_iterations  for each image; None is 1000. Few iterations keep noise small, too
    start           where to begin, shaped as x; None: zeros
    mask            shaped as y, False where y is not known (it may be NaN there); None: all is known. Behind a ReLU: y > 0
    nonnegative     True: x without negative elements (of several minima, any)
    progress        called after each iteration with (image, iteration, residual_norm, normal_residual, x), where x is a copy
                    of the one image it is about, in float64; a true result stops

    The other options and the errors are conv2d's, but for activation, which must be None. All is computed in float64."""
    y, kernel, bias = _arrays(y, kernel, bias)
    start = None if start is None else np.asarray(start)
    dtype = _dtype(y, kernel, bias, start)
    if y.ndim != 4:
        raise ValueError(f"y has shape {y.shape}; it must have four axes")
    shape = _image_shape(len(y), input_size, options.get("data_format", "channels_last"))
    params = _conv2d_params(shape, kernel.shape, **options)
    _check_bias(bias, params.out_channels)
    params.dtype = _DTYPES[dtype]
    if y.shape != (shape := _shape(_CONV2D, params)):
        raise ValueError(f"y has shape {y.shape}; images of {params.height} x {params.width} become {shape}")
    last = params.data_format == _NHWC
    channels, size = params.in_channels, (params.height, params.width)
    x = np.empty((params.batch, *size, channels) if last else (params.batch, channels, *size), dtype)
    solve, result, failures = _SolveParams(ctypes.sizeof(_SolveParams)), _SolveResult(ctypes.sizeof(_SolveResult)), []
    setattr(solve, "lambda", _real("damping", damping))
    if tolerance is not None:
        solve.tolerance = _given("tolerance", _real("tolerance", tolerance))
    if max_iterations is not None:
        solve.max_iterations = _given("max_iterations", _integer("max_iterations", max_iterations))
    solve.nonnegative = bool(nonnegative)
    if start is not None:
        if start.shape != x.shape:
            raise ValueError(f"start has shape {start.shape}; it must be {x.shape}")
        start = _packed(start, dtype)
        solve.start = _address(start)
    if mask is not None:
        mask = np.require(mask, np.bool_, "C")
        if mask.shape != y.shape:
            raise ValueError(f"mask has shape {mask.shape}; it must be {y.shape}")
        solve.mask, solve.mask_size = _address(mask), mask.size

    def report(_, state):
        # An exception must not pass through C: it stops the call, and is raised behind it.
        try:
            state = state.contents
            image = np.ctypeslib.as_array(state.input, x.shape[1:]).copy()
            return bool(progress(state.image, state.iteration, state.residual_norm, state.normal_residual, image))
        except BaseException as failure:
            failures.append(failure)
            return 1

    if progress is not None:
        solve.progress = _PROGRESS(report)
    y = _image(y, dtype)
    params.output_strides[:] = _element_strides(y)
    kernel, bias = _packed(kernel, dtype), _packed(bias, dtype)
    _solve(byref(params), byref(solve), *map(_address, (kernel, bias, y, x)), byref(result))
    if failures:
        raise failures[0]
    return Solution(x, result.iterations, result.residual_norm, result.normal_residual, _OUTCOMES[result.outcome])


class Rank(NamedTuple):
    """What conv2d_rank returns: conv2d of one image as `equations` for `unknowns`. rank_bound holds for every kernel of that
    shape. The rest is None where it was too much to compute, or the kernel is not finite."""
    equations: int
    unknowns: int
    rank_bound: int
    rank: int | None
    largest_singular_value: float | None
    smallest_singular_value: float | None
    condition: float | None


def conv2d_rank(kernel, input_size, **options):
    """How much of an image of this size (height, width) conv2d keeps, with conv2d's options and errors: if rank is less than
    unknowns, nothing can give all of it back, and if condition is large, noise grows by up to that much on the way back."""
    kernel = np.asarray(kernel)
    dtype = _dtype(kernel)
    params = _conv2d_params(_image_shape(1, input_size, options.get("data_format", "channels_last")), kernel.shape, **options)
    params.dtype = _DTYPES[dtype]
    kernel, report = _packed(kernel, dtype), _Rank(ctypes.sizeof(_Rank))
    _rank_report(byref(params), _address(kernel), byref(report))
    values = (report.rank, report.largest_singular_value, report.smallest_singular_value, report.condition)
    return Rank(report.equations, report.unknowns, report.rank_bound, *(values if report.exact else [None] * 4))


# ------------------------------------------------------------------------------------------------------ conv2d_transpose

_TRANSPOSE_LAYOUTS = (
    "(height, width, out_channels / groups, in_channels)", "(in_channels, out_channels / groups, height, width)")


def _conv2d_transpose_params(input_shape, kernel_shape, *, strides=1, padding="valid", data_format="channels_last",
                             dilation_rate=1, groups=1, kernel_format=None, output_padding=None, output_size=None, rule="keras",
                             flip_kernel=False, activation=None, activation_alpha=None, activation_min=None,
                             activation_max=None, threads=0, isa=None, allow_empty_output=False,
                             workspace_limit=0, algorithm="default"):
    params = _Conv2DTransposeParams()
    _set_run(params, threads, isa, algorithm)
    params.in_channels = _set_image(params, input_shape, data_format)
    params.rule = _word("rule", rule, _RULES)
    torch = _is_torch(kernel_format, _TRANSPOSE_KERNEL_FORMATS, data_format, rule)
    params.kernel_format = _TORCH if torch else _KERAS
    params.kernel_height, params.kernel_width, outer, inner = _kernel_sizes(kernel_shape, torch, _TRANSPOSE_LAYOUTS)
    if inner != params.in_channels:
        raise ValueError(f"kernel has shape {tuple(kernel_shape)}, read as {_TRANSPOSE_LAYOUTS[torch]}: it takes {inner} "
                         f"channels; x has shape {tuple(input_shape)}, with data_format {data_format!r} "
                         f"{params.in_channels} channels")
    params.groups = _given("groups", _integer("groups", groups))
    params.out_channels = _integer("out_channels", outer * max(params.groups, 1))
    _set_window(params, strides, dilation_rate)
    _set_padding(params, padding)
    if output_padding is not None:
        params.output_padding_given = 1
        params.output_padding_height, params.output_padding_width = (
            _integer("output_padding", number) for number in _both("output_padding", output_padding))
    if output_size is not None:
        params.output_height, params.output_width = _sizes("output_size", output_size)
    params.flip_kernel = bool(flip_kernel)
    _set_activation(params, activation, activation_alpha, activation_min, activation_max)
    params.allow_empty_output = bool(allow_empty_output)
    params.workspace_limit = _integer("workspace_limit", workspace_limit)
    return params


def conv2d_transpose(x, kernel, bias=None, *, strides=1, padding="valid", data_format="channels_last", dilation_rate=1, groups=1,
                     kernel_format=None, output_padding=None, output_size=None, rule="keras", flip_kernel=False,
                     activation=None, activation_alpha=None, activation_min=None, activation_max=None, threads=0, isa=None,
                     allow_empty_output=False, workspace_limit=0, algorithm="default", residual=None, out=None):
    """The adjoint of conv2d, cut to the size and place of a named framework: Keras Conv2DTranspose, torch.nn.ConvTranspose2d.

    x            (batch, height, width, in_channels), or (batch, in_channels, height, width) with channels_first
    kernel       (height, width, out_channels / groups, in_channels), or PyTorch's (in_channels, out_channels / groups, height,
                 width): see kernel_format. The kernel of a conv2d, unchanged, is that of its adjoint.
    bias         (out_channels,) or None
    returns      (batch, output height, output width, out_channels), or channels first as x; out if that is given

    rule                     whose output size and place: "keras" or "tensorflow", "torch", "onnx", "jax", "window"
    padding                  "keras", "jax": "valid" or "same". "torch": a number or a pair. "onnx": "valid", "same" (SAME_UPPER),
                             "same_lower", or pads ((top, bottom), (left, right)). "window": what is cut off the natural result of
                             (input - 1) * stride + (kernel - 1) * dilation + 1 lines on each side; negative numbers extend it
    kernel_format            "HWOI" or "keras"; "IOHW" or "torch". None: "torch" if data_format is "NCHW" or rule is "torch" or
                             "onnx", else "keras"
    output_padding           None, a number or a pair. For Keras, 0 is not the same as None
    output_size              None, or the wanted size (height, width): within the range that the rule permits
    flip_kernel              True: the kernel turned by 180 degrees. lax.conv_transpose with transpose_kernel=False is rule "jax"
                             with flip_kernel=True and kernel.swapaxes(2, 3)

    The other options and the errors are conv2d's."""
    options = dict(
        strides=strides, padding=padding, data_format=data_format, dilation_rate=dilation_rate, groups=groups,
        kernel_format=kernel_format, output_padding=output_padding, output_size=output_size, rule=rule,
        flip_kernel=flip_kernel, activation=activation, activation_alpha=activation_alpha, activation_min=activation_min,
        activation_max=activation_max, threads=threads, isa=isa, allow_empty_output=allow_empty_output,
        workspace_limit=workspace_limit, algorithm=algorithm)
    x, kernel, bias = _arrays(x, kernel, bias)
    params = _conv2d_transpose_params(x.shape, kernel.shape, **options)
    _check_bias(bias, params.out_channels)
    return _run(_CONV2D_TRANSPOSE, params, x, (kernel, bias), _dtype(x, kernel, bias), out, residual)


def conv2d_transpose_output_shape(input_shape, kernel_shape, **options):
    """The shape of conv2d_transpose's result for an x and a kernel of these shapes, with its options and errors."""
    return _shape(_CONV2D_TRANSPOSE, _conv2d_transpose_params(input_shape, kernel_shape, **options))


def conv2d_transpose_matrix(kernel, input_size, *, sparse=False, **options):
    """As conv2d_matrix, for conv2d_transpose and with its options."""
    kernel = np.asarray(kernel)
    torch = _is_torch(options.get("kernel_format"), _TRANSPOSE_KERNEL_FORMATS, options.get("data_format", "channels_last"),
                      options.get("rule", "keras"))
    height, width = _both("input_size", input_size)
    channels = _kernel_sizes(kernel.shape, torch, _TRANSPOSE_LAYOUTS)[3]
    last = _word("data_format", options.get("data_format", "channels_last"), _DATA_FORMATS) == _NHWC
    shape = (1, height, width, channels) if last else (1, channels, height, width)
    params = _conv2d_transpose_params(shape, kernel.shape, **options)
    return _matrix(_CONV2D_TRANSPOSE.operator, params, (kernel,), _dtype(kernel), sparse)


def conv2d_transpose_gram(x, kernel, **options):
    """As conv2d_gram, for conv2d_transpose and with its options."""
    x, kernel = np.asarray(x), np.asarray(kernel)
    params = _conv2d_transpose_params(x.shape, kernel.shape, **options)
    return _gram(_CONV2D_TRANSPOSE.operator, params, x, (kernel,), _dtype(x, kernel))


def conv2d_transpose_adjoint_test(kernel, input_shape, *, seed=0, **options):
    """As conv2d_adjoint_test, for conv2d_transpose and with its options."""
    kernel = np.asarray(kernel)
    params = _conv2d_transpose_params(input_shape, kernel.shape, **options)
    return _adjoint_test(_CONV2D_TRANSPOSE.operator, params, (kernel,), _dtype(kernel), seed)


def conv2d_transpose_backward_input(output_gradient, kernel, input_shape, *, out=None, accumulate=False, **options):
    """As conv2d_backward_input, for conv2d_transpose and with its options."""
    gradient, kernel = np.asarray(output_gradient), np.asarray(kernel)
    params = _conv2d_transpose_params(input_shape, kernel.shape, **options)
    return _backward_input(_CONV2D_TRANSPOSE, params, input_shape, gradient, kernel, out, accumulate)


def conv2d_transpose_backward_kernel(x, output_gradient, kernel_shape, *, out=None, accumulate=False, **options):
    """As conv2d_backward_kernel, for conv2d_transpose and with its options."""
    x, gradient = np.asarray(x), np.asarray(output_gradient)
    return _backward_kernel(
        _CONV2D_TRANSPOSE, _conv2d_transpose_params(x.shape, kernel_shape, **options), kernel_shape, x, gradient, out, accumulate)


def conv2d_transpose_backward_bias(output_gradient, input_shape, kernel_shape, *, out=None, accumulate=False, **options):
    """As conv2d_backward_bias, for conv2d_transpose and with its options."""
    params = _conv2d_transpose_params(input_shape, kernel_shape, **options)
    return _backward_bias(_CONV2D_TRANSPOSE, params, np.asarray(output_gradient), out, accumulate)


def conv2d_transpose_workspace_size(input_shape, kernel_shape, *, dtype=np.float32, **options):
    """conv2d_workspace_size of a conv2d_transpose."""
    return _workspace_size(_CONV2D_TRANSPOSE, _conv2d_transpose_params(input_shape, kernel_shape, **options), dtype)


def conv2d_transpose_overlap(input_shape, kernel_shape, **options):
    """How many pairs of an input element and a kernel element reach each output pixel, as an array (output height, output
    width) of whole numbers: where they differ from neighbour to neighbour, outputs show a checkerboard. Options and errors
    are conv2d_transpose's."""
    params = _conv2d_transpose_params(input_shape, kernel_shape, **options)
    shape = _shape(_CONV2D_TRANSPOSE, params)
    counts = np.empty(shape[1:3] if params.data_format == _NHWC else shape[2:], np.int64)
    _transpose_overlap(byref(params), _address(counts), counts.size)
    return counts


# ------------------------------------------------------------------------------------------------------------ upsample2d


def _upsample2d_params(input_shape, size=2, *, output_size=None, scale=None, data_format="channels_last",
                       interpolation="nearest", coordinates=None, preset=None, rounding=None, edge=None,
                       cubic_coefficient=None, antialias=False, roi=None, extrapolation_value=0, threads=0, isa=None):
    params = _Upsample2DParams()
    _set_run(params, threads, isa)
    params.channels = _set_image(params, input_shape, data_format)
    if output_size is not None:
        params.output_height, params.output_width = _sizes("output_size", output_size)
    if scale is not None:
        params.scale_height, params.scale_width = (
            _given("scale", _real("scale", number)) for number in _both("scale", scale))
    if output_size is None and scale is None:
        params.factor_height, params.factor_width = _sizes("size", size)
    params.interpolation = _word("interpolation", interpolation, _INTERPOLATIONS)
    params.coordinates = _word("coordinates", "default" if coordinates is None else coordinates, _COORDINATES)
    params.preset = _word("preset", "none" if preset is None else preset, _PRESETS)
    params.rounding = _word("rounding", "default" if rounding is None else rounding, _ROUNDINGS)
    params.edge = _word("edge", "default" if edge is None else edge, _EDGES)
    if cubic_coefficient is not None:
        params.cubic_coefficient = _given("cubic_coefficient", _real("cubic_coefficient", cubic_coefficient))
    params.antialias = bool(antialias)
    if (roi is not None) != (params.coordinates == _COORDINATES["tf_crop_and_resize"]):
        raise ValueError(f"roi is {roi!r} and coordinates is {coordinates!r}; 'tf_crop_and_resize' needs a roi, others take none")
    if roi is not None:
        params.roi[:] = _region(roi)
    params.extrapolation_value = _real("extrapolation_value", extrapolation_value)
    return params


def _region(roi):
    numbers = [_real("roi", number) for number in roi] if np.iterable(roi) else []
    if len(numbers) != 4:
        raise ValueError(f"roi is {roi!r}; it must be four numbers: top, left, bottom, right")
    return numbers


def upsample2d(x, size=2, *, output_size=None, scale=None, data_format="channels_last", interpolation="nearest",
               coordinates=None, preset=None, rounding=None, edge=None, cubic_coefficient=None, antialias=False, roi=None,
               extrapolation_value=0, threads=0, isa=None, residual=None, out=None):
    """Enlarges (or shrinks) each image: Keras UpSampling2D, torch.nn.Upsample, ONNX Resize, cv2.resize.

    x              (batch, height, width, channels), or (batch, channels, height, width) with channels_first
    size           whole factor, or a pair (height, width); not looked at if output_size or scale is given
    output_size    the size itself, or a pair (height, width)
    scale          any number above 0, or a pair: the size is floor(input * scale), or output_size if that is given too; the step
                   in the input is 1 / scale
    interpolation  "nearest", "bilinear" or "linear", "bicubic" or "cubic", "lanczos3", "lanczos5", "area"
    coordinates    "half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric",
                   "tf_half_pixel_for_nn" or "tf_crop_and_resize"; None: by the preset
    preset         "keras" (on TensorFlow), "keras_jax", "torch", "torch_exact", "onnx" or "opencv": whose defaults and whose
                   arithmetic; None: PyTorch's
    rounding       nearest: "prefer_floor", "prefer_ceil" (or with ONNX's "round_" before them), "floor", "ceil", or "simple",
                   which is "ceil" along an axis that shrinks and else "floor"; None: by the preset
    edge           "clamp" repeats the border, "renormalise" leaves what is outside out; None: by the preset
    cubic_coefficient  bicubic: the kernel's a, such as -0.5 or -0.75; None: by the preset
    antialias      True: every input element counts when the image shrinks (bilinear, bicubic, lanczos)
    roi            tf_crop_and_resize: (top, left, bottom, right) of the region that is taken, 0 the first row or column and 1 the
                   last, as in tf.image.crop_and_resize's boxes, which are one call each with preset "keras"
    extrapolation_value  for what lies outside the image there
    residual       an array of the result's shape, which is added to it; may be out
    returns        (batch, output height, output width, channels), or channels first as x; out if that is given

    data_format, threads, isa, out and the errors are conv2d's."""
    x = np.asarray(x)
    params = _upsample2d_params(x.shape, size, output_size=output_size, scale=scale, data_format=data_format,
                                interpolation=interpolation, coordinates=coordinates, preset=preset, rounding=rounding, edge=edge,
                                cubic_coefficient=cubic_coefficient, antialias=antialias, roi=roi,
                                extrapolation_value=extrapolation_value, threads=threads, isa=isa)
    return _run(_UPSAMPLE2D, params, x, (), _dtype(x), out, residual)


def upsample2d_backward(output_gradient, input_shape, size=2, *, out=None, accumulate=False, **options):
    """The adjoint of upsample2d applied to output_gradient, of the shape input_shape; with upsample2d's options but residual.
    accumulate True: it is added to out."""
    gradient = np.asarray(output_gradient)
    params, dtype = _upsample2d_params(input_shape, size, **options), _dtype(gradient)
    gradient = _image(gradient, dtype)
    out = _gradient(params, gradient, _shape(_UPSAMPLE2D, params), tuple(input_shape), dtype, out, accumulate)
    params.input_strides[:] = _element_strides(out)
    _upsample2d_backward(byref(params), _address(gradient), _address(out))
    return out


def upsample2d_matrix(input_shape, size=2, *, dtype=np.float64, sparse=False, **options):
    """upsample2d of one image of input_shape (with its batch axis) as a matrix: as conv2d_matrix."""
    params = _upsample2d_params(input_shape, size, **options)
    return _matrix(_UPSAMPLE2D_OPERATOR, params, (), _dtype(np.empty(0, dtype)), sparse)


def upsample2d_gram(x, size=2, **options):
    """As conv2d_gram, for upsample2d and with its options."""
    x = np.asarray(x)
    return _gram(_UPSAMPLE2D_OPERATOR, _upsample2d_params(x.shape, size, **options), x, (), _dtype(x))


def upsample2d_adjoint_test(input_shape, size=2, *, seed=0, dtype=np.float64, **options):
    """As conv2d_adjoint_test, for upsample2d and with its options."""
    return _adjoint_test(
        _UPSAMPLE2D_OPERATOR, _upsample2d_params(input_shape, size, **options), (), _dtype(np.empty(0, dtype)), seed)


def upsample2d_output_shape(input_shape, size=2, **options):
    """The shape of upsample2d's result for an x of this shape, with its options and errors."""
    return _shape(_UPSAMPLE2D, _upsample2d_params(input_shape, size, **options))


# ------------------------------------------------------------------------------------------------ upsample2d and conv2d in one


def _upsample2d_conv2d_params(input_shape, kernel_shape, *, upsampling=None, data_format="channels_last", threads=0, isa=None,
                              **options):
    common = dict(data_format=data_format, threads=threads, isa=isa)
    first = _upsample2d_params(input_shape, **common, **(upsampling or {}))
    between = _shape(_UPSAMPLE2D, first)
    return _UpsampledParams(first, _conv2d_params(between, kernel_shape, **common, **options))


def upsample2d_conv2d(x, kernel, bias=None, *, upsampling=None, residual=None, out=None, **options):
    """conv2d(upsample2d(x, **upsampling), kernel, bias, **options), without the upsampled image in memory ("resize-convolution").

    upsampling     upsample2d's own options, such as {"size": 2, "interpolation": "bilinear"}; None: {"size": 2}, nearest
    residual, out  as for conv2d
    options        conv2d's; data_format, threads and isa are those of the upsampling too

    Nearest by whole factors is computed with sums of kernel elements, several times faster than in two steps, and equal to them
    within the rounding errors; everything else to the bit."""
    x, kernel, bias = _arrays(x, kernel, bias)
    params = _upsample2d_conv2d_params(x.shape, kernel.shape, upsampling=upsampling, **options)
    _check_bias(bias, params.convolution.out_channels)
    return _run(_UPSAMPLE2D_CONV2D, params, x, (kernel, bias), _dtype(x, kernel, bias), out, residual)


def upsample2d_conv2d_output_shape(input_shape, kernel_shape, **options):
    """The shape of upsample2d_conv2d's result for an x and a kernel of these shapes, with its options and errors."""
    return _shape(_UPSAMPLE2D_CONV2D, _upsample2d_conv2d_params(input_shape, kernel_shape, **options))


def upsample2d_conv2d_workspace_size(input_shape, kernel_shape, *, dtype=np.float32, **options):
    """conv2d_workspace_size of an upsample2d_conv2d."""
    return _workspace_size(_UPSAMPLE2D_CONV2D, _upsample2d_conv2d_params(input_shape, kernel_shape, **options), dtype)


# ----------------------------------------------------------------------------------------------------------------- plans


class _Handle:
    """Owns a C plan. Calls hold on to it while they run, so a plan that is closed meanwhile dies after the last of them."""

    def __init__(self, functions, params, constants):
        self._destroy = functions.plan_destroy
        self.pointer = c_void_p()
        functions.plan_create(*params.pointers(), *map(_address, constants), byref(self.pointer))

    def __del__(self):
        self._destroy(self.pointer)


class _AnyPlan:
    """The C plans of one layer, one for each pair of strides that its images come with: a C plan is bound to them."""

    def __init__(self, functions, verb, params, input_shape, constants, dtype):
        self._functions, self._params = functions, params
        params.dtype = _DTYPES[dtype]
        self.input_shape, self.output_shape, self.dtype = tuple(input_shape), _shape(verb, params), dtype
        self._constants = [array if array is None else np.array(array, dtype, order="C") for array in constants]
        self._handles = {}
        self._handle(self._handles, [0] * 4, [0] * 4)

    def _handle(self, handles, input_strides, output_strides):
        key = (*input_strides, *output_strides)
        if key not in handles:
            params = self._params.copy()
            params.input_strides[:], params.output_strides[:] = input_strides, output_strides
            handles[key] = _Handle(self._functions, params, self._constants)
        return handles[key]

    def _open(self):
        if self._handles is None:
            raise ValueError("the plan is closed")
        return self._handles

    def _argument(self, name, array, shape):
        array = np.asarray(array)
        if array.shape != shape or not np.can_cast(array.dtype, self.dtype):
            raise ValueError(f"{name} has shape {array.shape} and dtype {array.dtype}; "
                             f"the plan is made for shape {shape} and dtype {self.dtype}")
        return _image(array, self.dtype)

    def _execute(self, handles, image, output, arrays):
        """image lies as the layer's input does, output as its output: one of them may be a gradient."""
        handle = self._handle(handles, *(
            [0] * 4 if array.flags.c_contiguous else _element_strides(array) for array in (image, output)))
        self._functions.plan_execute(handle.pointer, *map(_address, arrays))

    def close(self):
        """Frees the plan; calls after this raise ValueError. May be called more than once."""
        self._handles = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class _Plan(_AnyPlan):
    """A layer for images of one shape: checked once, with kernel and bias copied and packed.

    Call it with an image, plan(x) or plan(x, out=y), from as many threads as you like. It frees its memory when it is closed,
    left as a context manager, or forgotten. Attributes: input_shape, output_shape, dtype."""

    def __init__(self, verb, params, input_shape, constants, dtype):
        super().__init__(verb, verb, params, input_shape, constants, dtype)

    def __call__(self, x, out=None):
        """The result for x, which has the plan's input_shape and a type that the plan's can hold (np.can_cast), written to out if
        that is given. Raises ValueError."""
        handles = self._open()
        x = self._argument("x", x, self.input_shape)
        out = _output(out, self.output_shape, self.dtype)
        self._execute(handles, x, out, (x, out))
        return out


class _GradientPlan(_AnyPlan):
    def __init__(self, functions, verb, params, input_shape, constants, dtype, accumulate):
        params.accumulate = bool(accumulate)
        super().__init__(functions, verb, params, input_shape, constants, dtype)

    def _result(self, out, shape):
        if self._params.accumulate and out is None:
            raise ValueError("accumulate is True and out is None; there is nothing to add to")
        return _output(out, shape, self.dtype)


class _BackwardInputPlan(_GradientPlan):
    """The gradient with respect to the input of a layer for images of one shape, with what does not change kept in it.

    Call it with an output gradient, plan(g) or plan(g, out=dx). In all else it is like the layer's own plan; input_shape and
    output_shape are those of the forward layer, of which the first is the result's. accumulate True: calls add to out."""

    def __call__(self, output_gradient, out=None):
        """The gradient for output_gradient, which has the plan's output_shape and a type that the plan's can hold
        (np.can_cast), written to out if that is given. Raises ValueError."""
        handles = self._open()
        gradient = self._argument("output_gradient", output_gradient, self.output_shape)
        out = self._result(out, self.input_shape)
        self._execute(handles, out, gradient, (gradient, out))
        return out


class _BackwardKernelPlan(_GradientPlan):
    """The gradient with respect to the kernel of a layer for images of one shape, with what does not change kept in it: worth its
    while for small layers.

    Call it with an image and an output gradient, plan(x, g) or plan(x, g, out=dw). In all else it is like the layer's own plan;
    input_shape, output_shape and kernel_shape are those of the forward layer, of which the last is the result's. accumulate
    True: calls add to out."""

    def __init__(self, verb, params, input_shape, kernel_shape, dtype, accumulate):
        self.kernel_shape = tuple(kernel_shape)
        super().__init__(verb.backward_kernel_plan, verb, params, input_shape, (), _dtype(np.empty(0, dtype)), accumulate)

    def __call__(self, x, output_gradient, out=None):
        """The gradient for x and output_gradient, which have the plan's shapes and types that the plan's can hold (np.can_cast),
        written to out, which must be contiguous, if that is given. Raises ValueError."""
        handles = self._open()
        x = self._argument("x", x, self.input_shape)
        gradient = self._argument("output_gradient", output_gradient, self.output_shape)
        out = _contiguous(self._result(out, self.kernel_shape))
        self._execute(handles, x, gradient, (x, gradient, out))
        return out


class Conv2DPlan(_Plan):
    __doc__ = _Plan.__doc__ + """

    Conv2DPlan(input_shape, kernel, bias=None, **conv2d's options but out). Its type is that of kernel and bias by the
    rules of the module's text."""

    def __init__(self, input_shape, kernel, bias=None, **options):
        _, kernel, bias = _arrays((), kernel, bias)
        params = _conv2d_params(input_shape, kernel.shape, **options)
        _check_bias(bias, params.out_channels)
        super().__init__(_CONV2D, params, input_shape, (kernel, bias), _dtype(kernel, bias))


class Conv2DTransposePlan(_Plan):
    __doc__ = _Plan.__doc__ + """

    Conv2DTransposePlan(input_shape, kernel, bias=None, **conv2d_transpose's options but out). Its type is that of kernel
    and bias by the rules of the module's text."""

    def __init__(self, input_shape, kernel, bias=None, **options):
        _, kernel, bias = _arrays((), kernel, bias)
        params = _conv2d_transpose_params(input_shape, kernel.shape, **options)
        _check_bias(bias, params.out_channels)
        super().__init__(_CONV2D_TRANSPOSE, params, input_shape, (kernel, bias), _dtype(kernel, bias))


class Upsample2DPlan(_Plan):
    __doc__ = _Plan.__doc__ + """

    Upsample2DPlan(input_shape, size=2, dtype=numpy.float32, **upsample2d's options but out)."""

    def __init__(self, input_shape, size=2, *, dtype=np.float32, **options):
        params = _upsample2d_params(input_shape, size, **options)
        super().__init__(_UPSAMPLE2D, params, input_shape, (), _dtype(np.empty(0, dtype)))


class Upsample2DConv2DPlan(_Plan):
    __doc__ = _Plan.__doc__ + """

    Upsample2DConv2DPlan(input_shape, kernel, bias=None, **upsample2d_conv2d's options but out). Its type is that of kernel and
    bias by the rules of the module's text."""

    def __init__(self, input_shape, kernel, bias=None, **options):
        _, kernel, bias = _arrays((), kernel, bias)
        params = _upsample2d_conv2d_params(input_shape, kernel.shape, **options)
        _check_bias(bias, params.convolution.out_channels)
        super().__init__(_UPSAMPLE2D_CONV2D, params, input_shape, (kernel, bias), _dtype(kernel, bias))


class Conv2DBackwardInputPlan(_BackwardInputPlan):
    __doc__ = _BackwardInputPlan.__doc__ + """

    Conv2DBackwardInputPlan(input_shape, kernel, accumulate=False, **conv2d's options). Its type is that of kernel by the rules
    of the module's text."""

    def __init__(self, input_shape, kernel, *, accumulate=False, **options):
        kernel = np.asarray(kernel)
        params = _conv2d_params(input_shape, kernel.shape, **options)
        super().__init__(_CONV2D.backward_input_plan, _CONV2D, params, input_shape, (kernel,), _dtype(kernel), accumulate)


class Conv2DBackwardKernelPlan(_BackwardKernelPlan):
    __doc__ = _BackwardKernelPlan.__doc__ + """

    Conv2DBackwardKernelPlan(input_shape, kernel_shape, dtype=numpy.float32, accumulate=False, **conv2d's options)."""

    def __init__(self, input_shape, kernel_shape, *, dtype=np.float32, accumulate=False, **options):
        params = _conv2d_params(input_shape, kernel_shape, **options)
        super().__init__(_CONV2D, params, input_shape, kernel_shape, dtype, accumulate)


class Conv2DTransposeBackwardInputPlan(_BackwardInputPlan):
    __doc__ = _BackwardInputPlan.__doc__ + """

    Conv2DTransposeBackwardInputPlan(input_shape, kernel, accumulate=False, **conv2d_transpose's options). Its type is that of
    kernel by the rules of the module's text."""

    def __init__(self, input_shape, kernel, *, accumulate=False, **options):
        kernel = np.asarray(kernel)
        params = _conv2d_transpose_params(input_shape, kernel.shape, **options)
        super().__init__(_CONV2D_TRANSPOSE.backward_input_plan, _CONV2D_TRANSPOSE, params, input_shape, (kernel,),
                         _dtype(kernel), accumulate)


class Conv2DTransposeBackwardKernelPlan(_BackwardKernelPlan):
    __doc__ = _BackwardKernelPlan.__doc__ + """

    Conv2DTransposeBackwardKernelPlan(input_shape, kernel_shape, dtype=numpy.float32, accumulate=False, **conv2d_transpose's
    options)."""

    def __init__(self, input_shape, kernel_shape, *, dtype=np.float32, accumulate=False, **options):
        params = _conv2d_transpose_params(input_shape, kernel_shape, **options)
        super().__init__(_CONV2D_TRANSPOSE, params, input_shape, kernel_shape, dtype, accumulate)


class Upsample2DBackwardPlan(_BackwardInputPlan):
    __doc__ = _BackwardInputPlan.__doc__ + """

    Upsample2DBackwardPlan(input_shape, size=2, dtype=numpy.float32, accumulate=False, **upsample2d's options)."""

    def __init__(self, input_shape, size=2, *, dtype=np.float32, accumulate=False, **options):
        params = _upsample2d_params(input_shape, size, **options)
        super().__init__(_UPSAMPLE2D_BACKWARD_PLAN, _UPSAMPLE2D, params, input_shape, (), _dtype(np.empty(0, dtype)), accumulate)
