import CConvolutionShims
import ConvolutionKernels

// upsample2d. A plan holds two tables: which input rows make an output row, and which input columns make an output column, with weights.
// Work is divided into bands of output rows by chunks of output columns. A thread resamples the input rows that a band needs along
// themselves, once each, into a ring that holds as many rows as one output row needs, and blends those into output rows. Copies, and
// pixels of many channels made of two times two, go from the input to their place at once (`direct`).

struct ResamplingPlan {
    var resampling: Resampling
    var table: KernelTable
    /// Where channels are not neighbours in memory, each is a plane of its own: a picture of one channel.
    var planes: Int
    var channels: Int
    var vertical: TapTable
    var horizontal: TapTable
    var columns: ColumnTable
    var rowsPerBand: Int
    var rowBands: Int
    /// Output columns, a multiple of the vector length.
    var columnsPerChunk: Int
    var chunks: Int
    /// Images times planes times row bands times chunks.
    var items: Int
    var scratch: ScratchLayout
    var streams: Bool
    /// The input can be read, and the output made of it, without the ring.
    var direct: Bool
    /// Of the plan and its tables.
    var bytes: Int
}

/// `[output][taps]`: input rows or columns, and weights. In the plan's own memory.
struct TapTable {
    var taps: Int
    var elements: UnsafeMutablePointer<Int>
    var weights: UnsafeMutableRawPointer
}

/// How the kernels of few channels find their input; see ResampleColumnsArguments. In the plan's own memory.
struct ColumnTable {
    enum Kind { case pixels, gathered, permuted }
    var kind: Kind
    var elements: UnsafeMutablePointer<Int>
    var places: UnsafeMutableRawPointer
    var weights: UnsafeMutableRawPointer
}

/// A thread's scratch memory, in bytes.
struct ScratchLayout {
    /// One row of the ring.
    var pitch: Int
    /// Rows in the ring.
    var slots: Int
    /// Input rows that are resampled together.
    var batch: Int
    /// `[rowsTogether][taps]` addresses of the rows that make an output row.
    var rowsAt: Int
    /// `[batch]` addresses of rows, then as many of where they go.
    var batchAt: Int
    /// Part of an output row, where the output cannot be written in whole vectors.
    var outputAt: Int
    /// `[batch]` parts of input rows, where the input cannot be read in whole vectors.
    var inputAt: Int
    var inputPitch: Int
    var bytes: Int
}

private struct ResamplingExecution {
    var plan: UnsafePointer<ResamplingPlan>
    var input: UnsafeRawPointer
    var output: UnsafeMutableRawPointer
    var scratch: UnsafeMutableRawPointer
}

/// What the rows of the ring together may take of a level-2 cache, if pixels have many channels.
private let ringBytes = 384 << 10

/// What the ring and the table of columns together may take of a level-1 cache, if they have few: the table is larger than the rows.
private let nearBytes = 32 << 10

/// Output rows that one call blends at most.
private let rowsTogether = 8

/// Outputs of this many bytes are written past the caches. That saves reading the lines first, and the level-3 cache for others; a
/// smaller output may be found in that cache by what comes next.
private let streamedBytes = 24 << 20

/// The most taps that an element of an axis has.
@_optimize(size)
private func mostTaps(_ resampling: Resampling, _ axis: ResamplingAxis) -> Int {
    resampling.method.needsDouble(forDouble: resampling.isDouble)
        ? AxisTaps<Double>(axis, resampling.method).most() : AxisTaps<Float>(axis, resampling.method).most()
}

@_optimize(size)
private func fillTaps(_ table: TapTable, _ resampling: Resampling, _ axis: ResamplingAxis) {
    func fill<Scalar: KernelScalar, Real: KernelScalar>(_: Scalar.Type, _: Real.Type) {
        let taps = AxisTaps<Real>(axis, resampling.method)
        let weights = table.weights.assumingMemoryBound(to: Scalar.self)
        for t in 0..<axis.output {
            taps.fill(t, taps: table.taps, elements: table.elements + t * table.taps, weights: weights + t * table.taps)
        }
    }
    switch (resampling.isDouble, resampling.method.needsDouble(forDouble: resampling.isDouble)) {
    case (false, false): fill(Float.self, Float.self)
    case (false, true): fill(Float.self, Double.self)
    case (true, false): fill(Double.self, Float.self)
    case (true, true): fill(Double.self, Double.self)
    }
}

@_optimize(size)
func createPlan(_ resampling: Resampling) throws(Failure) -> UnsafeMutablePointer<ResamplingPlan> {
    let size = resampling.isDouble ? 8 : 4
    let table = resampling.isDouble ? resampling.tier.float64 : resampling.tier.float32
    let lanes = table.lanes
    let together = resampling.input.channel == 1 && resampling.output.channel == 1
    let planes = together ? 1 : resampling.channels
    let channels = together ? resampling.channels : 1
    let rows = resampling.hasOutput ? resampling.vertical.output : 0
    let columns = resampling.hasOutput ? resampling.horizontal.output : 0

    // Tables that memory cannot hold are refused before their entries are counted.
    let entryBytes = MemoryLayout<Int>.stride + size
    shim_free(try allocate(rows + columns, of: entryBytes, "the plan"))
    let rowTaps = rows > 0 ? mostTaps(resampling, resampling.vertical) : 1
    let columnTaps = rows > 0 ? mostTaps(resampling, resampling.horizontal) : 1

    // Vectors of at least two pixels hold whole rows; else each pixel begins a vector.
    let byColumns = 2 * channels <= lanes
    let vectors = byColumns ? ceilDivide(columns * channels, lanes) : 0
    let rowEntries = try times(rows, rowTaps, "the plan")
    let columnEntries = try times(columns, columnTaps, "the plan")
    let laneEntries = try times(vectors * lanes, columnTaps, "the plan")
    let header = aligned(MemoryLayout<ResamplingPlan>.size)
    let entries = try plus(plus(rowEntries, columnEntries, "the plan"), times(laneEntries, 2, "the plan"), "the plan")
    let bytes = try plus(times(entries, entryBytes, "the plan"), header + 512, "the plan")
    let memory = try allocate(bytes, of: 1, "the plan")
    var next = memory + header
    func take(_ bytes: Int) -> UnsafeMutableRawPointer {
        let taken = next
        next += aligned(bytes)
        return taken
    }
    func tapTable(_ taps: Int, _ entries: Int) -> TapTable {
        let elements = take(entries * MemoryLayout<Int>.stride).bindMemory(to: Int.self, capacity: entries)
        return TapTable(taps: taps, elements: elements, weights: take(entries * size))
    }
    let vertical = tapTable(rowTaps, rowEntries)
    let horizontal = tapTable(columnTaps, columnEntries)
    if rows > 0 {
        fillTaps(vertical, resampling, resampling.vertical)
        fillTaps(horizontal, resampling, resampling.horizontal)
    }

    // Chunks of whole vectors, so many columns that the ring stays in a cache.
    let copies = resampling.method.copies
    let batch = byColumns && table.permutedColumns != nil ? permutedRows : 1
    let slots = rowTaps + batch - 1
    let pixelBytes = max(channels, 1) * size
    let columnBytes = byColumns ? pixelBytes * (copies ? 2 : slots + 2 * columnTaps) : pixelBytes * rowTaps
    let chunkColumns = max((byColumns ? nearBytes : ringBytes) / columnBytes / lanes * lanes, lanes)
    let columnsPerChunk = max(ceilDivide(ceilDivide(columns, max(ceilDivide(columns, chunkColumns), 1)), lanes), 1) * lanes
    let chunks = ceilDivide(columns, columnsPerChunk)

    var columnTable = ColumnTable(
        kind: .pixels, elements: take(laneEntries * MemoryLayout<Int>.stride).bindMemory(to: Int.self, capacity: laneEntries),
        places: take(laneEntries * size), weights: take(laneEntries * size))
    if byColumns {
        columnTable.kind = .gathered
        func fill<Scalar: KernelScalar>(_: Scalar.Type) {
            fillColumns(
                &columnTable, horizontal, columns: columns, channels: channels, lanes: lanes, vectors: vectors,
                lastChunk: max(chunks - 1, 0) * columnsPerChunk, rowElements: resampling.horizontal.input * channels,
                permutes: table.permutedColumns != nil, Scalar.self)
        }
        if resampling.isDouble { fill(Double.self) } else { fill(Float.self) }
    }
    let direct = !resampling.accumulates && resampling.input.column == channels
        && !needsCopy(columnTable.kind, channels, resampling.horizontal.input, lanes)
        && (copies || !byColumns && channels >= lanes && rowTaps == 2 && columnTaps == 2)

    // The rows of the ring are computed anew for each band, so a band should be many rows; and threads should find some bands each.
    let available = resampling.threads == 0 ? Int(shim_processor_count()) : resampling.threads
    let others = resampling.batch * planes * max(chunks, 1)
    let bandsWanted = max(ceilDivide(8 * available, max(others, 1)), 1)
    let rowsPerBand = max(ceilDivide(rows, bandsWanted), min(8 * rowTaps, max(rows, 1)), 1)
    let rowBands = ceilDivide(rows, rowsPerBand)

    // A vector more than the elements, since kernels may write and read whole ones.
    let pitch = aligned((columnsPerChunk * channels + lanes) * size)
    var layout = ScratchLayout(
        pitch: pitch, slots: slots, batch: batch, rowsAt: 0, batchAt: 0, outputAt: 0, inputAt: 0, inputPitch: 0, bytes: 0)
    layout.rowsAt = try times(pitch, slots, "the workspace")
    layout.batchAt = layout.rowsAt + rowsTogether * rowTaps * MemoryLayout<Int>.stride
    layout.outputAt = aligned(layout.batchAt + 2 * batch * MemoryLayout<Int>.stride)
    layout.inputAt = layout.outputAt + pitch
    layout.inputPitch = aligned(try times(resampling.horizontal.input * channels + 2 * lanes, size, "the workspace"))
    layout.bytes = try plus(layout.inputAt, times(batch, layout.inputPitch, "the workspace"), "the workspace")
    let outputBytes = Double(resampling.batch * resampling.channels) * Double(rows * columns * size)

    let plan = memory.bindMemory(to: ResamplingPlan.self, capacity: 1)
    plan.initialize(
        to: ResamplingPlan(
            resampling: resampling, table: table, planes: planes, channels: channels, vertical: vertical, horizontal: horizontal,
            columns: columnTable, rowsPerBand: rowsPerBand, rowBands: rowBands, columnsPerChunk: columnsPerChunk, chunks: chunks,
            items: others * rowBands, scratch: layout, streams: outputBytes >= Double(streamedBytes), direct: direct,
            bytes: bytes))
    return plan
}

/// Lays out the taps of whole vectors of output elements; the last ends with the row, if it can do so in its chunk. Permuted needs all of a vector's elements for one tap within one vector of
/// input; if any lie further apart, all are gathered.
private func fillColumns<Scalar: KernelScalar>(
    _ table: inout ColumnTable, _ pixels: TapTable, columns: Int, channels: Int, lanes: Int, vectors: Int, lastChunk: Int,
    rowElements: Int, permutes: Bool, _: Scalar.Type
) {
    let weights = table.weights.assumingMemoryBound(to: Scalar.self)
    let pixelWeights = pixels.weights.assumingMemoryBound(to: Scalar.self)
    var permuted = permutes
    let end = columns * channels
    for v in 0..<vectors {
        let begin = min(v * lanes, max(end - lanes, lastChunk * channels))
        for k in 0..<pixels.taps {
            let at = (v * pixels.taps + k) * lanes
            for lane in 0..<lanes {
                // Beyond the row's end: its last element again.
                let element = min(begin + lane, end - 1)
                let tap = element / channels * pixels.taps + k
                table.elements[at + lane] = pixels.elements[tap] * channels + element % channels
                weights[at + lane] = pixelWeights[tap]
            }
            let (low, high) = bounds(table.elements + at, lanes)
            if high - low >= lanes { permuted = false }
        }
    }
    if !permuted { return }
    table.kind = .permuted
    for tap in 0..<vectors * pixels.taps {
        let elements = table.elements + tap * lanes
        // A whole vector is read from there, within the row (or, if that is shorter, within its copy).
        let first = max(min(bounds(elements, lanes).low, rowElements - lanes), 0)
        for lane in 0..<lanes {
            let place = elements[lane] - first
            if MemoryLayout<Scalar>.stride == 4 {
                table.places.assumingMemoryBound(to: Int32.self)[tap * lanes + lane] = Int32(truncatingIfNeeded: place)
            } else {
                table.places.assumingMemoryBound(to: Int64.self)[tap * lanes + lane] = Int64(place)
            }
        }
        // At or before the entries that the next tap reads.
        table.elements[tap] = first
    }
}

private func bounds(_ elements: UnsafeMutablePointer<Int>, _ count: Int) -> (low: Int, high: Int) {
    var low = elements[0]
    var high = elements[0]
    for i in 1..<count {
        low = min(low, elements[i])
        high = max(high, elements[i])
    }
    return (low, high)
}

@_optimize(size)
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
    // An output element costs about as much as four multiply-adds, and one more for each tap.
    let work = Double(4 + plan.pointee.vertical.taps + plan.pointee.horizontal.taps) * Double(resampling.batch * resampling.channels)
        * Double(resampling.vertical.output * resampling.horizontal.output)
    let threads = threadsToUse(requested: resampling.threads, items: plan.pointee.items, work: work)
    let memory = try allocate(threads, of: plan.pointee.scratch.bytes, "the workspace")
    var execution = ResamplingExecution(plan: plan, input: input, output: output, scratch: memory)
    withUnsafeMutablePointer(to: &execution) { shared in
        runThreads(
            threads, items: plan.pointee.items, resampling.isDouble ? { resampleItems($0, Double.self) } : { resampleItems($0, Float.self) },
            shared: UnsafeMutableRawPointer(shared))
    }
    shim_free(memory)
}

private func resampleItems<Scalar: KernelScalar>(_ raw: UnsafeMutableRawPointer?, _: Scalar.Type) {
    guard let raw else { return }
    let context = raw.assumingMemoryBound(to: ThreadContext.self).pointee
    let execution = context.shared.assumingMemoryBound(to: ResamplingExecution.self)
    let plan = execution.pointee.plan
    let scratch = execution.pointee.scratch + context.number * plan.pointee.scratch.bytes
    while let item = context.nextItem() {
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

/// Output rows of an image, of them one chunk of one plane. `output` are the strides of `target`, which the first of the rows begins.
func resample<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ResamplingPlan>, _ image: UnsafePointer<Scalar>, plane: Int, chunk: Int, rows outputRows: Range<Int>,
    to target: UnsafeMutablePointer<Scalar>, _ output: Strides, streaming: Bool, _ scratch: UnsafeMutableRawPointer
) {
    let resampling = plan.pointee.resampling
    let layout = plan.pointee.scratch
    let channels = plan.pointee.channels
    let taps = plan.pointee.vertical.taps
    let lanes = plan.pointee.table.lanes
    let firstColumn = chunk * plan.pointee.columnsPerChunk
    let columns = min(plan.pointee.columnsPerChunk, resampling.horizontal.output - firstColumn)
    let input = image + plane * resampling.input.channel
    let corner = target + plane * output.channel + firstColumn * output.column

    let inWholeVectors = output.column == channels && columns * channels >= lanes && !resampling.accumulates
    // The kernels that write rows as the taps lie stream none but aligned vectors; `blendedRows` finds them itself.
    let vectorBytes = lanes * MemoryLayout<Scalar>.stride
    let unit = plan.pointee.columns.kind == .pixels ? channels : columns * channels
    let isAligned = unit % lanes == 0 && output.row % lanes == 0 && Int(bitPattern: corner) % vectorBytes == 0
    if plan.pointee.direct, inWholeVectors, isAligned || !streaming {
        resampleDirectly(
            plan, input, rows: outputRows, firstColumn: firstColumn, columns: columns, to: corner, pitch: output.row, streaming: streaming,
            scratch)
        return
    }

    let rows = (scratch + layout.rowsAt).assumingMemoryBound(to: UnsafePointer<Scalar>.self)
    let weights = plan.pointee.vertical.weights.assumingMemoryBound(to: Scalar.self)
    let elements = plan.pointee.vertical.elements
    let lastSource = elements[outputRows.upperBound * taps - 1]
    // The input rows in the ring, and the slot of the first; any of the slots may come after the last one.
    var held = 0..<0
    var heldSlot = 0
    func place(_ source: Int) -> UnsafeMutablePointer<Scalar> {
        let slot = heldSlot + source - held.lowerBound
        return (scratch + (slot < layout.slots ? slot : slot - layout.slots) * layout.pitch).assumingMemoryBound(to: Scalar.self)
    }
    var row = outputRows.lowerBound
    while row < outputRows.upperBound {
        // The rows of one output row are neighbours, at most as many as there are taps. Where the image grows, those of the next output
        // rows are resampled with them.
        let first = elements[row * taps]
        let end = elements[(row + 1) * taps - 1] + 1
        if held.contains(first) {
            heldSlot += first - held.lowerBound
            if heldSlot >= layout.slots { heldSlot -= layout.slots }
            held = first..<held.upperBound
        } else {
            held = first..<first
        }
        while held.upperBound < end {
            let ahead = resampling.vertical.output < resampling.vertical.input ? end : max(min(first + layout.slots, lastSource + 1), end)
            let sources = held.upperBound..<min(held.upperBound + layout.batch, ahead)
            resampleRows(plan, input, sources, firstColumn: firstColumn, columns: columns, scratch, to: place)
            held = first..<sources.upperBound
        }
        // The output rows that can be made of what the ring holds.
        var count = 0
        repeat {
            for k in count * taps..<(count + 1) * taps { rows[k] = UnsafePointer(place(elements[row * taps + k])) }
            count += 1
        } while inWholeVectors && count < rowsTogether && row + count < outputRows.upperBound
            && held.contains(elements[(row + count) * taps]) && held.contains(elements[(row + count + 1) * taps - 1])
        let target = corner + (row - outputRows.lowerBound) * output.row
        let packed = (scratch + layout.outputAt).assumingMemoryBound(to: Scalar.self)
        let arguments = BlendRowsArguments(
            count: count, rows: rows, weights: resampling.method.copies ? nil : UnsafePointer(weights + row * taps), taps: taps,
            output: inWholeVectors ? target : packed, pitch: output.row, elements: max(columns * channels, lanes),
            streaming: inWholeVectors && streaming)
        withUnsafePointer(to: arguments) { plan.pointee.table.blendedRows($0) }
        row += count
        if !inWholeVectors {
            for column in 0..<columns {
                let pixel = UnsafeMutableRawPointer(target + column * output.column)
                if resampling.accumulates {
                    for channel in 0..<channels { target[column * output.column + channel] += packed[column * channels + channel] }
                } else if channels == 1 {
                    pixel.storeBytes(of: packed[column], as: Scalar.self)
                } else {
                    pixel.copyMemory(from: packed + column * channels, byteCount: channels * MemoryLayout<Scalar>.stride)
                }
            }
        }
    }
}

/// Output rows straight from the input; `pitch` lies between them.
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
        let batch = plan.pointee.scratch.batch
        let (inputs, outputs) = batchAddresses(plan, scratch, Scalar.self)
        for row in stride(from: rows.lowerBound, to: rows.upperBound, by: batch) {
            let count = min(batch, rows.upperBound - row)
            for i in 0..<count {
                inputs[i] = input + vertical.elements[row + i] * rowStride
                outputs[i] = corner + (row + i - rows.lowerBound) * pitch
            }
            resampleColumns(
                plan, inputs, outputs, rows: count, firstColumn: firstColumn, columns: columns, streaming: streaming, ahead: ahead(row))
        }
        return
    }
    for row in rows {
        let weights = vertical.weights.assumingMemoryBound(to: Scalar.self) + 2 * row
        let arguments = BlendPixelsArguments(
            upper: input + vertical.elements[2 * row] * rowStride, lower: input + vertical.elements[2 * row + 1] * rowStride,
            upperWeight: weights[0], lowerWeight: weights[1], output: corner + (row - rows.lowerBound) * pitch, columns: columns,
            channels: plan.pointee.channels, weights: UnsafePointer(horizontal.weights.assumingMemoryBound(to: Scalar.self) + 2 * firstColumn),
            pixels: horizontal.elements + 2 * firstColumn, streaming: streaming, ahead: ahead(row))
        withUnsafePointer(to: arguments) { plan.pointee.table.blendedPixels($0) }
    }
}

/// Room for the addresses of the rows that are resampled together: where they are, where they go.
private func batchAddresses<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ResamplingPlan>, _ scratch: UnsafeMutableRawPointer, _: Scalar.Type
) -> (UnsafeMutablePointer<UnsafePointer<Scalar>>, UnsafeMutablePointer<UnsafeMutablePointer<Scalar>>) {
    let layout = plan.pointee.scratch
    let inputs = (scratch + layout.batchAt).assumingMemoryBound(to: UnsafePointer<Scalar>.self)
    return (inputs, UnsafeMutableRawPointer(inputs + layout.batch).assumingMemoryBound(to: UnsafeMutablePointer<Scalar>.self))
}

/// Parts of input rows, resampled along themselves.
private func resampleRows<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ResamplingPlan>, _ input: UnsafePointer<Scalar>, _ sources: Range<Int>, firstColumn: Int, columns: Int,
    _ scratch: UnsafeMutableRawPointer, to place: (Int) -> UnsafeMutablePointer<Scalar>
) {
    let resampling = plan.pointee.resampling
    let layout = plan.pointee.scratch
    let channels = plan.pointee.channels
    let taps = plan.pointee.horizontal.taps
    let (inputs, outputs) = batchAddresses(plan, scratch, Scalar.self)
    let copies = resampling.input.column != channels
        || needsCopy(plan.pointee.columns.kind, channels, resampling.horizontal.input, plan.pointee.table.lanes)
    for (i, source) in sources.enumerated() {
        var row = input + source * resampling.input.row
        if copies {
            let copy = (scratch + layout.inputAt + i * layout.inputPitch).assumingMemoryBound(to: Scalar.self)
            let elements = plan.pointee.horizontal.elements
            let first = elements[firstColumn * taps]
            let count = elements[(firstColumn + columns) * taps - 1] - first + 1
            let from = row + first * resampling.input.column
            if channels == 1 {
                packLine(from: from, stride: resampling.input.column, count: count, to: copy)
            } else {
                packPixels(
                    from: from, columnStride: resampling.input.column, channelStride: 1, columns: count,
                    channels: channels, pixelPitch: channels, to: copy)
            }
            // Where the row would begin. Permuted, a vector may begin before what is needed of it, in the scratch memory before the copy.
            row = UnsafePointer(copy) - first * channels
        }
        inputs[i] = row
        outputs[i] = place(source)
    }
    resampleColumns(plan, inputs, outputs, rows: sources.count, firstColumn: firstColumn, columns: columns, streaming: false,
        ahead: copies ? 0 : layout.batch * resampling.input.row)
}

/// Packed rows, resampled along themselves.
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
                weights: copies ? nil : UnsafePointer(plan.pointee.horizontal.weights.assumingMemoryBound(to: Scalar.self) + entry),
                pixels: plan.pointee.horizontal.elements + entry, streaming: streaming, ahead: ahead)
            withUnsafePointer(to: arguments) { plan.pointee.table.resampledPixels($0) }
        }
    } else {
        let tap = firstColumn * channels / lanes * taps
        let permuted = columnTable.kind == .permuted
        let arguments = ResampleColumnsArguments(
            inputs: inputs, outputs: outputs, rows: rows, elements: columns * channels, taps: taps,
            weights: copies ? nil : UnsafePointer(columnTable.weights.assumingMemoryBound(to: Scalar.self) + tap * lanes),
            sources: columnTable.elements + (permuted ? tap : tap * lanes),
            places: columnTable.places + tap * lanes * MemoryLayout<Scalar>.stride, streaming: streaming, ahead: ahead)
        let kernel = permuted ? plan.pointee.table.permutedColumns : plan.pointee.table.gatheredColumns
        withUnsafePointer(to: arguments) { kernel?($0) }
    }
}

/// Kernels that read whole vectors need some room behind a short row.
private func needsCopy(_ kind: ColumnTable.Kind, _ channels: Int, _ columns: Int, _ lanes: Int) -> Bool {
    switch kind {
    case .gathered: false
    case .permuted: columns * channels < lanes
    case .pixels: channels < lanes
    }
}

func destroy(_ plan: UnsafeMutablePointer<ResamplingPlan>) {
    shim_free(plan)
}
