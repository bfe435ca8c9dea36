import CConvolution

/// The instruction-set tiers that `isa` can name.
public enum InstructionSetTiers {
    /// Those of this build, from the oldest to the newest.
    public static var all: [String] {
        var names: [String] = []
        while let name = convolution_isa_name(Int32(names.count)) { names.append(String(cString: name)) }
        return names
    }

    /// Those that this processor can run.
    public static var supported: [String] {
        all.filter { convolution_isa_supported($0) == 1 }
    }

    /// What calls without a name use; nil if the environment variable CONVOLUTION_ISA names no usable tier.
    public static var standard: String? {
        convolution_isa().map { String(cString: $0) }
    }
}
