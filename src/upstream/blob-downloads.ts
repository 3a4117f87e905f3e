import type { Logger } from 'pino'
import { Slots, type Turn } from '../flow/slots.ts'
import type { Uplink } from '../flow/uplink.ts'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import type { LineUse } from './connections/line-use.ts'
import type { EarlyConnections } from './early-connections.ts'
import { type BlobQuery, type FetchedBlob, fetchedBlob } from './fetched-blob.ts'
import type { Answer, Link, Question } from './question.ts'
import { StorageAddress } from './storage-address.ts'

export interface BlobDownloadsOptions {
  /** The upstream's name, for errors. */
  readonly upstream: string
  readonly lineUse: LineUse
  /** Asks where the registry has sent us for a blob before; what it answers counts as given to anyone, as that was. */
  readonly atStorage: (question: Question, url: URL) => Promise<Answer>
  /** The line that it shares with other upstreams. */
  readonly uplink: Uplink
  /** Hears where blobs lie. */
  readonly early: Pick<EarlyConnections, 'storageFound'>
  /** Blobs that come at a time (`limits.downloads`). */
  readonly downloads: number
  /** Connections that bring bytes of blobs at a time (`limits.connections`). */
  readonly connections: number
  /** Milliseconds for which one has its place while others wait: CRI gives up after 5 min without a byte. */
  readonly turnMs?: number | undefined
  readonly logger: Logger
}

const defaultTurnMs = 15_000
/** Of what belongs to no fill. */
const nobodysTurn: Turn = {
  clients: [],
  background: 'ahead',
  receivingSince: undefined,
  bytes: 0,
  restingMs: 0,
  end: () => false,
}
/** Bytes of a part from which on there are more parts to come. */
const longBytes = 256 * 1024
/** Further connections that a long blob is likely to need. */
const furtherOfLong = 7
/** Milliseconds for which a line that has dropped is waited for: headers leave before the bytes are here. */
const patienceMs = 60_000

/** The bytes of blobs on their way from one upstream: so many blobs at a time, over so many connections in all. */
export class BlobDownloads {
  readonly #asAnyone: Link
  readonly #options: BlobDownloadsOptions
  readonly #blobs: Slots
  readonly #connections: Slots
  #bytes = 0
  /** Parts that are wanted, and for which it is not known yet where they are. */
  readonly #sought = new Set<BlobQuery>()

  constructor(asAnyone: Link, options: BlobDownloadsOptions) {
    this.#asAnyone = asAnyone
    this.#options = options
    const { downloads, connections, uplink, turnMs = defaultTurnMs } = options
    this.#blobs = new Slots({ places: downloads, turnMs, uplink })
    this.#connections = new Slots({ places: connections, turnMs, uplink })
  }

  /** Bytes that came so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** A blob's turn among those that come at a time, to be given back once. Rejects with the reason of `signal`. */
  turn(turn: Turn, signal: AbortSignal): Promise<Disposable> {
    return this.#blobs.take(turn, signal)
  }

  /** GET of a part of a blob, tried once, when there is a connection for it. Throws UpstreamError, or the reason of the signal. */
  async open(repository: RepositoryName, digest: Digest, query: BlobQuery): Promise<FetchedBlob> {
    const { signal, onPlace, turn = nobodysTurn } = query
    const { upstream, lineUse, logger } = this.#options
    let slot: Disposable | undefined
    this.#sought.add(query)
    try {
      slot = await this.#connections.take(turn, signal)
      onPlace?.()
      // Each turn would begin with bytes that are not due: what is read first has crossed the line before it is paid for.
      await query.pace?.(0)
      const answer = await this.#ask(repository, digest, query)
      let received = 0
      return fetchedBlob(upstream, answer, slot, {
        onBytes: (bytes) => {
          received += bytes
          this.#bytes += bytes
          lineUse.note(upstream)
        },
        onEnd: () => {
          const { position, end } = query
          logger.debug(
            { upstream, repository, digest, position, end, bytes: received },
            'a connection has brought a part of a blob',
          )
        },
      })
    } catch (error) {
      slot?.[Symbol.dispose]()
      throw error
    } finally {
      this.#sought.delete(query)
    }
  }

  #ask(repository: RepositoryName, digest: Digest, query: BlobQuery): Promise<Answer> {
    const { signal, pace, since = performance.now(), address = new StorageAddress() } = query
    const { atStorage, early } = this.#options
    const question: Question = {
      method: 'GET',
      repository,
      path: `blobs/${digest}`,
      headers: rangeOf(query),
      signal,
      pace,
      isLent: true,
      patience: { since, forMs: patienceMs },
    }
    const registry = (learn: (url: URL) => void): Promise<Answer> => {
      const onStorage = (url: URL): void => {
        learn(url)
        const others = this.#sought.delete(query) ? this.#sought.size : 0
        early.storageFound(url, 1 + (isOfLong(query) ? furtherOfLong : others))
      }
      return this.#asAnyone.request({ ...question, onStorage })
    }
    return address.open({ registry, storage: (url) => atStorage(question, url) }, signal)
  }
}

/** Whether it is a part of a blob that is worth several connections. */
function isOfLong({ position, end }: BlobQuery): boolean {
  return end !== undefined && end - position >= longBytes
}

function rangeOf({ position, end }: BlobQuery): Record<string, string> {
  if (position === 0 && end === undefined) return {}
  return { range: `bytes=${position}-${end === undefined ? '' : end - 1}` }
}
