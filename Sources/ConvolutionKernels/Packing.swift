// Packing: the input in the order in which the tile kernels read it.

/// `[row][column][channel]` with neighbouring channels, pixels `pixelPitch` apart.
@inlinable @inline(__always)
public func packPixels<Scalar>(
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
                (targetRow + column &* pixelPitch).update(from: sourceRow + column &* columnStride, count: channels)
                column &+= 1
            }
        } else {
            // Along the columns, which are most often the neighbours in memory.
            var channel = 0
            while channel < channels {
                let line = sourceRow + channel &* channelStride
                var column = 0
                while column < columns {
                    targetRow[column &* pixelPitch &+ channel] = line[column &* columnStride]
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
public func packLane<Scalar: BinaryFloatingPoint>(
    from source: UnsafePointer<Scalar>, rowStride: Int, columnStride: Int, zero: Bool, rows: Int, columns: Int, pitch: Int,
    to target: UnsafeMutablePointer<Scalar>
) {
    var row = 0
    while row < rows {
        let line = source + row &* rowStride
        let targetRow = target + row &* columns &* pitch
        var column = 0
        while column < columns {
            targetRow[column &* pitch] = zero ? 0 : line[column &* columnStride]
            column &+= 1
        }
        row &+= 1
    }
}

/// A strided line, packed.
@inlinable @inline(__always)
public func packLine<Scalar>(from source: UnsafePointer<Scalar>, stride: Int, count: Int, to target: UnsafeMutablePointer<Scalar>) {
    if stride == 1 {
        target.update(from: source, count: count)
        return
    }
    var i = 0
    while i < count {
        target[i] = source[i &* stride]
        i &+= 1
    }
}
