import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { blobOf, buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const size = 1024 * 1024

test('whoever asks first in a repository without the blob does not make the rightful one get 404', async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'rightful'))
  hub.addImage('evil/app', 'latest', buildImage())
  await using mirror = await startMirror({ upstream: hub.url })
  using hold = hub.hold({ listener: 'registry', path: /evil\/app\/blobs/ })
  const evil = pull(`${mirror.url}/v2/evil/app/blobs/${blob.digest}`)
  await hold.reached
  const rightful = pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
  hold.release()
  assert.equal((await evil).status, 404)
  assert.deepEqual([(await rightful).status, (await rightful).digest], [200, blob.digest])
})

test('a manifest that lies about the size of a layer harms nobody but its own repository', async () => {
  await using hub = await startDockerHub()
  const honest = buildImage({ layers: [pseudoRandomBytes(size, 'honest')] })
  const [layer] = honest.layers
  assert.ok(layer)
  hub.addImage('library/app', 'latest', honest)
  for (const claimed of [0, 5, size + 7]) {
    const lie = JSON.parse(Buffer.from(honest.manifest.bytes).toString())
    lie.layers[0].size = claimed
    const manifest = blobOf(Buffer.from(JSON.stringify(lie)), honest.manifest.mediaType)
    hub.addManifest(`evil/app${claimed}`, manifest, 'latest')
    hub.addBlob(`evil/app${claimed}`, layer)
  }
  for (const claimed of [0, 5, size + 7]) {
    await using mirror = await startMirror({ upstream: hub.url, config: { 'limits.retries': 0 } })
    for (const name of [`evil/app${claimed}`, 'library/app'])
      await pull(`${mirror.url}/v2/${name}/manifests/latest`)
    const evil = pull(`${mirror.url}/v2/evil/app${claimed}/blobs/${layer.digest}`)
    const rightful = pull(`${mirror.url}/v2/library/app/blobs/${layer.digest}`)
    const { status, isComplete, digest } = await evil
    assert.ok(status >= 500 || !isComplete || digest === layer.digest, `${claimed}: ${status} ${isComplete}`)
    assert.deepEqual([(await rightful).status, (await rightful).digest], [200, layer.digest], `${claimed}`)
  }
})

test('an answer that is no blob at all (a captive portal) leaves nothing behind', async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'portal'))
  await using mirror = await startMirror({ upstream: hub.url })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  const portal = hub.fault(
    { listener: 'registry', path: /blobs/ },
    { status: 200, body: '<html>log in</html>' },
  )
  const refused = await pull(url)
  assert.ok(refused.status >= 500 || !refused.isComplete)
  await until(async () => (await mirror.metric('larder_fills_running')) === 0)
  portal.remove()
  assert.equal((await pull(url)).digest, blob.digest)
})

test('an upstream that ignores Range gets on although others wait for their turn', async () => {
  await using hub = await startDockerHub()
  const blobs = ['a', 'b', 'c'].map((seed) => hub.addBlob('library/app', pseudoRandomBytes(size, seed)))
  hub.fault({ listener: 'cdn' }, { ignoreRange: true })
  await using mirror = await startMirror({ upstream: hub.url, config: { 'limits.downloads': 1 }, turnMs: 0 })
  const pulled = await Promise.all(
    blobs.map(({ digest }) => pull(`${mirror.url}/v2/library/app/blobs/${digest}`)),
  )
  assert.deepEqual(
    pulled.map(({ digest }) => digest),
    blobs.map(({ digest }) => digest),
  )
})

test('turns cost no byte twice, also where a rate is kept', async (t) => {
  await using hub = await startDockerHub()
  const blobs = ['a', 'b', 'c'].map((seed) => hub.addBlob('library/app', pseudoRandomBytes(3 * size, seed)))
  // What is over within a second keeps its turn.
  const config = { 'limits.downloads': 1, 'limits.rate': '1MB/s' }
  await using mirror = await startMirror({ upstream: hub.url, config, turnMs: 100 })
  const pulled = await Promise.all(
    blobs.map(({ digest }) => pull(`${mirror.url}/v2/library/app/blobs/${digest}`)),
  )
  assert.deepEqual(
    pulled.map(({ digest }) => digest),
    blobs.map(({ digest }) => digest),
  )
  const received = await mirror.metric('larder_upstream_received_bytes_total')
  t.diagnostic(`${(received / (9 * size)).toFixed(3)}x over ${hub.count({ listener: 'cdn' })} connections`)
  assert.equal(received, 9 * size)
  assert.ok(hub.count({ listener: 'cdn' }) > 3)
})

test('an upstream that does not answer does not decide for the same blob of another one', async () => {
  await using silent = await startDockerHub()
  await using hub = await startDockerHub()
  const bytes = pseudoRandomBytes(size, 'two upstreams')
  const blob = silent.addBlob('library/app', bytes)
  hub.addBlob('library/app', bytes)
  await using mirror = await startMirror({
    config: {
      upstreams: [
        { name: 'docker.io', url: silent.url },
        { name: 'mirror.test', url: hub.url },
      ],
    },
  })
  using hold = silent.hold({ listener: 'cdn', digest: blob.digest }, 0)
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  const first = pull(url)
  await hold.reached
  const second = await pull(`${url}?ns=mirror.test`)
  assert.deepEqual([second.status, second.digest, second.isComplete], [200, blob.digest, true])
  // It is left after three seconds; whoever waited for it would wait for `limits.stall`, which is half a minute.
  assert.ok(second.totalMs < 20_000, `${second.totalMs} ms`)
  assert.equal((await first).digest, blob.digest)
  assert.equal(hub.bytesSent(blob.digest), size)
})
