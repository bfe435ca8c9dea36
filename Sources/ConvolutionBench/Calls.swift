import CConvolution

/// What the library refused.
struct Refusal: Error {
    let status: Int32
    let message: String

    init(_ status: Int32) {
        self.status = status
        message = String(cString: convolution_error_message())
    }

    /// Legal, but not built into this version of the library.
    var isUnsupported: Bool { status == Int32(CONVOLUTION_ERROR_UNSUPPORTED) }
}

private func check(_ status: Int32) throws {
    guard status == 0 else { throw Refusal(status) }
}

enum Format: String, CaseIterable {
    case nhwc, nchw
}

/// One way to run a layer.
struct Variant {
    enum Call: String, CaseIterable {
        case plan, plain
    }
    let format: Format
    let call: Call
    let threads: Int
}

/// The arrays of one layer in one format, aligned to cache lines as a caller who cares for speed has them.
final class Arrays {
    /// For a gradient `output` is the output's gradient, and `input` or `kernel` is the result.
    let input, kernel, output: UnsafeMutableBufferPointer<Float>
    let result: UnsafeMutableBufferPointer<Float>

    /// The oracle's arrays are channels first, its kernel has height and width last; for NHWC they are brought to Keras' order.
    init(_ oracle: Oracle, format: Format) {
        let layer = oracle.layer
        func allocate(_ elements: [Float], shape: [Int], isKernel: Bool = false) -> UnsafeMutableBufferPointer<Float> {
            let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(elements.count, 1) * 4, alignment: 64)
            let array = memory.bindMemory(to: Float.self)
            guard format == .nhwc else {
                _ = array.update(fromContentsOf: elements)
                return array
            }
            for (index, element) in elements.enumerated() {
                array[Self.index(of: index, shape, isKernel: isKernel)] = element
            }
            return array
        }
        input = allocate(oracle.input, shape: [layer.inputChannels, layer.inputSize.height * layer.inputSize.width])
        output = allocate(oracle.output, shape: [layer.outputChannels, layer.outputSize.height * layer.outputSize.width])
        kernel = allocate(
            oracle.kernel, shape: [layer.kernelChannels.outer, layer.kernelChannels.inner, layer.kernel * layer.kernel],
            isKernel: true)
        result = [.forward: output, .input: input, .kernel: kernel][layer.pass]!
    }

    /// Where the element at `index` stands in Keras' order: [channels][pixels] becomes [pixels][channels], image by image, and
    /// [outer][inner][taps] becomes [taps][inner][outer]: OIHW HWIO, IOHW HWOI.
    static func index(of index: Int, _ shape: [Int], isKernel: Bool) -> Int {
        if isKernel {
            let tap = index % shape[2], channels = index / shape[2]
            return (tap * shape[1] + channels % shape[1]) * shape[0] + channels / shape[1]
        }
        let pixel = index % shape[1], channel = index / shape[1]
        return (channel / shape[0] * shape[1] + pixel) * shape[0] + channel % shape[0]
    }

    deinit {
        for array in [input, kernel, output] { UnsafeMutableRawPointer(array.baseAddress!).deallocate() }
    }
}

/// A layer made ready to be run: all that a program does once is done.
final class Callable {
    let variant: Variant
    let arrays: Arrays
    /// Bytes of the plan and of one execution beyond it, where the library can be asked.
    let memory: (plan: Int, execution: Int)?
    private let body: () -> Int32
    private let destroy: () -> Void

    convenience init(_ layer: Layer, _ variant: Variant, _ arrays: Arrays, isa: UnsafePointer<CChar>) throws {
        let input = arrays.input.baseAddress!, kernel = arrays.kernel.baseAddress!, output = arrays.output.baseAddress!
        switch (layer.operation, layer.pass) {
        case (.conv2d, .forward):
            try self.init(
                variant, arrays, layer.conv2dParameters(variant, isa), workspace: conv2d_workspace_size,
                create: { conv2d_plan_create($0, kernel, nil, $1) }, execute: { conv2d_plan_execute($0, input, output) },
                destroy: conv2d_plan_destroy, plain: { conv2d($0, input, kernel, nil, output) })
        case (.conv2d, .input):
            try self.init(
                variant, arrays, layer.conv2dParameters(variant, isa),
                create: { conv2d_backward_input_plan_create($0, kernel, $1) },
                execute: { conv2d_backward_input_plan_execute($0, output, input) }, destroy: conv2d_backward_input_plan_destroy,
                plain: { conv2d_backward_input($0, output, kernel, input) })
        case (.conv2d, .kernel):
            try self.init(
                variant, arrays, layer.conv2dParameters(variant, isa), create: conv2d_backward_kernel_plan_create,
                execute: { conv2d_backward_kernel_plan_execute($0, input, output, kernel) },
                destroy: conv2d_backward_kernel_plan_destroy, plain: { conv2d_backward_kernel($0, input, output, kernel) })
        case (.conv2dTranspose, .forward):
            try self.init(
                variant, arrays, layer.conv2dTransposeParameters(variant, isa), workspace: conv2d_transpose_workspace_size,
                create: { conv2d_transpose_plan_create($0, kernel, nil, $1) },
                execute: { conv2d_transpose_plan_execute($0, input, output) }, destroy: conv2d_transpose_plan_destroy,
                plain: { conv2d_transpose($0, input, kernel, nil, output) })
        case (.conv2dTranspose, .input):
            try self.init(
                variant, arrays, layer.conv2dTransposeParameters(variant, isa),
                create: { conv2d_transpose_backward_input_plan_create($0, kernel, $1) },
                execute: { conv2d_transpose_backward_input_plan_execute($0, output, input) },
                destroy: conv2d_transpose_backward_input_plan_destroy,
                plain: { conv2d_transpose_backward_input($0, output, kernel, input) })
        case (.conv2dTranspose, .kernel):
            try self.init(
                variant, arrays, layer.conv2dTransposeParameters(variant, isa),
                create: conv2d_transpose_backward_kernel_plan_create,
                execute: { conv2d_transpose_backward_kernel_plan_execute($0, input, output, kernel) },
                destroy: conv2d_transpose_backward_kernel_plan_destroy,
                plain: { conv2d_transpose_backward_kernel($0, input, output, kernel) })
        case (.upsample2d, _):
            try self.init(
                variant, arrays, layer.upsample2dParameters(variant, isa), create: upsample2d_plan_create,
                execute: { upsample2d_plan_execute($0, input, output) }, destroy: upsample2d_plan_destroy,
                plain: { upsample2d($0, input, output) })
        }
    }

    private typealias Bytes = UnsafeMutablePointer<Int64>

    private init<Parameters>(
        _ variant: Variant, _ arrays: Arrays, _ parameters: Parameters,
        workspace: ((UnsafePointer<Parameters>, Bytes?, Bytes?, Bytes?) -> Int32)? = nil,
        create: (UnsafePointer<Parameters>, UnsafeMutablePointer<OpaquePointer?>) -> Int32,
        execute: @escaping (OpaquePointer?) -> Int32, destroy: @escaping (OpaquePointer?) -> Void,
        plain: @escaping (UnsafePointer<Parameters>) -> Int32
    ) throws {
        self.variant = variant
        self.arrays = arrays
        var parameters = parameters
        var plan: OpaquePointer?
        if variant.call == .plan { try check(create(&parameters, &plan)) }
        var bytes: (plan: Int64, execution: Int64) = (0, 0)
        if let workspace { try check(workspace(&parameters, &bytes.plan, &bytes.execution, nil)) }
        memory = workspace == nil ? nil : (Int(bytes.plan), Int(bytes.execution))
        let made = plan
        body = variant.call == .plan ? { execute(made) } : { plain(&parameters) }
        self.destroy = { destroy(made) }
    }

    deinit { destroy() }

    func run() throws { try check(body()) }
}

// MARK: - The layer as the library's structs

extension Format {
    fileprivate var data: Int32 { Int32(self == .nhwc ? CONVOLUTION_NHWC : CONVOLUTION_NCHW) }
    fileprivate var kernel: Int32 { Int32(self == .nhwc ? CONVOLUTION_KERNEL_KERAS : CONVOLUTION_KERNEL_TORCH) }
}

extension Layer {
    fileprivate func conv2dParameters(_ variant: Variant, _ isa: UnsafePointer<CChar>) -> conv2d_params {
        var params = conv2d_params()
        params.struct_size = MemoryLayout<conv2d_params>.size
        params.batch = Int64(batch)
        (params.height, params.width) = (Int64(inputSize.height), Int64(inputSize.width))
        (params.in_channels, params.out_channels) = (Int64(inputChannels), Int64(outputChannels))
        (params.kernel_height, params.kernel_width) = (Int64(kernel), Int64(kernel))
        (params.stride_height, params.stride_width) = (Int64(stride), Int64(stride))
        (params.dilation_height, params.dilation_width) = (Int64(dilation), Int64(dilation))
        params.groups = Int64(groups)
        params.padding = Int32(CONVOLUTION_PADDING_EXPLICIT)
        (params.pad_top, params.pad_left) = (Int64(padding), Int64(padding))
        (params.pad_bottom, params.pad_right) = (Int64(trailingPadding), Int64(trailingPadding))
        params.data_format = variant.format.data
        params.kernel_format = variant.format.kernel
        params.threads = Int32(variant.threads)
        params.isa = isa
        return params
    }

    fileprivate func conv2dTransposeParameters(_ variant: Variant, _ isa: UnsafePointer<CChar>) -> conv2d_transpose_params {
        var params = conv2d_transpose_params()
        params.struct_size = MemoryLayout<conv2d_transpose_params>.size
        params.batch = Int64(batch)
        (params.height, params.width) = (Int64(inputSize.height), Int64(inputSize.width))
        (params.in_channels, params.out_channels) = (Int64(inputChannels), Int64(outputChannels))
        (params.kernel_height, params.kernel_width) = (Int64(kernel), Int64(kernel))
        (params.stride_height, params.stride_width) = (Int64(stride), Int64(stride))
        (params.dilation_height, params.dilation_width) = (Int64(dilation), Int64(dilation))
        params.groups = Int64(groups)
        params.rule = Int32(CONV2D_TRANSPOSE_RULE_WINDOW)
        params.padding = Int32(CONVOLUTION_PADDING_EXPLICIT)
        (params.pad_top, params.pad_left) = (Int64(padding), Int64(padding))
        (params.pad_bottom, params.pad_right) = (Int64(trailingPadding), Int64(trailingPadding))
        params.data_format = variant.format.data
        params.kernel_format = variant.format.kernel
        params.threads = Int32(variant.threads)
        params.isa = isa
        return params
    }

    fileprivate func upsample2dParameters(_ variant: Variant, _ isa: UnsafePointer<CChar>) -> upsample2d_params {
        var params = upsample2d_params()
        params.struct_size = MemoryLayout<upsample2d_params>.size
        params.batch = Int64(batch)
        (params.height, params.width) = (Int64(inputSize.height), Int64(inputSize.width))
        params.channels = Int64(inputChannels)
        (params.output_height, params.output_width) = (Int64(outputSize.height), Int64(outputSize.width))
        let interpolations = [
            "nearest": UPSAMPLE2D_NEAREST, "bilinear": UPSAMPLE2D_BILINEAR, "bicubic": UPSAMPLE2D_BICUBIC,
        ]
        params.interpolation = Int32(interpolations[interpolation ?? "nearest"]!)
        params.cubic_coefficient = interpolation == "bicubic" ? -0.75 : 0
        params.data_format = variant.format.data
        params.threads = Int32(variant.threads)
        params.isa = isa
        return params
    }
}
