import ConvolutionKernels

// upsample2d: how the kernels that resample a row along itself find their input.

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
    var kernel: Kernel?

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
    var first = 0
    var step: Int
    var places: UnsafeMutableRawPointer

    /// `places` has room for four vectors. nil where columns are made otherwise.
    init?(
        _ table: TapTable, copies: Bool, width: Int, columns: Int, channels: Int, lanes: Int, _ places: UnsafeMutableRawPointer
    ) {
        let (taps, pairs) = copies ? (1, width) : (2, width - 1)
        guard table.taps == taps, columns == 2 * width, pairs * channels >= lanes else { return nil }
        let weights = table.weights.assumingMemoryBound(to: Float.self)
        // The two columns in the middle, number width and the next, read the same pixels or are of two pairs.
        if !copies { first = table.elements[2 * width] == table.elements[2 * width + 2] ? width & 1 : 1 - width & 1 }
        for pair in 0..<pairs {
            for side in 0..<2 {
                for tap in 0..<taps {
                    let entry = (first + 2 * pair + side) * taps + tap
                    if table.elements[entry] != pair + tap || weights[entry] != weights[(first + side) * taps + tap] {
                        return nil
                    }
                }
            }
        }
        step = lanes / channels * channels
        self.places = places
        for vector in 0..<4 {
            for lane in 0..<lanes {
                // The element of what a step makes.
                let element = vector & 1 == 0 ? lane : 2 * step - lanes + lane
                let pixel = element / channels
                let right = copies ? 0 : pixel % 2 * lanes
                let place = pixel / 2 * channels + element % channels + right + (vector < 2 ? 0 : lanes - step)
                places.assumingMemoryBound(to: Int32.self)[vector * lanes + lane] = Int32(place)
            }
        }
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
    var elementBytes: Int

    init(vertical: TapTable?, horizontal: TapTable?, width: Int, inputWidth: Int, elementBytes: Int) {
        (self.vertical, self.horizontal) = (vertical?.elements, horizontal?.elements)
        (self.width, self.inputWidth, self.elementBytes) = (width, inputWidth, elementBytes)
        weights = horizontal?.weights ?? vertical?.weights
        taps = horizontal?.taps ?? vertical?.taps ?? 1
    }

    struct Place {
        var row: Int
        var column: Int
    }

    /// Pixels, and how many rows these are if they are whole ones.
    struct Period {
        var pixels: Int
        var rows: Int
        /// How far the input of all pixels lies behind that of those a period before them, if this is sure.
        var shift: Int?
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

    /// From pixels to those that so many lie before.
    func period(_ pixels: Int, of all: Int) -> Period {
        var period = Period(pixels: pixels, rows: pixels % width == 0 ? pixels / width : 0)
        if period.rows == 0 || pixels >= all { return period }
        guard let vertical else {
            period.shift = period.rows * inputWidth
            return period
        }
        if horizontal == nil { return period }
        // Where nothing but elements differs from row to row, all rows may be alike.
        let shift = vertical[period.rows] - vertical[0]
        for row in period.rows..<all / width where vertical[row] - vertical[row - period.rows] != shift { return period }
        period.shift = shift * inputWidth
        return period
    }

    /// How far the input of some pixels lies behind that of those a period before them, if their weights are the same; else nil.
    func shift(_ pixels: Range<Int>, _ period: Period) -> Int? {
        if let shift = period.shift { return shift }
        var (place, before) = (place(pixels.lowerBound), place(pixels.lowerBound - period.pixels))
        let shift = element(place, 0) - element(before, 0)
        var pixel = pixels.lowerBound
        while pixel < pixels.upperBound {
            for tap in 0..<taps
            where element(place, tap) - element(before, tap) != shift || !hasEqualWeights(place, before, tap) { return nil }
            if period.rows > 0 {
                // The same columns: all pixels of the row.
                (place.row, before.row) = (place.row + 1, before.row + 1)
                pixel = place.row * width
            } else {
                advance(&place)
                advance(&before)
                pixel += 1
            }
        }
        return shift
    }

    private func hasEqualWeights(_ a: Place, _ b: Place, _ tap: Int) -> Bool {
        guard let weights else { return true }
        let (a, b) = (weight(a, tap) * elementBytes, weight(b, tap) * elementBytes)
        return elementBytes == 8
            ? weights.load(fromByteOffset: a, as: UInt64.self) == weights.load(fromByteOffset: b, as: UInt64.self)
            : weights.load(fromByteOffset: a, as: UInt32.self) == weights.load(fromByteOffset: b, as: UInt32.self)
    }
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
    /// short. A window lies within the row or, if that is shorter, begins with it. Beside it stands a vector before that has the
    /// same places in its window and the same weights, or -1: so many before it as one of the periods, vectors of whole pixels.
    func fillWindows(_ windows: UnsafeMutablePointer<Int>, most: Int, periods: (Int, Int)) -> Int? {
        let periods = (min(periods.0, vectors), min(periods.1, vectors))
        let first = pixels.period(periods.0 * lanes / channels, of: columns)
        let second = pixels.period(periods.1 * lanes / channels, of: columns)
        func shift(_ vector: Int, _ vectors: Int, _ period: PixelTaps.Period) -> Int? {
            if vector < vectors || begin(vector) != vector * lanes { return nil }
            return period.shift ?? pixels.shift(pixelRange(vector), period)
        }
        var longest = 0
        var vector = 0
        while vector < vectors {
            defer { vector += 1 }
            if let shift = first.shift, vector == periods.0 {
                // All but the last.
                while vector < vectors - 1 {
                    windows[2 * vector] = windows[2 * (vector - periods.0)] + shift * channels
                    windows[2 * vector + 1] = vector - periods.0
                    vector += 1
                }
            }
            var period = periods.0
            var shifted = shift(vector, period, first)
            if shifted == nil {
                period = periods.1
                shifted = shift(vector, period, second)
            }
            if let shifted {
                windows[2 * vector] = windows[2 * (vector - period)] + shifted * channels
                windows[2 * vector + 1] = vector - period
                continue
            }
            let span = pixels.span(pixelRange(vector))
            windows[2 * vector] = span.lowerBound * channels
            windows[2 * vector + 1] = -1
            longest = max(longest, span.count * channels)
        }
        if longest > most * lanes { return nil }
        let isShort = longest <= lanes && (copies || pixels.taps == 2 || pixels.taps == 4)
        let window = longest > 2 * lanes ? 4 * lanes : isShort ? lanes : 2 * lanes
        let last = max(rowElements - window, 0)
        for vector in (0..<vectors).reversed() {
            let (start, alike) = (windows[2 * vector], windows[2 * vector + 1])
            // Where one of two that are alike is moved, they are not.
            if alike >= 0, start != windows[2 * alike], max(start, windows[2 * alike]) > last { windows[2 * vector + 1] = -1 }
            windows[2 * vector] = min(start, last)
        }
        return window
    }

    /// Those that a vector has elements of.
    private func pixelRange(_ vector: Int) -> Range<Int> {
        let begin = begin(vector)
        return begin / channels..<min((begin + lanes - 1) / channels + 1, columns)
    }

    /// The entries of windows, and where they lie: those of a vector may be those of one before it. `places` and `weights` have
    /// room for all.
    func fill(
        _ windows: UnsafeMutablePointer<Int>, window: Int, isDouble: Bool, _ places: UnsafeMutableRawPointer,
        _ weights: UnsafeMutableRawPointer
    ) -> ColumnTable {
        let bytes = isDouble ? 8 : 4
        var end = 0
        for vector in 0..<vectors {
            let alike = windows[2 * vector + 1]
            if alike >= 0 {
                windows[2 * vector + 1] = windows[2 * alike + 1]
                continue
            }
            if isDouble {
                let to = places.assumingMemoryBound(to: Int64.self) + end
                fill(vector, to, weights.assumingMemoryBound(to: Double.self) + end, from: windows[2 * vector])
            } else {
                let to = places.assumingMemoryBound(to: Int32.self) + end
                fill(vector, to, weights.assumingMemoryBound(to: Float.self) + end, from: windows[2 * vector])
            }
            windows[2 * vector + 1] = end * bytes
            end += pixels.taps * lanes
        }
        return ColumnTable(kind: .permuted, window: window, sources: windows, places: places, weights: weights)
    }

    /// The elements themselves.
    func fillGathered(isDouble: Bool, _ places: UnsafeMutableRawPointer, _ weights: UnsafeMutableRawPointer) -> ColumnTable {
        let sources = places.assumingMemoryBound(to: Int.self)
        for vector in 0..<vectors {
            let end = vector * pixels.taps * lanes
            if isDouble {
                fill(vector, sources + end, weights.assumingMemoryBound(to: Double.self) + end, from: nil)
            } else {
                fill(vector, sources + end, weights.assumingMemoryBound(to: Float.self) + end, from: nil)
            }
        }
        return ColumnTable(kind: .gathered, window: 0, sources: sources, places: places, weights: weights)
    }

    /// `[taps][lanes]` of a vector: elements, or places in the window from `start` on, and weights.
    @inline(never)
    private func fill<Place: FixedWidthInteger, Scalar: KernelScalar>(
        _ vector: Int, _ places: UnsafeMutablePointer<Place>, _ weights: UnsafeMutablePointer<Scalar>, from start: Int?
    ) {
        guard let pixelWeights = pixels.weights?.assumingMemoryBound(to: Scalar.self) else { return }
        let begin = begin(vector)
        let (far, start) = (start == nil ? Int.max : 2 * lanes, start ?? 0)
        var pixel = begin / channels
        var channel = begin - pixel * channels
        var tapped = pixels.place(pixel)
        var lane = 0
        while lane < lanes {
            // Beyond the row's end: its last element again.
            let isLast = pixel >= columns - 1
            let end = isLast ? lanes : min(lane + channels - channel, lanes)
            for k in 0..<pixels.taps {
                let first = pixels.element(tapped, k) * channels - start
                let weight = pixelWeights[pixels.weight(tapped, k)]
                for i in lane..<end {
                    let place = first + min(channel + i - lane, channels - 1)
                    places[k * lanes + i] = place >= far
                        ? Place.min + Place(truncatingIfNeeded: place - far) : Place(truncatingIfNeeded: place)
                    weights[k * lanes + i] = weight
                }
            }
            (lane, pixel, channel) = (end, pixel + 1, 0)
            pixels.advance(&tapped)
        }
    }
}
