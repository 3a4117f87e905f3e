/**
 * What is stored is counted once, and kept up to date. Thought of: blobs that come and go while the folder is walked,
 * in folders before, at and after the walk; a folder that is made meanwhile; the same blob stored twice; a folder
 * that is not there yet; the end in the middle of the walk.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { StoredCount } from '../../../src/storage/files/stored-count.ts'

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'larder-count-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

async function store(directory: string, count: StoredCount, prefix: string, name: string, size: number) {
  const place = join('sha256', prefix)
  await count.change(place, async () => {
    const path = join(directory, place, name)
    await mkdir(join(directory, place), { recursive: true })
    const before = await stat(path).catch(() => undefined)
    await writeFile(path, Buffer.alloc(size))
    return { bytes: size - (before?.size ?? 0), blobs: before ? 0 : 1 }
  })
}

async function remove(directory: string, count: StoredCount, prefix: string, name: string) {
  const place = join('sha256', prefix)
  await count.change(place, async () => {
    const path = join(directory, place, name)
    const before = await stat(path).catch(() => undefined)
    await rm(path, { force: true })
    return before ? { bytes: -before.size, blobs: -1 } : { bytes: 0, blobs: 0 }
  })
}

async function truth(directory: string): Promise<{ bytes: number; blobs: number }> {
  const names = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = names.filter((entry) => entry.isFile())
  const sizes = await Promise.all(
    files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size),
  )
  return { bytes: sizes.reduce((sum, size) => sum + size, 0), blobs: files.length }
}

test('a folder that is not there yet has nothing; what is stored then is counted', async (t) => {
  const directory = await folder(t)
  await using count = new StoredCount(join(directory, 'missing'))
  await count.start()
  assert.deepEqual(count.total, { bytes: 0, blobs: 0 })
  await store(join(directory, 'missing'), count, 'aa', '1', 10)
  await store(join(directory, 'missing'), count, 'aa', '1', 12)
  assert.deepEqual(count.total, { bytes: 12, blobs: 1 })
  await remove(join(directory, 'missing'), count, 'aa', '1')
  assert.deepEqual(count.total, { bytes: 0, blobs: 0 })
})

test('whatever comes and goes while it is counted, the total is what is there', async (t) => {
  const change = fc.record({
    isRemoval: fc.boolean(),
    prefix: fc.constantFrom('00', '11', '22', '33', '44'),
    name: fc.constantFrom('a', 'b', 'c'),
    size: fc.integer({ min: 0, max: 100 }),
  })
  const lists = fc.array(fc.array(change, { maxLength: 6 }), { minLength: 1, maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 12 }), lists, async (before, meanwhile) => {
      const directory = await folder(t)
      const idle = new StoredCount(directory)
      for (const { prefix, name, size } of before) await store(directory, idle, prefix, name, size)
      await using count = new StoredCount(directory)
      const walk = count.start()
      // One name a list, since one blob is never stored and removed at once.
      const running = meanwhile.map(async (changes, list) => {
        for (const { isRemoval, prefix, name, size } of changes) {
          const own = `${name}${list === 0 ? '' : list}`
          await (isRemoval
            ? remove(directory, count, prefix, own)
            : store(directory, count, prefix, own, size))
        }
      })
      await Promise.all([walk, ...running])
      assert.deepEqual(count.total, await truth(directory))
    }),
    { numRuns: 40 },
  )
})

test('what comes at any moment of the walk through its folder is counted', async (t) => {
  const directory = await folder(t)
  const idle = new StoredCount(directory)
  for (let index = 0; index < 20; index += 1) await store(directory, idle, '00', `${index}`, 1)
  for (let turns = 0; turns < 20; turns += 1) {
    await using count = new StoredCount(directory)
    const walk = count.start()
    for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate)
    // At once, so that it has ended before the walk has.
    await count.change(join('sha256', '00'), async () => {
      writeFileSync(join(directory, 'sha256', '00', `more-${turns}`), 'x')
      return { bytes: 1, blobs: 1 }
    })
    await walk
    assert.deepEqual(count.total, await truth(directory), `after ${turns} turns`)
  }
})

test('it ends in the middle when it is disposed', async (t) => {
  const directory = await folder(t)
  const count = new StoredCount(directory)
  for (let index = 0; index < 50; index += 1) await store(directory, count, String(10 + index), 'a', 1)
  const walk = count.start()
  await count[Symbol.asyncDispose]()
  await walk
  assert.ok(count.total.blobs < 50)
})
