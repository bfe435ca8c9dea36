import CConvolutionShims
import ConvolutionKernels

// Executes a plan: items of work, each a band of output pixels times some panels of output channels. Per tile of pixels the taps'
// addresses are laid out once and every panel's tile kernel reads them.

/// One execution, shared by its threads.
struct Execution {
    var plan: UnsafePointer<ConvolutionPlan>
    var input: UnsafeRawPointer
    var output: UnsafeMutableRawPointer
    var workspace: UnsafeMutableRawPointer
    var threads: Int
    /// What the border held before, where it is mended and added to: see `borderBefore`.
    var before: UnsafeMutableRawPointer? = nil
}

/// The bytes of the arguments must be there, and the output's must not meet the others'.
func checkArguments(
    _ layer: Layer, input: UnsafeRawPointer?, kernel: UnsafeRawPointer?, bias: UnsafeRawPointer?, output: UnsafeRawPointer?
) throws(Failure) {
    let bytes = layer.elementBytes
    let written = try layer.arrays.check(input, "input", output, "output")
    try checkApart(written, extent(kernel, bytes: layer.kernelElements * bytes), "kernel")
    try checkApart(written, extent(bias, bytes: layer.outChannels * bytes), "bias")
}

@inline(never)
@_optimize(speed)
func execute(_ plan: UnsafePointer<ConvolutionPlan>, input: UnsafeRawPointer?, output: UnsafeMutableRawPointer?) throws(Failure) {
    guard let output, plan.pointee.layer.hasOutput else { return }
    let threads = plan.pointee.executionThreads
    // With no blocks there is nothing to read and the input may be NULL.
    var execution = Execution(
        plan: plan, input: input ?? UnsafeRawPointer(output), output: output, workspace: output, threads: threads)
    if plan.pointee.mendsBorder, plan.pointee.layer.means.accumulates {
        execution.before = try borderBefore(execution)
    }
    defer { if let before = execution.before { shim_free(before) } }
    try withWorkspace(threads, of: plan.pointee.workspace.bytes, &execution) { execute($0, $1) }
}

@_optimize(speed)
private func execute(_ shared: UnsafeMutableRawPointer?, _ workspace: UnsafeMutableRawPointer?) {
    guard let shared, let workspace else { return }
    let execution = shared.assumingMemoryBound(to: Execution.self)
    execution.pointee.workspace = workspace
    let plan = execution.pointee.plan
    let isDouble = plan.pointee.layer.isDouble
    // Of no block there is one item, which fills the output.
    runThreads(
        execution.pointee.threads, items: max(plan.pointee.items, 1), work: plan.pointee.work,
        isDouble ? { work($0, Double.self) } : { work($0, Float.self) }, shared: shared)
    if plan.pointee.mendsBorder {
        isDouble ? mendBorder(execution.pointee, Double.self) : mendBorder(execution.pointee, Float.self)
    }
}

@_optimize(speed)
private func work<Scalar: KernelScalar>(_ raw: UnsafeMutableRawPointer?, _: Scalar.Type) {
    guard let raw else { return }
    let context = raw.assumingMemoryBound(to: ThreadContext.self).pointee
    let execution = context.shared.assumingMemoryBound(to: Execution.self)
    let plan = execution.pointee.plan
    let workspace = execution.pointee.workspace + context.number * plan.pointee.workspace.bytes
    let input = execution.pointee.input.assumingMemoryBound(to: Scalar.self)
    let output = execution.pointee.output.assumingMemoryBound(to: Scalar.self)
    let items = plan.pointee.items
    while let item = context.nextItem() {
        if !plan.pointee.fullyCovered, !plan.pointee.algorithm.isTurned {
            fillUncovered(plan, part: item, of: max(items, 1), output, workspace)
        }
        if items == 0 { return }
        switch plan.pointee.algorithm {
        case .blocks:
            // Phases take turns: they read the same rows, and what they write interleaves.
            var part = item
            let block = plan.pointee.blocks + takeRemainder(&part, dividingBy: plan.pointee.blockCount)
            if part < block.pointee.items { runItem(plan, block, part, input, output, workspace) }
        case .winograd(let part): runWinograd(plan, part, item, input, output, workspace)
        case .products(let part): runProducts(plan, part, item, input, output, workspace)
        case .turned(let part): runTurned(plan, part, item, input, output, workspace)
        case .expanded(let part): runExpanded(plan, part, item, input, output, workspace)
        }
    }
}

/// The quotient in place of `number`. Of small layers most divisors are 1.
@inline(__always)
private func takeRemainder(_ number: inout Int, dividingBy divisor: Int) -> Int {
    if divisor == 1 { return 0 }
    let (quotient, remainder) = number.quotientAndRemainder(dividingBy: divisor)
    number = quotient
    return remainder
}

/// What an item of a block computes: some rows (of all images from `image` on, or of that one) and columns of its outputs, some
/// channels.
struct Portion {
    var image = 0
    var rows: Range<Int>
    var columns: Range<Int>
    var panels: Range<Int>
    /// Of the block that comes next.
    var nextPanel: Int
}

extension Portion {
    /// Its rows within each image: those of a band may go on from one to the next.
    @inline(__always)
    func forEachImage(
        _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ body: (_ image: Int, _ rows: Range<Int>) -> Void
    ) {
        let height = block.pointee.vertical.count
        var (image, rows) = (image, rows)
        if plan.pointee.spansImages {
            image = rows.lowerBound / height
            rows = rows.lowerBound - image * height..<rows.upperBound - image * height
        }
        while !rows.isEmpty {
            body(image, rows.lowerBound..<min(rows.upperBound, height))
            image += 1
            rows = 0..<max(0, rows.upperBound - height)
        }
    }
}

@_optimize(speed)
func runItem(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ item: Int, _ input: UnsafeRawPointer,
    _ output: UnsafeMutableRawPointer, _ workspace: UnsafeMutableRawPointer
) {
    // Which item: the panel chunk runs fastest, so that threads share the input they read.
    var rest = item
    let panels = block.pointee.panels(takeRemainder(&rest, dividingBy: block.pointee.panelChunks), of: plan.pointee)
    let columns = block.pointee.columns(band: takeRemainder(&rest, dividingBy: block.pointee.columnBands))
    let rows = plan.pointee.rows(of: block.pointee, band: takeRemainder(&rest, dividingBy: block.pointee.rowBands))
    run(
        plan, block, Portion(image: rest, rows: rows, columns: columns, panels: panels, nextPanel: panels.lowerBound), input,
        output, workspace)
}

@_optimize(speed)
func run(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ portion: Portion, _ input: UnsafeRawPointer,
    _ output: UnsafeMutableRawPointer, _ workspace: UnsafeMutableRawPointer
) {
    let isDouble = plan.pointee.layer.isDouble
    if plan.pointee.stencils {
        return isDouble
            ? stencil(plan, block, portion, input, output, workspace, Double.self)
            : stencil(plan, block, portion, input, output, workspace, Float.self)
    }
    if plan.pointee.sweeps { return sweep(plan, block, portion, input, output, workspace) }
    if plan.pointee.repeats { return repeatInput(plan, block, portion, input, output, workspace) }
    let source = source(plan, block, portion, input, workspace)
    if plan.pointee.walks { return walk(plan, block, portion, source, output, workspace) }
    let tiles = (workspace + plan.pointee.workspace.tiles).assumingMemoryBound(to: Tile.self)
    let panels = portion.panels
    let strategy = plan.pointee.strategy
    var cutter = TileCutter(plan, block, portion, source, output)
    while !cutter.isDone {
        let (strips, images, tileCount) = cutter.next(tiles)
        let isDone = cutter.isDone
        // Planes: from the input of the first tile to that of the next group's.
        let ahead = cutter.ahead(of: tiles, source)
        var laidOut = (0, 0)
        var taps = 0
        for index in panels {
            // Panels whose tiles, and short ones, are as long share their addresses.
            let panel = plan.pointee.panels + index
            let reach = (panel.pointee.reach(strategy), panel.pointee.kernel(for: 1, strategy).reach(strategy))
            if reach != laidOut {
                laidOut = reach
                taps = layOut(plan, block, source, tiles, count: strips, panel, tallest: cutter.step, workspace)
            }
            // The weights after the last panel's are those of the next group's first, or of the next phase's.
            let isLast = index + 1 == panels.upperBound
            let following = isLast && isDone
                ? plan.pointee.weights(of: portion.nextPanel, plan.pointee.after(block))
                : plan.pointee.weights(of: isLast ? panels.lowerBound : index + 1, block)
            // After the last group follows the next band's input, or weights.
            let fetchesInput = block.pointee.fetchesInput && index == panels.lowerBound
                && !(isDone && block.pointee.fetchesWeights)
            // No lines that another thread writes.
            let fetchesOutput = plan.pointee.fetchesOutput && index > 0 && !isDone && panels.count == plan.pointee.panelCount
            func multiplyPanel<Scalar: KernelScalar>(_: Scalar.Type) {
                multiply(
                    plan, block, index, source, tiles, strips: strips, images: images, tiles: tileCount, taps: taps * images,
                    workspace, fetchesInput: fetchesInput, fetchesOutput: fetchesOutput, ahead: ahead, following: following,
                    Scalar.self)
            }
            isDouble ? multiplyPanel(Double.self) : multiplyPanel(Float.self)
        }
    }
    if plan.pointee.streams { shim_finish_streaming() }
}

/// The input as the taps of a portion read it: where it lies, or packed.
@inline(__always)
private func source(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ portion: Portion, _ input: UnsafeRawPointer,
    _ workspace: UnsafeMutableRawPointer
) -> Source {
    let layer = plan.pointee.layer
    let strategy = plan.pointee.strategy
    let size = layer.elementBytes
    var source = Source(
        elementBytes: size, base: input, imageStride: layer.input.batch,
        rowStride: layer.input.row, columnStride: layer.input.column, rows: 0..<layer.vertical.input,
        columns: 0..<layer.horizontal.input, plane: 0, outside: UnsafeRawPointer(plan.pointee.outside), channelPitch: 1,
        blockPitch: block.pointee.channelBlock, channelOrigin: 0)
    if plan.pointee.readsInputDirectly {
        if strategy == .columns {
            (source.channelPitch, source.blockPitch) = (layer.input.channel, layer.input.channel * block.pointee.channelBlock)
        }
        return source
    }
    let rectangle = ConvolutionPlan.rectangle(plan, block, portion)
    let memory = workspace + plan.pointee.workspace.rectangle
    pack(rectangle, plan, block, input, memory)
    source.imageStride = rectangle.rows.count * rectangle.rowPitch
    source.base = UnsafeRawPointer(memory - rectangle.images.lowerBound * source.imageStride * size)
    source.rowStride = rectangle.rowPitch
    (source.rows, source.columns) = (rectangle.rows, rectangle.columns)
    (source.channelPitch, source.blockPitch) = (rectangle.channelPitch, rectangle.blockPitch)
    (source.channelOrigin, source.plane) = (rectangle.channels.lowerBound, rectangle.plane)
    switch strategy {
    case _ where plan.pointee.borders: source.columnStride = block.pointee.channelBlock
    case .channels:
        source.columnStride = block.pointee.channelBlock
        source.outside = UnsafeRawPointer(memory + rectangle.images.count * source.imageStride * size)
    case .lanes: source.columnStride = rectangle.channelPitch
    case .columns: source.outside = UnsafeRawPointer(memory + rectangle.rows.count * rectangle.rowPitch * size)
    }
    return source
}

/// One panel of output channels over a group of tiles, and the same tiles of the next images. Planes that are fetched ahead are
/// so `ahead` elements.
@inline(never)
private func multiply<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ panelIndex: Int, _ source: Source,
    _ tiles: UnsafeMutablePointer<Tile>, strips: Int, images: Int, tiles tileCount: Int, taps tapsOfTiles: Int,
    _ workspace: UnsafeMutableRawPointer, fetchesInput: Bool, fetchesOutput: Bool, ahead: Int, following: UnsafeRawPointer,
    _: Scalar.Type
) {
    let sums = (workspace + plan.pointee.workspace.sums).assumingMemoryBound(to: Scalar.self)
    let places = (workspace + plan.pointee.workspace.lines).assumingMemoryBound(to: UnsafeMutablePointer<Scalar>.self)
    let panel = plan.pointee.panels + panelIndex
    let strategy = plan.pointee.strategy
    let inputs = plan.pointee.inputs
    let taps = block.pointee.taps
    let width = panel.pointee.width
    let kernel = panel.pointee.kernel
    let tileWidth = panel.pointee.tileWidth(strategy, lanes: plan.pointee.table.lanes)
    let reach = panel.pointee.reach(strategy)
    let channelStride = plan.pointee.layer.output.channel
    // Where this overflows there is one column, and no use of it.
    let columnStep = block.pointee.horizontal.outputStep &* plan.pointee.layer.output.column
    let columnUnit = source.columnUnit(block, strategy)
    let bias = UnsafePointer(plan.pointee.bias.assumingMemoryBound(to: Scalar.self)) + panel.pointee.offset
    let activation = plan.pointee.layer.activation.converted(to: Scalar.self)
    let bounds = activation.bounds
    var weights = plan.pointee.weights(of: panelIndex, block).assumingMemoryBound(to: Scalar.self)
    let firstInput: Int
    var groupPitch = inputs
    switch strategy {
    case .channels:
        if !plan.pointee.readsInputDirectly { groupPitch = ceilDivide(inputs, block.pointee.channelBlock) * source.blockPitch }
        firstInput = (panel.pointee.group - source.channelOrigin / max(inputs, 1)) * groupPitch
    case .lanes: firstInput = panel.pointee.firstChannel - source.channelOrigin
    case .columns: firstInput = (panel.pointee.group * inputs - source.channelOrigin) * source.channelPitch
    }
    // Whole vectors with simple activations, and nothing to be added, leave the kernel finished.
    let lastLanes = panel.pointee.channels % plan.pointee.table.lanes
    let storesParts = strategy == .channels ? plan.pointee.table.pointee.tilesStoreParts : plan.pointee.table.pointee.storesParts
    let storesPart = strategy != .columns && !plan.pointee.permutes && storesParts && lastLanes > 0
        && tileWidth - panel.pointee.channels < plan.pointee.table.lanes
    let mayFinish = bounds != nil && !plan.pointee.layer.means.accumulates
        && (strategy == .columns ? columnStep == 1
            : channelStride == 1 && (panel.pointee.channels == tileWidth || storesPart))

    let outputOffset = panel.pointee.firstChannel * channelStride
    let streams = mayFinish && !storesPart && plan.pointee.streams && strategy != .lanes
        && plan.pointee.alignsVectors(UnsafeRawPointer(tiles.pointee.targets[0] + outputOffset * MemoryLayout<Scalar>.stride))
    let mergedTaps = block.pointee.horizontal.taps
    // While the first panel is multiplied, each channel fetches so many elements of the next group's input; while the others are,
    // of where the next group's output goes; else weights, unless they stay in the cache.
    var fetched = UnsafePointer(source.base.assumingMemoryBound(to: Scalar.self))
    var share = block.pointee.fetchesWeights ? taps * width : 0
    if fetchesInput {
        let rowStep = block.pointee.vertical.inputStep
        let pixel = rowStep * block.pointee.horizontal.inputStep * source.columnStride
        share = tileCount * reach * pixel / inputs
        fetched += tiles.pointee.images[0] * source.imageStride
            + ((tiles.pointee.rows[0] - 1) * rowStep + block.pointee.vertical.lastOffset + 1) &* source.rowStride
            + (tiles.pointee.columns[0] + tileCount * reach) * pixel
    } else if fetchesOutput, !streams {
        let group = tileCount * reach * plan.pointee.layer.outChannels
        share = group / (inputs * (plan.pointee.panelCount - 1))
        fetched = UnsafePointer(tiles.pointee.targets[0].assumingMemoryBound(to: Scalar.self))
            + (group + (panelIndex - 1) * share * inputs)
    }
    var channel = 0
    // Made once, and changed from tile to tile: what was written long before can be read in any pieces at once.
    var arguments = TileArguments(
        runs: addresses(tiles.pointee.runs), channelOffset: 0, channelPitch: source.channelPitch,
        segments: block.pointee.segments, length: 0, segmentsPerChunk: block.pointee.segmentsPerChunk, panel: weights, tile: sums,
        continues: false, outputs: nil, outputOffset: outputOffset, rows: kernel.rows, outputPitch: channelStride, bias: bias,
        low: bounds?.low ?? 0, high: bounds?.high ?? 0)
    arguments.places = UnsafeRawPointer(plan.pointee.places)
    arguments.streams = streams
    if storesPart { arguments.lastMask = (1 << UInt32(lastLanes)) - 1 }
    (arguments.panelPitch, arguments.groupPitch) = (width, groupPitch)
    arguments.shuffles = shim_is_intel() == 0
    // Sums that no other call goes on with are forgotten, and their lines used again. But where they become planes, the group's
    // are kept, pixel after pixel, so that whole lines of a plane are stored at once.
    let gathers = plan.pointee.gathersTiles
    // Of tiles that repeat, two are twins: each call with the same tiles, whose sums lie side by side.
    let mayJoin = strategy == .channels && mayFinish && kernel.rows > 1 && !streams
    let twin = mayJoin && kernel.vectors == 1 ? plan.pointee.table.pointee.twinTile : nil
    // Of those whose pixels are a row, all: no tier has such kernels for doubles.
    let strip = mayJoin && MemoryLayout<Scalar>.stride == 4 && block.pointee.hasOneCall && panel.pointee.groups == 1
        && suitsStrips(plan.pointee.table, channels: panel.pointee.channels, taps: taps, inputs: inputs)
        ? plan.pointee.table.pointee.strips[kernel.vectors - 1] : nil
    // And so those of eight channels over columns.
    let joinsColumns = strategy == .columns && mayFinish && !streams && block.pointee.hasOneCall
        && plan.pointee.table.pointee.joinsColumns && kernel.rows == plan.pointee.table.pointee.columnTiles[4].rows
    var pixels = GatheredPixels(sums: sums, places: places)
    var blockOffset = firstInput
    while channel < inputs {
        let length = min(block.pointee.channelBlock, inputs - channel)
        let channels = length * block.pointee.blocksPerCall
        let isLast = channel + channels == inputs
        // While this part of the weights is multiplied, each tile fetches its share of what follows: line after line, since
        // single lines left out would cost more than the same number in a row, which the processor foresees.
        let next = weights + taps * channels * width
        let aheadBytes = share * channels * MemoryLayout<Scalar>.stride
        arguments.panel = weights
        arguments.tile = sums
        arguments.continues = channel > 0
        arguments.ahead = fetchesInput || fetchesOutput && !streams
            ? UnsafeRawPointer(fetched + share * channel) : isLast ? following : UnsafeRawPointer(next)
        arguments.aheadStep = min(
            kernel.vectors > 1 && panel.pointee.groups == 1 ? 128 : 64, ceilDivide(aheadBytes, max(1, tapsOfTiles * length)))
        if strategy == .columns { arguments.aheadStep = fetchesInput ? ahead &* MemoryLayout<Scalar>.stride : 0 }
        let isPixel = kernel.rows == 1 && strategy == .channels
        for image in 0..<images {
            for t in 0..<strips {
                // Of one input pixel, each tile has a tap of its own, the first the kernel's last: so weights are read from front
                // to back.
                let tile = tiles + (isPixel ? strips - 1 - t : t)
                let count = tile.pointee.count
                let finishes = isLast && mayFinish
                    && (strategy != .columns
                        || (count == reach || !plan.pointee.isWide) && tile.pointee.isFull(lanes: plan.pointee.table.lanes))
                arguments.runs = addresses(tile.pointee.runs)
                let steps = tile.pointee.steps
                // The last of a strip's tiles begins early by itself.
                var joined: Kernel?
                let columns = tile.pointee.repeats &* reach &- tile.pointee.overlap
                if let strip, finishes, count == reach, tile.pointee.repeats > 1, columns >= strip.rows,
                    steps.input == reach &* columnUnit, steps.output == reach &* columnStep {
                    joined = strip.accumulate
                    arguments.columns = columns
                    (arguments.pixelPitch, arguments.outputPitch) = (columnUnit, columnStep)
                } else if strategy == .columns {
                    arguments.columns = 0
                    if finishes, joinsColumns, tile.pointee.repeats > 1, tile.pointee.overlap == 0,
                        steps.output == kernel.vectors &* plan.pointee.table.lanes {
                        joined = panel.pointee.kernel(for: count, strategy).accumulate
                        (arguments.columns, arguments.pixelPitch) = (tile.pointee.repeats, steps.input)
                    }
                } else if twin != nil {
                    (arguments.groupPitch, arguments.outputPitch) = steps
                }
                arguments.channelOffset = tile.pointee.shift + blockOffset + image * source.imageStride
                arguments.outputOffset = outputOffset + image * plan.pointee.layer.output.batch
                arguments.order = UnsafePointer(tile.pointee.order)
                arguments.chunks = tile.pointee.chunks
                arguments.length = tile.pointee.mergesTaps ? length * mergedTaps : length
                if strategy != .columns { arguments.rows = count }
                let tileKernel = panel.pointee.kernel(for: count, strategy)
                let tileStep = gathers ? tileKernel.rows * tileWidth : block.pointee.hasOneCall ? 0 : largestTileScalars
                let ahead = tile.pointee.taps * length * arguments.aheadStep
                // The first of two does not begin early with the second.
                let pairs = twin != nil && (tile.pointee.overlap == 0 || tile.pointee.repeats > 2)
                let overlap = joined != nil ? 0 : tile.pointee.overlap
                let back = (input: overlap &* columnUnit, output: overlap &* columnStep)
                tile.pointee.targets.span.withUnsafeBufferPointer { targets in
                    let targets = targetPlaces(targets, Scalar.self)
                    arguments.outputs = finishes ? targets : nil
                    withUnsafeMutablePointer(to: &arguments) { arguments in
                        var rows = tile.pointee.rowRepeats
                        while true {
                            var left = tile.pointee.repeats
                            while left > 0 {
                                let taken = joined != nil ? left : pairs && left > 1 ? 2 : 1
                                left &-= taken
                                if left == 0 {
                                    arguments.pointee.channelOffset &-= back.input
                                    arguments.pointee.outputOffset &-= back.output
                                }
                                if let joined {
                                    joined(arguments)
                                } else if let twin, taken == 2 {
                                    twin(arguments)
                                } else {
                                    tileKernel.accumulate(arguments)
                                }
                                if isLast, !finishes {
                                    if strategy == .columns {
                                        finish(
                                            plan, panel, tile, tileKernel.vectors, arguments.pointee.tile,
                                            arguments.pointee.outputOffset, bias, activation, columnStep: columnStep)
                                    } else {
                                        pixels.add(arguments.pointee.tile, targets, count: count, arguments.pointee.outputOffset)
                                        if !gathers || count < tileKernel.rows { pixels.finish(plan, panel, bias, activation) }
                                    }
                                }
                                arguments.pointee.channelOffset &+= taken &* steps.input
                                arguments.pointee.outputOffset &+= taken &* steps.output
                                arguments.pointee.tile += taken &* tileStep
                                arguments.pointee.ahead += taken &* ahead
                            }
                            rows -= 1
                            if rows == 0 { break }
                            let (rowSteps, repeats) = (tile.pointee.rowSteps, tile.pointee.repeats)
                            arguments.pointee.channelOffset &+= rowSteps.input &- repeats &* steps.input &+ back.input
                            arguments.pointee.outputOffset &+= rowSteps.output &- repeats &* steps.output &+ back.output
                        }
                    }
                }
            }
        }
        weights = next
        channel += channels
        blockOffset += source.blockPitch
    }
    pixels.finish(plan, panel, bias, activation)
}

/// The addresses of a tile's taps.
@inline(__always)
private func addresses<Scalar>(_ runs: UnsafeMutableRawPointer) -> UnsafePointer<UnsafePointer<Scalar>> {
    UnsafePointer(runs.assumingMemoryBound(to: UnsafePointer<Scalar>.self))
}

/// The places of its results.
@inline(__always)
private func targetPlaces<Scalar>(
    _ targets: UnsafeBufferPointer<UnsafeMutableRawPointer>, _: Scalar.Type
) -> UnsafePointer<UnsafeMutablePointer<Scalar>>? {
    UnsafeRawPointer(targets.baseAddress)?.assumingMemoryBound(to: UnsafeMutablePointer<Scalar>.self)
}

/// Pixels of tiles that follow each other in memory, and where they go.
private struct GatheredPixels<Scalar: KernelScalar> {
    var sums: UnsafeMutablePointer<Scalar>
    var places: UnsafeMutablePointer<UnsafeMutablePointer<Scalar>>
    var count = 0

    @inline(__always)
    mutating func add(
        _ tile: UnsafeMutablePointer<Scalar>, _ targets: UnsafePointer<UnsafeMutablePointer<Scalar>>?, count added: Int,
        _ offset: Int
    ) {
        guard let targets else { return }
        if count == 0 { sums = tile }
        for r in 0..<added { places[count &+ r] = targets[r] + offset }
        count &+= added
    }

    /// What the kernel did not finish itself: partial vectors, scattered channels, activations with functions in them.
    mutating func finish(
        _ plan: UnsafePointer<ConvolutionPlan>, _ panel: UnsafePointer<Panel>, _ bias: UnsafePointer<Scalar>,
        _ activation: TileActivation<Scalar>
    ) {
        if count == 0 { return }
        let arguments = EpilogueArguments(
            tile: sums, rows: count, lanes: panel.pointee.tileWidth(plan.pointee.strategy, lanes: plan.pointee.table.lanes),
            channels: panel.pointee.channels, bias: bias, outputs: places,
            channelStride: plan.pointee.layer.output.channel, activation: activation,
            accumulates: plan.pointee.layer.means.accumulates)
        withUnsafePointer(to: arguments) { plan.pointee.table.pointee.finish($0) }
        count = 0
    }
}

/// The same of vectors of columns.
private func finish<Scalar: KernelScalar>(
    _ plan: UnsafePointer<ConvolutionPlan>, _ panel: UnsafePointer<Panel>, _ tile: UnsafePointer<Tile>, _ vectors: Int,
    _ sums: UnsafeMutablePointer<Scalar>, _ outputOffset: Int, _ bias: UnsafePointer<Scalar>,
    _ activation: TileActivation<Scalar>, columnStep: Int
) {
    var targets = tile.pointee.targets
    for r in 0..<tile.pointee.count { targets[r] += outputOffset * MemoryLayout<Scalar>.stride }
    targets.span.withUnsafeBufferPointer { targets in
        tile.pointee.widths.span.withUnsafeBufferPointer { widths in
            guard let targets = targetPlaces(targets, Scalar.self), let widths = widths.baseAddress else { return }
            finishColumns(
                plan.pointee.table,
                ColumnEpilogueArguments(
                    tile: sums, channels: panel.pointee.channels, tileVectors: vectors,
                    vectors: tile.pointee.count, outputs: targets, columns: widths, bias: bias,
                    channelStride: plan.pointee.layer.output.channel, columnStride: columnStep, activation: activation,
                    accumulates: plan.pointee.layer.means.accumulates))
        }
    }
}

/// `finishColumns`, and then, where channels are neighbours, the tile's planes turned into pixels, as many vectors at a time as
/// follow each other.
func finishColumns<Scalar: KernelScalar>(
    _ table: UnsafePointer<KernelTable>, _ given: consuming ColumnEpilogueArguments<Scalar>
) {
    given.keepsTile = given.channelStride == 1 && given.columnStride != 1
    withUnsafePointer(to: given) { table.pointee.finishColumns($0) }
    if !given.keepsTile { return }
    var n = 0
    while n < given.vectors {
        let first = n
        var columns = given.columns[n]
        n += 1
        while n < given.vectors, columns == (n - first) * table.lanes,
            given.outputs[n] == given.outputs[first] + columns * given.columnStride {
            columns += given.columns[n]
            n += 1
        }
        ElementType(table, bytes: MemoryLayout<Scalar>.stride).packPixels(
            from: given.tile + first * table.lanes, columnStride: 1, channelStride: given.tileVectors * table.lanes,
            columns: columns, channels: given.channels, pixelPitch: given.columnStride, to: given.outputs[first])
    }
}

extension TileActivation<Double> {
    func converted<Target: KernelScalar>(to _: Target.Type) -> TileActivation<Target> {
        switch self {
        case .bounded(let low, let high): return .bounded(Target(low), Target(high))
        case .leaky(let alpha): return .leaky(Target(alpha))
        case .sigmoid: return .sigmoid
        case .tanh: return .tanh
        }
    }
}
