// The one way for what is damaged. Thought of: each damage, found by whoever opens it, asks for its size, or verifies it;
// large and small; mirrored and pushed; a file that cannot be read, opened, or only from some position on; a disk that is
// full, fails, or moves nothing; replaced while it is looked at; healed, deleted; more than may lie in quarantine.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import type { Blobs } from '../../src/content/blobs.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName } from '../../src/oci/repository-name.ts'
import { StorageError, type StorageErrorCode } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { localOrigin, repositoryKey } from '../../src/storage/repository-key.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { blobsOver, good } from './scripted-source.ts'

const large = testBytes(300_000, 81)
const small = testBytes(3000, 82)
const digest = digestOf(large)
const app = repositoryKey(localOrigin, parseRepositoryName('app'))

function flip(bytes: Buffer): Buffer {
  return bytes.fill((bytes[500] ?? 0) ^ 1, 500, 501)
}

const damages: Record<string, (bytes: Buffer) => Buffer> = {
  flipped: flip,
  truncated: (bytes) => bytes.subarray(0, bytes.length / 2),
  emptied: (bytes) => bytes.subarray(0, 0),
  grown: (bytes) => Buffer.concat([bytes, Buffer.from('more')]),
  swapped: (bytes) => testBytes(bytes.length, 83),
}

interface Parts {
  readonly store: MemoryBlobStore
  readonly records: MemoryCatalog
  readonly blobs: Blobs
  readonly lines: string[]
}

/** Of a process that has just begun: nothing is in memory. */
function start(
  t: TestContext,
  { store = new MemoryBlobStore(), records = new MemoryCatalog() }: Partial<Parts> = {},
  options: { readonly maximumQuarantined?: number; readonly scrubMs?: number } = {},
): Parts {
  const lines: string[] = []
  const logger = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) })
  return { store, records, blobs: blobsOver(t, store, { records, logger, ...options }), lines }
}

async function pulled({ blobs }: Parts, bytes: Uint8Array): Promise<Buffer> {
  const { reader } = await blobs.open(digestOf(bytes), good('x/x', bytes), { size: bytes.length })
  const got = await readAll(reader)
  await reader.verified()
  await reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  return got
}

async function pushed({ blobs, records }: Parts, bytes: Uint8Array): Promise<void> {
  const writer = await blobs.openWriter(`upload-${bytes.length}`, 'sha256')
  await writer.append([bytes])
  await blobs.seal(writer, digestOf(bytes), (file) => records.pushed(app, digestOf(bytes), file, Date.now()))
}

const finders: Record<string, (blobs: Blobs, bytes: Uint8Array) => Promise<unknown>> = {
  async opens(blobs, bytes) {
    await using reader = await blobs.openStored(digestOf(bytes))
    await reader?.verified().catch(() => {})
  },
  'asks for its size': async (blobs, bytes) => {
    assert.equal(await blobs.stat(digestOf(bytes)), undefined)
  },
  verifies: async (blobs, bytes) => {
    assert.equal(await blobs.stored.verify(digestOf(bytes)), 'damaged')
  },
}

for (const [who, find] of Object.entries(finders)) {
  for (const [what, damage] of Object.entries(damages)) {
    test(`whoever ${who} finds that a blob was ${what}: it is out of the way, until it is whole again`, async (t) => {
      for (const bytes of [large, small]) {
        const before = start(t)
        await pulled(before, bytes)
        before.store.damage(digestOf(bytes), damage, { touches: true })
        const parts = start(t, { store: before.store, records: before.records })
        await find(parts.blobs, bytes)
        const { store, records, blobs, lines } = parts
        assert.equal(await store.stat(digestOf(bytes)), undefined)
        assert.equal(await records.blob(digestOf(bytes)), undefined)
        assert.deepEqual(
          store.quarantine.list().map((blob) => blob.digest),
          [digestOf(bytes)],
        )
        assert.deepEqual(blobs.stored.damage.counts, { wrong: 1, unreadable: 0, missing: 0 })
        assert.equal(lines.length, 1, lines.join(''))
        assert.match(lines[0] ?? '', /no longer matches its digest: set aside/)
        assertSameBytes(await pulled(parts, bytes), bytes)
        assert.deepEqual(store.quarantine.list(), [])
        assert.equal(await blobs.stored.verify(digestOf(bytes)), 'whole')
      }
    })
  }
}

test('only who verifies finds what changed behind the back of the file system, unless it is small', async (t) => {
  for (const bytes of [large, small]) {
    const before = start(t)
    await pulled(before, bytes)
    before.store.damage(digestOf(bytes), flip, { touches: false })
    const { blobs } = start(t, { store: before.store, records: before.records })
    assert.equal((await blobs.stat(digestOf(bytes)))?.size, bytes.length)
    assert.equal(await blobs.stored.verify(digestOf(bytes)), 'damaged')
    assert.equal(await blobs.stat(digestOf(bytes)), undefined)
  }
})

test('what is whole is noted as verified now, and what nobody recorded is recorded', async (t) => {
  const parts = start(t)
  await pulled(parts, large)
  const { blobs, store, records } = parts
  const file = (await store.stat(digest)) ?? assert.fail()
  await records.verified(digest, file, 5)
  const before = Date.now()
  assert.equal(await blobs.stored.verify(digest), 'whole')
  assert.ok(((await records.blob(digest))?.verifiedAt ?? 0) >= before)
  await records.gone(digest)
  assert.equal(await blobs.stored.verify(digest), 'whole')
  assert.equal((await records.blob(digest))?.size, large.length)
})

test('what is not there is absent, and so is its record after that', async (t) => {
  const parts = start(t)
  await pushed(parts, large)
  await parts.store.delete(digest)
  assert.equal(await parts.blobs.stored.verify(digest), 'absent')
  assert.equal(await parts.records.blob(digest), undefined)
  assert.match(parts.lines.join(''), /are lost: push it again: its file is not there/)
  assert.equal(parts.blobs.stored.damage.counts.missing, 1)
})

test('a record that nobody has verified vouches for nothing', async (t) => {
  const before = start(t)
  await pulled(before, large)
  const file = (await before.store.stat(digest)) ?? assert.fail()
  await before.records.verified(digest, file, 0)
  const { blobs } = start(t, { store: before.store, records: before.records })
  await using reader = await blobs.openStored(digest)
  assert.equal(reader?.isVerified, false)
  await reader?.verified()
})

test('what was pushed stays in quarantine, told loudly, until it is pushed again', async (t) => {
  const parts = start(t)
  await pushed(parts, large)
  const { store, records, blobs, lines } = parts
  store.damage(digest, flip, { touches: true })
  assert.equal(await blobs.stored.verify(digest), 'damaged')
  assert.match(lines.join(''), /"repositories":\["app"\].*are lost: push it again: damaged on disk/)
  assert.equal(store.quarantine.total.blobs, 1)
  await pushed(parts, large)
  assert.equal((await blobs.stat(digest))?.size, large.length)
  assert.equal((await records.blob(digest))?.kept, true)
  assert.equal(store.quarantine.total.blobs, 0)
})

test('of what nobody has pushed the oldest leave the quarantine when there is too much in it', async (t) => {
  const parts = start(t, {}, { maximumQuarantined: 250_000 })
  const { store, blobs } = parts
  await pushed(parts, large)
  const others = [1, 2, 3, 4].map((seed) => testBytes(100_000, seed))
  for (const bytes of others) await pulled(parts, bytes)
  for (const bytes of [large, ...others]) {
    store.damage(digestOf(bytes), flip, { touches: true })
    assert.equal(await blobs.stored.verify(digestOf(bytes)), 'damaged')
  }
  assert.deepEqual(
    store.quarantine.list().map((blob) => blob.digest),
    [large, ...others.slice(2)].map((bytes) => digestOf(bytes)),
  )
})

test('a file that was replaced while it was looked at is left alone', async (t) => {
  const parts = start(t)
  await pulled(parts, large)
  const { store, blobs } = parts
  store.damage(digest, flip, { touches: true })
  const check = store.check.bind(store)
  store.check = async (...asked) => {
    const checked = await check(...asked)
    await store.delete(digest)
    await pushed(parts, large)
    return checked
  }
  assert.equal(await blobs.stored.verify(digest), 'whole')
  assert.equal((await blobs.stat(digest))?.size, large.length)
})

test('where nothing can be moved, what was pushed keeps its bytes: served to nobody, told once, and replaced by good ones', async (t) => {
  for (const bytes of [large, small]) {
    for (const [mend, isCatalogThere] of [
      ['push', true],
      ['pull', true],
      ['quarantine', true],
      ['push', false],
    ] as const) {
      const before = start(t)
      await pushed(before, bytes)
      const digest = digestOf(bytes)
      before.store.damage(digest, flip, { touches: true })
      const parts = start(t, { store: before.store, records: before.records })
      const { store, records, blobs, lines } = parts
      const put = store.quarantine.put.bind(store.quarantine)
      store.quarantine.put = async () => {
        throw new StorageError('FULL', 'no room for a name')
      }
      const holders = records.localHolders.bind(records)
      if (!isCatalogThere)
        records.localHolders = async () => Promise.reject(new StorageError('BROKEN', 'gone'))
      for (let times = 0; times < 3; times += 1) {
        assert.equal(await blobs.stored.verify(digest), 'damaged')
        assert.equal(await blobs.openStored(digest), undefined)
        assert.equal(await blobs.stat(digest), undefined)
        await blobs.adopt(digest)
        assert.equal(await blobs.openStored(digest), undefined)
        assert.equal((await store.stat(digest))?.size, bytes.length, 'it is there')
      }
      assert.equal(lines.filter((line) => line.includes('could not be set aside')).length, 1)
      if (isCatalogThere) assert.equal(lines.filter((line) => line.includes('are lost')).length, 1)
      records.localHolders = holders
      store.quarantine.put = put
      if (mend === 'push') await pushed(parts, bytes)
      if (mend === 'pull') assertSameBytes(await pulled(parts, bytes), bytes)
      if (mend === 'quarantine') {
        assert.equal(await blobs.stored.verify(digest), 'damaged')
        assert.equal(await store.stat(digest), undefined)
        assert.equal(store.quarantine.total.blobs, 1)
        continue
      }
      await using reader = await blobs.openStored(digest)
      assert.ok(reader)
      assertSameBytes(await readAll(reader), bytes)
      await reader.verified()
    }
  }
})

test('what may have been pushed leaves the quarantine for no room while the catalog cannot be read', async (t) => {
  const parts = start(t, {}, { maximumQuarantined: 10 })
  await pushed(parts, large)
  await pulled(parts, small)
  const { store, records, blobs } = parts
  store.damage(digest, flip, { touches: true })
  assert.equal(await blobs.stored.verify(digest), 'damaged')
  store.damage(digestOf(small), flip, { touches: true })
  records.localHolders = async () => Promise.reject(new StorageError('BROKEN', 'gone'))
  assert.equal(await blobs.stored.verify(digestOf(small)), 'damaged')
  assert.ok(store.quarantine.list().some((blob) => blob.digest === digest))
})

test('where nothing can be moved it is removed', async (t) => {
  const parts = start(t)
  await pulled(parts, large)
  const { store, blobs } = parts
  store.damage(digest, flip, { touches: true })
  store.quarantine.put = async () => {
    throw new StorageError('FULL', 'no room for a name')
  }
  assert.equal(await blobs.stored.verify(digest), 'damaged')
  assert.equal(await store.stat(digest), undefined)
  assertSameBytes(await pulled(parts, large), large)
})

/** From now on the file of `digest` fails `times` times: when it is opened, or when it is read from `from` on. */
function failing(store: MemoryBlobStore, from: number | 'open', times = Number.POSITIVE_INFINITY): void {
  const open = store.open.bind(store)
  const check = store.check.bind(store)
  const inode = open(digest).then((opened) => opened?.file.inode)
  let failures = 0
  const fail = (): never => {
    failures += 1
    throw new StorageError('BROKEN', 'a bad sector')
  }
  store.open = async (asked) => {
    const opened = await open(asked)
    if (!opened || failures >= times || opened.file.inode !== (await inode)) return opened
    if (from === 'open') return fail()
    const read: typeof opened.read = async (buffer, position, options) =>
      position >= from ? fail() : opened.read(buffer, position, options)
    return { ...opened, read }
  }
  store.check = async (...asked) => {
    const checked = await check(...asked)
    if (!checked || failures >= times || checked.file.inode !== (await inode)) return checked
    return { ...checked, actual: undefined }
  }
}

for (const from of ['open', 200_000] as const) {
  test(`a verified blob that cannot be read (${from}) is fetched by whoever asks again`, async (t) => {
    const parts = start(t)
    await pulled(parts, large)
    failing(parts.store, from)
    if (from !== 'open') await assert.rejects(pulled(parts, large), /a bad sector/)
    assertSameBytes(await pulled(parts, large), large)
    assert.deepEqual(parts.blobs.stored.damage.counts, { wrong: 0, unreadable: 1, missing: 0 })
    assert.match(parts.lines.join(''), /cannot be read: set aside/)
  })
}

for (const [code, isLeft] of [
  ['BROKEN', true],
  ['READ_ONLY', true],
  ['FULL', false],
] as const satisfies [StorageErrorCode, boolean][]) {
  test(`where the disk takes nothing (${code}), what cannot be read ${isLeft ? 'is left where it is' : 'goes'}; pulls go on`, async (t) => {
    const parts = start(t)
    await pulled(parts, large)
    const { store, blobs } = parts
    failing(store, 'open')
    store.probe = async () => {
      throw new StorageError(code, 'no')
    }
    const opening = blobs.openStored(digest)
    if (isLeft) await assert.rejects(opening, { code: 'BROKEN' })
    else assert.equal(await opening, undefined)
    assert.equal(store.quarantine.total.blobs, isLeft ? 0 : 1)
    assert.equal((await store.stat(digest)) !== undefined, isLeft)
    assertSameBytes(await pulled(parts, large), large)
  })
}

test('what the disk does not give once, and gives when it is asked again, stays', async (t) => {
  for (const from of ['open', 200_000] as const) {
    const parts = start(t)
    await pulled(parts, large)
    failing(parts.store, from, 1)
    await assert.rejects(async () => {
      await using reader = await parts.blobs.openStored(digest)
      if (reader) await readAll(reader)
    }, /a bad sector/)
    assert.equal((await parts.blobs.stat(digest))?.size, large.length)
    assert.deepEqual(parts.blobs.stored.damage.counts, { wrong: 0, unreadable: 0, missing: 0 })
  }
})

test('a reader that is closed while it reads has not found any damage', async (t) => {
  const parts = start(t)
  await pulled(parts, large)
  failing(parts.store, 0)
  const reader = (await parts.blobs.openStored(digest)) ?? assert.fail()
  const reading = reader.read(Buffer.alloc(100), 0)
  await Promise.all([assert.rejects(reading, /a bad sector/), reader[Symbol.asyncDispose]()])
  assert.notEqual(await parts.store.stat(digest), undefined)
})

test('a pushed blob that is not here is remembered as lost and told once, whatever is recorded of it', async (t) => {
  const parts = start(t)
  await pushed(parts, large)
  await parts.store.delete(digest)
  // Another process has met it before.
  await parts.records.gone(digest)
  const { blobs, lines } = parts
  for (let times = 0; times < 2; times += 1) assert.equal(await blobs.openStored(digest), undefined)
  assert.equal(lines.filter((line) => line.includes('are lost: push it again')).length, 1)
  assert.deepEqual([...blobs.stored.damage.lost], [digest])
  assert.equal(await blobs.openStored(digestOf(small)), undefined)
  assert.equal(blobs.stored.damage.lost.size, 1, 'what nobody has pushed is missed by nobody')
})

const day = 24 * 60 * 60 * 1000

for (const [what, scrubMs, verifiedDaysAgo, isHashed] of [
  ['a week', undefined, 8, true],
  ['less than a week', undefined, 6, false],
  ['a week, and no scrub at all', Number.POSITIVE_INFINITY, 8, true],
  ['what the scrub is asked for', 2 * day, 3, true],
] as const) {
  test(`last verified longer ago than ${what}: ${isHashed ? 'hashed before its last byte, once' : 'served as it is'}`, async (t) => {
    const before = start(t)
    await pulled(before, large)
    const { store, records } = before
    const file = await store.stat(digest)
    assert.ok(file)
    await records.verified(digest, file, Date.now() - verifiedDaysAgo * day)
    let checks = 0
    const check = store.check.bind(store)
    store.check = (...asked) => {
      checks += 1
      return check(...asked)
    }
    const { blobs } = start(t, { store, records }, scrubMs === undefined ? {} : { scrubMs })
    for (let times = 0; times < 2; times += 1) {
      await using reader = await blobs.openStored(digest)
      assertSameBytes(await readAll(reader ?? assert.fail()), large)
      await reader?.verified()
    }
    assert.equal(checks, isHashed ? 1 : 0)
    await records.verified(digest, file, Date.now() - verifiedDaysAgo * day)
    store.damage(digest, flip, { touches: false })
    await using reader = await blobs.openStored(digest)
    if (isHashed) await assert.rejects(reader?.verified() ?? Promise.resolve(), /damaged/)
    else await reader?.verified()
  })
}

test('where thousands are lost the first are told one by one, and then how many more', async (t) => {
  const parts = start(t)
  const all = Array.from({ length: 50 }, (_, index) => testBytes(100 + index))
  for (const bytes of all) {
    await pushed(parts, bytes)
    await parts.store.delete(digestOf(bytes))
    parts.blobs.documents.forget(digestOf(bytes))
    assert.equal(await parts.blobs.openStored(digestOf(bytes)), undefined)
  }
  const { lines, blobs } = parts
  assert.equal(lines.filter((line) => line.includes('are lost: push it again')).length, 20)
  assert.equal(lines.filter((line) => line.includes('larder verify names them all')).length, 1)
  assert.equal(blobs.stored.damage.lost.size, 50)
})
