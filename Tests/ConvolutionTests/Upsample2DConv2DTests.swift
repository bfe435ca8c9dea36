import Convolution
import Testing

@Suite struct Upsample2DConv2DTests {
    private let twice = UpsampledSize.factor(height: 2, width: 2)

    /// By phases and by bands, whole and as a plan, on every tier: what the two steps give.
    @Test(arguments: InstructionSetTiers.supported)
    func equalsTwoSteps(_ isa: String) throws {
        let input = try wholeNumbers([2, 6, 5, 3], seed: 31)
        let weights = try wholeNumbers([3, 3, 3, 4], seed: 32)
        let options = Conv2DOptions(padding: .same, isa: isa)
        for upsampling in [Upsample2DOptions(), Upsample2DOptions(interpolation: .bilinear)] {
            let between = try upsample2d(input, size: twice, options: upsampling)
            let expected = try conv2d(between, kernel: weights, bias: [1, 2, 3, 4], options: options)
            #expect(
                try upsample2dConv2d(
                    input, size: twice, upsampling: upsampling, kernel: weights, bias: [1, 2, 3, 4],
                    options: options) == expected)
            let plan = try Upsample2DConv2DPlan(
                inputShape: input.shape, size: twice, upsampling: upsampling, kernel: weights, bias: [1, 2, 3, 4],
                options: options)
            #expect(plan.outputShape == expected.shape)
            #expect(try plan(input) == expected)
            #expect(
                try upsample2dConv2d(
                    input, size: twice, upsampling: upsampling, kernel: weights, bias: [1, 2, 3, 4], residual: expected,
                    options: options).elements == expected.elements.map { 2 * $0 })
        }
    }

    @Test func shape() throws {
        #expect(
            try upsample2dConv2dOutputShape(inputShape: [1, 4, 5, 3], size: twice, kernelShape: [3, 3, 3, 7]) == [1, 6, 8, 7])
    }

    /// By phases and by bands.
    @Test(arguments: [Interpolation.nearest, .bilinear])
    func workspace(_ interpolation: Interpolation) throws {
        let input = try wholeNumbers([1, 16, 15, 8], seed: 35)
        let weights = try wholeNumbers([3, 3, 8, 4], seed: 36)
        let upsampling = Upsample2DOptions(interpolation: interpolation)
        var options = Conv2DOptions(padding: .same)
        func size() throws -> WorkspaceSize {
            try upsample2dConv2dWorkspaceSize(
                of: Double.self, inputShape: input.shape, size: twice, upsampling: upsampling, kernelShape: weights.shape,
                options: options)
        }
        func run() throws -> Tensor<Double> {
            try upsample2dConv2d(input, size: twice, upsampling: upsampling, kernel: weights, options: options)
        }
        let (free, expected) = (try size(), try run())
        #expect(free.plan > 0 && free.least > 0 && free.least <= free.execution)
        options.workspaceLimit = free.least
        #expect(try size().execution == free.least)
        #expect(try run() == expected)
        options.workspaceLimit = free.least - 1
        #expect(throws: ConvolutionError.self) { try run() }
    }

    @Test func partsThatDisagree() throws {
        // Twice as large it has the same shape in either format.
        let input = try wholeNumbers([1, 2, 2, 4], seed: 33)
        let weights = try wholeNumbers([1, 1, 4, 4], seed: 34)
        func refusal(_ upsampling: Upsample2DOptions, _ options: Conv2DOptions) -> ConvolutionError? {
            #expect(throws: ConvolutionError.self) {
                try upsample2dConv2d(input, size: twice, upsampling: upsampling, kernel: weights, options: options)
            }
        }
        let error = refusal(.init(threads: 1), .init(threads: 2))
        #expect(error?.status == .threads)
        #expect(error?.message.hasPrefix("convolution: threads is 2 and that of the upsampling is 1") == true)
        #expect(refusal(.init(), .init(dataFormat: .channelsFirst))?.status == .dataFormat)
    }

    @Test func overlap() throws {
        let options = Conv2DTransposeOptions(strides: (1, 2))
        #expect(
            try conv2dTransposeOverlap(inputShape: [1, 1, 3, 2], kernelShape: [1, 3, 5, 2], options: options)
                == [[1, 1, 2, 1, 2, 1, 1]])
    }
}
