import CConvolution
import CConvolutionShims
import ConvolutionKernels

// Executes a plan: items of work, each a band of output pixels times some panels of output channels. Per tile of pixels the taps'
// addresses are laid out once and every panel's tile kernel reads them.

/// One execution, shared by its threads.
private struct Execution {
    var plan: UnsafePointer<ConvolutionPlan>
    var input: UnsafeRawPointer
    var output: UnsafeMutableRawPointer
    var workspace: UnsafeMutableRawPointer
    var nextItem: Int64
}

/// The bytes of the arguments must be there, and the output's must not meet the others'.
func checkArguments(
    _ layer: Layer, input: UnsafeRawPointer?, kernel: UnsafeRawPointer?, bias: UnsafeRawPointer?, output: UnsafeRawPointer?
) throws(Failure) {
    let bytes = layer.isDouble ? 8 : 4
    let inputExtent = try extent(
        input, "input", layer.input, batch: layer.batch, rows: layer.vertical.input, columns: layer.horizontal.input,
        channels: layer.inChannels, elementBytes: bytes)
    let outputExtent = try extent(
        output, "output", layer.output, batch: layer.batch, rows: layer.vertical.output, columns: layer.horizontal.output,
        channels: layer.outChannels, elementBytes: bytes)
    try checkApart(outputExtent, inputExtent, "input")
    try checkApart(outputExtent, extent(kernel, bytes: layer.kernelElements * bytes), "kernel")
    try checkApart(outputExtent, extent(bias, bytes: layer.outChannels * bytes), "bias")
}

func execute(_ plan: UnsafePointer<ConvolutionPlan>, input: UnsafeRawPointer?, output: UnsafeMutableRawPointer?) throws(Failure) {
    guard let output, plan.pointee.layer.outputElements > 0 else { return }
    let threads = threadsToUse(requested: plan.pointee.layer.threads, items: plan.pointee.items, work: plan.pointee.work)
    let contextBytes = (MemoryLayout<ThreadContext>.stride + MemoryLayout<shim_thread>.stride) * threads
    let workspaceBytes = plan.pointee.workspace.bytes
    let memory = try allocate(threads, of: workspaceBytes + (contextBytes / threads + 63) / 64 * 64, "the workspace")
    // With no blocks there is nothing to read and the input may be NULL.
    var execution = Execution(plan: plan, input: input ?? UnsafeRawPointer(output), output: output, workspace: memory, nextItem: 0)
    if !plan.pointee.fullyCovered {
        plan.pointee.layer.isDouble ? fillUncovered(execution, Double.self) : fillUncovered(execution, Float.self)
    }
    if plan.pointee.items > 0 {
        let contexts = (memory + threads * workspaceBytes).assumingMemoryBound(to: ThreadContext.self)
        let handles = UnsafeMutableRawPointer(contexts + threads).assumingMemoryBound(to: shim_thread.self)
        withUnsafeMutablePointer(to: &execution) { shared in
            runThreads(
                threads, plan.pointee.layer.isDouble ? { work($0, Double.self) } : { work($0, Float.self) },
                shared: UnsafeMutableRawPointer(shared), contexts: contexts, handles: handles)
        }
    }
    shim_free(memory)
}

private func work<Scalar: KernelScalar>(_ raw: UnsafeMutableRawPointer?, _: Scalar.Type) {
    guard let raw else { return }
    let context = raw.assumingMemoryBound(to: ThreadContext.self).pointee
    let execution = context.shared.assumingMemoryBound(to: Execution.self)
    let plan = execution.pointee.plan
    let workspace = execution.pointee.workspace + context.number * plan.pointee.workspace.bytes
    var blockIndex = 0
    while true {
        let item = Int(shim_atomic_next(&execution.pointee.nextItem))
        if item >= plan.pointee.items { return }
        while blockIndex + 1 < plan.pointee.blockCount, plan.pointee.blocks[blockIndex + 1].firstItem <= item { blockIndex += 1 }
        runItem(plan, plan.pointee.blocks + blockIndex, item, execution.pointee.input.assumingMemoryBound(to: Scalar.self),
            execution.pointee.output.assumingMemoryBound(to: Scalar.self), workspace)
    }
}

/// A place that stands for "outside the input" among offsets.
private let outsideOffset = Int.min

/// Where a tile's positions (pixels, or vectors of columns) stand, as indices of the block's lattices.
private struct Positions {
    var rows = InlineArray<8, Int>(repeating: 0)
    var columns = InlineArray<8, Int>(repeating: 0)
}

/// The input as the item's tiles read it: the caller's array, or a packed rectangle of it.
private struct Source<Scalar> {
    var base: UnsafePointer<Scalar>
    var rowStride: Int
    var columnStride: Int
    var rowOrigin: Int
    var columnOrigin: Int
    /// Strategy `columns`: from plane to plane.
    var plane: Int
    var outside: UnsafePointer<Scalar>
}

private func runItem<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ item: Int, _ input: UnsafePointer<Scalar>,
    _ output: UnsafeMutablePointer<Scalar>, _ workspace: UnsafeMutableRawPointer
) {
    let layer = plan.pointee.layer
    let strategy = plan.pointee.strategy
    let layout = plan.pointee.workspace
    let vertical = block.pointee.vertical
    let horizontal = block.pointee.horizontal
    let inputs = layer.inChannelsPerGroup

    // Which item: the panel chunk runs fastest, so that threads share the input they read.
    var rest = item - block.pointee.firstItem
    let panels = block.pointee.panels(rest % block.pointee.panelChunks, of: plan.pointee)
    rest /= block.pointee.panelChunks
    let firstColumn = rest % block.pointee.columnBands * block.pointee.bandColumns
    rest /= block.pointee.columnBands
    let firstRow = rest % block.pointee.rowBands * block.pointee.bandRows
    let image = rest / block.pointee.rowBands
    let rows = min(block.pointee.bandRows, vertical.count - firstRow)
    let columns = min(block.pointee.bandColumns, horizontal.count - firstColumn)

    let imageInput = input + image * layer.input.batch
    var source = Source(
        base: imageInput, rowStride: layer.input.row, columnStride: layer.input.column, rowOrigin: 0, columnOrigin: 0, plane: 0,
        outside: UnsafePointer(plan.pointee.outside.assumingMemoryBound(to: Scalar.self)))
    var channelPitch = 1
    var channelOrigin = 0
    if !plan.pointee.readsInputDirectly {
        let rectangle = plan.pointee.rectangle(
            block.pointee, firstRow: firstRow, rows: rows, firstColumn: firstColumn, columns: columns, panels: panels)
        let memory = (workspace + layout.rectangle).assumingMemoryBound(to: Scalar.self)
        pack(rectangle, plan, horizontal.inputStep, imageInput, memory)
        source.base = UnsafePointer(memory)
        source.rowStride = rectangle.rowPitch
        (source.rowOrigin, source.columnOrigin) = (rectangle.rows.lowerBound, rectangle.columns.lowerBound)
        (source.columnStride, source.plane) = (rectangle.channels.count * (strategy == .lanes ? inputs : 1), rectangle.plane)
        if strategy == .columns { source.outside = source.base + rectangle.rows.count * rectangle.rowPitch }
        (channelPitch, channelOrigin) = (rectangle.channelPitch, rectangle.channels.lowerBound)
    }

    let runs = (workspace + layout.runs).assumingMemoryBound(to: UnsafePointer<Scalar>.self)
    let tile = (workspace + layout.tile).assumingMemoryBound(to: Scalar.self)
    let weights = UnsafePointer(plan.pointee.weights.assumingMemoryBound(to: Scalar.self)) + block.pointee.weights
    let biases = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self))
    let imageOutput = output + image * layer.output.batch
    let activation = layer.activation.converted(to: Scalar.self)
    let taps = block.pointee.taps
    let columnStep = horizontal.outputStep * layer.output.column

    let unit = plan.pointee.positionColumns
    let rowEnd = firstRow + rows
    let columnEnd = firstColumn + columns
    var step = largestTileSide
    for index in panels {
        let kernel = plan.pointee.panels[index].kernel
        step = min(step, strategy == .columns ? kernel.vectors : kernel.rows)
    }

    var at = Positions()
    var targets = InlineArray<8, UnsafeMutablePointer<Scalar>>(repeating: imageOutput)
    var widths = InlineArray<8, Int>(repeating: 1)
    // The addresses in `runs`: for how many positions, and whether they are of one row and meet no border; then any other such tile
    // reads at the same distances and only its start differs.
    var laidOut = 0
    var laidOutPlainly = false
    var laidOutRow = 0
    var laidOutColumn = 0

    // Tiles run through the band row by row; one may span rows.
    var row = firstRow
    var column = firstColumn
    while row < rowEnd {
        var count = 0
        while count < step, row < rowEnd {
            at.rows[count] = row
            at.columns[count] = column
            widths[count] = min(unit, columnEnd - column)
            targets[count] = imageOutput + (vertical.outputStart + row * vertical.outputStep) * layer.output.row
                + (horizontal.outputStart + column * horizontal.outputStep) * layer.output.column
            count += 1
            column += unit
            if column >= columnEnd { (row, column) = (row + 1, firstColumn) }
        }
        let isOneRow = at.rows[0] == at.rows[count - 1]
        let isPlain = count == step && isOneRow
            && meetsNoBorder(vertical, at.rows[0], at.rows[0], layer.vertical.input)
            && (strategy == .columns || meetsNoBorder(horizontal, at.columns[0], at.columns[count - 1], layer.horizontal.input))
        if !isPlain { laidOut = 0 }

        for index in panels {
            let panel = plan.pointee.panels[index]
            let kernel = panel.kernel
            let reach = strategy == .columns ? kernel.vectors : kernel.rows
            var shift = 0
            if laidOut == reach, isPlain == laidOutPlainly {
                if isPlain {
                    shift = (at.rows[0] - laidOutRow) * vertical.inputStep * source.rowStride
                        + (at.columns[0] - laidOutColumn) * (strategy == .columns ? 1 : horizontal.inputStep * source.columnStride)
                }
            } else {
                layOut(
                    plan, block, source, at, count: count, reach: reach,
                    rowOffsets: (workspace + layout.rowOffsets).assumingMemoryBound(to: Int.self),
                    columnOffsets: (workspace + layout.columnOffsets).assumingMemoryBound(to: Int.self), runs: runs)
                // Rows of the tile beyond `count` repeat the last position, so only a whole tile can stand for others.
                (laidOut, laidOutPlainly, laidOutRow, laidOutColumn) = (reach, isPlain && reach == count, at.rows[0], at.columns[0])
                if isPlain != laidOutPlainly { laidOut = 0 }
            }

            let panelInput: Int
            switch strategy {
            case .channels: panelInput = panel.group * inputs - channelOrigin
            case .lanes: panelInput = panel.offset - channelOrigin
            case .columns: panelInput = (panel.group * inputs - channelOrigin) * channelPitch
            }
            for r in 0..<count { targets[r] += panel.firstChannel * layer.output.channel }
            targets.span.withUnsafeBufferPointer { targets in
                guard let targets = targets.baseAddress else { return }
                // Whole vectors with simple activations leave the kernel finished.
                let fuses = activation.bounds != nil && (strategy == .columns
                    ? columnStep == 1 && count == reach && widths[count - 1] == unit && isOneRow
                    : layer.output.channel == 1 && panel.channels == panel.width)
                let bounds = activation.bounds ?? (0, 0)
                var panelWeights = weights + panel.offset * taps * inputs
                var channel = 0
                while channel < inputs {
                    let length = min(block.pointee.channelBlock, inputs - channel)
                    let isLast = channel + length == inputs
                    let arguments = TileArguments(
                        runs: UnsafePointer(runs), channelOffset: shift + panelInput + channel * channelPitch, channelPitch: channelPitch,
                        segments: taps, length: length, segmentsPerChunk: block.pointee.segmentsPerChunk, panel: panelWeights, tile: tile,
                        continues: channel > 0, outputs: fuses && isLast ? targets : nil, rows: strategy == .columns ? kernel.rows : count,
                        outputPitch: layer.output.channel, bias: biases + panel.offset, low: bounds.low, high: bounds.high)
                    withUnsafePointer(to: arguments) { kernel.accumulate($0) }
                    panelWeights += taps * length * panel.width
                    channel += length
                }
                if fuses { return }
                if strategy != .columns {
                    let arguments = EpilogueArguments(
                        tile: tile, rows: count, lanes: panel.width, channels: panel.channels, bias: biases + panel.offset,
                        outputs: targets, channelStride: layer.output.channel, activation: activation)
                    withUnsafePointer(to: arguments) { plan.pointee.table.finish($0) }
                    return
                }
                widths.span.withUnsafeBufferPointer { widths in
                    guard let widths = widths.baseAddress else { return }
                    let arguments = ColumnEpilogueArguments(
                        tile: tile, channels: panel.channels, tileVectors: kernel.vectors, vectors: count, outputs: targets, columns: widths,
                        bias: biases + panel.offset, channelStride: layer.output.channel, columnStride: columnStep, activation: activation)
                    withUnsafePointer(to: arguments) { plan.pointee.table.finishColumns($0) }
                }
            }
            for r in 0..<count { targets[r] -= panel.firstChannel * layer.output.channel }
        }
    }
}

/// Whether all taps of outputs `first` to `last` read inside the input.
@inline(__always)
private func meetsNoBorder(_ lattice: Lattice, _ first: Int, _ last: Int, _ input: Int) -> Bool {
    let reach = (lattice.taps - 1) * lattice.offsetStep
    return first * lattice.inputStep + lattice.offsetStart + min(reach, 0) >= 0
        && last * lattice.inputStep + lattice.offsetStart + max(reach, 0) < input
}

/// runs[tap][r] = where position r of the tile finds that tap's channels. Positions beyond `count`, up to `reach`, repeat the last:
/// they are computed and not stored.
private func layOut<Scalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ source: Source<Scalar>, _ at: Positions, count: Int, reach: Int,
    rowOffsets: UnsafeMutablePointer<Int>, columnOffsets: UnsafeMutablePointer<Int>, runs: UnsafeMutablePointer<UnsafePointer<Scalar>>
) {
    let mode = plan.pointee.layer.paddingMode
    let vertical = block.pointee.vertical
    let horizontal = block.pointee.horizontal
    let rowsInInput = plan.pointee.layer.vertical.input
    let columnsInInput = plan.pointee.layer.horizontal.input
    for r in 0..<reach {
        let row = at.rows[min(r, count - 1)] * vertical.inputStep + vertical.offsetStart
        for tap in 0..<vertical.taps {
            let index = borderIndex(row + tap * vertical.offsetStep, rowsInInput, mode)
            rowOffsets[tap * reach + r] = index.map { ($0 - source.rowOrigin) * source.rowStride } ?? outsideOffset
        }
        let column = at.columns[min(r, count - 1)] * horizontal.inputStep + horizontal.offsetStart
        for tap in 0..<horizontal.taps {
            let index = column + tap * horizontal.offsetStep
            if source.plane > 0 {
                let place = index - source.columnOrigin
                columnOffsets[tap * reach + r] = place % horizontal.inputStep * source.plane + place / horizontal.inputStep
            } else {
                let index = borderIndex(index, columnsInInput, mode)
                columnOffsets[tap * reach + r] = index.map { ($0 - source.columnOrigin) * source.columnStride } ?? outsideOffset
            }
        }
    }
    var run = runs
    for v in 0..<vertical.taps {
        for h in 0..<horizontal.taps {
            for r in 0..<reach {
                let rowOffset = rowOffsets[v * reach + r]
                let columnOffset = columnOffsets[h * reach + r]
                if source.plane > 0 {
                    run[r] = (rowOffset == outsideOffset ? source.outside : source.base + rowOffset) + columnOffset
                } else {
                    run[r] = rowOffset == outsideOffset || columnOffset == outsideOffset ? source.outside : source.base + rowOffset + columnOffset
                }
            }
            run += reach
        }
    }
}

/// Copies the rectangle's part of the image into `target`, arranged as the plan's kernels read it.
private func pack<Scalar: KernelScalar>(
    _ rectangle: Rectangle, _ plan: UnsafePointer<ConvolutionPlan>, _ inputStep: Int, _ image: UnsafePointer<Scalar>,
    _ target: UnsafeMutablePointer<Scalar>
) {
    let layer = plan.pointee.layer
    let outside = Scalar(layer.paddingValue)
    switch plan.pointee.strategy {
    case .channels:
        packPixels(
            from: image + rectangle.rows.lowerBound * layer.input.row + rectangle.columns.lowerBound * layer.input.column
                + rectangle.channels.lowerBound * layer.input.channel,
            rowStride: layer.input.row, columnStride: layer.input.column, channelStride: layer.input.channel,
            rows: rectangle.rows.count, columns: rectangle.columns.count, channels: rectangle.channels.count, to: target)
    case .lanes:
        let inputs = layer.inChannelsPerGroup
        let outputs = layer.outChannelsPerGroup
        for channel in 0..<inputs {
            for lane in rectangle.channels {
                let real = lane < layer.outChannels
                packLane(
                    from: image + rectangle.rows.lowerBound * layer.input.row + rectangle.columns.lowerBound * layer.input.column
                        + ((real ? lane : 0) / outputs * inputs + channel) * layer.input.channel,
                    rowStride: layer.input.row, columnStride: layer.input.column, zero: !real, rows: rectangle.rows.count,
                    columns: rectangle.columns.count, pitch: rectangle.channels.count * inputs,
                    to: target + channel * rectangle.channels.count + lane - rectangle.channels.lowerBound)
            }
        }
    case .columns:
        for row in rectangle.rows {
            for channel in rectangle.channels {
                let line = image + row * layer.input.row + channel * layer.input.channel
                let place = target + (row - rectangle.rows.lowerBound) * rectangle.rowPitch
                    + (channel - rectangle.channels.lowerBound) * rectangle.channelPitch
                for residue in 0..<inputStep {
                    packPlane(line, layer, rectangle, residue: residue, inputStep: inputStep, outside: outside, place + residue * rectangle.plane)
                }
            }
        }
        if layer.paddingMode == .constant {
            (target + rectangle.rows.count * rectangle.rowPitch).update(repeating: outside, count: rectangle.rowPitch)
        }
    }
}

/// One channel of one row, every `inputStep`-th column from `residue` on, border included; then zeros to the end of the plane.
private func packPlane<Scalar: KernelScalar>(
    _ line: UnsafePointer<Scalar>, _ layer: Layer, _ rectangle: Rectangle, residue: Int, inputStep: Int, outside: Scalar,
    _ target: UnsafeMutablePointer<Scalar>
) {
    let length = layer.horizontal.input
    let first = rectangle.columns.lowerBound + residue
    let count = max(0, ceilDivide(rectangle.columns.upperBound - first, inputStep))
    // Places first + q * inputStep with 0 <= place < length.
    let start = min(count, max(0, ceilDivide(-first, inputStep)))
    let end = max(start, min(count, ceilDivide(length - first, inputStep)))
    func border(_ q: Int) -> Scalar {
        borderIndex(first + q * inputStep, length, layer.paddingMode).map { line[$0 * layer.input.column] } ?? outside
    }
    for q in 0..<start { target[q] = border(q) }
    packLine(from: line + (first + start * inputStep) * layer.input.column, stride: inputStep * layer.input.column, count: end - start, to: target + start)
    for q in end..<count { target[q] = border(q) }
    (target + count).update(repeating: 0, count: rectangle.plane - count)
}

/// Output elements that no tap reaches (between the strokes of a kernel shorter than the stride, beyond the natural result, or all
/// of them where there are no input channels): the activated bias.
private func fillUncovered<Scalar: KernelScalar>(_ execution: Execution, _: Scalar.Type) {
    let plan = execution.plan
    let layer = plan.pointee.layer
    let bias = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self))
    let output = execution.output.assumingMemoryBound(to: Scalar.self)
    let tile = execution.workspace.advanced(by: plan.pointee.workspace.tile).assumingMemoryBound(to: Scalar.self)
    let activation = layer.activation.converted(to: Scalar.self)
    // One pixel at a time, by the columns' epilogue with vectors of one column each: its bias is per channel in any strategy.
    for index in 0..<plan.pointee.panelCount {
        let panel = plan.pointee.panels[index]
        for image in 0..<layer.batch {
            for row in 0..<layer.vertical.output {
                for column in 0..<layer.horizontal.output {
                    if plan.pointee.coveredRows[row] != 0, plan.pointee.coveredColumns[column] != 0 { continue }
                    let pixel = output + image * layer.output.batch + row * layer.output.row + column * layer.output.column
                    for channel in 0..<panel.channels {
                        var target = pixel + (panel.firstChannel + channel) * layer.output.channel
                        tile.update(repeating: 0, count: plan.pointee.table.lanes)
                        withUnsafePointer(to: &target) { target in
                            withUnsafePointer(to: 1) { one in
                                let arguments = ColumnEpilogueArguments(
                                    tile: tile, channels: 1, tileVectors: 1, vectors: 1, outputs: target, columns: one,
                                    bias: bias + panel.offset + channel, channelStride: 0, columnStride: 1, activation: activation)
                                withUnsafePointer(to: arguments) { plan.pointee.table.finishColumns($0) }
                            }
                        }
                    }
                }
            }
        }
    }
}

extension TileActivation<Double> {
    func converted<Target: KernelScalar>(to _: Target.Type) -> TileActivation<Target> {
        switch self {
        case .none: return .none
        case .relu: return .relu
        case .clamp(let low, let high): return .clamp(Target(low), Target(high))
        case .leaky(let alpha): return .leaky(Target(alpha))
        case .sigmoid: return .sigmoid
        case .tanh: return .tanh
        }
    }
}

extension TileActivation where Scalar: KernelScalar {
    /// The activation as bounds, if it is one.
    var bounds: (low: Scalar, high: Scalar)? {
        switch self {
        case .none: return (-.infinity, .infinity)
        case .relu: return (0, .infinity)
        case .clamp(let low, let high): return (low, high)
        case .leaky, .sigmoid, .tanh: return nil
        }
    }
}
