/// What every processor of the architecture has. x86-64: SSE2, 16 registers of 16 bytes and no fused multiply-add, so each product is
/// rounded before it is added. arm64: NEON, 32 registers of 16 bytes and fused multiply-add.
public enum Baseline: InstructionSet {
    public typealias Float32Vector = SIMD4<Float>
    public typealias Float64Vector = SIMD2<Double>
    #if arch(arm64)
    @inlinable @inline(__always) public static var fusesMultiplyAdd: Bool { true }
    #else
    @inlinable @inline(__always) public static var fusesMultiplyAdd: Bool { false }
    #endif
}

/// The float32 kernels of this tier.
@export(interface) public func baselineFloat32() -> KernelTable {
    KernelTable(
        lanes: 4,
        tiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateTile(Baseline.self, SIMD4<Float>.self, rows: InlineArray<8, Bool>.self, vectors: InlineArray<1, Bool>.self, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateTile(Baseline.self, SIMD4<Float>.self, rows: InlineArray<6, Bool>.self, vectors: InlineArray<2, Bool>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateTile(Baseline.self, SIMD4<Float>.self, rows: InlineArray<4, Bool>.self, vectors: InlineArray<3, Bool>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateTile(Baseline.self, SIMD4<Float>.self, rows: InlineArray<4, Bool>.self, vectors: InlineArray<3, Bool>.self, $0)
            },
        ],
        widestTile: 3,
        finish: { finishTile(Baseline.self, SIMD4<Float>.self, $0) },
        nearestRow: { nearestRow(Baseline.self, SIMD4<Float>.self, $0) },
        bilinearRow: { bilinearRow(Baseline.self, SIMD4<Float>.self, $0) })
}

/// The float64 kernels of this tier.
@export(interface) public func baselineFloat64() -> KernelTable {
    KernelTable(
        lanes: 2,
        tiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateTile(Baseline.self, SIMD2<Double>.self, rows: InlineArray<8, Bool>.self, vectors: InlineArray<1, Bool>.self, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateTile(Baseline.self, SIMD2<Double>.self, rows: InlineArray<6, Bool>.self, vectors: InlineArray<2, Bool>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateTile(Baseline.self, SIMD2<Double>.self, rows: InlineArray<4, Bool>.self, vectors: InlineArray<3, Bool>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateTile(Baseline.self, SIMD2<Double>.self, rows: InlineArray<4, Bool>.self, vectors: InlineArray<3, Bool>.self, $0)
            },
        ],
        widestTile: 3,
        finish: { finishTile(Baseline.self, SIMD2<Double>.self, $0) },
        nearestRow: { nearestRow(Baseline.self, SIMD2<Double>.self, $0) },
        bilinearRow: { bilinearRow(Baseline.self, SIMD2<Double>.self, $0) })
}
