import ConvolutionKernels

/// The type of a layer's elements, where these are only moved: code with addresses instead of typed pointers is there once for
/// both types. Strides and pitches are in elements.
struct ElementType {
    let bytes: Int
    /// `turnBlocks`, where there is one.
    let blocks: Kernel?
    /// `copyVectors`, where there is one.
    let vectors: Kernel?

    init(_ table: UnsafePointer<KernelTable>, bytes: Int) {
        (self.bytes, blocks, vectors) = (bytes, table.pointee.turn, table.pointee.copy)
    }

    /// target[i * targetStride] = source[i * sourceStride], or += .
    func copy(
        _ source: UnsafeRawPointer, sourceStride: Int = 1, count: Int, to target: UnsafeMutableRawPointer, targetStride: Int = 1,
        adds: Bool = false
    ) {
        if adds {
            bytes == 8
                ? add(source, sourceStride, count, to: target, targetStride, Double.self)
                : add(source, sourceStride, count, to: target, targetStride, Float.self)
        } else if sourceStride == 1, targetStride == 1 {
            copyLine(source, bytes: count &* bytes, to: target)
        } else {
            bytes == 8
                ? move(source, sourceStride, count, to: target, targetStride, UInt64.self)
                : move(source, sourceStride, count, to: target, targetStride, UInt32.self)
        }
    }

    private func add<Scalar: KernelScalar>(
        _ source: UnsafeRawPointer, _ sourceStride: Int, _ count: Int, to target: UnsafeMutableRawPointer, _ targetStride: Int,
        _: Scalar.Type
    ) {
        let (source, target) = (source.assumingMemoryBound(to: Scalar.self), target.assumingMemoryBound(to: Scalar.self))
        for i in 0..<count { target[i &* targetStride] += source[i &* sourceStride] }
    }

    private func move<Bits: BitwiseCopyable>(
        _ source: UnsafeRawPointer, _ sourceStride: Int, _ count: Int, to target: UnsafeMutableRawPointer, _ targetStride: Int,
        _: Bits.Type
    ) {
        let (source, target) = (source.assumingMemoryBound(to: Bits.self), target.assumingMemoryBound(to: Bits.self))
        for i in 0..<count { target[i &* targetStride] = source[i &* sourceStride] }
    }

    /// target[l * targetLine + i * targetStride] = source[l * lineStride + i * stride]; between them are zeros.
    @inline(never) @_optimize(speed)
    func spreadLines(
        _ source: UnsafeRawPointer, lineStride: Int, stride: Int, lines: Int, count: Int, to target: UnsafeMutableRawPointer,
        targetLine: Int, targetStride: Int
    ) {
        func spread<Bits: FixedWidthInteger & SIMDScalar>(_: Bits.Type) {
            let (source, target) = (source.assumingMemoryBound(to: Bits.self), target.assumingMemoryBound(to: Bits.self))
            var line = 0
            while line < lines {
                var (from, to) = (source + line &* lineStride, target + line &* targetLine)
                var left = count
                // The zero behind each of four is written once more: not behind the last of a line.
                while stride == 1, targetStride == 2, left > 4 {
                    let four = UnsafeRawPointer(from).loadUnaligned(as: SIMD4<Bits>.self)
                    UnsafeMutableRawPointer(to).storeBytes(
                        of: SIMD8(four[0], 0, four[1], 0, four[2], 0, four[3], 0), as: SIMD8<Bits>.self)
                    from += 4
                    to += 8
                    left &-= 4
                }
                while left > 0 {
                    to.pointee = from.pointee
                    from += stride
                    to += targetStride
                    left &-= 1
                }
                line &+= 1
            }
        }
        bytes == 8 ? spread(UInt64.self) : spread(UInt32.self)
    }

    /// By vectors, which this module has only where it asks for them: of a kernel dilated far the border is most of a line.
    @inline(never) @_optimize(speed)
    func fill(_ target: UnsafeMutableRawPointer, with value: Double, count: Int) {
        bytes == 8
            ? target.assumingMemoryBound(to: Double.self).update(repeating: value, count: count)
            : target.assumingMemoryBound(to: Float.self).update(repeating: Float(value), count: count)
    }

    func value(_ place: UnsafeRawPointer) -> Double {
        bytes == 8 ? place.load(as: Double.self) : Double(place.load(as: Float.self))
    }

    func clear(_ target: UnsafeMutableRawPointer, count: Int) {
        target.assumingMemoryBound(to: UInt8.self).update(repeating: 0, count: count &* bytes)
    }

    /// `[column][channel]` with neighbouring channels, pixels `pixelPitch` apart.
    @inline(never)
    func packPixels(
        from source: UnsafeRawPointer, columnStride: Int, channelStride: Int, columns: Int, channels: Int, pixelPitch: Int,
        to target: UnsafeMutableRawPointer
    ) {
        if channelStride != 1 {
            turn(
                source, step: columnStride, lines: channels, count: columns, sourceLine: channelStride, to: target,
                targetLine: pixelPitch)
            return
        }
        // Whole pixels that follow each other are one line.
        if columnStride == channels, pixelPitch == channels {
            target.copyMemory(from: source, byteCount: columns &* channels &* bytes)
            return
        }
        let pixels = CopyArguments(
            source: source, rowStride: columnStride &* bytes, rows: columns, bytes: channels &* bytes,
            rowPitch: pixelPitch &* bytes, target: target)
        copyLines(pixels, by: vectors)
    }

    /// See the function of this name.
    @inline(never) @_optimize(speed)
    func turn(
        _ source: UnsafeRawPointer, step: Int = 1, lines: Int, count: Int, sourceLine: Int, to target: UnsafeMutableRawPointer,
        targetLine: Int
    ) {
        func turn<Scalar: KernelScalar>(_: Scalar.Type) {
            ConvolutionKernels.turn(
                source.assumingMemoryBound(to: Scalar.self), step: step, lines: lines, count: count, sourceLine: sourceLine,
                to: target.assumingMemoryBound(to: Scalar.self), targetLine: targetLine, by: blocks)
        }
        bytes == 8 ? turn(Double.self) : turn(Float.self)
    }

    /// See the function of this name.
    @inline(never) @_optimize(speed)
    func packLine(from source: UnsafeRawPointer, stride: Int, count: Int, to target: UnsafeMutableRawPointer) {
        func pack<Scalar: KernelScalar>(_: Scalar.Type) {
            ConvolutionKernels.packLine(
                from: source.assumingMemoryBound(to: Scalar.self), stride: stride, count: count,
                to: target.assumingMemoryBound(to: Scalar.self))
        }
        bytes == 8 ? pack(Double.self) : pack(Float.self)
    }

    /// See the function of this name.
    @inline(never) @_optimize(speed)
    func packLines(
        from source: UnsafeRawPointer, rowStride: Int, columnStride: Int, channelStride: Int, rows: Int, columns: Int,
        channels: Int, rowPitch: Int, pitch: Int, to target: UnsafeMutableRawPointer
    ) {
        if columnStride == 1, rows &* channels == 1 {
            copyLine(source, bytes: columns &* bytes, to: target)
            return
        }
        func pack<Scalar: KernelScalar>(_: Scalar.Type) {
            ConvolutionKernels.packLines(
                from: source.assumingMemoryBound(to: Scalar.self), rowStride: rowStride, columnStride: columnStride,
                channelStride: channelStride, rows: rows, columns: columns, channels: channels, rowPitch: rowPitch, pitch: pitch,
                to: target.assumingMemoryBound(to: Scalar.self), by: blocks, vectors: vectors)
        }
        bytes == 8 ? pack(Double.self) : pack(Float.self)
    }
}
