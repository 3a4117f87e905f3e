// Neighbours thought of: a tag, a digest, an index of which one platform is used here, a blob whose clients have left; a
// line that refuses, one that hangs; a restart without the line; what is not there after all; who asks in order to push;
// what is off; the digest that a HEAD of a tag was answered with; names that are this mirror's alone, which never get so far (local-names.test.ts).
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { storageFolder } from '../storage/files/storage-folder.ts'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, buildIndex, type TestImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { startSlowLine } from '../support/slow-line.ts'

const image = buildImage({ layers: [50_000, 2_000_000], seed: 'wanted' })
const patience = { 'limits.patience': '10s' }

/** A hub behind a line that can be cut, and mirrors of it on one data folder. */
async function house(t: TestContext, { quota }: { readonly quota?: number } = {}) {
  const opened = new AsyncDisposableStack()
  t.after(() => opened.disposeAsync())
  const hub = opened.use(
    await startDockerHub({ auth: 'none', cdn: false, ...(quota === undefined ? {} : { quota }) }),
  )
  const target = { host: '127.0.0.1', port: Number(new URL(hub.url).port) }
  const line = opened.use(await startSlowLine({ target }))
  const directory = await storageFolder(t)
  const start = async (config = {}): Promise<TestMirror> => {
    const options = { directory, config: { ...patience, ...config }, wantedSpreadMs: 0 }
    return opened.use(await startMirror({ upstream: line.url, ...options }))
  }
  const cut = async (): Promise<void> => {
    await line.refuse()
    line.cutAll()
  }
  return { hub, line, start, cut }
}

function pathsOf({ manifest, config, layers }: TestImage): string[] {
  return [manifest, config, ...layers].map(({ digest }) =>
    digest === manifest.digest ? `manifests/${digest}` : `blobs/${digest}`,
  )
}

const wantedBy = (mirror: TestMirror) => mirror.metric('larder_wanted')

async function untilFetched(mirror: TestMirror): Promise<void> {
  await until(async () => (await wantedBy(mirror)) === 0, {
    timeoutMs: 60_000,
    what: 'nothing is wanted any more',
  })
}

async function isHere(mirror: TestMirror, name: string, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const { status, isComplete } = await pull(`${mirror.url}/v2/library/${name}/${path}`)
    assert.deepEqual([status, isComplete], [200, true], path)
  }
}

test('F14 asked for while the upstream is gone: shown, remembered over a restart, and whole here when it is back', async (t) => {
  const { hub, line, start, cut } = await house(t)
  hub.addImage('library/app', 'latest', image)
  await cut()
  {
    const mirror = await start()
    assert.equal((await pull(`${mirror.url}/v2/library/app/manifests/latest`)).status, 503)
    assert.equal(await wantedBy(mirror), 1)
    assert.match((await pull(`${mirror.url}/`)).text, /fetched when it can be: 1 thing from docker\.io/)
    assert.equal(mirror.events('could not be had: it is fetched when the upstream answers again').length, 1)
    await mirror[Symbol.asyncDispose]()
  }
  const mirror = await start()
  await until(async () => (await wantedBy(mirror)) === 1, { what: 'it is known from before' })
  await line.accept()
  await untilFetched(mirror)
  assert.equal(
    mirror.events('is here now: it was asked for while its upstream could not be reached').length,
    1,
  )
  await cut()
  await isHere(mirror, 'app', ['manifests/latest', ...pathsOf(image)])
})

test('F2 asked for while the upstream hangs, by clients that do not wait for the answer', async (t) => {
  const { hub, line, start, cut } = await house(t)
  hub.addImage('library/app', 'latest', image)
  const mirror = await start({ 'limits.patience': '1h' })
  line.pause()
  await assert.rejects(
    fetch(`${mirror.url}/v2/library/app/manifests/latest`, { signal: AbortSignal.timeout(4000) }),
  )
  await until(async () => (await wantedBy(mirror)) === 1)
  line.resume()
  await untilFetched(mirror)
  await cut()
  await isHere(mirror, 'app', ['manifests/latest', ...pathsOf(image)])
})

test('F11 a blob that was on its way when the line went, and its client with it', async (t) => {
  const { hub, line, start, cut } = await house(t)
  hub.addImage('library/app', 'latest', image)
  const mirror = await start({ 'limits.retries': 0, 'cache.readAhead': 0 })
  const app = `${mirror.url}/v2/library/app`
  await pull(`${app}/manifests/latest`)
  const [, large] = image.layers
  assert.ok(large)
  const hold = hub.hold({ digest: large.digest, method: 'GET' }, large.size >> 1)
  const leaving = new AbortController()
  const pulling = fetch(`${app}/blobs/${large.digest}`, { signal: leaving.signal }).then((response) =>
    response.bytes(),
  )
  await hold.reached
  await cut()
  leaving.abort()
  await assert.rejects(pulling)
  await until(async () => (await wantedBy(mirror)) === 1, { timeoutMs: 20_000, what: 'it is wanted' })
  hold.release()
  await line.accept()
  await untilFetched(mirror)
  await cut()
  await isHere(mirror, 'app', [`blobs/${large.digest}`])
})

test('of an index the manifests come that somebody here can use', async (t) => {
  const { hub, line, start, cut } = await house(t)
  const ofSeed = (seed: string) => {
    const of = (architecture: string) =>
      buildImage({ layers: [1000], seed: `${seed} ${architecture}`, platform: { os: 'linux', architecture } })
    const [arm, other] = [of('arm64'), of('s390x')]
    return { arm, other, index: buildIndex([arm, other]) }
  }
  const [before, wanted] = [ofSeed('before'), ofSeed('wanted')]
  hub.addImage('library/before', 'latest', before.index)
  hub.addImage('library/app', 'latest', wanted.index)
  const mirror = await start()
  // That is how it is known for which machines.
  await isHere(mirror, 'before', ['manifests/latest', ...pathsOf(before.arm)])
  await cut()
  await pull(`${mirror.url}/v2/library/app/manifests/latest`)
  await line.accept()
  await untilFetched(mirror)
  await cut()
  await isHere(mirror, 'app', ['manifests/latest', ...pathsOf(wanted.arm)])
  const { status } = await pull(`${mirror.url}/v2/library/app/manifests/${wanted.other.manifest.digest}`)
  assert.equal(status, 503)
})

test('asked for by the digest that a HEAD of its tag was answered with: the tag is here as well when the upstream is back', async (t) => {
  const { hub, line, start, cut } = await house(t, { quota: 100 })
  hub.addImage('library/app', 'known', buildImage({ seed: 'known' }))
  hub.addImage('library/app', 'latest', image)
  hub.setRemaining(21)
  {
    const mirror = await start()
    const app = `${mirror.url}/v2/library/app/manifests`
    await pull(`${app}/known`)
    assert.equal((await pull(`${app}/latest`, { method: 'HEAD' })).status, 200)
    await cut()
    assert.notEqual((await pull(`${app}/${image.manifest.digest}`)).status, 200)
    assert.equal(await wantedBy(mirror), 1)
    await mirror[Symbol.asyncDispose]()
  }
  const mirror = await start()
  await until(async () => (await wantedBy(mirror)) === 1, { what: 'it is known from before' })
  await line.accept()
  await untilFetched(mirror)
  await cut()
  await isHere(mirror, 'app', ['manifests/latest', ...pathsOf(image)])
})

test('what is not there after all is forgotten, and nothing is remembered where that is off', async (t) => {
  const { hub, line, start, cut } = await house(t)
  hub.addImage('library/app', 'latest', image)
  await cut()
  {
    const mirror = await start({ 'cache.wanted': false })
    assert.equal((await pull(`${mirror.url}/v2/library/app/manifests/latest`)).status, 503)
    assert.equal((await pull(`${mirror.url}/metrics`)).text.includes('larder_wanted'), false)
    await mirror[Symbol.asyncDispose]()
  }
  const mirror = await start()
  await pull(`${mirror.url}/v2/library/made-up/manifests/latest`)
  assert.equal(await wantedBy(mirror), 1)
  await line.accept()
  await untilFetched(mirror)
  assert.equal(await mirror.metric('larder_wanted_fetched_total'), 0)
  assert.equal(hub.count({ path: /app/ }), 0)
})
