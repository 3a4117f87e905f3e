// Neighbours thought of: a manifest by tag, by digest, by HEAD and then GET, by HEAD alone; a tag that moved; a hit; an
// index whose platform nobody has asked for, one client has, another has; two platforms; an attestation; large layers,
// layers without a size, those that nobody may hand out; a child that is refused; a disk that fails; pulls that are
// scarce; clients that come at the same moment, later, never; what is off.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { type DockerHub, type DockerHubOptions, startDockerHub } from '../support/docker-hub.ts'
import { blobOf, buildImage, buildIndex, pseudoRandomBytes, type TestBlob } from '../support/images.ts'
import { type MirrorOptions, startMirror, type TestMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const arm = { os: 'linux', architecture: 'arm64', variant: 'v8' }
const small = 50_000
/** More than a first part: where that is fetched, it is not stored. */
const large = 700_000
const ahead = { 'cache.readAhead': '100KB' }

interface Started extends AsyncDisposable {
  readonly hub: DockerHub
  readonly mirror: TestMirror
  /** Of library/app. */
  ask(reference: string, method?: string): ReturnType<typeof pull>
  blob(blob: TestBlob): ReturnType<typeof pull>
  /** Waits until so many blobs are in the cache. */
  stored(count: number): Promise<void>
  /** How often a blob or a manifest was asked for by GET, wherever it is. */
  gets(content: TestBlob): number
}

async function start(
  options: Partial<MirrorOptions> = {},
  hubOptions: DockerHubOptions = {},
): Promise<Started> {
  await using all = new AsyncDisposableStack()
  const hub = all.use(await startDockerHub(hubOptions))
  const mirror = all.use(await startMirror({ upstream: hub.url, config: ahead, ...options }))
  const owned = all.move()
  const url = `${mirror.url}/v2/library/app`
  return {
    hub,
    mirror,
    ask: (reference, method = 'GET') => pull(`${url}/manifests/${reference}`, { method }),
    blob: ({ digest }) => pull(`${url}/blobs/${digest}`),
    stored: (count) =>
      until(async () => (await mirror.metric('larder_cache_blobs')) === count, { what: `${count} blobs` }),
    gets: ({ digest }) => hub.count({ listener: 'registry', method: 'GET', path: new RegExp(digest) }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

const cacheOf = ({ headers }: { headers: Record<string, unknown> }) => headers['x-larder-cache']

/** What was begun ahead has come to its end; what would be begun by mistake has had its time as well. */
async function settled({ mirror }: Started): Promise<void> {
  // A question of our own, through the whole mirror and the upstream, takes longer than what is begun before it.
  for (let turn = 0; turn < 3; turn += 1) await pull(`${mirror.url}/v2/library/app/manifests/nothing-${turn}`)
  await until(async () => (await mirror.metric('larder_fills_running')) === 0)
}

test('GET of a manifest brings the config and the small layers, once each, and no large one', async () => {
  // It is one pull, however long this takes.
  await using s = await start({ pullIdleMs: 120_000 })
  const image = buildImage({ layers: [small, large, small + 1] })
  s.hub.addImage('library/app', 'latest', image)
  await s.ask('latest')
  await s.stored(3)
  await settled(s)
  const [first, big, last] = image.layers as [TestBlob, TestBlob, TestBlob]
  for (const blob of [image.config, first, last]) {
    assert.equal(s.hub.bytesSent(blob.digest), blob.size)
    const { digest, headers } = await s.blob(blob)
    assert.deepEqual([digest, cacheOf({ headers })], [blob.digest, 'hit'])
  }
  // Of a large one the first part, where a round trip takes long, as on a busy machine.
  const part = s.hub.bytesSent(big.digest)
  assert.ok(part <= 512 * 1024, String(part))
  // Whoever comes has the right that its upstream gave already: nothing is asked once more.
  for (const blob of [image.config, first, last]) assert.equal(s.hub.count({ digest: blob.digest }), 2)
  const bytes = image.config.size + 2 * small + 1 + part
  assert.equal(await s.mirror.metric('larder_read_ahead_bytes_total'), bytes)
  assert.equal(await s.mirror.metric('larder_read_ahead_wanted_bytes_total'), bytes - part)
  assert.equal(await s.mirror.metric('larder_read_ahead_wanted_total'), 3)
  // It is this client's pull that it came over the line for.
  await s.blob(big)
  await until(() => s.mirror.events('pulled').length === 1)
  const [{ lineBytes, bytes: pulled, cachedBytes } = {}] = s.mirror.events('pulled')
  assert.deepEqual([lineBytes, cachedBytes], [pulled, 0])
})

test('who comes at the same moment joins: each byte crosses the line once', async () => {
  await using s = await start()
  const image = buildImage({ layers: [small, small, small, small], seed: 'at once' })
  s.hub.addImage('library/app', 'latest', image)
  const all = [image.config, ...image.layers]
  await s.ask('latest')
  const answers = await Promise.all(all.flatMap((blob) => [s.blob(blob), s.blob(blob)]))
  assert.ok(answers.every(({ status, isComplete }) => status === 200 && isComplete))
  await s.stored(5)
  for (const { digest, size } of all) assert.equal(s.hub.bytesSent(digest), size)
})

test('a client that comes while it is on its way gets what has come, and then the rest', async () => {
  await using s = await start()
  const image = buildImage({ layers: [small], seed: 'half' })
  s.hub.addImage('library/app', 'latest', image)
  const [layer] = image.layers as [TestBlob]
  const gate = s.hub.hold({ digest: layer.digest, listener: 'cdn' }, 20_000)
  await s.ask('latest')
  await until(() => s.hub.bytesSent(layer.digest) === 20_000)
  const pulling = s.blob(layer)
  await until(() => s.mirror.app.underWay.requests === 1)
  gate.release()
  const pulled = await pulling
  assert.deepEqual([pulled.digest, cacheOf(pulled)], [layer.digest, 'joined'])
  assert.equal(s.hub.bytesSent(layer.digest), small)
  await until(async () => (await s.mirror.metric('larder_read_ahead_wanted_total')) === 1)
})

test('HEAD alone brings no blob; the GET behind it does, although the manifest is here', async () => {
  await using s = await start()
  const image = buildImage({ layers: [small], seed: 'watched' })
  s.hub.addImage('library/app', 'latest', image)
  for (let turn = 0; turn < 3; turn += 1) await s.ask('latest', 'HEAD')
  await settled(s)
  assert.equal(s.hub.count({ path: /blobs/ }), 0)
  assert.equal(cacheOf(await s.ask(image.manifest.digest)), 'hit')
  await s.stored(2)
})

test('a manifest that was here brings nothing: whoever pulled it has its blobs', async () => {
  await using s = await start()
  const image = buildImage({ layers: [small], seed: 'again' })
  s.hub.addImage('library/app', 'latest', image)
  await s.ask('latest')
  await s.stored(2)
  s.hub.reset()
  for (const reference of ['latest', image.manifest.digest])
    assert.equal(cacheOf(await s.ask(reference)), 'hit')
  await settled(s)
  assert.equal(s.hub.count({ path: /blobs/ }), 0)
})

test('the platform that a client has asked for once comes with the next index, and no other', async () => {
  await using s = await start()
  const index = (seed: string) =>
    buildIndex([
      buildImage({ seed: `${seed} amd64`, layers: [small] }),
      buildImage({ seed: `${seed} arm64`, layers: [small], platform: arm }),
      buildImage({ seed: `${seed} unknown`, platform: { os: 'unknown', architecture: 'unknown' } }),
    ])
  const [one, two] = [index('one'), index('two')]
  s.hub.addImage('library/app', '1', one)
  s.hub.addImage('library/app', '2', two)
  // Nobody has been seen: nothing is guessed.
  await s.ask('1')
  await settled(s)
  assert.equal(s.hub.count({ path: /manifests\/sha256/ }), 0)
  await s.ask(one.images[2]?.manifest.digest ?? '')
  await s.ask(one.images[1]?.manifest.digest ?? '')
  await s.stored(4)
  s.hub.reset()
  const [amd64, arm64, unknown] = two.images as [
    (typeof two.images)[0],
    (typeof two.images)[0],
    (typeof two.images)[0],
  ]
  await s.ask('2')
  await s.stored(6)
  await settled(s)
  for (const other of [amd64, unknown]) assert.equal(s.gets(other.manifest), 0)
  assert.equal(s.gets(arm64.manifest), 1)
  assert.equal(cacheOf(await s.ask(arm64.manifest.digest)), 'hit')
  for (const blob of [arm64.config, ...arm64.layers]) assert.equal(cacheOf(await s.blob(blob)), 'hit')
  assert.equal(s.gets(arm64.manifest), 1)
  const { text } = await pull(`${s.mirror.url}/metrics`)
  assert.match(text, /\nlarder_read_ahead_total\{upstream="docker.io",kind="manifest"\} 1\n/)
  assert.match(text, /\nlarder_read_ahead_wanted_total\{upstream="docker.io",kind="manifest"\} 1\n/)
})

for (const [what, remaining, count] of [
  ['are plenty', 90, 1],
  ['are scarce', 40, 0],
] as const) {
  test(`pulls ${what}: ${count} manifests are fetched ahead`, async () => {
    await using s = await start({}, { quota: 100 })
    const index = (seed: string) => buildIndex([buildImage({ seed, layers: [small] })])
    const [one, two] = [index('one'), index('two')]
    s.hub.addImage('library/app', '1', one)
    s.hub.addImage('library/app', '2', two)
    await s.ask('1')
    await s.ask(one.images[0]?.manifest.digest ?? '')
    await s.stored(2)
    s.hub.setRemaining(remaining)
    const gets = () => s.gets(two.images[0]?.manifest as TestBlob)
    await s.ask('2')
    await until(() => gets() >= count)
    await settled(s)
    assert.equal(gets(), count)
  })
}

test('what is refused is asked once, and told to whoever comes', async () => {
  await using s = await start()
  const image = buildImage({ layers: [small], seed: 'refused' })
  s.hub.addImage('library/app', 'latest', image)
  const [layer] = image.layers as [TestBlob]
  s.hub.remove('library/app', layer.digest)
  await s.ask('latest')
  await s.stored(1)
  await until(() => s.gets(layer) === 1)
  await settled(s)
  assert.equal((await s.blob(layer)).status, 404)
  assert.equal(s.gets(layer), 1)
})

test('what nobody comes for is dropped where it has not begun', async () => {
  await using s = await start({ readAheadMs: 3000 })
  const layers = Array.from({ length: 20 }, (_, index) =>
    blobOf(pseudoRandomBytes(small, `dropped ${index}`)),
  )
  const image = buildImage({ layers, seed: 'dropped' })
  s.hub.addImage('library/app', 'latest', image)
  const begun = () => s.hub.count({ path: /blobs/, listener: 'registry' })
  const gate = s.hub.hold({ path: /blobs/, listener: 'registry' })
  await s.ask('latest')
  await until(() => begun() > 0)
  await until(() => s.mirror.events('nobody came for what was fetched ahead').length === 1)
  await until(async () => (await s.mirror.metric('larder_fills_running')) === 0)
  const count = begun()
  assert.ok(count <= 8, `${count}`)
  gate.release()
  await settled(s)
  assert.equal(begun(), count)
})

test('a client that takes manifests alone three times is read ahead for no more, until it takes a blob', async () => {
  await using s = await start({ readAheadMs: 1000 })
  const images = Array.from({ length: 5 }, (_, index) => buildImage({ layers: [], seed: `read ${index}` }))
  for (const [index, image] of images.entries()) s.hub.addImage('library/app', `${index}`, image)
  for (let index = 0; index < 3; index += 1) {
    await s.ask(`${index}`)
    await until(() => s.mirror.events('nobody came for what was fetched ahead').length === index + 1)
  }
  await s.ask('3')
  await settled(s)
  assert.equal(s.gets(images[3]?.config as TestBlob), 0)
  await s.blob(images[3]?.config as TestBlob)
  await s.ask('4')
  await until(() => s.gets(images[4]?.config as TestBlob) === 1)
})

test('layers that nobody may hand out are not asked for, and what is off brings nothing', async () => {
  await using s = await start()
  const foreign = blobOf(
    pseudoRandomBytes(small, 'foreign'),
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  )
  const image = buildImage({ layers: [foreign, small], seed: 'foreign', mediaTypes: 'docker' })
  s.hub.addImage('library/app', 'latest', image)
  await s.ask('latest')
  await s.stored(2)
  await settled(s)
  assert.equal(s.gets(foreign), 0)
  await using off = await start({ config: { 'cache.readAhead': '0' } })
  off.hub.addImage('library/app', 'latest', image)
  await off.ask('latest')
  await settled(off)
  assert.equal(off.hub.count({ path: /blobs/ }), 0)
})

test('it ends with the mirror, whatever is on its way', async () => {
  await using hub = await startDockerHub()
  const mirror = await startMirror({ upstream: hub.url, config: ahead })
  hub.addImage('library/app', 'latest', buildImage({ layers: [small, small, small], seed: 'stop' }))
  hub.hold({ path: /blobs/, listener: 'registry' })
  await pull(`${mirror.url}/v2/library/app/manifests/latest`)
  await until(() => hub.count({ path: /blobs/ }) > 0)
  await mirror[Symbol.asyncDispose]()
  assert.equal(mirror.events('nothing is fetched ahead').length, 0)
})
