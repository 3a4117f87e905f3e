import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import type { UpstreamErrorCode } from '../../src/upstream/error.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { clientOf, failsWith } from './fixtures.ts'

const repository = 'library/alpine' as RepositoryName
const latest = 'latest' as Tag
const image = buildImage()
const { signal } = new AbortController()

async function startHub(t: TestContext): Promise<DockerHub> {
  const hub = await startDockerHub({ auth: 'none' })
  t.after(() => hub.close())
  hub.addImage(repository, 'latest', image)
  return hub
}

for (const status of [500, 502, 503, 504]) {
  test(`a manifest after ${status} is asked for three times, then it is a SERVER_ERROR with its status`, async (t) => {
    const hub = await startHub(t)
    hub.fault({ path: /manifests/ }, { status })
    const request = clientOf(t, hub.url).manifest(repository, latest)
    await assert.rejects(request, { name: 'UpstreamError', code: 'SERVER_ERROR', status, isOutage: true })
    assert.equal(hub.count(), 3)
  })
}

test('a manifest and a list of tags survive two failures', async (t) => {
  const hub = await startHub(t)
  const client = clientOf(t, hub.url)
  hub.fault({}, { status: 503 }, { times: 2 })
  assert.equal((await client.manifest(repository, latest)).bytes.length, image.manifest.size)
  hub.fault({}, { status: 500 }, { times: 2 })
  assert.deepEqual((await client.tags(repository, '')).tags, ['latest'])
  assert.equal(hub.count(), 6)
})

test('a manifest that is cut in its headers or its body is asked for again', async (t) => {
  for (const cutAfter of [0, 10]) {
    const hub = await startHub(t)
    const client = clientOf(t, hub.url)
    hub.fault({}, { cutAfter }, { times: 1 })
    assert.equal((await client.manifest(repository, latest)).bytes.length, image.manifest.size)
    assert.equal(hub.count(), 2)
  }
})

const refusals: readonly [status: number, code: UpstreamErrorCode][] = [
  [400, 'INVALID_RESPONSE'],
  [401, 'UNAUTHORIZED'],
  [403, 'FORBIDDEN'],
  [404, 'NOT_FOUND'],
  [405, 'INVALID_RESPONSE'],
  [416, 'INVALID_RESPONSE'],
  [429, 'RATE_LIMITED'],
]

for (const [status, code] of refusals) {
  test(`after ${status} nothing is asked again: ${code}`, async (t) => {
    const hub = await startHub(t)
    hub.fault({}, { status })
    const client = clientOf(t, hub.url)
    await assert.rejects(client.manifest(repository, latest), { name: 'UpstreamError', code })
    assert.equal(hub.count(), 1)
    assert.equal(client.isReachable, true)
  })
}

test('HEAD and blobs are asked for once; whether there is a blob, by GET after a HEAD that says nothing', async (t) => {
  const hub = await startHub(t)
  hub.fault({}, { status: 503 })
  const client = clientOf(t, hub.url)
  await failsWith(client.manifestDigest(repository, latest), 'SERVER_ERROR')
  await failsWith(client.hasBlob(repository, image.config.digest), 'SERVER_ERROR')
  await failsWith(client.blob(repository, image.config.digest, { position: 0, signal }), 'SERVER_ERROR')
  assert.deepEqual(
    hub.requests.map(({ method }) => method),
    ['HEAD', 'HEAD', 'GET', 'GET'],
  )
})

test('the CDN failing is a failure of the blob', async (t) => {
  const hub = await startHub(t)
  const client = clientOf(t, hub.url)
  for (const [status, code] of [
    [403, 'FORBIDDEN'],
    [503, 'SERVER_ERROR'],
  ] as const) {
    using _ = hub.fault({ listener: 'cdn' }, { status })
    await failsWith(client.blob(repository, image.config.digest, { position: 0, signal }), code)
  }
})

test('an error page of any size is not read', async (t) => {
  const hub = await startHub(t)
  hub.fault({}, { status: 503, body: 'x'.repeat(32 * 1024 * 1024) })
  await failsWith(clientOf(t, hub.url).manifestDigest(repository, latest), 'SERVER_ERROR')
  await failsWith(clientOf(t, hub.url).manifest(repository, latest), 'SERVER_ERROR')
})
