import type { Logger } from 'pino'
import type { Blobs } from '../content/blobs.ts'
import { abortable } from '../flow/abortable.ts'
import { bestEffort } from '../flow/best-effort.ts'
import { lruCache } from '../flow/lru-cache.ts'
import { Places } from '../flow/places.ts'
import type { Answers } from '../mirror/answers.ts'
import type { BlobQuestions } from '../mirror/blob-questions.ts'
import type { Manifests, MirroredManifest } from '../mirror/manifests.ts'
import type { UpstreamRepository } from '../mirror/upstream-repository.ts'
import type { Digest } from '../oci/digest.ts'
import type { ParsedManifest } from '../oci/manifest.ts'
import { isNondistributable } from '../oci/media-type.ts'
import { AheadCounter, type AheadCounts, type AheadItem } from './ahead-counts.ts'
import type { AheadWave } from './ahead-wave.ts'
import { BlobSource } from './blob-source.ts'
import type { Rights } from './rights.ts'

export interface AheadFetchesOptions {
  readonly blobs: Pick<Blobs, 'fetchAhead'>
  readonly manifests: Pick<Manifests, 'get'>
  readonly rights: Pick<Rights, 'gives'>
  readonly answers: Pick<Answers, 'throwRefusal'>
  readonly blobQuestions: Pick<BlobQuestions, 'failed' | 'sent'>
  /** Bytes of the largest that is fetched ahead (`cache.readAhead`); 0: nothing is. */
  readonly largestBytes: number
  readonly logger: Logger
}

interface Item extends AheadItem {
  readonly wave: AheadWave
  /** Whether a client has asked for it. */
  hasCome: boolean
  /** Whether its bytes came over the line because of this. */
  isFetched: boolean
}

type Descriptor = ParsedManifest['blobs'][number]

/** Blobs of one manifest, and of one client's manifests together; blobs and manifests of all. */
const [maximumPerManifest, maximumPerClient, maximumItems] = [64, 128, 512]
/** Large blobs of a manifest of which the first part is fetched, as many as clients ask for at a time, and its bytes. */
const [maximumLarge, firstPartBytes] = [3, 512 * 1024]
/** Milliseconds of a round trip from which on that saves time: their storage is found, and connected to. */
const longWayMs = 50
/** Blobs at a time: over a long delay it is the waiting that takes the time, not the bytes. */
const atOnce = 8
const maximumFetched = 10_000

/** What is fetched ahead, each once, and whether somebody came for it. */
export class AheadFetches {
  readonly #options: AheadFetchesOptions
  readonly #counter = new AheadCounter()
  readonly #places = new Places(atOnce)
  /** What is on its way, or waits for its place. */
  readonly #items = new Map<Digest, Item>()
  readonly #fetched = lruCache<Digest, Item>(maximumFetched)

  constructor(options: AheadFetchesOptions) {
    this.#options = options
  }

  /** What came of it so far, by the name of the upstream. */
  get counts(): ReadonlyMap<string, AheadCounts> {
    return this.#counter.byUpstream
  }

  /** Whether something of this size is fetched ahead; bytes, as a descriptor claims. */
  isSmall({ size }: Pick<Descriptor, 'size'>): boolean {
    return size !== undefined && size > 0 && size <= this.#options.largestBytes
  }

  /** A client asks for this: whether it is the first one, for whom it was fetched. */
  came(digest: Digest): boolean {
    const item = this.#items.get(digest) ?? this.#fetched.get(digest)
    if (!item) return false
    item.wave.came()
    const isFirst = !item.hasCome
    if (item.isFetched && isFirst) this.#counter.count('wanted', item)
    item.hasCome = true
    return isFirst
  }

  /** Fetches a manifest that an index lists; undefined where it was here, or is not to be had. */
  async manifest(
    repository: UpstreamRepository,
    { digest, size = 0 }: Descriptor,
    wave: AheadWave,
  ): Promise<MirroredManifest | undefined> {
    const { manifests, rights } = this.#options
    let manifest: MirroredManifest | undefined
    await this.#fetch(repository, digest, { kind: 'manifests', size, wave }, async (item) => {
      const isGiven = (await rights.gives(repository.key, digest)) !== undefined
      const asked = { isGiven, background: 'ahead', signal: wave.signal } as const
      const given = await manifests.get(repository, digest, asked)
      if (given.status === 'miss') this.#isHere(digest, item)
      if (given.status !== 'hit') manifest = given
    })
    return manifest
  }

  /**
   * Fetches the small ones among the blobs of a manifest, in their order: clients ask in that as well. Over a long way, the
   * first part of the first large ones, too.
   */
  async blobs(repository: UpstreamRepository, named: readonly Descriptor[], wave: AheadWave): Promise<void> {
    if (this.#options.largestBytes === 0) return
    const wanted = named.filter(({ size = 0, mediaType }) => size > 0 && !isNondistributable(mediaType))
    const isLong = (repository.upstream.roundTripMs() ?? 0) >= longWayMs
    const large = isLong ? wanted.filter((blob) => !this.isSmall(blob)).slice(0, maximumLarge) : []
    const chosen = wanted.filter((blob) => this.isSmall(blob) || large.includes(blob))
    await Promise.all(chosen.slice(0, maximumPerManifest).map((blob) => this.#blob(repository, blob, wave)))
  }

  #blob(repository: UpstreamRepository, { digest, size = 0 }: Descriptor, wave: AheadWave): Promise<void> {
    const { blobs, answers, blobQuestions } = this.#options
    const isPart = size > this.#options.largestBytes
    const firstPart = isPart ? { start: 0, end: Math.min(size, firstPartBytes) } : undefined
    const fetched = firstPart?.end ?? size
    return this.#fetch(repository, digest, { kind: 'blobs', size: fetched, wave }, async (item) => {
      using _place = await this.#places.take(wave.signal)
      // Whoever asks for it himself fetches it.
      if (item.hasCome) return
      await answers.throwRefusal(repository.key, digest)
      const source = new BlobSource(
        repository,
        digest,
        (error) => blobQuestions.failed(repository, digest, error),
        // It has it, and says so to anyone: who comes for it need not ask again.
        () => void bestEffort(blobQuestions.sent(repository, digest), () => {}),
      )
      const asked = { size, background: 'ahead', firstPart, signal: wave.signal } as const
      // What somebody came for goes on without this.
      const outcome = await abortable(blobs.fetchAhead(digest, source, asked), wave.signal)
      if (source.hasAnswered && outcome !== 'failed') this.#isHere(digest, item)
    })
  }

  /** Does `work` unless the same is on its way, or too much is. Never rejects: nobody waits for it. */
  async #fetch(
    { upstream, name }: UpstreamRepository,
    digest: Digest,
    what: Pick<Item, 'kind' | 'size' | 'wave'>,
    work: (item: Item) => Promise<void>,
  ): Promise<void> {
    const { wave } = what
    if (this.#items.has(digest) || this.#isTooMuch(wave.client) || wave.signal.aborted) return
    const item: Item = { ...what, upstream: upstream.name, hasCome: false, isFetched: false }
    this.#items.set(digest, item)
    wave.begun()
    await bestEffort(work(item), (err) => {
      const about = { upstream: upstream.name, repository: name, digest, err }
      if (!wave.signal.aborted) this.#options.logger.debug(about, 'fetching ahead failed')
    })
    this.#items.delete(digest)
  }

  #isTooMuch(client: string): boolean {
    if (this.#items.size >= maximumItems) return true
    let own = 0
    for (const { wave } of this.#items.values()) if (wave.client === client) own += 1
    return own >= maximumPerClient
  }

  #isHere(digest: Digest, item: Item): void {
    item.isFetched = true
    this.#fetched.set(digest, item)
    this.#counter.count('fetched', item)
    if (item.hasCome) this.#counter.count('wanted', item)
  }
}
