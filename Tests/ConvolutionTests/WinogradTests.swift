import ConvolutionKernels
import Testing

@testable import Convolution

// The transforms against the matrices that the points define, and the algorithm through the Swift face.

private let points = [0, 0.75, -0.75, 1.5, -1.5]

/// `[point][input]`: the coefficients of the product of (x - q) over the other finite points q; for infinity, over all of them.
private let inputMatrix: [[Double]] = (0..<6).map { point in
    var coefficients = [1.0]
    for (index, q) in points.enumerated() where index != point {
        var next = [Double](repeating: 0, count: coefficients.count + 1)
        for (power, coefficient) in coefficients.enumerated() {
            next[power] -= q * coefficient
            next[power + 1] += coefficient
        }
        coefficients = next
    }
    return coefficients + [Double](repeating: 0, count: 6 - coefficients.count)
}

/// `[output][point]`: the point to the power of the output; infinity has the highest alone.
private let outputMatrix: [[Double]] = (0..<4).map { power in
    points.map { point in (0..<power).reduce(1) { product, _ in product * point } } + [power == 3 ? 1 : 0]
}

/// matrix * tile * transposed matrix
private func transformed(_ tile: [[Double]], _ matrix: [[Double]]) -> [[Double]] {
    matrix.map { left in
        matrix.map { right in
            var sum = 0.0
            for (a, row) in tile.enumerated() { for (b, value) in row.enumerated() { sum += left[a] * right[b] * value } }
            return sum
        }
    }
}

private let tiers = (0..<Tier.count).compactMap { Tier(rawValue: $0) }.filter { $0.isSupported }

@Suite struct WinogradTests {
    /// Small whole numbers: all products and sums are exact.
    private func whole(_ rows: Int, _ numbers: inout SeededNumbers) -> [[Double]] {
        (0..<rows).map { _ in (0..<rows).map { _ in Double(Int.random(in: -9...9, using: &numbers)) } }
    }

    private func checkInput<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type) {
        var numbers = SeededNumbers(seed: 1)
        for vectors in 1...3 {
            let channels = vectors * table.lanes
            let pitch = channels + 5
            let tiles = (0..<channels).map { _ in whole(6, &numbers) }
            var input = [Scalar](repeating: .nan, count: 36 * channels)
            for channel in 0..<channels {
                for pixel in 0..<36 { input[pixel * channels + channel] = Scalar(tiles[channel][pixel / 6][pixel % 6]) }
            }
            var scratch = [Scalar](repeating: .nan, count: 36 * table.lanes)
            var target = [Scalar](repeating: .nan, count: 36 * pitch)
            input.withUnsafeBufferPointer { input in
                scratch.withUnsafeMutableBufferPointer { scratch in
                    target.withUnsafeMutableBufferPointer { target in
                        let pixels = (0..<36).map { input.baseAddress! + $0 * channels }
                        pixels.withUnsafeBufferPointer { pixels in
                            let arguments = WinogradInputArguments(
                                pixels: pixels.baseAddress!, vectors: vectors, scratch: scratch.baseAddress!,
                                target: target.baseAddress!, pointPitch: pitch)
                            withUnsafePointer(to: arguments) { table.transformInput($0) }
                        }
                    }
                }
            }
            for channel in 0..<pitch {
                let expected = channel < channels ? transformed(tiles[channel], inputMatrix) : []
                for point in 0..<36 {
                    let value = target[point * pitch + channel]
                    #expect(channel < channels ? value == Scalar(expected[point / 6][point % 6]) : value.isNaN)
                }
            }
        }
    }

    private func checkOutput<Scalar: KernelScalar>(_ table: KernelTable, _: Scalar.Type) {
        var numbers = SeededNumbers(seed: 2)
        for vectors in 1...3 {
            let channels = vectors * table.lanes
            let pitch = channels + 3
            let tiles = (0..<channels).map { _ in whole(6, &numbers) }
            let bias = (0..<channels).map { _ in Scalar(Int.random(in: -9...9, using: &numbers)) }
            var sums = [Scalar](repeating: .nan, count: 36 * pitch)
            for channel in 0..<channels {
                for point in 0..<36 { sums[point * pitch + channel] = Scalar(tiles[channel][point / 6][point % 6]) }
            }
            var scratch = [Scalar](repeating: .nan, count: 36 * table.lanes)
            var output = [Scalar](repeating: .nan, count: 16 * pitch)
            let (low, high): (Scalar, Scalar) = (-60, 50)
            sums.withUnsafeBufferPointer { sums in
                scratch.withUnsafeMutableBufferPointer { scratch in
                    output.withUnsafeMutableBufferPointer { output in
                        let places = (0..<16).map { output.baseAddress! + $0 * pitch }
                        places.withUnsafeBufferPointer { places in
                            bias.withUnsafeBufferPointer { bias in
                                let arguments = WinogradOutputArguments(
                                    sums: sums.baseAddress!, pointPitch: pitch, vectors: vectors, scratch: scratch.baseAddress!,
                                    outputs: places.baseAddress!, bias: bias.baseAddress!, low: low, high: high)
                                withUnsafePointer(to: arguments) { table.transformOutput($0) }
                            }
                        }
                    }
                }
            }
            for channel in 0..<pitch {
                let expected = channel < channels ? transformed(tiles[channel], outputMatrix) : []
                for pixel in 0..<16 {
                    let value = output[pixel * pitch + channel]
                    #expect(
                        channel < channels
                            ? value == min(max(Scalar(expected[pixel / 4][pixel % 4]) + bias[channel], low), high) : value.isNaN)
                }
            }
        }
    }

    /// A tile's inputs and weights transformed, multiplied point by point and transformed back: what textbook loops sum over the
    /// taps. In small tiles all steps are exact.
    private func checkTile<Scalar: KernelScalar>(
        _ table: KernelTable, side: Int, rowTaps: Int, columnTaps: Int, tolerance: Scalar, _: Scalar.Type
    ) {
        var numbers = SeededNumbers(seed: side * 100 + rowTaps * 10 + columnTaps)
        let points = side * side
        for vectors in 1...3 {
            let channels = vectors * table.lanes
            let pitch = channels + 3
            var fields: [UnsafeMutablePointer<Scalar>] = []
            defer { for field in fields { field.deallocate() } }
            func field(_ count: Int, wholeNumbers: Bool) -> UnsafeMutablePointer<Scalar> {
                let field = UnsafeMutablePointer<Scalar>.allocate(capacity: count)
                for i in 0..<count { field[i] = wholeNumbers ? Scalar(Int.random(in: -9...9, using: &numbers)) : .nan }
                fields.append(field)
                return field
            }
            let input = field(points * channels, wholeNumbers: true)
            let kernel = field(rowTaps * columnTaps * channels, wholeNumbers: true)
            let bias = field(channels, wholeNumbers: true)
            // Room for more than a value for each point, which may follow.
            let weights = field(2 * points * channels, wholeNumbers: false)
            let sums = field(points * pitch, wholeNumbers: false)
            let scratch = field(points * table.lanes, wholeNumbers: false)
            let output = field(16 * pitch, wholeNumbers: false)
            let isSmall = side == smallWinogradSide
            guard let transformInput = isSmall ? table.transformSmallInput : table.transformInput,
                let transformOutput = isSmall ? table.transformSmallOutput : table.transformOutput
            else {
                Issue.record("no transforms of tiles of \(side)x\(side)")
                return
            }

            transformWinogradWeights(
                kernel, channels, pitch: channels, side: side, rowTaps: rowTaps, columnTaps: columnTaps, to: weights)
            let pixels = (0..<points).map { UnsafePointer(input + $0 * channels) }
            pixels.withUnsafeBufferPointer { pixels in
                let arguments = WinogradInputArguments(
                    pixels: pixels.baseAddress!, vectors: vectors, scratch: scratch, target: sums, pointPitch: pitch, side: side,
                    ahead: 64)
                withUnsafePointer(to: arguments) { transformInput($0) }
            }
            for point in 0..<points {
                for channel in 0..<channels { sums[point * pitch + channel] *= weights[point * channels + channel] }
                #expect((channels..<pitch).allSatisfy { sums[point * pitch + $0].isNaN })
            }
            let places = (0..<16).map { output + $0 * pitch }
            let (low, high): (Scalar, Scalar) = (-300, 200)
            places.withUnsafeBufferPointer { places in
                let arguments = WinogradOutputArguments(
                    sums: sums, pointPitch: pitch, vectors: vectors, scratch: scratch, outputs: places.baseAddress!, bias: bias,
                    low: low, high: high, side: side, rowTaps: rowTaps, columnTaps: columnTaps, ahead: 64)
                withUnsafePointer(to: arguments) { transformOutput($0) }
            }

            for row in 0..<4 {
                for column in 0..<(side + 1 - columnTaps) {
                    for channel in 0..<pitch {
                        let value = output[(row * 4 + column) * pitch + channel]
                        guard row < side + 1 - rowTaps, channel < channels else {
                            #expect(value.isNaN)
                            continue
                        }
                        var sum = bias[channel]
                        for a in 0..<rowTaps {
                            for b in 0..<columnTaps {
                                sum += kernel[(a * columnTaps + b) * channels + channel]
                                    * input[((row + a) * side + column + b) * channels + channel]
                            }
                        }
                        #expect(abs(value - min(max(sum, low), high)) <= tolerance)
                    }
                }
            }
        }
    }

    @Test(arguments: tiers) func tiles(_ tier: Tier) {
        checkTile(tier.float32.pointee, side: winogradSide, rowTaps: 3, columnTaps: 3, tolerance: 1e-3, Float.self)
        checkTile(tier.float64.pointee, side: winogradSide, rowTaps: 3, columnTaps: 3, tolerance: 1e-11, Double.self)
        for rowTaps in 2...3 {
            for columnTaps in 2...3 {
                checkTile(
                    tier.float32.pointee, side: smallWinogradSide, rowTaps: rowTaps, columnTaps: columnTaps, tolerance: 0,
                    Float.self)
            }
        }
    }

    @Test(arguments: tiers) func input(_ tier: Tier) {
        checkInput(tier.float32.pointee, Float.self)
        checkInput(tier.float64.pointee, Double.self)
    }

    @Test(arguments: tiers) func output(_ tier: Tier) {
        checkOutput(tier.float32.pointee, Float.self)
        checkOutput(tier.float64.pointee, Double.self)
    }

    /// Memory that holds NaN.
    private func withFields<Result>(
        _ counts: [Int], _ body: ([UnsafeMutablePointer<Float>]) throws -> Result
    ) rethrows -> Result {
        let fields = counts.map { count in
            let field = UnsafeMutablePointer<Float>.allocate(capacity: count)
            field.initialize(repeating: .nan, count: count)
            return field
        }
        defer { for field in fields { field.deallocate() } }
        return try body(fields)
    }

    /// A kernel gradient by tiles: inputs and output gradients transformed, multiplied, added up over the tiles and transformed
    /// back are what textbook loops sum over all pixels. The points of the gradients, of small whole numbers, are exact.
    @Test(arguments: tiers) func gradients(_ tier: Tier) throws {
        let table = tier.float32.pointee
        let transformOutputGradient = try #require(table.transformOutputGradient)
        let transformTaps = try #require(table.transformTaps)
        let gradientMatrix = (0..<6).map { point in (0..<4).map { outputMatrix[$0][point] } }
        var numbers = SeededNumbers(seed: 4)
        for vectors in 1...3 {
            let channels = vectors * table.lanes
            let pitch = channels + 5
            withFields([36 * channels, 16 * channels, 36 * pitch, 36 * pitch, 36 * channels, 10 * channels, 36 * table.lanes]) {
                let (input, gradient, inputPoints, points) = ($0[0], $0[1], $0[2], $0[3])
                let (sums, taps, scratch) = ($0[4], $0[5], $0[6])
                sums.update(repeating: 0, count: 36 * channels)
                var expected = [Float](repeating: 0, count: 9 * channels)
                for _ in 0..<3 {
                    for i in 0..<(36 * channels) { input[i] = Float(Int.random(in: -9...9, using: &numbers)) }
                    for i in 0..<(16 * channels) { gradient[i] = Float(Int.random(in: -9...9, using: &numbers)) }
                    let pixels = (0..<36).map { UnsafePointer(input + $0 * channels) }
                    let places = (0..<16).map { UnsafePointer(gradient + $0 * channels) }
                    pixels.withUnsafeBufferPointer { pixels in
                        let arguments = WinogradInputArguments(
                            pixels: pixels.baseAddress!, vectors: vectors, scratch: scratch, target: inputPoints,
                            pointPitch: pitch)
                        withUnsafePointer(to: arguments) { table.transformInput($0) }
                    }
                    places.withUnsafeBufferPointer { places in
                        let arguments = WinogradInputArguments(
                            pixels: places.baseAddress!, vectors: vectors, scratch: scratch, target: points, pointPitch: pitch,
                            side: winogradOutputs)
                        withUnsafePointer(to: arguments) { transformOutputGradient($0) }
                    }
                    for channel in 0..<channels {
                        let tile = (0..<4).map { row in
                            (0..<4).map { Double(gradient[(row * 4 + $0) * channels + channel]) }
                        }
                        let exact = transformed(tile, gradientMatrix)
                        for point in 0..<36 {
                            #expect(points[point * pitch + channel] == Float(exact[point / 6][point % 6]))
                            sums[point * channels + channel] +=
                                points[point * pitch + channel] * inputPoints[point * pitch + channel]
                        }
                        for tap in 0..<9 {
                            for pixel in 0..<16 {
                                let place = (pixel / 4 + tap / 3) * 6 + pixel % 4 + tap % 3
                                expected[tap * channels + channel] +=
                                    gradient[pixel * channels + channel] * input[place * channels + channel]
                            }
                        }
                    }
                    for point in 0..<36 { #expect((channels..<pitch).allSatisfy { points[point * pitch + $0].isNaN }) }
                }
                let arguments = WinogradTapArguments(sums: sums, taps: taps, pitch: channels, scratch: scratch)
                withUnsafePointer(to: arguments) { transformTaps($0) }
                for i in 0..<(9 * channels) { #expect(abs(taps[i] - expected[i]) <= 2e-2, "\(taps[i]) for \(expected[i])") }
                #expect((9 * channels..<10 * channels).allSatisfy { taps[$0].isNaN })
            }
        }
    }

    /// The products of a row of points from the weights' parts: to the bit those of the points that `transformWinogradWeights`
    /// stores, chunk by chunk.
    @Test(arguments: tiers) func pointRow(_ tier: Tier) {
        let table = tier.float32.pointee
        // Tiers of few registers have none.
        guard let pointRow = table.pointRow else { return }
        var numbers = SeededNumbers(seed: 5)
        let lanes = table.lanes
        for (channels, chunk) in [(1, 1), (5, 8), (24, 8), (37, 16)] {
            for fetches in [false, true] {
                let pitch = pointRowTiles * lanes + 7
                withFields([channels * 3 * lanes, channels * 6 * pointRowTiles, 6 * pitch]) {
                    let (parts, inputs, sums) = ($0[0], $0[1], $0[2])
                    for i in 0..<(channels * 3 * lanes) { parts[i] = .random(in: -1...1, using: &numbers) }
                    for i in 0..<(channels * 6 * pointRowTiles) { inputs[i] = .random(in: -1...1, using: &numbers) }
                    let arguments = PointRowArguments(
                        parts: parts, fetches: fetches, inputs: inputs, channels: channels, chunk: chunk, sums: sums,
                        pointPitch: pitch)
                    withUnsafePointer(to: arguments) { pointRow($0) }
                    for lane in 0..<lanes {
                        var expected = [Float](repeating: 0, count: 6 * pointRowTiles)
                        for first in stride(from: 0, to: channels, by: chunk) {
                            var chain = [Float](repeating: 0, count: 6 * pointRowTiles)
                            for channel in first..<min(first + chunk, channels) {
                                let part = (0..<3).map { SIMD2(repeating: parts[(channel * 3 + $0) * lanes + lane]) }
                                let w = winogradPoints(of: (part[0], part[1], part[2]))
                                let weights = [w.0.x, w.1.x, w.2.x, w.3.x, w.4.x, w.5.x]
                                for i in 0..<chain.count {
                                    chain[i].addProduct(inputs[channel * chain.count + i], weights[i / pointRowTiles])
                                }
                            }
                            for i in 0..<chain.count { expected[i] = first == 0 ? chain[i] : expected[i] + chain[i] }
                        }
                        for i in 0..<expected.count {
                            #expect(sums[i / pointRowTiles * pitch + i % pointRowTiles * lanes + lane] == expected[i])
                        }
                    }
                    for point in 0..<6 {
                        #expect((pointRowTiles * lanes..<pitch).allSatisfy { sums[point * pitch + $0].isNaN })
                    }
                }
            }
        }
    }

    /// One line: points of the kernel times points of the inputs, transformed back, is the sum itself.
    @Test func weights() {
        var numbers = SeededNumbers(seed: 3)
        for _ in 0..<20 {
            let kernel = (0..<3).map { _ in Double.random(in: -1...1, using: &numbers) }
            let line = (0..<6).map { _ in Double.random(in: -1...1, using: &numbers) }
            let w = winogradPoints(
                of: winogradParts((SIMD2(repeating: kernel[0]), SIMD2(repeating: kernel[1]), SIMD2(repeating: kernel[2]))))
            let weights = [w.0.x, w.1.x, w.2.x, w.3.x, w.4.x, w.5.x]
            for output in 0..<4 {
                var sum = 0.0
                for point in 0..<6 {
                    let value = (0..<6).reduce(0) { $0 + inputMatrix[point][$1] * line[$1] }
                    sum += outputMatrix[output][point] * weights[point] * value
                }
                let expected = (0..<3).reduce(0) { $0 + kernel[$1] * line[output + $1] }
                #expect(abs(sum - expected) < 1e-13)
            }
        }
    }

    /// By the option's word: near the default's result, and not by the default's additions.
    @Test func option() throws {
        func thirds(_ shape: [Int], _ seed: Int) throws -> Tensor<Float> {
            try Tensor(wholeNumbers(shape, seed: seed).elements.map { Float($0) / 3 }, shape: shape)
        }
        let input = try thirds([1, 9, 10, 24], 4)
        func near(_ a: Tensor<Float>, _ b: Tensor<Float>) -> Bool {
            a.shape == b.shape && a != b && zip(a.elements, b.elements).allSatisfy { abs($0 - $1) < 1e-2 }
        }
        let kernel = try thirds([3, 3, 24, 20], 5)
        let standard = try conv2d(input, kernel: kernel, options: .init(padding: .same))
        #expect(try near(conv2d(input, kernel: kernel, options: .init(padding: .same, algorithm: .winograd)), standard))
        let turned = try thirds([3, 3, 20, 24], 6)
        let transposed = try conv2dTranspose(input, kernel: turned)
        #expect(try near(conv2dTranspose(input, kernel: turned, options: .init(algorithm: .winograd)), transposed))
    }
}
