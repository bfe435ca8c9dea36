import CConvolution
import CConvolutionShims
import ConvolutionKernels
#if arch(x86_64)
import ConvolutionAVX2
import ConvolutionAVX512
#endif

/// The instruction-set tiers of this build, from the oldest to the newest. The only file that names them all.
enum Tier: Int32 {
    case baseline = 0
    #if arch(x86_64)
    case avx2 = 1
    case avx512 = 2
    static let count: Int32 = 3
    #else
    static let count: Int32 = 1
    #endif

    var name: StaticString {
        switch self {
        case .baseline: return "baseline"
        #if arch(x86_64)
        case .avx2: return "avx2"
        case .avx512: return "avx512"
        #endif
        }
    }

    var isSupported: Bool {
        switch self {
        case .baseline: return true
        #if arch(x86_64)
        case .avx2: return shim_has_avx2_fma() != 0
        case .avx512: return shim_has_avx512() != 0
        #endif
        }
    }

    /// The kernels for float32.
    var float32: UnsafePointer<KernelTable> {
        switch self {
        case .baseline: return baselineFloat32()
        #if arch(x86_64)
        case .avx2: return avx2Float32()
        case .avx512: return avx512Float32()
        #endif
        }
    }

    /// The kernels for float64.
    var float64: UnsafePointer<KernelTable> {
        switch self {
        case .baseline: return baselineFloat64()
        #if arch(x86_64)
        case .avx2: return avx2Float64()
        case .avx512: return avx512Float64()
        #endif
        }
    }

    /// The tier whose vectors suit a few elements that lie together: those of 64 bytes reach over two cache lines.
    var narrow: Tier {
        #if arch(x86_64)
        return self == .avx512 ? .avx2 : self
        #else
        return self
        #endif
    }

    static func named(_ name: UnsafePointer<CChar>) -> Tier? {
        var index: Int32 = 0
        while let tier = Tier(rawValue: index) {
            if shim_strings_equal(name, tier.cName) != 0 { return tier }
            index += 1
        }
        return nil
    }

    var cName: UnsafePointer<CChar> { cString(name) }

    private static var best: Tier {
        var index = count - 1
        while index > 0 {
            if let tier = Tier(rawValue: index), tier.isSupported { return tier }
            index -= 1
        }
        return .baseline
    }

    /// What calls without a name use: the environment's choice, else the best. nil if the environment names no usable tier.
    static var standard: Tier? {
        guard let cache = shim_tier_storage() else { return nil }
        var value = shim_atomic_load(cache)
        if value == notYetChosen {
            if let name = shim_environment("CONVOLUTION_ISA"), name[0] != 0 {
                if let tier = named(name), tier.isSupported { value = tier.rawValue } else { value = unusable }
            } else {
                value = best.rawValue
            }
            shim_atomic_store(cache, value)
        }
        return Tier(rawValue: value)
    }

    /// The tier for a call whose params say `isa`.
    static func chosen(_ isa: UnsafePointer<CChar>?) throws(Failure) -> Tier {
        guard let isa else {
            if let tier = standard { return tier }
            throw Failure(
                CONVOLUTION_ERROR_ISA,
                """
                the environment variable CONVOLUTION_ISA is "\(shim_environment("CONVOLUTION_ISA") ?? Tier.baseline.cName)"; it \
                names no tier that this library has and this processor can run
                """)
        }
        guard let tier = named(isa) else {
            #if arch(x86_64)
            throw Failure(CONVOLUTION_ERROR_ISA, "isa is \"\(isa)\"; it must be one of baseline, avx2, avx512, or NULL")
            #else
            throw Failure(CONVOLUTION_ERROR_ISA, "isa is \"\(isa)\"; it must be baseline, or NULL")
            #endif
        }
        if !tier.isSupported {
            throw Failure(CONVOLUTION_ERROR_ISA, "isa is \"\(isa)\"; this processor does not support it")
        }
        return tier
    }
}

private let notYetChosen: Int32 = -1
private let unusable: Int32 = -2
