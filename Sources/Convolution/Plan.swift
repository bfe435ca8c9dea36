import CConvolution
import CConvolutionShims
import ConvolutionKernels

/// The outputs of one vertical and one horizontal lattice, cut into items of work.
struct Block {
    var vertical: Lattice
    var horizontal: Lattice
    /// Where this block's packed weights start, in elements.
    var weights: Int
    var bandRows: Int
    var bandColumns: Int
    var rowBands: Int
    var columnBands: Int
    var panelChunks: Int
    var firstItem: Int
    /// Terms of a chunk of the sum and input channels per kernel call: see `ConvolutionKernels/README.md`, "Order of the sum".
    var channelBlock: Int
    var segmentsPerChunk: Int

    var taps: Int { vertical.taps * horizontal.taps }
}

/// A layer with its kernel and bias packed and its work divided. Read-only after creation.
///
/// Packed weights: `[block][group][panel][channel block][tap][channel][lane]`, the lanes of a panel being its output channels, padded
/// with zeros to whole vectors. A tile kernel reads one (panel, channel block) from front to back.
struct ConvolutionPlan {
    var layer: Layer
    var table: KernelTable
    /// Per group: panels, and vectors in all of them.
    var panels: Int
    var vectors: Int
    var blocks: UnsafeMutablePointer<Block>
    var blockCount: Int
    var items: Int
    /// Multiply-adds of one execution.
    var work: Double
    var weights: UnsafeMutableRawPointer
    /// `[group][lane]`, zeros where there is no bias.
    var bias: UnsafeMutableRawPointer
    /// One pixel's channels outside the input.
    var outside: UnsafeMutableRawPointer
    /// `[output row]` and `[output column]`: 1 if some block covers it. Others hold the activated bias alone.
    var coveredRows: UnsafeMutablePointer<UInt8>
    var coveredColumns: UnsafeMutablePointer<UInt8>
    var fullyCovered: Bool
    /// The channels of a pixel are neighbours in memory, so tiles read the caller's input itself; else a rectangle is packed first.
    var readsInputDirectly: Bool
    var workspace: WorkspaceLayout

    var lanes: Int { vectors * table.lanes }

    /// Panel `index` of a group: its first vector and its number of vectors. The vectors are spread evenly, so that 5 become 3 + 2.
    @inline(__always)
    func panel(_ index: Int) -> (first: Int, vectors: Int) {
        let share = vectors / panels
        let larger = vectors % panels
        return (index * share + min(index, larger), share + (index < larger ? 1 : 0))
    }
}

/// One thread's scratch memory, as byte offsets.
struct WorkspaceLayout {
    var runs = 0
    var rowOffsets = 0
    var columnOffsets = 0
    var tile = 0
    var rectangle = 0
    var bytes = 0
}

private func aligned(_ bytes: Int) -> Int { (bytes + 63) & ~63 }

/// Memory for `count` elements of `bytes` each, or a failure. More than the machine has is refused before it is asked for.
func allocate(_ count: Int, of bytes: Int, _ what: StaticString) throws(Failure) -> UnsafeMutableRawPointer {
    let (total, overflow) = count.multipliedReportingOverflow(by: bytes)
    guard !overflow, total >= 0, UInt64(total) <= shim_physical_memory(), let block = shim_allocate(total) else {
        throw Failure(CONVOLUTION_ERROR_OUT_OF_MEMORY, "out of memory: \(what) needs \(count) times \(bytes) bytes")
    }
    return block
}

/// Visits the lattices of one axis. `trim` cuts them further, so that no tap ever meets anything outside the input.
private func forEachLattice(_ axis: Axis, transposed: Bool, trim: Bool, _ body: (Lattice) -> Void) {
    if !transposed {
        if axis.output > 0 { body(.convolution(axis)) }
        return
    }
    if axis.input == 0 { return }
    for first in 0..<Lattice.phaseCount(axis) {
        guard let lattice = Lattice.phase(axis, first: first) else { continue }
        if !trim {
            body(lattice)
            continue
        }
        var q = 0
        while q < lattice.count {
            let (next, part) = lattice.trimmed(from: q, input: axis.input)
            if let part { body(part) }
            q = next
        }
    }
}

/// The terms of a sum are added in chunks of about this many, and the chunks' sums then added up. With n terms of one sign, plain
/// summation errs by up to n/2 roundings; chunks of n^(2/3) terms keep both stages at about n^(1/3).
private func chunkTerms(_ terms: Int) -> Int {
    var side = 1
    while side * side * side < 2 * terms { side += 1 }
    return max(32, terms / side)
}

/// Input indices that `count` outputs from `first` on read, as a range inside the input; empty if none.
func inputRange(_ lattice: Lattice, first: Int, count: Int, input: Int, mode: BorderMode) -> Range<Int> {
    let reach = (lattice.taps - 1) * lattice.offsetStep
    let low = first * lattice.inputStep + lattice.offsetStart + min(reach, 0)
    let high = (first + count - 1) * lattice.inputStep + lattice.offsetStart + max(reach, 0)
    var start = max(low, 0)
    var end = min(high, input - 1)
    switch mode {
    case .constant:
        break
    case .replicate:
        start = min(start, input - 1)
        end = max(end, 0)
    case .reflect, .symmetric:
        // What lies d outside mirrors into at most d inside.
        if low < 0 {
            start = 0
            end = max(end, min(-low, input - 1))
        }
        if high > input - 1 {
            end = input - 1
            start = max(0, min(start, 2 * (input - 1) - high))
        }
    case .circular:
        if low < 0 || high > input - 1 { (start, end) = (0, input - 1) }
    }
    return start <= end ? start..<(end + 1) : 0..<0
}

private let rectangleLimit = 1 << 20

extension Block {
    /// Bytes of the packed rectangle that the largest band needs.
    fileprivate func rectangleBytes(_ layer: Layer) -> Int {
        func longest(_ lattice: Lattice, _ band: Int, _ bands: Int, _ input: Int) -> Int {
            var longest = 0
            for i in 0..<bands {
                let count = min(band, lattice.count - i * band)
                longest = max(longest, inputRange(lattice, first: i * band, count: count, input: input, mode: layer.paddingMode).count)
            }
            return longest
        }
        return longest(vertical, bandRows, rowBands, layer.vertical.input)
            * longest(horizontal, bandColumns, columnBands, layer.horizontal.input)
            * layer.inChannelsPerGroup * (layer.isDouble ? 8 : 4)
    }

    /// Chooses bands and panel chunks: enough items to keep `threads` busy to the end, bands of whole rows where that suffices, and
    /// rectangles within the limit. Any choice gives the same bits.
    fileprivate mutating func divide(_ plan: ConvolutionPlan, blocks: Int, threads: Int) {
        let layer = plan.layer
        (bandRows, bandColumns, panelChunks) = (vertical.count, horizontal.count, 1)
        let wanted = threads == 1 ? 1 : ceilDivide(4 * threads, max(layer.batch * layer.groups * blocks, 1))
        if vertical.count * horizontal.count >= wanted * 64 {
            bandRows = max(1, vertical.count / wanted)
        } else {
            panelChunks = min(plan.panels, wanted)
        }
        func count() {
            rowBands = ceilDivide(vertical.count, bandRows)
            columnBands = ceilDivide(horizontal.count, bandColumns)
        }
        count()
        if !plan.readsInputDirectly {
            while rectangleBytes(layer) > rectangleLimit, bandRows > 1 || bandColumns > 16 {
                if bandRows > 1 { bandRows = (bandRows + 1) / 2 } else { bandColumns = (bandColumns + 1) / 2 }
                count()
            }
        }
    }
}

func createPlan(_ layer: Layer, kernel: UnsafeRawPointer?, bias: UnsafeRawPointer?) throws(Failure) -> UnsafeMutablePointer<ConvolutionPlan> {
    layer.isDouble
        ? try packedPlan(layer, kernel: kernel?.assumingMemoryBound(to: Double.self), bias: bias?.assumingMemoryBound(to: Double.self))
        : try packedPlan(layer, kernel: kernel?.assumingMemoryBound(to: Float.self), bias: bias?.assumingMemoryBound(to: Float.self))
}

private func packedPlan<Scalar: KernelScalar>(
    _ layer: Layer, kernel: UnsafePointer<Scalar>?, bias: UnsafePointer<Scalar>?
) throws(Failure) -> UnsafeMutablePointer<ConvolutionPlan> {
    if kernel == nil, layer.kernelElements > 0 {
        throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "kernel is NULL; it must point to \(layer.kernelElements) elements")
    }
    let table = layer.isDouble ? layer.tier.float64 : layer.tier.float32
    let size = MemoryLayout<Scalar>.stride
    let inputs = layer.inChannelsPerGroup
    let outputs = layer.outChannelsPerGroup

    // Only real products are added in a transposed convolution. Multiplying the zeros outside costs nothing and changes nothing unless
    // the kernel has an infinity or NaN to multiply them with.
    var trim = false
    if layer.transposed, let kernel {
        for i in 0..<layer.kernelElements where !kernel[i].isFinite {
            trim = true
            break
        }
    }

    var rowLattices = 0
    var columnLattices = 0
    forEachLattice(layer.vertical, transposed: layer.transposed, trim: trim) { _ in rowLattices += 1 }
    forEachLattice(layer.horizontal, transposed: layer.transposed, trim: trim) { _ in columnLattices += 1 }
    if outputs == 0 || inputs == 0 { rowLattices = 0 }

    let pieces = try PlanMemory(
        blocks: times(rowLattices, columnLattices, "blocks"), rows: layer.vertical.output, columns: layer.horizontal.output)
    let vectors = ceilDivide(outputs, table.lanes)
    var plan = ConvolutionPlan(
        layer: layer, table: table, panels: ceilDivide(vectors, table.widestTile), vectors: vectors, blocks: pieces.blocks, blockCount: 0,
        items: 0, work: 0, weights: pieces.header, bias: pieces.header, outside: pieces.header, coveredRows: pieces.coveredRows,
        coveredColumns: pieces.coveredColumns, fullyCovered: true, readsInputDirectly: layer.input.channel == 1 || inputs <= 1,
        workspace: WorkspaceLayout())
    let threads = layer.threads == 0 ? Int(shim_processor_count()) : layer.threads

    // Blocks and what they need.
    var weightElements = 0
    var overflow = false
    if rowLattices > 0 {
        forEachLattice(layer.vertical, transposed: layer.transposed, trim: trim) { vertical in
            for q in 0..<vertical.count { plan.coveredRows[vertical.outputStart + q * vertical.outputStep] = 1 }
            forEachLattice(layer.horizontal, transposed: layer.transposed, trim: trim) { horizontal in
                let terms = vertical.taps * horizontal.taps * inputs
                let chunk = chunkTerms(terms)
                let channelBlock = inputs <= chunk + chunk / 2 ? inputs : (chunk + 15) / 16 * 16
                var block = Block(
                    vertical: vertical, horizontal: horizontal, weights: weightElements, bandRows: 0, bandColumns: 0, rowBands: 0,
                    columnBands: 0, panelChunks: 0, firstItem: plan.items, channelBlock: channelBlock,
                    segmentsPerChunk: max(1, chunk / channelBlock))
                block.divide(plan, blocks: rowLattices * columnLattices, threads: threads)
                plan.items += layer.groups * layer.batch * block.rowBands * block.columnBands * block.panelChunks
                plan.work += Double(terms) * Double(vertical.count * horizontal.count) * Double(layer.batch) * Double(layer.outChannels)
                let (more, tooMany) = terms.multipliedReportingOverflow(by: plan.lanes * layer.groups)
                overflow = overflow || tooMany || more > largestLength
                weightElements = overflow ? 0 : weightElements + more
                plan.workspace.include(block, rectangleBytes: plan.readsInputDirectly ? 0 : block.rectangleBytes(layer))
                plan.blocks[plan.blockCount] = block
                plan.blockCount += 1
            }
        }
        forEachLattice(layer.horizontal, transposed: layer.transposed, trim: trim) { horizontal in
            for q in 0..<horizontal.count { plan.coveredColumns[horizontal.outputStart + q * horizontal.outputStep] = 1 }
        }
    }
    for row in 0..<layer.vertical.output where plan.coveredRows[row] == 0 { plan.fullyCovered = false }
    for column in 0..<layer.horizontal.output where plan.coveredColumns[column] == 0 { plan.fullyCovered = false }
    plan.workspace.finish(elementBytes: size)

    do throws(Failure) {
        if overflow { throw Failure(CONVOLUTION_ERROR_OVERFLOW, "the packed kernel exceeds what memory can hold") }
        let biasElements = try times(plan.lanes, layer.groups, "bias")
        let storage = try allocate(weightElements + biasElements + inputs, of: size, "the packed kernel")
        let packed = storage.assumingMemoryBound(to: Scalar.self)
        plan.weights = storage
        plan.bias = UnsafeMutableRawPointer(packed + weightElements)
        plan.outside = UnsafeMutableRawPointer(packed + weightElements + biasElements)
    } catch {
        pieces.free()
        throw error
    }

    if let kernel {
        for i in 0..<plan.blockCount { packWeights(plan, plan.blocks[i], kernel) }
    }
    let packedBias = plan.bias.assumingMemoryBound(to: Scalar.self)
    for group in 0..<layer.groups {
        for lane in 0..<plan.lanes {
            packedBias[group * plan.lanes + lane] = lane < outputs ? bias?[group * outputs + lane] ?? 0 : 0
        }
    }
    let outside = plan.outside.assumingMemoryBound(to: Scalar.self)
    for channel in 0..<inputs { outside[channel] = Scalar(layer.paddingValue) }

    let result = pieces.header.bindMemory(to: ConvolutionPlan.self, capacity: 1)
    result.initialize(to: plan)
    return result
}

/// The plan itself, its blocks and its coverage maps, in one allocation.
private struct PlanMemory {
    var header: UnsafeMutableRawPointer
    var blocks: UnsafeMutablePointer<Block>
    var coveredRows: UnsafeMutablePointer<UInt8>
    var coveredColumns: UnsafeMutablePointer<UInt8>

    init(blocks count: Int, rows: Int, columns: Int) throws(Failure) {
        let blocksAt = aligned(MemoryLayout<ConvolutionPlan>.size)
        let blockBytes = try times(count, MemoryLayout<Block>.stride, "blocks")
        let rowsAt = blocksAt + aligned(blockBytes)
        header = try allocate(rowsAt + rows + columns, of: 1, "the plan")
        blocks = (header + blocksAt).assumingMemoryBound(to: Block.self)
        coveredRows = (header + rowsAt).assumingMemoryBound(to: UInt8.self)
        coveredColumns = coveredRows + rows
        coveredRows.update(repeating: 0, count: rows + columns)
    }

    func free() { shim_free(header) }
}

extension WorkspaceLayout {
    /// Collects sizes first (in the fields that later hold offsets); `finish` turns them into offsets.
    mutating func include(_ block: Block, rectangleBytes: Int) {
        let pointer = MemoryLayout<UnsafeRawPointer>.stride
        runs = max(runs, aligned(block.taps * largestTileRows * pointer))
        rowOffsets = max(rowOffsets, aligned(block.vertical.taps * largestTileRows * pointer))
        columnOffsets = max(columnOffsets, aligned(block.horizontal.taps * largestTileRows * pointer))
        rectangle = max(rectangle, aligned(rectangleBytes))
    }

    mutating func finish(elementBytes: Int) {
        let sizes = self
        runs = 0
        rowOffsets = runs + sizes.runs
        columnOffsets = rowOffsets + sizes.rowOffsets
        tile = columnOffsets + sizes.columnOffsets
        rectangle = tile + aligned(largestTileScalars * elementBytes)
        bytes = rectangle + sizes.rectangle
    }
}

private func packWeights<Scalar>(_ plan: ConvolutionPlan, _ block: Block, _ kernel: UnsafePointer<Scalar>) where Scalar: KernelScalar {
    let layer = plan.layer
    let outputs = layer.outChannelsPerGroup
    let inputs = layer.inChannelsPerGroup
    var target = plan.weights.assumingMemoryBound(to: Scalar.self) + block.weights
    for group in 0..<layer.groups {
        for index in 0..<plan.panels {
            let panel = plan.panel(index)
            let firstChannel = panel.first * plan.table.lanes
            let lanes = panel.vectors * plan.table.lanes
            let real = min(lanes, outputs - firstChannel)
            var firstInput = 0
            while firstInput < inputs {
                let blockEnd = min(firstInput + block.channelBlock, inputs)
                for v in 0..<block.vertical.taps {
                    for h in 0..<block.horizontal.taps {
                        for input in firstInput..<blockEnd {
                            let source = layer.kernelIndex(
                                row: block.vertical.kernelStart + v * block.vertical.kernelStep,
                                column: block.horizontal.kernelStart + h * block.horizontal.kernelStep,
                                input: input, output: firstChannel, group: group)
                            let step = layer.kernelStrides.output
                            for lane in 0..<real { target[lane] = kernel[source + lane * step] }
                            for lane in real..<lanes { target[lane] = 0 }
                            target += lanes
                        }
                    }
                }
                firstInput = blockEnd
            }
        }
    }
}

func destroy(_ plan: UnsafeMutablePointer<ConvolutionPlan>) {
    shim_free(plan.pointee.weights)
    shim_free(plan)
}
