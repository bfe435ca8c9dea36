import ConvolutionKernels

// Outputs at the border, where they are not those of the tiles: pixels that no tap reaches, and pixels of an infinite kernel.

/// The channels of a panel at one output pixel: activation(values[i] + bias[i]), and what stands there in between if the layer
/// accumulates. `target` is the place of the panel's first channel.
private func finishPixel<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ panel: Panel, _ values: UnsafePointer<Scalar>,
    _ target: UnsafeMutablePointer<Scalar>, channelStride: Int, scratch: UnsafeMutablePointer<Scalar>
) {
    let layer = plan.pointee.layer
    let bias = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self)) + panel.offset
    let activation = layer.activation.converted(to: Scalar.self)
    for channel in 0..<panel.channels {
        // By the columns' epilogue with one vector of one column: its bias is per channel in any strategy.
        scratch.update(repeating: 0, count: plan.pointee.table.lanes)
        scratch[0] = values[channel]
        var target = target + channel * channelStride
        withUnsafePointer(to: &target) { target in
            withUnsafePointer(to: 1) { one in
                let arguments = ColumnEpilogueArguments(
                    tile: scratch, channels: 1, tileVectors: 1, vectors: 1, outputs: target, columns: one, bias: bias + channel,
                    channelStride: 0, columnStride: 1, activation: activation, accumulates: layer.means.accumulates)
                withUnsafePointer(to: arguments) { plan.pointee.table.pointee.finishColumns($0) }
            }
        }
    }
}

/// A panel's channels of a pixel that no tap reaches: the activated bias. In a thread's scratch memory for sums.
func finishedBias<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ panel: Panel, _ workspace: UnsafeMutableRawPointer, _: Scalar.Type
) -> UnsafePointer<Scalar> {
    let values = (workspace + plan.pointee.workspace.sums).assumingMemoryBound(to: Scalar.self)
    let finished = values + largestTileScalars / 4
    let lanes = panel.tileWidth(plan.pointee.strategy, lanes: plan.pointee.table.lanes)
    values.update(repeating: 0, count: lanes)
    if plan.pointee.strategy == .columns {
        finishPixel(plan, panel, values, finished, channelStride: 1, scratch: values + largestTileScalars / 2)
        return UnsafePointer(finished)
    }
    withUnsafePointer(to: finished) {
        let arguments = EpilogueArguments(
            tile: values, rows: 1, lanes: lanes, channels: panel.channels,
            bias: UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self)) + panel.offset, outputs: $0,
            channelStride: 1, activation: plan.pointee.layer.activation.converted(to: Scalar.self), accumulates: false)
        withUnsafePointer(to: arguments) { plan.pointee.table.pointee.finish($0) }
    }
    return UnsafePointer(finished)
}

/// The same for either type.
func finishedBias(
    _ plan: UnsafePointer<ConvolutionPlan>, _ panel: Panel, _ workspace: UnsafeMutableRawPointer
) -> UnsafeRawPointer {
    plan.pointee.layer.isDouble
        ? UnsafeRawPointer(finishedBias(plan, panel, workspace, Double.self))
        : UnsafeRawPointer(finishedBias(plan, panel, workspace, Float.self))
}

/// Output elements that no tap reaches (between the strokes of a kernel shorter than the stride, beyond the natural result, or
/// all of them where there are no input channels): the activated bias. Part `index` of `count`: an item's, whose tiles write the
/// lines between them.
func fillUncovered(
    _ plan: UnsafePointer<ConvolutionPlan>, part index: Int, of count: Int, _ output: UnsafeMutableRawPointer,
    _ workspace: UnsafeMutableRawPointer
) {
    let layer = plan.pointee.layer
    let elements = layer.elements
    let size = elements.bytes
    let values = workspace + plan.pointee.workspace.sums
    let accumulates = layer.means.accumulates
    let (rows, columns, strides) = (layer.vertical.output, layer.horizontal.output, layer.output)
    let lines = evenPart(index, of: count, layer.batch * rows)
    for index in 0..<(lines.isEmpty ? 0 : plan.pointee.panelCount) {
        let panel = plan.pointee.panels[index]
        // What is added to is finished element by element, from nothing.
        elements.clear(values, count: panel.channels)
        let finished = accumulates ? UnsafeRawPointer(values) : finishedBias(plan, panel, workspace)
        // Planes one after another.
        let channels = accumulates || strides.channel == 1 ? panel.channels : 1
        for first in stride(from: 0, to: panel.channels, by: channels) {
            for line in lines {
                let isCovered = plan.pointee.coveredRows[line % rows] != 0
                let target = output + (line / rows * strides.batch + line % rows * strides.row
                    + (panel.firstChannel + first) * strides.channel) * size
                let source = finished + first * size
                if channels == 1, !accumulates, strides.column == 1, !isCovered {
                    elements.fill(target, with: elements.value(source), count: columns)
                    continue
                }
                for column in 0..<columns where !isCovered || plan.pointee.coveredColumns[column] == 0 {
                    let target = target + column * strides.column * size
                    if !accumulates {
                        if channels > plan.pointee.table.lanes {
                            target.copyMemory(from: source, byteCount: channels * size)
                        } else {
                            // Without a call.
                            copyLine(source, bytes: channels * size, to: target)
                        }
                        continue
                    }
                    func finish<Scalar: KernelScalar>(_: Scalar.Type) {
                        let values = values.assumingMemoryBound(to: Scalar.self)
                        finishPixel(
                            plan, panel, values, target.assumingMemoryBound(to: Scalar.self), channelStride: strides.channel,
                            scratch: values + largestTileScalars / 2)
                    }
                    size == 8 ? finish(Double.self) : finish(Float.self)
                }
            }
        }
    }
}

/// An output pixel whose taps reach outside the input.
struct BorderPixel {
    var block: UnsafePointer<Block>
    /// Indices of the block's lattices.
    var row: Int
    var column: Int
    var image: Int
    /// From the output's first element.
    var offset: Int
}

/// All of a plan's, of each image of the batch.
struct BorderPixels {
    private let plan: UnsafePointer<ConvolutionPlan>
    private var block = 0
    private var row = 0
    private var column = 0
    private var image = -1

    init(_ plan: UnsafePointer<ConvolutionPlan>) { self.plan = plan }

    @inline(never)
    mutating func next() -> BorderPixel? {
        while block < plan.pointee.blockCount {
            let block = plan.pointee.blocks + block
            let (vertical, horizontal) = (block.pointee.vertical, block.pointee.horizontal)
            image += 1
            if image == plan.pointee.layer.batch { (column, image) = (column + 1, 0) }
            if column == horizontal.count { (row, column) = (row + 1, 0) }
            if row >= vertical.count || horizontal.count == 0 {
                (self.block, row, column, image) = (self.block + 1, 0, 0, -1)
                continue
            }
            if meetsNoBorder(vertical, row, row, 0..<plan.pointee.layer.vertical.input),
                meetsNoBorder(horizontal, column, column, 0..<plan.pointee.layer.horizontal.input) { continue }
            let strides = plan.pointee.layer.output
            let offset = image * strides.batch + (vertical.outputStart + row * vertical.outputStep) * strides.row
                + (horizontal.outputStart + column * horizontal.outputStep) * strides.column
            return BorderPixel(block: block, row: row, column: column, image: image, offset: offset)
        }
        return nil
    }
}

/// What the border pixels of an accumulating layer hold before the tiles' results replace it, `[border pixel][channel]`.
@inline(never)
func borderBefore(_ execution: Execution) throws(Failure) -> UnsafeMutableRawPointer {
    let layer = execution.plan.pointee.layer
    let elements = layer.elements
    var pixels = 0
    var border = BorderPixels(execution.plan)
    while border.next() != nil { pixels += 1 }
    let memory = try allocate(pixels * layer.outChannels, of: elements.bytes, "the border of the output")
    var place = memory
    border = BorderPixels(execution.plan)
    while let pixel = border.next() {
        elements.copy(
            execution.output + pixel.offset * elements.bytes, sourceStride: layer.output.channel, count: layer.outChannels,
            to: place)
        place += layer.outChannels * elements.bytes
    }
    return memory
}

/// The border pixels, computed plainly from the taps inside: see `ConvolutionPlan.mendsBorder`.
@inline(never)
func mendBorder<Scalar: KernelScalar>(_ execution: Execution, _: Scalar.Type) {
    let plan = execution.plan
    let layer = plan.pointee.layer
    let input = execution.input.assumingMemoryBound(to: Scalar.self)
    let output = execution.output.assumingMemoryBound(to: Scalar.self)
    let values = execution.workspace.advanced(by: plan.pointee.workspace.sums).assumingMemoryBound(to: Scalar.self)
    var saved = execution.before?.assumingMemoryBound(to: Scalar.self)
    var border = BorderPixels(plan)
    while let pixel = border.next() {
        let target = output + pixel.offset
        if let place = saved {
            for channel in 0..<layer.outChannels { target[channel * layer.output.channel] = place[channel] }
            saved = place + layer.outChannels
        }
        for index in 0..<plan.pointee.panelCount {
            let panel = plan.pointee.panels[index]
            values.update(repeating: 0, count: panel.channels)
            addInside(plan, pixel.block, panel, input + pixel.image * layer.input.batch, pixel.row, pixel.column, values)
            finishPixel(
                plan, panel, values, target + panel.firstChannel * layer.output.channel, channelStride: layer.output.channel,
                scratch: values + largestTileScalars / 2)
        }
    }
}

/// Adds the products of the taps inside the input, in the order of the panel, for one output pixel and the channels of a panel.
private func addInside<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ panel: Panel, _ image: UnsafePointer<Scalar>,
    _ row: Int, _ column: Int, _ values: UnsafeMutablePointer<Scalar>
) {
    let layer = plan.pointee.layer
    let (vertical, horizontal) = (block.pointee.vertical, block.pointee.horizontal)
    let inputs = layer.inChannelsPerGroup
    var weights = UnsafePointer(plan.pointee.weights.assumingMemoryBound(to: Scalar.self)) + block.pointee.weights
        + panel.offset * block.pointee.taps * inputs
    var first = 0
    while first < inputs {
        let length = min(block.pointee.channelBlock, inputs - first)
        for v in 0..<vertical.taps {
            let y = row * vertical.inputStep + vertical.offsetStart + v * vertical.offsetStep
            for h in 0..<horizontal.taps {
                let x = column * horizontal.inputStep + horizontal.offsetStart + h * horizontal.offsetStep
                if y >= 0, y < layer.vertical.input, x >= 0, x < layer.horizontal.input {
                    let pixel = image + y * layer.input.row + x * layer.input.column
                    for channel in 0..<length {
                        for lane in 0..<panel.channels {
                            let group = (panel.firstChannel + lane) / layer.outChannelsPerGroup
                            values[lane] += pixel[(group * inputs + first + channel) * layer.input.channel]
                                * weights[channel * panel.width + lane]
                        }
                    }
                }
                weights += length * panel.width
            }
        }
        first += length
    }
}
