import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'

const mebibyte = 1024 * 1024

test('a client gets bytes while the upstream has not sent the rest', async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(2 * mebibyte, 'stream'))
  await using mirror = await startMirror({ upstream: hub.url })
  using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, mebibyte)
  const half = Promise.withResolvers<void>()
  const pulling = pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`, {
    onBytes: (received) => received === mebibyte && half.resolve(),
  })
  await half.promise
  hold.release()
  assert.equal((await pulling).digest, blob.digest)
})

test('the second client, midway, gets at once what is there, and then follows', async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(2 * mebibyte, 'midway'))
  await using mirror = await startMirror({ upstream: hub.url })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, mebibyte)
  const first = pull(url)
  await hold.reached
  const half = Promise.withResolvers<number>()
  const startedAt = performance.now()
  const second = pull(url, {
    onBytes: (received) => received === mebibyte && half.resolve(performance.now() - startedAt),
  })
  // The upstream holds still: all of the first half can only come from what is there.
  await half.promise
  hold.release()
  const [one, other] = await Promise.all([first, second])
  assert.deepEqual([one.digest, other.digest], [blob.digest, blob.digest])
  assert.equal(other.headers['x-larder-cache'], 'joined')
  assert.equal(hub.bytesSent(blob.digest), 2 * mebibyte)
})

test('headers leave before the upstream has answered, when a manifest told the size', async (t) => {
  await using hub = await startDockerHub()
  const image = buildImage({ layers: [pseudoRandomBytes(mebibyte, 'headers')] })
  hub.addImage('library/app', 'latest', image)
  await using mirror = await startMirror({ upstream: hub.url })
  await pull(`${mirror.url}/v2/library/app/manifests/latest`)
  const [layer] = image.layers
  assert.ok(layer)
  using hold = hub.hold({ listener: 'registry', path: /blobs/ })
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const answered = fetch(`${mirror.url}/v2/library/app/blobs/${layer.digest}`)
  await hold.reached
  t.mock.timers.tick(10_000)
  t.mock.timers.reset()
  const response = await answered
  assert.equal(response.headers.get('content-length'), String(mebibyte))
  hold.release()
  assert.equal((await response.arrayBuffer()).byteLength, mebibyte)
})
