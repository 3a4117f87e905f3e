/**
 * What only the operator's account may read is served to nobody, and what is public stays so, whatever else the
 * upstream refuses.
 *
 * Neighbours that were thought of: lists of tags refused while manifests are public; HEAD that gets 400, 401, 403, 404,
 * 405, 500, of manifests, of blobs, with lists that are refused as well;
 * an anonymous token service that refuses, or is limited; 404 in place of 401; a tag that exists for the account only,
 * also where the tag is public with other content; a repository that turns private while anyone gets 429, 503, silence
 * or nothing, with the tag moved, with new layers, by digest, by tag, as a list; the same after a restart, and a day
 * later; a refusal followed by an outage; a digest that is gone upstream; children of an index; many layers at once;
 * lists that are answered while the content is refused, then is limited, fails or is gone, also after a restart; a list
 * as the only thing that was asked for before an outage; an index of an index; a silent upstream for the first and for
 * those who join it, with waits that are longer than its patience.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Pulled, pull } from '../support/client.ts'
import { type DockerHubOptions, startDockerHub } from '../support/docker-hub.ts'
import type { Fault, FaultMatcher } from '../support/hub-faults.ts'
import { blobOf, buildImage, buildIndex } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const image = buildImage({ layers: [5000, 5001, 5002, 5003] })
const next = buildImage({ layers: [7000], seed: 'next' })
const secret = buildImage({ layers: [6000], seed: 'secret' })
const day = 24 * 60 * 60_000
const indexType = 'application/vnd.oci.image.index.v1+json'

/** Puts both clocks forward. */
function clock(t: TestContext): { forward(ms: number): void } {
  const [date, mark] = [Date.now.bind(Date), performance.now.bind(performance)]
  let jumped = 0
  t.mock.method(Date, 'now', () => date() + jumped)
  t.mock.method(performance, 'now', () => mark() + jumped)
  return {
    forward(ms) {
      jumped += ms
    },
  }
}

/** A hub where ann may read acme/secret, and a mirror that has ann's credentials. */
async function start(
  config: Record<string, unknown> = {},
  options: DockerHubOptions = {},
  directory?: string,
) {
  await using all = new AsyncDisposableStack()
  const hub = all.use(await startDockerHub({ accounts: { ann: 'canary-password' }, ...options }))
  hub.addImage('library/app', 'latest', image)
  hub.addImage('acme/secret', 'latest', secret)
  hub.setPrivate('acme/secret', ['ann'])
  const account = { username: 'ann', password: 'canary-password' }
  const settings = {
    upstreams: [{ name: 'docker.io', url: hub.url, ...account }],
    'cache.revalidate': 0,
    'cache.negative': 0,
    // A fill asks on for a minute; here it is what comes in that counts.
    'limits.retries': 0,
    ...config,
  }
  const begin = () => startMirror({ config: settings, ...(directory === undefined ? {} : { directory }) })
  const mirror = all.use(await begin())
  const owned = all.move()
  const get = (path: string, method = 'GET'): Promise<Pulled> => pull(`${mirror.url}/v2/${path}`, { method })
  return { hub, mirror, begin, get, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

type Setting = Awaited<ReturnType<typeof start>>

/** Pulls as a client does: the tag, the manifest, everything in it. */
async function pullAll({ get }: Pick<Setting, 'get'>, name = 'library/app', of = image): Promise<void> {
  assert.equal((await get(`${name}/manifests/latest`, 'HEAD')).status, 200)
  assert.equal((await get(`${name}/manifests/latest`)).digest, of.manifest.digest)
  assert.equal((await get(`${name}/manifests/${of.manifest.digest}`)).digest, of.manifest.digest)
  const blobs = await Promise.all(
    [of.config, ...of.layers].map(({ digest }) => get(`${name}/blobs/${digest}`)),
  )
  assert.deepEqual(
    blobs.map(({ status, digest }) => [status, digest]),
    [of.config, ...of.layers].map(({ digest }) => [200, digest]),
  )
}

function assertNothingOf(hub: Setting['hub'], of: typeof secret): void {
  assert.equal(
    [of.manifest, of.config, ...of.layers].reduce((sum, { digest }) => sum + hub.bytesSent(digest), 0),
    0,
  )
}

test("what only the operator's account may read is served to nobody", async () => {
  await using s = await start()
  const [layer] = secret.layers
  assert.ok(layer)
  const paths = [
    'manifests/latest',
    `manifests/${secret.manifest.digest}`,
    `blobs/${layer.digest}`,
    'tags/list',
  ]
  for (const path of paths) {
    const { status, text } = await s.get(`acme/secret/${path}`)
    assert.equal(status, 404, path)
    assert.match(text, /acme\/secret is private/)
  }
  assertNothingOf(s.hub, secret)
  assert.equal(s.hub.count({ listener: 'registry', caller: 'account' }), 0)
  assert.ok(!s.mirror.log().includes('canary-password'))
})

test('a public image of four layers: one question of anyone for the tag, manifests with the account, and none again within the period', async () => {
  await using s = await start({ 'cache.revalidate': '5m' })
  await pullAll(s)
  await pullAll(s)
  const asked = s.hub
    .find({ listener: 'registry' })
    .filter(({ status }) => status !== 401)
    .map(({ caller, method, url }) => `${caller} ${method} ${url.replace(/[^/]*$/, '')}`)
  const blob = 'anyone GET /v2/library/app/blobs/'
  assert.deepEqual(asked.sort(), [
    'account GET /v2/library/app/manifests/',
    ...Array.from({ length: 5 }, () => blob),
    'anyone HEAD /v2/library/app/manifests/',
  ])
})

test('an index: its children need no question of their own', async () => {
  await using s = await start({ 'cache.revalidate': '5m' })
  const index = buildIndex([image, next])
  s.hub.addImage('library/multi', 'latest', index)
  await s.get('library/multi/manifests/latest')
  await s.get(`library/multi/manifests/${image.manifest.digest}`)
  await s.get(`library/multi/manifests/${next.manifest.digest}`)
  assert.equal(s.hub.count({ method: 'HEAD', path: /manifests/, status: 200 }), 1)
  assert.equal(s.hub.count({ caller: 'account', method: 'GET', path: /manifests/, status: 200 }), 3)
})

test('layers that are asked for at once after the period cost one question, not one each', async () => {
  await using s = await start()
  await pullAll(s)
  s.hub.reset()
  using hold = s.hub.hold({ method: 'HEAD', path: /blobs/ })
  const pulls = image.layers.map(({ digest }) => s.get(`library/app/blobs/${digest}`))
  await hold.reached
  hold.release()
  assert.deepEqual(
    (await Promise.all(pulls)).map(({ status }) => status),
    [200, 200, 200, 200],
  )
  assert.ok(s.hub.count({ caller: 'anyone' }) <= 4)
})

test('lists of tags that are refused while manifests and blobs are public: everything is pulled', async () => {
  for (const status of [401, 403, 404]) {
    await using s = await start()
    s.hub.fault({ path: /tags\/list/, caller: 'anyone' }, { status })
    await pullAll(s)
    assert.equal(s.hub.count({ caller: 'account', path: /manifests/ }) > 0, true, 'with the account')
    assert.equal((await s.get('library/app/tags/list')).status, 404)
    // The list alone decides nothing.
    await pullAll(s)
  }
})

for (const status of [401, 403, 404, 405, 500]) {
  test(`HEAD gets ${status}, lists are refused: what everybody may read is pulled, and pulled again`, async () => {
    await using s = await start()
    s.hub.fault({ method: 'HEAD', path: /manifests/, caller: 'anyone' }, { status })
    if (status !== 401 && status !== 404) {
      s.hub.fault({ listener: 'registry', method: 'HEAD', path: /blobs/, caller: 'anyone' }, { status })
    }
    s.hub.fault({ path: /tags\/list/, caller: 'anyone' }, { status: 404 })
    for (let round = 0; round < 3; round += 1) await pullAll(s)
    assert.equal((await s.get('acme/secret/manifests/latest')).status, 404)
    assert.equal((await s.get(`acme/secret/manifests/${secret.manifest.digest}`)).status, 404)
    assertNothingOf(s.hub, secret)
    s.hub.setPrivate('library/app', ['ann'])
    s.hub.expireTokens()
    assert.equal((await s.get(`library/app/manifests/${image.manifest.digest}`)).status, 404)
    assert.equal((await s.get(`library/app/blobs/${image.config.digest}`)).status, 404)
  })
}

for (const status of [400, 405, 500, 501]) {
  test(`HEAD of manifests that gets ${status}: what everybody may read is pulled, and nothing else`, async () => {
    await using s = await start()
    s.hub.fault({ method: 'HEAD', path: /manifests/ }, { status })
    await pullAll(s)
    assert.equal((await s.get('acme/secret/manifests/latest')).status, 404)
    assertNothingOf(s.hub, secret)
  })
}

test('anyone is answered 404 where the account gets 200: private', async () => {
  await using s = await start()
  s.hub.fault({ listener: 'registry', path: /acme\/secret/, caller: 'anyone' }, { status: 404 })
  for (const path of [
    'manifests/latest',
    `manifests/${secret.manifest.digest}`,
    `blobs/${secret.config.digest}`,
  ]) {
    assert.equal((await s.get(`acme/secret/${path}`)).status, 404)
  }
  assertNothingOf(s.hub, secret)
})

test('a token service that refuses anyone: nothing is public', async () => {
  for (const status of [400, 401, 403]) {
    await using s = await start()
    s.hub.fault({ listener: 'token', caller: 'anyone' }, { status })
    assert.equal((await s.get('library/app/manifests/latest')).status, 404)
    assertNothingOf(s.hub, image)
  }
})

test('a tag that exists for the account only is served to nobody, in a repository that is public', async () => {
  await using s = await start({ 'cache.revalidate': '5m' })
  s.hub.addImage('library/app', 'beta', secret)
  s.hub.fault({ path: /manifests\/beta/, caller: 'anyone' }, { status: 404 })
  s.hub.fault({ digest: secret.manifest.digest, caller: 'anyone' }, { status: 404 })
  await pullAll(s)
  assert.equal((await s.get('library/app/manifests/beta')).status, 404)
  assert.equal((await s.get(`library/app/manifests/${secret.manifest.digest}`)).status, 404)
  assert.equal(s.hub.bytesSent(secret.manifest.digest), 0)
})

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
    assert.equal((await s.get(`library/app/${path}`)).status, 404, path)
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

test("anyone's quota is used up: the account's is used, and the list of tags is the witness", async () => {
  await using s = await start()
  s.hub.fault({ method: 'HEAD', path: /manifests/, caller: 'anyone' }, { status: 429, retryAfter: 60 })
  await pullAll(s)
  assert.equal((await s.get('acme/secret/manifests/latest')).status, 503)
  assertNothingOf(s.hub, secret)
})

test('while the upstream is gone, what was public stays readable, also after a restart; for a day', async (t) => {
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
  forward(day - 60_000)
  assert.deepEqual(await statuses(again.url), [200, 200, 200])
  forward(2 * 60_000)
  assert.ok((await statuses(again.url)).every((status) => status >= 404))
})

test('an upstream that says nothing keeps nobody waiting for what is stored and was public', async () => {
  await using s = await start({ 'cache.staleAfter': '100ms' })
  await pullAll(s)
  using _ = s.hub.fault({ listener: 'registry' }, { stallBeforeHeaders: true })
  for (const path of [`manifests/${image.manifest.digest}`, `blobs/${image.config.digest}`]) {
    const { status, totalMs } = await s.get(`library/app/${path}`)
    assert.equal(status, 200)
    assert.ok(totalMs < 3000, `${totalMs} ms`)
  }
})

test('after a refusal an outage brings nothing back, and neither does a restart', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'larder-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  await using s = await start({}, {}, directory)
  await pullAll(s)
  s.hub.setPrivate('library/app', ['ann'])
  s.hub.expireTokens()
  assert.equal((await s.get('library/app/manifests/latest')).status, 404)
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
  assert.equal((await s.get(`library/app/blobs/${image.config.digest}`)).status, 404)
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

test('a wrong password: pulls go on, the metric says so, and what is private stays so', async () => {
  await using s = await start()
  const account = { username: 'ann', password: 'not-hers' }
  const config = { upstreams: [{ name: 'docker.io', url: s.hub.url, ...account }] }
  await using mirror = await startMirror({ config })
  await pullAll({ get: (path, method = 'GET') => pull(`${mirror.url}/v2/${path}`, { method }) })
  assert.equal(await mirror.metric('larder_upstream_credentials_refused'), 1)
  assert.equal(await s.mirror.metric('larder_upstream_credentials_refused'), 0)
  const { status, text } = await pull(`${mirror.url}/v2/acme/secret/manifests/latest`)
  assert.equal(status, 404)
  assert.match(text, /refuses the configured user name and password/)
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
    assert.equal((await s.get(`library/app/blobs/${image.layers[0]?.digest}`)).status, 404)
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
    await using s = await start({ 'cache.staleAfter': staleAfter, 'limits.patience': '1s' })
    await pullAll(s)
    using _ = s.hub.hold({ listener: 'registry' })
    for (const path of storedPaths) {
      const began = performance.now()
      await until(async () => {
        const { status, text } = await s.get(`library/app/${path}`)
        assert.equal(status, 200, text)
        return performance.now() - began > 1500
      })
    }
  })
}
