import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import type { PartialView } from '../../src/storage/partial.ts'
import { lent } from '../support/lent.ts'
import type { OpenStore } from './blob-store.contract.ts'
import { assertSameBytes, testBytes } from './files/storage-folder.ts'

const content = testBytes(3_000_000)
const digest = digestOf(content)
const whole = { id: 'whole', algorithm: 'sha256' } as const

async function assertReads(view: PartialView, start: number, end: number, pieceSize = 100_003) {
  const buffer = Buffer.alloc(pieceSize)
  for (let at = start; at < end; ) {
    const count = await view.read(buffer, at)
    assert.ok(count > 0, `nothing at ${at}`)
    assertSameBytes(buffer.subarray(0, count), content.subarray(at, at + count), `bytes at ${at}`)
    at += count
  }
}

/** What those who read a partial may rely on while it arrives, and after its end. */
export function partialViewContract(open: OpenStore): void {
  test('what is present is read, from any position, in any piece; what is missing is no byte, at once', async (t) => {
    const { store } = await open(t)
    await using partial = await store.partials.open(whole)
    await using view = partial.view()
    assert.equal(partial.keptFrom, 0)
    assert.equal(await view.read(Buffer.alloc(10), 0), 0)
    await partial.write(500_000, lent(content.subarray(500_000, 1_000_000)))
    await partial.write(2_000_000, lent(content.subarray(2_000_000)))
    for (const pieceSize of [7919, 65_536, 4_000_000]) {
      await assertReads(view, 500_000, 1_000_000, pieceSize)
      await assertReads(view, 2_000_001, 3_000_000, pieceSize)
    }
    for (const missing of [0, 499_999, 1_000_000, 1_999_999, 3_000_000, 5_000_000_000]) {
      assert.equal(await view.read(Buffer.alloc(10), missing), 0, `a byte at ${missing}`)
    }
  })

  test('a read ends where a hole begins, and leaves the rest of the buffer alone', async (t) => {
    const { store } = await open(t)
    await using partial = await store.partials.open(whole)
    await using view = partial.view()
    await partial.write(0, lent(content.subarray(0, 100)))
    await partial.write(200, lent(content.subarray(200, 300)))
    const buffer = Buffer.alloc(300, 0xaa)
    assert.equal(await view.read(buffer, 90), 10)
    assertSameBytes(buffer.subarray(0, 10), content.subarray(90, 100))
    assert.ok(buffer.subarray(10).every((byte) => byte === 0xaa))
  })

  test('a read of no bytes returns 0', async (t) => {
    const { store } = await open(t)
    await using partial = await store.partials.open(whole)
    await using view = partial.view()
    await partial.write(0, lent(content.subarray(0, 10)))
    assert.equal(await view.read(Buffer.alloc(0), 0), 0)
  })

  test('views survive the seal, and the removal of the blob', async (t) => {
    const { store } = await open(t)
    await using partial = await store.partials.open(whole)
    await using view = partial.view()
    await using other = partial.view()
    await partial.write(0, lent(content))
    await partial.seal(digest)
    await store.delete(digest)
    await assertReads(view, 0, content.length)
    await assertReads(other, 1000, 2000)
    assert.throws(() => partial.view(), Error, 'who comes later opens the blob')
  })

  for (const end of ['suspend', 'discard'] as const) {
    test(`${end}: what is present can still be read`, async (t) => {
      const { store } = await open(t)
      const partial = await store.partials.open(whole)
      await using view = partial.view()
      await partial.write(0, lent(content.subarray(0, 2_000_000)))
      await partial[end](new Error('the fill failed'))
      await assertReads(view, 0, 2_000_000)
      assert.equal(await view.read(Buffer.alloc(1), 2_000_000), 0)
      assert.throws(() => partial.view(), Error)
    })
  }
}
