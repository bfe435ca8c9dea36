import CConvolution

// Sizes, paddings and windows: pure functions on integers, one axis at a time. Overflow anywhere is a failure that names the
// axis.

/// The names of one axis's parameters, for error texts.
struct AxisNames {
    var size: StaticString
    var kernel: StaticString
    var stride: StaticString
    var dilation: StaticString
    var padBefore: StaticString
    var padAfter: StaticString
    var outputPadding: StaticString
    var output: StaticString
    var factor: StaticString
    var scale: StaticString

    static var vertical: AxisNames {
        AxisNames(
            size: "height", kernel: "kernel_height", stride: "stride_height", dilation: "dilation_height", padBefore: "pad_top",
            padAfter: "pad_bottom", outputPadding: "output_padding_height", output: "output_height", factor: "factor_height",
            scale: "scale_height")
    }
    static var horizontal: AxisNames {
        AxisNames(
            size: "width", kernel: "kernel_width", stride: "stride_width", dilation: "dilation_width", padBefore: "pad_left",
            padAfter: "pad_right", outputPadding: "output_padding_width", output: "output_width", factor: "factor_width",
            scale: "scale_width")
    }
}

/// One axis of a convolution or transposed convolution after validation.
struct Axis {
    var input: Int
    var kernel: Int
    var stride: Int
    var dilation: Int
    var output: Int
    /// conv2d: padding before the input. conv2d_transpose: what is cut off the start of the natural result.
    var start: Int
    /// conv2d: the image that it reads has this many copies of each input element side by side. Padding, stride and dilation
    /// count its elements.
    var repetition = 1

    /// Output elements from one to the next that uses the same taps.
    var phases: Int { repetition / greatestCommonDivisor(repetition, stride) }

    /// The taps of every output phase lie at equal distances in the input, and there are not very many phases.
    var hasPhases: Bool { (dilation < repetition || dilation % repetition == 0) && repetition <= 8 }
}

/// No length, extent or offset may exceed this. It is the size of a process's address space, and small enough that the engine can
/// add and subtract such numbers unchecked.
let largestLength = 1 << 48

private func checked(
    _ result: Int, _ overflow: Bool, _ a: Int, _ sign: StaticString, _ b: Int, _ what: StaticString
) throws(Failure) -> Int {
    if overflow || result > largestLength || result < -largestLength {
        throw Failure(CONVOLUTION_ERROR_OVERFLOW, "\(what): \(a) \(sign) \(b) is more than memory can hold (2^48)")
    }
    return result
}

func times(_ a: Int, _ b: Int, _ what: StaticString) throws(Failure) -> Int {
    let (result, overflow) = a.multipliedReportingOverflow(by: b)
    return try checked(result, overflow, a, "times", b, what)
}

func plus(_ a: Int, _ b: Int, _ what: StaticString) throws(Failure) -> Int {
    let (result, overflow) = a.addingReportingOverflow(b)
    return try checked(result, overflow, a, "plus", b, what)
}

func minus(_ a: Int, _ b: Int, _ what: StaticString) throws(Failure) -> Int {
    let (result, overflow) = a.subtractingReportingOverflow(b)
    return try checked(result, overflow, a, "minus", b, what)
}

/// Rounds towards minus infinity: an overhang of more than a stride must not become a size of 0 or 1. `b` is positive.
func floorDivide(_ a: Int, _ b: Int) -> Int {
    let quotient = a / b
    return a % b < 0 ? quotient - 1 : quotient
}

@inline(never)
func ceilDivide(_ a: Int, _ b: Int) -> Int {
    // Most strides and dilations are 1, and a division takes ten times as long as asking.
    if b == 1 { return a }
    let quotient = a / b
    return a % b > 0 ? quotient + 1 : quotient
}

/// Part `index` of `count` numbers in even parts: no part has more than one whole unit more than another, and none has more than
/// the first.
@inline(__always)
func evenPart(_ index: Int, of parts: Int, _ count: Int, unit: Int = 1) -> Range<Int> {
    if parts == 1 { return 0..<count }
    let (least, longer) = ceilDivide(count, unit).quotientAndRemainder(dividingBy: parts)
    func start(_ index: Int) -> Int { min((index * least + ceilDivide(index * longer, parts)) * unit, count) }
    return start(index)..<start(index + 1)
}

/// Extent of the dilated kernel, (kernel - 1) * dilation + 1.
func kernelExtent(_ kernel: Int, _ dilation: Int, _ names: AxisNames) throws(Failure) -> Int {
    try plus(times(kernel - 1, dilation, names.kernel), 1, names.kernel)
}

enum AxisPadding {
    case valid, same, sameLower, full, causal
    case explicit(before: Int, after: Int)
}

/// conv2d: padding before the input and output length. `output` may come out below 1; the caller decides what that means.
func convolutionWindow(
    input: Int, kernel: Int, stride: Int, dilation: Int, padding: AxisPadding, _ names: AxisNames
) throws(Failure) -> (before: Int, after: Int, output: Int) {
    let extent = try kernelExtent(kernel, dilation, names)
    let before: Int
    let after: Int
    switch padding {
    case .valid:
        (before, after) = (0, 0)
    case .same, .sameLower:
        let output = ceilDivide(input, stride)
        let covered = try plus(times(output - 1, stride, names.stride), extent, names.kernel)
        let total = max(try minus(covered, input, names.size), 0)
        if case .same = padding {
            (before, after) = (total / 2, total - total / 2)
        } else {
            (before, after) = (total - total / 2, total / 2)
        }
        return (before, after, output)
    case .full:
        (before, after) = (extent - 1, extent - 1)
    case .causal:
        (before, after) = (extent - 1, 0)
    case .explicit(let padBefore, let padAfter):
        (before, after) = (padBefore, padAfter)
    }
    let padded = try plus(plus(input, before, names.padBefore), after, names.padAfter)
    let room = try minus(padded, extent, names.kernel)
    return (before, after, floorDivide(room, stride) + 1)
}

enum WindowRule {
    case keras(same: Bool)
    case torch(before: Int, after: Int)
    case onnx(before: Int, after: Int)
    case onnxSame(lower: Bool)
    case jax(same: Bool)
    case window(before: Int, after: Int)

    /// ONNX makes the output that padded, and cuts it down to its size.
    var takesPaddingAndSize: Bool {
        switch self {
        case .onnx, .onnxSame: true
        default: false
        }
    }
}

/// conv2d_transpose: the window (output length o, crop c) of the natural result that a framework's rule cuts out.
///
/// `outputPadding` nil is None; `wanted` is an explicit output size. The table stands in the header and was established by
/// running Keras on four backends, PyTorch, JAX and ONNX Runtime over all small sizes.
func transposeWindow(
    input: Int, kernel: Int, stride: Int, dilation: Int, rule: WindowRule, outputPadding: Int?, wanted: Int?, _ names: AxisNames
) throws(Failure) -> (crop: Int, output: Int) {
    let extent = try kernelExtent(kernel, dilation, names)
    // With no input this is extent - stride: the frameworks' formulas hold, and what they leave is bias alone.
    let natural = try plus(times(input - 1, stride, names.stride), extent, names.kernel)
    if outputPadding != nil, wanted != nil, !rule.takesPaddingAndSize {
        throw Failure(
            CONVOLUTION_ERROR_OUTPUT_PADDING,
            """
            \(names.outputPadding) is \(outputPadding ?? 0) and \(names.output) is \(wanted ?? 0); give only one of output \
            padding and output size
            """)
    }
    let extra = outputPadding ?? 0

    func limit(_ bound: Int, _ why: StaticString) throws(Failure) {
        if extra < 0 || extra >= bound {
            throw Failure(
                CONVOLUTION_ERROR_OUTPUT_PADDING,
                "\(names.outputPadding) is \(extra); it must be from 0 to \(bound - 1) (\(why))")
        }
    }

    switch rule {
    case .keras(let same):
        try limit(stride, "Keras: less than the stride")
        let output: Int
        if let wanted {
            // The forward convolution of the wanted size must give back the input's size.
            let places = same ? wanted : try plus(minus(wanted, extent, names.kernel), 1, names.kernel)
            let forward = ceilDivide(places, stride)
            if forward != input {
                let low = try plus(times(input - 1, stride, names.stride), same ? 1 : extent, names.kernel)
                throw Failure(
                    CONVOLUTION_ERROR_OUTPUT_SIZE,
                    """
                    \(names.output) is \(wanted); with \(names.size) \(input) this rule permits \(max(low, 1)) to \
                    \(try plus(low, stride - 1, names.stride))
                    """)
            }
            output = wanted
        } else if same {
            output = outputPadding == nil
                ? try times(input, stride, names.stride)
                : try plus(plus(times(input - 1, stride, names.stride), extent % 2, names.kernel), extra, names.outputPadding)
        } else if outputPadding == nil {
            output = try plus(times(input - 1, stride, names.stride), max(extent, stride), names.kernel)
        } else {
            output = try plus(natural, extra, names.outputPadding)
        }
        return (same ? max(natural - output, 0) / 2 : 0, output)

    case .torch(let before, let after), .onnx(let before, let after):
        try limit(max(stride, dilation), "less than the larger of stride and dilation")
        if case .onnx = rule, let wanted {
            let total = max(try minus(plus(natural, extra, names.outputPadding), wanted, names.output), 0)
            return (total - total / 2, wanted)
        }
        let smallest = try minus(minus(natural, before, names.padBefore), after, names.padAfter)
        if let wanted {
            let largest = try plus(smallest, stride - 1, names.stride)
            if wanted < smallest || wanted > largest {
                throw Failure(
                    CONVOLUTION_ERROR_OUTPUT_SIZE,
                    """
                    \(names.output) is \(wanted); with \(names.size) \(input) this rule permits \(max(smallest, 1)) to \(largest)
                    """)
            }
            return (before, wanted)
        }
        return (before, try plus(smallest, extra, names.outputPadding))

    case .onnxSame(let lower):
        try limit(max(stride, dilation), "less than the larger of stride and dilation")
        let output: Int
        if let wanted { output = wanted } else { output = try times(input, stride, names.stride) }
        let total = max(try minus(plus(natural, extra, names.outputPadding), output, names.output), 0)
        return (lower ? total - total / 2 : total / 2, output)

    case .jax(let same):
        if outputPadding != nil {
            throw Failure(
                CONVOLUTION_ERROR_OUTPUT_PADDING,
                "\(names.outputPadding) is \(extra) and output_padding_given is 1; rule JAX (3) has no output padding")
        }
        if let wanted {
            throw Failure(
                CONVOLUTION_ERROR_OUTPUT_SIZE,
                "\(names.output) is \(wanted); rule JAX (3) infers the output size, so it must be 0")
        }
        return try transposeWindow(
            input: input, kernel: kernel, stride: stride, dilation: dilation, rule: .keras(same: same), outputPadding: nil,
            wanted: nil, names)

    case .window(let before, let after):
        if extra < 0 {
            throw Failure(CONVOLUTION_ERROR_OUTPUT_PADDING, "\(names.outputPadding) is \(extra); it must be at least 0")
        }
        let rest = try minus(minus(natural, before, names.padBefore), after, names.padAfter)
        if let wanted { return (before, wanted) }
        return (before, try plus(rest, extra, names.outputPadding))
    }
}

enum BorderMode {
    case constant, reflect, symmetric, replicate, circular
}

/// The input index that stands at `index`, which lies at most one length outside (validation saw to that), or nil for a constant.
@inline(__always)
func borderIndex(_ index: Int, _ length: Int, _ mode: BorderMode) -> Int? {
    if UInt(bitPattern: index) < UInt(bitPattern: length) { return index }
    switch mode {
    case .constant: return nil
    case .reflect: return index < 0 ? -index : 2 &* (length &- 1) &- index
    case .symmetric: return index < 0 ? -index &- 1 : 2 &* length &- 1 &- index
    case .replicate: return index < 0 ? 0 : length &- 1
    case .circular: return index < 0 ? index &+ length : index &- length
    }
}

/// The part of one axis in which every output element uses the same kernel taps: output element `q` stands at
/// `outputStart + q * outputStep` and its tap `j`, kernel element `kernelStart + j * kernelStep`, reads input element
/// `q * inputStep + offsetStart + j * offsetStep`.
///
/// A convolution is one such lattice. A transposed convolution with stride s is up to s of them, its output phases: no zeros are
/// inserted, and every output element belongs to exactly one. So it is with a convolution of an image whose elements are
/// repeated f times; there a tap may stand for several kernel elements, which all read the same input element.
struct Lattice {
    var outputStart: Int
    var outputStep: Int
    var count: Int
    var inputStep: Int
    var taps: Int
    var kernelStart: Int
    var kernelStep: Int
    var offsetStart: Int
    var offsetStep: Int
    var sums: TapSums?

    /// Of the tap that reads the last input element.
    var lastOffset: Int { offsetStart + max(0, (taps - 1) * offsetStep) }

    /// Whether there is a tap that reads input element `place` for some output, however many outputs there are.
    func meets(_ place: Int) -> Bool {
        for tap in 0..<taps where (place - offsetStart - tap * offsetStep) % inputStep == 0 { return true }
        return false
    }

    /// The outputs number `first`, `first` + `axis.phases`, ... of a convolution; `axis.hasPhases` holds.
    static func convolution(_ axis: Axis, first: Int = 0) -> Lattice {
        // Kernel element a of the first output reads element (place + a * dilation) / repetition, rounded down. Zeros and other
        // borders stand the same way around the repeated image as around the input (but reflection, which leaves out the last).
        let place = first * axis.stride - axis.start
        let repetition = axis.repetition
        var lattice = Lattice(
            outputStart: first, outputStep: axis.phases, count: (axis.output - first - 1) / axis.phases + 1,
            inputStep: axis.stride * axis.phases / repetition, taps: axis.kernel, kernelStart: 0, kernelStep: 1,
            offsetStart: floorDivide(place, repetition), offsetStep: axis.dilation / repetition)
        if axis.dilation < repetition {
            lattice.offsetStep = 1
            lattice.taps = floorDivide(place + (axis.kernel - 1) * axis.dilation, repetition) - lattice.offsetStart + 1
            lattice.sums = TapSums(kernel: axis.kernel, dilation: axis.dilation, repetition: repetition, place: place)
        }
        return lattice
    }

    /// The kernel elements that tap `tap` stands for: one, or neighbours.
    func kernelElements(_ tap: Int) -> Range<Int> {
        guard let sums else {
            let element = kernelStart + tap * kernelStep
            return element..<element + 1
        }
        return sums.first(offsetStart + tap)..<sums.first(offsetStart + tap + 1)
    }

    /// The phase of the outputs that kernel element `first` (0 ..< stride / gcd(stride, dilation), and below kernel) reaches:
    /// output t with t + start = j * stride + a * dilation uses a = first, first + stride / gcd, ... nil if no output lies in it.
    static func phase(_ axis: Axis, first: Int) -> Lattice? {
        let common = greatestCommonDivisor(axis.stride, axis.dilation)
        let kernelStep = axis.stride / common
        // The smallest t >= 0 of the phase: t = first * dilation - start modulo stride.
        let place = first * axis.dilation - axis.start
        let outputStart = place - floorDivide(place, axis.stride) * axis.stride
        guard outputStart < axis.output else { return nil }
        // Kernel elements in descending order, so that the taps read the input in ascending order.
        let taps = (axis.kernel - first - 1) / kernelStep + 1
        let offsetStep = axis.dilation / common
        return Lattice(
            outputStart: outputStart, outputStep: axis.stride, count: (axis.output - outputStart - 1) / axis.stride + 1,
            inputStep: 1,
            taps: taps, kernelStart: first + (taps - 1) * kernelStep, kernelStep: -kernelStep,
            offsetStart: (outputStart - place) / axis.stride - (taps - 1) * offsetStep, offsetStep: offsetStep)
    }

    /// Both phases of a transposed convolution of stride 2: pair q is outputs `outputStart` + 2q and the next, of which the first
    /// or the last may be none. They read input elements `offsetStart` + q and, of a kernel of 3 or 4 elements, the next. The
    /// taps are those of the kernel.
    static func pairs(_ axis: Axis) -> Lattice {
        let first = ceilDivide(axis.start - axis.kernel + 1, 2)
        let outputStart = 2 * first + axis.kernel - 2 - axis.start
        return Lattice(
            outputStart: outputStart, outputStep: 2, count: ceilDivide(axis.output - outputStart, 2), inputStep: 1,
            taps: axis.kernel, kernelStart: 0, kernelStep: 1, offsetStart: first, offsetStep: 1)
    }

    /// How many values of `first` there are for `phase`.
    static func phaseCount(_ axis: Axis) -> Int {
        min(axis.stride / greatestCommonDivisor(axis.stride, axis.dilation), axis.kernel)
    }
}

/// Taps of a convolution that read the same element of a repeated image.
struct TapSums {
    var kernel: Int
    var dilation: Int
    var repetition: Int
    /// Of the repeated image, what kernel element 0 reads.
    var place: Int

    /// The first kernel element that reads input element `index` or one after it.
    func first(_ index: Int) -> Int {
        min(max(ceilDivide(index * repetition - place, dilation), 0), kernel)
    }
}

func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int {
    var (a, b) = (a, b)
    while b != 0 { (a, b) = (b, a % b) }
    return a
}
