import CConvolution
import CConvolutionShims
import ConvolutionKernels

// A layer or an upsampling as a linear operator A on whole batches: the Gram product A' * (A * x), and the test that A' is its
// adjoint.

/// The linear part of a call's parameters.
protocol LinearOperator {
    var isDouble: Bool { get }
    /// Elements of input and output, packed.
    var inputCount: Int { get }
    var outputCount: Int { get }
    /// y = A * x
    func apply(_ kernel: UnsafeRawPointer?, _ x: UnsafeRawPointer, to y: UnsafeMutableRawPointer) throws(Failure)
    /// x = A' * y
    func applyAdjoint(_ kernel: UnsafeRawPointer?, _ y: UnsafeRawPointer, to x: UnsafeMutableRawPointer) throws(Failure)
}

extension Layer: LinearOperator {
    // Validation saw to it that these products are no overflow, unless there is no element at all.
    var inputCount: Int {
        adjoint.hasOutput ? batch * vertical.input * horizontal.input * inChannels : 0
    }
    var outputCount: Int { hasOutput ? batch * vertical.output * horizontal.output * outChannels : 0 }

    /// The linear part, which a constant outside the input would not be.
    var linearPart: Layer {
        get throws(Failure) {
            try checkLinear(self)
            var layer = self
            layer.activation = .none
            return layer
        }
    }

    func apply(_ kernel: UnsafeRawPointer?, _ x: UnsafeRawPointer, to y: UnsafeMutableRawPointer) throws(Failure) {
        if !hasOutput { return }
        let plan = try createPlan(self, kernel: kernel, bias: nil)
        defer { destroy(plan) }
        try execute(plan, input: x, output: y)
    }

    func applyAdjoint(_ kernel: UnsafeRawPointer?, _ y: UnsafeRawPointer, to x: UnsafeMutableRawPointer) throws(Failure) {
        let plan = try createInputGradientPlan(self, kernel: kernel)
        defer { destroy(plan) }
        try execute(plan, outputGradient: y, inputGradient: x)
    }
}

extension Resampling: LinearOperator {
    var inputCount: Int { hasOutput ? batch * vertical.input * horizontal.input * channels : 0 }
    var outputCount: Int { hasOutput ? batch * vertical.output * horizontal.output * channels : 0 }

    func apply(_: UnsafeRawPointer?, _ x: UnsafeRawPointer, to y: UnsafeMutableRawPointer) throws(Failure) {
        if !hasOutput { return }
        let plan = try createPlan(self)
        defer { destroy(plan) }
        try execute(plan, input: x, output: y)
    }

    func applyAdjoint(_: UnsafeRawPointer?, _ y: UnsafeRawPointer, to x: UnsafeMutableRawPointer) throws(Failure) {
        let plan = try createGradientPlan(self)
        defer { destroy(plan) }
        try execute(plan, outputGradient: y, inputGradient: x)
    }
}

// MARK: - Gram product

func gram(
    _ layer: Layer, _ kernel: UnsafeRawPointer?, _ x: UnsafeRawPointer?, _ result: UnsafeMutableRawPointer?
) throws(Failure) {
    let linear = try layer.linearPart
    let footprint = try layer.inputFootprint
    let target = try footprint.extent(at: result, "result")
    try checkApart(target, of: "result", footprint.extent(at: x, "input"), "input")
    try checkApart(target, of: "result", extent(kernel, bytes: layer.kernelElements * layer.elementBytes), "kernel")
    try checkKernel(layer, kernel)
    guard let result else { return }
    // Both the output's and its gradient's place.
    var forward = linear
    forward.output = layer.packedOutput
    var backward = forward
    forward.means.accumulates = false
    backward.means.accumulates = layer.means.accumulates
    let memory = try allocate(layer.outputCount, of: layer.elementBytes, "the output")
    defer { shim_free(memory) }
    try forward.apply(kernel, x ?? UnsafeRawPointer(result), to: memory)
    try backward.applyAdjoint(kernel, memory, to: result)
}

func gram(_ resampling: Resampling, _ x: UnsafeRawPointer?, _ result: UnsafeMutableRawPointer?) throws(Failure) {
    try checkLinear(resampling)
    var resampling = resampling
    resampling.output = resampling.packedOutput
    let footprint = try resampling.inputFootprint
    try checkApart(footprint.extent(at: result, "result"), of: "result", footprint.extent(at: x, "input"), "input")
    guard let x, let result, resampling.hasOutput else { return }
    let memory = try allocate(resampling.outputCount, of: resampling.elementBytes, "the output")
    defer { shim_free(memory) }
    var forward = resampling
    forward.accumulates = false
    try forward.apply(nil, x, to: memory)
    try resampling.applyAdjoint(nil, memory, to: result)
}

// MARK: - Adjoint test

func adjointTest(
    _ layer: Layer, _ kernel: UnsafeRawPointer?, seed: UInt64, _ error: UnsafeMutablePointer<Double>?
) throws(Failure) {
    try checkKernel(layer, kernel)
    var linear = try layer.linearPart
    linear.means.accumulates = false
    linear.input = layer.packedInput
    linear.output = layer.packedOutput
    try adjointTest(of: linear, kernel, seed: seed, error)
}

func adjointTest(_ resampling: Resampling, seed: UInt64, _ error: UnsafeMutablePointer<Double>?) throws(Failure) {
    try checkLinear(resampling)
    var packedOne = resampling
    packedOne.accumulates = false
    packedOne.input = resampling.packedInput
    packedOne.output = resampling.packedOutput
    try adjointTest(of: packedOne, nil, seed: seed, error)
}

private func adjointTest(
    of linear: some LinearOperator, _ kernel: UnsafeRawPointer?, seed: UInt64, _ error: UnsafeMutablePointer<Double>?
) throws(Failure) {
    guard let error else { throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "relative_error is NULL; it must point to a double") }
    error.pointee = try adjointError(linear, kernel, seed: seed)
}

private func adjointError(
    _ linear: some LinearOperator, _ kernel: UnsafeRawPointer?, seed: UInt64
) throws(Failure) -> Double {
    let (inputs, outputs) = (linear.inputCount, linear.outputCount)
    if inputs == 0 || outputs == 0 { return 0 }
    let elements = try times(plus(inputs, outputs, "the test"), 2, "the test")
    let memory = try allocate(elements, of: linear.isDouble ? 8 : 4, "the test")
    defer { shim_free(memory) }
    let x = Numbers(memory, areDoubles: linear.isDouble)
    let adjoint = x + inputs
    let y = adjoint + inputs
    let image = y + outputs
    var state = seed
    for i in 0..<inputs { x[i] = uniform(&state) }
    for i in 0..<outputs { y[i] = uniform(&state) }
    try linear.apply(kernel, x.base, to: image.base)
    try linear.applyAdjoint(kernel, y.base, to: adjoint.base)
    let difference = dot(image, y, outputs) - dot(x, adjoint, inputs)
    let scale = dot(image, image, outputs).squareRoot() * dot(y, y, outputs).squareRoot()
    return difference == 0 ? 0 : difference.magnitude / scale
}

/// The next of a sequence of numbers from -1 to 1 (SplitMix64, by Steele, Lea and Flood).
private func uniform(_ state: inout UInt64) -> Double {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    z ^= z >> 31
    return Double(z >> 11) * 0x1p-52 - 1
}

private func dot(_ a: Numbers, _ b: Numbers, _ count: Int) -> Double {
    var sum = CompensatedSum<Double>()
    for i in 0..<count { sum.add(a[i] * b[i]) }
    return sum.value
}
