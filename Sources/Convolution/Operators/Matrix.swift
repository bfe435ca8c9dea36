import CConvolution
import CConvolutionShims
import ConvolutionKernels

// A layer or an upsampling of one image as a matrix. Along each axis an output index meets each of its input indices by one tap,
// or by several where the border repeats input elements; the entries of a matrix row are the product of the two axes' lists and,
// of a layer, the input channels. All arithmetic is in double precision.

/// An input index and the kernel tap that reads it.
private struct Meeting {
    var index: Int
    var tap: Int
}

/// The meetings of the output indices of one axis.
private protocol MeetingAxis {
    var outputs: Int { get }
    var inputs: Int { get }
    /// The most that an output index has.
    var taps: Int { get }
    /// The tap's input index for output index `t`, nil if it meets none.
    func meeting(_ t: Int, tap: Int) -> Int?
    /// The number of meetings where no output index meets an input index twice and that is known without a look at each.
    var meetingsIfDistinct: Int? { get }
}

private struct LayerAxis: MeetingAxis {
    var axis: Axis
    var transposed: Bool
    var mode: BorderMode

    var outputs: Int { axis.output }
    var inputs: Int { axis.input }
    var taps: Int { axis.kernel }

    func meeting(_ t: Int, tap: Int) -> Int? {
        if !transposed { return borderIndex(t * axis.stride - axis.start + tap * axis.dilation, axis.input, mode) }
        let place = t + axis.start - tap * axis.dilation
        guard place >= 0, place % axis.stride == 0, place / axis.stride < axis.input else { return nil }
        return place / axis.stride
    }

    var meetingsIfDistinct: Int? {
        guard mode == .constant else { return nil }
        // Pairs of q and a tap with 0 <= q * stride - start + tap * dilation < length: q is the output index and `length` that of
        // the input, or transposed the other way round. One loop, over what there is less of.
        let (count, length) = transposed ? (axis.input, axis.output) : (axis.output, axis.input)
        var total = 0
        if count <= taps {
            for q in 0..<count { total += Self.inside(taps, step: axis.dilation, from: q * axis.stride - axis.start, length) }
        } else {
            for tap in 0..<taps { total += Self.inside(count, step: axis.stride, from: tap * axis.dilation - axis.start, length) }
        }
        return total
    }

    /// How many of the places `from` + i * `step`, i below `count`, are from 0 to below `length`.
    private static func inside(_ count: Int, step: Int, from: Int, _ length: Int) -> Int {
        max(0, min(count, ceilDivide(length - from, step)) - max(0, ceilDivide(-from, step)))
    }
}

private struct UpsampleAxis: MeetingAxis {
    var axis: ResamplingAxis
    var table: TapTable
    var weights: Numbers

    var outputs: Int { axis.output }
    var inputs: Int { axis.input }
    var taps: Int { table.taps }

    init(_ axis: ResamplingAxis, _ table: TapTable, areDoubles: Bool) {
        (self.axis, self.table) = (axis, table)
        weights = Numbers(table.weights, areDoubles: areDoubles)
    }

    func weight(_ t: Int, tap: Int) -> Double { weights[t * table.taps + tap] }

    /// Taps without weight are none: they fill the table up.
    func meeting(_ t: Int, tap: Int) -> Int? { weight(t, tap: tap) == 0 ? nil : table.elements[t * table.taps + tap] }

    var meetingsIfDistinct: Int? { nil }
}

/// The meetings of output index `t`, ascending by index and tap, into `list` (room for one per tap); returns how many.
/// One copy of it: each of the matrices would have its own twice.
@inline(never)
private func meetings(_ axis: some MeetingAxis, _ t: Int, _ list: UnsafeMutablePointer<Meeting>) -> Int {
    var count = 0
    for tap in 0..<axis.taps {
        guard let index = axis.meeting(t, tap: tap) else { continue }
        var place = count
        while place > 0, list[place - 1].index > index {
            list[place] = list[place - 1]
            place -= 1
        }
        list[place] = Meeting(index: index, tap: tap)
        count += 1
    }
    return count
}

/// Splits the meetings into runs of equal index and visits each run.
@inline(__always)
private func forEachRun(_ list: UnsafeMutablePointer<Meeting>, _ count: Int, _ visit: (Range<Int>) -> Void) {
    var start = 0
    while start < count {
        var end = start + 1
        while end < count, list[end].index == list[start].index { end += 1 }
        visit(start..<end)
        start = end
    }
}

/// Sum over the output indices of an axis of how many input indices each meets.
private func distinctMeetings(_ axis: some MeetingAxis) throws(Failure) -> Int {
    // Each is looked at, which no caller would live to see the end of beyond this; nor would the matrix find room.
    if try times(axis.outputs, axis.taps, "the matrix") > 1 << 32 {
        throw Failure(
            CONVOLUTION_ERROR_OVERFLOW,
            "the matrix: \(axis.outputs) output rows or columns times \(axis.taps) taps is more than memory can hold")
    }
    if let known = axis.meetingsIfDistinct { return known }
    let list = try allocate(axis.taps, of: MemoryLayout<Meeting>.stride, "the matrix").assumingMemoryBound(to: Meeting.self)
    var total = 0
    for t in 0..<axis.outputs {
        forEachRun(list, meetings(axis, t, list)) { _ in total += 1 }
    }
    shim_free(list)
    return total
}

struct MatrixSize {
    var rows: Int
    var columns: Int
    var nonzeros: Int
}

func checkCapacity(_ capacity: Int64, _ needed: Int) throws(Failure) {
    if Int(capacity) < needed {
        throw Failure(CONVOLUTION_ERROR_CAPACITY, "capacity is \(Int(capacity)); it must be at least \(needed)")
    }
}

func present<T>(_ pointer: T?, _ name: StaticString) throws(Failure) -> T {
    guard let pointer else { throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "\(name) is NULL; it must point to the elements") }
    return pointer
}

/// Where a matrix is written, dense or as compressed sparse rows: one type for both, since the loops over the entries are long.
private struct MatrixTarget {
    var size: MatrixSize
    /// `[rows][columns]`, or of the entries.
    var values: Numbers
    /// Of compressed sparse rows.
    var rowOffsets: UnsafeMutablePointer<Int64>?
    var columnIndices: UnsafeMutablePointer<Int64>?
    var entries = 0
    /// Rows whose offset is written.
    var opened = 0

    /// Before the first entry, and after all scratch memory has been found.
    func begin() {
        if rowOffsets == nil { values.clear(size.rows * size.columns) }
    }

    mutating func add(row: Int, column: Int, value: Double) {
        guard let columnIndices else {
            values[row * size.columns + column] = value
            return
        }
        open(row + 1)
        columnIndices[entries] = Int64(column)
        values[entries] = value
        entries += 1
    }

    /// The next entry belongs to row `count` - 1 or a later one.
    mutating func open(_ count: Int) {
        while opened < count {
            rowOffsets?[opened] = Int64(entries)
            opened += 1
        }
    }
}

/// Something that is a matrix.
private protocol MatrixSource {
    var areDoubles: Bool { get }
    func size() throws(Failure) -> MatrixSize
    /// Writes the entries row by row, columns ascending.
    func write(to target: inout MatrixTarget) throws(Failure)
    /// What the entries are made of must be there, if there are any.
    func check() throws(Failure)
}

private struct LayerMatrix: MatrixSource {
    var layer: Layer
    var kernel: UnsafeRawPointer?

    var areDoubles: Bool { layer.isDouble }
    private var vertical: LayerAxis { LayerAxis(axis: layer.vertical, transposed: layer.transposed, mode: layer.paddingMode) }
    private var horizontal: LayerAxis { LayerAxis(axis: layer.horizontal, transposed: layer.transposed, mode: layer.paddingMode) }

    @inline(never)
    func size() throws(Failure) -> MatrixSize {
        try checkLinear(layer)
        let rows = try times(times(layer.vertical.output, layer.horizontal.output, "rows"), layer.outChannels, "rows")
        let columns = try times(times(layer.vertical.input, layer.horizontal.input, "columns"), layer.inChannels, "columns")
        let perChannel = try times(distinctMeetings(vertical), distinctMeetings(horizontal), "nonzeros")
        let nonzeros = try times(perChannel, times(layer.outChannels, layer.inChannelsPerGroup, "nonzeros"), "nonzeros")
        return MatrixSize(rows: rows, columns: columns, nonzeros: nonzeros)
    }

    func check() throws(Failure) { _ = try present(kernel, "kernel") }

    @inline(never)
    func write(to target: inout MatrixTarget) throws(Failure) {
        let memory = try allocate(layer.vertical.kernel + layer.horizontal.kernel, of: MemoryLayout<Meeting>.stride, "the matrix")
        defer { shim_free(memory) }
        let kernel = Numbers(reading: try present(self.kernel, "kernel"), areDoubles: areDoubles)
        target.begin()
        let verticals = memory.assumingMemoryBound(to: Meeting.self)
        let horizontals = verticals + layer.vertical.kernel
        let inputs = layer.inChannelsPerGroup
        let outputs = layer.outChannelsPerGroup
        let image = layer.vertical.input * layer.horizontal.input
        let (rows, columns) = (layer.vertical.output, layer.horizontal.output)
        forEachRow(rows, columns, layer.outChannels, channelsFirst: layer.channelsFirst) { row, y, x, channel in
            let group = channel / outputs
            let verticalCount = meetings(vertical, y, verticals)
            let horizontalCount = meetings(horizontal, x, horizontals)

            // Columns ascend: channel by channel where the channels come first, else all channels of a pixel.
            let together = layer.channelsFirst ? 1 : inputs
            for first in stride(from: 0, to: inputs, by: together) {
                forEachRun(verticals, verticalCount) { rowRun in
                    forEachRun(horizontals, horizontalCount) { columnRun in
                        let inputRow = verticals[rowRun.lowerBound].index
                        let pixel = inputRow * layer.horizontal.input + horizontals[columnRun.lowerBound].index
                        for input in first..<(first + together) {
                            var value = 0.0
                            for a in rowRun {
                                for b in columnRun {
                                    value += kernel[
                                        layer.kernelIndex(
                                            row: verticals[a].tap, column: horizontals[b].tap, input: input,
                                            output: channel - group * outputs,
                                            group: group)]
                                }
                            }
                            let inputChannel = group * inputs + input
                            let column = layer.channelsFirst
                                ? inputChannel * image + pixel : pixel * layer.inChannels + inputChannel
                            target.add(row: row, column: column, value: value)
                        }
                    }
                }
            }
        }
    }
}

private struct UpsampleMatrix: MatrixSource {
    var resampling: Resampling
    var vertical: UpsampleAxis
    var horizontal: UpsampleAxis

    init(_ resampling: Resampling, _ tables: AxisTables) {
        self.resampling = resampling
        vertical = UpsampleAxis(resampling.vertical, tables.vertical, areDoubles: resampling.isDouble)
        horizontal = UpsampleAxis(resampling.horizontal, tables.horizontal, areDoubles: resampling.isDouble)
    }

    var areDoubles: Bool { resampling.isDouble }

    @inline(never)
    func size() throws(Failure) -> MatrixSize {
        let channels = resampling.channels
        let rows = try times(times(vertical.outputs, horizontal.outputs, "rows"), channels, "rows")
        let columns = try times(times(vertical.inputs, horizontal.inputs, "columns"), channels, "columns")
        let perChannel = try times(distinctMeetings(vertical), distinctMeetings(horizontal), "nonzeros")
        let nonzeros = try times(perChannel, channels, "nonzeros")
        return MatrixSize(rows: rows, columns: columns, nonzeros: nonzeros)
    }

    func check() {}

    @inline(never)
    func write(to target: inout MatrixTarget) throws(Failure) {
        let memory = try allocate(vertical.taps + horizontal.taps, of: MemoryLayout<Meeting>.stride, "the matrix")
        defer { shim_free(memory) }
        target.begin()
        let verticals = memory.assumingMemoryBound(to: Meeting.self)
        let horizontals = verticals + vertical.taps
        let channels = resampling.channels
        let image = vertical.inputs * horizontal.inputs
        let (rows, columns) = (vertical.outputs, horizontal.outputs)
        forEachRow(rows, columns, channels, channelsFirst: resampling.channelsFirst) { row, y, x, channel in
            forEachRun(verticals, meetings(vertical, y, verticals)) { rowRun in
                forEachRun(horizontals, meetings(horizontal, x, horizontals)) { columnRun in
                    let pixel = verticals[rowRun.lowerBound].index * horizontal.inputs + horizontals[columnRun.lowerBound].index
                    var (rowWeight, columnWeight) = (0.0, 0.0)
                    for a in rowRun { rowWeight += vertical.weight(y, tap: verticals[a].tap) }
                    for b in columnRun { columnWeight += horizontal.weight(x, tap: horizontals[b].tap) }
                    let column = resampling.channelsFirst ? channel * image + pixel : pixel * channels + channel
                    target.add(row: row, column: column, value: rowWeight * columnWeight)
                }
            }
        }
    }
}

/// Visits the output elements of one image in the order of the data format.
@inline(__always)
private func forEachRow(
    _ rows: Int, _ columns: Int, _ channels: Int, channelsFirst: Bool,
    _ body: (_ row: Int, _ y: Int, _ x: Int, _ channel: Int) -> Void
) {
    var row = 0
    for outer in 0..<(channelsFirst ? channels : rows) {
        for middle in 0..<(channelsFirst ? rows : columns) {
            for inner in 0..<(channelsFirst ? columns : channels) {
                // One call of what is inlined.
                let (y, x, channel) = channelsFirst ? (middle, inner, outer) : (outer, middle, inner)
                body(row, y, x, channel)
                row += 1
            }
        }
    }
}

func checkLinear(_ layer: Layer) throws(Failure) {
    if layer.paddingValue != 0 {
        throw Failure(
            CONVOLUTION_ERROR_UNSUPPORTED,
            "padding_value is \(layer.paddingValue); with a constant other than 0 the layer is not linear and has no matrix")
    }
}

@inline(never)
func checkLinear(_ resampling: Resampling) throws(Failure) {
    if resampling.extrapolation != 0 {
        throw Failure(
            CONVOLUTION_ERROR_UNSUPPORTED,
            """
            extrapolation_value is \(resampling.extrapolation); with another than 0 the upsampling is not linear and has no matrix
            """)
    }
}

func matrixSize(_ layer: Layer) throws(Failure) -> MatrixSize { try LayerMatrix(layer: layer).size() }

func writeDense(
    _ layer: Layer, _ kernel: UnsafeRawPointer?, _ matrix: UnsafeMutableRawPointer?, _ capacity: Int64
) throws(Failure) {
    try writeDense(LayerMatrix(layer: layer, kernel: kernel), matrix, capacity)
}

func writeSparse(
    _ layer: Layer, _ kernel: UnsafeRawPointer?, _ rowOffsets: UnsafeMutablePointer<Int64>?,
    _ columnIndices: UnsafeMutablePointer<Int64>?,
    _ values: UnsafeMutableRawPointer?, _ capacity: Int64
) throws(Failure) {
    try writeSparse(LayerMatrix(layer: layer, kernel: kernel), rowOffsets, columnIndices, values, capacity)
}

/// The tables of one image's upsampling, for `body`.
private func withTables(
    _ resampling: Resampling, _ body: (Resampling, AxisTables) throws(Failure) -> Void
) throws(Failure) {
    try checkLinear(resampling)
    var single = resampling
    single.batch = 1
    let tables = try AxisTables(single)
    defer { shim_free(tables.memory) }
    try body(single, tables)
}

func matrixSize(_ resampling: Resampling) throws(Failure) -> MatrixSize {
    if resampling.channels == 0 { return MatrixSize(rows: 0, columns: 0, nonzeros: 0) }
    var size = MatrixSize(rows: 0, columns: 0, nonzeros: 0)
    try withTables(resampling) { (single, tables) throws(Failure) in
        size = try UpsampleMatrix(single, tables).size()
    }
    return size
}

func writeDense(_ resampling: Resampling, _ matrix: UnsafeMutableRawPointer?, _ capacity: Int64) throws(Failure) {
    if resampling.channels == 0 { return try checkCapacity(capacity, 0) }
    try withTables(resampling) { (single, tables) throws(Failure) in
        try writeDense(UpsampleMatrix(single, tables), matrix, capacity)
    }
}

func writeSparse(
    _ resampling: Resampling, _ rowOffsets: UnsafeMutablePointer<Int64>?, _ columnIndices: UnsafeMutablePointer<Int64>?,
    _ values: UnsafeMutableRawPointer?, _ capacity: Int64
) throws(Failure) {
    if resampling.channels == 0 {
        try checkCapacity(capacity, 0)
        try present(rowOffsets, "row_offsets").pointee = 0
        return
    }
    try withTables(resampling) { (single, tables) throws(Failure) in
        try writeSparse(UpsampleMatrix(single, tables), rowOffsets, columnIndices, values, capacity)
    }
}

private func writeDense(
    _ source: some MatrixSource, _ matrix: UnsafeMutableRawPointer?, _ capacity: Int64
) throws(Failure) {
    let size = try source.size()
    let elements = try times(size.rows, size.columns, "rows times columns")
    try checkCapacity(capacity, elements)
    if elements == 0 { return }
    var target = MatrixTarget(size: size, values: Numbers(try present(matrix, "matrix"), areDoubles: source.areDoubles))
    if size.nonzeros == 0 {
        target.begin()
        return
    }
    try source.check()
    try source.write(to: &target)
}

private func writeSparse(
    _ source: some MatrixSource, _ rowOffsets: UnsafeMutablePointer<Int64>?, _ columnIndices: UnsafeMutablePointer<Int64>?,
    _ values: UnsafeMutableRawPointer?, _ capacity: Int64
) throws(Failure) {
    let size = try source.size()
    try checkCapacity(capacity, size.nonzeros)
    let rowOffsets = try present(rowOffsets, "row_offsets")
    if size.nonzeros == 0 {
        rowOffsets.update(repeating: 0, count: size.rows + 1)
        return
    }
    try source.check()
    let columnIndices = try present(columnIndices, "column_indices")
    let values = Numbers(try present(values, "values"), areDoubles: source.areDoubles)
    var target = MatrixTarget(size: size, values: values, rowOffsets: rowOffsets, columnIndices: columnIndices)
    try source.write(to: &target)
    target.open(size.rows + 1)
}
