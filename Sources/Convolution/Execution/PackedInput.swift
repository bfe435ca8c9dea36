import ConvolutionKernels

// What of the input an item packs: as pixels or as planes, border included.

/// The input as the item's tiles read it: the caller's array, or a packed rectangle of it.
struct Source {
    var elementBytes: Int
    var base: UnsafeRawPointer
    var imageStride: Int
    var rowStride: Int
    var columnStride: Int
    /// What is there: `base` is the place of the first row and column.
    var rows: Range<Int>
    var columns: Range<Int>
    /// Strategy `columns`: from plane to plane.
    var plane: Int
    var outside: UnsafeRawPointer
    var channelPitch: Int
    /// From one block of input channels to the next.
    var blockPitch: Int
    var channelOrigin: Int

    /// From one position of a tile to the next. Where this overflows there is one column, and no use of it.
    @inline(__always)
    func columnUnit(_ block: UnsafePointer<Block>, _ strategy: Strategy) -> Int {
        strategy == .columns ? 1 : block.pointee.horizontal.inputStep &* columnStride
    }
}

/// Copies the rectangle's part of the input into `target`, arranged as the plan's kernels read it.
@_optimize(speed)
func pack(
    _ rectangle: Rectangle, _ plan: UnsafePointer<ConvolutionPlan>, _ block: UnsafePointer<Block>, _ input: UnsafeRawPointer,
    _ target: UnsafeMutableRawPointer
) {
    let layer = plan.pointee.layer
    let inputs = plan.pointee.inputs
    let (elements, size) = (layer.elements, layer.elementBytes)
    let vertical = block.pointee.vertical
    // A kernel smaller than its stride passes over rows, and columns.
    let skipsRows = layer.paddingMode == .constant && vertical.taps < vertical.inputStep
    let images = input + rectangle.images.lowerBound * layer.input.batch * size
    let corner = images + rectangle.rows.lowerBound * layer.input.row * size
    switch plan.pointee.strategy {
    case _ where plan.pointee.borders:
        var part = rectangle
        (part.channelPitch, part.elements) = (block.pointee.channelBlock, rectangle.rows.count * rectangle.rowPitch)
        var place = target
        while part.channels.lowerBound < rectangle.channels.upperBound {
            let first = part.channels.lowerBound
            part.channels = first..<first + min(block.pointee.channelBlock, inputs - first % inputs)
            for image in rectangle.images {
                packBordered(part, layer, input + image * layer.input.batch * size, place)
                place += part.elements * size
            }
            part.channels = part.channels.upperBound..<rectangle.channels.upperBound
        }
    case .channels:
        var place = target
        var channel = rectangle.channels.lowerBound
        while channel < rectangle.channels.upperBound {
            // Blocks start anew with each group.
            let length = min(block.pointee.channelBlock, inputs - channel % inputs)
            let first = corner + (rectangle.columns.lowerBound * layer.input.column + channel * layer.input.channel) * size
            for image in 0..<rectangle.images.count {
                for row in 0..<rectangle.rows.count where !skipsRows || vertical.meets(rectangle.rows.lowerBound + row) {
                    elements.packPixels(
                        from: first + (image * layer.input.batch + row * layer.input.row) * size,
                        columnStride: layer.input.column, channelStride: layer.input.channel, columns: rectangle.columns.count,
                        channels: length, pixelPitch: block.pointee.channelBlock,
                        to: place + (image * rectangle.rows.count + row) * rectangle.rowPitch * size)
                }
            }
            channel += length
            place += rectangle.blockPitch * size
            let pixels = block.pointee.outsidePixels * block.pointee.channelBlock
            elements.fill(place - pixels * size, with: layer.paddingValue, count: pixels)
        }
    case .lanes where plan.pointee.walks:
        packBordered(rectangle, layer, images, target)
    case .lanes:
        // Lanes beyond the last channel have weights of 0, but no product of theirs may be infinite.
        let channels = min(rectangle.channels.upperBound, layer.inChannels) - rectangle.channels.lowerBound
        if channels < rectangle.channelPitch { elements.clear(target, count: rectangle.elements) }
        let first = corner
            + (rectangle.columns.lowerBound * layer.input.column + rectangle.channels.lowerBound * layer.input.channel) * size
        for row in 0..<rectangle.rows.count where !skipsRows || vertical.meets(rectangle.rows.lowerBound + row) {
            elements.packPixels(
                from: first + row * layer.input.row * size, columnStride: layer.input.column, channelStride: layer.input.channel,
                columns: rectangle.columns.count, channels: channels, pixelPitch: rectangle.channelPitch,
                to: target + row * rectangle.rowPitch * size)
        }
    case .columns where layer.sourceColumns > 0:
        for channel in 0..<rectangle.channels.count {
            let plane = corner + (rectangle.channels.lowerBound + channel) * layer.input.channel * size
            var place = target + channel * rectangle.channelPitch * size
            var next = rectangle.columns.lowerBound
            while next < rectangle.columns.upperBound {
                let (row, column) = next.quotientAndRemainder(dividingBy: layer.sourceColumns)
                let count = min(layer.sourceColumns - column, rectangle.columns.upperBound - next)
                elements.packLine(
                    from: plane + (row * layer.input.row + column * layer.input.column) * size, stride: layer.input.column,
                    count: count, to: place)
                place += count * size
                next += count
            }
        }
    case .columns:
        let horizontal = block.pointee.horizontal
        for residue in 0..<horizontal.inputStep where horizontal.meets(rectangle.columns.lowerBound + residue) {
            let line = ResidueLine(rectangle, residue: residue, inputStep: horizontal.inputStep, length: layer.horizontal.input)
            let channels = rectangle.channels.count
            for row in 0..<rectangle.rows.count where !skipsRows || vertical.meets(rectangle.rows.lowerBound + row) {
                let source = corner + (row * layer.input.row + rectangle.channels.lowerBound * layer.input.channel) * size
                let place = target + (row * rectangle.rowPitch + residue * rectangle.plane) * size
                for channel in 0..<channels {
                    packBorder(
                        source + channel * layer.input.channel * size, layer, line,
                        place + channel * rectangle.channelPitch * size)
                }
                elements.packLines(
                    from: source + line.place(line.inside.lowerBound) * layer.input.column * size, rowStride: 0,
                    columnStride: horizontal.inputStep &* layer.input.column,
                    channelStride: channels == 1 ? 0 : layer.input.channel, rows: 1, columns: line.inside.count,
                    channels: channels, rowPitch: 0, pitch: rectangle.channelPitch, to: place + line.inside.lowerBound * size)
            }
        }
        if layer.paddingMode == .constant {
            elements.fill(
                target + rectangle.rows.count * rectangle.rowPitch * size, with: layer.paddingValue, count: rectangle.rowPitch)
        }
    }
}

/// Pixels by rows, the border among them, with some channels each; what a pixel's place has beyond them is 0.
@inline(never)
@_optimize(speed)
private func packBordered(
    _ rectangle: Rectangle, _ layer: Layer, _ image: UnsafeRawPointer, _ target: UnsafeMutableRawPointer
) {
    let (elements, size) = (layer.elements, layer.elementBytes)
    let pitch = rectangle.channelPitch
    let channels = min(rectangle.channels.upperBound, layer.inChannels) - rectangle.channels.lowerBound
    if channels < pitch { elements.clear(target, count: rectangle.elements) }
    let first = image + rectangle.channels.lowerBound * layer.input.channel * size
    let (rowBytes, columnBytes) = (layer.input.row * size, layer.input.column * size)
    // The columns inside the input, all of a row at once; a constant border from the end of one row to the start of the next.
    let inside = rectangle.columns.clamped(to: 0..<layer.horizontal.input)
    let columns = layer.paddingMode == .constant ? inside : rectangle.columns
    var end = 0
    for row in 0..<rectangle.rows.count {
        guard let line = borderIndex(rectangle.rows.lowerBound + row, layer.vertical.input, layer.paddingMode) else { continue }
        var column = columns.lowerBound
        while column < columns.upperBound {
            let count = column == inside.lowerBound ? max(inside.count, 1) : 1
            let source = borderIndex(column, layer.horizontal.input, layer.paddingMode) ?? 0
            let place = row * rectangle.rowPitch + (column - rectangle.columns.lowerBound) * pitch
            elements.fill(target + end * size, with: layer.paddingValue, count: place - end)
            elements.packPixels(
                from: first + line * rowBytes + source * columnBytes, columnStride: layer.input.column,
                channelStride: layer.input.channel, columns: count, channels: channels, pixelPitch: pitch,
                to: target + place * size)
            end = place + count * pitch
            column += count
        }
    }
    elements.fill(target + end * size, with: layer.paddingValue, count: rectangle.elements - end)
}

/// Every `inputStep`-th column of a rectangle, border included, which are packed as neighbours.
struct ResidueLine {
    var first: Int
    var inputStep: Int
    /// Columns of the rectangle, those of them that lie inside the input, and with the zeros that follow.
    var count: Int
    var inside: Range<Int>
    var plane: Int

    init(_ rectangle: Rectangle, residue: Int, inputStep: Int, length: Int) {
        first = rectangle.columns.lowerBound + residue
        self.inputStep = inputStep
        plane = rectangle.plane
        count = max(0, ceilDivide(rectangle.columns.upperBound - first, inputStep))
        // Places first + q * inputStep with 0 <= place < length.
        let start = min(count, max(0, ceilDivide(-first, inputStep)))
        inside = start..<max(start, min(count, ceilDivide(length - first, inputStep)))
    }

    /// Where column number `q` lies in the input; 0 where none does.
    @inline(__always)
    func place(_ q: Int) -> Int { inside.contains(q) ? first + q * inputStep : 0 }
}

/// What is not inside of one channel of one row, and zeros to the end of the plane.
@inline(__always)
func packBorder(_ source: UnsafeRawPointer, _ layer: Layer, _ line: ResidueLine, _ target: UnsafeMutableRawPointer) {
    layer.isDouble
        ? packBorder(source, layer, line, target, Double.self) : packBorder(source, layer, line, target, Float.self)
}

/// For each type: most often it is so few elements that to ask for it time and again takes longest.
@inline(never) @_optimize(speed)
private func packBorder<Scalar: KernelScalar>(
    _ source: UnsafeRawPointer, _ layer: Layer, _ line: ResidueLine, _ target: UnsafeMutableRawPointer, _: Scalar.Type
) {
    let (source, target) = (source.assumingMemoryBound(to: Scalar.self), target.assumingMemoryBound(to: Scalar.self))
    func border(_ q: Int) -> Scalar {
        borderIndex(line.first + q * line.inputStep, layer.horizontal.input, layer.paddingMode).map {
            source[$0 * layer.input.column]
        }
            ?? Scalar(layer.paddingValue)
    }
    let after = line.count - line.inside.upperBound
    if layer.paddingMode == .constant, line.inside.lowerBound + after > 16 {
        layer.elements.fill(target, with: layer.paddingValue, count: line.inside.lowerBound)
        layer.elements.fill(target + line.inside.upperBound, with: layer.paddingValue, count: after)
    } else {
        for q in 0..<line.inside.lowerBound { target[q] = border(q) }
        for q in line.inside.upperBound..<line.count { target[q] = border(q) }
    }
    (target + line.count).update(repeating: 0, count: line.plane - line.count)
}
