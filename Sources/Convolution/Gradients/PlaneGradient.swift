import CConvolution
import CConvolutionShims
import ConvolutionKernels

// Kernel gradients of layers with few channels on both sides, such as image filters: vectors hold neighbouring columns, and each
// pair of an image plane and a plane of points is multiplied by itself, three by three taps at a time. See `KernelGradient.swift`
// for the names.

/// Taps of a kernel call, on each axis.
private let tileTaps = 3
/// Elements of a packed plane, about: with those beside it, it stays in a level-2 cache.
private let planeElements = 1 << 15
/// The sum is made in this many parts at most, which threads take in turn.
private let mostParts = 32

struct PlaneGradientPlan {
    /// The convolution whose input is the image.
    private var layer: Layer
    private var table: UnsafePointer<KernelTable>
    /// Whole rows of pieces of rows, some chunks of `chunkRows`. A chunk's sums are made in the lanes of a vector, and what
    /// chunks give is added with compensation: first those of a part, then the parts.
    private var chunkRows: Int
    private var bandRows: Int
    private var bandColumns: Int
    private var rowBands: Int
    private var columnBands: Int
    private var bands: Int { layer.batch * rowBands * columnBands }
    private(set) var parts: Int
    /// Of the kernel gradient.
    private var elements: Int
    private var imagePitch: Int
    private var pointPitch: Int
    /// A packed row of the image is dealt into the columns that are a stride apart: so many runs, each of as many elements as
    /// there are points and these.
    private var residues: Int
    private var residueReach: Int
    /// Elements of a packed plane.
    private var imagePlane: Int
    private var pointPlane: Int

    /// Byte offsets into one thread's scratch memory, and its size.
    private var columnPlacesAt: Int
    private var imageAt: Int
    private var pointsAt: Int
    private var sumsAt: Int
    private(set) var bytes: Int
    /// Bytes of the sums of all parts.
    private(set) var totalBytes: Int
    /// Of a `CompensatedSum`.
    private var totalSize: Int { 2 * layer.elementBytes }

    /// Vectors of multiply-adds per pixel, one of which loads both factors; nil if the layer's columns do not allow for it.
    static func work(_ layer: Layer, lanes: Int) -> Double? {
        let (vertical, horizontal) = (layer.vertical, layer.horizontal)
        let reach = (horizontal.kernel - 1) * horizontal.dilation
        guard reach <= horizontal.output + 64 else { return nil }
        let tiles = ceilDivide(vertical.kernel, tileTaps) * ceilDivide(horizontal.kernel, tileTaps)
        return 2 * Double(layer.inChannels * layer.outChannelsPerGroup) * Double(tiles * tileTaps * tileTaps) / Double(lanes)
    }

    init(_ layer: Layer, _ table: UnsafePointer<KernelTable>) throws(Failure) {
        self.layer = layer
        self.table = table
        let lanes = table.lanes
        let (vertical, horizontal) = (layer.vertical, layer.horizontal)
        // As long as a lane's chain c of the chunk's n = c * lanes terms keeps c * c / n + n / c below 34, see `chunkTerms`.
        let chunkPixels = lanes * lanes * (34 - lanes)
        let piece = ceilDivide(horizontal.output, ceilDivide(horizontal.output, chunkPixels))
        bandColumns = ceilDivide(piece, lanes) * lanes
        columnBands = ceilDivide(horizontal.output, bandColumns)
        chunkRows = max(1, chunkPixels / bandColumns)
        let reach = (horizontal.kernel - 1) * horizontal.dilation
        (residues, residueReach) = (min(horizontal.stride, reach + 1), reach / horizontal.stride)
        let chunks = planeElements / (bandColumns * chunkRows) / residues / min(vertical.stride, vertical.kernel)
        bandRows = min(chunkRows * max(1, chunks), vertical.output)
        rowBands = ceilDivide(vertical.output, bandRows)

        let places = try times(residues, bandColumns + residueReach, "a band")
        imagePitch = try places + times(horizontal.kernel, lanes, "a band")
        pointPitch = bandColumns
        imagePlane = try times(imagePitch, PackedAxis(vertical, outputs: bandRows).places, "a band")
        pointPlane = try times(pointPitch, bandRows, "a band")
        elements = layer.kernelElements
        let size = layer.elementBytes
        columnPlacesAt = 0
        imageAt = aligned(places * MemoryLayout<Int>.stride)
        pointsAt = imageAt + aligned(try times(imagePlane, layer.inChannelsPerGroup, "a band") * size)
        sumsAt = pointsAt + aligned(try times(pointPlane, layer.outChannelsPerGroup, "a band") * size)
        bytes = sumsAt + aligned(tileTaps * tileTaps * lanes * size)
        parts = 0
        totalBytes = 0
        parts = min(bands, mostParts)
        totalBytes = aligned(try times(times(elements, parts, "the sums"), totalSize, "the sums"))
    }

    /// The bands of one part of the sum.
    func addUp(
        part: Int, image: UnsafeRawPointer, points: UnsafeRawPointer, _ workspace: UnsafeMutableRawPointer,
        to totals: UnsafeMutableRawPointer
    ) {
        let totals = totals + part * elements * totalSize
        layer.elements.clear(totals, count: 2 * elements)
        for band in bands * part / parts..<bands * (part + 1) / parts {
            let firstColumn = band % columnBands * bandColumns
            let firstRow = band / columnBands % rowBands * bandRows
            let run = PlaneBand(
                image: band / columnBands / rowBands, rows: firstRow..<min(firstRow + bandRows, layer.vertical.output),
                columns: firstColumn..<min(firstColumn + bandColumns, layer.horizontal.output))
            addBand(run, image: image, points: points, workspace, to: totals)
        }
    }

    private func addBand(
        _ band: PlaneBand, image: UnsafeRawPointer, points: UnsafeRawPointer, _ workspace: UnsafeMutableRawPointer,
        to totals: UnsafeMutableRawPointer
    ) {
        let type = layer.elements
        let size = type.bytes
        let columnPlaces = (workspace + columnPlacesAt).assumingMemoryBound(to: Int.self)
        let lanes = table.lanes
        let down = PackedAxis(layer.vertical, outputs: band.rows.count)
        let tail = band.columns.count % lanes
        let stride = layer.horizontal.stride
        // Of a residue; those inside follow each other.
        let places = band.columns.count + residueReach
        let first = band.columns.lowerBound * stride - layer.horizontal.start
        for residue in 0..<residues {
            for place in 0..<places {
                columnPlaces[residue * places + place]
                    = borderIndex(first + residue + place * stride, layer.horizontal.input, layer.paddingMode) ?? -1
            }
        }
        let (inputs, outputs) = (layer.inChannelsPerGroup, layer.outChannelsPerGroup)
        for group in 0..<layer.groups {
            for input in 0..<inputs {
                let plane = image + (band.image * layer.input.batch + (group * inputs + input) * layer.input.channel) * size
                let packed = workspace + (imageAt + input * imagePlane * size)
                for residue in 0..<residues {
                    let (start, places) = (first + residue, residue * places..<(residue + 1) * places)
                    let low = min(places.lowerBound + max(ceilDivide(-start, stride), 0), places.upperBound)
                    let high = max(places.lowerBound + ceilDivide(layer.horizontal.input - start, stride), low)
                    let inside = low..<min(high, places.upperBound)
                    for place in 0..<down.places {
                        let target = packed + place * imagePitch * size
                        let (output, tap) = down.isDense(layer.vertical)
                            ? (0, place) : (place % band.rows.count * layer.vertical.stride,
                            place / band.rows.count * layer.vertical.dilation)
                        let index = band.rows.lowerBound * layer.vertical.stride + output + tap - layer.vertical.start
                        guard let row = borderIndex(index, layer.vertical.input, layer.paddingMode) else {
                            type.fill(target + places.lowerBound * size, with: layer.paddingValue, count: places.count)
                            continue
                        }
                        let line = plane + row * layer.input.row * size
                        func border(_ range: Range<Int>) {
                            for x in range {
                                let place = target + x * size
                                if columnPlaces[x] < 0 {
                                    type.fill(place, with: layer.paddingValue, count: 1)
                                } else {
                                    type.copy(line + columnPlaces[x] * layer.input.column * size, count: 1, to: place)
                                }
                            }
                        }
                        border(places.lowerBound..<inside.lowerBound)
                        if !inside.isEmpty {
                            type.packLine(
                                from: line + columnPlaces[inside.lowerBound] * layer.input.column * size,
                                stride: layer.input.column * stride, count: inside.count, to: target + inside.lowerBound * size)
                        }
                        border(inside.upperBound..<places.upperBound)
                    }
                }
                for place in 0..<down.places { fillTails(packed + place * imagePitch * size, band) }
            }
            for output in 0..<outputs {
                let plane = points + (band.image * layer.output.batch + (group * outputs + output) * layer.output.channel
                    + band.columns.lowerBound * layer.output.column) * size
                for row in 0..<band.rows.count {
                    let target = workspace + (pointsAt + (output * pointPlane + row * pointPitch) * size)
                    type.packLine(
                        from: plane + (band.rows.lowerBound + row) * layer.output.row * size, stride: layer.output.column,
                        count: band.columns.count, to: target)
                    if tail > 0 { type.clear(target + band.columns.count * size, count: lanes - tail) }
                }
            }
            for input in 0..<inputs {
                for output in 0..<outputs {
                    multiply(
                        workspace + (imageAt + input * imagePlane * size), workspace + (pointsAt + output * pointPlane * size),
                        band, down, workspace,
                        to: totals + ((group * inputs + input) * outputs + output)
                        * (layer.vertical.kernel * layer.horizontal.kernel) * totalSize)
                }
            }
        }
    }

    /// What the taps of each kernel column meet in the last, partial vector, and zeros: an infinity that they do not meet must
    /// not be multiplied by the zeros behind the points.
    private func fillTails(_ row: UnsafeMutableRawPointer, _ band: PlaneBand) {
        let (lanes, size) = (table.lanes, layer.elementBytes)
        let (start, tail) = (band.columns.count / lanes * lanes, band.columns.count % lanes)
        if tail == 0 { return }
        var target = row + (imagePitch - layer.horizontal.kernel * lanes) * size
        layer.elements.clear(target, count: layer.horizontal.kernel * lanes)
        for tap in 0..<layer.horizontal.kernel {
            copyLine(row + (start + columnOffset(tap, band)) * size, bytes: tail * size, to: target)
            target += lanes * size
        }
    }

    /// Where what a kernel column meets starts in a packed row.
    private func columnOffset(_ column: Int, _ band: PlaneBand) -> Int {
        if residues == 1 { return column * layer.horizontal.dilation }
        let (place, residue) = (column * layer.horizontal.dilation).quotientAndRemainder(dividingBy: layer.horizontal.stride)
        return residue * (band.columns.count + residueReach) + place
    }

    /// Of one pair of planes, `[tap row][tap column]`.
    private func multiply(
        _ image: UnsafeRawPointer, _ points: UnsafeRawPointer, _ band: PlaneBand, _ down: PackedAxis,
        _ workspace: UnsafeMutableRawPointer, to totals: UnsafeMutableRawPointer
    ) {
        let sums = workspace + sumsAt
        let (lanes, size) = (table.lanes, layer.elementBytes)
        let (rows, columns) = (layer.vertical.kernel, layer.horizontal.kernel)
        let vectors = band.columns.count / lanes
        let tails = band.columns.count % lanes == 0 ? 0 : 1
        var tapRow = 0
        while tapRow < rows {
            var tapColumn = 0
            while tapColumn < columns {
                // Taps beyond the kernel repeat the last one.
                var (rowOffsets, columnOffsets, tailOffsets) = (
                    InlineArray<3, Int>(repeating: 0), InlineArray<3, Int>(repeating: 0), InlineArray<3, Int>(repeating: 0))
                for i in 0..<tileTaps {
                    let column = min(tapColumn + i, columns - 1)
                    rowOffsets[i] = min(tapRow + i, rows - 1) * down.tapPitch * imagePitch
                    columnOffsets[i] = columnOffset(column, band)
                    tailOffsets[i] = imagePitch - (columns - column) * lanes
                }
                var row = 0
                while row < band.rows.count {
                    let arguments = PlaneProductArguments(
                        image: image + row * down.step * imagePitch * size, points: points + row * pointPitch * size,
                        rowOffsets: rowOffsets, columnOffsets: columnOffsets, tailOffsets: tailOffsets,
                        imagePitch: down.step * imagePitch, pointPitch: pointPitch,
                        rows: min(chunkRows, band.rows.count - row), vectors: vectors, tails: tails, sums: sums)
                    withUnsafePointer(to: arguments) { table.pointee.planes($0) }
                    for a in 0..<min(tileTaps, rows - tapRow) {
                        for b in 0..<min(tileTaps, columns - tapColumn) {
                            let total = totals + ((tapRow + a) * columns + tapColumn + b) * totalSize
                            let sum = sums + (a * tileTaps + b) * lanes * size
                            layer.isDouble ? addLanes(sum, to: total, Double.self) : addLanes(sum, to: total, Float.self)
                        }
                    }
                    row += chunkRows
                }
                tapColumn += tileTaps
            }
            tapRow += tileTaps
        }
    }

    /// Halves added to halves, and their sum to the total.
    private func addLanes<Scalar: KernelScalar>(
        _ values: UnsafeMutableRawPointer, to total: UnsafeMutableRawPointer, _: Scalar.Type
    ) {
        let values = values.assumingMemoryBound(to: Scalar.self)
        var half = table.lanes / 2
        while half > 0 {
            for lane in 0..<half { values[lane] += values[lane + half] }
            half /= 2
        }
        total.assumingMemoryBound(to: CompensatedSum<Scalar>.self).pointee.add(values[0])
    }

    /// Adds the parts and stores them, or adds them to what is there.
    func write(_ totals: UnsafeMutableRawPointer, to result: UnsafeMutableRawPointer) {
        layer.isDouble ? write(totals, to: result, Double.self) : write(totals, to: result, Float.self)
    }

    private func write<Scalar: KernelScalar>(
        _ totals: UnsafeMutableRawPointer, to result: UnsafeMutableRawPointer, _: Scalar.Type
    ) {
        let totals = totals.assumingMemoryBound(to: CompensatedSum<Scalar>.self)
        let result = result.assumingMemoryBound(to: Scalar.self)
        var element = 0
        for group in 0..<layer.groups {
            for input in 0..<layer.inChannelsPerGroup {
                for output in 0..<layer.outChannelsPerGroup {
                    for row in 0..<layer.vertical.kernel {
                        for column in 0..<layer.horizontal.kernel {
                            var total = totals[element]
                            for part in 1..<max(parts, 1) {
                                let other = totals[part * elements + element]
                                total.add(other.sum)
                                total.rest += other.rest
                            }
                            let place = result + layer.kernelIndex(row: row, column: column, input: input, output: output,
                                group: group)
                            place.pointee = layer.means.accumulates ? place.pointee + total.value : total.value
                            element += 1
                        }
                    }
                }
            }
        }
    }
}

/// A part of one image that is packed at once.
private struct PlaneBand {
    var image: Int
    var rows: Range<Int>
    var columns: Range<Int>
}
