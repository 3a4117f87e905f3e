/**
 * What each client may have of the uploads. Thought of: one that begins without end, with a byte in each and with none; the
 * same as a user from many addresses; several that have all of it, beside one that has little; a class behind one address;
 * bytes likewise, and one blob that is larger than a client's part; one at work, and one that waits for its turn.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { until } from '../support/settle.ts'
import { content, contentOf, digest, fails, HandClock, pieces, pushBlob, start } from './local-fixture.ts'

type Asking = { readonly client?: string; readonly user?: string }

function startWith(bounds: Parameters<typeof start>[2] = {}) {
  const clock = new HandClock()
  const parts = start(new MemoryBlobStore(), new MemoryCatalog(), { clock, ...bounds })
  const begun = async (options: Asking, bytes: Uint8Array = content.subarray(0, 1)) => {
    const { id } = await parts.repository.begin(options)
    if (bytes.length > 0) await parts.repository.append(id, pieces(bytes), options)
    return id
  }
  const isThere = (id: string, options: Asking = {}) =>
    parts.repository.upload(id, options).then(
      () => true,
      () => false,
    )
  /** As many as it may have, and how many that are. */
  const fillUp = async (options: Asking, bytes?: Uint8Array) => {
    const ids: string[] = []
    await assert.rejects(
      async () => {
        while (ids.length < 5000) ids.push(await begun(options, bytes))
      },
      fails('TOOMANYREQUESTS', 429),
    )
    return ids
  }
  return { ...parts, clock, begun, isThere, fillUp }
}

for (const [what, bytes] of [
  ['with a byte in each', content.subarray(0, 1)],
  ['without a byte', new Uint8Array()],
] as const) {
  test(`a client that begins uploads without end (${what}) hurts itself, and nobody else`, async () => {
    const parts = startWith()
    const ids = await parts.fillUp({ client: 'one' }, bytes)
    assert.equal(ids.length, 1024)
    const refused = parts.repository.begin({ client: 'one' })
    await assert.rejects(refused, (error: { retryAfterSeconds: number; message: string }) => {
      assert.equal(error.retryAfterSeconds, 10)
      assert.match(error.message, /are of this client, and one may have 1024/)
      return true
    })
    assert.ok(await parts.isThere(await parts.begun({ client: 'two' })))
    const told = parts.lines.filter((line) => line.includes('unfinished uploads have used up'))
    assert.equal(told.length, 1, 'one line a minute')
    assert.match(told[0] ?? '', /"level":40.*"client":"one"/)
    parts.clock.pass(9000)
    const [first = '', second = '', ...rest] = ids
    await parts.repository.append(first, pieces(content.subarray(0, 1)), { client: 'one' })
    parts.clock.pass(1000)
    await parts.begun({ client: 'one' }, bytes)
    await until(async () => !(await parts.isThere(second)))
    for (const id of [first, ...rest]) assert.ok(await parts.isThere(id), 'the longest idle one')
    await parts.uploads[Symbol.asyncDispose]()
  })
}

test('a user has one share from wherever, and a class behind one address is not refused', async () => {
  const parts = startWith()
  for (let n = 0; n < 1024; n += 1)
    await parts.begun({ client: `address ${n}`, user: 'ci' }, new Uint8Array())
  const more = parts.repository.begin({ client: 'elsewhere', user: 'ci' })
  await assert.rejects(more, fails('TOOMANYREQUESTS', 429))
  const ids: string[] = []
  for (let n = 0; n < 40 * 5 * 3; n += 1) ids.push(await parts.begun({ client: 'class' }))
  parts.clock.pass(60_000)
  for (const id of ids) assert.ok(await parts.isThere(id))
})

test('where all are taken, whoever has most makes room for whoever has few, and not the other way', async () => {
  const parts = startWith()
  const few = await parts.begun({ client: 'few' })
  const all = new Map<string, string[]>()
  for (const client of ['a', 'b', 'c']) all.set(client, await parts.fillUp({ client }))
  for (let n = 0; n < 1000; n += 1) await parts.begun({ client: 'd' })
  for (let n = 0; n < 23; n += 1) await parts.begun({ client: 'e' })
  await assert.rejects(parts.repository.begin({ client: 'few' }), fails('TOOMANYREQUESTS', 429))
  parts.clock.pass(10_000)
  const [victim = '', ...others] = all.get('a') ?? []
  assert.ok(await parts.isThere(await parts.begun({ client: 'few' })))
  await until(async () => !(await parts.isThere(victim)))
  assert.ok(await parts.isThere(few))
  for (const id of others) assert.ok(await parts.isThere(id))
  await parts.uploads[Symbol.asyncDispose]()
})

test('a client’s bytes are bounded beside its largest blob, and one blob may have all', async () => {
  const space = 4 * content.length
  const parts = startWith({ space })
  const ids = [
    await parts.begun({ client: 'one' }, content),
    await parts.begun({ client: 'one' }, content),
    await parts.begun({ client: 'one' }, content),
  ]
  await assert.rejects(parts.begun({ client: 'one' }, content), fails('TOOMANYREQUESTS', 429))
  await parts.begun({ client: 'two' }, content.subarray(0, 90_000))
  parts.clock.pass(10_000)
  await parts.begun({ client: 'one' }, content)
  assert.deepEqual(await Promise.all(ids.map((id) => parts.isThere(id))), [false, true, true])
  const alone = startWith({ space: content.length })
  await pushBlob(alone, content)
})

test('where all bytes are taken, what lies idle of whoever has most makes room', async () => {
  const parts = startWith({ space: 2 * content.length })
  const big = await parts.begun({ client: 'one' }, content)
  const small = await parts.begun({ client: 'two' }, content.subarray(0, 60_000))
  const blob = content.subarray(0, 50_000)
  await assert.rejects(parts.begun({ client: 'three' }, blob), fails('TOOMANYREQUESTS', 429))
  parts.clock.pass(10_000)
  assert.ok(await parts.isThere(await parts.begun({ client: 'three' }, blob)))
  assert.deepEqual([await parts.isThere(big), await parts.isThere(small)], [false, true])
})

test('one that a request is at work with, or waits for its turn with, is not let go', async () => {
  const parts = startWith({ space: 2 * content.length, patienceMs: 60_000 })
  const rest = Promise.withResolvers<void>()
  const body = async function* () {
    yield content.subarray(0, 90_000)
    await rest.promise
    yield content.subarray(90_000)
  }
  const { id } = await parts.repository.begin({ client: 'one' })
  const finishing = parts.repository.finish(id, digest, body(), { client: 'one' })
  await until(async () => (await parts.store.writers.list()).some(({ size }) => size === 90_000))
  const other = await parts.begun({ client: 'two' }, content.subarray(0, 100_000))
  parts.clock.pass(20 * 60_000)
  await parts.begun({ client: 'three' }, content.subarray(0, 50_000))
  assert.equal(await parts.isThere(other), false)
  rest.resolve()
  await finishing
  assert.equal(await contentOf(parts), digest)
})
