import CConvolution
import CConvolutionShims
import ConvolutionKernels

// What a plan holds, and how it is made: the layer's work divided, kernel and bias packed.

/// Bytes of a line of the caches.
let cacheLine = 64

/// The outputs of one vertical and one horizontal lattice, cut into items of work.
struct Block {
    var vertical: Lattice
    var horizontal: Lattice
    /// Where this block's packed weights start, in elements.
    var weights: Int
    /// Of the first band, which is as large as any.
    var bandRows: Int
    var bandColumns: Int
    var rowBands: Int
    var columnBands: Int
    /// Bands are even in whole units.
    var rowUnit = 1
    var columnUnit = 1
    var panelChunks: Int
    /// Bands times panel chunks.
    var items: Int
    /// Terms of a chunk of the sum and input channels per kernel call: see `ConvolutionKernels/README.md`, "Order of the sum".
    var channelBlock: Int
    var segmentsPerChunk: Int
    /// Tiles that are worked on together.
    var tilesPerGroup: Int
    /// Strategy `channels`: blocks of input channels that a kernel call takes one after another, as if each were a tap.
    var blocksPerCall = 1
    /// One kernel call makes all of a tile's sum.
    var hasOneCall = true
    /// Stencils: channels that are packed together.
    var planes = 1
    /// Strategy `channels`: a row of taps reads neighbouring channels of neighbouring pixels, and may be one segment.
    var mergesTaps = false
    /// Strategy `channels`: pixels are dense and all of them are read, in the order of the tiles: so those of the first panel
    /// fetch the input of the next group ahead.
    var fetchesInput = false
    /// Else tiles fetch the weights that follow: not where all of them stay in the cache.
    var fetchesWeights = true
    /// Strategies `channels` and `lanes`: tiles take pixels with the same taps inside the input together, as many lie outside.
    var roundsBorder = false
    /// Tiles inside end with the row, if that computes little in vain: all of them then read at the same distances.
    var endsRows = false
    /// Of a bordered copy.
    var shape = TileShape()
    /// What the block's item packs, if there is but one.
    var rectangle = Rectangle()

    var taps: Int { vertical.taps * horizontal.taps }

    /// Of one kernel call.
    var segments: Int { taps &* blocksPerCall }

    /// Elements of a tile's `TileArguments.order`: each segment, and for each chunk their number.
    var orderLength: Int { segments + ceilDivide(segments, segmentsPerChunk) }

    /// Pixels that a segment outside the input reads.
    var outsidePixels: Int { mergesTaps ? horizontal.taps : 1 }

    /// The panels of panel chunk `index`.
    @inline(__always)
    func panels(_ index: Int, of plan: borrowing ConvolutionPlan) -> Range<Int> {
        evenPart(index, of: panelChunks, plan.panelCount)
    }

    @inline(__always)
    func columns(band: Int) -> Range<Int> { evenPart(band, of: columnBands, horizontal.count, unit: columnUnit) }
}

extension TileKernel {
    @inline(__always)
    func reach(_ strategy: Strategy) -> Int { strategy == .columns ? vectors : rows }
}

/// Output channels that one tile kernel computes together.
struct Panel {
    var group: Int
    /// 1, or a group for each of its vectors.
    var groups = 1
    var firstChannel: Int
    var channels: Int
    /// Its place in a list of all packed output channels, padding included, and its length there; of one pixel's last panel the
    /// length without padding, where its weights have no gaps.
    var offset: Int
    var width: Int
    var kernel: TileKernel
    /// For tiles of fewer positions than the kernel's.
    var shortKernel: TileKernel?

    /// Positions of a tile: pixels, or vectors of columns.
    @inline(__always)
    func reach(_ strategy: Strategy) -> Int { kernel.reach(strategy) }

    /// What a tile has for a pixel: whole vectors, which the weights may have fewer of.
    @inline(__always)
    func tileWidth(_ strategy: Strategy, lanes: Int) -> Int { strategy == .columns ? width : kernel.vectors * lanes }

    /// The kernel for a tile of `count` positions.
    @inline(__always)
    func kernel(for count: Int, _ strategy: Strategy) -> TileKernel {
        if let shortKernel, count <= shortKernel.reach(strategy) { return shortKernel }
        return kernel
    }
}

/// How a plan's items are computed.
enum PlanAlgorithm {
    /// One block's bands and panels each.
    case blocks
    case winograd(Winograd)
    /// The blocks are phases of this, and have no weights of their own.
    case products(TapProducts)
    /// The blocks make pixels in scratch memory.
    case turned(Turning)
    /// The block makes planes in scratch memory.
    case expanded(Expansion)

    var isProducts: Bool { if case .products = self { true } else { false } }
    var isWinograd: Bool { if case .winograd = self { true } else { false } }
    var isBlocks: Bool { if case .blocks = self { true } else { false } }
    var isTurned: Bool { if case .turned = self { true } else { false } }
    var isExpanded: Bool { if case .expanded = self { true } else { false } }
}

/// A layer with its kernel and bias packed and its work divided. Read-only after creation.
///
/// Packed weights: `[block][panel][channel block][tap][channel][output channel]`; a panel's output channels are padded with zeros
/// to whole vectors where they are what the vectors hold (but see `Panel.width`). A tile kernel reads one (panel, channel block)
/// from front to back.
///
/// Too long to be copied to a small stack. What is called through a pointer gets a copy nevertheless, unless it is inlined or
/// `mutating`: hence some methods that change nothing are the latter, as long as a plan is drafted.
struct ConvolutionPlan: ~Copyable {
    /// The caller's.
    var arrays: Arrays
    /// As given, or thinned out, laid down, flattened, on pixels, widened.
    var layer: Layer
    /// Input channels of a group.
    var inputs: Int
    var table: UnsafePointer<KernelTable>
    var strategy: Strategy
    /// Strategy `columns` with tiles of vectors that follow each other in one row.
    var isWide: Bool
    /// Strategy `lanes` with tiles of neighbouring pixels of one row, whose taps share the input.
    var walks: Bool
    /// A walk that computes all phases together: there is one block, of `Lattice.pairs`.
    var pairs = false
    /// Strategy `columns` with tiles of four output rows, one channel each.
    var stencils = false
    /// Strategy `lanes` with whole groups in a vector, whose input is permuted instead of packed.
    var permutes = false
    /// `TileArguments.places` of all tiles.
    var places: UnsafeMutableRawPointer?
    /// Each channel's kernel is u times v: its packed weights are u, then v.
    var separates = false
    /// The output is large enough to be written past the caches.
    var streams = false
    /// All panels but the first fetch the lines into the cache that the next group of tiles will write, if it does not write past
    /// it: those of dense pixels.
    var fetchesOutput = false
    /// `walks`: `comesFromMemory`.
    var fetchesWalk = false
    /// Strategy `lanes`, pixels read in place: whole rows in a call (`accumulateSweep`).
    var sweeps = false
    /// Strategy `channels`, one term for each output: whole rows in a call (`multiplyRepeated`).
    var repeats = false
    var panels: UnsafeMutablePointer<Panel>
    var panelCount: Int
    /// Positions of a tile of the panel whose tiles have fewest, and sums of the largest tile.
    var leastReach = largestTileSide
    var tileScalars = 0
    /// Packed output channels, padding included.
    var width: Int
    var blocks: UnsafeMutablePointer<Block>
    var blockCount: Int
    /// Of the block that has most. Items of all blocks take turns.
    var itemsPerBlock: Int
    /// Of one execution, about: in multiply-adds that full vectors of 64 bytes do in the same time.
    var work: Double
    var weights: UnsafeMutableRawPointer
    /// `[width]`, zeros where there is no bias.
    var bias: UnsafeMutableRawPointer
    /// Pixels outside the input, arranged as the kernels read them: one, or for merged taps as many as a row has.
    var outside: UnsafeMutableRawPointer
    /// `[output row]` and `[output column]`: 1 if some block covers it. Others hold the activated bias alone. Empty where all are
    /// covered.
    var coveredRows: UnsafeMutablePointer<UInt8>
    var coveredColumns: UnsafeMutablePointer<UInt8>
    var fullyCovered: Bool
    /// A transposed convolution adds real products only. Multiplying the zeros outside costs nothing and changes nothing, unless
    /// the kernel has an infinity or NaN to multiply them with: then the elements at the border are computed once more, without
    /// them.
    var mendsBorder: Bool
    /// Strategy `channels`, and walks: taps outside the input have nothing but zeros to add, since all weights are finite, and
    /// are left out where a whole tile has them outside.
    var skipsOutside: Bool
    /// The caller's input lies as the kernels read it; else a rectangle of it is packed first.
    var readsInputDirectly: Bool
    /// Strategy `channels`, or shared vectors: no tile meets a border, since what is packed includes it or nothing reads it.
    var borders = false
    /// More than 1: so many neighbouring pixels are groups of one, which share their weights and a vector.
    var pixelsPerVector = 1
    var workspace: WorkspaceLayout
    var algorithm = PlanAlgorithm.blocks

    /// Bands run on from image to image, so that small images share a pass over the weights. What is packed for such a band is
    /// whole images: not large ones.
    var spansImages = false

    /// Output rows that a block's bands divide.
    func rows(_ block: Block) -> Int { block.vertical.count * (spansImages ? layer.batch : 1) }

    @inline(__always)
    func rows(of block: Block, band: Int) -> Range<Int> { evenPart(band, of: block.rowBands, rows(block), unit: block.rowUnit) }

    /// Items of an execution, and threads at most, each with a workspace of its own; of 0 threads asked for, one per core.
    var items = 0
    var mostThreads = 1

    /// Once the work is divided.
    mutating func countItems() {
        items = switch algorithm {
        case .blocks: itemsPerBlock * blockCount
        case .winograd(let part): part.items
        case .products: itemsPerBlock
        case .turned(let part): part.items
        case .expanded(let part): part.items
        }
        if items == 0 { return }
        mostThreads = max(1, min(mostThreadsToUse(items: items, work: work), layer.means.workspaceLimit / workspace.bytes))
        if layer.threads > 0 { mostThreads = min(mostThreads, layer.threads) }
    }

    /// Of a plan that is executed once: what was just packed is in the caches of who packed it, and another thread fetches it
    /// from there in about twice as long as packing it takes.
    mutating func leaveToCaller() {
        let work = work - 2 * Double(layer.kernelElements) * workPerWeight
        mostThreads = min(mostThreads, mostThreadsToUse(items: items, work: work))
    }

    /// Threads of an execution.
    @inline(__always)
    var executionThreads: Int {
        mostThreads == 1 || layer.threads > 0 ? mostThreads : min(mostThreads, Int(shim_processor_count()))
    }

    /// Elements of `outside`, and of `places`.
    mutating func outsideElements() throws(Failure) -> Int {
        if strategy == .lanes {
            return try times(width, inputs, "a pixel") + (permutes ? inputs * table.lanes : 0)
        }
        var pixels = 1
        for i in 0..<blockCount { pixels = max(pixels, blocks[i].outsidePixels) }
        // After the bias, of which one pixel's tile may read a vector more.
        return max(table.lanes, try times(pixels, layer.inChannels, "the pixels of a row of taps"))
    }

    /// The packed weights of a panel.
    @inline(__always)
    func weights(of panel: Int, _ block: UnsafePointer<Block>) -> UnsafeRawPointer {
        UnsafeRawPointer(weights)
            + (block.pointee.weights + panels[panel].offset * block.pointee.taps * inputs) * layer.elementBytes
    }

    /// The block whose items follow those of `block`.
    @inline(__always)
    func after(_ block: UnsafePointer<Block>) -> UnsafePointer<Block> {
        let next = block + 1
        return next < blocks + blockCount ? next : UnsafePointer(blocks)
    }

    /// A panel's vectors are aligned at all pixels, or in all rows, if one is, in `place`.
    @inline(__always)
    func alignsVectors(_ place: UnsafeRawPointer) -> Bool {
        let strides = layer.output
        // Axes of one element have a stride of 1, which is never stepped along. The last vector of a row ends with it.
        let elements = (layer.batch > 1 ? strides.batch : 0) | (layer.vertical.output > 1 ? strides.row : 0)
            | (strategy == .columns ? strides.channel | layer.horizontal.output
                : layer.horizontal.output > 1 ? strides.column : 0)
        // And so are lines, if one panel does not fill what the next goes on with.
        let unit = strategy == .columns || panelCount == 1 ? table.lanes : max(table.lanes, cacheLine / layer.elementBytes)
        return elements % unit == 0 && Int(bitPattern: place) % (unit * layer.elementBytes) == 0
    }

    /// The pixels of a group of tiles become planes together.
    var gathersTiles: Bool { strategy == .channels && layer.output.channel != 1 }

    /// Columns or pixels that one position of a tile stands for.
    var positionColumns: Int { strategy == .columns ? table.lanes : pixelsPerVector }
}

func checkKernel(_ layer: Layer, _ kernel: UnsafeRawPointer?) throws(Failure) {
    if kernel == nil, layer.kernelElements > 0 {
        throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "kernel is NULL; it must point to \(layer.kernelElements) elements")
    }
}

func createPlan(
    _ layer: Layer, kernel: UnsafeRawPointer?, bias: UnsafeRawPointer?
) throws(Failure) -> UnsafeMutablePointer<ConvolutionPlan> {
    layer.isDouble
        ? try packedPlan(layer, kernel: kernel?.assumingMemoryBound(to: Double.self),
        bias: bias?.assumingMemoryBound(to: Double.self))
        : try packedPlan(layer, kernel: kernel?.assumingMemoryBound(to: Float.self),
        bias: bias?.assumingMemoryBound(to: Float.self))
}

/// The layer, with what its execution will copy of the border taken off the workspace's limit: see `borderBefore`.
@inline(never)
private func leavingRoomForBorder(_ layer: Layer, isFinite: () -> Bool) throws(Failure) -> Layer {
    guard layer.transposed, layer.means.accumulates, layer.means.workspaceLimit < Int.max, layer.hasOutput, !isFinite()
    else { return layer }
    let frugal = try draft(layer, economy: mostEconomy)
    defer { shim_free(frugal.plan) }
    if frugal.plan.pointee.algorithm.isProducts || frugal.plan.pointee.algorithm.isWinograd { return layer }
    var pixels = 0
    var places = BorderPixels(frugal.plan)
    while places.next() != nil { pixels += 1 }
    let border = pixels * layer.outChannels * layer.elementBytes
    let least = frugal.plan.pointee.workspace.bytes + border
    if least > layer.means.workspaceLimit {
        throw Failure.workspace(
            layer, "with a kernel that is not finite this accumulating layer needs at least", least)
    }
    var layer = layer
    layer.means.workspaceLimit -= border
    return layer
}

private func packedPlan<Scalar: KernelScalar>(
    _ layer: Layer, kernel: UnsafePointer<Scalar>?, bias: UnsafePointer<Scalar>?
) throws(Failure) -> UnsafeMutablePointer<ConvolutionPlan> {
    try checkKernel(layer, kernel)
    let layer = try leavingRoomForBorder(layer) { kernel.map { areFinite($0, count: layer.kernelElements) } ?? true }
    if layer.means.workspaceLimit < Int.max { try checkLimit(layer, least: leastWorkspace(layer)) }
    let draft = try fastestDraft(layer)
    let (plan, weightElements) = (draft.plan, draft.weightElements)
    if !plan.pointee.fullyCovered { plan.pointee.markCovered() }
    let size = MemoryLayout<Scalar>.stride
    do throws(Failure) {
        let outsideElements = try plan.pointee.outsideElements()
        let storage = try allocate(weightElements + plan.pointee.width + outsideElements, of: size, "the packed kernel")
        let packed = storage.assumingMemoryBound(to: Scalar.self)
        plan.pointee.weights = storage
        plan.pointee.bias = UnsafeMutableRawPointer(packed + weightElements)
        plan.pointee.outside = UnsafeMutableRawPointer(packed + weightElements + plan.pointee.width)
        for i in 0..<outsideElements { packed[weightElements + plan.pointee.width + i] = Scalar(layer.paddingValue) }
        if plan.pointee.permutes { fillPlaces(&plan.pointee, of: size) }
    } catch {
        shim_free(plan)
        throw error
    }

    if let kernel {
        let isFinite: Bool
        do throws(Failure) {
            isFinite = try packKernel(&plan.pointee, kernel, elements: weightElements)
        } catch {
            shim_free(plan.pointee.weights)
            shim_free(plan)
            throw error
        }
        plan.pointee.mendsBorder = layer.transposed && !plan.pointee.algorithm.isProducts && !isFinite
        plan.pointee.skipsOutside = plan.pointee.strategy != .columns && !plan.pointee.permutes && layer.paddingMode == .constant
            && layer.paddingValue == 0 && isFinite
        if !plan.pointee.skipsOutside, meetsBorder(layer) { plan.pointee.sweeps = false }
        let isJoined = plan.pointee.algorithm.isTurned || plan.pointee.algorithm.isExpanded || plan.pointee.pairs
            || plan.pointee.layer.takesAdjointKernel
        if !isFinite, plan.pointee.algorithm.isWinograd || isJoined {
            // With Winograd's algorithm, or zeros in between, an infinity or NaN would reach elements that have no part in it;
            // the default one keeps it where it belongs. And the border is mended in the caller's arrays.
            shim_free(plan.pointee.weights)
            shim_free(plan)
            var layer = layer
            layer.means.permitsWinograd = false
            layer.means.joinsPhases = false
            return try packedPlan(layer, kernel: kernel, bias: bias)
        }
        if plan.pointee.blockCount > 0, maySeparate(layer) {
            let weights = plan.pointee.weights.assumingMemoryBound(to: Scalar.self)
            separateWeights(&plan.pointee, weights)
        }
    }
    let packedBias = plan.pointee.bias.assumingMemoryBound(to: Scalar.self)
    // What leaves every sum as it is, in place of a bias: -0 + 0 would be 0.
    if plan.pointee.algorithm.isWinograd { (packedBias - plan.pointee.width).update(repeating: -0.0, count: plan.pointee.width) }
    packedBias.update(repeating: 0, count: plan.pointee.width)
    for index in 0..<plan.pointee.panelCount {
        let panel = plan.pointee.panels[index]
        guard let bias else { break }
        // No negative zero: a sum of nothing but zeros may have either sign, and becomes a positive zero by the bias.
        for channel in 0..<panel.channels {
            packedBias[panel.offset + channel] = bias[(panel.firstChannel + channel) % layer.outChannels] + 0
        }
    }

    return plan
}

private func fillPlaces(_ plan: inout ConvolutionPlan, of size: Int) {
    let inputs = plan.inputs
    let places = plan.outside + plan.width * inputs * size
    plan.places = places
    for channel in 0..<inputs {
        for lane in 0..<plan.table.lanes {
            let place = places + (channel * plan.table.lanes + lane) * size
            let source = lane - lane % inputs + channel
            if size == 8 { place.storeBytes(of: Int64(source), as: Int64.self) } else {
                place.storeBytes(of: Int32(source), as: Int32.self)
            }
        }
    }
}

extension ConvolutionPlan {
    /// Fills the coverage maps, as long as output rows and columns: not for those who ask for sizes alone.
    fileprivate mutating func markCovered() {
        func mark(_ axis: Axis, _ covered: UnsafeMutablePointer<UInt8>) {
            covered.update(repeating: 0, count: axis.output)
            if blockCount == 0 { return }
            forEachLattice(axis, transposed: layer.transposed) { lattice in
                for q in 0..<lattice.count { covered[lattice.outputStart + q * lattice.outputStep] = 1 }
            }
        }
        mark(layer.vertical, coveredRows)
        mark(layer.horizontal, coveredColumns)
    }
}

/// Replaces each channel's packed kernel by its factors, if all have them. `separate` takes at most 16 rows and columns of 4
/// channels.
private func separateWeights<Scalar: KernelScalar>(_ plan: inout ConvolutionPlan, _ weights: UnsafeMutablePointer<Scalar>) {
    let (rows, columns) = (plan.layer.vertical.kernel, plan.layer.horizontal.kernel)
    var factors = InlineArray<128, Scalar>(repeating: 0)
    let panelCount = plan.panelCount
    var span = factors.mutableSpan
    plan.separates = span.withUnsafeMutableBufferPointer { factors in
        guard let factors = factors.baseAddress else { return false }
        for index in 0..<panelCount {
            if !separate(weights + index * rows * columns, rows: rows, columns: columns,
                into: factors + index * (rows + columns)) { return false }
        }
        for index in 0..<panelCount {
            (weights + index * rows * columns).update(from: factors + index * (rows + columns), count: rows + columns)
        }
        return true
    }
}

func destroy(_ plan: UnsafeMutablePointer<ConvolutionPlan>) {
    shim_free(plan.pointee.weights)
    shim_free(plan)
}
