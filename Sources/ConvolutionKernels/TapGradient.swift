import CConvolutionShims

/// Points that follow each other in a row, and the image pixels that they meet.
public struct TapSegment {
    /// For each of three kernel rows the addresses of image pixels, of which a point's taps meet neighbours.
    public var image: InlineArray<3, UnsafeRawPointer>
    /// The first point.
    public var points: UnsafeRawPointer
    /// At least 1.
    public var length: Int

    @inlinable @inline(__always)
    public init(image: InlineArray<3, UnsafeRawPointer>, points: UnsafeRawPointer, length: Int) {
        self.image = image
        self.points = points
        self.length = length
    }
}

/// Kernel gradients of many groups: three rows by three columns of taps, for a vector of image channels. Distances are in bytes.
public struct TapGradientArguments {
    public var segments: UnsafePointer<TapSegment>
    public var count: Int
    /// After this many segments the registers are added to `tile` and start anew.
    public var segmentsPerChunk: Int
    /// To the first tap's column, among the addresses, and from point to point there.
    public var column: Int
    public var step: Int
    /// To the channels of the vector, and from point to point.
    public var imageOffset: Int
    public var pointOffset: Int
    public var pointPitch: Int
    /// From a point to one that is fetched ahead, and among the addresses to those of a pixel. So many follow the last one.
    public var pointAhead: Int
    public var ahead: Int
    /// See `InstructionSet.arranged`: the points' channels that the image channels meet.
    public var places: UnsafeRawPointer
    /// `[3][3]` vectors, `tilePitch` apart: the sums so far, if it continues.
    public var tile: UnsafeMutableRawPointer
    public var tilePitch: Int
    public var continues: Bool
    /// `accumulateTapGradientPairs`: from a vector's tile to that of the next.
    public var pairPitch = 0

    @inlinable @inline(__always)
    public init(
        segments: UnsafePointer<TapSegment>, count: Int, segmentsPerChunk: Int, column: Int, step: Int, imageOffset: Int,
        pointOffset: Int, pointPitch: Int, pointAhead: Int, ahead: Int,
        places: UnsafeRawPointer, tile: UnsafeMutableRawPointer, tilePitch: Int, continues: Bool
    ) {
        self.segments = segments
        self.count = count
        self.segmentsPerChunk = segmentsPerChunk
        self.column = column
        self.step = step
        self.imageOffset = imageOffset
        self.pointOffset = pointOffset
        self.pointPitch = pointPitch
        self.pointAhead = pointAhead
        self.ahead = ahead
        self.places = places
        self.tile = tile
        self.tilePitch = tilePitch
        self.continues = continues
    }
}

/// tile[a][b][lane] = sum over segments, points p of
///     image[a][column + p * step + b][imageOffset + lane] * points[p][places[lane]], or += if the tile continues.
///
/// Of P neighbouring points each has sums of its own: 9 sums are too few for two units of latency 4. Pixels that the next point
/// meets too stay in registers, S being the step; where S is 3, for any step, none do.
@inlinable @inline(__always)
public func accumulateTapGradients<I: InstructionSet, let S: Int, let P: Int>(
    _: I.Type, step: InlineArray<S, Bool>.Type, points: InlineArray<P, Bool>.Type, _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: TapGradientArguments.self).pointee
    let offset = arguments.imageOffset
    let places = arguments.places
    let address = MemoryLayout<UnsafeRawPointer>.stride
    let step = S < 3 ? S &* address : arguments.step
    var segment = arguments.segments
    var remaining = arguments.count
    var continues = arguments.continues
    while remaining > 0 {
        var chunk = remaining < arguments.segmentsPerChunk ? remaining : arguments.segmentsPerChunk
        remaining &-= chunk
        let zero = I.Vector(repeating: 0)
        var sums = InlineArray<P, InlineArray<9, I.Vector>>(repeating: InlineArray<9, I.Vector>(repeating: zero))
        repeat {
            let rows = segment.pointee.image
            var point = segment.pointee.points + arguments.pointOffset
            var column = arguments.column
            var window = firstPixels(I.self, step: InlineArray<S, Bool>.self, rows, column, offset)
            var length = segment.pointee.length
            if length < P {
                // Nothing for all of them.
            } else if P > 1, arguments.ahead == 0 {
                // A level-2 cache holds the image: what fetches it would take as long as one of a point's nine products.
                walkPoints(
                    I.self, step: InlineArray<S, Bool>.self, fetches: false, &sums, &window, rows, &column, step, &point, &length,
                    arguments)
            } else {
                walkPoints(
                    I.self, step: InlineArray<S, Bool>.self, fetches: true, &sums, &window, rows, &column, step, &point, &length,
                    arguments)
            }
            if P > 1, length > 0 {
                let g = I.arranged(point.loadUnaligned(as: I.Vector.self), places)
                multiplyTaps(I.self, step: InlineArray<S, Bool>.self, &sums[unchecked: 0], &window, rows, column, offset, g)
            }
            segment += 1
            chunk &-= 1
        } while chunk > 0
        for tap in 0..<9 {
            var total = sums[unchecked: 0][unchecked: tap]
            if P > 1 { total = I.sum(total, sums[unchecked: P &- 1][unchecked: tap]) }
            store(I.self, total, to: arguments.tile + tap &* arguments.tilePitch, continues: continues)
        }
        continues = true
    }
}

/// The same for two vectors of channels, each of which meets the points' channel of its own place. Of an image that a level-2
/// cache does not hold pixels lie pages apart: each page is visited half as often.
@inlinable @inline(__always)
public func accumulateTapGradientPairs<I: InstructionSet, let S: Int>(
    _: I.Type, step: InlineArray<S, Bool>.Type, _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: TapGradientArguments.self).pointee
    let address = MemoryLayout<UnsafeRawPointer>.stride
    var segment = arguments.segments
    var remaining = arguments.count
    var continues = arguments.continues
    while remaining > 0 {
        var chunk = remaining < arguments.segmentsPerChunk ? remaining : arguments.segmentsPerChunk
        remaining &-= chunk
        let zero = I.Vector(repeating: 0)
        var sums = InlineArray<2, InlineArray<9, I.Vector>>(repeating: InlineArray<9, I.Vector>(repeating: zero))
        repeat {
            let rows = segment.pointee.image
            var point = segment.pointee.points + arguments.pointOffset
            var column = arguments.column
            var windows: InlineArray<2, InlineArray<3, InlineArray<2, I.Vector>>> = [
                firstPixels(I.self, step: InlineArray<S, Bool>.self, rows, column, arguments.imageOffset),
                firstPixels(I.self, step: InlineArray<S, Bool>.self, rows, column, arguments.imageOffset &+ I.bytes),
            ]
            var length = segment.pointee.length
            repeat {
                for v in 0..<2 {
                    multiplyTaps(
                        I.self, step: InlineArray<S, Bool>.self, &sums[unchecked: v], &windows[unchecked: v], rows, column,
                        arguments.imageOffset &+ v &* I.bytes,
                        point.loadUnaligned(fromByteOffset: v &* I.bytes, as: I.Vector.self))
                }
                column &+= S &* address
                point += arguments.pointPitch
                length &-= 1
            } while length > 0
            segment += 1
            chunk &-= 1
        } while chunk > 0
        for v in 0..<2 {
            for tap in 0..<9 {
                store(
                    I.self, sums[unchecked: v][unchecked: tap],
                    to: arguments.tile + (v &* arguments.pairPitch &+ tap &* arguments.tilePitch), continues: continues)
            }
        }
        continues = true
    }
}

/// The pixels of the first point's taps that the second meets too.
@inlinable @inline(__always)
func firstPixels<I: InstructionSet, let S: Int>(
    _: I.Type, step _: InlineArray<S, Bool>.Type, _ rows: InlineArray<3, UnsafeRawPointer>, _ column: Int, _ offset: Int
) -> InlineArray<3, InlineArray<2, I.Vector>> {
    var window = InlineArray<3, InlineArray<2, I.Vector>>(
        repeating: InlineArray<2, I.Vector>(repeating: I.Vector(repeating: 0)))
    if S < 3 {
        for a in 0..<3 {
            for b in 0..<3 &- S {
                window[unchecked: a][unchecked: b] = tapPixel(
                    I.self, rows[unchecked: a], column &+ b &* MemoryLayout<UnsafeRawPointer>.stride, offset)
            }
        }
    }
    return window
}

/// A tap's sum over a chunk.
@inlinable @inline(__always)
func store<I: InstructionSet>(_: I.Type, _ sum: I.Vector, to target: UnsafeMutableRawPointer, continues: Bool) {
    let total = continues ? I.sum(target.loadUnaligned(as: I.Vector.self), sum) : sum
    target.storeBytes(of: total, as: I.Vector.self)
}

/// P points at a time.
@inlinable @inline(__always)
func walkPoints<I: InstructionSet, let S: Int, let P: Int>(
    _: I.Type, step _: InlineArray<S, Bool>.Type, fetches: Bool, _ sums: inout InlineArray<P, InlineArray<9, I.Vector>>,
    _ window: inout InlineArray<3, InlineArray<2, I.Vector>>, _ rows: InlineArray<3, UnsafeRawPointer>, _ column: inout Int,
    _ step: Int, _ point: inout UnsafeRawPointer, _ length: inout Int, _ arguments: TapGradientArguments
) {
    repeat {
        for p in 0..<P {
            let g = I.arranged(point.loadUnaligned(as: I.Vector.self), arguments.places)
            if fetches {
                shim_prefetch_near(point + arguments.pointAhead)
                if S == 1 {
                    shim_prefetch_near(pixelAddress(rows[unchecked: 2], column &+ arguments.ahead) + arguments.imageOffset)
                }
            }
            multiplyTaps(
                I.self, step: InlineArray<S, Bool>.self, &sums[unchecked: p], &window, rows, column, arguments.imageOffset, g)
            column &+= step
            point += arguments.pointPitch
        }
        length &-= P
    } while length >= P
}

/// One point. `window` has the pixels of the first taps, and then those of the next point.
@inlinable @inline(__always)
func multiplyTaps<I: InstructionSet, let S: Int>(
    _: I.Type, step: InlineArray<S, Bool>.Type, _ sums: inout InlineArray<9, I.Vector>,
    _ window: inout InlineArray<3, InlineArray<2, I.Vector>>, _ rows: InlineArray<3, UnsafeRawPointer>, _ column: Int,
    _ offset: Int, _ g: I.Vector
) {
    let address = MemoryLayout<UnsafeRawPointer>.stride
    for a in 0..<3 {
        var pixels = InlineArray<3, I.Vector>(repeating: g)
        for b in 0..<3 {
            pixels[unchecked: b] = S &+ b < 3
                ? window[unchecked: a][unchecked: b] : tapPixel(I.self, rows[unchecked: a], column &+ b &* address, offset)
        }
        for b in 0..<3 { sums[unchecked: 3 &* a &+ b] = I.multiplyAdd(pixels[unchecked: b], g, sums[unchecked: 3 &* a &+ b]) }
        if S < 3 {
            for b in 0..<3 &- S { window[unchecked: a][unchecked: b] = pixels[unchecked: S &+ b] }
        }
    }
}

@inlinable @inline(__always)
func tapPixel<I: InstructionSet>(_: I.Type, _ row: UnsafeRawPointer, _ column: Int, _ offset: Int) -> I.Vector {
    pixelAddress(row, column).loadUnaligned(fromByteOffset: offset, as: I.Vector.self)
}

@inlinable @inline(__always)
func pixelAddress(_ row: UnsafeRawPointer, _ column: Int) -> UnsafeRawPointer {
    row.loadUnaligned(fromByteOffset: column, as: UnsafeRawPointer.self)
}
