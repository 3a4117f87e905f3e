import { RegistryError } from '../oci/error.ts'
import { parseRepositoryName, type RepositoryName } from '../oci/repository-name.ts'

/** A repository of an upstream, as a client's request names it. */
export interface Route<Upstream> {
  readonly upstream: Upstream
  readonly name: RepositoryName
}

const dockerHub = 'docker.io'
/** What clients call Docker Hub in `?ns=`, and people in a path. */
const dockerHubAliases: ReadonlySet<string> = new Set(['registry-1.docker.io', 'index.docker.io'])

/**
 * Finds the upstream that a request means, first match wins: `?ns=` (distribution-spec "Registry Proxying"), a
 * first path component that is an upstream's name, else the first upstream. Names come from the configuration
 * only; nothing a client sends ever becomes a host.
 */
export class Router<Upstream extends { readonly name: string }> {
  readonly #first: Upstream
  readonly #byName: ReadonlyMap<string, Upstream>

  /** The first one answers requests that name no upstream. Throws TypeError where there is none. */
  constructor(upstreams: readonly Upstream[]) {
    const [first] = upstreams
    if (!first) throw new TypeError('a mirror needs at least one upstream')
    this.#first = first
    this.#byName = new Map(upstreams.map((upstream) => [upstream.name, upstream]))
  }

  /**
   * `path` is the name as it stands in the URL, `namespace` the value of `?ns=`. Throws RegistryError NAME_INVALID
   * (400) where one is malformed, NAME_UNKNOWN (404) where no upstream is configured for `namespace`.
   */
  route(path: string, namespace: string | undefined): Route<Upstream> {
    if (namespace !== undefined) return routeTo(this.#byNamespace(namespace), path)
    const slash = path.indexOf('/')
    const first = slash > 0 ? path.slice(0, slash) : ''
    const named = this.#find(first)
    if (named) return routeTo(named, path.slice(slash + 1))
    // As Docker tells a registry from a name's first part; the first upstream need not learn of it.
    if (/[.:]/.test(first) || first === 'localhost') throw this.#notServed(first)
    return routeTo(this.#first, path)
  }

  #byNamespace(namespace: string): Upstream {
    if (!/^[a-z0-9.-]+(?::\d{1,5})?$/i.test(namespace)) {
      throw new RegistryError('NAME_INVALID', `"${namespace.slice(0, 150)}" is not a registry's name (?ns=)`)
    }
    const upstream = this.#find(namespace.toLowerCase())
    if (upstream) return upstream
    throw this.#notServed(namespace)
  }

  #notServed(registry: string): RegistryError {
    const served = [...this.#byName.keys()].join(', ')
    const message = `this mirror does not serve ${registry.slice(0, 150)}; it serves ${served} (upstreams in mirror.yml)`
    return new RegistryError('NAME_UNKNOWN', message)
  }

  #find(name: string): Upstream | undefined {
    return this.#byName.get(name) ?? (dockerHubAliases.has(name) ? this.#byName.get(dockerHub) : undefined)
  }
}

/** Docker Hub keeps its official images under `library/`, which people and some clients leave out. */
function routeTo<Upstream extends { readonly name: string }>(
  upstream: Upstream,
  path: string,
): Route<Upstream> {
  const isOfficial = upstream.name === dockerHub && !path.includes('/')
  return { upstream, name: parseRepositoryName(isOfficial ? `library/${path}` : path) }
}
