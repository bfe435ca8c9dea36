import CConvolutionShims
import ConvolutionKernels

// Which kernels compute a layer: what their vectors hold, and the panels of output channels that follow from it.

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

/// How a layer's output channels are divided into panels.
struct Panels {
    var strategy: Strategy
    /// Rows so long that tiles of one row each waste little at their ends, and few enough channels for the kernels that want
    /// that.
    var isWide = false
    var walks = false
    /// Whole rows in a call.
    var sweeps = false
    var stencils = false
    var permutes = false
    /// Strategy `channels`: one term for each output. One panel.
    var repeats = false
    var perGroup = 0
    var count = 0
    /// Vectors of output channels per group (channels) or in all (lanes).
    var vectors = 0
    /// Packed output channels, padding included.
    var width = 0
    /// Strategy `channels`: two groups of a whole vector each are one panel.
    var pairs = false
    /// Strategy `lanes`: whole vectors of channels are read where they lie, one input for each output. The last panel begins
    /// early enough to be whole.
    var isDirect = false
    /// But kernels that read and store parts of a vector leave it where it is.
    var endsInPart = false
    /// Strategy `channels`: panels have as many vectors, or one more. Else they are as wide as can be, but for the last.
    var isEven = true
    /// Strategy `channels`: one input pixel, each of whose products goes to a pixel of its own, or one output pixel. Strategy
    /// `lanes`: one output pixel.
    var isPixel = false

    init(_ layer: Layer, _ table: UnsafePointer<KernelTable>, _ strategy: Strategy) {
        self.strategy = strategy
        let outputs = layer.outChannelsPerGroup
        switch strategy {
        case .channels:
            vectors = ceilDivide(outputs, table.lanes)
            isPixel = layer.batch == 1 && (layer.vertical.input == 1 && layer.horizontal.input == 1
                || layer.vertical.output == 1 && layer.horizontal.output == 1)
            repeats = repeatsInput(layer)
            if repeats {
                (perGroup, isEven) = (1, false)
            } else {
                // Strides may be so long that their product is none.
                let phases = layer.transposed ? Double(layer.vertical.stride) * Double(layer.horizontal.stride) : 1
                let pixels = Double(layer.batch) * Double(layer.vertical.output) * Double(layer.horizontal.output)
                divideVectors(layer, table, positions: Int(min(pixels / phases, Double(Int32.max))))
            }
            pairs = table.pointee.pairTile != nil && layer.groups > 1 && outputs == table.lanes && layer.columnsPerPixel == 1
            count = pairs ? ceilDivide(layer.groups, 2) : perGroup * layer.groups
            width = vectors * table.lanes * layer.groups
        case .lanes:
            vectors = ceilDivide(layer.outChannels, table.lanes)
            sweeps = takesSweep(layer)
            walks = !sweeps && canWalk(layer)
            permutes = canPermute(layer, table)
            isPixel = layer.batch == 1 && layer.vertical.output == 1 && layer.horizontal.output == 1
            // Tiles of three pixels (AVX2) are for many vectors. Planes are stored by squares of four pixels.
            let widest = table.pointee.laneTiles[3]
            let isTooShort = widest.rows < 4 && (layer.output.channel != 1 || vectors <= widest.vectors)
            let most = isTooShort ? table.pointee.laneTiles[2].vectors : widest.vectors
            perGroup = ceilDivide(vectors, walks || permutes ? 1 : most)
            // Of one phase.
            let mayBeDirect = !permutes && layer.input.channel == 1 && (!walks || layer.phaseTaps <= walkTaps)
            let isWhole = layer.outChannels % table.lanes == 0
            endsInPart = !walks && table.pointee.storesParts
            // A panel of several vectors becomes two, so that the last may begin early: 3x3 on 7 times 33 channels of 3x3 2.7 us,
            // so 0.5.
            if mayBeDirect, !endsInPart, !isWhole, perGroup == 1, vectors > 1 { perGroup = 2 }
            count = perGroup
            width = vectors * table.lanes
            isDirect = mayBeDirect && (isWhole || endsInPart || perGroup > 1 && !layer.means.accumulates)
            sweeps = sweeps && isDirect
        case .columns:
            let most = table.pointee.columnTiles[4].rows
            let rest = outputs % most
            let columns = layer.horizontal.output / layer.columnPhases
            stencils = takesStencil(layer, table)
            // Of three and four channels wider tiles gain with single taps alone: NCHW 1x1 32->3 at 512x512 1.61 to 1.44 ms, but
            // 5x5 3->3 0.71 to 0.82.
            isWide = !stencils && (1...4).contains(outputs) && (outputs <= 2 || layer.hasSingleTaps)
                && columns >= 4 * table.pointee.wideTiles[outputs - 1].vectors * table.lanes
            perGroup = stencils ? outputs : outputs / most + (rest == 0 ? 0 : rest <= 4 ? 1 : 2)
            count = perGroup * layer.groups
            width = layer.outChannels
        }
    }

    /// Strategy `channels`: the panels of a group that take least time. They share their tiles, so a kernel of more pixels than
    /// another computes some in vain; and few pixels leave a part of a tile.
    mutating func divideVectors(_ layer: Layer, _ table: UnsafePointer<KernelTable>, positions: Int) {
        let widest = table.pointee.widestTile
        (perGroup, isEven) = (ceilDivide(vectors, widest), false)
        if isPixel || vectors <= 1 { return }
        // Of more it makes no difference.
        let positions = min(positions, 64 * commonTileRows)
        var best = (count: perGroup, isEven: false)
        var least = Int.max
        // Unevenly last, and only where there are no groups whose panels would take turns.
        for width in stride(from: widest, through: layer.groups > 1 ? 1 : 0, by: -1) {
            isEven = width > 0
            perGroup = ceilDivide(vectors, isEven ? width : widest)
            // None is wider than the first, whose kernels thus have the fewest pixels.
            let first = panel(0, layer, table)
            let tiles = ceilDivide(positions, first.kernel.rows)
            let tall = first.shortKernel == nil ? tiles : tallTiles(positions, first.kernel.rows)
            var cost = 0
            for index in 0..<perGroup {
                let panel = panel(index, layer, table)
                let isHalf = table.pointee.halfTile(channels: panel.channels) != nil
                for isShort in 0...1 {
                    let kernel = panel.kernel(for: first.kernel.rows - isShort, strategy)
                    // By multiply-adds, or by loads.
                    cost += (isShort == 0 ? tall : tiles - tall)
                        * max((2 * kernel.vectors - (isHalf ? 1 : 0)) * kernel.rows, 2 * (kernel.rows + kernel.vectors))
                }
            }
            if cost < least { (least, best) = (cost, (perGroup, isEven)) }
        }
        (perGroup, isEven) = best
    }

    /// The kernel for one pixel less than that for `count` vectors, if panels of tiles of as many pixels have all one.
    private func shortKernel(_ count: Int, _ layer: Layer, _ table: UnsafePointer<KernelTable>) -> TileKernel? {
        let last = isEven ? vectors / perGroup : vectors - (perGroup - 1) * table.pointee.widestTile
        let lastChannels = layer.outChannelsPerGroup - (vectors - last) * table.lanes
        guard count > 1, count == table.pointee.widestTile || last > 1 && table.pointee.halfTile(channels: lastChannels) == nil
        else { return nil }
        return table.pointee.shortTiles[count - 2]
    }

    /// Whether a walk computes all phases of a transposed convolution together: its input is read in place, and whole vectors of
    /// output are finished.
    func pairsPhases(_ layer: Layer, _ table: UnsafePointer<KernelTable>) -> Bool {
        walks && isDirect && canPair(layer) && layer.output.channel == 1
    }

    func panel(_ index: Int, _ layer: Layer, _ table: UnsafePointer<KernelTable>) -> Panel {
        let outputs = layer.outChannelsPerGroup
        switch strategy {
        case .channels where pairs && 2 * index + 1 < layer.groups:
            return Panel(
                group: 2 * index, groups: 2, firstChannel: 2 * index * outputs, channels: 2 * outputs,
                offset: 2 * index * outputs, width: 2 * outputs, kernel: table.pointee.pairTile ?? table.pointee.tiles[1])
        case .channels where pairs:
            return Panel(
                group: 2 * index, firstChannel: 2 * index * outputs, channels: outputs, offset: 2 * index * outputs,
                width: outputs, kernel: table.pointee.tiles[0])
        case .channels, .lanes:
            let group = strategy == .lanes ? 0 : index / perGroup
            let members = strategy == .lanes ? layer.groups == 1 ? width : layer.outChannels : outputs
            // Where the vectors are spread evenly, 5 become 3 + 2.
            let place = index % perGroup
            let share = isEven ? vectors / perGroup : table.pointee.widestTile
            let larger = isEven ? vectors % perGroup : 0
            let firstVector = place * share + min(place, larger)
            let first = firstVector * table.lanes
            let count = min(share + (place < larger ? 1 : 0), vectors - firstVector)
            // The narrower kernels are for many pixels: of one, it costs less to multiply a vector more. But from far, weights
            // without gaps are read sooner.
            let isWide = strategy == .channels && isPixel && count >= table.pointee.widestTile - 1
            let isGapless = isWide && layer.groups == 1 && layer.kernelElements * layer.elementBytes > nearWeightBytes
            let start = isDirect && !endsInPart ? min(first, members - count * table.lanes) : first
            let channels = min(count * table.lanes, members - start)
            return Panel(
                group: group, firstChannel: group * outputs + start, channels: channels,
                offset: group * vectors * table.lanes + first,
                width: isGapless ? channels : count * table.lanes,
                kernel: permutes ? table.pointee.groupTile ?? table.pointee.laneTiles[0]
                    : strategy == .lanes ? (isPixel && count == 4 ? table.pointee.pixelLanes : nil)
                        ?? table.pointee.laneTiles[count - 1]
                    : isWide ? table.pointee.pixelTile : table.pointee.tile(channels: channels),
                shortKernel: strategy == .channels && !isPixel && !pairs ? shortKernel(count, layer, table) : nil)
        case .columns:
            let group = index / perGroup
            let place = index % perGroup
            let most = table.pointee.columnTiles[4].rows
            let first = min(place * most, outputs / most * most)
            var (start, count) = (first, most)
            if stencils {
                (start, count) = (place, 1)
            } else if place >= outputs / most {
                // Up to four channels have a kernel of their own; 5, 6 and 7 become two halves.
                let rest = outputs % most
                (start, count) = rest <= 4 ? (first, rest) : place == outputs / most
                    ? (first, (rest + 1) / 2) : (first + (rest + 1) / 2, rest / 2)
            }
            let channel = group * outputs + start
            return Panel(
                group: group, firstChannel: channel, channels: count, offset: channel, width: count,
                kernel: isWide ? table.pointee.wideTiles[count - 1] : table.pointee.columnTiles[count == most ? 4 : count - 1],
                shortKernel: count == most && !isWide ? table.pointee.shortColumnTile : nil)
        }
    }
}

// What moving data costs, in vectors of multiply-adds; measured, roughly.

/// An element turned from pixels into planes, or back, while it is packed or stored,
private func turned(_ layer: Layer) -> Double { layer.isDouble ? 5 : 2.5 }
/// for a walk, to which each piece of a row adds the second, of tiles of lanes the third,
private let turnedInWalk = 1.9
private let turnedPiece = 10.0
private let turnedLane = 3.2
/// for vectors of columns,
private let turnedIntoLines = 2.0
/// and for stencils and permuted groups, which take half as long again per multiply-add.
private let turnedBySquares = 1.0
/// A pixel of fewer channels than a vector, packed or stored; the same of planes, and of pixels that are read in place.
private let pixelStart = 30.0
private let partStart = 17.0
/// An element of a tile whose stores are not neighbours.
private let scattered = 20.0
/// An element of a line stored beside those of other phases.
private let interleaved = 7.0
/// A pixel's share of a tile's beginning and end, and of the addresses of a tap.
private let tileStart = 10.0
private let tapStart = 2.5
/// A panel's start, which some pixels share, those of small images of a batch too; of an image that is packed apart from others.
private let panelStart = 800.0
private let panelPixels = 128.0
private let imageStart = 2000.0
/// How many times as long a tile of one vector takes, which has a load for each multiply-add.
private let singleVector = 1.25
/// The same of a part of a vector that is read in place: half of them lie in two lines of a cache.
private let partVector = 3.2
/// The start of a line that is packed alone; that is computed alone too.
private let lineStart = 125.0
private let singleLineStart = 360.0
/// The start of a row's piece of a joined plane.
private let joinedPiece = 25.0
/// So many channels fall into few sets of a cache: NCHW 1x1 2048->256 at 32x32 7.0 ms by columns, by channels 5.4.
private let crowdedChannels = 1024.0
/// On Intel's processors fewer do, of planes a multiple of 4 KiB apart: 672->112 at 32x32 1.89 -> 1.24 ms, 512->256 at 64x64; 384->24
/// 0.15 by columns, 0.28 by channels.
private let crowdedOnIntel = 384.0
/// The start of four rows of a stencil; of a line packed for one.
private let stencilStart = 60.0
private let stencilLine = 16.0
/// A vector of outputs that repeat their input, most of whose time is that of storing it.
private let repeated = 8.0

/// Weights of so many bytes are read from a level-2 cache, where vectors should be aligned.
private let nearWeightBytes = 2 << 20

/// The start of a phase.
private let phaseStart = 2000.0

/// Whether stencils compute the layer if vectors hold columns: rows that fill them, or that may run on, over what is written
/// later. Many channels of one input are better computed together.
private func takesStencil(_ layer: Layer, _ table: UnsafePointer<KernelTable>) -> Bool {
    let outputs = layer.outChannelsPerGroup
    // Single taps read in place are `accumulateColumns`' alone: its tiles go on from image to image and end with the row.
    // Fewer rows than a tile's would be computed several times: 1x31 on 100000 columns 346 us, by `accumulateColumns` 87.
    guard canStencil(layer), !takesPlanes(layer, table),
        layer.vertical.output >= stencilRows || layer.means.keepsRows || maySeparate(layer),
        outputs == 1 || outputs <= 4 && (layer.output.column == 1 || writesPixels(layer) && layer.vertical.output >= stencilRows)
    else { return false }
    // Where the vectors do not run on, they end with the row.
    let (columns, tile) = (layer.horizontal.output, table.pointee.stencil.vectors * table.lanes)
    return maySeparate(layer) || 4 * columns >= 3 * tile * ceilDivide(columns, tile) || runsOn(layer)
}

/// Output rows that follow each other without a gap, enough for the tiles of stencils.
private func runsOn(_ layer: Layer) -> Bool {
    let (rows, columns) = (layer.vertical.output, layer.horizontal.output)
    return (layer.output.column == 1 && layer.output.row == columns
        && (layer.outChannels == 1 || layer.output.channel == rows * columns) || writesPixels(layer))
        && rows >= stencilRows && !layer.means.accumulates && !layer.means.keepsRows && layer.activation.bounds != nil
}

/// Whether the planes of stencils are turned into pixels, a band at a time.
func writesPixels(_ layer: Layer) -> Bool {
    layer.output.channel == 1 && layer.output.column != 1 && !layer.means.accumulates
}

/// The strategy with the least work, and that work: vectors of multiply-adds.
func chooseStrategy(_ layer: Layer, _ table: UnsafePointer<KernelTable>) -> (strategy: Strategy, work: Double) {
    let outputs = layer.outChannelsPerGroup
    // Beside an axis without elements the other may be longer than memory, and what is packed of it too.
    if outputs == 0 || layer.vertical.input == 0 || layer.horizontal.input == 0 { return (.channels, 0) }
    let isStencil = takesStencil(layer, table) && (layer.input.column == 1 || layer.input.channel == 1)
        && (layer.output.column == 1 || writesPixels(layer)) && fitsColumns(layer.horizontal)
    if layer.isSpread, !isStencil { return (.columns, .infinity) }
    let lanes = Double(table.lanes)
    if repeatsInput(layer) {
        return (.channels, Double(layer.outChannels) * Double(layer.vertical.output) * Double(layer.horizontal.output)
            * Double(layer.batch) * repeated / lanes)
    }
    let channelsFirst = layer.output.column == 1 && layer.output.channel != 1
    // Phases are narrower than the output, and interleave in it.
    let hasPhases = layer.columnPhases > 1
    let columns = ceilDivide(layer.horizontal.output, layer.columnPhases)
    let filled = Double(columns) / (Double(ceilDivide(columns, table.lanes)) * lanes)
    let phases = layer.transposed ? Double(layer.vertical.stride) * Double(layer.horizontal.stride) : 1
    // Each phase that has taps packs the input anew.
    let blocks = layer.transposed
        ? Double(min(layer.vertical.stride, layer.vertical.kernel) * min(layer.horizontal.stride, layer.horizontal.kernel)) : 1
    let terms = Double(layer.inChannelsPerGroup) * Double(layer.vertical.kernel) * Double(layer.horizontal.kernel) / phases
    let pixels = max(Double(layer.vertical.output) * Double(layer.horizontal.output), 1)
    let allPixels = pixels * Double(layer.batch)
    // Bands of a layer are all computed alike, however few rows they have: so what one of them needs says what all do.
    if maySeparate(layer) || isStencil && layer.means.keepsRows && layer.output.column == 1 {
        return (.columns, Double(layer.outChannels) * terms * allPixels / lanes)
    }
    let rowsRead = min(Double(layer.vertical.input), Double(layer.vertical.output) * Double(layer.vertical.kernel))
    let linesRead = Double(layer.inChannels) * rowsRead / pixels
    let read = linesRead * Double(layer.horizontal.input)
    let stored = Double(layer.outChannels)
    let turnsInput = layer.input.channel != 1 && layer.inChannels > 1

    let vectors = ceilDivide(outputs, table.lanes)
    var byChannels = Double(layer.groups) * table.pointee.vectors(channels: outputs) * (vectors == 1 ? singleVector : 1) * terms
    // Without groups, the few channels of a kernel row's taps are neighbours.
    let tapStarts = layer.groups > 1 ? tapStart * terms / Double(layer.inChannelsPerGroup) : 0
    let panelShare = panelStart / min(allPixels, panelPixels)
    let imageShare = layer.batch > 1 ? imageStart / pixels : 0
    byChannels += Double(layer.groups * ceilDivide(vectors, table.pointee.widestTile)) * (tileStart + tapStarts + panelShare)
    if turnsInput { byChannels += turned(layer) * read }
    if channelsFirst { byChannels += stored * (hasPhases && !layer.mayTurn ? scattered : turned(layer)) }

    var byColumns = Double.infinity
    let panels = blocks * panelStart / pixels * Double(layer.groups * ceilDivide(outputs, table.pointee.columnTiles[4].rows))
    if takesPlanes(layer, table) {
        // In place, by tiles that go on from image to image; inputs that lie a plane apart come late. What is packed has tiles of
        // each image.
        let tile = table.pointee.columnTiles[4].vectors
        let images = layer.sourceColumns > 0 ? Double(layer.batch) : 1
        let rows = Double(layer.batch) / images * Double(layer.vertical.output)
        let vectors = min(rows * Double(ceilDivide(columns, table.lanes)), Double(Int32.max))
        let computed = table.pointee.shortColumnTile == nil
            ? ceilDivide(Int(vectors), tile) * tile : computedPositions(Int(vectors), tile)
        // Of many channels a multiple of 1 or 4 KiB apart, a level-2 cache keeps little from panel to panel. (What is packed is
        // not so far apart.)
        let distance = layer.sourceColumns == 0 ? layer.input.channel * layer.elementBytes : 1
        let crowding = distance % 4096 == 0 && terms >= crowdedOnIntel && shim_is_intel() != 0 ? 1.72
            : distance % 1024 == 0 && terms >= crowdedChannels ? 1.3 : 1.15
        byColumns = Double(layer.outChannels) * Double(computed) * images / allPixels
            * (outputs == 1 ? 2 : crowding) * terms
            + panels * pixels * images / (2 * allPixels)
        if layer.sourceColumns > 0 {
            byColumns += (turnedIntoLines + joinedPiece / Double(layer.sourceColumns)) * read + imageShare
        }
    } else if isStencil {
        let size = layer.vertical.kernel
        let isSmall = layer.horizontal.kernel == size && (size == 3 || size == 2 && layer.isSpread)
        let tile = isSmall || table.pointee.isNarrow(columns: columns) ? 1 : table.pointee.stencil.vectors
        let vectors = Double(ceilDivide(columns, tile * table.lanes) * tile * stencilRows)
        let rowTile = stencilStart + vectors * terms * (isSmall ? 1 : tile == 1 ? 2.8 : 2)
        let residues = Double(min(layer.horizontal.stride, layer.horizontal.kernel))
        let line = stencilLine * residues + 2 * Double(layer.horizontal.input) / lanes
        byColumns = Double(layer.outChannels) * (Double(ceilDivide(layer.vertical.output, stencilRows)) * rowTile
            + rowsRead * line) / pixels + imageShare
        let turning = layer.isDouble ? turned(layer) : turnedBySquares
        if layer.input.column != 1 { byColumns += turning * read }
        if layer.output.column != 1 { byColumns += turning * stored }
    } else if fitsColumns(layer.horizontal) {
        // One accumulator row loads a vector per multiply-add.
        byColumns = Double(layer.outChannels) / lanes / filled * (outputs == 1 ? 2.4 : 1.1) * terms
        let planes = Double(layer.transposed ? 1 : min(layer.horizontal.stride, layer.horizontal.kernel))
        byColumns += blocks * linesRead * planes * (outputs == 1 ? singleLineStart : lineStart)
        byColumns += panels + imageShare
        let turning = layer.isDouble ? turned(layer) : turnedIntoLines
        if layer.input.column != 1 { byColumns += turning * read }
        if layer.output.column != 1 { byColumns += turning * stored }
        if channelsFirst || layer.outChannels == 1, hasPhases { byColumns += interleaved * stored }
    }

    var byLanes = Double.infinity
    let permutes = canPermute(layer, table)
    if layer.groups > 1, permutes || layer.isDepthwise {
        byLanes = Double(ceilDivide(layer.outChannels, table.lanes)) * (permutes ? 1 : isPart(layer) ? partVector : 2) * terms
        let piece = layer.mayTurnLanes(table) ? 0 : canWalk(layer) || sharesNothing(layer) ? turnedPiece : turnedLane
        func turning(_ columns: Int) -> Double { permutes ? turnedBySquares : turnedInWalk + piece / Double(columns) }
        if turnsInput { byLanes += (piece > 0 ? blocks : 1) * turning(layer.horizontal.input) * read + imageShare }
        if !permutes, layer.outChannels < table.lanes {
            let packed = isPart(layer) ? 0 : blocks * linesRead / Double(layer.inChannels) * Double(layer.horizontal.input)
            // Pixels of phases are finished channel by channel where parts of a vector cannot be stored.
            let storedPixels = hasPhases && !turnsInput && !table.pointee.storesParts ? 4.0 : 1
            byLanes += (turnsInput || isPart(layer) ? partStart : pixelStart) * (packed + storedPixels)
            if !turnsInput, !isPart(layer) { byLanes += imageShare }
        }
        // A vector for each channel is the best of a few small images alone.
        if layer.isDepthwise, layer.outChannels > 4 || hasPhases && pixels >= 64, fitsColumns(layer.vertical),
            fitsColumns(layer.horizontal) { byChannels = .infinity }
        if channelsFirst { byLanes += (hasPhases && piece > 0 ? interleaved : turning(columns)) * stored }
    }
    if layer.isSpread { return (.columns, byColumns * allPixels) }
    if takesSweep(layer) { return (.lanes, byLanes * allPixels) }
    if byLanes <= byChannels, byLanes <= byColumns { return (.lanes, byLanes * allPixels) }
    return byColumns < byChannels ? (.columns, byColumns * allPixels) : (.channels, byChannels * allPixels)
}

/// The layer with zeros between the elements of its input, if that takes less time than its phases.
@inline(never)
func spread(_ layer: Layer) -> Layer? {
    guard let spread = layer.spread else { return nil }
    let (work, phaseWork) = (chooseStrategy(spread, layer.table).work, chooseStrategy(layer, layer.table).work)
    // On pixels the phases are begun, and many computed, together.
    if layer.mayTurnLanes(layer.table) { return 1.4 * work < phaseWork ? spread : nil }
    let phases = min(layer.vertical.stride, layer.vertical.kernel) * min(layer.horizontal.stride, layer.horizontal.kernel)
    return work < phaseWork + Double(phases - 1) * phaseStart ? spread : nil
}

/// Whether `accumulateWalk` computes this layer: a tap's column is the next pixel's, or the next but one's, column of another
/// tap. Of a transposed convolution that is each phase, one pixel in `stride` of the output.
private func canWalk(_ layer: Layer) -> Bool {
    let (vertical, horizontal) = (layer.vertical, layer.horizontal)
    // Taps of one chunk are at least 16: a phase's rows are shorter, or the kernel's own.
    return vertical.repetition == 1 && horizontal.repetition == 1 && layer.inChannelsPerGroup == 1
        && layer.outChannelsPerGroup == 1
        && (layer.transposed
            ? horizontal.stride % horizontal.dilation == 0
            && (horizontal.kernel <= 16 || vertical.stride == 1 && horizontal.stride == 1)
            : horizontal.stride <= (layer.table.pointee.stridedWalk == nil ? 1 : 2) && horizontal.stride <= horizontal.kernel
            && horizontal.dilation == 1)
        && !isPart(layer) && (canPair(layer) || !hasFewOutputs(layer) && !sharesNothing(layer))
        && fitsColumns(vertical) && fitsColumns(horizontal)
        && chunkTerms(vertical.kernel * horizontal.kernel) >= horizontal.kernel
}

/// Whether `accumulateSweep` can compute this layer.
private func canSweep(_ layer: Layer) -> Bool {
    let (vertical, horizontal) = (layer.vertical, layer.horizontal)
    return layer.table.pointee.sweeps[0] != nil && layer.groups > 1 && layer.isDepthwise && !layer.transposed
        && !layer.means.accumulates && layer.input.channel == 1 && layer.output.channel == 1 && layer.activation.bounds != nil
        && (layer.table.pointee.storesParts || layer.outChannels >= layer.table.lanes)
        && layer.paddingMode == .constant && layer.paddingValue == 0 && vertical.repetition == 1 && horizontal.repetition == 1
        && vertical.dilation == 1 && horizontal.dilation == 1
        && chunkTerms(vertical.kernel * horizontal.kernel) >= horizontal.kernel
}

/// Whether it does: it needs neither addresses nor tiles, but loads all that is multiplied, as a walk or a stencil does not.
/// The bounds are where the one takes as long as the other, about, in 1900 layers of real models.
private func takesSweep(_ layer: Layer) -> Bool {
    guard canSweep(layer) else { return false }
    let (vertical, horizontal) = (layer.vertical, layer.horizontal)
    let pixels = vertical.output * horizontal.output
    let taps = vertical.kernel * horizontal.kernel
    let vectors = ceilDivide(layer.outChannels, layer.table.lanes)
    // A walk of AVX2 has columns for few sums, and so loads nearly as much.
    let isWide = layer.table.pointee.storesParts
    if layer.outChannels < layer.table.lanes {
        let isFew = layer.outChannels <= 4
        let most = isFew ? 6000 : layer.outChannels <= 8 && taps > 49 ? 16000 : .max
        // A pixel's nanoseconds, and those of its channels where each becomes a plane, or tiles find their taps by addresses.
        let channels = Double(layer.outChannels * 16 / layer.table.lanes)
        let others = channels * (horizontal.stride > 1 ? 1.5 + 0.03 * Double(taps) : 0.5 + 0.021 * Double(taps))
        return pixels <= 484 && (taps <= 25 || pixels * taps <= most) || !isFew && taps <= 4 || 1.8 + 0.35 * Double(taps) <= others
    }
    let walks = canWalk(layer)
    // What is loaded for each multiply-add should lie within a cache line: of long rows in arrays as they may lie, a walk loads
    // less. Of larger images it fetches ahead what lies in pieces.
    if vertical.kernel == 1 {
        return !walks || pixels <= 300 || vectors == 1
            || (vectors % 4 == 0 || vectors == 2) && taps <= 9 && inputBytes(layer) < 8e6
    }
    if horizontal.kernel == 1 { return !walks || pixels <= 300 || !isWide }
    // Of four columns a tile, those of the border by themselves, in twice the time. Tiles of lanes go on from row to row.
    let columns = horizontal.output
    let inner = insideRange(Lattice.convolution(horizontal), 0..<horizontal.input).count
    let computed = inner < 4 ? 2 * columns : ceilDivide(inner, 4) * 4 + 2 * (columns - inner)
    let isWasteful = 10 * computed > 13 * columns
    if taps > 9, vectors >= 16 || isWide && vectors > 4 && columns < 8 && 10 * computed > 17 * columns, isWasteful,
        !walks || horizontal.stride > 1 { return false }
    // Of many vectors AVX2 sweeps three columns at once.
    if !isWide, taps > 9, horizontal.stride > 1, inner == columns, columns == 4 || columns == 8, (8..<32).contains(vectors) {
        return false
    }
    if !walks { return taps <= 49 || vectors == 1 || !isWide }
    let isThree = vertical.kernel == 3 && horizontal.kernel == 3
    if horizontal.stride > 1 { return !isThree || vectors <= 2 }
    if taps <= 4 {
        // The walk without loops takes rows of seven columns (not seven alone without a border, nor few vectors with one on both
        // sides), and one vector as well as four.
        let isWhole = inner == columns
        let prefersWalk = columns % 7 == 0 && (isWhole ? columns > 7 : columns - inner == 2 && vectors >= 4)
            || vectors > (isWhole ? 2 : 4) && vectors % 4 >= 2 && vectors * pixels >= 600
        return !isWide || !prefersWalk
    }
    if isWide {
        // Four vectors, two or one are swept at a time; of one a walk has few sums too, but loads less. A row that is a walk's
        // tile is what suits that best.
        let isTile = (0...1).contains(layer.table.pointee.walk.columns - columns)
        return taps <= (isTile ? 9 : 49)
            && (vectors == 1 ? pixels * taps <= 50_000 : (vectors == 4 || vectors == 2) && vectors * pixels <= 256)
    }
    if taps > 49 { return vectors < 128 && (vectors > 3 || inner == columns) }
    if vectors <= (isThree ? 3 : 2), !isWasteful, pixels <= 300 || !isThree && inner < columns { return true }
    return !isThree && layer.input.column * layer.elementBytes % 2048 == 0
}

/// Whether `multiplyRepeated` computes this layer: dense rows, each output of which has one term.
func repeatsInput(_ layer: Layer) -> Bool {
    let (vertical, horizontal) = (layer.vertical, layer.horizontal)
    let lanes = layer.table.lanes
    return layer.table.pointee.repeated != nil && layer.means.mayRepeat && layer.inChannels == 1
        && layer.outChannels <= lanes * layer.table.pointee.widestTile
        && horizontal.output >= lanes && layer.input.column == 1 && layer.output.channel == 1
        && layer.output.column == layer.outChannels && !layer.means.accumulates && layer.activation.bounds != nil
        && horizontal.kernel == 1 && horizontal.stride == 1 && horizontal.start == 0 && horizontal.repetition == 1
        && horizontal.output == horizontal.input
        && vertical.start == 0 && vertical.repetition == 1 && vertical.dilation == 1
        && (layer.transposed
            ? vertical.kernel <= vertical.stride && ceilDivide(vertical.output, vertical.stride) <= vertical.input
            : vertical.kernel == 1 && (vertical.output - 1) * vertical.stride < vertical.input)
}

/// Whether a walk can compute all phases of the layer together, if its pixels are read in place.
private func canPair(_ layer: Layer) -> Bool {
    let (vertical, horizontal) = (layer.vertical, layer.horizontal)
    return layer.transposed && layer.means.joinsPhases && !layer.means.accumulates && layer.activation.bounds != nil
        && vertical.stride == 2 && horizontal.stride == 2 && vertical.dilation == 1 && horizontal.dilation == 1
        && vertical.kernel == horizontal.kernel && (2...4).contains(vertical.kernel)
        && layer.table.pointee.pairWalks[vertical.kernel - 2] != nil
}

/// Whether most of a walk's tile would be computed in vain, or more be packed for it than outputs can share: 3x3 s2 on 7 times
/// 128 channels of 3x3 2.4 us, by tiles that go on from row to row and from image to image 0.8; 11x11 s2 on 512 of 13x13 32 and
/// 8. With stride 2 a walk saves few loads, so that of AVX-512 it takes less than that.
private func hasFewOutputs(_ layer: Layer) -> Bool {
    // Of one phase.
    let rows = layer.transposed ? ceilDivide(layer.vertical.output, layer.vertical.stride) : layer.vertical.output
    let columns = ceilDivide(layer.horizontal.output, layer.columnPhases)
    let taps = layer.phaseTaps
    let table = layer.table
    // On AVX2 3x3 on 7 times 33 channels of 2x2 took 1.6 times as long.
    if layer.transposed, layer.input.channel == 1, !table.pointee.storesParts { return false }
    if columns <= table.pointee.walk.columns / 2 || taps > walkTaps && rows * columns <= 36 { return true }
    if layer.transposed, layer.horizontal.stride > 1 { return false }
    let isStrided = layer.horizontal.stride == 2
    // Of planes a walk packs each vector of channels apart: 3x3 s2 on 512 channels of 14x14 53 us, so 32; 5x5 on 576 of 7x7 46
    // and 34.
    if layer.input.channel != 1 {
        return taps <= walkTaps && (isStrided || table.pointee.storesParts && taps > 9 && rows * columns <= 100
            && layer.outChannels >= 12 * table.lanes)
    }
    // What a walk reads and stores at once lies in few sets of a level-1 cache where pixels are a multiple of these bytes apart.
    // With stride 1 that alone is not worth it, but 5x5 on 1024 channels of 13x13, of whose tiles a walk computes 140 pixels for
    // 81, takes 83 us, so 57. AVX2 gains with stride 2 and kernels for which there is no walk without loops: 5x5 s2 on 1024 of
    // 32x32 604 us, so 341.
    let pitch = layer.input.column * layer.elementBytes
    guard isStrided || !layer.transposed && taps <= 25 && pitch % 2048 == 0, !layer.isDouble,
        table.pointee.storesParts || isStrided && taps > 9 && pitch % 512 == 0
    else { return false }
    // By tiles of lanes: those of the inside, and of its sides and corners, where each position has taps of its own.
    let step = table.pointee.laneTiles[min(ceilDivide(layer.outChannels, table.lanes), 4) - 1].rows
    let innerRows = insideRange(Lattice.convolution(layer.vertical), 0..<layer.vertical.input).count
    let innerColumns = insideRange(Lattice.convolution(layer.horizontal), 0..<layer.horizontal.input).count
    let (sideRows, sideColumns) = (rows - innerRows, columns - innerColumns)
    let (high, wide) = (ceilDivide(innerRows, step), ceilDivide(innerColumns, step))
    let inside = endsRows(innerColumns, step) ? innerRows * wide : ceilDivide(innerRows * innerColumns, step)
    let tiles = step * (2 + inside + sideRows * wide + sideColumns * (high + sideRows))
    let reach = table.pointee.walk.columns
    let walked = ceilDivide(columns, reach) * reach * ceilDivide(rows, 2) * 2
    let slowness = !isStrided ? 1 : pitch % 2048 == 0 ? 1.5 : pitch % 512 == 0 ? 1.2 : 1
    return Double(walked) * slowness > Double(tiles) * (1.1 + Double(min(taps, walkTaps)) / 150)
}

/// Whether pixels of less than a vector are read in place by kernels that read parts of a vector; a walk packs them. Of large
/// kernels a transposed layer has more taps outside than a row of tiles can leave out.
private func isPart(_ layer: Layer) -> Bool {
    layer.outChannels < layer.table.lanes && layer.input.channel == 1 && layer.table.pointee.storesParts
        && (!layer.transposed || layer.phaseTaps <= 9)
}

/// Whether outputs side by side (of a phase) read no input together: tiles that take four vectors at a time are faster than a
/// walk. 2x2 s2 on 512 channels of 15x15, padded, 15 us, so 6.8.
private func sharesNothing(_ layer: Layer) -> Bool {
    let (vertical, horizontal) = (layer.vertical, layer.horizontal)
    if layer.transposed {
        return horizontal.stride >= max(horizontal.kernel, 2) && layer.outChannels >= 4 * layer.table.lanes
            && layer.table.pointee.storesParts
    }
    return horizontal.stride == 2 && horizontal.kernel == 2 && vertical.stride >= vertical.kernel
}

/// Whether `accumulateGroups` computes this layer: vectors of whole groups, with an output channel for each input.
private func canPermute(_ layer: Layer, _ table: UnsafePointer<KernelTable>) -> Bool {
    let inputs = layer.inChannelsPerGroup
    return table.pointee.groupTile != nil && inputs > 1 && inputs <= 8 && inputs == layer.outChannelsPerGroup
        && table.lanes % inputs == 0
}

extension Layer {
    /// The same of several groups in whole vectors, which are read in place where pixels are dense.
    var permutesWhole: Bool { groups > 1 && canPermute(self, table) && outChannels % table.lanes == 0 }
}

/// Whether the strategy `columns` can read the input where it lies: single taps that meet no border, neighbouring columns, and
/// rows as long as a vector. The last of a row is then moved back over the one before, so an output that is added to may not be
/// such a layer's.
func readsColumns(_ layer: Layer, _ table: UnsafePointer<KernelTable>) -> Bool {
    takesPlanes(layer, table) && layer.sourceColumns == 0
}

/// The same for planes that are packed, or read where they lie.
func takesPlanes(_ layer: Layer, _ table: UnsafePointer<KernelTable>) -> Bool {
    layer.hasSingleTaps && (layer.input.column == 1 || layer.sourceColumns > 0) && layer.output.column == 1
        && !layer.means.accumulates && layer.horizontal.output >= table.lanes
}

/// Of the input of one image.
func inputBytes(_ layer: Layer) -> Double {
    Double(layer.vertical.input) * Double(layer.horizontal.input) * Double(layer.inChannels) * Double(layer.elementBytes)
}

/// Whether groups are packed, each apart from the others: with their pixels a whole image's channels apart, what the taps share
/// of a large image would not stay in a level-2 cache. It pays where an element is multiplied with four vectors at least: 32
/// groups, 512 channels of 56x56 4.2 -> 3.2 ms, but with stride 2 0.7 -> 0.9. Not on Intel's processors: 3.7 -> 4.2.
func hasFarGroups(_ layer: Layer, _ table: UnsafePointer<KernelTable>) -> Bool {
    let (vertical, horizontal) = (layer.vertical, layer.horizontal)
    let read = Double(vertical.input) * Double(horizontal.input)
    let products = Double(vertical.output) * Double(horizontal.output) * Double(vertical.kernel) * Double(horizontal.kernel)
    return layer.groups > 1 && !layer.transposed && inputBytes(layer) >= Double(4 << 20) && shim_is_intel() == 0
        && products * Double(ceilDivide(layer.outChannelsPerGroup, table.lanes)) >= 4 * read
}

/// Whether neighbouring output pixels of a bordered copy may share a vector, as groups that `accumulateGroups` permutes.
func mayShareVectors(_ layer: Layer, _ table: UnsafePointer<KernelTable>) -> Bool {
    canPermute(layer, table) && layer.groups == 1 && layer.inChannels < table.lanes && !layer.transposed
        && layer.horizontal.stride == 1 && layer.horizontal.phases == 1 && layer.output.channel == 1
        && layer.output.column == layer.outChannels
}

/// Whether an output may read what is not inside the input.
func meetsBorder(_ layer: Layer) -> Bool {
    func meets(_ axis: Axis) -> Bool {
        axis.start > 0 || axis.repetition > 1
            || (axis.output - 1) * axis.stride + (axis.kernel - 1) * axis.dilation - axis.start >= axis.input
    }
    return layer.transposed || meets(layer.vertical) || meets(layer.horizontal)
}

/// Whether a row's tiles are computed in one call (`accumulateStrip`), for a panel of so many output channels: where sums are so
/// short that beginning and end of a tile take as long as many a term; of one vector, whose other way are twins, still shorter.
/// Half vectors gain more.
func suitsStrips(_ table: UnsafePointer<KernelTable>, channels: Int, taps: Int, inputs: Int) -> Bool {
    taps &* inputs <= (channels > table.lanes || table.pointee.twinTile == nil ? 200 : taps > 1 ? 100 : 24)
        && table.pointee.halfTile(channels: channels) == nil
}

/// Whether a small image is copied with its border, if outputs meet it, so that all tiles (`TileShape`) read at the same
/// distances: where the addresses of other tiles take as long as their sums, or there is one vector of them.
@inline(never)
func takesBorder(_ layer: Layer, _ table: UnsafePointer<KernelTable>, pixelsPerVector: Int) -> Bool {
    let (rows, columns) = (layer.vertical.output, layer.horizontal.output / layer.columnPhases)
    let vectors = ceilDivide(layer.outChannelsPerGroup, table.lanes)
    let isAlone = vectors == 1 && layer.groups == 1 && pixelsPerVector == 1 && table.pointee.twinTile != nil
    guard !layer.means.accumulates, layer.horizontal.output % (layer.columnPhases * pixelsPerVector) == 0 else { return false }
    let step = pixelsPerVector > 1 ? largestTileSide : table.pointee.tiles[min(vectors, table.pointee.widestTile) - 1].rows
    let tiles = TileShape(covering: rows, columns / pixelsPerVector, step: step).count
    func length(_ axis: Axis) -> Double {
        layer.transposed
            ? Double(axis.input) + 2 * Double((axis.kernel - 1) * axis.dilation / axis.stride)
            : Double(axis.output - 1) * Double(axis.stride) + Double((axis.kernel - 1) * axis.dilation + 1)
    }
    let phases = layer.transposed ? Double(layer.vertical.stride) * Double(layer.horizontal.stride) : 1
    let terms = Double(layer.inChannelsPerGroup) * Double(layer.vertical.kernel) * Double(layer.horizontal.kernel) / phases
    let pixels = length(layer.vertical) * length(layer.horizontal)
    let read = Double(layer.vertical.input) * Double(layer.horizontal.input)
    // Rows so long are strips, which have few addresses.
    let makesStrips = columns >= longRow && pixelsPerVector == 1 && table.pointee.strips[0] != nil && layer.output.channel == 1
        && layer.activation.bounds != nil && layer.groups == 1 && suitsStrips(
            table, channels: min(layer.outChannels, table.pointee.widestTile * table.lanes), taps: layer.phaseTaps,
            inputs: layer.inChannels)
    // Of so few, addresses are most of the time.
    let areFew = layer.groups == 1 && terms * Double(vectors) <= fewTerms
    let saves = Double(rows * columns) * terms * Double(vectors) >= copiedOften * pixels * Double(layer.inChannels)
    return rows * columns >= 2 * largestTileSide
        && Double(rows * columns) >= (areFew ? 0.55 : 0.8) * Double(tiles) * Double(step * pixelsPerVector)
        && (meetsBorder(layer) ? pixels > read && pixels <= (rows == 1 ? borderOfRow : 2) * read
            : terms > Double(layer.inChannelsPerGroup) && inputBytes(layer) * Double(layer.batch) <= twinBytes)
        && (areFew && saves && !makesStrips
            || pixels * Double(layer.inChannels) * Double(layer.elementBytes) <= (isAlone ? twinBytes : borderedBytes)
            && (isAlone || terms * Double(vectors) <= borderedTerms))
}

/// The strategy `columns`, and a walk over packed input, lay out the border and all residues of the stride. A kernel dilated far
/// beyond the image, or a stride far beyond the kernel, would make that most of the work.
func fitsColumns(_ axis: Axis) -> Bool {
    (axis.kernel - 1) * axis.dilation <= 2 * axis.input + 64 && axis.stride <= 16
}

/// A kernel of more taps than this walks over packed input: the lines of an image's rows, a pixel's channels apart, fall into few
/// sets of the cache.
private let walkTaps = 49

/// An image that is copied with its border leaves a level-1 cache room, and an output pixel has so few vectors of multiply-adds.
private let borderedBytes = 16e3
private let borderedTerms = 400.0
/// Of so few, of any image: bands of it, whose elements are each multiplied with as many vectors. 3x3 s2 3->32, 8 of 224x224,
/// 1.1 ms, so 1.4. (Not of groups: their packed pixels lie apart, 3x3 of 32 groups 1.25 times as long.)
let fewTerms = 160.0
private let copiedOften = 6.0
/// Of shorter rows a strip computes too much twice: 3x3 8->32 at 28x28 23.7 us, so 27.4.
private let longRow = 64
/// A copy of a single row has so many times its columns. With more border, tiles that leave out the taps outside are faster: 2x3,
/// dilation 1x22, 16->1 at 2x100 1.85 us, so 2.04; dilation 1x52 1.23 and 2.25.
private let borderOfRow = 4.0 / 3
/// The same of one vector, whose tiles are twins wherever they share addresses: of larger images most are so anyway, and what is
/// read in place is fetched ahead instead.
private let twinBytes = 400e3
