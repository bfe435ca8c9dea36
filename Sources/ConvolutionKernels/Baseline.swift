import CConvolutionShims

// What every processor of the architecture has. x86-64: SSE2, 16 registers of 16 bytes and no fused multiply-add, so each product
// is rounded before it is added. arm64: NEON, 32 registers of 16 bytes and fused multiply-add.

/// float32
public enum BaselineFloat32: InstructionSet {
    public typealias Scalar = Float
    public typealias Vector = SIMD4<Float>
    @inlinable @inline(__always) public static func multiplyAdd(_ a: Vector, _ b: Vector, _ c: Vector) -> Vector {
        #if arch(arm64)
        shim_fma_f32x4(a, b, c)
        #else
        shim_add_f32x4(shim_mul_f32x4(a, b), c)
        #endif
    }
    @inlinable @inline(__always) public static func sum(_ a: Vector, _ b: Vector) -> Vector { shim_add_f32x4(a, b) }
    @inlinable @inline(__always) public static func product(_ a: Vector, _ b: Vector) -> Vector { shim_mul_f32x4(a, b) }
    @inlinable @inline(__always) public static func replacing(_ x: Vector, below bound: Vector, with other: Vector) -> Vector {
        shim_below_f32x4(x, bound, other)
    }
    @inlinable @inline(__always) public static func replacing(_ x: Vector, above bound: Vector, with other: Vector) -> Vector {
        shim_above_f32x4(x, bound, other)
    }
    @inlinable @inline(__always) public static func gather(
        _ source: UnsafePointer<Scalar>, _ elements: UnsafePointer<Int>
    ) -> Vector {
        shim_gather_f32x4(source, elements)
    }
    @inlinable @inline(__always) public static func stream(_ x: Vector, to place: UnsafeMutableRawPointer) {
        shim_stream_f32x4(x, place)
    }
}

/// float64
public enum BaselineFloat64: InstructionSet {
    public typealias Scalar = Double
    public typealias Vector = SIMD2<Double>
    @inlinable @inline(__always) public static func multiplyAdd(_ a: Vector, _ b: Vector, _ c: Vector) -> Vector {
        #if arch(arm64)
        shim_fma_f64x2(a, b, c)
        #else
        shim_add_f64x2(shim_mul_f64x2(a, b), c)
        #endif
    }
    @inlinable @inline(__always) public static func sum(_ a: Vector, _ b: Vector) -> Vector { shim_add_f64x2(a, b) }
    @inlinable @inline(__always) public static func product(_ a: Vector, _ b: Vector) -> Vector { shim_mul_f64x2(a, b) }
    @inlinable @inline(__always) public static func replacing(_ x: Vector, below bound: Vector, with other: Vector) -> Vector {
        shim_below_f64x2(x, bound, other)
    }
    @inlinable @inline(__always) public static func replacing(_ x: Vector, above bound: Vector, with other: Vector) -> Vector {
        shim_above_f64x2(x, bound, other)
    }
    @inlinable @inline(__always) public static func gather(
        _ source: UnsafePointer<Scalar>, _ elements: UnsafePointer<Int>
    ) -> Vector {
        shim_gather_f64x2(source, elements)
    }
    @inlinable @inline(__always) public static func stream(_ x: Vector, to place: UnsafeMutableRawPointer) {
        shim_stream_f64x2(x, place)
    }
}

/// The float32 kernels of this tier.
@export(interface) public func baselineFloat32() -> UnsafePointer<KernelTable> { UnsafePointer(&float32) }

private nonisolated(unsafe) var float32 =
    KernelTable(
        lanes: 4,
        tiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateTile(BaselineFloat32.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateTile(BaselineFloat32.self, rows: Count<6>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateTile(BaselineFloat32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateTile(BaselineFloat32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        pixelTile: TileKernel(rows: 1, vectors: 3) {
            accumulateTile(BaselineFloat32.self, rows: Count<1>.self, vectors: Count<3>.self, $0)
        },
        laneTiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateLanes(BaselineFloat32.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateLanes(BaselineFloat32.self, rows: Count<6>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateLanes(BaselineFloat32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateLanes(BaselineFloat32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        groupTile: nil,
        outerTiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateOuterProducts(BaselineFloat32.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateOuterProducts(BaselineFloat32.self, rows: Count<6>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateOuterProducts(BaselineFloat32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateOuterProducts(BaselineFloat32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        planes: { accumulatePlanes(BaselineFloat32.self, $0) },
        tapGradients: { accumulateTapGradients(BaselineFloat32.self, step: Count<3>.self, points: Count<1>.self, $0) },
        slidingTapGradients: [
            { accumulateTapGradients(BaselineFloat32.self, step: Count<1>.self, points: Count<1>.self, $0) },
            nil,
        ],
        walk: WalkKernel(columns: 4) { accumulateWalk(BaselineFloat32.self, columns: Count<4>.self, step: Count<1>.self, $0) },
        stridedWalk: WalkKernel(columns: 4) {
            accumulateWalk(BaselineFloat32.self, columns: Count<4>.self, step: Count<2>.self, $0)
        },
        stencil: StencilKernel(vectors: 2) { accumulateStencil(BaselineFloat32.self, vectors: Count<2>.self, $0) },
        narrowStencil: { accumulateNarrowStencil(BaselineFloat32.self, $0) },
        smallStencils: [
            { accumulateSmallStencil(BaselineFloat32.self, size: Count<3>.self, step: Count<1>.self, $0) },
            { accumulateSmallStencil(BaselineFloat32.self, size: Count<3>.self, step: Count<2>.self, $0) },
            { accumulateSmallStencil(BaselineFloat32.self, size: Count<2>.self, step: Count<1>.self, $0) },
        ],
        widestTile: 3,
        columnTiles: [
            TileKernel(rows: 1, vectors: 4) {
                accumulateColumns(BaselineFloat32.self, rows: Count<1>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 2, vectors: 4) {
                accumulateColumns(BaselineFloat32.self, rows: Count<2>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 3, vectors: 3) {
                accumulateColumns(BaselineFloat32.self, rows: Count<3>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateColumns(BaselineFloat32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateColumns(BaselineFloat32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        wideTiles: [
            TileKernel(rows: 1, vectors: 8) {
                accumulateWide(BaselineFloat32.self, rows: Count<1>.self, vectors: Count<8>.self, $0)
            },
            TileKernel(rows: 2, vectors: 4) {
                accumulateColumns(BaselineFloat32.self, rows: Count<2>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 3, vectors: 3) {
                accumulateColumns(BaselineFloat32.self, rows: Count<3>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateColumns(BaselineFloat32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        layOutAxis: { layOutAxis($0) },
        layOutRuns: { layOutRuns($0) },
        finish: { finishTile(BaselineFloat32.self, $0) },
        finishColumns: { finishColumns(BaselineFloat32.self, $0) },
        shiftedSums: { shiftedSums(BaselineFloat32.self, $0) },
        transformInput: { transformInput(BaselineFloat32.self, $0) },
        transformOutput: { transformOutput(BaselineFloat32.self, $0) },
        transformSmallInput: { transformSmallInput(BaselineFloat32.self, $0) },
        transformSmallOutput: { transformSmallOutput(BaselineFloat32.self, $0) },
        transformOutputGradient: { transformOutputGradient(BaselineFloat32.self, $0) },
        transformTaps: { transformTaps(BaselineFloat32.self, $0) },
        gatheredColumns: { gatheredColumns(BaselineFloat32.self, $0) },
        permutedColumns: nil,
        doubledRows: nil,
        resampledPixels: { resampledPixels(BaselineFloat32.self, $0) },
        blendedPixels: { blendedPixels(BaselineFloat32.self, $0) },
        blendedRows: { blendedRows(BaselineFloat32.self, $0) },
        blendedRuns: { blendedRuns(BaselineFloat32.self, $0) })

/// The float64 kernels of this tier.
@export(interface) public func baselineFloat64() -> UnsafePointer<KernelTable> { UnsafePointer(&float64) }

private nonisolated(unsafe) var float64 =
    KernelTable(
        lanes: 2,
        tiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateTile(BaselineFloat64.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateTile(BaselineFloat64.self, rows: Count<6>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateTile(BaselineFloat64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateTile(BaselineFloat64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        pixelTile: TileKernel(rows: 1, vectors: 3) {
            accumulateTile(BaselineFloat64.self, rows: Count<1>.self, vectors: Count<3>.self, $0)
        },
        laneTiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateLanes(BaselineFloat64.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateLanes(BaselineFloat64.self, rows: Count<6>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateLanes(BaselineFloat64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateLanes(BaselineFloat64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        groupTile: nil,
        outerTiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateOuterProducts(BaselineFloat64.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateOuterProducts(BaselineFloat64.self, rows: Count<6>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateOuterProducts(BaselineFloat64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateOuterProducts(BaselineFloat64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        planes: { accumulatePlanes(BaselineFloat64.self, $0) },
        tapGradients: { accumulateTapGradients(BaselineFloat64.self, step: Count<3>.self, points: Count<1>.self, $0) },
        walk: WalkKernel(columns: 4) { accumulateWalk(BaselineFloat64.self, columns: Count<4>.self, step: Count<1>.self, $0) },
        stencil: StencilKernel(vectors: 2) { accumulateStencil(BaselineFloat64.self, vectors: Count<2>.self, $0) },
        narrowStencil: { accumulateNarrowStencil(BaselineFloat64.self, $0) },
        smallStencils: [nil, nil, nil],
        widestTile: 3,
        columnTiles: [
            TileKernel(rows: 1, vectors: 4) {
                accumulateColumns(BaselineFloat64.self, rows: Count<1>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 2, vectors: 4) {
                accumulateColumns(BaselineFloat64.self, rows: Count<2>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 3, vectors: 3) {
                accumulateColumns(BaselineFloat64.self, rows: Count<3>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateColumns(BaselineFloat64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateColumns(BaselineFloat64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        wideTiles: [
            TileKernel(rows: 1, vectors: 8) {
                accumulateWide(BaselineFloat64.self, rows: Count<1>.self, vectors: Count<8>.self, $0)
            },
            TileKernel(rows: 2, vectors: 4) {
                accumulateColumns(BaselineFloat64.self, rows: Count<2>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 3, vectors: 3) {
                accumulateColumns(BaselineFloat64.self, rows: Count<3>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateColumns(BaselineFloat64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        layOutAxis: { layOutAxis($0) },
        layOutRuns: { layOutRuns($0) },
        finish: { finishTile(BaselineFloat64.self, $0) },
        finishColumns: { finishColumns(BaselineFloat64.self, $0) },
        shiftedSums: { shiftedSums(BaselineFloat64.self, $0) },
        transformInput: { transformInput(BaselineFloat64.self, $0) },
        transformOutput: { transformOutput(BaselineFloat64.self, $0) },
        transformSmallInput: nil,
        transformSmallOutput: nil,
        transformOutputGradient: nil,
        transformTaps: nil,
        gatheredColumns: { gatheredColumns(BaselineFloat64.self, $0) },
        permutedColumns: nil,
        doubledRows: nil,
        resampledPixels: { resampledPixels(BaselineFloat64.self, $0) },
        blendedPixels: { blendedPixels(BaselineFloat64.self, $0) },
        blendedRows: { blendedRows(BaselineFloat64.self, $0) },
        blendedRuns: { blendedRuns(BaselineFloat64.self, $0) })
