import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

/** The names of our own metrics, each with the labels that it has somewhere. */
function metricsOf(text: string): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  for (const [, name = ''] of text.matchAll(/^# TYPE (larder_\S+) /gm)) found.set(name, new Set())
  for (const [, sample = '', labels = ''] of text.matchAll(/^(larder_\w+)(?:\{(.*)\})? \S+$/gm)) {
    const name = sample.replace(/_(?:bucket|sum|count)$/, '')
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) if (label !== 'le') found.get(name)?.add(label)
  }
  return found
}

/** The table of docs/operating.md in the same form. */
async function documented(): Promise<Map<string, Set<string>>> {
  const text = await readFile(resolve(import.meta.dirname, '../../docs/operating.md'), 'utf8')
  const rows = text.matchAll(/^\| `(larder_\w+)(?:\{([\w,]+)\})?` \| (.+) \|$/gm)
  return new Map(
    [...rows].map(([, name = '', labels]) => [name, new Set(labels === undefined ? [] : labels.split(','))]),
  )
}

test('docs/operating.md names every metric with its labels, and no other', async () => {
  await using hub = await startDockerHub({ quota: 100 })
  const image = buildImage()
  hub.addImage('library/app', 'latest', image)
  await using mirror = await startMirror({ upstream: hub.url })
  await pull(`${mirror.url}/v2/library/app/manifests/latest`)
  for (const { digest } of [image.config, ...image.layers])
    await pull(`${mirror.url}/v2/library/app/blobs/${digest}`)
  await until(async () => (await mirror.metric('larder_pulls_total')) === 1)
  const { text } = await pull(`${mirror.url}/metrics`)
  const shown = metricsOf(text)
  const told = await documented()
  assert.deepEqual([...shown.keys()].sort(), [...told.keys()].sort())
  // Some have no sample here, such as those of an account.
  const sampled = [...shown].filter(([name]) => new RegExp(`^${name}(?:_bucket)?[{ ]`, 'm').test(text))
  for (const [name, labels] of sampled) assert.deepEqual(labels, told.get(name), name)
})

test('every metric says what it is, in base units, and counters end in _total', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  const { text } = await pull(`${mirror.url}/metrics`)
  const types = [...text.matchAll(/^# TYPE (larder_\S+) (\w+)$/gm)]
  assert.ok(types.length > 15)
  for (const [, name = '', type] of types) {
    assert.match(text, new RegExp(`^# HELP ${name} \\S.{5,}$`, 'm'))
    assert.equal(type === 'counter', name.endsWith('_total'), name)
    assert.doesNotMatch(name, /_(?:ms|milliseconds|kb|mb|percent)\b/)
  }
})

test('bytes by how the cache answered; fills that finished and failed; what is stored', async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(100_000, 'counted'))
  await using mirror = await startMirror({ upstream: hub.url, config: { 'limits.retries': 0 } })
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
  await pull(url)
  await until(async () => (await mirror.metric('larder_fills_running')) === 0)
  await pull(url)
  await pull(`${mirror.url}/v2/library/app/blobs/sha256:${'0'.repeat(64)}`)
  const { text } = await pull(`${mirror.url}/metrics`)
  const expected = [
    'larder_served_bytes_total{upstream="docker.io",cache="miss"} 100000',
    'larder_served_bytes_total{upstream="docker.io",cache="hit"} 100000',
    'larder_fills_started_total{upstream="docker.io"} 2',
    'larder_fills_ended_total{upstream="docker.io",outcome="finished"} 1',
    'larder_fills_ended_total{upstream="docker.io",outcome="failed"} 1',
    'larder_requests_total{method="GET",kind="blob",upstream="docker.io",status="404",cache=""} 1',
    'larder_cache_bytes 100000',
    'larder_cache_blobs 1',
    `larder_build_info{version="test",node="${process.versions.node}"} 1`,
  ]
  for (const line of expected) assert.ok(text.includes(`\n${line}\n`), `${line}\n${text}`)
  assert.ok((await mirror.metric('larder_disk_size_bytes')) > (await mirror.metric('larder_disk_free_bytes')))
  assert.ok((await mirror.metric('larder_disk_free_bytes')) > 0)
})

test('what an earlier process stored is counted at the start', async (t) => {
  await using hub = await startDockerHub()
  const blobs = Array.from({ length: 20 }, (_, index) =>
    hub.addBlob('library/app', pseudoRandomBytes(1000 + index, `kept ${index}`)),
  )
  const first = await startMirror({ upstream: hub.url })
  const { rm, cp, mkdtemp } = await import('node:fs/promises')
  const directory = await mkdtemp('/tmp/larder-stored-')
  t.after(() => rm(directory, { recursive: true, force: true }))
  for (const { digest } of blobs) await pull(`${first.url}/v2/library/app/blobs/${digest}`)
  await until(async () => (await first.metric('larder_cache_blobs')) === 20)
  await cp(`${first.directory}/blobs`, `${directory}/blobs`, { recursive: true })
  await first[Symbol.asyncDispose]()
  await using second = await startMirror({ upstream: hub.url, directory })
  await until(async () => (await second.metric('larder_cache_blobs')) === 20)
  assert.equal(await second.metric('larder_cache_bytes'), 20 * 1000 + 190)
})
