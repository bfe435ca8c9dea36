import CConvolutionShims
import ConvolutionKernels

// Plans of upsample2d: their tables of taps, how rows are resampled, how the work is divided.

/// A thread's scratch memory, in bytes.
struct ScratchLayout {
    /// Output rows that are made together.
    var batch = 0
    /// `[batch][taps]` addresses of the rows that make an output row, then `[rowsCopied]` of their blends and as many of where
    /// those go. At the beginning, a window at least: it may begin before the blended rows.
    var blendedAt = 0
    var blendedPitch = 0
    /// `[batch]` parts of output rows, where the output cannot be written in whole vectors.
    var outputAt = 0
    var outputPitch = 0
    /// `[taps]` parts of input rows, where the input cannot be read in whole vectors, and the numbers of those rows.
    var inputAt = 0
    var inputPitch = 0
    var heldAt = 0
    var bytes = 0
}

/// The elements of a blended row that a chunk needs, a vector at least.
struct Segment {
    var first: Int
    var count: Int
}

/// What the blended rows and the table of columns together may take of a level-1 cache: the table is larger than the rows.
private let nearBytes = 32 << 10

/// Vectors of input that a kernel permutes together at most.
let widestWindow = 4

/// What a vector takes whose elements no window holds.
private let halfCyclesToGather = 44

/// Input columns from which on those of the output are made two by two: the first and the last are computed one by one
/// (bilinear; copies are two by two throughout).
private let leastDoubled = 48
/// Of outputs that are doubled though they are stored across cache lines: `suitsDoubling`. Measured in floats by AVX-512, 48x48 to
/// 200x200: nearest on 3 and 5 channels 1.2 to 1.4 times as long, bilinear on 1 to 5 channels 1.0 to 1.5 times.
private let mostCopiedBytes = 1 << 15
private let leastBlendedBytes = 2 << 20
/// Of the output, in an item.
private let leastRowsDoubled = 32

/// What pixels that need no blended rows may take of a level-2 cache.
private let directBytes = 384 << 10

/// Outputs of this many bytes are written past the caches. That saves reading the lines first, and the level-3 cache for others;
/// a smaller output may be found in that cache by what comes next.
private let streamedBytes = 24 << 20

/// What planes that are turned into pixels may take of a level-2 cache.
private let turnedBytes = 512 << 10

/// What is left of the memory that a plan and its tables share.
struct PlanRoom {
    var next: UnsafeMutableRawPointer

    mutating func take(_ bytes: Int) -> UnsafeMutableRawPointer {
        defer { next += aligned(bytes) }
        return next
    }

    mutating func takeIntegers(_ count: Int) -> UnsafeMutablePointer<Int> {
        take(count * MemoryLayout<Int>.stride).bindMemory(to: Int.self, capacity: count)
    }
}

struct TapCounts {
    var rows: Int
    var columns: Int
}

/// The most taps that an element of an axis has.
private func mostTaps(_ resampling: Resampling, _ axis: ResamplingAxis) -> Int {
    resampling.method.needsDouble(forDouble: resampling.isDouble)
        ? AxisTaps<Double>(axis, resampling.method).most() : AxisTaps<Float>(axis, resampling.method).most()
}

/// The same for both; tables that memory cannot hold are refused before.
private func mostTaps(_ resampling: Resampling) throws(Failure) -> TapCounts {
    if !resampling.hasOutput { return TapCounts(rows: 1, columns: 1) }
    try checkMemory(
        resampling.vertical.output + resampling.horizontal.output, of: MemoryLayout<Int>.stride + resampling.elementBytes,
        "the plan")
    return TapCounts(rows: mostTaps(resampling, resampling.vertical), columns: mostTaps(resampling, resampling.horizontal))
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

/// The tables of both axes.
struct AxisTables {
    var vertical: TapTable
    var horizontal: TapTable
    /// To be freed; it begins with `header` bytes for others.
    var memory: UnsafeMutableRawPointer
    var bytes: Int
    /// Behind the tables.
    var room: PlanRoom

    init(_ resampling: Resampling) throws(Failure) {
        try self.init(resampling, mostTaps(resampling), turned: nil, header: 0, room: 0)
    }

    fileprivate init(
        _ resampling: Resampling, _ taps: TapCounts, turned: (vertical: TurnedTable, horizontal: TurnedTable)?, header: Int,
        room more: Int
    ) throws(Failure) {
        let size = resampling.elementBytes
        let rowEntries = resampling.hasOutput ? try times(resampling.vertical.output, taps.rows, "the plan") : 0
        let columnEntries = resampling.hasOutput ? try times(resampling.horizontal.output, taps.columns, "the plan") : 0
        let entries = try plus(rowEntries, columnEntries, "the plan")
        bytes = try plus(
            times(entries, MemoryLayout<Int>.stride + size, "the plan"), plus(more, header + 256, "the plan"), "the plan")
        memory = try allocate(bytes, of: 1, "the plan")
        room = PlanRoom(next: memory + header)
        vertical = TapTable(
            taps: taps.rows, inside: 0..<0, elements: room.takeIntegers(rowEntries), weights: room.take(rowEntries * size))
        horizontal = TapTable(
            taps: taps.columns, inside: 0..<0, elements: room.takeIntegers(columnEntries),
            weights: room.take(columnEntries * size))
        if let turned {
            turned.vertical.fill(&vertical)
            turned.horizontal.fill(&horizontal)
        } else if resampling.hasOutput {
            fillTaps(&vertical, resampling, resampling.vertical)
            fillTaps(&horizontal, resampling, resampling.horizontal)
        }
    }
}

/// How rows can be resampled, and what tables that takes, as far as the numbers of taps say.
private struct RowShape {
    /// Vectors of at least two pixels hold whole rows; else each pixel begins a vector.
    var byColumns: Bool
    /// Of a row, if vectors hold rows.
    var vectors: Int
    /// Pixels can be made of the input without blended rows between them.
    var isDirectPixel: Bool
    /// Columns tap few pixels: only these may be blended, if that takes less time than all of the row and fetching them there.
    var mayBeSparse: Bool
    var runVectors: Int
    var laneEntries: Int
    var segmentEntries: Int
    var bytes: Int

    init(_ resampling: Resampling, _ taps: TapCounts) throws(Failure) {
        let (lanes, size, channels) = (resampling.table.lanes, resampling.elementBytes, resampling.pixelChannels)
        let (width, copies) = (resampling.horizontal.input, resampling.method.copies)
        let columns = resampling.hasOutput ? resampling.horizontal.output : 0
        byColumns = 2 * channels <= lanes
        vectors = byColumns ? ceilDivide(columns * channels, lanes) : 0
        isDirectPixel = !byColumns && (copies || channels >= lanes && taps.rows == 2 && taps.columns == 2)
        mayBeSparse = !resampling.packsInput && !copies && !isDirectPixel && columns > 0 && width / taps.columns >= columns
            && width * channels >= taps.columns * channels + lanes
        runVectors = mayBeSparse ? ceilDivide(taps.columns * channels, resampling.narrowTable.lanes) : 0
        laneEntries = try times(vectors * lanes, taps.columns, "the plan")
        segmentEntries = 2 * ceilDivide(columns, lanes)
        let runEntries = mayBeSparse ? try times(columns, taps.columns + 2 * runVectors, "the plan") : 0
        let entries = try plus(laneEntries, 2 * vectors + segmentEntries + runEntries, "the plan")
        bytes = try plus(times(entries, MemoryLayout<Int>.stride + size, "the plan"), 1280, "the plan")
    }
}

/// What rows need, and lines where there may be any.
private func shapes(
    _ resampling: Resampling, _ taps: TapCounts, mayTurn: Bool, threads: Int
) throws(Failure) -> (RowShape, LineShape?) {
    let row = try RowShape(resampling, taps)
    let mayBeLines = mayTurn && resampling.hasOutput && !resampling.streams
        && (!row.mayBeSparse || resampling.horizontal.input * resampling.pixelChannels <= 8 * resampling.table.lanes)
    return (row, mayBeLines ? LineShape(resampling, taps, threads: threads) : nil)
}

/// With `tables` instead of what the axes and the method say. `isOnce`: for one execution, which tables must be worth.
func createPlan(
    _ resampling: Resampling, tables: (vertical: TurnedTable, horizontal: TurnedTable)? = nil, mayTurn: Bool = true,
    isOnce: Bool = false
) throws(Failure) -> UnsafeMutablePointer<ResamplingPlan> {
    let taps: TapCounts
    if let tables {
        taps = TapCounts(rows: tables.vertical.taps, columns: tables.horizontal.taps)
    } else {
        taps = try mostTaps(resampling)
    }
    let arrays = try resampling.arrays
    let threads = threadsAvailable(requested: resampling.threads)
    var resampling = resampling
    let (channels, lanes) = (resampling.pixelChannels, resampling.table.lanes)
    if channels < lanes, 2 * channels > lanes, resampling.method.copies || taps.rows == 2 && taps.columns == 2 {
        // Pixels of half a vector and more go to their place at once as two of the narrower vectors, which overlap.
        resampling.tier = resampling.tier.narrow
    } else if resampling.streams,
        (2 * channels <= lanes ? resampling.horizontal.output * channels : channels) % lanes == lanes / 2 {
        // What is aligned to the narrower vectors alone can be written past the caches by them without a copy.
        resampling.tier = resampling.tier.narrow
    }
    var (rowShape, lineShape) = try shapes(resampling, taps, mayTurn: mayTurn, threads: threads)
    let rowElements = resampling.horizontal.input * channels
    if rowElements < resampling.table.lanes, 2 * rowElements >= resampling.table.lanes, lineShape == nil,
        resampling.planes < lanes {
        // A row that is not a whole vector would be copied each time; one of the narrower vectors is read where it lies.
        resampling.tier = resampling.tier.narrow
        (rowShape, lineShape) = try shapes(resampling, taps, mayTurn: mayTurn, threads: threads)
    }

    var given = try AxisTables(
        resampling, taps, turned: tables, header: aligned(MemoryLayout<ResamplingPlan>.size),
        room: max(rowShape.bytes, lineShape?.bytes ?? 0))
    var isMade = false
    defer { if !isMade { shim_free(given.memory) } }
    var made = ResamplingPlan(resampling, arrays, given)
    if mayTurn { made.findDoubling(rowShape, threads: threads, &given.room) }
    // Copies go by lines if there are any, unless their tables would be made for one execution.
    if made.doubling == nil || resampling.method.copies && !isOnce, let lineShape {
        made.lines = LinePlan.create(lineShape, made, threads: threads, isOnce: isOnce, given.room)
    }
    if let lines = made.lines {
        made.doubling = nil
        (made.items, made.scratch.bytes) = (lines.pointee.items, lines.pointee.scratchBytes)
    } else if made.doubling == nil {
        try made.divide(rowShape, threads: threads, &given.room)
        if mayTurn { try made.turnPlanes(tables, threads: threads) }
    }
    let plan = given.memory.bindMemory(to: ResamplingPlan.self, capacity: 1)
    plan.initialize(to: made)
    isMade = true
    return plan
}

extension Resampling {
    var table: UnsafePointer<KernelTable> { isDouble ? tier.float64 : tier.float32 }
    /// Of the narrower vectors that runs are blended by.
    fileprivate var narrowTable: UnsafePointer<KernelTable> { isDouble ? tier.narrow.float64 : tier.narrow.float32 }

    /// Channels that are neighbours in memory. Where they are not, each is a plane of its own: a picture of one channel.
    var pixelChannels: Int { input.channel == 1 && output.channel == 1 ? channels : 1 }
    var planes: Int { input.channel == 1 && output.channel == 1 ? 1 : channels }
    fileprivate var packsInput: Bool {
        input.column != pixelChannels || horizontal.input * pixelChannels < table.lanes
    }

    fileprivate var streams: Bool {
        !method.extrapolates
            && Double(batch * channels) * Double(vertical.output) * Double(horizontal.output * elementBytes)
                >= Double(streamedBytes)
    }
}

extension ResamplingPlan {
    /// With nothing but the tables of taps.
    fileprivate init(_ resampling: Resampling, _ arrays: Arrays, _ tables: AxisTables) {
        (self.resampling, self.arrays, table) = (resampling, arrays, resampling.table)
        (planes, channels) = (resampling.planes, resampling.pixelChannels)
        (vertical, horizontal, blended) = (tables.vertical, tables.horizontal, tables.horizontal)
        (packs, streams, bytes) = (resampling.packsInput, resampling.streams, tables.bytes)
        runs = Runs(places: horizontal.elements, pixels: resampling.horizontal.input)
        columns = ColumnTable(
            kind: .pixels, window: 0, sources: horizontal.elements, places: horizontal.weights, weights: horizontal.weights)
        segments = tables.memory.assumingMemoryBound(to: Segment.self)
    }

    /// Doubled columns are stored across cache lines, but for copies of pixels that divide a vector. Where that takes twice the
    /// time, the output is sooner made by vectors of its own: copies, unless they are soon done; what is blended, as long as it
    /// stays in a near cache.
    private var suitsDoubling: Bool {
        if shim_is_intel() == 0 { return true }
        let rows = resampling.batch * planes * resampling.vertical.output
        let bytes = rows * resampling.horizontal.output * channels * resampling.elementBytes
        return resampling.method.copies ? table.lanes % channels == 0 || bytes < mostCopiedBytes : bytes >= leastBlendedBytes
    }

    fileprivate mutating func findDoubling(_ shape: RowShape, threads: Int, _ room: inout PlanRoom) {
        let copies = resampling.method.copies
        guard resampling.hasOutput, suitsDoubling, shape.byColumns, vertical.taps == (copies ? 1 : 2),
            table.pointee.doubledRows != nil,
            !streams, !resampling.accumulates, !resampling.method.extrapolates, resampling.input.column == channels,
            resampling.output.column == channels, copies || resampling.horizontal.input >= leastDoubled
        else { return }
        doubling = Doubling(
            horizontal, copies: copies, width: resampling.horizontal.input, columns: resampling.horizontal.output,
            channels: channels, lanes: table.lanes, room.take(4 * table.lanes * resampling.elementBytes))
        if doubling == nil { return }
        // Rows of all pictures: threads should find some items each. At the ends of an item a row may lack its neighbour.
        let rows = resampling.batch * planes * resampling.vertical.output
        rowsPerBand = threads == 1 ? rows : max(ceilDivide(rows, 16 * threads) * 2, leastRowsDoubled)
        items = ceilDivide(rows, rowsPerBand)
        scratch.bytes = 2 * rowsCopied * (MemoryLayout<Int>.stride + resampling.elementBytes)
    }

    /// Rows by themselves: tables, chunks, bands, scratch memory.
    fileprivate mutating func divide(_ shape: RowShape, threads: Int, _ room: inout PlanRoom) throws(Failure) {
        let (lanes, size) = (table.lanes, resampling.elementBytes)
        let (copies, byColumns) = (resampling.method.copies, shape.byColumns)
        let (rows, columns) = resampling.hasOutput ? (resampling.vertical.output, resampling.horizontal.output) : (0, 0)
        let (rowTaps, columnTaps) = (vertical.taps, horizontal.taps)
        let permutes = table.pointee.permutedColumns != nil
        func filler(lastChunk: Int) -> ColumnFiller {
            ColumnFiller(
                pixels: PixelTaps(vertical: nil, horizontal: blended, width: columns, inputWidth: 0, elementBytes: size),
                columns: columns, channels: channels, lanes: lanes, vectors: shape.vectors, lastChunk: lastChunk,
                rowElements: runs.pixels * channels, copies: copies)
        }
        let windows = room.takeIntegers(2 * shape.vectors)
        if shape.mayBeSparse {
            let elements = room.takeIntegers(columns * columnTaps)
            let narrow = resampling.narrowTable
            var found = runs
            found.places = room.takeIntegers(2 * shape.runVectors * columns)
            found.find(
                horizontal, columns: columns, channels: channels, lanes: narrow.lanes, width: shape.runVectors * narrow.lanes,
                elementBytes: size, elements)
            // Half cycles, measured: what lies between the tapped pixels is in the cache lines that are read.
            let whole = ceilDivide(horizontal.span(0..<columns).count * channels, lanes) * (2 * rowTaps + 2)
            let gathers = byColumns && permutes
                && filler(lastChunk: 0).fillWindows(windows, most: widestWindow, periods: (.max, .max)) == nil
            if found.count * (9 * rowTaps / 2 - 2) < whole + (gathers ? shape.vectors * columnTaps * halfCyclesToGather : 0) {
                found.kernel = narrow.pointee.blendedRuns
                runs = found
                blended.elements = elements
            }
        }

        // Chunks of whole vectors, so many columns that the blended rows stay in a cache.
        // Of rows whose vectors take windows of four: these are permuted one by one, and half as many make longer chunks.
        let isFar = !copies && !resampling.method.antialias && 2 * columns < resampling.horizontal.input
        let batch = !byColumns ? 1 : isFar ? 2 : rowsTogether
        let pixelBytes = max(channels, 1) * size
        let blendedColumns = ceilDivide(batch * resampling.horizontal.input, max(columns, 1))
        // From one vector on to the next whose pixels lie alike, if the scale is that of the sizes and weights are not rounded.
        let outputPeriod = columns / max(greatestCommonDivisor(columns, resampling.horizontal.input), 1)
        let period = outputPeriod * channels / greatestCommonDivisor(outputPeriod * channels, lanes)
        let columnBytes = pixelBytes * (shape.isDirectPixel ? 1 : copies
            ? 2 : blendedColumns + (byColumns && period > 4 ? 2 * columnTaps : 0))
        // Rows that are not aligned are streamed by way of a near cache.
        let isDirect = shape.isDirectPixel && !(streams && channels % lanes > 0)
        let chunkColumns = max((isDirect ? directBytes : nearBytes) / columnBytes / lanes * lanes, lanes)
        let chunksWanted = runs.kernel != nil ? 1 : max(ceilDivide(columns, chunkColumns), 1)
        columnsPerChunk = max(ceilDivide(ceilDivide(columns, chunksWanted), lanes), 1) * lanes
        chunks = ceilDivide(columns, columnsPerChunk)

        // Without channels there is no vector, and a pixel has no part of one.
        if shape.vectors > 0 {
            // Permuted, the entries of `places` are shorter than those of `sources` else.
            let places = room.take(shape.laneEntries * MemoryLayout<Int>.stride)
            let weights = room.take(shape.laneEntries * size)
            let filler = filler(lastChunk: max(chunks - 1, 0) * columnsPerChunk)
            if let window = permutes
                ? filler.fillWindows(windows, most: copies ? 2 : widestWindow, periods: (period, .max)) : nil {
                self.columns = filler.fill(windows, window: window, isDouble: resampling.isDouble, places, weights)
            } else {
                self.columns = filler.fillGathered(isDouble: resampling.isDouble, places, weights)
            }
        }
        direct = !resampling.accumulates && !resampling.method.extrapolates && resampling.input.column == channels
            && !needsCopy && (copies || shape.isDirectPixel)

        // Threads should find some bands each.
        let others = resampling.batch * planes * max(chunks, 1)
        let bandsWanted = max(ceilDivide(8 * threads, max(others, 1)), 1)
        rowsPerBand = max(ceilDivide(ceilDivide(rows, bandsWanted), batch), 1) * batch
        rowBands = ceilDivide(rows, rowsPerBand)
        items = others * rowBands

        // Room for what kernels write and read in whole vectors.
        segments = room.takeIntegers(shape.segmentEntries).withMemoryRebound(to: Segment.self, capacity: chunks) { $0 }
        var widest = lanes
        for chunk in 0..<chunks {
            let first = chunk * columnsPerChunk
            segments[chunk] = segment(first..<min(first + columnsPerChunk, columns))
            widest = max(widest, segments[chunk].count)
        }
        let blendedPitch = aligned(try times(widest + (widestWindow + shape.runVectors) * lanes, size, "the workspace"))
        let outputPitch = aligned((columnsPerChunk * channels + lanes) * size)
        let rowAddresses = try times(batch, rowTaps, "the workspace")
        let addresses = try times(rowAddresses + 4 * rowsCopied, MemoryLayout<Int>.stride, "the workspace")
        scratch = ScratchLayout(
            batch: batch, blendedAt: aligned(max(addresses, widestWindow * lanes * size)), blendedPitch: blendedPitch,
            outputPitch: outputPitch, inputPitch: blendedPitch)
        scratch.outputAt = try plus(scratch.blendedAt, times(batch, blendedPitch, "the workspace"), "the workspace")
        scratch.inputAt = scratch.outputAt + batch * outputPitch
        scratch.heldAt = try plus(scratch.inputAt, times(packs ? rowTaps : 0, blendedPitch, "the workspace"), "the workspace")
        scratch.bytes = scratch.heldAt + aligned(rowTaps * MemoryLayout<Int>.stride)
    }

    /// What the columns need of a row, at least a vector of it; that begins within a pixel where the row ends too soon.
    private func segment(_ columns: Range<Int>) -> Segment {
        let lanes = table.lanes
        if runs.kernel != nil { return Segment(first: 0, count: max(runs.pixels * channels, lanes)) }
        let span = blended.span(columns)
        let (first, count) = (span.lowerBound * channels, span.count * channels)
        if count >= lanes { return Segment(first: first, count: count) }
        return Segment(first: max(min(first, runs.pixels * channels - lanes), 0), count: lanes)
    }

    /// Kernels that read whole vectors need some room behind a short row.
    private var needsCopy: Bool {
        switch columns.kind {
        case .gathered: false
        case .permuted: resampling.horizontal.input * channels < columns.window
        case .pixels: channels < table.lanes
        }
    }

    /// Short rows of planes.
    fileprivate mutating func turnPlanes(
        _ tables: (vertical: TurnedTable, horizontal: TurnedTable)?, threads: Int
    ) throws(Failure) {
        let (size, lanes) = (resampling.elementBytes, table.lanes)
        let (rows, columns) = (resampling.vertical.output, resampling.horizontal.output)
        let area = resampling.vertical.input * resampling.horizontal.input + rows * columns
        guard resampling.hasOutput, packs, planes >= lanes, area * lanes * size <= turnedBytes, !resampling.accumulates,
            resampling.input.row == resampling.horizontal.input, resampling.output.row == columns,
            resampling.input.column == 1, resampling.output.column == 1
        else { return }
        let most = min(turnedBytes / (area * size), 64, ceilDivide(planes, max(threads / max(resampling.batch, 1), 1)))
        let count = min(max(most / lanes, 1) * lanes, planes)
        var pixels = resampling
        (pixels.batch, pixels.channels, pixels.threads) = (1, count, 1)
        pixels.input = pixels.inputShape.packed(channelsFirst: false)
        pixels.output = pixels.outputShape.packed(channelsFirst: false)
        let made = try createPlan(pixels, tables: tables)
        turned = made
        scratch.bytes = aligned(made.pointee.scratch.bytes + area * count * size)
        items = resampling.batch * ceilDivide(planes, count)
    }
}

func destroy(_ plan: UnsafeMutablePointer<ResamplingPlan>) {
    if let turned = plan.pointee.turned { destroy(turned) }
    shim_free(plan)
}
