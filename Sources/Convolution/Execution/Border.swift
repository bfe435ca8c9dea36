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
func fillUncovered<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, part index: Int, of count: Int, _ output: UnsafeMutablePointer<Scalar>,
    _ workspace: UnsafeMutableRawPointer
) {
    let layer = plan.pointee.layer
    let values = (workspace + plan.pointee.workspace.sums).assumingMemoryBound(to: Scalar.self)
    let accumulates = layer.means.accumulates
    let (rows, columns, strides) = (layer.vertical.output, layer.horizontal.output, layer.output)
    let lines = evenPart(index, of: count, layer.batch * rows)
    for index in 0..<(lines.isEmpty ? 0 : plan.pointee.panelCount) {
        let panel = plan.pointee.panels[index]
        // What is added to is finished element by element, from nothing.
        values.update(repeating: 0, count: panel.channels)
        let finished = accumulates ? UnsafePointer(values) : finishedBias(plan, panel, workspace, Scalar.self)
        // Planes one after another.
        let channels = accumulates || strides.channel == 1 ? panel.channels : 1
        for first in stride(from: 0, to: panel.channels, by: channels) {
            for line in lines {
                let isCovered = plan.pointee.coveredRows[line % rows] != 0
                let target = output + (line / rows * strides.batch + line % rows * strides.row)
                    + (panel.firstChannel + first) * strides.channel
                if channels == 1, !accumulates, strides.column == 1, !isCovered {
                    target.update(repeating: finished[first], count: columns)
                    continue
                }
                for column in 0..<columns where !isCovered || plan.pointee.coveredColumns[column] == 0 {
                    let target = target + column * strides.column
                    if accumulates {
                        finishPixel(
                            plan, panel, finished, target, channelStride: strides.channel,
                            scratch: values + largestTileScalars / 2)
                    } else if channels > plan.pointee.table.lanes {
                        copyElements(finished + first, count: channels, to: target)
                    } else {
                        // Without a call.
                        copyLine(finished + first, count: channels, to: target)
                    }
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

func forEachBorderPixel(_ plan: UnsafePointer<ConvolutionPlan>, _ body: (BorderPixel) -> Void) {
    let layer = plan.pointee.layer
    for blockIndex in 0..<plan.pointee.blockCount {
        let block = plan.pointee.blocks + blockIndex
        let (vertical, horizontal) = (block.pointee.vertical, block.pointee.horizontal)
        for row in 0..<vertical.count {
            let plainRow = meetsNoBorder(vertical, row, row, 0..<layer.vertical.input)
            for column in 0..<horizontal.count
            where !plainRow || !meetsNoBorder(horizontal, column, column, 0..<layer.horizontal.input) {
                for image in 0..<layer.batch {
                    let offset = image * layer.output.batch
                        + (vertical.outputStart + row * vertical.outputStep) * layer.output.row
                        + (horizontal.outputStart + column * horizontal.outputStep) * layer.output.column
                    body(BorderPixel(block: block, row: row, column: column, image: image, offset: offset))
                }
            }
        }
    }
}

/// What the border pixels of an accumulating layer hold before the tiles' results replace it, `[border pixel][channel]`.
@inline(never)
func borderBefore<Scalar: KernelScalar>(_ execution: Execution, _: Scalar.Type) throws(Failure) -> UnsafeMutableRawPointer {
    let layer = execution.plan.pointee.layer
    var pixels = 0
    forEachBorderPixel(execution.plan) { _ in pixels += 1 }
    let memory = try allocate(pixels * layer.outChannels, of: MemoryLayout<Scalar>.stride, "the border of the output")
    var place = memory.assumingMemoryBound(to: Scalar.self)
    forEachBorderPixel(execution.plan) { pixel in
        let source = execution.output.assumingMemoryBound(to: Scalar.self) + pixel.offset
        for channel in 0..<layer.outChannels { place[channel] = source[channel * layer.output.channel] }
        place += layer.outChannels
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
    forEachBorderPixel(plan) { pixel in
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
