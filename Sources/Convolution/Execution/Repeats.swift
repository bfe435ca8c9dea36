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
        tables: workspace + plan.pointee.workspace.sums, streams: false)
    // Rows may go on from image to image.
    var (image, row, left) = (portion.image, portion.rows.lowerBound, portion.rows.count)
    if plan.pointee.spansImages { (image, row) = row.quotientAndRemainder(dividingBy: vertical.count) }
    while left > 0 {
        arguments.rows = min(left, vertical.count - row)
        arguments.input = input.assumingMemoryBound(to: Float.self) + image * source.batch
            + (row * vertical.inputStep + vertical.offsetStart) * source.row + column
        arguments.output = output.assumingMemoryBound(to: Float.self) + image * target.batch
            + (row * vertical.outputStep + vertical.outputStart) * target.row + column * outputs
        arguments.streams = plan.pointee.streams && arguments.columns % plan.pointee.table.lanes == 0
            && plan.pointee.alignsVectors(UnsafeRawPointer(arguments.output))
        withUnsafePointer(to: arguments) { plan.pointee.table.pointee.repeated?($0) }
        left -= arguments.rows
        (image, row) = (image + 1, 0)
    }
    if plan.pointee.streams { shim_finish_streaming() }
}
