import assert from 'node:assert/strict'
import { readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../../src/oci/digest.ts'
import { FileBlobStore } from '../../../src/storage/files/file-blob-store.ts'
import { lent } from '../../support/lent.ts'
import { storedBytes } from '../blob-store.contract.ts'
import { assertVouchedOnly } from '../crash-checks.ts'
import { assertSameBytes, storageFolder, testBytes } from './storage-folder.ts'

const size = 60_000
const content = testBytes(size, 3)
const options = { id: 'x', algorithm: 'sha256' } as const

interface Damage {
  readonly file: string
  readonly kind: 'truncate' | 'zero' | 'flip'
  readonly at: number
  readonly length: number
  readonly bits: number
}

/** What may happen to a file: a cut end, a run of zeros, a changed byte; places in thousandths of its length. */
const damage: fc.Arbitrary<Damage> = fc.record({
  file: fc.constantFrom('partial/x', 'partial/x.journal'),
  kind: fc.constantFrom('truncate' as const, 'zero' as const, 'flip' as const),
  at: fc.nat(999),
  length: fc.nat(1000),
  bits: fc.integer({ min: 1, max: 255 }),
})

async function apply(folder: string, { file, kind, at, length, bits }: Damage) {
  const path = join(folder, file)
  const bytes = await readFile(path)
  const start = Math.floor((bytes.length * at) / 1000)
  if (kind === 'truncate') return truncate(path, start)
  if (kind === 'zero') bytes.subarray(start).fill(0, 0, Math.floor(((bytes.length - start) * length) / 1000))
  else if (bytes.length > 0) bytes[start] = (bytes[start] ?? 0) ^ bits
  await writeFile(path, bytes)
}

/** Leaves a partial as a process does that ended in the middle, in a journal of several records. */
async function leavePartial(store: FileBlobStore, starts: readonly number[]): Promise<void> {
  const partial = await store.partials.open(options)
  for (const start of starts) await partial.write(start, lent(content.subarray(start, start + 4000)))
  await partial.suspend(new Error('stopped'))
}

const starts = fc.shuffledSubarray(Array.from({ length: size / 4000 }, (_, index) => index * 4000))

test('torn data and torn journals: only vouched bytes count, and no wrong seal comes of it', async (t) => {
  let now = 0
  t.mock.method(performance, 'now', () => {
    now += 60
    return now
  })
  const folder = await storageFolder(t)
  const store = await FileBlobStore.open(folder)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(starts, damage), { minLength: 1, maxLength: 4 }), async (steps) => {
      for (const [written, torn] of steps) {
        await leavePartial(store, written)
        await apply(folder, torn)
      }
      await using partial = await store.partials.open(options)
      await assertVouchedOnly(partial, content)
      assertSameBytes((await storedBytes(store, digestOf(content))) ?? Buffer.alloc(0), content)
    }),
    { numRuns: 150 },
  )
})

test('damage costs the runs that it hit, not the others', async (t) => {
  let now = 0
  t.mock.method(performance, 'now', () => {
    now += 200
    return now
  })
  const folder = await storageFolder(t)
  const store = await FileBlobStore.open(folder)
  await leavePartial(store, [0, 4000, 8000, 40_000, 52_000])
  const data = await readFile(join(folder, 'partial/x'))
  data[4001] = (data[4001] ?? 0) ^ 1
  await writeFile(join(folder, 'partial/x'), data.subarray(0, 54_000))
  await using partial = await store.partials.open(options)
  assert.deepEqual(
    [...partial.present],
    [
      { start: 0, end: 4000 },
      { start: 8000, end: 12_000 },
      { start: 40_000, end: 44_000 },
    ],
  )
  await assertVouchedOnly(partial, content)
})

for (const missing of ['partial/x', 'partial/x.journal']) {
  test(`without ${missing} it starts anew`, async (t) => {
    const folder = await storageFolder(t)
    const store = await FileBlobStore.open(folder)
    await leavePartial(store, [0, 8000])
    await rm(join(folder, missing))
    await using partial = await store.partials.open(options)
    assert.equal(partial.present.total, 0)
    await assertVouchedOnly(partial, content)
  })
}
