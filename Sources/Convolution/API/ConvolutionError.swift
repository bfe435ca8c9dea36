import CConvolution

/// Why a call was refused: a status of `include/convolution.h` and a sentence that names the parameter, its value and what is
/// permitted. A function that throws has had no effect.
public struct ConvolutionError: Error, Hashable, Sendable, CustomStringConvertible {
    public let status: Status
    public let message: String

    public init(_ status: Status, _ message: String) {
        self.status = status
        self.message = message
    }

    /// Such as `CONVOLUTION_ERROR_STRIDE: stride_height is 0; it must be at least 1`.
    public var description: String { "\(status): \(message)" }

    /// A status of the C interface, or `shape`.
    public struct Status: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
        public let rawValue: Int32

        public init(rawValue: Int32) { self.rawValue = rawValue }

        private init(_ code: Int) { rawValue = Int32(code) }

        /// Tensors that do not fit together, or a tensor whose elements do not fit its shape. C sees pointers and cannot tell,
        /// so this status exists in Swift only.
        public static let shape = Status(-1)
        /// The two parts of an `upsample2dConv2d` have not the same.
        public static let dataFormat = Status(CONVOLUTION_ERROR_DATA_FORMAT)
        /// No instruction-set tier of that name, or this processor lacks it.
        public static let isa = Status(CONVOLUTION_ERROR_ISA)
        public static let threads = Status(CONVOLUTION_ERROR_THREADS)
        /// Height or width of an image.
        public static let imageSize = Status(CONVOLUTION_ERROR_IMAGE_SIZE)
        public static let kernelSize = Status(CONVOLUTION_ERROR_KERNEL_SIZE)
        public static let stride = Status(CONVOLUTION_ERROR_STRIDE)
        public static let dilation = Status(CONVOLUTION_ERROR_DILATION)
        /// Groups that do not divide the channels.
        public static let groups = Status(CONVOLUTION_ERROR_GROUPS)
        /// A padding that the padding mode or the rule cannot take.
        public static let padding = Status(CONVOLUTION_ERROR_PADDING)
        public static let outputPadding = Status(CONVOLUTION_ERROR_OUTPUT_PADDING)
        public static let outputSize = Status(CONVOLUTION_ERROR_OUTPUT_SIZE)
        /// The output would have no rows or no columns, and `allowsEmptyOutput` is false.
        public static let emptyOutput = Status(CONVOLUTION_ERROR_EMPTY_OUTPUT)
        /// An interpolation that the preset does not have, or an option (antialias, cubicCoefficient) that it does not take.
        public static let interpolation = Status(CONVOLUTION_ERROR_INTERPOLATION)
        /// Coordinates, rounding or edge that the interpolation does not take.
        public static let coordinates = Status(CONVOLUTION_ERROR_COORDINATES)
        /// A factor or scale of an upsampling.
        public static let factor = Status(CONVOLUTION_ERROR_FACTOR)
        public static let activation = Status(CONVOLUTION_ERROR_ACTIVATION)
        /// A product of sizes exceeds what 64 bits or a process's memory can hold.
        public static let overflow = Status(CONVOLUTION_ERROR_OVERFLOW)
        public static let outOfMemory = Status(CONVOLUTION_ERROR_OUT_OF_MEMORY)
        /// Legal, but not built into this version.
        public static let unsupported = Status(CONVOLUTION_ERROR_UNSUPPORTED)
        public static let lambda = Status(CONVOLUTION_ERROR_LAMBDA)
        public static let tolerance = Status(CONVOLUTION_ERROR_TOLERANCE)
        public static let iterations = Status(CONVOLUTION_ERROR_ITERATIONS)
        /// A mask of another size than the output.
        public static let mask = Status(CONVOLUTION_ERROR_MASK)
        /// `workspaceLimit` is negative or less than the layer needs.
        public static let workspace = Status(CONVOLUTION_ERROR_WORKSPACE)

        /// The name in the header, such as `CONVOLUTION_ERROR_STRIDE`.
        public var description: String {
            if self == .shape { return "CONVOLUTION_ERROR_SHAPE" }
            return convolution_status_name(rawValue).map { String(cString: $0) } ?? "CONVOLUTION_ERROR_UNKNOWN"
        }
    }
}

/// Throws what the C function of this status wrote last. Must run on the thread that called it, which synchronous code does.
func check(_ status: Int32) throws(ConvolutionError) {
    if status != 0 {
        throw ConvolutionError(
            ConvolutionError.Status(rawValue: status), convolution_error_message().map { String(cString: $0) } ?? "")
    }
}
