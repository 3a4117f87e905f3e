/**
 * Who is let go for taking or sending nothing. Thought of: an answer of which nothing is taken any more, and one of which
 * a few bytes are; a body of which nothing comes any more, and one that trickles; a client that waits for us, before and in
 * the middle of an answer, and while its body waits to be taken; a proxy by its headers and by HTTP/1.0.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { letGoOfStalled } from '../../src/http/stalls.ts'
import { until } from '../support/settle.ts'
import { certificateFolder } from './certificate-folder.ts'
import { connected, mebibyte } from './request-log-fixture.ts'

/** Milliseconds; long beside the pauses of a busy machine. */
const stallMs = 250
const big = Buffer.alloc(64 * mebibyte)

/** A server that answers like this, with what it said of those whom it let go after `ms`. */
async function serve(answer: RequestListener, ms = stallMs) {
  await using all = new AsyncDisposableStack()
  const stalls: string[] = []
  const onStall = (_: unknown, __: unknown, stall: string, ms: number) => stalls.push(`${stall} ${ms}`)
  const server = createServer(letGoOfStalled(answer, { stallMs: ms, onStall }))
  all.defer(() => void server.close())
  all.defer(() => server.closeAllConnections())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const owned = all.move()
  const ask = async (head: string): Promise<Socket> => {
    const socket = (await connected(port)).pause()
    socket.write(head)
    owned.defer(() => void socket.destroy())
    return socket
  }
  return { stalls, ask, server, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
const put = 'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n'

function connections(server: ReturnType<typeof createServer>): Promise<number> {
  return new Promise((resolve) => server.getConnections((_, count) => resolve(count)))
}

test('who takes nothing of an answer is let go', async () => {
  await using s = await serve((_, response) => void response.end(big))
  await s.ask(get)
  await until(() => s.stalls.length === 1)
  assert.deepEqual(s.stalls, [`taking ${stallMs}`])
  await until(async () => (await connections(s.server)) === 0)
})

test('over TLS as well', async (t) => {
  const { certificate, key } = await certificateFolder(t)
  const files = { cert: await readFile(certificate), key: await readFile(key) }
  const stalls: string[] = []
  const answer = letGoOfStalled((_, response) => void response.end(big), {
    stallMs,
    onStall: (_, __, stall) => stalls.push(stall),
  })
  const server = createSecureServer(files, answer)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  try {
    await once(socket, 'secureConnect')
    socket.pause().write(get)
    await until(() => stalls.length === 1)
  } finally {
    socket.destroy()
    server.close()
  }
})

test('who takes a few bytes now and then stays', async () => {
  await using s = await serve((_, response) => void response.end(big))
  const socket = await s.ask(get)
  let taken = 0
  const end = performance.now() + 4 * stallMs
  while (performance.now() < end) {
    for (let need = mebibyte; need > 0; ) {
      const piece = socket.read() as Buffer | null
      if (piece === null) await once(socket, 'readable')
      else need -= piece.length
      taken += piece?.length ?? 0
    }
    await sleep(stallMs / 8)
  }
  assert.deepEqual(s.stalls, [], `${taken} bytes were taken`)
  assert.equal(await connections(s.server), 1)
})

test('who sends nothing more of a body is let go, who sends a few bytes stays', async () => {
  // After a pause of the machine clocks are heard before what was sent meanwhile: none may be as long.
  const longMs = 12 * stallMs
  await using s = await serve((request) => void request.resume(), longMs)
  const [silent, trickling] = [await s.ask(put), await s.ask(put)]
  silent.write('hello')
  const timer = setInterval(() => trickling.write('x'), stallMs / 10)
  try {
    await until(() => s.stalls.length === 1)
    await until(() => silent.resume().closed)
    await sleep(3 * stallMs)
  } finally {
    clearInterval(timer)
  }
  assert.deepEqual(s.stalls, [`sending ${longMs}`])
  assert.equal(await connections(s.server), 1)
  // And when it stops as well, its turn has come.
  await until(() => s.stalls.length === 2)
})

test('who waits for us stays, until it is it that we wait for', async () => {
  const [begun, wanted] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  await using s = await serve(async (request) => {
    // The body is here, and nobody takes it yet.
    await wanted.promise
    begun.resolve()
    request.on('error', () => {}).resume()
  })
  const socket = await s.ask(put)
  socket.write(Buffer.alloc(50_000))
  await sleep(2.5 * stallMs)
  assert.deepEqual(s.stalls, [])
  wanted.resolve()
  await begun.promise
  await until(() => s.stalls.length === 1)
  assert.deepEqual(s.stalls, [`sending ${stallMs}`])
})

test('an answer that is long in coming is waited for, and watched when it comes', async () => {
  const wanted = Promise.withResolvers<void>()
  await using s = await serve(async (_, response) => {
    response.write('a')
    await wanted.promise
    response.end(big)
  })
  await s.ask(get)
  await sleep(2.5 * stallMs)
  assert.deepEqual(s.stalls, [])
  wanted.resolve()
  await until(() => s.stalls.length === 1)
})

for (const [what, head] of [
  ['says that it is one', 'GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n'],
  ['speaks HTTP/1.0, as nginx does', 'GET / HTTP/1.0\r\n\r\n'],
] as const) {
  test(`a proxy that ${what} may be silent for long, and not for ever`, async () => {
    await using s = await serve((_, response) => void response.end(big), 40)
    await s.ask(head)
    await s.ask(get)
    await until(() => s.stalls.length === 2, { timeoutMs: 10_000 })
    assert.deepEqual(s.stalls, ['taking 40', 'taking 960'])
  })
}
