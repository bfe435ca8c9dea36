import CConvolution
import CConvolutionShims
import ConvolutionKernels

/// What the vectors of the tile kernels hold. Every strategy adds the terms of an output element in the same order, so the choice
/// shows in the time alone.
enum Strategy {
    /// Output channels of one group; the input value is broadcast. The rule.
    case channels
    /// Output channels of neighbouring groups, each with its own input value: depthwise, and groups whose input can be permuted.
    case lanes
    /// Neighbouring output columns; the weight is broadcast: few output channels, and NCHW.
    case columns
}

/// The outputs of one vertical and one horizontal lattice, cut into items of work.
struct Block {
    var vertical: Lattice
    var horizontal: Lattice
    /// Where this block's packed weights start, in elements.
    var weights: Int
    var bandRows: Int
    var bandColumns: Int
    var rowBands: Int
    var columnBands: Int
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
    /// Strategy `channels`: all weights stay in the cache, and the input comes in the order of the tiles: it is what is fetched ahead.
    var fetchesInput = false
    /// Strategy `channels`: tiles take the pixels at the border apart from the others, since many of their taps lie outside.
    var roundsBorder = false

    var taps: Int { vertical.taps * horizontal.taps }

    /// Of one kernel call.
    var segments: Int { taps &* blocksPerCall }

    /// Elements of a tile's `TileArguments.order`: each segment, and for each chunk their number.
    var orderLength: Int { segments + ceilDivide(segments, segmentsPerChunk) }

    /// Pixels that a segment outside the input reads.
    var outsidePixels: Int { mergesTaps ? horizontal.taps : 1 }

    /// The panels of panel chunk `index`.
    @inline(__always)
    func panels(_ index: Int, of plan: ConvolutionPlan) -> Range<Int> {
        (plan.panelCount * index / panelChunks)..<(plan.panelCount * (index + 1) / panelChunks)
    }
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
    /// For tiles of fewer pixels than the kernel's.
    var shortKernel: TileKernel?

    /// Positions of a tile: pixels, or vectors of columns.
    @inline(__always)
    func reach(_ strategy: Strategy) -> Int { strategy == .columns ? kernel.vectors : kernel.rows }

    /// The kernel for a tile of `count` pixels.
    @inline(__always)
    func kernel(for count: Int) -> TileKernel {
        if let shortKernel, count <= shortKernel.rows { return shortKernel }
        return kernel
    }
}

/// A layer with its kernel and bias packed and its work divided. Read-only after creation.
///
/// Packed weights: `[block][panel][channel block][tap][channel][output channel]`; a panel's output channels are padded with zeros to
/// whole vectors where they are what the vectors hold. A tile kernel reads one (panel, channel block) from front to back.
struct ConvolutionPlan {
    /// The caller's, or the same `widened`.
    var layer: Layer
    var table: KernelTable
    var strategy: Strategy
    /// Strategy `columns` with tiles of vectors that follow each other in one row.
    var isWide: Bool
    /// Strategy `lanes` with tiles of neighbouring pixels of one row, whose taps share the input.
    var walks: Bool
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
    /// Packed output channels, padding included: the sum of all panels' widths.
    var width: Int
    var blocks: UnsafeMutablePointer<Block>
    var blockCount: Int
    /// Of the block that has most. Items of all blocks take turns.
    var itemsPerBlock: Int
    /// Multiply-adds of one execution.
    var work: Double
    var weights: UnsafeMutableRawPointer
    /// `[width]`, zeros where there is no bias.
    var bias: UnsafeMutableRawPointer
    /// Pixels outside the input, arranged as the kernels read them: one, or for merged taps as many as a row has.
    var outside: UnsafeMutableRawPointer
    /// `[output row]` and `[output column]`: 1 if some block covers it. Others hold the activated bias alone. Empty where all are covered.
    var coveredRows: UnsafeMutablePointer<UInt8>
    var coveredColumns: UnsafeMutablePointer<UInt8>
    var fullyCovered: Bool
    /// A transposed convolution adds real products only. Multiplying the zeros outside costs nothing and changes nothing, unless the kernel
    /// has an infinity or NaN to multiply them with: then the elements at the border are computed once more, without them.
    var mendsBorder: Bool
    /// Strategy `channels`: taps outside the input have nothing but zeros to add, since all weights are finite, and are left out where a
    /// whole tile has them outside.
    var skipsOutside: Bool
    /// The caller's input lies as the kernels read it; else a rectangle of it is packed first.
    var readsInputDirectly: Bool
    /// Strategy `channels`, or shared vectors: what is packed includes the border.
    var borders = false
    /// More than 1: so many neighbouring pixels are groups of one, which share their weights and a vector.
    var pixelsPerVector = 1
    var workspace: WorkspaceLayout
    /// Not nil: the plan has this instead of blocks.
    var winograd: Winograd? = nil
    /// Not nil: the blocks are phases of this, and have no weights of their own.
    var tapProducts: TapProducts? = nil
    /// Not nil: the blocks make pixels in scratch memory.
    var turning: Turning? = nil

    /// Bands run on from image to image, so that small images share a pass over the weights. What is packed for such a band is whole
    /// images: not large ones.
    var spansImages = false

    /// Output rows that a block's bands divide.
    func rows(_ block: Block) -> Int { block.vertical.count * (spansImages ? layer.batch : 1) }

    var items: Int { winograd?.items ?? turning?.items ?? (tapProducts == nil ? itemsPerBlock * blockCount : itemsPerBlock) }

    /// Threads of one execution, each with a workspace of its own.
    var executionThreads: Int {
        let threads = threadsToUse(requested: layer.threads, items: items, work: work)
        return max(1, min(threads, layer.means.workspaceLimit / workspace.bytes))
    }

    /// Elements of `outside`, and of `places`.
    func outsideElements() throws(Failure) -> Int {
        if strategy == .lanes {
            return try times(width, layer.inChannelsPerGroup, "a pixel") + (permutes ? layer.inChannelsPerGroup * table.lanes : 0)
        }
        var pixels = 1
        for i in 0..<blockCount { pixels = max(pixels, blocks[i].outsidePixels) }
        return try times(pixels, layer.inChannels, "the pixels of a row of taps")
    }

    /// The packed weights of a panel.
    @inline(__always)
    func weights<Scalar>(of panel: Int, _ block: UnsafePointer<Block>) -> UnsafePointer<Scalar> {
        UnsafePointer(weights.assumingMemoryBound(to: Scalar.self)) + block.pointee.weights
            + panels[panel].offset * block.pointee.taps * layer.inChannelsPerGroup
    }

    /// The block whose items follow those of `block`.
    @inline(__always)
    func after(_ block: UnsafePointer<Block>) -> UnsafePointer<Block> {
        let next = block + 1
        return next < blocks + blockCount ? next : UnsafePointer(blocks)
    }

    /// Strategy `channels`: a panel's channels are aligned to vectors at all pixels, if they are at one, in `place`.
    @inline(__always)
    func alignsPixels(_ place: UnsafeRawPointer) -> Bool {
        let strides = layer.output
        // Axes of one element have a stride of 1, which is never stepped along.
        let elements = (layer.batch > 1 ? strides.batch : 0) | (layer.vertical.output > 1 ? strides.row : 0)
            | (layer.horizontal.output > 1 ? strides.column : 0)
        return elements % table.lanes == 0 && Int(bitPattern: place) % (table.lanes * layer.elementBytes) == 0
    }

    /// Columns or pixels that one position of a tile stands for.
    var positionColumns: Int { strategy == .columns ? table.lanes : pixelsPerVector }
}

/// How a layer's output channels are divided into panels.
struct Panels {
    var strategy: Strategy
    /// Rows so long that tiles of one row each waste little at their ends, and few enough channels for the kernels that want that.
    var isWide = false
    var walks = false
    var stencils = false
    var permutes = false
    var perGroup = 0
    var count = 0
    /// Vectors of output channels per group (channels) or in all (lanes).
    var vectors = 0
    /// Packed output channels, padding included: the sum of all panels' widths.
    var width = 0
    /// Strategy `channels`: two groups of a whole vector each are one panel.
    var pairs = false
    /// Strategy `lanes`: whole vectors of channels are read where they lie, one input for each output. The last panel begins early enough
    /// to be whole.
    var isDirect = false
    /// Strategy `channels`: one input pixel, each of whose products goes to a pixel of its own, or one output pixel.
    var isPixel = false

    init(_ layer: Layer, _ table: KernelTable, _ strategy: Strategy) {
        self.strategy = strategy
        let outputs = layer.outChannelsPerGroup
        switch strategy {
        case .channels:
            vectors = ceilDivide(outputs, table.lanes)
            isPixel = layer.batch == 1 && (layer.vertical.input == 1 && layer.horizontal.input == 1
                || layer.vertical.output == 1 && layer.horizontal.output == 1)
            // The narrower kernels are for many pixels: of one, a vector of zeros more costs less.
            if isPixel, vectors % table.widestTile == table.widestTile - 1 { vectors += 1 }
            perGroup = isPixel ? ceilDivide(vectors, table.widestTile) : cheapestDivision(outputs, table)
            pairs = table.pairTile != nil && layer.groups > 1 && outputs == table.lanes && layer.columnsPerPixel == 1
            count = pairs ? ceilDivide(layer.groups, 2) : perGroup * layer.groups
            width = vectors * table.lanes * layer.groups
        case .lanes:
            vectors = ceilDivide(layer.outChannels, table.lanes)
            walks = canWalk(layer)
            permutes = canPermute(layer, table)
            perGroup = ceilDivide(vectors, walks || permutes ? 1 : table.widestTile)
            count = perGroup
            width = vectors * table.lanes
            isDirect = layer.input.channel == 1 && layer.inChannelsPerGroup == 1 && layer.outChannelsPerGroup == 1
                && (!walks || layer.vertical.kernel * layer.horizontal.kernel <= walkTaps)
                && (layer.outChannels % table.lanes == 0 || perGroup > 1 && !layer.means.accumulates)
        case .columns:
            let most = table.columnTiles[4].rows
            let rest = outputs % most
            let columns = layer.horizontal.output / layer.columnPhases
            stencils = takesStencil(layer, table)
            isWide = !stencils && outputs >= 1 && outputs <= 4 && columns >= 4 * table.wideTiles[outputs - 1].vectors * table.lanes
            perGroup = stencils ? outputs : outputs / most + (rest == 0 ? 0 : rest <= 4 ? 1 : 2)
            count = perGroup * layer.groups
            width = layer.outChannels
        }
    }

    func panel(_ index: Int, _ layer: Layer, _ table: KernelTable) -> Panel {
        let outputs = layer.outChannelsPerGroup
        switch strategy {
        case .channels where pairs && 2 * index + 1 < layer.groups:
            return Panel(
                group: 2 * index, groups: 2, firstChannel: 2 * index * outputs, channels: 2 * outputs, offset: 2 * index * outputs,
                width: 2 * outputs, kernel: table.pairTile ?? table.tiles[1])
        case .channels where pairs:
            return Panel(
                group: 2 * index, firstChannel: 2 * index * outputs, channels: outputs, offset: 2 * index * outputs, width: outputs,
                kernel: table.tiles[0])
        case .channels, .lanes:
            let group = strategy == .lanes ? 0 : index / perGroup
            let members = strategy == .lanes ? layer.groups == 1 ? width : layer.outChannels : outputs
            // The vectors are spread evenly, so that 5 become 3 + 2.
            let place = index % perGroup
            let share = isPixel ? table.widestTile : vectors / perGroup
            let larger = isPixel ? 0 : vectors % perGroup
            let firstVector = place * share + min(place, larger)
            let first = firstVector * table.lanes
            let count = min(share + (place < larger ? 1 : 0), vectors - firstVector)
            let isWidest = strategy == .channels && count == table.widestTile
            let start = isDirect ? min(first, members - count * table.lanes) : first
            let channels = min(count * table.lanes, members - start)
            return Panel(
                group: group, firstChannel: group * outputs + start, channels: channels,
                offset: group * vectors * table.lanes + first, width: count * table.lanes,
                kernel: permutes ? table.groupTile ?? table.laneTiles[0] : strategy == .lanes ? table.laneTiles[count - 1]
                    : isPixel && isWidest ? table.pixelTile : table.tile(channels: channels),
                shortKernel: isWidest && !isPixel ? table.shortTile : nil)
        case .columns:
            let group = index / perGroup
            let place = index % perGroup
            let most = table.columnTiles[4].rows
            let first = min(place * most, outputs / most * most)
            var (start, count) = (first, most)
            if stencils {
                (start, count) = (place, 1)
            } else if place >= outputs / most {
                // Up to four channels have a kernel of their own; 5, 6 and 7 become two halves.
                let rest = outputs % most
                (start, count) = rest <= 4 ? (first, rest) : place == outputs / most ? (first, (rest + 1) / 2) : (first + (rest + 1) / 2, rest / 2)
            }
            let channel = group * outputs + start
            return Panel(
                group: group, firstChannel: channel, channels: count, offset: channel, width: count,
                kernel: isWide ? table.wideTiles[count - 1] : table.columnTiles[count == most ? 4 : count - 1])
        }
    }
}

/// The number of panels, of widths as equal as can be, that takes least time per pixel. Panels share their tiles, so a kernel of
/// more pixels than another computes some in vain.
@_optimize(size)
private func cheapestDivision(_ channels: Int, _ table: KernelTable) -> Int {
    let vectors = ceilDivide(channels, table.lanes)
    var best = vectors
    var least = Double.infinity
    for width in stride(from: table.widestTile, to: 0, by: -1) where vectors > 0 {
        let count = ceilDivide(vectors, width)
        let (share, larger) = vectors.quotientAndRemainder(dividingBy: count)
        let narrow = table.tiles[share - 1]
        let wide = table.tiles[larger > 0 ? share : share - 1]
        // By multiply-adds, or by loads.
        func time(_ kernel: TileKernel) -> Double { Double(max(kernel.rows * kernel.vectors, kernel.rows + kernel.vectors)) }
        let last = channels - (vectors - share) * table.lanes
        let saved = table.halfTile(channels: last) == nil ? 0 : Double(narrow.rows) / 2
        let all = time(narrow) * Double(count - larger) + time(wide) * Double(larger) - saved
        let cost = all / Double(min(narrow.rows, wide.rows))
        if cost < least { (best, least) = (count, cost) }
    }
    return best
}

/// What moving data costs, in vectors of multiply-adds; measured, roughly. An element turned from pixels into planes or back while it is
/// packed or stored; the same for a walk, or where the stores of a tile are not neighbours; the same for vectors of columns; the same for
/// permuted groups, which take half as long again per multiply-add, and for stencils; a pixel of fewer channels than a vector, packed or
/// stored; an element of a line stored beside those of other phases; a pixel's share of a tile's beginning and end, and how many times as
/// long a tile of one vector takes, which has a load for each multiply-add; the start of a line that is packed alone, and computed alone
/// too; of four rows of a stencil; and of a line packed for one.
private func turned(_ layer: Layer) -> Double { layer.isDouble ? 5 : 2.5 }
private let turnedInWalk = 3.0
private let turnedIntoLines = 2.0
private let turnedBySquares = 1.0
private let pixelStart = 30.0
private let scattered = 20.0
private let interleaved = 7.0
private let tileStart = 10.0
private let singleVector = 1.25
private let lineStart = 100.0
private let singleLineStart = 300.0
private let stencilStart = 60.0
private let stencilLine = 16.0

/// Whether stencils compute the layer if vectors hold columns: rows that fill them, or that may run on, over what is written later. Many
/// channels of one input are better computed together.
private func takesStencil(_ layer: Layer, _ table: KernelTable) -> Bool {
    let outputs = layer.outChannelsPerGroup
    // Single taps read in place are `accumulateColumns`' alone: its tiles go on from image to image and end with the row.
    guard canStencil(layer), !readsColumns(layer, table),
        outputs == 1 || outputs <= 4 && (layer.output.column == 1 || writesPixels(layer) && layer.vertical.output >= stencilRows)
    else { return false }
    // Where the vectors do not run on, they end with the row.
    let (columns, tile) = (layer.horizontal.output, table.stencil.vectors * table.lanes)
    return maySeparate(layer) || 4 * columns >= 3 * tile * ceilDivide(columns, tile) || runsOn(layer)
}

/// Output rows that follow each other without a gap, enough for the tiles of stencils.
private func runsOn(_ layer: Layer) -> Bool {
    let (rows, columns) = (layer.vertical.output, layer.horizontal.output)
    return (layer.output.column == 1 && layer.output.row == columns && layer.output.channel == rows * columns || writesPixels(layer))
        && rows >= stencilRows && !layer.means.accumulates && !layer.means.keepsRows && layer.activation.bounds != nil
}

/// Whether the planes of stencils are turned into pixels, a band at a time.
private func writesPixels(_ layer: Layer) -> Bool {
    layer.output.channel == 1 && layer.output.column != 1 && !layer.means.accumulates
}

/// The strategy with the least work, counted in vectors of multiply-adds per output pixel.
@_optimize(size)
private func chooseStrategy(_ layer: Layer, _ table: KernelTable) -> Strategy {
    let outputs = layer.outChannelsPerGroup
    // Beside an axis without elements the other may be longer than memory, and what is packed of it too.
    if outputs == 0 || layer.vertical.input == 0 || layer.horizontal.input == 0 { return .channels }
    let isStencil = takesStencil(layer, table) && (layer.input.column == 1 || layer.input.channel == 1)
        && (layer.output.column == 1 || writesPixels(layer)) && fitsColumns(layer.horizontal)
    // Bands of a layer are all computed alike, however few rows they have: so what one of them needs says what all do.
    if maySeparate(layer) || isStencil && layer.means.keepsRows && layer.output.column == 1 { return .columns }
    let lanes = Double(table.lanes)
    let channelsFirst = layer.output.column == 1 && layer.output.channel != 1
    // Phases are narrower than the output, and interleave in it.
    let hasPhases = layer.columnPhases > 1
    let columns = ceilDivide(layer.horizontal.output, layer.columnPhases)
    let filled = Double(columns) / (Double(ceilDivide(columns, table.lanes)) * lanes)
    let phases = layer.transposed ? Double(layer.vertical.stride) * Double(layer.horizontal.stride) : 1
    let terms = Double(layer.inChannelsPerGroup) * Double(layer.vertical.kernel) * Double(layer.horizontal.kernel) / phases
    let pixels = max(Double(layer.vertical.output) * Double(layer.horizontal.output), 1)
    let rowsRead = min(Double(layer.vertical.input), Double(layer.vertical.output) * Double(layer.vertical.kernel))
    let linesRead = Double(layer.inChannels) * rowsRead / pixels
    let read = linesRead * Double(layer.horizontal.input)
    let stored = Double(layer.outChannels)
    let turnsInput = layer.input.channel != 1 && layer.inChannels > 1

    let vectors = ceilDivide(outputs, table.lanes)
    var byChannels = Double(layer.groups) * table.vectors(channels: outputs) * (vectors == 1 ? singleVector : 1) * terms
    byChannels += Double(layer.groups * ceilDivide(vectors, table.widestTile)) * tileStart
    if turnsInput { byChannels += turned(layer) * read }
    if channelsFirst { byChannels += stored * (hasPhases && !layer.mayTurn ? scattered : turned(layer)) }

    var byColumns = Double.infinity
    if outputs > 4, readsColumns(layer, table) {
        // In place, in whole tiles; inputs that lie a plane apart come late.
        let tile = table.columnTiles[4].vectors * table.lanes
        byColumns = Double(layer.outChannels) / lanes * Double(ceilDivide(columns, tile) * tile) / Double(columns) * 1.15 * terms
    } else if isStencil {
        let isSmall = layer.vertical.kernel == 3 && layer.horizontal.kernel == 3
        let tile = isSmall || table.isNarrow(columns: columns) ? 1 : table.stencil.vectors
        let vectors = Double(ceilDivide(columns, tile * table.lanes) * tile * stencilRows)
        let rowTile = stencilStart + vectors * terms * (isSmall ? 1 : tile == 1 ? 2.8 : 2)
        let residues = Double(min(layer.horizontal.stride, layer.horizontal.kernel))
        let line = stencilLine * residues + 2 * Double(layer.horizontal.input) / lanes
        byColumns = Double(layer.outChannels) * (Double(ceilDivide(layer.vertical.output, stencilRows)) * rowTile + rowsRead * line) / pixels
        let turning = layer.isDouble ? turned(layer) : turnedBySquares
        if layer.input.column != 1 { byColumns += turning * read }
        if layer.output.column != 1 { byColumns += turning * stored }
    } else if fitsColumns(layer.horizontal) {
        // One accumulator row loads a vector per multiply-add.
        byColumns = Double(layer.outChannels) / lanes / filled * (outputs == 1 ? 2 : 1.1) * terms
        let planes = Double(layer.transposed ? 1 : min(layer.horizontal.stride, layer.horizontal.kernel))
        byColumns += linesRead * planes * (outputs == 1 ? singleLineStart : lineStart)
        let turning = layer.isDouble ? turned(layer) : turnedIntoLines
        if layer.input.column != 1 { byColumns += turning * read }
        if layer.output.column != 1 { byColumns += turning * stored }
        if channelsFirst, hasPhases { byColumns += interleaved * stored }
    }

    var byLanes = Double.infinity
    let permutes = canPermute(layer, table)
    if layer.groups > 1, permutes || layer.inChannelsPerGroup == 1 && outputs == 1 {
        byLanes = Double(ceilDivide(layer.outChannels, table.lanes)) * (permutes ? 1 : 2) * terms
        // Short rows are turned in short pieces.
        let turning = permutes ? turnedBySquares : turnedInWalk + (canWalk(layer) ? 28 / Double(columns) : 0)
        if turnsInput { byLanes += turning * read }
        if !turnsInput, !permutes, layer.outChannels < table.lanes {
            byLanes += pixelStart * (linesRead / Double(layer.inChannels) * Double(layer.horizontal.input) + 1)
        }
        if channelsFirst { byLanes += turning * stored }
    }
    if byLanes <= byChannels, byLanes <= byColumns { return .lanes }
    return byColumns < byChannels ? .columns : .channels
}

/// Whether `accumulateWalk` computes this layer: a tap's column is the next pixel's, or the next but one's, column of another tap. Of a
/// transposed convolution that is each phase, one pixel in `stride` of the output.
private func canWalk(_ layer: Layer) -> Bool {
    let (vertical, horizontal) = (layer.vertical, layer.horizontal)
    // Taps of one chunk are at least 16: a phase's rows are shorter, or the kernel's own.
    return vertical.repetition == 1 && horizontal.repetition == 1 && layer.inChannelsPerGroup == 1 && layer.outChannelsPerGroup == 1
        && (layer.transposed
            ? horizontal.stride % horizontal.dilation == 0 && (horizontal.kernel <= 16 || vertical.stride == 1 && horizontal.stride == 1)
            : horizontal.stride <= 2 && horizontal.stride <= horizontal.kernel && horizontal.dilation == 1)
        && fitsColumns(vertical) && fitsColumns(horizontal) && chunkTerms(vertical.kernel * horizontal.kernel) >= horizontal.kernel
}

/// Whether `accumulateGroups` computes this layer: vectors of whole groups, with an output channel for each input.
private func canPermute(_ layer: Layer, _ table: KernelTable) -> Bool {
    let inputs = layer.inChannelsPerGroup
    return table.groupTile != nil && inputs > 1 && inputs <= 8 && inputs == layer.outChannelsPerGroup && table.lanes % inputs == 0
}

/// Whether the strategy `columns` can read the input where it lies: single taps that meet no border, neighbouring columns, and rows as long
/// as a tile. The last tile of a row is then moved back over the one before, so an output that is added to may not be such a layer's.
private func readsColumns(_ layer: Layer, _ table: KernelTable) -> Bool {
    layer.hasSingleTaps && layer.input.column == 1 && layer.output.column == 1 && !layer.means.accumulates
        && layer.horizontal.output >= table.columnTiles[0].vectors * table.lanes
}

/// Of the input.
private func imageBytes(_ layer: Layer) -> Double {
    Double(layer.vertical.input) * Double(layer.horizontal.input) * Double(layer.inChannels) * Double(layer.elementBytes)
}

/// Whether groups are packed, each apart from the others: with their pixels a whole image's channels apart, what the taps share of a large
/// image would not stay in a level-2 cache. It pays where an element is multiplied with four vectors at least: 32 groups, 512 channels
/// of 56x56 4.2 -> 3.2 ms, but with stride 2 0.7 -> 0.9.
private func hasFarGroups(_ layer: Layer, _ table: KernelTable) -> Bool {
    let (vertical, horizontal) = (layer.vertical, layer.horizontal)
    let read = Double(vertical.input) * Double(horizontal.input)
    let products = Double(vertical.output) * Double(horizontal.output) * Double(vertical.kernel) * Double(horizontal.kernel)
    return layer.groups > 1 && !layer.transposed && imageBytes(layer) >= Double(4 << 20)
        && products * Double(ceilDivide(layer.outChannelsPerGroup, table.lanes)) >= 4 * read
}

/// Whether neighbouring output pixels of a bordered copy may share a vector, as groups that `accumulateGroups` permutes.
private func mayShareVectors(_ layer: Layer, _ table: KernelTable) -> Bool {
    canPermute(layer, table) && layer.groups == 1 && layer.inChannels < table.lanes && !layer.transposed
        && layer.horizontal.stride == 1 && layer.horizontal.phases == 1 && layer.output.channel == 1
        && layer.output.column == layer.outChannels
}

/// Whether a small image is copied with its border, so that all its tiles, whole rows of them, read at the same distances: where
/// the addresses of tiles at the border take as long as their sums.
@_optimize(size) @inline(never)
private func takesBorder(_ layer: Layer, _ table: KernelTable, pixelsPerVector: Int) -> Bool {
    let (rows, columns) = (layer.vertical.output, layer.horizontal.output / layer.columnPhases)
    let tile = largestTileSide * pixelsPerVector
    // Fewer pixels have few tiles, and images of a batch should share them.
    guard (4...64).contains(columns), rows * columns >= 32,
        layer.horizontal.output % (layer.columnPhases * pixelsPerVector) == 0
    else { return false }
    func length(_ axis: Axis) -> Double {
        layer.transposed
            ? Double(axis.input) + 2 * Double((axis.kernel - 1) * axis.dilation / axis.stride)
            : Double(axis.output - 1) * Double(axis.stride) + Double((axis.kernel - 1) * axis.dilation + 1)
    }
    let phases = layer.transposed ? Double(layer.vertical.stride) * Double(layer.horizontal.stride) : 1
    let terms = Double(layer.inChannelsPerGroup) * Double(layer.vertical.kernel) * Double(layer.horizontal.kernel) / phases
    let pixels = length(layer.vertical) * length(layer.horizontal)
    return (columns % tile == 0 || !layer.transposed && tile % columns == 0 && rows % (tile / columns) == 0)
        && pixels > Double(layer.vertical.input) * Double(layer.horizontal.input)
        && pixels * Double(layer.inChannels) * Double(layer.elementBytes) <= borderedBytes
        && terms * Double(ceilDivide(layer.outChannelsPerGroup, table.lanes)) <= borderedTerms
}

/// The strategy `columns`, and a walk over packed input, lay out the border and all residues of the stride. A kernel dilated far beyond
/// the image, or a stride far beyond the kernel, would make that most of the work.
func fitsColumns(_ axis: Axis) -> Bool {
    (axis.kernel - 1) * axis.dilation <= 2 * axis.input + 64 && axis.stride <= 16
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

/// Memory for `count` elements of `bytes` each, or a failure. More than the machine has is refused before it is asked for.
func allocate(_ count: Int, of bytes: Int, _ what: StaticString) throws(Failure) -> UnsafeMutableRawPointer {
    let (total, overflow) = count.multipliedReportingOverflow(by: bytes)
    guard !overflow, total >= 0, total <= surelyThere || UInt64(total) <= shim_physical_memory(), let block = shim_allocate(total) else {
        throw Failure(CONVOLUTION_ERROR_OUT_OF_MEMORY, "out of memory: \(what) needs \(count) times \(bytes) bytes")
    }
    return block
}

/// Visits the lattices of one axis.
private func forEachLattice(_ axis: Axis, transposed: Bool, _ body: (Lattice) -> Void) {
    if !transposed {
        for first in 0..<min(axis.phases, axis.output) { body(.convolution(axis, first: first)) }
    } else if axis.input > 0 {
        for first in 0..<Lattice.phaseCount(axis) {
            if let lattice = Lattice.phase(axis, first: first) { body(lattice) }
        }
    }
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

/// The terms of a sum are added in chunks of this many, and the chunks' sums then added up. Where roundings are independent, plain
/// summation of n terms of one sign errs by about 0.24 * sqrt(n) of them (root mean square), chunks of c terms by
/// 0.24 * sqrt(c^2/n + n/c). This is the longest chunk that keeps the root below 1.4, so that one element in a hundred million (5.7 times as
/// much) comes near 8; if none does, the best. For data as it may be, each stage errs by at most its length: c + n/c.
func chunkTerms(_ terms: Int) -> Int {
    var best = 16
    var bestError = Double.infinity
    let n = Double(max(terms, 1))
    var chunk = 16
    while chunk < terms + 16, chunk <= 4096 {
        let c = Double(min(chunk, terms))
        let error = c * c / n + n / c
        if error <= 34 || error < bestError { (best, bestError) = (chunk, min(error, bestError)) }
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

/// Less is not worth tiles that jump.
private let worthwhilePart = 0.03

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

/// Rows (of one panel's weights) that a channel block may have, and bytes that a group's addresses may take: a level-2 cache holds
/// both, with a panel four vectors of 64 bytes wide, beside the inputs.
private let weightRows = 640
private let addressBytes = 1 << 17

/// Terms of the tiles of a group, at least: beginning a group takes as long as some dozens.
private let groupTerms = 2048

/// A panel's weights of so many vectors stay in a level-1 cache, so that all of a tile's sum is made at once; more are read in
/// several passes.
private let vectorsPerCall = 512

/// Weights of this many bytes stay in a level-2 cache from group to group.
private let cachedWeightBytes = 1 << 19

/// Outputs of this many bytes, and more, are written past the caches, where whole aligned vectors are: their lines need not be read first.
/// But the next layer finds them in memory alone, so that it does not pay before the last cache holds input and output no longer. With
/// one of 32 MiB, a depthwise layer that reads the one before, each written to the caches -> past them, on one thread and on two:
/// 9.4 MB 0.8 -> 1.7, 0.23 -> 0.80 ms; 14.7 MB 2.4 -> 2.6, 0.9 -> 1.3; 21 MB 3.9 -> 3.9, 1.9 -> 2.0; reading the same input in each call,
/// 21 MB 3.8 -> 3.8, 1.3 -> 0.4, 38 MB 8.6 -> 7.2, 4.4 -> 2.9.
private let streamedBytes = 16 << 20

/// A kernel of more taps than this walks over packed input: the lines of an image's rows, a pixel's channels apart, fall into few sets of
/// the cache.
private let walkTaps = 49

/// An image that is copied with its border leaves a level-1 cache room, and an output pixel has so few vectors of multiply-adds.
private let borderedBytes = 16e3
private let borderedTerms = 400.0

/// A rectangle stays in a level-2 cache together with the weights in use.
private let rectangleLimit = 1 << 19

/// Planes packed together stay in a level-1 cache. (Those of one alone would be read the moment they are written.)
private let planesLimit = 1 << 14

/// Output that the phases of a band may write before the next band begins.
private let phaseBytes = 1 << 19

/// The part of the input that an item packs. Columns are input columns, or for the strategy `columns` places on the lattice of
/// input columns that the taps read, border included, dealt into one plane per residue modulo the input step.
struct Rectangle {
    var images: Range<Int>
    var rows: Range<Int>
    var columns: Range<Int>
    /// Input channels, or lanes for the strategy `lanes`.
    var channels: Range<Int>
    /// Strategy `columns`: elements of one plane.
    var plane = 0
    /// Elements from channel to channel, from one block of channels to the next, from row to row, and in all.
    var channelPitch = 1
    var blockPitch = 0
    var rowPitch = 0
    var elements = 0
}

extension ConvolutionPlan {
    @inline(__always)
    func rectangle(_ block: Block, firstRow: Int, rows: Int, firstColumn: Int, columns: Int, panels: Range<Int>, image: Int) -> Rectangle {
        // A band within one image reads a part of its rows, one across images all rows of each.
        let height = block.vertical.count
        let lastRow = firstRow + rows - 1
        let images = spansImages ? firstRow / height..<lastRow / height + 1 : image..<image + 1
        let (first, count) = images.count > 1 ? (0, height) : (firstRow % height, rows)
        let rowRange = inputRange(block.vertical, first: first, count: count, input: layer.vertical.input, mode: layer.paddingMode)
        let low = self.panels[panels.lowerBound]
        let high = self.panels[panels.upperBound - 1]
        let inputs = layer.inChannelsPerGroup
        if strategy == .columns {
            let horizontal = block.horizontal
            let reach = (horizontal.taps - 1) * horizontal.offsetStep
            let first = firstColumn * horizontal.inputStep + horizontal.offsetStart + min(reach, 0)
            let span = (columns - 1) * horizontal.inputStep + abs(reach) + 1
            var part = Rectangle(
                images: images, rows: rowRange, columns: first..<(first + span), channels: low.group * inputs..<(high.group + 1) * inputs)
            // Vectors of the last columns read on to a whole vector, or a whole tile; those places hold zeros.
            let line = ceilDivide(span, horizontal.inputStep)
            if stencils {
                let tile = table.stencil.vectors * table.lanes
                // Whole vectors, so that some tap's are aligned.
                part.plane = ceilDivide(line + ceilDivide(columns, tile) * tile - columns, table.lanes) * table.lanes
                part.rowPitch = part.plane * horizontal.inputStep
                let vertical = block.vertical
                let top = firstRow * vertical.inputStep + vertical.offsetStart
                part.rows = top..<top + (rows - 1) * vertical.inputStep + (vertical.taps - 1) * vertical.offsetStep + 1
                part.channelPitch = part.rowPitch * part.rows.count
                part.elements = part.channelPitch * block.planes + (turnsPlanes ? rows * columns * panels.count + tile : 0)
                return part
            }
            part.plane = line + table.lanes * (isWide ? low.kernel.vectors : 1)
            part.channelPitch = part.plane * horizontal.inputStep
            part.blockPitch = part.channelPitch * block.channelBlock
            part.rowPitch = part.channelPitch * part.channels.count
            // One more row stands for all rows outside.
            part.elements = part.rowPitch * (rowRange.count + 1)
            return part
        }
        if walks || borders {
            let (vertical, horizontal) = (block.vertical, block.horizontal)
            let top = firstRow * vertical.inputStep + vertical.offsetStart
            let left = firstColumn * horizontal.inputStep + horizontal.offsetStart
            var part = Rectangle(
                images: images,
                rows: top..<top + (rows - 1) * vertical.inputStep + vertical.lastOffset - vertical.offsetStart + 1,
                columns: left..<left + (columns - 1) * horizontal.inputStep + horizontal.lastOffset - horizontal.offsetStart + 1,
                channels: low.offset..<(high.offset + high.width))
            if borders {
                part.channels = low.group * inputs..<(high.group + high.groups) * inputs
                part.rowPitch = part.columns.count * block.channelBlock
                part.blockPitch = part.rows.count * part.rowPitch
                part.elements = part.blockPitch * (high.group + high.groups - low.group) * ceilDivide(inputs, block.channelBlock)
                // The vector of the last pixel goes beyond it.
                if pixelsPerVector > 1 { part.elements += table.lanes }
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
            var part = Rectangle(images: images, rows: rowRange, columns: columnRange, channels: low.offset..<(high.offset + high.width))
            part.channelPitch = part.channels.count
            part.blockPitch = part.channelPitch * block.channelBlock
            part.rowPitch = columnRange.count * part.channelPitch
            part.elements = rowRange.count * part.rowPitch
            return part
        }
        // One block of channels after another, each a small image of its own: tiles of one pass over the weights then read a few
        // kilobytes, whose lines fall into all sets of the cache, however many channels a pixel has.
        var part = Rectangle(
            images: images, rows: rowRange, columns: columnRange, channels: low.group * inputs..<(high.group + high.groups) * inputs)
        part.rowPitch = columnRange.count * block.channelBlock
        // The end of each block stands for all pixels that are outside.
        part.blockPitch = images.count * rowRange.count * part.rowPitch + block.outsidePixels * block.channelBlock
        part.elements = part.blockPitch * (high.group + high.groups - low.group) * ceilDivide(inputs, block.channelBlock)
        return part
    }

    /// What a band of the first panels packs.
    @inline(never)
    @_optimize(size)
    private func rectangleBytes(_ block: Block, firstRow: Int, rows: Int) -> Int {
        rectangle(
            block, firstRow: firstRow, rows: rows, firstColumn: 0, columns: block.bandColumns, panels: block.panels(0, of: self), image: 0
        ).elements * layer.elementBytes
    }

    /// Elements of the largest rectangle that an item of the block packs.
    @_optimize(size)
    fileprivate func largestRectangle(_ block: Block) -> Int {
        var largest = 0
        for chunk in 0..<block.panelChunks {
            for rowBand in 0..<block.rowBands {
                let row = rowBand * block.bandRows
                for columnBand in 0..<block.columnBands {
                    let column = columnBand * block.bandColumns
                    let part = rectangle(
                        block, firstRow: row, rows: min(block.bandRows, rows(block) - row), firstColumn: column,
                        columns: min(block.bandColumns, block.horizontal.count - column), panels: block.panels(chunk, of: self), image: 0)
                    largest = max(largest, part.elements)
                }
            }
        }
        return largest
    }

    /// The most chunks that leave panels that share channels, the last two, to one thread.
    private var mostPanelChunks: Int {
        let last = panels[panelCount - 1]
        return strategy == .lanes && last.firstChannel < last.offset ? panelCount - 1 : panelCount
    }

    /// An item's planes are made in scratch memory and then turned into pixels.
    var turnsPlanes: Bool { stencils && writesPixels(layer) }

    /// Output rows that a tile takes together.
    private var rowUnit: Int { stencils ? stencilRows : walks ? 2 : 1 }

    fileprivate var leastReach: Int {
        var step = largestTileSide
        for index in 0..<panelCount { step = min(step, panels[index].reach(strategy)) }
        return step
    }

    /// Of `step` positions.
    fileprivate func tileCount(rows: Int, columns: Int, _ step: Int) -> Int {
        let positions = ceilDivide(columns, positionColumns)
        return isWide ? rows * ceilDivide(positions, step) : ceilDivide(rows * positions, step)
    }

    /// The bands of rows, or the panel chunks, after which `threads` are done first: about `wanted` items, or fewer where those leave a
    /// thread without work at the end, or cut tiles off. Of panel chunks each lays out the addresses of its tiles anew.
    @_optimize(size)
    private func balance(_ block: inout Block, parts: Int, threads: Int, wanted: Int, mayDividePanels: Bool) {
        let rows = rows(block)
        let step = leastReach
        func tiles(_ bandRows: Int) -> Int {
            walks || stencils ? ceilDivide(bandRows, rowUnit) : tileCount(rows: bandRows, columns: block.horizontal.count, step)
        }
        // In panels. Where the work of a panel is little, its addresses are much.
        // Of one input pixel, a tile has addresses for all taps and one of them to multiply.
        let tapsPerUse = panels[0].kernel.rows == 1 ? block.taps : 1
        let layOut = Double(10 * tapsPerUse) / Double(layer.inChannelsPerGroup * width / panelCount / table.lanes + 3)
        var least = Double.infinity
        /// Items that are alike but for the last ones take turns; one may end a part of its time after the others.
        func consider(_ items: Int, each cost: Double, last: Int, each lastCost: Double, _ choose: () -> Void) {
            let (rounds, rest) = (items * parts).quotientAndRemainder(dividingBy: threads)
            let total = (Double(rounds) + 1.0 / 16) * cost + (rest > 0 ? cost : Double(ceilDivide(last * parts, threads)) * lastCost)
            if total < least {
                least = total
                choose()
            }
        }
        let smallest = ceilDivide(max(1, rows / wanted), rowUnit)
        let largest = ceilDivide(ceilDivide(rows, threads), rowUnit)
        for units in smallest...max(smallest, min(largest, smallest + 32)) {
            let bandRows = units * rowUnit
            let perTile = Double(panelCount) + layOut
            let rest = rows % bandRows
            consider(rows / bandRows, each: Double(tiles(bandRows)) * perTile, last: rest > 0 ? 1 : 0, each: Double(tiles(rest)) * perTile) {
                block.bandRows = bandRows
            }
        }
        if mayDividePanels, block.panelChunks == 1 {
            // A walk does so little with a cache line that it matters whether another thread writes the next one.
            let perTile = Double(tiles(rows)) * (walks ? 2 : 1)
            for chunks in threads...max(wanted, threads) where chunks <= mostPanelChunks {
                let share = Double(ceilDivide(panelCount, chunks))
                consider(chunks, each: perTile * (share + layOut), last: 0, each: 0) {
                    (block.bandRows, block.panelChunks) = (rows, chunks)
                }
            }
        }
    }

    /// Chooses bands and panel chunks: enough items to keep `threads` busy to the end, bands of whole rows where that suffices, and
    /// rectangles within the limit. Any choice gives the same bits.
    @_optimize(size)
    fileprivate func divide(_ block: inout Block, blocks: Int, threads: Int, rectangleLimit: Int) {
        let rows = rows(block)
        // Packed for a walk, a vector of channels lies together, apart from the others: a large kernel then keeps it in the nearest caches.
        (block.bandRows, block.bandColumns, block.panelChunks) = (max(rows, 1), block.horizontal.count, walks && !readsInputDirectly ? panelCount : 1)
        let parts = max((spansImages ? 1 : layer.batch) * blocks * block.panelChunks, 1)
        let wanted = threads == 1 ? 1 : ceilDivide(4 * threads, parts)
        let columns = block.horizontal.count
        let hasManyPixels = rows * columns >= wanted * 64
        if blocks == 1, rows < wanted, hasManyPixels, readsInputDirectly, !walks {
            // A few long rows are cut into pieces of whole tiles, the last of them no shorter than a tile.
            let (unit, least) = strategy == .columns
                ? (table.lanes * table.columnTiles[4].vectors, table.lanes * table.columnTiles[0].vectors) : (commonTileRows, 1)
            block.bandRows = 1
            block.bandColumns = ceilDivide(ceilDivide(columns, ceilDivide(wanted, rows)), unit) * unit
            while columns % block.bandColumns > 0, columns % block.bandColumns < least { block.bandColumns += unit }
        } else if stencils, !turnsPlanes, panelCount >= wanted {
            // Whole channels.
            block.panelChunks = wanted
        } else if blocks == 1, wanted > 1, hasManyPixels || readsInputDirectly {
            balance(&block, parts: parts, threads: threads, wanted: wanted, mayDividePanels: !hasManyPixels)
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
            block.rowBands = ceilDivide(rows, block.bandRows)
            block.columnBands = ceilDivide(block.horizontal.count, block.bandColumns)
            if readsInputDirectly || rows == 0 { return }
            // The first band is as large as any but for borders; the exact maximum is taken once at the end.
            let bytes = rectangleBytes(block, firstRow: 0, rows: block.bandRows)
            if bytes <= rectangleLimit {
                if stencils, !packsPixels {
                    let most = min(rectangleLimit, planesLimit) / max(bytes, 1)
                    block.planes = max(1, min(most, ceilDivide(layer.groups, block.panelChunks)))
                }
                return
            }
            // Half of the rows of a kernel dilated far may read nearly as many, and would be packed nearly as long.
            func middle(_ bandRows: Int) -> Int { rectangleBytes(block, firstRow: (rows - bandRows) / 2, rows: bandRows) }
            if strategy == .channels, middle(block.bandRows) <= 3 * rectangleLimit,
                4 * middle((block.bandRows + 1) / 2) > 3 * middle(block.bandRows)
            {
                return
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
                block.bandColumns = ceilDivide(ceilDivide(block.bandColumns, 2), table.lanes) * table.lanes
            } else {
                return
            }
        }
    }
}

func checkKernel(_ layer: Layer, _ kernel: UnsafeRawPointer?) throws(Failure) {
    if kernel == nil, layer.kernelElements > 0 {
        throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "kernel is NULL; it must point to \(layer.kernelElements) elements")
    }
}

@_optimize(size)
func createPlan(_ layer: Layer, kernel: UnsafeRawPointer?, bias: UnsafeRawPointer?) throws(Failure) -> UnsafeMutablePointer<ConvolutionPlan> {
    layer.isDouble
        ? try packedPlan(layer, kernel: kernel?.assumingMemoryBound(to: Double.self), bias: bias?.assumingMemoryBound(to: Double.self))
        : try packedPlan(layer, kernel: kernel?.assumingMemoryBound(to: Float.self), bias: bias?.assumingMemoryBound(to: Float.self))
}

/// A plan with its work divided, but without weights yet.
struct Draft {
    var plan: ConvolutionPlan
    var memory: PlanMemory
    var weightElements: Int
}

/// The division of work that needs the most memory is the fastest; each step of economy halves what a thread holds at a time, down to
/// single tiles and rows. None changes a bit of the result.
private let mostEconomy = 12

/// The fastest draft whose workspace, for one thread, stays within the layer's limit.
@_optimize(size)
private func draftWithinLimit(_ layer: Layer) throws(Failure) -> Draft {
    for economy in 0..<mostEconomy {
        let draft = try draft(layer, economy: economy)
        if draft.plan.workspace.bytes <= layer.means.workspaceLimit { return draft }
        shim_free(draft.memory.header)
    }
    let last = try draft(layer, economy: mostEconomy)
    let bytes = last.plan.workspace.bytes
    if bytes <= layer.means.workspaceLimit { return last }
    shim_free(last.memory.header)
    throw Failure(
        CONVOLUTION_ERROR_WORKSPACE, "workspace_limit is \(layer.means.workspaceLimit); this layer needs at least \(bytes) bytes (0: no limit)")
}

/// The least workspace that a layer can be computed with.
@_optimize(size)
func leastWorkspace(_ layer: Layer) throws(Failure) -> Int {
    let frugal = try draft(layer, economy: mostEconomy)
    shim_free(frugal.memory.header)
    return frugal.plan.workspace.bytes
}

/// What `..._workspace_size` says: bytes.
struct WorkspaceNeed {
    var plan = 0
    var execution = 0
    var least = 0
    /// Multiply-adds of one execution.
    var work = 0.0
}

@_optimize(size)
func workspaceSize(_ layer: Layer) throws(Failure) -> WorkspaceNeed {
    guard layer.hasOutput else { return WorkspaceNeed() }
    let least = try leastWorkspace(layer)
    let draft = try draftWithinLimit(layer)
    defer { shim_free(draft.memory.header) }
    let packed = try times(
        draft.weightElements + draft.plan.width + draft.plan.outsideElements(), layer.elementBytes, "the packed kernel")
    return WorkspaceNeed(
        plan: draft.memory.bytes + packed, execution: draft.plan.executionThreads * draft.plan.workspace.bytes, least: least,
        work: draft.plan.work)
}

@_optimize(size)
private func draft(_ given: Layer, economy: Int) throws(Failure) -> Draft {
    if given.takesWinograd { return try winogradDraft(given, economy: economy) }
    let given = given.lying
    let table = given.isDouble ? given.tier.float64 : given.tier.float32
    let chain = given.productChain()
    var layer = given.flattened
    let turns = chain == nil && economy == 0 && given.mayTurn && given.coversOutput && chooseStrategy(given, table) == .channels
    if turns { layer = try given.onPixels(lanes: table.lanes) }
    if chain == nil, let widened = layer.widened, turns ? widened.savesVectors(layer, table.lanes) : chooseStrategy(widened, table) == .channels {
        layer = widened
    }
    let size = layer.elementBytes
    let inputs = layer.inChannelsPerGroup

    // No blocks where there is nothing to add up or nothing to store; then no size of theirs is multiplied either.
    let hasOutput = layer.hasOutput
    var rowLattices = 0
    var columnLattices = 0
    if hasOutput, inputs > 0 {
        forEachLattice(layer.vertical, transposed: layer.transposed) { _ in rowLattices += 1 }
        forEachLattice(layer.horizontal, transposed: layer.transposed) { _ in columnLattices += 1 }
    }
    let fullyCovered = !hasOutput || inputs > 0 && layer.coversOutput

    var strategy = turns ? .channels : chain == nil ? chooseStrategy(layer, table) : .columns
    var borders = false
    if economy == 0, !turns, strategy == .channels {
        let sharesVectors = mayShareVectors(layer, table) && takesBorder(layer, table, pixelsPerVector: table.lanes / inputs)
        borders = sharesVectors || takesBorder(layer, table, pixelsPerVector: 1)
        if sharesVectors { strategy = .lanes }
    }
    let panels = Panels(layer, table, strategy)
    let memory = try PlanMemory(
        panels: panels.count, blocks: times(rowLattices, columnLattices, "blocks"), rows: fullyCovered ? 0 : layer.vertical.output,
        columns: fullyCovered ? 0 : layer.horizontal.output)
    for index in 0..<panels.count { (memory.panels + index).initialize(to: panels.panel(index, layer, table)) }
    var plan = ConvolutionPlan(
        layer: layer, table: table, strategy: panels.strategy, isWide: panels.isWide, walks: panels.walks,
        stencils: panels.stencils, permutes: panels.permutes, panels: memory.panels, panelCount: panels.count, width: panels.width, blocks: memory.blocks, blockCount: 0, itemsPerBlock: 0, work: 0,
        weights: memory.header, bias: memory.header,
        outside: memory.header, coveredRows: memory.coveredRows, coveredColumns: memory.coveredColumns, fullyCovered: fullyCovered,
        mendsBorder: false, skipsOutside: false, readsInputDirectly: false, workspace: WorkspaceLayout())
    switch plan.strategy {
    case _ where borders:
        plan.borders = true
        if plan.strategy == .lanes { plan.pixelsPerVector = table.lanes / inputs }
    case .channels:
        plan.readsInputDirectly = layer.input.channel == 1 && !hasFarGroups(layer, table) || layer.inChannels <= 1
    case .lanes where plan.permutes: plan.readsInputDirectly = layer.input.channel == 1 && layer.outChannels % table.lanes == 0
    case .lanes: plan.readsInputDirectly = panels.isDirect
    case .columns: plan.readsInputDirectly = !panels.isWide && readsColumns(layer, table)
    }
    plan.spansImages = plan.readsInputDirectly
        || plan.strategy == .channels && !plan.borders && imageBytes(layer) <= Double(rectangleLimit >> economy)
    // Where fewer will execute it, it is divided for fewer.
    let (rows, columns) = (layer.vertical, layer.horizontal)
    let pixels = layer.transposed ? Double(rows.input) * Double(columns.input) : Double(rows.output) * Double(columns.output)
    let threads = threadsToUse(
        requested: layer.threads, items: .max,
        work: pixels * Double(layer.batch) * Double(layer.outChannels) * Double(inputs) * Double(rows.kernel) * Double(columns.kernel))

    // Blocks and what they need.
    var weightElements = 0
    var overflow = false
    if rowLattices > 0 {
        forEachLattice(layer.vertical, transposed: layer.transposed) { vertical in
            if !fullyCovered { for q in 0..<vertical.count { plan.coveredRows[vertical.outputStart + q * vertical.outputStep] = 1 } }
            forEachLattice(layer.horizontal, transposed: layer.transposed) { horizontal in
                let terms = vertical.taps * horizontal.taps * inputs
                let chunk = chunkTerms(terms)
                // At most as many channels as make one chunk of a tap, and as keep a panel's weights for a block in a level-2 cache.
                let mostChannels = max(32, min(chunk, weightRows / (vertical.taps * horizontal.taps)))
                let channelBlock = ceilDivide(inputs, ceilDivide(inputs, mostChannels))
                var segmentsPerChunk = max(1, chunk / channelBlock)
                // Whole kernel rows, where a chunk holds one: their taps may be taken together.
                if segmentsPerChunk > horizontal.taps { segmentsPerChunk -= segmentsPerChunk % horizontal.taps }
                var block = Block(
                    vertical: vertical, horizontal: horizontal, weights: weightElements, bandRows: 0, bandColumns: 0, rowBands: 0,
                    columnBands: 0, panelChunks: 0, items: 0, channelBlock: channelBlock, segmentsPerChunk: segmentsPerChunk,
                    tilesPerGroup: 0)
                if plan.strategy == .channels {
                    block.mergesTaps = horizontal.taps > 1 && horizontal.offsetStep == 1 && channelBlock == layer.inChannels
                        && segmentsPerChunk % horizontal.taps == 0 && (!plan.readsInputDirectly || layer.input.column == channelBlock)
                    block.roundsBorder = !plan.borders && outsidePart(block, layer) > worthwhilePart
                }
                if plan.strategy == .channels, block.taps == 1, inputs % channelBlock == 0,
                    inputs * plan.panels.pointee.kernel.vectors <= vectorsPerCall {
                    block.blocksPerCall = inputs / channelBlock
                }
                block.hasOneCall = channelBlock * block.blocksPerCall == inputs
                // More tiles where the weights come in several passes, a tile is little work, or no other panel reads the input
                // again; but their addresses are to stay in the cache as well.
                let isAlone = plan.panelCount == 1
                let tiles = !block.hasOneCall ? 64 : isAlone ? 48 : max(16, min(groupTerms / terms, 48))
                block.tilesPerGroup = max(1, min(tiles, addressBytes / (block.segments * largestTileSide * 8)) >> economy)
                plan.divide(&block, blocks: rowLattices * columnLattices, threads: threads, rectangleLimit: rectangleLimit >> economy)
                // One more, since those of the border and the others may each have a rest.
                let needed = 1 + plan.tileCount(rows: block.bandRows, columns: block.bandColumns, plan.leastReach)
                block.tilesPerGroup = min(block.tilesPerGroup, needed)
                block.items = (plan.spansImages ? 1 : layer.batch) * block.rowBands * block.columnBands * block.panelChunks
                plan.itemsPerBlock = max(plan.itemsPerBlock, block.items)
                plan.work += Double(terms) * Double(vertical.count * horizontal.count) * Double(layer.batch) * Double(layer.outChannels)
                let (more, tooMany) = terms.multipliedReportingOverflow(by: plan.width)
                overflow = overflow || tooMany || more > largestLength
                weightElements = overflow ? 0 : weightElements + more
                plan.workspace.include(
                    block, walkRuns: plan.walks ? 2 * plan.walkRuns(block) : 0, walkLines: plan.walkLines,
                    rectangleBytes: plan.readsInputDirectly ? 0 : plan.largestRectangle(block) * size, elementBytes: size)
                plan.blocks[plan.blockCount] = block
                plan.blockCount += 1
            }
        }
        if !fullyCovered {
            forEachLattice(layer.horizontal, transposed: layer.transposed) { horizontal in
                for q in 0..<horizontal.count { plan.coveredColumns[horizontal.outputStart + q * horizontal.outputStep] = 1 }
            }
        }
    }
    plan.workspace.finish(elementBytes: size)
    if let chain, plan.blockCount > 0, !overflow {
        do throws(Failure) {
            try plan.divideProducts(chain: chain, threads: threads, economy: economy)
            weightElements = try plan.tapProducts.map { part throws(Failure) in try plan.productWeights(part) } ?? 0
        } catch {
            shim_free(memory.header)
            throw error
        }
    }
    if turns, !overflow {
        let fits: Bool
        do throws(Failure) {
            fits = try plan.divideTurned(given, threads: threads)
        } catch {
            shim_free(memory.header)
            throw error
        }
        if !fits {
            shim_free(memory.header)
            var layer = given
            layer.means.turns = false
            return try draft(layer, economy: economy)
        }
    } else if hasOutput {
        let elements = Double(layer.batch * layer.outChannels) * Double(layer.vertical.output * layer.horizontal.output)
        plan.streams = elements * Double(size) >= Double(streamedBytes)
    }

    for i in 0..<plan.blockCount {
        // Dense pixels, all of which are read.
        plan.blocks[i].fetchesInput = plan.strategy == .channels && plan.readsInputDirectly && layer.input.column == inputs
            && layer.horizontal.stride <= layer.horizontal.kernel && weightElements * size <= cachedWeightBytes
    }
    if overflow {
        shim_free(memory.header)
        throw Failure(CONVOLUTION_ERROR_OVERFLOW, "the packed kernel exceeds what memory can hold")
    }
    return Draft(plan: plan, memory: memory, weightElements: weightElements)
}

/// The layer, with what its execution will copy of the border taken off the workspace's limit: see `borderBefore`.
@_optimize(size)
private func leavingRoomForBorder<Scalar: KernelScalar>(_ layer: Layer, _ kernel: UnsafePointer<Scalar>?) throws(Failure) -> Layer {
    guard let kernel, layer.transposed, layer.means.accumulates, layer.means.workspaceLimit < Int.max, layer.hasOutput,
        !areFinite(kernel, count: layer.kernelElements)
    else { return layer }
    let frugal = try draft(layer, economy: mostEconomy)
    defer { shim_free(frugal.memory.header) }
    if frugal.plan.tapProducts != nil { return layer }
    var pixels = 0
    withUnsafePointer(to: frugal.plan) { plan in forEachBorderPixel(plan) { _ in pixels += 1 } }
    let border = pixels * layer.outChannels * MemoryLayout<Scalar>.stride
    let least = frugal.plan.workspace.bytes + border
    if least > layer.means.workspaceLimit {
        throw Failure(
            CONVOLUTION_ERROR_WORKSPACE,
            "workspace_limit is \(layer.means.workspaceLimit); with a kernel that is not finite this accumulating layer needs at least \(least) bytes (0: no limit)")
    }
    var layer = layer
    layer.means.workspaceLimit -= border
    return layer
}

@_optimize(size)
private func packedPlan<Scalar: KernelScalar>(
    _ layer: Layer, kernel: UnsafePointer<Scalar>?, bias: UnsafePointer<Scalar>?
) throws(Failure) -> UnsafeMutablePointer<ConvolutionPlan> {
    try checkKernel(layer, kernel)
    let layer = try leavingRoomForBorder(layer, kernel)
    let draft = try draftWithinLimit(layer)
    let (memory, weightElements) = (draft.memory, draft.weightElements)
    var plan = draft.plan
    let size = MemoryLayout<Scalar>.stride
    do throws(Failure) {
        let outsideElements = try plan.outsideElements()
        let storage = try allocate(weightElements + plan.width + outsideElements, of: size, "the packed kernel")
        let packed = storage.assumingMemoryBound(to: Scalar.self)
        plan.weights = storage
        plan.bias = UnsafeMutableRawPointer(packed + weightElements)
        plan.outside = UnsafeMutableRawPointer(packed + weightElements + plan.width)
        for i in 0..<outsideElements { packed[weightElements + plan.width + i] = Scalar(layer.paddingValue) }
        if plan.permutes { fillPlaces(&plan, of: size) }
    } catch {
        shim_free(memory.header)
        throw error
    }

    if let kernel {
        let isFinite: Bool
        do throws(Failure) {
            isFinite = try packKernel(&plan, kernel, elements: weightElements)
        } catch {
            shim_free(plan.weights)
            shim_free(memory.header)
            throw error
        }
        plan.mendsBorder = layer.transposed && plan.tapProducts == nil && !isFinite
        plan.skipsOutside = plan.strategy == .channels && layer.paddingMode == .constant && layer.paddingValue == 0 && isFinite
        if !isFinite, plan.winograd != nil || plan.turning != nil {
            // With Winograd's algorithm an infinity or NaN would spread to all elements; the default one keeps it where it belongs. And the
            // border is mended in the caller's arrays.
            shim_free(plan.weights)
            shim_free(memory.header)
            var layer = layer
            layer.means.permitsWinograd = false
            layer.means.turns = false
            return try packedPlan(layer, kernel: kernel, bias: bias)
        }
        if plan.blockCount > 0, maySeparate(layer) { separateWeights(&plan, plan.weights.assumingMemoryBound(to: Scalar.self)) }
    }
    let packedBias = plan.bias.assumingMemoryBound(to: Scalar.self)
    // What leaves every sum as it is, in place of a bias: -0 + 0 would be 0.
    if plan.winograd != nil { (packedBias - plan.width).update(repeating: -0.0, count: plan.width) }
    packedBias.update(repeating: 0, count: plan.width)
    for index in 0..<plan.panelCount {
        let panel = plan.panels[index]
        guard let bias else { break }
        // No negative zero: a sum of nothing but zeros may have either sign, and becomes a positive zero by the bias.
        for channel in 0..<panel.channels {
            packedBias[panel.offset + channel] = bias[(panel.firstChannel + channel) % layer.outChannels] + 0
        }
    }

    let result = memory.header.bindMemory(to: ConvolutionPlan.self, capacity: 1)
    result.initialize(to: plan)
    return result
}

private func fillPlaces(_ plan: inout ConvolutionPlan, of size: Int) {
    let inputs = plan.layer.inChannelsPerGroup
    let places = plan.outside + plan.width * inputs * size
    plan.places = places
    for channel in 0..<inputs {
        for lane in 0..<plan.table.lanes {
            let place = places + (channel * plan.table.lanes + lane) * size
            let source = lane - lane % inputs + channel
            if size == 8 { place.storeBytes(of: Int64(source), as: Int64.self) } else { place.storeBytes(of: Int32(source), as: Int32.self) }
        }
    }
}

/// One allocation for the plan itself (at its start), its panels, blocks and coverage maps.
struct PlanMemory {
    var header: UnsafeMutableRawPointer
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
        panels = (header + panelsAt).assumingMemoryBound(to: Panel.self)
        blocks = (header + blocksAt).assumingMemoryBound(to: Block.self)
        coveredRows = (header + rowsAt).assumingMemoryBound(to: UInt8.self)
        coveredColumns = coveredRows + rows
        coveredRows.update(repeating: 0, count: rows + columns)
    }
}

extension WorkspaceLayout {
    /// Collects sizes first (in the fields that later hold offsets); `finish` turns them into offsets.
    mutating func include(_ block: Block, walkRuns: Int, walkLines: Int, rectangleBytes: Int, elementBytes: Int) {
        let pointer = MemoryLayout<UnsafeRawPointer>.stride
        tiles = max(tiles, aligned(block.tilesPerGroup * MemoryLayout<Tile<Double>>.stride))
        runs = max(runs, aligned(max(block.tilesPerGroup * block.segments * largestTileSide, walkRuns) * pointer))
        orders = max(orders, aligned(block.tilesPerGroup * block.orderLength * MemoryLayout<Int32>.stride))
        rowOffsets = max(rowOffsets, aligned(block.vertical.taps * block.blocksPerCall * largestTileSide * pointer))
        columnOffsets = max(columnOffsets, aligned(block.horizontal.taps * largestTileSide * pointer))
        sums = max(sums, aligned((block.hasOneCall ? 1 : block.tilesPerGroup) * largestTileScalars * elementBytes))
        lines = max(lines, aligned(walkLines * elementBytes))
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

/// Replaces each channel's packed kernel by its factors, if all have them. `separate` takes at most 16 rows and columns of 4 channels.
private func separateWeights<Scalar: KernelScalar>(_ plan: inout ConvolutionPlan, _ weights: UnsafeMutablePointer<Scalar>) {
    let (rows, columns) = (plan.layer.vertical.kernel, plan.layer.horizontal.kernel)
    var factors = InlineArray<128, Scalar>(repeating: 0)
    let panelCount = plan.panelCount
    var span = factors.mutableSpan
    plan.separates = span.withUnsafeMutableBufferPointer { factors in
        guard let factors = factors.baseAddress else { return false }
        for index in 0..<panelCount {
            if !separate(weights + index * rows * columns, rows: rows, columns: columns, into: factors + index * (rows + columns)) { return false }
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
