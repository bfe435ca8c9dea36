import ConvolutionKernels

// With single taps a layer is a product of two matrices: which of them counts as the kernel, and is packed, is free.

/// Computes a layer once by way of `exchanged`, if that takes less time, and no more memory than the packed kernel; else returns
/// false.
func executeExchanged(
    _ layer: Layer, input: UnsafeRawPointer?, kernel: UnsafeRawPointer?, bias: UnsafeRawPointer?, output: UnsafeMutableRawPointer?
) throws(Failure) -> Bool {
    guard let output, let exchanged = layer.exchanged(hasBias: bias != nil) else { return false }
    let plan = try createPlan(exchanged, kernel: input, bias: nil)
    defer { destroy(plan) }
    if 4 * plan.pointee.executionThreads * plan.pointee.workspace.bytes > 3 * layer.kernelElements * layer.elementBytes {
        return false
    }
    try execute(plan, input: kernel, output: output)
    if let bias {
        layer.isDouble
            ? finishColumns(exchanged, layer.activation, bias, output, Double.self)
            : finishColumns(exchanged, layer.activation, bias, output, Float.self)
    }
    return true
}

/// What an epilogue would do, with a bias for each column.
@inline(never)
private func finishColumns<Scalar: KernelScalar>(
    _ layer: Layer, _ activation: TileActivation<Double>, _ bias: UnsafeRawPointer, _ output: UnsafeMutableRawPointer,
    _: Scalar.Type
) {
    let bias = bias.assumingMemoryBound(to: Scalar.self)
    let output = output.assumingMemoryBound(to: Scalar.self)
    let columns = layer.horizontal.output
    // Whole vectors of any tier.
    let most = 64
    var memory = InlineArray<128, Scalar>(repeating: 0)
    var span = memory.mutableSpan
    span.withUnsafeMutableBufferPointer { memory in
        guard let tile = memory.baseAddress else { return }
        for first in stride(from: 0, to: columns, by: most) {
            let count = min(most, columns - first)
            for i in 0..<count { tile[most + i] = bias[first + i] }
            for pixel in 0..<layer.outChannels {
                let place = output + pixel * layer.output.channel + first * layer.output.column
                for i in 0..<count { tile[i] = place[i * layer.output.column] }
                withUnsafePointer(to: place) {
                    let arguments = EpilogueArguments(
                        tile: tile, rows: 1, lanes: most, channels: count, bias: UnsafePointer(tile + most), outputs: $0,
                        channelStride: layer.output.column, activation: activation.converted(to: Scalar.self),
                        accumulates: false)
                    withUnsafePointer(to: arguments) { layer.table.pointee.finish($0) }
                }
            }
        }
    }
}

extension Layer {
    /// For a layer that is computed once: its kernel as an image of as many columns as there are output channels, and its pixels
    /// as the output channels of a kernel. The same products in the same order, but of a few pixels less is packed than of many
    /// output channels. A bias differs from column to column then: `finishColumns` adds it afterwards. nil for other layers, and
    /// where packing the kernel takes less time.
    fileprivate func exchanged(hasBias: Bool) -> Layer? {
        guard !transposed, groups == 1, inChannels * outChannels >= fewestWeights, outChannels >= fewestColumns,
            means.workspaceLimit == Int.max, !(hasBias && means.accumulates)
        else { return nil }
        var given = self
        given.thinOut()
        let pixels = batch * vertical.output * horizontal.output
        guard given.hasSingleTaps, outChannels >= columnsPerPixel * pixels,
            let source = given.pixelStep(given.input, lone: inChannels), let target = given.pixelStep(given.output, lone: 1)
        else { return nil }
        let strides = kernelStrides
        // As a kernel the pixels are OIHW, or else HWIO. Planes that become pixels are turned tile by tile.
        let areRows = source == inChannels && input.channel == 1
        guard areRows || source == 1 && input.channel == pixels, strides.output > 1 || areRows || pixels <= mostTurnedPixels
        else { return nil }
        var layer = given
        if hasBias { layer.activation = .none }
        (layer.torchKernel, layer.flipKernel) = (areRows, false)
        (layer.batch, layer.outChannels) = (1, pixels)
        layer.vertical = Axis(input: 1, kernel: 1, stride: 1, dilation: 1, output: 1, start: 0)
        layer.horizontal = Axis(input: outChannels, kernel: 1, stride: 1, dilation: 1, output: outChannels, start: 0)
        layer.input = Strides(batch: 1, row: 1, column: strides.output, channel: strides.input)
        layer.output = Strides(batch: 1, row: 1, column: output.channel, channel: target)
        return layer
    }

    /// From one pixel of a tensor to the next, in the order of batch, rows and columns, if that is the same everywhere; `lone` of
    /// a single one.
    private func pixelStep(_ strides: Strides, lone: Int) -> Int? {
        var (step, pixels) = (lone, 1)
        func extend(_ count: Int, _ stride: Int) -> Bool {
            if count == 1 { return true }
            if pixels == 1 { step = stride } else if stride != pixels * step { return false }
            pixels *= count
            return true
        }
        return extend(horizontal.output, strides.column) && extend(vertical.output, strides.row) && extend(batch, strides.batch)
            ? step : nil
    }
}

/// Output channels for each pixel, at least: 256 of 14x14 to 1024 channels gain nothing.
private let columnsPerPixel = 8
/// Less is soon packed, and fewer columns than
private let fewestWeights = 4096
private let fewestColumns = 32
private let mostTurnedPixels = 8
