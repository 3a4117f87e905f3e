/**
 * A repository that everybody could read turns private: what of it is served, and for how long.
 *
 * Neighbours that were thought of: it turns private while anyone gets 429, 503, silence or nothing, with the tag moved,
 * with new layers, by digest, by tag, as a list; the same after a restart, and days later; a refusal followed by an
 * outage; a digest that is gone upstream; lists that are answered while the content is refused, then is limited, fails
 * or is gone, also after a restart; a list as the only thing that was asked for before an outage; an index of an index;
 * a silent upstream, with waits that are longer than its patience.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import type { Fault, FaultMatcher } from '../support/hub-faults.ts'
import { blobOf, buildImage, buildIndex } from '../support/images.ts'
import { until } from '../support/settle.ts'
import { assertNothingOf, clock, day, image, next, pullAll, type Setting, start } from './private-fixture.ts'

const indexType = 'application/vnd.oci.image.index.v1+json'

test('a repository that turns private is no longer served', async () => {
  await using s = await start()
  await pullAll(s)
  s.hub.setPrivate('library/app', ['ann'])
  s.hub.expireTokens()
  const [layer] = image.layers
  for (const path of [
    'manifests/latest',
    `manifests/${image.manifest.digest}`,
    `blobs/${layer?.digest}`,
    'tags/list',
  ]) {
    assert.equal((await s.heard(`library/app/${path}`)).status, 404, path)
  }
})

test('a repository that turns private: what was public is served by its digest for cache.servePrivate, and says so', async (t) => {
  const { forward } = clock(t)
  await using s = await start({ 'cache.servePrivate': '24h' })
  await pullAll(s)
  s.hub.setPrivate('library/app', ['ann'])
  s.hub.expireTokens()
  assert.equal((await s.heard('library/app/manifests/latest')).status, 404)
  const paths = [`manifests/${image.manifest.digest}`, `blobs/${image.config.digest}`]
  for (const method of ['GET', 'HEAD']) {
    for (const path of paths) {
      const { status, headers } = await s.get(`library/app/${path}`, method)
      assert.equal(status, 200, path)
      assert.match(String(headers.warning), /^299 - ".*to nobody without a login since /, path)
    }
  }
  // One line tells the operator, however often it is asked for.
  await s.get('library/app/manifests/latest')
  const told = s.mirror.events().filter(({ msg }) => /turned private/.test(String(msg)))
  assert.deepEqual(
    told.map(({ level, upstream, repository }) => [level, upstream, repository]),
    [['warn', 'docker.io', 'library/app']],
  )
  forward(day + 60_000)
  for (const path of paths) assert.equal((await s.get(`library/app/${path}`)).status, 404, path)
  s.hub.setPublic('library/app')
  for (const path of paths) {
    const { status, headers } = await s.get(`library/app/${path}`)
    assert.deepEqual([status, headers.warning], [200, undefined], path)
  }
})

const failures: readonly [what: string, matcher: FaultMatcher, fault: Fault][] = [
  ['429', { listener: 'registry', caller: 'anyone' }, { status: 429, retryAfter: 1 }],
  ['503', { listener: 'registry', caller: 'anyone' }, { status: 503 }],
  ['429 at the token service', { listener: 'token', caller: 'anyone' }, { status: 429 }],
  ['503 at the token service', { listener: 'token', caller: 'anyone' }, { status: 503 }],
]

for (const [what, matcher, fault] of failures) {
  test(`it turns private while anyone gets ${what}: nothing new comes in, what was public is served`, async () => {
    await using s = await start()
    await pullAll(s)
    s.hub.addImage('library/app', 'latest', next)
    s.hub.addImage('library/app', 'new', next)
    s.hub.setPrivate('library/app', ['ann'])
    s.hub.expireTokens()
    s.hub.fault(matcher, fault)
    const tag = await s.get('library/app/manifests/latest')
    assert.deepEqual([tag.digest, tag.headers['x-larder-cache']], [image.manifest.digest, 'stale'])
    assert.equal((await s.get(`library/app/manifests/${image.manifest.digest}`)).status, 200)
    assert.equal((await s.get(`library/app/blobs/${image.layers[0]?.digest}`)).status, 200)
    for (const path of [
      'manifests/new',
      `manifests/${next.manifest.digest}`,
      `blobs/${next.layers[0]?.digest}`,
    ]) {
      assert.notEqual((await s.get(`library/app/${path}`)).status, 200, path)
    }
    assertNothingOf(s.hub, next)
  })
}

test('while the upstream is gone, what was public stays readable, also after a restart, and days later', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'larder-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  await using s = await start({}, {}, directory)
  await pullAll(s)
  await s.hub.stop()
  const paths = ['manifests/latest', `manifests/${image.manifest.digest}`, `blobs/${image.config.digest}`]
  const statuses = async (base: string) =>
    Promise.all(paths.map(async (path) => (await pull(`${base}/v2/library/app/${path}`)).status))
  assert.equal((await s.get('library/app/manifests/latest')).headers['x-larder-cache'], 'stale')
  assert.deepEqual(await statuses(s.mirror.url), [200, 200, 200])
  assert.equal((await s.get('acme/secret/manifests/latest')).status, 503)
  await s.mirror[Symbol.asyncDispose]()
  await using again = await s.begin()
  assert.deepEqual(await statuses(again.url), [200, 200, 200])
  const { forward } = clock(t)
  forward(7 * day)
  assert.deepEqual(await statuses(again.url), [200, 200, 200])
})

test('an upstream that says nothing keeps nobody waiting for what is stored and was public', async () => {
  // Whoever waits for the upstream waits for longer than a client of a test does.
  await using s = await start({ 'cache.staleAfter': '100ms', 'limits.patience': '1h' })
  await pullAll(s)
  using _ = s.hub.fault({ listener: 'registry' }, { stallBeforeHeaders: true })
  for (const path of [`manifests/${image.manifest.digest}`, `blobs/${image.config.digest}`]) {
    assert.equal((await s.get(`library/app/${path}`)).status, 200)
  }
})

test('after a refusal an outage brings nothing back, and neither does a restart', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'larder-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  await using s = await start({}, {}, directory)
  await pullAll(s)
  s.hub.setPrivate('library/app', ['ann'])
  s.hub.expireTokens()
  assert.equal((await s.heard('library/app/manifests/latest')).status, 404)
  assert.equal((await s.get(`library/app/blobs/${image.config.digest}`)).status, 404)
  await s.hub.stop()
  const paths = ['manifests/latest', `manifests/${image.manifest.digest}`, `blobs/${image.config.digest}`]
  for (const path of paths) assert.notEqual((await s.get(`library/app/${path}`)).status, 200, path)
  await s.mirror[Symbol.asyncDispose]()
  await using again = await s.begin()
  for (const path of paths) {
    assert.notEqual((await pull(`${again.url}/v2/library/app/${path}`)).status, 200, path)
  }
})

test('lists that were kept while it was public are not served after a refusal', async () => {
  await using s = await start({}, { referrers: true })
  const signature = buildImage({ layers: [100], seed: 'signature', subject: image.manifest })
  s.hub.addImage('library/app', undefined, signature)
  await pullAll(s)
  const paths = [`referrers/${image.manifest.digest}`, 'tags/list']
  for (const path of paths) assert.equal((await s.get(`library/app/${path}`)).status, 200)
  s.hub.setPrivate('library/app', ['ann'])
  s.hub.expireTokens()
  assert.equal((await s.heard('library/app/manifests/latest')).status, 404)
  await s.hub.stop()
  for (const path of paths) {
    const { text } = await s.get(`library/app/${path}`)
    assert.doesNotMatch(text, new RegExp(`${signature.manifest.digest}|latest`), path)
  }
})

test('what is gone upstream is served by its digest, while the repository is there for everybody', async () => {
  await using s = await start()
  await pullAll(s)
  s.hub.addImage('library/app', 'latest', next)
  s.hub.remove('library/app', image.manifest.digest)
  for (const { digest } of [image.config, ...image.layers]) s.hub.remove('library/app', digest)
  assert.equal((await s.get(`library/app/manifests/${image.manifest.digest}`)).status, 200)
  assert.equal((await s.get(`library/app/blobs/${image.config.digest}`)).status, 200)
})

/** Answers lists to everybody, whatever else is private. */
function showLists(hub: Setting['hub']): void {
  const tags = { name: 'library/app', tags: ['latest', 'new'] }
  const referrers = { schemaVersion: 2, mediaType: indexType, manifests: [] }
  hub.fault(
    { path: /tags\/list/ },
    { status: 200, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(tags) },
  )
  hub.fault(
    { path: /referrers\// },
    { status: 200, headers: { 'Content-Type': indexType }, body: JSON.stringify(referrers) },
  )
}

const lists = ['tags/list', `referrers/sha256:${'1'.repeat(64)}`]
const storedPaths = [`manifests/${image.manifest.digest}`, `blobs/${image.config.digest}`]

for (const list of lists) {
  test(`${list.replace(/\/.*/, '')} that everybody may list open nothing that is refused`, async (t) => {
    const { forward } = clock(t)
    await using s = await start({ 'cache.revalidate': '5m' }, { referrers: true })
    await pullAll(s)
    s.hub.setPrivate('library/app', ['ann'])
    s.hub.expireTokens()
    showLists(s.hub)
    forward(6 * 60_000)
    assert.equal((await s.heard('library/app/manifests/latest')).status, 404)
    for (let round = 0; round < 2; round += 1) {
      for (const path of storedPaths) assert.equal((await s.get(`library/app/${path}`)).status, 404, path)
      assert.equal((await s.get(`library/app/${list}`)).status, 200)
    }
    s.hub.setPublic('library/app')
    forward(6 * 60_000)
    for (const path of storedPaths) assert.equal((await s.get(`library/app/${path}`)).status, 200, path)
  })
}

for (const status of [404, 429, 500]) {
  test(`after a refusal content gets ${status} and lists are answered: it stays private, also after a restart`, async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'larder-'))
    t.after(() => rm(directory, { recursive: true, force: true }))
    await using s = await start({}, {}, directory)
    await pullAll(s)
    s.hub.addImage('library/app', 'new', next)
    s.hub.setPrivate('library/app', ['ann'])
    s.hub.expireTokens()
    showLists(s.hub)
    assert.equal((await s.heard('library/app/manifests/latest')).status, 404)
    const content = { listener: 'registry', path: /(?:manifests|blobs)\//, caller: 'anyone' } as const
    // Where HEAD alone is limited the account's own way to its challenge is open.
    s.hub.fault(status === 429 ? { ...content, method: 'HEAD' } : content, { status })
    const paths = [...storedPaths, `manifests/${next.manifest.digest}`, 'manifests/new']
    const assertPrivate = async (base: string) => {
      for (const path of paths) {
        assert.notEqual((await pull(`${base}/v2/library/app/${path}`)).status, 200, path)
      }
    }
    await assertPrivate(s.mirror.url)
    await s.mirror[Symbol.asyncDispose]()
    paths.reverse()
    await using again = await s.begin()
    await assertPrivate(again.url)
    assertNothingOf(s.hub, next)
  })
}

test('a list of tags that was all that anyone asked for is there in an outage', async () => {
  await using s = await start()
  assert.equal((await s.get('library/app/tags/list')).status, 200)
  await s.hub.stop()
  const { status, headers } = await s.get('library/app/tags/list')
  assert.deepEqual([status, headers['x-larder-cache']], [200, 'stale'])
})

for (const status of [429, 500]) {
  test(`an index of an index turns private while anyone gets ${status}: nothing new comes in after the period`, async (t) => {
    const { forward } = clock(t)
    await using s = await start({ 'cache.revalidate': '5m' })
    const inner = buildIndex([next])
    const { mediaType, digest, size } = inner.manifest
    const document = { schemaVersion: 2, mediaType: indexType, manifests: [{ mediaType, digest, size }] }
    s.hub.addImage('library/deep', undefined, inner)
    s.hub.addManifest('library/deep', blobOf(Buffer.from(JSON.stringify(document)), indexType), 'latest')
    assert.equal((await s.get('library/deep/manifests/latest')).status, 200)
    s.hub.setPrivate('library/deep', ['ann'])
    s.hub.expireTokens()
    s.hub.fault({ listener: 'registry', caller: 'anyone' }, { status })
    forward(4.5 * 60_000)
    assert.equal((await s.get(`library/deep/manifests/${digest}`)).status, 200, 'within the period')
    forward(3 * 60_000)
    assert.notEqual((await s.get(`library/deep/manifests/${next.manifest.digest}`)).status, 200)
    assertNothingOf(s.hub, next)
  })
}

for (const staleAfter of ['50ms', '10s']) {
  test(`an upstream that stays silent, cache.staleAfter ${staleAfter}: what was public is served, however often it is asked for`, async () => {
    await using s = await start({ 'cache.staleAfter': staleAfter, 'limits.patience': '2s' })
    await pullAll(s)
    using _ = s.hub.hold({ listener: 'registry' })
    for (const path of storedPaths) {
      const began = performance.now()
      await until(async () => {
        const { status, text } = await s.get(`library/app/${path}`)
        assert.equal(status, 200, text)
        return performance.now() - began > 3000
      })
    }
  })
}
