import CConvolutionShims
import ConvolutionKernels

// upsample2d of many small pictures, which the planes of NCHW mostly are: their rows fill few vectors, and calls for each would
// take longer than the vectors. Rows that follow each other in memory are therefore one line, whose table says where its rows
// begin, and four lines are resampled at once. Where a line is a whole picture and its rows are short, input rows are blended by
// permuting vectors too, and what is copied is permuted once, or gathered.

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
/// Output elements of an item.
private let elementsPerItem = 8 << 10

/// How long lines are, and what their tables take.
struct LineShape {
    var rows: Int
    /// Of a line of the output.
    var vectors: Int
    /// Of a blended line, where permuting blends.
    var blendVectors = 0
    var bytes: Int

    /// nil where rows are better resampled by themselves.
    init?(_ resampling: Resampling, _ taps: TapCounts, threads: Int) {
        let (size, copies, channels) = (resampling.elementBytes, resampling.method.copies, resampling.pixelChannels)
        let (inputWidth, table) = (resampling.horizontal.input, resampling.table)
        let lanes = table.lanes
        let (outputRows, outputWidth) = (resampling.vertical.output, resampling.horizontal.output)
        guard table.pointee.permutedColumns != nil, !resampling.accumulates, !resampling.method.extrapolates,
            2 * channels <= lanes, outputWidth * channels <= longestRow,
            resampling.input.column == channels, resampling.input.row == inputWidth * channels,
            resampling.output.column == channels, resampling.output.row == outputWidth * channels
        else { return nil }
        let (inputRow, outputRow) = (inputWidth * channels, outputWidth * channels)
        let pictures = resampling.batch * resampling.planes
        // Of a line. A plan may be made for sizes that no memory holds.
        let mostRows = lineBytes / size / rowsTogether / max(inputRow, 1)
        if mostRows == 0 { return nil }

        // Whole pictures, if four of them are there for each thread.
        let whole = pictures >= rowsTogether * threads && outputRows <= mostRows
        rows = outputRows
        if copies {
            if !whole { return nil }
        } else {
            let vectors = ceilDivide(min(outputRows, mostRows) * inputRow, lanes)
            if whole, 2 * inputRow <= 3 * lanes, vectors * lanes * taps.rows <= tableEntries { blendVectors = vectors }
            if blendVectors == 0 {
                if inputRow < lanes { return nil }
                rows = 0
                for divisor in 1...min(outputRows, mostRows) where outputRows % divisor == 0
                    && divisor * outputRow <= max(lineElements, 2 * outputRow)
                    && (divisor == 1 || pictures * (outputRows / divisor) >= 2 * rowsTogether * threads) {
                    rows = divisor
                }
                if rows <= 1 { return nil }
            }
        }
        vectors = ceilDivide(rows * outputRow, lanes)
        if vectors * lanes * taps.columns > tableEntries { return nil }
        bytes = aligned(MemoryLayout<LinePlan>.size) + 1024 + 2 * (vectors + blendVectors) * MemoryLayout<Int>.stride
            + (vectors * lanes * taps.columns + blendVectors * lanes * taps.rows) * (MemoryLayout<Int>.stride + size)
    }
}

extension LinePlan {
    /// In `space`; nil where rows are better resampled by themselves. `isOnce`: what tables cost counts.
    static func create(
        _ shape: LineShape, _ plan: ResamplingPlan, threads: Int, isOnce: Bool, _ space: PlanRoom
    ) -> UnsafeMutablePointer<LinePlan>? {
        let (resampling, vertical, horizontal) = (plan.resampling, plan.vertical, plan.horizontal)
        let (lanes, size, channels) = (plan.table.lanes, resampling.elementBytes, plan.channels)
        let (copies, pictures, rows) = (resampling.method.copies, resampling.batch * plan.planes, shape.rows)
        let (inputRows, inputWidth) = (resampling.vertical.input, resampling.horizontal.input)
        let (outputRows, outputWidth) = (resampling.vertical.output, resampling.horizontal.output)
        let (inputRow, outputRow) = (inputWidth * channels, outputWidth * channels)
        var space = space
        let memory = space.take(MemoryLayout<LinePlan>.size)
        /// From one vector to the next that lies alike in its row.
        func period(_ elements: Int) -> Int { elements / greatestCommonDivisor(elements, lanes) }
        let rowsAlike = outputRows / greatestCommonDivisor(outputRows, inputRows)
        let alikeBlends = period(rowsAlike * inputRow)
        // In a row and from row to row.
        let alike = period(outputWidth / greatestCommonDivisor(outputWidth, inputWidth) * channels)
        let alikeRows = period(copies ? rowsAlike * outputRow : outputRow)
        // What rows by themselves take longer, and what tables take, in nanoseconds or so.
        var worth = isOnce ? (horizontal.taps + 3) * pictures * outputRows : Int.max
        func spend(_ vectors: Int, _ taps: Int) -> Bool {
            worth -= vectors * lanes * (taps + 2)
            return worth >= 0
        }
        if isOnce {
            let all = worth
            if !spend(min(shape.blendVectors, alikeBlends), vertical.taps)
                || !spend(min(shape.vectors, alike, alikeRows), horizontal.taps) { return nil }
            worth = all
        }
        /// nil: no windows of `most` vectors hold the taps of all vectors.
        func columnTable(_ filler: ColumnFiller, most: Int, periods: (Int, Int)) -> ColumnTable? {
            let windows = space.takeIntegers(2 * filler.vectors)
            guard let window = filler.fillWindows(windows, most: most, periods: periods) else { return nil }
            if isOnce {
                var different = 0
                for vector in 0..<filler.vectors where windows[2 * vector + 1] < 0 { different += 1 }
                if !spend(different, filler.pixels.taps) { return nil }
            }
            let bytes = filler.vectors * lanes * filler.pixels.taps * size
            return filler.fill(windows, window: window, isDouble: resampling.isDouble, space.take(bytes), space.take(bytes))
        }
        func filler(_ taps: PixelTaps, rows: Int, rowElements: Int) -> ColumnFiller {
            ColumnFiller(
                pixels: taps, columns: rows * taps.width, channels: channels, lanes: lanes,
                vectors: ceilDivide(rows * taps.width * channels, lanes), lastChunk: 0, rowElements: rowElements,
                copies: copies)
        }

        var blends: ColumnTable?
        if shape.blendVectors > 0 {
            blends = columnTable(
                filler(
                    PixelTaps(
                        vertical: vertical, horizontal: nil, width: inputWidth, inputWidth: inputWidth, elementBytes: size),
                    rows: outputRows, rowElements: inputRows * inputRow),
                most: widestWindow, periods: (alikeBlends, .max))
        }
        if !copies, blends == nil, inputRow < lanes { return nil }
        let columnFiller = filler(
            PixelTaps(
                vertical: copies ? vertical : nil, horizontal: horizontal, width: outputWidth, inputWidth: inputWidth,
                elementBytes: size),
            rows: rows, rowElements: (copies ? inputRows : rows) * inputRow)
        let columns = columnTable(columnFiller, most: copies ? 2 : widestWindow, periods: (alikeRows, alike))
        // Where copies of short rows or of few columns lie too far apart for windows.
        let mayGather = copies && columns == nil && (2 * outputRow <= 3 * lanes || 2 * outputRow < inputRow)
        let gathered = mayGather && (!isOnce || spend(shape.vectors, 1)) ? columnFiller.fillGathered(
            isDouble: resampling.isDouble, space.take(shape.vectors * lanes * MemoryLayout<Int>.stride),
            space.take(shape.vectors * lanes * size)) : nil
        guard let columns = columns ?? gathered else { return nil }

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
        let kernel = table.kind == .permuted ? kernels.pointee.permutedColumns : kernels.pointee.gatheredColumns
        withUnsafePointer(to: arguments) { kernel?($0) }
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
