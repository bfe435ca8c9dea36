import Convolution
import Testing

// Results that documents and frameworks print, by the names they use.

@Suite struct KerasDocument {
    private let diagonal: [[Float]] = (0..<5).map { row in (0..<5).map { $0 == row ? 5 : 0 } }

    @Test func conv2DWithStride2() throws {
        let weights: [[Float]] = [
            [0.37873605, -0.21734086, 0.10111681], [0.39398727, 0.38138524, -0.14542866], [-0.13162675, 0.29388335, -0.23697285],
        ]
        let output = try conv2d(image(diagonal), kernel: kernel(weights), options: .init(strides: (2, 2)))
        #expect(distance(output, try image([[2.6157422, -0.65813375], [0.505584, 2.6157422]])) < 1e-6)
    }

    @Test func upSampling2DOfRows() throws {
        let output = try upsample2d(image([[1, 2, 3], [4, 5, 6]] as [[Float]]), size: .factor(height: 3, width: 1))
        #expect(try output == image([[1, 2, 3], [1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6], [4, 5, 6]]))
    }

    @Test func upSampling2DOfTheDiagonal() throws {
        let output = try upsample2d(image(diagonal), size: .factor(height: 2, width: 2))
        #expect(try output == image((0..<10).map { row in (0..<10).map { $0 / 2 == row / 2 ? 5 : 0 } }))
    }

    @Test func conv2DTransposeSame() throws {
        let weights: [[Float]] = [
            [0.23676872, 0.23019093, -0.04622787], [-0.4418265, 0.11311585, -0.38515693], [0.36979067, 0.2140702, -0.41140068],
        ]
        let input: Tensor<Float> = try image([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
        let output = try conv2dTranspose(input, kernel: kernel(weights), options: .init(padding: .same))
        let printed = try image([
            [0.34988457, -0.154966, -0.04622787], [-0.22775626, -0.06151611, -0.154966], [0.36979067, -0.22775626, -0.29828483],
        ])
        #expect(distance(output, printed) < 1e-6)
    }

    @Test func conv2DTransposeWithStride2() throws {
        let weights: [[Float]] = [
            [-0.42253345, 0.34132046, -0.32057053], [-0.3672353, -0.2650267, 0.30951786], [0.26088667, -0.5487001, 0.49119878],
        ]
        let input: Tensor<Float> = try image([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
        let output = try conv2dTranspose(input, kernel: kernel(weights), options: .init(strides: (2, 2)))
        let printed = try image([
            [-0.42253345, 0.34132046, -0.32057053, 0, 0, 0, 0],
            [-0.3672353, -0.2650267, 0.30951786, 0, 0, 0, 0],
            [0.26088667, -0.5487001, 0.06866533, 0.34132046, -0.32057053, 0, 0],
            [0, 0, -0.3672353, -0.2650267, 0.30951786, 0, 0],
            [0, 0, 0.26088667, -0.5487001, 0.06866533, 0.34132046, -0.32057053],
            [0, 0, 0, 0, -0.3672353, -0.2650267, 0.30951786],
            [0, 0, 0, 0, 0.26088667, -0.5487001, 0.49119878],
        ])
        #expect(distance(output, printed) < 1e-6)
    }
}

@Suite struct PyTorchDocument {
    private let options = Conv2DTransposeOptions(rule: .torch, dataFormat: .channelsFirst, kernelFormat: .torch)

    @Test func convTranspose2d() throws {
        let counting = try Tensor<Float>([0, 1, 2, 3], shape: [1, 1, 2, 2])
        let output = try conv2dTranspose(counting, kernel: counting, options: options)
        #expect(try output == Tensor([0, 0, 1, 0, 4, 6, 4, 12, 9], shape: [1, 1, 3, 3]))
        var stride2 = options
        stride2.strides = (2, 2)
        let larger = try conv2dTranspose(counting, kernel: counting, options: stride2)
        #expect(try larger == Tensor([0, 0, 0, 1, 0, 0, 2, 3, 0, 2, 0, 3, 4, 6, 6, 9], shape: [1, 1, 4, 4]))
    }

    @Test func shapesOfStride2() throws {
        var stride2 = options
        stride2.strides = (2, 2)
        #expect(
            try conv2dTransposeOutputShape(inputShape: [1, 1, 4, 4], kernelShape: [1, 1, 2, 2], options: stride2) == [1, 1, 8, 8])
        #expect(
            try conv2dTransposeOutputShape(inputShape: [1, 1, 4, 4], kernelShape: [1, 1, 2, 3], options: stride2) == [1, 1, 8, 9])
    }

    @Test func convolutionAsAMatrix() throws {
        let input = try Tensor<Float>([4, 3, 2, 1, 1, 4, 3, 2, 2, 1, 4, 3, 3, 2, 1, 4], shape: [1, 1, 4, 4])
        let cross = try Tensor<Float>([0, 1, 0, -1, 2, 2, 0, 1, 0], shape: [1, 1, 3, 3])
        let forward = Conv2DOptions(dataFormat: .channelsFirst, kernelFormat: .torch)
        let y = try conv2d(input, kernel: cross, options: forward)
        #expect(try y == Tensor([17, 12, 14, 17], shape: [1, 1, 2, 2]))
        let matrix = try conv2dMatrix(inputShape: input.shape, kernel: cross, options: forward)
        let printed: [Float] = [
            0, 1, 0, 0, -1, 2, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0,
            0, 0, 1, 0, 0, -1, 2, 2, 0, 0, 1, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 1, 0, 0, -1, 2, 2, 0, 0, 1, 0, 0,
            0, 0, 0, 0, 0, 0, 1, 0, 0, -1, 2, 2, 0, 0, 1, 0,
        ]
        #expect(try matrix == Tensor(printed, shape: [4, 16]))
        let z = try conv2dTranspose(y, kernel: cross, options: options)
        #expect(try z == Tensor([0, 17, 12, 0, -17, 36, 75, 24, -14, 28, 74, 34, 0, 14, 17, 0], shape: [1, 1, 4, 4]))
    }
}

@Suite struct NumPyDocument {
    @Test func trueConvolutionFlipsTheKernel() throws {
        let input: Tensor<Double> = try image([
            [5, 0, 3, 3, 7, 9], [3, 5, 2, 4, 7, 6], [8, 8, 1, 6, 7, 7], [8, 1, 5, 9, 8, 9], [4, 3, 0, 3, 5, 0],
            [2, 3, 8, 1, 3, 3],
        ])
        let edges: [[Double]] = [[1, 0, -1], [1, 0, -1], [1, 0, -1]]
        let expected: Tensor<Double> = try image([[10, 0, -15, -9], [11, -5, -14, -3], [14, -6, -14, 2], [1, -6, -3, 1]])
        #expect(try conv2d(input, kernel: kernel(edges)) == expected)
        let negated = edges.map { row in row.map { -$0 } }
        #expect(try conv2d(input, kernel: kernel(negated), options: .init(flipKernel: true)) == expected)
    }

    @Test func strided() throws {
        let input: Tensor<Double> = try image([
            [2, 3, 7, 4, 6, 2, 9], [6, 6, 9, 8, 7, 4, 3], [3, 4, 8, 3, 8, 9, 7], [7, 8, 3, 6, 6, 3, 4], [4, 2, 1, 8, 3, 4, 6],
            [3, 2, 4, 1, 9, 8, 3], [0, 1, 3, 9, 2, 1, 4],
        ])
        let output = try conv2d(input, kernel: kernel([[3, 4, 4], [1, 0, 2], [-1, 0, 3]]), options: .init(strides: (2, 2)))
        #expect(try output == image([[91, 100, 88], [69, 91, 117], [44, 72, 74]]))
    }
}

@Suite struct MatrixDocument {
    private let weights: [[Float]] = [[1, 2, 4], [1, 1, 3], [1, 2, 4]]

    @Test func convolution() throws {
        let input: Tensor<Float> = try image([[3, 3, 3, 6], [7, 4, 3, 2], [7, 2, 8, 5], [1, 7, 3, 1]])
        #expect(try conv2d(input, kernel: kernel(weights)) == image([[84, 84], [87, 60]]))
    }

    @Test func transposedConvolution() throws {
        let output = try conv2dTranspose(image([[2, 3], [4, 3]]), kernel: kernel(weights))
        #expect(try output == image([[2, 7, 14, 12], [6, 16, 31, 21], [6, 14, 29, 21], [4, 11, 22, 12]]))
    }
}
