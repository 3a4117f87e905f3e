import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startDockerHub } from './docker-hub.ts'
import { buildImage } from './images.ts'
import { assertRate, dial, echo, flood, measure, megabyte, rig } from './line-rig.ts'
import { until } from './settle.ts'
import { type LineObserver, startSlowLine } from './slow-line.ts'

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

test('whoever observes a line is told of each connection by its number', async (t) => {
  const told: string[] = []
  const ports = new Map<number, number>()
  const observer: LineObserver = {
    opened: (connection) => void told.push(`${connection} opened`),
    reached: (connection, port) => void ports.set(connection, port),
    received: (connection, bytes) => void told.push(`${connection} received ${bytes}`),
    closed: (connection) => void told.push(`${connection} closed`),
  }
  const seen: (number | undefined)[] = []
  const { line } = await rig(t, { observer }, (socket) => {
    seen.push(socket.remotePort)
    echo(socket)
  })
  for (const bytes of ['a', 'bb']) {
    const { socket, ended, received } = dial(t, line)
    socket.write(bytes)
    await until(() => received() === bytes.length)
    socket.end()
    await ended
    await until(() => line.connections === 0)
  }
  assert.deepEqual(told, ['1 opened', '1 received 1', '1 closed', '2 opened', '2 received 2', '2 closed'])
  assert.deepEqual([...ports.values()], seen)
})
