import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../src/oci/digest.ts'
import { lent } from '../support/lent.ts'
import type { OpenStore } from './blob-store.contract.ts'
import { storedBytes } from './blob-store.contract.ts'
import { assertSameBytes, testBytes } from './files/storage-folder.ts'

const content = testBytes(2_000_000)
const digest = digestOf(content)
const whole = { id: 'whole', algorithm: 'sha256' } as const

/** What `seal` publishes, and what it refuses. */
export function partialSealContract(open: OpenStore): void {
  test('nothing is visible before the seal, all of it afterwards', async (t) => {
    const { store } = await open(t)
    await using partial = await store.partials.open(whole)
    await partial.write(0, lent(content))
    assert.equal(await store.stat(digest), undefined)
    assert.equal(await store.open(digest), undefined)
    await partial.seal(digest)
    assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
  })

  test('the seal says what is recorded of the file: the same as stat and open, also later', async (t) => {
    const { store, reopen } = await open(t)
    await using partial = await store.partials.open(whole)
    await partial.write(0, lent(content))
    const sealed = await partial.seal(digest)
    assert.equal(sealed.size, content.length)
    for (const value of Object.values(sealed)) assert.ok(Number.isSafeInteger(value), `${value}`)
    for (const again of [async () => store, reopen]) {
      const later = await again()
      assert.deepEqual(await later.stat(digest), sealed)
      await using stored = await later.open(digest)
      assert.deepEqual(stored?.file, sealed)
    }
  })

  for (const [what, pieces, code] of [
    ['one byte is wrong', [[0, 100]], 'DIGEST_INVALID'],
    ['the last byte is missing', [[0, 99]], 'DIGEST_INVALID'],
    ['nothing came', [], 'DIGEST_INVALID'],
    ['one byte too many came', [[0, 101]], 'DIGEST_INVALID'],
    ['the first byte is missing', [[1, 100]], 'SIZE_INVALID'],
    [
      'bytes far behind the end came',
      [
        [0, 100],
        [200, 201],
      ],
      'SIZE_INVALID',
    ],
    ['a hole', [[0, 50], [51, 100]], 'SIZE_INVALID'], // biome-ignore format: one case a line
  ] as const) {
    test(`${code}, nothing is published, and nothing is lost: ${what}`, async (t) => {
      const { store, reopen } = await open(t)
      const bytes = Buffer.from(content)
      if (what === 'one byte is wrong') bytes[50] = (bytes[50] ?? 0) ^ 1
      const partial = await store.partials.open(whole)
      for (const [start, end] of pieces) await partial.write(start, lent(bytes.subarray(start, end)))
      const expected = digestOf(content.subarray(0, 100))
      const before = [...partial.present]
      for (const name of ['verify', 'seal', 'seal'] as const) {
        await assert.rejects(partial[name](expected), { name: 'RegistryError', code })
      }
      assert.equal(await store.stat(expected), undefined)
      assert.deepEqual(await store.list({ limit: 10 }), [])
      assert.deepEqual([...partial.present], before)
      await partial.suspend(new Error('later'))
      await using again = await (await reopen()).partials.open(whole)
      assert.deepEqual([...again.present], before)
    })
  }

  test('the right bytes under another algorithm: DIGEST_INVALID', async (t) => {
    const { store } = await open(t)
    await using partial = await store.partials.open(whole)
    await partial.write(0, lent(content))
    await assert.rejects(partial.seal(digestOf(content, 'sha512')), { code: 'DIGEST_INVALID' })
  })

  test('verify while it arrives: not yet, not yet, now; and each part of it by its own digest', async (t) => {
    const { store } = await open(t)
    await using partial = await store.partials.open(whole)
    for (let at = 0; at < content.length; at += 500_000) {
      await assert.rejects(partial.verify(digest), { code: 'DIGEST_INVALID' })
      await partial.write(at, lent(content.subarray(at, at + 500_000)))
      await partial.verify(digestOf(content.subarray(0, at + 500_000)))
    }
    await partial.verify(digest)
    assert.equal(partial.hashedUntil, content.length)
    assert.equal(await store.stat(digest), undefined, 'it publishes nothing')
    await partial.seal(digest)
  })

  test('what an earlier process left is whole: its hash says so, nobody needs a size', async (t) => {
    const { store, reopen } = await open(t)
    const partial = await store.partials.open(whole)
    await partial.write(1_000_000, lent(content.subarray(1_000_000)))
    await partial.write(0, lent(content.subarray(0, 1_000_000)))
    await partial.suspend(new Error('stopped'))
    const later = await reopen()
    await using again = await later.partials.open(whole)
    await again.verify(digest)
    await again.seal(digest)
    assertSameBytes((await storedBytes(later, digest)) ?? Buffer.alloc(0), content)
  })

  test('a write while it is sealed never gets into what is published', async (t) => {
    const { store } = await open(t)
    for (let round = 0; round < 20; round += 1) {
      const partial = await store.partials.open({ ...whole, id: `round-${round}` })
      await partial.write(0, lent(content))
      const late = () => partial.write(content.length, lent(Buffer.from('behind the end')))
      const early = round % 2 === 0 ? late() : undefined
      const sealing = partial.seal(digest)
      const outcomes = await Promise.allSettled([sealing, early, late()])
      assert.equal(outcomes[2].status, 'rejected', 'nothing new begins')
      // A write that came first belongs to it: then these are other bytes.
      if (outcomes[0].status === 'fulfilled') {
        assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
      } else assert.equal(await store.stat(digest), undefined)
      await partial.discard(new Error('the end'))
      await store.delete(digest)
    }
  })

  test('ranges in any order, overlapping, several at once: content and digest come out right', async (t) => {
    const { store } = await open(t)
    const size = 5000
    const bytes = content.subarray(0, size)
    const piece = fc.record({ start: fc.nat(size - 1), length: fc.integer({ min: 1, max: 1500 }) })
    await fc.assert(
      fc.asyncProperty(
        fc.array(piece, { maxLength: 12 }),
        fc.integer({ min: 1, max: 4 }),
        async (pieces, atOnce) => {
          await using partial = await store.partials.open({ id: 'any', algorithm: 'sha256' })
          for (let i = 0; i < pieces.length; i += atOnce) {
            const group = pieces.slice(i, i + atOnce)
            await Promise.all(
              group.map((one) =>
                partial.write(one.start, lent(bytes.subarray(one.start, one.start + one.length))),
              ),
            )
          }
          const expected = new Set<number>()
          for (const one of pieces) {
            for (let at = one.start; at < Math.min(one.start + one.length, size); at += 1) expected.add(at)
          }
          assert.equal(partial.present.total, expected.size)
          for (let gap = partial.present.firstGap(size); gap; gap = partial.present.firstGap(size)) {
            await partial.write(gap.start, lent(bytes.subarray(gap.start, gap.end)))
          }
          await partial.seal(digestOf(bytes))
          assertSameBytes((await storedBytes(store, digestOf(bytes))) ?? Buffer.alloc(0), bytes)
        },
      ),
      { numRuns: 60 },
    )
  })

  test('bytes that are present are left alone, whatever is written over them', async (t) => {
    const { store } = await open(t)
    await using partial = await store.partials.open(whole)
    await partial.write(500_000, lent(content.subarray(500_000, 1_000_000)))
    const other = Buffer.from(content)
    other.fill(0xee, 500_000, 1_000_000)
    await partial.write(0, lent(other))
    await partial.seal(digest)
    assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
  })

  test('two writers of one range at once, one of them wrong: the first wins, in the file as in the hash', async (t) => {
    const { store } = await open(t)
    const wrong = Buffer.alloc(content.length, 0xee)
    for (let round = 0; round < 10; round += 1) {
      await using partial = await store.partials.open({ ...whole, id: `round-${round}` })
      await Promise.all([
        partial.write(0, lent(content.subarray(0, 1_500_000))),
        partial.write(1_000, lent(wrong.subarray(1_000, 1_400_000))),
        partial.write(1_400_000, lent(content.subarray(1_400_000))),
        partial.write(1_450_000, lent(wrong.subarray(1_450_000, 1_460_000))),
      ])
      await partial.seal(digest)
      assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content, `round ${round}`)
    }
  })
}
