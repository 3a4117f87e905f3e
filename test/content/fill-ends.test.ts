// How fills begin and end. Neighbours that were thought of: nobody sent a byte; refused, made up, by the thousand; a fill
// that ends in the tick in which somebody comes; the mirror stops before, while and after; clients that leave first.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { told } from '../../src/content/fill-report.ts'
import { Contradiction } from '../../src/content/size.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { blobsOver, good, scripted, silent } from './scripted-source.ts'

const content = testBytes(300_000, 81)
const digest = digestOf(content)
const refused = () =>
  scripted('none/x', () => {
    throw new UpstreamError('NOT_FOUND', 'none/x', 'it does not have this', { status: 404 })
  })

test('a thousand made-up layers leave no file', async (t) => {
  const steps: string[] = []
  const store = new MemoryBlobStore({ step: async (name) => void steps.push(name) })
  const blobs = blobsOver(t, store)
  const source = refused()
  const asked = Array.from({ length: 1000 }, (_, n) => {
    const madeUp = `sha256:${n.toString(16).padStart(64, '0')}` as Digest
    return blobs.open(madeUp, source, { size: 1_000_000 })
  })
  for (const { status } of await Promise.allSettled(asked)) assert.equal(status, 'rejected')
  assert.ok(!steps.includes('open-partial'))
  assert.deepEqual(await store.partials.list(), [])
})

test('who comes in the very tick in which a fill fails is served by its own way', async (t) => {
  for (let ticks = 0; ticks < 30; ticks += 1) {
    const blobs = blobsOver(t, new MemoryBlobStore())
    const failing = blobs.open(digest, refused()).then(
      ({ reader }) => reader[Symbol.asyncDispose](),
      () => {},
    )
    for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve()
    const { reader } = await blobs.open(digest, good('good/x', content))
    assertSameBytes(await readAll(reader), content)
    await reader[Symbol.asyncDispose]()
    await failing
  }
})

test('who comes in the very tick in which a fill is sealed costs no byte', async (t) => {
  for (let ticks = 0; ticks < 60; ticks += 3) {
    const store = new MemoryBlobStore()
    const blobs = blobsOver(t, store)
    const source = good('good/x', content)
    const first = await blobs.open(digest, source)
    const reading = readAll(first.reader)
    await until(() => source.given === content.length, { intervalMs: 0 })
    for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve()
    const { reader } = await blobs.open(digest, source)
    assertSameBytes(await readAll(reader), content)
    assertSameBytes(await reading, content)
    assert.equal(source.given, content.length)
    await Promise.all([reader[Symbol.asyncDispose](), first.reader[Symbol.asyncDispose]()])
  }
})

test('a blob that is filled for another one between the look for it and the question for it costs no byte', async (t) => {
  const records = new MemoryCatalog()
  const gate = Promise.withResolvers<undefined>()
  const { promise: looked, resolve: look } = Promise.withResolvers<void>()
  let looks = 0
  const slow = Object.assign(Object.create(records) as MemoryCatalog, {
    sealed: records.sealed.bind(records),
    blob: async (of: Digest) => {
      looks += 1
      if (looks > 1) return records.blob(of)
      look()
      return gate.promise
    },
  })
  const blobs = blobsOver(t, new MemoryBlobStore(), { records: slow })
  const late = good('late/x', content)
  const opening = blobs.open(digest, late)
  await looked
  const { reader } = await blobs.open(digest, good('quick/x', content))
  assertSameBytes(await readAll(reader), content)
  await reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  gate.resolve(undefined)
  const opened = await opening
  assertSameBytes(await readAll(opened.reader), content)
  await opened.reader[Symbol.asyncDispose]()
  assert.deepEqual(late.asked, [])
  // Nobody's upstream has said anything for this one.
  assert.equal(opened.confirmedBy.size, 0)
})

test('the mirror stops: what runs is kept, who waits is told, and nothing is begun any more', async (t) => {
  const store = new MemoryBlobStore()
  const blobs = blobsOver(t, store)
  const never = new Promise<void>(() => {})
  const source = scripted('x/x', (_position, { signal }) => ({
    size: content.length,
    bytes: content,
    pause: async (at) => {
      const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
      if (at >= 200_000) await Promise.race([never, aborted])
    },
  }))
  const opened = await blobs.open(digest, source)
  const reading = readAll(opened.reader)
  reading.catch(() => {})
  const waiting = blobs.open(digestOf(content.subarray(1)), silent('silent/x'))
  waiting.catch(() => {})
  await until(() => source.given === 200_000)
  await blobs[Symbol.asyncDispose]()
  await assert.rejects(reading, /the mirror is stopping/)
  await assert.rejects(waiting, /the mirror is stopping/)
  await opened.reader[Symbol.asyncDispose]()
  const late = good('late/x', content)
  await assert.rejects(blobs.open(digest, late), { code: 'UNAVAILABLE' })
  assert.deepEqual(late.asked, [])
  await assert.rejects(blobs.openWriter('upload-1', 'sha256'), { code: 'UNAVAILABLE' })
  assert.equal(blobs.fillCount, 0)
  assert.deepEqual(
    (await store.partials.list()).map(({ bytes }) => bytes),
    [200_000],
  )
  // All that was open is closed, or this would throw.
  await store[Symbol.asyncDispose]()
})

test('the mirror stops while a client waits for the end of another fill: nothing is begun for it', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore(), { clientFills: 1 })
  const first = blobs.open(digest, silent('silent/x'), { client: 'a' })
  const late = good('late/x', content)
  const waiting = blobs.open(digestOf(content.subarray(1)), late, { client: 'a' })
  const ends = Promise.all([
    assert.rejects(first, /the mirror is stopping/),
    assert.rejects(waiting, { code: 'UNAVAILABLE' }),
  ])
  await until(() => blobs.clientWaits.waited === 1)
  await blobs[Symbol.asyncDispose]()
  await ends
  assert.deepEqual([late.asked, blobs.fillCount], [[], 0])
})

test('a disk that fills up under a reader: nothing is fetched once more', async (t) => {
  let isFull = false
  const step = async (what: string) => {
    if (what === 'write' && isFull) throw new StorageError('FULL', 'no room')
  }
  const blobs = blobsOver(t, new MemoryBlobStore({ step }))
  const gate = Promise.withResolvers<void>()
  const source = good('x/x', content, (at) => (at >= 200_000 ? gate.promise : Promise.resolve()))
  const { reader } = await blobs.open(digest, source, { size: content.length })
  await until(() => source.given === 200_000)
  isFull = true
  gate.resolve()
  assertSameBytes(await readAll(reader), content)
  await reader.verified()
  await reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  assert.equal(source.asked.length, 1)
})

test('a blob of one byte is asked for, whoever knows that', async (t) => {
  const byte = Buffer.from('x')
  const { reader } = await blobsOver(t, new MemoryBlobStore()).open(digestOf(byte), good('x/x', byte), {
    size: 1,
  })
  assertSameBytes(await readAll(reader), byte)
  await reader[Symbol.asyncDispose]()
})

test('a failure of the disk is told as that, what contradicts itself as an answer of its upstream', () => {
  const full = new StorageError('FULL', 'no room')
  assert.equal(told(full), full)
  const odd = told(new Contradiction(good('x/x', content)))
  assert.ok(odd instanceof UpstreamError && odd.code === 'INVALID_RESPONSE')
  assert.equal(told('odd').message, 'odd')
})

test('a client that has left before anything began begins nothing', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const source = good('x/x', content)
  await assert.rejects(blobs.open(digest, source, { signal: AbortSignal.abort(new Error('left')) }), /left/)
  assert.deepEqual(source.asked, [])
})

test('all clients leave: the fill goes on, once', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const gate = Promise.withResolvers<void>()
  const source = good('x/x', content, () => gate.promise)
  const leave = new AbortController()
  const openings = Array.from({ length: 5 }, () => blobs.open(digest, source, { signal: leave.signal }))
  await until(() => source.asked.length === 1)
  leave.abort(new Error('left'))
  for (const opening of openings) await assert.rejects(opening, /left/)
  gate.resolve()
  await until(() => blobs.fillCount === 0)
  assert.equal((await blobs.stat(digest))?.size, content.length)
  assert.equal(source.given, content.length)
})
