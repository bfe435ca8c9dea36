import CConvolution
import CConvolutionShims
import ConvolutionKernels

// The gradient of a layer with respect to its kernel. With a convolution's input as `image` and its output gradient as `points`,
//
//     kernelGradient[a][b][c][o] = sum over images and pixels y, x of image[y * stride + a * dilation - pad][...][c] *
//     points[y][x][o]
//
// For conv2d_transpose image and points change places: it is the adjoint of a convolution with the same kernel array. Bands of
// pixels are packed and multiplied tap by tap: outer products of the channels of one image pixel and one point, added up in
// registers.

/// How a layer's gradient is computed.
private enum GradientAlgorithm {
    /// There are no products.
    case zeros
    case outerProducts(OuterProductPlan)
    case walk(WalkGradientPlan)
    case winograd(WinogradGradientPlan)
    case planes(PlaneGradientPlan)
}

/// A layer's kernel gradient: all that its sizes decide. Read-only after creation. A method of what a pointer points to copies
/// all of it first, which took up to a third of a tiny execution: so functions take the pointer.
struct KernelGradientPlan {
    /// The forward layer.
    fileprivate let layer: Layer
    fileprivate let kernelElements: Int
    fileprivate let input: Footprint
    fileprivate let output: Footprint
    fileprivate let algorithm: GradientAlgorithm
    /// The input stands for the points, and the output's gradient for the image.
    fileprivate let exchanges: Bool
    fileprivate let items: Int
    /// Multiply-adds.
    fileprivate let work: Double
    /// Of one thread's scratch memory, and what all share.
    fileprivate let bytes: Int
    fileprivate let sharedBytes: Int

    init(_ layer: Layer) throws(Failure) {
        self.layer = layer
        kernelElements = layer.kernelElements
        input = try layer.inputFootprint
        output = try layer.outputFootprint
        let convolution = layer.transposed ? layer.adjoint : layer
        work = Double(layer.kernelElements) * Double(layer.batch)
            * Double(convolution.vertical.output * convolution.horizontal.output)
        var sharedBytes = 0
        var exchanges = layer.transposed
        if layer.kernelElements == 0 || !convolution.hasOutput || convolution.vertical.input == 0
            || convolution.horizontal.input == 0
        {
            (algorithm, items, bytes) = (.zeros, 0, 0)
        } else {
            // In any format: the order of the sum follows from the vectors.
            let table = layer.fillsNarrowVectors ? layer.tier.narrow.float32 : layer.table
            let work = OuterProductWork(
                convolution, table, PackedAxis(convolution.horizontal, outputs: convolution.horizontal.output))
            let byOuterProducts = work.apart
            let byWalk = WalkGradientPlan.work(convolution, table)
            // For few channels, whatever lies beside them, and rows of a vector or more. Of less than two, half of a row may be
            // its tail. Doubles' chunks are shorter: more of the time goes into adding up their lanes. With strides a row is
            // packed in parts, which pays where the channels would hardly fill a vector.
            let columns = convolution.horizontal.output
            let limit = columns < 2 * table.lanes ? 0.5 : convolution.isDouble ? 1.75 : 2.5
            if convolution.inChannels + convolution.outChannels <= 12, columns >= table.lanes,
                let byPlanes = PlaneGradientPlan.work(convolution, lanes: table.lanes),
                convolution.horizontal.stride == 1 ? byPlanes <= limit * min(byOuterProducts, byWalk)
                    : convolution.isDepthwise && convolution.outChannels < min(5, table.lanes)
                    && columns >= 8 * (convolution.outChannels + 1)
            {
                let chosen = try PlaneGradientPlan(convolution, table)
                (algorithm, items, bytes) = (.planes(chosen), chosen.parts, chosen.bytes)
                sharedBytes = chosen.totalBytes
            } else if convolution.takesWinogradGradient {
                let chosen = try WinogradGradientPlan(convolution, table)
                (algorithm, items, bytes) = (.winograd(chosen), chosen.items, chosen.bytes)
            } else if byWalk <= byOuterProducts {
                let chosen = try WalkGradientPlan(convolution, table, work: self.work)
                (algorithm, items, bytes) = (.walk(chosen), chosen.items, chosen.bytes)
            } else {
                var chosen = convolution
                if let other = convolution.exchanged(table, computed: work.computed) {
                    chosen = other
                    exchanges.toggle()
                }
                let plan = try OuterProductPlan(chosen, table)
                (algorithm, items, bytes) = (.outerProducts(plan), plan.items, plan.bytes)
            }
        }
        (self.sharedBytes, self.exchanges) = (sharedBytes, exchanges)
        if bytes + sharedBytes > layer.means.workspaceLimit {
            throw Failure.workspace(layer, "this kernel gradient needs at least", bytes + sharedBytes)
        }
    }
}

extension Layer {
    /// Without strides, and with zeros outside, points and image may change places: a convolution of the points by the turned
    /// kernel. If its tiles compute clearly less for each pixel: those of few output channels are hardly filled, but taps beside
    /// each other fill them.
    fileprivate func exchanged(_ table: UnsafePointer<KernelTable>, computed: Double) -> Layer? {
        guard groups == 1, vertical.stride == 1, horizontal.stride == 1, vertical.repetition == 1, horizontal.repetition == 1,
            paddingMode == .constant, paddingValue == 0
        else { return nil }
        var layer = adjoint
        layer.takeCounterpart()
        let work = OuterProductWork(layer, table, PackedAxis(layer.horizontal, outputs: layer.horizontal.output))
        let (pixels, points) = (vertical.input * horizontal.input, vertical.output * horizontal.output)
        return 1.25 * work.computed * Double(pixels) < computed * Double(points) ? layer : nil
    }
}

func checkArrays(
    _ plan: UnsafePointer<KernelGradientPlan>, input: UnsafeRawPointer?, outputGradient: UnsafeRawPointer?,
    kernelGradient: UnsafeRawPointer?
) throws(Failure) {
    let elements = plan.pointee.kernelElements
    if kernelGradient == nil, elements > 0 {
        throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "kernel_gradient is NULL; it must point to \(elements) elements")
    }
    // `elementBytes` would copy the layer.
    let result = extent(kernelGradient, bytes: elements * (plan.pointee.layer.isDouble ? 8 : 4))
    try checkApart(result, of: "kernel_gradient", plan.pointee.input.extent(at: input, "input"), "input")
    try checkApart(
        result, of: "kernel_gradient", plan.pointee.output.extent(at: outputGradient, "output_gradient"), "output_gradient")
}

/// What one thread does.
private func takeItems(
    _ plan: UnsafePointer<KernelGradientPlan>, _ context: ThreadContext, _ execution: KernelGradientExecution,
    _ shared: UnsafeMutableRawPointer
) {
    let workspace = shared + (plan.pointee.sharedBytes + context.number * plan.pointee.bytes)
    let (image, points, result) = (execution.image, execution.points, execution.result)
    switch plan.pointee.algorithm {
    case .zeros:
        break
    case .walk(let plan):
        while let item = context.nextItem() { plan.run(item, image: image, points: points, workspace, to: result) }
    case .winograd(let plan):
        while let item = context.nextItem() { plan.run(item, image: image, points: points, workspace, to: result) }
    case .outerProducts(let plan):
        while let item = context.nextItem() {
            let run = OuterProductItem(plan, item, image: image, points: points, workspace)
            run.addUp(result)
            run.write(to: result)
        }
    case .planes(let plan):
        while let part = context.nextItem() {
            plan.addUp(part: part, image: image, points: points, workspace, to: shared)
        }
    }
}

/// With arrays that have been checked.
func execute(
    _ plan: UnsafePointer<KernelGradientPlan>, input: UnsafeRawPointer?, outputGradient: UnsafeRawPointer?,
    kernelGradient: UnsafeMutableRawPointer?
) throws(Failure) {
    guard let kernelGradient, plan.pointee.kernelElements > 0 else { return }
    let exchanges = plan.pointee.exchanges
    guard plan.pointee.items > 0, let image = exchanges ? outputGradient : input, let points = exchanges ? input : outputGradient
    else {
        // Nothing to add.
        let layer = plan.pointee.layer
        if !layer.means.accumulates { layer.elements.clear(kernelGradient, count: layer.kernelElements) }
        return
    }
    let (bytes, sharedBytes) = (plan.pointee.bytes, plan.pointee.sharedBytes)
    let threads = min(
        threadsToUse(requested: plan.pointee.layer.threads, items: plan.pointee.items, work: plan.pointee.work),
        (plan.pointee.layer.means.workspaceLimit - sharedBytes) / bytes)
    var execution = KernelGradientExecution(plan: plan, threads: threads, image: image, points: points, result: kernelGradient)
    try withWorkspace(1, of: sharedBytes + threads * bytes, &execution) { shared, workspace in
        guard let execution = shared?.assumingMemoryBound(to: KernelGradientExecution.self) else { return }
        execution.pointee.workspace = workspace
        let plan = execution.pointee.plan
        runThreads(
            execution.pointee.threads, items: plan.pointee.items, work: plan.pointee.work, { runItems($0) },
            shared: UnsafeMutableRawPointer(execution))
        // The planes' totals.
        guard plan.pointee.sharedBytes > 0, case .planes(let planes) = plan.pointee.algorithm, let workspace else { return }
        planes.write(workspace, to: execution.pointee.result)
    }
}

/// One execution, shared by its threads.
private struct KernelGradientExecution {
    var plan: UnsafePointer<KernelGradientPlan>
    var threads: Int
    var image: UnsafeRawPointer
    var points: UnsafeRawPointer
    var result: UnsafeMutableRawPointer
    /// What all share, then each thread's.
    var workspace: UnsafeMutableRawPointer?
}

private func runItems(_ raw: UnsafeMutableRawPointer?) {
    guard let raw else { return }
    let context = raw.assumingMemoryBound(to: ThreadContext.self).pointee
    let execution = context.shared.assumingMemoryBound(to: KernelGradientExecution.self).pointee
    guard let workspace = execution.workspace else { return }
    takeItems(execution.plan, context, execution, workspace)
}

func createKernelGradientPlan(_ layer: Layer) throws(Failure) -> UnsafeMutablePointer<KernelGradientPlan> {
    try allocated { () throws(Failure) in try KernelGradientPlan(layer) }
}

func destroy(_ plan: UnsafeMutablePointer<KernelGradientPlan>) {
    shim_free(plan)
}
