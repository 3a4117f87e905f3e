// What is stored here as a way to bytes. Neighbours that were thought of: from the start, the middle, the end; a blob that
// is gone; a file that became shorter; a disk that cannot be read; left in the middle, not read at all.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Source } from '../../src/content/source.ts'
import { storedSource } from '../../src/content/stored-source.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import { StorageError } from '../../src/storage/error.ts'
import { assertSameBytes, testBytes } from '../storage/files/storage-folder.ts'
import { collect } from '../upstream/fixtures.ts'

const bytes = testBytes(600_000, 91)

/** A reader of the bytes, or of as many as are `left` of them. */
function storedBytes({ left = bytes.length, fails }: { left?: number; fails?: Error } = {}) {
  let closed = 0
  const reader: BlobReader = {
    size: bytes.length,
    isVerified: true,
    verified: async () => {},
    async read(buffer, position) {
      if (fails) throw fails
      return bytes.subarray(0, left).copy(buffer, 0, position)
    },
    async [Symbol.asyncDispose]() {
      closed += 1
    },
  }
  const pieces = new Pieces({ isChecked: true })
  after(() => pieces[Symbol.dispose]())
  return { source: storedSource(async () => reader, pieces), closed: () => closed }
}

function openAt(source: Source, position: number) {
  const turn = { clients: [], receivingSince: undefined, bytes: 0, restingMs: 0, end: () => false }
  return source.open(position, { since: 0, signal: new AbortController().signal, turn })
}

async function read(source: Source, position: number): Promise<Buffer> {
  return collect((await openAt(source, position)).body())
}

test('it gives the rest from any position, and closes the file', async () => {
  for (const position of [0, 1, 300_000, bytes.length - 1, bytes.length]) {
    const { source, closed } = storedBytes()
    assertSameBytes(await read(source, position), bytes.subarray(position))
    assert.equal(closed(), 1)
  }
})

test('a file that became shorter ends in an error, not in nothing for ever', async () => {
  const { source, closed } = storedBytes({ left: 300_000 })
  await assert.rejects(read(source, 0), { code: 'UNREACHABLE' })
  assert.equal(closed(), 1)
})

test('a disk that cannot be read is the failure of this way, not of the disk that is written to', async () => {
  const { source, closed } = storedBytes({ fails: new StorageError('BROKEN', 'a bad sector') })
  await assert.rejects(read(source, 0), { code: 'UNREACHABLE', message: /a bad sector/ })
  assert.equal(closed(), 1)
  const gone = storedSource(async () => undefined, new Pieces())
  await assert.rejects(openAt(gone, 0), { code: 'NOT_FOUND' })
})

test('who stops it gets what was read, and who does not read it closes the file', async () => {
  const { source, closed } = storedBytes()
  const span = await openAt(source, 0)
  let pieces = 0
  for await (const _ of span.body()) {
    pieces += 1
    span.stop()
  }
  assert.deepEqual([pieces, closed()], [1, 1])
  ;(await openAt(source, 0)).discard()
  assert.equal(closed(), 2)
})
