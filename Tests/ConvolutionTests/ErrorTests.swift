import Convolution
import Testing

/// The same layer for all: 2 images of 5 x 6 with 4 channels.
private let inputShape = [2, 5, 6, 4]

private func refusal(
    input: [Int] = inputShape, kernel: [Int] = [3, 2, 4, 7], _ options: Conv2DOptions = Conv2DOptions()
) -> ConvolutionError? {
    do throws(ConvolutionError) {
        _ = try conv2dOutputShape(inputShape: input, kernelShape: kernel, options: options)
        return nil
    } catch {
        return error
    }
}

private func refusal(kernel: [Int] = [3, 2, 7, 4], transpose options: Conv2DTransposeOptions) -> ConvolutionError? {
    do throws(ConvolutionError) {
        _ = try conv2dTransposeOutputShape(inputShape: inputShape, kernelShape: kernel, options: options)
        return nil
    } catch {
        return error
    }
}

private func refusal(
    input: [Int] = inputShape, size: UpsampledSize, _ options: Upsample2DOptions = Upsample2DOptions()
) -> ConvolutionError? {
    do throws(ConvolutionError) {
        _ = try upsample2dOutputShape(inputShape: input, size: size, options: options)
        return nil
    } catch {
        return error
    }
}

@Suite struct TensorsThatDoNotFit {
    @Test func axes() {
        #expect(
            refusal(input: [5, 6, 4])
                == ConvolutionError(.shape, "input has shape [5, 6, 4]; it must have four axes: batch, height, width, channels"))
        #expect(
            refusal(input: [5, 6], Conv2DOptions(dataFormat: .channelsFirst))
                == ConvolutionError(.shape, "input has shape [5, 6]; it must have four axes: batch, channels, height, width"))
        #expect(
            refusal(kernel: [3, 3])
                == ConvolutionError(
                    .shape, "kernel has shape [3, 3]; it must have four axes: height, width, in channels / groups, out channels"))
        #expect(
            refusal(kernel: [3, 3], transpose: .init(kernelFormat: .torch))
                == ConvolutionError(
                    .shape, "kernel has shape [3, 3]; it must have four axes: in channels, out channels / groups, height, width"))
        #expect(
            refusal(input: [2, -5, 6, 4])
                == ConvolutionError(.shape, "input has shape [2, -5, 6, 4]; a length must be at least 0"))
        #expect(
            refusal(kernel: [3, 2, 4, -7])
                == ConvolutionError(.shape, "kernel has shape [3, 2, 4, -7]; a length must be at least 0"))
    }

    @Test func kernelOfOtherChannels() {
        #expect(
            refusal(kernel: [3, 2, 3, 7])
                == ConvolutionError(
                    .shape,
                    "kernel has shape [3, 2, 3, 7] (height, width, in channels / groups, out channels); with 4 input channels and groups 1 its axis 2 must have length 4"
                ))
        #expect(
            refusal(kernel: [6, 4, 3, 2], Conv2DOptions(groups: 2, kernelFormat: .torch))
                == ConvolutionError(
                    .shape,
                    "kernel has shape [6, 4, 3, 2] (out channels, in channels / groups, height, width); with 4 input channels and groups 2 its axis 1 must have length 2"
                ))
        #expect(
            refusal(kernel: [3, 2, 5, 2], Conv2DOptions(kernelFormat: .kerasDepthwise))
                == ConvolutionError(
                    .shape,
                    "kernel has shape [3, 2, 5, 2] (height, width, channels, multiplier); with 4 input channels its axis 2 must have length 4"
                ))
        #expect(
            refusal(kernel: [3, 2, 4, 7], transpose: .init())
                == ConvolutionError(
                    .shape,
                    "kernel has shape [3, 2, 4, 7] (height, width, out channels / groups, in channels); with 4 input channels its axis 3 must have length 4"
                ))
        #expect(
            refusal(kernel: [7, 4, 3, 2], transpose: .init(kernelFormat: .torch))?.message.hasSuffix(
                "its axis 0 must have length 4") == true)
    }

    @Test func biasOfOtherLength() throws {
        let input = try Tensor<Float>(repeating: 1, shape: inputShape)
        let kernel = try Tensor<Float>(repeating: 1, shape: [3, 2, 4, 7])
        let expected = ConvolutionError(.shape, "bias has 4 elements; it must have one per output channel, 7")
        #expect(throws: expected) { try conv2d(input, kernel: kernel, bias: [1, 2, 3, 4]) }
        #expect(throws: expected) { try Conv2DPlan(inputShape: inputShape, kernel: kernel, bias: [1, 2, 3, 4]) }
        let turned = try Tensor<Float>(repeating: 1, shape: [3, 2, 7, 4])
        #expect(throws: expected) { try conv2dTranspose(input, kernel: turned, bias: [1, 2, 3, 4]) }
        #expect(throws: expected) { try Conv2DTransposePlan(inputShape: inputShape, kernel: turned, bias: [1, 2, 3, 4]) }
        // Two groups of 7 output channels need 14 numbers.
        let grouped = try Tensor<Float>(repeating: 1, shape: [3, 2, 7, 4])
        #expect(throws: ConvolutionError(.shape, "bias has 7 elements; it must have one per output channel, 14")) {
            try conv2dTranspose(input, kernel: grouped, bias: [1, 2, 3, 4, 5, 6, 7], options: .init(groups: 2))
        }
    }
}

@Suite struct OptionsOutOfRange {
    @Test func stridesDilationGroups() {
        #expect(refusal(Conv2DOptions(strides: (0, 1))) == ConvolutionError(.stride, "stride_height is 0; it must be at least 1"))
        #expect(
            refusal(Conv2DOptions(strides: (1, -2))) == ConvolutionError(.stride, "stride_width is -2; it must be at least 1"))
        #expect(
            refusal(Conv2DOptions(dilation: (0, 1))) == ConvolutionError(.dilation, "dilation_height is 0; it must be at least 1")
        )
        #expect(
            refusal(transpose: .init(dilation: (1, 0)))
                == ConvolutionError(.dilation, "dilation_width is 0; it must be at least 1"))
        #expect(
            refusal(transpose: .init(strides: (-1, 1))) == ConvolutionError(.stride, "stride_height is -1; it must be at least 1")
        )
        #expect(refusal(Conv2DOptions(groups: 0)) == ConvolutionError(.groups, "groups is 0; it must be at least 1"))
        #expect(refusal(Conv2DOptions(groups: 3)) == ConvolutionError(.groups, "groups is 3; it must divide in_channels, 4"))
        #expect(
            refusal(kernel: [3, 2, 2, 7], Conv2DOptions(groups: 2))
                == ConvolutionError(.groups, "groups is 2; it must divide out_channels, 7"))
        #expect(refusal(transpose: .init(groups: -1)) == ConvolutionError(.groups, "groups is -1; it must be at least 1"))
        #expect(
            refusal(kernel: [3, 2, 4, 1], Conv2DOptions(groups: 4, kernelFormat: .kerasDepthwise))
                == ConvolutionError(.groups, "groups is 4; with a depthwise kernel it must be 1"))
    }

    @Test func paddings() {
        let reflected = Conv2DOptions(padding: .explicit(top: 0, bottom: 5, left: 0, right: 0), paddingMode: .reflect)
        #expect(
            refusal(reflected) == ConvolutionError(.padding, "pad_bottom is 5; this padding_mode permits at most 4 with height 5")
        )
        #expect(
            refusal(transpose: .init(padding: .explicit(top: 1, bottom: 2, left: 0, right: 0), rule: .torch))
                == ConvolutionError(
                    .padding,
                    "pad_top is 1 and pad_bottom is 2; PyTorch's padding is the same on both sides (rule WINDOW is free)"))
        // Every padding that a rule does not know.
        let some = Padding.explicit(top: 1, bottom: 1, left: 1, right: 1)
        let permitted: [(TransposeRule, Set<Padding>)] = [
            (.keras, [.valid, .same]), (.torch, [.valid, some]), (.onnx, [.valid, .same, .sameLower, some]),
            (.jax, [.valid, .same]),
            (.window, [.valid, some]),
        ]
        for (rule, paddings) in permitted {
            for padding in [Padding.valid, .same, .sameLower, .full, .causal, some] {
                let status = refusal(transpose: .init(padding: padding, rule: rule))?.status
                #expect(status == (paddings.contains(padding) ? nil : .padding), "\(rule) \(padding)")
            }
        }
    }

    @Test func outputs() {
        #expect(
            refusal(kernel: [6, 2, 4, 7])
                == ConvolutionError(
                    .emptyOutput,
                    """
                    height 5 and kernel_height 6 (dilation_height 1, pad_top 0, pad_bottom 0) give an output of 0; \
                    allow_empty_output is 0, so it must be at least 1
                    """))
        // An overhang of more than a stride is no output either.
        #expect(refusal(kernel: [9, 2, 4, 7], Conv2DOptions(strides: (3, 1)))?.status == .emptyOutput)
        #expect(
            refusal(transpose: .init(strides: (2, 2), outputPadding: (0, 2)))
                == ConvolutionError(
                    .outputPadding, "output_padding_width is 2; it must be from 0 to 1 (Keras: less than the stride)"))
        #expect(refusal(transpose: .init(strides: (2, 2), outputPadding: (-1, 0)))?.status == .outputPadding)
        #expect(refusal(transpose: .init(rule: .jax, outputPadding: (0, 0)))?.status == .outputPadding)
        #expect(
            refusal(transpose: .init(strides: (2, 3), padding: .same, outputSize: (11, 18)))
                == ConvolutionError(.outputSize, "output_height is 11; with height 5 this rule permits 9 to 10"))
        #expect(
            refusal(transpose: .init(outputSize: (0, 4)))
                == ConvolutionError(.outputSize, "output_height is 0; it must be at least 1"))
        #expect(refusal(kernel: [0, 2, 4, 7]) == ConvolutionError(.kernelSize, "kernel_height is 0; it must be at least 1"))
    }

    @Test func activations() {
        #expect(
            refusal(Conv2DOptions(activation: .clamp(min: 2, max: 1.5)))
                == ConvolutionError(.activation, "activation_min is 2 and activation_max is 1.5; min must not exceed max"))
        #expect(
            refusal(Conv2DOptions(activation: .leakyRelu(alpha: .infinity)))
                == ConvolutionError(.activation, "activation_alpha is inf; it must be finite"))
        // In C, 0 would stand for 0.01.
        #expect(refusal(Conv2DOptions(activation: .leakyRelu(alpha: 0)))?.status == .activation)
    }

    @Test func sizesOfUpsampling() {
        #expect(
            refusal(size: .factor(height: 2, width: 0)) == ConvolutionError(.factor, "factor_width is 0; it must be at least 1"))
        #expect(
            refusal(size: .output(height: 0, width: 3))
                == ConvolutionError(.outputSize, "output_height is 0; it must be at least 1"))
        #expect(
            refusal(size: .scale(height: 0, width: 1))
                == ConvolutionError(.factor, "scale_height is 0; it must be finite and greater than 0"))
        #expect(
            refusal(size: .scale(height: 1, width: -0.5))
                == ConvolutionError(.factor, "scale_width is -0.5; it must be finite and greater than 0"))
        #expect(
            refusal(size: .scale(height: 0.1, width: 1))
                == ConvolutionError(.factor, "scale_height is 0.1; with height 5 it leaves no output"))
        #expect(
            refusal(input: [1, 0, 3, 1], size: .factor(height: 2, width: 2))
                == ConvolutionError(.imageSize, "height is 0; it must be at least 1"))
    }

    @Test func waysOfUpsampling() {
        func status(_ options: Upsample2DOptions) -> ConvolutionError.Status? {
            refusal(size: .factor(height: 2, width: 2), options)?.status
        }
        #expect(status(.init(interpolation: .lanczos3, preset: .torch)) == .interpolation)
        #expect(status(.init(antialias: true)) == .interpolation)
        #expect(status(.init(interpolation: .bilinear, cubicCoefficient: -0.5)) == .interpolation)
        // In C, 0 would stand for the preset's.
        #expect(status(.init(interpolation: .bicubic, cubicCoefficient: 0)) == .interpolation)
        #expect(status(.init(interpolation: .bilinear, rounding: .floor)) == .coordinates)
        #expect(status(.init(edge: .clamp)) == .coordinates)
        #expect(status(.init(interpolation: .area, coordinates: .halfPixel)) == .coordinates)
        let all = UpsampleRegion(top: 0, left: 0, bottom: 1, right: 1)
        #expect(status(.init(coordinates: .halfPixel, region: all)) == .coordinates)
        #expect(status(.init(interpolation: .area, region: all)) == .coordinates)
        #expect(status(.init(region: .init(top: 0, left: .nan, bottom: 1, right: 1))) == .coordinates)
    }

    @Test func tiersAndThreads() {
        #expect(refusal(Conv2DOptions(isa: "mmx"))?.status == .isa)
        #expect(refusal(Conv2DOptions(isa: "mmx"))?.message.hasPrefix("isa is \"mmx\"; it must be ") == true)
        #expect(refusal(transpose: .init(isa: ""))?.status == .isa)
        #expect(refusal(size: .factor(height: 1, width: 1), .init(isa: "AVX2"))?.status == .isa)
        let threads = "it must be from 0 (one per core) to 1024"
        #expect(refusal(Conv2DOptions(threads: -1)) == ConvolutionError(.threads, "threads is -1; \(threads)"))
        #expect(refusal(transpose: .init(threads: 1025)) == ConvolutionError(.threads, "threads is 1025; \(threads)"))
        // Beyond 32 bits, of which the low ones are 1.
        #expect(
            refusal(size: .factor(height: 1, width: 1), .init(threads: 1 << 32 + 1))
                == ConvolutionError(.threads, "threads is 2147483647; \(threads)"))
    }

    @Test func hugeNumbersEndInAnError() {
        for number in [Int.max, 1 << 48] {
            #expect(refusal(input: [number, number, number, 4]) != nil)
            #expect(refusal(kernel: [number, 1, 4, 7]) != nil)
            #expect(refusal(kernel: [1, 1, 4, number], Conv2DOptions(kernelFormat: .kerasDepthwise)) != nil)
            #expect(refusal(kernel: [1, 1, number, 4], transpose: .init(groups: 4)) != nil)
            #expect(refusal(Conv2DOptions(groups: number)) != nil)
            #expect(refusal(Conv2DOptions(dilation: (number, 1))) != nil)
            #expect(refusal(transpose: .init(strides: (number, number))) != nil)
            #expect(refusal(size: .factor(height: number, width: number)) != nil)
        }
        #expect(refusal(Conv2DOptions(padding: .explicit(top: .max, bottom: .max, left: .min, right: .min)))?.status == .overflow)
        #expect(refusal(transpose: .init(outputPadding: (.min, .max))) != nil)
        #expect(refusal(transpose: .init(strides: (1 << 50, 1)))?.status == .overflow)
    }

    /// The shape is legal, the memory is not there: an error, where an array of that size would end the process.
    @Test func outputBeyondTheMachine() throws {
        let pixel = try Tensor<Float>([1], shape: [1, 1, 1, 1])
        let error = #expect(throws: ConvolutionError.self) {
            try conv2dTranspose(pixel, kernel: pixel, options: .init(strides: (1 << 22, 1 << 22)))
        }
        #expect(error?.status == .outOfMemory)
    }
}

@Suite struct ConvolutionErrorTests {
    @Test func describesItself() {
        #expect(
            refusal(Conv2DOptions(strides: (0, 1))).map { "\($0)" }
                == "CONVOLUTION_ERROR_STRIDE: stride_height is 0; it must be at least 1")
        #expect("\(ConvolutionError.Status.shape)" == "CONVOLUTION_ERROR_SHAPE")
        #expect("\(ConvolutionError.Status(rawValue: 12345))" == "CONVOLUTION_ERROR_UNKNOWN")
    }

    @Test func statusesAreTheHeaders() {
        let statuses: [(ConvolutionError.Status, String)] = [
            (.isa, "ISA"), (.threads, "THREADS"), (.imageSize, "IMAGE_SIZE"), (.kernelSize, "KERNEL_SIZE"), (.stride, "STRIDE"),
            (.dilation, "DILATION"), (.groups, "GROUPS"), (.padding, "PADDING"), (.outputPadding, "OUTPUT_PADDING"),
            (.outputSize, "OUTPUT_SIZE"), (.emptyOutput, "EMPTY_OUTPUT"), (.factor, "FACTOR"), (.activation, "ACTIVATION"),
            (.overflow, "OVERFLOW"), (.outOfMemory, "OUT_OF_MEMORY"), (.unsupported, "UNSUPPORTED"), (.workspace, "WORKSPACE"),
            (.lambda, "LAMBDA"), (.tolerance, "TOLERANCE"), (.iterations, "ITERATIONS"), (.mask, "MASK"),
            (.dataFormat, "DATA_FORMAT"), (.interpolation, "INTERPOLATION"), (.coordinates, "COORDINATES"),
        ]
        for (status, name) in statuses { #expect("\(status)" == "CONVOLUTION_ERROR_" + name) }
    }
}

@Suite struct InstructionSetTiersTests {
    @Test func names() throws {
        #expect(InstructionSetTiers.all.first == "baseline")
        #expect(InstructionSetTiers.supported.first == "baseline")
        #expect(Set(InstructionSetTiers.supported).isSubset(of: InstructionSetTiers.all))
        #expect(try InstructionSetTiers.supported.contains(#require(InstructionSetTiers.standard)))
    }

    @Test func unsupportedTiersAreRefused() {
        for isa in InstructionSetTiers.all where !InstructionSetTiers.supported.contains(isa) {
            #expect(
                refusal(Conv2DOptions(isa: isa))
                    == ConvolutionError(.isa, "isa is \"\(isa)\"; this processor does not support it"))
        }
    }
}
