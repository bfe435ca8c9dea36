import ConvolutionKernels

/// Element strides of one tensor by axis name, whatever its data format.
struct Strides {
    var batch: Int
    var row: Int
    var column: Int
    var channel: Int
}

/// How a layer is computed, beside what it computes.
struct Means {
    /// Beside the algorithms that keep the default's error bound.
    var permitsWinograd: Bool
    /// Bytes that one execution may allocate at most.
    var workspaceLimit: Int
    /// The output's own elements are added before the activation.
    var accumulates: Bool
}

/// A checked conv2d or conv2d_transpose: nothing in it can fail any more but memory.
struct Layer {
    var transposed: Bool
    var isDouble: Bool
    var channelsFirst: Bool
    /// OIHW or IOHW rather than HWIO or HWOI.
    var torchKernel: Bool
    var flipKernel: Bool
    var batch: Int
    var inChannels: Int
    var outChannels: Int
    var groups: Int
    var vertical: Axis
    var horizontal: Axis
    var paddingMode: BorderMode
    var paddingValue: Double
    var activation: TileActivation<Double>
    var input: Strides
    var output: Strides
    var threads: Int
    var tier: Tier
    var means: Means

    var inChannelsPerGroup: Int { groups == 0 ? 0 : inChannels / groups }
    var outChannelsPerGroup: Int { groups == 0 ? 0 : outChannels / groups }
    var kernelElements: Int {
        vertical.kernel * horizontal.kernel * (transposed ? inChannels * outChannelsPerGroup : outChannels * inChannelsPerGroup)
    }
    /// Output columns from one to the next that uses the same taps.
    var columnPhases: Int { transposed ? horizontal.stride : horizontal.phases }
    /// Sizes beside a 0 may be so large that even their product, which validation does not take then, overflows.
    var hasOutput: Bool { batch > 0 && vertical.output > 0 && horizontal.output > 0 && outChannels > 0 }

    /// Strides of the kernel array: rows, columns, input channels and output channels within a group, and groups.
    var kernelStrides: (row: Int, column: Int, input: Int, output: Int, group: Int) {
        let area = vertical.kernel * horizontal.kernel
        switch (transposed, torchKernel) {
        case (false, false): // HWIO
            let pixel = inChannelsPerGroup * outChannels
            return (horizontal.kernel * pixel, pixel, outChannels, 1, outChannelsPerGroup)
        case (false, true): // OIHW
            let output = inChannelsPerGroup * area
            return (horizontal.kernel, 1, area, output, outChannelsPerGroup * output)
        case (true, false): // HWOI
            let pixel = outChannelsPerGroup * inChannels
            return (horizontal.kernel * pixel, pixel, 1, inChannels, inChannelsPerGroup)
        case (true, true): // IOHW
            let input = outChannelsPerGroup * area
            return (horizontal.kernel, 1, input, area, inChannelsPerGroup * input)
        }
    }

    /// The linear part's transpose: conv2d and conv2d_transpose with input and output exchanged. The kernel array is the same one, since
    /// HWIO of the one is HWOI of the other, byte for byte.
    var adjoint: Layer {
        var layer = self
        layer.transposed.toggle()
        (layer.inChannels, layer.outChannels) = (outChannels, inChannels)
        (layer.input, layer.output) = (output, input)
        swap(&layer.vertical.input, &layer.vertical.output)
        swap(&layer.horizontal.input, &layer.horizontal.output)
        (layer.paddingMode, layer.paddingValue, layer.activation) = (.constant, 0, .none)
        return layer
    }

    /// Index of a kernel element in the caller's array.
    func kernelIndex(row: Int, column: Int, input: Int, output: Int, group: Int) -> Int {
        let strides = kernelStrides
        let a = flipKernel ? vertical.kernel - 1 - row : row
        let b = flipKernel ? horizontal.kernel - 1 - column : column
        return a * strides.row + b * strides.column + input * strides.input + output * strides.output + group * strides.group
    }
}

/// A checked upsample2d.
struct Resampling {
    var isDouble: Bool
    var channelsFirst: Bool
    var batch: Int
    var channels: Int
    var vertical: ResamplingAxis
    var horizontal: ResamplingAxis
    var method: ResamplingMethod
    var input: Strides
    var output: Strides
    var threads: Int
    var tier: Tier
    /// The result is added to what its place holds.
    var accumulates: Bool

    var hasOutput: Bool { batch > 0 && channels > 0 }
}
