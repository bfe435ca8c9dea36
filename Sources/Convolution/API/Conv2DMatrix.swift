import CConvolution

/// A matrix of which only some entries are stored, row by row (compressed sparse rows): those of row r are `values[j]` in column
/// `columnIndices[j]` for j in `rowOffsets[r] ..< rowOffsets[r + 1]`, columns ascending.
public struct SparseMatrix<Scalar: TensorScalar>: Hashable, Sendable {
    public let rows: Int
    public let columns: Int
    /// `rows` + 1 positions in the other two arrays.
    public let rowOffsets: [Int]
    public let columnIndices: [Int]
    public let values: [Scalar]
}

/// `conv2d` of one image as a matrix C: flattened output = C * flattened input + bias. Its transpose is `conv2dTranspose`.
///
/// Row r stands for output element r of one image, column c for input element c, both in the order of `options.dataFormat`.
/// Batch size and activation play no part.
///
/// - Returns: a tensor of shape `[rows, columns]`.
/// - Throws: what `conv2d` would for an input of this shape; `unsupported` for padding with a constant other than 0, which is
///   not linear.
public func conv2dMatrix<Scalar>(
    inputShape: [Int], kernel: Tensor<Scalar>, options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
    let size = try call.matrixSize()
    return try Tensor(shape: [size.rows, size.columns]) { matrix in
        call { conv2d_matrix($0, kernel.elements, matrix, Int64(size.rows * size.columns)) }
    }
}

/// The matrix of `conv2dMatrix` in sparse form. An entry is stored for each pair of elements that the kernel joins, also where
/// that kernel element is 0.
///
/// - Throws: what `conv2dMatrix` would.
public func conv2dSparseMatrix<Scalar>(
    inputShape: [Int], kernel: Tensor<Scalar>, options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> SparseMatrix<Scalar> {
    let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
    let size = try call.matrixSize()
    var rowOffsets = [Int64](repeating: 0, count: try storableCount([size.rows + 1], of: Int64.self))
    var columnIndices = [Int64](repeating: 0, count: try storableCount([size.nonzeros], of: Int64.self))
    let values = try Tensor<Scalar>(shape: [size.nonzeros]) { values in
        call { conv2d_matrix_csr($0, kernel.elements, &rowOffsets, &columnIndices, values, Int64(size.nonzeros)) }
    }
    return SparseMatrix(
        rows: size.rows, columns: size.columns, rowOffsets: rowOffsets.map { Int($0) },
        columnIndices: columnIndices.map { Int($0) },
        values: values.elements)
}

extension Call<conv2d_params> {
    fileprivate func matrixSize() throws(ConvolutionError) -> MatrixSize {
        var (rows, columns, nonzeros): (Int64, Int64, Int64) = (0, 0, 0)
        try check(self { conv2d_matrix_size($0, &rows, &columns, &nonzeros) })
        return MatrixSize(rows: Int(rows), columns: Int(columns), nonzeros: Int(nonzeros))
    }
}
