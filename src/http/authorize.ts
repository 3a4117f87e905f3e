import type { Logins } from '../access/logins.ts'
import type { Login } from '../access/passwords.ts'
import { type Action, anyone, type Decision, decide, type Rules, type Who } from '../access/policy.ts'
import { formatScope } from '../access/scopes.ts'
import { tokenService } from '../access/tokens.ts'
import { RegistryError } from '../oci/error.ts'
import { credentialsOf } from './credentials.ts'
import type { RequestContext } from './request-context.ts'

export interface AuthorizerOptions {
  /** But for whether there are users, which come and go. */
  readonly rules: Omit<Rules, 'hasUsers'>
  readonly logins: Pick<Logins, 'hasUsers' | 'user' | 'bearerOf'>
}

/** What whoever sent a request may do. `repository`: as the client writes it. */
export interface Asker {
  readonly who: Who
  may(action: Action, repository: string): boolean
  /** Whether somebody may, or might with a login: clients that push look first, and log in where they are told to. */
  might(action: Action, repository: string): boolean
  /**
   * Sends somebody for a token to pull, which anybody is given, who shows nothing and might push with a login. Throws
   * RegistryError UNAUTHORIZED (401).
   */
  requireToken(repository: string): void
}

/** Where clients get tokens, below the address that they use. */
export const tokenPath = '/token'

/** What a client shall ask a token for: pushing is reading as well, and who deletes asks for all at once. */
const scopeOf = {
  pull: ['pull'],
  push: ['pull', 'push'],
  delete: ['pull', 'push', 'delete'],
} as const satisfies Record<Action, readonly Action[]>

type TokenError = 'invalid_token' | 'insufficient_scope'

/** The one hook before every route: who asks, and whether that is allowed, as `access/policy.ts` decides. */
export class Authorizer {
  readonly #options: AuthorizerOptions

  constructor(options: AuthorizerOptions) {
    this.#options = options
  }

  /** As they are now. */
  get hasUsers(): boolean {
    return this.#options.logins.hasUsers
  }

  /**
   * Lets a request in. `repository`: as the client writes it; undefined for what is in none. A login that comes with a
   * pull is not looked at: it may be one for another registry, which Docker sends to its mirrors. Throws RegistryError
   * UNAUTHORIZED (401), DENIED (403) with a sentence that says who may, TOOMANYREQUESTS (429).
   */
  async admit(context: RequestContext, action: Action, repository = ''): Promise<Asker> {
    const challenge = { repository, actions: scopeOf[action] }
    const { who, error } =
      action === 'pull' ? { who: anyone, error: undefined } : await this.#identify(context, challenge)
    const decision = this.decide(context, who, action, repository)
    if (!decision.isAllowed) {
      const { code, reason } = decision
      if (code === 'DENIED') throw new RegistryError(code, reason)
      const lack = error ?? (who.kind === 'user' ? 'insufficient_scope' : undefined)
      throw this.#unauthorized(context, reason, challenge, lack)
    }
    return {
      who,
      may: (wanted, name) => this.decide(context, who, wanted, name).isAllowed,
      might: (wanted, name) => {
        const wish = this.decide(context, who, wanted, name)
        return wish.isAllowed || wish.code === 'UNAUTHORIZED'
      },
      requireToken: (name) => {
        const wish = this.decide(context, who, 'push', name)
        if (wish.isAllowed || wish.code === 'DENIED' || credentialsOf(context.request) !== undefined) return
        const message = `whoever may push is asked for a token before ${name} tells what it has`
        throw this.#unauthorized(context, message, { repository: name, actions: scopeOf.pull }, undefined)
      },
    }
  }

  /** What somebody may do who sends a request. */
  decide(context: RequestContext, who: Who, action: Action, repository: string): Decision {
    const { rules } = this.#options
    const { origin, request } = context
    return decide(
      { who, action, repository, origin, host: request.headers.host },
      { ...rules, hasUsers: this.hasUsers },
    )
  }

  /**
   * Makes sure that whoever asks has logged in, or has a token that anybody is given: by this clients find out how to
   * log in here. Nobody has to while there are no users. Throws RegistryError UNAUTHORIZED (401), TOOMANYREQUESTS (429).
   */
  async requireToken(context: RequestContext): Promise<void> {
    if (!this.hasUsers) return
    const { error } = await this.#identify(context, undefined)
    const isShown = credentialsOf(context.request) !== undefined
    if (error !== undefined || !isShown) {
      throw this.#unauthorized(context, 'this mirror has users: get a token first', undefined, error)
    }
  }

  /** The user whose login this is. Throws RegistryError UNAUTHORIZED (401) where it is nobody's, TOOMANYREQUESTS (429). */
  async logIn(context: RequestContext, login: Login, challenge: string): Promise<Who> {
    const { signal, clientKey: client } = context
    const who = await this.#options.logins.user(login, { client, signal })
    if (who?.kind === 'user') {
      context.user = who.name
      return who
    }
    const message = 'the user name or the password is wrong: log in again (docker login)'
    throw new RegistryError('UNAUTHORIZED', message, { challenge })
  }

  /** Who asks. `error`: what is wrong with the token that came. Throws as `logIn`. */
  async #identify(
    context: RequestContext,
    scope: Parameters<typeof formatScope>[0] | undefined,
  ): Promise<{ readonly who: Who; readonly error: TokenError | undefined }> {
    const shown = this.hasUsers ? credentialsOf(context.request) : undefined
    if (shown === undefined) return { who: anyone, error: undefined }
    if (shown.scheme === 'basic') {
      const who = await this.logIn(context, shown.login, this.#challenge(context, scope))
      return { who, error: undefined }
    }
    const who = await this.#options.logins.bearerOf(shown.token)
    if (who?.kind === 'user') context.user = who.name
    return { who: who ?? anyone, error: who ? undefined : 'invalid_token' }
  }

  #unauthorized(
    context: RequestContext,
    message: string,
    scope: Parameters<typeof formatScope>[0] | undefined,
    error: TokenError | undefined,
  ): RegistryError {
    return new RegistryError('UNAUTHORIZED', message, { challenge: this.#challenge(context, scope, error) })
  }

  /** RFC 6750 3, and distribution "Token Authentication Specification". */
  #challenge(
    { publicAddress }: RequestContext,
    scope: Parameters<typeof formatScope>[0] | undefined,
    error?: TokenError,
  ): string {
    const parts = [`realm="${publicAddress.url}${tokenPath}"`, `service="${tokenService}"`]
    // What a path names has no quotes in it (`percentDecode`).
    if (scope) parts.push(`scope="${formatScope(scope)}"`)
    if (error !== undefined) parts.push(`error="${error}"`)
    return `Bearer ${parts.join(',')}`
  }
}
