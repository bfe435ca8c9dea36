import Convolution
import Testing

/// Gram products and adjoint tests, by the matrices of the same operators; whole numbers make them exact.
@Suite struct OperatorTests {
    private let input: Tensor<Double>

    init() throws {
        input = try wholeNumbers([2, 4, 5, 2], seed: 41)
    }

    /// matrix' * (matrix * image), for each image.
    private func gram(_ matrix: Tensor<Double>) -> [Double] {
        let (rows, columns) = (matrix.shape[0], matrix.shape[1])
        return stride(from: 0, to: input.elements.count, by: columns).flatMap { start -> [Double] in
            let output = (0..<rows).map { row in (0..<columns).reduce(0) { $0 + matrix[row, $1] * input.elements[start + $1] } }
            return (0..<columns).map { column in (0..<rows).reduce(0) { $0 + matrix[$1, column] * output[$1] } }
        }
    }

    @Test(arguments: [PaddingMode.zeros, .reflect, .circular])
    func convolution(_ mode: PaddingMode) throws {
        let kernel = try wholeNumbers([3, 2, 2, 3], seed: 42)
        let options = Conv2DOptions(strides: (1, 2), padding: .same, paddingMode: mode, activation: .relu)
        let product = try conv2dGram(input, kernel: kernel, options: options)
        #expect(product.shape == input.shape)
        #expect(product.elements == gram(try conv2dMatrix(inputShape: input.shape, kernel: kernel, options: options)))
        #expect(try conv2dAdjointTest(inputShape: input.shape, kernel: kernel, seed: 7, options: options) <= 1e-14)
    }

    @Test func transposedConvolution() throws {
        let kernel = try wholeNumbers([3, 3, 3, 2], seed: 43)
        let options = Conv2DTransposeOptions(strides: (2, 2))
        let product = try conv2dTransposeGram(input, kernel: kernel, options: options)
        #expect(product.elements == gram(try conv2dTransposeMatrix(inputShape: input.shape, kernel: kernel, options: options)))
        #expect(try conv2dTransposeAdjointTest(inputShape: input.shape, kernel: kernel, seed: 7, options: options) <= 1e-14)
    }

    @Test func upsampling() throws {
        let (size, options) = (UpsampledSize.factor(height: 2, width: 2), Upsample2DOptions(interpolation: .bilinear))
        let product = try upsample2dGram(input, size: size, options: options)
        #expect(
            product.elements
                == gram(try upsample2dMatrix(of: Double.self, inputShape: input.shape, size: size, options: options)))
        #expect(
            try upsample2dAdjointTest(of: Double.self, inputShape: input.shape, size: size, seed: 7, options: options) <= 1e-14)
    }

    @Test func constantPaddingIsRefused() throws {
        let kernel = try wholeNumbers([3, 2, 2, 3], seed: 42)
        let options = Conv2DOptions(padding: .same, paddingMode: .constant(2))
        for call in [
            { _ = try conv2dGram(input, kernel: kernel, options: options) },
            { _ = try conv2dAdjointTest(inputShape: input.shape, kernel: kernel, seed: 7, options: options) },
        ] {
            let error = #expect(throws: ConvolutionError.self) { try call() }
            #expect(error?.status == .unsupported)
            #expect(error?.message.contains("padding_value is 2") == true)
        }
    }
}
