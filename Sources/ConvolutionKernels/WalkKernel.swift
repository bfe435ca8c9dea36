import CConvolutionShims

// Depthwise convolutions along the row: see "Walking along the row" in this module's README.

/// Two output rows times R neighbouring pixels, for some vectors of channels that each have an input channel of their own.
public struct WalkArguments<Scalar> {
    /// `[input row][column]`: where the first channel is, for `kernelRows + rowStep` rows and (R - 1) * S + `kernelColumns`
    /// columns. Pixel r of the upper row multiplies kernel element (a, b) with the channels at `[a][r * S + b]`, that of the
    /// lower row with those at `[a + rowStep][r * S + b]`.
    public var runs: UnsafePointer<UnsafePointer<Scalar>>
    public var channelOffset: Int
    public var kernelRows: Int
    public var kernelColumns: Int
    public var rowStep: Int
    /// `accumulateWalk`: others of the input rows have nothing to add, and are not read.
    public var firstRow = 0
    public var endRow = Int.max
    /// Kernel rows of a chunk: see "Order of the sum" in this module's README.
    public var rowsPerChunk: Int
    /// Packed weights `[vector][kernel row][kernel column]` of whole vectors.
    public var panel: UnsafePointer<Scalar>
    public var vectors: Int
    /// Channels from the first vector to the last, which may begin before the one before it ends.
    public var lastVector: Int
    /// `[2][R]` vectors: the sums between chunks, and the result where `upper` is nil (then there is one vector).
    public var tile: UnsafeMutablePointer<Scalar>
    /// Where the first pixels' channels go, with bias and bounds; the number of pixels that exist, and from one to the next.
    public var upper: UnsafeMutablePointer<Scalar>?
    public var lower: UnsafeMutablePointer<Scalar>?
    public var columns: Int
    public var columnStride: Int
    /// Whole tiles that follow each other, and from pixel to pixel of the input.
    public var tiles = 1
    public var pixelStep = 0
    /// Not 0: tiles fetch into the caches what a later one is the first to read; its first new pixel is as many elements on from
    /// the first of this one.
    public var ahead = 0
    /// Vectors are stored past the caches; both rows and all pixels exist, and their places are aligned.
    public var streams = false
    /// `accumulatePairs`: from the first pixel of a pair to the second, and which pixels of the tile exist.
    public var pairPitch = 0
    public var edges = WalkEdges()
    public var bias: UnsafePointer<Scalar>
    public var low: Scalar
    public var high: Scalar

    @inlinable @inline(__always)
    public init(
        runs: UnsafePointer<UnsafePointer<Scalar>>, channelOffset: Int, kernelRows: Int, kernelColumns: Int, rowStep: Int,
        rowsPerChunk: Int, panel: UnsafePointer<Scalar>, vectors: Int, lastVector: Int, tile: UnsafeMutablePointer<Scalar>,
        upper: UnsafeMutablePointer<Scalar>?, lower: UnsafeMutablePointer<Scalar>?, columns: Int, columnStride: Int,
        bias: UnsafePointer<Scalar>, low: Scalar, high: Scalar
    ) {
        self.runs = runs
        self.channelOffset = channelOffset
        self.kernelRows = kernelRows
        self.kernelColumns = kernelColumns
        self.rowStep = rowStep
        self.rowsPerChunk = rowsPerChunk
        self.panel = panel
        self.vectors = vectors
        self.lastVector = lastVector
        self.tile = tile
        self.upper = upper
        self.lower = lower
        self.columns = columns
        self.columnStride = columnStride
        self.bias = bias
        self.low = low
        self.high = high
    }
}

/// The rows and the outermost columns of a tile of pairs that exist.
public struct WalkEdges {
    public var hasUpper = true
    public var hasLower = true
    public var hasFirst = true
    public var hasLast = true

    @inlinable @inline(__always)
    public init() {}

    /// There is no edge.
    @inlinable @inline(__always)
    public var isNone: Bool { hasUpper && hasLower && hasFirst && hasLast }
}

/// `accumulateWalk` with its pixels per row. The functions take an `UnsafePointer<WalkArguments<Scalar>>`.
public struct WalkKernel {
    public var columns: Int
    public var accumulate: Kernel
    /// `accumulateSmallWalk` for kernels of 2x2 and 3x3, where the tier has it.
    public var small: InlineArray<2, Kernel?>

    @inlinable @inline(__always)
    public init(columns: Int, accumulate: @escaping Kernel, small: Kernel? = nil, smallest: Kernel? = nil) {
        self.columns = columns
        self.accumulate = accumulate
        self.small = [smallest, small]
    }
}

/// One kernel row for one output row: sums[r] += sum over taps b of x[r * S + b] * weights[b]. Three taps at a time, then one:
/// that is few enough weights for the registers of every tier, and an input vector serves up to three of them.
@inlinable @inline(__always)
func walkRow<I: InstructionSet, let R: Int, let S: Int>(
    _: I.Type, step: Count<S>.Type, _ sums: inout InlineArray<R, I.Vector>,
    _ runs: UnsafePointer<UnsafePointer<I.Scalar>>, _ offset: Int, _ weights: UnsafeRawPointer, taps: Int
) {
    var runs = runs
    var weights = weights
    var taps = taps
    while taps >= 3 {
        taps &-= 3
        var w = InlineArray<3, I.Vector>(repeating: I.Vector(repeating: 0))
        for t in 0..<3 { w[unchecked: t] = weights.loadUnaligned(fromByteOffset: t &* I.bytes, as: I.Vector.self) }
        for r in 0..<R {
            for t in 0..<3 {
                let x = UnsafeRawPointer(runs[r &* S &+ t]).loadUnaligned(fromByteOffset: offset, as: I.Vector.self)
                sums[unchecked: r] = I.multiplyAdd(x, w[unchecked: t], sums[unchecked: r])
            }
        }
        runs += 3
        weights += 3 &* I.bytes
    }
    while taps > 0 {
        taps &-= 1
        let w = weights.loadUnaligned(as: I.Vector.self)
        for r in 0..<R {
            let x = UnsafeRawPointer(runs[r &* S]).loadUnaligned(fromByteOffset: offset, as: I.Vector.self)
            sums[unchecked: r] = I.multiplyAdd(x, w, sums[unchecked: r])
        }
        runs += 1
        weights += I.bytes
    }
}

/// One input row for both output rows, which multiply it with different kernel rows.
@inlinable @inline(__always)
func walkRows<I: InstructionSet, let R: Int, let S: Int>(
    _: I.Type, step: Count<S>.Type, _ upper: inout InlineArray<R, I.Vector>, _ lower: inout InlineArray<R, I.Vector>,
    _ runs: UnsafePointer<UnsafePointer<I.Scalar>>, _ offset: Int, _ weights: UnsafeRawPointer, _ lowerWeights: UnsafeRawPointer,
    taps: Int
) {
    var runs = runs
    var weights = weights
    var lowerWeights = lowerWeights
    var taps = taps
    while taps >= 3 {
        taps &-= 3
        var w = InlineArray<3, I.Vector>(repeating: I.Vector(repeating: 0))
        var v = InlineArray<3, I.Vector>(repeating: I.Vector(repeating: 0))
        for t in 0..<3 {
            w[unchecked: t] = weights.loadUnaligned(fromByteOffset: t &* I.bytes, as: I.Vector.self)
            v[unchecked: t] = lowerWeights.loadUnaligned(fromByteOffset: t &* I.bytes, as: I.Vector.self)
        }
        for r in 0..<R {
            for t in 0..<3 {
                let x = UnsafeRawPointer(runs[r &* S &+ t]).loadUnaligned(fromByteOffset: offset, as: I.Vector.self)
                upper[unchecked: r] = I.multiplyAdd(x, w[unchecked: t], upper[unchecked: r])
                lower[unchecked: r] = I.multiplyAdd(x, v[unchecked: t], lower[unchecked: r])
            }
        }
        runs += 3
        weights += 3 &* I.bytes
        lowerWeights += 3 &* I.bytes
    }
    while taps > 0 {
        taps &-= 1
        let w = weights.loadUnaligned(as: I.Vector.self)
        let v = lowerWeights.loadUnaligned(as: I.Vector.self)
        for r in 0..<R {
            let x = UnsafeRawPointer(runs[r &* S]).loadUnaligned(fromByteOffset: offset, as: I.Vector.self)
            upper[unchecked: r] = I.multiplyAdd(x, w, upper[unchecked: r])
            lower[unchecked: r] = I.multiplyAdd(x, v, lower[unchecked: r])
        }
        runs += 1
        weights += I.bytes
        lowerWeights += I.bytes
    }
}

/// For each vector of channels and each of two output rows:
/// sums[r] = sum over kernel rows a, columns b of runs[a (+ rowStep)][r * S + b][channelOffset + vector] * panel[vector][a][b]
@inlinable @inline(__always)
public func accumulateWalk<I: InstructionSet, let R: Int, let S: Int>(
    _: I.Type, columns: Count<R>.Type, step: Count<S>.Type, _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: WalkArguments<I.Scalar>.self).pointee
    let tile = UnsafeMutableRawPointer(arguments.tile)
    let taps = arguments.kernelColumns
    let pitch = (R &- 1) &* S &+ taps
    let weightPitch = taps &* I.bytes
    let rowBytes = R &* I.bytes
    let places = walkPlaces(arguments, columns: columns)
    forEachWalkVector(I.self, arguments, columns: columns, step: step) { vector, weightsOfVector, offset, output in
        fetchAhead(I.self, arguments, columns: columns, step: step, offset)
        var panel = weightsOfVector
        var first = 0
        while first < arguments.kernelRows {
            let left = arguments.kernelRows &- first
            let rows = left < arguments.rowsPerChunk ? left : arguments.rowsPerChunk
            var upper = InlineArray<R, I.Vector>(repeating: I.Vector(repeating: 0))
            var lower = InlineArray<R, I.Vector>(repeating: I.Vector(repeating: 0))
            // Input rows of the upper output row alone, of both, and of the lower alone.
            let alone = arguments.rowStep < rows ? arguments.rowStep : rows
            var runs = arguments.runs + first &* pitch
            var weights = panel
            var row = 0
            var input = first
            while row < alone {
                if input >= arguments.firstRow, input < arguments.endRow {
                    walkRow(I.self, step: step, &upper, runs, offset, weights, taps: taps)
                }
                input &+= 1
                runs += pitch
                weights += weightPitch
                row &+= 1
            }
            runs = arguments.runs + (first &+ arguments.rowStep) &* pitch
            input = first &+ arguments.rowStep
            var lowerWeights = panel
            while row < rows {
                if input >= arguments.firstRow, input < arguments.endRow {
                    walkRows(I.self, step: step, &upper, &lower, runs, offset, weights, lowerWeights, taps: taps)
                }
                input &+= 1
                runs += pitch
                weights += weightPitch
                lowerWeights += weightPitch
                row &+= 1
            }
            row = 0
            while row < alone {
                if input >= arguments.firstRow, input < arguments.endRow {
                    walkRow(I.self, step: step, &lower, runs, offset, lowerWeights, taps: taps)
                }
                input &+= 1
                runs += pitch
                lowerWeights += weightPitch
                row &+= 1
            }
            if first > 0 {
                for r in 0..<R {
                    let sum = tile.loadUnaligned(fromByteOffset: r &* I.bytes, as: I.Vector.self)
                    upper[unchecked: r] = I.sum(sum, upper[unchecked: r])
                }
                for r in 0..<R {
                    let sum = tile.loadUnaligned(fromByteOffset: rowBytes &+ r &* I.bytes, as: I.Vector.self)
                    lower[unchecked: r] = I.sum(sum, lower[unchecked: r])
                }
            }
            panel += rows &* weightPitch
            first &+= rows
            if first == arguments.kernelRows, let top = arguments.upper {
                storeWalk(I.self, &upper, &lower, arguments, to: top, places, vector: vector, offset: output)
            } else {
                for r in 0..<R { tile.storeBytes(of: upper[unchecked: r], toByteOffset: r &* I.bytes, as: I.Vector.self) }
                for r in 0..<R {
                    tile.storeBytes(of: lower[unchecked: r], toByteOffset: rowBytes &+ r &* I.bytes, as: I.Vector.self)
                }
            }
        }
    }
}

/// `accumulateWalk` for K x K taps, K being 3 (or 2, if S is 1), where the lower row lies S input rows below the upper, and the
/// result goes to the output. Without loops a vector's work is short enough for the processor to begin that of the next.
@inlinable @inline(__always)
public func accumulateSmallWalk<I: InstructionSet, let R: Int, let S: Int, let K: Int>(
    _: I.Type, columns: Count<R>.Type, step: Count<S>.Type, size: Count<K>.Type,
    _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: WalkArguments<I.Scalar>.self).pointee
    guard let top = arguments.upper else { return }
    let pitch = (R &- 1) &* S &+ K
    let row = K &* I.bytes
    let places = walkPlaces(arguments, columns: columns)
    forEachWalkVector(I.self, arguments, columns: columns, step: step) { vector, w, offset, output in
        fetchAhead(I.self, arguments, columns: columns, step: step, offset)
        var upper = InlineArray<R, I.Vector>(repeating: I.Vector(repeating: 0))
        var lower = InlineArray<R, I.Vector>(repeating: I.Vector(repeating: 0))
        let runs = arguments.runs
        walkRow(I.self, step: step, &upper, runs, offset, w, taps: K)
        if S == 1 {
            walkRows(I.self, step: step, &upper, &lower, runs + pitch, offset, w + row, w, taps: K)
            if K == 3 { walkRows(I.self, step: step, &upper, &lower, runs + 2 &* pitch, offset, w + 2 &* row, w + row, taps: 3) }
        } else {
            walkRow(I.self, step: step, &upper, runs + pitch, offset, w + row, taps: K)
            walkRows(I.self, step: step, &upper, &lower, runs + 2 &* pitch, offset, w + 2 &* row, w, taps: 3)
            // What the upper row reads is followed by the rows of the lower one alone.
            walkRow(I.self, step: step, &lower, runs + 3 &* pitch, offset, w + row, taps: 3)
        }
        walkRow(I.self, step: step, &lower, runs + (K &- 1 &+ S) &* pitch, offset, w + (K &- 1) &* row, taps: K)
        storeWalk(I.self, &upper, &lower, arguments, to: top, places, vector: vector, offset: output)
    }
}

/// All phases of transposed convolutions with stride 2 and K x K taps, K being 2, 3 or 4, for each vector of channels: from each
/// 2x2 neighbouring input pixels (of K = 2 from each pixel) the 2x2 output pixels that read no others. In one direction input
/// pixel w of the two meets kernel element K - 2 + i - 2w for output pixel i, if there is one. `upper` and `lower` are the rows
/// of the first of up to P pairs, which lie `columnStride` apart; addresses are those of 2 rows and P + 1 columns (1 and P).
@inlinable @inline(__always)
public func accumulatePairs<I: InstructionSet, let P: Int, let K: Int>(
    _: I.Type, columns: Count<P>.Type, kernel: Count<K>.Type, _ raw: UnsafeRawPointer
) {
    // Asked for in the loop, so that it is not compiled once for each case.
    let given = raw.assumingMemoryBound(to: WalkArguments<I.Scalar>.self)
    let arguments = given.pointee
    guard let top = arguments.upper, let bottom = arguments.lower else { return }
    let size = MemoryLayout<I.Scalar>.stride
    let low = I.Vector(repeating: arguments.low)
    let high = I.Vector(repeating: arguments.high)
    let right = arguments.pairPitch &* size
    let step = Count<1>.self
    forEachWalkVector(I.self, arguments, columns: columns, step: step) { vector, panel, offset, output in
        var weights = InlineArray<K, InlineArray<K, I.Vector>>(repeating: InlineArray<K, I.Vector>(repeating: low))
        for a in 0..<K {
            for b in 0..<K {
                weights[unchecked: a][unchecked: b] = panel.loadUnaligned(
                    fromByteOffset: (a &* K &+ b) &* I.bytes, as: I.Vector.self)
            }
        }
        let bias = UnsafeRawPointer(arguments.bias).loadUnaligned(fromByteOffset: vector &* I.bytes, as: I.Vector.self)
        var runs = arguments.runs
        func pixel(_ row: Int, _ column: Int) -> I.Vector {
            UnsafeRawPointer(runs[row &* (P &+ 1) &+ column]).loadUnaligned(fromByteOffset: offset, as: I.Vector.self)
        }
        // The input pixels of the upper row, and of the lower.
        var x0 = pixel(0, 0)
        var y0 = K == 2 ? x0 : pixel(1, 0)
        var upper = UnsafeMutableRawPointer(top) + output
        var lower = UnsafeMutableRawPointer(bottom) + output
        var hasFirst = arguments.edges.hasFirst
        var left = arguments.columns
        repeat {
            if K == 2 { x0 = pixel(0, 0) }
            let (x1, y1) = K == 2 ? (x0, x0) : (pixel(0, 1), pixel(1, 1))
            left &-= 1
            func store(_ i: Int, _ j: Int, to place: UnsafeMutableRawPointer) {
                let (a, b) = (K &- 2 &+ i, K &- 2 &+ j)
                var sum = I.multiplyAdd(x0, weights[unchecked: a][unchecked: b], I.Vector(repeating: 0))
                if b >= 2 { sum = I.multiplyAdd(x1, weights[unchecked: a][unchecked: b &- 2], sum) }
                if a >= 2 {
                    sum = I.multiplyAdd(y0, weights[unchecked: a &- 2][unchecked: b], sum)
                    if b >= 2 { sum = I.multiplyAdd(y1, weights[unchecked: a &- 2][unchecked: b &- 2], sum) }
                }
                sum = I.bounded(I.sum(sum, bias), low: low, high: high)
                if given.pointee.streams { I.stream(sum, to: place) } else { place.storeBytes(of: sum, as: I.Vector.self) }
            }
            let hasSecond = left > 0 || given.pointee.edges.hasLast
            if given.pointee.edges.hasUpper {
                if hasFirst { store(0, 0, to: upper) }
                if hasSecond { store(0, 1, to: upper + right) }
            }
            if given.pointee.edges.hasLower {
                if hasFirst { store(1, 0, to: lower) }
                if hasSecond { store(1, 1, to: lower + right) }
            }
            hasFirst = true
            (x0, y0) = (x1, y1)
            runs += 1
            upper += arguments.columnStride &* size
            lower += arguments.columnStride &* size
        } while left > 0
    }
}

/// The vectors of channels of each tile: `body` is called with the number of the vector, its weights, and how far on in bytes its
/// input and its output lie.
@inlinable @inline(__always)
func forEachWalkVector<I: InstructionSet, let R: Int, let S: Int>(
    _: I.Type, _ arguments: WalkArguments<I.Scalar>, columns: Count<R>.Type, step: Count<S>.Type,
    _ body: (Int, UnsafeRawPointer, Int, Int) -> Void
) {
    let size = MemoryLayout<I.Scalar>.stride
    var input = arguments.channelOffset &* size
    var output = 0
    var tiles = arguments.tiles
    while tiles > 0 {
        tiles &-= 1
        var panel = UnsafeRawPointer(arguments.panel)
        var vector = 0
        while vector < arguments.vectors {
            let place = min(vector &* I.bytes, arguments.lastVector &* size)
            body(vector, panel, input &+ place, output &+ place)
            panel += arguments.kernelRows &* arguments.kernelColumns &* I.bytes
            vector &+= 1
        }
        input &+= arguments.columns &* S &* arguments.pixelStep &* size
        output &+= arguments.columns &* arguments.columnStride &* size
    }
}

/// Fetches what a later tile is the first to read of the vector of channels at `offset`.
@inlinable @inline(__always)
func fetchAhead<I: InstructionSet, let R: Int, let S: Int>(
    _: I.Type, _ arguments: WalkArguments<I.Scalar>, columns: Count<R>.Type, step: Count<S>.Type,
    _ offset: Int
) {
    if arguments.ahead == 0 { return }
    let pitch = (R &- 1) &* S &+ arguments.kernelColumns
    let pixelBytes = arguments.pixelStep &* MemoryLayout<I.Scalar>.stride
    var row = max(arguments.kernelRows &- arguments.rowStep, 0)
    while row < arguments.kernelRows &+ arguments.rowStep {
        var pixel = UnsafeRawPointer(arguments.runs[row &* pitch]) + (offset &+ arguments.ahead &* MemoryLayout<I.Scalar>.stride)
        let end = pixel + R &* S &* pixelBytes
        while pixel < end {
            shim_prefetch(pixel)
            pixel += pixelBytes
        }
        row &+= 1
    }
}

/// From the first pixel of a tile to each, in bytes. Pixels beyond the last go where the last goes.
@inlinable @inline(__always)
func walkPlaces<Scalar, let R: Int>(
    _ arguments: WalkArguments<Scalar>, columns: Count<R>.Type
) -> InlineArray<R, Int> {
    var places = InlineArray<R, Int>(repeating: 0)
    for r in 0..<R {
        places[unchecked: r] = min(r, arguments.columns &- 1) &* arguments.columnStride &* MemoryLayout<Scalar>.stride
    }
    return places
}

/// Both rows of a tile, with bias and bounds. In an order that leaves right what is written twice, since that takes no condition:
/// with one the optimiser would compute the rows one after the other.
@inlinable @inline(__always)
func storeWalk<I: InstructionSet, let R: Int>(
    _: I.Type, _ upper: inout InlineArray<R, I.Vector>, _ lower: inout InlineArray<R, I.Vector>,
    _ arguments: WalkArguments<I.Scalar>, to top: UnsafeMutablePointer<I.Scalar>, _ places: borrowing InlineArray<R, Int>,
    vector: Int, offset: Int
) {
    let low = I.Vector(repeating: arguments.low)
    let high = I.Vector(repeating: arguments.high)
    let bias = UnsafeRawPointer(arguments.bias).loadUnaligned(fromByteOffset: vector &* I.bytes, as: I.Vector.self)
    for r in 0..<R {
        lower[unchecked: r] = I.bounded(I.sum(lower[unchecked: r], bias), low: low, high: high)
        upper[unchecked: r] = I.bounded(I.sum(upper[unchecked: r], bias), low: low, high: high)
    }
    // Without a lower row the upper one overwrites it.
    let below = UnsafeMutableRawPointer(arguments.lower ?? top) + offset
    let above = UnsafeMutableRawPointer(top) + offset
    if arguments.streams {
        for r in 0..<R { I.stream(lower[unchecked: r], to: below + places[unchecked: r]) }
        for r in 0..<R { I.stream(upper[unchecked: r], to: above + places[unchecked: r]) }
        return
    }
    for i in 0..<R {
        let r = R &- 1 &- i
        below.storeBytes(of: lower[unchecked: r], toByteOffset: places[unchecked: r], as: I.Vector.self)
    }
    for i in 0..<R {
        let r = R &- 1 &- i
        above.storeBytes(of: upper[unchecked: r], toByteOffset: places[unchecked: r], as: I.Vector.self)
    }
}
