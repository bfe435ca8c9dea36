import CConvolutionShims
import ConvolutionKernels

// Kernel gradients of depthwise layers and groups of few output channels. Lanes are image channels; for three by three taps at a
// time the kernel walks along the rows of points (`accumulateTapGradients`, for most depthwise layers
// `accumulateDepthwiseGradients`). A vector of points is permuted, so that each image channel meets the same output channel of
// its group: the first, then the second, and so on. See `KernelGradient.swift` for the names.

/// Taps of a kernel call, on each axis.
private let tileTaps = 3
/// Groups with more output channels fill vectors.
private let mostOutputs = 8
/// Pixels of a band, about. A vector's lines lie a pixel apart: the longer it walks along them, the better they are fetched.
private let pixelsOfBand = 2048
/// Sums of an item, in elements: they stay in a level-2 cache.
private let itemSums = 1 << 18
/// Multiply-adds that are divided into some items per thread; less is one item each, as each item lays out all addresses.
private let dividedWork = 1 << 26
/// So many points ahead a kernel that finds pixels by addresses fetches images that a level-2 cache does not hold, and those of
/// this many bytes: lines that lie a pixel apart are not foreseen beyond a page.
private let pointsAhead = (some: 16, many: 48)
private let fetchedBytes = (some: 1 << 20, many: 4 << 20)
/// Of such images, pixels of so many bytes are met by two vectors at once: few of them share a page. Of others those that points
/// with a stride meet a multiple of so many bytes apart: they share sets of a level-1 cache.
private let pairedBytes = (least: 1 << 10, period: 1 << 9)

/// How the points of a row find their taps among the addresses of image pixels. Points that lie `classes` apart read pixels a
/// dilation apart, so each class has addresses of its own: point q of a class finds tap b at q * step + b.
private struct TapColumns {
    let axis: Axis
    let points: Int
    let classes: Int
    let step: Int

    init(_ axis: Axis, points: Int) {
        self.axis = axis
        self.points = points
        let common = greatestCommonDivisor(axis.stride, axis.dilation)
        classes = min(axis.dilation / common, points)
        // Points that share no pixels have addresses for each tap.
        step = min(axis.stride / common, axis.kernel)
    }

    /// Points of a class.
    func count(_ first: Int) -> Int { (points &- first &+ classes &- 1) / classes }

    /// Addresses of a class. Taps beyond the kernel, of which there are up to two, have some too.
    func places(_ first: Int) -> Int { (count(first) &- 1) &* step &+ ceilDivide(axis.kernel, tileTaps) &* tileTaps }

    /// Addresses of all classes.
    var places: Int { (points &- classes) &* step &+ classes &* (ceilDivide(axis.kernel, tileTaps) &* tileTaps) }

    /// The image column of an address, counted from that of the first point's first tap. What has none gets the last.
    func column(_ first: Int, _ place: Int) -> Int {
        let (point, tap) = step < axis.kernel ? (0, place) : (place / step, place % step)
        let last = (points &- 1) &* axis.stride &+ (axis.kernel &- 1) &* axis.dilation
        return min((first &+ point &* classes) &* axis.stride &+ tap &* axis.dilation, last)
    }
}

struct WalkGradientPlan {
    /// The convolution whose input is the image.
    private let layer: Layer
    private let table: UnsafePointer<KernelTable>
    private let bands: GradientBands
    /// Depthwise: image channels meet their own channel of the points.
    private let isDepthwise: Bool
    /// The kernel finds a vector's points by permuting a vector. Otherwise, and if not depthwise, they are gathered.
    private let permutes: Bool
    /// Channels last: the kernel reads the caller's arrays.
    private let readsImage: Bool
    private let readsPoints: Bool
    /// Otherwise pixels of the image alone are packed, none of a border, where points that are neighbours share pixels.
    private let packsInside: Bool
    /// Depthwise with a stride of 1 or 2 and a border of one value: the kernel finds pixels by where their rows begin, without
    /// addresses of each.
    private let direct: Kernel?
    /// The same for two vectors that are neighbours.
    private let pairs: Kernel?
    /// Elements from pixel to pixel of what is packed.
    private let packedPitch: Int
    /// Of image channels. The last one begins so early that it ends with the last channel, if there are so many.
    private let vectors: Int
    private let vectorsPerItem: Int
    let items: Int
    private let tileRows: Int
    private let tileColumns: Int
    /// Elements of a vector's sums: `[tile][tap][output channel of the group][lane]`.
    private let vectorSums: Int
    /// The sums stand in the result itself: its lines are those of one tile.
    private let addsInPlace: Bool
    /// Elements of an item's sums: all vectors', or if there is one band those of one vector, which are complete then.
    private let sums: Int

    /// Byte offsets into one thread's scratch memory, and its size.
    private let columnPlacesAt: Int
    private let addressesAt: Int
    private let segmentsAt: Int
    private let placesAt: Int
    private let offsetsAt: Int
    private let outsideAt: Int
    private let imageAt: Int
    private let pointsAt: Int
    private let sumsAt: Int
    let bytes: Int
    private let ahead: Int

    private var size: Int { layer.elementBytes }

    /// Vectors of multiply-adds per pixel, in those of outer products.
    static func work(_ layer: Layer, _ table: UnsafePointer<KernelTable>) -> Double {
        if layer.groups == 1 || layer.outChannelsPerGroup > mostOutputs { return .infinity }
        let tiles = ceilDivide(layer.vertical.kernel, tileTaps) * ceilDivide(layer.horizontal.kernel, tileTaps)
        let work = layer.outChannelsPerGroup * ceilDivide(layer.inChannels, table.lanes) * tiles * tileTaps * tileTaps
        // Few registers, or many copies.
        let slides = table.pointee.slidingTapGradients[1] != nil
        return Double(work) * (!layer.isDepthwise && !permutes(layer, table) ? 4 : slides ? 1 : 1.5)
    }

    /// Whether each vector of image channels has its points in one vector.
    private static func permutes(_ layer: Layer, _ table: UnsafePointer<KernelTable>) -> Bool {
        let (outputs, lanes) = (layer.outChannelsPerGroup, table.lanes)
        // A tier with a `groupTile` has the instruction.
        if table.pointee.groupTile == nil || layer.isDepthwise { return false }
        for vector in 0..<ceilDivide(layer.inChannels, lanes) {
            let channels = Self.channels(vector, layer, lanes)
            if (groups(channels, layer) - 1) * outputs >= lanes { return false }
        }
        return true
    }

    /// Of the channels of a vector.
    private static func groups(_ channels: Range<Int>, _ layer: Layer) -> Int {
        (channels.upperBound - 1) / layer.inChannelsPerGroup - channels.lowerBound / layer.inChannelsPerGroup + 1
    }

    private static func channels(_ vector: Int, _ layer: Layer, _ lanes: Int) -> Range<Int> {
        let first = min(vector &* lanes, max(layer.inChannels &- lanes, 0))
        return first..<min(first &+ lanes, layer.inChannels)
    }

    init(_ layer: Layer, _ table: UnsafePointer<KernelTable>, work: Double) throws(Failure) {
        self.layer = layer
        self.table = table
        bands = GradientBands(layer, pixels: pixelsOfBand)
        isDepthwise = layer.isDepthwise
        let inputBytes = layer.batch * layer.vertical.input * layer.horizontal.input * layer.inChannels * layer.elementBytes
        ahead = inputBytes > fetchedBytes.many ? pointsAhead.many : inputBytes > fetchedBytes.some ? pointsAhead.some : 0
        let across = TapColumns(layer.horizontal, points: bands.columns)
        let isTile = layer.vertical.kernel <= tileTaps && layer.horizontal.kernel <= tileTaps
        // What is packed of such an image has no border either: the order of a sum is the same in any format.
        let sharesPixels = layer.paddingMode == .constant && layer.vertical.dilation == 1 && layer.horizontal.dilation == 1
            && layer.vertical.stride <= layer.vertical.kernel && layer.horizontal.stride <= layer.horizontal.kernel
        let stride = layer.horizontal.stride
        if isDepthwise, sharesPixels, stride < tileTaps, layer.horizontal.start <= tileTaps - stride {
            direct = table.pointee.depthwiseGradients[stride - 1]
            let pixel = layer.inChannels * layer.elementBytes
            let isPaired = ahead > 0 ? pixel >= pairedBytes.least : stride > 1 && stride * pixel % pairedBytes.period == 0
            pairs = isTile && isPaired ? table.pointee.depthwiseGradientPairs[stride - 1] : nil
        } else {
            (direct, pairs) = (nil, nil)
        }
        packedPitch = pairs == nil ? table.lanes : 2 * table.lanes
        permutes = Self.permutes(layer, table)
        let lanes = table.lanes
        let size = layer.elementBytes
        // Pixels that are a multiple of a page apart share few sets of the caches: of 512 bytes where each is read many times.
        let reads = layer.outChannelsPerGroup * layer.vertical.kernel * layer.horizontal.kernel
        let period = reads > 64 ? 512 : bands.pixels > 256 ? 4096 : Int.max
        readsImage = layer.input.channel == 1 && layer.inChannels >= lanes
            && (pairs != nil || layer.input.column * layer.horizontal.stride * size % period != 0)
        packsInside = !readsImage && sharesPixels
        readsPoints = layer.output.channel == 1 && layer.outChannels >= lanes && (isDepthwise || permutes)

        vectors = ceilDivide(layer.inChannels, lanes)
        tileRows = ceilDivide(layer.vertical.kernel, tileTaps)
        tileColumns = ceilDivide(layer.horizontal.kernel, tileTaps)
        let tiles = try times(tileRows, tileColumns * tileTaps * tileTaps, "the sums")
        vectorSums = try times(tiles, layer.outChannelsPerGroup * lanes, "the sums")
        addsInPlace = isDepthwise && layer.vertical.kernel == tileTaps && layer.horizontal.kernel == tileTaps
            && layer.kernelStrides.group == 1 && layer.inChannels % lanes == 0 && !bands.isBlocked && !layer.means.accumulates
            && !layer.flipKernel
        let threads = threadsToUse(requested: layer.threads, items: vectors, work: work)
        let wanted = threads == 1 ? 1 : work < Double(dividedWork) ? threads : 4 * threads
        let most = max(1, min(ceilDivide(vectors, wanted), bands.isSingle ? vectors : itemSums / vectorSums))

        let columns = across.places
        let rows = PackedAxis(layer.vertical, outputs: bands.rows).places
        let places = try times(times(bands.images, rows, "a band"), columns, "a band")
        let word = MemoryLayout<Int>.stride
        let segments = bands.images * bands.rows * across.classes
        columnPlacesAt = aligned(max(rows, bands.rows) * word)
        addressesAt = columnPlacesAt + aligned(max(columns, bands.columns) * word)
        // The last points fetch ahead too.
        segmentsAt = addressesAt + pointsAhead.many * word + aligned(try times(places, word, "a band"))
        placesAt = segmentsAt + aligned(try times(segments * MemoryLayout<TapSegment>.stride, tileRows, "a band"))
        offsetsAt = placesAt + aligned(lanes * size)
        outsideAt = offsetsAt + aligned(lanes * word)
        imageAt = outsideAt + aligned((readsImage ? layer.inChannels : packedPitch) * size)
        pointsAt = imageAt + (readsImage ? 0 : try times(places, packedPitch * size, "a band"))
        sumsAt = aligned(pointsAt + (readsPoints ? 0 : bands.pixels * packedPitch * size))
        // No more vectors than a limit of the workspace has room for.
        let vectorBytes = try times(vectorSums, (bands.isBlocked ? 3 : 1) * size, "the sums")
        let room = (layer.means.workspaceLimit - sumsAt) & ~63
        let perItem = bands.isSingle ? most : max(1, min(most, room / vectorBytes))
        let perCall = pairs == nil ? 1 : 2
        vectorsPerItem = max(perItem / perCall, 1) * perCall
        items = ceilDivide(vectors, vectorsPerItem)
        let together = bands.isSingle ? perCall : vectorsPerItem
        sums = try times(vectorSums, together, "the sums")
        bytes = sumsAt + aligned(try times(vectorBytes, together, "the sums"))
    }

    /// One item of work on one thread.
    func run(
        _ item: Int, image: UnsafeRawPointer, points: UnsafeRawPointer, _ workspace: UnsafeMutableRawPointer,
        to result: UnsafeMutableRawPointer
    ) {
        let elements = layer.elements
        let vectors = item * vectorsPerItem..<min((item + 1) * vectorsPerItem, self.vectors)
        elements.fill(
            workspace + outsideAt, with: layer.paddingValue, count: readsImage ? layer.inChannels : packedPitch)
        let sums = workspace + sumsAt
        // Every lane meets its own, unless they are permuted.
        for lane in 0..<table.lanes {
            layer.isDouble
                ? (workspace + placesAt).storeBytes(of: Int64(lane), toByteOffset: lane * 8, as: Int64.self)
                : (workspace + placesAt).storeBytes(of: Int32(lane), toByteOffset: lane * 4, as: Int32.self)
        }
        let packer = PixelPacker(
            elements: elements, rows: workspace.assumingMemoryBound(to: Int.self),
            columns: (workspace + columnPlacesAt).assumingMemoryBound(to: Int.self))
        bands.addUp(in: sums, count: self.sums, elements) { band, isFirst in
            let across = across(band)
            layOut(band, across, image: image, points: points, workspace)
            var vector = vectors.lowerBound
            while vector < vectors.upperBound {
                // The last vector may overlap the one before.
                let isPair = pairs != nil && (vector + 2) * table.lanes <= layer.inChannels
                let channels = isPair
                    ? vector * table.lanes..<(vector + 2) * table.lanes : Self.channels(vector, layer, table.lanes)
                let target = addsInPlace ? result + channels.lowerBound * size
                    : bands.isSingle ? sums : sums + (vector - vectors.lowerBound) * vectorSums * size
                if !readsImage {
                    let area = packsInside ? inside(band) : nil
                    if let area {
                        for row in 0..<area.rows.count { packer.rows[row] = area.rows.lowerBound &+ row }
                        for column in 0..<area.columns.count { packer.columns[column] = area.columns.lowerBound &+ column }
                    } else {
                        fillImage(packer.rows, packer.columns, band, across)
                    }
                    packer.pack(
                        image, layer.input,
                        (band.images, area?.rows.count ?? down(band).places, area?.columns.count ?? across.places),
                        channels: channels.lowerBound, count: channels.count, pitch: packedPitch, outside: layer.paddingValue,
                        to: workspace + imageAt)
                }
                var last = -1
                for output in 0..<layer.outChannelsPerGroup {
                    let first = firstPoint(channels, output)
                    if !isDepthwise, !permutes {
                        layer.isDouble
                            ? gather(band, points.assumingMemoryBound(to: UInt64.self), channels, output, workspace)
                            : gather(band, points.assumingMemoryBound(to: UInt32.self), channels, output, workspace)
                    } else if !readsPoints, first != last {
                        for row in 0..<band.rows.count { packer.rows[row] = band.rows.lowerBound + row }
                        for column in 0..<band.columns.count { packer.columns[column] = band.columns.lowerBound + column }
                        packer.pack(
                            points, layer.output, (band.images, band.rows.count, band.columns.count), channels: first,
                            count: min(packedPitch, layer.outChannels - first), pitch: packedPitch, outside: 0,
                            to: workspace + pointsAt)
                    }
                    if permutes {
                        let places = workspace + placesAt
                        layer.isDouble
                            ? matchPoints(channels, output, first, last, places.assumingMemoryBound(to: Int64.self))
                            : matchPoints(channels, output, first, last, places.assumingMemoryBound(to: Int32.self))
                    }
                    last = first
                    multiply(
                        band, across, channels, first, workspace, to: target + output * table.lanes * size, isPair: isPair,
                        continues: !isFirst)
                }
                let count = isPair ? 2 : 1
                if bands.isSingle, !addsInPlace {
                    for i in 0..<count { write(vector + i, target + i * vectorSums * size, to: result) }
                }
                vector += count
            }
        }
        if bands.isSingle || addsInPlace { return }
        for vector in vectors { write(vector, sums + (vector - vectors.lowerBound) * vectorSums * size, to: result) }
    }

    private func down(_ band: GradientBand) -> PackedAxis { PackedAxis(layer.vertical, outputs: band.rows.count) }
    private func across(_ band: GradientBand) -> TapColumns { TapColumns(layer.horizontal, points: band.columns.count) }

    /// The first output channel of the vector of points that has channel `output` of all groups of a vector: the same one for all
    /// of them, where they fit.
    private func firstPoint(_ channels: Range<Int>, _ output: Int) -> Int {
        if isDepthwise { return max(0, min(channels.lowerBound, layer.outChannels &- table.lanes)) }
        let groups = Self.groups(channels, layer)
        let outputs = layer.outChannelsPerGroup
        let offset = groups * outputs <= table.lanes ? 0 : groups == 1 ? output / table.lanes * table.lanes : output
        return max(0, min(channels.lowerBound / layer.inChannelsPerGroup * outputs + offset, layer.outChannels - table.lanes))
    }

    /// What a band reads of each image.
    private func inside(_ band: GradientBand) -> (rows: Range<Int>, columns: Range<Int>) {
        func inside(_ axis: Axis, _ outputs: Range<Int>, places: Int) -> Range<Int> {
            let first = outputs.lowerBound &* axis.stride &- axis.start
            let start = min(max(first, 0), axis.input)
            return start..<max(start, min(first &+ places, axis.input))
        }
        return (
            inside(layer.vertical, band.rows, places: (band.rows.count &- 1) &* layer.vertical.stride &+ layer.vertical.kernel),
            inside(
                layer.horizontal, band.columns,
                places: (band.columns.count &- 1) &* layer.horizontal.stride &+ layer.horizontal.kernel))
    }

    /// The index of each place in the image, -1 for outside.
    private func fillImage(
        _ rows: UnsafeMutablePointer<Int>, _ columns: UnsafeMutablePointer<Int>, _ band: GradientBand,
        _ across: TapColumns
    ) {
        fillPlaces(rows, layer.vertical, down(band), outputs: band.rows, layer.paddingMode)
        let origin = band.columns.lowerBound * layer.horizontal.stride - layer.horizontal.start
        var target = columns
        for first in 0..<across.classes {
            for place in 0..<across.places(first) {
                let column = origin &+ across.column(first, place)
                target.pointee = borderIndex(column, layer.horizontal.input, layer.paddingMode) ?? -1
                target += 1
            }
        }
    }

    /// The addresses of a band's pixels: of the image row by row, unless the kernel needs none, and the rows that each segment
    /// reads.
    @_optimize(speed)
    private func layOut(
        _ band: GradientBand, _ across: TapColumns, image: UnsafeRawPointer, points: UnsafeRawPointer,
        _ workspace: UnsafeMutableRawPointer
    ) {
        let down = down(band)
        let pitch = across.places
        let rows = workspace.assumingMemoryBound(to: Int.self)
        let columns = (workspace + columnPlacesAt).assumingMemoryBound(to: Int.self)
        if direct == nil {
            fillImage(rows, columns, band, across)
        } else {
            fillPlaces(rows, layer.vertical, down, outputs: band.rows, layer.paddingMode)
        }
        let addresses = (workspace + addressesAt).assumingMemoryBound(to: UnsafeRawPointer.self)
        var address = addresses
        let outside = UnsafeRawPointer(workspace + outsideAt)
        let isPacked = !readsImage && !packsInside
        // The pixel of index 0 in the band's first image, and from pixel to pixel.
        var origin = image + band.images.lowerBound &* layer.input.batch &* size
        var (batch, line, pixel) = (layer.input.batch &* size, layer.input.row &* size, layer.input.column &* size)
        if !readsImage {
            origin = UnsafeRawPointer(workspace) + imageAt
            pixel = packedPitch &* size
        }
        if packsInside {
            let inside = inside(band)
            line = inside.columns.count &* pixel
            batch = inside.rows.count &* line
            origin -= inside.rows.lowerBound &* line &+ inside.columns.lowerBound &* pixel
        } else if isPacked {
            line = pitch &* pixel
            batch = down.places &* line
        }
        if direct == nil {
            // From here on bytes from the first pixel of a row.
            let nowhere = Int.min
            for column in 0..<pitch {
                columns[column] = isPacked ? column &* pixel : columns[column] < 0 ? nowhere : columns[column] &* pixel
            }
            for image in 0..<band.images.count {
                for row in 0..<down.places {
                    let place = isPacked ? row : rows[row]
                    if place < 0 {
                        for column in 0..<pitch { address[column] = outside }
                    } else {
                        let first = origin + (image &* batch &+ place &* line)
                        for column in 0..<pitch {
                            let offset = columns[column]
                            address[column] = offset == nowhere ? outside : first + offset
                        }
                    }
                    address += pitch
                }
            }
        }
        // A row of taps beyond the kernel would not be the next one's.
        let sharesRows = direct != nil && layer.vertical.stride == layer.horizontal.stride
        var segment = (workspace + segmentsAt).assumingMemoryBound(to: TapSegment.self)
        for tileRow in 0..<tileRows {
            for image in 0..<band.images.count {
                for row in 0..<band.rows.count {
                    var addressLine = addresses + (image &* down.places &+ row &* down.step) &* pitch
                    for first in 0..<across.classes {
                        var lines = InlineArray<3, UnsafeRawPointer>(repeating: outside)
                        var pitches = InlineArray<3, Int>(repeating: 0)
                        for a in 0..<tileTaps {
                            // Taps beyond the kernel repeat the last one.
                            let tap = min(tileRow &* tileTaps &+ a, layer.vertical.kernel &- 1)
                            let place = tap &* down.tapPitch
                            if direct == nil {
                                lines[a] = UnsafeRawPointer(addressLine + place &* pitch)
                            } else if rows[row &* down.step &+ place] >= 0 {
                                lines[a] = origin + (image &* batch &+ rows[row &* down.step &+ place] &* line)
                                pitches[a] = pixel
                            }
                        }
                        let point = readsPoints
                            ? points + ((band.images.lowerBound &+ image) &* layer.output.batch
                                &+ (band.rows.lowerBound &+ row) &* layer.output.row
                                &+ (band.columns.lowerBound &+ first) &* layer.output.column) &* size
                            : UnsafeRawPointer(workspace + pointsAt)
                                + ((image &* band.rows.count &+ row) &* band.columns.count &+ first) &* (packedPitch &* size)
                        segment.initialize(
                            to: TapSegment(
                                image: lines, pitches: pitches, points: point, length: across.count(first),
                                sharesRows: sharesRows && row &+ 1 < band.rows.count
                                    && (tileRow &+ 1) &* tileTaps <= layer.vertical.kernel))
                        segment += 1
                        addressLine += across.places(first)
                    }
                }
            }
        }
    }

    /// The products of a vector of image channels and one output channel of each of their groups.
    private func multiply(
        _ band: GradientBand, _ across: TapColumns, _ channels: Range<Int>, _ firstPoint: Int,
        _ workspace: UnsafeMutableRawPointer, to sums: UnsafeMutableRawPointer, isPair: Bool, continues: Bool
    ) {
        let segments = band.images.count &* band.rows.count &* across.classes
        let word = MemoryLayout<UnsafeRawPointer>.stride
        let pitch = (readsPoints ? layer.output.column : packedPitch) &* across.classes &* size
        let sliding = across.step < 3 ? table.pointee.slidingTapGradients[across.step - 1] : nil
        let kernel = (isPair ? pairs : direct ?? sliding) ?? table.pointee.tapGradients
        // A place among the addresses, or a column.
        let firstColumn = direct == nil ? 0 : band.columns.lowerBound &* layer.horizontal.stride &- layer.horizontal.start
        let tap = direct == nil ? word : 1
        var arguments = TapGradientArguments(
            segments: UnsafePointer((workspace + segmentsAt).assumingMemoryBound(to: TapSegment.self)), count: segments,
            segmentsPerChunk: bands.segmentsPerChunk &* across.classes, column: firstColumn, step: across.step &* word,
            imageOffset: readsImage ? channels.lowerBound &* size : 0, pointOffset: readsPoints ? firstPoint &* size : 0,
            pointPitch: pitch, pointAhead: ahead &* pitch, ahead: ahead &* word, places: workspace + placesAt, tile: sums,
            tilePitch: (addsInPlace ? layer.inChannels : layer.outChannelsPerGroup &* table.lanes) &* size, continues: continues,
            width: layer.horizontal.input, outside: UnsafeRawPointer(workspace + outsideAt),
            vectorPitch: (addsInPlace ? table.lanes : vectorSums) &* size)
        for _ in 0..<tileRows {
            arguments.column = firstColumn
            for _ in 0..<tileColumns {
                withUnsafePointer(to: arguments) { kernel($0) }
                arguments.column &+= tileTaps &* tap
                arguments.tile += tileTaps &* tileTaps &* arguments.tilePitch
            }
            arguments.segments += segments
        }
    }

    /// Which channels of a vector of points the image channels meet. (Lanes without an image channel meet any.)
    private func matchPoints<Place: FixedWidthInteger>(
        _ channels: Range<Int>, _ output: Int, _ first: Int, _ last: Int, _ places: UnsafeMutablePointer<Place>
    ) {
        // After the output channel before, in the same vector.
        if first == last {
            for lane in 0..<table.lanes { places[lane] &+= 1 }
            return
        }
        var (group, input) = channels.lowerBound.quotientAndRemainder(dividingBy: layer.inChannelsPerGroup)
        for lane in 0..<table.lanes {
            places[lane] = Place(truncatingIfNeeded: group &* layer.outChannelsPerGroup &+ output &- first)
            input &+= 1
            if input == layer.inChannelsPerGroup { (group, input) = (group &+ 1, 0) }
        }
    }

    /// `[point][lane]` of one output channel of each lane's group.
    @inline(never)
    private func gather<Bits: BitwiseCopyable>(
        _ band: GradientBand, _ points: UnsafePointer<Bits>, _ channels: Range<Int>, _ output: Int,
        _ workspace: UnsafeMutableRawPointer
    ) {
        let offsets = (workspace + offsetsAt).assumingMemoryBound(to: Int.self)
        for lane in 0..<table.lanes {
            let group = min(channels.lowerBound + lane, channels.upperBound - 1) / layer.inChannelsPerGroup
            offsets[lane] = (group * layer.outChannelsPerGroup + output) * layer.output.channel
        }
        var place = (workspace + pointsAt).assumingMemoryBound(to: Bits.self)
        // Lanes of a group each are equally far apart, perhaps from pixel to pixel too.
        let lanes = table.lanes
        let step = layer.outChannelsPerGroup * layer.output.channel
        let isEven = layer.inChannelsPerGroup == 1 && channels.count == lanes && step == 2 && !layer.isDouble
        let run = layer.output.column == lanes * step ? band.columns.count : 1
        for image in band.images {
            for row in band.rows {
                let line = points + (image &* layer.output.batch &+ row &* layer.output.row)
                if isEven {
                    for column in stride(from: band.columns.lowerBound, to: band.columns.upperBound, by: run) {
                        layer.elements.packLine(
                            from: line + (column &* layer.output.column &+ offsets[0]), stride: step, count: run &* lanes,
                            to: place)
                        place += run &* lanes
                    }
                    continue
                }
                for column in band.columns {
                    let pixel = line + column &* layer.output.column
                    // A tier has two at least.
                    var lane = 0
                    while lane < lanes {
                        place[lane] = pixel[offsets[lane]]
                        place[lane &+ 1] = pixel[offsets[lane &+ 1]]
                        lane &+= 2
                    }
                    place += lanes
                }
            }
        }
    }

    /// Stores the sums of a vector, or adds them to what is there.
    private func write(_ vector: Int, _ sums: UnsafeRawPointer, to result: UnsafeMutableRawPointer) {
        let (elements, size) = (layer.elements, size)
        let (inputs, outputs, lanes) = (layer.inChannelsPerGroup, layer.outChannelsPerGroup, table.lanes)
        let strides = layer.kernelStrides
        let channels = Self.channels(vector, layer, lanes)
        let laneStride = inputs == 1 ? strides.group : strides.input
        let rowStride = layer.flipKernel ? -strides.row : strides.row
        let columnStride = layer.flipKernel ? -strides.column : strides.column
        // Lanes before are those of the vector before.
        var channel = vector * lanes
        while channel < channels.upperBound {
            let (group, input) = inputs == 1 ? (channel, 0) : channel.quotientAndRemainder(dividingBy: inputs)
            let count = inputs == 1 ? channels.upperBound - channel : min(inputs - input, channels.upperBound - channel)
            let corner = result + layer.kernelIndex(row: 0, column: 0, input: input, output: 0, group: group) &* size
            // Taps that are neighbours in the array, of whole tiles or of their rows, are turned together.
            let turnsTaps = outputs == 1 && laneStride != 1 && strides.column == 1 && !layer.means.accumulates
            let turnsTiles = turnsTaps && layer.horizontal.kernel == tileTaps && rowStride == tileTaps &* columnStride
            // Of the taps of a row of tiles, and of the tile.
            var (rowOfTile, tilesBefore) = (0, 0)
            for row in 0..<layer.vertical.kernel {
                var (columnOfTile, tap) = (0, tilesBefore &+ rowOfTile &* tileTaps)
                for column in 0..<layer.horizontal.kernel {
                    let source = sums + (tap &* outputs &* lanes &+ channel &- channels.lowerBound) &* size
                    let (rowOfTap, columnOfTap) = (rowOfTile, columnOfTile)
                    tap &+= 1
                    columnOfTile &+= 1
                    if columnOfTile == tileTaps {
                        columnOfTile = 0
                        tap &+= (tileTaps &- 1) &* tileTaps
                    }
                    let target = corner + (row &* rowStride &+ column &* columnStride) &* size
                    if turnsTaps {
                        if columnOfTap > 0 || turnsTiles && rowOfTap > 0 { continue }
                        let taps = turnsTiles ? min(tileTaps, layer.vertical.kernel &- row) &* tileTaps
                            : min(tileTaps, layer.horizontal.kernel &- column)
                        // The first in the array is the last tap if the kernel is flipped.
                        let last = layer.flipKernel ? taps &- 1 : 0
                        elements.packPixels(
                            from: source + last &* lanes &* size, columnStride: 1,
                            channelStride: layer.flipKernel ? -lanes : lanes, columns: count, channels: taps,
                            pixelPitch: laneStride, to: target - last &* size)
                    } else if layer.means.accumulates || outputs == 1 && laneStride == 1 || strides.output != 1 && outputs > 1 {
                        for output in 0..<outputs {
                            elements.copy(
                                source + output &* lanes &* size, count: count, to: target + output &* strides.output &* size,
                                targetStride: laneStride, adds: layer.means.accumulates)
                        }
                    } else {
                        elements.packPixels(
                            from: source, columnStride: 1, channelStride: lanes, columns: count, channels: outputs,
                            pixelPitch: laneStride, to: target)
                    }
                }
                rowOfTile &+= 1
                if rowOfTile == tileTaps {
                    rowOfTile = 0
                    tilesBefore &+= tileColumns &* tileTaps &* tileTaps
                }
            }
            channel += count
        }
    }
}
