/**
 * One line when a machine has pulled an image, with real requests: who, what, how much of it, where from, how long.
 * The rules of what is a pull are tested in test/registry/ledger.test.ts.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, buildIndex, pseudoRandomBytes, type TestImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const agent = 'docker/29.1.3 go/go1.25.4 os/linux arch/amd64 UpstreamClient(Docker-Client/29.1.3)'

function pulls(mirror: TestMirror): readonly Record<string, unknown>[] {
  return mirror.events().filter(({ outcome }) => outcome !== undefined)
}

async function pullImage(mirror: TestMirror, image: TestImage, reference: string): Promise<void> {
  const url = `${mirror.url}/v2/library/app`
  const headers = { 'user-agent': agent }
  await pull(`${url}/manifests/${reference}`, { headers })
  await Promise.all(
    [image.config, ...image.layers].map(({ digest }) => pull(`${url}/blobs/${digest}`, { headers })),
  )
}

test('a cold and a cached pull: each has its line, at once, and says where the bytes came from', async () => {
  await using hub = await startDockerHub()
  const image = buildImage({ layers: [pseudoRandomBytes(200_000, 'a'), pseudoRandomBytes(300_000, 'b')] })
  hub.addImage('library/app', 'latest', image)
  await using mirror = await startMirror({ upstream: hub.url, pullIdleMs: 600_000 })
  const blobs = image.config.size + 500_000
  for (const count of [1, 2]) {
    await pullImage(mirror, image, 'latest')
    await until(() => pulls(mirror).length === count)
    await until(async () => (await mirror.metric('larder_fills_running')) === 0)
  }
  const [cold, cached] = pulls(mirror)
  const { level, msg, client, upstream, repository, reference, digest } = cold ?? {}
  assert.deepEqual(
    { level, msg, client, agent: cold?.agent, upstream, repository, reference, digest },
    {
      level: 'info',
      msg: 'pulled',
      client: '127.0.0.1',
      agent,
      upstream: 'docker.io',
      repository: 'library/app',
      reference: 'latest',
      digest: image.manifest.digest,
    },
  )
  assert.equal(cold?.bytes, image.manifest.size + blobs)
  assert.deepEqual([cold?.lineBytes, cold?.cachedBytes], [image.manifest.size + blobs, 0])
  assert.deepEqual([cached?.lineBytes, cached?.cachedBytes], [0, image.manifest.size + blobs])
  assert.equal(typeof cold?.ms, 'number')
  assert.equal(await mirror.metric('larder_pulls_total'), 2)
})

test('two machines at once: the bytes of the second are shared with the download of the first', async () => {
  await using hub = await startDockerHub()
  const image = buildImage({ layers: [pseudoRandomBytes(2_000_000, 'shared')] })
  hub.addImage('library/app', 'latest', image)
  await using mirror = await startMirror({
    upstream: hub.url,
    config: { 'server.listen': ['127.0.0.1:0', '[::1]:0'] },
  })
  const [layer] = image.layers
  assert.ok(layer)
  using hold = hub.hold({ listener: 'cdn', digest: layer.digest }, 1_000_000)
  const first = pullImage(mirror, image, 'latest')
  await hold.reached
  const ports = mirror.ports
  const other = { ...mirror, url: `http://[::1]:${ports[1]}` }
  const second = pullImage(other, image, 'latest')
  await until(() => mirror.events('request').filter(({ client }) => client === '::1').length >= 2)
  await until(() => mirror.app.underWay.requests === 2)
  hold.release()
  await Promise.all([first, second])
  await until(() => pulls(mirror).length === 2)
  const joined = pulls(mirror).find(({ client }) => client === '::1')
  assert.ok(Number(joined?.joinedBytes) >= 2_000_000, `${joined?.joinedBytes}`)
  assert.equal(joined?.lineBytes, 0)
})

test('a pull that failed is a warning and says why; one for what does not exist is none', async () => {
  await using hub = await startDockerHub()
  const image = buildImage({ layers: [pseudoRandomBytes(2_000_000, 'fails')] })
  const index = buildIndex([image])
  hub.addImage('library/app', 'single', image)
  hub.addImage('library/app', 'latest', index)
  await using mirror = await startMirror({
    upstream: hub.url,
    pullIdleMs: 100,
    config: { 'limits.retries': 0 },
  })
  const url = `${mirror.url}/v2/library/app`
  await pull(`${url}/manifests/nothing`)
  await until(() => pulls(mirror).length === 1)
  await pull(`${url}/manifests/latest`)
  await pull(`${url}/manifests/${image.manifest.digest}`)
  await hub.stop()
  await pull(`${url}/blobs/${image.layers[0]?.digest}`)
  await until(() => pulls(mirror).length === 2)
  const [missing, failed] = pulls(mirror)
  assert.deepEqual([missing?.level, missing?.reference, missing?.outcome], ['info', 'nothing', 'failed'])
  assert.match(String(missing?.msg), /^pull did not finish: docker\.io: it does not have this$/)
  assert.deepEqual([failed?.level, failed?.reference, failed?.outcome], ['warn', 'latest', 'failed'])
  assert.match(String(failed?.msg), /^pull did not finish: docker\.io: /)
})

test('a client that leaves did not finish, which is no warning; the end of the mirror tells what is open', async () => {
  await using hub = await startDockerHub()
  const image = buildImage({ layers: [pseudoRandomBytes(32_000_000, 'leaves'), 1000] })
  hub.addImage('library/app', 'latest', image)
  const mirror = await startMirror({ upstream: hub.url, pullIdleMs: 100 })
  const url = `${mirror.url}/v2/library/app`
  await pull(`${url}/manifests/latest`)
  await pull(`${url}/blobs/${image.layers[0]?.digest}`, { leaveAfter: 100_000 })
  await until(() => pulls(mirror).length === 1)
  await pull(`${url}/manifests/latest`)
  await pull(`${url}/blobs/${image.config.digest}`)
  await mirror[Symbol.asyncDispose]()
  const [left, open] = pulls(mirror)
  assert.deepEqual([left?.level, left?.msg], ['info', 'pull did not finish: the client left'])
  assert.deepEqual([open?.level, open?.msg], ['info', 'pull did not finish: the mirror stopped'])
})

test('a blob that was fetched has a line: which, from where, how many bytes, how fast, how often resumed', async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(700_000, 'fetched'))
  hub.fault({ listener: 'cdn', digest: blob.digest }, { cutAfter: 200_000 }, { times: 2 })
  // By one connection, and in pieces that are all longer than that, however slow the machine is: of several connections
  // one that is cut may be missed by nobody.
  await using mirror = await startMirror({ upstream: hub.url, config: { 'limits.connections': 1 } })
  await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
  await until(() => mirror.events('fetched a blob').length === 1)
  const [line] = mirror.events('fetched a blob')
  const { level, upstream, repository, digest, size, bytes, keptBytes, resumes } = line ?? {}
  assert.deepEqual(
    { level, upstream, repository, digest, size, bytes, keptBytes, resumes },
    {
      level: 'info',
      upstream: 'docker.io',
      repository: 'library/app',
      digest: blob.digest,
      size: 700_000,
      bytes: 700_000,
      keptBytes: 0,
      resumes: 2,
    },
  )
  assert.equal(await mirror.metric('larder_fill_resumes_total'), 2)
})

test('a probe for a blob that does not exist raises no warning', async () => {
  await using hub = await startDockerHub()
  await using mirror = await startMirror({ upstream: hub.url, pullIdleMs: 100 })
  const { digest } = hub.addBlob('library/other', pseudoRandomBytes(1000, 'elsewhere'))
  for (const method of ['HEAD', 'GET']) {
    assert.equal((await pull(`${mirror.url}/v2/library/app/blobs/${digest}`, { method })).status, 404)
  }
  await mirror[Symbol.asyncDispose]()
  assert.deepEqual(
    mirror.events().filter(({ level }) => level === 'warn' || level === 'error'),
    [],
  )
  assert.deepEqual(pulls(mirror), [])
})
