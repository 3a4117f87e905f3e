/**
 * The age of uploads by clocks that jump. Thought of: years ahead while it runs, and back; wrong from the start on, and set
 * right within minutes; what an earlier process left, with bytes and without, of now, of long ago, and of the future.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { until } from '../support/settle.ts'
import { content, day, fails, HandClock, pieces, start } from './local-fixture.ts'

const years = 5 * 365 * day
const minute = 60_000

async function begun({ repository }: ReturnType<typeof start>): Promise<string> {
  const { id } = await repository.begin()
  await repository.append(id, pieces(content), {})
  return id
}

/** A process that finds what another one has left, its file `leftMs` ago by the time of day. */
async function later(leftMs: number) {
  const before = start()
  const id = await begun(before)
  const { id: empty } = await before.repository.begin()
  const store = before.store.afterCrash({ kind: 'killed', keeps: () => true })
  const clock = new HandClock()
  const { writers } = store
  const list = async () =>
    (await writers.list()).map((found) => ({ ...found, touchedAt: clock.wall() - leftMs }))
  Object.defineProperty(store, 'writers', { value: { ...writers, list } })
  const parts = start(store, before.catalog, { clock })
  const listed = list()
  Object.defineProperty(store.writers, 'list', { value: () => listed })
  parts.uploads.start()
  // The first run of the sweep has ended, and what was found is known.
  await until(async () => (await parts.catalog.upload(id)) !== undefined)
  await new Promise(setImmediate)
  const offset = async () => (await parts.repository.upload(id)).offset
  const isGone = async () => assert.rejects(parts.repository.upload(id), fails('BLOB_UPLOAD_UNKNOWN', 404))
  return { parts, clock, id, empty, offset, isGone }
}

for (const [how, ms] of [
  ['ahead', years],
  ['back', -years],
] as const) {
  test(`a clock that jumps ${how} by years changes no age of what this process knows`, async () => {
    const clock = new HandClock()
    const parts = start(new MemoryBlobStore(), new MemoryCatalog(), { clock })
    const id = await begun(parts)
    await parts.uploads.sweep()
    clock.jump(ms)
    await parts.uploads.sweep()
    clock.pass(day - 1)
    await parts.uploads.sweep()
    assert.equal((await parts.repository.upload(id)).offset, content.length)
    clock.pass(1)
    await parts.uploads.sweep()
    await assert.rejects(parts.repository.upload(id), fails('BLOB_UPLOAD_UNKNOWN', 404))
  })

  test(`a clock that jumps ${how} by years after the start leaves what was found for a while, and not for ever`, async () => {
    const { parts, clock, offset, isGone } = await later(day / 2)
    clock.jump(ms)
    clock.pass(11 * minute)
    await parts.uploads.sweep()
    assert.equal(await offset(), content.length)
    clock.pass(day)
    await parts.uploads.sweep()
    await isGone()
    await parts.uploads[Symbol.asyncDispose]()
  })
}

test('a clock that is years ahead at the start, and set within minutes, lets nothing go', async () => {
  const { parts, clock, offset } = await later(years)
  await parts.uploads.sweep()
  clock.pass(9 * minute)
  await parts.uploads.sweep()
  clock.jump(-years)
  clock.pass(2 * minute)
  await parts.uploads.sweep()
  assert.equal(await offset(), content.length)
  await parts.uploads[Symbol.asyncDispose]()
})

test('what is long old at the start goes after minutes, unless its client comes back', async () => {
  const [old, resumed] = [await later(years), await later(years)]
  await resumed.parts.repository.append(resumed.id, pieces(content.subarray(0, 1)), {})
  for (const { parts, clock } of [old, resumed]) {
    clock.pass(9 * minute)
    await parts.uploads.sweep()
    assert.equal((await parts.catalog.staleUploads(Number.MAX_SAFE_INTEGER, 10)).length, 2)
    clock.pass(minute)
    await parts.uploads.sweep()
  }
  await old.isGone()
  assert.equal(await resumed.offset(), content.length + 1)
  for (const { parts, empty } of [old, resumed]) {
    assert.equal(await parts.catalog.upload(empty), undefined, 'the record of one without a byte')
    await parts.uploads[Symbol.asyncDispose]()
  }
})

test('what is of the future at the start goes when it has lain here for its time', async () => {
  const { parts, clock, offset, isGone } = await later(-years)
  clock.pass(day - 1)
  await parts.uploads.sweep()
  assert.equal(await offset(), content.length)
  clock.pass(1)
  await parts.uploads.sweep()
  await isGone()
  await parts.uploads[Symbol.asyncDispose]()
})
