/// The work of one register tile: R output pixels times N vectors of output channels.
///
/// The sum of one output element runs over `segments` (one per kernel tap) of `length` input channels each. All R pixels of a
/// segment read the same `length * N` vectors of the panel; each reads its own run of input channels.
public struct TileArguments<Scalar> {
    /// `[segment][R]`: where each pixel's run of input channels starts, before `channelOffset`.
    public var runs: UnsafePointer<UnsafePointer<Scalar>>
    public var channelOffset: Int
    public var segments: Int
    public var length: Int
    /// After this many segments the registers are added to `tile` and start anew: see "Order of the sum" in this module's README.
    public var segmentsPerChunk: Int
    /// Packed weights `[segment][channel][N vectors]`.
    public var panel: UnsafePointer<Scalar>
    /// `[R][N vectors]`: added to.
    public var tile: UnsafeMutablePointer<Scalar>

    @inlinable @inline(__always)
    public init(
        runs: UnsafePointer<UnsafePointer<Scalar>>, channelOffset: Int, segments: Int, length: Int, segmentsPerChunk: Int,
        panel: UnsafePointer<Scalar>, tile: UnsafeMutablePointer<Scalar>
    ) {
        self.runs = runs
        self.channelOffset = channelOffset
        self.segments = segments
        self.length = length
        self.segmentsPerChunk = segmentsPerChunk
        self.panel = panel
        self.tile = tile
    }
}

/// A tile kernel with its register tile. The function takes an `UnsafePointer<TileArguments<Scalar>>`: C function pointers carry no
/// context, so a table of them needs no allocation and no reference counting.
public struct TileKernel {
    public var rows: Int
    public var vectors: Int
    public var accumulate: @convention(c) (UnsafeRawPointer) -> Void

    @inlinable @inline(__always)
    public init(rows: Int, vectors: Int, accumulate: @escaping @convention(c) (UnsafeRawPointer) -> Void) {
        self.rows = rows
        self.vectors = vectors
        self.accumulate = accumulate
    }
}

/// acc + a * b, in one rounding where the tier has such an instruction.
@inlinable @inline(__always)
func multiplyAdd<I: InstructionSet, V: SIMD>(_: I.Type, _ acc: inout V, _ a: V, _ b: V) where V.Scalar: FloatingPoint {
    if I.fusesMultiplyAdd {
        acc.addProduct(a, b)
    } else {
        acc += a * b
    }
}

/// tile[r][n] += sum over segments s, channels c of runs[s][r][channelOffset + c] * panel[s][c][n]
///
/// The order of the sum is the order of the panel: one chain of multiply-adds per output element and chunk. `R` and `N` are given
/// by the types of `rows` and `vectors`, whose values play no part (Swift has no explicit specialisation of functions).
@inlinable @inline(__always)
public func accumulateTile<I: InstructionSet, V: SIMD, let R: Int, let N: Int>(
    _: I.Type, _: V.Type, rows: InlineArray<R, Bool>.Type, vectors: InlineArray<N, Bool>.Type, _ raw: UnsafeRawPointer
) where V.Scalar: FloatingPoint {
    let arguments = raw.assumingMemoryBound(to: TileArguments<V.Scalar>.self).pointee
    let bytes = V.scalarCount &* MemoryLayout<V.Scalar>.stride
    var panel = UnsafeRawPointer(arguments.panel)
    var runs = arguments.runs
    var remaining = arguments.segments
    while remaining > 0 {
        var chunk = remaining < arguments.segmentsPerChunk ? remaining : arguments.segmentsPerChunk
        remaining &-= chunk
        var sums = InlineArray<R, InlineArray<N, V>>(repeating: InlineArray<N, V>(repeating: V(repeating: 0)))
        while chunk > 0 {
            chunk &-= 1
            var starts = InlineArray<R, UnsafePointer<V.Scalar>>(repeating: runs[0])
            for r in 0..<R { starts[unchecked: r] = runs[r] + arguments.channelOffset }
            runs += R
            var c = 0
            while c < arguments.length {
                var weights = InlineArray<N, V>(repeating: V(repeating: 0))
                for n in 0..<N {
                    weights[unchecked: n] = panel.loadUnaligned(fromByteOffset: n &* bytes, as: V.self)
                }
                panel += N &* bytes
                for r in 0..<R {
                    let x = V(repeating: starts[unchecked: r][c])
                    for n in 0..<N {
                        multiplyAdd(I.self, &sums[unchecked: r][unchecked: n], x, weights[unchecked: n])
                    }
                }
                c &+= 1
            }
        }
        let tile = UnsafeMutableRawPointer(arguments.tile)
        for r in 0..<R {
            for n in 0..<N {
                let offset = (r &* N &+ n) &* bytes
                let total = tile.loadUnaligned(fromByteOffset: offset, as: V.self) + sums[unchecked: r][unchecked: n]
                tile.storeBytes(of: total, toByteOffset: offset, as: V.self)
            }
        }
    }
}
