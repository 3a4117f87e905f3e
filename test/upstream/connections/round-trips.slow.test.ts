import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RoundTrips } from '../../../src/upstream/connections/round-trips.ts'
import { startSlowLine } from '../../support/slow-line.ts'
import { collect, listen, transportTo } from '../fixtures.ts'

const origin = 'https://registry.test'

test('a round trip takes what the fastest answer took, and no less than a handshake', () => {
  const trips = new RoundTrips()
  assert.equal(trips.of(origin), undefined)
  trips.noteConnect(origin, 40)
  assert.equal(trips.of(origin), 40)
  trips.noteAnswer(origin, 300)
  trips.noteAnswer(origin, 45)
  trips.noteAnswer(origin, 90)
  assert.equal(trips.of(origin), 45)
  trips.noteConnect('https://elsewhere.test', 7)
  assert.equal(trips.of(origin), 45)
})

test('what takes long on the line is far, what takes long to answer only where it takes much longer', () => {
  const trips = new RoundTrips()
  assert.equal(trips.isFar(origin), undefined)
  trips.noteConnect(origin, 1)
  trips.noteAnswer(origin, 20)
  assert.equal(trips.isFar(origin), false)
  trips.noteConnect('https://far.test', 6)
  assert.equal(trips.isFar('https://far.test'), true)
  trips.noteConnect('https://hidden.test', 1)
  trips.noteAnswer('https://hidden.test', 500)
  assert.equal(trips.isFar('https://hidden.test'), true)
})

test('a line that got slower shows after two minutes, one that got faster at once', (t) => {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const trips = new RoundTrips()
  const noteFor = (minutes: number, ms: number): void => {
    for (let end = now + minutes * 60_000; now < end; now += 10_000) trips.noteAnswer(origin, ms)
  }
  noteFor(5, 20)
  noteFor(1, 600)
  assert.equal(trips.of(origin), 20)
  noteFor(2, 600)
  assert.equal(trips.of(origin), 600)
  noteFor(0.1, 30)
  assert.equal(trips.of(origin), 30)
})

test('a line that answers handshakes in place of the other end hides no round trip', async (t) => {
  const server = await listen(t, (_request, response) => void response.end('yes'))
  const delayMs = 60
  await using line = await startSlowLine({ target: { host: '127.0.0.1', port: server.port }, delayMs })
  const transport = transportTo(t, line.url)
  for (let i = 0; i < 2; i += 1) {
    const answer = await transport.request({ method: 'GET', url: new URL(line.url) })
    await collect(answer.body())
  }
  const ms = transport.roundTrips.of(line.url) ?? 0
  assert.ok(ms >= 2 * delayMs - 5, `${ms} ms`)
})
