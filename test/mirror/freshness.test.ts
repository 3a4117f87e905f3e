import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const image = buildImage({ seed: 'one' })
const other = buildImage({ seed: 'two' })
const manifests = /manifests/

/** A hub with `library/app:latest`, and a mirror that asks again at every pull. */
async function start(config: Record<string, unknown> = {}) {
  const hub = await startDockerHub()
  hub.addImage('library/app', 'latest', image)
  const mirror = await startMirror({ upstream: hub.url, config: { 'cache.revalidate': 0, ...config } })
  const tag = `${mirror.url}/v2/library/app/manifests/latest`
  await using all = new AsyncDisposableStack()
  all.use(hub)
  all.use(mirror)
  const owned = all.move()
  return { hub, mirror, tag, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

test('a fresh tag is answered without asking the upstream', async () => {
  await using s = await start({ 'cache.revalidate': '5m' })
  assert.equal((await pull(s.tag)).headers['x-larder-cache'], 'miss')
  s.hub.reset()
  const hit = await pull(s.tag)
  assert.deepEqual([hit.headers['x-larder-cache'], hit.digest], ['hit', image.manifest.digest])
  assert.ok(Number(hit.headers.age) >= 0)
  assert.equal(s.hub.count(), 0)
})

test('a tag that is no longer fresh costs a HEAD, which is free of the quota', async () => {
  await using s = await start()
  await pull(s.tag)
  s.hub.reset()
  assert.equal((await pull(s.tag)).headers['x-larder-cache'], 'revalidated')
  assert.equal(s.hub.count({ method: 'HEAD', path: manifests }), 1)
  assert.equal(s.hub.count({ method: 'GET', path: manifests }), 0)
})

test('a tag that moved is fetched anew, and the old manifest is still served by its digest', async () => {
  await using s = await start()
  await pull(s.tag)
  s.hub.addImage('library/app', 'latest', other)
  assert.equal((await pull(s.tag)).digest, other.manifest.digest)
  s.hub.reset()
  const old = await pull(`${s.mirror.url}/v2/library/app/manifests/${image.manifest.digest}`)
  assert.deepEqual([old.headers['x-larder-cache'], s.hub.count()], ['hit', 0])
})

test('the upstream is gone: the copy is served and says so', async () => {
  await using s = await start()
  await pull(s.tag)
  await s.hub.stop()
  const stale = await pull(s.tag)
  assert.deepEqual([stale.status, stale.digest], [200, image.manifest.digest])
  assert.equal(stale.headers['x-larder-cache'], 'stale')
  assert.match(String(stale.headers.warning), /^299 - "/)
  assert.match(String(stale.headers.age), /^\d+$/)
})

test('the upstream is slow: the copy is served after cache.staleAfter, and the check goes on behind', async () => {
  await using s = await start({ 'cache.staleAfter': '100ms' })
  await pull(s.tag)
  s.hub.addImage('library/app', 'latest', other)
  using hold = s.hub.hold({ listener: 'registry', method: 'HEAD' })
  const stale = await pull(s.tag)
  assert.deepEqual([stale.headers['x-larder-cache'], stale.digest], ['stale', image.manifest.digest])
  hold.release()
  await until(async () => (await pull(s.tag)).digest === other.manifest.digest)
})

for (const status of [429, 500, 502, 503, 504]) {
  test(`${status} from the upstream: the copy is served`, async () => {
    await using s = await start()
    await pull(s.tag)
    s.hub.fault({ listener: 'registry' }, { status })
    const stale = await pull(s.tag)
    assert.deepEqual([stale.headers['x-larder-cache'], stale.digest], ['stale', image.manifest.digest])
  })
}

for (const status of [401, 403, 404]) {
  test(`${status} from the upstream is an answer, but content stays served by its digest`, async () => {
    await using s = await start()
    await pull(s.tag)
    const fault = s.hub.fault({ listener: 'registry' }, { status })
    const refused = await pull(s.tag)
    assert.equal(refused.status, 404)
    assert.equal(JSON.parse(refused.text).errors[0].code, 'MANIFEST_UNKNOWN')
    const byDigest = await pull(`${s.mirror.url}/v2/library/app/manifests/${image.manifest.digest}`)
    assert.equal(byDigest.digest, image.manifest.digest)
    fault.remove()
  })
}

test('copies older than cache.serveStale are not served', async () => {
  await using s = await start({ 'cache.serveStale': 'never' })
  await pull(s.tag)
  await s.hub.stop()
  const answer = await pull(s.tag)
  assert.equal(answer.status, 503)
})

test('an unknown tag is remembered for cache.negative', async () => {
  await using s = await start({ 'cache.negative': '5m' })
  const missing = `${s.mirror.url}/v2/library/app/manifests/missing`
  assert.equal((await pull(missing)).status, 404)
  s.hub.reset()
  s.hub.tag('library/app', 'missing', image.manifest.digest)
  assert.equal((await pull(missing)).status, 404)
  assert.equal(s.hub.count(), 0)
})

test('an unknown tag is asked for again after cache.negative', async () => {
  await using s = await start({ 'cache.negative': '1s' })
  const missing = `${s.mirror.url}/v2/library/app/manifests/missing`
  assert.equal((await pull(missing)).status, 404)
  s.hub.tag('library/app', 'missing', image.manifest.digest)
  await until(async () => (await pull(missing)).status === 200)
})

test('cache.negative 0 remembers nothing', async () => {
  await using s = await start({ 'cache.negative': 0 })
  const missing = `${s.mirror.url}/v2/library/app/manifests/missing`
  await pull(missing)
  s.hub.tag('library/app', 'missing', image.manifest.digest)
  assert.equal((await pull(missing)).status, 200)
})

test('a manifest that is not what its digest says is refused and not kept', async () => {
  await using s = await start()
  s.hub.fault({ listener: 'registry', path: manifests }, { flipAt: 30 }, { times: 1 })
  const byDigest = `${s.mirror.url}/v2/library/app/manifests/${image.manifest.digest}`
  const wrong = await pull(byDigest)
  assert.deepEqual([wrong.status, JSON.parse(wrong.text).errors[0].code], [502, 'MANIFEST_INVALID'])
  assert.equal((await pull(byDigest)).digest, image.manifest.digest)
})

test('a wrong Docker-Content-Digest is refused, and the tag stays as it was', async () => {
  await using s = await start()
  await pull(s.tag)
  s.hub.addImage('library/app', 'latest', other)
  s.hub.fault({ path: manifests }, { dockerContentDigest: `sha256:${'0'.repeat(64)}` }, { times: 2 })
  assert.equal((await pull(s.tag)).digest, image.manifest.digest)
})

test('an index that is sent as an image is refused', async () => {
  await using s = await start()
  s.hub.fault({ path: manifests }, { contentType: 'application/vnd.oci.image.index.v1+json' }, { times: 1 })
  assert.equal((await pull(s.tag)).status, 502)
  assert.equal((await pull(s.tag)).digest, image.manifest.digest)
})
