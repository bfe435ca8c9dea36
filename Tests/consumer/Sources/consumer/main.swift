// What a package that depends on this one writes: each verb once, its result printed and compared with the framework's.
import Convolution

#if canImport(Darwin)
import Darwin
#else
import Glibc
#endif

/// Prints a result; 1 if it is wrong.
func mistakes(_ name: String, _ output: Tensor<Float>, _ expected: Tensor<Float>) -> Int {
    print("\(output == expected ? "ok   " : "WRONG") \(name): \(output.shape) \(output.elements)")
    return output == expected ? 0 : 1
}

var wrong = 0

do {
    // PyTorch: torch.nn.functional.pad(image, (1, 0, 1, 0)), then conv2d.
    let image = try Tensor<Float>([1, 2, 3, 4, 5, 6], shape: [1, 2, 3, 1])
    let kernel = try Tensor<Float>([1, 10, 100, 1000], shape: [2, 2, 1, 1])
    wrong += mistakes(
        "conv2d",
        try conv2d(image, kernel: kernel, bias: [0.5], options: .init(padding: .explicit(top: 1, bottom: 0, left: 1, right: 0))),
        try Tensor([1000.5, 2100.5, 3200.5, 4010.5, 5421.5, 6532.5], shape: [1, 2, 3, 1]))

    // Keras: Conv2DTranspose(1, (1, 3), strides=(1, 2), padding="same").
    let row = try Tensor<Float>([1, 2], shape: [1, 1, 2, 1])
    let weights = try Tensor<Float>([1, 2, 3], shape: [1, 3, 1, 1])
    wrong += mistakes(
        "conv2dTranspose", try conv2dTranspose(row, kernel: weights, options: .init(strides: (1, 2), padding: .same)),
        try Tensor([1, 2, 5, 4], shape: [1, 1, 4, 1]))

    // Keras: UpSampling2D((1, 2), interpolation="bilinear").
    let line = try Tensor<Float>([1, 2, 4], shape: [1, 1, 3, 1])
    wrong += mistakes(
        "upsample2d", try upsample2d(line, size: .factor(height: 1, width: 2), options: .init(interpolation: .bilinear)),
        try Tensor([1, 1.25, 1.75, 2.5, 3.5, 4], shape: [1, 1, 6, 1]))

    let plan = try Conv2DPlan(inputShape: [1, 2, 3, 1], kernel: kernel)
    wrong += mistakes("Conv2DPlan", try plan(image), try Tensor([5421, 6532], shape: [1, 1, 2, 1]))

    let matrix = try conv2dMatrix(inputShape: [1, 1, 3, 1], kernel: Tensor<Float>([1, 10], shape: [1, 2, 1, 1]))
    wrong += mistakes("conv2dMatrix", matrix, try Tensor([1, 10, 0, 0, 1, 10], shape: [2, 3]))
} catch {
    wrong += 1
    print("WRONG: \(error)")
}

do throws(ConvolutionError) {
    _ = try conv2dOutputShape(inputShape: [1, 4, 4, 1], kernelShape: [3, 3, 1, 1], options: .init(strides: (1, -2)))
    wrong += 1
    print("WRONG: a negative stride was accepted")
} catch {
    let right = error == ConvolutionError(.stride, "stride_width is -2; it must be at least 1")
    if !right { wrong += 1 }
    print("\(right ? "ok   " : "WRONG") error: \(error)")
}

exit(wrong == 0 ? 0 : 1)
