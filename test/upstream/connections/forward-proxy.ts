import { createServer, request as httpRequest } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

/** What a proxy was asked for. */
export type ProxiedRequest = {
  /** `CONNECT`, or the method of a plain request. */
  readonly method: string
  /** Host and port, or an absolute URL. */
  readonly target: string
  readonly authorization: string | undefined
}

export type ForwardProxy = {
  readonly url: string
  readonly port: number
  readonly requests: readonly ProxiedRequest[]
}

/**
 * A small forward proxy on 127.0.0.1, with CONNECT, closed with the test. `portOf` resolves every name: it gives
 * the local port that a host stands for, or undefined for a 502; `'stall'` never answers.
 */
export async function forwardProxy(
  t: Pick<TestContext, 'after'>,
  portOf: (host: string) => number | 'stall' | undefined,
): Promise<ForwardProxy> {
  const requests: ProxiedRequest[] = []
  const tunnels = new Set<Socket>()
  const server = createServer((request, response) => {
    const { method = '', url = '', headers } = request
    requests.push({ method, target: url, authorization: headers['proxy-authorization'] })
    const target = new URL(url)
    const port = portOf(target.hostname)
    if (port === 'stall') return
    if (port === undefined) return void response.writeHead(502).end()
    const path = `${target.pathname}${target.search}`
    const onward = httpRequest({ host: '127.0.0.1', port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    onward.end()
  })
  server.on('connect', (request, socket: Socket) => {
    const { url = '', headers } = request
    requests.push({ method: 'CONNECT', target: url, authorization: headers['proxy-authorization'] })
    tunnels.add(socket)
    socket.on('error', () => {})
    const port = portOf(new URL(`https://${url}`).hostname)
    if (port === 'stall') return
    if (port === undefined) return void socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
    const onward = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      socket.pipe(onward).pipe(socket)
    })
    tunnels.add(onward)
    onward.on('error', () => socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const socket of tunnels) socket.destroy()
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, port, requests }
}
