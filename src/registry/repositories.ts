import type { RegistryClient } from '../upstream/registry-client.ts'
import type { Mirror } from './mirror.ts'
import { MirroredRepository } from './mirrored-repository.ts'
import type { Repository } from './repository.ts'
import { type Asked, Router } from './router.ts'

/** All repositories that a request can mean. */
export class Repositories {
  readonly #mirror: Mirror
  readonly #router: Router<RegistryClient>

  /** The first upstream answers requests that name none. Throws TypeError where there is none. */
  constructor(mirror: Mirror, upstreams: readonly RegistryClient[]) {
    this.#mirror = mirror
    this.#router = new Router(upstreams)
  }

  /** The upstreams, as configured. */
  get upstreams(): readonly RegistryClient[] {
    return this.#router.upstreams
  }

  /** Whether an upstream goes by `name`. */
  serves(name: string): boolean {
    return this.#router.serves(name)
  }

  /** Throws RegistryError as `Router.route` does. That there is a repository of this name it does not say. */
  async find(asked: Asked): Promise<Repository> {
    const { upstream, name } = this.#router.route(asked)
    return new MirroredRepository(this.#mirror, upstream, name)
  }
}
