import CConvolutionShims

// One pool of worker threads for the whole library. It starts empty, grows to what calls ask for, sleeps between calls, begins anew in
// a forked child (which inherits none of its parent's threads), and ends with the process or when the library is unloaded.
//
// A caller never waits for a worker to wake: it publishes a job, works through the job's items itself, and at the end waits for those
// workers alone that did take items. A worker that comes late finds nothing left, or the job gone.

/// A body that works through items until none is left. It is called once per thread with a `ThreadContext`, and must fetch items by
/// an atomic counter in `shared`.
typealias ThreadBody = @convention(c) (UnsafeMutableRawPointer?) -> Void

/// What one thread of a parallel run is given: the shared context and its own number, 0 for the caller.
struct ThreadContext {
    var shared: UnsafeMutableRawPointer
    var number: Int
}

/// Multiply-adds that a further thread is worth waking for: about what is done while a sleeping one wakes up.
private let workPerThread = 400_000.0

/// How many threads to use for `work` multiply-adds that come in `items` pieces, when the caller asked for `requested` (0: one per
/// core).
func threadsToUse(requested: Int, items: Int, work: Double) -> Int {
    let most = min(items, work < 1024 * workPerThread ? Int(work / workPerThread) : 1024)
    if most <= 1 || requested == 1 { return 1 }
    return min(most, requested == 0 ? Int(shim_processor_count()) : requested)
}

/// A parallel run that workers may join. It lives on its caller's stack: nobody touches it after `active` has become 0 and it is out
/// of the pool's list. All fields but `active` are read and written under the pool's lock.
private struct Job {
    var body: ThreadBody
    var shared: UnsafeMutableRawPointer
    var next: UnsafeMutablePointer<Job>?
    /// Numbers from here up to `threads` are free to be taken.
    var nextNumber: Int
    var threads: Int
    /// The caller sleeps until `active` is 0.
    var isAwaited = false
    /// Workers at work on it.
    var active: Int32 = 0
}

/// A worker's handle, for the end.
private struct Worker {
    var thread: shim_thread
    var next: UnsafeMutablePointer<Worker>?
}

/// All of it but `openings` and `isEnding`, which idle workers watch, is read and written under the monitor's lock.
private struct Pool {
    var monitor: shim_monitor
    var jobs: UnsafeMutablePointer<Job>?
    var workers: UnsafeMutablePointer<Worker>?
    var workerCount: Int
    /// Idle workers that watch `openings`, and those that sleep.
    var watching: Int
    var sleeping: Int
    /// Numbers that workers may take, over all jobs.
    var openings: Int32
    var isEnding: Int32
}

/// How often an idle worker looks for a new job before it sleeps, and a caller for the last worker's end: some 30 microseconds. Calls
/// that follow each other closer than that, as the layers of a network do, find the workers awake.
private let looks = 1000

/// The pool of this process: reset when the process is another than the one that used it last.
@inline(never)
private func thePool() -> UnsafeMutablePointer<Pool>? {
    guard let storage = shim_pool_storage() else { return nil }
    let owner = storage.assumingMemoryBound(to: Int32.self)
    let pool = (storage + 64).assumingMemoryBound(to: Pool.self)
    let process = shim_process_id()
    while true {
        let seen = shim_atomic_load(owner)
        if seen == process { return pool }
        // -process: another thread of this process is at it.
        if seen == -process {
            shim_pause()
        } else if shim_atomic_exchange(owner, seen, -process) != 0 {
            pool.initialize(
                to: Pool(
                    monitor: shim_monitor(), jobs: nil, workers: nil, workerCount: 0, watching: 0, sleeping: 0, openings: 0, isEnding: 0))
            shim_monitor_initialize(&pool.pointee.monitor)
            // A child inherits its parent's registration.
            if seen == 0 { shim_at_exit { endPool() } }
            shim_atomic_store(owner, process)
        }
    }
}

/// Runs `body` on up to `threads` threads, the caller's among them, and returns when all are done. Threads that cannot be started or
/// are busy are no failure: the others take their items.
func runThreads(_ threads: Int, _ body: ThreadBody, shared: UnsafeMutableRawPointer) {
    var own = ThreadContext(shared: shared, number: 0)
    guard threads > 1, let pool = thePool() else { return body(&own) }
    var job = Job(body: body, shared: shared, next: nil, nextNumber: 1, threads: threads)
    withUnsafeMutablePointer(to: &job) { job in
        publish(job, pool)
        body(&own)
        withdraw(job, pool)
    }
}

private func publish(_ job: UnsafeMutablePointer<Job>, _ pool: UnsafeMutablePointer<Pool>) {
    let wanted = job.pointee.threads - 1
    shim_monitor_lock(&pool.pointee.monitor)
    if pool.pointee.isEnding == 0 {
        // At the end of the list: first come, first served.
        var place = pool.pointee.jobs
        if place == nil { pool.pointee.jobs = job }
        while let other = place {
            if other.pointee.next == nil {
                other.pointee.next = job
                break
            }
            place = other.pointee.next
        }
        shim_atomic_store(&pool.pointee.openings, pool.pointee.openings + Int32(wanted))
        var missing = wanted - pool.pointee.watching
        for _ in 0..<max(0, min(missing, pool.pointee.sleeping)) { shim_monitor_wake_one(&pool.pointee.monitor) }
        missing -= pool.pointee.sleeping
        if missing > 0 {
            // Busy workers will come when they are free; so no more of them than one call asks for, or the machine has cores.
            let most = max(wanted, Int(shim_processor_count()) - 1)
            while missing > 0, pool.pointee.workerCount < most, startWorker(pool) { missing -= 1 }
        }
    } else {
        job.pointee.nextNumber = job.pointee.threads
    }
    shim_monitor_unlock(&pool.pointee.monitor)
}

private func withdraw(_ job: UnsafeMutablePointer<Job>, _ pool: UnsafeMutablePointer<Pool>) {
    shim_monitor_lock(&pool.pointee.monitor)
    if pool.pointee.jobs == job {
        pool.pointee.jobs = job.pointee.next
    } else {
        var place = pool.pointee.jobs
        while let other = place {
            if other.pointee.next == job { other.pointee.next = job.pointee.next }
            place = other.pointee.next
        }
    }
    shim_atomic_store(&pool.pointee.openings, pool.pointee.openings - Int32(job.pointee.threads - job.pointee.nextNumber))
    shim_monitor_unlock(&pool.pointee.monitor)

    for _ in 0..<looks {
        if shim_atomic_load(&job.pointee.active) == 0 { return }
        shim_pause()
    }
    shim_monitor_lock(&pool.pointee.monitor)
    while job.pointee.active != 0 {
        job.pointee.isAwaited = true
        shim_monitor_await_end(&pool.pointee.monitor)
    }
    shim_monitor_unlock(&pool.pointee.monitor)
}

private func startWorker(_ pool: UnsafeMutablePointer<Pool>) -> Bool {
    guard let memory = shim_allocate(MemoryLayout<Worker>.stride) else { return false }
    let worker = memory.bindMemory(to: Worker.self, capacity: 1)
    worker.initialize(to: Worker(thread: shim_thread(), next: pool.pointee.workers))
    if shim_thread_start(&worker.pointee.thread, { workerMain($0) }, pool) != 0 {
        shim_free(memory)
        return false
    }
    pool.pointee.workers = worker
    pool.pointee.workerCount += 1
    return true
}

private func workerMain(_ raw: UnsafeMutableRawPointer?) {
    guard let pool = raw?.assumingMemoryBound(to: Pool.self) else { return }
    shim_monitor_lock(&pool.pointee.monitor)
    while true {
        if let (job, number) = takeNumber(pool) {
            shim_monitor_unlock(&pool.pointee.monitor)
            var context = ThreadContext(shared: job.pointee.shared, number: number)
            job.pointee.body(&context)
            shim_monitor_lock(&pool.pointee.monitor)
            let left = job.pointee.active - 1
            let isAwaited = job.pointee.isAwaited
            shim_atomic_store(&job.pointee.active, left)
            if left == 0, isAwaited { shim_monitor_announce_end(&pool.pointee.monitor) }
        } else if pool.pointee.isEnding != 0 {
            break
        } else {
            pool.pointee.watching += 1
            shim_monitor_unlock(&pool.pointee.monitor)
            for _ in 0..<looks {
                if shim_atomic_load(&pool.pointee.openings) > 0 || shim_atomic_load(&pool.pointee.isEnding) != 0 { break }
                shim_pause()
            }
            shim_monitor_lock(&pool.pointee.monitor)
            pool.pointee.watching -= 1
            if pool.pointee.openings <= 0, pool.pointee.isEnding == 0 {
                pool.pointee.sleeping += 1
                shim_monitor_sleep(&pool.pointee.monitor)
                pool.pointee.sleeping -= 1
            }
        }
    }
    shim_monitor_unlock(&pool.pointee.monitor)
}

/// The oldest job with a free number, and that number.
private func takeNumber(_ pool: UnsafeMutablePointer<Pool>) -> (UnsafeMutablePointer<Job>, Int)? {
    var place = pool.pointee.jobs
    while let job = place {
        if job.pointee.nextNumber < job.pointee.threads {
            let number = job.pointee.nextNumber
            job.pointee.nextNumber += 1
            shim_atomic_store(&job.pointee.active, job.pointee.active + 1)
            shim_atomic_store(&pool.pointee.openings, pool.pointee.openings - 1)
            return (job, number)
        }
        place = job.pointee.next
    }
    return nil
}

/// At exit, and when the library is unloaded: no thread may be left in code that is going away. Calls of other threads that are still
/// under way, or come later, do without workers.
private func endPool() {
    // A forked child that has not used its pool has none yet, and nothing to end.
    guard let pool = thePool() else { return }
    shim_monitor_lock(&pool.pointee.monitor)
    shim_atomic_store(&pool.pointee.isEnding, 1)
    shim_monitor_wake_all(&pool.pointee.monitor)
    var place = pool.pointee.workers
    pool.pointee.workers = nil
    shim_monitor_unlock(&pool.pointee.monitor)
    while let worker = place {
        place = worker.pointee.next
        shim_thread_join(&worker.pointee.thread)
        shim_free(worker)
    }
}
