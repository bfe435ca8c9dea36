import Convolution
import Testing

@Suite struct SolveTests {
    private let kernel: Tensor<Double>
    private let input: Tensor<Double>
    private let output: Tensor<Double>
    private let bias: [Double] = [3, -1, 2, 5]
    private let options = Conv2DOptions(padding: .full)

    /// 2 images with 4 filters and full padding: more equations than unknowns, so that the images come back.
    init() throws {
        kernel = try wholeNumbers([3, 2, 2, 4], seed: 41)
        input = try wholeNumbers([2, 4, 5, 2], seed: 42)
        output = try conv2d(input, kernel: kernel, bias: bias, options: options)
    }

    private func distance(_ a: Tensor<Double>, _ b: Tensor<Double>) -> Double {
        zip(a.elements, b.elements).map { abs($0 - $1) }.max() ?? 0
    }

    @Test func bringsTheImagesBack() throws {
        let solution = try conv2dSolve(output, inputShape: input.shape, kernel: kernel, bias: bias, options: options)
        #expect(solution.outcome == .converged && solution.iterations > 3)
        #expect(distance(solution.input, input) < 1e-9)
        #expect(solution.residualNorm < 1e-8 && solution.normalResidual < 1e-6)
    }

    @Test func unknownElementsPlayNoPart() throws {
        var damaged = output
        damaged[1, 2, 3, 1] = .nan
        let mask = damaged.elements.map { !$0.isNaN }
        let solution = try conv2dSolve(
            damaged, inputShape: input.shape, kernel: kernel, bias: bias, options: options, solve: .init(mask: mask))
        #expect(distance(solution.input, input) < 1e-9)
    }

    @Test func dampingShortensTheImage() throws {
        let damped = try conv2dSolve(
            output, inputShape: input.shape, kernel: kernel, bias: bias, options: options, solve: .init(damping: 30))
        #expect(damped.outcome == .converged && damped.residualNorm > 1)
        #expect(damped.input.elements.reduce(0) { $0 + $1 * $1 } < input.elements.reduce(0) { $0 + $1 * $1 } * 0.9)
    }

    @Test func nonnegative() throws {
        let solution = try conv2dSolve(
            output, inputShape: input.shape, kernel: kernel, bias: bias, options: options, solve: .init(nonnegative: true))
        #expect(solution.outcome == .converged && solution.residualNorm > 1)
        #expect(solution.input.elements.min() == 0)
    }

    @Test func goesOnFromAStart() throws {
        let few = try conv2dSolve(
            output, inputShape: input.shape, kernel: kernel, bias: bias, options: options, solve: .init(maximumIterations: 3))
        #expect(few.outcome == .iterationLimit && few.iterations == 3)
        let rest = try conv2dSolve(
            output, inputShape: input.shape, kernel: kernel, bias: bias, options: options, solve: .init(start: few.input))
        #expect(rest.outcome == .converged && distance(rest.input, input) < 1e-9)
        let done = try conv2dSolve(
            output, inputShape: input.shape, kernel: kernel, bias: bias, options: options,
            solve: .init(tolerance: 1e-9, start: rest.input))
        #expect(done.iterations == 0 && done.input == rest.input)
    }

    @Test func progressCanStop() throws {
        var last: Conv2DSolveProgress?
        let solution = try conv2dSolve(
            output, inputShape: input.shape, kernel: kernel, bias: bias, options: options,
            solve: .init(progress: { last = $0; return !($0.image == 1 && $0.iteration == 4) }))
        #expect(solution.outcome == .stopped)
        #expect(last?.image == 1 && last?.iteration == 4)
        #expect(last?.elements == Array(solution.input.elements[40...]))
        #expect(abs((last?.residualNorm ?? 0) / solution.residualNorm - 1) < 1e-6)
    }

    @Test func rankSaysWhatIsLost() throws {
        let one = try wholeNumbers([3, 3, 3, 1], seed: 43)
        let rank = try conv2dRank(inputShape: [1, 7, 7, 3], kernel: one, options: .init(strides: (2, 2)))
        #expect([rank.equations, rank.unknowns, rank.bound, rank.exact?.rank] == [9, 147, 9, 9])
        #expect((rank.exact?.condition ?? 0) >= 1 && (rank.exact?.smallestSingularValue ?? 0) > 1)
        let all = try conv2dRank(inputShape: input.shape, kernel: kernel, options: options)
        #expect(all.exact?.rank == 40 && all.unknowns == 40)
        let large = try conv2dRank(inputShape: [1, 64, 64, 3], kernel: one)
        #expect(large.exact == nil && large.bound == 62 * 62)
    }

    @Test func refusals() {
        func refusal(
            _ solve: Conv2DSolveOptions<Double>, output other: Tensor<Double>? = nil, options: Conv2DOptions? = nil
        ) -> ConvolutionError? {
            #expect(throws: ConvolutionError.self) {
                try conv2dSolve(
                    other ?? output, inputShape: input.shape, kernel: kernel, bias: bias, options: options ?? self.options,
                    solve: solve)
            }
        }
        #expect(refusal(.init(damping: -1))?.message == "lambda is -1; it must be finite and at least 0")
        #expect(refusal(.init(damping: .nan))?.status == .lambda)
        #expect(refusal(.init(tolerance: 0))?.status == .tolerance)
        #expect(refusal(.init(tolerance: -1))?.status == .tolerance)
        #expect(refusal(.init(maximumIterations: 0))?.status == .iterations)
        #expect(refusal(.init(mask: [true]))?.status == .mask)
        #expect(refusal(.init(start: output))?.message == "start has shape \(output.shape); it must be \(input.shape)")
        #expect(refusal(.init(), output: input)?.status == .shape)
        #expect(refusal(.init(), options: .init(padding: .full, activation: .relu))?.status == .activation)
    }
}
