import Convolution
import Testing

@Suite struct MatrixTests {
    private let input: Tensor<Double>
    private let kernel: Tensor<Double>

    init() throws {
        input = try wholeNumbers([1, 4, 5, 4], seed: 31)
        kernel = try wholeNumbers([2, 3, 2, 6], seed: 32)
    }

    private func product(_ matrix: Tensor<Double>, _ vector: [Double]) -> [Double] {
        (0..<matrix.shape[0]).map { row in (0..<matrix.shape[1]).reduce(0) { $0 + matrix[row, $1] * vector[$1] } }
    }

    @Test(arguments: [PaddingMode.zeros, .reflect, .symmetric, .replicate, .circular], DataFormat.allCases)
    func timesTheInputIsTheOutput(_ mode: PaddingMode, _ dataFormat: DataFormat) throws {
        let options = Conv2DOptions(
            strides: (1, 2), padding: .explicit(top: 2, bottom: 0, left: 1, right: 3), paddingMode: mode, groups: 2,
            dataFormat: dataFormat)
        let ordered = dataFormat == .channelsFirst ? try input.permuted(toChannelsFirst) : input
        let output = try conv2d(ordered, kernel: kernel, options: options)
        let matrix = try conv2dMatrix(inputShape: ordered.shape, kernel: kernel, options: options)
        #expect(matrix.shape == [output.elements.count, ordered.elements.count])
        #expect(product(matrix, ordered.elements) == output.elements)
    }

    @Test(arguments: [Conv2DOptions.KernelFormat.keras, .torch])
    func sparseIsDense(_ kernelFormat: Conv2DOptions.KernelFormat) throws {
        let options = Conv2DOptions(padding: .same, groups: 2, flipKernel: true, kernelFormat: kernelFormat)
        let ordered = kernelFormat == .torch ? try kernel.permuted(toTorchKernel) : kernel
        let dense = try conv2dMatrix(inputShape: input.shape, kernel: ordered, options: options)
        let sparse = try conv2dSparseMatrix(inputShape: input.shape, kernel: ordered, options: options)
        #expect([sparse.rows, sparse.columns] == dense.shape)
        #expect(sparse.rowOffsets.count == sparse.rows + 1)
        #expect(sparse.columnIndices.count == sparse.values.count && sparse.rowOffsets.last == sparse.values.count)
        var rebuilt = try Tensor(repeating: 0.0, shape: dense.shape)
        for row in 0..<sparse.rows {
            let entries = sparse.rowOffsets[row]..<sparse.rowOffsets[row + 1]
            for (entry, next) in zip(entries, entries.dropFirst()) {
                #expect(sparse.columnIndices[entry] < sparse.columnIndices[next])
            }
            for entry in entries { rebuilt[row, sparse.columnIndices[entry]] = sparse.values[entry] }
        }
        #expect(rebuilt == dense)
        // SAME pads a row at the end and a column at either side: of the 4 rows the last meets 1 input row, the others 2, and of
        // the 5 columns the outer ones meet 2, the others 3. Each pair counts for 6 output channels times 2 input channels.
        #expect(sparse.values.count == 7 * 13 * 6 * 2)
    }

    private func dense(_ sparse: SparseMatrix<Double>) throws -> Tensor<Double> {
        var result = try Tensor(repeating: 0.0, shape: [sparse.rows, sparse.columns])
        for row in 0..<sparse.rows {
            for entry in sparse.rowOffsets[row]..<sparse.rowOffsets[row + 1] {
                result[row, sparse.columnIndices[entry]] = sparse.values[entry]
            }
        }
        return result
    }

    @Test func ofATransposedConvolution() throws {
        let kernel = try wholeNumbers([2, 3, 3, 4], seed: 35)
        let options = Conv2DTransposeOptions(strides: (2, 1), groups: 2)
        let output = try conv2dTranspose(input, kernel: kernel, options: options)
        let matrix = try conv2dTransposeMatrix(inputShape: input.shape, kernel: kernel, options: options)
        #expect(product(matrix, input.elements) == output.elements)
        #expect(try dense(conv2dTransposeSparseMatrix(inputShape: input.shape, kernel: kernel, options: options)) == matrix)
    }

    @Test func ofAnUpsampling() throws {
        let (size, options) = (UpsampledSize.factor(height: 2, width: 4), Upsample2DOptions(interpolation: .bilinear))
        let output = try upsample2d(input, size: size, options: options)
        let matrix = try upsample2dMatrix(of: Double.self, inputShape: input.shape, size: size, options: options)
        #expect(product(matrix, input.elements) == output.elements)
        let sparse = try upsample2dSparseMatrix(of: Double.self, inputShape: input.shape, size: size, options: options)
        #expect(try dense(sparse) == matrix)
        #expect(sparse.values.allSatisfy { $0 != 0 })
    }

    @Test func batchPlaysNoPart() throws {
        let one = try conv2dMatrix(inputShape: [1, 4, 5, 4], kernel: kernel, options: .init(groups: 2))
        #expect(try conv2dMatrix(inputShape: [3, 4, 5, 4], kernel: kernel, options: .init(groups: 2)) == one)
    }

    @Test func transposeIsConv2DTranspose() throws {
        let small = try wholeNumbers([3, 2, 2, 3], seed: 33)
        let forward = try conv2dMatrix(inputShape: [1, 5, 4, 2], kernel: small, options: .init(strides: (2, 1)))
        let y = try wholeNumbers([1, 2, 3, 3], seed: 34)
        let back = try conv2dTranspose(y, kernel: small, options: .init(strides: (2, 1)))
        let transposed = (0..<forward.shape[1]).map { column in
            (0..<forward.shape[0]).reduce(0) { $0 + forward[$1, column] * y.elements[$1] }
        }
        #expect(back.shape == [1, 5, 4, 2] && back.elements == transposed)
    }

    @Test func constantPaddingIsNotLinear() throws {
        let options = Conv2DOptions(padding: .same, paddingMode: .constant(2), groups: 2)
        let error = #expect(throws: ConvolutionError.self) {
            try conv2dMatrix(inputShape: input.shape, kernel: kernel, options: options)
        }
        #expect(error?.status == .unsupported)
        #expect(error?.message.contains("padding_value is 2") == true)
    }
}
