/// The right answer for a sample of output elements, by textbook loops in double precision over channels-first arrays.
struct Sample {
    let image, channel, y, x: Int
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
    let input, kernel: [Float]

    /// The four corners and the middle of the first and of the last image and channel, then places drawn at random.
    func samples(_ count: Int) -> [Sample] {
        var noise = Noise(state: 7)
        let (height, width) = layer.outputSize
        var samples: [Sample] = []
        for (image, channel) in [(0, 0), (layer.batch - 1, layer.outputChannels - 1)] {
            for (y, x) in [(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1), (height / 2, width / 2)] {
                samples.append(sample(image, channel, y, x))
            }
        }
        while samples.count < count {
            samples.append(
                sample(.random(in: 0..<layer.batch, using: &noise), .random(in: 0..<layer.outputChannels, using: &noise),
                       .random(in: 0..<height, using: &noise), .random(in: 0..<width, using: &noise)))
        }
        return samples
    }

    private func sample(_ image: Int, _ channel: Int, _ y: Int, _ x: Int) -> Sample {
        var value = 0.0, magnitude = 0.0
        func add(_ weight: Double, _ inputChannel: Int, _ row: Int, _ column: Int) {
            let product = weight * element(image, inputChannel, row, column)
            value += product
            magnitude += abs(product)
        }
        switch layer.operation {
        case .conv2d:
            let (outer, inner) = layer.kernelChannels
            let first = channel / (outer / layer.groups) * inner
            for a in 0..<layer.kernel {
                for b in 0..<layer.kernel {
                    let row = y * layer.stride + a * layer.dilation - layer.padding
                    let column = x * layer.stride + b * layer.dilation - layer.padding
                    guard row >= 0, row < layer.inputSize.height, column >= 0, column < layer.inputSize.width else { continue }
                    for c in 0..<inner { add(weight(channel, c, a, b), first + c, row, column) }
                }
            }
        case .conv2dTranspose:
            let (outer, inner) = layer.kernelChannels
            let first = channel / inner * (outer / layer.groups)
            for a in 0..<layer.kernel {
                for b in 0..<layer.kernel {
                    let down = y + layer.padding - a * layer.dilation, right = x + layer.padding - b * layer.dilation
                    guard down % layer.stride == 0, right % layer.stride == 0 else { continue }
                    let row = down / layer.stride, column = right / layer.stride
                    guard row >= 0, row < layer.inputSize.height, column >= 0, column < layer.inputSize.width else { continue }
                    for c in first..<first + outer / layer.groups { add(weight(c, channel % inner, a, b), c, row, column) }
                }
            }
        case .upsample2d:
            for (row, v) in taps(y, layer.inputSize.height, layer.outputSize.height) {
                for (column, u) in taps(x, layer.inputSize.width, layer.outputSize.width) { add(v * u, channel, row, column) }
            }
        }
        let tolerance = layer.interpolation == "nearest" ? 0 : 8 * 0x1p-24 * magnitude
        return Sample(image: image, channel: channel, y: y, x: x, value: value, tolerance: tolerance)
    }

    private func element(_ image: Int, _ channel: Int, _ row: Int, _ column: Int) -> Double {
        Double(input[((image * layer.inputChannels + channel) * layer.inputSize.height + row) * layer.inputSize.width + column])
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
