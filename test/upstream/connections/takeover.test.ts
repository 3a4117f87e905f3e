import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http'
import { test } from 'node:test'
import { type TakenAnswer, takeOver } from '../../../src/upstream/connections/takeover.ts'
import { rawServer } from './raw-server.ts'

test('the parser of Node says that a head has come where takeover.ts looks for it', async (t) => {
  const server = await rawServer(t, ({ socket }) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc'),
  )
  const sent = request(server.url).end()
  const taken = Promise.withResolvers<TakenAnswer>()
  takeOver(sent, {
    isWanted: ({ statusCode }) => statusCode === 200,
    // Its memory is used again.
    onTaken: (answer) => taken.resolve({ ...answer, head: Buffer.from(answer.head) }),
  })
  sent.once('response', () => {
    const where =
      'parserOnIncomingClient and socketOnData in lib/_http_client.js, and what they make of parser.onIncoming, its return value 2 and message.upgrade'
    taken.reject(
      new Error(`this Node (${process.version}) hands no connection over to takeover.ts: look at ${where}`),
    )
  })
  const { response, socket, head, staysOpen } = await taken.promise
  t.after(() => socket.destroy())
  assert.equal(response.headers['content-length'], '10')
  assert.equal(head.toString(), 'abc')
  assert.equal(staysOpen, false)
  // It is the connection, and nothing of Node's HTTP client is left on it.
  for (const event of ['data', 'end', 'error', 'drain', 'timeout']) {
    const names = socket.listeners(event).map(({ name }) => name)
    assert.ok(!names.some((name) => /^socket|^response|ondrain|^emit/.test(name)), `${event}: ${names}`)
  }
})

test('an answer that is not wanted is an answer like any other', async (t) => {
  const server = await rawServer(t, ({ socket }) =>
    socket.write('HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc'),
  )
  const sent = request(server.url).end()
  takeOver(sent, { isWanted: ({ statusCode }) => statusCode === 200, onTaken: () => assert.fail() })
  const [response] = await once(sent, 'response')
  assert.equal((await response.toArray()).toString(), 'abc')
})

test('without a parser that tells of heads nothing is taken over', () => {
  for (const parser of [undefined, {}]) {
    const sent = Object.assign(new EventEmitter(), { parser })
    takeOver(sent as unknown as ClientRequest, { isWanted: () => true, onTaken: () => assert.fail() })
    sent.emit('socket')
    assert.deepEqual(sent.parser, parser)
  }
})

for (const [what, first] of [
  ['a small answer', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc'],
  ['a chunked one', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'],
  ['a refusal', 'HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc'],
  [
    'information and an answer',
    'HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 3\r\n\r\nabc',
  ],
] as const) {
  test(`a second answer behind ${what} takes nothing over, and ends the connection`, async (t) => {
    const second = `HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n${'x'.repeat(1000)}`
    const server = await rawServer(t, ({ socket }) => socket.write(first + second))
    const sent = request(server.url, { agent: new Agent({ keepAlive: true }) }).end()
    const isWanted = ({ headers }: IncomingMessage) => headers['content-length'] === '3000000'
    takeOver(sent, { isWanted, onTaken: () => assert.fail('it is taken over') })
    const closed = once(sent, 'close')
    const [response] = await once(sent, 'response')
    assert.equal((await response.toArray()).toString(), 'abc')
    await closed
    assert.equal(sent.socket?.destroyed, true)
  })
}
