import CConvolution
import CConvolutionShims
import ConvolutionKernels

// The adjoint of upsample2d: every input element gets what the output elements that it contributed to hand back, by the same
// weights. It is a resampling too, of the output's gradient by the tables of the upsampling turned round.

/// Read-only after creation.
struct UpsampleGradientPlan {
    var resampling: Resampling
    var arrays: Arrays
    /// The input rows and columns that contribute to anything.
    var rows: Range<Int>
    var columns: Range<Int>
    /// Makes these of the output's gradient; nil if there are none.
    var adjoint: UnsafeMutablePointer<ResamplingPlan>?
    /// Where these turned round would be too large, or hold little: the upsampling's.
    var upsampling: AxisTables?
    /// Copies that leave elements out: each output element is put back in its place, among zeros. Else the products of
    /// `upsampling` are added one after the other.
    var putsBack = false
}

/// An axis of an upsampling, turned round.
struct TurnedTable {
    var given: TapTable
    var givenOutputs: Int
    var inputs: Int
    var isDouble: Bool
    /// The input elements that contribute to anything.
    var touched = 0..<0
    /// Output elements, neighbours, that an input element contributes to at most.
    var taps = 1
    /// The first and the last of these for each input element.
    var reach: UnsafeMutablePointer<(first: Int, last: Int)>

    /// `reach` has room for `inputs` elements.
    init(_ given: TapTable, inputs: Int, outputs: Int, isDouble: Bool, _ reach: UnsafeMutablePointer<(first: Int, last: Int)>) {
        self.given = given
        givenOutputs = outputs
        self.inputs = inputs
        self.isDouble = isDouble
        self.reach = reach
        reach.update(repeating: (Int.max, -1), count: inputs)
        forEachTap { input, output, _ in
            reach[input] = (min(reach[input].first, output), max(reach[input].last, output))
        }
        var (first, end) = (0, inputs)
        while first < end, reach[first].last < 0 { first += 1 }
        while first < end, reach[end - 1].last < 0 { end -= 1 }
        touched = first..<end
        for i in touched {
            // Between the others: a weight of 0 for a neighbour's output element.
            if reach[i].last < 0 { reach[i] = (reach[i - 1].last, reach[i - 1].last) }
            taps = max(taps, reach[i].last - reach[i].first + 1)
        }
    }

    /// Calls `body` with input element, output element and weight. Taps without weight are none: they fill the table up.
    private func forEachTap(_ body: (Int, Int, Double) -> Void) {
        for entry in 0..<givenOutputs * given.taps {
            let weight = isDouble
                ? given.weights.assumingMemoryBound(to: Double.self)[entry]
                : Double(given.weights.assumingMemoryBound(to: Float.self)[entry])
            if weight != 0 { body(given.elements[entry], entry / given.taps, weight) }
        }
    }

    /// Some element contributes to very many others, as one at the border does where output and scale lead far outside, and all
    /// would have as many taps.
    var isWide: Bool { touched.count * taps > 16 * (inputs + givenOutputs * given.taps) }

    /// Those that are touched are the outputs of `table`.
    func fill(_ table: inout TapTable) {
        table.inside = 0..<touched.count
        for i in 0..<touched.count {
            let (first, last) = reach[touched.lowerBound + i]
            for k in 0..<taps { table.elements[i * taps + k] = min(first + k, last) }
        }
        let weights = table.weights
        weights.initializeMemory(as: UInt8.self, repeating: 0, count: touched.count * taps * (isDouble ? 8 : 4))
        forEachTap { input, output, weight in
            let entry = (input - touched.lowerBound) * taps + output - reach[input].first
            if isDouble {
                weights.assumingMemoryBound(to: Double.self)[entry] += weight
            } else {
                weights.assumingMemoryBound(to: Float.self)[entry] += Float(weight)
            }
        }
    }
}

func createGradientPlan(
    _ resampling: Resampling, isOnce: Bool = false
) throws(Failure) -> UnsafeMutablePointer<UpsampleGradientPlan> {
    let (rows, columns) = (resampling.vertical, resampling.horizontal)
    try resampling.checkInputDisjoint()
    let arrays = try resampling.gradientArrays
    let memory = try allocate(1, of: MemoryLayout<UpsampleGradientPlan>.size, "the plan")
    let plan = memory.bindMemory(to: UpsampleGradientPlan.self, capacity: 1)
    plan.initialize(
        to: UpsampleGradientPlan(
            resampling: resampling, arrays: arrays, rows: 0..<0, columns: 0..<0, adjoint: nil, upsampling: nil))
    if !resampling.hasOutput { return plan }
    do throws(Failure) {
        let upsampling = try AxisTables(resampling)
        defer { if plan.pointee.upsampling == nil { shim_free(upsampling.memory) } }
        let room = try allocate(rows.input + columns.input, of: 2 * MemoryLayout<Int>.stride, "the plan")
        defer { shim_free(room) }
        let reach = room.assumingMemoryBound(to: (first: Int, last: Int).self)
        let vertical = TurnedTable(
            upsampling.vertical, inputs: rows.input, outputs: rows.output, isDouble: resampling.isDouble, reach)
        let horizontal = TurnedTable(
            upsampling.horizontal, inputs: columns.input, outputs: columns.output, isDouble: resampling.isDouble,
            reach + rows.input)
        if vertical.touched.isEmpty || horizontal.touched.isEmpty { return plan }
        // Vectors are permuted faster than their elements are put back one by one, unless many are left out. Whatever the
        // strides: zeros beside what is put back have no sign.
        let isSparse = Double(rows.output) * Double(columns.output) <= Double(rows.input) * Double(columns.input) / 2
        plan.pointee.putsBack = resampling.method.copies && !resampling.method.extrapolates
            && vertical.taps == 1 && horizontal.taps == 1 && isSparse
        if plan.pointee.putsBack || vertical.isWide || horizontal.isWide {
            plan.pointee.upsampling = upsampling
            return plan
        }
        (plan.pointee.rows, plan.pointee.columns) = (vertical.touched, horizontal.touched)
        var adjoint = resampling
        (adjoint.input, adjoint.output) = (resampling.output, resampling.input)
        (adjoint.vertical.input, adjoint.vertical.output) = (rows.output, vertical.touched.count)
        (adjoint.horizontal.input, adjoint.horizontal.output) = (columns.output, horizontal.touched.count)
        // Nothing is copied, nothing lies outside: the tables say it all.
        (adjoint.method.interpolation, adjoint.method.coordinates) = (.bilinear, .halfPixel)
        plan.pointee.adjoint = try createPlan(adjoint, tables: (vertical, horizontal), isOnce: isOnce)
    } catch {
        destroy(plan)
        throw error
    }
    return plan
}

func destroy(_ plan: UnsafeMutablePointer<UpsampleGradientPlan>) {
    if let adjoint = plan.pointee.adjoint { destroy(adjoint) }
    if let upsampling = plan.pointee.upsampling { shim_free(upsampling.memory) }
    shim_free(plan)
}

func execute(
    _ plan: UnsafePointer<UpsampleGradientPlan>, outputGradient: UnsafeRawPointer?, inputGradient: UnsafeMutableRawPointer?
) throws(Failure) {
    guard let inputGradient else { return }
    let resampling = plan.pointee.resampling
    let (rows, columns, strides) = (plan.pointee.rows, plan.pointee.columns, resampling.input)
    if plan.pointee.putsBack, let outputGradient {
        putBack(plan, outputGradient, inputGradient)
        return
    }
    if let adjoint = plan.pointee.adjoint {
        let first = rows.lowerBound * strides.row + columns.lowerBound * strides.column
        try execute(adjoint, input: outputGradient, output: inputGradient + first * resampling.elementBytes)
    }
    if !resampling.accumulates, resampling.hasOutput { clearUntouched(plan.pointee, inputGradient) }
    if let upsampling = plan.pointee.upsampling, let outputGradient {
        if resampling.isDouble {
            addProducts(resampling, upsampling, outputGradient.assumingMemoryBound(to: Double.self), inputGradient)
        } else {
            addProducts(resampling, upsampling, outputGradient.assumingMemoryBound(to: Float.self), inputGradient)
        }
    }
}

private struct PuttingBack {
    var plan: UnsafePointer<UpsampleGradientPlan>
    var outputGradient: UnsafeRawPointer
    var inputGradient: UnsafeMutableRawPointer
    /// Input rows of a picture that are cleared together; they stay in a level-2 cache.
    var rowsPerBand: Int
    var bands: Int
}

private let bandBytes = 256 << 10

private func putBack(
    _ plan: UnsafePointer<UpsampleGradientPlan>, _ outputGradient: UnsafeRawPointer, _ inputGradient: UnsafeMutableRawPointer
) {
    let resampling = plan.pointee.resampling
    let (rows, columns) = (resampling.vertical, resampling.horizontal)
    let pictures = resampling.batch * resampling.planes
    let rowsPerBand = min(max(bandBytes / (columns.input * resampling.pixelChannels * resampling.elementBytes), 1), rows.input)
    var context = PuttingBack(
        plan: plan, outputGradient: outputGradient, inputGradient: inputGradient, rowsPerBand: rowsPerBand,
        bands: ceilDivide(rows.input, rowsPerBand))
    // An element that is cleared takes as long as two multiply-adds, one that is put back as sixteen.
    let work = Double(resampling.batch * resampling.channels)
        * (2 * Double(rows.input) * Double(columns.input) + 16 * Double(rows.output) * Double(columns.output))
    let items = pictures * context.bands
    runThreads(
        threadsToUse(requested: resampling.threads, items: items, work: work), items: items, work: work,
        putBackItems, shared: &context)
}

private func putBackItems(_ raw: UnsafeMutableRawPointer?) {
    guard let raw else { return }
    let context = raw.assumingMemoryBound(to: ThreadContext.self).pointee
    let shared = context.shared.assumingMemoryBound(to: PuttingBack.self).pointee
    let resampling = shared.plan.pointee.resampling
    guard let upsampling = shared.plan.pointee.upsampling else { return }
    let (from, to, elements) = (resampling.output, resampling.input, resampling.elements)
    let (size, inputRows, inputColumns) = (elements.bytes, resampling.vertical.input, resampling.horizontal.input)
    let (channels, planes, accumulates) = (resampling.pixelChannels, resampling.planes, resampling.accumulates)
    // Gaps between rows or pixels are not ours to write.
    let atOnce = to.column != channels ? channels : to.row != inputColumns * channels ? inputColumns * channels : 0
    let columns = UnsafePointer(upsampling.horizontal.elements)
    func putBack<Bits: BitwiseCopyable>(_ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, _: Bits.Type) {
        let (source, target) = (source.assumingMemoryBound(to: Bits.self), target.assumingMemoryBound(to: Bits.self))
        for i in 0..<resampling.horizontal.output { target[columns[i] &* to.column] = source[i &* from.column] }
    }
    while let item = context.nextItem() {
        let (picture, band) = item.quotientAndRemainder(dividingBy: shared.bands)
        let (image, plane) = picture.quotientAndRemainder(dividingBy: planes)
        let source = shared.outputGradient + (image * from.batch + plane * from.channel) * size
        let target = shared.inputGradient + (image * to.batch + plane * to.channel) * size
        let first = band * shared.rowsPerBand
        let rows = first..<min(first + shared.rowsPerBand, inputRows)
        if !accumulates {
            if atOnce == 0 { elements.clear(target + first * to.row * size, count: rows.count * to.row) }
            for row in rows where atOnce > 0 {
                for column in stride(from: 0, to: inputColumns, by: atOnce / channels) {
                    elements.clear(target + (row * to.row + column * to.column) * size, count: atOnce)
                }
            }
        }
        for row in 0..<resampling.vertical.output where rows.contains(upsampling.vertical.elements[row]) {
            var pixel = source + row * from.row * size
            let line = target + upsampling.vertical.elements[row] * to.row * size
            if channels == 1, !accumulates {
                size == 8 ? putBack(pixel, to: line, UInt64.self) : putBack(pixel, to: line, UInt32.self)
                continue
            }
            for column in 0..<resampling.horizontal.output {
                elements.copy(pixel, count: channels, to: line + columns[column] * to.column * size, adds: accumulates)
                pixel += from.column * size
            }
        }
    }
}

/// What contributes to nothing, or is the sum of products that are added one after the other.
private func clearUntouched(_ plan: UpsampleGradientPlan, _ inputGradient: UnsafeMutableRawPointer) {
    let resampling = plan.resampling
    let strides = resampling.input
    func clear(_ line: UnsafeMutableRawPointer, _ columns: Range<Int>) {
        for column in columns {
            for channel in 0..<resampling.channels {
                let element = column * strides.column + channel * strides.channel
                (line + element * resampling.elementBytes).initializeMemory(
                    as: UInt8.self, repeating: 0, count: resampling.elementBytes)
            }
        }
    }
    for image in 0..<resampling.batch {
        for row in 0..<resampling.vertical.input {
            let line = inputGradient + (image * strides.batch + row * strides.row) * resampling.elementBytes
            let made = plan.rows.contains(row) ? plan.columns : 0..<0
            clear(line, 0..<made.lowerBound)
            clear(line, made.upperBound..<resampling.horizontal.input)
        }
    }
}

private func addProducts<Scalar: KernelScalar>(
    _ resampling: Resampling, _ upsampling: AxisTables, _ outputGradient: UnsafePointer<Scalar>,
    _ inputGradient: UnsafeMutableRawPointer
) {
    let (rows, columns) = (upsampling.vertical, upsampling.horizontal)
    let rowWeights = rows.weights.assumingMemoryBound(to: Scalar.self)
    let columnWeights = columns.weights.assumingMemoryBound(to: Scalar.self)
    let (from, to) = (resampling.output, resampling.input)
    for image in 0..<resampling.batch {
        for row in 0..<resampling.vertical.output * rows.taps where rowWeights[row] != 0 {
            let source = outputGradient + image * from.batch + row / rows.taps * from.row
            let target = inputGradient.assumingMemoryBound(to: Scalar.self) + image * to.batch + rows.elements[row] * to.row
            for column in 0..<resampling.horizontal.output * columns.taps where columnWeights[column] != 0 {
                let weight = rowWeights[row] * columnWeights[column]
                let pixel = source + column / columns.taps * from.column
                let sum = target + columns.elements[column] * to.column
                for channel in 0..<resampling.channels {
                    sum[channel * to.channel] += weight * pixel[channel * from.channel]
                }
            }
        }
    }
}
