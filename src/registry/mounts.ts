import type { Digest } from '../oci/digest.ts'
import type { Catalog } from '../storage/catalog.ts'
import { nameOf, type RepositoryKey } from '../storage/repository-key.ts'
import type { AskOptions } from './repository.ts'

export interface MountsOptions {
  readonly catalog: Pick<Catalog, 'mount' | 'localHolders'>
  readonly blobs: {
    stat(digest: Digest, options: { readonly signal?: AbortSignal | undefined }): Promise<unknown>
  }
  /** Which repository a name means, as whoever pulls `digest` by it; undefined: none that there can be. */
  readonly keyOf: (name: string, digest: Digest) => Promise<RepositoryKey | undefined>
  /** Milliseconds for which what was public is given after its repository is refused (`cache.servePrivate`). */
  readonly servePrivateMs: number
}

/** Local repositories that are looked at for one who may be read. */
const holdersLookedAt = 16

/**
 * Gives a local repository what another one has, so that nothing is uploaded (distribution-spec end-11). Only what `from`
 * gives to whoever asks, local or mirrored; without `from` what is free, or a local repository that may be read has. What
 * is refused is refused by the same steps, whether the bytes are here or not.
 */
export class Mounts {
  readonly #options: MountsOptions

  constructor(options: MountsOptions) {
    this.#options = options
  }

  /** Whether `to` has the blob now. Rejects with StorageError, and the reason of `signal`. */
  async mount(
    to: RepositoryKey,
    digest: Digest,
    from: string | undefined,
    { mayRead, signal }: AskOptions & { readonly mayRead: (name: string) => boolean },
  ): Promise<boolean> {
    const { catalog, blobs, servePrivateMs } = this.#options
    const at = Date.now()
    const times = { at, refusedAfter: at - servePrivateMs }
    for (const giver of await this.#givers(digest, from, mayRead)) {
      // Bytes that turn out to be lost are no longer recorded then, and no manifest can name them.
      if (await catalog.mount(to, digest, giver, times))
        return (await blobs.stat(digest, { signal })) !== undefined
    }
    return false
  }

  async #givers(
    digest: Digest,
    from: string | undefined,
    mayRead: (name: string) => boolean,
  ): Promise<readonly (RepositoryKey | 'free')[]> {
    const { catalog, keyOf } = this.#options
    if (from !== undefined) {
      const key = mayRead(from) ? await keyOf(from, digest) : undefined
      return key === undefined ? [] : [key]
    }
    const holders = await catalog.localHolders(digest, holdersLookedAt)
    const readable = holders.find((key) => mayRead(nameOf(key)))
    return readable === undefined ? ['free'] : ['free', readable]
  }
}
