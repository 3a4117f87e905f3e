import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { collect, selfSigned, transportTo } from '../fixtures.ts'

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
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    const { port } = server.address() as AddressInfo
    const url = new URL(`${isSecure ? 'https' : 'http'}://127.0.0.1:${port}/`)
    const transport = transportTo(t, url.href, { ca: certificate.cert, stallMs: 1000 })
    const response = await transport.request({ method: 'GET', url })
    assert.equal((await collect(response.body())).toString(), 'early')
  })
}
