import Convolution
import Testing

@Suite struct PlanTests {
    @Test(arguments: InstructionSetTiers.supported)
    func sameBitsAsThePlainCall(_ isa: String) throws {
        // Thirds, so that rounding would show another order of the sum.
        func thirds(_ shape: [Int], _ seed: Int) throws -> Tensor<Float> {
            let whole = try wholeNumbers(shape, seed: seed)
            return try Tensor(whole.elements.map { Float($0) / 3 }, shape: shape)
        }
        let input = try thirds([2, 6, 7, 20], 41)
        let bias = try thirds([35], 42).elements

        let kernel = try thirds([3, 2, 20, 35], 43)
        let options = Conv2DOptions(strides: (1, 2), padding: .same, activation: .tanh, isa: isa)
        let plan = try Conv2DPlan(inputShape: input.shape, kernel: kernel, bias: bias, options: options)
        let output = try plan(input)
        #expect(try output == conv2d(input, kernel: kernel, bias: bias, options: options))
        #expect(plan.outputShape == output.shape && plan.inputShape == input.shape)

        let turned = try thirds([3, 2, 35, 20], 44)
        let transposeOptions = Conv2DTransposeOptions(strides: (1, 2), padding: .same, isa: isa)
        let transposePlan = try Conv2DTransposePlan(
            inputShape: input.shape, kernel: turned, bias: bias, options: transposeOptions)
        let transposed = try transposePlan(input)
        #expect(try transposed == conv2dTranspose(input, kernel: turned, bias: bias, options: transposeOptions))
        #expect(transposePlan.outputShape == [2, 6, 14, 35] && transposed.shape == [2, 6, 14, 35])

        let upsampleOptions = Upsample2DOptions(interpolation: .bilinear, isa: isa)
        let size = UpsampledSize.output(height: 9, width: 5)
        let upsamplePlan = try Upsample2DPlan<Float>(inputShape: input.shape, size: size, options: upsampleOptions)
        #expect(try upsamplePlan(input) == upsample2d(input, size: size, options: upsampleOptions))
        #expect(upsamplePlan.outputShape == [2, 9, 5, 20])
    }

    /// GradientTests has the numbers of the plain calls.
    @Test(arguments: InstructionSetTiers.supported)
    func gradientsHaveTheSameBits(_ isa: String) throws {
        func sevenths(_ shape: [Int], _ seed: Int) throws -> Tensor<Float> {
            try Tensor(wholeNumbers(shape, seed: seed).elements.map { Float($0) / 7 }, shape: shape)
        }
        let input = try sevenths([2, 6, 7, 20], 61)

        let kernel = try sevenths([3, 2, 20, 35], 62)
        let options = Conv2DOptions(strides: (1, 2), padding: .same, isa: isa)
        let gradient = try sevenths([2, 6, 4, 35], 63)
        let byInput = try Conv2DBackwardInputPlan(inputShape: input.shape, kernel: kernel, options: options)
        #expect(byInput.inputShape == input.shape && byInput.outputShape == gradient.shape)
        #expect(
            try byInput(gradient)
                == conv2dBackwardInput(gradient, kernel: kernel, inputShape: input.shape, options: options))
        let byKernel = try Conv2DBackwardKernelPlan<Float>(
            inputShape: input.shape, kernelShape: kernel.shape, options: options)
        #expect(byKernel.kernelShape == kernel.shape && byKernel.outputShape == gradient.shape)
        #expect(
            try byKernel(input, outputGradient: gradient)
                == conv2dBackwardKernel(input, outputGradient: gradient, kernelShape: kernel.shape, options: options))

        let turned = try sevenths([3, 2, 35, 20], 64)
        let transposeOptions = Conv2DTransposeOptions(strides: (1, 2), padding: .same, isa: isa)
        let spread = try sevenths([2, 6, 14, 35], 65)
        let transposedByInput = try Conv2DTransposeBackwardInputPlan(
            inputShape: input.shape, kernel: turned, options: transposeOptions)
        #expect(transposedByInput.inputShape == input.shape && transposedByInput.outputShape == spread.shape)
        #expect(
            try transposedByInput(spread)
                == conv2dTransposeBackwardInput(spread, kernel: turned, inputShape: input.shape, options: transposeOptions))
        let transposedByKernel = try Conv2DTransposeBackwardKernelPlan<Float>(
            inputShape: input.shape, kernelShape: turned.shape, options: transposeOptions)
        #expect(transposedByKernel.kernelShape == turned.shape && transposedByKernel.outputShape == spread.shape)
        #expect(
            try transposedByKernel(input, outputGradient: spread)
                == conv2dTransposeBackwardKernel(
                    input, outputGradient: spread, kernelShape: turned.shape, options: transposeOptions))

        let upsampleOptions = Upsample2DOptions(interpolation: .bilinear, isa: isa)
        let size = UpsampledSize.output(height: 9, width: 5)
        let larger = try sevenths([2, 9, 5, 20], 66)
        let upsampling = try Upsample2DBackwardPlan<Float>(inputShape: input.shape, size: size, options: upsampleOptions)
        #expect(upsampling.inputShape == input.shape && upsampling.outputShape == larger.shape)
        #expect(
            try upsampling(larger) == upsample2dBackward(larger, inputShape: input.shape, size: size, options: upsampleOptions))
    }

    @Test func gradientsOfOtherShapes() throws {
        let (shape, kernel) = ([1, 3, 4, 1], try Tensor<Float>(repeating: 1, shape: [2, 2, 1, 1]))
        let (image, wrong) = (try Tensor<Float>(repeating: 1, shape: shape), try Tensor<Float>(repeating: 1, shape: [1, 2, 4, 1]))
        func refused(_ outputShape: String) -> ConvolutionError {
            ConvolutionError(
                .shape, "outputGradient has shape [1, 2, 4, 1]; it must be that of the layer's output, \(outputShape)")
        }
        #expect(throws: refused("[1, 2, 3, 1]")) { try Conv2DBackwardInputPlan(inputShape: shape, kernel: kernel)(wrong) }
        #expect(throws: refused("[1, 2, 3, 1]")) {
            try Conv2DBackwardKernelPlan<Float>(inputShape: shape, kernelShape: kernel.shape)(image, outputGradient: wrong)
        }
        #expect(throws: refused("[1, 4, 5, 1]")) {
            try Conv2DTransposeBackwardInputPlan(inputShape: shape, kernel: kernel)(wrong)
        }
        #expect(throws: refused("[1, 4, 5, 1]")) {
            try Conv2DTransposeBackwardKernelPlan<Float>(inputShape: shape, kernelShape: kernel.shape)(
                image, outputGradient: wrong)
        }
        #expect(throws: refused("[1, 6, 8, 1]")) {
            try Upsample2DBackwardPlan<Float>(inputShape: shape, size: .factor(height: 2, width: 2))(wrong)
        }
        let message = "input has shape [1, 2, 4, 1]; this plan is for inputs of shape [1, 3, 4, 1]"
        #expect(throws: ConvolutionError(.shape, message)) {
            try Conv2DBackwardKernelPlan<Float>(inputShape: shape, kernelShape: kernel.shape)(wrong, outputGradient: wrong)
        }
        #expect(throws: ConvolutionError(.shape, message)) {
            try Conv2DTransposeBackwardKernelPlan<Float>(inputShape: shape, kernelShape: kernel.shape)(
                wrong, outputGradient: wrong)
        }
    }

    @Test func manyTasksShareOnePlan() async throws {
        let shape = [1, 10, 9, 8]
        let kernel = try wholeNumbers([3, 2, 8, 12], seed: 45)
        let turned = try wholeNumbers([2, 3, 12, 8], seed: 46)
        let convolution = try Conv2DPlan(inputShape: shape, kernel: kernel)
        let transposed = try Conv2DTransposePlan(inputShape: shape, kernel: turned, options: .init(strides: (2, 1)))
        let upsampling = try Upsample2DPlan<Double>(inputShape: shape, size: .factor(height: 2, width: 3))
        let cases = try (0..<4).map { number in
            let input = try wholeNumbers(shape, seed: 50 + number)
            return (
                input, try conv2dReference(input, kernel),
                try conv2dTransposeReference(input, turned, strides: (2, 1), top: 0, rows: 20, left: 0, columns: 11),
                try upsample2d(input, size: .factor(height: 2, width: 3))
            )
        }
        let wrong = try await withThrowingTaskGroup(of: Int.self) { group in
            for task in 0..<8 {
                group.addTask {
                    var wrong = 0
                    for turn in 0..<12 {
                        let (input, convolved, spread, larger) = cases[(task + turn) % 4]
                        if try convolution(input) != convolved { wrong += 1 }
                        if try transposed(input) != spread { wrong += 1 }
                        if try upsampling(input) != larger { wrong += 1 }
                    }
                    return wrong
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(wrong == 0)
    }

    @Test func keepsNothingOfItsArguments() throws {
        var kernel = try Tensor<Float>([2, 3], shape: [1, 2, 1, 1])
        var bias: [Float] = [10]
        let plan = try Conv2DPlan(inputShape: [1, 1, 3, 1], kernel: kernel, bias: bias)
        kernel[0, 0, 0, 0] = 100
        bias[0] = 1000
        #expect(try plan(image([[1, 2, 4]])).elements == [18, 26])
    }

    @Test func inputOfAnotherShape() throws {
        let plan = try Conv2DPlan(inputShape: [1, 3, 4, 1], kernel: Tensor<Float>(repeating: 1, shape: [2, 2, 1, 1]))
        #expect(throws: ConvolutionError(.shape, "input has shape [1, 4, 3, 1]; this plan is for inputs of shape [1, 3, 4, 1]")) {
            try plan(Tensor(repeating: 1, shape: [1, 4, 3, 1]))
        }
        let transposed = try Conv2DTransposePlan(
            inputShape: [1, 3, 4, 1], kernel: Tensor<Float>(repeating: 1, shape: [2, 2, 1, 1]))
        #expect(throws: ConvolutionError(.shape, "input has shape [2, 3, 4, 1]; this plan is for inputs of shape [1, 3, 4, 1]")) {
            try transposed(Tensor(repeating: 1, shape: [2, 3, 4, 1]))
        }
        let upsampling = try Upsample2DPlan<Float>(inputShape: [1, 3, 4, 1], size: .factor(height: 2, width: 2))
        #expect(throws: ConvolutionError(.shape, "input has shape [1, 3, 4, 2]; this plan is for inputs of shape [1, 3, 4, 1]")) {
            try upsampling(Tensor(repeating: 1, shape: [1, 3, 4, 2]))
        }
    }

    @Test func emptyBatch() throws {
        let plan = try Conv2DPlan(inputShape: [0, 3, 4, 1], kernel: Tensor<Double>(repeating: 1, shape: [2, 2, 1, 5]))
        #expect(try plan(Tensor([], shape: [0, 3, 4, 1])) == Tensor([], shape: [0, 2, 3, 5]))
    }
}
