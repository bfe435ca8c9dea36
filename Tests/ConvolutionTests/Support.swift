import Convolution

// What the tests compare with: textbook loops in Double, and the data they run on. All data are small whole numbers, so that
// every sum is exact in Float and results can be compared with ==.

/// The same numbers for the same seed, on every machine (SplitMix64).
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64

    init(seed: Int) { state = UInt64(bitPattern: Int64(seed)) }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// Whole numbers from -9 to 9.
func wholeNumbers(_ shape: [Int], seed: Int) throws -> Tensor<Double> {
    var numbers = SeededNumbers(seed: seed)
    let count = shape.reduce(1, *)
    return try Tensor((0..<count).map { _ in Double(Int.random(in: -9...9, using: &numbers)) }, shape: shape)
}

func image<Scalar>(_ rows: [[Scalar]]) throws -> Tensor<Scalar> {
    try Tensor(rows.flatMap { $0 }, shape: [1, rows.count, rows[0].count, 1])
}

/// A kernel from one channel to one channel, in Keras's axes.
func kernel<Scalar>(_ rows: [[Scalar]]) throws -> Tensor<Scalar> {
    try Tensor(rows.flatMap { $0 }, shape: [rows.count, rows[0].count, 1, 1])
}

extension Tensor {
    func converted<Target>(to _: Target.Type) throws -> Tensor<Target> {
        try Tensor<Target>(elements.map { Target($0) }, shape: shape)
    }

    /// Axis i of the result is axis `order[i]` of this tensor: NumPy's transpose.
    func permuted(_ order: [Int]) throws -> Tensor {
        var result = try Tensor(repeating: 0, shape: order.map { shape[$0] })
        for a in 0..<shape[0] {
            for b in 0..<shape[1] {
                for c in 0..<shape[2] {
                    for d in 0..<shape[3] {
                        let index = [a, b, c, d]
                        result[index[order[0]], index[order[1]], index[order[2]], index[order[3]]] = self[a, b, c, d]
                    }
                }
            }
        }
        return result
    }
}

/// The orders that turn NHWC into NCHW, HWIO into OIHW and HWOI into IOHW.
let toChannelsFirst = [0, 3, 1, 2]
let toTorchKernel = [3, 2, 0, 1]

/// The index that stands at `index` outside 0 ..< length, by folding the line onto itself, or nil for a constant.
func borderReference(_ index: Int, _ length: Int, _ mode: PaddingMode) -> Int? {
    func wrapped(_ period: Int) -> Int { ((index % period) + period) % period }
    if (0..<length).contains(index) { return index }
    switch mode {
    case .zeros, .constant: return nil
    case .reflect: return min(wrapped(2 * length - 2), 2 * length - 2 - wrapped(2 * length - 2))
    case .symmetric: return min(wrapped(2 * length), 2 * length - 1 - wrapped(2 * length))
    case .replicate: return max(0, min(index, length - 1))
    case .circular: return wrapped(length)
    }
}

/// NHWC by HWIO. `top ... right` are the rows and columns of padding.
func conv2dReference(
    _ input: Tensor<Double>, _ kernel: Tensor<Double>, bias: [Double]? = nil, strides: (Int, Int) = (1, 1),
    dilation: (Int, Int) = (1, 1),
    top: Int = 0, bottom: Int = 0, left: Int = 0, right: Int = 0, mode: PaddingMode = .zeros, groups: Int = 1
) throws -> Tensor<Double> {
    let (height, width) = (input.shape[1], input.shape[2])
    let (kernelHeight, kernelWidth, inputs, outputs) = (kernel.shape[0], kernel.shape[1], kernel.shape[2], kernel.shape[3])
    let rows = (height + top + bottom - (kernelHeight - 1) * dilation.0 - 1) / strides.0 + 1
    let columns = (width + left + right - (kernelWidth - 1) * dilation.1 - 1) / strides.1 + 1
    var outside = 0.0
    if case .constant(let value) = mode { outside = value }
    var output = try Tensor(repeating: 0.0, shape: [input.shape[0], rows, columns, outputs])
    for n in 0..<input.shape[0] {
        for y in 0..<rows {
            for x in 0..<columns {
                for o in 0..<outputs {
                    var sum = bias?[o] ?? 0
                    for a in 0..<kernelHeight {
                        for b in 0..<kernelWidth {
                            let row = borderReference(y * strides.0 + a * dilation.0 - top, height, mode)
                            let column = borderReference(x * strides.1 + b * dilation.1 - left, width, mode)
                            for c in 0..<inputs {
                                let group = o / (outputs / groups)
                                let pixel = if let row, let column { input[n, row, column, group * inputs + c] } else { outside }
                                sum += pixel * kernel[a, b, c, o]
                            }
                        }
                    }
                    output[n, y, x, o] = sum
                }
            }
        }
    }
    return output
}

/// NHWC by HWOI: every input element times the kernel, added up; of that the window of `rows` x `columns` from `top`, `left` on.
func conv2dTransposeReference(
    _ input: Tensor<Double>, _ kernel: Tensor<Double>, bias: [Double]? = nil, strides: (Int, Int) = (1, 1),
    dilation: (Int, Int) = (1, 1),
    groups: Int = 1, top: Int, rows: Int, left: Int, columns: Int
) throws -> Tensor<Double> {
    let (kernelHeight, kernelWidth, outputs, inputs) = (kernel.shape[0], kernel.shape[1], kernel.shape[2], kernel.shape[3])
    var output = try Tensor(repeating: 0.0, shape: [input.shape[0], rows, columns, outputs * groups])
    for n in 0..<input.shape[0] {
        for y in 0..<input.shape[1] {
            for x in 0..<input.shape[2] {
                for i in 0..<inputs {
                    for a in 0..<kernelHeight {
                        for b in 0..<kernelWidth {
                            let row = y * strides.0 + a * dilation.0 - top
                            let column = x * strides.1 + b * dilation.1 - left
                            guard (0..<rows).contains(row), (0..<columns).contains(column) else { continue }
                            for o in 0..<outputs {
                                output[n, row, column, i / (inputs / groups) * outputs + o] +=
                                    input[n, y, x, i] * kernel[a, b, o, i]
                            }
                        }
                    }
                }
            }
        }
        for y in 0..<rows {
            for x in 0..<columns {
                for o in 0..<outputs * groups { output[n, y, x, o] += bias?[o] ?? 0 }
            }
        }
    }
    return output
}

/// The largest distance between the elements of two tensors; infinite if their shapes differ or one is not a number.
func distance<Scalar>(_ a: Tensor<Scalar>, _ b: Tensor<Double>) -> Double {
    guard a.shape == b.shape else { return .infinity }
    var largest = 0.0
    for (x, y) in zip(a.elements, b.elements) {
        let difference = abs(Double(x) - y)
        if !(difference <= largest) { largest = difference.isNaN ? .infinity : difference }
    }
    return largest
}
