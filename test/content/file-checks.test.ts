// What is hashed beside its transfer. Thought of: more files than may be hashed at a time; the same file for many readers;
// readers that leave before it begins, while it runs, with and without others that wait, and come back; a stop before it
// begins and in the middle; a closed range of what was recorded, after a restart.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { FileChecks } from '../../src/content/file-checks.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import type { StoredBlob } from '../../src/storage/blob-store.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { testBytes } from '../storage/files/storage-folder.ts'
import { lent } from '../support/lent.ts'
import { until } from '../support/settle.ts'
import { blobsOver } from './scripted-source.ts'

const mebibyte = 1024 * 1024

/** A stored file whose reads wait until they are let go, and that tells how it is used. */
class SlowFile {
  readonly bytes: Buffer
  readonly file
  reads = 0
  /** How often it is open. */
  opened = 0
  #gate: PromiseWithResolvers<void> | undefined

  constructor(seed: number, { isHeld = true } = {}) {
    this.bytes = testBytes(2 * mebibyte, seed)
    this.file = { size: this.bytes.length, mtime: 1, inode: seed }
    if (isHeld) this.#gate = Promise.withResolvers()
  }

  get digest(): Digest {
    return digestOf(this.bytes)
  }

  letGo(): void {
    this.#gate?.resolve()
    this.#gate = undefined
  }

  open(): StoredBlob {
    this.opened += 1
    let isOpen = true
    return {
      file: this.file,
      opened: { ...this.file, trace: '' },
      look: () => ({ ...this.file, trace: '' }),
      size: this.bytes.length,
      isVerified: true,
      verified: async () => {},
      read: async (buffer, position, options) => {
        this.reads += 1
        await this.#gate?.promise
        options?.signal?.throwIfAborted()
        assert.ok(isOpen, 'it is read after it was closed')
        return this.bytes.copy(buffer, 0, position)
      },
      [Symbol.asyncDispose]: async () => {
        assert.ok(isOpen, 'it is closed twice')
        isOpen = false
        this.opened -= 1
      },
    }
  }
}

function started(t: TestContext) {
  const checks = new FileChecks(async () => undefined)
  const judged: (Digest | undefined)[] = []
  const read = (file: SlowFile): BlobReader =>
    checks.reader(file.digest, file.open(), async (actual) => void judged.push(actual))
  const files: SlowFile[] = []
  const file = (options?: { isHeld: boolean }): SlowFile => {
    const made = new SlowFile(files.length + 1, options)
    files.push(made)
    return made
  }
  t.after(async () => {
    for (const each of files) each.letGo()
    await checks[Symbol.asyncDispose]()
  })
  return { checks, judged, read, file }
}

test('two files are hashed at a time, each once for all who read it, and then closed', async (t) => {
  const { read, file, judged } = started(t)
  const files = Array.from({ length: 5 }, () => file())
  const readers = files.flatMap((each) => [read(each), read(each)])
  await new Promise(setImmediate)
  assert.deepEqual(
    files.map(({ reads }) => reads),
    [1, 1, 0, 0, 0],
  )
  for (const each of files) each.letGo()
  for (const reader of readers) await reader.verified()
  assert.ok(readers.every(({ isVerified }) => isVerified))
  assert.deepEqual(judged.toSorted(), files.map(({ digest }) => digest).toSorted())
  for (const reader of readers) {
    assert.equal(await reader.read(Buffer.alloc(10), 5), 10, 'whoever opened it reads it to its end')
    await reader[Symbol.asyncDispose]()
    await reader[Symbol.asyncDispose]()
  }
  assert.ok(files.every(({ opened }) => opened === 0))
})

test('whose readers leave before it begins is not hashed, and whoever comes back begins anew', async (t) => {
  const { read, file } = started(t)
  const [one, two, queued] = [file(), file(), file()]
  for (const each of [one, two]) read(each)
  const leaving = [read(queued), read(queued)]
  for (const reader of leaving) await reader[Symbol.asyncDispose]()
  await until(() => queued.opened === 0)
  const back = read(queued)
  for (const each of [one, two, queued]) each.letGo()
  await back.verified()
  assert.ok(back.isVerified)
})

test('whose readers leave while it is hashed goes on where nobody waits: the next one finds it done', async (t) => {
  const { read, file, judged } = started(t)
  const left = file()
  const reader = read(left)
  await until(() => left.reads === 1)
  await reader[Symbol.asyncDispose]()
  await reader[Symbol.asyncDispose]()
  assert.equal(left.opened, 1, 'what is being read is open')
  const back = read(left)
  left.letGo()
  await back.verified()
  await back[Symbol.asyncDispose]()
  await until(() => left.opened === 0)
  assert.deepEqual(judged, [left.digest])
})

test('whose readers leave while it is hashed makes room where others wait, and is right for who comes back', async (t) => {
  const { read, file, judged } = started(t)
  const [left, other] = [file(), file()]
  const [leaving] = [read(left), read(other)]
  const waiting = file({ isHeld: false })
  const waits = read(waiting)
  await until(() => left.reads === 1)
  await leaving?.[Symbol.asyncDispose]()
  left.letGo()
  await waits.verified()
  assert.deepEqual(judged, [waiting.digest])
  await until(() => left.opened === 0)
  const back = read(left)
  await back.verified()
  assert.ok(back.isVerified)
})

test('a stop ends what is hashed and what waits for that, and whoever comes afterwards', async (t) => {
  const { checks, read, file, judged } = started(t)
  const files = Array.from({ length: 4 }, () => file())
  const readers = files.map(read)
  await until(() => files[1]?.reads === 1)
  const stopping = checks[Symbol.asyncDispose]()
  for (const each of files) each.letGo()
  await stopping
  for (const reader of [...readers, read(file())]) {
    await assert.rejects(reader.verified(), { code: 'UNAVAILABLE' })
    assert.equal(reader.isVerified, false)
  }
  assert.ok(files.every(({ opened }) => opened === 1))
  for (const reader of readers) await reader[Symbol.asyncDispose]()
  assert.ok(files.every(({ opened }) => opened === 0))
  assert.deepEqual(judged, [])
})

test('a closed range of what was recorded is read alone, after a restart, whatever else is hashed', async (t) => {
  const store = new MemoryBlobStore()
  const records = new MemoryCatalog()
  const bytes = testBytes(8 * mebibyte, 5)
  const digest = digestOf(bytes)
  const partial = await store.partials.open({ id: 'x', algorithm: 'sha256' })
  await partial.write(0, lent(bytes))
  await records.sealed(digest, await partial.seal(digest), 1)
  let read = 0
  const open = store.open.bind(store)
  store.open = async (asked) => {
    const found = await open(asked)
    return (
      found &&
      Object.assign(Object.create(found), {
        file: found.file,
        read: async (buffer: Uint8Array, position: number) => {
          const count = await found.read(buffer, position)
          read += count
          return count
        },
      })
    )
  }
  const reader = await blobsOver(t, store, { records }).openStored(digest)
  await reader?.read(Buffer.alloc(1000), 4 * mebibyte)
  await reader?.verified()
  assert.equal(reader?.isVerified, true)
  await reader?.[Symbol.asyncDispose]()
  assert.equal(read, 1000)
})

test('who reads a file that is hashed, and leaves, does not wait for the disk', async () => {
  await using checks = new FileChecks(async () => undefined)
  const slow = new SlowFile(99)
  const reader = checks.reader(slow.digest, slow.open(), async () => {})
  const leaving = new AbortController()
  const reading = reader.read(Buffer.alloc(10), 0, { signal: leaving.signal })
  leaving.abort(new Error('left'))
  slow.letGo()
  await assert.rejects(reading, /left/)
  await reader.verified()
  await reader[Symbol.asyncDispose]()
  assert.equal(slow.opened, 0)
})

test('a file is read by the store, not here; and here where it was replaced or removed since it was opened', async () => {
  for (const there of ['the same', 'another', 'none']) {
    const slow = new SlowFile(7, { isHeld: false })
    const judged: (Digest | undefined)[] = []
    await using checks = new FileChecks(async (asked, options) => {
      assert.equal(options?.isServed, true)
      if (there === 'none') return undefined
      return { file: { ...slow.file, inode: there === 'another' ? 99 : slow.file.inode }, actual: asked }
    })
    const reader = checks.reader(slow.digest, slow.open(), async (actual) => void judged.push(actual))
    await reader.verified()
    assert.deepEqual(judged, [slow.digest])
    assert.equal(slow.reads > 0, there !== 'the same', there)
    await reader[Symbol.asyncDispose]()
  }
})

test('a store that reads for nobody any more is told to stop where others wait, and at the stop', async () => {
  const signals: AbortSignal[] = []
  const checks = new FileChecks(async (_asked, options) => {
    const { signal } = options ?? {}
    assert.ok(signal)
    signals.push(signal)
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  })
  const files = [1, 2, 3].map((seed) => new SlowFile(seed))
  const [one, two] = files.slice(0, 2).map((file) => checks.reader(file.digest, file.open(), async () => {}))
  await until(() => signals.length === 2)
  await one?.[Symbol.asyncDispose]()
  assert.equal(signals[0]?.aborted, false, 'nobody waits')
  const [, , file] = files
  assert.ok(file)
  const three = checks.reader(file.digest, file.open(), async () => {})
  await until(() => signals.length === 3)
  assert.deepEqual(
    signals.map(({ aborted }) => aborted),
    [true, false, false],
  )
  await checks[Symbol.asyncDispose]()
  assert.ok(signals.every(({ aborted }) => aborted))
  for (const reader of [two, three]) {
    await assert.rejects(reader?.verified() ?? Promise.resolve(), { code: 'UNAVAILABLE' })
    await reader?.[Symbol.asyncDispose]()
  }
})
