// A thousand damaged blobs. Thought of: each kind of damage, seen by the file system or behind its back; found by who pulls
// and by the scrub; small and large; what was pushed as well, with and without an upstream that has it too.
import assert from 'node:assert/strict'
import { open, readFile, rename, stat, truncate, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { type Digest, digestHex, digestOf } from '../../src/oci/digest.ts'
import { storageFolder, testBytes } from '../storage/files/storage-folder.ts'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { pushImage } from '../support/push.ts'
import { until } from '../support/settle.ts'

const count = 1000
/** Of a machine that does much else. */
const patient = { timeoutMs: 300_000, intervalMs: 500 }
const day = 24 * 60 * 60_000
const repository = 'library/app'

function pathOf(directory: string, digest: Digest): string {
  return join(directory, 'blobs/sha256', digestHex(digest).slice(0, 2), digestHex(digest))
}

async function flip(path: string): Promise<void> {
  await using file = await open(path, 'r+')
  const at = (await file.stat()).size - 1
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, at)
  byte[0] = (byte[0] ?? 0) ^ 1
  await file.write(byte, 0, 1, at)
}

/** Neither the size nor the time of a file tells. */
async function secretly(path: string, damage: (path: string) => Promise<void>): Promise<void> {
  const { atime, mtime } = await stat(path)
  await damage(path)
  await utimes(path, atime, mtime)
}

/** In turn: a flipped byte, behind the back of the file system or not, half of it, nothing of it, two that swap places. */
async function damageAll(directory: string, digests: readonly Digest[], isSecret: boolean): Promise<void> {
  for (const [index, digest] of digests.entries()) {
    const path = pathOf(directory, digest)
    const kind = index % 5
    if (kind === 0) await (isSecret ? secretly(path, flip) : flip(path))
    if (kind === 1) await truncate(path, Math.floor((await stat(path)).size / 2))
    if (kind === 2) await truncate(path, 0)
    if (kind !== 3) continue
    const other = pathOf(directory, digests[index + 1] ?? assert.fail())
    await rename(path, `${path}.swap`)
    await rename(other, path)
    await rename(`${path}.swap`, other)
  }
}

/** All of it is due. */
function forgetVerification(directory: string): void {
  using database = new DatabaseSync(join(directory, 'catalog.db'))
  database.exec('UPDATE blob SET verified_at = 1')
}

/** A mirror's folder with blobs of an upstream, a tenth of them larger than what is hashed before it is served. */
async function fill(t: TestContext, hub: DockerHub) {
  const directory = await storageFolder(t)
  const digests = Array.from({ length: count }, (_, n) => {
    return hub.addBlob(repository, testBytes(n % 10 === 0 ? 100_000 + n : 2000 + n, n)).digest
  })
  await using mirror = await startMirror({ upstream: hub.url, directory })
  await inTurns(digests, async (digest) => {
    assert.equal((await pullBlob(mirror, digest)).digest, digest)
  })
  await until(async () => (await mirror.metric('larder_cache_blobs')) === count)
  return { directory, digests }
}

async function inTurns<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const left = [...items]
  const worker = async (): Promise<void> => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) await work(item)
  }
  await Promise.all(Array.from({ length: 8 }, worker))
}

function pullBlob(mirror: TestMirror, digest: Digest) {
  return pull(`${mirror.url}/v2/${repository}/blobs/${digest}`)
}

async function wholeOnDisk(directory: string, digests: readonly Digest[]): Promise<number> {
  let whole = 0
  for (const digest of digests) {
    const bytes = await readFile(pathOf(directory, digest)).catch(() => Buffer.alloc(0))
    if (digestOf(bytes) === digest) whole += 1
  }
  return whole
}

test('1,000 blobs are damaged: none is completed wrong, all are found, by pulls and by the scrub, and whole again', async (t) => {
  await using hub = await startDockerHub()
  const { directory, digests } = await fill(t, hub)
  await damageAll(directory, digests, false)
  assert.equal(await wholeOnDisk(directory, digests), 0)
  {
    const config = { 'cache.scrub': 'never' }
    await using mirror = await startMirror({ upstream: hub.url, directory, healEveryMs: 50, config })
    const served = { whole: 0, cut: 0, wrong: 0 }
    await inTurns(digests, async (digest) => {
      // A large one that is only flipped is cut before its last byte.
      const answer = await pullBlob(mirror, digest).catch(() => undefined)
      served[!answer?.isComplete ? 'cut' : answer.digest === digest ? 'whole' : 'wrong'] += 1
    })
    t.diagnostic(`${count} damaged and pulled: ${JSON.stringify(served)}`)
    assert.equal(served.wrong, 0)
    assert.ok(served.whole >= 0.9 * count)
    await inTurns(digests, async (digest) => assert.equal((await pullBlob(mirror, digest)).digest, digest))
    await until(async () => (await wholeOnDisk(directory, digests)) === count, patient)
    assert.equal(await mirror.metric('larder_damaged_blobs_total'), count)
    assert.equal(await mirror.metric('larder_quarantined_blobs'), 0)
  }
  await damageAll(directory, digests, true)
  forgetVerification(directory)
  const startedAt = performance.now()
  await using mirror = await startMirror({ upstream: hub.url, directory, healEveryMs: 50, scrubMs: day })
  await until(async () => (await mirror.metric('larder_healed_blobs_total')) === count, patient)
  t.diagnostic(`${count} damaged, found and healed in ${Math.round(performance.now() - startedAt)} ms`)
  assert.equal(await wholeOnDisk(directory, digests), count)
  assert.equal(await mirror.metric('larder_damaged_blobs_total'), count)
  assert.equal(await mirror.metric('larder_scrubbed_blobs_total'), count)
  assert.equal(await mirror.metric('larder_quarantined_blobs'), 0)
})

test('what was pushed is found as well: it is back where an upstream has it too, else it is told loudly', async (t) => {
  await using hub = await startDockerHub()
  const directory = await storageFolder(t)
  const image = buildImage({ layers: [100_000, 3000], seed: 'pushed' })
  const [shared, own] = image.layers
  assert.ok(shared && own)
  {
    await using mirror = await startMirror({ upstream: hub.url, directory })
    await pushImage(`${mirror.url}/v2/local/app`, 'v1', image)
    hub.addBlob(repository, shared.bytes)
    assert.equal((await pullBlob(mirror, shared.digest)).digest, shared.digest)
  }
  for (const { digest } of [shared, own]) await secretly(pathOf(directory, digest), flip)
  forgetVerification(directory)
  await using mirror = await startMirror({ upstream: hub.url, directory, healEveryMs: 50, scrubMs: day })
  await until(async () => (await mirror.metric('larder_damaged_blobs_total')) === 2)
  await until(async () => (await mirror.metric('larder_healed_blobs_total')) === 1)
  const local = (digest: Digest) => pull(`${mirror.url}/v2/local/app/blobs/${digest}`)
  assert.equal((await local(shared.digest)).digest, shared.digest)
  assert.equal((await local(own.digest)).status, 404)
  assert.equal(await mirror.metric('larder_quarantined_blobs'), 1)
  assert.match(mirror.log(), /"repositories":\["local\/app"\][^\n]*are lost: push it again: damaged on disk/)
  assert.match(mirror.log(), /the bytes of a blob that was pushed are back/)
  await pushImage(`${mirror.url}/v2/local/app`, 'v1', image)
  assert.equal((await local(own.digest)).digest, own.digest)
  assert.equal(await mirror.metric('larder_quarantined_blobs'), 0)
})
