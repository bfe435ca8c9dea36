import CConvolution
import CConvolutionShims
import ConvolutionKernels

// conv2d of an upsampled image that never exists as a whole. Exact repetition becomes part of the convolution's lattices, whose
// taps then stand for sums of kernel elements. Any other upsampling goes band by band: the rows that a few output rows need, into
// scratch memory, then the items of an ordinary plan whose input is that band.

struct UpsampledConvolutionPlan {
    var both: UpsampledLayer
    var arrays: Arrays
    /// Of the whole layer, or of one band.
    var convolution: UnsafeMutablePointer<ConvolutionPlan>
    /// nil: there are no bands.
    var resampling: UnsafeMutablePointer<ResamplingPlan>?
    var band: Band
}

/// Output rows that are computed together. Their input, with the lines outside the image that they read, is an image of its own,
/// in which kernel elements are `dilation` rows apart: where their rows do not overlap, rows that nobody reads are left out.
struct Band {
    /// Output rows of all bands but the last, and bands of an image.
    var rows: Int
    var count: Int
    var dilation: Int
    var inputRows: Int

    static var none: Band { Band(rows: 0, count: 0, dilation: 1, inputRows: 0) }
}

/// A band's input stays in a level-2 cache, unless `fewRows` output rows need more.
private let bandBytes = 1 << 19
private let fewRows = 4

/// Products of an output element from which on phases pay: fewer cost less than storing elements that lie apart.
private let fewProducts = 64

extension UpsampledLayer {
    /// The same convolution of the input itself, if its elements are repeated by whole factors and that saves products; else nil.
    fileprivate var repeated: Layer? {
        guard layer.paddingMode != .reflect, let vertical = resampling.method.repetition(resampling.vertical),
            let horizontal = resampling.method.repetition(resampling.horizontal)
        else { return nil }
        var result = layer
        result.vertical.repetition = vertical
        result.horizontal.repetition = horizontal
        guard result.vertical.hasPhases, result.horizontal.hasPhases else { return nil }
        guard result.vertical.sumsTaps || result.horizontal.sumsTaps else { return nil }
        // Validation saw to it that a kernel fits in memory.
        guard layer.vertical.kernel * layer.horizontal.kernel * layer.inChannelsPerGroup >= fewProducts else { return nil }
        result.vertical.input = resampling.vertical.input
        result.horizontal.input = resampling.horizontal.input
        result.input = resampling.input
        return result
    }

    /// The upsampling of a band, whose planes are longer than those of an image of one pixel.
    fileprivate var resamplingOfBands: Resampling {
        var result = resampling
        if layer.channelsFirst { result.output.channel = max(2, result.output.channel) }
        return result
    }

    /// Elements of one row of the upsampled image.
    fileprivate var width: Int { layer.horizontal.input * layer.inChannels }

    /// Bands of `rows` output rows.
    fileprivate func band(_ rows: Int) -> Band {
        let axis = layer.vertical
        let reach = (rows - 1) * axis.stride + 1
        let dilation = min(axis.dilation, reach)
        return Band(
            rows: rows, count: ceilDivide(axis.output, rows), dilation: dilation, inputRows: (axis.kernel - 1) * dilation + reach)
    }

    /// Output rows of a band: bands enough for all threads, none with too much memory.
    fileprivate func bandRows() -> Int {
        let threads = threadsAvailable(requested: layer.threads)
        let most = max(1, layer.vertical.output / (threads == 1 ? 1 : ceilDivide(4 * threads, layer.batch)))
        var rows = min(fewRows, most)
        while rows < most, band(rows + 1).inputRows <= bandBytes / layer.elementBytes / width { rows += 1 }
        return rows
    }

    /// The convolution of a band as a layer of its own, which leaves the upsampling `scratch` bytes.
    fileprivate func part(_ band: Band, scratch: Int) throws(Failure) -> Layer {
        let elements = try times(band.inputRows, width, "the rows of a band")
        var part = layer
        part.batch = 1
        part.threads = 1
        part.means.keepsRows = true
        part.means.workspaceLimit -= band.bytes(self) + scratch
        part.vertical = Axis(
            input: band.inputRows, kernel: layer.vertical.kernel, stride: layer.vertical.stride, dilation: band.dilation,
            output: band.rows, start: 0)
        part.input = layer.channelsFirst
            ? Strides(batch: elements, row: layer.horizontal.input, column: 1, channel: band.inputRows * layer.horizontal.input)
            : Strides(batch: elements, row: width, column: layer.inChannels, channel: 1)
        return part
    }

    /// What `make` makes of the convolution of a band, for bands as high as the workspace's limit permits.
    fileprivate func bands<Made>(
        scratch: Int, _ make: (Layer) throws(Failure) -> Made
    ) throws(Failure) -> (Made, Band) {
        var rows = bandRows()
        while true {
            do throws(Failure) {
                return (try make(part(band(rows), scratch: scratch)), band(rows))
            } catch {
                if error.status != Int32(CONVOLUTION_ERROR_WORKSPACE) { throw error }
                if rows == 1 {
                    throw Failure.workspace(layer, "this layer needs at least", try leastWorkspaceOfBands(scratch))
                }
                rows = max(1, rows / 2)
            }
        }
    }

    /// Bands of one output row need the least.
    fileprivate func leastWorkspaceOfBands(_ scratch: Int) throws(Failure) -> Int {
        try leastWorkspace(part(band(1), scratch: scratch)) + band(1).bytes(self) + scratch
    }

    /// The convolution that is computed without bands, nil if there is none.
    fileprivate var whole: Layer? {
        // Without input channels or output nothing is read, whatever the layer says of it.
        layer.hasOutput && layer.inChannels > 0 ? repeated : layer
    }

    /// Threads of one execution in bands, each of which needs `bytes`; `work` is that of one band's convolution.
    fileprivate func threads(_ band: Band, work: Double, bytes: Int) -> Int {
        let items = layer.batch * band.count
        let threads = threadsToUse(requested: layer.threads, items: items, work: work * Double(items))
        return max(1, min(threads, layer.means.workspaceLimit / bytes))
    }
}

extension Band {
    /// Of a thread's copy of the input.
    fileprivate func bytes(_ both: UpsampledLayer) -> Int { (inputRows * both.width * both.layer.elementBytes + 63) / 64 * 64 }
}

extension Axis {
    /// Some tap stands for more than one kernel element.
    fileprivate var sumsTaps: Bool { dilation < repetition && kernel > 1 }
}

extension UpsampledLayer {
    /// The convolution, had its input the sizes and strides of the upsampling's.
    var withArrays: Layer {
        var layer = layer
        layer.vertical.input = resampling.vertical.input
        layer.horizontal.input = resampling.horizontal.input
        layer.input = resampling.input
        return layer
    }
}

func createPlan(
    _ both: UpsampledLayer, kernel: UnsafeRawPointer?, bias: UnsafeRawPointer?
) throws(Failure) -> UnsafeMutablePointer<UpsampledConvolutionPlan> {
    let arrays = try both.withArrays.arrays
    let memory = try allocate(1, of: MemoryLayout<UpsampledConvolutionPlan>.stride, "the plan")
    let plan = memory.bindMemory(to: UpsampledConvolutionPlan.self, capacity: 1)
    do throws(Failure) {
        if let whole = both.whole {
            plan.initialize(
                to: UpsampledConvolutionPlan(
                    both: both, arrays: arrays, convolution: try createPlan(whole, kernel: kernel, bias: bias), resampling: nil,
                    band: .none))
            return plan
        }
        let resampling = try createPlan(both.resamplingOfBands, mayTurn: false)
        do throws(Failure) {
            let scratch = resampling.pointee.scratch.bytes
            let (convolution, band) = try both.bands(scratch: scratch) { (part) throws(Failure) in
                try createPlan(part, kernel: kernel, bias: bias)
            }
            plan.initialize(
                to: UpsampledConvolutionPlan(
                    both: both, arrays: arrays, convolution: convolution, resampling: resampling, band: band))
        } catch {
            destroy(resampling)
            throw error
        }
    } catch {
        shim_free(memory)
        throw error
    }
    return plan
}

func destroy(_ plan: UnsafeMutablePointer<UpsampledConvolutionPlan>) {
    destroy(plan.pointee.convolution)
    if let resampling = plan.pointee.resampling { destroy(resampling) }
    shim_free(plan)
}

extension UpsampledConvolutionPlan {
    /// For each thread: a convolution's workspace, a band's input, an upsampling's scratch memory.
    fileprivate var workspaceBytes: Int {
        convolution.pointee.workspace.bytes + band.bytes(both) + (resampling?.pointee.scratch.bytes ?? 0)
    }

    fileprivate var executionThreads: Int { both.threads(band, work: convolution.pointee.work, bytes: workspaceBytes) }
}

func workspaceSize(_ both: UpsampledLayer) throws(Failure) -> WorkspaceNeed {
    guard both.layer.hasOutput else { return WorkspaceNeed() }
    let planBytes = MemoryLayout<UpsampledConvolutionPlan>.stride
    if let whole = both.whole {
        var size = try workspaceSize(whole)
        size.plan += planBytes
        return size
    }
    let resampling = try createPlan(both.resamplingOfBands, mayTurn: false)
    defer { destroy(resampling) }
    let scratch = resampling.pointee.scratch.bytes
    var (size, band) = try both.bands(scratch: scratch) { (part) throws(Failure) in try workspaceSize(part) }
    let bytes = size.execution + band.bytes(both) + scratch
    size.plan += planBytes + resampling.pointee.bytes
    size.execution = both.threads(band, work: size.work, bytes: bytes) * bytes
    size.least = try both.leastWorkspaceOfBands(scratch)
    return size
}

private struct BandExecution {
    var plan: UnsafePointer<UpsampledConvolutionPlan>
    var input: UnsafeRawPointer
    var output: UnsafeMutableRawPointer
    var workspace: UnsafeMutableRawPointer
    var workspaceBytes: Int
}

func execute(
    _ plan: UnsafePointer<UpsampledConvolutionPlan>, input: UnsafeRawPointer?, output: UnsafeMutableRawPointer?
) throws(Failure) {
    guard plan.pointee.resampling != nil else {
        try execute(plan.pointee.convolution, input: input, output: output)
        return
    }
    guard let input, let output else { return }
    let threads = plan.pointee.executionThreads
    let workspaceBytes = plan.pointee.workspaceBytes
    let memory = try allocate(threads, of: workspaceBytes, "the workspace")
    var execution = BandExecution(
        plan: plan, input: input, output: output, workspace: memory, workspaceBytes: workspaceBytes)
    withUnsafeMutablePointer(to: &execution) { shared in
        runThreads(
            threads, items: plan.pointee.both.layer.batch * plan.pointee.band.count, work: .infinity,
            plan.pointee.both.layer.isDouble ? { runBands($0, Double.self) } : { runBands($0, Float.self) },
            shared: UnsafeMutableRawPointer(shared))
    }
    shim_free(memory)
}

private func runBands<Scalar: KernelScalar>(_ raw: UnsafeMutableRawPointer?, _: Scalar.Type) {
    guard let raw else { return }
    let context = raw.assumingMemoryBound(to: ThreadContext.self).pointee
    let execution = context.shared.assumingMemoryBound(to: BandExecution.self)
    let plan = execution.pointee.plan
    let layer = plan.pointee.both.layer
    let band = plan.pointee.band
    let convolution = UnsafePointer(plan.pointee.convolution)
    let workspace = execution.pointee.workspace + context.number * execution.pointee.workspaceBytes
    let rows = (workspace + convolution.pointee.workspace.bytes).assumingMemoryBound(to: Scalar.self)
    var block = convolution.pointee.blocks[0]
    while let item = context.nextItem() {
        let image = item / band.count
        let firstRow = item % band.count * band.rows
        let count = min(band.rows, layer.vertical.output - firstRow)
        fill(
            plan, execution.pointee.input.assumingMemoryBound(to: Scalar.self) + image * plan.pointee.both.resampling.input.batch,
            firstRow: firstRow, count: count, to: rows,
            scratch: UnsafeMutableRawPointer(rows) + band.bytes(plan.pointee.both))
        // The last band may be lower than those that the plan is made for.
        block.vertical.count = count
        block.rowBands = ceilDivide(count, block.bandRows)
        let target = execution.pointee.output.assumingMemoryBound(to: Scalar.self) + image * layer.output.batch
            + firstRow * layer.output.row
        withUnsafePointer(to: block) { block in
            for part in 0..<(block.pointee.rowBands * block.pointee.columnBands * block.pointee.panelChunks) {
                runItem(convolution, block, part, UnsafePointer(rows), target, workspace)
            }
        }
    }
}

/// The input of the band of `count` output rows from `firstRow` on.
private func fill<Scalar: KernelScalar>(
    _ plan: UnsafePointer<UpsampledConvolutionPlan>, _ image: UnsafePointer<Scalar>, firstRow: Int, count: Int,
    to rows: UnsafeMutablePointer<Scalar>, scratch: UnsafeMutableRawPointer
) {
    guard let resampling = plan.pointee.resampling else { return }
    let layer = plan.pointee.both.layer
    let band = plan.pointee.band
    let axis = layer.vertical
    let strides = plan.pointee.convolution.pointee.layer.input
    let outside = Scalar(layer.paddingValue)

    /// The row of the upsampled image that stands in `row` of the band: nil if it is outside.
    func source(_ row: Int) -> Int? {
        let tap = row / band.dilation
        let place = firstRow * axis.stride + tap * axis.dilation + row % band.dilation - axis.start
        return borderIndex(place, axis.input, layer.paddingMode)
    }
    /// Some output row reads `row`.
    func isRead(_ row: Int) -> Bool {
        if band.dilation == axis.dilation { return row % axis.stride <= (axis.kernel - 1) * axis.dilation }
        let place = row % band.dilation
        return place % axis.stride == 0 && place / axis.stride < count
    }

    let end = (axis.kernel - 1) * band.dilation + (count - 1) * axis.stride + 1
    var row = 0
    while row < end {
        var next = row + 1
        if isRead(row) {
            let place = rows + row * strides.row
            if let first = source(row) {
                while next < end, isRead(next), let index = source(next), index == first + next - row { next += 1 }
                for plane in 0..<resampling.pointee.planes {
                    for chunk in 0..<resampling.pointee.chunks {
                        resample(
                            resampling, image, plane: plane, chunk: chunk, rows: first..<(first + next - row), to: place, strides,
                            streaming: false, scratch)
                    }
                }
            } else if layer.channelsFirst {
                for channel in 0..<layer.inChannels {
                    (place + channel * strides.channel).update(repeating: outside, count: layer.horizontal.input)
                }
            } else {
                place.update(repeating: outside, count: strides.row)
            }
        }
        row = next
    }
}
