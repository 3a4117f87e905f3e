import { Worker } from 'node:worker_threads'
import pLimit from 'p-limit'
import { type DocumentKind, type DocumentReaders, documentReaders } from './document-readers.ts'
import { RegistryError, type RegistryErrorCode, type StatusOf } from './error.ts'

export interface DocumentReaderOptions {
  /** Milliseconds without a large document after which the thread ends, with the memory that it took. */
  readonly idleMs?: number
}

/** What the thread is sent. */
export interface ThreadRequest {
  readonly kind: DocumentKind
  /** The bytes first. */
  readonly parameters: readonly unknown[]
}

/** What it answers; of an error only its words cross from one thread to the other. */
export type ThreadReply =
  | { readonly result: unknown }
  | {
      readonly refusal: {
        readonly code: RegistryErrorCode
        readonly message: string
        readonly status: StatusOf<RegistryErrorCode>
      }
    }

/** Bytes that take a few milliseconds; larger documents take up to two hundred, in which nobody else is served. */
const smallBytes = 128 * 1024
const defaultIdleMs = 10_000
/**
 * Of its heap, in MiB. Left to itself the part for what is new grows to several times what a document takes. Half a GiB
 * is more than the worst one of 4 MiB takes, that is made of empty objects.
 */
const threadLimits = { maxYoungGenerationSizeMb: 8, maxOldGenerationSizeMb: 512 }

/**
 * Reads manifests and lists: small ones at once, large ones in a worker thread, one at a time, so that they hold up
 * nobody. The thread is there while it is needed.
 */
export class DocumentReader implements AsyncDisposable {
  readonly #idleMs: number
  /** The next one is handed over when the last one was read: what waits is held once. */
  readonly #turns = pLimit(1)
  #isClosed = false
  #worker: Worker | undefined
  #idle: NodeJS.Timeout | undefined

  constructor({ idleMs = defaultIdleMs }: DocumentReaderOptions = {}) {
    this.#idleMs = idleMs
  }

  /** What the reader of this kind makes of the document. Throws RegistryError as it does. */
  async read<Kind extends DocumentKind>(
    kind: Kind,
    ...parameters: Parameters<DocumentReaders[Kind]>
  ): Promise<ReturnType<DocumentReaders[Kind]>> {
    type Result = ReturnType<DocumentReaders[Kind]>
    const [bytes] = parameters
    if (bytes.length <= smallBytes) {
      const read = documentReaders[kind] as (...parameters: readonly unknown[]) => Result
      return read(...parameters)
    }
    const reply = await this.#turns(() => this.#ask({ kind, parameters }))
    if ('result' in reply) return reply.result as Result
    const { code, message, status } = reply.refusal
    throw new RegistryError(code, message, { status })
  }

  /** What is being read is given up. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    await this.#end()
  }

  async #ask(request: ThreadRequest): Promise<ThreadReply> {
    if (this.#isClosed) throw new Error('documents are read no more: the mirror is stopping')
    clearTimeout(this.#idle)
    this.#worker ??= this.#start()
    const worker = this.#worker
    const answered = Promise.withResolvers<ThreadReply>()
    const onExit = (): void => answered.reject(new Error('the thread that reads documents has ended'))
    worker.once('message', answered.resolve).once('error', answered.reject).once('exit', onExit)
    worker.ref()
    worker.postMessage(request)
    try {
      return await answered.promise
    } finally {
      worker.off('message', answered.resolve).off('error', answered.reject).off('exit', onExit)
      worker.unref()
      this.#idle = setTimeout(() => void this.#end(), this.#idleMs).unref()
    }
  }

  #start(): Worker {
    // It is a file beside this one, with this one's ending: .ts here, .js in the built package.
    const source = new URL(import.meta.url.replace(/document-reader(\.\w+)$/, 'document-reader-thread$1'))
    const worker = new Worker(source, { resourceLimits: threadLimits })
    // One that has failed, for want of memory perhaps, fails the document that it was at; the next one gets another.
    const onEnd = (): void => {
      if (this.#worker === worker) this.#worker = undefined
    }
    worker.on('error', onEnd).on('exit', onEnd)
    return worker
  }

  async #end(): Promise<void> {
    clearTimeout(this.#idle)
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
  }
}
