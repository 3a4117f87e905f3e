// A registry that sends a blob chunked, of which no manifest tells the size. Neighbours that were thought of: it tells that
// by HEAD, by the first byte alone, not at all; there is room for it, and none; a part of it; several clients.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { startMirror } from '../support/mirror.ts'

const size = 20_000_000
const tight = { 'cache.maxSize': '8MB', 'cache.minFree': '0B' }

async function chunkedBlob() {
  await using starting = new AsyncDisposableStack()
  const hub = starting.use(await startDockerHub({ auth: 'none', cdn: false }))
  const blob = await hub.addGeneratedBlob('library/app', { size, seed: 'untold' })
  hub.fault({ digest: blob.digest, method: 'GET' }, { contentLength: 'none' })
  const started = starting.move()
  return { hub, blob, [Symbol.asyncDispose]: () => started.disposeAsync() }
}

for (const by of ['HEAD', 'the first byte']) {
  test(`no room, and the registry tells the size by ${by}: all clients have the bytes, which cross the line once`, async () => {
    await using upstream = await chunkedBlob()
    const { hub, blob } = upstream
    if (by !== 'HEAD') hub.fault({ digest: blob.digest, method: 'HEAD' }, { contentLength: 'none' })
    await using mirror = await startMirror({ upstream: hub.url, config: tight })
    const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
    const pulled = await Promise.all([0, 1, 2].map(() => pull(url)))
    for (const { status, digest, headers } of pulled) {
      assert.deepEqual([status, digest, headers['content-length']], [200, blob.digest, `${size}`])
    }
    assert.ok(hub.bytesSent(blob.digest) <= size + 1)
  })
}

test('no room, and a part is asked for: it comes', async () => {
  await using upstream = await chunkedBlob()
  const { hub, blob } = upstream
  await using mirror = await startMirror({ upstream: hub.url, config: tight })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  const { status, received } = await pull(url, { headers: { range: 'bytes=19000000-19000999' } })
  assert.deepEqual([status, received], [206, 1000])
})

test('no room, and the registry never tells the size: an error says so, without being asked again', async () => {
  await using upstream = await chunkedBlob()
  const { hub, blob } = upstream
  hub.fault({ digest: blob.digest }, { contentLength: 'none', ignoreRange: true })
  await using mirror = await startMirror({ upstream: hub.url, config: tight })
  const { status, text } = await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
  assert.equal(status, 502)
  assert.match(text, /does not tell the size of a blob that there is no room for/)
  // The second one asks for the first byte, to be told the size.
  assert.equal(hub.count({ digest: blob.digest, method: 'GET' }), 2)
})

test('there is room: a client begins while the blob still comes', async () => {
  await using upstream = await chunkedBlob()
  const { hub, blob } = upstream
  using hold = hub.hold({ digest: blob.digest, method: 'GET' }, 5_000_000)
  await using mirror = await startMirror({ upstream: hub.url })
  const { status, received } = await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`, {
    leaveAfter: 1_000_000,
  })
  assert.equal(status, 200)
  assert.ok(received >= 1_000_000)
  hold.release()
})
