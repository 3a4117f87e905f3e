// A body of which nobody tells where it ends. Neighbours that were thought of: its client leaves before the first byte,
// in the middle; somebody else waits; it ends after all; the disk fills up; a descriptor tells the size.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { lending } from '../support/lent.ts'
import { until } from '../support/settle.ts'
import { blobsOver, type ScriptedSource, scripted } from './scripted-source.ts'

const content = testBytes(1_000_000, 91)
const digest = digestOf(content)

/** Sends zeros for ever. */
function endless(): ScriptedSource {
  const source = scripted('endless/x', () => ({ bytes: content }))
  const piece = Buffer.alloc(1024 * 1024)
  source.open = async (position, { signal }) => {
    let isStopped = false
    return {
      start: position,
      size: undefined,
      async *body() {
        while (!isStopped && !signal.aborted) {
          await new Promise(setImmediate)
          source.given += piece.length
          yield* lending(piece)
        }
        signal.throwIfAborted()
      },
      stop: () => {
        isStopped = true
      },
      discard: () => {},
    }
  }
  return source
}

test('all clients of an endless body have left: it ends, and what came is kept', async (t) => {
  const store = new MemoryBlobStore()
  const blobs = blobsOver(t, store)
  const source = endless()
  const [one, other] = [new AbortController(), new AbortController()]
  const openings = Promise.allSettled(
    [one, other].map(({ signal }) => blobs.open(digest, source, { signal })),
  )
  await until(() => source.given > 20_000_000)
  one.abort()
  const before = source.given
  await until(() => source.given > before + 5_000_000)
  other.abort()
  await until(() => blobs.fillCount === 0)
  assert.deepEqual(
    (await openings).map(({ status }) => status),
    ['rejected', 'rejected'],
  )
  assert.equal((await store.partials.list()).length, 1)
})

test('all have left an endless body of which the source told a size: it ends not far behind that', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const source = Object.assign(endless(), { size: async () => 30_000_000 })
  const { reader } = await blobs.open(digest, source)
  await reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  assert.ok(source.given > 30_000_000 && source.given < 60_000_000, String(source.given))
})

test('an endless body is bounded by the room on the disk', async (t) => {
  const store = new MemoryBlobStore()
  store.room = async () => {
    const [partial] = await store.partials.list()
    return { bytes: 100_000_000 - (partial?.bytes ?? 0), files: { free: 0, total: 0 } }
  }
  const blobs = blobsOver(t, store)
  const source = endless()
  await assert.rejects(blobs.open(digest, source))
  await until(() => blobs.fillCount === 0)
  assert.ok(source.given <= 120_000_000, String(source.given))
  assert.deepEqual(await store.partials.list(), [])
})

test('a body without a size that does end is brought to its end, although its client has left', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const gate = Promise.withResolvers<void>()
  const source = scripted('x/x', () => ({
    bytes: content,
    pause: async (at) => {
      if (at === 500_000) await gate.promise
    },
  }))
  const leaving = new AbortController()
  const opening = blobs.open(digest, source, { signal: leaving.signal })
  await until(() => source.given === 500_000)
  leaving.abort()
  await assert.rejects(opening)
  gate.resolve()
  await until(() => blobs.fillCount === 0)
  const { reader } = await blobs.open(digest, source)
  assertSameBytes(await readAll(reader), content)
  await reader[Symbol.asyncDispose]()
  assert.deepEqual(source.asked, [0])
})

test('an endless body under a size that a descriptor claims ends there, and its bytes are wrong', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const source = endless()
  const size = 3_000_000
  const { reader } = await blobs.open(digest, source, { size })
  await assert.rejects(reader.verified())
  await reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  // Once more from nothing, with the claim given up; and its end with the client.
  assert.ok(source.given < 100_000_000, String(source.given))
})

test('the client of an endless body leaves before it is known to be one: it ends all the same', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const source = endless()
  const leaving = new AbortController()
  const opening = blobs.open(digest, source, { signal: leaving.signal })
  await until(() => source.given > 0)
  leaving.abort()
  await assert.rejects(opening)
  await until(() => blobs.fillCount === 0)
  assert.ok(source.given < 40_000_000, String(source.given))
})
