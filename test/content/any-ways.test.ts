// Ways cut, send rubbish (at once or late), too little, too much, nothing, begin at 0 again, refuse, fall silent; their
// clients claim sizes, come later, leave; an earlier attempt has left bytes; the disk is full in the middle.

import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { pino } from 'pino'
import { Blobs } from '../../src/content/blobs.ts'
import { partialId } from '../../src/content/fill-options.ts'
import type { OpenedSpan, Source } from '../../src/content/source.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName } from '../../src/oci/repository-name.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import type { BlobStore } from '../../src/storage/blob-store.ts'
import { StorageError } from '../../src/storage/error.ts'
import { FileBlobStore } from '../../src/storage/files/file-blob-store.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { repositoryKey } from '../../src/storage/repository-key.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { assertSameBytes, storageFolder, testBytes } from '../storage/files/storage-folder.ts'
import { lending, lent } from '../support/lent.ts'

const size = 300_000
const content = testBytes(size, 31)
const rubbish = testBytes(2 * size, 32)
const digest = digestOf(content)
const chunkSize = 30_000

/** How a source answers one question; beyond its list it answers well, or fails for good. */
interface Manner {
  readonly kind:
    | 'well'
    | 'cut'
    | 'wrong'
    | 'late rubbish'
    | 'short'
    | 'long'
    | 'from the start'
    | 'refused'
    | 'silent'
    | 'empty'
  readonly tellsSize: boolean
  readonly at: number
}

const manner: fc.Arbitrary<Manner> = fc.record({
  kind: fc.constantFrom(
    'well' as const, 'cut' as const, 'wrong' as const, 'late rubbish' as const, 'short' as const,
    'long' as const, 'from the start' as const, 'refused' as const, 'silent' as const, 'empty' as const,
  ), // biome-ignore format: a list
  tellsSize: fc.boolean(),
  at: fc.nat(size),
})

interface Script {
  readonly manners: readonly Manner[]
  readonly isGoodInTheEnd: boolean
  /** What its client claims of the size. */
  readonly claim: number | undefined
  /** Turns of the event loop after which its client asks. */
  readonly after: number
  /** Turns after which its client leaves; undefined: it stays. */
  readonly leaves: number | undefined
}

const script: fc.Arbitrary<Script> = fc.record({
  manners: fc.array(manner, { maxLength: 4 }),
  isGoodInTheEnd: fc.boolean(),
  claim: fc.constantFrom(undefined, size, size, 1000, size - 1, size + 70_000),
  after: fc.nat(30),
  leaves: fc.option(fc.nat(40), { nil: undefined, freq: 4 }),
})

function sourceOf(n: number, { manners, isGoodInTheEnd }: Script): Source {
  const name = `upstream ${n}`
  let asked = 0
  return {
    name,
    repository: repositoryKey('docker.io', parseRepositoryName(`r/${n}`)),
    async open(position, { signal, end = size }): Promise<OpenedSpan> {
      const last: Manner = { kind: isGoodInTheEnd ? 'well' : 'refused', tellsSize: true, at: 0 }
      const { kind, tellsSize, at } = manners[asked] ?? last
      asked += 1
      await new Promise(setImmediate)
      signal.throwIfAborted()
      if (kind === 'refused')
        throw new UpstreamError('NOT_FOUND', name, 'it has no such blob', { status: 404 })
      const bytes =
        kind === 'wrong' ? rubbish.subarray(0, size)
        : kind === 'late rubbish' ? Buffer.concat([content.subarray(0, at), rubbish.subarray(at, size)])
        : kind === 'short' ? content.subarray(0, at)
        : kind === 'long' ? Buffer.concat([content, rubbish.subarray(0, at)])
        : kind === 'empty' ? content.subarray(0, 0)
        : content // biome-ignore format: a table
      const start = kind === 'from the start' ? 0 : position
      if (start >= bytes.length && bytes.length > 0) {
        throw new UpstreamError('UNREACHABLE', name, 'range not satisfiable', { status: 416 })
      }
      let isStopped = false
      const stop = Math.min(
        kind === 'cut' ? Math.max(start, at) : bytes.length,
        kind === 'from the start' ? size : Math.max(end, bytes.length),
      )
      return {
        start,
        size: tellsSize ? bytes.length : undefined,
        async *body() {
          for (let from = start; from < stop && !isStopped; from += chunkSize) {
            if (kind === 'silent' && from >= at) {
              const until = performance.now() + 60
              while (performance.now() < until && !isStopped) {
                signal.throwIfAborted()
                await new Promise((resolve) => setTimeout(resolve, 2))
              }
              if (isStopped) return
              throw new UpstreamError('UNREACHABLE', name, 'it stalled')
            }
            await new Promise(setImmediate)
            signal.throwIfAborted()
            yield* lending(bytes.subarray(from, Math.min(from + chunkSize, stop)))
          }
          if (kind === 'cut' && !isStopped) throw new UpstreamError('UNREACHABLE', name, 'it broke off')
        },
        stop: () => {
          isStopped = true
        },
        discard: () => {},
      }
    },
  }
}

class Left extends Error {}

async function readWith(reader: BlobReader, signal: AbortSignal): Promise<Buffer> {
  const pieces: Buffer[] = []
  for (let at = 0; ; ) {
    const buffer = Buffer.alloc(50_000)
    const count = await reader.read(buffer, at, { signal })
    if (count === 0) return Buffer.concat(pieces)
    pieces.push(buffer.subarray(0, count))
    at += count
  }
}

/** One client: 'served' with the right bytes, or told of a failure; never wrong bytes to the end. */
async function pull(
  blobs: Blobs,
  source: Source,
  { claim, after, leaves }: Script,
): Promise<'served' | Error> {
  for (let turn = 0; turn < after; turn += 1) await new Promise(setImmediate)
  const leaving = new AbortController()
  if (leaves !== undefined) {
    const leave = async () => {
      for (let turn = 0; turn < leaves; turn += 1) await new Promise(setImmediate)
      leaving.abort(new Left())
    }
    void leave()
  }
  const signal = AbortSignal.any([leaving.signal, AbortSignal.timeout(20_000)])
  try {
    const { reader } = await blobs.open(digest, source, { size: claim, signal })
    await using closing = reader
    const bytes = await readWith(closing, signal)
    await closing.verified({ signal })
    assertSameBytes(bytes, content)
    return 'served'
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error
    return error as Error
  }
}

/** Bytes of the disk: enough, or full in the middle of the blob or at its end. */
const room = fc.constantFrom(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 160_000, size - 1)

interface Run {
  readonly store: BlobStore
  /** What it holds at most, in bytes. */
  readonly room: number
  readonly scripts: readonly Script[]
  /** Bytes that an earlier attempt has left. */
  readonly kept: number
}

async function play({ store, room, scripts, kept }: Run): Promise<void> {
  const blobs = new Blobs({
    pieces: new Pieces(),
    store,
    records: new MemoryCatalog(),
    rate: undefined,
    retries: 2,
    patienceMs: 1000,
    slowMs: 20,
    logger: pino({ level: 'silent' }),
  })
  if (kept > size / 2 && kept <= room) {
    const partial = await store.partials.open({ id: partialId(digest), algorithm: 'sha256' })
    await partial.write(0, lent(content.subarray(0, kept)))
    await partial.suspend(new Error('stopped'))
  }
  const sources = scripts.map((each, n) => sourceOf(n, each))
  const outcomes = await Promise.all(sources.map((source, n) => pull(blobs, source, scripts[n] as Script)))
  for (const outcome of outcomes) {
    if (outcome === 'served' || outcome instanceof Left) continue
    assert.notEqual(outcome.name, 'TimeoutError', 'each is answered')
    const isKnown = outcome instanceof UpstreamError || outcome instanceof StorageError
    assert.ok(isKnown, `${outcome.name}: ${outcome.message}`)
  }
  while (blobs.fillCount > 0) await new Promise(setImmediate)
  // Who asks a good way again (and again, where its list of faults is long) is served in the end.
  const good = scripts.findIndex(({ isGoodInTheEnd }) => isGoodInTheEnd)
  if (good >= 0) {
    let last: 'served' | Error = new Error('not tried')
    for (let round = 0; round < 6 && last !== 'served'; round += 1) {
      const again = { ...(scripts[good] as Script), claim: size, after: 0, leaves: undefined }
      last = await pull(blobs, sources[good] as Source, again)
    }
    assert.equal(last, 'served')
    while (blobs.fillCount > 0) await new Promise(setImmediate)
    const isStored = (await blobs.stat(digest)) !== undefined
    assert.ok(isStored || room <= size, 'it is kept where there is room')
    if (isStored) assert.deepEqual(await store.partials.list(), [], 'nothing is left behind')
  }
  await blobs[Symbol.asyncDispose]()
  await store[Symbol.asyncDispose]()
}

const scripts = fc.array(script, { minLength: 1, maxLength: 4 })

test('whatever the ways do: no client gets a wrong body to the end, all are answered, and a good way wins', async () => {
  await fc.assert(
    fc.asyncProperty(scripts, fc.nat(size), room, (scripts, kept, room) =>
      play({ store: new MemoryBlobStore({ room }), room, scripts, kept }),
    ),
    { numRuns: 30 },
  )
})

const isLinux = process.platform === 'linux'

test('the same over files, and no descriptor stays open', { skip: !isLinux }, async (t) => {
  const folder = await storageFolder(t)
  const room = Number.POSITIVE_INFINITY
  let run = 0
  const open = async () => (await readdir('/proc/self/fd')).length
  const before = await open()
  await fc.assert(
    fc.asyncProperty(scripts, fc.nat(size), async (scripts, kept) => {
      run += 1
      await play({ store: await FileBlobStore.open(join(folder, `${run}`)), room, scripts, kept })
      assert.ok((await open()) <= before + 2, `${await open()} open, ${before} before`)
    }),
    { numRuns: 20 },
  )
})
