import CConvolution
import ConvolutionKernels

// Checks of single fields, and of what all verbs' structs have: untrusted numbers in, checked ones out, or a failure that names
// the parameter, its value and what is permitted.

func checkChoice(_ value: Int32, _ name: StaticString, _ count: Int32, _ status: Int) throws(Failure) {
    if value < 0 || value >= count {
        throw Failure(status, "\(name) is \(value); it must be from 0 to \(count - 1)")
    }
}

func checkedFlag(_ value: Int32, _ name: StaticString) throws(Failure) -> Bool {
    try checkChoice(value, name, 2, CONVOLUTION_ERROR_FLAG)
    return value == 1
}

func checkedSize(_ value: Int64, _ name: StaticString, atLeast least: Int, _ status: Int) throws(Failure) -> Int {
    let value = Int(value)
    if value < least { throw Failure(status, "\(name) is \(value); it must be at least \(least)") }
    if value > largestLength {
        throw Failure(
            CONVOLUTION_ERROR_OVERFLOW, "\(name) is \(value); more than \(largestLength) (2^48) is beyond what memory can hold")
    }
    return value
}

/// A size whose 0 means 1.
func checkedStep(_ value: Int64, _ name: StaticString, _ status: Int) throws(Failure) -> Int {
    if value < 0 { throw Failure(status, "\(name) is \(Int(value)); it must be at least 1 (0 means 1)") }
    return try max(checkedSize(value, name, atLeast: 0, status), 1)
}

func checkedSigned(_ value: Int64, _ name: StaticString) throws(Failure) -> Int {
    let value = Int(value)
    if value > largestLength || value < -largestLength {
        throw Failure(
            CONVOLUTION_ERROR_OVERFLOW, "\(name) is \(value); it must be from -\(largestLength) to \(largestLength) (2^48)")
    }
    return value
}

func checkedThreads(_ value: Int32) throws(Failure) -> Int {
    if value < 0 || value > 1024 {
        throw Failure(CONVOLUTION_ERROR_THREADS, "threads is \(value); it must be from 0 (one per core) to 1024")
    }
    return Int(value)
}

/// The bytes of a packed array must be countable.
@inline(never)
func checkCount(_ what: StaticString, _ sizes: (Int, Int, Int, Int), elementBytes: Int) throws(Failure) {
    _ = try times(times(times(sizes.0, sizes.1, what), times(sizes.2, sizes.3, what), what), elementBytes, what)
}

/// The strides of input and output. The bytes of either must be countable, and no two output elements may share a place.
func tensorStrides(
    _ p: some Parameters, _ inputShape: TensorShape, _ outputShape: TensorShape
) throws(Failure) -> (input: Strides, output: Strides) {
    let channelsFirst = Int(p.data_format) == CONVOLUTION_NCHW
    let elementBytes = Int(p.dtype) == CONVOLUTION_FLOAT64 ? 8 : 4
    func check(_ what: StaticString, _ shape: TensorShape) throws(Failure) {
        try checkCount(what, (shape.batch, shape.rows, shape.columns, shape.channels), elementBytes: elementBytes)
    }
    try check("input size", inputShape)
    try check("output size", outputShape)
    let input = try elementStrides(p.input_strides, "input_strides", inputShape, channelsFirst: channelsFirst)
    let output = try elementStrides(p.output_strides, "output_strides", outputShape, channelsFirst: channelsFirst)
    try checkDisjoint(output, "output_strides", outputShape)
    return (input, output)
}
