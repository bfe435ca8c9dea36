/// The kernels of one element type on one tier. Adding a tier means filling one of these per type in a small file.
public struct KernelTable {
    /// Scalars per vector.
    public var lanes: Int
    /// Tile kernels of 1, 2, 3 and 4 vectors; the last is the widest this tier has registers for, and may repeat the third.
    public var tiles: InlineArray<4, TileKernel>
    public var widestTile: Int
    public var finish: @convention(c) (UnsafeRawPointer) -> Void
    public var nearestRow: @convention(c) (UnsafeRawPointer) -> Void
    public var bilinearRow: @convention(c) (UnsafeRawPointer) -> Void

    @inlinable @inline(__always)
    public init(
        lanes: Int, tiles: InlineArray<4, TileKernel>, widestTile: Int, finish: @escaping @convention(c) (UnsafeRawPointer) -> Void,
        nearestRow: @escaping @convention(c) (UnsafeRawPointer) -> Void,
        bilinearRow: @escaping @convention(c) (UnsafeRawPointer) -> Void
    ) {
        self.lanes = lanes
        self.tiles = tiles
        self.widestTile = widestTile
        self.finish = finish
        self.nearestRow = nearestRow
        self.bilinearRow = bilinearRow
    }
}

/// No tile has more rows, and none more scalars (rows times lanes).
public let largestTileRows = 8
public let largestTileScalars = 8 * 64
