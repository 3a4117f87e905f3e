// Several connections that bring one blob. Neighbours that were thought of: which of them fails, which is left alone, what
// the upstream makes of ranges from then on; who wants which part of the blob, and by whose word it is how large.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { blobsOver, scripted } from './scripted-source.ts'

const content = testBytes(400_000, 71)
const digest = digestOf(content)
const size = content.length
const fetching = { firstSpan: 100_000, firstSpanOfLongWay: 100_000, smallestSpan: 10_000, smallBlob: 0 }

test('the first connection breaks, and the upstream ignores ranges from then on: it is asked once more, not for ever', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore(), { fetching, retries: 3 })
  const isAhead = Promise.withResolvers<void>()
  const source = scripted('x/x', (position, _query, nth) => {
    if (nth > 20) throw new Error('it is asked for ever')
    if (nth > 2) return { start: 0, size, bytes: content }
    if (position > 0) return { size, bytes: content, pause: async () => isAhead.resolve() }
    return {
      size,
      bytes: content,
      until: 60_000,
      pause: async (at) => (at >= 40_000 ? isAhead.promise : undefined),
    }
  })
  const opened = await Promise.all([
    blobs.open(digest, source, { size }),
    blobs.open(digest, source, { size, ranges: [{ start: 300_000, end: 400_000 }] }),
  ])
  const [whole, part] = await Promise.all([readAll(opened[0].reader), readAll(opened[1].reader, 300_000)])
  assertSameBytes(whole, content)
  assertSameBytes(part, content.subarray(300_000))
  for (const { reader } of opened) await reader[Symbol.asyncDispose]()
})

test('who was told too small a size by a source hears of it, also where nothing is finished that nobody reads', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore(), { fetching, finishFrom: 2 })
  const source = scripted('x/x', (_position, _query, nth) =>
    nth === 1 ? { size: size - 7, bytes: content, until: 150_000 } : { size, bytes: content },
  )
  const { reader } = await blobs.open(digest, source)
  assert.equal(reader.size, size - 7)
  await readAll(reader)
  await assert.rejects(reader.verified({ signal: AbortSignal.timeout(60_000) }), /was said to have 399993/)
  await reader[Symbol.asyncDispose]()
})

test('a part of a small blob has all of it brought, which is verified first, also where nothing is finished that nobody reads', async (t) => {
  const small = content.subarray(0, 5000)
  for (const claim of [small.length, undefined]) {
    const blobs = blobsOver(t, new MemoryBlobStore(), { fetching, finishFrom: 2 })
    const range = { start: 2000, end: 3000 }
    const source = scripted('x/x', () => ({ size: small.length, bytes: small }))
    const signal = AbortSignal.timeout(60_000)
    const { reader } = await blobs.open(digestOf(small), source, { size: claim, ranges: [range], signal })
    assertSameBytes((await readAll(reader)).subarray(2000, 3000), small.subarray(2000, 3000))
    await reader[Symbol.asyncDispose]()
  }
})
