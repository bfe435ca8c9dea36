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
    let input, kernel, output: UnsafeMutableBufferPointer<Float>

    /// `input` is channels first, `kernel` has its height and width last; for NHWC both are brought to Keras' order.
    init(layer: Layer, format: Format, input channelsFirst: [Float], kernel torch: [Float]) {
        func allocate(_ count: Int) -> UnsafeMutableBufferPointer<Float> {
            UnsafeMutableRawBufferPointer.allocate(byteCount: max(count, 1) * 4, alignment: 64).bindMemory(to: Float.self)
        }
        input = allocate(layer.inputCount)
        kernel = allocate(layer.kernelCount)
        output = allocate(layer.outputCount)
        output.update(repeating: .nan)
        guard format == .nhwc else {
            _ = input.update(fromContentsOf: channelsFirst)
            _ = kernel.update(fromContentsOf: torch)
            return
        }
        let (channels, pixels) = (layer.inputChannels, layer.inputSize.height * layer.inputSize.width)
        for image in 0..<layer.batch {
            for pixel in 0..<pixels {
                for channel in 0..<channels {
                    let element = channelsFirst[(image * channels + channel) * pixels + pixel]
                    input[(image * pixels + pixel) * channels + channel] = element
                }
            }
        }
        // [outer][inner][taps] becomes [taps][inner][outer]: OIHW to HWIO, and IOHW to HWOI.
        let (outer, inner) = layer.kernelChannels
        for (index, weight) in torch.enumerated() {
            let tap = index % (layer.kernel * layer.kernel), channels = index / (layer.kernel * layer.kernel)
            kernel[(tap * inner + channels % inner) * outer + channels / inner] = weight
        }
    }

    deinit {
        for array in [input, kernel, output] { UnsafeMutableRawPointer(array.baseAddress!).deallocate() }
    }
}

/// A layer made ready to be run: all that a program does once is done.
final class Callable {
    let variant: Variant
    let arrays: Arrays
    private let body: () -> Int32
    private let destroy: () -> Void

    init(_ layer: Layer, _ variant: Variant, _ arrays: Arrays, isa: UnsafePointer<CChar>) throws {
        self.variant = variant
        self.arrays = arrays
        let input = arrays.input.baseAddress!, kernel = arrays.kernel.baseAddress!, output = arrays.output.baseAddress!
        let isPlan = variant.call == .plan
        var created: OpaquePointer?
        switch layer.operation {
        case .conv2d:
            var params = layer.conv2dParameters(variant, isa)
            if isPlan { try check(conv2d_plan_create(&params, kernel, nil, &created)) }
            let plan = created
            body = isPlan
                ? { conv2d_plan_execute(plan, input, output) }
                : { conv2d(&params, input, kernel, nil, output) }
            destroy = { conv2d_plan_destroy(plan) }
        case .conv2dTranspose:
            var params = layer.conv2dTransposeParameters(variant, isa)
            if isPlan { try check(conv2d_transpose_plan_create(&params, kernel, nil, &created)) }
            let plan = created
            body = isPlan
                ? { conv2d_transpose_plan_execute(plan, input, output) }
                : { conv2d_transpose(&params, input, kernel, nil, output) }
            destroy = { conv2d_transpose_plan_destroy(plan) }
        case .upsample2d:
            var params = layer.upsample2dParameters(variant, isa)
            if isPlan { try check(upsample2d_plan_create(&params, &created)) }
            let plan = created
            body = isPlan
                ? { upsample2d_plan_execute(plan, input, output) }
                : { upsample2d(&params, input, output) }
            destroy = { upsample2d_plan_destroy(plan) }
        }
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
