import Foundation

/// One layer of suite.json, in PyTorch's words. Left out: 1 image, stride 1, dilation 1, 1 group, no padding.
struct Layer: Decodable {
    enum Operation: String, Decodable {
        case conv2d, conv2dTranspose = "conv2d_transpose", upsample2d
    }
    enum Weights: String, Decodable {
        case sobel, gaussian
    }
    /// What is computed: the operation itself, or its gradient with respect to input or kernel.
    enum Pass: String, CaseIterable {
        case forward, input, kernel
    }
    private(set) var name: String
    let operation: Operation
    private(set) var group: String
    private(set) var pass = Pass.forward
    let batch: Int
    let inputChannels, outputChannels: Int
    let inputSize, outputSize: (height: Int, width: Int)
    let kernel, stride, dilation, groups: Int
    /// What is added to (conv2d) or cut off (conv2d_transpose) each side; `trailingPadding` is that of bottom and right.
    let padding, trailingPadding: Int
    let interpolation: String?
    let weights: Weights?

    private enum Key: String, CodingKey {
        case name, operation, group, batch, input, kernel, stride, dilation, groups, padding, interpolation, weights
        case outputChannels = "output_channels", outputPadding = "output_padding", outputSize = "output_size"
    }

    init(from decoder: Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        func number(_ key: Key, _ absent: Int) throws -> Int { try values.decodeIfPresent(Int.self, forKey: key) ?? absent }
        name = try values.decode(String.self, forKey: .name)
        operation = try values.decode(Operation.self, forKey: .operation)
        group = try values.decodeIfPresent(String.self, forKey: .group) ?? operation.rawValue
        interpolation = try values.decodeIfPresent(String.self, forKey: .interpolation)
        weights = try values.decodeIfPresent(Weights.self, forKey: .weights)
        batch = try number(.batch, 1)
        let input = try values.decode([Int].self, forKey: .input)
        guard input.count == 3 else {
            throw DecodingError.dataCorruptedError(forKey: .input, in: values, debugDescription: "not [channels, height, width]")
        }
        inputChannels = input[0]
        outputChannels = try number(.outputChannels, inputChannels)
        kernel = try number(.kernel, 1)
        stride = try number(.stride, 1)
        dilation = try number(.dilation, 1)
        groups = try number(.groups, 1)
        padding = try number(.padding, 0)
        trailingPadding = padding - (try number(.outputPadding, 0))
        inputSize = (input[1], input[2])
        let extent = (kernel - 1) * dilation + 1
        let pads = padding + trailingPadding
        switch operation {
        case .conv2d:
            outputSize = ((input[1] + pads - extent) / stride + 1, (input[2] + pads - extent) / stride + 1)
        case .conv2dTranspose:
            outputSize = ((input[1] - 1) * stride + extent - pads, (input[2] - 1) * stride + extent - pads)
        case .upsample2d:
            let size = try values.decode(Int.self, forKey: .outputSize)
            outputSize = (size, size)
        }
    }

    /// The layers of the file, then the gradients of those that have a kernel.
    static func suite(at path: String) throws -> [Layer] {
        let layers = try JSONDecoder().decode([Layer].self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        let trained = layers.filter { $0.group == "conv2d" || $0.group == "conv2d_transpose" }
        return layers + trained.map { $0.gradient(.input) } + trained.map { $0.gradient(.kernel) }
    }

    private func gradient(_ pass: Pass) -> Layer {
        var layer = self
        layer.pass = pass
        layer.name += "/\(pass)"
        layer.group += "_backward_\(pass)"
        return layer
    }

    /// The sizes of what is computed: an image's are [batch, channels, height, width], a kernel's [outer, inner, height, width].
    var resultShape: [Int] {
        switch pass {
        case .forward: [batch, outputChannels, outputSize.height, outputSize.width]
        case .input: [batch, inputChannels, inputSize.height, inputSize.width]
        case .kernel: [kernelChannels.outer, kernelChannels.inner, kernel, kernel]
        }
    }

    var inputCount: Int { batch * inputChannels * inputSize.height * inputSize.width }
    var outputCount: Int { batch * outputChannels * outputSize.height * outputSize.width }
    /// conv2d: [output channels][input channels / groups]; conv2d_transpose: [input channels][output channels / groups].
    var kernelChannels: (outer: Int, inner: Int) {
        operation == .conv2d ? (outputChannels, inputChannels / groups) : (inputChannels, outputChannels / groups)
    }
    var kernelCount: Int { operation == .upsample2d ? 0 : kernelChannels.outer * kernelChannels.inner * kernel * kernel }

    /// Each array read or written once.
    var bytes: Double { 4 * Double(inputCount + kernelCount + outputCount) }

    /// Two for each product that joins an input element and an output element. Products with padding and with what a transposed
    /// convolution cuts off are no work that anybody needs.
    var operations: Double {
        guard operation != .upsample2d else { return 0 }
        let outer = Double(batch) * Double(kernelChannels.outer) * Double(kernelChannels.inner)
        return 2 * outer * Double(taps(inputSize.height, outputSize.height)) * Double(taps(inputSize.width, outputSize.width))
    }

    /// The pairs of an input and an output element that one axis of the kernel joins.
    private func taps(_ input: Int, _ output: Int) -> Int {
        let (strided, dense) = operation == .conv2d ? (output, input) : (input, output)
        var count = 0
        for position in 0..<strided {
            for tap in 0..<kernel where (0..<dense).contains(position * stride + tap * dilation - padding) { count += 1 }
        }
        return count
    }
}
