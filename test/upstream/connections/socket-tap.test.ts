import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { SocketTap } from '../../../src/upstream/connections/socket-tap.ts'
import { until } from '../../support/settle.ts'
import { collect, selfSigned, transportTo } from '../fixtures.ts'
import { listenRaw } from './raw-server.ts'

const certificate = await selfSigned('IP:127.0.0.1')

for (const isSecure of [false, true]) {
  test(`who speaks before there is a request is heard${isSecure ? ' over TLS' : ''}`, async (t) => {
    const sockets: Socket[] = []
    const speak = (socket: Socket): void => {
      sockets.push(socket)
      socket.on('error', () => {})
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly')
    }
    const server = isSecure ? createTlsServer(certificate, speak) : createServer(speak)
    const port = await listenRaw(t, server, sockets)
    const url = new URL(`${isSecure ? 'https' : 'http'}://127.0.0.1:${port}/`)
    const transport = transportTo(t, url.href, { ca: certificate.cert })
    const response = await transport.request({ method: 'GET', url })
    assert.equal((await collect(response.body())).toString(), 'early')
  })
}

test('what comes while nobody listens waits in the stream; what is read later may be led to a reader', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const tap = new SocketTap(Buffer.allocUnsafeSlow(1024))
  const { port } = server.address() as AddressInfo
  const socket = connect({ port, host: '127.0.0.1', onread: tap.onread })
  tap.attach(socket)
  const [there] = (await accepted) as [Socket]
  t.after(() => {
    there.destroy()
    socket.destroy()
    server.close()
  })
  there.write('early')
  await until(() => socket.readableLength === 5)
  const piece = Buffer.alloc(4)
  let read = 0
  const heard: { text: string; isGivingOut: boolean }[] = []
  socket.on('data', (bytes) => {
    heard.push({ text: String(bytes), isGivingOut: tap.isGivingOut })
    if (!tap.isGivingOut) return
    tap.leadTo({
      tail: () => piece.subarray(read),
      filled: (count) => {
        read += count
        return read < piece.length
      },
    })
  })
  await until(() => heard.length === 1)
  there.write('head')
  await until(() => heard.length === 2)
  there.write('body')
  await until(() => read === 4)
  assert.equal(piece.toString(), 'body')
  // A place was chosen for the next read before the first words were given out.
  assert.deepEqual(heard, [
    { text: 'early', isGivingOut: false },
    { text: 'head', isGivingOut: true },
  ])
})
