// What a crash leaves of a partial. Neighbours that were thought of: a cut of the power that tears what was not synced, and
// the end of the journal; again and again, under other boots; bytes that somebody changed although they were on the disk;
// journals of an earlier release, whose records have checksums; one of the two files gone.

import assert from 'node:assert/strict'
import { readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { digestOf } from '../../../src/oci/digest.ts'
import { RegistryError } from '../../../src/oci/error.ts'
import { FileBlobStore } from '../../../src/storage/files/file-blob-store.ts'
import { PartialJournal } from '../../../src/storage/files/partial-journal.ts'
import { Ranges } from '../../../src/storage/ranges.ts'
import { lent } from '../../support/lent.ts'
import { until } from '../../support/settle.ts'
import { storedBytes } from '../blob-store.contract.ts'
import { assertVouchedOnly, writeMissing } from '../crash-checks.ts'
import { assertSameBytes, storageFolder, testBytes } from './storage-folder.ts'

const size = 60_000
const run = 4000
const content = testBytes(size, 3)
const digest = digestOf(content)
const options = { id: 'x', algorithm: 'sha256' } as const

interface Damage {
  readonly file: 'partial/x' | 'partial/x.journal'
  readonly kind: 'truncate' | 'zero' | 'flip'
  readonly at: number
  readonly length: number
  readonly bits: number
}

/** What may happen to a file: a cut end, a run of zeros, a changed byte; places in thousandths of its length. */
const damage: fc.Arbitrary<Damage> = fc.record({
  file: fc.constantFrom('partial/x' as const, 'partial/x.journal' as const),
  kind: fc.constantFrom('truncate' as const, 'zero' as const, 'flip' as const),
  at: fc.nat(999),
  length: fc.nat(1000),
  bits: fc.integer({ min: 1, max: 255 }),
})

/** What a file has after a damage to its bytes, of which those in `safe` were on the disk. */
function damaged(bytes: Buffer, { kind, at, length, bits }: Damage, safe: Ranges): Buffer {
  const torn = Buffer.from(bytes)
  const start = Math.floor((bytes.length * at) / 1000)
  if (kind === 'flip' && torn.length > 0) torn[start] = (torn[start] ?? 0) ^ bits
  if (kind === 'zero') torn.fill(0, start, start + Math.floor(((bytes.length - start) * length) / 1000))
  for (const one of safe) torn.set(bytes.subarray(one.start, one.end), one.start)
  const end = [...safe].at(-1)?.end ?? 0
  return kind === 'truncate' ? torn.subarray(0, Math.max(start, end)) : torn
}

async function apply(folder: string, torn: Damage, safe: Ranges): Promise<void> {
  const path = join(folder, torn.file)
  await writeFile(path, damaged(await readFile(path), torn, safe))
}

/** A clock that stands still until it is told to go on. */
function clock(t: { mock: typeof test.mock }) {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  return (ms: number) => {
    now += ms
  }
}

const starts = fc.shuffledSubarray(Array.from({ length: size / run }, (_, index) => index * run))
/** Which runs are written before a cut, how many of them are synced, and what is torn. */
const step = fc.record({ written: starts, synced: fc.nat(15), torn: fc.array(damage, { maxLength: 3 }) })

test('cuts of the power: what was synced is there, and nothing wrong is', async (t) => {
  const pass = clock(t)
  const folder = await storageFolder(t)
  const journal = join(folder, 'partial/x.journal')
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 4 }), async (steps) => {
      await rm(join(folder, 'partial'), { recursive: true, force: true })
      const safe = new Ranges()
      for (const [boot, { written, synced, torn }] of steps.entries()) {
        const store = await FileBlobStore.open(folder, undefined, { boot: `boot-${boot}` })
        const partial = await store.partials.open(options)
        for (const { start, end } of safe) assert.equal(partial.present.gaps(start, end).length, 0)
        let journalEnd = (await stat(journal)).size
        for (const [index, start] of written.entries()) {
          const isNew = partial.present.gaps(start, start + run).length > 0
          if (index !== synced || !isNew) {
            await partial.write(start, lent(content.subarray(start, start + run)))
            continue
          }
          pass(5000)
          await partial.write(start, lent(content.subarray(start, start + run)))
          for (const one of partial.present) safe.add(one.start, one.end)
          const isSynced = async () => {
            const records = (await PartialJournal.read(journal, undefined)) ?? []
            return records.reduce((sum, { length }) => sum + length, 0) === safe.total
          }
          await until(isSynced)
          journalEnd = (await stat(journal)).size
        }
        await partial.suspend(new Error('stopped'))
        const kept = new Ranges()
        kept.add(0, journalEnd)
        for (const one of torn) await apply(folder, one, one.file === 'partial/x' ? safe : kept)
      }
      const store = await FileBlobStore.open(folder, undefined, { boot: 'the last' })
      await using partial = await store.partials.open(options)
      for (const { start, end } of safe) assert.equal(partial.present.gaps(start, end).length, 0)
      await assertVouchedOnly(partial, content)
      assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
      await store.delete(digest)
    }),
    { numRuns: 80 },
  )
})

test('whatever somebody does to the files under the same boot: no wrong bytes are sealed', async (t) => {
  const folder = await storageFolder(t)
  const store = await FileBlobStore.open(folder)
  let wrong = 0
  await fc.assert(
    fc.asyncProperty(starts, fc.array(damage, { minLength: 1, maxLength: 3 }), async (written, torn) => {
      const left = await store.partials.open(options)
      for (const start of written) await left.write(start, lent(content.subarray(start, start + run)))
      await left.suspend(new Error('stopped'))
      for (const one of torn) await apply(folder, one, new Ranges())
      const partial = await store.partials.open(options)
      await writeMissing(partial, content)
      try {
        await partial.seal(digest)
      } catch (error) {
        // As for wrong bytes of an upstream: all of it comes once more.
        assert.ok(error instanceof RegistryError && error.code === 'DIGEST_INVALID', String(error))
        wrong += 1
        await partial.discard(error)
        await using again = await store.partials.open(options)
        assert.equal(again.present.total, 0)
        await assertVouchedOnly(again, content)
      }
      assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
      await store.delete(digest)
    }),
    { numRuns: 80 },
  )
  assert.ok(wrong > 0, 'some of the damage was to bytes')
})

test('a file that became shorter than its journal says is not whole later by what is written behind it', async (t) => {
  const folder = await storageFolder(t)
  const store = await FileBlobStore.open(folder)
  const left = await store.partials.open(options)
  await left.write(0, lent(content.subarray(0, 20_000)))
  await left.suspend(new Error('stopped'))
  await truncate(join(folder, 'partial/x'), 10_000)
  const next = await store.partials.open(options)
  assert.equal(next.present.total, 0)
  await next.write(40_000, lent(content.subarray(40_000)))
  await next.suspend(new Error('stopped'))
  await using partial = await store.partials.open(options)
  assert.deepEqual([...partial.present], [{ start: 40_000, end: size }])
  await assertVouchedOnly(partial, content)
})

test('a record of an earlier release counts where its checksum fits, under any boot', async (t) => {
  const folder = await storageFolder(t)
  const store = await FileBlobStore.open(folder)
  const lines = [0, 4000, 8000, 40_000, 52_000].map((start) => {
    const fields = `${start} ${run} ${crc32(content.subarray(start, start + run))}`
    return `${fields} ${crc32(fields)}\n`
  })
  const data = Buffer.from(content)
  data[4001] = (data[4001] ?? 0) ^ 1
  await writeFile(join(folder, 'partial/x'), data.subarray(0, 54_000))
  await writeFile(join(folder, 'partial/x.journal'), ['larder-partial-1 -\n', ...lines].join(''))
  for (let times = 0; times < 2; times += 1) {
    await using partial = await store.partials.open(options)
    assert.deepEqual(
      [...partial.present],
      [
        { start: 0, end: 4000 },
        { start: 8000, end: 12_000 },
        { start: 40_000, end: 44_000 },
      ],
    )
  }
  await using partial = await store.partials.open(options)
  await assertVouchedOnly(partial, content)
})

for (const missing of ['partial/x', 'partial/x.journal']) {
  test(`without ${missing} it starts anew`, async (t) => {
    const folder = await storageFolder(t)
    const store = await FileBlobStore.open(folder)
    const left = await store.partials.open(options)
    for (const start of [0, 8000]) await left.write(start, lent(content.subarray(start, start + run)))
    await left.suspend(new Error('stopped'))
    await rm(join(folder, missing))
    await using partial = await store.partials.open(options)
    assert.equal(partial.present.total, 0)
    await assertVouchedOnly(partial, content)
  })
}
