import { isIP } from 'node:net'
import { dockerHub, dockerHubAliases } from '../names/docker-hub.ts'
import { RegistryError } from '../oci/error.ts'

/** An upstream, and by what a request named it, in words for a refusal. */
export interface Named<Upstream> {
  readonly upstream: Upstream
  readonly by: string
}

/** The names that the configured upstreams go by. Case does not matter in any of them. */
export class UpstreamNames<Upstream extends { readonly name: string }> {
  /** As configured. */
  readonly upstreams: readonly Upstream[]
  readonly #first: Upstream
  readonly #byName: ReadonlyMap<string, Upstream>

  /** Throws TypeError where there is none. */
  constructor(upstreams: readonly Upstream[]) {
    const [first] = upstreams
    if (!first) throw new TypeError('a mirror needs at least one upstream')
    this.upstreams = upstreams
    this.#first = first
    const hub = upstreams.find(({ name }) => name === dockerHub.name)
    const aliases = hub ? dockerHubAliases.map((alias): [string, Upstream] => [alias, hub]) : []
    // An upstream that is configured by an alias is itself.
    this.#byName = new Map([
      ...aliases,
      ...upstreams.map((upstream): [string, Upstream] => [upstream.name, upstream]),
    ])
  }

  /** The upstream of requests that name none. */
  get first(): Named<Upstream> {
    return { upstream: this.#first, by: 'no name' }
  }

  /** `by` says where the name stood. */
  find(name: string, by: string): Named<Upstream> | undefined {
    const upstream = this.#byName.get(name.toLowerCase())
    return upstream && { upstream, by }
  }

  /** Throws RegistryError NAME_INVALID (400) where `name` is malformed, NAME_UNKNOWN (404) where nobody has it. */
  demand(name: string, by: string): Named<Upstream> {
    if (!/^[a-z0-9._-]+(?::\d{1,5})?$/i.test(name)) {
      throw new RegistryError(
        'NAME_INVALID',
        `"${name.slice(0, 150)}" is not a registry's name (${by.slice(0, 50)})`,
      )
    }
    const found = this.find(name, by)
    if (found) return found
    throw this.notServed(name)
  }

  /**
   * Reads a Host header: an upstream's name as it is (clients that were told by their DNS that we are it), or in
   * front of our own name. Names without a dot or with a port, and addresses, do not count: machines are called so.
   * Neither does a whole name with a port other than the usual ones: that is a mirror on the registry's machine.
   */
  byHost(header: string | undefined): Named<Upstream> | undefined {
    const match = /^([a-z0-9._-]+?)\.?(?::(\d{1,5}))?$/.exec(header?.toLowerCase() ?? '')
    const [, host = '', port] = match ?? []
    if (isIP(host)) return undefined
    // The longest name wins: "quay.io.corp" before "quay.io".
    for (let end = host.length; end > 0; end = host.lastIndexOf('.', end - 1)) {
      const name = host.slice(0, end)
      if (!name.includes('.')) return undefined
      const isUsable = end < host.length || port === undefined || port === '80' || port === '443'
      const found = isUsable && !isIP(name) ? this.find(name, `the host ${host}`) : undefined
      if (found) return found
    }
    return undefined
  }

  /** Docker Hub keeps its official images under `library/`, which people and some clients leave out. */
  inFull(upstream: Upstream, name: string): string {
    return upstream.name === dockerHub.name && !name.includes('/') ? `library/${name}` : name
  }

  /** The refusal of a registry that nobody configured. */
  notServed(registry: string): RegistryError {
    const served = this.upstreams.map(({ name }) => name).join(', ')
    const message = `this mirror does not serve ${registry.slice(0, 150)}; it serves ${served} (upstreams in mirror.yml)`
    return new RegistryError('NAME_UNKNOWN', message)
  }
}
