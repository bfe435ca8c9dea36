import CConvolution

/// Parameters of both parts, ready for the C functions.
private struct UpsampledCall {
    var upsampling: Call<upsample2d_params>
    var convolution: Call<conv2d_params>

    init<Scalar: TensorScalar>(
        _: Scalar.Type, inputShape: [Int], size: UpsampledSize, upsampling: Upsample2DOptions, kernelShape: [Int],
        options: Conv2DOptions
    ) throws(ConvolutionError) {
        self.upsampling = try upsampling.call(Scalar.self, inputShape: inputShape, size: size)
        convolution = try options.call(
            Scalar.self, inputShape: self.upsampling.outputShape(upsample2d_output_shape), kernelShape: kernelShape)
    }

    /// The status of `function`.
    func callAsFunction(_ function: (UnsafePointer<upsample2d_params>, UnsafePointer<conv2d_params>) -> Int32) -> Int32 {
        upsampling { first in convolution { second in function(first, second) } }
    }

    func outputShape() throws(ConvolutionError) -> [Int] {
        try shape { shape in self { upsample2d_conv2d_output_shape($0, $1, shape) } }
    }
}

/// `conv2d` of what `upsample2d` makes, without that image in memory ("resize-convolution"): an enlargement that shows no
/// checkerboard, unlike many by `conv2dTranspose`.
///
///     let twice = try upsample2dConv2d(
///         features, size: .factor(height: 2, width: 2), kernel: kernel, options: .init(padding: .same))
///
/// Nearest by whole factors is computed with sums of kernel elements, several times faster than in two steps, and equal to them
/// within rounding errors; everything else to the bit.
///
/// - Parameters:
///   - input: images, in the order of the data format, in which `upsampling` and `options` must agree; so must `threads` and
///     `isa`, unless they are given in one of the two alone.
///   - size: how large they become before the convolution.
///   - kernel: in the order of `options.kernelFormat`.
///   - bias: one number per output channel.
///   - residual: a tensor of the result's shape, added before the activation.
/// - Returns: what `conv2d` would for the upsampled images.
/// - Throws: what `upsample2d` and `conv2d` would, or if the two do not agree. The message names what and where.
public func upsample2dConv2d<Scalar>(
    _ input: Tensor<Scalar>, size: UpsampledSize, upsampling: Upsample2DOptions = Upsample2DOptions(), kernel: Tensor<Scalar>,
    bias: [Scalar]? = nil, residual: Tensor<Scalar>? = nil, options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    var call = try UpsampledCall(
        Scalar.self, inputShape: input.shape, size: size, upsampling: upsampling, kernelShape: kernel.shape, options: options)
    try call.convolution.parameters.checkBias(bias)
    let shape = try call.outputShape()
    try call.convolution.parameters.take(residual, shape: shape)
    return try Tensor(shape: shape) { output in
        residual?.copyElements(to: output)
        return call { upsample2d_conv2d($0, $1, input.elements, kernel.elements, bias, output) }
    }
}

/// The shape of what `upsample2dConv2d` returns for an input and a kernel of these shapes.
///
/// - Throws: what `upsample2dConv2d` would.
public func upsample2dConv2dOutputShape(
    inputShape: [Int], size: UpsampledSize, upsampling: Upsample2DOptions = Upsample2DOptions(), kernelShape: [Int],
    options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> [Int] {
    try UpsampledCall(
        Float.self, inputShape: inputShape, size: size, upsampling: upsampling, kernelShape: kernelShape, options: options
    ).outputShape()
}

/// The memory that `upsample2dConv2d` takes for an input and a kernel of these shapes; `options.workspaceLimit` holds for both
/// parts together.
///
/// - Throws: what `upsample2dConv2d` would.
public func upsample2dConv2dWorkspaceSize<Scalar: TensorScalar>(
    of _: Scalar.Type, inputShape: [Int], size: UpsampledSize, upsampling: Upsample2DOptions = Upsample2DOptions(),
    kernelShape: [Int], options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> WorkspaceSize {
    let call = try UpsampledCall(
        Scalar.self, inputShape: inputShape, size: size, upsampling: upsampling, kernelShape: kernelShape, options: options)
    return try WorkspaceSize { plan, execution, least in
        call { upsample2d_conv2d_workspace_size($0, $1, plan, execution, least) }
    }
}

/// An `upsample2dConv2d` for a kernel that is used more than once: see `Conv2DPlan`.
public final class Upsample2DConv2DPlan<Scalar: TensorScalar>: Sendable {
    /// The shape of the inputs it takes.
    public let inputShape: [Int]
    public let outputShape: [Int]
    private let plan: PlanHandle

    /// - Throws: what `upsample2dConv2d` would for an input of this shape.
    public init(
        inputShape: [Int], size: UpsampledSize, upsampling: Upsample2DOptions = Upsample2DOptions(), kernel: Tensor<Scalar>,
        bias: [Scalar]? = nil, options: Conv2DOptions = Conv2DOptions()
    ) throws(ConvolutionError) {
        let call = try UpsampledCall(
            Scalar.self, inputShape: inputShape, size: size, upsampling: upsampling, kernelShape: kernel.shape, options: options)
        try call.convolution.parameters.checkBias(bias)
        self.inputShape = inputShape
        outputShape = try call.outputShape()
        plan = try PlanHandle(destroy: upsample2d_conv2d_plan_destroy) { plan in
            call { upsample2d_conv2d_plan_create($0, $1, kernel.elements, bias, plan) }
        }
    }

    /// The same bits as `upsample2dConv2d`.
    ///
    /// - Throws: `shape` if the input has another shape than the plan, `outOfMemory`.
    public func callAsFunction(_ input: Tensor<Scalar>) throws(ConvolutionError) -> Tensor<Scalar> {
        try input.checkShape(inputShape)
        return try Tensor(shape: outputShape) { output in
            plan { upsample2d_conv2d_plan_execute($0, input.elements, output) }
        }
    }
}
