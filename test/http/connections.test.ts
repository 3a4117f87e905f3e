/**
 * How many connections one client may have. Thought of: those beyond the bound, over plain HTTP and over TLS; a place that
 * is free again; another address; the line in the log, once.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { certificateFolder } from './certificate-folder.ts'

async function connectFrom(localAddress: string, port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket.resume()
}

const schemes: Record<string, (t: TestContext) => Promise<Record<string, unknown>>> = {
  http: async () => ({}),
  https: async (t) => {
    const { certificate, key } = await certificateFolder(t)
    return { 'server.tls.certificate': certificate, 'server.tls.key': key }
  },
}
for (const [scheme, tls] of Object.entries(schemes)) {
  test(`${scheme}: connections beyond the bound are closed at once, until there is room again`, async (t) => {
    await using mirror = await startMirror({
      upstream: 'http://127.0.0.1:9',
      config: { 'limits.perClient.connections': 3, 'server.listen': ['127.0.0.1:0'], ...(await tls(t)) },
    })
    const refusals = () => mirror.events().filter(({ msg }) => /as many connections as/.test(String(msg)))
    const sockets = [await connectFrom('127.0.0.2', mirror.port), await connectFrom('127.0.0.2', mirror.port)]
    sockets.push(await connectFrom('127.0.0.2', mirror.port))
    for (let more = 0; more < 2; more += 1) {
      const refused = await connectFrom('127.0.0.2', mirror.port)
      await until(() => refused.closed)
    }
    assert.equal(refusals().length, 1, 'one line a minute')
    assert.equal(refusals()[0]?.client, '127.0.0.2')
    sockets.push(await connectFrom('127.0.0.3', mirror.port))
    for (const socket of sockets) assert.equal(socket.closed, false)
    sockets[0]?.destroy()
    await until(async () => {
      const socket = await connectFrom('127.0.0.2', mirror.port)
      sockets.push(socket)
      if (scheme === 'https') return true
      socket.write('GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n')
      await Promise.race([once(socket, 'data'), once(socket, 'close')])
      return !socket.closed
    })
    for (const socket of sockets) socket.destroy()
  })
}
