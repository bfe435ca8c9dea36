import CConvolution

// The words of the options. `include/convolution.h` defines each by formula.

/// The order of the axes of images.
public enum DataFormat: Hashable, Sendable, CaseIterable {
    /// `[batch, height, width, channels]`: Keras, TensorFlow.
    case channelsLast
    /// `[batch, channels, height, width]`: PyTorch, ONNX.
    case channelsFirst

    var code: Int {
        switch self {
        case .channelsLast: CONVOLUTION_NHWC
        case .channelsFirst: CONVOLUTION_NCHW
        }
    }

    /// Where height and channels stand in a shape; the width follows the height.
    var axes: (height: Int, channels: Int) {
        switch self {
        case .channelsLast: (1, 3)
        case .channelsFirst: (2, 1)
        }
    }

    var axisNames: String {
        switch self {
        case .channelsLast: "batch, height, width, channels"
        case .channelsFirst: "batch, channels, height, width"
        }
    }
}

/// How far the window reaches beyond the image. With i rows, stride s and a kernel that extends over
/// ke = (kernel - 1) * dilation + 1 rows, per axis:
public enum Padding: Hashable, Sendable {
    /// Nothing.
    case valid
    /// So much that the output has ceil(i / s) rows, the odd one at the end: TensorFlow, Keras, ONNX SAME_UPPER, PyTorch 'same'.
    case same
    /// The same with the odd one at the start: ONNX SAME_LOWER.
    case sameLower
    /// ke - 1 on both sides.
    case full
    /// ke - 1 at the start.
    case causal
    /// As given, in rows and columns. Negative numbers crop. Of a transposed convolution it is cut off the natural result.
    case explicit(top: Int, bottom: Int, left: Int, right: Int)

    var code: Int {
        switch self {
        case .valid: CONVOLUTION_PADDING_VALID
        case .same: CONVOLUTION_PADDING_SAME
        case .sameLower: CONVOLUTION_PADDING_SAME_LOWER
        case .full: CONVOLUTION_PADDING_FULL
        case .causal: CONVOLUTION_PADDING_CAUSAL
        case .explicit: CONVOLUTION_PADDING_EXPLICIT
        }
    }
}

/// What stands outside the image. `[1, 2, 3, 4]` padded by 2 on both sides:
public enum PaddingMode: Hashable, Sendable {
    /// `0 0 | 1 2 3 4 | 0 0`
    case zeros
    /// `v v | 1 2 3 4 | v v`
    case constant(Double)
    /// `3 2 | 1 2 3 4 | 3 2`
    case reflect
    /// `2 1 | 1 2 3 4 | 4 3`
    case symmetric
    /// `1 1 | 1 2 3 4 | 4 4`
    case replicate
    /// `3 4 | 1 2 3 4 | 1 2`
    case circular

    var code: Int {
        switch self {
        case .zeros: CONVOLUTION_PADDING_MODE_ZEROS
        case .constant: CONVOLUTION_PADDING_MODE_CONSTANT
        case .reflect: CONVOLUTION_PADDING_MODE_REFLECT
        case .symmetric: CONVOLUTION_PADDING_MODE_SYMMETRIC
        case .replicate: CONVOLUTION_PADDING_MODE_REPLICATE
        case .circular: CONVOLUTION_PADDING_MODE_CIRCULAR
        }
    }
}

/// The ways of computing a convolution that are permitted.
public enum Algorithm: Hashable, Sendable, CaseIterable {
    /// Those that keep the bound on rounding errors that `include/convolution.h` names under NUMBERS.
    case standard
    /// Winograd's too, for 3x3 kernels of stride 1 and transposed convolutions of larger strides: up to three times as fast, with
    /// larger rounding errors. See CONVOLUTION_ALGORITHM_WINOGRAD in `include/convolution.h`.
    case winograd

    var code: Int {
        switch self {
        case .standard: CONVOLUTION_ALGORITHM_DEFAULT
        case .winograd: CONVOLUTION_ALGORITHM_WINOGRAD
        }
    }
}

/// What is done to each output element z = sum + bias. NaN stays NaN.
public enum Activation: Hashable, Sendable {
    case none
    /// max(z, 0)
    case relu
    /// min(max(z, 0), 6)
    case relu6
    /// min(max(z, min), max); the limits may be infinite.
    case clamp(min: Double, max: Double)
    /// z where z >= 0, else alpha * z. alpha is finite and not 0.
    case leakyRelu(alpha: Double = 0.01)
    /// 1 / (1 + exp(-z))
    case sigmoid
    /// tanh(z)
    case tanh

    var code: Int {
        switch self {
        case .none: CONVOLUTION_ACTIVATION_NONE
        case .relu: CONVOLUTION_ACTIVATION_RELU
        case .relu6: CONVOLUTION_ACTIVATION_RELU6
        case .clamp: CONVOLUTION_ACTIVATION_CLAMP
        case .leakyRelu: CONVOLUTION_ACTIVATION_LEAKY_RELU
        case .sigmoid: CONVOLUTION_ACTIVATION_SIGMOID
        case .tanh: CONVOLUTION_ACTIVATION_TANH
        }
    }
}

/// Whose window of the natural result a transposed convolution returns, and which options it can take: the table in
/// `include/convolution.h`.
public enum TransposeRule: Hashable, Sendable, CaseIterable {
    /// Keras, TensorFlow, TFLite. Padding `valid` or `same`.
    case keras
    /// PyTorch. Padding `explicit` (or `valid`: none), the same on both sides of an axis.
    case torch
    /// ONNX ConvTranspose. Padding `explicit`, `valid`, `same` or `sameLower`.
    case onnx
    /// JAX. Padding `valid` or `same`; `flipKernel` is the meaning of its default, transpose_kernel=False.
    case jax
    /// The window itself: padding `explicit`, where negative numbers extend the result.
    case window

    var code: Int {
        switch self {
        case .keras: CONV2D_TRANSPOSE_RULE_KERAS
        case .torch: CONV2D_TRANSPOSE_RULE_TORCH
        case .onnx: CONV2D_TRANSPOSE_RULE_ONNX
        case .jax: CONV2D_TRANSPOSE_RULE_JAX
        case .window: CONV2D_TRANSPOSE_RULE_WINDOW
        }
    }
}

/// How an upsampling finds the value between input elements.
public enum Interpolation: Hashable, Sendable, CaseIterable {
    case nearest
    case bilinear
    case bicubic
    case lanczos3
    case lanczos5
    case area

    var code: Int {
        switch self {
        case .nearest: UPSAMPLE2D_NEAREST
        case .bilinear: UPSAMPLE2D_BILINEAR
        case .bicubic: UPSAMPLE2D_BICUBIC
        case .lanczos3: UPSAMPLE2D_LANCZOS3
        case .lanczos5: UPSAMPLE2D_LANCZOS5
        case .area: UPSAMPLE2D_AREA
        }
    }
}

/// Where in the input the output element t of an upsampling from i to o elements lies, r = i / o (or 1 / scale).
public enum Coordinates: Hashable, Sendable, CaseIterable {
    /// (t + 0.5) * r - 0.5. The default but for nearest; for nearest, PyTorch's nearest-exact.
    case halfPixel
    /// t * (i - 1) / (o - 1), 0 if o is 1.
    case alignCorners
    /// t * r. PyTorch's nearest.
    case asymmetric
    /// As `halfPixel`, but 0 if o is 1.
    case pytorchHalfPixel
    /// As `halfPixel`, with what a scale leaves over cut off at both ends alike: (i - o * r) / 2 further on.
    case halfPixelSymmetric
    /// (t + 0.5) * r, but t where the axis keeps its size. ONNX's tf_half_pixel_for_nn.
    case tfHalfPixelForNN

    var code: Int {
        switch self {
        case .halfPixel: UPSAMPLE2D_COORDINATES_HALF_PIXEL
        case .alignCorners: UPSAMPLE2D_COORDINATES_ALIGN_CORNERS
        case .asymmetric: UPSAMPLE2D_COORDINATES_ASYMMETRIC
        case .pytorchHalfPixel: UPSAMPLE2D_COORDINATES_PYTORCH_HALF_PIXEL
        case .halfPixelSymmetric: UPSAMPLE2D_COORDINATES_HALF_PIXEL_SYMMETRIC
        case .tfHalfPixelForNN: UPSAMPLE2D_COORDINATES_TF_HALF_PIXEL_FOR_NN
        }
    }
}

/// The framework whose defaults and whose arithmetic an upsampling has: the table in `include/convolution.h`.
public enum UpsamplePreset: Hashable, Sendable, CaseIterable {
    /// Keras on TensorFlow.
    case keras
    /// Keras on JAX.
    case kerasJAX
    /// PyTorch; nearest is its mode "nearest".
    case torch
    /// PyTorch; nearest is its mode "nearest-exact".
    case torchExact
    case onnx
    case openCV

    var code: Int {
        switch self {
        case .keras: UPSAMPLE2D_PRESET_KERAS
        case .kerasJAX: UPSAMPLE2D_PRESET_KERAS_JAX
        case .torch: UPSAMPLE2D_PRESET_TORCH
        case .torchExact: UPSAMPLE2D_PRESET_TORCH_EXACT
        case .onnx: UPSAMPLE2D_PRESET_ONNX
        case .openCV: UPSAMPLE2D_PRESET_OPENCV
        }
    }
}

/// Which element nearest takes for a place between two.
public enum NearestRounding: Hashable, Sendable, CaseIterable {
    /// The nearest, the lower of two as near.
    case preferFloor
    /// The nearest, the upper of two as near.
    case preferCeil
    case floor
    case ceil
    /// `ceil` along an axis that shrinks, else `floor`. OpenVINO's simple, and what ONNX's Resize did in version 10.
    case simple

    var code: Int {
        switch self {
        case .preferFloor: UPSAMPLE2D_ROUNDING_PREFER_FLOOR
        case .preferCeil: UPSAMPLE2D_ROUNDING_PREFER_CEIL
        case .floor: UPSAMPLE2D_ROUNDING_FLOOR
        case .ceil: UPSAMPLE2D_ROUNDING_CEIL
        case .simple: UPSAMPLE2D_ROUNDING_SIMPLE
        }
    }
}

/// What an interpolation does about elements beyond the border.
public enum UpsampleEdge: Hashable, Sendable, CaseIterable {
    /// The border element stands for them.
    case clamp
    /// They are left out, and the other weights divided by their sum.
    case renormalise

    var code: Int {
        switch self {
        case .clamp: UPSAMPLE2D_EDGE_CLAMP
        case .renormalise: UPSAMPLE2D_EDGE_RENORMALISE
        }
    }
}
