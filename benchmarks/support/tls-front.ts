import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { createServer } from 'node:tls'
import type { LineTarget, SlowLine } from '../../test/support/slow-line.ts'
import type { LineTrace } from './line-trace.ts'

/** TLS in front of each listener, on its side of the line: handshakes cross it, as everything does. */
export function tlsFrontOver(
  over: SlowLine | undefined,
  { key, cert }: { key: string; cert: string },
  trace?: LineTrace,
): (listener: string, target: LineTarget) => Promise<string> {
  return async (listener, { host, port }) => {
    const front = createServer({ key, cert, noDelay: true }, (client) => {
      const target = connect({ host, port, noDelay: true })
      const { remotePort = 0 } = client
      const traced = async function* (source: AsyncIterable<Buffer>) {
        for await (const bytes of source) {
          trace?.sent(remotePort, listener, bytes)
          yield bytes
        }
      }
      // Where one side breaks, the other one is closed.
      const both = trace ? pipeline(client, traced, target, client) : pipeline(client, target, client)
      both.catch(() => {})
    })
    front.on('tlsClientError', () => {})
    front.listen(0, host)
    await once(front, 'listening')
    const own = { host, port: (front.address() as AddressInfo).port }
    const reached = (await over?.forward(own)) ?? own
    return `https://${reached.host}:${reached.port}`
  }
}
