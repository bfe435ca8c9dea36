import Testing
@testable import Convolution

@Test func versionIsTheHeaders() {
    #expect(convolution_version() == 100)
}
