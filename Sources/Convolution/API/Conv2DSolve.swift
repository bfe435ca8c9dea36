import CConvolution

/// What a `conv2dSolve` does besides its tensors.
public struct Conv2DSolveOptions<Scalar: TensorScalar> {
    /// Keeps noise in the output from growing in the image: lambda of the formula at `conv2dSolve`, to be compared with the
    /// singular values that `conv2dRank` tells. 0 or more.
    public var damping: Double
    /// Converged means that the gradient has fallen to this much of what it is at an image of zeros.
    public var tolerance: Double
    /// For each image, 1 or more. Few keep noise small, too.
    public var maximumIterations: Int
    /// Where to begin. nil: at zeros.
    public var start: Tensor<Scalar>?
    /// One for each element of the output, in its order: false where it is not known (it may then be NaN). nil: all are known.
    public var mask: [Bool]?
    /// Only images without negative elements.
    public var nonnegative: Bool
    /// Called after each iteration; false stops.
    public var progress: ((Conv2DSolveProgress) -> Bool)?

    public init(
        damping: Double = 0, tolerance: Double = 1e-12, maximumIterations: Int = 1000, start: Tensor<Scalar>? = nil,
        mask: [Bool]? = nil, nonnegative: Bool = false, progress: ((Conv2DSolveProgress) -> Bool)? = nil
    ) {
        self.damping = damping
        self.tolerance = tolerance
        self.maximumIterations = maximumIterations
        self.start = start
        self.mask = mask
        self.nonnegative = nonnegative
        self.progress = progress
    }
}

/// What is known of one image after an iteration.
public struct Conv2DSolveProgress: Sendable {
    /// Index in the batch; the images are solved one after another.
    public let image: Int
    /// 1 or more.
    public let iteration: Int
    public let residualNorm: Double
    public let normalResidual: Double
    /// The image as it is now, in the order of the data format.
    public let elements: [Double]
}

/// An image that `conv2dSolve` found, and how.
public struct Conv2DSolution<Scalar: TensorScalar>: Hashable, Sendable {
    public let input: Tensor<Scalar>
    /// Of a batch the most that an image took.
    public let iterations: Int
    /// How far `conv2d(input)` is from the output, over all that is known.
    public let residualNorm: Double
    /// The length of half the gradient, without what only the bound of `nonnegative` holds up.
    public let normalResidual: Double
    /// Of a batch the last of the images' in the order of `Outcome`'s cases.
    public let outcome: Outcome

    public enum Outcome: Int32, Hashable, Sendable, CaseIterable {
        /// The gradient has fallen to the tolerance.
        case converged
        /// It will not: rounding errors, or data that are not finite, stand against it.
        case stagnated
        /// All iterations are done.
        case iterationLimit
        /// `progress` said stop.
        case stopped
    }
}

/// The way back through a `conv2d`: the images x that minimise, each for its image y of the output,
///
///     |conv2d(x) - y|^2 + damping^2 |x|^2
///
/// by conjugate gradients, in Double. Without damping, start and bound it is, of all images that come nearest to y, the smallest;
/// and the one that y was made from if `conv2dRank` says that nothing was lost.
///
///     let sharp = try conv2dSolve(blurred, inputShape: [1, 480, 640, 3], kernel: blur, options: .init(padding: .same),
///                                 solve: .init(damping: 0.01))
///
/// - Parameters:
///   - output: of the shape `conv2dOutputShape` tells for `inputShape`.
///   - inputShape: the shape of what is sought.
///   - kernel: as for `conv2d`.
///   - bias: as for `conv2d`.
///   - options: those of the `conv2d`, without an activation.
///   - solve: what is asked of the solution.
/// - Throws: what `conv2d` would; `shape` if output, start or mask have another; `activation` if there is one.
public func conv2dSolve<Scalar>(
    _ output: Tensor<Scalar>, inputShape: [Int], kernel: Tensor<Scalar>, bias: [Scalar]? = nil,
    options: Conv2DOptions = Conv2DOptions(), solve: Conv2DSolveOptions<Scalar> = Conv2DSolveOptions()
) throws(ConvolutionError) -> Conv2DSolution<Scalar> {
    let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
    try call.parameters.checkBias(bias)
    let outputShape = try call.outputShape(conv2d_output_shape)
    if output.shape != outputShape {
        throw ConvolutionError(.shape, "output has shape \(output.shape); images of shape \(inputShape) become \(outputShape)")
    }
    if let start = solve.start, start.shape != inputShape {
        throw ConvolutionError(.shape, "start has shape \(start.shape); it must be \(inputShape)")
    }
    let mask = solve.mask?.map { $0 ? UInt8(1) : 0 }
    var parameters = conv2d_solve_params()
    parameters.struct_size = MemoryLayout<conv2d_solve_params>.size
    parameters.lambda = solve.damping
    if solve.tolerance == 0 {
        throw ConvolutionError(.tolerance, "tolerance is 0.0; it must be greater than 0")
    }
    parameters.tolerance = solve.tolerance
    parameters.max_iterations = try positive(solve.maximumIterations, "max_iterations", .iterations)
    parameters.mask_size = Int64(mask?.count ?? 0)
    parameters.nonnegative = solve.nonnegative ? 1 : 0

    var result = conv2d_solve_result()
    result.struct_size = MemoryLayout<conv2d_solve_result>.size
    var reporter = Reporter(elements: inputShape.dropFirst().reduce(1) { Int(clampedProduct($0, $1)) }, tell: solve.progress)
    let input = try Tensor<Scalar>(shape: inputShape) { input in
        solve.start.withElements { start in
            mask.withElements { mask in
                withUnsafeMutablePointer(to: &reporter) { reporter in
                    parameters.start = UnsafeRawPointer(start)
                    parameters.mask = mask
                    parameters.context = UnsafeMutableRawPointer(reporter)
                    if solve.progress != nil { parameters.progress = report }
                    return call { conv2d_solve($0, &parameters, kernel.elements, bias, output.elements, input, &result) }
                }
            }
        }
    }
    return Conv2DSolution(
        input: input, iterations: Int(result.iterations), residualNorm: result.residual_norm,
        normalResidual: result.normal_residual, outcome: .init(rawValue: result.outcome) ?? .stagnated)
}

/// What the C callback finds behind its context.
private struct Reporter {
    var elements: Int
    var tell: ((Conv2DSolveProgress) -> Bool)?
}

private func report(_ context: UnsafeMutableRawPointer?, _ state: UnsafePointer<conv2d_solve_progress>?) -> Int32 {
    guard let reporter = context?.assumingMemoryBound(to: Reporter.self).pointee, let state = state?.pointee,
        let tell = reporter.tell
    else { return 0 }
    let goesOn = tell(
        Conv2DSolveProgress(
            image: Int(state.image), iteration: Int(state.iteration), residualNorm: state.residual_norm,
            normalResidual: state.normal_residual,
            elements: Array(UnsafeBufferPointer(start: state.input, count: reporter.elements))))
    return goesOn ? 0 : 1
}

extension Optional {
    fileprivate func withElements<Scalar, Result>(_ body: (UnsafePointer<Scalar>?) -> Result) -> Result
    where Wrapped == Tensor<Scalar> {
        guard let tensor = self else { return body(nil) }
        return tensor.elements.withUnsafeBufferPointer { body($0.baseAddress) }
    }

    fileprivate func withElements<Result>(_ body: (UnsafePointer<UInt8>?) -> Result) -> Result where Wrapped == [UInt8] {
        guard let bytes = self else { return body(nil) }
        return bytes.withUnsafeBufferPointer { body($0.baseAddress) }
    }
}

/// How much of an image a `conv2d` keeps: as `equations` for `unknowns`, the rows and columns of `conv2dMatrix`.
public struct Conv2DRank: Hashable, Sendable {
    public let equations: Int
    public let unknowns: Int
    /// No kernel of this shape gives a higher rank.
    public let bound: Int
    /// nil where it was too much to compute (see `conv2d_rank_report` in the header), or where the kernel is not finite.
    public let exact: Exact?

    public struct Exact: Hashable, Sendable {
        public let rank: Int
        public let largestSingularValue: Double
        /// Of those that `rank` counts.
        public let smallestSingularValue: Double
        /// Largest / smallest: noise in the output can grow by as much on the way back. 0 if `rank` is 0.
        public let condition: Double
    }
}

/// Tells before a `conv2dSolve` what can come back: if the rank is less than the unknowns, nothing can give all of an image back.
///
/// - Throws: what `conv2dMatrix` would.
public func conv2dRank<Scalar>(
    inputShape: [Int], kernel: Tensor<Scalar>, options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> Conv2DRank {
    let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
    var report = conv2d_rank()
    report.struct_size = MemoryLayout<conv2d_rank>.size
    try check(call { conv2d_rank_report($0, kernel.elements, &report) })
    return Conv2DRank(
        equations: Int(report.equations), unknowns: Int(report.unknowns), bound: Int(report.rank_bound),
        exact: report.exact == 0
            ? nil
            : .init(
                rank: Int(report.rank), largestSingularValue: report.largest_singular_value,
                smallestSingularValue: report.smallest_singular_value, condition: report.condition))
}
