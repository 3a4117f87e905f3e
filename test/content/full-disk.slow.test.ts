import assert from 'node:assert/strict'
import { readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { smallDisk, smallDiskNeeds } from '../storage/files/small-disk.ts'
import { type Pulled, pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { startPlainRegistry } from '../support/plain-registry.ts'
import { reasonToSkip } from '../support/programs.ts'
import { until } from '../support/settle.ts'
import { framings, nothing } from './empty-bodies.ts'

const mebibyte = 1024 * 1024
const skip = reasonToSkip(smallDiskNeeds)

test('a blob that the disk cannot take is handed through whole, and nothing is left of it', {
  skip,
}, async (t) => {
  const directory = await smallDisk(t, 'size=8m')
  await using hub = await startDockerHub()
  const image = buildImage({
    layers: [pseudoRandomBytes(mebibyte, 'small'), pseudoRandomBytes(20 * mebibyte, 'big')],
  })
  const [small, big] = image.layers
  assert.ok(small && big)
  hub.addImage('library/app', 'latest', image)
  await using mirror = await startMirror({ upstream: hub.url, directory, config: { 'cache.revalidate': 0 } })
  const base = `${mirror.url}/v2/library/app`
  const wholePull = async (): Promise<Pulled[]> => {
    const pulled: Pulled[] = []
    for (const path of [
      'manifests/latest',
      ...[image.config, small].map(({ digest }) => `blobs/${digest}`),
    ]) {
      pulled.push(await pull(`${base}/${path}`))
    }
    return pulled
  }
  for (const { status, isComplete } of await wholePull()) assert.deepEqual([status, isComplete], [200, true])
  const first = await pull(`${base}/blobs/${big.digest}`)
  assert.deepEqual([first.digest, first.isComplete], [big.digest, true])
  const again = await Promise.all([pull(`${base}/blobs/${big.digest}`), pull(`${base}/blobs/${big.digest}`)])
  for (const { digest, isComplete } of again) assert.deepEqual([digest, isComplete], [big.digest, true])
  // What was stored before is served as before.
  const hits = await wholePull()
  assert.deepEqual(
    hits.map(({ isComplete }) => isComplete),
    [true, true, true],
  )
  assert.equal(hits[2]?.headers['x-larder-cache'], 'hit')
  assert.equal(await mirror.metric('larder_fills_running'), 0)
  assert.deepEqual(await readdir(join(directory, 'partial')), [])
})

test('a disk with less room than a layer: six layers are whole at the first try, and kept when there is room', {
  skip,
}, async (t) => {
  const directory = await smallDisk(t, 'size=40m')
  const filler = join(directory, 'filler')
  await using hub = await startDockerHub()
  const names = ['a', 'b', 'c', 'd', 'e', 'f']
  const image = buildImage({ layers: names.map((name) => pseudoRandomBytes(4 * mebibyte, name)) })
  hub.addImage('library/app', 'latest', image)
  await using mirror = await startMirror({ upstream: hub.url, directory })
  await writeFile(filler, Buffer.alloc(36 * mebibyte))
  const base = `${mirror.url}/v2/library/app`
  await pull(`${base}/manifests/latest`)
  for (const { digest, size } of image.layers) {
    const pulled = await pull(`${base}/blobs/${digest}`)
    assert.deepEqual([pulled.isComplete, pulled.digest], [true, digest])
    assert.equal(hub.bytesSent(digest), size)
  }
  assert.deepEqual(await readdir(join(directory, 'partial')), [])
  await rm(filler)
  for (const status of ['miss', 'hit']) {
    for (const { digest } of image.layers) {
      const pulled = await pull(`${base}/blobs/${digest}`)
      assert.deepEqual([pulled.isComplete, pulled.headers['x-larder-cache']], [true, status])
    }
  }
})

test('another program fills the disk in the middle of a blob: both who pull it get all of it, over the line once', {
  skip,
}, async (t) => {
  const directory = await smallDisk(t, 'size=40m')
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(16 * mebibyte, 'middle'))
  using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, 4 * mebibyte)
  await using mirror = await startMirror({ upstream: hub.url, directory })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  const pulling = [pull(url), pull(url)]
  const partial = join(directory, 'partial', blob.digest.replace(':', '-'))
  await until(async () => ((await stat(partial).catch(() => undefined))?.size ?? 0) > 2 * mebibyte)
  await writeFile(join(directory, 'filler'), Buffer.alloc(40 * mebibyte)).catch(() => {})
  hold.release()
  for (const { digest, isComplete } of await Promise.all(pulling)) {
    assert.deepEqual([digest, isComplete], [blob.digest, true])
  }
  assert.equal(hub.bytesSent(blob.digest), blob.size)
  assert.deepEqual(await readdir(join(directory, 'partial')), [])
  assert.equal(await mirror.metric('larder_handed_through_total'), 1)
})

test('wrong bytes that are handed through are not completed either', { skip }, async (t) => {
  const directory = await smallDisk(t, 'size=4m')
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(8 * mebibyte, 'wrong'))
  hub.fault({ listener: 'cdn', digest: blob.digest }, { flipAt: 5 * mebibyte })
  await using mirror = await startMirror({ upstream: hub.url, directory })
  for (let round = 0; round < 3; round += 1) {
    const { status, isComplete } = await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
    assert.ok(!isComplete || status >= 500, `${status} ${isComplete}`)
  }
})

test('a client that leaves a blob that is handed through ends its download', { skip }, async (t) => {
  const directory = await smallDisk(t, 'size=4m')
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(32 * mebibyte, 'leaves'))
  await using mirror = await startMirror({ upstream: hub.url, directory })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  await pull(url)
  hub.reset()
  await pull(url, { leaveAfter: mebibyte })
  const { isComplete } = await pull(url)
  assert.ok(isComplete)
  assert.ok(hub.bytesSent(blob.digest) < 2 * blob.size)
})

test('a full disk: a blob of no bytes is handed through, however the upstream frames it', {
  skip,
}, async (t) => {
  for (const [name, answer] of Object.entries(framings)) {
    const directory = await smallDisk(t, 'size=2m')
    await using registry = await startPlainRegistry((request, response) => answer(response, request))
    await using mirror = await startMirror({ upstream: registry.url, directory })
    await writeFile(join(directory, 'ballast'), Buffer.alloc(2 * 1024 * 1024)).catch(() => {})
    const { status, headers, isComplete } = await pull(`${mirror.url}/v2/library/app/blobs/${nothing}`)
    assert.deepEqual([status, headers['content-length'], isComplete], [200, '0', true], name)
  }
})
