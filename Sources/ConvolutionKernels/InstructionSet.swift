/// An instruction set's vectors of one element type, as a type. Every generic kernel takes it as its type argument, which gives each
/// tier symbols of its own: the same specialisation compiled in two modules under different processor flags would be one weak symbol,
/// and the linker keeps either.
///
/// The operations are single instructions (see vectors.h); Swift's own SIMD operators are, in generic code, loops over lanes that the
/// optimiser may or may not turn back into one.
public protocol InstructionSet {
    associatedtype Scalar: KernelScalar & SIMDScalar
    associatedtype Vector: SIMD where Vector.Scalar == Scalar

    /// a * b + c, in one rounding where the instruction set has it.
    static func multiplyAdd(_ a: Vector, _ b: Vector, _ c: Vector) -> Vector
    static func sum(_ a: Vector, _ b: Vector) -> Vector
    static func product(_ a: Vector, _ b: Vector) -> Vector
    /// Per lane, `other` where x < bound, else x; NaN stays NaN.
    static func replacing(_ x: Vector, below bound: Vector, with other: Vector) -> Vector
    /// Per lane, `other` where x > bound, else x; NaN stays NaN.
    static func replacing(_ x: Vector, above bound: Vector, with other: Vector) -> Vector
    /// Lane i: source[elements[i]].
    static func gather(_ source: UnsafePointer<Scalar>, _ elements: UnsafePointer<Int>) -> Vector
    /// Stores past the caches. `place` is aligned to the vector.
    static func stream(_ x: Vector, to place: UnsafeMutableRawPointer)
}

/// One that can reorder a whole vector in an instruction.
public protocol PermutingInstructionSet: InstructionSet {
    /// Lane i: x[places[i]], the places being integers as wide as the scalars.
    static func permute(_ x: Vector, _ places: UnsafeRawPointer) -> Vector
    /// The same of the lanes of x, and those of y after them.
    static func permute(_ x: Vector, _ y: Vector, _ places: UnsafeRawPointer) -> Vector
}

extension InstructionSet {
    @inlinable @inline(__always) static var lanes: Int { Vector.scalarCount }
    /// Bytes of a vector.
    @inlinable @inline(__always) static var bytes: Int { Vector.scalarCount &* MemoryLayout<Scalar>.stride }
}

/// A scalar with the functions of libm that activations need.
public protocol KernelScalar: BinaryFloatingPoint, BitwiseCopyable {
    static func exponential(_ x: Self) -> Self
    static func hyperbolicTangent(_ x: Self) -> Self
    /// The conversions of the standard library are, in generic code, loops over bits.
    var inDouble: Double { get }
    /// Without its fraction.
    var truncated: Int { get }
}
