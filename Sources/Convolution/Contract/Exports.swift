import CConvolution
import CConvolutionShims

// The functions of include/convolution.h, under the compiler's check that they are what the header declares. They compute
// nothing.

@c @implementation
public func convolution_version() -> Int32 {
    Int32(CONVOLUTION_VERSION_MAJOR * 10000 + CONVOLUTION_VERSION_MINOR * 100 + CONVOLUTION_VERSION_PATCH)
}

@c @implementation
public func convolution_status_name(_ status: Int32) -> UnsafePointer<CChar>? {
    statusName(status)
}

@c @implementation
public func convolution_error_message() -> UnsafePointer<CChar>? {
    errorText()
}

@c @implementation
public func convolution_constant(_ name: UnsafePointer<CChar>?, _ value: UnsafeMutablePointer<Int32>?) -> Int32 {
    status(try writeConstant(name, value))
}

private func writeConstant(_ name: UnsafePointer<CChar>?, _ value: UnsafeMutablePointer<Int32>?) throws(Failure) {
    guard let name else { throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "name is NULL; it must be the name of a constant") }
    guard let value else { throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "value is NULL; it must point to an int32_t") }
    guard let found = constant(named: name) else {
        throw Failure(CONVOLUTION_ERROR_NAME, "name is \"\(name)\"; convolution.h has no constant of that name")
    }
    value.pointee = Int32(truncatingIfNeeded: found)
}

@c @implementation
public func convolution_isa() -> UnsafePointer<CChar>? {
    Tier.standard?.cName
}

@c @implementation
public func convolution_isa_name(_ index: Int32) -> UnsafePointer<CChar>? {
    Tier(rawValue: index)?.cName
}

@c @implementation
public func convolution_isa_supported(_ name: UnsafePointer<CChar>?) -> Int32 {
    guard let name, let tier = Tier.named(name) else { return 0 }
    return tier.isSupported ? 1 : 0
}

// MARK: - conv2d

@c @implementation
public func conv2d_params_size() -> Int {
    MemoryLayout<conv2d_params>.size
}

@c @implementation
public func conv2d_output_shape(_ params: UnsafePointer<conv2d_params>?, _ shape: UnsafeMutablePointer<Int64>?) -> Int32 {
    status(try writeShape(validate(params), shape))
}

@c @implementation
public func conv2d(
    _ params: UnsafePointer<conv2d_params>?, _ input: UnsafeRawPointer?, _ kernel: UnsafeRawPointer?, _ bias: UnsafeRawPointer?,
    _ output: UnsafeMutableRawPointer?
) -> Int32 {
    status(try run(validate(params), input, kernel, bias, output))
}

@c @implementation
public func conv2d_plan_create(
    _ params: UnsafePointer<conv2d_params>?, _ kernel: UnsafeRawPointer?, _ bias: UnsafeRawPointer?,
    _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
    status(try create(plan, createPlan(validate(params), kernel: kernel, bias: bias)))
}

@c @implementation
public func conv2d_plan_execute(_ plan: OpaquePointer?, _ input: UnsafeRawPointer?, _ output: UnsafeMutableRawPointer?) -> Int32 {
    status(try run(given(plan, as: ConvolutionPlan.self), input, output))
}

@c @implementation
public func conv2d_plan_destroy(_ plan: OpaquePointer?) {
    if let plan = UnsafeMutablePointer<ConvolutionPlan>(plan) { destroy(plan) }
}

@c @implementation
public func conv2d_workspace_size(
    _ params: UnsafePointer<conv2d_params>?, _ plan: UnsafeMutablePointer<Int64>?, _ execution: UnsafeMutablePointer<Int64>?,
    _ least: UnsafeMutablePointer<Int64>?
) -> Int32 {
    status(try store(workspaceSize(validate(params)), plan, execution, least))
}

@c @implementation
public func conv2d_matrix_size(
    _ params: UnsafePointer<conv2d_params>?, _ rows: UnsafeMutablePointer<Int64>?, _ columns: UnsafeMutablePointer<Int64>?,
    _ nonzeros: UnsafeMutablePointer<Int64>?
) -> Int32 {
    status(try store(matrixSize(validate(params)), rows, columns, nonzeros))
}

@c @implementation
public func conv2d_matrix(
    _ params: UnsafePointer<conv2d_params>?, _ kernel: UnsafeRawPointer?, _ matrix: UnsafeMutableRawPointer?, _ capacity: Int64
) -> Int32 {
    status(try writeDense(validate(params), kernel, matrix, capacity))
}

@c @implementation
public func conv2d_matrix_csr(
    _ params: UnsafePointer<conv2d_params>?, _ kernel: UnsafeRawPointer?, _ row_offsets: UnsafeMutablePointer<Int64>?,
    _ column_indices: UnsafeMutablePointer<Int64>?, _ values: UnsafeMutableRawPointer?, _ capacity: Int64
) -> Int32 {
    status(try writeSparse(validate(params), kernel, row_offsets, column_indices, values, capacity))
}

@c @implementation
public func conv2d_backward_input(
    _ params: UnsafePointer<conv2d_params>?, _ output_gradient: UnsafeRawPointer?, _ kernel: UnsafeRawPointer?,
    _ input_gradient: UnsafeMutableRawPointer?
) -> Int32 {
    status(try runBackwardInput(validate(params), output_gradient, kernel, input_gradient))
}

@c @implementation
public func conv2d_backward_kernel(
    _ params: UnsafePointer<conv2d_params>?, _ input: UnsafeRawPointer?, _ output_gradient: UnsafeRawPointer?,
    _ kernel_gradient: UnsafeMutableRawPointer?
) -> Int32 {
    status(try runBackwardKernel(validate(params), input, output_gradient, kernel_gradient))
}

@c @implementation
public func conv2d_backward_bias(
    _ params: UnsafePointer<conv2d_params>?, _ output_gradient: UnsafeRawPointer?, _ bias_gradient: UnsafeMutableRawPointer?
) -> Int32 {
    status(try runBackwardBias(validate(params), output_gradient, bias_gradient))
}

@c @implementation
public func conv2d_backward_input_plan_create(
    _ params: UnsafePointer<conv2d_params>?, _ kernel: UnsafeRawPointer?, _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
    status(try create(plan, createInputGradientPlan(validate(params), kernel: kernel)))
}

@c @implementation
public func conv2d_backward_input_plan_execute(
    _ plan: OpaquePointer?, _ output_gradient: UnsafeRawPointer?, _ input_gradient: UnsafeMutableRawPointer?
) -> Int32 {
    status(try runBackwardInput(given(plan, as: InputGradientPlan.self), output_gradient, input_gradient))
}

@c @implementation
public func conv2d_backward_input_plan_destroy(_ plan: OpaquePointer?) {
    if let plan = UnsafeMutablePointer<InputGradientPlan>(plan) { destroy(plan) }
}

@c @implementation
public func conv2d_backward_kernel_plan_create(
    _ params: UnsafePointer<conv2d_params>?, _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
    status(try create(plan, createKernelGradientPlan(validate(params))))
}

@c @implementation
public func conv2d_backward_kernel_plan_execute(
    _ plan: OpaquePointer?, _ input: UnsafeRawPointer?, _ output_gradient: UnsafeRawPointer?,
    _ kernel_gradient: UnsafeMutableRawPointer?
) -> Int32 {
    status(try runBackwardKernel(given(plan, as: KernelGradientPlan.self), input, output_gradient, kernel_gradient))
}

@c @implementation
public func conv2d_backward_kernel_plan_destroy(_ plan: OpaquePointer?) {
    if let plan = UnsafeMutablePointer<KernelGradientPlan>(plan) { destroy(plan) }
}

@c @implementation
public func conv2d_gram(
    _ params: UnsafePointer<conv2d_params>?, _ kernel: UnsafeRawPointer?, _ input: UnsafeRawPointer?,
    _ result: UnsafeMutableRawPointer?
) -> Int32 {
    status(try gram(validate(params), kernel, input, result))
}

@c @implementation
public func conv2d_adjoint_test(
    _ params: UnsafePointer<conv2d_params>?, _ kernel: UnsafeRawPointer?, _ seed: UInt64,
    _ relative_error: UnsafeMutablePointer<Double>?
) -> Int32 {
    status(try adjointTest(validate(params), kernel, seed: seed, relative_error))
}

// MARK: - conv2d_solve

@c @implementation
public func conv2d_solve_params_size() -> Int {
    MemoryLayout<conv2d_solve_params>.size
}

@c @implementation
public func conv2d_solve_result_size() -> Int {
    MemoryLayout<conv2d_solve_result>.size
}

@c @implementation
public func conv2d_rank_size() -> Int {
    MemoryLayout<conv2d_rank>.size
}

@c @implementation
public func conv2d_solve(
    _ params: UnsafePointer<conv2d_params>?, _ solve: UnsafePointer<conv2d_solve_params>?, _ kernel: UnsafeRawPointer?,
    _ bias: UnsafeRawPointer?, _ output: UnsafeRawPointer?, _ input: UnsafeMutableRawPointer?,
    _ result: UnsafeMutablePointer<conv2d_solve_result>?
) -> Int32 {
    status(try run(params, solve, kernel, bias, output, input, result))
}

private func run(
    _ params: UnsafePointer<conv2d_params>?, _ solve: UnsafePointer<conv2d_solve_params>?, _ kernel: UnsafeRawPointer?,
    _ bias: UnsafeRawPointer?, _ output: UnsafeRawPointer?, _ input: UnsafeMutableRawPointer?,
    _ result: UnsafeMutablePointer<conv2d_solve_result>?
) throws(Failure) {
    let layer = try validate(params)
    let options = try validate(solve, of: layer, activation: params?.pointee.activation ?? 0)
    if let result { try checkResult(result, "conv2d_solve_result") }
    let report = try solution(layer, options, kernel: kernel, bias: bias, output: output, input: input)
    result?.pointee.iterations = Int64(report.iterations)
    result?.pointee.residual_norm = report.residualSquare.squareRoot()
    result?.pointee.normal_residual = report.normalSquare.squareRoot()
    result?.pointee.outcome = Int32(report.outcome)
}

@c @implementation
public func conv2d_rank_report(
    _ params: UnsafePointer<conv2d_params>?, _ kernel: UnsafeRawPointer?, _ report: UnsafeMutablePointer<conv2d_rank>?
) -> Int32 {
    status(try writeRank(validate(params), kernel, report))
}

private func writeRank(
    _ layer: Layer, _ kernel: UnsafeRawPointer?, _ report: UnsafeMutablePointer<conv2d_rank>?
) throws(Failure) {
    guard let report else { throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "report is NULL; it must point to a conv2d_rank") }
    try checkResult(report, "conv2d_rank")
    let rank = try rank(layer, kernel)
    report.pointee.equations = Int64(rank.equations)
    report.pointee.unknowns = Int64(rank.unknowns)
    report.pointee.rank_bound = Int64(rank.bound)
    report.pointee.rank = Int64(rank.values?.count ?? 0)
    report.pointee.largest_singular_value = rank.values?.largest ?? 0
    report.pointee.smallest_singular_value = rank.values?.smallest ?? 0
    report.pointee.condition = rank.values.map { $0.count > 0 ? $0.largest / $0.smallest : 0 } ?? 0
    report.pointee.exact = rank.values == nil ? 0 : 1
}

// MARK: - conv2d_transpose

@c @implementation
public func conv2d_transpose_params_size() -> Int {
    MemoryLayout<conv2d_transpose_params>.size
}

@c @implementation
public func conv2d_transpose_output_shape(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ shape: UnsafeMutablePointer<Int64>?
) -> Int32 {
    status(try writeShape(validate(params), shape))
}

@c @implementation
public func conv2d_transpose(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ input: UnsafeRawPointer?, _ kernel: UnsafeRawPointer?,
    _ bias: UnsafeRawPointer?, _ output: UnsafeMutableRawPointer?
) -> Int32 {
    status(try run(validate(params), input, kernel, bias, output))
}

@c @implementation
public func conv2d_transpose_plan_create(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ kernel: UnsafeRawPointer?, _ bias: UnsafeRawPointer?,
    _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
    status(try create(plan, createPlan(validate(params), kernel: kernel, bias: bias)))
}

@c @implementation
public func conv2d_transpose_plan_execute(
    _ plan: OpaquePointer?, _ input: UnsafeRawPointer?, _ output: UnsafeMutableRawPointer?
) -> Int32 {
    status(try run(given(plan, as: ConvolutionPlan.self), input, output))
}

@c @implementation
public func conv2d_transpose_plan_destroy(_ plan: OpaquePointer?) {
    if let plan = UnsafeMutablePointer<ConvolutionPlan>(plan) { destroy(plan) }
}

@c @implementation
public func conv2d_transpose_backward_input(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ output_gradient: UnsafeRawPointer?, _ kernel: UnsafeRawPointer?,
    _ input_gradient: UnsafeMutableRawPointer?
) -> Int32 {
    status(try runBackwardInput(validate(params), output_gradient, kernel, input_gradient))
}

@c @implementation
public func conv2d_transpose_backward_kernel(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ input: UnsafeRawPointer?, _ output_gradient: UnsafeRawPointer?,
    _ kernel_gradient: UnsafeMutableRawPointer?
) -> Int32 {
    status(try runBackwardKernel(validate(params), input, output_gradient, kernel_gradient))
}

@c @implementation
public func conv2d_transpose_backward_bias(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ output_gradient: UnsafeRawPointer?,
    _ bias_gradient: UnsafeMutableRawPointer?
) -> Int32 {
    status(try runBackwardBias(validate(params), output_gradient, bias_gradient))
}

@c @implementation
public func conv2d_transpose_backward_input_plan_create(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ kernel: UnsafeRawPointer?, _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
    status(try create(plan, createInputGradientPlan(validate(params), kernel: kernel)))
}

@c @implementation
public func conv2d_transpose_backward_input_plan_execute(
    _ plan: OpaquePointer?, _ output_gradient: UnsafeRawPointer?, _ input_gradient: UnsafeMutableRawPointer?
) -> Int32 {
    status(try runBackwardInput(given(plan, as: InputGradientPlan.self), output_gradient, input_gradient))
}

@c @implementation
public func conv2d_transpose_backward_input_plan_destroy(_ plan: OpaquePointer?) {
    if let plan = UnsafeMutablePointer<InputGradientPlan>(plan) { destroy(plan) }
}

@c @implementation
public func conv2d_transpose_backward_kernel_plan_create(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
    status(try create(plan, createKernelGradientPlan(validate(params))))
}

@c @implementation
public func conv2d_transpose_backward_kernel_plan_execute(
    _ plan: OpaquePointer?, _ input: UnsafeRawPointer?, _ output_gradient: UnsafeRawPointer?,
    _ kernel_gradient: UnsafeMutableRawPointer?
) -> Int32 {
    status(try runBackwardKernel(given(plan, as: KernelGradientPlan.self), input, output_gradient, kernel_gradient))
}

@c @implementation
public func conv2d_transpose_backward_kernel_plan_destroy(_ plan: OpaquePointer?) {
    if let plan = UnsafeMutablePointer<KernelGradientPlan>(plan) { destroy(plan) }
}

@c @implementation
public func conv2d_transpose_workspace_size(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ plan: UnsafeMutablePointer<Int64>?,
    _ execution: UnsafeMutablePointer<Int64>?, _ least: UnsafeMutablePointer<Int64>?
) -> Int32 {
    status(try store(workspaceSize(validate(params)), plan, execution, least))
}

@c @implementation
public func conv2d_transpose_matrix_size(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ rows: UnsafeMutablePointer<Int64>?,
    _ columns: UnsafeMutablePointer<Int64>?, _ nonzeros: UnsafeMutablePointer<Int64>?
) -> Int32 {
    status(try store(matrixSize(validate(params)), rows, columns, nonzeros))
}

@c @implementation
public func conv2d_transpose_matrix(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ kernel: UnsafeRawPointer?, _ matrix: UnsafeMutableRawPointer?,
    _ capacity: Int64
) -> Int32 {
    status(try writeDense(validate(params), kernel, matrix, capacity))
}

@c @implementation
public func conv2d_transpose_matrix_csr(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ kernel: UnsafeRawPointer?, _ row_offsets: UnsafeMutablePointer<Int64>?,
    _ column_indices: UnsafeMutablePointer<Int64>?, _ values: UnsafeMutableRawPointer?, _ capacity: Int64
) -> Int32 {
    status(try writeSparse(validate(params), kernel, row_offsets, column_indices, values, capacity))
}

@c @implementation
public func conv2d_transpose_gram(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ kernel: UnsafeRawPointer?, _ input: UnsafeRawPointer?,
    _ result: UnsafeMutableRawPointer?
) -> Int32 {
    status(try gram(validate(params), kernel, input, result))
}

@c @implementation
public func conv2d_transpose_adjoint_test(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ kernel: UnsafeRawPointer?, _ seed: UInt64,
    _ relative_error: UnsafeMutablePointer<Double>?
) -> Int32 {
    status(try adjointTest(validate(params), kernel, seed: seed, relative_error))
}

@c @implementation
public func conv2d_transpose_overlap(
    _ params: UnsafePointer<conv2d_transpose_params>?, _ counts: UnsafeMutablePointer<Int64>?, _ capacity: Int64
) -> Int32 {
    status(try writeOverlap(validate(params), counts, capacity))
}

// MARK: - upsample2d

@c @implementation
public func upsample2d_params_size() -> Int {
    MemoryLayout<upsample2d_params>.size
}

@c @implementation
public func upsample2d_output_shape(_ params: UnsafePointer<upsample2d_params>?, _ shape: UnsafeMutablePointer<Int64>?) -> Int32 {
    status(try writeShape(validate(params), shape))
}

@c @implementation
public func upsample2d(
    _ params: UnsafePointer<upsample2d_params>?, _ input: UnsafeRawPointer?, _ output: UnsafeMutableRawPointer?
) -> Int32 {
    status(try run(validate(params), input, output))
}

private func run(_ resampling: Resampling, _ input: UnsafeRawPointer?, _ output: UnsafeMutableRawPointer?) throws(Failure) {
    try resampling.arrays.check(input, "input", output, "output")
    if !resampling.hasOutput { return }
    let plan = try createPlan(resampling, isOnce: true)
    defer { destroy(plan) }
    try execute(plan, input: input, output: output)
}

@c @implementation
public func upsample2d_plan_create(
    _ params: UnsafePointer<upsample2d_params>?, _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
    status(try create(plan, createPlan(validate(params))))
}

@c @implementation
public func upsample2d_plan_execute(
    _ plan: OpaquePointer?, _ input: UnsafeRawPointer?, _ output: UnsafeMutableRawPointer?
) -> Int32 {
    status(try run(given(plan, as: ResamplingPlan.self), input, output))
}

private func run(
    _ plan: UnsafePointer<ResamplingPlan>, _ input: UnsafeRawPointer?, _ output: UnsafeMutableRawPointer?
) throws(Failure) {
    try plan.pointee.arrays.check(input, "input", output, "output")
    try execute(plan, input: input, output: output)
}

@c @implementation
public func upsample2d_plan_destroy(_ plan: OpaquePointer?) {
    if let plan = UnsafeMutablePointer<ResamplingPlan>(plan) { destroy(plan) }
}

@c @implementation
public func upsample2d_backward(
    _ params: UnsafePointer<upsample2d_params>?, _ output_gradient: UnsafeRawPointer?, _ input_gradient: UnsafeMutableRawPointer?
) -> Int32 {
    status(try runBackward(validate(params), output_gradient, input_gradient))
}

private func runBackward(
    _ resampling: Resampling, _ outputGradient: UnsafeRawPointer?, _ inputGradient: UnsafeMutableRawPointer?
) throws(Failure) {
    try resampling.gradientArrays.check(outputGradient, "output_gradient", inputGradient, "input_gradient")
    let plan = try createGradientPlan(resampling, isOnce: true)
    defer { destroy(plan) }
    try execute(plan, outputGradient: outputGradient, inputGradient: inputGradient)
}

@c @implementation
public func upsample2d_backward_plan_create(
    _ params: UnsafePointer<upsample2d_params>?, _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
    status(try create(plan, createGradientPlan(validate(params))))
}

@c @implementation
public func upsample2d_backward_plan_execute(
    _ plan: OpaquePointer?, _ output_gradient: UnsafeRawPointer?, _ input_gradient: UnsafeMutableRawPointer?
) -> Int32 {
    status(try runBackward(given(plan, as: UpsampleGradientPlan.self), output_gradient, input_gradient))
}

private func runBackward(
    _ plan: UnsafePointer<UpsampleGradientPlan>, _ outputGradient: UnsafeRawPointer?, _ inputGradient: UnsafeMutableRawPointer?
) throws(Failure) {
    try plan.pointee.arrays.check(outputGradient, "output_gradient", inputGradient, "input_gradient")
    try execute(plan, outputGradient: outputGradient, inputGradient: inputGradient)
}

@c @implementation
public func upsample2d_backward_plan_destroy(_ plan: OpaquePointer?) {
    if let plan = UnsafeMutablePointer<UpsampleGradientPlan>(plan) { destroy(plan) }
}

@c @implementation
public func upsample2d_matrix_size(
    _ params: UnsafePointer<upsample2d_params>?, _ rows: UnsafeMutablePointer<Int64>?, _ columns: UnsafeMutablePointer<Int64>?,
    _ nonzeros: UnsafeMutablePointer<Int64>?
) -> Int32 {
    status(try store(matrixSize(validate(params)), rows, columns, nonzeros))
}

@c @implementation
public func upsample2d_matrix(
    _ params: UnsafePointer<upsample2d_params>?, _ matrix: UnsafeMutableRawPointer?, _ capacity: Int64
) -> Int32 {
    status(try writeDense(validate(params), matrix, capacity))
}

@c @implementation
public func upsample2d_matrix_csr(
    _ params: UnsafePointer<upsample2d_params>?, _ row_offsets: UnsafeMutablePointer<Int64>?,
    _ column_indices: UnsafeMutablePointer<Int64>?, _ values: UnsafeMutableRawPointer?, _ capacity: Int64
) -> Int32 {
    status(try writeSparse(validate(params), row_offsets, column_indices, values, capacity))
}

@c @implementation
public func upsample2d_gram(
    _ params: UnsafePointer<upsample2d_params>?, _ input: UnsafeRawPointer?, _ result: UnsafeMutableRawPointer?
) -> Int32 {
    status(try gram(validate(params), input, result))
}

@c @implementation
public func upsample2d_adjoint_test(
    _ params: UnsafePointer<upsample2d_params>?, _ seed: UInt64, _ relative_error: UnsafeMutablePointer<Double>?
) -> Int32 {
    status(try adjointTest(validate(params), seed: seed, relative_error))
}

// MARK: - upsample2d and conv2d in one

@c @implementation
public func upsample2d_conv2d_output_shape(
    _ upsampling: UnsafePointer<upsample2d_params>?, _ convolution: UnsafePointer<conv2d_params>?,
    _ shape: UnsafeMutablePointer<Int64>?
) -> Int32 {
    status(try writeShape(validate(upsampling, convolution).layer, shape))
}

@c @implementation
public func upsample2d_conv2d(
    _ upsampling: UnsafePointer<upsample2d_params>?, _ convolution: UnsafePointer<conv2d_params>?, _ input: UnsafeRawPointer?,
    _ kernel: UnsafeRawPointer?, _ bias: UnsafeRawPointer?, _ output: UnsafeMutableRawPointer?
) -> Int32 {
    status(try run(validate(upsampling, convolution), input, kernel, bias, output))
}

private func run(
    _ both: UpsampledLayer, _ input: UnsafeRawPointer?, _ kernel: UnsafeRawPointer?, _ bias: UnsafeRawPointer?,
    _ output: UnsafeMutableRawPointer?
) throws(Failure) {
    try checkArguments(both.withArrays, input: input, kernel: kernel, bias: bias, output: output)
    try checkKernel(both.layer, kernel)
    if !both.layer.hasOutput { return }
    let plan = try createPlan(both, kernel: kernel, bias: bias)
    defer { destroy(plan) }
    try execute(plan, input: input, output: output)
}

@c @implementation
public func upsample2d_conv2d_plan_create(
    _ upsampling: UnsafePointer<upsample2d_params>?, _ convolution: UnsafePointer<conv2d_params>?, _ kernel: UnsafeRawPointer?,
    _ bias: UnsafeRawPointer?, _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
    status(try create(plan, createPlan(validate(upsampling, convolution), kernel: kernel, bias: bias)))
}

@c @implementation
public func upsample2d_conv2d_plan_execute(
    _ plan: OpaquePointer?, _ input: UnsafeRawPointer?, _ output: UnsafeMutableRawPointer?
) -> Int32 {
    status(try run(given(plan, as: UpsampledConvolutionPlan.self), input, output))
}

private func run(
    _ plan: UnsafePointer<UpsampledConvolutionPlan>, _ input: UnsafeRawPointer?, _ output: UnsafeMutableRawPointer?
) throws(Failure) {
    try plan.pointee.arrays.check(input, "input", output, "output")
    try execute(plan, input: input, output: output)
}

@c @implementation
public func upsample2d_conv2d_plan_destroy(_ plan: OpaquePointer?) {
    if let plan = UnsafeMutablePointer<UpsampledConvolutionPlan>(plan) { destroy(plan) }
}

@c @implementation
public func upsample2d_conv2d_workspace_size(
    _ upsampling: UnsafePointer<upsample2d_params>?, _ convolution: UnsafePointer<conv2d_params>?,
    _ plan: UnsafeMutablePointer<Int64>?, _ execution: UnsafeMutablePointer<Int64>?, _ least: UnsafeMutablePointer<Int64>?
) -> Int32 {
    status(try store(workspaceSize(validate(upsampling, convolution)), plan, execution, least))
}

// MARK: - What the verbs share

private func store(
    _ size: MatrixSize, _ rows: UnsafeMutablePointer<Int64>?, _ columns: UnsafeMutablePointer<Int64>?,
    _ nonzeros: UnsafeMutablePointer<Int64>?
) {
    rows?.pointee = Int64(size.rows)
    columns?.pointee = Int64(size.columns)
    nonzeros?.pointee = Int64(size.nonzeros)
}

private func store(
    _ size: WorkspaceNeed, _ plan: UnsafeMutablePointer<Int64>?, _ execution: UnsafeMutablePointer<Int64>?,
    _ least: UnsafeMutablePointer<Int64>?
) {
    plan?.pointee = Int64(size.plan)
    execution?.pointee = Int64(size.execution)
    least?.pointee = Int64(size.least)
}

private func writeShape(_ map: some TensorMap, _ shape: UnsafeMutablePointer<Int64>?) throws(Failure) {
    guard let shape else { throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "shape is NULL; it must point to four int64_t") }
    let (rows, columns, channels) = (map.vertical.output, map.horizontal.output, map.outChannels)
    shape[0] = Int64(map.batch)
    shape[1] = Int64(map.channelsFirst ? channels : rows)
    shape[2] = Int64(map.channelsFirst ? rows : columns)
    shape[3] = Int64(map.channelsFirst ? columns : channels)
}

private func run(
    _ layer: Layer, _ input: UnsafeRawPointer?, _ kernel: UnsafeRawPointer?, _ bias: UnsafeRawPointer?,
    _ output: UnsafeMutableRawPointer?
) throws(Failure) {
    try checkArguments(layer, input: input, kernel: kernel, bias: bias, output: output)
    try checkKernel(layer, kernel)
    // An empty batch needs no plan, however large its layer.
    if !layer.hasOutput { return }
    if try executeExchanged(layer, input: input, kernel: kernel, bias: bias, output: output) { return }
    let plan = try createPlan(layer, kernel: kernel, bias: bias)
    plan.pointee.leaveToCaller()
    defer { destroy(plan) }
    try execute(plan, input: input, output: output)
}

private func run(
    _ plan: UnsafePointer<ConvolutionPlan>, _ input: UnsafeRawPointer?, _ output: UnsafeMutableRawPointer?
) throws(Failure) {
    try plan.pointee.arrays.check(input, "input", output, "output")
    try execute(plan, input: input, output: output)
}

private func runBackwardInput(
    _ layer: Layer, _ outputGradient: UnsafeRawPointer?, _ kernel: UnsafeRawPointer?, _ inputGradient: UnsafeMutableRawPointer?
) throws(Failure) {
    try checkInputGradient(layer, outputGradient: outputGradient, kernel: kernel, inputGradient: inputGradient)
    try checkKernel(layer, kernel)
    let plan = try createInputGradientPlan(layer, kernel: kernel)
    defer { destroy(plan) }
    try execute(plan, outputGradient: outputGradient, inputGradient: inputGradient)
}

private func runBackwardInput(
    _ plan: UnsafePointer<InputGradientPlan>, _ outputGradient: UnsafeRawPointer?, _ inputGradient: UnsafeMutableRawPointer?
) throws(Failure) {
    try plan.pointee.arrays.check(outputGradient, "output_gradient", inputGradient, "input_gradient")
    try execute(plan, outputGradient: outputGradient, inputGradient: inputGradient)
}

private func runBackwardKernel(
    _ layer: Layer, _ input: UnsafeRawPointer?, _ outputGradient: UnsafeRawPointer?, _ kernelGradient: UnsafeMutableRawPointer?
) throws(Failure) {
    var plan = try KernelGradientPlan(layer)
    try runBackwardKernel(&plan, input, outputGradient, kernelGradient)
}

private func runBackwardKernel(
    _ plan: UnsafePointer<KernelGradientPlan>, _ input: UnsafeRawPointer?, _ outputGradient: UnsafeRawPointer?,
    _ kernelGradient: UnsafeMutableRawPointer?
) throws(Failure) {
    try checkArrays(plan, input: input, outputGradient: outputGradient, kernelGradient: kernelGradient)
    try execute(plan, input: input, outputGradient: outputGradient, kernelGradient: kernelGradient)
}

private func runBackwardBias(
    _ layer: Layer, _ outputGradient: UnsafeRawPointer?, _ biasGradient: UnsafeMutableRawPointer?
) throws(Failure) {
    try checkBiasGradient(layer, outputGradient: outputGradient, biasGradient: biasGradient)
    backwardBias(layer, outputGradient: outputGradient, biasGradient: biasGradient)
}

private func given<Plan: ~Copyable>(_ plan: OpaquePointer?, as _: Plan.Type) throws(Failure) -> UnsafePointer<Plan> {
    guard let plan else {
        throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "plan is NULL; it must be one that plan_create has made")
    }
    return UnsafePointer(plan)
}

/// A plan that `make` makes, to `place`, or NULL.
@inline(__always)
private func create<Plan: ~Copyable>(
    _ place: UnsafeMutablePointer<OpaquePointer?>?, _ make: @autoclosure () throws(Failure) -> UnsafeMutablePointer<Plan>
) throws(Failure) {
    let place = try cleared(place)
    place.pointee = OpaquePointer(try make())
}

private func cleared(_ plan: UnsafeMutablePointer<OpaquePointer?>?) throws(Failure) -> UnsafeMutablePointer<OpaquePointer?> {
    guard let plan else { throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "plan is NULL; it must point to where the plan goes") }
    plan.pointee = nil
    return plan
}
