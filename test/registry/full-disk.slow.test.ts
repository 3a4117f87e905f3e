/**
 * A registry on a disk without a free byte. Thought of: deletes of a tag, a manifest and a blob, the collector, the purge
 * of uploads; a journal that has never come round; a stop and a start meanwhile; clients that go on pushing; room again.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { statfsSync } from 'node:fs'
import { open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { smallDisk, smallDiskNeeds } from '../storage/files/small-disk.ts'
import { blobOf, buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { reasonToSkip } from '../support/programs.ts'
import { beginUpload, pushImage, send } from '../support/push.ts'
import { until } from '../support/settle.ts'

const skip = reasonToSkip(smallDiskNeeds)
const acceptAny = { accept: '*/*' }
/** Long enough for what is pushed not to be taken for left before its manifest is here, on a machine that is held up. */
const left = '8s'
/** Of a wait for what goes after two or three times that. */
const timeoutMs = 90_000

const start = (directory: string): Promise<TestMirror> =>
  startMirror({
    directory,
    upstream: 'http://127.0.0.1:9',
    config: { 'local.collectAfter': left, 'local.uploadTtl': left },
  })

/** Writes to a file until not one byte more fits. */
async function fill(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, 'filler')
  const file = await open(path, 'a')
  const writeAll = async () => {
    for (;;) await file.appendFile(Buffer.alloc(4096))
  }
  await assert.rejects(writeAll, { code: 'ENOSPC' })
  await file.close()
  return () => rm(path)
}

function imageOf(seed: number) {
  return buildImage({ layers: [randomBytes(200_000 + seed)] })
}

async function pushAll(repository: string, count: number) {
  const images = Array.from({ length: count }, (_, n) => imageOf(n))
  for (const [n, image] of images.entries()) await pushImage(repository, `t${n}`, image)
  return images
}

/** Pushes blobs that nothing is to be left for, and takes what room there is; returns how many were refused. */
async function press(repository: string, count: number): Promise<number> {
  let refused = 0
  for (let n = 0; n < count; n += 1) {
    const { bytes, digest } = blobOf(randomBytes(50_000))
    const put = await send('POST', `${repository}/blobs/uploads/?digest=${digest}`, { body: bytes })
    assert.ok(put.status === 507 || put.status === 201, put.text)
    if (put.status === 507) refused += 1
  }
  return refused
}

test('a full disk: everything can be deleted, while others go on pushing, and the space comes back', {
  skip,
}, async (t) => {
  const folder = await smallDisk(t, 'size=32m')
  const directory = join(folder, 'data')
  await using mirror = await start(directory)
  const repository = `${mirror.url}/v2/local/app`
  const images = await pushAll(repository, 12)
  const makeRoom = await fill(folder)
  assert.ok((await press(repository, 40)) > 20)
  for (const [n, image] of images.entries()) {
    const tag = await send('DELETE', `${repository}/manifests/t${n}`)
    assert.equal(tag.status, 202, `tag ${n}: ${tag.text}`)
    if (n === 0) continue
    await press(repository, 2)
    const manifest = await send('DELETE', `${repository}/manifests/${image.manifest.digest}`)
    assert.equal(manifest.status, 202, `manifest ${n}: ${manifest.text}`)
    const [layer] = image.layers
    const blob = await send('DELETE', `${repository}/blobs/${layer?.digest}`)
    assert.ok(blob.status === 202 || blob.status === 404, `blob ${n}: ${blob.text}`)
  }
  const [kept] = images
  assert.ok(kept)
  const served = await send('GET', `${repository}/manifests/${kept.manifest.digest}`, { headers: acceptAny })
  assert.equal(served.status, 200)
  const collected = async () => (await mirror.metric('larder_cache_blobs')) <= 2
  await until(collected, { timeoutMs })
  await until(() => statfsSync(folder).bavail * statfsSync(folder).bsize > 1_000_000)
  await until(async () => (await press(repository, 1)) === 0)
  await makeRoom()
})

test('a full disk is no less so after a stop and a start, and deletes go on; old uploads are purged', {
  skip,
}, async (t) => {
  const folder = await smallDisk(t, 'size=32m')
  const directory = join(folder, 'data')
  const images = await (async () => {
    await using mirror = await start(directory)
    return await pushAll(`${mirror.url}/v2/local/app`, 8)
  })()
  for (const [n, image] of images.entries()) {
    await using mirror = await start(directory)
    const repository = `${mirror.url}/v2/local/app`
    if (n === 0) {
      const upload = await beginUpload(repository)
      const patched = await send('PATCH', upload, { body: randomBytes(100_000) })
      assert.equal(patched.status, 202, patched.text)
    }
    await fill(folder)
    await press(repository, 5)
    const deleted = await send('DELETE', `${repository}/manifests/${image.manifest.digest}`)
    assert.equal(deleted.status, 202, `${n}: ${deleted.text}`)
  }
  await using mirror = await start(directory)
  const purged = async () => (await readdir(join(directory, 'upload'))).length === 0
  const collected = async () => (await mirror.metric('larder_cache_blobs')) === 0
  for (const done of [purged, collected]) await until(done, { timeoutMs })
})
