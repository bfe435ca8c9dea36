import Testing

@testable import Convolution

/// The Swift face of the gradients, on numbers worked out by hand.
@Suite struct GradientTests {
    @Test func convolution() throws {
        let image = try Tensor<Double>([1, 2, 3, 4, 5, 6, 7, 8, 9], shape: [1, 3, 3, 1])
        let kernel = try Tensor<Double>([1, 2, 3, 4], shape: [2, 2, 1, 1])
        let gradient = try Tensor<Double>([1, 0, 0, 2], shape: [1, 2, 2, 1])
        #expect(try conv2dBackwardInput(gradient, kernel: kernel, inputShape: image.shape).elements == [1, 2, 0, 3, 6, 4, 0, 6,
            8])
        #expect(try conv2dBackwardKernel(image, outputGradient: gradient, kernelShape: kernel.shape).elements == [11, 14, 20, 23])
        #expect(try conv2dBackwardBias(gradient, inputShape: image.shape, kernelShape: kernel.shape) == [3])
    }

    @Test func transposedConvolution() throws {
        let image = try Tensor<Float>([1, 2, 3, 4], shape: [1, 2, 2, 1])
        let kernel = try Tensor<Float>([1, 2, 3, 4], shape: [2, 2, 1, 1])
        let gradient = try Tensor<Float>((0..<16).map { Float($0) }, shape: [1, 4, 4, 1])
        let options = Conv2DTransposeOptions(strides: (2, 2))
        #expect(
            try conv2dTransposeBackwardInput(gradient, kernel: kernel, inputShape: image.shape,
            options: options).elements == [34, 54, 114, 134])
        #expect(
            try conv2dTransposeBackwardKernel(image, outputGradient: gradient, kernelShape: kernel.shape,
            options: options).elements
                == [68, 78, 108, 118])
        #expect(
            try conv2dTransposeBackwardBias(gradient, inputShape: image.shape, kernelShape: kernel.shape,
            options: options) == [120])
    }

    @Test func upsampling() throws {
        let gradient = try Tensor<Double>([1, 2, 3, 4], shape: [1, 1, 4, 1])
        let back = try upsample2dBackward(
            gradient, inputShape: [1, 1, 2, 1], size: .factor(height: 1, width: 2), options: .init(interpolation: .bilinear))
        #expect(back.elements == [3.25, 6.75])
    }

    @Test func gradientsOfOtherShapesAreRefused() throws {
        let gradient = try Tensor<Double>([1, 2, 3, 4], shape: [1, 1, 4, 1])
        #expect(throws: ConvolutionError.self) {
            try conv2dBackwardBias(gradient, inputShape: [1, 3, 3, 1], kernelShape: [2, 2, 1, 1])
        }
        #expect(throws: ConvolutionError.self) {
            try upsample2dBackward(gradient, inputShape: [1, 2, 2, 1], size: .factor(height: 2, width: 2))
        }
    }
}
