import CRoofline
import Foundation

/// What the machine can do at most, measured in the same run.
struct Roofline {
    let threads: Int
    /// Operations per second of the tier that is timed; a fused multiply-add counts two. The best that was seen so far.
    private(set) var multiplyAdds = 0.0
    /// Bytes read and written per second by memcpy, by the size of what it reads and writes.
    let copies: [(bytes: Int, rate: Double)]

    private let isa: UnsafePointer<CChar>

    init(threads: Int, isa: UnsafePointer<CChar>) {
        self.threads = threads
        self.isa = isa
        copies = stride(from: 18, through: 27, by: 1).map { exponent in
            (1 << exponent, roofline_copy(1 << exponent, Int32(threads)))
        }
        repeatMultiplyAdds()
    }

    /// Asked again before each layer: a busy moment of the machine must not become its limit.
    mutating func repeatMultiplyAdds() {
        multiplyAdds = max(multiplyAdds, roofline_multiply_adds(isa, Int32(threads)))
    }

    /// The rate for the measured size that is nearest to `bytes`.
    func copy(_ bytes: Double) -> Double {
        copies.min { abs(log2(bytes / Double($0.bytes))) < abs(log2(bytes / Double($1.bytes))) }!.rate
    }
}
