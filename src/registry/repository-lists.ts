import { setImmediate } from 'node:timers/promises'
import { ClientSlots } from '../flow/client-slots.ts'
import { tooManyRequests } from '../oci/error.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import type { Catalog } from '../storage/catalog.ts'
import { localOrigin } from '../storage/repository-key.ts'
import type { AskOptions } from './repository.ts'

export interface RepositoryListsOptions {
  readonly catalog: Pick<Catalog, 'listed'>
  /** The names of the upstreams. */
  readonly upstreams: readonly string[]
  /** Milliseconds for which what was public is listed after its repository is refused (`cache.servePrivate`). */
  readonly servePrivateMs: number
  /** Milliseconds that a client waits for its own lists that are being made. */
  readonly patienceMs: number
}

/** A repository, and the name by which whoever asked can ask for it. */
export interface ListedRepository {
  readonly name: string
  /** Its upstream's name, or "local". */
  readonly origin: string
  readonly nameAtOrigin: RepositoryName
}

/** Which repositories are wanted. */
export interface WantedRepositories {
  /** Those of this upstream alone, under their names there; undefined: all. */
  readonly upstream?: string | undefined
  /** Those whose names at their origins have this in them. */
  readonly part?: string | undefined
  /** Names behind this in the order of their bytes; it need not be one. */
  readonly after?: string | undefined
  /** Whether whoever asks may pull from a repository of this name. */
  readonly isAllowed?: ((name: string) => boolean) | undefined
}

export interface RepositoryPage {
  readonly repositories: readonly ListedRepository[]
  readonly hasMore: boolean
}

/** Lists of one client that are made at a time: each may be long, and is a walk through many names. */
const atOnce = 2
/** Repositories that are looked at at once: a millisecond or so, in which nobody else is served. */
const lookedAtOnce = 500
/** Behind all that begins with what stands before it. */
const behindAll = '\u{10ffff}'

/**
 * The repositories that can be pulled from here. Each has the name that means it and nothing else: what was pushed its
 * own, what is mirrored one that its upstream's name leads, such as docker.io/library/alpine. They come in the order of
 * their bytes, and a page goes on behind a name, so that what is pushed meanwhile moves nothing from one to another.
 */
export class RepositoryLists {
  readonly #options: RepositoryListsOptions
  readonly #turns: ClientSlots
  /** What leads the names of each upstream, in the order of their bytes. */
  readonly #prefixes: readonly { readonly upstream: string; readonly prefix: string }[]

  constructor(options: RepositoryListsOptions) {
    this.#options = options
    this.#turns = new ClientSlots({ perClient: atOnce, patienceMs: options.patienceMs })
    const inOrder = options.upstreams.map((upstream) => `${upstream}/`).toSorted()
    this.#prefixes = inOrder.map((prefix) => ({ prefix, upstream: prefix.slice(0, -1) }))
  }

  /** At most `limit` of them. Throws RegistryError TOOMANYREQUESTS (429) where a client wants too many lists at a time. */
  async page(wanted: WantedRepositories, limit: number, asked: AskOptions = {}): Promise<RepositoryPage> {
    using turn = await this.#turns.take(asked.client ?? '', asked)
    if (!turn) throw tooManyRequests('a client asks for too many lists of repositories at a time: try again')
    const repositories: ListedRepository[] = []
    for await (const repository of this.#all(wanted, limit)) {
      if (wanted.isAllowed?.(repository.name) === false) continue
      if (repositories.length === limit) return { repositories, hasMore: true }
      repositories.push(repository)
    }
    return { repositories, hasMore: false }
  }

  /** All that a local name before an upstream's names stands for, these, and so on. */
  async *#all(wanted: WantedRepositories, limit: number): AsyncGenerator<ListedRepository> {
    const { upstream, after = '' } = wanted
    if (upstream !== undefined) return yield* this.#of(upstream, '', after, wanted, limit)
    let from = after
    for (const { upstream, prefix } of this.#prefixes) {
      for await (const repository of this.#of(localOrigin, '', from, wanted, limit)) {
        if (repository.name >= prefix) break
        yield repository
      }
      const isWithin = from.startsWith(prefix)
      if (from <= prefix || isWithin) {
        yield* this.#of(upstream, prefix, isWithin ? from.slice(prefix.length) : '', wanted, limit)
      }
      // What was pushed under a name that an upstream's leads cannot be asked for by it.
      if (from < prefix + behindAll) from = prefix + behindAll
    }
    yield* this.#of(localOrigin, '', from, wanted, limit)
  }

  async *#of(
    origin: string,
    prefix: string,
    from: string,
    { part = '' }: WantedRepositories,
    limit: number,
  ): AsyncGenerator<ListedRepository> {
    const { catalog, servePrivateMs } = this.#options
    // Of a name that its upstream's leads, the part that is its own.
    const ownPart = prefix !== '' && part.startsWith(prefix) ? part.slice(prefix.length) : part
    // A page of all is there at once; what has to be looked for may be anywhere.
    const atOnce = part === '' ? Math.min(limit + 1, lookedAtOnce) : lookedAtOnce
    const asked = { origin, part: ownPart, limit: atOnce }
    let after: string | undefined = from
    while (after !== undefined) {
      const at = Date.now()
      const found = await catalog.listed({ ...asked, after, at, refusedAfter: at - servePrivateMs })
      for (const name of found.names) yield { name: prefix + name, origin, nameAtOrigin: name }
      after = found.last
      if (after !== undefined) await setImmediate()
    }
  }
}
