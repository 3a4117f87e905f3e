import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import type { Partial, PartialView } from '../../src/storage/partial.ts'
import { lent } from '../support/lent.ts'
import { assertSameBytes, testBytes } from './files/storage-folder.ts'

const content = testBytes(300_000, 7)
const digest = digestOf(content)
const half = 150_000

/** A partial without a byte that holds at least 300,000 of them; ended by the test. */
export type OpenPartial = (t: TestContext) => Promise<Partial>

async function assertReads(view: PartialView, end: number, pieceSize: number): Promise<void> {
  const buffer = Buffer.alloc(pieceSize)
  for (let at = 0; at < end; ) {
    const count = await view.read(buffer, at)
    assert.ok(count > 0, `nothing at ${at}`)
    assertSameBytes(buffer.subarray(0, count), content.subarray(at, at + count), `bytes at ${at}`)
    at += count
  }
}

/** What holds for every partial, also for one that takes its bytes in their order and keeps none of them. */
export function partialContract(open: OpenPartial): void {
  test('what came is read, in any piece; what has not come is no byte, at once', async (t) => {
    await using partial = await open(t)
    const views = [7919, 65_536, 400_000].map((pieceSize) => ({ pieceSize, view: partial.view() }))
    await partial.write(0, lent(content.subarray(0, half)))
    for (const { view, pieceSize } of views) {
      await assertReads(view, half, pieceSize)
      assert.equal(await view.read(Buffer.alloc(10), half), 0)
    }
    await partial.write(half, lent(content.subarray(half)))
    for (const { view } of views) {
      const buffer = Buffer.alloc(10)
      assert.equal(await view.read(buffer, half), 10)
      assertSameBytes(buffer, content.subarray(half, half + 10))
      await view[Symbol.asyncDispose]()
    }
  })

  test('what is here already is left alone, whatever is sent over it', async (t) => {
    await using partial = await open(t)
    await using view = partial.view()
    await partial.write(0, lent(content.subarray(0, half)))
    await partial.write(0, lent(Buffer.alloc(half)))
    await partial.write(1000, lent(Buffer.concat([Buffer.alloc(half - 1000), content.subarray(half)])))
    await assertReads(view, content.length, 50_000)
    await partial.verify(digest)
    assert.deepEqual([partial.present.total, partial.hashedUntil], [content.length, content.length])
  })

  test('to verify ends nothing: not all yet, all, other than expected, all again', async (t) => {
    await using partial = await open(t)
    await using view = partial.view()
    await partial.write(0, lent(content.subarray(0, half)))
    await assert.rejects(partial.verify(digest), { code: 'DIGEST_INVALID' })
    await partial.write(half, lent(content.subarray(half)))
    await partial.verify(digest)
    await assert.rejects(partial.verify(digestOf(Buffer.from('other'))), { code: 'DIGEST_INVALID' })
    await partial.verify(digest)
    await assertReads(view, content.length, 100_000)
  })

  for (const end of ['suspend', 'discard'] as const) {
    test(`${end}: what is here is still read, nothing more is written, and no end follows an end`, async (t) => {
      const partial = await open(t)
      await using view = partial.view()
      await partial.write(0, lent(content.subarray(0, half)))
      const reason = new Error('the fill failed')
      await partial[end](reason)
      await partial.suspend(new Error('again'))
      await partial.discard(new Error('again'))
      await partial[Symbol.asyncDispose]()
      await assert.rejects(partial.write(half, lent(content.subarray(half))), (error) => error === reason)
      assert.throws(() => partial.view(), Error)
      await assertReads(view, half, 100_000)
      assert.equal(await view.read(Buffer.alloc(1), half), 0)
    })
  }

  test('who disposes of it ends it', async (t) => {
    const partial = await open(t)
    await partial.write(0, lent(content.subarray(0, half)))
    await partial[Symbol.asyncDispose]()
    await assert.rejects(partial.write(half, lent(content.subarray(half))), Error)
    assert.throws(() => partial.view(), Error)
  })
}
