import CConvolution
import ConvolutionKernels

// Untrusted C params in, a checked `Layer` or `Resampling` out, or a failure that names the parameter, its value and what is
// permitted. What can still fail afterwards is an array that is missing or too short, and memory.

// MARK: - The structs

/// What the parameter structs of all verbs have.
protocol Parameters {
    init()
    var struct_size: Int { get set }
    var batch: Int64 { get set }
    var height: Int64 { get set }
    var width: Int64 { get set }
    var input_strides: (Int64, Int64, Int64, Int64) { get set }
    var output_strides: (Int64, Int64, Int64, Int64) { get set }
    var isa: UnsafePointer<CChar>! { get set }
    var dtype: Int32 { get set }
    var data_format: Int32 { get set }
    var threads: Int32 { get set }
    var accumulate: Int32 { get set }
}

/// What the parameter structs of the verbs with a kernel have.
protocol LayerParameters: Parameters {
    var in_channels: Int64 { get set }
    var out_channels: Int64 { get set }
    var kernel_height: Int64 { get set }
    var kernel_width: Int64 { get set }
    var stride_height: Int64 { get set }
    var stride_width: Int64 { get set }
    var dilation_height: Int64 { get set }
    var dilation_width: Int64 { get set }
    var groups: Int64 { get set }
    var depth_multiplier: Int64 { get set }
    var pad_top: Int64 { get set }
    var pad_bottom: Int64 { get set }
    var pad_left: Int64 { get set }
    var pad_right: Int64 { get set }
    var activation_alpha: Double { get set }
    var activation_min: Double { get set }
    var activation_max: Double { get set }
    var kernel_format: Int32 { get set }
    var padding: Int32 { get set }
    var flip_kernel: Int32 { get set }
    var activation: Int32 { get set }
    var allow_empty_output: Int32 { get set }
    var algorithm: Int32 { get set }
    var workspace_limit: Int64 { get set }
}

extension conv2d_params: LayerParameters {}
extension conv2d_transpose_params: LayerParameters {}
extension upsample2d_params: Parameters {}

/// A copy of the caller's struct. Callers compiled against the first release have one of `firstBytes`, against some later ones
/// perhaps one of `laterBytes` (0: there is none); the fields that those miss are zero. One longer than ours is accepted if what
/// we do not know of it is zero.
@inline(__always)
func readStruct<T>(
    _ pointer: UnsafePointer<T>?, _ name: StaticString, firstBytes: Int, laterBytes: Int = 0, into copy: inout T
) throws(Failure) {
    let given = try givenBytes(pointer, name, firstBytes: firstBytes, laterBytes: laterBytes, known: MemoryLayout<T>.size)
    withUnsafeMutableBytes(of: &copy) { $0.copyMemory(from: given) }
}

/// The bytes of the caller's struct that this version knows.
@inline(never)
private func givenBytes(
    _ pointer: UnsafeRawPointer?, _ name: StaticString, firstBytes: Int, laterBytes: Int, known: Int
) throws(Failure) -> UnsafeRawBufferPointer {
    guard let bytes = pointer else { throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "params is NULL; it must point to a \(name)") }
    let given = bytes.loadUnaligned(as: UInt.self)
    // Far above any size this struct will have; it keeps a garbage size from being walked.
    guard given >= UInt(known) || given == UInt(firstBytes) || laterBytes > 0 && given == UInt(laterBytes),
        given <= 4096 else {
        throw Failure(
            CONVOLUTION_ERROR_STRUCT_SIZE, "struct_size is \(given); it must be sizeof(\(name)), \(known) in this version")
    }
    for i in min(known, Int(given))..<Int(given) where bytes.load(fromByteOffset: i, as: UInt8.self) != 0 {
        throw Failure(
            CONVOLUTION_ERROR_STRUCT_SIZE,
            "struct_size is \(given) and byte \(i) of \(name) is not 0; this version of the library knows \(known) bytes of it")
    }
    return UnsafeRawBufferPointer(start: bytes, count: min(known, Int(given)))
}

private func choice(_ value: Int32, _ name: StaticString, _ count: Int32, _ status: Int) throws(Failure) {
    if value < 0 || value >= count {
        throw Failure(status, "\(name) is \(value); it must be from 0 to \(count - 1)")
    }
}

private func flag(_ value: Int32, _ name: StaticString) throws(Failure) -> Bool {
    try choice(value, name, 2, CONVOLUTION_ERROR_FLAG)
    return value == 1
}

private func size(_ value: Int64, _ name: StaticString, atLeast least: Int, _ status: Int) throws(Failure) -> Int {
    let value = Int(value)
    if value < least { throw Failure(status, "\(name) is \(value); it must be at least \(least)") }
    if value > largestLength {
        throw Failure(
            CONVOLUTION_ERROR_OVERFLOW, "\(name) is \(value); more than \(largestLength) (2^48) is beyond what memory can hold")
    }
    return value
}

/// A size whose 0 means 1.
private func step(_ value: Int64, _ name: StaticString, _ status: Int) throws(Failure) -> Int {
    if value < 0 { throw Failure(status, "\(name) is \(Int(value)); it must be at least 1 (0 means 1)") }
    return try max(size(value, name, atLeast: 0, status), 1)
}

private func signed(_ value: Int64, _ name: StaticString) throws(Failure) -> Int {
    let value = Int(value)
    if value > largestLength || value < -largestLength {
        throw Failure(
            CONVOLUTION_ERROR_OVERFLOW, "\(name) is \(value); it must be from -\(largestLength) to \(largestLength) (2^48)")
    }
    return value
}

private func threadCount(_ value: Int32) throws(Failure) -> Int {
    if value < 0 || value > 1024 {
        throw Failure(CONVOLUTION_ERROR_THREADS, "threads is \(value); it must be from 0 (one per core) to 1024")
    }
    return Int(value)
}

private func activation(
    _ kind: Int32, alpha: Double, min low: Double, max high: Double
) throws(Failure) -> TileActivation<Double> {
    try choice(kind, "activation", 7, CONVOLUTION_ERROR_ACTIVATION)
    func unread(_ value: Double, _ name: StaticString, _ reader: StaticString) throws(Failure) {
        if value != 0 {
            throw Failure(
                CONVOLUTION_ERROR_ACTIVATION,
                "\(name) is \(value) and activation is \(kind); only activation \(reader) reads it, else it must be 0")
        }
    }
    if Int(kind) != CONVOLUTION_ACTIVATION_LEAKY_RELU { try unread(alpha, "activation_alpha", "LEAKY_RELU (4)") }
    if Int(kind) != CONVOLUTION_ACTIVATION_CLAMP {
        try unread(low, "activation_min", "CLAMP (3)")
        try unread(high, "activation_max", "CLAMP (3)")
    }
    switch Int(kind) {
    case CONVOLUTION_ACTIVATION_RELU: return .bounded(0, .infinity)
    case CONVOLUTION_ACTIVATION_RELU6: return .bounded(0, 6)
    case CONVOLUTION_ACTIVATION_CLAMP:
        if low.isNaN { throw Failure(CONVOLUTION_ERROR_ACTIVATION, "activation_min is \(low); it must be a number") }
        if high.isNaN { throw Failure(CONVOLUTION_ERROR_ACTIVATION, "activation_max is \(high); it must be a number") }
        if low > high {
            throw Failure(
                CONVOLUTION_ERROR_ACTIVATION, "activation_min is \(low) and activation_max is \(high); min must not exceed max")
        }
        return .bounded(low, high)
    case CONVOLUTION_ACTIVATION_LEAKY_RELU:
        if !alpha.isFinite { throw Failure(CONVOLUTION_ERROR_ACTIVATION, "activation_alpha is \(alpha); it must be finite") }
        return .leaky(alpha == 0 ? 0.01 : alpha)
    case CONVOLUTION_ACTIVATION_SIGMOID: return .sigmoid
    case CONVOLUTION_ACTIVATION_TANH: return .tanh
    default: return .none
    }
}

private func means(_ algorithm: Int32, workspaceLimit: Int64, accumulate: Int32) throws(Failure) -> Means {
    try choice(algorithm, "algorithm", 2, CONVOLUTION_ERROR_ALGORITHM)
    if workspaceLimit < 0 {
        throw Failure(CONVOLUTION_ERROR_WORKSPACE, "workspace_limit is \(Int(workspaceLimit)); it must be at least 0 (no limit)")
    }
    return try Means(
        permitsWinograd: Int(algorithm) == CONVOLUTION_ALGORITHM_WINOGRAD,
        workspaceLimit: workspaceLimit == 0 ? Int.max : Int(workspaceLimit), accumulates: flag(accumulate, "accumulate"))
}

/// Groups and channel counts; `depthMultiplier` not 0 means depthwise.
private func channels(
    input: Int64, output: Int64, groups: Int64, depthMultiplier: Int64
) throws(Failure) -> (input: Int, output: Int, groups: Int) {
    let inChannels = try size(input, "in_channels", atLeast: 0, CONVOLUTION_ERROR_CHANNELS)
    let outChannels = try size(output, "out_channels", atLeast: 0, CONVOLUTION_ERROR_CHANNELS)
    let groups = try size(groups, "groups", atLeast: 0, CONVOLUTION_ERROR_GROUPS)
    let multiplier = try size(depthMultiplier, "depth_multiplier", atLeast: 0, CONVOLUTION_ERROR_GROUPS)
    if multiplier > 0 {
        let expected = try times(inChannels, multiplier, "depth_multiplier")
        if outChannels != 0, outChannels != expected {
            throw Failure(
                CONVOLUTION_ERROR_GROUPS,
                """
                depth_multiplier is \(multiplier) and out_channels \(outChannels); with in_channels \(inChannels) out_channels \
                must be \(expected) (or 0)
                """)
        }
        if groups != 0, groups != inChannels {
            throw Failure(
                CONVOLUTION_ERROR_GROUPS,
                "depth_multiplier is \(multiplier) and groups \(groups); groups must be in_channels, \(inChannels) (or 0)")
        }
        return (inChannels, expected, max(inChannels, 1))
    }
    let count = max(groups, 1)
    if inChannels % count != 0 {
        throw Failure(CONVOLUTION_ERROR_GROUPS, "groups is \(count); it must divide in_channels, \(inChannels)")
    }
    if outChannels % count != 0 {
        throw Failure(CONVOLUTION_ERROR_GROUPS, "groups is \(count); it must divide out_channels, \(outChannels)")
    }
    return (inChannels, outChannels, count)
}

private func padding(_ kind: Int32, before: Int64, after: Int64, _ names: AxisNames) throws(Failure) -> AxisPadding {
    if Int(kind) != CONVOLUTION_PADDING_EXPLICIT {
        try absent(before, names.padBefore, kind)
        try absent(after, names.padAfter, kind)
    }
    switch Int(kind) {
    case CONVOLUTION_PADDING_SAME: return .same
    case CONVOLUTION_PADDING_SAME_LOWER: return .sameLower
    case CONVOLUTION_PADDING_FULL: return .full
    case CONVOLUTION_PADDING_CAUSAL: return .causal
    case CONVOLUTION_PADDING_EXPLICIT:
        return try .explicit(before: signed(before, names.padBefore), after: signed(after, names.padAfter))
    default: return .valid
    }
}

private func absent(_ pad: Int64, _ name: StaticString, _ kind: Int32) throws(Failure) {
    if pad != 0 {
        throw Failure(
            CONVOLUTION_ERROR_PADDING,
            "\(name) is \(Int(pad)) and padding is \(kind); only padding EXPLICIT (5) reads it, else it must be 0")
    }
}

private func checkBorder(_ pad: Int, input: Int, _ mode: BorderMode, _ name: StaticString, _ names: AxisNames) throws(Failure) {
    let limit: Int
    switch mode {
    case .constant: return
    case .replicate: limit = input == 0 ? 0 : Int.max
    case .reflect: limit = max(input - 1, 0)
    case .symmetric, .circular: limit = input
    }
    if pad > limit {
        throw Failure(
            CONVOLUTION_ERROR_PADDING,
            "\(name) is \(pad); this padding_mode permits at most \(limit) with \(names.size) \(input)")
    }
}

/// The bytes of a packed tensor must be countable.
private func checkCount(_ what: StaticString, _ sizes: (Int, Int, Int, Int), elementBytes: Int) throws(Failure) {
    _ = try times(times(times(sizes.0, sizes.1, what), times(sizes.2, sizes.3, what), what), elementBytes, what)
}

/// The strides of input and output. The bytes of either must be countable, and no two output elements may share a place.
private func tensorStrides<Lengths: AxisLengths>(
    _ p: some Parameters, batch: Int, _ vertical: Lengths, _ horizontal: Lengths, inChannels: Int, outChannels: Int
) throws(Failure) -> (input: Strides, output: Strides) {
    let channelsFirst = Int(p.data_format) == CONVOLUTION_NCHW
    let elementBytes = Int(p.dtype) == CONVOLUTION_FLOAT64 ? 8 : 4
    try checkCount("input size", (batch, vertical.input, horizontal.input, inChannels), elementBytes: elementBytes)
    try checkCount("output size", (batch, vertical.output, horizontal.output, outChannels), elementBytes: elementBytes)
    let input = try elementStrides(
        p.input_strides, "input_strides", batch: batch, rows: vertical.input, columns: horizontal.input, channels: inChannels,
        channelsFirst: channelsFirst)
    let output = try elementStrides(
        p.output_strides, "output_strides", batch: batch, rows: vertical.output, columns: horizontal.output,
        channels: outChannels, channelsFirst: channelsFirst)
    try checkDisjoint(
        output, "output_strides", batch: batch, rows: vertical.output, columns: horizontal.output, channels: outChannels)
    return (input, output)
}

// MARK: - conv2d and conv2d_transpose

/// What an axis of a layer is made of, and the names of its parameters.
private struct AxisParameters {
    var names: AxisNames
    var input: Int64
    var kernel: Int64
    var stride: Int64
    var dilation: Int64
    var padBefore: Int64
    var padAfter: Int64

    /// The axis, whose window of the output is still to come.
    func checked() throws(Failure) -> Axis {
        try Axis(
            input: size(input, names.size, atLeast: 0, CONVOLUTION_ERROR_IMAGE_SIZE),
            kernel: size(kernel, names.kernel, atLeast: 1, CONVOLUTION_ERROR_KERNEL_SIZE),
            stride: step(stride, names.stride, CONVOLUTION_ERROR_STRIDE),
            dilation: step(dilation, names.dilation, CONVOLUTION_ERROR_DILATION), output: 0, start: 0)
    }

    func checkedOutput(_ output: Int, of axis: Axis, allowsEmpty: Bool) throws(Failure) -> Int {
        if output < 1 && !allowsEmpty {
            throw Failure(
                CONVOLUTION_ERROR_EMPTY_OUTPUT,
                """
                \(names.size) \(axis.input) and \(names.kernel) \(axis.kernel) (\(names.dilation) \(axis.dilation), \
                \(names.padBefore) \(Int(padBefore)), \(names.padAfter) \(Int(padAfter))) give an output of \(output); \
                allow_empty_output is 0, so it must be at least 1
                """)
        }
        return max(output, 0)
    }
}

extension LayerParameters {
    fileprivate var vertical: AxisParameters {
        AxisParameters(
            names: .vertical, input: height, kernel: kernel_height, stride: stride_height, dilation: dilation_height,
            padBefore: pad_top, padAfter: pad_bottom)
    }
    fileprivate var horizontal: AxisParameters {
        AxisParameters(
            names: .horizontal, input: width, kernel: kernel_width, stride: stride_width, dilation: dilation_width,
            padBefore: pad_left, padAfter: pad_right)
    }
}

/// The layer of parameters whose axes are checked.
private func checkedLayer(
    _ p: some LayerParameters, transposed: Bool, vertical: Axis, horizontal: Axis, paddingMode: BorderMode = .constant,
    paddingValue: Double = 0
) throws(Failure) -> Layer {
    try choice(p.dtype, "dtype", 2, CONVOLUTION_ERROR_DTYPE)
    try choice(p.data_format, "data_format", 2, CONVOLUTION_ERROR_DATA_FORMAT)
    try choice(p.kernel_format, "kernel_format", 2, CONVOLUTION_ERROR_KERNEL_FORMAT)
    let batch = try size(p.batch, "batch", atLeast: 0, CONVOLUTION_ERROR_IMAGE_SIZE)
    let (inChannels, outChannels, groups) = try channels(
        input: p.in_channels, output: p.out_channels, groups: p.groups, depthMultiplier: p.depth_multiplier)
    let channelsFirst = Int(p.data_format) == CONVOLUTION_NCHW
    let isDouble = Int(p.dtype) == CONVOLUTION_FLOAT64
    try checkCount(
        "kernel size", (vertical.kernel, horizontal.kernel, inChannels, outChannels / max(groups, 1)),
        elementBytes: isDouble ? 8 : 4)
    let (input, output) = try tensorStrides(
        p, batch: batch, vertical, horizontal, inChannels: inChannels, outChannels: outChannels)
    return try Layer(
        transposed: transposed, isDouble: isDouble, channelsFirst: channelsFirst,
        torchKernel: Int(p.kernel_format) == CONVOLUTION_KERNEL_TORCH, flipKernel: flag(p.flip_kernel, "flip_kernel"),
        batch: batch, inChannels: inChannels, outChannels: outChannels, groups: groups, vertical: vertical,
        horizontal: horizontal, paddingMode: paddingMode, paddingValue: paddingValue,
        activation: activation(p.activation, alpha: p.activation_alpha, min: p.activation_min, max: p.activation_max),
        input: input, output: output, threads: threadCount(p.threads), tier: Tier.chosen(p.isa),
        means: means(p.algorithm, workspaceLimit: p.workspace_limit, accumulate: p.accumulate))
}

func validate(_ pointer: UnsafePointer<conv2d_params>?) throws(Failure) -> Layer {
    try validate(read(pointer))
}

private func read(_ pointer: UnsafePointer<conv2d_params>?) throws(Failure) -> conv2d_params {
    var p = conv2d_params()
    try readStruct(pointer, "conv2d_params", firstBytes: 288, into: &p)
    return p
}

private func validate(_ p: conv2d_params) throws(Failure) -> Layer {
    try choice(p.padding, "padding", 6, CONVOLUTION_ERROR_PADDING)
    try choice(p.padding_mode, "padding_mode", 6, CONVOLUTION_ERROR_PADDING_MODE)
    if p.reserved != 0 { throw Failure(CONVOLUTION_ERROR_FLAG, "reserved is \(p.reserved); it must be 0") }
    let allowsEmpty = try flag(p.allow_empty_output, "allow_empty_output")

    let mode: BorderMode
    switch Int(p.padding_mode) {
    case CONVOLUTION_PADDING_MODE_REFLECT: mode = .reflect
    case CONVOLUTION_PADDING_MODE_SYMMETRIC: mode = .symmetric
    case CONVOLUTION_PADDING_MODE_REPLICATE: mode = .replicate
    case CONVOLUTION_PADDING_MODE_CIRCULAR: mode = .circular
    default: mode = .constant
    }
    if p.padding_value != 0, Int(p.padding_mode) != CONVOLUTION_PADDING_MODE_CONSTANT {
        throw Failure(
            CONVOLUTION_ERROR_PADDING_MODE,
            """
            padding_value is \(p.padding_value) and padding_mode is \(p.padding_mode); only padding_mode CONSTANT (1) reads it, \
            else it must be 0
            """)
    }

    func axis(_ parameters: AxisParameters) throws(Failure) -> Axis {
        let names = parameters.names
        var axis = try parameters.checked()
        let window = try convolutionWindow(
            input: axis.input, kernel: axis.kernel, stride: axis.stride, dilation: axis.dilation,
            padding: padding(p.padding, before: parameters.padBefore, after: parameters.padAfter, names), names)
        try checkBorder(window.before, input: axis.input, mode, names.padBefore, names)
        try checkBorder(window.after, input: axis.input, mode, names.padAfter, names)
        axis.start = window.before
        axis.output = try parameters.checkedOutput(window.output, of: axis, allowsEmpty: allowsEmpty)
        return axis
    }
    return try checkedLayer(
        p, transposed: false, vertical: axis(p.vertical), horizontal: axis(p.horizontal), paddingMode: mode,
        paddingValue: p.padding_value)
}

func validate(_ pointer: UnsafePointer<conv2d_transpose_params>?) throws(Failure) -> Layer {
    var p = conv2d_transpose_params()
    try readStruct(pointer, "conv2d_transpose_params", firstBytes: 312, into: &p)
    try choice(p.rule, "rule", 5, CONVOLUTION_ERROR_RULE)
    try choice(p.padding, "padding", 6, CONVOLUTION_ERROR_PADDING)
    let outputPaddingGiven = try flag(p.output_padding_given, "output_padding_given")
    let allowsEmpty = try flag(p.allow_empty_output, "allow_empty_output")
    let wantedHeight = try size(p.output_height, "output_height", atLeast: 0, CONVOLUTION_ERROR_OUTPUT_SIZE)
    let wantedWidth = try size(p.output_width, "output_width", atLeast: 0, CONVOLUTION_ERROR_OUTPUT_SIZE)
    if (wantedHeight == 0) != (wantedWidth == 0) {
        throw Failure(
            CONVOLUTION_ERROR_OUTPUT_SIZE,
            "output_height is \(wantedHeight) and output_width is \(wantedWidth); give both, or neither (0)")
    }

    func axis(_ parameters: AxisParameters, outputPadding: Int64, wanted: Int) throws(Failure) -> Axis {
        let names = parameters.names
        var axis = try parameters.checked()
        if !outputPaddingGiven, outputPadding != 0 {
            throw Failure(
                CONVOLUTION_ERROR_OUTPUT_PADDING,
                "\(names.outputPadding) is \(Int(outputPadding)) and output_padding_given is 0; set output_padding_given to 1")
        }
        let window = try transposeWindow(
            input: axis.input, kernel: axis.kernel, stride: axis.stride, dilation: axis.dilation,
            rule: transposeRule(p.rule, p.padding, before: parameters.padBefore, after: parameters.padAfter, names),
            outputPadding: outputPaddingGiven ? signed(outputPadding, names.outputPadding) : nil,
            wanted: wanted > 0 ? wanted : nil, names)
        axis.start = window.crop
        axis.output = try parameters.checkedOutput(window.output, of: axis, allowsEmpty: allowsEmpty)
        return axis
    }
    return try checkedLayer(
        p, transposed: true, vertical: axis(p.vertical, outputPadding: p.output_padding_height, wanted: wantedHeight),
        horizontal: axis(p.horizontal, outputPadding: p.output_padding_width, wanted: wantedWidth))
}

private func transposeRule(
    _ rule: Int32, _ padding: Int32, before: Int64, after: Int64, _ names: AxisNames
) throws(Failure) -> WindowRule {
    let isExplicit = Int(padding) == CONVOLUTION_PADDING_EXPLICIT
    let isValid = Int(padding) == CONVOLUTION_PADDING_VALID
    let isSame = Int(padding) == CONVOLUTION_PADDING_SAME
    let isLower = Int(padding) == CONVOLUTION_PADDING_SAME_LOWER
    func refuse(_ permitted: StaticString) -> Failure {
        Failure(CONVOLUTION_ERROR_PADDING, "padding is \(padding); rule \(rule) permits \(permitted)")
    }
    func cut(_ negative: Bool) throws(Failure) -> (Int, Int) {
        let before = try signed(before, names.padBefore)
        let after = try signed(after, names.padAfter)
        if !negative, before < 0 {
            throw Failure(CONVOLUTION_ERROR_PADDING, "\(names.padBefore) is \(before); this rule permits 0 or more")
        }
        if !negative, after < 0 {
            throw Failure(CONVOLUTION_ERROR_PADDING, "\(names.padAfter) is \(after); this rule permits 0 or more")
        }
        return (before, after)
    }
    switch Int(rule) {
    case CONV2D_TRANSPOSE_RULE_KERAS, CONV2D_TRANSPOSE_RULE_JAX:
        guard isValid || isSame else { throw refuse("VALID (0) and SAME (1); TORCH, ONNX and WINDOW permit EXPLICIT (5)") }
        try absent(before, names.padBefore, padding)
        try absent(after, names.padAfter, padding)
        return Int(rule) == CONV2D_TRANSPOSE_RULE_KERAS ? .keras(same: isSame) : .jax(same: isSame)
    case CONV2D_TRANSPOSE_RULE_TORCH:
        guard isValid || isExplicit else { throw refuse("EXPLICIT (5) and VALID (0)") }
        let (before, after) = try cut(false)
        if before != after {
            throw Failure(
                CONVOLUTION_ERROR_PADDING,
                """
                \(names.padBefore) is \(before) and \(names.padAfter) is \(after); PyTorch's padding is the same on both sides \
                (rule WINDOW is free)
                """)
        }
        return .torch(before: before, after: after)
    case CONV2D_TRANSPOSE_RULE_ONNX:
        if isSame || isLower {
            try absent(before, names.padBefore, padding)
            try absent(after, names.padAfter, padding)
            return .onnxSame(lower: isLower)
        }
        guard isValid || isExplicit else { throw refuse("EXPLICIT (5), VALID (0), SAME (1) and SAME_LOWER (2)") }
        let (before, after) = try cut(false)
        return .onnx(before: before, after: after)
    default:
        guard isValid || isExplicit else { throw refuse("EXPLICIT (5) and VALID (0)") }
        let (before, after) = try cut(true)
        return .window(before: before, after: after)
    }
}

// MARK: - upsample2d

func validate(_ pointer: UnsafePointer<upsample2d_params>?) throws(Failure) -> Resampling {
    try validate(read(pointer))
}

private func read(_ pointer: UnsafePointer<upsample2d_params>?) throws(Failure) -> upsample2d_params {
    var p = upsample2d_params()
    try readStruct(pointer, "upsample2d_params", firstBytes: 192, laterBytes: 208, into: &p)
    return p
}

private func validate(_ p: upsample2d_params) throws(Failure) -> Resampling {
    try choice(p.dtype, "dtype", 2, CONVOLUTION_ERROR_DTYPE)
    try choice(p.data_format, "data_format", 2, CONVOLUTION_ERROR_DATA_FORMAT)
    let accumulates = try flag(p.accumulate, "accumulate")
    let threads = try threadCount(p.threads)
    let tier = try Tier.chosen(p.isa)
    var method = try resamplingMethod(p)
    let batch = try size(p.batch, "batch", atLeast: 0, CONVOLUTION_ERROR_IMAGE_SIZE)
    let channels = try size(p.channels, "channels", atLeast: 0, CONVOLUTION_ERROR_CHANNELS)
    let height = try size(p.height, "height", atLeast: 1, CONVOLUTION_ERROR_IMAGE_SIZE)
    let width = try size(p.width, "width", atLeast: 1, CONVOLUTION_ERROR_IMAGE_SIZE)

    let byFactor = p.factor_height != 0 || p.factor_width != 0
    let byOutput = p.output_height != 0 || p.output_width != 0
    let byScale = p.scale_height != 0 || p.scale_width != 0
    let isArea = Int(p.interpolation) == UPSAMPLE2D_AREA
    if byFactor == (byOutput || byScale) || byOutput && byScale && isArea {
        throw Failure(
            CONVOLUTION_ERROR_FACTOR,
            """
            factor_height is \(Int(p.factor_height)), factor_width \(Int(p.factor_width)), output_height \
            \(Int(p.output_height)), output_width \(Int(p.output_width)), scale_height \(p.scale_height), scale_width \
            \(p.scale_width); give factor, output or scale, or both output and scale (not with AREA)
            """)
    }

    func axis(
        _ names: AxisNames, input: Int, factor: Int64, output: Int64, scale: Double, region: (Double, Double)
    ) throws(Failure) -> ResamplingAxis {
        let factor = try size(factor, names.factor, atLeast: 0, CONVOLUTION_ERROR_FACTOR)
        let output = try size(output, names.output, atLeast: 0, CONVOLUTION_ERROR_OUTPUT_SIZE)
        if scale != 0, !scale.isFinite || scale < 0 {
            throw Failure(CONVOLUTION_ERROR_FACTOR, "\(names.scale) is \(scale); it must be finite and greater than 0")
        }
        if scale > 0, Double(output) / scale > Double(largestLength) {
            throw Failure(
                CONVOLUTION_ERROR_FACTOR, "\(names.scale) is \(scale); it must be at least \(names.output) / 2^48")
        }
        var result = ResamplingAxis(
            input: input, output: input, repetition: 0, scale: scale, regionStart: region.0, regionEnd: region.1)
        if factor > 0 {
            result.output = try times(input, factor, names.factor)
            if method.repeatsByFactor { result.repetition = factor }
        } else if output > 0 {
            result.output = output
        } else if scale > 0 {
            let length: Double
            switch method.arithmetic {
            case .onnx: length = Double((Float(input) * Float(scale)).rounded(.down))
            case .openCV: length = (Double(input) * scale).rounded(.toNearestOrEven)
            default: length = (Double(input) * scale).rounded(.down)
            }
            if length < 1 {
                throw Failure(
                    CONVOLUTION_ERROR_FACTOR, "\(names.scale) is \(scale); with \(names.size) \(input) it leaves no output")
            }
            if length > Double(largestLength) {
                throw Failure(
                    CONVOLUTION_ERROR_OVERFLOW,
                    "\(names.scale) is \(scale); with \(names.size) \(input) the output is beyond what memory can hold")
            }
            result.output = Int(length)
        }
        return result
    }
    var vertical = try axis(
        .vertical, input: height, factor: p.factor_height, output: p.output_height, scale: p.scale_height,
        region: (p.roi.0, p.roi.2))
    var horizontal = try axis(
        .horizontal, input: width, factor: p.factor_width, output: p.output_width, scale: p.scale_width,
        region: (p.roi.1, p.roi.3))
    let isTorch = Int(p.preset) == UPSAMPLE2D_PRESET_TORCH || Int(p.preset) == UPSAMPLE2D_PRESET_TORCH_EXACT
    if isTorch, !method.antialias {
        // PyTorch has two kernels, and chooses by the output's height + width; for bilinear of three channels a third.
        let isLarge = vertical.output > 128 - min(horizontal.output, 128)
        switch (method.interpolation, method.coordinates, method.rounding) {
        case (.bilinear, _, _): method.fusesPlace = !isLarge || channels == 3
        case (.nearest, .asymmetric, .floor), (.nearest, .halfPixel, .preferCeil): method.isLargeNearest = isLarge
        default: break
        }
    }
    if case .openCV = method.arithmetic {
        // It copies an image whose size stays, and interpolates an area that grows along either axis.
        if vertical.output == height, horizontal.output == width {
            vertical.scale = 0
            horizontal.scale = 0
        }
        if case .area = method.interpolation { method.interpolatesArea = vertical.grows || horizontal.grows }
    }

    let channelsFirst = Int(p.data_format) == CONVOLUTION_NCHW
    let isDouble = Int(p.dtype) == CONVOLUTION_FLOAT64
    let (input, output) = try tensorStrides(
        p, batch: batch, vertical, horizontal, inChannels: channels, outChannels: channels)
    return Resampling(
        isDouble: isDouble, channelsFirst: channelsFirst, batch: batch, channels: channels, vertical: vertical,
        horizontal: horizontal, method: method, extrapolation: p.extrapolation_value, input: input, output: output,
        threads: threads, tier: tier, accumulates: accumulates)
}

/// What the preset says, and what the other fields say instead.
private func resamplingMethod(_ p: upsample2d_params) throws(Failure) -> ResamplingMethod {
    try choice(p.interpolation, "interpolation", 6, CONVOLUTION_ERROR_INTERPOLATION)
    try choice(p.coordinates, "coordinates", 8, CONVOLUTION_ERROR_COORDINATES)
    try choice(p.preset, "preset", 7, CONVOLUTION_ERROR_RULE)
    try choice(p.rounding, "rounding", 6, CONVOLUTION_ERROR_COORDINATES)
    try choice(p.edge, "edge", 3, CONVOLUTION_ERROR_COORDINATES)
    let antialias = try flag(p.antialias, "antialias")
    let preset = Int(p.preset)
    let isTorch = preset == UPSAMPLE2D_PRESET_TORCH || preset == UPSAMPLE2D_PRESET_TORCH_EXACT
    let isKeras = preset == UPSAMPLE2D_PRESET_KERAS || preset == UPSAMPLE2D_PRESET_KERAS_JAX

    let interpolation: InterpolationKind
    var lacks = false
    switch Int(p.interpolation) {
    case UPSAMPLE2D_NEAREST: interpolation = .nearest
    case UPSAMPLE2D_BILINEAR: interpolation = .bilinear
    case UPSAMPLE2D_BICUBIC: interpolation = .bicubic
    case UPSAMPLE2D_AREA:
        interpolation = .area
        lacks = preset == UPSAMPLE2D_PRESET_ONNX || preset == UPSAMPLE2D_PRESET_KERAS_JAX
    default:
        interpolation = .lanczos(radius: Int(p.interpolation) == UPSAMPLE2D_LANCZOS3 ? 3 : 5)
        lacks = isTorch || preset == UPSAMPLE2D_PRESET_ONNX || preset == UPSAMPLE2D_PRESET_OPENCV
    }
    if lacks {
        throw Failure(
            CONVOLUTION_ERROR_INTERPOLATION,
            "interpolation is \(p.interpolation) and preset is \(p.preset); that framework has no such interpolation")
    }
    let isNearest = Int(p.interpolation) == UPSAMPLE2D_NEAREST
    let isArea = Int(p.interpolation) == UPSAMPLE2D_AREA
    let isBicubic = Int(p.interpolation) == UPSAMPLE2D_BICUBIC
    let hasKernel = !isNearest && !isArea

    // TensorFlow and JAX take the word and have no use for it there.
    if antialias, !hasKernel, !isKeras {
        throw Failure(
            CONVOLUTION_ERROR_INTERPOLATION,
            "antialias is 1 and interpolation is \(p.interpolation); NEAREST (0) and AREA (5) have no kernel to stretch")
    }
    if antialias, preset == UPSAMPLE2D_PRESET_OPENCV {
        throw Failure(CONVOLUTION_ERROR_INTERPOLATION, "antialias is 1 and preset is \(p.preset); OpenCV has no antialiasing")
    }
    if !isBicubic, p.cubic_coefficient != 0 {
        throw Failure(
            CONVOLUTION_ERROR_INTERPOLATION,
            """
            cubic_coefficient is \(p.cubic_coefficient) and interpolation is \(p.interpolation); only BICUBIC (2) reads it, \
            else it must be 0
            """)
    }
    if !p.cubic_coefficient.isFinite {
        throw Failure(CONVOLUTION_ERROR_INTERPOLATION, "cubic_coefficient is \(p.cubic_coefficient); it must be finite")
    }
    if isArea, p.coordinates != 0 {
        throw Failure(
            CONVOLUTION_ERROR_COORDINATES,
            "coordinates is \(p.coordinates) and interpolation is 5; AREA has none to choose, so it must be 0")
    }
    if !isNearest, p.rounding != 0 {
        throw Failure(
            CONVOLUTION_ERROR_COORDINATES,
            "rounding is \(p.rounding) and interpolation is \(p.interpolation); only NEAREST (0) rounds, else it must be 0")
    }
    if !hasKernel, p.edge != 0 {
        throw Failure(
            CONVOLUTION_ERROR_COORDINATES,
            """
            edge is \(p.edge) and interpolation is \(p.interpolation); NEAREST (0) and AREA (5) do not reach over the edge, so \
            it must be 0
            """)
    }

    let arithmetic: ResamplingArithmetic
    switch preset {
    case UPSAMPLE2D_PRESET_KERAS: arithmetic = .tensorFlow
    case UPSAMPLE2D_PRESET_KERAS_JAX: arithmetic = .jax
    case UPSAMPLE2D_PRESET_ONNX: arithmetic = .onnx
    case UPSAMPLE2D_PRESET_OPENCV: arithmetic = .openCV
    default: arithmetic = .torch
    }
    let coordinates: CoordinateRule
    switch Int(p.coordinates) {
    case UPSAMPLE2D_COORDINATES_HALF_PIXEL: coordinates = .halfPixel
    case UPSAMPLE2D_COORDINATES_ALIGN_CORNERS: coordinates = .alignCorners
    case UPSAMPLE2D_COORDINATES_ASYMMETRIC: coordinates = .asymmetric
    case UPSAMPLE2D_COORDINATES_PYTORCH_HALF_PIXEL: coordinates = .torchHalfPixel
    case UPSAMPLE2D_COORDINATES_HALF_PIXEL_SYMMETRIC:
        let isSymmetric = preset == UPSAMPLE2D_PRESET_ONNX || p.scale_height != 0 || p.scale_width != 0
        coordinates = isSymmetric ? .symmetricHalfPixel : .halfPixel
    case UPSAMPLE2D_COORDINATES_TF_CROP_AND_RESIZE: coordinates = .region
    case UPSAMPLE2D_COORDINATES_TF_HALF_PIXEL_FOR_NN: coordinates = .tensorFlowHalfPixel
    default:
        let roundsDown = preset == 0 || preset == UPSAMPLE2D_PRESET_TORCH || preset == UPSAMPLE2D_PRESET_OPENCV
        coordinates = isNearest && roundsDown ? .asymmetric : .halfPixel
    }
    try checkRegion(p)
    let rounding: RoundingRule
    switch Int(p.rounding) {
    case UPSAMPLE2D_ROUNDING_PREFER_FLOOR: rounding = .preferFloor
    case UPSAMPLE2D_ROUNDING_PREFER_CEIL: rounding = .preferCeil
    case UPSAMPLE2D_ROUNDING_FLOOR: rounding = .floor
    case UPSAMPLE2D_ROUNDING_CEIL: rounding = .ceil
    case UPSAMPLE2D_ROUNDING_SIMPLE: rounding = .simple
    default:
        if preset == UPSAMPLE2D_PRESET_ONNX {
            rounding = .preferFloor
        } else if coordinates == .asymmetric || coordinates == .tensorFlowHalfPixel {
            rounding = .floor
        } else {
            rounding = .preferCeil
        }
    }
    let dropsOutside = isKeras || Int(p.interpolation) == UPSAMPLE2D_LANCZOS3 || Int(p.interpolation) == UPSAMPLE2D_LANCZOS5
        || antialias && preset != UPSAMPLE2D_PRESET_ONNX
    let smooth = isKeras || antialias && isTorch
    return ResamplingMethod(
        interpolation: interpolation, coordinates: coordinates, rounding: rounding, arithmetic: arithmetic,
        renormalises: hasKernel && (p.edge == 0 ? dropsOutside : Int(p.edge) == UPSAMPLE2D_EDGE_RENORMALISE),
        antialias: antialias && hasKernel,
        cubicCoefficient: p.cubic_coefficient != 0 ? p.cubic_coefficient : smooth ? -0.5 : -0.75,
        fusesPlace: isBicubic && !antialias, isLargeNearest: false, shiftsAlignedCorners: antialias && isTorch,
        poolsArea: isArea && isTorch, interpolatesArea: false)
}

private func checkRegion(_ p: upsample2d_params) throws(Failure) {
    let isRegion = Int(p.coordinates) == UPSAMPLE2D_COORDINATES_TF_CROP_AND_RESIZE
    func check(_ value: Double, _ name: StaticString) throws(Failure) {
        if !isRegion, value != 0 {
            throw Failure(
                CONVOLUTION_ERROR_COORDINATES,
                """
                \(name) is \(value) and coordinates is \(p.coordinates); only TF_CROP_AND_RESIZE (6) reads it, else it must be 0
                """)
        }
        if !(value.magnitude <= Double(largestLength)) {
            throw Failure(
                CONVOLUTION_ERROR_COORDINATES,
                "\(name) is \(value); it must be from -\(largestLength) to \(largestLength) (2^48)")
        }
    }
    try check(p.roi.0, "roi[0]")
    try check(p.roi.1, "roi[1]")
    try check(p.roi.2, "roi[2]")
    try check(p.roi.3, "roi[3]")
    if !isRegion { try check(p.extrapolation_value, "extrapolation_value") }
}

/// A checked upsample2d, and a checked conv2d of its result. The layer's input strides mean nothing.
struct UpsampledLayer {
    var resampling: Resampling
    var layer: Layer
}

func validate(
    _ upsampling: UnsafePointer<upsample2d_params>?, _ convolution: UnsafePointer<conv2d_params>?
) throws(Failure) -> UpsampledLayer {
    if upsampling == nil {
        throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "upsampling is NULL; it must point to an upsample2d_params")
    }
    if convolution == nil {
        throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "convolution is NULL; it must point to a conv2d_params")
    }
    var u = try about("upsampling") { () throws(Failure) in try read(upsampling) }
    var c = try about("convolution") { () throws(Failure) in try read(convolution) }
    if u.isa == nil {
        _ = try about("convolution") { () throws(Failure) in try Tier.chosen(c.isa) }
        u.isa = c.isa
    } else if c.isa == nil {
        c.isa = u.isa
    }

    let resampling = try about("upsampling") { () throws(Failure) in
        try checkNone(u.output_strides, "output_strides")
        if u.accumulate != 0 {
            throw Failure(
                CONVOLUTION_ERROR_FLAG,
                "accumulate is \(u.accumulate); the upsampled image is nowhere in memory, so it must be 0")
        }
        return try validate(u)
    }
    var layer = try about("convolution") { () throws(Failure) in
        try checkNone(c.input_strides, "input_strides")
        func agree(_ value: Int, _ name: StaticString, _ wanted: Int, _ status: Int) throws(Failure) {
            if value != wanted {
                throw Failure(status, "\(name) is \(value) and that of the upsampling is \(wanted); they must agree")
            }
        }
        try agree(Int(c.dtype), "dtype", Int(u.dtype), CONVOLUTION_ERROR_DTYPE)
        try agree(Int(c.data_format), "data_format", Int(u.data_format), CONVOLUTION_ERROR_DATA_FORMAT)
        if u.threads != 0, c.threads != 0 { try agree(Int(c.threads), "threads", Int(u.threads), CONVOLUTION_ERROR_THREADS) }
        if try Tier.chosen(c.isa) != resampling.tier {
            throw Failure(
                CONVOLUTION_ERROR_ISA,
                """
                isa is "\(try Tier.chosen(c.isa).cName)" and that of the upsampling is "\(resampling.tier.cName)"; they must agree
                """)
        }
        func take(_ field: inout Int64, _ name: StaticString, _ made: Int, _ status: Int) throws(Failure) {
            if field == 0 { field = Int64(made) }
            if field != Int64(made) {
                throw Failure(
                    status, "\(name) is \(Int(field)) and that of the upsampled image is \(made); it must be \(made), or 0")
            }
        }
        try take(&c.batch, "batch", resampling.batch, CONVOLUTION_ERROR_IMAGE_SIZE)
        try take(&c.height, "height", resampling.vertical.output, CONVOLUTION_ERROR_IMAGE_SIZE)
        try take(&c.width, "width", resampling.horizontal.output, CONVOLUTION_ERROR_IMAGE_SIZE)
        try take(&c.in_channels, "in_channels", resampling.channels, CONVOLUTION_ERROR_CHANNELS)
        return try validate(c)
    }
    layer.threads = max(layer.threads, resampling.threads)
    // Bands of output rows would cut tiles.
    layer.means.permitsWinograd = false
    return UpsampledLayer(resampling: resampling, layer: layer)
}

/// Runs `body` for one of two parameter structs: its failures say for which.
private func about<Result>(_ argument: StaticString, _ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    do throws(Failure) {
        return try body()
    } catch {
        throw error.about(argument)
    }
}

/// There is no image between the upsampling and the convolution that could have strides.
private func checkNone(_ strides: (Int64, Int64, Int64, Int64), _ name: StaticString) throws(Failure) {
    let first = strides.0 != 0 ? strides.0 : strides.1 != 0 ? strides.1 : strides.2 != 0 ? strides.2 : strides.3
    if first != 0 {
        throw Failure(
            CONVOLUTION_ERROR_ELEMENT_STRIDES,
            "\(name) has \(Int(first)); the upsampled image is nowhere in memory, so each must be 0")
    }
}

func validate(
    _ pointer: UnsafePointer<conv2d_solve_params>?, of layer: Layer, activation: Int32
) throws(Failure) -> SolveOptions {
    if activation != 0 {
        throw Failure(
            CONVOLUTION_ERROR_ACTIVATION,
            "activation is \(activation); to be solved for it must be NONE (0); behind a RELU, mask the elements that are 0")
    }
    if layer.means.accumulates { throw Failure(CONVOLUTION_ERROR_FLAG, "accumulate is 1; to be solved for it must be 0") }
    var p = conv2d_solve_params()
    if pointer != nil {
        try readStruct(pointer, "conv2d_solve_params", firstBytes: MemoryLayout<conv2d_solve_params>.size, into: &p)
    }
    if p.reserved != 0 { throw Failure(CONVOLUTION_ERROR_FLAG, "reserved is \(p.reserved); it must be 0") }
    let nonnegative = try flag(p.nonnegative, "nonnegative")
    if !p.lambda.isFinite || p.lambda < 0 {
        throw Failure(CONVOLUTION_ERROR_LAMBDA, "lambda is \(p.lambda); it must be finite and at least 0")
    }
    if !p.tolerance.isFinite || p.tolerance < 0 {
        throw Failure(
            CONVOLUTION_ERROR_TOLERANCE, "tolerance is \(p.tolerance); it must be finite and at least 0 (0 means 1e-12)")
    }
    if p.max_iterations < 0 {
        throw Failure(
            CONVOLUTION_ERROR_ITERATIONS, "max_iterations is \(Int(p.max_iterations)); it must be at least 1 (0 means 1000)")
    }
    let elements = try times(
        times(layer.batch, layer.vertical.output, "output"), times(layer.horizontal.output, layer.outChannels, "output"),
        "output")
    if let mask = p.mask {
        if Int(p.mask_size) != elements {
            throw Failure(
                CONVOLUTION_ERROR_MASK,
                "mask_size is \(Int(p.mask_size)); it must be \(elements), the number of elements of the output")
        }
        for i in 0..<elements where mask[i] > 1 {
            throw Failure(CONVOLUTION_ERROR_MASK, "mask has \(Int(mask[i])) at \(i); each byte must be 0 or 1")
        }
    } else if p.mask_size != 0 {
        throw Failure(CONVOLUTION_ERROR_MASK, "mask is NULL and mask_size is \(Int(p.mask_size)); without a mask it must be 0")
    }
    return SolveOptions(
        damping: p.lambda * p.lambda, tolerance: p.tolerance > 0 ? p.tolerance : 1e-12,
        iterations: p.max_iterations > 0 ? Int(p.max_iterations) : 1000, start: p.start, mask: p.mask, nonnegative: nonnegative,
        progress: p.progress, context: p.context)
}

/// A struct for results, whose size tells whether the caller knows the same fields.
func checkResult<T>(_ pointer: UnsafeMutablePointer<T>, _ name: StaticString) throws(Failure) {
    let given = UnsafeRawPointer(pointer).loadUnaligned(as: UInt.self)
    guard given >= UInt(MemoryLayout<T>.size), given <= 4096 else {
        throw Failure(
            CONVOLUTION_ERROR_STRUCT_SIZE,
            "struct_size is \(given); it must be sizeof(\(name)), \(MemoryLayout<T>.size) in this version")
    }
}
