import type { Logger } from 'pino'
import { bestEffort } from '../flow/best-effort.ts'
import { ClientSlots, type TakeOptions } from '../flow/client-slots.ts'
import type { TokenBucket } from '../flow/token-bucket.ts'
import type { Digest } from '../oci/digest.ts'
import { tooManyRequests } from '../oci/error.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import type { Partial as PartialFile } from '../storage/partial.ts'
import type { DiskState } from './disk-state.ts'
import { defaultFetchLimits, type FetchLimits } from './fetch-limits.ts'
import { Fill } from './fill.ts'
import { FillCounter, type FillCounts } from './fill-counts.ts'
import { type FillOptions, partialIds } from './fill-options.ts'
import type { FetchAheadOptions } from './opened-blob.ts'
import { Origins } from './origins.ts'
import { Ramp } from './ramp.ts'
import type { Source } from './source.ts'
import type { Space } from './space.ts'
import { Suspects } from './suspects.ts'
import { Windows } from './windows.ts'

export interface RunningFillsOptions {
  readonly store: BlobStore
  readonly rate: TokenBucket | undefined
  /** See `FillOptions`. */
  readonly retries: number
  /** Milliseconds without a byte after which a way is left for another one. */
  readonly slowMs?: number
  /** Connections to one upstream at a time, for all blobs together (`limits.connections`). */
  readonly connections?: number
  /** See `FetchLimits`; what is not given is as usual. */
  readonly fetching?: Partial<FetchLimits>
  /** See `FillOptions`. */
  readonly finishFrom?: number
  /** Fills that one client may have begun and that have not ended (`limits.perClient.fills`). */
  readonly clientFills?: number
  /** Fills that go on although nobody waits for them. */
  readonly abandonedFills?: number
  /** Milliseconds for which one more than that of a client waits. */
  readonly patienceMs: number
  readonly logger: Logger
}

/** What the door to bytes does for all of them. */
interface FillParts {
  readonly space: Space
  readonly disk: DiskState
  /** Whether there is a file that is not known to be damaged. Throws StorageError. */
  readonly isStored: (digest: Digest) => Promise<boolean>
  /** Publishes a verified partial, unless the blob is stored by now. */
  readonly publish: (digest: Digest, partial: PartialFile) => Promise<void>
}

const defaultSlowMs = 3000
const defaultConnections = 8
/** What a few machines that pull several images at a time leave behind. */
const defaultAbandonedFills = 64
const unbounded: Disposable = { [Symbol.dispose]: () => {} }

/** All fills that have not ended, and how many of them there may be. */
export class RunningFills {
  readonly #options: RunningFillsOptions & FillParts
  readonly #counter = new FillCounter()
  readonly #clients: ClientSlots
  readonly #running = new Map<Fill, Disposable>()
  /** Those that whoever comes may follow. */
  readonly #byDigest = new Map<Digest, Fill>()
  readonly #suspects = new Suspects()
  /** By the name of the upstream. */
  readonly #ramps = new Map<string, Ramp>()
  readonly #windows = new Windows()
  readonly #origins = new Origins()

  constructor(options: RunningFillsOptions & FillParts) {
    const { clientFills: perClient = Number.POSITIVE_INFINITY, patienceMs } = options
    this.#options = options
    this.#clients = new ClientSlots({ perClient, patienceMs })
  }

  get count(): number {
    return this.#running.size
  }

  /** What became of them so far, by the name of the upstream. */
  get byUpstream(): ReadonlyMap<string, FillCounts> {
    return this.#counter.byUpstream
  }

  /** Blobs so far that the disk did not take. */
  get handedThrough(): number {
    return this.#windows.count
  }

  /** The latest one of a digest. */
  of(digest: Digest): Fill | undefined {
    return this.#byDigest.get(digest)
  }

  /** Clients that had to wait before one more was begun for them, and those among them for whom none was. */
  get counts(): { readonly waited: number; readonly refused: number } {
    return this.#clients.counts
  }

  /** A place for a fill that is begun for a client, or for the mirror itself; undefined where it has to be waited for. */
  tryPlace(client: string | undefined): Disposable | undefined {
    return client === undefined ? unbounded : this.#clients.tryTake(client)
  }

  /**
   * Waits until another fill of the client ends: one that hears 429 tries again at once (containerd), or goes elsewhere
   * (Docker). Throws RegistryError TOOMANYREQUESTS after some seconds, or the signal's reason.
   */
  async placeOf(client: string | undefined, options: TakeOptions): Promise<Disposable> {
    const place = client === undefined ? unbounded : await this.#clients.take(client, options)
    if (place) return place
    const message =
      'as many downloads that this address has begun are under way as may be at a time (limits.perClient.fills): try again when some have ended; where many machines share the address, raise that in mirror.yml'
    throw tooManyRequests(message)
  }

  /**
   * Begins one, by `source`; `claim`: bytes, as a descriptor claims. It has `place` until it ends, if that is given.
   * `background`: see `FillOptions`.
   */
  start(
    digest: Digest,
    source: Source,
    {
      claim,
      place = unbounded,
      background,
      firstPart,
    }: { claim: number | undefined; place?: Disposable } & Pick<FillOptions, 'background' | 'firstPart'>,
  ): Fill {
    const { space, isStored, publish, slowMs = defaultSlowMs, finishFrom = 0, fetching } = this.#options
    const counts = this.#counter.of(source.name)
    counts.started += 1
    const room = space.reserve('fill', () => fill.presentBytes, partialIds(digest))
    const fill: Fill = Fill.start(
      {
        ...this.#options,
        slowMs,
        finishFrom,
        limits: { ...defaultFetchLimits, ...fetching },
        rampOf: (upstream) => this.#rampOf(upstream),
        digest,
        background,
        firstPart,
        suspects: this.#suspects,
        windows: this.#windows,
        origins: this.#origins,
        counts,
        room,
        isStored: () => isStored(digest),
        publish: (partial) => publish(digest, partial),
        onAbandoned: () => this.#boundAbandoned(),
        onEnd: (how) => {
          counts[how] += 1
          this.#ended(digest, fill)
          void this.#giveBack(digest, room, how === 'finished')
        },
      },
      source,
      claim,
    )
    this.#running.set(fill, place)
    this.#byDigest.set(digest, fill)
    if (background !== undefined) this.#boundAbandoned()
    return fill
  }

  /** See `Blobs.fetchAhead`. */
  async fetchAhead(
    digest: Digest,
    source: Source,
    { size: claim, background, firstPart, signal }: FetchAheadOptions,
  ): Promise<'stored' | 'joined' | 'dropped' | 'failed'> {
    if (signal?.aborted) return 'dropped'
    if (this.of(digest)) return 'joined'
    const fill = this.start(digest, source, { claim, background, firstPart })
    const drop = (): void => fill.drop(new Error('nobody has come for it'))
    signal?.addEventListener('abort', drop, { once: true })
    await fill.ended
    signal?.removeEventListener('abort', drop)
    if (fill.isStored) return 'stored'
    return fill.isDropped ? 'dropped' : 'failed'
  }

  /** Ends all of them; what was fetched is kept. */
  async stop(reason: Error): Promise<void> {
    await Promise.all([...this.#running.keys()].map((fill) => fill.stop(reason)))
  }

  #rampOf(upstream: string): Ramp {
    const { connections = defaultConnections } = this.#options
    const ramp = this.#ramps.get(upstream) ?? new Ramp({ maximum: connections })
    this.#ramps.set(upstream, ramp)
    return ramp
  }

  #ended(digest: Digest, fill: Fill): void {
    this.#running.get(fill)?.[Symbol.dispose]()
    this.#running.delete(fill)
    if (this.#byDigest.get(digest) === fill) this.#byDigest.delete(digest)
  }

  /** What is stored counts as that by now; what was left in a partial has to count as that before. */
  async #giveBack(digest: Digest, room: Disposable, isStored: boolean): Promise<void> {
    const { resting } = this.#options.space
    if (isStored) room[Symbol.dispose]()
    const looking = partialIds(digest).map((id) => resting.look(id))
    await bestEffort(Promise.all(looking), () => {})
    room[Symbol.dispose]()
  }

  /** Somebody has left one. What was left longest ago ends where that is one too many; what came of it is kept. */
  #boundAbandoned(): void {
    const { abandonedFills = defaultAbandonedFills } = this.#options
    const abandoned = [...this.#running.keys()].flatMap((fill) => {
      const since = fill.abandonedSince
      return since === undefined ? [] : [{ fill, since }]
    })
    if (abandoned.length <= abandonedFills) return
    const oldest = abandoned.reduce((one, other) => (other.since < one.since ? other : one))
    void oldest.fill.stop(
      new Error('too much else is fetched that nobody waits for: what came of it is kept'),
    )
  }
}
