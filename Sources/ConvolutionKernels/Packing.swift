/// Copies a rectangle of an image into `[row][column][channel]` with the channels packed, which is what the tile kernels read.
@inlinable @inline(__always)
public func packRectangle<Scalar>(
    from source: UnsafePointer<Scalar>, rowStride: Int, columnStride: Int, channelStride: Int,
    rows: Int, columns: Int, channels: Int, to target: UnsafeMutablePointer<Scalar>
) {
    var row = 0
    while row < rows {
        let sourceRow = source + row &* rowStride
        let targetRow = target + row &* columns &* channels
        var channel = 0
        while channel < channels {
            let line = sourceRow + channel &* channelStride
            var column = 0
            while column < columns {
                targetRow[column &* channels &+ channel] = line[column &* columnStride]
                column &+= 1
            }
            channel &+= 1
        }
        row &+= 1
    }
}
