import CConvolution
import CConvolutionShims
import ConvolutionKernels

// Memory of plans and of their executions.

/// One thread's scratch memory, as byte offsets.
struct WorkspaceLayout {
    var tiles = 0
    var runs = 0
    var orders = 0
    var rowOffsets = 0
    var columnOffsets = 0
    var sums = 0
    var lines = 0
    var rectangle = 0
    var bytes = 0
}

/// Up to whole cache lines.
func aligned(_ bytes: Int) -> Int { (bytes + 63) & ~63 }

/// No machine has less; asking for the exact size costs a tenth of a tiny convolution.
private let surelyThere = 1 << 26

private func outOfMemory(_ count: Int, of bytes: Int, _ what: StaticString) -> Failure {
    Failure(CONVOLUTION_ERROR_OUT_OF_MEMORY, "out of memory: \(what) needs \(count) times \(bytes) bytes")
}

/// Refuses more memory than the machine has.
func checkMemory(_ count: Int, of bytes: Int, _ what: StaticString) throws(Failure) {
    let (total, overflow) = count.multipliedReportingOverflow(by: bytes)
    guard !overflow, total >= 0, total <= surelyThere || UInt64(total) <= shim_physical_memory() else {
        throw outOfMemory(count, of: bytes, what)
    }
}

/// Memory for `count` elements of `bytes` each, or a failure. More than the machine has is refused before it is asked for.
func allocate(_ count: Int, of bytes: Int, _ what: StaticString) throws(Failure) -> UnsafeMutableRawPointer {
    try checkMemory(count, of: bytes, what)
    guard let block = shim_allocate(count * bytes) else { throw outOfMemory(count, of: bytes, what) }
    return block
}

/// Calls `body` with `context` and memory for `count` threads of `bytes` each: little is taken from the stack.
@inline(__always)
func withWorkspace(
    _ count: Int, of bytes: Int, _ context: UnsafeMutableRawPointer,
    _ body: @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?) -> Void
) throws(Failure) {
    if count * bytes <= Int(SHIM_STACK_BYTES) { return shim_with_stack(body, context) }
    let memory = try allocate(count, of: bytes, "the workspace")
    body(context, memory)
    shim_free(memory)
}

/// One allocation for the plan itself (at its start), its panels, blocks and coverage maps.
struct PlanMemory {
    var header: UnsafeMutableRawPointer
    var plan: UnsafeMutablePointer<ConvolutionPlan>
    var bytes: Int
    var panels: UnsafeMutablePointer<Panel>
    var blocks: UnsafeMutablePointer<Block>
    var coveredRows: UnsafeMutablePointer<UInt8>
    var coveredColumns: UnsafeMutablePointer<UInt8>

    init(panels panelCount: Int, blocks blockCount: Int, rows: Int, columns: Int) throws(Failure) {
        let panelsAt = aligned(MemoryLayout<ConvolutionPlan>.size)
        let blocksAt = panelsAt + aligned(try times(panelCount, MemoryLayout<Panel>.stride, "out_channels"))
        let rowsAt = blocksAt + aligned(try times(blockCount, MemoryLayout<Block>.stride, "blocks"))
        bytes = rowsAt + rows + columns
        header = try allocate(bytes, of: 1, "the plan")
        plan = header.bindMemory(to: ConvolutionPlan.self, capacity: 1)
        panels = (header + panelsAt).assumingMemoryBound(to: Panel.self)
        blocks = (header + blocksAt).assumingMemoryBound(to: Block.self)
        coveredRows = (header + rowsAt).assumingMemoryBound(to: UInt8.self)
        coveredColumns = coveredRows + rows
    }
}

extension WorkspaceLayout {
    /// Collects sizes first (in the fields that later hold offsets); `finish` turns them into offsets.
    mutating func include(
        _ block: Block, walkRuns: Int, walkLines: Int, tileScalars: Int, rectangleBytes: Int, elementBytes: Int
    ) {
        let pointer = MemoryLayout<UnsafeRawPointer>.stride
        tiles = max(tiles, aligned(block.tilesPerGroup * MemoryLayout<Tile>.stride))
        runs = max(runs, aligned(max(block.tilesPerGroup * block.segments * largestTileSide, walkRuns) * pointer))
        orders = max(orders, aligned(block.tilesPerGroup * block.orderLength * MemoryLayout<Int32>.stride))
        rowOffsets = max(rowOffsets, aligned(block.vertical.taps * block.blocksPerCall * largestTileSide * pointer))
        columnOffsets = max(columnOffsets, aligned(block.horizontal.taps * largestTileSide * pointer))
        sums = max(sums, aligned(block.tilesPerGroup * tileScalars * elementBytes))
        lines = max(lines, aligned(max(walkLines * elementBytes, block.tilesPerGroup * largestTileSide * pointer)))
        rectangle = max(rectangle, aligned(rectangleBytes))
    }

    mutating func finish(elementBytes: Int) {
        let sizes = self
        tiles = 0
        runs = tiles + sizes.tiles
        orders = runs + sizes.runs
        rowOffsets = orders + sizes.orders
        columnOffsets = rowOffsets + sizes.rowOffsets
        sums = columnOffsets + sizes.columnOffsets
        // One tile at least: elements that no tap reaches are finished in it too.
        lines = sums + max(sizes.sums, aligned(largestTileScalars * elementBytes))
        rectangle = lines + sizes.lines
        bytes = rectangle + sizes.rectangle
    }
}
