// Files that grow, hashed by another thread. Neighbours that were thought of: bytes in order, in any order, in pieces of a
// few bytes; a thread that ends before, while and after it is asked; a file that became shorter; a hash that goes on twice;
// a thread that nobody needs; a process that has time.

import assert from 'node:assert/strict'
import { type FileHandle, open, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { delay } from '../../../src/flow/abortable.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { PrefixHash } from '../../../src/storage/files/prefix-hash.ts'
import {
  PrefixThread,
  type PrefixThreadOptions,
  ThreadEnded,
} from '../../../src/storage/files/prefix-thread.ts'
import { Ranges } from '../../../src/storage/ranges.ts'
import { storageFolder, testBytes } from './storage-folder.ts'

const content = testBytes(6_000_000)
const digest = digestOf(content)
const always: PrefixThreadOptions = { leastBytes: 1, busyFrom: 0 }

/** A file with the content, and a thread. */
async function scene(t: TestContext, options = always) {
  const path = join(await storageFolder(t), 'file')
  await writeFile(path, content)
  const file = await open(path, 'r+')
  const thread = new PrefixThread(options)
  t.after(async () => {
    await thread[Symbol.asyncDispose]()
    await file.close()
  })
  return { path, file, thread }
}

/** Tells a hash of all bytes, `step` at a time. */
function advanceAll(hash: PrefixHash, step: number, present = new Ranges()): void {
  for (let at = 0; at < content.length; at += step) {
    const end = Math.min(at + step, content.length)
    present.add(at, end)
    hash.advance(at, content.subarray(at, end), present)
  }
}

async function digestBy(file: FileHandle, thread: PrefixThread, step: number) {
  using hash = new PrefixHash(file, 'sha256', thread)
  advanceAll(hash, step)
  await hash.settled()
  assert.equal(hash.hashedUntil, content.length)
  return hash.digest()
}

test('what is written in order is hashed by the thread, several files at once, whatever it comes in', async (t) => {
  const { file, thread } = await scene(t)
  const begin = t.mock.method(thread, 'begin')
  const steps = [content.length, 500_000, 65_536, 7001]
  const digests = await Promise.all(steps.map((step) => digestBy(file, thread, step)))
  assert.deepEqual(digests, [digest, digest, digest, digest])
  assert.equal(begin.mock.callCount(), 4)
})

test('pieces in any order end in the digest of the whole', async (t) => {
  const { file, thread } = await scene(t)
  const cuts = [0, 1, 700_000, 2_000_000, 2_000_001, 4_500_000, content.length]
  const pieces = cuts.slice(1).map((end, index) => [cuts[index] ?? 0, end] as const)
  const order = fc.shuffledSubarray(pieces, { minLength: pieces.length })
  await fc.assert(
    fc.asyncProperty(order, fc.nat(pieces.length), async (shuffled, pause) => {
      using hash = new PrefixHash(file, 'sha256', thread)
      const present = new Ranges()
      for (const [index, [start, end]] of shuffled.entries()) {
        present.add(start, end)
        hash.advance(start, content.subarray(start, end), present)
        if (index === pause) await hash.settled()
      }
      await hash.settled()
      assert.equal(await hash.digest(), digest)
    }),
    { numRuns: 30 },
  )
})

test('a copy of it goes on by itself, with bytes that are in no file', async (t) => {
  const { file, thread } = await scene(t)
  using hash = new PrefixHash(file, 'sha256', thread)
  const present = new Ranges()
  present.add(0, 2_000_000)
  hash.advance(0, content.subarray(0, 2_000_000), present)
  await hash.settled()
  using one = hash.copy()
  using other = one.copy()
  await one.update(content.subarray(2_000_000))
  await other.update(Buffer.from('x'))
  assert.equal(await one.digest(), digest)
  assert.equal(
    await other.digest(),
    digestOf(Buffer.concat([content.subarray(0, 2_000_000), Buffer.from('x')])),
  )
  assert.equal(await hash.digest(), digestOf(content.subarray(0, 2_000_000)))
})

for (const when of ['before it is asked', 'while it works', 'before the digest'] as const) {
  test(`a thread that ends ${when}: the file is hashed without it`, async (t) => {
    const { file, thread } = await scene(t)
    using hash = new PrefixHash(file, 'sha256', thread)
    const present = new Ranges()
    present.add(0, 1000)
    hash.advance(0, content.subarray(0, 1000), present)
    if (when === 'before it is asked') await thread[Symbol.asyncDispose]()
    advanceAll(hash, 500_000, present)
    const settled = hash.settled()
    if (when === 'while it works') await thread[Symbol.asyncDispose]()
    await settled
    if (when === 'before the digest') await thread[Symbol.asyncDispose]()
    assert.equal(await hash.digest(), digest)
    assert.equal(hash.hashedUntil, content.length)
    // It is not tried again for this one; the next one has another thread.
    assert.equal(await digestBy(file, thread, 500_000), digest)
  })
}

test('a copy whose thread has ended says so', async (t) => {
  const { file, thread } = await scene(t)
  using hash = new PrefixHash(file, 'sha256', thread)
  advanceAll(hash, 500_000)
  await hash.settled()
  using copy = hash.copy()
  await thread[Symbol.asyncDispose]()
  await assert.rejects(copy.update(Buffer.from('x')), ThreadEnded)
  await assert.rejects(copy.digest(), ThreadEnded)
})

test('a file that became shorter is told by settled', async (t) => {
  const { path, file, thread } = await scene(t)
  await truncate(path, 2_500_000)
  using hash = new PrefixHash(file, 'sha256', thread)
  advanceAll(hash, 500_000)
  await assert.rejects(hash.settled(), { code: 'BROKEN', message: /shorter/ })
  assert.equal(hash.hashedUntil, 2_500_000)
})

test('a file that cannot be read is told with what the system said', async (t) => {
  const { path, thread } = await scene(t)
  await using writable = await open(path, 'a')
  using hash = new PrefixHash(writable, 'sha256', thread)
  advanceAll(hash, 500_000)
  await assert.rejects(hash.settled(), { code: 'EBADF', syscall: 'read' })
})

test('who writes faster than it hashes waits', async (t) => {
  const { file, thread } = await scene(t)
  using hash = new PrefixHash(file, 'sha256', thread)
  const present = new Ranges()
  present.add(0, 1)
  hash.advance(0, content.subarray(0, 1), present)
  // Far behind what there is; the file is full of holes there.
  await file.truncate(40_000_000)
  present.add(1, 40_000_000)
  hash.advance(1, content.subarray(1), present)
  await hash.nearlySettled()
  assert.equal(hash.hashedUntil, 40_000_000)
})

test('a thread that ended for want of work is back for the next file', async (t) => {
  const { file, thread } = await scene(t, { ...always, idleMs: 1 })
  for (let times = 0; times < 9; times += 1) {
    assert.equal(await digestBy(file, thread, 500_000), digest)
    // Before it ends, while it does, and after.
    await delay(times % 3)
  }
})

test('a process that has time, and a small file, need no thread', async (t) => {
  const { file, thread } = await scene(t, { leastBytes: 1, busyFrom: 2 })
  const begin = t.mock.method(thread, 'begin')
  assert.equal(await digestBy(file, thread, 500_000), digest)
  const small = new PrefixThread({ leastBytes: content.length + 1, busyFrom: 0 })
  assert.equal(await digestBy(file, small, 500_000), digest)
  assert.equal(begin.mock.callCount(), 0)
})
