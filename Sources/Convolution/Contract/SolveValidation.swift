import CConvolution

func validate(
    _ pointer: UnsafePointer<conv2d_solve_params>?, of layer: Layer, activation: Int32
) throws(Failure) -> SolveOptions {
    if activation != 0 {
        throw Failure(
            CONVOLUTION_ERROR_ACTIVATION,
            "activation is \(activation); to be solved for it must be NONE (0); behind a RELU, mask the elements that are 0")
    }
    if layer.means.accumulates { throw Failure(CONVOLUTION_ERROR_FLAG, "accumulate is 1; to be solved for it must be 0") }
    var p = conv2d_solve_params()
    if pointer != nil {
        try readStruct(pointer, "conv2d_solve_params", firstBytes: MemoryLayout<conv2d_solve_params>.size, into: &p)
    }
    if p.reserved != 0 { throw Failure(CONVOLUTION_ERROR_FLAG, "reserved is \(p.reserved); it must be 0") }
    let nonnegative = try checkedFlag(p.nonnegative, "nonnegative")
    if !p.lambda.isFinite || p.lambda < 0 {
        throw Failure(CONVOLUTION_ERROR_LAMBDA, "lambda is \(p.lambda); it must be finite and at least 0")
    }
    if !p.tolerance.isFinite || p.tolerance < 0 {
        throw Failure(
            CONVOLUTION_ERROR_TOLERANCE, "tolerance is \(p.tolerance); it must be finite and at least 0 (0 means 1e-12)")
    }
    if p.max_iterations < 0 {
        throw Failure(
            CONVOLUTION_ERROR_ITERATIONS, "max_iterations is \(Int(p.max_iterations)); it must be at least 1 (0 means 1000)")
    }
    let elements = try times(
        times(layer.batch, layer.vertical.output, "output"), times(layer.horizontal.output, layer.outChannels, "output"),
        "output")
    if let mask = p.mask {
        if Int(p.mask_size) != elements {
            throw Failure(
                CONVOLUTION_ERROR_MASK,
                "mask_size is \(Int(p.mask_size)); it must be \(elements), the number of elements of the output")
        }
        for i in 0..<elements where mask[i] > 1 {
            throw Failure(CONVOLUTION_ERROR_MASK, "mask has \(Int(mask[i])) at \(i); each byte must be 0 or 1")
        }
    } else if p.mask_size != 0 {
        throw Failure(CONVOLUTION_ERROR_MASK, "mask is NULL and mask_size is \(Int(p.mask_size)); without a mask it must be 0")
    }
    return SolveOptions(
        damping: p.lambda * p.lambda, tolerance: p.tolerance > 0 ? p.tolerance : 1e-12,
        iterations: p.max_iterations > 0 ? Int(p.max_iterations) : 1000, start: p.start, mask: p.mask, nonnegative: nonnegative,
        progress: p.progress, context: p.context)
}
