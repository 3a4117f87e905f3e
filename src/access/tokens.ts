import { fingerprintOf, type Users } from './htpasswd.ts'
import { actions, anyone, type Scope, type Who } from './policy.ts'
import { keyId, type SigningKey } from './signing-key.ts'

export interface Token {
  readonly text: string
  /** Seconds for which it is good. */
  readonly lifetime: number
  readonly issuedAt: Date
}

export interface TokensOptions {
  readonly key: SigningKey
  readonly users: () => Users
}

/** Of both, the issuer and the audience: a mirror takes its own tokens only. */
export const tokenService = 'larder'
const algorithm = 'EdDSA'
/** Seconds. A push of hours asks for a new one before each request that comes later. */
const lifetime = 300
/** Seconds that the clock may have been set back since a token was made. */
const clockTolerance = 60
/** Characters; no client sends a longer one back in a header. */
const longestToken = 8192

/**
 * The tokens that clients push with (distribution "Token Authentication Implementation", RFC 7519): who it is, and for
 * what. A user's is worth nothing once the user is gone or has another password. Anybody's says that it was given, and
 * nothing else.
 */
export class Tokens {
  readonly #options: TokensOptions
  readonly #keyId: string

  constructor(options: TokensOptions) {
    this.#options = options
    this.#keyId = keyId(options.key)
  }

  /** `who`: somebody who has just shown a password, or anyone. */
  async issue(who: Who, scopes: readonly Scope[]): Promise<Token> {
    const { SignJWT } = await jose()
    const issuedAt = new Date()
    const access = scopes.map(({ repository, actions: allowed }) => ({
      type: 'repository',
      name: repository,
      actions: allowed,
    }))
    const claims = { access, ...(who.kind === 'user' && { user: who.fingerprint }) }
    const seconds = Math.floor(issuedAt.getTime() / 1000)
    const text = await new SignJWT(claims)
      .setProtectedHeader({ alg: algorithm, typ: 'JWT', kid: this.#keyId })
      .setIssuer(tokenService)
      .setAudience(tokenService)
      .setSubject(who.kind === 'user' ? who.name : '')
      .setIssuedAt(seconds)
      .setNotBefore(seconds)
      .setExpirationTime(seconds + lifetime)
      .sign(this.#options.key.private)
    return { text, lifetime, issuedAt }
  }

  /** Whose token it is; undefined where it is none of ours, or is not good any more. */
  async bearerOf(text: string): Promise<Who | undefined> {
    if (text.length > longestToken) return undefined
    const { errors, jwtVerify } = await jose()
    try {
      const { payload } = await jwtVerify(text, this.#options.key.public, {
        algorithms: [algorithm],
        issuer: tokenService,
        audience: tokenService,
        clockTolerance,
        requiredClaims: ['sub', 'nbf', 'exp', 'access'],
      })
      if (payload.sub === '') return anyone
      const hash = this.#options.users().get(payload.sub ?? '')
      if (hash === undefined || payload.user !== fingerprintOf(hash)) return undefined
      return { kind: 'user', name: payload.sub ?? '', scopes: scopesOf(payload.access) }
    } catch (error) {
      if (error instanceof errors.JOSEError) return undefined
      throw error
    }
  }
}

/** 2 MB that only who pushes or logs in needs. */
function jose() {
  return import('jose')
}

/** As `issue` wrote them. */
function scopesOf(access: unknown): Scope[] {
  const entries = access as readonly { readonly name: string; readonly actions: readonly string[] }[]
  return entries.map(({ name, actions: allowed }) => ({
    repository: name,
    actions: actions.filter((action) => allowed.includes(action)),
  }))
}
