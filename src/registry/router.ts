import { looksLikeRegistry } from '../names/host.ts'
import { RegistryError } from '../oci/error.ts'
import { parseRepositoryName, type RepositoryName } from '../oci/repository-name.ts'
import { type Named, UpstreamNames } from './upstream-names.ts'

/** All of a request that can tell which registry it means. */
export interface Asked {
  /** The value of `?ns=` (distribution-spec "Registry Proxying"). */
  readonly namespace?: string | undefined
  /** What stands in front of `/v2/` in the path, without slashes. */
  readonly prefix?: string | undefined
  /** The repository as it stands behind `/v2/`; a registry's name may lead it. */
  readonly name: string
  /** The `Host` header. */
  readonly host?: string | undefined
  /** Whether something was pushed here under this name, or is being pushed. */
  readonly isLocal?: boolean | undefined
}

/** Likewise of one that names no repository. */
export type AskedOfAll = Pick<Asked, 'namespace' | 'prefix' | 'host'>

/** A repository, and the upstream that has it; undefined: this mirror alone. */
export interface Route<Upstream> {
  readonly upstream: Upstream | undefined
  readonly name: RepositoryName
}

/** One way for a request to name a registry. */
export interface RoutingRule {
  /** In words, as `docs/routing.md` has them. */
  readonly says: string
  /** A request line, or the header, that shows it. */
  readonly example: string
  /** Undefined where the request says nothing in this way. Throws RegistryError where it names an unknown one. */
  readonly find: <Upstream extends { readonly name: string }>(
    asked: Asked,
    names: UpstreamNames<Upstream>,
  ) => Named<Upstream> | 'local' | undefined
}

/**
 * Which registry a request means: the first rule that finds one. This table is what runs, and what `docs/routing.md`
 * shows (a test compares them).
 */
export const routingRules = [
  {
    says: 'The query says so: `?ns=` and the name of an upstream, as containerd, k3s and BuildKit send it',
    example: '/v2/owner/app/manifests/1?ns=ghcr.io',
    find: ({ namespace }, names) =>
      namespace === undefined ? undefined : names.demand(namespace, `?ns=${namespace}`),
  },
  {
    says: 'The path in front of `/v2/` is the name of an upstream: a mirror address that has a path',
    example: '/ghcr.io/v2/owner/app/manifests/1',
    find: ({ prefix }, names) =>
      prefix === undefined ? undefined : names.demand(prefix, `the path /${prefix}`),
  },
  {
    says: 'The first part of the name is the name of an upstream: `docker pull MIRROR/ghcr.io/owner/app`',
    example: '/v2/ghcr.io/owner/app/manifests/1',
    find: (asked, names) => {
      const leading = leadingPart(asked.name)
      // A name without a dot is an owner's as well, where something else tells the registry.
      const isOwner = !looksLikeRegistry(leading) && names.byHost(asked.host) !== undefined
      return isOwner ? undefined : names.find(leading, `the name's first part ${leading}`)
    },
  },
  {
    says: 'The mirror was called by the name of an upstream, or by a name that begins with it: `ghcr.io.mirror.lan`',
    example: 'Host: ghcr.io.mirror.lan',
    find: ({ host }, names) => names.byHost(host),
  },
  {
    says: 'Something was pushed here under the name, or is being pushed as `local.repositories` allows, or that sets the name aside: this mirror itself',
    example: '/v2/my-app/manifests/1',
    find: ({ isLocal }) => (isLocal ? 'local' : undefined),
  },
  {
    says: 'Otherwise it is the first upstream of `mirror.yml`, which is Docker Hub unless you say otherwise',
    example: '/v2/library/app/manifests/1',
    find: ({ name }, names) => {
      const leading = leadingPart(name)
      // As Docker tells a registry from a name's first part; the first upstream need not learn of it.
      if (looksLikeRegistry(leading)) throw names.notServed(leading)
      return names.first
    },
  },
] as const satisfies readonly RoutingRule[]

/**
 * Finds the upstream and the repository that a request means, by `routingRules`. Names come from the configuration
 * only; nothing that a client sends ever becomes a host.
 */
export class Router<Upstream extends { readonly name: string }> {
  readonly #names: UpstreamNames<Upstream>

  /** The first one answers requests that name no upstream. Throws TypeError where there is none. */
  constructor(upstreams: readonly Upstream[]) {
    this.#names = new UpstreamNames(upstreams)
  }

  /** The upstreams, as configured. */
  get upstreams(): readonly Upstream[] {
    return this.#names.upstreams
  }

  /**
   * Throws RegistryError NAME_INVALID (400) where a name is malformed, NAME_UNKNOWN (404) where it is that of a
   * registry that is not served, or where the request names two.
   */
  route(request: Asked): Route<Upstream> {
    const asked = { ...request, name: withoutVersion(request.name) }
    for (const { find } of routingRules) {
      const found = find(asked, this.#names)
      if (found === 'local') return { upstream: undefined, name: parseRepositoryName(asked.name) }
      if (found) return this.#settle(found, asked)
    }
    throw new TypeError('the last rule finds one')
  }

  /**
   * The upstream that a request about all repositories names; undefined where it names none. Throws RegistryError as
   * `route` does.
   */
  upstreamOf({ namespace, prefix, host }: AskedOfAll): Upstream | undefined {
    const names = this.#names
    const inPath = prefix === undefined ? undefined : names.demand(prefix, `the path /${prefix}`)
    if (namespace === undefined) return (inPath ?? names.byHost(host))?.upstream
    const inQuery = names.demand(namespace, `?ns=${namespace}`)
    if (inPath && inPath.upstream !== inQuery.upstream) throw contradiction(inQuery, inPath)
    return inQuery.upstream
  }

  /** Whether an upstream goes by `name`. */
  serves(name: string): boolean {
    return this.#names.find(name, name) !== undefined
  }

  /** Whoever names a registry more than once means one, and it is no part of the repository's name. */
  #settle(found: Named<Upstream>, { prefix, name }: Asked): Route<Upstream> {
    const { upstream } = found
    const inPath = prefix === undefined ? undefined : this.#names.demand(prefix, `the path /${prefix}`)
    const leading = leadingPart(name)
    const inName = this.#names.find(leading, `the name's first part ${leading}`)
    const isLed = inName?.upstream === upstream
    const otherInPath = inPath?.upstream === upstream ? undefined : inPath
    // A name without a dot is an owner's as well.
    const otherInName = !isLed && looksLikeRegistry(leading) ? inName : undefined
    const other = otherInPath ?? otherInName
    if (other) throw contradiction(found, other)
    const rest = isLed ? withoutVersion(name.slice(leading.length + 1)) : name
    // As it was written: a refusal of what nobody wrote would be a riddle.
    const written = parseRepositoryName(rest)
    return { upstream, name: parseRepositoryName(this.#names.inFull(upstream, written)) }
  }
}

function contradiction(
  found: Named<{ readonly name: string }>,
  other: Named<{ readonly name: string }>,
): RegistryError {
  const message = `the request names two registries: ${found.by} means ${found.upstream.name}, ${other.by} means ${other.upstream.name}; name one, or the same twice`
  return new RegistryError('NAME_UNKNOWN', message)
}

/** The first part of a name that has more of them, else nothing. */
function leadingPart(name: string): string {
  return name.slice(0, Math.max(0, name.indexOf('/')))
}

/**
 * Clients add `/v2` to the path of a mirror's address, also where it has one: `/v2/ghcr.io/v2/owner/app`. An owner
 * may be called "v2" as well: it counts as added where a name of two parts follows.
 */
export function withoutVersion(name: string): string {
  return /^v2\/[^/]+\/./.test(name) ? name.slice(3) : name
}
