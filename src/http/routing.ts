import { type Action, actions } from '../access/policy.ts'
import { RegistryError } from '../oci/error.ts'
import type { Kind, Question } from './question.ts'
import type { RegistryTarget } from './registry-url.ts'

/** One method on one kind of thing. */
export interface Route<Asked extends Kind> {
  readonly kind: Asked
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'
  readonly action: Action
  /** Rejects with RegistryError, UpstreamError or StorageError before anything was sent. */
  readonly answer: (question: Question<Asked>) => Promise<void>
}

/** A route of whichever kind. */
export type AnyRoute = { readonly [Asked in Kind]: Route<Asked> }[Kind]

/** All that can be done here: what is not in it is refused. */
export class RouteTable {
  readonly #routes = new Map<string, AnyRoute>()
  readonly #methods = new Set<string>()

  /** Throws TypeError where a route does not say what it lets somebody do, or another one is in its place. */
  constructor(routes: readonly AnyRoute[]) {
    for (const route of routes) {
      const place = placeOf(route.kind, route.method)
      if (!actions.includes(route.action))
        throw new TypeError(`the route ${place} has no action: nobody could tell who may use it`)
      if (this.#routes.has(place)) throw new TypeError(`there are two routes for ${place}`)
      this.#routes.set(place, route)
      this.#methods.add(route.method)
    }
  }

  get all(): readonly AnyRoute[] {
    return [...this.#routes.values()]
  }

  /** Throws RegistryError UNSUPPORTED: 404 for what is nothing, 405 with the methods that would do. */
  find(kind: RegistryTarget['kind'], method: string): AnyRoute {
    const route = this.#routes.get(placeOf(kind, method))
    if (route) return route
    if (kind !== 'unknown' || !this.knows(method)) throw this.refusal(kind, method)
    throw nothingHere()
  }

  /** Whether anything takes this method. */
  knows(method: string): boolean {
    return this.#methods.has(method)
  }

  /** That a method is not taken (405), with those that would do. */
  refusal(kind: RegistryTarget['kind'], method: string): RegistryError {
    const known = this.all.filter((route) => route.kind === kind)
    const others = known.map((route) => route.method).filter((other) => other !== method)
    const allow = others.length === 0 ? 'GET, HEAD' : others.join(', ')
    const isSwitchedOff = others.length < known.length
    const message = isSwitchedOff
      ? `nothing can be deleted here (local.delete: false in mirror.yml); ${nouns[kind]} has ${allow}`
      : this.knows(method)
        ? `${method} cannot be done with ${nouns[kind]} here; ${allow} can`
        : `${method} is no method of a registry; ${nouns[kind]} has ${allow}`
    return new RegistryError('UNSUPPORTED', message, { allow })
  }
}

const nouns = {
  base: 'this address',
  manifest: 'a manifest',
  blob: 'a blob',
  uploads: 'the uploads of a repository',
  upload: 'an upload',
  tags: 'a list of tags',
  referrers: 'a list of referrers',
  catalog: 'the list of repositories',
  ping: 'this address',
  search: 'a search',
  unknown: 'this address',
} as const satisfies Record<RegistryTarget['kind'], string>

function placeOf(kind: string, method: string): string {
  return `${method} ${kind}`
}

/** The answer to what no registry has, or what this one has not. */
export function nothingHere(): RegistryError {
  const message =
    'there is nothing at this path: manifests, blobs, tags and referrers of a repository are below /v2/, and so is the list of repositories (/v2/_catalog)'
  return new RegistryError('UNSUPPORTED', message, { status: 404 })
}
