/// The work of one register tile of a matrix product: R rows times N vectors of sums of products over pixels (kernel gradients) or input
/// channels (`TapProducts`).
public struct OuterProductArguments<Scalar> {
    /// `[segment]`: where the first pixel's elements stand, before the offsets: R to be broadcast, and N vectors.
    public var lefts: UnsafePointer<UnsafePointer<Scalar>>
    public var rights: UnsafePointer<UnsafePointer<Scalar>>
    public var leftOffset: Int
    public var rightOffset: Int
    /// Elements from pixel to pixel.
    public var leftPitch: Int
    public var rightPitch: Int
    public var segments: Int
    /// Pixels per segment, at least 1.
    public var length: Int
    /// After this many segments the registers are added to `tile` and start anew.
    public var segmentsPerChunk: Int
    /// `[R][N vectors]`: the sums so far, if it continues; `tilePitch` elements from row to row.
    public var tile: UnsafeMutablePointer<Scalar>
    public var tilePitch: Int
    public var continues: Bool

    @inlinable @inline(__always)
    public init(
        lefts: UnsafePointer<UnsafePointer<Scalar>>, rights: UnsafePointer<UnsafePointer<Scalar>>, leftOffset: Int, rightOffset: Int,
        leftPitch: Int, rightPitch: Int, segments: Int, length: Int, segmentsPerChunk: Int,
        tile: UnsafeMutablePointer<Scalar>, tilePitch: Int, continues: Bool
    ) {
        self.lefts = lefts
        self.rights = rights
        self.leftOffset = leftOffset
        self.rightOffset = rightOffset
        self.leftPitch = leftPitch
        self.rightPitch = rightPitch
        self.segments = segments
        self.length = length
        self.segmentsPerChunk = segmentsPerChunk
        self.tile = tile
        self.tilePitch = tilePitch
        self.continues = continues
    }
}

/// tile[r][n] = sum over segments s, pixels p of lefts[s][leftOffset + p * leftPitch + r] * rights[s][rightOffset + p * rightPitch + n],
/// or += if the tile continues.
@inlinable @inline(__always)
public func accumulateOuterProducts<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, rows: InlineArray<R, Bool>.Type, vectors: InlineArray<N, Bool>.Type, _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: OuterProductArguments<I.Scalar>.self).pointee
    let rightStep = arguments.rightPitch &* MemoryLayout<I.Scalar>.stride
    var continues = arguments.continues
    var segment = 0
    while segment < arguments.segments {
        var end = segment &+ arguments.segmentsPerChunk
        if end > arguments.segments { end = arguments.segments }
        var sums = InlineArray<R, InlineArray<N, I.Vector>>(repeating: InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0)))
        while segment < end {
            var left = arguments.lefts[segment] + arguments.leftOffset
            var right = UnsafeRawPointer(arguments.rights[segment] + arguments.rightOffset)
            var remaining = arguments.length
            repeat {
                var columns = InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0))
                for n in 0..<N {
                    columns[unchecked: n] = right.loadUnaligned(fromByteOffset: n &* I.bytes, as: I.Vector.self)
                }
                for r in 0..<R {
                    let x = I.Vector(repeating: left[r])
                    for n in 0..<N {
                        sums[unchecked: r][unchecked: n] = I.multiplyAdd(x, columns[unchecked: n], sums[unchecked: r][unchecked: n])
                    }
                }
                left += arguments.leftPitch
                right += rightStep
                remaining &-= 1
            } while remaining > 0
            segment &+= 1
        }
        fold(I.self, sums, into: arguments.tile, pitch: arguments.tilePitch, continues: continues)
        continues = true
    }
}
