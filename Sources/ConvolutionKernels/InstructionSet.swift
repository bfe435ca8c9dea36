/// A kernel, which finds its arguments behind the pointer.
public typealias Kernel = @convention(c) (UnsafeRawPointer) -> Void

/// A number that the compiler knows, as an argument: `Count<8>.self`. Loops over it unroll.
public typealias Count<let N: Int> = InlineArray<N, Bool>

/// An instruction set's vectors of one element type, as a type. Every generic kernel takes it as its type argument, which gives
/// each tier symbols of its own: the same specialisation compiled in two modules under different processor flags would be one
/// weak symbol, and the linker keeps either.
///
/// The operations are single instructions (see vectors.h); Swift's own SIMD operators are, in generic code, loops over lanes that
/// the optimiser may or may not turn back into one.
public protocol InstructionSet {
    associatedtype Scalar: KernelScalar
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
    /// One scalar in every lane, by an instruction of its own even where a multiply-add could load it.
    static func one(_ source: UnsafePointer<Scalar>) -> Vector
    /// Whether the next three are instructions.
    static var splitsTwos: Bool { get }
    /// Two scalars, repeated in every two lanes.
    static func twos(_ source: UnsafePointer<Scalar>) -> Vector
    /// The first, or the second, of every two lanes in both.
    static func firsts(_ x: Vector) -> Vector
    static func seconds(_ x: Vector) -> Vector
    /// The lower half of x and the upper half of y. This and the next two are for instruction sets with `KernelTable.halfTiles`.
    static func halves(_ x: Vector, _ y: Vector) -> Vector
    /// Half a vector, in both halves.
    static func twice(_ source: UnsafeRawPointer) -> Vector
    /// The upper half of x, then the lower.
    static func swapped(_ x: Vector) -> Vector
    /// Lane i: x[places[i]], the places being integers as wide as the scalars. An instruction set without such an instruction
    /// returns x.
    static func arranged(_ x: Vector, _ places: UnsafeRawPointer) -> Vector
    /// Stores past the caches. `place` is aligned to the vector.
    static func stream(_ x: Vector, to place: UnsafeMutableRawPointer)
    /// Whether the next two are instructions.
    static var storesParts: Bool { get }
    /// Stores the lanes from the first on that `mask` has a 1 for, and touches nothing behind them: also where
    /// `KernelTable.tilesStoreParts`.
    static func store(_ x: Vector, to place: UnsafeMutableRawPointer, mask: UInt32)
    /// a * b + c in the same lanes, where a is read from `place` on, nothing of it behind them.
    static func multiplyAdd(_ place: UnsafeRawPointer, _ b: Vector, _ c: Vector, mask: UInt32) -> Vector
}

/// One that can reorder a whole vector in an instruction.
public protocol PermutingInstructionSet: InstructionSet {
    /// Lane i: x[places[i]], the places being integers as wide as the scalars.
    static func permute(_ x: Vector, _ places: UnsafeRawPointer) -> Vector
    /// The same of the lanes of x, and those of y after them.
    static func permute(_ x: Vector, _ y: Vector, _ places: UnsafeRawPointer) -> Vector
    /// The same; and of the lanes of z, and those of w after them, where the sign bit of the place is set.
    static func permute(_ x: Vector, _ y: Vector, _ z: Vector, _ w: Vector, _ places: UnsafeRawPointer) -> Vector
    /// Whether `spread` is an instruction of its own.
    static var spreadsFours: Bool { get }
    /// Lane `place` of every four lanes, repeated in them.
    static func spread(_ x: Vector, _ place: Int) -> Vector
}

extension PermutingInstructionSet {
    @inlinable @inline(__always) public static func arranged(_ x: Vector, _ places: UnsafeRawPointer) -> Vector {
        permute(x, places)
    }
    @inlinable @inline(__always) public static var spreadsFours: Bool { false }
    @inlinable @inline(__always) public static func spread(_ x: Vector, _ place: Int) -> Vector { x }
}

extension InstructionSet {
    /// Between bounds. NaN stays.
    @inlinable @inline(__always) public static func bounded(_ x: Vector, low: Vector, high: Vector) -> Vector {
        replacing(replacing(x, below: low, with: low), above: high, with: high)
    }
    @inlinable @inline(__always) public static var storesParts: Bool { false }
    @inlinable @inline(__always) public static func store(_ x: Vector, to place: UnsafeMutableRawPointer, mask: UInt32) {
        place.storeBytes(of: x, as: Vector.self)
    }
    @inlinable @inline(__always) public static func multiplyAdd(
        _ place: UnsafeRawPointer, _ b: Vector, _ c: Vector, mask: UInt32
    ) -> Vector {
        multiplyAdd(place.loadUnaligned(as: Vector.self), b, c)
    }
    @inlinable @inline(__always) public static func arranged(_ x: Vector, _ places: UnsafeRawPointer) -> Vector { x }
    @inlinable @inline(__always) public static func halves(_ x: Vector, _ y: Vector) -> Vector { x }
    @inlinable @inline(__always) public static func twice(_ source: UnsafeRawPointer) -> Vector {
        source.loadUnaligned(as: Vector.self)
    }
    @inlinable @inline(__always) public static func swapped(_ x: Vector) -> Vector { x }
    @inlinable @inline(__always) public static func one(_ source: UnsafePointer<Scalar>) -> Vector { Vector(repeating: source[0]) }
    @inlinable @inline(__always) public static var splitsTwos: Bool { false }
    @inlinable @inline(__always) public static func twos(_ source: UnsafePointer<Scalar>) -> Vector {
        Vector(repeating: source[0])
    }
    @inlinable @inline(__always) public static func firsts(_ x: Vector) -> Vector { x }
    @inlinable @inline(__always) public static func seconds(_ x: Vector) -> Vector { x }
    @inlinable @inline(__always) static var lanes: Int { Vector.scalarCount }
    /// Bytes of a vector.
    @inlinable @inline(__always) static var bytes: Int { Vector.scalarCount &* MemoryLayout<Scalar>.stride }
}

/// A scalar with the functions of libm that activations need.
public protocol KernelScalar: BinaryFloatingPoint, BitwiseCopyable, SIMDScalar {
    static func exponential(_ x: Self) -> Self
    static func hyperbolicTangent(_ x: Self) -> Self
    /// The conversions of the standard library are, in generic code, loops over bits.
    var inDouble: Double { get }
    /// Without its fraction.
    var truncated: Int { get }
}
