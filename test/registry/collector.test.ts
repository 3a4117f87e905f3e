/**
 * Collecting what no manifest names. Thought of: its time, and a clock that jumps; what a manifest, an index, a mirrored
 * repository or another local one needs; pages, and what is promised in front of them; a catalog or a disk that fails; a
 * kill between the record and the file; a stop. What pushes, mounts and deletes do meanwhile: test/interleavings.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AgeClock } from '../../src/flow/age-clock.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import type { Tag } from '../../src/oci/reference.ts'
import { Collector, type CollectorOptions } from '../../src/registry/collector.ts'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { alpine, anyone, manifestOf, other } from '../storage/catalog-fixtures.ts'
import { until } from '../support/settle.ts'
import { content, day, digest, fails, has, type Parts, pushBlob, start } from './local-fixture.ts'

const year = 365 * day

/** A collector whose clock runs only when it is told to; it has started long ago. */
function collectorOf(parts: Parts, changed: Partial<CollectorOptions> = {}) {
  const time = { passed: 0, jumped: 0 }
  const startedAt = Date.now()
  const clock = new AgeClock(day, {
    monotonic: () => time.passed,
    wall: () => startedAt + time.passed + time.jumped,
  })
  const { catalog, blobs: bytes } = parts
  const logger = { info: log, error: log } as unknown as CollectorOptions['logger']
  const lines: string[] = []
  function log(fields: object, message: string): void {
    lines.push(`${message} ${JSON.stringify(fields)}`)
  }
  const collector = new Collector({ catalog, bytes, graceMs: day, logger, clock, settleMs: 0, ...changed })
  const after = async (ms: number) => {
    time.passed += ms
    await collector.collect()
  }
  return { collector, time, after, lines }
}

async function isStored({ store }: Parts, of: Digest = digest): Promise<boolean> {
  return (await store.stat(of)) !== undefined
}

test('what no manifest names goes when its grace is over: from the disk, from memory, and it is told', async () => {
  const parts = start()
  const small = Buffer.from('small')
  await pushBlob(parts, content)
  await pushBlob(parts, small)
  await (await parts.blobs.openStored(digestOf(small)))?.[Symbol.asyncDispose]()
  assert.ok(parts.blobs.documents.get(digestOf(small)))
  const { collector, after, lines } = collectorOf(parts)
  await after(day - 1000)
  assert.equal(await isStored(parts), true)
  await after(2000)
  for (const one of [digest, digestOf(small)]) {
    assert.equal(await isStored(parts, one), false)
    assert.equal(await has(parts, one), false)
    assert.equal(parts.blobs.documents.get(one), undefined)
  }
  assert.deepEqual({ ...collector.collected }, { blobs: 2, bytes: content.length + small.length })
  assert.match(
    lines.join(),
    /^blobs that no manifest names were removed {"blobs":2,"bytes":100005,"ms":\d+}$/,
  )
  assert.deepEqual(await parts.catalog.removals({ limit: 9 }), [])
  await after(day)
  assert.equal(lines.length, 1, 'nothing to tell')
})

test('what a manifest or an index names stays, and goes when that is deleted; a subject keeps nothing', async () => {
  const parts = start()
  await pushBlob(parts, content)
  const { catalog, repository } = parts
  const put = (name: string, target: Digest, kind: 'layer' | 'manifest' | 'subject', at: number) =>
    catalog.putManifest(repository.key, manifestOf(name), { references: [{ target, kind }], tags: [], at })
  assert.deepEqual(await put('child', digest, 'layer', 1), [])
  assert.deepEqual(await put('index', manifestOf('child').digest, 'manifest', 1), [])
  assert.deepEqual(await put('signature', digest, 'subject', 1), [])
  const { after } = collectorOf(parts)
  await after(10 * year)
  assert.equal(await has(parts), true)
  assert.ok(await catalog.manifest(repository.key, manifestOf('child').digest))
  await catalog.deleteManifest(repository.key, manifestOf('index').digest, 1)
  await catalog.deleteManifest(repository.key, manifestOf('child').digest, 1)
  await after(1)
  assert.equal(await has(parts), false)
  assert.equal(await isStored(parts), false)
  assert.ok(await catalog.manifest(repository.key, manifestOf('signature').digest))
})

test('the images of a deleted index go a grace later, their layers another one later, and the name with the last', async () => {
  const parts = start()
  await pushBlob(parts, content)
  const { catalog, repository } = parts
  const put = { tags: [], at: Date.now() }
  const [child, index] = [manifestOf('child'), manifestOf('index')]
  const names = (target: Digest, kind: 'layer' | 'manifest') => ({ ...put, references: [{ target, kind }] })
  await catalog.putManifest(repository.key, child, names(digest, 'layer'))
  await catalog.putManifest(repository.key, index, names(child.digest, 'manifest'))
  await repository.forget(index.digest)
  const { after, collector, lines } = collectorOf(parts)
  await after(day - 1000)
  assert.ok(await catalog.manifest(repository.key, child.digest))
  await after(2000)
  assert.equal(await catalog.manifest(repository.key, child.digest), undefined)
  await assert.rejects(repository.manifest(child.digest), fails('MANIFEST_UNKNOWN'))
  assert.equal(await isStored(parts), true)
  assert.equal(collector.collected.blobs, 0)
  const about = '{"upstream":"local","repository":"app"'
  assert.deepEqual(lines, [
    `a manifest that nothing carries was removed ${about},"digest":"${child.digest}"}`,
    `nothing that was pushed is left under the name ${about}}`,
  ])
  await after(day)
  assert.equal(await isStored(parts), true, 'who asked for the layer was told that it is here')
  await after(1)
  assert.equal(await isStored(parts), false)
})

test('who is told by a HEAD that an idle manifest is here may count on it; a GET promises nothing', async () => {
  const parts = start()
  const { catalog, repository } = parts
  const put = { tags: [], at: 1 }
  const [child, index] = [manifestOf('{"schemaVersion":2}'), manifestOf('index')]
  await catalog.putManifest(repository.key, child, { ...put, references: [] })
  const references = [{ target: child.digest, kind: 'manifest' }] as const
  await catalog.putManifest(repository.key, index, { ...put, references })
  await catalog.deleteManifest(repository.key, index.digest, 2)
  await repository.manifest(child.digest)
  assert.equal((await catalog.held(repository.key, child.digest))?.idleSince, 2)
  await repository.manifest(child.digest, { isHead: true })
  const { after } = collectorOf(parts)
  await after(day - 1000)
  await repository.manifest(child.digest)
  await after(2000)
  await assert.rejects(repository.manifest(child.digest, { isHead: true }), fails('MANIFEST_UNKNOWN'))
})

test('what a tag has moved away from keeps its layers: it is there by its digest', async () => {
  const parts = start()
  await pushBlob(parts, content)
  const { catalog, repository } = parts
  const put = { tags: ['v1' as Tag], at: 1 }
  await catalog.putManifest(repository.key, manifestOf('one'), {
    ...put,
    references: [{ target: digest, kind: 'layer' }],
  })
  await catalog.putManifest(repository.key, manifestOf('two'), { ...put, references: [] })
  await catalog.deleteTag(repository.key, 'v1' as Tag)
  await collectorOf(parts).after(10 * year)
  assert.equal(await has(parts), true)
})

test('what a mirrored repository has for anyone stays as cache, what another local one has stays as its own', async () => {
  const parts = start()
  const shared = Buffer.from('shared')
  for (const bytes of [content, shared]) await pushBlob(parts, bytes)
  const { catalog } = parts
  await catalog.confirmed(alpine, digest, anyone(1))
  const times = { at: Date.now() + 2 * day, refusedAfter: 0 }
  assert.equal(await catalog.mount(other, digestOf(shared), parts.repository.key, times), true)
  const { collector, after } = collectorOf(parts)
  await after(2 * day)
  for (const one of [digest, digestOf(shared)]) {
    assert.equal(await has(parts, one), false)
    assert.equal(await isStored(parts, one), true)
  }
  assert.equal((await catalog.blob(digest))?.kept, false)
  assert.equal((await catalog.blob(digestOf(shared)))?.kept, true)
  assert.equal(collector.collected.blobs, 0)
  await after(2 * day)
  assert.equal(await isStored(parts, digestOf(shared)), false)
})

test('more than a page goes in one run, also behind pages of what an upload keeps', async () => {
  const parts = start()
  const { catalog, repository } = parts
  const file = { size: 1, mtime: 1, inode: 1 }
  await catalog.beginUpload('u', other, 5)
  for (let n = 0; n < 600; n += 1) await catalog.pushed(other, digestOf(Buffer.from(`${n}`)), file, 10)
  for (let n = 600; n < 900; n += 1)
    await catalog.pushed(repository.key, digestOf(Buffer.from(`${n}`)), file, 20)
  const { collector, after } = collectorOf(parts)
  await after(1)
  assert.equal(collector.collected.blobs, 300)
  await catalog.endUpload('u')
  await after(1)
  assert.equal(collector.collected.blobs, 900)
})

test('a clock that jumps ten years ahead makes nothing old; later what is old goes all the same', async () => {
  const parts = start()
  const { time, after } = collectorOf(parts)
  await after(0)
  await pushBlob(parts, content)
  time.jumped = 10 * year
  await after(day - 1000)
  assert.equal(await has(parts), true)
  await after(day + 1000)
  await after(day + 1000)
  assert.equal(await isStored(parts), false)
})

test('a clock that is set back makes nothing old either, nor when it is set right', async () => {
  const parts = start()
  const { time, after } = collectorOf(parts)
  await after(0)
  time.jumped = -10 * year
  await after(0)
  const at = Date.now() - 10 * year
  const file = { size: 1, mtime: 1, inode: 1 }
  await parts.catalog.pushed(parts.repository.key, digest, file, at)
  time.jumped = 0
  await after(day / 2)
  assert.ok(await parts.catalog.held(parts.repository.key, digest))
  await after(day)
  await after(day)
  assert.equal(await parts.catalog.held(parts.repository.key, digest), undefined)
})

test('nothing goes for a while after the start', async () => {
  const parts = start()
  await pushBlob(parts, content)
  const { time, after } = collectorOf(parts, { settleMs: 600_000 })
  time.jumped = 2 * day
  await after(599_999)
  assert.equal(await has(parts), true)
  await after(day)
  await after(day)
  assert.equal(await isStored(parts), false)
})

for (const broken of ['idle', 'letGo', 'removals'] as const) {
  test(`a catalog that fails (${broken}) takes nothing away, and the next run does it`, async () => {
    const parts = start()
    await pushBlob(parts, content)
    let isBroken = true
    const catalog = new Proxy(parts.catalog, {
      get(target, name) {
        const value = Reflect.get(target, name, target)
        if (name !== broken) return typeof value === 'function' ? value.bind(target) : value
        return async (...parameters: unknown[]) => {
          if (isBroken) throw new StorageError('BROKEN', 'the disk does not answer')
          return value.apply(target, parameters)
        }
      },
    })
    const { after } = collectorOf(parts, { catalog })
    await assert.rejects(after(2 * day), StorageError)
    assert.equal(await has(parts), true)
    assert.equal(await isStored(parts), true)
    isBroken = false
    await after(2 * day)
    assert.equal(await isStored(parts), false)
  })
}

test('a file that cannot be removed is removed in a later run, and holds up nothing', async () => {
  const parts = start()
  await pushBlob(parts, content)
  await pushBlob(parts, Buffer.from('other'))
  let isBroken = true
  const bytes: CollectorOptions['bytes'] = {
    remove: (one, condition) =>
      parts.blobs.remove(one, async () => {
        const mayGo = await condition()
        if (isBroken && one === digest) throw new StorageError('BROKEN', 'the disk does not answer')
        return mayGo
      }),
  }
  const { collector, after, lines } = collectorOf(parts, { bytes })
  await after(2 * day)
  assert.equal(await isStored(parts), true)
  assert.equal(collector.collected.blobs, 1)
  assert.match(lines.join(), /could not be removed: trying again later/)
  isBroken = false
  await after(1)
  assert.equal(await isStored(parts), false)
  assert.equal(collector.collected.bytes, content.length + 5)
  assert.deepEqual(await parts.catalog.removals({ limit: 9 }), [])
})

test('a kill between the record and the file: the next process removes it', async () => {
  const before = start()
  await pushBlob(before, content)
  assert.equal(await before.catalog.letGo(before.repository.key, digest, Date.now() + 2 * day, day), 'unlink')
  const parts = start(before.store.afterCrash({ kind: 'killed', keeps: () => true }), before.catalog)
  assert.equal(await isStored(parts), true)
  // Although a start is no time to let anything go.
  await collectorOf(parts, { settleMs: 600_000 }).after(1)
  assert.equal(await isStored(parts), false)
  assert.deepEqual(await parts.catalog.removals({ limit: 9 }), [])
})

test('a kill between the record and the file, and it is pushed again: it stays', async () => {
  const before = start()
  await pushBlob(before, content)
  await before.catalog.letGo(before.repository.key, digest, Date.now() + 2 * day, day)
  const parts = start(before.store.afterCrash({ kind: 'killed', keeps: () => true }), before.catalog)
  await pushBlob(parts, content)
  await collectorOf(parts).after(1)
  assert.equal(await has(parts), true)
  assert.equal(await isStored(parts), true)
  assert.deepEqual(await parts.catalog.removals({ limit: 9 }), [])
})

test('a stop does not wait for all that is left', async () => {
  const parts = start(new MemoryBlobStore())
  const { catalog, repository } = parts
  for (let n = 0; n < 2000; n += 1) {
    await catalog.pushed(repository.key, digestOf(Buffer.from(`${n}`)), { size: 1, mtime: 1, inode: 1 }, 20)
  }
  const { collector } = collectorOf(parts, { settleMs: 0 })
  collector.start()
  await until(() => collector.collected.blobs > 0)
  await collector[Symbol.asyncDispose]()
  assert.ok(collector.collected.blobs < 1000, `${collector.collected.blobs}`)
  assert.deepEqual(await catalog.removals({ limit: 9 }), [])
})
