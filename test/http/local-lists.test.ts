/**
 * The lists of what was pushed, over real sockets: tags in pages of every size, behind what is none, very many of them;
 * what a deletion takes out of lists; referrers in several pages, with a filter, as clients without the API push them.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { referrersTag } from '../../src/oci/referrers.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { blobOf, buildImage, mediaTypes, type TestBlob } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { pushImage, pushManifest, send } from '../support/push.ts'

const parts = new AsyncDisposableStack()
const image = buildImage({ layers: [100], seed: 'lists' })
let hub: DockerHub
let mirror: TestMirror

before(async () => {
  hub = parts.use(await startDockerHub())
  mirror = parts.use(await startMirror({ upstream: hub.url }))
})
after(() => parts.disposeAsync())

async function get(path: string) {
  const { status, text, headers } = await send('GET', mirror.url + path)
  assert.equal(status, 200, text)
  const next = /^<([^>]+)>; rel="next"$/.exec(String(headers.link ?? ''))?.[1]
  return { body: JSON.parse(text), next, headers }
}

/** All of a list, page by page, as `entriesOf` finds it in an answer. */
async function walk<Entry>(path: string, entriesOf: (body: Record<string, Entry[]>) => Entry[] | undefined) {
  const pages: Entry[][] = []
  for (let next: string | undefined = path; next !== undefined; ) {
    const page = await get(next)
    pages.push(entriesOf(page.body) ?? [])
    next = page.next
  }
  return pages
}

test('tags come in the order of their bytes, in pages of every size, behind any text', async () => {
  const tags = ['A', 'Z', '_', 'a', 'a-', 'a.', 'a0', 'b', 'v1', 'v10', 'v2']
  await pushImage(`${mirror.url}/v2/sorted`, 'a', image)
  for (const tag of tags) await pushManifest(`${mirror.url}/v2/sorted`, tag, image.manifest)
  for (const n of [1, 2, 5, tags.length, tags.length + 1]) {
    const pages = await walk<string>(`/v2/sorted/tags/list?n=${n}`, (body) => body.tags)
    assert.deepEqual(pages.flat(), tags, `n=${n}`)
    assert.equal(pages.length, Math.ceil(tags.length / n))
  }
  for (const last of ['a!', 'a', '', 'zzz', 'v1:', '\u0000', 'é']) {
    const { body } = await get(`/v2/sorted/tags/list?last=${encodeURIComponent(last)}`)
    assert.deepEqual(body, { name: 'sorted', tags: tags.filter((tag) => tag > last) }, last)
  }
  assert.deepEqual((await get('/v2/sorted/tags/list?n=0')).body.tags, [])
  assert.equal((await get('/v2/sorted/tags/list?n=0')).next, undefined)
  assert.equal(hub.count(), 0)
})

test('thousands of tags are one answer where nobody asks for a number', async () => {
  const tags = Array.from({ length: 12_000 }, (_, n) => `v${n}`)
  await pushImage(`${mirror.url}/v2/many`, 'v0', image)
  for (let n = 0; n < tags.length; n += 3000) {
    const query = tags.slice(n, n + 3000).map((tag) => `tag=${tag}`)
    for (let from = 0; from < query.length; from += 100) {
      const path = `/v2/many/manifests/${image.manifest.digest}?${query.slice(from, from + 100).join('&')}`
      const headers = { 'content-type': image.manifest.mediaType }
      const put = await send('PUT', mirror.url + path, { body: image.manifest.bytes, headers })
      assert.equal(put.status, 201, put.text)
    }
  }
  const { body, next } = await get('/v2/many/tags/list')
  assert.deepEqual(body.tags, tags.toSorted())
  assert.equal(next, undefined)
  assert.equal((await get('/v2/many/tags/list?n=999999')).body.tags.length, tags.length)
})

test('what is deleted is in no list any more', async () => {
  await pushImage(`${mirror.url}/v2/gone`, 'v1', image)
  await pushManifest(`${mirror.url}/v2/gone`, 'v2', image.manifest)
  const catalog = async () => (await get('/v2/_catalog')).body.repositories.includes('gone')
  const found = async () => (await get('/v1/search?q=gone')).body.num_results
  await send('DELETE', `${mirror.url}/v2/gone/manifests/v1`)
  assert.deepEqual((await get('/v2/gone/tags/list')).body.tags, ['v2'])
  assert.deepEqual([await catalog(), await found()], [true, 1])
  await send('DELETE', `${mirror.url}/v2/gone/manifests/${image.manifest.digest}`)
  assert.deepEqual([await catalog(), await found()], [false, 0])
})

/** An artifact about the image: it says so itself, or is only listed under the tag of the schema. */
function artifact(type: string, text: string, isNaming = true): TestBlob {
  const { mediaType, digest, size } = image.manifest
  const config = { mediaType: image.config.mediaType, digest: image.config.digest, size: image.config.size }
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.oci.manifest,
    artifactType: type,
    config,
    layers: [],
    annotations: { text },
    ...(isNaming && { subject: { mediaType, digest, size } }),
  }
  return blobOf(Buffer.from(JSON.stringify(document)), mediaTypes.oci.manifest)
}

test('referrers come in pages of 4 MiB, filtered, with those of the tag schema among them', async () => {
  const repository = `${mirror.url}/v2/signed`
  await pushImage(repository, 'v1', image)
  const large = Array.from({ length: 9 }, (_, n) => artifact('text/large', `${n}${'x'.repeat(1_000_000)}`))
  const tagged = artifact('text/tagged', 'an older client', false)
  for (const { digest, ...one } of [...large, tagged]) {
    assert.equal((await pushManifest(repository, digest, { digest, ...one })).status, 201)
  }
  const { mediaType, digest, size } = tagged
  const index = {
    schemaVersion: 2,
    mediaType: mediaTypes.oci.index,
    manifests: [{ mediaType, digest, size }],
  }
  const bytes = blobOf(Buffer.from(JSON.stringify(index)), mediaTypes.oci.index)
  await pushManifest(repository, referrersTag(image.manifest.digest), bytes)
  const path = `/v2/signed/referrers/${image.manifest.digest}`
  const list = (query: string) => walk<{ digest: string }>(path + query, (body) => body.manifests)
  const all = await list('')
  assert.deepEqual(
    all.flat().map((one) => one.digest),
    [...large, tagged].map((one) => one.digest).toSorted(),
  )
  assert.equal(all.length, 3)
  assert.deepEqual(
    (await list('?artifactType=text%2Ftagged')).flat().map((one) => one.digest),
    [digest],
  )
  assert.equal((await list('?artifactType=text/large')).flat().length, large.length)
  const { headers, next } = await get(`${path}?artifactType=text/large`)
  assert.equal(headers['oci-filters-applied'], 'artifactType')
  assert.match(String(next), /artifactType=text%2Flarge/)
  const { status, code } = await send('GET', `${mirror.url}${path}?from=x`)
  assert.deepEqual([status, code], [400, 'PAGINATION_NUMBER_INVALID'])
})
