import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { BlobReader } from '../../../src/storage/blob-reader.ts'

/** An empty folder, removed after the test. */
export async function storageFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-storage-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Bytes that look random and are the same for the same seed, so that another process can make them too. */
export function testBytes(size: number, seed = 1): Buffer {
  const words = new Uint32Array(Math.ceil(size / 4))
  let state = (seed * 2654435761) >>> 0 || 1
  for (let i = 0; i < words.length; i += 1) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[i] = state
  }
  return Buffer.from(words.buffer, 0, size)
}

/** Reads from `start` to the end in pieces of at most `pieceSize` bytes. */
export async function readAll(
  reader: Pick<BlobReader, 'read'>,
  start = 0,
  pieceSize = 65_536,
): Promise<Buffer> {
  const pieces: Buffer[] = []
  for (let position = start; ; ) {
    const buffer = Buffer.alloc(pieceSize)
    const count = await reader.read(buffer, position)
    if (count === 0) return Buffer.concat(pieces)
    pieces.push(buffer.subarray(0, count))
    position += count
  }
}

/** Compares bytes without printing megabytes where they differ. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array, what = 'bytes'): void {
  assert.equal(actual.length, expected.length, `length of ${what}`)
  if (Buffer.compare(actual, expected) === 0) return
  const at = actual.findIndex((byte, index) => byte !== expected[index])
  assert.fail(`${what} differ first at ${at}: ${actual[at]}, not ${expected[at]}`)
}

/** All files below `folder`, as sorted paths relative to it. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .toSorted()
}
