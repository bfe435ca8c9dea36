import CConvolution

// From options and shapes to the C parameter structs, once for functions, shape functions and plans.

/// What the options of the verbs with a kernel have; `Conv2DOptions` says what each means.
protocol LayerOptions {
    var strides: (height: Int, width: Int) { get }
    var padding: Padding { get }
    var dilation: (height: Int, width: Int) { get }
    var flipKernel: Bool { get }
    var activation: Activation { get }
    var dataFormat: DataFormat { get }
    var allowsEmptyOutput: Bool { get }
    var workspaceLimit: Int { get }
    var threads: Int { get }
    var algorithm: Algorithm { get }
}

/// How the axes of a kernel array are read.
struct KernelAxes {
    var names: String
    /// Positions in the shape; the width follows the height.
    var height: Int
    var input: Int
    var output: Int
}

extension Parameters {
    /// Parameters for images of shape `inputShape`, with the number of their channels.
    static func forImages<Scalar: TensorScalar>(
        _ inputShape: [Int], of _: Scalar.Type, dataFormat: DataFormat, threads: Int
    ) throws(ConvolutionError) -> (parameters: Self, channels: Int) {
        try checkAxes(inputShape, "input", dataFormat.axisNames)
        let axes = dataFormat.axes
        var parameters = Self()
        parameters.struct_size = MemoryLayout<Self>.size
        parameters.batch = Int64(inputShape[0])
        parameters.height = Int64(inputShape[axes.height])
        parameters.width = Int64(inputShape[axes.height + 1])
        parameters.dtype = Scalar.dtype
        parameters.data_format = Int32(dataFormat.code)
        // Beyond 32 bits means beyond what is permitted, which C will say.
        parameters.threads = Int32(clamping: threads)
        return (parameters, inputShape[axes.channels])
    }

    /// The output will hold `residual`, if there is one, before the call.
    mutating func take<Scalar>(_ residual: Tensor<Scalar>?, shape: [Int]) throws(ConvolutionError) {
        guard let residual else { return }
        if residual.shape != shape {
            throw ConvolutionError(.shape, "residual has shape \(residual.shape); it must be that of the result, \(shape)")
        }
        accumulate = 1
    }
}

extension LayerParameters {
    /// All but kernel format, channels and groups, about which the verbs differ.
    mutating func fill(_ options: some LayerOptions, kernelShape: [Int], _ axes: KernelAxes) throws(ConvolutionError) {
        try checkAxes(kernelShape, "kernel", axes.names)
        kernel_height = Int64(kernelShape[axes.height])
        kernel_width = Int64(kernelShape[axes.height + 1])
        stride_height = try positive(options.strides.height, "stride_height", .stride)
        stride_width = try positive(options.strides.width, "stride_width", .stride)
        dilation_height = try positive(options.dilation.height, "dilation_height", .dilation)
        dilation_width = try positive(options.dilation.width, "dilation_width", .dilation)
        padding = Int32(options.padding.code)
        if case .explicit(let top, let bottom, let left, let right) = options.padding {
            (pad_top, pad_bottom, pad_left, pad_right) = (Int64(top), Int64(bottom), Int64(left), Int64(right))
        }
        flip_kernel = options.flipKernel ? 1 : 0
        allow_empty_output = options.allowsEmptyOutput ? 1 : 0
        workspace_limit = Int64(options.workspaceLimit)
        algorithm = Int32(options.algorithm.code)
        activation = Int32(options.activation.code)
        switch options.activation {
        case .clamp(let min, let max):
            (activation_min, activation_max) = (min, max)
        case .leakyRelu(let alpha):
            if alpha == 0 {
                throw ConvolutionError(
                    .activation, "activation_alpha is 0; it must be finite and not 0 (relu has no slope there)")
            }
            activation_alpha = alpha
        case .none, .relu, .relu6, .sigmoid, .tanh:
            break
        }
    }

    func checkBias<Scalar>(_ bias: [Scalar]?) throws(ConvolutionError) {
        if let bias, bias.count != Int(out_channels) {
            throw ConvolutionError(
                .shape, "bias has \(bias.count) elements; it must have one per output channel, \(out_channels)")
        }
    }
}

/// In C, 0 stands for the default. Here the default is in the signature, and a 0 is a mistake.
func positive(_ value: Int, _ name: String, _ status: ConvolutionError.Status) throws(ConvolutionError) -> Int64 {
    if value < 1 { throw ConvolutionError(status, "\(name) is \(value); it must be at least 1") }
    return Int64(value)
}

/// What does not fit in 64 bits becomes the largest number, which C refuses as an overflow.
func clampedProduct(_ a: Int, _ b: Int) -> Int64 {
    let (product, overflow) = a.multipliedReportingOverflow(by: b)
    return Int64(overflow ? .max : product)
}

private func checkAxes(_ shape: [Int], _ name: String, _ axes: String) throws(ConvolutionError) {
    if shape.count != 4 {
        throw ConvolutionError(.shape, "\(name) has shape \(shape); it must have four axes: \(axes)")
    }
    try checkLengths(shape, name)
}

func checkKernel(_ shape: [Int], _ axes: KernelAxes, inputs: Int, because reason: String) throws(ConvolutionError) {
    if shape[axes.input] != inputs {
        throw ConvolutionError(
            .shape, "kernel has shape \(shape) (\(axes.names)); with \(reason) its axis \(axes.input) must have length \(inputs)")
    }
}

/// Parameters ready for the C functions. The name of the tier is kept apart, since C strings live only as long as a closure.
struct Call<P: Parameters> {
    var parameters: P
    var isa: String?

    /// The status of `function`.
    func callAsFunction(_ function: (UnsafePointer<P>) -> Int32) -> Int32 {
        func run(_ isa: UnsafePointer<CChar>?) -> Int32 {
            var parameters = parameters
            parameters.isa = isa
            return withUnsafePointer(to: parameters, function)
        }
        return isa?.withCString(run) ?? run(nil)
    }

    func outputShape(_ function: (UnsafePointer<P>?, UnsafeMutablePointer<Int64>?) -> Int32) throws(ConvolutionError) -> [Int] {
        try shape { shape in self { function($0, shape) } }
    }

    func workspaceSize(
        _ function: (
            UnsafePointer<P>?, UnsafeMutablePointer<Int64>?, UnsafeMutablePointer<Int64>?, UnsafeMutablePointer<Int64>?
        ) -> Int32
    ) throws(ConvolutionError) -> WorkspaceSize {
        try WorkspaceSize { plan, execution, least in self { function($0, plan, execution, least) } }
    }

    func plan(
        destroy: @escaping @Sendable (OpaquePointer?) -> Void,
        _ create: (UnsafePointer<P>, UnsafeMutablePointer<OpaquePointer?>) -> Int32
    ) throws(ConvolutionError) -> PlanHandle {
        try PlanHandle(destroy: destroy) { plan in self { create($0, plan) } }
    }
}

/// The shape of four axes that `function` writes. It returns a status.
func shape(_ function: (UnsafeMutablePointer<Int64>) -> Int32) throws(ConvolutionError) -> [Int] {
    var shape = [Int64](repeating: 0, count: 4)
    try check(function(&shape))
    return shape.map { Int($0) }
}

/// Owns a C plan. That is read-only, so sharing it is safe.
final class PlanHandle: Sendable {
    private nonisolated(unsafe) let plan: OpaquePointer?
    private let destroy: @Sendable (OpaquePointer?) -> Void

    /// The plan that `create` writes. It returns a status.
    init(
        destroy: @escaping @Sendable (OpaquePointer?) -> Void, create: (UnsafeMutablePointer<OpaquePointer?>) -> Int32
    ) throws(ConvolutionError) {
        var plan: OpaquePointer?
        try check(create(&plan))
        self.plan = plan
        self.destroy = destroy
    }

    deinit { destroy(plan) }

    /// The status of `function`, while which the plan is not freed.
    func callAsFunction(_ function: (OpaquePointer?) -> Int32) -> Int32 {
        withExtendedLifetime(self) { function(plan) }
    }
}

/// Bytes that a layer takes.
public struct WorkspaceSize: Hashable, Sendable {
    /// A plan: the packed kernel and bias.
    public var plan: Int
    /// One execution beyond the plan, all its threads together.
    public var execution: Int
    /// The least `workspaceLimit` that the layer can be computed with.
    public var least: Int

    /// What `function` writes. It returns a status.
    init(
        _ function: (UnsafeMutablePointer<Int64>, UnsafeMutablePointer<Int64>, UnsafeMutablePointer<Int64>) -> Int32
    ) throws(ConvolutionError) {
        var (plan, execution, least): (Int64, Int64, Int64) = (0, 0, 0)
        try check(function(&plan, &execution, &least))
        (self.plan, self.execution, self.least) = (Int(plan), Int(execution), Int(least))
    }
}

extension Tensor {
    func copyElements(to memory: UnsafeMutableRawPointer?) {
        elements.withUnsafeBytes { bytes in
            guard let source = bytes.baseAddress else { return }
            memory?.copyMemory(from: source, byteCount: bytes.count)
        }
    }

    /// A plan is for inputs of one shape.
    func checkShape(_ expected: [Int]) throws(ConvolutionError) {
        if shape != expected {
            throw ConvolutionError(.shape, "input has shape \(shape); this plan is for inputs of shape \(expected)")
        }
    }
}
