import CConvolution

// Where the elements of a call's arrays lie: element strides, the bytes they reach, and that what is written meets nothing else.

/// Element strides of one tensor by axis name, whatever its data format.
struct Strides {
    var batch: Int
    var row: Int
    var column: Int
    var channel: Int
}

/// The sizes of one tensor by axis name, whatever its data format.
struct TensorShape {
    var batch: Int
    var rows: Int
    var columns: Int
    var channels: Int

    var isEmpty: Bool { batch == 0 || rows == 0 || columns == 0 || channels == 0 }

    /// Packed strides in the order of the data format. Where this overflows there is no element.
    func packed(channelsFirst: Bool) -> Strides {
        channelsFirst
            ? Strides(batch: rows &* columns &* channels, row: columns, column: 1, channel: rows &* columns)
            : Strides(batch: rows &* columns &* channels, row: columns &* channels, column: channels, channel: 1)
    }
}

/// Strides of a tensor in the order of `data_format`, 0 replaced by packed.
@inline(never)
func elementStrides(
    _ given: (Int64, Int64, Int64, Int64), _ name: StaticString, _ shape: TensorShape, channelsFirst: Bool
) throws(Failure) -> Strides {
    func resolve(_ stride: Int64, _ inner: Int, _ length: Int) throws(Failure) -> Int {
        let stride = Int(stride)
        if stride > largestLength || stride < -largestLength {
            throw Failure(CONVOLUTION_ERROR_ELEMENT_STRIDES, "\(name) has \(stride); each must be from -2^48 to 2^48")
        }
        return stride != 0 ? stride : try times(inner, length, name)
    }
    var strides: Strides
    if channelsFirst {
        let column = try resolve(given.3, 1, 1)
        let row = try resolve(given.2, column, shape.columns)
        let channel = try resolve(given.1, row, shape.rows)
        strides = Strides(batch: try resolve(given.0, channel, shape.channels), row: row, column: column, channel: channel)
    } else {
        let channel = try resolve(given.3, 1, 1)
        let column = try resolve(given.2, channel, shape.channels)
        let row = try resolve(given.1, column, shape.columns)
        strides = Strides(batch: try resolve(given.0, row, shape.rows), row: row, column: column, channel: channel)
    }
    // An axis of at most one element is never stepped along, so its stride may be anything; but nothing is to be multiplied with
    // it.
    if shape.batch <= 1 { strides.batch = 1 }
    if shape.rows <= 1 { strides.row = 1 }
    if shape.columns <= 1 { strides.column = 1 }
    if shape.channels <= 1 { strides.channel = 1 }
    _ = try span(strides, name, shape)
    return strides
}

/// The lowest and highest element offset of a tensor, in elements from its first; nil if it has none.
func span(_ strides: Strides, _ name: StaticString, _ shape: TensorShape) throws(Failure) -> ClosedRange<Int>? {
    if shape.isEmpty { return nil }
    var low = 0
    var high = 0
    func extend(_ stride: Int, _ length: Int) throws(Failure) {
        let reach = try times(stride, length - 1, name)
        if reach < 0 { low = try plus(low, reach, name) } else { high = try plus(high, reach, name) }
    }
    try extend(strides.batch, shape.batch)
    try extend(strides.row, shape.rows)
    try extend(strides.column, shape.columns)
    try extend(strides.channel, shape.channels)
    return low...high
}

/// No two output elements may share a place. Sorted by stride, each axis must step over all that the shorter ones span; that
/// refuses a few strange interleavings that would be disjoint, and nothing that a slice, a crop or a flip produces.
func checkDisjoint(_ strides: Strides, _ name: StaticString, _ shape: TensorShape) throws(Failure) {
    if shape.isEmpty { return }
    var axes: InlineArray<4, (stride: Int, length: Int)> = [
        (strides.batch, shape.batch), (strides.row, shape.rows), (strides.column, shape.columns),
        (strides.channel, shape.channels),
    ]
    for i in 1..<4 {
        var j = i
        while j > 0, abs(axes[j].stride) < abs(axes[j - 1].stride) {
            axes.swapAt(j, j - 1)
            j -= 1
        }
    }
    var reach = 0
    for i in 0..<4 where axes[i].length > 1 {
        if abs(axes[i].stride) <= reach {
            throw Failure(
                CONVOLUTION_ERROR_ELEMENT_STRIDES,
                """
                \(name) has \(axes[i].stride), but the axes inside it span \(reach + 1) elements; two elements of the result \
                would share one place
                """)
        }
        reach += abs(axes[i].stride) * (axes[i].length - 1)
    }
}

/// An array argument of a call: where its elements lie.
struct Extent {
    var low: UInt
    /// One past the last byte.
    var high: UInt
    /// There are elements, and no gaps: every byte between belongs to one.
    var isDense: Bool
}

/// Where the elements of a tensor lie, in bytes from the first. It is known when a plan is made, and what is left for each of its
/// executions are a few comparisons.
struct Footprint {
    var low = 0
    /// One past the last byte.
    var high = 0
    var isEmpty = true
    var isDense = false

    init(_ strides: Strides, _ name: StaticString, _ shape: TensorShape, elementBytes: Int) throws(Failure) {
        guard let range = try span(strides, name, shape) else { return }
        low = range.lowerBound &* elementBytes
        high = (range.upperBound &+ 1) &* elementBytes
        isEmpty = false
        isDense = range.upperBound - range.lowerBound + 1 == shape.batch * shape.rows * shape.columns * shape.channels
    }

    /// The bytes of the tensor behind `pointer`. NULL is refused unless there are none.
    func extent(at pointer: UnsafeRawPointer?, _ name: StaticString) throws(Failure) -> Extent {
        if pointer == nil, !isEmpty {
            throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "\(name) is NULL; it must point to the elements")
        }
        let address = UInt(bitPattern: pointer)
        return Extent(low: address &+ UInt(bitPattern: low), high: address &+ UInt(bitPattern: high), isDense: isDense)
    }
}

/// The two tensors that an execution of a plan is given.
struct Arrays {
    var read: Footprint
    var written: Footprint

    /// They must be there, and not meet. Returns where is written.
    @discardableResult
    @_optimize(speed)
    func check(
        _ input: UnsafeRawPointer?, _ inputName: StaticString, _ output: UnsafeRawPointer?, _ outputName: StaticString
    ) throws(Failure) -> Extent {
        let input = try read.extent(at: input, inputName)
        let output = try written.extent(at: output, outputName)
        try checkApart(output, of: outputName, input, inputName)
        return output
    }
}

func extent(_ pointer: UnsafeRawPointer?, bytes: Int) -> Extent {
    let address = UInt(bitPattern: pointer)
    return Extent(low: address, high: address &+ UInt(bitPattern: bytes), isDense: pointer != nil && bytes > 0)
}

/// Two strided views may interleave (one channel of a picture into another), so ranges that meet are refused only where both are
/// dense.
func checkApart(
    _ result: Extent, of resultName: StaticString = "output", _ other: Extent, _ name: StaticString
) throws(Failure) {
    if result.isDense, other.isDense, result.low < other.high, other.low < result.high {
        throw Failure(CONVOLUTION_ERROR_OVERLAP, "\(resultName) overlaps \(name); they must not share memory")
    }
}
