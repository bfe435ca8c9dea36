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

private func runItem<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ item: Int, _ input: UnsafePointer<Scalar>,
    _ output: UnsafeMutablePointer<Scalar>, _ workspace: UnsafeMutableRawPointer
) {
    let layer = plan.pointee.layer
    let table = plan.pointee.table
    let layout = plan.pointee.workspace
    let vertical = block.pointee.vertical
    let horizontal = block.pointee.horizontal
    let mode = layer.paddingMode
    let inputs = layer.inChannelsPerGroup
    let outputs = layer.outChannelsPerGroup

    // Which item: the panel chunk runs fastest, so that threads share the input they read.
    var rest = item - block.pointee.firstItem
    let chunk = rest % block.pointee.panelChunks
    rest /= block.pointee.panelChunks
    let columnBand = rest % block.pointee.columnBands
    rest /= block.pointee.columnBands
    let rowBand = rest % block.pointee.rowBands
    rest /= block.pointee.rowBands
    let group = rest % layer.groups
    let image = rest / layer.groups
    let firstRow = rowBand * block.pointee.bandRows
    let firstColumn = columnBand * block.pointee.bandColumns
    let rows = min(block.pointee.bandRows, vertical.count - firstRow)
    let columns = min(block.pointee.bandColumns, horizontal.count - firstColumn)
    let panels = (plan.pointee.panels * chunk / block.pointee.panelChunks)..<(plan.pointee.panels * (chunk + 1) / block.pointee.panelChunks)

    // Where the input is read: the caller's array, or a packed rectangle of it.
    var base = input + image * layer.input.batch + group * inputs * layer.input.channel
    var (rowStride, columnStride, rowOrigin, columnOrigin) = (layer.input.row, layer.input.column, 0, 0)
    if !plan.pointee.readsInputDirectly {
        let rowRange = inputRange(vertical, first: firstRow, count: rows, input: layer.vertical.input, mode: mode)
        let columnRange = inputRange(horizontal, first: firstColumn, count: columns, input: layer.horizontal.input, mode: mode)
        let rectangle = (workspace + layout.rectangle).assumingMemoryBound(to: Scalar.self)
        packRectangle(
            from: base + rowRange.lowerBound * rowStride + columnRange.lowerBound * columnStride, rowStride: rowStride,
            columnStride: columnStride, channelStride: layer.input.channel, rows: rowRange.count, columns: columnRange.count,
            channels: inputs, to: rectangle)
        base = UnsafePointer(rectangle)
        (rowStride, columnStride) = (columnRange.count * inputs, inputs)
        (rowOrigin, columnOrigin) = (rowRange.lowerBound, columnRange.lowerBound)
    }

    let runs = (workspace + layout.runs).assumingMemoryBound(to: UnsafePointer<Scalar>.self)
    let rowOffsets = (workspace + layout.rowOffsets).assumingMemoryBound(to: Int.self)
    let columnOffsets = (workspace + layout.columnOffsets).assumingMemoryBound(to: Int.self)
    let tile = (workspace + layout.tile).assumingMemoryBound(to: Scalar.self)
    let outside = UnsafePointer(plan.pointee.outside.assumingMemoryBound(to: Scalar.self))
    let weights = UnsafePointer(plan.pointee.weights.assumingMemoryBound(to: Scalar.self)) + block.pointee.weights
    let panelUnit = block.pointee.taps * inputs * table.lanes
    let biases = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self)) + group * plan.pointee.lanes
    let imageOutput = output + image * layer.output.batch + group * outputs * layer.output.channel
    let activation = layer.activation.converted(to: Scalar.self)

    var targets = InlineArray<8, UnsafeMutablePointer<Scalar>>(repeating: imageOutput)
    let pixels = rows * columns
    var laidOut = 0 // the number of rows of the tile for which `runs` holds addresses
    var pixel = 0
    while pixel < pixels {
        // All panels but the last few share one tile height; where they differ the addresses are laid out anew.
        var step = largestTileRows
        for index in panels {
            step = min(step, table.tiles[plan.pointee.panel(index).vectors - 1].rows)
        }
        let count = min(step, pixels - pixel)
        laidOut = 0
        for index in panels {
            let panel = plan.pointee.panel(index)
            let kernel = table.tiles[panel.vectors - 1]
            if laidOut != kernel.rows {
                laidOut = kernel.rows
                layOut(
                    block, layer, mode, tileRows: kernel.rows, firstPixel: pixel, count: count, columns: columns, firstRow: firstRow,
                    firstColumn: firstColumn, base: base, rowStride: rowStride, columnStride: columnStride, rowOrigin: rowOrigin,
                    columnOrigin: columnOrigin, outside: outside, rowOffsets: rowOffsets, columnOffsets: columnOffsets, runs: runs)
            }
            let lanes = panel.vectors * table.lanes
            let firstChannel = panel.first * table.lanes
            for r in 0..<count {
                let row = (pixel + r) / columns + firstRow
                let column = (pixel + r) % columns + firstColumn
                targets[r] = imageOutput + (vertical.outputStart + row * vertical.outputStep) * layer.output.row
                    + (horizontal.outputStart + column * horizontal.outputStep) * layer.output.column + firstChannel * layer.output.channel
            }
            tile.update(repeating: 0, count: kernel.rows * lanes)
            var panelWeights = weights + (group * plan.pointee.vectors + panel.first) * panelUnit
            var channel = 0
            while channel < inputs {
                let length = min(block.pointee.channelBlock, inputs - channel)
                let arguments = TileArguments(
                    runs: UnsafePointer(runs), channelOffset: channel, segments: block.pointee.taps, length: length,
                    segmentsPerChunk: block.pointee.segmentsPerChunk, panel: panelWeights, tile: tile)
                withUnsafePointer(to: arguments) { kernel.accumulate($0) }
                panelWeights += block.pointee.taps * length * lanes
                channel += length
            }
            targets.span.withUnsafeBufferPointer { targets in
                guard let targets = targets.baseAddress else { return }
                let arguments = EpilogueArguments(
                    tile: tile, rows: count, lanes: lanes, channels: min(lanes, outputs - firstChannel), bias: biases + firstChannel,
                    outputs: targets, channelStride: layer.output.channel, activation: activation)
                withUnsafePointer(to: arguments) { table.finish($0) }
            }
        }
        pixel += count
    }
}

/// runs[tap][r] = where pixel `firstPixel + r` of the band finds that tap's channels. Rows of the tile beyond `count` repeat the last
/// pixel: they are computed and not stored.
private func layOut<Scalar>(
    _ block: UnsafePointer<Block>, _ layer: Layer, _ mode: BorderMode, tileRows: Int, firstPixel: Int, count: Int, columns: Int,
    firstRow: Int, firstColumn: Int, base: UnsafePointer<Scalar>, rowStride: Int, columnStride: Int, rowOrigin: Int, columnOrigin: Int,
    outside: UnsafePointer<Scalar>, rowOffsets: UnsafeMutablePointer<Int>, columnOffsets: UnsafeMutablePointer<Int>,
    runs: UnsafeMutablePointer<UnsafePointer<Scalar>>
) {
    let vertical = block.pointee.vertical
    let horizontal = block.pointee.horizontal
    for r in 0..<tileRows {
        let pixel = firstPixel + min(r, count - 1)
        let row = (pixel / columns + firstRow) * vertical.inputStep + vertical.offsetStart
        for tap in 0..<vertical.taps {
            let index = borderIndex(row + tap * vertical.offsetStep, layer.vertical.input, mode)
            rowOffsets[tap * tileRows + r] = index.map { ($0 - rowOrigin) * rowStride } ?? outsideOffset
        }
        let column = (pixel % columns + firstColumn) * horizontal.inputStep + horizontal.offsetStart
        for tap in 0..<horizontal.taps {
            let index = borderIndex(column + tap * horizontal.offsetStep, layer.horizontal.input, mode)
            columnOffsets[tap * tileRows + r] = index.map { ($0 - columnOrigin) * columnStride } ?? outsideOffset
        }
    }
    var run = runs
    for v in 0..<vertical.taps {
        for h in 0..<horizontal.taps {
            for r in 0..<tileRows {
                let rowOffset = rowOffsets[v * tileRows + r]
                let columnOffset = columnOffsets[h * tileRows + r]
                run[r] = rowOffset == outsideOffset || columnOffset == outsideOffset ? outside : base + rowOffset + columnOffset
            }
            run += tileRows
        }
    }
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
    let outputs = layer.outChannelsPerGroup
    let lanes = plan.pointee.table.lanes
    for group in 0..<layer.groups {
        var first = 0
        while first < outputs {
            for image in 0..<layer.batch {
                for row in 0..<layer.vertical.output {
                    for column in 0..<layer.horizontal.output {
                        if plan.pointee.coveredRows[row] != 0, plan.pointee.coveredColumns[column] != 0 { continue }
                        var target = output + image * layer.output.batch + row * layer.output.row + column * layer.output.column
                            + (group * outputs + first) * layer.output.channel
                        tile.update(repeating: 0, count: lanes)
                        withUnsafePointer(to: &target) { target in
                            let arguments = EpilogueArguments(
                                tile: tile, rows: 1, lanes: lanes, channels: min(lanes, outputs - first),
                                bias: bias + group * plan.pointee.lanes + first, outputs: target, channelStride: layer.output.channel,
                                activation: activation)
                            withUnsafePointer(to: arguments) { plan.pointee.table.finish($0) }
                        }
                    }
                }
            }
            first += lanes
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
