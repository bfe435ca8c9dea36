import CConvolution
import CConvolutionShims
import ConvolutionKernels

// What a plan holds, and how it is made: the layer's work divided, kernel and bias packed.

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
    /// Its place in a list of all packed output channels, padding included, and its length there.
    var offset: Int
    var width: Int
    var kernel: TileKernel
    /// For tiles of fewer positions than the kernel's.
    var shortKernel: TileKernel?

    /// Positions of a tile: pixels, or vectors of columns.
    @inline(__always)
    func reach(_ strategy: Strategy) -> Int { kernel.reach(strategy) }

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

    var isProducts: Bool { if case .products = self { true } else { false } }
    var isWinograd: Bool { if case .winograd = self { true } else { false } }
    var isTurned: Bool { if case .turned = self { true } else { false } }
}

/// A layer with its kernel and bias packed and its work divided. Read-only after creation.
///
/// Packed weights: `[block][panel][channel block][tap][channel][output channel]`; a panel's output channels are padded with zeros
/// to whole vectors where they are what the vectors hold. A tile kernel reads one (panel, channel block) from front to back.
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
    var panels: UnsafeMutablePointer<Panel>
    var panelCount: Int
    /// Positions of a tile of the panel whose tiles have fewest, and sums of the largest tile.
    var leastReach = largestTileSide
    var tileScalars = 0
    /// Packed output channels, padding included: the sum of all panels' widths.
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
        return try times(pixels, layer.inChannels, "the pixels of a row of taps")
    }

    /// The packed weights of a panel.
    @inline(__always)
    func weights<Scalar>(of panel: Int, _ block: UnsafePointer<Block>) -> UnsafePointer<Scalar> {
        UnsafePointer(weights.assumingMemoryBound(to: Scalar.self)) + block.pointee.weights
            + panels[panel].offset * block.pointee.taps * inputs
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
        return elements % table.lanes == 0 && Int(bitPattern: place) % (table.lanes * layer.elementBytes) == 0
    }

    /// The pixels of a group of tiles become planes together.
    var gathersTiles: Bool { strategy == .channels && layer.output.channel != 1 }

    /// Columns or pixels that one position of a tile stands for.
    var positionColumns: Int { strategy == .columns ? table.lanes : pixelsPerVector }
}

/// One thread's scratch memory, as byte offsets.
struct WorkspaceLayout {
    var tiles = 0
    var runs = 0
    var orders = 0
    var rowOffsets = 0
    var columnOffsets = 0
    var sums = 0
    var lines = 0
    var rectangle = 0
    var bytes = 0
}

/// Up to whole cache lines.
func aligned(_ bytes: Int) -> Int { (bytes + 63) & ~63 }

/// No machine has less; asking for the exact size costs a tenth of a tiny convolution.
private let surelyThere = 1 << 26

private func outOfMemory(_ count: Int, of bytes: Int, _ what: StaticString) -> Failure {
    Failure(CONVOLUTION_ERROR_OUT_OF_MEMORY, "out of memory: \(what) needs \(count) times \(bytes) bytes")
}

/// Refuses more memory than the machine has.
func checkMemory(_ count: Int, of bytes: Int, _ what: StaticString) throws(Failure) {
    let (total, overflow) = count.multipliedReportingOverflow(by: bytes)
    guard !overflow, total >= 0, total <= surelyThere || UInt64(total) <= shim_physical_memory() else {
        throw outOfMemory(count, of: bytes, what)
    }
}

/// Memory for `count` elements of `bytes` each, or a failure. More than the machine has is refused before it is asked for.
func allocate(_ count: Int, of bytes: Int, _ what: StaticString) throws(Failure) -> UnsafeMutableRawPointer {
    try checkMemory(count, of: bytes, what)
    guard let block = shim_allocate(count * bytes) else { throw outOfMemory(count, of: bytes, what) }
    return block
}

/// Calls `body` with `context` and memory for `count` threads of `bytes` each: little is taken from the stack.
@inline(__always)
func withWorkspace(
    _ count: Int, of bytes: Int, _ context: UnsafeMutableRawPointer,
    _ body: @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?) -> Void
) throws(Failure) {
    if count * bytes <= Int(SHIM_STACK_BYTES) { return shim_with_stack(body, context) }
    let memory = try allocate(count, of: bytes, "the workspace")
    body(context, memory)
    shim_free(memory)
}

/// Visits the lattices of one axis.
func forEachLattice(_ axis: Axis, transposed: Bool, _ body: (Lattice) -> Void) {
    let count = !transposed ? min(axis.phases, axis.output) : axis.input > 0 ? Lattice.phaseCount(axis) : 0
    for first in 0..<count {
        if let lattice = lattice(axis, first: first, transposed: transposed) { body(lattice) }
    }
}

/// One copy for all who visit.
@inline(never)
private func lattice(_ axis: Axis, first: Int, transposed: Bool) -> Lattice? {
    transposed ? .phase(axis, first: first) : .convolution(axis, first: first)
}

extension Layer {
    /// Every output element has taps, though perhaps none inside the input. (No output row or column is in two lattices.)
    fileprivate var coversOutput: Bool {
        func covers(_ axis: Axis) -> Bool {
            var outputs = 0
            forEachLattice(axis, transposed: transposed) { outputs += $0.count }
            return outputs == axis.output
        }
        return covers(vertical) && covers(horizontal)
    }

    /// Whether vectors of channels are fewer than in the layer it was made from.
    fileprivate func savesVectors(_ given: Layer, _ lanes: Int) -> Bool {
        ceilDivide(outChannels, lanes) < ceilDivide(given.outChannels, lanes) * columnsPerPixel
    }
}

/// The terms of a sum are added in chunks of this many, and the chunks' sums then added up. Where roundings are independent,
/// plain summation of n terms of one sign errs by about 0.24 * sqrt(n) of them (root mean square), chunks of c terms by
/// 0.24 * sqrt(c^2/n + n/c). This is the longest chunk that keeps the root below 1.4, so that one element in a hundred million
/// (5.7 times as much) comes near 8; if none does, the best. For data as it may be, each stage errs by at most its length: c +
/// n/c.
func chunkTerms(_ terms: Int) -> Int {
    var best = 16
    var bestError = Double.infinity
    let n = Double(max(terms, 1))
    var chunk = 16
    while chunk < terms + 16, chunk <= 4096 {
        let c = Double(min(chunk, terms))
        let error = c * c / n + n / c
        // The error falls, then rises.
        guard error <= 34 || error < bestError else { break }
        (best, bestError) = (chunk, min(error, bestError))
        chunk += 16
    }
    return best
}

/// The part of a block's taps, over all its outputs, that lies outside the input.
private func outsidePart(_ block: Block, _ layer: Layer) -> Double {
    func inside(_ lattice: Lattice, _ input: Int) -> Double {
        var taps = 0.0
        for tap in 0..<lattice.taps {
            // Outputs q with 0 <= q * inputStep + offset < input.
            let offset = lattice.offsetStart + tap * lattice.offsetStep
            let first = max(0, ceilDivide(-offset, lattice.inputStep))
            taps += Double(max(0, min(lattice.count, ceilDivide(input - offset, lattice.inputStep)) - first))
        }
        return taps / (Double(lattice.taps) * Double(lattice.count))
    }
    return 1 - inside(block.vertical, layer.vertical.input) * inside(block.horizontal, layer.horizontal.input)
}

/// Multiply-adds of a full vector, as threads are worth.
private let workOfVector = 16.0

/// Less is not worth tiles that jump.
private let worthwhilePart = 0.03

/// To find one of the parts in which pixels have the same taps inside takes so many multiply-adds.
private let partStart = 500.0
/// Of fewer positions lanes are not gone round.
private let fewPositions = 40

/// Rows (of one panel's weights) that a channel block may have, and bytes that a group's addresses may take: a level-2 cache
/// holds both, with a panel four vectors of 64 bytes wide, beside the inputs.
private let weightRows = 640
private let addressBytes = 1 << 17

/// Terms of the tiles of a group, at least: beginning a group takes as long as some dozens.
private let groupTerms = 2048

/// A panel's weights of so many vectors stay in a level-1 cache, so that all of a tile's sum is made at once; more are read in
/// several passes.
private let vectorsPerCall = 512

/// Of more, the planes that a tile of columns reads lie in too many pages: 512 -> 6 at 32x32 61 -> 76 us.
private let channelsPerCall = 256

/// Planes of this many bytes are fetched ahead; of fewer, most are in a level-2 cache.
private let fetchedPlaneBytes = 2 << 20

/// Of them a group's columns, which it keeps from panel to panel, or from when they are fetched.
private let planeGroupBytes = 3 << 17

/// A level-2 cache keeps this much from panel to panel: what a group reads, a panel's weights, its sums.
private let groupBytes = Double(1 << 20)

/// Weights of this many bytes stay in a level-2 cache from group to group.
private let cachedWeightBytes = 1 << 19

/// Outputs of this many bytes, and more, are written past the caches, where whole aligned vectors are: their lines need not be
/// read first. But the next layer finds them in memory alone, so that it does not pay before the last cache holds input and
/// output no longer. With one of 32 MiB, a depthwise layer that reads the one before, each written to the caches -> past them, on
/// one thread and on two: 9.4 MB 0.8 -> 1.7, 0.23 -> 0.80 ms; 14.7 MB 2.4 -> 2.6, 0.9 -> 1.3; 21 MB 3.9 -> 3.9, 1.9 -> 2.0;
/// reading the same input in each call, 21 MB 3.8 -> 3.8, 1.3 -> 0.4, 38 MB 8.6 -> 7.2, 4.4 -> 2.9.
private let streamedBytes = 16 << 20

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

/// A plan with its work divided, but without weights yet.
struct Draft {
    /// In its own memory from the first: it is too long to be handed about on a small stack.
    var plan: UnsafeMutablePointer<ConvolutionPlan>
    /// Of the plan with its panels, blocks and coverage maps.
    var bytes: Int
    var weightElements = 0
    /// More than memory can hold.
    var overflows = false
    /// That the work is divided for: fewer than asked for where fewer will execute it.
    var threads = 1
    /// See `mostEconomy`.
    var economy = 0
    /// Of the blocks that are to be added.
    var rowLattices = 0
    var columnLattices = 0
    /// Dense pixels, all of which are read.
    var areDense = false
}

/// The division of work that needs the most memory is the fastest; each step of economy halves what a thread holds at a time,
/// down to single tiles and rows. None changes a bit of the result.
private let mostEconomy = 12

/// A limit below the least is refused even where a number of threads happens to divide the work so that less would do.
private func checkLimit(_ layer: Layer, least: Int) throws(Failure) {
    if least > layer.means.workspaceLimit { throw Failure.workspace(layer, "this layer needs at least", least) }
}

/// The fastest draft whose workspace, for one thread, stays within the layer's limit, which has been checked.
private func fastestDraft(_ layer: Layer) throws(Failure) -> Draft {
    var economy = 0
    while true {
        let draft = try draft(layer, economy: economy)
        if economy == mostEconomy || draft.plan.pointee.workspace.bytes <= layer.means.workspaceLimit {
            draft.plan.pointee.countItems()
            return draft
        }
        shim_free(draft.plan)
        economy += 1
    }
}

/// The least workspace that a layer can be computed with, by any number of threads.
func leastWorkspace(_ layer: Layer) throws(Failure) -> Int {
    if !layer.hasOutput { return 0 }
    let frugal = try draft(layer, economy: mostEconomy)
    defer { shim_free(frugal.plan) }
    return frugal.plan.pointee.workspace.bytes
}

/// What `..._workspace_size` says: bytes.
struct WorkspaceNeed {
    var plan = 0
    var execution = 0
    var least = 0
    /// Multiply-adds of one execution.
    var work = 0.0
}

func workspaceSize(_ layer: Layer) throws(Failure) -> WorkspaceNeed {
    guard layer.hasOutput else { return WorkspaceNeed() }
    let least = try leastWorkspace(layer)
    try checkLimit(layer, least: least)
    let draft = try fastestDraft(layer)
    defer { shim_free(draft.plan) }
    let plan = draft.plan
    let packed = try times(
        draft.weightElements + plan.pointee.width + plan.pointee.outsideElements(), layer.elementBytes, "the packed kernel")
    return WorkspaceNeed(
        plan: draft.bytes + packed, execution: plan.pointee.executionThreads * plan.pointee.workspace.bytes, least: least,
        work: plan.pointee.work)
}

private func draft(_ asked: Layer, economy: Int) throws(Failure) -> Draft {
    // Before it is divided into panels, which may be too many to make a list of.
    if asked.hasOutput { try checkMemory(asked.kernelElements, of: asked.elementBytes, "the packed kernel") }
    var given = asked
    // What the most frugal draft needs is the same for any number of threads.
    if economy == mostEconomy { given.threads = 1 }
    if let side = given.winogradTile { return try winogradDraft(given, side: side, economy: economy) }
    given.thinOut()
    given.layDown()
    let chain = given.productChain()
    var drawn = given
    drawn.flatten()
    if chain == nil, economy == 0 { drawn.joinRows() }
    // Of a layer that is computed on pixels.
    var turned: Strategy?
    if chain == nil, economy == 0, given.mayTurn {
        let strategy = chooseStrategy(drawn, given.table).strategy
        if strategy == .channels || strategy == .lanes && given.mayTurnLanes(given.table) { turned = strategy }
    }
    if turned != nil {
        drawn = given
        try drawn.putOnPixels()
    }
    if chain == nil { drawn.widen(turns: turned != nil) }
    var draft = try Draft(asked.arrays, drawn, turned: turned, chain: chain, economy: economy)
    let plan = draft.plan
    do throws(Failure) {
        draft.addBlocks()
        if draft.overflows { throw Failure(CONVOLUTION_ERROR_OVERFLOW, "the packed kernel exceeds what memory can hold") }
        if let chain, plan.pointee.blockCount > 0 {
            draft.weightElements = try plan.pointee.divideProducts(chain: chain, threads: draft.threads, economy: economy)
        }
        if turned == nil { return draft }
        if try plan.pointee.divideTurned(given, threads: draft.threads) { return draft }
    } catch {
        shim_free(plan)
        throw error
    }
    shim_free(plan)
    given = asked
    given.means.joinsPhases = false
    return try Convolution.draft(given, economy: economy)
}

extension Layer {
    /// Joined, if that takes less time.
    @inline(never)
    fileprivate mutating func joinRows() {
        guard let joined, takesPlanes(joined, table) else { return }
        let (strategy, work) = chooseStrategy(joined, table)
        if strategy == .columns, work < chooseStrategy(self, table).work { self = joined }
    }

    /// Widened, if that takes less time.
    @inline(never)
    fileprivate mutating func widen(turns: Bool) {
        if let widened, turns ? widened.savesVectors(self, table.lanes) : chooseStrategy(widened, table).strategy == .channels {
            self = widened
        }
    }
}

extension Draft {
    /// Without blocks yet.
    @inline(never)
    fileprivate init(_ arrays: Arrays, _ layer: Layer, turned: Strategy?, chain: Int?, economy: Int) throws(Failure) {
        let table = layer.table
        let inputs = layer.inChannelsPerGroup
        // No blocks where there is nothing to add up or nothing to store; then no size of theirs is multiplied either.
        let hasOutput = layer.hasOutput
        var (rowLattices, columnLattices) = (0, 0)
        if hasOutput, inputs > 0 {
            forEachLattice(layer.vertical, transposed: layer.transposed) { _ in rowLattices += 1 }
            forEachLattice(layer.horizontal, transposed: layer.transposed) { _ in columnLattices += 1 }
        }

        let (rows, columns) = (layer.vertical, layer.horizontal)
        let pixels = layer.transposed ? Double(rows.input) * Double(columns.input) : Double(rows.output) * Double(columns.output)
        // Where it is not estimated, in vectors of multiply-adds as well.
        var (strategy, work) = (turned ?? .columns,
            pixels * Double(layer.batch) * Double(layer.outChannels) * Double(inputs) * Double(rows.kernel)
                * Double(columns.kernel) / Double(table.lanes))
        if turned == nil, chain == nil { (strategy, work) = chooseStrategy(layer, table) }
        work *= workOfVector
        var borders = false
        var pixelsPerVector = 1
        if hasOutput, economy == 0, turned == nil, strategy == .channels {
            let shared = mayShareVectors(layer, table) ? table.lanes / inputs : 1
            if shared > 1, takesBorder(layer, table, pixelsPerVector: shared) {
                (borders, pixelsPerVector, strategy) = (true, shared, .lanes)
            } else {
                borders = takesBorder(layer, table, pixelsPerVector: 1)
            }
        }
        let panels = Panels(layer, table, strategy)
        // A kernel that is not finite is computed without them, in no more than the least workspace.
        let pairs = economy == 0 && rowLattices > 0 && panels.pairsPhases(layer, table)
        if pairs { (rowLattices, columnLattices) = (1, 1) }
        // Pairs go on where no tap reaches.
        let fullyCovered = !hasOutput || pairs || inputs > 0 && layer.coversOutput
        let memory = try PlanMemory(
            panels: panels.count, blocks: times(rowLattices, columnLattices, "blocks"),
            rows: fullyCovered ? 0 : layer.vertical.output, columns: fullyCovered ? 0 : layer.horizontal.output)
        var (leastReach, tileScalars) = (largestTileSide, 0)
        for index in 0..<panels.count {
            let panel = panels.panel(index, layer, table)
            (memory.panels + index).initialize(to: panel)
            leastReach = min(leastReach, panel.reach(panels.strategy))
            tileScalars = max(tileScalars, panel.kernel.rows * panel.width)
        }
        let readsInputDirectly = switch panels.strategy {
        case _ where borders && (pixelsPerVector > 1 || meetsBorder(layer)): false
        case .channels: layer.input.channel == 1 && !hasFarGroups(layer, table) || layer.inChannels <= 1
        case .lanes where panels.permutes: layer.input.channel == 1 && layer.outChannels % table.lanes == 0
        case .lanes: panels.isDirect
        case .columns: readsColumns(layer, table)
        }
        memory.plan.initialize(to: ConvolutionPlan(
            arrays: arrays, layer: layer, inputs: inputs, table: table, strategy: panels.strategy, isWide: panels.isWide,
            walks: panels.walks, pairs: pairs, stencils: panels.stencils, permutes: panels.permutes, panels: memory.panels,
            panelCount: panels.count, leastReach: leastReach, tileScalars: tileScalars, width: panels.width,
            blocks: memory.blocks, blockCount: 0, itemsPerBlock: 0, work: work,
            weights: memory.header, bias: memory.header, outside: memory.header, coveredRows: memory.coveredRows,
            coveredColumns: memory.coveredColumns, fullyCovered: fullyCovered, mendsBorder: false, skipsOutside: false,
            readsInputDirectly: readsInputDirectly, borders: borders, pixelsPerVector: borders ? pixelsPerVector : 1,
            workspace: WorkspaceLayout(),
            spansImages: readsInputDirectly
                || (panels.strategy == .channels || borders) && inputBytes(layer) <= Double(rectangleLimit >> economy)))
        threads = threadsToUse(requested: layer.threads, items: .max, work: work)
        areDense = panels.strategy == .channels && readsInputDirectly && !borders && layer.input.column == inputs
            && (rows.stride <= rows.kernel && columns.stride <= columns.kernel
                || layer.transposed && inputBytes(layer) * Double(layer.batch) >= groupBytes)
        if hasOutput, turned == nil {
            let elements = Double(layer.batch * layer.outChannels) * Double(rows.output * columns.output)
            memory.plan.pointee.streams = elements * Double(layer.elementBytes) >= Double(streamedBytes)
        }
        (plan, bytes, self.economy) = (memory.plan, memory.bytes, economy)
        (self.rowLattices, self.columnLattices) = (rowLattices, columnLattices)
    }

    /// All blocks, and what they need.
    @inline(never)
    fileprivate mutating func addBlocks() {
        let layer = plan.pointee.layer
        if plan.pointee.pairs {
            addBlock(.pairs(layer.vertical), .pairs(layer.horizontal))
        } else if rowLattices > 0 {
            forEachLattice(layer.vertical, transposed: layer.transposed) { vertical in
                forEachLattice(layer.horizontal, transposed: layer.transposed) { horizontal in addBlock(vertical, horizontal) }
            }
        }
        plan.pointee.workspace.finish(elementBytes: layer.elementBytes)
        if areDense, weightElements * layer.elementBytes <= cachedWeightBytes {
            for i in 0..<plan.pointee.blockCount {
                (plan.pointee.blocks[i].fetchesInput, plan.pointee.blocks[i].fetchesWeights) = (true, false)
            }
        }
    }

    @inline(never)
    private mutating func addBlock(_ vertical: Lattice, _ horizontal: Lattice) {
        let (plan, layer) = (plan, plan.pointee.layer)
        let inputs = layer.inChannelsPerGroup
        let size = layer.elementBytes
        let terms = vertical.taps * horizontal.taps * inputs
        let chunk = chunkTerms(terms)
        // At most as many channels as make one chunk of a tap, and as keep a panel's weights for a block in a level-2
        // cache.
        let mostChannels = max(32, min(chunk, weightRows / (vertical.taps * horizontal.taps)))
        let channelBlock = ceilDivide(inputs, ceilDivide(inputs, mostChannels))
        var segmentsPerChunk = max(1, chunk / channelBlock)
        // Whole kernel rows, where a chunk holds one: their taps may be taken together.
        if segmentsPerChunk > horizontal.taps { segmentsPerChunk -= segmentsPerChunk % horizontal.taps }
        var block = Block(
            vertical: vertical, horizontal: horizontal, weights: weightElements, bandRows: 0, bandColumns: 0, rowBands: 0,
            columnBands: 0, panelChunks: 0, items: 0, channelBlock: channelBlock, segmentsPerChunk: segmentsPerChunk,
            tilesPerGroup: 0)
        if plan.pointee.strategy == .channels {
            block.mergesTaps = horizontal.taps > 1 && horizontal.offsetStep == 1 && channelBlock == layer.inChannels
                && segmentsPerChunk % horizontal.taps == 0
                && (!plan.pointee.readsInputDirectly || layer.input.column == channelBlock)
            // Images of a few pixels are sooner computed with all taps than gone round.
            func parts(_ lattice: Lattice, _ input: Int) -> Int {
                min(lattice.count - insideRange(lattice, 0..<input).count + 1, 2 * lattice.taps)
            }
            let part = outsidePart(block, layer)
            let saved = part * Double(vertical.count * horizontal.count * terms)
                * Double(layer.batch * plan.pointee.width / plan.pointee.table.lanes)
            block.roundsBorder = !plan.pointee.borders && part > worthwhilePart && saved > partStart
                * Double(parts(vertical, layer.vertical.input) * parts(horizontal, layer.horizontal.input))
        }
        // Inside, tiles of lanes then share their addresses, however small the border.
        if plan.pointee.strategy == .lanes {
            block.roundsBorder = !plan.pointee.borders && outsidePart(block, layer) > 0
                && plan.pointee.rows(block) * horizontal.count > fewPositions
        }
        // Planes are read in place, or packed as if they were.
        let arePlanes = plan.pointee.strategy == .columns && (plan.pointee.readsInputDirectly || layer.sourceColumns > 0)
        block.fetchesInput = arePlanes && plan.pointee.readsInputDirectly
            && inputBytes(layer) * Double(layer.batch) >= Double(fetchedPlaneBytes)
        let fitsOneCall = arePlanes ? inputs <= channelsPerCall
            : plan.pointee.strategy == .channels && block.taps == 1
            && inputs * plan.pointee.panels.pointee.kernel.vectors <= vectorsPerCall
        if fitsOneCall, inputs % channelBlock == 0 { block.blocksPerCall = inputs / channelBlock }
        block.hasOneCall = channelBlock * block.blocksPerCall == inputs
        // More tiles where the weights come in several passes, a tile is little work, or no other panel reads the input
        // again; but their addresses are to stay in the cache as well.
        let isAlone = plan.pointee.panelCount == 1
        let reach = plan.pointee.leastReach
        var tiles = !block.hasOneCall ? 64
            : isAlone ? max(48, min(3 * groupTerms / terms, 96)) : max(16, min(groupTerms / terms, 48))
        if areDense, !isAlone, rowLattices * columnLattices == 1 {
            /// What a group reads and writes between two panels.
            func staysInCache() -> Bool {
                let pixels = min(Double(tiles * reach), Double(plan.pointee.rows(block)) * Double(horizontal.count))
                let rows = (pixels / Double(horizontal.count)).rounded(.up) - 1
                let read = rows * Double(vertical.inputStep) + Double(vertical.lastOffset - vertical.offsetStart + 1)
                let input = read * Double(layer.horizontal.input) * Double(inputs)
                let width = Double(plan.pointee.panels.pointee.width)
                return (input + (Double(terms) + pixels) * width) * Double(size) <= groupBytes
            }
            block.fetchesInput = staysInCache()
            if tiles == 64, !block.fetchesInput {
                tiles = 32
                block.fetchesInput = staysInCache()
                if !block.fetchesInput { tiles = 64 }
            }
        }
        if arePlanes, !isAlone || block.fetchesInput {
            tiles = max(2, min(tiles, planeGroupBytes / (inputs * reach * plan.pointee.table.lanes * size)))
        }
        block.tilesPerGroup = max(1, min(tiles, addressBytes / (block.segments * largestTileSide * 8)) >> economy)
        plan.pointee.divide(
            &block, blocks: rowLattices * columnLattices, threads: threads, rectangleLimit: rectangleLimit >> economy)
        if plan.pointee.borders {
            let rows = min(block.bandRows, vertical.count)
            block.shape = TileShape(covering: rows, block.bandColumns / plan.pointee.pixelsPerVector, step: reach)
        }
        // One more, since those of the border and the others may each have a rest; a quarter where tiles may end with rows.
        let tileCount = plan.pointee.tileCount(rows: block.bandRows, columns: block.bandColumns, reach)
        let endsRows = plan.pointee.strategy == .lanes || plan.pointee.borders
        let needed = 1 + (endsRows ? tileCount + ceilDivide(tileCount, 4) : tileCount)
        block.tilesPerGroup = min(block.tilesPerGroup, needed)
        block.items = (plan.pointee.spansImages ? 1 : layer.batch) * block.rowBands * block.columnBands * block.panelChunks
        plan.pointee.itemsPerBlock = max(plan.pointee.itemsPerBlock, block.items)
        var largest = 0
        if !plan.pointee.readsInputDirectly {
            if block.items == 1 {
                block.rectangle = plan.pointee.rectangle(
                    block, rows: 0..<plan.pointee.rows(block), columns: 0..<block.horizontal.count)
            }
            largest = block.items == 1 ? block.rectangle.elements : plan.pointee.largestRectangle(block)
        }
        let (more, tooMany) = terms.multipliedReportingOverflow(by: plan.pointee.width)
        overflows = overflows || tooMany || more > largestLength
        weightElements = overflows ? 0 : weightElements + more
        plan.pointee.workspace.include(
            block, walkRuns: plan.pointee.walks ? 2 * plan.pointee.walkRuns(block) : 0, walkLines: plan.pointee.walkLines,
            tileScalars: plan.pointee.gathersTiles ? plan.pointee.tileScalars : block.hasOneCall ? 0 : largestTileScalars,
            rectangleBytes: largest * size, elementBytes: size)
        plan.pointee.blocks[plan.pointee.blockCount] = block
        plan.pointee.blockCount += 1
    }
}

/// The layer, with what its execution will copy of the border taken off the workspace's limit: see `borderBefore`.
private func leavingRoomForBorder<Scalar: KernelScalar>(
    _ layer: Layer, _ kernel: UnsafePointer<Scalar>?
) throws(Failure) -> Layer {
    guard let kernel, layer.transposed, layer.means.accumulates, layer.means.workspaceLimit < Int.max, layer.hasOutput,
        !areFinite(kernel, count: layer.kernelElements)
    else { return layer }
    let frugal = try draft(layer, economy: mostEconomy)
    defer { shim_free(frugal.plan) }
    if frugal.plan.pointee.algorithm.isProducts || frugal.plan.pointee.algorithm.isWinograd { return layer }
    var pixels = 0
    forEachBorderPixel(frugal.plan) { _ in pixels += 1 }
    let border = pixels * layer.outChannels * MemoryLayout<Scalar>.stride
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
    let layer = try leavingRoomForBorder(layer, kernel)
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
        if !isFinite, plan.pointee.algorithm.isWinograd || plan.pointee.algorithm.isTurned || plan.pointee.pairs {
            // With Winograd's algorithm an infinity or NaN would spread to all elements; the default one keeps it where it
            // belongs. And the border is mended in the caller's arrays.
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

/// One allocation for the plan itself (at its start), its panels, blocks and coverage maps.
struct PlanMemory {
    var header: UnsafeMutableRawPointer
    var plan: UnsafeMutablePointer<ConvolutionPlan>
    var bytes: Int
    var panels: UnsafeMutablePointer<Panel>
    var blocks: UnsafeMutablePointer<Block>
    var coveredRows: UnsafeMutablePointer<UInt8>
    var coveredColumns: UnsafeMutablePointer<UInt8>

    init(panels panelCount: Int, blocks blockCount: Int, rows: Int, columns: Int) throws(Failure) {
        let panelsAt = aligned(MemoryLayout<ConvolutionPlan>.size)
        let blocksAt = panelsAt + aligned(try times(panelCount, MemoryLayout<Panel>.stride, "out_channels"))
        let rowsAt = blocksAt + aligned(try times(blockCount, MemoryLayout<Block>.stride, "blocks"))
        bytes = rowsAt + rows + columns
        header = try allocate(bytes, of: 1, "the plan")
        plan = header.bindMemory(to: ConvolutionPlan.self, capacity: 1)
        panels = (header + panelsAt).assumingMemoryBound(to: Panel.self)
        blocks = (header + blocksAt).assumingMemoryBound(to: Block.self)
        coveredRows = (header + rowsAt).assumingMemoryBound(to: UInt8.self)
        coveredColumns = coveredRows + rows
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

extension WorkspaceLayout {
    /// Collects sizes first (in the fields that later hold offsets); `finish` turns them into offsets.
    mutating func include(
        _ block: Block, walkRuns: Int, walkLines: Int, tileScalars: Int, rectangleBytes: Int, elementBytes: Int
    ) {
        let pointer = MemoryLayout<UnsafeRawPointer>.stride
        tiles = max(tiles, aligned(block.tilesPerGroup * MemoryLayout<Tile<Double>>.stride))
        runs = max(runs, aligned(max(block.tilesPerGroup * block.segments * largestTileSide, walkRuns) * pointer))
        orders = max(orders, aligned(block.tilesPerGroup * block.orderLength * MemoryLayout<Int32>.stride))
        rowOffsets = max(rowOffsets, aligned(block.vertical.taps * block.blocksPerCall * largestTileSide * pointer))
        columnOffsets = max(columnOffsets, aligned(block.horizontal.taps * largestTileSide * pointer))
        sums = max(sums, aligned(block.tilesPerGroup * tileScalars * elementBytes))
        lines = max(lines, aligned(max(walkLines * elementBytes, block.tilesPerGroup * largestTileSide * pointer)))
        rectangle = max(rectangle, aligned(rectangleBytes))
    }

    mutating func finish(elementBytes: Int) {
        let sizes = self
        tiles = 0
        runs = tiles + sizes.tiles
        orders = runs + sizes.runs
        rowOffsets = orders + sizes.orders
        columnOffsets = rowOffsets + sizes.rowOffsets
        sums = columnOffsets + sizes.columnOffsets
        // One tile at least: elements that no tap reaches are finished in it too.
        lines = sums + max(sizes.sums, aligned(largestTileScalars * elementBytes))
        rectangle = lines + sizes.lines
        bytes = rectangle + sizes.rectangle
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
