import assert from 'node:assert/strict'
import { test } from 'node:test'
import { elsewhere, failureOfStatus, UpstreamError } from '../../src/upstream/error.ts'
import { StorageAddress } from '../../src/upstream/storage-address.ts'

const { signal } = new AbortController()

/** A registry that gives an address of its own each time, and storage that takes what is not refused. */
function scene({ query = () => '' }: { query?: () => string } = {}) {
  const asked: string[] = []
  const refused = new Map<string, number>()
  const given: ((error?: Error) => void)[] = []
  const address = new StorageAddress()
  const storage = async (url: URL): Promise<string> => {
    asked.push(url.pathname)
    const status = refused.get(url.pathname)
    if (status !== undefined) throw elsewhere(failureOfStatus('docker.io', status), url)
    return `storage ${url.pathname}`
  }
  const registry = async (learn: (url: URL) => void): Promise<string> => {
    asked.push('registry')
    const number = given.length + 1
    await new Promise<void>((resolve, reject) => given.push((error) => (error ? reject(error) : resolve())))
    const url = new URL(`https://storage.test/${number}${query()}`)
    learn(url)
    return storage(url)
  }
  const settle = () => new Promise(setImmediate)
  const open = () => address.open({ registry, storage }, signal)
  /** The registry gives its latest answer. */
  const give = async (error?: Error): Promise<void> => {
    await settle()
    given.at(-1)?.(error)
    await settle()
  }
  /** A part by way of the registry. */
  const first = async (): Promise<string> => {
    const part = open()
    await give()
    return part
  }
  return { asked, refused, address, open, give, first }
}

test('the registry is asked once for parts that are wanted at the same time and later', async () => {
  const { open, give, asked } = scene()
  const parts = [open(), open(), open()]
  await give()
  await Promise.all([...parts, open()])
  assert.deepEqual(asked, ['registry', '/1', '/1', '/1', '/1'])
})

for (const status of [400, 401, 403, 404, 410, 500, 503]) {
  test(`an address that storage answers with ${status} is asked for again, once for all`, async () => {
    const { open, give, asked, refused, first } = scene()
    await first()
    refused.set('/1', status)
    asked.length = 0
    const parts = [open(), open(), open()]
    await give()
    assert.deepEqual(await Promise.all(parts), Array(3).fill('storage /2'))
    assert.deepEqual(asked, ['/1', '/1', '/1', 'registry', '/2', '/2', '/2'])
  })
}

for (const status of [416, 429]) {
  test(`a ${status} of storage is not about its address`, async () => {
    const { open, asked, refused, first } = scene()
    await first()
    refused.set('/1', status)
    await assert.rejects(open(), { status })
    refused.clear()
    await open()
    assert.deepEqual(asked, ['registry', '/1', '/1', '/1'])
  })
}

test('storage that refuses what is new as well is believed, and the registry asked once a part', async () => {
  const { open, give, asked, refused, first } = scene()
  await first()
  for (const path of ['/1', '/2']) refused.set(path, 403)
  asked.length = 0
  const part = assert.rejects(open(), { status: 403, isElsewhere: true })
  await give()
  await part
  assert.deepEqual(asked, ['/1', 'registry', '/2'])
  const next = open()
  await give()
  assert.equal(await next, 'storage /3')
})

test('storage that cannot be reached is another one the next time', async () => {
  const { address, first, open, give } = scene()
  await first()
  const gone = elsewhere(
    new UpstreamError('UNREACHABLE', 'docker.io', 'reset'),
    new URL('https://storage.test'),
  )
  const ways = { registry: () => Promise.reject(new Error('asked')), storage: () => Promise.reject(gone) }
  await assert.rejects(address.open(ways, signal), { code: 'UNREACHABLE' })
  const next = open()
  await give()
  assert.equal(await next, 'storage /2')
})

test('what the registry refuses the first it refuses all who wait for it', async () => {
  const { open, give, asked } = scene()
  const refusals = [open(), open()].map((part) => assert.rejects(part, { code: 'NOT_FOUND' }))
  await give(failureOfStatus('docker.io', 404))
  await Promise.all(refusals)
  assert.deepEqual(asked, ['registry'])
})

test('where the first leaves, the next one asks; who leaves while he waits asks nothing', async () => {
  const { address, open, give, asked } = scene()
  const first = assert.rejects(open(), /left/)
  const leaving = new AbortController()
  const ways = { registry: () => Promise.reject(new Error('asked')), storage: async () => 'storage' }
  const second = assert.rejects(address.open(ways, leaving.signal), /gone/)
  const third = open()
  leaving.abort(new Error('gone'))
  await second
  await give(new Error('left'))
  await first
  await give()
  assert.equal(await third, 'storage /2')
  assert.deepEqual(asked, ['registry', 'registry', '/2'])
})

test('a registry that serves blobs itself is asked by all at the same time', async () => {
  const address = new StorageAddress()
  let asked = 0
  let atOnce = 0
  const ways = {
    registry: async () => {
      asked += 1
      atOnce = Math.max(atOnce, asked)
      await new Promise(setImmediate)
      asked -= 1
      return 'registry'
    },
    storage: () => Promise.reject(new Error('there is none')),
  }
  await address.open(ways, signal)
  await Promise.all([1, 2, 3].map(() => address.open(ways, signal)))
  assert.equal(atOnce, 3)
})

const minute = 60_000
const wall = Date.parse('2026-09-01T12:00:00Z')
const lifetimes: readonly (readonly [query: string, minutes: number])[] = [
  ['', 10],
  ['?X-Amz-Expires=300&X-Amz-Date=20260901T120000Z', 4.5],
  ['?X-Goog-Expires=120', 1.5],
  [`?Expires=${wall / 1000 + 180}&Signature=x`, 2.5],
  [`?Expires=${wall / 1000 + 86_400}`, 10],
  ['?se=2026-09-01T12%3A05%3A00Z&sig=x', 4.5],
  // The clock here is wrong.
  [`?Expires=${wall / 1000 - 86_400}`, 10],
  ['?X-Amz-Expires=soon', 10],
]

for (const [query, minutes] of lifetimes) {
  test(`an address ${query} is used for ${minutes} min`, async (t) => {
    let passed = 0
    t.mock.method(performance, 'now', () => 1000 + passed)
    t.mock.method(Date, 'now', () => wall + passed)
    const { open, give, first, asked } = scene({ query: () => query })
    await first()
    passed = minutes * minute - 1000
    await open()
    assert.deepEqual(asked, ['registry', '/1', '/1'])
    passed = minutes * minute + 1000
    const part = open()
    await give()
    assert.equal(await part, 'storage /2')
  })
}
