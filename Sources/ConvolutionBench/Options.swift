import Foundation

/// A command line that is not understood.
struct UsageError: Error {
    let message: String
}

struct Options {
    static let usage = """
        usage: convolution-bench [option value]...
          --layers TEXT,...   only layers whose name contains one of these
          --groups NAME,...   only these groups: conv2d, conv2d_transpose, upsample2d, tiny, and of the gradients
                              conv2d_backward_input, ..._kernel, conv2d_transpose_backward_input, ..._kernel
          --threads N,...     1,2
          --isa NAME          the tier: the library's choice
          --budget MS         milliseconds of calls per layer, format, kind of call and number of threads: 60
          --turns N           turns that the budget is spent in: 3
          --json FILE         write all figures there
          --suite FILE        the layers: suite.json beside the sources
          --list              names of the layers, nothing is run
        """

    var layers: [String] = []
    var groups: [String] = []
    var threads = [1, 2]
    var isa: String?
    var budget = 0.06
    var turns = 3
    var json: String?
    var suite = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("suite.json").path
    var list = false, help = false

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        func positive(_ option: String, _ text: String) throws -> Int {
            guard let number = Int(text), (1...60000).contains(number) else {
                throw UsageError(message: "\(option) \(text): a whole number from 1 to 60000 expected")
            }
            return number
        }
        while let option = rest.popFirst() {
            if option == "--list" || option == "--help" {
                list = option == "--list"
                help = !list
                continue
            }
            guard let value = rest.popFirst() else { throw UsageError(message: "\(option): unknown, or its value is missing") }
            let words = value.split(separator: ",").map(String.init)
            switch option {
            case "--layers": layers = words
            case "--groups": groups = words
            case "--threads": threads = try words.map { try positive(option, $0) }
            case "--isa": isa = value
            case "--budget": budget = Double(try positive(option, value)) / 1000
            case "--turns": turns = try positive(option, value)
            case "--json": json = value
            case "--suite": suite = value
            default: throw UsageError(message: "\(option): unknown")
            }
        }
        guard !threads.isEmpty, threads.allSatisfy({ $0 <= 64 }) else { throw UsageError(message: "--threads: 1 to 64 each") }
    }

    func selects(_ layer: Layer) -> Bool {
        (layers.isEmpty || layers.contains { layer.name.contains($0) }) && (groups.isEmpty || groups.contains(layer.group))
    }
}
