import ConvolutionKernels

#if arch(x86_64)
/// AVX-512 (F, BW, DQ, VL): 32 registers of 64 bytes. 24 accumulators, up to 4 weight vectors and one input: 8x3 or 6x4.
public enum AVX512: InstructionSet {
    public typealias Float32Vector = SIMD16<Float>
    public typealias Float64Vector = SIMD8<Double>
    @inlinable @inline(__always) public static var fusesMultiplyAdd: Bool { true }
}

/// The float32 kernels of this tier.
@export(interface) public func avx512Float32() -> KernelTable {
    KernelTable(
        lanes: 16,
        tiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateTile(AVX512.self, SIMD16<Float>.self, rows: InlineArray<8, Bool>.self, vectors: InlineArray<1, Bool>.self, $0)
            },
            TileKernel(rows: 8, vectors: 2) {
                accumulateTile(AVX512.self, SIMD16<Float>.self, rows: InlineArray<8, Bool>.self, vectors: InlineArray<2, Bool>.self, $0)
            },
            TileKernel(rows: 8, vectors: 3) {
                accumulateTile(AVX512.self, SIMD16<Float>.self, rows: InlineArray<8, Bool>.self, vectors: InlineArray<3, Bool>.self, $0)
            },
            TileKernel(rows: 6, vectors: 4) {
                accumulateTile(AVX512.self, SIMD16<Float>.self, rows: InlineArray<6, Bool>.self, vectors: InlineArray<4, Bool>.self, $0)
            },
        ],
        widestTile: 4,
        finish: { finishTile(AVX512.self, SIMD16<Float>.self, $0) },
        nearestRow: { nearestRow(AVX512.self, SIMD16<Float>.self, $0) },
        bilinearRow: { bilinearRow(AVX512.self, SIMD16<Float>.self, $0) })
}

/// The float64 kernels of this tier.
@export(interface) public func avx512Float64() -> KernelTable {
    KernelTable(
        lanes: 8,
        tiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateTile(AVX512.self, SIMD8<Double>.self, rows: InlineArray<8, Bool>.self, vectors: InlineArray<1, Bool>.self, $0)
            },
            TileKernel(rows: 8, vectors: 2) {
                accumulateTile(AVX512.self, SIMD8<Double>.self, rows: InlineArray<8, Bool>.self, vectors: InlineArray<2, Bool>.self, $0)
            },
            TileKernel(rows: 8, vectors: 3) {
                accumulateTile(AVX512.self, SIMD8<Double>.self, rows: InlineArray<8, Bool>.self, vectors: InlineArray<3, Bool>.self, $0)
            },
            TileKernel(rows: 6, vectors: 4) {
                accumulateTile(AVX512.self, SIMD8<Double>.self, rows: InlineArray<6, Bool>.self, vectors: InlineArray<4, Bool>.self, $0)
            },
        ],
        widestTile: 4,
        finish: { finishTile(AVX512.self, SIMD8<Double>.self, $0) },
        nearestRow: { nearestRow(AVX512.self, SIMD8<Double>.self, $0) },
        bilinearRow: { bilinearRow(AVX512.self, SIMD8<Double>.self, $0) })
}
#endif
