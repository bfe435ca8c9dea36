import Convolution
import Testing

/// One row, so that results can be read as in the frameworks' documents.
private func line(
    _ input: [Float], _ weights: [Float], bias: [Float]? = nil, _ options: Conv2DTransposeOptions
) throws -> [Float] {
    try conv2dTranspose(image([input]), kernel: kernel([weights]), bias: bias, options: options).elements
}

private func cut(_ left: Int, _ right: Int) -> Padding { .explicit(top: 0, bottom: 0, left: left, right: right) }

/// What Keras, PyTorch, ONNX Runtime and JAX return.
@Suite struct Conv2DTransposeRules {
    @Test func keras() throws {
        func result(_ options: Conv2DTransposeOptions) throws -> [Float] { try line([1, 2], [1, 2, 3], options) }
        #expect(try result(.init(strides: (1, 2), padding: .same, rule: .keras)) == [1, 2, 5, 4])
        #expect(try result(.init(strides: (1, 2), padding: .same, rule: .keras, outputPadding: (0, 0))) == [2, 5, 4])
        #expect(try result(.init(strides: (1, 2), padding: .same, rule: .keras, outputSize: (1, 3))) == [2, 5, 4])
        #expect(try result(.init(strides: (1, 2), rule: .keras)) == [1, 2, 5, 4, 6])
        #expect(try result(.init(strides: (1, 2), rule: .keras, outputPadding: (0, 1))) == [1, 2, 5, 4, 6, 0])
        #expect(try result(.init(rule: .keras, dilation: (1, 2))) == [1, 2, 2, 4, 3, 6])
        #expect(try line([1, 2, 3], [1, 2], .init(padding: .same)) == [1, 4, 7])
        #expect(try line([1, 2], [1, 2, 3, 4, 5], .init(strides: (1, 2), padding: .same)) == [2, 5, 8, 11])
        #expect(try line([1, 2], [1, 2, 3, 4, 5], .init(strides: (1, 3), padding: .same)) == [2, 3, 6, 9, 6, 8])
        #expect(try line([1, 2], [5], .init(strides: (1, 2))) == [5, 0, 10, 0])
        #expect(try line([1, 2], [1, 2], bias: [7], .init(strides: (1, 3))) == [8, 9, 7, 9, 11, 7])
    }

    @Test func torch() throws {
        func result(_ options: Conv2DTransposeOptions) throws -> [Float] { try line([1, 2], [1, 2, 3], options) }
        #expect(try result(.init(strides: (1, 2), rule: .torch)) == [1, 2, 5, 4, 6])
        #expect(try result(.init(strides: (1, 2), padding: cut(1, 1), rule: .torch, outputPadding: (0, 1))) == [2, 5, 4, 6])
        #expect(try result(.init(strides: (1, 2), padding: cut(1, 1), rule: .torch, outputSize: (1, 4))) == [2, 5, 4, 6])
        let dilated = Conv2DTransposeOptions(strides: (1, 2), rule: .torch, outputPadding: (0, 2), dilation: (1, 3))
        #expect(try result(dilated) == [1, 0, 2, 2, 0, 4, 3, 0, 6, 0, 0])
        #expect(
            try line([1, 2], [1, 2, 3, 4, 5], .init(strides: (1, 2), padding: cut(2, 2), rule: .torch, outputPadding: (0, 1)))
                == [5, 8, 11, 8])
        #expect(try line([1, 2], [1, 2], .init(strides: (1, 3), rule: .torch)) == [1, 2, 0, 2, 4])
    }

    @Test func onnx() throws {
        func result(_ options: Conv2DTransposeOptions) throws -> [Float] { try line([1, 2], [1, 2, 3], options) }
        #expect(try result(.init(strides: (1, 2), padding: .same, rule: .onnx)) == [1, 2, 5, 4])
        #expect(try result(.init(strides: (1, 2), padding: .sameLower, rule: .onnx)) == [2, 5, 4, 6])
        #expect(try result(.init(strides: (1, 2), rule: .onnx, outputSize: (1, 4))) == [2, 5, 4, 6])
        #expect(try result(.init(strides: (1, 2), rule: .onnx, outputPadding: (0, 1))) == [1, 2, 5, 4, 6, 0])
        #expect(try result(.init(strides: (1, 2), padding: cut(2, 1), rule: .onnx)) == [5, 4])
    }

    @Test func jax() throws {
        func result(_ options: Conv2DTransposeOptions) throws -> [Float] { try line([1, 2], [1, 2, 3], options) }
        #expect(try result(.init(strides: (1, 2), rule: .jax, flipKernel: true)) == [3, 2, 7, 4, 2])
        #expect(try result(.init(strides: (1, 2), rule: .jax)) == [1, 2, 5, 4, 6])
        #expect(try result(.init(strides: (1, 2), padding: .same, rule: .jax)) == [1, 2, 5, 4])
    }

    @Test func window() throws {
        func result(_ options: Conv2DTransposeOptions) throws -> [Float] { try line([1, 2], [1, 2, 3], options) }
        #expect(try result(.init(strides: (1, 2), padding: cut(-1, -2), rule: .window)) == [0, 1, 2, 5, 4, 6, 0, 0])
        #expect(try result(.init(strides: (1, 2), padding: cut(2, 1), rule: .window, outputPadding: (0, 3))) == [5, 4, 6, 0, 0])
        #expect(try result(.init(strides: (1, 2), padding: cut(1, 0), rule: .window, outputSize: (1, 2))) == [2, 5])
    }
}

@Suite struct Conv2DTransposeTests {
    /// Every rule on an image where height and width differ in all they have, against scattered loops.
    @Test(arguments: TransposeRule.allCases, InstructionSetTiers.supported)
    func rules(_ rule: TransposeRule, _ isa: String) throws {
        let input = try wholeNumbers([2, 3, 4, 6], seed: 11)
        let kernel = try wholeNumbers([5, 2, 2, 6], seed: 12)
        let bias: [Double] = [1, -2, 3, -4]
        // Natural height (3-1)*3 + 5 = 11, natural width (4-1)*2 + (2-1)*3 + 1 = 10.
        var options = Conv2DTransposeOptions(strides: (3, 2), rule: rule, dilation: (1, 3), groups: 2, isa: isa)
        var window = (top: 0, rows: 11, left: 0, columns: 10)
        switch rule {
        case .keras, .jax: // 3 * 3 rows, 11 - 9 = 2 cut, 1 at the start; 4 * 2 columns, 2 cut, 1 at the start
            options.padding = .same
            window = (1, 9, 1, 8)
        case .torch:
            options.padding = .explicit(top: 1, bottom: 1, left: 2, right: 2)
            options.outputPadding = (2, 1)
            window = (1, 11, 2, 7)
        case .onnx: // T = 11 - 8 = 3 rows, 2 at the start; 10 - 7 = 3 columns, 2 at the start
            options.outputSize = (8, 7)
            window = (2, 8, 2, 7)
        case .window:
            options.padding = .explicit(top: -2, bottom: 3, left: 4, right: -1)
            window = (-2, 10, 4, 7)
        }
        let expected = try conv2dTransposeReference(
            input, kernel, bias: bias, strides: (3, 2), dilation: (1, 3), groups: 2, top: window.top, rows: window.rows,
            left: window.left,
            columns: window.columns)
        #expect(try conv2dTranspose(input, kernel: kernel, bias: bias, options: options) == expected)
        let shape = try conv2dTransposeOutputShape(inputShape: input.shape, kernelShape: kernel.shape, options: options)
        #expect(shape == expected.shape)
        let inFloat = try conv2dTranspose(
            input.converted(to: Float.self), kernel: kernel.converted(to: Float.self), bias: bias.map { Float($0) },
            options: options)
        #expect(try inFloat == expected.converted(to: Float.self))
    }

    @Test func formats() throws {
        let input = try wholeNumbers([2, 3, 4, 3], seed: 13)
        let kernel = try wholeNumbers([2, 3, 5, 3], seed: 14)
        let expected = try conv2dTransposeReference(input, kernel, strides: (2, 3), top: 0, rows: 6, left: 0, columns: 12)
        var options = Conv2DTransposeOptions(strides: (2, 3))
        #expect(try conv2dTranspose(input, kernel: kernel, options: options) == expected)
        options.kernelFormat = .torch
        #expect(try conv2dTranspose(input, kernel: kernel.permuted(toTorchKernel), options: options) == expected)
        options.dataFormat = .channelsFirst
        #expect(
            try conv2dTranspose(input.permuted(toChannelsFirst), kernel: kernel.permuted(toTorchKernel), options: options)
                == expected.permuted(toChannelsFirst))
    }

    /// PyTorch: x = [1, 10] in two channels, weight [[1, 2], [3, 4]].
    @Test func groups() throws {
        let pixel = try Tensor<Float>([1, 10], shape: [1, 1, 1, 2])
        let weights = try Tensor<Float>([1, 2, 3, 4], shape: [2, 2, 1, 1])
        let apart = try conv2dTranspose(pixel, kernel: weights, options: .init(groups: 2, kernelFormat: .torch))
        #expect(apart.elements == [1, 2, 30, 40])
        let together = try conv2dTranspose(pixel, kernel: weights, options: .init(groups: 1, kernelFormat: .torch))
        #expect(together.elements == [31, 42])
    }

    @Test func flippedKernelAndActivation() throws {
        let output = try conv2dTranspose(
            image([[1, -2]]), kernel: kernel([[1, 2, 3], [-1, 0, 5]] as [[Float]]),
            options: .init(strides: (1, 2), flipKernel: true, activation: .leakyRelu(alpha: 0.5)))
        #expect(try output == image([[5, 0, -5.5, 0, 2], [3, 2, -2.5, -2, -1]]))
    }

    /// Only real products are added: the infinite weight meets no invented zero.
    @Test func infiniteWeightsAndInputs() throws {
        // NaN is unlike itself, so it is counted as a place of its own.
        func check(_ output: [Float], _ expected: [Float?]) {
            #expect(output.map { $0.isNaN ? nil : $0 } == expected)
        }
        try check(line([.infinity, 1], [1, 0, 2], .init(strides: (1, 2))), [.infinity, nil, .infinity, 0, 2])
        try check(line([1, 0], [.infinity, 1, 1], .init(strides: (1, 2))), [.infinity, 1, nil, 0, 0])
    }

    @Test func emptyBatch() throws {
        let none = try Tensor<Double>([], shape: [0, 5, 6, 2])
        let kernel = try Tensor<Double>(repeating: 1, shape: [2, 3, 4, 2])
        #expect(try conv2dTranspose(none, kernel: kernel, options: .init(strides: (2, 3))) == Tensor([], shape: [0, 10, 18, 4]))
    }

    /// Images without rows: what the kernel's extent leaves of the output is the bias.
    @Test func noInput() throws {
        let none = try Tensor<Float>([], shape: [1, 0, 2, 1])
        let kernel = try Tensor<Float>(repeating: 1, shape: [3, 1, 2, 1])
        #expect(
            try conv2dTranspose(none, kernel: kernel, bias: [7, -7], options: .init(strides: (2, 1)))
                == Tensor([7, -7, 7, -7], shape: [1, 1, 2, 2]))
    }

    @Test func residualAndWorkspaceLimit() throws {
        let x = try wholeNumbers([1, 4, 5, 3], seed: 21)
        let kernel = try wholeNumbers([3, 2, 4, 3], seed: 22)
        var options = Conv2DTransposeOptions(strides: (2, 3))
        let plain = try conv2dTranspose(x, kernel: kernel, options: options)
        let residual = try wholeNumbers(plain.shape, seed: 23)
        let expected = try Tensor(zip(plain.elements, residual.elements).map { $0 + $1 }, shape: plain.shape)
        let size = try conv2dTransposeWorkspaceSize(of: Double.self, inputShape: x.shape, kernelShape: kernel.shape,
            options: options)
        options.workspaceLimit = size.least
        #expect(try conv2dTranspose(x, kernel: kernel, residual: residual, options: options) == expected)
        options.workspaceLimit = 1
        #expect(throws: ConvolutionError.self) { try conv2dTranspose(x, kernel: kernel, options: options) }
    }

    @Test func emptyOutputIfAllowed() throws {
        let pixel = try Tensor<Double>([1], shape: [1, 1, 1, 1])
        let kernel = try Tensor<Double>(repeating: 1, shape: [3, 2, 1, 1])
        let options = Conv2DTransposeOptions(
            padding: .explicit(top: 2, bottom: 2, left: 0, right: 0), rule: .torch, allowsEmptyOutput: true)
        #expect(try conv2dTranspose(pixel, kernel: kernel, options: options) == Tensor([], shape: [1, 0, 2, 1]))
    }

    /// <conv2d(x), y> = <x, conv2dTranspose(y)>, where the transpose returns to the size of x.
    @Test func adjointOfConv2D() throws {
        let x = try wholeNumbers([1, 6, 7, 2], seed: 15)
        let kernel = try wholeNumbers([3, 2, 2, 4], seed: 16)
        let forward = try conv2d(x, kernel: kernel, options: .init(strides: (2, 3), padding: .same))
        let y = try wholeNumbers(forward.shape, seed: 17)
        // A kernel of the one is, as it stands, a kernel of the other: HWIO read as HWOI.
        let back = try conv2dTranspose(y, kernel: kernel, options: .init(strides: (2, 3), padding: .same, outputSize: (6, 7)))
        #expect(back.shape == x.shape)
        let left = zip(forward.elements, y.elements).reduce(0) { $0 + $1.0 * $1.1 }
        let right = zip(x.elements, back.elements).reduce(0) { $0 + $1.0 * $1.1 }
        #expect(left == right && left != 0)
    }
}
