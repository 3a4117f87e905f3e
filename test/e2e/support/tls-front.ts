import { once } from 'node:events'
import { request } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { selfSigned } from '../../upstream/fixtures.ts'

/** A mirror by HTTPS, with a certificate that only who has `certificate` trusts. Dispose to close it. */
export type TlsFront = AsyncDisposable & {
  /** Address and port. */
  readonly host: string
  /** PEM. */
  readonly certificate: string
}

/** Puts HTTPS at an IP address in front of a server at `url`, as a reverse proxy does. Needs openssl. */
export async function startTlsFront({ address, url }: { address: string; url: string }): Promise<TlsFront> {
  const { key, cert: certificate } = await selfSigned(`IP:${address}`)
  const { hostname, port } = new URL(url)
  const server = createServer({ key, cert: certificate }, async (from, to) => {
    const { method, url: path, headers } = from
    try {
      const onward = request({ hostname, port, method, path, headers }).end()
      const [answer] = await once(onward, 'response')
      to.writeHead(answer.statusCode, answer.rawHeaders)
      await pipeline(answer, to)
    } catch (error) {
      to.destroy(error as Error)
    }
  })
  server.listen(0, address)
  await once(server, 'listening')
  return {
    host: `${address}:${(server.address() as AddressInfo).port}`,
    certificate,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
