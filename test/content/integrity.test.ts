import assert from 'node:assert/strict'
import { mkdtemp, open, readdir, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'

const image = buildImage({ layers: [pseudoRandomBytes(3_000_000, 'layer')] })
const damages: Record<string, (path: string) => Promise<void>> = {
  truncated: (path) => truncate(path, 2_000_000),
  emptied: (path) => truncate(path, 0),
  'changed in one byte': async (path) => {
    await using file = await open(path, 'r+')
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, 1_500_000)
    await file.write(Buffer.of((buffer[0] ?? 0) ^ 1), 0, 1, 1_500_000)
  },
}

for (const [what, damage] of Object.entries(damages)) {
  test(`a stored blob that was ${what} on disk is never completed, and is fetched again`, async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'larder-'))
    t.after(() => rm(directory, { recursive: true, force: true }))
    await using hub = await startDockerHub()
    hub.addImage('library/app', 'latest', image)
    const [layer] = image.layers
    assert.ok(layer)
    {
      await using mirror = await startMirror({ upstream: hub.url, directory })
      await pull(`${mirror.url}/v2/library/app/manifests/latest`)
      await pull(`${mirror.url}/v2/library/app/blobs/${layer.digest}`)
    }
    const stored = await readdir(join(directory, 'blobs'), { recursive: true })
    const path = stored.find((name) => name.endsWith(layer.digest.slice(7)))
    assert.ok(path)
    await damage(join(directory, 'blobs', path))
    await using mirror = await startMirror({ upstream: hub.url, directory })
    const url = `${mirror.url}/v2/library/app/blobs/${layer.digest}`
    const first = await pull(url)
    // Another size is seen at once, and mended in the same request.
    if (what === 'changed in one byte') assert.deepEqual([first.status, first.isComplete], [200, false])
    else assert.deepEqual([first.isComplete, first.digest], [true, layer.digest])
    const next = await pull(url)
    assert.deepEqual([next.isComplete, next.digest], [true, layer.digest])
  })
}

test('a stored blob that is as it was is a hit after a restart, whole and by ranges', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'larder-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  await using hub = await startDockerHub()
  hub.addImage('library/app', 'latest', image)
  const [layer] = image.layers
  assert.ok(layer)
  for (const round of ['cold', 'warm']) {
    await using mirror = await startMirror({ upstream: hub.url, directory })
    if (round === 'cold') await pull(`${mirror.url}/v2/library/app/manifests/latest`)
    const url: string = `${mirror.url}/v2/library/app/blobs/${layer.digest}`
    const [whole, range] = await Promise.all([pull(url), pull(url, { headers: { range: 'bytes=10-99' } })])
    assert.deepEqual([whole.digest, range.status, range.received], [layer.digest, 206, 90])
    if (round === 'warm') assert.equal(whole.headers['x-larder-cache'], 'hit')
  }
  assert.equal(hub.bytesSent(layer.digest), layer.size)
})
