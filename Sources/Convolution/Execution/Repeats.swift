import CConvolutionShims
import ConvolutionKernels

// Pixels of one channel read in place, each output one product (`multiplyRepeated`): all rows of a band in a call for each image.

/// An item of a plan that repeats its input.
func repeatInput(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ portion: Portion, _ input: UnsafeRawPointer,
    _ output: UnsafeMutableRawPointer, _ workspace: UnsafeMutableRawPointer
) {
    let (source, target) = (plan.pointee.layer.input, plan.pointee.layer.output)
    let (vertical, column) = (block.pointee.vertical, portion.columns.lowerBound)
    guard let bounds = plan.pointee.layer.activation.converted(to: Float.self).bounds else { return }
    let outputs = plan.pointee.layer.outChannels
    var arguments = RepeatArguments(
        input: input.assumingMemoryBound(to: Float.self), inputPitch: vertical.inputStep &* source.row,
        output: output.assumingMemoryBound(to: Float.self), outputPitch: vertical.outputStep &* target.row, rows: 0,
        columns: portion.columns.count, outputs: outputs,
        weights: plan.pointee.weights(of: 0, block).assumingMemoryBound(to: Float.self),
        bias: UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Float.self)), low: bounds.low, high: bounds.high,
        tables: workspace + plan.pointee.workspace.sums,
        streams: plan.pointee.streams && portion.columns.count % plan.pointee.table.lanes == 0
            && plan.pointee.alignsVectors(UnsafeRawPointer(output)))
    portion.forEachImage(plan, block) { image, rows in
        arguments.rows = rows.count
        arguments.input = input.assumingMemoryBound(to: Float.self) + image * source.batch
            + (rows.lowerBound * vertical.inputStep + vertical.offsetStart) * source.row + column
        arguments.output = output.assumingMemoryBound(to: Float.self) + image * target.batch
            + (rows.lowerBound * vertical.outputStep + vertical.outputStart) * target.row + column * outputs
        withUnsafePointer(to: arguments) { plan.pointee.table.pointee.repeated?($0) }
    }
    if plan.pointee.streams { shim_finish_streaming() }
}
