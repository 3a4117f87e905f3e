// A way that lies, and clients of an honest one. Neighbours that were thought of: the honest one comes during the first
// lie, during the second try, after the liar was caught; the liar's clients are gone, or wait; one who was wrong only
// once; an honest one that has nothing; small and large; the liar comes to an honest fill.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Blobs } from '../../src/content/blobs.ts'
import type { OpenedBlob } from '../../src/content/opened-blob.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { abortOf, blobsOver, good, type ScriptedSource, scripted } from './scripted-source.ts'

const content = testBytes(3_000_000, 81)
const rubbish = testBytes(3_000_000, 82)
const digest = digestOf(content)

/** Lies; from the try `from` on it stops in the middle, and never ends. */
function liarWhoStops(from: number): ScriptedSource {
  return scripted('liar/x', (_position, { signal }, nth) => ({
    size: content.length,
    bytes: rubbish,
    ...(nth >= from && {
      pause: async (at: number) => {
        if (at >= 1_000_000) await abortOf(signal)
      },
    }),
  }))
}

async function assertCut({ reader }: OpenedBlob): Promise<void> {
  await assert.rejects(readAll(reader).then(() => reader.verified()))
  await reader[Symbol.asyncDispose]()
}

async function assertGives({ reader }: OpenedBlob): Promise<void> {
  const bytes = await readAll(reader)
  await reader.verified()
  await reader[Symbol.asyncDispose]()
  assertSameBytes(bytes, content)
}

async function catchLiar(
  blobs: Blobs,
  liar = scripted('liar/x', () => ({ size: content.length, bytes: rubbish })),
) {
  await assertCut(await blobs.open(digest, liar))
  await until(() => blobs.fillCount === 0)
  return liar
}

test('a liar is being tried once more: who comes by an honest way is served by that, at once', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore(), { slowMs: 60_000 })
  const liar = liarWhoStops(2)
  await assertCut(await blobs.open(digest, liar))
  await until(() => liar.given > content.length)
  const honest = good('good/x', content)
  await assertGives(await blobs.open(digest, honest))
  assert.equal(honest.given, content.length)
})

test('a liar was caught and is asked again: who comes by an honest way does not get its bytes', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore(), { slowMs: 60_000 })
  const liar = liarWhoStops(3)
  await catchLiar(blobs, liar)
  const waiting = blobs.open(digest, liar)
  const victim = waiting.then(assertCut)
  await until(() => liar.asked.length === 3 && liar.given > 2 * content.length)
  const honest = good('good/x', content)
  await assertGives(await blobs.open(digest, honest))
  await victim
  await until(() => blobs.fillCount === 0)
  assert.equal(honest.given, content.length)
})

test('the liar comes to the fill of an honest way that is slow: it is not taken', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore(), { slowMs: 20 })
  const liar = await catchLiar(blobs)
  const before = liar.asked.length
  const honest = good('good/x', content, (at) =>
    at === 1_000_000 ? new Promise((resolve) => setTimeout(resolve, 200)) : Promise.resolve(),
  )
  const opened = await Promise.all([blobs.open(digest, honest), blobs.open(digest, liar)])
  await Promise.all(opened.map(assertGives))
  assert.equal(liar.asked.length, before)
})

test('wrong bytes, and nobody is there any more: they are not fetched once more', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const gate = Promise.withResolvers<void>()
  const liar = scripted('liar/x', () => ({
    size: content.length,
    bytes: rubbish,
    pause: async (at) => {
      if (at >= 1_000_000) await gate.promise
    },
  }))
  const { reader } = await blobs.open(digest, liar)
  await reader[Symbol.asyncDispose]()
  gate.resolve()
  await until(() => blobs.fillCount === 0)
  assert.equal(liar.asked.length, 1)
})

test('who was wrong a moment ago and is right now is believed', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const source = scripted('x/x', (_position, _query, nth) => ({
    size: content.length,
    bytes: nth <= 2 ? rubbish : content,
  }))
  await catchLiar(blobs, source)
  await assertGives(await blobs.open(digest, source))
})

test('a mebibyte of a way that was wrong a moment ago is verified before its first byte is given', async (t) => {
  const small = content.subarray(0, 1_000_000)
  const wrong = rubbish.subarray(0, 1_000_000)
  const blobs = blobsOver(t, new MemoryBlobStore())
  const liar = scripted('liar/x', () => ({ size: wrong.length, bytes: wrong }))
  await assertCut(await blobs.open(digestOf(small), liar))
  await until(() => blobs.fillCount === 0)
  await assert.rejects(blobs.open(digestOf(small), liar), UpstreamError)
})

test('one that has nothing does not keep those apart who wait for the second try of one that was wrong once', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore(), { retries: 0 })
  const gate = Promise.withResolvers<void>()
  const once = scripted('once/x', (_position, _query, nth) => ({
    size: content.length,
    bytes: nth === 1 ? rubbish : content,
    pause: async (at) => {
      if (nth === 2 && at >= 1_000_000) await gate.promise
    },
  }))
  await assertCut(await blobs.open(digest, once))
  await until(() => once.asked.length === 2)
  for (let n = 0; n < 10; n += 1) {
    const none = scripted(`none/${n}`, () => {
      throw new UpstreamError('NOT_FOUND', 'none', 'it does not have this', { status: 404 })
    })
    void blobs.open(digest, none).then(
      ({ reader }) => reader[Symbol.asyncDispose](),
      () => {},
    )
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  gate.resolve()
  await until(() => blobs.fillCount === 0)
  assert.ok(await blobs.stat(digest))
  assert.ok(once.asked.length <= 4, String(once.asked.length))
})
