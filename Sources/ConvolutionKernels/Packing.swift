import CConvolutionShims

// Packing: what the caller has, in the order in which the kernels read it.

/// target[0] = source[0]. Through raw memory: a plain assignment in generic code may become a call of a function that copies one
/// element.
@inlinable @inline(__always)
func copyElement<Scalar: KernelScalar>(_ source: UnsafePointer<Scalar>, to target: UnsafeMutablePointer<Scalar>) {
    UnsafeMutableRawPointer(target).storeBytes(of: UnsafeRawPointer(source).loadUnaligned(as: Scalar.self), as: Scalar.self)
}

@inlinable @inline(__always)
public func copyElements<Scalar: KernelScalar>(
    _ source: UnsafePointer<Scalar>, count: Int, to target: UnsafeMutablePointer<Scalar>
) {
    UnsafeMutableRawPointer(target).copyMemory(from: source, byteCount: count &* MemoryLayout<Scalar>.stride)
}

/// Four lines of four elements: the first elements of all, the second ones, and so on.
@inlinable @inline(__always)
func turned(
    _ a: SIMD4<UInt32>, _ b: SIMD4<UInt32>, _ c: SIMD4<UInt32>, _ d: SIMD4<UInt32>
) -> (SIMD4<UInt32>, SIMD4<UInt32>, SIMD4<UInt32>, SIMD4<UInt32>) {
    // Pairs of elements, then halves: an instruction each. Halves of whole lines become more than twice as many.
    let (low, lower) = (SIMD4(a[0], b[0], a[1], b[1]), SIMD4(c[0], d[0], c[1], d[1]))
    let (high, higher) = (SIMD4(a[2], b[2], a[3], b[3]), SIMD4(c[2], d[2], c[3], d[3]))
    return (
        SIMD4(lowHalf: low.lowHalf, highHalf: lower.lowHalf), SIMD4(lowHalf: low.highHalf, highHalf: lower.highHalf),
        SIMD4(lowHalf: high.lowHalf, highHalf: higher.lowHalf), SIMD4(lowHalf: high.highHalf, highHalf: higher.highHalf))
}

@inlinable @inline(__always)
func four(_ source: UnsafeRawPointer) -> SIMD4<UInt32> { source.loadUnaligned(as: SIMD4<UInt32>.self) }

@inlinable @inline(__always)
func store(_ four: SIMD4<UInt32>, to target: UnsafeMutableRawPointer) { target.storeBytes(of: four, as: SIMD4<UInt32>.self) }

/// Four elements, `step` from one to the next, and nothing behind them.
@inlinable @inline(__always)
func four(_ source: UnsafeRawPointer, step: Int) -> SIMD4<UInt32> {
    if step == 1 { return four(source) }
    if step == 2 {
        let (low, high) = (four(source), four(source + 12))
        return SIMD4(low[0], low[2], high[1], high[3])
    }
    func element(_ i: Int) -> UInt32 { source.loadUnaligned(fromByteOffset: 4 &* i &* step, as: UInt32.self) }
    return SIMD4(element(0), element(1), element(2), element(3))
}

/// Four lines' four elements, neighbours or `step` apart, to four lines of the others.
@inlinable @inline(__always)
func turnSquare(
    _ source: UnsafeRawPointer, step: Int = 1, lineBytes: Int, to first: UnsafeMutableRawPointer,
    _ second: UnsafeMutableRawPointer, _ third: UnsafeMutableRawPointer, _ fourth: UnsafeMutableRawPointer
) {
    let square = turned(
        four(source, step: step), four(source + lineBytes, step: step), four(source + 2 &* lineBytes, step: step),
        four(source + 3 &* lineBytes, step: step))
    store(square.0, to: first)
    store(square.1, to: second)
    store(square.2, to: third)
    store(square.3, to: fourth)
}

/// target[b * targetLine + a] = source[a * sourceLine + b * step] for a below `lines`, b below `count`.
@inlinable @inline(__always)
func turnLines<Scalar: KernelScalar>(
    _ source: UnsafePointer<Scalar>, step: Int = 1, lines: Int, count: Int, sourceLine: Int,
    to target: UnsafeMutablePointer<Scalar>, targetLine: Int
) {
    // Up to a cache line of each source line at a time: where planes are a power of two apart, the cache holds few lines.
    let size = MemoryLayout<Scalar>.stride
    let hasSquares = size == 4 && lines >= 4 && count >= 4
    var first = 0
    while first < count {
        let end = min(first &+ 16, count)
        var line = 0
        while line < lines {
            var b = first
            if hasSquares {
                // The last squares begin early rather than end late.
                let l = min(line, lines &- 4)
                // More lines than the processor keeps in mind: the next elements of each are fetched while it is at the others.
                for i in 0..<4 { shim_prefetch(source + ((l &+ i) &* sourceLine &+ end &* step)) }
                while b < end {
                    let c = min(b, count &- 4)
                    let place = target + (c &* targetLine &+ l)
                    turnSquare(
                        source + (l &* sourceLine &+ c &* step), step: step, lineBytes: sourceLine &* size, to: place,
                        place + targetLine, place + 2 &* targetLine, place + 3 &* targetLine)
                    b &+= 4
                }
                line &+= 4
                continue
            }
            while b < end {
                copyElement(source + (line &* sourceLine &+ b &* step), to: target + (b &* targetLine &+ line))
                b &+= 1
            }
            line &+= 1
        }
        first = end
    }
}

/// The same, used by `Convolution` alone, so that there is one copy under one set of flags. Pixels of two to four channels go
/// without the loops around a square. Two or three channels are less than one: with them are read, or written and then written
/// over, the first of the next pixel.
@inlinable @inline(never) @_optimize(speed)
public func turn<Scalar: KernelScalar>(
    _ source: UnsafePointer<Scalar>, step: Int = 1, lines: Int, count: Int, sourceLine: Int,
    to target: UnsafeMutablePointer<Scalar>, targetLine: Int, by blocks: Kernel?
) {
    var (source, target, lines, count) = (source, target, lines, count)
    let isDense = MemoryLayout<Scalar>.stride == 4 && step == 1
    if isDense, (2...4).contains(count), sourceLine >= count {
        while lines > 4 {
            let planes = turned(four(source), four(source + sourceLine), four(source + 2 &* sourceLine),
                four(source + 3 &* sourceLine))
            store(planes.0, to: target)
            store(planes.1, to: target + targetLine)
            if count > 2 { store(planes.2, to: target + 2 &* targetLine) }
            if count > 3 { store(planes.3, to: target + 3 &* targetLine) }
            source += 4 &* sourceLine
            target += 4
            lines &-= 4
            // The last square begins early, not line by line.
            if count == 4, lines < 4 {
                source -= (4 &- lines) &* sourceLine
                target -= 4 &- lines
                lines = 4
            }
        }
    } else if isDense, (2...4).contains(lines), targetLine == lines {
        let third = lines > 2 ? 2 &* sourceLine : 0
        let fourth = lines > 3 ? 3 &* sourceLine : 0
        while count > 4 {
            let pixels = turned(four(source), four(source + sourceLine), four(source + third), four(source + fourth))
            store(pixels.0, to: target)
            store(pixels.1, to: target + targetLine)
            store(pixels.2, to: target + 2 &* targetLine)
            store(pixels.3, to: target + 3 &* targetLine)
            source += 4
            target += 4 &* targetLine
            count &-= 4
        }
    }
    if step == 1, let blocks, lines >= turnedBytes / MemoryLayout<Scalar>.stride, count >= 16 / MemoryLayout<Scalar>.stride {
        let arguments = TurnArguments(
            source: source, lines: lines, count: count, sourceLine: sourceLine, target: target, targetLine: targetLine)
        withUnsafePointer(to: arguments) { blocks($0) }
    } else if step == 1 {
        // Without a step to ask for in each square.
        turnLines(source, lines: lines, count: count, sourceLine: sourceLine, to: target, targetLine: targetLine)
    } else {
        turnLines(source, step: step, lines: lines, count: count, sourceLine: sourceLine, to: target, targetLine: targetLine)
    }
}

/// What `turnBlocks` turns: lines that fill a vector of `turnedBytes` at least, each of `count` elements, of 16 bytes at least.
public struct TurnArguments {
    public var source: UnsafeRawPointer
    public var lines: Int
    public var count: Int
    public var sourceLine: Int
    public var target: UnsafeMutableRawPointer
    public var targetLine: Int

    @inlinable @inline(__always)
    public init(
        source: UnsafeRawPointer, lines: Int, count: Int, sourceLine: Int, target: UnsafeMutableRawPointer, targetLine: Int
    ) {
        self.source = source
        self.lines = lines
        self.count = count
        self.sourceLine = sourceLine
        self.target = target
        self.targetLine = targetLine
    }
}

/// Lines that are turned together fill vectors of so many bytes. (Longer ones gain no more: what limits then is the 16 bytes of
/// each line.)
public let turnedBytes = 32

/// `turnLines` by blocks of 32 bytes of lines times 16 bytes of each: loads put the halves of a vector together, so that half as
/// many shuffles and stores remain as by squares.
@inlinable @inline(__always)
public func turnBlocks<Scalar: KernelScalar>(_: Scalar.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: TurnArguments.self).pointee
    let size = MemoryLayout<Scalar>.stride
    let (high, wide) = (turnedBytes / size, 16 / size)
    let (sourceBytes, targetBytes) = (arguments.sourceLine &* size, arguments.targetLine &* size)
    // Lines that fall into one set of a level-1 cache leave no room there for the next.
    let isCrowded = sourceBytes % 4096 == 0
    var first = 0
    while first < arguments.count {
        let end = min(first &+ 64 / size, arguments.count)
        var line = 0
        while line < arguments.lines {
            // The last blocks begin early rather than end late.
            let l = min(line, arguments.lines &- high)
            let lines = arguments.source + l &* sourceBytes
            var next = lines + end &* size
            for _ in 0..<high {
                if isCrowded { shim_prefetch(next) } else { shim_prefetch_near(next) }
                next += sourceBytes
            }
            var b = first
            while b < end {
                let c = min(b, arguments.count &- wide)
                let place = arguments.target + (c &* targetBytes &+ l &* size)
                size == 4
                    ? turnEight(lines + c &* 4, sourceBytes, to: place, targetBytes)
                    : turnFour(lines + c &* 8, sourceBytes, to: place, targetBytes)
                b &+= wide
            }
            line &+= high
        }
        first = end
    }
}

/// Eight lines of four elements to four of eight.
@inlinable @inline(__always)
func turnEight(_ source: UnsafeRawPointer, _ line: Int, to target: UnsafeMutableRawPointer, _ pitch: Int) {
    func two(_ line: Int, _ other: Int) -> SIMD8<Float> {
        SIMD8(
            lowHalf: (source + line).loadUnaligned(as: SIMD4<Float>.self),
            highHalf: (source + other).loadUnaligned(as: SIMD4<Float>.self))
    }
    func put(_ x: SIMD8<Float>, _ y: SIMD8<Float>, to first: UnsafeMutableRawPointer) {
        let (x, y) = (unsafeBitCast(x, to: SIMD4<Double>.self), unsafeBitCast(y, to: SIMD4<Double>.self))
        first.storeBytes(of: shim_lower_f64x4(x, y), as: SIMD4<Double>.self)
        (first + pitch).storeBytes(of: shim_upper_f64x4(x, y), as: SIMD4<Double>.self)
    }
    let (a, b) = (two(0, 4 &* line), two(line, 5 &* line))
    let (c, d) = (two(2 &* line, 6 &* line), two(3 &* line, 7 &* line))
    put(shim_lower_f32x8(a, b), shim_lower_f32x8(c, d), to: target)
    put(shim_upper_f32x8(a, b), shim_upper_f32x8(c, d), to: target + 2 &* pitch)
}

/// Four lines of two elements of eight bytes to two of four.
@inlinable @inline(__always)
func turnFour(_ source: UnsafeRawPointer, _ line: Int, to target: UnsafeMutableRawPointer, _ pitch: Int) {
    func two(_ line: Int, _ other: Int) -> SIMD4<Double> {
        SIMD4(
            lowHalf: (source + line).loadUnaligned(as: SIMD2<Double>.self),
            highHalf: (source + other).loadUnaligned(as: SIMD2<Double>.self))
    }
    let (a, b) = (two(0, 2 &* line), two(line, 3 &* line))
    target.storeBytes(of: shim_lower_f64x4(a, b), as: SIMD4<Double>.self)
    (target + pitch).storeBytes(of: shim_upper_f64x4(a, b), as: SIMD4<Double>.self)
}

/// A cache line of 32-bit elements.
public let turnedElements = 16

/// targets[b][a] = source[a * sourceLine + b] for a below `lines`, b below `count`, which is at most `turnedElements`.
@inlinable @inline(__always)
public func turnElements<Scalar: KernelScalar>(
    _ source: UnsafePointer<Scalar>, lines: Int, sourceLine: Int, count: Int,
    to targets: UnsafePointer<UnsafeMutablePointer<Scalar>>
) {
    let size = MemoryLayout<Scalar>.stride
    var line = 0
    if size == 4, count >= 4 {
        while line &+ 4 <= lines {
            let first = source + line &* sourceLine
            // More lines than the processor keeps in mind: the next elements of each are fetched while it is at the others.
            for i in 0..<4 { shim_prefetch(first + (i &* sourceLine &+ turnedElements)) }
            var next = 0
            while next < count {
                // The last square begins early rather than end late.
                let b = min(next, count &- 4)
                turnSquare(
                    first + b, lineBytes: sourceLine &* size, to: targets[b] + line, targets[b &+ 1] + line,
                    targets[b &+ 2] + line, targets[b &+ 3] + line)
                next &+= 4
            }
            line &+= 4
        }
    }
    while line < lines {
        var b = 0
        while b < count {
            copyElement(source + (line &* sourceLine &+ b), to: targets[b] + line)
            b &+= 1
        }
        line &+= 1
    }
}

/// Whether none is an infinity or NaN.
@inlinable @inline(__always)
public func areFinite<Scalar: KernelScalar>(_ elements: UnsafePointer<Scalar>, count: Int) -> Bool {
    // All bits of the exponent: one more of it overflows into the sign. A double's are in its odd words.
    let exponent = MemoryLayout<Scalar>.stride == 4
        ? SIMD8<UInt32>(repeating: 0x7f80_0000) : SIMD8<UInt32>(0, 0x7ff0_0000, 0, 0x7ff0_0000, 0, 0x7ff0_0000, 0, 0x7ff0_0000)
    let one = MemoryLayout<Scalar>.stride == 4
        ? SIMD8<UInt32>(repeating: 0x0080_0000) : SIMD8<UInt32>(0, 0x0010_0000, 0, 0x0010_0000, 0, 0x0010_0000, 0, 0x0010_0000)
    var found = SIMD8<UInt32>(repeating: 0)
    let bytes = count &* MemoryLayout<Scalar>.stride
    var offset = 0
    while offset &+ 32 <= bytes {
        found |= (UnsafeRawPointer(elements).loadUnaligned(fromByteOffset: offset, as: SIMD8<UInt32>.self) & exponent) &+ one
        offset &+= 32
    }
    if found.max() >= 0x8000_0000 { return false }
    var i = offset / MemoryLayout<Scalar>.stride
    while i < count {
        if !elements[i].isFinite { return false }
        i &+= 1
    }
    return true
}

/// A strided line, packed.
@inlinable @inline(__always)
public func packLine<Scalar: KernelScalar>(
    from source: UnsafePointer<Scalar>, stride: Int, count: Int, to target: UnsafeMutablePointer<Scalar>
) {
    if stride == 1 {
        copyElements(source, count: count, to: target)
        return
    }
    var i = 0
    if stride == 2 {
        // Not to the last element, behind which nothing may be read.
        while MemoryLayout<Scalar>.stride == 4, i &+ 4 < count {
            store(SIMD8(lowHalf: four(source + i &* 2), highHalf: four(source + (i &* 2 &+ 4))).evenHalf, to: target + i)
            i &+= 4
        }
        if MemoryLayout<Scalar>.stride == 4, i > 0 {
            // The last four, some of them once more.
            let last = count &- 4
            let (low, high) = (four(source + last &* 2), four(source + (last &* 2 &+ 3)))
            store(SIMD4(lowHalf: low.evenHalf, highHalf: high.oddHalf), to: target + last)
            i = count
        }
    }
    while MemoryLayout<Scalar>.stride == 4, i &+ 4 <= count {
        store(four(source + i &* stride, step: stride), to: target + i)
        i &+= 4
    }
    while i < count {
        copyElement(source + i &* stride, to: target + i)
        i &+= 1
    }
}

/// Zeros in whole pieces of 32 bytes, which may be up to 28 bytes more than asked for.
@inlinable @inline(__always)
public func clear<Scalar: KernelScalar>(_ target: UnsafeMutablePointer<Scalar>, count: Int) {
    var offset = 0
    while offset < count &* MemoryLayout<Scalar>.stride {
        UnsafeMutableRawPointer(target).storeBytes(of: SIMD4<UInt64>(repeating: 0), toByteOffset: offset, as: SIMD4<UInt64>.self)
        offset &+= 32
    }
}

/// Short lines: no call.
@inlinable @inline(__always)
public func copyLine<Scalar: KernelScalar>(_ source: UnsafePointer<Scalar>, count: Int, to target: UnsafeMutablePointer<Scalar>) {
    copyLine(source, bytes: count &* MemoryLayout<Scalar>.stride, to: target)
}

/// The same of elements of either type.
@inlinable @inline(__always)
public func copyLine(_ source: UnsafeRawPointer, bytes: Int, to target: UnsafeMutableRawPointer) {
    if bytes > longestCopy {
        target.copyMemory(from: source, byteCount: bytes)
        return
    }
    // The last piece begins early, over the one before.
    if bytes >= 32 {
        var offset = 0
        while offset &+ 32 < bytes { copyPiece(source, target, &offset, of: SIMD4<UInt64>.self) }
        copyPiece(source, target, at: bytes &- 32, of: SIMD4<UInt64>.self)
    } else if bytes >= 16 {
        copyPiece(source, target, at: 0, of: SIMD2<UInt64>.self)
        copyPiece(source, target, at: bytes &- 16, of: SIMD2<UInt64>.self)
    } else if bytes >= 8 {
        copyPiece(source, target, at: 0, of: UInt64.self)
        copyPiece(source, target, at: bytes &- 8, of: UInt64.self)
    } else if bytes > 0 {
        copyPiece(source, target, at: 0, of: UInt32.self)
    }
}

/// A line of each row of each channel. A channel's rows are neighbours in memory more often than a row's channels. All but `bytes`,
/// of a line, from row to row and from channel to channel, in bytes.
public struct CopyArguments {
    public var source: UnsafeRawPointer
    public var rowStride: Int
    public var channelStride: Int
    public var rows: Int
    public var channels: Int
    public var bytes: Int
    public var rowPitch: Int
    public var pitch: Int
    public var target: UnsafeMutableRawPointer

    @inlinable @inline(__always)
    public init(
        source: UnsafeRawPointer, rowStride: Int, channelStride: Int = 0, rows: Int, channels: Int = 1, bytes: Int, rowPitch: Int,
        pitch: Int = 0, target: UnsafeMutableRawPointer
    ) {
        self.source = source
        self.rowStride = rowStride
        self.channelStride = channelStride
        self.rows = rows
        self.channels = channels
        self.bytes = bytes
        self.rowPitch = rowPitch
        self.pitch = pitch
        self.target = target
    }

    @inlinable @inline(__always)
    func forEachLine(_ body: (UnsafeRawPointer, UnsafeMutableRawPointer) -> Void) {
        var (source, target) = (source, target)
        for _ in 0..<channels {
            var (line, place) = (source, target)
            for _ in 0..<rows {
                body(line, place)
                line += rowStride
                place += rowPitch
            }
            source += channelStride
            target += pitch
        }
    }
}

/// Lines from here to there are copied by a tier's vectors, unless they are so few that to ask for it takes longer. Longer ones are
/// left to the system.
private let shortestCopy = 64
public let longestCopy = 512
private let fewestCopies = 8

/// `vectors`: `copyVectors`, if the tier has it.
@_optimize(speed)
public func copyLines(_ arguments: CopyArguments, by vectors: Kernel?) {
    let lines = arguments.rows &* arguments.channels
    if let vectors, lines >= fewestCopies, arguments.bytes >= shortestCopy, arguments.bytes <= longestCopy {
        withUnsafePointer(to: arguments) { vectors($0) }
    } else {
        arguments.forEachLine { copyLine($0, bytes: arguments.bytes, to: $1) }
    }
}

/// Lines by whole vectors, of which the last begins early.
@inlinable @inline(__always)
public func copyVectors<I: InstructionSet>(_: I.Type, _ raw: UnsafeRawPointer) {
    let arguments = raw.assumingMemoryBound(to: CopyArguments.self).pointee
    let last = arguments.bytes &- I.bytes
    arguments.forEachLine { line, place in
        var offset = 0
        while offset < last {
            place.storeBytes(of: line.loadUnaligned(fromByteOffset: offset, as: I.Vector.self), toByteOffset: offset, as: I.Vector.self)
            offset &+= I.bytes
        }
        place.storeBytes(of: line.loadUnaligned(fromByteOffset: last, as: I.Vector.self), toByteOffset: last, as: I.Vector.self)
    }
}

/// target[channel * pitch + row * rowPitch + column] = source[row * rowStride + column * columnStride + channel * channelStride]
@inlinable @inline(__always)
public func packLines<Scalar: KernelScalar>(
    from source: UnsafePointer<Scalar>, rowStride: Int, columnStride: Int, channelStride: Int, rows: Int, columns: Int,
    channels: Int, rowPitch: Int, pitch: Int, to target: UnsafeMutablePointer<Scalar>, by blocks: Kernel?, vectors: Kernel?
) {
    if columnStride == 1 {
        let size = MemoryLayout<Scalar>.stride
        let arguments = CopyArguments(
            source: source, rowStride: rowStride &* size, channelStride: channelStride &* size, rows: rows, channels: channels,
            bytes: columns &* size, rowPitch: rowPitch &* size, pitch: pitch &* size, target: target)
        copyLines(arguments, by: vectors)
        return
    }
    var row = 0
    while row < rows {
        packRow(
            source + row &* rowStride, columnStride: columnStride, channelStride: channelStride, columns: columns,
            channels: channels, pitch: pitch, to: target + row &* rowPitch, by: blocks)
        row &+= 1
    }
}

@inlinable @inline(__always)
func packRow<Scalar: KernelScalar>(
    _ source: UnsafePointer<Scalar>, columnStride: Int, channelStride: Int, columns: Int, channels: Int, pitch: Int,
    to target: UnsafeMutablePointer<Scalar>, by blocks: Kernel?
) {
    if channelStride == 1 {
        turn(source, lines: columns, count: channels, sourceLine: columnStride, to: target, targetLine: pitch, by: blocks)
        return
    }
    var channel = 0
    while channel < channels {
        packLine(from: source + channel &* channelStride, stride: columnStride, count: columns, to: target + channel &* pitch)
        channel &+= 1
    }
}
