// Neighbours thought of: plenty of pulls left; less than half; none; a tag that is here, one that is not; a digest; what
// the client asks next (GET by digest, by tag), offline as well; a HEAD that is no use, that is 404; an upstream without quota.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, mediaTypes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'

const known = buildImage({ seed: 'known' })
const image = buildImage({ seed: 'new' })
const gets = { method: 'GET', path: /manifests/, status: 200 } as const

/** A mirror that has pulled `known` from a hub where `remaining` of 100 pulls are left then. */
async function start(remaining: number) {
  const hub = await startDockerHub({ quota: 100, referrers: true })
  hub.addImage('library/app', 'known', known)
  hub.addImage('library/app', 'new', image)
  hub.setRemaining(remaining + 1)
  const mirror = await startMirror({ upstream: hub.url })
  await using all = new AsyncDisposableStack()
  all.use(hub)
  all.use(mirror)
  const ask = (reference: string, method = 'GET') =>
    pull(`${mirror.url}/v2/library/app/manifests/${reference}`, { method })
  await ask('known')
  hub.reset()
  const owned = all.move()
  const tag = `${mirror.url}/v2/library/app/manifests/known`
  return { hub, ask, tag, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

for (const remaining of [49, 0]) {
  test(`${remaining} of 100 pulls are left: HEAD of an unknown tag costs none`, async () => {
    await using s = await start(remaining)
    const head = await s.ask('new', 'HEAD')
    assert.deepEqual([head.status, head.received], [200, 0])
    assert.equal(head.headers['docker-content-digest'], image.manifest.digest)
    assert.equal(head.headers['content-type'], mediaTypes.oci.manifest)
    assert.equal(head.headers['content-length'], String(image.manifest.size))
    assert.equal((await s.ask(image.manifest.digest, 'HEAD')).status, 200)
    assert.equal(s.hub.count(gets), 0)
  })
}

test('pulls are scarce: what follows a HEAD is one pull by digest, after which the tag is here without the upstream', async () => {
  await using s = await start(20)
  await s.ask('new', 'HEAD')
  assert.equal((await s.ask(image.manifest.digest)).digest, image.manifest.digest)
  assert.equal(s.hub.count(gets), 1)
  await s.hub.stop()
  const tagged = await s.ask('new')
  assert.deepEqual([tagged.digest, tagged.headers['x-larder-cache']], [image.manifest.digest, 'hit'])
})

test('pulls are scarce: GET of the tag after its HEAD brings the manifest', async () => {
  await using s = await start(20)
  await s.ask('new', 'HEAD')
  assert.equal((await s.ask('new')).digest, image.manifest.digest)
})

test('pulls are scarce: a tag that is here is answered from here, an unknown one is 404', async () => {
  await using s = await start(20)
  assert.equal((await s.ask('known', 'HEAD')).headers['x-larder-cache'], 'hit')
  assert.equal(s.hub.count(), 0)
  assert.equal((await s.ask('none', 'HEAD')).status, 404)
})

for (const fault of [{ status: 405 }, { dockerContentDigest: 'none' }, { contentType: 'text/html' }]) {
  test(`pulls are scarce, and HEAD is no use (${JSON.stringify(fault)}): a pull it is`, async () => {
    await using s = await start(20)
    s.hub.fault({ method: 'HEAD', path: /manifests/ }, fault)
    assert.equal((await s.ask('new', 'HEAD')).headers['content-length'], String(image.manifest.size))
    assert.equal(s.hub.count(gets), 1)
  })
}

test('no pulls are left: that nothing refers to a manifest is a fact all the same', async () => {
  await using s = await start(0)
  const url = s.tag.replace('manifests/known', `referrers/${known.manifest.digest}`)
  for (const cache of ['miss', 'hit']) {
    const { status, headers } = await pull(url)
    assert.deepEqual([status, headers['x-larder-cache'], headers.warning], [200, cache, undefined])
  }
})

test('pulls are plenty: HEAD of an unknown tag brings the manifest, and the GET by digest behind it is a hit', async () => {
  await using s = await start(90)
  await s.ask('new', 'HEAD')
  assert.equal(s.hub.count(gets), 1)
  await s.hub.stop()
  assert.equal((await s.ask(image.manifest.digest)).headers['x-larder-cache'], 'hit')
})

test('pulls are scarce: the tag moves between a HEAD and the GET of its digest, and is not turned back', async () => {
  await using s = await start(20)
  const moved = buildImage({ seed: 'moved' })
  await s.ask('new', 'HEAD')
  s.hub.addImage('library/app', 'new', moved)
  assert.equal((await s.ask('new')).digest, moved.manifest.digest)
  assert.equal((await s.ask(image.manifest.digest)).digest, image.manifest.digest)
  assert.equal((await s.ask('new')).digest, moved.manifest.digest)
})
