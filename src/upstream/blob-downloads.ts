import { Slots } from '../flow/slots.ts'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import type { LineUse } from './connections/line-use.ts'
import { type BlobQuery, type FetchedBlob, fetchedBlob } from './fetched-blob.ts'
import type { Link } from './question.ts'

export interface BlobDownloadsOptions {
  /** The upstream's name, for errors. */
  readonly upstream: string
  readonly lineUse: LineUse
  /** Blobs that come at a time (`limits.downloads`). */
  readonly downloads: number
}

/** Milliseconds for which a line that has dropped is waited for: headers leave before the bytes are here. */
const patienceMs = 60_000

/** The bytes of blobs on their way from one upstream, so many blobs at a time. */
export class BlobDownloads {
  readonly #asAnyone: Link
  readonly #options: BlobDownloadsOptions
  readonly #slots: Slots
  #bytes = 0

  constructor(asAnyone: Link, options: BlobDownloadsOptions) {
    this.#asAnyone = asAnyone
    this.#options = options
    this.#slots = new Slots(options.downloads)
  }

  /** Bytes that came so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** GET of a part of a blob, tried once, when it is its turn. Throws UpstreamError, or the reason of the signal. */
  async open(repository: RepositoryName, digest: Digest, query: BlobQuery): Promise<FetchedBlob> {
    const { signal, pace, onPlace, since = performance.now() } = query
    const { upstream, lineUse } = this.#options
    const slot = await this.#slots.take(signal)
    try {
      onPlace?.()
      const answer = await this.#asAnyone.request({
        method: 'GET',
        repository,
        path: `blobs/${digest}`,
        headers: rangeOf(query),
        signal,
        pace,
        patience: { since, forMs: patienceMs },
      })
      return fetchedBlob(upstream, answer, slot, (bytes) => {
        this.#bytes += bytes
        lineUse.note(upstream)
      })
    } catch (error) {
      slot[Symbol.dispose]()
      throw error
    }
  }
}

function rangeOf({ position, end }: BlobQuery): Record<string, string> {
  if (position === 0 && end === undefined) return {}
  return { range: `bytes=${position}-${end === undefined ? '' : end - 1}` }
}
