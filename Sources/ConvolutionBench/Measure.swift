import CRoofline
import Foundation

/// A wrong answer: it is not timed.
struct WrongAnswer: Error {
    let message: String
}

/// The times of one variant of one layer, in seconds per call.
struct Timing {
    let variant: Variant
    let memory: (plan: Int, execution: Int)?
    var least = Double.infinity
    var medians: [Double] = []

    /// The median over the turns of each turn's median.
    var median: Double { medians.sorted()[medians.count / 2] }
}

/// One layer: verified in every variant, then timed in turns.
struct Measurement {
    let layer: Layer
    /// The largest error seen, as a share of what the header permits.
    private(set) var worstError = 0.0
    private(set) var timings: [Timing] = []

    init(layer: Layer, threads: [Int], isa: UnsafePointer<CChar>, budget: Double, turns: Int) throws {
        self.layer = layer
        var noise = Noise(state: 1)
        func elements(_ count: Int) -> [Float] { (0..<count).map { _ in noise.float() } }
        let oracle = Oracle(
            layer: layer, input: elements(layer.inputCount),
            kernel: layer.weights?.elements(layer.kernel) ?? elements(layer.kernelCount), output: elements(layer.outputCount))
        let samples = oracle.samples(200)

        var callables: [Callable] = []
        for format in Format.allCases {
            let arrays = Arrays(oracle, format: format)
            for call in Variant.Call.allCases {
                for count in threads {
                    let variant = Variant(format: format, call: call, threads: count)
                    let callable = try Callable(layer, variant, arrays, isa: isa)
                    arrays.result.update(repeating: .nan)
                    try callable.run()
                    worstError = max(worstError, try layer.error(of: arrays.result, variant, samples))
                    callables.append(callable)
                }
            }
        }

        timings = callables.map { Timing(variant: $0.variant, memory: $0.memory) }
        // The variants take turns, so that a slow spell of the machine falls on all of them.
        for _ in 0..<turns {
            for index in callables.indices {
                let times = try Self.time(callables[index], budget: budget / Double(turns))
                timings[index].least = min(timings[index].least, times[0])
                timings[index].medians.append(times[times.count / 2])
            }
        }
    }

    /// Seconds per call, ascending. A short call is timed in batches, since reading the clock takes time too.
    private static func time(_ callable: Callable, budget: Double) throws -> [Double] {
        var now = roofline_seconds()
        try callable.run()
        let first = roofline_seconds() - now
        let batch = max(1, Int(20e-6 / max(first, 1e-7)))
        var times: [Double] = []
        let end = roofline_seconds() + budget
        now = roofline_seconds()
        repeat {
            for _ in 0..<batch { try callable.run() }
            let then = now
            now = roofline_seconds()
            times.append((now - then) / Double(batch))
        } while now < end || times.count < 2
        return times.sorted()
    }
}

extension Layer.Weights {
    fileprivate func elements(_ size: Int) -> [Float] {
        switch self {
        case .sobel:
            return [-1, 0, 1, -2, 0, 2, -1, 0, 1]
        case .gaussian:
            let line = (0..<size).map { exp(-pow(Double($0 - size / 2), 2) / 8) }
            let sum = line.reduce(0, +)
            return line.flatMap { a in line.map { b in Float(a * b / (sum * sum)) } }
        }
    }
}

extension Layer {
    /// The largest error among the samples as a share of what is permitted. All elements must have been written.
    fileprivate func error(
        of result: UnsafeMutableBufferPointer<Float>, _ variant: Variant, _ samples: [Sample]
    ) throws -> Double {
        func wrong(_ what: String) -> WrongAnswer {
            WrongAnswer(message: "\(name), \(variant.format) \(variant.call), \(variant.threads) threads: \(what)")
        }
        if let index = result.firstIndex(where: { !$0.isFinite }) {
            throw wrong("element \(index) of the result is \(result[index])")
        }
        let shape = resultShape
        let axes = pass == .kernel ? [shape[0], shape[1], shape[2] * shape[3]] : [shape[1], shape[2] * shape[3]]
        var worst = 0.0
        for sample in samples {
            var index = zip(shape, sample.place).reduce(0) { $0 * $1.0 + $1.1 }
            if variant.format == .nhwc { index = Arrays.index(of: index, axes, isKernel: pass == .kernel) }
            let error = abs(Double(result[index]) - sample.value)
            guard error <= sample.tolerance else {
                throw wrong("element \(sample.place) of \(shape) is \(result[index]); the oracle says \(sample.value), "
                    + "give or take \(sample.tolerance)")
            }
            if error > 0 { worst = max(worst, error / sample.tolerance) }
        }
        return worst
    }
}
