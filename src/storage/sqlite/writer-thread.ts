import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { CatalogVerbs } from '../catalog.ts'
import { StorageError, type StorageErrorCode } from '../error.ts'
import type { Reserve, SharedReserve } from '../reserve.ts'
import { nothingStored, type Usage } from '../stored-bytes.ts'
import type { FoundJournal } from './pushed/open-both.ts'

/** What belongs to a catalog and is not in its file. */
export interface CatalogBeside {
  /** Given up for deletes where the disk is full. */
  readonly reserve?: Reserve | undefined
  /** Where what was pushed is kept once more, and who is told of it. */
  readonly pushed?:
    | {
        readonly path: string
        /** At the start, and where a damaged catalog was set aside. */
        readonly onFound?: ((found: FoundJournal) => void) | undefined
        /** It cannot be written, and why; undefined: it can be again. */
        readonly onTrouble?: ((why: string | undefined) => void) | undefined
      }
    | undefined
}

/** What the worker starts with. */
export interface WriterData {
  /** Of a catalog with the newest schema. */
  readonly path: string
  /** Of a damaged one, which the new one at `path` is filled from. */
  readonly damagedPath?: string | undefined
  /** Of the journal of what was pushed. */
  readonly pushedPath?: string | undefined
  /** Room for deletes on a full disk. */
  readonly reserve?: SharedReserve | undefined
}

/** What the main thread sends: a verb, or undefined to end the worker. */
export type WriterRequest =
  | { readonly id: number; readonly verb: keyof CatalogVerbs; readonly parameters: readonly unknown[] }
  | undefined

/** What it gets back for each verb, after the commit. */
export type WriterReply =
  | { readonly id: number; readonly result: unknown }
  | {
      readonly id: number
      /** Without a code it is the caller's mistake. */
      readonly error: { readonly code: StorageErrorCode | undefined; readonly message: string }
    }

/** All that it gets back. */
export type WriterMessage =
  | WriterReply
  /** How much is stored: first of all, with what was found of the journal of what was pushed, and when it has changed. */
  | { readonly usage: Usage; readonly found?: FoundJournal | undefined }
  /** Why that journal cannot be written; undefined where it can be again. */
  | { readonly trouble: string | undefined }
  /** Somebody else has written another catalog into the file. */
  | { readonly overwritten: true }

/** Of its heap, in MiB: what it is sent lives for one commit. Left to itself this part grows to several times that. */
const maxYoungGenerationSizeMb = 8

/** The other end of `catalog-writer.ts`. */
export class WriterThread implements AsyncDisposable {
  readonly #worker: Worker
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  #nextId = 0
  #usage: Usage = nothingStored
  #failure: Error | undefined
  #isOverwritten = false

  private constructor(worker: Worker, beside: CatalogBeside) {
    this.#worker = worker
    worker.on('message', (message: WriterMessage) => this.#hear(message, beside))
    worker.on('error', (error) => this.#failAll(error))
    worker.on('exit', () => this.#failAll(new StorageError('BROKEN', "the catalog's writer has ended")))
  }

  /** Resolves when the worker has opened its file. */
  static async start(
    data: Omit<WriterData, 'reserve' | 'pushedPath'>,
    beside: CatalogBeside,
  ): Promise<WriterThread> {
    // The worker is a file beside this one, with this one's ending: .ts here, .js in the built package.
    const source = new URL(import.meta.url.replace(/writer-thread(\.\w+)$/, 'catalog-writer$1'))
    const workerData: WriterData = {
      ...data,
      reserve: beside.reserve?.shared,
      pushedPath: beside.pushed?.path,
    }
    const worker = new Worker(source, { workerData, resourceLimits: { maxYoungGenerationSizeMb } })
    const thread = new WriterThread(worker, beside)
    // It tells once that it has opened the file; where it cannot, `once` rejects with its error.
    await once(worker, 'message')
    return thread
  }

  /** Whether somebody else has written another catalog into the file; known for sure once this one has ended. */
  get isOverwritten(): boolean {
    return this.#isOverwritten
  }

  /** How much is stored, with all that has resolved. */
  get usage(): Usage {
    return this.#usage
  }

  /** Resolves once it is synced. Throws StorageError; TypeError for a value that no column takes. */
  async run(verb: keyof CatalogVerbs, parameters: readonly unknown[]): Promise<unknown> {
    if (this.#failure) throw this.#failure
    const id = this.#nextId++
    const done = Promise.withResolvers<unknown>()
    this.#waiting.set(id, done)
    this.#worker.postMessage({ id, verb, parameters } satisfies WriterRequest)
    return done.promise
  }

  /** Nothing that it still does counts: whoever waits, and whoever comes, gets this error. */
  abandon(error: StorageError): void {
    this.#failAll(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Once it has exited no event will come.
    if (this.#worker.threadId === -1) return
    const ended = once(this.#worker, 'exit')
    this.#worker.postMessage(undefined)
    await ended
  }

  #hear(message: WriterMessage, { pushed }: CatalogBeside): void {
    if ('usage' in message) {
      this.#usage = message.usage
      if (message.found?.replayed || message.found?.keptAs) pushed?.onFound?.(message.found)
    } else if ('overwritten' in message) this.#isOverwritten = true
    else if ('trouble' in message) pushed?.onTrouble?.(message.trouble)
    else this.#settle(message)
  }

  #settle(reply: WriterReply): void {
    const done = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if ('result' in reply) done?.resolve(reply.result)
    else done?.reject(errorOf(reply.error))
  }

  #failAll(error: Error): void {
    this.#failure ??= error
    for (const done of this.#waiting.values()) done.reject(error)
    this.#waiting.clear()
  }
}

function errorOf({ code, message }: { code: StorageErrorCode | undefined; message: string }): Error {
  const sentence = `the catalog could not be written: ${message}`
  return code ? new StorageError(code, sentence) : new TypeError(sentence)
}
