// Neighbours thought of: the pull limit and the abuse limit; a hundred who ask at once when it is over, and again when the
// first was told to wait; the first leaves; a HEAD tells that pulls are back; a token service that limits us, and storage;
// times that are absurd, from an upstream that says them each time.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import type { UpstreamError } from '../../src/upstream/error.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { until } from '../support/settle.ts'
import { type ClientOptions, clientOf, collect, failsWith } from './fixtures.ts'

const repository = 'library/app' as RepositoryName
const latest = 'latest' as Tag
const image = buildImage()
const pullLimit = JSON.stringify({
  errors: [{ code: 'TOOMANYREQUESTS', message: 'You have reached your unauthenticated pull rate limit.' }],
})

async function start(
  t: TestContext,
  options: Parameters<typeof startDockerHub>[0] = {},
  clientOptions: ClientOptions = {},
) {
  const hub = await startDockerHub({ auth: 'none', ...options })
  t.after(() => hub.close())
  hub.addImage(repository, 'latest', image)
  const client = clientOf(t, hub.url, { patienceMs: 60_000, ...clientOptions })
  const real = performance.now.bind(performance)
  let jumped = 0
  t.mock.method(performance, 'now', () => real() + jumped)
  const forward = (seconds: number): void => {
    jumped += seconds * 1000
  }
  const askAll = () =>
    Promise.allSettled(Array.from({ length: 100 }, () => client.manifest(repository, latest)))
  return { hub, client, forward, askAll }
}

for (const [what, body] of [
  ['pull', pullLimit],
  ['abuse', 'Too Many Requests'],
] as const) {
  test(`the ${what} limit is over: of a hundred who ask one goes first, and the others when it was answered`, async (t) => {
    const { hub, client, forward, askAll } = await start(t)
    hub.fault({}, { status: 429, body, retryAfter: 30 }, { times: 1 })
    await failsWith(client.manifest(repository, latest), 'RATE_LIMITED')
    forward(31)
    hub.reset()
    const gate = hub.hold({ method: 'GET', path: /manifests/ })
    const asking = askAll()
    await until(() => gate.waiting > 0)
    // Whatever would be sent beside it is on its way within a turn of the loop.
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate)
    assert.equal(gate.waiting, 1)
    gate.release()
    for (const { status } of await asking) assert.equal(status, 'fulfilled')
  })

  test(`the ${what} limit goes on: one request at the end of each time, however many ask`, async (t) => {
    const { hub, client, forward, askAll } = await start(t)
    hub.fault({}, { status: 429, body, retryAfter: 30 })
    await failsWith(client.manifest(repository, latest), 'RATE_LIMITED')
    for (const _ of [1, 2, 3]) {
      forward(31)
      hub.reset()
      hub.fault({}, { status: 429, body, retryAfter: 30 })
      const gate = hub.hold({ method: 'GET', path: /manifests/ })
      const asking = askAll()
      await until(() => gate.waiting > 0)
      gate.release()
      for (const { status } of await asking) assert.equal(status, 'rejected')
      await askAll()
      assert.equal(hub.count({ path: /manifests/ }), 1)
    }
  })
}

test('whoever went first leaves before he is answered: the next one goes, and one alone', async (t) => {
  const { hub, client, forward } = await start(t)
  hub.fault({}, { status: 429, body: pullLimit, retryAfter: 30 }, { times: 1 })
  await failsWith(client.manifest(repository, latest), 'RATE_LIMITED')
  forward(31)
  hub.reset()
  const gate = hub.hold({ method: 'GET', path: /manifests/ })
  const leaving = new AbortController()
  const first = assert.rejects(client.manifest(repository, latest, { signal: leaving.signal }))
  await until(() => gate.waiting === 1)
  const others = Array.from({ length: 10 }, () => client.manifest(repository, latest))
  leaving.abort()
  await first
  await until(() => gate.waiting === 1 && hub.count({ path: /manifests/ }) === 2)
  gate.release()
  await Promise.all(others)
})

test('Retry-After that is absurd each time is no reason to hammer', async (t) => {
  for (const retryAfter of [0, -5, '9'.repeat(16), 'x', new Date(0).toUTCString()]) {
    const { hub, client, forward } = await start(t)
    hub.fault({}, { status: 429, retryAfter })
    for (let second = 0; second < 600; second += 1) {
      await failsWith(client.manifest(repository, latest), 'RATE_LIMITED')
      forward(1)
    }
    assert.ok(hub.count() <= 30, `${retryAfter}: ${hub.count()} in ten minutes`)
    hub.reset()
    hub.clearFaults()
    forward(3600)
    await client.manifest(repository, latest)
  }
})

test('a HEAD tells that there are pulls again: the next GET finds out, before its time', async (t) => {
  const { hub, client } = await start(t, { quota: 100 })
  hub.setRemaining(0)
  await failsWith(client.manifest(repository, latest), 'RATE_LIMITED', /used up \(100 pulls in 6 h\)/)
  await client.manifestDigest(repository, latest)
  await failsWith(client.manifest(repository, latest), 'RATE_LIMITED')
  hub.setRemaining(60)
  await client.manifestDigest(repository, latest)
  await client.manifest(repository, latest)
})

test('a HEAD gets a 429 while no pulls are left: manifests wait, and blobs go on', async (t) => {
  const { hub, client } = await start(t, { quota: 100 })
  hub.setRemaining(0)
  await client.manifestDigest(repository, latest)
  hub.fault({ method: 'HEAD' }, { status: 429 }, { times: 1 })
  await failsWith(client.manifestDigest(repository, latest), 'RATE_LIMITED', /used up/)
  await failsWith(client.manifest(repository, latest), 'RATE_LIMITED')
  await failsWith(client.manifestDigest(repository, latest), 'RATE_LIMITED')
  assert.equal(await client.hasBlob(repository, image.config.digest), true)
  assert.deepEqual(
    client.limits.held.map(({ pulls, all }) => [pulls, all]),
    [[true, false]],
  )
})

test('a token service that limits us is left alone, and not the registry', async (t) => {
  const { hub, client, forward } = await start(t, { auth: 'token' })
  const names = Array.from({ length: 20 }, (_, index) => `library/app${index}` as RepositoryName)
  for (const name of names) hub.addImage(name, 'latest', image)
  await client.manifest(repository, latest)
  hub.reset()
  hub.fault({ listener: 'token' }, { status: 429, retryAfter: 30 })
  const ask = () => Promise.allSettled(names.map((name) => client.manifest(name, latest)))
  await failsWith(client.manifest(names[0] ?? repository, latest), 'RATE_LIMITED', /token service limits/)
  for (const { status, ...result } of await ask()) {
    assert.equal(status, 'rejected')
    assert.equal((result as { reason: UpstreamError }).reason.code, 'RATE_LIMITED')
  }
  assert.equal(hub.count({ listener: 'token' }), 1)
  // Whoever has a token goes on.
  await client.manifest(repository, latest)
  assert.deepEqual(
    client.limits.held.map(({ pulls, all }) => [pulls, all]),
    [[false, false]],
  )
  forward(31)
  hub.clearFaults()
  const gate = hub.hold({ listener: 'token' })
  const asking = ask()
  await until(() => gate.waiting > 0)
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate)
  assert.equal(gate.waiting, 1)
  gate.release()
  for (const { status } of await asking) assert.equal(status, 'fulfilled')
})

test('storage that limits us says nothing of its registry', async (t) => {
  const { hub, client } = await start(t)
  hub.fault({ listener: 'cdn' }, { status: 429, retryAfter: 30 }, { times: 1 })
  const open = () =>
    client.blob(repository, image.config.digest, { position: 0, signal: new AbortController().signal })
  await failsWith(open(), 'RATE_LIMITED', /to which it redirects/)
  const blob = await open()
  assert.equal((await collect(blob.body())).length, image.config.size)
  await client.manifest(repository, latest)
})
