import Convolution
import Testing

private func line<Scalar: TensorScalar>(
    _ input: [Scalar], _ size: UpsampledSize, _ options: Upsample2DOptions = .init()
) throws -> [Scalar] {
    try upsample2d(image([input]), size: size, options: options).elements
}

private func width(_ output: Int) -> UpsampledSize { .output(height: 1, width: output) }

@Suite struct Upsample2DTests {
    /// What PyTorch (nearest, nearest-exact), TensorFlow and JAX return.
    @Test func nearest() throws {
        #expect(try line([1, 2, 4] as [Float], width(5), .init(interpolation: .nearest)) == [1, 1, 2, 2, 4])
        #expect(try line([1, 2, 4] as [Float], width(5), .init(coordinates: .asymmetric)) == [1, 1, 2, 2, 4])
        #expect(try line([1, 2, 4] as [Float], width(5), .init(coordinates: .halfPixel)) == [1, 1, 2, 4, 4])
        #expect(try line([1, 2, 4] as [Float], width(2)) == [1, 2])
        #expect(try line([1, 2, 4] as [Float], width(2), .init(coordinates: .halfPixel)) == [1, 4])
        // Places 0, 0.5, 1, 1.5, 2, rounded half up.
        #expect(try line([1, 2, 4] as [Float], width(5), .init(coordinates: .alignCorners)) == [1, 2, 2, 4, 4])
    }

    @Test func bilinear() throws {
        func check<Scalar: TensorScalar>(_ output: [Scalar], _ expected: [Double]) {
            #expect(
                output.count == expected.count && zip(output, expected).allSatisfy { abs(Double($0) - $1) < 1e-6 }, "\(output)")
        }
        let halfPixel: [Double] = [1, 1.25, 1.75, 2.5, 3.5, 4]
        try check(line([1, 2, 4] as [Float], .factor(height: 1, width: 2), .init(interpolation: .bilinear)), halfPixel)
        try check(line([1, 2, 4] as [Double], width(6), .init(interpolation: .bilinear, coordinates: .halfPixel)), halfPixel)
        try check(
            line([1, 2, 4] as [Double], width(6), .init(interpolation: .bilinear, coordinates: .alignCorners)),
            [1, 1.4, 1.8, 2.4, 3.2, 4])
        try check(
            line([1, 2, 4] as [Float], width(6), .init(interpolation: .bilinear, coordinates: .asymmetric)), [1, 1.5, 2, 3, 4, 4])
        try check(
            line([1, 2, 4] as [Float], .scale(height: 1, width: 1.7), .init(interpolation: .bilinear)),
            [1, 1.3823529, 1.9705882, 3.1176471, 4])
        try check(line([1, 2, 4] as [Float], width(5), .init(interpolation: .bilinear)), [1, 1.4, 2, 3.2, 4])
        try check(line([1, 2, 4] as [Float], width(1), .init(interpolation: .bilinear)), [2])
        try check(line([1, 2, 4] as [Float], width(1), .init(interpolation: .bilinear, coordinates: .alignCorners)), [1])
    }

    /// The numbers are those of Keras on TensorFlow, PyTorch and ONNX Runtime.
    @Test func presetsAndTheirParts() throws {
        func check(_ options: Upsample2DOptions, _ expected: [Double]) throws {
            let output = try line([1, 2, 4] as [Double], .factor(height: 1, width: 2), options)
            #expect(zip(output, expected).allSatisfy { abs($0 - $1) < 1e-6 }, "\(output)")
        }
        let keras = [0.9117648, 1.1459854, 1.6412214, 2.5114503, 3.642336, 4.1764708]
        try check(.init(interpolation: .bicubic, preset: .keras), keras)
        try check(.init(interpolation: .bicubic, preset: .kerasJAX), keras)
        try check(.init(interpolation: .bicubic, edge: .renormalise, cubicCoefficient: -0.5), keras)
        try check(.init(interpolation: .bicubic, preset: .torch), [0.8945312, 1.15625, 1.5625, 2.5585938, 3.5820312, 4.2109375])
        #expect(try line([1, 2, 3, 4] as [Float], width(2), .init(preset: .onnx)) == [1, 3])
        #expect(try line([1, 2, 3, 4] as [Float], width(2), .init(preset: .onnx, rounding: .preferCeil)) == [2, 4])
        #expect(try line([1, 2, 4] as [Float], width(1), .init(interpolation: .bilinear, coordinates: .pytorchHalfPixel)) == [1])
        #expect(try line([1, 2, 4] as [Double], width(2), .init(interpolation: .bilinear, antialias: true)) == [1.375, 3.25])
    }

    /// Both axes by different factors, several channels and images, on every tier, in both formats and types.
    @Test(arguments: InstructionSetTiers.supported)
    func factorsPerAxis(_ isa: String) throws {
        let input = try wholeNumbers([2, 3, 4, 19], seed: 21)
        var expected = try Tensor(repeating: 0.0, shape: [2, 6, 12, 19])
        var blended = expected
        // Where the output elements of factor 2 lie: 0.25 to either side.
        func neighbours(_ t: Int, _ length: Int, _ factor: Int) -> (Int, Int, Double) {
            let place = min(max((Double(t) + 0.5) / Double(factor) - 0.5, 0), Double(length - 1))
            let first = Int(place)
            return (first, min(first + 1, length - 1), place - Double(first))
        }
        for n in 0..<2 {
            for y in 0..<6 {
                for x in 0..<12 {
                    for c in 0..<19 {
                        expected[n, y, x, c] = input[n, y / 2, x / 3, c]
                        let (top, bottom, down) = neighbours(y, 3, 2)
                        let (left, right, along) = neighbours(x, 4, 3)
                        let upper = (1 - along) * input[n, top, left, c] + along * input[n, top, right, c]
                        let lower = (1 - along) * input[n, bottom, left, c] + along * input[n, bottom, right, c]
                        blended[n, y, x, c] = (1 - down) * upper + down * lower
                    }
                }
            }
        }
        let size = UpsampledSize.factor(height: 2, width: 3)
        for interpolation in [Interpolation.nearest, .bilinear] {
            let (reference, tolerance) = interpolation == .nearest ? (expected, 0) : (blended, 1e-5)
            for dataFormat in DataFormat.allCases {
                let options = Upsample2DOptions(interpolation: interpolation, dataFormat: dataFormat, isa: isa)
                let first = dataFormat == .channelsFirst
                let ordered = try first ? input.permuted(toChannelsFirst) : input
                let target = try first ? reference.permuted(toChannelsFirst) : reference
                #expect(distance(try upsample2d(ordered, size: size, options: options), target) <= tolerance)
                let inFloat = try upsample2d(ordered.converted(to: Float.self), size: size, options: options)
                #expect(distance(inFloat, target) <= tolerance)
                #expect(try upsample2dOutputShape(inputShape: ordered.shape, size: size, options: options) == target.shape)
            }
        }
    }

    @Test func scaleRoundsDown() throws {
        #expect(
            try upsample2dOutputShape(inputShape: [1, 5, 7, 2], size: .scale(height: 0.5, width: 1.7)) == [1, 2, 11, 2])
    }

    @Test func emptyBatch() throws {
        let none = try Tensor<Float>([], shape: [0, 2, 3, 1])
        #expect(try upsample2d(none, size: .factor(height: 2, width: 3)) == Tensor([], shape: [0, 4, 9, 1]))
    }

    @Test func residual() throws {
        let input = try wholeNumbers([1, 3, 4, 5], seed: 45)
        let size = UpsampledSize.factor(height: 2, width: 2)
        let plain = try upsample2d(input, size: size)
        #expect(try upsample2d(input, size: size, residual: plain).elements == plain.elements.map { 2 * $0 })
        let error = #expect(throws: ConvolutionError.self) { try upsample2d(input, size: size, residual: input) }
        #expect(error?.status == .shape)
    }

    /// ONNX's own test: 2 by 2.94 is 5.88 elements, of which 5 are made.
    @Test func halfPixelSymmetric() throws {
        let wide = UpsampledSize.scale(height: 1, width: 2.94)
        let output = try line([1, 2] as [Double], wide, .init(interpolation: .bilinear, coordinates: .halfPixelSymmetric))
        #expect(zip(output, [1, 1.15986395, 1.5, 1.84013605, 2]).allSatisfy { abs($0 - $1) < 1e-6 }, "\(output)")
    }

    /// Places 0, 2, 4; and 0.3, 0.9, 1.5, 2.1, 2.7.
    @Test func outputAndScale() throws {
        let short = UpsampledSize.outputAndScale(height: 1, width: 3, scaleHeight: 1, scaleWidth: 0.5)
        #expect(try line([1, 2, 3, 5] as [Float], short, .init(coordinates: .asymmetric)) == [1, 3, 5])
        #expect(try line([1, 2, 4] as [Float], width(5), .init(coordinates: .tfHalfPixelForNN)) == [1, 1, 2, 4, 4])
        let simple = Upsample2DOptions(coordinates: .asymmetric, rounding: .simple)
        #expect(try line([1, 2, 3, 4, 5] as [Float], width(2), simple) == [1, 4])
        #expect(try line([1, 2, 3] as [Float], width(5), simple) == [1, 1, 2, 2, 3])
    }

    /// ONNX's formula: start * 2 + t * (end - start) * 2 / 4.
    @Test func region() throws {
        func options(_ left: Double, _ right: Double, _ interpolation: Interpolation = .bilinear) -> Upsample2DOptions {
            let region = UpsampleRegion(top: 0, left: left, bottom: 1, right: right, extrapolation: 9)
            return Upsample2DOptions(interpolation: interpolation, region: region)
        }
        #expect(try line([1, 2, 4] as [Float], width(5), options(0, 1)) == [1, 1.5, 2, 3, 4])
        #expect(try line([1, 2, 4] as [Float], width(5), options(1, 0)) == [4, 3, 2, 1.5, 1])
        #expect(try line([1, 2, 4] as [Double], width(5), options(0.5, 1.5)) == [2, 3, 4, 9, 9])
        #expect(try line([1, 2, 4] as [Double], width(1), options(0.5, 1)) == [3])
        #expect(try line([1, 2, 4] as [Float], width(5), options(-0.5, 0.5, .nearest)) == [9, 9, 1, 2, 2])
        let back = try upsample2dBackward(
            Tensor<Double>([1, 1, 1, 1, 1], shape: [1, 1, 5, 1]), inputShape: [1, 1, 3, 1], size: width(5),
            options: options(0.5, 1.5))
        #expect(back.elements == [0, 1.5, 1.5])
        let error = #expect(throws: ConvolutionError.self) {
            try upsample2dMatrix(of: Double.self, inputShape: [1, 1, 3, 1], size: width(5), options: options(0.5, 1.5))
        }
        #expect(error?.status == .unsupported)
    }
}
