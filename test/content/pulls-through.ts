import assert from 'node:assert/strict'
import type { Blobs } from '../../src/content/blobs.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { good } from './scripted-source.ts'

export const size = 6_000_000
export const content = testBytes(size, 71)
export const digest = digestOf(content)
export const half = 3_000_000

/** Reads from `from` to the end as a client does, and waits until all of it is known to be right. */
export async function takes(reader: BlobReader, from = 0, before: Buffer = Buffer.alloc(0)): Promise<void> {
  const bytes = Buffer.concat([before, await readAll(reader, from + before.length)])
  await reader.verified()
  assert.equal(reader.isVerified, true)
  await reader[Symbol.asyncDispose]()
  assertSameBytes(bytes, content.subarray(from))
}

/**
 * One who follows the front, one in the middle of the first half, one far ahead and one who waits for the first byte, while
 * `failed` becomes true; after that one who comes late, if that is to be. All of them have to get all bytes.
 */
export async function pullsThrough(blobs: Blobs, failed: () => boolean, { isLate }: { isLate: boolean }) {
  const [begun, joined] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const source = good('x/x', content, async (at) => {
    if (at >= half) await begun.promise
    if (at >= size - half / 2) await joined.promise
  })
  const open = async () => (await blobs.open(digest, source, { size })).reader
  const [front, slow, ahead] = await Promise.all([open(), open(), open()])
  const [following, reading] = [takes(front), takes(ahead, 5_000_000)]
  const before = Buffer.alloc(100_000)
  for (let at = 0; at < before.length; ) at += await slow.read(before.subarray(at), at)
  begun.resolve()
  if (isLate) await until(failed)
  const late = isLate ? takes(await open()) : undefined
  joined.resolve()
  await Promise.all([following, reading, takes(slow, 0, before), late])
  await until(() => blobs.fillCount === 0)
  return source
}
