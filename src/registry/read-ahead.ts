import type { Blobs } from '../content/blobs.ts'
import { bestEffort } from '../flow/best-effort.ts'
import { lruCache } from '../flow/lru-cache.ts'
import type { Evidence } from '../mirror/evidence.ts'
import type { KeptManifests } from '../mirror/kept-manifests.ts'
import type { MirroredManifest } from '../mirror/manifests.ts'
import type { UpstreamRepository } from '../mirror/upstream-repository.ts'
import type { Digest } from '../oci/digest.ts'
import type { DocumentReader } from '../oci/document-reader.ts'
import type { ParsedManifest } from '../oci/manifest.ts'
import type { Catalog, ManifestRecord } from '../storage/catalog.ts'
import type { AheadCounts } from './ahead-counts.ts'
import { AheadFetches, type AheadFetchesOptions } from './ahead-fetches.ts'
import { AheadWave } from './ahead-wave.ts'
import { type ListedManifest, platformOf, SeenPlatforms } from './seen-platforms.ts'

export interface ReadAheadOptions extends AheadFetchesOptions {
  readonly catalog: Pick<Catalog, 'naming'>
  readonly blobs: AheadFetchesOptions['blobs'] & Pick<Blobs, 'disk' | 'space'>
  readonly documents: Pick<DocumentReader, 'read'>
  readonly kept: Pick<KeptManifests, 'get'>
  readonly evidence: Pick<Evidence, 'refusedSince'>
  /** Milliseconds without anybody who comes, after which what has not begun is dropped. */
  readonly patienceMs?: number | undefined
}

/** A client that is served a manifest. */
interface Served {
  readonly client: string
  readonly isHead: boolean
}

const defaultPatienceMs = 60_000
/** Manifests of the network's platforms for a client of which nothing is known, where they are free, and where each is a pull. */
const [guesses, guessesOfQuota] = [2, 1]
/** Times in a row for nothing, after which a client is one that reads manifests alone. */
const maximumVain = 3
/** Manifests, and milliseconds in which whoever asked by HEAD comes for one. */
const [maximumUnread, unreadMs] = [1000, 60_000]
/** Clients, and manifests of theirs. */
const maximumRemembered = 10_000
/** Indexes that are looked at for the platform of one manifest. */
const maximumIndexes = 4

/**
 * Fetches what a client will surely ask for as soon as it has asked for the manifest that names it, by the same ways and
 * with the same rights as for a client, and after all that somebody waits for. None of it is on the way of an answer.
 * Dispose to stop.
 */
export class ReadAhead implements AsyncDisposable {
  readonly #options: ReadAheadOptions
  readonly #fetches: AheadFetches
  readonly #platforms = new SeenPlatforms()
  readonly #waves = new Set<AheadWave>()
  readonly #running = new Set<Promise<void>>()
  /** Manifests that came before any client asked for them by GET: for a HEAD, or ahead. */
  readonly #unread = lruCache<string, true>(maximumUnread, { ttl: unreadMs })
  /** Manifests by which each client was looked at. */
  readonly #recognised = lruCache<string, true>(maximumRemembered)
  readonly #vain = lruCache<string, number>(maximumRemembered)
  #isStopped = false

  constructor(options: ReadAheadOptions) {
    this.#options = options
    this.#fetches = new AheadFetches(options)
  }

  /** What came of it so far, by the name of the upstream. */
  get counts(): ReadonlyMap<string, AheadCounts> {
    return this.#fetches.counts
  }

  /** For which machine a client last asked for something; undefined where that is not known. */
  platformOf(client: string): string | undefined {
    return this.#platforms.of(client)
  }

  /** The manifests of an index that somebody in this network can use, and those of one more platform. */
  forNetwork(manifests: readonly ListedManifest[], platform: string | undefined): ListedManifest[] {
    return this.#platforms.ofNetwork(manifests, platform)
  }

  /** A client gets this manifest. One that asks by HEAD alone watches a tag, and pulls nothing. */
  served(repository: UpstreamRepository, manifest: MirroredManifest, { client, isHead }: Served): void {
    if (this.#isStopped) return
    const { digest, status, bytes } = manifest
    const own = `${repository.key} ${digest}`
    const isNew = status === 'miss' || status === 'joined'
    if (isHead) {
      // Docker and containerd ask by HEAD, for which it is fetched, and then by GET.
      if (isNew && bytes.length > 0) this.#unread.set(own, true)
      return
    }
    this.#fetches.came(digest)
    const isPull = this.#options.largestBytes > 0 && (isNew || this.#unread.has(own))
    this.#unread.delete(own)
    const isRecognised = this.#recognised.has(`${client} ${own}`)
    if (!isPull && isRecognised) return
    this.#recognised.set(`${client} ${own}`, true)
    // The answer leaves first.
    setImmediate(() => {
      this.#run(async () => {
        if (!isRecognised) await this.#recognise(repository, digest, client)
        if (isPull) await this.#fetch(repository, manifest, client)
      })
    })
  }

  /** A client asks for this blob: whether it is the first one, for whom it was fetched. */
  asked(digest: Digest, client: string): boolean {
    this.#vain.delete(client)
    return this.#fetches.came(digest)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true
    for (const wave of this.#waves) wave[Symbol.dispose]()
    await Promise.all(this.#running)
  }

  #run(work: () => Promise<void>): void {
    if (this.#isStopped) return
    const running = bestEffort(work(), (err) => {
      if (!this.#isStopped) this.#options.logger.debug({ err }, 'nothing is fetched ahead')
    }).finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  /** For which machine a manifest is, the indexes say that list it. */
  async #recognise({ key }: UpstreamRepository, digest: Digest, client: string): Promise<void> {
    const { catalog, kept } = this.#options
    const page = { after: undefined, limit: maximumIndexes }
    for (const { manifest } of await catalog.naming(key, digest, 'manifest', page)) {
      const index = await kept.get(key, manifest)
      const listed = index && (await this.#read(index)).manifests.find((child) => child.digest === digest)
      const platform = listed && platformOf(listed)
      if (platform !== undefined) return this.#platforms.asked(client, platform)
    }
  }

  async #fetch(repository: UpstreamRepository, manifest: ManifestRecord, client: string): Promise<void> {
    const isReader = (this.#vain.get(client) ?? 0) >= maximumVain
    if (isReader || !(await this.#mayFetch(repository))) return
    const { manifests, blobs } = await this.#read(manifest)
    if (this.#isStopped) return
    if (manifests.length > 0) await this.#fetchManifests(repository, manifests, client)
    else await this.#fetches.blobs(repository, blobs, this.#waveOf(client))
  }

  async #mayFetch(repository: UpstreamRepository): Promise<boolean> {
    const { blobs, evidence } = this.#options
    if (!repository.upstream.isReachable || !blobs.disk.isWell) return false
    // Of a repository that refuses everybody clients get what is here; nothing is asked beside that.
    if ((await evidence.refusedSince(repository)) !== undefined) return false
    return !(await blobs.space.isFull())
  }

  async #fetchManifests(
    repository: UpstreamRepository,
    listed: readonly ListedManifest[],
    client: string,
  ): Promise<void> {
    const { upstream, key } = repository
    if (upstream.isQuotaScarce) return
    const most = upstream.rateLimit === undefined ? guesses : guessesOfQuota
    const likely = this.#platforms
      .likely(client, listed, most)
      .filter((child) => this.#fetches.isSmall(child))
    const wave = this.#waveOf(client)
    const fetching = likely.map(async (child) => {
      const manifest = await this.#fetches.manifest(repository, child, wave)
      if (!manifest) return
      // Of several platforms the client will ask for one.
      if (likely.length > 1) this.#unread.set(`${key} ${child.digest}`, true)
      else await this.#fetches.blobs(repository, (await this.#read(manifest)).blobs, wave)
    })
    await Promise.all(fetching)
  }

  #read({ bytes, mediaType }: ManifestRecord): Promise<ParsedManifest> {
    return this.#options.documents.read('manifest', bytes, mediaType)
  }

  #waveOf(client: string): AheadWave {
    const { patienceMs = defaultPatienceMs } = this.#options
    const wave: AheadWave = new AheadWave({
      client,
      patienceMs,
      onOver: (isVain) => {
        this.#waves.delete(wave)
        if (!isVain) return
        this.#vain.set(client, (this.#vain.get(client) ?? 0) + 1)
        this.#options.logger.debug({ client }, 'nobody came for what was fetched ahead')
      },
    })
    this.#waves.add(wave)
    return wave
  }
}
