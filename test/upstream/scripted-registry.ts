import type { RequestListener } from 'node:http'
import type { TestContext } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { listen, type TestServer } from './fixtures.ts'

export type Script = {
  /** The WWW-Authenticate headers of a 401; a Bearer challenge unless set. */
  readonly challenge?: (realm: string) => string | readonly string[]
  /** What the token service answers, with a token unless it says otherwise. */
  readonly answer?: object
  /** Answers instead of the token service. */
  readonly tokenHandler?: RequestListener
  /** Whether an Authorization header is good enough; any is unless set. */
  readonly accept?: (authorization: string | undefined) => boolean
}

/**
 * A registry and a token service that say what a test wants. The registry answers 200 to whatever is authorized.
 */
export async function scriptedRegistry(
  t: TestContext,
  script: Script = {},
): Promise<{ registry: TestServer; tokens: TestServer }> {
  let issued = 0
  const tokens = await listen(
    t,
    script.tokenHandler ??
      ((_request, response) => {
        issued += 1
        response.end(JSON.stringify({ token: `token-${issued}`, ...script.answer }))
      }),
  )
  const realm = `${tokens.url}/token`
  const { challenge = () => `Bearer realm="${realm}",service="scripted"`, accept = () => true } = script
  const registry = await listen(t, (request, response) => {
    const { authorization } = request.headers
    if (authorization !== undefined && accept(authorization)) {
      return void response.setHeader('docker-content-digest', digestOf(Buffer.from('{}'))).end('{}')
    }
    response.writeHead(401, { 'www-authenticate': challenge(realm) as string | string[] }).end()
  })
  return { registry, tokens }
}
