import CConvolution

/// How large an upsampled image is. i is the input's height or width, o the output's.
public enum UpsampledSize: Hashable, Sendable {
    /// o = i * factor; 1 or more. Keras UpSampling2D(size).
    case factor(height: Int, width: Int)
    /// o itself, in rows and columns; 1 or more.
    case output(height: Int, width: Int)
    /// o = floor(i * scale), and the scale itself says where output elements lie; greater than 0. PyTorch's scale_factor.
    case scale(height: Double, width: Double)
    /// o itself, and a scale that says where output elements lie, whatever o is. ONNX's keep_aspect_ratio_policy, PyTorch's
    /// operators with scales. Not with area.
    case outputAndScale(height: Int, width: Int, scaleHeight: Double, scaleWidth: Double)
}

/// A part of an image: 0 is the first row or column, 1 the last. It may reach beyond the image, and is turned round where its
/// beginning lies after its end.
public struct UpsampleRegion: Hashable, Sendable {
    public var top: Double
    public var left: Double
    public var bottom: Double
    public var right: Double
    /// What lies outside the image.
    public var extrapolation: Double

    public init(top: Double, left: Double, bottom: Double, right: Double, extrapolation: Double = 0) {
        self.top = top
        self.left = left
        self.bottom = bottom
        self.right = right
        self.extrapolation = extrapolation
    }
}

/// What an `upsample2d` does besides its images and their size.
public struct Upsample2DOptions: Sendable {
    public var interpolation: Interpolation
    /// Whose defaults the options that are nil have, and whose arithmetic; nil: PyTorch's, as far as it has the interpolation.
    public var preset: UpsamplePreset?
    /// The place in the input that an output element shows. nil: by the preset.
    public var coordinates: Coordinates?
    /// The part of the image that the result shows, as with ONNX's tf_crop_and_resize and TensorFlow's crop_and_resize; nil: all
    /// of it. Its corners are the result's, so that `coordinates` must be nil.
    public var region: UpsampleRegion?
    /// Which input element is the nearest to a place between two; for nearest alone. nil: by the preset.
    public var rounding: NearestRounding?
    /// What counts beyond the image's border; for bilinear, bicubic and lanczos. nil: by the preset.
    public var edge: UpsampleEdge?
    /// The a of bicubic's kernel, not 0. -0.75 or -0.5, by the preset.
    public var cubicCoefficient: Double?
    /// Every input element counts when the image shrinks. For bilinear, bicubic and lanczos.
    public var antialias: Bool
    public var dataFormat: DataFormat
    /// Threads that compute. 0: one per core; 1: only the caller's; at most 1024. The result does not depend on it.
    public var threads: Int
    /// An instruction-set tier by name, one of `InstructionSetTiers.supported`. nil: the best, or what the environment variable
    /// CONVOLUTION_ISA says.
    public var isa: String?

    public init(
        interpolation: Interpolation = .nearest, preset: UpsamplePreset? = nil, coordinates: Coordinates? = nil,
        region: UpsampleRegion? = nil, rounding: NearestRounding? = nil, edge: UpsampleEdge? = nil,
        cubicCoefficient: Double? = nil, antialias: Bool = false, dataFormat: DataFormat = .channelsLast, threads: Int = 0,
        isa: String? = nil
    ) {
        self.interpolation = interpolation
        self.preset = preset
        self.coordinates = coordinates
        self.region = region
        self.rounding = rounding
        self.edge = edge
        self.cubicCoefficient = cubicCoefficient
        self.antialias = antialias
        self.dataFormat = dataFormat
        self.threads = threads
        self.isa = isa
    }

    func call<Scalar: TensorScalar>(
        _: Scalar.Type, inputShape: [Int], size: UpsampledSize
    ) throws(ConvolutionError) -> Call<upsample2d_params> {
        var (p, channels) = try upsample2d_params.forImages(inputShape, of: Scalar.self, dataFormat: dataFormat, threads: threads)
        p.channels = Int64(channels)
        p.interpolation = Int32(interpolation.code)
        p.preset = Int32(preset?.code ?? UPSAMPLE2D_PRESET_NONE)
        p.coordinates = Int32(coordinates?.code ?? UPSAMPLE2D_COORDINATES_DEFAULT)
        if let region {
            if coordinates != nil {
                throw ConvolutionError(.coordinates, "coordinates and region are given; one of them must be nil")
            }
            p.coordinates = Int32(UPSAMPLE2D_COORDINATES_TF_CROP_AND_RESIZE)
            p.roi = (region.top, region.left, region.bottom, region.right)
            p.extrapolation_value = region.extrapolation
        }
        p.rounding = Int32(rounding?.code ?? UPSAMPLE2D_ROUNDING_DEFAULT)
        p.edge = Int32(edge?.code ?? UPSAMPLE2D_EDGE_DEFAULT)
        if let cubicCoefficient {
            if cubicCoefficient == 0 {
                throw ConvolutionError(.interpolation, "cubic_coefficient is 0; it must be another number, or nil")
            }
            p.cubic_coefficient = cubicCoefficient
        }
        p.antialias = antialias ? 1 : 0
        switch size {
        case .factor(let height, let width):
            p.factor_height = try positive(height, "factor_height", .factor)
            p.factor_width = try positive(width, "factor_width", .factor)
        case .output(let height, let width):
            p.output_height = try positive(height, "output_height", .outputSize)
            p.output_width = try positive(width, "output_width", .outputSize)
        case .scale(let height, let width):
            p.scale_height = try notZero(height, "scale_height")
            p.scale_width = try notZero(width, "scale_width")
        case .outputAndScale(let height, let width, let scaleHeight, let scaleWidth):
            p.output_height = try positive(height, "output_height", .outputSize)
            p.output_width = try positive(width, "output_width", .outputSize)
            p.scale_height = try notZero(scaleHeight, "scale_height")
            p.scale_width = try notZero(scaleWidth, "scale_width")
        }
        return Call(parameters: p, isa: isa)
    }
}

/// As with `positive`: in C, 0 would leave the size as it is.
private func notZero(_ scale: Double, _ name: String) throws(ConvolutionError) -> Double {
    if scale == 0 { throw ConvolutionError(.factor, "\(name) is 0; it must be finite and greater than 0") }
    return scale
}

/// Enlarges (or shrinks) each image. Keras's UpSampling2D, PyTorch's Upsample and interpolate, ONNX's Resize, OpenCV's resize.
///
///     let twice = try upsample2d(image, size: .factor(height: 2, width: 2), options: .init(interpolation: .bilinear))
///
/// - Parameters:
///   - input: images, in the order of `options.dataFormat`; height and width 1 or more.
///   - size: how large they become.
///   - residual: a tensor of the result's shape, which is added to it.
/// - Returns: images in the order of `options.dataFormat`.
/// - Throws: if the size or an option is out of its range. The message names it.
public func upsample2d<Scalar>(
    _ input: Tensor<Scalar>, size: UpsampledSize, residual: Tensor<Scalar>? = nil,
    options: Upsample2DOptions = Upsample2DOptions()
) throws(ConvolutionError) -> Tensor<Scalar> {
    var call = try options.call(Scalar.self, inputShape: input.shape, size: size)
    let shape = try call.outputShape(upsample2d_output_shape)
    try call.parameters.take(residual, shape: shape)
    return try Tensor(shape: shape) { output in
        residual?.copyElements(to: output)
        return call { upsample2d($0, input.elements, output) }
    }
}

/// The shape of what `upsample2d` returns for an input of this shape.
///
/// - Throws: what `upsample2d` would.
public func upsample2dOutputShape(
    inputShape: [Int], size: UpsampledSize, options: Upsample2DOptions = Upsample2DOptions()
) throws(ConvolutionError) -> [Int] {
    try options.call(Float.self, inputShape: inputShape, size: size).outputShape(upsample2d_output_shape)
}

/// An `upsample2d` that is used more than once: where each output element lies is computed when it is made. Many tasks may
/// call it at once.
public final class Upsample2DPlan<Scalar: TensorScalar>: Sendable {
    /// The shape of the inputs it takes.
    public let inputShape: [Int]
    public let outputShape: [Int]
    private let plan: PlanHandle

    /// - Throws: what `upsample2d` would for an input of this shape.
    public init(
        inputShape: [Int], size: UpsampledSize, options: Upsample2DOptions = Upsample2DOptions()
    ) throws(ConvolutionError) {
        let call = try options.call(Scalar.self, inputShape: inputShape, size: size)
        self.inputShape = inputShape
        outputShape = try call.outputShape(upsample2d_output_shape)
        plan = try call.plan(destroy: upsample2d_plan_destroy) { upsample2d_plan_create($0, $1) }
    }

    /// The same bits as `upsample2d`.
    ///
    /// - Throws: `shape` if the input has another shape than the plan, `outOfMemory`.
    public func callAsFunction(_ input: Tensor<Scalar>) throws(ConvolutionError) -> Tensor<Scalar> {
        try input.checkShape(inputShape)
        return try Tensor(shape: outputShape) { output in
            plan { upsample2d_plan_execute($0, input.elements, output) }
        }
    }
}
