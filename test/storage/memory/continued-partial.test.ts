// Neighbours that were thought of: nothing on the disk yet, all of it, runs behind holes; hashed or not when it failed;
// readers before, in and behind the file's end, early and late; bytes that were lost or cannot be read, found before
// they were hashed, after that, and after the blob was verified.

import assert from 'node:assert/strict'
import { afterEach, suite, test } from 'node:test'
import fc from 'fast-check'
import { createDigestHash, digestOf } from '../../../src/oci/digest.ts'
import { StorageError } from '../../../src/storage/error.ts'
import { ContinuedPartial } from '../../../src/storage/memory/continued-partial.ts'
import { WindowPartial } from '../../../src/storage/memory/window-partial.ts'
import type { PartialRemains, PartialView } from '../../../src/storage/partial.ts'
import { type ByteInterval, Ranges } from '../../../src/storage/ranges.ts'
import { InlineHash } from '../../../src/storage/running-hash.ts'
import { assertReleased, lent } from '../../support/lent.ts'
import { assertSameBytes, testBytes } from '../files/storage-folder.ts'
import { partialContract } from '../partial.contract.ts'

const content = testBytes(100_000, 9)
const digest = digestOf(content)
const chunk = 1000
const settled = () => new Promise(setImmediate)

const opened: ContinuedPartial[] = []
afterEach(async () => {
  for (const partial of opened.splice(0)) await partial.discard(new Error('the end'))
  assertReleased()
})

interface Left {
  /** What the file has. */
  readonly runs: readonly ByteInterval[]
  /** Bytes of the prefix that were hashed. */
  readonly hashed?: number
  readonly capacity?: number
  readonly bytes?: Uint8Array
  readonly isHashDoubtful?: boolean
}

/** A partial that goes on where a disk has failed; `file` is what the disk has, `unreadable` from where on it fails. */
function scene({ runs, hashed, capacity = 10_000, bytes = content, isHashDoubtful = false }: Left) {
  const present = new Ranges()
  const file = Buffer.alloc(bytes.length)
  for (const { start, end } of runs) {
    present.add(start, end)
    file.set(bytes.subarray(start, end), start)
  }
  const state = { open: 1, unreadable: Number.POSITIVE_INFINITY, reads: 0 }
  const hashedUntil = hashed ?? present.presentUntil(0)
  const hash = () =>
    new InlineHash('sha256', createDigestHash('sha256').update(bytes.subarray(0, hashedUntil)))
  const close = async () => {
    state.open -= 1
  }
  const remains: PartialRemains = {
    present,
    hashedUntil,
    isHashDoubtful,
    hash,
    view: () => {
      if (state.open === 0) throw new Error('closed')
      state.open += 1
      return {
        async read(buffer, position) {
          state.reads += 1
          await settled()
          const end = Math.min(present.presentUntil(position), position + buffer.length)
          if (end > state.unreadable) throw new StorageError('BROKEN', 'i/o error')
          buffer.set(file.subarray(position, end))
          return end - position
        },
        [Symbol.asyncDispose]: close,
      }
    },
    [Symbol.asyncDispose]: close,
  }
  const before = { bytes: hashedUntil, hash: hash() }
  const window = new WindowPartial({ id: 'c', algorithm: 'sha256', capacity, before })
  const partial = new ContinuedPartial({ remains, window, algorithm: 'sha256' })
  opened.push(partial)
  return { partial, file, state }
}

/** Writes what is missing, as a fill does. */
async function writeMissing(partial: ContinuedPartial): Promise<number> {
  let written = 0
  await partial.settled()
  for (
    let gap = partial.present.firstGap(content.length);
    gap;
    gap = partial.present.firstGap(content.length)
  ) {
    const end = Math.min(gap.start + chunk, gap.end)
    await partial.write(gap.start, lent(content.subarray(gap.start, end)))
    written += end - gap.start
  }
  return written
}

/** Reads to the end as who follows does: again after a while where nothing is there; and stays until all is verified. */
async function follow(
  view: PartialView,
  { from = 0, pieceSize, verified }: { from?: number; pieceSize: number; verified?: Promise<void> },
): Promise<void> {
  const buffer = Buffer.alloc(pieceSize)
  for (let at = from; at < content.length; ) {
    const count = await view.read(buffer, at)
    assertSameBytes(buffer.subarray(0, count), content.subarray(at, at + count), `bytes at ${at}`)
    at += count
    if (count === 0) await settled()
  }
  await verified
  while (view.recheck) await view.recheck()
  await view[Symbol.asyncDispose]()
}

for (const end of [0, 70_000]) {
  // The window has to hold all that comes: in the contract there are no readers that take it.
  suite(`ContinuedPartial, ${end} bytes on the disk`, () =>
    partialContract(async () => {
      const bytes = testBytes(300_000, 7)
      return scene({ runs: [{ start: 0, end }], capacity: 400_000, bytes }).partial
    }))
}

test('any runs on the disk, hashed or not; readers from anywhere: all get all bytes, and only what is missing is written', async () => {
  const run = fc.record({ start: fc.nat(content.length - 1), length: fc.integer({ min: 1, max: 40_000 }) })
  const reader = fc.record({ from: fc.nat(content.length), pieceSize: fc.integer({ min: 300, max: 5000 }) })
  const readers = fc.array(reader, { minLength: 1, maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(fc.array(run, { maxLength: 5 }), readers, fc.nat(100), async (taken, wanting, share) => {
      const runs = taken.map(({ start, length }) => ({
        start,
        end: Math.min(content.length, start + length),
      }))
      const present = new Ranges()
      for (const { start, end } of runs) present.add(start, end)
      const hashed = Math.floor((present.presentUntil(0) * share) / 100)
      const { partial, state } = scene({ runs, hashed })
      const views = wanting.map(({ from, pieceSize }) => ({ view: partial.view(from), from, pieceSize }))
      const verified = writeMissing(partial).then(async (written) => {
        assert.equal(written, content.length - present.total)
        await partial.verify(digest)
      })
      await Promise.all(views.map(({ view, ...how }) => follow(view, { ...how, verified })))
      await partial.discard(new Error('the end'))
      assert.equal(state.open, 0, 'the file is closed')
    }),
    { numRuns: 40 },
  )
})

test('who comes later gets the first byte until the window has let one go', async () => {
  const { partial } = scene({ runs: [{ start: 0, end: 50_000 }] })
  await using first = partial.view(50_000)
  await partial.write(50_000, lent(content.subarray(50_000, 51_000)))
  assert.equal(partial.keptFrom, 0)
  await using late = partial.view()
  const buffer = Buffer.alloc(chunk)
  assert.equal(await first.read(buffer, 50_000), chunk)
  assert.equal(await first.read(buffer, 51_000), 0)
  assert.equal(partial.keptFrom, 0, 'the late one still needs it')
  assert.equal(await late.read(buffer, 51_000), 0)
  assert.equal(partial.keptFrom, 51_000)
})

test('a byte that the disk has lost since is found before anybody who read it is told that all is right', async () => {
  const { partial, file, state } = scene({ runs: [{ start: 0, end: 50_000 }], capacity: 100_000 })
  await using view = partial.view()
  await using earlier = partial.view(0, true)
  await using other = partial.view(50_000)
  await view.read(Buffer.alloc(1000), 0)
  file[49_999] = 1 + (file[49_999] ?? 0)
  await writeMissing(partial)
  // What was hashed on its way in is right, and so is what comes from memory.
  await partial.verify(digest)
  assert.equal(other.recheck, undefined)
  assert.equal(await other.read(Buffer.alloc(1000), 50_000), 1000)
  assert.equal(other.recheck, undefined)
  assert.ok(view.recheck && earlier.recheck)
  for (const { recheck } of [view, earlier]) await assert.rejects(async () => recheck?.(), { code: 'BROKEN' })
  // Who comes now would have to read it.
  assert.equal(partial.keptFrom, 50_000)
  const { reads } = state
  // It reads as it should again: who was told once is not to rely on it.
  file[49_999] = (file[49_999] ?? 0) - 1
  await assert.rejects(view.recheck(), { code: 'BROKEN' })
  await assert.rejects(view.read(Buffer.alloc(1000), 0), { code: 'BROKEN' })
  assert.equal(state.reads, reads)
})

test('a wrong digest of what was read back from a disk that failed is the disk’s trouble', async () => {
  for (const isHashDoubtful of [false, true]) {
    const wrong = Buffer.from(content)
    wrong[10] = 1 + (wrong[10] ?? 0)
    const { partial } = scene({
      runs: [{ start: 0, end: 50_000 }],
      capacity: 100_000,
      bytes: wrong,
      isHashDoubtful,
    })
    await writeMissing(partial)
    const code = isHashDoubtful ? 'BROKEN' : 'DIGEST_INVALID'
    await assert.rejects(partial.verify(digest), { code })
  }
})

test('a byte that is lost after the blob was verified is found by whoever read from the disk after that', async () => {
  const { partial, file, state } = scene({ runs: [{ start: 0, end: 50_000 }], capacity: 100_000 })
  await using done = partial.view()
  await using late = partial.view()
  await done.read(Buffer.alloc(1000), 0)
  await writeMissing(partial)
  await partial.verify(digest)
  assert.deepEqual([done.recheck, late.recheck], [undefined, undefined])
  file[10] = 1 + (file[10] ?? 0)
  await late.read(Buffer.alloc(1000), 0)
  assert.equal(done.recheck, undefined, 'what it read was right')
  assert.ok(late.recheck)
  await assert.rejects(late.recheck(), { code: 'BROKEN' })
  // What is only read from memory needs no look at the disk.
  const reads = state.reads
  await done.read(Buffer.alloc(1000), 60_000)
  assert.deepEqual([state.reads, done.recheck], [reads, undefined])
})

test('a reading that ends while the file is being hashed counts for the next time', async () => {
  const { partial, file } = scene({ runs: [{ start: 0, end: 50_000 }], capacity: 100_000 })
  await using view = partial.view()
  await writeMissing(partial)
  const verifying = partial.verify(digest)
  await settled()
  const reading = view.read(Buffer.alloc(1000), 0)
  await Promise.all([verifying, reading])
  assert.ok(view.recheck)
  file[10] = 1 + (file[10] ?? 0)
  await assert.rejects(view.recheck(), { code: 'BROKEN' })
})

test('a hundred readers at once: the file is hashed twice more at most', async () => {
  const { partial, state } = scene({ runs: [{ start: 0, end: 50_000 }], capacity: 100_000 })
  await writeMissing(partial)
  await partial.verify(digest)
  const views = Array.from({ length: 100 }, () => partial.view())
  await Promise.all(views.map((view) => view.read(Buffer.alloc(1000), 0)))
  const before = state.reads
  await Promise.all(views.map((view) => view.recheck?.()))
  assert.ok(state.reads - before <= 2, String(state.reads - before))
  assert.ok(views.every(({ recheck }) => recheck === undefined))
})

test('what the disk cannot read of what was not hashed yet is missing, and is written', async () => {
  for (const [hashed, unreadable] of [
    [20_000, 30_000],
    [0, 0],
    [50_000, 80_000],
  ] as const) {
    const runs = [{ start: 0, end: 50_000 }, { start: 70_000, end: 90_000 }] // biome-ignore format: one case a line
    const { partial, state } = scene({ runs, hashed, capacity: 100_000 })
    state.unreadable = unreadable
    await using view = partial.view()
    await writeMissing(partial)
    assert.equal(partial.present.total, content.length)
    state.unreadable = Number.POSITIVE_INFINITY
    await follow(view, { pieceSize: 3000 })
    await partial.verify(digest)
  }
})

test('wrong bytes: of the upstream where all was hashed on its way in, else nobody knows whose they are', async () => {
  for (const [hashed, error] of [
    [50_000, { name: 'RegistryError', code: 'DIGEST_INVALID' }],
    [20_000, { name: 'StorageError', code: 'BROKEN' }],
  ] as const) {
    const { partial } = scene({ runs: [{ start: 0, end: 50_000 }], hashed, capacity: 100_000 })
    await partial.write(50_000, lent(Buffer.alloc(50_000)))
    await assert.rejects(partial.verify(digest), error)
  }
})

test('bytes that leave a hole are refused; those of the file are left alone', async () => {
  const { partial } = scene({ runs: [{ start: 0, end: 50_000 }], capacity: 100_000 })
  await assert.rejects(partial.write(50_001, lent(content.subarray(50_001, 60_000))), RangeError)
  await partial.write(0, lent(Buffer.concat([Buffer.alloc(50_000), content.subarray(50_000)])))
  await partial.verify(digest)
})

for (const end of ['suspend', 'discard'] as const) {
  test(`${end}: a write that waits rejects, what is here is read on, and the file is closed by the last one`, async () => {
    const { partial, state } = scene({ runs: [{ start: 0, end: 50_000 }], capacity: 2000 })
    const view = partial.view()
    await partial.write(50_000, lent(content.subarray(50_000, 52_000)))
    const reason = new Error('the fill failed')
    const rejected = assert.rejects(
      partial.write(52_000, lent(content.subarray(52_000, 53_000))),
      (error) => error === reason,
    )
    await settled()
    await partial[end](reason)
    await rejected
    for (const at of [0, 49_000, 50_000, 51_000])
      assert.equal(await view.read(Buffer.alloc(chunk), at), chunk)
    assert.throws(() => partial.view(), /ended/)
    assert.equal(state.open, 1)
    await view[Symbol.asyncDispose]()
    assert.equal(state.open, 0)
  })
}

test('nothing of it can be kept: seal and detach are errors', async () => {
  const { partial } = scene({ runs: [{ start: 0, end: content.length }] })
  await partial.verify(digest)
  await assert.rejects(partial.seal(), /cannot be sealed/)
  await assert.rejects(partial.detach(), /nothing of it remains/)
})
