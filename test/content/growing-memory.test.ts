import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Growing } from '../../src/content/growing.ts'
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
