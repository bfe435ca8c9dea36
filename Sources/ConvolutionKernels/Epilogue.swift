import CConvolutionShims

/// What is done to an output element z = sum + bias before it is stored. NaN stays NaN: a comparison with NaN is false, and each
/// case below replaces z only where a comparison is true.
public enum TileActivation<Scalar> {
    /// Between two bounds, of which none, one or both are finite.
    case bounded(Scalar, Scalar)
    case leaky(Scalar)
    case sigmoid
    case tanh

    /// The bounds, if there is nothing else.
    @inlinable @inline(__always)
    public var bounds: (low: Scalar, high: Scalar)? {
        if case .bounded(let low, let high) = self { return (low, high) }
        return nil
    }
}

extension TileActivation where Scalar: KernelScalar {
    @inlinable @inline(__always) public static var none: Self { .bounded(-.infinity, .infinity) }
}

extension Float: KernelScalar {
    @inlinable @inline(__always) public static func exponential(_ x: Float) -> Float { shim_expf(x) }
    @inlinable @inline(__always) public static func hyperbolicTangent(_ x: Float) -> Float { shim_tanhf(x) }
    @inlinable @inline(__always) public var inDouble: Double { Double(self) }
    @inlinable @inline(__always) public var truncated: Int { Int(self) }
}
extension Double: KernelScalar {
    @inlinable @inline(__always) public static func exponential(_ x: Double) -> Double { shim_exp(x) }
    @inlinable @inline(__always) public static func hyperbolicTangent(_ x: Double) -> Double { shim_tanh(x) }
    @inlinable @inline(__always) public var inDouble: Double { Double(self) }
    @inlinable @inline(__always) public var truncated: Int { Int(self) }
}

/// A finished tile on its way to the output.
public struct EpilogueArguments<Scalar> {
    /// `[rows][lanes]`; used as scratch.
    public var tile: UnsafeMutablePointer<Scalar>
    /// Pixels to store: the tile's, or those of tiles that follow each other.
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
    /// What the output holds is added before the activation.
    public var accumulates: Bool

    @inlinable @inline(__always)
    public init(
        tile: UnsafeMutablePointer<Scalar>, rows: Int, lanes: Int, channels: Int, bias: UnsafePointer<Scalar>,
        outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>, channelStride: Int, activation: TileActivation<Scalar>,
        accumulates: Bool
    ) {
        self.tile = tile
        self.rows = rows
        self.lanes = lanes
        self.channels = channels
        self.bias = bias
        self.outputs = outputs
        self.channelStride = channelStride
        self.activation = activation
        self.accumulates = accumulates
    }
}

/// A finished tile of output channels times vectors of columns on its way to the output.
public struct ColumnEpilogueArguments<Scalar> {
    /// `[channels][tileVectors]` vectors; used as scratch.
    public var tile: UnsafeMutablePointer<Scalar>
    public var channels: Int
    public var tileVectors: Int
    /// Vectors to store, at most tileVectors.
    public var vectors: Int
    /// `[vectors]`: where each vector's first column of the first channel goes, and how many columns of it there are.
    public var outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>
    public var columns: UnsafePointer<Int>
    /// `[channels]`.
    public var bias: UnsafePointer<Scalar>
    public var channelStride: Int
    public var columnStride: Int
    public var activation: TileActivation<Scalar>
    /// What the output holds is added before the activation.
    public var accumulates: Bool
    /// The result stays in the tile.
    public var keepsTile = false

    @inlinable @inline(__always)
    public init(
        tile: UnsafeMutablePointer<Scalar>, channels: Int, tileVectors: Int, vectors: Int,
        outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>, columns: UnsafePointer<Int>, bias: UnsafePointer<Scalar>,
        channelStride: Int, columnStride: Int, activation: TileActivation<Scalar>,
        accumulates: Bool
    ) {
        self.tile = tile
        self.channels = channels
        self.tileVectors = tileVectors
        self.vectors = vectors
        self.outputs = outputs
        self.columns = columns
        self.bias = bias
        self.channelStride = channelStride
        self.columnStride = columnStride
        self.activation = activation
        self.accumulates = accumulates
    }
}

/// tile[i] = activation(tile[i] + bias(i)) over the first `count` vectors of the tile; `bias` gives the vector for vector number
/// i.
@inlinable @inline(__always)
func activate<I: InstructionSet>(
    _: I.Type, _ tile: UnsafeMutablePointer<I.Scalar>, vectors count: Int, _ activation: TileActivation<I.Scalar>,
    bias: (Int) -> I.Vector
) {
    if case .leaky(let alpha) = activation {
        let (zero, alpha) = (I.Vector(repeating: 0), I.Vector(repeating: alpha))
        return mapVectors(I.self, tile, count, bias) { I.replacing($0, below: zero, with: I.product($0, alpha)) }
    }
    let bounds = activation.bounds ?? (-.infinity, .infinity)
    let (low, high) = (I.Vector(repeating: bounds.low), I.Vector(repeating: bounds.high))
    mapVectors(I.self, tile, count, bias) { I.bounded($0, low: low, high: high) }
    switch activation {
    case .bounded, .leaky: break
    case .sigmoid: mapScalars(tile, count &* I.lanes) { 1 / (1 + I.Scalar.exponential(-$0)) }
    case .tanh: mapScalars(tile, count &* I.lanes) { I.Scalar.hyperbolicTangent($0) }
    }
}

@inlinable @inline(__always)
func mapVectors<I: InstructionSet>(
    _: I.Type, _ tile: UnsafeMutablePointer<I.Scalar>, _ count: Int, _ bias: (Int) -> I.Vector, _ function: (I.Vector) -> I.Vector
) {
    let raw = UnsafeMutableRawPointer(tile)
    var i = 0
    while i < count {
        let sum = I.sum(raw.loadUnaligned(fromByteOffset: i &* I.bytes, as: I.Vector.self), bias(i))
        raw.storeBytes(of: function(sum), toByteOffset: i &* I.bytes, as: I.Vector.self)
        i &+= 1
    }
}

@inlinable @inline(__always)
func mapScalars<Scalar>(_ tile: UnsafeMutablePointer<Scalar>, _ count: Int, _ function: (Scalar) -> Scalar) {
    var i = 0
    while i < count {
        tile[i] = function(tile[i])
        i &+= 1
    }
}

@inlinable @inline(__always)
func copyPiece<Piece: BitwiseCopyable>(
    _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ offset: inout Int, of _: Piece.Type
) {
    copyPiece(source, target, at: offset, of: Piece.self)
    offset &+= MemoryLayout<Piece>.size
}

@inlinable @inline(__always)
func copyPiece<Piece: BitwiseCopyable>(
    _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, at offset: Int, of _: Piece.Type
) {
    target.storeBytes(of: source.loadUnaligned(fromByteOffset: offset, as: Piece.self), toByteOffset: offset, as: Piece.self)
}

/// target[i * stride] = source[i]
@inlinable @inline(__always)
func store<I: InstructionSet>(
    _: I.Type, _ source: UnsafePointer<I.Scalar>, _ count: Int, to target: UnsafeMutablePointer<I.Scalar>, stride: Int
) {
    let size = MemoryLayout<I.Scalar>.stride
    var i = 0
    if stride == 1 {
        while i &+ I.lanes <= count {
            let v = UnsafeRawPointer(source).loadUnaligned(fromByteOffset: i &* size, as: I.Vector.self)
            UnsafeMutableRawPointer(target).storeBytes(of: v, toByteOffset: i &* size, as: I.Vector.self)
            i &+= I.lanes
        }
        // Then pieces of 32 to 4 bytes, each within one vector: a vector across two that were just stored would wait for both.
        let end = count &* size
        var offset = i &* size
        if end &- offset >= 32 { copyPiece(source, target, &offset, of: SIMD4<UInt64>.self) }
        if end &- offset >= 16 { copyPiece(source, target, &offset, of: SIMD2<UInt64>.self) }
        if end &- offset >= 8 { copyPiece(source, target, &offset, of: UInt64.self) }
        if end &- offset >= 4 { copyPiece(source, target, &offset, of: UInt32.self) }
        return
    }
    while i < count {
        copyElement(source + i, to: target + i &* stride)
        i &+= 1
    }
}

/// values[i] += source[i * stride]
@inlinable @inline(__always)
func add<Scalar: KernelScalar>(
    _ source: UnsafePointer<Scalar>, _ count: Int, stride: Int, to values: UnsafeMutablePointer<Scalar>
) {
    var i = 0
    while i < count {
        values[i] += source[i &* stride]
        i &+= 1
    }
}

/// A tile of pixels times output channels: outputs[r][c * channelStride] = activation(tile[r][c] + bias[c]), or
/// activation((tile[r][c] + bias[c]) + outputs[r][c * channelStride])
@inlinable @inline(__always)
public func finishTile<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: EpilogueArguments<I.Scalar>.self).pointee
    let bias = UnsafeRawPointer(arguments.bias)
    var r = 0
    while r < arguments.rows {
        let row = arguments.tile + r &* arguments.lanes
        let vectors = arguments.lanes / I.lanes
        if arguments.accumulates {
            mapVectors(I.self, row, vectors, { bias.loadUnaligned(fromByteOffset: $0 &* I.bytes, as: I.Vector.self) }, { $0 })
            add(arguments.outputs[r], arguments.channels, stride: arguments.channelStride, to: row)
        }
        activate(I.self, row, vectors: vectors, arguments.activation) {
            arguments.accumulates ? I.Vector(repeating: 0) : bias.loadUnaligned(fromByteOffset: $0 &* I.bytes, as: I.Vector.self)
        }
        if arguments.channelStride == 1 { store(I.self, row, arguments.channels, to: arguments.outputs[r], stride: 1) }
        r &+= 1
    }
    if arguments.channelStride == 1 { return }
    r = 0
    while r < arguments.rows {
        // Pixels that are neighbours in memory.
        var end = r &+ 1
        while end < arguments.rows, arguments.outputs[end] == arguments.outputs[end &- 1] + 1 { end &+= 1 }
        // A few planes at a time: their cache lines may fall into few sets of the cache.
        var channel = 0
        while channel < arguments.channels {
            let count = min(8, arguments.channels &- channel)
            turnLines(
                arguments.tile + (r &* arguments.lanes &+ channel), lines: end &- r, count: count, sourceLine: arguments.lanes,
                to: arguments.outputs[r] + channel &* arguments.channelStride, targetLine: arguments.channelStride)
            channel &+= count
        }
        r = end
    }
}

/// A tile of output channels times vectors of columns:
/// outputs[n][r * channelStride + x * columnStride] = activation(tile[r][n][x] + bias[r]) for x < columns[n],
/// or the same with the output's own element added after the bias
@inlinable @inline(__always)
public func finishColumns<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: ColumnEpilogueArguments<I.Scalar>.self).pointee
    let pitch = arguments.tileVectors &* I.lanes
    var r = 0
    while r < arguments.channels {
        let row = arguments.tile + r &* pitch
        let bias = I.Vector(repeating: arguments.bias[r])
        if arguments.accumulates {
            mapVectors(I.self, row, arguments.vectors, { _ in bias }, { $0 })
            var n = 0
            while n < arguments.vectors {
                add(
                    arguments.outputs[n] + r &* arguments.channelStride, arguments.columns[n], stride: arguments.columnStride,
                    to: row + n &* I.lanes)
                n &+= 1
            }
        }
        let addend = arguments.accumulates ? I.Vector(repeating: 0) : bias
        activate(I.self, row, vectors: arguments.vectors, arguments.activation) { _ in addend }
        r &+= 1
    }
    if arguments.keepsTile { return }
    var n = 0
    while n < arguments.vectors {
        for r in 0..<arguments.channels {
            store(
                I.self, arguments.tile + (n &* I.lanes &+ r &* pitch), arguments.columns[n],
                to: arguments.outputs[n] + r &* arguments.channelStride, stride: arguments.columnStride)
        }
        n &+= 1
    }
}
