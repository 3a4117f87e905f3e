import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Growing } from '../../src/content/growing.ts'
import { ContinuedPartial } from '../../src/storage/memory/continued-partial.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { WindowPartial } from '../../src/storage/memory/window-partial.ts'
import { testBytes } from '../storage/files/storage-folder.ts'
import { assertReleased, lent } from '../support/lent.ts'

const content = testBytes(3000)
const part = (n: number) => lent(content.subarray(1000 * n, 1000 * (n + 1)))

for (const end of ['fail', 'synced', 'attach', 'pause'] as const) {
  test(`${end}: nothing is left in memory, also of a write that it overtakes`, async () => {
    const partial = await new MemoryBlobStore().partials.open({ id: 'one', algorithm: 'sha256' })
    const growing = new Growing()
    growing.attach(partial, { window: undefined })
    await growing.write(0, part(0))
    const writing = growing.write(1000, part(1))
    if (end === 'fail') growing.fail(new Error('the fill failed'))
    if (end === 'synced') growing.synced()
    const window = new WindowPartial({ id: 'two', algorithm: 'sha256', capacity: 10_000 })
    if (end === 'attach') growing.attach(window, { window })
    await writing
    if (end === 'pause') await growing.pause()
    assertReleased()
    await partial.discard(new Error('the end'))
  })
}

for (const how of ['is written', 'fails behind that'] as const) {
  test(`what ${how} is had from memory by whoever waits for it, and not from the disk in the moment before`, async (t) => {
    const partial = await new MemoryBlobStore().partials.open({ id: 'one', algorithm: 'sha256' })
    const growing = new Growing()
    growing.attach(partial, { window: undefined })
    const reader = growing.reader(3000, 'docker.io')
    assert.ok(reader?.lend)
    const [present, done] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const { write } = partial
    let isFirst = true
    t.mock.method(partial, 'write', async (...asked: Parameters<typeof write>) => {
      const wasFirst = isFirst
      await write.apply(partial, asked)
      present.resolve()
      isFirst = false
      if (wasFirst) await done.promise
    })
    const writing = growing.write(0, part(0)).catch((error: unknown) => error)
    await present.promise
    let isRead = false
    const reading = reader.lend(0).then((held) => {
      isRead = true
      return held
    })
    await new Promise(setImmediate)
    assert.equal(isRead, false)
    if (how === 'is written') done.resolve()
    else done.reject(new Error('the journal could not be written'))
    await writing
    // It is tried again.
    await growing.write(0, part(0))
    using held = await reading
    assert.deepEqual(Buffer.from(held?.bytes ?? []), content.subarray(0, 1000))
    await reader[Symbol.asyncDispose]()
    growing.fail(new Error('the end'))
    await partial.discard(new Error('the end'))
  })
}

for (const how of ['passed', 'left'] as const) {
  test(`what is in memory when a disk fails is there for its readers until they have ${how} it, and for nobody after that`, async () => {
    const partial = await new MemoryBlobStore().partials.open({ id: 'one', algorithm: 'sha256' })
    const growing = new Growing()
    growing.attach(partial, { window: undefined })
    const reader = growing.reader(3000, 'docker.io')
    assert.ok(reader)
    await growing.write(0, part(0))
    const remains = await partial.detach(new Error('the disk failed'))
    const before = { bytes: remains.hashedUntil, hash: remains.hash() }
    const window = new WindowPartial({ id: 'w', algorithm: 'sha256', capacity: 10_000, before })
    const continued = new ContinuedPartial({ remains, window, algorithm: 'sha256' })
    growing.attach(continued, { window: continued })
    assert.throws(assertReleased, /still held/)
    const buffer = Buffer.alloc(1000)
    if (how === 'passed') {
      assert.deepEqual([await reader.read(buffer, 0), buffer], [1000, content.subarray(0, 1000)])
      await growing.write(1000, part(1))
      assert.equal(await reader.read(buffer, 1000), 1000)
      const waiting = assert.rejects(reader.read(buffer, 2000), /the fill failed/)
      growing.fail(new Error('the fill failed'))
      await waiting
    }
    if (how === 'left') await reader[Symbol.asyncDispose]()
    assertReleased()
    await continued.discard(new Error('the end'))
    await reader[Symbol.asyncDispose]()
  })
}

test('the last reader of a window that has ended lets go of it', async () => {
  const window = new WindowPartial({ id: 'w', algorithm: 'sha256', capacity: 10_000 })
  const growing = new Growing()
  growing.attach(window, { window })
  const reader = growing.reader(3000, 'docker.io')
  assert.ok(reader)
  for (const n of [0, 1, 2]) await growing.write(1000 * n, part(n))
  growing.fail(new Error('the fill failed'))
  await window.discard(new Error('the fill failed'))
  assert.equal(await reader.read(Buffer.alloc(3000), 0), 3000)
  assert.throws(assertReleased, /still held/)
  await reader[Symbol.asyncDispose]()
  assertReleased()
})
