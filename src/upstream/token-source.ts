import type Keyv from 'keyv'
import { SingleFlight } from '../flow/single-flight.ts'
import { type Challenge, parseChallenges } from './challenge.ts'
import { UpstreamError } from './error.ts'
import { parseRetryAfter } from './rate-limit.ts'
import { acceptRealm } from './realm.ts'
import { readBody, type Transport } from './transport.ts'

export interface Credentials {
  readonly username: string
  readonly password: string
}

export interface TokenSourceOptions {
  /** The upstream's name, for errors and keys. */
  readonly upstream: string
  readonly url: URL
  /** Hosts or URLs that are accepted as realm besides the upstream's own (`upstreams[].realms`). */
  readonly realms: readonly string[]
  readonly credentials: Credentials | undefined
  readonly transport: Transport
  /** Holds tokens until they expire; what it loses is fetched again. */
  readonly cache: Keyv
  readonly onTokenFetched?: () => void
}

/** Seconds; what the token specification says where the answer does not. */
const defaultLifetime = 60
/** Seconds before its end at which a token is no longer used, at most. */
const margin = 30
const maximumTokenBytes = 1024 * 1024

/**
 * Fetches bearer tokens (distribution's "Token Authentication"): one request for each (realm, service, scope,
 * account) however many ask, kept until shortly before it expires. The scope is always ours; the realm is
 * validated before anything is sent to it.
 */
export class TokenSource {
  readonly #options: TokenSourceOptions
  readonly #fetching = new SingleFlight<string, string>()
  /** The challenge that the upstream last made; it lets us bring a token before we are asked. */
  #challenge: Challenge | undefined

  constructor(options: TokenSourceOptions) {
    this.#options = options
  }

  /** The Authorization header for `scope`; undefined while the upstream has not asked for one. */
  async authorization(scope: string): Promise<string | undefined> {
    const challenge = this.#challenge
    if (!challenge) return undefined
    try {
      return await this.#answer(challenge, scope)
    } catch (error) {
      // Its token service may have moved: the next request comes without a token, to be told where to get one.
      if (this.#challenge === challenge) this.#challenge = undefined
      throw error
    }
  }

  /**
   * The Authorization header that answers a 401; `used` is the one that was refused, which is dropped. Throws
   * UpstreamError UNAUTHORIZED where there is no challenge that we can answer, REFUSED where its realm is foreign.
   */
  async answerChallenge(
    header: string | string[] | undefined,
    scope: string,
    used: string | undefined,
  ): Promise<string> {
    const offered = parseChallenges(header)
    const challenge = offered.find(({ scheme }) => scheme === 'bearer') ?? offered.find(isBasic)
    if (!challenge || (isBasic(challenge) && !this.#options.credentials)) {
      throw this.#error('UNAUTHORIZED', 'it asks for a login that is not configured')
    }
    const answer = await this.#answer(challenge, scope)
    this.#challenge = challenge
    if (answer !== used) return answer
    if (isBasic(challenge))
      throw this.#error('UNAUTHORIZED', 'it refuses the configured user name and password')
    await this.#options.cache.delete(this.#keyOf(challenge, scope)).catch(() => false)
    return this.#answer(challenge, scope)
  }

  async #answer(challenge: Challenge, scope: string): Promise<string> {
    const { credentials, cache } = this.#options
    if (isBasic(challenge)) return basic(credentials)
    const key = this.#keyOf(challenge, scope)
    const kept = await cache.get<string>(key).catch(() => undefined)
    const token = kept ?? (await this.#fetching.run(key, () => this.#fetchToken(challenge, scope, key)))
    return `Bearer ${token}`
  }

  #keyOf({ parameters }: Challenge, scope: string): string {
    const { upstream, credentials } = this.#options
    const account = credentials?.username ?? ''
    return JSON.stringify([
      'token',
      upstream,
      parameters.get('realm'),
      parameters.get('service'),
      scope,
      account,
    ])
  }

  async #fetchToken({ parameters }: Challenge, scope: string, key: string): Promise<string> {
    const { upstream, url, realms, credentials, transport, cache } = this.#options
    const realm = acceptRealm(parameters.get('realm'), url, realms)
    if (!realm) {
      throw this.#error(
        'REFUSED',
        `it asks us to get a token from "${parameters.get('realm')?.slice(0, 200)}", which is not on its own domain; if that is right, list that host in upstreams[].realms`,
      )
    }
    const service = parameters.get('service')
    if (service !== undefined) realm.searchParams.set('service', service)
    realm.searchParams.set('scope', scope)
    if (credentials) realm.searchParams.set('account', credentials.username)
    const response = await transport.request({
      method: 'GET',
      url: realm,
      headers: credentials ? { authorization: basic(credentials) } : {},
    })
    const body = await readBody(response, upstream, maximumTokenBytes)
    if (response.status === 429) {
      throw new UpstreamError('RATE_LIMITED', upstream, 'its token service limits our requests', {
        status: 429,
        retryAfterSeconds: parseRetryAfter(response.headers['retry-after']),
      })
    }
    if (response.status >= 500) {
      throw this.#error('SERVER_ERROR', `its token service answered ${response.status}`, response.status)
    }
    if (response.status !== 200) {
      const isRefused = credentials && (response.status === 401 || response.status === 403)
      const what = isRefused ? 'refuses the configured user name and password' : `answered ${response.status}`
      throw this.#error('UNAUTHORIZED', `its token service ${what}`, response.status)
    }
    this.#options.onTokenFetched?.()
    const { token, lifetimeSeconds } = parseTokenAnswer(body) ?? {}
    if (token === undefined || lifetimeSeconds === undefined) {
      throw this.#error('INVALID_RESPONSE', 'its token service answered without a token')
    }
    const keptSeconds = lifetimeSeconds - Math.min(margin, lifetimeSeconds / 2)
    await cache.set(key, token, keptSeconds * 1000).catch(() => false)
    return token
  }

  #error(
    code: 'UNAUTHORIZED' | 'REFUSED' | 'SERVER_ERROR' | 'INVALID_RESPONSE',
    message: string,
    status?: number,
  ) {
    return new UpstreamError(code, this.#options.upstream, message, status === undefined ? {} : { status })
  }
}

function isBasic({ scheme }: Challenge): boolean {
  return scheme === 'basic'
}

function basic(credentials: Credentials | undefined): string {
  const { username = '', password = '' } = credentials ?? {}
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

/** Reads `token` or `access_token` and `expires_in`; undefined where there is no token that a header can carry. */
function parseTokenAnswer(body: Buffer): { token: string; lifetimeSeconds: number } | undefined {
  let answer: unknown
  try {
    answer = JSON.parse(body.toString())
  } catch {
    return undefined
  }
  if (typeof answer !== 'object' || answer === null) return undefined
  const { token, access_token, expires_in } = answer as Record<string, unknown>
  const text = token || access_token
  if (typeof text !== 'string' || !/^[\x21-\x7e]+$/.test(text)) return undefined
  const lifetime = typeof expires_in === 'number' && expires_in > 0 ? expires_in : defaultLifetime
  return { token: text, lifetimeSeconds: lifetime }
}
