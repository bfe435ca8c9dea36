import ConvolutionKernels

/// How a layer is computed, beside what it computes.
struct Means {
    /// Beside the algorithms that keep the default's error bound.
    var permitsWinograd: Bool
    /// Bytes that one execution may allocate at most.
    var workspaceLimit: Int
    /// The output's own elements are added before the activation.
    var accumulates: Bool
    /// Who made the plan asks for some rows of its block at a time.
    var keepsRows = false
    /// All phases of a transposed convolution may be computed together: see `Turning` and `Lattice.pairs`.
    var joinsPhases = true
    /// There is memory for the tables of `multiplyRepeated`.
    var mayRepeat = true
}

/// Channels of a pixel of a widened layer, at most.
private let mostWidenedChannels = 65536.0

/// A checked conv2d or conv2d_transpose: nothing in it can fail any more but memory.
struct Layer {
    var transposed: Bool
    var isDouble: Bool
    var channelsFirst: Bool
    /// OIHW or IOHW rather than HWIO or HWOI.
    var torchKernel: Bool
    var flipKernel: Bool
    /// A convolution of the kernel array of a transposed one, or the other way round.
    var takesAdjointKernel = false
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
    /// More than 1: so many columns of the output, and of the kernel, count as one, their channels side by side. See `widened`.
    var columnsPerPixel = 1
    /// More than 0: the one row is so many columns of a row of the caller's input, then as many of the next one. See `joined`.
    var sourceColumns = 0
    /// Elements of what is read from one of the caller's input to the next, zeros between them: see `spread`.
    var spacing = (rows: 1, columns: 1)

    var inChannelsPerGroup: Int { inChannels / groups }
    var outChannelsPerGroup: Int { outChannels / groups }
    var kernelElements: Int {
        vertical.kernel * horizontal.kernel * (transposed ? inChannels * outChannelsPerGroup : outChannels * inChannelsPerGroup)
    }
    var isDepthwise: Bool { inChannelsPerGroup == 1 && outChannelsPerGroup == 1 }
    /// Taps of an output element, at most.
    var phaseTaps: Int {
        transposed ? ceilDivide(vertical.kernel, vertical.stride) * ceilDivide(horizontal.kernel, horizontal.stride)
            : vertical.kernel * horizontal.kernel
    }
    /// Output columns from one to the next that uses the same taps.
    var columnPhases: Int { transposed ? horizontal.stride : horizontal.phases }
    /// Sizes beside a 0 may be so large that even their product, which validation does not take then, overflows.
    var hasOutput: Bool { batch > 0 && vertical.output > 0 && horizontal.output > 0 && outChannels > 0 }

    var elementBytes: Int { isDouble ? 8 : 4 }
    var elements: ElementType { ElementType(table, bytes: elementBytes) }
    /// The kernels of its tier and element type.
    var table: UnsafePointer<KernelTable> { isDouble ? tier.float64 : tier.float32 }
    /// Depthwise, of as many channels as vectors of half the length hold. (Doubles of more than nine taps take up to 1.8 times as
    /// long by those.)
    var fillsNarrowVectors: Bool { isDepthwise && !isDouble && outChannels == tier.narrow.float32.pointee.lanes }

    /// A transposed convolution whose output phases of P neighbouring columns all read the same input, such as one with kernel =
    /// P * n, stride P and no crop: as a layer of 1/P of the columns and P times the channels, in the same arrays. Column t = P *
    /// pixel + phase takes the products of kernel column b = P * tap + phase, as stride and crop are multiples of P too. nil if
    /// there is no such P.
    var widened: Layer? {
        guard transposed, groups == 1, horizontal.dilation == 1, horizontal.output > 0, output.channel == 1,
            output.column == outChannels
        else { return nil }
        let axis = horizontal
        let common = greatestCommonDivisor(
            greatestCommonDivisor(axis.stride, axis.kernel), greatestCommonDivisor(axis.output, abs(axis.start)))
        // Of very many channels the panels alone would take gigabytes and a minute.
        if common == 1 || Double(common) * Double(outChannels) > mostWidenedChannels { return nil }
        var layer = self
        layer.columnsPerPixel = common
        layer.outChannels *= common
        layer.output.column *= common
        layer.horizontal.stride /= common
        layer.horizontal.kernel /= common
        layer.horizontal.output /= common
        layer.horizontal.start /= common
        // Its stride may be 1 now, but the algorithm is a choice of the layer as it was given.
        layer.means.permitsWinograd = false
        return layer
    }

    /// Strides of the kernel array: rows, columns, input channels and output channels within a group, and groups.
    var kernelStrides: (row: Int, column: Int, input: Int, output: Int, group: Int) {
        let area = vertical.kernel * horizontal.kernel * columnsPerPixel
        switch (transposed != takesAdjointKernel, torchKernel) {
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
            let input = outChannelsPerGroup / columnsPerPixel * area
            return (horizontal.kernel * columnsPerPixel, columnsPerPixel, input, area, inChannelsPerGroup * input)
        }
    }

    /// Where the kernel elements of output channel `channel` of a group start, and how many channels from there on follow at
    /// `kernelStrides.output`.
    func kernelChannel(_ channel: Int) -> (offset: Int, count: Int) {
        let strides = kernelStrides
        if columnsPerPixel == 1 { return (channel * strides.output, outChannelsPerGroup - channel) }
        let given = outChannels / columnsPerPixel
        let phase = flipKernel ? columnsPerPixel - 1 - channel / given : channel / given
        return (phase * (strides.column / columnsPerPixel) + channel % given * strides.output, given - channel % given)
    }

    /// The linear part's transpose: conv2d and conv2d_transpose with input and output exchanged. The kernel array is the same
    /// one, since HWIO of the one is HWOI of the other, byte for byte.
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

    /// Each output pixel reads the input pixel in its place, and no other.
    var hasSingleTaps: Bool {
        func isPlain(_ axis: Axis) -> Bool {
            axis.kernel == 1 && axis.stride == 1 && axis.start == 0 && axis.repetition == 1 && axis.output == axis.input
        }
        return isPlain(vertical) && isPlain(horizontal)
    }

    /// An image of one column, of which a kernel of one column makes one column, as an image of one row: in the same arrays, with
    /// the same taps in the same order. Vectors of neighbouring columns, and all that goes on along a row, then find what there
    /// is.
    mutating func layDown() {
        guard vertical.output > 1, horizontal.input == 1, horizontal.kernel == 1, horizontal.output == 1, !means.keepsRows
        else { return }
        swap(&vertical, &horizontal)
        swap(&input.row, &input.column)
        swap(&output.row, &output.column)
    }

    /// A kernel of one row, or column, that steps over others never reads these: as an image of the rows that it reads, without a
    /// stride, in the same arrays.
    mutating func thinOut() {
        if transposed || means.keepsRows { return }
        func thin(_ axis: inout Axis, _ stride: inout Int) {
            if axis.kernel > 1 || axis.stride == 1 || axis.start != 0 || axis.repetition > 1
                || axis.output != ceilDivide(axis.input, axis.stride) { return }
            // The stride of one element alone is never stepped along.
            if axis.output > 1 { stride *= axis.stride }
            (axis.input, axis.stride) = (axis.output, 1)
        }
        thin(&vertical, &input.row)
        thin(&horizontal, &input.column)
    }

    /// With single taps, rows that follow each other without a gap are one long row, and so are the small images of a batch,
    /// which a depthwise layer would compute one by one.
    mutating func flatten() {
        func areGapless(_ strides: Strides) -> Bool {
            vertical.input == 1 || strides.row == horizontal.input * strides.column
        }
        guard hasOutput, hasSingleTaps, !means.keepsRows, areGapless(input), areGapless(output) else { return }
        let pixels = vertical.input * horizontal.input
        horizontal.input = pixels
        if groups > 1, pixels <= 64, input.batch == pixels * input.column, output.batch == pixels * output.column {
            horizontal.input *= batch
            batch = 1
        }
        (vertical.input, vertical.output, horizontal.output) = (1, 1, horizontal.input)
    }

    /// With single taps, the same for planes of which only the output's rows follow each other: what the input has between the
    /// elements that are read is left out where it is packed. 1x1 with stride 2, for one. nil for other layers.
    var joined: Layer? {
        guard hasOutput, hasSingleTaps, !transposed, !means.keepsRows, vertical.input > 1, input.channel != 1,
            output.column == 1, output.row == horizontal.output
        else { return nil }
        var layer = self
        layer.sourceColumns = horizontal.input
        layer.horizontal.input *= vertical.input
        (layer.vertical.input, layer.vertical.output, layer.horizontal.output) = (1, 1, layer.horizontal.input)
        return layer
    }

    /// A transposed convolution of single input channels as a convolution of its input with zeros between the elements: more is
    /// multiplied, but there are no phases, each of which is begun and packed apart and writes between what others write. Adding
    /// zeros changes no bit. nil for other layers.
    var spread: Layer? {
        guard transposed, hasOutput, inChannelsPerGroup == 1, groups == 1 || outChannelsPerGroup == 1,
            vertical.input > 0, horizontal.input > 0, vertical.stride > 1 || horizontal.stride > 1,
            vertical.kernel > 1 || horizontal.kernel > 1, vertical.dilation == 1, horizontal.dilation == 1,
            vertical.fitsProducts, horizontal.fitsProducts, chunkRows != nil,
            means.joinsPhases, !means.accumulates, !means.keepsRows
        else { return nil }
        var layer = self
        layer.takeCounterpart()
        return layer
    }

    /// Whether this is a transposed convolution without strides that is better computed as the convolution that it is, of the
    /// kernel turned round.
    var isStraight: Bool {
        // Large kernels of few channels are not swept, but walked over or run as stencils; a single output channel gains nothing.
        transposed && vertical.stride == 1 && horizontal.stride == 1 && (groups > 1 || outChannels > 1) && hasOutput
            && vertical.input > 0 && horizontal.input > 0 && means.joinsPhases
            && (!isDepthwise || outChannels >= table.lanes
                || vertical.kernel * horizontal.kernel <= (outChannels <= 4 ? 9 : 49))
    }

    /// Whether a convolution is a transposed one as well, of zeros outside, and that may take less time.
    var mayTurnRound: Bool {
        !transposed && suitsProducts && vertical.stride == 1 && horizontal.stride == 1 && vertical.repetition == 1
            && horizontal.repetition == 1 && vertical.input > 0 && horizontal.input > 0 && paddingMode == .constant
            && paddingValue == 0 && !means.keepsRows
    }

    /// Becomes the other one of convolution and transposed convolution: the same products in the same order, and zeros where
    /// there are strides.
    mutating func takeCounterpart() {
        func spread(_ axis: Axis) -> Axis {
            Axis(
                input: (axis.input - 1) * axis.stride + 1, kernel: axis.kernel, stride: 1, dilation: axis.dilation,
                output: axis.output, start: (axis.kernel - 1) * axis.dilation - axis.start)
        }
        transposed.toggle()
        takesAdjointKernel = true
        flipKernel.toggle()
        spacing = (vertical.stride, horizontal.stride)
        (vertical, horizontal) = (spread(vertical), spread(horizontal))
    }

    /// Kernel rows of a transposed convolution of single input channels, or of such a one spread, whose products are a chunk of
    /// the sum: as many for all phases, so that their chunks end where those of the whole kernel do. nil where rows are cut, and
    /// for other layers.
    var chunkRows: Int? {
        let steps = transposed ? (rows: vertical.stride, columns: horizontal.stride) : spacing
        guard transposed || isSpread, inChannelsPerGroup == 1, vertical.dilation == 1, horizontal.dilation == 1
        else { return nil }
        let columns = ceilDivide(horizontal.kernel, steps.columns)
        let rows = chunkTerms(ceilDivide(vertical.kernel, steps.rows) * columns) / columns
        return rows == 0 ? nil : transposed ? rows : rows * steps.rows
    }

    var isSpread: Bool { spacing.rows > 1 || spacing.columns > 1 }

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
    /// What output elements outside the image are.
    var extrapolation: Double
    var input: Strides
    var output: Strides
    var threads: Int
    var tier: Tier
    /// The result is added to what its place holds.
    var accumulates: Bool

    var elementBytes: Int { isDouble ? 8 : 4 }
    var elements: ElementType { ElementType(table, bytes: elementBytes) }
    var hasOutput: Bool { batch > 0 && channels > 0 }
}

// MARK: - The two tensors

protocol AxisLengths {
    var input: Int { get }
    var output: Int { get }
}

extension Axis: AxisLengths {}
extension ResamplingAxis: AxisLengths {}

/// What is computed from one tensor to another.
protocol TensorMap {
    associatedtype Lengths: AxisLengths
    var channelsFirst: Bool { get }
    var batch: Int { get }
    var vertical: Lengths { get }
    var horizontal: Lengths { get }
    var inChannels: Int { get }
    var outChannels: Int { get }
    var input: Strides { get }
    var output: Strides { get }
    var elementBytes: Int { get }
}

extension Layer: TensorMap {}
extension Resampling: TensorMap {
    var inChannels: Int { channels }
    var outChannels: Int { channels }
}

extension TensorMap {
    var inputShape: TensorShape {
        TensorShape(batch: batch, rows: vertical.input, columns: horizontal.input, channels: inChannels)
    }
    var outputShape: TensorShape {
        TensorShape(batch: batch, rows: vertical.output, columns: horizontal.output, channels: outChannels)
    }

    var packedInput: Strides { inputShape.packed(channelsFirst: channelsFirst) }
    var packedOutput: Strides { outputShape.packed(channelsFirst: channelsFirst) }

    /// Where the elements of the tensors lie. Validation has found that these numbers exist.
    var inputFootprint: Footprint {
        get throws(Failure) {
            try Footprint(input, "input", inputShape, elementBytes: elementBytes)
        }
    }
    var outputFootprint: Footprint {
        get throws(Failure) {
            try Footprint(output, "output", outputShape, elementBytes: elementBytes)
        }
    }
    var arrays: Arrays { get throws(Failure) { try Arrays(read: inputFootprint, written: outputFootprint) } }
    var gradientArrays: Arrays { get throws(Failure) { try Arrays(read: outputFootprint, written: inputFootprint) } }

    /// What is written to the input's places needs one for each element.
    func checkInputDisjoint() throws(Failure) {
        try checkDisjoint(input, "input_strides", inputShape)
    }
}
