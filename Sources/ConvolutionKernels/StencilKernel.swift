// One input channel per output channel, vectors of columns: see "Stencil" in this module's README.

/// One channel's kernel, and what its results are finished with.
public struct StencilFilter<Scalar> {
    /// `[kernelColumns]`: where a tap of output column 0 lies in its row.
    public var offsets: UnsafePointer<Int>
    public var kernelRows: Int
    public var kernelColumns: Int
    /// Input rows from one output row to the next: output row p multiplies kernel row a with input row a + p * rowStep.
    public var rowStep: Int
    /// Kernel rows of a chunk: see "Order of the sum" in this module's README.
    public var rowsPerChunk: Int
    /// `[kernelRows][kernelColumns]`
    public var weights: UnsafePointer<Scalar>
    public var bias: Scalar
    public var low: Scalar
    public var high: Scalar

    @inlinable @inline(__always)
    public init(
        offsets: UnsafePointer<Int>, kernelRows: Int, kernelColumns: Int, rowStep: Int, rowsPerChunk: Int,
        weights: UnsafePointer<Scalar>, bias: Scalar, low: Scalar, high: Scalar
    ) {
        self.offsets = offsets
        self.kernelRows = kernelRows
        self.kernelColumns = kernelColumns
        self.rowStep = rowStep
        self.rowsPerChunk = rowsPerChunk
        self.weights = weights
        self.bias = bias
        self.low = low
        self.high = high
    }
}

/// Four neighbouring output rows times tiles of N vectors of columns.
public struct StencilArguments<Scalar> {
    public var filter: StencilFilter<Scalar>
    /// `[kernelRows + 3 * rowStep]`
    public var rows: UnsafePointer<UnsafePointer<Scalar>>
    /// The first output column, the tiles that follow each other from there, and where the last of them begins at most.
    public var column = 0
    public var tiles = 1
    public var lastColumn = 0
    /// `[4][N]` vectors: the sums between chunks, and the result where `outputs` is nil (then there is one tile).
    public var tile: UnsafeMutablePointer<Scalar>
    /// `[4]`: where the output rows start.
    public var outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>?
    /// All vectors are stored past the caches. They must be aligned.
    public var streaming = false

    @inlinable @inline(__always)
    public init(
        filter: StencilFilter<Scalar>, rows: UnsafePointer<UnsafePointer<Scalar>>, tile: UnsafeMutablePointer<Scalar>,
        outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>?
    ) {
        self.filter = filter
        self.rows = rows
        self.tile = tile
        self.outputs = outputs
    }
}

/// `accumulateStencil` with its vectors per row. The function takes an `UnsafePointer<StencilArguments<Scalar>>`.
public struct StencilKernel {
    public var vectors: Int
    public var accumulate: Kernel

    @inlinable @inline(__always)
    public init(vectors: Int, accumulate: @escaping Kernel) {
        self.vectors = vectors
        self.accumulate = accumulate
    }
}

/// Output rows of a tile of `accumulateStencil`.
public let stencilRows = 4

/// One input row for output rows F to F + C - 1: sums[p][n] += sum over taps b of x[offsets[b] + n] * weights[b - p * pitch],
/// where `weights` is the kernel row of output row 0.
@inlinable @inline(__always)
func stencilRow<I: InstructionSet, let N: Int, let F: Int, let C: Int>(
    _: I.Type, first: Count<F>.Type, count: Count<C>.Type,
    _ sums: inout InlineArray<4, InlineArray<N, I.Vector>>, _ x: UnsafeRawPointer, _ offsets: UnsafePointer<Int>,
    _ weights: UnsafePointer<I.Scalar>, taps: Int, pitch: Int
) {
    var b = 0
    while b < taps {
        let input = x + offsets[b] &* MemoryLayout<I.Scalar>.stride
        var w = InlineArray<C, I.Vector>(repeating: I.Vector(repeating: 0))
        for p in 0..<C { w[unchecked: p] = I.Vector(repeating: weights[b &- (F &+ p) &* pitch]) }
        for n in 0..<N {
            let v = input.loadUnaligned(fromByteOffset: n &* I.bytes, as: I.Vector.self)
            for p in 0..<C {
                sums[unchecked: F &+ p][unchecked: n] = I.multiplyAdd(v, w[unchecked: p], sums[unchecked: F &+ p][unchecked: n])
            }
        }
        b &+= 1
    }
}

/// For each tile, output row p and column x of it:
/// sum over kernel rows a, taps b of rows[a + p * rowStep][offsets[b] + column + x] * weights[a][b]
@inlinable @inline(__always)
public func accumulateStencil<I: InstructionSet, let N: Int>(
    _: I.Type, vectors: Count<N>.Type, _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: StencilArguments<I.Scalar>.self).pointee
    let filter = arguments.filter
    let taps = filter.kernelColumns
    let offsets = filter.offsets
    let pitch = filter.rowStep &* taps
    let end = filter.kernelRows &+ 3 &* filter.rowStep
    let low = I.Vector(repeating: filter.low)
    let high = I.Vector(repeating: filter.high)
    let bias = I.Vector(repeating: filter.bias)
    var place = arguments.column &* MemoryLayout<I.Scalar>.stride
    let lastPlace = arguments.lastColumn &* MemoryLayout<I.Scalar>.stride
    var remaining = arguments.tiles
    while remaining > 0 {
        remaining &-= 1
        var first = 0
        while first < filter.kernelRows {
            let left = filter.kernelRows &- first
            let rows = left < filter.rowsPerChunk ? left : filter.rowsPerChunk
            var sums = InlineArray<4, InlineArray<N, I.Vector>>(
                repeating: InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0)))
            // The output rows that have a kernel row for the input row: from `lowest` to `highest`.
            var lowest = 0
            var highest = 0
            var i = 0
            while i < end &- filter.kernelRows &+ rows {
                let x = UnsafeRawPointer(arguments.rows[first &+ i]) + place
                let w = filter.weights + (first &+ i) &* taps
                switch lowest &* 4 &+ highest {
                case 0:
                    stencilRow(I.self, first: Count<0>.self, count: Count<1>.self, &sums, x, offsets, w,
                        taps: taps, pitch: pitch)
                case 1:
                    stencilRow(I.self, first: Count<0>.self, count: Count<2>.self, &sums, x, offsets, w,
                        taps: taps, pitch: pitch)
                case 2:
                    stencilRow(I.self, first: Count<0>.self, count: Count<3>.self, &sums, x, offsets, w,
                        taps: taps, pitch: pitch)
                case 3:
                    stencilRow(I.self, first: Count<0>.self, count: Count<4>.self, &sums, x, offsets, w,
                        taps: taps, pitch: pitch)
                case 5:
                    stencilRow(I.self, first: Count<1>.self, count: Count<1>.self, &sums, x, offsets, w,
                        taps: taps, pitch: pitch)
                case 6:
                    stencilRow(I.self, first: Count<1>.self, count: Count<2>.self, &sums, x, offsets, w,
                        taps: taps, pitch: pitch)
                case 7:
                    stencilRow(I.self, first: Count<1>.self, count: Count<3>.self, &sums, x, offsets, w,
                        taps: taps, pitch: pitch)
                case 10:
                    stencilRow(I.self, first: Count<2>.self, count: Count<1>.self, &sums, x, offsets, w,
                        taps: taps, pitch: pitch)
                case 11:
                    stencilRow(I.self, first: Count<2>.self, count: Count<2>.self, &sums, x, offsets, w,
                        taps: taps, pitch: pitch)
                case 15:
                    stencilRow(I.self, first: Count<3>.self, count: Count<1>.self, &sums, x, offsets, w,
                        taps: taps, pitch: pitch)
                default: break
                }
                i &+= 1
                if i == (highest &+ 1) &* filter.rowStep, highest < 3 { highest &+= 1 }
                if i == rows &+ lowest &* filter.rowStep { lowest &+= 1 }
            }
            let continues = first > 0
            first &+= rows
            guard first == filter.kernelRows, let outputs = arguments.outputs else {
                fold(I.self, sums, into: arguments.tile, continues: continues)
                continue
            }
            // Finished in the registers, step by step as in `finishSums`.
            if continues {
                let tile = UnsafeRawPointer(arguments.tile)
                for p in 0..<4 {
                    for n in 0..<N {
                        sums[unchecked: p][unchecked: n] = I.sum(
                            tile.loadUnaligned(fromByteOffset: (p &* N &+ n) &* I.bytes, as: I.Vector.self),
                            sums[unchecked: p][unchecked: n])
                    }
                }
            }
            for p in 0..<4 {
                for n in 0..<N { sums[unchecked: p][unchecked: n] = I.sum(sums[unchecked: p][unchecked: n], bias) }
            }
            if filter.low > -.infinity || filter.high < .infinity {
                for p in 0..<4 {
                    for n in 0..<N {
                        sums[unchecked: p][unchecked: n] = I.replacing(sums[unchecked: p][unchecked: n], below: low, with: low)
                    }
                }
                for p in 0..<4 {
                    for n in 0..<N { sums[unchecked: p][unchecked: n] = I.replacing(sums[unchecked: p][unchecked: n],
                        above: high, with: high) }
                }
            }
            if arguments.streaming {
                for p in 0..<4 {
                    let target = UnsafeMutableRawPointer(outputs[p]) + place
                    for n in 0..<N { I.stream(sums[unchecked: p][unchecked: n], to: target + n &* I.bytes) }
                }
            } else {
                for p in 0..<4 {
                    let target = UnsafeMutableRawPointer(outputs[p]) + place
                    for n in 0..<N {
                        target.storeBytes(of: sums[unchecked: p][unchecked: n], toByteOffset: n &* I.bytes, as: I.Vector.self)
                    }
                }
            }
        }
        place &+= N &* I.bytes
        if place > lastPlace { place = lastPlace }
    }
}

/// A channel: tiles of four output rows times one vector of columns, row by row of tiles.
public struct NarrowStencilArguments<Scalar> {
    public var filter: StencilFilter<Scalar>
    /// Where the first output's first kernel row is read, and from one of these rows to the next.
    public var input: UnsafePointer<Scalar>
    public var rowPitch: Int
    public var output: UnsafeMutablePointer<Scalar>
    public var outputPitch: Int
    /// The tiles of a row and the rows of them. The last of either rather begin early, here, than end late.
    public var tiles: Int
    public var lastColumn: Int
    public var tileRows: Int
    public var lastRow: Int

    @inlinable @inline(__always)
    public init(
        filter: StencilFilter<Scalar>, input: UnsafePointer<Scalar>, rowPitch: Int, output: UnsafeMutablePointer<Scalar>,
        outputPitch: Int, tiles: Int, lastColumn: Int, tileRows: Int, lastRow: Int
    ) {
        self.filter = filter
        self.input = input
        self.rowPitch = rowPitch
        self.output = output
        self.outputPitch = outputPitch
        self.tiles = tiles
        self.lastColumn = lastColumn
        self.tileRows = tileRows
        self.lastRow = lastRow
    }
}

/// As `accumulateStencil`, finished. Input vectors are not shared by the output rows: of kernels of any size, that costs less
/// than to find out which rows do share one.
@inlinable @inline(__always)
public func accumulateNarrowStencil<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: NarrowStencilArguments<I.Scalar>.self).pointee
    let filter = arguments.filter
    let size = MemoryLayout<I.Scalar>.stride
    let pitch = arguments.rowPitch &* size
    let step = filter.rowStep &* pitch
    let taps = filter.kernelColumns
    forEachTile(arguments, step: step, vectorBytes: I.bytes) { line, target in
        var totals = InlineArray<4, I.Vector>(repeating: I.Vector(repeating: 0))
        var weights = filter.weights
        var line = line
        var left = filter.kernelRows
        while left > 0 {
            var rows = left < filter.rowsPerChunk ? left : filter.rowsPerChunk
            let isFirst = left == filter.kernelRows
            left &-= rows
            var sums = InlineArray<4, I.Vector>(repeating: I.Vector(repeating: 0))
            while rows > 0 {
                rows &-= 1
                var b = 0
                while b < taps {
                    let x = line + filter.offsets[b] &* size
                    let w = I.Vector(repeating: weights[b])
                    for p in 0..<4 {
                        sums[unchecked: p] = I.multiplyAdd((x + p &* step).loadUnaligned(as: I.Vector.self), w,
                            sums[unchecked: p])
                    }
                    b &+= 1
                }
                weights += taps
                line += pitch
            }
            if isFirst {
                totals = sums
            } else {
                for p in 0..<4 { totals[unchecked: p] = I.sum(totals[unchecked: p], sums[unchecked: p]) }
            }
        }
        storeNarrow(I.self, [totals] as InlineArray<1, InlineArray<4, I.Vector>>, arguments, to: target)
    } bodyOfSeveral: { _, _ in
    }
}

/// Calls the body with where the tile's input and output begin, or with `several` tiles side by side `bodyOfSeveral`.
@inlinable @inline(__always)
func forEachTile<Scalar: KernelScalar>(
    _ arguments: NarrowStencilArguments<Scalar>, step: Int, vectorBytes: Int, several: Int = 1,
    _ body: (UnsafeRawPointer, UnsafeMutableRawPointer) -> Void, bodyOfSeveral: (UnsafeRawPointer, UnsafeMutableRawPointer) -> Void
) {
    let size = MemoryLayout<Scalar>.stride
    let lastPlace = arguments.lastColumn &* size
    let lastOfSeveral = lastPlace &- (several &- 1) &* vectorBytes
    var row = 0
    var remaining = arguments.tileRows
    while remaining > 0 {
        remaining &-= 1
        if row > arguments.lastRow { row = arguments.lastRow }
        let line = UnsafeRawPointer(arguments.input) + row &* step
        let target = UnsafeMutableRawPointer(arguments.output + row &* arguments.outputPitch)
        var place = 0
        var tiles = arguments.tiles
        if several > 1, lastOfSeveral >= 0 {
            while tiles >= several {
                tiles &-= several
                if place > lastOfSeveral { place = lastOfSeveral }
                bodyOfSeveral(line + place, target + place)
                place &+= several &* vectorBytes
            }
        }
        while tiles > 0 {
            tiles &-= 1
            if place > lastPlace { place = lastPlace }
            body(line + place, target + place)
            place &+= vectorBytes
        }
        row &+= stencilRows
    }
}

/// Tiles side by side, row by row: on some processors neighbouring vectors that are not aligned take half the time if they are
/// stored one after the other.
@inlinable @inline(__always)
func storeNarrow<I: InstructionSet, let N: Int>(
    _: I.Type, _ sums: borrowing InlineArray<N, InlineArray<4, I.Vector>>, _ arguments: NarrowStencilArguments<I.Scalar>,
    to target: UnsafeMutableRawPointer
) {
    let low = I.Vector(repeating: arguments.filter.low)
    let high = I.Vector(repeating: arguments.filter.high)
    let bias = I.Vector(repeating: arguments.filter.bias)
    var place = target
    for p in 0..<4 {
        for n in 0..<N {
            let total = I.sum(sums[unchecked: n][unchecked: p], bias)
            place.storeBytes(of: I.bounded(total, low: low, high: high), toByteOffset: n &* I.bytes, as: I.Vector.self)
        }
        place += arguments.outputPitch &* MemoryLayout<I.Scalar>.stride
    }
}

/// The sums of a tile of `accumulateSmallStencil`, whose kernel `w` holds. `offsets` are those of its columns, in bytes.
@inlinable @inline(__always)
func smallSums<I: InstructionSet, let K: Int, let S: Int>(
    _: I.Type, size: Count<K>.Type, step: Count<S>.Type, _ w: borrowing InlineArray<9, I.Vector>,
    _ offsets: InlineArray<3, Int>, pitch: Int, _ line: UnsafeRawPointer
) -> InlineArray<4, I.Vector> {
    var sums = InlineArray<4, I.Vector>(repeating: I.Vector(repeating: 0))
    var x = line
    for i in 0..<(K &+ 3 &* S) {
        for b in 0..<K {
            let v = (x + offsets[unchecked: b]).loadUnaligned(as: I.Vector.self)
            for p in 0..<4 where i &- p &* S >= 0 && i &- p &* S < K {
                sums[unchecked: p] = I.multiplyAdd(v, w[unchecked: (i &- p &* S) &* K &+ b], sums[unchecked: p])
            }
        }
        x += pitch
    }
    return sums
}

/// The same for K x K, 2 or 3: the weights stay in registers. An output row is S input rows on. Where the tier has registers for
/// it, two or four tiles side by side at once.
@inlinable @inline(__always)
public func accumulateSmallStencil<I: InstructionSet, let K: Int, let S: Int>(
    _: I.Type, size: Count<K>.Type, step: Count<S>.Type, _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: NarrowStencilArguments<I.Scalar>.self).pointee
    let filter = arguments.filter
    let size = MemoryLayout<I.Scalar>.stride
    var w = InlineArray<9, I.Vector>(repeating: I.Vector(repeating: 0))
    for t in 0..<(K &* K) { w[unchecked: t] = I.Vector(repeating: filter.weights[t]) }
    let pitch = arguments.rowPitch &* size
    let offsets: InlineArray<3, Int> = [filter.offsets[0] &* size, filter.offsets[1] &* size, filter.offsets[K &- 1] &* size]
    let several = I.storesParts ? K == 2 ? 4 : 2 : 1
    forEachTile(arguments, step: S &* pitch, vectorBytes: I.bytes, several: several) { line, target in
        let tiles: InlineArray<1, InlineArray<4, I.Vector>> = [
            smallSums(I.self, size: Count<K>.self, step: Count<S>.self, w, offsets, pitch: pitch, line),
        ]
        storeNarrow(I.self, tiles, arguments, to: target)
    } bodyOfSeveral: { line, target in
        if several == 4 {
            let tiles: InlineArray<4, InlineArray<4, I.Vector>> = [
                smallSums(I.self, size: Count<K>.self, step: Count<S>.self, w, offsets, pitch: pitch, line),
                smallSums(I.self, size: Count<K>.self, step: Count<S>.self, w, offsets, pitch: pitch, line + I.bytes),
                smallSums(I.self, size: Count<K>.self, step: Count<S>.self, w, offsets, pitch: pitch, line + 2 &* I.bytes),
                smallSums(I.self, size: Count<K>.self, step: Count<S>.self, w, offsets, pitch: pitch, line + 3 &* I.bytes),
            ]
            storeNarrow(I.self, tiles, arguments, to: target)
        } else {
            let tiles: InlineArray<2, InlineArray<4, I.Vector>> = [
                smallSums(I.self, size: Count<K>.self, step: Count<S>.self, w, offsets, pitch: pitch, line),
                smallSums(I.self, size: Count<K>.self, step: Count<S>.self, w, offsets, pitch: pitch, line + I.bytes),
            ]
            storeNarrow(I.self, tiles, arguments, to: target)
        }
    }
}
