import CConvolution
import CConvolutionShims
import ConvolutionKernels

// Gradients with respect to input and bias. The input gradient of a layer is its adjoint, which is a layer too: conv2d's is a
// transposed convolution that gives back exactly the input's size, conv2d_transpose's a convolution that reads the window of the
// output.

/// How many lines outside its input a convolution reads, on one axis.
struct Border {
    var before = 0
    var after = 0

    init() {}

    init(_ axis: Axis) {
        if axis.output == 0 { return }
        let end = (axis.output - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1 - axis.start
        before = max(axis.start, 0)
        after = max(end - axis.input, 0)
    }
}

/// The adjoint of a layer with its kernel packed. Read-only after creation.
struct InputGradientPlan {
    /// The forward layer.
    var layer: Layer
    var arrays: Arrays
    /// The adjoint. Where the layer's border repeats input elements its output is not the input gradient but a padded one,
    /// packed, whose border lines are then added to the elements that they repeat.
    var plan: UnsafeMutablePointer<ConvolutionPlan>
    /// Of that output.
    var strides: Strides
    var vertical = Border()
    var horizontal = Border()

    var isPadded: Bool { vertical.before + vertical.after + horizontal.before + horizontal.after > 0 }
    var paddedRows: Int { layer.vertical.input + vertical.before + vertical.after }
    var paddedColumns: Int { layer.horizontal.input + horizontal.before + horizontal.after }
}

func createInputGradientPlan(
    _ layer: Layer, kernel: UnsafeRawPointer?
) throws(Failure) -> UnsafeMutablePointer<InputGradientPlan> {
    try allocated { () throws(Failure) in try inputGradientPlan(layer, kernel: kernel) }
}

/// A plan in memory of its own.
@inline(__always)
func allocated<Plan>(_ made: () throws(Failure) -> Plan) throws(Failure) -> UnsafeMutablePointer<Plan> {
    let memory = try allocate(1, of: MemoryLayout<Plan>.size, "the plan").bindMemory(to: Plan.self, capacity: 1)
    do throws(Failure) {
        memory.initialize(to: try made())
        return memory
    } catch {
        shim_free(memory)
        throw error
    }
}

private func inputGradientPlan(_ layer: Layer, kernel: UnsafeRawPointer?) throws(Failure) -> InputGradientPlan {
    try layer.checkInputDisjoint()
    let arrays = try layer.gradientArrays
    var adjoint = layer.adjoint
    guard layer.paddingMode != .constant, adjoint.hasOutput else {
        return InputGradientPlan(
            layer: layer, arrays: arrays, plan: try createPlan(adjoint, kernel: kernel, bias: nil), strides: adjoint.output)
    }
    let (vertical, horizontal) = (Border(layer.vertical), Border(layer.horizontal))
    adjoint.vertical.start -= vertical.before
    adjoint.vertical.output += vertical.before + vertical.after
    adjoint.horizontal.start -= horizontal.before
    adjoint.horizontal.output += horizontal.before + horizontal.after
    let (rows, columns, channels) = (adjoint.vertical.output, adjoint.horizontal.output, layer.inChannels)
    let pixels = try times(rows, columns, "the padded input gradient")
    let elements = try times(times(pixels, channels, "the padded input gradient"), layer.batch, "the padded input gradient")
    if pixels > layer.vertical.input * layer.horizontal.input {
        adjoint.means.accumulates = false
        let bytes = elements * layer.elementBytes
        if bytes >= layer.means.workspaceLimit {
            throw Failure.workspace(layer, "the padded input gradient alone needs", bytes)
        }
        adjoint.means.workspaceLimit -= bytes
        adjoint.output = layer.channelsFirst
            ? Strides(batch: pixels * channels, row: columns, column: 1, channel: pixels)
            : Strides(batch: pixels * channels, row: columns * channels, column: channels, channel: 1)
    }
    return InputGradientPlan(
        layer: layer, arrays: arrays, plan: try createPlan(adjoint, kernel: kernel, bias: nil), strides: adjoint.output,
        vertical: vertical, horizontal: horizontal)
}

func destroy(_ plan: UnsafeMutablePointer<InputGradientPlan>) {
    destroy(plan.pointee.plan)
    shim_free(plan)
}

/// The arrays of a call of `..._backward_input`, and the input's strides, which must not let two elements of the result share a
/// place.
func checkInputGradient(
    _ layer: Layer, outputGradient: UnsafeRawPointer?, kernel: UnsafeRawPointer?, inputGradient: UnsafeRawPointer?
) throws(Failure) {
    let bytes = layer.elementBytes
    let result = try layer.gradientArrays.check(outputGradient, "output_gradient", inputGradient, "input_gradient")
    try checkApart(result, of: "input_gradient", extent(kernel, bytes: layer.kernelElements * bytes), "kernel")
}

func execute(
    _ plan: UnsafePointer<InputGradientPlan>, outputGradient: UnsafeRawPointer?, inputGradient: UnsafeMutableRawPointer?
) throws(Failure) {
    guard plan.pointee.isPadded, let inputGradient else {
        try execute(plan.pointee.plan, input: outputGradient, output: inputGradient)
        return
    }
    let layer = plan.pointee.layer
    // Checked when the plan was made.
    let elements = plan.pointee.paddedRows * plan.pointee.paddedColumns * layer.inChannels * layer.batch
    let padded = try allocate(elements, of: layer.elementBytes, "the padded input gradient")
    do throws(Failure) {
        try execute(plan.pointee.plan, input: outputGradient, output: padded)
    } catch {
        shim_free(padded)
        throw error
    }
    layer.isDouble
        ? fold(plan, padded.assumingMemoryBound(to: Double.self), into: inputGradient.assumingMemoryBound(to: Double.self))
        : fold(plan, padded.assumingMemoryBound(to: Float.self), into: inputGradient.assumingMemoryBound(to: Float.self))
    shim_free(padded)
}

/// Adds the border lines of a padded gradient to the lines that they repeat, columns first, both in ascending order, and stores
/// what is then inside.
private func fold<Scalar: KernelScalar>(
    _ plan: UnsafePointer<InputGradientPlan>, _ padded: UnsafeMutablePointer<Scalar>, into gradient: UnsafeMutablePointer<Scalar>
) {
    let layer = plan.pointee.layer
    let strides = plan.pointee.strides
    let (vertical, horizontal) = (plan.pointee.vertical, plan.pointee.horizontal)
    let (rows, columns, channels) = (layer.vertical.input, layer.horizontal.input, layer.inChannels)
    for image in 0..<layer.batch {
        let corner = padded + image * strides.batch
        for place in 0..<plan.pointee.paddedColumns {
            guard let column = repeated(place, horizontal, layer.horizontal.input, layer.paddingMode) else { continue }
            for row in 0..<plan.pointee.paddedRows {
                addLine(
                    corner + row * strides.row + place * strides.column, strides.channel,
                    to: corner + row * strides.row + column * strides.column, strides.channel, count: channels)
            }
        }
        for place in 0..<plan.pointee.paddedRows {
            guard let row = repeated(place, vertical, layer.vertical.input, layer.paddingMode) else { continue }
            for channel in 0..<channels {
                let start = corner + horizontal.before * strides.column + channel * strides.channel
                addLine(start + place * strides.row, strides.column, to: start + row * strides.row, strides.column,
                    count: columns)
            }
        }
        let inside = corner + vertical.before * strides.row + horizontal.before * strides.column
        let target = gradient + image * layer.input.batch
        for row in 0..<rows {
            for line in 0..<(layer.channelsFirst ? channels : columns) {
                let (from, to, step, stride, count) = layer.channelsFirst
                    ? (line * strides.channel, line * layer.input.channel, strides.column, layer.input.column, columns)
                    : (line * strides.column, line * layer.input.column, strides.channel, layer.input.channel, channels)
                let (source, place) = (inside + row * strides.row + from, target + row * layer.input.row + to)
                if layer.means.accumulates {
                    addLine(source, step, to: place, stride, count: count)
                } else {
                    for i in 0..<count { place[i * stride] = source[i * step] }
                }
            }
        }
    }
}

/// The padded line that holds what border line `place` repeats; nil if that lies inside itself.
private func repeated(_ place: Int, _ border: Border, _ length: Int, _ mode: BorderMode) -> Int? {
    let index = place - border.before
    if index >= 0, index < length { return nil }
    return borderIndex(index, length, mode).map { $0 + border.before }
}

private func addLine<Scalar: KernelScalar>(
    _ source: UnsafePointer<Scalar>, _ sourceStride: Int, to target: UnsafeMutablePointer<Scalar>, _ targetStride: Int, count: Int
) {
    for i in 0..<count { target[i * targetStride] += source[i * sourceStride] }
}

// MARK: - Bias

func checkBiasGradient(_ layer: Layer, outputGradient: UnsafeRawPointer?, biasGradient: UnsafeRawPointer?) throws(Failure) {
    if biasGradient == nil, layer.outChannels > 0 {
        throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "bias_gradient is NULL; it must point to \(layer.outChannels) elements")
    }
    try checkApart(
        extent(biasGradient, bytes: layer.outChannels * layer.elementBytes), of: "bias_gradient",
        layer.outputFootprint.extent(at: outputGradient, "output_gradient"), "output_gradient")
}

/// A sum kept in two numbers, the second of which collects what the first rounded away.
struct CompensatedSum<Scalar: KernelScalar> {
    var sum: Scalar = 0
    var rest: Scalar = 0

    @inline(__always)
    mutating func add(_ x: Scalar) {
        let total = sum + x
        let share = total - sum
        rest += (sum - (total - share)) + (x - share)
        sum = total
    }

    /// An infinite sum has no rest.
    var value: Scalar { rest.isFinite ? sum + rest : sum }
}

/// Pixels of one row that are added plainly, in `biasChains` interleaved chains, before the chains' sums join the total.
private let biasPiece = 512
private let biasChains = 8

func backwardBias(_ layer: Layer, outputGradient: UnsafeRawPointer?, biasGradient: UnsafeMutableRawPointer?) {
    // Without pixels there may be no output gradient, and it is not looked at.
    guard let biasGradient else { return }
    let gradient = outputGradient ?? UnsafeRawPointer(biasGradient)
    layer.isDouble
        ? sumPixels(layer, gradient.assumingMemoryBound(to: Double.self), into: biasGradient.assumingMemoryBound(to: Double.self))
        : sumPixels(layer, gradient.assumingMemoryBound(to: Float.self), into: biasGradient.assumingMemoryBound(to: Float.self))
}

/// result[o] = sum over images and pixels of gradient[..., o], or += .
private func sumPixels<Scalar: KernelScalar>(
    _ layer: Layer, _ gradient: UnsafePointer<Scalar>, into result: UnsafeMutablePointer<Scalar>
) {
    let (rows, columns) = (layer.vertical.output, layer.horizontal.output)
    // Whole rows as long as a chain stays within biasPiece / biasChains terms.
    let width = min(max(columns, 1), biasPiece)
    let height = max(1, biasPiece / (ceilDivide(width, biasChains) * biasChains))
    let block = 32
    var first = 0
    while first < layer.outChannels {
        let channels = min(block, layer.outChannels - first)
        var totals = InlineArray<32, CompensatedSum<Scalar>>(repeating: CompensatedSum())
        for image in 0..<(layer.hasOutput ? layer.batch : 0) {
            var row = 0
            while row < rows {
                var column = 0
                while column < columns {
                    let start = gradient + image * layer.output.batch + row * layer.output.row + column * layer.output.column
                        + first * layer.output.channel
                    addPiece(
                        start, layer.output, rows: min(height, rows - row), columns: min(width, columns - column),
                        channels: channels, &totals)
                    column += width
                }
                row += height
            }
        }
        for channel in 0..<channels {
            let value = totals[channel].value
            result[first + channel] = layer.means.accumulates ? result[first + channel] + value : value
        }
        first += channels
    }
}

private func addPiece<Scalar: KernelScalar>(
    _ start: UnsafePointer<Scalar>, _ strides: Strides, rows: Int, columns: Int, channels: Int,
    _ totals: inout InlineArray<32, CompensatedSum<Scalar>>
) {
    // [chain][channel]: column x belongs to chain x mod 8.
    var chains = InlineArray<256, Scalar>(repeating: 0)
    var span = chains.mutableSpan
    span.withUnsafeMutableBufferPointer { buffer in
        guard let chains = buffer.baseAddress else { return }
        for row in 0..<rows {
            let line = start + row * strides.row
            if strides.column == 1 {
                for channel in 0..<channels {
                    let source = line + channel * strides.channel
                    let sums = chains + channel
                    for column in 0..<columns { sums[(column & 7) * 32] += source[column] }
                }
            } else {
                for column in 0..<columns {
                    let source = line + column * strides.column
                    let sums = chains + (column & 7) * 32
                    for channel in 0..<channels { sums[channel] += source[channel * strides.channel] }
                }
            }
        }
        for channel in 0..<channels {
            func pair(_ chain: Int) -> Scalar { chains[chain * 32 + channel] + chains[(chain + 1) * 32 + channel] }
            totals[channel].add((pair(0) + pair(2)) + (pair(4) + pair(6)))
        }
    }
}
