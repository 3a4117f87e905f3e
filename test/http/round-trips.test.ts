import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, buildIndex } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'

// What costs a round trip of the line, and need not be asked.

const image = buildImage({ layers: [50_000, 50_001, 50_002, 50_003, 5_000_000] })
const other = buildImage({ seed: 'arm', platform: { os: 'linux', architecture: 'arm64' } })
const index = buildIndex([image, other])

test('a cold pull asks for each thing once, with a token from the first question on, and for no blob by HEAD', async () => {
  await using hub = await startDockerHub()
  for (const name of ['library/app', 'library/other']) hub.addImage(name, 'latest', index)
  // By one connection a blob: where the machine is slow, more would be tried, each with a question of its own.
  await using mirror = await startMirror({ upstream: hub.url, config: { 'limits.connections': 1 } })
  for (const upstream of mirror.app.upstreams) await upstream.check()
  hub.reset()
  for (const name of ['library/app', 'library/other']) {
    const ask = (path: string, method = 'GET') => pull(`${mirror.url}/v2/${name}/${path}`, { method })
    assert.equal((await ask('manifests/latest', 'HEAD')).status, 200)
    await ask(`manifests/${index.manifest.digest}`)
    await ask(`manifests/${image.manifest.digest}`)
    const blobs = [image.config, ...image.layers]
    const pulled = await Promise.all(blobs.map(({ digest }) => ask(`blobs/${digest}`)))
    assert.deepEqual(
      pulled.map(({ digest }) => digest),
      blobs.map(({ digest }) => digest),
    )
  }
  assert.equal(hub.count({ status: 401 }), 0)
  assert.equal(hub.count({ listener: 'token' }), 2)
  assert.equal(hub.count({ listener: 'cdn', method: 'HEAD' }), 0)
  for (const { digest } of [image.config, ...image.layers]) {
    assert.equal(hub.count({ listener: 'registry', path: /library\/app/, digest, status: 307 }), 1, digest)
    assert.equal(
      hub.bytesSent(digest),
      [image.config, ...image.layers].find((blob) => blob.digest === digest)?.size,
    )
  }
  assert.equal(hub.count({ listener: 'registry', method: 'HEAD', path: /library\/app\/blobs/ }), 0)
})
