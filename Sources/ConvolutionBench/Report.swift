import CConvolution
import Foundation

/// A table that is printed row by row while the benchmark runs, and the same figures as JSON.
struct Report {
    /// One layer with one number of threads.
    struct Row: Encodable {
        let name, group: String
        let threads: Int
        let operations, bytes: Double
        /// The largest error seen, as a share of what the header permits.
        let error: Double
        /// Seconds per call: the least of all calls, and the median.
        var least: [String: Double] = [:]
        var median: [String: Double] = [:]
        /// Bytes of the faster plan and of one execution beyond it, where the library can be asked.
        let planBytes, executionBytes: Int?
        /// Operations and bytes per second of the faster plan, and as shares of what the machine can do at most.
        let operationRate, byteRate: Double
        var shareOfMultiplyAdds = 0.0, shareOfCopy = 0.0

        mutating func setShares(_ roofline: Roofline) {
            shareOfMultiplyAdds = operationRate / roofline.multiplyAdds
            shareOfCopy = byteRate / roofline.copy(bytes)
        }
    }
    struct Machine: Encodable {
        let processor, isa: String
        let library: Int32
        let date: String
        var multiplyAdds: [String: Double] = [:]
        var copies: [String: [String: Double]] = [:]
    }
    struct Document: Encodable {
        var machine: Machine
        var layers: [Row] = []
        /// Legal, but not built into the library: not timed.
        var unsupported: [String: String] = [:]
    }

    private(set) var document: Document
    private var rooflines: [Roofline]
    private let total: Int
    private var count = 0

    init(rooflines: [Roofline], isa: String, total: Int) {
        self.rooflines = rooflines
        self.total = total
        let date = ISO8601DateFormatter().string(from: Date())
        document = Document(machine: Machine(processor: Self.processor, isa: isa, library: convolution_version(), date: date))
        let version = convolution_version()
        print("convolution \(version / 10000).\(version / 100 % 100).\(version % 100), tier \(isa), \(Self.processor)")
        for roofline in rooflines {
            document.machine.copies["\(roofline.threads)"] = Dictionary(
                uniqueKeysWithValues: roofline.copies.map { ("\($0.bytes)", $0.rate) })
            print(String(format: "%d thread%@ at most %.0f GFLOP/s and, copying", roofline.threads,
                roofline.threads == 1 ? ": " : "s:", roofline.multiplyAdds / 1e9), terminator: "")
            print(roofline.copies.filter { $0.bytes.trailingZeroBitCount % 3 == 0 }.map {
                String(format: " %.1f MiB, %.0f GB/s", Double($0.bytes) / 0x1p20, $0.rate / 1e9)
            }.joined(separator: ";"))
        }
        print("""

            Least time per call; rate of the faster plan; % of the most multiply-adds seen so far, and of copying as many bytes.
            error: the largest seen, as a share of what the header permits.
            """)
        print("        layer                             thr  error |  NHWC plan      plain |  NCHW plan      plain | "
            + "       rate    %fma  %copy | plan MiB   work")
    }

    mutating func add(_ measurement: Measurement) {
        count += 1
        let layer = measurement.layer
        for index in rooflines.indices {
            rooflines[index].repeatMultiplyAdds()
            let roofline = rooflines[index]
            let timings = measurement.timings.filter { $0.variant.threads == roofline.threads }
            let fastest = timings.filter { $0.variant.call == .plan }.min { $0.least < $1.least }!
            var row = Row(
                name: layer.name, group: layer.group, threads: roofline.threads, operations: layer.operations, bytes: layer.bytes,
                error: measurement.worstError, planBytes: fastest.memory?.plan, executionBytes: fastest.memory?.execution,
                operationRate: layer.operations / fastest.least, byteRate: layer.bytes / fastest.least)
            row.setShares(roofline)
            for timing in timings {
                row.least["\(timing.variant.format)_\(timing.variant.call)"] = timing.least
                row.median["\(timing.variant.format)_\(timing.variant.call)"] = timing.median
            }
            document.layers.append(row)
            func time(_ format: Format, _ call: Variant.Call) -> String { Self.text(seconds: row.least["\(format)_\(call)"]!) }
            func size(_ bytes: Int?) -> String { bytes.map { String(format: "%7.2f", Double($0) / 0x1p20) } ?? "      -" }
            let rate = layer.group == "upsample2d"
                ? String(format: "%6.1f GB/s   ", row.byteRate / 1e9) : String(format: "%6.1f GFLOP/s", row.operationRate / 1e9)
            print((index == 0 ? "\(count)/\(total)" : "").padding(toLength: 8, withPad: " ", startingAt: 0)
                + layer.name.padding(toLength: 33, withPad: " ", startingAt: 0)
                + String(format: " %3d  %5.2f | ", row.threads, row.error) + time(.nhwc, .plan) + " " + time(.nhwc, .plain) + " | "
                + time(.nchw, .plan) + " " + time(.nchw, .plain) + " | " + rate
                + String(format: " %5.0f  %5.0f | ", 100 * row.shareOfMultiplyAdds, 100 * row.shareOfCopy)
                + size(row.planBytes) + " " + size(row.executionBytes))
        }
        fflush(nil)
    }

    mutating func add(unsupported layer: Layer, _ sentence: String) {
        count += 1
        document.unsupported[layer.name] = sentence
        print("\(count)/\(total)".padding(toLength: 8, withPad: " ", startingAt: 0) + layer.name + ": not timed: " + sentence)
        fflush(nil)
    }

    /// The geometric means of each group, and all shares by the limits of the whole run.
    mutating func finish() {
        for roofline in rooflines {
            document.machine.multiplyAdds["\(roofline.threads)"] = roofline.multiplyAdds
            for index in document.layers.indices where document.layers[index].threads == roofline.threads {
                document.layers[index].setShares(roofline)
            }
        }
        func mean(_ values: [Double]) -> Double { exp(values.map(log).reduce(0, +) / Double(values.count)) }
        print("\ngroup                             thr  layers   geometric mean of the rate and of its share")
        var groups: [String] = []
        for row in document.layers where !groups.contains(row.group) { groups.append(row.group) }
        for group in groups {
            for roofline in rooflines {
                let rows = document.layers.filter { $0.group == group && $0.threads == roofline.threads }
                guard !rows.isEmpty else { continue }
                let name = group.padding(toLength: 33, withPad: " ", startingAt: 0)
                print(name + String(format: "%4d  %6d   ", roofline.threads, rows.count), terminator: "")
                if group == "upsample2d" {
                    print(String(format: "%6.1f GB/s     %3.0f %% of copying", mean(rows.map(\.byteRate)) / 1e9,
                        100 * mean(rows.map(\.shareOfCopy))))
                } else {
                    print(String(format: "%6.1f GFLOP/s  %3.0f %% of the multiply-adds", mean(rows.map(\.operationRate)) / 1e9,
                        100 * mean(rows.map(\.shareOfMultiplyAdds))))
                }
            }
        }
    }

    func write(to path: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        try encoder.encode(document).write(to: URL(fileURLWithPath: path))
    }

    private static func text(seconds: Double) -> String {
        seconds < 1e-3 ? String(format: "%7.2f us", seconds * 1e6) : String(format: "%7.2f ms", seconds * 1e3)
    }

    private static var processor: String {
        let lines = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n") ?? []
        let model = lines.first { $0.hasPrefix("model name") }?.split(separator: ":").last ?? "unknown processor"
        return model.trimmingCharacters(in: .whitespaces) + ", \(ProcessInfo.processInfo.activeProcessorCount) cores"
    }
}
