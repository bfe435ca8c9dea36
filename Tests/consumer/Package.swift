// swift-tools-version: 6.3
import PackageDescription

// A package that uses the library as a versioned dependency, as a stranger's would. The test puts the address of a repository,
// tagged 0.1.0, in place of the one here.
let package = Package(
    name: "consumer",
    dependencies: [.package(url: "file:///convolution", from: "0.1.0")],
    targets: [.executableTarget(name: "consumer", dependencies: [.product(name: "Convolution", package: "convolution")])]
)
