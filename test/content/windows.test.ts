// The memory of what a full disk cannot take. Neighbours that were thought of: one window, as many as the budget holds,
// a thousand; windows that were verified, failed, left; readers that are there, that never come.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Download } from '../../src/content/download.ts'
import { Growing } from '../../src/content/growing.ts'
import { Ways } from '../../src/content/ways.ts'
import { Windows } from '../../src/content/windows.ts'
import { abortable } from '../../src/flow/abortable.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { readAll, testBytes } from '../storage/files/storage-folder.ts'
import { heapUsed } from '../support/heap.ts'
import { lending, lent } from '../support/lent.ts'
import { until } from '../support/settle.ts'
import { blobsOver, good, scripted } from './scripted-source.ts'

const mebibyte = 1024 * 1024
const options = { id: 'w', algorithm: 'sha256' } as const

test('a thousand windows hold little more than a few of them', () => {
  const windows = new Windows()
  const capacities = Array.from({ length: 1000 }, () => windows.open(options).capacity)
  // Half of what is left.
  const first = capacities.slice(0, 10).map((capacity) => capacity / mebibyte)
  assert.deepEqual(first, [4, 4, 4, 4, 4, 4, 4, 2, 1, 0.5])
  assert.ok(capacities.every((capacity) => capacity >= 64 * 1024))
  const sum = capacities.reduce((one, other) => one + other)
  assert.ok(sum <= 100 * mebibyte, String(sum))
})

test('a window counts until it has ended and nobody reads it', async () => {
  const windows = new Windows()
  const open = Array.from({ length: 1000 }, () => windows.open(options))
  const views = open.map((window) => window.view())
  for (const window of open) await window.discard(new Error('over'))
  assert.ok(windows.open(options).capacity < mebibyte)
  for (const view of views) await view[Symbol.asyncDispose]()
  assert.equal(windows.open(options).capacity, 4 * mebibyte)
})

test('windows that have ended are forgotten', async () => {
  const windows = new Windows()
  const before = heapUsed()
  for (let n = 0; n < 5000; n += 1) await windows.open(options).discard(new Error('over'))
  windows.open(options)
  const grown = heapUsed() - before
  assert.ok(grown < 1e6, `${grown} bytes`)
})

test('what was handed through and read, or left in the middle, gives its memory back', async (t) => {
  const capacities: number[] = []
  const open = Windows.prototype.open
  t.mock.method(Windows.prototype, 'open', function (this: Windows, given: typeof options) {
    const window = open.call(this, given)
    capacities.push(window.capacity)
    return window
  })
  const blobs = blobsOver(t, new MemoryBlobStore({ room: 0 }))
  for (let n = 0; n < 40; n += 1) {
    const content = testBytes(5_000_000, n)
    const { reader } = await blobs.open(digestOf(content), good('x/x', content), { size: content.length })
    if (n % 2 === 0) await readAll(reader)
    else await reader.read(Buffer.alloc(1000), 0)
    await reader[Symbol.asyncDispose]()
    await until(() => blobs.fillCount === 0)
  }
  assert.deepEqual(capacities, Array(40).fill(4 * mebibyte))
})

test('a window that is read backwards is an error, and never the end', async (t) => {
  const content = testBytes(12_000_000, 1)
  const blobs = blobsOver(t, new MemoryBlobStore({ room: 0 }))
  const { reader } = await blobs.open(digestOf(content), good('x/x', content), { size: content.length })
  const buffer = Buffer.alloc(mebibyte)
  for (let at = 0; at < 8_000_000; ) at += await reader.read(buffer, at)
  await assert.rejects(reader.read(buffer, 10), RangeError)
  await assert.rejects(reader.read(buffer, 0), RangeError)
  await reader[Symbol.asyncDispose]()
})

test('a blob that waits for its next turn holds nothing of what is on the disk', async (t) => {
  const partial = await new MemoryBlobStore().partials.open({ id: 'p', algorithm: 'sha256' })
  let readsOfDisk = 0
  const view = partial.view.bind(partial)
  t.mock.method(partial, 'view', () => {
    const opened = view()
    const read = opened.read.bind(opened)
    return Object.assign(opened, {
      read: (...parameters: Parameters<typeof read>) => {
        readsOfDisk += 1
        return read(...parameters)
      },
    })
  })
  const growing = new Growing()
  growing.attach(partial, { window: undefined })
  const reader = growing.reader(10_000, 'x')
  for (let at = 0; at < 10_000; at += 1000) await growing.write(at, lent(testBytes(1000, at)))
  const buffer = Buffer.alloc(1000)
  await reader?.read(buffer, 9000)
  assert.equal(readsOfDisk, 0)
  await growing.pause()
  await reader?.read(buffer, 9000)
  assert.equal(readsOfDisk, 1)
})

for (const [where, room] of [
  ['on the disk', undefined],
  ['in a window', 0],
] as const) {
  test(`small packets ${where} leave nothing behind, of those that write nor of those that follow`, async (t) => {
    const count = 100_000
    const content = testBytes(count * 20, 3)
    let middle = 0
    const source = good('x/x', content)
    source.open = async (start, { signal }) => ({
      start,
      size: content.length,
      async *body() {
        for (let at = start; at < content.length; at += 20) {
          if (at % 2000 === 0) await new Promise(setImmediate)
          signal.throwIfAborted()
          if (at === content.length / 2) middle = heapUsed()
          yield* lending(content.subarray(at, at + 20))
        }
      },
      stop: () => {},
      discard: () => {},
    })
    const blobs = blobsOver(t, new MemoryBlobStore(room === undefined ? {} : { room }))
    const { reader } = await blobs.open(digestOf(content), source, { size: content.length })
    const leaving = new AbortController()
    const waiting = blobs.open(digestOf(content), source, { size: content.length, signal: leaving.signal })
    const buffer = Buffer.alloc(1000)
    for (let at = 0; at < content.length - 20; )
      at += await reader.read(buffer, at, { signal: leaving.signal })
    const growth = heapUsed() - middle
    t.diagnostic(`${(growth / (count / 2)).toFixed(1)} bytes of heap a packet`)
    // A race with a promise that lives as long as the download leaves 500.
    assert.ok(growth < 100 * (count / 2), String(growth))
    await reader[Symbol.asyncDispose]()
    await (await waiting).reader[Symbol.asyncDispose]()
  })
}

test('a download that has ended keeps nothing of its connection, whoever keeps it', async () => {
  const gone = new Set<string>()
  const registry = new FinalizationRegistry((name: string) => gone.add(name))
  const never = new Promise<void>(() => {})
  const start = () => {
    const source = scripted('x/x', () => ({ size: 1000, bytes: Buffer.alloc(1000) }))
    const open = source.open.bind(source)
    source.open = async (...query) => {
      const span = await open(...query)
      registry.register(span, 'span')
      return span
    }
    const about = {
      span: { start: 0, end: 1000 },
      gapEnd: 1000,
      isClosed: false,
      isFurther: false,
      since: 0,
      rate: undefined,
      clients: () => [],
    }
    const writing = Promise.withResolvers<void>()
    const download = new Download({
      ...about,
      way: new Ways(1, () => false).add(source, { claim: undefined }),
      blob: { restingMs: 2000 },
      onAnswer: async () => 1000,
      write: async (_position, _bytes, left) => {
        writing.resolve()
        await abortable(never, left)
      },
      signal: new AbortController().signal,
    })
    return { download, writing: writing.promise, running: download.run() }
  }
  const { download, writing, running } = start()
  await writing
  assert.equal(download.end('resting'), true)
  assert.equal(await running, undefined)
  await until(() => {
    heapUsed()
    return gone.has('span')
  })
  assert.equal(download.isLeft, true)
})
