/**
 * What `/readyz` says. Thought of: each trouble of the disk, of the catalog and of the lock, from the first failing write
 * to the end; a disk and a catalog that hang; that nobody is told where the data lies; a line a minute.
 */
import assert from 'node:assert/strict'
import { open, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { pino } from 'pino'
import { Health } from '../../src/app/health.ts'
import type { DiskStateName } from '../../src/content/disk-probe.ts'
import { StorageError } from '../../src/storage/error.ts'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { FaultyDisk } from '../support/faulty-disk.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

function scene(parts: {
  state?: DiskStateName
  limit?: 'maxSize' | 'minFree' | 'files'
  renewLock?: () => void
  probeCatalog?: () => Promise<void>
}) {
  const lines: string[] = []
  const { state = 'well', renewLock = () => {}, probeCatalog = async () => {} } = parts
  const logger = pino({}, { write: (line) => void lines.push(line) })
  const passedLimit = () => parts.limit
  const health = new Health({ disk: { state }, passedLimit, renewLock, probeCatalog, waitMs: 20, logger })
  return { lines, health }
}

test('all is well: ready', async () => {
  assert.deepEqual(await scene({}).health.report(), { status: 'ready' })
})

for (const [state, words] of Object.entries({
  full: /^the disk is full: pulls go on/,
  read_only: /^the disk is read-only: /,
  broken: /^the disk fails: /,
  hanging: /^the disk does not answer: /,
})) {
  test(`a disk that is ${state}: degraded, and nothing else is asked of it`, async () => {
    const touched = () => assert.fail('it may hang as well')
    const parts = state === 'hanging' ? { renewLock: touched, probeCatalog: touched } : {}
    const { status, reason } = await scene({ state: state as DiskStateName, ...parts }).health.report()
    assert.equal(status, 'degraded')
    assert.match(reason ?? '', words)
  })
}

for (const limit of ['maxSize', 'minFree', 'files'] as const) {
  test(`nothing can be evicted and ${limit} is passed: degraded`, async () => {
    const { status, reason } = await scene({ limit }).health.report()
    assert.equal(status, 'degraded')
    assert.match(reason ?? '', /nothing can be evicted: pulls go on|cannot be evicted: pulls go on/)
  })
}

test('less of the disk is free than it should be, with nothing to evict: degraded', async () => {
  const { bavail, bsize } = await statfs(tmpdir())
  const free = bavail * bsize
  await using mirror = await startMirror({
    upstream: 'http://127.0.0.1:9',
    // As a disk would be on which all but a little is taken by others.
    config: { 'cache.minFree': `${Math.ceil(free / 1e9) + 100}GB` },
  })
  await until(async () => (await readyz(mirror.url)).status === 'degraded')
  assert.match((await readyz(mirror.url)).reason ?? '', /^less of the disk is free than cache\.minFree/)
})

test('a catalog that cannot be written to: degraded, a line once, and no word of where it lies', async () => {
  const probeCatalog = async () => {
    throw new StorageError('FULL', '/srv/larder/catalog.db: database or disk is full')
  }
  const { health, lines } = scene({ probeCatalog })
  for (let n = 0; n < 3; n += 1) {
    const { status, reason } = await health.report()
    assert.equal(status, 'degraded')
    assert.match(reason ?? '', /^the catalog cannot be written to: /)
    assert.doesNotMatch(reason ?? '', /srv/)
  }
  assert.equal(lines.length, 1)
})

test('a catalog that does not answer: degraded, soon, and it is asked one question at a time', async () => {
  let asked = 0
  const { health } = scene({
    probeCatalog: () => {
      asked += 1
      return new Promise(() => {})
    },
  })
  const reports = await Promise.all(Array.from({ length: 5 }, () => health.report()))
  for (const { status, reason } of reports) {
    assert.equal(status, 'degraded')
    assert.match(reason ?? '', /^the catalog does not answer: /)
  }
  assert.equal(asked, 1)
})

test('a folder that another process has: not ready', async () => {
  const { health, lines } = scene({
    renewLock: () => {
      throw Object.assign(new Error('/srv/larder is in use by process 7 on nas'), { code: 'LOCKED' })
    },
  })
  const report = await health.report()
  assert.deepEqual(report, { status: 'not ready', reason: 'another process has the data folder' })
  assert.match(lines.join(''), /in use by process 7/)
})

test('a lock that was removed and cannot be taken anew: degraded, and nobody else is blamed', async () => {
  const { health, lines } = scene({
    renewLock: () => {
      throw Object.assign(new Error('unable to open database file'), {
        code: 'ERR_SQLITE_ERROR',
        errcode: 14,
      })
    },
  })
  const { status, reason } = await health.report()
  assert.equal(status, 'degraded')
  assert.match(
    reason ?? '',
    /^the lock of the data folder was removed, and cannot be taken anew: pulls go on/,
  )
  assert.match(lines.join(''), /unable to open/)
})

const readyz = async (url: string) => {
  const { status, text } = await pull(`${url}/readyz`)
  return { http: status, ...JSON.parse(text) } as { http: number; status: string; reason?: string }
}

for (const [error, state] of [
  ['ENOSPC', 'full'],
  ['EROFS', 'read_only'],
  ['EIO', 'broken'],
] as const) {
  test(`writes fail with ${error}: the probe finds out and says so, pulls go on, and it is over when the disk is well`, async (t) => {
    await using hub = await startDockerHub()
    await using mirror = await startMirror({ upstream: hub.url, diskProbeMs: 10 })
    const image = buildImage({ layers: [100_000] })
    hub.addImage('library/app', 'v1', image)
    const [layer] = image.layers
    assert.ok(layer)
    const shows = async (name: string) =>
      (await pull(`${mirror.url}/metrics`)).text.includes(`larder_storage_state{state="${name}"} 1`)
    assert.ok(await shows('well'))
    const disk = await FaultyDisk.below(t, mirror.directory)
    disk.fail({ operation: 'write', error })
    await until(() => shows(state))
    const { http, status, reason } = await readyz(mirror.url)
    assert.deepEqual([http, status], [200, 'degraded'])
    assert.match(reason ?? '', /^the disk .*: pulls go on/)
    assert.doesNotMatch(reason ?? '', new RegExp(mirror.directory))
    const pulled = await pull(`${mirror.url}/v2/library/app/blobs/${layer.digest}`)
    assert.deepEqual([pulled.status, pulled.digest], [200, layer.digest])
    disk.heal()
    await until(() => shows('well'))
    // A catalog that is slow for a moment is told as well.
    await until(async () => isDeepStrictEqual(await readyz(mirror.url), { http: 200, status: 'ready' }))
    const troubles = mirror.events().filter(({ msg }) => /the disk takes no bytes/.test(String(msg)))
    assert.equal(troubles.length, 1, 'one line a minute')
    assert.equal(mirror.events().filter(({ msg }) => /takes bytes again/.test(String(msg))).length, 1)
  })
}

test('a disk that hangs: it is said soon, pulls go on, stored or not, and it is over when it answers', async (t) => {
  await using hub = await startDockerHub()
  const timing = { diskProbeMs: 10, diskHangsAfterMs: 100 }
  await using mirror = await startMirror({ upstream: hub.url, ...timing })
  const images = [1, 2].map((seed) => buildImage({ layers: [100_000], seed }))
  for (const [n, image] of images.entries()) hub.addImage('library/app', `v${n}`, image)
  const [stored, other] = images.map(({ layers: [layer] }) => layer)
  assert.ok(stored && other)
  const get = async (digest: string) => {
    const { status, digest: came } = await pull(`${mirror.url}/v2/library/app/blobs/${digest}`)
    assert.deepEqual([status, came], [200, digest])
  }
  await get(stored.digest)
  await until(async () => (await mirror.metric('larder_fills_running')) === 0)
  const file = await open(import.meta.filename)
  const FileHandle = Object.getPrototypeOf(file)
  await file.close()
  const answer = Promise.withResolvers<void>()
  // As a disk of a network does whose server is away: no sync ever ends.
  const syncs = t.mock.method(FileHandle, 'sync', () => answer.promise)
  using ending = new DisposableStack()
  ending.defer(() => {
    t.mock.restoreAll()
    answer.resolve()
  })
  // A machine that is busy may call the disk so before.
  await until(() => syncs.mock.callCount() > 0)
  await until(async () => (await readyz(mirror.url)).reason?.startsWith('the disk does not answer') === true)
  const asked = syncs.mock.callCount()
  await get(stored.digest)
  await get(other.digest)
  const { text } = await pull(`${mirror.url}/metrics`)
  assert.match(text, /^larder_storage_state\{state="hanging"\} 1$/m)
  assert.equal(syncs.mock.callCount(), asked, 'it is asked nothing else meanwhile')
  ending.dispose()
  await until(async () => (await readyz(mirror.url)).status === 'ready')
})

test('something in the place of a folder gives way to it, and the disk is well', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9', diskProbeMs: 10 })
  const folder = join(mirror.directory, 'partial')
  await rm(folder, { recursive: true })
  await writeFile(folder, '')
  await until(async () => (await stat(folder).catch(() => undefined))?.isDirectory() === true)
  await until(async () => (await readyz(mirror.url)).status === 'ready')
})
