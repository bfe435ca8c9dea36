import CConvolution
import CConvolutionShims
import ConvolutionKernels

// Kernel gradients by outer products: bands of pixels are packed and multiplied tap by tap, the channels of one image pixel by
// those of one point, and added up in registers. See `KernelGradient.swift`.

/// Sums of an item, in elements: they stay in a level-2 cache too.
private let itemSums = 1 << 18
/// Bytes of a row of a single pixel's products.
private let longestRow = 16 << 10
/// Of both tensors, in a level-2 cache.
private let cachedBytes = 1 << 20

/// What an element takes to be packed beside those of other kernel rows, by squares or by itself, in vectors of multiply-adds.
private let mergedElement = (together: 2.0, apart: 4.0)

extension UnsafePointer<KernelTable> {
    /// Vectors of multiply-adds per pixel of tiles for so many lefts and lanes, those that are not full too.
    fileprivate func outerProducts(_ lefts: Int, _ rights: Int) -> Double {
        let vectors = ceilDivide(rights, lanes)
        let panel = pointee.outerTiles[min(vectors, pointee.widestTile) - 1]
        // Many fill their tiles.
        var rows = lefts < 4 * commonTileRows ? 0 : lefts
        while rows < lefts { rows += outerTile(panel, rest: lefts - rows).rows }
        return Double(rows) * Double(vectors)
    }
}

extension Layer {
    /// Where the taps of a pair of channels are neighbours in the kernel array, a gradient is written pair by pair.
    fileprivate func writesTapsTogether(_ mergesTaps: Bool) -> Bool {
        torchKernel && !mergesTaps && vertical.kernel * horizontal.kernel > 1
    }
}

/// Vectors of multiply-adds per pixel.
struct OuterProductWork {
    /// Neighbouring taps of one kernel row are neighbours in the packed image.
    var mergesTaps: Bool
    /// And so are those of all rows: what they read of a column is packed side by side, for each output row anew.
    var mergesRows = false
    /// Of a group, by tiles, which are not all full, and to merge rows.
    var computed: Double
    /// If rows are not merged: what other algorithms are compared with.
    var apart: Double
    /// Only this, which changes no bit, may depend on the kernel's format and the image's strides.
    var pointsInVectors: Bool

    init(_ layer: Layer, _ table: UnsafePointer<KernelTable>, _ across: PackedAxis) {
        let (inputs, outputs) = (layer.inChannelsPerGroup, layer.outChannelsPerGroup)
        let columns = layer.horizontal.kernel
        func work(lefts: Int, rights: Int) -> Double { Double(max(lefts, 4)) * Double(ceilDivide(rights, table.lanes)) }
        // Where one tap's channels fill the rows of tiles, nothing is gained.
        mergesTaps = across.isDense(layer.horizontal) && layer.horizontal.dilation == 1 && columns > 1 && inputs < commonTileRows
            && inputs % largestTileSide != 0
        let rows = layer.vertical.kernel
        let groups = Double(layer.groups)
        func products(_ runs: Int) -> Double { min(table.outerProducts(runs, outputs), table.outerProducts(outputs, runs)) }
        var runs = mergesTaps ? inputs * columns : inputs
        var repeats = Double(rows) * Double(mergesTaps ? 1 : columns)
        computed = products(runs) * repeats
        apart = min(work(lefts: runs, rights: outputs), work(lefts: outputs, rights: runs)) * repeats * groups
        if mergesTaps, rows > 1 {
            let element = layer.isDouble || inputs > 1 ? mergedElement.apart : mergedElement.together
            let merged = products(rows * runs) + element * Double(rows * inputs) * Double(layer.horizontal.stride)
            if merged < computed {
                (mergesRows, computed) = (true, merged)
                (runs, repeats) = (runs * rows, 1)
            }
        }
        let byPoints = work(lefts: runs, rights: outputs) * repeats * groups
        let byImage = work(lefts: outputs, rights: runs) * repeats * groups
        // Lanes that are not neighbours in the result are written one by one, which takes as long as the sums of some 48 pixels.
        let scattered = 1 + 48 / Double(layer.batch * layer.vertical.output * layer.horizontal.output)
        let imageScatters = mergesTaps || layer.kernelStrides.input != 1 && !layer.writesTapsTogether(mergesTaps)
        // An image whose channels end in a part of a vector is packed then; such points are read in place.
        let packs = !mergesTaps && layer.input.channel == 1 && inputs % table.lanes != 0
        let packing = packs ? Double(layer.inChannels) / 2 : 0
        pointsInVectors = byPoints * (layer.kernelStrides.output != 1 ? scattered : 1)
            <= byImage * (imageScatters ? scattered : 1) + packing
    }
}

struct OuterProductPlan {
    /// The convolution whose input is the image.
    var layer: Layer
    var table: UnsafePointer<KernelTable>
    /// Vectors hold channels of the points, not of the image; the other tensor's are broadcast.
    var pointsInVectors: Bool
    /// Neighbouring taps of one kernel row are neighbours in the packed image: a run of (tap, channel) counts as channels of one
    /// tap.
    var mergesTaps = false
    /// And one of (tap, channel, kernel row): see `OuterProductWork`. Then there is one tap.
    var mergesRows = false
    var bands: GradientBands
    /// How the image places of a band are packed.
    var down: PackedAxis
    var across: PackedAxis
    /// One band holds all pixels: a tile's sums are complete after its only call, and are written then.
    var hasOneBand = false
    /// Channels last: the kernels read the caller's array, and nothing is packed.
    var readsPoints = false
    var readsImage = false
    /// A level-2 cache does not hold both tensors.
    var isLarge = false
    /// The points have a partial vector, which reaches into the next pixel: the band of the last one is packed.
    var packsLastPixel = false
    /// One band and a partial vector: the last panel begins so early that it ends with the last lane, and some are computed
    /// twice.
    var overlapsPanels = false
    var writesTapsTogether = false
    /// The lanes of a tile are neighbours in the result, which holds the sums of complete tiles from the start.
    var addsInPlace = false
    /// One pixel and tap, which are read in place: products of two lines of channels, written row by row.
    var isSinglePixel = false

    /// Rows and lanes of all tiles of one group and tap.
    var lefts = 0
    var rights = 0
    var tapRows = 1
    var tapColumns = 1
    var panelVectors = 0
    var panelCount = 0
    /// The first have one vector more.
    var largerPanels = 0
    var largerKernel: TileKernel
    var smallerKernel: TileKernel
    /// Not nil: instead of those, for all taps of a kernel row at once, in bands with columns that all of them read.
    var tapRowKernel: TileKernel?

    /// What one item does, of each group: panels, kernel rows and runs of `commonTileRows` lefts.
    var panelsPerItem = 0
    var tapRowsPerItem = 0
    var leftUnitsPerItem = 0
    var panelChunks = 1
    var tapRowChunks = 1
    var leftChunks = 1
    var groups = 1
    var items: Int { groups * panelChunks * tapRowChunks * leftChunks }

    /// Byte offsets into one thread's scratch memory.
    var rowPlacesAt = 0
    var columnPlacesAt = 0
    var leftRunsAt = 0
    var rightRunsAt = 0
    var pointsAt = 0
    var imageAt = 0
    /// The image before rows are merged.
    var apartAt = 0
    var sumsAt = 0
    /// Elements of the sums of one item.
    var sums = 0
    var bytes = 0

    /// Of the image's places beside each other.
    var mergedRows: Int { mergesRows ? layer.vertical.kernel : 1 }
    var leftUnits: Int { ceilDivide(lefts, commonTileRows) }
    /// From pixel to pixel of packed lefts. A tile's rows beyond the last left are those of the next pixel, which nobody uses.
    var leftPitch: Int { min(lefts, commonTileRows) }
    /// Zeros outside are left out, row by row and, where taps are not merged, column by column.
    var leavesOutZeros: Bool {
        layer.paddingMode == .constant && layer.paddingValue == 0
    }

    /// Rows of the tile at `left` that would be beyond the last channel of a pixel: it begins as many before.
    @inline(__always)
    func skippedRows(_ left: Int, _ rows: Int, group: Int) -> Int {
        if !(pointsInVectors ? readsImage : readsPoints) { return 0 }
        return max(0, group &* lefts &+ left &+ rows &- (pointsInVectors ? layer.inChannels : layer.outChannels))
    }

    /// That of a panel, or another one where fewer rows then make up those that are left, `rest`. Packed rows lie in units.
    @inline(__always)
    func kernel(_ panel: TileKernel, at left: Int, rest: Int) -> TileKernel {
        // A unit that is not the last is made up by either.
        guard mergesTaps && pointsInVectors || rest < commonTileRows &- left % commonTileRows else { return panel }
        return table.outerTile(panel, rest: rest)
    }

    /// Rows of all tiles of `count` lefts.
    func rows(_ panel: TileKernel, _ count: Int) -> Int {
        var left = 0
        while left < count { left += kernel(panel, at: left, rest: count - left).rows }
        return left
    }

    /// First lane and width of a panel. The vectors are spread evenly, so that 5 become 3 + 2.
    func panel(_ index: Int) -> (first: Int, width: Int, kernel: TileKernel) {
        let kernel = index < largerPanels ? largerKernel : smallerKernel
        let width = kernel.vectors &* table.lanes
        let first = (index &* smallerKernel.vectors &+ min(index, largerPanels)) &* table.lanes
        return (overlapsPanels ? min(first, rights &- width) : first, width, kernel)
    }

    /// Spreads the vectors evenly over panels.
    private mutating func setPanels(_ count: Int) {
        panelCount = count
        let share = panelVectors / count
        largerPanels = panelVectors % count
        (largerKernel, smallerKernel) = (table.pointee.outerTiles[min(share, 3)], table.pointee.outerTiles[share - 1])
    }

    /// Items whose sums fit a cache, and what they need the limit. Of these divisions the one by which threads end soonest: large
    /// items pack less twice, even ones keep no thread waiting.
    private mutating func divide(threads: Int) throws(Failure) {
        func halvings(_ count: Int) -> UnfoldFirstSequence<Int> {
            sequence(first: count) { $0 == 1 ? nil : ceilDivide($0, 2) }
        }
        // As many panels for each thread too, unless that makes them narrow. Panels that overlap are one thread's: both write the
        // lanes they share.
        let fewest = panelCount
        let even = ceilDivide(fewest, threads) * threads
        var best: (time: Double, panelCount: Int, panels: Int, tapRows: Int, leftUnits: Int)?
        let most = overlapsPanels || 2 * even > panelVectors ? fewest : even
        let limit = layer.means.workspaceLimit
        if limit < Int.max {
            // The least is what any number of threads may divide the work into.
            (panelsPerItem, tapRowsPerItem, leftUnitsPerItem) = (overlapsPanels ? fewest : 1, 1, 1)
            try setItems()
            if bytes > limit { throw Failure.workspace(layer, "this kernel gradient needs at least", bytes) }
        }
        for count in stride(from: fewest, through: most, by: max(1, most - fewest)) {
            setPanels(count)
            for panels in halvings(count) where panels == count || !overlapsPanels {
                for rows in halvings(tapRows) {
                    for units in halvings(leftUnits) {
                        (panelsPerItem, tapRowsPerItem, leftUnitsPerItem) = (panels, rows, units)
                        try setItems()
                        let isSmallest = (panels == 1 || overlapsPanels) && rows == 1 && units == 1
                        guard sums <= itemSums && bytes <= limit || isSmallest && best == nil else { continue }
                        let time = itemTime() * Double(ceilDivide(items, threads))
                        if best.map({ time < $0.time }) ?? true { best = (time, count, panels, rows, units) }
                    }
                }
            }
        }
        guard let best else { return }
        setPanels(best.panelCount)
        (panelsPerItem, tapRowsPerItem, leftUnitsPerItem) = (best.panels, best.tapRows, best.leftUnits)
        try setItems()
    }

    private mutating func setItems() throws(Failure) {
        panelChunks = ceilDivide(panelCount, panelsPerItem)
        tapRowChunks = ceilDivide(tapRows, tapRowsPerItem)
        leftChunks = ceilDivide(leftUnits, leftUnitsPerItem)
        let width = itemVectors * table.lanes
        // In place all but the last row of tiles, and a panel with a partial vector.
        let edge = rights % table.lanes == 0 ? 0 : table.pointee.widestTile * table.lanes
        let elements = addsInPlace
            ? try times(width, largestTileSide, "the sums") + times(edge, leftUnitsPerItem * commonTileRows, "the sums")
            : try times(width, leftUnitsPerItem * commonTileRows, "the sums")
        sums = hasOneBand ? largestTileScalars : try times(elements, tapRowsPerItem * tapColumns, "the sums")
        try layOut()
    }

    /// Places scratch memory. Vectors and rows may read beyond the last packed element, into what nobody uses.
    private mutating func layOut() throws(Failure) {
        let (size, lanes) = (layer.elementBytes, table.lanes)
        let slack = largestTileScalars
        let places = try times(times(bands.images, down.places, "a band"), across.places, "a band")
        let merged = try times(bands.images * bands.rows * across.places, mergedRows, "a band")
        let panelWidth = itemVectors * lanes
        let leftWidth = leftUnitsPerItem * commonTileRows
        let pointsWidth = pointsInVectors ? panelWidth : leftWidth
        let imageWidth = mergesTaps ? layer.inChannelsPerGroup : pointsInVectors ? leftWidth : panelWidth
        let pointer = MemoryLayout<UnsafeRawPointer>.stride
        rowPlacesAt = 0
        columnPlacesAt = rowPlacesAt + aligned(max(down.places, bands.rows) * MemoryLayout<Int>.stride)
        leftRunsAt = columnPlacesAt + aligned(max(across.places, bands.columns) * MemoryLayout<Int>.stride)
        rightRunsAt = leftRunsAt + aligned(bands.images * bands.rows * pointer)
        pointsAt = rightRunsAt + aligned(bands.images * bands.rows * pointer)
        imageAt = pointsAt + aligned(try times(bands.pixels, pointsWidth, "a band") * size + slack * size)
        apartAt = imageAt + aligned(try times(mergesRows ? merged : places, imageWidth, "a band") * size + slack * size)
        sumsAt = apartAt + (mergesRows ? aligned(try times(places, imageWidth, "a band") * size) : 0)
        bytes = sumsAt + aligned(try times(sums, (bands.isBlocked ? 3 : 1) * size, "the sums"))
    }

    /// Of the widest item.
    private var itemVectors: Int { panelsPerItem * smallerKernel.vectors + min(panelsPerItem, largerPanels) }

    /// Half cycles per pixel, about: multiply-adds of vectors, and packing what is not read in place, or only streaming it.
    private func itemTime() -> Double {
        let lefts = min(leftUnitsPerItem * commonTileRows, self.lefts)
        func load(_ strides: Strides, isRead: Bool) -> Double { isRead ? 0.2 : strides.channel == 1 ? 0.6 : 1.5 }
        let points = load(layer.output, isRead: readsPoints)
        let imageRows = mergesRows ? bands.rows * mergedRows : down.places
        let placesPerPixel = Double(imageRows * across.places) / Double(bands.rows * bands.columns)
        let image = load(layer.input, isRead: readsImage) * placesPerPixel
        let width = Double(itemVectors * table.lanes)
        let merged = Double(layer.inChannelsPerGroup)
        var loads = pointsInVectors
            ? width * points + (mergesTaps ? merged : Double(lefts)) * image
            : Double(lefts) * points + (mergesTaps ? merged : width) * image
        // Taps that are neighbours in the array are best written together.
        if writesTapsTogether, tapRowsPerItem < tapRows { loads *= 1.5 }
        let largerPanels = min(panelsPerItem, self.largerPanels)
        let products = largerPanels * largerKernel.vectors * rows(largerKernel, lefts)
            + (panelsPerItem - largerPanels) * smallerKernel.vectors * rows(smallerKernel, lefts)
        return Double(tapRowsPerItem * tapColumns * products) + loads
    }

    init(_ layer: Layer, _ table: UnsafePointer<KernelTable>) throws(Failure) {
        self.layer = layer
        self.table = table
        (largerKernel, smallerKernel) = (table.pointee.outerTiles[0], table.pointee.outerTiles[0])
        let (vertical, horizontal) = (layer.vertical, layer.horizontal)
        let (inputs, outputs) = (layer.inChannelsPerGroup, layer.outChannelsPerGroup)

        bands = GradientBands(layer)
        across = PackedAxis(horizontal, outputs: bands.columns)
        down = PackedAxis(vertical, outputs: bands.rows)
        groups = layer.groups
        tapRows = vertical.kernel
        tapColumns = horizontal.kernel

        let lanes = table.lanes
        let work = OuterProductWork(layer, table, across)
        (mergesTaps, mergesRows) = (work.mergesTaps, work.mergesRows)
        let runs = mergesTaps ? inputs * tapColumns * (mergesRows ? tapRows : 1) : inputs
        pointsInVectors = work.pointsInVectors
        if mergesTaps { tapColumns = 1 }
        if mergesRows { tapRows = 1 }
        (lefts, rights) = pointsInVectors ? (runs, outputs) : (outputs, runs)
        panelVectors = ceilDivide(rights, lanes)
        setPanels(ceilDivide(panelVectors, table.pointee.widestTile))
        writesTapsTogether = layer.writesTapsTogether(mergesTaps)
        hasOneBand = bands.isSingle && !writesTapsTogether
        let strides = layer.kernelStrides
        addsInPlace = !bands.isBlocked && !layer.means.accumulates && !writesTapsTogether && !mergesRows
            && (pointsInVectors ? strides.output : mergesTaps ? 0 : strides.input) == 1
            && (!mergesTaps || !layer.flipKernel && strides.column == inputs * strides.input)
        // Pixels that are a multiple of a page apart share few sets of the caches: many are packed, or fewer if that is worth
        // while.
        let page = 4096 / layer.elementBytes
        func sharesSets(_ pitch: Int, isLeft: Bool) -> Bool {
            let uses = tapRows * tapColumns * (isLeft ? panelCount : ceilDivide(lefts, largestTileSide))
            return pitch % page == 0 && bands.pixels > (uses < 8 ? 256 : 128)
        }
        readsPoints = layer.output.channel == 1 && !sharesSets(layer.output.column, isLeft: !pointsInVectors)
            && layer.outChannels >= (pointsInVectors ? lanes : largestTileSide)
        readsImage = layer.input.channel == 1 && !sharesSets(layer.input.column * horizontal.stride, isLeft: pointsInVectors)
            && (pointsInVectors ? layer.inChannels >= largestTileSide : inputs % lanes == 0) && leavesOutZeros && !mergesTaps
        packsLastPixel = outputs % lanes != 0 && pointsInVectors
        overlapsPanels = packsLastPixel && hasOneBand && addsInPlace && readsPoints && panelCount > 1
        if overlapsPanels {
            packsLastPixel = false
        } else if packsLastPixel {
            readsPoints = readsPoints && !hasOneBand && layer.output.column == layer.outChannels
                && layer.output.row == horizontal.output * layer.output.column
                && (layer.batch == 1 || layer.output.batch == vertical.output * layer.output.row)
        }

        let elements = vertical.input * horizontal.input * layer.inChannels
            + vertical.output * horizontal.output * layer.outChannels
        isLarge = layer.batch * elements * layer.elementBytes > cachedBytes

        // Rows of one whole panel are a tile's as well; longer ones than these leave the nearest cache before the next row.
        isSinglePixel = hasOneBand && bands.pixels == 1 && tapRows == 1 && tapColumns == 1 && !mergesTaps && addsInPlace
            && rights >= lanes && rights * layer.elementBytes <= longestRow && (panelCount > 1 || rights % lanes != 0)
            && vertical.start == 0 && horizontal.start == 0 && layer.input.channel == 1 && layer.output.channel == 1
        // Both of two items would write the elements that their vectors share.
        overlapsPanels = overlapsPanels || isSinglePixel

        if let kernel = table.pointee.tapRowTile, pointsInVectors, !mergesTaps, hasTapRows(horizontal),
            rights == kernel.vectors * lanes, lefts % kernel.rows == 0, addsInPlace || !hasOneBand
        {
            tapRowKernel = kernel
        }

        try divide(threads: threadsAvailable(requested: layer.threads))
    }
}

/// Whether `accumulateTapRow` finds the taps of each row: three, of which the first may lie outside in the first column
/// alone, and the last in the last.
private func hasTapRows(_ axis: Axis) -> Bool {
    let last = (axis.output - 1) * axis.stride - axis.start
    return axis.kernel == 3 && axis.start <= min(axis.stride, axis.dilation)
        && last + axis.dilation < axis.input && last - axis.stride + 2 * axis.dilation < axis.input
}

/// A register tile of an item: some lefts, the lanes of a panel, and one tap.
private struct GradientTile {
    /// Of its sums, in elements.
    var offset: Int
    var tapRow: Int
    var tapColumn: Int
    /// The first of its rows, of which `skipped` belong to the tile before: the last tile that is not packed ends with the last
    /// channel.
    var left: Int
    var skipped: Int
    var firstLane: Int
    var width: Int
    var kernel: TileKernel
}

/// One item of work on one thread.
struct OuterProductItem {
    let plan: OuterProductPlan
    let image: UnsafeRawPointer
    let points: UnsafeRawPointer
    let group: Int
    let kernelStrides: (row: Int, column: Int, input: Int, output: Int, group: Int)
    let pointsInVectors: Bool
    let panels: Range<Int>
    let tapRows: Range<Int>
    /// A range of lefts.
    let lefts: Range<Int>
    let packer: PixelPacker
    let leftRuns: UnsafeMutablePointer<UnsafeRawPointer>
    let rightRuns: UnsafeMutablePointer<UnsafeRawPointer>
    let packedPoints: UnsafeMutableRawPointer
    let packedImage: UnsafeMutableRawPointer
    let apart: UnsafeMutableRawPointer
    let sums: UnsafeMutableRawPointer

    private var layer: Layer { plan.layer }
    private var elements: ElementType { packer.elements }
    private var size: Int { elements.bytes }

    init(
        _ plan: OuterProductPlan, _ item: Int, image: UnsafeRawPointer, points: UnsafeRawPointer,
        _ workspace: UnsafeMutableRawPointer
    ) {
        self.plan = plan
        self.image = image
        self.points = points
        var rest = item
        let leftChunk = rest % plan.leftChunks
        rest /= plan.leftChunks
        let tapRowChunk = rest % plan.tapRowChunks
        rest /= plan.tapRowChunks
        let panelChunk = rest % plan.panelChunks
        group = rest / plan.panelChunks
        kernelStrides = plan.layer.kernelStrides
        pointsInVectors = plan.pointsInVectors
        let unit = plan.leftUnitsPerItem * commonTileRows
        lefts = leftChunk * unit..<min((leftChunk + 1) * unit, plan.lefts)
        tapRows = tapRowChunk * plan.tapRowsPerItem..<min((tapRowChunk + 1) * plan.tapRowsPerItem, plan.tapRows)
        panels = panelChunk * plan.panelsPerItem..<min((panelChunk + 1) * plan.panelsPerItem, plan.panelCount)
        packer = PixelPacker(
            elements: plan.layer.elements, rows: (workspace + plan.rowPlacesAt).assumingMemoryBound(to: Int.self),
            columns: (workspace + plan.columnPlacesAt).assumingMemoryBound(to: Int.self))
        leftRuns = (workspace + plan.leftRunsAt).assumingMemoryBound(to: UnsafeRawPointer.self)
        rightRuns = (workspace + plan.rightRunsAt).assumingMemoryBound(to: UnsafeRawPointer.self)
        packedPoints = workspace + plan.pointsAt
        packedImage = workspace + plan.imageAt
        apart = workspace + plan.apartAt
        sums = workspace + plan.sumsAt
    }

    /// Visits the item's tiles: for each panel and tap; where each is written at once, for each tap some lefts of all panels, so
    /// that the lines of the result follow each other. With `byTapRows` only those of the first tap of each kernel row.
    @inline(__always)
    private func forEachTile(byTapRows: Bool = false, _ body: (GradientTile) -> Void) {
        var offset = 0
        let stride = plan.hasOneBand ? 4 * commonTileRows : lefts.count
        let parts = plan.hasOneBand ? 1 : panels.count
        let taps = byTapRows ? plan.tapColumns : 1
        for part in 0..<parts {
            for tapRow in tapRows {
                for tapColumn in 0..<plan.tapColumns / taps {
                    let start = offset
                    var first = lefts.lowerBound
                    while first < lefts.upperBound {
                        let end = min(first &+ stride, lefts.upperBound)
                        for index in plan.hasOneBand ? panels : panels.lowerBound &+ part..<panels.lowerBound &+ part &+ 1 {
                            let panel = plan.panel(index)
                            var left = first
                            while left < end {
                                let kernel = plan.kernel(panel.kernel, at: left &- lefts.lowerBound, rest: end &- left)
                                let skipped = plan.skippedRows(left, kernel.rows, group: group)
                                let tile = GradientTile(
                                    offset: offset, tapRow: tapRow, tapColumn: tapColumn, left: left &- skipped, skipped: skipped,
                                    firstLane: panel.first, width: panel.width, kernel: kernel)
                                body(tile)
                                if !plan.hasOneBand, !addsInPlace(tile) { offset &+= kernel.rows &* panel.width }
                                left &+= kernel.rows
                            }
                        }
                        first = end
                    }
                    offset &+= (taps &- 1) &* (offset &- start)
                }
            }
        }
    }

    /// Adds up the item's share of the gradient: in `sums`, except for tiles that are done already.
    func addUp(_ result: UnsafeMutableRawPointer) {
        if plan.isSinglePixel {
            elements.bytes == 8 ? multiplyPixel(to: result, Double.self) : multiplyPixel(to: result, Float.self)
            return
        }
        plan.bands.addUp(in: sums, count: plan.sums, elements) { band, isFirst in addBand(band, isFirst: isFirst, result) }
    }

    /// Whole rows of the result after each other: of tiles, stores wait for lines that the processor does not foresee. Each
    /// product is added to 0, as in tiles, which decides what sign a zero has.
    private func multiplyPixel<Scalar: KernelScalar>(to result: UnsafeMutableRawPointer, _: Scalar.Type) {
        let image = image.assumingMemoryBound(to: Scalar.self) + group &* layer.inChannelsPerGroup
        let points = points.assumingMemoryBound(to: Scalar.self) + group &* layer.outChannelsPerGroup
        let (left, right) = pointsInVectors ? (image, points) : (points, image)
        let result = result.assumingMemoryBound(to: Scalar.self) + group &* kernelStrides.group
        // What would be packed has as much memory.
        let zeros = pointsInVectors ? packedPoints : packedImage
        elements.clear(zeros, count: plan.rights)
        // Of some rows at a time: each is the zeros times one, and the right one times an element of the left.
        var factors = InlineArray<16, UnsafePointer<Scalar>>(repeating: right)
        for i in 0..<8 { factors[2 * i] = UnsafePointer(zeros.assumingMemoryBound(to: Scalar.self)) }
        var weights = InlineArray<16, Scalar>(repeating: 1)
        withUnsafePointer(to: &factors) { factors in
            withUnsafeMutablePointer(to: &weights) { weights in
                let weights = UnsafeMutableRawPointer(weights).assumingMemoryBound(to: Scalar.self)
                var row = lefts.lowerBound
                while row < lefts.upperBound {
                    let count = min(8, lefts.upperBound &- row)
                    for i in 0..<count { weights[2 &* i &+ 1] = left[row &+ i] }
                    let rows = BlendRowsArguments(
                        count: count, rows: UnsafeRawPointer(factors).assumingMemoryBound(to: UnsafePointer<Scalar>.self),
                        weights: weights, taps: 2, output: result + row &* leftStride, pitch: leftStride, elements: plan.rights,
                        streaming: false)
                    withUnsafePointer(to: rows) { plan.table.pointee.blendedRows($0) }
                    row &+= count
                }
            }
        }
    }

    private func addBand(_ band: GradientBand, isFirst: Bool, _ result: UnsafeMutableRawPointer) {
        let across = PackedAxis(layer.horizontal, outputs: band.columns.count)
        let down = PackedAxis(layer.vertical, outputs: band.rows.count)
        let (inputs, outputs) = (layer.inChannelsPerGroup, layer.outChannelsPerGroup)
        let firstLane = plan.panel(panels.lowerBound).first
        let places = band.images.count * down.places * across.places
        let pixels = band.images.count * band.rows.count * band.columns.count

        // The points.
        for row in 0..<band.rows.count { packer.rows[row] = band.rows.lowerBound + row }
        for column in 0..<band.columns.count { packer.columns[column] = band.columns.lowerBound + column }
        let shape = (band.images, band.rows.count, band.columns.count)
        let isLast = band.images.upperBound == layer.batch && band.rows.upperBound == layer.vertical.output
            && band.columns.upperBound == layer.horizontal.output
        let readsPoints = plan.readsPoints && !(plan.packsLastPixel && isLast)
        if readsPoints {
            // Nothing is packed.
        } else if pointsInVectors {
            forEachPanel { first, width in
                packer.pack(
                    points, layer.output, shape, channels: group * outputs + first, count: min(width, plan.rights - first),
                    pitch: width, outside: 0, to: packedPoints + (first - firstLane) * pixels * size)
            }
        } else {
            forEachLeftUnit { first, count in
                packer.pack(
                    points, layer.output, shape, channels: group * outputs + first, count: count, pitch: plan.leftPitch,
                    outside: 0, to: packedPoints + (first - lefts.lowerBound) * pixels * size)
            }
        }

        // The image.
        fillPlaces(packer.rows, layer.vertical, down, outputs: band.rows, layer.paddingMode)
        fillPlaces(packer.columns, layer.horizontal, across, outputs: band.columns, layer.paddingMode)
        let area = (band.images, down.places, across.places)
        let outside = layer.paddingValue
        if plan.readsImage {
            // Nothing is packed.
        } else if plan.mergesTaps {
            packer.pack(image, layer.input, area, channels: group * inputs, count: inputs, pitch: inputs, outside: outside,
                to: plan.mergesRows ? apart : packedImage)
            if plan.mergesRows { mergeRows(images: band.images.count, rows: band.rows.count, down, across) }
        } else if pointsInVectors {
            forEachLeftUnit { first, count in
                packer.pack(
                    image, layer.input, area, channels: group * inputs + first, count: count, pitch: plan.leftPitch,
                    outside: outside, to: packedImage + (first - lefts.lowerBound) * places * size)
            }
        } else {
            forEachPanel { first, width in
                packer.pack(
                    image, layer.input, area, channels: group * inputs + first, count: min(width, plan.rights - first),
                    pitch: width, outside: outside, to: packedImage + (first - firstLane) * places * size)
            }
        }
        multiplyOuter(band, down, across, firstLane, pixels: pixels, places: places, readsPoints: readsPoints, isFirst: isFirst,
            result)
    }

    /// Packs what all kernel rows read for each output row: `[image][row][place][channel][kernel row]`.
    private func mergeRows(images: Int, rows: Int, _ down: PackedAxis, _ across: PackedAxis) {
        let (inputs, merged) = (layer.inChannelsPerGroup, plan.mergedRows)
        let line = across.places &* inputs
        // Rows that read from one place row after the other are one.
        let runs = down.step == 1 ? 1 : rows
        let columns = rows / runs &* across.places
        var target = packedImage
        for image in 0..<images {
            for run in 0..<runs {
                let source = apart + (image &* down.places &+ run &* down.step) &* line &* size
                for channel in 0..<inputs {
                    elements.packPixels(
                        from: source + channel &* size, columnStride: inputs, channelStride: down.tapPitch &* line,
                        columns: columns, channels: merged, pixelPitch: inputs &* merged,
                        to: target + channel &* merged &* size)
                }
                target += columns &* inputs &* merged &* size
            }
        }
    }

    private func forEachPanel(_ body: (_ first: Int, _ width: Int) -> Void) {
        for index in panels {
            let panel = plan.panel(index)
            body(panel.first, panel.width)
        }
    }

    private func forEachLeftUnit(_ body: (_ first: Int, _ count: Int) -> Void) {
        var first = lefts.lowerBound
        while first < lefts.upperBound {
            body(first, min(commonTileRows, lefts.upperBound - first))
            first += commonTileRows
        }
    }

    /// The products of a band, for tiles of lefts and lanes that are channels, or runs of (tap, channel).
    private func multiplyOuter(
        _ band: GradientBand, _ down: PackedAxis, _ across: PackedAxis, _ firstLane: Int, pixels: Int, places: Int,
        readsPoints: Bool, isFirst: Bool, _ result: UnsafeMutableRawPointer
    ) {
        let size = size
        let (inputs, outputs) = (layer.inChannelsPerGroup, layer.outChannelsPerGroup)
        let leavesOut = plan.leavesOutZeros
        let (rowPlaces, columnPlaces) = (packer.rows, packer.columns)
        let readsLefts = pointsInVectors ? plan.readsImage || plan.mergesTaps : readsPoints
        let imageRows = plan.mergesRows ? band.rows.count : down.places
        let unitPitch = commonTileRows &* (pointsInVectors ? places : pixels)
        let (hasOneBand, firstLeft, leftStride, columnStride) = (plan.hasOneBand, lefts.lowerBound, leftStride, columnStride)
        var arguments = OuterProductArguments(
            lefts: UnsafePointer(leftRuns), rights: UnsafePointer(rightRuns), leftOffset: 0, rightOffset: 0, leftPitch: 0,
            rightPitch: 0, segments: 0, length: 0, segmentsPerChunk: plan.bands.segmentsPerChunk, tile: sums, tilePitch: 0,
            continues: !isFirst)
        arguments.fetchesLefts = plan.isLarge && (pointsInVectors ? plan.readsImage : readsPoints)
        // What changes with tap and panel alone is done once for all their tiles.
        var laidOut = (tapRow: -1, width: -1)
        var prepared = (tapRow: -1, tapColumn: -1, firstLane: -1)
        var isEmpty = false
        var leftPlace = 0
        var resultPlace = 0
        let lastPlace = (plan.tapColumns &- 1) &* across.tapPitch &+ (band.columns.count &- 1) &* across.step
        arguments.startsOutside = leavesOut && columnPlaces[0] < 0
        arguments.endsOutside = leavesOut && columnPlaces[lastPlace] < 0
        let tapRowKernel = band.columns.count > 2 ? plan.tapRowKernel : nil
        // A tile of many pixels has the time to wait for its stores.
        let prefetches = isFirst && pixels < 128 && leftStride > 2 &* plan.table.pointee.widestTile &* plan.table.lanes
        forEachTile(byTapRows: tapRowKernel != nil) { tile in
            if prepared.firstLane != tile.firstLane || prepared.tapColumn != tile.tapColumn || prepared.tapRow != tile.tapRow {
                prepared = (tile.tapRow, tile.tapColumn, tile.firstLane)
                let imagePitch = plan.readsImage
                    ? layer.input.column : plan.mergesTaps ? inputs &* plan.mergedRows
                    : pointsInVectors ? plan.leftPitch : tile.width
                let pointPitch = readsPoints ? layer.output.column : pointsInVectors ? tile.width : plan.leftPitch
                if laidOut.tapRow != tile.tapRow || laidOut.width != tile.width {
                    laidOut = (tile.tapRow, tile.width)
                    var segments = 0
                    for image in 0..<band.images.count {
                        for row in 0..<band.rows.count {
                            let place = plan.mergesRows ? row : tile.tapRow &* down.tapPitch &+ row &* down.step
                            if leavesOut, !plan.mergesRows, rowPlaces[place] < 0 { continue }
                            let imageRun = plan.readsImage
                                ? self.image + ((band.images.lowerBound &+ image) &* layer.input.batch
                                    &+ rowPlaces[place] &* layer.input.row &+ group &* inputs) &* size
                                : UnsafeRawPointer(packedImage)
                                + (image &* imageRows &+ place) &* across.places &* imagePitch &* size
                            let pointRun = readsPoints
                                ? points + ((band.images.lowerBound &+ image) &* layer.output.batch
                                    &+ (band.rows.lowerBound &+ row) &* layer.output.row
                                    &+ band.columns.lowerBound &* layer.output.column &+ group &* outputs) &* size
                                : UnsafeRawPointer(packedPoints)
                                + (image &* band.rows.count &+ row) &* band.columns.count &* pointPitch &* size
                            leftRuns[segments] = pointsInVectors ? imageRun : pointRun
                            rightRuns[segments] = pointsInVectors ? pointRun : imageRun
                            segments &+= 1
                        }
                    }
                    arguments.segments = segments
                }
                // Columns whose place lies inside.
                let tap = tile.tapColumn &* across.tapPitch
                var (start, end) = (0, band.columns.count)
                if leavesOut, !plan.mergesTaps, tapRowKernel == nil {
                    while start < end, columnPlaces[tap &+ start &* across.step] < 0 { start &+= 1 }
                    while end > start, columnPlaces[tap &+ (end &- 1) &* across.step] < 0 { end &-= 1 }
                }
                isEmpty = start == end || arguments.segments == 0
                let place = tap &+ start &* across.step
                var imageColumn = plan.readsImage && !isEmpty ? columnPlaces[place] : place
                // In the first column the second tap is inside, but perhaps not the first.
                if tapRowKernel != nil, plan.readsImage {
                    imageColumn = columnPlaces[across.tapPitch] &- layer.horizontal.dilation
                }
                imageColumn = imageColumn &* imagePitch
                arguments.tapPitch = (plan.readsImage ? layer.horizontal.dilation : across.tapPitch) &* imagePitch
                let imageStep = (plan.readsImage ? layer.horizontal.stride : across.step) &* imagePitch
                let pointColumn = start &* pointPitch
                let readsRights = pointsInVectors ? readsPoints : plan.readsImage || plan.mergesTaps
                arguments.rightOffset = (readsRights
                    ? tile.firstLane : (tile.firstLane &- firstLane) &* (pointsInVectors ? pixels : places))
                    &+ (pointsInVectors ? pointColumn : imageColumn)
                leftPlace = pointsInVectors ? imageColumn : pointColumn
                arguments.leftPitch = pointsInVectors ? imageStep : pointPitch
                arguments.rightPitch = pointsInVectors ? pointPitch : imageStep
                arguments.length = end &- start
                resultPlace = index(tile, row: 0) &- tile.left &* leftStride
            }
            if readsLefts {
                arguments.leftOffset = leftPlace &+ tile.left
            } else {
                let (unit, rest) = (tile.left &- firstLeft).quotientAndRemainder(dividingBy: commonTileRows)
                arguments.leftOffset = leftPlace &+ unit &* unitPitch &+ rest
            }
            let inPlace = addsInPlace(tile)
            arguments.tile = inPlace
                ? result + (resultPlace &+ tile.left &* leftStride) &* size : sums + tile.offset &* size
            arguments.tilePitch = inPlace ? leftStride : tile.width
            arguments.tileTapPitch = inPlace ? columnStride : lefts.count &* tile.width
            if inPlace, prefetches {
                // The lines of the next tile: rows that lie far apart are not foreseen.
                var next = arguments.tile + tile.kernel.rows &* leftStride &* size
                for _ in 0..<tile.kernel.rows {
                    for n in 0..<tile.kernel.vectors { shim_prefetch(next + n &* plan.table.lanes &* size) }
                    next += leftStride &* size
                }
            }
            if !isEmpty {
                withUnsafePointer(to: &arguments) { (tapRowKernel ?? tile.kernel).accumulate($0) }
            } else if isFirst {
                // Rows that follow each other are one.
                let isLine = arguments.tilePitch == tile.width
                let (rows, width) = isLine ? (1, tile.kernel.rows &* tile.width) : (tile.kernel.rows, tile.width)
                for tap in 0..<(tapRowKernel == nil ? 1 : plan.tapColumns) {
                    for r in 0..<rows {
                        elements.clear(
                            arguments.tile + (tap &* arguments.tileTapPitch &+ r &* arguments.tilePitch) &* size, count: width)
                    }
                }
            }
            if hasOneBand, !inPlace { writeRows(tile, to: result) }
        }
    }

    /// Stores the sums that are not in place yet, or adds them to what is there.
    func write(to result: UnsafeMutableRawPointer) {
        if plan.writesTapsTogether {
            writeTapsTogether(to: result)
        } else if !plan.hasOneBand {
            forEachTile { tile in if !addsInPlace(tile) { writeRows(tile, to: result) } }
        }
    }

    /// Whether the result itself holds a tile's sums, which takes whole vectors and only rows of its own.
    private func addsInPlace(_ tile: GradientTile) -> Bool {
        plan.addsInPlace && tile.skipped == 0 && tile.left &+ tile.kernel.rows <= lefts.upperBound
            && tile.firstLane &+ tile.width <= plan.rights
    }

    /// From tap to tap of a kernel row in the result, which may run backwards.
    private var columnStride: Int { layer.flipKernel ? -kernelStrides.column : kernelStrides.column }

    private var rowStride: Int { layer.flipKernel ? -kernelStrides.row : kernelStrides.row }

    /// From left to left in the result: in runs of (tap, channel), where they are as far apart as channels.
    private var leftStride: Int { pointsInVectors ? kernelStrides.input : kernelStrides.output }

    /// Where the first lane of a tile's row stands in the result.
    private func index(_ tile: GradientTile, row: Int) -> Int {
        let inputs = layer.inChannelsPerGroup
        let left = tile.left &+ row
        var (row, column, input, output) = (tile.tapRow, tile.tapColumn, left, tile.firstLane)
        if !pointsInVectors {
            (input, output) = (plan.mergesTaps ? 0 : tile.firstLane, left)
        } else if plan.mergesTaps {
            let merged = plan.mergedRows
            (column, input) = (left / merged / inputs, left / merged % inputs)
            row &+= left % merged
        }
        if layer.flipKernel { row = layer.vertical.kernel &- 1 &- row }
        if layer.flipKernel { column = layer.horizontal.kernel &- 1 &- column }
        return row &* kernelStrides.row &+ column &* kernelStrides.column &+ input &* kernelStrides.input
            &+ output &* kernelStrides.output &+ group &* kernelStrides.group
    }

    /// Row after row.
    private func writeRows(_ tile: GradientTile, to result: UnsafeMutableRawPointer) {
        let strides = kernelStrides
        let inputs = layer.inChannelsPerGroup
        let accumulates = layer.means.accumulates
        let width = min(tile.width, plan.rights &- tile.firstLane)
        let isMerged = !pointsInVectors && plan.mergesTaps
        let laneStride = pointsInVectors ? strides.output : plan.mergesRows ? rowStride : strides.input
        // Tap by tap, or channel by channel.
        let run = plan.mergesRows ? plan.mergedRows : inputs
        for r in tile.skipped..<min(tile.kernel.rows, lefts.upperBound &- tile.left) {
            let values = sums + (tile.offset &+ r &* tile.width) &* size
            let place = result + index(tile, row: r) &* size
            var lane = 0
            while lane < width {
                var (count, start) = (width, 0)
                if isMerged {
                    let (first, rest) = (tile.firstLane &+ lane).quotientAndRemainder(dividingBy: run)
                    count = min(run &- rest, width &- lane)
                    start = rest &* laneStride &+ (plan.mergesRows
                        ? first / inputs &* columnStride &+ first % inputs &* strides.input : first &* columnStride)
                }
                elements.copy(
                    values + lane &* size, count: count, to: place + start &* size, targetStride: laneStride, adds: accumulates)
                lane &+= count
            }
        }
    }

    /// Where the taps of a pair of channels are neighbours in the kernel array: all of them, pair after pair.
    private func writeTapsTogether(to result: UnsafeMutableRawPointer) {
        let strides = layer.kernelStrides
        let (laneStride, leftStride) = pointsInVectors ? (strides.output, strides.input) : (strides.input, strides.output)
        let corner = result + layer.kernelIndex(row: tapRows.lowerBound, column: 0, input: 0, output: 0, group: group) &* size
        var panelSums = UnsafeRawPointer(sums)
        let taps = tapRows.count &* plan.tapColumns
        for index in panels {
            let panel = plan.panel(index)
            let tapPitch = plan.rows(panel.kernel, lefts.count) &* panel.width
            let width = min(panel.width, plan.rights &- panel.first)
            var first = 0
            while first < lefts.count {
                let rows = plan.kernel(panel.kernel, at: first, rest: lefts.count &- first).rows
                let skipped = plan.skippedRows(lefts.lowerBound &+ first, rows, group: group)
                for r in 0..<min(rows, lefts.count &- first) {
                    let row = panelSums + (first &+ r &+ skipped) &* panel.width &* size
                    // Neighbours in the array: the first of them is the last tap if the kernel is flipped.
                    let target = corner + (panel.first &* laneStride &+ (lefts.lowerBound &+ first &+ r) &* leftStride) &* size
                    if layer.means.accumulates {
                        for lane in 0..<width {
                            elements.copy(
                                row + lane &* size, sourceStride: tapPitch, count: taps, to: target + lane &* laneStride &* size,
                                targetStride: layer.flipKernel ? -1 : 1, adds: true)
                        }
                        continue
                    }
                    let next = target + (r &+ 1 < rows ? leftStride : width &* laneStride) &* size
                    var line = 0
                    while line < width &* taps {
                        shim_prefetch(next + line &* size)
                        line &+= turnedElements
                    }
                    let last = layer.flipKernel ? taps &- 1 : 0
                    elements.packPixels(
                        from: row + last &* tapPitch &* size, columnStride: 1,
                        channelStride: layer.flipKernel ? -tapPitch : tapPitch, columns: width, channels: taps,
                        pixelPitch: laneStride, to: target - last &* size)
                }
                first &+= rows
            }
            panelSums += tapPitch &* taps &* size
        }
    }
}
