import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import { StorageError } from '../../../src/storage/error.ts'
import type { Crash } from '../../../src/storage/memory/crash.ts'
import { MemoryBlobStore } from '../../../src/storage/memory/memory-blob-store.ts'
import { lent } from '../../support/lent.ts'
import { storedBytes } from '../blob-store.contract.ts'
import { assertSameBytes, testBytes } from '../files/storage-folder.ts'

const content = testBytes(5000)
const digest = digestOf(content)

/** Stores a blob and removes it again; tells what was acknowledged. */
async function storeAndRemove(store: MemoryBlobStore, told: string[]): Promise<void> {
  const partial = await store.partials.open({ id: 'x', algorithm: 'sha256' })
  for (let at = 0; at < content.length; at += 1000)
    await partial.write(at, lent(content.subarray(at, at + 1000)))
  await partial.seal(digest)
  told.push('sealed')
  await store.delete(digest)
  told.push('deleted')
}

/** Counts the steps of a disk and calls `at` before the n-th. */
function stepAt(n: number, at: (name: string) => Promise<void>) {
  let count = 0
  return async (name: string) => {
    count += 1
    if (count === n) await at(name)
  }
}

async function assertWholeOrNothing(store: MemoryBlobStore, told: readonly string[]): Promise<Digest[]> {
  const listed = await store.list({ limit: 10 })
  for (const each of listed) assertSameBytes((await storedBytes(store, each)) ?? Buffer.alloc(0), content)
  if (told.at(-1) === 'sealed') assert.deepEqual(listed, [digest], 'what was acknowledged is there')
  if (told.at(-1) === 'deleted') assert.deepEqual(listed, [])
  return listed
}

for (const kind of ['killed', 'power'] as const) {
  test(`a crash before any step (${kind}): a blob is there whole or not at all, and it goes on`, async () => {
    for (let n = 1; n <= 12; n += 1) {
      await fc.assert(
        fc.asyncProperty(fc.infiniteStream(fc.boolean()), async (coin) => {
          const crash: Crash = { kind, keeps: () => coin.next().value ?? true }
          let later: MemoryBlobStore | undefined
          const told: string[] = []
          const store: MemoryBlobStore = new MemoryBlobStore({
            step: stepAt(n, async () => {
              // Its options would crash the next one too.
              later = store.afterCrash(crash, {})
            }),
          })
          const work = storeAndRemove(store, told)
          // The process that was cut off never gets an answer again.
          if (
            await work.then(
              () => false,
              () => true,
            )
          )
            assert.ok(later, `${n}`)
          if (!later) return
          const before = told.slice()
          await assertWholeOrNothing(later, before)
          await storeAndRemove(later, [])
          assert.deepEqual(await later.list({ limit: 10 }), [])
          await later[Symbol.asyncDispose]()
        }),
        { numRuns: 20 },
      )
    }
  })
}

for (const code of ['FULL', 'BROKEN', 'BUSY'] as const) {
  test(`${code} at any step: told, nothing half is visible, and the next try succeeds`, async () => {
    let reached = 0
    for (let n = 1; n <= 12; n += 1) {
      const told: string[] = []
      let isOver = false
      const failure = new StorageError(code, 'a fault of a test')
      const fail = stepAt(n, async () => {
        throw failure
      })
      const store = new MemoryBlobStore({ step: async (name) => (isOver ? undefined : fail(name)) })
      await storeAndRemove(store, told).catch((error: unknown) => {
        reached += 1
        assert.ok(error === failure || (error as StorageError).cause === failure)
      })
      isOver = true
      const listed = await assertWholeOrNothing(store, told)
      if (listed.length > 0) await store.delete(digest)
      // BUSY at the seal leaves it open, for another try.
      const left = await store.partials.open({ id: 'x', algorithm: 'sha256' }).catch(() => undefined)
      await left?.discard(new Error('the end'))
    }
    assert.ok(reached >= 9, `${reached} faults`)
  })
}

test('a store of so many bytes is full like a disk, and has room again after a removal', async () => {
  const store = new MemoryBlobStore({ room: 6000 })
  const partial = await store.partials.open({ id: 'x', algorithm: 'sha256' })
  await partial.write(0, lent(content))
  assert.equal((await store.room()).bytes, 1000)
  const other = await store.partials.open({ id: 'y', algorithm: 'sha256' })
  await assert.rejects(other.write(0, lent(content)), { name: 'StorageError', code: 'FULL' })
  await other.discard(new Error('full'))
  await partial.seal(digest)
  await store.delete(digest)
  await (await store.partials.open({ id: 'y', algorithm: 'sha256' })).write(0, lent(content))
})

for (const touches of [true, false]) {
  test(`damage is bytes that differ, ${touches ? 'and a file that does' : 'in a file that looks as before'}`, async () => {
    const store = new MemoryBlobStore({ now: () => 1000 })
    const partial = await store.partials.open({ id: 'x', algorithm: 'sha256' })
    await partial.write(0, lent(content))
    const sealed = await partial.seal(digest)
    store.damage(digest, (bytes) => bytes.fill(0, 100, 200), { touches })
    const now = await store.stat(digest)
    assert.equal(JSON.stringify(now) === JSON.stringify(sealed), !touches)
    assert.notEqual(digestOf((await storedBytes(store, digest)) ?? Buffer.alloc(0)), digest)
  })
}

test('a power cut at a rename over a stored blob: one of the two files is there', async () => {
  for (const keeps of [true, false]) {
    let later: MemoryBlobStore | undefined
    const store: MemoryBlobStore = new MemoryBlobStore({
      step: async (name) => {
        if (name !== 'sync-folder' || !(await store.partials.find('x'))) return
        later ??= store.afterCrash({ kind: 'power', keeps: () => keeps }, {})
      },
    })
    for (const id of ['a', 'b']) {
      const partial = await store.partials.open({ id, algorithm: 'sha256' })
      await partial.write(0, lent(content))
      // Marks the second one: it is renamed over the first.
      if (id === 'b') await store.partials.open({ id: 'x', algorithm: 'sha256' })
      await partial.seal(digest).catch(() => {})
    }
    assert.ok(later)
    await assertWholeOrNothing(later, ['sealed'])
  }
})

test('a power cut after a removal: it may be there again, and whole', async () => {
  for (const keeps of [true, false]) {
    const store = new MemoryBlobStore()
    await storeAndRemove(store, [])
    const later = store.afterCrash({ kind: 'power', keeps: () => keeps })
    assert.deepEqual(await assertWholeOrNothing(later, []), keeps ? [digest] : [])
    assert.deepEqual(await store.afterCrash({ kind: 'killed', keeps: () => keeps }).list({ limit: 1 }), [])
  }
})
