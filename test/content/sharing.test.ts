// Who has the line, and who may begin what. Neighbours that were thought of: clients that left, that are there; one and
// many; a client that comes to what was left; that leaves while it waits; a fill that fails, that is suspended, that
// goes on later; the same blob for two clients; a full disk with readers that take nothing, a little, all.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OpenedBlob } from '../../src/content/opened-blob.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { assertSameBytes, readAll } from '../storage/files/storage-folder.ts'
import { hasByte, sharedLine } from './shared-line.ts'

const trickle = { piece: 1, everyMs: 1000 }
const seeds = (count: number) => Array.from({ length: count }, (_, n) => n)

test('twelve blobs that trickle were asked for and left: another client has its first byte at once', async (t) => {
  const line = sharedLine(t)
  const leave = new AbortController()
  const left = seeds(12).map((n) => line.open(line.layer(n, 100_000, trickle), 'a', leave.signal))
  await line.pass(2000)
  leave.abort(new Error('left'))
  for (const outcome of await Promise.allSettled(left)) {
    if (outcome.status === 'fulfilled') await outcome.value.reader[Symbol.asyncDispose]()
  }
  const opening = line.open(line.layer(50, 100_000), 'b')
  await line.pass(100)
  const { reader } = await opening
  assert.equal(await hasByte(reader), true)
  await reader[Symbol.asyncDispose]()
})

test('forty blobs that trickle, and their client is there: another one waits a fraction of a turn', async (t) => {
  const line = sharedLine(t)
  const opened: Promise<OpenedBlob>[] = seeds(40).map((n) => line.open(line.layer(n, 100_000, trickle), 'a'))
  await line.pass(2000)
  const opening = line.open(line.layer(50, 100_000), 'b')
  let ms = 0
  let isHere = false
  opening.then(
    () => (isHere = true),
    () => {},
  )
  for (; !isHere && ms < 60_000; ms += 100) await line.pass(100)
  t.diagnostic(`after ${ms} ms`)
  assert.ok(ms <= 3500, `${ms} ms`)
  assert.equal(line.mostConnections, 3)
  await (await opening).reader[Symbol.asyncDispose]()
  await line.pass(10_000)
  for (const { reader } of await Promise.all(opened)) await reader[Symbol.asyncDispose]()
})

test('a blob that was left waits behind the others, and goes before them as soon as somebody comes to it', async (t) => {
  const line = sharedLine(t, { places: 1 })
  const slow = { piece: 2000, everyMs: 100 }
  const layers = seeds(4).map((n) => line.layer(n, 100_000, slow))
  const [first, left, other, last] = layers
  assert.ok(first && left && other && last)
  const leave = new AbortController()
  const openings = [line.open(first, 'a'), line.open(left, 'b', leave.signal), line.open(other, 'a')]
  await line.settle()
  leave.abort(new Error('left'))
  await assert.rejects(openings[1] ?? assert.fail(), /left/)
  await line.pass(4000)
  assert.equal(line.sentOf(left), 0)
  const again = line.open(left, 'c')
  const behind = line.open(last, 'a')
  await line.pass(4000)
  await again
  assert.deepEqual([line.sentOf(left) > 0, line.sentOf(other), line.sentOf(last)], [true, 0, 0])
  await line.pass(30_000)
  for (const opening of [openings[0], openings[2], again, behind]) {
    await (await opening)?.reader[Symbol.asyncDispose]()
  }
})

test('only so many go on that nobody waits for: the oldest is put off, and goes on where it was', async (t) => {
  const line = sharedLine(t, { places: 5, abandonedFills: 2 })
  const slow = { piece: 10_000, everyMs: 100 }
  const layers = seeds(4).map((n) => line.layer(n, 1_000_000, slow))
  const openings = layers.map((layer) => line.open(layer, 'a'))
  await line.pass(1000)
  for (const opening of openings) {
    await (await opening).reader[Symbol.asyncDispose]()
    await line.pass(100)
  }
  assert.equal(line.blobs.fillCount, 2)
  assert.deepEqual(line.blobs.fills.get('docker.io')?.stopped, 2)
  const kept = await line.store.partials.list()
  assert.equal(kept.length, 4)
  const [oldest] = layers
  assert.ok(oldest)
  const before = layers.map(line.sentOf)
  await line.pass(500)
  const goOn = layers.map((layer, n) => line.sentOf(layer) > (before[n] ?? 0))
  assert.deepEqual(goOn, [false, false, true, true])
  line.change(oldest, { piece: 50_000 })
  const { reader } = await line.open(oldest, 'b')
  assertSameBytes(await readAll(reader), oldest.bytes)
  await reader[Symbol.asyncDispose]()
  await line.settle()
  assert.equal(line.sentOf(oldest), oldest.size)
  assert.equal(line.blobs.fillCount, 2)
})

test('what somebody waits for does not count among what nobody does', async (t) => {
  const line = sharedLine(t, { places: 5, abandonedFills: 1 })
  const layers = seeds(3).map((n) => line.layer(n, 1_000_000, { piece: 10_000, everyMs: 100 }))
  const openings = layers.map((layer) => line.open(layer, 'a'))
  await line.pass(1000)
  const readers = (await Promise.all(openings)).map(({ reader }) => reader)
  await readers.pop()?.[Symbol.asyncDispose]()
  await line.pass(100)
  assert.equal(line.blobs.fillCount, 3)
  for (const reader of readers) await reader[Symbol.asyncDispose]()
  await line.settle()
})

test('a client begins so many; one more waits for the end of another, and joining is free', async (t) => {
  const line = sharedLine(t, { places: 10, clientFills: 2 })
  const slow = { piece: 10_000, everyMs: 100 }
  const [one, two, three, four] = seeds(4).map((n) => line.layer(n, 100_000, slow))
  assert.ok(one && two && three && four)
  const openings = [line.open(one, 'a'), line.open(two, 'a'), line.open(three, 'a')]
  await line.pass(200)
  assert.equal(line.sentOf(three), 0)
  openings.push(line.open(four, 'b'), line.open(one, 'a'), line.open(four, 'a'))
  await line.pass(500)
  assert.ok(line.sentOf(four) > 0, 'another client is not kept waiting')
  assert.deepEqual(line.blobs.clientWaits, { waited: 1, refused: 0 })
  await line.pass(1500)
  const opened = await Promise.all(openings)
  assert.deepEqual(
    opened.map(({ status }) => status),
    ['miss', 'miss', 'miss', 'miss', 'joined', 'joined'],
  )
  for (const { reader } of opened) await reader[Symbol.asyncDispose]()
})

test('who waits too long for the end of another fill is told when to try again; who leaves waits no more', async (t) => {
  const line = sharedLine(t, { clientFills: 1, patienceMs: 5000 })
  const layers = seeds(4).map((n) => line.layer(n, 100_000, trickle))
  const [one, two, three, four] = layers
  assert.ok(one && two && three && four)
  const first = line.open(one, 'a')
  const late = line.open(two, 'a')
  const leaving = new AbortController()
  const left = line.open(three, 'a', leaving.signal)
  await line.pass(1000)
  leaving.abort(new Error('left'))
  await assert.rejects(left, /left/)
  const refused = assert.rejects(late, (error) => {
    assert.ok(error instanceof RegistryError)
    assert.deepEqual([error.code, error.status], ['TOOMANYREQUESTS', 429])
    assert.match(error.message, /limits\.perClient\.fills/)
    return error.retryAfterSeconds === 10
  })
  await line.pass(5000)
  await refused
  // The mirror itself waits for nobody.
  const own = line.open(four)
  await line.pass(5000)
  for (const opening of [first, own]) await (await opening).reader[Symbol.asyncDispose]()
  assert.deepEqual([line.sentOf(two), line.sentOf(three)], [0, 0])
})

test('a fill that fails, and one that somebody else began meanwhile, keep no place of a client', async (t) => {
  const line = sharedLine(t, { places: 10, clientFills: 1 })
  const slow = { piece: 10_000, everyMs: 100 }
  const [one, two] = seeds(2).map((n) => line.layer(n, 100_000, slow))
  assert.ok(one && two)
  const unknown = {
    ...one,
    digest: two.digest.replace(/.$/, (c) => (c === '0' ? '1' : '0')) as typeof one.digest,
  }
  const failing = assert.rejects(line.open(unknown, 'a'))
  await line.pass(1000)
  await failing
  const openings = [line.open(one, 'a'), line.open(two, 'a')]
  await line.pass(100)
  openings.push(line.open(two, 'b'))
  await line.pass(3000)
  const opened = await Promise.all(openings)
  assert.equal(line.sentOf(two), two.size)
  for (const { reader } of opened) await reader[Symbol.asyncDispose]()
  const last = line.layer(9, 100_000)
  await (await line.open(last, 'a')).reader[Symbol.asyncDispose]()
  assert.equal(line.blobs.clientWaits.waited, 1)
})

test('a full disk, and three clients that take nothing: other downloads go on, and the three get all of theirs', async (t) => {
  const line = sharedLine(t, { store: new MemoryBlobStore({ room: 0 }) })
  const stalled = seeds(3).map((n) => line.layer(n, 12_000_000))
  const opened = await Promise.all(stalled.map((layer) => line.open(layer, 'a')))
  await line.pass(200)
  const before = stalled.map(line.sentOf)
  for (const sent of before) assert.ok(sent < 6_000_000, String(sent))
  const other = line.layer(50, 6_000_000)
  const opening = line.open(other, 'b')
  await line.pass(1500)
  const { reader } = await opening
  assertSameBytes(await readAll(reader), other.bytes)
  await reader[Symbol.asyncDispose]()
  await line.pass(5000)
  // The one whose place went to the other one holds nothing but its window, and does not ask before that has room.
  assert.deepEqual([line.connections, line.link.questions.length], [2, 4])
  for (const [index, { reader }] of opened.entries()) {
    const layer = stalled[index]
    assert.ok(layer)
    const reading = readAll(reader)
    await line.pass(500)
    assertSameBytes(await reading, layer.bytes)
    await reader.verified()
    await reader[Symbol.asyncDispose]()
    // What was let go when its place went to another one: a piece at most.
    assert.ok(line.sentOf(layer) <= layer.size + 50_000, String(line.sentOf(layer)))
  }
})
