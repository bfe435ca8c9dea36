import CConvolution
import CConvolutionShims
import ConvolutionKernels

// The kernel gradient of a 3x3 layer by Winograd's algorithm, of floats: tiles of the input and of the output gradient are
// transformed to 36 points each, multiplied there channel by channel and added up over all tiles; the totals make the nine taps.

/// Elements of transformed tiles and sums that an item works on, about as many as a level-2 cache holds.
private let itemElements = 3 << 18

/// Tiles whose products form one chain of multiply-adds, at most; of so many each are transformed together.
private let longestChunk = 64

/// Rows of a block of sums, at most: with the chunk's elements a level-1 cache holds them, point by point.
private let blockRows = 32

extension Layer {
    /// Whether the caller permits the algorithm, and it is faster: for this convolution, whose kernel gradient is wanted.
    var takesWinogradGradient: Bool {
        guard means.permitsWinograd, !isDouble, vertical.takesWinograd, horizontal.takesWinograd,
            min(inChannelsPerGroup, outChannelsPerGroup) >= 16
        else { return false }
        // Beside 36 products per tile, what the transform of the totals takes.
        let tiles = Double(batch) * Double(Tiling(self).count)
        let pixels = Double(batch) * Double(vertical.output) * Double(horizontal.output)
        return (tiles * 36 + 200) * 1.7 <= pixels * 9
    }
}

extension Tiling {
    /// Of a convolution with stride 1.
    fileprivate init(_ layer: Layer) {
        self.init(.convolution(layer.vertical), .convolution(layer.horizontal), side: winogradSide)
    }
}

/// The plan of one call. Its items are pairs of input and output channels, each with the sums of its own.
struct WinogradGradientPlan {
    private var layer: Layer
    private var table: UnsafePointer<KernelTable>
    private var tiling: Tiling
    /// All tiles as one row of pixels: a band is a chunk.
    private var bands: GradientBands
    /// Vectors of channels of an item.
    private var inVectors = 0
    private var outVectors = 0
    private var inChunks = 1
    private var outChunks = 1
    var items: Int { layer.groups * inChunks * outChunks }

    /// From tile to tile and from point to point of the transformed tensors.
    private var inPitch = 0
    private var outPitch = 0
    private var inPointPitch = 0
    private var outPointPitch = 0
    private var patchPitch = 0
    /// A block of an item's sums is `[36][rows][lanes]`, of some lefts, the channels of the input, and a panel of vectors.
    private var blockLefts = 0
    private var leftChunks = 1
    private var panels = 1
    /// Of the largest block, for each point.
    private var blockElements = 0
    private var blocks: Int { leftChunks * panels }
    /// Elements of the sums of an item: those of its blocks, or of one that is finished at once.
    private var sums = 0

    /// Byte offsets into one thread's scratch memory.
    private var inputAt = 0
    private var gradientAt = 0
    private var sumsAt = 0
    private var tapsAt = 0
    private var patchAt = 0
    private var scratchAt = 0
    private var outsideAt = 0
    private var addressesAt = 0
    private(set) var bytes = 0

    /// Divides the channels so that the threads end soonest, in items whose work a cache holds, or as small ones as a limit of
    /// the workspace demands.
    init(_ layer: Layer, _ table: UnsafePointer<KernelTable>) throws(Failure) {
        self.layer = layer
        self.table = table
        tiling = Tiling(layer)
        let tiles = try times(layer.batch, tiling.count, "tiles")
        bands = GradientBands(batch: 1, height: 1, width: tiles, longestChunk: longestChunk)
        func halvings(_ count: Int) -> UnfoldFirstSequence<Int> {
            sequence(first: count) { $0 == 1 ? nil : ceilDivide($0, 2) }
        }
        let threads = threadsAvailable(requested: layer.threads)
        var best: (time: Double, ins: Int, outs: Int)?
        for ins in halvings(ceilDivide(layer.inChannelsPerGroup, table.lanes)) {
            for outs in halvings(ceilDivide(layer.outChannelsPerGroup, table.lanes)) {
                (inVectors, outVectors) = (ins, outs)
                try setItems()
                let elements = bands.pixels * (inPitch + outPitch) * 36 + sums
                let isSmallest = ins == 1 && outs == 1
                let fits = elements <= itemElements && bytes <= layer.means.workspaceLimit
                guard fits || isSmallest && best == nil else { continue }
                let time = itemTime(tiles: Double(tiles)) * Double(ceilDivide(items, threads))
                if best.map({ time < $0.time }) ?? true { best = (time, ins, outs) }
            }
        }
        guard let best else { return }
        (inVectors, outVectors) = (best.ins, best.outs)
        try setItems()
    }

    /// Half cycles for each tile, about: products, the transforms, and a share of that of the totals.
    private func itemTime(tiles: Double) -> Double {
        Double(inPitch * outVectors) * (36 + 200 / tiles) + Double(inVectors * 350 + outVectors * 250)
    }

    private mutating func setItems() throws(Failure) {
        let (size, lanes) = (layer.elementBytes, table.lanes)
        inChunks = ceilDivide(ceilDivide(layer.inChannelsPerGroup, lanes), inVectors)
        outChunks = ceilDivide(ceilDivide(layer.outChannelsPerGroup, lanes), outVectors)
        (inPitch, outPitch) = (inVectors * lanes, outVectors * lanes)
        // An odd number of cache lines from point to point, and from pixel to pixel of a copied tile, as in `winogradDraft`.
        func pitch(_ elements: Int) -> Int { (ceilDivide(elements * size, 64) | 1) * 64 / size }
        (inPointPitch, outPointPitch) = (pitch(bands.pixels * inPitch), pitch(bands.pixels * outPitch))
        patchPitch = pitch(max(inPitch, outPitch))
        leftChunks = ceilDivide(inPitch, blockRows)
        blockLefts = ceilDivide(inPitch, leftChunks)
        panels = ceilDivide(outVectors, table.pointee.widestTile)
        // The last kernel may compute more rows.
        blockElements = (blockLefts + largestTileSide) * ceilDivide(outVectors, panels) * lanes
        sums = try times(bands.isSingle ? 1 : blocks, 36 * blockElements, "the sums")
        bytes = 0
        func place(_ elements: Int, of size: Int = 4) throws(Failure) -> Int {
            let start = bytes
            bytes = try plus(start, aligned(times(elements, size, "the workspace")), "the workspace")
            return start
        }
        inputAt = try place(36 * inPointPitch)
        gradientAt = try place(36 * outPointPitch)
        sumsAt = try place(times(sums, bands.isBlocked ? 3 : 1, "the sums"))
        tapsAt = try place(9 * blockElements)
        patchAt = try place(36 * patchPitch)
        scratchAt = try place(36 * lanes)
        outsideAt = try place(max(inPitch, outPitch))
        addressesAt = try place(36, of: MemoryLayout<UnsafeRawPointer>.stride)
    }

    /// Some of an item's sums.
    private struct GradientBlock {
        var left: Int
        var lefts: Int
        var firstLane: Int
        var kernel: TileKernel
    }

    /// nil: that of an item which has not so many channels.
    @inline(never)
    private func block(_ index: Int, ins: Int, vectors: Int) -> GradientBlock? {
        let (panel, left) = (index / leftChunks, index % leftChunks * blockLefts)
        let first = outVectors * panel / panels
        let end = min(outVectors * (panel + 1) / panels, vectors)
        if left >= ins || first >= end { return nil }
        return GradientBlock(
            left: left, lefts: min(blockLefts, ins - left), firstLane: first * table.lanes,
            kernel: table.pointee.outerTiles[end - first - 1])
    }

    /// One item of work on one thread.
    func run(
        _ item: Int, image: UnsafeRawPointer, points: UnsafeRawPointer, _ workspace: UnsafeMutableRawPointer,
        to result: UnsafeMutableRawPointer
    ) {
        let (lanes, strides) = (table.lanes, layer.kernelStrides)
        let (firstIn, firstOut) = (item % inChunks * inPitch, item / inChunks % outChunks * outPitch)
        let group = item / inChunks / outChunks
        let (allIns, allOuts) = (layer.inChannelsPerGroup, layer.outChannelsPerGroup)
        let (ins, outs) = (min(inPitch, allIns - firstIn), min(outPitch, allOuts - firstOut))
        func memory(_ offset: Int) -> UnsafeMutablePointer<Float> { (workspace + offset).assumingMemoryBound(to: Float.self) }
        let outside = memory(outsideAt)
        var source = TileSource<Float>(
            tensor: image.assumingMemoryBound(to: Float.self) + (group * allIns + firstIn) * layer.input.channel,
            strides: layer.input, rows: layer.vertical.input, columns: layer.horizontal.input, mode: layer.paddingMode,
            outside: outside, channels: ins, side: winogradSide, transform: table.pointee.transformInput,
            elements: layer.elements, lanes: lanes,
            readsDirectly: layer.input.channel == 1 && ins % lanes == 0, channelPitch: ceilDivide(ins, lanes) * lanes,
            pointPitch: inPointPitch, patchPitch: patchPitch, fetches: hasLargeTensors(layer),
            addresses: (workspace + addressesAt).assumingMemoryBound(to: UnsafePointer<Float>.self), scratch: memory(scratchAt),
            patch: memory(patchAt))
        let input = source
        // Output gradients, beyond which there are zeros.
        source.tensor = points.assumingMemoryBound(to: Float.self) + (group * allOuts + firstOut) * layer.output.channel
        source.strides = layer.output
        (source.rows, source.columns, source.mode) = (layer.vertical.output, layer.horizontal.output, .constant)
        source.channels = outs
        source.side = winogradOutputs
        source.transform = table.pointee.transformOutputGradient ?? table.pointee.transformInput
        source.readsDirectly = layer.output.channel == 1 && outs % lanes == 0
        let vectors = ceilDivide(outs, lanes)
        source.channelPitch = vectors * lanes
        source.pointPitch = outPointPitch
        var tilingOfPoints = tiling
        tilingOfPoints.vertical.lattice.offsetStart = 0
        tilingOfPoints.horizontal.lattice.offsetStart = 0

        let sums = memory(sumsAt)
        let target = result.assumingMemoryBound(to: Float.self)
            + (group * strides.group + firstIn * strides.input + firstOut * strides.output)
        bands.addUp(in: sums, count: self.sums, layer.elements) { band, isFirst in
            outside.update(repeating: Float(layer.paddingValue), count: inPitch)
            transformTiles(input, tiling, band.columns.lowerBound, band.columns.count, to: memory(inputAt))
            outside.update(repeating: 0, count: outPitch)
            transformTiles(source, tilingOfPoints, band.columns.lowerBound, band.columns.count, to: memory(gradientAt))
            for index in 0..<blocks {
                guard let block = block(index, ins: ins, vectors: vectors) else { continue }
                let blockSums = bands.isSingle ? sums : sums + index * 36 * blockElements
                multiply(
                    block, tiles: band.columns.count, memory(inputAt), pitch: input.channelPitch, memory(gradientAt),
                    pitch: source.channelPitch,
                    (workspace + addressesAt).assumingMemoryBound(to: UnsafeRawPointer.self), to: blockSums, isFirst: isFirst)
                if bands.isSingle { finish(block, blockSums, outs: outs, workspace, to: target) }
            }
        }
        for index in 0..<blocks where !bands.isSingle {
            guard let block = block(index, ins: ins, vectors: vectors) else { continue }
            finish(block, sums + index * 36 * blockElements, outs: outs, workspace, to: target)
        }
    }

    /// A block's products at all points.
    private func multiply(
        _ block: GradientBlock, tiles: Int, _ input: UnsafePointer<Float>, pitch inPitch: Int, _ gradient: UnsafePointer<Float>,
        pitch outPitch: Int, _ runs: UnsafeMutablePointer<UnsafeRawPointer>, to sums: UnsafeMutablePointer<Float>,
        isFirst: Bool
    ) {
        let width = block.kernel.vectors &* table.lanes
        (runs[0], runs[1]) = (UnsafeRawPointer(input + block.left), UnsafeRawPointer(gradient + block.firstLane))
        var arguments = OuterProductArguments(
            lefts: UnsafePointer(runs), rights: UnsafePointer(runs + 1), leftOffset: 0, rightOffset: 0, leftPitch: inPitch,
            rightPitch: outPitch, segments: 1, length: tiles, segmentsPerChunk: 1, tile: sums, tilePitch: width,
            continues: !isFirst)
        for point in 0..<36 {
            arguments.leftOffset = point &* inPointPitch
            arguments.rightOffset = point &* outPointPitch
            var rest = block.lefts
            while rest > 0 {
                let kernel = table.outerTile(block.kernel, rest: rest)
                withUnsafePointer(to: &arguments) { kernel.accumulate($0) }
                arguments.leftOffset += kernel.rows
                arguments.tile += kernel.rows &* width &* layer.elementBytes
                rest &-= kernel.rows
            }
        }
    }

    /// Rows of a block's sums.
    private func rows(_ block: GradientBlock) -> Int {
        var rows = 0
        while rows < block.lefts { rows += table.outerTile(block.kernel, rest: block.lefts - rows).rows }
        return rows
    }

    /// A block's totals to the taps, and those to the result or added to it.
    private func finish(
        _ block: GradientBlock, _ sums: UnsafePointer<Float>, outs: Int, _ workspace: UnsafeMutableRawPointer,
        to result: UnsafeMutablePointer<Float>
    ) {
        let strides = layer.kernelStrides
        let taps = (workspace + tapsAt).assumingMemoryBound(to: Float.self)
        let width = block.kernel.vectors * table.lanes
        let pitch = rows(block) * width
        let arguments = WinogradTapArguments(
            sums: sums, taps: taps, pitch: pitch, scratch: (workspace + scratchAt).assumingMemoryBound(to: Float.self))
        withUnsafePointer(to: arguments) { table.pointee.transformTaps?($0) }
        let target = result + (block.left * strides.input + block.firstLane * strides.output)
        let lanes = min(width, outs - block.firstLane)
        let accumulates = layer.means.accumulates
        // Where taps are neighbours in the array, lanes are turned. The first tap is the last of a flipped kernel.
        if layer.torchKernel, !accumulates {
            for row in 0..<block.lefts {
                layer.elements.packPixels(
                    from: taps + (row * width + (layer.flipKernel ? 8 * pitch : 0)), columnStride: 1,
                    channelStride: layer.flipKernel ? -pitch : pitch, columns: lanes, channels: 9, pixelPitch: strides.output,
                    to: target + row * strides.input)
            }
            return
        }
        for tap in 0..<9 {
            let place = target + layer.kernelIndex(row: tap / 3, column: tap % 3, input: 0, output: 0, group: 0)
            for row in 0..<block.lefts {
                let (line, values) = (place + row * strides.input, taps + (tap * pitch + row * width))
                if !accumulates {
                    copyLine(values, count: lanes, to: line)
                    continue
                }
                for lane in 0..<lanes { line[lane * strides.output] += values[lane] }
            }
        }
    }
}
