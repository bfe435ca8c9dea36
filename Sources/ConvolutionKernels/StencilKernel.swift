// One input channel per output channel, vectors of columns: see "Four rows at once" in this module's README.

/// Four neighbouring output rows times tiles of N vectors of columns. Output row p multiplies kernel row a with input row a + p * rowStep.
public struct StencilArguments<Scalar> {
    /// `[kernelRows + 3 * rowStep]`
    public var rows: UnsafePointer<UnsafePointer<Scalar>>
    /// `[kernelColumns]`: where a tap of output column 0 lies in its row.
    public var offsets: UnsafePointer<Int>
    public var kernelRows: Int
    public var kernelColumns: Int
    public var rowStep: Int
    /// Kernel rows of a chunk: see "Order of the sum" in this module's README.
    public var rowsPerChunk: Int
    /// `[kernelRows][kernelColumns]`
    public var weights: UnsafePointer<Scalar>
    /// The first output column, and the tiles that follow each other from there.
    public var column: Int
    public var tiles: Int
    /// `[4][N]` vectors: the sums between chunks, and the result where `outputs` is nil (then there is one tile).
    public var tile: UnsafeMutablePointer<Scalar>
    /// `[4]`: where the output rows start.
    public var outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>?
    /// All vectors are stored past the caches. They must be aligned.
    public var streaming: Bool
    public var bias: Scalar
    public var low: Scalar
    public var high: Scalar

    @inlinable @inline(__always)
    public init(
        rows: UnsafePointer<UnsafePointer<Scalar>>, offsets: UnsafePointer<Int>, kernelRows: Int, kernelColumns: Int, rowStep: Int, rowsPerChunk: Int,
        weights: UnsafePointer<Scalar>, column: Int, tiles: Int, tile: UnsafeMutablePointer<Scalar>,
        outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>?, streaming: Bool, bias: Scalar, low: Scalar, high: Scalar
    ) {
        self.rows = rows
        self.offsets = offsets
        self.kernelRows = kernelRows
        self.kernelColumns = kernelColumns
        self.rowStep = rowStep
        self.rowsPerChunk = rowsPerChunk
        self.weights = weights
        self.column = column
        self.tiles = tiles
        self.tile = tile
        self.outputs = outputs
        self.streaming = streaming
        self.bias = bias
        self.low = low
        self.high = high
    }
}

/// `accumulateStencil` with its vectors per row. The function takes an `UnsafePointer<StencilArguments<Scalar>>`.
public struct StencilKernel {
    public var vectors: Int
    public var accumulate: @convention(c) (UnsafeRawPointer) -> Void

    @inlinable @inline(__always)
    public init(vectors: Int, accumulate: @escaping @convention(c) (UnsafeRawPointer) -> Void) {
        self.vectors = vectors
        self.accumulate = accumulate
    }
}

/// Output rows of a tile of `accumulateStencil`.
public let stencilRows = 4

/// One input row for output rows F to F + C - 1: sums[p][n] += sum over taps b of x[offsets[b] + n] * weights[b - p * pitch], where `weights`
/// is the kernel row of output row 0.
@inlinable @inline(__always)
func stencilRow<I: InstructionSet, let N: Int, let F: Int, let C: Int>(
    _: I.Type, first: InlineArray<F, Bool>.Type, count: InlineArray<C, Bool>.Type,
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
public func accumulateStencil<I: InstructionSet, let N: Int>(_: I.Type, vectors: InlineArray<N, Bool>.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: StencilArguments<I.Scalar>.self).pointee
    let taps = arguments.kernelColumns
    let offsets = arguments.offsets
    let pitch = arguments.rowStep &* taps
    let end = arguments.kernelRows &+ 3 &* arguments.rowStep
    let low = I.Vector(repeating: arguments.low)
    let high = I.Vector(repeating: arguments.high)
    let bias = I.Vector(repeating: arguments.bias)
    var place = arguments.column &* MemoryLayout<I.Scalar>.stride
    var remaining = arguments.tiles
    while remaining > 0 {
        remaining &-= 1
        var first = 0
        while first < arguments.kernelRows {
            let left = arguments.kernelRows &- first
            let rows = left < arguments.rowsPerChunk ? left : arguments.rowsPerChunk
            var sums = InlineArray<4, InlineArray<N, I.Vector>>(repeating: InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0)))
            // The output rows that have a kernel row for the input row: from `lowest` to `highest`.
            var lowest = 0
            var highest = 0
            var i = 0
            while i < end &- arguments.kernelRows &+ rows {
                let x = UnsafeRawPointer(arguments.rows[first &+ i]) + place
                let w = arguments.weights + (first &+ i) &* taps
                switch lowest &* 4 &+ highest {
                case 0:
                    stencilRow(I.self, first: InlineArray<0, Bool>.self, count: InlineArray<1, Bool>.self, &sums, x, offsets, w, taps: taps, pitch: pitch)
                case 1:
                    stencilRow(I.self, first: InlineArray<0, Bool>.self, count: InlineArray<2, Bool>.self, &sums, x, offsets, w, taps: taps, pitch: pitch)
                case 2:
                    stencilRow(I.self, first: InlineArray<0, Bool>.self, count: InlineArray<3, Bool>.self, &sums, x, offsets, w, taps: taps, pitch: pitch)
                case 3:
                    stencilRow(I.self, first: InlineArray<0, Bool>.self, count: InlineArray<4, Bool>.self, &sums, x, offsets, w, taps: taps, pitch: pitch)
                case 5:
                    stencilRow(I.self, first: InlineArray<1, Bool>.self, count: InlineArray<1, Bool>.self, &sums, x, offsets, w, taps: taps, pitch: pitch)
                case 6:
                    stencilRow(I.self, first: InlineArray<1, Bool>.self, count: InlineArray<2, Bool>.self, &sums, x, offsets, w, taps: taps, pitch: pitch)
                case 7:
                    stencilRow(I.self, first: InlineArray<1, Bool>.self, count: InlineArray<3, Bool>.self, &sums, x, offsets, w, taps: taps, pitch: pitch)
                case 10:
                    stencilRow(I.self, first: InlineArray<2, Bool>.self, count: InlineArray<1, Bool>.self, &sums, x, offsets, w, taps: taps, pitch: pitch)
                case 11:
                    stencilRow(I.self, first: InlineArray<2, Bool>.self, count: InlineArray<2, Bool>.self, &sums, x, offsets, w, taps: taps, pitch: pitch)
                case 15:
                    stencilRow(I.self, first: InlineArray<3, Bool>.self, count: InlineArray<1, Bool>.self, &sums, x, offsets, w, taps: taps, pitch: pitch)
                default: break
                }
                i &+= 1
                if i == (highest &+ 1) &* arguments.rowStep, highest < 3 { highest &+= 1 }
                if i == rows &+ lowest &* arguments.rowStep { lowest &+= 1 }
            }
            let continues = first > 0
            first &+= rows
            guard first == arguments.kernelRows, let outputs = arguments.outputs else {
                fold(I.self, sums, into: arguments.tile, continues: continues)
                continue
            }
            // Finished in the registers, step by step as in `finishSums`.
            if continues {
                let tile = UnsafeRawPointer(arguments.tile)
                for p in 0..<4 {
                    for n in 0..<N {
                        sums[unchecked: p][unchecked: n] = I.sum(
                            tile.loadUnaligned(fromByteOffset: (p &* N &+ n) &* I.bytes, as: I.Vector.self), sums[unchecked: p][unchecked: n])
                    }
                }
            }
            for p in 0..<4 {
                for n in 0..<N { sums[unchecked: p][unchecked: n] = I.sum(sums[unchecked: p][unchecked: n], bias) }
            }
            if arguments.low > -.infinity || arguments.high < .infinity {
                for p in 0..<4 {
                    for n in 0..<N { sums[unchecked: p][unchecked: n] = I.replacing(sums[unchecked: p][unchecked: n], below: low, with: low) }
                }
                for p in 0..<4 {
                    for n in 0..<N { sums[unchecked: p][unchecked: n] = I.replacing(sums[unchecked: p][unchecked: n], above: high, with: high) }
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
                    for n in 0..<N { target.storeBytes(of: sums[unchecked: p][unchecked: n], toByteOffset: n &* I.bytes, as: I.Vector.self) }
                }
            }
        }
        place &+= N &* I.bytes
    }
}
