import CConvolutionShims

/// The kernels of one element type on one tier. Adding a tier means filling one of these per type in a small file. They are
/// static data, and pointed to: too long to be made anew for each plan, and handed about on a small stack.
public struct KernelTable {
    /// Scalars per vector.
    public var lanes: Int
    /// Kernels of 1, 2, 3 and 4 vectors of output channels; the last is the widest that this tier has (of `tiles` registers for),
    /// and may repeat one before it. `tiles` broadcast the input, `laneTiles` do not.
    public var tiles: InlineArray<4, TileKernel>
    public var laneTiles: InlineArray<4, TileKernel>
    /// As the widest of `laneTiles`, for one pixel.
    public var pixelLanes: TileKernel?
    /// As the second of `tiles`, for two groups of one vector each.
    public var pairTile: TileKernel?
    /// The second and third of `tiles` for panels that fill no more than half of their last vector, where the tier needs less
    /// time for them.
    public var halfTiles: InlineArray<2, Kernel?>
    /// Two tiles of the first of `tiles` at once, of pixels `TileArguments.groupPitch` and `outputPitch` apart: the sums of one
    /// are too few to keep the multiply-add units busy. nil where the tier has no registers for it.
    public var twinTile: Kernel?
    /// `accumulateStrip` of as many vectors as the first to the fourth of `tiles`, and of as many pixels, or the first of more.
    public var strips: InlineArray<4, TileKernel?>
    /// As the widest of `tiles`, for one pixel.
    public var pixelTile: TileKernel
    /// As the second, third and fourth of `tiles`, for one pixel less, so that tiles of both kinds make up numbers of pixels that
    /// those do not divide.
    public var shortTiles: InlineArray<3, TileKernel?>
    /// `accumulateGroups` of one vector, where the tier has a permutation of any lanes.
    public var groupTile: TileKernel?
    /// As `tiles`: of `OuterProductArguments`. Beside each there may be one of as many vectors: of fewer rows, or of nine, three
    /// taps of three channels.
    public var outerTiles: InlineArray<4, TileKernel>
    public var otherOuterTiles: InlineArray<4, TileKernel?>
    /// As the first of `outerTiles`, for three taps of a kernel row.
    public var tapRowTile: TileKernel?
    /// For kernel gradients of few channels: of `PlaneProductArguments`.
    public var planes: Kernel
    /// For kernel gradients of many groups: of `TapGradientArguments`.
    public var tapGradients: Kernel
    /// The same for a step of 1 and 2 addresses, where the tier has registers for that.
    public var slidingTapGradients: InlineArray<2, Kernel?>
    /// For depthwise layers with a stride of 1 and 2, without addresses.
    public var depthwiseGradients: InlineArray<2, Kernel?>
    /// The same for two vectors at once.
    public var depthwiseGradientPairs: InlineArray<2, Kernel?>
    /// Kernels for neighbouring pixels that read 1 input column apart, and 2 where the tier has one.
    public var walk: WalkKernel
    public var stridedWalk: WalkKernel?
    /// `accumulatePairs` for kernels of 2x2 to 4x4, where the tier has them.
    public var pairWalks: InlineArray<3, WalkKernel?>
    /// `accumulateSweep` of 1, 2 and 4 vectors, where the tier has it, and of 1 vector and 8 columns.
    public var sweeps: InlineArray<4, Kernel?>
    /// Of the most vectors that this tier has registers for.
    public var stencil: StencilKernel
    /// For `NarrowStencilArguments`: kernels of any size; of 3x3 for output rows 1 and 2 input rows apart, and of 2x2 for 1.
    public var narrowStencil: Kernel
    public var smallStencils: InlineArray<3, Kernel?>
    public var widestTile: Int
    /// All kernels of output channels can finish a panel whose last vector is partial (`TileArguments.lastMask`), and read no more
    /// than there is of it.
    public var storesParts: Bool
    /// `tiles`, which only store it, can.
    public var tilesStoreParts: Bool
    /// Kernels of 1, 2, 3, 4 and the most output channels, over vectors of columns. The last may repeat the fourth.
    public var columnTiles: InlineArray<5, TileKernel>
    /// As the last of them, over a vector less: tiles of both make up rows that those do not divide.
    public var shortColumnTile: TileKernel?
    /// Kernels of 1 to 4 output channels over vectors that follow each other in one row, or `columnTiles` again.
    public var wideTiles: InlineArray<4, TileKernel>
    /// `turnBlocks`, where the tier has vectors of that length.
    public var turn: Kernel?
    /// `copyVectors`, where the tier has vectors of more than 16 bytes.
    public var copy: Kernel?
    /// `multiplyRepeated`, where the tier permutes; nil for doubles.
    public var repeated: Kernel?
    public var layOutAxis: Kernel
    public var layOutRuns: @convention(c) (UnsafeMutableRawPointer) -> Void
    public var finish: Kernel
    public var finishColumns: Kernel
    public var shiftedSums: Kernel
    public var transformInput: Kernel
    public var transformOutput: Kernel
    /// nil: not for doubles.
    public var transformSmallInput: Kernel?
    public var transformSmallOutput: Kernel?
    public var transformOutputGradient: Kernel?
    public var transformTaps: Kernel?
    /// `accumulatePointRow`, where the tier has registers for it.
    public var pointRow: Kernel?
    public var gatheredColumns: Kernel
    /// nil: this tier has no such instruction.
    public var permutedColumns: Kernel?
    /// nil: not for doubles, nor without permuting.
    public var doubledRows: Kernel?
    public var resampledPixels: Kernel
    public var blendedPixels: Kernel
    public var blendedRows: Kernel
    /// nil: the tier below has shorter vectors, which suit it better.
    public var blendedRuns: Kernel?

    @inlinable @inline(__always)
    public init(
        lanes: Int, tiles: InlineArray<4, TileKernel>, pixelTile: TileKernel,
        shortTiles: InlineArray<3, TileKernel?> = [nil, nil, nil], pairTile: TileKernel? = nil, twinTile: Kernel? = nil,
        halfTiles: InlineArray<2, Kernel?> = [nil, nil], strips: InlineArray<4, TileKernel?> = [nil, nil, nil, nil],
        laneTiles: InlineArray<4, TileKernel>, pixelLanes: TileKernel? = nil,
        groupTile: TileKernel?, outerTiles: InlineArray<4, TileKernel>,
        otherOuterTiles: InlineArray<4, TileKernel?> = [nil, nil, nil, nil],
        tapRowTile: TileKernel? = nil, planes: @escaping Kernel, tapGradients: @escaping Kernel,
        slidingTapGradients: InlineArray<2, Kernel?> = [nil, nil], depthwiseGradients: InlineArray<2, Kernel?> = [nil, nil],
        depthwiseGradientPairs: InlineArray<2, Kernel?> = [nil, nil],
        walk: WalkKernel, stridedWalk: WalkKernel? = nil, pairWalks: InlineArray<3, WalkKernel?> = [nil, nil, nil],
        sweeps: InlineArray<4, Kernel?> = [nil, nil, nil, nil], stencil: StencilKernel, narrowStencil: @escaping Kernel,
        smallStencils: InlineArray<3, Kernel?>, widestTile: Int,
        storesParts: Bool = false, tilesStoreParts: Bool = false, columnTiles: InlineArray<5, TileKernel>,
        shortColumnTile: TileKernel? = nil, wideTiles: InlineArray<4, TileKernel>, turn: Kernel? = nil, copy: Kernel? = nil,
        repeated: Kernel? = nil, layOutAxis: @escaping Kernel,
        layOutRuns: @escaping @convention(c) (UnsafeMutableRawPointer) -> Void,
        finish: @escaping Kernel, finishColumns: @escaping Kernel, shiftedSums: @escaping Kernel,
        transformInput: @escaping Kernel, transformOutput: @escaping Kernel, transformSmallInput: Kernel?,
        transformSmallOutput: Kernel?, transformOutputGradient: Kernel?, transformTaps: Kernel?, pointRow: Kernel? = nil,
        gatheredColumns: @escaping Kernel, permutedColumns: Kernel?, doubledRows: Kernel?, resampledPixels: @escaping Kernel,
        blendedPixels: @escaping Kernel, blendedRows: @escaping Kernel, blendedRuns: Kernel?
    ) {
        self.lanes = lanes
        self.tiles = tiles
        self.pixelTile = pixelTile
        self.shortTiles = shortTiles
        self.pairTile = pairTile
        self.twinTile = twinTile
        self.halfTiles = halfTiles
        self.strips = strips
        self.laneTiles = laneTiles
        self.pixelLanes = pixelLanes
        self.groupTile = groupTile
        self.outerTiles = outerTiles
        self.otherOuterTiles = otherOuterTiles
        self.tapRowTile = tapRowTile
        self.planes = planes
        self.tapGradients = tapGradients
        self.slidingTapGradients = slidingTapGradients
        self.depthwiseGradients = depthwiseGradients
        self.depthwiseGradientPairs = depthwiseGradientPairs
        self.walk = walk
        self.stridedWalk = stridedWalk
        self.pairWalks = pairWalks
        self.sweeps = sweeps
        self.stencil = stencil
        self.narrowStencil = narrowStencil
        self.smallStencils = smallStencils
        self.widestTile = widestTile
        self.storesParts = storesParts
        self.tilesStoreParts = tilesStoreParts || storesParts
        self.columnTiles = columnTiles
        self.shortColumnTile = shortColumnTile
        self.wideTiles = wideTiles
        self.turn = turn
        self.copy = copy
        self.repeated = repeated
        self.layOutAxis = layOutAxis
        self.layOutRuns = layOutRuns
        self.finish = finish
        self.finishColumns = finishColumns
        self.shiftedSums = shiftedSums
        self.transformInput = transformInput
        self.transformOutput = transformOutput
        self.transformSmallInput = transformSmallInput
        self.transformSmallOutput = transformSmallOutput
        self.transformOutputGradient = transformOutputGradient
        self.transformTaps = transformTaps
        self.pointRow = pointRow
        self.gatheredColumns = gatheredColumns
        self.permutedColumns = permutedColumns
        self.doubledRows = doubledRows
        self.resampledPixels = resampledPixels
        self.blendedPixels = blendedPixels
        self.blendedRows = blendedRows
        self.blendedRuns = blendedRuns
    }
}

extension KernelTable {
    /// Half vectors that so many output channels fill.
    @inlinable @inline(__always)
    func halves(channels: Int) -> Int { (2 &* channels &+ lanes &- 1) / lanes }

    /// Whether the kernels of the most output channels over columns take the tiles of a row in one call: see `accumulateColumns`.
    @inlinable @inline(__always)
    public var joinsColumns: Bool { storesParts && lanes == 16 }

    /// On Intel's processors a multiply-add's unit joins the halves, so that nothing is saved, and small images lose the tiles
    /// beside these: 1x1 272->68 at 7x7 15.3 us, so 13.9.
    @inlinable @inline(__always)
    var takesHalves: Bool { halfTiles[0] != nil && shim_is_intel() == 0 }

    /// The one of `halfTiles` for a panel of so many output channels, if there is one.
    @inlinable @inline(__always)
    public func halfTile(channels: Int) -> Kernel? {
        let halves = takesHalves ? halves(channels: channels) : 0
        return halves == 3 ? halfTiles[0] : halves == 5 ? halfTiles[1] : nil
    }

    /// Vectors of multiply-adds that so many output channels of a pixel take, of which the last may be half a one.
    @inlinable @inline(__always)
    public func vectors(channels: Int) -> Double {
        let halves = halves(channels: channels)
        return takesHalves && halves > 1 ? Double(halves) / 2 : Double((halves &+ 1) / 2)
    }

    /// The tile for a panel of so many output channels, of `tiles` or `halfTiles`.
    @inlinable @inline(__always)
    public func tile(channels: Int) -> TileKernel {
        var tile = tiles[(channels &- 1) / lanes]
        if let accumulate = halfTile(channels: channels) { tile.accumulate = accumulate }
        return tile
    }
}

extension UnsafePointer<KernelTable> {
    @inlinable @inline(__always)
    public var lanes: Int { pointee.lanes }

    /// Of `outerTiles`, `tile`, or the one beside it where fewer of its rows make up those that are left, `rest`.
    @inlinable @inline(__always)
    public func outerTile(_ tile: TileKernel, rest: Int) -> TileKernel {
        guard let other = pointee.otherOuterTiles[tile.vectors &- 1] else { return tile }
        let (short, tall) = other.rows < tile.rows ? (other, tile) : (tile, other)
        return rest <= (rest &+ tall.rows &- 1) / tall.rows &* short.rows ? short : tall
    }
}

/// A common multiple of the rows of `tiles`, `laneTiles` and `outerTiles` on every tier.
public let commonTileRows = 24

/// No tile has more rows or vectors, and none more scalars. Outer products may have nine rows, but only where nine are left.
public let largestTileSide = 8
public let largestTileScalars = 8 * 64
