import ConvolutionKernels
import Testing

@testable import Convolution

// Every kernel of every tier that this processor runs, against plain loops. All memory around what a kernel may read holds NaN,
// which would spread into the result; all memory around what it may write holds NaN that must survive.

private let tiers = (0..<Tier.count).compactMap { Tier(rawValue: $0) }.filter { $0.isSupported }

/// Memory that is NaN but for the elements that a test sets. It is freed by hand: pointers into it do not keep an object alive.
private final class Field<Scalar: KernelScalar> {
    let elements: UnsafeMutableBufferPointer<Scalar>
    private var written = Set<Int>()

    init(_ count: Int) {
        elements = .allocate(capacity: count)
        elements.initialize(repeating: .nan)
    }

    func free() { elements.deallocate() }

    func pointer(_ offset: Int) -> UnsafeMutablePointer<Scalar> { elements.baseAddress! + offset }

    func set(_ index: Int, _ value: Int) {
        elements[index] = Scalar(value)
        written.insert(index)
    }

    /// Marks an element as one that a kernel may write.
    func open(_ index: Int) {
        elements[index] = .nan
        written.insert(index)
    }

    /// Whether everything else is still NaN.
    var surroundingsAreUntouched: Bool {
        elements.indices.allSatisfy { written.contains($0) || elements[$0].isNaN }
    }
}

/// Which of a table's tile kernels, and what they read.
private enum TileKind: CaseIterable {
    case channels, pixel, halves, lanes, partOfLanes, columns, wide

    var holdsColumns: Bool { self == .columns || self == .wide }
    var broadcastsInput: Bool { self == .channels || self == .pixel || self == .halves }
    var holdsHalf: Bool { self == .pixel || self == .halves || self == .partOfLanes }

    func kernels(_ table: KernelTable) -> [TileKernel] {
        switch self {
        case .channels: (0..<4).map { table.tiles[$0] }
        case .pixel: [table.pixelTile]
        case .halves:
            (1...2).map {
                var kernel = table.tiles[$0]
                kernel.accumulate = table.halfTiles[$0 - 1] ?? kernel.accumulate
                return kernel
            }
        case .lanes: (0..<4).map { table.laneTiles[$0] } + [table.pixelLanes].compactMap { $0 }
        case .partOfLanes: table.storesParts ? (0..<4).map { table.laneTiles[$0] } : []
        case .columns: (0..<5).map { table.columnTiles[$0] } + [table.shortColumnTile].compactMap { $0 }
        case .wide: (0..<4).map { table.wideTiles[$0] }
        }
    }
}

@Suite struct TileKernelTests {
    private func check<Scalar: KernelScalar>(_ table: KernelTable, _ kind: TileKind, _: Scalar.Type) {
        for kernel in kind.kernels(table) {
            for (segments, length, perChunk) in [(1, 1, 1), (5, 3, 2), (4, 7, 4), (3, 1, 100), (9, 2, 1), (2, 1, 1), (7, 2, 2)] {
                for continues in [true, false] {
                    // A part of a vector is stored where the tier can.
                    for finishes in kind == .pixel && !table.tilesStoreParts ? [false] : [true, false] {
                        // Lanes have one input channel each.
                        check(
                            kernel, kind, table.lanes, segments, kind == .lanes || kind == .partOfLanes ? 1 : length, perChunk,
                            continues, finishes, Scalar.self)
                    }
                }
            }
        }
    }

    private func check<Scalar: KernelScalar>(
        _ kernel: TileKernel, _ kind: TileKind, _ lanes: Int, _ segments: Int, _ length: Int, _ perChunk: Int, _ continues: Bool,
        _ finishes: Bool, _: Scalar.Type
    ) {
        var numbers = SeededNumbers(seed: segments * 100 + length)
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        // A tile row is N vectors. What a row and a lane of it read, of the run that `position` stands for:
        let rowWidth = kernel.vectors * lanes
        // Of a last vector that is half empty nothing is read or stored beyond the half.
        let used = kind.holdsHalf ? rowWidth - lanes / 2 : rowWidth
        let positions = kind.holdsColumns ? kernel.vectors : kernel.rows
        let inputsPerChannel = kind.broadcastsInput ? 1 : kind == .columns ? lanes : rowWidth
        // Of one pixel, weights have no gaps.
        let weightsPerChannel = kind.holdsColumns ? kernel.rows : kind == .pixel ? used : rowWidth
        func position(_ row: Int, _ lane: Int) -> Int { kind == .columns ? lane / lanes : kind == .wide ? 0 : row }
        func inputPlace(_ lane: Int) -> Int { kind.broadcastsInput ? 0 : kind == .columns ? lane % lanes : lane }
        func weightPlace(_ row: Int, _ lane: Int) -> Int { kind.holdsColumns ? row : lane }

        let channelOffset = 2
        let pitch = kind.broadcastsInput ? 1 : inputsPerChannel + 3
        let spacing = channelOffset + length * pitch + 3
        let input = Field<Scalar>(segments * positions * spacing + 1)
        let panel = Field<Scalar>(1 + segments * length * weightsPerChannel + rowWidth)
        let tile = Field<Scalar>(1 + kernel.rows * rowWidth + rowWidth)
        var runs: [UnsafePointer<Scalar>] = []
        for run in 0..<(segments * positions) {
            // The vectors of a wide tile follow each other, whether it asks for the first address alone or for all of them.
            let vector = kind == .wide ? run % positions : 0
            let place = (run - vector) * spacing + vector * lanes
            runs.append(UnsafePointer(input.pointer(place + 1)))
            for c in 0..<length {
                for i in 0..<min(inputsPerChannel, used) { input.set(run * spacing + 1 + channelOffset + c * pitch + i, draw()) }
            }
        }
        // Pixels may leave out segments, whose weights then count for nothing. Runs are those of the others. Of seven none
        // is left out, so that chunks are as long.
        let included = (0..<segments).filter { kind.holdsColumns || segments < 3 || segments == 7 || $0 % 3 != 1 }
        for s in included {
            for i in (s * length * weightsPerChannel)..<((s + 1) * length * weightsPerChannel)
            where kind.holdsColumns || i % weightsPerChannel < used { panel.set(1 + i, draw()) }
        }
        var order: [Int32] = []
        let chunks = stride(from: 0, to: segments, by: perChunk).map {
            first in included.filter { (first..<first + perChunk).contains($0) }
        }
        for chunk in chunks { order += [Int32(chunk.count)] + chunk.map { Int32($0) } }
        for i in 0..<(kernel.rows * rowWidth) { tile.set(1 + i, draw()) }
        let bias = Field<Scalar>(max(weightsPerChannel, rowWidth) + 2)
        for i in 0..<weightsPerChannel { bias.set(1 + i, draw()) }

        // With `continues` the tile counts, else not even a NaN in it may. `stored` rows leave with bias and bounds.
        let (low, high): (Scalar, Scalar) = (-40, 50)
        // A tile of pixels times channels stores all of them: those beyond the last repeat it. One of columns may have fewer, or
        // finishes all in the registers.
        let stored = !finishes ? 0 : kind.holdsColumns && segments % 2 == 0 ? max(1, kernel.rows - 1) : kernel.rows
        var expected: [Scalar] = []
        var expectedOutput: [Scalar] = []
        for row in 0..<kernel.rows {
            for lane in 0..<used {
                var sum = continues ? tile.elements[1 + row * rowWidth + lane] : 0
                for (place, s) in included.enumerated() {
                    for c in 0..<length {
                        let x = runs[place * positions + position(row, lane)][channelOffset + c * pitch + inputPlace(lane)]
                        let w = panel.elements[1 + (s * length + c) * weightsPerChannel + weightPlace(row, lane)]
                        sum += x * w
                    }
                }
                expected.append(sum)
                let biased = sum + bias.elements[1 + weightPlace(row, lane)]
                if row < stored { expectedOutput.append(min(max(biased, low), high)) }
            }
        }
        if !continues { for i in 0..<(kernel.rows * rowWidth) { tile.open(1 + i) } }

        // Output rows: one per pixel, or one per channel with a gap, whose vectors follow each other.
        let outputPitch = rowWidth + 5
        let output = Field<Scalar>(kernel.rows * outputPitch + 1)
        for row in 0..<stored { for lane in 0..<used { output.open(1 + row * outputPitch + lane) } }
        defer { for field in [input, panel, tile, bias, output] { field.free() } }
        let outputOffset = 1
        let targets = (0..<positions).map { output.pointer(kind.holdsColumns ? $0 * lanes : $0 * outputPitch) }
        runs.withUnsafeBufferPointer { runs in
            targets.withUnsafeBufferPointer { targets in
                order.withUnsafeBufferPointer { order in
                    var arguments = TileArguments(
                        runs: runs.baseAddress!, channelOffset: channelOffset, channelPitch: pitch, order: order.baseAddress!,
                        chunks: chunks.count, segments: segments, length: length, segmentsPerChunk: perChunk,
                        panel: panel.pointer(1), ahead: panel.pointer(0), aheadStep: 64, tile: tile.pointer(1),
                        continues: continues, outputs: finishes ? targets.baseAddress : nil, outputOffset: outputOffset,
                        rows: stored, outputPitch: outputPitch, bias: bias.pointer(1), low: low, high: high)
                    arguments.panelPitch = weightsPerChannel
                    if used < rowWidth { arguments.lastMask = (1 << UInt32(lanes / 2)) - 1 }
                    withUnsafePointer(to: arguments) { kernel.accumulate($0) }
                }
            }
        }
        let got = (0..<stored).flatMap { row in output.elements[(1 + row * outputPitch)..<(1 + row * outputPitch + used)] }
        #expect(got == expectedOutput)
        #expect(output.surroundingsAreUntouched)
        let label = "\(kernel.rows)x\(kernel.vectors), \(segments) segments of \(length)"
        // A finishing tile may leave its last sums in the registers.
        let sums = (0..<kernel.rows).flatMap { row in tile.elements[(1 + row * rowWidth)..<(1 + row * rowWidth + used)] }
        if !finishes { #expect(sums == expected, "\(label)") }
        #expect(tile.surroundingsAreUntouched, "\(label)")
    }

    @Test(arguments: tiers, TileKind.allCases)
    private func float32(_ tier: Tier, _ kind: TileKind) { check(tier.float32.pointee, kind, Float.self) }

    @Test(arguments: tiers, TileKind.allCases)
    private func float64(_ tier: Tier, _ kind: TileKind) { check(tier.float64.pointee, kind, Double.self) }

    @Test(arguments: tiers) func tileSizes(_ tier: Tier) {
        for table in [tier.float32.pointee, tier.float64.pointee] {
            for kernel in TileKind.allCases.flatMap({ $0.kernels(table) }) {
                #expect((1...largestTileSide).contains(kernel.rows) && (1...largestTileSide).contains(kernel.vectors))
                #expect(kernel.rows * kernel.vectors * table.lanes <= largestTileScalars)
            }
            #expect((0..<4).allSatisfy { table.tiles[$0].vectors == min($0 + 1, table.widestTile) })
            #expect((0..<4).allSatisfy { table.laneTiles[$0].vectors == min($0 + 1, table.laneTiles[3].vectors) })
            #expect((0..<4).allSatisfy { table.columnTiles[$0].rows == $0 + 1 } && table.columnTiles[4].rows >= 4)
            #expect((0..<4).allSatisfy { table.wideTiles[$0].rows == $0 + 1 })
            if let short = table.shortColumnTile {
                #expect(short.rows == table.columnTiles[4].rows && short.vectors == table.columnTiles[4].vectors - 1)
            }
            let walks = [table.walk, table.stridedWalk].compactMap { $0 }
            #expect(walks.allSatisfy { (1...largestTileSide).contains($0.columns) })
            #expect(stencilRows == 4)
            #expect(stencilRows * table.stencil.vectors * table.lanes <= largestTileScalars
                && table.stencil.vectors <= largestTileSide)
            #expect(walks.allSatisfy { 2 * $0.columns * table.lanes <= largestTileScalars })
        }
    }
}

@Suite struct GradientKernelTests {
    private func checkOuterProducts<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type) {
        var numbers = SeededNumbers(seed: table.lanes)
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        let kernels = (0..<4).map { table.outerTiles[$0] } + (0..<4).compactMap { table.otherOuterTiles[$0] }
        for kernel in kernels {
            let (rows, width) = (kernel.rows, kernel.vectors * table.lanes)
            #expect(rows * width <= largestTileScalars)
            for (segments, length, perChunk, continues) in [(1, 1, 1, false), (5, 3, 2, true), (4, 7, 4, false)] {
                let lefts = Field<Scalar>(segments * length * (rows + 2))
                let rights = Field<Scalar>(segments * length * (width + 3))
                let tile = Field<Scalar>(rows * (width + 1))
                defer { for field in [lefts, rights, tile] { field.free() } }
                for pixel in 0..<(segments * length) {
                    for r in 0..<rows { lefts.set(pixel * (rows + 2) + r, draw()) }
                    for n in 0..<width { rights.set(pixel * (width + 3) + n, draw()) }
                }
                var expected: [Scalar] = []
                for r in 0..<rows {
                    for n in 0..<width {
                        let before = draw()
                        if continues { tile.set(r * (width + 1) + n, before) } else { tile.open(r * (width + 1) + n) }
                        expected.append((0..<(segments * length)).reduce(continues ? Scalar(before) : 0) {
                            $0 + lefts.elements[$1 * (rows + 2) + r] * rights.elements[$1 * (width + 3) + n]
                        })
                    }
                }
                let leftRuns = (0..<segments).map { UnsafeRawPointer(lefts.pointer($0 * length * (rows + 2))) }
                let rightRuns = (0..<segments).map { UnsafeRawPointer(rights.pointer($0 * length * (width + 3))) }
                leftRuns.withUnsafeBufferPointer { leftRuns in
                    rightRuns.withUnsafeBufferPointer { rightRuns in
                        var arguments = OuterProductArguments(
                            lefts: leftRuns.baseAddress!, rights: rightRuns.baseAddress!, leftOffset: 0, rightOffset: 0,
                            leftPitch: rows + 2, rightPitch: width + 3, segments: segments, length: length,
                            segmentsPerChunk: perChunk, tile: tile.pointer(0), tilePitch: width + 1, continues: continues)
                        kernel.accumulate(&arguments)
                    }
                }
                let got = (0..<rows).flatMap { r in tile.elements[(r * (width + 1))..<(r * (width + 1) + width)] }
                #expect(got == expected && tile.surroundingsAreUntouched, "\(rows)x\(kernel.vectors), \(segments) of \(length)")
            }
        }
    }

    /// Rows of points that share image rows, and such that do not; borders on all sides, of a value that is not zero.
    private func checkDepthwise<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type) {
        var numbers = SeededNumbers(seed: table.lanes)
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        for (stride, vectors) in [(1, 1), (2, 1), (1, 2), (2, 2)] {
            let kernels = vectors == 1 ? table.depthwiseGradients : table.depthwiseGradientPairs
            guard let kernel = kernels[stride - 1] else { continue }
            let (width, size) = (vectors * table.lanes, MemoryLayout<Scalar>.stride)
            let pitch = width + 3
            for (height, columns, perChunk, ahead, continues) in [
                (9, 8, 9, 0, false), (8, 7, 3, 0, true), (7, 2, 2, 8, false), (2, 1, 1, 0, false), (6, 5, 4, 8, true),
            ] {
                let (outputRows, outputs) = ((height - 1) / stride + 1, (columns - 1) / stride + 1)
                let image = Field<Scalar>(height * columns * pitch)
                let points = Field<Scalar>(outputRows * outputs * pitch)
                let outside = Field<Scalar>(width)
                let tile = Field<Scalar>(9 * (width + 1))
                defer { for field in [image, points, outside, tile] { field.free() } }
                for lane in 0..<width {
                    for pixel in 0..<(height * columns) { image.set(pixel * pitch + lane, draw()) }
                    for pixel in 0..<(outputRows * outputs) { points.set(pixel * pitch + lane, draw()) }
                    outside.set(lane, 5)
                }
                var expected: [Scalar] = []
                for tap in 0..<9 {
                    for lane in 0..<width {
                        let before = draw()
                        if continues { tile.set(tap * (width + 1) + lane, before) } else { tile.open(tap * (width + 1) + lane) }
                        var sum = continues ? Scalar(before) : 0
                        for y in 0..<outputRows {
                            for x in 0..<outputs {
                                let (row, column) = (y * stride + tap / 3 - 1, x * stride + tap % 3 - 1)
                                let isInside = (0..<height).contains(row) && (0..<columns).contains(column)
                                sum += (isInside ? image.elements[(row * columns + column) * pitch + lane] : 5)
                                    * points.elements[(y * outputs + x) * pitch + lane]
                            }
                        }
                        expected.append(sum)
                    }
                }
                let segments = (0..<outputRows).map { y in
                    var lines = InlineArray<3, UnsafeRawPointer>(repeating: UnsafeRawPointer(outside.pointer(0)))
                    var pitches = InlineArray<3, Int>(repeating: 0)
                    for a in 0..<3 where (0..<height).contains(y * stride + a - 1) {
                        lines[a] = UnsafeRawPointer(image.pointer((y * stride + a - 1) * columns * pitch))
                        pitches[a] = pitch * size
                    }
                    return TapSegment(
                        image: lines, pitches: pitches, points: points.pointer(y * outputs * pitch), length: outputs,
                        sharesRows: y + 1 < outputRows && y != 4)
                }
                segments.withUnsafeBufferPointer { segments in
                    let arguments = TapGradientArguments(
                        segments: segments.baseAddress!, count: outputRows, segmentsPerChunk: perChunk, column: -1, step: 0,
                        imageOffset: 0, pointOffset: 0, pointPitch: pitch * size, pointAhead: 0, ahead: ahead,
                        places: outside.pointer(0), tile: tile.pointer(0), tilePitch: (width + 1) * size, continues: continues,
                        width: columns, outside: outside.pointer(0), vectorPitch: table.lanes * size)
                    withUnsafePointer(to: arguments) { kernel($0) }
                }
                let got = (0..<9).flatMap { tap in tile.elements[(tap * (width + 1))..<(tap * (width + 1) + width)] }
                #expect(got == expected && tile.surroundingsAreUntouched, "stride \(stride), \(height)x\(columns)")
            }
        }
    }

    @Test(arguments: tiers) func outerProducts(_ tier: Tier) {
        checkOuterProducts(tier.float32.pointee, Float.self)
        checkOuterProducts(tier.float64.pointee, Double.self)
    }

    @Test(arguments: tiers) func depthwise(_ tier: Tier) {
        checkDepthwise(tier.float32.pointee, Float.self)
        checkDepthwise(tier.float64.pointee, Double.self)
    }
}

@Suite struct GroupKernelTests {
    private func check<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type) {
        guard let kernel = table.groupTile else { return }
        var numbers = SeededNumbers(seed: table.lanes)
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        let (rows, lanes, channelOffset) = (kernel.rows, table.lanes, 2)
        for group in [2, 4, 8] where lanes % group == 0 {
            for (segments, perChunk, continues, finishes) in [(1, 1, false, true), (9, 4, false, true), (5, 5, true, false),
                (4, 3, true, true)] {
                // A pixel's vector between elements that nobody may read.
                let input = Field<Scalar>(segments * rows * (lanes + 4) + 4)
                let runs = (0..<(segments * rows)).map { UnsafePointer(input.pointer($0 * (lanes + 4))) }
                for run in 0..<(segments * rows) {
                    for i in 0..<lanes { input.set(run * (lanes + 4) + channelOffset + i, draw()) }
                }
                let panel = Field<Scalar>(segments * group * lanes)
                for i in 0..<(segments * group * lanes) { panel.set(i, draw()) }
                let tile = Field<Scalar>(rows * lanes + 1)
                for i in 0..<(rows * lanes) { tile.set(i, draw()) }
                let bias = Field<Scalar>(lanes)
                for i in 0..<lanes { bias.set(i, draw()) }
                let output = Field<Scalar>(rows * (lanes + 3))
                for r in 0..<rows { for i in 0..<lanes { output.open(r * (lanes + 3) + i) } }
                let places = UnsafeMutableRawPointer.allocate(byteCount: group * lanes * MemoryLayout<Scalar>.stride,
                    alignment: 64)
                defer { places.deallocate() }
                defer { for field in [input, panel, tile, bias, output] { field.free() } }
                for c in 0..<group {
                    for lane in 0..<lanes {
                        let place = places + (c * lanes + lane) * MemoryLayout<Scalar>.stride
                        let source = lane / group * group + c
                        if MemoryLayout<Scalar>.stride == 8 {
                            place.storeBytes(of: Int64(source), as: Int64.self)
                        } else {
                            place.storeBytes(of: Int32(source), as: Int32.self)
                        }
                    }
                }
                var expected: [Scalar] = []
                for r in 0..<rows {
                    for lane in 0..<lanes {
                        var sum = continues ? tile.elements[r * lanes + lane] : 0
                        for s in 0..<segments {
                            for c in 0..<group {
                                sum += runs[s * rows + r][channelOffset + lane / group * group + c]
                                    * panel.elements[(s * group + c) * lanes + lane]
                            }
                        }
                        expected.append(finishes ? min(max(sum + bias.elements[lane], -40), 50) : sum)
                    }
                }
                let targets = (0..<rows).map { output.pointer($0 * (lanes + 3)) }
                runs.withUnsafeBufferPointer { runs in
                    targets.withUnsafeBufferPointer { targets in
                        var arguments = TileArguments(
                            runs: runs.baseAddress!, channelOffset: channelOffset, channelPitch: 1, segments: segments,
                            length: group, segmentsPerChunk: perChunk, panel: panel.pointer(0), tile: tile.pointer(0),
                            continues: continues, outputs: finishes ? targets.baseAddress : nil, outputOffset: 0, rows: rows,
                            outputPitch: 1, bias: bias.pointer(0), low: -40, high: 50)
                        arguments.places = UnsafeRawPointer(places)
                        withUnsafePointer(to: arguments) { kernel.accumulate($0) }
                    }
                }
                let got = (0..<(rows * lanes)).map {
                    finishes ? output.elements[$0 / lanes * (lanes + 3) + $0 % lanes] : tile.elements[$0]
                }
                #expect(got == expected, "groups of \(group), \(segments) segments")
                #expect(output.surroundingsAreUntouched && tile.surroundingsAreUntouched)
            }
        }
    }

    @Test(arguments: tiers) func float32(_ tier: Tier) { check(tier.float32.pointee, Float.self) }
    @Test(arguments: tiers) func float64(_ tier: Tier) { check(tier.float64.pointee, Double.self) }
}

@Suite struct StripKernelTests {
    /// Pixels in a row, of which the last tile repeats some that were computed before; some chunks, a last vector that is not full
    /// where the tier stores parts of one.
    @Test(arguments: tiers, 0..<4) func float32(_ tier: Tier, vectors: Int) {
        for isOutside in [false, true] { check(tier.float32.pointee, vectors, isOutside: isOutside) }
    }

    private func check(_ table: KernelTable, _ vectors: Int, isOutside: Bool) {
        guard let kernel = table.strips[vectors] else { return }
        var numbers = SeededNumbers(seed: vectors)
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        let (tileRows, lanes, length, segments, pitch) = (table.tiles[vectors].rows, table.lanes, 5, 3, 7)
        let width = kernel.vectors * lanes
        let (used, outputPitch) = (table.tilesStoreParts ? width - 3 : width, width + 3)
        for columns in [kernel.rows, kernel.rows + 1, 2 * kernel.rows - 1, 3 * kernel.rows] {
            let line = 2 + (columns - 1) * pitch + length
            let input = Field<Float>(segments * line)
            let panel = Field<Float>(segments * length * width)
            let tile = Field<Float>(kernel.rows * width)
            let bias = Field<Float>(width)
            let output = Field<Float>(4 + columns * outputPitch)
            defer { for field in [input, panel, tile, bias, output] { field.free() } }
            for s in 0..<segments {
                for column in 0..<columns { for c in 0..<length { input.set(s * line + 2 + column * pitch + c, draw()) } }
            }
            for i in 0..<(segments * length * width) { panel.set(i, draw()) }
            for i in 0..<width { bias.set(i, draw()) }
            for i in 0..<(kernel.rows * width) { tile.open(i) }
            for column in 0..<columns { for lane in 0..<used { output.open(4 + column * outputPitch + lane) } }
            // As for a tile, of which only the first pixel's are read.
            let runs = (0..<(segments * tileRows)).map {
                UnsafePointer(input.pointer($0 / tileRows * line + ($0 % tileRows == 0 ? 0 : line)))
            }
            let targets = (0..<tileRows).map { output.pointer($0 == 0 ? 0 : 4 + columns * outputPitch) }
            // Where all taps lie outside, there is one chunk without segments.
            let order: [Int32] = isOutside ? [0] : [2, 0, 1, 1, 2]
            runs.withUnsafeBufferPointer { runs in
                targets.withUnsafeBufferPointer { targets in
                    order.withUnsafeBufferPointer { order in
                        var arguments = TileArguments<Float>(
                            runs: runs.baseAddress!, channelOffset: 2, channelPitch: 1, order: order.baseAddress!,
                            chunks: isOutside ? 1 : 2,
                            segments: segments, length: length, segmentsPerChunk: 2, panel: panel.pointer(0),
                            tile: tile.pointer(0), continues: false, outputs: targets.baseAddress, outputOffset: 4, rows: tileRows,
                            outputPitch: outputPitch, bias: bias.pointer(0), low: -100, high: 90)
                        (arguments.columns, arguments.pixelPitch) = (columns, pitch)
                        arguments.lastMask = (1 << UInt32(lanes - 3)) - 1
                        withUnsafePointer(to: arguments) { kernel.accumulate($0) }
                    }
                }
            }
            var bounded = 0
            for column in 0..<columns {
                for lane in 0..<used {
                    var sum: Float = bias.elements[lane]
                    for s in 0..<(isOutside ? 0 : segments) {
                        for c in 0..<length {
                            let weight = panel.elements[(s * length + c) * width + lane]
                            sum += input.elements[s * line + 2 + column * pitch + c] * weight
                        }
                    }
                    if sum < -100 || sum > 90 { bounded += 1 }
                    #expect(output.elements[4 + column * outputPitch + lane] == min(max(sum, -100), 90), "\(columns) columns")
                }
            }
            #expect(bounded > 0 || isOutside)
            #expect(output.surroundingsAreUntouched && tile.surroundingsAreUntouched)
        }
    }
}

@Suite struct JoinedColumnsTests {
    /// Tiles of a row in one call, for eight channels: two chunks, planes and output channels with gaps.
    @Test(arguments: tiers, [1, 2, 5]) func float32(_ tier: Tier, tiles: Int) {
        let table = tier.float32.pointee
        guard table.joinsColumns else { return }
        let kernel = table.columnTiles[4]
        var numbers = SeededNumbers(seed: tiles)
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        let (rows, length, segments) = (kernel.rows, 5, 3)
        let width = kernel.vectors * table.lanes
        let (plane, outputPitch) = (2 + tiles * width, tiles * width + 3)
        let input = Field<Float>(segments * length * plane)
        let panel = Field<Float>(segments * length * rows)
        let tile = Field<Float>(rows * width)
        let bias = Field<Float>(rows)
        let output = Field<Float>(4 + rows * outputPitch)
        defer { for field in [input, panel, tile, bias, output] { field.free() } }
        for s in 0..<(segments * length) { for column in 0..<(tiles * width) { input.set(s * plane + 2 + column, draw()) } }
        for i in 0..<(segments * length * rows) { panel.set(i, draw()) }
        for i in 0..<rows { bias.set(i, draw()) }
        for i in 0..<(rows * width) { tile.open(i) }
        for row in 0..<rows { for column in 0..<(tiles * width) { output.open(4 + row * outputPitch + column) } }
        let runs = (0..<(segments * kernel.vectors)).map {
            UnsafePointer(input.pointer($0 / kernel.vectors * length * plane + $0 % kernel.vectors * table.lanes))
        }
        let targets = (0..<kernel.vectors).map { output.pointer($0 * table.lanes) }
        runs.withUnsafeBufferPointer { runs in
            targets.withUnsafeBufferPointer { targets in
                var arguments = TileArguments<Float>(
                    runs: runs.baseAddress!, channelOffset: 2, channelPitch: plane, segments: segments, length: length,
                    segmentsPerChunk: 2, panel: panel.pointer(0), tile: tile.pointer(0), continues: false,
                    outputs: targets.baseAddress, outputOffset: 4, rows: rows, outputPitch: outputPitch, bias: bias.pointer(0),
                    low: -100, high: 90)
                (arguments.columns, arguments.pixelPitch) = (tiles, width)
                withUnsafePointer(to: arguments) { kernel.accumulate($0) }
            }
        }
        var bounded = 0
        for row in 0..<rows {
            for column in 0..<(tiles * width) {
                var sum: Float = bias.elements[row]
                for s in 0..<(segments * length) {
                    sum += input.elements[s * plane + 2 + column] * panel.elements[s * rows + row]
                }
                if sum < -100 || sum > 90 { bounded += 1 }
                #expect(output.elements[4 + row * outputPitch + column] == min(max(sum, -100), 90), "\(row), \(column)")
            }
        }
        #expect(bounded > 0)
        #expect(output.surroundingsAreUntouched && tile.surroundingsAreUntouched)
    }
}

@Suite struct TwinKernelTests {
    /// Two tiles of pixels `twin` apart, in one call and with the same weights; some chunks, one vector that is not full.
    @Test(arguments: tiers, [true, false]) func float32(_ tier: Tier, shuffles: Bool) {
        let table = tier.float32.pointee
        guard let accumulate = table.twinTile else { return }
        var numbers = SeededNumbers(seed: 7)
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        let (rows, lanes, length, segments, used) = (table.tiles[0].rows, table.lanes, 5, 3, table.lanes - 3)
        let (spacing, twin, outputTwin, pitch) = (segments * length, 2 + rows * segments * length, 3 + rows * lanes, lanes)
        let input = Field<Float>(2 * twin)
        let panel = Field<Float>(segments * length * lanes)
        let tile = Field<Float>(2 * rows * lanes)
        let bias = Field<Float>(lanes)
        let output = Field<Float>(2 * outputTwin)
        defer { for field in [input, panel, tile, bias, output] { field.free() } }
        for i in 0..<(2 * twin) { input.set(i, draw()) }
        for i in 0..<(segments * length * lanes) { panel.set(i, draw()) }
        for i in 0..<lanes { bias.set(i, draw()) }
        for i in 0..<(2 * rows * lanes) { tile.open(i) }
        for r in 0..<(2 * rows) { for lane in 0..<used { output.open(r / rows * outputTwin + r % rows * pitch + lane) } }
        let runs = (0..<(segments * rows)).map { UnsafePointer(input.pointer($0 % rows * spacing + $0 / rows * length)) }
        let targets = (0..<rows).map { output.pointer($0 * pitch) }
        let order: [Int32] = [2, 0, 1, 1, 2]
        runs.withUnsafeBufferPointer { runs in
            targets.withUnsafeBufferPointer { targets in
                order.withUnsafeBufferPointer { order in
                    var arguments = TileArguments<Float>(
                        runs: runs.baseAddress!, channelOffset: 0, channelPitch: 1, order: order.baseAddress!, chunks: 2,
                        segments: segments, length: length, segmentsPerChunk: 2, panel: panel.pointer(0), tile: tile.pointer(0),
                        continues: false, outputs: targets.baseAddress, outputOffset: 0, rows: rows, outputPitch: outputTwin,
                        bias: bias.pointer(0), low: -100, high: .infinity)
                    arguments.groupPitch = twin
                    arguments.shuffles = shuffles
                    arguments.lastMask = (1 << UInt32(used)) - 1
                    withUnsafePointer(to: arguments) { accumulate($0) }
                }
            }
        }
        for r in 0..<(2 * rows) {
            for lane in 0..<used {
                var sum: Float = bias.elements[lane]
                for c in 0..<(segments * length) {
                    sum += input.elements[r / rows * twin + r % rows * spacing + c] * panel.elements[c * lanes + lane]
                }
                #expect(output.elements[r / rows * outputTwin + r % rows * pitch + lane] == max(sum, -100))
            }
        }
        #expect(output.surroundingsAreUntouched)
    }

    /// Two groups of a vector each: the second's input lies `pitch` after the first's, its weights beside them.
    @Test(arguments: tiers, [true, false]) func pairs(_ tier: Tier, shuffles: Bool) {
        let table = tier.float32.pointee
        guard let kernel = table.pairTile else { return }
        var numbers = SeededNumbers(seed: 8)
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        let (rows, width, length, segments, pitch) = (kernel.rows, 2 * table.lanes, 5, 3, 7)
        let spacing = pitch + length + 2
        let input = Field<Float>(segments * rows * spacing)
        let panel = Field<Float>(segments * length * width)
        let tile = Field<Float>(rows * width)
        defer { for field in [input, panel, tile] { field.free() } }
        for run in 0..<(segments * rows) {
            for c in 0..<length { for group in 0..<2 { input.set(run * spacing + group * pitch + c, draw()) } }
        }
        for i in 0..<(segments * length * width) { panel.set(i, draw()) }
        for i in 0..<(rows * width) { tile.open(i) }
        let runs = (0..<(segments * rows)).map { UnsafePointer(input.pointer($0 * spacing)) }
        let order: [Int32] = [2, 0, 1, 1, 2]
        runs.withUnsafeBufferPointer { runs in
            order.withUnsafeBufferPointer { order in
                var arguments = TileArguments<Float>(
                    runs: runs.baseAddress!, channelOffset: 0, channelPitch: 1, order: order.baseAddress!, chunks: 2,
                    segments: segments, length: length, segmentsPerChunk: 2, panel: panel.pointer(0), tile: tile.pointer(0),
                    continues: false, outputs: nil, outputOffset: 0, rows: rows, outputPitch: 1, bias: panel.pointer(0), low: 0,
                    high: 0)
                arguments.groupPitch = pitch
                arguments.shuffles = shuffles
                withUnsafePointer(to: arguments) { kernel.accumulate($0) }
            }
        }
        for r in 0..<rows {
            for lane in 0..<width {
                var sum: Float = 0
                for s in 0..<segments {
                    for c in 0..<length {
                        sum += input.elements[(s * rows + r) * spacing + lane / table.lanes * pitch + c]
                            * panel.elements[(s * length + c) * width + lane]
                    }
                }
                #expect(tile.elements[r * width + lane] == sum)
            }
        }
        #expect(tile.surroundingsAreUntouched)
    }
}

@Suite struct SweepKernelTests {
    /// Rows and columns of 3x4 taps beyond each border of an image of 6 x `width`, by chunks of `perChunk` kernel rows.
    private func check(
        _ table: KernelTable, _ accumulate: Kernel, vectors: Int, used: Int, width: Int, step: Int, perChunk: Int
    ) {
        var numbers = SeededNumbers(seed: 100 * vectors + width)
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        let (lanes, height, kernelRows, kernelColumns, start) = (table.lanes, 6, 3, 4, -2)
        let outputRows = (height - 2 * start - kernelRows) / step + 1
        let outputColumns = (width - 2 * start - kernelColumns) / step + 1
        // Weights of a vector more, which is not this call's.
        let (channels, panelPitch) = ((vectors - 1) * lanes + used, (vectors + 1) * lanes)
        let (column, outputColumn) = (channels + 1, channels + 2)
        let (row, outputRow) = (width * column + 3, outputColumns * outputColumn + 1)
        let taps = kernelRows * kernelColumns
        let (input, output) = (Field<Float>(height * row), Field<Float>(outputRows * outputRow))
        let (panel, bias) = (Field<Float>(taps * panelPitch), Field<Float>(vectors * lanes))
        let tile = Field<Float>(largestTileScalars)
        defer { for field in [input, output, panel, bias, tile] { field.free() } }
        for y in 0..<height { for x in 0..<width { for c in 0..<channels { input.set(y * row + x * column + c, draw()) } } }
        for t in 0..<taps { for i in 0..<(vectors * lanes) { panel.set(t * panelPitch + i, draw()) } }
        for i in 0..<(vectors * lanes) { bias.set(i, draw()) }
        for i in 0..<largestTileScalars { tile.open(i) }
        for y in 1..<outputRows {
            for x in 0..<outputColumns { for c in 0..<channels { output.open(y * outputRow + x * outputColumn + c) } }
        }
        // Columns that meet no border.
        let firstInner = (step - 1 - start) / step
        let endInner = max(firstInner, (width - kernelColumns - start) / step + 1)
        let arguments = SweepArguments<Float>(
            input: input.pointer(0), inputRow: row, inputColumn: column, output: output.pointer(0), outputRow: outputRow,
            outputColumn: outputColumn,
            rows: SweepAxis(first: 1, end: outputRows, step: step, start: start, taps: kernelRows, input: height),
            columns: SweepAxis(first: 0, end: outputColumns, step: step, start: start, taps: kernelColumns, input: width),
            firstInner: firstInner, endInner: endInner, rowsPerChunk: perChunk, panel: panel.pointer(0), panelPitch: panelPitch,
            bias: bias.pointer(0), low: -100, high: 200, lastMask: used < lanes ? (1 << UInt32(used)) - 1 : .max,
            tile: tile.pointer(0))
        withUnsafePointer(to: arguments) { accumulate($0) }
        for y in 1..<outputRows {
            for x in 0..<outputColumns {
                for c in 0..<channels {
                    var sum = bias.elements[c]
                    for a in 0..<kernelRows {
                        for b in 0..<kernelColumns {
                            let (i, j) = (y * step + start + a, x * step + start + b)
                            if (0..<height).contains(i), (0..<width).contains(j) {
                                sum += input.elements[i * row + j * column + c]
                                    * panel.elements[(a * kernelColumns + b) * panelPitch + c]
                            }
                        }
                    }
                    #expect(output.elements[y * outputRow + x * outputColumn + c] == min(max(sum, -100), 200))
                }
            }
        }
        #expect(output.surroundingsAreUntouched)
        #expect(tile.surroundingsAreUntouched)
    }

    @Test(arguments: tiers) func float32(tier: Tier) {
        let table = tier.float32.pointee
        for (kind, vectors) in [1, 2, 4, 1].enumerated() {
            guard let accumulate = table.sweeps[kind] else { continue }
            for used in table.storesParts ? [table.lanes, 5] : [table.lanes] {
                for width in [1, 2, 4, 7, 9, 12, 15, 17] {
                    for step in 1...3 {
                        for perChunk in 1...3 {
                            check(
                                table, accumulate, vectors: vectors, used: used, width: width, step: step, perChunk: perChunk)
                        }
                    }
                }
            }
        }
    }
}

@Suite struct WalkKernelTests {
    private func check<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type) {
        for (step, kernel) in [(1, table.walk), (2, table.stridedWalk)] {
            guard let kernel else { continue }
            // Kernels, how far the lower row is from the upper, chunks, vectors; the result in the tile or in the output.
            for (kernelRows, kernelColumns, rowStep, perChunk) in [
                (1, 2, 1, 1), (2, 2, 1, 2), (2, 2, 2, 3), (3, 3, 1, 3), (3, 3, 2, 5), (5, 4, 1, 2), (4, 7, 3, 2), (5, 2, 5, 5),
                (2, 8, 2, 1),
            ] {
                for vectors in [1, 3] {
                    for (rows, missing) in [(2, 0), (2, 2), (1, 0), (1, 1), (0, 0)] where rows > 0 || vectors == 1 {
                        var functions = [kernel.accumulate]
                        if (2...3).contains(kernelRows), kernelColumns == kernelRows, rowStep == step, rows > 0,
                            let small = kernel.small[kernelRows - 2] {
                            functions.append(small)
                        }
                        for accumulate in functions {
                            check(
                                table, kernel, step, kernelRows, kernelColumns, rowStep, perChunk, vectors, rows,
                                kernel.columns - missing, Scalar.self, accumulate)
                        }
                    }
                }
            }
        }
    }

    private func check<Scalar: KernelScalar>(
        _ table: KernelTable, _ kernel: WalkKernel, _ step: Int, _ kernelRows: Int, _ kernelColumns: Int, _ rowStep: Int,
        _ perChunk: Int, _ vectors: Int, _ rows: Int, _ columns: Int, _: Scalar.Type,
        _ accumulate: Kernel
    ) {
        var numbers = SeededNumbers(seed: kernelRows * 100 + kernelColumns)
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        let (lanes, channelOffset) = (table.lanes, 2)
        // The last vector begins one channel early; a whole tile is followed by another.
        let lastVector = vectors > 1 ? (vectors - 1) * lanes - 1 : 0
        let channels = lastVector + lanes
        let tiles = rows == 2 && columns == kernel.columns ? 2 : 1
        func packed(_ channel: Int) -> Int { channel < lastVector ? channel : channel - lastVector + (vectors - 1) * lanes }
        let runColumns = (kernel.columns - 1) * step + kernelColumns
        let runCount = (kernelRows + rowStep) * runColumns
        let spacing = channelOffset + channels + 3
        let inputCount = runCount + (tiles - 1) * kernel.columns * step
        let input = Field<Scalar>(inputCount * spacing + 1)
        let runs = (0..<runCount).map { UnsafePointer(input.pointer($0 * spacing + 1)) }
        for run in 0..<inputCount {
            for i in 0..<channels { input.set(run * spacing + 1 + channelOffset + i, draw()) }
        }
        let taps = kernelRows * kernelColumns
        let panel = Field<Scalar>(1 + taps * vectors * lanes + lanes)
        for i in 0..<(taps * vectors * lanes) { panel.set(1 + i, draw()) }
        let bias = Field<Scalar>(vectors * lanes + 2)
        for i in 0..<(vectors * lanes) { bias.set(1 + i, draw()) }
        let tile = Field<Scalar>(2 * kernel.columns * lanes + 2)
        for i in 0..<(2 * kernel.columns * lanes) { tile.open(1 + i) }
        let columnStride = channels + 5
        let rowStride = tiles * kernel.columns * columnStride
        let output = Field<Scalar>(2 * rowStride)
        for row in 0..<rows {
            for r in 0..<(tiles * columns) { for i in 0..<channels { output.open(1 + row * rowStride + r * columnStride + i) } }
        }
        defer { for field in [input, panel, bias, tile, output] { field.free() } }

        func sum(_ row: Int, _ r: Int, _ channel: Int) -> Scalar {
            let place = packed(channel)
            let tileStart = r / kernel.columns * kernel.columns * step * spacing
            var sum: Scalar = 0
            for a in 0..<kernelRows {
                for b in 0..<kernelColumns {
                    let x = runs[(a + row * rowStep) * runColumns + r % kernel.columns * step + b][tileStart + channelOffset
                        + channel]
                    sum += x * panel.elements[1 + (place / lanes * taps + a * kernelColumns + b) * lanes + place % lanes]
                }
            }
            return sum
        }
        let (low, high): (Scalar, Scalar) = (-40, 50)
        runs.withUnsafeBufferPointer { runs in
            var arguments = WalkArguments(
                runs: runs.baseAddress!, channelOffset: channelOffset, kernelRows: kernelRows, kernelColumns: kernelColumns,
                rowStep: rowStep, rowsPerChunk: perChunk, panel: panel.pointer(1), vectors: vectors, lastVector: lastVector,
                tile: tile.pointer(1), upper: rows > 0 ? output.pointer(1) : nil,
                lower: rows > 1 ? output.pointer(1 + rowStride) : nil, columns: columns, columnStride: columnStride,
                bias: bias.pointer(1), low: low, high: high)
            (arguments.tiles, arguments.pixelStep) = (tiles, spacing)
            withUnsafePointer(to: arguments) { accumulate($0) }
        }
        var right = true
        for row in 0..<2 {
            for r in 0..<(rows == 0 ? kernel.columns : tiles * columns) {
                for channel in 0..<channels where rows == 0 || row < rows {
                    let total = sum(row, r, channel)
                    let got = rows == 0
                        ? tile.elements[1 + (row * kernel.columns + r) * lanes + channel]
                        : output.elements[1 + row * rowStride + r * columnStride + channel]
                    if got != (rows == 0 ? total : min(max(total + bias.elements[1 + packed(channel)], low), high)) {
                        right = false
                    }
                }
            }
        }
        let label =
            "\(kernelRows)x\(kernelColumns), step \(step), \(rowStep) rows apart, \(vectors) vectors, \(rows)x\(columns) stored"
        #expect(right, "\(label)")
        #expect(tile.surroundingsAreUntouched && output.surroundingsAreUntouched, "\(label)")
    }

    @Test(arguments: tiers) func float32(_ tier: Tier) { check(tier.float32.pointee, Float.self) }
    @Test(arguments: tiers) func float64(_ tier: Tier) { check(tier.float64.pointee, Double.self) }
}

@Suite struct PairKernelTests {
    private func check<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type) {
        for taps in 2...4 {
            guard let kernel = table.pairWalks[taps - 2] else { continue }
            for vectors in [1, 3] {
                for (tiles, columns) in [(2, kernel.columns), (1, kernel.columns), (1, 3), (1, 1)] {
                    // Tiles that follow each other have no edges.
                    for missing in 0..<(tiles == 1 ? 16 : 1) {
                        var edges = WalkEdges()
                        edges.hasUpper = missing & 1 == 0
                        edges.hasLower = missing & 2 == 0
                        edges.hasFirst = missing & 4 == 0
                        edges.hasLast = missing & 8 == 0
                        check(kernel, table.lanes, taps, vectors, tiles, columns, edges, Scalar.self)
                    }
                }
            }
        }
    }

    private func check<Scalar: KernelScalar>(
        _ kernel: WalkKernel, _ lanes: Int, _ taps: Int, _ vectors: Int, _ tiles: Int, _ columns: Int, _ edges: WalkEdges,
        _: Scalar.Type
    ) {
        var numbers = SeededNumbers(seed: taps * 100 + vectors * 10 + columns)
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        // The last vector begins one channel early.
        let lastVector = vectors > 1 ? (vectors - 1) * lanes - 1 : 0
        let channels = lastVector + lanes
        func packed(_ channel: Int) -> Int { channel < lastVector ? channel : channel - lastVector + (vectors - 1) * lanes }
        let pairs = tiles * columns
        let channelOffset = 2
        let spacing = channelOffset + channels + 3
        // Two rows of input pixels, of which each pair of columns reads two; the addresses of a whole tile, those beyond unread.
        let inputColumns = tiles * kernel.columns + 1
        let input = Field<Scalar>(2 * inputColumns * spacing)
        for row in 0..<2 {
            for column in 0...pairs {
                for i in 0..<channels { input.set((row * inputColumns + column) * spacing + channelOffset + i, draw()) }
            }
        }
        let runs = (0..<2).flatMap { row in
            (0...kernel.columns).map { UnsafePointer(input.pointer((row * inputColumns + $0) * spacing)) }
        }
        let panel = Field<Scalar>(taps * taps * vectors * lanes)
        for i in 0..<(taps * taps * vectors * lanes) { panel.set(i, draw()) }
        let bias = Field<Scalar>(vectors * lanes)
        for i in 0..<(vectors * lanes) { bias.set(i, draw()) }
        let pairPitch = channels + 3
        let columnStride = 2 * pairPitch + 1
        let rowStride = pairs * columnStride
        let output = Field<Scalar>(2 * rowStride)
        let tile = Field<Scalar>(1)
        defer { for field in [input, panel, bias, output, tile] { field.free() } }

        var expected: [(place: Int, value: Scalar)] = []
        for pair in 0..<pairs {
            for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                if i == 0 ? !edges.hasUpper : !edges.hasLower { continue }
                if j == 0 ? pair == 0 && !edges.hasFirst : pair == pairs - 1 && !edges.hasLast { continue }
                for channel in 0..<channels {
                    var sum: Scalar = 0
                    // A transposed convolution of stride 2: kernel element k of input pixel w adds to output pixel 2w + k, here
                    // counted from the pair, which lies `taps` - 2 behind what its first input pixel reaches first.
                    for (w, v) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                        let (a, b) = (taps - 2 + i - 2 * w, taps - 2 + j - 2 * v)
                        guard (0..<taps).contains(a), (0..<taps).contains(b) else { continue }
                        let place = packed(channel)
                        sum += input.elements[(w * inputColumns + pair + v) * spacing + channelOffset + channel]
                            * panel.elements[(place / lanes * taps * taps + a * taps + b) * lanes + place % lanes]
                    }
                    let place = i * rowStride + pair * columnStride + j * pairPitch + channel
                    output.open(place)
                    expected.append((place, min(max(sum + bias.elements[packed(channel)], -40), 50)))
                }
            }
        }
        runs.withUnsafeBufferPointer { runs in
            var arguments = WalkArguments(
                runs: runs.baseAddress!, channelOffset: channelOffset, kernelRows: taps, kernelColumns: taps, rowStep: 1,
                rowsPerChunk: taps, panel: panel.pointer(0), vectors: vectors, lastVector: lastVector, tile: tile.pointer(0),
                upper: output.pointer(0), lower: output.pointer(rowStride), columns: columns, columnStride: columnStride,
                bias: bias.pointer(0), low: -40, high: 50)
            (arguments.tiles, arguments.pixelStep) = (tiles, spacing)
            (arguments.pairPitch, arguments.edges) = (pairPitch, edges)
            withUnsafePointer(to: arguments) { kernel.accumulate($0) }
        }
        let label = "\(taps)x\(taps), \(vectors) vectors, \(tiles) tiles of \(columns), \(edges)"
        #expect(expected.allSatisfy { output.elements[$0.place] == $0.value }, "\(label)")
        #expect(output.surroundingsAreUntouched && tile.surroundingsAreUntouched, "\(label)")
    }

    @Test(arguments: tiers) func float32(_ tier: Tier) { check(tier.float32.pointee, Float.self) }
    @Test(arguments: tiers) func float64(_ tier: Tier) { check(tier.float64.pointee, Double.self) }
}

@Suite struct StencilKernelTests {
    private func check<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type) {
        for (kernelRows, kernelColumns, rowStep, perChunk) in [
            (1, 1, 1, 1), (1, 5, 1, 3), (2, 3, 1, 2), (3, 3, 1, 3), (3, 2, 1, 2), (7, 3, 1, 2), (6, 1, 1, 9), (3, 3, 2, 3),
            (5, 2, 2, 1), (2, 3, 2, 1), (7, 1, 3, 4),
        ] {
            for (finishes, tiles, streaming) in [(false, 1, false), (true, 1, false), (true, 3, false), (true, 2, true)] {
                check(table, table.stencil, kernelRows, kernelColumns, rowStep, perChunk, finishes, tiles, streaming, Scalar.self)
            }
        }
    }

    private func check<Scalar: KernelScalar>(
        _ table: KernelTable, _ kernel: StencilKernel, _ kernelRows: Int, _ kernelColumns: Int, _ rowStep: Int, _ perChunk: Int,
        _ finishes: Bool, _ tiles: Int, _ streaming: Bool, _: Scalar.Type
    ) {
        var numbers = SeededNumbers(seed: kernelRows * 100 + kernelColumns)
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        let width = kernel.vectors * table.lanes
        let column = 2
        let columns = tiles * width
        // Taps anywhere in the row, as where the output's steps deal the input into planes.
        let offsets = (0..<kernelColumns).map { $0 % 2 * (columns + 9) + $0 / 2 }
        let rowPitch = 2 * (columns + 9) + kernelColumns
        let inputRows = kernelRows + 3 * rowStep
        let input = Field<Scalar>(inputRows * rowPitch)
        for row in 0..<inputRows {
            for offset in offsets {
                for x in 0..<columns { input.set(row * rowPitch + offset + column + x, draw()) }
            }
        }
        let weights = Field<Scalar>(kernelRows * kernelColumns + 2)
        for i in 0..<(kernelRows * kernelColumns) { weights.set(1 + i, draw()) }
        let tile = Field<Scalar>(4 * width + 2)
        for i in 0..<(4 * width) { tile.open(1 + i) }
        // Streamed vectors are aligned.
        let bytes = table.lanes * MemoryLayout<Scalar>.stride
        let outputPitch = columns + 2 * table.lanes
        let output = Field<Scalar>(4 * outputPitch + 2 * table.lanes)
        let base = (bytes - (Int(bitPattern: output.pointer(column)) & (bytes - 1))) / MemoryLayout<Scalar>.stride
        for p in 0..<(finishes ? 4 : 0) { for x in 0..<columns { output.open(base + p * outputPitch + column + x) } }
        defer { for field in [input, weights, tile, output] { field.free() } }

        let (low, high, bias): (Scalar, Scalar, Scalar) = (-40, 50, 3)
        let rows = (0..<inputRows).map { UnsafePointer(input.pointer($0 * rowPitch)) }
        let targets = (0..<4).map { output.pointer(base + $0 * outputPitch) }
        rows.withUnsafeBufferPointer { rows in
            targets.withUnsafeBufferPointer { targets in
                offsets.withUnsafeBufferPointer { offsets in
                    var arguments = StencilArguments(
                        filter: StencilFilter(
                            offsets: offsets.baseAddress!, kernelRows: kernelRows, kernelColumns: kernelColumns,
                            rowStep: rowStep, rowsPerChunk: perChunk, weights: weights.pointer(1), bias: bias, low: low,
                            high: high),
                        rows: rows.baseAddress!, tile: tile.pointer(1), outputs: finishes ? targets.baseAddress : nil)
                    (arguments.column, arguments.tiles, arguments.streaming) = (column, tiles, streaming)
                    arguments.lastColumn = column + (tiles - 1) * width
                    withUnsafePointer(to: arguments) { kernel.accumulate($0) }
                }
            }
        }
        var right = true
        for p in 0..<4 {
            for x in 0..<columns {
                var sum: Scalar = 0
                for a in 0..<kernelRows {
                    for b in 0..<kernelColumns {
                        sum += rows[a + p * rowStep][offsets[b] + column + x] * weights.elements[1 + a * kernelColumns + b]
                    }
                }
                let got = finishes ? output.elements[base + p * outputPitch + column + x] : tile.elements[1 + p * width + x]
                if got != (finishes ? min(max(sum + bias, low), high) : sum) { right = false }
            }
        }
        let label = "\(kernelRows)x\(kernelColumns), \(kernel.vectors) vectors, \(tiles) tiles, \(finishes ? "stored" : "kept")"
        #expect(right, "\(label)")
        #expect(tile.surroundingsAreUntouched && output.surroundingsAreUntouched, "\(label)")
    }

    /// Whole channels by narrow tiles, several of them at once where there are as many: of any size, 3x3, 3x3 s2, 2x2.
    private func checkNarrow(_ table: KernelTable, _ kernel: Kernel, size: Int, step: Int, columns: Int, rows: Int) {
        var numbers = SeededNumbers(seed: columns)
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        let (inputRows, inputColumns) = ((rows - 1) * step + size, columns + size + 1)
        // The last tap is not the second's neighbour.
        let offsets = (0..<size).map { $0 < 2 ? $0 : $0 + 1 }
        let (rowPitch, outputPitch) = (inputColumns + 2, columns + 3)
        let input = Field<Float>(inputRows * rowPitch)
        let weights = Field<Float>(size * size)
        let output = Field<Float>(1 + rows * outputPitch)
        defer { for field in [input, weights, output] { field.free() } }
        for row in 0..<inputRows { for x in 0..<inputColumns { input.set(row * rowPitch + x, draw()) } }
        for i in 0..<(size * size) { weights.set(i, draw()) }
        for row in 0..<rows { for x in 0..<columns { output.open(1 + row * outputPitch + x) } }
        let (low, high, bias): (Float, Float, Float) = (-40, 50, 3)
        offsets.withUnsafeBufferPointer { offsets in
            let arguments = NarrowStencilArguments(
                filter: StencilFilter(
                    offsets: offsets.baseAddress!, kernelRows: size, kernelColumns: size, rowStep: step, rowsPerChunk: size,
                    weights: weights.pointer(0), bias: bias, low: low, high: high),
                input: input.pointer(0), rowPitch: rowPitch, output: output.pointer(1), outputPitch: outputPitch,
                tiles: (columns + table.lanes - 1) / table.lanes, lastColumn: columns - table.lanes, tileRows: (rows + 3) / 4,
                lastRow: rows - 4)
            withUnsafePointer(to: arguments) { kernel($0) }
        }
        var right = true
        for row in 0..<rows {
            for x in 0..<columns {
                var sum = bias
                for a in 0..<size {
                    for b in 0..<size {
                        sum += input.elements[(row * step + a) * rowPitch + x + offsets[b]] * weights.elements[a * size + b]
                    }
                }
                if output.elements[1 + row * outputPitch + x] != min(max(sum, low), high) { right = false }
            }
        }
        #expect(right, "\(size)x\(size), step \(step), \(columns) columns")
        #expect(output.surroundingsAreUntouched, "\(size)x\(size), step \(step), \(columns) columns")
    }

    @Test(arguments: tiers) func narrow(_ tier: Tier) {
        let table = tier.float32.pointee
        let lanes = table.lanes
        for columns in [lanes, lanes + 3, 2 * lanes, 3 * lanes - 1, 4 * lanes, 4 * lanes + 1, 5 * lanes, 7 * lanes - 2, 9 * lanes] {
            for rows in [4, 7] {
                checkNarrow(table, table.narrowStencil, size: 3, step: 1, columns: columns, rows: rows)
                for (index, (size, step)) in [(3, 1), (3, 2), (2, 1)].enumerated() {
                    guard let kernel = table.smallStencils[index] else { continue }
                    checkNarrow(table, kernel, size: size, step: step, columns: columns, rows: rows)
                }
            }
        }
    }

    /// Rows of one channel, each element times the weights of its pixel: of all lengths, bounded or not, past the caches where
    /// rows are whole vectors.
    @Test(arguments: tiers) func repeated(_ tier: Tier) {
        let table = tier.float32.pointee
        guard let kernel = table.repeated else { return }
        let lanes = table.lanes
        for columns in [lanes, lanes + 1, 2 * lanes - 1, 3 * lanes, 5 * lanes + 3] {
            for outputs in [1, 2, 3, 5, lanes - 1, lanes, lanes + 1, 3 * lanes, 4 * lanes] {
                for (low, high) in [(-Float.infinity, Float.infinity), (-20, 30), (0, .infinity)] {
                    for streams in columns % lanes == 0 ? [false, true] : [false] {
                        checkRepeated(kernel, lanes, columns: columns, outputs: outputs, low, high, streams: streams)
                    }
                }
            }
        }
    }

    private func checkRepeated(
        _ kernel: Kernel, _ lanes: Int, columns: Int, outputs: Int, _ low: Float, _ high: Float, streams: Bool
    ) {
        var numbers = SeededNumbers(seed: columns * outputs)
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        // Rows and their distances in whole vectors, from the first that is aligned on.
        let (rows, inputPitch, outputPitch) = (3, columns + 2, streams ? columns * outputs + lanes : columns * outputs + 3)
        let input = Field<Float>(rows * inputPitch)
        let weights = Field<Float>(outputs)
        let bias = Field<Float>(outputs)
        let output = Field<Float>(rows * outputPitch + lanes)
        let tables = Field<Float>(3 * outputs * lanes)
        defer { for field in [input, weights, bias, output, tables] { field.free() } }
        let misplaced = Int(bitPattern: output.pointer(0)) / 4 % lanes
        let first = streams ? (lanes - misplaced) % lanes : 1
        for row in 0..<rows {
            for x in 0..<columns { input.set(row * inputPitch + x, draw()) }
            for x in 0..<(columns * outputs) { output.open(first + row * outputPitch + x) }
        }
        for i in 0..<outputs {
            weights.set(i, draw())
            bias.set(i, draw())
        }
        let arguments = RepeatArguments(
            input: input.pointer(0), inputPitch: inputPitch, output: output.pointer(first), outputPitch: outputPitch, rows: rows,
            columns: columns, outputs: outputs, weights: weights.pointer(0), bias: bias.pointer(0), low: low, high: high,
            tables: UnsafeMutableRawPointer(tables.pointer(0)), streams: streams)
        withUnsafePointer(to: arguments) { kernel($0) }
        var right = true
        for row in 0..<rows {
            for x in 0..<columns {
                for i in 0..<outputs {
                    let value = input.elements[row * inputPitch + x] * weights.elements[i] + bias.elements[i]
                    if output.elements[first + row * outputPitch + x * outputs + i] != min(max(value, low), high) { right = false }
                }
            }
        }
        let label = "\(columns) columns, \(outputs) outputs, from \(low) to \(high), \(streams)"
        #expect(right, "\(label)")
        #expect(output.surroundingsAreUntouched, "\(label)")
    }

    @Test(arguments: tiers) func float32(_ tier: Tier) { check(tier.float32.pointee, Float.self) }
    @Test(arguments: tiers) func float64(_ tier: Tier) { check(tier.float64.pointee, Double.self) }
}

@Suite struct SeparationTests {
    private func separated<Scalar: KernelScalar>(_ kernel: [[Scalar]]) -> (u: [Scalar], v: [Scalar])? {
        let (rows, columns) = (kernel.count, kernel[0].count)
        var factors = [Scalar](repeating: .nan, count: rows + columns)
        let flat = kernel.flatMap { $0 }
        guard separate(flat, rows: rows, columns: columns, into: &factors) else { return nil }
        return (Array(factors[..<rows]), Array(factors[rows...]))
    }

    private func outer<Scalar: KernelScalar>(_ u: [Scalar], _ v: [Scalar]) -> [[Scalar]] { u.map { a in v.map { a * $0 } } }

    @Test func wholeNumbersSeparateExactly() throws {
        let kernel: [[Float]] = outer([2, 4, -6, 3, 0], [-3, 2, 0, 2, 7, 1])
        let factors = try #require(separated(kernel))
        #expect(outer(factors.u, factors.v) == kernel)
        // No sum of the first pass is larger than its inputs.
        #expect(factors.v.reduce(0) { $0 + abs($1) } <= 1)
    }

    /// Four thirds of a row have no exact factor; and what is no product has none.
    @Test func wholeNumbersThatWouldRoundDoNot() {
        #expect(separated([[3, 6], [4, 8]] as [[Float]]) == nil)
        #expect(separated([[1, 2], [2, 5]] as [[Float]]) == nil)
    }

    @Test func roundedProductsSeparateNearly() throws {
        let g: [Float] = [0.0276, 0.0663, 0.1238, 0.1802, 0.2042, 0.1802, 0.1238, 0.0663, 0.0276]
        let kernel: [[Float]] = outer(g, g)
        let factors = try #require(separated(kernel))
        for i in 0..<9 {
            for j in 0..<9 {
                let w = Double(kernel[i][j])
                let product = Double(factors.u[i]) * Double(factors.v[j])
                #expect(abs(product - w) <= 0x1p-22 * w)
            }
        }
        var spoilt = kernel
        spoilt[2][7] *= 1 + 0x1p-19
        #expect(separated(spoilt) == nil)
    }

    /// A zero times infinity is NaN: where the product has none, the factors may have none.
    @Test func zerosAndWhatIsNotFinite() {
        #expect(separated([[0, 0], [0, 0]] as [[Float]]) == nil)
        #expect(separated([[1, .infinity], [2, .infinity]] as [[Float]]) == nil)
        #expect(separated([[1, .nan], [2, 2]] as [[Double]]) == nil)
        #expect(separated([[1, 0], [1, 1]] as [[Double]]) == nil)
        #expect(separated([[0, 0.1], [0, 0.3]] as [[Double]])?.v[0] == 0)
    }
}

@Suite struct EpilogueTests {
    private func activations<Scalar: KernelScalar>(_: Scalar.Type) -> [(TileActivation<Scalar>, (Scalar) -> Scalar)] {
        [
            (.none, { $0 }), (.bounded(0, .infinity), { max($0, 0) }), (.bounded(-3, 5), { min(max($0, -3), 5) }),
            (.leaky(0.25), { $0 >= 0 ? $0 : $0 / 4 }),
        ]
    }

    private func check<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type, accumulates: Bool) {
        var numbers = SeededNumbers(seed: table.lanes)
        for vectors in 1...3 {
            let lanes = vectors * table.lanes
            for (activation, function) in activations(Scalar.self) {
                for channels in Set([1, lanes - 1, lanes]) where channels > 0 {
                    for channelStride in [1, 3, -2] {
                        let rows = 3
                        let tile = Field<Scalar>(rows * lanes)
                        let bias = Field<Scalar>(lanes)
                        for i in 0..<(rows * lanes) { tile.set(i, Int.random(in: -9...9, using: &numbers)) }
                        for i in 0..<lanes { bias.set(i, Int.random(in: -9...9, using: &numbers)) }
                        let sums = (0..<(rows * lanes)).map { tile.elements[$0] + bias.elements[$0 % lanes] }

                        // Each row goes to a place of its own.
                        let spacing = abs(channelStride) * lanes + 5
                        let output = Field<Scalar>(rows * spacing)
                        defer { for field in [tile, bias, output] { field.free() } }
                        func place(_ r: Int, _ c: Int) -> Int {
                            r * spacing + 2 + (channelStride > 0 ? c : c - (lanes - 1)) * channelStride
                        }
                        for r in 0..<rows {
                            for c in 0..<channels { output.set(place(r, c), -2) }
                        }
                        let targets = (0..<rows).map { output.pointer(place($0, 0)) }
                        targets.withUnsafeBufferPointer { targets in
                            let arguments = EpilogueArguments(
                                tile: tile.pointer(0), rows: rows, lanes: lanes, channels: channels, bias: bias.pointer(0),
                                outputs: targets.baseAddress!, channelStride: channelStride, activation: activation,
                                accumulates: accumulates)
                            withUnsafePointer(to: arguments) { table.finish($0) }
                        }
                        let label = "\(activation), \(channels) of \(lanes) channels, stride \(channelStride)"
                        var right = true
                        for r in 0..<rows {
                            for c in 0..<channels {
                                if output.elements[place(r, c)] != function(sums[r * lanes + c] + (accumulates ? -2 : 0)) {
                                    right = false
                                }
                            }
                        }
                        #expect(right, "\(label)")
                        #expect(output.surroundingsAreUntouched, "\(label)")
                    }
                }
            }
        }
    }

    @Test(arguments: tiers, [false, true]) func float32(_ tier: Tier, accumulates: Bool) {
        check(tier.float32.pointee, Float.self, accumulates: accumulates)
    }
    @Test(arguments: tiers, [false, true]) func float64(_ tier: Tier, accumulates: Bool) {
        check(tier.float64.pointee, Double.self, accumulates: accumulates)
    }

    private func checkColumns<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type, accumulates: Bool) {
        var numbers = SeededNumbers(seed: table.lanes)
        let (channels, tileVectors, lanes) = (3, 4, table.lanes)
        for (activation, function) in activations(Scalar.self) {
            // The last vector is short; columns together, apart, and from right to left.
            for (vectors, last, columnStride) in [(4, lanes, 1), (3, 1, 1), (2, lanes, 3), (4, 1, -2)] {
                let tile = Field<Scalar>(channels * tileVectors * lanes)
                let bias = Field<Scalar>(channels)
                for i in 0..<(channels * tileVectors * lanes) { tile.set(i, Int.random(in: -9...9, using: &numbers)) }
                for i in 0..<channels { bias.set(i, Int.random(in: -9...9, using: &numbers)) }
                let before = Array(tile.elements)

                let columns = (0..<vectors).map { $0 == vectors - 1 ? last : lanes }
                let vectorSpacing = abs(columnStride) * lanes + 4
                let channelStride = tileVectors * vectorSpacing + 3
                let output = Field<Scalar>(channels * channelStride + 8)
                defer { for field in [tile, bias, output] { field.free() } }
                func place(_ r: Int, _ n: Int, _ x: Int) -> Int {
                    let first = r * channelStride + n * vectorSpacing + 2
                    return first + (columnStride > 0 ? x : x - (lanes - 1)) * columnStride
                }
                for r in 0..<channels {
                    for n in 0..<vectors {
                        for x in 0..<columns[n] { output.set(place(r, n, x), -2) }
                    }
                }
                let targets = (0..<vectors).map { output.pointer(place(0, $0, 0)) }
                targets.withUnsafeBufferPointer { targets in
                    columns.withUnsafeBufferPointer { columns in
                        let arguments = ColumnEpilogueArguments(
                            tile: tile.pointer(0), channels: channels, tileVectors: tileVectors, vectors: vectors,
                            outputs: targets.baseAddress!, columns: columns.baseAddress!, bias: bias.pointer(0),
                            channelStride: channelStride, columnStride: columnStride, activation: activation,
                            accumulates: accumulates)
                        withUnsafePointer(to: arguments) { table.finishColumns($0) }
                    }
                }
                var right = true
                for r in 0..<channels {
                    for n in 0..<vectors {
                        for x in 0..<columns[n] {
                            let expected = function(before[(r * tileVectors + n) * lanes + x] + bias.elements[r]
                                + (accumulates ? -2 : 0))
                            if output.elements[place(r, n, x)] != expected { right = false }
                        }
                    }
                }
                let label = "\(activation), \(vectors) vectors, the last of \(last), column stride \(columnStride)"
                #expect(right, "\(label)")
                #expect(output.surroundingsAreUntouched, "\(label)")
            }
        }
    }

    @Test(arguments: tiers, [false, true]) func columns(_ tier: Tier, accumulates: Bool) {
        checkColumns(tier.float32.pointee, Float.self, accumulates: accumulates)
        checkColumns(tier.float64.pointee, Double.self, accumulates: accumulates)
    }

    /// A comparison with NaN is false, so each activation must let it through.
    @Test(arguments: tiers) func notANumber(_ tier: Tier) {
        let table = tier.float32.pointee
        for activation in [TileActivation<Float>.none, .bounded(0, .infinity), .bounded(-3, 5), .leaky(0.25), .sigmoid, .tanh] {
            let tile = Field<Float>(table.lanes)
            let bias = Field<Float>(table.lanes)
            for i in 1..<table.lanes { tile.set(i, i) }
            for i in 0..<table.lanes { bias.set(i, 1) }
            let output = Field<Float>(table.lanes)
            defer { for field in [tile, bias, output] { field.free() } }
            for i in 0..<table.lanes { output.set(i, 99) }
            var target = output.pointer(0)
            withUnsafePointer(to: &target) { target in
                let arguments = EpilogueArguments(
                    tile: tile.pointer(0), rows: 1, lanes: table.lanes, channels: table.lanes, bias: bias.pointer(0),
                    outputs: target, channelStride: 1, activation: activation, accumulates: false)
                withUnsafePointer(to: arguments) { table.finish($0) }
            }
            #expect(output.elements[0].isNaN && output.elements.dropFirst().allSatisfy { $0 > 0 && $0 < 99 }, "\(activation)")
        }
    }
}

@Suite struct ResamplingTests {
    /// Whole numbers in the data and eighths in the weights: the sums are exact in any order.
    private func filled<Scalar: KernelScalar>(
        _ count: Int, _ numbers: inout SeededNumbers, by divisor: Int = 1, _: Scalar.Type
    ) -> Field<Scalar> {
        let field = Field<Scalar>(count)
        for i in 0..<count { field.pointer(i).pointee = Scalar(Int.random(in: -9...9, using: &numbers)) / Scalar(divisor) }
        return field
    }

    /// Six rows, of which two neighbours are the same: together and, behind them, one by one.
    private func columns<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type) {
        var numbers = SeededNumbers(seed: table.lanes)
        let lanes = table.lanes
        let vectors = 3
        let rows = [0, 1, 2, 2, 3, 4]
        for (taps, wide) in [1, 2, 4, 5].flatMap({ taps in [0, 1, 2, 4].map { (taps, $0) } }) {
            let permutes = wide > 0
            if permutes, table.permutedColumns == nil || taps == 5 && wide == 1 { continue }
            let window = wide * lanes
            let length = permutes ? 4 * lanes + 3 : 100
            let input = filled(5 * length, &numbers, Scalar.self)
            let weights = filled(vectors * taps * lanes, &numbers, by: 8, Scalar.self)
            defer { for field in [input, weights] { field.free() } }
            // The elements; and for permuted, the first of the window that holds them and the places in it. The last vector has
            // the places and weights of the first one.
            let sources = (0..<vectors * taps * lanes).map { _ in Int.random(in: 0..<length, using: &numbers) }
            let first = (0..<vectors).map { _ in Int.random(in: 0...length - window, using: &numbers) }
            let places = sources.indices.map { _ in Int.random(in: 0..<max(window, 1), using: &numbers) }
            let entries = (0..<vectors).map { permutes && $0 == vectors - 1 ? 0 : $0 * taps * lanes }
            let windows = (0..<vectors).flatMap { [first[$0], entries[$0] * MemoryLayout<Scalar>.stride] }
            let ints = places.map { Int32($0 % (2 * lanes)) + ($0 < 2 * lanes ? 0 : Int32.min) }
            let longs = places.map { Int64($0 % (2 * lanes)) + ($0 < 2 * lanes ? 0 : Int64.min) }
            // The last vector ends with the row; a row shorter than a vector has room for one.
            for (elements, copies, streaming) in [
                (3 * lanes, false, false), (3 * lanes - 1, false, false), (2 * lanes + 1, false, false),
                (lanes - 1, false, false), (3 * lanes, true, false), (2 * lanes + 1, true, false), (3 * lanes, true, true),
                (3 * lanes, false, true),
            ] where !copies || taps == 1 && wide < 4 {
                let written = max(elements, lanes)
                let pitch = (vectors + 2) * lanes
                let output = Field<Scalar>(rows.count * pitch)
                defer { output.free() }
                // Streamed vectors must be aligned.
                let skew = streaming ? alignedPlace(output, lanes) : 1
                for row in rows.indices { for i in 0..<written { output.open(row * pitch + skew + i) } }
                let inputs = rows.map { UnsafePointer(input.pointer($0 * length)) }
                let outputs = rows.indices.map { output.pointer($0 * pitch + skew) }
                (permutes ? windows : sources).withUnsafeBufferPointer { sources in
                    ints.withUnsafeBytes { ints in
                        longs.withUnsafeBytes { longs in
                            inputs.withUnsafeBufferPointer { inputs in
                                outputs.withUnsafeBufferPointer { outputs in
                                    let arguments = ResampleColumnsArguments(
                                        inputs: inputs.baseAddress!, outputs: outputs.baseAddress!, rows: rows.count,
                                        elements: elements, taps: taps, weights: copies ? nil
                                        : UnsafePointer(weights.pointer(0)), sources: sources.baseAddress!,
                                        places: (MemoryLayout<Scalar>.stride == 4 ? ints : longs).baseAddress!, window: wide,
                                        streaming: streaming)
                                    withUnsafePointer(to: arguments) {
                                        (permutes ? table.permutedColumns! : table.gatheredColumns)($0)
                                    }
                                }
                            }
                        }
                    }
                }
                for (row, source) in rows.enumerated() {
                    // Which lane of which vector ends up in an element: of two that overlap, the later one's.
                    let expected = (0..<written).map { i in
                        let last = (elements + lanes - 1) / lanes - 1
                        let begin = max(elements - lanes, 0)
                        let (vector, lane) = i >= begin ? (last, i - begin) : (i / lanes, i % lanes)
                        return (0..<taps).reduce(Scalar(0)) { sum, k in
                            let at = entries[vector] + k * lanes + lane
                            let element = permutes ? first[vector] + places[at] : sources[at]
                            return sum + (copies ? 1 : weights.elements[at]) * input.elements[source * length + element]
                        }
                    }
                    let begin = row * pitch + skew
                    #expect(
                        Array(output.elements[begin..<begin + written]) == expected,
                        "\(elements) elements, \(taps) taps, windows of \(wide), copied: \(copies), row \(row)")
                }
                #expect(output.surroundingsAreUntouched)
            }
        }
    }

    private func pixels<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type) {
        var numbers = SeededNumbers(seed: table.lanes)
        let pixels = [2, 0, 1, 1, 3, 3]
        for channels in [1, table.lanes - 1, table.lanes, 2 * table.lanes + 1, 5 * table.lanes] {
            for (columns, taps) in [(6, 1), (3, 2), (2, 3)] {
                // Pixels narrower than a vector: a vector behind the last may be touched.
                let spare = channels < table.lanes ? table.lanes : 0
                let input = filled(4 * channels + spare, &numbers, Scalar.self)
                let weights = filled(columns * taps, &numbers, by: 8, Scalar.self)
                defer { for field in [input, weights] { field.free() } }
                for (copies, streaming) in [(false, false), (true, false), (false, true), (true, true)]
                where (!copies || taps == 1) && (!streaming || channels % table.lanes == 0) {
                    let output = Field<Scalar>(columns * channels + spare + 2 * table.lanes)
                    defer { output.free() }
                    let begin = streaming ? alignedPlace(output, table.lanes) : 1
                    for i in begin..<begin + columns * channels + spare { output.open(i) }
                    pixels.withUnsafeBufferPointer { pixels in
                        let arguments = ResamplePixelsArguments(
                            input: input.pointer(0), output: output.pointer(begin), columns: columns, channels: channels,
                            taps: taps, weights: copies ? nil : UnsafePointer(weights.pointer(0)), pixels: pixels.baseAddress!,
                            streaming: streaming, ahead: channels)
                        withUnsafePointer(to: arguments) { table.resampledPixels($0) }
                    }
                    let expected = (0..<columns * channels).map { i in
                        (0..<taps).reduce(Scalar(0)) { sum, k in
                            let tap = i / channels * taps + k
                            return sum + (copies ? 1 : weights.elements[tap])
                                * input.elements[pixels[tap] * channels + i % channels]
                        }
                    }
                    #expect(
                        Array(output.elements[begin..<begin + columns * channels]) == expected,
                        "\(channels) channels, \(taps) taps, copied: \(copies), streaming: \(streaming)")
                    #expect(output.surroundingsAreUntouched)
                }
            }
        }
    }

    /// The first place in a field that a vector may be streamed to.
    private func alignedPlace<Scalar>(_ field: Field<Scalar>, _ lanes: Int) -> Int {
        (lanes - Int(bitPattern: field.pointer(0)) / MemoryLayout<Scalar>.stride % lanes) % lanes
    }

    private func blends<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type) {
        var numbers = SeededNumbers(seed: table.lanes)
        let pixels = [2, 0, 1, 1, 3, 3]
        let columns = 3
        for channels in [table.lanes, 2 * table.lanes + 1, 3 * table.lanes - 1, 5 * table.lanes] {
            let (upper, lower) = (filled(4 * channels, &numbers, Scalar.self), filled(4 * channels, &numbers, Scalar.self))
            let (weights, rowWeights) = (filled(2 * columns, &numbers, by: 8, Scalar.self),
                filled(2, &numbers, by: 8, Scalar.self))
            defer { for field in [upper, lower, weights, rowWeights] { field.free() } }
            for streaming in [false, true] where !streaming || channels % table.lanes == 0 {
                let output = Field<Scalar>(columns * channels + 2 * table.lanes)
                defer { output.free() }
                let begin = streaming ? alignedPlace(output, table.lanes) : 1
                for i in begin..<begin + columns * channels { output.open(i) }
                pixels.withUnsafeBufferPointer { pixels in
                    let arguments = BlendPixelsArguments(
                        upper: upper.pointer(0), lower: lower.pointer(0), upperWeight: rowWeights.elements[0],
                        lowerWeight: rowWeights.elements[1], output: output.pointer(begin), columns: columns, channels: channels,
                        weights: weights.pointer(0), pixels: pixels.baseAddress!, streaming: streaming, ahead: channels)
                    withUnsafePointer(to: arguments) { table.blendedPixels($0) }
                }
                let expected = (0..<columns * channels).map { i in
                    [upper, lower].enumerated().reduce(Scalar(0)) { sum, row in
                        (0..<2).reduce(sum) { sum, k in
                            let tap = 2 * (i / channels) + k
                            let weight = rowWeights.elements[row.offset] * weights.elements[tap]
                            return sum + weight * row.element.elements[pixels[tap] * channels + i % channels]
                        }
                    }
                }
                #expect(
                    Array(output.elements[begin..<begin + columns * channels]) == expected,
                    "\(channels) channels, streaming: \(streaming)")
                #expect(output.surroundingsAreUntouched)
            }
        }
    }

    /// Two output rows, the second out of the first one's rows in reverse order.
    private func rows<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type) {
        var numbers = SeededNumbers(seed: table.lanes)
        for elements in [table.lanes, table.lanes + 1, 3 * table.lanes, 11 * table.lanes - 1] {
            for taps in [1, 2, 4, 5] {
                let rows = (0..<taps).map { _ in filled(elements, &numbers, Scalar.self) }
                let weights = filled(2 * taps, &numbers, by: 8, Scalar.self)
                defer { for field in rows + [weights] { field.free() } }
                let addresses = (rows + rows.reversed()).map { UnsafePointer($0.pointer(0)) }
                let pitch = elements + 3
                // Every alignment that an output row may have, stored through the caches and past them.
                for (offset, streaming) in (0..<table.lanes).flatMap({ [($0, false), ($0, true)] }) {
                    for copies in [false, true] where !copies || taps == 1 {
                        let output = Field<Scalar>(offset + pitch + elements + table.lanes)
                        defer { output.free() }
                        for row in 0..<2 { for i in 0..<elements { output.open(offset + row * pitch + i) } }
                        addresses.withUnsafeBufferPointer { addresses in
                            let arguments = BlendRowsArguments(
                                count: 2, rows: addresses.baseAddress!, weights: copies ? nil : UnsafePointer(weights.pointer(0)),
                                taps: taps, output: output.pointer(offset), pitch: pitch, elements: elements,
                                streaming: streaming)
                            withUnsafePointer(to: arguments) { table.blendedRows($0) }
                        }
                        for row in 0..<2 {
                            let expected = (0..<elements).map { i in
                                (0..<taps).reduce(Scalar(0)) {
                                    $0 + (copies ? 1 : weights.elements[row * taps + $1]) * addresses[row * taps + $1][i]
                                }
                            }
                            let begin = offset + row * pitch
                            #expect(
                                Array(output.elements[begin..<begin + elements]) == expected,
                                "\(elements) elements, \(taps) taps, offset \(offset), row \(row)")
                        }
                        #expect(output.surroundingsAreUntouched)
                    }
                }
            }
        }
    }

    /// Two output rows made of runs that lie apart in the input and overlap in the output.
    private func runs<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type) {
        guard let kernel = table.blendedRuns else { return }
        var numbers = SeededNumbers(seed: table.lanes)
        let (kept, apart, count) = (table.lanes - 1, table.lanes + 5, 6)
        let size = MemoryLayout<Scalar>.stride
        let places = (0..<count).flatMap { [$0 * apart * size, $0 * kept * size] }
        for taps in [1, 2, 4, 5] {
            let rows = (0..<taps).map { _ in filled((count - 1) * apart + table.lanes, &numbers, Scalar.self) }
            let weights = filled(2 * taps, &numbers, by: 8, Scalar.self)
            let pitch = count * kept + 1
            let output = Field<Scalar>(2 * pitch)
            defer { for field in rows + [weights, output] { field.free() } }
            for row in 0..<2 { for i in 0...count * kept { output.open(row * pitch + i) } }
            let addresses = (rows + rows.reversed()).map { UnsafePointer($0.pointer(0)) }
            addresses.withUnsafeBufferPointer { addresses in
                places.withUnsafeBufferPointer { places in
                    let arguments = BlendRowsArguments(
                        count: 2, rows: addresses.baseAddress!, weights: UnsafePointer(weights.pointer(0)), taps: taps,
                        output: output.pointer(0), pitch: pitch, elements: 0, streaming: false, runs: places.baseAddress!,
                        runCount: count)
                    withUnsafePointer(to: arguments) { kernel($0) }
                }
            }
            for row in 0..<2 {
                let expected = (0..<count * kept).map { i in
                    (0..<taps).reduce(Scalar(0)) {
                        $0 + weights.elements[row * taps + $1] * addresses[row * taps + $1][i / kept * apart + i % kept]
                    }
                }
                #expect(Array(output.elements[row * pitch..<row * pitch + count * kept]) == expected, "\(taps) taps, row \(row)")
            }
            #expect(output.surroundingsAreUntouched)
        }
    }

    @Test(arguments: tiers) func runs(_ tier: Tier) {
        runs(tier.float32.pointee, Float.self)
        runs(tier.float64.pointee, Double.self)
    }

    @Test(arguments: tiers) func columns(_ tier: Tier) {
        columns(tier.float32.pointee, Float.self)
        columns(tier.float64.pointee, Double.self)
    }

    @Test(arguments: tiers) func pixels(_ tier: Tier) {
        pixels(tier.float32.pointee, Float.self)
        pixels(tier.float64.pointee, Double.self)
    }

    @Test(arguments: tiers) func blends(_ tier: Tier) {
        blends(tier.float32.pointee, Float.self)
        blends(tier.float64.pointee, Double.self)
    }

    @Test(arguments: tiers) func rows(_ tier: Tier) {
        rows(tier.float32.pointee, Float.self)
        rows(tier.float64.pointee, Double.self)
    }
}

extension Tier {
    fileprivate func elements<Scalar: KernelScalar>(of _: Scalar.Type) -> ElementType {
        let bytes = MemoryLayout<Scalar>.stride
        return ElementType(bytes == 8 ? float64 : float32, bytes: bytes)
    }
}

@Suite struct PackingTests {
    /// An image [channel][row][column] of 2 x 4 x 5 whose rows 1 ... 2 and columns 1 and 3 are numbers.
    private func image() -> Field<Float> {
        let image = Field<Float>(2 * 4 * 5)
        for channel in 0..<2 {
            for row in 1...2 {
                for column in [1, 3] { image.set((channel * 4 + row) * 5 + column, 100 * channel + 10 * row + column) }
            }
        }
        return image
    }

    @Test func pixels() {
        let (image, packed) = (image(), Field<Float>(10))
        defer { for field in [image, packed] { field.free() } }
        for i in 1..<9 { packed.set(i, 99) }
        for row in 0..<2 {
            tiers[0].elements(of: Float.self).packPixels(
                from: image.pointer(5 + 3 + row * 5), columnStride: -2, channelStride: 20, columns: 2, channels: 2, pixelPitch: 2,
                to: packed.pointer(1 + row * 4))
        }
        #expect(Array(packed.elements[1..<9]) == [13, 113, 11, 111, 23, 123, 21, 121])
        #expect(packed.surroundingsAreUntouched)
    }

    /// Neighbouring channels, with gaps between the pixels on both sides.
    @Test func pixelsOfNeighbours() {
        let (source, packed) = (Field<Float>(16), Field<Float>(20))
        defer { for field in [source, packed] { field.free() } }
        for pixel in 0..<4 {
            for channel in 0..<2 {
                source.set(1 + pixel / 2 * 8 + pixel % 2 * 3 + channel, 10 * pixel + channel)
                packed.set(1 + pixel * 5 + channel, 99)
            }
        }
        for row in 0..<2 {
            tiers[0].elements(of: Float.self).packPixels(
                from: source.pointer(1 + row * 8), columnStride: 3, channelStride: 1, columns: 2, channels: 2, pixelPitch: 5,
                to: packed.pointer(1 + row * 10))
        }
        let firsts = (0..<4).map { packed.elements[1 + 5 * $0] }
        let seconds = (0..<4).map { packed.elements[2 + 5 * $0] }
        #expect(firsts == [0, 10, 20, 30] && seconds == [1, 11, 21, 31])
        #expect(packed.surroundingsAreUntouched)
    }

    /// Lines of `rows` rows of three channels, by a tier's vectors or not, to and from places that are not aligned.
    @Test(arguments: [15, 16, 17, 31, 33, 63, 64, 100, 127, 128, 129], tiers) func lines(_ columns: Int, _ tier: Tier) {
        func check<Scalar: KernelScalar>(rows: Int, channels: Int, _: Scalar.Type) {
            let (row, rowPitch) = (columns + 2, columns + 5)
            let (count, pitch) = (rows * channels, rows * rowPitch + 1)
            let (source, packed) = (Field<Scalar>(1 + count * row), Field<Scalar>(3 + channels * pitch + 4))
            defer { for field in [source, packed] { field.free() } }
            func place(_ line: Int) -> Int { 3 + line / rows * pitch + line % rows * rowPitch }
            for line in 0..<count {
                for x in 0..<columns {
                    source.set(1 + line * row + x, line * 1000 + x)
                    packed.open(place(line) + x)
                }
            }
            tier.elements(of: Scalar.self).packLines(
                from: source.pointer(1), rowStride: row, columnStride: 1, channelStride: rows * row, rows: rows, columns: columns,
                channels: channels, rowPitch: rowPitch, pitch: pitch, to: packed.pointer(3))
            let wrong = (0..<count).contains { line in
                (0..<columns).contains { packed.elements[place(line) + $0] != Scalar(line * 1000 + $0) }
            }
            #expect(!wrong && packed.surroundingsAreUntouched, "\(rows) rows, \(channels) channels")
        }
        for (rows, channels) in [(1, 1), (1, 3), (4, 3), (9, 1)] {
            check(rows: rows, channels: channels, Float.self)
            check(rows: rows, channels: channels, Double.self)
        }
    }

    /// Planes turned into pixels in squares of four, or by blocks of more planes, the last of which begin early; of every other
    /// column, and of every third.
    @Test(
        arguments: [
            (4, 4, 1), (7, 21, 1), (18, 3, 1), (1, 5, 1), (4, 4, 2), (9, 22, 2), (6, 19, 3), (8, 4, 1), (9, 39, 1), (4, 2, 1),
            (21, 5, 1), (16, 32, 1),
        ], tiers)
    func pixelsOfPlanes(_ size: (channels: Int, columns: Int, step: Int), _ tier: Tier) {
        let (channels, columns, step) = size
        func check<Scalar: KernelScalar>(_: Scalar.Type) {
            let (plane, pitch) = ((columns - 1) * step + 3, channels + 3)
            let source = Field<Scalar>((channels - 1) * plane + (columns - 1) * step + 1)
            let packed = Field<Scalar>(columns * pitch)
            defer { for field in [source, packed] { field.free() } }
            for channel in 0..<channels {
                for column in 0..<columns {
                    source.set(channel * plane + column * step, 100 * channel + column)
                    packed.open(column * pitch + channel)
                }
            }
            tier.elements(of: Scalar.self).packPixels(
                from: source.pointer(0), columnStride: step, channelStride: plane, columns: columns, channels: channels,
                pixelPitch: pitch, to: packed.pointer(0))
            for channel in 0..<channels {
                for column in 0..<columns { #expect(packed.elements[column * pitch + channel] == Scalar(100 * channel + column)) }
            }
            #expect(packed.surroundingsAreUntouched)
        }
        check(Float.self)
        check(Double.self)
    }

    @Test(arguments: [1, 2, 3, -2], [3, 4, 9])
    func line(_ stride: Int, _ count: Int) {
        let first = stride > 0 ? 0 : -stride * (count - 1)
        let (source, packed) = (Field<Float>(abs(stride) * (count - 1) + 1), Field<Float>(count))
        defer { for field in [source, packed] { field.free() } }
        for i in 0..<count {
            source.set(first + i * stride, i + 1)
            packed.set(i, 99)
        }
        packLine(from: source.pointer(first), stride: stride, count: count, to: packed.pointer(0))
        #expect(Array(packed.elements[0..<count]) == (1...count).map { Float($0) })
        #expect(packed.surroundingsAreUntouched)
    }

    /// Turned in squares of four, or by blocks, with a rest in both directions; along lines; and neither.
    @Test(
        arguments: [(7, 1, 6, 5), (1, 9, 9, 6), (1, 200, 150, 2), (3, 20, 4, 3), (6, 1, 4, 4), (8, 1, 13, 6), (20, 1, 40, 18)],
        tiers)
    func lines(_ size: (columnStride: Int, channelStride: Int, columns: Int, channels: Int), _ tier: Tier) {
        let (columnStride, channelStride, columns, channels) = size
        func check<Scalar: KernelScalar>(_: Scalar.Type) {
            let (rowPitch, rowStride) = (columns + 3, (columns - 1) * columnStride + (channels - 1) * channelStride + 2)
            let pitch = 2 * rowPitch + 1
            let source = Field<Scalar>(2 * rowStride)
            let packed = Field<Scalar>(channels * pitch + 1)
            defer { for field in [source, packed] { field.free() } }
            func forEach(_ body: (_ from: Int, _ to: Int, _ value: Int) -> Void) {
                for row in 0..<2 {
                    for channel in 0..<channels {
                        for column in 0..<columns {
                            body(
                                row * rowStride + channel * channelStride + column * columnStride,
                                1 + channel * pitch + row * rowPitch + column, 10_000 * row + 1000 * channel + column)
                        }
                    }
                }
            }
            forEach { from, to, value in
                source.set(from, value)
                packed.open(to)
            }
            tier.elements(of: Scalar.self).packLines(
                from: source.pointer(0), rowStride: rowStride, columnStride: columnStride, channelStride: channelStride, rows: 2,
                columns: columns, channels: channels, rowPitch: rowPitch, pitch: pitch, to: packed.pointer(1))
            forEach { _, to, value in #expect(packed.elements[to] == Scalar(value)) }
            #expect(packed.surroundingsAreUntouched)
        }
        check(Float.self)
        check(Double.self)
    }
}

@Suite struct ShiftedSumTests {
    private func check<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type) {
        var numbers = SeededNumbers(seed: table.lanes)
        for (rows, columns, channels, vectors) in [(1, 1, 1, 1), (2, 3, 2, 5), (3, 1, 1, 9), (0, 2, 2, 2), (1, 4, 3, 7)] {
            let width = vectors * table.lanes
            let pitch = width + 3
            let products = Field<Scalar>(rows * columns * channels * pitch + columns + 1)
            let sums = Field<Scalar>(channels * width + 2)
            defer { for field in [products, sums] { field.free() } }
            // Element (row, column) lies at an odd place of its own.
            var sources: [UnsafePointer<Scalar>] = []
            for index in 0..<rows * columns {
                let first = index * channels * pitch + index % max(columns, 1)
                sources.append(UnsafePointer(products.pointer(first)))
                for channel in 0..<channels {
                    for x in 0..<width { products.set(first + channel * pitch + x, Int.random(in: -99...99, using: &numbers)) }
                }
            }
            for i in 0..<channels * width { sums.open(1 + i) }
            sources.append(UnsafePointer(products.pointer(0)))
            sources.withUnsafeBufferPointer { sources in
                let arguments = ShiftedSumArguments(
                    sources: sources.baseAddress!, rows: rows, columns: columns, channels: channels, channelPitch: pitch,
                    vectors: vectors, sums: sums.pointer(1))
                withUnsafePointer(to: arguments) { table.shiftedSums($0) }
            }
            for channel in 0..<channels {
                for x in 0..<width {
                    var want: Scalar = 0
                    for index in 0..<rows * columns { want += sources[index][channel * pitch + x] }
                    #expect(sums.elements[1 + channel * width + x] == want)
                }
            }
            #expect(sums.surroundingsAreUntouched)
        }
    }

    @Test(arguments: tiers) func float32(_ tier: Tier) { check(tier.float32.pointee, Float.self) }
    @Test(arguments: tiers) func float64(_ tier: Tier) { check(tier.float64.pointee, Double.self) }
}
