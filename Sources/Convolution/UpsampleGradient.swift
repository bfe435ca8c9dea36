import CConvolution
import CConvolutionShims
import ConvolutionKernels

// The adjoint of upsample2d: every input element gets what the output elements that it contributed to hand back, by the same
// weights. The plan's tables are turned round, so that each input row and column knows its output rows and columns.

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

/// The tables of an upsampling, turned round. Read-only after creation.
struct UpsampleGradientPlan {
    var resampling: Resampling
    /// As in the plan of the upsampling.
    var planes: Int
    var channels: Int
    fileprivate var rows: ContributionTable
    fileprivate var columns: ContributionTable
    /// Multiply-adds of one execution.
    var work: Double
    /// Of each thread.
    var scratchBytes: Int

    /// Input rows of all images and planes.
    var items: Int { resampling.hasOutput ? resampling.batch * planes * resampling.vertical.input : 0 }
}

private struct UpsampleGradientExecution {
    var plan: UnsafePointer<UpsampleGradientPlan>
    var gradient: UnsafeRawPointer
    var result: UnsafeMutableRawPointer
    var scratch: UnsafeMutableRawPointer
}

func checkUpsampleGradient(
    _ resampling: Resampling, outputGradient: UnsafeRawPointer?, inputGradient: UnsafeRawPointer?
) throws(Failure) {
    let gradient = try outputExtent(resampling, outputGradient, "output_gradient")
    try checkApart(
        inputExtent(resampling, inputGradient, "input_gradient"), of: "input_gradient", gradient, "output_gradient")
}

func createGradientPlan(_ resampling: Resampling) throws(Failure) -> UnsafeMutablePointer<UpsampleGradientPlan> {
    var (rows, columns) = (resampling.vertical, resampling.horizontal)
    try checkDisjoint(
        resampling.input, "input_strides", batch: resampling.batch, rows: rows.input, columns: columns.input,
        channels: resampling.channels)
    let upsampling = try createPlan(resampling)
    defer { destroy(upsampling) }
    let given = upsampling.pointee
    if !resampling.hasOutput {
        // Its tables are empty too.
        (rows.input, rows.output, columns.input, columns.output) = (0, 0, 0, 0)
    }
    let scratch = try times(columns.output, given.channels, "a row") * resampling.elementBytes + 64
    let header = aligned(MemoryLayout<UpsampleGradientPlan>.size)
    let rowTable = ContributionTable.bytes(rows, given.vertical)
    let memory = try allocate(
        plus(header + rowTable, ContributionTable.bytes(columns, given.horizontal), "the plan"), of: 1, "the plan")
    func table<Scalar: KernelScalar>(
        _ axis: ResamplingAxis, _ table: TapTable, at place: Int, _: Scalar.Type
    ) -> ContributionTable {
        ContributionTable(axis, table, in: memory + place, Scalar.self)
    }
    func table(_ axis: ResamplingAxis, _ given: TapTable, at place: Int) -> ContributionTable {
        resampling.isDouble ? table(axis, given, at: place, Double.self) : table(axis, given, at: place, Float.self)
    }
    let plan = memory.bindMemory(to: UpsampleGradientPlan.self, capacity: 1)
    plan.initialize(
        to: UpsampleGradientPlan(
            resampling: resampling, planes: given.planes, channels: given.channels, rows: table(rows, given.vertical, at: header),
            columns: table(columns, given.horizontal, at: header + rowTable),
            work: Double(resampling.batch * resampling.channels) * Double(columns.output)
                * Double(rows.output * given.vertical.taps + rows.input * given.horizontal.taps),
            scratchBytes: scratch))
    return plan
}

func destroy(_ plan: UnsafeMutablePointer<UpsampleGradientPlan>) {
    shim_free(plan)
}

func execute(
    _ plan: UnsafePointer<UpsampleGradientPlan>, outputGradient: UnsafeRawPointer?, inputGradient: UnsafeMutableRawPointer?
) throws(Failure) {
    guard let outputGradient, let inputGradient, plan.pointee.items > 0 else { return }
    let resampling = plan.pointee.resampling
    let threads = threadsToUse(requested: resampling.threads, items: plan.pointee.items, work: plan.pointee.work)
    let memory = try allocate(threads, of: plan.pointee.scratchBytes, "the workspace")
    var execution = UpsampleGradientExecution(
        plan: plan, gradient: outputGradient, result: inputGradient, scratch: memory)
    withUnsafeMutablePointer(to: &execution) { shared in
        runThreads(
            threads, items: plan.pointee.items,
            resampling.isDouble ? { gatherRows($0, Double.self) } : { gatherRows($0, Float.self) },
            shared: UnsafeMutableRawPointer(shared))
    }
    shim_free(memory)
}

/// Input rows, one after the other: the weighted sum of its output rows, and of that for each pixel the weighted sum of its
/// columns.
private func gatherRows<Scalar: KernelScalar>(_ raw: UnsafeMutableRawPointer?, _: Scalar.Type) {
    guard let raw else { return }
    let context = raw.assumingMemoryBound(to: ThreadContext.self).pointee
    let execution = context.shared.assumingMemoryBound(to: UpsampleGradientExecution.self)
    let shared = execution.pointee
    let plan = shared.plan.pointee
    let resampling = plan.resampling
    let (planes, channels) = (plan.planes, plan.channels)
    let columns = resampling.horizontal.output
    let sums = (shared.scratch + context.number * plan.scratchBytes).assumingMemoryBound(to: Scalar.self)
    let rowWeights = plan.rows.weights.assumingMemoryBound(to: Scalar.self)
    let columnWeights = plan.columns.weights.assumingMemoryBound(to: Scalar.self)
    while let item = context.nextItem() {
        let row = item % resampling.vertical.input
        let plane = item / resampling.vertical.input % planes
        let image = item / resampling.vertical.input / planes
        let source = shared.gradient.assumingMemoryBound(to: Scalar.self) + image * resampling.output.batch
            + plane * resampling.output.channel
        sums.update(repeating: 0, count: columns * channels)
        for entry in plan.rows.starts[row]..<plan.rows.starts[row + 1] {
            let line = source + plan.rows.outputs[entry] * resampling.output.row
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
        let target = shared.result.assumingMemoryBound(to: Scalar.self) + image * resampling.input.batch
            + plane * resampling.input.channel + row * resampling.input.row
        for column in 0..<resampling.horizontal.input {
            let pixel = target + column * resampling.input.column
            let entries = plan.columns.starts[column]..<plan.columns.starts[column + 1]
            for channel in 0..<channels {
                var sum: Scalar = 0
                for entry in entries { sum += columnWeights[entry] * sums[plan.columns.outputs[entry] * channels + channel] }
                pixel[channel] = resampling.accumulates ? pixel[channel] + sum : sum
            }
        }
    }
}
