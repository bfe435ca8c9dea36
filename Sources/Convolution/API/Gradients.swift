import CConvolution

// Gradients. With output = layer(input, kernel, bias) and the derivatives of some number by the elements of the output, these are
// its derivatives by those of the input, the kernel and the bias. The activation plays no part: multiply by its slope first.

/// The derivatives by the input of `conv2d`: its adjoint applied to `outputGradient`.
///
/// - Parameters:
///   - outputGradient: of the shape of `conv2d`'s result.
///   - kernel: as for `conv2d`.
///   - inputShape: the shape of `conv2d`'s input, and of the result.
/// - Throws: what `conv2d` would; `shape` if `outputGradient` has another shape.
public func conv2dBackwardInput<Scalar>(
    _ outputGradient: Tensor<Scalar>, kernel: Tensor<Scalar>, inputShape: [Int], options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
    try outputGradient.checkGradient(call.outputShape(conv2d_output_shape))
    return try Tensor(shape: inputShape) { result in
        call { conv2d_backward_input($0, outputGradient.elements, kernel.elements, result) }
    }
}

/// The derivatives by the kernel of `conv2d`, in its shape and format.
///
/// - Throws: as `conv2dBackwardInput`.
public func conv2dBackwardKernel<Scalar>(
    _ input: Tensor<Scalar>, outputGradient: Tensor<Scalar>, kernelShape: [Int], options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    let call = try options.call(Scalar.self, inputShape: input.shape, kernelShape: kernelShape)
    try outputGradient.checkGradient(call.outputShape(conv2d_output_shape))
    return try Tensor(shape: kernelShape) { result in
        call { conv2d_backward_kernel($0, input.elements, outputGradient.elements, result) }
    }
}

/// The derivatives by the bias of `conv2d`: sums over images and pixels.
///
/// - Throws: as `conv2dBackwardInput`.
public func conv2dBackwardBias<Scalar>(
    _ outputGradient: Tensor<Scalar>, inputShape: [Int], kernelShape: [Int], options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> [Scalar] {
    let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernelShape)
    try outputGradient.checkGradient(call.outputShape(conv2d_output_shape))
    return try Tensor<Scalar>(shape: [Int(call.parameters.out_channels)]) { result in
        call { conv2d_backward_bias($0, outputGradient.elements, result) }
    }.elements
}

/// The derivatives by the input of `conv2dTranspose`: see `conv2dBackwardInput`.
///
/// - Throws: what `conv2dTranspose` would; `shape` if `outputGradient` has another shape.
public func conv2dTransposeBackwardInput<Scalar>(
    _ outputGradient: Tensor<Scalar>, kernel: Tensor<Scalar>, inputShape: [Int],
    options: Conv2DTransposeOptions = Conv2DTransposeOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
    try outputGradient.checkGradient(call.outputShape(conv2d_transpose_output_shape))
    return try Tensor(shape: inputShape) { result in
        call { conv2d_transpose_backward_input($0, outputGradient.elements, kernel.elements, result) }
    }
}

/// The derivatives by the kernel of `conv2dTranspose`, in its shape and format.
///
/// - Throws: as `conv2dTransposeBackwardInput`.
public func conv2dTransposeBackwardKernel<Scalar>(
    _ input: Tensor<Scalar>, outputGradient: Tensor<Scalar>, kernelShape: [Int],
    options: Conv2DTransposeOptions = Conv2DTransposeOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    let call = try options.call(Scalar.self, inputShape: input.shape, kernelShape: kernelShape)
    try outputGradient.checkGradient(call.outputShape(conv2d_transpose_output_shape))
    return try Tensor(shape: kernelShape) { result in
        call { conv2d_transpose_backward_kernel($0, input.elements, outputGradient.elements, result) }
    }
}

/// The derivatives by the bias of `conv2dTranspose`: sums over images and pixels.
///
/// - Throws: as `conv2dTransposeBackwardInput`.
public func conv2dTransposeBackwardBias<Scalar>(
    _ outputGradient: Tensor<Scalar>, inputShape: [Int], kernelShape: [Int],
    options: Conv2DTransposeOptions = Conv2DTransposeOptions()
) throws(ConvolutionError) -> [Scalar] {
    let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernelShape)
    try outputGradient.checkGradient(call.outputShape(conv2d_transpose_output_shape))
    return try Tensor<Scalar>(shape: [Int(call.parameters.out_channels)]) { result in
        call { conv2d_transpose_backward_bias($0, outputGradient.elements, result) }
    }.elements
}

/// The derivatives by the input of `upsample2d`: its adjoint applied to `outputGradient`.
///
/// - Throws: what `upsample2d` would; `shape` if `outputGradient` has not the shape of its result.
public func upsample2dBackward<Scalar>(
    _ outputGradient: Tensor<Scalar>, inputShape: [Int], size: UpsampledSize, options: Upsample2DOptions = Upsample2DOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    let call = try options.call(Scalar.self, inputShape: inputShape, size: size)
    try outputGradient.checkGradient(call.outputShape(upsample2d_output_shape))
    return try Tensor(shape: inputShape) { result in
        call { upsample2d_backward($0, outputGradient.elements, result) }
    }
}

extension Tensor {
    func checkGradient(_ wanted: [Int]) throws(ConvolutionError) {
        if shape != wanted {
            throw ConvolutionError(.shape, "outputGradient has shape \(shape); it must be that of the layer's output, \(wanted)")
        }
    }
}
