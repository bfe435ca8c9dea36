import CConvolution

// upsample2d: params in, a checked `Resampling` out.

func validate(_ pointer: UnsafePointer<upsample2d_params>?) throws(Failure) -> Resampling {
    try validate(read(pointer))
}

func read(_ pointer: UnsafePointer<upsample2d_params>?) throws(Failure) -> upsample2d_params {
    var p = upsample2d_params()
    try readStruct(pointer, "upsample2d_params", firstBytes: 192, laterBytes: 208, into: &p)
    return p
}

func validate(_ p: upsample2d_params) throws(Failure) -> Resampling {
    try checkChoice(p.dtype, "dtype", 2, CONVOLUTION_ERROR_DTYPE)
    try checkChoice(p.data_format, "data_format", 2, CONVOLUTION_ERROR_DATA_FORMAT)
    let accumulates = try checkedFlag(p.accumulate, "accumulate")
    let threads = try checkedThreads(p.threads)
    let tier = try Tier.chosen(p.isa)
    var method = try resamplingMethod(p)
    let batch = try checkedSize(p.batch, "batch", atLeast: 0, CONVOLUTION_ERROR_IMAGE_SIZE)
    let channels = try checkedSize(p.channels, "channels", atLeast: 0, CONVOLUTION_ERROR_CHANNELS)
    let height = try checkedSize(p.height, "height", atLeast: 1, CONVOLUTION_ERROR_IMAGE_SIZE)
    let width = try checkedSize(p.width, "width", atLeast: 1, CONVOLUTION_ERROR_IMAGE_SIZE)

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
        let factor = try checkedSize(factor, names.factor, atLeast: 0, CONVOLUTION_ERROR_FACTOR)
        let output = try checkedSize(output, names.output, atLeast: 0, CONVOLUTION_ERROR_OUTPUT_SIZE)
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
        p, TensorShape(batch: batch, rows: vertical.input, columns: horizontal.input, channels: channels),
        TensorShape(batch: batch, rows: vertical.output, columns: horizontal.output, channels: channels))
    return Resampling(
        isDouble: isDouble, channelsFirst: channelsFirst, batch: batch, channels: channels, vertical: vertical,
        horizontal: horizontal, method: method, extrapolation: p.extrapolation_value, input: input, output: output,
        threads: threads, tier: tier, accumulates: accumulates)
}

/// What the preset says, and what the other fields say instead.
private func resamplingMethod(_ p: upsample2d_params) throws(Failure) -> ResamplingMethod {
    try checkChoice(p.interpolation, "interpolation", 6, CONVOLUTION_ERROR_INTERPOLATION)
    try checkChoice(p.coordinates, "coordinates", 8, CONVOLUTION_ERROR_COORDINATES)
    try checkChoice(p.preset, "preset", 7, CONVOLUTION_ERROR_RULE)
    try checkChoice(p.rounding, "rounding", 6, CONVOLUTION_ERROR_COORDINATES)
    try checkChoice(p.edge, "edge", 3, CONVOLUTION_ERROR_COORDINATES)
    let antialias = try checkedFlag(p.antialias, "antialias")
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
