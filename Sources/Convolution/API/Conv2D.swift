import CConvolution

/// What a `conv2d` does besides its tensors. The defaults are Keras's.
public struct Conv2DOptions: Sendable, LayerOptions {
    /// From window to window, in input rows and columns; 1 or more.
    public var strides: (height: Int, width: Int)
    /// How many rows and columns are added around the input; by default none.
    public var padding: Padding
    /// What they hold; by default zeros.
    public var paddingMode: PaddingMode
    /// Between neighbouring kernel elements, in input rows and columns; 1 (dense) or more.
    public var dilation: (height: Int, width: Int)
    /// The channels of input and output are split into this many groups, each with its own kernels; 1 or more.
    public var groups: Int
    /// True convolution, the kernel turned by 180 degrees, rather than the cross-correlation of deep learning.
    public var flipKernel: Bool
    /// Applied to each output element last, after bias and residual; by default none.
    public var activation: Activation
    /// The order of the axes of input and output.
    public var dataFormat: DataFormat
    /// The order of the axes of the kernel.
    public var kernelFormat: KernelFormat
    /// Whether a kernel larger than the padded image gives an output without rows or columns, as in TensorFlow and JAX, rather
    /// than an error, as in Keras and PyTorch.
    public var allowsEmptyOutput: Bool
    /// Threads that compute. 0: one per core; 1: only the caller's; at most 1024. The result does not depend on it.
    public var threads: Int
    /// An instruction-set tier by name, one of `InstructionSetTiers.supported`. nil: the best, or what the environment variable
    /// CONVOLUTION_ISA says.
    public var isa: String?
    /// The most bytes of scratch memory that one execution may take; 0: no limit. The result does not depend on it.
    public var workspaceLimit: Int
    /// Whether sums may be computed in a way that is faster and less exact.
    public var algorithm: Algorithm

    /// The axes of kernels. With groups, "in channels" are those of one group.
    public enum KernelFormat: Hashable, Sendable, CaseIterable {
        /// `[height, width, in channels, out channels]`: Keras, TensorFlow.
        case keras
        /// `[out channels, in channels, height, width]`: PyTorch, ONNX.
        case torch
        /// `[height, width, channels, multiplier]`: Keras DepthwiseConv2D. Every channel is a group; `groups` stays 1.
        case kerasDepthwise

        var code: Int {
            switch self {
            case .keras, .kerasDepthwise: CONVOLUTION_KERNEL_HWIO
            case .torch: CONVOLUTION_KERNEL_OIHW
            }
        }

        var axes: KernelAxes {
            switch self {
            case .keras: KernelAxes(names: "height, width, in channels / groups, out channels", height: 0, input: 2, output: 3)
            case .torch: KernelAxes(names: "out channels, in channels / groups, height, width", height: 2, input: 1, output: 0)
            case .kerasDepthwise: KernelAxes(names: "height, width, channels, multiplier", height: 0, input: 2, output: 3)
            }
        }
    }

    public init(
        strides: (height: Int, width: Int) = (1, 1), padding: Padding = .valid, paddingMode: PaddingMode = .zeros,
        dilation: (height: Int, width: Int) = (1, 1), groups: Int = 1, flipKernel: Bool = false, activation: Activation = .none,
        dataFormat: DataFormat = .channelsLast, kernelFormat: KernelFormat = .keras, allowsEmptyOutput: Bool = false,
        threads: Int = 0, isa: String? = nil, workspaceLimit: Int = 0, algorithm: Algorithm = .standard
    ) {
        self.strides = strides
        self.padding = padding
        self.paddingMode = paddingMode
        self.dilation = dilation
        self.groups = groups
        self.flipKernel = flipKernel
        self.activation = activation
        self.dataFormat = dataFormat
        self.kernelFormat = kernelFormat
        self.allowsEmptyOutput = allowsEmptyOutput
        self.threads = threads
        self.isa = isa
        self.workspaceLimit = workspaceLimit
        self.algorithm = algorithm
    }

    func call<Scalar: TensorScalar>(
        _: Scalar.Type, inputShape: [Int], kernelShape: [Int]
    ) throws(ConvolutionError) -> Call<conv2d_params> {
        let axes = kernelFormat.axes
        var (p, channels) = try conv2d_params.forImages(inputShape, of: Scalar.self, dataFormat: dataFormat, threads: threads)
        try p.fill(self, kernelShape: kernelShape, axes)
        p.kernel_format = Int32(kernelFormat.code)
        p.in_channels = Int64(channels)
        p.groups = try positive(groups, "groups", .groups)
        if kernelFormat == .kerasDepthwise {
            if groups != 1 { throw ConvolutionError(.groups, "groups is \(groups); with a depthwise kernel it must be 1") }
            try checkKernel(kernelShape, axes, inputs: channels, because: "\(channels) input channels")
            p.groups = Int64(channels)
            p.out_channels = clampedProduct(channels, kernelShape[axes.output])
        } else {
            // Groups that do not divide the channels are for C to refuse.
            if channels % groups == 0 {
                try checkKernel(
                    kernelShape, axes, inputs: channels / groups, because: "\(channels) input channels and groups \(groups)")
            }
            p.out_channels = Int64(kernelShape[axes.output])
        }
        p.padding_mode = Int32(paddingMode.code)
        if case .constant(let value) = paddingMode { p.padding_value = value }
        return Call(parameters: p, isa: isa)
    }
}

/// Cross-correlation, which deep learning calls convolution: with stride s and dilation d, per image, row y, column x and
/// output channel o
///
///     output[y, x, o] = activation(residual[y, x, o] + bias[o] + sum over a, b, c of
///         input[y*s + a*d - top, x*s + b*d - left, c] * kernel[a, b, c, o])
///
/// Keras's Conv2D and DepthwiseConv2D, PyTorch's conv2d.
///
///     let edges = try conv2d(image, kernel: sobel, options: .init(strides: (2, 2), padding: .same))
///
/// - Parameters:
///   - input: images, in the order of `options.dataFormat`.
///   - kernel: in the order of `options.kernelFormat`.
///   - bias: one number per output channel.
///   - residual: a tensor of the result's shape, added before the activation.
/// - Returns: `[batch, height, width, out channels]` in the order of `options.dataFormat`, height and width being
///   floor((input + padding - extent) / stride) + 1.
/// - Throws: if the tensors do not fit together or an option is out of its range. The message names it.
public func conv2d<Scalar>(
    _ input: Tensor<Scalar>, kernel: Tensor<Scalar>, bias: [Scalar]? = nil, residual: Tensor<Scalar>? = nil,
    options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    var call = try options.call(Scalar.self, inputShape: input.shape, kernelShape: kernel.shape)
    try call.parameters.checkBias(bias)
    let shape = try call.outputShape(conv2d_output_shape)
    try call.parameters.take(residual, shape: shape)
    return try Tensor(shape: shape) { output in
        residual?.copyElements(to: output)
        return call { conv2d($0, input.elements, kernel.elements, bias, output) }
    }
}

/// The shape of what `conv2d` returns for an input and a kernel of these shapes.
///
/// - Throws: what `conv2d` would.
public func conv2dOutputShape(
    inputShape: [Int], kernelShape: [Int], options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> [Int] {
    try options.call(Float.self, inputShape: inputShape, kernelShape: kernelShape).outputShape(conv2d_output_shape)
}

/// The memory that conv2d takes for an input and a kernel of these shapes.
///
/// - Throws: what `conv2d` would.
public func conv2dWorkspaceSize<Scalar: TensorScalar>(
    of _: Scalar.Type, inputShape: [Int], kernelShape: [Int], options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> WorkspaceSize {
    try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernelShape).workspaceSize(conv2d_workspace_size)
}

/// A `conv2d` for a kernel that is used more than once: kernel and bias are packed when it is made. Many tasks may call it at
/// once.
///
///     let blur = try Conv2DPlan(inputShape: [1, 480, 640, 3], kernel: kernel, options: .init(padding: .same))
///     for frame in frames { show(try blur(frame)) }
public final class Conv2DPlan<Scalar: TensorScalar>: Sendable {
    /// The shape of the inputs it takes.
    public let inputShape: [Int]
    public let outputShape: [Int]
    private let plan: PlanHandle

    /// - Throws: what `conv2d` would for an input of this shape.
    public init(
        inputShape: [Int], kernel: Tensor<Scalar>, bias: [Scalar]? = nil, options: Conv2DOptions = Conv2DOptions()
    ) throws(ConvolutionError) {
        let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
        try call.parameters.checkBias(bias)
        self.inputShape = inputShape
        outputShape = try call.outputShape(conv2d_output_shape)
        plan = try call.plan(destroy: conv2d_plan_destroy) { conv2d_plan_create($0, kernel.elements, bias, $1) }
    }

    /// The same bits as `conv2d`.
    ///
    /// - Throws: `shape` if the input has another shape than the plan, `outOfMemory`.
    public func callAsFunction(_ input: Tensor<Scalar>) throws(ConvolutionError) -> Tensor<Scalar> {
        try input.checkShape(inputShape)
        return try Tensor(shape: outputShape) { output in
            plan { conv2d_plan_execute($0, input.elements, output) }
        }
    }
}
