import CConvolution
import CConvolutionShims
import ConvolutionKernels

// conv2d of one image as a matrix. Along each axis an output index meets each of its input indices by one tap, or by several where
// the border repeats input elements; the entries of a matrix row are the product of the two axes' lists and the input channels.

/// An input index and the kernel tap that reads it.
private struct Meeting {
    var index: Int
    var tap: Int
}

/// The meetings of output index `t`, ascending by index and tap, into `list` (room for one per tap); returns how many.
private func meetings(_ axis: Axis, _ t: Int, _ mode: BorderMode, _ list: UnsafeMutablePointer<Meeting>) -> Int {
    let lattice = Lattice.convolution(axis)
    var count = 0
    for tap in 0..<axis.kernel {
        guard let index = borderIndex(t * lattice.inputStep + lattice.offsetStart + tap * lattice.offsetStep, axis.input, mode) else { continue }
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
private func distinctMeetings(_ axis: Axis, _ mode: BorderMode) throws(Failure) -> Int {
    // Each is looked at, which no caller would live to see the end of beyond this; nor would the matrix find room.
    if try times(axis.output, axis.kernel, "the matrix") > 1 << 32 {
        throw Failure(
            CONVOLUTION_ERROR_OVERFLOW, "the matrix: \(axis.output) output rows or columns times \(axis.kernel) taps is more than memory can hold")
    }
    let list = try allocate(axis.kernel, of: MemoryLayout<Meeting>.stride, "the matrix").assumingMemoryBound(to: Meeting.self)
    var total = 0
    for t in 0..<axis.output {
        forEachRun(list, meetings(axis, t, mode, list)) { _ in total += 1 }
    }
    shim_free(list)
    return total
}

struct MatrixSize {
    var rows: Int
    var columns: Int
    var nonzeros: Int
}

func matrixSize(_ layer: Layer) throws(Failure) -> MatrixSize {
    if layer.paddingValue != 0 {
        throw Failure(
            CONVOLUTION_ERROR_UNSUPPORTED, "padding_value is \(layer.paddingValue); with a constant other than 0 the layer is not linear and has no matrix")
    }
    let rows = try times(times(layer.vertical.output, layer.horizontal.output, "rows"), layer.outChannels, "rows")
    let columns = try times(times(layer.vertical.input, layer.horizontal.input, "columns"), layer.inChannels, "columns")
    let perChannel = try times(
        distinctMeetings(layer.vertical, layer.paddingMode), distinctMeetings(layer.horizontal, layer.paddingMode), "nonzeros")
    let nonzeros = try times(perChannel, times(layer.outChannels, layer.inChannelsPerGroup, "nonzeros"), "nonzeros")
    return MatrixSize(rows: rows, columns: columns, nonzeros: nonzeros)
}

/// Visits the entries row by row, columns ascending.
private func forEachEntry<Scalar: KernelScalar>(
    _ layer: Layer, _ kernel: UnsafePointer<Scalar>, _ visit: (_ row: Int, _ column: Int, _ value: Scalar) -> Void
) throws(Failure) {
    let memory = try allocate(layer.vertical.kernel + layer.horizontal.kernel, of: MemoryLayout<Meeting>.stride, "the matrix")
    let verticals = memory.assumingMemoryBound(to: Meeting.self)
    let horizontals = verticals + layer.vertical.kernel
    let inputs = layer.inChannelsPerGroup
    let outputs = layer.outChannelsPerGroup
    let image = layer.vertical.input * layer.horizontal.input

    func visitRow(_ y: Int, _ x: Int, _ channel: Int) {
        let group = channel / max(outputs, 1)
        let row = layer.channelsFirst
            ? (channel * layer.vertical.output + y) * layer.horizontal.output + x
            : (y * layer.horizontal.output + x) * layer.outChannels + channel
        let verticalCount = meetings(layer.vertical, y, layer.paddingMode, verticals)
        let horizontalCount = meetings(layer.horizontal, x, layer.paddingMode, horizontals)

        func entries(_ channels: Range<Int>) {
            forEachRun(verticals, verticalCount) { rowRun in
                forEachRun(horizontals, horizontalCount) { columnRun in
                    let pixel = verticals[rowRun.lowerBound].index * layer.horizontal.input + horizontals[columnRun.lowerBound].index
                    for input in channels {
                        var value: Scalar = 0
                        for a in rowRun {
                            for b in columnRun {
                                value += kernel[
                                    layer.kernelIndex(
                                        row: verticals[a].tap, column: horizontals[b].tap, input: input, output: channel - group * outputs,
                                        group: group)]
                            }
                        }
                        let inputChannel = group * inputs + input
                        visit(row, layer.channelsFirst ? inputChannel * image + pixel : pixel * layer.inChannels + inputChannel, value)
                    }
                }
            }
        }
        if layer.channelsFirst {
            for input in 0..<inputs { entries(input..<(input + 1)) }
        } else {
            entries(0..<inputs)
        }
    }

    if layer.channelsFirst {
        for channel in 0..<layer.outChannels {
            for y in 0..<layer.vertical.output {
                for x in 0..<layer.horizontal.output { visitRow(y, x, channel) }
            }
        }
    } else {
        for y in 0..<layer.vertical.output {
            for x in 0..<layer.horizontal.output {
                for channel in 0..<layer.outChannels { visitRow(y, x, channel) }
            }
        }
    }
    shim_free(memory)
}

private func checkCapacity(_ capacity: Int64, _ needed: Int) throws(Failure) {
    if Int(capacity) < needed {
        throw Failure(CONVOLUTION_ERROR_CAPACITY, "capacity is \(Int(capacity)); it must be at least \(needed)")
    }
}

private func present<T>(_ pointer: T?, _ name: StaticString) throws(Failure) -> T {
    guard let pointer else { throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "\(name) is NULL") }
    return pointer
}

func writeDense(_ layer: Layer, _ kernel: UnsafeRawPointer?, _ matrix: UnsafeMutableRawPointer?, _ capacity: Int64) throws(Failure) {
    layer.isDouble
        ? try writeDense(layer, kernel, matrix, capacity, Double.self)
        : try writeDense(layer, kernel, matrix, capacity, Float.self)
}

func writeSparse(
    _ layer: Layer, _ kernel: UnsafeRawPointer?, _ rowOffsets: UnsafeMutablePointer<Int64>?, _ columnIndices: UnsafeMutablePointer<Int64>?,
    _ values: UnsafeMutableRawPointer?, _ capacity: Int64
) throws(Failure) {
    layer.isDouble
        ? try writeSparse(layer, kernel, rowOffsets, columnIndices, values, capacity, Double.self)
        : try writeSparse(layer, kernel, rowOffsets, columnIndices, values, capacity, Float.self)
}

private func writeDense<Scalar: KernelScalar>(
    _ layer: Layer, _ kernel: UnsafeRawPointer?, _ matrix: UnsafeMutableRawPointer?, _ capacity: Int64, _: Scalar.Type
) throws(Failure) {
    let size = try matrixSize(layer)
    let elements = try times(size.rows, size.columns, "rows times columns")
    try checkCapacity(capacity, elements)
    if elements == 0 { return }
    let matrix = try present(matrix, "matrix").assumingMemoryBound(to: Scalar.self)
    if size.nonzeros == 0 {
        matrix.update(repeating: 0, count: elements)
        return
    }
    let kernel = try present(kernel, "kernel").assumingMemoryBound(to: Scalar.self)
    // The scratch memory is asked for before the matrix is written.
    var cleared = false
    func clear() {
        if !cleared { matrix.update(repeating: 0, count: elements) }
        cleared = true
    }
    try forEachEntry(layer, kernel) { row, column, value in
        clear()
        matrix[row * size.columns + column] = value
    }
    clear()
}

private func writeSparse<Scalar: KernelScalar>(
    _ layer: Layer, _ kernel: UnsafeRawPointer?, _ rowOffsets: UnsafeMutablePointer<Int64>?, _ columnIndices: UnsafeMutablePointer<Int64>?,
    _ values: UnsafeMutableRawPointer?, _ capacity: Int64, _: Scalar.Type
) throws(Failure) {
    let size = try matrixSize(layer)
    try checkCapacity(capacity, size.nonzeros)
    let rowOffsets = try present(rowOffsets, "row_offsets")
    if size.nonzeros == 0 {
        rowOffsets.update(repeating: 0, count: size.rows + 1)
        return
    }
    let kernel = try present(kernel, "kernel").assumingMemoryBound(to: Scalar.self)
    let columnIndices = try present(columnIndices, "column_indices")
    let values = try present(values, "values").assumingMemoryBound(to: Scalar.self)
    var count = 0
    var opened = 0 // rows whose offset is written
    try forEachEntry(layer, kernel) { row, column, value in
        while opened <= row {
            rowOffsets[opened] = Int64(count)
            opened += 1
        }
        columnIndices[count] = Int64(column)
        values[count] = value
        count += 1
    }
    while opened <= size.rows {
        rowOffsets[opened] = Int64(count)
        opened += 1
    }
}
