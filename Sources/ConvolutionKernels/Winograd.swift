import CConvolutionShims

// The transforms of Winograd's algorithm. F(4x4, 3x3): 4x4 outputs of a 3x3 convolution from 6x6 inputs by 36 products per pair
// of channels where the sum itself takes 144. And on small tiles, of 4x4 inputs, with 16 products: along an axis 2 outputs of
// 3 taps, or 3 outputs of 2 taps. See "Winograd" in this module's README.
//
// A tile of inputs is a polynomial of degree 5 per axis, a kernel one of degree 2; they are multiplied at six points, among them
// infinity. The points 0, 3/4, -3/4, 3/2, -3/2 keep the numbers of all three transforms near 1, where the usual 1 and 2 do not:
// the error is half as large. Small tiles have the points 0, 1, -1 and infinity. All constants below are exact in binary.

/// Points, and inputs, of a tile along one axis.
public let winogradSide = 6
public let smallWinogradSide = 4
/// Outputs of a tile along one axis, at most.
public let winogradOutputs = 4

/// A tile of the input to be transformed.
public struct WinogradInputArguments<Scalar> {
    /// `[6][6]`, or of a small tile `[4][4]`: the tile's pixels, each with neighbouring channels.
    public var pixels: UnsafePointer<UnsafePointer<Scalar>>
    /// Vectors of channels.
    public var vectors: Int
    /// A vector per point.
    public var scratch: UnsafeMutablePointer<Scalar>
    /// `[point][pointPitch]`: where the channels go.
    public var target: UnsafeMutablePointer<Scalar>
    public var pointPitch: Int
    /// Pixels along one axis.
    public var side: Int
    /// Bytes from a pixel to one that is read soon, which is fetched; 0: none.
    public var ahead: Int

    @inlinable @inline(__always)
    public init(
        pixels: UnsafePointer<UnsafePointer<Scalar>>, vectors: Int, scratch: UnsafeMutablePointer<Scalar>,
        target: UnsafeMutablePointer<Scalar>, pointPitch: Int, side: Int = 6, ahead: Int = 0
    ) {
        self.pixels = pixels
        self.vectors = vectors
        self.scratch = scratch
        self.target = target
        self.pointPitch = pointPitch
        self.side = side
        self.ahead = ahead
    }
}

/// A tile of sums to be transformed back and finished.
public struct WinogradOutputArguments<Scalar> {
    /// `[point][pointPitch]`: the output channels.
    public var sums: UnsafePointer<Scalar>
    public var pointPitch: Int
    /// Vectors of output channels.
    public var vectors: Int
    /// `[24]` vectors; of a small tile `[16]`.
    public var scratch: UnsafeMutablePointer<Scalar>
    /// `[4][4]`: where the pixels go, in whole vectors of neighbouring channels. Of a small tile the first rows and columns.
    public var outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>
    public var bias: UnsafePointer<Scalar>
    public var low: Scalar
    public var high: Scalar
    /// Points along one axis.
    public var side: Int
    /// Of a kernel column and row.
    public var rowTaps: Int
    public var columnTaps: Int
    /// Bytes from a pixel to one that is written soon, which is fetched; 0: none.
    public var ahead: Int

    @inlinable @inline(__always)
    public init(
        sums: UnsafePointer<Scalar>, pointPitch: Int, vectors: Int, scratch: UnsafeMutablePointer<Scalar>,
        outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>, bias: UnsafePointer<Scalar>, low: Scalar, high: Scalar,
        side: Int = 6, rowTaps: Int = 3, columnTaps: Int = 3,
        ahead: Int = 0
    ) {
        self.sums = sums
        self.pointPitch = pointPitch
        self.vectors = vectors
        self.scratch = scratch
        self.outputs = outputs
        self.bias = bias
        self.low = low
        self.high = high
        self.side = side
        self.rowTaps = rowTaps
        self.columnTaps = columnTaps
        self.ahead = ahead
    }
}

/// Sums of a kernel gradient to be transformed back.
public struct WinogradTapArguments<Scalar> {
    /// `[36][pitch]`: pairs of channels.
    public var sums: UnsafePointer<Scalar>
    /// `[9][pitch]`: the gradient.
    public var taps: UnsafeMutablePointer<Scalar>
    /// Whole vectors.
    public var pitch: Int
    /// 18 vectors.
    public var scratch: UnsafeMutablePointer<Scalar>
    /// Points along one axis.
    public var side = winogradSide

    @inlinable @inline(__always)
    public init(
        sums: UnsafePointer<Scalar>, taps: UnsafeMutablePointer<Scalar>, pitch: Int, scratch: UnsafeMutablePointer<Scalar>
    ) {
        self.sums = sums
        self.taps = taps
        self.pitch = pitch
        self.scratch = scratch
    }
}

/// The six points of a line of a kernel.
public typealias WinogradLine<Vector> = (Vector, Vector, Vector, Vector, Vector, Vector)
/// Three weights of one line of a kernel, or their parts.
public typealias WinogradWeights<Vector> = (Vector, Vector, Vector)

/// One line of inputs to one line of points: the coefficients of (x - q) multiplied over all other finite points q.
@inlinable @inline(__always)
func winogradPoints<I: InstructionSet>(_: I.Type, _ d: InlineArray<6, I.Vector>) -> InlineArray<6, I.Vector> {
    let a = I.Vector(repeating: I.Scalar(0.75))
    let b = I.Vector(repeating: I.Scalar(1.5))
    let minusA = I.Vector(repeating: I.Scalar(-0.75))
    let minusB = I.Vector(repeating: I.Scalar(-1.5))
    let minusAA = I.Vector(repeating: I.Scalar(-0.5625))
    let minusBB = I.Vector(repeating: I.Scalar(-2.25))
    let minusSum = I.Vector(repeating: I.Scalar(-2.8125))
    let aabb = I.Vector(repeating: I.Scalar(1.265625))
    // Even and odd parts, shared by a point and its opposite.
    let evenA = I.multiplyAdd(d[2], minusBB, d[4])
    let oddA = I.multiplyAdd(d[1], minusBB, d[3])
    let evenB = I.multiplyAdd(d[2], minusAA, d[4])
    let oddB = I.multiplyAdd(d[1], minusAA, d[3])
    return [
        I.multiplyAdd(d[0], aabb, I.multiplyAdd(d[2], minusSum, d[4])),
        I.multiplyAdd(oddA, a, evenA), I.multiplyAdd(oddA, minusA, evenA),
        I.multiplyAdd(oddB, b, evenB), I.multiplyAdd(oddB, minusB, evenB),
        I.multiplyAdd(d[1], aabb, I.multiplyAdd(d[3], minusSum, d[5]))
    ]
}

/// One line of points to one line of outputs: output j adds up the points' values times the point to the power of j.
@inlinable @inline(__always)
func winogradOutputs<I: InstructionSet>(_: I.Type, _ m: InlineArray<6, I.Vector>) -> InlineArray<4, I.Vector> {
    let minusOne = I.Vector(repeating: I.Scalar(-1))
    let a = I.Vector(repeating: I.Scalar(0.75))
    let b = I.Vector(repeating: I.Scalar(1.5))
    let aa = I.Vector(repeating: I.Scalar(0.5625))
    let bb = I.Vector(repeating: I.Scalar(2.25))
    let aaa = I.Vector(repeating: I.Scalar(0.421875))
    let bbb = I.Vector(repeating: I.Scalar(3.375))
    let evenA = I.sum(m[1], m[2])
    let oddA = I.multiplyAdd(m[2], minusOne, m[1])
    let evenB = I.sum(m[3], m[4])
    let oddB = I.multiplyAdd(m[4], minusOne, m[3])
    return [
        I.sum(m[0], I.sum(evenA, evenB)),
        I.multiplyAdd(oddA, a, I.product(oddB, b)),
        I.multiplyAdd(evenA, aa, I.product(evenB, bb)),
        I.multiplyAdd(oddA, aaa, I.multiplyAdd(oddB, bbb, m[5]))
    ]
}

/// Vectors `step` bytes apart.
@inlinable @inline(__always)
func winogradLine<I: InstructionSet, let count: Int>(
    _: I.Type, _ start: UnsafeRawPointer, step: Int
) -> InlineArray<count, I.Vector> {
    InlineArray { start.loadUnaligned(fromByteOffset: $0 &* step, as: I.Vector.self) }
}

@inlinable @inline(__always)
func storeWinogradLine<I: InstructionSet, let count: Int>(
    _: I.Type, _ line: InlineArray<count, I.Vector>, to place: UnsafeMutableRawPointer, step: Int
) {
    for i in 0..<count { place.storeBytes(of: line[unchecked: i], toByteOffset: i &* step, as: I.Vector.self) }
}

/// A tile's pixels as `transformInput` reads them: target[pixel][channel]. `outside` has neighbouring channels
/// whatever `channelStride`.
@inlinable @inline(__always)
public func packTile<Scalar: KernelScalar>(
    _ pixels: UnsafePointer<UnsafePointer<Scalar>>, count: Int, channels: Int, channelStride: Int,
    outside: UnsafePointer<Scalar>, pitch: Int, to target: UnsafeMutablePointer<Scalar>
) {
    if channelStride == 1 {
        var pixel = 0
        while pixel < count {
            copyElements(pixels[pixel], count: channels, to: target + pixel &* pitch)
            pixel &+= 1
        }
        return
    }
    var strides = InlineArray<36, Int>(repeating: channelStride)
    for pixel in 0..<count where pixels[pixel] == outside { strides[unchecked: pixel] = 1 }
    let side = count == 16 ? 4 : 6
    // Whether the first four pixels of a row, and the last four, are neighbours in the image.
    func areNeighbours(_ first: Int) -> Bool {
        // All three steps: a border that reflects may come back to where the fourth would be.
        pixels[first] != outside && pixels[first &+ 1] == pixels[first] + 1 && pixels[first &+ 2] == pixels[first] + 2
            && pixels[first &+ 3] == pixels[first] + 3
    }
    var first = Count<6>(repeating: false)
    var last = Count<6>(repeating: false)
    for row in 0..<side where MemoryLayout<Scalar>.stride == 4 {
        first[unchecked: row] = areNeighbours(row &* side)
        last[unchecked: row] = areNeighbours(row &* side &+ side &- 4)
    }
    // All of a channel's pixels, which lie in a few lines, then the next channel's, or four together by squares: planes may be a
    // multiple of 4096 bytes apart, and their lines would take turns in a few sets of the cache.
    var channel = 0
    while channel < channels {
        let together = MemoryLayout<Scalar>.stride == 4 && channel &+ 4 <= channels ? 4 : 1
        var row = 0
        while row < side {
            let start = row &* side
            func square(_ column: Int) {
                let place = target + ((start &+ column) &* pitch &+ channel)
                turnSquare(
                    pixels[start &+ column] + channel &* channelStride, lineBytes: channelStride &* 4, to: place, place + pitch,
                    place + 2 &* pitch, place + 3 &* pitch)
            }
            var (column, end) = (0, side)
            if together == 4 {
                if first[unchecked: row] {
                    square(0)
                    column = 4
                }
                if last[unchecked: row] {
                    if side > 4 { square(side &- 4) }
                    end = side &- 4
                }
            }
            while column < end {
                let (source, stride) = (pixels[start &+ column], strides[unchecked: start &+ column])
                let place = target + ((start &+ column) &* pitch &+ channel)
                for c in 0..<together { copyElement(source + (channel &+ c) &* stride, to: place + c) }
                column &+= 1
            }
            row &+= 1
        }
        channel &+= together
    }
}

/// The first rows and columns of finished tiles beside each other, `[tile][4][4]` pixels `pitch` apart, of which each has
/// `outputs` columns, to where they belong.
@inlinable @inline(__always)
public func unpackTiles<Scalar: KernelScalar>(
    _ tiles: UnsafePointer<Scalar>, pitch: Int, channels: Int, rows: Int, columns: Int, outputs: Int,
    to target: UnsafeMutablePointer<Scalar>, rowStride: Int, columnStride: Int, channelStride: Int
) {
    // Channel by channel, as in `packTile`.
    var channel = 0
    while channel < channels {
        let count = channelStride == 1 ? channels : MemoryLayout<Scalar>.stride == 4 && channel &+ 4 <= channels ? 4 : 1
        for row in 0..<rows {
            var source = tiles + (row &* winogradOutputs &* pitch &+ channel)
            var place = target + (channel &* channelStride &+ row &* rowStride)
            var left = columns
            while left > 0 {
                if count == 4, channelStride != 1 {
                    let square = turned(four(source), four(source + pitch), four(source + 2 &* pitch), four(source + 3 &* pitch))
                    let next = min(left, outputs)
                    store(square.0, to: place, count: next, step: columnStride)
                    store(square.1, to: place + channelStride, count: next, step: columnStride)
                    store(square.2, to: place + 2 &* channelStride, count: next, step: columnStride)
                    store(square.3, to: place + 3 &* channelStride, count: next, step: columnStride)
                } else {
                    for column in 0..<min(left, outputs) {
                        let pixel = place + column &* columnStride
                        if count > 1 {
                            copyElements(source + column &* pitch, count: count, to: pixel)
                        } else {
                            copyElement(source + column &* pitch, to: pixel)
                        }
                    }
                }
                source += winogradOutputs &* winogradOutputs &* pitch
                place += outputs &* columnStride
                left &-= outputs
            }
        }
        channel &+= count
    }
}

/// The first elements of four, `step` from one to the next.
@inlinable @inline(__always)
func store<Scalar: KernelScalar>(_ four: SIMD4<UInt32>, to target: UnsafeMutablePointer<Scalar>, count: Int, step: Int) {
    if step == 1, count == 4 {
        store(four, to: target)
        return
    }
    let target = UnsafeMutableRawPointer(target)
    target.storeBytes(of: four[0], as: UInt32.self)
    if count > 1 { target.storeBytes(of: four[1], toByteOffset: 4 &* step, as: UInt32.self) }
    if count > 2 { target.storeBytes(of: four[2], toByteOffset: 8 &* step, as: UInt32.self) }
    if count > 3 { target.storeBytes(of: four[3], toByteOffset: 12 &* step, as: UInt32.self) }
}

/// target[point][channel] = the tile at that point: columns first, then rows. The scratch between the two passes holds what 32
/// registers cannot. These loops, and those below, run `arguments.side` times, which the compiler does not know: unrolled they
/// are no faster, and all tiers together 7 KB longer.
@inlinable @inline(__always)
func transformPixels<I: InstructionSet, let pixels: Int, let points: Int>(
    _: I.Type, _ raw: UnsafeRawPointer, _ transform: (InlineArray<pixels, I.Vector>) -> InlineArray<points, I.Vector>
) {
    let arguments = raw.assumingMemoryBound(to: WinogradInputArguments<I.Scalar>.self).pointee
    let scratch = UnsafeMutableRawPointer(arguments.scratch)
    let pointBytes = arguments.pointPitch &* MemoryLayout<I.Scalar>.stride
    var target = UnsafeMutableRawPointer(arguments.target)
    var offset = 0
    let end = arguments.vectors &* I.bytes
    while offset < end {
        var column = 0
        while column < arguments.side {
            let place = arguments.pixels + column
            let line = transform(InlineArray {
                UnsafeRawPointer(place[$0 &* pixels]).loadUnaligned(fromByteOffset: offset, as: I.Vector.self)
            })
            if arguments.ahead != 0 {
                for row in 0..<pixels { shim_prefetch(UnsafeRawPointer(place[row &* pixels]) + (offset &+ arguments.ahead)) }
            }
            storeWinogradLine(I.self, line, to: scratch + column &* I.bytes, step: pixels &* I.bytes)
            column &+= 1
        }
        var place = target
        var row = 0
        while row < arguments.side &+ (points &- pixels) {
            let line = transform(winogradLine(I.self, scratch + row &* pixels &* I.bytes, step: I.bytes))
            storeWinogradLine(I.self, line, to: place, step: pointBytes)
            place += points &* pointBytes
            row &+= 1
        }
        offset &+= I.bytes
        target += I.bytes
    }
}

@inlinable @inline(__always)
public func transformInput<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    transformPixels(I.self, raw) { winogradPoints(I.self, $0) }
}

@inlinable @inline(__always)
public func transformSmallInput<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    transformPixels(I.self, raw) { smallWinogradPoints(I.self, $0) }
}

/// Of a tile of 4x4 output gradients.
@inlinable @inline(__always)
public func transformOutputGradient<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    transformPixels(I.self, raw) { winogradGradientPoints(I.self, $0) }
}

/// outputs[pixel][channel] = bounded(the tile of sums at that pixel + bias[channel]). `rows` of `outputs` pixels; `transform` is
/// told the taps of a column, then of a row.
@inlinable @inline(__always)
func transformSums<I: InstructionSet, let points: Int, let outputs: Int>(
    _: I.Type, _ raw: UnsafeRawPointer, rows: Int,
    _ transform: (InlineArray<points, I.Vector>, _ taps: Int) -> InlineArray<outputs, I.Vector>
) {
    let arguments = raw.assumingMemoryBound(to: WinogradOutputArguments<I.Scalar>.self).pointee
    let scratch = UnsafeMutableRawPointer(arguments.scratch)
    let pointBytes = arguments.pointPitch &* MemoryLayout<I.Scalar>.stride
    let low = I.Vector(repeating: arguments.low)
    let high = I.Vector(repeating: arguments.high)
    var offset = 0
    let end = arguments.vectors &* I.bytes
    while offset < end {
        let bias = UnsafeRawPointer(arguments.bias).loadUnaligned(fromByteOffset: offset, as: I.Vector.self)
        var column = 0
        while column < arguments.side {
            let sums = UnsafeRawPointer(arguments.sums) + (offset &+ column &* pointBytes)
            let line = transform(winogradLine(I.self, sums, step: points &* pointBytes), arguments.rowTaps)
            storeWinogradLine(I.self, line, to: scratch + column &* I.bytes, step: points &* I.bytes)
            column &+= 1
        }
        var row = 0
        while row < rows {
            let line = transform(
                winogradLine(I.self, scratch + row &* points &* I.bytes, step: I.bytes), arguments.columnTaps)
            let places = arguments.outputs + row &* 4
            if arguments.ahead != 0 {
                for column in 0..<outputs { shim_prefetch(UnsafeRawPointer(places[column]) + (offset &+ arguments.ahead)) }
            }
            for column in 0..<outputs {
                let value = I.bounded(I.sum(line[unchecked: column], bias), low: low, high: high)
                UnsafeMutableRawPointer(places[column]).storeBytes(of: value, toByteOffset: offset, as: I.Vector.self)
            }
            row &+= 1
        }
        offset &+= I.bytes
    }
}

@inlinable @inline(__always)
public func transformOutput<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    transformSums(I.self, raw, rows: 4) { line, _ in winogradOutputs(I.self, line) }
}

@inlinable @inline(__always)
public func transformSmallOutput<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let taps = raw.assumingMemoryBound(to: WinogradOutputArguments<I.Scalar>.self).pointee.rowTaps
    transformSums(I.self, raw, rows: 5 &- taps) { line, taps in
        smallWinogradOutputs(I.self, line, second: I.Vector(repeating: I.Scalar(taps &- 2)))
    }
}

/// `winogradPoints` of a small tile.
@inlinable @inline(__always)
func smallWinogradPoints<I: InstructionSet>(_: I.Type, _ d: InlineArray<4, I.Vector>) -> InlineArray<4, I.Vector> {
    let minusOne = I.Vector(repeating: I.Scalar(-1))
    return [
        I.multiplyAdd(d[2], minusOne, d[0]), I.sum(d[1], d[2]), I.multiplyAdd(d[1], minusOne, d[2]),
        I.multiplyAdd(d[1], minusOne, d[3]),
    ]
}

/// `winogradOutputs` of a small tile: two of three taps, where `second` is 1, or three of two taps, where it is 0.
@inlinable @inline(__always)
func smallWinogradOutputs<I: InstructionSet>(
    _: I.Type, _ m: InlineArray<4, I.Vector>, second: I.Vector
) -> InlineArray<3, I.Vector> {
    let even = I.sum(m[1], m[2])
    let odd = I.multiplyAdd(m[2], I.Vector(repeating: I.Scalar(-1)), m[1])
    return [I.sum(m[0], even), I.multiplyAdd(m[3], second, odd), I.sum(even, m[3])]
}

// Of kernel gradients: the sum over output pixels of input pixels times output gradients is, in a tile of 4x4, a sum over points
// too, as each transform is linear: input and output gradients are transformed (the latter by the transpose of what forward
// transforms the sums), multiplied and added up over all tiles, and the totals transformed by the transpose of the weights'.

/// One line of output gradients to one line of points: their polynomial's value there.
@inlinable @inline(__always)
func winogradGradientPoints<I: InstructionSet>(_: I.Type, _ g: InlineArray<4, I.Vector>) -> InlineArray<6, I.Vector> {
    let aa = I.Vector(repeating: I.Scalar(0.5625))
    let bb = I.Vector(repeating: I.Scalar(2.25))
    let evenA = I.multiplyAdd(g[2], aa, g[0])
    let oddA = I.multiplyAdd(g[3], aa, g[1])
    let evenB = I.multiplyAdd(g[2], bb, g[0])
    let oddB = I.multiplyAdd(g[3], bb, g[1])
    return [
        g[0],
        I.multiplyAdd(oddA, I.Vector(repeating: I.Scalar(0.75)), evenA),
        I.multiplyAdd(oddA, I.Vector(repeating: I.Scalar(-0.75)), evenA),
        I.multiplyAdd(oddB, I.Vector(repeating: I.Scalar(1.5)), evenB),
        I.multiplyAdd(oddB, I.Vector(repeating: I.Scalar(-1.5)), evenB),
        g[3]
    ]
}

/// One line of points to the three taps of a line: the transpose of what makes the weights.
@inlinable @inline(__always)
func winogradTaps<I: InstructionSet>(_: I.Type, _ m: InlineArray<6, I.Vector>) -> InlineArray<3, I.Vector> {
    let minusOne = I.Vector(repeating: I.Scalar(-1))
    let evenA = I.product(I.sum(m[1], m[2]), I.Vector(repeating: I.Scalar(1 / -1.8984375)))
    let evenB = I.product(I.sum(m[3], m[4]), I.Vector(repeating: I.Scalar(1 / 7.59375)))
    let oddA = I.multiplyAdd(m[2], minusOne, m[1])
    let oddB = I.multiplyAdd(m[4], minusOne, m[3])
    return [
        I.multiplyAdd(m[0], I.Vector(repeating: I.Scalar(1 / 1.265625)), I.sum(evenA, evenB)),
        I.multiplyAdd(oddA, I.Vector(repeating: I.Scalar(0.75 / -1.8984375)),
            I.product(oddB, I.Vector(repeating: I.Scalar(1.5 / 7.59375)))),
        I.multiplyAdd(evenA, I.Vector(repeating: I.Scalar(0.5625)),
            I.multiplyAdd(evenB, I.Vector(repeating: I.Scalar(2.25)), m[5]))
    ]
}

/// taps[tap][pair] = the totals of that pair of channels at all points, transformed back.
@inlinable @inline(__always)
public func transformTaps<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: WinogradTapArguments<I.Scalar>.self).pointee
    let scratch = UnsafeMutableRawPointer(arguments.scratch)
    let pitch = arguments.pitch &* MemoryLayout<I.Scalar>.stride
    var offset = 0
    while offset < pitch {
        var column = 0
        while column < arguments.side {
            let sums = UnsafeRawPointer(arguments.sums) + (offset &+ column &* pitch)
            let taps = winogradTaps(I.self, winogradLine(I.self, sums, step: 6 &* pitch))
            storeWinogradLine(I.self, taps, to: scratch + column &* I.bytes, step: 6 &* I.bytes)
            column &+= 1
        }
        var place = UnsafeMutableRawPointer(arguments.taps) + offset
        for row in 0..<3 {
            let taps = winogradTaps(I.self, winogradLine(I.self, scratch + row &* 6 &* I.bytes, step: I.bytes))
            storeWinogradLine(I.self, taps, to: place, step: pitch)
            place += 3 &* pitch
        }
        offset &+= I.bytes
    }
}

/// Three weights of a line to its three parts, of which the line's six points are sums.
@inlinable @inline(__always)
public func winogradParts(_ g: WinogradWeights<SIMD2<Double>>) -> WinogradWeights<SIMD2<Double>> {
    (g.0 * (1 / 7.59375), g.1 * (-1.5 / 7.59375), g.2 * (2.25 / 7.59375))
}

/// The parts to the weights' six points: their polynomial's value there, over the product of (p - q) over all other finite
/// points q. What is added to something has a power of two as its factor, from 1 on: no rounding but the sum's, whether or not an
/// instruction does both. So `accumulatePointRow` has the same bits.
@inlinable @inline(__always)
public func winogradPoints<Scalar: KernelScalar>(
    of parts: WinogradWeights<SIMD2<Scalar>>
) -> WinogradLine<SIMD2<Scalar>> {
    let evenA = parts.0 * -4 - parts.2
    let oddA = parts.1 * 2
    let evenB = parts.0 + parts.2
    return (parts.0 * 6, evenA + oddA, evenA - oddA, evenB - parts.1, evenB + parts.1, parts.2 * 3.375)
}

/// Tiles that `accumulatePointRow` takes together.
public let pointRowTiles = 4

/// The products of one row of points, of four tiles.
public struct PointRowArguments<Scalar> {
    /// Packed weights' parts: `[channel][3]` vectors of output channels.
    public var parts: UnsafePointer<Scalar>
    /// The next parts are fetched: not if they were just read.
    public var fetches: Bool
    /// The transformed input: `[channel][6 points][4 tiles]`.
    public var inputs: UnsafePointer<Scalar>
    public var channels: Int
    /// Channels whose products form one chain of multiply-adds.
    public var chunk: Int
    /// `[6 points][pointPitch]`, `[4 tiles]` vectors of output channels each.
    public var sums: UnsafeMutablePointer<Scalar>
    public var pointPitch: Int

    @inlinable @inline(__always)
    public init(
        parts: UnsafePointer<Scalar>, fetches: Bool, inputs: UnsafePointer<Scalar>, channels: Int, chunk: Int,
        sums: UnsafeMutablePointer<Scalar>, pointPitch: Int
    ) {
        self.parts = parts
        self.fetches = fetches
        self.inputs = inputs
        self.channels = channels
        self.chunk = chunk
        self.sums = sums
        self.pointPitch = pointPitch
    }
}

@inlinable @inline(__always)
func multiplyPoint<I: InstructionSet>(
    _: I.Type, _ sums: inout InlineArray<6, InlineArray<4, I.Vector>>, _ point: Int, _ weights: I.Vector,
    _ inputs: UnsafePointer<I.Scalar>
) {
    for tile in 0..<4 {
        sums[unchecked: point][unchecked: tile] = I.multiplyAdd(
            I.Vector(repeating: inputs[point &* 4 &+ tile]), weights, sums[unchecked: point][unchecked: tile])
    }
}

/// Channels from one that is multiplied to one that is fetched.
@inlinable @inline(__always) var fetchedPartsAhead: Int { 64 }

/// sums[point][tile] = inputs[channel][point][tile] times the point's weights, which are made of their parts in registers: half
/// as much to read as all points, where few tiles share what is read.
@inlinable @inline(__always)
public func accumulatePointRow<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: PointRowArguments<I.Scalar>.self).pointee
    var parts = UnsafeRawPointer(arguments.parts)
    var inputs = arguments.inputs
    let ahead = arguments.fetches ? fetchedPartsAhead &* 3 &* I.bytes : 0
    let minusOne = I.Vector(repeating: I.Scalar(-1))
    var remaining = arguments.channels
    var continues = false
    repeat {
        var count = min(arguments.chunk, remaining)
        remaining &-= count
        var sums = InlineArray<6, InlineArray<4, I.Vector>>(
            repeating: InlineArray<4, I.Vector>(repeating: I.Vector(repeating: 0)))
        repeat {
            shim_prefetch(parts + ahead)
            shim_prefetch(parts + (ahead &+ I.bytes))
            shim_prefetch(parts + (ahead &+ 2 &* I.bytes))
            let a = parts.loadUnaligned(as: I.Vector.self)
            let b = parts.loadUnaligned(fromByteOffset: I.bytes, as: I.Vector.self)
            let c = parts.loadUnaligned(fromByteOffset: 2 &* I.bytes, as: I.Vector.self)
            // Pair by pair, since registers are few.
            multiplyPoint(I.self, &sums, 0, I.product(a, I.Vector(repeating: I.Scalar(6))), inputs)
            multiplyPoint(I.self, &sums, 5, I.product(c, I.Vector(repeating: I.Scalar(3.375))), inputs)
            let evenB = I.sum(a, c)
            multiplyPoint(I.self, &sums, 3, I.multiplyAdd(b, minusOne, evenB), inputs)
            multiplyPoint(I.self, &sums, 4, I.sum(evenB, b), inputs)
            let evenA = I.multiplyAdd(a, I.Vector(repeating: I.Scalar(-4)), I.product(c, minusOne))
            let oddA = I.sum(b, b)
            multiplyPoint(I.self, &sums, 1, I.sum(evenA, oddA), inputs)
            multiplyPoint(I.self, &sums, 2, I.multiplyAdd(oddA, minusOne, evenA), inputs)
            parts += 3 &* I.bytes
            inputs += 24
            count &-= 1
        } while count > 0
        fold(I.self, sums, into: arguments.sums, pitch: arguments.pointPitch, continues: continues)
        continues = true
    } while remaining > 0
}

/// The same for a small tile and two or three weights; the third of two is 0.
@inlinable @inline(__always)
public func smallWinogradWeights(
    _ g: WinogradWeights<SIMD2<Double>>, taps: Int
) -> WinogradLine<SIMD2<Double>> {
    let none = SIMD2<Double>(repeating: 0)
    let even = (g.0 + g.2) * 0.5
    let odd = g.1 * 0.5
    return (g.0, even + odd, even - odd, taps == 2 ? g.1 : g.2, none, none)
}

/// `count` elements of each of up to 3x3 taps, `pitch` apart, to `[point][element]`. After 36 points follow
/// `[row of points][part][element]`, the parts that the points are made of. `count` is even.
@inlinable @inline(never) @_optimize(size)
public func transformWinogradWeights<Scalar: KernelScalar>(
    _ weights: UnsafePointer<Scalar>, _ count: Int, pitch: Int, side: Int, rowTaps: Int, columnTaps: Int,
    to points: UnsafeMutablePointer<Scalar>
) {
    var i = 0
    while i < count {
        let taps = weights + i
        let target = points + i
        @inline(__always) func tap(_ row: Int, _ column: Int) -> SIMD2<Double> {
            if row >= rowTaps || column >= columnTaps { return SIMD2(repeating: 0) }
            let place = taps + (row &* columnTaps &+ column) &* pitch
            return SIMD2(Double(place[0]), Double(place[1]))
        }
        @inline(never) func line(_ g: WinogradWeights<SIMD2<Double>>, _ taps: Int) -> WinogradLine<SIMD2<Double>> {
            side == winogradSide ? winogradPoints(of: winogradParts(g)) : smallWinogradWeights(g, taps: taps)
        }
        @inline(__always) func rounded(_ x: SIMD2<Double>) -> SIMD2<Scalar> { SIMD2(Scalar(x.x), Scalar(x.y)) }
        @inline(__always) func put(_ x: SIMD2<Scalar>, _ place: UnsafeMutablePointer<Scalar>) {
            (place[0], place[1]) = (x.x, x.y)
        }
        let left = line((tap(0, 0), tap(1, 0), tap(2, 0)), rowTaps)
        let middle = line((tap(0, 1), tap(1, 1), tap(2, 1)), rowTaps)
        let right = line((tap(0, 2), tap(1, 2), tap(2, 2)), rowTaps)
        @inline(never) func store(_ row: Int, _ g: WinogradWeights<SIMD2<Double>>) {
            let place = target + row &* side &* count
            if side == smallWinogradSide {
                let values = smallWinogradWeights(g, taps: columnTaps)
                put(rounded(values.0), place)
                put(rounded(values.1), place + count)
                put(rounded(values.2), place + 2 &* count)
                put(rounded(values.3), place + 3 &* count)
                return
            }
            let exact = winogradParts(g)
            let parts = (rounded(exact.0), rounded(exact.1), rounded(exact.2))
            let values = winogradPoints(of: parts)
            put(values.0, place)
            put(values.1, place + count)
            put(values.2, place + 2 &* count)
            put(values.3, place + 3 &* count)
            put(values.4, place + 4 &* count)
            put(values.5, place + 5 &* count)
            let partsPlace = target + (36 &+ row &* 3) &* count
            put(parts.0, partsPlace)
            put(parts.1, partsPlace + count)
            put(parts.2, partsPlace + 2 &* count)
        }
        store(0, (left.0, middle.0, right.0))
        store(1, (left.1, middle.1, right.1))
        store(2, (left.2, middle.2, right.2))
        store(3, (left.3, middle.3, right.3))
        if side > smallWinogradSide {
            store(4, (left.4, middle.4, right.4))
            store(5, (left.5, middle.5, right.5))
        }
        i &+= 2
    }
}
