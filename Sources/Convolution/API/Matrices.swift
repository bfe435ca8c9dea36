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
    return try call.matrix(size: conv2d_matrix_size) { conv2d_matrix($0, kernel.elements, $1, $2) }
}

/// The matrix of `conv2dMatrix` in sparse form. An entry is stored for each pair of elements that the kernel joins, also where
/// that kernel element is 0.
///
/// - Throws: what `conv2dMatrix` would.
public func conv2dSparseMatrix<Scalar>(
    inputShape: [Int], kernel: Tensor<Scalar>, options: Conv2DOptions = Conv2DOptions()
) throws(ConvolutionError) -> SparseMatrix<Scalar> {
    let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
    return try call.sparseMatrix(size: conv2d_matrix_size) { conv2d_matrix_csr($0, kernel.elements, $1, $2, $3, $4) }
}

/// `conv2dTranspose` of one image as a matrix: see `conv2dMatrix`.
///
/// - Throws: what `conv2dTranspose` would for an input of this shape.
public func conv2dTransposeMatrix<Scalar>(
    inputShape: [Int], kernel: Tensor<Scalar>, options: Conv2DTransposeOptions = Conv2DTransposeOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
    return try call.matrix(size: conv2d_transpose_matrix_size) { conv2d_transpose_matrix($0, kernel.elements, $1, $2) }
}

/// The matrix of `conv2dTransposeMatrix` in sparse form.
///
/// - Throws: what `conv2dTranspose` would for an input of this shape.
public func conv2dTransposeSparseMatrix<Scalar>(
    inputShape: [Int], kernel: Tensor<Scalar>, options: Conv2DTransposeOptions = Conv2DTransposeOptions()
) throws(ConvolutionError) -> SparseMatrix<Scalar> {
    let call = try options.call(Scalar.self, inputShape: inputShape, kernelShape: kernel.shape)
    return try call.sparseMatrix(size: conv2d_transpose_matrix_size) {
        conv2d_transpose_matrix_csr($0, kernel.elements, $1, $2, $3, $4)
    }
}

/// `upsample2d` of one image as a matrix: see `conv2dMatrix`.
///
/// - Throws: what `upsample2d` would for an input of this shape.
public func upsample2dMatrix<Scalar: TensorScalar>(
    of _: Scalar.Type, inputShape: [Int], size: UpsampledSize, options: Upsample2DOptions = Upsample2DOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    let call = try options.call(Scalar.self, inputShape: inputShape, size: size)
    return try call.matrix(size: upsample2d_matrix_size) { upsample2d_matrix($0, $1, $2) }
}

/// The matrix of `upsample2dMatrix` in sparse form: an entry for each input element with a weight in an output element.
///
/// - Throws: what `upsample2d` would for an input of this shape.
public func upsample2dSparseMatrix<Scalar: TensorScalar>(
    of _: Scalar.Type, inputShape: [Int], size: UpsampledSize, options: Upsample2DOptions = Upsample2DOptions()
) throws(ConvolutionError) -> SparseMatrix<Scalar> {
    let call = try options.call(Scalar.self, inputShape: inputShape, size: size)
    return try call.sparseMatrix(size: upsample2d_matrix_size) { upsample2d_matrix_csr($0, $1, $2, $3, $4) }
}

private struct MatrixShape {
    var rows: Int64 = 0
    var columns: Int64 = 0
    var nonzeros: Int64 = 0
}

extension Call {
    fileprivate typealias SizeFunction =
        (UnsafePointer<P>?, UnsafeMutablePointer<Int64>?, UnsafeMutablePointer<Int64>?, UnsafeMutablePointer<Int64>?) -> Int32

    private func shape(_ size: SizeFunction) throws(ConvolutionError) -> MatrixShape {
        var shape = MatrixShape()
        try check(self { size($0, &shape.rows, &shape.columns, &shape.nonzeros) })
        return shape
    }

    fileprivate func matrix<Scalar>(
        size: SizeFunction, _ fill: (UnsafePointer<P>, UnsafeMutableRawPointer?, Int64) -> Int32
    ) throws(ConvolutionError) -> Tensor<Scalar> {
        let shape = try shape(size)
        return try Tensor(shape: [Int(shape.rows), Int(shape.columns)]) { matrix in
            self { fill($0, matrix, shape.rows * shape.columns) }
        }
    }

    fileprivate func sparseMatrix<Scalar>(
        size: SizeFunction,
        _ fill: (
            UnsafePointer<P>, UnsafeMutablePointer<Int64>, UnsafeMutablePointer<Int64>, UnsafeMutableRawPointer?, Int64
        ) -> Int32
    ) throws(ConvolutionError) -> SparseMatrix<Scalar> {
        let shape = try shape(size)
        var rowOffsets = [Int64](repeating: 0, count: try storableCount([Int(shape.rows) + 1], of: Int64.self))
        var columnIndices = [Int64](repeating: 0, count: try storableCount([Int(shape.nonzeros)], of: Int64.self))
        let values = try Tensor<Scalar>(shape: [Int(shape.nonzeros)]) { values in
            self { fill($0, &rowOffsets, &columnIndices, values, shape.nonzeros) }
        }
        return SparseMatrix(
            rows: Int(shape.rows), columns: Int(shape.columns), rowOffsets: rowOffsets.map { Int($0) },
            columnIndices: columnIndices.map { Int($0) }, values: values.elements)
    }
}
