import CConvolutionShims
import ConvolutionKernels

// Which input elements an output element of upsample2d is made of, and their weights: one axis at a time, in the arithmetic of
// the framework whose results are wanted. No pointers to images here.

enum InterpolationKind {
    case nearest, bilinear, bicubic, area
    /// The sinc function under a window of this many elements on each side.
    case lanczos(radius: Int)
}

enum CoordinateRule {
    case halfPixel, alignCorners, asymmetric, torchHalfPixel
    /// Of a scale that the caller named; with any other step it is the same as `halfPixel`, but for ONNX's roundings.
    case symmetricHalfPixel
    case tensorFlowHalfPixel
    /// The output is a region of the image, and something else where that reaches beyond it.
    case region
}

enum RoundingRule {
    case preferFloor, preferCeil, floor, ceil, simple
}

/// Whose operations, in whose order, compute coordinates and weights.
enum ResamplingArithmetic {
    case torch, tensorFlow, jax, onnx, openCV
}

/// What is common to both axes of a resampling.
struct ResamplingMethod {
    var interpolation: InterpolationKind
    var coordinates: CoordinateRule
    var rounding: RoundingRule
    var arithmetic: ResamplingArithmetic
    /// Taps outside the image are dropped, and the others' weights divided by their sum; else the border element stands for them.
    var renormalises: Bool
    /// The kernel is stretched where the image shrinks.
    var antialias: Bool
    var cubicCoefficient: Double
    /// PyTorch: HALF_PIXEL places in one rounding, a fused multiply-add.
    var fusesPlace: Bool
    /// PyTorch: NEAREST by the kernel that it has for large outputs.
    var isLargeNearest: Bool
    var shiftsAlignedCorners: Bool
    /// Area: the mean of the elements that an output element touches, PyTorch's adaptive pooling, rather than of what it covers.
    var poolsArea: Bool
    /// Area where an axis grows: OpenCV then interpolates on both.
    var interpolatesArea: Bool
}

/// One axis of an upsampling.
struct ResamplingAxis {
    var input: Int
    var output: Int
    /// Not 0: exact repetition by this factor (nearest only).
    var repetition: Int
    /// Not 0: the scale that the caller named, kept distinct from output / input.
    var scale: Double
    /// Of the region: 0 is the first element, 1 the last.
    var regionStart = 0.0
    var regionEnd = 0.0

    var grows: Bool { scale > 0 ? scale > 1 : output > input }
}

/// The taps of one output element: neighbours, some of them perhaps outside the input.
private struct TapRange<Real> {
    var first: Int
    var count: Int
    /// Where the output element lies among the input elements.
    var center: Real
}

/// Computes taps in `Real`: float32, or the type of the data where the framework does so.
struct AxisTaps<Real: KernelScalar> {
    private let axis: ResamplingAxis
    private let method: ResamplingMethod
    /// Input elements per output element.
    private let step: Real
    /// By how much the kernel is stretched.
    private let stretch: Real

    @inline(never)
    init(_ axis: ResamplingAxis, _ method: ResamplingMethod) {
        self.axis = axis
        self.method = method
        step = Self.step(axis, method)
        // ONNX Runtime stretches by the scale, whatever the coordinates.
        let shrinking = method.isONNX ? 1 / Self.scale(axis) : step.magnitude
        // Output elements may lie further apart than the image is long: of a region that is far larger, or by a scale beside the
        // size. Twice its length is what ONNX's keep_aspect_ratio_policy can lead to; every tap outside the image counts there.
        let limit: Real = method.renormalises ? 0x1p48 : 2 * Real(axis.input)
        stretch = method.antialias && !method.leavesAlone(axis) ? max(min(shrinking, limit), 1) : 1
    }

    private static func step(_ axis: ResamplingAxis, _ method: ResamplingMethod) -> Real {
        if case .alignCorners = method.coordinates {
            return axis.output == 1 ? 0 : Real(axis.input - 1) / Real(axis.output - 1)
        }
        if method.extrapolates {
            let length = Real(axis.regionEnd) - Real(axis.regionStart)
            return axis.output == 1 ? 0 : length * Real(axis.input - 1) / Real(axis.output - 1)
        }
        if axis.scale > 0 { return Real(1 / axis.scale) }
        switch method.arithmetic {
        case .tensorFlow where method.isLanczos || method.antialias, .openCV: return 1 / (Real(axis.output) / Real(axis.input))
        case .jax where method.isNearest: return Real(axis.input) * (1 / Real(axis.output))
        default: return Real(axis.input) / Real(axis.output)
        }
    }

    /// Output elements per input element.
    private static func scale(_ axis: ResamplingAxis) -> Real {
        axis.scale > 0 ? Real(axis.scale) : Real(axis.output) / Real(axis.input)
    }

    /// The order of the operations is the framework's, and so are the roundings.
    @inline(never)
    private func place(_ t: Int) -> Real {
        let half: Real = 0.5
        if method.interpolatesArea {
            let below = (step * Real(t)).rounded(.down)
            let part = Float((Real(t + 1) - (below + 1) / step).inDouble)
            return below + Real(part <= 0 ? 0 : part - part.rounded(.down))
        }
        if method.leavesAlone(axis) { return Real(t) }
        switch method.coordinates {
        case .alignCorners:
            if method.isONNX, axis.output > 1 { return Real(t) * Real(axis.input - 1) / Real(axis.output - 1) }
            // PyTorch stretches its kernel around places that do not align the corners.
            return method.shiftsAlignedCorners ? step * (Real(t) + half) - half : step * Real(t)
        case .torchHalfPixel where axis.output == 1:
            return 0
        case .halfPixel, .torchHalfPixel:
            switch method.arithmetic {
            case .onnx:
                return (Real(t) + half) / Self.scale(axis) - half
            // A scale that leaves the size as it is copies, whatever its value.
            case .torch where method.isBilinear && axis.output == axis.input:
                return Real(t)
            case .torch where !method.fusesPlace, .tensorFlow, .openCV:
                return step * (Real(t) + half) - half
            case .torch, .jax:
                return (-half).addingProduct(step, Real(t) + half)
            }
        case .symmetricHalfPixel:
            let (scale, input) = (Self.scale(axis), Real(axis.input))
            let offset = input / 2 * (1 - Real(axis.output) / (scale * input))
            // ONNX Runtime computes this much in double.
            return Real(offset.inDouble + (Double(t) + 0.5) / scale.inDouble - 0.5)
        case .region:
            let (start, end, last) = (Real(axis.regionStart), Real(axis.regionEnd), Real(axis.input - 1))
            if axis.output == 1 { return half * (start + end) * last }
            switch method.arithmetic {
            case .tensorFlow: return start * last + Real(t) * step
            default: return start * last + Real(t) * (end - start) * last / Real(axis.output - 1)
            }
        case .asymmetric, .tensorFlowHalfPixel:
            var center = Real(t)
            if case .tensorFlowHalfPixel = method.coordinates { center += half }
            return method.isONNX ? center / Self.scale(axis) : step * center
        }
    }

    /// Half the width of the kernel, in input elements.
    private var support: Real {
        switch method.interpolation {
        case .nearest, .area: 0
        case .bilinear: stretch
        case .bicubic: 2 * stretch
        case .lanczos(let radius): Real(radius) * stretch
        }
    }

    /// A region reaches beyond the image there.
    @inline(never)
    private func isOutside(_ t: Int) -> Bool {
        guard method.extrapolates else { return false }
        let place = place(t)
        return place < 0 || place > Real(axis.input - 1)
    }

    /// The output elements inside the image: places ascend or descend.
    @inline(never)
    var inside: Range<Int> {
        var (first, end) = (0, axis.output)
        while first < end, isOutside(first) { first += 1 }
        while first < end, isOutside(end - 1) { end -= 1 }
        return first..<end
    }

    private func range(_ t: Int) -> TapRange<Real> {
        let last = axis.input - 1
        // The nearest element, so that elements still ascend or descend with t.
        if isOutside(t) { return TapRange(first: place(t) < 0 ? 0 : last, count: 1, center: 0) }
        switch method.interpolation {
        case .nearest:
            return TapRange(first: nearest(t), count: 1, center: 0)
        case .area where method.poolsArea:
            // t * input / output, rounded down and up.
            let first = axis.output.dividingFullWidth(t.multipliedFullWidth(by: axis.input)).quotient
            let (end, rest) = axis.output.dividingFullWidth((t + 1).multipliedFullWidth(by: axis.input))
            return TapRange(first: first, count: (rest > 0 ? end + 1 : end) - first, center: 0)
        case .area where !method.interpolatesArea:
            let (low, high) = covered(t)
            let first = min(low.truncated, last)
            return TapRange(first: first, count: max(high.rounded(.up).truncated - first, 1), center: 0)
        case .area,
            .bilinear where !method.antialias:
            let center = min(max(place(t), 0), Real(last))
            let first = min(center.truncated, last)
            return TapRange(first: first, count: min(2, axis.input - first), center: center)
        default:
            var center = place(t)
            // ONNX Runtime counts from the elements' edges here, which costs a rounding.
            if method.isONNX, method.antialias { center = (center + 0.5) - 0.5 }
            var first: Int
            var end: Int
            if method.antialias {
                first = (center - support).rounded(.up).truncated
                end = (center + support).rounded(.down).truncated + 1
            } else {
                end = center.rounded(.down).truncated + support.truncated + 1
                first = end - 2 * support.truncated
            }
            if method.renormalises {
                first = min(max(first, 0), last)
                end = min(end, axis.input)
            }
            return TapRange(first: first, count: max(end - first, 1), center: center)
        }
    }

    /// How many taps the output element with the most has.
    func most() -> Int {
        let limit: Int
        switch method.interpolation {
        case .nearest: limit = 1
        case .bilinear, .bicubic, .lanczos: limit = method.antialias ? Int.max : 2 * support.truncated
        case .area: limit = Int.max
        }
        var most = 1
        for t in 0..<axis.output {
            most = max(most, range(t).count)
            if most >= limit { break }
        }
        return most
    }

    /// `elements` and `weights` get `taps` entries each, `most()` or more: an element with fewer repeats its last with weight 0,
    /// and one outside the image has no other weight.
    func fill<Scalar: KernelScalar>(
        _ t: Int, taps: Int, elements: UnsafeMutablePointer<Int>, weights: UnsafeMutablePointer<Scalar>
    ) {
        if method.copies, !method.extrapolates {
            elements[0] = nearest(t)
            weights[0] = 1
            return
        }
        let range = range(t)
        let isOutside = isOutside(t)
        var sum: Real = 0
        for k in 0..<taps {
            elements[k] = min(max(range.first + min(k, range.count - 1), 0), axis.input - 1)
            let weight = k < range.count && !isOutside ? weight(t, range, k) : 0
            weights[k] = Scalar(weight.inDouble)
            sum += weight
        }
        // The bound is TensorFlow's: a sum of nothing but rounding errors is no divisor.
        if method.normalises, sum.magnitude >= 1000 * Real(Float.leastNormalMagnitude) {
            for k in 0..<taps { weights[k] = Scalar((Real(weights[k].inDouble) / sum).inDouble) }
        }
    }

    // Once in the library, not once for each type of the tables.
    @inline(never)
    private func weight(_ t: Int, _ range: TapRange<Real>, _ k: Int) -> Real {
        let element = Real(range.first + k)
        let distance = (element - range.center).magnitude / stretch
        switch method.interpolation {
        case .nearest:
            return 1
        case .area where method.poolsArea:
            return 1 / Real(range.count)
        case .area where !method.interpolatesArea:
            return share(t, element)
        case .area,
            .bilinear where !method.antialias:
            let part = range.center - Real(range.first)
            return k == 0 ? 1 - part : part
        case .bilinear:
            return max(1 - distance, 0)
        case .bicubic where !method.antialias:
            return cubicTap(range.first + k, range.center)
        case .bicubic:
            let a = Real(method.cubicCoefficient)
            if distance < 1 { return keys(distance) }
            return distance < 2 ? (((distance - 5) * distance + 8) * distance - 4) * a : 0
        case .lanczos(let radius):
            return lanczos(distance, Real(radius))
        }
    }

    /// Keys's cubic by the distance from the element below the place, from 0 to 1, which TensorFlow rounds to a whole 1024th.
    private func cubicTap(_ element: Int, _ center: Real) -> Real {
        let below = center.rounded(.down)
        var part = center - below
        if case .tensorFlow = method.arithmetic { part = (part * 1024).rounded(.toNearestOrEven) / 1024 }
        switch element - below.truncated {
        case -1: return keys(part + 1)
        case 0: return keys(part)
        case 1: return keys(1 - part)
        case 2: return keys(2 - part)
        // The border element, of a place that lies far outside.
        default: return 0
        }
    }

    /// x from 0 to 2.
    private func keys(_ x: Real) -> Real {
        let a = Real(method.cubicCoefficient)
        if method.fusesPlace {
            if x <= 1 { return Real(1).addingProduct((-(a + 3)).addingProduct(a + 2, x) * x, x) }
            return (-4 * a).addingProduct((8 * a).addingProduct((-5 * a).addingProduct(a, x), x), x)
        }
        return x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    }

    private func lanczos(_ x: Real, _ radius: Real) -> Real {
        // TensorFlow and JAX round the top of the kernel off.
        let top: Real
        if case .torch = method.arithmetic { top = 0 } else { top = 1e-3 }
        if x <= top { return 1 }
        if x > radius { return 0 }
        let angle = Double.pi * x.inDouble
        return Real(Double(radius) * shim_sin(angle) * shim_sin(angle / Double(radius)) / (angle * angle))
    }

    /// Area: the part of the input that output element t covers.
    private func covered(_ t: Int) -> (low: Real, high: Real) {
        let high = step * Real(t + 1)
        if case .tensorFlow = method.arithmetic { return (step * Real(t), high) }
        return (step * Real(t), min(high, Real(axis.input)))
    }

    /// How much of an input element that is.
    private func share(_ t: Int, _ element: Real) -> Real {
        let (low, high) = covered(t)
        if case .tensorFlow = method.arithmetic {
            // Its weights, which far from the origin do not quite add up to one.
            if element < low { return (element + 1 > high ? step : element + 1 - low) / step }
            return (element + 1 > high ? high - element : 1) / step
        }
        return max(min(high, element + 1) - max(low, element), 0)
    }

    private func nearest(_ t: Int) -> Int {
        if axis.repetition > 0 { return t / axis.repetition }
        let half: Real = 0.5
        // ONNX Runtime takes places this near to the middle for the middle.
        let slack: Real = method.isONNX ? 1e-6 : 0
        let place: Real
        switch (method.coordinates, method.rounding) {
        case let (coordinates, _) where method.isLargeNearest:
            // Its places are in the data's type and as in `place`, but end in float32.
            let shift: Real = coordinates == .halfPixel ? half : 0
            place = Real(Float((-shift).addingProduct(step, Real(t) + shift).inDouble + shift.inDouble))
        case (.asymmetric, .floor) where method.isTorch && axis.output == axis.input: return t
        case (.asymmetric, .floor) where method.isTorch && axis.output == 2 * axis.input: return t / 2
        // One rounding less than the place and then its nearest whole number, as the frameworks have it.
        case (.halfPixel, .preferCeil) where !method.isONNX: place = step * (Real(t) + half)
        case (_, .preferFloor):
            let exact = self.place(t)
            place = exact - exact.rounded(.down) <= half + slack ? exact.rounded(.down) : exact.rounded(.up)
        case (_, .preferCeil):
            let exact = self.place(t)
            place = exact - exact.rounded(.down) < half - slack ? exact.rounded(.down) : exact.rounded(.up)
        case (_, .simple) where Self.scale(axis) < 1, (_, .ceil): place = self.place(t).rounded(.up)
        case (_, .floor), (_, .simple): place = self.place(t)
        }
        return place < Real(axis.input) ? min(max(place.rounded(.down).truncated, 0), axis.input - 1) : axis.input - 1
    }
}

extension ResamplingMethod {
    fileprivate var isTorch: Bool { if case .torch = arithmetic { true } else { false } }
    fileprivate var isONNX: Bool { if case .onnx = arithmetic { true } else { false } }
    fileprivate var isNearest: Bool { if case .nearest = interpolation { true } else { false } }
    fileprivate var isBilinear: Bool { if case .bilinear = interpolation { true } else { false } }
    fileprivate var isLanczos: Bool { if case .lanczos = interpolation { true } else { false } }
    fileprivate var isArea: Bool { if case .area = interpolation { true } else { false } }

    /// PyTorch and ONNX Runtime do not touch an axis that keeps its length, whatever the scale, when they antialias; and all of
    /// ONNX's implementations let TF_HALF_PIXEL_FOR_NN, which would shift it by half an element, be without effect there.
    fileprivate func leavesAlone(_ axis: ResamplingAxis) -> Bool {
        guard axis.output == axis.input else { return false }
        if case .tensorFlowHalfPixel = coordinates { return axis.scale == 0 || axis.scale == 1 }
        return antialias && (isTorch || isONNX) && !extrapolates
    }

    /// The taps' weights are divided by their sum.
    fileprivate var normalises: Bool {
        if case .tensorFlow = arithmetic, isArea { return false }
        return renormalises || antialias || isLanczos || isArea && !poolsArea && !interpolatesArea
    }

    /// Output elements may lie outside the image.
    var extrapolates: Bool { if case .region = coordinates { true } else { false } }

    /// Copies elements: no weights.
    var copies: Bool { isNearest }

    /// With a whole-number factor every element is repeated so often, which rounded coordinates might miss.
    var repeatsByFactor: Bool {
        switch (coordinates, rounding) {
        case (.asymmetric, .floor), (.halfPixel, .preferFloor), (.halfPixel, .preferCeil): isNearest
        default: false
        }
    }

    /// The factor by which the elements of an axis are repeated, by a rule that leaves no doubt; nil if there is none.
    func repetition(_ axis: ResamplingAxis) -> Int? {
        guard isNearest else { return nil }
        if axis.repetition > 0 { return axis.repetition }
        guard isTorch, case (.asymmetric, .floor) = (coordinates, rounding) else { return nil }
        if isLargeNearest, axis.scale > 0, Double(axis.input) * axis.scale != Double(axis.output) { return nil }
        return axis.output == axis.input ? 1 : axis.output == 2 * axis.input ? 2 : nil
    }

    /// Coordinates and weights are computed in float64 rather than float32, for data of that type or not.
    func needsDouble(forDouble isDouble: Bool) -> Bool {
        switch arithmetic {
        case .torch: isDouble && (!isNearest || isLargeNearest)
        case .openCV: true
        case .tensorFlow, .jax, .onnx: false
        }
    }
}
