import CConvolutionShims

/// The work of one register tile, for each of the kernels below. Two of them hold R pixels times N vectors of output channels,
/// two R output channels times N vectors of columns.
///
/// The sum of one output element runs over `segments` (one per kernel tap) of `length` input channels each.
public struct TileArguments<Scalar> {
    /// `[segment][pixel or vector of pixels]`: where its input starts, before `channelOffset`. For `accumulateTile` and
    /// `accumulateLanes`, only of the segments in `order`.
    public var runs: UnsafePointer<UnsafePointer<Scalar>>
    public var channelOffset: Int
    /// Elements from one input channel to the next, where the vectors hold columns; else it is 1.
    public var channelPitch: Int
    /// `accumulateTile` and `accumulateLanes`: for each of `chunks` the number of its segments and each one's place in the panel.
    /// A segment that is left out has nothing but zeros to add. The other kernels have all `segments`, `segmentsPerChunk` at a
    /// time.
    public var order: UnsafePointer<Int32>?
    public var chunks: Int
    public var segments: Int
    /// At least 1.
    public var length: Int
    /// After each chunk the registers are added to `tile` and start anew: see "Order of the sum" in this module's README.
    public var segmentsPerChunk: Int
    /// Packed weights `[segment][channel][output channel]`.
    public var panel: UnsafePointer<Scalar>
    /// `accumulateTile` of one pixel: elements from one channel's weights to those of the next, which may be fewer than the tile
    /// has. What is read beyond them plays no part.
    public var panelPitch = 0
    /// `accumulateTile` of several groups, and of twins: elements from a panel's vector's input channels to those of the next.
    public var groupPitch = 0
    /// `accumulateTile`: what to fetch into the cache for a later call, `aheadStep` bytes per channel of a segment, at most two
    /// lines (of one vector, one line; of one pixel none: weights read once, front to back, are best foreseen by the processor).
    /// `accumulateColumns` of the most channels, and `accumulateWide` of more than one, fetch what lies `aheadStep` bytes after
    /// their input unless that is 0 (AVX-512).
    public var ahead: UnsafeRawPointer
    public var aheadStep: Int
    /// `[R][N vectors]`: the sums so far, between calls and chunks.
    public var tile: UnsafeMutablePointer<Scalar>
    /// False in the first call of a tile, which then ignores what `tile` holds.
    public var continues: Bool
    /// In the last call of a tile: where the elements go, if their bias and bounds are all that is still to come and whole
    /// vectors may be stored; nil leaves the sums in `tile`. `[pixel]` addresses of the first channel, or `[vector]` of the first
    /// column.
    public var outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>?
    /// Elements to add to each of `outputs`.
    public var outputOffset: Int
    /// How many of R are stored.
    public var rows: Int
    /// From channel to channel of the output, where the vectors hold columns; of twins from a pixel of one to that of the other;
    /// of strips from pixel to pixel.
    public var outputPitch: Int
    /// Of the panel's output channels.
    public var bias: UnsafePointer<Scalar>
    public var low: Scalar
    public var high: Scalar
    /// `accumulateTile`, and where the vectors hold columns: `outputs` are aligned to vectors, and written past the caches.
    public var streams = false
    /// Tiles of pixels, where `KernelTable.tilesStoreParts`: the lanes to be stored of the last vector; by `accumulateLanes`, where
    /// it `storesParts`, read as well.
    public var lastMask = UInt32.max
    /// Shuffles take no time from multiply-adds.
    public var shuffles = true
    /// `accumulateStrip`: how many pixels, and elements from one to the next; `accumulateColumns`: how many tiles (or 0), and from
    /// one to the next.
    public var columns = 0
    public var pixelPitch = 0
    /// `accumulateGroups`: `[channel][lane]` integers as wide as the scalars, the lane of a pixel's vector that holds the input
    /// channel of the lane's group.
    public var places: UnsafeRawPointer?

    @inlinable @inline(__always)
    public init(
        runs: UnsafePointer<UnsafePointer<Scalar>>, channelOffset: Int, channelPitch: Int, order: UnsafePointer<Int32>? = nil,
        chunks: Int = 0, segments: Int, length: Int, segmentsPerChunk: Int, panel: UnsafePointer<Scalar>,
        ahead: UnsafeRawPointer? = nil, aheadStep: Int = 0, tile: UnsafeMutablePointer<Scalar>, continues: Bool,
        outputs: UnsafePointer<UnsafeMutablePointer<Scalar>>?, outputOffset: Int, rows: Int, outputPitch: Int,
        bias: UnsafePointer<Scalar>, low: Scalar, high: Scalar
    ) {
        self.runs = runs
        self.channelOffset = channelOffset
        self.channelPitch = channelPitch
        self.order = order
        self.chunks = chunks
        self.segments = segments
        self.length = length
        self.segmentsPerChunk = segmentsPerChunk
        self.panel = panel
        self.ahead = ahead ?? UnsafeRawPointer(panel)
        self.aheadStep = aheadStep
        self.tile = tile
        self.continues = continues
        self.outputs = outputs
        self.outputOffset = outputOffset
        self.rows = rows
        self.outputPitch = outputPitch
        self.bias = bias
        self.low = low
        self.high = high
    }
}

/// A tile kernel with its register tile. The function takes an `UnsafePointer<TileArguments<Scalar>>`: C function pointers carry
/// no context, so a table of them needs no allocation and no reference counting.
public struct TileKernel {
    /// Pixels; of `accumulateColumns` and `accumulateWide` output channels.
    public var rows: Int
    /// Of output channels; of those two, of neighbouring columns.
    public var vectors: Int
    public var accumulate: Kernel

    @inlinable @inline(__always)
    public init(rows: Int, vectors: Int, accumulate: @escaping Kernel) {
        self.rows = rows
        self.vectors = vectors
        self.accumulate = accumulate
    }
}

/// tile[r][n] = sums[r][n], or += if the tile continues. Two plain loops: with the condition inside, or with more work, the
/// optimiser leaves them rolled, and the sums in memory.
@inlinable @inline(__always)
func fold<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: borrowing InlineArray<R, InlineArray<N, I.Vector>>, into tile: UnsafeMutablePointer<I.Scalar>,
    continues: Bool
) {
    fold(I.self, sums, into: tile, pitch: N &* I.lanes, continues: continues)
}

/// The same, with `pitch` elements from tile[r] to tile[r + 1].
@inlinable @inline(__always)
func fold<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: borrowing InlineArray<R, InlineArray<N, I.Vector>>, into tile: UnsafeMutablePointer<I.Scalar>, pitch: Int,
    continues: Bool
) {
    let tile = UnsafeMutableRawPointer(tile)
    let pitch = pitch &* MemoryLayout<I.Scalar>.stride
    if continues {
        for r in 0..<R {
            for n in 0..<N {
                let offset = r &* pitch &+ n &* I.bytes
                let total = I.sum(tile.loadUnaligned(fromByteOffset: offset, as: I.Vector.self), sums[unchecked: r][unchecked: n])
                tile.storeBytes(of: total, toByteOffset: offset, as: I.Vector.self)
            }
        }
    } else {
        for r in 0..<R {
            for n in 0..<N {
                tile.storeBytes(of: sums[unchecked: r][unchecked: n], toByteOffset: r &* pitch &+ n &* I.bytes, as: I.Vector.self)
            }
        }
    }
}

/// sums[r][n] += tile[r][n], where the sums may be finished next: what both ways on have in common.
@inlinable @inline(__always)
func addTile<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>, _ tile: UnsafeMutablePointer<I.Scalar>
) {
    let tile = UnsafeRawPointer(tile)
    for r in 0..<R {
        for n in 0..<N {
            sums[unchecked: r][unchecked: n] = I.sum(
                tile.loadUnaligned(fromByteOffset: (r &* N &+ n) &* I.bytes, as: I.Vector.self), sums[unchecked: r][unchecked: n])
        }
    }
}

/// sums[r][n] = tile[r][n], as `fold` left it.
@inlinable @inline(__always)
func loadTile<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>, _ tile: UnsafeMutablePointer<I.Scalar>
) {
    let tile = UnsafeRawPointer(tile)
    for r in 0..<R {
        for n in 0..<N {
            sums[unchecked: r][unchecked: n] = tile.loadUnaligned(fromByteOffset: (r &* N &+ n) &* I.bytes, as: I.Vector.self)
        }
    }
}

/// sums[r][n] += others[r][n]
@inlinable @inline(__always)
func add<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>,
    _ others: borrowing InlineArray<R, InlineArray<N, I.Vector>>
) {
    for r in 0..<R {
        for n in 0..<N {
            sums[unchecked: r][unchecked: n] = I.sum(sums[unchecked: r][unchecked: n], others[unchecked: r][unchecked: n])
        }
    }
}

/// The finished tile with bias and bounds, stored. `place(r, n)` is where vector n of row r goes, `bias(r, n)` its bias.
@inlinable @inline(__always)
func finish<I: InstructionSet>(
    _: I.Type, _ arguments: TileArguments<I.Scalar>, vectors: Int, place: (Int, Int) -> UnsafeMutableRawPointer,
    bias: (Int, Int) -> I.Vector
) {
    let tile = UnsafeRawPointer(arguments.tile)
    let low = I.Vector(repeating: arguments.low)
    let high = I.Vector(repeating: arguments.high)
    var r = 0
    while r < arguments.rows {
        for n in 0..<vectors {
            var total = tile.loadUnaligned(fromByteOffset: (r &* vectors &+ n) &* I.bytes, as: I.Vector.self)
            total = I.sum(total, bias(r, n))
            total = I.bounded(total, low: low, high: high)
            I.store(total, to: place(r, n), mask: n == vectors &- 1 ? arguments.lastMask : .max)
        }
        r &+= 1
    }
}

/// `finish`, where it is asked for, for tiles of pixels: vectors of output channels.
@inlinable @inline(__always)
func finishPixels<I: InstructionSet>(_: I.Type, _ arguments: TileArguments<I.Scalar>, vectors: Int) {
    guard let outputs = arguments.outputs else { return }
    let bias = UnsafeRawPointer(arguments.bias)
    finish(I.self, arguments, vectors: vectors) { r, n in
        UnsafeMutableRawPointer(outputs[r] + arguments.outputOffset) + n &* I.bytes
    } bias: { _, n in
        bias.loadUnaligned(fromByteOffset: n &* I.bytes, as: I.Vector.self)
    }
}

/// `finish`, where it is asked for, for tiles of output channels: vectors of columns. Kernels of as many vectors share it.
@inlinable @inline(never)
func finishVectors<I: InstructionSet, let N: Int>(
    _: I.Type, _ arguments: UnsafePointer<TileArguments<I.Scalar>>, vectors: Count<N>.Type
) {
    guard let outputs = arguments.pointee.outputs else { return }
    let pitch = arguments.pointee.outputPitch &* MemoryLayout<I.Scalar>.stride
    let low = I.Vector(repeating: arguments.pointee.low)
    let high = I.Vector(repeating: arguments.pointee.high)
    let streams = arguments.pointee.streams
    var tile = UnsafeRawPointer(arguments.pointee.tile)
    var bias = arguments.pointee.bias
    var place = arguments.pointee.outputOffset &* MemoryLayout<I.Scalar>.stride
    var row = arguments.pointee.rows
    repeat {
        let addend = I.Vector(repeating: bias[0])
        for n in 0..<N {
            let total = I.sum(tile.loadUnaligned(fromByteOffset: n &* I.bytes, as: I.Vector.self), addend)
            let result = I.bounded(total, low: low, high: high)
            let target = UnsafeMutableRawPointer(outputs[n]) + place
            if streams {
                I.stream(result, to: target)
            } else {
                target.storeBytes(of: result, as: I.Vector.self)
            }
        }
        tile += N &* I.bytes
        bias += 1
        place &+= pitch
        row &-= 1
    } while row > 0
}

// The order of the sum is the order of the panel: one chain of multiply-adds per output element and chunk, in all kernels.
// `R` and `N` are given by the types of `rows` and `vectors`, whose values play no part (Swift cannot name them at the call).

/// Each bound by itself: none of these steps hides behind the multiply-adds of the next tile.
@inlinable @inline(__always)
func bound<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>, _ arguments: TileArguments<I.Scalar>
) {
    if arguments.low > -.infinity {
        let low = I.Vector(repeating: arguments.low)
        for r in 0..<R {
            for n in 0..<N {
                sums[unchecked: r][unchecked: n] = I.replacing(sums[unchecked: r][unchecked: n], below: low, with: low)
            }
        }
    }
    if arguments.high < .infinity {
        let high = I.Vector(repeating: arguments.high)
        for r in 0..<R {
            for n in 0..<N {
                sums[unchecked: r][unchecked: n] = I.replacing(sums[unchecked: r][unchecked: n], above: high, with: high)
            }
        }
    }
}

/// The bias of each vector of output channels, or of twins, which have the same; then the bounds.
@inlinable @inline(__always)
func addBias<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>, _ arguments: TileArguments<I.Scalar>, areTwins: Bool = false
) {
    let bias = UnsafeRawPointer(arguments.bias)
    for n in 0..<N {
        let addend = bias.loadUnaligned(fromByteOffset: areTwins ? 0 : n &* I.bytes, as: I.Vector.self)
        for r in 0..<R { sums[unchecked: r][unchecked: n] = I.sum(sums[unchecked: r][unchecked: n], addend) }
    }
    bound(I.self, &sums, arguments)
}

/// The finished sums of pixels, pixel r to `place(r)`; of the last vector what `lastMask` leaves.
@inlinable @inline(__always)
func storePixels<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: borrowing InlineArray<R, InlineArray<N, I.Vector>>, _ arguments: TileArguments<I.Scalar>,
    place: (Int) -> UnsafeMutableRawPointer
) {
    for r in 0..<R {
        let output = place(r)
        for n in 0..<(N &- 1) {
            output.storeBytes(of: sums[unchecked: r][unchecked: n], toByteOffset: n &* I.bytes, as: I.Vector.self)
        }
    }
    for r in 0..<R {
        I.store(sums[unchecked: r][unchecked: N &- 1], to: place(r) + (N &- 1) &* I.bytes, mask: arguments.lastMask)
    }
}

/// The sums of a tile, finished in the registers and stored: one step after another, each a plain loop, for the same reason as in
/// `fold`. Every pixel is stored: those beyond the last repeat it. Whole vectors may be written past the caches.
@inlinable @inline(__always)
func finishSums<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>, _ arguments: TileArguments<I.Scalar>,
    _ outputs: UnsafePointer<UnsafeMutablePointer<I.Scalar>>, endsInHalf: Bool, areTwins: Bool, streams: Bool = true
) {
    addBias(I.self, &sums, arguments, areTwins: areTwins)
    if areTwins {
        let twin = arguments.outputPitch &* MemoryLayout<I.Scalar>.stride
        for n in 0..<N {
            for r in 0..<R {
                let output = UnsafeMutableRawPointer(outputs[r] + arguments.outputOffset) + n &* twin
                I.store(sums[unchecked: r][unchecked: n], to: output, mask: arguments.lastMask)
            }
        }
        return
    }
    if streams, !endsInHalf, arguments.streams {
        for r in 0..<R {
            let output = UnsafeMutableRawPointer(outputs[r] + arguments.outputOffset)
            for n in 0..<N { I.stream(sums[unchecked: r][unchecked: n], to: output + n &* I.bytes) }
        }
        return
    }
    storePixels(I.self, sums, arguments) { r in UnsafeMutableRawPointer(outputs[r] + arguments.outputOffset) }
}

/// The same of a tile of output channels.
@inlinable @inline(__always)
func finishColumns<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>, _ arguments: TileArguments<I.Scalar>,
    _ outputs: UnsafePointer<UnsafeMutablePointer<I.Scalar>>, _ offset: Int
) {
    for r in 0..<R {
        let addend = I.Vector(repeating: arguments.bias[r])
        for n in 0..<N { sums[unchecked: r][unchecked: n] = I.sum(sums[unchecked: r][unchecked: n], addend) }
    }
    bound(I.self, &sums, arguments)
    var place = offset
    for r in 0..<R {
        for n in 0..<N {
            UnsafeMutableRawPointer(outputs[n] + place).storeBytes(of: sums[unchecked: r][unchecked: n], as: I.Vector.self)
        }
        place &+= arguments.outputPitch
    }
}

/// Input channel `c` of a tile's first vector, and `other` of those after it.
@inlinable @inline(__always)
func multiply<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>,
    _ starts: borrowing InlineArray<R, UnsafePointer<I.Scalar>>, _ c: Int, _ other: Int, _ panel: UnsafeRawPointer,
    spansGroups: Bool = false, areTwins: Bool = false
) {
    var weights = InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0))
    for n in 0..<N {
        weights[unchecked: n] = panel.loadUnaligned(fromByteOffset: areTwins ? 0 : n &* I.bytes, as: I.Vector.self)
    }
    for r in 0..<R {
        for n in 0..<N {
            let place = starts[unchecked: r] + (n > 0 ? other : c)
            let x = spansGroups || areTwins ? I.one(place) : I.Vector(repeating: place[0])
            sums[unchecked: r][unchecked: n] = I.multiplyAdd(x, weights[unchecked: n], sums[unchecked: r][unchecked: n])
        }
    }
}

/// Pixel r of `multiplyNear`.
@inlinable @inline(__always)
func multiplyNear<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>, _ r: Int, _ place: Int, _ u: Int, _ other: Int,
    _ first: I.Vector, _ second: I.Vector
) {
    let x = UnsafePointer<I.Scalar>(bitPattern: place &+ u).unsafelyUnwrapped
    let y = UnsafePointer<I.Scalar>(bitPattern: place &+ u &+ other).unsafelyUnwrapped
    sums[unchecked: r][unchecked: 0] = I.multiplyAdd(I.Vector(repeating: x[0]), first, sums[unchecked: r][unchecked: 0])
    sums[unchecked: r][unchecked: N &- 1] = I.multiplyAdd(I.Vector(repeating: y[0]), second, sums[unchecked: r][unchecked: N &- 1])
}

/// An input channel `u` bytes from `places` of a tile's two vectors, the second's `other` bytes further on. An address without
/// an index makes a load and its multiply-add a single operation.
@inlinable @inline(__always)
func multiplyNear<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>, _ places: (Int, Int, Int, Int, Int, Int, Int, Int),
    _ u: Int, _ other: Int, _ panel: UnsafeRawPointer, areTwins: Bool
) {
    let first = panel.loadUnaligned(as: I.Vector.self)
    let second = areTwins ? first : panel.loadUnaligned(fromByteOffset: I.bytes, as: I.Vector.self)
    multiplyNear(I.self, &sums, 0, places.0, u, other, first, second)
    multiplyNear(I.self, &sums, 1, places.1, u, other, first, second)
    multiplyNear(I.self, &sums, 2, places.2, u, other, first, second)
    multiplyNear(I.self, &sums, 3, places.3, u, other, first, second)
    multiplyNear(I.self, &sums, 4, places.4, u, other, first, second)
    multiplyNear(I.self, &sums, 5, places.5, u, other, first, second)
    multiplyNear(I.self, &sums, 6, places.6, u, other, first, second)
    multiplyNear(I.self, &sums, 7, places.7, u, other, first, second)
}

/// Two input channels from `c` on, for vector n of a tile, whose weights are `pitch` bytes apart. Each value loaded by itself
/// would be a load per multiply-add, and more than the load units can do together with the weights; all parted by shuffles are
/// more than the one unit can do that does not multiply. So one vector has `shuffles`, and the other not.
@inlinable @inline(__always)
func multiplyTwo<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>,
    _ starts: borrowing InlineArray<R, UnsafePointer<I.Scalar>>,
    _ c: Int, _ panel: UnsafeRawPointer, _ n: Int, pitch: Int, shuffles: Bool
) {
    let first = panel.loadUnaligned(as: I.Vector.self)
    let second = panel.loadUnaligned(fromByteOffset: pitch, as: I.Vector.self)
    for r in 0..<R {
        let place = starts[unchecked: r] + c
        let x = shuffles ? I.twos(place) : I.Vector(repeating: place[0])
        let sum = I.multiplyAdd(shuffles ? I.firsts(x) : x, first, sums[unchecked: r][unchecked: n])
        let y = shuffles ? I.seconds(x) : I.Vector(repeating: place[1])
        sums[unchecked: r][unchecked: n] = I.multiplyAdd(y, second, sum)
    }
}

/// Input channel `c` of a tile whose last vector of weights is half empty. Two neighbouring pixels share one vector of sums for
/// it, that of the first: three multiply-adds for what would take four.
@inlinable @inline(__always)
func multiplyHalves<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>,
    _ starts: borrowing InlineArray<R, UnsafePointer<I.Scalar>>, _ c: Int, _ panel: UnsafeRawPointer
) {
    let last = N &- 1
    let half = I.twice(panel + last &* I.bytes)
    for p in 0..<(R / 2) {
        let (first, second) = (2 &* p, 2 &* p &+ 1)
        let x = I.Vector(repeating: starts[unchecked: first][c])
        let y = I.Vector(repeating: starts[unchecked: second][c])
        for n in 0..<last {
            let weights = panel.loadUnaligned(fromByteOffset: n &* I.bytes, as: I.Vector.self)
            sums[unchecked: first][unchecked: n] = I.multiplyAdd(x, weights, sums[unchecked: first][unchecked: n])
            sums[unchecked: second][unchecked: n] = I.multiplyAdd(y, weights, sums[unchecked: second][unchecked: n])
        }
        sums[unchecked: first][unchecked: last] = I.multiplyAdd(I.halves(x, y), half, sums[unchecked: first][unchecked: last])
    }
}

/// What `multiplyHalves` leaves in a vector of two pixels, as one of each. The other's lanes remain where the weights are empty.
@inlinable @inline(__always)
func partHalves<I: InstructionSet, let R: Int, let N: Int>(_: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>) {
    for p in 0..<(R / 2) {
        sums[unchecked: 2 &* p &+ 1][unchecked: N &- 1] = I.swapped(sums[unchecked: 2 &* p][unchecked: N &- 1])
    }
}

/// The way back, from a tile in memory.
@inlinable @inline(__always)
func joinHalves<I: InstructionSet, let R: Int, let N: Int>(_: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>) {
    for p in 0..<(R / 2) {
        sums[unchecked: 2 &* p][unchecked: N &- 1] = I.halves(
            sums[unchecked: 2 &* p][unchecked: N &- 1], I.swapped(sums[unchecked: 2 &* p &+ 1][unchecked: N &- 1]))
    }
}

/// Terms of a chunk, so few that a level-1 cache keeps the weights of two: `accumulateChunks` reads them for half of the rows,
/// then for the others.
@usableFromInline let fewTermsOfChunk = 48

/// Two chunks of a tile's sum at once, for R of its rows, from `row` on: the sums of both stay in registers, where those of one
/// chunk after the other would be stored and loaded in between. Of a row there are `count` segments in each.
@inlinable @inline(__always)
func accumulateChunks<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, rows: Count<R>.Type, vectors: Count<N>.Type, _ arguments: TileArguments<I.Scalar>,
    _ runs: UnsafePointer<UnsafePointer<I.Scalar>>, runPitch: Int, _ order: UnsafePointer<Int32>, _ count: Int,
    channelBytes: Int, _ ahead: inout UnsafeRawPointer, second: Int, row: Int, continues: Bool, finishes: Bool
) {
    let segmentBytes = arguments.length &* channelBytes
    var (sums, others) = (
        InlineArray<R, InlineArray<N, I.Vector>>(repeating: InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0))),
        InlineArray<R, InlineArray<N, I.Vector>>(repeating: InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0)))
    )
    var segment = 0
    while segment < count {
        var panel = UnsafeRawPointer(arguments.panel) + Int(order[segment]) &* segmentBytes
        var otherPanel = UnsafeRawPointer(arguments.panel) + Int(order[count &+ 1 &+ segment]) &* segmentBytes
        let place = runs + segment &* runPitch
        let otherPlace = place + count &* runPitch
        var starts = InlineArray<R, UnsafePointer<I.Scalar>>(repeating: place[0])
        var otherStarts = starts
        for r in 0..<R {
            starts[unchecked: r] = place[r] + arguments.channelOffset
            otherStarts[unchecked: r] = otherPlace[r] + arguments.channelOffset
        }
        segment &+= 1
        var c = 0
        repeat {
            if R > 1 {
                shim_prefetch(ahead)
                shim_prefetch(ahead + second)
                ahead += arguments.aheadStep
            }
            multiply(I.self, &sums, starts, c, c, panel)
            multiply(I.self, &others, otherStarts, c, c, otherPanel)
            panel += channelBytes
            otherPanel += channelBytes
            c &+= 1
        } while c < arguments.length
    }
    // In the order of the sum: the first chunk, then the second.
    let tile = arguments.tile + row &* N &* I.lanes
    if continues { addTile(I.self, &sums, tile) }
    add(I.self, &sums, others)
    if finishes, let outputs = arguments.outputs {
        finishSums(I.self, &sums, arguments, outputs + row, endsInHalf: false, areTwins: false)
    } else {
        fold(I.self, sums, into: tile, continues: false)
    }
}

/// Vectors of output channels, one input value broadcast over each:
/// tile[r][n] += sum over segments s in order, channels c of runs[s][r][channelOffset + c] * panel[s][c][n]
/// Or each vector is a group of its own, and n * groupPitch is added to c. Where a group has one vector, that makes enough sums.
/// Or the last vector has only half of its lanes, and the tile holds anything in the others. Or the vectors are twins: those of
/// other pixels, with the same weights.
@inlinable @inline(__always)
public func accumulateTile<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, rows: Count<R>.Type, vectors: Count<N>.Type, spansGroups: Bool = false,
    endsInHalf: Bool = false, areTwins: Bool = false, _ raw: UnsafeRawPointer
) {
    accumulateTile(
        I.self, rows: rows, vectors: vectors, half: Count<0>.self, spansGroups: spansGroups, endsInHalf: endsInHalf,
        areTwins: areTwins, raw)
}

/// The same; where `H` is half of the rows, not 0, by `accumulateChunks` as long as two chunks have as many segments, and few. Or
/// it is all of them, a single one, whose sums are too few to keep the multiply-add units busy.
@inlinable @inline(__always)
public func accumulateTile<I: InstructionSet, let R: Int, let N: Int, let H: Int>(
    _: I.Type, rows: Count<R>.Type, vectors: Count<N>.Type, half: Count<H>.Type, spansGroups: Bool = false,
    endsInHalf: Bool = false, areTwins: Bool = false, _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: TileArguments<I.Scalar>.self).pointee
    let channelBytes = areTwins ? I.bytes
        : R == 1 ? arguments.panelPitch &* MemoryLayout<I.Scalar>.stride : N &* I.bytes
    let segmentBytes = arguments.length &* channelBytes
    var runs = arguments.runs
    guard var order = arguments.order else { return }
    var remaining = arguments.chunks
    var continues = arguments.continues
    var ahead = arguments.ahead
    // The same line twice costs nothing, but one that the next step fetches as well does.
    let second = arguments.aheadStep > 64 ? 64 : 0
    if H > 0 {
        while remaining > 1, order[0] == order[Int(order[0]) &+ 1],
            R == H || Int(order[0]) &* arguments.length <= fewTermsOfChunk {
            let count = Int(order[0])
            for part in 0..<(R / H) {
                accumulateChunks(
                    I.self, rows: half, vectors: vectors, arguments, runs + part &* H, runPitch: R, order + 1, count,
                    channelBytes: channelBytes, &ahead, second: second, row: part &* H, continues: continues,
                    finishes: remaining == 2)
            }
            runs += 2 &* count &* R
            order += 2 &* count &+ 2
            remaining &-= 2
            continues = true
        }
    }
    // So few sums leave registers for those of the chunks before.
    let keepsTotals = endsInHalf && R &* (2 &* N &- 1) <= 24
    var totals = InlineArray<R, InlineArray<N, I.Vector>>(repeating: InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0)))
    if keepsTotals, continues {
        loadTile(I.self, &totals, arguments.tile)
        joinHalves(I.self, &totals)
    }
    while remaining > 0 {
        remaining &-= 1
        var chunk = order[0]
        order += 1
        var sums = InlineArray<R, InlineArray<N, I.Vector>>(
            repeating: InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0)))
        while chunk > 0 {
            chunk &-= 1
            var panel = UnsafeRawPointer(arguments.panel) + Int(order[0]) &* segmentBytes
            order += 1
            var starts = InlineArray<R, UnsafePointer<I.Scalar>>(repeating: runs[0])
            for r in 0..<R { starts[unchecked: r] = runs[r] + arguments.channelOffset }
            runs += R
            var c = 0
            if spansGroups || areTwins, I.splitsTwos, arguments.shuffles {
                while c &+ 2 <= arguments.length {
                    for _ in 0..<(areTwins ? 2 : 1) {
                        shim_prefetch(ahead)
                        shim_prefetch(ahead + arguments.aheadStep)
                        ahead += 2 &* arguments.aheadStep
                    }
                    multiplyTwo(I.self, &sums, starts, c, panel, 0, pitch: channelBytes, shuffles: true)
                    multiplyTwo(
                        I.self, &sums, starts, shim_opaque(c &+ arguments.groupPitch), areTwins ? panel : panel + I.bytes, 1,
                        pitch: channelBytes, shuffles: false)
                    panel += 2 &* channelBytes
                    c &+= 2
                }
                if c == arguments.length { continue }
            }
            var length = arguments.length
            // Addresses in an array would be kept, and moved on, as one vector.
            if spansGroups || areTwins, R == 8, I.splitsTwos, !arguments.shuffles, length >= 4 {
                var places = (
                    Int(bitPattern: starts[unchecked: 0]), Int(bitPattern: starts[unchecked: 1]),
                    Int(bitPattern: starts[unchecked: 2]), Int(bitPattern: starts[unchecked: 3]),
                    Int(bitPattern: starts[unchecked: 4]), Int(bitPattern: starts[unchecked: 5]),
                    Int(bitPattern: starts[unchecked: 6]), Int(bitPattern: starts[unchecked: 7]))
                let size = MemoryLayout<I.Scalar>.stride
                repeat {
                    if arguments.aheadStep > 0 {
                        for _ in 0..<(areTwins ? 8 : 4) {
                            shim_prefetch(ahead)
                            ahead += arguments.aheadStep
                        }
                    }
                    let other = shim_opaque(arguments.groupPitch &* size)
                    multiplyNear(I.self, &sums, places, 0, other, panel, areTwins: areTwins)
                    multiplyNear(I.self, &sums, places, size, other, panel + channelBytes, areTwins: areTwins)
                    multiplyNear(I.self, &sums, places, 2 &* size, other, panel + 2 &* channelBytes, areTwins: areTwins)
                    multiplyNear(I.self, &sums, places, 3 &* size, other, panel + 3 &* channelBytes, areTwins: areTwins)
                    let step = 4 &* size
                    places.0 = shim_advanced(places.0, step)
                    places.1 = shim_advanced(places.1, step)
                    places.2 = shim_advanced(places.2, step)
                    places.3 = shim_advanced(places.3, step)
                    places.4 = shim_advanced(places.4, step)
                    places.5 = shim_advanced(places.5, step)
                    places.6 = shim_advanced(places.6, step)
                    places.7 = shim_advanced(places.7, step)
                    panel += 4 &* channelBytes
                    length &-= 4
                    c &+= 4
                } while length >= 4
                if length == 0 { continue }
                length &+= c
            }
            repeat {
                // Which of twins and pairs, with a load for each multiply-add, are too many if there is nothing to fetch.
                if R > 1, arguments.aheadStep > 0 || !spansGroups && !areTwins {
                    shim_prefetch(ahead)
                    if areTwins {
                        ahead += arguments.aheadStep
                        shim_prefetch(ahead)
                    } else if N > 1, !spansGroups {
                        shim_prefetch(ahead + second)
                    }
                    ahead += arguments.aheadStep
                }
                if endsInHalf {
                    multiplyHalves(I.self, &sums, starts, c, panel)
                } else {
                    let other = spansGroups || areTwins ? shim_opaque(c &+ arguments.groupPitch) : c
                    multiply(I.self, &sums, starts, c, other, panel, spansGroups: spansGroups, areTwins: areTwins)
                }
                panel += channelBytes
                c &+= 1
            } while c < length
        }
        if keepsTotals {
            if continues { add(I.self, &sums, totals) }
            if remaining > 0 {
                totals = sums
                continues = true
                continue
            }
            partHalves(I.self, &sums)
        } else {
            if endsInHalf { partHalves(I.self, &sums) }
            if continues { addTile(I.self, &sums, arguments.tile) }
        }
        if remaining == 0, let outputs = arguments.outputs {
            finishSums(I.self, &sums, arguments, outputs, endsInHalf: endsInHalf, areTwins: areTwins)
            return
        }
        fold(I.self, sums, into: arguments.tile, continues: false)
        continues = true
    }
}

/// Vectors of output channels that each have an input value of their own (depthwise; `length` is 1):
/// tile[r][n] += sum over segments s in order of runs[s][r][channelOffset + n] * panel[s][n]
/// Where the tier `storesParts`, nothing is read or stored beyond the lanes of the last vector.
@inlinable @inline(__always)
public func accumulateLanes<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, rows: Count<R>.Type, vectors: Count<N>.Type, _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: TileArguments<I.Scalar>.self).pointee
    guard var order = arguments.order else { return }
    var runs = arguments.runs
    var remaining = arguments.chunks
    var continues = arguments.continues
    while remaining > 0 {
        remaining &-= 1
        var chunk = order[0]
        order += 1
        var sums = InlineArray<R, InlineArray<N, I.Vector>>(
            repeating: InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0)))
        while chunk > 0 {
            chunk &-= 1
            let panel = UnsafeRawPointer(arguments.panel) + Int(order[0]) &* (N &* I.bytes)
            order += 1
            var weights = InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0))
            for n in 0..<N { weights[unchecked: n] = panel.loadUnaligned(fromByteOffset: n &* I.bytes, as: I.Vector.self) }
            for r in 0..<R {
                let start = UnsafeRawPointer(runs[r] + arguments.channelOffset)
                for n in 0..<(N &- 1) {
                    let x = start.loadUnaligned(fromByteOffset: n &* I.bytes, as: I.Vector.self)
                    sums[unchecked: r][unchecked: n] = I.multiplyAdd(x, weights[unchecked: n], sums[unchecked: r][unchecked: n])
                }
                sums[unchecked: r][unchecked: N &- 1] = I.multiplyAdd(
                    start + (N &- 1) &* I.bytes, weights[unchecked: N &- 1], sums[unchecked: r][unchecked: N &- 1],
                    mask: arguments.lastMask)
            }
            runs += R
        }
        // Of few taps, what is left to do takes as long as the sums: of one chunk it is done in the registers.
        if I.lanes == (I.storesParts ? 16 : 8), remaining == 0, !continues, let outputs = arguments.outputs {
            finishSums(I.self, &sums, arguments, outputs, endsInHalf: false, areTwins: false, streams: false)
            return
        }
        fold(I.self, sums, into: arguments.tile, continues: continues)
        continues = true
    }
    finishPixels(I.self, arguments, vectors: N)
}

/// One channel of groups of four: sums[r] += spread(inputs[r], place) * panel[place]
@inlinable @inline(__always)
func multiplySpread<I: PermutingInstructionSet, let R: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<1, I.Vector>>, _ inputs: borrowing InlineArray<R, I.Vector>,
    _ panel: UnsafeRawPointer, _ place: Int
) {
    let weights = panel.loadUnaligned(fromByteOffset: place &* I.bytes, as: I.Vector.self)
    for r in 0..<R {
        sums[unchecked: r][unchecked: 0] = I.multiplyAdd(I.spread(inputs[unchecked: r], place), weights,
            sums[unchecked: r][unchecked: 0])
    }
}

/// `accumulateLanes` where groups have as many input as output channels, and a vector holds whole groups: a pixel's input vector
/// is loaded once per tap and permuted for each channel, so nothing needs to be packed.
/// tile[r][lane] += sum over segments s, channels c of runs[s][r][channelOffset + places[c][lane]] * panel[s][c][lane]
@inlinable @inline(__always)
public func accumulateGroups<I: PermutingInstructionSet, let R: Int>(
    _: I.Type, rows: Count<R>.Type, _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: TileArguments<I.Scalar>.self).pointee
    guard let places = arguments.places else { return }
    var panel = UnsafeRawPointer(arguments.panel)
    var runs = arguments.runs
    var remaining = arguments.segments
    var continues = arguments.continues
    while remaining > 0 {
        var chunk = remaining < arguments.segmentsPerChunk ? remaining : arguments.segmentsPerChunk
        remaining &-= chunk
        var sums = InlineArray<R, InlineArray<1, I.Vector>>(
            repeating: InlineArray<1, I.Vector>(repeating: I.Vector(repeating: 0)))
        while chunk > 0 {
            chunk &-= 1
            var inputs = InlineArray<R, I.Vector>(repeating: I.Vector(repeating: 0))
            for r in 0..<R {
                inputs[unchecked: r] = UnsafeRawPointer(runs[r] + arguments.channelOffset).loadUnaligned(as: I.Vector.self)
            }
            runs += R
            if I.spreadsFours, arguments.length == 4 {
                multiplySpread(I.self, &sums, inputs, panel, 0)
                multiplySpread(I.self, &sums, inputs, panel, 1)
                multiplySpread(I.self, &sums, inputs, panel, 2)
                multiplySpread(I.self, &sums, inputs, panel, 3)
                panel += 4 &* I.bytes
                continue
            }
            var offset = 0
            repeat {
                let weights = panel.loadUnaligned(as: I.Vector.self)
                for r in 0..<R {
                    let x = I.permute(inputs[unchecked: r], places + offset)
                    sums[unchecked: r][unchecked: 0] = I.multiplyAdd(x, weights, sums[unchecked: r][unchecked: 0])
                }
                panel += I.bytes
                offset &+= I.bytes
            } while offset < arguments.length &* I.bytes
        }
        fold(I.self, sums, into: arguments.tile, continues: continues)
        continues = true
    }
    finishPixels(I.self, arguments, vectors: 1)
}

/// Vectors of neighbouring output columns, one weight broadcast over each; R counts output channels:
/// tile[r][n] += sum over segments s, channels c of runs[s][n][channelOffset + c * channelPitch] * panel[s][c][r]
/// Where the table `joinsColumns`, the kernels of eight channels take `arguments.columns` such tiles, if that is not 0: those of
/// one row, `pixelPitch` apart in the input and side by side in the output, all finished here.
@inlinable @inline(__always)
public func accumulateColumns<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, rows: Count<R>.Type, vectors: Count<N>.Type, _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: TileArguments<I.Scalar>.self).pointee
    let size = MemoryLayout<I.Scalar>.stride
    let joins = I.storesParts && I.lanes == 16 && R == 8
    var (channelOffset, outputOffset, tiles) = (arguments.channelOffset, arguments.outputOffset, arguments.columns)
    repeat {
        var panel = arguments.panel
        var runs = arguments.runs
        var remaining = arguments.segments
        var continues = arguments.continues
        while remaining > 0 {
            var chunk = remaining < arguments.segmentsPerChunk ? remaining : arguments.segmentsPerChunk
            remaining &-= chunk
            var sums = InlineArray<R, InlineArray<N, I.Vector>>(
                repeating: InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0)))
            while chunk > 0 {
                chunk &-= 1
                var starts = InlineArray<N, UnsafeRawPointer>(repeating: UnsafeRawPointer(runs[0]))
                for n in 0..<N { starts[unchecked: n] = UnsafeRawPointer(runs[n] + channelOffset) }
                runs += N
                var offset = 0
                var c = 0
                repeat {
                    var inputs = InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0))
                    for n in 0..<N {
                        inputs[unchecked: n] = starts[unchecked: n].loadUnaligned(fromByteOffset: offset, as: I.Vector.self)
                    }
                    if I.storesParts, R == 8, arguments.aheadStep != 0 {
                        let ahead = shim_opaque(offset &+ arguments.aheadStep)
                        for n in 0..<N { shim_prefetch(starts[unchecked: n] + ahead) }
                    }
                    for r in 0..<R {
                        let weight = I.Vector(repeating: panel[r])
                        for n in 0..<N {
                            sums[unchecked: r][unchecked: n] = I.multiplyAdd(inputs[unchecked: n], weight,
                                sums[unchecked: r][unchecked: n])
                        }
                    }
                    panel += R
                    offset &+= arguments.channelPitch &* size
                    c &+= 1
                } while c < arguments.length
            }
            // Where the sum is short, what is left to do takes long.
            if joins {
                if continues { addTile(I.self, &sums, arguments.tile) }
                if remaining == 0, arguments.rows == R, !arguments.streams, let outputs = arguments.outputs {
                    finishColumns(I.self, &sums, arguments, outputs, outputOffset)
                    if tiles <= 1 { return }
                    break
                }
                continues = false
            }
            fold(I.self, sums, into: arguments.tile, continues: continues)
            continues = true
        }
        tiles &-= 1
        channelOffset &+= arguments.pixelPitch
        outputOffset &+= N &* I.lanes
    } while joins && tiles > 0
    finishVectors(I.self, raw.assumingMemoryBound(to: TileArguments<I.Scalar>.self), vectors: Count<N>.self)
}

/// `accumulateColumns` for vectors that follow each other in one row, of which `runs` gives the first (`[segment][N]`, the others
/// unread): one address for all leaves registers for more vectors.
@inlinable @inline(__always)
public func accumulateWide<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, rows: Count<R>.Type, vectors: Count<N>.Type, _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: TileArguments<I.Scalar>.self).pointee
    let size = MemoryLayout<I.Scalar>.stride
    var panel = arguments.panel
    var runs = arguments.runs
    var remaining = arguments.segments
    var continues = arguments.continues
    while remaining > 0 {
        var chunk = remaining < arguments.segmentsPerChunk ? remaining : arguments.segmentsPerChunk
        remaining &-= chunk
        var sums = InlineArray<R, InlineArray<N, I.Vector>>(
            repeating: InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0)))
        while chunk > 0 {
            chunk &-= 1
            var input = UnsafeRawPointer(runs[0] + arguments.channelOffset)
            runs += N
            var c = 0
            repeat {
                if I.storesParts, R > 1, arguments.aheadStep != 0 {
                    let ahead = input + arguments.aheadStep
                    for n in 0..<N { shim_prefetch(ahead + n &* I.bytes) }
                }
                for n in 0..<N {
                    let x = input.loadUnaligned(fromByteOffset: n &* I.bytes, as: I.Vector.self)
                    for r in 0..<R {
                        sums[unchecked: r][unchecked: n] = I.multiplyAdd(x, I.Vector(repeating: panel[r]),
                            sums[unchecked: r][unchecked: n])
                    }
                }
                panel += R
                input += arguments.channelPitch &* size
                c &+= 1
            } while c < arguments.length
        }
        fold(I.self, sums, into: arguments.tile, continues: continues)
        continues = true
    }
    finishVectors(I.self, raw.assumingMemoryBound(to: TileArguments<I.Scalar>.self), vectors: Count<N>.self)
}
