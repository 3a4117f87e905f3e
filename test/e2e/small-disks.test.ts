/**
 * Eight clients on a disk that is far too small for what they want, which is watched from outside meanwhile. Each file
 * system has its own way of being full: blocks on ext4, inodes on a tmpfs that has few.
 */
import assert from 'node:assert/strict'
import { statfsSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { smallDisk, smallDiskNeeds, smallExt4, smallExt4Needs } from '../storage/files/small-disk.ts'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { blobOf, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { reasonToSkip } from '../support/programs.ts'
import { beginUpload, send, withDigest } from '../support/push.ts'
import { until } from '../support/settle.ts'
import { Crowd, type CrowdReport } from './support/crowd.ts'
import { DiskWatch } from './support/disk-watch.ts'

const mebibyte = 1024 * 1024
const blockBytes = 4096
const pullers = 6
const pushers = 2
/** Blobs that come in at a time: three of an image each. */
const fills = 3 * pullers
const forMs = 20_000

interface Play {
  readonly directory: string
  readonly config: Readonly<Record<string, unknown>>
  readonly images: number
  readonly layerBytes: number
}

async function play(t: TestContext, { directory, config, images, layerBytes }: Play) {
  const seed = Math.floor(Math.random() * 2 ** 31)
  await using hub = await startDockerHub({ auth: 'none', cdn: false })
  await using mirror = await startMirror({ upstream: hub.url, directory, config })
  const crowd = await Crowd.open({ url: mirror.url, hub, seed, pullers, pushers, images, layerBytes, forMs })
  using watch = new DiskWatch(directory, crowd.report.pushedDigests)
  const report = await crowd.work()
  watch.look()
  const evicted = await mirror.metric('larder_evicted_blobs_total')
  tell(t, { seed, report, wanted: crowd.size, most: watch.most, evicted })
  assert.deepEqual(report.problems, [])
  assert.ok(report.pushed > 0 && report.pulls > 0 && watch.looks > 100)
  await until(() => mirror.app.underWay.fills === 0)
  return { report, most: watch.most, evicted }
}

function tell(
  t: TestContext,
  {
    seed,
    report,
    wanted,
    most,
    evicted,
  }: { seed: number; report: CrowdReport; wanted: number; most: number; evicted: number },
): void {
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`
  const { pulls, hits, bytes, pushed, refused } = report
  t.diagnostic(`seed ${seed}: ${megabytes(wanted)} at the upstream, at most ${megabytes(most)} cached`)
  t.diagnostic(`${pulls} pulls of ${megabytes(bytes)}, ${hits} hits; ${evicted} blobs evicted`)
  t.diagnostic(`${pushed} images pushed, ${refused} pushes refused for want of room`)
}

test('ext4 of 64 MB, a limit of 24 MB: it is never passed, and nobody notices', {
  skip: reasonToSkip(smallExt4Needs),
}, async (t) => {
  const directory = await smallExt4(t, 64)
  const maxSize = 24_000_000
  const config = { 'cache.maxSize': maxSize, 'cache.minFree': '2MB' }
  const { most, evicted } = await play(t, { directory, config, images: 60, layerBytes: 4_000_000 })
  assert.ok(most <= maxSize + fills * blockBytes, `${most - maxSize} bytes above the limit`)
  assert.ok(most > maxSize / 2)
  assert.ok(evicted > 10)
})

test('ext4 of 64 MB that a larger limit would fill: what has to stay free is free, and nobody notices', {
  skip: reasonToSkip(smallExt4Needs),
}, async (t) => {
  const directory = await smallExt4(t, 64)
  const config = { 'cache.maxSize': '1GB', 'cache.minFree': '8MB' }
  const { evicted } = await play(t, { directory, config, images: 60, layerBytes: 4_000_000 })
  assert.ok(evicted > 10)
  const { bavail, bsize } = statfsSync(directory)
  assert.ok(bavail * bsize > 4 * mebibyte, `${bavail * bsize} bytes are free`)
})

test('a tmpfs of 450 inodes: they do not run out, and nobody notices', {
  skip: reasonToSkip(smallDiskNeeds),
}, async (t) => {
  const directory = await smallDisk(t, 'size=200m,nr_inodes=450')
  const config = { 'cache.maxSize': '1GB', 'cache.minFree': '8MB' }
  const { evicted } = await play(t, { directory, config, images: 300, layerBytes: 40_000 })
  assert.ok(evicted > 10)
})

test('ext4 of 64 MB that pushes fill: it says so, and not again and again', {
  skip: reasonToSkip(smallExt4Needs),
}, async (t) => {
  const directory = await smallExt4(t, 64)
  await using hub = await startDockerHub({ auth: 'none', cdn: false })
  const config = { 'cache.minFree': '0B' }
  await using mirror = await startMirror({ upstream: hub.url, directory, config, probeMs: 10 })
  const repository = `${mirror.url}/v2/local/app`
  let [status, refused] = [0, 0]
  for (let n = 0; n < 100 && refused < 5; n += 1) {
    const { digest, bytes } = blobOf(pseudoRandomBytes(1_500_000, `pushed ${n}`))
    const upload = withDigest(await beginUpload(repository), digest)
    status = (await send('PUT', upload, { body: [bytes] })).status
    if (status === 507) refused += 1
    else assert.equal(status, 201)
  }
  assert.equal(status, 507)
  await until(async () => /degraded.*the disk is full/.test((await pull(`${mirror.url}/readyz`)).text))
  assert.match((await pull(`${mirror.url}/metrics`)).text, /larder_storage_state\{state="full"\} 1/)
  const warnings = mirror
    .events()
    .filter(({ level, msg }) => msg !== 'request' && (level === 'warn' || level === 'error'))
  for (const [message, { length }] of Map.groupBy(warnings, ({ msg }) => msg)) {
    assert.ok(length <= 1, `${length} lines: ${message}`)
  }
})
