/**
 * A push that is refused while its body comes. Thought of: a connection that ends with the answer (as the client wants it,
 * or since others need it), where the answer comes before the body is here, and is not lost with a reset by what comes
 * after it; one that is kept, where the body is read first.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const size = 1_000_000

/** A push under a name that is mirrored, and so refused, with a body of which a part is sent. */
async function refusedPush(port: number, header: string) {
  const socket = connect({ port, host: '127.0.0.1' })
  await once(socket, 'connect')
  let answer = ''
  let failure: Error | undefined
  socket.setEncoding('utf8').on('data', (piece) => {
    answer += piece
  })
  socket.on('error', (error) => {
    failure = error
  })
  const path = `/v2/docker.io/library/app/blobs/uploads/`
  socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\n${header}Content-Length: ${size}\r\n\r\n`)
  socket.write(Buffer.alloc(1000))
  return {
    socket,
    isAnswered: () => /^HTTP\/1\.1 403 [\s\S]*\r\n\r\n\{"errors":.*\}$/.test(answer),
    get answer() {
      return answer
    },
    get failure() {
      return failure
    },
  }
}

test('the connection ends with the answer: that comes first, and the rest of the body is read for a while', async (t) => {
  // Else it would come in time anyway.
  t.mock.timers.enable({ apis: ['setTimeout'] })
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  const push = await refusedPush(mirror.port, 'Connection: close\r\n')
  let turns = 0
  while (!push.isAnswered() && turns < 2000) {
    turns += 1
    await new Promise(setImmediate)
  }
  assert.ok(push.isAnswered(), push.answer)
  assert.match(push.answer, /\r\nconnection: close\r\n/i)
  // Whoever looks only when all is sent still finds it.
  push.socket.write(Buffer.alloc(size - 1000))
  await once(push.socket, 'close')
  assert.equal(push.failure, undefined)
  const [line] = mirror.events('request')
  assert.deepEqual([line?.status, line?.ended], [403, 'complete'])
})

test('the connection is kept: the answer comes when the body is here', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  const push = await refusedPush(mirror.port, '')
  push.socket.write(Buffer.alloc(size - 1000))
  await until(push.isAnswered)
  assert.doesNotMatch(push.answer, /connection: close/i)
  push.socket.destroy()
})
