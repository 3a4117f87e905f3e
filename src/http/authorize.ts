import { type Action, anyone, decide, type Rules, type Who } from '../access/policy.ts'
import { RegistryError } from '../oci/error.ts'
import type { RequestContext } from './request-context.ts'

export interface AuthorizerOptions {
  /** As they are now: users come and go. */
  readonly rules: () => Rules
}

/** What whoever sent a request may do. */
export interface Asker {
  readonly who: Who
  /** `repository`: as the client writes it. */
  may(action: Action, repository: string): boolean
}

/** The one hook before every route: who asks, and whether that is allowed, as `access/policy.ts` decides. */
export class Authorizer {
  readonly #options: AuthorizerOptions

  constructor(options: AuthorizerOptions) {
    this.#options = options
  }

  /**
   * Lets a request in. `repository`: as the client writes it; undefined for what is in none. Throws RegistryError
   * DENIED (403) with a sentence that says who may.
   */
  async admit(context: RequestContext, action: Action, repository: string | undefined): Promise<Asker> {
    const { rules } = this.#options
    const who = anyone
    const ask = (wanted: Action, name: string) =>
      decide(
        {
          who,
          action: wanted,
          repository: name,
          origin: context.origin,
          host: context.request.headers.host,
        },
        rules(),
      )
    const decision = ask(action, repository ?? '')
    if (!decision.isAllowed) throw new RegistryError('DENIED', decision.reason)
    return { who, may: (wanted, name) => ask(wanted, name).isAllowed }
  }
}
