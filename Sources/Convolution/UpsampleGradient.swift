import CConvolution
import CConvolutionShims
import ConvolutionKernels

// The adjoint of upsample2d: every input element gets what the output elements that it contributed to hand back, by the same weights. The
// plan's tables are turned round, so that each input row and column knows its output rows and columns.

/// The output rows or columns that each input row or column contributes to, ascending: entries `starts[i]..<starts[i + 1]`.
private struct ContributionTable {
    var starts: UnsafeMutablePointer<Int>
    var outputs: UnsafeMutablePointer<Int>
    var weights: UnsafeMutableRawPointer

    static func bytes(_ axis: ResamplingAxis, _ table: TapTable) -> Int {
        let entries = axis.output * table.taps
        return (axis.input + 2 + entries) * MemoryLayout<Int>.stride + entries * MemoryLayout<Double>.stride
    }

    init<Scalar: KernelScalar>(_ axis: ResamplingAxis, _ table: TapTable, in memory: UnsafeMutableRawPointer, _: Scalar.Type) {
        let entries = axis.output * table.taps
        let starts = memory.assumingMemoryBound(to: Int.self)
        let outputs = starts + axis.input + 2
        let weights = UnsafeMutableRawPointer(outputs + entries).assumingMemoryBound(to: Scalar.self)
        let given = table.weights.assumingMemoryBound(to: Scalar.self)
        // Taps without weight are none: they fill the table up.
        starts.update(repeating: 0, count: axis.input + 2)
        for entry in 0..<entries where given[entry] != 0 { starts[table.elements[entry] + 2] += 1 }
        for i in 0...axis.input { starts[i + 1] += starts[i] }
        for entry in 0..<entries where given[entry] != 0 {
            let place = starts[table.elements[entry] + 1]
            starts[table.elements[entry] + 1] += 1
            outputs[place] = entry / table.taps
            weights[place] = given[entry]
        }
        (self.starts, self.outputs, self.weights) = (starts, outputs, UnsafeMutableRawPointer(weights))
    }
}

private struct UpsampleGradientExecution {
    var plan: UnsafePointer<ResamplingPlan>
    var rows: ContributionTable
    var columns: ContributionTable
    var gradient: UnsafeRawPointer
    var result: UnsafeMutableRawPointer
    var scratch: UnsafeMutableRawPointer
    var scratchBytes: Int
    var items: Int
    var nextItem: Int64
}

func checkUpsampleGradient(
    _ resampling: Resampling, outputGradient: UnsafeRawPointer?, inputGradient: UnsafeRawPointer?
) throws(Failure) {
    let bytes = resampling.isDouble ? 8 : 4
    let (rows, columns) = (resampling.vertical, resampling.horizontal)
    let gradient = try extent(
        outputGradient, "output_gradient", resampling.output, batch: resampling.batch, rows: rows.output, columns: columns.output,
        channels: resampling.channels, elementBytes: bytes)
    let result = try extent(
        inputGradient, "input_gradient", resampling.input, batch: resampling.batch, rows: rows.input, columns: columns.input,
        channels: resampling.channels, elementBytes: bytes)
    try checkDisjoint(
        resampling.input, "input_strides", batch: resampling.batch, rows: rows.input, columns: columns.input,
        channels: resampling.channels)
    try checkApart(result, of: "input_gradient", gradient, "output_gradient")
}

func backwardUpsample(
    _ resampling: Resampling, outputGradient: UnsafeRawPointer?, inputGradient: UnsafeMutableRawPointer?
) throws(Failure) {
    guard let outputGradient, let inputGradient, resampling.hasOutput else { return }
    let plan = try createPlan(resampling)
    defer { destroy(plan) }
    let (rows, columns) = (resampling.vertical, resampling.horizontal)
    let items = resampling.batch * plan.pointee.planes * rows.input
    let work = Double(resampling.batch * resampling.channels) * Double(columns.output)
        * Double(rows.output * plan.pointee.vertical.taps + rows.input * plan.pointee.horizontal.taps)
    let threads = threadsToUse(requested: resampling.threads, items: items, work: work)
    let rowTable = ContributionTable.bytes(rows, plan.pointee.vertical)
    let tableBytes = aligned(rowTable + ContributionTable.bytes(columns, plan.pointee.horizontal))
    let scratch = try times(columns.output, plan.pointee.channels, "a row") * (resampling.isDouble ? 8 : 4) + 64
    let memory = try allocate(plus(times(threads, scratch, "the workspace"), tableBytes, "the workspace"), of: 1, "the workspace")
    func tables<Scalar: KernelScalar>(_: Scalar.Type) -> (ContributionTable, ContributionTable) {
        (
            ContributionTable(rows, plan.pointee.vertical, in: memory, Scalar.self),
            ContributionTable(columns, plan.pointee.horizontal, in: memory + rowTable, Scalar.self)
        )
    }
    let (forRows, forColumns) = resampling.isDouble ? tables(Double.self) : tables(Float.self)
    var execution = UpsampleGradientExecution(
        plan: plan, rows: forRows, columns: forColumns, gradient: outputGradient, result: inputGradient, scratch: memory + tableBytes,
        scratchBytes: scratch, items: items, nextItem: 0)
    withUnsafeMutablePointer(to: &execution) { shared in
        runThreads(
            threads, resampling.isDouble ? { gatherRows($0, Double.self) } : { gatherRows($0, Float.self) },
            shared: UnsafeMutableRawPointer(shared))
    }
    shim_free(memory)
}

/// Input rows, one after the other: the weighted sum of its output rows, and of that for each pixel the weighted sum of its columns.
private func gatherRows<Scalar: KernelScalar>(_ raw: UnsafeMutableRawPointer?, _: Scalar.Type) {
    guard let raw else { return }
    let context = raw.assumingMemoryBound(to: ThreadContext.self).pointee
    let execution = context.shared.assumingMemoryBound(to: UpsampleGradientExecution.self)
    let shared = execution.pointee
    let resampling = shared.plan.pointee.resampling
    let (planes, channels) = (shared.plan.pointee.planes, shared.plan.pointee.channels)
    let columns = resampling.horizontal.output
    let sums = (shared.scratch + context.number * shared.scratchBytes).assumingMemoryBound(to: Scalar.self)
    let rowWeights = shared.rows.weights.assumingMemoryBound(to: Scalar.self)
    let columnWeights = shared.columns.weights.assumingMemoryBound(to: Scalar.self)
    while true {
        let item = Int(shim_atomic_next(&execution.pointee.nextItem))
        if item >= shared.items { return }
        let row = item % resampling.vertical.input
        let plane = item / resampling.vertical.input % planes
        let image = item / resampling.vertical.input / planes
        let source = shared.gradient.assumingMemoryBound(to: Scalar.self) + image * resampling.output.batch + plane * resampling.output.channel
        sums.update(repeating: 0, count: columns * channels)
        for entry in shared.rows.starts[row]..<shared.rows.starts[row + 1] {
            let line = source + shared.rows.outputs[entry] * resampling.output.row
            let weight = rowWeights[entry]
            if resampling.output.column == channels {
                for i in 0..<columns * channels { sums[i] += weight * line[i] }
            } else {
                for column in 0..<columns {
                    let pixel = line + column * resampling.output.column
                    for channel in 0..<channels { sums[column * channels + channel] += weight * pixel[channel] }
                }
            }
        }
        let target = shared.result.assumingMemoryBound(to: Scalar.self) + image * resampling.input.batch + plane * resampling.input.channel
            + row * resampling.input.row
        for column in 0..<resampling.horizontal.input {
            let pixel = target + column * resampling.input.column
            let entries = shared.columns.starts[column]..<shared.columns.starts[column + 1]
            for channel in 0..<channels {
                var sum: Scalar = 0
                for entry in entries { sum += columnWeights[entry] * sums[shared.columns.outputs[entry] * channels + channel] }
                pixel[channel] = sum
            }
        }
    }
}
