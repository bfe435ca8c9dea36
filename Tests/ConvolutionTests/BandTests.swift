import CConvolution
import Testing

@testable import Convolution

@Suite struct BandTests {
    /// What an execution sets aside for the input that an item packs, against the rectangles of all items: of layers in few
    /// bands and in many, where the library looks at some places alone.
    @Test(arguments: [false, true])
    func noRectangleIsLargerThanTheLargest(transposed: Bool) throws {
        var numbers = SeededNumbers(seed: transposed ? 8 : 7)
        var (inMany, blocks, wasteful) = (0, 0, 0)
        for _ in 0..<2000 {
            func draw(_ choices: [Int64]) -> Int64 { choices.randomElement(using: &numbers)! }
            var layer = conv2d_params()
            layer.struct_size = MemoryLayout<conv2d_params>.size
            layer.batch = draw([1, 1, 2, 9, 150])
            (layer.height, layer.width) = (draw([1, 5, 14, 90, 300]), draw([1, 3, 12, 50, 20_000]))
            if layer.width == 20_000 { (layer.batch, layer.height) = (1, draw([1, 3])) }
            layer.in_channels = draw([1, 3, 16, 40])
            layer.out_channels = draw([1, 3, 16, 40])
            if draw([0, 1, 2]) == 0 {
                layer.groups = layer.in_channels
                layer.out_channels = layer.in_channels
            }
            (layer.kernel_height, layer.kernel_width) = (draw([1, 2, 3, 7]), draw([1, 3, 5]))
            (layer.stride_height, layer.stride_width) = (draw([1, 1, 2, 3]), draw([1, 1, 2, 5]))
            (layer.dilation_height, layer.dilation_width) = (draw([1, 1, 2, 13]), draw([1, 1, 4]))
            layer.data_format = Int32(draw([0, 1]))
            layer.threads = Int32(draw([1, 2, 5]))
            layer.allow_empty_output = 1
            layer.padding_mode = Int32(draw([0, 0, 2, 3, 4, 5]))
            layer.padding = Int32(draw([0, 1, 3, 5]))
            if layer.padding == 5 {
                (layer.pad_top, layer.pad_bottom) = (draw([-1, 0, 4, layer.height - 1]), draw([-2, 0, 3, layer.height - 1]))
                (layer.pad_left, layer.pad_right) = (draw([0, 2, layer.width - 1]), draw([0, 5, layer.width - 1]))
            }
            var least: Int64 = 0
            guard conv2d_workspace_size(&layer, nil, nil, &least) == CONVOLUTION_OK else { continue }
            layer.workspace_limit = draw([0, max(1, least), 2 * least])
            var spread = conv2d_transpose_params()
            if transposed {
                // The same numbers mean another layer; the borders of images play no part in it.
                spread.struct_size = MemoryLayout<conv2d_transpose_params>.size
                (spread.batch, spread.height, spread.width) = (min(layer.batch, 9), layer.height, min(layer.width, 6_000))
                (spread.in_channels, spread.out_channels, spread.groups) = (layer.in_channels, layer.out_channels, layer.groups)
                (spread.kernel_height, spread.kernel_width) = (layer.kernel_height, layer.kernel_width)
                (spread.stride_height, spread.stride_width) = (layer.stride_height, layer.stride_width)
                (spread.dilation_height, spread.dilation_width) = (layer.dilation_height, layer.dilation_width)
                (spread.data_format, spread.threads) = (layer.data_format, layer.threads)
                spread.padding = Int32(draw([0, 1]))
                guard conv2d_transpose_workspace_size(&spread, nil, nil, &least) == CONVOLUTION_OK else { continue }
                spread.workspace_limit = draw([0, max(1, least), 2 * least])
            }
            let checked = try transposed ? validate(&spread) : validate(&layer)
            let kernel = [Float](repeating: 1, count: checked.kernelElements)
            let plan = try createPlan(checked, kernel: kernel, bias: nil)
            defer { destroy(plan) }
            if plan.pointee.readsInputDirectly || plan.pointee.algorithm.isWinograd { continue }
            for index in 0..<plan.pointee.blockCount {
                let block = plan.pointee.blocks[index]
                var most = 0
                for chunk in 0..<block.panelChunks {
                    for rowBand in 0..<block.rowBands {
                        for columnBand in 0..<block.columnBands {
                            let rows = plan.pointee.rows(of: block, band: rowBand)
                            let columns = block.columns(band: columnBand)
                            let rectangle = ConvolutionPlan.rectangle(
                                plan, plan.pointee.blocks + index, firstRow: rows.lowerBound, rows: rows.count,
                                firstColumn: columns.lowerBound, columns: columns.count,
                                panels: block.panels(chunk, of: plan.pointee), image: 0)
                            most = max(most, rectangle.elements)
                        }
                    }
                }
                let largest = plan.pointee.largestRectangle(block)
                #expect(largest >= most, "\(layer)")
                blocks += 1
                if block.rowBands > 64 || block.columnBands > 64 { inMany += 1 } else { #expect(largest == most, "\(layer)") }
                if largest > most + most / 8 { wasteful += 1 }
            }
        }
        #expect(blocks > 200 && inMany > 50 && wasteful * 20 < blocks, "\(blocks) blocks, \(inMany) in many bands, \(wasteful)")
    }
}
