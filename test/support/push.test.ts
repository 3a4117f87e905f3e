import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { send } from './push.ts'

/** Node tells here of each answer whose head it has read. */
const channel = 'http.client.response.finish'

/** The URL of a server that does `serve` with a connection once something has come by it. */
async function urlOf(t: TestContext, serve: (socket: Socket) => void): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => serve(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

test('a connection that is lost while the body is awaited: it rejects behind the body, once', async (t) => {
  const lost = Promise.withResolvers<void>()
  const url = await urlOf(t, (socket) => {
    socket.once('close', () => setImmediate(lost.resolve))
    socket.resetAndDestroy()
  })
  async function* body() {
    yield Buffer.from('some')
    await lost.promise
    yield Buffer.from('more')
  }
  await assert.rejects(send('POST', url, { body: body() }))
})

test('a connection that is lost behind the answer, the body unsent: the answer counts', async (t) => {
  const lost = Promise.withResolvers<void>()
  const url = await urlOf(t, (socket) => {
    const reset = (): void => {
      socket.once('close', () => setImmediate(lost.resolve))
      socket.resetAndDestroy()
    }
    subscribe(channel, reset)
    t.after(() => void unsubscribe(channel, reset))
    socket.pause()
    socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno')
  })
  const { status, text } = await send('POST', url, { body: Buffer.alloc(10_000_000) })
  assert.deepEqual([status, text], [413, 'no'])
  await lost.promise
})
