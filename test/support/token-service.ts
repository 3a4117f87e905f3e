import type { IncomingMessage } from 'node:http'
import { HubListenerServer, httpUrl } from './hub-listener.ts'
import { TokenAuthority, type TokenOptions } from './token-authority.ts'

/** A running token service. Its owner disposes of it. */
export type TokenService = AsyncDisposable & {
  /** The realm of the challenge: `http://127.0.0.1:<port>/token`. */
  readonly url: string
  /** How many tokens were issued. */
  readonly issued: number
  /** The certificate for a registry's `rootcertbundle`. Rejects where `openssl` is missing. */
  certificatePem(): Promise<string>
  close(): Promise<void>
}

/**
 * Starts a token service by itself, for a real registry with `auth: token`: its JWTs are signed with ES256
 * and name their key by `kid` (distribution, "Token Authentication Specification").
 */
export async function startTokenService(options: TokenOptions): Promise<TokenService> {
  const authority = new TokenAuthority(options)
  const server = await HubListenerServer.open('127.0.0.1', async (request, response) => {
    const query = await readTokenQuery(request)
    const answer = authority.answer(query, request.headers.authorization)
    if (answer.challenge !== undefined) response.setHeader('WWW-Authenticate', answer.challenge)
    response.writeHead(answer.status, { 'Content-Type': 'application/json' })
    response.end(JSON.stringify(answer.document))
  })
  const close = () => server.stop()
  return {
    url: `${httpUrl('127.0.0.1', server.port)}/token`,
    get issued() {
      return authority.issued
    },
    certificatePem: () => authority.certificatePem(),
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** The parameters of a token request: the query of a GET, the form of a POST. */
export async function readTokenQuery(request: IncomingMessage): Promise<URLSearchParams> {
  if (request.method !== 'POST') return new URL(request.url ?? '/', 'http://token').searchParams
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part)
  return new URLSearchParams(Buffer.concat(parts).toString())
}
