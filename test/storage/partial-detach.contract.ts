import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import type { PartialView } from '../../src/storage/partial.ts'
import { lent } from '../support/lent.ts'
import type { OpenStore } from './blob-store.contract.ts'
import { assertSameBytes, testBytes } from './files/storage-folder.ts'

const content = testBytes(2_000_000, 8)
const digest = digestOf(content)
const whole = { id: 'whole', algorithm: 'sha256' } as const

async function assertReads(view: PartialView, start: number, end: number): Promise<void> {
  const buffer = Buffer.alloc(100_003)
  for (let at = start; at < end; ) {
    const count = await view.read(buffer, at)
    assert.ok(count > 0, `nothing at ${at}`)
    assertSameBytes(buffer.subarray(0, count), content.subarray(at, at + count), `bytes at ${at}`)
    at += count
  }
}

/** What is to be had of a partial that the disk takes no more of. */
export function partialDetachContract(open: OpenStore): void {
  test('detached: what was present is read on, its name is free, and nothing is found of it', async (t) => {
    const { store, reopen } = await open(t)
    const partial = await store.partials.open(whole)
    await partial.write(0, lent(content.subarray(0, 700_000)))
    await partial.write(1_000_000, lent(content.subarray(1_000_000, 1_500_000)))
    await using early = partial.view()
    const remains = await partial.detach(new Error('the disk is full'))
    assert.deepEqual(
      [...remains.present],
      [
        { start: 0, end: 700_000 },
        { start: 1_000_000, end: 1_500_000 },
      ],
    )
    assert.equal(remains.hashedUntil, 700_000)
    const prefix = digestOf(content.subarray(0, 700_000))
    for (let times = 0; times < 2; times += 1) {
      using hash = remains.hash()
      assert.equal(await hash.digest(), prefix)
    }
    using going = remains.hash()
    await going.update(content.subarray(700_000))
    assert.equal(await going.digest(), digest)
    await using view = remains.view()
    await remains[Symbol.asyncDispose]()
    for (const one of [early, view]) {
      await assertReads(one, 0, 700_000)
      await assertReads(one, 1_000_000, 1_500_000)
      assert.equal(await one.read(Buffer.alloc(1), 700_000), 0)
    }
    assert.deepEqual(await store.partials.list(), [])
    await using next = await store.partials.open(whole)
    assert.equal(next.present.total, 0)
    await next.write(0, lent(content))
    await next.seal(digest)
    await assertReads(view, 0, 700_000)
    assert.deepEqual(await (await reopen()).partials.list(), [])
  })

  test('detached: it has ended, writes reject with the reason, and it is not detached twice', async (t) => {
    const { store } = await open(t)
    const partial = await store.partials.open(whole)
    await partial.write(0, lent(content.subarray(0, 1000)))
    const reason = new Error('the disk is full')
    const writing = partial.write(1000, lent(content.subarray(1000, 500_000))).catch(() => {})
    await using remains = await partial.detach(reason)
    await writing
    await assert.rejects(partial.write(500_000, lent(content.subarray(500_000))), (error) => error === reason)
    assert.throws(() => partial.view(), /ended/)
    await assert.rejects(partial.detach(reason), /ended/)
    await partial.suspend(reason)
    await partial.discard(reason)
    // A write that was under way came first, or not at all.
    await using view = remains.view()
    await assertReads(view, 0, remains.present.total)
    assert.ok([1000, 500_000].includes(remains.present.total), String(remains.present.total))
  })

  test('detached before its first byte: nothing remains, and the hash is that of nothing', async (t) => {
    const { store } = await open(t)
    const partial = await store.partials.open(whole)
    await using remains = await partial.detach(new Error('the disk is full'))
    assert.deepEqual([remains.present.total, remains.hashedUntil], [0, 0])
    using hash = remains.hash()
    assert.equal(await hash.digest(), digestOf(new Uint8Array()))
  })
}
