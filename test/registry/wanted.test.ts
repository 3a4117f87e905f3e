import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import type { Tag } from '../../src/oci/reference.ts'
import { type Fulfilment, Wanted } from '../../src/registry/wanted.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import type { Wish } from '../../src/storage/wishes.ts'
import { UpstreamError, type UpstreamErrorCode } from '../../src/upstream/error.ts'
import { repositoryOf } from '../storage/catalog-fixtures.ts'

const minute = 60_000
const day = 24 * 60 * minute

/** What is wanted of two upstreams, with a clock that goes on by ticks. */
function wantedFor(t: TestContext, catalog = new MemoryCatalog()) {
  t.mock.timers.enable({ apis: ['Date'], now: 1_900_000_000_000 })
  t.mock.method(performance, 'now', () => Date.now())
  const hub = { name: 'docker.io', isSilent: false, limits: { isReserved: false } }
  const quay = { name: 'quay.io', isSilent: false, limits: { isReserved: false } }
  const outcome = { of: (_wish: Wish): Fulfilment => ({ is: 'had' }) }
  const fetched: string[] = []
  const wanted = new Wanted({
    catalog,
    upstreams: [hub, quay],
    fetch: async (wish) => {
      fetched.push(`${wish.repository} ${wish.reference}`)
      return outcome.of(wish)
    },
    logger: pino({ level: 'silent' }),
    spreadMs: minute,
    random: () => 0.5,
  })
  const { signal } = new AbortController()
  const round = async (afterMs = 0) => {
    t.mock.timers.tick(afterMs)
    await wanted.round(signal)
  }
  return { wanted, catalog, hub, quay, outcome, fetched, round }
}

function manifest(tag: string, origin = 'docker.io') {
  return { repository: repositoryOf(origin, 'app'), reference: tag as Tag, kind: 'manifest' } as const
}

function failureOf(code: UpstreamErrorCode, retryAfterSeconds?: number): UpstreamError {
  return new UpstreamError(code, 'docker.io', 'it failed', { retryAfterSeconds })
}

test('what could not be had is fetched when its upstream is back, not at once, and forgotten when it was had', async (t) => {
  const { wanted, catalog, hub, fetched, round } = wantedFor(t)
  hub.isSilent = true
  wanted.failed(manifest('1'), failureOf('CIRCUIT_OPEN'))
  wanted.failed(manifest('2'), failureOf('TIMED_OUT'))
  wanted.failed(manifest('3', 'quay.io'), failureOf('SERVER_ERROR'))
  await round()
  await round(minute)
  assert.deepEqual(fetched, ['quay.io:app 3'])
  hub.isSilent = false
  await round(minute)
  await round(minute / 2 - 1)
  assert.equal(fetched.length, 1, 'those who lost it at the same moment do not fall upon it together')
  assert.deepEqual(
    [...wanted.counts],
    [
      ['docker.io', 2],
      ['quay.io', 0],
    ],
  )
  await round(1)
  await round(500)
  assert.deepEqual(fetched.slice(1), ['docker.io:app 1', 'docker.io:app 2'])
  assert.deepEqual([wanted.counts.get('docker.io'), wanted.fulfilled.get('docker.io')], [0, 2])
  assert.deepEqual(await catalog.wishes(), [])
})

test('an answer is nothing to be remembered, nor what is our own doing', async (t) => {
  const { wanted } = wantedFor(t)
  const codes = ['NOT_FOUND', 'UNAUTHORIZED', 'FORBIDDEN', 'INVALID_RESPONSE', 'REFUSED', 'CROWDED'] as const
  for (const code of codes) wanted.failed(manifest(code), failureOf(code))
  wanted.failed(manifest('left'), new Error('the client left'))
  assert.equal(wanted.counts.get('docker.io'), 0)
})

test('what is refused is forgotten; what fails is tried again, later each time', async (t) => {
  const { wanted, outcome, fetched, round } = wantedFor(t)
  wanted.failed(manifest('gone'), failureOf('UNREACHABLE'))
  outcome.of = () => ({ is: 'refused' })
  await round()
  await round(minute)
  assert.deepEqual([fetched.length, wanted.counts.get('docker.io'), wanted.fulfilled.size], [1, 0, 0])
  wanted.failed(manifest('later'), failureOf('UNREACHABLE'))
  outcome.of = () => ({ is: 'later', reason: 'ill' })
  const triedAt: number[] = []
  for (let elapsed = 0; elapsed < 30; elapsed += 1) {
    const before = fetched.length
    await round(minute / 4)
    if (fetched.length > before) triedAt.push(elapsed / 4)
  }
  assert.deepEqual(triedAt, [0, 0.75, 2.25, 5.25])
})

test('the pull limit: nothing of that upstream is asked for before it says so', async (t) => {
  const { wanted, outcome, fetched, round } = wantedFor(t)
  wanted.failed(manifest('1'), failureOf('RATE_LIMITED', 600))
  await round()
  await round(9 * minute)
  assert.equal(fetched.length, 0, 'the client was told how long')
  wanted.failed(manifest('2'), failureOf('UNREACHABLE'))
  outcome.of = () => ({ is: 'limited', reason: 'its pull limit is used up', retryAfterSeconds: 1800 })
  await round(minute)
  await round(minute)
  assert.equal(fetched.length, 1)
  await round(29 * minute)
  assert.equal(fetched.length, 1, 'the others would hear the same')
  outcome.of = () => ({ is: 'had' })
  await round(minute)
  await round(minute)
  await round(minute)
  assert.equal(wanted.counts.get('docker.io'), 0)
})

test('the pull limit: it is asked when it says so, however often it was asked in vain', async (t) => {
  const { wanted, outcome, fetched, round } = wantedFor(t)
  wanted.failed(manifest('1'), failureOf('UNREACHABLE'))
  outcome.of = () => ({ is: 'later', reason: 'ill' })
  for (let tries = 1; tries <= 10; tries += 1) await round(60 * minute)
  outcome.of = () => ({ is: 'limited', reason: 'its pull limit is used up', retryAfterSeconds: 600 })
  await round(60 * minute)
  const before = fetched.length
  await round(10 * minute - 1)
  assert.equal(fetched.length, before)
  await round(minute)
  assert.equal(fetched.length, before + 1)
})

test('the last pulls are for people: what costs one waits until others are back, and no longer; blobs cost none', async (t) => {
  const { wanted, hub, outcome, fetched, round } = wantedFor(t)
  const blob = { ...manifest('blob'), kind: 'blob' } as const
  wanted.failed(manifest('1'), failureOf('UNREACHABLE'))
  outcome.of = () => {
    hub.limits.isReserved = true
    return { is: 'reserved' }
  }
  await round()
  await round(minute)
  assert.equal(fetched.length, 1)
  outcome.of = () => ({ is: 'had' })
  wanted.failed(blob, failureOf('UNREACHABLE'))
  for (let minutes = 0; minutes < 300; minutes += 1) await round(minute)
  assert.deepEqual(fetched, ['docker.io:app 1', 'docker.io:app blob'])
  hub.limits.isReserved = false
  await round(1000)
  assert.deepEqual(fetched.slice(2), ['docker.io:app 1'])
})

test('it is remembered over a restart, for a week; a clock that was wrong puts nothing off for years', async (t) => {
  const catalog = new MemoryCatalog()
  const before = wantedFor(t, catalog)
  before.wanted.failed(manifest('old'), failureOf('UNREACHABLE'), { platform: 'linux/arm64' })
  t.mock.timers.tick(2 * day)
  before.wanted.failed(manifest('new'), failureOf('UNREACHABLE'))
  await catalog.wish(
    { ...manifest('years'), platform: undefined, askedAt: Date.now(), dueAt: Date.now() + 3000 * day },
    10,
  )
  t.mock.timers.reset()
  t.mock.restoreAll()
  const { wanted, hub, fetched, round } = wantedFor(t, catalog)
  hub.isSilent = true
  await round(2 * day)
  assert.equal(wanted.counts.get('docker.io'), 3)
  assert.equal((await catalog.wishes())[0]?.platform, 'linux/arm64')
  await round(5 * day + 1)
  assert.equal(wanted.counts.get('docker.io'), 2, 'nobody is taken to wait for the old one any more')
  hub.isSilent = false
  await round()
  await round(minute)
  await round(minute)
  assert.deepEqual(fetched, ['docker.io:app new', 'docker.io:app years'])
})

test('who makes up names fills no memory: the oldest go, and a repeated question is no write', async (t) => {
  const { wanted, catalog } = wantedFor(t)
  const wish = t.mock.method(catalog, 'wish')
  for (let n = 0; n < 1100; n += 1) wanted.failed(manifest(`t${n}`), failureOf('UNREACHABLE'))
  assert.equal(wanted.counts.get('docker.io'), 1000)
  const written = wish.mock.callCount()
  for (let n = 0; n < 10; n += 1) wanted.failed(manifest('t1099'), failureOf('UNREACHABLE'))
  assert.equal(wish.mock.callCount(), written)
})

test("whoever makes names up pushes out his own wishes, and nobody else's", (t) => {
  const { wanted } = wantedFor(t)
  wanted.failed(manifest('honest'), failureOf('UNREACHABLE'), { client: 'somebody' })
  for (let name = 0; name < 1500; name += 1) {
    wanted.failed(manifest(`made-up-${name}`, 'quay.io'), failureOf('UNREACHABLE'), { client: 'flood' })
  }
  assert.deepEqual([...wanted.counts.values()], [1, 999])
})
