import CConvolutionShims
import ConvolutionKernels

// Layers of one input channel per group whose vectors hold columns (`accumulateStencil`): tiles of four output rows of a channel.
// A kernel that is a column times a row is run as two passes.

/// Whether `accumulateStencil` computes this layer where the vectors hold columns: one output row on is some kernel rows on.
func canStencil(_ layer: Layer) -> Bool {
    layer.vertical.repetition == 1 && layer.horizontal.repetition == 1 && layer.inChannelsPerGroup == 1
        && (!layer.transposed || layer.vertical.stride == 1 && layer.horizontal.stride == 1)
        && layer.vertical.stride % layer.vertical.dilation == 0
        && layer.vertical.stride / layer.vertical.dilation <= layer.vertical.kernel
        && fitsColumns(layer.vertical) && chunkTerms(layer.vertical.kernel * layer.horizontal.kernel) >= layer.horizontal.kernel
}

/// Whether the layer, an image filter, is run as two passes if its kernel permits. Smaller kernels would not gain; the two sums
/// of longer ones are not cut into chunks.
func maySeparate(_ layer: Layer) -> Bool {
    canStencil(layer) && !layer.transposed && !layer.takesAdjointKernel && layer.outChannelsPerGroup == 1 && layer.inChannels <= 4
        && layer.vertical.stride == 1 && layer.horizontal.stride == 1
        && layer.horizontal.dilation == 1 && (5...16).contains(layer.vertical.kernel)
        && (5...16).contains(layer.horizontal.kernel)
}

/// Writes u and then v with kernel[i][j] = u[i] * v[j], and says whether that is near enough.
///
/// Where whole numbers must give exact results, the products must be exact. That is asked for wherever all weights are multiples
/// of one power of two and less than 2^24 (2^53) of it. Else they may differ by two units in the last place: with the two short
/// sums an element's error then stays well within the bound, as the weights' own deviations are independent of each other.
/// An infinity meets the same zeros: a weight is 0 exactly where u or v is. v's weights add up to at most 1, so that no sum of
/// the first pass overflows where the result would not.
func separate<Scalar: KernelScalar>(
    _ kernel: UnsafePointer<Scalar>, rows: Int, columns: Int, into factors: UnsafeMutablePointer<Scalar>
) -> Bool {
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

extension KernelTable {
    /// For kernels of `size` times `size`, an output row `step` input rows on.
    func smallStencil(size: Int, step: Int) -> Kernel? {
        switch (size, step) {
        case (3, 1), (3, 2): smallStencils[step - 1]
        case (2, 1): smallStencils[2]
        default: nil
        }
    }

    /// Vectors so few are rather computed one by one than several at once.
    @inline(__always)
    func isNarrow(columns: Int) -> Bool { 2 * columns <= stencil.vectors * lanes }
}

/// What of an item is the same for all its rows.
private struct StencilItem<Scalar> {
    var plan: UnsafePointer<ConvolutionPlan>
    var kernel: StencilKernel
    /// Input rows of four output rows, and the output rows.
    var rows: UnsafeMutablePointer<UnsafePointer<Scalar>>
    var targets: UnsafeMutablePointer<UnsafeMutablePointer<Scalar>>
    /// Written once, and changed from tile to tile.
    var arguments: StencilArguments<Scalar>
    var activation: TileActivation<Scalar>
    var finishes: Bool
    var streams: Bool
    /// Where the rows go: from row to row, and from column to column.
    var rowStride: Int
    var columnStride: Int
    /// Of the band, and of a tile.
    var columns: Int
    var width: Int
}

/// An item of a plan of stencils: channel by channel, a few of them packed at a time.
@_optimize(speed)
func stencil<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ portion: Portion,
    _ input: UnsafeRawPointer, _ output: UnsafeMutableRawPointer, _ workspace: UnsafeMutableRawPointer, _: Scalar.Type
) {
    let input = input.assumingMemoryBound(to: Scalar.self)
    let output = output.assumingMemoryBound(to: Scalar.self)
    let (image, rows, columns, panels) = (portion.image, portion.rows, portion.columns, portion.panels)
    let layer = plan.pointee.layer
    let (vertical, horizontal) = (block.pointee.vertical, block.pointee.horizontal)
    let separates = plan.pointee.separates
    let part = ConvolutionPlan.rectangle(plan, block, portion)
    let packed = (workspace + plan.pointee.workspace.rectangle).assumingMemoryBound(to: Scalar.self)
    let offsets = (workspace + plan.pointee.workspace.columnOffsets).assumingMemoryBound(to: Int.self)
    let addresses = (workspace + plan.pointee.workspace.runs).assumingMemoryBound(to: UnsafePointer<Scalar>.self)
    let targets = UnsafeMutableRawPointer(addresses).assumingMemoryBound(to: UnsafeMutablePointer<Scalar>.self)
    let weights = UnsafePointer(plan.pointee.weights.assumingMemoryBound(to: Scalar.self)) + block.pointee.weights
    let bias = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self))
    let activation = layer.activation.converted(to: Scalar.self)
    // The output itself, or planes without gaps that are turned into it.
    let turns = plan.pointee.turnsPlanes
    let scratch = packed + part.channelPitch * block.pointee.planes
    let plane = turns ? rows.count * columns.count : layer.output.channel
    let rowStride = turns ? columns.count : layer.output.row
    let columnStride = turns ? 1 : layer.output.column
    let pixels = output + image * layer.output.batch + columns.lowerBound * layer.output.column
    let firstPlane = plan.pointee.panels[panels.lowerBound].firstChannel
    let bounds = columnStride == 1 && !layer.means.accumulates ? activation.bounds : nil
    let rowStep = vertical.inputStep / vertical.offsetStep
    let kernel = plan.pointee.table.pointee.stencil
    var item = StencilItem(
        plan: plan, kernel: kernel, rows: addresses + stencilRows, targets: targets,
        arguments: StencilArguments(
            filter: StencilFilter(
                offsets: UnsafePointer(offsets), kernelRows: vertical.taps, kernelColumns: separates ? 1 : horizontal.taps,
                rowStep: rowStep,
                rowsPerChunk: separates ? vertical.taps : block.pointee.segmentsPerChunk / horizontal.taps, weights: weights,
                bias: 0, low: bounds?.low ?? 0, high: bounds?.high ?? 0),
            rows: UnsafePointer(addresses + stencilRows),
            tile: (workspace + plan.pointee.workspace.sums).assumingMemoryBound(to: Scalar.self), outputs: nil),
        activation: activation, finishes: bounds != nil,
        // If one row's vectors can be aligned, all can.
        streams: plan.pointee.streams && !turns && rowStride % plan.pointee.table.lanes == 0, rowStride: rowStride,
        columnStride: columnStride, columns: columns.count,
        width: kernel.vectors * plan.pointee.table.lanes)
    for tap in 0..<horizontal.taps {
        let place = columns.lowerBound * horizontal.inputStep + horizontal.offsetStart + tap * horizontal.offsetStep
            - part.columns.lowerBound
        offsets[tap] = place % horizontal.inputStep * part.plane + place / horizontal.inputStep
    }
    // A tile wider than the band runs on into what is written after it. From a channel's last row that is the next channel's
    // first, if they lie so.
    let isGapless = rowStride == columns.count
    let following = isGapless && (turns || rows.count == vertical.count) && plane == rows.count * columns.count ? plane : 0
    let table = plan.pointee.table
    let mayBeNarrow = rows.count >= stencilRows && item.finishes && !item.streams && !separates
    let small = mayBeNarrow && vertical.taps == horizontal.taps
        ? table.pointee.smallStencil(size: vertical.taps, step: rowStep) : nil
    let isNarrow = table.pointee.isNarrow(columns: columns.count)
    let narrow = small ?? (mayBeNarrow && isNarrow ? table.pointee.narrowStencil : nil)

    let channelFilter = item.arguments.filter
    var index = panels.lowerBound
    let end = plan.pointee.panels[panels.upperBound - 1].group + 1
    var group = plan.pointee.panels[index].group
    let firstGroup = group
    while group < end {
        let count = min(block.pointee.planes, end - group)
        packPlanes(
            part, layer, input + image * layer.input.batch + group * layer.input.channel,
            hasBorders: group > firstGroup && layer.paddingMode == .constant && !separates, inputStep: horizontal.inputStep,
            channels: count, packed)
        let place = UnsafePointer(packed) - part.rows.lowerBound * part.rowPitch
        while index < panels.upperBound {
            let panel = plan.pointee.panels + index
            if panel.pointee.group >= group + count { break }
            let source = (panel.pointee.group - group) * part.channelPitch
            let first = place + source + vertical.offsetStart * part.rowPitch
            let corner = turns
                ? scratch + (panel.pointee.firstChannel - firstPlane) * plane - rows.lowerBound * rowStride
                : pixels + panel.pointee.firstChannel * plane
            // Not where `item` lies: the narrow kernel's arguments, copied from there, would wait for what was just written.
            var filter = channelFilter
            (filter.weights, filter.bias) = (weights + index * block.pointee.taps, bias[index])
            /// Elements that are written after the tiles of row `row`, which may write over them. Scratch memory has a tile's
            /// width more.
            func later(_ row: Int) -> Int {
                let others = isGapless
                    ? (rows.upperBound - row - stencilRows) * columns.count + (panels.upperBound - 1 - index) * following : 0
                return turns ? others + item.width : others
            }
            var row = rows.lowerBound
            if let narrow {
                let lanes = table.lanes
                let lastRow = rows.count - stencilRows
                var tileRows = ceilDivide(rows.count, stencilRows)
                while tileRows > 0, later(rows.lowerBound + min((tileRows - 1) * stencilRows, lastRow)) < lanes - columns.count {
                    tileRows -= 1
                }
                let arguments = NarrowStencilArguments(
                    filter: filter, input: first + row * vertical.inputStep * part.rowPitch,
                    rowPitch: vertical.offsetStep * part.rowPitch, output: corner + row * rowStride, outputPitch: rowStride,
                    tiles: ceilDivide(columns.count, lanes), lastColumn: max(0, columns.count - lanes), tileRows: tileRows,
                    lastRow: lastRow)
                withUnsafePointer(to: arguments) { narrow($0) }
                row += tileRows * stencilRows
            }
            item.arguments.filter = filter
            // Each channel of an image filter has a panel of its own. What the first pass wrote begins where it first read.
            if separates { filterRows(item, packed + source, part) }
            while row < rows.upperBound {
                // The last rows rather repeat some of those before than be incomplete; but to add twice would be wrong.
                if !layer.means.accumulates { row = max(rows.lowerBound, min(row, rows.upperBound - stencilRows)) }
                let count = min(stencilRows, rows.upperBound - row)
                let last = vertical.taps + (count - 1) * rowStep - 1
                let line = first + row * vertical.inputStep * part.rowPitch
                if let narrow, isNarrow {
                    // What would be written after the last rows is another's.
                    let pitch = ceilDivide(columns.count, table.lanes) * table.lanes
                    let arguments = NarrowStencilArguments(
                        filter: filter, input: line, rowPitch: vertical.offsetStep * part.rowPitch, output: item.arguments.tile,
                        outputPitch: pitch, tiles: pitch / table.lanes, lastColumn: pitch - table.lanes, tileRows: 1, lastRow: 0)
                    withUnsafePointer(to: arguments) { narrow($0) }
                    for p in 0..<stencilRows {
                        (corner + (row + p) * rowStride).update(from: item.arguments.tile + p * pitch, count: columns.count)
                    }
                    row += stencilRows
                    continue
                }
                for i in 0..<(vertical.taps + (stencilRows - 1) * rowStep) {
                    item.rows[i] = line + min(i, last) * vertical.offsetStep * part.rowPitch
                }
                for p in 0..<stencilRows { targets[p] = corner + (row + min(p, count - 1)) * rowStride }
                run(&item, outputRows: count, mayRunOn: later(row) >= item.width - columns.count)
                row += stencilRows
            }
            index += 1
        }
        group += count
    }
    if turns {
        for row in rows {
            layer.elements.packPixels(
                from: scratch + (row - rows.lowerBound) * rowStride, columnStride: 1, channelStride: plane,
                columns: columns.count, channels: panels.count, pixelPitch: layer.output.column,
                to: pixels + row * layer.output.row + firstPlane)
        }
    }
    if plan.pointee.streams { shim_finish_streaming() }
}

/// Channels of the input that follow each other, each row packed as one for each residue of the columns modulo the step, border
/// included. Where other channels were packed in the same place before, constant borders are there.
@inline(never)
@_optimize(speed)
private func packPlanes(
    _ part: Rectangle, _ layer: Layer, _ source: UnsafeRawPointer, hasBorders: Bool, inputStep: Int, channels: Int,
    _ target: UnsafeMutableRawPointer
) {
    let (elements, size) = (layer.elements, layer.elementBytes)
    let inside = part.rows.clamped(to: 0..<layer.vertical.input)
    if layer.isSpread {
        packSpread(part, layer, source, inside, hasZeros: hasBorders, channels: channels, target)
        return
    }
    let (rowBytes, pitchBytes) = (layer.input.row * size, part.rowPitch * size)
    /// Rows `first` and after of the input to row `place` of the part and after.
    func packRows(_ first: Int, count: Int, to place: Int) {
        for residue in 0..<inputStep {
            let line = ResidueLine(part, residue: residue, inputStep: inputStep, length: layer.horizontal.input)
            let plane = target + (residue * part.plane + (place - part.rows.lowerBound) * part.rowPitch) * size
            let rows = source + first * layer.input.row * size
            if !hasBorders {
                for channel in 0..<channels {
                    var (from, to) = (rows + channel * layer.input.channel * size, plane + channel * part.channelPitch * size)
                    for _ in 0..<count {
                        packBorder(from, layer, line, to)
                        from += rowBytes
                        to += pitchBytes
                    }
                }
            }
            // One channel is not turned, however its pixels lie.
            elements.packLines(
                from: rows + line.place(line.inside.lowerBound) * layer.input.column * size, rowStride: layer.input.row,
                columnStride: inputStep &* layer.input.column, channelStride: channels == 1 ? 0 : layer.input.channel,
                rows: count, columns: line.inside.count, channels: channels, rowPitch: part.rowPitch, pitch: part.channelPitch,
                to: plane + line.inside.lowerBound * size)
        }
    }
    if !inside.isEmpty { packRows(inside.lowerBound, count: inside.count, to: inside.lowerBound) }
    if hasBorders { return }
    for row in part.rows where !inside.contains(row) {
        if let index = borderIndex(row, layer.vertical.input, layer.paddingMode) {
            packRows(index, count: 1, to: row)
            continue
        }
        for channel in 0..<channels {
            elements.fill(
                target + (channel * part.channelPitch + (row - part.rows.lowerBound) * part.rowPitch) * size,
                with: layer.paddingValue, count: part.rowPitch)
        }
    }
}

/// The same with zeros between the elements of rows and columns.
@inline(never)
private func packSpread(
    _ part: Rectangle, _ layer: Layer, _ source: UnsafeRawPointer, _ rows: Range<Int>, hasZeros: Bool, channels: Int,
    _ target: UnsafeMutableRawPointer
) {
    let (elements, size) = (layer.elements, layer.elementBytes)
    let columns = part.columns.clamped(to: 0..<layer.horizontal.input)
    let (rowStep, columnStep, stride) = (layer.spacing.rows, layer.spacing.columns, layer.input.column)
    let (firstRow, firstColumn) = (ceilDivide(rows.lowerBound, rowStep), ceilDivide(columns.lowerBound, columnStep))
    let count = ceilDivide(columns.upperBound, columnStep) - firstColumn
    let first = target + ((firstRow * rowStep - part.rows.lowerBound) * part.rowPitch + firstColumn * columnStep
        - part.columns.lowerBound) * size
    for channel in 0..<channels {
        if !hasZeros { elements.clear(target + channel * part.channelPitch * size, count: part.channelPitch) }
        elements.spreadLines(
            source + (channel * layer.input.channel + firstRow * layer.input.row + firstColumn * stride) * size,
            lineStride: layer.input.row, stride: stride, lines: ceilDivide(rows.upperBound, rowStep) - firstRow, count: count,
            to: first + channel * part.channelPitch * size, targetLine: rowStep * part.rowPitch, targetStride: columnStep)
    }
}

/// The first of two passes: each packed row multiplied by v where it lies. A tile's inputs are all read before its outputs are
/// written, and the next tile's lie behind them.
private func filterRows<Scalar: KernelScalar>(
    _ item: StencilItem<Scalar>, _ first: UnsafeMutablePointer<Scalar>, _ part: Rectangle
) {
    let layer = item.plan.pointee.layer
    var arguments = item.arguments
    arguments.filter = StencilFilter(
        offsets: arguments.filter.offsets, kernelRows: 1, kernelColumns: layer.horizontal.kernel, rowStep: 1, rowsPerChunk: 1,
        weights: arguments.filter.weights + layer.vertical.kernel, bias: 0, low: -.infinity, high: .infinity)
    // No column may be filtered twice: the last tile runs on.
    (arguments.column, arguments.tiles, arguments.lastColumn) = (0, ceilDivide(item.columns, item.width), item.columns)
    arguments.streaming = false
    arguments.outputs = UnsafePointer(item.targets)
    var row = 0
    while row < part.rows.count {
        let count = min(stencilRows, part.rows.count - row)
        for p in 0..<stencilRows {
            item.targets[p] = first + (row + min(p, count - 1)) * part.rowPitch
            item.rows[p] = UnsafePointer(item.targets[p])
        }
        withUnsafePointer(to: arguments) { item.kernel.accumulate($0) }
        row += count
    }
}

/// Up to four output rows of one channel.
@_optimize(speed)
private func run<Scalar: KernelScalar>(_ item: inout StencilItem<Scalar>, outputRows: Int, mayRunOn: Bool) {
    let columns = item.columns
    let width = item.width
    func accumulate(from column: Int, tiles: Int, streaming: Bool, finishes: Bool) {
        item.arguments.column = column
        item.arguments.tiles = tiles
        // The last tile rather repeats columns of the one before than runs on.
        item.arguments.lastColumn = max(0, columns - width)
        item.arguments.streaming = streaming
        item.arguments.outputs = finishes ? UnsafePointer(item.targets) : nil
        withUnsafePointer(to: item.arguments) { item.kernel.accumulate($0) }
    }
    if item.finishes, outputRows == stencilRows, columns >= width || mayRunOn {
        if !item.streams || columns < width {
            accumulate(from: 0, tiles: ceilDivide(columns, width), streaming: false, finishes: true)
            return
        }
        // The first and the last tile may repeat columns of their neighbours, so that those between are aligned, and all
        // complete.
        let lanes = item.plan.pointee.table.lanes
        let bytes = lanes * MemoryLayout<Scalar>.stride
        let first = ((bytes - Int(bitPattern: item.targets[0]) & (bytes - 1)) & (bytes - 1)) / MemoryLayout<Scalar>.stride
        if first > 0 { accumulate(from: 0, tiles: 1, streaming: false, finishes: true) }
        let tiles = (columns - first) / width
        accumulate(from: first, tiles: tiles, streaming: true, finishes: true)
        if first + tiles * width < columns { accumulate(from: columns - width, tiles: 1, streaming: false, finishes: true) }
        return
    }
    let layer = item.plan.pointee.layer
    let lanes = item.plan.pointee.table.lanes
    var column = 0
    while column < columns {
        accumulate(from: column, tiles: 1, streaming: false, finishes: false)
        var targets = InlineArray<8, UnsafeMutablePointer<Scalar>>(repeating: item.targets[0])
        var widths = InlineArray<8, Int>(repeating: 0)
        let vectors = min(item.kernel.vectors, ceilDivide(columns - column, lanes))
        for n in 0..<vectors {
            targets[n] += (column + n * lanes) * item.columnStride
            widths[n] = min(lanes, columns - column - n * lanes)
        }
        let biases = InlineArray<4, Scalar>(repeating: item.arguments.filter.bias)
        targets.span.withUnsafeBufferPointer { targets in
            widths.span.withUnsafeBufferPointer { widths in
                biases.span.withUnsafeBufferPointer { biases in
                    guard let targets = targets.baseAddress, let widths = widths.baseAddress,
                        let biases = biases.baseAddress else { return }
                    let arguments = ColumnEpilogueArguments(
                        tile: item.arguments.tile, channels: outputRows, tileVectors: item.kernel.vectors, vectors: vectors,
                        outputs: targets, columns: widths, bias: biases, channelStride: item.rowStride,
                        columnStride: item.columnStride, activation: item.activation, accumulates: layer.means.accumulates)
                    withUnsafePointer(to: arguments) { item.plan.pointee.table.pointee.finishColumns($0) }
                }
            }
        }
        column += width
    }
}
