// A process that could not run for longer than it has patience with an upstream: on a machine under load, or suspended. What
// has come meanwhile is here, and its own sleep was nobody's silence. Neighbours: an answer, a body that is copied and one
// that is taken off its connection, with and without TLS; a connection; a question that is watched; one who is silent indeed.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { afterSilence } from '../../../src/flow/after-silence.ts'
import { Pulse } from '../../../src/flow/pulse.ts'
import { raceAddresses } from '../../../src/upstream/connections/address-race.ts'
import { LineUse } from '../../../src/upstream/connections/line-use.ts'
import { watchOver } from '../../../src/upstream/watch-over.ts'
import { until } from '../../support/settle.ts'
import { failsWith, selfSigned, transportTo } from '../fixtures.ts'
import { type RawRequest, rawServer } from './raw-server.ts'

const certificate = await selfSigned('IP:127.0.0.1')
const stallMs = 1000
const size = 2 * 1024 * 1024
const head = `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`

/** Nothing of this process runs for longer than it waits for anybody. */
function sleep(ms = stallMs + 100): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

for (const [way, tls] of [
  ['plain', undefined],
  ['TLS', certificate],
] as const) {
  for (const how of ['body', 'lent'] as const) {
    test(`${way}: bytes of a ${how} that came while the process slept are read`, async (t) => {
      let socket: Socket | undefined
      const onRequest = (request: RawRequest): void => {
        socket = request.socket
        socket.write(head)
        socket.write(Buffer.alloc(1000, 'a'))
      }
      const { url } = await rawServer(t, onRequest, tls)
      const transport = transportTo(t, url.href, { stallMs, ...(tls && { ca: tls.cert }) })
      const isLent = how === 'lent'
      const response = await transport.request({ method: 'GET', url, isLent })
      let received = 0
      const body = response[how]()
      for (let isAsleep = false; received < size; ) {
        const next = body.next()
        if (received >= 1000 && !isAsleep) {
          isAsleep = true
          socket?.write(Buffer.alloc(size - 1000, 'b'))
          // What else is due then takes longer than is listened for.
          setTimeout(() => sleep(25), stallMs)
          sleep()
        }
        const { value } = await next
        received += value?.length ?? 0
      }
      await body.return()
      assert.equal(received, size)
    })
  }

  test(`${way}: an answer that came while the process slept is taken`, async (t) => {
    const { url } = await rawServer(
      t,
      ({ socket }) => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
        sleep()
      },
      tls,
    )
    const transport = transportTo(t, url.href, { stallMs, ...(tls && { ca: tls.cert }) })
    const response = await transport.request({ method: 'GET', url })
    response.discard()
    assert.equal(response.status, 200)
  })
}

async function acceptor(t: TestContext, onSocket: (socket: Socket) => void = () => {}): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    onSocket(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

test('a connection that was made while the process slept is used', async (t) => {
  const port = await acceptor(t)
  const racing = raceAddresses([{ address: '127.0.0.1', family: 4 }], {
    port,
    open: (host) => connect({ host, port }),
    timeoutMs: 50,
    signal: new AbortController().signal,
  })
  sleep(100)
  const socket = await racing
  socket.destroy()
})

test('a sign of life that came while the process slept is heard', async (t) => {
  const accepted = Promise.withResolvers<Socket>()
  const port = await acceptor(t, accepted.resolve)
  const socket = connect({ host: '127.0.0.1', port })
  t.after(() => socket.destroy())
  const [peer] = await Promise.all([accepted.promise, once(socket, 'connect')])
  let silences = 0
  const onSilence = (): void => {
    silences += 1
  }
  const pulse = new Pulse()
  const part = async (): Promise<void> => {
    // It is on its way before anything else runs, and so is the sleep.
    peer.write('a')
    sleep(100)
    await once(socket, 'data')
    pulse.beat()
    // What was about to be told is told by now.
    await new Promise((resolve) => setTimeout(resolve, 0))
  }
  const patience = { patienceMs: 50, busyPatienceMs: 50 }
  await pulse.run(() => watchOver(part, { upstream: 'x', ...patience, lineUse: new LineUse(), onSilence }))
  assert.equal(silences, 0)
})

test('a kept connection that swallows what is sent, while the process sleeps, costs no failure', async (t) => {
  const onRequest = ({ socket, connection, count }: RawRequest): void => {
    if (connection > 1 || count === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    else sleep()
  }
  const { url, connections } = await rawServer(t, onRequest)
  const transport = transportTo(t, url.href, { stallMs, patienceMs: 60_000 })
  for (const _ of [1, 2]) {
    const response = await transport.request({ method: 'HEAD', url })
    response.discard()
    await new Promise(setImmediate)
  }
  assert.equal(connections(), 2)
})

test('one who says nothing for that long is given up all the same', async (t) => {
  const { url } = await rawServer(t, ({ socket }) => socket.write(`${head}a`))
  const transport = transportTo(t, url.href, { stallMs })
  const response = await transport.request({ method: 'GET', url })
  await failsWith(
    (async () => {
      for await (const _ of response.body()) sleep()
    })(),
    'TIMED_OUT',
    /no byte for/,
  )
  let isSilent = false
  afterSilence(1, () => {
    isSilent = true
  })
  await until(() => isSilent)
})
