import { abortable } from '../flow/abortable.ts'
import { UpstreamError } from './error.ts'

/** How a part of a blob can be asked for. */
export interface StorageWays<Part> {
  /** At the registry, which may send us on; `learn` is to be called with where the bytes are, as soon as that is known. */
  readonly registry: (learn: (url: URL) => void) => Promise<Part>
  readonly storage: (url: URL) => Promise<Part>
}

interface Known {
  readonly url: URL
  /** Milliseconds of `performance.now()`. */
  readonly until: number
}

/** Milliseconds for which an address is good that does not tell; those of registries are, for ten minutes at least. */
const longestMs = 10 * 60_000
/** Milliseconds before the end of what it tells: a request is on its way for a while. */
const marginMs = 30_000
/** Times that storage refuses one part, each time by another address. */
const maximumRefusals = 2

/**
 * Where the bytes of one blob lie, by the redirect that its registry gave to the first who asked: the other connections that
 * bring parts of it go straight there. The registry is asked by one of them at a time. The address is signed, so that it is as
 * good as a password: it is held here alone, and goes with the source of the blob.
 */
export class StorageAddress {
  #known: Known | undefined
  /** It serves blobs itself: there is nothing to wait for. */
  #isAtRegistry = false
  #asking: PromiseWithResolvers<void> | undefined

  /**
   * A part of the blob, from the storage where that is known, else from the registry, which is asked at most once. Throws what
   * the ways throw, and what another connection was told by the registry while this one waited for it; or the signal's reason.
   */
  async open<Part>(ways: StorageWays<Part>, signal: AbortSignal): Promise<Part> {
    for (let refusals = 0; ; ) {
      const known = this.#current
      if (known) {
        try {
          return await ways.storage(known.url)
        } catch (error) {
          if (!isSaidOfAddress(error)) throw error
          if (this.#known === known) this.#known = undefined
          refusals += 1
          if (error.status === undefined || refusals === maximumRefusals) throw error
        }
      } else if (this.#asking && !this.#isAtRegistry) {
        await abortable(this.#asking.promise, signal)
      } else {
        return await this.#ask(ways.registry)
      }
    }
  }

  /** What came from there was wrong: the next part is asked for at the registry, which may send us elsewhere. */
  forget(): void {
    this.#known = undefined
  }

  get #current(): Known | undefined {
    if (this.#known && performance.now() >= this.#known.until) this.#known = undefined
    return this.#known
  }

  async #ask<Part>(registry: StorageWays<Part>['registry']): Promise<Part> {
    const asking = Promise.withResolvers<void>()
    // There may be nobody who waits for it.
    asking.promise.catch(() => {})
    this.#asking = asking
    let isSentOn = false
    try {
      const part = await registry((url) => {
        isSentOn = true
        this.#known = { url, until: performance.now() + lifetimeMs(url) }
        asking.resolve()
      })
      this.#isAtRegistry = !isSentOn
      return part
    } catch (error) {
      // Others may have another signal.
      if (error instanceof UpstreamError) asking.reject(error)
      if (isSentOn && isSaidOfAddress(error)) this.#known = undefined
      throw error
    } finally {
      asking.resolve()
      if (this.#asking === asking) this.#asking = undefined
    }
  }
}

/** Whether it is about the address: another one may do. Too many requests, or no such part, it would say by any. */
function isSaidOfAddress(error: unknown): error is UpstreamError {
  if (!(error instanceof UpstreamError)) return false
  return error.status === undefined ? error.isOutage : error.status !== 416 && error.status !== 429
}

/** How long a signed address is good for, as far as it tells: none of these need a clock here that is right. */
function lifetimeMs({ searchParams }: URL): number {
  const seconds = searchParams.get('X-Amz-Expires') ?? searchParams.get('X-Goog-Expires') ?? ''
  const told = /^\d{1,9}$/.test(seconds) ? Number(seconds) * 1000 : untilEnd(searchParams)
  return Math.min(longestMs, Math.max(0, told - marginMs))
}

/** By the moment at which it ends: that of CloudFront and Google in seconds, that of Azure as a date. */
function untilEnd(parameters: URLSearchParams): number {
  const seconds = parameters.get('Expires') ?? ''
  const date = parameters.get('se') ?? ''
  const end = /^\d{1,12}(?:\.\d+)?$/.test(seconds) ? Number(seconds) * 1000 : Date.parse(date)
  // An address that nobody could ever have used tells that the clock here is wrong.
  return end > Date.now() ? end - Date.now() : Number.POSITIVE_INFINITY
}
