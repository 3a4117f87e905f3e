import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { type TestContext, test } from 'node:test'
import { Growing } from '../../src/content/growing.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { WindowPartial } from '../../src/storage/memory/window-partial.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { lent } from '../support/lent.ts'

const content = testBytes(3_000_000)
const digest = digestOf(content)
const settled = () => new Promise(setImmediate)

/** Bytes that grow over a partial in memory. */
async function scene() {
  const store = new MemoryBlobStore()
  const partial = await store.partials.open({ id: 'whole', algorithm: 'sha256' })
  const growing = new Growing()
  growing.attach(partial, { window: undefined })
  const reader = (size = content.length): BlobReader => {
    const opened = growing.reader(size, 'docker.io')
    assert.ok(opened)
    return opened
  }
  const seal = async () => {
    await partial.verify(digest)
    growing.verified(content.length)
    await partial.seal(digest)
    growing.synced()
  }
  return { store, partial, growing, reader, seal }
}

/** Whether a promise is still open after all that is ready has run. */
async function isWaiting(promise: Promise<unknown>): Promise<boolean> {
  let done = false
  promise.then(
    () => (done = true),
    () => (done = true),
  )
  for (let i = 0; i < 5; i += 1) await settled()
  return !done
}

test('readers that follow, from any position, slow and fast, get exactly the bytes', async () => {
  const { growing, reader, seal } = await scene()
  const follow = async (start: number, pieceSize: number, beforeEach = async () => {}) => {
    await using following = reader()
    const read: BlobReader['read'] = async (...parameters) => {
      await beforeEach()
      return following.read(...parameters)
    }
    assertSameBytes(await readAll({ read }, start, pieceSize), content.subarray(start), `from ${start}`)
  }
  const late = Promise.withResolvers<void>()
  const readers = [
    follow(0, 1 << 20),
    follow(0, 65_536),
    follow(0, 10_007, async () => void (await settled())),
    follow(1_500_000, 100_000),
    follow(2_999_000, 7),
    follow(0, 65_536, () => late.promise),
  ]
  const chunk = 50_000
  const order = Array.from({ length: content.length / chunk }, (_, i) => i * chunk)
  // Mostly in order, with one run that comes early.
  order.unshift(...order.splice(30, 4))
  for (const at of order) await growing.write(at, lent(content.subarray(at, at + chunk)))
  await seal()
  late.resolve()
  await Promise.all(readers)
})

test('a reader waits for the bytes at its position, says where, and wakes when they come', async () => {
  const { growing, reader } = await scene()
  const buffer = Buffer.alloc(100)
  const reading = reader().read(buffer, 1000)
  await growing.write(0, lent(content.subarray(0, 1000)))
  await growing.write(1001, lent(content.subarray(1001, 2000)))
  assert.equal(await isWaiting(reading), true)
  assert.deepEqual(growing.wanted, [1000])
  await growing.write(1000, lent(content.subarray(1000, 1001)))
  const count = await reading
  assert.ok(count >= 1)
  assertSameBytes(buffer.subarray(0, count), content.subarray(1000, 1000 + count))
  assert.deepEqual(growing.wanted, [])
})

test('who comes before there is anything to read gets it when it comes', async () => {
  const growing = new Growing()
  const early = growing.reader(content.length, 'docker.io')
  assert.ok(early)
  const reading = readAll(early)
  const partial = await new MemoryBlobStore().partials.open({ id: 'late', algorithm: 'sha256' })
  growing.attach(partial, { window: undefined })
  await growing.write(0, lent(content))
  assertSameBytes(await reading, content)
})

test('bytes that an earlier chunk brought are there at once, before the hole is closed', async () => {
  const { growing, reader } = await scene()
  await growing.write(2_000_000, lent(content.subarray(2_000_000)))
  const buffer = Buffer.alloc(1000)
  const count = await reader().read(buffer, 2_500_000)
  assertSameBytes(buffer.subarray(0, count), content.subarray(2_500_000, 2_500_000 + count))
  assert.equal(await reader().read(buffer, content.length), 0, 'the end is known')
})

test('isVerified and verified tell of the verification, not of the last byte', async () => {
  const { growing, reader, seal } = await scene()
  const following = reader()
  const verified = following.verified()
  await growing.write(0, lent(content))
  assert.equal(following.isVerified, false)
  assert.equal(await isWaiting(verified), true)
  await seal()
  await verified
  assert.equal(following.isVerified, true)
})

test('an abort ends one wait with its reason; other readers do not notice', async () => {
  const { growing, reader } = await scene()
  const [leaving, staying] = [reader(), reader()]
  const controller = new AbortController()
  const { signal } = controller
  const reads = [leaving.read(Buffer.alloc(10), 0, { signal }), leaving.verified({ signal })]
  const stays = staying.read(Buffer.alloc(10), 0)
  const reason = new Error('left')
  controller.abort(reason)
  for (const read of reads) await assert.rejects(read, (error) => error === reason)
  await growing.write(0, lent(content))
  assert.equal(await stays, 10)
  await assert.rejects(leaving.read(Buffer.alloc(10), 0, { signal }), (error) => error === reason)
  assert.equal(await leaving.read(Buffer.alloc(10), 0), 10, 'without that signal it reads on')
})

test('open readers survive the seal and the removal of the blob; who comes later opens what is stored', async () => {
  const { store, growing, reader, seal } = await scene()
  const following = reader()
  await growing.write(0, lent(content))
  await seal()
  await store.delete(digest)
  assertSameBytes(await readAll(following), content)
  assert.equal(growing.reader(content.length, 'docker.io'), undefined)
})

for (const end of ['suspend', 'discard'] as const) {
  test(`${end}: readers that wait reject with the reason; what is present can still be read`, async () => {
    const { partial, growing, reader } = await scene()
    const following = reader()
    await growing.write(0, lent(content.subarray(0, 2_000_000)))
    const outcomes = Promise.allSettled([following.read(Buffer.alloc(1), 2_000_000), following.verified()])
    const reason = new Error('the fill failed')
    growing.fail(reason)
    await partial[end](reason)
    for (const outcome of await outcomes) assert.deepEqual(outcome, { status: 'rejected', reason })
    const buffer = Buffer.alloc(1000)
    for (const at of [0, 1_999_000]) {
      assert.equal(await following.read(buffer, at), 1000)
      assertSameBytes(buffer, content.subarray(at, at + 1000))
    }
  })
}

test('no reader gets a byte behind the size that it goes by, whatever was written there', async () => {
  const { growing, reader } = await scene()
  const following = reader(1000)
  await growing.write(0, lent(content.subarray(0, 2000)))
  assertSameBytes(await readAll(following), content.subarray(0, 1000))
  assert.equal(await following.read(Buffer.alloc(10), 1500), 0)
  growing.verified(2000)
  await assert.rejects(following.verified(), /has 2000 bytes, and was said to have 1000/)
})

test('a read of no bytes returns 0 and does not wait', async () => {
  const { reader } = await scene()
  assert.equal(await reader().read(Buffer.alloc(0), 0), 0)
})

test('a thousand waits leave nothing behind', async () => {
  const { growing, reader } = await scene()
  const following = reader()
  const { signal } = new AbortController()
  for (let at = 0; at < 1000; at += 1) {
    const reading = following.read(Buffer.alloc(1), at, { signal })
    await growing.write(at, lent(content.subarray(at, at + 1)))
    assert.equal(await reading, 1)
  }
  assert.ok(getEventListeners(signal, 'abort').length <= 1)
})

/** A window of 1000 bytes that is read by two; `meanwhile` runs while it is asked for bytes that it has not got. */
function windowScene(meanwhile: (window: WindowPartial) => Promise<void> = async () => {}) {
  const window = new WindowPartial({ id: 'w', algorithm: 'sha256', capacity: 1000 })
  const growing = new Growing()
  const view = window.view.bind(window)
  window.view = (from) => {
    const viewing = view(from)
    return {
      ...viewing,
      read: async (buffer, position) => {
        const count = await viewing.read(buffer, position)
        if (count === 0) await meanwhile(window)
        return count
      },
    }
  }
  growing.attach(window, { window })
  const [one, other] = [growing.reader(2000, 'docker.io'), growing.reader(2000, 'docker.io')]
  assert.ok(one && other)
  return { window, growing, one, other }
}

test('bytes that come while the partial is asked for them are given, though nobody tells of them again', async () => {
  const { one } = windowScene((window) => window.write(0, lent(content.subarray(0, 10))))
  assert.equal(await one.read(Buffer.alloc(100), 0), 10)
})

test('who leaves while the partial is asked for bytes does not wait for them', async () => {
  const leaving = new AbortController()
  const { one } = windowScene(async () => leaving.abort(new Error('left')))
  await assert.rejects(one.read(Buffer.alloc(100), 0, { signal: leaving.signal }), /left/)
})

/** A full window that one reader has read, and waits for more, and the other has not; the writing that waits for room. */
async function fullWindow(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval'] })
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const scene = windowScene()
  await scene.growing.write(0, lent(content.subarray(0, 1000)))
  assert.equal(await scene.other.read(Buffer.alloc(1000), 0), 1000)
  const waiting = scene.other.read(Buffer.alloc(1), 1000)
  const writing = scene.growing.write(1000, lent(content.subarray(1000, 2000)))
  const pass = async (ms: number) => {
    now += ms
    t.mock.timers.tick(ms)
    await settled()
  }
  return { ...scene, waiting, writing, pass }
}

test('who takes nothing of a full window may hold up others for ten seconds', async (t) => {
  const { one, waiting, writing, pass } = await fullWindow(t)
  await pass(10_000)
  await pass(9999)
  assert.equal(await isWaiting(waiting), true)
  await pass(1)
  assert.equal(await waiting, 1)
  await assert.rejects(one.read(Buffer.alloc(1), 0), /this client held up others who waited/)
  await writing
})

test('who takes something, but makes no room, may hold up others for two minutes', async (t) => {
  const { one, waiting, writing, pass } = await fullWindow(t)
  for (let at = 0; at < 12; at += 1) {
    await pass(10_000)
    assert.equal(await one.read(Buffer.alloc(1), at), 1)
  }
  assert.equal(await isWaiting(waiting), true)
  await pass(10_000)
  assert.equal(await waiting, 1)
  await assert.rejects(one.read(Buffer.alloc(1), 12), /this client held up others who waited/)
  await writing
})

test('who has read from the disk is told that all is right when it is synced, who has not, at once', async () => {
  const { growing, reader } = await scene()
  const [front, behind] = [reader(), reader()]
  await growing.write(0, lent(content.subarray(0, 1_000_000)))
  await front.read(Buffer.alloc(1000), 0)
  for (let at = 1_000_000; at < content.length; at += 500_000) {
    await growing.write(at, lent(content.subarray(at, at + 500_000)))
  }
  // The latest bytes are in memory, the first ones are not any more.
  await behind.read(Buffer.alloc(1000), 0)
  growing.verified(content.length)
  assert.deepEqual([front.isVerified, behind.isVerified], [true, false])
  const verified = behind.verified()
  assert.equal(await isWaiting(verified), true)
  growing.synced()
  await verified
  assert.equal(behind.isVerified, true)
})
