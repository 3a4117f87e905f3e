import assert from 'node:assert/strict'
import { afterEach, suite, test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../../src/oci/digest.ts'
import { WindowPartial } from '../../../src/storage/memory/window-partial.ts'
import type { PartialView } from '../../../src/storage/partial.ts'
import { assertReleased, lent } from '../../support/lent.ts'
import { assertSameBytes, testBytes } from '../files/storage-folder.ts'
import { partialContract } from '../partial.contract.ts'

const content = testBytes(100_000)
const digest = digestOf(content)
const chunk = 1000
const settled = () => new Promise(setImmediate)

const opened: WindowPartial[] = []
afterEach(async () => {
  for (const partial of opened.splice(0)) await partial.discard(new Error('the end'))
  assertReleased()
})

function open(capacity = 10_000): WindowPartial {
  const partial = new WindowPartial({ id: 'w', algorithm: 'sha256', capacity })
  opened.push(partial)
  return partial
}

async function writeAll(partial: WindowPartial): Promise<void> {
  for (let at = 0; at < content.length; at += chunk)
    await partial.write(at, lent(content.subarray(at, at + chunk)))
}

/** Reads to the end as who follows does: again after a while where nothing is there. */
async function follow(view: PartialView, from: number, pieceSize: number, pause = 0): Promise<void> {
  const buffer = Buffer.alloc(pieceSize)
  for (let at = from; at < content.length; ) {
    for (let turns = 0; turns < pause; turns += 1) await settled()
    const count = await view.read(buffer, at)
    assertSameBytes(buffer.subarray(0, count), content.subarray(at, at + count), `bytes at ${at}`)
    at += count
    if (count === 0) await settled()
  }
  await view[Symbol.asyncDispose]()
}

suite('WindowPartial', () => partialContract(async () => open(400_000)))

test('one writer and readers of any speed, from any position: all get all bytes, and no more than it holds waits', async () => {
  const reader = fc.record({
    from: fc.nat(content.length),
    pieceSize: fc.integer({ min: 300, max: 5000 }),
    pause: fc.nat(3),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(reader, { minLength: 1, maxLength: 4 }), async (readers) => {
      const partial = open()
      const views = readers.map(({ from, ...how }) => ({ view: partial.view(from), from, ...how }))
      const following = views.map(({ view, from, pieceSize, pause }) => follow(view, from, pieceSize, pause))
      await Promise.all([writeAll(partial), ...following])
      await partial.verify(digest)
      assert.equal(partial.present.total, content.length)
    }),
    { numRuns: 20 },
  )
})

test('a write waits while as much as it holds is not read by all, and for the first reader too', async () => {
  const partial = open(3000)
  const writing = writeAll(partial)
  for (let turn = 0; turn < 20; turn += 1) await settled()
  assert.equal(partial.hashedUntil, 3000)
  const [fast, slow] = [partial.view(), partial.view()]
  const buffer = Buffer.alloc(chunk)
  for (let at = 0; at < 3000; at += chunk) assert.equal(await fast.read(buffer, at), chunk)
  assert.equal(await fast.read(buffer, 3000), 0, 'it waits at the front')
  for (let turn = 0; turn < 20; turn += 1) await settled()
  assert.equal(partial.hashedUntil, 3000, 'the slow one has not read them')
  assert.equal(await slow.read(buffer, 0), chunk)
  assert.equal(await slow.read(buffer, 1000), chunk)
  for (let turn = 0; turn < 20; turn += 1) await settled()
  assert.equal(partial.hashedUntil, 4000, 'and no more than what it has passed')
  await slow[Symbol.asyncDispose]()
  await Promise.all([writing, follow(fast, 3000, chunk)])
})

test('read backwards, or from where bytes are gone: an error, never the end', async () => {
  const partial = open()
  await using view = partial.view()
  for (let at = 0; at < 5000; at += chunk) await partial.write(at, lent(content.subarray(at, at + chunk)))
  const buffer = Buffer.alloc(10)
  assert.equal(await view.read(buffer, 4500), 10)
  assert.equal(partial.keptFrom, 4000)
  await assert.rejects(view.read(buffer, 3999), RangeError)
  await using late = partial.view()
  await assert.rejects(late.read(buffer, 0), RangeError)
  assert.equal(await late.read(buffer, 4000), 10)
})

test('who reads from the middle holds nothing before it', async () => {
  const partial = open(2000)
  await using view = partial.view(50_000)
  for (let at = 0; at < 50_000; at += chunk) await partial.write(at, lent(content.subarray(at, at + chunk)))
  assert.equal(partial.keptFrom, 50_000)
  await partial.write(50_000, lent(content.subarray(50_000, 51_000)))
  const buffer = Buffer.alloc(chunk)
  assert.equal(await view.read(buffer, 50_000), chunk)
  assertSameBytes(buffer, content.subarray(50_000, 51_000))
})

test('two writes of the same bytes that wait for room: one of them comes in', async () => {
  const partial = open(2000)
  await using view = partial.view()
  await partial.write(0, lent(content.subarray(0, 2000)))
  const writes = [1, 2].map(() => partial.write(2000, lent(content.subarray(2000, 3000))))
  await settled()
  const buffer = Buffer.alloc(2000)
  await view.read(buffer, 0)
  await view.read(buffer, 2000)
  await Promise.all(writes)
  assert.deepEqual([partial.hashedUntil, partial.present.total], [3000, 3000])
})

test('to verify waits for what is being written', async () => {
  const partial = open(content.length)
  const writing = partial.write(0, lent(content))
  await partial.verify(digest)
  await writing
})

test('bytes that came before are skipped, a hole is an error', async () => {
  const partial = open(content.length)
  await partial.write(0, lent(content.subarray(0, 2000)))
  await partial.write(1000, lent(content.subarray(1000, 3000)))
  await partial.write(0, lent(Buffer.alloc(500)))
  assert.equal(partial.hashedUntil, 3000)
  await assert.rejects(partial.write(3001, lent(content.subarray(3001, 4000))), RangeError)
  await partial.write(3000, lent(content.subarray(3000)))
  await partial.verify(digest)
  await assert.rejects(partial.verify(digestOf(Buffer.from('other'))), { code: 'DIGEST_INVALID' })
  await partial.verify(digest)
})

for (const end of ['suspend', 'discard'] as const) {
  test(`${end}: a write that waits rejects with the reason, and what is held is still read`, async () => {
    const partial = open(2000)
    await using view = partial.view()
    await partial.write(0, lent(content.subarray(0, 2000)))
    const waiting = partial.write(2000, lent(content.subarray(2000, 3000)))
    const reason = new Error('the fill failed')
    const rejected = assert.rejects(waiting, (error) => error === reason)
    await partial[end](reason)
    await rejected
    assert.equal(await view.read(Buffer.alloc(5000), 0), 2000)
    await assert.rejects(partial.write(2000, lent(content.subarray(2000))), (error) => error === reason)
    assert.throws(() => partial.view(), /ended/)
  })
}

test('nothing of it can be kept: a seal is an error', async () => {
  const partial = open(content.length)
  await partial.write(0, lent(content))
  await assert.rejects(partial.seal(), /cannot be sealed/)
})
