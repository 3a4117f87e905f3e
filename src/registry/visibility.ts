import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import { delay } from '../flow/abortable.ts'
import { bestEffort } from '../flow/best-effort.ts'
import { SingleFlight } from '../flow/single-flight.ts'
import { type CacheStatus, idOf, type MirroredRepository } from '../mirror/manifests.ts'
import type { Digest } from '../oci/digest.ts'
import type { Catalog } from '../storage/catalog.ts'
import { UpstreamError } from '../upstream/error.ts'

export interface VisibilityOptions {
  readonly catalog: Catalog
  /** Milliseconds for which an answer is trusted (`cache.revalidate`). */
  readonly revalidateMs: number
  /** Milliseconds that a client waits for an answer while the last one will do (`cache.staleAfter`). */
  readonly staleAfterMs: number
  readonly logger: Logger
}

/** Something that may be stored here under its digest. */
export interface StoredThing {
  readonly kind: 'manifest' | 'blob'
  readonly digest: Digest
}

/** The last answer to anyone about a repository. */
interface Word {
  readonly isPublic: boolean
  /** Milliseconds since then. */
  readonly ageMs: number
}

/** Milliseconds for which what was public is served while nobody says whether it still is. */
const graceMs = 24 * 60 * 60_000
/** Milliseconds after which a "still public" is written down again. */
const recordEveryMs = 60 * 60_000
/** Milliseconds for which a refusal is remembered, at most. */
const refusedMs = 60_000
const maximumEntries = 10_000

/**
 * Whether what is stored may still be read by everybody. Nothing comes in that anyone was not given (`PublicQuestions`),
 * but a repository may turn private later. That is asked of what is wanted itself, as anyone, once in a while for
 * the whole repository. Upstreams without an account show us nothing that they do not show to everybody.
 */
export class Visibility {
  readonly #options: VisibilityOptions
  readonly #asking = new SingleFlight<string, void>()
  /** The question that is asked for a whole repository. */
  readonly #first = new SingleFlight<string, void>()
  readonly #refusals = new LRUCache<string, { error: UpstreamError; until: number }>({ max: maximumEntries })
  /** When the last word was written down, or was read: monotonic milliseconds, and the age that it had then. */
  readonly #recorded = new LRUCache<string, Word & { mark: number }>({ max: maximumEntries })

  constructor(options: VisibilityOptions) {
    this.#options = options
  }

  /**
   * Returns where everybody may have what is under this digest, or could a while ago and nobody can tell now. Throws
   * UpstreamError: the refusal, or the failure where it never was public for all that is known.
   */
  async assertReadable(repository: MirroredRepository, thing: StoredThing): Promise<void> {
    if (!repository.upstream.hasAccount) return
    if (this.#isCurrent(repository)) return this.#record(repository)
    const asked = this.#askOnce(repository, thing)
    // As for tags: while there is a word that will do, nobody waits long for the next one.
    const late = delay(this.#options.staleAfterMs).then(async () => {
      if (!(await this.#isInGrace(repository))) await asked
    })
    try {
      await Promise.race([asked, late])
    } catch (error) {
      // Here, not where it is asked: who joins a question that has fallen silent is turned away at once.
      const isNoAnswer = error instanceof UpstreamError && !error.isRefusal
      if (!isNoAnswer || !(await this.#isInGrace(repository))) throw error
    }
  }

  /** Before a tag is asked for: what was refused stays so after a restart until it is given again, whatever is listed. */
  async recall(repository: MirroredRepository): Promise<void> {
    const { upstream, name } = repository
    if (!upstream.hasAccount || upstream.lastPublicWord(name)) return
    const word = await this.#lastWord(repository)
    if (word?.isPublic !== false) return
    upstream.recallPublicWord(name, { ...word, at: Date.now() - word.ageMs })
  }

  /**
   * Returns where a copy may be served that its upstream could not confirm. `checkedAt`: milliseconds since the epoch
   * at which it last did. Throws UpstreamError UNAUTHORIZED where that is too long ago for a copy that anyone gets.
   */
  async assertServable(
    repository: MirroredRepository,
    { status, checkedAt }: { status: CacheStatus; checkedAt?: number | undefined },
  ): Promise<void> {
    const { upstream, name } = repository
    if (!upstream.hasAccount || status !== 'stale') return
    const word = await this.#lastWord(repository)
    const checkedMs = checkedAt === undefined ? word?.ageMs : Math.max(0, Date.now() - checkedAt)
    const isRefusedSince = word !== undefined && !word.isPublic && word.ageMs <= (checkedMs ?? word.ageMs)
    if (!isRefusedSince && (checkedMs ?? Number.POSITIVE_INFINITY) <= graceMs) return
    const message = `whether everybody may read ${name} was last confirmed too long ago, and it does not answer that now`
    throw new UpstreamError('UNAUTHORIZED', upstream.name, message)
  }

  /** Of many questions about a repository that come at once the first is asked for all. */
  async #askOnce(repository: MirroredRepository, thing: StoredThing): Promise<void> {
    const key = keyOf(repository)
    const own = `${key} ${thing.digest}`
    const ask = () => this.#asking.run(own, () => this.#ask(repository, thing, own))
    if (!this.#first.has(key)) return this.#first.run(key, ask)
    await this.#first.run(key, ask).catch(() => {})
    return this.#isCurrent(repository) ? this.#record(repository) : ask()
  }

  #isCurrent({ upstream, name }: MirroredRepository): boolean {
    const word = upstream.lastPublicWord(name)
    return word?.isPublic === true && word.ageMs < this.#options.revalidateMs
  }

  async #ask(repository: MirroredRepository, thing: StoredThing, key: string): Promise<void> {
    const refusal = this.#refusals.get(key)
    if (refusal && performance.now() < refusal.until) throw refusal.error
    try {
      await this.#askUpstream(repository, thing)
    } catch (error) {
      if (!(error instanceof UpstreamError && error.isRefusal)) throw error
      const until = performance.now() + Math.min(refusedMs, this.#options.revalidateMs)
      this.#refusals.set(key, { error, until })
      throw error
    } finally {
      await this.#record(repository)
    }
  }

  /**
   * Throws as the upstream does. The list of tags is the second witness where the first says nothing, and said no "no"
   * before; what a HEAD does not give a GET may, unless HEAD is known to be right there.
   */
  async #askUpstream(repository: MirroredRepository, { kind, digest }: StoredThing): Promise<void> {
    const { upstream, name } = repository
    try {
      if (kind === 'manifest') {
        const told = await upstream.manifestDigest(name, digest)
        if (told === digest) upstream.shortcuts.worked('manifest-head')
      } else if (!(await upstream.hasBlob(name, digest))) {
        throw new UpstreamError('NOT_FOUND', upstream.name, 'it does not have this blob in this repository')
      }
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      // What is gone there may be here; that the repository is there for everybody is what counts.
      const isSilent = /^(?:NOT_FOUND|RATE_LIMITED|INVALID_RESPONSE|SERVER_ERROR)$/.test(error.code)
      const isRefused = (await this.#lastWord(repository))?.isPublic === false
      if (isSilent && !isRefused && (await upstream.isWitnessed(name))) return
      const isOdd = error.isRefusal || /^(?:INVALID_RESPONSE|SERVER_ERROR)$/.test(error.code)
      const isDecided = kind === 'blob' || !isOdd || upstream.shortcuts.isProven('manifest-head')
      if (isDecided) throw error
      await upstream.assertGiven(name, digest).catch((second: unknown) => {
        throw second instanceof UpstreamError && second.isRefusal ? second : error
      })
    }
  }

  async #isInGrace(repository: MirroredRepository): Promise<boolean> {
    const word = await this.#lastWord(repository)
    return word?.isPublic === true && word.ageMs <= graceMs
  }

  async #lastWord(repository: MirroredRepository): Promise<Word | undefined> {
    const { upstream, name } = repository
    const live = upstream.lastPublicWord(name)
    if (live) return live
    const key = keyOf(repository)
    const known = this.#recorded.get(key)
    if (known) return { isPublic: known.isPublic, ageMs: known.ageMs + performance.now() - known.mark }
    const record = await this.#options.catalog.publicity(idOf(repository))
    if (!record) return undefined
    // A clock that was set back makes it young, not public for ever: from here on another clock counts.
    const word = { isPublic: record.isPublic, ageMs: Math.max(0, Date.now() - record.askedAt) }
    this.#recorded.set(key, { ...word, mark: performance.now() })
    return word
  }

  /**
   * Writes down the last word, not every time. Names that never were anything else than refused leave no trace:
   * whoever makes them up could fill the disk.
   */
  async #record(repository: MirroredRepository): Promise<void> {
    const { catalog, logger } = this.#options
    const word = repository.upstream.lastPublicWord(repository.name)
    if (!word) return
    const key = keyOf(repository)
    const known = this.#recorded.get(key)
    const isKnown = known?.isPublic === word.isPublic
    if (isKnown && (!word.isPublic || performance.now() - known.mark < recordEveryMs)) return
    const id = idOf(repository)
    if (!word.isPublic && (await catalog.publicity(id)) === undefined) return
    this.#recorded.set(key, { isPublic: word.isPublic, ageMs: word.ageMs, mark: performance.now() })
    await bestEffort(catalog.savePublicity(id, { isPublic: word.isPublic, askedAt: word.at }), (error) =>
      logger.error({ err: error }, 'the catalog could not be written: answering all the same'),
    )
  }
}

function keyOf({ upstream, name }: MirroredRepository): string {
  return `${upstream.name}/${name}`
}
