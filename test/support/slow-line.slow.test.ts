import assert from 'node:assert/strict'
import { type AddressInfo, createServer, type Socket, connect as tcpConnect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { startDockerHub } from './docker-hub.ts'
import { buildImage } from './images.ts'
import { until } from './settle.ts'
import { type SlowLine, type SlowLineOptions, startSlowLine } from './slow-line.ts'

const megabyte = 1_000_000

type Rig = { line: SlowLine; served: Socket[] }

/** A line to a server that does `serve` with each connection. */
async function rig(t: TestContext, options: SlowLineOptions, serve: (socket: Socket) => void): Promise<Rig> {
  const served: Socket[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    served.push(socket)
    socket.on('error', () => undefined)
    serve(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const target = { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
  const line = await startSlowLine({ ...options, target })
  t.after(async () => {
    await line.close()
    for (const socket of served) socket.destroy()
    server.close()
  })
  return { line, served }
}

/** Sends for as long as the other side takes it. */
function flood(socket: Socket): void {
  const piece = Buffer.alloc(64 * 1024, 'x')
  const more = () => {
    while (!socket.destroyed && socket.write(piece));
  }
  socket.on('drain', more)
  more()
}

const echo = (socket: Socket) => void socket.pipe(socket)

/** Connects to a line; the end of the connection and its error are awaited by `ended`. */
function dial(
  t: TestContext,
  line: SlowLine,
): { socket: Socket; ended: Promise<string>; received: () => number } {
  const socket = tcpConnect({ port: line.port, host: '127.0.0.1', allowHalfOpen: true })
  let received = 0
  let how = 'end'
  socket.on('data', (chunk) => {
    received += chunk.length
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    how = error.code ?? error.message
  })
  const ended = new Promise<string>((resolve) => {
    socket.once('end', () => resolve(how))
    socket.once('close', () => resolve(how))
  })
  t.after(() => socket.destroy())
  return { socket, ended, received: () => received }
}

/** Bytes per second that clients receive while `count` bytes arrive, after the line has settled. */
async function measure(clients: { received: () => number }[], count: number): Promise<number> {
  const total = () => clients.reduce((sum, client) => sum + client.received(), 0)
  await until(() => total() > count / 10)
  const [began, from] = [performance.now(), total()]
  await until(() => total() - from > count, { timeoutMs: 10_000 })
  return ((total() - from) / (performance.now() - began)) * 1000
}

/** Never more than the rate; less only as far as a busy machine keeps the process from running. */
function assertRate(measured: number, rate: number): void {
  assert.ok(
    measured < 1.05 * rate && measured > 0.8 * rate,
    `${measured} instead of ${rate} bytes per second`,
  )
}

test('a shared rate is held, and shared fairly', async (t) => {
  const { line } = await rig(t, { rateBytesPerSecond: 10 * megabyte, delayMs: 10 }, flood)
  const clients = [1, 2, 3, 4].map(() => dial(t, line))
  const rate = await measure(clients, 15 * megabyte)
  assertRate(rate, 10 * megabyte)
  const each = clients.map((client) => client.received())
  assert.ok(Math.max(...each) < 1.1 * Math.min(...each), `unfair: ${each}`)
})

test('a rate of each connection is held beside the others', async (t) => {
  const { line } = await rig(t, { connectionRateBytesPerSecond: 2 * megabyte }, flood)
  const clients = [1, 2].map(() => dial(t, line))
  const rate = await measure(clients, 4 * megabyte)
  assertRate(rate, 4 * megabyte)
})

test('a connection has no more than its window on its way: one a round trip', async (t) => {
  const windowBytes = 64 * 1024
  const { line } = await rig(t, { delayMs: 50, windowBytes }, flood)
  const clients = [1, 2].map(() => dial(t, line))
  const rate = await measure(clients, 2 * megabyte)
  assertRate(rate, clients.length * windowBytes * 10)
})

test('a slow reader does not take the share of the others', async (t) => {
  const { line } = await rig(t, { rateBytesPerSecond: 10 * megabyte }, flood)
  const [slow, fast] = [dial(t, line), dial(t, line)]
  slow.socket.pause()
  const rate = await measure([fast], 10 * megabyte)
  assert.ok(rate > 6 * megabyte, `${rate} bytes per second`)
})

test('the sender feels the slow line', async (t) => {
  const { line, served } = await rig(t, { rateBytesPerSecond: megabyte, delayMs: 20 }, flood)
  const client = dial(t, line)
  await until(() => client.received() > megabyte / 2)
  const ahead = (served[0]?.bytesWritten ?? 0) - client.received()
  assert.ok(ahead < 8 * megabyte, `${ahead} bytes ahead`)
})

test('bytes travel for the delay; opening a connection takes a round trip more', async (t) => {
  const { line } = await rig(t, { delayMs: 30 }, echo)
  const { socket, received } = dial(t, line)
  let began = performance.now()
  socket.write('a')
  await until(() => received() === 1)
  const first = performance.now() - began
  began = performance.now()
  socket.write('b')
  await until(() => received() === 2)
  const second = performance.now() - began
  assert.ok(first >= 119 && first < 250, `${first} ms instead of 120`)
  assert.ok(second >= 59 && second < 150, `${second} ms instead of 60`)
  assert.deepEqual(line.bytes, { up: 2, down: 2 })
})

test('ends pass in both directions, after the bytes before them', async (t) => {
  const { line } = await rig(t, { delayMs: 5, rateBytesPerSecond: 50 * megabyte }, echo)
  const { socket, ended, received } = dial(t, line)
  socket.end(Buffer.alloc(megabyte))
  assert.equal(await ended, 'end')
  assert.equal(received(), megabyte)
  socket.destroy()
  await until(() => line.connections === 0)
})

test('resets pass in both directions, after the bytes before them', async (t) => {
  const { line, served } = await rig(t, { delayMs: 5 }, () => undefined)
  const first = dial(t, line)
  await until(() => served.length === 1)
  await new Promise((resolve) => served[0]?.write(Buffer.alloc(300_000), resolve))
  await until(() => line.bytes.down > 0)
  served[0]?.resetAndDestroy()
  assert.equal(await first.ended, 'ECONNRESET')
  const second = dial(t, line)
  await until(() => served.length === 2)
  second.socket.resetAndDestroy()
  await until(() => served[1]?.destroyed === true && line.connections === 0)
  assert.equal(line.opened, 2)
})

test('cut, black hole, refusal', async (t) => {
  const { line } = await rig(t, {}, echo)
  const cut = dial(t, line)
  cut.socket.write('a')
  await until(() => cut.received() === 1)
  line.cutAll()
  assert.equal(await cut.ended, 'ECONNRESET')

  line.pause()
  const silent = dial(t, line)
  silent.socket.write('a')
  await until(() => line.connections === 1)
  assert.deepEqual(line.bytes, { up: 1, down: 1 })
  line.resume()
  await until(() => silent.received() === 1)

  await line.refuse()
  assert.equal(await dial(t, line).ended, 'ECONNREFUSED')
  silent.socket.write('b')
  await until(() => silent.received() === 2)
  await line.accept()
  const again = dial(t, line)
  again.socket.write('c')
  await until(() => again.received() === 1)
})

test('a whole hub behind one line', async () => {
  await using line = await startSlowLine({ delayMs: 1, rateBytesPerSecond: 50 * megabyte })
  await using hub = await startDockerHub({ line })
  const image = buildImage({ layers: [megabyte] })
  hub.addImage('library/x', 'latest', image)
  const query = 'service=registry.docker.io&scope=repository:library/x:pull'
  const { token } = (await (await fetch(`${hub.tokenUrl}/token?${query}`)).json()) as { token: string }
  const digest = image.layers[0]?.digest ?? ''
  const url = `${hub.url}/v2/library/x/blobs/${digest}`
  const blob = await fetch(url, { headers: { authorization: `Bearer ${token}` } })
  assert.deepEqual(await blob.bytes(), image.layers[0]?.bytes)
  assert.equal(line.opened, 3)
  assert.ok(line.bytes.down > megabyte && line.bytes.down < 1.01 * megabyte)
  assert.equal(hub.count({ listener: 'cdn' }), 1)
})
