// swift-tools-version: 6.3
import PackageDescription

// Processor flags reach only the two tiers that are named for them; on other architectures their files are empty. Flags of this
// kind are allowed in versioned dependencies since tools version 6.2.
#if arch(x86_64)
let avx2: [SwiftSetting] = [.unsafeFlags(["-Xcc", "-march=x86-64-v3"])]
let avx512: [SwiftSetting] = [.unsafeFlags(["-Xcc", "-march=x86-64-v4", "-Xcc", "-mprefer-vector-width=512"])]
#else
let avx2: [SwiftSetting] = []
let avx512: [SwiftSetting] = []
#endif

let package = Package(
    name: "convolution",
    // InlineArray came with these systems.
    platforms: [.macOS(.v26), .iOS(.v26), .tvOS(.v26), .watchOS(.v26), .visionOS(.v26)],
    products: [
        // For Swift: import Convolution.
        .library(name: "Convolution", targets: ["Convolution"]),
        // The C functions of include/convolution.h as a shared library that needs the Swift runtime. `make` builds the one that
        // does not.
        .library(name: "ConvolutionC", type: .dynamic, targets: ["Convolution"]),
    ],
    targets: [
        // MARK: - The contract
        .target(name: "CConvolution", path: "include", exclude: ["README.md"], publicHeadersPath: "."),

        // MARK: - The core
        .target(name: "CConvolutionShims", exclude: ["README.md"]),
        .target(name: "ConvolutionKernels", dependencies: ["CConvolutionShims"], exclude: ["MEASURED.md", "PATHS.md", "README.md"]),
        .target(
            name: "ConvolutionAVX2", dependencies: ["CConvolutionShims", "ConvolutionKernels"], exclude: ["README.md"],
            swiftSettings: avx2),
        .target(
            name: "ConvolutionAVX512", dependencies: ["CConvolutionShims", "ConvolutionKernels"], exclude: ["README.md"],
            swiftSettings: avx512),
        .target(
            name: "Convolution",
            dependencies: ["CConvolution", "CConvolutionShims", "ConvolutionKernels", "ConvolutionAVX2", "ConvolutionAVX512"],
            exclude: ["Gradients/README.md", "README.md"],
            linkerSettings: [.linkedLibrary("m", .when(platforms: [.linux]))]),

        // MARK: - The benchmark
        .target(name: "CRoofline"),
        .executableTarget(
            name: "ConvolutionBench", dependencies: ["CConvolution", "CRoofline", "Convolution"],
            exclude: ["README.md", "comparison.svg", "comparison-intel.svg", "peers", "suite.json"]),

        // MARK: - Tests
        .testTarget(name: "ConvolutionTests", dependencies: ["Convolution"]),
    ]
)
