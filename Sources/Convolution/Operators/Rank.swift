import CConvolution
import CConvolutionShims
import ConvolutionKernels

// conv2d_rank_report: how much of an image its convolution keeps. Singular values come from one-sided Jacobi rotations, which are
// short and find small ones to full accuracy.

struct RankReport {
    var equations: Int
    var unknowns: Int
    var bound: Int
    /// nil if they were not to be computed.
    var values: SingularValues?
}

/// Those that count: above the largest times rounding.
struct SingularValues {
    var count: Int
    var largest: Double
    var smallest: Double
}

/// Multiplications of one sweep of rotations, about, beyond which no rank is computed.
private let largestWork = 1 << 26

func rank(_ layer: Layer, _ kernel: UnsafeRawPointer?) throws(Failure) -> RankReport {
    let size = try matrixSize(layer)
    var report = RankReport(equations: size.rows, unknowns: size.columns, bound: try rankBound(layer, size))
    let shorter = min(size.rows, size.columns)
    let longer = max(size.rows, size.columns)
    if shorter == 0 {
        report.values = SingularValues(count: 0, largest: 0, smallest: 0)
    } else if let kernel, longer <= largestWork / shorter / shorter {
        report.values = try singularValues(layer, kernel, size)
    }
    return report
}

/// An upper bound from sizes alone. Group by group: a pixel of the output has all its channels, a pixel of the input at most as
/// many independent ones as a stroke of the kernel writes to; pixels that no window meets count nothing.
private func rankBound(_ layer: Layer, _ size: MatrixSize) throws(Failure) -> Int {
    if size.nonzeros == 0 { return 0 }
    let taps = try times(layer.vertical.kernel, layer.horizontal.kernel, "kernel size")
    let (inputs, outputs) = (layer.inChannelsPerGroup, layer.outChannelsPerGroup)
    let rows = try metLines(layer.vertical, layer.paddingMode)
    let columns = try metLines(layer.horizontal, layer.paddingMode)
    // That a pixel of the output has no more independent channels than its window has elements bounds nothing further: the
    // windows together have as many elements as the input pixels they meet, or more.
    let equations = rows.output * columns.output * outputs
    let unknowns = rows.input * columns.input * min(inputs, try times(taps, outputs, "kernel size"))
    return min(equations, unknowns) * layer.groups
}

private func singularValues(_ layer: Layer, _ kernel: UnsafeRawPointer, _ size: MatrixSize) throws(Failure) -> SingularValues? {
    let elements = size.rows * size.columns
    let kernelElements = layer.kernelElements
    let shorter = min(size.rows, size.columns)
    let longer = max(size.rows, size.columns)
    let memory = try allocate(2 * elements + kernelElements, of: 8, "the matrix").assumingMemoryBound(to: Double.self)
    defer { shim_free(memory) }

    // Scaled to a largest weight of 1, so that no square overflows or vanishes.
    let weights = memory + 2 * elements
    var scale = 0.0
    for i in 0..<kernelElements {
        weights[i] = layer.isDouble
            ? kernel.assumingMemoryBound(to: Double.self)[i] : Double(kernel.assumingMemoryBound(to: Float.self)[i])
        if !weights[i].isFinite { return nil }
        scale = max(scale, abs(weights[i]))
    }
    if scale == 0 { return SingularValues(count: 0, largest: 0, smallest: 0) }
    for i in 0..<kernelElements { weights[i] /= scale }

    var wide = layer
    wide.isDouble = true
    try writeDense(wide, weights, memory, Int64(elements))
    // The vectors to rotate are the rows or columns, whichever are fewer.
    var vectors = memory
    if size.columns < size.rows {
        vectors = memory + elements
        for row in 0..<size.rows {
            for column in 0..<size.columns { vectors[column * longer + row] = memory[row * size.columns + column] }
        }
    }
    guard orthogonalise(vectors, count: shorter, length: longer) else { return nil }

    var largest = 0.0
    for i in 0..<shorter { largest = max(largest, dot(vectors + i * longer, vectors + i * longer, longer).squareRoot()) }
    var result = SingularValues(count: 0, largest: largest * scale, smallest: largest * scale)
    for i in 0..<shorter {
        let value = dot(vectors + i * longer, vectors + i * longer, longer).squareRoot()
        if value > Double(longer) * Double.ulpOfOne * largest {
            result.count += 1
            result.smallest = min(result.smallest, value * scale)
        }
    }
    return result
}

/// Rotates the vectors pair by pair until all are orthogonal; their lengths are then the singular values. False if they do not
/// get there.
private func orthogonalise(_ vectors: UnsafeMutablePointer<Double>, count: Int, length: Int) -> Bool {
    let tolerance = max(4, Double(length).squareRoot()) * Double.ulpOfOne
    for _ in 0..<60 {
        var largestSquare = 0.0
        for i in 0..<count { largestSquare = max(largestSquare, dot(vectors + i * length, vectors + i * length, length)) }
        // What is shorter than rounding errors of the longest has no direction to be orthogonal to.
        let negligible = largestSquare * Double.ulpOfOne * Double.ulpOfOne
        var rotated = false
        for i in 0..<count {
            for j in (i + 1)..<count {
                let (a, b) = (vectors + i * length, vectors + j * length)
                let (aSquare, bSquare, product) = (dot(a, a, length), dot(b, b, length), dot(a, b, length))
                if min(aSquare, bSquare) <= negligible { continue }
                if abs(product) <= tolerance * aSquare.squareRoot() * bSquare.squareRoot() { continue }
                rotated = true
                let cotangent = (bSquare - aSquare) / (2 * product) // of twice the angle
                let tangent = (cotangent < 0 ? -1 : 1) / (abs(cotangent) + (1 + cotangent * cotangent).squareRoot())
                let cosine = 1 / (1 + tangent * tangent).squareRoot()
                let sine = cosine * tangent
                for k in 0..<length {
                    let (x, y) = (a[k], b[k])
                    a[k] = cosine * x - sine * y
                    b[k] = sine * x + cosine * y
                }
            }
        }
        if !rotated { return true }
    }
    return false
}

/// How many output lines of an axis read any input line, and how many input lines are read by any.
private func metLines(_ axis: Axis, _ mode: BorderMode) throws(Failure) -> (output: Int, input: Int) {
    let met = try allocate(axis.input, of: 1, "the rank").assumingMemoryBound(to: UInt8.self)
    defer { shim_free(met) }
    met.update(repeating: 0, count: axis.input)
    var lines = (output: 0, input: 0)
    for t in 0..<axis.output {
        var meets = false
        for tap in 0..<axis.kernel {
            guard let index = borderIndex(t * axis.stride - axis.start + tap * axis.dilation, axis.input, mode) else { continue }
            meets = true
            met[index] = 1
        }
        if meets { lines.output += 1 }
    }
    for index in 0..<axis.input { lines.input += Int(met[index]) }
    return lines
}
