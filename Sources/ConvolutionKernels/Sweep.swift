// Depthwise convolutions of pixels read in place, whole rows in a call: see "Sweep" in PATHS.md.

/// Output rows of an image, for some vectors of channels that each have an input channel of their own. Padding is 0, and taps
/// outside the input are left out.
public struct SweepArguments<Scalar> {
    /// The channels of the input's first row and column, and of the output's; from row to row and from column to column.
    public var input: UnsafePointer<Scalar>
    public var inputRow: Int
    public var inputColumn: Int
    public var output: UnsafeMutablePointer<Scalar>
    public var outputRow: Int
    public var outputColumn: Int
    public var rows: SweepAxis
    public var columns: SweepAxis
    /// Of the columns those all of whose taps are inside.
    public var firstInner: Int
    public var endInner: Int
    /// Kernel rows of a chunk: see "Order of the sum" in this module's README.
    public var rowsPerChunk: Int
    /// Packed weights `[tap][N vectors]`, taps `panelPitch` elements apart; the bias of these vectors, and the lanes of the last
    /// that exist.
    public var panel: UnsafePointer<Scalar>
    public var panelPitch: Int
    public var bias: UnsafePointer<Scalar>
    public var low: Scalar
    public var high: Scalar
    public var lastMask: UInt32
    /// `[R][N vectors]`: the sums between chunks.
    public var tile: UnsafeMutablePointer<Scalar>

    @inlinable @inline(__always)
    public init(
        input: UnsafePointer<Scalar>, inputRow: Int, inputColumn: Int, output: UnsafeMutablePointer<Scalar>, outputRow: Int,
        outputColumn: Int, rows: SweepAxis, columns: SweepAxis, firstInner: Int, endInner: Int, rowsPerChunk: Int,
        panel: UnsafePointer<Scalar>, panelPitch: Int, bias: UnsafePointer<Scalar>, low: Scalar, high: Scalar, lastMask: UInt32,
        tile: UnsafeMutablePointer<Scalar>
    ) {
        self.input = input
        self.inputRow = inputRow
        self.inputColumn = inputColumn
        self.output = output
        self.outputRow = outputRow
        self.outputColumn = outputColumn
        self.rows = rows
        self.columns = columns
        self.firstInner = firstInner
        self.endInner = endInner
        self.rowsPerChunk = rowsPerChunk
        self.panel = panel
        self.panelPitch = panelPitch
        self.bias = bias
        self.low = low
        self.high = high
        self.lastMask = lastMask
        self.tile = tile
    }
}

/// Outputs `first` to `end` - 1 along an axis: output i multiplies kernel element t with input element i * step + start + t, if
/// that is one of `input`.
public struct SweepAxis {
    public var first: Int
    public var end: Int
    public var step: Int
    public var start: Int
    public var taps: Int
    public var input: Int

    @inlinable @inline(__always)
    public init(first: Int, end: Int, step: Int, start: Int, taps: Int, input: Int) {
        self.first = first
        self.end = end
        self.step = step
        self.start = start
        self.taps = taps
        self.input = input
    }

    /// The taps inside the input of the output whose first would be at `place`.
    @inlinable @inline(__always)
    func inside(_ place: Int) -> (first: Int, end: Int) {
        (min(taps, max(0, 0 &- place)), min(taps, input &- place))
    }
}

/// A tile: R neighbouring columns with the same taps inside, of kernel rows `row` to `end` - 1 so many, from `line` on, whose
/// weights begin at `weights`.
/// target[r][vector] = sum over kernel rows a, columns b of line[a][r * step + b][vector] * weights[a][b]
@inlinable @inline(__always)
func sweepTile<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _: Count<R>.Type, _: Count<N>.Type, _ given: UnsafePointer<SweepArguments<I.Scalar>>, row: Int, end: Int,
    columns: Int, _ line: UnsafeRawPointer, _ weights: UnsafeRawPointer, to target: UnsafeMutableRawPointer
) {
    let size = MemoryLayout<I.Scalar>.stride
    let pixel = given.pointee.inputColumn &* size
    let step = given.pointee.columns.step &* pixel
    let pitch = given.pointee.panelPitch &* size
    let chunk = given.pointee.rowsPerChunk
    var (row, line, weights) = (row, line, weights)
    // Counted down to the chunk's end.
    var remaining = chunk &- row
    while remaining <= 0 { remaining &+= chunk }
    var continues = false
    while true {
        var sums = InlineArray<R, InlineArray<N, I.Vector>>(
            repeating: InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0)))
        while remaining > 0, row < end {
            remaining &-= 1
            row &+= 1
            var x = line
            var place = weights
            var left = columns
            repeat {
                left &-= 1
                var w = InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0))
                for n in 0..<N { w[unchecked: n] = place.loadUnaligned(fromByteOffset: n &* I.bytes, as: I.Vector.self) }
                for r in 0..<R {
                    let start = x + r &* step
                    for n in 0..<(N &- 1) {
                        sums[unchecked: r][unchecked: n] = I.multiplyAdd(
                            start.loadUnaligned(fromByteOffset: n &* I.bytes, as: I.Vector.self), w[unchecked: n],
                            sums[unchecked: r][unchecked: n])
                    }
                    sums[unchecked: r][unchecked: N &- 1] = I.multiplyAdd(
                        start + (N &- 1) &* I.bytes, w[unchecked: N &- 1], sums[unchecked: r][unchecked: N &- 1],
                        mask: given.pointee.lastMask)
                }
                x += pixel
                place += pitch
            } while left > 0
            line += given.pointee.inputRow &* size
            weights += given.pointee.columns.taps &* pitch
        }
        if continues { addTile(I.self, &sums, given.pointee.tile) }
        if row < end {
            fold(I.self, sums, into: given.pointee.tile, continues: false)
            continues = true
            remaining = chunk
            continue
        }
        let low = I.Vector(repeating: given.pointee.low)
        let high = I.Vector(repeating: given.pointee.high)
        for n in 0..<N {
            let bias = UnsafeRawPointer(given.pointee.bias).loadUnaligned(fromByteOffset: n &* I.bytes, as: I.Vector.self)
            for r in 0..<R { sums[unchecked: r][unchecked: n] = I.sum(sums[unchecked: r][unchecked: n], bias) }
        }
        var place = target
        for r in 0..<R {
            for n in 0..<(N &- 1) {
                place.storeBytes(
                    of: I.bounded(sums[unchecked: r][unchecked: n], low: low, high: high), toByteOffset: n &* I.bytes,
                    as: I.Vector.self)
            }
            I.store(
                I.bounded(sums[unchecked: r][unchecked: N &- 1], low: low, high: high), to: place + (N &- 1) &* I.bytes,
                mask: given.pointee.lastMask)
            place += given.pointee.outputColumn &* size
        }
        return
    }
}

/// All rows: columns that meet no border R at a time, the last of which rather begin early than be fewer, the others one by one.
@inlinable @inline(__always)
public func accumulateSweep<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, columns: Count<R>.Type, vectors: Count<N>.Type, _ raw: UnsafeRawPointer
) {
    let given = raw.assumingMemoryBound(to: SweepArguments<I.Scalar>.self)
    let size = MemoryLayout<I.Scalar>.stride
    let pixel = given.pointee.inputColumn &* size
    let pitch = given.pointee.panelPitch &* size
    var row = given.pointee.rows.first
    while row < given.pointee.rows.end {
        let top = row &* given.pointee.rows.step &+ given.pointee.rows.start
        let rows = given.pointee.rows.inside(top)
        let line = UnsafeRawPointer(given.pointee.input)
            + (top &+ rows.first) &* given.pointee.inputRow &* size
        let weights = UnsafeRawPointer(given.pointee.panel) + rows.first &* given.pointee.columns.taps &* pitch
        let target = UnsafeMutableRawPointer(given.pointee.output) + row &* given.pointee.outputRow &* size
        var column = given.pointee.columns.first
        while column < given.pointee.columns.end {
            let (first, end) = (given.pointee.firstInner, given.pointee.endInner)
            let isWhole = column >= first && column < end && end &- first >= R
            // The last of eight may be but four.
            let isHalf = R == 8 && isWhole && end &- column <= 4
            if isWhole { column = min(column, end &- (isHalf ? 4 : R)) }
            let left = column &* given.pointee.columns.step &+ given.pointee.columns.start
            let place = target + column &* given.pointee.outputColumn &* size
            if isHalf {
                sweepTile(
                    I.self, Count<4>.self, Count<N>.self, given, row: rows.first, end: rows.end,
                    columns: given.pointee.columns.taps, line + left &* pixel, weights, to: place)
                column &+= 4
            } else if isWhole {
                sweepTile(
                    I.self, Count<R>.self, Count<N>.self, given, row: rows.first, end: rows.end,
                    columns: given.pointee.columns.taps, line + left &* pixel, weights, to: place)
                column &+= R
            } else {
                let taps = given.pointee.columns.inside(left)
                let end = taps.first < taps.end ? rows.end : rows.first
                sweepTile(
                    I.self, Count<1>.self, Count<N>.self, given, row: rows.first, end: end, columns: taps.end &- taps.first,
                    line + (left &+ taps.first) &* pixel, weights + taps.first &* pitch, to: place)
                column &+= 1
            }
        }
        row &+= 1
    }
}
