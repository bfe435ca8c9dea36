import CConvolution
import CConvolutionShims
import ConvolutionKernels

// How a plan is drafted: the layer brought into the form that its kernels take, and its work divided into blocks, bands and
// panels, so that the workspace stays within its limit. No element is touched yet.

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
        let error = chunkError(Double(min(chunk, terms)), of: n)
        // The error falls, then rises.
        guard error <= mostChunkError || error < bestError else { break }
        (best, bestError) = (chunk, min(error, bestError))
        chunk += 16
    }
    return best
}

private func chunkError(_ chunk: Double, of terms: Double) -> Double { chunk * chunk / terms + terms / chunk }
private let mostChunkError = 34.0
/// Of 264 terms in chunks of 88, which come near 34, one in five million erred by more than 8, all of them positive; of 112 in
/// chunks of 56 none.
private let longerChunkError = 30.0

/// Input channels of a block of a single tap, of which a chunk may have up to `most`, in steps of 16: one block less where all are
/// equally long then, which kernels take in one call, and a chunk as good as others are.
func blockOfSingleTap(_ inputs: Int, most: Int) -> Int {
    let blocks = ceilDivide(inputs, most)
    let fewer = max(1, blocks - 1)
    let isFewer = inputs % fewer == 0 && chunkError(Double(inputs / fewer), of: Double(inputs)) <= longerChunkError
    return ceilDivide(inputs, isFewer ? fewer : blocks)
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
/// Where tiles are to share the addresses of one, a part has so many positions at least.
private let positionsOfPart = 32.0
/// Of fewer positions lanes are not gone round.
private let fewPositions = 40

/// Rows (of one panel's weights) that a channel block may have, and bytes that a group's addresses may take: a level-2 cache
/// holds both, with a panel four vectors of 64 bytes wide, beside the inputs.
private let weightRows = 640
private let addressBytes = 1 << 17

/// Terms of the tiles of a group, at least: beginning a group takes as long as some dozens.
private let groupTerms = 2048

/// A panel's weights of so many vectors stay in a level-1 cache, so that all of a tile's sum is made at once; more are read in
/// several passes, unless for one pixel alone.
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
/// reading the same input in each call, 21 MB 3.8 -> 3.8, 1.3 -> 0.4, 38 MB 8.6 -> 7.2, 4.4 -> 2.9. Stencils, which wait for
/// memory most, not before they fill a quarter of the last cache (others use it too): 3x3 on 2048x2048 with one of 260 MiB, past
/// the caches 2.10, to them 1.69 ms; nor short sums, which fetch those lines ahead (`fetchesOutput`): 1x1 32->192, 4 of 112x112,
/// past the caches 4.4, to them 3.9 ms; 64->256, 8 of 56x56, 5.1 and 4.9; but 256->256 21.0 and 21.4. Nor where panels or
/// vectors are parts of a line, which memory then takes twice: AVX2, 1x1 32->192, 4 of 112x112, 31 and 7.5 ms; depthwise 3x3, 32
/// channels, 4 of 224x224, 8.0 and 2.3.
private let streamedBytes = 16 << 20
/// Terms of a sum so short.
private let fewFetchedTerms = 128.0

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
let mostEconomy = 12

/// A limit below the least is refused even where a number of threads happens to divide the work so that less would do.
func checkLimit(_ layer: Layer, least: Int) throws(Failure) {
    if least > layer.means.workspaceLimit { throw Failure.workspace(layer, "this layer needs at least", least) }
}

/// The fastest draft whose workspace, for one thread, stays within the layer's limit, which has been checked.
func fastestDraft(_ layer: Layer) throws(Failure) -> Draft {
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
    let bytes = frugal.plan.pointee.workspace.bytes
    if !frugal.plan.pointee.layer.takesAdjointKernel { return bytes }
    // A kernel that is not finite may need more.
    var layer = layer
    layer.means.joinsPhases = false
    return max(bytes, try leastWorkspace(layer))
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
        plan: draft.bytes + packed, execution: max(plan.pointee.executionThreads * plan.pointee.workspace.bytes, least),
        least: least, work: plan.pointee.work)
}

func draft(_ asked: Layer, economy: Int) throws(Failure) -> Draft {
    // Before it is divided into panels, which may be too many to make a list of.
    if asked.hasOutput { try checkMemory(asked.kernelElements, of: asked.elementBytes, "the packed kernel") }
    var given = asked
    // What the most frugal draft needs is the same for any number of threads, and for a kernel that is not finite.
    if economy == mostEconomy { (given.threads, given.means.joinsPhases) = (1, true) }
    if economy > 0 { given.means.mayRepeat = false }
    if let side = given.winogradTile { return try winogradDraft(given, side: side, economy: economy) }
    given.takeNarrowVectors()
    given.thinOut()
    given.layDown()
    var chain = given.productChain()
    // Not one whose kernel was found not to be finite.
    if asked.means.joinsPhases, given.mayTurnRound {
        var turned = given
        turned.takeCounterpart()
        chain = turned.productChain()
        if chain != nil { given = turned }
    }
    var drawn = given
    drawn.flatten()
    if chain == nil, economy == 0 { drawn.joinRows() }
    if given.transposed, chain == nil, economy == 0, !repeatsInput(drawn.widened ?? drawn),
        let draft = try phaselessDraft(asked, given, drawn) { return draft }
    // Of a layer that is computed on pixels.
    var turned: Strategy?
    if chain == nil, economy == 0, given.mayTurn {
        let strategy = chooseStrategy(drawn, given.table).strategy
        if strategy == .channels || strategy == .lanes && given.mayTurnLanes(given.table) { turned = strategy }
    }
    if turned != nil {
        drawn = given
        try drawn.putOnPixels()
    } else if chain == nil, economy == 0, drawn.isStraight {
        drawn.takeCounterpart()
    }
    if chain == nil { drawn.widen(turns: turned != nil) }
    var draft = try blocksDraft(asked.arrays, drawn, turned: turned, chain: chain, economy: economy)
    let plan = draft.plan
    do throws(Failure) {
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

/// A draft with its blocks.
private func blocksDraft(
    _ arrays: Arrays, _ layer: Layer, turned: Strategy?, chain: Int?, economy: Int
) throws(Failure) -> Draft {
    var draft = try Draft(arrays, layer, turned: turned, chain: chain, economy: economy)
    draft.addBlocks()
    if draft.overflows {
        shim_free(draft.plan)
        throw Failure(CONVOLUTION_ERROR_OVERFLOW, "the packed kernel exceeds what memory can hold")
    }
    return draft
}

/// The draft of a transposed layer that takes less time without phases: of its input spread, or of its products.
@inline(never)
private func phaselessDraft(_ asked: Layer, _ given: Layer, _ drawn: Layer) throws(Failure) -> Draft? {
    let spread = spread(drawn)
    guard let layer = spread ?? given.products() else { return nil }
    let draft = try blocksDraft(asked.arrays, layer, turned: spread == nil ? .columns : nil, chain: nil, economy: 0)
    if spread == nil, !draft.plan.pointee.divideExpansion(given, threads: draft.threads) {
        shim_free(draft.plan)
        return nil
    }
    return draft
}

extension Layer {
    /// On pixels of as many channels: by whole vectors, not by parts of others. (Small images have several pixels in a vector.)
    @inline(never)
    fileprivate mutating func takeNarrowVectors() {
        guard fillsNarrowVectors, input.channel == 1, output.channel == 1 else { return }
        let (pixels, taps) = (vertical.output * horizontal.output, vertical.kernel * horizontal.kernel)
        if horizontal.stride > 1 || pixels >= 2000 || pixels >= 600 && taps > 9 { tier = tier.narrow }
    }

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
        if hasOutput, economy == 0, turned == nil, strategy == .channels, !repeatsInput(layer) {
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
        var arePanelsLines = panels.strategy == .channels
        for index in 0..<panels.count {
            let panel = panels.panel(index, layer, table)
            (memory.panels + index).initialize(to: panel)
            leastReach = min(leastReach, panel.reach(panels.strategy))
            let tileWidth = panel.tileWidth(panels.strategy, lanes: table.lanes)
            tileScalars = max(tileScalars, panel.kernel.rows * tileWidth)
            if tileWidth * layer.elementBytes % cacheLine != 0 { arePanelsLines = false }
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
        memory.plan.pointee.sweeps = panels.sweeps
        memory.plan.pointee.repeats = panels.repeats
        memory.plan.pointee.fetchesWalk = panels.walks && memory.plan.pointee.comesFromMemory
        threads = threadsToUse(requested: layer.threads, items: .max, work: work)
        areDense = panels.strategy == .channels && readsInputDirectly && !borders && layer.input.column == inputs
            && (rows.stride <= rows.kernel && columns.stride <= columns.kernel
                || layer.transposed && inputBytes(layer) * Double(layer.batch) >= groupBytes)
        if hasOutput, turned == nil {
            let elements = Double(layer.batch * layer.outChannels) * Double(rows.output * columns.output)
            let outputBytes = elements * Double(layer.elementBytes)
            let terms = Double(inputs) * Double(rows.kernel) * Double(columns.kernel)
            let fetches = areDense && panels.count > 1 && rowLattices * columnLattices == 1 && layer.output.channel == 1
                && layer.output.column == layer.outChannels
                && terms * Double(layer.outChannels * layer.elementBytes) <= Double(cachedWeightBytes)
            let isNear = panels.stencils || fetches && terms <= fewFetchedTerms
            // What is stored at a time fills its lines, or what follows at once does.
            let storesLines = arePanelsLines || panels.strategy == .columns || table.lanes * layer.elementBytes >= cacheLine
                || panels.strategy == .channels && panels.count == 1 && rowLattices * columnLattices == 1
            memory.plan.pointee.streams = storesLines && outputBytes >= Double(streamedBytes)
                && !(isNear && outputBytes + inputBytes(layer) * Double(layer.batch) < Double(shim_last_cache_bytes() / 4))
            memory.plan.pointee.fetchesOutput = fetches
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
        // Twins and pairs of Intel's processors have no load to spare.
        let loadsMost = shim_is_intel() != 0 && rowLattices > 0 && plan.pointee.strategy == .channels
            && (plan.pointee.panels.pointee.groups > 1
                || plan.pointee.panels.pointee.kernel.vectors == 1 && plan.pointee.table.pointee.twinTile != nil)
        if areDense || loadsMost, weightElements * layer.elementBytes <= cachedWeightBytes {
            for i in 0..<plan.pointee.blockCount {
                if areDense { plan.pointee.blocks[i].fetchesInput = true }
                plan.pointee.blocks[i].fetchesWeights = false
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
        // At most as many channels as make one chunk of a tap (but see `blockOfSingleTap`), and as keep a panel's weights for a
        // block in a level-2 cache.
        let mostChannels = max(32, min(chunk, weightRows / (vertical.taps * horizontal.taps)))
        let channelBlock = vertical.taps * horizontal.taps == 1 ? blockOfSingleTap(inputs, most: mostChannels)
            : ceilDivide(inputs, ceilDivide(inputs, mostChannels))
        // Blocks of a single tap are chunks, though more of 640 channels than one might fit: whether a call has one or all of them
        // depends on the pixels.
        var segmentsPerChunk = vertical.taps * horizontal.taps == 1 ? 1 : max(1, chunk / channelBlock)
        // Whole kernel rows, where a chunk holds one: their taps may be taken together.
        if segmentsPerChunk > horizontal.taps { segmentsPerChunk -= segmentsPerChunk % horizontal.taps }
        if let rows = layer.chunkRows { segmentsPerChunk = rows * horizontal.taps }
        var block = Block(
            vertical: vertical, horizontal: horizontal, weights: weightElements, bandRows: 0, bandColumns: 0, rowBands: 0,
            columnBands: 0, panelChunks: 0, items: 0, channelBlock: channelBlock, segmentsPerChunk: segmentsPerChunk,
            tilesPerGroup: 0)
        let reach = plan.pointee.leastReach
        if plan.pointee.strategy == .channels {
            block.mergesTaps = horizontal.taps > 1 && horizontal.offsetStep == 1 && channelBlock == layer.inChannels
                && segmentsPerChunk % horizontal.taps == 0
                && (!plan.pointee.readsInputDirectly || layer.input.column == channelBlock)
            // Images of a few pixels are sooner computed with all taps than gone round.
            func parts(_ lattice: Lattice, _ input: Int) -> Int {
                min(lattice.count - insideRange(lattice, 0..<input).count + 1, 2 * lattice.taps)
            }
            let part = outsidePart(block, layer)
            let positions = Double(plan.pointee.rows(block)) * Double(horizontal.count)
            let termsOfPosition = Double(terms) * Double(plan.pointee.width / plan.pointee.table.lanes)
            let saved = part * Double(layer.batch * vertical.count) * Double(horizontal.count) * termsOfPosition
            let partCount = Double(parts(vertical, layer.vertical.input) * parts(horizontal, layer.horizontal.input))
            // Of few terms addresses are much of the time.
            block.endsRows = !plan.pointee.borders && layer.groups == 1 && reach > 1 && termsOfPosition <= fewTerms
                && !layer.means.accumulates
            block.roundsBorder = !plan.pointee.borders && (part > worthwhilePart && saved > partStart * partCount
                || block.endsRows && part > 0 && positions >= positionsOfPart * partCount)
        }
        // Inside, tiles of lanes then share their addresses, however small the border.
        if plan.pointee.strategy == .lanes {
            block.endsRows = !plan.pointee.permutes && !plan.pointee.borders && !layer.means.accumulates
            block.roundsBorder = !plan.pointee.borders && outsidePart(block, layer) > 0
                && plan.pointee.rows(block) * horizontal.count > fewPositions
        }
        // Planes are read in place, or packed as if they were.
        let arePlanes = plan.pointee.strategy == .columns && (plan.pointee.readsInputDirectly || layer.sourceColumns > 0)
        block.fetchesInput = arePlanes && plan.pointee.readsInputDirectly
            && inputBytes(layer) * Double(layer.batch) >= Double(fetchedPlaneBytes)
        let fitsOneCall = arePlanes ? inputs <= channelsPerCall
            : plan.pointee.strategy == .channels && block.taps == 1
            && (plan.pointee.panels.pointee.kernel.rows == 1
                || inputs * plan.pointee.panels.pointee.kernel.vectors <= vectorsPerCall)
        if fitsOneCall, inputs % channelBlock == 0 { block.blocksPerCall = inputs / channelBlock }
        block.hasOneCall = channelBlock * block.blocksPerCall == inputs
        // More tiles where the weights come in several passes, a tile is little work, or no other panel reads the input
        // again; but their addresses are to stay in the cache as well.
        let isAlone = plan.pointee.panelCount == 1
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
        // Of what repeats its input, there is one table.
        if plan.pointee.repeats { tiles = 1 }
        block.tilesPerGroup = max(1, min(tiles, addressBytes / (block.segments * largestTileSide * 8)) >> economy)
        plan.pointee.divide(
            &block, blocks: rowLattices * columnLattices, threads: threads, rectangleLimit: rectangleLimit >> economy)
        if plan.pointee.borders {
            let rows = min(block.bandRows, vertical.count)
            block.shape = TileShape(covering: rows, block.bandColumns / plan.pointee.pixelsPerVector, step: reach)
        }
        // One more, since those of the border and the others may each have a rest; a quarter where tiles may end with rows.
        let tileCount = plan.pointee.tileCount(rows: block.bandRows, columns: block.bandColumns, reach)
        let needed = 1 + tileCount + (block.endsRows || plan.pointee.borders ? ceilDivide(tileCount, 4) : 0)
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
            tileScalars: plan.pointee.repeats ? 3 * layer.outChannels * plan.pointee.table.lanes
                : plan.pointee.gathersTiles ? plan.pointee.tileScalars : block.hasOneCall ? 0 : largestTileScalars,
            rectangleBytes: largest * size, elementBytes: size)
        plan.pointee.blocks[plan.pointee.blockCount] = block
        plan.pointee.blockCount += 1
    }
}
