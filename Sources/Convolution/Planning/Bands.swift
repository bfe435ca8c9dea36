import ConvolutionKernels

// Dividing the outputs of a block among items of work, and what of the input an item packs.

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

extension Lattice {
    /// Where `inputRange` is longest for `count` outputs, in any mode: at one of these four. Up to the first place that reads
    /// nothing before the input the range grows, then it stays, and shrinks when it reads beyond; but what borders mirror or
    /// repeat may be most at the first place or the last. (About the turn two, since a step may leave out the best.)
    fileprivate func place(_ index: Int, count: Int) -> Int {
        let last = self.count - count
        if index > 1 { return index == 2 ? 0 : last }
        return max(0, min(ceilDivide(-offsetStart - min((taps - 1) * offsetStep, 0), inputStep) - index, last))
    }
}

/// Bands along an axis that are each looked at.
private let visitedBands = 64

/// A rectangle stays in a level-2 cache together with the weights in use.
let rectangleLimit = 1 << 19

/// Planes packed together stay in a level-1 cache. (Those of one alone would be read the moment they are written.)
private let planesLimit = 1 << 14

/// What an item takes to begin, an element to be packed, turned or not, and a weight to be read, where a level-2 cache holds all
/// or not: in vectors of multiply-adds.
private let itemStart = 3000.0
private let turnedElement = 2.5
private let copiedElement = 0.2
/// Planes that two threads share meet in a line of the caches.
private let sharedLine = 400.0
private let nearWeight = 1.0
private let farWeight = 6.0

/// Output that the phases of a band may write before the next band begins.
private let phaseBytes = 1 << 19

/// The part of the input that an item packs. Columns are input columns, or for the strategy `columns` places on the lattice of
/// input columns that the taps read, border included, dealt into one plane per residue modulo the input step.
struct Rectangle {
    var images = 0..<0
    var rows = 0..<0
    var columns = 0..<0
    /// Input channels, or lanes for the strategy `lanes`.
    var channels = 0..<0
    /// Strategy `columns`: elements of one plane.
    var plane = 0
    /// Elements from channel to channel, from one block of channels to the next, from row to row, and in all.
    var channelPitch = 1
    var blockPitch = 0
    var rowPitch = 0
    var elements = 0
}

/// Into how many even parts, up to `most`, `units` are divided so that `threads` are done first, and when that is. `repeats`
/// ranges are divided alike, and a part takes `cost` of its units: so few parts where many would leave a thread without work
/// at the end, or cut tiles off.
@inline(never)
private func evenParts(
    _ units: Int, most: Int, repeats: Int, threads: Int, cost: (Int) -> Double
) -> (count: Int, time: Double) {
    var best = (count: 1, time: Double.infinity)
    let most = max(1, min(most, units))
    for count in 1...most {
        let (least, longer) = units.quotientAndRemainder(dividingBy: count)
        let (short, long) = (cost(least), cost(longer > 0 ? least + 1 : least))
        let (rounds, rest) = (count * repeats).quotientAndRemainder(dividingBy: threads)
        // Where all threads have as many parts, they are long and short in turn; else the last parts are done by some threads
        // alone. And one thread may end a bit of a part after the others.
        let all = Double(count - longer) * short + Double(longer) * long
        let time = rest > 0 ? Double(rounds + 1) * long : all * Double(repeats) / Double(threads) + (long - short) / 2
        if time + long / 16 < best.time { best = (count, time + long / 16) }
    }
    return best
}

extension ConvolutionPlan {
    /// What a portion of a block packs. A single item's was worked out before: of a tiny layer that takes a tenth of its time.
    @inline(__always)
    static func rectangle(
        _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ portion: Portion
    ) -> Rectangle {
        let (rows, columns, panels) = (portion.rows, portion.columns, portion.panels)
        if block.pointee.items == 1, rows.count == plan.pointee.rows(block.pointee), panels.count == plan.pointee.panelCount,
            columns.count == block.pointee.horizontal.count
        {
            return block.pointee.rectangle
        }
        return rectangle(
            plan, block, firstRow: rows.lowerBound, rows: rows.count, firstColumn: columns.lowerBound, columns: columns.count,
            panels: panels, image: portion.image)
    }

    /// One copy for plans and their drafts: a method that changes nothing would be given a copy of the latter.
    @inline(never)
    @_optimize(speed)
    static func rectangle(
        _ plan: UnsafePointer<ConvolutionPlan>, _ given: UnsafePointer<Block>, firstRow: Int, rows: Int, firstColumn: Int,
        columns: Int, panels: Range<Int>, image: Int
    ) -> Rectangle {
        let (layer, table, strategy) = (plan.pointee.layer, plan.pointee.table, plan.pointee.strategy)
        let block = given.pointee
        // A band within one image reads a part of its rows, one across images all rows of each.
        let height = block.vertical.count
        let lastRow = firstRow + rows - 1
        let images = plan.pointee.spansImages ? firstRow / height..<lastRow / height + 1 : image..<image + 1
        let (first, count) = images.count > 1 ? (0, height) : (firstRow % height, rows)
        let rowRange = inputRange(block.vertical, first: first, count: count, input: layer.vertical.input,
            mode: layer.paddingMode)
        let low = plan.pointee.panels[panels.lowerBound]
        let high = plan.pointee.panels[panels.upperBound - 1]
        let inputs = layer.inChannelsPerGroup
        if strategy == .columns {
            let horizontal = block.horizontal
            let reach = (horizontal.taps - 1) * horizontal.offsetStep
            let first = firstColumn * horizontal.inputStep + horizontal.offsetStart + min(reach, 0)
            let span = (columns - 1) * horizontal.inputStep + abs(reach) + 1
            var part = Rectangle(
                images: images, rows: rowRange, columns: first..<(first + span),
                channels: low.group * inputs..<(high.group + 1) * inputs)
            // Vectors of the last columns read on to a whole vector, or a whole tile; those places hold zeros.
            let line = ceilDivide(span, horizontal.inputStep)
            if plan.pointee.stencils {
                let tile = table.pointee.stencil.vectors * table.lanes
                // Whole vectors, so that some tap's are aligned.
                part.plane = ceilDivide(line + ceilDivide(columns, tile) * tile - columns, table.lanes) * table.lanes
                part.rowPitch = part.plane * horizontal.inputStep
                let vertical = block.vertical
                let top = firstRow * vertical.inputStep + vertical.offsetStart
                part.rows = top..<top + (rows - 1) * vertical.inputStep + (vertical.taps - 1) * vertical.offsetStep + 1
                part.channelPitch = part.rowPitch * part.rows.count
                part.elements = part.channelPitch * block.planes
                    + (plan.pointee.turnsPlanes ? rows * columns * panels.count + tile : 0)
                return part
            }
            part.plane = line + table.lanes * (plan.pointee.isWide ? low.kernel.vectors : 1)
            part.channelPitch = part.plane * horizontal.inputStep
            part.blockPitch = part.channelPitch * block.channelBlock
            part.rowPitch = part.channelPitch * part.channels.count
            // One more row stands for all rows outside.
            part.elements = part.rowPitch * (rowRange.count + 1)
            return part
        }
        if plan.pointee.walks || plan.pointee.borders {
            let (vertical, horizontal) = (block.vertical, block.horizontal)
            let top = first * vertical.inputStep + vertical.offsetStart
            let left = firstColumn * horizontal.inputStep + horizontal.offsetStart
            var part = Rectangle(
                images: images,
                rows: top..<top + (count - 1) * vertical.inputStep + vertical.lastOffset - vertical.offsetStart + 1,
                columns: left..<left + (columns - 1) * horizontal.inputStep + horizontal.lastOffset - horizontal.offsetStart + 1,
                channels: low.offset..<(high.offset + high.width))
            if plan.pointee.borders {
                part.channels = low.group * inputs..<(high.group + high.groups) * inputs
                part.rowPitch = part.columns.count * block.channelBlock
                part.blockPitch = images.count * part.rows.count * part.rowPitch
                part.elements = part.blockPitch * (high.group + high.groups - low.group) * ceilDivide(inputs, block.channelBlock)
                return part
            }
            part.channelPitch = part.channels.count
            part.rowPitch = part.columns.count * part.channelPitch
            part.elements = part.rows.count * part.rowPitch
            return part
        }
        let columnRange = inputRange(
            block.horizontal, first: firstColumn, count: columns, input: layer.horizontal.input, mode: layer.paddingMode)
        if strategy == .lanes {
            var part = Rectangle(images: images, rows: rowRange, columns: columnRange,
                channels: low.offset..<(high.offset + high.width))
            part.channelPitch = part.channels.count
            part.blockPitch = part.channelPitch * block.channelBlock
            part.rowPitch = columnRange.count * part.channelPitch
            part.elements = rowRange.count * part.rowPitch
            return part
        }
        // One block of channels after another, each a small image of its own: tiles of one pass over the weights then read a few
        // kilobytes, whose lines fall into all sets of the cache, however many channels a pixel has.
        var part = Rectangle(
            images: images, rows: rowRange, columns: columnRange,
            channels: low.group * inputs..<(high.group + high.groups) * inputs)
        part.rowPitch = columnRange.count * block.channelBlock
        // The end of each block stands for all pixels that are outside.
        part.blockPitch = images.count * rowRange.count * part.rowPitch + block.outsidePixels * block.channelBlock
        part.elements = part.blockPitch * (high.group + high.groups - low.group) * ceilDivide(inputs, block.channelBlock)
        return part
    }

    /// What an item of those rows and columns packs.
    @inline(never)
    mutating func rectangle(_ block: Block, rows: Range<Int>, columns: Range<Int>, chunk: Int = 0) -> Rectangle {
        let panels = block.panels(chunk, of: self)
        return withUnsafePointer(to: block) { block in
            withUnsafePointer(to: &self) {
                Self.rectangle(
                    $0, block, firstRow: rows.lowerBound, rows: rows.count, firstColumn: columns.lowerBound,
                    columns: columns.count, panels: panels, image: 0)
            }
        }
    }

    /// What a band of the first panels packs: the first, or one in the middle.
    private mutating func rectangleBytes(_ block: Block, rows: Int, inMiddle: Bool) -> Int {
        let row = inMiddle ? (self.rows(block) - rows) / 2 : 0
        let column = inMiddle ? (block.horizontal.count - block.bandColumns) / 2 : 0
        let band = rectangle(block, rows: row..<row + rows, columns: column..<column + block.bandColumns)
        return band.elements * layer.elementBytes
    }

    /// Elements that no rectangle of an item of the block exceeds: of few bands those of the largest; of many (they may be as
    /// many as pixels) those of a longest band where it would read most, whether or not one lies there.
    mutating func largestRectangle(_ block: Block) -> Int {
        if block.rowBands == 0 { return 0 }
        let (height, count) = (block.vertical.count, rows(block))
        // Of equal length, all bands may lie within an image.
        let isWithin = height == count || block.bandRows * block.rowBands == count && height % block.bandRows == 0
        var (rows, columns) = (0..<0, 0..<0)
        var (mostRows, mostColumns) = (-1, -1)
        for index in 0..<(block.rowBands > visitedBands ? 4 : block.rowBands) {
            var band = self.rows(of: block, band: index)
            if block.rowBands > visitedBands {
                // A band that begins with the last row of an image reads the most images, all of each.
                let first = isWithin
                    ? block.vertical.place(index, count: block.bandRows) : min(height - 1, count - block.bandRows)
                band = first..<first + block.bandRows
            }
            let part = rectangle(block, rows: band, columns: 0..<block.bandColumns)
            let most = part.images.count * part.rows.count
            if most > mostRows { (rows, mostRows) = (band, most) }
        }
        for index in 0..<(block.columnBands > visitedBands ? 4 : block.columnBands) {
            var band = block.columns(band: index)
            if block.columnBands > visitedBands {
                let first = block.horizontal.place(index, count: block.bandColumns)
                band = first..<first + block.bandColumns
            }
            let most = rectangle(block, rows: rows, columns: band).columns.count
            if most > mostColumns { (columns, mostColumns) = (band, most) }
        }
        var largest = 0
        for chunk in 0..<block.panelChunks {
            largest = max(largest, rectangle(block, rows: rows, columns: columns, chunk: chunk).elements)
        }
        return largest
    }

    /// The most chunks that leave panels that share channels, the last two, to one thread.
    @inline(__always)
    private var mostPanelChunks: Int {
        let last = panels[panelCount - 1]
        return strategy == .lanes && last.firstChannel < last.offset ? panelCount - 1 : panelCount
    }

    /// An item's planes are made in scratch memory and then turned into pixels.
    var turnsPlanes: Bool { stencils && writesPixels(layer) }

    /// Output rows that a tile takes together.
    private var rowUnit: Int { stencils ? stencilRows : walks ? 2 : 1 }

    /// Of `step` positions.
    @inline(__always)
    func tileCount(rows: Int, columns: Int, _ step: Int) -> Int {
        let positions = ceilDivide(columns, positionColumns)
        return isWide ? rows * ceilDivide(positions, step) : ceilDivide(rows * positions, step)
    }

    /// Divides a few long rows into pieces of whole tiles, or rows, or few pixels' panels, whichever is done first. Each item
    /// lays out the addresses of its tiles, packs what it reads of the input, and reads its panels' weights.
    private mutating func balance(_ block: inout Block, parts: Int, threads: Int, wanted: Int, mayDividePanels: Bool) {
        let (rows, columns) = (rows(block), block.horizontal.count)
        let step = leastReach
        // Of one input pixel, a tile has addresses for all taps and one of them to multiply.
        let tapsPerUse = strategy == .channels && panels[0].kernel.rows == 1 ? block.taps : 1
        // Everything in panels of a tile. Where the work of a panel is little, its addresses are much.
        let tap = Double(inputs * width / panelCount) / (strategy == .columns ? 1 : Double(table.lanes)) + 3
        let layOut = Double(10 * tapsPerUse) / tap
        let panelWork = Double(block.taps) * (stencils ? Double(ceilDivide(columns, table.lanes) * rowUnit)
            : walks ? Double(columns * rowUnit) : tap * Double(step))
        let turnsInput = strategy == .columns ? layer.input.column != 1 : layer.input.channel != 1
        let perElement = turnsInput ? turnedElement : copiedElement
        let isLarge = inputs * width * block.taps * layer.elementBytes > rectangleLimit
        let weights = strategy != .channels ? 0 : (isLarge ? farWeight : nearWeight) / Double(step)
        // The last piece no shorter than a tile.
        let tile = isWide ? step : table.pointee.shortColumnTile == nil ? table.pointee.columnTiles[4].vectors : 1
        let (unit, shortest) = repeats ? (table.lanes, table.lanes)
            : strategy == .columns ? (table.lanes * tile, table.lanes * (isWide ? step : 1)) : (step, 1)
        let (pieces, rest) = (ceilDivide(columns, unit), columns % unit)
        var least = Double.infinity
        for way in 0..<3 {
            let (units, most, times) = switch way {
            case 0: (pieces, min(rest > 0 && rest < shortest ? pieces / 2 : pieces, ceilDivide(wanted, rows)), parts * rows)
            case 1: (ceilDivide(rows, rowUnit), wanted, parts)
            default: (panelCount, min(max(wanted, threads), mostPanelChunks), parts)
            }
            let isPossible = switch way {
            case 0: !walks && !stencils && rows < (mayDividePanels ? threads : wanted)
            // Whole channels of stencils share nothing.
            case 1: !stencils || turnsPlanes || panelCount < wanted
            default: mayDividePanels && block.panelChunks == 1 && mostPanelChunks >= threads
            }
            if !isPossible { continue }
            @inline(never) func cost(_ count: Int) -> Double {
                let bandRows = way == 0 ? 1 : way == 1 ? min(count * rowUnit, rows) : rows
                let bandColumns = way == 0 ? min(count * unit, columns) : columns
                let panels = Double(way == 2 ? count : panelCount)
                var others = itemStart
                if way < 2, layer.output.channel != 1 { others += sharedLine * Double(layer.outChannels) }
                if !readsInputDirectly {
                    let first = (rows - bandRows) / 2
                    let part = rectangle(block, rows: first..<first + bandRows, columns: 0..<bandColumns)
                    others += perElement * Double(part.elements) * (layer.groups > 1 ? panels / Double(panelCount) : 1)
                }
                let tiles = walks || stencils
                    ? ceilDivide(bandRows, rowUnit) : tileCount(rows: bandRows, columns: bandColumns, step)
                // A walk does so little with a cache line that it matters whether another thread writes the next one.
                return Double(walks && way == 2 ? 2 * tiles : tiles) * (panels + layOut) + panels * weights + others / panelWork
            }
            let best = evenParts(units, most: most, repeats: times, threads: threads, cost: cost)
            if best.time >= least { continue }
            least = best.time
            (block.bandRows, block.rowBands, block.columnBands, block.columnUnit) = (rows, 1, 1, table.lanes)
            switch way {
            case 0: (block.bandRows, block.columnBands, block.columnUnit) = (1, best.count, unit)
            case 1: block.rowBands = best.count
            default: block.panelChunks = best.count
            }
        }
    }

    /// Chooses bands and panel chunks: enough items to keep `threads` busy to the end, bands of whole rows where that suffices,
    /// and rectangles within the limit. Any choice gives the same bits.
    mutating func divide(_ block: inout Block, blocks: Int, threads: Int, rectangleLimit: Int) {
        let rows = rows(block)
        // Packed for a walk, a vector of channels lies together, apart from the others: a large kernel then keeps it in the
        // nearest caches.
        (block.bandRows, block.bandColumns, block.panelChunks) =
            (max(rows, 1), block.horizontal.count, walks && !readsInputDirectly ? panelCount : 1)
        (block.rowBands, block.columnBands, block.columnUnit) = (min(rows, 1), 1, table.lanes)
        let parts = max((spansImages ? 1 : layer.batch) * blocks * block.panelChunks, 1)
        let wanted = threads == 1 ? 1 : ceilDivide(4 * threads, parts)
        let columns = block.horizontal.count
        let hasManyPixels = rows * columns >= wanted * 64
        if blocks == 1, wanted > 1 {
            balance(
                &block, parts: parts, threads: threads, wanted: wanted,
                mayDividePanels: !hasManyPixels || stencils && !turnsPlanes && panelCount >= wanted)
        } else if hasManyPixels {
            block.bandRows = ceilDivide(max(1, rows / wanted), rowUnit) * rowUnit
            if blocks > 1 {
                // So few rows that what one phase has read and written is still in the cache for the next; but enough pixels.
                let rowBytes = blocks * columns * layer.outChannels * layer.elementBytes
                let most = min(block.bandRows, max(ceilDivide(512, columns), phaseBytes / rowBytes))
                block.bandRows = most
                // And, where it can be had, no group of few tiles: it takes as long to begin as a whole one.
                let pixels = block.tilesPerGroup * panels[0].reach(strategy)
                func groups(_ rows: Int) -> Int { ceilDivide(rows * columns, pixels) }
                for rows in stride(from: most, to: 0, by: -1)
                where strategy == .channels && groups(rows) * block.bandRows < groups(block.bandRows) * rows {
                    block.bandRows = rows
                }
            }
        } else {
            block.panelChunks = min(mostPanelChunks, max(wanted, block.panelChunks))
        }
        // The channels of a pixel are packed together.
        let packsPixels = stencils && layer.input.column != 1
        if packsPixels { block.planes = ceilDivide(layer.groups, block.panelChunks) }
        while true {
            block.rowUnit = block.bandRows % rowUnit == 0 ? rowUnit : 1
            block.rowBands = max(block.rowBands, ceilDivide(rows, block.bandRows))
            block.columnBands = max(block.columnBands, ceilDivide(columns, block.bandColumns))
            if rows == 0 { return }
            // The first band is as large as any.
            block.bandRows = evenPart(0, of: block.rowBands, rows, unit: block.rowUnit).count
            block.bandColumns = evenPart(0, of: block.columnBands, columns, unit: block.columnUnit).count
            if readsInputDirectly { return }
            // But for borders: the maximum is taken once at the end. A band in the middle reads so much more than the first only
            // where kernels reach far.
            let bytes = rectangleBytes(block, rows: block.bandRows, inMiddle: false)
            if bytes <= rectangleLimit,
                block.rowBands * block.columnBands == 1
                    || rectangleBytes(block, rows: block.bandRows, inMiddle: true) <= 3 * rectangleLimit {
                if stencils, !packsPixels {
                    let most = min(rectangleLimit, planesLimit) / max(bytes, 1)
                    block.planes = max(1, min(most, ceilDivide(layer.groups, block.panelChunks)))
                }
                return
            }
            if strategy == .channels {
                // Half of the rows of a kernel dilated far may read nearly as many, and would be packed nearly as long.
                let whole = rectangleBytes(block, rows: block.bandRows, inMiddle: true)
                let half = rectangleBytes(block, rows: (block.bandRows + 1) / 2, inMiddle: true)
                if whole <= 3 * rectangleLimit, 4 * half > 3 * whole { return }
            }
            if stencils, block.bandRows > 2 * stencilRows {
                // In small steps: the rows around a band are packed and, of two passes, computed again for the next.
                block.bandRows = (block.bandRows - 1) * 7 / 8 / stencilRows * stencilRows
            } else if block.bandRows > 8 {
                block.bandRows = (block.bandRows + 1) / 2
            } else if layer.groups > 1, !stencils, block.panelChunks < min(layer.groups, panelCount) {
                // Not beyond one group each: its panels would pack the same input again.
                block.panelChunks = min(layer.groups, panelCount, block.panelChunks * 2)
            } else if block.bandRows > 1 {
                block.bandRows = (block.bandRows + 1) / 2
            } else if block.bandColumns > 4 * table.lanes {
                // Pieces of whole tiles may have been wider: rounded up to those, half would be as much again.
                block.columnUnit = table.lanes
                block.bandColumns = ceilDivide(ceilDivide(block.bandColumns, 2), table.lanes) * table.lanes
            } else {
                return
            }
        }
    }
}
