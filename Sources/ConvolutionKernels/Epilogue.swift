import CConvolutionShims

/// What is done to an output element z = sum + bias before it is stored. NaN stays NaN: a comparison with NaN is false, and each
/// case below replaces z only where a comparison is true.
public enum TileActivation<Scalar> {
    case none
    case clamp(Scalar, Scalar)
    case leaky(Scalar)
    case relu
    case sigmoid
    case tanh
}

/// A scalar with the functions of libm that activations need.
public protocol KernelScalar: SIMDScalar, BinaryFloatingPoint {
    static func exponential(_ x: Self) -> Self
    static func hyperbolicTangent(_ x: Self) -> Self
}
extension Float: KernelScalar {
    @inlinable @inline(__always) public static func exponential(_ x: Float) -> Float { shim_expf(x) }
    @inlinable @inline(__always) public static func hyperbolicTangent(_ x: Float) -> Float { shim_tanhf(x) }
}
extension Double: KernelScalar {
    @inlinable @inline(__always) public static func exponential(_ x: Double) -> Double { shim_exp(x) }
    @inlinable @inline(__always) public static func hyperbolicTangent(_ x: Double) -> Double { shim_tanh(x) }
}

/// A finished tile on its way to the output.
public struct EpilogueArguments<Scalar> {
    /// `[rows][lanes]`; used as scratch.
    public var tile: UnsafeMutablePointer<Scalar>
    /// Pixels to store, at most the tile's R.
    public var rows: Int
    /// Scalars per pixel in the tile, a multiple of the vector length; the first `channels` of them are stored.
    public var lanes: Int
    public var channels: Int
    /// `[lanes]`.
    public var bias: UnsafePointer<Scalar>
    /// `[rows]`: where each pixel's first channel goes, and from channel to channel.
    public var outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>
    public var channelStride: Int
    public var activation: TileActivation<Scalar>

    @inlinable @inline(__always)
    public init(
        tile: UnsafeMutablePointer<Scalar>, rows: Int, lanes: Int, channels: Int, bias: UnsafePointer<Scalar>,
        outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>, channelStride: Int, activation: TileActivation<Scalar>
    ) {
        self.tile = tile
        self.rows = rows
        self.lanes = lanes
        self.channels = channels
        self.bias = bias
        self.outputs = outputs
        self.channelStride = channelStride
        self.activation = activation
    }
}

@inlinable @inline(__always)
func mapTile<V: SIMD>(_ arguments: EpilogueArguments<V.Scalar>, _: V.Type, _ function: (V) -> V) where V.Scalar: FloatingPoint {
    let tile = UnsafeMutableRawPointer(arguments.tile)
    let bias = UnsafeRawPointer(arguments.bias)
    let size = MemoryLayout<V.Scalar>.stride
    var r = 0
    while r < arguments.rows {
        var lane = 0
        while lane < arguments.lanes {
            let offset = (r &* arguments.lanes &+ lane) &* size
            let sum = tile.loadUnaligned(fromByteOffset: offset, as: V.self) + bias.loadUnaligned(fromByteOffset: lane &* size, as: V.self)
            tile.storeBytes(of: function(sum), toByteOffset: offset, as: V.self)
            lane &+= V.scalarCount
        }
        r &+= 1
    }
}

@inlinable @inline(__always)
func mapTileScalars<Scalar>(_ arguments: EpilogueArguments<Scalar>, _ function: (Scalar) -> Scalar) {
    var i = 0
    while i < arguments.rows &* arguments.lanes {
        arguments.tile[i] = function(arguments.tile[i])
        i &+= 1
    }
}

/// outputs[r][c * channelStride] = activation(tile[r][c] + bias[c])
@inlinable @inline(__always)
public func finishTile<I: InstructionSet, V: SIMD>(_: I.Type, _: V.Type, _ raw: UnsafeRawPointer) where V.Scalar: KernelScalar {
    let arguments = raw.assumingMemoryBound(to: EpilogueArguments<V.Scalar>.self).pointee
    let zero = V(repeating: 0)
    switch arguments.activation {
    case .none:
        mapTile(arguments, V.self) { $0 }
    case .relu:
        mapTile(arguments, V.self) { $0.replacing(with: zero, where: $0 .< zero) }
    case .clamp(let low, let high):
        mapTile(arguments, V.self) { z in
            let raised = z.replacing(with: V(repeating: low), where: z .< V(repeating: low))
            return raised.replacing(with: V(repeating: high), where: raised .> V(repeating: high))
        }
    case .leaky(let alpha):
        mapTile(arguments, V.self) { $0.replacing(with: $0 * V(repeating: alpha), where: $0 .< zero) }
    case .sigmoid:
        mapTile(arguments, V.self) { $0 }
        mapTileScalars(arguments) { 1 / (1 + V.Scalar.exponential(-$0)) }
    case .tanh:
        mapTile(arguments, V.self) { $0 }
        mapTileScalars(arguments) { V.Scalar.hyperbolicTangent($0) }
    }

    let size = MemoryLayout<V.Scalar>.stride
    var r = 0
    while r < arguments.rows {
        let source = arguments.tile + r &* arguments.lanes
        let output = arguments.outputs[r]
        var c = 0
        if arguments.channelStride == 1 {
            while c &+ V.scalarCount <= arguments.channels {
                let v = UnsafeRawPointer(source).loadUnaligned(fromByteOffset: c &* size, as: V.self)
                UnsafeMutableRawPointer(output).storeBytes(of: v, toByteOffset: c &* size, as: V.self)
                c &+= V.scalarCount
            }
        }
        while c < arguments.channels {
            output[c &* arguments.channelStride] = source[c]
            c &+= 1
        }
        r &+= 1
    }
}
