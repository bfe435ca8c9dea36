import ConvolutionKernels

// Depthwise convolutions of pixels read in place (`accumulateSweep`): all rows of a band in a call for each panel and image.

/// An item of a plan that sweeps.
func sweep(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ portion: Portion, _ input: UnsafeRawPointer,
    _ output: UnsafeMutableRawPointer, _ workspace: UnsafeMutableRawPointer
) {
    let (vertical, horizontal) = (block.pointee.vertical, block.pointee.horizontal)
    let (source, target) = (plan.pointee.layer.input, plan.pointee.layer.output)
    let (table, lanes) = (plan.pointee.table, plan.pointee.table.lanes)
    let inner = insideRange(horizontal, 0..<plan.pointee.layer.horizontal.input)
    guard let bounds = plan.pointee.layer.activation.converted(to: Float.self).bounds else { return }
    let bias = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Float.self))
    func axis(_ lattice: Lattice, _ input: Int, _ outputs: Range<Int>) -> SweepAxis {
        SweepAxis(
            first: outputs.lowerBound, end: outputs.upperBound, step: lattice.inputStep, start: lattice.offsetStart,
            taps: lattice.taps, input: input)
    }
    var arguments = SweepArguments(
        input: input.assumingMemoryBound(to: Float.self), inputRow: source.row, inputColumn: source.column,
        output: output.assumingMemoryBound(to: Float.self), outputRow: target.row, outputColumn: target.column,
        rows: axis(vertical, plan.pointee.layer.vertical.input, portion.rows),
        columns: axis(horizontal, plan.pointee.layer.horizontal.input, portion.columns),
        firstInner: max(inner.lowerBound, portion.columns.lowerBound),
        endInner: min(inner.upperBound, portion.columns.upperBound),
        rowsPerChunk: max(1, block.pointee.segmentsPerChunk / horizontal.taps), panel: bias, panelPitch: 0, bias: bias,
        low: bounds.low, high: bounds.high, lastMask: .max,
        tile: (workspace + plan.pointee.workspace.sums).assumingMemoryBound(to: Float.self))
    for index in portion.panels {
        let panel = plan.pointee.panels + index
        arguments.panelPitch = panel.pointee.width
        var vector = 0
        while vector < panel.pointee.width {
            // Four vectors, or two, or one, whose few sums would wait for each other.
            let vectors = (panel.pointee.width - vector) / lanes
            let isWide = arguments.endInner - arguments.firstInner >= 8 && table.pointee.sweeps[3] != nil
            let kind = vectors > 3 ? 2 : vectors > 1 ? 1 : isWide ? 3 : 0
            let width = kind < 3 ? lanes << kind : lanes
            arguments.panel = plan.pointee.weights(of: index, block).assumingMemoryBound(to: Float.self) + vector
            arguments.bias = bias + panel.pointee.offset + vector
            let missing = max(0, vector + width - panel.pointee.channels)
            arguments.lastMask = missing > 0 ? (1 << UInt32(lanes - missing)) - 1 : .max
            let channel = panel.pointee.firstChannel + vector
            portion.forEachImage(plan, block) { image, rows in
                (arguments.rows.first, arguments.rows.end) = (rows.lowerBound, rows.upperBound)
                arguments.input = input.assumingMemoryBound(to: Float.self) + image * source.batch + channel
                arguments.output = output.assumingMemoryBound(to: Float.self) + image * target.batch + channel
                withUnsafePointer(to: arguments) { table.pointee.sweeps[kind]?($0) }
            }
            vector += width
        }
    }
}
