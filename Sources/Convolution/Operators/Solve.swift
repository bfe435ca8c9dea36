import CConvolution
import CConvolutionShims
import ConvolutionKernels

// conv2d_solve: minimise |A x + b - y|^2 + lambda^2 |x|^2 for each image of a batch, in double.
//
// One method for both problems. Over all x it is CGLS: conjugate gradients on the normal equations, which meet A and its adjoint
// as functions only and never form a matrix. Over x >= 0 the same steps run on the elements above 0 until one would fall below;
// then a step of gradient projection picks the elements anew, and elements that rest at 0 are let go when they hold up most of
// the gradient (Dostal's modified proportioning, with a step length that is searched instead of known).

/// A checked conv2d_solve_params.
struct SolveOptions {
    var damping: Double // lambda^2
    var tolerance: Double
    var iterations: Int
    var start: UnsafeRawPointer?
    var mask: UnsafePointer<UInt8>?
    var nonnegative: Bool
    var progress: SolveProgress?
    var context: UnsafeMutableRawPointer?
}

typealias SolveProgress = @convention(c) (UnsafeMutableRawPointer?, UnsafePointer<conv2d_solve_progress>?) -> Int32

/// How a solution was come to: of one image, then of the batch.
struct SolveReport {
    var iterations = 0
    var residualSquare = 0.0
    var normalSquare = 0.0
    var outcome = CONV2D_SOLVE_CONVERGED

    mutating func include(_ image: SolveReport) {
        iterations = max(iterations, image.iterations)
        residualSquare += image.residualSquare
        normalSquare += image.normalSquare
        outcome = max(outcome, image.outcome)
    }
}

func solution(
    _ layer: Layer, _ options: SolveOptions, kernel: UnsafeRawPointer?, bias: UnsafeRawPointer?, output: UnsafeRawPointer?,
    input: UnsafeMutableRawPointer?
) throws(Failure) -> SolveReport {
    let (rows, columns) = (layer.vertical, layer.horizontal)
    _ = try layer.inputFootprint.extent(at: input, "input")
    _ = try layer.outputFootprint.extent(at: output, "output")
    try layer.checkInputDisjoint()
    try checkKernel(layer, kernel)
    var report = SolveReport()
    if layer.batch == 0 { return report }

    let unknowns = try times(times(rows.input, columns.input, "input"), layer.inChannels, "input")
    let equations = try times(times(rows.output, columns.output, "output"), layer.outChannels, "output")
    let solutionElements = try times(layer.batch, unknowns, "input")
    let memory = try allocate(solutionElements + layer.kernelElements + layer.outChannels, of: 8, "the solution")
    defer { shim_free(memory) }
    let solutions = memory.assumingMemoryBound(to: Double.self)
    let wideKernel = solutions + solutionElements
    let wideBias = wideKernel + layer.kernelElements
    let areDoubles = layer.isDouble
    widen(kernel.map { Numbers(reading: $0, areDoubles: areDoubles) }, layer.kernelElements, wideKernel)
    widen(bias.map { Numbers(reading: $0, areDoubles: areDoubles) }, layer.outChannels, wideBias)

    var problem = try LeastSquares(
        layer, options, unknowns: unknowns, equations: equations, kernel: wideKernel, bias: wideBias, x: solutions)
    defer { problem.release() }
    for image in 0..<layer.batch {
        problem.x = solutions + image * unknowns
        if let output {
            gather(
                Numbers(reading: output, areDoubles: areDoubles) + image * layer.output.batch, layer.output, rows.output,
                columns.output, layer.outChannels, problem.target)
        }
        if let start = options.start {
            gather(
                Numbers(reading: start, areDoubles: areDoubles) + image * layer.input.batch, layer.input, rows.input, columns.input,
                layer.inChannels, problem.x)
        } else {
            problem.x.update(repeating: 0, count: unknowns)
        }
        report.include(try problem.solve(image, stopped: report.outcome == CONV2D_SOLVE_STOPPED))
    }
    if let input {
        for image in 0..<layer.batch {
            scatter(
                solutions + image * unknowns, rows.input, columns.input, layer.inChannels, layer.input,
                Numbers(input, areDoubles: areDoubles) + image * layer.input.batch)
        }
    }
    return report
}

// MARK: - Arrays of the caller

private func widen(_ array: Numbers?, _ count: Int, _ target: UnsafeMutablePointer<Double>) {
    guard let array else {
        target.update(repeating: 0, count: count)
        return
    }
    for i in 0..<count { target[i] = array[i] }
}

/// From wherever an image's elements lie to packed ones, channels last.
private func gather(
    _ image: Numbers, _ strides: Strides, _ rows: Int, _ columns: Int, _ channels: Int,
    _ target: UnsafeMutablePointer<Double>
) {
    var place = target
    for row in 0..<rows {
        for column in 0..<columns {
            let pixel = image + row * strides.row + column * strides.column
            for channel in 0..<channels { place[channel] = pixel[channel * strides.channel] }
            place += channels
        }
    }
}

private func scatter(
    _ source: UnsafePointer<Double>, _ rows: Int, _ columns: Int, _ channels: Int, _ strides: Strides, _ image: Numbers
) {
    var place = source
    for row in 0..<rows {
        for column in 0..<columns {
            let pixel = image + row * strides.row + column * strides.column
            for channel in 0..<channels { pixel[channel * strides.channel] = place[channel] }
            place += channels
        }
    }
}

// MARK: - Vectors

/// Adds the terms in one order whatever the threads: in eight lanes, which are added up every few thousand terms, so that long
/// sums lose no digits.
@inline(__always)
func sum(_ count: Int, _ term: (Int) -> Double) -> Double {
    var total = 0.0
    var i = 0
    while i < count {
        let end = min(i + 4096, count)
        var lanes = SIMD8<Double>(repeating: 0)
        while i + 8 <= end {
            for lane in 0..<8 { lanes[lane] += term(i + lane) }
            i += 8
        }
        total += lanes.sum()
        while i < end {
            total += term(i)
            i += 1
        }
    }
    return total
}

func dot(_ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ count: Int) -> Double { sum(count) { a[$0] * b[$0] } }

/// y += factor * x
private func add(_ factor: Double, _ x: UnsafePointer<Double>, to y: UnsafeMutablePointer<Double>, _ count: Int) {
    for i in 0..<count { y[i] += factor * x[i] }
}

// MARK: - One image

/// The problem of one image after another: the layer as an operator A on packed images of doubles, channels last whatever the
/// caller's format, since the order of the elements is the order in which sums are taken.
private struct LeastSquares {
    let layer: Layer
    let options: SolveOptions
    let unknowns: Int
    let equations: Int
    let forward: UnsafeMutablePointer<ConvolutionPlan>
    let backward: UnsafeMutablePointer<InputGradientPlan>

    var x: UnsafeMutablePointer<Double>
    /// A'(y - A x - b) - lambda^2 x, half of the objective's steepest descent.
    let descent: UnsafeMutablePointer<Double>
    let direction: UnsafeMutablePointer<Double>
    /// What the callback is shown: x in the caller's format.
    let shown: UnsafeMutablePointer<Double>
    /// b: what the layer makes of a zero image, bias and constant padding.
    let offset: UnsafeMutablePointer<Double>
    /// y
    let target: UnsafeMutablePointer<Double>
    /// y - A x - b, 0 where y is not known.
    let residual: UnsafeMutablePointer<Double>
    /// A times `direction`, 0 where y is not known.
    let response: UnsafeMutablePointer<Double>
    /// 1 where y is known, else 0.
    let known: UnsafeMutablePointer<Double>

    /// The largest curvature that a direction p had, (|A p|^2 + lambda^2 |p|^2) / |p|^2: the operator's squared norm, from below.
    var steepness = 0.0
    /// Of `descent`: the squared length over the free elements, and over those that leave 0.
    var freeSquare = 0.0
    var leavingSquare = 0.0

    init(
        _ caller: Layer, _ options: SolveOptions, unknowns: Int, equations: Int, kernel: UnsafePointer<Double>,
        bias: UnsafePointer<Double>, x: UnsafeMutablePointer<Double>
    ) throws(Failure) {
        var affine = caller
        affine.isDouble = true
        affine.channelsFirst = false
        affine.batch = 1
        affine.input = affine.packedInput
        affine.output = affine.packedOutput
        affine.means.workspaceLimit = .max
        affine.means.permitsWinograd = false
        var linear = affine
        linear.paddingValue = 0

        layer = caller
        self.options = options
        self.unknowns = unknowns
        self.equations = equations
        self.x = x
        let count = try plus(times(3, unknowns, "input"), times(5, equations, "output"), "the solution")
        descent = try allocate(count, of: 8, "the solution").assumingMemoryBound(to: Double.self)
        direction = descent + unknowns
        shown = direction + unknowns
        offset = shown + unknowns
        target = offset + equations
        residual = target + equations
        response = residual + equations
        known = response + equations
        do throws(Failure) {
            // `descent` is the zero image here.
            descent.update(repeating: 0, count: unknowns)
            let plan = try createPlan(affine, kernel: kernel, bias: bias)
            defer { destroy(plan) }
            try execute(plan, input: descent, output: offset)
            forward = try createPlan(linear, kernel: kernel, bias: nil)
        } catch {
            shim_free(descent)
            throw error
        }
        do throws(Failure) {
            backward = try createInputGradientPlan(linear, kernel: kernel)
        } catch {
            destroy(forward)
            shim_free(descent)
            throw error
        }
    }

    func release() {
        destroy(forward)
        destroy(backward)
        shim_free(descent)
    }

    /// Solves for `target` from `x` on. Once the batch is stopped, it only tells where x stands.
    mutating func solve(_ image: Int, stopped: Bool) throws(Failure) -> SolveReport {
        var report = SolveReport()
        if stopped { report.outcome = CONV2D_SOLVE_STOPPED }
        if options.nonnegative {
            for i in 0..<unknowns { x[i] = max(x[i], 0) }
        }
        setKnown(image)
        // The descent at x = 0 is what `tolerance` compares with, lest a good start make convergence harder.
        setResidual()
        try execute(backward, outputGradient: residual, inputGradient: descent)
        var reference = dot(descent, descent, unknowns).squareRoot()
        var previous = Double.infinity
        steepness = 0
        while true {
            // What belongs to this very x: in the iterations, rounding errors take the residual away from it.
            try respond(to: x)
            setResidual()
            add(-1, response, to: residual, equations)
            try measure()
            let normal = normalSquare.squareRoot()
            (report.residualSquare, report.normalSquare) = (dot(residual, residual, equations), normalSquare)
            if previous == .infinity { reference = max(reference, normal) }
            if report.outcome == CONV2D_SOLVE_STOPPED { return report }
            // A square that underflows is no proof of a zero, and infinity none of anything.
            if normal <= options.tolerance * reference, reference.isFinite, normal > 0 || !descends {
                report.outcome = CONV2D_SOLVE_CONVERGED
                return report
            }
            if report.iterations >= options.iterations {
                report.outcome = CONV2D_SOLVE_ITERATION_LIMIT
                return report
            }
            // Written so that NaN stagnates too.
            if !(normal < previous / 2) {
                report.outcome = CONV2D_SOLVE_STAGNATED
                return report
            }
            previous = normal
            try iterate(image, until: options.tolerance * reference, &report)
        }
    }

    private var normalSquare: Double { freeSquare + leavingSquare }

    /// Steps until the residual that is carried along says that x has converged, or that rounding errors are all that is left of
    /// the descent, or until no step is to be taken any more.
    private mutating func iterate(_ image: Int, until goal: Double, _ report: inout SolveReport) throws(Failure) {
        setDirection(adding: 0)
        while report.iterations < options.iterations {
            // Elements at 0 are let go when that promises more than the free ones have left, of which those near 0 have little.
            let leaves = options.nonnegative && leavingSquare > reducedSquare()
            if leaves {
                for i in 0..<unknowns { direction[i] = x[i] > 0 ? 0 : max(descent[i], 0) }
            }
            let curvature = try respondToDirection()
            let step = (leaves ? leavingSquare : freeSquare) / curvature
            guard curvature > 0, step > 0, step.isFinite else { return }
            let room = options.nonnegative ? roomAlongDirection() : .infinity
            if step < room {
                let before = freeSquare
                add(step, direction, to: x, unknowns)
                if options.nonnegative {
                    for i in 0..<unknowns { x[i] = max(x[i], 0) }
                }
                add(-step, response, to: residual, equations)
                try measure()
                setDirection(adding: leaves ? 0 : freeSquare / before)
            } else {
                for i in 0..<unknowns { x[i] = x[i] > -room * direction[i] ? x[i] + room * direction[i] : 0 }
                add(-room, response, to: residual, equations)
                try measure()
                guard try project() else { return }
                try measure()
                setDirection(adding: 0)
            }
            report.iterations += 1
            let residualNorm = dot(residual, residual, equations).squareRoot()
            let normal = normalSquare.squareRoot()
            if wantsStop(image, report.iterations, residualNorm, normal) {
                report.outcome = CONV2D_SOLVE_STOPPED
                return
            }
            let pull = options.damping > 0 ? options.damping * dot(x, x, unknowns).squareRoot() : 0
            let rounding = 4 * Double.ulpOfOne * (steepness.squareRoot() * residualNorm + pull)
            // Written so that NaN ends it too.
            if !(normal > goal && normal > rounding) { return }
        }
    }

    // MARK: The operator

    private func setKnown(_ image: Int) {
        guard let mask = options.mask else {
            known.update(repeating: 1, count: equations)
            return
        }
        let channels = layer.outChannels
        for i in 0..<equations {
            let place = layer.channelsFirst ? i % channels * (equations / channels) + i / channels : i
            known[i] = Double(mask[image * equations + place])
        }
    }

    private func setResidual() {
        for i in 0..<equations { residual[i] = known[i] != 0 ? target[i] - offset[i] : 0 }
    }

    /// response = A * image
    private func respond(to image: UnsafePointer<Double>) throws(Failure) {
        try execute(forward, input: image, output: response)
        for i in 0..<equations where known[i] == 0 { response[i] = 0 }
    }

    /// The response to `direction` and its curvature, not divided by the direction's squared length.
    private mutating func respondToDirection() throws(Failure) -> Double {
        try respond(to: direction)
        let length = dot(direction, direction, unknowns)
        let curvature = dot(response, response, equations) + options.damping * length
        if length > 0 { steepness = max(steepness, curvature / length) }
        return curvature
    }

    /// `descent` and its squares, from `residual` and x.
    private mutating func measure() throws(Failure) {
        try execute(backward, outputGradient: residual, inputGradient: descent)
        if options.damping > 0 { add(-options.damping, x, to: descent, unknowns) }
        if options.nonnegative {
            freeSquare = sum(unknowns) { x[$0] > 0 ? descent[$0] * descent[$0] : 0 }
            leavingSquare = sum(unknowns) { x[$0] <= 0 && descent[$0] > 0 ? descent[$0] * descent[$0] : 0 }
        } else {
            freeSquare = dot(descent, descent, unknowns)
        }
    }

    // MARK: Directions and steps

    private func isFree(_ i: Int) -> Bool { !options.nonnegative || x[i] > 0 }

    /// Some element can move downhill.
    private var descends: Bool {
        for i in 0..<unknowns where descent[i] > 0 || (descent[i] != 0 && isFree(i)) { return true }
        return false
    }

    /// The descent of the free elements plus `factor` times the old direction: conjugate to it with the right factor.
    private func setDirection(adding factor: Double) {
        for i in 0..<unknowns { direction[i] = isFree(i) ? descent[i] + (factor != 0 ? factor * direction[i] : 0) : 0 }
    }

    /// `freeSquare`, but no more than the step of a gradient projection can use before an element reaches 0.
    private func reducedSquare() -> Double {
        sum(unknowns) { x[$0] > 0 ? descent[$0] * max(descent[$0], -steepness * x[$0]) : 0 }
    }

    /// How many times `direction` x may go before an element falls below 0.
    private func roomAlongDirection() -> Double {
        var room = Double.infinity
        for i in 0..<unknowns where direction[i] < 0 { room = min(room, x[i] / -direction[i]) }
        return room
    }

    /// A step of gradient projection over the free elements, short enough to go downhill; false if no number says how short.
    private mutating func project() throws(Failure) -> Bool {
        while true {
            let inverse = steepness
            for i in 0..<unknowns { direction[i] = x[i] > 0 ? max(x[i] + descent[i] / inverse, 0) - x[i] : 0 }
            let length = dot(direction, direction, unknowns)
            let curvature = try respondToDirection()
            guard inverse > 0, curvature.isFinite, inverse.isFinite else { return false }
            if curvature <= inverse * length { break }
            steepness = max(steepness, 2 * inverse)
        }
        for i in 0..<unknowns { x[i] = max(x[i] + direction[i], 0) }
        add(-1, response, to: residual, equations)
        return true
    }

    private func wantsStop(_ image: Int, _ iteration: Int, _ residualNorm: Double, _ normalResidual: Double) -> Bool {
        guard let progress = options.progress else { return false }
        let (rows, columns, channels) = (layer.vertical.input, layer.horizontal.input, layer.inChannels)
        scatter(x, rows, columns, channels, layer.packedInput, Numbers(shown, areDoubles: true))
        let state = conv2d_solve_progress(
            struct_size: MemoryLayout<conv2d_solve_progress>.size, image: Int64(image), iteration: Int64(iteration),
            residual_norm: residualNorm, normal_residual: normalResidual, input: UnsafePointer(shown))
        return withUnsafePointer(to: state) { progress(options.context, $0) } != 0
    }
}
