import type { UpstreamSearch } from '../mirror/upstream-search.ts'
import { looksLikeRegistry } from '../names/host.ts'
import type { FoundRepository } from '../oci/search-results.ts'
import { localOrigin } from '../storage/repository-key.ts'
import type { LocalRepositories } from './local-repositories.ts'
import type { AskOptions } from './repository.ts'
import type { ListedRepository, RepositoryLists, WantedRepositories } from './repository-lists.ts'

export interface SearchOptions {
  readonly lists: RepositoryLists
  readonly local: Pick<LocalRepositories, 'isOwn'>
  /** Undefined where no upstream is Docker Hub. */
  readonly upstream: UpstreamSearch | undefined
  /** Milliseconds that the upstream is waited for where something was found here (`cache.staleAfter`), and where nothing was. */
  readonly staleAfterMs: number
  readonly patienceMs: number
}

/** What was found, under a name by which it can be pulled from here in the way in which it was asked for. */
export interface SearchResult extends Omit<FoundRepository, 'name'> {
  readonly name: string
}

/** Whose repositories are searched, and for whom. */
type Searched = AskOptions & Pick<WantedRepositories, 'upstream' | 'isAllowed'>

/** Results of what is here. */
const maximumHere = 1000
/** Of a term, each of which is looked for here: nobody searches for so many words. */
const maximumReadings = 16

/**
 * Finds repositories by a part of their names: what was pushed, what is cached, and what Docker Hub finds. It hears no
 * name that is this mirror's alone.
 */
export class Search {
  readonly #options: SearchOptions

  constructor(options: SearchOptions) {
    this.#options = options
  }

  /** The best first. Throws RegistryError as `RepositoryLists.page` does. */
  async find(text: string, asked: Searched): Promise<SearchResult[]> {
    // As it stands in `docker search HOST/library/app:1`.
    const term = text
      .trim()
      .toLowerCase()
      .replace(/[:@][^/]*$/, '')
    const here = await this.#here(term, asked)
    const found = await this.#upstreams(term, here, asked)
    return merged(here, found, asked.upstream === undefined ? this.#options.upstream?.name : undefined)
  }

  async #here(term: string, asked: Searched): Promise<ListedRepository[]> {
    const { upstream, isAllowed } = asked
    const wanted = { upstream, isAllowed, part: term }
    const { repositories } = await this.#options.lists.page(wanted, maximumHere, asked)
    return repositories.toSorted((one, other) => rankOf(one, term) - rankOf(other, term))
  }

  async #upstreams(
    term: string,
    here: readonly ListedRepository[],
    asked: Searched,
  ): Promise<readonly FoundRepository[]> {
    const { upstream: only, signal, client } = asked
    const { upstream, staleAfterMs, patienceMs } = this.#options
    if (!upstream || (only !== undefined && only !== upstream.name)) return []
    const isLed = term.startsWith(`${upstream.name}/`)
    const wanted = isLed ? term.slice(upstream.name.length + 1) : term
    if (wanted === '') return []
    if (!isLed && only === undefined && (await this.#isForNobody(wanted, here, asked))) return []
    return upstream.find(wanted, { signal, client, patienceMs: here.length > 0 ? staleAfterMs : patienceMs })
  }

  /** Whether a term could be meant as a name, or as the end of one, that is this mirror's alone, or another registry's. */
  async #isForNobody(term: string, here: readonly ListedRepository[], asked: Searched): Promise<boolean> {
    const readings = readingsOf(term)
    if (readings.length > maximumReadings) return true
    for (const reading of readings) {
      if (reading.includes('/') && looksLikeRegistry(reading.split('/', 1).join())) return true
      if (await this.#options.local.isOwn(reading)) return true
      const named = reading === term ? here : await this.#here(reading, asked)
      if (named.some((one) => one.origin === localOrigin && `/${one.name}`.endsWith(`/${reading}`)))
        return true
    }
    return false
  }
}

/**
 * The names that a term could be meant as: without what no name has, of which its words are separate ones too; without
 * superfluous slashes, and what pulls may have in front of a name; with a slash at the end as well where it has one.
 */
function readingsOf(term: string): string[] {
  const slashed = term.replaceAll(/\\|%2f/g, '/')
  const words = slashed.split(/[^a-z0-9._/-]+/)
  const readings = [...words, words.join('')].flatMap((word) => {
    const parts = word.split('/').filter((part) => !/^\.*$/.test(part))
    const last = parts.length - 1
    const begin = parts.findIndex((part, index) => index === last || !['v2', 'library'].includes(part))
    const names = Array.from({ length: begin + 1 }, (_, index) => parts.slice(index).join('/'))
    return word.endsWith('/') ? [...names, ...names.map((name) => `${name}/`)] : names
  })
  return [...new Set(readings)]
}

/** A whole name, or the end of one, before what has a word that begins with the term; what was pushed before the rest. */
function rankOf({ name, origin }: ListedRepository, term: string): number {
  const slashed = `/${name}`
  const begins = ['/', '-', '_', '.'].some((before) => slashed.includes(before + term))
  const fit = slashed.endsWith(`/${term}`) ? 0 : begins ? 1 : 2
  return 2 * fit + (origin === localOrigin ? 0 : 1)
}

/** What is here has the upstream's words where it has any. `prefix`: the name that leads those of the upstream. */
function merged(
  here: readonly ListedRepository[],
  found: readonly FoundRepository[],
  prefix: string | undefined,
): SearchResult[] {
  const led = found.map(({ name, ...rest }) => {
    // As Docker Hub tells of its official images, which it keeps under library/.
    const inFull = name.includes('/') ? name : `library/${name}`
    return { ...rest, name: prefix === undefined ? inFull : `${prefix}/${inFull}` }
  })
  const byName = new Map<string, SearchResult>(led.map((result) => [result.name, result]))
  const ours = here.map(({ name, origin }) => {
    const told = byName.get(name)
    byName.delete(name)
    const description = origin === localOrigin ? 'pushed to this mirror' : `cached from ${origin}`
    return { stars: 0, isOfficial: false, ...told, name, description: told?.description || description }
  })
  return [...ours, ...byName.values()]
}
