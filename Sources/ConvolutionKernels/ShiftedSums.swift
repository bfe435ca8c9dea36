// Output elements of a transposed convolution from the products that fall on them: see "Products first" in the README.

/// One row of outputs of one phase: rows of products, each shifted to where its kernel element puts it, added up.
public struct ShiftedSumArguments<Scalar> {
    /// `[rows][columns]`: the products of kernel element (row, column) that fall on the first output, of the first channel.
    public var sources: UnsafePointer<UnsafePointer<Scalar>>
    public var rows: Int
    public var columns: Int
    public var channels: Int
    /// Elements from channel to channel of the products.
    public var channelPitch: Int
    /// Per channel.
    public var vectors: Int
    /// `[channels][vectors]`
    public var sums: UnsafeMutablePointer<Scalar>

    @inlinable @inline(__always)
    public init(
        sources: UnsafePointer<UnsafePointer<Scalar>>, rows: Int, columns: Int, channels: Int, channelPitch: Int, vectors: Int,
        sums: UnsafeMutablePointer<Scalar>
    ) {
        self.sources = sources
        self.rows = rows
        self.columns = columns
        self.channels = channels
        self.channelPitch = channelPitch
        self.vectors = vectors
        self.sums = sums
    }
}

/// N vectors of one channel. First along the kernel's rows, then across them: two short chains of additions err less than a long
/// one.
@inlinable @inline(__always)
func addShifted<I: InstructionSet, let N: Int>(
    _: I.Type, vectors: Count<N>.Type, _ arguments: ShiftedSumArguments<I.Scalar>, offset: Int,
    to target: UnsafeMutableRawPointer
) {
    var totals = InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0))
    var sources = arguments.sources
    var row = 0
    while row < arguments.rows {
        var sums = InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0))
        var column = 0
        while column < arguments.columns {
            let source = UnsafeRawPointer(sources[column] + offset)
            for n in 0..<N {
                sums[unchecked: n] = I.sum(sums[unchecked: n],
                    source.loadUnaligned(fromByteOffset: n &* I.bytes, as: I.Vector.self))
            }
            column &+= 1
        }
        sources += arguments.columns
        for n in 0..<N { totals[unchecked: n] = I.sum(totals[unchecked: n], sums[unchecked: n]) }
        row &+= 1
    }
    for n in 0..<N { target.storeBytes(of: totals[unchecked: n], toByteOffset: n &* I.bytes, as: I.Vector.self) }
}

/// sums[c][x] = sum over rows i of (sum over columns j of sources[i][j][c * channelPitch + x])
@inlinable @inline(__always)
public func shiftedSums<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: ShiftedSumArguments<I.Scalar>.self).pointee
    var target = UnsafeMutableRawPointer(arguments.sums)
    var channel = 0
    while channel < arguments.channels {
        let first = channel &* arguments.channelPitch
        var v = 0
        while v &+ 4 <= arguments.vectors {
            addShifted(I.self, vectors: Count<4>.self, arguments, offset: first &+ v &* I.lanes, to: target)
            target += 4 &* I.bytes
            v &+= 4
        }
        switch arguments.vectors &- v {
        case 1: addShifted(I.self, vectors: Count<1>.self, arguments, offset: first &+ v &* I.lanes, to: target)
        case 2: addShifted(I.self, vectors: Count<2>.self, arguments, offset: first &+ v &* I.lanes, to: target)
        case 3: addShifted(I.self, vectors: Count<3>.self, arguments, offset: first &+ v &* I.lanes, to: target)
        default: break
        }
        target += (arguments.vectors &- v) &* I.bytes
        channel &+= 1
    }
}
