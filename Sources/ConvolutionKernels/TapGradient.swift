import CConvolutionShims

/// Points that follow each other in a row, and the image pixels that they meet.
public struct TapSegment {
    /// For each of three kernel rows the addresses of image pixels, of which a point's taps meet neighbours. Without addresses,
    /// the pixel of column 0, and from column to column: of a row outside, what stands for its pixels, and 0.
    public var image: InlineArray<3, UnsafeRawPointer>
    public var pitches: InlineArray<3, Int>
    /// The first point.
    public var points: UnsafeRawPointer
    /// At least 1.
    public var length: Int
    /// The next segment is the next row of points of the same image, and what these meet lies as many image rows below as their
    /// columns apart. Without addresses.
    public var sharesRows: Bool

    @inlinable @inline(__always)
    public init(
        image: InlineArray<3, UnsafeRawPointer>, pitches: InlineArray<3, Int>, points: UnsafeRawPointer, length: Int,
        sharesRows: Bool
    ) {
        self.image = image
        self.pitches = pitches
        self.points = points
        self.length = length
        self.sharesRows = sharesRows
    }
}

/// Kernel gradients of many groups: three rows by three columns of taps, for a vector of image channels. Distances are in bytes.
public struct TapGradientArguments {
    public var segments: UnsafePointer<TapSegment>
    public var count: Int
    /// After this many segments the registers are added to `tile` and start anew.
    public var segmentsPerChunk: Int
    /// To the first tap's column, among the addresses, and from point to point there. Without addresses, that column.
    public var column: Int
    public var step: Int
    /// To the channels of the vector, and from point to point.
    public var imageOffset: Int
    public var pointOffset: Int
    public var pointPitch: Int
    /// From a point to one that is fetched ahead, and among the addresses to those of a pixel, so many of which follow the last
    /// one. Where all is in a level-2 cache it is 0.
    public var pointAhead: Int
    public var ahead: Int
    /// See `InstructionSet.arranged`: the points' channels that the image channels meet.
    public var places: UnsafeRawPointer
    /// `[3][3]` vectors, `tilePitch` apart: the sums so far, if it continues.
    public var tile: UnsafeMutableRawPointer
    public var tilePitch: Int
    public var continues: Bool
    /// `accumulateDepthwiseGradients`: columns of the image, what stands for pixels outside, and from a vector's tile to that of
    /// the next.
    public var width: Int
    public var outside: UnsafeRawPointer
    public var vectorPitch: Int

    @inlinable @inline(__always)
    public init(
        segments: UnsafePointer<TapSegment>, count: Int, segmentsPerChunk: Int, column: Int, step: Int, imageOffset: Int,
        pointOffset: Int, pointPitch: Int, pointAhead: Int, ahead: Int,
        places: UnsafeRawPointer, tile: UnsafeMutableRawPointer, tilePitch: Int, continues: Bool, width: Int,
        outside: UnsafeRawPointer, vectorPitch: Int
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
        self.width = width
        self.outside = outside
        self.vectorPitch = vectorPitch
    }
}

/// tile[a][b][lane] = sum over segments, points p of
///     image[a][column + p * step + b][imageOffset + lane] * points[p][places[lane]], or += if the tile continues.
///
/// Of P neighbouring points each has sums of its own: 9 sums are too few for two units of latency 4. Pixels that the next point
/// meets too stay in registers, S being the step; where S is 3, for any step, none do.
@inlinable @inline(__always)
public func accumulateTapGradients<I: InstructionSet, let S: Int, let P: Int>(
    _: I.Type, step: Count<S>.Type, points: Count<P>.Type, _ raw: UnsafeRawPointer
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
            var window = firstPixels(I.self, step: Count<S>.self, rows, column, offset)
            var length = segment.pointee.length
            if length < P {
                // Nothing for all of them.
            } else if P > 1, S == 1, arguments.ahead > 0 {
                walkPoints(
                    I.self, step: Count<S>.self, fetches: true, &sums, &window, rows, &column, step, &point, &length,
                    arguments)
            } else {
                // What fetches an image that a level-2 cache holds would take as long as one of a point's nine products.
                walkPoints(
                    I.self, step: Count<S>.self, fetches: false, &sums, &window, rows, &column, step, &point, &length,
                    arguments)
            }
            if P > 1, length > 0 {
                let g = I.arranged(point.loadUnaligned(as: I.Vector.self), places)
                multiplyTaps(I.self, step: Count<S>.self, &sums[unchecked: 0], &window, rows, column, offset, g)
            }
            segment += 1
            chunk &-= 1
        } while chunk > 0
        var totals = sums[unchecked: 0]
        if P > 1 {
            for tap in 0..<9 { totals[unchecked: tap] = I.sum(totals[unchecked: tap], sums[unchecked: P &- 1][unchecked: tap]) }
        }
        store(I.self, totals, to: arguments.tile, pitch: arguments.tilePitch, continues: continues)
        continues = true
    }
}

/// The pixels of the first point's taps that the second meets too.
@inlinable @inline(__always)
func firstPixels<I: InstructionSet, let S: Int>(
    _: I.Type, step _: Count<S>.Type, _ rows: InlineArray<3, UnsafeRawPointer>, _ column: Int, _ offset: Int
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

/// The taps' sums over a chunk.
@inlinable @inline(__always)
func store<I: InstructionSet>(
    _: I.Type, _ sums: InlineArray<9, I.Vector>, to tile: UnsafeMutableRawPointer, pitch: Int, continues: Bool
) {
    var totals = sums
    if continues {
        for tap in 0..<9 {
            totals[unchecked: tap] = I.sum((tile + tap &* pitch).loadUnaligned(as: I.Vector.self), totals[unchecked: tap])
        }
    }
    for tap in 0..<9 { (tile + tap &* pitch).storeBytes(of: totals[unchecked: tap], as: I.Vector.self) }
}

/// P points at a time.
@inlinable @inline(__always)
func walkPoints<I: InstructionSet, let S: Int, let P: Int>(
    _: I.Type, step _: Count<S>.Type, fetches: Bool, _ sums: inout InlineArray<P, InlineArray<9, I.Vector>>,
    _ window: inout InlineArray<3, InlineArray<2, I.Vector>>, _ rows: InlineArray<3, UnsafeRawPointer>, _ column: inout Int,
    _ step: Int, _ point: inout UnsafeRawPointer, _ length: inout Int, _ arguments: TapGradientArguments
) {
    repeat {
        for p in 0..<P {
            let g = I.arranged(point.loadUnaligned(as: I.Vector.self), arguments.places)
            if fetches {
                shim_prefetch_near(point + arguments.pointAhead)
                shim_prefetch_near(pixelAddress(rows[unchecked: 2], column &+ arguments.ahead) + arguments.imageOffset)
            }
            multiplyTaps(
                I.self, step: Count<S>.self, &sums[unchecked: p], &window, rows, column, arguments.imageOffset, g)
            column &+= step
            point += arguments.pointPitch
        }
        length &-= P
    } while length >= P
}

/// One point.
@inlinable @inline(__always)
func multiplyTaps<I: InstructionSet, let S: Int>(
    _: I.Type, step: Count<S>.Type, _ sums: inout InlineArray<9, I.Vector>,
    _ window: inout InlineArray<3, InlineArray<2, I.Vector>>, _ rows: InlineArray<3, UnsafeRawPointer>, _ column: Int,
    _ offset: Int, _ g: I.Vector
) {
    for a in 0..<3 {
        multiplyTapRow(I.self, step: Count<S>.self, &sums, &window, a, g) {
            tapPixel(I.self, rows[unchecked: a], column &+ $0 &* MemoryLayout<UnsafeRawPointer>.stride, offset)
        }
    }
}

/// One point's taps of a kernel row. `window` has the pixels of the first taps, and then those of the next point; those of the
/// others are `new`.
@inlinable @inline(__always)
func multiplyTapRow<I: InstructionSet, let S: Int>(
    _: I.Type, step: Count<S>.Type, _ sums: inout InlineArray<9, I.Vector>,
    _ window: inout InlineArray<3, InlineArray<2, I.Vector>>, _ a: Int, _ g: I.Vector, new: (_ tap: Int) -> I.Vector
) {
    var pixels = InlineArray<3, I.Vector>(repeating: g)
    for b in 0..<3 { pixels[unchecked: b] = S &+ b < 3 ? window[unchecked: a][unchecked: b] : new(b) }
    for b in 0..<3 { sums[unchecked: 3 &* a &+ b] = I.multiplyAdd(pixels[unchecked: b], g, sums[unchecked: 3 &* a &+ b]) }
    if S < 3 {
        for b in 0..<3 &- S { window[unchecked: a][unchecked: b] = pixels[unchecked: S &+ b] }
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

/// The same of a depthwise layer with strides S, without addresses, for images with a border of one value of which no more than
/// 3 - S columns are met on the left:
///
/// tile[v][a][b][lane] = sum over segments, points p of image[a][column + p * S + b][v][lane] * points[p][v][lane]
///
/// Of P neighbouring points each has sums of its own; or of V vectors, if P is 1: of an image that a level-2 cache does not hold
/// pixels lie pages apart, and each page is visited half as often. Where such a cache holds it, of two rows of points, if V is 1:
/// half as many rows begin and end, and each pixel is met twice and not three times.
@inlinable @inline(__always)
public func accumulateDepthwiseGradients<I: InstructionSet, let S: Int, let P: Int, let V: Int>(
    _: I.Type, step: Count<S>.Type, points: Count<P>.Type, vectors: Count<V>.Type,
    _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: TapGradientArguments.self).pointee
    var segment = arguments.segments
    // All are as long. Points whose pixels are not behind the end of a row.
    let whole = arguments.width &- 3 &- arguments.column
    let inner = whole < 0 ? 0 : min(whole / S &+ 1, segment.pointee.length)
    var remaining = arguments.count
    var continues = arguments.continues
    while remaining > 0 {
        var chunk = remaining < arguments.segmentsPerChunk ? remaining : arguments.segmentsPerChunk
        remaining &-= chunk
        var sums = InlineArray<2, InlineArray<9, I.Vector>>(
            repeating: InlineArray<9, I.Vector>(repeating: I.Vector(repeating: 0)))
        repeat {
            if V == 1, chunk > 1, segment.pointee.sharesRows, arguments.ahead == 0 {
                walkRows(
                    I.self, step: Count<S>.self, points: Count<1>.self, vectors: Count<1>.self, rows: Count<2>.self, &sums,
                    segment, inner: inner, arguments)
                segment += 2
                chunk &-= 2
            } else {
                walkRows(
                    I.self, step: Count<S>.self, points: Count<P>.self, vectors: Count<V>.self, rows: Count<1>.self, &sums,
                    segment, inner: inner, arguments)
                segment += 1
                chunk &-= 1
            }
        } while chunk > 0
        for v in 0..<V {
            var totals = sums[unchecked: v]
            if V == 1 {
                for tap in 0..<9 { totals[unchecked: tap] = I.sum(totals[unchecked: tap], sums[unchecked: 1][unchecked: tap]) }
            }
            store(
                I.self, totals, to: arguments.tile + v &* arguments.vectorPitch, pitch: arguments.tilePitch, continues: continues)
        }
        continues = true
    }
}

/// A row of points, or R of them that share image rows.
@inlinable @inline(__always)
func walkRows<I: InstructionSet, let S: Int, let P: Int, let V: Int, let R: Int>(
    _: I.Type, step: Count<S>.Type, points: Count<P>.Type, vectors: Count<V>.Type, rows: Count<R>.Type,
    _ sums: inout InlineArray<2, InlineArray<9, I.Vector>>, _ segment: UnsafePointer<TapSegment>, inner: Int,
    _ arguments: TapGradientArguments
) {
    let imageRows = 3 &+ (R &- 1) &* S
    let outside = arguments.outside + arguments.imageOffset
    // The new pixels of a point.
    var pixels = InlineArray<5, UnsafeRawPointer>(repeating: outside)
    var pitches = InlineArray<5, Int>(repeating: 0)
    for a in 0..<imageRows {
        let (place, row) = a < 3 ? (segment, a) : (segment + 1, a &- S)
        pitches[unchecked: a] = place.pointee.pitches[unchecked: row]
        pixels[unchecked: a] = place.pointee.image[unchecked: row]
            + (arguments.imageOffset &+ arguments.column &* pitches[unchecked: a])
    }
    var windows = InlineArray<V, InlineArray<5, InlineArray<2, I.Vector>>>(
        repeating: InlineArray<5, InlineArray<2, I.Vector>>(
            repeating: InlineArray<2, I.Vector>(repeating: I.Vector(repeating: 0))))
    for b in 0..<3 &- S {
        let column = arguments.column &+ b
        let isInside = column >= 0 && column < arguments.width
        for a in 0..<imageRows {
            let pixel = isInside ? pixels[unchecked: a] : outside
            for v in 0..<V {
                windows[unchecked: v][unchecked: a][unchecked: b] = pixel.loadUnaligned(
                    fromByteOffset: v &* I.bytes, as: I.Vector.self)
            }
            pixels[unchecked: a] += pitches[unchecked: a]
        }
    }
    var point = segment.pointee.points + arguments.pointOffset
    let nextRow = R == 1 ? 0 : segment[1].points - segment.pointee.points
    var length = inner
    var rest = segment.pointee.length &- inner
    while true {
        while P > 1, length >= P {
            for p in 0..<P {
                multiplyNew(
                    I.self, step: Count<S>.self, vectors: Count<V>.self, rows: Count<R>.self, p, &sums, &windows, &pixels,
                    pitches, point, nextRow)
                point += arguments.pointPitch
            }
            length &-= P
        }
        while length > 0 {
            multiplyNew(
                I.self, step: Count<S>.self, vectors: Count<V>.self, rows: Count<R>.self, 0, &sums, &windows, &pixels, pitches,
                point, nextRow)
            point += arguments.pointPitch
            length &-= 1
        }
        if rest == 0 { break }
        // One that ends outside. The first of these may begin inside.
        let column = arguments.column &+ 3 &- S &+ (segment.pointee.length &- rest) &* S
        for a in 0..<imageRows {
            if S == 1 || column >= arguments.width { pixels[unchecked: a] = outside }
            pitches[unchecked: a] = outside - pixels[unchecked: a]
        }
        (length, rest) = (1, rest &- 1)
    }
}

/// One point, of each of R rows, and its new pixels.
@inlinable @inline(__always)
func multiplyNew<I: InstructionSet, let S: Int, let V: Int, let R: Int>(
    _: I.Type, step: Count<S>.Type, vectors: Count<V>.Type, rows: Count<R>.Type, _ p: Int,
    _ sums: inout InlineArray<2, InlineArray<9, I.Vector>>,
    _ windows: inout InlineArray<V, InlineArray<5, InlineArray<2, I.Vector>>>,
    _ pixels: inout InlineArray<5, UnsafeRawPointer>, _ pitches: InlineArray<5, Int>, _ point: UnsafeRawPointer, _ nextRow: Int
) {
    for v in 0..<V {
        let bytes = v &* I.bytes
        let g = point.loadUnaligned(fromByteOffset: bytes, as: I.Vector.self)
        // Of the next row, which meets image row a as kernel row a - S.
        let h = R == 1 ? g : (point + nextRow).loadUnaligned(fromByteOffset: bytes, as: I.Vector.self)
        // No loop: only then is all in registers.
        func row(_ a: Int) {
            // In this order one register suffices for the pixels of a window and a new one.
            for b in 0..<3 {
                let pixel = S &+ b < 3 ? windows[unchecked: v][unchecked: a][unchecked: b]
                    : (pixels[unchecked: a] + (b &- (3 &- S)) &* pitches[unchecked: a]).loadUnaligned(
                        fromByteOffset: bytes, as: I.Vector.self)
                if a < 3 { multiplyTap(I.self, &sums[unchecked: (R == 1 ? p : 0) &+ v], 3 &* a &+ b, pixel, g) }
                if R > 1, a >= S { multiplyTap(I.self, &sums[unchecked: 1], 3 &* (a &- S) &+ b, pixel, h) }
                if b >= S { windows[unchecked: v][unchecked: a][unchecked: b &- S] = pixel }
            }
            pixels[unchecked: a] += v == V &- 1 ? S &* pitches[unchecked: a] : 0
        }
        row(0)
        row(1)
        row(2)
        if R > 1 { row(3) }
        if R > 1, S > 1 { row(4) }
    }
}

@inlinable @inline(__always)
func multiplyTap<I: InstructionSet>(
    _: I.Type, _ sums: inout InlineArray<9, I.Vector>, _ tap: Int, _ pixel: I.Vector, _ g: I.Vector
) {
    sums[unchecked: tap] = I.multiplyAdd(pixel, g, sums[unchecked: tap])
}
