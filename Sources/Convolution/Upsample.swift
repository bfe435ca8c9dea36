import CConvolutionShims
import ConvolutionKernels

// upsample2d. A plan holds two tables: which input rows make an output row, and which input columns make an output column, with
// weights. Work is divided into bands of output rows by chunks of output columns. A thread blends the input rows of a few output
// rows, as far as a chunk needs them, and resamples these blends along themselves into the output. Copies, and pixels of many
// channels made of two times two, go from the input to their place at once (`direct`), and so do bilinear rows of few channels
// that become twice as long (`doubling`).

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
    var rowsPerBand: Int
    var rowBands: Int
    /// Output columns, a multiple of the vector length.
    var columnsPerChunk: Int
    var chunks: Int
    /// Of each chunk.
    var segments: UnsafeMutablePointer<Segment>
    /// Images times planes times row bands times chunks; or images times planes that are turned together.
    var items: Int
    var scratch: ScratchLayout
    var streams: Bool
    /// The output can be made of the input without blended rows between them.
    var direct: Bool
    /// The input cannot be read in whole vectors.
    var packs: Bool
    /// Planes of short rows leave vectors empty and take many calls: some of them are turned into pixels, as many as this plan
    /// has channels, resampled by it, and turned back.
    var turned: UnsafeMutablePointer<ResamplingPlan>?
    /// Bilinear, all columns but the first and the last two by two out of two pixels: how these are put side by side.
    var doubling: Doubling?
    /// Rows that follow each other are resampled as one.
    var lines: UnsafeMutablePointer<LinePlan>?
    /// Of the plan and its tables.
    var bytes: Int
}

/// `[output][taps]`: input rows or columns, and weights. In the plan's own memory.
struct TapTable {
    var taps: Int
    /// The output rows or columns that are made of the input; the others are the extrapolation's.
    var inside: Range<Int>
    var elements: UnsafeMutablePointer<Int>
    var weights: UnsafeMutableRawPointer

    /// What some outputs read. The taps of each ascend.
    func span(_ outputs: Range<Int>) -> Range<Int> {
        var (first, last) = (Int.max, 0)
        for output in outputs {
            first = min(first, elements[output * taps])
            last = max(last, elements[output * taps + taps - 1])
        }
        return first..<last + 1
    }
}

/// The parts of an input row that are blended where the columns tap few of its pixels: a run of vectors holds the taps of a
/// column, or of some whose taps are neighbours. In the plan's own memory.
struct Runs {
    /// `[count][2]`, in bytes: where a vector lies in the input row and where in the blended one, in that order.
    var places: UnsafeMutablePointer<Int>
    var count = 0
    /// Of a blended row.
    var pixels: Int
    /// nil: whole rows are blended, from the first to the last pixel that is needed.
    var kernel: (@convention(c) (UnsafeRawPointer) -> Void)?

    /// Finds the runs of a row, of at most `width` elements each, and where in a blended row the pixels lie that columns tap.
    mutating func find(
        _ table: TapTable, columns: Int, channels: Int, lanes: Int, width: Int, elementBytes: Int,
        _ blended: UnsafeMutablePointer<Int>
    ) {
        let rowElements = pixels * channels
        // Where a run begins, ends and goes, and where the next one may go.
        var (begin, end, target, next) = (0, -1, 0, 0)
        var vectors = 0
        for column in 0..<columns {
            let taps = table.span(column..<column + 1)
            let (first, last) = (taps.lowerBound * channels, taps.upperBound * channels)
            if first < begin || first > end || last > begin + width {
                // A run that would leave the row ends with it. Pixels stay whole.
                begin = min(first, rowElements - width)
                target = next + begin % channels
                (end, vectors) = (last, 0)
            }
            end = max(end, last)
            next = target + end - begin
            while vectors * lanes < end - begin {
                places[2 * count] = (begin + vectors * lanes) * elementBytes
                places[2 * count + 1] = (target + vectors * lanes) * elementBytes
                (count, vectors) = (count + 1, vectors + 1)
            }
            for tap in column * table.taps..<(column + 1) * table.taps {
                blended[tap] = table.elements[tap] + (target - begin) / channels
            }
        }
        pixels = next / channels
    }
}

/// How the kernels of few channels find their input; see ResampleColumnsArguments. In the plan's own memory.
struct ColumnTable {
    enum Kind { case pixels, gathered, permuted }
    var kind: Kind
    /// Permuted: elements of a window.
    var window: Int
    var sources: UnsafeMutablePointer<Int>
    var places: UnsafeMutableRawPointer
    var weights: UnsafeMutableRawPointer
}

/// The columns of an image that becomes twice as wide; see DoubleRowsArguments. In the plan's own memory.
struct Doubling {
    var first: Int
    var step: Int
    var places: UnsafeMutableRawPointer

    /// `places` has room for four vectors. nil where columns are made otherwise.
    init?(
        _ table: TapTable, width: Int, columns: Int, channels: Int, lanes: Int, _ places: UnsafeMutableRawPointer
    ) {
        guard table.taps == 2, columns == 2 * width, (width - 1) * channels >= lanes else { return nil }
        let weights = table.weights.assumingMemoryBound(to: Float.self)
        // The two columns in the middle, number width and the next, read the same pixels or are of two pairs.
        first = table.elements[2 * width] == table.elements[2 * width + 2] ? width & 1 : 1 - width & 1
        for pair in 0..<width - 1 {
            for side in 0..<2 {
                let column = first + 2 * pair + side
                if table.elements[2 * column] != pair || table.elements[2 * column + 1] != pair + 1
                    || weights[2 * column] != weights[2 * (first + side)]
                    || weights[2 * column + 1] != weights[2 * (first + side) + 1] { return nil }
            }
        }
        step = lanes / channels * channels
        self.places = places
        for vector in 0..<4 {
            for lane in 0..<lanes {
                // The element of what a step makes.
                let element = vector & 1 == 0 ? lane : 2 * step - lanes + lane
                let pixel = element / channels
                let place = pixel / 2 * channels + element % channels + pixel % 2 * lanes + (vector < 2 ? 0 : lanes - step)
                places.assumingMemoryBound(to: Int32.self)[vector * lanes + lane] = Int32(place)
            }
        }
    }
}

/// A thread's scratch memory, in bytes.
struct ScratchLayout {
    /// Output rows that are made together.
    var batch: Int
    /// `[batch][taps]` addresses of the rows that make an output row, then `[rowsCopied]` of their blends and as many of where
    /// those go. At the beginning, a window at least: it may begin before the blended rows.
    var blendedAt: Int
    var blendedPitch: Int
    /// `[batch]` parts of output rows, where the output cannot be written in whole vectors.
    var outputAt: Int
    var outputPitch: Int
    /// `[taps]` parts of input rows, where the input cannot be read in whole vectors, and the numbers of those rows.
    var inputAt: Int
    var inputPitch: Int
    var heldAt: Int
    var bytes: Int
}

/// The elements of a blended row that a chunk needs, a vector at least.
struct Segment {
    var first: Int
    var count: Int
}

private struct ResamplingExecution {
    var plan: UnsafePointer<ResamplingPlan>
    var input: UnsafeRawPointer
    var output: UnsafeMutableRawPointer
    var scratch: UnsafeMutableRawPointer
    var threads: Int
    var work: Double
}

/// What the blended rows and the table of columns together may take of a level-1 cache: the table is larger than the rows.
private let nearBytes = 32 << 10

/// What planes that are turned into pixels may take of a level-2 cache, and how many planes are written side by side: all would
/// meet in one set of the nearest cache.
private let turnedBytes = 512 << 10
private let planesSideBySide = 8

/// Vectors of input that a kernel permutes together at most.
let widestWindow = 4

/// What a vector takes whose elements no window holds.
private let halfCyclesToGather = 44

/// Input columns from which on those of the output are made two by two: the first and the last are computed one by one.
private let leastDoubled = 48

/// Rows that are copied by one call, unless they are as long as this.
private let rowsCopied = 32
private let longRowBytes = 4 << 10

/// What pixels that need no blended rows may take of a level-2 cache.
private let directBytes = 384 << 10

/// Outputs of this many bytes are written past the caches. That saves reading the lines first, and the level-3 cache for others;
/// a smaller output may be found in that cache by what comes next.
private let streamedBytes = 24 << 20

/// The most taps that an element of an axis has.
private func mostTaps(_ resampling: Resampling, _ axis: ResamplingAxis) -> Int {
    resampling.method.needsDouble(forDouble: resampling.isDouble)
        ? AxisTaps<Double>(axis, resampling.method).most() : AxisTaps<Float>(axis, resampling.method).most()
}

private func fillTaps(_ table: inout TapTable, _ resampling: Resampling, _ axis: ResamplingAxis) {
    func fill<Scalar: KernelScalar, Real: KernelScalar>(_: Scalar.Type, _: Real.Type) {
        let taps = AxisTaps<Real>(axis, resampling.method)
        let weights = table.weights.assumingMemoryBound(to: Scalar.self)
        table.inside = taps.inside
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

/// With `tables` instead of what the axes and the method say.
func createPlan(
    _ resampling: Resampling, tables: (vertical: TurnedTable, horizontal: TurnedTable)? = nil, mayTurn: Bool = true
) throws(Failure) -> UnsafeMutablePointer<ResamplingPlan> {
    let arrays = try resampling.arrays
    let size = resampling.elementBytes
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
    let rowTaps = tables?.vertical.taps ?? (rows > 0 ? mostTaps(resampling, resampling.vertical) : 1)
    let columnTaps = tables?.horizontal.taps ?? (rows > 0 ? mostTaps(resampling, resampling.horizontal) : 1)

    // Vectors of at least two pixels hold whole rows; else each pixel begins a vector.
    let byColumns = 2 * channels <= lanes
    let vectors = byColumns ? ceilDivide(columns * channels, lanes) : 0
    // Of columns that tap few pixels only these are blended, if that takes less time than all of the row and fetching them there.
    let packs = resampling.input.column != channels || resampling.horizontal.input * channels < lanes
    let copies = resampling.method.copies
    let isDirectPixel = !byColumns && (copies || channels >= lanes && rowTaps == 2 && columnTaps == 2)
    let mayBeSparse = !packs && !copies && !isDirectPixel && columns > 0
        && resampling.horizontal.input / columnTaps >= columns
        && resampling.horizontal.input * channels >= columnTaps * channels + lanes
    let rowEntries = try times(rows, rowTaps, "the plan")
    let columnEntries = try times(columns, columnTaps, "the plan")
    let laneEntries = try times(vectors * lanes, columnTaps, "the plan")
    let segmentEntries = 2 * ceilDivide(columns, lanes)
    let header = aligned(MemoryLayout<ResamplingPlan>.size)
    let narrow = resampling.isDouble ? resampling.tier.narrow.float64 : resampling.tier.narrow.float32
    let runVectors = mayBeSparse ? ceilDivide(columnTaps * channels, narrow.lanes) : 0
    let runEntries = mayBeSparse ? columnEntries + 2 * runVectors * columns : 0
    let entries = try plus(
        plus(rowEntries, columnEntries, "the plan"), plus(laneEntries, 2 * vectors + segmentEntries + runEntries, "the plan"),
        "the plan")
    let bytes = try plus(times(entries, entryBytes, "the plan"), header + 1536, "the plan")
    let memory = try allocate(bytes, of: 1, "the plan")
    var made: UnsafeMutablePointer<ResamplingPlan>?
    defer { if made == nil { shim_free(memory) } }
    var space = PlanRoom(next: memory + header)
    func tapTable(_ taps: Int, _ entries: Int) -> TapTable {
        let elements = space.take(entries * MemoryLayout<Int>.stride).bindMemory(to: Int.self, capacity: entries)
        return TapTable(taps: taps, inside: 0..<0, elements: elements, weights: space.take(entries * size))
    }
    var vertical = tapTable(rowTaps, rowEntries)
    var horizontal = tapTable(columnTaps, columnEntries)
    if let tables {
        tables.vertical.fill(&vertical)
        tables.horizontal.fill(&horizontal)
    } else if rows > 0 {
        fillTaps(&vertical, resampling, resampling.vertical)
        fillTaps(&horizontal, resampling, resampling.horizontal)
    }

    // Where pixels lie in blended rows.
    var blendedTable = horizontal
    var runs = Runs(places: horizontal.elements, pixels: resampling.horizontal.input)
    let permutes = table.pointee.permutedColumns != nil
    func filler(lastChunk: Int) -> ColumnFiller {
        ColumnFiller(
            pixels: PixelTaps(vertical: nil, horizontal: blendedTable, width: columns, inputWidth: 0), columns: columns,
            channels: channels, lanes: lanes, vectors: vectors, lastChunk: lastChunk, rowElements: runs.pixels * channels,
            copies: copies)
    }
    let windows = space.take(2 * vectors * MemoryLayout<Int>.stride).bindMemory(to: Int.self, capacity: 2 * vectors)
    if mayBeSparse {
        let elements = space.take(columnEntries * MemoryLayout<Int>.stride).bindMemory(to: Int.self, capacity: columnEntries)
        var found = runs
        found.places = space.take(2 * runVectors * columns * MemoryLayout<Int>.stride)
            .bindMemory(to: Int.self, capacity: 2 * runVectors * columns)
        found.find(
            horizontal, columns: columns, channels: channels, lanes: narrow.lanes, width: runVectors * narrow.lanes,
            elementBytes: size, elements)
        // Half cycles, measured: what lies between the tapped pixels is in the cache lines that are read.
        let whole = ceilDivide(horizontal.span(0..<columns).count * channels, lanes) * (2 * rowTaps + 2)
        let gathers = byColumns && permutes && filler(lastChunk: 0).fillWindows(windows, most: widestWindow) == nil
        if found.count * (9 * rowTaps / 2 - 2) < whole + (gathers ? vectors * columnTaps * halfCyclesToGather : 0) {
            found.kernel = narrow.pointee.blendedRuns
            runs = found
            blendedTable.elements = elements
        }
    }

    let available = resampling.threads == 0 ? Int(shim_processor_count()) : resampling.threads
    let streams = !resampling.method.extrapolates
        && Double(resampling.batch * resampling.channels) * Double(rows * columns * size) >= Double(streamedBytes)
    var doubling: Doubling?
    if byColumns, !copies, rowTaps == 2, table.pointee.doubledRows != nil, mayTurn, !streams, !resampling.accumulates,
        !resampling.method.extrapolates, resampling.input.column == channels, resampling.output.column == channels,
        resampling.horizontal.input >= leastDoubled {
        doubling = Doubling(
            horizontal, width: resampling.horizontal.input, columns: columns, channels: channels, lanes: lanes,
            space.take(4 * lanes * size))
    }

    let lines = mayTurn && rows > 0 && !streams && doubling == nil
        && (!mayBeSparse || resampling.horizontal.input * channels <= 8 * lanes)
        ? try LinePlan.create(
            resampling, vertical: vertical, horizontal: horizontal, pictures: resampling.batch * planes, channels: channels,
            table: table, threads: available) : nil

    // Chunks of whole vectors, so many columns that the blended rows stay in a cache.
    let batch = byColumns ? rowsTogether : 1
    let pixelBytes = max(channels, 1) * size
    let blendedColumns = ceilDivide(batch * resampling.horizontal.input, max(columns, 1))
    // From one vector on to the next whose pixels lie alike, if the scale is that of the sizes and weights are not rounded.
    let outputPeriod = columns / max(greatestCommonDivisor(columns, resampling.horizontal.input), 1)
    let period = outputPeriod * channels / greatestCommonDivisor(outputPeriod * channels, lanes)
    let columnBytes = pixelBytes * (isDirectPixel ? 1 : copies
        ? 2 : blendedColumns + (byColumns && period > 4 ? 2 * columnTaps : 0))
    let chunkColumns = max((isDirectPixel ? directBytes : nearBytes) / columnBytes / lanes * lanes, lanes)
    let chunksWanted = runs.kernel != nil || doubling != nil ? 1 : max(ceilDivide(columns, chunkColumns), 1)
    let columnsPerChunk = max(ceilDivide(ceilDivide(columns, chunksWanted), lanes), 1) * lanes
    let chunks = ceilDivide(columns, columnsPerChunk)

    // Permuted, the entries of `places` are shorter than those of `sources` else.
    let places = space.take(laneEntries * MemoryLayout<Int>.stride)
    var columnTable = ColumnTable(
        kind: .pixels, window: 0, sources: places.bindMemory(to: Int.self, capacity: laneEntries), places: places,
        weights: space.take(laneEntries * size))
    if byColumns, doubling == nil, lines == nil {
        columnTable.kind = .gathered
        func fill<Scalar: KernelScalar, Place: FixedWidthInteger>(_: Scalar.Type, _: Place.Type) {
            let filler = filler(lastChunk: max(chunks - 1, 0) * columnsPerChunk)
            let weights = columnTable.weights.assumingMemoryBound(to: Scalar.self)
            if let window = permutes ? filler.fillWindows(windows, most: copies ? 2 : widestWindow) : nil {
                columnTable.kind = .permuted
                columnTable.window = window
                columnTable.sources = windows
                filler.fill(windows, period: period, places.assumingMemoryBound(to: Place.self), weights)
            } else {
                for vector in 0..<vectors {
                    filler.fill(vector, columnTable.sources, weights, from: nil, at: vector * columnTaps * lanes)
                }
            }
        }
        if resampling.isDouble { fill(Double.self, Int64.self) } else { fill(Float.self, Int32.self) }
    }
    let extrapolates = resampling.method.extrapolates
    let direct = !resampling.accumulates && !extrapolates && resampling.input.column == channels
        && !needsCopy(columnTable, channels, resampling.horizontal.input, lanes)
        && (copies || isDirectPixel)

    // Threads should find some bands each.
    let others = resampling.batch * planes * max(chunks, 1)
    let bandsWanted = max(ceilDivide(8 * available, max(others, 1)), 1)
    let rowsPerBand = max(ceilDivide(ceilDivide(rows, bandsWanted), batch), 1) * batch
    let rowBands = ceilDivide(rows, rowsPerBand)

    // Room for what kernels write and read in whole vectors.
    let segments = space.take(segmentEntries * MemoryLayout<Int>.stride).bindMemory(to: Segment.self, capacity: chunks)
    var widest = lanes
    for chunk in 0..<chunks {
        let first = chunk * columnsPerChunk
        segments[chunk] = segment(blendedTable, first..<min(first + columnsPerChunk, columns), channels, runs, lanes)
        widest = max(widest, segments[chunk].count)
    }
    let blendedPitch = aligned(try times(widest + (widestWindow + runVectors) * lanes, size, "the workspace"))
    let outputPitch = aligned((columnsPerChunk * channels + lanes) * size)
    let rowAddresses = try times(batch, rowTaps, "the workspace")
    let addresses = try times(rowAddresses + 4 * rowsCopied, MemoryLayout<Int>.stride, "the workspace")
    var layout = ScratchLayout(
        batch: batch, blendedAt: aligned(max(addresses, widestWindow * lanes * size)), blendedPitch: blendedPitch, outputAt: 0,
        outputPitch: outputPitch, inputAt: 0, inputPitch: blendedPitch, heldAt: 0, bytes: 0)
    layout.outputAt = try plus(layout.blendedAt, times(batch, blendedPitch, "the workspace"), "the workspace")
    layout.inputAt = layout.outputAt + batch * outputPitch
    layout.heldAt = try plus(layout.inputAt, times(packs ? rowTaps : 0, blendedPitch, "the workspace"), "the workspace")
    layout.bytes = layout.heldAt + aligned(rowTaps * MemoryLayout<Int>.stride)
    var items = others * rowBands
    var turned: UnsafeMutablePointer<ResamplingPlan>?
    let area = resampling.vertical.input * resampling.horizontal.input + rows * columns
    if let lines {
        layout.bytes = lines.pointee.scratchBytes
        items = lines.pointee.items
    } else if mayTurn, packs, planes >= lanes, area * lanes * size <= turnedBytes, !resampling.accumulates,
        resampling.input.row == resampling.horizontal.input, resampling.output.row == columns, resampling.input.column == 1,
        resampling.output.column == 1 {
        let most = min(turnedBytes / (area * size), 64, ceilDivide(planes, max(available / max(resampling.batch, 1), 1)))
        let count = min(max(most / lanes, 1) * lanes, planes)
        var pixels = resampling
        (pixels.batch, pixels.channels, pixels.threads) = (1, count, 1)
        pixels.input = packed(resampling.vertical.input, resampling.horizontal.input, count, channelsFirst: false)
        pixels.output = packed(rows, columns, count, channelsFirst: false)
        turned = try createPlan(pixels, tables: tables)
        layout.bytes = aligned((turned?.pointee.scratch.bytes ?? 0) + area * count * size)
        items = resampling.batch * ceilDivide(planes, count)
    }

    let plan = memory.bindMemory(to: ResamplingPlan.self, capacity: 1)
    plan.initialize(
        to: ResamplingPlan(
            resampling: resampling, arrays: arrays, table: table, planes: planes, channels: channels, vertical: vertical,
            horizontal: horizontal, blended: blendedTable, runs: runs, columns: columnTable, rowsPerBand: rowsPerBand,
            rowBands: rowBands, columnsPerChunk: columnsPerChunk, chunks: chunks, segments: segments, items: items,
            scratch: layout, streams: streams, direct: direct, packs: packs, turned: turned,
            doubling: doubling, lines: lines, bytes: bytes))
    made = plan
    return plan
}

/// What is left of the memory that a plan and its tables share.
struct PlanRoom {
    var next: UnsafeMutableRawPointer

    mutating func take(_ bytes: Int) -> UnsafeMutableRawPointer {
        defer { next += aligned(bytes) }
        return next
    }
}

/// What output pixels that follow each other in memory are made of: those of a row, or of rows that are one line.
struct PixelTaps {
    /// `[rows][taps]`, `[columns][taps]`; nil: they are made of the row, or the column, that they lie in.
    var vertical: UnsafeMutablePointer<Int>?
    var horizontal: UnsafeMutablePointer<Int>?
    /// The columns', if there are any.
    var weights: UnsafeMutableRawPointer?
    /// Pixels of a row of the output, and of the input.
    var width: Int
    var inputWidth: Int
    var taps: Int

    init(vertical: TapTable?, horizontal: TapTable?, width: Int, inputWidth: Int) {
        (self.vertical, self.horizontal) = (vertical?.elements, horizontal?.elements)
        (self.width, self.inputWidth) = (width, inputWidth)
        weights = horizontal?.weights ?? vertical?.weights
        taps = horizontal?.taps ?? vertical?.taps ?? 1
    }

    struct Place {
        var row: Int
        var column: Int
    }

    func place(_ pixel: Int) -> Place {
        if pixel < width { return Place(row: 0, column: pixel) }
        let row = pixel / width
        return Place(row: row, column: pixel - row * width)
    }

    @inline(__always)
    func advance(_ place: inout Place) {
        place.column += 1
        if place.column == width { place = Place(row: place.row + 1, column: 0) }
    }

    /// The input pixel.
    @inline(__always)
    func element(_ place: Place, _ tap: Int) -> Int {
        var (row, column) = (place.row, place.column)
        if let vertical { row = vertical[row * taps + tap] }
        if let horizontal { column = horizontal[column * taps + tap] }
        return row * inputWidth + column
    }

    /// The number of the weight in its table.
    @inline(__always)
    func weight(_ place: Place, _ tap: Int) -> Int { (horizontal != nil ? place.column : place.row) * taps + tap }

    /// What some of them read. The taps of each ascend.
    func span(_ pixels: Range<Int>) -> Range<Int> {
        var (first, last) = (Int.max, 0)
        var place = place(pixels.lowerBound)
        for _ in pixels {
            first = min(first, element(place, 0))
            last = max(last, element(place, taps - 1))
            advance(&place)
        }
        return first..<last + 1
    }

    /// How far the input of pixels lies behind that of those so many before them, whole rows, where this is sure.
    func shift(_ pixels: Int) -> Int? { vertical == nil && pixels % width == 0 ? pixels / width * inputWidth : nil }
}

/// Lays out the taps of whole vectors of output elements; the last ends with the row, if it can do so in its chunk.
struct ColumnFiller {
    var pixels: PixelTaps
    var columns: Int
    var channels: Int
    var lanes: Int
    var vectors: Int
    /// Its first column.
    var lastChunk: Int
    var rowElements: Int
    var copies: Bool

    /// The first element of a vector.
    func begin(_ vector: Int) -> Int { min(vector * lanes, max(columns * channels - lanes, lastChunk * channels)) }

    /// Finds windows that hold all elements of a vector, and says how long they are; nil if `most` vectors of input are too
    /// short. A window lies within the row or, if that is shorter, begins with it.
    func fillWindows(_ windows: UnsafeMutablePointer<Int>, most: Int, period: Int = Int.max) -> Int? {
        var longest = 0
        let shift = period < vectors ? pixels.shift(period * lanes / channels) : nil
        for vector in 0..<vectors {
            if let shift, vector >= period, begin(vector) == vector * lanes {
                windows[2 * vector] = windows[2 * (vector - period)] + shift * channels
                continue
            }
            let span = pixels.span(pixelRange(vector))
            windows[2 * vector] = span.lowerBound * channels
            longest = max(longest, span.count * channels)
        }
        if longest > most * lanes { return nil }
        let isShort = longest <= lanes && (copies || pixels.taps == 2 || pixels.taps == 4)
        let window = longest > 2 * lanes ? 4 * lanes : isShort ? lanes : 2 * lanes
        for vector in 0..<vectors { windows[2 * vector] = max(min(windows[2 * vector], rowElements - window), 0) }
        return window
    }

    /// Those that a vector has elements of.
    private func pixelRange(_ vector: Int) -> Range<Int> {
        let begin = begin(vector)
        return begin / channels..<min((begin + lanes - 1) / channels + 1, columns)
    }

    /// Whether a vector has the places and weights of the one a period before it.
    private func repeats(_ vector: Int, period: Int, _ windows: UnsafeMutablePointer<Int>, elementBytes: Int) -> Bool {
        guard vector >= period, begin(vector) - begin(vector - period) == period * lanes, let weights = pixels.weights
        else { return false }
        func areEqual(_ a: Int, _ b: Int) -> Bool {
            elementBytes == 8
                ? weights.load(fromByteOffset: 8 * a, as: UInt64.self) == weights.load(fromByteOffset: 8 * b, as: UInt64.self)
                : weights.load(fromByteOffset: 4 * a, as: UInt32.self) == weights.load(fromByteOffset: 4 * b, as: UInt32.self)
        }
        let move = windows[2 * vector] - windows[2 * (vector - period)]
        if let shift = pixels.shift(period * lanes / channels) { return move == shift * channels }
        let range = pixelRange(vector)
        var (place, before) = (
            pixels.place(range.lowerBound), pixels.place(range.lowerBound - period * lanes / channels))
        for _ in range {
            for tap in 0..<pixels.taps
            where !areEqual(pixels.weight(place, tap), pixels.weight(before, tap))
                || (pixels.element(place, tap) - pixels.element(before, tap)) * channels != move {
                return false
            }
            pixels.advance(&place)
            pixels.advance(&before)
        }
        return true
    }

    /// Lays out the entries of windows, and where they lie: those of a vector may be those of one before it.
    func fill<Place: FixedWidthInteger, Scalar: KernelScalar>(
        _ windows: UnsafeMutablePointer<Int>, period: Int, _ places: UnsafeMutablePointer<Place>,
        _ weights: UnsafeMutablePointer<Scalar>
    ) {
        var end = 0
        for vector in 0..<vectors {
            if repeats(vector, period: period, windows, elementBytes: MemoryLayout<Scalar>.stride) {
                windows[2 * vector + 1] = windows[2 * (vector - period) + 1]
            } else {
                fill(vector, places, weights, from: windows[2 * vector], at: end)
                windows[2 * vector + 1] = end * MemoryLayout<Scalar>.stride
                end += pixels.taps * lanes
            }
        }
    }

    /// `[taps][lanes]` of a vector: elements, or places in the window from `start` on, and weights.
    @inline(never)
    func fill<Place: FixedWidthInteger, Scalar: KernelScalar>(
        _ vector: Int, _ places: UnsafeMutablePointer<Place>, _ weights: UnsafeMutablePointer<Scalar>, from start: Int?,
        at first: Int
    ) {
        guard let pixelWeights = pixels.weights?.assumingMemoryBound(to: Scalar.self) else { return }
        let begin = begin(vector)
        let (isPermuted, start) = (start != nil, start ?? 0)
        for k in 0..<pixels.taps {
            let at = first + k * lanes
            var pixel = begin / channels
            var channel = begin - pixel * channels
            var tapped = pixels.place(pixel)
            for lane in 0..<lanes {
                let place = pixels.element(tapped, k) * channels + channel - start
                places[at + lane] = isPermuted && place >= 2 * lanes
                    ? Place.min + Place(truncatingIfNeeded: place - 2 * lanes) : Place(truncatingIfNeeded: place)
                weights[at + lane] = pixelWeights[pixels.weight(tapped, k)]
                // Beyond the row's end: its last element again.
                if pixel == columns - 1, channel == channels - 1 { continue }
                channel += 1
                if channel == channels {
                    (pixel, channel) = (pixel + 1, 0)
                    pixels.advance(&tapped)
                }
            }
        }
    }
}

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
    if let doubling = plan.pointee.doubling {
        resampleDoubling(
            plan, doubling,
            inputStart.assumingMemoryBound(to: Float.self) + image * resampling.input.batch + plane * resampling.input.channel,
            rows: firstRow..<min(firstRow + plan.pointee.rowsPerBand, resampling.vertical.output),
            to: outputStart.assumingMemoryBound(to: Float.self) + image * resampling.output.batch
                + plane * resampling.output.channel,
            scratch)
        return
    }
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
    turn(
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
        turn(
            results + channel, lines: resampling.vertical.output * resampling.horizontal.output,
            count: min(planesSideBySide, count - channel), sourceLine: together,
            to: planes + channel * resampling.output.channel, targetLine: resampling.output.channel)
    }
}

/// What the columns need of a row, at least a vector of it; that begins within a pixel where the row ends too soon.
private func segment(_ table: TapTable, _ columns: Range<Int>, _ channels: Int, _ runs: Runs, _ lanes: Int) -> Segment {
    if runs.kernel != nil { return Segment(first: 0, count: max(runs.pixels * channels, lanes)) }
    let span = table.span(columns)
    let (first, count) = (span.lowerBound * channels, span.count * channels)
    if count >= lanes { return Segment(first: first, count: count) }
    return Segment(first: max(min(first, runs.pixels * channels - lanes), 0), count: lanes)
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

    let taps = plan.pointee.vertical.taps
    let runs = plan.pointee.runs
    let sources = plan.pointee.vertical.elements
    let weights = plan.pointee.vertical.weights.assumingMemoryBound(to: Scalar.self)
    let segment = plan.pointee.segments[chunk]
    let rows = scratch.assumingMemoryBound(to: UnsafePointer<Scalar>.self)
    let (blends, targets) = batchAddresses(plan, scratch, Scalar.self)
    let blended = (scratch + plan.pointee.scratch.blendedAt).assumingMemoryBound(to: Scalar.self)
    let blendedPitch = plan.pointee.scratch.blendedPitch / MemoryLayout<Scalar>.stride
    let packed = (scratch + plan.pointee.scratch.outputAt).assumingMemoryBound(to: Scalar.self)
    let packedPitch = plan.pointee.scratch.outputPitch / MemoryLayout<Scalar>.stride
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
            packPixels(
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
            let copy = BlendRowsArguments(
                count: count, rows: rows, weights: nil, taps: 1, output: target, pitch: output.row, elements: columns * channels,
                streaming: streaming)
            withUnsafePointer(to: copy) { plan.pointee.table.pointee.blendedRows($0) }
            continue
        }
        for i in 0..<count {
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

/// Output rows two by two, where both are made of the same input rows.
@inline(never)
private func resampleDoubling(
    _ plan: UnsafePointer<ResamplingPlan>, _ doubling: Doubling, _ input: UnsafePointer<Float>, rows: Range<Int>,
    to output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
    let (vertical, horizontal) = (plan.pointee.vertical, plan.pointee.horizontal)
    let strides = (input: plan.pointee.resampling.input.row, output: plan.pointee.resampling.output.row)
    let (inputs, outputs) = batchAddresses(plan, scratch, Float.self)
    let given = vertical.weights.assumingMemoryBound(to: Float.self)
    let weights = UnsafeMutableRawPointer(outputs + rowsCopied).assumingMemoryBound(to: Float.self)
    var row = rows.lowerBound
    while row < rows.upperBound {
        var pairs = 0
        while row < rows.upperBound, pairs < rowsCopied / 2 {
            let taps = vertical.elements + 2 * row
            let next = row + 1 < rows.upperBound && taps[2] == taps[0] && taps[3] == taps[1] ? row + 1 : row
            for k in 0..<2 {
                inputs[2 * pairs + k] = input + taps[k] * strides.input
                outputs[2 * pairs + k] = output + (k == 0 ? row : next) * strides.output
                weights[4 * pairs + k] = given[2 * row + k]
                weights[4 * pairs + 2 + k] = given[2 * next + k]
            }
            pairs += 1
            row = next + 1
        }
        let arguments = DoubleRowsArguments(
            inputs: inputs, outputs: outputs, rowWeights: weights, pairs: pairs,
            width: plan.pointee.resampling.horizontal.input, channels: plan.pointee.channels, first: doubling.first,
            pixels: horizontal.elements, weights: horizontal.weights.assumingMemoryBound(to: Float.self),
            places: doubling.places, step: doubling.step)
        withUnsafePointer(to: arguments) { plan.pointee.table.pointee.doubledRows?($0) }
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

/// Kernels that read whole vectors need some room behind a short row.
private func needsCopy(_ table: ColumnTable, _ channels: Int, _ columns: Int, _ lanes: Int) -> Bool {
    switch table.kind {
    case .gathered: false
    case .permuted: columns * channels < table.window
    case .pixels: channels < lanes
    }
}

func destroy(_ plan: UnsafeMutablePointer<ResamplingPlan>) {
    if let turned = plan.pointee.turned { destroy(turned) }
    if let lines = plan.pointee.lines { shim_free(lines) }
    shim_free(plan)
}
