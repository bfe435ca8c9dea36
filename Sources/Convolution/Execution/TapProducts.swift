import CConvolutionShims
import ConvolutionKernels

// Transposed convolutions of few output channels: the products of each input pixel with each kernel element, summed over the
// input channels, as one matrix product; then each output element is the sum of the products that fall on it. The kernels:
// "Products first" in `ConvolutionKernels/PATHS.md`; the order of the sum: in the README there.

/// What a plan for products first has in addition to its blocks, whose packed weights it replaces by its own:
/// `[group][part][input channel][output channel of the part, kernel row, kernel column]`, padded to `weightPitch`.
struct TapProducts {
    /// Input channels whose products form one chain of multiply-adds.
    var channelBlock: Int
    /// Places of the lattices, in both axes, and where the taps of place 0 read.
    var rows: Int
    var columns: Int
    var rowReach: ClosedRange<Int>
    var columnReach: ClosedRange<Int>
    /// An item: places of one image, and output channels of a group.
    var bandRows: Int
    var bandColumns: Int
    var partChannels: Int
    /// Input rows whose products are computed together, and how many such stripes are kept.
    var stripeRows: Int
    /// Kernel elements.
    var taps: Int
    var kernelColumns: Int
    /// Elements from channel to channel of a packed stripe, and from kernel element to kernel element of its products.
    var pitch = 0
    var weightPitch = 0
    /// An infinity or NaN would leave something in the products of the zeros beside the rows.
    var clearsOutside = false
    /// One thread's scratch memory, as byte offsets.
    var packed = 0
    var products = 0
    var sums = 0
    var sources = 0
    var targets = 0
    var widths = 0

    var rowBands: Int { ceilDivide(rows, bandRows) }
    var columnBands: Int { ceilDivide(columns, bandColumns) }
    var slots: Int { 1 + ceilDivide(rowReach.upperBound - rowReach.lowerBound, stripeRows) }
    /// Columns of a packed row.
    var width: Int { bandColumns + columnReach.upperBound - columnReach.lowerBound }
    /// Rows of products that the kernels write for a part, which may be more than there are.
    var productRows: Int { partChannels * taps + largestTileSide }

    /// Places the scratch memory; its bytes.
    mutating func layOut(lanes: Int, elementBytes size: Int) -> Int {
        // An odd number of cache lines from channel to channel: else a tile's lines would crowd into a few sets of the cache.
        pitch = (ceilDivide(ceilDivide(stripeRows * width, lanes) * lanes * size, 64) | 1) * 64 / size
        weightPitch = (ceilDivide(productRows * size, 64) | 1) * 64 / size
        var bytes = 0
        func place(_ length: Int) -> Int {
            defer { bytes += aligned(length) }
            return bytes
        }
        let pointer = MemoryLayout<UnsafeRawPointer>.stride
        let vectors = ceilDivide(bandColumns, lanes)
        packed = place(channelBlock * pitch * size)
        // The last vectors of a row may read beyond it.
        products = place((slots * productRows * pitch + lanes) * size)
        sums = place(max(partChannels * vectors * lanes, largestTileScalars) * size)
        sources = place(taps * pointer)
        targets = place(vectors * pointer)
        widths = place(vectors * pointer)
        return bytes
    }
}

/// A stripe with its products stays in a level-2 cache. Of fewer pixels than this the last vectors are too large a part.
private let stripeBytes = 1 << 19
private let fewestPixels = 96

/// More output channels fill vectors of their own; fewer input channels are soon added up. (And groups that are whole vectors are
/// permuted: a group's products leave most of a pixel's line unused.)
private let mostOutputs = 8
private let fewestInputs = 8
/// Of an image's output channel without strides; fewer take less time than an item's beginning.
private let fewestTerms = 2048.0

extension Layer {
    /// Whether products may come first if the layer is, or becomes, a transposed one.
    var suitsProducts: Bool {
        // A single tap's products are the sums.
        let elements = vertical.kernel * horizontal.kernel
        guard outChannelsPerGroup <= mostOutputs, inChannelsPerGroup >= fewestInputs, elements > 1, hasOutput
        else { return false }
        if vertical.stride > 1 || horizontal.stride > 1 { return true }
        // Without strides it is a convolution as well, which needs no second pass, and takes small images of a batch together.
        let pixels = Double(vertical.output) * Double(horizontal.output)
        return pixels * Double(elements * inChannelsPerGroup) >= fewestTerms
            && (outChannelsPerGroup <= 2
                || 2 * elements * outChannelsPerGroup <= (elements <= 9 ? 5 : 3) * inChannelsPerGroup)
    }

    /// Whether products come first: a property of the layer alone, as the bits depend on it. nil, or the channels of a chain.
    func productChain() -> Int? {
        guard transposed, suitsProducts, vertical.fitsProducts, horizontal.fitsProducts, !permutesWhole else { return nil }
        // As long as the phase with the fewest terms permits; that with most must keep the bound as well.
        let inputs = inChannelsPerGroup
        let few = max(1, vertical.kernel / vertical.stride) * max(1, horizontal.kernel / horizontal.stride)
        let rows = ceilDivide(vertical.kernel, vertical.stride)
        let columns = ceilDivide(horizontal.kernel, horizontal.stride)
        let chain = chunkTerms(few * inputs)
        let blocks = ceilDivide(inputs, chain)
        let length = ceilDivide(inputs, blocks)
        // As in `chunkTerms`, for the chains, a kernel element's chains, a kernel row's elements, and the rows.
        let error = Double(length * length) / Double(rows * columns * inputs) + Double(blocks) / Double(rows * columns)
            + Double(columns - 1) / Double(rows) + Double(rows - 1)
        return error <= 34 ? length : nil
    }
}

extension Axis {
    /// Not so many zeros beside the input that multiplying them would cost more than is gained; no numbers that overflow.
    var fitsProducts: Bool {
        stride <= 16 && dilation <= 16 && kernel <= 64 && (kernel - 1) * dilation <= 2 * input + 64
            && output <= (input + kernel) * stride
    }
}

extension ConvolutionPlan {
    /// Divides the work of a plan whose blocks are there, and says how many elements the packed weights have. `economy` as for
    /// `draft`.
    mutating func divideProducts(chain: Int, threads: Int, economy: Int) throws(Failure) -> Int {
        let size = layer.elementBytes
        var (rows, columns) = (0, 0)
        var (top, bottom, left, right) = (Int.max, Int.min, Int.max, Int.min)
        for i in 0..<blockCount {
            let (vertical, horizontal) = (blocks[i].vertical, blocks[i].horizontal)
            rows = max(rows, vertical.count)
            columns = max(columns, horizontal.count)
            let (downReach, acrossReach) = ((vertical.taps - 1) * vertical.offsetStep,
                (horizontal.taps - 1) * horizontal.offsetStep)
            top = min(top, vertical.offsetStart + min(downReach, 0))
            bottom = max(bottom, vertical.offsetStart + max(downReach, 0))
            left = min(left, horizontal.offsetStart + min(acrossReach, 0))
            right = max(right, horizontal.offsetStart + max(acrossReach, 0))
        }
        var part = TapProducts(
            channelBlock: chain, rows: rows, columns: columns, rowReach: top...bottom, columnReach: left...right, bandRows: rows,
            bandColumns: columns, partChannels: layer.outChannelsPerGroup, stripeRows: 1,
            taps: layer.vertical.kernel * layer.horizontal.kernel, kernelColumns: layer.horizontal.kernel)

        // As many bands for each thread; the rows around a band are multiplied for its neighbour too, so they should not be
        // small.
        let fewest = threads == 1 ? 1 : ceilDivide(threads, layer.batch * layer.groups)
        let bands = fewest * (threads == 1 ? 1 : max(1, min(4, rows / (fewest * 16 * (bottom - top + 1)))))
        part.bandRows = ceilDivide(rows, bands)

        // From much at a time to little, until a stripe fits; if none does, what takes the least.
        part.stripeRows = max(1, min(rows, 768 / part.width))
        var best = part
        var least = Int.max
        while true {
            let bytes = part.layOut(lanes: table.lanes, elementBytes: size)
            if bytes < least { (best, least) = (part, bytes) }
            if bytes <= stripeBytes >> economy { break }
            // Each part of the channels packs the input anew.
            if part.stripeRows > 1, part.partChannels == 1 || (part.stripeRows - 1) * part.width >= fewestPixels {
                part.stripeRows -= ceilDivide(part.stripeRows, 8)
            } else if part.partChannels > 1 {
                part.partChannels = ceilDivide(part.partChannels, 2)
            } else if part.bandColumns > 4 * table.lanes {
                part.bandColumns = ceilDivide(ceilDivide(part.bandColumns, 2), table.lanes) * table.lanes
            } else {
                part = best
                break
            }
        }
        itemsPerBlock = layer.batch * layer.groups * ceilDivide(layer.outChannelsPerGroup, part.partChannels) * part.rowBands
            * part.columnBands
        workspace = WorkspaceLayout()
        workspace.sums = part.sums
        workspace.bytes = part.layOut(lanes: table.lanes, elementBytes: size)
        algorithm = .products(part)
        let parts = ceilDivide(layer.outChannelsPerGroup, part.partChannels)
        return try times(times(layer.inChannels, parts, "the packed kernel"), part.weightPitch, "the packed kernel")
    }
}

/// Whether all weights are finite.
func packProductWeights<Scalar: KernelScalar>(
    _ plan: inout ConvolutionPlan, _ part: TapProducts, _ kernel: UnsafePointer<Scalar>
) -> Bool {
    let layer = plan.layer
    let strides = layer.kernelStrides
    var target = plan.weights.assumingMemoryBound(to: Scalar.self)
    var isFinite = true
    for group in 0..<layer.groups {
        var first = 0
        while first < layer.outChannelsPerGroup {
            let channels = min(part.partChannels, layer.outChannelsPerGroup - first)
            for input in 0..<layer.inChannelsPerGroup {
                var place = 0
                for channel in first..<first + channels {
                    for row in 0..<layer.vertical.kernel {
                        for column in 0..<layer.horizontal.kernel {
                            let origin = layer.kernelIndex(row: row, column: column, input: 0, output: 0, group: 0)
                            let weight = kernel[origin + group * strides.group + input * strides.input + channel * strides.output]
                            isFinite = isFinite && weight.isFinite
                            target[place] = weight
                            place += 1
                        }
                    }
                }
                (target + place).update(repeating: 0, count: part.weightPitch - place)
                target += part.weightPitch
            }
            first += channels
        }
    }
    var part = part
    part.clearsOutside = !isFinite
    plan.algorithm = .products(part)
    return isFinite
}

/// One item, with its place.
private struct ProductItem<Scalar> {
    var plan: UnsafePointer<ConvolutionPlan>
    var part: TapProducts
    var image: Int
    /// The first output channel, how many, and the input channel that is the group's first.
    var channel: Int
    var channels: Int
    var inputChannel: Int
    var rows: Range<Int>
    var columns: Range<Int>
    /// Input rows that have products for this item.
    var inputRows: Range<Int>
    var weights: UnsafePointer<Scalar>
    var packed: UnsafeMutablePointer<Scalar>
    var products: UnsafeMutablePointer<Scalar>
    var workspace: UnsafeMutableRawPointer

    /// Columns of a packed row, and the input column that is the first.
    var width: Int { columns.count + part.columnReach.upperBound - part.columnReach.lowerBound }
    var firstColumn: Int { columns.lowerBound + part.columnReach.lowerBound }

    /// The products of a stripe.
    func slot(_ stripe: Int) -> UnsafeMutablePointer<Scalar> { products + stripe % part.slots * part.productRows * part.pitch }

    /// The products of kernel element 0 with the pixels of an input row.
    func productRow(_ row: Int) -> UnsafeMutablePointer<Scalar> {
        let place = row - inputRows.lowerBound
        return slot(place / part.stripeRows) + place % part.stripeRows * width
    }
}

func runProducts<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ part: TapProducts, _ item: Int, _ input: UnsafePointer<Scalar>,
    _ output: UnsafeMutablePointer<Scalar>, _ workspace: UnsafeMutableRawPointer
) {
    let layer = plan.pointee.layer
    let parts = ceilDivide(layer.outChannelsPerGroup, part.partChannels)
    var rest = item
    let (channelPart, group) = (rest % parts, rest / parts % layer.groups)
    rest /= parts * layer.groups
    let firstColumn = rest % part.columnBands * part.bandColumns
    rest /= part.columnBands
    let firstRow = rest % part.rowBands * part.bandRows
    let rows = firstRow..<min(firstRow + part.bandRows, part.rows)
    let first = channelPart * part.partChannels
    let top = max(rows.lowerBound + part.rowReach.lowerBound, 0)
    let bottom = min(rows.upperBound + part.rowReach.upperBound, layer.vertical.input)
    let place = ProductItem(
        plan: plan, part: part, image: rest / part.rowBands, channel: group * layer.outChannelsPerGroup + first,
        channels: min(part.partChannels, layer.outChannelsPerGroup - first), inputChannel: group * layer.inChannelsPerGroup,
        rows: rows, columns: firstColumn..<min(firstColumn + part.bandColumns, part.columns), inputRows: top..<max(top, bottom),
        weights: UnsafePointer(plan.pointee.weights.assumingMemoryBound(to: Scalar.self))
            + (group * parts + channelPart) * layer.inChannelsPerGroup * part.weightPitch,
        packed: (workspace + part.packed).assumingMemoryBound(to: Scalar.self),
        products: (workspace + part.products).assumingMemoryBound(to: Scalar.self), workspace: workspace)
    if !place.inputRows.isEmpty { clearBesideRows(place) }
    // Each stripe's products complete some rows of places.
    var done = place.inputRows.lowerBound
    var row = rows.lowerBound
    while row < rows.upperBound {
        if done < place.inputRows.upperBound {
            let next = min(done + part.stripeRows, place.inputRows.upperBound)
            multiplyStripe(place, done..<next, input)
            done = next
        }
        while row < rows.upperBound, done == place.inputRows.upperBound || row + part.rowReach.upperBound < done {
            for i in 0..<plan.pointee.blockCount { addProducts(place, plan.pointee.blocks + i, row, output) }
            row += 1
        }
    }
}

/// products[kernel element][pixel] = sum over the input channels, for the pixels of some rows and the zeros beside them
private func multiplyStripe<Scalar: KernelScalar>(
    _ item: ProductItem<Scalar>, _ rows: Range<Int>, _ input: UnsafePointer<Scalar>
) {
    let part = item.part
    let layer = item.plan.pointee.layer
    let lanes = item.plan.pointee.table.lanes
    let target = item.productRow(rows.lowerBound)
    let vectors = ceilDivide(rows.count * item.width, lanes)
    let count = item.channels * part.taps
    let widest = item.plan.pointee.table.pointee.widestTile
    var channel = 0
    while channel < layer.inChannelsPerGroup {
        let length = min(part.channelBlock, layer.inChannelsPerGroup - channel)
        packStripe(item, rows, item.inputChannel + channel..<item.inputChannel + channel + length, input)
        let weights = item.weights + channel * part.weightPitch
        var v = 0
        while v < vectors {
            let rest = vectors - v
            // Five are three and two.
            let width = rest <= widest ? rest : min(widest, (rest + 1) / 2)
            let kernel = item.plan.pointee.table.pointee.outerTiles[width - 1]
            var row = 0
            while row < count {
                withUnsafePointer(to: UnsafeRawPointer(weights + row)) { left in
                    withUnsafePointer(to: UnsafeRawPointer(item.packed + v * lanes)) { right in
                        let arguments = OuterProductArguments(
                            lefts: left, rights: right, leftOffset: 0, rightOffset: 0, leftPitch: part.weightPitch,
                            rightPitch: part.pitch, segments: 1, length: length, segmentsPerChunk: 1,
                            tile: target + row * part.pitch + v * lanes, tilePitch: part.pitch, continues: channel > 0)
                        withUnsafePointer(to: arguments) { kernel.accumulate($0) }
                    }
                }
                row += kernel.rows
            }
            v += width
        }
        channel += length
    }
    if part.clearsOutside {
        let inside = insideColumns(item)
        for row in 0..<count {
            for i in 0..<rows.count {
                let line = target + row * part.pitch + i * item.width
                line.update(repeating: 0, count: inside.lowerBound)
                (line + inside.upperBound).update(repeating: 0, count: item.width - inside.upperBound)
            }
        }
    }
}

/// The places of a packed row that hold input.
private func insideColumns<Scalar>(_ item: ProductItem<Scalar>) -> Range<Int> {
    let start = min(max(-item.firstColumn, 0), item.width)
    return start..<max(start, min(item.width, item.plan.pointee.layer.horizontal.input - item.firstColumn))
}

/// Channels of some input rows, row after row, between the zeros of `clearBesideRows`.
private func packStripe<Scalar: KernelScalar>(
    _ item: ProductItem<Scalar>, _ rows: Range<Int>, _ channels: Range<Int>, _ input: UnsafePointer<Scalar>
) {
    let layer = item.plan.pointee.layer
    let strides = layer.input
    let inside = insideColumns(item)
    let source = input + item.image * strides.batch + rows.lowerBound * strides.row
        + (item.firstColumn + inside.lowerBound) * strides.column + channels.lowerBound * strides.channel
    layer.elements.packLines(
        from: source, rowStride: strides.row, columnStride: strides.column, channelStride: strides.channel, rows: rows.count,
        columns: inside.count, channels: channels.count, rowPitch: item.width, pitch: item.part.pitch,
        to: item.packed + inside.lowerBound)
}

/// Zeros beside the rows of all stripes of an item, and from the last row on to the end of its last vector. They are written in
/// pieces that may reach into what is packed later.
private func clearBesideRows<Scalar: KernelScalar>(_ item: ProductItem<Scalar>) {
    let inside = insideColumns(item)
    let gap = item.width - inside.count
    let end = item.part.pitch - item.part.stripeRows * item.width
    for channel in 0..<item.part.channelBlock {
        var place = item.packed + channel * item.part.pitch
        clear(place, count: inside.lowerBound)
        place += inside.upperBound
        for _ in 1..<item.part.stripeRows {
            clear(place, count: gap)
            place += item.width
        }
        clear(place, count: item.width - inside.upperBound + end)
    }
}

/// The outputs of one phase at row `row` of its lattice: their products added, finished and stored.
private func addProducts<Scalar: KernelScalar>(
    _ item: ProductItem<Scalar>, _ block: UnsafePointer<Block>, _ row: Int, _ output: UnsafeMutablePointer<Scalar>
) {
    let (vertical, horizontal) = (block.pointee.vertical, block.pointee.horizontal)
    let end = min(item.columns.upperBound, horizontal.count)
    guard row < vertical.count, end > item.columns.lowerBound else { return }
    let part = item.part
    let layer = item.plan.pointee.layer
    let lanes = item.plan.pointee.table.lanes
    let sources = (item.workspace + part.sources).assumingMemoryBound(to: UnsafePointer<Scalar>.self)
    let targets = (item.workspace + part.targets).assumingMemoryBound(to: UnsafeMutablePointer<Scalar>.self)
    let widths = (item.workspace + part.widths).assumingMemoryBound(to: Int.self)
    let sums = (item.workspace + part.sums).assumingMemoryBound(to: Scalar.self)
    var source = sources
    var rows = 0
    for v in 0..<vertical.taps {
        let inputRow = row + vertical.offsetStart + v * vertical.offsetStep
        if inputRow < 0 || inputRow >= layer.vertical.input { continue }
        let line = item.productRow(inputRow) + (vertical.kernelStart + v * vertical.kernelStep) * part.kernelColumns * part.pitch
            + horizontal.offsetStart - part.columnReach.lowerBound
        for h in 0..<horizontal.taps {
            source[0] = UnsafePointer(line + (horizontal.kernelStart + h * horizontal.kernelStep) * part.pitch
                + h * horizontal.offsetStep)
            source += 1
        }
        rows += 1
    }
    let vectors = ceilDivide(end - item.columns.lowerBound, lanes)
    let arguments = ShiftedSumArguments(
        sources: sources, rows: rows, columns: horizontal.taps, channels: item.channels, channelPitch: part.taps * part.pitch,
        vectors: vectors, sums: sums)
    withUnsafePointer(to: arguments) { item.plan.pointee.table.pointee.shiftedSums($0) }

    let columnStep = horizontal.outputStep * layer.output.column
    var target = output + item.image * layer.output.batch + (vertical.outputStart + row * vertical.outputStep) * layer.output.row
        + horizontal.outputStart * layer.output.column + item.columns.lowerBound * columnStep
        + item.channel * layer.output.channel
    for n in 0..<vectors {
        targets[n] = target
        widths[n] = min(lanes, end - item.columns.lowerBound - n * lanes)
        target += lanes * columnStep
    }
    finishColumns(
        item.plan.pointee.table,
        ColumnEpilogueArguments(
            tile: sums, channels: item.channels, tileVectors: vectors, vectors: vectors, outputs: targets, columns: widths,
            bias: UnsafePointer(item.plan.pointee.bias.assumingMemoryBound(to: Scalar.self)) + item.channel,
            channelStride: layer.output.channel, columnStride: columnStep,
            activation: layer.activation.converted(to: Scalar.self), accumulates: layer.means.accumulates))
}
