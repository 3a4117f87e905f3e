import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import pLimit from 'p-limit'
import { abortable } from '../../flow/abortable.ts'
import type { DigestAlgorithm } from '../../oci/digest.ts'
import type { CheckedBlob } from '../blob-store.ts'

/** What the thread is sent. */
export interface HashRequest {
  readonly path: string
  readonly algorithm: DigestAlgorithm
  readonly isGentle: boolean
  /** Through the page cache, and not behind everything else. */
  readonly isServed?: boolean
}

/** What it answers: of an error, what the file system said. */
export type HashReply =
  | CheckedBlob
  | { readonly error: Pick<NodeJS.ErrnoException, 'message' | 'code' | 'errno' | 'syscall'> }

export interface HashingThreadOptions {
  /** Milliseconds without a file after which the thread ends, with the memory that it took. */
  readonly idleMs?: number
}

const defaultIdleMs = 10_000
/** Of its heap, in MiB: left to itself this part grows to several times what it needs. */
const threadLimits = { maxYoungGenerationSizeMb: 2 }

/** Hashes files, one at a time, in a thread of their own that is there while it is needed. Dispose to end it. */
export class HashingThread implements AsyncDisposable {
  readonly #idleMs: number
  /** A disk that reads two files at once reads both slowly. */
  readonly #turns = pLimit(1)
  readonly #stopped = new AbortController()
  #worker: Worker | undefined
  #idle: NodeJS.Timeout | undefined

  constructor({ idleMs = defaultIdleMs }: HashingThreadOptions = {}) {
    this.#idleMs = idleMs
  }

  /** Whether it hashes nothing, and nothing waits. */
  get isIdle(): boolean {
    return this.#turns.activeCount + this.#turns.pendingCount === 0
  }

  /** Throws the file system's own error; rejects when `signal` aborts, and when it is disposed of. */
  async hash(request: HashRequest, signal?: AbortSignal): Promise<CheckedBlob> {
    const stopped = this.#stopped.signal
    const ending = signal ? AbortSignal.any([signal, stopped]) : stopped
    return this.#turns(async () => {
      ending.throwIfAborted()
      const reply = await this.#ask(request, ending)
      if ('actual' in reply) return reply
      throw Object.assign(new Error(reply.error.message), reply.error)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort(new Error('files are hashed no more: the store is closed'))
    await this.#turns(() => this.#end())
  }

  async #ask(request: HashRequest, signal: AbortSignal): Promise<HashReply> {
    clearTimeout(this.#idle)
    this.#worker ??= this.#start(request.isServed === true)
    const worker = this.#worker
    const answered = new AbortController()
    const { signal: over } = answered
    try {
      worker.ref()
      worker.postMessage(request)
      const reply = once(worker, 'message', { signal: over }).then(([reply]) => reply as HashReply)
      const end = once(worker, 'exit', { signal: over }).then(() => {
        throw new Error('the thread that hashes files has ended')
      })
      return await abortable(Promise.race([reply, end]), signal)
    } catch (error) {
      // Whatever it is at is of no use to anybody; the next file gets another one.
      await this.#end()
      throw error
    } finally {
      answered.abort()
      worker.unref()
      this.#idle = setTimeout(() => void this.#end(), this.#idleMs).unref()
    }
  }

  #start(isAwaited: boolean): Worker {
    // It is a file beside this one, with this one's ending: .ts here, .js in the built package.
    const source = new URL(import.meta.url.replace(/hashing-thread(\.\w+)$/, 'file-hasher$1'))
    const worker = new Worker(source, { resourceLimits: threadLimits, workerData: { isAwaited } })
    worker.on('error', () => {})
    return worker
  }

  async #end(): Promise<void> {
    clearTimeout(this.#idle)
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
  }
}
