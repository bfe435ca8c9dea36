import CConvolutionShims
import ConvolutionKernels

// upsample2d: per axis a table of two input indices and a weight for every output index, then one row kernel per output row.

/// Table of one axis: `[output]` each.
private struct AxisTable<Scalar> {
    var first: UnsafeMutablePointer<Int>
    var second: UnsafeMutablePointer<Int>
    var secondWeight: UnsafeMutablePointer<Scalar>
}

struct ResamplingPlan {
    var resampling: Resampling
    var table: KernelTable
    /// Byte offsets into the plan's own memory.
    var rowsAt: Int
    var columnsAt: Int
    var rowBands: Int
    /// Images times planes times row bands. Where channels are not neighbours in memory each channel is a plane of its own.
    var items: Int
    var planes: Int
}

private struct ResamplingExecution {
    var plan: UnsafePointer<ResamplingPlan>
    var input: UnsafeRawPointer
    var output: UnsafeMutableRawPointer
    var nextItem: Int64
}

private let rowsPerBand = 16

private func tableBytes(_ length: Int) -> Int { length * (2 * MemoryLayout<Int>.stride + MemoryLayout<Double>.stride) }

private func axisTable<Scalar>(_ base: UnsafeMutableRawPointer, _ length: Int, _: Scalar.Type) -> AxisTable<Scalar> {
    let first = base.assumingMemoryBound(to: Int.self)
    let second = first + length
    return AxisTable(first: first, second: second, secondWeight: UnsafeMutableRawPointer(second + length).assumingMemoryBound(to: Scalar.self))
}

func createPlan(_ resampling: Resampling) throws(Failure) -> UnsafeMutablePointer<ResamplingPlan> {
    let header = (MemoryLayout<ResamplingPlan>.size + 63) & ~63
    let rows = resampling.hasOutput ? resampling.vertical.output : 0
    let columns = resampling.hasOutput ? resampling.horizontal.output : 0
    let memory = try allocate(header + tableBytes(rows) + tableBytes(columns), of: 1, "the plan")
    let channelsTogether = resampling.input.channel == 1 && resampling.output.channel == 1
    let planes = channelsTogether ? 1 : resampling.channels
    let rowBands = ceilDivide(rows, rowsPerBand)
    let plan = memory.bindMemory(to: ResamplingPlan.self, capacity: 1)
    plan.initialize(
        to: ResamplingPlan(
            resampling: resampling, table: resampling.isDouble ? resampling.tier.float64 : resampling.tier.float32, rowsAt: header,
            columnsAt: header + tableBytes(rows), rowBands: rowBands, items: resampling.batch * planes * rowBands, planes: planes))
    func fill<Scalar: KernelScalar>(_: Scalar.Type) {
        if rows == 0 { return }
        fillTable(axisTable(memory + header, rows, Scalar.self), resampling.vertical, bilinear: resampling.bilinear)
        fillTable(axisTable(memory + plan.pointee.columnsAt, columns, Scalar.self), resampling.horizontal, bilinear: resampling.bilinear)
    }
    resampling.isDouble ? fill(Double.self) : fill(Float.self)
    return plan
}

private func fillTable<Scalar: KernelScalar>(_ table: AxisTable<Scalar>, _ axis: ResamplingAxis, bilinear: Bool) {
    for t in 0..<axis.output {
        if bilinear {
            let place = min(max(coordinate(t, axis, Scalar.self), 0), Scalar(axis.input - 1))
            let first = min(Int(place), axis.input - 1)
            table.first[t] = first
            table.second[t] = min(first + 1, axis.input - 1)
            table.secondWeight[t] = place - Scalar(first)
        } else {
            let index = nearestIndex(t, axis)
            table.first[t] = index
            table.second[t] = index
            table.secondWeight[t] = 0
        }
    }
}

/// Input elements per output element.
private func ratio<Scalar: KernelScalar>(_ axis: ResamplingAxis, _: Scalar.Type) -> Scalar {
    axis.scale > 0 ? Scalar(1 / axis.scale) : Scalar(axis.input) / Scalar(axis.output)
}

/// Where output element `t` lies in the input. The order of the operations is PyTorch's and TensorFlow's, and so are the roundings.
private func coordinate<Scalar: KernelScalar>(_ t: Int, _ axis: ResamplingAxis, _: Scalar.Type) -> Scalar {
    switch axis.coordinates {
    // A scale that leaves the size as it is copies, as in PyTorch, whatever its value.
    case .halfPixel: return axis.output == axis.input ? Scalar(t) : ratio(axis, Scalar.self) * (Scalar(t) + 0.5) - 0.5
    case .asymmetric: return ratio(axis, Scalar.self) * Scalar(t)
    case .alignCorners: return axis.output == 1 ? 0 : Scalar(axis.input - 1) / Scalar(axis.output - 1) * Scalar(t)
    }
}

/// In float32 for every element type, as PyTorch has it; with its two exact cases.
private func nearestIndex(_ t: Int, _ axis: ResamplingAxis) -> Int {
    if axis.repetition > 0 { return t / axis.repetition }
    let place: Float
    switch axis.coordinates {
    case .asymmetric:
        if axis.output == axis.input { return t }
        if axis.output == 2 * axis.input { return t / 2 }
        place = ratio(axis, Float.self) * Float(t)
    case .halfPixel:
        place = ratio(axis, Float.self) * (Float(t) + 0.5)
    case .alignCorners:
        place = coordinate(t, axis, Float.self) + 0.5
    }
    return place < Float(axis.input) ? min(Int(place), axis.input - 1) : axis.input - 1
}

func checkArguments(_ resampling: Resampling, input: UnsafeRawPointer?, output: UnsafeRawPointer?) throws(Failure) {
    let bytes = resampling.isDouble ? 8 : 4
    let inputExtent = try extent(
        input, "input", resampling.input, batch: resampling.batch, rows: resampling.vertical.input, columns: resampling.horizontal.input,
        channels: resampling.channels, elementBytes: bytes)
    let outputExtent = try extent(
        output, "output", resampling.output, batch: resampling.batch, rows: resampling.vertical.output,
        columns: resampling.horizontal.output, channels: resampling.channels, elementBytes: bytes)
    try checkApart(outputExtent, inputExtent, "input")
}

func execute(_ plan: UnsafePointer<ResamplingPlan>, input: UnsafeRawPointer?, output: UnsafeMutableRawPointer?) throws(Failure) {
    guard let input, let output, plan.pointee.items > 0 else { return }
    let resampling = plan.pointee.resampling
    // An output element costs about as much as four multiply-adds.
    let work = 4 * Double(resampling.batch * resampling.channels) * Double(resampling.vertical.output * resampling.horizontal.output)
    let threads = threadsToUse(requested: resampling.threads, items: plan.pointee.items, work: work)
    var execution = ResamplingExecution(plan: plan, input: input, output: output, nextItem: 0)
    withUnsafeMutablePointer(to: &execution) { shared in
        runThreads(
            threads, resampling.isDouble ? { resampleRows($0, Double.self) } : { resampleRows($0, Float.self) },
            shared: UnsafeMutableRawPointer(shared))
    }
}

private func resampleRows<Scalar: KernelScalar>(_ raw: UnsafeMutableRawPointer?, _: Scalar.Type) {
    guard let raw else { return }
    let execution = raw.assumingMemoryBound(to: ThreadContext.self).pointee.shared.assumingMemoryBound(to: ResamplingExecution.self)
    let plan = execution.pointee.plan
    let resampling = plan.pointee.resampling
    let memory = UnsafeMutableRawPointer(mutating: UnsafeRawPointer(plan))
    let rows = axisTable(memory + plan.pointee.rowsAt, resampling.vertical.output, Scalar.self)
    let columns = axisTable(memory + plan.pointee.columnsAt, resampling.horizontal.output, Scalar.self)
    let input = execution.pointee.input.assumingMemoryBound(to: Scalar.self)
    let output = execution.pointee.output.assumingMemoryBound(to: Scalar.self)
    while true {
        let item = Int(shim_atomic_next(&execution.pointee.nextItem))
        if item >= plan.pointee.items { return }
        let firstRow = item % plan.pointee.rowBands * rowsPerBand
        let plane = item / plan.pointee.rowBands % plan.pointee.planes
        let image = item / plan.pointee.rowBands / plan.pointee.planes
        let source = input + image * resampling.input.batch + plane * resampling.input.channel
        let target = output + image * resampling.output.batch + plane * resampling.output.channel
        for row in firstRow..<min(firstRow + rowsPerBand, resampling.vertical.output) {
            let arguments = ResampleRowArguments(
                upper: source + rows.first[row] * resampling.input.row, lower: source + rows.second[row] * resampling.input.row,
                upperWeight: 1 - rows.secondWeight[row], lowerWeight: rows.secondWeight[row], output: target + row * resampling.output.row,
                columns: resampling.horizontal.output, channels: plan.pointee.planes == 1 ? resampling.channels : 1,
                inputColumnStride: resampling.input.column, inputChannelStride: resampling.input.channel,
                outputColumnStride: resampling.output.column, outputChannelStride: resampling.output.channel,
                left: UnsafePointer(columns.first), right: UnsafePointer(columns.second),
                rightWeights: UnsafePointer(columns.secondWeight))
            let kernel = resampling.bilinear ? plan.pointee.table.bilinearRow : plan.pointee.table.nearestRow
            withUnsafePointer(to: arguments) { kernel($0) }
        }
    }
}

func destroy(_ plan: UnsafeMutablePointer<ResamplingPlan>) {
    shim_free(plan)
}
