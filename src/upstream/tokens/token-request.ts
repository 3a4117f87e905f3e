import { readBody } from '../connections/read-body.ts'
import type { Sender } from '../connections/transport.ts'
import { UpstreamError } from '../error.ts'
import type { Asking } from '../question.ts'
import { toldRetryAfter } from '../rate-limit.ts'
import type { Credentials } from './account.ts'

export interface TokenRequest extends Asking {
  /** The upstream's name, for errors. */
  readonly upstream: string
  /** Validated: whatever is sent goes there. */
  readonly realm: URL
  readonly service: string | undefined
  readonly scopes: readonly string[]
  /** Undefined: as anyone. */
  readonly credentials: Credentials | undefined
}

export interface Token {
  readonly token: string
  readonly lifetimeSeconds: number
}

/** Seconds; what the token specification says where the answer does not. */
const defaultLifetime = 60
const maximumTokenBytes = 1024 * 1024

/**
 * Asks a token service once (distribution, "Token Authentication Specification"); returns the token, or the status
 * of a refusal. Throws UpstreamError where the service fails, limits us, or answers without a token.
 */
export async function requestToken(transport: Sender, request: TokenRequest): Promise<Token | number> {
  const { upstream, service, scopes, credentials, signal } = request
  const url = new URL(request.realm)
  if (service !== undefined) url.searchParams.set('service', service)
  url.searchParams.delete('scope')
  for (const scope of scopes) url.searchParams.append('scope', scope)
  if (credentials) url.searchParams.set('account', credentials.username)
  const headers = credentials ? { authorization: basicAuthorization(credentials) } : {}
  const response = await transport.request({ method: 'GET', url, headers, signal })
  const body = await readBody(response, upstream, maximumTokenBytes)
  const { status } = response
  if (status === 429) {
    throw new UpstreamError('RATE_LIMITED', upstream, 'its token service limits our requests', {
      status,
      retryAfterSeconds: toldRetryAfter(response.headers['retry-after']),
    })
  }
  if (status >= 500) {
    throw new UpstreamError('SERVER_ERROR', upstream, `its token service answered ${status}`, { status })
  }
  if (status < 200 || status >= 300) return status
  const token = parseTokenAnswer(body)
  if (token) return token
  throw new UpstreamError('INVALID_RESPONSE', upstream, 'its token service answered without a token')
}

/** The header of RFC 7617. */
export function basicAuthorization({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

/** Reads `token` or `access_token` and `expires_in`; undefined where there is no token that a header can carry. */
function parseTokenAnswer(body: Buffer): Token | undefined {
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
