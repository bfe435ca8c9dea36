import CConvolutionShims
import ConvolutionKernels

// Transposed convolutions of planes with a kernel of one element and a stride, such as the input gradient of a 1x1 with stride: a
// matrix product of planes in scratch memory, whose elements are then written between the outputs that no tap reaches.

/// What such a plan has in addition: its layer is the product, whose output is in scratch memory.
struct Expansion {
    /// The caller's: rows and columns of an output plane, of those one of `rowStep` and `columnStep` products.
    var output: Strides
    var outputRows: Int
    var outputColumns: Int
    var rowStep: Int
    var columnStep: Int
    /// Rows of an image of products. An item is a band of them, of some panels.
    var rows: Int
    var images: Int
    var rowBands = 1
    var panelChunks = 1
    /// One thread's scratch memory, as byte offsets: products, and a line of what no tap reaches.
    var productsAt = 0
    var emptyAt = 0

    var items: Int { images * rowBands * panelChunks }
}

/// Products of a band, which stay in a level-2 cache.
private let bandBytes = 1 << 19

/// More scratch memory than this is not taken, however long the rows.
private let mostBytes = 1 << 20

/// Images of fewer are rather computed together.
private let fewestPixels = 64

/// The start of an image's products, each by itself: in vectors of multiply-adds.
private let imageStart = 3000.0

extension Layer {
    /// The products alone, if they are such a layer's. Its output strides are not decided yet.
    func products() -> Layer? {
        func isSparse(_ axis: Axis) -> Bool {
            axis.kernel == 1 && axis.start == 0 && axis.input > 0 && (axis.input - 1) * axis.stride < axis.output
        }
        guard transposed, hasOutput, vertical.stride > 1 || horizontal.stride > 1, isSparse(vertical), isSparse(horizontal),
            input.column == 1, output.column == 1, inChannels > 1, outChannels > 1,
            batch == 1 || vertical.input * horizontal.input >= fewestPixels,
            means.joinsPhases, !means.accumulates, !means.keepsRows
        else { return nil }
        var layer = self
        (layer.vertical.stride, layer.vertical.output) = (1, vertical.input)
        (layer.horizontal.stride, layer.horizontal.output) = (1, horizontal.input)
        layer.output = Strides(batch: 0, row: horizontal.input, column: 1, channel: vertical.input * horizontal.input)
        layer.flatten()
        guard layer.vertical.input == 1, takesPlanes(layer, table) else { return nil }
        let (strategy, work) = chooseStrategy(layer, table)
        let begun = Double(batch - 1) * imageStart
        return strategy == .columns && work + begun < chooseStrategy(self, table).work ? layer : nil
    }
}

extension ConvolutionPlan {
    /// Divides the work of a plan of `given`'s products. False if a thread would need too much scratch memory.
    mutating func divideExpansion(_ given: Layer, threads: Int) -> Bool {
        let rows = given.vertical.input
        var part = Expansion(
            output: given.output, outputRows: given.vertical.output, outputColumns: given.horizontal.output,
            rowStep: given.vertical.stride, columnStep: given.horizontal.stride, rows: rows, images: layer.batch)
        let width = given.horizontal.input
        let bytes = Double(rows) * Double(width) * Double(layer.outChannels) * Double(layer.elementBytes)
        // A band has a vector at least, or a wide tile.
        let most = max(1, rows / ceilDivide(table.lanes * (isWide ? leastReach : 1), width))
        part.rowBands = max(1, Int(min(Double(most), (bytes / Double(bandBytes)).rounded(.up))))
        if threads > 1 {
            part.rowBands = max(part.rowBands, min(most, ceilDivide(2 * threads, part.images), ceilDivide(rows * width, 64)))
            part.panelChunks = min(panelCount, max(1, 2 * threads / part.items))
        }
        let pixels = evenPart(0, of: part.rowBands, rows).count * width
        let mostChannels = max(1, mostBytes / layer.elementBytes / pixels)
        part.panelChunks = min(panelCount, max(part.panelChunks, ceilDivide(layer.outChannels, mostChannels)))
        var channels = 0
        for chunk in 0..<part.panelChunks {
            let range = evenPart(chunk, of: part.panelChunks, panelCount)
            let last = panels[range.upperBound - 1]
            channels = max(channels, last.firstChannel + last.channels - panels[range.lowerBound].firstChannel)
        }
        // A single panel's may still be more.
        if (pixels * channels + part.outputColumns) * layer.elementBytes > mostBytes + mostBytes / 4 { return false }
        layer.output.channel = pixels
        part.productsAt = workspace.bytes
        part.emptyAt = part.productsAt + aligned(pixels * channels * layer.elementBytes)
        workspace.bytes = part.emptyAt + aligned(part.outputColumns * layer.elementBytes)
        algorithm = .expanded(part)
        return true
    }
}

/// Each element followed by `value`.
@inline(never) @_optimize(speed)
private func pair<Scalar: KernelScalar>(
    _ source: UnsafeRawPointer, count: Int, with value: UnsafeRawPointer, to target: UnsafeMutableRawPointer, _: Scalar.Type
) {
    let (source, value) = (source.assumingMemoryBound(to: Scalar.self), value.load(as: Scalar.self))
    for i in 0..<count {
        target.storeBytes(
            of: SIMD2(source[i], value), toByteOffset: 2 &* MemoryLayout<Scalar>.stride &* i, as: SIMD2<Scalar>.self)
    }
}

/// One item: see `Expansion`.
func runExpanded(
    _ plan: UnsafePointer<ConvolutionPlan>, _ part: Expansion, _ item: Int, _ input: UnsafeRawPointer,
    _ output: UnsafeMutableRawPointer, _ workspace: UnsafeMutableRawPointer
) {
    let elements = plan.pointee.layer.elements
    let size = elements.bytes
    let panels = evenPart(item % part.panelChunks, of: part.panelChunks, plan.pointee.panelCount)
    let band = evenPart(item / part.panelChunks % part.rowBands, of: part.rowBands, part.rows)
    let image = item / part.panelChunks / part.rowBands
    let width = plan.pointee.layer.horizontal.input / part.rows
    let pitch = plan.pointee.layer.output.channel
    let products = workspace + part.productsAt
    let empty = workspace + part.emptyAt
    let firstChannel = plan.pointee.panels[panels.lowerBound].firstChannel
    run(
        plan, plan.pointee.blocks,
        Portion(
            rows: image..<image + 1, columns: band.lowerBound * width..<band.upperBound * width, panels: panels,
            nextPanel: panels.lowerBound),
        input, products - (firstChannel * pitch + band.lowerBound * width) * size, workspace)
    let lines = band.lowerBound * part.rowStep
        ..< (band.upperBound == part.rows ? part.outputRows : band.upperBound * part.rowStep)
    for index in panels {
        let panel = plan.pointee.panels[index]
        let between = finishedBias(plan, panel, workspace)
        for channel in 0..<panel.channels {
            let plane = output
                + (image * part.output.batch + (panel.firstChannel + channel) * part.output.channel) * size
            var product = products + (panel.firstChannel + channel - firstChannel) * pitch * size
            var until = band.lowerBound * part.rowStep
            let value = between + channel * size
            elements.fill(empty, with: elements.value(value), count: part.outputColumns)
            for line in lines {
                let target = plane + line &* part.output.row &* size
                if line != until || line == part.rows &* part.rowStep {
                    target.copyMemory(from: empty, byteCount: part.outputColumns &* size)
                    continue
                }
                until += part.rowStep
                if part.columnStep == 2, part.outputColumns == 2 &* width {
                    size == 8
                        ? pair(product, count: width, with: value, to: target, Double.self)
                        : pair(product, count: width, with: value, to: target, Float.self)
                } else {
                    target.copyMemory(from: empty, byteCount: part.outputColumns &* size)
                    elements.copy(product, count: width, to: target, targetStride: part.columnStep)
                }
                product += width &* size
            }
        }
    }
}
