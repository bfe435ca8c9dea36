import CConvolutionShims
import ConvolutionKernels

// Winograd's algorithm: a plan's weights transformed and packed, and items of work. The kernels and what they compute: "Winograd"
// in `ConvolutionKernels/PATHS.md`.

/// What a plan for Winograd's algorithm has beside its blocks, which are the phases of a transposed convolution, or one. Packed
/// weights: `[block][group][panel][point][input channel][output channel]`, or with `keepsParts`
/// `[group][panel][row of points][input channel][part][output channel]`.
struct Winograd {
    /// Inputs of a tile along one axis, and points.
    var side: Int
    /// An item's tiles follow each other: those of all images, divided by this, rounded up to a multiple.
    var runs: Int
    var runMultiple: Int
    var panelChunks: Int
    var items: Int
    /// Input channels whose products form one chain of multiply-adds.
    var chunk: Int
    /// Few tiles, many weights: `accumulatePointRow` makes these of their parts. The same bits either way.
    var keepsParts: Bool
    /// The input's channels lie as the transform reads them; else a tile's pixels are copied first.
    var readsInputDirectly: Bool
    /// Elements from tile to tile and from point to point of the transformed input, from pixel to pixel of a tile that is copied,
    /// and from point to point of the sums.
    var channelPitch: Int
    var pointPitch: Int
    var patchPitch: Int
    var sumPitch: Int
    /// Neighbouring tiles whose pixels are copied together, 0 if each tile's are; and which are stored together.
    var bandTiles: Int
    var storedTiles: Int
    /// Runs are whole rows of tiles.
    var runsRows: Bool
    /// Input and output are large: the pixels of the next tiles are fetched.
    var fetchesImages: Bool
    /// One thread's scratch memory, as byte offsets.
    var transformed = 0
    /// With `keepsParts`: the same as that kernel reads it.
    var turned = 0
    var sums = 0
    var patch = 0
    var scratch = 0
    var spare = 0
    var addresses = 0
    var chains = 0
    /// For each chain, that it is a chunk of one segment, and which: `TileArguments.order`.
    var order = 0

    var points: Int { side * side }
    /// Packed weights for each pair of channels.
    var packedPoints: Int { keepsParts ? 3 * side : points }
}

/// Bytes of transformed input and sums that an item works on: as many as a level-2 cache holds, or a quarter of a large kernel's,
/// which comes from memory once per item.
private func runBytes(kernel: Int) -> Int { max(3 << 19, min(12 << 20, kernel / 4)) }

/// Input and output of so many bytes together are not in a level-2 cache any longer.
private let fetchedBytes = 2 << 20

/// The points' weights of so many bytes come from far away in each call, and take longer than a few tiles' products.
private let largePointBytes = 16 << 20

/// So many tiles, of all images together.
private let fewTiles = 8

/// Pixels of neighbouring tiles on their way in or out stay in a near cache: lines of planes would meet in few of its sets, so
/// that a tile's part of one is gone before the next tile's.
private let tileBandBytes = 1 << 16
private let mostStoredTiles = 8

/// Channels of a chunk of the sum over them, at most.
private let longestChunk = 64

/// With fewer small tiles per image and phase, reading their weights takes longer than the products; or with twice as many, where
/// those are more bytes than a last cache holds.
private let fewestTiles = 12.0
private let mostCachedBytes = 48 << 20

/// Terms for each product of small tiles, at least, as the transforms take time too.
private let leastSaving = 1.6

/// Phases of larger strides have many weights for their outputs.
private let largestWinogradStride = 4

extension Layer {
    /// Inputs of a tile along one axis if the caller permits the algorithm, and it is faster: a property of the layer alone, as
    /// the bits depend on it.
    var winogradTile: Int? {
        guard means.permitsWinograd, hasOutput, outChannelsPerGroup >= 16, inChannelsPerGroup >= 16,
            inChannelsPerGroup <= (isDouble ? 512 : 1024)
        else { return nil }
        if vertical.takesWinograd, horizontal.takesWinograd { return hasWideGroups ? winogradSide : nil }
        return savesProducts ? smallWinogradSide : nil
    }

    /// Of several groups those of a single vector of channels have products that take less time than the transforms: 512 channels
    /// of 14x14 by 16 0.17 ms, not 0.13.
    private var hasWideGroups: Bool {
        let lanes = (isDouble ? tier.float64 : tier.float32).lanes
        return groups == 1 || min(inChannelsPerGroup, outChannelsPerGroup) >= 2 * lanes
    }

    /// Whether the phases of a transposed convolution have fewer products in small tiles, by so much that it pays.
    private var savesProducts: Bool {
        guard transposed, max(vertical.stride, horizontal.stride) > 1, min(outChannelsPerGroup, inChannelsPerGroup) >= 64,
            vertical.takesSmallTiles, horizontal.takesSmallTiles, table.pointee.transformSmallInput != nil
        else { return false }
        let rows = AxisTiles(vertical, self, side: smallWinogradSide)
        let columns = AxisTiles(horizontal, self, side: smallWinogradSide)
        let (tiles, phases) = (Double(rows.tiles) * Double(columns.tiles), Double(rows.phases * columns.phases))
        let weights = phases * 16 * Double(inChannels) * Double(outChannelsPerGroup)
        let isFar = weights * Double(elementBytes) > Double(mostCachedBytes)
        return tiles >= (isFar ? 2 * fewestTiles : fewestTiles) * phases
            && tiles * 16 * leastSaving <= Double(rows.terms) * Double(columns.terms)
    }
}

extension Axis {
    var takesWinograd: Bool { kernel == 3 && stride == 1 && output >= winogradOutputs * dilation }

    /// Every phase has two or three taps.
    fileprivate var takesSmallTiles: Bool {
        dilation == 1 && kernel >= 2 * stride && kernel <= 3 * stride && stride <= largestWinogradStride
    }
}

/// Of all phases of an axis: their number, tiles and terms, and the tiles of the one that has most.
private struct AxisTiles {
    var phases = 0
    var tiles = 0
    var terms = 0
    var most = 0
    /// Of a tile, at most.
    var outputs = 0

    @inline(never)
    init(_ axis: Axis, _ layer: Layer, side: Int) {
        forEachLattice(axis, transposed: layer.transposed) { lattice in
            let axis = TiledAxis(lattice, side: side)
            let count = axis.tiles
            outputs = max(outputs, axis.outputs)
            phases += 1
            tiles += count
            terms += lattice.taps * lattice.count
            most = max(most, count)
        }
    }
}

/// A block's outputs along one axis, cut into tiles.
struct TiledAxis {
    var lattice: Lattice
    /// Of a tile.
    var outputs: Int
    /// Outputs `offsetStep` apart read inputs `offsetStep` apart: so many phases are tiled each by itself. Some have one output
    /// more.
    var longer: Int
    var tilesOfLonger: Int
    var tilesOfOthers: Int

    init(_ lattice: Lattice, side: Int) {
        self.lattice = lattice
        outputs = side + 1 - lattice.taps
        let count = lattice.count / lattice.offsetStep
        (longer, tilesOfLonger, tilesOfOthers) = (
            lattice.count % lattice.offsetStep, ceilDivide(count + 1, outputs), ceilDivide(count, outputs))
    }

    var tiles: Int { longer * tilesOfLonger + (lattice.offsetStep - longer) * tilesOfOthers }

    /// The first output of a tile, in the lattice.
    @inline(__always)
    func start(_ tile: Int) -> Int {
        let isLonger = tile < longer * tilesOfLonger
        let tiles = isLonger ? tilesOfLonger : tilesOfOthers
        let place = isLonger ? tile : tile - longer * tilesOfLonger
        return (isLonger ? 0 : longer) + place / tiles + place % tiles * outputs * lattice.offsetStep
    }

    /// In the output: of output `index`, and from one output of a tile to the next.
    func place(_ index: Int) -> Int { lattice.outputStart + index * lattice.outputStep }
    var outputStep: Int { lattice.outputStep * lattice.offsetStep }

    /// Outputs of the tile that begins at `start`.
    @inline(__always)
    func count(from start: Int) -> Int { min(outputs, ceilDivide(lattice.count - start, lattice.offsetStep)) }
}

/// A block's tiles.
struct Tiling {
    var vertical: TiledAxis
    var horizontal: TiledAxis
    /// Of one image, anchored at its first output pixels.
    var columns: Int
    var count: Int

    init(_ vertical: Lattice, _ horizontal: Lattice, side: Int) {
        self.vertical = TiledAxis(vertical, side: side)
        self.horizontal = TiledAxis(horizontal, side: side)
        columns = self.horizontal.tiles
        count = self.vertical.tiles * columns
    }
}

/// A plan for Winograd's algorithm, without weights yet.
func winogradDraft(_ layer: Layer, side: Int, economy: Int) throws(Failure) -> Draft {
    let table = layer.table
    let size = layer.elementBytes
    let inputs = layer.inChannelsPerGroup
    let points = side * side
    let (rows, columns) = (AxisTiles(layer.vertical, layer, side: side), AxisTiles(layer.horizontal, layer, side: side))
    let blockCount = rows.phases * columns.phases
    // Of the block that has most.
    let tiles = try times(layer.batch, times(rows.most, columns.most, "tiles"), "tiles")
    let keepsParts = side == winogradSide && table.pointee.pointRow != nil && tiles <= fewTiles
        && points * layer.outChannels >= largePointBytes / (size * inputs)
    let panels = Panels(layer, table, tiles: tiles, areNarrow: keepsParts)
    var tallest = 1
    var widest = 1
    var shortens = true
    for index in 0..<panels.perGroup {
        let panel = panels.panel(index, layer, table)
        tallest = max(tallest, panel.kernel.rows)
        widest = max(widest, panel.width)
        if panel.shortKernel == nil { shortens = false }
    }
    if keepsParts { (tallest, shortens) = (pointRowTiles, false) }

    // Tiles of an item: as many as the caches hold, and spread evenly over the threads, one or two items each. Where that would
    // be few, threads share them and divide the panels.
    let channelPitch = ceilDivide(inputs, table.lanes) * table.lanes
    let threads = threadsAvailable(requested: layer.threads)
    let packedPoints = keepsParts ? 3 * side : points
    let bytes = runBytes(kernel: packedPoints * size * inputs * panels.width / layer.groups) >> economy
    let perTile = points * size * (channelPitch + (keepsParts ? inputs : 0) + widest)
    let most = max(1, bytes / (perTile * tallest)) * tallest
    let worthwhile = max(1, tiles / (2 * tallest))
    let wanted = max(ceilDivide(tiles, most), min(worthwhile, worthwhile < 4 * threads ? threads : 2 * threads))
    let share = ceilDivide(tiles, wanted > threads ? ceilDivide(wanted, threads) * threads : wanted)
    // Large tiles write whole pieces of lines, and read fewer pixels twice.
    let tilesOfRow = side == smallWinogradSide ? columns.most : 1
    let storedTiles = layer.output.channel == 1 ? 1 : max(1, min(tilesOfRow, mostStoredTiles >> economy))
    // Threads that store pieces of the same lines would wait for each other.
    let wholeRows = ceilDivide(share, columns.most) * columns.most
    let runsRows = storedTiles > 1 && shortens && wholeRows <= most
    let run = runsRows ? wholeRows : min(shortens ? share : ceilDivide(share, tallest) * tallest, most)
    let runs = ceilDivide(tiles, run)
    let panelChunks = min(panels.perGroup, ceilDivide(threads, blockCount * runs * layer.groups))
    // Kernels may compute more tiles than there are.
    var computed = run
    for index in 0..<(keepsParts ? 0 : panels.perGroup) {
        computed = max(computed, panels.panel(index, layer, table).computedTiles(run))
    }
    // An odd number of cache lines from point to point: else the points of a tile would crowd into a few sets of the cache.
    func pitch(_ elements: Int) -> Int { (ceilDivide(elements * size, 64) | 1) * 64 / size }
    let readsDirectly = layer.input.channel == 1 && inputs % table.lanes == 0
    let patchPitch = pitch(channelPitch)
    let bandColumns = (tileBandBytes >> economy) / (patchPitch * size * side)
    let mostTiles = min(tilesOfRow, (bandColumns - side) / columns.outputs + 1)
    // Bands are of small tiles alone, those of transposed layers, outside of whose inputs there is one constant.
    let bandTiles = readsDirectly || mostTiles < 2 ? 0 : mostTiles
    var part = Winograd(
        side: side, runs: runs, runMultiple: shortens ? 1 : tallest, panelChunks: panelChunks,
        items: runs * layer.groups * panelChunks * blockCount,
        chunk: ceilDivide(inputs, ceilDivide(inputs, longestChunk)), keepsParts: keepsParts,
        readsInputDirectly: readsDirectly, channelPitch: channelPitch, pointPitch: pitch(computed * channelPitch),
        patchPitch: patchPitch, sumPitch: pitch(computed * widest), bandTiles: bandTiles,
        storedTiles: storedTiles, runsRows: runsRows, fetchesImages: hasLargeTensors(layer))
    var workspace = 0
    func place(_ length: Int) -> Int {
        defer { workspace += aligned(length) }
        return workspace
    }
    let pointer = MemoryLayout<UnsafeRawPointer>.stride
    part.transformed = place(points * part.pointPitch * size)
    if keepsParts { part.turned = place(points * computed * inputs * size) }
    part.sums = place(points * part.sumPitch * size)
    // Also the finished tiles on their way to the output. A band has a pixel more: what lies outside.
    let finished = part.storedTiles * winogradOutputs * winogradOutputs * widest
    let copied = readsDirectly ? 0 : bandTiles == 0 ? points : side * (side + (bandTiles - 1) * columns.outputs) + 1
    part.patch = place(max(copied * patchPitch, finished) * size)
    part.scratch = place(points * table.lanes * size)
    part.spare = place(widest * size)
    part.addresses = place(points * pointer)
    part.chains = place(ceilDivide(inputs, part.chunk) * 2 * largestTileSide * pointer)
    part.order = place(ceilDivide(inputs, part.chunk) * 2 * MemoryLayout<Int32>.stride)

    let phaseElements = try times(times(packedPoints, inputs, "in_channels"), panels.width, "the packed kernel")
    // As many negative zeros as there are biases follow the weights.
    let weightElements = try plus(times(phaseElements, blockCount, "the packed kernel"), panels.width, "the packed kernel")
    let arrays = try layer.arrays
    let memory = try PlanMemory(panels: panels.count, blocks: blockCount, rows: 0, columns: 0)
    for index in 0..<panels.count { (memory.panels + index).initialize(to: panels.panel(index, layer, table)) }
    var block = memory.blocks
    forEachLattice(layer.vertical, transposed: layer.transposed) { vertical in
        forEachLattice(layer.horizontal, transposed: layer.transposed) { horizontal in
            block.initialize(
                to: Block(
                    vertical: vertical, horizontal: horizontal, weights: (block - memory.blocks) * phaseElements, bandRows: 0,
                    bandColumns: 0, rowBands: 0, columnBands: 0, panelChunks: 0, items: 0, channelBlock: winogradShare,
                    segmentsPerChunk: 1, tilesPerGroup: 0))
            block += 1
        }
    }
    memory.plan.initialize(to: ConvolutionPlan(
        arrays: arrays, layer: layer, inputs: inputs, table: table, strategy: .channels, isWide: false, walks: false,
        panels: memory.panels, panelCount: panels.count, width: panels.width, blocks: memory.blocks, blockCount: blockCount,
        itemsPerBlock: 0,
        work: Double(layer.batch * rows.tiles) * Double(columns.tiles * points) * Double(inputs) * Double(layer.outChannels),
        weights: memory.header,
        bias: memory.header, outside: memory.header, coveredRows: memory.coveredRows, coveredColumns: memory.coveredColumns,
        fullyCovered: true, mendsBorder: false, skipsOutside: false, readsInputDirectly: part.readsInputDirectly,
        workspace: WorkspaceLayout()))
    memory.plan.pointee.algorithm = .winograd(part)
    memory.plan.pointee.workspace.bytes = workspace
    return Draft(plan: memory.plan, bytes: memory.bytes, weightElements: weightElements)
}

extension Panel {
    /// Rows that its kernels compute for `count` tiles.
    fileprivate func computedTiles(_ count: Int) -> Int {
        let calls = ceilDivide(count, kernel.rows)
        return shortKernel.map { max(count, calls * $0.rows) } ?? calls * kernel.rows
    }

    /// The kernel for the next rows if `left` are left: the short one as soon as it suffices for all of them.
    @inline(__always)
    fileprivate func nextKernel(_ left: Int) -> TileKernel {
        if let shortKernel, left <= ceilDivide(left, kernel.rows) * shortKernel.rows { return shortKernel }
        return kernel
    }
}

/// Worth fetching the pixels of the next tiles.
func hasLargeTensors(_ layer: Layer) -> Bool {
    let input = Double(layer.vertical.input * layer.horizontal.input) * Double(layer.inChannels)
    let output = Double(layer.vertical.output * layer.horizontal.output) * Double(layer.outChannels)
    return (input + output) * Double(layer.batch * layer.elementBytes) >= Double(fetchedBytes)
}

extension Panels {
    /// Panels of output channels for `tiles` rows of a matrix product: as wide as wastes least in the last rows.
    fileprivate init(_ layer: Layer, _ table: UnsafePointer<KernelTable>, tiles: Int, areNarrow: Bool) {
        self.init(layer, table, .channels)
        pairs = false
        if areNarrow {
            (perGroup, isEven) = (vectors, true)
        } else {
            divideVectors(layer, table, positions: tiles)
        }
        count = perGroup * layer.groups
    }
}

/// A tile's place.
private struct TilePlace {
    var image: Int
    var row: Int
    var column: Int

    init(_ index: Int, _ tiling: Tiling) {
        image = index / tiling.count
        row = index % tiling.count / tiling.columns
        column = index % tiling.columns
    }

    mutating func advance(_ tiling: Tiling) {
        column += 1
        if column < tiling.columns { return }
        column = 0
        row += 1
        if row * tiling.columns < tiling.count { return }
        row = 0
        image += 1
    }
}

/// A run of tiles, one group, and some of its panels: their input transformed, then for each panel a matrix product per point,
/// transformed back and stored.
@inline(never)
func runWinograd<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ part: Winograd, _ item: Int, _ input: UnsafePointer<Scalar>,
    _ output: UnsafeMutablePointer<Scalar>, _ workspace: UnsafeMutableRawPointer
) {
    let layer = plan.pointee.layer
    // The panel chunk runs fastest, then the phase, so that threads share the input they read.
    let panelsPerGroup = plan.pointee.panelCount / layer.groups
    let chunk = item % part.panelChunks
    var rest = item / part.panelChunks
    let block = plan.pointee.blocks + rest % plan.pointee.blockCount
    rest /= plan.pointee.blockCount
    let group = rest % layer.groups
    let tiling = Tiling(block.pointee.vertical, block.pointee.horizontal, side: part.side)
    let tiles = layer.batch * tiling.count
    let multiple = part.runsRows ? tiling.columns : part.runMultiple
    let run = ceilDivide(tiles, part.runs * multiple) * multiple
    let firstTile = rest / layer.groups * run
    let count = min(run, tiles - firstTile)
    if count <= 0 { return }

    let table = plan.pointee.table
    let source = TileSource<Scalar>(
        tensor: input + group * layer.inChannelsPerGroup * layer.input.channel, strides: layer.input,
        rows: layer.vertical.input, columns: layer.horizontal.input, mode: layer.paddingMode,
        outside: UnsafePointer(plan.pointee.outside.assumingMemoryBound(to: Scalar.self)),
        channels: layer.inChannelsPerGroup, side: part.side,
        transform: (part.side == smallWinogradSide ? table.pointee.transformSmallInput : nil) ?? table.pointee.transformInput,
        elements: layer.elements,
        lanes: table.lanes, readsDirectly: part.readsInputDirectly, channelPitch: part.channelPitch, pointPitch: part.pointPitch,
        patchPitch: part.patchPitch, bandTiles: part.bandTiles, fetches: part.fetchesImages,
        addresses: (workspace + part.addresses).assumingMemoryBound(to: UnsafePointer<Scalar>.self),
        scratch: (workspace + part.scratch).assumingMemoryBound(to: Scalar.self),
        patch: (workspace + part.patch).assumingMemoryBound(to: Scalar.self))
    transformTiles(source, tiling, firstTile, count, to: (workspace + part.transformed).assumingMemoryBound(to: Scalar.self))
    if part.keepsParts { turnTiles(part, layer.inChannelsPerGroup, count, workspace, Scalar.self) }
    let first = group * panelsPerGroup
    for index in (first + panelsPerGroup * chunk / part.panelChunks)..<(first + panelsPerGroup * (chunk + 1) / part.panelChunks) {
        let panel = plan.pointee.panels + index
        if part.keepsParts {
            multiplyPointRows(plan, part, panel, count, workspace, Scalar.self)
        } else {
            multiplyPoints(plan, part, panel, block.pointee.weights, count, workspace, Scalar.self)
        }
        finishTiles(plan, part, tiling, panel, firstTile, count, output, workspace)
    }
}

/// A tensor whose tiles are transformed, and memory for one tile on its way.
struct TileSource<Scalar: KernelScalar> {
    /// The first channel.
    var tensor: UnsafePointer<Scalar>
    var strides: Strides
    var rows: Int
    var columns: Int
    var mode: BorderMode
    var outside: UnsafePointer<Scalar>
    var channels: Int
    /// Pixels of a tile along one axis.
    var side: Int
    var transform: Kernel
    var elements: ElementType
    var lanes: Int
    /// The channels lie as the transform reads them; else a tile's pixels are copied first.
    var readsDirectly: Bool
    /// Elements from tile to tile and from point to point of what is made of them.
    var channelPitch: Int
    var pointPitch: Int
    /// From pixel to pixel of the copy.
    var patchPitch: Int
    /// Not 0: so many tiles of a row are copied together, from the first to the last of their columns.
    var bandTiles = 0
    /// The tensor is large: the pixels of the next tiles are fetched.
    var fetches: Bool
    var addresses: UnsafeMutablePointer<UnsafePointer<Scalar>>
    var scratch: UnsafeMutablePointer<Scalar>
    var patch: UnsafeMutablePointer<Scalar>
}

@_optimize(speed)
func transformTiles<Scalar: KernelScalar>(
    _ source: TileSource<Scalar>, _ tiling: Tiling, _ firstTile: Int, _ count: Int, to points: UnsafeMutablePointer<Scalar>
) {
    let (side, pixels) = (source.side, source.addresses)
    var target = points
    let (vertical, horizontal) = (tiling.vertical, tiling.horizontal)
    // Of a band: its columns, from row to row, tiles still to come.
    var (bandColumns, bandPitch, bandLeft) = (0..<0, 0, 0)
    var outside = source.outside
    if !source.readsDirectly {
        // Vectors may reach beyond the channels.
        let pixels = source.bandTiles == 0
            ? side * side : side * (side + (source.bandTiles - 1) * horizontal.outputs) + 1
        source.patch.update(repeating: 0, count: pixels * source.patchPitch)
        if source.bandTiles > 0 {
            let last = source.patch + (pixels - 1) * source.patchPitch
            copyElements(source.outside, count: source.channels, to: last)
            outside = UnsafePointer(last)
        }
    }
    // The pixels some tiles further, if those are in the same row.
    let tilesAhead = ceilDivide(8 * source.lanes, source.channelPitch)
    let pixelsAhead = source.fetches && source.readsDirectly
        ? tilesAhead * horizontal.outputs * horizontal.lattice.offsetStep : 0
    let ahead = pixelsAhead * source.strides.column * MemoryLayout<Scalar>.stride
    var rows = InlineArray<6, Int>(repeating: 0)
    var columns = InlineArray<6, Int>(repeating: 0)
    var tile = TilePlace(firstTile, tiling)
    for _ in 0..<count {
        let row = vertical.start(tile.row)
        let column = horizontal.start(tile.column)
        for i in 0..<side {
            rows[i] = readIndex(row, i, vertical.lattice, source.rows, source.mode)
            columns[i] = readIndex(column, i, horizontal.lattice, source.columns, source.mode)
        }
        var image = source.tensor + tile.image * source.strides.batch
        var (rowStride, columnStride) = (source.strides.row, source.strides.column)
        if source.bandTiles > 0 {
            if bandLeft == 0 {
                bandLeft = min(source.bandTiles, tiling.columns - tile.column)
                let start = column + horizontal.lattice.offsetStart
                let first = min(max(0, start), source.columns)
                bandColumns = first..<max(first, min(source.columns, start + (bandLeft - 1) * horizontal.outputs + side))
                bandPitch = bandColumns.count * source.patchPitch
                for i in 0..<side where rows[i] >= 0 {
                    source.elements.packPixels(
                        from: image + (rows[i] * rowStride + first * columnStride), columnStride: columnStride,
                        channelStride: source.strides.channel, columns: bandColumns.count, channels: source.channels,
                        pixelPitch: source.patchPitch, to: source.patch + i * bandPitch)
                }
            }
            bandLeft -= 1
            image = UnsafePointer(source.patch) - bandColumns.lowerBound * source.patchPitch
            (rowStride, columnStride) = (bandPitch, source.patchPitch)
        }
        for i in 0..<side {
            for j in 0..<side {
                pixels[i * side + j] = rows[i] < 0 || columns[j] < 0
                    ? outside : image + (source.bandTiles > 0 ? i : rows[i]) * rowStride + columns[j] * columnStride
            }
        }
        if !source.readsDirectly, source.bandTiles == 0 {
            packTile(
                pixels, count: side * side, channels: source.channels, channelStride: source.strides.channel,
                outside: source.outside, pitch: source.patchPitch, to: source.patch)
            for pixel in 0..<side * side { pixels[pixel] = UnsafePointer(source.patch + pixel * source.patchPitch) }
        }
        let arguments = WinogradInputArguments(
            pixels: pixels, vectors: source.channelPitch / source.lanes, scratch: source.scratch, target: target,
            pointPitch: source.pointPitch, side: side, ahead: ahead)
        withUnsafePointer(to: arguments) { source.transform($0) }
        target += source.channelPitch
        tile.advance(tiling)
    }
}

/// The input index that tap `tap` of output `start` reads, or -1 outside. A tile may reach beyond the last output's taps, and
/// read there what no output depends on.
@inline(__always)
private func readIndex(_ start: Int, _ tap: Int, _ lattice: Lattice, _ length: Int, _ mode: BorderMode) -> Int {
    let index = start + lattice.offsetStart + tap * lattice.offsetStep
    if UInt(bitPattern: index) < UInt(bitPattern: length) { return index }
    // Within what the padding permits: not beyond the last tap of the last output.
    guard index < lattice.count + lattice.lastOffset, let place = borderIndex(index, length, mode) else { return -1 }
    return place
}

/// The transformed input as `accumulatePointRow` reads it: `[row of points][four tiles][input channel][point][tile]`.
private func turnTiles<Scalar: KernelScalar>(
    _ part: Winograd, _ inputs: Int, _ count: Int, _ memory: UnsafeMutableRawPointer, _: Scalar.Type
) {
    let transformed = UnsafePointer((memory + part.transformed).assumingMemoryBound(to: Scalar.self))
    var target = (memory + part.turned).assumingMemoryBound(to: Scalar.self)
    // Four lines are fewer than a block's.
    for row in 0..<part.side {
        for tile in stride(from: 0, to: count, by: pointRowTiles) {
            for column in 0..<part.side {
                turn(
                    transformed + (row * part.side + column) * part.pointPitch + tile * part.channelPitch, lines: pointRowTiles,
                    count: inputs, sourceLine: part.channelPitch, to: target + column * pointRowTiles,
                    targetLine: part.side * pointRowTiles, by: nil)
            }
            target += part.side * pointRowTiles * inputs
        }
    }
}

/// `multiplyPoints` of a panel of one vector, whose weights are kept as parts.
private func multiplyPointRows<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ part: Winograd, _ panel: UnsafePointer<Panel>, _ count: Int,
    _ memory: UnsafeMutableRawPointer, _: Scalar.Type
) {
    guard let multiply = plan.pointee.table.pointee.pointRow else { return }
    let inputs = plan.pointee.layer.inChannelsPerGroup
    let width = panel.pointee.width
    var turned = UnsafePointer((memory + part.turned).assumingMemoryBound(to: Scalar.self))
    let sums = (memory + part.sums).assumingMemoryBound(to: Scalar.self)
    var parts = UnsafePointer(plan.pointee.weights.assumingMemoryBound(to: Scalar.self))
        + panel.pointee.offset * part.packedPoints * inputs
    for row in 0..<part.side {
        for tile in stride(from: 0, to: count, by: pointRowTiles) {
            let arguments = PointRowArguments(
                parts: parts, fetches: tile == 0, inputs: turned, channels: inputs, chunk: part.chunk,
                sums: sums + row * part.side * part.sumPitch + tile * width, pointPitch: part.sumPitch)
            withUnsafePointer(to: arguments) { multiply($0) }
            turned += part.side * pointRowTiles * inputs
        }
        parts += 3 * inputs * width
    }
}

/// sums[point][tile][output channel] = transformed[point][tile] times the panel's weights at that point
private func multiplyPoints<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ part: Winograd, _ panel: UnsafePointer<Panel>, _ blockWeights: Int, _ count: Int,
    _ memory: UnsafeMutableRawPointer, _: Scalar.Type
) {
    let inputs = plan.pointee.layer.inChannelsPerGroup
    let tallest = panel.pointee.kernel.rows
    let width = panel.pointee.width
    let chains = (memory + part.chains).assumingMemoryBound(to: UnsafePointer<Scalar>.self)
    let transformed = UnsafePointer((memory + part.transformed).assumingMemoryBound(to: Scalar.self))
    let sums = (memory + part.sums).assumingMemoryBound(to: Scalar.self)
    let bias = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self))
    let whole = inputs / part.chunk
    let order = (memory + part.order).assumingMemoryBound(to: Int32.self)
    let all = ceilDivide(inputs, part.chunk)
    for chain in 0..<all {
        func layOut(_ rows: Int, _ chains: UnsafeMutablePointer<UnsafePointer<Scalar>>) {
            for r in 0..<rows { chains[chain * rows + r] = transformed + r * part.channelPitch + chain * part.chunk }
        }
        layOut(tallest, chains)
        if let short = panel.pointee.shortKernel { layOut(short.rows, chains + all * tallest) }
        // Each chain is one chunk.
        order[chain * 2] = 1
        order[chain * 2 + 1] = Int32(truncatingIfNeeded: chain)
    }
    var weights = UnsafePointer(plan.pointee.weights.assumingMemoryBound(to: Scalar.self))
        + blockWeights + panel.pointee.offset * part.points * inputs
    // While a point's tiles are multiplied, the next point's weights are fetched: most of them, or none.
    let weightBytes = inputs * width * MemoryLayout<Scalar>.stride
    let fetches = ceilDivide(count, tallest) * inputs
    let aheadStep = fetches * 128 < weightBytes ? 0 : min(64, ceilDivide(weightBytes, fetches))
    for point in 0..<part.points {
        var tile = 0
        var ahead = UnsafeRawPointer(weights) + (aheadStep > 0 ? weightBytes : 0)
        while tile < count {
            let kernel = panel.pointee.nextKernel(count - tile)
            let runs = UnsafePointer(kernel.rows == tallest ? chains : chains + all * tallest)
            var arguments = TileArguments(
                runs: runs, channelOffset: point * part.pointPitch + tile * part.channelPitch, channelPitch: 1,
                order: UnsafePointer(order), chunks: whole, segments: whole, length: part.chunk, segmentsPerChunk: 1,
                panel: weights, ahead: ahead, aheadStep: aheadStep, tile: sums + point * part.sumPitch + tile * width,
                continues: false, outputs: nil, outputOffset: 0, rows: 0, outputPitch: 0, bias: bias, low: 0, high: 0)
            withUnsafePointer(to: arguments) { kernel.accumulate($0) }
            if inputs > whole * part.chunk {
                arguments.runs = runs + whole * kernel.rows
                arguments.chunks = 1
                arguments.length = inputs - whole * part.chunk
                arguments.panel = weights + whole * part.chunk * width
                arguments.continues = true
                arguments.ahead += whole * part.chunk * aheadStep
                withUnsafePointer(to: arguments) { kernel.accumulate($0) }
            }
            tile += kernel.rows
            ahead += inputs * aheadStep
        }
        weights += inputs * width
    }
}

@_optimize(speed)
private func finishTiles<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ part: Winograd, _ tiling: Tiling, _ panel: UnsafePointer<Panel>, _ firstTile: Int,
    _ count: Int, _ output: UnsafeMutablePointer<Scalar>, _ memory: UnsafeMutableRawPointer
) {
    let layer = plan.pointee.layer
    let width = panel.pointee.width
    let bias = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self)) + panel.pointee.offset
    let activation = layer.activation.converted(to: Scalar.self)
    let bounds = activation.bounds
    // Bounds are part of the transform, which stores whole vectors of neighbouring channels.
    let isBounded = bounds != nil && !layer.means.accumulates
    let isDirect = isBounded && layer.output.channel == 1 && panel.pointee.channels == width
    let values = (memory + part.patch).assumingMemoryBound(to: Scalar.self)
    let spare = (memory + part.spare).assumingMemoryBound(to: Scalar.self)
    let scratch = (memory + part.scratch).assumingMemoryBound(to: Scalar.self)
    let places = (memory + part.addresses).assumingMemoryBound(to: UnsafeMutablePointer<Scalar>.self)
    var sums = (memory + part.sums).assumingMemoryBound(to: Scalar.self)
    let (vertical, horizontal) = (tiling.vertical, tiling.horizontal)
    let table = plan.pointee.table
    let transform = (part.side == smallWinogradSide ? table.pointee.transformSmallOutput : nil) ?? table.pointee.transformOutput
    let rowStride = layer.output.row * vertical.outputStep
    let columnStride = layer.output.column * horizontal.outputStep
    // Finished tiles wait for those beside them.
    var waiting = 0
    // The pixels of the next tile, if that is in the same row.
    let ahead = part.fetchesImages && isDirect ? horizontal.outputs * columnStride * MemoryLayout<Scalar>.stride : 0
    var tile = TilePlace(firstTile, tiling)
    for number in 0..<count {
        let row = vertical.start(tile.row)
        let column = horizontal.start(tile.column)
        let rows = vertical.count(from: row)
        let columns = horizontal.count(from: column)
        let corner = output + tile.image * layer.output.batch + vertical.place(row) * layer.output.row
            + horizontal.place(column) * layer.output.column + panel.pointee.firstChannel * layer.output.channel
        let finished = values + waiting * winogradOutputs * winogradOutputs * width
        for i in 0..<winogradOutputs {
            for j in 0..<winogradOutputs {
                let pixel = i * winogradOutputs + j
                places[pixel] = !isDirect ? finished + pixel * width
                    : i < rows && j < columns ? corner + i * rowStride + j * columnStride : spare
            }
        }
        let arguments = WinogradOutputArguments(
            sums: UnsafePointer(sums), pointPitch: part.sumPitch, vectors: panel.pointee.kernel.vectors, scratch: scratch,
            outputs: UnsafePointer(places), bias: isBounded ? bias : bias - plan.pointee.width,
            low: isBounded ? bounds?.low ?? 0 : -.infinity, high: isBounded ? bounds?.high ?? 0 : .infinity,
            side: part.side, rowTaps: vertical.lattice.taps, columnTaps: horizontal.lattice.taps, ahead: ahead)
        withUnsafePointer(to: arguments) { transform($0) }
        if isBounded, !isDirect {
            waiting += 1
            if waiting == part.storedTiles || tile.column + 1 == tiling.columns || number + 1 == count {
                let before = (waiting - 1) * horizontal.outputs
                unpackTiles(
                    values, pitch: width, channels: panel.pointee.channels, rows: rows, columns: before + columns,
                    outputs: horizontal.outputs, to: corner - before * columnStride, rowStride: rowStride,
                    columnStride: columnStride, channelStride: layer.output.channel)
                waiting = 0
            }
        } else if !isBounded {
            for i in 0..<rows {
                for j in 0..<columns { places[j] = corner + i * rowStride + j * columnStride }
                let arguments = EpilogueArguments(
                    tile: values + i * winogradOutputs * width, rows: columns, lanes: width, channels: panel.pointee.channels,
                    bias: bias, outputs: UnsafePointer(places), channelStride: layer.output.channel, activation: activation,
                    accumulates: layer.means.accumulates)
                withUnsafePointer(to: arguments) { plan.pointee.table.pointee.finish($0) }
            }
        }
        sums += width
        tile.advance(tiling)
    }
}
