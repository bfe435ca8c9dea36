import CConvolutionShims
import ConvolutionKernels

#if arch(x86_64)
// AVX-512 (F, BW, DQ, VL): 32 registers of 64 bytes. 24 accumulators, up to 4 vectors of weights and one of input: 8x3 or 6x4.

/// float32
public enum AVX512Float32: PermutingInstructionSet {
    public typealias Scalar = Float
    public typealias Vector = SIMD16<Float>
    @inlinable @inline(__always) public static func multiplyAdd(_ a: Vector, _ b: Vector, _ c: Vector) -> Vector {
        shim_fma_f32x16(a, b, c)
    }
    @inlinable @inline(__always) public static func sum(_ a: Vector, _ b: Vector) -> Vector { shim_add_f32x16(a, b) }
    @inlinable @inline(__always) public static func product(_ a: Vector, _ b: Vector) -> Vector { shim_mul_f32x16(a, b) }
    @inlinable @inline(__always) public static func replacing(_ x: Vector, below bound: Vector, with other: Vector) -> Vector {
        shim_below_f32x16(x, bound, other)
    }
    @inlinable @inline(__always) public static func replacing(_ x: Vector, above bound: Vector, with other: Vector) -> Vector {
        shim_above_f32x16(x, bound, other)
    }
    @inlinable @inline(__always) public static func gather(
        _ source: UnsafePointer<Scalar>, _ elements: UnsafePointer<Int>
    ) -> Vector {
        shim_gather_f32x16(source, elements)
    }
    @inlinable @inline(__always) public static func stream(_ x: Vector, to place: UnsafeMutableRawPointer) {
        shim_stream_f32x16(x, place)
    }
    @inlinable @inline(__always) public static var storesParts: Bool { true }
    @inlinable @inline(__always) public static func store(_ x: Vector, to place: UnsafeMutableRawPointer, mask: UInt32) {
        shim_store_f32x16(x, place, mask)
    }
    @inlinable @inline(__always) public static func multiplyAdd(
        _ place: UnsafeRawPointer, _ b: Vector, _ c: Vector, mask: UInt32
    ) -> Vector {
        shim_fma_part_f32x16(place, b, c, mask)
    }
    @inlinable @inline(__always) public static func permute(_ x: Vector, _ places: UnsafeRawPointer) -> Vector {
        shim_permute_f32x16(x, places.loadUnaligned(as: SIMD16<Int32>.self))
    }
    @inlinable @inline(__always) public static func permute(_ x: Vector, _ y: Vector, _ places: UnsafeRawPointer) -> Vector {
        shim_permute2_f32x16(x, y, places.loadUnaligned(as: SIMD16<Int32>.self))
    }
    @inlinable @inline(__always) public static func permute(
        _ x: Vector, _ y: Vector, _ z: Vector, _ w: Vector, _ places: UnsafeRawPointer
    ) -> Vector {
        shim_permute4_f32x16(x, y, z, w, places.loadUnaligned(as: SIMD16<Int32>.self))
    }
    @inlinable @inline(__always) public static func one(_ source: UnsafePointer<Scalar>) -> Vector { shim_one_f32x16(source) }
    @inlinable @inline(__always) public static var splitsTwos: Bool { true }
    @inlinable @inline(__always) public static func twos(_ source: UnsafePointer<Scalar>) -> Vector { shim_twos_f32x16(source) }
    @inlinable @inline(__always) public static func firsts(_ x: Vector) -> Vector { shim_firsts_f32x16(x) }
    @inlinable @inline(__always) public static func seconds(_ x: Vector) -> Vector { shim_seconds_f32x16(x) }
    @inlinable @inline(__always) public static func halves(_ x: Vector, _ y: Vector) -> Vector { shim_halves_f32x16(x, y) }
    @inlinable @inline(__always) public static func twice(_ source: UnsafeRawPointer) -> Vector { shim_twice_f32x16(source) }
    @inlinable @inline(__always) public static func swapped(_ x: Vector) -> Vector { shim_swapped_f32x16(x) }
    @inlinable @inline(__always) public static var spreadsFours: Bool { true }
    @inlinable @inline(__always) public static func spread(_ x: Vector, _ place: Int) -> Vector {
        switch place {
        case 0: return shim_spread0_f32x16(x)
        case 1: return shim_spread1_f32x16(x)
        case 2: return shim_spread2_f32x16(x)
        default: return shim_spread3_f32x16(x)
        }
    }
}

/// float64
public enum AVX512Float64: PermutingInstructionSet {
    public typealias Scalar = Double
    public typealias Vector = SIMD8<Double>
    @inlinable @inline(__always) public static func multiplyAdd(_ a: Vector, _ b: Vector, _ c: Vector) -> Vector {
        shim_fma_f64x8(a, b, c)
    }
    @inlinable @inline(__always) public static func sum(_ a: Vector, _ b: Vector) -> Vector { shim_add_f64x8(a, b) }
    @inlinable @inline(__always) public static func product(_ a: Vector, _ b: Vector) -> Vector { shim_mul_f64x8(a, b) }
    @inlinable @inline(__always) public static func replacing(_ x: Vector, below bound: Vector, with other: Vector) -> Vector {
        shim_below_f64x8(x, bound, other)
    }
    @inlinable @inline(__always) public static func replacing(_ x: Vector, above bound: Vector, with other: Vector) -> Vector {
        shim_above_f64x8(x, bound, other)
    }
    @inlinable @inline(__always) public static func gather(
        _ source: UnsafePointer<Scalar>, _ elements: UnsafePointer<Int>
    ) -> Vector {
        shim_gather_f64x8(source, elements)
    }
    @inlinable @inline(__always) public static func stream(_ x: Vector, to place: UnsafeMutableRawPointer) {
        shim_stream_f64x8(x, place)
    }
    @inlinable @inline(__always) public static var storesParts: Bool { true }
    @inlinable @inline(__always) public static func store(_ x: Vector, to place: UnsafeMutableRawPointer, mask: UInt32) {
        shim_store_f64x8(x, place, mask)
    }
    @inlinable @inline(__always) public static func multiplyAdd(
        _ place: UnsafeRawPointer, _ b: Vector, _ c: Vector, mask: UInt32
    ) -> Vector {
        shim_fma_part_f64x8(place, b, c, mask)
    }
    @inlinable @inline(__always) public static func permute(_ x: Vector, _ places: UnsafeRawPointer) -> Vector {
        shim_permute_f64x8(x, places.loadUnaligned(as: SIMD8<Int64>.self))
    }
    @inlinable @inline(__always) public static func permute(_ x: Vector, _ y: Vector, _ places: UnsafeRawPointer) -> Vector {
        shim_permute2_f64x8(x, y, places.loadUnaligned(as: SIMD8<Int64>.self))
    }
    @inlinable @inline(__always) public static func permute(
        _ x: Vector, _ y: Vector, _ z: Vector, _ w: Vector, _ places: UnsafeRawPointer
    ) -> Vector {
        shim_permute4_f64x8(x, y, z, w, places.loadUnaligned(as: SIMD8<Int64>.self))
    }
}

/// The float32 kernels of this tier.
@export(interface) public func avx512Float32() -> UnsafePointer<KernelTable> { UnsafePointer(&float32) }

private nonisolated(unsafe) var float32 =
    KernelTable(
        lanes: 16,
        tiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateTile(AVX512Float32.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 8, vectors: 2) {
                accumulateTile(AVX512Float32.self, rows: Count<8>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 8, vectors: 3) {
                accumulateTile(AVX512Float32.self, rows: Count<8>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 6, vectors: 4) {
                accumulateTile(
                    AVX512Float32.self, rows: Count<6>.self, vectors: Count<4>.self, half: Count<3>.self, $0)
            },
        ],
        pixelTile: TileKernel(rows: 1, vectors: 4) {
            accumulateTile(AVX512Float32.self, rows: Count<1>.self, vectors: Count<4>.self, $0)
        },
        shortTiles: [
            TileKernel(rows: 7, vectors: 2) {
                accumulateTile(AVX512Float32.self, rows: Count<7>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 7, vectors: 3) {
                accumulateTile(AVX512Float32.self, rows: Count<7>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 5, vectors: 4) {
                accumulateTile(AVX512Float32.self, rows: Count<5>.self, vectors: Count<4>.self, $0)
            },
        ],
        pairTile: TileKernel(rows: 8, vectors: 2) {
            accumulateTile(AVX512Float32.self, rows: Count<8>.self, vectors: Count<2>.self, spansGroups: true, $0)
        },
        twinTile: { accumulateTile(AVX512Float32.self, rows: Count<8>.self, vectors: Count<2>.self, areTwins: true, $0) },
        halfTiles: [
            { accumulateTile(AVX512Float32.self, rows: Count<8>.self, vectors: Count<2>.self, endsInHalf: true, $0) },
            { accumulateTile(AVX512Float32.self, rows: Count<8>.self, vectors: Count<3>.self, endsInHalf: true, $0) },
        ],
        strips: [
            TileKernel(rows: 16, vectors: 1) {
                accumulateStrip(AVX512Float32.self, rows: Count<16>.self, vectors: Count<1>.self, runs: 8, $0)
            },
            TileKernel(rows: 8, vectors: 2) {
                accumulateStrip(AVX512Float32.self, rows: Count<8>.self, vectors: Count<2>.self, runs: 8, $0)
            },
            TileKernel(rows: 8, vectors: 3) {
                accumulateStrip(AVX512Float32.self, rows: Count<8>.self, vectors: Count<3>.self, runs: 8, $0)
            },
            TileKernel(rows: 6, vectors: 4) {
                accumulateStrip(AVX512Float32.self, rows: Count<6>.self, vectors: Count<4>.self, runs: 6, $0)
            },
        ],
        laneTiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateLanes(AVX512Float32.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 8, vectors: 2) {
                accumulateLanes(AVX512Float32.self, rows: Count<8>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 6, vectors: 3) {
                accumulateLanes(AVX512Float32.self, rows: Count<6>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 6, vectors: 4) {
                accumulateLanes(AVX512Float32.self, rows: Count<6>.self, vectors: Count<4>.self, $0)
            },
        ],
        pixelLanes: TileKernel(rows: 1, vectors: 4) {
            accumulateLanes(AVX512Float32.self, rows: Count<1>.self, vectors: Count<4>.self, $0)
        },
        groupTile: TileKernel(rows: 8, vectors: 1) { accumulateGroups(AVX512Float32.self, rows: Count<8>.self, $0) },
        outerTiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateOuterProducts(AVX512Float32.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 8, vectors: 2) {
                accumulateOuterProducts(AVX512Float32.self, rows: Count<8>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 8, vectors: 3) {
                accumulateOuterProducts(AVX512Float32.self, rows: Count<8>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 6, vectors: 4) {
                accumulateOuterProducts(AVX512Float32.self, rows: Count<6>.self, vectors: Count<4>.self, $0)
            },
        ],
        otherOuterTiles: [
            TileKernel(rows: 9, vectors: 1) {
                accumulateOuterProducts(AVX512Float32.self, rows: Count<9>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 9, vectors: 2) {
                accumulateOuterProducts(AVX512Float32.self, rows: Count<9>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 9, vectors: 3) {
                accumulateOuterProducts(AVX512Float32.self, rows: Count<9>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 5, vectors: 4) {
                accumulateOuterProducts(AVX512Float32.self, rows: Count<5>.self, vectors: Count<4>.self, $0)
            },
        ],
        tapRowTile: TileKernel(rows: 8, vectors: 1) { accumulateTapRow(AVX512Float32.self, rows: Count<8>.self, $0) },
        planes: { accumulatePlanes(AVX512Float32.self, $0) },
        tapGradients: { accumulateTapGradients(AVX512Float32.self, step: Count<3>.self, points: Count<1>.self, $0) },
        slidingTapGradients: [
            { accumulateTapGradients(AVX512Float32.self, step: Count<1>.self, points: Count<2>.self, $0) },
            { accumulateTapGradients(AVX512Float32.self, step: Count<2>.self, points: Count<2>.self, $0) },
        ],
        depthwiseGradients: [
            {
                accumulateDepthwiseGradients(
                    AVX512Float32.self, step: Count<1>.self, points: Count<2>.self, vectors: Count<1>.self, $0)
            },
            {
                accumulateDepthwiseGradients(
                    AVX512Float32.self, step: Count<2>.self, points: Count<2>.self, vectors: Count<1>.self, $0)
            },
        ],
        depthwiseGradientPairs: [
            {
                accumulateDepthwiseGradients(
                    AVX512Float32.self, step: Count<1>.self, points: Count<1>.self, vectors: Count<2>.self, $0)
            },
            {
                accumulateDepthwiseGradients(
                    AVX512Float32.self, step: Count<2>.self, points: Count<1>.self, vectors: Count<2>.self, $0)
            },
        ],
        walk: WalkKernel(columns: 7) {
            accumulateWalk(AVX512Float32.self, columns: Count<7>.self, step: Count<1>.self, $0)
        } small: {
            accumulateSmallWalk(AVX512Float32.self, columns: Count<7>.self, step: Count<1>.self, size: Count<3>.self, $0)
        } smallest: {
            accumulateSmallWalk(AVX512Float32.self, columns: Count<7>.self, step: Count<1>.self, size: Count<2>.self, $0)
        },
        stridedWalk: WalkKernel(columns: 7) {
            accumulateWalk(AVX512Float32.self, columns: Count<7>.self, step: Count<2>.self, $0)
        } small: {
            accumulateSmallWalk(AVX512Float32.self, columns: Count<7>.self, step: Count<2>.self, size: Count<3>.self, $0)
        },
        pairWalks: [
            WalkKernel(columns: 8) { accumulatePairs(AVX512Float32.self, columns: Count<8>.self, kernel: Count<2>.self, $0) },
            WalkKernel(columns: 8) { accumulatePairs(AVX512Float32.self, columns: Count<8>.self, kernel: Count<3>.self, $0) },
            WalkKernel(columns: 8) { accumulatePairs(AVX512Float32.self, columns: Count<8>.self, kernel: Count<4>.self, $0) },
        ],
        sweeps: [
            { accumulateSweep(AVX512Float32.self, columns: Count<4>.self, vectors: Count<1>.self, $0) },
            { accumulateSweep(AVX512Float32.self, columns: Count<4>.self, vectors: Count<2>.self, $0) },
            { accumulateSweep(AVX512Float32.self, columns: Count<4>.self, vectors: Count<4>.self, $0) },
            { accumulateSweep(AVX512Float32.self, columns: Count<8>.self, vectors: Count<1>.self, $0) },
        ],
        stencil: StencilKernel(vectors: 4) { accumulateStencil(AVX512Float32.self, vectors: Count<4>.self, $0) },
        narrowStencil: { accumulateNarrowStencil(AVX512Float32.self, $0) },
        smallStencils: [
            { accumulateSmallStencil(AVX512Float32.self, size: Count<3>.self, step: Count<1>.self, $0) },
            { accumulateSmallStencil(AVX512Float32.self, size: Count<3>.self, step: Count<2>.self, $0) },
            { accumulateSmallStencil(AVX512Float32.self, size: Count<2>.self, step: Count<1>.self, $0) },
        ],
        widestTile: 4, storesParts: true,
        columnTiles: [
            TileKernel(rows: 1, vectors: 4) {
                accumulateColumns(AVX512Float32.self, rows: Count<1>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 2, vectors: 4) {
                accumulateColumns(AVX512Float32.self, rows: Count<2>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 3, vectors: 4) {
                accumulateColumns(AVX512Float32.self, rows: Count<3>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 4, vectors: 4) {
                accumulateColumns(AVX512Float32.self, rows: Count<4>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 8, vectors: 3) {
                accumulateColumns(AVX512Float32.self, rows: Count<8>.self, vectors: Count<3>.self, $0)
            },
        ],
        shortColumnTile: TileKernel(rows: 8, vectors: 2) {
            accumulateColumns(AVX512Float32.self, rows: Count<8>.self, vectors: Count<2>.self, $0)
        },
        wideTiles: [
            TileKernel(rows: 1, vectors: 8) {
                accumulateWide(AVX512Float32.self, rows: Count<1>.self, vectors: Count<8>.self, $0)
            },
            TileKernel(rows: 2, vectors: 8) {
                accumulateWide(AVX512Float32.self, rows: Count<2>.self, vectors: Count<8>.self, $0)
            },
            TileKernel(rows: 3, vectors: 6) {
                accumulateWide(AVX512Float32.self, rows: Count<3>.self, vectors: Count<6>.self, $0)
            },
            TileKernel(rows: 4, vectors: 6) {
                accumulateWide(AVX512Float32.self, rows: Count<4>.self, vectors: Count<6>.self, $0)
            },
        ],
        turn: { turnBlocks(Float.self, $0) }, copy: { copyVectors(AVX512Float32.self, $0) },
        repeated: { multiplyRepeated(AVX512Float32.self, $0) },
        layOutAxis: { layOutAxis($0) },
        layOutRuns: { layOutRuns($0) },
        finish: { finishTile(AVX512Float32.self, $0) },
        finishColumns: { finishColumns(AVX512Float32.self, $0) },
        shiftedSums: { shiftedSums(AVX512Float32.self, $0) },
        transformInput: { transformInput(AVX512Float32.self, $0) },
        transformOutput: { transformOutput(AVX512Float32.self, $0) },
        transformSmallInput: { transformSmallInput(AVX512Float32.self, $0) },
        transformSmallOutput: { transformSmallOutput(AVX512Float32.self, $0) },
        transformOutputGradient: { transformOutputGradient(AVX512Float32.self, $0) },
        transformTaps: { transformTaps(AVX512Float32.self, $0) },
        pointRow: { accumulatePointRow(AVX512Float32.self, $0) },
        gatheredColumns: { gatheredColumns(AVX512Float32.self, $0) },
        permutedColumns: { permutedColumns(AVX512Float32.self, $0) },
        doubledRows: { doubledRows(AVX512Float32.self, $0) },
        resampledPixels: { resampledPixels(AVX512Float32.self, $0) },
        blendedPixels: { blendedPixels(AVX512Float32.self, $0) },
        blendedRows: { blendedRows(AVX512Float32.self, $0) },
        blendedRuns: nil)

/// The float64 kernels of this tier.
@export(interface) public func avx512Float64() -> UnsafePointer<KernelTable> { UnsafePointer(&float64) }

private nonisolated(unsafe) var float64 =
    KernelTable(
        lanes: 8,
        tiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateTile(AVX512Float64.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 8, vectors: 2) {
                accumulateTile(AVX512Float64.self, rows: Count<8>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 8, vectors: 3) {
                accumulateTile(AVX512Float64.self, rows: Count<8>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 6, vectors: 4) {
                accumulateTile(AVX512Float64.self, rows: Count<6>.self, vectors: Count<4>.self, $0)
            },
        ],
        pixelTile: TileKernel(rows: 1, vectors: 4) {
            accumulateTile(AVX512Float64.self, rows: Count<1>.self, vectors: Count<4>.self, $0)
        },
        laneTiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateLanes(AVX512Float64.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 8, vectors: 2) {
                accumulateLanes(AVX512Float64.self, rows: Count<8>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 8, vectors: 2) {
                accumulateLanes(AVX512Float64.self, rows: Count<8>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 8, vectors: 2) {
                accumulateLanes(AVX512Float64.self, rows: Count<8>.self, vectors: Count<2>.self, $0)
            },
        ],
        groupTile: TileKernel(rows: 8, vectors: 1) { accumulateGroups(AVX512Float64.self, rows: Count<8>.self, $0) },
        outerTiles: [
            TileKernel(rows: 8, vectors: 1) {
                accumulateOuterProducts(AVX512Float64.self, rows: Count<8>.self, vectors: Count<1>.self, $0)
            },
            TileKernel(rows: 8, vectors: 2) {
                accumulateOuterProducts(AVX512Float64.self, rows: Count<8>.self, vectors: Count<2>.self, $0)
            },
            TileKernel(rows: 8, vectors: 3) {
                accumulateOuterProducts(AVX512Float64.self, rows: Count<8>.self, vectors: Count<3>.self, $0)
            },
            TileKernel(rows: 6, vectors: 4) {
                accumulateOuterProducts(AVX512Float64.self, rows: Count<6>.self, vectors: Count<4>.self, $0)
            },
        ],
        planes: { accumulatePlanes(AVX512Float64.self, $0) },
        tapGradients: { accumulateTapGradients(AVX512Float64.self, step: Count<3>.self, points: Count<1>.self, $0) },
        walk: WalkKernel(columns: 7) { accumulateWalk(AVX512Float64.self, columns: Count<7>.self, step: Count<1>.self, $0) },
        stridedWalk: WalkKernel(columns: 7) {
            accumulateWalk(AVX512Float64.self, columns: Count<7>.self, step: Count<2>.self, $0)
        },
        stencil: StencilKernel(vectors: 4) { accumulateStencil(AVX512Float64.self, vectors: Count<4>.self, $0) },
        narrowStencil: { accumulateNarrowStencil(AVX512Float64.self, $0) },
        smallStencils: [nil, nil, nil],
        widestTile: 4, storesParts: true,
        columnTiles: [
            TileKernel(rows: 1, vectors: 4) {
                accumulateColumns(AVX512Float64.self, rows: Count<1>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 2, vectors: 4) {
                accumulateColumns(AVX512Float64.self, rows: Count<2>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 3, vectors: 4) {
                accumulateColumns(AVX512Float64.self, rows: Count<3>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 4, vectors: 4) {
                accumulateColumns(AVX512Float64.self, rows: Count<4>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 4, vectors: 4) {
                accumulateColumns(AVX512Float64.self, rows: Count<4>.self, vectors: Count<4>.self, $0)
            },
        ],
        wideTiles: [
            TileKernel(rows: 1, vectors: 8) {
                accumulateWide(AVX512Float64.self, rows: Count<1>.self, vectors: Count<8>.self, $0)
            },
            TileKernel(rows: 2, vectors: 8) {
                accumulateWide(AVX512Float64.self, rows: Count<2>.self, vectors: Count<8>.self, $0)
            },
            TileKernel(rows: 3, vectors: 4) {
                accumulateColumns(AVX512Float64.self, rows: Count<3>.self, vectors: Count<4>.self, $0)
            },
            TileKernel(rows: 4, vectors: 4) {
                accumulateColumns(AVX512Float64.self, rows: Count<4>.self, vectors: Count<4>.self, $0)
            },
        ],
        turn: { turnBlocks(Double.self, $0) }, copy: { copyVectors(AVX512Float32.self, $0) },
        layOutAxis: { layOutAxis($0) },
        layOutRuns: { layOutRuns($0) },
        finish: { finishTile(AVX512Float64.self, $0) },
        finishColumns: { finishColumns(AVX512Float64.self, $0) },
        shiftedSums: { shiftedSums(AVX512Float64.self, $0) },
        transformInput: { transformInput(AVX512Float64.self, $0) },
        transformOutput: { transformOutput(AVX512Float64.self, $0) },
        transformSmallInput: nil,
        transformSmallOutput: nil,
        transformOutputGradient: nil,
        transformTaps: nil,
        gatheredColumns: { gatheredColumns(AVX512Float64.self, $0) },
        permutedColumns: { permutedColumns(AVX512Float64.self, $0) },
        doubledRows: nil,
        resampledPixels: { resampledPixels(AVX512Float64.self, $0) },
        blendedPixels: { blendedPixels(AVX512Float64.self, $0) },
        blendedRows: { blendedRows(AVX512Float64.self, $0) },
        blendedRuns: nil)

#endif
