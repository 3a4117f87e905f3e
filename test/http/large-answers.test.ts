/**
 * Large documents whose readers are slow. Thought of: many of one client, then another one; a reader that takes nothing while
 * others wait; room that comes too late; a reader that leaves; HEAD, and what is small.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { Shares } from '../../src/flow/shares.ts'
import { withRoom } from '../../src/http/large-answers.ts'
import { RequestContext } from '../../src/http/request-context.ts'
import { pull } from '../support/client.ts'
import { until } from '../support/settle.ts'
import { connected, get, mebibyte } from './request-log-fixture.ts'

const large = Buffer.alloc(16 * mebibyte)

/** A server whose answers are large; room for two of them. */
async function serve(patienceMs: number, restMs: number) {
  await using all = new AsyncDisposableStack()
  const room = new Shares({ total: 40 * mebibyte, perClient: 40 * mebibyte, patienceMs, restMs })
  const seen = { asked: 0, again: 0, broken: 0 }
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const context = new RequestContext(request, response)
    response.once('close', () => {
      context.end()
      if (context.ending === 'broken') seen.broken += 1
    })
    const asked = {
      ask: async () => {
        seen.asked += 1
        return request.url === '/small' ? large.subarray(0, 1000) : large
      },
      bytesOf: ({ length }: Buffer) => length,
      again: () => async () => {
        seen.again += 1
        return large
      },
    }
    try {
      response.end(await withRoom(asked, context, room))
    } catch (error) {
      response.writeHead((error as { status?: number }).status ?? 500).end()
    }
  }
  const server = createServer((request, response) => void answer(request, response))
  all.defer(() => void server.close())
  all.defer(() => server.closeAllConnections())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const owned = all.move()
  const stuck = async () => {
    const socket = (await connected(port)).pause()
    socket.write(get('/'))
    return socket
  }
  return { port, room, seen, stuck, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

test('who finds no room waits without its bytes, asks again when one leaves, and what is small goes at once', async () => {
  await using s = await serve(60_000, 60_000)
  const [first] = [await s.stuck(), await s.stuck()]
  await until(() => s.seen.asked === 2)
  const waiting = pull(`http://127.0.0.1:${s.port}/`)
  await until(() => s.room.waitingCount === 1)
  assert.equal((await pull(`http://127.0.0.1:${s.port}/small`)).status, 200)
  const head = await fetch(`http://127.0.0.1:${s.port}/`, { method: 'HEAD' })
  assert.deepEqual([head.status, s.seen.again], [200, 0])
  first?.destroy()
  assert.equal((await waiting).status, 200)
  assert.equal(s.seen.again, 1)
})

test('who takes nothing is broken off where others wait', async () => {
  await using s = await serve(60_000, 50)
  await s.stuck()
  await s.stuck()
  await until(() => s.seen.asked === 2)
  assert.equal((await pull(`http://127.0.0.1:${s.port}/`)).status, 200)
  assert.equal(s.seen.broken, 1)
})

test('who gets no room in time is told to come again', async () => {
  await using s = await serve(50, 60_000)
  await s.stuck()
  await s.stuck()
  await until(() => s.seen.asked === 2)
  assert.equal((await pull(`http://127.0.0.1:${s.port}/`)).status, 429)
})
