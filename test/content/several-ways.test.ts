// Several ways to the bytes of one digest. Neighbours that were thought of: the first is silent before its answer, in the
// middle, for ever or for a moment; it sends rubbish, another size, nothing; it refuses; it breaks off; the second is no
// better; a push as a way; who asked for which failure.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Ways } from '../../src/content/ways.ts'
import { Changes } from '../../src/flow/changes.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { abortOf, blobsOver, good, keyOf, scripted, silent } from './scripted-source.ts'

const content = testBytes(400_000, 41)
const rubbish = testBytes(400_000, 42)
const digest = digestOf(content)
const half = 200_000

async function assertGives(reader: BlobReader): Promise<void> {
  const bytes = await readAll(reader)
  await reader.verified()
  assertSameBytes(bytes, content)
  await reader[Symbol.asyncDispose]()
}

function refusing(name: string) {
  return scripted(name, () => {
    throw new UpstreamError('NOT_FOUND', name, 'it does not have this', { status: 404 })
  })
}

test('an upstream that never answers does not decide for another one: its own client is served, too', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const first = silent('silent/x')
  const second = good('good/x', content)
  const openings = [blobs.open(digest, first), blobs.open(digest, second)]
  const startedAt = performance.now()
  const [one, other] = await Promise.all(openings)
  assert.ok(one && other)
  // It is left after 50 ms; no client would wait for more than the patience, which is ten seconds.
  assert.ok(performance.now() - startedAt < 9000)
  assert.deepEqual([one.status, other.status], ['miss', 'joined'])
  await Promise.all([assertGives(one.reader), assertGives(other.reader)])
  // Who has said nothing has confirmed nothing.
  assert.deepEqual([...other.confirmedBy], [second.repository])
})

test('an upstream that falls silent in the middle: the other one goes on from there, and no byte crosses twice', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const first = good('silent/x', content, async (at, stopped) => {
    if (at >= half) await stopped
  })
  const second = good('good/x', content)
  const one = await blobs.open(digest, first)
  const other = await blobs.open(digest, second)
  await Promise.all([assertGives(one.reader), assertGives(other.reader)])
  assert.deepEqual(second.asked, [half])
  assert.equal(first.given + second.given, content.length)
})

test('another repository of the same upstream: a place in the queue is not given up for it, a silent answer is', async (t) => {
  for (const hasPlace of [false, true]) {
    const blobs = blobsOver(t, new MemoryBlobStore(), { slowMs: 20 })
    const gate = Promise.withResolvers<void>()
    const first = scripted('hub', async (_position, { signal, onPlace }) => {
      if (hasPlace) onPlace?.()
      await Promise.race([gate.promise, abortOf(signal)])
      return { size: content.length, bytes: content }
    })
    const second = { ...good('hub', content), repository: keyOf('other/x') }
    const openings = [blobs.open(digest, first), blobs.open(digest, second)]
    if (hasPlace) await until(() => second.asked.length === 1)
    else await new Promise((resolve) => setTimeout(resolve, 100))
    assert.equal(second.asked.length, hasPlace ? 1 : 0)
    gate.resolve()
    for (const opening of openings) await assertGives((await opening).reader)
  }
})

test('a way alone that is slow is waited for', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore(), { slowMs: 20 })
  const slow = good(
    'slow/x',
    content,
    (at) => new Promise((resolve) => setTimeout(resolve, at === 0 ? 150 : 0)),
  )
  await assertGives((await blobs.open(digest, slow)).reader)
  assert.deepEqual(slow.asked, [0])
})

test('two ways that are both slow: the second is not left for the first again', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore(), { slowMs: 20 })
  const first = silent('silent/x')
  const slow = good(
    'slow/x',
    content,
    (at) => new Promise((resolve) => setTimeout(resolve, at === 0 ? 200 : 0)),
  )
  const opened = await Promise.all([blobs.open(digest, first), blobs.open(digest, slow)])
  await Promise.all(opened.map(({ reader }) => assertGives(reader)))
  assert.deepEqual([first.asked.length, slow.asked.length], [1, 1])
})

test('an upstream that sends rubbish costs the client of another one at most one try', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const liar = scripted('liar/x', () => ({ size: content.length, bytes: rubbish }))
  const honest = good('good/x', content)
  const [one, other] = await Promise.all([blobs.open(digest, liar), blobs.open(digest, honest)])
  assert.ok(one && other)
  for (const { reader } of [one, other]) {
    await assert.rejects(readAll(reader).then(() => reader.verified()))
    await reader[Symbol.asyncDispose]()
  }
  await assertGives((await blobs.open(digest, honest)).reader)
  assert.deepEqual([liar.given, honest.given], [content.length, content.length])
})

test('a small blob of which the first upstream sends rubbish: the other one mends it before a byte is served', async (t) => {
  const small = content.subarray(0, 1000)
  const blobs = blobsOver(t, new MemoryBlobStore())
  const liar = scripted('liar/x', () => ({ size: 1000, bytes: rubbish.subarray(0, 1000) }))
  const opened = await Promise.all([
    blobs.open(digestOf(small), liar),
    blobs.open(digestOf(small), good('good/x', small)),
  ])
  for (const { reader } of opened) assertSameBytes(await readAll(reader), small)
  assert.equal(liar.asked.length, 1)
})

test('who asks where the blob is not gets the bytes of the one who has it, and the other one no 404', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const evil = refusing('evil/x')
  const honest = good('good/x', content)
  const [one, other] = await Promise.all([blobs.open(digest, evil), blobs.open(digest, honest)])
  assert.ok(one && other)
  await Promise.all([assertGives(one.reader), assertGives(other.reader)])
  assert.equal(one.confirmedBy.has(evil.repository), false, 'delivery is no evidence')
  assert.equal(one.confirmedBy.has(honest.repository), true)
})

test('all ways fail: each hears how its own one did', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const none = refusing('none/x')
  const forbidden = scripted('closed/x', () => {
    throw new UpstreamError('FORBIDDEN', 'closed/x', 'it refuses to let us read this', { status: 403 })
  })
  const [one, other] = await Promise.allSettled([blobs.open(digest, none), blobs.open(digest, forbidden)])
  const codes = [one, other].map((each) => (each?.status === 'rejected' ? each.reason.code : each?.status))
  assert.deepEqual(codes, ['NOT_FOUND', 'FORBIDDEN'])
})

test('a push completes a blob in the middle of its fill: the rest does not cross the line, readers never notice', async (t) => {
  const store = new MemoryBlobStore()
  const blobs = blobsOver(t, store)
  const source = good('x/x', content, async (at, stopped) => {
    if (at === half) await stopped
  })
  const opened = await blobs.open(digest, source)
  const reading = assertGives(opened.reader)
  await until(() => source.given === half)
  const recorded: number[] = []
  const push = await blobs.openWriter('push', 'sha256')
  await push.append([content])
  const file = await blobs.seal(push, digest, async ({ size }) => void recorded.push(size))
  await reading
  assert.equal(source.given, half)
  assert.deepEqual(source.asked, [0])
  assert.deepEqual(recorded, [content.length])
  await until(() => blobs.fillCount === 0)
  // The push's file is the one that was recorded, so it stays.
  assert.deepEqual(await store.stat(digest), file)
  assert.deepEqual(await store.partials.list(), [])
  assert.deepEqual([...opened.confirmedBy], [source.repository])
})

test('what an interrupted fill left goes when a push brings the blob', async (t) => {
  const store = new MemoryBlobStore()
  const interrupted = blobsOver(t, store)
  const cut = Promise.withResolvers<void>()
  const source = good('x/x', content, async (at) => {
    if (at === half) await cut.promise
  })
  const { reader } = await interrupted.open(digest, source)
  await until(() => source.given === half)
  await reader[Symbol.asyncDispose]()
  const stopping = interrupted[Symbol.asyncDispose]()
  cut.reject(new Error('the connection was cut'))
  await stopping
  assert.equal((await store.partials.list()).length, 1)
  const blobs = blobsOver(t, store)
  const push = await blobs.openWriter('push', 'sha256')
  await push.append([content])
  await blobs.seal(push, digest, async () => {})
  assert.deepEqual(await store.partials.list(), [])
})

test('a push of wrong bytes is refused, and the fill goes on', async (t: TestContext) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const opened = await blobs.open(digest, good('x/x', content))
  const push = await blobs.openWriter('push', 'sha256')
  await push.append([rubbish])
  await assert.rejects(
    blobs.seal(push, digest, async () => assert.fail()),
    { code: 'DIGEST_INVALID' },
  )
  await push.discard(new Error('refused'))
  await assertGives(opened.reader)
})

test('bytes of several ways were wrong: one after the other is taken alone', async () => {
  const ways = new Ways(1, () => false)
  const distrusted: string[] = []
  const add = (name: string) => {
    const distrust = (): void => void distrusted.push(name)
    return ways.add(Object.assign(good(name, content), { distrust }), { claim: undefined })
  }
  const [one, other] = [add('one/x'), add('other/x')]
  const next = () => ways.next(new Changes(), new AbortController().signal)
  const wrong = new Error('wrong')
  ways.blameForBytes([one, other], wrong)
  assert.equal(await next(), one)
  ways.blameForBytes([one], wrong)
  assert.equal(await next(), other)
  assert.equal(one.isGivenUp, false, 'it was wrong alone for the first time')
  assert.deepEqual(distrusted, ['one/x', 'other/x', 'one/x'])
})

test('a fill with several ways leaves no clock behind', async (t) => {
  const begun = t.mock.method(globalThis, 'setInterval')
  const ended = t.mock.method(globalThis, 'clearInterval')
  const blobs = blobsOver(t, new MemoryBlobStore(), { slowMs: 1234 })
  const openings = ['one/x', 'other/x'].map((name) => blobs.open(digest, good(name, content)))
  for (const { reader } of await Promise.all(openings)) await assertGives(reader)
  await until(() => blobs.fillCount === 0)
  const clocks = begun.mock.calls.filter(({ arguments: [, everyMs] }) => everyMs === 1234 / 4)
  assert.equal(clocks.length, 1)
  assert.ok(ended.mock.calls.some(({ arguments: [clock] }) => clock === clocks[0]?.result))
})
