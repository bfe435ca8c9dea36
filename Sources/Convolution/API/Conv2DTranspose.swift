import CConvolution

/// What a `conv2dTranspose` does besides its tensors. The defaults are Keras's. Where no meaning is given, it is that of
/// `Conv2DOptions`.
public struct Conv2DTransposeOptions: Sendable, LayerOptions {
    /// From the result of one input element to that of the next, in output rows and columns; 1 or more.
    public var strides: (height: Int, width: Int)
    /// What is cut from the full result, in rows and columns; each `rule` takes some of the cases.
    public var padding: Padding
    /// The framework whose output size and position are meant: they differ for the same strides and padding.
    public var rule: TransposeRule
    /// Rows and columns added at the end. nil is Keras's None, which is not the same as `(0, 0)`.
    public var outputPadding: (height: Int, width: Int)?
    /// The output's height and width, where the rule leaves a choice; nil: by the rule.
    public var outputSize: (height: Int, width: Int)?
    public var dilation: (height: Int, width: Int)
    public var groups: Int
    public var flipKernel: Bool
    public var activation: Activation
    public var dataFormat: DataFormat
    public var kernelFormat: KernelFormat
    /// Whether an output of which the padding leaves nothing has no rows or columns, rather than being an error.
    public var allowsEmptyOutput: Bool
    public var threads: Int
    public var isa: String?
    public var workspaceLimit: Int
    public var algorithm: Algorithm

    /// The axes of kernels. With groups, "out channels" are those of one group.
    public enum KernelFormat: Hashable, Sendable, CaseIterable {
        /// `[height, width, out channels, in channels]`: Keras, TensorFlow.
        case keras
        /// `[in channels, out channels, height, width]`: PyTorch, ONNX.
        case torch

        var code: Int {
            switch self {
            case .keras: CONVOLUTION_KERNEL_HWOI
            case .torch: CONVOLUTION_KERNEL_IOHW
            }
        }

        var axes: KernelAxes {
            switch self {
            case .keras: KernelAxes(names: "height, width, out channels / groups, in channels", height: 0, input: 3, output: 2)
            case .torch: KernelAxes(names: "in channels, out channels / groups, height, width", height: 2, input: 0, output: 1)
            }
        }
    }

    public init(
        strides: (height: Int, width: Int) = (1, 1), padding: Padding = .valid, rule: TransposeRule = .keras,
        outputPadding: (height: Int, width: Int)? = nil, outputSize: (height: Int, width: Int)? = nil,
        dilation: (height: Int, width: Int) = (1, 1), groups: Int = 1, flipKernel: Bool = false, activation: Activation = .none,
        dataFormat: DataFormat = .channelsLast, kernelFormat: KernelFormat = .keras, allowsEmptyOutput: Bool = false,
        threads: Int = 0, isa: String? = nil, workspaceLimit: Int = 0, algorithm: Algorithm = .standard
    ) {
        self.strides = strides
        self.padding = padding
        self.rule = rule
        self.outputPadding = outputPadding
        self.outputSize = outputSize
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
    ) throws(ConvolutionError) -> Call<conv2d_transpose_params> {
        let axes = kernelFormat.axes
        var (p, channels) = try conv2d_transpose_params.forImages(
            inputShape, of: Scalar.self, dataFormat: dataFormat, threads: threads)
        try p.fill(self, kernelShape: kernelShape, axes)
        try checkKernel(kernelShape, axes, inputs: channels, because: "\(channels) input channels")
        p.kernel_format = Int32(kernelFormat.code)
        p.in_channels = Int64(channels)
        p.groups = try positive(groups, "groups", .groups)
        p.out_channels = clampedProduct(kernelShape[axes.output], groups)
        p.rule = Int32(rule.code)
        if let outputPadding {
            p.output_padding_given = 1
            p.output_padding_height = Int64(outputPadding.height)
            p.output_padding_width = Int64(outputPadding.width)
        }
        if let outputSize {
            p.output_height = try positive(outputSize.height, "output_height", .outputSize)
            p.output_width = try positive(outputSize.width, "output_width", .outputSize)
        }
        return Call(parameters: p, isa: isa)
    }
}

/// The adjoint of `conv2d`: every input element times the kernel, added up `strides` apart, of which the rule cuts a window.
/// Per axis, with stride s and dilation d,
///
///     full[t] = sum over j, a with j*s + a*d = t of input[j] * kernel[a]
///     output[t] = activation(residual[t] + bias + full[t + start])
///
/// Keras's Conv2DTranspose, PyTorch's conv_transpose2d, ONNX ConvTranspose.
///
///     let twice = try conv2dTranspose(features, kernel: kernel, options: .init(strides: (2, 2), padding: .same))
///
/// - Parameters:
///   - input: images, in the order of `options.dataFormat`.
///   - kernel: in the order of `options.kernelFormat`.
///   - bias: one number per output channel.
///   - residual: a tensor of the result's shape, added before the activation.
/// - Returns: images in the order of `options.dataFormat`, of the height and width that the rule says.
/// - Throws: if the tensors do not fit together, an option is out of its range or the rule cannot take it. The message names it.
public func conv2dTranspose<Scalar>(
    _ input: Tensor<Scalar>, kernel: Tensor<Scalar>, bias: [Scalar]? = nil, residual: Tensor<Scalar>? = nil,
    options: Conv2DTransposeOptions = Conv2DTransposeOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    var call = try options.call(Scalar.self, inputShape: input.shape, kernelShape: kernel.shape)
    try call.parameters.checkBias(bias)
    let shape = try call.outputShape(conv2d_transpose_output_shape)
    try call.parameters.take(residual, shape: shape)
    return try Tensor(shape: shape) { output in
        residual?.copyElements(to: output)
        return call { conv2d_transpose($0, input.elements, kernel.elements, bias, output) }
    }
}

/// The shape of what `conv2dTranspose` returns for an input and a kernel of these shapes.
///
/// - Throws: what `conv2dTranspose` would.
public func conv2dTransposeOutputShape(
    inputShape: [Int], kernelShape: [Int], options: Conv2DTransposeOptions = Conv2DTransposeOptions()
) throws(ConvolutionError) -> [Int] {
    try options.call(Float.self, inputShape: inputShape, kernelShape: kernelShape).outputShape(conv2d_transpose_output_shape)
}

/// The memory that conv2dTranspose takes for an input and a kernel of these shapes.
///
/// - Throws: what `conv2dTranspose` would.
public func conv2dTransposeWorkspaceSize<Scalar: TensorScalar>(
    of _: Scalar.Type, inputShape: [Int], kernelShape: [Int], options: Conv2DTransposeOptions = Conv2DTransposeOptions()
) throws(ConvolutionError) -> WorkspaceSize {
    try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernelShape).workspaceSize(conv2d_transpose_workspace_size)
}

/// How many pairs of an input element and a kernel element reach each output pixel, by row and column: where neighbours differ,
/// outputs show a checkerboard.
///
/// - Throws: what `conv2dTranspose` would.
public func conv2dTransposeOverlap(
    inputShape: [Int], kernelShape: [Int], options: Conv2DTransposeOptions = Conv2DTransposeOptions()
) throws(ConvolutionError) -> [[Int]] {
    let call = try options.call(Float.self, inputShape: inputShape, kernelShape: kernelShape)
    let shape = try call.outputShape(conv2d_transpose_output_shape)
    let (rows, columns) = (shape[options.dataFormat.axes.height], shape[options.dataFormat.axes.height + 1])
    let (pixels, overflow) = rows.multipliedReportingOverflow(by: columns)
    if overflow {
        throw ConvolutionError(.overflow, "an output of \(rows) rows times \(columns) columns is more than memory can hold")
    }
    var counts = [Int64](repeating: 0, count: pixels)
    try check(call { conv2d_transpose_overlap($0, &counts, Int64(pixels)) })
    return (0..<rows).map { row in (0..<columns).map { Int(counts[row * columns + $0]) } }
}

/// A `conv2dTranspose` for a kernel that is used more than once: see `Conv2DPlan`.
public final class Conv2DTransposePlan<Scalar: TensorScalar>: Sendable {
    /// The shape of the inputs it takes.
    public let inputShape: [Int]
    public let outputShape: [Int]
    private let plan: PlanHandle

    /// - Throws: what `conv2dTranspose` would for an input of this shape.
    public init(
        inputShape: [Int], kernel: Tensor<Scalar>, bias: [Scalar]? = nil,
        options: Conv2DTransposeOptions = Conv2DTransposeOptions()
    ) throws(ConvolutionError) {
        let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
        try call.parameters.checkBias(bias)
        self.inputShape = inputShape
        outputShape = try call.outputShape(conv2d_transpose_output_shape)
        plan = try call.plan(destroy: conv2d_transpose_plan_destroy) {
            conv2d_transpose_plan_create($0, kernel.elements, bias, $1)
        }
    }

    /// The same bits as `conv2dTranspose`.
    ///
    /// - Throws: `shape` if the input has another shape than the plan, `outOfMemory`.
    public func callAsFunction(_ input: Tensor<Scalar>) throws(ConvolutionError) -> Tensor<Scalar> {
        try input.checkShape(inputShape)
        return try Tensor(shape: outputShape) { output in
            plan { conv2d_transpose_plan_execute($0, input.elements, output) }
        }
    }
}
