// What is fetched ahead gives nobody a right that his own asking would not. Neighbours that were thought of: bytes of
// another repository that this one's manifest names; a private repository; one that turned private; as whom it is asked; a
// disk that takes nothing; what a client asks then while the upstream is gone.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { parseReference } from '../../src/oci/reference.ts'
import { StorageError } from '../../src/storage/error.ts'
import { buildImage, type TestBlob, type TestImage } from '../support/images.ts'
import { until } from '../support/settle.ts'
import { app, Rights } from './rights-fixture.ts'

const client = '10.0.0.1'

async function start(t: TestContext, ...images: TestImage[]) {
  const rights = await Rights.start(t, { readAheadBytes: 100_000 })
  for (const [index, image] of images.entries()) rights.hub.addImage('acme/app', `${index}`, image)
  const repository = rights.repository('acme/app')
  const ask = (reference: string, isHead = false) =>
    repository.manifest(parseReference(reference), { isHead, client })
  const isHere = async ({ digest }: TestBlob) => (await rights.blobs.stat(digest)) !== undefined
  return { ...rights, hub: rights.hub, rights, repository, ask, isHere }
}

test('its upstream was asked as anyone, and said yes: the client that comes asks nobody', async (t) => {
  const image = buildImage({ layers: [5000] })
  const { hub, repository, ask, isHere } = await start(t, image)
  const all = [image.config, ...image.layers]
  await ask('0')
  for (const blob of all) await until(() => isHere(blob))
  assert.ok(hub.find({ listener: 'registry', path: /blobs/ }).every(({ caller }) => caller === 'anyone'))
  await hub.stop()
  for (const { digest } of all) {
    const { reader, status } = await repository.blob(digest, { client })
    await reader[Symbol.asyncDispose]()
    assert.equal(status, 'hit')
  }
})

test('bytes that are here by another way become nobody’s by being named', async (t) => {
  const image = buildImage({ layers: [5000], seed: 'named' })
  const [layer] = image.layers as [TestBlob]
  const { hub, rights, catalog, ask, isHere } = await start(t, image)
  hub.remove('acme/app', layer.digest)
  await rights.keep(layer)
  await ask('0')
  await until(() => isHere(image.config))
  await until(async () => (await catalog.held(app, image.config.digest))?.publicAt !== undefined)
  assert.equal(await catalog.held(app, layer.digest), undefined)
  const thing = { kind: 'blob', content: layer } as const
  assert.equal(await rights.ask(rights.repository('acme/app'), thing, 'GET'), 'absent')
})

test('of a private repository nothing is fetched', async (t) => {
  const image = buildImage({ layers: [5000], seed: 'private' })
  const { hub, rights, ask } = await start(t, image)
  hub.setPrivate('acme/app', ['ann'])
  await assert.rejects(ask('0'))
  await rights.mirror.readAhead[Symbol.asyncDispose]()
  assert.equal(hub.count({ path: /blobs/ }), 0)
})

test('nothing is fetched for a repository that was refused meanwhile, nor while the disk takes nothing', async (t) => {
  const images = ['refused', 'broken', 'well'].map((seed) => buildImage({ layers: [], seed }))
  const [refused, broken, well] = images as [TestImage, TestImage, TestImage]
  const { hub, catalog, blobs, ask, isHere } = await start(t, ...images)
  await ask('0', true)
  await catalog.refused(app, Date.now())
  await ask(refused.manifest.digest)
  await new Promise(setImmediate)
  blobs.disk.failed(new StorageError('READ_ONLY', 'no'))
  await ask('1')
  await new Promise(setImmediate)
  blobs.disk.recovered()
  await ask('2')
  await until(() => isHere(well.config))
  for (const { config } of [refused, broken]) assert.equal(hub.count({ digest: config.digest }), 0)
})
