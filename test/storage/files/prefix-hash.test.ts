import assert from 'node:assert/strict'
import { open, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { digestOf } from '../../../src/oci/digest.ts'
import { PrefixHash } from '../../../src/storage/files/prefix-hash.ts'
import { Ranges } from '../../../src/storage/ranges.ts'
import { storageFolder, testBytes } from './storage-folder.ts'

const size = 3_000_000
const content = testBytes(size)

/** A file with the content, and the hash of its prefix. */
async function hashedFile(t: TestContext, algorithm: 'sha256' | 'sha512' = 'sha256') {
  const path = join(await storageFolder(t), 'file')
  await writeFile(path, content)
  const file = await open(path, 'r+')
  t.after(() => file.close())
  return { path, file, hash: new PrefixHash(file, algorithm) }
}

function recordOf(start: number, end: number) {
  return { start, length: end - start, checksum: crc32(content.subarray(start, end)) }
}

/** Writes the pieces between the cuts in the given order, as a partial does. */
function advanceAll(hash: PrefixHash, present: Ranges, pieces: readonly (readonly [number, number])[]) {
  for (const [start, end] of pieces) {
    present.add(start, end)
    hash.advance(start, content.subarray(start, end), present)
  }
}

for (const algorithm of ['sha256', 'sha512'] as const) {
  test(`bytes in order are hashed as they come (${algorithm})`, async (t) => {
    const { file, hash } = await hashedFile(t, algorithm)
    const read = t.mock.method(file, 'read')
    const present = new Ranges()
    for (let at = 0; at < size; at += 500_000) advanceAll(hash, present, [[at, at + 500_000]])
    assert.equal(hash.hashedUntil, size)
    assert.equal(read.mock.callCount(), 0, 'nothing is read back')
    assert.equal(await hash.digest(), digestOf(content, algorithm))
  })
}

test('pieces in any order end in the digest of the whole', async (t) => {
  const { file } = await hashedFile(t)
  const cuts = [0, 1, 700_000, 1_000_000, 1_000_001, 2_500_000, size]
  const pieces = cuts.slice(1).map((end, index) => [cuts[index] ?? 0, end] as const)
  const order = fc.shuffledSubarray(pieces, { minLength: pieces.length })
  await fc.assert(
    fc.asyncProperty(order, fc.nat(pieces.length), async (shuffled, pause) => {
      const hash = new PrefixHash(file, 'sha256')
      const present = new Ranges()
      advanceAll(hash, present, shuffled.slice(0, pause))
      if (pause % 2 === 0) await hash.settled()
      advanceAll(hash, present, shuffled.slice(pause))
      await hash.settled()
      assert.equal(hash.hashedUntil, size)
      assert.equal(await hash.digest(), digestOf(content))
    }),
    { numRuns: 50 },
  )
})

test('a failure of the file while it catches up is told by settled', async (t) => {
  const { file, hash } = await hashedFile(t)
  const failure = Object.assign(new Error('i/o error'), { code: 'EIO' })
  t.mock.method(file, 'read', () => Promise.reject(failure))
  advanceAll(hash, new Ranges(), [
    [100, 200],
    [0, 100],
  ])
  await assert.rejects(hash.settled(), (error) => error === failure)
})

test('a file that became shorter is told by settled', async (t) => {
  const { path, hash } = await hashedFile(t)
  await truncate(path, 150)
  advanceAll(hash, new Ranges(), [
    [100, 200],
    [0, 100],
  ])
  await assert.rejects(hash.settled(), /shorter/)
})

test('recovery keeps what the journal vouches for and hashes the prefix', async (t) => {
  const { hash } = await hashedFile(t)
  const records = [recordOf(2_000_000, 2_500_000), recordOf(0, 1_500_000), recordOf(1_500_000, 1_600_000)]
  const present = await hash.recover(records)
  assert.deepEqual(
    [...present],
    [
      { start: 0, end: 1_600_000 },
      { start: 2_000_000, end: 2_500_000 },
    ],
  )
  assert.equal(hash.hashedUntil, 1_600_000)
  advanceAll(hash, present, [
    [1_600_000, 2_000_000],
    [2_500_000, size],
  ])
  await hash.settled()
  assert.equal(await hash.digest(), digestOf(content))
})

test('recovery drops a torn record, and the hash goes on without it', async (t) => {
  const { file, hash } = await hashedFile(t)
  await file.write(Buffer.from([1 + (content[150] ?? 0)]), 0, 1, 150)
  const present = await hash.recover([recordOf(0, 100), recordOf(100, 1_200_000), recordOf(1_200_000, size)])
  assert.deepEqual(
    [...present],
    [
      { start: 0, end: 100 },
      { start: 1_200_000, end: size },
    ],
  )
  await file.write(content, 100, 1_199_900, 100)
  advanceAll(hash, present, [[100, 1_200_000]])
  await hash.settled()
  assert.equal(await hash.digest(), digestOf(content))
})

test('recovery of a truncated file vouches for nothing behind its end', async (t) => {
  const { path, hash } = await hashedFile(t)
  await truncate(path, 1_000_000)
  const present = await hash.recover([
    recordOf(0, 900_000),
    recordOf(900_000, 1_100_000),
    recordOf(2e6, size),
  ])
  assert.deepEqual([...present], [{ start: 0, end: 900_000 }])
  assert.equal(hash.hashedUntil, 900_000)
})

test('records that overlap, as several recoveries leave them: the whole prefix is hashed', async (t) => {
  const { hash } = await hashedFile(t)
  // A run was torn, fetched again in other pieces, and then all of them are right once more.
  const records = [recordOf(0, 2_000_000), recordOf(0, 1_500_000), recordOf(1_500_000, size)]
  const present = await hash.recover(records)
  assert.equal(present.total, size)
  await hash.settled()
  assert.equal(hash.hashedUntil, size)
  assert.equal(await hash.digest(), digestOf(content))
})

test('an i/o error at one record of an earlier process costs that record only', async (t) => {
  const { file, hash } = await hashedFile(t)
  const { read } = file
  const failure = Object.assign(new Error('i/o error'), { code: 'EIO' })
  t.mock.method(file, 'read', (buffer: Buffer, offset: number, length: number, position: number) =>
    position <= 150 && position + length > 150
      ? Promise.reject(failure)
      : Reflect.apply(read, file, [buffer, offset, length, position]),
  )
  const present = await hash.recover([recordOf(0, 100), recordOf(100, 200), recordOf(200, size)])
  assert.equal(present.presentUntil(0), 100)
  assert.equal(present.presentUntil(200), size)
  assert.equal(hash.hashedUntil, 100)
})

test('what else fails while the bytes of an earlier process are read is told, and costs none of them', async (t) => {
  const { file, hash } = await hashedFile(t)
  const failure = Object.assign(new Error('too many open files'), { code: 'EMFILE' })
  t.mock.method(file, 'read', () => Promise.reject(failure))
  await assert.rejects(hash.recover([recordOf(0, 100)]), failure)
})
