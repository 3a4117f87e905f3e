import assert from 'node:assert/strict'
import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobStore } from '../../src/storage/blob-store.ts'
import { FileBlobStore } from '../../src/storage/files/file-blob-store.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import type { Partial } from '../../src/storage/partial.ts'
import { Ranges } from '../../src/storage/ranges.ts'
import { lent } from '../support/lent.ts'
import { storedBytes } from './blob-store.contract.ts'
import { assertSameBytes, storageFolder, testBytes } from './files/storage-folder.ts'

const size = 20_000
const content = testBytes(size, 11)
const digest = digestOf(content)
const options = { id: 'x', algorithm: 'sha256' } as const

type Step =
  | { readonly kind: 'write'; readonly pieces: readonly { start: number; length: number }[] }
  | { readonly kind: 'read'; readonly position: number; readonly length: number }
  | { readonly kind: 'verify' | 'suspend' | 'killed' | 'power' | 'refused seal' }

const piece = fc.record({ start: fc.nat(size - 1), length: fc.integer({ min: 1, max: 6000 }) })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      pieces: fc.array(piece, { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('read' as const),
      position: fc.nat(size),
      length: fc.nat(9000),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'verify' as const,
        'suspend' as const,
        'killed' as const,
        'power' as const,
        'refused seal' as const,
      ),
    }),
  },
)

/** A store whose process can end at any moment. */
interface Crashable {
  readonly store: BlobStore
  /** The store as a later process opens it. */
  crash(kind: 'killed' | 'power', keeps: () => boolean): Promise<Crashable>
}

function memoryStore(store: MemoryBlobStore): Crashable {
  return { store, crash: async (kind, keeps) => memoryStore(store.afterCrash({ kind, keeps })) }
}

/** What a killed process leaves is what lies in its folder: a copy of that is opened, and the old process goes on in vain. */
async function fileStore(folder: string): Promise<Crashable> {
  const store = await FileBlobStore.open(folder)
  return {
    store,
    crash: async () => {
      const later = `${folder}-`
      await rm(later, { recursive: true, force: true })
      await cp(folder, later, { recursive: true, preserveTimestamps: true })
      return fileStore(later)
    },
  }
}

/** Plays the steps on one partial beside a model of what was written, then makes it whole. */
async function play(begin: Crashable, steps: readonly Step[], keeps: () => boolean): Promise<void> {
  let current = begin
  let partial = await current.store.partials.open(options)
  let written = new Ranges()
  const left: Partial[] = []
  for (const { kind, ...step } of steps) {
    if (kind === 'write' && 'pieces' in step) {
      const writes = step.pieces.map(({ start, length }) =>
        partial.write(start, lent(content.subarray(start, start + length))),
      )
      await Promise.all(writes)
      for (const { start, length } of step.pieces) written.add(start, Math.min(start + length, size))
    } else if (kind === 'read' && 'position' in step) {
      await assertReads(partial, step.position, step.length)
    } else if (kind === 'verify' || kind === 'refused seal') {
      const isWhole = written.firstGap(size) === undefined
      const other = digestOf(content.subarray(1))
      if (kind === 'refused seal') await assert.rejects(partial.seal(other), { name: 'RegistryError' })
      else if (isWhole) await partial.verify(digest)
      else await assert.rejects(partial.verify(digest), { name: 'RegistryError' })
    } else if (kind === 'suspend') {
      await partial.suspend(new Error('stopped'))
      partial = await current.store.partials.open(options)
      assert.deepEqual([...partial.present], [...written], 'a suspension loses nothing')
    } else if (kind === 'killed' || kind === 'power') {
      left.push(partial)
      current = await current.crash(kind, keeps)
      partial = await current.store.partials.open(options)
      for (const { start, end } of partial.present) {
        assert.equal(written.firstGap(end, start), undefined, `nobody wrote ${start} to ${end}`)
      }
      written = new Ranges()
      for (const { start, end } of partial.present) written.add(start, end)
    }
    assert.deepEqual([...partial.present], [...written])
  }
  await assertReads(partial, 0, size)
  for (let gap = partial.present.firstGap(size); gap; gap = partial.present.firstGap(size)) {
    await partial.write(gap.start, lent(content.subarray(gap.start, gap.end)))
  }
  await partial.seal(digest)
  assertSameBytes((await storedBytes(current.store, digest)) ?? Buffer.alloc(0), content)
  assert.deepEqual(await current.store.partials.list(), [])
  for (const dead of left) await dead.discard(new Error('it was killed')).catch(() => {})
}

/** Every byte that is given is the right one, and all that is present is given. */
async function assertReads(partial: Partial, from: number, length: number): Promise<void> {
  await using view = partial.view()
  const buffer = Buffer.alloc(1000)
  for (let at = from; at < from + length; ) {
    const count = await view.read(buffer, at)
    assert.equal(count === 0, partial.present.presentUntil(at) === at)
    assertSameBytes(buffer.subarray(0, count), content.subarray(at, at + count), `bytes from ${at}`)
    at += count || 500
  }
}

const histories = fc.array(step, { maxLength: 25 })
const coins = fc.infiniteStream(fc.boolean())

test('any history of writes, reads, suspensions and crashes in memory: no wrong byte, nothing vouched for is lost', async () => {
  await fc.assert(
    fc.asyncProperty(histories, coins, async (steps, coin) => {
      await play(memoryStore(new MemoryBlobStore()), steps, () => coin.next().value ?? true)
    }),
    { numRuns: 300 },
  )
})

test('any history of writes, reads, suspensions and kills in files: no wrong byte, nothing vouched for is lost', async (t) => {
  // Notes are written down at once, after some writes, or never, as time goes by.
  let now = 0
  t.mock.method(performance, 'now', () => {
    now += 30
    return now
  })
  const folder = await storageFolder(t)
  let run = 0
  await fc.assert(
    fc.asyncProperty(histories, async (steps) => {
      run += 1
      await play(await fileStore(join(folder, `${run}`)), steps, () => true)
    }),
    { numRuns: 60 },
  )
})
