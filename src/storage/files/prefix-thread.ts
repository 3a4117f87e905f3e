import { availableParallelism } from 'node:os'
import { performance } from 'node:perf_hooks'
import { Worker } from 'node:worker_threads'
import type { Digest, DigestAlgorithm } from '../../oci/digest.ts'
import { StorageError } from '../error.ts'
import type { RunningHash } from '../running-hash.ts'

/** What the thread is told, of the hash `id`; all but `end` are answered, in their order. */
export type PrefixRequest = { readonly id: number } & (
  | { readonly kind: 'begin'; readonly algorithm: DigestAlgorithm }
  | { readonly kind: 'file'; readonly fd: number; readonly start: number; readonly end: number }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'copy'; readonly to: number }
  | { readonly kind: 'digest' }
  | { readonly kind: 'end' }
)

/** What it answers: of an error, what the file system said. */
export interface PrefixReply {
  /** Bytes of a file that were hashed. */
  readonly read?: number
  readonly digest?: Digest
  readonly error?: Pick<NodeJS.ErrnoException, 'message' | 'code' | 'errno' | 'syscall'>
}

export interface PrefixThreadOptions {
  /** Milliseconds without a hash after which the thread ends, with the memory that it took. */
  readonly idleMs?: number
  /** The share of the time from which on the thread that asks has too little left: 0 to 1. */
  readonly busyFrom?: number
  /** Bytes of a file from which on it is worth the thread. */
  readonly leastBytes?: number
}

/** Where a line is slow nobody waits for a hash, and another thread is memory for nothing. */
const defaults = { idleMs: 60_000, busyFrom: 0.5, leastBytes: 4 * 1024 * 1024 } as const
/** Bytes of a file of which too much would be hashed twice. */
const mostBytes = 16 * 1024 * 1024
/** Of its heap, in MiB: left to itself this part grows to several times what it needs. */
const threadLimits = { maxYoungGenerationSizeMb: 2 }

interface Asked {
  readonly resolve: (reply: PrefixReply) => void
  readonly reject: (error: Error) => void
}

/** The thread has ended: what it had hashed is gone with it. */
export class ThreadEnded extends StorageError {
  constructor() {
    super('BROKEN', 'the thread that hashes has ended')
  }
}

/** Hashes files that grow, all of them in one thread that is there while it is needed. Dispose to end it. */
export class PrefixThread implements AsyncDisposable {
  readonly #options: Required<PrefixThreadOptions>
  #running: RunningThread | undefined
  #idle: NodeJS.Timeout | undefined
  #looked = performance.eventLoopUtilization()

  constructor(options: PrefixThreadOptions = {}) {
    this.#options = { ...defaults, ...options }
  }

  /**
   * Whether a file is better hashed here, of which so many bytes were hashed by the thread that asks: whether that one has had
   * much to do since it last asked, and there is another processor.
   */
  isWorthIt(bytes: number): boolean {
    const { leastBytes, busyFrom } = this.#options
    if (bytes < leastBytes || bytes > mostBytes) return false
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, this.#looked)
    this.#looked = now
    return availableParallelism() > 1 && utilization >= busyFrom
  }

  /** A hash of nothing yet, to be disposed of by the caller. What it is asked throws `ThreadEnded` once the thread has ended. */
  begin(algorithm: DigestAlgorithm): ThreadHash {
    clearTimeout(this.#idle)
    if (this.#running?.hasEnded !== false) this.#running = new RunningThread(() => this.#rest())
    return this.#running.begin((id) => ({ id, kind: 'begin', algorithm }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#idle)
    await this.#running?.end()
  }

  #rest(): void {
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => void this.#running?.end(), this.#options.idleMs).unref()
  }
}

/** From its start to its end. */
class RunningThread {
  readonly #worker: Worker
  readonly #onIdle: () => void
  readonly #hashes = new Set<number>()
  /** What was not answered yet, in the order in which it will be. */
  readonly #asked: Asked[] = []
  #lastId = 0
  #hasEnded = false

  /** `onIdle` is called when there is no hash any more. */
  constructor(onIdle: () => void) {
    this.#onIdle = onIdle
    // It is a file beside this one, with this one's ending: .ts here, .js in the built package.
    const source = new URL(import.meta.url.replace(/prefix-thread(\.\w+)$/, 'prefix-hasher$1'))
    this.#worker = new Worker(source, { resourceLimits: threadLimits })
    this.#worker.unref()
    this.#worker.on('error', () => {})
    this.#worker.on('exit', () => this.#fail())
    this.#worker.on('message', (reply: PrefixReply) => this.#answered(reply))
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  begin(first: (id: number) => PrefixRequest): ThreadHash {
    this.#lastId += 1
    const id = this.#lastId
    this.#hashes.add(id)
    // Whoever asks it for anything is told.
    this.#ask(first(id)).catch(() => {})
    return new ThreadHash(id, {
      ask: (request) => this.#ask(request),
      copy: () => this.begin((to) => ({ id, kind: 'copy', to })),
      end: () => this.#drop(id),
    })
  }

  async end(): Promise<void> {
    this.#fail()
    await this.#worker.terminate()
  }

  async #ask(request: PrefixRequest): Promise<PrefixReply> {
    if (this.#hasEnded) throw new ThreadEnded()
    const { promise, resolve, reject } = Promise.withResolvers<PrefixReply>()
    this.#asked.push({ resolve, reject })
    this.#worker.ref()
    this.#worker.postMessage(request)
    return promise
  }

  #answered({ error, ...reply }: PrefixReply): void {
    const asked = this.#asked.shift()
    if (this.#asked.length === 0) this.#worker.unref()
    if (error) asked?.reject(Object.assign(new Error(error.message), error))
    else asked?.resolve(reply)
  }

  #drop(id: number): void {
    if (!this.#hashes.delete(id) || this.#hasEnded) return
    this.#worker.postMessage({ id, kind: 'end' } satisfies PrefixRequest)
    if (this.#hashes.size === 0) this.#onIdle()
  }

  #fail(): void {
    this.#hasEnded = true
    for (const { reject } of this.#asked.splice(0)) reject(new ThreadEnded())
  }
}

interface Thread {
  readonly ask: (request: PrefixRequest) => Promise<PrefixReply>
  readonly copy: () => ThreadHash
  readonly end: () => void
}

/** A hash in another thread, which can read a file by itself. */
export class ThreadHash implements RunningHash {
  readonly #id: number
  readonly #thread: Thread

  constructor(id: number, thread: Thread) {
    this.#id = id
    this.#thread = thread
  }

  /**
   * Goes on with the bytes from `start` to `end` of an open file, which has to stay open until this resolves: with how many it
   * did; 0 where the file is shorter. Throws the file system's error.
   */
  async read(fd: number, start: number, end: number): Promise<number> {
    const { read = 0 } = await this.#thread.ask({ id: this.#id, kind: 'file', fd, start, end })
    return read
  }

  async update(bytes: Uint8Array): Promise<void> {
    // What is sent to another thread is copied with all of the memory that it is a part of.
    await this.#thread.ask({ id: this.#id, kind: 'bytes', bytes: new Uint8Array(bytes) })
  }

  async digest(): Promise<Digest> {
    const { digest } = await this.#thread.ask({ id: this.#id, kind: 'digest' })
    if (digest === undefined) throw new TypeError('the thread that hashes gave no digest')
    return digest
  }

  copy(): ThreadHash {
    return this.#thread.copy()
  }

  [Symbol.dispose](): void {
    this.#thread.end()
  }
}
