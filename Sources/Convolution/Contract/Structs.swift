import CConvolution

// The parameter structs as they come from C: their bytes, and what is common to them.

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

/// A struct for results, whose size tells whether the caller knows the same fields.
func checkResult<T>(_ pointer: UnsafeMutablePointer<T>, _ name: StaticString) throws(Failure) {
    let given = UnsafeRawPointer(pointer).loadUnaligned(as: UInt.self)
    guard given >= UInt(MemoryLayout<T>.size), given <= 4096 else {
        throw Failure(
            CONVOLUTION_ERROR_STRUCT_SIZE,
            "struct_size is \(given); it must be sizeof(\(name)), \(MemoryLayout<T>.size) in this version")
    }
}
