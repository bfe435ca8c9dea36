import Convolution
import Testing

/// An even kernel height with a stride, and a dilated even width: every padding is lopsided on both axes.
private struct Layer {
    let strides = (height: 2, width: 1)
    let dilation = (height: 1, width: 3)
    let input: Tensor<Double>
    let kernel: Tensor<Double>
    let bias: [Double] = [3, -5, 7, 2, -1]

    init() throws {
        input = try wholeNumbers([2, 5, 7, 3], seed: 1)
        kernel = try wholeNumbers([4, 2, 3, 5], seed: 2)
    }
}

@Suite struct Conv2DTests {
    // Height: i 5, ke 4, s 2, so SAME pads T = (3-1)*2 + 4 - 5 = 3 rows. Width: i 7, ke 4, s 1: T = (7-1) + 4 - 7 = 3 columns.
    @Test(arguments: [
        (Padding.valid, [0, 0, 0, 0]), (.same, [1, 2, 1, 2]), (.sameLower, [2, 1, 2, 1]), (.full, [3, 3, 3, 3]),
        (.causal, [3, 0, 3, 0]),
        (.explicit(top: 2, bottom: -1, left: -2, right: 3), [2, -1, -2, 3]),
    ])
    func padding(_ padding: Padding, _ pads: [Int]) throws {
        let layer = try Layer()
        let expected = try conv2dReference(
            layer.input, layer.kernel, bias: layer.bias, strides: layer.strides, dilation: layer.dilation, top: pads[0],
            bottom: pads[1],
            left: pads[2], right: pads[3])
        let options = Conv2DOptions(strides: layer.strides, padding: padding, dilation: layer.dilation)
        #expect(try conv2d(layer.input, kernel: layer.kernel, bias: layer.bias, options: options) == expected)
        let inFloat = try conv2d(
            layer.input.converted(to: Float.self), kernel: layer.kernel.converted(to: Float.self),
            bias: layer.bias.map { Float($0) },
            options: options)
        #expect(try inFloat == expected.converted(to: Float.self))
        let shape = try conv2dOutputShape(inputShape: layer.input.shape, kernelShape: layer.kernel.shape, options: options)
        #expect(shape == expected.shape)
    }

    @Test func residual() throws {
        let layer = try Layer()
        var options = Conv2DOptions(strides: layer.strides, padding: .same, dilation: layer.dilation)
        var expected = try conv2d(layer.input, kernel: layer.kernel, bias: layer.bias, options: options)
        let residual = try wholeNumbers(expected.shape, seed: 3)
        expected = try Tensor(zip(expected.elements, residual.elements).map { max($0 + $1, 0) }, shape: expected.shape)
        options.activation = .relu
        #expect(try conv2d(layer.input, kernel: layer.kernel, bias: layer.bias, residual: residual, options: options) == expected)
        let error = #expect(throws: ConvolutionError.self) {
            try conv2d(layer.input, kernel: layer.kernel, residual: wholeNumbers([2, 3, 7, 4], seed: 3), options: options)
        }
        #expect(error == ConvolutionError(.shape, "residual has shape [2, 3, 7, 4]; it must be that of the result, [2, 3, 7, 5]"))
    }

    @Test func workspaceLimit() throws {
        let layer = try Layer()
        let (inputShape, kernelShape) = (layer.input.shape, layer.kernel.shape)
        var options = Conv2DOptions(padding: .same)
        let expected = try conv2d(layer.input, kernel: layer.kernel, options: options)
        let size = try conv2dWorkspaceSize(of: Double.self, inputShape: inputShape, kernelShape: kernelShape, options: options)
        #expect(size.least > 0 && size.least <= size.execution && size.plan > layer.kernel.elements.count * 8)
        options.workspaceLimit = size.least
        #expect(try conv2d(layer.input, kernel: layer.kernel, options: options) == expected)
        #expect(
            try conv2dWorkspaceSize(of: Double.self, inputShape: inputShape, kernelShape: kernelShape, options: options).execution
                == size.least)
        options.workspaceLimit -= 1
        let error = #expect(throws: ConvolutionError.self) { try conv2d(layer.input, kernel: layer.kernel, options: options) }
        #expect(error?.status == .workspace)
    }

    @Test(arguments: [PaddingMode.zeros, .constant(-2), .constant(0), .reflect, .symmetric, .replicate, .circular])
    func paddingMode(_ mode: PaddingMode) throws {
        let layer = try Layer()
        let expected = try conv2dReference(
            layer.input, layer.kernel, strides: layer.strides, dilation: layer.dilation, top: 1, bottom: 4, left: 5, right: 3,
            mode: mode)
        let options = Conv2DOptions(
            strides: layer.strides, padding: .explicit(top: 1, bottom: 4, left: 5, right: 3), paddingMode: mode,
            dilation: layer.dilation)
        #expect(try conv2d(layer.input, kernel: layer.kernel, options: options) == expected)
    }

    /// NumPy's np.pad and correlate.
    @Test func paddingModesOfALine() throws {
        func line(_ mode: PaddingMode) throws -> [Float] {
            try conv2d(
                image([[1, 2, 3]]), kernel: kernel([[1, 10, 100]]),
                options: .init(padding: .explicit(top: 0, bottom: 0, left: 1, right: 1), paddingMode: mode)
            ).elements
        }
        #expect(try line(.reflect) == [212, 321, 232])
        #expect(try line(.symmetric) == [211, 321, 332])
        #expect(try line(.replicate) == [211, 321, 332])
        #expect(try line(.circular) == [213, 321, 132])
        #expect(try line(.zeros) == [210, 321, 32])
        #expect(try line(.constant(4)) == [214, 321, 432])
    }

    @Test func dataFormats() throws {
        let layer = try Layer()
        let expected = try conv2dReference(layer.input, layer.kernel, bias: layer.bias, dilation: layer.dilation)
        #expect(
            try conv2d(
                layer.input, kernel: layer.kernel, bias: layer.bias,
                options: .init(dilation: layer.dilation, dataFormat: .channelsLast))
                == expected)
        #expect(
            try conv2d(
                layer.input.permuted(toChannelsFirst), kernel: layer.kernel, bias: layer.bias,
                options: .init(dilation: layer.dilation, dataFormat: .channelsFirst)) == expected.permuted(toChannelsFirst))
    }

    @Test func kernelFormats() throws {
        let layer = try Layer()
        let expected = try conv2dReference(layer.input, layer.kernel)
        #expect(try conv2d(layer.input, kernel: layer.kernel, options: .init(kernelFormat: .keras)) == expected)
        let torchKernel = try layer.kernel.permuted(toTorchKernel)
        #expect(try conv2d(layer.input, kernel: torchKernel, options: .init(kernelFormat: .torch)) == expected)
    }

    @Test func depthwiseKernel() throws {
        // Keras: x = [1, 10], kernel (1, 1, 2, 2) = [1, 2, 3, 4] gives [1, 2, 30, 40].
        let pixel = try Tensor<Float>([1, 10], shape: [1, 1, 1, 2])
        let weights = try Tensor<Float>([1, 2, 3, 4], shape: [1, 1, 2, 2])
        let options = Conv2DOptions(kernelFormat: .kerasDepthwise)
        #expect(try conv2d(pixel, kernel: weights, options: options) == Tensor([1, 2, 30, 40], shape: [1, 1, 1, 4]))

        let input = try wholeNumbers([2, 4, 5, 3], seed: 3)
        let depthwise = try wholeNumbers([2, 3, 3, 2], seed: 4)
        let grouped = try Tensor(depthwise.elements, shape: [2, 3, 1, 6])
        let bias: [Double] = [1, 2, 3, 4, 5, 6]
        #expect(
            try conv2d(input, kernel: depthwise, bias: bias, options: options)
                == conv2dReference(input, grouped, bias: bias, groups: 3))
    }

    @Test func groups() throws {
        let input = try wholeNumbers([1, 4, 5, 6], seed: 5)
        let kernel = try wholeNumbers([3, 2, 2, 9], seed: 6)
        let expected = try conv2dReference(input, kernel, groups: 3)
        #expect(try conv2d(input, kernel: kernel, options: .init(groups: 3)) == expected)
        let torchKernel = try kernel.permuted(toTorchKernel)
        #expect(try conv2d(input, kernel: torchKernel, options: .init(groups: 3, kernelFormat: .torch)) == expected)
    }

    @Test func flippedKernel() throws {
        let layer = try Layer()
        var turned = try Tensor(repeating: 0.0, shape: layer.kernel.shape)
        for a in 0..<4 {
            for b in 0..<2 {
                for c in 0..<3 {
                    for o in 0..<5 { turned[a, b, c, o] = layer.kernel[3 - a, 1 - b, c, o] }
                }
            }
        }
        #expect(
            try conv2d(layer.input, kernel: layer.kernel, options: .init(flipKernel: true))
                == conv2dReference(layer.input, turned))
    }

    @Test func activations() throws {
        let layer = try Layer()
        let sums = try conv2dReference(layer.input, layer.kernel, bias: layer.bias)
        // Scaled to single digits, so that sigmoid and tanh are not all saturated.
        func check(_ activation: Activation, tolerance: Double = 0, _ function: (Double) -> Double) throws {
            let expected = try Tensor(sums.elements.map { function($0 / 32) }, shape: sums.shape)
            let scaled = try Tensor(layer.kernel.elements.map { $0 / 32 }, shape: layer.kernel.shape)
            let output = try conv2d(
                layer.input, kernel: scaled, bias: layer.bias.map { $0 / 32 }, options: .init(activation: activation))
            #expect(distance(output, expected) <= tolerance, "\(activation)")
        }
        #expect(sums.elements.contains { $0 < -6 * 32 } && sums.elements.contains { $0 > 6 * 32 })
        try check(.none) { $0 }
        try check(.relu) { max($0, 0) }
        try check(.relu6) { min(max($0, 0), 6) }
        try check(.clamp(min: -1.5, max: .infinity)) { max($0, -1.5) }
        try check(.clamp(min: -0.5, max: 0.25)) { min(max($0, -0.5), 0.25) }
        try check(.leakyRelu(), tolerance: 1e-15) { $0 >= 0 ? $0 : 0.01 * $0 }
        try check(.leakyRelu(alpha: 0.25)) { $0 >= 0 ? $0 : 0.25 * $0 }
        try check(.leakyRelu(alpha: -2)) { $0 >= 0 ? $0 : -2 * $0 }
        // exp and tanh by their series, so that the library is not compared with its own.
        func exponential(_ x: Double) -> Double {
            var (term, sum) = (1.0, 1.0)
            for i in 1..<40 {
                term *= x / 1024 / Double(i)
                sum += term
            }
            for _ in 0..<10 { sum *= sum }
            return sum
        }
        try check(.sigmoid, tolerance: 1e-12) { 1 / (1 + exponential(-$0)) }
        try check(.tanh, tolerance: 1e-12) { 1 - 2 / (exponential(2 * $0) + 1) }
    }

    @Test func emptyBatch() throws {
        let none = try Tensor<Float>([], shape: [0, 5, 6, 2])
        let kernel = try Tensor<Float>(repeating: 1, shape: [2, 3, 2, 4])
        #expect(try conv2d(none, kernel: kernel) == Tensor([], shape: [0, 4, 4, 4]))
    }

    @Test func noInputChannelsLeaveTheBias() throws {
        let input = try Tensor<Float>([], shape: [1, 2, 3, 0])
        let kernel = try Tensor<Float>([], shape: [2, 2, 0, 2])
        #expect(try conv2d(input, kernel: kernel, bias: [4, -5]) == Tensor([4, -5, 4, -5], shape: [1, 1, 2, 2]))
    }

    @Test func emptyOutputIfAllowed() throws {
        let small = try Tensor<Float>(repeating: 1, shape: [1, 2, 6, 1])
        let kernel = try Tensor<Float>(repeating: 1, shape: [3, 2, 1, 2])
        #expect(try conv2d(small, kernel: kernel, options: .init(allowsEmptyOutput: true)) == Tensor([], shape: [1, 0, 5, 2]))
    }

    /// 75 output channels are several panels on every tier, with a rest.
    @Test(arguments: InstructionSetTiers.supported)
    func tiers(_ isa: String) throws {
        let input = try wholeNumbers([1, 5, 8, 11], seed: 7)
        let kernel = try wholeNumbers([3, 2, 11, 75], seed: 8)
        let expected = try conv2dReference(input, kernel, strides: (1, 2), top: 1, bottom: 1, left: 0, right: 1)
        let options = Conv2DOptions(strides: (1, 2), padding: .explicit(top: 1, bottom: 1, left: 0, right: 1), isa: isa)
        #expect(try conv2d(input, kernel: kernel, options: options) == expected)
        let inFloat = try conv2d(input.converted(to: Float.self), kernel: kernel.converted(to: Float.self), options: options)
        #expect(try inFloat == expected.converted(to: Float.self))
    }

    /// 3.4 million multiply-adds are worth three threads. Thirds would show another order of the sum.
    @Test(arguments: [2, 3, 1024], DataFormat.allCases)
    func threads(_ threads: Int, _ dataFormat: DataFormat) throws {
        func thirds(_ shape: [Int], _ seed: Int) throws -> Tensor<Float> {
            let whole = try wholeNumbers(shape, seed: seed)
            return try Tensor(whole.elements.map { Float($0) / 3 }, shape: shape)
        }
        let input = try thirds(dataFormat == .channelsLast ? [1, 15, 26, 30] : [1, 30, 15, 26], 9)
        let kernel = try thirds([3, 3, 30, 32], 10)
        var options = Conv2DOptions(padding: .same, dataFormat: dataFormat, threads: 1)
        let alone = try conv2d(input, kernel: kernel, options: options)
        options.threads = threads
        #expect(try conv2d(input, kernel: kernel, options: options) == alone)
    }

    /// Options in combination, drawn at random.
    @Test(arguments: 0..<60)
    func combinations(_ seed: Int) throws {
        var numbers = SeededNumbers(seed: 1000 + seed)
        func draw(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &numbers) }
        // Few and many groups and channels, narrow and wide images: each kernel strategy has its turn.
        let groups = [1, 1, 2, 3, 9][draw(0...4)]
        let (inputs, outputs) = (groups * draw(1...3), groups * [1, 2, 7, 20][draw(0...3)])
        let input = try wholeNumbers([draw(1...2), draw(4...7), draw(4...20), inputs], seed: seed)
        let kernel = try wholeNumbers([draw(1...4), draw(1...4), inputs / groups, outputs], seed: -seed)
        let (top, bottom, left, right) = (draw(-1...3), draw(0...3), draw(-1...3), draw(0...3))
        let mode = [PaddingMode.zeros, .constant(3), .reflect, .symmetric, .replicate, .circular][draw(0...5)]
        let strides = (height: draw(1...3), width: draw(1...3))
        let dilation = (height: kernel.shape[0] == 1 ? 3 : 1, width: kernel.shape[1] <= 2 ? 2 : 1)
        let (channelsFirst, torch) = (draw(0...1) == 1, draw(0...1) == 1)
        let isa = InstructionSetTiers.supported.randomElement(using: &numbers)

        let expected = try conv2dReference(
            input, kernel, strides: strides, dilation: dilation, top: top, bottom: bottom, left: left, right: right, mode: mode,
            groups: groups)
        let output = try conv2d(
            channelsFirst ? input.permuted(toChannelsFirst) : input, kernel: torch ? kernel.permuted(toTorchKernel) : kernel,
            options: .init(
                strides: strides, padding: .explicit(top: top, bottom: bottom, left: left, right: right), paddingMode: mode,
                dilation: dilation, groups: groups, dataFormat: channelsFirst ? .channelsFirst : .channelsLast,
                kernelFormat: torch ? .torch : .keras, isa: isa))
        #expect(try output == (channelsFirst ? expected.permuted(toChannelsFirst) : expected))
    }
}
