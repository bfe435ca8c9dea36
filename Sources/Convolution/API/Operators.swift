import CConvolution

// The layers and the upsampling as linear operators A (see `conv2dMatrix`): the Gram product, and the test that a gradient is the
// adjoint. Bias and activation play no part.

/// A' * (A * input) for each image, A being `conv2d`: the left side of the normal equations.
///
/// - Returns: a tensor of the input's shape.
/// - Throws: what `conv2d` would; `unsupported` for padding with a constant other than 0, which is not linear.
public func conv2dGram<Scalar>(
    _ input: Tensor<Scalar>, kernel: Tensor<Scalar>, options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    let call = try options.call(Scalar.self, inputShape: input.shape, kernelShape: kernel.shape)
    return try Tensor(shape: input.shape) { result in
        call { conv2d_gram($0, kernel.elements, input.elements, result) }
    }
}

/// A' * (A * input) for each image, A being `conv2dTranspose`.
///
/// - Returns: a tensor of the input's shape.
/// - Throws: what `conv2dTranspose` would.
public func conv2dTransposeGram<Scalar>(
    _ input: Tensor<Scalar>, kernel: Tensor<Scalar>, options: Conv2DTransposeOptions = Conv2DTransposeOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    let call = try options.call(Scalar.self, inputShape: input.shape, kernelShape: kernel.shape)
    return try Tensor(shape: input.shape) { result in
        call { conv2d_transpose_gram($0, kernel.elements, input.elements, result) }
    }
}

/// A' * (A * input) for each image, A being `upsample2d`.
///
/// - Returns: a tensor of the input's shape.
/// - Throws: what `upsample2d` would.
public func upsample2dGram<Scalar>(
    _ input: Tensor<Scalar>, size: UpsampledSize, options: Upsample2DOptions = Upsample2DOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    let call = try options.call(Scalar.self, inputShape: input.shape, size: size)
    return try Tensor(shape: input.shape) { result in
        call { upsample2d_gram($0, input.elements, result) }
    }
}

/// How well `conv2dBackwardInput` is the adjoint of `conv2d`: |<A x, y> - <x, A' y>| / (|A x| |y|) for x and y made from the
/// seed. Some 1e-16 for double, 1e-8 for float; 0 where there is nothing to compare.
///
/// - Throws: what `conv2dGram` would for an input of this shape.
public func conv2dAdjointTest<Scalar>(
    inputShape: [Int], kernel: Tensor<Scalar>, seed: UInt64, options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> Double {
    let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
    var error = 0.0
    try check(call { conv2d_adjoint_test($0, kernel.elements, seed, &error) })
    return error
}

/// How well `conv2dTransposeBackwardInput` is the adjoint of `conv2dTranspose`: see `conv2dAdjointTest`.
///
/// - Throws: what `conv2dTranspose` would for an input of this shape.
public func conv2dTransposeAdjointTest<Scalar>(
    inputShape: [Int], kernel: Tensor<Scalar>, seed: UInt64, options: Conv2DTransposeOptions = Conv2DTransposeOptions()
) throws(ConvolutionError) -> Double {
    let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
    var error = 0.0
    try check(call { conv2d_transpose_adjoint_test($0, kernel.elements, seed, &error) })
    return error
}

/// How well `upsample2dBackward` is the adjoint of `upsample2d`: see `conv2dAdjointTest`.
///
/// - Throws: what `upsample2d` would for an input of this shape.
public func upsample2dAdjointTest<Scalar: TensorScalar>(
    of _: Scalar.Type, inputShape: [Int], size: UpsampledSize, seed: UInt64, options: Upsample2DOptions = Upsample2DOptions()
) throws(ConvolutionError) -> Double {
    let call = try options.call(Scalar.self, inputShape: inputShape, size: size)
    var error = 0.0
    try check(call { upsample2d_adjoint_test($0, seed, &error) })
    return error
}
