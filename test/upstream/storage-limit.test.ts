import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'

// Neighbours: the size of that blob, its bytes; another blob, a manifest, tags, of the same registry; the registry's own
// 429, which does hold for all.

const image = buildImage({ layers: [1000, 2000] })
const [limited = image.config, other = image.config] = image.layers

test('a 429 of the storage that a registry redirects to is about that blob, whatever it says of the time to wait', async (t) => {
  const hub = await startDockerHub()
  t.after(() => hub.close())
  hub.addImage('library/app', 'latest', image)
  hub.addImage('library/app', 'next', buildImage({ seed: 'next', layers: [500] }))
  hub.fault({ listener: 'cdn', digest: limited.digest }, { status: 429, retryAfter: 3600 })
  const mirror = await startMirror({ upstream: hub.url, config: { 'limits.retries': 0 } })
  t.after(() => mirror[Symbol.asyncDispose]())
  const ask = async (path: string, method = 'GET'): Promise<number> => {
    const response = await fetch(`${mirror.url}/v2/library/app/${path}`, { method })
    await response.arrayBuffer()
    return response.status
  }
  assert.equal(await ask('manifests/latest'), 200)
  await assert.rejects(async () => {
    if ((await ask(`blobs/${limited.digest}`)) !== 200) throw new Error('refused')
  })
  for (const path of [
    `blobs/${other.digest}`,
    'manifests/next',
    'tags/list',
    `blobs/${image.config.digest}`,
  ]) {
    assert.equal(await ask(path), 200, path)
  }
  const line = 'upstream refuses all requests for now: nothing is asked of it'
  assert.deepEqual(mirror.events(line), [])
  hub.fault({ listener: 'registry' }, { status: 429, retryAfter: 3600 })
  const refusal = await fetch(`${mirror.url}/v2/library/app/manifests/unknown`)
  assert.match(await refusal.text(), /TOOMANYREQUESTS/)
  assert.equal(mirror.events(line).length, 1)
})
