// Packing: the input in the order in which the tile kernels read it.

/// target[0] = source[0]. Through raw memory: a plain assignment in generic code may become a call of a function that copies one element.
@inlinable @inline(__always)
func copyElement<Scalar: KernelScalar>(_ source: UnsafePointer<Scalar>, to target: UnsafeMutablePointer<Scalar>) {
    UnsafeMutableRawPointer(target).storeBytes(of: UnsafeRawPointer(source).loadUnaligned(as: Scalar.self), as: Scalar.self)
}

@inlinable @inline(__always)
func copyElements<Scalar: KernelScalar>(_ source: UnsafePointer<Scalar>, count: Int, to target: UnsafeMutablePointer<Scalar>) {
    UnsafeMutableRawPointer(target).copyMemory(from: source, byteCount: count &* MemoryLayout<Scalar>.stride)
}

/// `[row][column][channel]` with neighbouring channels, pixels `pixelPitch` apart.
@inlinable @inline(__always)
public func packPixels<Scalar: KernelScalar>(
    from source: UnsafePointer<Scalar>, rowStride: Int, columnStride: Int, channelStride: Int,
    rows: Int, columns: Int, channels: Int, pixelPitch: Int, to target: UnsafeMutablePointer<Scalar>
) {
    var row = 0
    while row < rows {
        let sourceRow = source + row &* rowStride
        let targetRow = target + row &* columns &* pixelPitch
        if channelStride == 1 {
            var column = 0
            while column < columns {
                copyElements(sourceRow + column &* columnStride, count: channels, to: targetRow + column &* pixelPitch)
                column &+= 1
            }
        } else {
            // Along the columns, which are most often the neighbours in memory.
            var channel = 0
            while channel < channels {
                let line = sourceRow + channel &* channelStride
                var column = 0
                while column < columns {
                    copyElement(line + column &* columnStride, to: targetRow + (column &* pixelPitch &+ channel))
                    column &+= 1
                }
                channel &+= 1
            }
        }
        row &+= 1
    }
}

/// One channel of every pixel, to places `pitch` apart.
@inlinable @inline(__always)
public func packLane<Scalar: KernelScalar>(
    from source: UnsafePointer<Scalar>, rowStride: Int, columnStride: Int, zero: Bool, rows: Int, columns: Int, pitch: Int,
    to target: UnsafeMutablePointer<Scalar>
) {
    var row = 0
    while row < rows {
        let line = source + row &* rowStride
        let targetRow = target + row &* columns &* pitch
        var column = 0
        while column < columns {
            if zero { targetRow[column &* pitch] = 0 } else { copyElement(line + column &* columnStride, to: targetRow + column &* pitch) }
            column &+= 1
        }
        row &+= 1
    }
}

/// A strided line, packed.
@inlinable @inline(__always)
public func packLine<Scalar: KernelScalar>(from source: UnsafePointer<Scalar>, stride: Int, count: Int, to target: UnsafeMutablePointer<Scalar>) {
    if stride == 1 {
        copyElements(source, count: count, to: target)
        return
    }
    var i = 0
    while i < count {
        copyElement(source + i &* stride, to: target + i)
        i &+= 1
    }
}
