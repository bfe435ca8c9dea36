import ConvolutionKernels

// The tiles of an item: which output positions they take, and the address at which each of these finds each tap.

/// A register tile of an item: its positions (pixels, or vectors of columns) and where their results go. `TileCutter` and
/// `layOut` write all of it where it lies in the workspace.
struct Tile {
    var count: Int
    /// Per position: image and indices of the block's lattices, and the address of output channel 0.
    var images: InlineArray<8, Int>
    var rows: InlineArray<8, Int>
    var columns: InlineArray<8, Int>
    var targets: InlineArray<8, UnsafeMutableRawPointer>
    /// Columns of each vector that exist.
    var widths: InlineArray<8, Int>
    /// It reads at the same distances as every other such tile: its positions lie in one row, or are a rectangle of a bordered
    /// copy, meet no border and, unless the tile is wide and thus goes by the first alone, all exist.
    var isPlain: Bool
    /// A plain tile stands for this many in a row, where the next begins where the one before ends, and for as many in each of
    /// some rows. From one to the next, and from row to row, input and output are so far apart.
    var repeats: Int
    var rowRepeats: Int
    var steps: (input: Int, output: Int)
    var rowSteps: (input: Int, output: Int)
    /// The last of a row begins so many columns early.
    var overlap: Int
    /// A row of taps is one segment.
    var mergesTaps: Bool
    /// Where the taps' addresses are, and what to add to them.
    var runs: UnsafeMutableRawPointer
    var shift: Int
    /// See `TileArguments.order`: for the strategy `channels`.
    var order: UnsafeMutablePointer<Int32>
    var chunks: Int
    /// Those in `order`.
    var taps: Int

    /// One more position, `unit` columns or what there is of them before `end`.
    @inline(__always)
    mutating func add(image: Int, row: Int, column: Int, end: Int, unit: Int) {
        images[unchecked: count] = image
        rows[unchecked: count] = row
        columns[unchecked: count] = column
        widths[unchecked: count] = min(unit, end &- column)
        count &+= 1
    }

    /// Its results go so many bytes from `corner` for each image, row and column. Positions beyond the last repeat it.
    @inline(__always)
    mutating func aim(at corner: UnsafeMutableRawPointer, _ distances: (image: Int, row: Int, column: Int)) {
        let last = count - 1
        for r in count..<largestTileSide {
            images[unchecked: r] = images[unchecked: last]
            rows[unchecked: r] = rows[unchecked: last]
            columns[unchecked: r] = columns[unchecked: last]
        }
        for r in 0..<largestTileSide {
            targets[unchecked: r] = corner
                + (images[unchecked: r] &* distances.image &+ rows[unchecked: r] &* distances.row
                    &+ columns[unchecked: r] &* distances.column)
        }
    }
}

/// The positions of an item in the order in which tiles take them: row by row of one image after another. Or, so that few taps
/// outside the input have to be computed for others that are inside: part by part, each of the positions, of all images, that
/// have the same taps inside. Parts follow each other in a spiral from the corner inwards, as neighbours have most taps in
/// common; only that with all taps inside comes last.
struct Route {
    var block: UnsafePointer<Block>
    /// Output rows, of all images or of one, and columns.
    var rows: Range<Int>
    var columns: Range<Int>
    /// What taps read, if positions go by parts.
    var inputRows: Range<Int>
    var inputColumns: Range<Int>
    /// The rows and the columns that are not border.
    var innerRows: Range<Int>
    var innerColumns: Range<Int>
    /// Of the first row.
    var firstImage = 0
    var firstImageRow = 0
    /// The border that the spiral has not come to; its side (top, right, bottom, left) and where on that it goes on.
    private var restRows = 0..<0
    private var restColumns = 0..<0
    private var side = 0
    private var place = 0
    private(set) var partRows = 0..<0
    private(set) var partColumns = 0..<0
    private var isInside = false
    var isDone = false
    /// The next position.
    var row = 0
    var image = 0
    var imageRow = 0
    var column = 0

    init(
        _ block: UnsafePointer<Block>, rows: Range<Int>, columns: Range<Int>, inputRows: Range<Int>, inputColumns: Range<Int>,
        roundsBorder: Bool
    ) {
        (self.block, self.rows, self.columns) = (block, rows, columns)
        (self.inputRows, self.inputColumns) = (inputRows, inputColumns)
        let height = block.pointee.vertical.count
        firstImageRow = rows.lowerBound
        if firstImageRow >= height { (firstImage, firstImageRow) = firstImageRow.quotientAndRemainder(dividingBy: height) }
        (innerRows, innerColumns) = (0..<height, columns)
        if roundsBorder {
            let end = firstImageRow + rows.count
            restRows = end <= height ? firstImageRow..<end : 0..<height
            restColumns = columns
            innerRows = insideRange(block.pointee.vertical, inputRows).clamped(to: restRows)
            innerColumns = insideRange(block.pointee.horizontal, inputColumns).clamped(to: columns)
            place = columns.lowerBound
        }
        nextPart()
    }

    var columnEnd: Int { partColumns.upperBound }

    private var height: Int { block.pointee.vertical.count }

    /// Positions before the inside.
    var borderPositions: Int {
        var inner = 0
        var row = firstImageRow
        for _ in rows {
            if innerRows.contains(row) { inner += 1 }
            row = row + 1 == height ? 0 : row + 1
        }
        return rows.count * columns.count - inner * innerColumns.count
    }

    private mutating func nextPart() {
        while !isDone {
            if restRows.isEmpty || restColumns.isEmpty {
                (isDone, isInside) = (isInside, true)
                (partRows, partColumns) = (innerRows, innerColumns)
            } else {
                nextOfBorder()
                if partRows == innerRows, partColumns == innerColumns { continue }
            }
            column = partColumns.lowerBound
            (row, image, imageRow) = (rows.lowerBound - 1, firstImage, firstImageRow - 1)
            if !partRows.isEmpty, !partColumns.isEmpty, nextRow() { return }
        }
    }

    @_optimize(speed)
    private mutating func nextOfBorder() {
        let (isRow, isForward) = (side % 2 == 0, side < 2)
        let row = !isRow ? place : isForward ? restRows.lowerBound : restRows.upperBound - 1
        let column = isRow ? place : isForward ? restColumns.upperBound - 1 : restColumns.lowerBound
        partRows = likePositions(block.pointee.vertical, inputRows, row).clamped(to: restRows)
        partColumns = likePositions(block.pointee.horizontal, inputColumns, column).clamped(to: restColumns)
        let part = isRow ? partColumns : partRows
        place = isForward ? part.upperBound : part.lowerBound - 1
        if (isRow ? restColumns : restRows).contains(place) { return }
        switch side {
        case 0: restRows = partRows.upperBound..<restRows.upperBound
        case 1: restColumns = restColumns.lowerBound..<partColumns.lowerBound
        case 2: restRows = restRows.lowerBound..<partRows.lowerBound
        default: restColumns = partColumns.upperBound..<restColumns.upperBound
        }
        side = (side + 1) % 4
        let next = side % 2 == 0 ? restColumns : restRows
        place = side < 2 ? next.lowerBound : next.upperBound - 1
    }

    /// The part's next row, if it has one.
    private mutating func nextRow() -> Bool {
        var next = max(imageRow + 1, partRows.lowerBound)
        row += next - imageRow
        if next >= partRows.upperBound {
            row += height - next + partRows.lowerBound
            next = partRows.lowerBound
            image += 1
        }
        imageRow = next
        return row < rows.upperBound
    }

    /// Past `unit` columns. True at the end of a row.
    mutating func advance(_ unit: Int) -> Bool {
        column += unit
        if column < columnEnd { return false }
        column = partColumns.lowerBound
        advance(rows: 1)
        return true
    }

    /// From the start of a row past it, and past those that follow it in its image and part.
    mutating func advance(rows count: Int) {
        row += count - 1
        imageRow += count - 1
        if !nextRow() { nextPart() }
    }
}

/// How tiles of a bordered copy lie: rectangles side by side, all of which read at the same distances.
struct TileShape {
    var rows = 0
    var columns = 0
    /// How many tiles cover the outputs.
    var count = Int.max

    init() {}

    /// Of at most `step` positions.
    init(covering rows: Int, _ columns: Int, step: Int) {
        for tileRows in 1...max(1, min(step, rows)) {
            let tileColumns = max(1, min(step / tileRows, columns))
            let count = ceilDivide(rows, tileRows) * ceilDivide(columns, tileColumns)
            if count < self.count { (self.rows, self.columns, self.count) = (tileRows, tileColumns, count) }
        }
    }
}

/// The tiles of an item of a bordered copy. The last of an image's rows and columns begin early.
struct TileGrid {
    /// The rows left, of all images or of one, each of `height` rows of so many positions of `unit` columns.
    var rows: Range<Int>
    var height: Int
    var columns: Int
    var unit: Int
    var shape: TileShape
    var mergesTaps: Bool
    /// The next tile.
    var row = 0
    var column = 0

    /// A group of up to `most` tiles: those that begin early apart, else each stands for as many as it can. Returns their number
    /// and that of the images that have the same.
    @inline(never)
    mutating func next(
        _ tiles: UnsafeMutablePointer<Tile>, most: Int, image: Int, firstColumn: Int
    ) -> (strips: Int, images: Int) {
        let (above, top) = rows.lowerBound.quotientAndRemainder(dividingBy: height)
        let count = min(height &- top, rows.count)
        let size = (rows: min(shape.rows, count), columns: min(shape.columns, columns))
        let (down, across) = (ceilDivide(count, size.rows), ceilDivide(columns, size.columns))
        let width = min(across &- column, most)
        let lines = width < across ? 1 : min(down &- row, max(1, most / across))
        let images = lines == down && count == height ? max(1, min(rows.count / height, most / (down &* across))) : 1
        let (wholeRows, wholeColumns) = (count / size.rows, columns / size.columns)
        var strips = 0
        var line = row
        while line < row &+ lines {
            let rowRepeats = line < wholeRows ? min(row &+ lines, wholeRows) &- line : 1
            var place = column
            while place < column &+ width {
                let repeats = place < wholeColumns ? min(column &+ width, wholeColumns) &- place : 1
                let tile = tiles + strips
                strips &+= 1
                tile.pointee.count = 0
                (tile.pointee.repeats, tile.pointee.rowRepeats, tile.pointee.overlap) = (repeats, rowRepeats, 0)
                (tile.pointee.isPlain, tile.pointee.mergesTaps) = (true, mergesTaps)
                let first = top &+ min(line &* size.rows, count &- size.rows)
                let left = firstColumn &+ min(place &* size.columns, columns &- size.columns) &* unit
                for r in 0..<size.rows {
                    for c in 0..<size.columns {
                        tile.pointee.add(
                            image: image &+ above, row: first &+ r, column: left &+ c &* unit, end: Int.max, unit: unit)
                    }
                }
                place &+= repeats
            }
            line &+= rowRepeats
        }
        column &+= width
        if column == across {
            (row, column) = (row &+ lines, 0)
            if row == down { (row, rows) = (0, rows.lowerBound &+ images &* count..<rows.upperBound) }
        }
        return (strips, images)
    }
}

extension Tile {
    /// Every vector of columns exists to its last column.
    @inline(__always)
    func isFull(lanes: Int) -> Bool {
        for r in 0..<count where widths[r] < lanes { return false }
        return true
    }
}

/// How many of the fewest tiles of up to `step` positions that hold `positions` have as many, if the others have one less.
@inline(__always)
func tallTiles(_ positions: Int, _ step: Int) -> Int {
    let tiles = ceilDivide(positions, step)
    return max(0, positions - tiles * (step - 1))
}

/// What such tiles, and those of one less, compute.
@inline(never)
func computedPositions(_ positions: Int, _ step: Int) -> Int { max(positions, ceilDivide(positions, step) * (step - 1)) }

/// The positions of tiles that end with rows of so many columns (`Block.endsRows`), where little is then computed in vain, since
/// all of them have the addresses of one; the last begins early. Else 0. What is permuted takes longer than its addresses: 16
/// channels by 4, 2 images of 13x13, 6.5 us, so 5.0.
@inline(never)
func rowTile(_ block: UnsafePointer<Block>, step: Int, columns: Int) -> Int {
    block.pointee.endsRows && endsRows(columns, step) ? min(step, columns) : 0
}

/// Whether tiles of `step` columns that end with rows of so many compute little in vain.
func endsRows(_ columns: Int, _ step: Int) -> Bool { 4 * step * ceilDivide(columns, step) <= 5 * columns }

/// The outputs whose taps all read inside `input`.
func insideRange(_ lattice: Lattice, _ input: Range<Int>) -> Range<Int> {
    let reach = (lattice.taps - 1) * lattice.offsetStep
    let first = max(0, ceilDivide(input.lowerBound - lattice.offsetStart - min(reach, 0), lattice.inputStep))
    let end = min(lattice.count, ceilDivide(input.upperBound - lattice.offsetStart - max(reach, 0), lattice.inputStep))
    return first < end ? first..<end : 0..<0
}

/// The outputs around `index` that have the same taps inside `input`.
private func likePositions(_ lattice: Lattice, _ input: Range<Int>, _ index: Int) -> Range<Int> {
    let (start, taps, step) = (index * lattice.inputStep + lattice.offsetStart, lattice.taps, lattice.offsetStep)
    // Those before `first` read before the input, those from `end` on after it.
    let first = min(max(0, ceilDivide(input.lowerBound - start, step)), taps)
    let end = min(max(0, ceilDivide(input.upperBound - start, step)), taps)
    var (low, high) = (lattice.offsetStart, Int.max)
    if first < taps { low = max(low, input.lowerBound - first * step) }
    if first > 0 { high = min(high, input.lowerBound - (first - 1) * step) }
    if end < taps { low = max(low, input.upperBound - end * step) }
    if end > 0 { high = min(high, input.upperBound - (end - 1) * step) }
    func output(_ start: Int) -> Int { ceilDivide(start - lattice.offsetStart, lattice.inputStep) }
    return output(low)..<(high == Int.max ? lattice.count : min(output(high), lattice.count))
}

/// Whether all taps of outputs `first` to `last` read inside `input`.
@inline(__always)
func meetsNoBorder(_ lattice: Lattice, _ first: Int, _ last: Int, _ input: Range<Int>) -> Bool {
    let reach = (lattice.taps - 1) * lattice.offsetStep
    return first * lattice.inputStep + lattice.offsetStart + min(reach, 0) >= input.lowerBound
        && last * lattice.inputStep + lattice.offsetStart + max(reach, 0) < input.upperBound
}

/// offsets[tap][r] = where the tap of output index `indices[r]` reads along the axis, `shifts[r]` further. Of `length` elements
/// `input` is there: all that taps of the item read, with or without the border.
@_optimize(speed)
private func offsetsAlong(
    _ plan: UnsafePointer<ConvolutionPlan>, _ lattice: Lattice, _ indices: InlineArray<8, Int>, shifts: InlineArray<8, Int>,
    length: Int, input: Range<Int>, stride: Int, into offsets: UnsafeMutablePointer<Int>
) {
    indices.span.withUnsafeBufferPointer { indices in
        shifts.span.withUnsafeBufferPointer { shifts in
            guard let indices = indices.baseAddress, let shifts = shifts.baseAddress else { return }
            let axis = AxisArguments(
                indices: indices, shifts: shifts, inputStep: lattice.inputStep,
                offsetStart: lattice.offsetStart - input.lowerBound, offsetStep: lattice.offsetStep, taps: lattice.taps,
                length: input.count, stride: stride, offsets: offsets)
            withUnsafePointer(to: axis) { plan.pointee.table.pointee.layOutAxis($0) }
            let mode = plan.pointee.layer.paddingMode
            if mode == .constant || plan.pointee.borders { return }
            for tap in 0..<lattice.taps {
                for r in 0..<largestTileSide where offsets[tap &* largestTileSide &+ r] == outsideOffset {
                    let index = indices[r] &* lattice.inputStep &+ lattice.offsetStart &+ tap &* lattice.offsetStep
                    guard let inside = borderIndex(index, length, mode) else { continue }
                    offsets[tap &* largestTileSide &+ r] = (inside &- input.lowerBound) &* stride &+ shifts[r]
                }
            }
        }
    }
}

/// Lays out the addresses of `count` tiles for the kernels of `panel`: plain ones share those of the first of them, or of the
/// first short one, since these are all as long. Returns the taps of all that they stand for.
@_optimize(speed)
@inline(__always)
func layOut(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ source: Source,
    _ tiles: UnsafeMutablePointer<Tile>, count: Int, _ panel: UnsafePointer<Panel>, tallest: Int,
    _ workspace: UnsafeMutableRawPointer
) -> Int {
    let (strategy, layout) = (plan.pointee.strategy, plan.pointee.workspace)
    let columnUnit = source.columnUnit(block, strategy)
    let runBytes = block.pointee.segments * largestTileSide * MemoryLayout<UnsafeRawPointer>.stride
    var (firstPlain, firstShort) = (-1, -1)
    var taps = 0
    for t in 0..<count {
        let tile = tiles + t
        let isShort = tile.pointee.count < tallest
        let plain = isShort ? firstShort : firstPlain
        if tile.pointee.isPlain, plain >= 0 {
            let like = tiles + plain
            tile.pointee.runs = like.pointee.runs
            (tile.pointee.order, tile.pointee.chunks) = (like.pointee.order, like.pointee.chunks)
            tile.pointee.taps = like.pointee.taps
            tile.pointee.shift = (tile.pointee.images[0] - like.pointee.images[0]) * source.imageStride
                + (tile.pointee.rows[0] - like.pointee.rows[0]) * block.pointee.vertical.inputStep * source.rowStride
                + (tile.pointee.columns[0] - like.pointee.columns[0]) * columnUnit
        } else {
            tile.pointee.runs = workspace + (layout.runs + t * runBytes)
            tile.pointee.order = (workspace + layout.orders).assumingMemoryBound(to: Int32.self) + t * block.pointee.orderLength
            tile.pointee.shift = 0
            layOut(
                plan, block, source, tile, reach: panel.pointee.kernel(for: tile.pointee.count, strategy).reach(strategy),
                rowOffsets: (workspace + layout.rowOffsets).assumingMemoryBound(to: Int.self),
                columnOffsets: (workspace + layout.columnOffsets).assumingMemoryBound(to: Int.self))
            if tile.pointee.isPlain {
                if isShort { firstShort = t } else { firstPlain = t }
            }
        }
        taps += tile.pointee.taps * tile.pointee.repeats * tile.pointee.rowRepeats
    }
    return taps
}

/// runs[tap][r] = where position r of the tile finds that tap's channels. Positions beyond the tile's count, up to `reach`,
/// repeat the last: they are computed and not stored.
@_optimize(speed)
private func layOut(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ source: Source, _ tile: UnsafeMutablePointer<Tile>,
    reach: Int, rowOffsets: UnsafeMutablePointer<Int>, columnOffsets: UnsafeMutablePointer<Int>
) {
    let vertical = block.pointee.vertical
    let horizontal = block.pointee.horizontal
    var shifts = tile.pointee.images
    for r in 0..<largestTileSide { shifts[r] &*= source.imageStride }
    offsetsAlong(
        plan, vertical, tile.pointee.rows, shifts: shifts, length: plan.pointee.layer.vertical.input, input: source.rows,
        stride: source.rowStride, into: rowOffsets)
    if source.plane > 0 {
        // The line of what lies outside is one more of the packed ones.
        for i in 0..<vertical.taps * largestTileSide where rowOffsets[i] == outsideOffset {
            rowOffsets[i] = (source.outside - source.base) / source.elementBytes
        }
        let step = horizontal.inputStep
        for r in 0..<reach {
            var place = tile.pointee.columns[r] * step + horizontal.offsetStart - source.columns.lowerBound
            for tap in 0..<horizontal.taps {
                columnOffsets[tap * largestTileSide + r] = step == 1 ? place : place % step * source.plane + place / step
                place += horizontal.offsetStep
            }
        }
    } else {
        offsetsAlong(
            plan, horizontal, tile.pointee.columns, shifts: InlineArray(repeating: 0),
            length: plan.pointee.layer.horizontal.input, input: source.columns, stride: source.columnStride, into: columnOffsets)
    }
    // Blocks of channels that count as taps.
    let place = UnsafeMutableRawPointer(rowOffsets)
    let first = place.loadUnaligned(as: SIMD8<Int>.self)
    for part in 1..<block.pointee.blocksPerCall {
        place.storeBytes(
            of: first &+ part &* source.blockPitch, toByteOffset: part &* MemoryLayout<SIMD8<Int>>.stride, as: SIMD8<Int>.self)
    }
    let merged = tile.pointee.mergesTaps ? horizontal.taps : 1
    var arguments = RunsArguments(
        rowOffsets: rowOffsets, columnOffsets: columnOffsets, rows: vertical.taps * block.pointee.blocksPerCall,
        columns: horizontal.taps / merged, reach: reach, segmentsPerChunk: block.pointee.segmentsPerChunk / merged,
        skipsOutside: plan.pointee.skipsOutside, elementBytes: source.elementBytes, base: source.base, outside: source.outside,
        runs: tile.pointee.runs, order: tile.pointee.order)
    withUnsafeMutablePointer(to: &arguments) { plan.pointee.table.pointee.layOutRuns($0) }
    tile.pointee.chunks = arguments.chunks
    tile.pointee.taps = arguments.segments * merged
}
