// What is verified by itself. Thought of: what is due and what is not; more than a page, more than at a time; damaged,
// gone, unreadable, verified and not to be noted; all of them stuck; a pause before, between and while it reads, and a
// stop in each; a clock that jumps; never.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { Scrub, type ScrubOptions } from '../../src/content/scrub.ts'
import type { Verdict } from '../../src/content/stored-blobs.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { until } from '../support/settle.ts'

const day = 24 * 60 * 60_000
const everyMs = 30 * day

function digestAt(index: number): Digest {
  return digestOf(Buffer.from(`blob ${index}`))
}

/** `count` blobs, the n-th verified n minutes after day 0; `answer` says what becomes of each that is read. */
async function start(
  count: number,
  answer: (digest: Digest, signal: AbortSignal | undefined) => Promise<Verdict> | Verdict,
  options: Partial<ScrubOptions> = {},
) {
  const catalog = new MemoryCatalog()
  const now = Date.now()
  for (let n = 0; n < count; n += 1)
    await catalog.sealed(digestAt(n), { size: 1, mtime: 1, inode: n }, now - 31 * day + n * 60_000)
  const read: Digest[] = []
  const scrub = new Scrub({
    catalog,
    stored: {
      verify: async (digest, asked) => {
        assert.equal(asked?.isGentle, true)
        read.push(digest)
        const verdict = await answer(digest, asked?.signal)
        if (verdict === 'whole') await catalog.verified(digest, { size: 1, mtime: 1, inode: 1 }, Date.now())
        else await catalog.gone(digest)
        return verdict
      },
    },
    everyMs,
    settleMs: 0,
    logger: pino({ level: 'silent' }),
    ...options,
  })
  return { scrub, read, catalog }
}

function digests(count: number): Digest[] {
  return Array.from({ length: count }, (_, n) => digestAt(n))
}

test('all that is due is read once, those first that were not for the longest', async () => {
  for (const count of [0, 1, 9, 250]) {
    const { scrub, read } = await start(count, () => 'whole')
    await scrub.scrub()
    assert.deepEqual(read, digests(count))
    await scrub.scrub()
    assert.equal(read.length, count, 'nothing is due any more')
    assert.deepEqual(scrub.scrubbed, { blobs: count, damaged: 0 })
  }
})

test('what was verified lately is left alone', async () => {
  const { scrub, read } = await start(2 * 24 * 60, () => 'whole')
  await scrub.scrub()
  // What it took to fill the catalog may have made one more due.
  assert.ok([24 * 60, 24 * 60 + 1].includes(read.length), `${read.length}`)
})

test('damaged and gone: both are counted, and not met again', async () => {
  const { scrub, read } = await start(250, (digest) => (digest === digestAt(100) ? 'damaged' : 'absent'))
  await scrub.scrub()
  assert.deepEqual(scrub.scrubbed, { blobs: 250, damaged: 1 })
  assert.deepEqual(read, digests(250))
})

test('those that cannot be read keep nobody from being read, and are tried in the next run', async () => {
  const bad = new Set(digests(150))
  const { scrub, read } = await start(400, (digest) => {
    if (bad.has(digest)) throw new Error('the disk failed')
    return 'whole'
  })
  await assert.rejects(scrub.scrub(), /the disk failed/)
  assert.equal(new Set(read).size, 400)
  assert.equal(read.length, 400, 'each once')
  bad.clear()
  await scrub.scrub()
  assert.equal(scrub.scrubbed.blobs, 400)
})

test('where nothing can be noted a run ends', async () => {
  const { scrub, read, catalog } = await start(3000, () => 'whole')
  Object.assign(catalog, { verified: async () => {} })
  await scrub.scrub()
  assert.ok(read.length >= 1000 && read.length < 1300, `${read.length} were read`)
})

test('a pause leaves what is being read, and what waits; after it that is read anew', async () => {
  let held = Promise.withResolvers<Verdict>()
  const { scrub, read } = await start(20, (_digest, signal) => {
    signal?.addEventListener('abort', () => held.reject(signal.reason))
    return held.promise
  })
  const running = scrub.scrub()
  await until(() => read.length === 8)
  scrub.pause()
  scrub.pause()
  held = Promise.withResolvers()
  held.resolve('whole')
  await new Promise(setImmediate)
  assert.deepEqual(read, digests(8))
  scrub.resume()
  scrub.resume()
  await running
  assert.deepEqual(read, [...digests(8), ...digests(20)])
  assert.equal(scrub.scrubbed.blobs, 20)
})

test('a stop ends it while it reads, while it rests and while it pauses', async () => {
  for (const when of ['reading', 'pausing']) {
    const stopping = new AbortController()
    const { scrub, read } = await start(20, (_digest, signal) => {
      const never = Promise.withResolvers<Verdict>()
      signal?.addEventListener('abort', () => never.reject(signal.reason))
      return never.promise
    })
    if (when === 'pausing') scrub.pause()
    const running = scrub.scrub(stopping.signal)
    if (when === 'reading') await until(() => read.length === 8)
    stopping.abort(new Error('the mirror stops'))
    await assert.rejects(running, /the mirror stops/)
    assert.equal(scrub.scrubbed.blobs, 0)
  }
})

test('nothing is read just after the start', async () => {
  const { scrub, read } = await start(5, () => 'whole', { settleMs: 60_000 })
  await scrub.scrub()
  assert.deepEqual(read, [])
})
