import CConvolutionShims
import ConvolutionKernels

// Layers of one input channel per group whose vectors hold columns (`accumulateStencil`): tiles of four output rows of a channel. A kernel
// that is a column times a row is run as two passes.

/// Whether `accumulateStencil` computes this layer where the vectors hold columns: one output row on is some kernel rows on.
func canStencil(_ layer: Layer) -> Bool {
    layer.vertical.repetition == 1 && layer.horizontal.repetition == 1 && layer.inChannelsPerGroup == 1
        && (!layer.transposed || layer.vertical.stride == 1 && layer.horizontal.stride == 1)
        && layer.vertical.stride % layer.vertical.dilation == 0 && layer.vertical.stride / layer.vertical.dilation <= layer.vertical.kernel
        && chunkTerms(layer.vertical.kernel * layer.horizontal.kernel) >= layer.horizontal.kernel
}

/// Whether the layer, an image filter, is run as two passes if its kernel permits. Smaller kernels would not gain; the two sums of longer
/// ones are not cut into chunks.
func maySeparate(_ layer: Layer) -> Bool {
    canStencil(layer) && !layer.transposed && layer.outChannelsPerGroup == 1 && layer.inChannels <= 4
        && layer.vertical.stride == 1 && layer.horizontal.stride == 1
        && layer.horizontal.dilation == 1 && (5...16).contains(layer.vertical.kernel) && (5...16).contains(layer.horizontal.kernel)
}

/// Writes u and then v with kernel[i][j] = u[i] * v[j], and says whether that is near enough.
///
/// Where whole numbers must give exact results, the products must be exact. That is asked for wherever all weights are multiples of one
/// power of two and less than 2^24 (2^53) of it. Else they may differ by two units in the last place: with the two short sums
/// an element's error then stays well within the bound, as the weights' own deviations are independent of each other.
/// An infinity meets the same zeros: a weight is 0 exactly where u or v is. v's weights add up to at most 1, so that no sum of the
/// first pass overflows where the result would not.
func separate<Scalar: KernelScalar>(_ kernel: UnsafePointer<Scalar>, rows: Int, columns: Int, into factors: UnsafeMutablePointer<Scalar>) -> Bool {
    var pivot = 0
    var lowestBit = Int.max
    for i in 0..<(rows * columns) {
        if !kernel[i].isFinite { return false }
        if kernel[i] != 0 { lowestBit = min(lowestBit, Int(kernel[i].exponent) - kernel[i].significandWidth) }
        if kernel[i].magnitude > kernel[pivot].magnitude { pivot = i }
    }
    let most = kernel[pivot]
    if most == 0 || !most.isNormal { return false }
    let mustBeExact = Int(most.exponent) - lowestBit <= Scalar.significandBitCount
    let (u, v) = (factors, factors + rows)
    // By the least row, whose multiples the others most often are: 1 4 6 4 1.
    let pivotColumn = pivot % columns
    var pivotRow = pivot / columns
    for i in 0..<rows {
        let w = kernel[i * columns + pivotColumn].magnitude
        if w != 0, w < kernel[pivotRow * columns + pivotColumn].magnitude { pivotRow = i }
    }
    for i in 0..<rows { u[i] = kernel[i * columns + pivotColumn] / kernel[pivotRow * columns + pivotColumn] }
    for j in 0..<columns { v[j] = kernel[pivotRow * columns + j] }
    if !mustBeExact {
        // Averages, whose own roundings are small: u for this v, then v for that u.
        var squares = 0.0
        for j in 0..<columns { squares += Double(v[j]) * Double(v[j]) }
        for i in 0..<rows {
            var sum = 0.0
            for j in 0..<columns { sum += Double(kernel[i * columns + j]) * Double(v[j]) }
            u[i] = Scalar(sum / squares)
        }
        squares = 0
        for i in 0..<rows { squares += Double(u[i]) * Double(u[i]) }
        for j in 0..<columns {
            var sum = 0.0
            for i in 0..<rows { sum += Double(kernel[i * columns + j]) * Double(u[i]) }
            v[j] = Scalar(sum / squares)
        }
    }
    let tolerance = mustBeExact ? 0 : 2 * Scalar.ulpOfOne
    for i in 0..<rows {
        for j in 0..<columns {
            let w = kernel[i * columns + j]
            // One rounding: exact where it is 0. NaN is not near.
            let isNear = (-w).addingProduct(u[i], v[j]).magnitude <= tolerance * w.magnitude
            if !isNear || (w == 0) != (u[i] == 0 || v[j] == 0) { return false }
        }
    }
    var total: Scalar = 0
    for j in 0..<columns { total += v[j].magnitude }
    guard total.isNormal else { return false }
    let scale = Scalar(sign: .plus, exponent: total.exponent + 1, significand: 1)
    for i in 0..<rows { u[i] *= scale }
    for j in 0..<columns { v[j] /= scale }
    return true
}

extension ConvolutionPlan {
    /// The kernel for a band so wide.
    @inline(__always)
    func stencil(columns: Int) -> StencilKernel {
        table.stencils[2 * columns <= table.stencils[1].vectors * table.lanes ? 0 : 1]
    }
}

/// What of an item is the same for all its rows.
private struct StencilItem<Scalar> {
    var plan: UnsafePointer<ConvolutionPlan>
    var kernel: StencilKernel
    /// Input rows of four output rows, and the output rows.
    var rows: UnsafeMutablePointer<UnsafePointer<Scalar>>
    var targets: UnsafeMutablePointer<UnsafeMutablePointer<Scalar>>
    var sums: UnsafeMutablePointer<Scalar>
    var offsets: UnsafePointer<Int>
    var kernelRows: Int
    var kernelColumns: Int
    var rowStep: Int
    var rowsPerChunk: Int
    var weights: UnsafePointer<Scalar>
    var bias: UnsafePointer<Scalar>
    var streams: Bool
}

/// An item of a plan of stencils. The rectangle is packed where `source` is.
func stencil<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ source: Source<Scalar>, _ rectangle: Rectangle, image: Int,
    rows: Range<Int>, columns: Range<Int>, panels: Range<Int>, _ output: UnsafeMutablePointer<Scalar>, _ workspace: UnsafeMutableRawPointer
) {
    let layer = plan.pointee.layer
    let (vertical, horizontal) = (block.pointee.vertical, block.pointee.horizontal)
    let packed = (workspace + plan.pointee.workspace.rectangle).assumingMemoryBound(to: Scalar.self)
    let separates = plan.pointee.separates
    let offsets = (workspace + plan.pointee.workspace.columnOffsets).assumingMemoryBound(to: Int.self)
    let addresses = (workspace + plan.pointee.workspace.runs).assumingMemoryBound(to: UnsafePointer<Scalar>.self)
    var item = StencilItem(
        plan: plan, kernel: plan.pointee.stencil(columns: columns.count), rows: addresses + stencilRows,
        targets: UnsafeMutableRawPointer(addresses).assumingMemoryBound(to: UnsafeMutablePointer<Scalar>.self),
        sums: (workspace + plan.pointee.workspace.sums).assumingMemoryBound(to: Scalar.self), offsets: UnsafePointer(offsets),
        kernelRows: vertical.taps, kernelColumns: separates ? 1 : horizontal.taps, rowStep: vertical.inputStep / vertical.offsetStep,
        rowsPerChunk: separates ? vertical.taps : block.pointee.segmentsPerChunk / horizontal.taps,
        weights: UnsafePointer(plan.pointee.weights.assumingMemoryBound(to: Scalar.self)) + block.pointee.weights,
        bias: UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self)),
        // If one row's vectors can be aligned, all can.
        streams: plan.pointee.streams && layer.output.row % plan.pointee.table.lanes == 0)
    for tap in 0..<horizontal.taps {
        let place = columns.lowerBound * horizontal.inputStep + horizontal.offsetStart + tap * horizontal.offsetStep - source.columnOrigin
        offsets[tap] = place % horizontal.inputStep * source.plane + place / horizontal.inputStep
    }
    if separates {
        for index in panels {
            let channel = plan.pointee.panels[index].group - source.channelOrigin
            filterRows(item, packed + channel * source.channelPitch, rectangle, columns: columns.count, factors: item.weights + index * block.pointee.taps)
        }
        // What the first pass wrote begins where it first read.
        offsets[0] = 0
    }
    for index in panels {
        let channel = plan.pointee.panels[index].firstChannel
        item.weights = UnsafePointer(plan.pointee.weights.assumingMemoryBound(to: Scalar.self)) + block.pointee.weights + index * block.pointee.taps
        item.bias = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self)) + index
        let shift = (plan.pointee.panels[index].group - source.channelOrigin) * source.channelPitch
        let first = source.base + image * source.imageStride + shift
        var row = rows.lowerBound
        while row < rows.upperBound {
            // The last rows rather repeat some of those before than be incomplete; but to add twice would be wrong.
            if !layer.means.accumulates { row = max(rows.lowerBound, min(row, rows.upperBound - stencilRows)) }
            let count = min(stencilRows, rows.upperBound - row)
            let last = vertical.taps + (count - 1) * item.rowStep - 1
            for i in 0..<(vertical.taps + (stencilRows - 1) * item.rowStep) {
                let place = row * vertical.inputStep + min(i, last) * vertical.offsetStep + vertical.offsetStart
                let index = i <= last ? borderIndex(place, layer.vertical.input, layer.paddingMode) : nil
                item.rows[i] = index.map { first + ($0 - source.rowOrigin) * source.rowStride } ?? source.outside + shift
            }
            for p in 0..<stencilRows {
                item.targets[p] = output + image * layer.output.batch + (row + min(p, count - 1)) * layer.output.row
                    + columns.lowerBound * layer.output.column + channel * layer.output.channel
            }
            run(item, columns: columns.count, outputRows: count)
            row += stencilRows
        }
    }
    if plan.pointee.streams { shim_finish_streaming() }
}

/// The first of two passes: each packed row, and the one that stands for those outside, multiplied by v where it lies. A tile's inputs
/// are all read before its outputs are written, and the next tile's lie behind them.
private func filterRows<Scalar: KernelScalar>(
    _ item: StencilItem<Scalar>, _ first: UnsafeMutablePointer<Scalar>, _ rectangle: Rectangle, columns: Int, factors: UnsafePointer<Scalar>
) {
    let rows = rectangle.rows.count + (item.plan.pointee.layer.paddingMode == .constant ? 1 : 0)
    let tiles = ceilDivide(columns, item.kernel.vectors * item.plan.pointee.table.lanes)
    var row = 0
    while row < rows {
        let count = min(stencilRows, rows - row)
        for p in 0..<stencilRows {
            item.targets[p] = first + (row + min(p, count - 1)) * rectangle.rowPitch
            item.rows[p] = UnsafePointer(item.targets[p])
        }
        let arguments = StencilArguments(
            rows: UnsafePointer(item.rows), offsets: item.offsets, kernelRows: 1, kernelColumns: item.plan.pointee.layer.horizontal.kernel,
            rowStep: 1, rowsPerChunk: 1, weights: factors + item.kernelRows, column: 0, tiles: tiles, tile: item.sums,
            outputs: UnsafePointer(item.targets), streaming: false, bias: 0, low: -.infinity, high: .infinity)
        withUnsafePointer(to: arguments) { item.kernel.accumulate($0) }
        row += count
    }
}

/// Up to four output rows of one channel.
private func run<Scalar: KernelScalar>(_ item: StencilItem<Scalar>, columns: Int, outputRows: Int) {
    let layer = item.plan.pointee.layer
    let lanes = item.plan.pointee.table.lanes
    let activation = layer.activation.converted(to: Scalar.self)
    let bounds = layer.output.column == 1 && !layer.means.accumulates ? activation.bounds : nil
    let width = item.kernel.vectors * lanes
    func accumulate(from column: Int, tiles: Int, streaming: Bool, finishes: Bool) {
        let arguments = StencilArguments(
            rows: UnsafePointer(item.rows), offsets: item.offsets, kernelRows: item.kernelRows, kernelColumns: item.kernelColumns,
            rowStep: item.rowStep, rowsPerChunk: item.rowsPerChunk, weights: item.weights, column: column, tiles: tiles,
            tile: item.sums, outputs: finishes ? UnsafePointer(item.targets) : nil, streaming: streaming, bias: item.bias[0],
            low: bounds?.low ?? 0, high: bounds?.high ?? 0)
        withUnsafePointer(to: arguments) { item.kernel.accumulate($0) }
    }
    if bounds != nil, columns >= width, outputRows == stencilRows {
        // The first and the last tile may repeat columns of their neighbours, so that those between are aligned, and all complete.
        var first = 0
        if item.streams {
            let bytes = lanes * MemoryLayout<Scalar>.stride
            first = ((bytes - Int(bitPattern: item.targets[0]) & (bytes - 1)) & (bytes - 1)) / MemoryLayout<Scalar>.stride
            if first > 0 { accumulate(from: 0, tiles: 1, streaming: false, finishes: true) }
        }
        let tiles = (columns - first) / width
        accumulate(from: first, tiles: tiles, streaming: item.streams, finishes: true)
        if first + tiles * width < columns { accumulate(from: columns - width, tiles: 1, streaming: false, finishes: true) }
        return
    }
    var column = 0
    while column < columns {
        accumulate(from: column, tiles: 1, streaming: false, finishes: false)
        var targets = InlineArray<8, UnsafeMutablePointer<Scalar>>(repeating: item.targets[0])
        var widths = InlineArray<8, Int>(repeating: 0)
        let vectors = min(item.kernel.vectors, ceilDivide(columns - column, lanes))
        for n in 0..<vectors {
            targets[n] += (column + n * lanes) * layer.output.column
            widths[n] = min(lanes, columns - column - n * lanes)
        }
        let biases = InlineArray<4, Scalar>(repeating: item.bias[0])
        targets.span.withUnsafeBufferPointer { targets in
            widths.span.withUnsafeBufferPointer { widths in
                biases.span.withUnsafeBufferPointer { biases in
                    guard let targets = targets.baseAddress, let widths = widths.baseAddress, let biases = biases.baseAddress else { return }
                    let arguments = ColumnEpilogueArguments(
                        tile: item.sums, channels: outputRows, tileVectors: item.kernel.vectors, vectors: vectors, outputs: targets,
                        columns: widths, bias: biases, channelStride: layer.output.row, columnStride: layer.output.column,
                        activation: activation, accumulates: layer.means.accumulates)
                    withUnsafePointer(to: arguments) { item.plan.pointee.table.finishColumns($0) }
                }
            }
        }
        column += width
    }
}
