import CConvolutionShims

/// One term of pixel r of a strip's tile.
@inlinable @inline(__always)
func multiplyPixel<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>, _ r: Int, _ address: Int,
    _ weights: borrowing InlineArray<N, I.Vector>
) {
    let place = UnsafePointer<I.Scalar>(bitPattern: address).unsafelyUnwrapped
    let x = N > 1 ? I.one(place) : I.Vector(repeating: place[0])
    for n in 0..<N { sums[unchecked: r][unchecked: n] = I.multiplyAdd(x, weights[unchecked: n], sums[unchecked: r][unchecked: n]) }
}

/// The same of pixel r and the three after it, or of as many as there are: not a loop, which the optimiser would keep.
@inlinable @inline(__always)
func multiplyFour<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, _ sums: inout InlineArray<R, InlineArray<N, I.Vector>>, _ r: Int, _ address: Int, _ once: Int, _ twice: Int,
    _ thrice: Int, _ weights: borrowing InlineArray<N, I.Vector>
) {
    multiplyPixel(I.self, &sums, r, address, weights)
    if r &+ 1 < R { multiplyPixel(I.self, &sums, r &+ 1, address &+ once, weights) }
    if r &+ 2 < R { multiplyPixel(I.self, &sums, r &+ 2, address &+ twice, weights) }
    if r &+ 3 < R { multiplyPixel(I.self, &sums, r &+ 3, address &+ thrice, weights) }
}

/// `accumulateTile` for `arguments.columns` pixels in a row, at least R of them, which lie `pixelPitch` apart, as their outputs do
/// `outputPitch`: tile after tile in one call, the last of which begins early rather than be a part of one. `runs` and `outputs`
/// are those of the first tile, whose first pixel's are read. All sums are begun and finished here.
@inlinable @inline(__always)
public func accumulateStrip<I: InstructionSet, let R: Int, let N: Int>(
    _: I.Type, rows: Count<R>.Type, vectors: Count<N>.Type, runs runPitch: Int, _ raw: UnsafeRawPointer
) {
    let arguments = raw.assumingMemoryBound(to: TileArguments<I.Scalar>.self).pointee
    guard let firstOrder = arguments.order, let outputs = arguments.outputs else { return }
    let size = MemoryLayout<I.Scalar>.stride
    let segmentBytes = arguments.length &* N &* I.bytes
    let (pitch, outputPitch) = (arguments.pixelPitch &* size, arguments.outputPitch &* size)
    var output = UnsafeMutableRawPointer(outputs[0] + arguments.outputOffset)
    var shift = arguments.channelOffset &* size
    var left = arguments.columns
    var ahead = arguments.ahead
    repeat {
        if left < R {
            shift &-= (R &- left) &* pitch
            output += (left &- R) &* outputPitch
            left = R
        }
        var (runs, order) = (arguments.runs, firstOrder)
        var remaining = arguments.chunks
        var continues = false
        repeat {
            var sums = InlineArray<R, InlineArray<N, I.Vector>>(
                repeating: InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0)))
            var chunk = order[0]
            order += 1
            // Of what lies outside, there may be none.
            while chunk > 0 {
                chunk &-= 1
                var panel = UnsafeRawPointer(arguments.panel) + Int(order[0]) &* segmentBytes
                order += 1
                // Pixels by fours: an address that moves on, and three distances from it. So those of a tile are in registers.
                var first = Int(bitPattern: runs[0]) &+ shift
                var (second, third, fourth) = (first &+ 4 &* pitch, first &+ 8 &* pitch, first &+ 12 &* pitch)
                runs += runPitch
                let (once, twice, thrice) = (shim_opaque(pitch), shim_opaque(2 &* pitch), shim_opaque(3 &* pitch))
                var c = arguments.length
                repeat {
                    if N > 1 {
                        shim_prefetch(ahead)
                        ahead += arguments.aheadStep
                    }
                    var weights = InlineArray<N, I.Vector>(repeating: I.Vector(repeating: 0))
                    for n in 0..<N { weights[unchecked: n] = panel.loadUnaligned(fromByteOffset: n &* I.bytes, as: I.Vector.self) }
                    multiplyFour(I.self, &sums, 0, first, once, twice, thrice, weights)
                    if R > 4 { multiplyFour(I.self, &sums, 4, second, once, twice, thrice, weights) }
                    if R > 8 { multiplyFour(I.self, &sums, 8, third, once, twice, thrice, weights) }
                    if R > 12 { multiplyFour(I.self, &sums, 12, fourth, once, twice, thrice, weights) }
                    panel += N &* I.bytes
                    first = shim_opaque(first &+ size)
                    if R > 4 { second = shim_opaque(second &+ size) }
                    if R > 8 { third = shim_opaque(third &+ size) }
                    if R > 12 { fourth = shim_opaque(fourth &+ size) }
                    c &-= 1
                } while c != 0
            }
            if continues { addTile(I.self, &sums, arguments.tile) }
            remaining &-= 1
            if remaining == 0 {
                addBias(I.self, &sums, arguments)
                storePixels(I.self, sums, arguments) { r in output + r &* outputPitch }
            } else {
                fold(I.self, sums, into: arguments.tile, continues: false)
            }
            continues = true
        } while remaining != 0
        left &-= R
        shift &+= R &* pitch
        output += R &* outputPitch
    } while left > 0
}
