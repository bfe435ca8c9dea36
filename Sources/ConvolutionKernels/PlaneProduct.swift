/// Kernel gradients of planes of few channels: three rows by three columns of taps, over some rows of points. Distances are in
/// elements.
public struct PlaneProductArguments {
    /// Packed rows end in tails: for each kernel column a vector that holds what its tap meets in the last, partial vector of
    /// points.
    public var image: UnsafeRawPointer
    public var points: UnsafeRawPointer
    /// `[3]`: of the taps of a column of `points`, and of their tails.
    public var rowOffsets: InlineArray<3, Int>
    public var columnOffsets: InlineArray<3, Int>
    public var tailOffsets: InlineArray<3, Int>
    /// From a row of points to the next, in both.
    public var imagePitch: Int
    public var pointPitch: Int
    public var rows: Int
    /// Whole vectors of a row, and a partial one or none.
    public var vectors: Int
    public var tails: Int
    /// `[3][3][vector]`: the sums, lane by lane.
    public var sums: UnsafeMutableRawPointer

    @inlinable @inline(__always)
    public init(
        image: UnsafeRawPointer, points: UnsafeRawPointer, rowOffsets: InlineArray<3, Int>, columnOffsets: InlineArray<3, Int>,
        tailOffsets: InlineArray<3, Int>, imagePitch: Int, pointPitch: Int, rows: Int, vectors: Int, tails: Int,
        sums: UnsafeMutableRawPointer
    ) {
        self.image = image
        self.points = points
        self.rowOffsets = rowOffsets
        self.columnOffsets = columnOffsets
        self.tailOffsets = tailOffsets
        self.imagePitch = imagePitch
        self.pointPitch = pointPitch
        self.rows = rows
        self.vectors = vectors
        self.tails = tails
        self.sums = sums
    }
}

/// sums[a][b][lane] = sum over rows y, vectors x of image[y][rowOffsets[a] + columnOffsets[b] + x + lane] * points[y][x + lane]
@inlinable @inline(__always)
public func accumulatePlanes<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: PlaneProductArguments.self).pointee
    let size = MemoryLayout<I.Scalar>.stride
    var sums = InlineArray<3, InlineArray<3, I.Vector>>(repeating: InlineArray<3, I.Vector>(repeating: I.Vector(repeating: 0)))
    var row = 0
    while row < arguments.rows {
        let line = arguments.image + row &* arguments.imagePitch &* size
        var points = arguments.points + row &* arguments.pointPitch &* size
        var offsets = arguments.columnOffsets
        var remaining = arguments.vectors
        var part = 0
        while part < 2 {
            var places = InlineArray<3, UnsafeRawPointer>(repeating: line)
            for a in 0..<3 { places[unchecked: a] += arguments.rowOffsets[unchecked: a] &* size }
            while remaining > 0 {
                let point = points.loadUnaligned(as: I.Vector.self)
                for a in 0..<3 {
                    for b in 0..<3 {
                        let x = places[unchecked: a].loadUnaligned(fromByteOffset: offsets[unchecked: b] &* size,
                            as: I.Vector.self)
                        sums[unchecked: a][unchecked: b] = I.multiplyAdd(x, point, sums[unchecked: a][unchecked: b])
                    }
                    places[unchecked: a] += I.bytes
                }
                points += I.bytes
                remaining &-= 1
            }
            offsets = arguments.tailOffsets
            remaining = arguments.tails
            part &+= 1
        }
        row &+= 1
    }
    for a in 0..<3 {
        for b in 0..<3 {
            arguments.sums.storeBytes(
                of: sums[unchecked: a][unchecked: b], toByteOffset: (a &* 3 &+ b) &* I.bytes, as: I.Vector.self)
        }
    }
}
