import type { LimitFunction } from 'p-limit'
import { delay } from '../flow/abortable.ts'
import type { TokenBucket } from '../flow/token-bucket.ts'
import { RegistryError } from '../oci/error.ts'
import type { Partial } from '../storage/partial.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { BlobQuery, FetchedBlob } from '../upstream/fetched-blob.ts'

/** Opens the way to a blob's bytes from a position on, with a fresh redirect and token each time. */
export type BlobSource = (query: BlobQuery) => Promise<FetchedBlob>

export interface DownloadOptions {
  /** The upstream's name, for errors. */
  readonly upstream: string
  readonly source: BlobSource
  /** Bytes, where they are known before the upstream has answered. */
  readonly size: number | undefined
  /** Opens what an earlier attempt left, or a new partial, once the size is known or known to be unknown. */
  readonly open: (size: number | undefined) => Promise<Partial>
  /** Called at the first byte, also where an earlier attempt left it. */
  readonly onFirstByte: () => void
  /** Bounds the blobs that are fetched from the upstream at a time. */
  readonly limit: LimitFunction
  /** Bounds the bytes per second of all downloads together. */
  readonly rate: TokenBucket | undefined
  /** Attempts in a row without a new byte before it gives up. */
  readonly retries: number
  /** Milliseconds after which it lets another one that waits for the limiter have its turn. */
  readonly turnMs: number
  readonly signal: AbortSignal
}

/** Final before a byte has come; in the middle of a blob they are a passing fault. */
const finalAtFirst: ReadonlySet<string> = new Set([
  'NOT_FOUND',
  'UNAUTHORIZED',
  'FORBIDDEN',
  'CIRCUIT_OPEN',
  'RATE_LIMITED',
  'INVALID_RESPONSE',
])
const maximumWaitMs = 30_000
/** Bytes that count as progress: an upstream that breaks off sooner is not asked again at once. */
const worthwhileBytes = 16 * 1024
/** Bytes of a blob whose size nobody tells; an endless one must end somewhere. */
const maximumUnknownSize = 64 * 1024 ** 3

/**
 * Brings the missing bytes of one blob into its partial. A cut, a stall, an expired URL or a 5xx costs nothing
 * that was there: the next attempt asks for what is still missing. Many downloads share the limiter by turns
 * rather than queue without a byte, since clients give up after some minutes of silence.
 */
export class Download {
  readonly #options: DownloadOptions
  readonly #startedAt = performance.now()
  #partial: Partial | undefined
  #hasReceived = false
  #ignoresRange = false
  #keptBytes = 0
  #resumes = 0

  constructor(options: DownloadOptions) {
    this.#options = options
  }

  /**
   * Resolves with the partial when no byte is missing. Throws UpstreamError when it gives up, the file system's
   * error, or the reason of `signal`.
   */
  async run(): Promise<Partial> {
    const { limit, signal, size } = this.#options
    if (size !== undefined) await this.#open(size)
    for (let failures = 0; ; ) {
      const before = this.#present
      try {
        const partial = await limit(() => this.#turn())
        if (partial) return partial
        failures = 0
      } catch (error) {
        failures = this.#present - before >= worthwhileBytes ? 0 : failures + 1
        if (!this.#isWorthAnotherTry(error, failures)) throw error
        await delay(waitAfter(error, failures), signal)
      }
    }
  }

  /** Bytes that an earlier attempt had left. */
  get keptBytes(): number {
    return this.#keptBytes
  }

  /** Connections that went on in the middle of the blob. */
  get resumes(): number {
    return this.#resumes
  }

  /** Bytes that are there, whoever brought them. */
  get #present(): number {
    return this.#partial?.present.total ?? 0
  }

  /** Opens one connection and takes what it gives; the partial where nothing is missing afterwards. */
  async #turn(): Promise<Partial | undefined> {
    const gap = this.#partial && missing(this.#partial)
    if (this.#partial && !gap) return this.#partial
    const position = gap?.start ?? 0
    const fetched = await this.#ask(position)
    if (!fetched) return this.#partial
    let isRead = false
    try {
      const partial = this.#partial ?? (await this.#open(fetched.size))
      const isBehind = partial.present.presentUntil(position) > position
      // An earlier attempt left bytes that we could not know of before the size was told: ask for the rest only.
      if (isBehind) return undefined
      this.#check(fetched, position, partial)
      isRead = true
      return await this.#receive(fetched, partial, gap?.end ?? partial.size ?? maximumUnknownSize)
    } finally {
      if (!isRead) fetched.discard()
    }
  }

  /** Undefined where the upstream says that there is nothing behind `position`, and the size was never known. */
  async #ask(position: number): Promise<FetchedBlob | undefined> {
    const { source, rate, signal } = this.#options
    const pace = rate && ((bytes: number) => rate.take(bytes, signal))
    try {
      const fetched = await source({ position, since: this.#startedAt, signal, pace })
      if (fetched.start < position) this.#ignoresRange = true
      return fetched
    } catch (error) {
      const isAtEnd = error instanceof UpstreamError && error.status === 416
      if (isAtEnd && this.#partial && this.#partial.size === undefined) return undefined
      throw error
    }
  }

  async #receive(fetched: FetchedBlob, partial: Partial, end: number): Promise<Partial | undefined> {
    const startedAt = performance.now()
    let position = fetched.start
    if (position > 0) this.#resumes += 1
    let isTurnOver = false
    for await (const chunk of fetched.body()) {
      await partial.write(position, chunk.subarray(0, Math.max(0, end - position)))
      position += chunk.length
      if (!this.#hasReceived) this.#options.onFirstByte()
      this.#hasReceived = true
      if (position >= end) return missing(partial) ? undefined : partial
      if (isTurnOver || !this.#mustYield(startedAt)) continue
      isTurnOver = true
      // What has arrived is still taken.
      fetched.stop()
    }
    if (isTurnOver) return undefined
    if (partial.size === undefined || !missing(partial)) return partial
    if (this.#present === 0) {
      // A body that ends in good order and is empty was not cut: it is another content than was asked for.
      throw new RegistryError('SIZE_INVALID', `expected ${partial.size} bytes, it sent none`)
    }
    const message = `it ended a blob after ${position} of ${partial.size} bytes`
    throw new UpstreamError('UNREACHABLE', this.#options.upstream, message)
  }

  /** Where the upstream cannot go on in the middle, a turn that ends would start the blob again. */
  #mustYield(startedAt: number): boolean {
    const { limit, turnMs } = this.#options
    return !this.#ignoresRange && limit.pendingCount > 0 && performance.now() - startedAt > turnMs
  }

  async #open(size: number | undefined): Promise<Partial> {
    this.#partial = await this.#options.open(size)
    this.#keptBytes = this.#present
    if (this.#keptBytes > 0) this.#options.onFirstByte()
    return this.#partial
  }

  /** Content-Range and the size are claims; where they contradict what is known, nothing of the body is used. */
  #check(fetched: FetchedBlob, position: number, partial: Partial): void {
    const isOtherSize =
      fetched.size !== undefined && partial.size !== undefined && fetched.size !== partial.size
    if (isOtherSize && this.#present === 0) {
      // The size we went by may be the lie: of a manifest, or of a portal's page a while ago.
      throw new RegistryError('SIZE_INVALID', `expected ${partial.size} bytes, it has ${fetched.size}`)
    }
    if (isOtherSize) {
      const message = `it has ${fetched.size} bytes under a digest whose content has ${partial.size}`
      throw new UpstreamError('INVALID_RESPONSE', this.#options.upstream, message)
    }
    if (fetched.start > position) {
      const message = `it sent bytes from ${fetched.start} on when asked for those from ${position} on`
      throw new UpstreamError('INVALID_RESPONSE', this.#options.upstream, message)
    }
  }

  #isWorthAnotherTry(error: unknown, failures: number): boolean {
    const { signal, retries } = this.#options
    if (signal.aborted || !(error instanceof UpstreamError) || error.code === 'REFUSED') return false
    if (failures > retries) return false
    return this.#hasReceived || !finalAtFirst.has(error.code)
  }
}

function missing(partial: Partial): { start: number; end: number } | undefined {
  return partial.present.firstGap(partial.size ?? maximumUnknownSize)
}

/** Milliseconds: nothing after progress, then doubling, or what the upstream asks for within reason. */
function waitAfter(error: unknown, failures: number): number {
  const asked = error instanceof UpstreamError ? (error.retryAfterSeconds ?? 0) * 1000 : 0
  const backoff = failures === 0 ? 0 : 250 * 2 ** (failures - 1)
  return Math.min(Math.max(asked, backoff), maximumWaitMs)
}
