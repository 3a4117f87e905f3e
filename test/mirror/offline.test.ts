import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { atOnceMs } from '../support/at-once.ts'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const image = buildImage({ layers: [100_000] })

test('it starts without any upstream, serves what it has, and answers unknown names at once', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'larder-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  await using hub = await startDockerHub()
  hub.addImage('library/app', 'latest', image)
  const paths = [
    'manifests/latest',
    `manifests/${image.manifest.digest}`,
    ...[image.config, ...image.layers].map(({ digest }) => `blobs/${digest}`),
  ]
  {
    await using mirror = await startMirror({ upstream: hub.url, directory })
    for (const path of paths) await pull(`${mirror.url}/v2/library/app/${path}`)
  }
  await hub.stop()
  await using mirror = await startMirror({ upstream: hub.url, directory })
  for (const path of paths) {
    const { status, isComplete, headers } = await pull(`${mirror.url}/v2/library/app/${path}`)
    assert.deepEqual([status, isComplete], [200, true], path)
    assert.equal(headers['x-larder-cache'], path === 'manifests/latest' ? 'stale' : 'hit')
  }
  for (const path of ['other/manifests/latest', `other/blobs/${image.config.digest}`, 'other/tags/list']) {
    const { status, text, totalMs } = await pull(`${mirror.url}/v2/library/${path}`)
    assert.equal(status, 503, path)
    assert.match(text, /docker\.io: .*cannot be reached|ECONNREFUSED/)
    assert.ok(totalMs < atOnceMs, `${totalMs} ms`)
  }
  assert.equal((await pull(`${mirror.url}/v2/`)).status, 200)
  assert.equal((await pull(`${mirror.url}/readyz`)).status, 200)
  const tags = await pull(`${mirror.url}/v2/library/app/tags/list`)
  assert.deepEqual(JSON.parse(tags.text), { name: 'library/app', tags: ['latest'] })
  await hub.start()
  await until(async () => (await mirror.metric('larder_upstream_reachable')) === 1, { timeoutMs: 20_000 })
  assert.equal((await pull(`${mirror.url}/v2/library/other/manifests/latest`)).status, 404)
})

test('a dead upstream costs milliseconds: its circuit is open, and no request waits for it', async (t) => {
  await using hub = await startDockerHub()
  await using mirror = await startMirror({ upstream: hub.url })
  await hub.stop()
  await mirror.app.upstreams[0]?.check()
  assert.equal(await mirror.metric('larder_upstream_reachable'), 0)
  // Whoever asked what is in its place now would wait.
  const asked: string[] = []
  const silent = createServer(({ url = '' }) => void asked.push(url)).listen(Number(new URL(hub.url).port))
  await once(silent, 'listening')
  t.after(() => {
    silent.closeAllConnections()
    silent.close()
  })
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, index) => pull(`${mirror.url}/v2/library/n${index}/manifests/latest`)),
  )
  for (const { status, text } of answers) {
    assert.equal(status, 503)
    assert.match(text, /cannot be reached/)
  }
  // Whether it is back is looked into beside that.
  assert.deepEqual(
    asked.filter((url) => url !== '/v2/'),
    [],
  )
})

test('a rate limit: what is cached is served, the rest gets 503 with Retry-After, and nobody hammers', async () => {
  await using hub = await startDockerHub({ quota: 1 })
  hub.addImage('library/app', 'latest', image)
  hub.addImage('library/other', 'latest', image)
  await using mirror = await startMirror({ upstream: hub.url, config: { 'cache.revalidate': 0 } })
  await pull(`${mirror.url}/v2/library/app/manifests/latest`)
  assert.equal(await mirror.metric('larder_upstream_ratelimit_remaining'), 0)
  const limited = await pull(`${mirror.url}/v2/library/other/manifests/latest`)
  assert.equal(limited.status, 503)
  assert.match(String(limited.headers['retry-after']), /^\d+$/)
  assert.equal(JSON.parse(limited.text).errors[0].code, 'TOOMANYREQUESTS')
  hub.reset()
  await pull(`${mirror.url}/v2/library/other/manifests/latest`)
  assert.equal(hub.count({ listener: 'registry', method: 'GET' }), 0)
  // The HEAD that revalidates is free, so that the cached one stays fresh.
  const cached = await pull(`${mirror.url}/v2/library/app/manifests/latest`)
  assert.equal(cached.headers['x-larder-cache'], 'revalidated')
})

/**
 * Neighbours: what is under way goes on (resume.test.ts); a manifest of the index that was pulled just before; a blob
 * that no manifest named; an upstream that was never there, or not for long, is not waited for (circuit-breaker.test.ts,
 * and the first test here); a tag is answered at once.
 */
test('the line drops for a moment in the middle of a pull: what is asked for next comes when it is back', async () => {
  const layered = buildImage({ layers: [100_000, 200_000, 300_000], seed: 'layered' })
  await using hub = await startDockerHub()
  hub.addImage('library/app', 'latest', layered)
  const other = buildImage({ layers: [50_000], seed: 'other' })
  hub.addImage('library/app', undefined, other)
  await using mirror = await startMirror({ upstream: hub.url })
  const app = `${mirror.url}/v2/library/app`
  await pull(`${app}/manifests/latest`)
  await hub.stop()
  // Whoever asks first finds out that the line is gone.
  const [unknown] = await Promise.all(['1', '2', '3'].map((tag) => pull(`${app}/manifests/${tag}`)))
  assert.equal(unknown?.status, 503)
  assert.equal(await mirror.metric('larder_upstream_reachable'), 0)
  const wanted = [
    ...layered.layers.map(({ digest }) => `blobs/${digest}`),
    `manifests/${other.manifest.digest}`,
    `blobs/${other.config.digest}`,
  ]
  const pulling = wanted.map((path) => pull(`${app}/${path}`))
  const { totalMs } = await pull(`${app}/manifests/unheard-of`)
  assert.ok(totalMs < atOnceMs, `${totalMs} ms`)
  await hub.start()
  const pulled = await Promise.all(pulling)
  assert.deepEqual(
    pulled.map(({ status, isComplete, digest }) => [status, isComplete, digest]),
    wanted.map((path) => [200, true, path.slice(path.indexOf('/') + 1)]),
  )
})
