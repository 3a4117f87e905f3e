import { LRUCache } from 'lru-cache'
import type { Expiring } from '../../flow/expiring.ts'
import { SingleFlight } from '../../flow/single-flight.ts'
import type { Sender } from '../connections/transport.ts'
import { UpstreamError, type UpstreamErrorCode } from '../error.ts'
import { type Asking, apiUrl } from '../question.ts'
import type { Account, Attempt } from './account.ts'
import { type Challenge, parseChallenges } from './challenge.ts'
import { KnownChallenge } from './known-challenge.ts'
import { acceptRealm } from './realm.ts'
import { furtherScopes, pullScope } from './scope.ts'
import { basicAuthorization, type Token } from './token-request.ts'
import { TokenServices } from './token-service.ts'

export interface TokenSourceOptions {
  /** The upstream's name, for errors and keys. */
  readonly upstream: string
  /** The registry whose challenges are answered; its `/v2/` lies below. */
  readonly url: URL
  /** Hosts or URLs that are accepted as realm besides the registry's own (`upstreams[].realms`). */
  readonly realms: readonly string[]
  readonly transport: Sender
  /** Milliseconds without a sign of life after which nobody waits for an answer any more. */
  readonly patienceMs: number
  /** Holds tokens until they expire; what it loses is fetched again. */
  readonly tokens: Expiring<string>
  readonly onTokenFetched?: () => void
}

/** Who asks about what. */
export interface Caller extends Asking {
  /** As it stands in the URL of the question; undefined for `/v2/` itself. */
  readonly repository: string | undefined
  /** Undefined: as anyone. While it is refused, the question is asked as anyone, too. */
  readonly account: Account | undefined
}

/** Seconds before its end at which a token is no longer used, at most. */
const margin = 30
/** Repositories whose further scopes are remembered. */
const rememberedScopes = 1000

/**
 * The Authorization headers for one registry (distribution's "Token Authentication"): one token request for each
 * (realm, service, scopes, account) however many ask, kept until shortly before it expires. A realm is validated
 * before anything is sent to it. The scope is our own, and a second time with what the challenge wants to be read.
 */
export class TokenSource {
  readonly #options: TokenSourceOptions
  readonly #services: TokenServices
  readonly #fetching = new SingleFlight<string, string | undefined>()
  /** What a repository's token has to have, where that is more than its own scope. */
  readonly #scopes = new LRUCache<string, readonly string[]>({ max: rememberedScopes })
  readonly #known = new KnownChallenge()

  constructor(options: TokenSourceOptions) {
    this.#options = options
    this.#services = new TokenServices(options)
  }

  /** The Authorization header to bring along; undefined while the registry has not asked for one. */
  async authorization(caller: Caller): Promise<string | undefined> {
    const challenge = this.#known.current
    if (!challenge) return undefined
    try {
      return await this.#answer(challenge, this.#scopesOf(caller), caller)
    } catch (error) {
      // Its token service may have moved, or have been none for this.
      const wasPresumed = this.#known.forget(challenge)
      if (wasPresumed && error instanceof UpstreamError) return undefined
      throw error
    }
  }

  /**
   * Takes the challenge of a 401 to `/v2/` for what questions about repositories will be told, so that they bring a token at
   * once; where that does not get one, they go without. Nothing where it knows better, or it is none that it can answer so.
   */
  presume(header: string | string[] | undefined): void {
    const isBearer = (challenge: Challenge) => challenge.scheme === 'bearer' && this.#realmOf(challenge)
    this.#known.presume(parseChallenges(header).find(isBearer))
  }

  /** Where a token for `caller` would have to be got; undefined where none is needed, as far as it knows, or it has one. */
  async tokenService(caller: Caller): Promise<URL | undefined> {
    const challenge = this.#known.current
    if (challenge?.scheme !== 'bearer') return undefined
    const asked = caller.account?.isPaused === false ? caller.account : undefined
    const kept = await this.#options.tokens.get(this.#keyOf(challenge, this.#scopesOf(caller), asked))
    return kept === undefined ? this.#realmOf(challenge) : undefined
  }

  /**
   * The Authorization header that answers a 401; `used` is the one that was refused, and `tries` says how many
   * answers the same question has had. Undefined where nothing is left to try. Throws UpstreamError UNAUTHORIZED
   * where there is no challenge that we can answer, REFUSED where its realm is foreign.
   */
  async answerChallenge(
    header: string | string[] | undefined,
    caller: Caller,
    { used, tries }: { used: string | undefined; tries: number },
  ): Promise<string | undefined> {
    const offered = parseChallenges(header)
    const challenge = this.#choose(offered, caller.account)
    const scopes = this.#scopesOf(caller)
    if (tries > 0) return tries > 1 ? this.#forget(caller) : this.#answerWithMore(offered, challenge, caller)
    let answer = await this.#answer(challenge, scopes, caller)
    if (answer !== undefined && answer === used) {
      await this.#dropUsed(used, challenge, scopes, caller.account)
      answer = await this.#answer(challenge, scopes, caller, true)
    }
    this.#known.made(challenge)
    return answer
  }

  /** The token with our own scope was not enough: the registry may keep the repository under another name. */
  async #answerWithMore(
    offered: readonly Challenge[],
    challenge: Challenge,
    caller: Caller,
  ): Promise<string | undefined> {
    const { repository } = caller
    if (repository === undefined || challenge.scheme !== 'bearer') return undefined
    const sameRealm = offered.filter(
      ({ scheme, parameters }) =>
        scheme === 'bearer' && parameters.get('realm') === challenge.parameters.get('realm'),
    )
    const own = pullScope(repository)
    const more = [own, ...furtherScopes(sameRealm, own)]
    if (more.join() === this.#scopesOf(caller).join()) return this.#forget(caller)
    try {
      const answer = await this.#answer(challenge, more, caller)
      this.#scopes.set(repository, more)
      return answer
    } catch (error) {
      // A scope that nobody gets, such as the placeholder of ghcr.io: the 401 was the answer.
      if (error instanceof UpstreamError && error.isRefusal) return undefined
      throw error
    }
  }

  /** What was asked for is not what it takes. */
  #forget({ repository }: Caller): undefined {
    if (repository !== undefined) this.#scopes.delete(repository)
  }

  #scopesOf({ repository }: Caller): readonly string[] {
    if (repository === undefined) return []
    return this.#scopes.get(repository) ?? [pullScope(repository)]
  }

  /** Bearer where its realm is accepted, else Basic where there is an account, else a Bearer to be refused with. */
  #choose(offered: readonly Challenge[], account: Account | undefined): Challenge {
    const bearer = offered.filter(({ scheme }) => scheme === 'bearer')
    const basic = offered.find(({ scheme }) => scheme === 'basic')
    const chosen = bearer.find((challenge) => this.#realmOf(challenge)) ?? (account && basic) ?? bearer[0]
    if (chosen) return chosen
    if (basic) {
      throw this.#error(
        'UNAUTHORIZED',
        'it asks for a user name and a password, and none are configured for it (username and password of the upstream)',
      )
    }
    const schemes = [...new Set(offered.map(({ scheme }) => scheme))].join(', ')
    const message = schemes === '' ? 'without saying which' : `which is none that is known here (${schemes})`
    throw this.#error('UNAUTHORIZED', `it asks for a login that is not configured, ${message}`)
  }

  async #answer(
    challenge: Challenge,
    scopes: readonly string[],
    { account, signal }: Caller,
    isDoubted = false,
  ): Promise<string | undefined> {
    if (challenge.scheme === 'basic')
      return account?.use(() => this.#proveBasic(account, isDoubted, signal), signal)
    const own =
      account && !account.isPaused ? await this.#token(challenge, scopes, account, signal) : undefined
    return `Bearer ${own ?? (await this.#token(challenge, scopes, undefined, signal))}`
  }

  /** A 401 to Basic may be about the repository alone: `/v2/` tells whether the account is right. */
  async #proveBasic(
    account: Account,
    isDoubted: boolean,
    signal: AbortSignal | undefined,
  ): Promise<Attempt<string>> {
    const { transport, url } = this.#options
    const authorization = basicAuthorization(account.credentials)
    if (account.isAccepted && !isDoubted) return { value: authorization }
    const response = await transport.request({
      method: 'GET',
      url: apiUrl(url, ''),
      headers: { authorization },
      signal,
    })
    response.discard()
    return response.status === 401 ? { refusal: 'it answered 401' } : { value: authorization }
  }

  async #token(
    challenge: Challenge,
    scopes: readonly string[],
    account: Account | undefined,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    const key = this.#keyOf(challenge, scopes, account)
    const kept = await this.#options.tokens.get(key)
    if (kept !== undefined) return kept
    const fetch = (flight: AbortSignal) => this.#fetch(challenge, scopes, account, { key, signal: flight })
    return this.#fetching.run(key, fetch, signal)
  }

  /** Undefined where the account is refused. */
  async #fetch(
    challenge: Challenge,
    scopes: readonly string[],
    account: Account | undefined,
    { key, signal }: { readonly key: string; readonly signal: AbortSignal },
  ): Promise<string | undefined> {
    const { upstream, tokens, onTokenFetched } = this.#options
    const { parameters } = challenge
    const realm = this.#realmOf(challenge)
    if (!realm) {
      const named = parameters.get('realm')?.slice(0, 200)
      throw this.#error(
        'REFUSED',
        `it asks us to get a token from "${named}", which is not on its own domain; if that is right, list that host in upstreams[].realms`,
      )
    }
    const ask = async (credentials = account?.credentials): Promise<Token | number> => {
      const service = parameters.get('service')
      const answer = await this.#services.ask({
        upstream,
        realm,
        service,
        scopes,
        credentials,
        signal,
      })
      if (typeof answer !== 'number') onTokenFetched?.()
      return answer
    }
    const token = account
      ? await account.use(
          async (credentials) =>
            this.#judge(account, await ask(credentials), () =>
              this.#token(challenge, scopes, undefined, signal),
            ),
          signal,
        )
      : await ask()
    if (typeof token === 'number') {
      throw this.#error('UNAUTHORIZED', `its token service answered ${token}`, token)
    }
    if (token === undefined) return undefined
    const keptSeconds = token.lifetimeSeconds - Math.min(margin, token.lifetimeSeconds / 2)
    await tokens.set(key, token.token, keptSeconds * 1000)
    return token.token
  }

  /**
   * 401 is about the account. Other refusals may be about the scope; where anyone gets a token for it, they were about
   * the account after all, unless that is known to be right: it may be shut out of this one repository.
   */
  async #judge(
    account: Account,
    answer: Token | number,
    asAnyone: () => Promise<unknown>,
  ): Promise<Attempt<Token | undefined>> {
    if (typeof answer !== 'number') return { value: answer }
    const refusal = `its token service answered ${answer}`
    if (answer === 401) return { refusal }
    await asAnyone()
    return account.isAccepted ? { value: undefined } : { refusal }
  }

  #realmOf({ parameters }: Challenge): URL | undefined {
    return acceptRealm(parameters.get('realm'), this.#options.url, this.#options.realms)
  }

  async #dropUsed(
    used: string | undefined,
    challenge: Challenge,
    scopes: readonly string[],
    account: Account | undefined,
  ): Promise<void> {
    const { tokens } = this.#options
    for (const who of new Set([account, undefined])) {
      const key = this.#keyOf(challenge, scopes, who)
      if (`Bearer ${await tokens.get(key)}` === used) await tokens.delete(key)
    }
  }

  #keyOf({ parameters }: Challenge, scopes: readonly string[], account: Account | undefined): string {
    const { upstream, url } = this.#options
    const [realm, service] = [parameters.get('realm'), parameters.get('service')]
    const username = account?.credentials.username ?? ''
    return JSON.stringify([upstream, url.origin, realm, service, scopes, username])
  }

  #error(code: UpstreamErrorCode, message: string, status?: number): UpstreamError {
    return new UpstreamError(code, this.#options.upstream, message, status === undefined ? {} : { status })
  }
}
