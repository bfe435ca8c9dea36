import CConvolution

// Plans of the gradients: what `Conv2DPlan` is to `conv2d`. Shapes and options are the forward layer's.

/// A `conv2dBackwardInput` for a kernel that is used more than once: the kernel is packed when it is made. Many tasks may call
/// it at once.
///
///     let back = try Conv2DBackwardInputPlan(inputShape: image.shape, kernel: kernel, options: .init(padding: .same))
///     for gradient in gradients { use(try back(gradient)) }
public final class Conv2DBackwardInputPlan<Scalar: TensorScalar>: Sendable {
    /// The shape of the layer's input, and of the gradients it returns.
    public let inputShape: [Int]
    /// The shape of the layer's output, and of the gradients it takes.
    public let outputShape: [Int]
    private let plan: PlanHandle

    /// - Throws: what `conv2d` would for an input of this shape.
    public init(
        inputShape: [Int], kernel: Tensor<Scalar>, options: Conv2DOptions = Conv2DOptions()
    ) throws(ConvolutionError) {
        let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
        self.inputShape = inputShape
        outputShape = try call.outputShape(conv2d_output_shape)
        plan = try call.plan(destroy: conv2d_backward_input_plan_destroy) {
            conv2d_backward_input_plan_create($0, kernel.elements, $1)
        }
    }

    /// The same bits as `conv2dBackwardInput`.
    ///
    /// - Throws: `shape` if `outputGradient` has not the shape of the layer's output, `outOfMemory`.
    public func callAsFunction(_ outputGradient: Tensor<Scalar>) throws(ConvolutionError) -> Tensor<Scalar> {
        try outputGradient.checkGradient(outputShape)
        return try Tensor(shape: inputShape) { result in
            plan { conv2d_backward_input_plan_execute($0, outputGradient.elements, result) }
        }
    }
}

/// A `conv2dBackwardKernel` that is used more than once: what the sizes decide is decided when it is made, which is half of a
/// small layer's call, and nothing of a large one's. Many tasks may call it at once.
public final class Conv2DBackwardKernelPlan<Scalar: TensorScalar>: Sendable {
    /// The shape of the layer's inputs.
    public let inputShape: [Int]
    /// The shape of the layer's kernel, and of the gradients it returns.
    public let kernelShape: [Int]
    /// The shape of the layer's output, and of the gradients it takes.
    public let outputShape: [Int]
    private let plan: PlanHandle

    /// - Throws: what `conv2d` would for an input and a kernel of these shapes.
    public init(
        inputShape: [Int], kernelShape: [Int], options: Conv2DOptions = Conv2DOptions()
    ) throws(ConvolutionError) {
        let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernelShape)
        self.inputShape = inputShape
        self.kernelShape = kernelShape
        outputShape = try call.outputShape(conv2d_output_shape)
        plan = try call.plan(destroy: conv2d_backward_kernel_plan_destroy) { conv2d_backward_kernel_plan_create($0, $1) }
    }

    /// The same bits as `conv2dBackwardKernel`.
    ///
    /// - Throws: `shape` if one of the two has another shape than the plan, `outOfMemory`.
    public func callAsFunction(
        _ input: Tensor<Scalar>, outputGradient: Tensor<Scalar>
    ) throws(ConvolutionError) -> Tensor<Scalar> {
        try input.checkShape(inputShape)
        try outputGradient.checkGradient(outputShape)
        return try Tensor(shape: kernelShape) { result in
            plan { conv2d_backward_kernel_plan_execute($0, input.elements, outputGradient.elements, result) }
        }
    }
}

/// A `conv2dTransposeBackwardInput` for a kernel that is used more than once: see `Conv2DBackwardInputPlan`.
public final class Conv2DTransposeBackwardInputPlan<Scalar: TensorScalar>: Sendable {
    /// The shape of the layer's input, and of the gradients it returns.
    public let inputShape: [Int]
    /// The shape of the layer's output, and of the gradients it takes.
    public let outputShape: [Int]
    private let plan: PlanHandle

    /// - Throws: what `conv2dTranspose` would for an input of this shape.
    public init(
        inputShape: [Int], kernel: Tensor<Scalar>, options: Conv2DTransposeOptions = Conv2DTransposeOptions()
    ) throws(ConvolutionError) {
        let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
        self.inputShape = inputShape
        outputShape = try call.outputShape(conv2d_transpose_output_shape)
        plan = try call.plan(destroy: conv2d_transpose_backward_input_plan_destroy) {
            conv2d_transpose_backward_input_plan_create($0, kernel.elements, $1)
        }
    }

    /// The same bits as `conv2dTransposeBackwardInput`.
    ///
    /// - Throws: `shape` if `outputGradient` has not the shape of the layer's output, `outOfMemory`.
    public func callAsFunction(_ outputGradient: Tensor<Scalar>) throws(ConvolutionError) -> Tensor<Scalar> {
        try outputGradient.checkGradient(outputShape)
        return try Tensor(shape: inputShape) { result in
            plan { conv2d_transpose_backward_input_plan_execute($0, outputGradient.elements, result) }
        }
    }
}

/// A `conv2dTransposeBackwardKernel` that is used more than once: see `Conv2DBackwardKernelPlan`.
public final class Conv2DTransposeBackwardKernelPlan<Scalar: TensorScalar>: Sendable {
    /// The shape of the layer's inputs.
    public let inputShape: [Int]
    /// The shape of the layer's kernel, and of the gradients it returns.
    public let kernelShape: [Int]
    /// The shape of the layer's output, and of the gradients it takes.
    public let outputShape: [Int]
    private let plan: PlanHandle

    /// - Throws: what `conv2dTranspose` would for an input and a kernel of these shapes.
    public init(
        inputShape: [Int], kernelShape: [Int], options: Conv2DTransposeOptions = Conv2DTransposeOptions()
    ) throws(ConvolutionError) {
        let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernelShape)
        self.inputShape = inputShape
        self.kernelShape = kernelShape
        outputShape = try call.outputShape(conv2d_transpose_output_shape)
        plan = try call.plan(destroy: conv2d_transpose_backward_kernel_plan_destroy) {
            conv2d_transpose_backward_kernel_plan_create($0, $1)
        }
    }

    /// The same bits as `conv2dTransposeBackwardKernel`.
    ///
    /// - Throws: `shape` if one of the two has another shape than the plan, `outOfMemory`.
    public func callAsFunction(
        _ input: Tensor<Scalar>, outputGradient: Tensor<Scalar>
    ) throws(ConvolutionError) -> Tensor<Scalar> {
        try input.checkShape(inputShape)
        try outputGradient.checkGradient(outputShape)
        return try Tensor(shape: kernelShape) { result in
            plan { conv2d_transpose_backward_kernel_plan_execute($0, input.elements, outputGradient.elements, result) }
        }
    }
}

/// An `upsample2dBackward` that is used more than once: what each input element contributes to is computed when it is made. Many
/// tasks may call it at once.
public final class Upsample2DBackwardPlan<Scalar: TensorScalar>: Sendable {
    /// The shape of the upsampling's input, and of the gradients it returns.
    public let inputShape: [Int]
    /// The shape of the upsampling's result, and of the gradients it takes.
    public let outputShape: [Int]
    private let plan: PlanHandle

    /// - Throws: what `upsample2d` would for an input of this shape.
    public init(
        inputShape: [Int], size: UpsampledSize, options: Upsample2DOptions = Upsample2DOptions()
    ) throws(ConvolutionError) {
        let call = try options.call(Scalar.self, inputShape: inputShape, size: size)
        self.inputShape = inputShape
        outputShape = try call.outputShape(upsample2d_output_shape)
        plan = try call.plan(destroy: upsample2d_backward_plan_destroy) { upsample2d_backward_plan_create($0, $1) }
    }

    /// The same bits as `upsample2dBackward`.
    ///
    /// - Throws: `shape` if `outputGradient` has not the shape of the upsampling's result, `outOfMemory`.
    public func callAsFunction(_ outputGradient: Tensor<Scalar>) throws(ConvolutionError) -> Tensor<Scalar> {
        try outputGradient.checkGradient(outputShape)
        return try Tensor(shape: inputShape) { result in
            plan { upsample2d_backward_plan_execute($0, outputGradient.elements, result) }
        }
    }
}
