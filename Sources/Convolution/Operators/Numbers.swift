/// Elements of either type as doubles: where time matters little, one loop does for both. An element is rounded as it is written.
struct Numbers {
    let base: UnsafeMutableRawPointer
    private let areDoubles: Bool

    init(_ base: UnsafeMutableRawPointer, areDoubles: Bool) {
        (self.base, self.areDoubles) = (base, areDoubles)
    }

    /// To be read alone.
    init(reading base: UnsafeRawPointer, areDoubles: Bool) {
        self.init(UnsafeMutableRawPointer(mutating: base), areDoubles: areDoubles)
    }

    static func + (numbers: Numbers, count: Int) -> Numbers {
        Numbers(numbers.base + count * (numbers.areDoubles ? 8 : 4), areDoubles: numbers.areDoubles)
    }

    subscript(_ i: Int) -> Double {
        get {
            areDoubles
                ? base.loadUnaligned(fromByteOffset: i &* 8, as: Double.self)
                : Double(base.loadUnaligned(fromByteOffset: i &* 4, as: Float.self))
        }
        nonmutating set {
            if areDoubles {
                base.storeBytes(of: newValue, toByteOffset: i &* 8, as: Double.self)
            } else {
                base.storeBytes(of: Float(newValue), toByteOffset: i &* 4, as: Float.self)
            }
        }
    }

    func clear(_ count: Int) {
        base.initializeMemory(as: UInt8.self, repeating: 0, count: count * (areDoubles ? 8 : 4))
    }
}
