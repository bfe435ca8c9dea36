import CConvolutionShims
import ConvolutionKernels

// What kernel gradients have in common: the order of the sum over pixels, and packed pixels.

/// How the image places along one axis that some neighbouring outputs read are packed: output x, counted from the first, finds
/// its tap b at place b * tapPitch + x * step.
struct PackedAxis {
    var step: Int
    var tapPitch: Int
    var places: Int

    /// As the places lie, or tap by tap where that is less.
    init(_ axis: Axis, outputs: Int) {
        let dense = (outputs - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1
        let separate = axis.kernel * outputs
        (step, tapPitch, places) = dense <= separate ? (axis.stride, axis.dilation, dense) : (1, outputs, separate)
    }

    func isDense(_ axis: Axis) -> Bool { step == axis.stride && tapPitch == axis.dilation }
}

/// Pixels of a block of bands. The sum over a block is made as in the forward layers, in chunks; the sums of several blocks are
/// added with what each addition rounds away. Chunks of up to a block keep the bound on rounding errors (`chunkTerms`).
private let blockPixels = 4608
/// Pixels of a band, about, where a tap at a time is multiplied: its packed points stay in a level-2 cache, and so do both
/// tensors' pixels, of which there are half as many where these would take more bytes than so many.
private let tapBandPixels = 512
private let tapBandBytes = 1 << 20

/// A part of the batch.
struct GradientBand {
    var images: Range<Int>
    var rows: Range<Int>
    var columns: Range<Int>
}

/// The order of the sum: bands, their chunks and blocks, made from sizes alone.
struct GradientBands {
    /// A band is some rows of one image, or all rows of some images, and a part of the columns.
    private(set) var images = 1
    private(set) var rows: Int
    let columns: Int
    private let batch: Int
    private let height: Int
    private let width: Int
    let segmentsPerChunk: Int
    private let perBlock: Int
    /// More than one block.
    let isBlocked: Bool
    /// One band holds all pixels.
    let isSingle: Bool

    /// Of a band.
    var pixels: Int { images * rows * columns }

    init(_ layer: Layer, pixels: Int) {
        self.init(batch: layer.batch, height: layer.vertical.output, width: layer.horizontal.output, pixels: pixels)
    }

    /// Of what is multiplied tap by tap.
    init(_ layer: Layer) {
        let pixel = (layer.inChannelsPerGroup + layer.outChannelsPerGroup) * layer.elementBytes
        self.init(layer, pixels: pixel * tapBandPixels <= tapBandBytes ? tapBandPixels : tapBandPixels / 2)
    }

    /// With chunks of so many pixels at most, and bands of about so many.
    init(batch: Int, height: Int, width: Int, longestChunk: Int = blockPixels, pixels bandPixels: Int = tapBandPixels) {
        (self.batch, self.height, self.width) = (batch, height, width)
        let all = batch * height * width
        let chunk = min(chunkTerms(min(all, blockPixels)), longestChunk)
        columns = ceilDivide(width, ceilDivide(width, chunk))
        segmentsPerChunk = max(1, chunk / columns)
        rows = max(segmentsPerChunk, bandPixels / columns / segmentsPerChunk * segmentsPerChunk)
        if columns == width, height <= rows { images = min(batch, max(1, rows / height)) }
        rows = min(rows, height)
        let pixels = images * rows * columns
        perBlock = max(1, blockPixels / pixels)
        isBlocked = all > perBlock * pixels
        isSingle = all == pixels
    }

    /// Calls `addBand` for each band, which adds its products to `sums`, or begins with them. The memory has `count` elements,
    /// and twice as many behind them if there are several blocks.
    func addUp(
        in sums: UnsafeMutableRawPointer, count: Int, _ elements: ElementType,
        _ addBand: (GradientBand, _ isFirst: Bool) -> Void
    ) {
        // Bands need not add to all of them.
        if isBlocked { elements.clear(sums, count: 3 * count) }
        func addBlock(isLast: Bool) {
            elements.bytes == 8
                ? addToTotals(sums.assumingMemoryBound(to: Double.self), count, isLast: isLast)
                : addToTotals(sums.assumingMemoryBound(to: Float.self), count, isLast: isLast)
        }
        var bands = 0
        var image = 0
        while image < batch {
            let images = image..<min(image + self.images, batch)
            var row = 0
            while row < height {
                let rows = row..<min(row + self.rows, height)
                var column = 0
                while column < width {
                    let columns = column..<min(column + self.columns, width)
                    addBand(GradientBand(images: images, rows: rows, columns: columns), bands == 0)
                    bands += 1
                    if isBlocked, bands == perBlock {
                        addBlock(isLast: false)
                        bands = 0
                    }
                    column = columns.upperBound
                }
                row = rows.upperBound
            }
            image = images.upperBound
        }
        if isBlocked { addBlock(isLast: true) }
    }
}

/// Adds the sums of a block to the totals behind them, behind which lies what additions rounded away. The sums begin anew, or
/// become the totals.
private func addToTotals<Scalar: KernelScalar>(_ sums: UnsafeMutablePointer<Scalar>, _ count: Int, isLast: Bool) {
    let totals = sums + count
    let rests = totals + count
    for i in 0..<count {
        var total = CompensatedSum(sum: totals[i], rest: rests[i])
        total.add(sums[i])
        (totals[i], rests[i]) = (total.sum, total.rest)
        sums[i] = isLast ? total.value : 0
    }
}

/// The index of each packed place of one axis in the image, -1 for outside.
func fillPlaces(
    _ places: UnsafeMutablePointer<Int>, _ axis: Axis, _ packed: PackedAxis, outputs: Range<Int>, _ mode: BorderMode
) {
    let first = outputs.lowerBound * axis.stride - axis.start
    func index(_ place: Int) -> Int { borderIndex(place, axis.input, mode) ?? -1 }
    if packed.isDense(axis) {
        for place in 0..<packed.places { places[place] = index(first + place) }
    } else {
        for tap in 0..<axis.kernel {
            for x in 0..<outputs.count {
                places[tap * packed.tapPitch + x] = index(first + x * axis.stride + tap * axis.dilation)
            }
        }
    }
}

/// Packs the pixels of some rows and columns of a tensor, whose indices it holds; -1 for outside.
struct PixelPacker {
    let elements: ElementType
    let rows: UnsafeMutablePointer<Int>
    let columns: UnsafeMutablePointer<Int>

    /// `[image][row][column][pitch]`: some channels of the rows and columns held here, zeros up to the pitch.
    func pack(
        _ source: UnsafeRawPointer, _ strides: Strides, _ shape: (images: Range<Int>, rows: Int, columns: Int),
        channels first: Int, count: Int, pitch: Int, outside: Double, to target: UnsafeMutableRawPointer
    ) {
        let size = elements.bytes
        var place = target
        // Columns that follow each other in the source, most often all that are inside.
        var start = 0
        while start < shape.columns, columns[start] < 0 { start &+= 1 }
        var end = min(start &+ 1, shape.columns)
        while end < shape.columns, columns[end] == columns[end &- 1] &+ 1 { end &+= 1 }
        // Whole rows of planes that follow each other are one.
        var shape = shape
        if end &- start == shape.columns, strides.channel != 1, strides.row == shape.columns &* strides.column, shape.rows > 0,
            rows[0] >= 0, (1..<shape.rows).allSatisfy({ rows[$0] == rows[0] &+ $0 })
        {
            end &*= shape.rows
            shape.columns = end
            shape.rows = 1
        }
        for image in shape.images {
            for row in 0..<shape.rows {
                let line = source
                    + (image &* strides.batch &+ max(rows[row], 0) &* strides.row &+ first &* strides.channel) &* size
                func packColumns(_ range: Range<Int>) {
                    for column in range {
                        let pixel = place + column &* pitch &* size
                        let source = line + columns[column] &* strides.column &* size
                        if columns[column] < 0 {
                            elements.fill(pixel, with: outside, count: count)
                        } else if strides.channel == 1 {
                            // The channels that are packed next.
                            shim_prefetch(source + count &* size)
                            copyLine(source, bytes: count &* size, to: pixel)
                        } else {
                            elements.copy(source, sourceStride: strides.channel, count: count, to: pixel)
                        }
                    }
                }
                if count < pitch { elements.clear(place, count: shape.columns &* pitch) }
                if rows[row] < 0 {
                    elements.fill(place, with: outside, count: shape.columns &* pitch)
                } else if strides.channel == 1, pitch > 1, count < pitch || strides.column != count {
                    packColumns(0..<shape.columns)
                } else {
                    packColumns(0..<start)
                    if start < end {
                        let inside = line + columns[start] &* strides.column &* size
                        let pixels = place + start &* pitch &* size
                        if pitch == 1 {
                            elements.packLine(from: inside, stride: strides.column, count: end &- start, to: pixels)
                        } else if strides.channel == 1 {
                            pixels.copyMemory(from: inside, byteCount: (end &- start) &* count &* size)
                        } else {
                            elements.packPixels(
                                from: inside, columnStride: strides.column, channelStride: strides.channel, columns: end &- start,
                                channels: count, pixelPitch: pitch, to: pixels)
                        }
                    }
                    packColumns(end..<shape.columns)
                }
                place += shape.columns &* pitch &* size
            }
        }
    }
}
