import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from './child-process.ts'

/** One entry of a token's `access` claim (distribution, "Token Authentication Implementation"). */
export type Access = { readonly type: string; readonly name: string; readonly actions: readonly string[] }

export type TokenOptions = {
  /** The `iss` claim. */
  readonly issuer: string
  /** The `aud` claim, and the `service` of the challenge. */
  readonly service: string
  /** Passwords by account name; without accounts every login is refused, and anonymous tokens are issued. */
  readonly accounts?: Readonly<Record<string, string>>
  /** Seconds that a token is valid for; 300 unless set. */
  readonly expiresInSeconds?: number
  /** The actions granted out of those asked for; without it, all of them. */
  readonly authorize?: (account: string | undefined, access: Access) => readonly string[]
}

/** A token that was issued. */
export type IssuedToken = {
  readonly account: string | undefined
  readonly access: readonly Access[]
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/** What a token service answers: a document, with the status and a challenge where the login failed. */
export type TokenAnswer = { readonly status: number; readonly document: object; readonly challenge?: string }

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** Issues signed tokens (ES256) and remembers them. It serves nothing by itself. */
export class TokenAuthority {
  readonly #options: TokenOptions
  readonly #key: KeyObject
  readonly #keyId: string
  readonly #tokens = new Map<string, IssuedToken>()
  #issued = 0
  #certificate: Promise<string> | undefined

  constructor(options: TokenOptions) {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.#options = options
    this.#key = privateKey
    this.#keyId = libtrustKeyId(publicKey)
  }

  /** How many tokens were issued. */
  get issued(): number {
    return this.#issued
  }

  resetCount(): void {
    this.#issued = 0
  }

  /** The self-signed certificate of the key, for the `rootcertbundle` of a registry; `openssl` makes it once. */
  certificatePem(): Promise<string> {
    this.#certificate ??= selfSign(this.#key)
    return this.#certificate
  }

  /**
   * Answers a token request: GET with `service`, `scope` and Basic credentials, or the OAuth2 form of POST
   * with a password. `query` holds the parameters of either.
   */
  answer(query: URLSearchParams, authorization: string | undefined): TokenAnswer {
    const login = basicCredentials(authorization) ?? formCredentials(query)
    if (login !== undefined && !this.isAccount(login)) {
      const document = { details: 'incorrect username or password' }
      return { status: 401, document, challenge: `Basic realm="${this.#options.issuer}"` }
    }
    const access = query.getAll('scope').flatMap((scopes) => scopes.split(' ').flatMap(parseScope))
    const granted = access
      .map((entry) => ({ ...entry, actions: this.#options.authorize?.(login?.name, entry) ?? entry.actions }))
      .filter((entry) => entry.actions.length > 0)
    return { status: 200, document: this.#issue(login?.name, granted) }
  }

  /** Tells whether a name and a password belong together. */
  isAccount(login: { name: string; password: string }): boolean {
    const { accounts = {} } = this.#options
    return Object.hasOwn(accounts, login.name) && accounts[login.name] === login.password
  }

  /** The token in an Authorization header, unless it was never issued, has expired or was revoked. */
  find(authorization: string | undefined): IssuedToken | undefined {
    const token = this.#tokens.get(/^bearer +(\S+)$/i.exec(authorization ?? '')?.[1] ?? '')
    return token !== undefined && Date.now() < token.expiresAt ? token : undefined
  }

  /** Makes all tokens issued so far worthless. A registry that checks signatures only will not notice. */
  revokeAll(): void {
    this.#tokens.clear()
  }

  #issue(account: string | undefined, access: readonly Access[]): object {
    const { issuer, service, expiresInSeconds = 300 } = this.#options
    const now = Date.now()
    const seconds = Math.floor(now / 1000)
    const token = this.#sign({
      iss: issuer,
      sub: account ?? '',
      aud: service,
      exp: seconds + Math.ceil(expiresInSeconds),
      nbf: seconds - 10,
      iat: seconds,
      jti: randomUUID(),
      access,
    })
    this.#tokens.set(token, { account, access, expiresAt: now + expiresInSeconds * 1000 })
    this.#issued += 1
    const issuedAt = new Date(now).toISOString()
    return { token, access_token: token, expires_in: expiresInSeconds, issued_at: issuedAt }
  }

  #sign(claims: object): string {
    const header = { typ: 'JWT', alg: 'ES256', kid: this.#keyId }
    const text = [header, claims]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.')
    const signature = sign('sha256', Buffer.from(text), { key: this.#key, dsaEncoding: 'ieee-p1363' })
    return `${text}.${signature.toString('base64url')}`
  }
}

/** Reads Basic credentials (RFC 7617); undefined where there are none. */
export function basicCredentials(
  authorization: string | undefined,
): { name: string; password: string } | undefined {
  const encoded = /^basic +(\S+)$/i.exec(authorization ?? '')?.[1]
  if (encoded === undefined) return undefined
  const [name = '', ...rest] = Buffer.from(encoded, 'base64').toString().split(':')
  return { name, password: rest.join(':') }
}

function formCredentials(query: URLSearchParams): { name: string; password: string } | undefined {
  if (query.get('grant_type') !== 'password') return undefined
  return { name: query.get('username') ?? '', password: query.get('password') ?? '' }
}

function parseScope(scope: string): Access[] {
  const parts = /^([^:]+):(.+):([^:]*)$/.exec(scope)
  if (parts === null) return []
  const [, type = '', name = '', actions = ''] = parts
  return [{ type, name, actions: actions.split(',').filter((action) => action !== '') }]
}

/** The key id that docker/libtrust gives a key: 240 bits of the SHA-256 of its DER form, in groups of base32. */
function libtrustKeyId(key: KeyObject): string {
  const hash = createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest()
  const bits = [...hash.subarray(0, 30)].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const letters = (bits.match(/.{5}/g) ?? []).map((five) => alphabet[Number.parseInt(five, 2)]).join('')
  return (letters.match(/.{4}/g) ?? []).join(':')
}

async function selfSign(key: KeyObject): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-token-'))
  try {
    const [keyFile, file] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
    await writeFile(keyFile, key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
    const subject = ['-days', '30', '-subj', '/CN=larder-test-token-service']
    await run('openssl', ['req', '-x509', '-new', '-key', keyFile, '-out', file, ...subject])
    return await readFile(file, 'utf8')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
