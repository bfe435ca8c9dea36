import CConvolutionShims

/// The work of one register tile of a matrix product: R rows times N vectors of sums of products over pixels (kernel gradients)
/// or input channels (`TapProducts`). Distances are in elements.
public struct OuterProductArguments {
    /// `[segment]`: where the first pixel's elements stand, before the offsets: R to be broadcast, and N vectors.
    public var lefts: UnsafePointer<UnsafeRawPointer>
    public var rights: UnsafePointer<UnsafeRawPointer>
    public var leftOffset: Int
    public var rightOffset: Int
    /// From pixel to pixel.
    public var leftPitch: Int
    public var rightPitch: Int
    public var segments: Int
    /// Pixels per segment, at least 1.
    public var length: Int
    /// After this many segments the registers are added to `tile` and start anew.
    public var segmentsPerChunk: Int
    /// `[R][N vectors]`: the sums so far, if it continues; `tilePitch` from row to row.
    public var tile: UnsafeMutableRawPointer
    public var tilePitch: Int
    public var continues: Bool
    /// `accumulateOuterProducts`: the next tiles' lefts, which lie whole pixels apart, so that no processor foresees their lines.
    public var fetchesLefts = false
    /// `accumulateTapRow`: from tap to tap of the lefts, and of `tile`.
    public var tapPitch = 0
    public var tileTapPitch = 0
    /// `accumulateTapRow`: the first tap has no first pixel, the third tap no last one. There are others.
    public var startsOutside = false
    public var endsOutside = false

    @inlinable @inline(__always)
    public init(
        lefts: UnsafePointer<UnsafeRawPointer>, rights: UnsafePointer<UnsafeRawPointer>, leftOffset: Int, rightOffset: Int,
        leftPitch: Int, rightPitch: Int, segments: Int, length: Int, segmentsPerChunk: Int, tile: UnsafeMutableRawPointer,
        tilePitch: Int, continues: Bool
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

/// tile[r][n] = sum over segments s, pixels p of lefts[s][leftOffset + p * leftPitch + r] * rights[s][rightOffset + p *
/// rightPitch + n], or += if the tile continues.
@inlinable @inline(__always)
public func accumulateOuterProducts<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, rows: Count<R>.Type, vectors: Count<N>.Type, _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: OuterProductArguments.self).pointee
    let size = MemoryLayout<I.Scalar>.stride
    let rightStep = arguments.rightPitch &* size
    let fetchesLefts = arguments.fetchesLefts
    var continues = arguments.continues
    var segment = 0
    while segment < arguments.segments {
        var end = segment &+ arguments.segmentsPerChunk
        if end > arguments.segments { end = arguments.segments }
        var sums = InlineArray<R, InlineArray<N, I.Vector>>(
            repeating: InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0)))
        while segment < end {
            var left = arguments.lefts[segment].assumingMemoryBound(to: I.Scalar.self) + arguments.leftOffset
            var right = arguments.rights[segment] + arguments.rightOffset &* size
            var remaining = arguments.length
            repeat {
                var columns = InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0))
                for n in 0..<N {
                    columns[unchecked: n] = right.loadUnaligned(fromByteOffset: n &* I.bytes, as: I.Vector.self)
                }
                // Of one vector: two lefts per load, or there would be more loads than multiply-adds. (Nine are mostly taps that
                // neighbouring pixels share: 3x3 of 3 to 16 channels takes 1.26 times as long by twos.)
                let pairs = N == 1 && R == 8 && I.splitsTwos ? 2 : 0
                for pair in 0..<pairs {
                    let (x, first, second) = (I.twos(left + 2 &* pair), 2 &* pair, 2 &* pair &+ 1)
                    sums[unchecked: first][unchecked: 0] = I.multiplyAdd(
                        I.firsts(x), columns[unchecked: 0], sums[unchecked: first][unchecked: 0])
                    sums[unchecked: second][unchecked: 0] = I.multiplyAdd(
                        I.seconds(x), columns[unchecked: 0], sums[unchecked: second][unchecked: 0])
                }
                for r in 2 &* pairs..<R {
                    let x = I.Vector(repeating: left[r])
                    for n in 0..<N {
                        sums[unchecked: r][unchecked: n] = I.multiplyAdd(x, columns[unchecked: n],
                            sums[unchecked: r][unchecked: n])
                    }
                }
                // Shorter vectors have no load to spare.
                if I.bytes == 64, fetchesLefts { shim_prefetch(UnsafeRawPointer(left) + I.bytes) }
                left += arguments.leftPitch
                right += rightStep
                remaining &-= 1
            } while remaining > 0
            segment &+= 1
        }
        fold(
            I.self, sums, into: arguments.tile.assumingMemoryBound(to: I.Scalar.self), pitch: arguments.tilePitch,
            continues: continues)
        continues = true
    }
}

/// sums[r] += left[r] * right, two lefts per load where it `shuffles`.
@inlinable @inline(__always)
func multiplyLefts<I: InstructionSet, let R: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<1, I.Vector>>, _ left: UnsafePointer<I.Scalar>, _ right: I.Vector,
    shuffles: Bool = false
) {
    if shuffles {
        for r in 0..<R / 2 {
            let (x, first, second) = (I.twos(left + 2 &* r), 2 &* r, 2 &* r &+ 1)
            sums[unchecked: first][unchecked: 0] = I.multiplyAdd(I.firsts(x), right, sums[unchecked: first][unchecked: 0])
            sums[unchecked: second][unchecked: 0] = I.multiplyAdd(I.seconds(x), right, sums[unchecked: second][unchecked: 0])
        }
        return
    }
    for r in 0..<R {
        sums[unchecked: r][unchecked: 0] = I.multiplyAdd(I.Vector(repeating: left[r]), right, sums[unchecked: r][unchecked: 0])
    }
}

/// `accumulateOuterProducts` of one vector for three taps of a kernel row at once, R lefts each: one tap's are too few sums, and
/// read what lies in a level-2 cache three times as often.
@inlinable @inline(__always)
public func accumulateTapRow<I: InstructionSet, let R: Int>(_: I.Type, rows: Count<R>.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: OuterProductArguments.self).pointee
    let size = MemoryLayout<I.Scalar>.stride
    let zeros = InlineArray<R, InlineArray<1, I.Vector>>(repeating: InlineArray<1, I.Vector>(repeating: I.Vector(repeating: 0)))
    // Chunks are added side by side: rows of the tile may be so far apart that they share few sets of the caches.
    var totals = (zeros, zeros, zeros)
    withUnsafeMutableBytes(of: &totals) { bytes in
        guard let totals = bytes.baseAddress?.assumingMemoryBound(to: I.Scalar.self) else { return }
        let width = R &* I.lanes
        /// Each row of the tile, and where its total stands.
        func forEachRow(_ body: (UnsafeMutableRawPointer, UnsafeMutableRawPointer) -> Void) {
            var total = UnsafeMutableRawPointer(totals)
            for tap in 0..<3 {
                var row = arguments.tile + tap &* arguments.tileTapPitch &* size
                for _ in 0..<R {
                    body(row, total)
                    row += arguments.tilePitch &* size
                    total += I.bytes
                }
            }
        }
        var continues = arguments.continues
        if continues {
            forEachRow { row, total in total.storeBytes(of: row.loadUnaligned(as: I.Vector.self), as: I.Vector.self) }
        }
        let rightStep = arguments.rightPitch &* size
        let (second, third) = (arguments.tapPitch, 2 &* arguments.tapPitch)
        let inside = arguments.length &- (arguments.startsOutside ? 1 : 0) &- (arguments.endsOutside ? 1 : 0)
        var segment = 0
        while segment < arguments.segments {
            var end = segment &+ arguments.segmentsPerChunk
            if end > arguments.segments { end = arguments.segments }
            var (firsts, seconds, thirds) = (zeros, zeros, zeros)
            while segment < end {
                var left = arguments.lefts[segment].assumingMemoryBound(to: I.Scalar.self) + arguments.leftOffset
                var right = arguments.rights[segment] + arguments.rightOffset &* size
                if arguments.startsOutside {
                    let column = right.loadUnaligned(as: I.Vector.self)
                    multiplyLefts(I.self, &seconds, left + second, column)
                    multiplyLefts(I.self, &thirds, left + third, column)
                    left += arguments.leftPitch
                    right += rightStep
                }
                var remaining = inside
                repeat {
                    let column = right.loadUnaligned(as: I.Vector.self)
                    multiplyLefts(I.self, &firsts, left, column)
                    // By shuffles, or there would be more loads than multiply-adds.
                    multiplyLefts(I.self, &seconds, left + second, column, shuffles: I.splitsTwos)
                    multiplyLefts(I.self, &thirds, left + third, column)
                    left += arguments.leftPitch
                    right += rightStep
                    remaining &-= 1
                } while remaining > 0
                if arguments.endsOutside {
                    let column = right.loadUnaligned(as: I.Vector.self)
                    multiplyLefts(I.self, &firsts, left, column)
                    multiplyLefts(I.self, &seconds, left + second, column)
                }
                segment &+= 1
            }
            fold(I.self, firsts, into: totals, continues: continues)
            fold(I.self, seconds, into: totals + width, continues: continues)
            fold(I.self, thirds, into: totals + 2 &* width, continues: continues)
            continues = true
        }
        forEachRow { row, total in row.storeBytes(of: total.loadUnaligned(as: I.Vector.self), as: I.Vector.self) }
    }
}
