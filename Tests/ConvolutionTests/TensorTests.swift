import Convolution
import Testing

@Suite struct TensorTests {
    @Test func lastAxisRunsFastest() throws {
        var tensor = try Tensor<Float>((0..<24).map { Float($0) }, shape: [1, 2, 3, 4])
        #expect(tensor[0, 0, 0, 3] == 3)
        #expect(tensor[0, 0, 1, 0] == 4)
        #expect(tensor[0, 1, 2, 3] == 23)
        tensor[0, 1, 0, 2] = -1
        #expect(tensor.elements[14] == -1)
        #expect(tensor.elements.filter { $0 < 0 }.count == 1)
    }

    @Test func otherNumbersOfAxes() throws {
        let matrix = try Tensor<Double>([1, 2, 3, 4, 5, 6], shape: [2, 3])
        #expect(matrix[1, 0] == 4)
        #expect(try Tensor<Double>([7], shape: []).elements == [7])
    }

    @Test func repeating() throws {
        let tensor = try Tensor<Double>(repeating: 2.5, shape: [2, 1, 3, 1])
        #expect(tensor.elements == [2.5, 2.5, 2.5, 2.5, 2.5, 2.5])
        #expect(try Tensor<Double>(repeating: 1, shape: [Int.max, 0, Int.max, 2]).elements == [])
    }

    @Test func elementsMustFillTheShape() {
        #expect(throws: ConvolutionError(.shape, "elements has 5; shape [1, 2, 3, 1] has 6")) {
            try Tensor<Float>([1, 2, 3, 4, 5], shape: [1, 2, 3, 1])
        }
        #expect(throws: ConvolutionError(.shape, "elements has 1; shape [1, 0, 3, 1] has 0")) {
            try Tensor<Float>([1], shape: [1, 0, 3, 1])
        }
        #expect(throws: ConvolutionError(.shape, "tensor has shape [-1, -1]; a length must be at least 0")) {
            try Tensor<Float>([1], shape: [-1, -1])
        }
    }

    @Test func sizesBeyondTheMachine() {
        #expect(
            throws: ConvolutionError(
                .overflow, "shape [4611686018427387904, 4] has more elements than 64 bits can count")
        ) {
            try Tensor<Float>(repeating: 0, shape: [1 << 62, 4])
        }
        #expect(
            throws: ConvolutionError(
                .outOfMemory, "out of memory: shape [1048576, 1073741824] needs 1125899906842624 times 8 bytes")
        ) {
            try Tensor<Double>(repeating: 0, shape: [1 << 20, 1 << 30])
        }
    }

    @Test func equalityLooksAtShapeAndElements() throws {
        let tensor = try Tensor<Float>([1, 2], shape: [1, 2])
        #expect(try tensor == Tensor([1, 2], shape: [1, 2]))
        #expect(try tensor != Tensor([1, 2], shape: [2, 1]))
        #expect(try tensor != Tensor([1, 3], shape: [1, 2]))
    }
}
