import CConvolutionShims
import ConvolutionKernels

#if arch(x86_64)
// AVX2 and FMA: 16 registers of 32 bytes. 12 accumulators, up to 3 vectors of weights and one of input: 6x2 or 4x3.

/// float32
public enum AVX2Float32: PermutingInstructionSet {
    public typealias Scalar = Float
    public typealias Vector = SIMD8<Float>
    @inlinable @inline(__always) public static func multiplyAdd(_ a: Vector, _ b: Vector, _ c: Vector) -> Vector {
        shim_fma_f32x8(a, b, c)
    }
    @inlinable @inline(__always) public static func sum(_ a: Vector, _ b: Vector) -> Vector { shim_add_f32x8(a, b) }
    @inlinable @inline(__always) public static func product(_ a: Vector, _ b: Vector) -> Vector { shim_mul_f32x8(a, b) }
    @inlinable @inline(__always) public static func replacing(_ x: Vector, below bound: Vector, with other: Vector) -> Vector {
        shim_below_f32x8(x, bound, other)
    }
    @inlinable @inline(__always) public static func replacing(_ x: Vector, above bound: Vector, with other: Vector) -> Vector {
        shim_above_f32x8(x, bound, other)
    }
    @inlinable @inline(__always) public static func gather(
        _ source: UnsafePointer<Scalar>, _ elements: UnsafePointer<Int>
    ) -> Vector {
        shim_gather_f32x8(source, elements)
    }
    @inlinable @inline(__always) public static func stream(_ x: Vector, to place: UnsafeMutableRawPointer) {
        shim_stream_f32x8(x, place)
    }
    @inlinable @inline(__always) public static func store(_ x: Vector, to place: UnsafeMutableRawPointer, mask: UInt32) {
        shim_store_f32x8(x, place, mask)
    }
    @inlinable @inline(__always) public static func permute(_ x: Vector, _ places: UnsafeRawPointer) -> Vector {
        shim_permute_f32x8(x, places.loadUnaligned(as: SIMD8<Int32>.self))
    }
    @inlinable @inline(__always) public static func permute(_ x: Vector, _ y: Vector, _ places: UnsafeRawPointer) -> Vector {
        shim_permute2_f32x8(x, y, places.loadUnaligned(as: SIMD8<Int32>.self))
    }
    @inlinable @inline(__always) public static func permute(
        _ x: Vector, _ y: Vector, _ z: Vector, _ w: Vector, _ places: UnsafeRawPointer
    ) -> Vector {
        shim_permute4_f32x8(x, y, z, w, places.loadUnaligned(as: SIMD8<Int32>.self))
    }
}

/// float64
public enum AVX2Float64: InstructionSet {
    public typealias Scalar = Double
    public typealias Vector = SIMD4<Double>
    @inlinable @inline(__always) public static func multiplyAdd(_ a: Vector, _ b: Vector, _ c: Vector) -> Vector {
        shim_fma_f64x4(a, b, c)
    }
    @inlinable @inline(__always) public static func sum(_ a: Vector, _ b: Vector) -> Vector { shim_add_f64x4(a, b) }
    @inlinable @inline(__always) public static func product(_ a: Vector, _ b: Vector) -> Vector { shim_mul_f64x4(a, b) }
    @inlinable @inline(__always) public static func replacing(_ x: Vector, below bound: Vector, with other: Vector) -> Vector {
        shim_below_f64x4(x, bound, other)
    }
    @inlinable @inline(__always) public static func replacing(_ x: Vector, above bound: Vector, with other: Vector) -> Vector {
        shim_above_f64x4(x, bound, other)
    }
    @inlinable @inline(__always) public static func gather(
        _ source: UnsafePointer<Scalar>, _ elements: UnsafePointer<Int>
    ) -> Vector {
        shim_gather_f64x4(source, elements)
    }
    @inlinable @inline(__always) public static func stream(_ x: Vector, to place: UnsafeMutableRawPointer) {
        shim_stream_f64x4(x, place)
    }
}

/// The float32 kernels of this tier.
@export(interface) public func avx2Float32() -> UnsafePointer<KernelTable> { UnsafePointer(&float32) }

private nonisolated(unsafe) var float32 =
    KernelTable(
        lanes: 8,
        tiles: [
            TileKernel(rows: 8, vectors: 1) { accumulateTile(AVX2Float32.self, rows: Count<8>.self, vectors: Count<1>.self, $0) },
            TileKernel(rows: 6, vectors: 2) { accumulateTile(AVX2Float32.self, rows: Count<6>.self, vectors: Count<2>.self, $0) },
            TileKernel(rows: 4, vectors: 3) { accumulateTile(AVX2Float32.self, rows: Count<4>.self, vectors: Count<3>.self, $0) },
            TileKernel(rows: 4, vectors: 3) { accumulateTile(AVX2Float32.self, rows: Count<4>.self, vectors: Count<3>.self, $0) },
        ],
        pixelTile: TileKernel(rows: 1, vectors: 3) {
            accumulateTile(AVX2Float32.self, rows: Count<1>.self, vectors: Count<3>.self, half: Count<1>.self, $0)
        },
        strips: [
            TileKernel(rows: 12, vectors: 1) {
                accumulateStrip(AVX2Float32.self, rows: Count<12>.self, vectors: Count<1>.self, runs: 8, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateStrip(AVX2Float32.self, rows: Count<6>.self, vectors: Count<2>.self, runs: 6, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateStrip(AVX2Float32.self, rows: Count<4>.self, vectors: Count<3>.self, runs: 4, $0)
            },
            nil,
        ],
        laneTiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateLanes(AVX2Float32.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateLanes(AVX2Float32.self, rows: Count<6>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateLanes(AVX2Float32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 3, vectors: 4) {
                accumulateLanes(AVX2Float32.self, rows: Count<3>.self, vectors: Count<4>.self, $0)
            },
        ],
        groupTile: TileKernel(rows: 8, vectors: 1) { accumulateGroups(AVX2Float32.self, rows: Count<8>.self, $0) },
        outerTiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateOuterProducts(AVX2Float32.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateOuterProducts(AVX2Float32.self, rows: Count<6>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateOuterProducts(AVX2Float32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateOuterProducts(AVX2Float32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        planes: { accumulatePlanes(AVX2Float32.self, $0) },
        tapGradients: { accumulateTapGradients(AVX2Float32.self, step: Count<3>.self, points: Count<1>.self, $0) },
        slidingTapGradients: [
            { accumulateTapGradients(AVX2Float32.self, step: Count<1>.self, points: Count<1>.self, $0) },
            nil,
        ],
        walk: WalkKernel(columns: 4) {
            accumulateWalk(AVX2Float32.self, columns: Count<4>.self, step: Count<1>.self, $0)
        } small: { accumulateSmallWalk(AVX2Float32.self, columns: Count<4>.self, step: Count<1>.self, size: Count<3>.self, $0) },
        stridedWalk: WalkKernel(columns: 4) {
            accumulateWalk(AVX2Float32.self, columns: Count<4>.self, step: Count<2>.self, $0)
        } small: { accumulateSmallWalk(AVX2Float32.self, columns: Count<4>.self, step: Count<2>.self, size: Count<3>.self, $0) },
        pairWalks: [
            WalkKernel(columns: 8) { accumulatePairs(AVX2Float32.self, columns: Count<8>.self, kernel: Count<2>.self, $0) },
            WalkKernel(columns: 8) { accumulatePairs(AVX2Float32.self, columns: Count<8>.self, kernel: Count<3>.self, $0) },
            nil,
        ],
        sweeps: [
            { accumulateSweep(AVX2Float32.self, columns: Count<4>.self, vectors: Count<1>.self, $0) },
            { accumulateSweep(AVX2Float32.self, columns: Count<4>.self, vectors: Count<2>.self, $0) },
            { accumulateSweep(AVX2Float32.self, columns: Count<3>.self, vectors: Count<4>.self, $0) },
            nil,
        ],
        stencil: StencilKernel(vectors: 2) { accumulateStencil(AVX2Float32.self, vectors: Count<2>.self, $0) },
        narrowStencil: { accumulateNarrowStencil(AVX2Float32.self, $0) },
        smallStencils: [
            { accumulateSmallStencil(AVX2Float32.self, size: Count<3>.self, step: Count<1>.self, $0) },
            { accumulateSmallStencil(AVX2Float32.self, size: Count<3>.self, step: Count<2>.self, $0) },
            { accumulateSmallStencil(AVX2Float32.self, size: Count<2>.self, step: Count<1>.self, $0) },
        ],
        widestTile: 3, tilesStoreParts: true,
        columnTiles: [
            TileKernel(rows: 1, vectors: 4) {
                accumulateColumns(AVX2Float32.self, rows: Count<1>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 2, vectors: 4) {
                accumulateColumns(AVX2Float32.self, rows: Count<2>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 3, vectors: 3) {
                accumulateColumns(AVX2Float32.self, rows: Count<3>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateColumns(AVX2Float32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateColumns(AVX2Float32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        shortColumnTile: TileKernel(rows: 4, vectors: 2) {
            accumulateColumns(AVX2Float32.self, rows: Count<4>.self, vectors: Count<2>.self, $0)
        },
        wideTiles: [
            TileKernel(rows: 1, vectors: 8) { accumulateWide(AVX2Float32.self, rows: Count<1>.self, vectors: Count<8>.self, $0) },
            TileKernel(rows: 2, vectors: 4) { accumulateWide(AVX2Float32.self, rows: Count<2>.self, vectors: Count<4>.self, $0) },
            TileKernel(rows: 3, vectors: 3) {
                accumulateColumns(AVX2Float32.self, rows: Count<3>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateColumns(AVX2Float32.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        turn: { turnBlocks(Float.self, $0) }, copy: { copyVectors(AVX2Float32.self, $0) },
        repeated: { multiplyRepeated(AVX2Float32.self, $0) },
        layOutAxis: { layOutAxis($0) },
        layOutRuns: { layOutRuns($0) },
        finish: { finishTile(AVX2Float32.self, $0) },
        finishColumns: { finishColumns(AVX2Float32.self, $0) },
        shiftedSums: { shiftedSums(AVX2Float32.self, $0) },
        transformInput: { transformInput(AVX2Float32.self, $0) },
        transformOutput: { transformOutput(AVX2Float32.self, $0) },
        transformSmallInput: { transformSmallInput(AVX2Float32.self, $0) },
        transformSmallOutput: { transformSmallOutput(AVX2Float32.self, $0) },
        transformOutputGradient: { transformOutputGradient(AVX2Float32.self, $0) },
        transformTaps: { transformTaps(AVX2Float32.self, $0) },
        gatheredColumns: { gatheredColumns(AVX2Float32.self, $0) },
        permutedColumns: { permutedColumns(AVX2Float32.self, $0) },
        doubledRows: { doubledRows(AVX2Float32.self, $0) },
        resampledPixels: { resampledPixels(AVX2Float32.self, $0) },
        blendedPixels: { blendedPixels(AVX2Float32.self, $0) },
        blendedRows: { blendedRows(AVX2Float32.self, $0) },
        blendedRuns: { blendedRuns(AVX2Float32.self, $0) })

/// The float64 kernels of this tier.
@export(interface) public func avx2Float64() -> UnsafePointer<KernelTable> { UnsafePointer(&float64) }

private nonisolated(unsafe) var float64 =
    KernelTable(
        lanes: 4,
        tiles: [
            TileKernel(rows: 8, vectors: 1) { accumulateTile(AVX2Float64.self, rows: Count<8>.self, vectors: Count<1>.self, $0) },
            TileKernel(rows: 6, vectors: 2) { accumulateTile(AVX2Float64.self, rows: Count<6>.self, vectors: Count<2>.self, $0) },
            TileKernel(rows: 4, vectors: 3) { accumulateTile(AVX2Float64.self, rows: Count<4>.self, vectors: Count<3>.self, $0) },
            TileKernel(rows: 4, vectors: 3) { accumulateTile(AVX2Float64.self, rows: Count<4>.self, vectors: Count<3>.self, $0) },
        ],
        pixelTile: TileKernel(rows: 1, vectors: 3) {
            accumulateTile(AVX2Float64.self, rows: Count<1>.self, vectors: Count<3>.self, $0)
        },
        laneTiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateLanes(AVX2Float64.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateLanes(AVX2Float64.self, rows: Count<6>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateLanes(AVX2Float64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateLanes(AVX2Float64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        groupTile: nil,
        outerTiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateOuterProducts(AVX2Float64.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 6, vectors: 2) {
                accumulateOuterProducts(AVX2Float64.self, rows: Count<6>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateOuterProducts(AVX2Float64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateOuterProducts(AVX2Float64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        planes: { accumulatePlanes(AVX2Float64.self, $0) },
        tapGradients: { accumulateTapGradients(AVX2Float64.self, step: Count<3>.self, points: Count<1>.self, $0) },
        walk: WalkKernel(columns: 4) { accumulateWalk(AVX2Float64.self, columns: Count<4>.self, step: Count<1>.self, $0) },
        stencil: StencilKernel(vectors: 2) { accumulateStencil(AVX2Float64.self, vectors: Count<2>.self, $0) },
        narrowStencil: { accumulateNarrowStencil(AVX2Float64.self, $0) },
        smallStencils: [nil, nil, nil],
        widestTile: 3,
        columnTiles: [
            TileKernel(rows: 1, vectors: 4) {
                accumulateColumns(AVX2Float64.self, rows: Count<1>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 2, vectors: 4) {
                accumulateColumns(AVX2Float64.self, rows: Count<2>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 3, vectors: 3) {
                accumulateColumns(AVX2Float64.self, rows: Count<3>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateColumns(AVX2Float64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 4, vectors: 3) {
                accumulateColumns(AVX2Float64.self, rows: Count<4>.self, vectors: Count<3>.self, $0)
            },
        ],
        wideTiles: [
            TileKernel(rows: 1, vectors: 8) { accumulateWide(AVX2Float64.self, rows: Count<1>.self, vectors: Count<8>.self, $0) },
            TileKernel(rows: 2, vectors: 4) { accumulateWide(AVX2Float64.self, rows: Count<2>.self, vectors: Count<4>.self, $0) },
            TileKernel(rows: 3, vectors: 3) { accumulateWide(AVX2Float64.self, rows: Count<3>.self, vectors: Count<3>.self, $0) },
            TileKernel(rows: 4, vectors: 3) { accumulateWide(AVX2Float64.self, rows: Count<4>.self, vectors: Count<3>.self, $0) },
        ],
        turn: { turnBlocks(Double.self, $0) }, copy: { copyVectors(AVX2Float32.self, $0) },
        layOutAxis: { layOutAxis($0) },
        layOutRuns: { layOutRuns($0) },
        finish: { finishTile(AVX2Float64.self, $0) },
        finishColumns: { finishColumns(AVX2Float64.self, $0) },
        shiftedSums: { shiftedSums(AVX2Float64.self, $0) },
        transformInput: { transformInput(AVX2Float64.self, $0) },
        transformOutput: { transformOutput(AVX2Float64.self, $0) },
        transformSmallInput: nil,
        transformSmallOutput: nil,
        transformOutputGradient: nil,
        transformTaps: nil,
        gatheredColumns: { gatheredColumns(AVX2Float64.self, $0) },
        permutedColumns: nil,
        doubledRows: nil,
        resampledPixels: { resampledPixels(AVX2Float64.self, $0) },
        blendedPixels: { blendedPixels(AVX2Float64.self, $0) },
        blendedRows: { blendedRows(AVX2Float64.self, $0) },
        blendedRuns: { blendedRuns(AVX2Float64.self, $0) })

#endif
