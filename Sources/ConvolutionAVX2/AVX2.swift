import ConvolutionKernels

#if arch(x86_64)
/// AVX2 and FMA: 16 registers of 32 bytes. 12 accumulators, up to 3 weight vectors and one input: 6x2 or 4x3.
public enum AVX2: InstructionSet {
    public typealias Float32Vector = SIMD8<Float>
    public typealias Float64Vector = SIMD4<Double>
    @inlinable @inline(__always) public static var fusesMultiplyAdd: Bool { true }
}

/// The float32 kernels of this tier.
@export(interface) public func avx2Float32() -> KernelTable {
    KernelTable(
        lanes: 8,
        tiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateTile(AVX2.self, SIMD8<Float>.self, rows: InlineArray<8, Bool>.self, vectors: InlineArray<1, Bool>.self, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateTile(AVX2.self, SIMD8<Float>.self, rows: InlineArray<6, Bool>.self, vectors: InlineArray<2, Bool>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateTile(AVX2.self, SIMD8<Float>.self, rows: InlineArray<4, Bool>.self, vectors: InlineArray<3, Bool>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateTile(AVX2.self, SIMD8<Float>.self, rows: InlineArray<4, Bool>.self, vectors: InlineArray<3, Bool>.self, $0)
            },
        ],
        widestTile: 3,
        finish: { finishTile(AVX2.self, SIMD8<Float>.self, $0) },
        nearestRow: { nearestRow(AVX2.self, SIMD8<Float>.self, $0) },
        bilinearRow: { bilinearRow(AVX2.self, SIMD8<Float>.self, $0) })
}

/// The float64 kernels of this tier.
@export(interface) public func avx2Float64() -> KernelTable {
    KernelTable(
        lanes: 4,
        tiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateTile(AVX2.self, SIMD4<Double>.self, rows: InlineArray<8, Bool>.self, vectors: InlineArray<1, Bool>.self, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateTile(AVX2.self, SIMD4<Double>.self, rows: InlineArray<6, Bool>.self, vectors: InlineArray<2, Bool>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateTile(AVX2.self, SIMD4<Double>.self, rows: InlineArray<4, Bool>.self, vectors: InlineArray<3, Bool>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateTile(AVX2.self, SIMD4<Double>.self, rows: InlineArray<4, Bool>.self, vectors: InlineArray<3, Bool>.self, $0)
            },
        ],
        widestTile: 3,
        finish: { finishTile(AVX2.self, SIMD4<Double>.self, $0) },
        nearestRow: { nearestRow(AVX2.self, SIMD4<Double>.self, $0) },
        bilinearRow: { bilinearRow(AVX2.self, SIMD4<Double>.self, $0) })
}
#endif
