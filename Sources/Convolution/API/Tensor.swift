import CConvolution
import CConvolutionShims

/// An element type of tensors: `Float` or `Double`, and no other.
public protocol TensorScalar: BinaryFloatingPoint, BitwiseCopyable, Sendable {
    /// `CONVOLUTION_FLOAT32` or `CONVOLUTION_FLOAT64`, according to the memory layout of the type.
    static var dtype: Int32 { get }
}
extension Float: TensorScalar {
    public static var dtype: Int32 { Int32(CONVOLUTION_FLOAT32) }
}
extension Double: TensorScalar {
    public static var dtype: Int32 { Int32(CONVOLUTION_FLOAT64) }
}

/// Numbers in a grid. Images have four axes in the order of a `DataFormat`, kernels four in the order of a kernel format,
/// matrices two.
///
///     let image = try Tensor<Float>([1, 2, 3, 4, 5, 6], shape: [1, 2, 3, 1])
///     image[0, 1, 2, 0] // 6
public struct Tensor<Scalar: TensorScalar>: Hashable, Sendable {
    /// The length of each axis, 0 or more, the slowest first.
    public let shape: [Int]
    /// The numbers, the last axis running fastest. There are as many as the product of `shape`.
    public private(set) var elements: [Scalar]

    /// The given elements, the last axis running fastest.
    ///
    /// - Throws: `shape` if `elements` has not as many as `shape` says, or a length is negative.
    public init(_ elements: [Scalar], shape: [Int]) throws(ConvolutionError) {
        let count = try elementCount(shape)
        if elements.count != count {
            throw ConvolutionError(.shape, "elements has \(elements.count); shape \(shape) has \(count)")
        }
        self.shape = shape
        self.elements = elements
    }

    /// Equal elements.
    ///
    /// - Throws: `shape` if a length is negative, `outOfMemory` if the elements exceed the machine's memory.
    public init(repeating element: Scalar, shape: [Int]) throws(ConvolutionError) {
        elements = [Scalar](repeating: element, count: try storableCount(shape, of: Scalar.self))
        self.shape = shape
    }

    /// What `function` writes to the memory it is given. It returns a status.
    init(shape: [Int], writtenBy function: (UnsafeMutableRawPointer?) -> Int32) throws(ConvolutionError) {
        let count = try storableCount(shape, of: Scalar.self)
        var status: Int32 = 0
        elements = [Scalar](unsafeUninitializedCapacity: count) { memory, initialized in
            status = function(memory.baseAddress)
            initialized = status == 0 ? count : 0
        }
        self.shape = shape
        try check(status)
    }

    /// One element, by one index per axis.
    ///
    /// - Precondition: there are as many indices as axes, each from 0 to the axis's length - 1.
    public subscript(_ indices: Int...) -> Scalar {
        get { elements[offset(indices)] }
        set { elements[offset(indices)] = newValue }
    }

    private func offset(_ indices: [Int]) -> Int {
        precondition(indices.count == shape.count, "\(indices.count) indices for a tensor with \(shape.count) axes")
        var offset = 0
        for (index, length) in zip(indices, shape) {
            precondition(index >= 0 && index < length, "index \(index) is outside an axis of length \(length)")
            offset = offset * length + index
        }
        return offset
    }
}

func checkLengths(_ shape: [Int], _ name: String) throws(ConvolutionError) {
    if shape.contains(where: { $0 < 0 }) {
        throw ConvolutionError(.shape, "\(name) has shape \(shape); a length must be at least 0")
    }
}

/// The product of the lengths.
private func elementCount(_ shape: [Int]) throws(ConvolutionError) -> Int {
    try checkLengths(shape, "tensor")
    if shape.contains(0) { return 0 }
    var count = 1
    for length in shape {
        let (product, overflow) = count.multipliedReportingOverflow(by: length)
        if overflow { throw ConvolutionError(.overflow, "shape \(shape) has more elements than 64 bits can count") }
        count = product
    }
    return count
}

/// The product of the lengths, of which the machine could hold that many elements. An array that is larger would end the process.
func storableCount<Element>(_ shape: [Int], of _: Element.Type) throws(ConvolutionError) -> Int {
    let count = try elementCount(shape)
    if UInt64(count) > shim_physical_memory() / UInt64(MemoryLayout<Element>.stride) {
        throw ConvolutionError(
            .outOfMemory, "out of memory: shape \(shape) needs \(count) times \(MemoryLayout<Element>.stride) bytes")
    }
    return count
}
