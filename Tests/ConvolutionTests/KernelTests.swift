import ConvolutionKernels
import Testing

@testable import Convolution

// Every kernel of every tier that this processor runs, against plain loops. All memory around what a kernel may read holds NaN, which
// would spread into the result; all memory around what it may write holds a mark that must survive.

/// The kernels of one element type.
private protocol TestedScalar: KernelScalar {
    static func kernels(_ tier: Tier) -> KernelTable
}
extension Float: TestedScalar {
    static func kernels(_ tier: Tier) -> KernelTable { tier.float32 }
}
extension Double: TestedScalar {
    static func kernels(_ tier: Tier) -> KernelTable { tier.float64 }
}

private let tiers = (0..<Tier.count).compactMap { Tier(rawValue: $0) }.filter { $0.isSupported }

/// Memory that is NaN but for the elements that a test sets.
private final class Field<Scalar: KernelScalar> {
    let elements: UnsafeMutableBufferPointer<Scalar>
    private var written = Set<Int>()

    init(_ count: Int) {
        elements = .allocate(capacity: count)
        elements.initialize(repeating: .nan)
    }

    deinit { elements.deallocate() }

    func pointer(_ offset: Int) -> UnsafeMutablePointer<Scalar> { elements.baseAddress! + offset }

    func set(_ index: Int, _ value: Int) {
        elements[index] = Scalar(value)
        written.insert(index)
    }

    /// Whether everything else is still NaN.
    var surroundingsAreUntouched: Bool {
        elements.indices.allSatisfy { written.contains($0) || elements[$0].isNaN }
    }
}

@Suite struct TileKernelTests {
    private func check<Scalar: TestedScalar>(_ tier: Tier, _: Scalar.Type) {
        let table = Scalar.kernels(tier)
        var numbers = SeededNumbers(seed: Int(tier.rawValue))
        func draw() -> Int { Int.random(in: -9...9, using: &numbers) }
        for index in 0..<4 {
            let kernel = table.tiles[index]
            let lanes = kernel.vectors * table.lanes
            #expect(kernel.rows >= 1 && kernel.rows <= largestTileRows && kernel.rows * lanes <= largestTileScalars)
            #expect(kernel.vectors == min(index + 1, table.widestTile))
            for (segments, length, perChunk) in [(1, 1, 1), (5, 3, 2), (4, 7, 4), (3, 1, 100), (9, 2, 1), (2, 0, 1)] {
                let channelOffset = 2
                let spacing = channelOffset + length + 3
                let input = Field<Scalar>(segments * kernel.rows * spacing + 1)
                let panel = Field<Scalar>(1 + segments * length * lanes + lanes)
                let tile = Field<Scalar>(1 + kernel.rows * lanes + lanes)
                var runs: [UnsafePointer<Scalar>] = []
                for run in 0..<(segments * kernel.rows) {
                    runs.append(UnsafePointer(input.pointer(run * spacing + 1)))
                    for c in 0..<length { input.set(run * spacing + 1 + channelOffset + c, draw()) }
                }
                for i in 0..<(segments * length * lanes) { panel.set(1 + i, draw()) }
                for i in 0..<(kernel.rows * lanes) { tile.set(1 + i, draw()) }

                var expected: [Scalar] = []
                for r in 0..<kernel.rows {
                    for lane in 0..<lanes {
                        var sum = tile.elements[1 + r * lanes + lane]
                        for s in 0..<segments {
                            for c in 0..<length {
                                sum += runs[s * kernel.rows + r][channelOffset + c] * panel.elements[1 + (s * length + c) * lanes + lane]
                            }
                        }
                        expected.append(sum)
                    }
                }
                runs.withUnsafeBufferPointer { runs in
                    let arguments = TileArguments(
                        runs: runs.baseAddress!, channelOffset: channelOffset, segments: segments, length: length,
                        segmentsPerChunk: perChunk, panel: panel.pointer(1), tile: tile.pointer(1))
                    withUnsafePointer(to: arguments) { kernel.accumulate($0) }
                }
                let label = "\(tier) \(Scalar.self) \(kernel.rows)x\(kernel.vectors), \(segments) segments of \(length)"
                #expect(Array(tile.elements[1..<(1 + kernel.rows * lanes)]) == expected, "\(label)")
                #expect(tile.surroundingsAreUntouched, "\(label)")
            }
        }
    }

    @Test(arguments: tiers) func float32(_ tier: Tier) { check(tier, Float.self) }
    @Test(arguments: tiers) func float64(_ tier: Tier) { check(tier, Double.self) }
}

@Suite struct EpilogueTests {
    private func check<Scalar: TestedScalar>(_ tier: Tier, _: Scalar.Type) {
        let table = Scalar.kernels(tier)
        var numbers = SeededNumbers(seed: Int(tier.rawValue))
        let activations: [(TileActivation<Scalar>, (Scalar) -> Scalar)] = [
            (.none, { $0 }), (.relu, { max($0, 0) }), (.clamp(-3, 5), { min(max($0, -3), 5) }), (.leaky(0.25), { $0 >= 0 ? $0 : $0 / 4 }),
        ]
        for vectors in 1...3 {
            let lanes = vectors * table.lanes
            for (activation, function) in activations {
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
                        func place(_ r: Int, _ c: Int) -> Int {
                            r * spacing + 2 + (channelStride > 0 ? 0 : (lanes - 1) * -channelStride) + c * channelStride
                        }
                        for r in 0..<rows {
                            for c in 0..<channels { output.set(place(r, c), 99) }
                        }
                        let targets = (0..<rows).map { output.pointer(place($0, 0)) }
                        targets.withUnsafeBufferPointer { targets in
                            let arguments = EpilogueArguments(
                                tile: tile.pointer(0), rows: rows, lanes: lanes, channels: channels, bias: bias.pointer(0),
                                outputs: targets.baseAddress!, channelStride: channelStride, activation: activation)
                            withUnsafePointer(to: arguments) { table.finish($0) }
                        }
                        let label = "\(tier) \(Scalar.self) \(activation), \(channels) of \(lanes) channels, stride \(channelStride)"
                        var right = true
                        for r in 0..<rows {
                            for c in 0..<channels where output.elements[place(r, c)] != function(sums[r * lanes + c]) { right = false }
                        }
                        #expect(right, "\(label)")
                        #expect(output.surroundingsAreUntouched, "\(label)")
                    }
                }
            }
        }
    }

    @Test(arguments: tiers) func float32(_ tier: Tier) { check(tier, Float.self) }
    @Test(arguments: tiers) func float64(_ tier: Tier) { check(tier, Double.self) }

    /// A comparison with NaN is false, so each activation must let it through.
    @Test(arguments: tiers) func notANumber(_ tier: Tier) {
        let table = tier.float32
        for activation in [TileActivation<Float>.none, .relu, .clamp(-3, 5), .leaky(0.25), .sigmoid, .tanh] {
            let tile = Field<Float>(table.lanes)
            let bias = Field<Float>(table.lanes)
            for i in 1..<table.lanes { tile.set(i, i) }
            for i in 0..<table.lanes { bias.set(i, 1) }
            let output = Field<Float>(table.lanes)
            for i in 0..<table.lanes { output.set(i, 99) }
            var target = output.pointer(0)
            withUnsafePointer(to: &target) { target in
                let arguments = EpilogueArguments(
                    tile: tile.pointer(0), rows: 1, lanes: table.lanes, channels: table.lanes, bias: bias.pointer(0), outputs: target,
                    channelStride: 1, activation: activation)
                withUnsafePointer(to: arguments) { table.finish($0) }
            }
            #expect(output.elements[0].isNaN && output.elements.dropFirst().allSatisfy { $0 > 0 && $0 < 99 }, "\(activation)")
        }
    }
}

@Suite struct ResamplingRowTests {
    private func check<Scalar: TestedScalar>(_ tier: Tier, _: Scalar.Type) {
        let table = Scalar.kernels(tier)
        var numbers = SeededNumbers(seed: Int(tier.rawValue))
        let left = [2, 0, 1, 1, 3]
        let right = [3, 0, 2, 1, 3]
        let rightWeights: [Scalar] = [0.25, 0, 0.5, 0.75, 0]
        for channels in [1, 3, table.lanes, 2 * table.lanes + 1] {
            // Channels together, with gaps between the columns, and channels apart.
            for (columnStride, channelStride) in [(channels, 1), (channels + 2, 1), (1, 4)] {
                let rows = [Field<Scalar>(4 * columnStride + channels * channelStride), Field<Scalar>(4 * columnStride + channels * channelStride)]
                for row in rows {
                    for column in 0..<4 {
                        for c in 0..<channels { row.set(column * columnStride + c * channelStride, Int.random(in: -9...9, using: &numbers)) }
                    }
                }
                // The output's columns are as far apart as the input's, or further: five of them.
                let outputColumn = channelStride == 1 ? columnStride + 1 : 1
                let outputChannel = channelStride == 1 ? 1 : 7
                for bilinear in [false, true] {
                    let output = Field<Scalar>(5 * outputColumn + channels * outputChannel)
                    for x in 0..<5 {
                        for c in 0..<channels { output.set(x * outputColumn + c * outputChannel, 99) }
                    }
                    left.withUnsafeBufferPointer { left in
                        right.withUnsafeBufferPointer { right in
                            rightWeights.withUnsafeBufferPointer { weights in
                                let arguments = ResampleRowArguments(
                                    upper: rows[0].pointer(0), lower: rows[1].pointer(0), upperWeight: 0.75, lowerWeight: 0.25,
                                    output: output.pointer(0), columns: 5, channels: channels, inputColumnStride: columnStride,
                                    inputChannelStride: channelStride, outputColumnStride: outputColumn, outputChannelStride: outputChannel,
                                    left: left.baseAddress!, right: right.baseAddress!, rightWeights: weights.baseAddress!)
                                withUnsafePointer(to: arguments) { (bilinear ? table.bilinearRow : table.nearestRow)($0) }
                            }
                        }
                    }
                    var right_ = true
                    for x in 0..<5 {
                        for c in 0..<channels {
                            func value(_ row: Int, _ column: Int) -> Scalar { rows[row].elements[column * columnStride + c * channelStride] }
                            func blend(_ row: Int) -> Scalar {
                                (1 - rightWeights[x]) * value(row, left[x]) + rightWeights[x] * value(row, right[x])
                            }
                            let expected = bilinear ? 0.75 * blend(0) + 0.25 * blend(1) : value(0, left[x])
                            if output.elements[x * outputColumn + c * outputChannel] != expected { right_ = false }
                        }
                    }
                    let label = "\(tier) \(Scalar.self) bilinear: \(bilinear), \(channels) channels, strides \(columnStride) \(channelStride)"
                    #expect(right_, "\(label)")
                    #expect(output.surroundingsAreUntouched, "\(label)")
                }
            }
        }
    }

    @Test(arguments: tiers) func float32(_ tier: Tier) { check(tier, Float.self) }
    @Test(arguments: tiers) func float64(_ tier: Tier) { check(tier, Double.self) }
}

@Suite struct PackingTests {
    @Test func rectangle() {
        // Rows 1 ... 2 and columns 3, 1 (from right to left) of an image [channel][row][column] of 2 x 4 x 5.
        let image = Field<Float>(2 * 4 * 5)
        for channel in 0..<2 {
            for row in 1...2 {
                for column in [1, 3] { image.set((channel * 4 + row) * 5 + column, 100 * channel + 10 * row + column) }
            }
        }
        let packed = Field<Float>(10)
        for i in 1..<9 { packed.set(i, 99) }
        packRectangle(
            from: image.pointer(5 + 3), rowStride: 5, columnStride: -2, channelStride: 20, rows: 2, columns: 2, channels: 2, to: packed.pointer(1))
        #expect(Array(packed.elements[1..<9]) == [13, 113, 11, 111, 23, 123, 21, 121])
        #expect(packed.surroundingsAreUntouched)
    }
}
