/// One output row of a two-tap separable resampling.
public struct ResampleRowArguments<Scalar> {
    /// The two input rows and the weight of each. Nearest reads `upper` alone.
    public var upper: UnsafePointer<Scalar>
    public var lower: UnsafePointer<Scalar>
    public var upperWeight: Scalar
    public var lowerWeight: Scalar
    public var output: UnsafeMutablePointer<Scalar>
    public var columns: Int
    public var channels: Int
    public var inputColumnStride: Int
    public var inputChannelStride: Int
    public var outputColumnStride: Int
    public var outputChannelStride: Int
    /// `[columns]`: the two input columns of each output column and the weight of the right one.
    public var left: UnsafePointer<Int>
    public var right: UnsafePointer<Int>
    public var rightWeights: UnsafePointer<Scalar>

    @inlinable @inline(__always)
    public init(
        upper: UnsafePointer<Scalar>, lower: UnsafePointer<Scalar>, upperWeight: Scalar, lowerWeight: Scalar,
        output: UnsafeMutablePointer<Scalar>, columns: Int, channels: Int, inputColumnStride: Int, inputChannelStride: Int,
        outputColumnStride: Int, outputChannelStride: Int, left: UnsafePointer<Int>, right: UnsafePointer<Int>,
        rightWeights: UnsafePointer<Scalar>
    ) {
        self.upper = upper
        self.lower = lower
        self.upperWeight = upperWeight
        self.lowerWeight = lowerWeight
        self.output = output
        self.columns = columns
        self.channels = channels
        self.inputColumnStride = inputColumnStride
        self.inputChannelStride = inputChannelStride
        self.outputColumnStride = outputColumnStride
        self.outputChannelStride = outputChannelStride
        self.left = left
        self.right = right
        self.rightWeights = rightWeights
    }
}

/// Calls `vector` for whole vectors of neighbouring channels and `scalar` for the rest, as (output offset, left, right input offset).
/// Both must compute the same roundings, so that an element's bits do not depend on which of them it met.
@inlinable @inline(__always)
func forEachElement<I: InstructionSet>(
    _: I.Type, _ arguments: ResampleRowArguments<I.Scalar>, vector: (Int, Int, Int, Int) -> Void, scalar: (Int, Int, Int, Int) -> Void
) {
    let contiguous = arguments.inputChannelStride == 1 && arguments.outputChannelStride == 1
    let vectorChannels = contiguous ? arguments.channels / I.lanes &* I.lanes : 0
    if vectorChannels > 0 {
        var x = 0
        while x < arguments.columns {
            let output = x &* arguments.outputColumnStride
            let left = arguments.left[x] &* arguments.inputColumnStride
            let right = arguments.right[x] &* arguments.inputColumnStride
            var c = 0
            while c < vectorChannels {
                vector(x, output &+ c, left &+ c, right &+ c)
                c &+= I.lanes
            }
            x &+= 1
        }
    }
    var c = vectorChannels
    while c < arguments.channels {
        let output = c &* arguments.outputChannelStride
        let input = c &* arguments.inputChannelStride
        var x = 0
        while x < arguments.columns {
            scalar(
                x, output &+ x &* arguments.outputColumnStride, input &+ arguments.left[x] &* arguments.inputColumnStride,
                input &+ arguments.right[x] &* arguments.inputColumnStride)
            x &+= 1
        }
        c &+= 1
    }
}

/// output[x][c] = upper[left[x]][c]
@inlinable @inline(__always)
public func nearestRow<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: ResampleRowArguments<I.Scalar>.self).pointee
    let size = MemoryLayout<I.Scalar>.stride
    let input = UnsafeRawPointer(arguments.upper)
    let output = UnsafeMutableRawPointer(arguments.output)
    forEachElement(I.self, arguments) { _, o, l, _ in
        output.storeBytes(of: input.loadUnaligned(fromByteOffset: l &* size, as: I.Vector.self), toByteOffset: o &* size, as: I.Vector.self)
    } scalar: { _, o, l, _ in
        copyElement(arguments.upper + l, to: arguments.output + o)
    }
}

/// output[x][c] = upperWeight * (wl * upper[left] + wr * upper[right]) + lowerWeight * (wl * lower[left] + wr * lower[right])
@inlinable @inline(__always)
public func bilinearRow<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: ResampleRowArguments<I.Scalar>.self).pointee
    let size = MemoryLayout<I.Scalar>.stride
    let upper = UnsafeRawPointer(arguments.upper)
    let lower = UnsafeRawPointer(arguments.lower)
    let output = UnsafeMutableRawPointer(arguments.output)
    let upperWeights = I.Vector(repeating: arguments.upperWeight)
    let lowerWeights = I.Vector(repeating: arguments.lowerWeight)
    forEachElement(I.self, arguments) { x, o, l, r in
        let wr = I.Vector(repeating: arguments.rightWeights[x])
        let wl = I.Vector(repeating: 1 - arguments.rightWeights[x])
        func blend(_ row: UnsafeRawPointer) -> I.Vector {
            I.sum(
                I.product(wl, row.loadUnaligned(fromByteOffset: l &* size, as: I.Vector.self)),
                I.product(wr, row.loadUnaligned(fromByteOffset: r &* size, as: I.Vector.self)))
        }
        let blended = I.sum(I.product(upperWeights, blend(upper)), I.product(lowerWeights, blend(lower)))
        output.storeBytes(of: blended, toByteOffset: o &* size, as: I.Vector.self)
    } scalar: { x, o, l, r in
        let wr = arguments.rightWeights[x]
        let wl = 1 - wr
        let top = wl * arguments.upper[l] + wr * arguments.upper[r]
        let bottom = wl * arguments.lower[l] + wr * arguments.lower[r]
        arguments.output[o] = arguments.upperWeight * top + arguments.lowerWeight * bottom
    }
}
