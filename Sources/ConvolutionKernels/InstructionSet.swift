/// An instruction set as a type. Every generic kernel takes it as a type argument, which gives each tier symbols of its own: the same
/// specialisation compiled in two modules under different processor flags would be one weak symbol, and the linker keeps either.
public protocol InstructionSet {
    associatedtype Float32Vector: SIMD where Float32Vector.Scalar == Float
    associatedtype Float64Vector: SIMD where Float64Vector.Scalar == Double

    /// Whether `addProduct` is one instruction. Where it is not, Swift calls `fma` lane by lane, so the kernels multiply and add.
    static var fusesMultiplyAdd: Bool { get }
}
