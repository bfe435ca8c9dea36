// One input channel and one term for each output element: each input element is repeated for the outputs of its pixel, which lie
// side by side.

/// Rows of input elements, each multiplied by the same few weights.
public struct RepeatArguments<Scalar> {
    public var input: UnsafePointer<Scalar>
    public var inputPitch: Int
    public var output: UnsafeMutablePointer<Scalar>
    public var outputPitch: Int
    public var rows: Int
    /// Input elements of a row, a vector at least.
    public var columns: Int
    /// Outputs of an element.
    public var outputs: Int
    /// `[outputs]`
    public var weights: UnsafePointer<Scalar>
    public var bias: UnsafePointer<Scalar>
    public var low: Scalar
    public var high: Scalar
    /// `[outputs][3]` vectors of scratch memory.
    public var tables: UnsafeMutableRawPointer
    /// All vectors are aligned, rows are whole vectors, and stored past the caches.
    public var streams: Bool

    @inlinable @inline(__always)
    public init(
        input: UnsafePointer<Scalar>, inputPitch: Int, output: UnsafeMutablePointer<Scalar>, outputPitch: Int, rows: Int,
        columns: Int, outputs: Int, weights: UnsafePointer<Scalar>, bias: UnsafePointer<Scalar>, low: Scalar, high: Scalar,
        tables: UnsafeMutableRawPointer, streams: Bool
    ) {
        self.input = input
        self.inputPitch = inputPitch
        self.output = output
        self.outputPitch = outputPitch
        self.rows = rows
        self.columns = columns
        self.outputs = outputs
        self.weights = weights
        self.bias = bias
        self.low = low
        self.high = high
        self.tables = tables
        self.streams = streams
    }
}

/// output[row][x][o] = input[row][x] * weights[o] + bias[o], within the bounds.
@inlinable @inline(__always)
public func multiplyRepeated<I: PermutingInstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) where I.Scalar == Float {
    let arguments = raw.assumingMemoryBound(to: RepeatArguments<Float>.self).pointee
    let outputs = arguments.outputs
    // Of each vector of the outputs of a vector of elements: which elements it is made of (integers as wide as these), its weights,
    // its bias.
    let tables = arguments.tables
    var (place, output) = (Int32(0), 0)
    for n in 0..<outputs {
        let part = tables + n &* (3 &* I.bytes)
        for lane in 0..<I.lanes {
            let element = part + lane &* 4
            element.storeBytes(of: place, as: Int32.self)
            element.storeBytes(of: arguments.weights[output], toByteOffset: I.bytes, as: Float.self)
            element.storeBytes(of: arguments.bias[output], toByteOffset: 2 &* I.bytes, as: Float.self)
            output &+= 1
            if output == outputs { (place, output) = (place &+ 1, 0) }
        }
    }
    let low = I.Vector(repeating: arguments.low)
    let high = I.Vector(repeating: arguments.high)
    let zero = I.Vector(repeating: 0)
    let isBounded = arguments.low > -.infinity || arguments.high < .infinity
    let last = arguments.columns &- I.lanes
    for row in 0..<arguments.rows {
        let input = UnsafeRawPointer(arguments.input + row &* arguments.inputPitch)
        let output = UnsafeMutableRawPointer(arguments.output + row &* arguments.outputPitch)
        var column = 0
        while true {
            let x = input.loadUnaligned(fromByteOffset: column &* 4, as: I.Vector.self)
            var target = output + column &* outputs &* 4
            var part = UnsafeRawPointer(tables)
            var left = outputs
            repeat {
                let weights = part.loadUnaligned(fromByteOffset: I.bytes, as: I.Vector.self)
                let bias = part.loadUnaligned(fromByteOffset: 2 &* I.bytes, as: I.Vector.self)
                var total = I.sum(I.multiplyAdd(I.permute(x, part), weights, zero), bias)
                if isBounded { total = I.bounded(total, low: low, high: high) }
                if arguments.streams {
                    I.stream(total, to: target)
                } else {
                    target.storeBytes(of: total, as: I.Vector.self)
                }
                part += 3 &* I.bytes
                target += I.bytes
                left &-= 1
            } while left > 0
            if column == last { break }
            // The last vector rather begins early.
            column = min(column &+ I.lanes, last)
        }
    }
}
