import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PacketLoss } from './line-loss.ts'
import { assertRate, dial, echo, flood, measure, megabyte, rig } from './line-rig.ts'
import { until } from './settle.ts'

test('a lost packet comes a round trip late, and what follows waits for it', async (t) => {
  const delayMs = 100
  // The connection's first packet is lost, and its second one is not.
  const lossSeed = seedOf(0.5, [true, false])
  const { line, served } = await rig(t, { delayMs, lossProbability: 0.5, lossSeed }, () => undefined)
  const { received } = dial(t, line)
  await until(() => served.length === 1)
  const began = performance.now()
  served[0]?.write('a')
  setTimeout(() => served[0]?.write('b'), 20)
  await until(() => received() > 0)
  const first = performance.now() - began
  await until(() => received() === 2)
  const second = performance.now() - began
  assert.ok(first >= 3 * delayMs - 1 && first < 6 * delayMs, `${first} ms instead of ${3 * delayMs}`)
  assert.ok(second - first < delayMs, `what followed came ${second - first} ms later`)
})

test('loss costs one connection more than a line that is shared by several', async (t) => {
  const options = { rateBytesPerSecond: 2 * megabyte, delayMs: 50, windowBytes: 128 * 1024 }
  const { line } = await rig(t, { ...options, lossProbability: 0.02 }, flood)
  const alone = await measure([dial(t, line)], megabyte)
  const others = Array.from({ length: 7 }, () => dial(t, line))
  const together = await measure(others, 3 * megabyte)
  assert.ok(alone < 0.6 * options.rateBytesPerSecond, `${alone} bytes per second alone`)
  assert.ok(together > 1.3 * alone, `${together} bytes per second together, ${alone} alone`)
})

test('each connection is cut after so many bytes towards its client, which gets them all', async (t) => {
  const cutAfterBytes = 300_001
  const { line, served } = await rig(t, { delayMs: 5, cutAfterBytes }, flood)
  const clients = [1, 2].map(() => dial(t, line))
  for (const { ended, received } of clients) {
    assert.equal(await ended, 'ECONNRESET')
    assert.equal(received(), cutAfterBytes)
  }
  await until(() => line.connections === 0 && served.every((socket) => socket.destroyed))
  const again = dial(t, line)
  assert.equal(await again.ended, 'ECONNRESET')
  assert.deepEqual(line.bytes, { up: 0, down: 3 * cutAfterBytes })
})

test('a connection that is cut does not disturb those that have not come so far', async (t) => {
  const { line, served } = await rig(t, { cutAfterBytes: megabyte }, echo)
  const [cut, other] = [dial(t, line), dial(t, line)]
  cut.socket.write(Buffer.alloc(2 * megabyte))
  other.socket.write('a')
  assert.equal(await cut.ended, 'ECONNRESET')
  other.socket.write('b')
  await until(() => other.received() === 2)
  assert.equal(served.length, 2)
})

test('a window that starts small is twice as large a round trip later, until it is whole', async (t) => {
  const [delayMs, startWindowBytes, windowBytes] = [50, 14 * 1024, 128 * 1024]
  const { line } = await rig(t, { delayMs, startWindowBytes, windowBytes }, flood)
  const began = performance.now()
  const { received } = dial(t, line)
  for (let trips = 0; trips < 4; ) {
    await until(() => performance.now() - began >= trips * 2 * delayMs)
    // Looked at before the clock is: whatever the machine does in between, it is no less time.
    const [bytes, ms] = [received(), performance.now() - began]
    trips = Math.floor(ms / (2 * delayMs)) + 1
    const most = startWindowBytes * (2 ** trips - 1)
    assert.ok(bytes <= most, `${bytes} bytes after ${ms} ms, at most ${most}`)
  }
  assertRate(await measure([{ received }], megabyte), (windowBytes / (2 * delayMs)) * 1000)
})

/** A seed by which the packets of a line's first connection fare so. */
function seedOf(probability: number, fate: readonly boolean[]): number {
  for (let seed = 1; ; seed += 1) {
    // As the line makes the seed of its first connection.
    const loss = new PacketLoss(probability, seed * 1_000_003 + 1)
    if (fate.every((isLost) => loss.split(Buffer.from('a'))[0]?.isLost === isLost)) return seed
  }
}
