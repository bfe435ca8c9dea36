// Resampling is separable: input rows are resampled along themselves (`gatheredColumns`, `permutedColumns`, `resampledPixels`), then a
// few of the resulting rows make one output row (`blendedRows`). Here a row is packed, its channels neighbours, and where there are no
// weights it is copied bit for bit. Each output element is one chain of multiply-adds over the taps in their order, whichever kernel
// computes it.

/// One row, whole vectors of output elements at a time.
public struct ResampleColumnsArguments<Scalar> {
    public var input: UnsafePointer<Scalar>
    /// Room for whole vectors.
    public var output: UnsafeMutablePointer<Scalar>
    public var vectors: Int
    public var taps: Int
    /// `[vectors][taps][lanes]`; NULL copies.
    public var weights: UnsafePointer<Scalar>?
    /// `gatheredColumns`: `[vectors][taps][lanes]`, the input elements.
    /// `permutedColumns`: `[vectors][taps]`, the first element of the vector that holds them.
    public var elements: UnsafePointer<Int>
    /// `permutedColumns`: `[vectors][taps][lanes]` integers as wide as the scalars, the lanes of that vector.
    public var places: UnsafeRawPointer

    @inlinable @inline(__always)
    public init(
        input: UnsafePointer<Scalar>, output: UnsafeMutablePointer<Scalar>, vectors: Int, taps: Int, weights: UnsafePointer<Scalar>?,
        elements: UnsafePointer<Int>, places: UnsafeRawPointer
    ) {
        self.input = input
        self.output = output
        self.vectors = vectors
        self.taps = taps
        self.weights = weights
        self.elements = elements
        self.places = places
    }
}

/// `fetch` is called with the number of a vector's tap, counted over all vectors.
@inlinable @inline(__always)
func forEachColumnVector<I: InstructionSet>(_: I.Type, _ arguments: ResampleColumnsArguments<I.Scalar>, fetch: (Int) -> I.Vector) {
    let output = UnsafeMutableRawPointer(arguments.output)
    var v = 0
    if let weights = arguments.weights {
        let weights = UnsafeRawPointer(weights)
        func weight(_ tap: Int) -> I.Vector { weights.loadUnaligned(fromByteOffset: tap &* I.bytes, as: I.Vector.self) }
        while v < arguments.vectors {
            var tap = v &* arguments.taps
            let end = tap &+ arguments.taps
            var sum = I.product(weight(tap), fetch(tap))
            tap &+= 1
            while tap < end {
                sum = I.multiplyAdd(weight(tap), fetch(tap), sum)
                tap &+= 1
            }
            output.storeBytes(of: sum, toByteOffset: v &* I.bytes, as: I.Vector.self)
            v &+= 1
        }
    } else {
        while v < arguments.vectors {
            output.storeBytes(of: fetch(v), toByteOffset: v &* I.bytes, as: I.Vector.self)
            v &+= 1
        }
    }
}

/// Few channels: a vector's elements fetched one by one.
@inlinable @inline(__always)
public func gatheredColumns<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: ResampleColumnsArguments<I.Scalar>.self).pointee
    forEachColumnVector(I.self, arguments) { tap in I.gather(arguments.input, arguments.elements + tap &* I.lanes) }
}

/// Few channels, enlarging: the elements lie so close together that one vector of input holds them.
@inlinable @inline(__always)
public func permutedColumns<I: PermutingInstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: ResampleColumnsArguments<I.Scalar>.self).pointee
    let input = UnsafeRawPointer(arguments.input)
    forEachColumnVector(I.self, arguments) { tap in
        let first = arguments.elements[tap] &* MemoryLayout<I.Scalar>.stride
        return I.permute(input.loadUnaligned(fromByteOffset: first, as: I.Vector.self), arguments.places + tap &* I.bytes)
    }
}

/// One row, pixel by pixel.
public struct ResamplePixelsArguments<Scalar> {
    public var input: UnsafePointer<Scalar>
    public var output: UnsafeMutablePointer<Scalar>
    public var columns: Int
    public var channels: Int
    public var taps: Int
    /// `[columns][taps]`; NULL copies.
    public var weights: UnsafePointer<Scalar>?
    /// `[columns][taps]`: the input pixels.
    public var pixels: UnsafePointer<Int>

    @inlinable @inline(__always)
    public init(
        input: UnsafePointer<Scalar>, output: UnsafeMutablePointer<Scalar>, columns: Int, channels: Int, taps: Int,
        weights: UnsafePointer<Scalar>?, pixels: UnsafePointer<Int>
    ) {
        self.input = input
        self.output = output
        self.columns = columns
        self.channels = channels
        self.taps = taps
        self.weights = weights
        self.pixels = pixels
    }
}

/// Many channels. Below a vector's width, up to a vector behind the last pixel of input and output is touched.
@inlinable @inline(__always)
public func resampledPixels<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: ResamplePixelsArguments<I.Scalar>.self).pointee
    let input = UnsafeRawPointer(arguments.input)
    let pixelBytes = arguments.channels &* MemoryLayout<I.Scalar>.stride
    // The last vector of a pixel ends with it, and so may compute some elements twice.
    let last = max(pixelBytes &- I.bytes, 0)
    var output = UnsafeMutableRawPointer(arguments.output)
    var tap = 0
    let end = arguments.columns &* arguments.taps
    while tap < end {
        var offset = 0
        while offset &+ 3 &* I.bytes <= last {
            weightedSums(
                I.self, taps: arguments.taps, weights: arguments.weights.map { $0 + tap },
                row: { input + (arguments.pixels[tap &+ $0] &* pixelBytes &+ offset) },
                store: { (output + offset).storeBytes(of: $1, toByteOffset: $0, as: I.Vector.self) })
            offset &+= 4 &* I.bytes
        }
        while offset < last &+ I.bytes {
            let at = min(offset, last)
            let sum = weightedSum(
                I.self, taps: arguments.taps, weights: arguments.weights.map { $0 + tap },
                row: { input + (arguments.pixels[tap &+ $0] &* pixelBytes &+ at) })
            output.storeBytes(of: sum, toByteOffset: at, as: I.Vector.self)
            offset &+= I.bytes
        }
        output += pixelBytes
        tap &+= arguments.taps
    }
}

/// The sum of a vector of each of some rows, each times its weight; without weights, the vector of row 0.
@inlinable @inline(__always)
func weightedSum<I: InstructionSet>(
    _: I.Type, taps: Int, weights: UnsafePointer<I.Scalar>?, row: (Int) -> UnsafeRawPointer
) -> I.Vector {
    let first = row(0).loadUnaligned(as: I.Vector.self)
    guard let weights else { return first }
    var sum = I.product(I.Vector(repeating: weights[0]), first)
    var k = 1
    while k < taps {
        sum = I.multiplyAdd(I.Vector(repeating: weights[k]), row(k).loadUnaligned(as: I.Vector.self), sum)
        k &+= 1
    }
    return sum
}

/// The same for four vectors that follow each other, stored at their byte offsets.
@inlinable @inline(__always)
func weightedSums<I: InstructionSet>(
    _: I.Type, taps: Int, weights: UnsafePointer<I.Scalar>?, row: (Int) -> UnsafeRawPointer, store: (Int, I.Vector) -> Void
) {
    func fetch(_ place: UnsafeRawPointer, _ number: Int) -> I.Vector {
        place.loadUnaligned(fromByteOffset: number &* I.bytes, as: I.Vector.self)
    }
    let place = row(0)
    var (a, b, c, d) = (fetch(place, 0), fetch(place, 1), fetch(place, 2), fetch(place, 3))
    if let weights {
        let weight = I.Vector(repeating: weights[0])
        (a, b, c, d) = (I.product(weight, a), I.product(weight, b), I.product(weight, c), I.product(weight, d))
        var k = 1
        while k < taps {
            let place = row(k)
            let weight = I.Vector(repeating: weights[k])
            a = I.multiplyAdd(weight, fetch(place, 0), a)
            b = I.multiplyAdd(weight, fetch(place, 1), b)
            c = I.multiplyAdd(weight, fetch(place, 2), c)
            d = I.multiplyAdd(weight, fetch(place, 3), d)
            k &+= 1
        }
    }
    store(0, a)
    store(I.bytes, b)
    store(2 &* I.bytes, c)
    store(3 &* I.bytes, d)
}

/// One output row out of some resampled rows.
public struct BlendRowsArguments<Scalar> {
    /// `[taps]`
    public var rows: UnsafePointer<UnsafePointer<Scalar>>
    /// `[taps]`; NULL copies the one row.
    public var weights: UnsafePointer<Scalar>?
    public var taps: Int
    public var output: UnsafeMutablePointer<Scalar>
    /// At least a vector.
    public var elements: Int
    /// Past the caches, where the output is too large for them.
    public var streaming: Bool

    @inlinable @inline(__always)
    public init(
        rows: UnsafePointer<UnsafePointer<Scalar>>, weights: UnsafePointer<Scalar>?, taps: Int, output: UnsafeMutablePointer<Scalar>,
        elements: Int, streaming: Bool
    ) {
        self.rows = rows
        self.weights = weights
        self.taps = taps
        self.output = output
        self.elements = elements
        self.streaming = streaming
    }
}

@inlinable @inline(__always)
public func blendedRows<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: BlendRowsArguments<I.Scalar>.self).pointee
    let output = UnsafeMutableRawPointer(arguments.output)
    func blend(_ offset: Int) -> I.Vector {
        weightedSum(I.self, taps: arguments.taps, weights: arguments.weights) { UnsafeRawPointer(arguments.rows[$0]) + offset }
    }
    func blend(_ offset: Int, store: (Int, I.Vector) -> Void) {
        weightedSums(
            I.self, taps: arguments.taps, weights: arguments.weights, row: { UnsafeRawPointer(arguments.rows[$0]) + offset }, store: store)
    }
    // The first and the last vector need not be aligned, and may compute elements twice.
    let last = arguments.elements &* MemoryLayout<I.Scalar>.stride &- I.bytes
    output.storeBytes(of: blend(0), as: I.Vector.self)
    if arguments.streaming {
        var offset = I.bytes &- Int(bitPattern: output) & (I.bytes &- 1)
        while offset &+ 3 &* I.bytes <= last {
            blend(offset) { I.stream($1, to: output + offset + $0) }
            offset &+= 4 &* I.bytes
        }
        while offset <= last {
            I.stream(blend(offset), to: output + offset)
            offset &+= I.bytes
        }
    } else {
        var offset = I.bytes
        while offset &+ 3 &* I.bytes <= last {
            blend(offset) { (output + offset).storeBytes(of: $1, toByteOffset: $0, as: I.Vector.self) }
            offset &+= 4 &* I.bytes
        }
        while offset <= last {
            output.storeBytes(of: blend(offset), toByteOffset: offset, as: I.Vector.self)
            offset &+= I.bytes
        }
    }
    output.storeBytes(of: blend(last), toByteOffset: last, as: I.Vector.self)
}
