import { lruCache } from '../../flow/lru-cache.ts'
import type { Digest } from '../../oci/digest.ts'
import { isDigestReference, type Reference } from '../../oci/reference.ts'

/** What became of the last question of anyone about what is in a repository. */
export type PublicWord = 'given' | 'refused'

/** The manifest that anyone was told of. */
export interface ToldManifest {
  readonly digest: Digest
  /** Milliseconds of `performance.now`. */
  readonly at: number
}

/** Milliseconds for which a tag is taken to be where anyone was told: from a HEAD to the GET that follows it. */
const tagMs = 10_000
/** Manifests, and repositories, that are remembered. */
const maximumEntries = 10_000

/**
 * What an upstream with an account told anyone: of single manifests, and of a repository as a whole, which is known
 * by the last answer about any of its content. In memory.
 */
export class PublicKnowledge {
  readonly #periodMs: number
  readonly #manifests = lruCache<string, ToldManifest>(maximumEntries)
  readonly #repositories = lruCache<string, { word: PublicWord; at: number }>(maximumEntries)

  /** `periodMs`: milliseconds for which an answer about a digest holds. */
  constructor(periodMs: number) {
    this.#periodMs = periodMs
  }

  /** Anyone gets the manifest `digest` for a reference: so it was told `at`, in milliseconds of `performance.now`. */
  confirm(repository: string, reference: string, digest: Digest, at = performance.now()): void {
    for (const key of new Set([`${repository} ${reference}`, `${repository} ${digest}`])) {
      const known = this.#manifests.get(key)
      if (!known || known.at <= at) this.#manifests.set(key, { digest, at })
    }
  }

  /** Anyone was given, or refused, something in the repository. */
  note(repository: string, word: PublicWord): void {
    this.#repositories.set(repository, { word, at: performance.now() })
  }

  /** Takes it for refused where nothing is known of it. */
  recallRefusal(repository: string): void {
    if (!this.#repositories.has(repository)) this.note(repository, 'refused')
  }

  /** What anyone gets for a reference, where that is known well enough and nothing was refused since. */
  told(repository: string, reference: Reference): ToldManifest | undefined {
    const known = this.#manifests.get(`${repository} ${reference}`)
    const last = this.#repositories.get(repository)
    if (!known || (last?.word === 'refused' && last.at >= known.at)) return undefined
    const lastsMs = isDigestReference(reference) ? this.#periodMs : Math.min(this.#periodMs, tagMs)
    return performance.now() - known.at < lastsMs ? known : undefined
  }

  /** The last word about a repository; undefined where there is none. */
  lastWord(repository: string): PublicWord | undefined {
    return this.#repositories.get(repository)?.word
  }
}
