import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const mebibyte = 1024 * 1024

test('the first client leaves midway: nobody else notices, and nothing is fetched again', async () => {
  const size = 4 * mebibyte
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'leaves'))
  await using mirror = await startMirror({ upstream: hub.url })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, mebibyte)
  const first = pull(url, { leaveAfter: mebibyte / 2 })
  await hold.reached
  const others = [pull(url), pull(url)]
  assert.equal((await first).isComplete, false)
  hold.release()
  for (const { digest } of await Promise.all(others)) assert.equal(digest, blob.digest)
  assert.equal(hub.bytesSent(blob.digest), size)
})

test('all clients leave: the blob still arrives, once, and the next pull is a hit', async () => {
  const size = 4 * mebibyte
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'all leave'))
  await using mirror = await startMirror({ upstream: hub.url })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, mebibyte)
  const clients = Array.from({ length: 5 }, () => pull(url, { leaveAfter: 1 }))
  await hold.reached
  await Promise.all(clients)
  hold.release()
  await until(async () => (await mirror.metric('larder_fills_running')) === 0)
  const next = await pull(url)
  assert.deepEqual([next.digest, next.headers['x-larder-cache']], [blob.digest, 'hit'])
  assert.equal(hub.bytesSent(blob.digest), size)
})

test('a client that reads nothing slows neither the fill nor the others', async () => {
  // More than the sockets on the way can hold, so that a fill at its pace could not end.
  const size = 32 * mebibyte
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'slow client'))
  await using mirror = await startMirror({ upstream: hub.url })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  const slow = await fetch(url)
  const fast = await Promise.all([pull(url), pull(url), pull(url)])
  for (const { digest } of fast) assert.equal(digest, blob.digest)
  assert.equal(hub.bytesSent(blob.digest), size)
  // It was never in the way, and it still gets everything.
  assert.equal((await slow.arrayBuffer()).byteLength, size)
})

test('memory for transfers is given back when clients are gone', async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(2 * mebibyte, 'pool'))
  await using mirror = await startMirror({ upstream: hub.url })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  await Promise.all([pull(url), pull(url, { leaveAfter: 1000 }), pull(url, { leaveAfter: mebibyte })])
  await until(async () => (await mirror.metric('larder_transfer_buffers_bytes')) === 0)
})

test('an address that has begun as much as it may waits for the end of that, and joins what is on its way', async () => {
  await using hub = await startDockerHub()
  const [first, second] = ['one', 'two'].map((seed) =>
    hub.addBlob('library/app', pseudoRandomBytes(mebibyte, seed)),
  )
  assert.ok(first && second)
  await using mirror = await startMirror({ upstream: hub.url, config: { 'limits.perClient.fills': 1 } })
  const url = `${mirror.url}/v2/library/app/blobs`
  using hold = hub.hold({ listener: 'cdn', digest: first.digest }, mebibyte / 2)
  const pulls = [pull(`${url}/${first.digest}`)]
  await hold.reached
  pulls.push(pull(`${url}/${second.digest}`), pull(`${url}/${first.digest}`))
  const waited = 'larder_client_turns_total{bound="fills",outcome="waited"}'
  await until(async () => (await mirror.metric(waited)) === 1)
  assert.equal(hub.bytesSent(second.digest), 0)
  hold.release()
  assert.deepEqual(
    (await Promise.all(pulls)).map(({ digest }) => digest),
    [first.digest, second.digest, first.digest],
  )
})
