import type { Logger } from 'pino'
import { abortable } from '../flow/abortable.ts'
import { deferred } from '../flow/deferred.ts'
import { type Digest, digestAlgorithm, digestHex } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import type { Partial } from '../storage/partial.ts'
import { UpstreamError } from '../upstream/error.ts'
import { Download, type DownloadOptions } from './download.ts'
import type { FillCounts } from './fill-counts.ts'

export interface FillOptions
  extends Pick<DownloadOptions, 'upstream' | 'source' | 'size' | 'limit' | 'rate' | 'retries' | 'turnMs'> {
  readonly digest: Digest
  /** The upstream's and the repository's name. */
  readonly repository: string
  readonly store: BlobStore
  /** Of its upstream, added to as it goes. */
  readonly counts: FillCounts
  readonly logger: Logger
}

/**
 * One blob on its way in from an upstream. It belongs to nobody: readers come and go, and it runs on until the
 * bytes are sealed under their digest. Bytes that do not match are dropped and fetched once more; those who read
 * them meanwhile are told by a rejection, never by an end.
 */
export class Fill {
  readonly #options: FillOptions
  readonly #stopped = new AbortController()
  readonly #started = deferred<void>()
  readonly #done: Promise<void>
  #isFailing = false
  #partial: Partial | undefined
  /** The partial that readers follow; undefined where the blob turned out to be stored. */
  #opened = deferred<Partial | undefined>()

  private constructor(options: FillOptions) {
    this.#options = options
    this.#done = this.#run()
    this.#done.catch(() => {})
  }

  /** Starts to fetch at once. */
  static start(options: FillOptions): Fill {
    return new Fill(options)
  }

  /** Resolves when the blob is stored. Rejects when the fill failed for good, or was stopped. */
  get done(): Promise<void> {
    return this.#done
  }

  /** Bytes that it still has to bring, as far as its size is known. */
  get missingBytes(): number {
    return Math.max(0, (this.#options.size ?? 0) - (this.#partial?.present.total ?? 0))
  }

  /** Whether it has failed and is only tidying up: whoever comes now had better wait for `done` and start anew. */
  get isFailing(): boolean {
    return this.#isFailing
  }

  /**
   * Resolves when the first bytes are here, also those that an earlier attempt left; or when the blob is stored, since
   * one without bytes has no first one. Rejects as `done` does.
   */
  get started(): Promise<void> {
    return this.#started.promise
  }

  /**
   * A reader that follows the fill, to be closed by the caller; it comes as soon as the size is known. Rejects
   * when the fill fails before that, or `signal` aborts.
   */
  async reader(signal?: AbortSignal): Promise<BlobReader> {
    const partial = await abortable(this.#opened.promise, signal)
    const reader = partial?.reader()
    if (reader) return reader
    // It has ended by now, or the upstream never tells the size: then it is known when all bytes are here.
    await abortable(this.#done, signal)
    const stored = await this.#options.store.open(this.#options.digest)
    if (!stored) throw new RegistryError('BLOB_UNKNOWN', `${this.#options.digest} was removed just now`)
    return stored
  }

  /** Ends it; what was fetched stays for the next attempt. */
  async stop(reason: Error): Promise<void> {
    this.#stopped.abort(reason)
    await this.#done.catch(() => {})
  }

  async #run(): Promise<void> {
    const { digest, upstream, store, logger, counts } = this.#options
    counts.started += 1
    try {
      try {
        await this.#fetchAndSeal(this.#options.size ?? (await store.partialSize(partialId(digest))))
      } catch (error) {
        if (!isWrongBytes(error)) throw error
        logger.warn(
          { upstream, digest, reason: error.message },
          'upstream sent other bytes than expected: once more',
        )
        this.#opened = deferred()
        this.#isFailing = false
        await this.#fetchAndSeal(undefined)
      }
      counts.finished += 1
      this.#started.resolve()
    } catch (cause) {
      const message = 'it sent bytes twice that do not match their digest'
      const error = isWrongBytes(cause)
        ? new UpstreamError('INVALID_RESPONSE', upstream, message, { cause })
        : cause
      // An upstream's failure needs no stack: its message says it all.
      const told = error instanceof UpstreamError ? { reason: error.message } : { err: error }
      if (this.#stopped.signal.aborted) counts.stopped += 1
      else counts.failed += 1
      if (!this.#stopped.signal.aborted) logger.warn({ upstream, digest, ...told }, 'fetching a blob failed')
      this.#opened.reject(error)
      this.#started.reject(error)
      throw error
    }
  }

  /** `size` is what we expect; where the upstream says otherwise before a byte has come, it is asked to decide. */
  async #fetchAndSeal(size: number | undefined): Promise<void> {
    const { digest, store, counts } = this.#options
    if ((await store.size(digest)) !== undefined) {
      this.#opened.resolve(undefined)
      return
    }
    let partial: Partial | undefined
    const startedAt = performance.now()
    const download = new Download({
      ...this.#options,
      size,
      signal: this.#stopped.signal,
      onFirstByte: this.#started.resolve,
      open: async (known) => {
        const algorithm = digestAlgorithm(digest)
        partial = await store.openPartial({ id: partialId(digest), algorithm, size: known })
        this.#partial = partial
        this.#opened.resolve(partial)
        return partial
      },
    })
    try {
      const whole = await download.run()
      const bytes = whole.present.total
      await whole.seal(digest)
      this.#tell(download, bytes, performance.now() - startedAt)
    } catch (error) {
      this.#isFailing = true
      const reason = error instanceof Error ? error : new Error(String(error))
      // A disk that failed is not trusted with the bytes; what an upstream failed at goes on later.
      const isWorthKeeping = error instanceof UpstreamError && error.code !== 'INVALID_RESPONSE'
      if (this.#stopped.signal.aborted || isWorthKeeping) await partial?.suspend(reason)
      else await partial?.discard(reason)
      throw error
    } finally {
      counts.resumes += download.resumes
    }
  }

  /** `size` and what was kept of it in bytes. */
  #tell({ keptBytes, resumes }: Download, size: number, ms: number): void {
    const { logger, upstream, repository, digest } = this.#options
    const bytes = size - keptBytes
    const bytesPerSecond = Math.round(bytes / Math.max(ms / 1000, 0.001))
    const name = repository.slice(upstream.length + 1)
    const fields = { upstream, repository: name, digest, size, bytes, keptBytes, resumes, ms: Math.round(ms) }
    logger.info({ ...fields, bytesPerSecond }, 'fetched a blob')
  }
}

function isWrongBytes(error: unknown): error is RegistryError {
  return error instanceof RegistryError && (error.code === 'DIGEST_INVALID' || error.code === 'SIZE_INVALID')
}

/** The name of a blob's partial: the same for every process, so that the next one finds what this one left. */
export function partialId(digest: Digest): string {
  return `${digestAlgorithm(digest)}-${digestHex(digest)}`
}
