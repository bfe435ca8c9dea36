import CConvolutionShims
import ConvolutionKernels

// Winograd's algorithm F(4x4, 3x3): a plan's weights transformed and packed, and items of work. The kernels and what they
// compute: "Winograd" in `ConvolutionKernels/README.md`.

/// What a plan for Winograd's algorithm has instead of blocks. Packed weights:
/// `[group][panel][point][input channel][output channel]`.
struct Winograd {
    /// Tiles of one image, anchored at its first output pixels.
    var tileRows: Int
    var tileColumns: Int
    /// An item's tiles: so many of all images', one after the other.
    var run: Int
    var panelChunks: Int
    var items: Int
    /// Input channels whose products form one chain of multiply-adds.
    var chunk: Int
    /// Where the first tap of output 0 reads.
    var rowStart: Int
    var columnStart: Int
    /// The input's channels lie as the transform reads them; else a tile's pixels are copied first.
    var readsInputDirectly: Bool
    /// Elements from tile to tile and from point to point of the transformed input, and from point to point of the sums.
    var channelPitch: Int
    var pointPitch: Int
    var sumPitch: Int
    /// Input and output are large: the pixels of the next tiles are fetched.
    var fetchesImages: Bool
    /// One thread's scratch memory, as byte offsets.
    var transformed = 0
    var sums = 0
    var patch = 0
    var scratch = 0
    var spare = 0
    var addresses = 0
    var chains = 0
    /// For each chain, that it is a chunk of one segment, and which: `TileArguments.order`.
    var order = 0

    var imageTiles: Int { tileRows * tileColumns }
}

/// Bytes of transformed input and sums that an item works on: as many as a level-2 cache holds, or a quarter of a large kernel's,
/// which comes from memory once per item.
private func runBytes(kernel: Int) -> Int { max(3 << 19, min(12 << 20, kernel / 4)) }

/// Input and output of so many bytes together are not in a level-2 cache any longer.
private let fetchedBytes = 2 << 20

/// Channels of a chunk of the sum over them, at most.
private let longestChunk = 64

extension Layer {
    /// Whether the caller permits the algorithm, and it is faster: a property of the layer alone, as the bits depend on it.
    var takesWinograd: Bool {
        means.permitsWinograd && hasOutput && vertical.takesWinograd && horizontal.takesWinograd && outChannelsPerGroup >= 16
            && inChannelsPerGroup >= 16 && inChannelsPerGroup <= (isDouble ? 512 : 1024)
    }
}

extension Axis {
    fileprivate var takesWinograd: Bool { kernel == 3 && stride == 1 && output >= winogradOutputs * dilation }

    /// Outputs `dilation` apart read inputs `dilation` apart: so many phases are tiled each by itself. Some have one output more.
    fileprivate var winogradPhases: (longer: Int, tilesOfLonger: Int, tiles: Int) {
        let outputs = output / dilation
        return (output % dilation, ceilDivide(outputs + 1, winogradOutputs), ceilDivide(outputs, winogradOutputs))
    }

    fileprivate var winogradTiles: Int {
        let phases = winogradPhases
        return phases.longer * phases.tilesOfLonger + (dilation - phases.longer) * phases.tiles
    }

    /// The first output of a tile.
    @inline(__always)
    fileprivate func winogradStart(_ tile: Int) -> Int {
        let phases = winogradPhases
        let isLonger = tile < phases.longer * phases.tilesOfLonger
        let tiles = isLonger ? phases.tilesOfLonger : phases.tiles
        let place = isLonger ? tile : tile - phases.longer * phases.tilesOfLonger
        return (isLonger ? 0 : phases.longer) + place / tiles + place % tiles * winogradOutputs * dilation
    }
}

/// A plan for Winograd's algorithm, without weights yet.
@_optimize(size)
func winogradDraft(_ layer: Layer, economy: Int) throws(Failure) -> Draft {
    let table = layer.isDouble ? layer.tier.float64 : layer.tier.float32
    let size = layer.elementBytes
    let inputs = layer.inChannelsPerGroup
    let tileRows = layer.vertical.winogradTiles
    let tileColumns = layer.horizontal.winogradTiles
    let tiles = try times(layer.batch, times(tileRows, tileColumns, "tiles"), "tiles")
    let panels = Panels(layer, table, tiles: tiles)
    var tallest = 1
    var widest = 1
    var shortens = true
    for index in 0..<panels.perGroup {
        let panel = panels.panel(index, layer, table)
        tallest = max(tallest, panel.kernel.rows)
        widest = max(widest, panel.width)
        if panel.shortKernel == nil { shortens = false }
    }

    // Tiles of an item: as many as the caches hold, and spread evenly over the threads, one or two items each. Where that would
    // be few, threads share them and divide the panels.
    let channelPitch = ceilDivide(inputs, table.lanes) * table.lanes
    let threads = layer.threads == 0 ? Int(shim_processor_count()) : layer.threads
    let bytes = runBytes(kernel: winogradPoints * size * inputs * panels.width / layer.groups) >> economy
    let most = max(1, bytes / (winogradPoints * size * (channelPitch + widest) * tallest)) * tallest
    let worthwhile = max(1, tiles / (2 * tallest))
    let wanted = max(ceilDivide(tiles, most), min(worthwhile, worthwhile < 4 * threads ? threads : 2 * threads))
    let share = ceilDivide(tiles, wanted > threads ? ceilDivide(wanted, threads) * threads : wanted)
    let run = min(shortens ? share : ceilDivide(share, tallest) * tallest, most)
    let runs = ceilDivide(tiles, run)
    let panelChunks = min(panels.perGroup, ceilDivide(threads, runs * layer.groups))
    // Kernels may compute more tiles than there are.
    var rows = run
    for index in 0..<panels.perGroup { rows = max(rows, panels.panel(index, layer, table).computedTiles(run)) }
    // An odd number of cache lines from point to point: else the points of a tile would crowd into a few sets of the cache.
    func pitch(_ elements: Int) -> Int { (ceilDivide(rows * elements * size, 64) | 1) * 64 / size }
    var part = Winograd(
        tileRows: tileRows, tileColumns: tileColumns, run: run, panelChunks: panelChunks,
        items: runs * layer.groups * panelChunks,
        chunk: ceilDivide(inputs, ceilDivide(inputs, longestChunk)),
        rowStart: -layer.vertical.start, columnStart: -layer.horizontal.start,
        readsInputDirectly: layer.input.channel == 1 && inputs % table.lanes == 0, channelPitch: channelPitch,
        pointPitch: pitch(channelPitch), sumPitch: pitch(widest),
        fetchesImages: tensorBytes(layer) >= Double(fetchedBytes))
    if layer.transposed {
        part.rowStart = layer.vertical.start - 2 * layer.vertical.dilation
        part.columnStart = layer.horizontal.start - 2 * layer.horizontal.dilation
    }
    var workspace = 0
    func place(_ length: Int) -> Int {
        defer { workspace += aligned(length) }
        return workspace
    }
    let pointer = MemoryLayout<UnsafeRawPointer>.stride
    part.transformed = place(winogradPoints * part.pointPitch * size)
    part.sums = place(winogradPoints * part.sumPitch * size)
    // Also the finished tile on its way to the output.
    let finished = winogradOutputs * winogradOutputs * widest
    part.patch = place(max(part.readsInputDirectly ? 0 : winogradPoints * channelPitch, finished) * size)
    part.scratch = place(winogradPoints * table.lanes * size)
    part.spare = place(widest * size)
    part.addresses = place(winogradPoints * pointer)
    part.chains = place(ceilDivide(inputs, part.chunk) * 2 * largestTileSide * pointer)
    part.order = place(ceilDivide(inputs, part.chunk) * 2 * MemoryLayout<Int32>.stride)

    // As many negative zeros as there are biases follow the weights.
    let weightElements = try plus(
        times(times(winogradPoints, inputs, "in_channels"), panels.width, "the packed kernel"), panels.width, "the packed kernel")
    let memory = try PlanMemory(panels: panels.count, blocks: 0, rows: 0, columns: 0)
    for index in 0..<panels.count { (memory.panels + index).initialize(to: panels.panel(index, layer, table)) }
    var plan = ConvolutionPlan(
        layer: layer, table: table, strategy: .channels, isWide: false, walks: false, panels: memory.panels,
        panelCount: panels.count, width: panels.width, blocks: memory.blocks, blockCount: 0, itemsPerBlock: 0,
        work: Double(tiles * winogradPoints) * Double(inputs) * Double(layer.outChannels), weights: memory.header,
        bias: memory.header, outside: memory.header, coveredRows: memory.coveredRows, coveredColumns: memory.coveredColumns,
        fullyCovered: true, mendsBorder: false, skipsOutside: false, readsInputDirectly: part.readsInputDirectly,
        workspace: WorkspaceLayout())
    plan.winograd = part
    plan.workspace.bytes = workspace
    return Draft(plan: plan, memory: memory, weightElements: weightElements)
}

extension Panel {
    /// Rows that its kernels compute for `count` tiles.
    fileprivate func computedTiles(_ count: Int) -> Int {
        let calls = ceilDivide(count, kernel.rows)
        return shortKernel.map { max(count, calls * $0.rows) } ?? calls * kernel.rows
    }

    /// The kernel for the next rows if `left` are left: the short one as soon as it suffices for all of them.
    @inline(__always)
    fileprivate func nextKernel(_ left: Int) -> TileKernel {
        if let shortKernel, left <= ceilDivide(left, kernel.rows) * shortKernel.rows { return shortKernel }
        return kernel
    }
}

private func tensorBytes(_ layer: Layer) -> Double {
    let input = Double(layer.vertical.input * layer.horizontal.input) * Double(layer.inChannels)
    let output = Double(layer.vertical.output * layer.horizontal.output) * Double(layer.outChannels)
    return (input + output) * Double(layer.batch * layer.elementBytes)
}

extension Panels {
    /// Panels of output channels for `tiles` rows of a matrix product: as wide as wastes least in the last rows.
    fileprivate init(_ layer: Layer, _ table: KernelTable, tiles: Int) {
        self.init(layer, table, .channels)
        pairs = false
        var best = Double.infinity
        var bestCount = perGroup
        var most = table.widestTile
        while most > 1, most + 1 >= table.widestTile {
            perGroup = ceilDivide(vectors, most)
            var cost = 0.0
            for index in 0..<perGroup {
                let panel = panel(index, layer, table)
                // Of two vectors or fewer, loads are as many as multiply-adds.
                cost += Double(panel.computedTiles(tiles)) * (Double(panel.kernel.vectors) + 0.5)
            }
            if cost < best { (best, bestCount) = (cost, perGroup) }
            most -= 1
        }
        perGroup = bestCount
        count = perGroup * layer.groups
    }
}

/// A tile's place.
private struct TilePlace {
    var image: Int
    var row: Int
    var column: Int

    init(_ index: Int, _ part: Winograd) {
        image = index / part.imageTiles
        row = index % part.imageTiles / part.tileColumns
        column = index % part.tileColumns
    }

    mutating func advance(_ part: Winograd) {
        column += 1
        if column < part.tileColumns { return }
        column = 0
        row += 1
        if row < part.tileRows { return }
        row = 0
        image += 1
    }
}

/// A run of tiles, one group, and some of its panels: their input transformed, then for each panel 36 matrix products, one per
/// point, transformed back and stored.
func runWinograd<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ part: Winograd, _ item: Int, _ input: UnsafePointer<Scalar>,
    _ output: UnsafeMutablePointer<Scalar>, _ workspace: UnsafeMutableRawPointer
) {
    let layer = plan.pointee.layer
    // The panel chunk runs fastest, so that threads share the input they read.
    let panelsPerGroup = plan.pointee.panelCount / layer.groups
    let chunk = item % part.panelChunks
    let group = item / part.panelChunks % layer.groups
    let firstTile = item / part.panelChunks / layer.groups * part.run
    let count = min(part.run, layer.batch * part.imageTiles - firstTile)

    transformTiles(plan, part, group, firstTile, count, input, workspace)
    let first = group * panelsPerGroup
    for index in (first + panelsPerGroup * chunk / part.panelChunks)..<(first + panelsPerGroup * (chunk + 1) / part.panelChunks) {
        multiplyPoints(plan, part, plan.pointee.panels + index, count, workspace, Scalar.self)
        finishTiles(plan, part, plan.pointee.panels + index, firstTile, count, output, workspace)
    }
}

@_optimize(size)
private func transformTiles<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ part: Winograd, _ group: Int, _ firstTile: Int, _ count: Int,
    _ input: UnsafePointer<Scalar>, _ memory: UnsafeMutableRawPointer
) {
    let layer = plan.pointee.layer
    let inputs = layer.inChannelsPerGroup
    let pixels = (memory + part.addresses).assumingMemoryBound(to: UnsafePointer<Scalar>.self)
    let outside = UnsafePointer(plan.pointee.outside.assumingMemoryBound(to: Scalar.self))
    let scratch = (memory + part.scratch).assumingMemoryBound(to: Scalar.self)
    let patch = (memory + part.patch).assumingMemoryBound(to: Scalar.self)
    var target = (memory + part.transformed).assumingMemoryBound(to: Scalar.self)
    if !part.readsInputDirectly { patch.update(repeating: 0, count: winogradPoints * part.channelPitch) }
    // The pixels some tiles further, if those are in the same row.
    let tilesAhead = ceilDivide(8 * plan.pointee.table.lanes, part.channelPitch)
    let ahead = part.fetchesImages && part.readsInputDirectly
        ? tilesAhead * winogradOutputs * layer.horizontal.dilation * layer.input.column * MemoryLayout<Scalar>.stride : 0
    var rows = InlineArray<6, Int>(repeating: 0)
    var columns = InlineArray<6, Int>(repeating: 0)
    var tile = TilePlace(firstTile, part)
    for _ in 0..<count {
        let row = layer.vertical.winogradStart(tile.row) + part.rowStart
        let column = layer.horizontal.winogradStart(tile.column) + part.columnStart
        for i in 0..<winogradInputs {
            rows[i] = readIndex(row + i * layer.vertical.dilation, layer.vertical, layer.paddingMode)
            columns[i] = readIndex(column + i * layer.horizontal.dilation, layer.horizontal, layer.paddingMode)
        }
        let image = input + tile.image * layer.input.batch + group * inputs * layer.input.channel
        for i in 0..<winogradInputs {
            for j in 0..<winogradInputs {
                pixels[i * winogradInputs + j] = rows[i] < 0 || columns[j] < 0
                    ? outside : image + rows[i] * layer.input.row + columns[j] * layer.input.column
            }
        }
        if !part.readsInputDirectly {
            packTile(
                pixels, channels: inputs, channelStride: layer.input.channel, outside: outside, pitch: part.channelPitch,
                to: patch)
            for pixel in 0..<winogradPoints { pixels[pixel] = UnsafePointer(patch + pixel * part.channelPitch) }
        }
        let arguments = WinogradInputArguments(
            pixels: pixels, vectors: part.channelPitch / plan.pointee.table.lanes, scratch: scratch, target: target,
            pointPitch: part.pointPitch, ahead: ahead)
        withUnsafePointer(to: arguments) { plan.pointee.table.transformInput($0) }
        target += part.channelPitch
        tile.advance(part)
    }
}

/// The input index that stands at `index`, or -1 outside. A tile may reach beyond the last output's taps, and read there what no
/// output depends on.
@inline(__always)
private func readIndex(_ index: Int, _ axis: Axis, _ mode: BorderMode) -> Int {
    if UInt(bitPattern: index) < UInt(bitPattern: axis.input) { return index }
    // Within what the padding permits: not beyond the last tap of the last output.
    guard index < axis.output + 2 * axis.dilation - axis.start, let place = borderIndex(index, axis.input, mode) else {
        return -1
    }
    return place
}

/// sums[point][tile][output channel] = transformed[point][tile] times the panel's weights at that point
@_optimize(size)
private func multiplyPoints<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ part: Winograd, _ panel: UnsafePointer<Panel>, _ count: Int,
    _ memory: UnsafeMutableRawPointer, _: Scalar.Type
) {
    let inputs = plan.pointee.layer.inChannelsPerGroup
    let tallest = panel.pointee.kernel.rows
    let width = panel.pointee.width
    let chains = (memory + part.chains).assumingMemoryBound(to: UnsafePointer<Scalar>.self)
    let transformed = UnsafePointer((memory + part.transformed).assumingMemoryBound(to: Scalar.self))
    let sums = (memory + part.sums).assumingMemoryBound(to: Scalar.self)
    let bias = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self))
    let whole = inputs / part.chunk
    let order = (memory + part.order).assumingMemoryBound(to: Int32.self)
    let all = ceilDivide(inputs, part.chunk)
    for chain in 0..<all {
        func layOut(_ rows: Int, _ chains: UnsafeMutablePointer<UnsafePointer<Scalar>>) {
            for r in 0..<rows { chains[chain * rows + r] = transformed + r * part.channelPitch + chain * part.chunk }
        }
        layOut(tallest, chains)
        if let short = panel.pointee.shortKernel { layOut(short.rows, chains + all * tallest) }
        // Each chain is one chunk.
        order[chain * 2] = 1
        order[chain * 2 + 1] = Int32(truncatingIfNeeded: chain)
    }
    var weights = UnsafePointer(plan.pointee.weights.assumingMemoryBound(to: Scalar.self))
        + panel.pointee.offset * winogradPoints * inputs
    // While a point's tiles are multiplied, the next point's weights are fetched: most of them, or none.
    let weightBytes = inputs * width * MemoryLayout<Scalar>.stride
    let fetches = ceilDivide(count, tallest) * inputs
    let aheadStep = fetches * 128 < weightBytes ? 0 : min(64, ceilDivide(weightBytes, fetches))
    for point in 0..<winogradPoints {
        var tile = 0
        var ahead = UnsafeRawPointer(weights) + (aheadStep > 0 ? weightBytes : 0)
        while tile < count {
            let kernel = panel.pointee.nextKernel(count - tile)
            let runs = UnsafePointer(kernel.rows == tallest ? chains : chains + all * tallest)
            var arguments = TileArguments(
                runs: runs, channelOffset: point * part.pointPitch + tile * part.channelPitch, channelPitch: 1,
                order: UnsafePointer(order), chunks: whole, segments: whole, length: part.chunk, segmentsPerChunk: 1,
                panel: weights, ahead: ahead, aheadStep: aheadStep, tile: sums + point * part.sumPitch + tile * width,
                continues: false, outputs: nil, outputOffset: 0, rows: 0, outputPitch: 0, bias: bias, low: 0, high: 0)
            withUnsafePointer(to: arguments) { kernel.accumulate($0) }
            if inputs > whole * part.chunk {
                arguments.runs = runs + whole * kernel.rows
                arguments.chunks = 1
                arguments.length = inputs - whole * part.chunk
                arguments.panel = weights + whole * part.chunk * width
                arguments.continues = true
                arguments.ahead += whole * part.chunk * aheadStep
                withUnsafePointer(to: arguments) { kernel.accumulate($0) }
            }
            tile += kernel.rows
            ahead += inputs * aheadStep
        }
        weights += inputs * width
    }
}

@_optimize(size)
private func finishTiles<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ part: Winograd, _ panel: UnsafePointer<Panel>, _ firstTile: Int, _ count: Int,
    _ output: UnsafeMutablePointer<Scalar>, _ memory: UnsafeMutableRawPointer
) {
    let layer = plan.pointee.layer
    let width = panel.pointee.width
    let bias = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self)) + panel.pointee.offset
    let activation = layer.activation.converted(to: Scalar.self)
    let bounds = activation.bounds
    // Bounds are part of the transform, which stores whole vectors of neighbouring channels.
    let isBounded = bounds != nil && !layer.means.accumulates
    let isDirect = isBounded && layer.output.channel == 1 && panel.pointee.channels == width
    let values = (memory + part.patch).assumingMemoryBound(to: Scalar.self)
    let spare = (memory + part.spare).assumingMemoryBound(to: Scalar.self)
    let scratch = (memory + part.scratch).assumingMemoryBound(to: Scalar.self)
    let places = (memory + part.addresses).assumingMemoryBound(to: UnsafeMutablePointer<Scalar>.self)
    var sums = (memory + part.sums).assumingMemoryBound(to: Scalar.self)
    let rowStride = layer.output.row * layer.vertical.dilation
    let columnStride = layer.output.column * layer.horizontal.dilation
    // The pixels of the next tile, if that is in the same row.
    let ahead = part.fetchesImages && isDirect ? winogradOutputs * columnStride * MemoryLayout<Scalar>.stride : 0
    var tile = TilePlace(firstTile, part)
    for _ in 0..<count {
        let row = layer.vertical.winogradStart(tile.row)
        let column = layer.horizontal.winogradStart(tile.column)
        let rows = min(winogradOutputs, ceilDivide(layer.vertical.output - row, layer.vertical.dilation))
        let columns = min(winogradOutputs, ceilDivide(layer.horizontal.output - column, layer.horizontal.dilation))
        let corner = output + tile.image * layer.output.batch + row * layer.output.row + column * layer.output.column
            + panel.pointee.firstChannel * layer.output.channel
        for i in 0..<winogradOutputs {
            for j in 0..<winogradOutputs {
                let pixel = i * winogradOutputs + j
                places[pixel] = !isDirect ? values + pixel * width
                    : i < rows && j < columns ? corner + i * rowStride + j * columnStride : spare
            }
        }
        let arguments = WinogradOutputArguments(
            sums: UnsafePointer(sums), pointPitch: part.sumPitch, vectors: panel.pointee.kernel.vectors, scratch: scratch,
            outputs: UnsafePointer(places), bias: isBounded ? bias : bias - plan.pointee.width,
            low: isBounded ? bounds?.low ?? 0 : -.infinity, high: isBounded ? bounds?.high ?? 0 : .infinity,
            ahead: ahead)
        withUnsafePointer(to: arguments) { plan.pointee.table.transformOutput($0) }
        if isBounded, !isDirect {
            unpackTile(
                values, pitch: width, channels: panel.pointee.channels, rows: rows, columns: columns, to: corner,
                rowStride: rowStride, columnStride: columnStride, channelStride: layer.output.channel)
        } else if !isBounded {
            for i in 0..<rows {
                for j in 0..<columns { places[j] = corner + i * rowStride + j * columnStride }
                let arguments = EpilogueArguments(
                    tile: values + i * winogradOutputs * width, rows: columns, lanes: width, channels: panel.pointee.channels,
                    bias: bias, outputs: UnsafePointer(places), channelStride: layer.output.channel, activation: activation,
                    accumulates: layer.means.accumulates)
                withUnsafePointer(to: arguments) { plan.pointee.table.finish($0) }
            }
        }
        sums += width
        tile.advance(part)
    }
}
