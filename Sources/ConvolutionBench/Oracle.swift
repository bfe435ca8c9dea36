/// The right answer for one element of the result, by textbook loops in double precision over channels-first arrays.
struct Sample {
    /// In the order of `Layer.resultShape`.
    let place: [Int]
    let value: Double
    /// How far from `value` a correct library may be: 8 * 2^-24 * sum |products|, the header's bound.
    let tolerance: Double
}

/// Splitmix64: the same numbers on every machine.
struct Noise: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var bits = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
        return bits ^ (bits >> 31)
    }

    /// Evenly spread over -1 ..< 1.
    mutating func float() -> Float { Float(Int64(bitPattern: next()) >> 40) * 0x1p-23 }
}

struct Oracle {
    let layer: Layer
    /// Channels first, kernel height and width last. `output` is the output's gradient; the result is not read.
    let input, kernel, output: [Float]

    /// The four corners and the middle of the first and of the last image and channel, then places drawn at random.
    func samples(_ count: Int) -> [Sample] {
        var noise = Noise(state: 7)
        let shape = layer.resultShape
        let (bottom, right) = (shape[2] - 1, shape[3] - 1)
        var places: [[Int]] = []
        for (image, channel) in [(0, 0), (shape[0] - 1, shape[1] - 1)] {
            for (y, x) in [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom / 2, right / 2)] {
                places.append([image, channel, y, x])
            }
        }
        while places.count < count {
            places.append(shape.map { .random(in: 0..<$0, using: &noise) })
        }
        return places.map(sample)
    }

    /// The sum of the products of pairs of elements, and of their magnitudes.
    private struct Sum {
        var value = 0.0, magnitude = 0.0

        mutating func add(_ a: Double, _ b: Double) {
            value += a * b
            magnitude += abs(a * b)
        }
    }

    private func sample(_ place: [Int]) -> Sample {
        var sum = Sum()
        switch (layer.operation, layer.pass) {
        case (.conv2d, .forward): gather(input, layer.inputSize, place, &sum)
        case (.conv2dTranspose, .input): gather(output, layer.outputSize, place, &sum)
        case (.conv2dTranspose, .forward): scatter(input, layer.inputSize, place, &sum)
        case (.conv2d, .input): scatter(output, layer.outputSize, place, &sum)
        case (.conv2d, .kernel): pair(output, layer.outputSize, input, layer.inputSize, place, &sum)
        case (.conv2dTranspose, .kernel): pair(input, layer.inputSize, output, layer.outputSize, place, &sum)
        case (.upsample2d, _): resize(place, &sum)
        }
        let tolerance = layer.interpolation == "nearest" ? 0 : 8 * 0x1p-24 * sum.magnitude
        return Sample(place: place, value: sum.value, tolerance: tolerance)
    }

    /// A window of the source times the kernel, of which `place` names the outer channel.
    private func gather(_ source: [Float], _ size: (height: Int, width: Int), _ place: [Int], _ sum: inout Sum) {
        let (outer, inner) = layer.kernelChannels
        let first = place[1] / (outer / layer.groups) * inner
        for a in 0..<layer.kernel {
            for b in 0..<layer.kernel {
                let row = place[2] * layer.stride + a * layer.dilation - layer.padding
                let column = place[3] * layer.stride + b * layer.dilation - layer.padding
                guard row >= 0, row < size.height, column >= 0, column < size.width else { continue }
                for c in 0..<inner {
                    let element = ((place[0] * inner * layer.groups + first + c) * size.height + row) * size.width + column
                    sum.add(Double(source[element]), weight(place[1], c, a, b))
                }
            }
        }
    }

    /// Every source element whose strokes of the kernel reach `place`, which names the inner channel.
    private func scatter(_ source: [Float], _ size: (height: Int, width: Int), _ place: [Int], _ sum: inout Sum) {
        let (outer, inner) = layer.kernelChannels
        let first = place[1] / inner * (outer / layer.groups)
        for a in 0..<layer.kernel {
            for b in 0..<layer.kernel {
                let down = place[2] + layer.padding - a * layer.dilation, right = place[3] + layer.padding - b * layer.dilation
                guard down % layer.stride == 0, right % layer.stride == 0 else { continue }
                let row = down / layer.stride, column = right / layer.stride
                guard row >= 0, row < size.height, column >= 0, column < size.width else { continue }
                for c in first..<first + outer / layer.groups {
                    let element = ((place[0] * outer + c) * size.height + row) * size.width + column
                    sum.add(Double(source[element]), weight(c, place[1] % inner, a, b))
                }
            }
        }
    }

    /// All pairs of elements that the kernel element at `place` joins: `dense` is what its window moves over in strides.
    private func pair(
        _ strided: [Float], _ stridedSize: (height: Int, width: Int), _ dense: [Float], _ denseSize: (height: Int, width: Int),
        _ place: [Int], _ sum: inout Sum
    ) {
        let (outer, inner) = layer.kernelChannels
        let channel = place[0] / (outer / layer.groups) * inner + place[1]
        for image in 0..<layer.batch {
            for y in 0..<stridedSize.height {
                let row = y * layer.stride + place[2] * layer.dilation - layer.padding
                guard row >= 0, row < denseSize.height else { continue }
                let from = ((image * outer + place[0]) * stridedSize.height + y) * stridedSize.width
                let to = ((image * inner * layer.groups + channel) * denseSize.height + row) * denseSize.width
                for x in 0..<stridedSize.width {
                    let column = x * layer.stride + place[3] * layer.dilation - layer.padding
                    guard column >= 0, column < denseSize.width else { continue }
                    sum.add(Double(strided[from + x]), Double(dense[to + column]))
                }
            }
        }
    }

    private func resize(_ place: [Int], _ sum: inout Sum) {
        for (row, v) in taps(place[2], layer.inputSize.height, layer.outputSize.height) {
            for (column, u) in taps(place[3], layer.inputSize.width, layer.outputSize.width) {
                let line = (place[0] * layer.inputChannels + place[1]) * layer.inputSize.height + row
                sum.add(Double(input[line * layer.inputSize.width + column]), v * u)
            }
        }
    }

    private func weight(_ outer: Int, _ inner: Int, _ a: Int, _ b: Int) -> Double {
        Double(kernel[((outer * layer.kernelChannels.inner + inner) * layer.kernel + a) * layer.kernel + b])
    }

    /// The input lines that line `t` of the output is made of, and their weights: nearest repeats, the others sample at
    /// half-pixel places, computed in float as the frameworks do.
    private func taps(_ t: Int, _ input: Int, _ output: Int) -> [(Int, Double)] {
        guard layer.interpolation != "nearest" else { return [(t * input / output, 1)] }
        let place = Float(input) / Float(output) * (Float(t) + 0.5) - 0.5
        func line(_ index: Int) -> Int { min(max(index, 0), input - 1) }
        if layer.interpolation == "bilinear" {
            let inside = max(place, 0)
            let low = Int(inside), share = Double(inside - Float(low))
            return [(line(low), 1 - share), (line(low + 1), share)]
        }
        // Bicubic: Keys' kernel with coefficient -0.75.
        let low = Int(place.rounded(.down)), share = Double(place - Float(low)), k = -0.75
        return (-1...2).map { offset in
            let d = abs(share - Double(offset))
            let weight = d <= 1 ? ((k + 2) * d - (k + 3)) * d * d + 1 : ((d - 5) * d + 8) * d * k - 4 * k
            return (line(low + offset), weight)
        }
    }
}
