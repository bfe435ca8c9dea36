import Testing

@testable import Convolution

/// All small axes.
private func forEachSmallAxis(_ visit: (_ input: Int, _ kernel: Int, _ stride: Int, _ dilation: Int) throws -> Void) rethrows {
    for input in 1...5 {
        for kernel in 1...5 {
            for stride in 1...4 {
                for dilation in 1...3 { try visit(input, kernel, stride, dilation) }
            }
        }
    }
}

@Suite struct ConvolutionWindowTests {
    /// Windows are placed one stride apart until one no longer fits.
    private func countWindows(_ room: Int, _ extent: Int, _ stride: Int) -> Int {
        var count = 0
        while count * stride + extent <= room { count += 1 }
        return count
    }

    @Test func countsTheWindowsThatFit() throws {
        try forEachSmallAxis { input, kernel, stride, dilation in
            let extent = (kernel - 1) * dilation + 1
            func window(_ padding: AxisPadding) throws -> (before: Int, after: Int, output: Int) {
                try convolutionWindow(
                    input: input, kernel: kernel, stride: stride, dilation: dilation, padding: padding, .vertical)
            }
            let cases: [(AxisPadding, Int, Int)] = [
                (.valid, 0, 0), (.full, extent - 1, extent - 1), (.causal, extent - 1, 0), (.explicit(before: 2, after: 1), 2, 1),
                (.explicit(before: -1, after: 3), -1, 3),
            ]
            for (padding, before, after) in cases {
                let result = try window(padding)
                #expect(result.before == before && result.after == after)
                #expect(max(result.output, 0) == countWindows(input + before + after, extent, stride), "\(padding)")
            }

            // SAME: the least padding with which ceil(input / stride) windows fit, the odd one at the end.
            var total = 0
            while countWindows(input + total, extent, stride) < (input + stride - 1) / stride { total += 1 }
            let same = try window(.same)
            #expect(same.output == (input + stride - 1) / stride && same.before == total / 2 && same.before + same.after == total)
            let lower = try window(.sameLower)
            #expect(lower.output == same.output && lower.before == same.after && lower.after == same.before)
        }
    }

    @Test func overflowNamesTheParameter() {
        func message(_ body: () throws(Failure) -> Void) -> String? {
            do throws(Failure) {
                try body()
                return nil
            } catch {
                return errorText().map { String(cString: $0) }
            }
        }
        let window = message { () throws(Failure) in
            _ = try convolutionWindow(input: 3, kernel: 1 << 40, stride: 1, dilation: 1 << 40, padding: .valid, .horizontal)
        }
        #expect(window == "kernel_width: 1099511627775 times 1099511627776 is more than memory can hold (2^48)")
        let sum = message { () throws(Failure) in _ = try plus(.max, 1, "a sum") }
        #expect(sum == "a sum: 9223372036854775807 plus 1 is more than memory can hold (2^48)")
        let difference = message { () throws(Failure) in _ = try minus(.min, 1, "a difference") }
        #expect(difference == "a difference: -9223372036854775808 minus 1 is more than memory can hold (2^48)")
        #expect(message { () throws(Failure) in _ = try times(1 << 24, 1 << 24, "a product") } == nil)
        #expect(message { () throws(Failure) in _ = try times(1 << 24, 1 << 24 + 1, "a product") } != nil)
    }

    @Test func divisions() {
        for a in -9...9 {
            for b in 1...4 {
                let floor = floorDivide(a, b)
                #expect(floor * b <= a && a < (floor + 1) * b, "\(a) / \(b)")
                let ceiling = ceilDivide(a, b)
                #expect((ceiling - 1) * b < a && a <= ceiling * b, "\(a) / \(b)")
            }
        }
        #expect(greatestCommonDivisor(12, 18) == 6 && greatestCommonDivisor(1, 7) == 1 && greatestCommonDivisor(4, 2) == 2)
    }

    @Test(arguments: [BorderMode.reflect, .symmetric, .replicate, .circular, .constant])
    func borderIndices(_ mode: BorderMode) {
        let named: PaddingMode =
            switch mode {
            case .reflect: .reflect
            case .symmetric: .symmetric
            case .replicate: .replicate
            case .circular: .circular
            case .constant: .zeros
            }
        for length in 2...5 {
            let reach = mode == .reflect ? length - 1 : length
            for index in -reach..<(length + reach) {
                #expect(borderIndex(index, length, mode) == borderReference(index, length, named), "\(index) of \(length)")
            }
        }
    }
}

/// An input element and the kernel element that takes it to an output element.
private struct Contribution: Hashable {
    var input: Int
    var kernel: Int
}

@Suite struct TransposeWindowTests {
    /// The transposed convolution is the adjoint of the framework's convolution of an image of the output's size: there, output
    /// j reads element t by kernel element a where t = j * stride + a * dilation - (padding before). Here that table is
    /// scattered directly.
    private func scattered(
        _ count: Int, kernel: Int, stride: Int, dilation: Int, size: Int, before: Int
    ) -> [Set<Contribution>] {
        var result = [Set<Contribution>](repeating: [], count: size)
        for j in 0..<count {
            for a in 0..<kernel {
                let t = j * stride + a * dilation - before
                if (0..<size).contains(t) { result[t].insert(Contribution(input: j, kernel: a)) }
            }
        }
        return result
    }

    @Test func isTheAdjointOfTheForwardConvolution() throws {
        try forEachSmallAxis { input, kernel, stride, dilation in
            let extent = (kernel - 1) * dilation + 1
            let natural = (input - 1) * stride + extent

            /// `size` is what the framework says; `padding` its forward padding.
            func check(_ rule: WindowRule, outputPadding: Int? = nil, wanted: Int? = nil, size: Int, padding: AxisPadding) throws
            {
                let window = try transposeWindow(
                    input: input, kernel: kernel, stride: stride, dilation: dilation, rule: rule, outputPadding: outputPadding,
                    wanted: wanted, .vertical)
                let label =
                    "\(rule) input \(input) kernel \(kernel) stride \(stride) dilation \(dilation) op \(outputPadding ?? -1)"
                #expect(window.output == size, "\(label)")
                let forward = try convolutionWindow(
                    input: size, kernel: kernel, stride: stride, dilation: dilation, padding: padding, .vertical)
                #expect(forward.output == input, "\(label)")
                // The natural result, cut at `crop`.
                let cut = scattered(input, kernel: kernel, stride: stride, dilation: dilation, size: size, before: window.crop)
                #expect(
                    cut
                        == scattered(
                            input, kernel: kernel, stride: stride, dilation: dilation, size: size, before: forward.before),
                    "\(label)")
            }

            try check(.keras(same: true), size: input * stride, padding: .same)
            try check(.jax(same: true), size: input * stride, padding: .same)
            try check(.onnxSame(lower: false), size: input * stride, padding: .same)
            try check(.onnxSame(lower: true), size: input * stride, padding: .sameLower)
            try check(.keras(same: false), size: (input - 1) * stride + max(extent, stride), padding: .valid)
            try check(.jax(same: false), size: (input - 1) * stride + max(extent, stride), padding: .valid)
            for extra in 0..<stride {
                try check(.keras(same: false), outputPadding: extra, size: natural + extra, padding: .valid)
                try check(.keras(same: false), wanted: natural + extra, size: natural + extra, padding: .valid)
                // An even extent without output padding TensorFlow refuses: the forward convolution would give one less.
                if extent % 2 + extra > 0, extent % 2 + extra <= stride {
                    try check(
                        .keras(same: true), outputPadding: extra, size: (input - 1) * stride + extent % 2 + extra, padding: .same)
                }
                try check(
                    .keras(same: true), wanted: (input - 1) * stride + 1 + extra, size: (input - 1) * stride + 1 + extra,
                    padding: .same)
                for pad in 0...2 where natural - 2 * pad >= 1 {
                    let size = natural - 2 * pad + extra
                    try check(
                        .torch(before: pad, after: pad), outputPadding: extra, size: size,
                        padding: .explicit(before: pad, after: pad))
                    try check(
                        .torch(before: pad, after: pad), wanted: size, size: size, padding: .explicit(before: pad, after: pad))
                }
                if natural >= 4 {
                    try check(
                        .onnx(before: 2, after: 1), outputPadding: extra, size: natural - 3 + extra,
                        padding: .explicit(before: 2, after: 1))
                    try check(
                        .window(before: 1, after: 2), outputPadding: extra, size: natural - 3 + extra,
                        padding: .explicit(before: 1, after: 2))
                }
            }
        }
    }

    @Test func onnxSplitsTheTotalPadding() throws {
        // The formula of ONNX's ConvTranspose with output_shape and no auto_pad: the larger half at the start.
        try forEachSmallAxis { input, kernel, stride, dilation in
            let natural = (input - 1) * stride + (kernel - 1) * dilation + 1
            for wanted in 1...(natural + 2) {
                let window = try transposeWindow(
                    input: input, kernel: kernel, stride: stride, dilation: dilation, rule: .onnx(before: 1, after: 1),
                    outputPadding: nil,
                    wanted: wanted, .vertical)
                let total = max(natural - wanted, 0)
                #expect(window.output == wanted && window.crop == total - total / 2)
            }
        }
    }

    @Test func limits() {
        func permitted(_ rule: WindowRule, outputPadding: Int? = nil, wanted: Int? = nil, stride: Int, dilation: Int) -> Bool {
            (try? transposeWindow(
                input: 3, kernel: 3, stride: stride, dilation: dilation, rule: rule, outputPadding: outputPadding, wanted: wanted,
                .vertical))
                != nil
        }
        // Keras: below the stride. PyTorch and ONNX: below the larger of stride and dilation. JAX: none.
        for (stride, dilation) in [(2, 3), (3, 1), (1, 1)] {
            for extra in -1...4 {
                #expect(
                    permitted(.keras(same: true), outputPadding: extra, stride: stride, dilation: dilation)
                        == (0..<stride).contains(extra))
                let larger = 0..<max(stride, dilation)
                #expect(
                    permitted(.torch(before: 0, after: 0), outputPadding: extra, stride: stride, dilation: dilation)
                        == larger.contains(extra))
                #expect(
                    permitted(.onnx(before: 0, after: 0), outputPadding: extra, stride: stride, dilation: dilation)
                        == larger.contains(extra))
                #expect(!permitted(.jax(same: true), outputPadding: extra, stride: stride, dilation: dilation))
                #expect(
                    permitted(.window(before: 0, after: 0), outputPadding: extra, stride: stride, dilation: dilation)
                        == (extra >= 0))
            }
        }
        // Three inputs with stride 2 and an extent of 3: a natural length of 7.
        for wanted in 1...12 {
            #expect(permitted(.keras(same: true), wanted: wanted, stride: 2, dilation: 1) == (5...6).contains(wanted))
            #expect(permitted(.keras(same: false), wanted: wanted, stride: 2, dilation: 1) == (7...8).contains(wanted))
            #expect(permitted(.torch(before: 1, after: 1), wanted: wanted, stride: 2, dilation: 1) == (5...6).contains(wanted))
            #expect(permitted(.onnx(before: 1, after: 1), wanted: wanted, stride: 2, dilation: 1))
            #expect(permitted(.window(before: 1, after: 1), wanted: wanted, stride: 2, dilation: 1))
        }
        #expect(!permitted(.window(before: 0, after: 0), outputPadding: 1, wanted: 7, stride: 2, dilation: 1))
    }

    /// Without input the formulas hold: with an extent of 5 and a stride of 2 the natural length is 3, all of it bias.
    @Test func noInput() throws {
        let expected: [(WindowRule, Int)] = [
            (.keras(same: true), 0), (.jax(same: true), 0), (.keras(same: false), 3), (.jax(same: false), 3),
            (.torch(before: 1, after: 1), 1),
            (.onnx(before: 0, after: 1), 2), (.onnxSame(lower: true), 0), (.window(before: -1, after: 0), 4),
        ]
        for (rule, output) in expected {
            let window = try transposeWindow(
                input: 0, kernel: 3, stride: 2, dilation: 2, rule: rule, outputPadding: nil, wanted: nil, .vertical)
            #expect(window.output == output, "\(rule)")
        }
    }
}

@Suite struct LatticeTests {
    /// The meetings of one output element: which kernel element reads which input element, inside the input or not.
    private func meetings(_ lattice: Lattice, _ q: Int) -> Set<Contribution> {
        Set(
            (0..<lattice.taps).map { j in
                Contribution(
                    input: q * lattice.inputStep + lattice.offsetStart + j * lattice.offsetStep,
                    kernel: lattice.kernelStart + j * lattice.kernelStep)
            })
    }

    private func forEachWindow(_ visit: (Axis) throws -> Void) rethrows {
        try forEachSmallAxis { input, kernel, stride, dilation in
            for start in -3...4 {
                for output in [1, 2, 5, 12] {
                    try visit(
                        Axis(input: input, kernel: kernel, stride: stride, dilation: dilation, output: output, start: start))
                }
            }
        }
    }

    /// What output element t of a transposed convolution meets: t + start = input * stride + kernel * dilation.
    private func expected(_ axis: Axis, _ t: Int) -> Set<Contribution> {
        var result = Set<Contribution>()
        for a in 0..<axis.kernel where (t + axis.start - a * axis.dilation) % axis.stride == 0 {
            result.insert(Contribution(input: (t + axis.start - a * axis.dilation) / axis.stride, kernel: a))
        }
        return result
    }

    @Test func convolution() {
        let axis = Axis(input: 9, kernel: 3, stride: 2, dilation: 3, output: 4, start: 2)
        let lattice = Lattice.convolution(axis)
        #expect(lattice.count == 4 && lattice.outputStart == 0 && lattice.outputStep == 1)
        for t in 0..<4 {
            #expect(meetings(lattice, t) == Set((0..<3).map { Contribution(input: t * 2 + $0 * 3 - 2, kernel: $0) }))
        }
    }

    @Test func phasesCoverEachOutputOnce() {
        forEachWindow { axis in
            var covered = [Set<Contribution>?](repeating: nil, count: axis.output)
            for first in 0..<Lattice.phaseCount(axis) {
                guard let lattice = Lattice.phase(axis, first: first) else { continue }
                for q in 0..<lattice.count {
                    let t = lattice.outputStart + q * lattice.outputStep
                    guard covered.indices.contains(t), covered[t] == nil else {
                        Issue.record("output \(t) lies outside or in two phases of \(axis)")
                        return
                    }
                    covered[t] = meetings(lattice, q)
                }
            }
            // Outputs between the strokes of a short kernel meet nothing and lie in no phase.
            #expect(covered.map { $0 ?? [] } == (0..<axis.output).map { expected(axis, $0) }, "\(axis)")
        }
    }

    @Test(arguments: [BorderMode.constant, .reflect, .symmetric, .replicate, .circular])
    func inputRanges(_ mode: BorderMode) {
        forEachSmallAxis { input, kernel, stride, dilation in
            let extent = (kernel - 1) * dilation + 1
            let reach = mode == .reflect ? input - 1 : input
            for (before, after) in [(0, 0), (1, 2), (3, 1)] where max(before, after) <= reach {
                let output = floorDivide(input + before + after - extent, stride) + 1
                guard output > 0 else { continue }
                let lattice = Lattice.convolution(
                    Axis(input: input, kernel: kernel, stride: stride, dilation: dilation, output: output, start: before))
                for first in 0..<output {
                    for count in 1...(output - first) {
                        let range = inputRange(lattice, first: first, count: count, input: input, mode: mode)
                        #expect(range.isEmpty || range.lowerBound >= 0 && range.upperBound <= input)
                        for q in first..<(first + count) {
                            for place in meetings(lattice, q) {
                                if let index = borderIndex(place.input, input, mode) { #expect(range.contains(index)) }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Tiles take each position of a band once, and those of all images that have the same taps inside one after another.
    @Test func routes() {
        let transposed = Lattice.phase(Axis(input: 3, kernel: 5, stride: 1, dilation: 2, output: 7, start: 2), first: 0)
        let strided = Lattice.convolution(Axis(input: 9, kernel: 4, stride: 2, dilation: 3, output: 5, start: 4))
        let wide = Lattice.convolution(Axis(input: 4, kernel: 7, stride: 1, dilation: 1, output: 4, start: 3))
        let plain = Lattice.convolution(Axis(input: 6, kernel: 1, stride: 1, dilation: 1, output: 6, start: 0))
        func inside(_ lattice: Lattice, _ index: Int, _ input: Range<Int>) -> [Int] {
            let start = index * lattice.inputStep + lattice.offsetStart
            return (0..<lattice.taps).filter { input.contains(start + $0 * lattice.offsetStep) }
        }
        let axes = [(transposed, 3), (strided, 9), (wide, 4), (plain, 6)]
        for (vertical, height) in axes {
            for (horizontal, width) in axes {
                guard let vertical, let horizontal else {
                    Issue.record("no phase")
                    return
                }
                var block = Block(
                    vertical: vertical, horizontal: horizontal, weights: 0, bandRows: 0, bandColumns: 0, rowBands: 0,
                    columnBands: 0, panelChunks: 0, items: 0, channelBlock: 1, segmentsPerChunk: 1, tilesPerGroup: 0)
                let columns = 0..<horizontal.count
                for rows in [0..<3 * vertical.count, 2..<2 * vertical.count + 1, 1..<3, 0..<vertical.count] {
                    for roundsBorder in [false, true] {
                        var route = Route(
                            &block, rows: rows, columns: columns, inputRows: 0..<height, inputColumns: 0..<width,
                            roundsBorder: roundsBorder)
                        var places: [[Int]] = []
                        var kinds: [[[Int]]] = []
                        while !route.isDone, places.count <= rows.count * columns.count {
                            #expect(route.row == route.image * vertical.count + route.imageRow)
                            places.append([route.row, route.column])
                            let kind = [
                                inside(vertical, route.imageRow, 0..<height), inside(horizontal, route.column, 0..<width),
                            ]
                            if kinds.last != kind { kinds.append(kind) }
                            _ = route.advance(1)
                        }
                        #expect(Set(places) == Set(rows.flatMap { row in columns.map { [row, $0] } }))
                        #expect(places.count == rows.count * columns.count)
                        if roundsBorder { #expect(Set(kinds).count == kinds.count, "\(vertical), \(horizontal), \(rows)") }
                    }
                }
            }
        }
    }
}
