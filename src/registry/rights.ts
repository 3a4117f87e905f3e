import { type Digest, isDigestOfNothing } from '../oci/digest.ts'
import type { Catalog, Holding } from '../storage/catalog.ts'
import { localOrigin, originOf, type RepositoryKey } from '../storage/repository-key.ts'

export interface RightsOptions {
  readonly catalog: Pick<Catalog, 'named' | 'isFree'>
  /** The evidence that a repository has this content. */
  readonly held: (repository: RepositoryKey, digest: Digest) => Promise<Holding | undefined>
  /** Milliseconds for which what was public is given after its repository is refused (`cache.servePrivate`). */
  readonly servePrivateMs: number
}

/** Why a repository may give something to everybody who may use it. */
export interface Right {
  /** held: by evidence of its own. free: a manifest of its own names what some other repository gives to anyone. */
  readonly by: 'held' | 'free'
  /** Since when, in milliseconds since the epoch, its repository has been refused to anyone; it is given for a while yet. */
  readonly refusedSince: number | undefined
}

/**
 * What a repository has, and for whom. Bytes are shared, permission is not (CVE-2024-39897): a repository gives a digest
 * where it holds it for anyone, or where a manifest of its own names it and it is free: some repository that is not
 * refused holds it for anyone. Everything else its upstream has to be asked for. Whatever else is known of a digest,
 * that its bytes are here or who brought them, says nothing.
 */
export class Rights {
  readonly #options: RightsOptions

  constructor(options: RightsOptions) {
    this.#options = options
  }

  /** Undefined where nobody has said that this repository may give it. */
  async gives(repository: RepositoryKey, digest: Digest): Promise<Right | undefined> {
    const { catalog, servePrivateMs } = this.#options
    const holding = await this.#options.held(repository, digest)
    if (originOf(repository) === localOrigin) {
      return holding?.localAt === undefined ? undefined : { by: 'held', refusedSince: undefined }
    }
    const now = Date.now()
    const { publicAt, refusedSince } = holding ?? {}
    if (publicAt !== undefined && isGivenYet(refusedSince, servePrivateMs, now)) {
      return { by: 'held', refusedSince }
    }
    // The subject of a manifest need not be there, whatever its size.
    const named = await catalog.named(repository, digest)
    if (!named || named.kind === 'subject') return undefined
    // What has no bytes is nobody's secret.
    const isFree =
      isDigestOfNothing(digest) ||
      (await catalog.isFree(digest, { at: now, refusedAfter: now - servePrivateMs }))
    return isFree ? { by: 'free', refusedSince: undefined } : undefined
  }
}

/** A clock that was set back by more than the period makes a refusal old, not young for ever. */
function isGivenYet(refusedSince: number | undefined, servePrivateMs: number, now: number): boolean {
  return refusedSince === undefined || Math.abs(now - refusedSince) < servePrivateMs
}
