import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { ClientConnection, get } from '../../benchmarks/support/client-connection.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { pseudoRandomBytes } from '../support/images.ts'

async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('a whole body: its length, digest and headers', async (t) => {
  const body = pseudoRandomBytes(3_000_000, 'body')
  const url = await serve(t, (_, response) => {
    response.writeHead(200, { 'Content-Length': body.length, 'X-Sort': 'whole' }).end(body)
  })
  const received = await get(`${url}/blob`, { isHashed: true })
  assert.equal(received.status, 200)
  assert.equal(received.bytes, body.length)
  assert.equal(received.isComplete, true)
  assert.equal(received.digest, digestOf(body))
  assert.equal(received.headers.get('x-sort'), 'whole')
  assert.ok(received.firstByteMs <= received.totalMs)
})

test('several requests go over one connection, also those without a body', async (t) => {
  const url = await serve(t, (request, response) => {
    response.writeHead(200, { 'Content-Length': request.url === '/empty' ? 0 : 2 })
    response.end(request.url === '/empty' ? '' : 'ok')
  })
  using connection = await ClientConnection.open(url)
  assert.equal((await connection.get('/one')).bytes, 2)
  assert.equal((await connection.get('/empty')).isComplete, true)
  assert.equal((await connection.get('/two')).bytes, 2)
})

test('a body that breaks off is told from a whole one', async (t) => {
  const url = await serve(t, (_, response) => {
    response.writeHead(200, { 'Content-Length': 10 })
    response.write('half!', () => response.destroy())
  })
  const received = await get(url, { isHashed: true })
  assert.equal(received.bytes, 5)
  assert.equal(received.isComplete, false)
})

test('a client that leaves gets what came until then', async (t) => {
  const url = await serve(
    t,
    (_, response) => void response.writeHead(200, { 'Content-Length': 10 }).write('half!'),
  )
  const leaving = new AbortController()
  const received = await get(url, { signal: leaving.signal, onProgress: () => leaving.abort() })
  assert.equal(received.bytes, 5)
  assert.equal(received.isComplete, false)
})
