import CConvolutionShims
import ConvolutionKernels

// Executes a plan: items of work, each a band of output pixels times some panels of output channels. Per tile of pixels the taps'
// addresses are laid out once and every panel's tile kernel reads them.

/// One execution, shared by its threads.
private struct Execution {
    var plan: UnsafePointer<ConvolutionPlan>
    var input: UnsafeRawPointer
    var output: UnsafeMutableRawPointer
    var workspace: UnsafeMutableRawPointer
    var threads: Int
    /// What the border held before, where it is mended and added to: see `borderBefore`.
    var before: UnsafeMutableRawPointer? = nil
}

/// The bytes of the arguments must be there, and the output's must not meet the others'.
@_optimize(size)
func checkArguments(
    _ layer: Layer, input: UnsafeRawPointer?, kernel: UnsafeRawPointer?, bias: UnsafeRawPointer?, output: UnsafeRawPointer?
) throws(Failure) {
    let bytes = layer.elementBytes
    let read = try inputExtent(layer, input, "input")
    let written = try outputExtent(layer, output, "output")
    try checkApart(written, read, "input")
    try checkApart(written, extent(kernel, bytes: layer.kernelElements * bytes), "kernel")
    try checkApart(written, extent(bias, bytes: layer.outChannels * bytes), "bias")
}

@inline(never)
func execute(_ plan: UnsafePointer<ConvolutionPlan>, input: UnsafeRawPointer?, output: UnsafeMutableRawPointer?) throws(Failure) {
    guard let output, plan.pointee.layer.hasOutput else { return }
    let threads = plan.pointee.executionThreads
    // With no blocks there is nothing to read and the input may be NULL.
    var execution = Execution(
        plan: plan, input: input ?? UnsafeRawPointer(output), output: output, workspace: output, threads: threads)
    let before = try plan.pointee.layer.isDouble ? borderBefore(execution, Double.self) : borderBefore(execution, Float.self)
    execution.before = before
    defer { if let before { shim_free(before) } }
    if threads * plan.pointee.workspace.bytes <= Int(SHIM_STACK_BYTES) {
        shim_with_stack({ execute($0, $1) }, &execution)
        return
    }
    let memory = try allocate(threads, of: plan.pointee.workspace.bytes, "the workspace")
    execute(&execution, memory)
    shim_free(memory)
}

private func execute(_ shared: UnsafeMutableRawPointer?, _ workspace: UnsafeMutableRawPointer?) {
    guard let shared, let workspace else { return }
    let execution = shared.assumingMemoryBound(to: Execution.self)
    execution.pointee.workspace = workspace
    let plan = execution.pointee.plan
    let isDouble = plan.pointee.layer.isDouble
    if !plan.pointee.fullyCovered {
        isDouble ? fillUncovered(execution.pointee, Double.self) : fillUncovered(execution.pointee, Float.self)
    }
    if plan.pointee.items > 0 {
        runThreads(
            execution.pointee.threads, items: plan.pointee.items, isDouble ? { work($0, Double.self) } : { work($0, Float.self) },
            shared: shared)
    }
    if plan.pointee.mendsBorder {
        isDouble ? mendBorder(execution.pointee, Double.self) : mendBorder(execution.pointee, Float.self)
    }
}

private func work<Scalar: KernelScalar>(_ raw: UnsafeMutableRawPointer?, _: Scalar.Type) {
    guard let raw else { return }
    let context = raw.assumingMemoryBound(to: ThreadContext.self).pointee
    let execution = context.shared.assumingMemoryBound(to: Execution.self)
    let plan = execution.pointee.plan
    let workspace = execution.pointee.workspace + context.number * plan.pointee.workspace.bytes
    while let item = context.nextItem() {
        if let winograd = plan.pointee.winograd {
            runWinograd(
                plan, winograd, item, execution.pointee.input.assumingMemoryBound(to: Scalar.self),
                execution.pointee.output.assumingMemoryBound(to: Scalar.self), workspace)
            continue
        }
        if let part = plan.pointee.tapProducts {
            runProducts(
                plan, part, item, execution.pointee.input.assumingMemoryBound(to: Scalar.self),
                execution.pointee.output.assumingMemoryBound(to: Scalar.self), workspace)
            continue
        }
        if let part = plan.pointee.turning {
            runTurned(
                plan, part, item, execution.pointee.input.assumingMemoryBound(to: Scalar.self),
                execution.pointee.output.assumingMemoryBound(to: Scalar.self), workspace)
            continue
        }
        // Phases take turns: they read the same rows, and what they write interleaves.
        let block = plan.pointee.blocks + item % plan.pointee.blockCount
        let part = item / plan.pointee.blockCount
        if part >= block.pointee.items { continue }
        runItem(plan, block, part, execution.pointee.input.assumingMemoryBound(to: Scalar.self),
            execution.pointee.output.assumingMemoryBound(to: Scalar.self), workspace)
    }
}

/// A register tile of an item: its positions (pixels, or vectors of columns) and where their results go. `run` and `layOut` write all of it
/// where it lies in the workspace.
struct Tile<Scalar> {
    var count: Int
    /// Per position: image and indices of the block's lattices, and the address of output channel 0.
    var images: InlineArray<8, Int>
    var rows: InlineArray<8, Int>
    var columns: InlineArray<8, Int>
    var targets: InlineArray<8, UnsafeMutablePointer<Scalar>>
    /// Columns of each vector that exist.
    var widths: InlineArray<8, Int>
    /// It reads at the same distances as every other such tile: its positions lie in one row, meet no border and, unless the tile is wide
    /// and thus goes by the first alone, all exist.
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

/// The positions of an item in the order in which tiles take them: row by row; or first once around the border and then the inside, so
/// that the pixels of a tile at the border have the same taps outside the input.
private struct Route {
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
        let innerCount = max(0, min(columns.upperBound, innerColumns.upperBound) - max(columns.lowerBound, innerColumns.lowerBound))
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

/// The input as the item's tiles read it: the caller's array, or a packed rectangle of it.
struct Source<Scalar> {
    var base: UnsafePointer<Scalar>
    var imageStride: Int
    var rowStride: Int
    var columnStride: Int
    /// What is there: `base` is the place of the first row and column.
    var rows: Range<Int>
    var columns: Range<Int>
    /// Strategy `columns`: from plane to plane.
    var plane: Int
    var outside: UnsafePointer<Scalar>
    var channelPitch: Int
    /// From one block of input channels to the next.
    var blockPitch: Int
    var channelOrigin: Int
}

/// What an item of a block computes: some rows (of all images from `image` on, or of that one) and columns of its outputs, some channels.
struct Portion {
    var image = 0
    var rows: Range<Int>
    var columns: Range<Int>
    var panels: Range<Int>
    /// Of the block that comes next.
    var nextPanel: Int
}

func runItem<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ item: Int, _ input: UnsafePointer<Scalar>,
    _ output: UnsafeMutablePointer<Scalar>, _ workspace: UnsafeMutableRawPointer
) {
    // Which item: the panel chunk runs fastest, so that threads share the input they read.
    var rest = item
    let panels = block.pointee.panels(rest % block.pointee.panelChunks, of: plan.pointee)
    rest /= block.pointee.panelChunks
    let firstColumn = rest % block.pointee.columnBands * block.pointee.bandColumns
    rest /= block.pointee.columnBands
    let firstRow = rest % block.pointee.rowBands * block.pointee.bandRows
    run(
        plan, block,
        Portion(
            image: rest / block.pointee.rowBands,
            rows: firstRow..<min(firstRow + block.pointee.bandRows, plan.pointee.rows(block.pointee)),
            columns: firstColumn..<min(firstColumn + block.pointee.bandColumns, block.pointee.horizontal.count), panels: panels,
            nextPanel: panels.lowerBound),
        input, output, workspace)
}

@_optimize(size)
func run<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ portion: Portion, _ input: UnsafePointer<Scalar>,
    _ output: UnsafeMutablePointer<Scalar>, _ workspace: UnsafeMutableRawPointer
) {
    let layer = plan.pointee.layer
    let strategy = plan.pointee.strategy
    let layout = plan.pointee.workspace
    let vertical = block.pointee.vertical
    let horizontal = block.pointee.horizontal
    let (image, panels) = (portion.image, portion.panels)
    let (firstRow, rows) = (portion.rows.lowerBound, portion.rows.count)
    let (firstColumn, columns) = (portion.columns.lowerBound, portion.columns.count)

    if plan.pointee.stencils {
        stencil(
            plan, block, input, image: image, rows: firstRow..<firstRow + rows, columns: firstColumn..<firstColumn + columns, panels: panels,
            output, workspace)
        return
    }
    var rectangle = Rectangle(images: 0..<0, rows: 0..<0, columns: 0..<0, channels: 0..<0)
    var source = Source(
        base: input, imageStride: layer.input.batch, rowStride: layer.input.row, columnStride: layer.input.column,
        rows: 0..<layer.vertical.input, columns: 0..<layer.horizontal.input, plane: 0,
        outside: UnsafePointer(plan.pointee.outside.assumingMemoryBound(to: Scalar.self)), channelPitch: 1,
        blockPitch: block.pointee.channelBlock, channelOrigin: 0)
    if plan.pointee.readsInputDirectly {
        if strategy == .columns {
            (source.channelPitch, source.blockPitch) = (layer.input.channel, layer.input.channel * block.pointee.channelBlock)
        }
    } else {
        rectangle = plan.pointee.rectangle(
            block.pointee, firstRow: firstRow, rows: rows, firstColumn: firstColumn, columns: columns, panels: panels, image: image)
        let memory = (workspace + layout.rectangle).assumingMemoryBound(to: Scalar.self)
        pack(rectangle, plan, block, input, memory)
        source.imageStride = rectangle.rows.count * rectangle.rowPitch
        source.base = UnsafePointer(memory) - rectangle.images.lowerBound * source.imageStride
        source.rowStride = rectangle.rowPitch
        (source.rows, source.columns) = (rectangle.rows, rectangle.columns)
        (source.channelPitch, source.blockPitch) = (rectangle.channelPitch, rectangle.blockPitch)
        (source.channelOrigin, source.plane) = (rectangle.channels.lowerBound, rectangle.plane)
        switch strategy {
        case _ where plan.pointee.borders: source.columnStride = block.pointee.channelBlock
        case .channels:
            source.columnStride = block.pointee.channelBlock
            source.outside = UnsafePointer(memory) + rectangle.images.count * source.imageStride
        case .lanes: source.columnStride = rectangle.channelPitch
        case .columns: source.outside = UnsafePointer(memory) + rectangle.rows.count * rectangle.rowPitch
        }
    }

    if plan.pointee.walks {
        walk(
            plan, block, source, image: image, rows: firstRow..<firstRow + rows, columns: firstColumn..<firstColumn + columns,
            panels: panels, output, workspace)
        return
    }
    let tiles = (workspace + layout.tiles).assumingMemoryBound(to: Tile<Scalar>.self)
    let runs = (workspace + layout.runs).assumingMemoryBound(to: UnsafePointer<Scalar>.self)
    let sums = (workspace + layout.sums).assumingMemoryBound(to: Scalar.self)
    let orders = (workspace + layout.orders).assumingMemoryBound(to: Int32.self)
    let runsPerTile = block.pointee.segments * largestTileSide
    let ordersPerTile = block.pointee.orderLength

    let unit = plan.pointee.positionColumns
    let columnEnd = firstColumn + columns
    // Where this overflows there is one column, and no use of it.
    let columnUnit = strategy == .columns ? 1 : horizontal.inputStep &* source.columnStride
    let (rowStep, columnStep) = (vertical.outputStep &* layer.output.row, horizontal.outputStep &* layer.output.column)
    let corner = output + vertical.outputStart * layer.output.row + horizontal.outputStart * layer.output.column
    var step = largestTileSide
    var shortens = false
    for index in panels {
        let panel = plan.pointee.panels + index
        if panel.pointee.reach(strategy) <= step { (step, shortens) = (panel.pointee.reach(strategy), panel.pointee.shortKernel != nil) }
    }

    // A tile may span rows unless it is wide. Tiles are worked on in groups: a group's inputs stay in the nearest cache while panel after
    // panel passes over them, and a panel's weights while tile after tile does.
    let isWide = plan.pointee.isWide
    let roundsBorder = block.pointee.roundsBorder && plan.pointee.skipsOutside
    let insideRows = insideRange(vertical, source.rows)
    var route = Route(
        rows: firstRow..<firstRow + rows, columns: firstColumn..<columnEnd, height: vertical.count,
        innerRows: roundsBorder ? insideRows : 0..<vertical.count,
        innerColumns: roundsBorder ? insideRange(horizontal, source.columns) : 0..<horizontal.count)
    let stride = step * unit
    // The last vector of a row begins early rather than be a part of one; but to add twice would be wrong. So does the last tile, if it is
    // wide or what would follow its input is not the caller's.
    let mayOverlap = strategy == .columns && columnStep == 1 && columns >= (isWide ? stride : unit) && !layer.means.accumulates
    let overlaps = strategy == .columns && plan.pointee.readsInputDirectly || isWide && mayOverlap
    let lastColumn = mayOverlap ? columnEnd - unit : columnEnd
    // Of a bordered copy tiles may be some whole rows.
    let tileRows = plan.pointee.borders ? max(1, stride / columns) : 1
    let plainEnd = strategy == .columns ? columnEnd : insideRange(horizontal, source.columns).upperBound
    // Positions that tiles of two heights make up without a rest, where they can: the border's first, then the others.
    var left = shortens ? route.borderPositions : 0
    while !route.isDone {
        var stripCount = 0
        var tileCount = 0
        while tileCount < block.pointee.tilesPerGroup, !route.isDone {
            let tile = tiles + stripCount
            tile.pointee.count = 0
            (tile.pointee.repeats, tile.pointee.rowRepeats) = (1, 1)
            let row = route.row
            // Its positions lie side by side in one row. (To ask them would wait for all that is just being written.)
            var isStraight = true
            if overlaps {
                route.column = min(route.column, columnEnd - stride)
                for r in 0..<step {
                    let column = route.column + r * unit
                    tile.pointee.add(image: image + route.image, row: route.imageRow, column: column, end: columnEnd, unit: unit)
                }
                _ = route.advance(stride)
            } else {
                var height = step
                if shortens {
                    if left == 0 { left = rows * columns - route.borderPositions }
                    if tallTiles(left, step) == 0 { height = min(step - 1, left) }
                    left -= height
                }
                while tile.pointee.count < height, !route.isDone {
                    isStraight = tile.pointee.count == 0
                    var column = route.column
                    repeat {
                        tile.pointee.add(
                            image: image &+ route.image, row: route.imageRow, column: min(column, lastColumn), end: columnEnd, unit: unit)
                        column &+= unit
                    } while tile.pointee.count < height && column < route.columnEnd
                    if column &- unit > lastColumn { isStraight = false }
                    if route.advance(column &- route.column), isWide { break }
                }
            }
            let (first, last) = (tile.pointee.columns[0], tile.pointee.columns[tile.pointee.count - 1])
            tile.pointee.aim(at: corner, image: layer.output.batch, row: rowStep, column: columnStep)
            tile.pointee.isPlain = tileRows > 1 && tile.pointee.count == step || (tile.pointee.count == step || isWide) && isStraight
                && meetsNoBorder(vertical, tile.pointee.rows[0], tile.pointee.rows[0], source.rows)
                && (strategy == .columns || meetsNoBorder(horizontal, first, last, source.columns))
            tile.pointee.mergesTaps = block.pointee.mergesTaps
            if tile.pointee.mergesTaps, !tile.pointee.isPlain {
                for r in 0..<tile.pointee.count {
                    let column = tile.pointee.columns[r]
                    if !meetsNoBorder(horizontal, column, column, source.columns) { tile.pointee.mergesTaps = false }
                }
            }
            if tile.pointee.isPlain, tile.pointee.count == step, !route.isDone, route.row == row, route.column == last + unit {
                var more = min((min(route.columnEnd, plainEnd) - route.column) / stride, block.pointee.tilesPerGroup - tileCount - 1)
                if shortens {
                    more = min(more, tallTiles(left, step))
                    left -= more * step
                }
                if more > 0 {
                    tile.pointee.repeats += more
                    _ = route.advance(more * stride)
                }
            }
            // Whole rows of such tiles.
            if tile.pointee.isPlain, tile.pointee.count == step, !route.isDone, !shortens, first == route.column,
                route.row == row + tileRows, route.imageRow > tile.pointee.rows[0]
            {
                let rows = min(portion.rows.upperBound - row, insideRows.upperBound - tile.pointee.rows[0]) / tileRows
                let more = min(rows, (block.pointee.tilesPerGroup - tileCount) / tile.pointee.repeats) - 1
                if more > 0 {
                    tile.pointee.rowRepeats += more
                    route.advance(rows: more * tileRows)
                }
            }
            stripCount += 1
            tileCount += tile.pointee.repeats * tile.pointee.rowRepeats
        }

        var laidOut = 0
        var tapsOfTiles = 0
        for index in panels {
            let reach = plan.pointee.panels[index].reach(strategy)
            if reach != laidOut {
                laidOut = reach
                // Plain tiles share the addresses of the first of them.
                var plain = -1
                for t in 0..<stripCount {
                    let tile = tiles + t
                    if tile.pointee.isPlain, plain >= 0 {
                        tile.pointee.runs = tiles[plain].runs
                        (tile.pointee.order, tile.pointee.chunks) = (tiles[plain].order, tiles[plain].chunks)
                        tile.pointee.taps = tiles[plain].taps
                        tile.pointee.shift = (tile.pointee.images[0] - tiles[plain].images[0]) * source.imageStride
                            + (tile.pointee.rows[0] - tiles[plain].rows[0]) * vertical.inputStep * source.rowStride
                            + (tile.pointee.columns[0] - tiles[plain].columns[0]) * columnUnit
                        continue
                    }
                    tile.pointee.runs = runs + t * runsPerTile
                    tile.pointee.order = orders + t * ordersPerTile
                    tile.pointee.shift = 0
                    layOut(
                        plan, block, source, tile,
                        reach: strategy == .columns ? reach : plan.pointee.panels[index].kernel(for: tile.pointee.count).rows,
                        rowOffsets: (workspace + layout.rowOffsets).assumingMemoryBound(to: Int.self),
                        columnOffsets: (workspace + layout.columnOffsets).assumingMemoryBound(to: Int.self))
                    if tile.pointee.isPlain { plain = t }
                }
                tapsOfTiles = 0
                for t in 0..<stripCount { tapsOfTiles += tiles[t].taps * tiles[t].repeats * tiles[t].rowRepeats }
            }
            // The weights after the last panel's are those of the next group's first, or of the next phase's.
            let isLast = index + 1 == panels.upperBound
            multiply(
                plan, block, index, source, tiles, strips: stripCount, tiles: tileCount, taps: tapsOfTiles,
                inputSteps: (stride &* columnUnit, tileRows &* vertical.inputStep &* source.rowStride),
                outputSteps: (stride &* columnStep, tileRows &* rowStep), sums, isFirst: index == panels.lowerBound,
                following: isLast && route.isDone
                    ? plan.pointee.weights(of: portion.nextPanel, plan.pointee.after(block))
                    : plan.pointee.weights(of: isLast ? panels.lowerBound : index + 1, block))
        }
    }
    if plan.pointee.streams { shim_finish_streaming() }
}

/// One panel of output channels over a group of tiles. `inputSteps` and `outputSteps` lead from one repetition of a plain tile, and
/// from one row of them, to the next.
private func multiply<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ panelIndex: Int, _ source: Source<Scalar>,
    _ tiles: UnsafeMutablePointer<Tile<Scalar>>, strips: Int, tiles tileCount: Int, taps tapsOfTiles: Int,
    inputSteps: (column: Int, row: Int), outputSteps: (column: Int, row: Int), _ sums: UnsafeMutablePointer<Scalar>,
    isFirst: Bool, following: UnsafePointer<Scalar>
) {
    let panel = plan.pointee.panels + panelIndex
    let strategy = plan.pointee.strategy
    let inputs = plan.pointee.layer.inChannelsPerGroup
    let taps = block.pointee.taps
    let width = panel.pointee.width
    let kernel = panel.pointee.kernel
    let reach = panel.pointee.reach(strategy)
    let channelStride = plan.pointee.layer.output.channel
    // Where this overflows there is one column, and no use of it.
    let columnStep = block.pointee.horizontal.outputStep &* plan.pointee.layer.output.column
    let bias = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self)) + panel.pointee.offset
    let activation = plan.pointee.layer.activation.converted(to: Scalar.self)
    let bounds = activation.bounds
    var weights: UnsafePointer<Scalar> = plan.pointee.weights(of: panelIndex, block)
    let firstInput: Int
    var groupPitch = inputs
    switch strategy {
    case .channels:
        if !plan.pointee.readsInputDirectly { groupPitch = ceilDivide(inputs, block.pointee.channelBlock) * source.blockPitch }
        firstInput = (panel.pointee.group - source.channelOrigin / max(inputs, 1)) * groupPitch
    case .lanes: firstInput = panel.pointee.firstChannel - source.channelOrigin
    case .columns: firstInput = (panel.pointee.group * inputs - source.channelOrigin) * source.channelPitch
    }
    // Whole vectors with simple activations, and nothing to be added, leave the kernel finished.
    let lastLanes = panel.pointee.channels % plan.pointee.table.lanes
    let storesPart = strategy == .channels && plan.pointee.table.storesParts && lastLanes > 0
        && width - panel.pointee.channels < plan.pointee.table.lanes
    let mayFinish = bounds != nil && !plan.pointee.layer.means.accumulates
        && (strategy == .columns ? columnStep == 1
            : channelStride == 1 && (panel.pointee.channels == width || storesPart))

    let outputOffset = panel.pointee.firstChannel * channelStride
    let streams = mayFinish && !storesPart && plan.pointee.streams && strategy == .channels
        && plan.pointee.alignsPixels(UnsafeRawPointer(tiles.pointee.targets[0] + outputOffset))
    let mergedTaps = block.pointee.horizontal.taps
    // Weights that stay in the cache need not be fetched; while the first panel is multiplied, the input of the next group is, so many
    // elements of it for each channel.
    let fetchesInput = block.pointee.fetchesInput
    var nextInput = source.base
    var inputShare = 0
    if fetchesInput, isFirst {
        let pixel = block.pointee.horizontal.inputStep * source.columnStride
        inputShare = tileCount * reach * pixel / inputs
        nextInput += tiles.pointee.images[0] * source.imageStride
            + (tiles.pointee.rows[0] * block.pointee.vertical.inputStep + block.pointee.vertical.lastOffset) * source.rowStride
            + (tiles.pointee.columns[0] + tileCount * reach) * pixel
    }
    var channel = 0
    // Made once, and changed from tile to tile: what was written long before can be read in any pieces at once.
    var arguments = TileArguments(
        runs: UnsafePointer(tiles.pointee.runs), channelOffset: 0, channelPitch: source.channelPitch, segments: taps, length: 0,
        segmentsPerChunk: block.pointee.segmentsPerChunk, panel: weights, tile: sums, continues: false, outputs: nil,
        outputOffset: outputOffset, rows: kernel.rows, outputPitch: channelStride, bias: bias, low: bounds?.low ?? 0, high: bounds?.high ?? 0)
    arguments.places = UnsafeRawPointer(plan.pointee.places)
    arguments.streams = streams
    if storesPart { arguments.lastMask = (1 << UInt32(lastLanes)) - 1 }
    arguments.groupPitch = groupPitch
    // Sums that no other call goes on with are forgotten, and their lines used again.
    let tileStep = block.pointee.hasOneCall ? 0 : largestTileScalars
    var blockOffset = firstInput
    while channel < inputs {
        let length = min(block.pointee.channelBlock, inputs - channel)
        let channels = length * block.pointee.blocksPerCall
        let isLast = channel + channels == inputs
        // While this part of the weights is multiplied, each tile fetches its share of what follows: line after line, since single lines left out
        // would cost more than the same number in a row, which the processor foresees.
        let next = weights + taps * channels * width
        let aheadBytes = (fetchesInput ? inputShare : taps * width) * channels * MemoryLayout<Scalar>.stride
        arguments.panel = weights
        arguments.tile = sums
        arguments.continues = channel > 0
        arguments.ahead = UnsafeRawPointer(fetchesInput ? nextInput + inputShare * channel : isLast ? following : next)
        arguments.aheadStep = min(
            kernel.vectors > 1 && panel.pointee.groups == 1 ? 128 : 64, ceilDivide(aheadBytes, max(1, tapsOfTiles * length)))
        for t in 0..<strips {
            // Of one input pixel, each tile has a tap of its own, the first the kernel's last: so weights are read from front to back.
            let tile = tiles + (kernel.rows == 1 ? strips - 1 - t : t)
            let count = tile.pointee.count
            let finishes = isLast && mayFinish
                && (strategy != .columns || count == reach && tile.pointee.isFull(lanes: plan.pointee.table.lanes))
            arguments.runs = UnsafePointer(tile.pointee.runs)
            arguments.channelOffset = tile.pointee.shift + blockOffset
            arguments.order = UnsafePointer(tile.pointee.order)
            arguments.chunks = tile.pointee.chunks
            arguments.length = tile.pointee.mergesTaps ? length * mergedTaps : length
            arguments.outputOffset = outputOffset
            if strategy != .columns { arguments.rows = count }
            let accumulate = panel.pointee.kernel(for: count).accumulate
            let ahead = tile.pointee.taps * length * arguments.aheadStep
            tile.pointee.targets.span.withUnsafeBufferPointer { targets in
                arguments.outputs = finishes ? targets.baseAddress : nil
                withUnsafeMutablePointer(to: &arguments) { arguments in
                    var rows = tile.pointee.rowRepeats
                    while true {
                        for _ in 0..<tile.pointee.repeats {
                            accumulate(arguments)
                            if isLast, !finishes {
                                finish(
                                    plan, panel, tile, arguments.pointee.tile, arguments.pointee.outputOffset, bias, activation,
                                    columnStep: columnStep)
                            }
                            arguments.pointee.channelOffset &+= inputSteps.column
                            arguments.pointee.outputOffset &+= outputSteps.column
                            arguments.pointee.tile += tileStep
                            arguments.pointee.ahead += ahead
                        }
                        rows -= 1
                        if rows == 0 { break }
                        arguments.pointee.channelOffset &+= inputSteps.row &- tile.pointee.repeats &* inputSteps.column
                        arguments.pointee.outputOffset &+= outputSteps.row &- tile.pointee.repeats &* outputSteps.column
                    }
                }
            }
        }
        weights = next
        channel += channels
        blockOffset += source.blockPitch
    }
}

/// What the kernel did not finish itself: partial vectors, scattered channels, activations with functions in them.
private func finish<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ panel: UnsafePointer<Panel>, _ tile: UnsafePointer<Tile<Scalar>>,
    _ sums: UnsafeMutablePointer<Scalar>, _ outputOffset: Int, _ bias: UnsafePointer<Scalar>, _ activation: TileActivation<Scalar>,
    columnStep: Int
) {
    let channelStride = plan.pointee.layer.output.channel
    var targets = tile.pointee.targets
    for r in 0..<tile.pointee.count { targets[r] += outputOffset }
    targets.span.withUnsafeBufferPointer { targets in
        guard let targets = targets.baseAddress else { return }
        if plan.pointee.strategy != .columns {
            let arguments = EpilogueArguments(
                tile: sums, rows: tile.pointee.count, lanes: panel.pointee.width, channels: panel.pointee.channels, bias: bias,
                outputs: targets, channelStride: channelStride, activation: activation,
                accumulates: plan.pointee.layer.means.accumulates)
            withUnsafePointer(to: arguments) { plan.pointee.table.finish($0) }
            return
        }
        tile.pointee.widths.span.withUnsafeBufferPointer { widths in
            guard let widths = widths.baseAddress else { return }
            finishColumns(
                plan.pointee.table,
                ColumnEpilogueArguments(
                    tile: sums, channels: panel.pointee.channels, tileVectors: panel.pointee.kernel.vectors, vectors: tile.pointee.count,
                    outputs: targets, columns: widths, bias: bias, channelStride: channelStride, columnStride: columnStep,
                    activation: activation, accumulates: plan.pointee.layer.means.accumulates))
        }
    }
}

/// `finishColumns`, and then, where channels are neighbours, the tile's planes turned into pixels, as many vectors at a time as follow
/// each other.
func finishColumns<Scalar: KernelScalar>(_ table: KernelTable, _ given: ColumnEpilogueArguments<Scalar>) {
    var arguments = given
    arguments.keepsTile = given.channelStride == 1 && given.columnStride != 1
    withUnsafePointer(to: arguments) { table.finishColumns($0) }
    if !arguments.keepsTile { return }
    var n = 0
    while n < given.vectors {
        let first = n
        var columns = given.columns[n]
        n += 1
        while n < given.vectors, columns == (n - first) * table.lanes, given.outputs[n] == given.outputs[first] + columns * given.columnStride {
            columns += given.columns[n]
            n += 1
        }
        packPixels(
            from: given.tile + first * table.lanes, columnStride: 1, channelStride: given.tileVectors * table.lanes, columns: columns,
            channels: given.channels, pixelPitch: given.columnStride, to: given.outputs[first])
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
private func tallTiles(_ positions: Int, _ step: Int) -> Int {
    let tiles = ceilDivide(positions, step)
    return max(0, positions - tiles * (step - 1))
}

/// The outputs whose taps all read inside `input`; if there are none, all.
private func insideRange(_ lattice: Lattice, _ input: Range<Int>) -> Range<Int> {
    let reach = (lattice.taps - 1) * lattice.offsetStep
    let first = max(0, ceilDivide(input.lowerBound - lattice.offsetStart - min(reach, 0), lattice.inputStep))
    let end = min(lattice.count, ceilDivide(input.upperBound - lattice.offsetStart - max(reach, 0), lattice.inputStep))
    return first < end ? first..<end : 0..<lattice.count
}

/// Whether all taps of outputs `first` to `last` read inside `input`.
@inline(__always)
private func meetsNoBorder(_ lattice: Lattice, _ first: Int, _ last: Int, _ input: Range<Int>) -> Bool {
    let reach = (lattice.taps - 1) * lattice.offsetStep
    return first * lattice.inputStep + lattice.offsetStart + min(reach, 0) >= input.lowerBound
        && last * lattice.inputStep + lattice.offsetStart + max(reach, 0) < input.upperBound
}

/// offsets[tap][r] = where the tap of output index `indices[r]` reads along the axis, `shifts[r]` further. Of `length` elements `input`
/// is there: all that taps of the item read, with or without the border.
private func offsetsAlong(
    _ plan: UnsafePointer<ConvolutionPlan>, _ lattice: Lattice, _ indices: InlineArray<8, Int>, shifts: InlineArray<8, Int>, length: Int,
    input: Range<Int>, stride: Int, into offsets: UnsafeMutablePointer<Int>
) {
    indices.span.withUnsafeBufferPointer { indices in
        shifts.span.withUnsafeBufferPointer { shifts in
            guard let indices = indices.baseAddress, let shifts = shifts.baseAddress else { return }
            let axis = AxisArguments(
                indices: indices, shifts: shifts, inputStep: lattice.inputStep,
                offsetStart: lattice.offsetStart - input.lowerBound, offsetStep: lattice.offsetStep, taps: lattice.taps, length: input.count, stride: stride, offsets: offsets)
            withUnsafePointer(to: axis) { plan.pointee.table.layOutAxis($0) }
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

/// runs[tap][r] = where position r of the tile finds that tap's channels. Positions beyond the tile's count, up to `reach`, repeat the
/// last: they are computed and not stored.
private func layOut<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ source: Source<Scalar>, _ tile: UnsafeMutablePointer<Tile<Scalar>>,
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
        for r in 0..<largestTileSide {
            let column = tile.pointee.columns[r] * horizontal.inputStep + horizontal.offsetStart
            for tap in 0..<horizontal.taps {
                let place = column + tap * horizontal.offsetStep - source.columns.lowerBound
                columnOffsets[tap * largestTileSide + r] = place % horizontal.inputStep * source.plane + place / horizontal.inputStep
            }
        }
    } else {
        offsetsAlong(
            plan, horizontal, tile.pointee.columns, shifts: InlineArray(repeating: 0), length: plan.pointee.layer.horizontal.input,
            input: source.columns, stride: source.columnStride, into: columnOffsets)
    }
    if plan.pointee.strategy == .channels {
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
            skipsOutside: plan.pointee.skipsOutside,
            elementBytes: MemoryLayout<Scalar>.stride, base: UnsafeRawPointer(source.base), outside: UnsafeRawPointer(source.outside),
            runs: UnsafeMutableRawPointer(tile.pointee.runs), order: tile.pointee.order)
        withUnsafeMutablePointer(to: &arguments) { plan.pointee.table.layOutRuns($0) }
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
                    run[r] = rowOffset == outsideOffset || columnOffset == outsideOffset ? source.outside : source.base + rowOffset + columnOffset
                }
            }
            run += reach
        }
    }
}

/// Copies the rectangle's part of the input into `target`, arranged as the plan's kernels read it.
private func pack<Scalar: KernelScalar>(
    _ rectangle: Rectangle, _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ input: UnsafePointer<Scalar>,
    _ target: UnsafeMutablePointer<Scalar>
) {
    let layer = plan.pointee.layer
    let inputs = layer.inChannelsPerGroup
    let outside = Scalar(layer.paddingValue)
    let vertical = block.pointee.vertical
    // A kernel smaller than its stride passes over rows, and columns.
    let skipsRows = layer.paddingMode == .constant && vertical.taps < vertical.inputStep
    let corner = input + rectangle.images.lowerBound * layer.input.batch + rectangle.rows.lowerBound * layer.input.row
    switch plan.pointee.strategy {
    case _ where plan.pointee.borders:
        var part = rectangle
        (part.channelPitch, part.elements) = (block.pointee.channelBlock, rectangle.blockPitch)
        var place = target
        while part.channels.lowerBound < rectangle.channels.upperBound {
            let first = part.channels.lowerBound
            part.channels = first..<first + min(block.pointee.channelBlock, inputs - first % inputs)
            packBordered(part, layer, corner: input + rectangle.images.lowerBound * layer.input.batch, place)
            part.channels = part.channels.upperBound..<rectangle.channels.upperBound
            place += rectangle.blockPitch
        }
    case .channels:
        var place = target
        var channel = rectangle.channels.lowerBound
        while channel < rectangle.channels.upperBound {
            // Blocks start anew with each group.
            let length = min(block.pointee.channelBlock, inputs - channel % inputs)
            for image in 0..<rectangle.images.count {
                for row in 0..<rectangle.rows.count where !skipsRows || vertical.meets(rectangle.rows.lowerBound + row) {
                    packPixels(
                        from: corner + image * layer.input.batch + row * layer.input.row + rectangle.columns.lowerBound * layer.input.column
                            + channel * layer.input.channel,
                        columnStride: layer.input.column, channelStride: layer.input.channel, columns: rectangle.columns.count,
                        channels: length, pixelPitch: block.pointee.channelBlock,
                        to: place + (image * rectangle.rows.count + row) * rectangle.rowPitch)
                }
            }
            channel += length
            place += rectangle.blockPitch
            let pixels = block.pointee.outsidePixels * block.pointee.channelBlock
            (place - pixels).update(repeating: outside, count: pixels)
        }
    case .lanes where plan.pointee.walks:
        packBordered(rectangle, layer, corner: input + rectangle.images.lowerBound * layer.input.batch, target)
    case .lanes:
        // Lanes beyond the last channel have weights of 0, but no product of theirs may be infinite.
        let channels = min(rectangle.channels.upperBound, layer.inChannels) - rectangle.channels.lowerBound
        if channels < rectangle.channelPitch { target.update(repeating: 0, count: rectangle.elements) }
        for row in 0..<rectangle.rows.count where !skipsRows || vertical.meets(rectangle.rows.lowerBound + row) {
            packPixels(
                from: corner + row * layer.input.row + rectangle.columns.lowerBound * layer.input.column
                    + rectangle.channels.lowerBound * layer.input.channel,
                columnStride: layer.input.column, channelStride: layer.input.channel, columns: rectangle.columns.count,
                channels: channels, pixelPitch: rectangle.channelPitch, to: target + row * rectangle.rowPitch)
        }
    case .columns:
        let horizontal = block.pointee.horizontal
        for residue in 0..<horizontal.inputStep where horizontal.meets(rectangle.columns.lowerBound + residue) {
            let line = ResidueLine(rectangle, residue: residue, inputStep: horizontal.inputStep, length: layer.horizontal.input)
            let channels = rectangle.channels.count
            for row in 0..<rectangle.rows.count where !skipsRows || vertical.meets(rectangle.rows.lowerBound + row) {
                let source = corner + row * layer.input.row + rectangle.channels.lowerBound * layer.input.channel
                let place = target + row * rectangle.rowPitch + residue * rectangle.plane
                for channel in 0..<channels {
                    packBorder(source + channel * layer.input.channel, layer, line, place + channel * rectangle.channelPitch)
                }
                packLines(
                    from: source + line.place(line.inside.lowerBound) * layer.input.column, rowStride: 0,
                    columnStride: horizontal.inputStep &* layer.input.column, channelStride: channels == 1 ? 0 : layer.input.channel,
                    rows: 1, columns: line.inside.count, channels: channels, rowPitch: 0, pitch: rectangle.channelPitch,
                    to: place + line.inside.lowerBound)
            }
        }
        if layer.paddingMode == .constant {
            (target + rectangle.rows.count * rectangle.rowPitch).update(repeating: outside, count: rectangle.rowPitch)
        }
    }
}

/// Pixels by rows, the border among them, with some channels each; what a pixel's place has beyond them is 0.
@inline(never)
private func packBordered<Scalar: KernelScalar>(
    _ rectangle: Rectangle, _ layer: Layer, corner image: UnsafePointer<Scalar>, _ target: UnsafeMutablePointer<Scalar>
) {
    let pitch = rectangle.channelPitch
    let channels = min(rectangle.channels.upperBound, layer.inChannels) - rectangle.channels.lowerBound
    if channels < pitch { target.update(repeating: 0, count: rectangle.elements) }
    let first = image + rectangle.channels.lowerBound * layer.input.channel
    // The columns inside the input, all of a row at once; a constant border from the end of one row to the start of the next.
    let inside = rectangle.columns.clamped(to: 0..<layer.horizontal.input)
    let outside = Scalar(layer.paddingValue)
    var end = target
    for row in 0..<rectangle.rows.count {
        guard let line = borderIndex(rectangle.rows.lowerBound + row, layer.vertical.input, layer.paddingMode) else { continue }
        var column = rectangle.columns.lowerBound
        while column < rectangle.columns.upperBound {
            let columns = column == inside.lowerBound ? max(inside.count, 1) : 1
            if let source = borderIndex(column, layer.horizontal.input, layer.paddingMode) {
                let place = target + row * rectangle.rowPitch + (column - rectangle.columns.lowerBound) * pitch
                end.update(repeating: outside, count: place - end)
                packPixels(
                    from: first + line * layer.input.row + source * layer.input.column, columnStride: layer.input.column,
                    channelStride: layer.input.channel, columns: columns, channels: channels, pixelPitch: pitch, to: place)
                end = place + columns * pitch
            }
            column += columns
        }
    }
    end.update(repeating: outside, count: target + rectangle.elements - end)
}

/// Every `inputStep`-th column of a rectangle, border included, which are packed as neighbours.
struct ResidueLine {
    var first: Int
    var inputStep: Int
    /// Columns of the rectangle, those of them that lie inside the input, and with the zeros that follow.
    var count: Int
    var inside: Range<Int>
    var plane: Int

    init(_ rectangle: Rectangle, residue: Int, inputStep: Int, length: Int) {
        first = rectangle.columns.lowerBound + residue
        self.inputStep = inputStep
        plane = rectangle.plane
        count = max(0, ceilDivide(rectangle.columns.upperBound - first, inputStep))
        // Places first + q * inputStep with 0 <= place < length.
        let start = min(count, max(0, ceilDivide(-first, inputStep)))
        inside = start..<max(start, min(count, ceilDivide(length - first, inputStep)))
    }

    /// Where column number `q` lies in the input; 0 where none does.
    @inline(__always)
    func place(_ q: Int) -> Int { inside.contains(q) ? first + q * inputStep : 0 }
}

/// What is not inside of one channel of one row, and zeros to the end of the plane.
func packBorder<Scalar: KernelScalar>(
    _ source: UnsafePointer<Scalar>, _ layer: Layer, _ line: ResidueLine, _ target: UnsafeMutablePointer<Scalar>
) {
    func border(_ q: Int) -> Scalar {
        borderIndex(line.first + q * line.inputStep, layer.horizontal.input, layer.paddingMode).map { source[$0 * layer.input.column] }
            ?? Scalar(layer.paddingValue)
    }
    for q in 0..<line.inside.lowerBound { target[q] = border(q) }
    for q in line.inside.upperBound..<line.count { target[q] = border(q) }
    (target + line.count).update(repeating: 0, count: line.plane - line.count)
}

/// The channels of a panel at one output pixel: activation(values[i] + bias[i]), and what stands there in between if the layer accumulates.
/// `target` is the place of the panel's first channel.
private func finishPixel<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ panel: Panel, _ values: UnsafePointer<Scalar>, _ target: UnsafeMutablePointer<Scalar>,
    channelStride: Int, scratch: UnsafeMutablePointer<Scalar>
) {
    let layer = plan.pointee.layer
    let bias = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self)) + panel.offset
    let activation = layer.activation.converted(to: Scalar.self)
    for channel in 0..<panel.channels {
        // By the columns' epilogue with one vector of one column: its bias is per channel in any strategy.
        scratch.update(repeating: 0, count: plan.pointee.table.lanes)
        scratch[0] = values[channel]
        var target = target + channel * channelStride
        withUnsafePointer(to: &target) { target in
            withUnsafePointer(to: 1) { one in
                let arguments = ColumnEpilogueArguments(
                    tile: scratch, channels: 1, tileVectors: 1, vectors: 1, outputs: target, columns: one, bias: bias + channel,
                    channelStride: 0, columnStride: 1, activation: activation, accumulates: layer.means.accumulates)
                withUnsafePointer(to: arguments) { plan.pointee.table.finishColumns($0) }
            }
        }
    }
}

/// Output elements that no tap reaches (between the strokes of a kernel shorter than the stride, beyond the natural result, or all
/// of them where there are no input channels): the activated bias.
@_optimize(size)
private func fillUncovered<Scalar: KernelScalar>(_ execution: Execution, _: Scalar.Type) {
    let plan = execution.plan
    let layer = plan.pointee.layer
    let output = execution.output.assumingMemoryBound(to: Scalar.self)
    let values = execution.workspace.advanced(by: plan.pointee.workspace.sums).assumingMemoryBound(to: Scalar.self)
    for index in 0..<plan.pointee.panelCount {
        let panel = plan.pointee.panels[index]
        values.update(repeating: 0, count: panel.channels)
        let finished = values + largestTileScalars / 4
        let scratch = values + largestTileScalars / 2
        if !layer.means.accumulates { finishPixel(plan, panel, values, finished, channelStride: 1, scratch: scratch) }
        for image in 0..<layer.batch {
            for row in 0..<layer.vertical.output {
                for column in 0..<layer.horizontal.output {
                    if plan.pointee.coveredRows[row] != 0, plan.pointee.coveredColumns[column] != 0 { continue }
                    let target = output + image * layer.output.batch + row * layer.output.row + column * layer.output.column
                        + panel.firstChannel * layer.output.channel
                    if layer.means.accumulates {
                        finishPixel(plan, panel, values, target, channelStride: layer.output.channel, scratch: scratch)
                    } else if layer.output.channel == 1 {
                        UnsafeMutableRawPointer(target).copyMemory(
                            from: finished, byteCount: panel.channels * MemoryLayout<Scalar>.stride)
                    } else {
                        for channel in 0..<panel.channels { target[channel * layer.output.channel] = finished[channel] }
                    }
                }
            }
        }
    }
}

/// An output pixel whose taps reach outside the input.
struct BorderPixel {
    var block: UnsafePointer<Block>
    /// Indices of the block's lattices.
    var row: Int
    var column: Int
    var image: Int
    /// From the output's first element.
    var offset: Int
}

func forEachBorderPixel(_ plan: UnsafePointer<ConvolutionPlan>, _ body: (BorderPixel) -> Void) {
    let layer = plan.pointee.layer
    for blockIndex in 0..<plan.pointee.blockCount {
        let block = plan.pointee.blocks + blockIndex
        let (vertical, horizontal) = (block.pointee.vertical, block.pointee.horizontal)
        for row in 0..<vertical.count {
            let plainRow = meetsNoBorder(vertical, row, row, 0..<layer.vertical.input)
            for column in 0..<horizontal.count
            where !plainRow || !meetsNoBorder(horizontal, column, column, 0..<layer.horizontal.input) {
                for image in 0..<layer.batch {
                    let offset = image * layer.output.batch + (vertical.outputStart + row * vertical.outputStep) * layer.output.row
                        + (horizontal.outputStart + column * horizontal.outputStep) * layer.output.column
                    body(BorderPixel(block: block, row: row, column: column, image: image, offset: offset))
                }
            }
        }
    }
}

/// What the border pixels of an accumulating layer hold before the tiles' results replace it, `[border pixel][channel]`; nil if nobody
/// will ask.
@_optimize(size)
private func borderBefore<Scalar: KernelScalar>(_ execution: Execution, _: Scalar.Type) throws(Failure) -> UnsafeMutableRawPointer? {
    let layer = execution.plan.pointee.layer
    guard execution.plan.pointee.mendsBorder, layer.means.accumulates else { return nil }
    var pixels = 0
    forEachBorderPixel(execution.plan) { _ in pixels += 1 }
    let memory = try allocate(pixels * layer.outChannels, of: MemoryLayout<Scalar>.stride, "the border of the output")
    var place = memory.assumingMemoryBound(to: Scalar.self)
    forEachBorderPixel(execution.plan) { pixel in
        let source = execution.output.assumingMemoryBound(to: Scalar.self) + pixel.offset
        for channel in 0..<layer.outChannels { place[channel] = source[channel * layer.output.channel] }
        place += layer.outChannels
    }
    return memory
}

/// The border pixels, computed plainly from the taps inside: see `ConvolutionPlan.mendsBorder`.
@_optimize(size)
private func mendBorder<Scalar: KernelScalar>(_ execution: Execution, _: Scalar.Type) {
    let plan = execution.plan
    let layer = plan.pointee.layer
    let input = execution.input.assumingMemoryBound(to: Scalar.self)
    let output = execution.output.assumingMemoryBound(to: Scalar.self)
    let values = execution.workspace.advanced(by: plan.pointee.workspace.sums).assumingMemoryBound(to: Scalar.self)
    var saved = execution.before?.assumingMemoryBound(to: Scalar.self)
    forEachBorderPixel(plan) { pixel in
        let target = output + pixel.offset
        if let place = saved {
            for channel in 0..<layer.outChannels { target[channel * layer.output.channel] = place[channel] }
            saved = place + layer.outChannels
        }
        for index in 0..<plan.pointee.panelCount {
            let panel = plan.pointee.panels[index]
            values.update(repeating: 0, count: panel.channels)
            addInside(plan, pixel.block, panel, input + pixel.image * layer.input.batch, pixel.row, pixel.column, values)
            finishPixel(
                plan, panel, values, target + panel.firstChannel * layer.output.channel, channelStride: layer.output.channel,
                scratch: values + largestTileScalars / 2)
        }
    }
}

/// Adds the products of the taps inside the input, in the order of the panel, for one output pixel and the channels of a panel.
private func addInside<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ panel: Panel, _ image: UnsafePointer<Scalar>, _ row: Int,
    _ column: Int, _ values: UnsafeMutablePointer<Scalar>
) {
    let layer = plan.pointee.layer
    let (vertical, horizontal) = (block.pointee.vertical, block.pointee.horizontal)
    let inputs = layer.inChannelsPerGroup
    var weights = UnsafePointer(plan.pointee.weights.assumingMemoryBound(to: Scalar.self)) + block.pointee.weights
        + panel.offset * block.pointee.taps * inputs
    var first = 0
    while first < inputs {
        let length = min(block.pointee.channelBlock, inputs - first)
        for v in 0..<vertical.taps {
            let y = row * vertical.inputStep + vertical.offsetStart + v * vertical.offsetStep
            for h in 0..<horizontal.taps {
                let x = column * horizontal.inputStep + horizontal.offsetStart + h * horizontal.offsetStep
                if y >= 0, y < layer.vertical.input, x >= 0, x < layer.horizontal.input {
                    let pixel = image + y * layer.input.row + x * layer.input.column
                    for channel in 0..<length {
                        for lane in 0..<panel.channels {
                            let group = (panel.firstChannel + lane) / layer.outChannelsPerGroup
                            values[lane] += pixel[(group * inputs + first + channel) * layer.input.channel] * weights[channel * panel.width + lane]
                        }
                    }
                }
                weights += length * panel.width
            }
        }
        first += length
    }
}

extension TileActivation<Double> {
    func converted<Target: KernelScalar>(to _: Target.Type) -> TileActivation<Target> {
        switch self {
        case .none: return .none
        case .relu: return .relu
        case .clamp(let low, let high): return .clamp(Target(low), Target(high))
        case .leaky(let alpha): return .leaky(Target(alpha))
        case .sigmoid: return .sigmoid
        case .tanh: return .tanh
        }
    }
}

extension TileActivation where Scalar: KernelScalar {
    /// The activation as bounds, if it is one.
    var bounds: (low: Scalar, high: Scalar)? {
        switch self {
        case .none: return (-.infinity, .infinity)
        case .relu: return (0, .infinity)
        case .clamp(let low, let high): return (low, high)
        case .leaky, .sigmoid, .tanh: return nil
        }
    }
}
