import Convolution

// [[1, 2, 3], [4, 5, 6], [7, 8, 9]] by [[1, 2], [3, 4]]: 1*1 + 2*2 + 4*3 + 5*4 = 37 is the first.
let image = try Tensor<Float>([1, 2, 3, 4, 5, 6, 7, 8, 9], shape: [1, 3, 3, 1])
let kernel = try Tensor<Float>([1, 2, 3, 4], shape: [2, 2, 1, 1])
let correlated = try conv2d(image, kernel: kernel, bias: [0.5])
print("conv2d", correlated.shape, correlated.elements)

// Two strokes of [1, 2, 3] two apart, [1, 2, 3 + 2, 4, 6], of which Keras keeps the first four.
let row = try Tensor<Double>([1, 2], shape: [1, 1, 2, 1])
let stroke = try Tensor<Double>([1, 2, 3], shape: [1, 3, 1, 1])
let enlarged = try conv2dTranspose(row, kernel: stroke, options: .init(strides: (1, 2), padding: .same))
print("conv2dTranspose", enlarged.shape, enlarged.elements)

let repeated = try upsample2d(row, size: .factor(height: 2, width: 3))
print("upsample2d", repeated.shape, repeated.elements)

do throws(ConvolutionError) {
    _ = try conv2d(image, kernel: kernel, options: .init(strides: (1, -2)))
} catch {
    print(error.status == .stride, error.message)
}
