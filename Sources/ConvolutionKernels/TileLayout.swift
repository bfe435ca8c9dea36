// Where the positions of a tile find the input of each tap. Small layers spend as much time on this as on their sums.

/// The offset of what lies outside the input: added to any other it stays far below all of them.
public let outsideOffset = Int.min / 2

/// One axis of a tile: tap t of the position with index i reads input element `i * inputStep + offsetStart + t * offsetStep`.
public struct AxisArguments {
    /// `[largestTileSide]`, and for each position what is added to its offsets.
    public var indices: UnsafePointer<Int>
    public var shifts: UnsafePointer<Int>
    public var inputStep: Int
    public var offsetStart: Int
    public var offsetStep: Int
    public var taps: Int
    /// Input elements 0 to length - 1 exist, `stride` apart.
    public var length: Int
    public var stride: Int
    /// `[taps][largestTileSide]`, written.
    public var offsets: UnsafeMutablePointer<Int>

    @inlinable @inline(__always)
    public init(
        indices: UnsafePointer<Int>, shifts: UnsafePointer<Int>, inputStep: Int, offsetStart: Int, offsetStep: Int, taps: Int,
        length: Int, stride: Int, offsets: UnsafeMutablePointer<Int>
    ) {
        self.indices = indices
        self.shifts = shifts
        self.inputStep = inputStep
        self.offsetStart = offsetStart
        self.offsetStep = offsetStep
        self.taps = taps
        self.length = length
        self.stride = stride
        self.offsets = offsets
    }
}

@inlinable @inline(__always)
public func layOutAxis(_ raw: UnsafeRawPointer) {
    let axis = raw.assumingMemoryBound(to: AxisArguments.self).pointee
    var index = UnsafeRawPointer(axis.indices).loadUnaligned(as: SIMD8<Int>.self) &* axis.inputStep &+ axis.offsetStart
    let shift = UnsafeRawPointer(axis.shifts).loadUnaligned(as: SIMD8<Int>.self)
    let length = SIMD8(repeating: UInt(bitPattern: axis.length))
    let outside = SIMD8(repeating: outsideOffset)
    let place = UnsafeMutableRawPointer(axis.offsets)
    // One product of vectors: few processors have an instruction for it.
    var offset = index &* axis.stride &+ shift
    let step = axis.offsetStep &* axis.stride
    for tap in 0..<axis.taps {
        // A negative index is a large one without its sign.
        let isOutside = unsafeBitCast(index, to: SIMD8<UInt>.self) .>= length
        place.storeBytes(
            of: offset.replacing(with: outside, where: isOutside), toByteOffset: tap &* MemoryLayout<SIMD8<Int>>.stride,
            as: SIMD8<Int>.self)
        index &+= axis.offsetStep
        offset &+= step
    }
}

/// The runs of a tile's segments (taps, or merged rows of them), those left out that are outside for all of its positions, and
/// the order of the others by chunks: see `TileArguments.order`.
public struct RunsArguments {
    /// `[rows of taps][largestTileSide]`, `[segments of a row][largestTileSide]`.
    public var rowOffsets: UnsafePointer<Int>
    public var columnOffsets: UnsafePointer<Int>
    public var rows: Int
    public var columns: Int
    /// Positions of the tile.
    public var reach: Int
    public var segmentsPerChunk: Int
    public var skipsOutside: Bool
    /// 4 or 8.
    public var elementBytes: Int
    public var base: UnsafeRawPointer
    public var outside: UnsafeRawPointer
    /// `[runs][reach]`, with room for `largestTileSide` in the last; written.
    public var runs: UnsafeMutableRawPointer
    public var order: UnsafeMutablePointer<Int32>
    /// Those in `order`; written.
    public var chunks = 0
    public var segments = 0

    @inlinable @inline(__always)
    public init(
        rowOffsets: UnsafePointer<Int>, columnOffsets: UnsafePointer<Int>, rows: Int, columns: Int, reach: Int,
        segmentsPerChunk: Int, skipsOutside: Bool, elementBytes: Int, base: UnsafeRawPointer, outside: UnsafeRawPointer,
        runs: UnsafeMutableRawPointer, order: UnsafeMutablePointer<Int32>
    ) {
        self.rowOffsets = rowOffsets
        self.columnOffsets = columnOffsets
        self.rows = rows
        self.columns = columns
        self.reach = reach
        self.segmentsPerChunk = segmentsPerChunk
        self.skipsOutside = skipsOutside
        self.elementBytes = elementBytes
        self.base = base
        self.outside = outside
        self.runs = runs
        self.order = order
    }
}

@inlinable @inline(__always)
public func layOutRuns(_ raw: UnsafeMutableRawPointer) {
    let result = raw.assumingMemoryBound(to: RunsArguments.self)
    let arguments = result.pointee
    let stride = MemoryLayout<SIMD8<Int>>.stride
    let base = SIMD8(repeating: Int(bitPattern: arguments.base))
    let outside = SIMD8(repeating: Int(bitPattern: arguments.outside))
    let limit = SIMD8(repeating: outsideOffset / 2)
    let shift = SIMD8(repeating: arguments.elementBytes == 8 ? 3 : 2)
    var run = arguments.runs
    var order = arguments.order
    var chunks = 0
    var segments = 0
    var count = 0
    var inChunk = 0
    var segment = 0
    let lastSegment = arguments.rows &* arguments.columns &- 1
    var row = UnsafeRawPointer(arguments.rowOffsets)
    for _ in 0..<arguments.rows {
        let rowOffset = row.loadUnaligned(as: SIMD8<Int>.self)
        row += stride
        var column = UnsafeRawPointer(arguments.columnOffsets)
        for _ in 0..<arguments.columns {
            let offset = rowOffset &+ column.loadUnaligned(as: SIMD8<Int>.self)
            column += stride
            let isOutside = offset .< limit
            run.storeBytes(of: (base &+ offset &<< shift).replacing(with: outside, where: isOutside),
                as: SIMD8<Int>.self)
            // Of most taps the first position tells; to ask all takes longest here.
            if !arguments.skipsOutside || !isOutside[0] || !all(isOutside) {
                count &+= 1
                order[count] = Int32(truncatingIfNeeded: segment)
                run += arguments.reach &* MemoryLayout<Int>.stride
            }
            inChunk &+= 1
            // A chunk of nothing but zeros is left out as well; but some chunk must be there to be finished.
            if inChunk == arguments.segmentsPerChunk || segment == lastSegment {
                if count > 0 || segment == lastSegment && chunks == 0 {
                    order[0] = Int32(truncatingIfNeeded: count)
                    order += 1 &+ count
                    chunks &+= 1
                    segments &+= count
                }
                (count, inChunk) = (0, 0)
            }
            segment &+= 1
        }
    }
    result.pointee.chunks = chunks
    result.pointee.segments = segments
}
