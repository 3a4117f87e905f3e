/**
 * The turns of uploads that are written to. Thought of: clients that are silent, that trickle, and that come back to it; one
 * client and several; a turn that does not come; a client that leaves, and a stop, while the file is closed for others.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RegistryError } from '../../src/oci/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { until } from '../support/settle.ts'
import { content, contentOf, digest, fails, pieces, start } from './local-fixture.ts'

const times = { patienceMs: 60_000, silentMs: 20 }

function startWith(changed: Partial<typeof times> = {}, store = new MemoryBlobStore()) {
  return start(store, new MemoryCatalog(), { ...times, ...changed })
}

/** Uploads of as many clients as may write at a time, of which each has sent `first`, and waits for `rest`. */
async function silent({ repository }: ReturnType<typeof start>, first = content.subarray(0, 50_000)) {
  const rest = Promise.withResolvers<Uint8Array>()
  let begun = 0
  const body = async function* () {
    begun += 1
    yield first
    yield await rest.promise
  }
  const ended = Array.from({ length: 128 }, async (_, n) => {
    const { id } = await repository.begin()
    await repository.finish(id, digest, body(), { client: `client ${n % 2}` })
  })
  const all = Promise.all(ended)
  all.catch(() => {})
  await until(() => begun === 128)
  return { rest, ended: all }
}

test('one that is silent gives its turn to who waits, and goes on where it was', async () => {
  const parts = startWith()
  const { rest, ended } = await silent(parts)
  const { id } = await parts.repository.begin()
  await parts.repository.append(id, pieces(content), { client: 'another' })
  rest.resolve(content.subarray(50_000))
  await ended
  assert.equal(await contentOf(parts), digest)
})

test('where nobody waits the silent ones keep their turns, and one client has half of them', async () => {
  const parts = startWith({ silentMs: 60_000, patienceMs: 20 })
  const body = async function* () {
    yield content.subarray(0, 3)
    await new Promise(() => {})
  }
  for (let n = 0; n < 64; n += 1) {
    const { id } = await parts.repository.begin()
    void parts.repository.append(id, body(), { client: 'one' }).catch(() => {})
  }
  const { id } = await parts.repository.begin()
  await assert.rejects(
    parts.repository.append(id, pieces(content), { client: 'one' }),
    (error: RegistryError) => fails('TOOMANYREQUESTS', 429)(error) && error.retryAfterSeconds === 10,
  )
  await parts.repository.append(id, pieces(content), { client: 'another' })
})

test('a stop, and the end of a client, while its turn is given to another', async () => {
  const mayClose = Promise.withResolvers<void>()
  let closing = 0
  const step = async (what: string) => {
    if (what !== 'suspend') return
    closing += 1
    await mayClose.promise
  }
  const parts = startWith({}, new MemoryBlobStore({ step }))
  const gone = new AbortController()
  const { id: left } = await parts.repository.begin()
  const leaving = parts.repository.append(
    left,
    (async function* () {
      yield content.subarray(0, 30_000)
      await new Promise((_, reject) =>
        gone.signal.addEventListener('abort', () => reject(gone.signal.reason)),
      )
    })(),
    { client: 'client 0', signal: gone.signal },
  )
  const { id } = await parts.repository.begin()
  const others = silent(parts)
  void parts.repository.append(id, pieces(content), { client: 'another' }).catch(() => {})
  await until(() => closing > 0)
  gone.abort(new Error('gone'))
  mayClose.resolve()
  await assert.rejects(leaving, /gone/)
  const { offset } = await parts.repository.upload(left)
  assert.equal(offset, 30_000)
  await parts.uploads[Symbol.asyncDispose]()
  await assert.rejects((await others).ended, fails('UNAVAILABLE', 503))
})
