import CConvolutionShims

// The transforms of Winograd's algorithm F(4x4, 3x3): 4x4 outputs of a 3x3 convolution from 6x6 inputs by 36 products per pair of
// channels where the sum itself takes 144. See "Winograd" in this module's README.
//
// A tile of inputs is a polynomial of degree 5 per axis, a kernel one of degree 2; they are multiplied at six points, among them
// infinity. The points 0, 3/4, -3/4, 3/2, -3/2 keep the numbers of all three transforms near 1, where the usual 1 and 2 do not:
// the error is half as large. All constants below are exact in binary.

/// Outputs and inputs of a tile along one axis, and the points in both.
public let winogradOutputs = 4
public let winogradInputs = 6
public let winogradPoints = 36

/// A tile of the input to be transformed.
public struct WinogradInputArguments<Scalar> {
    /// `[6][6]`: the tile's pixels, each with neighbouring channels.
    public var pixels: UnsafePointer<UnsafePointer<Scalar>>
    /// Vectors of channels.
    public var vectors: Int
    /// `[36]` vectors.
    public var scratch: UnsafeMutablePointer<Scalar>
    /// `[36][pointPitch]`: where the channels go, per point.
    public var target: UnsafeMutablePointer<Scalar>
    public var pointPitch: Int
    /// Bytes from a pixel to one that is read soon, which is fetched; 0: none.
    public var ahead: Int

    @inlinable @inline(__always)
    public init(
        pixels: UnsafePointer<UnsafePointer<Scalar>>, vectors: Int, scratch: UnsafeMutablePointer<Scalar>,
        target: UnsafeMutablePointer<Scalar>, pointPitch: Int, ahead: Int = 0
    ) {
        self.pixels = pixels
        self.vectors = vectors
        self.scratch = scratch
        self.target = target
        self.pointPitch = pointPitch
        self.ahead = ahead
    }
}

/// A tile of sums to be transformed back and finished.
public struct WinogradOutputArguments<Scalar> {
    /// `[36][pointPitch]`: the output channels, per point.
    public var sums: UnsafePointer<Scalar>
    public var pointPitch: Int
    /// Vectors of output channels.
    public var vectors: Int
    /// `[24]` vectors.
    public var scratch: UnsafeMutablePointer<Scalar>
    /// `[4][4]`: where the pixels go, in whole vectors of neighbouring channels.
    public var outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>
    public var bias: UnsafePointer<Scalar>
    public var low: Scalar
    public var high: Scalar
    /// Bytes from a pixel to one that is written soon, which is fetched; 0: none.
    public var ahead: Int

    @inlinable @inline(__always)
    public init(
        sums: UnsafePointer<Scalar>, pointPitch: Int, vectors: Int, scratch: UnsafeMutablePointer<Scalar>,
        outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>, bias: UnsafePointer<Scalar>, low: Scalar, high: Scalar,
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
        self.ahead = ahead
    }
}

/// Six vectors: the inputs, or the points, of one line of a tile.
public typealias WinogradLine<Vector> = (Vector, Vector, Vector, Vector, Vector, Vector)


/// One line of inputs to one line of points: the coefficients of (x - q) multiplied over all other finite points q.
@inlinable @inline(__always)
func winogradPoints<I: InstructionSet>(_: I.Type, _ d: WinogradLine<I.Vector>) -> WinogradLine<I.Vector> {
    let a = I.Vector(repeating: I.Scalar(0.75))
    let b = I.Vector(repeating: I.Scalar(1.5))
    let minusA = I.Vector(repeating: I.Scalar(-0.75))
    let minusB = I.Vector(repeating: I.Scalar(-1.5))
    let minusAA = I.Vector(repeating: I.Scalar(-0.5625))
    let minusBB = I.Vector(repeating: I.Scalar(-2.25))
    let minusSum = I.Vector(repeating: I.Scalar(-2.8125))
    let aabb = I.Vector(repeating: I.Scalar(1.265625))
    // Even and odd parts, shared by a point and its opposite.
    let evenA = I.multiplyAdd(d.2, minusBB, d.4)
    let oddA = I.multiplyAdd(d.1, minusBB, d.3)
    let evenB = I.multiplyAdd(d.2, minusAA, d.4)
    let oddB = I.multiplyAdd(d.1, minusAA, d.3)
    return (
        I.multiplyAdd(d.0, aabb, I.multiplyAdd(d.2, minusSum, d.4)),
        I.multiplyAdd(oddA, a, evenA), I.multiplyAdd(oddA, minusA, evenA),
        I.multiplyAdd(oddB, b, evenB), I.multiplyAdd(oddB, minusB, evenB),
        I.multiplyAdd(d.1, aabb, I.multiplyAdd(d.3, minusSum, d.5))
    )
}

/// One line of points to one line of outputs: output j adds up the points' values times the point to the power of j.
@inlinable @inline(__always)
func winogradOutputs<I: InstructionSet>(_: I.Type, _ m: WinogradLine<I.Vector>) -> (I.Vector, I.Vector, I.Vector, I.Vector) {
    let minusOne = I.Vector(repeating: I.Scalar(-1))
    let a = I.Vector(repeating: I.Scalar(0.75))
    let b = I.Vector(repeating: I.Scalar(1.5))
    let aa = I.Vector(repeating: I.Scalar(0.5625))
    let bb = I.Vector(repeating: I.Scalar(2.25))
    let aaa = I.Vector(repeating: I.Scalar(0.421875))
    let bbb = I.Vector(repeating: I.Scalar(3.375))
    let evenA = I.sum(m.1, m.2)
    let oddA = I.multiplyAdd(m.2, minusOne, m.1)
    let evenB = I.sum(m.3, m.4)
    let oddB = I.multiplyAdd(m.4, minusOne, m.3)
    return (
        I.sum(m.0, I.sum(evenA, evenB)),
        I.multiplyAdd(oddA, a, I.product(oddB, b)),
        I.multiplyAdd(evenA, aa, I.product(evenB, bb)),
        I.multiplyAdd(oddA, aaa, I.multiplyAdd(oddB, bbb, m.5))
    )
}

/// Six vectors `step` bytes apart.
@inlinable @inline(__always)
func winogradLine<I: InstructionSet>(_: I.Type, _ start: UnsafeRawPointer, step: Int) -> WinogradLine<I.Vector> {
    (
        start.loadUnaligned(as: I.Vector.self), start.loadUnaligned(fromByteOffset: step, as: I.Vector.self),
        start.loadUnaligned(fromByteOffset: 2 &* step, as: I.Vector.self),
        start.loadUnaligned(fromByteOffset: 3 &* step, as: I.Vector.self),
        start.loadUnaligned(fromByteOffset: 4 &* step, as: I.Vector.self),
        start.loadUnaligned(fromByteOffset: 5 &* step, as: I.Vector.self)
    )
}

/// A tile's pixels as `transformInput` reads them: target[pixel][channel]. `outside` has neighbouring channels
/// whatever `channelStride`.
@inlinable @inline(__always)
public func packTile<Scalar: KernelScalar>(
    _ pixels: UnsafePointer<UnsafePointer<Scalar>>, channels: Int, channelStride: Int, outside: UnsafePointer<Scalar>, pitch: Int,
    to target: UnsafeMutablePointer<Scalar>
) {
    if channelStride == 1 {
        var pixel = 0
        while pixel < winogradPoints {
            copyElements(pixels[pixel], count: channels, to: target + pixel &* pitch)
            pixel &+= 1
        }
        return
    }
    var strides = InlineArray<36, Int>(repeating: channelStride)
    for pixel in 0..<winogradPoints where pixels[pixel] == outside { strides[unchecked: pixel] = 1 }
    // All of a channel's pixels, which lie in six lines, then the next channel's: planes may be a multiple of 4096 bytes apart,
    // and their lines would take turns in a few sets of the cache.
    var channel = 0
    while channel < channels {
        var pixel = 0
        while pixel < winogradPoints {
            copyElement(pixels[pixel] + channel &* strides[unchecked: pixel], to: target + (pixel &* pitch &+ channel))
            pixel &+= 1
        }
        channel &+= 1
    }
}

/// The first rows and columns of a finished tile, `[4][4]` pixels `pitch` apart, to where they belong.
@inlinable @inline(__always)
public func unpackTile<Scalar: KernelScalar>(
    _ tile: UnsafePointer<Scalar>, pitch: Int, channels: Int, rows: Int, columns: Int, to target: UnsafeMutablePointer<Scalar>,
    rowStride: Int, columnStride: Int, channelStride: Int
) {
    if channelStride == 1 {
        for row in 0..<rows {
            for column in 0..<columns {
                copyElements(
                    tile + (row &* winogradOutputs &+ column) &* pitch, count: channels,
                    to: target + (row &* rowStride &+ column &* columnStride))
            }
        }
        return
    }
    // Channel by channel, as in `packTile`.
    var channel = 0
    while channel < channels {
        let plane = target + channel &* channelStride
        var row = 0
        while row < rows {
            let source = tile + (row &* winogradOutputs &* pitch &+ channel)
            var column = 0
            while column < columns {
                copyElement(source + column &* pitch, to: plane + (row &* rowStride &+ column &* columnStride))
                column &+= 1
            }
            row &+= 1
        }
        channel &+= 1
    }
}

/// target[point][channel] = the tile at that point: columns first, then rows. The scratch between the two passes holds what 32
/// registers cannot.
@inlinable @inline(__always)
public func transformInput<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: WinogradInputArguments<I.Scalar>.self).pointee
    let scratch = UnsafeMutableRawPointer(arguments.scratch)
    let pointBytes = arguments.pointPitch &* MemoryLayout<I.Scalar>.stride
    var target = UnsafeMutableRawPointer(arguments.target)
    var offset = 0
    let end = arguments.vectors &* I.bytes
    while offset < end {
        var column = 0
        while column < 6 {
            let pixels = arguments.pixels + column
            let points = winogradPoints(I.self, (
                UnsafeRawPointer(pixels[0]).loadUnaligned(fromByteOffset: offset, as: I.Vector.self),
                UnsafeRawPointer(pixels[6]).loadUnaligned(fromByteOffset: offset, as: I.Vector.self),
                UnsafeRawPointer(pixels[12]).loadUnaligned(fromByteOffset: offset, as: I.Vector.self),
                UnsafeRawPointer(pixels[18]).loadUnaligned(fromByteOffset: offset, as: I.Vector.self),
                UnsafeRawPointer(pixels[24]).loadUnaligned(fromByteOffset: offset, as: I.Vector.self),
                UnsafeRawPointer(pixels[30]).loadUnaligned(fromByteOffset: offset, as: I.Vector.self)
            ))
            if arguments.ahead != 0 {
                for row in 0..<6 { shim_prefetch(UnsafeRawPointer(pixels[row &* 6]) + (offset &+ arguments.ahead)) }
            }
            let place = scratch + column &* I.bytes
            place.storeBytes(of: points.0, as: I.Vector.self)
            place.storeBytes(of: points.1, toByteOffset: 6 &* I.bytes, as: I.Vector.self)
            place.storeBytes(of: points.2, toByteOffset: 12 &* I.bytes, as: I.Vector.self)
            place.storeBytes(of: points.3, toByteOffset: 18 &* I.bytes, as: I.Vector.self)
            place.storeBytes(of: points.4, toByteOffset: 24 &* I.bytes, as: I.Vector.self)
            place.storeBytes(of: points.5, toByteOffset: 30 &* I.bytes, as: I.Vector.self)
            column &+= 1
        }
        var place = target
        var row = 0
        while row < 6 {
            let points = winogradPoints(I.self, winogradLine(I.self, scratch + row &* 6 &* I.bytes, step: I.bytes))
            place.storeBytes(of: points.0, as: I.Vector.self)
            place.storeBytes(of: points.1, toByteOffset: pointBytes, as: I.Vector.self)
            place.storeBytes(of: points.2, toByteOffset: 2 &* pointBytes, as: I.Vector.self)
            place.storeBytes(of: points.3, toByteOffset: 3 &* pointBytes, as: I.Vector.self)
            place.storeBytes(of: points.4, toByteOffset: 4 &* pointBytes, as: I.Vector.self)
            place.storeBytes(of: points.5, toByteOffset: 5 &* pointBytes, as: I.Vector.self)
            place += 6 &* pointBytes
            row &+= 1
        }
        offset &+= I.bytes
        target += I.bytes
    }
}

/// outputs[pixel][channel] = bounded(the tile of sums at that pixel + bias[channel])
@inlinable @inline(__always)
public func transformOutput<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
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
        while column < 6 {
            let sums = UnsafeRawPointer(arguments.sums) + (offset &+ column &* pointBytes)
            let line = winogradLine(I.self, sums, step: 6 &* pointBytes)
            let outputs = winogradOutputs(I.self, line)
            let place = scratch + column &* I.bytes
            place.storeBytes(of: outputs.0, as: I.Vector.self)
            place.storeBytes(of: outputs.1, toByteOffset: 6 &* I.bytes, as: I.Vector.self)
            place.storeBytes(of: outputs.2, toByteOffset: 12 &* I.bytes, as: I.Vector.self)
            place.storeBytes(of: outputs.3, toByteOffset: 18 &* I.bytes, as: I.Vector.self)
            column &+= 1
        }
        var row = 0
        while row < 4 {
            let values = winogradOutputs(I.self, winogradLine(I.self, scratch + row &* 6 &* I.bytes, step: I.bytes))
            let outputs = arguments.outputs + row &* 4
            if arguments.ahead != 0 {
                for column in 0..<4 { shim_prefetch(UnsafeRawPointer(outputs[column]) + (offset &+ arguments.ahead)) }
            }
            storeBounded(I.self, I.sum(values.0, bias), low, high, to: UnsafeMutableRawPointer(outputs[0]) + offset)
            storeBounded(I.self, I.sum(values.1, bias), low, high, to: UnsafeMutableRawPointer(outputs[1]) + offset)
            storeBounded(I.self, I.sum(values.2, bias), low, high, to: UnsafeMutableRawPointer(outputs[2]) + offset)
            storeBounded(I.self, I.sum(values.3, bias), low, high, to: UnsafeMutableRawPointer(outputs[3]) + offset)
            row &+= 1
        }
        offset &+= I.bytes
    }
}

@inlinable @inline(__always)
func storeBounded<I: InstructionSet>(
    _: I.Type, _ x: I.Vector, _ low: I.Vector, _ high: I.Vector, to place: UnsafeMutableRawPointer
) {
    place.storeBytes(of: I.bounded(x, low: low, high: high), as: I.Vector.self)
}

/// Three weights of a line to its six points: their polynomial's value there, over the product of (p - q) over all other finite
/// points q. In double, to be rounded once.
@inlinable @inline(__always)
public func winogradWeights(_ g: (SIMD2<Double>, SIMD2<Double>, SIMD2<Double>)) -> WinogradLine<SIMD2<Double>> {
    let evenA = (g.0 + g.2 * 0.5625) * (1 / -1.8984375)
    let oddA = g.1 * (0.75 / -1.8984375)
    let evenB = (g.0 + g.2 * 2.25) * (1 / 7.59375)
    let oddB = g.1 * (1.5 / 7.59375)
    return (g.0 * (1 / 1.265625), evenA + oddA, evenA - oddA, evenB + oddB, evenB - oddB, g.2)
}

/// `count` elements of each of 3x3 taps, `pitch` apart, to `[point][element]`. `count` is even.
@inlinable @inline(never)
public func transformWinogradWeights<Scalar: KernelScalar>(
    _ weights: UnsafePointer<Scalar>, _ count: Int, pitch: Int, to points: UnsafeMutablePointer<Scalar>
) {
    var i = 0
    while i < count {
        let taps = weights + i
        let target = points + i
        @inline(__always) func tap(_ number: Int) -> SIMD2<Double> {
            SIMD2(Double(taps[number &* pitch]), Double(taps[number &* pitch &+ 1]))
        }
        @inline(__always) func put(_ x: SIMD2<Double>, _ place: UnsafeMutablePointer<Scalar>) {
            (place[0], place[1]) = (Scalar(x.x), Scalar(x.y))
        }
        let left = winogradWeights((tap(0), tap(3), tap(6)))
        let middle = winogradWeights((tap(1), tap(4), tap(7)))
        let right = winogradWeights((tap(2), tap(5), tap(8)))
        @inline(__always) func store(_ row: Int, _ line: (SIMD2<Double>, SIMD2<Double>, SIMD2<Double>)) {
            let values = winogradWeights(line)
            let place = target + row &* 6 &* count
            put(values.0, place)
            put(values.1, place + count)
            put(values.2, place + 2 &* count)
            put(values.3, place + 3 &* count)
            put(values.4, place + 4 &* count)
            put(values.5, place + 5 &* count)
        }
        store(0, (left.0, middle.0, right.0))
        store(1, (left.1, middle.1, right.1))
        store(2, (left.2, middle.2, right.2))
        store(3, (left.3, middle.3, right.3))
        store(4, (left.4, middle.4, right.4))
        store(5, (left.5, middle.5, right.5))
        i &+= 2
    }
}
