import ConvolutionKernels

/// Cuts what an item computes into tiles, a group at a time: a group's inputs stay in the nearest cache while panel after panel
/// passes over them, and a panel's weights while tile after tile does. A tile may span rows unless it is wide.
struct TileCutter {
    private let plan: UnsafePointer<ConvolutionPlan>
    private let block: UnsafePointer<Block>
    private let image: Int
    private let rowEnd: Int
    private let columns: Range<Int>
    /// What of the input is there.
    private let inputRows: Range<Int>
    private let inputColumns: Range<Int>
    /// The address of output channel 0 of the block's first row and column, and the distances from there, in bytes.
    private let corner: UnsafeMutableRawPointer
    private let distances: (image: Int, row: Int, column: Int)
    /// From a tile to its repetition beside it, and below it.
    private let steps: (input: Int, output: Int)
    private let rowSteps: (input: Int, output: Int)
    /// Positions of the tallest tile, the columns of one, and of them all.
    let step: Int
    private let unit: Int
    private let stride: Int
    private let isByColumns: Bool
    private let isWide: Bool
    /// Positions with the same taps outside are taken together.
    private let roundsBorder: Bool
    private let insideRows: Range<Int>
    private let insideColumns: Range<Int>
    private let lastColumn: Int
    private let overlaps: Bool
    private let rowTile: Int
    private var route: Route
    /// Positions that tiles of two heights make up without a rest, where they can: the border's first, then the others.
    private var shortens = false
    private var left = 0
    private var inner = 0
    /// Tiles are rectangles of a bordered copy, cut by the grid; else they follow the route.
    private let borders: Bool
    private let mayTwin: Bool
    private var grid: TileGrid

    // Called, it would copy the cutter several times: 40 ns. `@inline(__always)` is not always heeded.
    @inline(always)
    init(
        _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ portion: Portion, _ source: Source,
        _ output: UnsafeMutableRawPointer
    ) {
        let (strategy, accumulates) = (plan.pointee.strategy, plan.pointee.layer.means.accumulates)
        let (vertical, horizontal) = (block.pointee.vertical, block.pointee.horizontal)
        let (strides, size) = (plan.pointee.layer.output, plan.pointee.layer.elementBytes)
        let count = (rows: portion.rows.count, columns: portion.columns.count)
        (self.plan, self.block, image, rowEnd, columns) = (
            plan, block, portion.image, portion.rows.upperBound, portion.columns)
        (inputRows, inputColumns, isByColumns) = (source.rows, source.columns, strategy == .columns)
        let (rowStep, columnStep) = (vertical.outputStep &* strides.row, horizontal.outputStep &* strides.column)
        corner = output + (vertical.outputStart * strides.row + horizontal.outputStart * strides.column) * size
        distances = (strides.batch &* size, rowStep &* size, columnStep &* size)

        var step = largestTileSide
        for index in portion.panels {
            let panel = plan.pointee.panels + index
            if panel.pointee.reach(strategy) <= step {
                (step, shortens) = (panel.pointee.reach(strategy), panel.pointee.shortKernel != nil)
            }
        }
        let unit = plan.pointee.positionColumns
        (self.step, self.unit, stride) = (step, unit, step * unit)
        isWide = plan.pointee.isWide
        roundsBorder = block.pointee.roundsBorder && plan.pointee.skipsOutside
        // A single tile is none that repeats.
        let isOneTile = count.rows * count.columns <= stride
        insideRows = isOneTile || roundsBorder ? 0..<0 : insideRange(vertical, source.rows)
        insideColumns = isOneTile || roundsBorder || strategy == .columns
            ? 0..<0 : insideRange(horizontal, source.columns).clamped(to: portion.columns)
        route = Route(
            block, rows: portion.rows, columns: portion.columns, inputRows: source.rows, inputColumns: source.columns,
            roundsBorder: roundsBorder)
        // The last vector of a row begins early rather than be a part of one; but to add twice would be wrong. So does the last
        // tile, if it is wide or what would follow its input is not the caller's.
        let mayOverlap = strategy == .columns && columnStep == 1 && count.columns >= (isWide ? stride : unit) && !accumulates
        rowTile = Convolution.rowTile(block, step: step, columns: route.innerColumns.count)
        if rowTile > 0 { shortens = false }
        overlaps = isWide && mayOverlap
        lastColumn = mayOverlap ? portion.columns.upperBound - unit : portion.columns.upperBound
        // If more would be computed in vain for each of border and inside apart, both together.
        inner = count.rows * ceilDivide(count.columns, unit)
        if shortens {
            left = route.borderPositions
            inner -= left
            if left % step == 0, inner % step == 0 { shortens = false }
            if computedPositions(left, step) + computedPositions(inner, step) > computedPositions(left + inner, step) {
                (left, inner) = (left + inner, 0)
            }
        }
        borders = plan.pointee.borders
        mayTwin = strategy == .channels && plan.pointee.width == plan.pointee.table.lanes
        let shape = block.pointee.shape
        grid = TileGrid(
            rows: portion.rows, height: vertical.count, columns: borders && unit > 1 ? count.columns / unit : count.columns,
            unit: unit, shape: shape, mergesTaps: block.pointee.mergesTaps)
        let tileRows = borders ? shape.rows : 1
        let tileColumns = borders ? min(shape.columns, grid.columns) * unit : stride
        let columnUnit = source.columnUnit(block, strategy)
        steps = (tileColumns &* columnUnit, tileColumns &* columnStep)
        rowSteps = (tileRows &* vertical.inputStep &* source.rowStride, tileRows &* rowStep)
    }

    var isDone: Bool { borders ? grid.rows.isEmpty : route.isDone }

    /// From the first tile's first position to the next that will be taken, in elements of the input.
    @inline(__always)
    func ahead(of tile: UnsafePointer<Tile>, _ source: Source) -> Int {
        (image &+ route.image &- tile.pointee.images[0]) &* source.imageStride
            &+ (route.imageRow &- tile.pointee.rows[0]) &* source.rowStride &+ route.column &- tile.pointee.columns[0]
    }

    /// The next group: the number of tiles in the list, of images that have the same, and of what they stand for.
    @inline(never)
    @_optimize(speed)
    mutating func next(_ tiles: UnsafeMutablePointer<Tile>) -> (strips: Int, images: Int, tiles: Int) {
        if borders { return nextOfGrid(tiles) }
        var (strips, count) = (0, 0)
        while count < block.pointee.tilesPerGroup, !route.isDone {
            let tile = tiles + strips
            cut(tile, count)
            strips &+= 1
            count &+= tile.pointee.repeats &* tile.pointee.rowRepeats
        }
        return (strips, 1, count)
    }

    @_optimize(speed)
    private mutating func nextOfGrid(_ tiles: UnsafeMutablePointer<Tile>) -> (strips: Int, images: Int, tiles: Int) {
        let (strips, images) = grid.next(
            tiles, most: block.pointee.tilesPerGroup, image: image, firstColumn: columns.lowerBound)
        for t in 0..<strips {
            let tile = tiles + t
            tile.pointee.aim(at: corner, distances)
            (tile.pointee.steps, tile.pointee.rowSteps) = (steps, rowSteps)
            // Twins are one above the other where fewer are left alone.
            if mayTwin, tile.pointee.repeats % 2 > tile.pointee.rowRepeats % 2 || tile.pointee.repeats == 1 {
                swap(&tile.pointee.repeats, &tile.pointee.rowRepeats)
                swap(&tile.pointee.steps, &tile.pointee.rowSteps)
            }
        }
        return (strips, images, 0)
    }

    /// The route's next tile, and the like ones that follow it: `count` are in the group already.
    @inline(__always)
    private mutating func cut(_ tile: UnsafeMutablePointer<Tile>, _ count: Int) {
        tile.pointee.count = 0
        (tile.pointee.repeats, tile.pointee.rowRepeats, tile.pointee.overlap) = (1, 1, 0)
        let row = route.row
        // Within these, and in one row, its positions, and others, have the same taps inside.
        let likeRows = roundsBorder ? route.partRows : insideRows
        let likeColumns = roundsBorder || isByColumns ? route.partColumns : insideColumns
        // Its positions lie side by side in one row. (To ask them would wait for all that is just being written.)
        var isStraight = true
        let endsRow = rowTile > 0 && route.partColumns == route.innerColumns && route.partRows == route.innerRows
        let whole = endsRow ? rowTile : step
        let endsEarly = overlaps || endsRow && whole == step
        if endsEarly { route.column = min(route.column, route.columnEnd - stride) }
        var height = step
        if shortens {
            if left == 0 { left = inner }
            if tallTiles(left, step) == 0 { height = min(step - 1, left) }
            left -= height
        }
        while tile.pointee.count < height, !route.isDone {
            isStraight = tile.pointee.count == 0
            var column = route.column
            repeat {
                tile.pointee.add(
                    image: image &+ route.image, row: route.imageRow, column: min(column, lastColumn), end: columns.upperBound,
                    unit: unit)
                column &+= unit
            } while tile.pointee.count < height && column < route.columnEnd
            if column &- unit > lastColumn { isStraight = false }
            if route.advance(column &- route.column), isWide || endsRow { break }
        }
        let (first, last) = (tile.pointee.columns[0], tile.pointee.columns[tile.pointee.count - 1])
        tile.pointee.aim(at: corner, distances)
        (tile.pointee.steps, tile.pointee.rowSteps) = (steps, rowSteps)
        tile.pointee.isPlain = (tile.pointee.count == whole || isWide || shortens && tile.pointee.count == step - 1)
            && isStraight
            && meetsNoBorder(block.pointee.vertical, tile.pointee.rows[0], tile.pointee.rows[0], inputRows)
            && (isByColumns || meetsNoBorder(block.pointee.horizontal, first, last, inputColumns))
        // Those that follow read at the same distances too: taps outside are left out.
        let repeats = tile.pointee.count == whole && (tile.pointee.isPlain || roundsBorder && isStraight) && !route.isDone
        tile.pointee.mergesTaps = block.pointee.mergesTaps
        if tile.pointee.mergesTaps, !tile.pointee.isPlain {
            for r in 0..<tile.pointee.count {
                let column = tile.pointee.columns[r]
                if !meetsNoBorder(block.pointee.horizontal, column, column, inputColumns) { tile.pointee.mergesTaps = false }
            }
        }
        let most = block.pointee.tilesPerGroup - count
        if repeats, route.row == row, route.column == last + unit {
            let rest = likeColumns.upperBound - route.column
            var more = min(endsEarly ? ceilDivide(rest, stride) : rest / stride, most - 1)
            if shortens {
                more = min(more, tallTiles(left, step))
                left -= more * step
            }
            if more > 0 {
                tile.pointee.repeats += more
                tile.pointee.overlap = max(0, more * stride - rest)
                _ = route.advance(more * stride - tile.pointee.overlap)
            }
        }
        // Whole rows of such tiles.
        if repeats, !route.isDone, !shortens, first == route.column, route.row == row + 1, route.imageRow > tile.pointee.rows[0] {
            let rows = min(rowEnd - row, likeRows.upperBound - tile.pointee.rows[0])
            let more = min(rows, most / tile.pointee.repeats) - 1
            if more > 0 {
                tile.pointee.rowRepeats += more
                route.advance(rows: more)
            }
        }
    }
}
