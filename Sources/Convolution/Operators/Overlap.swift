import CConvolutionShims

// conv2d_transpose_overlap: how many products reach each output pixel. Both axes by themselves; a pixel's count is the product.

extension Lattice {
    /// The taps of output element `q` that read inside the input of length `input`; a phase of a transposed convolution.
    fileprivate func tapsInside(_ q: Int, input: Int) -> Int {
        // Tap j reads `place` + j * `offsetStep`.
        let place = q * inputStep + offsetStart
        let first = max(0, ceilDivide(-place, offsetStep))
        let last = min(taps - 1, floorDivide(input - 1 - place, offsetStep))
        return max(0, last - first + 1)
    }
}

/// Fills `counts[output element]` and returns the largest.
private func countOverlap(_ axis: Axis, _ counts: UnsafeMutablePointer<Int>) -> Int {
    counts.update(repeating: 0, count: axis.output)
    var largest = 0
    guard axis.input > 0 else { return largest }
    for first in 0..<Lattice.phaseCount(axis) {
        guard let lattice = Lattice.phase(axis, first: first) else { continue }
        for q in 0..<lattice.count {
            let count = lattice.tapsInside(q, input: axis.input)
            counts[lattice.outputStart + q * lattice.outputStep] = count
            largest = max(largest, count)
        }
    }
    return largest
}

func writeOverlap(_ layer: Layer, _ counts: UnsafeMutablePointer<Int64>?, _ capacity: Int64) throws(Failure) {
    let (rows, columns) = (layer.vertical.output, layer.horizontal.output)
    let pixels = try times(rows, columns, "output_height times output_width")
    try checkCapacity(capacity, pixels)
    if pixels == 0 { return }
    let counts = try present(counts, "counts")
    let memory = try allocate(plus(rows, columns, "rows and columns"), of: MemoryLayout<Int>.stride, "the counts of both axes")
    defer { shim_free(memory) }
    let vertical = memory.assumingMemoryBound(to: Int.self)
    let horizontal = vertical + rows
    _ = try times(countOverlap(layer.vertical, vertical), countOverlap(layer.horizontal, horizontal), "a pixel's count")
    for row in 0..<rows {
        for column in 0..<columns { counts[row * columns + column] = Int64(vertical[row] * horizontal[column]) }
    }
}
