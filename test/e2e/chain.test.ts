import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startLarder } from './support/larder-process.ts'

const image = buildImage({ layers: [5_000_000, 300_000] })
const blobs = [image.config, ...image.layers]
const imageBytes = blobs.reduce((sum, { size }) => sum + size, 0)

test('two mirrors in a row: each byte crosses each line once', { timeout: 60_000 }, async () => {
  await using hub = await startDockerHub()
  hub.addImage('library/app', 'v1', image)
  await using near = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
  await using far = await startLarder({ upstreams: [{ name: 'docker.io', url: near.url }] })

  // Ten machines behind the far mirror at once, and one at the near one.
  const bases = [...Array.from({ length: 10 }, () => far.url), near.url]
  await Promise.all(bases.map(pullImage))

  for (const mirror of [near, far]) {
    assert.equal(await mirror.metric('larder_upstream_received_bytes_total'), imageBytes)
  }
  for (const { digest, size } of blobs) assert.equal(hub.bytesSent(digest), size)
  assert.equal(hub.bytesSent(image.manifest.digest), image.manifest.size)
})

test('two mirrors in a row: the far one serves what it has without the near one', {
  timeout: 60_000,
}, async () => {
  await using hub = await startDockerHub()
  hub.addImage('library/app', 'v1', image)
  await using near = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
  await using far = await startLarder({ upstreams: [{ name: 'docker.io', url: near.url }] })
  await pullImage(far.url)
  assert.equal(await near.stop(), 0)
  await hub.stop()
  await pullImage(far.url)
})

/** Pulls as a client does: the manifest by its tag, then all blobs at once. */
async function pullImage(base: string): Promise<void> {
  const manifest = await pull(`${base}/v2/library/app/manifests/v1`)
  assert.equal(manifest.digest, image.manifest.digest)
  const pulled = await Promise.all(blobs.map(({ digest }) => pull(`${base}/v2/library/app/blobs/${digest}`)))
  assert.deepEqual(
    pulled.map(({ digest }) => digest),
    blobs.map(({ digest }) => digest),
  )
}
