import CConvolutionShims

// Resampling is separable: a few input rows make one blended row (`blendedRows`), which is then resampled along itself
// (`gatheredColumns`, `permutedColumns`, `resampledPixels`); two rows of two taps per pixel do so in one pass (`blendedPixels`).
// Here a row is packed, its channels neighbours, and where there are no weights it is copied bit for bit. Each output element is
// one chain of multiply-adds over the columns in their order, of chains over the rows, whichever kernel computes it.

/// Rows, whole vectors of output elements at a time.
public struct ResampleColumnsArguments<Scalar> {
    /// `[rows]`
    public var inputs: UnsafePointer<UnsafePointer<Scalar>>
    /// `[rows]`, with room for a vector at least.
    public var outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>
    public var rows: Int
    /// Of a row of the output. Its last vector ends with it, and so may overlap the one before.
    public var elements: Int
    public var taps: Int
    /// `gatheredColumns`: `[vectors][taps][lanes]`, `permutedColumns`: `[taps][lanes]` at some offsets; NULL copies.
    public var weights: UnsafePointer<Scalar>?
    /// `gatheredColumns`: `[vectors][taps][lanes]`, the input elements.
    /// `permutedColumns`: `[vectors][2]`, the first element of the window that holds those of all taps, and the offset of the
    /// vector's places and weights, which other vectors may have too.
    public var sources: UnsafePointer<Int>
    /// `permutedColumns`: integers as wide as the scalars, the elements' places in that window, where the weights are in
    /// `weights`. In the third and fourth vector of a window they are counted from the third on, and have the sign bit set.
    public var places: UnsafeRawPointer
    /// `permutedColumns`: vectors of a window, 2 or 4, or with 2 or 4 taps, or where it copies, also 1; not 4 where it copies.
    public var window: Int
    /// Past the caches; all vectors of the output are aligned.
    public var streaming: Bool

    @inlinable @inline(__always)
    public init(
        inputs: UnsafePointer<UnsafePointer<Scalar>>, outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>, rows: Int,
        elements: Int, taps: Int, weights: UnsafePointer<Scalar>?, sources: UnsafePointer<Int>, places: UnsafeRawPointer,
        window: Int, streaming: Bool
    ) {
        self.inputs = inputs
        self.outputs = outputs
        self.rows = rows
        self.elements = elements
        self.taps = taps
        self.weights = weights
        self.sources = sources
        self.places = places
        self.window = window
        self.streaming = streaming
    }
}

extension ResampleColumnsArguments {
    @inlinable @inline(__always)
    func store<I: InstructionSet>(_: I.Type, _ x: I.Vector, to place: UnsafeMutableRawPointer) {
        if streaming { I.stream(x, to: place) } else { place.storeBytes(of: x, as: I.Vector.self) }
    }

    /// Calls `body` with the number of each vector and its place in the output row, in bytes.
    @inlinable @inline(__always)
    func forEachVector<I: InstructionSet>(_: I.Type, _ body: (Int, Int) -> Void) {
        let last = max(elements &* MemoryLayout<Scalar>.stride &- I.bytes, 0)
        var vector = 0
        while vector &* I.bytes < last &+ I.bytes {
            body(vector, min(vector &* I.bytes, last))
            vector &+= 1
        }
    }

    /// Row by row. `entry` says where the weights of a vector are, in bytes; `fetch` is called with an input row, the number of a
    /// vector and where a weight is.
    @inlinable @inline(__always)
    func combine<I: InstructionSet>(
        _: I.Type, entry: (Int) -> Int, fetch: (UnsafePointer<Scalar>, Int, Int) -> I.Vector
    ) where I.Scalar == Scalar {
        let weights = UnsafeRawPointer(weights.unsafelyUnwrapped)
        var row = 0
        while row < rows {
            let input = inputs[row]
            let output = UnsafeMutableRawPointer(outputs[row])
            forEachVector(I.self) { vector, place in
                var tap = entry(vector)
                let end = tap &+ taps &* I.bytes
                var sum = I.product(weights.loadUnaligned(fromByteOffset: tap, as: I.Vector.self), fetch(input, vector, tap))
                tap &+= I.bytes
                while tap < end {
                    sum = I.multiplyAdd(
                        weights.loadUnaligned(fromByteOffset: tap, as: I.Vector.self), fetch(input, vector, tap), sum)
                    tap &+= I.bytes
                }
                store(I.self, sum, to: output + place)
            }
            row &+= 1
        }
    }

    /// Without weights. `fetch` is called with an input row and the number of a vector. A row that equals the one before is
    /// copied from its result, which a near cache still holds, unless that went past the caches.
    @inlinable @inline(__always)
    func copy<I: InstructionSet>(_: I.Type, fetch: (UnsafePointer<Scalar>, Int) -> I.Vector) where I.Scalar == Scalar {
        // The last vector by itself: it keeps the loops small.
        let last = max(elements &* MemoryLayout<Scalar>.stride &- I.bytes, 0)
        var row = 0
        while row < rows {
            let input = inputs[row]
            let output = UnsafeMutableRawPointer(outputs[row])
            var place = 0
            if !streaming, row > 0, input == inputs[row &- 1] {
                let result = UnsafeRawPointer(outputs[row &- 1])
                while place < last {
                    output.storeBytes(of: result.loadUnaligned(fromByteOffset: place, as: I.Vector.self), toByteOffset: place,
                        as: I.Vector.self)
                    place &+= I.bytes
                }
                output.storeBytes(of: result.loadUnaligned(fromByteOffset: last, as: I.Vector.self), toByteOffset: last,
                    as: I.Vector.self)
            } else {
                var vector = 0
                if streaming {
                    while place < last {
                        I.stream(fetch(input, vector), to: output + place)
                        vector &+= 1
                        place &+= I.bytes
                    }
                } else {
                    while place < last {
                        output.storeBytes(of: fetch(input, vector), toByteOffset: place, as: I.Vector.self)
                        vector &+= 1
                        place &+= I.bytes
                    }
                }
                store(I.self, fetch(input, vector), to: output + last)
            }
            row &+= 1
        }
    }
}

/// Few channels: a vector's elements fetched one by one.
@inlinable @inline(__always)
public func gatheredColumns<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: ResampleColumnsArguments<I.Scalar>.self).pointee
    func fetch(_ input: UnsafePointer<I.Scalar>, _ tap: Int) -> I.Vector { I.gather(input, arguments.sources + tap &* I.lanes) }
    if arguments.weights == nil {
        arguments.copy(I.self, fetch: fetch)
        return
    }
    let vectorBytes = arguments.taps &* I.bytes
    arguments.combine(I.self, entry: { $0 &* vectorBytes }, fetch: { input, _, tap in fetch(input, tap / I.bytes) })
}

/// So many rows that the weights and places, which take more room than the rows themselves, are seldom fetched.
public let rowsTogether = 4

/// Few channels, where the elements of a vector lie so close together that one, two or four vectors of input hold them.
@inlinable @inline(__always)
public func permutedColumns<I: PermutingInstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: ResampleColumnsArguments<I.Scalar>.self).pointee
    func fetch<let W: Int>(_ input: UnsafePointer<I.Scalar>, _ vector: Int, _ vectors: Count<W>.Type) -> I.Vector {
        let window = Window(I.self, input + arguments.sources[2 &* vector], vectors)
        return window.permuted(arguments.places + arguments.sources[2 &* vector &+ 1], vectors)
    }
    if arguments.weights == nil {
        if arguments.window > 1 {
            arguments.copy(I.self) { fetch($0, $1, Count<2>.self) }
        } else {
            arguments.copy(I.self) { fetch($0, $1, Count<1>.self) }
        }
    } else {
        // So many taps that the loop over them is none: enlarging.
        switch (arguments.taps, arguments.window) {
        case (2, 1): permuteRows(I.self, taps: Count<2>.self, window: Count<1>.self, arguments)
        case (4, 1): permuteRows(I.self, taps: Count<4>.self, window: Count<1>.self, arguments)
        case (4, 2): permuteRows(I.self, taps: Count<4>.self, window: Count<2>.self, arguments)
        case (_, 4): // Seldom: short code, and slower by a third than four rows at a time.
            arguments.combine(I.self, entry: { arguments.sources[2 &* $0 &+ 1] }) { input, vector, tap in
                let window = UnsafeRawPointer(input + arguments.sources[2 &* vector])
                func part(_ number: Int) -> I.Vector {
                    window.loadUnaligned(fromByteOffset: number &* I.bytes, as: I.Vector.self)
                }
                return I.permute(part(0), part(1), part(2), part(3), arguments.places + tap)
            }
        default: permuteRows(I.self, taps: Count<0>.self, window: Count<2>.self, arguments)
        }
    }
}

/// One vector of an input row, or two. (Four are permuted in two steps, without this.)
@usableFromInline
struct Window<I: PermutingInstructionSet> {
    @usableFromInline var first, second: I.Vector

    @inlinable @inline(__always)
    init<let W: Int>(_: I.Type, _ start: UnsafePointer<I.Scalar>, _ vectors: Count<W>.Type) {
        first = UnsafeRawPointer(start).loadUnaligned(as: I.Vector.self)
        second = W > 1 ? UnsafeRawPointer(start).loadUnaligned(fromByteOffset: I.bytes, as: I.Vector.self) : first
    }

    @inlinable @inline(__always)
    func permuted<let W: Int>(_ places: UnsafeRawPointer, _ vectors: Count<W>.Type) -> I.Vector {
        W > 1 ? I.permute(first, second, places) : I.permute(first, places)
    }
}

/// Four rows at a time; what lacks to four is the last one again. T taps, or as many as the arguments say if T is 0; windows of W
/// vectors.
@inlinable @inline(__always)
func permuteRows<I: PermutingInstructionSet, let T: Int, let W: Int>(
    _: I.Type, taps: Count<T>.Type, window: Count<W>.Type, _ arguments: ResampleColumnsArguments<I.Scalar>
) {
    let taps = T > 0 ? T : arguments.taps
    var row = 0
    while row < arguments.rows {
        let last = arguments.rows &- 1
        let (second, third, fourth) = (min(row &+ 1, last), min(row &+ 2, last), min(row &+ 3, last))
        let (inputs, outputs) = (arguments.inputs, arguments.outputs)
        let (a, b, c, d) = (inputs[row], inputs[second], inputs[third], inputs[fourth])
        let (toA, toB) = (UnsafeMutableRawPointer(outputs[row]), UnsafeMutableRawPointer(outputs[second]))
        let (toC, toD) = (UnsafeMutableRawPointer(outputs[third]), UnsafeMutableRawPointer(outputs[fourth]))
        arguments.forEachVector(I.self) { vector, place in
            let source = arguments.sources[2 &* vector]
            let first = arguments.sources[2 &* vector &+ 1]
            let windowA = Window(I.self, a + source, window)
            let windowB = Window(I.self, b + source, window)
            let windowC = Window(I.self, c + source, window)
            let windowD = Window(I.self, d + source, window)
            let places = arguments.places + first
            let weights = UnsafeRawPointer(arguments.weights.unsafelyUnwrapped) + first
            let weight = weights.loadUnaligned(as: I.Vector.self)
            var sumA = I.product(weight, windowA.permuted(places, window))
            var sumB = I.product(weight, windowB.permuted(places, window))
            var sumC = I.product(weight, windowC.permuted(places, window))
            var sumD = I.product(weight, windowD.permuted(places, window))
            var offset = I.bytes
            while offset < taps &* I.bytes {
                let places = places + offset
                let weight = weights.loadUnaligned(fromByteOffset: offset, as: I.Vector.self)
                sumA = I.multiplyAdd(weight, windowA.permuted(places, window), sumA)
                sumB = I.multiplyAdd(weight, windowB.permuted(places, window), sumB)
                sumC = I.multiplyAdd(weight, windowC.permuted(places, window), sumC)
                sumD = I.multiplyAdd(weight, windowD.permuted(places, window), sumD)
                offset &+= I.bytes
            }
            arguments.store(I.self, sumA, to: toA + place)
            arguments.store(I.self, sumB, to: toB + place)
            arguments.store(I.self, sumC, to: toC + place)
            arguments.store(I.self, sumD, to: toD + place)
        }
        row &+= 4
    }
}

/// Pairs of output rows out of pairs of input rows, twice as long: two neighbours of each make two neighbours of the output.
public struct DoubleRowsArguments<Scalar> {
    /// `[pairs][2]`
    public var inputs: UnsafePointer<UnsafePointer<Scalar>>
    /// `[pairs][2]`, which may be the same row twice.
    public var outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>
    /// `[pairs][2][2]`: of the input rows, for each output row. NULL: every pixel of the first input row becomes two, copied.
    public var rowWeights: UnsafePointer<Scalar>?
    public var pairs: Int
    /// Of the input.
    public var width: Int
    public var channels: Int
    /// The first column, 0 or 1, of those that are made two by two.
    public var first: Int
    /// `[columns][2]`: input pixels and their weights, which are those of columns `first` and `first` + 1 throughout. Copies read
    /// neither.
    public var pixels: UnsafePointer<Int>
    public var weights: UnsafePointer<Scalar>
    /// `[4][lanes]`: places among the left and the right neighbours, for the first and for the last vector of what one step
    /// makes, and the same for the last step, whose vectors begin earlier.
    public var places: UnsafeRawPointer
    /// Input elements of a step: whole pixels.
    public var step: Int

    @inlinable @inline(__always)
    public init(
        inputs: UnsafePointer<UnsafePointer<Scalar>>, outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>,
        rowWeights: UnsafePointer<Scalar>?, pairs: Int, width: Int, channels: Int, first: Int, pixels: UnsafePointer<Int>,
        weights: UnsafePointer<Scalar>, places: UnsafeRawPointer, step: Int
    ) {
        self.inputs = inputs
        self.outputs = outputs
        self.rowWeights = rowWeights
        self.pairs = pairs
        self.width = width
        self.channels = channels
        self.first = first
        self.pixels = pixels
        self.weights = weights
        self.places = places
        self.step = step
    }
}

/// Two output rows out of one input row, every pixel of which is there twice.
@inlinable @inline(__always)
func repeatRows<I: PermutingInstructionSet>(_: I.Type, _ arguments: DoubleRowsArguments<I.Scalar>) {
    let stepBytes = arguments.step &* MemoryLayout<I.Scalar>.stride
    let end = arguments.width &* arguments.channels &* MemoryLayout<I.Scalar>.stride
    var pair = 0
    while pair < arguments.pairs {
        let input = UnsafeRawPointer(arguments.inputs[2 &* pair])
        let toFirst = UnsafeMutableRawPointer(arguments.outputs[2 &* pair])
        let toSecond = UnsafeMutableRawPointer(arguments.outputs[2 &* pair &+ 1])
        func write(from: Int, _ offset: Int, _ places: UnsafeRawPointer) {
            let x = input.loadUnaligned(fromByteOffset: from, as: I.Vector.self)
            let (left, right) = (I.permute(x, places), I.permute(x, places + I.bytes))
            let (at, last) = (2 &* offset, 2 &* (offset &+ stepBytes) &- I.bytes)
            toFirst.storeBytes(of: left, toByteOffset: at, as: I.Vector.self)
            toFirst.storeBytes(of: right, toByteOffset: last, as: I.Vector.self)
            toSecond.storeBytes(of: left, toByteOffset: at, as: I.Vector.self)
            toSecond.storeBytes(of: right, toByteOffset: last, as: I.Vector.self)
        }
        var offset = 0
        while offset &+ stepBytes < end {
            write(from: offset, offset, arguments.places)
            offset &+= stepBytes
        }
        // The last step ends with the row, and so does the vector that it reads.
        write(from: end &- I.bytes, end &- stepBytes, arguments.places + 2 &* I.bytes)
        pair &+= 1
    }
}

/// Few channels: what the left and the right neighbour are made of is computed for all elements of a vector at once, and then put
/// side by side.
@inlinable @inline(__always)
public func doubledRows<I: PermutingInstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: DoubleRowsArguments<I.Scalar>.self).pointee
    guard let rowWeights = arguments.rowWeights else { return repeatRows(I.self, arguments) }
    let channels = arguments.channels
    let bytes = MemoryLayout<I.Scalar>.stride
    let neighbour = channels &* bytes
    let stepBytes = arguments.step &* bytes
    let end = (arguments.width &- 1) &* neighbour
    func column(_ number: Int, _ tap: Int) -> I.Vector { I.Vector(repeating: arguments.weights[2 &* number &+ tap]) }
    let (leftOfLeft, rightOfLeft) = (column(arguments.first, 0), column(arguments.first, 1))
    let (leftOfRight, rightOfRight) = (column(arguments.first &+ 1, 0), column(arguments.first &+ 1, 1))
    func sum(_ a: I.Vector, _ x: I.Vector, _ b: I.Vector, _ y: I.Vector) -> I.Vector { I.multiplyAdd(b, y, I.product(a, x)) }
    func fetch(_ row: UnsafeRawPointer, _ offset: Int) -> I.Vector {
        row.loadUnaligned(fromByteOffset: offset, as: I.Vector.self)
    }
    var pair = 0
    while pair < arguments.pairs {
        let (upperRow, lowerRow) = (arguments.inputs[2 &* pair], arguments.inputs[2 &* pair &+ 1])
        let (upper, lower) = (UnsafeRawPointer(upperRow), UnsafeRawPointer(lowerRow))
        let (firstRow, secondRow) = (arguments.outputs[2 &* pair], arguments.outputs[2 &* pair &+ 1])
        func row(_ number: Int) -> I.Vector { I.Vector(repeating: rowWeights[4 &* pair &+ number]) }
        let (upperOfFirst, lowerOfFirst, upperOfSecond, lowerOfSecond) = (row(0), row(1), row(2), row(3))
        // The columns at the border, one element at a time.
        var number = 0
        while number < 2 &* arguments.width {
            if number == arguments.first { number &+= 2 &* (arguments.width &- 1) }
            let (left, right) = (arguments.pixels[2 &* number] &* channels, arguments.pixels[2 &* number &+ 1] &* channels)
            var channel = 0
            while channel < channels {
                func element(_ row: UnsafePointer<I.Scalar>, _ pixel: Int) -> I.Vector {
                    I.Vector(repeating: row[pixel &+ channel])
                }
                let (a, b) = (element(upperRow, left), element(lowerRow, left))
                let (c, d) = (element(upperRow, right), element(lowerRow, right))
                let place = number &* channels &+ channel
                firstRow[place] = sum(
                    column(number, 0), sum(upperOfFirst, a, lowerOfFirst, b), column(number, 1),
                    sum(upperOfFirst, c, lowerOfFirst, d))[0]
                secondRow[place] = sum(
                    column(number, 0), sum(upperOfSecond, a, lowerOfSecond, b), column(number, 1),
                    sum(upperOfSecond, c, lowerOfSecond, d))[0]
                channel &+= 1
            }
            number &+= 1
        }
        let toFirst = UnsafeMutableRawPointer(firstRow + arguments.first &* channels)
        let toSecond = UnsafeMutableRawPointer(secondRow + arguments.first &* channels)
        var places = arguments.places
        var offset = 0
        while offset < end {
            var from = offset
            if offset &+ stepBytes >= end {
                // The last step ends with the row, and so do the vectors that it reads.
                offset = end &- stepBytes
                from = end &- I.bytes
                places = arguments.places + 2 &* I.bytes
            }
            // The upper row's and the lower row's left neighbours, then their right ones.
            func inputs(_ from: Int) -> InlineArray<4, I.Vector> {
                [fetch(upper, from), fetch(lower, from), fetch(upper, from &+ neighbour), fetch(lower, from &+ neighbour)]
            }
            func write(
                _ ofUpper: I.Vector, _ ofLower: I.Vector, _ x: borrowing InlineArray<4, I.Vector>, _ offset: Int,
                to target: UnsafeMutableRawPointer
            ) {
                let left = sum(ofUpper, x[unchecked: 0], ofLower, x[unchecked: 1])
                let right = sum(ofUpper, x[unchecked: 2], ofLower, x[unchecked: 3])
                let even = sum(leftOfLeft, left, rightOfLeft, right)
                let odd = sum(leftOfRight, left, rightOfRight, right)
                target.storeBytes(of: I.permute(even, odd, places), toByteOffset: 2 &* offset, as: I.Vector.self)
                target.storeBytes(
                    of: I.permute(even, odd, places + I.bytes), toByteOffset: 2 &* (offset &+ stepBytes) &- I.bytes,
                    as: I.Vector.self)
            }
            let first = inputs(from)
            let next = offset &+ stepBytes
            if next &+ stepBytes < end {
                // Two steps of a row, then of the other: what is stored across cache lines goes on there.
                let second = inputs(next)
                write(upperOfFirst, lowerOfFirst, first, offset, to: toFirst)
                write(upperOfFirst, lowerOfFirst, second, next, to: toFirst)
                write(upperOfSecond, lowerOfSecond, first, offset, to: toSecond)
                write(upperOfSecond, lowerOfSecond, second, next, to: toSecond)
                offset = next &+ stepBytes
                continue
            }
            write(upperOfFirst, lowerOfFirst, first, offset, to: toFirst)
            write(upperOfSecond, lowerOfSecond, first, offset, to: toSecond)
            offset &+= stepBytes
        }
        pair &+= 1
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
    /// Past the caches; all pixels of the output are whole aligned vectors.
    public var streaming: Bool
    /// From `input` to a row that is needed soon.
    public var ahead: Int

    @inlinable @inline(__always)
    public init(
        input: UnsafePointer<Scalar>, output: UnsafeMutablePointer<Scalar>, columns: Int, channels: Int, taps: Int,
        weights: UnsafePointer<Scalar>?, pixels: UnsafePointer<Int>, streaming: Bool, ahead: Int
    ) {
        self.input = input
        self.output = output
        self.columns = columns
        self.channels = channels
        self.taps = taps
        self.weights = weights
        self.pixels = pixels
        self.streaming = streaming
        self.ahead = ahead
    }
}

/// Many channels. Below a vector's width, up to a vector behind the last pixel of input and output is touched.
@inlinable @inline(__always)
public func resampledPixels<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: ResamplePixelsArguments<I.Scalar>.self).pointee
    let input = UnsafeRawPointer(arguments.input)
    let pixelBytes = arguments.channels &* MemoryLayout<I.Scalar>.stride
    let ahead = arguments.ahead &* MemoryLayout<I.Scalar>.stride
    // The last vector of a pixel ends with it, and so may compute some elements twice.
    let last = max(pixelBytes &- I.bytes, 0)
    var output = UnsafeMutableRawPointer(arguments.output)
    var tap = 0
    let end = arguments.columns &* arguments.taps
    while tap < end {
        var offset = 0
        while offset &+ 3 &* I.bytes <= last {
            let sums = weightedSums(
                I.self, taps: arguments.taps, weights: arguments.weights.map { $0 + tap },
                row: { input + (arguments.pixels[tap &+ $0] &* pixelBytes &+ offset) })
            if arguments.streaming {
                sums.stream(to: output + offset)
                let next = input + (arguments.pixels[tap] &* pixelBytes &+ offset &+ ahead)
                shim_prefetch(next)
                shim_prefetch(next + I.bytes)
                shim_prefetch(next + 2 &* I.bytes)
                shim_prefetch(next + 3 &* I.bytes)
            } else {
                sums.store(to: output + offset)
            }
            offset &+= 4 &* I.bytes
        }
        while offset < last &+ I.bytes {
            let at = min(offset, last)
            let sum = weightedSum(
                I.self, taps: arguments.taps, weights: arguments.weights.map { $0 + tap },
                row: { input + (arguments.pixels[tap &+ $0] &* pixelBytes &+ at) })
            if arguments.streaming {
                I.stream(sum, to: output + at)
            } else {
                output.storeBytes(of: sum, toByteOffset: at, as: I.Vector.self)
            }
            offset &+= I.bytes
        }
        output += pixelBytes
        tap &+= arguments.taps
    }
}

/// One output row out of two input rows, two pixels of each for one of the output.
public struct BlendPixelsArguments<Scalar> {
    public var upper: UnsafePointer<Scalar>
    public var lower: UnsafePointer<Scalar>
    /// Of the two rows.
    public var upperWeight: Scalar
    public var lowerWeight: Scalar
    public var output: UnsafeMutablePointer<Scalar>
    public var columns: Int
    /// A vector at least.
    public var channels: Int
    /// `[columns][2]`
    public var weights: UnsafePointer<Scalar>
    /// `[columns][2]`: the input pixels.
    public var pixels: UnsafePointer<Int>
    /// Past the caches; all pixels of the output are whole aligned vectors.
    public var streaming: Bool
    /// From `lower` to a row that is needed soon.
    public var ahead: Int

    @inlinable @inline(__always)
    public init(
        upper: UnsafePointer<Scalar>, lower: UnsafePointer<Scalar>, upperWeight: Scalar, lowerWeight: Scalar,
        output: UnsafeMutablePointer<Scalar>, columns: Int, channels: Int, weights: UnsafePointer<Scalar>,
        pixels: UnsafePointer<Int>, streaming: Bool, ahead: Int
    ) {
        self.upper = upper
        self.lower = lower
        self.upperWeight = upperWeight
        self.lowerWeight = lowerWeight
        self.output = output
        self.columns = columns
        self.channels = channels
        self.weights = weights
        self.pixels = pixels
        self.streaming = streaming
        self.ahead = ahead
    }
}

/// Many channels. What is computed keeps up with the memory, so that nothing is gained by keeping resampled rows.
@inlinable @inline(__always)
public func blendedPixels<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: BlendPixelsArguments<I.Scalar>.self).pointee
    let upper = UnsafeRawPointer(arguments.upper)
    let lower = UnsafeRawPointer(arguments.lower)
    let upperWeight = I.Vector(repeating: arguments.upperWeight)
    let lowerWeight = I.Vector(repeating: arguments.lowerWeight)
    let pixelBytes = arguments.channels &* MemoryLayout<I.Scalar>.stride
    let last = pixelBytes &- I.bytes
    let ahead = arguments.ahead &* MemoryLayout<I.Scalar>.stride
    var output = UnsafeMutableRawPointer(arguments.output)
    var column = 0
    while column < arguments.columns {
        let left = arguments.pixels[2 &* column] &* pixelBytes
        let right = arguments.pixels[2 &* column &+ 1] &* pixelBytes
        let leftWeight = I.Vector(repeating: arguments.weights[2 &* column])
        let rightWeight = I.Vector(repeating: arguments.weights[2 &* column &+ 1])
        let (upperLeft, upperRight, lowerLeft, lowerRight) = (upper + left, upper + right, lower + left, lower + right)
        func blended(_ upper: UnsafeRawPointer, _ lower: UnsafeRawPointer, _ offset: Int) -> I.Vector {
            I.multiplyAdd(
                lowerWeight, lower.loadUnaligned(fromByteOffset: offset, as: I.Vector.self),
                I.product(upperWeight, upper.loadUnaligned(fromByteOffset: offset, as: I.Vector.self)))
        }
        func resampled(_ offset: Int) -> I.Vector {
            I.multiplyAdd(
                rightWeight, blended(upperRight, lowerRight, offset),
                I.product(leftWeight, blended(upperLeft, lowerLeft, offset)))
        }
        var offset = 0
        if arguments.streaming {
            let next = lowerRight + ahead
            while offset <= last {
                I.stream(resampled(offset), to: output + offset)
                shim_prefetch(next + offset)
                offset &+= I.bytes
            }
        } else {
            while offset < last {
                output.storeBytes(of: resampled(offset), toByteOffset: offset, as: I.Vector.self)
                offset &+= I.bytes
            }
            output.storeBytes(of: resampled(last), toByteOffset: last, as: I.Vector.self)
        }
        output += pixelBytes
        column &+= 1
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

/// Four vectors that follow each other.
@usableFromInline
struct FourVectors<I: InstructionSet> {
    @usableFromInline var a, b, c, d: I.Vector

    @inlinable @inline(__always)
    init(_ a: I.Vector, _ b: I.Vector, _ c: I.Vector, _ d: I.Vector) {
        (self.a, self.b, self.c, self.d) = (a, b, c, d)
    }

    @inlinable @inline(__always)
    func store(to place: UnsafeMutableRawPointer) {
        place.storeBytes(of: a, as: I.Vector.self)
        place.storeBytes(of: b, toByteOffset: I.bytes, as: I.Vector.self)
        place.storeBytes(of: c, toByteOffset: 2 &* I.bytes, as: I.Vector.self)
        place.storeBytes(of: d, toByteOffset: 3 &* I.bytes, as: I.Vector.self)
    }

    @inlinable @inline(__always)
    func stream(to place: UnsafeMutableRawPointer) {
        I.stream(a, to: place)
        I.stream(b, to: place + I.bytes)
        I.stream(c, to: place + 2 &* I.bytes)
        I.stream(d, to: place + 3 &* I.bytes)
    }
}

/// The same for four vectors.
@inlinable @inline(__always)
func weightedSums<I: InstructionSet>(
    _: I.Type, taps: Int, weights: UnsafePointer<I.Scalar>?, row: (Int) -> UnsafeRawPointer
) -> FourVectors<I> {
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
    return FourVectors(a, b, c, d)
}

/// Output rows, each out of some resampled rows.
public struct BlendRowsArguments<Scalar> {
    /// Output rows, `pitch` elements apart.
    public var count: Int
    /// `[count][taps]`
    public var rows: UnsafePointer<UnsafePointer<Scalar>>
    /// `[count][taps]`; NULL copies the one row.
    public var weights: UnsafePointer<Scalar>?
    public var taps: Int
    public var output: UnsafeMutablePointer<Scalar>
    public var pitch: Int
    /// Of a row; at least a vector.
    public var elements: Int
    /// Past the caches, where the output is too large for them.
    public var streaming: Bool
    /// `blendedRuns`: `[runCount][2]`, in bytes: where in the rows and where in the output a vector lies. It may overwrite the
    /// end of the one before.
    public var runs: UnsafePointer<Int>?
    public var runCount: Int

    @inlinable @inline(__always)
    public init(
        count: Int, rows: UnsafePointer<UnsafePointer<Scalar>>, weights: UnsafePointer<Scalar>?, taps: Int,
        output: UnsafeMutablePointer<Scalar>, pitch: Int, elements: Int, streaming: Bool, runs: UnsafePointer<Int>? = nil,
        runCount: Int = 0
    ) {
        self.count = count
        self.rows = rows
        self.weights = weights
        self.taps = taps
        self.output = output
        self.pitch = pitch
        self.elements = elements
        self.streaming = streaming
        self.runs = runs
        self.runCount = runCount
    }
}

@inlinable @inline(__always)
public func blendedRows<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: BlendRowsArguments<I.Scalar>.self).pointee
    var row = 0
    while row < arguments.count {
        let tap = row &* arguments.taps
        blendRow(
            I.self, arguments, arguments.rows + tap, arguments.weights.map { $0 + tap },
            to: UnsafeMutableRawPointer(arguments.output + row &* arguments.pitch))
        row &+= 1
    }
}

/// Rows of two and four taps, which nearly all are, keep their weights in registers.
@inlinable @inline(__always)
func blendRow<I: InstructionSet>(
    _: I.Type, _ arguments: BlendRowsArguments<I.Scalar>, _ rows: UnsafePointer<UnsafePointer<I.Scalar>>,
    _ weights: UnsafePointer<I.Scalar>?, to output: UnsafeMutableRawPointer
) {
    let taps = arguments.taps
    func row(_ k: Int) -> UnsafeRawPointer { UnsafeRawPointer(rows[k]) }
    func fetch(_ row: UnsafeRawPointer, _ offset: Int) -> I.Vector {
        row.loadUnaligned(fromByteOffset: offset, as: I.Vector.self)
    }
    // The first and the last vector need not be aligned, and may compute elements twice.
    let last = arguments.elements &* MemoryLayout<I.Scalar>.stride &- I.bytes
    func write(from first: Int, _ blend: (Int) -> I.Vector) {
        output.storeBytes(of: blend(0), as: I.Vector.self)
        output.storeBytes(of: blend(last), toByteOffset: last, as: I.Vector.self)
        var offset = first
        if arguments.streaming {
            while offset < last {
                I.stream(blend(offset), to: output + offset)
                offset &+= I.bytes
            }
        } else {
            while offset < last {
                output.storeBytes(of: blend(offset), toByteOffset: offset, as: I.Vector.self)
                offset &+= I.bytes
            }
        }
    }
    var offset = I.bytes &- Int(bitPattern: output) & (I.bytes &- 1)
    guard let weights else {
        let only = row(0)
        write(from: offset) { fetch(only, $0) }
        return
    }
    func weight(_ k: Int) -> I.Vector { I.Vector(repeating: weights[k]) }
    if taps == 2 {
        let (a, b) = (row(0), row(1))
        let (ofA, ofB) = (weight(0), weight(1))
        write(from: offset) { I.multiplyAdd(ofB, fetch(b, $0), I.product(ofA, fetch(a, $0))) }
    } else if taps == 4 {
        let (a, b, c, d) = (row(0), row(1), row(2), row(3))
        let (ofA, ofB, ofC, ofD) = (weight(0), weight(1), weight(2), weight(3))
        write(from: offset) {
            let sum = I.multiplyAdd(ofB, fetch(b, $0), I.product(ofA, fetch(a, $0)))
            return I.multiplyAdd(ofD, fetch(d, $0), I.multiplyAdd(ofC, fetch(c, $0), sum))
        }
    } else {
        while offset &+ 3 &* I.bytes < last {
            let sums = weightedSums(I.self, taps: taps, weights: weights) { row($0) + offset }
            if arguments.streaming { sums.stream(to: output + offset) } else { sums.store(to: output + offset) }
            offset &+= 4 &* I.bytes
        }
        write(from: offset) { place in weightedSum(I.self, taps: taps, weights: weights) { row($0) + place } }
    }
}

/// Runs of rows, a vector or a few each: longer vectors would reach over two cache lines.
@inlinable @inline(__always)
public func blendedRuns<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: BlendRowsArguments<I.Scalar>.self).pointee
    let runs = arguments.runs.unsafelyUnwrapped
    let taps = arguments.taps
    var number = 0
    while number < arguments.count {
        let rows = arguments.rows + number &* taps
        let weights = arguments.weights.unsafelyUnwrapped + number &* taps
        let output = UnsafeMutableRawPointer(arguments.output + number &* arguments.pitch)
        func forEachVector(_ blend: (Int) -> I.Vector) {
            var run = 0
            repeat {
                output.storeBytes(of: blend(runs[2 &* run]), toByteOffset: runs[2 &* run &+ 1], as: I.Vector.self)
                run &+= 1
            } while run < arguments.runCount
        }
        func row(_ k: Int) -> UnsafeRawPointer { UnsafeRawPointer(rows[k]) }
        func weight(_ k: Int) -> I.Vector { I.Vector(repeating: weights[k]) }
        func fetch(_ row: UnsafeRawPointer, _ offset: Int) -> I.Vector {
            row.loadUnaligned(fromByteOffset: offset, as: I.Vector.self)
        }
        if taps == 2 {
            let (a, b) = (row(0), row(1))
            let (ofA, ofB) = (weight(0), weight(1))
            forEachVector { I.multiplyAdd(ofB, fetch(b, $0), I.product(ofA, fetch(a, $0))) }
        } else if taps == 4 {
            let (a, b, c, d) = (row(0), row(1), row(2), row(3))
            let (ofA, ofB, ofC, ofD) = (weight(0), weight(1), weight(2), weight(3))
            forEachVector {
                let sum = I.multiplyAdd(ofB, fetch(b, $0), I.product(ofA, fetch(a, $0)))
                return I.multiplyAdd(ofD, fetch(d, $0), I.multiplyAdd(ofC, fetch(c, $0), sum))
            }
        } else {
            forEachVector { place in weightedSum(I.self, taps: taps, weights: weights) { row($0) + place } }
        }
        number &+= 1
    }
}
