import CConvolutionShims
import ConvolutionKernels

// upsample2d of many small pictures, which the planes of NCHW mostly are: their rows fill few vectors, and calls for each would
// take longer than the vectors. Rows that follow each other in memory are therefore one line, whose table says where its rows
// begin, and four lines are resampled at once. Where a line is a whole picture and its rows are short, input rows are blended by
// permuting vectors too, and what is copied is permuted once.

/// Read-only after creation; its tables follow it in memory.
struct LinePlan {
    /// Of the output, in a line; a divisor of a picture's.
    var rows: Int
    var linesPerPicture: Int
    var linesPerItem: Int
    var items: Int
    /// nil: input rows are blended one by one, or copied.
    var blends: ColumnTable?
    var columns: ColumnTable
    /// Elements of a picture, of its blended line and of an output line.
    var inputElements: Int
    var blendedElements: Int
    var outputElements: Int
    /// Pictures from this one on end less than a kernel's window behind their beginning, so that they are copied first.
    var packedPictures: Int
    /// The output of a line is shorter than a vector.
    var packsOutput: Bool
    /// Scratch memory of a thread: addresses, then four lines of each kind.
    var inputAt: Int
    var blendedAt: Int
    var outputAt: Int
    var scratchBytes: Int
    var elementBytes: Int
    /// Behind a line, for what kernels read or write of whole vectors.
    var slack: Int

    /// Of a line in scratch memory, in bytes.
    func room(_ elements: Int) -> Int { aligned(elements * elementBytes + slack) }
}

/// Blended lines stay in a level-2 cache, tables as well; longer rows are worth a call by themselves.
private let lineBytes = 128 << 10
private let tableEntries = 16 << 10
private let lineElements = 2 << 10
private let longestRow = 400
/// Output elements of an item, and vectors after which a row's vectors may lie alike again.
private let elementsPerItem = 8 << 10
private let longestPeriod = 32

extension LinePlan {
    /// nil where rows are better resampled by themselves.
    static func create(
        _ resampling: Resampling, vertical: TapTable, horizontal: TapTable, pictures: Int, channels: Int,
        table: UnsafePointer<KernelTable>, threads: Int
    ) throws(Failure) -> UnsafeMutablePointer<LinePlan>? {
        let (lanes, size, copies) = (table.lanes, resampling.elementBytes, resampling.method.copies)
        let (inputRows, inputWidth) = (resampling.vertical.input, resampling.horizontal.input)
        let (outputRows, outputWidth) = (resampling.vertical.output, resampling.horizontal.output)
        let (inputRow, outputRow) = (inputWidth * channels, outputWidth * channels)
        guard table.pointee.permutedColumns != nil, !resampling.accumulates, !resampling.method.extrapolates,
            2 * channels <= lanes, outputRow <= longestRow,
            resampling.input.column == channels, resampling.input.row == inputRow,
            resampling.output.column == channels, resampling.output.row == outputRow
        else { return nil }

        // Whole pictures, if four of them are there for each thread.
        let whole = pictures >= rowsTogether * threads && outputRows * inputRow * size * rowsTogether <= lineBytes
        var rows = outputRows
        let blendVectors = ceilDivide(outputRows * inputRow, lanes)
        let mayPermute = whole && !copies && 2 * inputRow <= 3 * lanes && blendVectors * lanes * vertical.taps <= tableEntries
        if copies, !whole { return nil }
        if !copies, !mayPermute {
            if inputRow < lanes { return nil }
            rows = 0
            for divisor in 1...outputRows where outputRows % divisor == 0 && divisor * inputRow * size * rowsTogether <= lineBytes
                && divisor * outputRow <= max(lineElements, 2 * outputRow)
                && (divisor == 1 || pictures * (outputRows / divisor) >= 2 * rowsTogether * threads) {
                rows = divisor
            }
            if rows <= 1 { return nil }
        }
        let vectors = ceilDivide(rows * outputRow, lanes)
        let taps = horizontal.taps
        if vectors * lanes * taps > tableEntries { return nil }

        let header = aligned(MemoryLayout<LinePlan>.size)
        let blendEntries = mayPermute ? blendVectors * lanes * vertical.taps : 0
        let bytes = header + 512 + 2 * (vectors + blendVectors) * MemoryLayout<Int>.stride
            + (vectors * lanes * taps + blendEntries) * 2 * size
        let memory = try allocate(bytes, of: 1, "the plan")
        var space = PlanRoom(next: memory + header)
        /// nil: no windows of `most` vectors hold the taps of all vectors.
        func columnTable(_ filler: ColumnFiller, most: Int, period: Int) -> ColumnTable? {
            let windows = space.take(2 * filler.vectors * MemoryLayout<Int>.stride)
                .bindMemory(to: Int.self, capacity: 2 * filler.vectors)
            guard let window = filler.fillWindows(windows, most: most, period: period) else { return nil }
            let entries = filler.vectors * lanes * filler.pixels.taps
            let (places, weights) = (space.take(entries * size), space.take(entries * size))
            if resampling.isDouble {
                filler.fill(windows, period: period, places.assumingMemoryBound(to: Int64.self),
                    weights.assumingMemoryBound(to: Double.self))
            } else {
                filler.fill(windows, period: period, places.assumingMemoryBound(to: Int32.self),
                    weights.assumingMemoryBound(to: Float.self))
            }
            return ColumnTable(kind: .permuted, window: window, sources: windows, places: places, weights: weights)
        }
        func filler(_ taps: PixelTaps, rows: Int, rowElements: Int) -> ColumnFiller {
            ColumnFiller(
                pixels: taps, columns: rows * taps.width, channels: channels, lanes: lanes,
                vectors: ceilDivide(rows * taps.width * channels, lanes), lastChunk: 0, rowElements: rowElements,
                copies: copies)
        }
        /// From one vector to the next that lies alike in its row.
        func period(_ elements: Int) -> Int { elements / greatestCommonDivisor(elements, lanes) }

        var blends: ColumnTable?
        if mayPermute {
            let alike = outputRows / greatestCommonDivisor(outputRows, inputRows)
            blends = columnTable(
                filler(PixelTaps(vertical: vertical, horizontal: nil, width: inputWidth, inputWidth: inputWidth),
                    rows: outputRows, rowElements: inputRows * inputRow),
                most: widestWindow, period: period(alike * inputRow))
        }
        var alike = period(outputRow)
        if alike > longestPeriod { alike = period(outputWidth / greatestCommonDivisor(outputWidth, inputWidth) * channels) }
        if copies { alike = period(outputRows / greatestCommonDivisor(outputRows, inputRows) * outputRow) }
        let columns = !copies && blends == nil && inputRow < lanes ? nil : columnTable(
            filler(
                PixelTaps(vertical: copies ? vertical : nil, horizontal: horizontal, width: outputWidth, inputWidth: inputWidth),
                rows: rows, rowElements: (copies ? inputRows : rows) * inputRow),
            most: copies ? 2 : widestWindow, period: alike)
        guard let columns else {
            shim_free(memory)
            return nil
        }

        let plan = memory.bindMemory(to: LinePlan.self, capacity: 1)
        let lines = pictures * (outputRows / rows)
        var linesPerItem = ceilDivide(elementsPerItem, rows * outputRow * rowsTogether) * rowsTogether
        linesPerItem = max(min(linesPerItem, lines / (2 * threads) / rowsTogether * rowsTogether), rowsTogether)
        plan.initialize(
            to: LinePlan(
                rows: rows, linesPerPicture: outputRows / rows, linesPerItem: linesPerItem,
                items: ceilDivide(lines, linesPerItem), blends: blends, columns: columns, inputElements: inputRows * inputRow,
                blendedElements: rows * inputRow, outputElements: rows * outputRow, packedPictures: pictures,
                packsOutput: false, inputAt: 0, blendedAt: 0, outputAt: 0, scratchBytes: 0,
                elementBytes: size, slack: widestWindow * lanes * size))
        // Where pictures follow each other a window may reach into the next.
        let window = (copies ? columns : blends)?.window ?? 0
        let area = plan.pointee.inputElements
        if area < window {
            let planes = pictures / resampling.batch
            let isGapless = (planes == 1 || resampling.input.channel == area)
                && (resampling.batch == 1 || resampling.input.batch == planes * area)
            plan.pointee.packedPictures = isGapless ? max(pictures - (window - 1) / area, 0) : 0
        }
        plan.pointee.packsOutput = plan.pointee.outputElements < lanes
        func room(_ elements: Int) -> Int { plan.pointee.room(elements) }
        let addresses = (4 * rowsTogether + (blends == nil && !copies ? rows * vertical.taps : 0)) * MemoryLayout<Int>.stride
        plan.pointee.inputAt = aligned(addresses)
        plan.pointee.blendedAt = plan.pointee.inputAt
            + (plan.pointee.packedPictures < pictures ? rowsTogether * room(plan.pointee.inputElements) : 0)
        plan.pointee.outputAt = plan.pointee.blendedAt + (copies ? 0 : rowsTogether * room(plan.pointee.blendedElements))
        plan.pointee.scratchBytes = plan.pointee.outputAt
            + (plan.pointee.packsOutput ? rowsTogether * room(plan.pointee.outputElements) : 0)
        return plan
    }
}

/// Some lines, four at a time. Of the elements it needs their size alone, since addresses are the same for all types.
@inline(never)
func resampleLines(
    _ plan: UnsafePointer<ResamplingPlan>, _ lines: UnsafePointer<LinePlan>, _ item: Int, _ inputStart: UnsafeRawPointer,
    _ outputStart: UnsafeMutableRawPointer, _ scratch: UnsafeMutableRawPointer
) {
    typealias Address = UnsafePointer<UInt8>
    let resampling = plan.pointee.resampling
    let (size, copies) = (resampling.elementBytes, resampling.method.copies)
    let (planes, vertical, horizontal) = (plan.pointee.planes, plan.pointee.vertical, plan.pointee.horizontal)
    let line = lines.pointee
    let kernels = plan.pointee.table
    let width = resampling.horizontal.input * plan.pointee.channels
    let inputs = scratch.assumingMemoryBound(to: Address.self)
    let blends = inputs + rowsTogether
    let outputs = blends + rowsTogether
    let rows = outputs + rowsTogether
    func writable(_ addresses: UnsafeMutablePointer<Address>) -> UnsafePointer<UnsafeMutablePointer<UInt8>> {
        UnsafeRawPointer(addresses).assumingMemoryBound(to: UnsafeMutablePointer<UInt8>.self)
    }
    func place(_ at: Int, _ number: Int, _ elements: Int) -> Address {
        Address((scratch + (at + number * line.room(elements))).assumingMemoryBound(to: UInt8.self))
    }
    func permute(
        _ table: ColumnTable, _ taps: Int, _ inputs: UnsafeMutablePointer<Address>, _ outputs: UnsafeMutablePointer<Address>,
        count: Int, elements: Int
    ) {
        let arguments = ResampleColumnsArguments<UInt8>(
            inputs: inputs, outputs: writable(outputs), rows: count, elements: elements, taps: taps,
            weights: copies ? nil : UnsafePointer(table.weights.assumingMemoryBound(to: UInt8.self)), sources: table.sources,
            places: table.places, window: table.window / kernels.lanes, streaming: false)
        withUnsafePointer(to: arguments) { kernels.pointee.permutedColumns?($0) }
    }

    let end = min((item + 1) * line.linesPerItem, resampling.batch * planes * line.linesPerPicture)
    var next = item * line.linesPerItem
    while next < end {
        let count = min(rowsTogether, end - next)
        for i in 0..<count {
            let (picture, part) = (next + i).quotientAndRemainder(dividingBy: line.linesPerPicture)
            let (image, plane) = picture.quotientAndRemainder(dividingBy: planes)
            func address(_ start: UnsafeRawPointer, _ strides: Strides) -> Address {
                (start + (image * strides.batch + plane * strides.channel) * size).assumingMemoryBound(to: UInt8.self)
            }
            let input = address(inputStart, resampling.input)
            outputs[i] = address(outputStart, resampling.output) + part * line.outputElements * size
            inputs[i] = input
            if picture >= line.packedPictures {
                inputs[i] = place(line.inputAt, i, line.inputElements)
                UnsafeMutableRawPointer(mutating: inputs[i]).copyMemory(from: input, byteCount: line.inputElements * size)
            }
            if copies { continue }
            blends[i] = place(line.blendedAt, i, line.blendedElements)
            if line.blends != nil { continue }
            let first = part * line.rows * vertical.taps
            for k in 0..<line.rows * vertical.taps { rows[k] = input + vertical.elements[first + k] * width * size }
            let blend = BlendRowsArguments<UInt8>(
                count: line.rows, rows: rows, weights: (vertical.weights + first * size).assumingMemoryBound(to: UInt8.self),
                taps: vertical.taps, output: writable(blends)[i], pitch: width, elements: width, streaming: false)
            withUnsafePointer(to: blend) { kernels.pointee.blendedRows($0) }
        }
        if let table = line.blends { permute(table, vertical.taps, inputs, blends, count: count, elements: line.blendedElements) }
        if line.packsOutput {
            for i in 0..<count {
                rows[i] = outputs[i]
                outputs[i] = place(line.outputAt, i, line.outputElements)
            }
        }
        permute(line.columns, horizontal.taps, copies ? inputs : blends, outputs, count: count, elements: line.outputElements)
        if line.packsOutput {
            for i in 0..<count {
                UnsafeMutableRawPointer(mutating: rows[i]).copyMemory(from: outputs[i], byteCount: line.outputElements * size)
            }
        }
        next += count
    }
}
