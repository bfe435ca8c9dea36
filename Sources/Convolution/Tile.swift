import ConvolutionKernels

// The tiles of an item: which output positions they take, and the address at which each of these finds each tap.

/// A register tile of an item: its positions (pixels, or vectors of columns) and where their results go. `run` and `layOut` write
/// all of it where it lies in the workspace.
struct Tile<Scalar> {
    var count: Int
    /// Per position: image and indices of the block's lattices, and the address of output channel 0.
    var images: InlineArray<8, Int>
    var rows: InlineArray<8, Int>
    var columns: InlineArray<8, Int>
    var targets: InlineArray<8, UnsafeMutablePointer<Scalar>>
    /// Columns of each vector that exist.
    var widths: InlineArray<8, Int>
    /// It reads at the same distances as every other such tile: its positions lie in one row, or are some whole rows of a
    /// bordered copy, meet no border and, unless the tile is wide and thus goes by the first alone, all exist.
    var isPlain: Bool
    /// A plain tile stands for this many in a row, where the next begins where the one before ends, and for as many in each of
    /// some rows.
    var repeats: Int
    var rowRepeats: Int
    /// A row of taps is one segment.
    var mergesTaps: Bool
    /// Where the taps' addresses are, and what to add to them.
    var runs: UnsafeMutablePointer<UnsafePointer<Scalar>>
    var shift: Int
    /// Strategy `channels`: see `TileArguments.order`. Else there are no chunks.
    var order: UnsafeMutablePointer<Int32>
    var chunks: Int
    /// Those in `order`.
    var taps: Int

    /// One more position, `unit` columns or what there is of them before `end`.
    @inline(__always)
    mutating func add(image: Int, row: Int, column: Int, end: Int, unit: Int) {
        images[count] = image
        rows[count] = row
        columns[count] = column
        widths[count] = min(unit, end &- column)
        count &+= 1
    }

    /// Its results go so far from `corner` for each image, row and column. Positions beyond the last repeat it.
    @inline(__always)
    mutating func aim(at corner: UnsafeMutablePointer<Scalar>, image: Int, row: Int, column: Int) {
        let last = count - 1
        for r in count..<largestTileSide { (images[r], rows[r], columns[r]) = (images[last], rows[last], columns[last]) }
        for r in 0..<largestTileSide {
            targets[r] = corner + (images[r] &* image &+ rows[r] &* row &+ columns[r] &* column)
        }
    }
}

/// The positions of an item in the order in which tiles take them: row by row; or first once around the border and then the
/// inside, so that the pixels of a tile at the border have the same taps outside the input.
struct Route {
    /// Output rows, of all images or of one, and columns.
    var rows: Range<Int>
    var columns: Range<Int>
    /// Rows of one image; the rows and the columns that are not border.
    var height: Int
    var innerRows: Range<Int>
    var innerColumns: Range<Int>
    /// Of the first row.
    var firstImage = 0
    var firstImageRow = 0
    /// The next position. Parts are corners and sides in turn around the border, then the inside.
    var part = -1
    var row = 0
    var image = 0
    var imageRow = 0
    var column = 0
    var columnEnd = 0

    init(rows: Range<Int>, columns: Range<Int>, height: Int, innerRows: Range<Int>, innerColumns: Range<Int>) {
        self.rows = rows
        self.columns = columns
        self.height = height
        self.innerRows = innerRows
        self.innerColumns = innerColumns
        (firstImage, firstImageRow) = rows.lowerBound.quotientAndRemainder(dividingBy: height)
        nextPart()
    }

    var isDone: Bool { part == 9 }

    /// Positions before the inside.
    var borderPositions: Int {
        var inner = 0
        var row = firstImageRow
        for _ in rows {
            if innerRows.contains(row) { inner += 1 }
            row = row + 1 == height ? 0 : row + 1
        }
        let innerCount = max(
            0, min(columns.upperBound, innerColumns.upperBound) - max(columns.lowerBound, innerColumns.lowerBound))
        return rows.count * columns.count - inner * innerCount
    }

    /// 0 before the inside, 1 in it, 2 after it: of the rows and of the columns.
    private var sides: (row: Int, column: Int) {
        switch part {
        case 0: return (0, 0)
        case 1: return (0, 1)
        case 2: return (0, 2)
        case 3: return (1, 2)
        case 4: return (2, 2)
        case 5: return (2, 1)
        case 6: return (2, 0)
        case 7: return (1, 0)
        default: return (1, 1)
        }
    }

    private var partColumns: (first: Int, end: Int) {
        switch sides.column {
        case 0: return (columns.lowerBound, min(columns.upperBound, innerColumns.lowerBound))
        case 1: return (max(columns.lowerBound, innerColumns.lowerBound), min(columns.upperBound, innerColumns.upperBound))
        default: return (max(columns.lowerBound, innerColumns.upperBound), columns.upperBound)
        }
    }

    private mutating func nextPart() {
        while part < 9 {
            part += 1
            if part == 9 { return }
            (column, columnEnd) = partColumns
            row = rows.lowerBound - 1
            (image, imageRow) = (firstImage, firstImageRow - 1)
            if column < columnEnd, nextRow() { return }
        }
    }

    /// The part's next row, if it has one.
    private mutating func nextRow() -> Bool {
        while row + 1 < rows.upperBound {
            row += 1
            imageRow += 1
            if imageRow == height { (image, imageRow) = (image + 1, 0) }
            if (imageRow < innerRows.lowerBound ? 0 : imageRow < innerRows.upperBound ? 1 : 2) == sides.row { return true }
        }
        return false
    }

    /// Past `unit` columns. True at the end of a row.
    mutating func advance(_ unit: Int) -> Bool {
        column += unit
        if column < columnEnd { return false }
        column = partColumns.first
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

/// The outputs whose taps all read inside `input`; if there are none, all.
func insideRange(_ lattice: Lattice, _ input: Range<Int>) -> Range<Int> {
    let reach = (lattice.taps - 1) * lattice.offsetStep
    let first = max(0, ceilDivide(input.lowerBound - lattice.offsetStart - min(reach, 0), lattice.inputStep))
    let end = min(lattice.count, ceilDivide(input.upperBound - lattice.offsetStart - max(reach, 0), lattice.inputStep))
    return first < end ? first..<end : 0..<lattice.count
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

/// runs[tap][r] = where position r of the tile finds that tap's channels. Positions beyond the tile's count, up to `reach`,
/// repeat the last: they are computed and not stored.
@_optimize(speed)
func layOut<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ source: Source<Scalar>,
    _ tile: UnsafeMutablePointer<Tile<Scalar>>, reach: Int, rowOffsets: UnsafeMutablePointer<Int>,
    columnOffsets: UnsafeMutablePointer<Int>
) {
    let vertical = block.pointee.vertical
    let horizontal = block.pointee.horizontal
    var shifts = tile.pointee.images
    for r in 0..<largestTileSide { shifts[r] &*= source.imageStride }
    offsetsAlong(
        plan, vertical, tile.pointee.rows, shifts: shifts, length: plan.pointee.layer.vertical.input, input: source.rows,
        stride: source.rowStride, into: rowOffsets)
    if source.plane > 0 {
        for r in 0..<largestTileSide {
            let column = tile.pointee.columns[r] * horizontal.inputStep + horizontal.offsetStart
            for tap in 0..<horizontal.taps {
                let place = column + tap * horizontal.offsetStep - source.columns.lowerBound
                columnOffsets[tap * largestTileSide + r] = place % horizontal.inputStep * source.plane
                    + place / horizontal.inputStep
            }
        }
    } else {
        offsetsAlong(
            plan, horizontal, tile.pointee.columns, shifts: InlineArray(repeating: 0),
            length: plan.pointee.layer.horizontal.input, input: source.columns, stride: source.columnStride, into: columnOffsets)
    }
    if plan.pointee.strategy == .channels {
        // Blocks of channels that count as taps.
        let place = UnsafeMutableRawPointer(rowOffsets)
        let first = place.loadUnaligned(as: SIMD8<Int>.self)
        for part in 1..<block.pointee.blocksPerCall {
            place.storeBytes(
                of: first &+ part &* source.blockPitch, toByteOffset: part &* MemoryLayout<SIMD8<Int>>.stride,
                as: SIMD8<Int>.self)
        }
        let merged = tile.pointee.mergesTaps ? horizontal.taps : 1
        var arguments = RunsArguments(
            rowOffsets: rowOffsets, columnOffsets: columnOffsets, rows: vertical.taps * block.pointee.blocksPerCall,
            columns: horizontal.taps / merged, reach: reach, segmentsPerChunk: block.pointee.segmentsPerChunk / merged,
            skipsOutside: plan.pointee.skipsOutside,
            elementBytes: MemoryLayout<Scalar>.stride, base: UnsafeRawPointer(source.base),
            outside: UnsafeRawPointer(source.outside), runs: UnsafeMutableRawPointer(tile.pointee.runs),
            order: tile.pointee.order)
        withUnsafeMutablePointer(to: &arguments) { plan.pointee.table.pointee.layOutRuns($0) }
        tile.pointee.chunks = arguments.chunks
        tile.pointee.taps = arguments.segments * merged
        return
    }
    (tile.pointee.chunks, tile.pointee.taps) = (0, 0)
    var run = tile.pointee.runs
    for v in 0..<vertical.taps {
        for h in 0..<horizontal.taps {
            for r in 0..<reach {
                let rowOffset = rowOffsets[v * largestTileSide + r]
                let columnOffset = columnOffsets[h * largestTileSide + r]
                if source.plane > 0 {
                    run[r] = (rowOffset == outsideOffset ? source.outside : source.base + rowOffset) + columnOffset
                } else {
                    run[r] = rowOffset == outsideOffset || columnOffset == outsideOffset
                        ? source.outside : source.base + rowOffset + columnOffset
                }
            }
            run += reach
        }
    }
}
