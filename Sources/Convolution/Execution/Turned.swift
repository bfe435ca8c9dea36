import CConvolutionShims
import ConvolutionKernels

// Transposed convolutions of channels-first arrays whose kernels work on pixels. The phases of an output line would be stored
// element by element, each into a cache line that lies a plane from the one before. So a band of the input is turned into pixels
// once, all phases make pixels of it, beside those that no tap reaches, and these are turned into whole output lines.

/// What such a plan has in addition: its layer's strides are those of pixels in scratch memory.
struct Turning {
    /// The caller's.
    var input: Strides
    var output: Strides
    /// An item: some places of the lattices, of one image or all of some images, and of some panels.
    var bandImages = 1
    var bandRows = 1
    var imageBands = 1
    var rowBands = 1
    var panelChunks = 1
    /// Panels whose pixels are turned together.
    var panels = 1
    /// Lines of the output from one place to the next, and the first of the first; of pairs it may be the one before the output.
    var outputStep: Int
    var outputStart: Int
    /// The input rows that the first place's taps read.
    var rowReach: ClosedRange<Int>
    /// Places of an image: a line of the output of each phase, of which some may have no taps.
    var places: Int
    /// One thread's scratch memory, as byte offsets.
    var inputAt = 0
    var outputAt = 0

    var items: Int { imageBands * rowBands * panelChunks }

    /// Rows that a band of `count` places reads at most.
    func inputRows(_ count: Int) -> Int { count + rowReach.upperBound - rowReach.lowerBound }
}

/// Pixels of a band, in and out, stay in a level-2 cache with the weights in use.
private let bandBytes = 1 << 19
/// Beyond this, one row takes more than a thread should have.
private let mostBytes = 3 << 18
/// Fewer pixels would read the weights too often.
private let fewestPixels = 64
/// Planes that are written side by side.
private let planes = 8

extension Layer {
    /// Whether a plan may be `Turning`, if kernels that work on pixels are the fastest.
    var mayTurn: Bool {
        transposed && means.joinsPhases && !means.accumulates && hasOutput && outChannels > 1 && inChannels > 1
            && vertical.input > 0 && horizontal.input > 0 && output.column == 1 && output.channel != 1
            && (input.channel != 1 || isDepthwise && batch > 1)
    }

    /// The same of the strategy `lanes`: whole vectors of pixels are read in place, each channel for itself or permuted.
    func mayTurnLanes(_ table: UnsafePointer<KernelTable>) -> Bool {
        guard mayTurn else { return false }
        if permutesWhole { return true }
        if columnPhases == 1 || !isDepthwise { return false }
        var pixels = self
        (pixels.input.channel, pixels.output.channel) = (1, 1)
        return Panels(pixels, table, .lanes).isDirect
    }

    /// The layer on pixels, without gaps but one that keeps the pixels of a column from meeting in few sets of the cache.
    mutating func putOnPixels() throws(Failure) {
        let lanes = table.lanes
        let pixel = inChannels % (16 * lanes) == 0 ? inChannels + lanes : inChannels
        let row = try times(horizontal.input, pixel, "a row of pixels")
        input = Strides(batch: try times(vertical.input, row, "pixels"), row: row, column: pixel, channel: 1)
        output = try outputPixels(of: outChannels)
    }

    func outputPixels(of channels: Int) throws(Failure) -> Strides {
        let row = try times(horizontal.output, channels, "a row of pixels")
        return Strides(batch: try times(vertical.output, row, "pixels"), row: row, column: channels, channel: 1)
    }
}

extension ConvolutionPlan {
    /// Divides the work of a plan on pixels whose blocks are there. False if that takes too much memory.
    mutating func divideTurned(_ given: Layer, threads: Int) throws(Failure) -> Bool {
        let size = layer.elementBytes
        if blockCount == 0 { return false }
        var (low, high) = (Int.max, Int.min)
        for i in 0..<blockCount {
            let vertical = blocks[i].vertical
            let reach = (window(vertical) - 1) * vertical.offsetStep
            low = min(low, vertical.offsetStart + min(reach, 0))
            high = max(high, vertical.offsetStart + max(reach, 0))
        }
        let places = pairs ? blocks[0].vertical.count : ceilDivide(layer.vertical.output, layer.vertical.stride)
        var part = Turning(input: given.input, output: given.output, outputStep: layer.vertical.stride,
            outputStart: pairs ? blocks[0].vertical.outputStart : 0, rowReach: low...high, places: places)
        // Phases side by side, and channels that are not summed, are turned together.
        let isWhole = layer.columnsPerPixel > 1 || strategy == .lanes
        part.panels = isWhole ? panelCount : 1
        var channels = 0
        for i in 0..<panelCount { channels = max(channels, panels[i].channels) }
        // A stride that is never taken may be as long as can be.
        func place() throws(Failure) -> Bool {
            if part.panels < panelCount || !isWhole { layer.output = try layer.outputPixels(of: part.panels * channels) }
            return Double(layer.output.row * size) * Double(part.outputStep) <= Double(mostBytes)
        }
        var fits = try place()
        while !fits, strategy == .lanes, part.panels > 1 {
            part.panels = ceilDivide(part.panels, 2)
            fits = try place()
        }
        if !fits || Double(layer.input.row * size) * Double(min(part.inputRows(1), layer.vertical.input)) > Double(mostBytes) {
            return false
        }
        let inputRow = layer.input.row * size
        let outputRow = layer.output.row * part.outputStep * size
        let most = max(1, min(bandBytes / inputRow, bandBytes / outputRow))
        let wanted = threads == 1 ? 1 : 4 * threads
        let fewest = ceilDivide(fewestPixels, layer.horizontal.input)
        let rows = min(most, max(fewest, ceilDivide(layer.batch * places, wanted)))
        part.bandImages = max(1, min(layer.batch, rows / places))
        part.imageBands = ceilDivide(layer.batch, part.bandImages)
        let bands = ceilDivide(places, rows)
        part.bandRows = ceilDivide(places, bands > 1 && layer.batch == 1 ? ceilDivide(bands, threads) * threads : bands)
        part.rowBands = ceilDivide(places, part.bandRows)
        if threads > 1, !isWhole { part.panelChunks = min(panelCount, max(1, 2 * threads / part.items)) }

        part.inputAt = workspace.bytes
        part.outputAt = part.inputAt
            + aligned(
                try times(
                    inputRow,
                    (part.bandImages - 1) * layer.vertical.input + min(part.inputRows(part.bandRows), layer.vertical.input),
                    "pixels"))
        workspace.bytes = part.outputAt + aligned(try times(outputRow, part.bandImages * part.bandRows, "pixels"))
        algorithm = .turned(part)
        return true
    }
}

/// One item: see `Turning`.
func runTurned(
    _ plan: UnsafePointer<ConvolutionPlan>, _ part: Turning, _ item: Int, _ input: UnsafeRawPointer,
    _ output: UnsafeMutableRawPointer, _ workspace: UnsafeMutableRawPointer
) {
    let layer = plan.pointee.layer
    let size = layer.elementBytes
    let chunk = item % part.panelChunks
    let firstRow = item / part.panelChunks % part.rowBands * part.bandRows
    let firstImage = item / part.panelChunks / part.rowBands * part.bandImages
    let images = firstImage..<min(firstImage + part.bandImages, layer.batch)
    let places = firstRow..<min(firstRow + part.bandRows, part.places)
    let firstRead = min(max(0, places.lowerBound + part.rowReach.lowerBound), layer.vertical.input)
    let rows = firstRead..<max(firstRead, min(layer.vertical.input, places.upperBound + part.rowReach.upperBound))
    let lines = max(0, part.outputStart + places.lowerBound * part.outputStep)
        ..< min(layer.vertical.output, part.outputStart + places.upperBound * part.outputStep)

    // The rows that the band reads: several images lie as far apart as whole ones.
    let pixels = workspace + part.inputAt
    for image in images {
        turnInput(
            layer, input + (image * part.input.batch + rows.lowerBound * part.input.row) * size, part.input,
            rows: rows.count, to: pixels + (image - firstImage) * layer.input.batch * size)
    }
    let results = workspace + part.outputAt
    let panels = plan.pointee.panelCount * chunk / part.panelChunks..<plan.pointee.panelCount * (chunk + 1) / part.panelChunks
    var first = panels.lowerBound
    while first < panels.upperBound {
        let end = min(first + part.panels, panels.upperBound)
        let last = plan.pointee.panels[end - 1]
        let firstChannel = plan.pointee.panels[first].firstChannel
        if !plan.pointee.fullyCovered {
            for index in first..<end {
                let panel = plan.pointee.panels[index]
                let finished = finishedBias(plan, panel, workspace)
                var pixel = results + (panel.firstChannel - firstChannel) * size
                for _ in 0..<((images.count - 1) * layer.vertical.output + lines.count) * layer.horizontal.output {
                    pixel.copyMemory(from: finished, byteCount: panel.channels * size)
                    pixel += layer.output.column * size
                }
            }
        }
        for index in 0..<plan.pointee.blockCount {
            let block = plan.pointee.blocks + index
            let height = block.pointee.vertical.count
            let count = min(places.upperBound, height) - places.lowerBound
            if count <= 0 { continue }
            let start = firstImage * height + places.lowerBound
            let isLast = index + 1 == plan.pointee.blockCount
            run(
                plan, block,
                Portion(
                    rows: start..<start + (images.count - 1) * height + count, columns: 0..<block.pointee.horizontal.count,
                    panels: first..<end, nextPanel: !isLast ? first : end < panels.upperBound ? end : panels.lowerBound),
                UnsafeRawPointer(pixels) - (firstImage * layer.input.batch + rows.lowerBound * layer.input.row) * size,
                results - (firstImage * layer.output.batch + lines.lowerBound * layer.output.row + firstChannel) * size,
                workspace)
        }
        for image in images {
            turnOutput(
                layer, results + (image - firstImage) * layer.output.batch * size, rows: lines.count,
                channels: last.firstChannel + last.channels - firstChannel, part.output,
                to: output + (image * part.output.batch + lines.lowerBound * part.output.row
                    + firstChannel * part.output.channel) * size)
        }
        first = end
    }
}

/// Rows of planes to pixels.
private func turnInput(
    _ layer: Layer, _ source: UnsafeRawPointer, _ strides: Strides, rows: Int, to pixels: UnsafeMutableRawPointer
) {
    let (elements, size) = (layer.elements, layer.elementBytes)
    let isWhole = strides.row == layer.horizontal.input * strides.column
    for row in 0..<(isWhole ? 1 : rows) {
        var channel = 0
        while channel < layer.inChannels {
            elements.packPixels(
                from: source + (row * strides.row + channel * strides.channel) * size, columnStride: strides.column,
                channelStride: strides.channel, columns: layer.horizontal.input * (isWhole ? rows : 1),
                channels: min(2 * planes, layer.inChannels - channel), pixelPitch: layer.input.column,
                to: pixels + (row * layer.input.row + channel) * size)
            channel += 2 * planes
        }
    }
}

/// Rows of pixels to planes: some planes at a time, since all would meet in one set of the nearest cache.
private func turnOutput(
    _ layer: Layer, _ pixels: UnsafeRawPointer, rows: Int, channels: Int, _ strides: Strides,
    to target: UnsafeMutableRawPointer
) {
    let (elements, size) = (layer.elements, layer.elementBytes)
    // A pixel of a widened layer is several columns.
    let columns = layer.horizontal.output * layer.columnsPerPixel
    let channels = channels / layer.columnsPerPixel
    let column = layer.output.column / layer.columnsPerPixel
    let isWhole = strides.row == columns
    var channel = 0
    while channel < channels {
        elements.packLines(
            from: pixels + channel * size, rowStride: layer.output.row, columnStride: column, channelStride: 1,
            rows: isWhole ? 1 : rows, columns: columns * (isWhole ? rows : 1), channels: min(planes, channels - channel),
            rowPitch: strides.row, pitch: strides.channel, to: target + channel * strides.channel * size)
        channel += planes
    }
}
