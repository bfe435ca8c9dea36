import CConvolutionShims

// One pool of worker threads for the whole library. It starts empty, grows to what calls ask for, sleeps when there is nothing to
// do, begins anew in a forked child (which inherits none of its parent's threads), and ends with the process or when the library
// is unloaded.
//
// A caller never waits for a worker to wake: it publishes a job, works through the job's items itself, and at the end waits for
// those workers alone that did take items. A worker that comes late finds nothing left, or the job gone.
//
// Layers of 10 microseconds are divided too, so what a call costs is counted in cache lines that move from core to core, some 50
// nanoseconds each: a watching worker's word, the lock with the list of jobs, and the job move to the worker; the job's end moves
// back.

/// A body that works through items until none is left. It is called once per thread with a `ThreadContext`.
typealias ThreadBody = @convention(c) (UnsafeMutableRawPointer?) -> Void

/// What one thread of a parallel run is given: the shared context, its own number, 0 for the caller, and where it fetches items.
struct ThreadContext {
    var shared: UnsafeMutableRawPointer
    var number: Int
    fileprivate var items: UnsafeMutablePointer<Items>

    /// An item that no other thread has; nil if none is left. Threads with even numbers take them from the front, those with odd
    /// numbers from the back: in call after call two threads then have the same half, and what they have read and written is in
    /// their caches.
    @inline(__always)
    func nextItem() -> Int? {
        if !items.pointee.areShared {
            let next = items.pointee.fromFront
            items.pointee.fromFront &+= 1
            return next < Int64(items.pointee.count) ? Int(next) : nil
        }
        // No more are let in than there are items, so the two ends never meet.
        if shim_atomic_next(&items.pointee.taken) >= Int64(items.pointee.count) { return nil }
        return number & 1 == 0
            ? Int(shim_atomic_next(&items.pointee.fromFront))
            : items.pointee.count - 1 - Int(shim_atomic_next(&items.pointee.fromBack))
    }
}

/// The items of a parallel run.
private struct Items {
    var count: Int
    var areShared: Bool
    var taken: Int64 = 0
    var fromFront: Int64 = 0
    var fromBack: Int64 = 0
}

/// Multiply-adds, in full vectors of 64 bytes, that a thread which watches for work is worth calling for: 1.6 microseconds. It
/// costs half a microsecond at least.
private let workPerThread = 200_000.0
/// And those that one which sleeps is worth waking for: 100 microseconds. It comes after 50, and wakes at the expense of who
/// calls it.
private let workToWake = 12_800_000.0

/// How many threads `work` multiply-adds that come in `items` pieces are worth.
func mostThreadsToUse(items: Int, work: Double) -> Int {
    max(1, min(items, work < 1024 * workPerThread ? Int(work / workPerThread) : 1024))
}

/// Threads of a call that asks for `requested` (0: one per core).
func threadsAvailable(requested: Int) -> Int { requested == 0 ? Int(shim_processor_count()) : requested }

/// How many of them `work` multiply-adds are worth. For one thread the system is not asked.
func threadsToUse(requested: Int, items: Int, work: Double) -> Int {
    let most = mostThreadsToUse(items: items, work: work)
    return most == 1 ? 1 : min(most, threadsAvailable(requested: requested))
}

/// A parallel run that workers may join. It lives on its caller's stack: no worker touches it after `active` has become 0 and it
/// is out of the pool's list. All fields are read and written under the pool's lock; but the caller watches `active` and `isFull`
/// without it.
private struct Job {
    var body: ThreadBody
    var shared: UnsafeMutableRawPointer
    var items: UnsafeMutablePointer<Items>
    var next: UnsafeMutablePointer<Job>?
    /// Numbers from here up to `threads` are free to be taken.
    var nextNumber: Int
    var threads: Int
    /// It is long enough for threads to be woken or started.
    var mayWake: Bool
    /// The caller sleeps until `active` is 0.
    var isAwaited = false
    /// Workers at work on it.
    var active: Int32 = 0
    /// No number is free any more, and the job is out of the list.
    var isFull: Int32 = 0
}

/// A worker's handle, for the end.
private struct Worker {
    var thread: shim_thread
    var next: UnsafeMutablePointer<Worker>?
}

/// What idle workers watch, on a cache line of its own: written under the lock.
private struct Bell {
    /// Numbers that workers may take, over all jobs.
    var openings: Int32 = 0
    var isEnding: Int32 = 0
}

/// Read and written under the monitor's lock, which on Linux fits into one cache line with what stands before it.
private struct Pool {
    var jobs: UnsafeMutablePointer<Job>?
    /// Idle workers that watch the bell, that sleep, and that have been started or woken but not come yet.
    var watching: Int32
    var sleeping: Int32
    var coming: Int32
    var workerCount: Int32
    var monitor: shim_monitor
    var workers: UnsafeMutablePointer<Worker>?
    var bell: UnsafeMutablePointer<Bell>
    /// When a short job last found too few workers awake.
    var lastMissed: Int64 = 0
}

/// Nanoseconds that a caller watches for the last worker's end, and an idle worker at least for a job, before it sleeps. Calls
/// that follow each other closer than that find the workers awake; waking them takes some 20 microseconds, 4 of the caller's.
/// After `politely` nanoseconds a watching thread lets others that wait for its core go first.
private let watchTime: Int64 = 150_000
private let politely: Int64 = 30_000

/// A worker that was idle for less than this watches for twice as long from then on, and a bit shorter after each call. So it is
/// awake too where there is other work between calls, and soon sleeps where calls are rare. Depthwise 3x3 on 576 channels of
/// 14x14, with 400 microseconds between calls: 33 -> 13 microseconds, one thread 28.
private let longestPause: Int64 = 1_000_000

/// How long it took (as of the last look at the clock: who has waited is in a hurry); nil if it has not happened within the time.
@inline(__always)
private func watch(for time: Int64, since start: Int64, _ hasHappened: () -> Bool) -> Int64? {
    var waited: Int64 = 0
    while true {
        for _ in 0..<32 {
            if hasHappened() { return waited }
            shim_pause()
        }
        waited = shim_nanoseconds() - start
        if waited > time { return nil }
        if waited > politely { shim_yield() }
    }
}

/// The pool of this process: reset when the process is another than the one that used it last.
@inline(never)
private func thePool() -> UnsafeMutablePointer<Pool>? {
    guard let storage = shim_pool_storage() else { return nil }
    let owner = storage.assumingMemoryBound(to: Int32.self)
    let bell = (storage + 64).assumingMemoryBound(to: Bell.self)
    let pool = (storage + 128).assumingMemoryBound(to: Pool.self)
    let process = shim_process_id()
    while true {
        let seen = shim_atomic_load(owner)
        if seen == process { return pool }
        // -process: another thread of this process is at it.
        if seen == -process {
            shim_pause()
        } else if shim_atomic_exchange(owner, seen, -process) != 0 {
            bell.initialize(to: Bell())
            pool.initialize(
                to: Pool(
                    jobs: nil, watching: 0, sleeping: 0, coming: 0, workerCount: 0, monitor: shim_monitor(), workers: nil,
                    bell: bell))
            shim_monitor_initialize(&pool.pointee.monitor)
            // A child inherits its parent's registration.
            if seen == 0 { shim_at_exit { endPool() } }
            shim_atomic_store(owner, process)
        }
    }
}

/// Runs `body` on up to `threads` threads, the caller's among them, and returns when all are done. Threads that cannot be started
/// or are busy are no failure: the others take their items. For little `work`, in multiply-adds, threads that sleep are woken
/// only where calls follow each other closely.
@inline(never)
func runThreads(_ threads: Int, items: Int, work: Double, _ body: ThreadBody, shared: UnsafeMutableRawPointer) {
    var items = Items(count: items, areShared: threads > 1)
    withUnsafeMutablePointer(to: &items) { items in
        var own = ThreadContext(shared: shared, number: 0, items: items)
        guard threads > 1, let pool = thePool() else { return body(&own) }
        var job = Job(
            body: body, shared: shared, items: items, next: nil, nextNumber: 1, threads: threads, mayWake: work >= workToWake)
        withUnsafeMutablePointer(to: &job) { job in
            publish(job, pool)
            body(&own)
            withdraw(job, pool)
        }
    }
}

private func publish(_ job: UnsafeMutablePointer<Job>, _ pool: UnsafeMutablePointer<Pool>) {
    let wanted = Int32(job.pointee.threads - 1)
    var woken: Int32 = 0
    shim_monitor_lock(&pool.pointee.monitor)
    if pool.pointee.bell.pointee.isEnding == 0 {
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
        shim_atomic_store(&pool.pointee.bell.pointee.openings, pool.pointee.bell.pointee.openings + wanted)
        var missing = wanted - pool.pointee.watching - pool.pointee.coming
        if missing > 0, !job.pointee.mayWake {
            let now = shim_nanoseconds()
            if now - pool.pointee.lastMissed > longestPause { missing = 0 }
            pool.pointee.lastMissed = now
        }
        woken = max(0, min(missing, pool.pointee.sleeping))
        pool.pointee.sleeping -= woken
        pool.pointee.coming += woken
        missing -= woken
        if missing > 0 {
            // Busy workers will come when they are free; so no more of them than one call asks for, or the machine has cores.
            let most = max(wanted, shim_processor_count() - 1)
            while missing > 0, pool.pointee.workerCount < most, startWorker(pool) { missing -= 1 }
        }
    } else {
        job.pointee.isFull = 1
    }
    shim_monitor_unlock(&pool.pointee.monitor)
    for _ in 0..<woken { shim_monitor_wake_one(&pool.pointee.monitor) }
}

private func withdraw(_ job: UnsafeMutablePointer<Job>, _ pool: UnsafeMutablePointer<Pool>) {
    if shim_atomic_load(&job.pointee.isFull) == 0 {
        shim_monitor_lock(&pool.pointee.monitor)
        if job.pointee.isFull == 0 {
            remove(job, pool)
            let left = Int32(job.pointee.threads - job.pointee.nextNumber)
            shim_atomic_store(&pool.pointee.bell.pointee.openings, pool.pointee.bell.pointee.openings - left)
        }
        shim_monitor_unlock(&pool.pointee.monitor)
    }
    if watch(for: watchTime, since: shim_nanoseconds(), { shim_atomic_load(&job.pointee.active) == 0 }) != nil { return }
    shim_monitor_lock(&pool.pointee.monitor)
    while job.pointee.active != 0 {
        job.pointee.isAwaited = true
        shim_monitor_await_end(&pool.pointee.monitor)
    }
    shim_monitor_unlock(&pool.pointee.monitor)
}

private func remove(_ job: UnsafeMutablePointer<Job>, _ pool: UnsafeMutablePointer<Pool>) {
    if pool.pointee.jobs == job {
        pool.pointee.jobs = job.pointee.next
        return
    }
    var place = pool.pointee.jobs
    while let other = place {
        if other.pointee.next == job { other.pointee.next = job.pointee.next }
        place = other.pointee.next
    }
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
    pool.pointee.coming += 1
    return true
}

private func workerMain(_ raw: UnsafeMutableRawPointer?) {
    guard let pool = raw?.assumingMemoryBound(to: Pool.self) else { return }
    let bell = pool.pointee.bell
    var patience = watchTime
    shim_monitor_lock(&pool.pointee.monitor)
    pool.pointee.coming -= 1
    while true {
        if let (job, number) = takeNumber(pool) {
            let body = job.pointee.body
            var context = ThreadContext(shared: job.pointee.shared, number: number, items: job.pointee.items)
            shim_monitor_unlock(&pool.pointee.monitor)
            body(&context)
            shim_monitor_lock(&pool.pointee.monitor)
            let left = job.pointee.active - 1
            let isAwaited = job.pointee.isAwaited
            shim_atomic_store(&job.pointee.active, left)
            if left == 0, isAwaited { shim_monitor_announce_end(&pool.pointee.monitor) }
        } else if bell.pointee.isEnding != 0 {
            break
        } else {
            pool.pointee.watching += 1
            shim_monitor_unlock(&pool.pointee.monitor)
            let start = shim_nanoseconds()
            var pause = watch(for: patience, since: start) {
                shim_atomic_load(&bell.pointee.openings) > 0 || shim_atomic_load(&bell.pointee.isEnding) != 0
            }
            shim_monitor_lock(&pool.pointee.monitor)
            pool.pointee.watching -= 1
            if pause == nil, bell.pointee.openings <= 0, bell.pointee.isEnding == 0 {
                pool.pointee.sleeping += 1
                // Who wakes a worker counts it as one that comes, at once: until it has come, nobody need wake it again.
                repeat { shim_monitor_sleep(&pool.pointee.monitor) } while pool.pointee.coming == 0 && bell.pointee.isEnding == 0
                if bell.pointee.isEnding == 0 { pool.pointee.coming -= 1 }
                pause = shim_nanoseconds() - start
            }
            patience = max(watchTime, patience - patience / 8)
            if let pause, pause < longestPause { patience = max(patience, 2 * pause) }
        }
    }
    shim_monitor_unlock(&pool.pointee.monitor)
}

/// The oldest job with a free number, and that number.
private func takeNumber(_ pool: UnsafeMutablePointer<Pool>) -> (UnsafeMutablePointer<Job>, Int)? {
    // Jobs in the list have one.
    guard let job = pool.pointee.jobs else { return nil }
    let number = job.pointee.nextNumber
    job.pointee.nextNumber += 1
    shim_atomic_store(&job.pointee.active, job.pointee.active + 1)
    shim_atomic_store(&pool.pointee.bell.pointee.openings, pool.pointee.bell.pointee.openings - 1)
    if number + 1 == job.pointee.threads {
        pool.pointee.jobs = job.pointee.next
        shim_atomic_store(&job.pointee.isFull, 1)
    }
    return (job, number)
}

/// At exit, and when the library is unloaded: no thread may be left in code that is going away. Calls of other threads that are
/// still under way, or come later, do without workers.
private func endPool() {
    // A forked child that has not used its pool has none yet, and nothing to end.
    guard let pool = thePool() else { return }
    shim_monitor_lock(&pool.pointee.monitor)
    shim_atomic_store(&pool.pointee.bell.pointee.isEnding, 1)
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
