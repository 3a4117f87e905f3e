import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { clientOf, failsWith } from './fixtures.ts'

const repository = 'library/alpine' as RepositoryName
const latest = 'latest' as Tag
const image = buildImage()
const { signal } = new AbortController()
const pullLimit = JSON.stringify({
  errors: [{ code: 'TOOMANYREQUESTS', message: 'You have reached your pull rate limit.' }],
})

async function startHub(t: TestContext, quota?: number): Promise<DockerHub> {
  const hub = await startDockerHub({ auth: 'none', ...(quota === undefined ? {} : { quota }) })
  t.after(() => hub.close())
  hub.addImage(repository, 'latest', image)
  return hub
}

test('the pull limit stops manifest GETs without asking again; everything else goes on', async (t) => {
  const hub = await startHub(t, 100)
  hub.setRemaining(0)
  const client = clientOf(t, hub.url)
  await failsWith(client.manifest(repository, latest), 'RATE_LIMITED')
  assert.equal(hub.count(), 1)
  for (let count = 0; count < 10; count += 1) {
    await failsWith(client.manifest(repository, latest), 'RATE_LIMITED', /used up/)
  }
  assert.equal(hub.count(), 1, 'no request while we are told to wait')
  assert.equal(await client.manifestDigest(repository, latest), image.manifest.digest)
  assert.equal(await client.hasBlob(repository, image.config.digest), true)
  assert.deepEqual((await client.tags(repository, '')).tags, ['latest'])
  const blob = await client.blob(repository, image.config.digest, { position: 0, signal })
  blob.discard()
})

test('the abuse limit stops everything without asking again', async (t) => {
  const hub = await startHub(t)
  hub.fault({ method: 'HEAD' }, { status: 429, body: '429 Too Many Requests\n', retryAfter: 120 })
  const client = clientOf(t, hub.url)
  const questions = [
    () => client.manifestDigest(repository, latest),
    () => client.manifest(repository, latest),
    () => client.hasBlob(repository, image.config.digest),
    () => client.blob(repository, image.config.digest, { position: 0, signal }),
    () => client.tags(repository, ''),
  ]
  for (const ask of questions) {
    await assert.rejects(ask(), {
      name: 'UpstreamError',
      code: 'RATE_LIMITED',
      status: 429,
      retryAfterSeconds: 120,
    })
  }
  assert.equal(hub.count(), 1)
})

for (const body of [pullLimit, 'Too Many Requests']) {
  test(`questions go out again when the time of ${body === pullLimit ? 'the pull' : 'the abuse'} limit is over`, async (t) => {
    const hub = await startHub(t)
    hub.fault({}, { status: 429, retryAfter: 3000, body }, { times: 1 })
    const client = clientOf(t, hub.url)
    const real = performance.now.bind(performance)
    let jumped = 0
    t.mock.method(performance, 'now', () => real() + jumped)
    await failsWith(client.manifest(repository, latest), 'RATE_LIMITED')
    // Real time goes on as well.
    jumped = 2_900_000
    await failsWith(client.manifest(repository, latest), 'RATE_LIMITED')
    jumped = 3_000_001
    await client.manifest(repository, latest)
    assert.equal(hub.count(), 2)
  })
}

const waits: readonly [retryAfter: string | number | undefined, least: number, most: number][] = [
  [30, 30, 30],
  [new Date(Date.now() + 600_000).toUTCString(), 560, 601],
  ['Fri, 31 Dec 9999 23:59:59 GMT', 3600, 3600],
  [999_999_999_999, 3600, 3600],
  [0, 1, 1],
  ['never', 60, 120],
  [-5, 60, 120],
  [undefined, 60, 120],
  ['Sat, 01 Jan 2000 00:00:00 GMT', 1, 1],
  ['1'.padEnd(16, '0'), 3600, 3600],
]

for (const [retryAfter, least, most] of waits) {
  test(`429 with Retry-After ${retryAfter} is passed on as ${least} s, or near`, async (t) => {
    const hub = await startHub(t)
    hub.fault({}, { status: 429, ...(retryAfter === undefined ? {} : { retryAfter }) })
    const client = clientOf(t, hub.url)
    await assert.rejects(client.manifestDigest(repository, latest), ({ retryAfterSeconds, isOutage }) => {
      assert.equal(isOutage, true)
      return retryAfterSeconds >= least && retryAfterSeconds <= most
    })
  })
}

test('a 429 with a body without end is understood', async (t) => {
  const hub = await startHub(t)
  hub.fault({}, { status: 429, body: 'x'.repeat(32 * 1024 * 1024) })
  await failsWith(clientOf(t, hub.url).manifest(repository, latest), 'RATE_LIMITED')
})

test('the quota is read from manifests, and kept over answers without one', async (t) => {
  const hub = await startHub(t, 100)
  const client = clientOf(t, hub.url)
  assert.equal(client.rateLimit, undefined)
  const seen = async (remaining: number) =>
    assert.deepEqual(client.rateLimit, { limit: 100, remaining, windowSeconds: 21_600 })
  await client.manifestDigest(repository, latest)
  await seen(100)
  await client.manifest(repository, latest)
  await seen(99)
  await client.hasBlob(repository, image.config.digest)
  await client.tags(repository, '')
  await seen(99)
  hub.setRemaining(0)
  await failsWith(client.manifest(repository, latest), 'RATE_LIMITED')
  await seen(0)
})

test('a limit is no outage of the line: the upstream stays reachable', async (t) => {
  const hub = await startHub(t)
  hub.fault({}, { status: 429, retryAfter: 1 })
  const client = clientOf(t, hub.url)
  for (let count = 0; count < 5; count += 1) {
    await failsWith(client.manifestDigest(repository, latest), 'RATE_LIMITED')
  }
  assert.equal(client.isReachable, true)
})
