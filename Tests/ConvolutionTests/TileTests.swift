import CConvolution
import ConvolutionKernels
import Testing

@testable import Convolution

@Suite struct TileTests {
    /// Every position of an item is in some tile, none outside is, and no group has more tiles than it may. What the repetitions
    /// of a tile, and the next images, stand for is worked out as `run` and `multiply` do it.
    @Test func gridsCoverTheirItems() {
        var numbers = SeededNumbers(seed: 3)
        var (early, repeated, divided, ofImages) = (0, 0, 0, 0)
        let tiles = UnsafeMutablePointer<Tile>.allocate(capacity: 200)
        defer { tiles.deallocate() }
        for _ in 0..<4000 {
            func draw(_ range: ClosedRange<Int>) -> Int { .random(in: range, using: &numbers) }
            let (height, columns, unit, step) = (draw(1...12), draw(1...20), draw(1...2), draw(1...8))
            let (images, firstImage, firstColumn) = (draw(1...4), draw(0...2), draw(0...5))
            // A band may begin and end within an image.
            let first = draw(0...(height * images - 1))
            let rows = first..<draw((first + 1)...(height * images))
            let shape = TileShape(covering: min(height, draw(1...rows.count)), columns, step: step)
            #expect(shape.rows * shape.columns <= step && shape.columns <= columns)
            let most = draw(1...40)
            var grid = TileGrid(
                rows: rows, height: height, columns: columns, unit: unit, shape: shape, mergesTaps: draw(0...1) == 1)
            var seen = [Int](repeating: 0, count: height * images * columns)
            var isWrong = false
            while !grid.rows.isEmpty, !isWrong {
                let (strips, alike) = grid.next(tiles, most: most, image: firstImage, firstColumn: firstColumn)
                var count = 0
                for tile in (0..<strips).map({ tiles[$0] }) {
                    count += tile.repeats * tile.rowRepeats * alike
                    if tile.count > step || !tile.isPlain || tile.mergesTaps != grid.mergesTaps { isWrong = true }
                    for (image, down, across) in (0..<alike).flatMap({ image in
                        (0..<tile.rowRepeats).flatMap { down in (0..<tile.repeats).map { (image, down, $0) } }
                    }) {
                        for r in 0..<tile.count {
                            let row = tile.rows[r] + down * shape.rows
                            let (column, rest) = (tile.columns[r] - firstColumn).quotientAndRemainder(dividingBy: unit)
                            let place = column + across * shape.columns
                            let line = (tile.images[r] - firstImage + image) * height + row
                            if rest != 0 || row >= height || place >= columns || !rows.contains(line) { isWrong = true; continue }
                            seen[line * columns + place] += 1
                        }
                    }
                    // All read at the same distances: their positions lie alike.
                    for r in 0..<tile.count {
                        if tile.rows[r] - tile.rows[0] != tiles[0].rows[r] - tiles[0].rows[0]
                            || tile.columns[r] - tile.columns[0] != tiles[0].columns[r] - tiles[0].columns[0]
                            || tile.images[r] != tile.images[0] || tile.count != tiles[0].count { isWrong = true }
                    }
                    if tile.repeats > 1 || tile.rowRepeats > 1 { repeated += 1 }
                }
                if count > most || strips == 0 { isWrong = true }
                if grid.column > 0 { divided += 1 }
                if alike > 1 { ofImages += 1 }
            }
            for line in 0..<(height * images) {
                for column in 0..<columns where (seen[line * columns + column] > 0) != rows.contains(line) { isWrong = true }
            }
            if seen.contains(where: { $0 > 1 }) { early += 1 }
            #expect(!isWrong, "rows \(rows) of \(height), \(columns) columns by \(unit), \(shape), \(most) tiles at most")
        }
        #expect(early > 500 && repeated > 2000 && divided > 500 && ofImages > 100, "\(early) \(repeated) \(divided) \(ofImages)")
    }

    /// Layers whose images are read by such tiles, on all tiers, in both formats, and by some threads.
    @Test(arguments: InstructionSetTiers.supported)
    func smallLayers(_ isa: String) throws {
        struct Case {
            var shape: [Int]
            var kernel: [Int]
            var strides = (height: 1, width: 1)
            var dilation = (height: 1, width: 1)
            /// Top, bottom, left, right.
            var pads = [0, 0, 0, 0]
            var mode = PaddingMode.zeros
            var groups = 1
        }
        let cases = [
            // One vector, whose twins lie side by side or one above the other; the last tiles begin early.
            Case(shape: [1, 10, 10, 3], kernel: [3, 3, 3, 16], pads: [1, 1, 1, 1]),
            Case(shape: [3, 13, 13, 5], kernel: [3, 3, 5, 13], pads: [1, 1, 1, 1]),
            Case(shape: [1, 16, 5, 16], kernel: [3, 3, 16, 16], pads: [1, 1, 1, 1]),
            // In place, images of a batch together; two vectors and three.
            Case(shape: [5, 10, 10, 4], kernel: [3, 3, 4, 12]),
            Case(shape: [2, 11, 10, 2], kernel: [2, 3, 2, 32]),
            Case(shape: [2, 12, 13, 3], kernel: [3, 2, 3, 40], pads: [0, 1, 2, 0]),
            // Strides and dilation, and a border of more than zeros.
            Case(shape: [2, 19, 16, 3], kernel: [3, 3, 3, 16], strides: (2, 1), pads: [1, 1, 1, 1], mode: .reflect),
            Case(shape: [2, 12, 16, 4], kernel: [3, 3, 4, 20], dilation: (1, 2), pads: [1, 1, 2, 2], mode: .constant(3)),
            Case(
                shape: [1, 16, 16, 4], kernel: [3, 3, 4, 6], strides: (1, 2), dilation: (2, 1), pads: [2, 2, 0, 1],
                mode: .circular),
            // Pixels that share vectors; groups, of which two do.
            Case(shape: [3, 8, 8, 8], kernel: [3, 3, 8, 8], pads: [1, 1, 1, 1]),
            Case(shape: [2, 10, 16, 4], kernel: [3, 3, 4, 4], pads: [1, 1, 1, 1], mode: .replicate),
            Case(shape: [2, 8, 8, 6], kernel: [3, 3, 3, 32], pads: [1, 1, 1, 1], groups: 2),
            // Tiles of which much is computed in vain.
            Case(shape: [2, 5, 5, 3], kernel: [3, 3, 3, 16], pads: [1, 1, 1, 1]),
            // Few terms in larger images: tiles end with the rows inside, the last two of which may be twins.
            Case(shape: [2, 50, 71, 3], kernel: [3, 3, 3, 32], strides: (2, 2), pads: [0, 1, 1, 1]),
            Case(shape: [1, 27, 29, 24], kernel: [1, 1, 24, 24], strides: (2, 2)),
            Case(shape: [1, 29, 25, 15], kernel: [1, 1, 15, 16], strides: (2, 2)),
            Case(shape: [1, 170, 207, 3], kernel: [3, 3, 3, 16], strides: (2, 2), pads: [1, 1, 1, 1]),
            // Stencils whose vectors are wider than what is left of the output.
            Case(shape: [1, 13, 13, 1], kernel: [11, 11, 1, 1], pads: [2, 0, 2, 0]),
            Case(shape: [2, 15, 15, 1], kernel: [7, 7, 1, 1], strides: (2, 2)),
            Case(shape: [1, 30, 9, 1], kernel: [4, 5, 1, 1], strides: (1, 2), pads: [0, 0, 1, 2], mode: .replicate),
        ]
        var (inPlace, packed, shared, ofOneVector) = (0, 0, 0, 0)
        for (number, test) in cases.enumerated() {
            let input = try wholeNumbers(test.shape, seed: 100 + number)
            let kernel = try wholeNumbers(test.kernel, seed: 200 + number)
            let bias = try wholeNumbers([test.kernel[3]], seed: 300 + number).elements
            let expected = try conv2dReference(
                input, kernel, bias: bias, strides: test.strides, dilation: test.dilation, top: test.pads[0],
                bottom: test.pads[1], left: test.pads[2], right: test.pads[3], mode: test.mode, groups: test.groups
            ).converted(to: Float.self)
            let (values, weights) = (try input.converted(to: Float.self), try kernel.converted(to: Float.self))
            for threads in 1...3 {
                var options = Conv2DOptions(
                    strides: test.strides,
                    padding: .explicit(top: test.pads[0], bottom: test.pads[1], left: test.pads[2], right: test.pads[3]),
                    paddingMode: test.mode, dilation: test.dilation, groups: test.groups, threads: threads, isa: isa)
                let pixels = try conv2d(values, kernel: weights, bias: bias.map { Float($0) }, options: options)
                #expect(pixels == expected, "\(test), \(threads) threads")
                options.dataFormat = .channelsFirst
                let planes = try conv2d(
                    values.permuted(toChannelsFirst), kernel: weights, bias: bias.map { Float($0) }, options: options)
                #expect(try planes == expected.permuted(toChannelsFirst), "\(test), \(threads) threads, NCHW")
            }
            var params = conv2d_params()
            params.struct_size = MemoryLayout<conv2d_params>.size
            (params.batch, params.height) = (Int64(test.shape[0]), Int64(test.shape[1]))
            (params.width, params.in_channels) = (Int64(test.shape[2]), Int64(test.shape[3]))
            (params.kernel_height, params.kernel_width) = (Int64(test.kernel[0]), Int64(test.kernel[1]))
            (params.out_channels, params.groups) = (Int64(test.kernel[3]), Int64(test.groups))
            (params.stride_height, params.stride_width) = (Int64(test.strides.height), Int64(test.strides.width))
            (params.dilation_height, params.dilation_width) = (Int64(test.dilation.height), Int64(test.dilation.width))
            params.padding = Int32(CONVOLUTION_PADDING_EXPLICIT)
            (params.pad_top, params.pad_bottom) = (Int64(test.pads[0]), Int64(test.pads[1]))
            (params.pad_left, params.pad_right) = (Int64(test.pads[2]), Int64(test.pads[3]))
            let layer = try isa.withCString { name in
                params.isa = name
                return try validate(&params)
            }
            let plan = try createPlan(layer, kernel: [Float](repeating: 1, count: layer.kernelElements), bias: nil)
            defer { destroy(plan) }
            if !plan.pointee.borders { continue }
            if plan.pointee.readsInputDirectly { inPlace += 1 } else { packed += 1 }
            if plan.pointee.pixelsPerVector > 1 { shared += 1 }
            if plan.pointee.strategy == .channels, plan.pointee.width == plan.pointee.table.lanes { ofOneVector += 1 }
        }
        // What the layers are there for: a change of mind about them should change them too.
        if isa == "avx512" {
            let counts = (inPlace, packed, shared, ofOneVector)
            #expect(inPlace >= 2 && packed >= 9 && shared >= 2 && ofOneVector >= 6, "\(counts)")
        } else {
            #expect(inPlace + packed >= 3, "\(inPlace) \(packed)")
        }
    }
}
