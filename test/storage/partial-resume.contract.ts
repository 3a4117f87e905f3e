import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobStore } from '../../src/storage/blob-store.ts'
import type { Partial } from '../../src/storage/partial.ts'
import { lent } from '../support/lent.ts'
import type { OpenStore } from './blob-store.contract.ts'
import { sizeOf, storedBytes } from './blob-store.contract.ts'
import { assertSameBytes, testBytes } from './files/storage-folder.ts'

const content = testBytes(3_000_000)
const digest = digestOf(content)
const whole = { id: 'whole', algorithm: 'sha256' } as const
const stopped = new Error('stopped')

async function writeRanges(partial: Partial, ranges: readonly (readonly [number, number])[]) {
  for (const [start, end] of ranges) await partial.write(start, lent(content.subarray(start, end)))
}

async function fillAndSeal(store: BlobStore, partial: Partial): Promise<void> {
  const { present } = partial
  for (let gap = present.firstGap(content.length); gap; gap = present.firstGap(content.length)) {
    await writeRanges(partial, [[gap.start, gap.end]])
  }
  await partial.seal(digest)
  assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
}

/** What stays of a partial that was ended before it was whole. */
export function partialResumeContract(open: OpenStore): void {
  for (const later of ['the same process', 'a later process'] as const) {
    test(`suspended, then opened by ${later}: present ranges and hash are as they were`, async (t) => {
      const { store, reopen } = await open(t)
      const partial = await store.partials.open(whole)
      await writeRanges(partial, [
        [0, 1_200_000],
        [1_500_000, 1_600_000],
        [1_700_000, 3_000_000],
      ])
      const before = [...partial.present]
      await partial.suspend(stopped)
      const next = later === 'the same process' ? store : await reopen()
      await using again = await next.partials.open(whole)
      assert.deepEqual([...again.present], before)
      await fillAndSeal(next, again)
    })
  }

  test('suspended again and again, a piece each time', async (t) => {
    const { store } = await open(t)
    for (let at = 0; at < content.length; at += 400_000) {
      const partial = await store.partials.open(whole)
      assert.equal(partial.present.presentUntil(0), at)
      await writeRanges(partial, [[at, Math.min(at + 400_000, content.length)]])
      await partial.suspend(stopped)
    }
    await using partial = await store.partials.open(whole)
    assert.equal(partial.present.firstGap(content.length), undefined, 'it was whole when it was suspended')
    await fillAndSeal(store, partial)
  })

  test('disposing suspends what nobody ended, and is no error after an end', async (t) => {
    const { store } = await open(t)
    {
      await using partial = await store.partials.open(whole)
      await writeRanges(partial, [[0, 1_000_000]])
    }
    await using partial = await store.partials.open(whole)
    assert.equal(partial.present.total, 1_000_000)
    await fillAndSeal(store, partial)
    await partial[Symbol.asyncDispose]()
    await partial.suspend(stopped)
    await partial.discard(stopped)
    assert.equal(await sizeOf(store, digest), content.length)
  })

  test('writes under way at the suspension: nothing of what they brought is fetched again', async (t) => {
    const { store } = await open(t)
    for (let round = 0; round < 10; round += 1) {
      const partial = await store.partials.open(whole)
      const starts = [0, 100_000, 500_000].map((start) => start + round * 1000)
      const writing = Promise.allSettled(starts.map((start) => writeRanges(partial, [[start, start + 1000]])))
      await partial.suspend(stopped)
      await writing
      await using again = await store.partials.open(whole)
      assert.deepEqual([...again.present], [...partial.present])
    }
  })

  test('discarded: the bytes are gone, and the next one of that name starts anew', async (t) => {
    const { store, reopen } = await open(t)
    const partial = await store.partials.open(whole)
    await writeRanges(partial, [[0, 1_000_000]])
    await partial.discard(stopped)
    await assert.rejects(partial.write(0, lent(content)), (error) => error === stopped)
    const later = await reopen()
    await using again = await later.partials.open(whole)
    assert.equal(again.present.total, 0)
    await fillAndSeal(later, again)
  })

  test('a write after the suspension rejects with the reason', async (t) => {
    const { store } = await open(t)
    const partial = await store.partials.open(whole)
    await partial.suspend(stopped)
    await assert.rejects(partial.write(0, lent(content)), (error) => error === stopped)
  })

  test('one name is open once; other names do not matter', async (t) => {
    const { store } = await open(t)
    const partial = await store.partials.open(whole)
    await assert.rejects(store.partials.open(whole), /open/)
    await using other = await store.partials.open({ ...whole, id: 'other' })
    await writeRanges(partial, [[0, 1000]])
    assert.equal(other.present.total, 0)
    await partial.suspend(stopped)
    await using again = await store.partials.open(whole)
    assert.equal(again.present.total, 1000)
  })

  test('what this process has left is removed as well', async (t) => {
    const { store } = await open(t)
    const partial = await store.partials.open({ id: 'own', algorithm: 'sha256' })
    await writeRanges(partial, [[0, 1000]])
    await partial.suspend(stopped)
    await store.partials.remove('own')
    assert.deepEqual(await store.partials.list(), [])
  })

  test('what was left is found, listed and removed', async (t) => {
    const { store, reopen } = await open(t)
    assert.equal(await store.partials.find('whole'), undefined)
    assert.deepEqual(await store.partials.list(), [])
    await store.partials.remove('whole')
    // The time that a file gets is behind the clock by a tick of the kernel, of up to 10 ms.
    const before = Date.now() - 10
    for (const id of ['whole', 'b', 'a']) {
      const partial = await store.partials.open({ id, algorithm: 'sha512' })
      await writeRanges(partial, [[0, 1000], [5000, 7000]]) // biome-ignore format: one case a line
      assert.equal((await store.partials.find(id))?.bytes, 3000, 'also while it is open')
      await assert.rejects(store.partials.remove(id), /open/)
      await partial.suspend(stopped)
    }
    for (const again of [async () => store, reopen]) {
      const { partials } = await again()
      const listed = await partials.list()
      assert.deepEqual(
        listed.map(({ id, bytes }) => [id, bytes]),
        [['a', 3000], ['b', 3000], ['whole', 3000]], // biome-ignore format: one case a line
      )
      for (const found of listed) {
        assert.deepEqual(await partials.find(found.id), found)
        assert.ok(found.touchedAt >= before && found.touchedAt <= Date.now() + 1, `${found.touchedAt}`)
      }
    }
    const { partials } = await reopen()
    await partials.remove('b')
    assert.deepEqual(
      (await partials.list()).map(({ id }) => id),
      ['a', 'whole'],
    )
    await using again = await partials.open({ id: 'b', algorithm: 'sha512' })
    assert.equal(again.present.total, 0)
  })

  test('removed and opened at the same time: whoever opens it writes to a file that stays', async (t) => {
    const { store } = await open(t)
    for (let round = 0; round < 20; round += 1) {
      const removing = store.partials.remove('whole')
      let partial: Partial | undefined
      while (!partial) {
        partial = await store.partials.open(whole).catch(() => undefined)
        if (!partial) await new Promise(setImmediate)
      }
      await removing
      await writeRanges(partial, [[0, 1000]])
      await partial.suspend(stopped)
      assert.equal((await store.partials.find('whole'))?.bytes, 1000)
    }
  })

  for (const end of ['discard', 'suspend', 'seal'] as const) {
    test(`${end}: the name is free only once nothing of the old one remains to be done`, async (t) => {
      const { store } = await open(t)
      const partial = await store.partials.open(whole)
      await writeRanges(partial, [[0, content.length]])
      const ending = end === 'seal' ? partial.seal(digest) : partial[end](stopped)
      let next: Partial | undefined
      while (!next) {
        next = await store.partials.open(whole).catch(() => undefined)
        if (!next) await new Promise(setImmediate)
      }
      await writeRanges(next, [[0, content.length]])
      await ending
      await next.suspend(stopped)
      await using again = await store.partials.open(whole)
      assert.equal(again.present.total, content.length, 'the end of the old one took nothing from the new')
    })
  }
}
