import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../src/oci/digest.ts'
import type { OpenStore } from './blob-store.contract.ts'
import { storedBytes } from './blob-store.contract.ts'
import { assertSameBytes, testBytes } from './files/storage-folder.ts'

const content = testBytes(2_000_000)
const digest = digestOf(content)
const whole = { id: 'whole', algorithm: 'sha256', size: content.length } as const

/** What `seal` publishes, and what it refuses. */
export function partialSealContract(open: OpenStore): void {
  test('nothing is visible before the seal, all of it afterwards', async (t) => {
    const { store } = await open(t)
    await using partial = await store.openPartial(whole)
    await partial.write(0, content)
    assert.equal(await store.size(digest), undefined)
    assert.equal(await store.open(digest), undefined)
    await partial.seal(digest)
    assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
  })

  test('wrong bytes: DIGEST_INVALID, nothing is published, readers that wait are told', async (t) => {
    const { store, reopen } = await open(t)
    const wrong = Buffer.from(content)
    wrong[1_234_567] = (wrong[1_234_567] ?? 0) ^ 1
    await using partial = await store.openPartial(whole)
    await using reader = partial.reader()
    const waiting = Promise.allSettled([reader?.verified()])
    await partial.write(0, wrong)
    await assert.rejects(partial.seal(digest), { name: 'RegistryError', code: 'DIGEST_INVALID' })
    const [outcome] = await waiting
    assert.equal(outcome.status === 'rejected' && outcome.reason.code, 'DIGEST_INVALID')
    await assert.rejects(async () => reader?.verified(), { code: 'DIGEST_INVALID' })
    assert.equal(reader?.isVerified, false)
    assert.equal(await store.size(digest), undefined)
    assert.equal(await store.size(digestOf(wrong)), undefined)
    await using again = await (await reopen()).openPartial(whole)
    assert.equal(again.present.total, 0, 'the wrong bytes are not kept')
  })

  test('the right bytes under another algorithm: DIGEST_INVALID', async (t) => {
    const { store } = await open(t)
    const partial = await store.openPartial(whole)
    await partial.write(0, content)
    await assert.rejects(partial.seal(digestOf(content, 'sha512')), { code: 'DIGEST_INVALID' })
  })

  for (const [what, size, pieces] of [
    ['the last byte is missing', 100, [[0, 99]]],
    ['the first byte is missing', 100, [[1, 100]]],
    ['nothing came', 100, []],
    ['more came than was said', 100, [[0, 101]]],
    ['bytes far behind the end came', 100, [[0, 100], [200, 201]]], // biome-ignore format: one case a line
    ['a hole, size unknown', undefined, [[0, 50], [51, 100]]], // biome-ignore format: one case a line
  ] as const) {
    test(`SIZE_INVALID, and the bytes are gone: ${what}`, async (t) => {
      const { store } = await open(t)
      const partial = await store.openPartial({ id: 'x', algorithm: 'sha256', size })
      for (const [start, end] of pieces) await partial.write(start, content.subarray(start, end))
      const expected = digestOf(content.subarray(0, 100))
      await assert.rejects(partial.seal(expected), { name: 'RegistryError', code: 'SIZE_INVALID' })
      assert.equal(await store.size(expected), undefined)
      await using again = await store.openPartial({ id: 'x', algorithm: 'sha256', size })
      assert.equal(again.present.total, 0)
    })
  }

  test('size unknown: what was appended is sealed', async (t) => {
    const { store } = await open(t)
    await using partial = await store.openPartial({ id: 'push', algorithm: 'sha512', size: undefined })
    assert.equal(partial.size, undefined)
    for (let at = 0; at < content.length; at += 300_000) {
      await partial.write(at, content.subarray(at, at + 300_000))
    }
    const expected = digestOf(content, 'sha512')
    await partial.seal(expected)
    assertSameBytes((await storedBytes(store, expected)) ?? Buffer.alloc(0), content)
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
          await using partial = await store.openPartial({ id: 'any', algorithm: 'sha256', size })
          for (let i = 0; i < pieces.length; i += atOnce) {
            const group = pieces.slice(i, i + atOnce)
            await Promise.all(
              group.map((one) => partial.write(one.start, bytes.subarray(one.start, one.start + one.length))),
            )
          }
          const expected = new Set<number>()
          for (const one of pieces) {
            for (let at = one.start; at < Math.min(one.start + one.length, size); at += 1) expected.add(at)
          }
          assert.equal(partial.present.total, expected.size)
          for (let gap = partial.present.firstGap(size); gap; gap = partial.present.firstGap(size)) {
            await partial.write(gap.start, bytes.subarray(gap.start, gap.end))
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
    await using partial = await store.openPartial(whole)
    await partial.write(500_000, content.subarray(500_000, 1_000_000))
    const other = Buffer.from(content)
    other.fill(0xee, 500_000, 1_000_000)
    await partial.write(0, other)
    await partial.seal(digest)
    assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
  })

  test('two writers of one range at once, one of them wrong: the first wins, in the file as in the hash', async (t) => {
    const { store } = await open(t)
    const wrong = Buffer.alloc(content.length, 0xee)
    for (let round = 0; round < 10; round += 1) {
      await using partial = await store.openPartial({ ...whole, id: `round-${round}` })
      await Promise.all([
        partial.write(0, content.subarray(0, 1_500_000)),
        partial.write(1_000, wrong.subarray(1_000, 1_400_000)),
        partial.write(1_400_000, content.subarray(1_400_000)),
        partial.write(1_450_000, wrong.subarray(1_450_000, 1_460_000)),
      ])
      await partial.seal(digest)
      assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content, `round ${round}`)
    }
  })
}
