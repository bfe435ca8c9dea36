import CConvolution
import CConvolutionShims

/// Why a call was refused: a status code of the header. Making one writes its sentence into the error text of this thread.
///
/// The text is built without the heap, so that running out of memory can be reported too.
struct Failure: Error {
    let status: Int32

    init(_ status: Int, _ message: ErrorMessage) {
        self.status = Int32(truncatingIfNeeded: status)
    }

    /// The layer's `workspace_limit` is too low: `use` is "this layer needs at least", say.
    @inline(never)
    static func workspace(_ layer: Layer, _ use: StaticString, _ bytes: Int) -> Failure {
        Failure(
            CONVOLUTION_ERROR_WORKSPACE,
            "workspace_limit is \(layer.means.workspaceLimit); \(use) \(bytes) bytes (0: no limit)")
    }

    /// This failure with "`argument`: " before its sentence, where a call has several parameter structs.
    @inline(never)
    func about(_ argument: StaticString) -> Failure {
        guard let text = shim_error_text() else { return self }
        let shift = argument.utf8CodeUnitCount + 2
        var length = 0
        while text[length] != 0 { length += 1 }
        length = min(length, Int(SHIM_ERROR_CAPACITY) - 1 - shift)
        text[length + shift] = 0
        for i in stride(from: length - 1, through: 0, by: -1) { text[i + shift] = text[i] }
        for i in 0..<(shift - 2) { text[i] = CChar(bitPattern: argument.utf8Start[i]) }
        text[shift - 2] = 58
        text[shift - 1] = 32
        return self
    }
}

/// A sentence such as `"stride_height is \(value); it must be at least 1"`, written piece by piece into the error text.
struct ErrorMessage: ExpressibleByStringInterpolation {
    init(stringLiteral literal: StaticString) {
        var text = StringInterpolation(literalCapacity: 0, interpolationCount: 0)
        text.appendLiteral(literal)
    }

    init(stringInterpolation: StringInterpolation) {}

    struct StringInterpolation: StringInterpolationProtocol {
        private var length = 0

        // None of the functions that touch the error text may be inlined into another file: each object file has its own.
        @inline(never)
        init(literalCapacity: Int, interpolationCount: Int) {
            shim_error_text()[0] = 0
        }

        @inline(never)
        private mutating func append(_ byte: UInt8) {
            guard length < Int(SHIM_ERROR_CAPACITY) - 1, let text = shim_error_text() else { return }
            text[length] = CChar(bitPattern: byte)
            length += 1
            text[length] = 0
        }

        @inline(never)
        mutating func appendLiteral(_ literal: StaticString) {
            for i in 0..<literal.utf8CodeUnitCount { append(literal.utf8Start[i]) }
        }

        @inline(never)
        mutating func appendInterpolation(_ literal: StaticString) { appendLiteral(literal) }

        @inline(never)
        mutating func appendInterpolation(_ value: Int) {
            var digits = InlineArray<20, UInt8>(repeating: 0)
            var count = 0
            var rest = value.magnitude
            repeat {
                digits[count] = UInt8(truncatingIfNeeded: 48 + rest % 10)
                rest /= 10
                count += 1
            } while rest > 0
            if value < 0 { append(45) }
            while count > 0 {
                count -= 1
                append(digits[count])
            }
        }

        @inline(never)
        mutating func appendInterpolation(_ value: Int32) { appendInterpolation(Int(value)) }

        @inline(never)
        mutating func appendInterpolation(_ value: UInt) {
            if value <= UInt(Int.max) {
                appendInterpolation(Int(value))
            } else {
                appendInterpolation(Int(value / 10))
                append(UInt8(truncatingIfNeeded: 48 + value % 10))
            }
        }

        @inline(never)
        mutating func appendInterpolation(_ value: Double) {
            let number = shim_format_double(value)
            withUnsafeBytes(of: number) { bytes in
                guard let start = bytes.baseAddress else { return }
                appendInterpolation(start.assumingMemoryBound(to: CChar.self))
            }
        }

        /// A C string of the caller's, cut at 64 bytes so that the rest of the sentence finds room. What is not printable ASCII
        /// becomes a question mark: the sentence stays one line, and text in any encoding.
        @inline(never)
        mutating func appendInterpolation(_ text: UnsafePointer<CChar>) {
            var i = 0
            while text[i] != 0, i < 64 {
                append(text[i] >= 32 && text[i] < 127 ? UInt8(bitPattern: text[i]) : 63)
                i += 1
            }
        }
    }
}

/// The error text of this thread. `shim_error_text` must be called from this file only, and not be inlined elsewhere: see there.
@inline(never)
func errorText() -> UnsafePointer<CChar>? {
    UnsafePointer(shim_error_text())
}

/// Runs the body of an exported function and turns its failure into a status.
@inline(__always)
func status(_ body: @autoclosure () throws(Failure) -> Void) -> Int32 {
    do {
        try body()
        return 0
    } catch {
        return error.status
    }
}
