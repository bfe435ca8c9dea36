import CConvolutionShims

/// A body that works through items until none is left. It is called once per thread with the thread's number, and must fetch items by
/// `nextItem`.
typealias ThreadBody = @convention(c) (UnsafeMutableRawPointer?) -> Void

/// What one thread of a parallel run is given: the shared context and its own number.
struct ThreadContext {
    var shared: UnsafeMutableRawPointer
    var number: Int
}

/// How many threads to use for `work` multiply-adds that come in `items` pieces, when the caller asked for `requested` (0: one per
/// core). Starting a thread costs tens of microseconds, so each must have at least about that much to do.
func threadsToUse(requested: Int, items: Int, work: Double) -> Int {
    let available = requested == 0 ? Int(shim_processor_count()) : requested
    let worthwhile = work / 1_000_000
    let limit = worthwhile < Double(available) ? Int(worthwhile) : available
    return max(1, min(limit, items))
}

/// Runs `body` on `threads` threads, the caller's among them, and returns when all are done. A thread that cannot be started is no
/// failure: the others take its items. `contexts` and `handles` have room for `threads`.
func runThreads(
    _ threads: Int, _ body: ThreadBody, shared: UnsafeMutableRawPointer, contexts: UnsafeMutablePointer<ThreadContext>,
    handles: UnsafeMutablePointer<shim_thread>
) {
    var started = 0
    for number in 1..<max(threads, 1) {
        contexts[number] = ThreadContext(shared: shared, number: number)
        if shim_thread_start(handles + started, body, contexts + number) != 0 { break }
        started += 1
    }
    contexts[0] = ThreadContext(shared: shared, number: 0)
    body(contexts)
    for i in 0..<started { shim_thread_join(handles + i) }
}
