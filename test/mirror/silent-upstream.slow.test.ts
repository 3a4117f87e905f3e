import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { startSlowLine } from '../support/slow-line.ts'

// Neighbours: unknown names, and everybody once two questions were silent (patience.test.ts); a registry that refuses
// (offline.test.ts); how long it takes until it is silent (while-reachable.test.ts).

const image = buildImage({ layers: [1000] })
const tags = ['1', '2', '3', '4']

/** A mirror that has four tags, none of which is fresh, and its upstream behind a line. */
async function mirrorBehindLine(t: TestContext, config = {}) {
  const hub = await startDockerHub({ auth: 'none', cdn: false })
  t.after(() => hub.close())
  for (const tag of tags) hub.addImage('library/app', tag, image)
  const line = await startSlowLine({ target: { host: '127.0.0.1', port: Number(new URL(hub.url).port) } })
  t.after(() => line.close())
  // Nobody would wait for less than that.
  const mirror = await startMirror({
    upstream: line.url,
    config: { 'cache.revalidate': 0, 'cache.staleAfter': '10m', 'limits.patience': '1h', ...config },
  })
  t.after(() => mirror[Symbol.asyncDispose]())
  const app = `${mirror.url}/v2/library/app`
  for (const tag of tags) await pull(`${app}/manifests/${tag}`)
  await pull(`${app}/tags/list`)
  return { hub, line, mirror, app }
}

test('F2 an upstream that hangs: nobody waits who has a copy, neither a tag nor a list of tags', async (t) => {
  const { hub, line, app } = await mirrorBehindLine(t)
  line.pause()
  const first = await Promise.all(['manifests/1', 'tags/list'].map((path) => pull(`${app}/${path}`)))
  for (const { status, headers } of first)
    assert.deepEqual([status, headers['x-larder-cache']], [200, 'stale'])
  hub.reset()
  const opened = line.opened
  for (const path of ['manifests/1', 'manifests/2', 'manifests/3', 'tags/list']) {
    const { status, headers } = await pull(`${app}/${path}`)
    assert.deepEqual([status, headers['x-larder-cache']], [200, 'stale'], path)
  }
  assert.ok(line.opened <= opened + 1, 'they ask nothing: one looks for all')
  line.resume()
  await until(async () => (await pull(`${app}/manifests/4`)).headers['x-larder-cache'] === 'revalidated', {
    timeoutMs: 20_000,
  })
})

test('F14 an upstream that is gone: whoever asks first finds out, for all', async (t) => {
  const { line, mirror, app } = await mirrorBehindLine(t)
  await line.refuse()
  line.cutAll()
  const { status, headers } = await pull(`${app}/manifests/1`)
  assert.deepEqual([status, headers['x-larder-cache']], [200, 'stale'])
  await until(async () => (await mirror.metric('larder_upstream_reachable')) === 0)
  const failures = mirror.events('upstream failed: serving the copy').length
  assert.equal((await pull(`${app}/manifests/2`)).headers['x-larder-cache'], 'stale')
  assert.equal(mirror.events('upstream failed: serving the copy').length, failures, 'it was not asked')
  await line.accept()
  await until(async () => (await pull(`${app}/manifests/3`)).headers['x-larder-cache'] === 'revalidated', {
    timeoutMs: 20_000,
  })
})

test('F2 an upstream that hangs: a blob that nobody has named is 504 after limits.patience, and not much later', async (t) => {
  const { hub, line, app } = await mirrorBehindLine(t, { 'limits.patience': '1s' })
  const blob = hub.addBlob('library/app', Buffer.alloc(200_000, 7))
  line.pause()
  const { status, text, totalMs } = await pull(`${app}/blobs/${blob.digest}`)
  assert.equal(status, 504, text)
  assert.ok(totalMs < 20_000, `${totalMs} ms`)
  line.resume()
  await until(async () => (await pull(`${app}/blobs/${blob.digest}`)).digest === blob.digest, {
    timeoutMs: 20_000,
  })
})

const unknown = digestOf(Buffer.from('what nobody has'))
const questions: Readonly<Record<string, { method?: string; path: string; status?: number }>> = {
  'a tag': { path: 'app/manifests/none' },
  'a HEAD of a tag': { method: 'HEAD', path: 'app/manifests/none' },
  'a manifest by its digest': { path: `app/manifests/${unknown}` },
  'a list of tags': { path: 'other/tags/list' },
  'the size of a blob': { method: 'HEAD', path: `app/blobs/${unknown}` },
  'what refers to a manifest': { path: `app/referrers/${unknown}`, status: 200 },
}

test('F2 kept connections that lead nowhere: no question waits for longer than limits.patience, whatever is tried meanwhile', async (t) => {
  // A new connection is tried after three seconds, and is made: what is behind it says nothing either.
  const patienceMs = 6000
  const ask = async ([what, { method = 'GET', path, status: expected = 504 }]: (typeof entries)[number]) => {
    const { line, mirror } = await mirrorBehindLine(t, { 'limits.patience': patienceMs / 1000 })
    line.pause()
    const { status, totalMs } = await pull(`${mirror.url}/v2/library/${path}`, { method })
    assert.equal(status, expected, what)
    assert.ok(totalMs >= patienceMs - 100 && totalMs < patienceMs + 2500, `${what}: ${totalMs} ms`)
  }
  const entries = Object.entries(questions)
  await Promise.all(entries.map(ask))
})
