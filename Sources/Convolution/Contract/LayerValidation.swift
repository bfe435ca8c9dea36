import CConvolution
import ConvolutionKernels

// conv2d and conv2d_transpose: params in, a checked `Layer` out. What can still fail afterwards is an array that is missing or
// too short, and memory.

private func activation(
    _ kind: Int32, alpha: Double, min low: Double, max high: Double
) throws(Failure) -> TileActivation<Double> {
    try checkChoice(kind, "activation", 7, CONVOLUTION_ERROR_ACTIVATION)
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
    try checkChoice(algorithm, "algorithm", 2, CONVOLUTION_ERROR_ALGORITHM)
    if workspaceLimit < 0 {
        throw Failure(CONVOLUTION_ERROR_WORKSPACE, "workspace_limit is \(Int(workspaceLimit)); it must be at least 0 (no limit)")
    }
    return try Means(
        permitsWinograd: Int(algorithm) == CONVOLUTION_ALGORITHM_WINOGRAD,
        workspaceLimit: workspaceLimit == 0 ? Int.max : Int(workspaceLimit), accumulates: checkedFlag(accumulate, "accumulate"))
}

/// Groups, 1 or more, and channel counts; `depthMultiplier` not 0 means depthwise.
private func channels(
    input: Int64, output: Int64, groups: Int64, depthMultiplier: Int64
) throws(Failure) -> (input: Int, output: Int, groups: Int) {
    let inChannels = try checkedSize(input, "in_channels", atLeast: 0, CONVOLUTION_ERROR_CHANNELS)
    let outChannels = try checkedSize(output, "out_channels", atLeast: 0, CONVOLUTION_ERROR_CHANNELS)
    let groups = try checkedSize(groups, "groups", atLeast: 0, CONVOLUTION_ERROR_GROUPS)
    let multiplier = try checkedSize(depthMultiplier, "depth_multiplier", atLeast: 0, CONVOLUTION_ERROR_GROUPS)
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
        return try .explicit(before: checkedSigned(before, names.padBefore), after: checkedSigned(after, names.padAfter))
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
            input: checkedSize(input, names.size, atLeast: 0, CONVOLUTION_ERROR_IMAGE_SIZE),
            kernel: checkedSize(kernel, names.kernel, atLeast: 1, CONVOLUTION_ERROR_KERNEL_SIZE),
            stride: checkedStep(stride, names.stride, CONVOLUTION_ERROR_STRIDE),
            dilation: checkedStep(dilation, names.dilation, CONVOLUTION_ERROR_DILATION), output: 0, start: 0)
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
    try checkChoice(p.dtype, "dtype", 2, CONVOLUTION_ERROR_DTYPE)
    try checkChoice(p.data_format, "data_format", 2, CONVOLUTION_ERROR_DATA_FORMAT)
    try checkChoice(p.kernel_format, "kernel_format", 2, CONVOLUTION_ERROR_KERNEL_FORMAT)
    let batch = try checkedSize(p.batch, "batch", atLeast: 0, CONVOLUTION_ERROR_IMAGE_SIZE)
    let (inChannels, outChannels, groups) = try channels(
        input: p.in_channels, output: p.out_channels, groups: p.groups, depthMultiplier: p.depth_multiplier)
    let channelsFirst = Int(p.data_format) == CONVOLUTION_NCHW
    let isDouble = Int(p.dtype) == CONVOLUTION_FLOAT64
    try checkCount(
        "kernel size", (vertical.kernel, horizontal.kernel, inChannels, outChannels / groups),
        elementBytes: isDouble ? 8 : 4)
    let (input, output) = try tensorStrides(
        p, TensorShape(batch: batch, rows: vertical.input, columns: horizontal.input, channels: inChannels),
        TensorShape(batch: batch, rows: vertical.output, columns: horizontal.output, channels: outChannels))
    return try Layer(
        transposed: transposed, isDouble: isDouble, channelsFirst: channelsFirst,
        torchKernel: Int(p.kernel_format) == CONVOLUTION_KERNEL_TORCH, flipKernel: checkedFlag(p.flip_kernel, "flip_kernel"),
        batch: batch, inChannels: inChannels, outChannels: outChannels, groups: groups, vertical: vertical,
        horizontal: horizontal, paddingMode: paddingMode, paddingValue: paddingValue,
        activation: activation(p.activation, alpha: p.activation_alpha, min: p.activation_min, max: p.activation_max),
        input: input, output: output, threads: checkedThreads(p.threads), tier: Tier.chosen(p.isa),
        means: means(p.algorithm, workspaceLimit: p.workspace_limit, accumulate: p.accumulate))
}

func validate(_ pointer: UnsafePointer<conv2d_params>?) throws(Failure) -> Layer {
    try validate(read(pointer))
}

func read(_ pointer: UnsafePointer<conv2d_params>?) throws(Failure) -> conv2d_params {
    var p = conv2d_params()
    try readStruct(pointer, "conv2d_params", firstBytes: 288, into: &p)
    return p
}

func validate(_ p: conv2d_params) throws(Failure) -> Layer {
    try checkChoice(p.padding, "padding", 6, CONVOLUTION_ERROR_PADDING)
    try checkChoice(p.padding_mode, "padding_mode", 6, CONVOLUTION_ERROR_PADDING_MODE)
    if p.reserved != 0 { throw Failure(CONVOLUTION_ERROR_FLAG, "reserved is \(p.reserved); it must be 0") }
    let allowsEmpty = try checkedFlag(p.allow_empty_output, "allow_empty_output")

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
    try checkChoice(p.rule, "rule", 5, CONVOLUTION_ERROR_RULE)
    try checkChoice(p.padding, "padding", 6, CONVOLUTION_ERROR_PADDING)
    let outputPaddingGiven = try checkedFlag(p.output_padding_given, "output_padding_given")
    let allowsEmpty = try checkedFlag(p.allow_empty_output, "allow_empty_output")
    let wantedHeight = try checkedSize(p.output_height, "output_height", atLeast: 0, CONVOLUTION_ERROR_OUTPUT_SIZE)
    let wantedWidth = try checkedSize(p.output_width, "output_width", atLeast: 0, CONVOLUTION_ERROR_OUTPUT_SIZE)
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
            outputPadding: outputPaddingGiven ? checkedSigned(outputPadding, names.outputPadding) : nil,
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
        let before = try checkedSigned(before, names.padBefore)
        let after = try checkedSigned(after, names.padAfter)
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
