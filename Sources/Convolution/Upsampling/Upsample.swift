import CConvolutionShims
import ConvolutionKernels

// upsample2d. A plan holds two tables: which input rows make an output row, and which input columns make an output column, with
// weights. Work is divided into bands of output rows by chunks of output columns. A thread blends the input rows of a few output
// rows, as far as a chunk needs them, and resamples these blends along themselves into the output. Copies, and pixels of many
// channels made of two times two, go from the input to their place at once (`direct`), and so do rows of few channels that
// become twice as long, bilinear or copied (`doubling`).

/// A picture's rows are resampled by themselves, as most fields say, or as `lines`, `doubling` or `turned` say.
struct ResamplingPlan {
    var resampling: Resampling
    var arrays: Arrays
    var table: UnsafePointer<KernelTable>
    /// Where channels are not neighbours in memory, each is a plane of its own: a picture of one channel.
    var planes: Int
    var channels: Int
    var vertical: TapTable
    var horizontal: TapTable
    /// `horizontal`, but where the pixels lie in a blended row.
    var blended: TapTable
    var runs: Runs
    var columns: ColumnTable
    /// Of `doubling`: of all pictures.
    var rowsPerBand = 0
    var rowBands = 0
    /// Output columns, a multiple of the vector length.
    var columnsPerChunk = 0
    var chunks = 0
    /// Of each chunk.
    var segments: UnsafeMutablePointer<Segment>
    /// Images times planes times row bands times chunks; or images times planes that are turned together;
    /// or bands of rows of all pictures (`doubling`).
    var items = 0
    var scratch = ScratchLayout()
    var streams: Bool
    /// The output can be made of the input without blended rows between them.
    var direct = false
    /// The input cannot be read in whole vectors.
    var packs: Bool
    /// Planes of short rows leave vectors empty and take many calls: some of them are turned into pixels, as many as this plan
    /// has channels, resampled by it, and turned back.
    var turned: UnsafeMutablePointer<ResamplingPlan>?
    /// All columns (bilinear: but the first and the last) two by two, out of two pixels or of one that is copied: how these are
    /// put side by side.
    var doubling: Doubling?
    /// Rows that follow each other are resampled as one.
    var lines: UnsafeMutablePointer<LinePlan>?
    /// Of the plan and its tables.
    var bytes: Int
}

private struct ResamplingExecution {
    var plan: UnsafePointer<ResamplingPlan>
    var input: UnsafeRawPointer
    var output: UnsafeMutableRawPointer
    var scratch: UnsafeMutableRawPointer
    var threads: Int
    var work: Double
}

/// Planes that are written side by side: all would meet in one set of the nearest cache.
private let planesSideBySide = 8

/// Rows that are copied by one call, unless they are as long as this. (So long, rows put together in a near cache are not aligned
/// there, which takes a fourth longer: 999 columns x3.)
let rowsCopied = 32
private let longRowBytes = 4 << 10

func execute(_ plan: UnsafePointer<ResamplingPlan>, input: UnsafeRawPointer?, output: UnsafeMutableRawPointer?) throws(Failure) {
    guard let input, let output, plan.pointee.items > 0 else { return }
    let resampling = plan.pointee.resampling
    // An output element costs about as much as four multiply-adds, and one more for each tap.
    let work = Double(4 + plan.pointee.vertical.taps + plan.pointee.horizontal.taps)
        * Double(resampling.batch * resampling.channels)
        * Double(resampling.vertical.output * resampling.horizontal.output)
    let threads = threadsToUse(requested: resampling.threads, items: plan.pointee.items, work: work)
    var execution = ResamplingExecution(plan: plan, input: input, output: output, scratch: output, threads: threads, work: work)
    try withWorkspace(threads, of: plan.pointee.scratch.bytes, &execution) { shared, workspace in
        guard let shared, let workspace else { return }
        let execution = shared.assumingMemoryBound(to: ResamplingExecution.self)
        execution.pointee.scratch = workspace
        let plan = execution.pointee.plan
        runThreads(
            execution.pointee.threads, items: plan.pointee.items, work: execution.pointee.work,
            plan.pointee.resampling.isDouble ? { resampleItems($0, Double.self) } : { resampleItems($0, Float.self) },
            shared: shared)
    }
}

private func resampleItems<Scalar: KernelScalar>(_ raw: UnsafeMutableRawPointer?, _: Scalar.Type) {
    guard let raw else { return }
    let context = raw.assumingMemoryBound(to: ThreadContext.self).pointee
    let execution = context.shared.assumingMemoryBound(to: ResamplingExecution.self)
    let plan = execution.pointee.plan
    let scratch = execution.pointee.scratch + context.number * plan.pointee.scratch.bytes
    while let item = context.nextItem() {
        if let lines = plan.pointee.lines {
            resampleLines(plan, lines, item, execution.pointee.input, execution.pointee.output, scratch)
            continue
        }
        if let doubling = plan.pointee.doubling {
            resampleDoubling(plan, doubling, item, execution.pointee.input, execution.pointee.output, scratch)
            continue
        }
        if let turned = plan.pointee.turned {
            resampleTurned(plan, turned, item, execution.pointee.input, execution.pointee.output, scratch, Scalar.self)
            continue
        }
        resampleItem(plan, item, execution.pointee.input, execution.pointee.output, scratch, Scalar.self)
    }
    if plan.pointee.streams { shim_finish_streaming() }
}

/// One chunk of the rows of one band.
private func resampleItem<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ResamplingPlan>, _ item: Int, _ inputStart: UnsafeRawPointer, _ outputStart: UnsafeMutableRawPointer,
    _ scratch: UnsafeMutableRawPointer, _: Scalar.Type
) {
    let resampling = plan.pointee.resampling
    let chunk = item % plan.pointee.chunks
    let band = item / plan.pointee.chunks % plan.pointee.rowBands
    let plane = item / plan.pointee.chunks / plan.pointee.rowBands % plan.pointee.planes
    let image = item / plan.pointee.chunks / plan.pointee.rowBands / plan.pointee.planes
    let firstRow = band * plan.pointee.rowsPerBand
    resample(
        plan, inputStart.assumingMemoryBound(to: Scalar.self) + image * resampling.input.batch, plane: plane, chunk: chunk,
        rows: firstRow..<min(firstRow + plan.pointee.rowsPerBand, resampling.vertical.output),
        to: outputStart.assumingMemoryBound(to: Scalar.self) + image * resampling.output.batch + firstRow * resampling.output.row,
        resampling.output, streaming: plan.pointee.streams, scratch)
}

/// Some planes of an image.
@inline(never)
private func resampleTurned<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ResamplingPlan>, _ turned: UnsafeMutablePointer<ResamplingPlan>, _ item: Int,
    _ inputStart: UnsafeRawPointer, _ outputStart: UnsafeMutableRawPointer, _ scratch: UnsafeMutableRawPointer, _: Scalar.Type
) {
    let resampling = plan.pointee.resampling
    let together = turned.pointee.channels
    let parts = ceilDivide(resampling.channels, together)
    let (image, first) = (item / parts, item % parts * together)
    let count = min(together, resampling.channels - first)
    let inputArea = resampling.vertical.input * resampling.horizontal.input
    let pixels = (scratch + turned.pointee.scratch.bytes).assumingMemoryBound(to: Scalar.self)
    let results = pixels + inputArea * together
    let elements = plan.pointee.resampling.elements
    elements.turn(
        inputStart.assumingMemoryBound(to: Scalar.self) + image * resampling.input.batch + first * resampling.input.channel,
        lines: count, count: inputArea, sourceLine: resampling.input.channel, to: pixels, targetLine: together)
    for chunk in 0..<turned.pointee.chunks {
        resample(
            turned, pixels, plane: 0, chunk: chunk, rows: 0..<resampling.vertical.output, to: results,
            turned.pointee.resampling.output, streaming: false, scratch)
    }
    let planes = outputStart.assumingMemoryBound(to: Scalar.self) + image * resampling.output.batch
        + first * resampling.output.channel
    for channel in stride(from: 0, to: count, by: planesSideBySide) {
        elements.turn(
            results + channel, lines: resampling.vertical.output * resampling.horizontal.output,
            count: min(planesSideBySide, count - channel), sourceLine: together,
            to: planes + channel * resampling.output.channel, targetLine: resampling.output.channel)
    }
}

/// Output rows of an image, of them one chunk of one plane. `output` are the strides of `target`, which the first of the rows
/// begins.
func resample<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ResamplingPlan>, _ image: UnsafePointer<Scalar>, plane: Int, chunk: Int, rows outputRows: Range<Int>,
    to target: UnsafeMutablePointer<Scalar>, _ output: Strides, streaming: Bool, _ scratch: UnsafeMutableRawPointer
) {
    let given = plan.pointee.resampling.input
    let accumulates = plan.pointee.resampling.accumulates
    let (copiesRows, extrapolates) = (plan.pointee.resampling.method.copies, plan.pointee.resampling.method.extrapolates)
    let channels = plan.pointee.channels
    let lanes = plan.pointee.table.lanes
    let kind = plan.pointee.columns.kind
    let firstColumn = chunk * plan.pointee.columnsPerChunk
    let columns = min(plan.pointee.columnsPerChunk, plan.pointee.resampling.horizontal.output - firstColumn)
    let input = image + plane * given.channel
    let corner = target + plane * output.channel + firstColumn * output.column

    let inWholeVectors = output.column == channels && columns * channels >= lanes && !accumulates
    // The kernels that write rows as the taps lie stream none but aligned vectors; `blendedRows` finds them itself.
    let vectorBytes = lanes * MemoryLayout<Scalar>.stride
    let unit = kind == .pixels ? channels : columns * channels
    let isAligned = unit % lanes == 0 && output.row % lanes == 0 && Int(bitPattern: corner) % vectorBytes == 0
    if plan.pointee.direct, inWholeVectors, isAligned || !streaming {
        resampleDirectly(
            plan, input, rows: outputRows, firstColumn: firstColumn, columns: columns, to: corner, pitch: output.row,
            streaming: streaming, scratch)
        return
    }
    let packed = (scratch + plan.pointee.scratch.outputAt).assumingMemoryBound(to: Scalar.self)
    // Past the caches by way of one that is near. Where short rows follow each other, so do these: lines that two share are then
    // stored at once.
    let follow = inWholeVectors && output.row == columns * channels && output.row * MemoryLayout<Scalar>.stride <= longRowBytes
    let packedPitch = follow ? output.row : plan.pointee.scratch.outputPitch / MemoryLayout<Scalar>.stride
    func copyOut(_ rows: UnsafePointer<UnsafePointer<Scalar>>, count: Int, to target: UnsafeMutablePointer<Scalar>) {
        let copy = BlendRowsArguments(
            count: follow ? 1 : count, rows: rows, weights: nil, taps: 1, output: target, pitch: output.row,
            elements: follow ? count * output.row : columns * channels, streaming: streaming)
        withUnsafePointer(to: copy) { plan.pointee.table.pointee.blendedRows($0) }
    }
    let rows = scratch.assumingMemoryBound(to: UnsafePointer<Scalar>.self)
    if plan.pointee.direct, inWholeVectors {
        let (batch, elements) = (follow ? plan.pointee.scratch.batch : 1, plan.pointee.vertical.elements)
        var row = outputRows.lowerBound
        while row < outputRows.upperBound {
            let count = min(batch, outputRows.upperBound - row)
            // Of rows by themselves, one that is there already is not made again.
            if batch > 1 || row == outputRows.lowerBound || !copiesRows || elements[row] != elements[row - 1] {
                resampleDirectly(
                    plan, input, rows: row..<row + count, firstColumn: firstColumn, columns: columns, to: packed,
                    pitch: packedPitch, streaming: false, scratch)
            }
            for i in 0..<count { rows[i] = UnsafePointer(packed + i * packedPitch) }
            copyOut(rows, count: count, to: corner + (row - outputRows.lowerBound) * output.row)
            row += count
        }
        return
    }

    let taps = plan.pointee.vertical.taps
    let runs = plan.pointee.runs
    let sources = plan.pointee.vertical.elements
    let weights = plan.pointee.vertical.weights.assumingMemoryBound(to: Scalar.self)
    let segment = plan.pointee.segments[chunk]
    let (blends, targets) = batchAddresses(plan, scratch, Scalar.self)
    let blended = (scratch + plan.pointee.scratch.blendedAt).assumingMemoryBound(to: Scalar.self)
    let blendedPitch = plan.pointee.scratch.blendedPitch / MemoryLayout<Scalar>.stride
    let inPlace = inWholeVectors && (kind != .pixels || channels >= lanes) && (isAligned || !streaming)
    // Some input rows are packed, each once: any that make an output row are neighbours, at most as many as there are taps.
    let copies = plan.pointee.packs
    let held = (scratch + plan.pointee.scratch.heldAt).assumingMemoryBound(to: Int.self)
    if copies { held.update(repeating: -1, count: taps) }
    let firstPixel = segment.first / channels
    @inline(never) func packedRow(_ source: Int) -> UnsafePointer<Scalar> {
        let slot = source % taps
        let place = plan.pointee.scratch.inputAt + slot * plan.pointee.scratch.inputPitch
        let copy = (scratch + place).assumingMemoryBound(to: Scalar.self)
        let result = UnsafePointer(copy + (segment.first - firstPixel * channels))
        if held[slot] == source { return result }
        held[slot] = source
        let from = input + source * given.row + firstPixel * given.column
        let pixelEnd = ceilDivide(segment.first + segment.count, channels)
        let count = min(pixelEnd, plan.pointee.resampling.horizontal.input) - firstPixel
        if channels == 1 {
            packLine(from: from, stride: given.column, count: count, to: copy)
        } else {
            plan.pointee.resampling.elements.packPixels(
                from: from, columnStride: given.column, channelStride: 1, columns: count, channels: channels,
                pixelPitch: channels, to: copy)
        }
        return result
    }

    var row = outputRows.lowerBound
    while row < outputRows.upperBound {
        let count = min(copies ? 1 : plan.pointee.scratch.batch, outputRows.upperBound - row)
        for k in 0..<count * taps {
            let source = sources[row * taps + k]
            rows[k] = copies ? packedRow(source) : input + source * given.row + segment.first
        }
        let target = corner + (row - outputRows.lowerBound) * output.row
        for i in 0..<count {
            // Where the row would begin.
            blends[i] = UnsafePointer(blended + i * blendedPitch - segment.first)
            targets[i] = inPlace ? target + i * output.row : packed + i * packedPitch
        }
        let blend = BlendRowsArguments(
            count: count, rows: rows,
            weights: copiesRows ? nil : UnsafePointer(weights + row * taps), taps: taps,
            output: blended, pitch: blendedPitch, elements: segment.count, streaming: false, runs: runs.places,
            runCount: runs.count)
        let kernel = runs.kernel ?? plan.pointee.table.pointee.blendedRows
        withUnsafePointer(to: blend) { kernel($0) }
        resampleColumns(
            plan, blends, targets, rows: count, firstColumn: firstColumn, columns: columns, streaming: inPlace && streaming,
            ahead: 0)
        if extrapolates {
            for i in 0..<count { extrapolate(plan, row + i, firstColumn..<firstColumn + columns, to: targets[i]) }
        }
        row += count
        if inPlace { continue }
        if inWholeVectors {
            for i in 0..<count { rows[i] = UnsafePointer(targets[i]) }
            copyOut(rows, count: count, to: target)
            continue
        }
        for i in 0..<count {
            if output.column == channels, !accumulates {
                copyLine(targets[i], count: columns * channels, to: target + i * output.row)
                continue
            }
            for column in 0..<columns {
                let place = target + i * output.row + column * output.column
                let pixel = targets[i] + column * channels
                if accumulates {
                    for channel in 0..<channels { place[channel] += pixel[channel] }
                } else {
                    for channel in 0..<channels { place[channel] = pixel[channel] }
                }
            }
        }
    }
}

/// Gives what lies outside the image its value, in a part of an output row whose pixels are neighbours.
private func extrapolate<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ResamplingPlan>, _ row: Int, _ columns: Range<Int>, to target: UnsafeMutablePointer<Scalar>
) {
    let inside = plan.pointee.vertical.inside.contains(row) ? plan.pointee.horizontal.inside : 0..<0
    let channels = plan.pointee.channels
    for column in columns where !inside.contains(column) {
        let pixel = target + (column - columns.lowerBound) * channels
        pixel.update(repeating: Scalar(plan.pointee.resampling.extrapolation), count: channels)
    }
}

/// Output rows straight from the input; `pitch` lies between them.
@inline(never)
private func resampleDirectly<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ResamplingPlan>, _ input: UnsafePointer<Scalar>, rows: Range<Int>, firstColumn: Int, columns: Int,
    to corner: UnsafeMutablePointer<Scalar>, pitch: Int, streaming: Bool, _ scratch: UnsafeMutableRawPointer
) {
    let (vertical, horizontal) = (plan.pointee.vertical, plan.pointee.horizontal)
    let rowStride = plan.pointee.resampling.input.row
    /// From the last input row of an output row to that of the one after the next, which is the first that may be new.
    func ahead(_ row: Int) -> Int {
        let next = min(row + 2, rows.upperBound - 1)
        return (vertical.elements[(next + 1) * vertical.taps - 1] - vertical.elements[(row + 1) * vertical.taps - 1]) * rowStride
    }
    if vertical.taps == 1 {
        // Prefetching goes row by row, and so does copying once more what a near cache still holds.
        let rowBytes = columns * plan.pointee.channels * MemoryLayout<Scalar>.stride
        let batch = plan.pointee.columns.kind == .pixels || rowBytes >= longRowBytes ? 1 : rowsCopied
        let (inputs, outputs) = batchAddresses(plan, scratch, Scalar.self)
        for row in stride(from: rows.lowerBound, to: rows.upperBound, by: batch) {
            let count = min(batch, rows.upperBound - row)
            if batch == 1, !streaming, row > rows.lowerBound, vertical.elements[row] == vertical.elements[row - 1] {
                UnsafeMutableRawPointer(corner + (row - rows.lowerBound) * pitch).copyMemory(
                    from: outputs[0], byteCount: rowBytes)
                continue
            }
            for i in 0..<count {
                inputs[i] = input + vertical.elements[row + i] * rowStride
                outputs[i] = corner + (row + i - rows.lowerBound) * pitch
            }
            resampleColumns(
                plan, inputs, outputs, rows: count, firstColumn: firstColumn, columns: columns, streaming: streaming,
                ahead: ahead(row))
        }
        return
    }
    for row in rows {
        let weights = vertical.weights.assumingMemoryBound(to: Scalar.self) + 2 * row
        let arguments = BlendPixelsArguments(
            upper: input + vertical.elements[2 * row] * rowStride, lower: input + vertical.elements[2 * row + 1] * rowStride,
            upperWeight: weights[0], lowerWeight: weights[1], output: corner + (row - rows.lowerBound) * pitch, columns: columns,
            channels: plan.pointee.channels,
            weights: UnsafePointer(horizontal.weights.assumingMemoryBound(to: Scalar.self) + 2 * firstColumn),
            pixels: horizontal.elements + 2 * firstColumn, streaming: streaming, ahead: ahead(row))
        withUnsafePointer(to: arguments) { plan.pointee.table.pointee.blendedPixels($0) }
    }
}

/// Rows of the outputs of all pictures, two by two where both are made of the same input rows.
@inline(never)
private func resampleDoubling(
    _ plan: UnsafePointer<ResamplingPlan>, _ doubling: Doubling, _ item: Int, _ inputStart: UnsafeRawPointer,
    _ outputStart: UnsafeMutableRawPointer, _ scratch: UnsafeMutableRawPointer
) {
    let resampling = plan.pointee.resampling
    let (vertical, horizontal, planes) = (plan.pointee.vertical, plan.pointee.horizontal, plan.pointee.planes)
    let (height, copies) = (resampling.vertical.output, resampling.method.copies)
    let inputs = scratch.assumingMemoryBound(to: UnsafePointer<Float>.self)
    let outputs = UnsafeMutableRawPointer(inputs + rowsCopied).assumingMemoryBound(to: UnsafeMutablePointer<Float>.self)
    let weights = UnsafeMutableRawPointer(outputs + rowsCopied).assumingMemoryBound(to: Float.self)
    let given = vertical.weights.assumingMemoryBound(to: Float.self)
    var left = min(plan.pointee.rowsPerBand, resampling.batch * planes * height - item * plan.pointee.rowsPerBand)
    var (picture, row) = (item * plan.pointee.rowsPerBand).quotientAndRemainder(dividingBy: height)
    var pairs = 0
    while left > 0 {
        let (image, plane) = picture.quotientAndRemainder(dividingBy: planes)
        let input = inputStart.assumingMemoryBound(to: Float.self)
            + (image * resampling.input.batch + plane * resampling.input.channel)
        let output = outputStart.assumingMemoryBound(to: Float.self)
            + (image * resampling.output.batch + plane * resampling.output.channel)
        let end = min(row + left, height)
        left -= end - row
        while row < end {
            let taps = vertical.elements + vertical.taps * row
            let (last, nextLast) = (vertical.taps - 1, 2 * vertical.taps - 1)
            let next = row + 1 < end && taps[vertical.taps] == taps[0] && taps[nextLast] == taps[last] ? row + 1 : row
            inputs[2 * pairs] = input + taps[0] * resampling.input.row
            inputs[2 * pairs + 1] = input + taps[last] * resampling.input.row
            outputs[2 * pairs] = output + row * resampling.output.row
            outputs[2 * pairs + 1] = output + next * resampling.output.row
            if !copies {
                for k in 0..<2 {
                    weights[4 * pairs + k] = given[2 * row + k]
                    weights[4 * pairs + 2 + k] = given[2 * next + k]
                }
            }
            pairs += 1
            row = next + 1
            if pairs < rowsCopied / 2, row < end || left > 0 { continue }
            let arguments = DoubleRowsArguments(
                inputs: inputs, outputs: outputs, rowWeights: copies ? nil : UnsafePointer(weights), pairs: pairs,
                width: resampling.horizontal.input, channels: plan.pointee.channels, first: doubling.first,
                pixels: horizontal.elements, weights: horizontal.weights.assumingMemoryBound(to: Float.self),
                places: doubling.places, step: doubling.step)
            withUnsafePointer(to: arguments) { plan.pointee.table.pointee.doubledRows?($0) }
            pairs = 0
        }
        (picture, row) = (picture + 1, 0)
    }
}

/// Room for the addresses of the rows that are resampled together: where they are, where they go.
private func batchAddresses<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ResamplingPlan>, _ scratch: UnsafeMutableRawPointer, _: Scalar.Type
) -> (UnsafeMutablePointer<UnsafePointer<Scalar>>, UnsafeMutablePointer<UnsafeMutablePointer<Scalar>>) {
    let layout = plan.pointee.scratch
    let inputs = scratch.assumingMemoryBound(to: UnsafePointer<Scalar>.self) + layout.batch * plan.pointee.vertical.taps
    return (inputs, UnsafeMutableRawPointer(inputs + rowsCopied).assumingMemoryBound(to: UnsafeMutablePointer<Scalar>.self))
}

/// Packed rows, resampled along themselves.
@inline(never)
private func resampleColumns<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ResamplingPlan>, _ inputs: UnsafePointer<UnsafePointer<Scalar>>,
    _ outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>, rows: Int, firstColumn: Int, columns: Int, streaming: Bool, ahead: Int
) {
    let channels = plan.pointee.channels
    let lanes = plan.pointee.table.lanes
    let taps = plan.pointee.horizontal.taps
    let columnTable = plan.pointee.columns
    let copies = plan.pointee.resampling.method.copies
    if columnTable.kind == .pixels {
        let entry = firstColumn * taps
        for row in 0..<rows {
            let arguments = ResamplePixelsArguments(
                input: inputs[row], output: outputs[row], columns: columns, channels: channels, taps: taps,
                weights: copies ? nil
                : UnsafePointer(plan.pointee.horizontal.weights.assumingMemoryBound(to: Scalar.self) + entry),
                pixels: plan.pointee.blended.elements + entry, streaming: streaming, ahead: ahead)
            withUnsafePointer(to: arguments) { plan.pointee.table.pointee.resampledPixels($0) }
        }
    } else {
        let tap = firstColumn * channels / lanes * taps
        let permuted = columnTable.kind == .permuted
        let weights = columnTable.weights.assumingMemoryBound(to: Scalar.self) + (permuted ? 0 : tap * lanes)
        let arguments = ResampleColumnsArguments(
            inputs: inputs, outputs: outputs, rows: rows, elements: columns * channels, taps: taps,
            weights: copies ? nil : UnsafePointer(weights),
            sources: columnTable.sources + (permuted ? 2 * (tap / taps) : tap * lanes), places: columnTable.places,
            window: columnTable.window / lanes, streaming: streaming)
        let kernel = permuted ? plan.pointee.table.pointee.permutedColumns : plan.pointee.table.pointee.gatheredColumns
        withUnsafePointer(to: arguments) { kernel?($0) }
    }
}
