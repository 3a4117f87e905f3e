import type { Logger } from 'pino'
import { delay } from '../flow/abortable.ts'
import { bestEffort } from '../flow/best-effort.ts'
import { IntervalJob } from '../flow/interval-job.ts'
import { lruCache } from '../flow/lru-cache.ts'
import { tellSeldom } from '../flow/seldom.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import type { Catalog } from '../storage/catalog.ts'
import { nameOf, originOf, type RepositoryKey } from '../storage/repository-key.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { Repository } from './repository.ts'

export interface HealingOptions {
  readonly catalog: Pick<Catalog, 'holders' | 'namers' | 'localHolders'>
  /** `stat`: of what is not known to be damaged. */
  readonly store: Pick<BlobStore, 'quarantine' | 'stat'>
  /** Pushed blobs whose files are not there; those that are back are taken out. */
  readonly lost: Set<Digest>
  /** A repository of an upstream as anybody pulls from it; undefined where that upstream is not configured any more. */
  readonly mirrored: (repository: RepositoryKey) => Pick<Repository, 'blob'> | undefined
  /** Stores again what is quarantined of a blob, where that is whole after all: whether it was. */
  readonly restore?: (digest: Digest, signal?: AbortSignal) => Promise<boolean>
  /** Whether clients wait for bytes of upstreams. */
  readonly isBusy: () => boolean
  readonly logger: Logger
  /** Milliseconds between two looks at what is damaged. */
  readonly intervalMs?: number | undefined
  /** Milliseconds for which it waits for clients. */
  readonly busyMs?: number
  /** Milliseconds after which an upstream that could not be asked is asked again; twice as many after each time. */
  readonly retryMs?: number
}

/** What became of a blob. later: somebody may give it who could not be asked. nobody: none of them gives it. */
type Outcome = 'whole' | 'later' | 'nobody'

const defaultIntervalMs = 10_000
const defaultBusyMs = 10_000
const defaultRetryMs = 60_000
const longestRetryMs = 24 * 60 * 60_000
/** Repositories of upstreams that are asked for one blob. */
const maximumHolders = 10
/** Repositories that are looked through at a time. */
const lookedThrough = 1000
const readBytes = 256 * 1024
/** Milliseconds between two looks whether clients wait. */
const busyPauseMs = 5

/**
 * Fetches again what is damaged, one blob at a time and after all clients: from a repository whose upstream gave it, or,
 * for what was pushed, from one that names it. Each is asked as by a client, so that the same rights hold. Dispose to
 * stop.
 */
export class Healing implements AsyncDisposable {
  readonly #options: HealingOptions
  readonly #job: IntervalJob
  readonly #retries = lruCache<Digest, { readonly at: number; readonly waitMs: number }>(10_000)
  #healed = 0

  constructor(options: HealingOptions) {
    this.#options = options
    this.#job = new IntervalJob((signal) => this.heal(signal), {
      intervalMs: options.intervalMs ?? defaultIntervalMs,
      onError: (err) =>
        tellSeldom(
          options.logger,
          'error',
          { err },
          'damaged blobs could not be fetched again: trying later',
        ),
    })
  }

  /** Blobs since the start. */
  get healed(): number {
    return this.#healed
  }

  /** Heals now and then from now on. */
  start(): void {
    this.#job.start()
  }

  /** Tries once what is due. Throws StorageError, and the reason of `signal`. */
  async heal(signal?: AbortSignal): Promise<void> {
    const { store, lost, restore } = this.#options
    for (const digest of new Set([...lost, ...store.quarantine.list().map((blob) => blob.digest)])) {
      if (performance.now() < (this.#retries.get(digest)?.at ?? 0)) continue
      await this.#letGoFirst(signal)
      const isHere = (await store.stat(digest)) || (await restore?.(digest, signal))
      const outcome = isHere ? 'whole' : await this.#fetch(digest, signal)
      if (outcome === 'whole') await this.#isWhole(digest)
      else await this.#isNot(digest, outcome)
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#job[Symbol.asyncDispose]()
  }

  /** What somebody waits for goes first, for a while: it may bring back what is damaged. */
  async #letGoFirst(signal: AbortSignal | undefined): Promise<void> {
    await this.#whileBusy(async () => false, signal)
  }

  /** What was read to its end is stored a moment later. */
  async #isStored(digest: Digest, signal: AbortSignal | undefined): Promise<boolean> {
    const isStored = async (): Promise<boolean> => (await this.#options.store.stat(digest)) !== undefined
    await this.#whileBusy(isStored, signal)
    return isStored()
  }

  async #whileBusy(isOver: () => Promise<boolean>, signal: AbortSignal | undefined): Promise<void> {
    const { isBusy, busyMs = defaultBusyMs } = this.#options
    const startedAt = performance.now()
    while (isBusy() && performance.now() - startedAt < busyMs && !(await isOver())) {
      await delay(busyPauseMs, signal)
    }
    signal?.throwIfAborted()
  }

  async #isWhole(digest: Digest): Promise<void> {
    const { store, lost } = this.#options
    this.#retries.delete(digest)
    lost.delete(digest)
    // Whoever has stored it could not remove that.
    await bestEffort(store.quarantine.remove(digest), () => {})
  }

  async #isNot(digest: Digest, outcome: Outcome): Promise<void> {
    const { retryMs = defaultRetryMs } = this.#options
    const before = this.#retries.get(digest)?.waitMs ?? retryMs / 2
    const waitMs = outcome === 'nobody' ? longestRetryMs : Math.min(2 * before, longestRetryMs)
    this.#retries.set(digest, { at: performance.now() + waitMs, waitMs })
  }

  async #fetch(digest: Digest, signal: AbortSignal | undefined): Promise<Outcome> {
    const { catalog, store, mirrored, logger } = this.#options
    const isPushed = (await catalog.localHolders(digest, 1)).length > 0
    let outcome: Outcome = 'nobody'
    let isWanted = isPushed
    for await (const key of this.#candidates(digest, isPushed)) {
      isWanted = true
      const repository = mirrored(key)
      if (!repository) continue
      try {
        const { reader } = await repository.blob(digest, { signal })
        await readAll(reader, signal)
        // A disk without room, or one that fails, has not kept it.
        if (!(await this.#isStored(digest, signal))) return 'later'
        this.#healed += 1
        const message = isPushed
          ? 'the bytes of a blob that was pushed are back: an upstream has them too'
          : 'a damaged blob was fetched again'
        logger.info({ digest, upstream: originOf(key), repository: nameOf(key) }, message)
        return 'whole'
      } catch (error) {
        signal?.throwIfAborted()
        if (!isRefusal(error)) outcome = 'later'
        logger.debug({ digest, upstream: originOf(key), err: error }, 'a damaged blob was not given')
      }
    }
    // It was deleted since, and nobody will ever want it.
    if (!isWanted) await store.quarantine.remove(digest)
    return outcome
  }

  /** Whom to ask. Those that only name it are many to look through: for what can be had nowhere else. */
  async *#candidates(digest: Digest, isPushed: boolean): AsyncGenerator<RepositoryKey> {
    const { catalog } = this.#options
    const holders = await catalog.holders(digest, maximumHolders)
    for (const { repository } of holders) yield repository
    if (!isPushed) return
    let left = maximumHolders
    let after: RepositoryKey | undefined
    do {
      const page = await catalog.namers(digest, { after, limit: lookedThrough })
      for (const repository of page.repositories) {
        if (left === 0) return
        left -= 1
        yield repository
      }
      after = page.last
    } while (after !== undefined)
  }
}

/** Whoever refused it refuses it again. */
function isRefusal(error: unknown): boolean {
  if (error instanceof UpstreamError) return !error.isOutage
  return error instanceof RegistryError && error.status < 429
}

/** What is given is stored as well, whether or not anybody reads it; what cannot be stored comes to whoever reads. */
async function readAll(reader: BlobReader, signal: AbortSignal | undefined): Promise<void> {
  await using opened = reader
  const asked = signal ? { signal } : {}
  const buffer = Buffer.allocUnsafe(readBytes)
  for (let position = 0; ; ) {
    const count = await opened.read(buffer, position, asked)
    if (count === 0) break
    position += count
  }
  await opened.verified(asked)
}
