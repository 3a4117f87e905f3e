// A blob whose size neither a descriptor nor the answer that brings it tells (chunked). Neighbours that were thought of: its
// source tells when it is asked, too little, too much, nothing, never, with a failure; there is room, none from the start,
// none from the middle on; it is small enough to be held in memory; somebody comes who knows its size; another way tells it.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { OpenedSpan, Source } from '../../src/content/source.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import {
  type Answer,
  abortOf,
  blobsOver,
  good,
  keyOf,
  type ScriptedSource,
  scripted,
} from './scripted-source.ts'

const size = 12_000_000
const content = testBytes(size, 71)
const digest = digestOf(content)
const small = content.subarray(0, 1_000_000)

/** Sends all without its size; `told`: what it says where it is asked for that. */
function chunked(
  bytes: Uint8Array,
  { told, pause }: { told?: Source['size']; pause?: Answer['pause'] } = {},
): ScriptedSource {
  const source = scripted('x/x', () => ({ bytes, ...(pause && { pause }) }))
  return told ? Object.assign(source, { size: told }) : source
}

function cache(t: TestContext, room: number) {
  return blobsOver(t, new MemoryBlobStore({ room }), { retries: 8 })
}

for (const [where, room] of [
  ['from the start', 1000],
  ['from the middle on', size / 3],
] as const) {
  test(`no room ${where}, and nobody tells the size: a clear error, and nothing is asked for again and again`, async (t) => {
    const blobs = cache(t, room)
    const source = chunked(content)
    await assert.rejects(blobs.open(digest, source), (error) => {
      assert.ok(error instanceof UpstreamError)
      assert.match(error.message, /does not tell the size of a blob that there is no room for/)
      return true
    })
    assert.deepEqual(source.asked, [0])
    await until(() => blobs.fillCount === 0)
    assert.equal((await blobs.space.countedBytes()) > 0, false)
  })
}

for (const [where, room] of [
  ['from the start', 1000],
  ['from the middle on', size / 3],
  ['from shortly before its end on', size - 1],
] as const) {
  test(`no room ${where}, and the source tells the size when it is asked: the blob is handed through, and crosses once`, async (t) => {
    const blobs = cache(t, room)
    const source = chunked(content, { told: async () => size })
    const { reader } = await blobs.open(digest, source)
    assertSameBytes(await readAll(reader), content)
    await reader.verified()
    await reader[Symbol.asyncDispose]()
    assert.equal(source.given, size)
  })
}

for (const [room, bytes] of [
  [1000, small],
  [300_000, small],
  [size - 1, content],
] as const) {
  test(`room for ${room} of ${bytes.length} bytes, and nobody tells the size: memory holds the rest, and all who wait have it`, async (t) => {
    const blobs = cache(t, room)
    const source = chunked(bytes)
    const opened = await Promise.all([0, 1, 2].map(() => blobs.open(digestOf(bytes), source)))
    const reading = opened.map(async ({ reader }) => {
      assertSameBytes(await readAll(reader), bytes)
      await reader.verified()
      await reader[Symbol.asyncDispose]()
    })
    await Promise.all(reading)
    assert.equal(source.given, bytes.length)
    await until(() => blobs.fillCount === 0)
  })
}

test('who waits leaves in the middle of a large one of which the source tells the size: it comes whole, and crosses once', async (t) => {
  const bytes = testBytes(24_000_000, 72)
  const store = new MemoryBlobStore()
  const blobs = blobsOver(t, store)
  const goOn = Promise.withResolvers<void>()
  const source = chunked(bytes, {
    told: async () => bytes.length,
    pause: async (at) => (at >= 20_000_000 ? goOn.promise : undefined),
  })
  const { reader } = await blobs.open(digestOf(bytes), source)
  await until(() => source.given >= 20_000_000)
  await reader[Symbol.asyncDispose]()
  goOn.resolve()
  await until(() => blobs.fillCount === 0)
  assert.equal((await store.stat(digestOf(bytes)))?.size, bytes.length)
  assert.deepEqual([source.asked, source.given], [[0], bytes.length])
})

test('the connection breaks while much of it is held in memory for nobody yet: it goes on from there', async (t) => {
  const blobs = cache(t, 1000)
  const bytes = content.subarray(0, 4_000_000)
  const source = scripted('x/x', (_position, _query, nth) => ({
    bytes,
    ...(nth === 1 && { until: 3_000_000 }),
  }))
  const { reader } = await blobs.open(digestOf(bytes), source)
  assertSameBytes(await readAll(reader), bytes)
  await reader[Symbol.asyncDispose]()
  assert.deepEqual(source.asked, [0, 3_000_000])
})

test('somebody comes who knows the size of what is held in memory: that goes on for whoever knows it', async (t) => {
  const blobs = cache(t, 1000)
  const goOn = Promise.withResolvers<void>()
  const source = chunked(content, { pause: async (at) => (at >= 500_000 ? goOn.promise : undefined) })
  const unknowing = blobs.open(digest, source).then(
    () => 'served',
    ({ message }) => message as string,
  )
  await until(() => source.given >= 500_000)
  const other = { ...good('y/y', content), open: source.open }
  const { reader } = await blobs.open(digest, other, { size })
  goOn.resolve()
  assertSameBytes(await readAll(reader), content)
  await reader.verified()
  await reader[Symbol.asyncDispose]()
  assert.match(await unknowing, /served|does not tell the size/)
})

test('no room, and another way tells the size: it is taken', async (t) => {
  const blobs = cache(t, 1000)
  const goOn = Promise.withResolvers<void>()
  const source = chunked(content, { pause: () => goOn.promise })
  const openings = [blobs.open(digest, source), blobs.open(digest, good('y/y', content))]
  await until(() => source.asked.length === 1)
  goOn.resolve()
  const reading = openings.map(async (opening) => {
    const { reader } = await opening
    assertSameBytes(await readAll(reader), content)
    await reader[Symbol.asyncDispose]()
  })
  await Promise.all(reading)
})

test('there is room, and the source tells the size when it is asked: the first bytes are read at once', async (t) => {
  const blobs = cache(t, 2 * size)
  const goOn = Promise.withResolvers<void>()
  const told = async () => size
  const source = chunked(content, { told, pause: async (at) => (at >= 100_000 ? goOn.promise : undefined) })
  const { reader } = await blobs.open(digest, source)
  assert.equal(reader.size, size)
  assert.ok((await reader.read(Buffer.alloc(1000), 0)) > 0)
  goOn.resolve()
  assertSameBytes(await readAll(reader), content)
  await reader[Symbol.asyncDispose]()
  assert.equal(source.given, size)
})

for (const [how, told] of [
  ['too little', async () => size - 100_000],
  ['too much', async () => size + 100_000],
  ['nothing', async () => undefined],
  [
    'a failure',
    async () => {
      throw new UpstreamError('SERVER_ERROR', 'x/x', 'it answered 500', { status: 500 })
    },
  ],
  ['never', ({ signal }) => abortOf(signal).then(() => undefined)],
] as const satisfies readonly (readonly [string, Source['size']])[]) {
  test(`asked for the size a source says ${how}: nobody has a wrong body, and the blob is stored`, async (t) => {
    const blobs = blobsOver(t, new MemoryBlobStore(), { patienceMs: 50 })
    const source = chunked(content, { told })
    await blobs.open(digest, source).then(
      async ({ reader }) => {
        const whole = readAll(reader).then((bytes) => reader.verified().then(() => bytes))
        await whole.then(
          (bytes) => assertSameBytes(bytes, content),
          (error) => assert.ok(error instanceof UpstreamError, String(error)),
        )
        await reader[Symbol.asyncDispose]()
      },
      (error) => assert.ok(error instanceof UpstreamError, String(error)),
    )
    await until(() => blobs.fillCount === 0)
    const { reader, status } = await blobs.open(digest, source)
    assert.equal(status, 'hit')
    assertSameBytes(await readAll(reader), content)
    await reader[Symbol.asyncDispose]()
  })
}

test('nothing is there, a descriptor says 3 bytes, and an upstream tells only where each part ends: no question without end', async (t) => {
  const blobs = cache(t, size)
  const nothing = Buffer.alloc(0)
  let asked = 0
  const source: Source = {
    name: 'x/x',
    repository: keyOf('x/x'),
    async open(): Promise<OpenedSpan> {
      asked += 1
      if (asked > 10) throw new UpstreamError('NOT_FOUND', 'x/x', 'asked once too often', { status: 404 })
      return { start: 0, end: 0, size: undefined, async *body() {}, stop() {}, discard() {} }
    },
  }
  const { reader } = await blobs.open(digestOf(nothing), source, {
    size: 3,
    ranges: [{ start: 0, end: 3 }],
  })
  assert.equal(reader.size, 0)
  await reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  assert.equal(asked, 2)
})
