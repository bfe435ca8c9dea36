import CConvolutionShims
import ConvolutionKernels

// A kernel packed as the tile kernels read it, from the order of the caller's array: see `ConvolutionPlan`. Where output channels
// are neighbours in both, they are copied; else up to 16 elements of as many lines as a panel has channels are turned at a time.
// Either way what a line of the caches holds is read once.

/// One packing, shared by its threads.
private struct Packing {
    var plan: UnsafePointer<ConvolutionPlan>
    var kernel: UnsafeRawPointer
    /// Of each thread `[kernel element]`: where the packed weights of its first input channel go. And with Winograd's algorithm
    /// the packed weights of an item, and the transformed ones of an input channel.
    var scratch: UnsafeMutableRawPointer
    var scratchPerThread: Int
    var placesPerThread: Int
    /// Input channels that an item packs, for one panel, and how many such items a panel has.
    var share: Int
    var shares: Int
    var items: Int
    var threads: Int
    var work: Double
    var isNotFinite: Int32 = 0
}

/// An element takes about as long to pack as so many multiply-adds.
let workPerWeight = 32.0

/// Input channels of a panel that stay in the nearest caches before they are transformed, and after.
let winogradShare = 16

/// Packs the kernel as the plan wants it; whether all that is packed is finite, which is not asked of single taps: they never
/// meet what is outside the input.
func packKernel<Scalar: KernelScalar>(
    _ plan: inout ConvolutionPlan, _ kernel: UnsafePointer<Scalar>, elements: Int
) throws(Failure) -> Bool {
    if case .products(let part) = plan.algorithm { return packProductWeights(&plan, part, kernel) }
    let isWinograd = plan.algorithm.isWinograd
    let layer = plan.layer
    guard plan.blockCount > 0, elements > 0 else { return true }
    if plan.stencils, layer.torchKernel, !layer.flipKernel, !layer.transposed {
        // One channel after another, as the caller has them.
        copyElements(kernel, count: elements, to: plan.weights.assumingMemoryBound(to: Scalar.self))
        return areFinite(kernel, count: elements)
    }
    let share = isWinograd ? winogradShare : plan.blocks.pointee.channelBlock
    let shares = ceilDivide(layer.inChannelsPerGroup, share)
    let items = plan.panelCount * shares
    let work = Double(elements) * workPerWeight
    let threads = threadsToUse(requested: layer.threads, items: items, work: work)
    // Beside the places a list of targets, and a line of what no tap uses.
    let widest = largestTileScalars / largestTileSide
    let placesPerThread = layer.placesOfTaps + turnedElements + widest
    let transformed = isWinograd ? (9 * share + (winogradSide + 3) * winogradSide) * widest : 0
    let scratchPerThread = aligned(placesPerThread * 8 + transformed * MemoryLayout<Scalar>.stride)
    return try withUnsafePointer(to: plan) { (plan) throws(Failure) in
        var packing = Packing(
            plan: plan, kernel: UnsafeRawPointer(kernel), scratch: plan.pointee.weights, scratchPerThread: scratchPerThread,
            placesPerThread: placesPerThread, share: share, shares: shares, items: items, threads: threads,
            work: work)
        try withWorkspace(threads, of: scratchPerThread, &packing) { shared, scratch in
            guard let shared, let scratch else { return }
            let packing = shared.assumingMemoryBound(to: Packing.self)
            packing.pointee.scratch = scratch
            runThreads(
                packing.pointee.threads, items: packing.pointee.items, work: packing.pointee.work,
                packing.pointee.plan.pointee.layer.isDouble
                    ? { packItems($0, Double.self) } : { packItems($0, Float.self) },
                shared: shared)
        }
        return packing.isNotFinite == 0
    }
}

private func packItems<Scalar: KernelScalar>(_ raw: UnsafeMutableRawPointer?, _: Scalar.Type) {
    guard let raw else { return }
    let context = raw.assumingMemoryBound(to: ThreadContext.self).pointee
    let packing = context.shared.assumingMemoryBound(to: Packing.self)
    let plan = packing.pointee.plan
    let inputs = plan.pointee.layer.inChannelsPerGroup
    let count = plan.pointee.blockCount
    let memory = packing.pointee.scratch + context.number * packing.pointee.scratchPerThread
    let layer = plan.pointee.layer
    // Made once: a panel of a depthwise layer has little to pack.
    var packer = PanelPacker<Scalar>(
        plan: plan, kernel: packing.pointee.kernel.assumingMemoryBound(to: Scalar.self),
        places: memory.assumingMemoryBound(to: UnsafeMutableRawPointer?.self), panel: plan.pointee.panels[0], layer: layer,
        checks: !plan.pointee.algorithm.isBlocks || !layer.hasSingleTaps, strides: layer.kernelStrides,
        elements: layer.placesOfTaps, blocks: plan.pointee.blocks,
        target: plan.pointee.weights.assumingMemoryBound(to: Scalar.self))
    while let item = context.nextItem() {
        let first = item % packing.pointee.shares * packing.pointee.share
        let range = first..<min(first + packing.pointee.share, inputs)
        packer.panel = plan.pointee.panels[item / packing.pointee.shares]
        if case .winograd(let part) = plan.pointee.algorithm {
            let scratch = (memory + packing.pointee.placesPerThread * 8).assumingMemoryBound(to: Scalar.self)
            for block in 0..<count { packer.packTransformed(plan.pointee.blocks[block], part, range, by: scratch) }
        } else {
            // The phases of a transposed convolution share out the kernel elements; other blocks have all of them each.
            let together = layer.transposed ? count : 1
            for block in stride(from: 0, to: count, by: together) { packer.pack(block..<block + together, inputs: range) }
        }
    }
    if !packer.isFinite { shim_atomic_store(&packing.pointee.isNotFinite, 1) }
}

/// Packs the weights of one panel. Too long to be copied for each piece of one: methods that change nothing are `mutating` too.
private struct PanelPacker<Scalar: KernelScalar> {
    var plan: UnsafePointer<ConvolutionPlan>
    var kernel: UnsafePointer<Scalar>
    /// `[kernel element]`, then `targets` and `unused`.
    var places: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    var panel: Panel
    let layer: Layer
    /// Whether all is finite is asked.
    let checks: Bool
    let strides: (row: Int, column: Int, input: Int, output: Int, group: Int)
    /// `layer.placesOfTaps`.
    let elements: Int
    var blocks: UnsafePointer<Block>
    /// The first block's weights.
    var target: UnsafeMutablePointer<Scalar>
    var isFinite = true

    /// Output channels at equal distances in the caller's kernel.
    private struct Lines {
        var lane: Int
        var offset: Int
        var stride: Int
        var count: Int
    }

    /// Some input channels of blocks that share no kernel element.
    mutating func pack(_ blocks: Range<Int>, inputs: Range<Int>) {
        // Between the ends of all blocks' channel blocks the rows of one tap follow each other.
        var first = inputs.lowerBound
        while first < inputs.upperBound {
            var end = inputs.upperBound
            for index in blocks {
                let length = self.blocks[index].channelBlock
                end = min(end, (first / length + 1) * length)
            }
            packRows(blocks, inputs: first..<end)
            first = end
        }
    }

    @inline(never)
    private mutating func packRows(_ blocks: Range<Int>, inputs: Range<Int>) {
        places.update(repeating: nil, count: elements)
        var used = 0..<0
        for index in blocks {
            let block = self.blocks + index
            let start = inputs.lowerBound - inputs.lowerBound % block.pointee.channelBlock
            let length = min(block.pointee.channelBlock, layer.inChannelsPerGroup - start)
            let rows = target + block.pointee.weights
                + (panel.offset * layer.inChannelsPerGroup + start * panel.width) * block.pointee.taps
                + (inputs.lowerBound - start) * panel.width
            let step = length * panel.width
            if block.pointee.vertical.sums != nil || block.pointee.horizontal.sums != nil {
                packSums(block, inputs, to: rows, step: step)
            } else {
                let taken = placeTaps(of: block, plan, rows, step: step * MemoryLayout<Scalar>.stride, places)
                used = used.isEmpty ? taken : min(used.lowerBound, taken.lowerBound)..<max(used.upperBound, taken.upperBound)
            }
            if panel.channels < panel.width {
                for tap in 0..<block.pointee.taps {
                    let rows = rows + tap * step + panel.channels
                    for row in 0..<inputs.count {
                        (rows + row * panel.width).update(repeating: 0, count: panel.width - panel.channels)
                    }
                }
            }
        }
        if used.isEmpty { return }
        let (low, high) = (used.lowerBound, used.upperBound)
        var lane = 0
        while lane < panel.channels {
            let lines = lines(from: lane)
            let source = kernel + lines.offset + inputs.lowerBound * strides.input
            if lines.stride == 1 || strides.input == 1 {
                for place in low..<high {
                    guard let rows = places[place] else { continue }
                    let element = layer.torchKernel
                        ? place : place / layer.horizontal.kernel * strides.row + place % layer.horizontal.kernel * strides.column
                    let target = rows.assumingMemoryBound(to: Scalar.self) + lane
                    if lines.stride == 1 {
                        copy(source + element, inputs.count, lines, to: target)
                    } else {
                        layer.elements.turn(
                            source + element, lines: lines.count, count: inputs.count, sourceLine: lines.stride, to: target,
                            targetLine: panel.width)
                    }
                }
            } else if strides.input == elements, high - low == elements {
                turn(source, inputs.count * elements, of: 0..<elements, lines, row: 0)
            } else {
                for row in 0..<inputs.count {
                    turn(source + row * strides.input + low, high - low, of: low..<high, lines, row: row)
                }
            }
            lane += lines.count
        }
        for place in low..<high where checks {
            if let rows = places[place] { check(rows.assumingMemoryBound(to: Scalar.self), count: inputs.count * panel.width) }
        }
    }

    /// Some input channels for Winograd's algorithm, packed, then transformed: `[point][input channel][output channel]`, or, for
    /// `accumulatePointRow`, `[row of points][input channel][part][output channel]`.
    mutating func packTransformed(
        _ block: Block, _ part: Winograd, _ inputs: Range<Int>, by scratch: UnsafeMutablePointer<Scalar>
    ) {
        let count = inputs.count * panel.width
        let step = layer.inChannelsPerGroup * panel.width
        let own = target
        let result = own + block.weights + panel.offset * layer.inChannelsPerGroup * part.packedPoints
            + inputs.lowerBound * panel.width * (part.keepsParts ? 3 : 1)
        var block = block
        block.weights = -(panel.offset * layer.inChannelsPerGroup + inputs.lowerBound * panel.width) * block.taps
        target = scratch
        withUnsafePointer(to: block) { block in
            blocks = block
            packRows(0..<1, inputs: inputs)
        }
        target = own
        // Points may lie a power of two apart, in one set of the caches: whole lines of each are copied.
        let points = scratch + count * 9
        for row in 0..<inputs.count {
            transformWinogradWeights(
                scratch + row * panel.width, panel.width, pitch: count, side: part.side, rowTaps: block.vertical.taps,
                columnTaps: block.horizontal.taps, to: points)
            check(points, count: part.points * panel.width)
            if part.keepsParts {
                for line in 0..<part.side {
                    copyElements(
                        points + (part.points + line * 3) * panel.width, count: 3 * panel.width,
                        to: result + 3 * (line * step + row * panel.width))
                }
                continue
            }
            for point in 0..<part.points {
                copyElements(points + point * panel.width, count: panel.width, to: result + (point * step + row * panel.width))
            }
        }
    }

    @inline(never)
    private mutating func lines(from lane: Int) -> Lines {
        let outputs = layer.outChannelsPerGroup
        let channel = panel.firstChannel + lane
        let rest = panel.channels - lane
        if plan.pointee.strategy == .lanes || panel.groups > 1 {
            // Of a single group the lanes are pixels.
            let (group, output) = (channel / outputs % layer.groups, channel % outputs)
            let offset = group * strides.group + output * strides.output
            if outputs == 1 { return Lines(lane: lane, offset: offset, stride: strides.group, count: rest) }
            let isEven = strides.group == outputs * strides.output && layer.groups > 1
            return Lines(lane: lane, offset: offset, stride: strides.output, count: isEven ? rest : min(rest, outputs - output))
        }
        let (offset, count) = layer.kernelChannel(channel - panel.group * outputs)
        return Lines(lane: lane, offset: panel.group * strides.group + offset, stride: strides.output, count: min(rest, count))
    }

    @inline(never)
    private mutating func check(_ packed: UnsafePointer<Scalar>, count: Int) {
        if !areFinite(packed, count: count) { isFinite = false }
    }

    /// Rows of neighbouring output channels.
    @inline(never)
    private mutating func copy(
        _ source: UnsafePointer<Scalar>, _ count: Int, _ lines: Lines, to target: UnsafeMutablePointer<Scalar>
    ) {
        let stride = strides.input
        if stride == panel.width, lines.count == panel.width {
            copyLine(source, count: count * stride, to: target)
            return
        }
        for row in 0..<count { copyLine(source + row * stride, count: lines.count, to: target + row * panel.width) }
    }

    /// `count` neighbouring elements of each line: those in `range` of input channel number `row`, of the next, and so on.
    @inline(never)
    private mutating func turn(_ source: UnsafePointer<Scalar>, _ count: Int, of range: Range<Int>, _ lines: Lines, row: Int) {
        let targets = UnsafeMutableRawPointer(places + elements)
            .assumingMemoryBound(to: UnsafeMutablePointer<Scalar>.self)
        let unused = UnsafeMutableRawPointer(targets + turnedElements).assumingMemoryBound(to: Scalar.self)
        var place = range.lowerBound
        var offset = row * panel.width + lines.lane
        var first = 0
        while first < count {
            let length = min(turnedElements, count - first)
            var isUsed = false
            for i in 0..<length {
                if let rows = places[place] {
                    targets[i] = rows.assumingMemoryBound(to: Scalar.self) + offset
                    isUsed = true
                } else {
                    targets[i] = unused
                }
                place += 1
                if place == range.upperBound {
                    place = range.lowerBound
                    offset += panel.width
                }
            }
            if isUsed { turnElements(source + first, lines: lines.count, sourceLine: lines.stride, count: length, to: targets) }
            first += length
        }
    }

    /// Taps that stand for several kernel elements each, `step` from one to the next.
    @inline(never)
    private mutating func packSums(
        _ block: UnsafePointer<Block>, _ inputs: Range<Int>, to target: UnsafeMutablePointer<Scalar>, step: Int
    ) {
        let (vertical, horizontal) = (block.pointee.vertical, block.pointee.horizontal)
        var rows = target
        for v in 0..<vertical.taps {
            for h in 0..<horizontal.taps {
                packSum(
                    Tap(layer, rows: vertical.kernelElements(v), columns: horizontal.kernelElements(h)), inputs, to: rows)
                rows += step
            }
        }
    }

    /// One of them.
    @inline(never)
    private mutating func packSum(_ tap: Tap, _ inputs: Range<Int>, to rows: UnsafeMutablePointer<Scalar>) {
        var lane = 0
        while lane < panel.channels {
            let lines = lines(from: lane)
            for row in 0..<inputs.count {
                let first = kernel + tap.offset + lines.offset + (inputs.lowerBound + row) * strides.input
                for line in 0..<lines.count {
                    let weight: Scalar = tap.weight(first + line * lines.stride)
                    if !weight.isFinite { isFinite = false }
                    rows[row * panel.width + lane + line] = weight
                }
            }
            lane += lines.count
        }
    }
}

/// Notes where the rows of each of a block's taps begin, `step` bytes from one to the next, by the places of their kernel
/// elements (`Layer.placesOfTaps`), and returns the range of these.
@inline(never)
private func placeTaps(
    of block: UnsafePointer<Block>, _ plan: UnsafePointer<ConvolutionPlan>, _ first: UnsafeMutableRawPointer, step: Int,
    _ places: UnsafeMutablePointer<UnsafeMutableRawPointer?>
) -> Range<Int> {
    let (vertical, horizontal) = (block.pointee.vertical, block.pointee.horizontal)
    var (low, high) = (Int.max, 0)
    var rows = first
    for v in 0..<vertical.taps {
        for h in 0..<horizontal.taps {
            let place = plan.pointee.layer.place(
                row: vertical.kernelStart + v * vertical.kernelStep, column: horizontal.kernelStart + h * horizontal.kernelStep)
            places[place] = rows
            (low, high) = (min(low, place), max(high, place + 1))
            rows += step
        }
    }
    return low < high ? low..<high : 0..<0
}

extension Layer {
    /// Places that `place` tells apart.
    fileprivate var placesOfTaps: Int { vertical.kernel * horizontal.kernel * (torchKernel ? columnsPerPixel : 1) }

    /// Which of an input channel's kernel elements this is, in the order of the caller's array; where they are neighbours there,
    /// their distance from the first.
    fileprivate func place(row: Int, column: Int) -> Int {
        let a = flipKernel ? vertical.kernel - 1 - row : row
        let b = flipKernel ? horizontal.kernel - 1 - column : column
        return torchKernel ? a * kernelStrides.row + b * kernelStrides.column : a * horizontal.kernel + b
    }
}

/// The kernel elements that one tap of a block stands for.
private struct Tap {
    var rows: Int
    var columns: Int
    /// In the caller's kernel: of the first of them, and from row to row and column to column.
    var offset: Int
    var rowStep: Int
    var columnStep: Int

    init(_ layer: Layer, rows: Range<Int>, columns: Range<Int>) {
        self.rows = rows.count
        self.columns = columns.count
        offset = layer.kernelIndex(row: rows.lowerBound, column: columns.lowerBound, input: 0, output: 0, group: 0)
        let strides = layer.kernelStrides
        rowStep = layer.flipKernel ? -strides.row : strides.row
        columnStep = layer.flipKernel ? -strides.column : strides.column
    }

    /// Their sum for one pair of channels, whose first element is `first`; compensated, so that doubles too are rounded once.
    @inline(__always)
    func weight<Scalar: KernelScalar>(_ first: UnsafePointer<Scalar>) -> Scalar {
        if rows == 1, columns == 1 { return first[0] }
        var sum = CompensatedSum<Double>()
        for row in 0..<rows {
            for column in 0..<columns { sum.add(Double(first[row * rowStep + column * columnStep])) }
        }
        return Scalar(sum.value)
    }
}
