import CConvolutionShims
import ConvolutionKernels

// Depthwise convolutions whose tiles walk along the row (`accumulateWalk`): two output rows by a few neighbouring pixels, all
// vectors of channels in one call.

/// Input and output of as many bytes come from beyond the caches: 3x3 on 128 channels of 147x147 takes 0.6 ms instead of 2.2 if
/// tiles fetch what later ones read. Of less they take up to a tenth longer; so do those of more where a larger cache, of 260 MiB,
/// holds it: 128 of 128x128 0.76 -> 0.81 ms, 384 of 112x112 s2 0.92 -> 1.20.
private let fetchedBytes = 12 << 20

/// As many vectors of channels are computed before what has been fetched is read.
private let fetchedVectors = 8

extension ConvolutionPlan {
    /// Kernel rows from a tile's upper output row to its lower: what the one multiplies with kernel row a, the other multiplies
    /// with row a - rowStep. Where they share no input rows, those of the lower follow those of the upper.
    @inline(__always)
    func rowStep(_ vertical: Lattice) -> Int {
        // The rows of a pair read the same.
        if pairs { return 0 }
        let (step, rest) = vertical.inputStep.quotientAndRemainder(dividingBy: vertical.offsetStep)
        return rest == 0 && step < vertical.taps ? step : vertical.taps
    }

    @inline(__always)
    var walkKernel: WalkKernel {
        if pairs, let kernel = table.pointee.pairWalks[layer.horizontal.kernel - 2] { return kernel }
        if !layer.transposed, layer.horizontal.stride == 2, let kernel = table.pointee.stridedWalk { return kernel }
        return table.pointee.walk
    }

    /// The kernel without loops, if there is one for this layer.
    @inline(__always)
    func smallWalk(_ vertical: Lattice, _ horizontal: Lattice) -> Kernel? {
        let size = vertical.taps
        if horizontal.taps != size || rowStep(vertical) != horizontal.inputStep { return nil }
        let small = walkKernel.small
        return size == 2 ? small[0] : size == 3 ? small[1] : nil
    }

    /// Columns of a tile. Of pairs whose pixels fall into few sets of a level-1 cache not as many as the kernel may take: input
    /// gradient of 2x2 s2, 1024 channels of 13x13, 37 us, so 13.
    @inline(__always)
    var walkReach: Int {
        let columns = walkKernel.columns
        if !pairs { return columns }
        let pitch = layer.output.column * layer.elementBytes
        return pitch % 4096 == 0 ? min(columns, 2) : pitch % 2048 == 0 ? min(columns, 4) : columns
    }

    /// Input rows or columns that an output, or a pair of them, reads.
    @inline(__always)
    func window(_ lattice: Lattice) -> Int { pairs ? min(lattice.taps - 1, 2) : lattice.taps }

    /// Input columns that a tile reads.
    @inline(__always)
    func walkColumns(_ horizontal: Lattice) -> Int {
        (walkKernel.columns - 1) * horizontal.inputStep + window(horizontal)
    }

    /// Output that lies in planes is gathered as pixels first, two rows of up to this many columns, and then turned: whole cache
    /// lines of a plane are stored at once, however few columns a tile has.
    var walkLineColumns: Int { min(layer.horizontal.output, 16 * table.pointee.walk.columns) }
    @inline(__always)
    var walkLines: Int { turnsWalk ? 2 * walkLineColumns * table.lanes : 0 }
    @inline(__always)
    var turnsWalk: Bool {
        walks && layer.output.column == 1 && layer.output.channel != 1 && layer.columnPhases == 1 && !layer.means.accumulates
    }

    /// Whether tiles are to fetch their successors' input, which comes from beyond the caches.
    var comesFromMemory: Bool {
        let pixels = Double(layer.vertical.input) * Double(layer.horizontal.input)
            + Double(layer.vertical.output) * Double(layer.horizontal.output)
        let bytes = Double(layer.batch * layer.outChannels) * pixels * Double(layer.elementBytes)
        return readsInputDirectly && bytes >= Double(fetchedBytes) && bytes >= Double(shim_last_cache_bytes() / 4)
    }

    /// Addresses of a tile: see `WalkArguments.runs`.
    @inline(__always)
    func walkRuns(_ block: Block) -> Int { (window(block.vertical) + rowStep(block.vertical)) * walkColumns(block.horizontal) }
}

/// Where a tile's input lies. A plain tile reads available places alone, and all plain tiles read at the same distances.
private struct WalkTile {
    var image: Int
    /// The first input row and column; row and columns beyond the input are border.
    var top: Int
    var left: Int
    var pixels: Int
    /// Columns that pixels of the output read; more are addressed, and repeat the last.
    var columns: Int
    var hasLower: Bool
    /// `WalkArguments.firstRow`, `endRow`
    var firstRow: Int
    var endRow: Int
    /// Of pairs of rows and columns.
    var edges = WalkEdges()
    /// Tiles that follow each other.
    var count = 1
    /// `WalkArguments.ahead`
    var ahead = 0
}

/// Where a walk's pixels go: the output, or lines that are turned into it.
private struct WalkTarget {
    var base: UnsafeMutableRawPointer
    /// In elements.
    var row: Int
    var column: Int
    var channel: Int
    /// The channel that `base` belongs to.
    var firstChannel = 0
}

/// An item of a plan that walks. What `source` holds includes the border where it is packed.
func walk(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ portion: Portion, _ source: Source,
    _ output: UnsafeMutableRawPointer, _ workspace: UnsafeMutableRawPointer
) {
    let (image, rows, columns, panels) = (portion.image, portion.rows, portion.columns, portion.panels)
    let layer = plan.pointee.layer
    let size = layer.elementBytes
    let vertical = block.pointee.vertical
    let horizontal = block.pointee.horizontal
    let pairs = plan.pointee.pairs
    let reach = plan.pointee.walkReach
    let window = (rows: plan.pointee.window(vertical), columns: plan.pointee.window(horizontal))
    let inputRows = (pairs ? 0 : vertical.inputStep) + (window.rows - 1) * vertical.offsetStep + 1
    let inputColumns = plan.pointee.walkColumns(horizontal)
    let rowStep = plan.pointee.rowStep(vertical)
    let small = plan.pointee.smallWalk(vertical, horizontal)
    let runs = (workspace + plan.pointee.workspace.runs).assumingMemoryBound(to: UnsafeRawPointer.self)
    let plainRuns = runs + plan.pointee.walkRuns(block.pointee)
    let offsets = (workspace + plan.pointee.workspace.columnOffsets).assumingMemoryBound(to: Int.self)
    var plainPlace: Int?
    // Packed for a walk, an item has one panel.
    let turns = plan.pointee.turnsWalk && panels.count == 1
    let width = plan.pointee.table.lanes
    let lineColumns = plan.pointee.walkLineColumns
    let lines = workspace + plan.pointee.workspace.lines
    let panel = plan.pointee.panels[panels.lowerBound]
    let (rowPitch, columnPitch) = (vertical.outputStep * layer.output.row, horizontal.outputStep * layer.output.column)
    // Of an odd number of outputs, or where the first two read different elements, a pair is not whole.
    let hasFirstColumn = horizontal.outputStart >= 0
    let hasLastColumn = !pairs || horizontal.outputStart + 2 * horizontal.count <= layer.horizontal.output
    let origin = output + (vertical.outputStart * layer.output.row + horizontal.outputStart * layer.output.column) * size

    // Tiles that are finished by the kernel may follow each other in one call.
    let last = plan.pointee.panels[panels.upperBound - 1]
    let mayFollow = (turns || layer.output.channel == 1) && !layer.means.accumulates && layer.activation.bounds != nil
        && last.channels == last.width
    // Of few channels not the next tile's: it comes too soon.
    let tilesAhead = ceilDivide(fetchedVectors, panels.count)
    let ahead = plan.pointee.fetchesWalk
        ? (inputColumns + (tilesAhead - 1) * reach * horizontal.inputStep) * source.columnStride : 0

    var row = rows.lowerBound
    while row < rows.upperBound {
        let rowImage = plan.pointee.spansImages ? row / vertical.count : image
        let index = plan.pointee.spansImages ? row - rowImage * vertical.count : row
        let hasLower = pairs || row + 1 < rows.upperBound && index + 1 < vertical.count
        var edges = WalkEdges()
        if pairs {
            edges.hasUpper = vertical.outputStart + 2 * index >= 0
            edges.hasLower = vertical.outputStart + 2 * index + 1 < layer.vertical.output
        }
        let top = index * vertical.inputStep + vertical.offsetStart
        // Where no row has another beside it, the lower ones are all left out.
        let plainRows = (hasLower || rows.count == 1 && small == nil) && top >= source.rows.lowerBound
            && top + inputRows - (hasLower ? 0 : vertical.inputStep) <= source.rows.upperBound
        // Without a lower row only the upper's taps have something to add, and none has that meets zeros alone.
        var (firstRow, endRow) = (0, hasLower ? vertical.taps + rowStep : vertical.taps)
        if plan.pointee.skipsOutside, rowStep * vertical.offsetStep == vertical.inputStep {
            firstRow = max(0, ceilDivide(-top, vertical.offsetStep))
            endRow = min(endRow, ceilDivide(layer.vertical.input - top, vertical.offsetStep))
        }
        let line = origin + (rowImage * layer.output.batch + index * rowPitch) * size
        var column = columns.lowerBound
        var lineStart = column
        while column < columns.upperBound {
            // The last tile rather repeats pixels of the one before than be incomplete; but to add twice would be wrong.
            if !pairs, !layer.means.accumulates { column = max(columns.lowerBound, min(column, columns.upperBound - reach)) }
            let count = min(reach, columns.upperBound - column)
            var tile = WalkTile(
                image: rowImage, top: top, left: column * horizontal.inputStep + horizontal.offsetStart, pixels: count,
                columns: (count - 1) * horizontal.inputStep + window.columns, hasLower: hasLower, firstRow: firstRow,
                endRow: endRow, edges: edges)
            tile.edges.hasFirst = column > 0 || hasFirstColumn
            tile.edges.hasLast = column + count < horizontal.count || hasLastColumn
            if turns, column < lineStart { lineStart = column }
            let target = turns
                ? WalkTarget(
                    base: lines + (column - lineStart) * width * size, row: lineColumns * width, column: width, channel: 1,
                    firstChannel: panel.firstChannel)
                : WalkTarget(
                    base: line + column * columnPitch * size, row: pairs ? layer.output.row : rowPitch, column: columnPitch,
                    channel: layer.output.channel)
            let isPlain = plainRows && tile.left >= source.columns.lowerBound
                && tile.left + inputColumns <= source.columns.upperBound
            let tileRuns = isPlain ? plainRuns : runs
            let place = rowImage * source.imageStride + top * source.rowStride + tile.left * source.columnStride
            if !isPlain || plainPlace == nil { layOut(plan, block, source, tile, offsets, tileRuns) }
            if isPlain {
                plainPlace = plainPlace ?? place
                if mayFollow, tile.edges.isNone {
                    let end = turns
                        ? min(columns.upperBound, lineStart + lineColumns) : columns.upperBound - (hasLastColumn ? 0 : 1)
                    let further = (source.columns.upperBound - inputColumns - tile.left) / (reach * horizontal.inputStep)
                    tile.count = max(1, min((end - column) / reach, further + 1))
                    tile.ahead = ahead
                }
            }
            let shift = isPlain ? place - (plainPlace ?? place) : 0
            layer.isDouble
                ? multiply(plan, block, source, panels, tileRuns, shift: shift, tile, target, workspace, Double.self)
                : multiply(plan, block, source, panels, tileRuns, shift: shift, tile, target, workspace, Float.self)
            column += tile.count * reach
            let end = min(column, columns.upperBound)
            if turns, end + reach > lineStart + lineColumns || end == columns.upperBound {
                for lower in 0..<(hasLower ? 2 : 1) {
                    turn(
                        lines + lower * lineColumns * width * size, layer.elements, width: width, columns: end - lineStart,
                        channels: panel.channels,
                        to: line + (lower * rowPitch + lineStart + panel.firstChannel * layer.output.channel) * size,
                        plane: layer.output.channel)
                }
                lineStart = end
            }
        }
        row += hasLower && !pairs ? 2 : 1
    }
    if plan.pointee.streams { shim_finish_streaming() }
}

/// Pixels into planes, a few planes at a time: their cache lines may fall into few sets of the cache.
private func turn(
    _ pixels: UnsafeRawPointer, _ elements: ElementType, width: Int, columns: Int, channels: Int,
    to target: UnsafeMutableRawPointer, plane: Int
) {
    var channel = 0
    while channel < channels {
        let count = min(4, channels - channel)
        elements.turn(
            pixels + channel * elements.bytes, lines: columns, count: count, sourceLine: width,
            to: target + channel * plane * elements.bytes, targetLine: plane)
        channel += count
    }
}

/// runs[input row][column] = where the tile finds that pixel's channels.
private func layOut(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ source: Source, _ tile: WalkTile,
    _ offsets: UnsafeMutablePointer<Int>, _ runs: UnsafeMutablePointer<UnsafeRawPointer>
) {
    let layer = plan.pointee.layer
    let size = source.elementBytes
    let vertical = block.pointee.vertical
    let rowStep = plan.pointee.rowStep(vertical)
    let columns = plan.pointee.walkColumns(block.pointee.horizontal)
    let window = plan.pointee.window(vertical)
    for c in 0..<columns {
        var index = tile.left + min(c, tile.columns - 1)
        if !source.columns.contains(index) {
            index = borderIndex(index, layer.horizontal.input, layer.paddingMode) ?? outsideOffset
        }
        offsets[c] = index == outsideOffset ? outsideOffset : (index - source.columns.lowerBound) * source.columnStride * size
    }
    let (image, outside) = (source.base + tile.image * source.imageStride * size, source.outside)
    var run = runs
    for row in 0..<(window + rowStep) {
        let tap = row < window ? row * vertical.offsetStep : vertical.inputStep + (row - rowStep) * vertical.offsetStep
        // Without a lower row nothing beyond the upper's taps is needed.
        var index = row < window || tile.hasLower ? tile.top + tap : outsideOffset
        if index != outsideOffset, !source.rows.contains(index) {
            index = borderIndex(index, layer.vertical.input, layer.paddingMode) ?? outsideOffset
        }
        let line = index == outsideOffset ? image : image + (index - source.rows.lowerBound) * source.rowStride * size
        for c in 0..<columns {
            run[c] = index == outsideOffset || offsets[c] == outsideOffset ? outside : line + offsets[c]
        }
        run += columns
    }
}

/// Tiles of all panels: those of whole vectors in one call, if bias and bounds are all that is still to come.
private func multiply<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ source: Source, _ panels: Range<Int>,
    _ runs: UnsafeMutablePointer<UnsafeRawPointer>, shift: Int, _ tile: WalkTile, _ target: WalkTarget,
    _ workspace: UnsafeMutableRawPointer, _: Scalar.Type
) {
    let runs = UnsafeRawPointer(runs).assumingMemoryBound(to: UnsafePointer<Scalar>.self)
    let base = target.base.assumingMemoryBound(to: Scalar.self)
    let layer = plan.pointee.layer
    let vertical = block.pointee.vertical
    let horizontal = block.pointee.horizontal
    let kernel = plan.pointee.walkKernel
    let sums = (workspace + plan.pointee.workspace.sums).assumingMemoryBound(to: Scalar.self)
    let activation = layer.activation.converted(to: Scalar.self)
    let bounds = target.channel == 1 && !layer.means.accumulates ? activation.bounds : nil
    let last = plan.pointee.panels[panels.upperBound - 1]
    let whole = bounds == nil ? panels.lowerBound : last.channels == last.width ? panels.upperBound : panels.upperBound - 1
    let rowStep = plan.pointee.rowStep(vertical)
    let small = plan.pointee.smallWalk(vertical, horizontal)
    var index = panels.lowerBound
    while index < panels.upperBound {
        let panel = plan.pointee.panels + index
        let bias = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self)) + panel.pointee.offset
        let upper = base + (panel.pointee.firstChannel - target.firstChannel) * target.channel
        let finishes = index < whole
        var arguments = WalkArguments(
            runs: runs, channelOffset: panel.pointee.firstChannel - source.channelOrigin + shift, kernelRows: vertical.taps,
            kernelColumns: horizontal.taps, rowStep: rowStep,
            rowsPerChunk: block.pointee.segmentsPerChunk / horizontal.taps,
            panel: UnsafePointer(plan.pointee.weights.assumingMemoryBound(to: Scalar.self)) + block.pointee.weights
                + panel.pointee.offset * block.pointee.taps,
            vectors: finishes ? whole - index : 1,
            lastVector: finishes ? plan.pointee.panels[whole - 1].firstChannel - panel.pointee.firstChannel : 0, tile: sums,
            upper: finishes ? upper : nil, lower: finishes && tile.hasLower ? upper + target.row : nil, columns: tile.pixels,
            columnStride: target.column, bias: bias, low: bounds?.low ?? 0, high: bounds?.high ?? 0)
        (arguments.firstRow, arguments.endRow) = (tile.firstRow, tile.endRow)
        arguments.tiles = tile.count
        arguments.edges = tile.edges
        arguments.pairPitch = layer.output.column
        arguments.pixelStep = source.columnStride
        arguments.ahead = tile.ahead
        arguments.streams = plan.pointee.streams && layer.output.channel == 1 && tile.hasLower && tile.edges.isNone
            && tile.pixels == plan.pointee.walkReach && plan.pointee.alignsVectors(UnsafeRawPointer(target.base))
        let accumulate = finishes ? small ?? kernel.accumulate : kernel.accumulate
        withUnsafePointer(to: arguments) { accumulate($0) }
        if !finishes {
            for row in 0..<(tile.hasLower ? 2 : 1) {
                var targets = InlineArray<8, UnsafeMutablePointer<Scalar>>(repeating: upper + row * target.row)
                for r in 0..<tile.pixels { targets[r] += r * target.column }
                targets.span.withUnsafeBufferPointer { targets in
                    guard let targets = targets.baseAddress else { return }
                    let arguments = EpilogueArguments(
                        tile: sums + row * kernel.columns * panel.pointee.width, rows: tile.pixels, lanes: panel.pointee.width,
                        channels: panel.pointee.channels, bias: bias, outputs: targets, channelStride: target.channel,
                        activation: activation, accumulates: layer.means.accumulates)
                    withUnsafePointer(to: arguments) { plan.pointee.table.pointee.finish($0) }
                }
            }
        }
        index = finishes ? whole : index + 1
    }
}
