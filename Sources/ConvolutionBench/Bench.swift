import CConvolution
import Foundation

/// Times the library's verbs on the layers of suite.json: see README.md.
@main
struct Bench {
    static func main() {
        do {
            try run(Options(Array(CommandLine.arguments.dropFirst())))
        } catch let error as UsageError {
            stop(2, "\(error.message)\n\(Options.usage)")
        } catch let error as WrongAnswer {
            stop(1, "WRONG ANSWER: \(error.message)")
        } catch let error as Refusal {
            stop(1, "the library refuses: \(error.message)")
        } catch {
            stop(1, "\(error)")
        }
    }

    private static func run(_ options: Options) throws {
        if options.help {
            print(Options.usage)
            return
        }
        let layers = try Layer.suite(at: options.suite).filter(options.selects)
        if options.list {
            for layer in layers { print(layer.name) }
            return
        }
        guard !layers.isEmpty else { throw UsageError(message: "no layer of that name or group") }
        let name = options.isa ?? convolution_isa().map { String(cString: $0) } ?? ""
        guard let isa = strdup(name), convolution_isa_supported(isa) == 1 else {
            throw UsageError(message: "'\(name)' is no tier that this processor can run")
        }
        defer { free(isa) }
        var report = Report(
            rooflines: options.threads.map { Roofline(threads: $0, isa: isa) }, isa: name, total: layers.count)
        for layer in layers {
            do {
                report.add(try Measurement(
                    layer: layer, threads: options.threads, isa: isa, budget: options.budget, turns: options.turns))
            } catch let refusal as Refusal where refusal.isUnsupported {
                report.add(unsupported: layer, refusal.message)
            }
        }
        report.finish()
        if let path = options.json { try report.write(to: path) }
    }

    private static func stop(_ status: Int32, _ message: String) -> Never {
        FileHandle.standardError.write(Data("convolution-bench: \(message)\n".utf8))
        exit(status)
    }
}
